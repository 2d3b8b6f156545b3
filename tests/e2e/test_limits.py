# SPDX-License-Identifier: MIT
"""Less machine than there seems to be: control groups and limits on memory (row M02 of docs/testing.md), one core
and a share of it (M09), a machine that stands still again and again (M11). What does not fit is refused with figures
before it is loaded, what fits works, and nobody is killed by the system. How groups nest, and version 2's files, are
in tests/unit/test_base_os.c. Deliberately not here: how fast anything is then."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from serving import Server
from support import ERROR_LINE, PATIENCE, SLM, need_builtin_model

ROOT_GROUP = Path("/sys/fs/cgroup")


@pytest.fixture(autouse=True, scope="module")
def builtin():
    need_builtin_model()


@pytest.fixture
def group():
    """A function that makes a control group with these limits, or skips: group(memory=bytes, cpu=share)."""
    made = []

    def make(memory=None, cpu=None):
        v2 = (ROOT_GROUP / "cgroup.controllers").exists()
        wanted = {}
        if memory:
            wanted["memory"] = [("memory.max" if v2 else "memory.limit_in_bytes", str(memory))]
        if cpu:
            wanted["cpu"] = [("cpu.max", f"{int(cpu * 100000)} 100000")] if v2 else \
                [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", str(int(cpu * 100000)))]
        folders = []
        try:
            for controller, values in wanted.items():
                folder = (ROOT_GROUP if v2 else ROOT_GROUP / controller) / f"slm-test-{os.getpid()}"
                if folder not in folders:
                    folder.mkdir(exist_ok=True)
                    made.append(folder)
                    folders.append(folder)
                for name, value in values:
                    (folder / name).write_text(value)
        except OSError as problem:
            pytest.skip(f"no control group can be made here: {problem}")
        return folders

    yield make
    for folder in dict.fromkeys(made):
        folder.rmdir()


def inside(folders):
    def enter():
        for folder in folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))
    return enter


def run(enter, *args):
    """Whether it worked. If not it was refused in one line, by its own decision."""
    done = subprocess.run([SLM, "run", "Hello", "-n", "60", "--ignore-eos", *map(str, args)], preexec_fn=enter,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    if done.returncode == 1:
        assert ERROR_LINE.match(done.stderr) and re.search(r"\d+ (MiB|bytes)", done.stderr), done.stderr
    return done.returncode == 0


def test_memory_of_a_control_group(group):
    """From far too little to plenty: refused, then done, and no way between."""
    worked = []
    for mib in (4, 8, 12, 16, 24, 32, 40, 48, 64, 96, 160):
        worked.append(run(inside(group(memory=mib << 20)), "--ctx", 32768, "-t", 2))
    assert worked == sorted(worked) and not worked[0] and worked[-1], worked


def test_memory_of_an_address_space():
    worked = []
    for mib in (24, 40, 64, 96, 128, 192, 256, 512):
        worked.append(run(lambda most=mib << 20: resource.setrlimit(resource.RLIMIT_AS, (most, most)), "--ctx", 32768, "-t", 1))
    assert not worked[0] and worked[-1], worked


@contextlib.contextmanager
def serving_in(enter, *args):
    process = subprocess.Popen([SLM, "serve", "--port", "0", "--log-level", "error", *map(str, args)], preexec_fn=enter,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = process.stdout.readline()
        found = re.search(r"listening on \S+:(\d+)$", line.strip())
        assert found, line
        yield Server(process, int(found[1]))
        process.send_signal(signal.SIGTERM)
        tail = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0, tail
    finally:
        process.kill()
        process.wait()


def answers_all(server, n=4):
    """Several at once, whole, and /health meanwhile."""
    got = [None] * n

    def one(i):
        got[i] = server.post("/v1/completions", prompt="Once", max_tokens=60, temperature=0, ignore_eos=True)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        status, _, body = server.ask("GET", "/health")
        assert (status, body) == (200, {"status": "ok"})
        time.sleep(0.02)
    assert all(status == 200 for status, _, _ in got), got
    texts = {body["choices"][0]["text"] for _, _, body in got}
    assert len(texts) == 1 and all(body["usage"]["completion_tokens"] == 60 for _, _, body in got)
    return texts.pop()


@pytest.fixture(scope="module")
def text():
    with serving_in(None) as server:
        yield answers_all(server, 1)


def test_one_core(text):
    """More threads than there are cores, as somebody may ask for by mistake, and others at work on that core."""
    core = {min(os.sched_getaffinity(0))}
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"], preexec_fn=lambda: os.sched_setaffinity(0, core))
    try:
        with serving_in(lambda: os.sched_setaffinity(0, core), "-t", 4) as server:
            assert answers_all(server) == text
    finally:
        busy.kill()
        busy.wait()


def test_a_tenth_of_a_core_and_little_memory(group, text):
    with serving_in(inside(group(memory=512 << 20, cpu=0.1))) as server:
        assert answers_all(server) == text


def test_a_model_that_does_not_fit_a_server(group):
    """The request is told, the server lives."""
    with serving_in(inside(group(memory=8 << 20)), "--ctx", 32768, "-t", 2) as server:
        status, _, body = server.post("/v1/completions", prompt="Once", max_tokens=1)
        assert status in (500, 503) and re.search(r"\d+ MiB", body["error"]["message"]), body
        assert server.ask("GET", "/health")[0] == 200


def test_a_machine_that_stands_still(text):
    """As one that is too hot, or a guest that gets no time: stopped nine tenths of it, a fifth of a second at a time."""
    with serving_in(None) as server:
        done = threading.Event()

        def brake():
            while not done.is_set():
                server.process.send_signal(signal.SIGSTOP)
                time.sleep(0.18)
                server.process.send_signal(signal.SIGCONT)
                time.sleep(0.02)
        thread = threading.Thread(target=brake)
        thread.start()
        try:
            assert answers_all(server) == text
        finally:
            done.set()
            thread.join()
