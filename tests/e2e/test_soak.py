# SPDX-License-Identifier: MIT
"""One server for a long time (row M10 of docs/testing.md): clients of every kind, one request in five malformed or
left alone, and at the end the memory, descriptors and threads of the beginning, and the same answer. SLM_SOAK_S is
how many seconds. Deliberately not here: what each malformed request is told (test_http.py, test_serve_bad_requests.py).
"""

import json
import os
import random
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from serving import serving
from support import PATIENCE, eventually, need_builtin_model

SECONDS = float(os.environ.get("SLM_SOAK_S", "600"))
ASK = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 0}
CHAT = {"messages": [{"role": "user", "content": "Tell me a story about a fox"}], "max_tokens": 16}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {
    "a": {"type": "integer"}}, "required": ["a"]}}}
GOOD = [("/v1/completions", ASK), ("/v1/chat/completions", CHAT), ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/messages", {"model": "builtin", **CHAT}), ("/api/generate", {"model": "builtin", "prompt": "Once", "options": {"num_predict": 8}}),
        ("/completion", {"prompt": "The", "n_predict": 8, "n_probs": 3}), ("/v1/embeddings", {"input": ["a", "b c"]}),
        ("/v1/chat/completions", {**CHAT, "response_format": SCHEMA, "max_tokens": 40}), ("/tokenize", {"content": "a b"})]


def request(path, data):
    return (b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % (path.encode(), len(data))) + data


def malformed(draw):
    """Bytes cut, changed, doubled; fields of the wrong kind; a client that leaves."""
    path, body = draw.choice(GOOD)
    data = bytearray(request(path, json.dumps(body).encode()))
    kind = draw.randrange(5)
    if kind == 0:
        return bytes(data[:draw.randrange(len(data))])
    if kind == 1:
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data)
    if kind == 2:
        return draw.randbytes(draw.randint(1, 3000))
    name = draw.choice(list(body))
    wrong = draw.choice([None, -1, [], {}, "x" * 5000, 1e300, [[[[]]]], True])
    return request(path, json.dumps({**body, name: wrong}).encode() * (2 if kind == 3 else 1))


def exchange(port, data, is_good, leaves=False):
    """The answer. Who sends nonsense says when it is over, and may be cut off."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as c:
        try:
            c.sendall(data)
            if not is_good:
                c.shutdown(socket.SHUT_WR)
            return b"" if leaves else b"".join(iter(lambda: c.recv(65536), b""))
        except ConnectionError as error:
            return repr(error).encode()


def state_of(server):
    """Resident bytes of its own, descriptors, threads; when nobody is there but us."""
    folder = Path(f"/proc/{server.process.pid}")
    at_rest = re.compile(r"^slm_http_connections 1$", re.M)
    eventually(lambda: at_rest.search(server.ask("GET", "/metrics")[2]), "rest")
    status = (folder / "status").read_text()
    return (int(re.search(r"RssAnon:\s+(\d+)", status)[1]) << 10, len(list((folder / "fd").iterdir())),
            int(re.search(r"Threads:\s+(\d+)", status)[1]))


@pytest.mark.soak
def test_nothing_grows():
    need_builtin_model()
    counts = {"good": 0, "malformed": 0, "failed": []}
    with serving("--ctx", 512, "--max-running", 8) as server:
        expected = server.post("/v1/completions", **ASK)[2]["choices"][0]["text"]

        def client(seed, end):
            draw = random.Random(seed)
            while time.monotonic() < end:
                if draw.random() < 0.2:
                    exchange(server.port, malformed(draw), False, draw.random() < 0.3)
                    counts["malformed"] += 1
                    continue
                path, body = draw.choice(GOOD)
                answer = exchange(server.port, request(path, json.dumps(body).encode()), True)
                counts["good"] += 1
                if not answer.startswith(b"HTTP/1.1 200"):
                    counts["failed"].append((path, answer[:300]))

        def crowd(first, seconds):
            end = time.monotonic() + seconds
            threads = [threading.Thread(target=client, args=(first + i, end)) for i in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        crowd(0, SECONDS / 4)  # what is allocated once, and caches that fill
        before = state_of(server)
        crowd(100, SECONDS)
        after = state_of(server)
        print(f"report: soak of {SECONDS:.0f} s: {counts['good']} requests, {counts['malformed']} malformed; resident "
              f"{before[0] / 1e6:.2f} MB, then {after[0] / 1e6:.2f}; descriptors {before[1]}, {after[1]}; threads {before[2]}, "
              f"{after[2]}")
        assert not counts["failed"], (len(counts["failed"]), counts["failed"][:5])
        assert counts["malformed"] > 0.1 * counts["good"]
        assert after[1:] == before[1:]
        assert after[0] <= before[0] * 1.01 + (1 << 18), (before, after)
        assert server.post("/v1/completions", **ASK)[2]["choices"][0]["text"] == expected
