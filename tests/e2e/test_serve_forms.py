# SPDX-License-Identifier: MIT
"""Tools and answers of a form, through every API: what a model that writes nonsense is held to."""

import json
import struct
from pathlib import Path

import anthropic
import ollama
import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from serving import TOOL_TEMPLATE, anthropic_of, openai_of, serving
from support import STORIES, need, with_template

ADD = {"type": "object",
       "properties": {"a": {"type": "integer", "minimum": -9, "maximum": 99}, "b": {"enum": ["x", "y"]}},
       "required": ["a", "b"], "additionalProperties": False}
EMPTY = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": ADD}},
         {"type": "function", "function": {"name": "time_now", "parameters": EMPTY}}]


@pytest.fixture(scope="module")
def tooled(tmp_path_factory):
    """A model whose template has tools and thinking; what it writes is nonsense unless it is held to a form."""
    path = tmp_path_factory.mktemp("models") / "tooled.gguf"
    with_template(need(STORIES), path, TOOL_TEMPLATE)
    with serving(path, need(STORIES), "--ctx", 512) as running:
        yield running


def valid(arguments):
    return set(arguments) == {"a", "b"} and isinstance(arguments["a"], int) and arguments["b"] in ("x", "y")


def test_openai_tools(tooled):
    client = openai_of(tooled)
    ask = {"model": "tooled", "messages": [{"role": "user", "content": "add"}], "tools": TOOLS, "seed": 3,
           "max_tokens": 200}
    named = client.chat.completions.create(**ask, tool_choice={"type": "function", "function": {"name": "add"}})
    choice = named.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.function.name == "add" and valid(json.loads(call.function.arguments))
    assert call.id.startswith("call_") and call.type == "function"
    required = client.chat.completions.create(**ask, tool_choice="required", parallel_tool_calls=False)
    assert required.choices[0].message.tool_calls[0].function.name in ("add", "time_now")
    assert len(required.choices[0].message.tool_calls) == 1
    deltas = [d for c in client.chat.completions.create(**ask, tool_choice="required", stream=True)
              for d in (c.choices[0].delta.tool_calls or [])]
    assert [d.index for d in deltas] == list(range(len(deltas))) and deltas
    assert all(json.loads(d.function.arguments) is not None for d in deltas)
    auto = client.chat.completions.create(**{**ask, "max_tokens": 5})
    assert auto.choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ask, tool_choice={"type": "function", "function": {"name": "nope"}})
    # The answer of a tool is a message of its own, and reaches the template with its id.
    messages = [{"role": "user", "content": "1+2"}, choice.message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "3"}]
    prompt = tooled.post("/apply-template", messages=messages, tools=TOOLS)[2]["prompt"]
    assert f"tool:3{call.id}\n" in prompt
    assert "add" + json.dumps(json.loads(call.function.arguments)) in prompt
    assert client.chat.completions.create(**{**ask, "messages": messages, "max_tokens": 3}).usage.completion_tokens


def test_openai_schemas(tooled):
    client = openai_of(tooled)
    ask = {"model": "stories260K", "messages": [{"role": "user", "content": "a pet"}], "seed": 1, "max_tokens": 200}
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}, "s": {"type": "string", "maxLength": 5}},
              "required": ["n", "s"], "additionalProperties": False}
    ask["model"] = "tooled"
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    reply = json.loads(client.chat.completions.create(**ask, response_format=form).choices[0].message.content)
    assert set(reply) == {"n", "s"} and reply["n"] in (1, 2) and len(reply["s"]) <= 5
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "hiccup"}}}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ask, response_format=form)
    word = client.completions.create(model="tooled", prompt="x", extra_body={"guided_choice": ["red", "green"]})
    assert word.choices[0].text in ("red", "green") and word.choices[0].finish_reason == "stop"
    digits = client.completions.create(model="tooled", prompt="x", extra_body={"structured_outputs": {"regex": "[0-9]{4}"}})
    assert digits.choices[0].text.isdigit() and len(digits.choices[0].text) == 4


def test_langchain_tools(tooled):
    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    forced = ChatOpenAI(base_url=tooled.url + "/v1", api_key="none", model="tooled", seed=5, max_tokens=200)
    reply = forced.bind_tools([add], tool_choice="add").invoke([HumanMessage("1+2")])
    assert reply.tool_calls[0]["name"] == "add" and set(reply.tool_calls[0]["args"]) == {"a", "b"}
    assert isinstance(reply.tool_calls[0]["args"]["a"], int)


def test_ollama_tools_and_format(tooled):
    client = ollama.Client(host=tooled.url)
    ask = {"model": "tooled", "messages": [{"role": "user", "content": "x"}], "options": {"seed": 4, "num_predict": 200}}
    reply = client.chat(**ask, format=ADD)
    assert valid(json.loads(reply.message.content)) and reply.done_reason == "stop"
    assert isinstance(json.loads(client.chat(**{**ask, "options": {"seed": 1, "temperature": 0.3, "num_predict": 400}},
                                             format=ADD).message.content), dict)
    assert client.chat(**{**ask, "options": {"num_predict": 3}}, tools=TOOLS).done_reason == "length"


def test_anthropic_tools_and_errors(tooled):
    client = anthropic_of(tooled)
    tools = [{"name": "add", "description": "adds", "input_schema": ADD}]
    ask = {"model": "tooled", "max_tokens": 200, "tools": tools, "messages": [{"role": "user", "content": "1+2"}]}
    reply = client.messages.create(**ask, tool_choice={"type": "tool", "name": "add"})
    (use,) = reply.content
    assert reply.stop_reason == "tool_use" and use.type == "tool_use" and use.name == "add" and valid(use.input)
    with client.messages.stream(**ask, tool_choice={"type": "any"}) as stream:
        final = stream.get_final_message()
    assert final.content[0].type == "tool_use" and valid(final.content[0].input)
    history = [*ask["messages"], {"role": "assistant", "content": [use.model_dump()]},
               {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "3"}]}]
    assert client.messages.create(**{**ask, "messages": history, "max_tokens": 3}).usage.output_tokens == 3
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**{**ask, "model": "nope"})
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(**{**ask, "messages": [{"role": "user", "content": [image]}]})
    assert "messages[0].content[0]" in str(refused.value)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**ask, extra_body={"bogus": 1})


# ---- dead ends ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wordless(tmp_path_factory):
    """Row Q11: a model that has no token for the first byte of "日", so that after the quote nothing can follow."""
    folder = tmp_path_factory.mktemp("wordless")
    data = bytearray(Path(need(STORIES)).read_bytes())
    key = b"tokenizer.ggml.token_type"
    types = data.index(key) + len(key) + 16
    entry = types + 4 * (3 + "日".encode()[0])
    assert struct.unpack_from("<i", data, entry) == (6,)  # a byte; now a text like any other
    struct.pack_into("<i", data, entry, 1)
    (folder / "plain").write_bytes(data)
    with_template(folder / "plain", folder / "wordless.gguf", TOOL_TEMPLATE)
    with serving(folder / "wordless.gguf", "--ctx", 512) as running:
        yield running


DAY = {"type": "object", "properties": {"a": {"const": "日"}}, "required": ["a"], "additionalProperties": False}
DEAD = "no token of the vocabulary goes on"


def test_openai_dead_end(wordless):
    ask = {"model": "wordless", "messages": [{"role": "user", "content": "x"}], "seed": 1, "max_tokens": 400,
           "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": DAY, "strict": True}}}
    status, _, reply = wordless.post("/v1/chat/completions", **ask)
    assert (status, reply["error"]["code"]) == (400, "grammar_dead_end") and DEAD in reply["error"]["message"]
    events = wordless.stream("/v1/chat/completions", **ask)
    (_, last), text = events[-1], ""
    assert last["error"]["code"] == "grammar_dead_end"  # an error ends it: neither a finish_reason nor [DONE]
    for _, event in events[:-1]:
        assert event["choices"][0]["finish_reason"] is None
        text += event["choices"][0]["delta"].get("content") or ""
    assert '{"a":"'.startswith("".join(text.split())) and len(text) < 100  # no white space without end
    with pytest.raises(openai.BadRequestError) as refused:
        openai_of(wordless).chat.completions.create(**ask)
    assert refused.value.code == "grammar_dead_end"
    # What no text satisfies, and what has no end, never begins.
    for grammar in ('root ::= "a" root', 'root ::= [a-b] [^\\x00-\\U0010FFFF]'):
        status, _, reply = wordless.post("/v1/completions", model="wordless", prompt="x", guided_grammar=grammar)
        assert status == 400 and "nothing can satisfy it" in reply["error"]["message"], reply
    # The server goes on, and so do others of the same form.
    ask["response_format"]["json_schema"]["schema"] = {"const": "x"}
    assert wordless.post("/v1/chat/completions", **ask)[2]["choices"][0]["message"]["content"] == '"x"'


def test_ollama_dead_end(wordless):
    ask = {"model": "wordless", "messages": [{"role": "user", "content": "x"}], "format": DAY, "options": {"seed": 1}}
    status, _, reply = wordless.post("/api/chat", stream=False, **ask)
    assert status == 400 and DEAD in reply["error"]
    lines = wordless.stream("/api/chat", **ask)
    assert DEAD in lines[-1]["error"] and not any(line.get("done") for line in lines)
    with pytest.raises(ollama.ResponseError, match=DEAD):
        list(ollama.Client(host=wordless.url).chat(**ask, stream=True))


def test_anthropic_dead_end(wordless):
    ask = {"model": "wordless", "max_tokens": 400, "messages": [{"role": "user", "content": "x"}],
           "tools": [{"name": "day", "input_schema": DAY}], "tool_choice": {"type": "tool", "name": "day"}}
    status, _, reply = wordless.post("/v1/messages", **ask)
    assert (status, reply["error"]["type"]) == (400, "invalid_request_error") and DEAD in reply["error"]["message"]
    status, _, text = wordless.ask("POST", "/v1/messages", {**ask, "stream": True})
    if status == 200:  # something was sent before: then the last event says it
        assert DEAD in text.split("event: ")[-1] and "message_stop" not in text
    else:  # calls come whole, so nothing was
        assert status == 400 and DEAD in text["error"]["message"]
    with pytest.raises(anthropic.BadRequestError):
        anthropic_of(wordless).messages.create(**ask)


# ---- calls as the model writes them ----------------------------------------------------------------------------

SHOWN = "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}"
REST = "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}assistant:"
WAYS = { # what each template shows, and how the text must begin
    "hermes": ("<tool_call>", "<tool_call>"),
    "phi": ("<|tool_call|>", "<|tool_call|>["),
    "mistral": ("[TOOL_CALLS]", "[TOOL_CALLS]["),
    "llama": ('{"name": function name, "parameters":', '{"name"'),
    "xml": ("<tool_call><function=", "["), # not known: an array, which the server reads
}


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    for name, (mark, _) in WAYS.items():
        with_template(need(STORIES), folder / f"{name}.gguf", "{{ '" + mark + "' if tools }}" + SHOWN + REST)
    # A story teller for whom "the" is the mark of a call. What the file grows by is a multiple of its alignment.
    data = Path(need(STORIES)).read_bytes()
    for old, new in [("▁the", "<tool_call>"), ("▁was", "▁was" + "x" * 27)]:
        old, new = old.encode(), new.encode()
        entry = struct.pack("<Q", len(old)) + old
        assert data.count(entry) == 1
        data = data.replace(entry, struct.pack("<Q", len(new)) + new)
    (folder / "plain").write_bytes(data)
    with_template(folder / "plain", folder / "caller.gguf", "{{ '<tool_call>' if tools }}" + SHOWN + REST)
    with serving("--models", folder, "--ctx", 512) as running:
        yield running


@pytest.mark.parametrize("way", WAYS)
def test_forced_calls_are_written_in_the_models_way(ways, way):
    ask = {"model": way, "messages": [{"role": "user", "content": "add"}], "tools": TOOLS, "max_tokens": 300,
           "logprobs": True, "tool_choice": "required"}
    counts = []
    for seed in range(5):
        reply = ways.post("/v1/chat/completions", **ask, seed=seed, parallel_tool_calls=seed > 1)[2]["choices"][0]
        if reply["finish_reason"] == "length":
            continue
        calls = reply["message"]["tool_calls"]
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            assert valid(arguments) if call["function"]["name"] == "add" else arguments == {}
        text = "".join(t["token"] for t in (reply["logprobs"] or {"content": []})["content"] or [])
        assert not text or "".join(text.split()).startswith(WAYS[way][1]), text
        counts.append(len(calls))
    assert len(counts) >= 2 and min(counts) >= 1
    one = ways.post("/v1/chat/completions", **{**ask, "tool_choice": {"type": "function", "function": {"name": "add"}}},
                    seed=1)[2]["choices"][0]
    assert len(one["message"]["tool_calls"]) == 1 and one["finish_reason"] == "tool_calls"
    assert max(counts) == 1 or way != "llama"


def test_calls_that_a_model_begins_by_itself_are_held_to_their_schemas(ways):
    ask = {"model": "caller", "messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "max_tokens": 300}
    n_called = 0
    for seed in range(6):
        reply = ways.post("/v1/chat/completions", **ask, seed=seed, parallel_tool_calls=seed % 2 == 0)[2]["choices"][0]
        calls = reply["message"].get("tool_calls") or []
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            assert valid(arguments) if call["function"]["name"] == "add" else arguments == {}
        assert len(calls) <= 1 or seed % 2 == 0
        assert "<tool_call>" not in (reply["message"]["content"] or "") or reply["finish_reason"] == "length"
        n_called += bool(calls) and reply["finish_reason"] == "tool_calls"
    assert n_called >= 3
    # Nobody said that it may call: the mark is a word.
    free = ways.post("/v1/chat/completions", **ask, tool_choice="none", seed=1)[2]["choices"][0]
    assert not free["message"].get("tool_calls") and "<tool_call>" in free["message"]["content"]
    # What cannot be enforced is described to the model and no more, unless it is asked to be strict.
    loose = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "contains": {}}}}
    assert ways.post("/v1/chat/completions", **{**ask, "tools": [loose], "max_tokens": 2})[0] == 200
    strict = {"type": "function", "function": {**loose["function"], "strict": True}}
    status, _, body = ways.post("/v1/chat/completions", **{**ask, "tools": [strict], "max_tokens": 2})
    assert status == 400 and "contains" in body["error"]["message"]
