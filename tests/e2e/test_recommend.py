# SPDX-License-Identifier: MIT
"""`slm recommend`: sizes must be those that quantizing gives, the choice must follow from the numbers beside it, and what
was measured must be what `slm eval` measures. Predicted speeds are compared with measured ones in docs/quantization.md,
not here: nothing that other programs can disturb is a test."""

import json
import re

import pytest

from support import ERROR_LINE, ROOT, STORIES, need, slm

BUILTIN = ROOT / "models/builtin.gguf"
TALE = ("Once upon a time there was a small fox. The fox had a red ball and played with it all day. One day the ball "
        "rolled into the river, and the fox was sad. A duck saw it and said: I will help you. ") * 12
MEMORY = {"weights_bytes", "kv_bytes", "scratch_bytes", "total_bytes"}
CHOICE = MEMORY | {"type", "prefill_tok_s", "decode_tok_s", "decode_full_tok_s", "kl_mean", "kl_measured", "fits", "fast",
                   "chosen"}
TOP = {"model", "cpu", "read_bytes_s", "int8_mac_s", "f32_flop_s", "ram_bytes", "n_ctx", "min_speed", "choice",
       "choice_type", "reason"}


def recommended(*args, code=0):
    done = slm("recommend", *args, "--json")
    assert done.returncode == code, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == TOP | {"choices" if answer["model"] else "shapes"}
    assert bool(ERROR_LINE.match(done.stderr)) == (code == 1) and (answer["choice"] is None) == (code == 1)
    return answer


def test_sizes_are_those_of_files(tmp_path):
    found = recommended(BUILTIN, "-t", 1)
    stored = json.loads(slm("inspect", BUILTIN, "--json", "-t", 1).stdout)
    assert found["choices"][0]["type"] is None and found["choices"][0]["kl_mean"] == 0
    assert {k: found["choices"][0][k] for k in MEMORY} == {k: stored["memory"][-1][k] for k in MEMORY}
    assert found["n_ctx"] == stored["memory"][-1]["n_ctx"] == 512 and found["choice"] == "as it is"
    for choice in found["choices"]:
        assert set(choice) == CHOICE and choice["weights_bytes"] <= stored["weights_bytes"]
        assert choice["decode_tok_s"] > choice["decode_full_tok_s"] > 0 < choice["prefill_tok_s"]
        if choice["type"] in ("Q5_K_M", "IQ4_XS", "Q3_K_L", "Q2_K"):
            assert slm("quantize", BUILTIN, tmp_path / "q.gguf", choice["type"], "-q").returncode == 0
            made = json.loads(slm("inspect", tmp_path / "q.gguf", "--json", "-t", 1).stdout)
            assert {k: choice[k] for k in MEMORY} == {k: made["memory"][-1][k] for k in MEMORY}, choice["type"]
    assert "F16" not in [c["type"] for c in found["choices"]]  # no smaller than the file is


def test_the_choice_follows(tmp_path):
    """The least loss among what fits, at every size between two types."""
    everything = recommended(BUILTIN, "-t", 1)["choices"]
    for limit in sorted(c["total_bytes"] for c in everything)[::5]:
        found = recommended(BUILTIN, "--ram", limit, "-t", 1)
        able = [c for c in found["choices"] if c["total_bytes"] <= limit]
        assert [c["fits"] for c in found["choices"]] == [c in able for c in found["choices"]]
        chosen = [c for c in found["choices"] if c["chosen"]]
        assert len(chosen) == 1 and chosen[0] in able and chosen[0]["kl_mean"] == min(c["kl_mean"] for c in able)
        assert found["choice_type"] == chosen[0]["type"] and found["reason"].startswith(found["choice"])
    text = slm("recommend", BUILTIN, "--ram", limit).stdout
    assert not re.search(r" $", text, re.M) and len(re.findall(r"(?m)^\*", text)) == 1


def test_nothing_fits():
    found = recommended(BUILTIN, "--ram", "1M", code=1)
    assert "nothing fits into 1.00 MB" in found["reason"] and "Q2_K" in found["reason"]
    found = recommended(BUILTIN, "--min-speed", "1e9", code=1)
    assert "tokens a second" in found["reason"] and not any(c["fast"] for c in found["choices"])
    assert recommended("--ram", "10M", code=1)["shapes"]


def test_losses_are_measured(tmp_path):
    text = tmp_path / "text"
    text.write_text(TALE)
    found = recommended(BUILTIN, "--ram", "6.1M", "--text", text, "--max-windows", 1, "-t", 1)
    able = [c for c in found["choices"] if c["fits"]]
    assert able and all(c["kl_measured"] == (c["fits"] or c["type"] is None) for c in found["choices"])
    for choice in able:
        slm("quantize", BUILTIN, tmp_path / "q.gguf", choice["type"], "-q")
        told = json.loads(slm("eval", tmp_path / "q.gguf", "--base", BUILTIN, "--text", text, "--max-windows", 1, "--json",
                              "-t", 1).stdout)
        assert choice["kl_mean"] == told["kl_mean"]


def test_shapes():
    found = recommended("--ram", "8G", "--ctx", 2048)
    shapes = found["shapes"]
    assert [s["n_params"] for s in shapes] == sorted(s["n_params"] for s in shapes) and len(shapes) >= 10
    for shape in shapes:
        assert set(shape) >= {"shape", "size_class", "n_params", "type", "chosen"}
        assert shape["type"] is None or (shape["total_bytes"] <= 8e9 and shape["fits"] and shape["fast"])
    assert {s["size_class"] for s in shapes} == {s["size_class"] for s in shapes if s["chosen"]} == {"micro", "small"}
    best = next(s for s in shapes if s["shape"] == found["choice"])
    assert best["chosen"] and best["n_params"] == max(s["n_params"] for s in shapes) and found["choice_type"]
    # Trained with three values: nothing else is offered.
    assert {s["type"] for s in shapes if s["shape"].startswith("bitnet")} <= {"TQ1_0", "TQ2_0"}


@pytest.mark.slow  # writes 0.6 GB
def test_sizes_of_shapes_are_those_of_files(tmp_path):
    """A file of that shape has the bytes and needs the memory that was predicted without one."""
    path = tmp_path / "made.gguf"
    assert slm("bench", "--shape", "gemma-3-1b:q4_0", "--save", path, "-p", 1, "-n", 1, "-r", 1).returncode == 0
    made = json.loads(slm("inspect", path, "--json", "-c", 1024, "-t", 1).stdout)
    listed = recommended(path, "--ctx", 1024, "-t", 1)["choices"]
    # Less than this file needs, so that the shape can be no larger than Q4_0.
    found = recommended("--ram", made["memory"][0]["total_bytes"], "--ctx", 1024, "-t", 1)
    shape = next(s for s in found["shapes"] if s["shape"] == "gemma-3-1b")
    same = next((c for c in listed if c["type"] == shape["type"]), listed[0])
    assert {k: shape[k] for k in MEMORY} == {k: same[k] for k in MEMORY}
    assert shape["n_params"] == made["n_params"] and {k: listed[0][k] for k in MEMORY} == {
        k: made["memory"][0][k] for k in MEMORY}


@pytest.mark.parametrize("args, code, words", [
    (["--ram", "much"], 2, "--ram"), (["--text", "x"], 2, "--text"), (["--ctx", "0"], 2, "--ctx"),
    (["--min-speed", "-1"], 2, "--min-speed"), (["absent.gguf"], 1, "absent.gguf"),
    ([BUILTIN, "--ctx", "1024"], 1, "512"), ([BUILTIN, "--text", "absent.txt"], 1, "absent.txt"),
])
def test_wrong_wishes(args, code, words):
    done = slm("recommend", *args)
    assert done.returncode == code and ERROR_LINE.match(done.stderr) and words in done.stderr and done.stdout == ""


def test_floats_lose_nothing():
    """F32 weights fit, and F16 is smaller at no loss that the table knows of."""
    found = recommended(need(STORIES), "--ctx", 1024)
    assert found["n_ctx"] == 1024 and found["choice"] == "F16" and {"F16", "Q8_0"} <= {
        c["type"] for c in found["choices"]}
