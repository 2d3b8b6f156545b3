#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `slm eval --task` says beside what transformers computes for the same questions on a trained model.

Usage: tasks.py SLM_BINARY [--models N] [--seed S]

The questions are made of TinyStories text: how does this story go on, in the forms HellaSwag, ARC and MMLU have. The
rules are lm-evaluation-harness': tokens of prompt and choice together, log probabilities of those behind the prompt's, the
greatest sum (acc) or the greatest for the choice's characters (acc_norm), and the standard error of the mean of a
sample. Without the test data one skipped test. Output is TAP.
"""
import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import oracle
import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared"))
MODEL, TEXT = SHARED / "data/models/tinystories-656k", SHARED / "data/text/tinystories_val.txt"
N_ITEMS = 30


def questions(form, rng):
    """(line of the file, prompt, what is scored behind it, characters that count, right answer)"""
    sentences = [s.strip() for s in TEXT.read_text()[:60000].replace("\n", " ").split(".") if 20 < len(s) < 90]
    for i in range(N_ITEMS):
        at = rng.randrange(2, len(sentences) - 1)
        start, right = ". ".join(sentences[at - 2:at]) + ".", sentences[at]
        choices = rng.sample([s for s in sentences if s != right], rng.choice([1, 2, 3, 4])) + [right]
        rng.shuffle(choices)
        answer = choices.index(right)
        if form == "hellaswag":
            space = rng.choice(["", " "])
            line = {"ind": i, "ctx": start + space, "endings": choices, "label": str(answer)}
            yield line, start, [space + " " + c for c in choices], [len(c) for c in choices], answer
        elif form == "arc":
            labels = rng.choice(["ABCDE", "12345"])[:len(choices)]
            line = {"id": "x", "question": start, "choices": {"text": choices, "label": list(labels)}, "answerKey": labels[answer]}
            yield line, f"Question: {start}\nAnswer:", [" " + c for c in choices], [len(c) for c in choices], answer
        else:
            line = {"question": start, "subject": "é", "choices": choices, "answer": answer}
            listed = "".join(f"{chr(65 + k)}. {c}\n" for k, c in enumerate(choices))
            yield line, f"{start}\n{listed}Answer:", [f" {chr(65 + k)}" for k in range(len(choices))], [1] * len(choices), answer


def log_probability(model, tokenizer, prompt, ending):
    before, whole = tokenizer.encode(prompt), tokenizer.encode(prompt + ending)
    after = whole[len(before):]
    with torch.no_grad():
        rows = torch.log_softmax(model(torch.tensor([before + after])).logits[0].double(), -1)
    return sum(rows[len(before) - 1 + i, t].item() for i, t in enumerate(after))


def best(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def check(binary, model, tokenizer, form, seed):
    items = list(questions(form, random.Random(f"{form} {seed}")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.jsonl"
        path.write_text("".join(json.dumps(item[0], ensure_ascii=False) + "\n" for item in items))
        command = [binary, "eval", MODEL, "--task", path, "--json", "-q", "--kv", "f32"]
        done = subprocess.run([str(c) for c in command + (["--letters"] if form == "mmlu" else [])], capture_output=True,
                              text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    mine = json.loads(done.stdout)
    right, right_norm, worst = 0, 0, 0.0
    for found, (_, prompt, endings, lengths, answer) in zip(mine["answers"], items, strict=True):
        logs = [log_probability(model, tokenizer, prompt, e) for e in endings]
        worst = max([worst] + [abs(a - b) for a, b in zip(found["logprobs"], logs, strict=True)])
        right += best(logs) == answer
        right_norm += best([x / n for x, n in zip(logs, lengths)]) == answer
        assert found["answer"] == answer
    assert worst < 1e-3, f"a log probability is off by {worst}"
    n = len(items)
    for name, count in (("acc", right), ("acc_norm", right_norm)):
        share = count / n
        assert math.isclose(mine[name], share, rel_tol=1e-8), f"{name} is {mine[name]}, transformers' {share}"
        assert math.isclose(mine[name + "_error"], math.sqrt(share * (1 - share) / (n - 1)), rel_tol=1e-8), name
    return right / n, right_norm / n, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=0, help="for the runner; the number of checks is fixed")
    parser.add_argument("--seed", type=int, default=1, help="which questions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    forms = ("hellaswag", "arc", "mmlu")
    if not MODEL.exists() or not TEXT.exists():
        print("1..1\nok 1 # SKIP multiple choice beside transformers: no shared test data")
        return 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    tap = oracle.Tap()
    print(f"1..{len(forms)}", flush=True)
    for form in forms:
        problem = None
        try:
            acc, norm, worst = check(args.slm, model, tokenizer, form, args.seed)
            print(f"report: questions like {form}: acc {acc:.3f}, acc_norm {norm:.3f}, worst log probability {worst:.1e} off")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        tap.say(f"questions like {form}", problem)
    return tap.failed != 0


if __name__ == "__main__":
    sys.exit(main())
