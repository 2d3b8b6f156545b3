# SPDX-License-Identifier: MIT
"""Thinking and tools on the command line. A tiny story model thinks nothing, so its templates put the marks into the
prompt, where real ones put them too: after "<think>" everything it writes is thinking. What real models write is a table
in tests/unit/test_parts.c."""

import json

import pytest

from support import CHAT_TEMPLATE, STORIES, Terminal, need, slm, with_template

OPTIONS = ("-n", "12", "--temp", "0")
THINKS = CHAT_TEMPLATE + "<think>\n"
# As the templates with a switch do: without thinking its end is in the prompt.
SWITCH = CHAT_TEMPLATE + "<think>\n{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}"
TOOLS = "{% if tools %}{{ tools | tojson }}\n{% endif %}<tool_call>" + CHAT_TEMPLATE


@pytest.fixture(name="model")
def fixture_model(tmp_path):
    return lambda template: with_template(need(STORIES), tmp_path / "parts.gguf", template)


def run(model, *more):
    done = slm("run", model, "Hello", *OPTIONS, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_json_tells_thinking_from_content(model):
    answer = json.loads(run(model(THINKS), "--json"))
    assert answer["text"].strip() == answer["thinking"].strip() != ""
    assert answer["content"] == "" and answer["tool_calls"] == []
    answer = json.loads(run(model(CHAT_TEMPLATE), "--json"))
    assert answer["thinking"] is None and answer["content"].strip() == answer["text"].strip() != ""


def test_a_pipe_gets_what_the_model_wrote(model):
    path = model(THINKS)
    assert run(path) == json.loads(run(path, "--json"))["text"]
    assert run(path, "--hide-thinking") == ""


def test_thinking_is_switched_by_the_template(model):
    path = model(SWITCH)
    for more, thinks in (((), True), (("--think",), True), (("--no-think",), False)):
        answer = json.loads(run(path, "--json", *more))
        assert bool(answer["thinking"]) == thinks and bool(answer["content"]) == (not thinks)
    chat = lambda *lines: slm("chat", path, *OPTIONS, "--hide-thinking",
                              stdin="".join(line + "\n" for line in lines)).stdout.strip()
    assert chat("Hello") == chat("/set think off", "/set think on", "Hello") == ""
    assert chat("/set think off", "Hello") == run(path, "--no-think").strip() != ""


def test_thinking_is_dim_on_a_terminal(model, tmp_path):
    env = {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    for more, dim in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal("run", model(THINKS), "Hello", *OPTIONS, env={**env, **more}) as t:
            assert t.wait(60) == 0
            assert ("\x1b[2m" in t.seen and "\x1b[0m" in t.seen) == dim


def test_tools_reach_the_template(model, tmp_path):
    tools = tmp_path / "tools.json"
    tools.write_text('[{"type": "function", "function": {"name": "now", "parameters": {}}}]')
    path = model(TOOLS)
    plain, offered = (json.loads(run(path, "--json", *more)) for more in ((), ("--tools", tools)))
    assert offered["prompt_tokens"] > plain["prompt_tokens"]
    done = slm("run", model(CHAT_TEMPLATE), "Hello", "--tools", tools)
    assert done.returncode == 1 and "no place for tools" in done.stderr
    tools.write_text("[")
    assert slm("run", model(TOOLS), "Hello", "--tools", tools).returncode == 1


@pytest.mark.parametrize("more, word", [
    (("--think", "--no-think"), "not both"), (("--raw", "--think"), "--raw"), (("--raw", "--tools", "x"), "--raw"),
    (("--json", "--hide-thinking"), "--json"),
])
def test_what_does_not_go_together_is_said(model, more, word):
    done = slm("run", model(CHAT_TEMPLATE), "Hello", *more)
    assert done.returncode == 2 and word in done.stderr


def test_set_think_says_what_is_allowed(model):
    done = slm("chat", model(CHAT_TEMPLATE), *OPTIONS, stdin="/set think maybe\n")
    assert "'maybe' is not allowed" in done.stderr
