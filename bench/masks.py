#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What masks cost with a real vocabulary: for each form the time to compile it, and to find the mask and take the token
over a text that has it, where no text went before (first) and where one did (later). Needs a build and a file with a
large vocabulary:

    bench/masks.py ../shared/data/tokenizers/ggml-vocab/ggml-vocab-qwen2.gguf

Deliberately not here: whole answers (bench/run), which differ by less than their noise."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

DRIVER = Path(__file__).resolve().parents[1] / "build" / "tests" / "slm_test_grammar"
SCHEMA, OBJECT, REGEX, CHOICE, GBNF = range(5)
PERSON = {"type": "object", "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 80},
    "age": {"type": "integer", "minimum": 0, "maximum": 150}, "bio": {"type": "string"},
    "scores": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}},
    "friends": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string"}},
                                           "required": ["n"]}}},
    "required": ["name", "age", "bio", "scores"]}
ANNE = {"name": "Anne Müller", "age": 31, "bio": "She said \"hello\" and wrote programs.\n" * 12,
        "scores": [0.25, 0.5, 1] * 40, "friends": [{"n": f"friend {i}"} for i in range(40)]}
MANY = {f"property_{i}": {"type": "integer"} for i in range(300)}
AMBIGUOUS = "root ::= r0\n" + "\n".join(f"r{i} ::= " + " ".join(f'"{chr(97 + k % 26)}"?' for k in range(200)) +
                                        (f" r{i + 1}" if i < 3 else "") for i in range(4))
FORMS = [
    ("a person", SCHEMA, PERSON, json.dumps(ANNE, ensure_ascii=False)),
    ("any JSON object", OBJECT, "", json.dumps(ANNE, ensure_ascii=False)),
    ("[A-Z] anywhere, 8 to 4,000 characters", SCHEMA,
     {"type": "string", "pattern": "[A-Z]", "minLength": 8, "maxLength": 4000},
     json.dumps("the quick brown fox jumps over the lazy dog. " * 40 + "Yes")),
    ("format email, up to 254", SCHEMA, {"type": "string", "format": "email", "maxLength": 254},
     '"anne.mueller@mail.example.com"'),
    ("format uri", SCHEMA, {"type": "string", "format": "uri"},
     '"https://user@www.example.com:80/a/b/c%20d?x=1&y=2#frag"'),
    ("a string of at most 200", SCHEMA, {"type": "string", "maxLength": 200},
     json.dumps("the quick brown fox jumps over the lazy dog, once a day. " * 3)),
    ("300 optional properties", SCHEMA, {"type": "object", "properties": MANY},
     json.dumps({k: 7 for k in list(MANY)[::9]})),
    ("enum of 5,000", SCHEMA, {"enum": [f"value number {i}" for i in range(5000)]}, '"value number 4711"'),
    ("regex (ab|[^x]{1,50})*", REGEX, "(ab|[^x]{1,50})*", "the quick brown fo" * 30),
    ("300 optional properties and others", SCHEMA,
     {"type": "object", "properties": MANY, "additionalProperties": {"type": "string"}},
     json.dumps({"property_3": 7, "property_9": 1, "other": "x", "another": "yy"})),
    ("GBNF, 4 rules of 200 optional letters", GBNF, AMBIGUOUS, "abcdefghijklmnopqrstuvwxyzabcdefghijkacegikmoq" * 2),
]


def main():
    driver = subprocess.Popen([DRIVER, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(line):
        driver.stdin.write(line + "\n")
        driver.stdin.flush()
        return driver.stdout.readline().strip()

    print("| form | compile ms | tokens | first: mean, greatest ms | later: mean, p99 us |\n|---|---|---|---|---|")
    for name, kind, form, text in FORMS:
        source = form if isinstance(form, str) else json.dumps(form)
        begin = time.monotonic()
        answer = ask(f"compile {kind} {source.encode().hex()}")
        ms = (time.monotonic() - begin) * 1e3
        if answer != "ok":
            print(f"| {name} | {ms:.1f} | {answer} | | |")
            continue
        runs = re.findall(r"(\d+)/(\d+) tokens: mean (\S+) median \S+ p99 (\S+) max (\S+);",
                          ask(f"time {text.encode().hex()}"))
        (n, of, mean, _, most), (_, _, later, p99, _) = runs
        print(f"| {name} | {ms:.1f} | {n}{'' if n == of else ' of ' + of} "
              f"| {float(mean) / 1e3:.3f}, {float(most) / 1e3:.1f} | {later}, {p99} |")
    driver.stdin.close()
    return driver.wait()


if __name__ == "__main__":
    sys.exit(main())
