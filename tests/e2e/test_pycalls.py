# SPDX-License-Identifier: MIT
"""Calls written in Python against Python: `ast` parses the same text, `ast.literal_eval` says what its arguments are.

Texts come from a grammar that varies what Python lets vary (quotes, prefixes, escapes, number forms, white space,
comments, trailing commas), and from those texts with characters changed. Of the first kind every one must be
recognised; of both kinds, what is recognised must be what Python says it is. The seed is printed; SLM_PYCALLS_SEED
repeats a run.
"""

import ast
import json
import keyword
import os
import random
import re
import subprocess
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(os.environ.get("SLM_BUILD_DIR", ROOT / "build")) / "tests" / "parts_driver"
N = {"check": 1500, "test": 10000, "soak": 200000}.get(os.environ.get("SLM_TEST_LEVEL", "test"), 10000)
SEED = int(os.environ.get("SLM_PYCALLS_SEED", random.SystemRandom().randrange(1 << 32)))


# ---- the oracle -----------------------------------------------------------------------------------------------------


class NoCall(Exception):
    pass


def plain(value):
    """What JSON can say, without the silent changes of json.dumps."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise NoCall
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if not isinstance(value, str):
        raise NoCall
    text = json.loads(json.dumps(value))  # two halves of a pair are one character there
    if any(0xD800 <= ord(c) < 0xE000 for c in text):
        raise NoCall
    return text


def words_of_json(node):
    """true, false and null are taken too: in a call they can mean nothing else."""
    names = {"true": True, "false": False, "null": None}

    class Names(ast.NodeTransformer):
        def visit_Name(self, name):
            return ast.copy_location(ast.Constant(names[name.id]), name) if name.id in names else name

    return Names().visit(node)


def call(node):
    if not isinstance(node, ast.Call) or node.args or any(k.arg is None for k in node.keywords):
        raise NoCall
    names = [k.arg for k in node.keywords]
    if len(set(names)) != len(names):
        raise NoCall
    name = ast.unparse(node.func)
    if not re.fullmatch(r"\w+(\.\w+)*", name):
        raise NoCall
    return name.removesuffix(".call"), {k.arg: plain(ast.literal_eval(words_of_json(k.value))) for k in node.keywords}


def item(node):
    if isinstance(node, ast.List) and node.elts:
        return [call(one) for one in node.elts]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print" and node.args:
        if node.keywords:
            raise NoCall
        return [call(one) for one in node.args]
    return [call(node)]


def python_says(text):
    """[(name, arguments)], or None when the text is anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
            found = []
            for statement in body:
                if not isinstance(statement, ast.Expr):
                    raise NoCall
                for node in statement.value.elts if isinstance(statement.value, ast.Tuple) else [statement.value]:
                    found += item(node)
            return found or None
    except (SyntaxError, ValueError, TypeError, NoCall, RecursionError, MemoryError):
        return None


def slm_says(texts):
    """For each text: its calls, or None when any of it is content."""
    blocks = [f"```tool_code\n{text}\n```".encode("utf-8", "surrogatepass") for text in texts]
    done = subprocess.run([DRIVER], input=b"".join(b"%d\n%s" % (len(b), b) for b in blocks), capture_output=True,
                          check=True, timeout=300)
    answers = []
    for line in done.stdout.decode().splitlines():
        parts = json.loads(line)
        whole = parts and all(name is not None for name, _ in parts)
        answers.append([(name, json.loads(arguments)) for name, arguments in parts] if whole else None)
    assert len(answers) == len(texts)
    return answers


def same(a, b):
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)  # True is not 1, and 1 not 1.0


# ---- texts ----------------------------------------------------------------------------------------------------------

CHARACTERS = ["a", "b", "{", "}", "[", "]", "(", ")", ",", "=", ":", "#", " ", "é", "日", "😀", "`", "``", ";", "\t", "0"]
ESCAPES = ["\\n", "\\t", "\\\\", "\\'", '\\"', "\\x41", "\\xe9", "\\u00e9", "\\U0001F600", "\\101", "\\0", "\\q", "\\a",
           "\\ud83d\\ude00", "\\\n", "\\r", "\\v", "\\b", "\\f", "\\777"]


class Writer:
    def __init__(self, rng):
        self.rng = rng

    def space(self):
        return self.rng.choice(["", "", "", " ", "  ", "\n", "\n    ", " # it's\n", "\t"])

    def string(self):
        rng, quote = self.rng, self.rng.choice(["'", '"', "'''", '"""'])
        raw = rng.random() < 0.1
        out = []
        for _ in range(rng.choice([0, 1, 3, 8])):
            kind = rng.random()
            other = "'" if quote[0] == '"' else '"'
            if kind < 0.6:
                out.append(rng.choice(CHARACTERS))
            elif kind < 0.8:
                out.append(rng.choice(["\\n", "\\\\", "\\" + quote[0]] if raw else ESCAPES))
            elif kind < 0.9:
                out.append(other)
            elif len(quote) == 3:
                out.append(rng.choice(["\n", quote[0] + "x", quote[0] * 2 + "x"]))
        return rng.choice(["r", "R"] if raw else ["", "", "", "", "u"]) + quote + "".join(out) + quote

    def value(self, depth=0):
        rng = self.rng
        kind = rng.random() if depth < 4 else rng.random() * 0.6
        if kind < 0.25:
            return self.space().join(self.string() if not i else self.string().lstrip("rRu")
                                     for i in range(rng.choice([1, 1, 1, 2])))
        if kind < 0.5:
            return rng.choice(["0", "1", "-7", "+3", "- 2", "00", "1_000", "0x1F", "0b101", "0o17", "-0X_ff", "1.", ".5",
                               "2.50", "01.5", "1e5", "1E-3", "-1_0.0_1e+0_2", "1e999", "123456789012345678901234567890",
                               str(rng.randrange(1 << 70)), repr(rng.gauss(0, 1e3))])
        if kind < 0.6:
            return rng.choice(["True", "False", "None", "true", "false", "null"])
        items = range(rng.choice([0, 1, 2, 3]))
        if kind < 0.75:
            open_, close, parts = "[", "]", [self.value(depth + 1) for _ in items]
        elif kind < 0.85:
            open_, close, parts = "(", ")", [self.value(depth + 1) for _ in items]
        else:
            open_, close = "{", "}"
            parts = [f"{self.string()}{self.space()}:{self.space()}{self.value(depth + 1)}" for _ in items]
        comma = "," if parts and rng.random() < 0.3 else ""
        return open_ + self.list(parts) + comma + self.space() + close

    def list(self, parts):
        return ",".join(self.space() + part + self.space() for part in parts)

    def call(self):
        rng = self.rng
        names = rng.sample(["a", "b", "city", "_x1", "PID", "from_", "call"], rng.choice([0, 1, 1, 2, 3]))
        parts = [f"{name}{self.space()}={self.space()}{self.value()}" for name in names]
        comma = "," if parts and rng.random() < 0.2 else ""
        name = rng.choice(["f", "get_weather", "math.add", "brave_search.call", "print", "Tool_9"])
        return name + rng.choice(["", "", " "]) + "(" + self.list(parts) + comma + self.space() + ")"

    def statement(self):
        kind = self.rng.random()
        if kind < 0.6:
            return self.call()
        calls = [self.call() for _ in range(self.rng.choice([1, 2, 3]))]
        return "[" + self.list(calls) + "]" if kind < 0.8 else "print(" + self.list(calls) + ")"

    def text(self):
        rng = self.rng
        out = rng.choice(["", "", "# one's call\n", "\n"])
        for i in range(rng.choice([1, 1, 1, 2, 4])):
            out += (rng.choice(["\n", "\n\n", "; ", ", ", " # then\n"]) if i else "") + self.statement()
        return out


def changed(rng, text):
    """A few characters away, doubled, replaced or from elsewhere."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(text) + 1)
        cut = rng.choice([0, 0, 1, 1, 2])
        new = rng.choice(["", "", text[at:at + 1], rng.choice(CHARACTERS + ESCAPES),
                          rng.choice("'\"\\()[]{},=.:_-+ \n\r0189xeEjbfrN*/%<@")])
        text = text[:at] + new + text[at + cut:]
    return text


def beyond_python(text):
    """What is taken although Python does not: its own words as names, and lines that are moved in."""
    return any(keyword.iskeyword(word) for word in re.findall(r"\w+", text)) or re.search(r"(^|[\n\r;])[ \t]+\S", text)


def test_whatever_python_takes():
    print("SLM_PYCALLS_SEED", SEED)
    rng = random.Random(SEED)
    texts = [Writer(rng).text() for _ in range(N)]
    texts = [text for text in texts if python_says(text)]
    assert len(texts) > N * 0.95
    for text, got in zip(texts, slm_says(texts)):
        assert got is not None and same(got, python_says(text)), text


def test_nothing_but_what_python_says():
    print("SLM_PYCALLS_SEED", SEED)
    rng = random.Random(SEED + 1)
    texts = [changed(rng, Writer(rng).text()) for _ in range(4 * N)]
    texts = [text for text in texts if "```" not in text]
    taken = refused = 0
    for text, got in zip(texts, slm_says(texts)):
        want = python_says(text)
        if got is not None and not (want is None and beyond_python(text)):
            assert want is not None and same(got, want), text
        taken += want is not None and got is not None
        refused += want is not None and got is None
    assert refused < taken * 0.02, (refused, taken)
