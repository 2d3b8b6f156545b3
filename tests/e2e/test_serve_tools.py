# SPDX-License-Identifier: MIT
"""Calls of tools under the chat templates of real models, in the form that each family writes.

Two ways to know that a form is read right. What a template itself writes for a call of an earlier turn is what its
model was trained to write: it must be read back as that very call, in one piece or byte by byte. And a small model that
is told by tool_choice to call must come to calls that are valid, with each template, in each API, streamed or not.
Deliberately not here: the prompt that offers tools (test_template_oracle.py), damaged calls (tests/unit/test_parts.c)."""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest

from serving import serving
from support import ROOT, SHARED, STORIES, need, with_template
from test_template_oracle import Case

DRIVER = Path(os.environ.get("SLM_BUILD_DIR", ROOT / "build")) / "tests" / "parts_driver"
TEMPLATES = {path.stem: path for path in sorted((SHARED / "data" / "templates").glob("*.jinja"))}
ADD = {"type": "object", "properties": {"a": {"type": "integer", "minimum": -9, "maximum": 99}, "b": {"enum": ["x", "y"]}},
       "required": ["a", "b"], "additionalProperties": False}
NOW = {"type": "object", "properties": {}, "additionalProperties": False}
FUNCTIONS = {"add": ADD, "time_now": NOW}
TOOLS = [{"type": "function", "function": {"name": name, "description": "does", "parameters": parameters}}
         for name, parameters in FUNCTIONS.items()]
CALLS = [
    [("add", {"a": 1, "b": "x"})], [("time_now", {})], [("look_up", {"text": "a \"quoted\" line\nand {braces} [too] \\ é 😀"})],
    [("look_up", {"a": {"b": [1, 2.5, None, True, {"c": "}"}]}, "list": [[], {}]})],
    [("add", {"a": 1, "b": "x"}), ("time_now", {}), ("add", {"a": -3, "b": "y"})],
    [("look_up", {"code": "</tool_call> is a mark"}), ("look_up", {"x": "<tool_call>"})],
]


# ---- what templates write is read ---------------------------------------------------------------------------------


def turn(path, calls, content):
    """What the template writes for the turn of the assistant: between the text that asks for it and the next turn."""
    message = {"role": "assistant", "content": content, "tool_calls": [
        {"type": "function", "function": {"name": name, "arguments": arguments}} for name, arguments in calls]}
    ask = [{"role": "user", "content": "x"}]
    template = path.read_text()
    (ok, before), (done, all_) = (Case(template, ask, TOOLS).oracle(),
                                  Case(template, [*ask, message], TOOLS, generation=False).oracle())
    if not ok or not done or not all_.startswith(before):
        return None
    return all_[len(before):]


def split(path, text, piece):
    data = text.encode()
    done = subprocess.run([DRIVER, path, str(piece)], input=b"%d\n" % len(data) + data, capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("content", ["", "I look it up."])
def test_what_the_template_writes_is_read_back(name, content):
    path, n_read = TEMPLATES[name], 0
    for calls in CALLS:
        text = turn(path, calls, content)
        if text is None or calls[0][0] not in text:
            continue  # it refuses several calls (Llama 3), or writes none at all (Gemma, Phi)
        for end in ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>"):
            text = text.split(end)[0]
        for piece in (0, 1, 7):
            parts = split(path, text, piece)
            assert [(n, json.loads(a)) for n, a in parts if n is not None] == calls, (name, text, parts)
            said = "".join(a for n, a in parts if n is None).strip()
            assert said == (content if content in text else ""), (text, parts)
        n_read += 1
    writes = "tool_call.name" in path.read_text() or "tool_call.function" in path.read_text()
    assert n_read >= 3 if writes else n_read == 0, name


# ---- calls through the server -------------------------------------------------------------------------------------

MARKS = {"Qwen-Qwen2.5-7B-Instruct": "<tool_call>", "Qwen-Qwen3-0.6B": "<tool_call>", "qwen3": "<tool_call>",
         "phi-4-mini-instruct": "<|tool_call|>[", "meta-llama-Llama-3.1-8B-Instruct": "{\"name\"",
         "meta-llama-Llama-3.2-3B-Instruct": "{\"name\"", "gemma-3-it": ""}
WITH_TOOLS = [name for name in MARKS if name in TEMPLATES]


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """A story teller under each template. What it is not held to is nonsense."""
    folder = tmp_path_factory.mktemp("families")
    for name in WITH_TOOLS:
        with_template(need(STORIES), folder / f"{name}.gguf", TEMPLATES[name].read_text())
    with serving("--models", folder, "--ctx", 4096) as running:
        yield running


def valid(calls):
    for name, arguments in calls:
        jsonschema.validate(arguments, FUNCTIONS[name])
    return [name for name, _ in calls]


def of_openai(server, model, stream, choice, parallel, seed):
    named = {"type": "function", "function": {"name": choice}} if choice in FUNCTIONS else choice
    ask = {"model": model, "messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "tool_choice": named,
           "parallel_tool_calls": parallel, "seed": seed, "max_tokens": 250}
    if not stream:
        reply = server.post("/v1/chat/completions", **ask)
        assert reply[0] == 200, reply[2]
        reply = reply[2]["choices"][0]
        calls = [(c["function"]["name"], c["function"]["arguments"]) for c in reply["message"].get("tool_calls") or []]
        return reply["finish_reason"], calls, reply["message"].get("content") or ""
    calls, content, reason = {}, "", None
    for _, event in server.stream("/v1/chat/completions", **ask):
        for choice_ in [] if event == "[DONE]" else event["choices"]:
            content += choice_["delta"].get("content") or ""
            reason = choice_["finish_reason"] or reason
            for c in choice_["delta"].get("tool_calls") or []:
                call = calls.setdefault(c["index"], ["", ""])
                call[0] += c["function"].get("name") or ""
                call[1] += c["function"].get("arguments") or ""
    return reason, [tuple(calls[i]) for i in sorted(calls)], content


def of_anthropic(server, model, stream, choice, parallel, seed):
    named = {"type": "tool", "name": choice} if choice in FUNCTIONS else {"type": {"required": "any"}.get(choice, choice)}
    ask = {"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 250,
           "tools": [{"name": n, "description": "does", "input_schema": p} for n, p in FUNCTIONS.items()],
           "tool_choice": named if choice == "none" else {**named, "disable_parallel_tool_use": not parallel}}
    if not stream:
        status, _, reply = server.post("/v1/messages", **ask)
        assert status == 200, reply
        calls = [(b["name"], json.dumps(b["input"])) for b in reply["content"] if b["type"] == "tool_use"]
        return reply["stop_reason"], calls, "".join(b.get("text", "") for b in reply["content"])
    blocks, reason = {}, None
    for kind, event in server.stream("/v1/messages", **ask):
        if kind == "content_block_start":
            blocks[event["index"]] = [event["content_block"], ""]
        elif kind == "content_block_delta":
            blocks[event["index"]][1] += event["delta"].get("partial_json", event["delta"].get("text", ""))
        elif kind == "message_delta":
            reason = event["delta"]["stop_reason"]
    calls = [(b["name"], text or "{}") for b, text in blocks.values() if b["type"] == "tool_use"]
    return reason, calls, "".join(text for b, text in blocks.values() if b["type"] == "text")


def of_responses(server, model, stream, choice, parallel, seed):
    ask = {"model": model, "input": "x", "tools": [{"type": "function", **t["function"]} for t in TOOLS], "seed": seed,
           "tool_choice": {"type": "function", "name": choice} if choice in FUNCTIONS else choice,
           "parallel_tool_calls": parallel, "max_output_tokens": 250}
    if not stream:
        status, _, reply = server.post("/v1/responses", **ask)
        assert status == 200, reply
    else:
        reply = server.stream("/v1/responses", **ask)[-1][1]["response"]
    calls = [(item["name"], item["arguments"]) for item in reply["output"] if item["type"] == "function_call"]
    text = "".join(c["text"] for item in reply["output"] if item["type"] == "message" for c in item["content"])
    return "cut" if reply["status"] == "incomplete" else "calls" if calls else "text", calls, text


APIS = {"responses": (of_responses, "calls", "cut"), "openai": (of_openai, "tool_calls", "length"),
        "anthropic": (of_anthropic, "tool_use", "max_tokens")}


@pytest.mark.parametrize("name", [name for name in WITH_TOOLS if MARKS[name]])
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_calls_are_forced(families, name, api, stream):
    ask, called, cut = APIS[api]
    whole = 0
    for choice, parallel, seed in (("required", True, 1), ("required", False, 2), ("add", True, 3), ("time_now", False, 4),
                                   ("required", False, 5)):
        reason, calls, content = ask(families, name, stream, choice, parallel, seed)
        if reason == cut:
            continue
        whole += 1
        assert reason == called and not content and calls, (reason, calls, content)
        names = valid([(n, json.loads(a)) for n, a in calls])
        assert choice == "required" or set(names) == {choice}
        assert len(calls) == 1 or (parallel and "Llama" not in name)
    assert whole >= 2
    reason, calls, content = ask(families, name, stream, "none", True, 6)
    assert not calls and content and reason != called


def test_where_a_template_has_no_place_for_tools(families):
    """Tools that the model would never hear of are refused, and with words, in each API."""
    for path, tools in (("/v1/chat/completions", TOOLS), ("/api/chat", TOOLS),
                        ("/v1/messages", [{"name": "add", "input_schema": ADD}])):
        status, _, reply = families.post(path, model="gemma-3-it", messages=[{"role": "user", "content": "x"}], tools=tools,
                                         **({"max_tokens": 5} if "v1" in path else {}))
        assert status == 400 and "no place for tools" in json.dumps(reply), reply


@pytest.mark.parametrize("name", [name for name in WITH_TOOLS if MARKS[name]])
def test_the_form_is_the_familys(families, name):
    """What the server holds the model to is what the family writes."""
    ask = {"model": name, "messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "tool_choice": "required",
           "seed": 3, "max_tokens": 18}
    reply = families.post("/v1/chat/completions", **ask)[2]["choices"][0]
    assert reply["finish_reason"] == "length"  # a call that was cut is shown as it stands
    assert "".join(reply["message"]["content"].split()).startswith(MARKS[name]), reply
