# SPDX-License-Identifier: MIT
"""slm quantize as a user sees it: smaller files that still tell stories, notes, refusals, kills, memory."""

import array
import random
import signal
import struct
import subprocess
import time

import pytest

from support import ERROR_LINE, SHARED, SLM, STORIES, need, slm

TINYSTORIES = SHARED / "data/models/tinystories-656k"


def quantized(*args):
    done = slm("quantize", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def types_of(path):
    rows = slm("inspect", path, "--tensors").stdout.splitlines()
    return {row.split()[0].strip('"'): row for row in rows if "weight" in row}


@pytest.mark.parametrize("kind,most", [("f16", 1.1), ("q8_0", 0.6), ("q6_k", 0.6), ("q5_1", 0.5), ("q4_k_m", 0.5),
                                       ("q4_0", 0.42), ("iq4_nl", 0.42)])
def test_smaller_and_still_speaks(tmp_path, kind, most):
    need(TINYSTORIES / "model.safetensors")
    out, f16 = tmp_path / "out.gguf", tmp_path / "f16.gguf"
    quantized(TINYSTORIES, out, kind)
    assert slm("convert", TINYSTORIES, f16, "--type", "f16", "-q").returncode == 0
    assert out.stat().st_size < most * f16.stat().st_size
    said = slm("run", out, "--raw", "Once upon a time", "--temp", "0", "-n", "8")
    assert said.returncode == 0 and ("there was a" in said.stdout or "a little girl" in said.stdout)


def test_same_bytes_from_folder_and_file(tmp_path):
    need(TINYSTORIES / "model.safetensors")
    assert slm("convert", TINYSTORIES, tmp_path / "file.gguf", "-q").returncode == 0
    quantized(TINYSTORIES, tmp_path / "a.gguf", "q5_k_m", "-t", 1)
    quantized(tmp_path / "file.gguf", tmp_path / "b.gguf", "Q5_K_M", "-t", 3)
    assert types_of(tmp_path / "a.gguf").keys() == types_of(tmp_path / "b.gguf").keys()
    logits = [slm("logits", tmp_path / name, "--ids", "1 2 3", "--json").stdout for name in ("a.gguf", "b.gguf")]
    assert logits[0] == logits[1] != ""


def test_tensors_head_and_notes(tmp_path):
    need(STORIES)
    said = quantized(STORIES, tmp_path / "x.gguf", "q4_k_m", "--tensor", "ffn_down=f16", "--head", "q4_0")
    assert "written as Q5_0" in said
    rows = types_of(tmp_path / "x.gguf")
    assert "F16" in rows["blk.1.ffn_down.weight"] and "Q4_0" in rows["output.weight"]
    assert "Q5_0" in rows["blk.0.attn_q.weight"] and "F32" in rows["blk.0.attn_norm.weight"]
    assert quantized(STORIES, tmp_path / "x.gguf", "q4_k_m", "-q") == ""


@pytest.mark.parametrize("args", [[], ["in.gguf"], ["in.gguf", "out.gguf"],
                                  ["in.gguf", "out.gguf", "q8_0", "--tensor", "x"]])
def test_bad_usage(args):
    done = slm("quantize", *args)
    assert done.returncode == 2 and ERROR_LINE.match(done.stderr), done.stderr


def test_refusals_are_one_line(tmp_path):
    need(STORIES)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(STORIES.read_bytes()[:-5000])
    for args in ([STORIES, tmp_path / "x.gguf", "q9"], [STORIES, STORIES, "q8_0"], [cut, tmp_path / "x.gguf", "q8_0"],
                 [STORIES, tmp_path / "x.gguf", "q8_0", "--imatrix", STORIES],
                 [STORIES, tmp_path / "x.gguf", "q8_0", "--head", "u4"],
                 [tmp_path / "none.gguf", tmp_path / "x.gguf", "q8_0"]):
        before = STORIES.stat().st_size
        done = slm("quantize", *args, "-q")
        assert done.returncode == 1 and ERROR_LINE.match(done.stderr), done.stderr
        assert not (tmp_path / "x.gguf").exists() and STORIES.stat().st_size == before


def test_interrupted_leaves_nothing(tmp_path):
    need(STORIES)
    big = tmp_path / "big.gguf"
    write_wide(big)
    for after in (0.05, 0.2, 0.4):
        job = subprocess.Popen([SLM, "quantize", big, tmp_path / "out.gguf", "iq4_xs", "-t", "1"],
                               stderr=subprocess.PIPE, text=True)
        time.sleep(after)
        job.send_signal(signal.SIGINT)
        _, said = job.communicate(timeout=60)
        assert job.returncode in (0, 130), said
        left = sorted(p.name for p in tmp_path.iterdir())
        assert left == (["big.gguf", "out.gguf"] if job.returncode == 0 else ["big.gguf"]), left
        (tmp_path / "out.gguf").unlink(missing_ok=True)


def write_wide(path):
    """A file of one large matrix of noise, 100 MB."""
    rng = random.Random(1)
    data = array.array("f", (rng.gauss(0, 1) for _ in range(1 << 15))) * 800

    def string(text):
        return struct.pack("<Q", len(text)) + text.encode()
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + string("general.architecture") + struct.pack("<I", 8)
    head += string("none") + string("blk.0.ffn_up.weight") + struct.pack("<IQQIQ", 2, 1024, 25 * 1024, 0, 0)
    path.write_bytes(head + bytes(-len(head) % 32) + data.tobytes())


def test_memory_is_bounded(tmp_path):
    write_wide(tmp_path / "big.gguf")
    done = subprocess.run(["/usr/bin/env", "python3", "-c", "import resource, subprocess, sys\n"
                           "done = subprocess.run(sys.argv[1:])\n"
                           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(done.returncode)",
                           SLM, "quantize", tmp_path / "big.gguf", tmp_path / "out.gguf", "q4_0", "-t", "2", "-q"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 80 * 1024  # KiB; two chunks of 16 MiB as F32, and some units


def test_packed(tmp_path):
    """Says the same, is named as packed, and is the end of the road."""
    need(TINYSTORIES / "model.safetensors")
    plain, packed = tmp_path / "plain.gguf", tmp_path / "packed.gguf"
    quantized(TINYSTORIES, plain, "q5_0")
    quantized(TINYSTORIES, packed, "q5_0", "--pack")
    ask = ("--raw", "Once upon a time", "--temp", "0.8", "--seed", "3", "-n", "40")
    assert slm("run", packed, *ask).stdout == slm("run", plain, *ask).stdout != ""
    assert "tensors in panels, layout 1" in slm("inspect", packed).stdout
    assert "in panels" not in slm("inspect", plain).stdout
    again = slm("convert", packed, tmp_path / "again.gguf")
    assert again.returncode == 1 and "is packed" in again.stderr and ERROR_LINE.fullmatch(again.stderr)
    packed.write_bytes(packed.read_bytes()[:-1])
    cut = slm("run", packed, *ask)
    assert cut.returncode == 1 and "it is cut short" in cut.stderr
