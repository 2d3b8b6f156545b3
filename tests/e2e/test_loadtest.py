# SPDX-License-Identifier: MIT
"""`slm loadtest` against a server whose delays are known, because it is here and writes them down, and against slm's own.
Percentiles are Python's of what the server wrote down, up to what a message takes between two processes."""

import asyncio
import contextlib
import json
import os
import statistics
import threading
import time

import pytest

from serving import serving
from support import need_builtin_model, slm

SLOW = float(os.environ.get("SLM_TEST_SLOWDOWN", "1"))
SLACK = 80 * SLOW  # ms that a message may take on a busy machine
# Figures are times, and on a busy machine a message may take longer. What is wrong stays wrong when the server's delays
# are longer, what the machine does weighs less then: so each attempt is slower, and one must be right.
SCALES = (1, 4, 16)


class Fake:
    """An OpenAI server: answer(number, body) says how, as (status, headers, [(delay in s, bytes), ...])."""

    def __init__(self, answer):
        self.answer, self.bodies, self.heads, self.writes = answer, [], [], []
        self.open = self.most_open = 0

    async def serve(self, reader, writer):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(next(l.split(":")[1] for l in head.split("\r\n") if l.lower().startswith("content-length")))
        body = json.loads(await reader.readexactly(length))
        times = [time.monotonic()]
        number = len(self.bodies)
        self.bodies.append(body), self.heads.append(head), self.writes.append(times)
        status, headers, pieces = self.answer(number, body)
        with contextlib.suppress(ConnectionError):
            writer.write(f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode())
            for delay, piece in pieces:
                await asyncio.sleep(delay)
                times.append(time.monotonic())
                writer.write(piece)
                await writer.drain()
            writer.close()
        self.open -= 1

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


def event(value):
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def piece(text, key="content"):
    return event({"choices": [{"delta": {key: text}}]})


STREAM = "Content-Type: text/event-stream\r\nConnection: close\r\n"  # until the end of the connection
END = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}) + event(b"[DONE]")


def steady(first, gap, n=5):
    role = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})  # no text yet: not the first token
    return 200, STREAM, [(0, role), (first, piece("a")), *[(gap, piece("b"))] * (n - 1), (0, END)]


def measure(server, *args):
    done = slm("loadtest", server.url, "--json", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def close(measured, values_ms, slack):
    for q in (50, 90, 95, 99):
        want = statistics.quantiles(values_ms, n=100, method="inclusive")[q - 1]
        assert want - 2 <= measured[f"p{q}_ms"] <= want + slack, (q, measured, sorted(values_ms))
    assert statistics.mean(values_ms) - 2 <= measured["mean_ms"] <= statistics.mean(values_ms) + slack
    assert measured["n"] == len(values_ms)


def at_some_scale(check):
    """Runs the check with longer and longer delays until it holds."""
    for scale in SCALES[:-1]:
        with contextlib.suppress(AssertionError):
            return check(scale)
    return check(SCALES[-1])


def test_a_model_may_say_nul():
    with Fake(lambda i, body: (200, STREAM, [(0, piece("a\0b")), (0, piece("\0")), (0, END)])) as server:
        out, _ = measure(server, "-n", 2)
    assert (out["completed"], out["total_output_tokens"], out["itl"]["n"]) == (2, 10, 2)


def test_figures_are_what_the_server_did():
    at_some_scale(check_figures)


def check_figures(scale):
    good_ms, slack = 205 * scale, SLACK * (scale + 1) / 2
    with Fake(lambda i, body: steady(0.03 * scale * i, (0.01 + 0.005 * (i % 3)) * scale)) as server:
        out, _ = measure(server, "-n", 12, "-c", 12, "--output-len", 5, "--goodput", f"ttft:{good_ms}", "--goodput", "e2el:9e4")
        runs = [[(t - times[0]) * 1000 for t in times[1:]] for times in server.writes[1:]]  # the first is the trial
    ttft, ends = [r[1] for r in runs], [r[-1] for r in runs]
    close(out["ttft"], ttft, slack)
    close(out["e2el"], ends, slack)
    close(out["tpot"], [(e - f) / 4 for e, f in zip(ends, ttft)], slack / 2)
    close(out["itl"], [b - a for r in runs for a, b in zip(r[1:-1], r[2:-1])], slack / 2)
    assert (out["completed"], out["most_at_once"]) == (12, 12)
    assert (out["total_input_tokens"], out["total_output_tokens"]) == (84, 60)
    assert out["request_throughput"] == pytest.approx(12 / out["duration_s"])
    assert out["output_throughput"] == pytest.approx(60 / out["duration_s"])
    assert out["total_token_throughput"] == pytest.approx(144 / out["duration_s"])
    good = round(out["request_goodput"] * out["duration_s"], 6)
    assert sum(t + slack <= good_ms for t in ttft) <= good <= sum(t <= good_ms for t in ttft)


def test_what_is_sent(tmp_path):
    with Fake(lambda i, body: steady(0, 0, 1)) as server:
        measure(server, "-n", 3, "-m", "some model", "--api-key", "abc", "--input-len", 20, "--output-len", 9, "--seed", 4)
        again = len(server.bodies)
        measure(server, "-n", 3, "--input-len", 20, "--seed", 4, "--ignore-eos")
        first, second = server.bodies[:again], server.bodies[again:]
        assert all("\r\nAuthorization: Bearer abc\r\n" in head for head in server.heads[:again])
        assert not any("Authorization" in head for head in server.heads[again:])
        assert first[0] == {"model": "some model", "max_tokens": 9, "temperature": 0, "stream": True,
                            "stream_options": {"include_usage": True}, "messages": first[0]["messages"]}
        texts = [body["messages"][0]["content"] for body in first]
        assert [len(t.split()) for t in texts] == [20] * 4 and len({t.split()[0] for t in texts}) == 3
        assert [b["messages"] for b in second] == [b["messages"] for b in first]
        assert "model" not in second[0] and second[0]["ignore_eos"] is True
        lines = tmp_path / "p.txt"
        lines.write_text("one \"x\"\n\nzwei ä\r\n")
        measure(server, "-n", 3, "--prompts", lines, "--completions", "-c", 1)
        assert [b["prompt"] for b in server.bodies[-3:]] == ['one "x"', "zwei ä", 'one "x"']
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
        lines.write_text(json.dumps({"prompt": "a", "id": 1}) + "\n" + json.dumps({"messages": messages}) + "\n")
        measure(server, "-n", 2, "--prompts", lines, "-c", 1)
        assert [b["messages"] for b in server.bodies[-2:]] == [[{"role": "user", "content": "a"}], messages]
        lines.write_text('{"prompt": [5, 6, 7]}\n')
        measure(server, "-n", 1, "--prompts", lines, "--completions")
        assert server.bodies[-1]["prompt"] == [5, 6, 7]
        assert "--completions" in slm("loadtest", server.url, "--prompts", lines).stderr
        for bad in ('{"prompt": []}', '{"prompt": [1, 2.5]}', '{"prompt": ["a"]}', '{"prompt": 1}'):
            lines.write_text(bad)
            assert "prompt 1 has neither" in slm("loadtest", server.url, "--prompts", lines, "--completions").stderr
        lines.write_text(json.dumps({"messages": messages}))
        assert slm("loadtest", "--prompts", lines, "--completions").returncode == 1


def test_what_fails_is_counted_by_kind():
    def answer(i, body):
        kinds = {1: (429, "Retry-After: 2\r\nContent-Length: 2\r\n", [(0, b"{}")]),
                 2: (503, "retry-after: 1\r\nContent-Length: 0\r\n", []), 3: (503, "Content-Length: 0\r\n", []),
                 4: (500, "Content-Length: 4\r\n", [(0, b"oops")]),
                 5: (200, STREAM, [(0, piece("a")), (0, event({"error": {"message": "broke"}}))]),
                 6: (200, "Content-Type: text/event-stream\r\nContent-Length: 999\r\n", [(0, piece("a"))]),
                 7: (200, "Content-Length: 2\r\n", [(0, b"{}")]),
                 8: (200, STREAM, [(0, piece("a")), (30, END)])}
        return kinds.get(i, steady(0, 0))

    def check(scale):
        with Fake(answer) as server:
            out, said = measure(server, "-n", 10, "-c", 1, "--timeout", 0.5 * scale)
        counts = {k: out[k] for k in ("completed", "refused_429", "refused_503", "refused_with_retry_after", "http_errors",
                                      "broken")}
        assert counts == {"completed": 2, "refused_429": 1, "refused_503": 2, "refused_with_retry_after": 2,
                          "http_errors": 1, "broken": 4}
        assert out["ttft"]["n"] == 2 and "429" in out["first_error"] and "429" in said

    at_some_scale(check)
    with Fake(lambda i, body: (401, "Content-Length: 6\r\n", [(0, b"no key")])) as server:
        done = slm("loadtest", server.url, "-n", 2)
        assert done.returncode == 1 and "no key" in done.stderr and not done.stdout
        url = server.url
    assert "nobody answers" in slm("loadtest", url).stderr


def check_rates(scale):
    rates = [80 / scale, 160 / scale]
    with Fake(lambda i, body: steady(0, 0, 1)) as server:
        done = slm("loadtest", server.url, "--rates", ",".join(f"{r:g}" for r in rates), "-n", 40, "--seed", 3)
        assert done.returncode == 0 and [line.split()[:2] for line in done.stdout.splitlines()[2:]] == \
            [[f"{r:g}", "40"] for r in rates]
        starts = [[t[0] for t in server.writes[a:b]] for a, b in ((1, 41), (42, 82))]
    for rate, times in zip(rates, starts):
        # 39 gaps of mean 1/rate: within four standard errors.
        assert 0.36 / rate < (times[-1] - times[0]) / 39 < 1.64 / rate + SLACK / 1000 / 39


def test_rates_are_kept_with_arrivals_at_random():
    at_some_scale(check_rates)
    with Fake(lambda i, body: steady(0.03, 0)) as server:
        out, _ = measure(server, "--rate", 1000, "-n", 20, "-c", 3)
        assert server.most_open == 3 == out["most_at_once"]


@pytest.mark.parametrize("args, words", [
    (["https://example.org/v1"], "TLS"), (["ftp://example.org"], "http"), (["127.0.0.1:y"], "address"),
    (["--rates", "1,,2"], "--rates"), (["--rate", "1", "--rates", "2"], "one of the two"),
    (["--goodput", "ttft"], "--goodput"), (["--goodput", "xyz:5"], "--goodput"), (["--goodput", "tpot:-1"], "--goodput"),
])
def test_what_is_typed_wrong(args, words):
    done = slm("loadtest", *args)
    assert done.returncode == 2 and words in done.stderr


def test_our_own_server():
    need_builtin_model()
    with serving("--ctx", 512, "--api-key", "loadtest-key") as server:
        server.url += "/v1"
        out, _ = measure(server, "-n", 8, "-c", 4, "--output-len", 20, "--ignore-eos", "--api-key", "loadtest-key")
        assert out["completed"] == 8 and out["total_output_tokens"] == 160
        assert out["e2el"]["p50_ms"] >= out["ttft"]["p50_ms"] > 0
        assert "API key" in slm("loadtest", server.url).stderr
