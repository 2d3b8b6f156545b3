# SPDX-License-Identifier: MIT
"""One binary for every CPU of its architecture: emulated machines with fewer features than this one run it, and print the
same text, because every kernel computes the same bits."""
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SLM = Path(__file__).resolve().parent.parent.parent / "build" / "slm"
COMMAND = [str(SLM), "run", "--raw", "-n", "24", "--temp", "0", "--threads", "2", "Once upon a time"]


@pytest.mark.parametrize("cpu", ["Nehalem", "Haswell"])  # without AVX; with AVX2 and without AVX-512
def test_older_cpus_run_the_same_binary(cpu):
    emulator = shutil.which("qemu-x86_64")
    if platform.machine() != "x86_64" or not emulator:
        pytest.skip("needs qemu-x86_64 on an x86-64 machine")
    here = subprocess.run(COMMAND, capture_output=True, timeout=60)
    assert here.returncode == 0, here.stderr
    there = subprocess.run([emulator, "-cpu", cpu, *COMMAND], capture_output=True, timeout=240)
    assert there.returncode == 0, there.stderr
    assert len(here.stdout) > 20
    assert there.stdout == here.stdout
