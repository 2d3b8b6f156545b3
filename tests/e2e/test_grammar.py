# SPDX-License-Identifier: MIT
"""Structured output against other programs: jsonschema says whether what is generated satisfies the schema, Python's
re what a regular expression matches. Schemas, patterns and texts are drawn at random, from a fixed seed unless the
level is soak. slm_test_grammar stands between: it draws tokens from the masks at random, so no model has to be good at
JSON. Deliberately not here: broken input and exact masks (fuzz_grammar)."""

import json
import os
import random
import re
import subprocess

import jsonschema
import pytest
from support import ROOT, SHARED, SLM, need

DRIVER = ROOT / "build" / "tests" / "slm_test_grammar"
SOAK = os.environ.get("SLM_TEST_LEVEL") == "soak"
SEED = random.randrange(1 << 30) if SOAK else 7
SCHEMA, OBJECT, REGEX, CHOICE, GBNF = range(5)


class Driver:
    def __init__(self, *model):
        self.process = subprocess.Popen([DRIVER, *model], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().rstrip("\n")

    def compile(self, kind, text=""):
        return self.ask(f"compile {kind} {text.encode().hex()}")

    def matches(self, text):
        return self.ask(f"match {text.encode().hex()}") == "yes"

    def random(self, seed, most=300):
        answer, _, text = self.ask(f"random {seed} {most}").partition(" ")
        assert answer in ("complete", "cut"), (answer, text)
        return answer == "complete", bytes.fromhex(text)


@pytest.fixture(scope="module")
def driver():
    d = Driver()
    yield d
    d.process.stdin.close()
    assert d.process.wait() == 0


# ---- schemas and values drawn at random ---------------------------------------------------------------------------

WORDS = ["a", "b", "key", "é", "na me", "x\"y", "long_name", "ab", "abc", "0"]


class Schemas:
    """Draws schemas of the kinds that are enforced, and for each values that satisfy it and can be written."""

    def __init__(self, rng):
        self.rng = rng

    def schema(self, depth=0):
        kinds = [self.string, self.string, self.integer, self.number, self.constants, self.simple]
        if depth < 3:
            kinds += [self.object, self.object, self.array, self.any_of, self.all_of, self.one_of, self.condition]
        return self.rng.choice(kinds)(depth)

    def root(self):
        """Sometimes recursive."""
        if self.rng.random() < 0.2:
            node = {"type": "object", "properties": {"v": self.schema(2), "next": {"$ref": "#/$defs/node"}},
                    "required": ["v"], "additionalProperties": False}
            return {"$defs": {"node": node}, "$ref": "#/$defs/node"}
        return self.schema()

    def string(self, _):
        rng, s = self.rng, {"type": "string"}
        pick = rng.random()
        if pick < 0.3:
            s["minLength"], s["maxLength"] = rng.randint(0, 3), rng.randint(3, 300)
        elif pick < 0.5:
            s["pattern"] = rng.choice(["^[a-z]+$", "b", "^x|y$", "^\\d{2,4}-[A-F]?$", "^(ab|\"c)*$", "[^a-z]{3}", "é$"])
            if rng.random() < 0.5:
                s["maxLength"] = rng.randint(6, 12)
        elif pick < 0.7:
            s["format"] = rng.choice(["date", "time", "date-time", "uuid", "email", "ipv4", "ipv6", "uri", "hostname",
                                      "json-pointer", "duration"])
        return s

    def bounds(self, s, draw):
        low, high = sorted((draw(), draw()))
        if self.rng.random() < 0.7:
            s[self.rng.choice(["minimum", "exclusiveMinimum"])] = low
        if self.rng.random() < 0.7:
            s[self.rng.choice(["maximum", "exclusiveMaximum"])] = high + 2
        return s

    def integer(self, _):
        return self.bounds({"type": "integer"}, lambda: self.rng.choice([-1, 1]) * self.rng.randint(0, 10 ** self.rng.randint(0, 9)))

    def number(self, _):
        return self.bounds({"type": "number"}, lambda: round(self.rng.uniform(-1, 1) * 10 ** self.rng.randint(0, 4), self.rng.randint(0, 3)))

    def constants(self, _):
        values = self.rng.sample([1, "x", None, True, 2.5, {"a": [1]}, [], "é\"\n", -0.25, "yes"], 3)
        return {"enum": values} if self.rng.random() < 0.7 else {"const": values[0]}

    def simple(self, _):
        return self.rng.choice([{"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "null", "integer"]}, {},
                                True, {"type": "array"}, {"type": "object"}])

    def object(self, depth):
        rng = self.rng
        names = rng.sample(WORDS, rng.randint(0, 5))
        s = {"type": "object", "properties": {n: self.schema(depth + 1) for n in names},
             "required": [n for n in names if rng.random() < 0.5], "title": "ignored"}
        pick = rng.random()
        if pick < 0.4:
            s["additionalProperties"] = False
        elif pick < 0.7:
            s["additionalProperties"] = self.schema(depth + 1)
        elif pick < 0.8:
            s["patternProperties"] = {"^p_[a-z]+$": self.schema(depth + 1)}
        return s

    def array(self, depth):
        rng, s = self.rng, {"type": "array", "items": self.schema(depth + 1)}
        if rng.random() < 0.3:
            s["prefixItems"] = [self.schema(depth + 1) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.5:
            s["minItems"] = rng.randint(0, 2)
        if rng.random() < 0.6:
            s["maxItems"] = rng.randint(2, 4)
        return s

    def any_of(self, depth):
        return {"anyOf": [self.schema(depth + 1) for _ in range(self.rng.randint(1, 3))]}

    def all_of(self, depth):
        s = self.schema(depth + 1)
        return {"allOf": [s, {"description": "x"}, self.schema(3)]} if self.rng.random() < 0.3 else {"allOf": [s]}

    def one_of(self, depth):
        if self.rng.random() < 0.5:
            return {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "v": self.schema(depth + 1)},
                           "required": ["kind"]} for k in ("a", "b")]}


    def simple_condition(self, names):
        """What can be negated."""
        rng, name = self.rng, self.rng.choice(names)
        return rng.choice([
            {"properties": {name: {"const": rng.choice(["x", True, None])}}, "required": [name]},
            {"properties": {name: {"enum": ["x", "y", 1, False]}}}, {"required": [name, rng.choice(names)]},
            {"properties": {name: {"type": rng.choice(["string", "null", "object"])}}},
            {"properties": {name: {"minimum": rng.randint(-9, 9)}}, "required": [name]},
            {"anyOf": [{"required": [n]} for n in names[:2]]}, {"not": {"required": [name]}}, {"type": "null"}])

    def condition(self, depth):
        rng = self.rng
        s = self.object(depth)
        names = list(s["properties"]) + ["other"]
        s["properties"][names[0]] = rng.choice([self.constants(0), {"type": "string", "maxLength": 3}, {"type": "integer"},
                                                {"type": ["boolean", "null"]}, {"enum": ["x", "y", None]}])
        keyword = rng.choice(["if", "if", "not", "dependentRequired", "dependentSchemas"])
        if keyword == "dependentRequired":
            s[keyword] = {n: [rng.choice(names)] for n in rng.sample(names, rng.randint(1, len(names)))}
        elif keyword == "dependentSchemas":
            s[keyword] = {rng.choice(names): self.simple_condition(names)}
        else:
            s[keyword] = self.simple_condition(names)
        if keyword == "if":
            s["then"], s["else"] = self.simple_condition(names), rng.choice([True, self.simple_condition(names)])
        return s


# What the standard library of Python checks of a format, where it does; others the automaton is trusted with.
FORMATS = jsonschema.FormatChecker(("date", "email", "ipv4", "ipv6", "uuid"))


def unparsed(text):
    """Strict JSON: no NaN, no lone surrogates."""
    value = json.loads(text.decode(), parse_constant=lambda c: pytest.fail(c))
    json.dumps(value, ensure_ascii=False).encode()
    return value


def test_what_is_generated_satisfies_the_schema(driver):
    rng = random.Random(SEED)
    print("seed", SEED)
    schemas, compiled, complete = Schemas(rng), 0, 0
    wanted = 1000 if SOAK else 60
    for i in range(4 * wanted):
        schema = schemas.root()
        answer = driver.compile(SCHEMA, json.dumps(schema))
        if answer != "ok":
            # Refused with a place, or found to be contradictory: then no drawn value may satisfy it.
            assert re.match(r"error (unsupported|argument|limit) #", answer), (schema, answer)
            continue
        compiled += 1
        validator = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
        for k in range(4):
            ended, text = driver.random(1000 * i + k)
            if not ended:
                continue
            complete += 1
            errors = list(validator.iter_errors(unparsed(text)))
            assert not errors, (schema, text.decode(), errors[0].message)
            # Changed a little it may be another text of the schema, but never one that does not satisfy it.
            at = rng.randrange(len(text))
            changed = text[:at] + rng.choice([b"", b"0", b"\"", b"-", b",", b"e9", text[at:at + 1] * 2]) + text[at + 1:]
            if driver.ask(f"match {changed.hex()}") == "yes":
                assert validator.is_valid(unparsed(changed)), (schema, changed)
        if compiled == wanted:
            break
    assert compiled == wanted and complete > wanted, (compiled, complete)


def written(value, style):
    return json.dumps(value, ensure_ascii=False, **style)


@pytest.mark.parametrize("schema,good,bad", [
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["b"]},
     [{"b": "x"}, {"a": 1, "b": "é\n\"\\/ \u2028😀"}], [{}, {"a": 1}, {"b": 1}, {"b": "x", "c": 1}]),
    ({"type": "integer", "minimum": -12, "maximum": 105}, list(range(-12, 106)), [-13, 106, 1000, -100, 1.5]),
    ({"type": "integer", "exclusiveMinimum": 9}, [10, 99, 100, 10 ** 20], [9, 0, -10]),
    ({"type": "integer", "maximum": 7}, [7, 0, -1, -10 ** 15], [8, 10, 70]),
    ({"type": "number", "minimum": -0.5, "maximum": 12.25}, [-0.5, -0.25, 0, 0.1, 9.999, 12, 12.25], [-0.51, -1, 12.26, 13, 100]),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, [0.5, 0.0001, 0.999999], [0, 1, 0.0, 1.0, -0.5]),
    ({"type": "string", "minLength": 2, "maxLength": 4}, ["ab", "éüö", "😀😀😀😀", "\n\n"], ["", "a", "abcde", "\n"]),
    ({"type": "string", "maxLength": 600}, ["", "a" * 600, "é" * 599], ["a" * 601, "é" * 601]),
    ({"type": "string", "pattern": "a.c"}, ["abc", "xxa\"cyy"], ["ac", "a\nc"]),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
     [[True], [True, False, True]], [[], [1], [True] * 4]),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
     [[], [1], [1, "x"]], [["x"], [1, 2], [1, "x", 3]]),
    ({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"a": {"minimum": 3}, "b": {"type": "null"}}, "type": "object"}]},
     [{"a": 3}, {"a": 12, "b": None}], [{"a": 2}, {"b": None}, {"a": 3, "b": 1}]),
    ({"$defs": {"t": {"type": "object", "properties": {"v": {"type": "integer"}, "c": {"type": "array", "items":
      {"$ref": "#/$defs/t"}}}, "required": ["v"]}}, "$ref": "#/$defs/t"},
     [{"v": 1}, {"v": 1, "c": [{"v": 2, "c": []}, {"v": 3}]}], [{"c": []}, {"v": 1, "c": [1]}]),
    ({"type": "object", "properties": {"ab": {"type": "integer"}}, "additionalProperties": {"type": "null"}},
     [{}, {"ab": 1}, {"ab": 1, "abc": None, "a": None, "b": None}, {"": None}], [{"ab": None}, {"a": 1}]),
    ({"enum": ["a", 1, {"k": [1, None]}, "\""]}, ["a", 1, {"k": [1, None]}, "\""], ["b", 2, {"k": []}]),
    ({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 5}], "maxLength": 2}, ["ab", 5, 77], ["abc", 4]),
    ({"type": "string", "format": "date"}, ["2024-02-29", "2023-12-31"], ["2023-02-29", "2024-13-01", "2024-1-1", "1900-02-29"]),
    ({"type": "string", "format": "ipv6"}, ["::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4", "::"], [":::", "1::2::3", "12345::"]),
])
def test_values(driver, schema, good, bad):
    assert driver.compile(SCHEMA, json.dumps(schema)) == "ok"
    validator = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
    for style in ({}, {"separators": (",", ":")}, {"indent": 2}, {"indent": "\t"}):
        for value in good:
            assert validator.is_valid(value)
            assert driver.matches(written(value, style)), written(value, style)
        for value in bad:
            assert not driver.matches(written(value, style)), written(value, style)


@pytest.mark.parametrize("schema,where", [
    ({"properties": {"a": {"multipleOf": 0.5}}}, "#/properties/a/multipleOf"), ({"not": {"pattern": "x"}}, "#/not/pattern"), ({"not": {}}, "#"),
    ({"not": {"enum": 3}}, "#/not/enum"),
    ({"items": {"uniqueItems": True}}, "#/items/uniqueItems"), ({"$ref": "http://example.com/x"}, "#/$ref"),
    ({"$ref": "#/$defs/none"}, "#/$ref"), ({"allOf": [{"$ref": "#"}]}, "#"), ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "#"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "#/oneOf"), ({"type": "hiccup"}, "#/type"),
    ({"properties": {"a/b~": {"pattern": "(?=x)"}}}, "#/properties/a~1b~0/pattern"), ({"type": []}, "#/type"),
    ({"minLength": -1}, "#/minLength"), ({"type": "string", "maxLength": 10 ** 9}, "#"), ({"if": {"items": {}}, "then": False}, "#/if/items"),
    ({"type": "number", "not": {"const": 1}}, "#/not/const"), ({"type": "array", "not": {"enum": [[]]}}, "#/not/enum/0"),
    ({"type": "number", "not": {"type": "integer"}}, "#"), ({"not": {"$ref": "#"}}, "#/not/$ref"), ({"$ref": "#a"}, "#/$ref"),
    ({"type": "object", "if": {"required": ["a"]}, "then": {}, "unevaluatedProperties": False}, "#/unevaluatedProperties"),
    ({"dependentRequired": {"a": [1]}, "type": "object"}, "#/dependentRequired/a/0"),
    ({"allOf": [{"$ref": "#x"}], "$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}, "#/allOf/0/$ref"),
    ({"properties": {"p": {"$id": "http://example.com/p", "$ref": "#/x"}}, "x": True}, "#/properties/p/$id"),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "#"), (False, "#"), ({"enum": []}, "#/enum"),
    ({"contains": {}}, "#/contains"), ({"type": "string", "format": "regex"}, "#/format"),
    ({"properties": {"a": False}, "required": ["a"], "type": "object"}, "#"),
])
def test_refused(driver, schema, where):
    answer = driver.compile(SCHEMA, json.dumps(schema))
    assert answer.startswith("error ") and f" {where}: " in answer, answer


def test_deep_and_large_schemas(driver):
    for opening, closing in (('{"items":', "}"), ('{"anyOf":[', "]}"), ('{"properties":{"a":', "}}")):
        for depth in (60, 5000, 50000):
            answer = driver.compile(SCHEMA, opening * depth + "true" + closing * depth)
            assert answer == "ok" if depth == 60 and "any" not in opening else answer.startswith(("error limit", "error format", "ok")), answer
    keys = {f"k{i}": {"type": "integer"} for i in range(2000)}
    assert driver.compile(SCHEMA, json.dumps({"type": "object", "properties": keys})) == "ok"
    assert driver.matches('{"k3":1,"k1999":5}') and not driver.matches('{"k5":1,"k4":5}')
    driver.random(1)
    assert driver.compile(SCHEMA, json.dumps({"enum": [f"w{i}" for i in range(20000)]})).startswith(("ok", "error limit"))


# ---- JSON itself ---------------------------------------------------------------------------------------------------

GOOD_JSON = ['{}', '{"a":1}', '{"a": [1, 2.5, -0, 1e5, 1E-5, 0.1e+2, true, false, null, "", {}, []]}', '{"é":"ü😀"}',
             '{"\\u00e9\\n\\"\\\\\\/\\b\\f\\r\\t":"\\uD83D\\uDE00"}', '{"a":{"b":{"c":{"d":[[[[]]]]}}}}', '{"":0}',
             '{"a":"\x7f\u2028\ufdd0"}', '{\n  "a": 1\n}', '{"a":1,"a":2}']
BAD_JSON = ['', '[]', '1', '{', '{"a"}', '{"a":}', '{"a":1,}', '{a:1}', "{'a':1}", '{"a":01}', '{"a":1.}', '{"a":.5}',
            '{"a":+1}', '{"a":1e}', '{"a":--1}', '{"a":"\n"}', '{"a":"\t"}', '{"a":"\\x"}', '{"a":"\\u12"}', '{"a":tru}',
            '{"a":"\\uD83D"}', '{"a":"\\uDE00"}', '{"a":"\\uD83D\\u0041"}', '{"a":1}}', '{"a":[1,]}', '{"a":[,1]}',
            '{"a":NaN}', '{"a":Infinity}', '{"a" 1}', '{"a":1 "b":2}', '{"a":"\x00"}', '{"a":True}', '{"a":"x}', '{,}']


def test_json(driver):
    assert driver.compile(OBJECT) == "ok"
    for text in GOOD_JSON:
        assert driver.matches(text), text
        json.loads(text)
    for text in BAD_JSON:
        assert not driver.matches(text), text
    for raw in (b'{"a":"\xff"}', b'{"a":"\xc0\x80"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xf4\x90\x80\x80"}', b'{"\xe9":1}'):
        assert driver.ask(f"match {raw.hex()}") != "yes"
    for seed in range(20):
        ended, text = driver.random(seed)
        assert not ended or isinstance(unparsed(text), dict)


# ---- regular expressions -------------------------------------------------------------------------------------------


class Patterns:
    """Draws expressions in which both dialects agree, and the same in GBNF."""

    def __init__(self, rng):
        self.rng = rng

    def atom(self, depth):
        rng = self.rng
        pick = rng.random()
        if pick < 0.45:
            c = rng.choice("abcé")
            return c, f'"{c}"'
        if pick < 0.7:
            c = rng.choice(["[a-b]", "[^a]", "[^a-bé]", "[cé]"])
            return c, c
        if depth > 2:
            return "a", '"a"'
        regex, gbnf = self.alternatives(depth + 1)
        return f"(?:{regex})", f"({gbnf})"

    def sequence(self, depth):
        parts = []
        for _ in range(self.rng.randint(0 if depth else 1, 3)):
            regex, gbnf = self.atom(depth)
            times = self.rng.choice(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}"])
            parts.append((regex + times, gbnf + times))
        return "".join(r for r, _ in parts), " ".join(g for _, g in parts) or '""'

    def alternatives(self, depth=0):
        parts = [self.sequence(depth) for _ in range(self.rng.choice([1, 1, 2, 3]))]
        return "|".join(r for r, _ in parts), " | ".join(g for _, g in parts)


def test_regex_and_gbnf_match_what_python_matches(driver):
    rng = random.Random(SEED)
    patterns = Patterns(rng)
    for i in range(400 if SOAK else 60):
        regex, gbnf = patterns.alternatives()
        texts = ["".join(rng.choice("abcé\nx") for _ in range(rng.randint(0, 7))) for _ in range(15)]
        for kind, source in ((REGEX, regex), (GBNF, "root ::= " + gbnf)):
            assert driver.compile(kind, source) == "ok", source
            ended, text = driver.random(i, 12)  # short: Python backtracks, which may take it for ever
            for text in texts + ([text.decode()] if ended else []):
                assert driver.matches(text) == bool(re.fullmatch(regex, text)), (source, text)
        searched = rng.choice(["", "^"]) + f"(?:{regex})" + rng.choice(["", "$"])
        assert driver.compile(SCHEMA, json.dumps({"type": "string", "pattern": searched})) == "ok"
        for text in texts:
            expected = re.search(searched.replace("$", r"\Z"), text)
            assert driver.matches(json.dumps(text, ensure_ascii=False)) == bool(expected), (searched, text)


@pytest.mark.parametrize("regex,good,bad", [
    (r"\d+\.\d{2}", ["1.50", "12.00"], ["1.5", "٣.50", ""]), (r"[\w\-]+@x", ["a-b_9@x"], ["é@x", "@x"]),
    (r"(a|b$)*", ["", "aab", "b", "a"], ["ba", "bb"]), (r"^(?:x|^y)z$", ["xz", "yz"], ["z", "xyz"]),
    (r"\u00e9\u{1F600}\x41", ["é😀A"], ["é"]), (r"[^\s]+", ["abc"], ["a b", "a\u00a0b"]), (r"a{0}b", ["b"], ["ab"]),
    (r"(?P<n>ab)+?", ["abab"], ["aba"]), (r"[]", [], ["", "a"]), (r"a|", ["", "a"], ["aa"]), (r".", ["é", "😀"], ["\n", "ab"]),
])
def test_regex(driver, regex, good, bad):
    answer = driver.compile(REGEX, regex)
    assert answer == "ok" if good else answer.startswith("error argument"), answer
    if good:
        assert all(driver.matches(t) for t in good) and not any(driver.matches(t) for t in bad)


@pytest.mark.parametrize("regex", [r"(?=a)b", r"(?<!a)b", r"(a)\1", r"\bx", r"\p{L}", "(" * 20000, "a{5,2}", "a{1000000}",
                                   "(?:a{1,1000}){1,1000}", "[z-a]", "a**", "*", "(a", "a)", "[a", "\\", r"\q", "x{", "(?i)a"])
def test_refused_regex(driver, regex):
    assert re.match(r"error (unsupported|format|limit) ", driver.compile(REGEX, regex))


def test_gbnf(driver):
    grammar = r'''
        # llama.cpp's arithmetic example, in spirit
        root  ::= (expr "=" ws term "\n")+
        expr  ::= term ([-+*/] term)*
        term  ::= ident | num | "(" ws expr ")" ws
        ident ::= [a-z] [a-z0-9_]* ws
        num   ::= [0-9]+ ws
        ws    ::= [ \t\n]*
    '''
    assert driver.compile(GBNF, grammar) == "ok"
    assert driver.matches("a+(b*2)=7\n") and driver.matches("1 -x_1 = y\nz=2\n")
    assert not driver.matches("a+=7\n") and not driver.matches("a=7") and not driver.matches("(a=7\n")
    for bad in ('root ::= root "a" | "a"', 'root ::= x "a"\nx ::= y\ny ::= "" | root', 'root ::= missing', 'x ::= "a"', 'root ::= "a',
                'root ::= [a', 'root ::= ("a"', 'root ::= "\\q"', 'root ::= <[12]>', 'root ::= !<think>', "", 'root = "a"',
                'root ::= ' + '(' * 60000, 'root ::= "a"{3,1}', 'root ::= "a"\nroot ::= "b"', 'root ::= root'):
        assert driver.compile(GBNF, bad).startswith("error "), bad
    assert driver.compile(GBNF, 'root ::= ("a"*)* "b" | x\nx ::= "" "c" x | "d"') == "ok"
    assert driver.matches("aaab") and driver.matches("ccd") and not driver.matches("ca")


# ---- the command ----------------------------------------------------------------------------------------------------


def run(*arguments, code=0):
    done = subprocess.run([SLM, "run", *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout.decode(), done.stderr.decode()


def test_command(tmp_path):
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "n": {"type": "integer",
              "minimum": 1, "maximum": 9}, "ok": {"type": "boolean"}}, "required": ["name", "n", "ok"]}
    texts = {run("--json-schema", json.dumps(schema), "--seed", "5", "-n", "200", "--speculate", mode, "A person")[0]
             for mode in ("off", "ngram", "off")}
    assert len(texts) == 1
    jsonschema.validate(json.loads(texts.pop()), schema)
    (tmp_path / "s.json").write_text(json.dumps({"enum": ["red", "green"]}))
    assert run("--json-schema", str(tmp_path / "s.json"), "Colour?")[0].strip() in ('"red"', '"green"')
    assert run("--choice", "yes", "--choice", "no", "Well?")[0].strip() in ("yes", "no")
    assert re.fullmatch(r"\d{3}-[x-z]", run("--regex", r"\d{3}-[x-z]", "--raw", "Once")[0].strip())
    (tmp_path / "g.gbnf").write_text('root ::= "<" [a-c]{3} ">"')
    assert re.fullmatch("<[abc]{3}>", run("--grammar", str(tmp_path / "g.gbnf"), "--ignore-eos", "x")[0].strip())
    out = json.loads(run("--json-object", "--json", "-n", "1", "x")[0])
    assert out["text"].startswith("{") and out["stop_reason"] == "length"


def test_command_refuses(tmp_path):
    assert "#/multipleOf" in run("--json-schema", '{"multipleOf": 0.5}', "x", code=1)[1]
    assert "one form" in run("--json-object", "--choice", "a", "x", code=2)[1]
    assert "none.json" in run("--json-schema", str(tmp_path / "none.json"), "x", code=1)[1]


@pytest.mark.parametrize("name", ["qwen2", "llama-bpe", "phi-3"])
def test_real_vocabularies(name):
    path = need(SHARED / f"data/tokenizers/ggml-vocab/ggml-vocab-{name}.gguf")
    d = Driver(path)
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "number"}}},
              "required": ["a", "b"]}
    assert d.compile(SCHEMA, json.dumps(schema)) == "ok"
    for seed in range(3):
        ended, text = d.random(seed)
        if ended:
            jsonschema.validate(unparsed(text), schema)
    d.process.stdin.close()
    assert d.process.wait() == 0
