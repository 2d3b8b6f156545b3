# SPDX-License-Identifier: MIT
"""slm embed and --lora as a user meets them; what the numbers must be is tested in tests/golden and tests/oracle."""

import array
import json
import math
import random
import shutil
import struct

import pytest

from support import ERROR_LINE, ROOT, STORIES, need, slm

QWEN3 = ROOT / "tests/golden/embeddings/qwen3"
GEMMA = ROOT / "tests/golden/embeddings/gemma"
LLAMA = ROOT / "tests/golden/adapters/llama"


def vectors(*args, **more):
    done = slm("embed", *args, "--json", **more)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def test_a_text_a_file_and_lines_are_the_same(tmp_path):
    (tmp_path / "text").write_text("Hello there")
    one = vectors(QWEN3, "Hello there")
    assert one["dimensions"] == 10 and one["pooling"] == "last" and len(one["embeddings"]) == 1
    assert vectors(QWEN3, "-f", tmp_path / "text") == one
    assert vectors(QWEN3, "-f", "-", stdin="Hello there") == one
    lines = vectors("-m", QWEN3, stdin="first\n\nHello there")["embeddings"]
    assert len(lines) == 3 and lines[2] == one["embeddings"][0]


def test_plain_output_is_a_vector_a_line():
    done = slm("embed", GEMMA, "--dimensions", 4, stdin="a\nb\n")
    assert done.returncode == 0 and done.stderr == ""
    rows = [list(map(float, line.split(" "))) for line in done.stdout.splitlines()]
    assert [len(r) for r in rows] == [4, 4]
    assert all(math.isclose(sum(x * x for x in r), 1, rel_tol=1e-5) for r in rows)


def test_options_change_the_vector():
    plain = vectors(GEMMA, "fox")
    for options in (["--pooling", "last"], ["--no-normalize"], ["--prompt", "query"]):
        assert vectors(GEMMA, "fox", *options)["embeddings"] != plain["embeddings"]


def test_no_text_is_no_vector():
    assert vectors(QWEN3, stdin="")["embeddings"] == []


def assert_fails(done, code, *words):
    assert done.returncode == code and done.stdout == "" and ERROR_LINE.match(done.stderr), done.stderr
    for word in words:
        assert word in done.stderr


def test_what_is_asked_for_wrongly():
    assert_fails(slm("embed", QWEN3, "text", "--pooling", "max"), 2, "'max'", "mean, last, cls")
    assert_fails(slm("embed", QWEN3, "text", "-f", "file"), 2, "one of")
    assert_fails(slm("embed", QWEN3, "text", "--dimensions", 11), 1, "11", "10")
    assert_fails(slm("embed", QWEN3, "a long text " * 9, "--ctx", 8), 1, "text 0", "context holds 8")
    assert_fails(slm("embed", GEMMA, "text", "--prompt", "x"), 1, "document, query")
    assert_fails(slm("run", GEMMA, "text"), 1, "slm embed")


@pytest.mark.parametrize("type_name, most", [("f32", 1e-5), ("f16", 1e-2)])
def test_layers_behind_the_pooling_convert(tmp_path, type_name, most):
    """Two of them, one wider than the model; the file brings the whole way from text to vector."""
    out = tmp_path / "gemma.gguf"
    done = slm("convert", GEMMA, out, "--type", type_name)
    assert done.returncode == 0, done.stderr
    assert "change the width" in done.stderr  # 12 numbers of a model that is 16 wide
    for text in ("The quick brown fox", "x", "Ü 漢"):
        before, after = (vectors(model, text, "--no-normalize")["embeddings"][0] for model in (GEMMA, out))
        assert len(before) == len(after) == 12
        assert max(abs(a - b) for a, b in zip(before, after)) <= most * max(map(abs, before))


def test_layers_a_gguf_file_cannot_hold_are_refused(tmp_path):
    done = slm("convert", QWEN3, tmp_path / "qwen3.gguf")
    assert_fails(done, 1, "2_Dense", "has a bias")
    assert list(tmp_path.iterdir()) == []


def test_lora_is_applied_and_its_scale_is_read(tmp_path):
    """A path may hold '='; a scale is what is a number behind the last one."""
    odd = tmp_path / "r=2"
    shutil.copytree(LLAMA / "one", odd)
    logits = lambda *args: slm("logits", LLAMA / "base.gguf", "--ids", "1 2 3", "--json", *args).stdout
    plain, one = logits(), logits("--lora", LLAMA / "one")
    assert json.loads(plain) != json.loads(one)
    assert logits("--lora", f"{LLAMA / 'one'}=1") == logits("--lora", f"{odd}=1.0") == one
    assert json.loads(logits("--lora", f"{odd}=0")) == json.loads(plain)
    assert logits("--lora", f"{odd}=0.25", "--lora", f"{odd}=0.75") != plain
    assert_fails(slm("logits", LLAMA, "--ids", "1", "--lora", "nowhere"), 1, "nowhere")
    assert_fails(slm("logits", QWEN3.parent / "gemma/model.gguf", "--ids", "1", "--lora", LLAMA / "one"), 1, "base")


def test_quantized_weights_keep_their_adapter_exact(tmp_path):
    """What an adapter adds is computed beside the weight: on Q8_0 and on the same values as F32 it is the same."""
    width, rank, rng = 64, 3, random.Random(1)
    tensors, data = {}, b""
    for layer in range(2):
        for kind, shape in (("A", [rank, width]), ("B", [width, rank])):
            values = array.array("f", (rng.uniform(-0.3, 0.3) for _ in range(width * rank)))
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{kind}.weight"
            tensors[name] = dict(dtype="F32", shape=shape, data_offsets=[len(data), len(data) + 4 * len(values)])
            data += values.tobytes()
    header = json.dumps(tensors).encode()
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (adapter / "adapter_config.json").write_text(json.dumps(dict(peft_type="LORA", r=rank, lora_alpha=6)))
    packed, plain = tmp_path / "q8_0.gguf", tmp_path / "f32.gguf"
    assert slm("convert", need(STORIES), packed, "--type", "q8_0").returncode == 0
    assert slm("convert", packed, plain, "--type", "f32").returncode == 0

    def logits(model, *more):
        done = slm("logits", model, "--ids", "1 20 300 4", "--json", "--kv", "f32", *more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["logits"]

    assert logits(packed) == logits(plain)
    adapted = logits(packed, "--lora", adapter)
    assert adapted == logits(plain, "--lora", adapter) and adapted != logits(packed)
