# SPDX-License-Identifier: MIT
"""How requests and servers end before their time: the server's limit on a request, in every API, before the first byte
and behind it; and SIGTERM while a model is being loaded. Deliberately not here: drains with requests at work
(test_serve_load.py)."""

import os
import signal
import subprocess
import time

import openai
import pytest

from serving import serving
from support import SLM, need_builtin_model

SLOW = float(os.environ.get("SLM_TEST_SLOWDOWN", "1"))

LONG = {"temperature": 0, "ignore_eos": True}
PROMPT = [{"role": "user", "content": "Tell me a long story."}]
ENDLESS = {"type": "string", "minLength": 60000}  # where nobody can ask to go on behind the end
# Path, body, and where the error's type stands (None: Ollama's are texts).
APIS = {
    "chat": ("/v1/chat/completions", {"messages": PROMPT, "n": 8, **LONG}, "type"),
    "completions": ("/v1/completions", {"prompt": "Once", "max_tokens": 100000, "n": 8, **LONG}, "type"),
    "native": ("/completion", {"prompt": "Once", "n_predict": -1, **LONG}, "type"),
    "ollama": ("/api/generate", {"prompt": "Once", "raw": True, "format": ENDLESS}, None),
}


@pytest.fixture(scope="module")
def server():
    need_builtin_model()
    with serving("--request-timeout", 0.02 * SLOW) as s:
        yield s


def is_timeout(error, where):
    text = error if where is None else error["message"]
    assert "--request-timeout" in text and "0.02" in text or SLOW > 1, text
    assert where is None or error[where] == "timeout_error", error


@pytest.mark.parametrize("api", APIS)
def test_the_limit_of_a_request(server, api):
    """No answer that looks as if it had ended: 504, or an error as the last event of a stream."""
    path, body, where = APIS[api]
    if api == "ollama":
        body = {"model": server.ask("GET", "/api/tags")[2]["models"][0]["name"], **body}
    status, headers, answer = server.ask("POST", path, {**body, "stream": False})
    assert status == 504, answer
    assert headers["X-Should-Retry"] == "false"
    is_timeout(answer["error"], where)
    events = server.stream(path, **body)
    last = events[-1][1] if isinstance(events[-1], tuple) else events[-1]
    is_timeout(last["error"], where)
    assert not any("error" in (e[1] if isinstance(e, tuple) else e) for e in events[:-1])


def test_what_the_client_asked_for_is_no_error(server):
    status, _, answer = server.post("/completion", prompt="Once", n_predict=-1, t_max_predict_ms=15 * SLOW, **LONG)
    assert status == 200 and answer["stop_type"] == "limit" and answer["content"]


def test_clients_get_their_exceptions_once(server):
    """The clients try again by themselves after a 504; here they are told not to."""
    started = time.monotonic()
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=5)
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model="", messages=PROMPT, n=8, extra_body=LONG)
    assert failed.value.status_code == 504 and failed.value.code == "request_timeout"
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(model="", messages=PROMPT, stream=True, n=8, extra_body=LONG):
            pass
    assert time.monotonic() - started < 5 * SLOW  # five tries have pauses of seconds between them


@pytest.mark.parametrize("delay", [0, 0.002, 0.01, 0.03])
def test_sigterm_while_loading(delay):
    """Once it listens SIGTERM ends it with 0, whatever the loader is at."""
    need_builtin_model()
    process = subprocess.Popen([str(SLM), "serve", "--port", "0", "-t", "1", ""], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    assert "listening" in process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=20 * SLOW)[0]
    assert process.returncode == 0, said
    assert "stopped" in said
