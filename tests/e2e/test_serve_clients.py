# SPDX-License-Identifier: MIT
"""The APIs of `slm serve`, used by the packages that people use: openai, ollama, anthropic, langchain-openai."""

import base64
import concurrent.futures
import json
import random
import socket
import struct

import httpx
import ollama
import openai
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

from serving import anthropic_of, openai_of, server  # noqa: F401 (server is a fixture)
from support import PATIENCE, eventually, slm

PROMPT = "Tell me a story about a brave mouse"


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
    with client.chat.completions.stream(**ask, stop=["."]) as stream:
        assert stream.get_final_completion().choices[0].message.content == greedy.split(".")[0]


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
    # What harnesses ask that measure likelihoods: the prompt's own logprobs, and nothing written.
    scored = client.completions.create(prompt=ids, **{**ask, "max_tokens": 0}, logprobs=0, echo=True)
    assert scored.choices[0].text.endswith("Once upon a time") and scored.choices[0].finish_reason == "length"
    assert scored.usage.completion_tokens == 0 and scored.usage.prompt_tokens == len(ids)
    assert scored.choices[0].logprobs.token_logprobs == probs.token_logprobs[:len(ids)]
    warmed = server.post("/completion", prompt="Once upon a time", n_predict=0)[2]
    several = server.post("/completion", prompt=["Once upon a time", [*ids]], n_predict=8, temperature=0)[2]
    assert [a["content"] for a in several] == [one.choices[0].text] * 2 and [a["index"] for a in several] == [0, 1]
    mixed = server.post("/completion", prompt=[*ids, " the"], n_predict=1)[2]
    assert mixed["tokens_evaluated"] == len(ids) + 1
    assert warmed["content"] == "" and warmed["tokens_predicted"] == 0 and warmed["stop_type"] == "limit"


def test_openai_embeddings_and_models(server):
    client = openai_of(server)
    models = client.models.list().data
    assert len(models) == 1 and client.models.retrieve(models[0].id).id == models[0].id
    texts = ["a small dog", "the sun"]
    reply = client.embeddings.create(model=models[0].id, input=texts) # asks for base64 by itself
    plain = client.embeddings.create(model=models[0].id, input=texts, encoding_format="float")
    raw = server.post("/v1/embeddings", input=texts, encoding_format="base64")[2]["data"]
    want = [[float(x) for x in line.split()] for line in slm("embed", stdin="\n".join(texts)).stdout.splitlines()]
    for i in range(2):
        assert reply.data[i].embedding == pytest.approx(plain.data[i].embedding, rel=1e-6) # decimals of an f32
        bits = base64.b64decode(raw[i]["embedding"])
        assert list(struct.unpack(f"<{len(bits) // 4}f", bits)) == reply.data[i].embedding
        assert plain.data[i].embedding == pytest.approx(want[i], abs=1e-5)
    assert reply.usage.prompt_tokens == sum(len(server.post("/tokenize", content=t, add_special=True)[2]["tokens"])
                                            for t in texts)
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
                         ({"store": True}, "store"), ({"top_logprobs": 3}, "top_logprobs")]:
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


def test_langchain(server, greedy):
    chat = ChatOpenAI(base_url=server.url + "/v1", api_key="none", model="builtin", temperature=0, max_tokens=30)
    chat.model_name = openai_of(server).models.list().data[0].id
    assert chat.invoke([HumanMessage(PROMPT)]).content == greedy
    assert "".join(c.content for c in chat.stream([HumanMessage(PROMPT)])) == greedy
    assert chat.invoke([SystemMessage("Be brief."), HumanMessage(PROMPT)]).usage_metadata["output_tokens"] <= 30


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


# ---- Anthropic -------------------------------------------------------------------------------------------------


def test_anthropic_messages(server, greedy):
    client = anthropic_of(server)
    name = openai_of(server).models.list().data[0].id
    ask = {"model": name, "max_tokens": 30, "extra_body": {"temperature": 0}, # which this client has no word for
           "messages": [{"role": "user", "content": PROMPT}]}
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


# ---- clients that leave ----------------------------------------------------------------------------------------


def leave(server, path, body, after):
    """Sends a request, reads so many bytes of the answer at most, or all there are, and goes."""
    data = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)
        while after > 0 and (got := connection.recv(after)):
            after -= len(got)


def test_clients_that_leave_do_not_change_what_others_get(server, greedy):
    ask = [{"role": "user", "content": PROMPT}]
    long = {"model": "builtin", "messages": ask, "stream": True, "max_tokens": 400}
    paths = {"/v1/chat/completions": long, "/v1/messages": long, "/api/chat": {"model": "builtin", "messages": ask},
             "/v1/responses": {"input": PROMPT, "stream": True}, "/completion": {"prompt": PROMPT, "stream": True},
             "/v1/embeddings": {"input": ["x"] * 50}}
    draw = random.Random(1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        stay = [pool.submit(server.post, "/v1/chat/completions", messages=ask, temperature=0, max_tokens=30)
                for _ in range(4)]
        gone = [pool.submit(leave, server, path, body, draw.choice([0, 0, 1, 200, 900, 3000]))
                for _ in range(10) for path, body in paths.items()]
        stay += [pool.submit(server.post, "/v1/chat/completions", messages=ask, temperature=0, max_tokens=30)
                 for _ in range(4)]
        for each in gone:
            each.result()
        for each in stay:
            assert each.result()[2]["choices"][0]["message"]["content"] == greedy
    eventually(lambda: server.ask("GET", "/slots")[2] == [], "an end")  # what was left is not computed further
