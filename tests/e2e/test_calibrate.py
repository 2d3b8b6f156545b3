# SPDX-License-Identifier: MIT
"""slm calibrate as a user sees it. That the sums are those PyTorch sees is checked in tests/oracle/quantizer.py."""

import json

import pytest

from support import ERROR_LINE, ROOT, SHARED, need, slm

BUILTIN = ROOT / "models/builtin.gguf"
TINYSTORIES = SHARED / "data/models/tinystories-656k"
STORIES_TEXT = SHARED / "data/text/tinystories_val.txt"


def calibrated(*args):
    done = slm("calibrate", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_quantizing_loses_less(tmp_path):
    need(TINYSTORIES / "model.safetensors")
    need(STORIES_TEXT)
    learn, judge, imatrix = tmp_path / "learn", tmp_path / "judge", tmp_path / "imatrix.gguf"
    text = STORIES_TEXT.read_text()
    learn.write_text(text[:60000])
    judge.write_text(text[100000:130000])  # not what was calibrated on
    assert "14 matrices" in calibrated(TINYSTORIES, "--text", learn, "-o", imatrix)
    kl = []
    for options in ([], ["--imatrix", imatrix]):
        assert slm("quantize", TINYSTORIES, tmp_path / "q4.gguf", "q4_0", "-q", *options).returncode == 0
        done = slm("eval", tmp_path / "q4.gguf", "--base", TINYSTORIES, "--text", judge, "--json", "-q")
        kl.append(json.loads(done.stdout)["kl_mean"])
    assert kl[1] < kl[0]


def test_threads_and_forms_change_nothing(tmp_path):
    text = tmp_path / "text"
    text.write_text("Once upon a time there was a small fox who liked to sing. " * 30)
    outs = [tmp_path / f"{n}.gguf" for n in range(2)]
    for n, out in enumerate(outs):
        calibrated(BUILTIN, "--text", text, "--window", 64, "-o", out, "-t", 2 * n + 1, "-q")
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize("args", [["--text", "/nowhere"], ["--text", ROOT / "LICENSE", "-o", "/nowhere/x"],
                                  ["--text", ROOT / "LICENSE", "--window", "100000"]])
def test_refusals_are_one_line(args):
    done = slm("calibrate", BUILTIN, *args, "-q")
    assert done.returncode == 1 and ERROR_LINE.match(done.stderr), done.stderr
