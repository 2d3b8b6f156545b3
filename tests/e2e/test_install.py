# SPDX-License-Identifier: MIT
"""What `make install` leaves behind: a program outside of this repository can be built with it, in C and in C++, and
the installed command carries the hardening that the build promises."""
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = """
#include <slm.h>
#include <stdio.h>
int main(void)
{
    struct slm_error error;
    struct slm_model *model = NULL;
    slm_status status = slm_model_open("/no/such/model.gguf", NULL, &model, &error);
    printf("%s %s\\n", slm_version(), slm_status_name(status));
    return status == SLM_ERR_IO ? 0 : 1;
}
"""


def run(*command, **more):
    command = [str(c) for c in command]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, **more).stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    where = tmp_path_factory.mktemp("prefix with a space")
    run("cmake", "--install", ROOT / "build", "--prefix", where)
    return where


@pytest.mark.parametrize("compiler, suffix", [("cc", "c"), ("c++", "cpp")])
def test_a_program_builds_against_the_installed_library(prefix, tmp_path, compiler, suffix):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    source, program = tmp_path / f"use.{suffix}", tmp_path / "use"
    source.write_text(PROGRAM)
    env = {**os.environ, "PKG_CONFIG_PATH": str(next(prefix.glob("lib/**/pkgconfig")))}
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "--static", "slm", env=env))
    run(compiler, "-Wall", "-Wextra", "-Werror", source, "-o", program, *flags)
    version, status = run(program).split()
    assert status == "io"
    assert run(prefix / "bin" / "slm", "--version").split()[-1] == version


def test_the_installed_command_is_hardened(prefix):
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    listing = run("readelf", "-hldW", prefix / "bin" / "slm")
    assert "DYN (Position-Independent Executable" in listing
    assert "GNU_RELRO" in listing
    assert "NOW" in listing
    stack = next(line for line in listing.splitlines() if "GNU_STACK" in line)
    assert "RWE" not in stack
    assert "__stack_chk_fail" in run("readelf", "-Ws", "--dyn-syms", prefix / "bin" / "slm")


def test_only_the_documented_files_are_installed(prefix):
    names = {str(p.relative_to(prefix)) for p in prefix.rglob("*") if p.is_file()}
    assert {Path(n).name for n in names} == {"slm", "libslm.a", "slm.h", "slm.pc"}, names
