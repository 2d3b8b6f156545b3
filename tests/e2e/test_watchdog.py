# SPDX-License-Identifier: MIT
"""A model's thread that stands still (row M07 of docs/testing.md). It is stopped from outside, by ptrace, which stops single
threads, so nothing in the program is made for the test. Deliberately not here: why one would."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from serving import Server
from support import PATIENCE, SLM, eventually, need_builtin_model

SEIZE, INTERRUPT, ALL_THREADS = 0x4206, 0x4207, 0x40000000
LONG = "Once upon a time there was a small fox. " * 2500
LIBC = ctypes.CDLL(None, use_errno=True)


def ptrace(request, tid):
    if LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(tid), None, None) != 0:
        pytest.skip(f"threads cannot be stopped here: ptrace: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def serving(*args, **more):
    process = subprocess.Popen([SLM, "serve", "--port", "0", "-t", "1", "--ctx", "32768", *map(str, args)],
                               stderr=subprocess.PIPE, text=True, **more)
    try:
        found = re.search(r"listening on \S+:(\d+)$", process.stderr.readline().strip())
        yield Server(process, int(found[1]))
    finally:
        process.kill()
        process.wait()


def test_a_thread_that_stands_still(tmp_path):
    """Whoever waits is told, health says it, the log says it without what was asked, and the exit code is 70."""
    need_builtin_model()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(PATIENCE)
    env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
    with serving("--watchdog", 2, env=env) as server:
        server.post("/v1/completions", prompt="Once", max_tokens=1)  # from here on it knows how long a step takes
        got = []
        threads = [threading.Thread(target=lambda: got.append(server.post("/v1/completions", prompt=LONG, max_tokens=400)))]
        threads[0].start()
        while server.ask("GET", "/slots")[2] == []:
            assert threads[0].is_alive(), "it was done before it could be stopped"
        stopped = [int(tid) for tid in os.listdir(f"/proc/{server.process.pid}/task") if int(tid) != server.process.pid]
        for tid in stopped:
            ptrace(SEIZE, tid)
            ptrace(INTERRUPT, tid)
        seen = set()
        with contextlib.suppress(OSError):
            while not got or len(seen) < 2:
                status, _, body = server.ask("GET", "/health")
                seen.add((status, body["status"]))
                time.sleep(0.01)
        def has_ended():
            for tid in stopped:  # whoever stopped them has to take note of their end
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(tid, os.WNOHANG | ALL_THREADS)
            return server.process.poll() is not None
        eventually(has_ended, "the end")
        assert server.process.returncode == 70
        log = server.process.stderr.read()
        threads[0].join()
    assert got[0][0] == 503 and "no progress" in got[0][2]["error"]["message"], got
    assert (200, "ok") in seen and (503, "stuck") in seen, seen
    assert "stands still" in log and "builtin" in log and "requests=1" in log and "fox" not in log, log
    told = [notify.recv(100) for _ in range(3)]
    assert b"READY=1" in told and b"WATCHDOG=1" in told


def test_a_server_that_was_stopped_is_not_stuck():
    """The whole process stood still, as on a machine that slept: nobody looked, so nobody was missed."""
    need_builtin_model()
    with serving("--watchdog", 1) as server:
        got = []
        thread = threading.Thread(target=lambda: got.append(server.post("/v1/completions", prompt=LONG, max_tokens=1)))
        thread.start()
        for _ in range(3):
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(1.3)
            server.process.send_signal(signal.SIGCONT)
        thread.join()
        assert got[0][0] == 200
        assert server.ask("GET", "/health")[0] == 200
