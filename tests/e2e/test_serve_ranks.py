# SPDX-License-Identifier: MIT
"""/rerank and /infill: what models with a head for it, or tokens for it, are asked, and what is said of the others."""

import array
import json
import shutil
import struct
from pathlib import Path

import pytest

from serving import serving
from support import ROOT, STORIES, need, slm

GOLDEN = ROOT / "tests/golden/embeddings"
# As tools/golden/embeddings.py has them, whose figures are transformers'.
PAIRS = ["Hello there", "again again", "", "The quick brown fox", "Über <|im_end|> {query}", "two  spaces"]
TEMPLATE = "<bos>Query: {query}\nDocument: {document}<|im_end|>\n"


def with_key(source, target, name, kind, value):
    """Copies a GGUF file and puts a key in front of the others; 4 more bytes of a key of no meaning keep it aligned."""
    data = Path(source).read_bytes()
    n_kv = struct.unpack_from("<Q", data, 16)[0]
    entry = b"".join(struct.pack("<Q", len(n)) + n + struct.pack("<I", t) + v for n, t, v in (
        [(name.encode(), kind, value)]))
    pad = -(len(entry) + 8 + 4 + 8 + 4) % 32
    entry += struct.pack("<Q", 4) + b"pad." + struct.pack("<IQ", 8, pad) + b" " * pad
    Path(target).write_bytes(data[:16] + struct.pack("<Q", n_kv + 2) + entry + data[24:])


def with_text(source, target, name, text):
    with_key(source, target, name, 8, struct.pack("<Q", len(text.encode())) + text.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models by file name: pairs and template rank, vectors embeds, tells does neither, code has tokens to fill in."""
    place = tmp_path_factory.mktemp("ranks")
    done = slm("convert", GOLDEN / "ranks", place / "pairs.gguf", "--type", "f32")
    assert done.returncode == 0, done.stderr
    with_text(place / "pairs.gguf", place / "template.gguf", "tokenizer.chat_template.rerank", TEMPLATE)
    assert slm("convert", GOLDEN / "qwen3", place / "vectors.gguf").returncode == 1  # has a bias
    (place / "vectors").symlink_to(GOLDEN / "qwen3")
    (place / "ranker").symlink_to(GOLDEN / "ranks")
    (place / "tells.gguf").symlink_to(need(STORIES))
    data = Path(need(STORIES)).read_bytes()
    for old, new in NAMES:  # ordinary tokens by other names, so that what the file grows by keeps its alignment
        old = old.encode()
        entry = struct.pack("<Q", len(old)) + old
        assert data.count(entry) == 1, old
        data = data.replace(entry, struct.pack("<Q", len(new)) + new)
    (place / "code.gguf").write_bytes(data)
    return place


NAMES = [("▁the", b"<|fim_prefix|>"), ("▁was", b"<|fim_suffix|>"), ("▁and", b"<|fim_middle|>"), ("▁she", b"<|file_sep|>")]
NAMES.append(("▁to", b"x" * (5 + -sum(len(new) - len(old.encode()) for old, new in NAMES) % 32)))


@pytest.fixture(scope="module")
def server(folder):
    with serving("--models", folder, "--ctx", 128) as running:
        yield running


def floats(name):
    values = array.array("f", (GOLDEN / "ranks" / name).read_bytes())
    return [values[i] for i in range(0, len(values), 2)]  # the first of two labels


@pytest.mark.parametrize("model, expected", [("pairs", "pairs.bin"), ("ranker", "pairs.bin"), ("template", "template.bin")])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/reranking", "/v1/reranking"])
def test_scores_are_those_of_transformers(server, model, expected, path):
    ask = {"model": model, "query": PAIRS[0], "documents": PAIRS[1:]}
    status, _, reply = server.post(path, **ask)
    assert status == 200, reply
    assert set(reply) == {"results", "model", "object", "usage"} and reply["object"] == "list" and reply["model"] == model
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] > 2 * len(PAIRS)
    scores = {r["index"]: r["relevance_score"] for r in reply["results"]}
    assert sorted(scores) == list(range(5)) and all(set(r) == {"index", "relevance_score"} for r in reply["results"])
    for i, value in enumerate(floats(expected)):
        assert abs(scores[i] - value) < 1e-5, (i, scores[i], value)
    order = [r["relevance_score"] for r in reply["results"]]
    assert order == sorted(order, reverse=True)
    best = server.post(path, **ask, top_n=2, return_documents=True)[2]["results"]
    assert [r["index"] for r in best] == [r["index"] for r in reply["results"]][:2]
    assert [r["document"] for r in best] == [{"text": PAIRS[1 + r["index"]]} for r in best]
    wrapped = server.post(path, **{**ask, "documents": [{"text": d} for d in PAIRS[1:]]}, top_n=9)[2]["results"]
    assert wrapped == reply["results"]


def test_models_that_embed_rank_by_cosine(server):
    documents = ["Hello there you", "again", "The quick brown fox", "again"]
    reply = server.post("/rerank", model="vectors", query="Hello there", documents=documents)[2]
    vectors = [d["embedding"] for d in
               server.post("/v1/embeddings", model="vectors", input=["Hello there", *documents])[2]["data"]]
    cosines = [sum(a * b for a, b in zip(vectors[0], v)) for v in vectors[1:]]
    assert reply["results"][0]["relevance_score"] > reply["results"][-1]["relevance_score"]
    for result in reply["results"]:
        assert abs(result["relevance_score"] - cosines[result["index"]]) < 1e-5
    places = [r["index"] for r in reply["results"]]
    assert places.index(1) < places.index(3)  # equals stay in their order


def test_what_cannot_be_ranked(server):
    ask = {"model": "pairs", "query": "a", "documents": ["b"]}
    for change, words in [({"model": "tells"}, ["model", "tells", "cls.output.weight"]), ({"documents": []}, ["documents"]),
                          ({"documents": "b"}, ["documents"]), ({"documents": ["b", 1]}, ["documents[1]"]),
                          ({"documents": [{"text": "b", "title": "c"}]}, ["documents[0]"]), ({"query": None}, ["query"]),
                          ({"documents": ["b", "again " * 200]}, ["documents[1]", "128"]), ({"top_n": 0}, ["top_n"]),
                          ({"documents": ["b"] * 2048}, ["documents", "2047"]), ({"bogus": 1}, ["bogus"])]:
        status, _, body = server.post("/rerank", **{**ask, **change})
        assert status == 400, change
        assert all(word in body["error"]["message"] for word in words), body
    assert server.post("/rerank", **{**ask, "model": "nope"})[0] == 404
    for model in ("pairs", "template", "vectors"):  # found before it is joined with each of them: that would take minutes
        status, _, body = server.post("/rerank", model=model, query="again " * 100000, documents=["b"] * 2000)
        assert status == 400 and body["error"]["message"].startswith("query: has"), body
    status, _, body = server.post("/rerank", **{**ask, "model": "vectors", "documents": ["b", "again " * 200]})
    assert status == 400 and "documents[1]" in body["error"]["message"]
    # A model without a head to go on with a text says so when it is asked for one.
    status, _, body = server.post("/completion", model="ranker", prompt="x", n_predict=1)
    assert status == 400 and "head" in body["error"]["message"]


def test_embed_command_prints_scores():
    done = slm("embed", GOLDEN / "ranks", "--ids", "5 6 7", "--json")
    reply = json.loads(done.stdout)
    assert reply["pooling"] == "rank" and reply["dimensions"] == 2 and abs(sum(reply["embeddings"][0]) - 1) < 1e-6
    plain = json.loads(slm("embed", GOLDEN / "ranks", "--ids", "5 6 7", "--json", "--pooling", "last").stdout)
    assert plain["dimensions"] == 16
    assert "no head that ranks" in slm("embed", need(STORIES), "x", "--pooling", "rank").stderr


def test_a_ranking_class_without_its_head_is_refused(tmp_path):
    shutil.copytree(GOLDEN / "qwen3", tmp_path / "m")
    config = (tmp_path / "m/config.json").read_text()
    (tmp_path / "m/config.json").write_text(config.replace('"Qwen3Model"', '"Qwen3ForSequenceClassification"'))
    done = slm("embed", tmp_path / "m", "x")
    assert done.returncode == 1 and "Qwen3ForSequenceClassification" in done.stderr and "score.weight" in done.stderr


# ---- /infill ---------------------------------------------------------------------------------------------------

def ids_of(server, text, model="code", **more):
    return server.post("/tokenize", model=model, content=text, **more)[2]["tokens"]


def marks(server):
    """Ids of the renamed tokens, by what they were."""
    found = [ids_of(server, old.removeprefix("▁"), "tells") for old, _ in NAMES[:4]]
    assert all(len(ids) == 1 for ids in found)
    return [ids[0] for ids in found]


def test_infill_is_a_completion_of_the_parts_in_order(server):
    pre, suf, mid, sep = marks(server)
    bos = ids_of(server, "", add_special=True)
    text = lambda t: ids_of(server, t, parse_special=False)
    ask = {"model": "code", "input_prefix": "One day Lily", "input_suffix": "She was <|fim_middle|> happy.", "n_predict": 12,
           "temperature": 0, "return_tokens": True}
    parts = [*bos, pre, *text("One day Lily"), suf, *text("She was <|fim_middle|> happy."), mid]
    plain = {k: v for k, v in ask.items() if not k.startswith("input_")}
    expected = server.post("/completion", **plain, prompt=parts)[2]
    status, _, reply = server.post("/infill", **ask)
    assert status == 200, reply
    assert reply["tokens_evaluated"] == len(parts) and reply["tokens"] == expected["tokens"]
    assert reply["content"] == expected["content"] and len(reply["tokens"]) == 12
    events = server.stream("/infill", **ask)
    assert "".join(e["content"] for _, e in events if not e["stop"]) == reply["content"] and events[-1][1]["stop"]
    begun = server.post("/infill", **ask, prompt=" went")[2]
    parts = [*bos, pre, *text("One day Lily"), *text(" went"), suf, *text(ask["input_suffix"]), mid]
    assert begun["tokens"] == server.post("/completion", **plain, prompt=parts)[2]["tokens"]
    extra = server.post("/infill", **ask, input_extra=[{"filename": "a.txt", "text": "Tom ran."}, {"text": "Up."}])[2]
    parts = [*bos, sep, *text("a.txt\n"), *text("Tom ran."), sep, *text("tmp\n"), *text("Up."), sep, *text("filename\n"),
             pre, *text("One day Lily"), suf, *text(ask["input_suffix"]), mid]
    assert extra["tokens_evaluated"] == len(parts)
    assert extra["tokens"] == server.post("/completion", **plain, prompt=parts)[2]["tokens"]


def test_a_key_of_the_file_goes_before_a_name(server, folder, tmp_path):
    """The token that the file calls its prefix is taken, whatever one by the usual name there is."""
    other = ids_of(server, "dog")[-1]
    with_key(folder / "code.gguf", tmp_path / "keyed.gguf", "tokenizer.ggml.fim_pre_token_id", 4, struct.pack("<I", other))
    ask = {"input_prefix": "A", "input_suffix": "B", "n_predict": 6, "temperature": 0, "return_tokens": True}
    with serving(tmp_path / "keyed.gguf", "--ctx", 64) as keyed:
        mine = keyed.post("/infill", **ask)[2]["tokens"]
    _, suf, mid, _ = marks(server)
    parts = [*ids_of(server, "", add_special=True), other, *ids_of(server, "A"), suf, *ids_of(server, "B"), mid]
    more = {k: v for k, v in ask.items() if not k.startswith("input_")}
    assert mine == server.post("/completion", model="code", prompt=parts, **more)[2]["tokens"]


def test_what_cannot_be_filled_in(server):
    ask = {"model": "code", "input_prefix": "a", "input_suffix": "b", "n_predict": 1}
    for change, words in [({"model": "tells"}, ["prefix", "fim_pre_token_id"]), ({"input_prefix": None}, ["input_prefix"]),
                          ({"input_suffix": 3}, ["input_suffix"]), ({"input_extra": {}}, ["input_extra"]),
                          ({"input_extra": [{"filename": "x"}]}, ["input_extra[0]"]),
                          ({"input_extra": [{"text": "x"}, {"text": 1}]}, ["input_extra[1].text"]),
                          ({"input_prefix": "a b c " * 100}, ["context"]), ({"bogus": 1}, ["bogus"])]:
        status, _, body = server.post("/infill", **{**ask, **change})
        assert status == 400, (change, body)
        assert all(word in body["error"]["message"] for word in words), body


def test_suffixes_of_other_apis_are_the_same_infill(server):
    ask = {"model": "code", "prompt": "One day Lily", "suffix": "She was happy."}
    expected = server.post("/infill", model="code", input_prefix=ask["prompt"], input_suffix=ask["suffix"], n_predict=12,
                           temperature=0)[2]["content"]
    reply = server.post("/v1/completions", **ask, max_tokens=12, temperature=0)[2]
    assert reply["choices"][0]["text"] == expected
    reply = server.post("/api/generate", **ask, stream=False, options={"num_predict": 12, "temperature": 0})[2]
    assert reply["response"] == expected
    for change, word in [({"model": "tells"}, "fim_pre"), ({"prompt": ["a", "b"]}, "suffix"), ({"echo": True}, "suffix")]:
        status, _, body = server.post("/v1/completions", **{**ask, **change})
        assert status == 400 and word in body["error"]["message"], body
    assert server.post("/api/generate", **ask, system="x")[0] == 400
