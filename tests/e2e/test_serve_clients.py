# SPDX-License-Identifier: MIT
"""The APIs of `slm serve`, used by the packages that people use: openai, ollama, anthropic, langchain-openai."""

import base64
import json
import struct

import anthropic
import httpx
import ollama
import openai
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from serving import TOOL_TEMPLATE, serving
from support import STORIES, has_builtin_model, need, slm, with_template

PROMPT = "Tell me a story about a brave mouse"
ADD = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
       "required": ["a", "b"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": ADD}},
         {"type": "function", "function": {"name": "time_now", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def server():
    if not has_builtin_model():
        pytest.skip("no built-in model in this build")
    with serving("--ctx", 512) as running:
        yield running


@pytest.fixture(scope="module")
def tooled(tmp_path_factory):
    """A model whose template has tools and thinking; what it writes is nonsense unless it is held to a form."""
    path = tmp_path_factory.mktemp("models") / "tooled.gguf"
    with_template(need(STORIES), path, TOOL_TEMPLATE)
    with serving(path, need(STORIES), "--ctx", 512) as running:
        yield running


def openai_of(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def anthropic_of(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def greedy():
    """What the command says to PROMPT: what every API must say too."""
    return slm("run", PROMPT, "--temp", "0", "-n", "30").stdout.rstrip("\n")


# ---- OpenAI ----------------------------------------------------------------------------------------------------


def test_openai_chat_says_what_run_says(server, greedy):
    client = openai_of(server)
    ask = {"model": "", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "max_tokens": 30}
    whole = client.chat.completions.create(**ask)
    assert whole.choices[0].message.content == greedy
    assert whole.choices[0].finish_reason == "length" and whole.object == "chat.completion"
    assert whole.usage.completion_tokens == 30
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 30
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == greedy
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert not chunks[-1].choices and chunks[-1].usage.completion_tokens == 30
    assert all(c.usage is None for c in chunks[:-1])
    assert len({c.id for c in chunks}) == 1
    with client.chat.completions.stream(**ask) as stream:
        assert stream.get_final_completion().choices[0].message.content == greedy


def test_openai_choices_and_seeds(server):
    client = openai_of(server)
    ask = {"model": "", "messages": [{"role": "user", "content": PROMPT}], "temperature": 1.5, "max_tokens": 12}
    first = client.chat.completions.create(**ask, n=3, seed=7)
    again = client.chat.completions.create(**ask, n=3, seed=7)
    texts = [c.message.content for c in first.choices]
    assert [c.index for c in first.choices] == [0, 1, 2]
    assert texts == [c.message.content for c in again.choices]
    assert len(set(texts)) > 1
    # Choice i draws with seed + i.
    assert client.chat.completions.create(**ask, seed=8).choices[0].message.content == texts[1]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**ask, n=3, seed=7, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_openai_stop_bias_and_logprobs(server, greedy):
    client = openai_of(server)
    ask = {"model": "", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "max_tokens": 30}
    word = greedy.split()[4]
    stopped = client.chat.completions.create(**ask, stop=[word])
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].message.content == greedy[:greedy.index(word)]
    probs = client.chat.completions.create(**ask, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(probs) == 30
    assert b"".join(bytes(p.bytes) for p in probs).decode() == greedy
    for p in probs:
        assert p.logprob == max(t.logprob for t in p.top_logprobs) <= 0 and len(p.top_logprobs) == 3
        assert p.top_logprobs[0].token == p.token
    streamed = [c for chunk in client.chat.completions.create(**ask, logprobs=True, top_logprobs=3, stream=True)
                if chunk.choices[0].logprobs for c in chunk.choices[0].logprobs.content]
    assert streamed == probs
    # A ban on the first token changes it.
    first = server.post("/tokenize", content=probs[0].token)[2]["tokens"][0]
    banned = client.chat.completions.create(**ask, logit_bias={str(first): -100})
    assert banned.choices[0].message.content != greedy


def test_openai_completions(server):
    client = openai_of(server)
    ask = {"model": "", "temperature": 0, "max_tokens": 8}
    one = client.completions.create(prompt="Once upon a time", **ask)
    assert one.object == "text_completion" and one.usage.completion_tokens == 8
    want = slm("run", "--raw", "Once upon a time", "--temp", "0", "-n", "8").stdout.rstrip("\n")
    both = client.completions.create(prompt=["Once upon a time", "The dog"], echo=True, **ask)
    assert both.choices[0].text == "Once upon a time" + one.choices[0].text
    assert both.choices[0].text == want or one.choices[0].text == want
    assert both.choices[1].text.startswith("The dog") and both.choices[1].index == 1
    ids = server.post("/tokenize", content="Once upon a time", add_special=True)[2]["tokens"]
    assert client.completions.create(prompt=ids, **ask).choices[0].text == one.choices[0].text
    probs = client.completions.create(prompt="Once upon a time", logprobs=2, echo=True, **ask).choices[0].logprobs
    assert probs.token_logprobs[0] is None and len(probs.tokens) == len(ids) + 8
    assert all(p <= 0 for p in probs.token_logprobs[1:])
    streamed = "".join(c.choices[0].text for c in client.completions.create(prompt=ids, stream=True, **ask))
    assert streamed == one.choices[0].text


def test_openai_embeddings_and_models(server):
    client = openai_of(server)
    models = client.models.list().data
    assert len(models) == 1 and client.models.retrieve(models[0].id).id == models[0].id
    texts = ["a small dog", "the sun"]
    reply = client.embeddings.create(model=models[0].id, input=texts) # asks for base64 by itself
    plain = client.embeddings.create(model=models[0].id, input=texts, encoding_format="float")
    raw = server.post("/v1/embeddings", input=texts, encoding_format="base64")[2]["data"]
    want = [json.loads(line) for line in slm("embed", stdin="\n".join(texts) + "\n").stdout.splitlines()]
    for i in range(2):
        assert reply.data[i].embedding == plain.data[i].embedding
        bits = base64.b64decode(raw[i]["embedding"])
        assert list(struct.unpack(f"<{len(bits) // 4}f", bits)) == reply.data[i].embedding
        vector = want[i] if isinstance(want[i], list) else want[i]["embedding"]
        assert plain.data[i].embedding == pytest.approx(vector, abs=1e-5)
    short = client.embeddings.create(model=models[0].id, input=texts[0], dimensions=16).data[0].embedding
    assert len(short) == 16 and sum(x * x for x in short) == pytest.approx(1, abs=1e-5)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_openai_errors_become_the_right_exceptions(server):
    client = openai_of(server)
    ask = {"model": "", "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**{**ask, "model": "no-such-model"})
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="", messages=[{"role": "user", "content": "word " * 3000}])
    assert long.value.code == "context_length_exceeded" and "512" in str(long.value)
    for extra, param in [({"temperature": "hot"}, "temperature"), ({"extra_body": {"bogus": 1}}, "bogus"),
                         ({"n": 99}, "n"), ({"extra_body": {"cache_salt": "x"}}, "cache_salt"),
                         ({"store": True}, "store"), ({"tools": TOOLS}, None), ({"top_logprobs": 3}, "top_logprobs")]:
        with pytest.raises(openai.BadRequestError) as bad:
            client.chat.completions.create(**ask, **extra)
        if param:
            assert bad.value.param == param
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="", messages=[{"role": "user", "content": image}])
    assert refused.value.param == "messages[0].content[0]" and "images" in str(refused.value)


def test_openai_responses(server, greedy):
    client = openai_of(server)
    ask = {"model": "", "input": PROMPT, "temperature": 0, "max_output_tokens": 30}
    whole = client.responses.create(**ask)
    assert whole.output_text == greedy and whole.status == "incomplete"
    assert whole.incomplete_details.reason == "max_output_tokens" and whole.usage.output_tokens == 30
    items = client.responses.create(**{**ask, "input": [{"role": "user", "content": [
        {"type": "input_text", "text": PROMPT}]}]})
    assert items.output_text == greedy
    events = list(client.responses.create(**ask, stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    kinds = [e.type for e in events if e.type != "response.output_text.delta"]
    assert kinds == ["response.created", "response.in_progress", "response.output_item.added",
                     "response.content_part.added", "response.output_text.done", "response.content_part.done",
                     "response.output_item.done", "response.incomplete"]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == greedy
    assert events[-1].response.output_text == greedy
    with client.responses.stream(**ask) as stream:
        for _ in stream:
            pass
    with pytest.raises(openai.BadRequestError) as stored:
        client.responses.create(**ask, previous_response_id="resp_1")
    assert stored.value.param == "previous_response_id"


# ---- tools and forms -------------------------------------------------------------------------------------------


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


class Pet(BaseModel):
    name: str
    legs: int


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


def test_langchain(server, tooled, greedy):
    chat = ChatOpenAI(base_url=server.url + "/v1", api_key="none", model="builtin", temperature=0, max_tokens=30)
    chat.model_name = openai_of(server).models.list().data[0].id
    assert chat.invoke([HumanMessage(PROMPT)]).content == greedy
    assert "".join(c.content for c in chat.stream([HumanMessage(PROMPT)])) == greedy
    assert chat.invoke([SystemMessage("Be brief."), HumanMessage(PROMPT)]).usage_metadata["output_tokens"] <= 30

    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    forced = ChatOpenAI(base_url=tooled.url + "/v1", api_key="none", model="tooled", seed=5, max_tokens=200)
    reply = forced.bind_tools([add], tool_choice="add").invoke([HumanMessage("1+2")])
    assert reply.tool_calls[0]["name"] == "add" and set(reply.tool_calls[0]["args"]) == {"a", "b"}
    assert isinstance(reply.tool_calls[0]["args"]["a"], int)


# ---- Ollama ----------------------------------------------------------------------------------------------------


def test_ollama_chat_and_generate(server, greedy):
    client = ollama.Client(host=server.url)
    name = client.list().models[0].model
    options = {"temperature": 0, "num_predict": 30}
    ask = {"model": name, "messages": [{"role": "user", "content": PROMPT}], "options": options}
    whole = client.chat(**ask)
    assert whole.message.content == greedy and whole.done and whole.done_reason == "length"
    assert whole.eval_count == 30 and whole.total_duration > whole.eval_duration > 0 and whole.prompt_eval_duration > 0
    lines = list(client.chat(**ask, stream=True))
    assert "".join(x.message.content for x in lines) == greedy
    assert [x.done for x in lines] == [False] * (len(lines) - 1) + [True]
    assert client.generate(model=name, prompt=PROMPT, options=options).response == greedy
    streamed = client.generate(model=name, prompt=PROMPT, options=options, stream=True)
    assert "".join(x.response for x in streamed) == greedy
    raw = client.generate(model=name, prompt="Once upon a time", raw=True, options=options).response
    assert openai_of(server).completions.create(model="", prompt="Once upon a time", temperature=0,
                                                max_tokens=30).choices[0].text == raw


def test_ollama_models(server):
    client = ollama.Client(host=server.url)
    (model,) = client.list().models
    assert model.size > 1_000_000 and model.modified_at
    assert client.generate(model=model.model, prompt="").done_reason == "load"
    running = client.ps().models
    assert [m.model for m in running] == [model.model] and running[0].context_length == 512
    shown = client.show(model.model)
    assert "completion" in shown.capabilities and shown.modelinfo["general.architecture"] == "qwen3"
    assert shown.modelinfo["general.parameter_count"] == 3541504
    vectors = client.embed(model=model.model, input=["a small dog", "the sun"])
    assert len(vectors.embeddings) == 2 and vectors.prompt_eval_count > 0
    assert sum(x * x for x in vectors.embeddings[0]) == pytest.approx(1, abs=1e-5)
    assert list(client.embeddings(model=model.model, prompt="a small dog").embedding) == vectors.embeddings[0]
    assert httpx.get(server.url + "/api/version").json()["version"]
    assert httpx.get(server.url).text == "Ollama is running" and httpx.head(server.url).status_code == 200


def test_ollama_errors(server):
    client = ollama.Client(host=server.url)
    name = client.list().models[0].model
    ask = {"model": name, "messages": [{"role": "user", "content": "x"}]}
    for status, call in [(404, lambda: client.chat(model="nope", messages=ask["messages"])),
                         (400, lambda: client.chat(**ask, options={"temperature": "hot"})),
                         (400, lambda: client.chat(**ask, think=True)),
                         (400, lambda: client.chat(**ask, options={"mirostat": 1})),
                         (400, lambda: client.generate(model=name, prompt="x" * 9000, raw=True)),
                         (501, lambda: client.pull("x")), (501, lambda: client.delete("x"))]:
        with pytest.raises(ollama.ResponseError) as failed:
            call()
        assert failed.value.status_code == status, failed.value
    assert "does not support thinking" in server.post("/api/chat", **ask, think=True)[2]["error"]
    # Truncation is done when it is asked for: the oldest go, the system message and the last stay.
    many = [{"role": "user", "content": "word " * 60}, {"role": "assistant", "content": "yes"}] * 12 + ask["messages"]
    assert server.post("/api/chat", model=name, messages=many)[0] == 400
    cut = server.post("/api/chat", model=name, messages=many, truncate=True, stream=False, options={"num_predict": 1})
    assert cut[0] == 200 and cut[2]["prompt_eval_count"] < 512


def test_ollama_tools_and_format(tooled):
    client = ollama.Client(host=tooled.url)
    ask = {"model": "tooled", "messages": [{"role": "user", "content": "x"}], "options": {"seed": 4, "num_predict": 200}}
    reply = client.chat(**ask, format=ADD)
    assert valid(json.loads(reply.message.content)) and reply.done_reason == "stop"
    assert isinstance(json.loads(client.chat(**{**ask, "options": {"seed": 1, "temperature": 0.3, "num_predict": 400}},
                                             format=ADD).message.content), dict)
    assert client.chat(**{**ask, "options": {"num_predict": 3}}, tools=TOOLS).done_reason == "length"


# ---- Anthropic -------------------------------------------------------------------------------------------------


def test_anthropic_messages(server, greedy):
    client = anthropic_of(server)
    name = openai_of(server).models.list().data[0].id
    ask = {"model": name, "max_tokens": 30, "temperature": 0, "messages": [{"role": "user", "content": PROMPT}]}
    whole = client.messages.create(**ask)
    assert whole.content[0].text == greedy and whole.stop_reason == "max_tokens" and whole.role == "assistant"
    assert whole.usage.output_tokens == 30
    counted = client.messages.count_tokens(model=name, messages=ask["messages"]).input_tokens
    assert counted == whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    with client.messages.stream(**ask) as stream:
        assert "".join(stream.text_stream) == greedy
        final = stream.get_final_message()
    assert final.content[0].text == greedy and final.stop_reason == "max_tokens" and final.usage.output_tokens == 30
    kinds = [e.type for e in client.messages.create(**ask, stream=True) if e.type != "content_block_delta"]
    assert [k for k in kinds if k != "ping"] == ["message_start", "content_block_start", "content_block_stop",
                                                 "message_delta", "message_stop"]
    word = greedy.split()[4]
    stopped = client.messages.create(**ask, stop_sequences=[word])
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == word


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
