# SPDX-License-Identifier: MIT
"""What clients cost: memory of connections that wait, computing of prompts that begin alike."""

import os
import re
import resource
import socket
import subprocess
import threading
import time

import pytest

from serving import serving
from support import PATIENCE, SLM, cpu_seconds, eventually, need_builtin_model

SLOW = float(os.environ.get("SLM_TEST_SLOWDOWN", "1"))
N_IDLE, MOST_BYTES = 1000, 16 << 10


@pytest.fixture(autouse=True, scope="module")
def builtin():
    need_builtin_model()


def anonymous_bytes(server):
    """Memory that is the process's own: not the program, nor a mapped model."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1]) << 10


def answer(connection):
    """The body of one reply; the connection stays."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    while len(body) < int(re.search(rb"content-length: (\d+)", head, re.I)[1]):
        body += connection.recv(65536)
    return body


@pytest.mark.skipif(SLOW > 1, reason="sanitizers take memory of their own")
def test_an_idle_connection_costs_at_most_16_kib():
    """Each has had a reply, with a body that was not small, and may ask again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < N_IDLE + 100:
        pytest.skip(f"{hard} files may be open, {N_IDLE + 100} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, N_IDLE + 100), hard))
    body = b'{"content": "%s"}' % (b"once upon a time " * 500)
    request = (b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
               % len(body)) + body
    with serving("--ctx", 256) as server:
        connect = lambda: socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        for _ in range(20):  # what the server takes once, whoever comes
            with connect() as connection:
                connection.sendall(request)
                answer(connection)
        before, idle = anonymous_bytes(server), []
        try:
            for _ in range(N_IDLE):
                idle.append(connect())
                idle[-1].sendall(request)
                assert answer(idle[-1]).startswith(b'{"tokens":')
            cost = (anonymous_bytes(server) - before) / N_IDLE
            print(f"an idle connection: {cost:.0f} bytes")
            assert cost <= MOST_BYTES
            idle[-1].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b'"ok"' in answer(idle[-1])
        finally:
            for connection in idle:
                connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


PAGE = 32  # tokens; the last page of what is shared is not full and is computed by everybody


def counted(server):
    text = server.ask("GET", "/metrics")[2]
    value = lambda name: int(re.search(rf"^{name}(?:{{[^}}]*}})? (\d+)$", text, re.M)[1])
    return (value("llamacpp:prompt_tokens_total"), value("vllm:prefix_cache_hits_total"), value("vllm:prompt_tokens_total"))


def test_a_shared_system_prompt_is_computed_once():
    """Twelve clients at once, and one long after they have gone."""
    system = "There was a small house near the forest where a girl lived with her dog and a red ball. " * 100
    with serving("--ctx", 4096) as server:
        asks = [{"messages": [{"role": "system", "content": system}, {"role": "user", "content": f"Story number {i}"}],
                 "max_tokens": 3} for i in range(13)]
        n_shared = len(server.post("/tokenize", content=system)[2]["tokens"])
        assert n_shared >= 2000
        usages = [None] * 12

        def run(i):
            usages[i] = server.post("/v1/chat/completions", **asks[i])[2]["usage"]

        threads = [threading.Thread(target=run, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        computed, found, asked = counted(server)
        assert asked == computed + found == sum(u["prompt_tokens"] for u in usages) > 12 * n_shared
        own = max(u["prompt_tokens"] for u in usages) - n_shared + PAGE
        assert computed <= n_shared + 12 * own, (computed, n_shared, own)
        assert sorted(u["prompt_tokens_details"]["cached_tokens"] for u in usages)[1] >= n_shared - PAGE
        late = server.post("/v1/chat/completions", **asks[12])[2]["usage"]
        assert late["prompt_tokens_details"]["cached_tokens"] >= n_shared - PAGE
        assert counted(server)[0] - computed <= own


def test_no_more_files_is_no_more_than_waiting():
    """With 64 files and 100 clients the server neither spins nor falls over, and serves on when some have gone."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    process = subprocess.Popen([str(SLM), "serve", "--port", "0", "-t", "1", "--ctx", "128", "--log-level", "error"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=limit)
    port = int(re.search(r":(\d+)$", process.stdout.readline().strip())[1])
    connect = lambda: socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    crowd = [connect() for _ in range(100)]
    for c in crowd:
        c.sendall(request)
    assert all(b'"ok"' in answer(c) for c in crowd[:20])
    def is_quiet():
        """Who spins never is; a model that is still being loaded, or answers that are still being written, have an end."""
        before, began = cpu_seconds(process.pid), time.monotonic()
        time.sleep(0.3)
        return cpu_seconds(process.pid) - before <= 0.05 * (time.monotonic() - began)

    eventually(is_quiet, "waiting without work", 30)
    assert b'"ok"' in (crowd[0].sendall(request) or answer(crowd[0]))
    for c in crowd[:80]:
        c.close()
    with connect() as late:
        late.sendall(request)
        assert b'"ok"' in answer(late)
    for c in crowd[80:]:
        c.close()
    process.terminate()
    tail = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, tail
