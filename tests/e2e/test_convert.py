# SPDX-License-Identifier: MIT
"""slm convert as a user sees it: what the converted model says, what is left after a kill, how much memory it takes."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from support import ERROR_LINE, SHARED, SLM, STORIES, Terminal, has_come_to, need, peak_mib, slm, write_zeros

TINYSTORIES = SHARED / "data/models/tinystories-656k"


def converted(*args):
    done = slm("convert", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def predicted(model, ids):
    """The likeliest token after each prefix."""
    done = slm("logits", model, "--ids", " ".join(map(str, ids)), "--all", "--json", "--kv", "f32")
    assert done.returncode == 0, done.stderr
    return [max(range(len(row)), key=row.__getitem__) for row in json.loads(done.stdout)["logits"]]


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_tinystories_writes_the_reference_tokens(tmp_path, kind):
    need(TINYSTORIES / "model.safetensors")
    reference = [int(i) for i in (TINYSTORIES / "greedy-80.f64.txt").read_text().split()]
    out = tmp_path / "out.gguf"
    assert "20 tensors" in converted(TINYSTORIES, out, "--type", kind)
    assert predicted(out, [1] + reference[:-1]) == reference
    text = "Once upon a time there was a\tlittle  café \U0001f600 <0x41>\n"
    ids = [slm("tokenize", model, "--ids", "--bos", stdin=text).stdout for model in (TINYSTORIES, out)]
    assert ids[0] == ids[1] and ids[0].startswith("1 ")


def test_same_input_same_bytes(tmp_path):
    need(TINYSTORIES / "model.safetensors")
    outs = [tmp_path / "a.gguf", tmp_path / "b.gguf"]
    for n, out in enumerate(outs):
        converted(TINYSTORIES, out, "--type", "q8_0", "--threads", n + 1)
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_split_and_merge(tmp_path):
    need(STORIES)
    converted(STORIES, tmp_path / "x.gguf", "--split-max-size", "300K")
    parts = sorted(p.name for p in tmp_path.iterdir())
    assert len(parts) > 2 and parts[0] == f"x-00001-of-{len(parts):05}.gguf"
    converted(tmp_path / parts[0], tmp_path / "merged.gguf")
    assert predicted(tmp_path / parts[0], range(20)) == predicted(STORIES, range(20))
    converted(tmp_path / "merged.gguf", tmp_path / "y.gguf", "--split-max-size", "300K")
    converted(tmp_path / parts[0].replace("x-", "y-"), tmp_path / "again.gguf")
    assert (tmp_path / "merged.gguf").read_bytes() == (tmp_path / "again.gguf").read_bytes()


def test_single_tensors(tmp_path):
    need(STORIES)
    converted(STORIES, tmp_path / "x.gguf", "--type", "q8_0", "--tensor", "blk.*.ffn_down.weight=f16", "--tensor",
              "blk.0.ffn_down.weight=bf16")
    shown = slm("inspect", tmp_path / "x.gguf", "--tensors").stdout
    rows = {line.split()[0].strip(chr(34)): line for line in shown.splitlines() if "weight" in line}
    assert "BF16" in rows["blk.0.ffn_down.weight"] and "F16" in rows["blk.1.ffn_down.weight"]
    assert "Q8_0" in rows["blk.0.attn_q.weight"] and "F32" in rows["blk.0.attn_norm.weight"]


@pytest.mark.parametrize("args", [
    [], ["in.gguf"], ["in.gguf", "out.gguf", "--split-max-size", "2T"], ["in.gguf", "out.gguf", "--tensor", "x"],
    ["in.gguf", "out.gguf", "--tensor", "=f16"], ["in.gguf", "out.gguf", "--split-max-tensors", "0"],
])
def test_bad_usage(args):
    done = slm("convert", *args)
    assert done.returncode == 2 and ERROR_LINE.match(done.stderr), done.stderr


def test_refusals_are_one_line(tmp_path):
    need(STORIES)
    for args in ([STORIES, tmp_path], [tmp_path / "none.gguf", tmp_path / "x.gguf"],
                 [STORIES, tmp_path / "x.gguf", "--type", "q9"], [STORIES, tmp_path / "no" / "x.gguf"],
                 [STORIES, tmp_path / "x.gguf", "--tensor", "nothing=f16"]):
        done = slm("convert", *args)
        assert done.returncode == 1 and ERROR_LINE.match(done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []


# ---- a model of full size --------------------------------------------------------------------------------------------

SHAPE = dict(num_hidden_layers=28, hidden_size=1024, intermediate_size=3072, num_attention_heads=16,
             num_key_value_heads=8, head_dim=128, vocab_size=151936)  # Qwen3-0.6B


def tensors(c):
    embd, ff, head = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", [c["vocab_size"], embd]
    yield "model.norm.weight", [embd]
    for layer in range(c["num_hidden_layers"]):
        for name, shape in (("input_layernorm", [embd]), ("post_attention_layernorm", [embd]),
                            ("self_attn.q_norm", [head]), ("self_attn.k_norm", [head]),
                            ("self_attn.q_proj", [q, embd]), ("self_attn.k_proj", [kv, embd]),
                            ("self_attn.v_proj", [kv, embd]), ("self_attn.o_proj", [embd, q]),
                            ("mlp.gate_proj", [ff, embd]), ("mlp.up_proj", [ff, embd]),
                            ("mlp.down_proj", [embd, ff])):
            yield f"model.layers.{layer}.{name}.weight", shape


def write_qwen3(folder, shape):
    """A Qwen3 of this shape in F32, all zeros."""
    write_zeros(folder, dict(architectures=["Qwen3ForCausalLM"], rms_norm_eps=1e-6, max_position_embeddings=40960,
                             rope_theta=1000000, tie_word_embeddings=True, **shape),
                {name: ("F32", dims) for name, dims in tensors(shape)})


@pytest.mark.slow
@pytest.mark.parametrize("files, vocab", [
    (["phi-3-mini/tokenizer.json", "phi-3-mini/tokenizer_config.json"], 32064),
    (["llama2/tokenizer.model"], 32000), (["llama3/tokenizer.model"], 128256)])
def test_real_tokenizers_give_the_same_ids(tmp_path, files, vocab):
    for name in files:
        shutil.copy(need(SHARED / "data/tokenizers" / name), tmp_path)
    write_qwen3(tmp_path, dict(num_hidden_layers=1, hidden_size=8, intermediate_size=8, num_attention_heads=1,
                               num_key_value_heads=1, head_dim=8, vocab_size=vocab))
    out = tmp_path / "out.gguf"
    converted(tmp_path, out)
    for text in ((SHARED / "data/text/wiki.test.raw").read_text()[:200000],
                 " \n\t====  a\u0301 \u00a0\U0001f600 <|assistant|> x <s>" + "=" * 100 + " " * 77):
        for more in ([], ["--special"]):
            ids = [slm("tokenize", model, "--ids", "--bos", *more, stdin=text).stdout for model in (tmp_path, out)]
            assert ids[0] == ids[1] and len(ids[0].split()) > 20


def byte_level_tokenizer():
    """As many tokens and merges as Qwen's, of the right form and no meaning."""
    letters = [chr(c) for c in (*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100))]
    letters += [chr(0x100 + i) for i in range(256 - len(letters))]
    tokens, merges = list(letters), []
    rng = random.Random(1)
    known = set(tokens)
    while len(tokens) < SHAPE["vocab_size"] - 300:
        left, right = rng.choice(tokens), rng.choice(letters)
        if left + right not in known and len(left) < 12:
            known.add(left + right)
            tokens.append(left + right)
            merges.append(f"{left} {right}")
    return {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}}


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """A folder with the shapes of Qwen3-0.6B and a vocabulary of its size: 2.4 GB that take no room on the disk."""
    folder = tmp_path_factory.mktemp("full")
    write_qwen3(folder, SHAPE)
    (folder / "tokenizer.json").write_text(json.dumps(byte_level_tokenizer()))
    yield folder
    (folder / "model.safetensors").unlink()


@pytest.mark.slow
def test_memory_stays_bounded(full_size, tmp_path):
    out = tmp_path / "out.gguf"
    peak = peak_mib("convert", full_size, out, "--type", "q4_0", "-q")
    assert out.stat().st_size > 300e6  # 596 million weights at 4.5 bits
    print(f"peak {peak:.0f} MiB", file=sys.stderr)
    assert peak <= 512
    out.unlink()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_killed_at_any_time_nothing_shows(full_size, tmp_path):
    """Each run goes on where the last was killed, so the moments are shares of the file and not seconds."""
    out, partial = tmp_path / "out.gguf", tmp_path / "out.gguf.partial"
    command = ["convert", full_size, out, "--type", "q4_0", "-q"]
    converted(*command[1:])
    expected = digest(out)
    out.unlink()
    shares, attempt = [0.01, 0.3, 0.6], 0
    while shares:
        share, attempt = shares[0], attempt + 1
        assert attempt < 40, "it was through before it was looked at"
        process = subprocess.Popen([SLM, *command])
        while process.poll() is None and not has_come_to(partial, share):
            time.sleep(0.001)
        process.kill()
        if process.wait() == 0:  # this machine looked away for too long
            assert digest(out) == expected
            out.unlink()
            continue
        shares.pop(0)
        assert [left.name for left in tmp_path.iterdir()] == [partial.name]  # what is left has a name of its own
    converted(*command[1:])
    assert digest(out) == expected
    assert list(tmp_path.iterdir()) == [out]
    out.unlink()


@pytest.mark.slow
def test_bar_and_interrupt(full_size, tmp_path):
    for attempt in range(20):
        with Terminal("convert", full_size, tmp_path / f"{attempt}.gguf", "--type", "q4_0") as terminal:
            terminal.expect(r"converting \[=* *\] +\d+%")
            if terminal.running():
                os.kill(terminal.pid, signal.SIGINT)
            code = terminal.wait()
        left = [path.name for path in tmp_path.iterdir()]
        if code == 130:
            assert left in ([], [f"{attempt}.gguf.partial"])
            return
        assert code == 0 and left == [f"{attempt}.gguf"]  # it was through before it heard of it
        (tmp_path / left[0]).unlink()
    raise AssertionError("it never heard of the interrupt")
