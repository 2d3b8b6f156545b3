# SPDX-License-Identifier: MIT
"""slm embed and --lora as a user meets them; what the numbers must be is tested in tests/golden and tests/oracle."""

import json
import math
import shutil

from support import ERROR_LINE, ROOT, slm

QWEN3 = ROOT / "tests/golden/embeddings/qwen3"
GEMMA = ROOT / "tests/golden/embeddings/gemma"
LLAMA = ROOT / "tests/golden/adapters/llama"


def vectors(*args, **more):
    done = slm("embed", *args, "--json", **more)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def test_a_text_a_file_and_lines_are_the_same(tmp_path):
    (tmp_path / "text").write_text("Hello there")
    one = vectors(QWEN3, "Hello there")
    assert one["dimensions"] == 10 and one["pooling"] == "last" and len(one["embeddings"]) == 1
    assert vectors(QWEN3, "-f", tmp_path / "text") == one
    assert vectors(QWEN3, "-f", "-", stdin="Hello there") == one
    lines = vectors("-m", QWEN3, stdin="first\n\nHello there")["embeddings"]
    assert len(lines) == 3 and lines[2] == one["embeddings"][0]


def test_plain_output_is_a_vector_a_line():
    done = slm("embed", GEMMA, "--dimensions", 4, stdin="a\nb\n")
    assert done.returncode == 0 and done.stderr == ""
    rows = [list(map(float, line.split(" "))) for line in done.stdout.splitlines()]
    assert [len(r) for r in rows] == [4, 4]
    assert all(math.isclose(sum(x * x for x in r), 1, rel_tol=1e-5) for r in rows)


def test_options_change_the_vector():
    plain = vectors(GEMMA, "fox")
    for options in (["--pooling", "last"], ["--no-normalize"], ["--prompt", "query"]):
        assert vectors(GEMMA, "fox", *options)["embeddings"] != plain["embeddings"]


def test_no_text_is_no_vector():
    assert vectors(QWEN3, stdin="")["embeddings"] == []


def assert_fails(done, code, *words):
    assert done.returncode == code and done.stdout == "" and ERROR_LINE.match(done.stderr), done.stderr
    for word in words:
        assert word in done.stderr


def test_what_is_asked_for_wrongly():
    assert_fails(slm("embed", QWEN3, "text", "--pooling", "max"), 2, "'max'", "mean, last, cls")
    assert_fails(slm("embed", QWEN3, "text", "-f", "file"), 2, "one of")
    assert_fails(slm("embed", QWEN3, "text", "--dimensions", 11), 1, "11", "10")
    assert_fails(slm("embed", QWEN3, "a long text " * 9, "--ctx", 8), 1, "text 0", "context holds 8")
    assert_fails(slm("embed", GEMMA, "text", "--prompt", "x"), 1, "document, query")
    assert_fails(slm("run", GEMMA, "text"), 1, "slm embed")


def test_lora_is_applied_and_its_scale_is_read(tmp_path):
    """A path may hold '='; a scale is what is a number behind the last one."""
    odd = tmp_path / "r=2"
    shutil.copytree(LLAMA / "one", odd)
    logits = lambda *args: slm("logits", LLAMA / "base.gguf", "--ids", "1 2 3", "--json", *args).stdout
    plain, one = logits(), logits("--lora", LLAMA / "one")
    assert json.loads(plain) != json.loads(one)
    assert logits("--lora", f"{LLAMA / 'one'}=1") == logits("--lora", f"{odd}=1.0") == one
    assert json.loads(logits("--lora", f"{odd}=0")) == json.loads(plain)
    assert logits("--lora", f"{odd}=0.25", "--lora", f"{odd}=0.75") != plain
    assert_fails(slm("logits", LLAMA, "--ids", "1", "--lora", "nowhere"), 1, "nowhere")
    assert_fails(slm("logits", QWEN3.parent / "gemma/model.gguf", "--ids", "1", "--lora", LLAMA / "one"), 1, "base")
