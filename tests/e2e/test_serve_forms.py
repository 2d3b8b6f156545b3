# SPDX-License-Identifier: MIT
"""Tools and answers of a form, through every API: what a model that writes nonsense is held to."""

import json

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
