# SPDX-License-Identifier: MIT
"""One binary for every CPU of its architecture: emulated machines with fewer features than this one run it, and print
the same text, because every kernel computes the same bits."""
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SLM = ROOT / "build" / "slm"
MODEL = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared")) / "data/models/stories260K/stories260K.gguf"
GENERATE = ["run", "--raw", "-n", "24", "--temp", "0", "--threads", "2"]


def model_arguments():
    """The reference model where there is one, else the built-in one."""
    if MODEL.exists():
        return [str(MODEL)]
    if "this build has none" in subprocess.run([str(SLM), *GENERATE, "x"], capture_output=True, text=True).stderr:
        pytest.skip(f"no {MODEL} and no built-in model")
    return []


@pytest.mark.parametrize("cpu, kernels", [("Nehalem", "scalar"), ("Haswell", "avx2")])
def test_older_cpus_run_the_same_binary(cpu, kernels):
    emulator = shutil.which("qemu-x86_64")
    if platform.machine() != "x86_64" or not emulator:
        pytest.skip("needs qemu-x86_64 on an x86-64 machine")
    command = [str(SLM), *GENERATE, *model_arguments(), "Once upon a time"]
    here = subprocess.run(command, capture_output=True, timeout=120)
    assert here.returncode == 0 and len(here.stdout) > 20, here.stderr
    there = subprocess.run([emulator, "-cpu", cpu, *command], capture_output=True, timeout=240)
    assert there.returncode == 0, there.stderr
    assert there.stdout == here.stdout
    doctor = subprocess.run([emulator, "-cpu", cpu, str(SLM), "doctor"], capture_output=True, text=True, timeout=240)
    assert f"kernels {kernels}" in " ".join(doctor.stdout.split())
