# SPDX-License-Identifier: MIT
"""slm quantize as a user sees it: smaller files that still tell stories, notes, refusals, kills, memory."""

import array
import random
import signal
import struct
import subprocess
import time

import pytest

from support import ERROR_LINE, PATIENCE, SHARED, SLM, STORIES, has_come_to, need, slm, stamp

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


def stopped(command, number, partial, share):
    """The command, sent a signal once that share of its file is written; None when it was faster than our looking."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as job:
        while job.poll() is None and not has_come_to(partial, share):
            time.sleep(0.0005)
        job.send_signal(number)
        _, said = job.communicate(timeout=PATIENCE)
    assert job.returncode in (0, 130, -signal.SIGKILL), said
    return None if job.returncode == 0 else said


def test_interrupted_and_gone_on_with(tmp_path):
    """Ctrl-C and kills one after the other: the last run ends in the file of a run that nothing happened to."""
    big, out, whole = tmp_path / "big.gguf", tmp_path / "out.gguf", tmp_path / "whole.gguf"
    partial = tmp_path / "out.gguf.partial"
    write_wide(big)
    quantized(big, whole, "iq4_xs")
    command = [SLM, "quantize", big, out, "iq4_xs", "-t", "1"]
    resumed = attempt = 0
    ends = [(signal.SIGINT, 0.1), (signal.SIGKILL, 0.3), (signal.SIGKILL, 0.5), (signal.SIGINT, 0.7)]
    while ends:
        number, share = ends[0]
        attempt += 1
        assert attempt < 40, "it was through before it was looked at"
        said = stopped(command, number, partial, share)
        if said is None:
            assert out.read_bytes() == whole.read_bytes()
            out.unlink()
            continue
        ends.pop(0)
        assert not out.exists()
        resumed += "goes on with" in said
        if number == signal.SIGINT and partial.exists():
            assert "the same command goes on where this one was" in said
            assert slm("inspect", partial).returncode == 1  # no model, whatever it is called
    assert "begins anew" not in quantized(*command[2:])
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.gguf", "out.gguf", "whole.gguf"]
    assert resumed > 0


def test_two_at_once(tmp_path):
    big, out = tmp_path / "big.gguf", tmp_path / "out.gguf"
    write_wide(big)
    with subprocess.Popen([SLM, "quantize", big, out, "iq4_xs", "-t", "1", "-q"]) as first:
        while not (stamp(tmp_path / "out.gguf.partial") or (0, 0))[1] and first.poll() is None:
            time.sleep(0.002)  # what is in the file was written by who has locked it
        second = slm("quantize", big, out, "q8_0")
        still = first.poll() is None
        assert first.wait() == 0
    if still:
        assert second.returncode == 1 and "is being written by another process" in second.stderr
        assert ERROR_LINE.fullmatch(second.stderr)
        assert out.stat().st_size < 16e6  # the first one's


@pytest.mark.parametrize("args", [["q8_0"], ["q5_1", "--pack", "--tensor", "ffn_down=q8_0"]])
def test_killed_from_a_folder(tmp_path, args):
    """Its files are small, so it is stopped by their size, at any byte."""
    need(TINYSTORIES / "model.safetensors")
    out, whole = tmp_path / "out.gguf", tmp_path / "whole.gguf"
    command = ["quantize", TINYSTORIES, out, *args]
    quantized(TINYSTORIES, whole, *args)
    resumed = 0
    for limit in (280_000, 400_000, 550_000):
        cut = subprocess.run(["bash", "-c", f'ulimit -f {limit // 1024}; exec "$@"', "-", SLM, *command],
                             capture_output=True, text=True)
        assert cut.returncode != 0 and not out.exists()
        resumed += "goes on with" in cut.stderr
    resumed += "goes on with" in quantized(*command[1:])
    assert out.read_bytes() == whole.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


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
