# SPDX-License-Identifier: MIT
"""slm eval --task as a user sees it: log probabilities against those of `slm logits`, files that are wrong, checkpoints. That
accuracies are those of lm-evaluation-harness' rules is checked with transformers in tests/oracle/tasks.py."""

import json
import math
import random

import pytest

from support import ERROR_LINE, ROOT, STORIES, interrupt_again_and_again, need, slm

BUILTIN = ROOT / "models/builtin.gguf"
ITEMS = [
    {"ctx": "Once upon a time there was a small", "endings": ["fox.", "of the river ran", "girl named Lily."], "label": "2"},
    {"question": "Who saw the ball?", "choices": {"text": ["the dog", "the"], "label": ["1", "2"]}, "answerKey": "1"},
    {"context": "A bird sat in a tree. ", "question": "Where was it?", "choices": ["in a tree", "in a car"], "answer": 0},
]
PROMPTS = ["Once upon a time there was a small", "Question: Who saw the ball?\nAnswer:",
           "A bird sat in a tree. \nQuestion: Where was it?\nAnswer:"]
CHOICES = [ITEMS[0]["endings"], ITEMS[1]["choices"]["text"], ITEMS[2]["choices"]]
ANSWERS = [2, 0, 0]


def write(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def ids_of(model, text):
    return [int(i) for i in slm("tokenize", model, "--ids", "--bos", stdin=text).stdout.split()]


def log_probability(row, token):
    top = max(row)
    return row[token] - top - math.log(math.fsum(math.exp(x - top) for x in row))


def test_log_probabilities_are_those_of_the_logits(tmp_path):
    need(STORIES)
    done = slm("eval", STORIES, "--task", write(tmp_path / "task.jsonl", ITEMS), "--json", "-q", "--kv", "f32")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    right = right_norm = 0
    for answer, prompt, choices, gold in zip(found["answers"], PROMPTS, CHOICES, ANSWERS, strict=True):
        logs = []
        for choice in choices:
            before, whole = ids_of(STORIES, prompt), ids_of(STORIES, f"{prompt} {choice}")
            ids = before + whole[len(before):]
            shown = slm("logits", STORIES, "--ids", " ".join(map(str, ids)), "--all", "--json", "--kv", "f32")
            rows = json.loads(shown.stdout)["logits"]
            logs.append(math.fsum(log_probability(rows[i - 1], ids[i]) for i in range(len(before), len(ids))))
        assert answer["logprobs"] == pytest.approx(logs, abs=1e-4) and answer["answer"] == gold
        best = max(range(len(logs)), key=lambda i: logs[i])
        norm = max(range(len(logs)), key=lambda i: logs[i] / len(choices[i]))
        assert (answer["choice"], answer["choice_norm"]) == (best, norm)
        right, right_norm = right + (best == gold), right_norm + (norm == gold)
    assert found["items"] == 3 and found["acc"] == pytest.approx(right / 3)
    assert found["acc_norm"] == pytest.approx(right_norm / 3) and found["chance"] == pytest.approx((1 / 3 + 1) / 3)
    assert found["acc_error"] == pytest.approx(math.sqrt(right / 3 * (1 - right / 3) / 2))


BAD = [
    ('{"ctx": "a", "endings": ["b", "c"]}', "line 2: field 'answer'"),
    ('{"ctx": "a", "endings": ["b", "c"], "label": 2}', "line 2: field 'answer'"),
    ('{"ctx": "a", "endings": ["b"], "label": 0}', "line 2: field 'choices' has fewer"),
    ('{"ctx": "a", "endings": ["b", ""], "label": 0}', "line 2: field 'choices'"),
    ('{"ctx": "a", "label": 0}', "line 2: field 'choices' is missing"),
    ('{"endings": ["b", "c"], "label": 0}', "line 2: field 'question' is missing"),
    ('{"ctx": 5, "endings": ["b", "c"], "label": 0}', "line 2: field 'context'"),
    ('{"question": "a", "choices": {"text": ["b", "c"], "label": ["A"]}, "answer": "A"}', "line 2: field 'choices'"),
    ('{"ctx": "a", "endings": ["b", "c"], "label": 0', "line 2: column"),
    ('["a"]', "line 2: is no JSON object"),
]


@pytest.mark.parametrize(("line", "complaint"), BAD)
def test_bad_lines_are_named(tmp_path, line, complaint):
    path = tmp_path / "task.jsonl"
    path.write_text(json.dumps(ITEMS[0]) + "\n" + line + "\n")
    done = slm("eval", BUILTIN, "--task", path)
    assert done.returncode == 1 and complaint in done.stderr and ERROR_LINE.match(done.stderr), done.stderr


def test_empty_files_and_contradictions(tmp_path):
    path = tmp_path / "task.jsonl"
    path.write_text(" \n\n")
    assert "has no items" in slm("eval", BUILTIN, "--task", path).stderr
    for more in (["--text", path], ["--base", BUILTIN], ["--window", 8]):
        assert slm("eval", BUILTIN, "--task", path, *more).returncode == 2


def test_long_prompts_lose_their_beginning(tmp_path):
    long = {**ITEMS[0], "ctx": "The end. " * 200 + ITEMS[0]["ctx"]}
    path = write(tmp_path / "task.jsonl", [long])
    found = [json.loads(slm("eval", BUILTIN, "--task", path, "--json", "-q", "-c", n).stdout)["answers"][0] for n in (64, 400)]
    assert all(math.isfinite(x) for answer in found for x in answer["logprobs"])
    assert slm("eval", BUILTIN, "--task", path, "-c", 2).returncode == 1


def test_resumed_says_the_same(tmp_path):
    rng = random.Random(1)
    words = "the dog ran to a big red ball and then it sat in sun with his friend".split()
    items = [{"ctx": " ".join(rng.choices(words, k=30)), "endings": [" ".join(rng.choices(words, k=6)) for _ in range(4)],
              "label": rng.randrange(4)} for _ in range(300)]
    point = tmp_path / "point"
    args = ["eval", BUILTIN, "--task", write(tmp_path / "task.jsonl", items), "--json", "-q", "-t", 1]
    whole = slm(*args).stdout
    assert whole and slm(*args[:-1], 3).stdout == whole
    interrupt_again_and_again(args, point)
    assert slm(*args, "--checkpoint", point).stdout == whole
    done = slm(*args, "--letters", "--checkpoint", point)
    assert done.returncode == 1 and "another evaluation" in done.stderr
