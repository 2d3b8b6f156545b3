# SPDX-License-Identifier: MIT
"""A running `slm serve` for tests of its APIs, and requests to it as they are, without any client's ideas."""

import contextlib
import http.client
import json
import re
import subprocess

import anthropic
import openai
import pytest

from support import PATIENCE, SLM, eventually, need_builtin_model

TOOL_TEMPLATE = (  # says what templates of models with tools say, in few tokens
    "{% if tools %}{% for t in tools %}{{ t.function.name }} {% endfor %}<tool_call>{% endif %}"
    "{% for m in messages %}{{ m.role }}:{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{{ m.tool_call_id }}\n{% endfor %}"
    "{% if enable_thinking is defined %}{{ enable_thinking }}{% endif %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


class Server:
    def __init__(self, process, port):
        self.process, self.port, self.url = process, port, f"http://127.0.0.1:{port}"

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body): JSON where it is JSON, else text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        default = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, data, {**default, **(headers or {})})
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        is_json = reply.getheader("Content-Type", "").startswith("application/json") and text
        return reply.status, dict(reply.getheaders()), json.loads(text) if is_json else text

    def post(self, path, **body):
        return self.ask("POST", path, body)

    def stream(self, path, **body):
        """The events of a stream: (name or None, data) of SSE, objects of NDJSON."""
        status, headers, text = self.ask("POST", path, {"stream": True, **body})
        assert status == 200, text
        if headers["Content-Type"].startswith("application/x-ndjson"):
            assert text.endswith("\n")
            return [json.loads(line) for line in text.splitlines()]
        assert text.endswith("\n\n")
        events = []
        for block in text[:-2].split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            assert set(fields) <= {"event", "data"}
            data = fields["data"]
            events.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
        return events


@contextlib.contextmanager
def serving(*args):
    process = subprocess.Popen([str(SLM), "serve", "--port", "0", "-t", "1", "--log-level", "error", *map(str, args)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = process.stdout.readline()
        port = re.search(r"listening on \S+:(\d+)$", line.strip())
        assert port, line
        yield Server(process, int(port[1]))
    finally:
        process.terminate()
        tail = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0, tail


@pytest.fixture(scope="module")
def server():
    """One with the built-in model, for all tests of a file that imports this. It listens before that is loaded."""
    need_builtin_model()
    with serving("--ctx", 512) as running:
        eventually(lambda: running.ask("GET", "/health")[0] == 200, "the model")
        yield running


def openai_of(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def anthropic_of(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
