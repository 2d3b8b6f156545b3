# SPDX-License-Identifier: MIT
"""slm eval as a user sees it: its numbers against the same computed here from `slm logits`, the order of types on trained
models, checkpoints. Perplexity beside llama.cpp's is in tests/oracle/perplexity.py."""

import json
import math
import re

import pytest

from support import ERROR_LINE, ROOT, SHARED, STORIES, interrupt_again_and_again, need, slm

BUILTIN = ROOT / "models/builtin.gguf"
TINYSTORIES = SHARED / "data/models/tinystories-656k"
TALE = ("Once upon a time there was a small fox. The fox had a red ball and played with it all day. One day the ball "
        "rolled into the river, and the fox was sad. A duck saw it and said: I will help you. ") * 12


def evaluated(*args):
    done = slm("eval", *args, "--json", "-q")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def quantized(source, path, kind):
    done = slm("quantize", source, path, kind, "-q")
    assert done.returncode == 0, done.stderr
    return path


def log_softmax(row):
    top = max(row)
    total = math.log(math.fsum(math.exp(x - top) for x in row))
    return [x - top - total for x in row]


def test_numbers_are_those_of_the_logits(tmp_path):
    need(STORIES)
    text, q4 = tmp_path / "text", quantized(STORIES, tmp_path / "q4.gguf", "q4_0")
    text.write_text(TALE)
    window, n_windows = 40, 3
    ids = [int(i) for i in slm("tokenize", STORIES, "--ids", "--bos", stdin=TALE).stdout.split()]
    nll, base_nll, kl, dp, top1, top5 = [], [], [], [], [], []
    for w in range(n_windows):
        part = ids[:1] + ids[w * window + 1:(w + 1) * window]
        sides = []
        for model in (q4, STORIES):
            shown = slm("logits", model, "--ids", " ".join(map(str, part)), "--all", "--json", "--kv", "f32")
            sides.append([log_softmax(row) for row in json.loads(shown.stdout)["logits"]])
        for i in range(window // 2, window - 1):
            mine, base, after = sides[0][i], sides[1][i], part[i + 1]
            order = [sorted(range(len(row)), key=lambda k, row=row: -row[k])[:5] for row in (mine, base)]
            nll.append(-mine[after])
            base_nll.append(-base[after])
            kl.append(math.fsum(math.exp(b) * (b - m) for b, m in zip(base, mine)))
            dp.append(math.exp(mine[after]) - math.exp(base[after]))
            top1.append(order[0][0] == order[1][0])
            top5.append(len(set(order[0]) & set(order[1])) / 5)
    found = evaluated(q4, "--base", STORIES, "--text", text, "--window", window, "--max-windows", n_windows, "--kv", "f32",
                      "--activations", "f32")
    n = len(nll)
    mean = math.fsum(nll) / n
    assert found["tokens"] == n and found["windows"] == n_windows
    assert found["ppl"] == pytest.approx(math.exp(mean), rel=1e-5)
    assert found["nll_error"] == pytest.approx(math.sqrt((math.fsum(x * x for x in nll) / n - mean ** 2) / (n - 1)), rel=1e-4)
    assert found["base_ppl"] == pytest.approx(math.exp(math.fsum(base_nll) / n), rel=1e-5)
    assert found["kl_mean"] == pytest.approx(math.fsum(kl) / n, abs=1e-5)
    assert found["kl_max"] == pytest.approx(max(kl), abs=1e-4)
    assert found["kl_p50"] == pytest.approx(sorted(kl)[n // 2], abs=1e-4)
    assert found["dp_rms"] == pytest.approx(math.sqrt(math.fsum(x * x for x in dp) / n), abs=1e-5)
    assert found["top1"] == pytest.approx(sum(top1) / n) and found["top5"] == pytest.approx(sum(top5) / n, abs=1e-6)


def test_a_model_is_no_distance_from_itself(tmp_path):
    need(STORIES)
    text = tmp_path / "text"
    text.write_text(TALE)
    found = evaluated(STORIES, "--base", STORIES, "--text", text, "--window", 64)
    assert found["kl_max"] == 0 and found["top1"] == 1 and found["top5"] == 1 and found["dp_rms"] == 0
    assert found["ppl"] == found["base_ppl"]


@pytest.mark.parametrize("which", ["builtin", "tinystories"])
def test_more_bits_are_nearer(tmp_path, which):
    base = BUILTIN if which == "builtin" else TINYSTORIES
    need(base)
    text = tmp_path / "text"
    text.write_text(TALE)
    kinds = ("q8_0", "q6_k", "q5_1", "q4_k_m", "q4_0", "q2_k") if which == "builtin" else ("q8_0", "q5_1", "q4_k_m", "q4_0")
    if which == "builtin":
        kinds = kinds[1:]  # it is Q8_0 itself
    kl = [evaluated(quantized(base, tmp_path / f"{kind}.gguf", kind), "--base", base, "--text", text, "--window", 128)["kl_mean"]
          for kind in kinds]
    assert kl == sorted(kl) and kl[0] > 0 and len(set(kl)) == len(kl), dict(zip(kinds, kl))


@pytest.mark.parametrize("base, order", [
    (BUILTIN, "q6_k < q5_1 < q4_k_m < q4_0 < q2_k"),  # it is Q8_0 itself
    (TINYSTORIES, "q8_0 = q6_k < q5_1 < q4_0 = q2_k"),  # rows of 128 have no K-quants; Q4_K_M is Q5_0 and Q8_0
], ids=["builtin", "tinystories"])
def test_fewer_bits_are_more_perplexed(tmp_path, base, order):
    """On text that the original itself makes up: there what a copy loses in perplexity is its KL divergence, and little
    luck. The nearest copy is a thousandth away, which takes millions of tokens to see; it must be no further than that."""
    need(base)
    text = tmp_path / "text"
    with text.open("w") as out:
        for seed in range(24):
            out.write("Once upon a time" + slm("run", base, "--raw", "Once upon a time", "--temp", 1, "--top-k", 0, "--top-p", 1,
                                               "--seed", seed, "-n", 450, "-t", 1).stdout + "\n")
    kinds = re.split(" [<=] ", order)
    ppl = [evaluated(quantized(base, tmp_path / f"{kind}.gguf", kind), "--text", text, "--window", 128)["ppl"] for kind in kinds]
    assert evaluated(base, "--text", text, "--window", 128)["ppl"] == pytest.approx(ppl[0], rel=0.003) and ppl[0] < ppl[2]
    found = kinds[0] + "".join(f" {'=' if a == b else '<' if a < b else '>'} {kind}" for a, b, kind in zip(ppl, ppl[1:], kinds[1:]))
    assert found == order, ppl


def test_threads_change_nothing(tmp_path):
    text = tmp_path / "text"
    text.write_text(TALE)
    assert len({json.dumps(evaluated(BUILTIN, "--text", text, "--window", 96, "-t", n)) for n in (1, 2, 3)}) == 1


def test_resumed_says_the_same(tmp_path):
    text, point = tmp_path / "text", tmp_path / "point"
    text.write_text(TALE * 6)
    args = ["eval", BUILTIN, "--text", text, "--window", 64, "--json", "-q"]
    whole = slm(*args).stdout
    interrupt_again_and_again(args, point)
    assert slm(*args, "--checkpoint", point).stdout == whole != ""
    done = slm("eval", BUILTIN, "--text", text, "--window", 32, "--checkpoint", point)
    assert done.returncode == 1 and "another evaluation" in done.stderr and ERROR_LINE.match(done.stderr)


def test_refusals_are_one_line(tmp_path):
    need(STORIES)
    text = tmp_path / "text"
    text.write_text("too short")
    for args in ([BUILTIN, "--text", text], [BUILTIN, "--text", tmp_path / "none"],
                 [BUILTIN, "--text", ROOT / "README.md", "--base", STORIES, "--window", 64]):
        done = slm("eval", *args)
        assert done.returncode == 1 and ERROR_LINE.match(done.stderr), done.stderr
    assert slm("eval", BUILTIN).returncode == 2
