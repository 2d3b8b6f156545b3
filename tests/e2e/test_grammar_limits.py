# SPDX-License-Identifier: MIT
"""Forms that are too deep, too large, contradictory or hostile: rows Q01 to Q13 of the table of faults (see
docs/testing.md; Q11 is tests/fault/test_grammar_faults.c). Each is enforced exactly or refused with a sentence that
names its place, within the time a request may wait; the process lives on. Deliberately not here: random input
(fuzz_grammar), and which keywords there are (test_schema_suite.py)."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from serving import serving
from support import cpu_seconds, need_builtin_model
from test_grammar import GBNF, REGEX, SCHEMA, Driver


@pytest.fixture(scope="module")
def driver():
    d = Driver()
    yield d
    assert d.compile(REGEX, "a") == "ok"  # it lives
    d.process.stdin.close()
    assert d.process.wait() == 0


def compiled(driver, kind, text, seconds=1.0):
    """Seconds of computing: what a request may wait, times four for slow machines. Runaway is a hundred times that."""
    begin = cpu_seconds(driver.process.pid)
    answer = driver.compile(kind, text if isinstance(text, str) else json.dumps(text))
    assert cpu_seconds(driver.process.pid) - begin < 4 * seconds, (answer[:100], text[:100] if isinstance(text, str) else "")
    return answer


@pytest.mark.parametrize("kind,pre", [(REGEX, ""), (GBNF, "root ::= "), (SCHEMA, "")])
@pytest.mark.parametrize("depth", [20000, 60000, 1000000])
def test_q01_brackets(driver, kind, pre, depth):
    for text in ("(" * depth, "(" * depth + ("a" if kind == REGEX else '"a"') + ")" * depth):
        if kind == SCHEMA:
            text = json.dumps({"pattern": text})
        assert compiled(driver, kind, pre + text, 1 if depth < 100000 else 4).startswith(("error limit", "error format"))


def test_q02_rules(driver):
    chain = "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1}\n" for i in range(60000)) + 'r60000 ::= "x"\n'
    assert compiled(driver, GBNF, chain).startswith("error limit")
    for text, what in (('root ::= root "a"', "root"), ('root ::= a\na ::= b\nb ::= a "x" | "y"', "itself"),
                       ('root ::= e root "a" | "b"\ne ::= "x"?', "itself"), ("root ::= nowhere", "nowhere")):
        answer = compiled(driver, GBNF, text)
        assert answer.startswith("error ") and what in answer, answer
    for text in ('root ::= ("a"*)*', 'root ::= (("a"?)+ | "")*', 'root ::= e* "a"\ne ::= ""'):
        assert compiled(driver, GBNF, text) == "ok"
        assert driver.matches("a") and not driver.matches("b")
        driver.random(1, 20)


@pytest.mark.parametrize("text,status", [
    ("(a{1,1000}){1,1000}", "limit"), ("a{1,1000000000000000000}", "limit"), ("a{99999999999999999999}", "limit"),
    ("((a{100}){100}){100}", "limit"), ("a{3,2}", "format"), ("a{2}{3}", "format"), ("a{,}", "format")])
def test_q03_counts(driver, text, status):
    assert compiled(driver, REGEX, text).startswith("error " + status)


def test_q04_ambiguous(driver):
    letters = " ".join(f'"{chr(97 + i % 26)}"?' for i in range(200))
    text = "root ::= " + " ".join(f"r{i}" for i in range(4)) + "".join(f"\nr{i} ::= {letters}" for i in range(4))
    assert compiled(driver, GBNF, text) == "ok"
    begin = cpu_seconds(driver.process.pid)
    assert driver.matches("abcxyz" * 4) and not driver.matches("A")
    driver.random(3, 40)
    assert cpu_seconds(driver.process.pid) - begin < 10


@pytest.mark.parametrize("opening,closing", [('{"items":', "}"), ('{"anyOf":[', "]}"), ('{"properties":{"a":', "}}"),
                                             ('{"allOf":[', "]}"), ('{"$defs":{"a":', "}}"), ('{"const":[', "]}")])
@pytest.mark.parametrize("depth", [5000, 50000])
def test_q05_deep_schemas(driver, opening, closing, depth):
    assert compiled(driver, SCHEMA, opening * depth + "1" * (opening[-1] == "[") + closing * depth).startswith("error ")


def test_q06_large_schemas(driver):
    for n, answers in ((2000, "ok"), (20000, "error limit")):
        keys = {f"k{i}": {"type": "integer"} for i in range(n)}
        assert compiled(driver, SCHEMA, {"type": "object", "properties": keys}).startswith(answers)
        many = {"type": "object", "properties": keys, "minProperties": n // 2, "maxProperties": n - 1}
        assert compiled(driver, SCHEMA, many, 2).startswith("error limit")
    assert compiled(driver, SCHEMA, {"enum": [f"w{i}" for i in range(200000)]}, 4).startswith(("ok", "error limit"))
    assert compiled(driver, SCHEMA, {"allOf": [{"enum": list(range(20000))}, {"enum": list(range(20000, 0, -1))}]},
                    4).startswith(("ok", "error limit"))


@pytest.mark.parametrize("schema,where", [
    ({"$ref": "#"}, "#"),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "#/$defs/a"),
    ({"$ref": "#/$defs/none"}, "#/$ref"), ({"$ref": "#/a~2"}, "#/$ref"), ({"$ref": "#/%zz"}, "#/$ref"),
    ({"$ref": "http://localhost:1/x"}, "#/$ref"), ({"$ref": "file:///etc/passwd"}, "#/$ref"),
    ({"$ref": 7}, "#/$ref"),
    ({"$ref": "#/minLength", "minLength": 3}, "#/minLength"), ({"items": {"$ref": "other.json"}}, "#/items/$ref")])
def test_q07_references(driver, schema, where):
    answer = compiled(driver, SCHEMA, schema)
    assert answer.startswith("error ") and f" {where}: " in answer, answer


@pytest.mark.parametrize("pattern", ["((((", "[a", "a{1000000}", "a{5,2}", "(a)\\1", "(?=a)b", "(?<!a)b", "\\p{L}", "a\\", "(?i)a",
                                     "\\bword\\b", "[b-a]", "*a", "a**", "\\k<n>", "[\\d-z]", "\\u12", "(?P=n)",
                                     "a)", "[[:alpha:]]", "\\q"])
def test_q08_patterns(driver, pattern):
    answer = compiled(driver, SCHEMA, {"properties": {"x": {"type": "string", "pattern": pattern}}, "required": ["x"]})
    assert answer.startswith("error ") and " #/properties/x/pattern: " in answer, answer


@pytest.mark.parametrize("schema,where", [
    ({"minLength": 10 ** 9}, "#"), ({"maxLength": -1}, "#/maxLength"), ({"maxLength": 1.5}, "#/maxLength"),
    ({"minItems": "1"}, "#/minItems"),
    ({"type": "string", "minLength": 1e300}, "#"), ({"type": "array", "minItems": 10 ** 9}, "#"),
    ({"type": []}, "#/type"),
    ({"type": "hiccup"}, "#/type"), (False, "#"), ({"type": "integer", "minimum": 2, "maximum": 1}, "#"),
    ({"required": "a"}, "#/required"),
    ({"type": "array", "minItems": 3, "maxItems": 2}, "#"),
    ({"type": "object", "minProperties": 3, "maxProperties": 2}, "#/minProperties"),
    ({"multipleOf": 0}, "#/multipleOf"), ({"multipleOf": -2}, "#/multipleOf"), ({"enum": "a"}, "#/enum"),
    ({"properties": []}, "#/properties")])
def test_q09_values(driver, schema, where):
    answer = compiled(driver, SCHEMA, {**schema, "type": schema.get("type", ["string", "array", "integer", "object"])} if schema else schema)
    assert answer.startswith("error ") and f" {where}: " in answer, answer


def test_q10_names_are_text(driver):
    """Nothing in a schema's texts is taken for syntax of grammars, patterns or JSON."""
    names = ["a\"b", "a\nb", "\u0000", "]::=", "\\", "\" | root ::= \"x", "{", "}", "(", ".*", "a\\\"b", "\u2028", "😀", "", "a'b", "$ref", "/~0"]
    for name in names:
        schema = {"type": "object", "properties": {name: {"const": name}}, "required": [name], "additionalProperties": False}
        assert compiled(driver, SCHEMA, schema) == "ok"
        assert driver.matches(json.dumps({name: name}, ensure_ascii=False))
        for other in names:
            assert driver.matches(json.dumps({other: other}, ensure_ascii=False)) == (other == name)
        ended, text = driver.random(1)
        assert ended and jsonschema.validate(json.loads(text), schema) is None


def test_q12_schemas_do_not_pile_up():
    """A form is gone with its request: hundreds of different ones leave the memory as it was."""
    need_builtin_model()

    def ask(server, first, n):
        for i in range(first, first + n):
            schema = {"type": "object", "properties": {f"k{i}": {"type": "integer", "minimum": i}}, "required": [f"k{i}"]}
            assert server.post("/v1/completions", prompt="x", max_tokens=2, guided_json=schema)[0] == 200
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    with serving() as server:
        before = ask(server, 0, 200)
        assert ask(server, 200, 200) < before + 4096


def test_q13_an_answer_that_is_cut_says_so():
    need_builtin_model()
    with serving() as server:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "minLength": 50}}}
        reply = server.post("/v1/chat/completions", messages=[{"role": "user", "content": "x"}], max_tokens=4,
                            response_format=form)[2]["choices"][0]
        assert reply["finish_reason"] == "length"
        with pytest.raises(ValueError):
            json.loads(reply["message"]["content"])
