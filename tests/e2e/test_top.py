# SPDX-License-Identifier: MIT
"""`slm top` on slm's own server, and on one whose numbers are set here, so that it is known what must be shown; on a
pseudo-terminal, which must be left as it was found."""

import fcntl
import http.server
import json
import os
import re
import signal
import struct
import termios
import threading
import time

import pytest

from serving import serving
from support import Terminal, need_builtin_model, slm

TEXT = """# HELP x y
vllm:num_requests_running{{model_name="a}}\\"b"}} 3
vllm:num_requests_running{{model_name="c"}} 2
vllm:num_requests_waiting 7
vllm:kv_cache_usage_perc{{model_name="a}}\\"b"}} 0.3
vllm:kv_cache_usage_perc{{model_name="c"}} 0.1
slm_kv_pages{{model_name="a}}\\"b"}} 300
slm_kv_pages{{model_name="c"}} 100
slm_kv_pages_used{{model_name="a}}\\"b"}} 90
slm_kv_pages_used{{model_name="c"}} 10
slm_kv_pages_cached 50
vllm:prompt_tokens_total {prompt}
vllm:generation_tokens_total {answers}
vllm:prefix_cache_queries_total 200
vllm:prefix_cache_hits_total 50
process_start_time_seconds {start}
vllm:request_success_total{{finished_reason="stop"}} 11
vllm:request_success_total{{model_name="x",finished_reason="length"}} 12
vllm:time_to_first_token_seconds_bucket{{le="0.1"}} {low}
vllm:time_to_first_token_seconds_bucket{{le="0.5"}} {high}
vllm:time_to_first_token_seconds_bucket{{le="+Inf"}} {high}
"""


class Numbers:
    """A server whose counters grow by 1000 and 100 with each look at them; 4 of 10 answers began below .1 s."""

    def __init__(self, port=0, key=None):
        numbers = self
        self.n_looks = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if key and self.headers["Authorization"] != f"Bearer {key}":
                    self.send_response(401)
                    self.end_headers()
                    return
                body = numbers.answer(self.path)
                self.send_response(200 if body else 404)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self, path):
        if path == "/api/ps":
            model = {"name": "evil\x1b[2J", "size": 1500000, "context_length": 512,
                     "details": {"family": "f", "parameter_size": "3.5M"},
                     "expires_at": time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(time.time() + 120))}
            return json.dumps({"models": [model]}).encode()
        if path != "/metrics":
            return b""
        self.n_looks += 1
        return TEXT.format(prompt=1000 * self.n_looks, answers=5 + 100 * self.n_looks, low=4 * self.n_looks,
                           high=10 * self.n_looks, start=time.time() - 3600).encode()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_numbers_are_those_of_the_server():
    with Numbers() as server:
        for url in (server.url, server.url + "/v1"):
            for interval in (0.3, 1.2, 4.8):  # an answer that comes late makes one longer and the next shorter
                began = time.monotonic()
                done = slm("top", url, "--once", "--json", "-i", interval)
                took = time.monotonic() - began
                if 0.8 * interval < 1000 / json.loads(done.stdout)["prompt_tokens_per_s"] < took:
                    break
            else:
                raise AssertionError(done.stdout)
            assert done.returncode == 0 and not done.stderr
            top = json.loads(done.stdout)
            assert (top["running"], top["waiting"], top["kv_usage"], top["kv_pages"]) == (5, 7, 0.25, 400)
            assert top["prefix_hit_rate"] == 0.25 and top["trouble"] is None
            assert 3600 - 1 <= top["up_s"] <= 3600 + took + 1
            assert top["generated_tokens_per_s"] == pytest.approx(top["prompt_tokens_per_s"] / 10, rel=1e-6)
            # Of 10 answers 4 took up to .1 s: the fifth is a sixth of the way to .5.
            assert top["ttft"]["p50_s"] == pytest.approx(0.1 + 0.4 / 6) and top["itl"]["p50_s"] is None
            assert top["ended"] == {"stop": 11, "length": 12, "abort": None, "error": None}
            assert top["models"][0]["bytes"] == 1500000 and 60 < top["models"][0]["leaves_in_s"] < 122
        text = slm("top", server.url, "--once", "-i", "0.2").stdout
        assert "5 running, 7 waiting" in text and "25 % of 400 pages" in text and "\x1b" not in text
        assert re.search(r"first token +167 ms", text) and "evil\\x1B[2J" in text


def test_a_server_of_ours():
    need_builtin_model()
    with serving("--ctx", 512, "--api-key", "top-test-key") as server:
        body = {"prompt": "Once", "max_tokens": 20, "ignore_eos": True}
        server.ask("POST", "/v1/completions", body, {"Authorization": "Bearer top-test-key"})
        assert "--api-key" in slm("top", server.url, "--once").stderr
        top = json.loads(slm("top", server.url, "--once", "--json", "-i", "0.2", "--api-key", "top-test-key").stdout)
        assert top["ended"] == {"stop": 0, "length": 1, "abort": 0, "error": 0} and 0 <= top["kv_usage"] <= 1
        assert [m["name"] for m in top["models"]] == ["builtin"]


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def widest(text):
    """Of the last screen: the length of its longest row, and how many there are."""
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text[text.rindex("\x1b[H"):]).split("\r\n")
    return max(map(len, rows)), len(rows)


@pytest.mark.parametrize("way", ["q", signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_left_as_it_was(way):
    with Numbers() as server, Terminal("top", server.url, "-i", "0.1") as terminal:
        before = terminal.modes
        terminal.expect(r"\x1b\[\?1049h")
        terminal.expect("5 running")
        assert termios.tcgetattr(terminal.fd) != before
        if way == "q":
            resize(terminal, 9, 40)
            sizes = []  # of the screens from here on; the first may have been begun before
            while len(sizes) < 2 or any(columns > 40 or rows > 9 for columns, rows in sizes[-2:]):
                terminal.expect("\x1b\\[H[^J]*slm top.*?\x1b\\[J")
                sizes.append(widest(terminal.seen[:terminal.mark]))
                assert len(sizes) < 1000, sizes[-10:]
            terminal.type("q")
        else:
            os.kill(terminal.pid, way)
        code = terminal.wait()
        assert code == (0 if way in ("q", signal.SIGINT) else -way)
        assert terminal.seen.rstrip().endswith("\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(terminal.fd)[3] == before[3]


def test_a_server_that_goes_and_comes_back():
    with Numbers() as server:
        terminal = Terminal("top", server.url, "-i", "0.1")
        terminal.expect("5 running")
    with terminal:
        terminal.expect("nobody answers")
        with Numbers(server.port):
            # No line of trouble any more.
            terminal.expect(r"slm top[^\r]*\r\n(\x1b\[[0-9]*[mK])*\r\n[^\r]*5 running")
            terminal.type("q")
            assert terminal.wait() == 0


def test_what_is_typed_wrong():
    assert "terminal" in slm("top").stderr and slm("top").returncode == 2
    assert slm("top", "https://example.org").returncode == 2
    done = slm("top", "http://127.0.0.1:1", "--once")
    assert done.returncode == 1 and "nobody answers" in done.stderr and not done.stdout
