# SPDX-License-Identifier: MIT
"""Files of models that change under a server: who is being answered gets the old one to the end, who comes gets the new one;
and models that guess for others."""

import http.client
import json
import os

import pytest

from serving import serving
from support import STORIES, need, need_builtin_model, slm, with_template

OLD, NEW = "{% for m in messages %}old:{{ m.content }}{% endfor %}", "{% for m in messages %}new:{{ m.content }}{% endfor %}"
ASK = {"model": "m", "prompt": "Once upon a time", "max_tokens": 400, "temperature": 0, "ignore_eos": True, "n": 8}


@pytest.fixture
def served(tmp_path):
    """A server, the file of its model m, and the text that the file's model goes on with."""
    folder = tmp_path / "models"
    folder.mkdir()
    with_template(need(STORIES), folder / "m.gguf", OLD)
    with serving("--models", folder, "--ctx", 512, "--memory", "200M") as server:
        yield server, folder / "m.gguf", server.post("/v1/completions", **ASK)[2]["choices"][7]["text"]


class Stream:
    """A completion that has begun; the rest is read when it is asked for."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.connection.request("POST", "/v1/completions", json.dumps({**ASK, "stream": True}),
                                {"Content-Type": "application/json"})
        self.reply = self.connection.getresponse()
        self.text = ""
        self.line()

    def line(self):
        line = self.reply.readline().decode()
        if line.startswith("data: {"):
            choice = json.loads(line[6:])["choices"][0]
            self.text += choice["text"] if choice["index"] == 7 else ""
        return line

    def rest(self):
        while not self.line().startswith("data: [DONE]"):
            pass
        self.connection.close()
        return self.text


def prompt_of(server):
    status, _, body = server.post("/apply-template", model="m", messages=[{"role": "user", "content": "x"}])
    return body["prompt"] if status == 200 else status


def test_a_model_is_replaced_while_it_answers(served):
    server, path, text = served
    assert prompt_of(server) == "old:x"
    stream = Stream(server)
    with_template(need(STORIES), path.with_suffix(".part"), NEW)
    os.utime(path.with_suffix(".part"), (1, 1))  # an older file is another file too
    path.with_suffix(".part").replace(path)
    assert prompt_of(server) == "new:x"
    assert stream.rest() == text
    assert server.post("/v1/completions", **ASK)[2]["choices"][7]["text"] == text


def test_a_model_is_deleted_while_it_answers(served):
    server, path, text = served
    stream = Stream(server)
    path.unlink()
    assert stream.rest() == text
    assert server.post("/v1/completions", **{**ASK, "n": 1})[0] in (200, 404)  # it is in memory, or it is not
    assert server.ask("GET", "/health")[0] == 200


def test_embeddings_of_what_is_no_text(served):
    server, _, _ = served
    for text in ("", " ", "\n", "\u00e4\ufffd\U0001f642"):
        status, _, body = server.post("/v1/embeddings", model="m", input=text)
        assert status == 200, body
        vector = body["data"][0]["embedding"]
        assert abs(sum(x * x for x in vector) - 1) < 1e-4  # no NaN either


def test_a_draft_model_guesses_and_changes_no_text():
    model = need(STORIES)
    texts, counts = [], []
    for more in ([], ["--draft", model]):
        with serving(model, "--ctx", 256, *more) as server:
            texts.append([server.post("/v1/completions", **{**ASK, "model": "", "max_tokens": 60, "n": n, "temperature": t,
                                                                     "seed": 5})
                          [2]["choices"] for n, t in ((1, 0), (1, 0.9), (4, 0.7))])
            lines = server.ask("GET", "/metrics")[2].splitlines()
            counts.append([float(line.split()[1]) for name in ("draft", "accepted") for line in lines
                           if line.startswith(f"vllm:spec_decode_num_{name}_tokens_total")])
    assert texts[0] == texts[1]
    assert counts[1][0] == counts[1][1] > 0  # a model is a good draft of itself


def test_a_draft_of_another_vocabulary_is_refused_at_the_start():
    need_builtin_model()
    done = slm("serve", "--port", 0, "--log-level", "error", "--draft", need(STORIES))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("slm: draft model: it has 512 tokens, the model ")
    done = slm("serve", "--speculate", "draft")
    assert done.returncode == 2 and "--draft MODEL" in done.stderr
