# SPDX-License-Identifier: MIT
"""How requests and servers end before their time: the server's limit on a request, in every API, before the first byte
and behind it; and SIGTERM while a model is being loaded. Deliberately not here: drains with requests at work
(test_serve_load.py)."""

import contextlib
import json
import re
import signal
import subprocess
import time

import openai
import pytest

from serving import serving
from support import PATIENCE, SLM, need_builtin_model

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


# An answer must have begun before its time is over. How soon it begins is the machine's affair, so there are longer
# limits for those that are slow or busy.
LIMITS = (0.02, 0.2, 1, 5)


@pytest.fixture(scope="module")
def servers():
    need_builtin_model()
    with contextlib.ExitStack() as stack:
        running = {}
        yield lambda limit: running.get(limit) or running.setdefault(
            limit, stack.enter_context(serving("--request-timeout", limit, "--ctx", 32768)))


@pytest.fixture(scope="module")
def server(servers):
    return servers(LIMITS[0])


def is_timeout(error, where, limit=LIMITS[0]):
    text = error if where is None else error["message"]
    assert "--request-timeout" in text and f"the {limit} s" in text, text
    assert where is None or error[where] == "timeout_error", error


@pytest.mark.parametrize("api", APIS)
def test_the_limit_of_a_request(servers, server, api):
    """No answer that looks as if it had ended: 504, or an error as the last event of a stream."""
    path, body, where = APIS[api]
    if api == "ollama":
        body = {"model": server.ask("GET", "/api/tags")[2]["models"][0]["name"], **body}
    status, headers, answer = server.ask("POST", path, {**body, "stream": False})
    assert status == 504, answer
    assert headers["X-Should-Retry"] == "false"
    is_timeout(answer["error"], where)
    for limit in LIMITS:
        status, _, answer = servers(limit).ask("POST", path, {**body, "stream": True})
        if status == 200:
            break
        assert status == 504, answer
    else:
        raise AssertionError("no answer began in time")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.splitlines() if line.startswith(("data: {", "{"))]
    is_timeout(events[-1]["error"], where, limit)
    assert len(events) > 1 and not any("error" in e for e in events[:-1])


def test_what_the_client_asked_for_is_no_error(server):
    for limit in LIMITS:
        status, _, answer = server.post("/completion", prompt="Once", n_predict=-1, t_max_predict_ms=int(1000 * limit),
                                        context_shift=True, **LONG)
        assert status == 200 and answer["stop_type"] == "limit"
        if answer["content"]:
            return
    raise AssertionError("nothing was said in time")


def test_clients_get_their_exceptions_once(server):
    """The clients try again by themselves after a 504; here they are told not to."""
    failed_so_far = lambda: int(re.search(r'^http_requests_total.*"5xx".* (\d+)$', server.ask("GET", "/metrics")[2], re.M)[1])
    before = failed_so_far()
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=5)
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model="", messages=PROMPT, n=8, extra_body=LONG)
    assert failed.value.status_code == 504 and failed.value.code == "request_timeout"
    assert failed_so_far() == before + 1
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(model="", messages=PROMPT, stream=True, n=8, extra_body=LONG):
            pass
    assert failed_so_far() <= before + 2  # a stream that has begun is a 200


@pytest.mark.parametrize("delay", [0, 0.002, 0.01, 0.03])
def test_sigterm_while_loading(delay):
    """Once it listens SIGTERM ends it with 0, whatever the loader is at."""
    need_builtin_model()
    process = subprocess.Popen([str(SLM), "serve", "--port", "0", "-t", "1", ""], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    assert "listening" in process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, said
    assert "stopped" in said
