# SPDX-License-Identifier: MIT
"""What must never be more than an error with a name: requests made wrong in every way that has brought servers down. Each is
answered at once, with 4xx in the shape of its API; the server is the same behind it."""

import json
import re

import pytest

from serving import serving
from support import ROOT, STORIES, TINY_QWEN3, need, need_builtin_model

CHAT = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
# A request of each endpoint that is right, and short.
ENDPOINTS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "x", "max_tokens": 1},
    "/v1/responses": {"input": "x", "max_output_tokens": 16},
    "/v1/embeddings": {"input": "x"},
    "/api/generate": {"model": "builtin", "prompt": "x", "stream": False, "options": {"num_predict": 1}},
    "/api/chat": {"model": "builtin", "messages": CHAT["messages"], "stream": False, "options": {"num_predict": 1}},
    "/api/embed": {"model": "builtin", "input": "x"},
    "/v1/messages": {"model": "builtin", **CHAT},
    "/completion": {"prompt": "x", "n_predict": 1},
    "/tokenize": {"content": "x"},
    "/detokenize": {"tokens": [1]},
    "/apply-template": {"messages": CHAT["messages"]},
    "/embedding": {"content": "x"},
    "/rerank": {"query": "x", "documents": ["y"]},
    "/infill": {"input_prefix": "x", "input_suffix": "y", "n_predict": 1},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need_builtin_model()
    folder = tmp_path_factory.mktemp("models")
    (folder / "outside.gguf").symlink_to(need(STORIES))
    with serving("", "--models", folder, "--ctx", 256) as running:
        yield running
        assert running.post("/v1/chat/completions", **CHAT)[0] == 200  # after all of it


def message_of(body):
    """The sentence of an error, whatever API's."""
    error = body["error"]
    return error if isinstance(error, str) else error["message"] + " " + str(error.get("param", ""))


def refused(server, path, body, *words, status=400):
    got, _, reply = server.ask("POST", path, body)
    assert got == status, (path, body if len(str(body)) < 300 else "...", got, reply)
    text = message_of(reply)
    assert all(word in text for word in words), (path, text)
    assert len(text) < 1000


# ---- bodies ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", ENDPOINTS)
def test_bodies_that_are_no_request(server, path):
    for body in (b"", b"[]", b"null", b'""', b"1", b"{", b'{"a":1}x', b"\xff", b'\xef\xbb\xbf{}', b"{}" * 2, b'{"a":NaN}',
                 b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}", b'{"a":' + b"9" * 1000000 + b"}", b'{"model":"a","model":"b"}',
                 "{}".encode("utf-16")):
        refused(server, path, body)
    right = ENDPOINTS[path]
    needed = re.findall(rf"### `POST {path}`\n(.*?)\n### ", (ROOT / "docs/api.md").read_text(), re.S)[0]
    for field in re.findall(r"^\| `(\w+)` \(required\)", needed, re.M):
        refused(server, path, {k: v for k, v in right.items() if k != field}, field)
        refused(server, path, {**right, field: None}, field)
    refused(server, path, {**right, "x" * 5000: 1}, "xxx")
    refused(server, path, {**right, "no_such_field": 1}, "no_such_field")


def test_empty_conversations(server):
    for path in ("/v1/chat/completions", "/v1/messages", "/apply-template"):
        for messages in ([], {}, "x", [1], [{}], [{"role": 1, "content": "x"}], [{"role": "user"}], [{"role": "user", "content": 5}],
                         [{"role": "king", "content": "x"}], [{"role": "user", "content": [{"type": "hologram"}]}]):
            refused(server, path, {**ENDPOINTS[path], "messages": messages}, "messages")
    for path in ("/v1/completions", "/completion"):
        for prompt in ({}, 1, True, [[]], [1.5], ["x", {}], [None], [[1, "x", []]], [2**31], [-1], [10**9]):
            refused(server, path, {**ENDPOINTS[path], "prompt": prompt}, "prompt")


# ---- numbers ---------------------------------------------------------------------------------------------------

ODD = ["-1", "0", "1.5", '"1"', "true", "[]", "{}", "1e308", "-1e308", "2147483648", "9007199254740993", "9223372036854775808",
       "18446744073709551616", "-9223372036854775809", "1e-320", "NaN", "1e999"]


def numbers_of(path):
    rows = re.findall(rf"### `POST {path}`\n(.*?)\n### ", (ROOT / "docs/api.md").read_text(), re.S)[0]
    return re.findall(r"^\| `(\w+)`(?: \(required\))? \| (integer|number) (\S+) to (\S+) \|", rows, re.M)


def allowed(kind, low, high, text):
    try:
        value = json.loads(text)
    except ValueError:
        return False
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value in (float("inf"), float("-inf")) or value != value:
        return False
    if kind == "integer" and value != int(value):
        return False
    return float(low) <= value <= float(high) and not (isinstance(value, int) and abs(value) >= 2**63)


@pytest.mark.parametrize("path", [p for p in ENDPOINTS if numbers_of(p)])
def test_numbers_are_in_their_range_or_named(server, path):
    right, n_refused = ENDPOINTS[path], 0
    for field, kind, low, high in numbers_of(path):
        rest = json.dumps({k: v for k, v in right.items() if k != field})[:-1]
        for text in ODD:
            status, _, body = server.ask("POST", path, f'{rest}, "{field}": {text}}}'.encode())
            if not allowed(kind, low, high, text):
                assert status == 400, (field, text, status, body)
                assert field in message_of(body) or "JSON" in message_of(body) or "number" in message_of(body), (text, body)
                n_refused += 1
            else:  # another field may be missing for it, but nothing else may come of it
                assert status == 200 or (status == 400 and message_of(body)), (field, text, status, body)
    assert n_refused > 5


def test_lists_have_an_end(server):
    path = "/v1/chat/completions"
    for field, value in [("n", 10**6), ("top_logprobs", 10**6), ("stop", ["x"] * 10**5), ("stop", ""), ("stop", [""]),
                         ("stop", "x" * 10**6), ("stop", [1]), ("logit_bias", {str(i): 1 for i in range(2000)}),
                         ("logit_bias", {"abc": 1}), ("logit_bias", {"99999999": 1}), ("logit_bias", {"-1": 1}),
                         ("logit_bias", {"5": 1e9}), ("logit_bias", [1])]:
        refused(server, path, {**CHAT, field: value}, field)
    refused(server, "/v1/embeddings", {"input": ["x"] * 10000}, "input")
    refused(server, "/v1/embeddings", {"input": []}, "input")
    refused(server, "/v1/embeddings", {"input": "word " * 2000}, "context")
    refused(server, "/v1/completions", {"prompt": ["x"] * 5000}, "prompt")


# ---- lengths ---------------------------------------------------------------------------------------------------

def test_the_context_is_exact(server):
    token = server.post("/tokenize", content=" dog")[2]["tokens"][-1]
    ask = {"temperature": 0, "max_tokens": 1000, "ignore_eos": True}
    for n, left in ((250, 6), (255, 1)):
        status, _, reply = server.post("/v1/completions", prompt=[token] * n, **ask)
        assert status == 200 and reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["completion_tokens"] in (left, left + 1), (n, reply["usage"])
    for n in (257, 2560):
        refused(server, "/v1/completions", {"prompt": [token] * n, **ask}, str(n), "256")
    for path in ("/v1/chat/completions", "/api/chat", "/v1/messages", "/v1/responses", "/apply-template"):
        body = {**ENDPOINTS[path], **({"input": "word " * 9000} if "responses" in path else
                                      {"messages": [{"role": "user", "content": "word " * 9000}]})}
        if path != "/apply-template":  # which computes nothing
            refused(server, path, body, "256")


# ---- tools, names, contents ------------------------------------------------------------------------------------

def test_tools_that_are_none(server):
    tool = lambda **f: {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, **f}}
    for tools in (5, [5], [{}], [{"type": "gizmo"}], [tool(name="")], [tool(name="a\nb")], [tool(name="x" * 4096)],
                  [tool(name="\u00fcber")], [tool(parameters=5)], [tool(parameters="{}")], [tool()] * 1000):
        refused(server, "/v1/chat/completions", {**CHAT, "tools": tools}, "tools")
    for choice in (5, "sometimes", {}, {"type": "function"}, {"type": "function", "function": {"name": "g"}}):
        refused(server, "/v1/chat/completions", {**CHAT, "tools": [tool()], "tool_choice": choice}, "tool_choice")
    refused(server, "/v1/chat/completions", {**CHAT, "tool_choice": "required"}, "tool")


def test_content_is_never_fetched(server):
    for url in ("http:" "//169.254.169.254/latest/meta-data", "file:///etc/passwd", f"http://127.0.0.1:{server.port}/health",
                "data:image/png;base64," + "A" * 10**6):
        part = {"type": "image_url", "image_url": {"url": url}}
        refused(server, "/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": [part]}]},
                "messages[0].content[0]")
    status, _, text = server.ask("GET", "/metrics")
    assert status == 200 and 'http_requests_total{status="2xx"}' in text


def test_names_never_become_paths(server):
    names = ["../../etc/passwd", "/etc/passwd", "a\nb", "x" * 65536, "outside.gguf/../../etc/passwd", "C:\\x", "\u202eb", "..", ".",
             "~", "%2e%2e", "builtin\u0000", str(ROOT), need(STORIES), need(TINY_QWEN3)]
    for path, body in ENDPOINTS.items():
        for name in names if path in ("/v1/chat/completions", "/api/generate", "/v1/messages", "/completion") else names[:3]:
            status, headers, reply = server.ask("POST", path, {**body, "model": name})
            assert status in (400, 404), (path, name[:50], status, reply)
            assert len(message_of(reply)) < 1000 and "root:" not in message_of(reply)
            assert not any("\n" in value for value in headers.values())
    assert server.ask("GET", "/v1/models/..%2f..%2fetc%2fpasswd")[0] in (400, 404)


# ---- who else is there -----------------------------------------------------------------------------------------

def test_a_browsers_simple_request_is_refused(server):
    """What a page of anybody's can send without being asked: text and forms, with an Origin."""
    body = json.dumps(CHAT).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml"):
        status, _, _ = server.ask("POST", "/v1/chat/completions", body, {"Content-Type": kind, "Origin": "http://example.org"})
        assert status in (403, 415), kind
    for kind in ("text/plain", "application/xml", "multipart/form-data"):
        assert server.ask("POST", "/v1/chat/completions", body, {"Content-Type": kind})[0] == 415, kind
    assert server.ask("POST", "/v1/chat/completions", body, {"Content-Type": "application/json; charset=utf-8"})[0] == 200


def test_what_is_sent_does_not_split_the_reply(server):
    evil = "x\r\nSet-Cookie: a=b\r\n\r\n<html>"
    for headers in ({}, {"X-Request-Id": "a b\tc"}):
        status, got, _ = server.ask("POST", "/v1/chat/completions", {**CHAT, "model": evil}, headers)
        assert status == 404 and "Set-Cookie" not in got
        assert all(0x20 <= ord(c) < 0x7F for c in got["X-Request-Id"])
