# SPDX-License-Identifier: MIT
"""JSON as it comes from outside, in the classes of the well-known suite for JSON parsers: numbers, strings, escapes,
surrogates, structure, white space, encodings, depth, what stands behind the end. Python's json, made strict (no NaN, no
lone surrogates, UTF-8 only), says what is JSON. Three readers are asked: of request bodies, of schemas, and the
automaton that holds answers to JSON. Where they are stricter than RFC 8259 on purpose (keys twice, depth, characters 0
in keys) is listed here. Deliberately not here: mutations (tests/fuzz)."""

import json

import pytest

from serving import serving
from support import need_builtin_model
from test_grammar import OBJECT, SCHEMA, Driver

HEX = ["0000", "0041", "001f", "007F", "D7FF", "E000", "ffff", "FFFE"]
NUMBERS = [
    "0", "-0", "1", "-1", "10", "123456789", "0.0", "0.5", "-0.5", "1.25", "0e0", "0E+5", "1e5", "1E5", "1e+5",
    "1e-5", "1.5e3",
    "-1.5E-3", "0e-0", "1e00", "9223372036854775807", "-9223372036854775808", "123.456789", "0.000000000000000001",
    "1e308",
    "-0.0", "1.0", "20e1", "5e-324", "0.1e1", "-0e1", "-0E-1",
    # none
    "00", "01", "-01", "+1", "-", "--1", "1-", ".5", "-.5", "1.", "-1.", "0.", "1.e5", "1e", "1e+", "1E-", "0e",
    "0.e1", "1eE2",
    "1e1.5", "1.2.3", "1..2", "0x10", "0b1", "1_000", "1,5", "NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf",
    "1e5e5", "- 1",
    "1 2", "1a", "1e1a", "0.3e", "2.e+3", "-2.", ".", "e5", "\uff11", "+Inf", "++1", "-foo", "1\x00", "0\x00",
    "1 000", "9.e+",
]
STRINGS = [
    '""', '"a"', '"\\""', '"\\\\"', '"\\/"', '"/"', '"\\b\\f\\n\\r\\t"', '"é"', '"\u2028\u2029"', '"\x7f"',
    '"\ufeff"', '"😀"',
    '"\U0010ffff"', '"\ufdd0"', '"\\u00e9"', '"\\uD834\\uDD1E"', '"\\ud83d\\ude00"', '"\\uDBFF\\uDFFF"',
    '"\\\\u0041"', '"\\"\\\\"',
    '" "', '"a b"', "\"'\"", '"\\u005C"', '"\\u0022"', '"\\u0060\\u012a"', '"\\\\a"', '"[\\"]"', '"//"', '"/**/"',
    '"\\u200B"',
    *('"\\u%s"' % h for h in HEX if h != "0000"),
    # none
    '"', '"a', 'a"', "'a'", '"\\x41"', '"\\a"', '"\\v"', '"\\0"', '"\\\'"', '"\\u"', '"\\u1"', '"\\u12"',
    '"\\u123"', '"\\u12G4"',
    '"\\U0041"', '"\\u{41}"', '"\\"', '"\\\\\\"', '"\\😀"', '"\n"', '"\t"', '"\r"', '"\x00"', '"\x1f"', '"\x08"',
    '""a', '"a" "b"',
    '"\\uD800"', '"\\uDC00"', '"\\uD800\\u0041"', '"\\uDC00\\uD800"', '"\\uD800\\uD800"', '"\\uD800a"',
    '"\\uD800\\"', '"\\uD83D\\u"',
    '"\\uD83D\\uDE0"', '"\\uD83D\\n"', '"\\ "', '"\\\n"', '\\"a\\"', '"a\\', '"\\uFFF', '"\\uD834\\uDd"',
    '"\\u 041"', '"\\u-041"',
]
STRUCTURES = [
    "[]", "{}", "[[]]", "[{}]", '{"a":[]}', "[1,2]", '{"a":1,"b":2}', '{"":0}', '{"a":{"b":{"c":null}}}', "[null]",
    "[true,false]",
    "[ ]", "{ }", " [1 , 2 ] ", '{ "a" : 1 }', "\n\t\r []", '{"a":1}\n', "null", "true", "false",
    '[[],{},"",0,null]', '{"\\u0000":1}',
    '{"a":"a","A":1}', "[\n1\n,\r\n2\t]", '{"é":1}', '{"\\"":1}',
    # none
    "", " ", "[", "]", "{", "}", "[}", "{]", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1:2]",
    '["a":1]', '{"a"}',
    '{"a":}', '{"a":1,}', '{,"a":1}', '{"a" 1}', '{"a":1 "b":2}', "{a:1}", "{'a':1}", "{1:1}", "{null:1}",
    "{[]:1}", '{"a"::1}',
    '{"a":1,,"b":2}', '{"a":1;}', '{"a":[}', '[{"a":1]', "[]]", "{}}", "[][]", "[] 1", "{} {}", "[1]x", "1 1",
    "[]#", "[]//", "/**/[]",
    "[/**/]", "[1]/* */", '{"a":/*c*/1}', "#[]", "True", "nul", "nulll", "tru", "truE", "TRUE", "None",
    "undefined", "<null>", "*",
    "\u00a0[]", "[\u2003]", "[\x0b]", "[\x0c]", "\u2060[]", "[1\x00]", "[]\x00", "\x00[]", '{"a":1}"', '{"a":1}]',
    '{"a":"b"}/', "[\\n]",
    "[a]", "[\"a\",\n4\n,1,", "{\"a\": true} \"x\"", "[1,\n1\n,1", "{\"a\":\"a\" 123}", "{9999E9999:1}",
    "{\"id\":0,,,,,}", "[\"x\"", "{{}}",
    "&", "[\"", "{\"", "[{", "{\"x\", null}", "{\"x\"::\"b\"}", "abc", "[\u0661]", ":", ",", "[\u200b]", "å",
]
BYTES = [  # whole documents that are no text in UTF-8, or only nearly so
    b"\xef\xbb\xbf{}", b"\xef\xbb\xbf", b"\xff\xfe{\0}\0", b"\0{\0}", b'["\xff"]', b'["\xc0\x80"]', b'["\xe9"]',
    b'["\xed\xa0\x80"]',
    b'["\xf4\x90\x80\x80"]', b'["\xf8\x88\x80\x80\x80"]', b'["\xe2\x82"]', b'["\x80"]', b"[\xff]", b"{\"\xb9\":1}",
    b"\xe5", b"[1\xe5]",
    b'["\xc3\x28"]', b'["\xf0\x80\x80\x80"]', b'["\xf0\x9f\x98"]', b'["\xfc\x80\x80\x80\x80\x80"]', b'["\\\xe5"]',
    b"[]\xff", b'["\\u\xe5"]',
]
ON_PURPOSE = [  # JSON, and refused as the documentation says
    '{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', '{"a":1,"\\u0061":2}', "[" * 200 + "]" * 200,
    '{"a":' * 200 + "1" + "}" * 200,
]
NUL_IN_KEY = '{"\\u0000":1}'  # no field is called so: bodies refuse it
EITHER = [  # left open by the RFC: any answer but no crash
    "123456789012345678901234567890", "-9223372036854775809", "18446744073709551616", "1e400", "-1e400", "1e-400",
    "0.4e006699",
    "1" * 5000, "0." + "1" * 5000, "1e99999999999999", '"\\u0000"',
]
NEVER = ["[" * 100000, "[" * 100000 + "]" * 100000, '{"a":' * 50000, '[{"":' * 50000, "[1," * 50000, '"' + "\\u" * 50000]


def is_json(text):
    """Python's, made strict."""
    def refuse(word):
        raise ValueError(word)

    try:
        value = json.loads(text, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()  # a half of a surrogate pair is no text
        return not (text.strip(" \t\r\n") != text.strip() or "\ufeff" == text[:1])
    except (ValueError, RecursionError):
        return False


CASES = [*NUMBERS, *STRINGS, *STRUCTURES]


def test_the_classes_have_both():
    for group in (NUMBERS, STRINGS, STRUCTURES):
        good = sum(map(is_json, group))
        assert good >= 20 and len(group) - good >= 30
    assert len(CASES) > 280 and all(map(is_json, ON_PURPOSE[:3])) and not any(map(is_json, NEVER))


@pytest.fixture(scope="module")
def server():
    need_builtin_model()
    with serving() as s:
        yield s


def body(case):
    """A request in which a value of any kind may stand, and has no effect."""
    return b'{"prompt":"x","max_tokens":1,"metadata":' + case + b"}"


def accepts(server, data):
    status, _, reply = server.ask("POST", "/v1/completions", data)
    assert status in (200, 400), (data[:80], reply)
    assert status == 200 or reply["error"]["message"]
    return status == 200


def test_bodies(server):
    for case in CASES:
        inside = f'{{"metadata":{case}}}'
        expected = is_json(inside) and case != NUL_IN_KEY
        assert accepts(server, body(case.encode())) == expected, inside
    for case in ON_PURPOSE + NEVER:
        assert not accepts(server, body(case.encode())), case[:80]
    for case in EITHER:
        accepts(server, body(case.encode()))
    assert accepts(server, body(b"[" * 100 + b"]" * 100))


def test_whole_bodies(server):
    """What stands around the object; and bodies that are something else."""
    whole = body(b"1")
    assert accepts(server, whole) and accepts(server, b" \r\n\t" + whole + b"\n ")
    for behind in (b"x", b"}", b"]", b"{}", b"\0", b",", b"//", b"1", b"\xff", b"\xef\xbb\xbf", b"\x0b", b"\xc2\xa0"):
        assert not accepts(server, whole + behind) and not accepts(server, behind + whole), behind
    for data in BYTES:
        assert not accepts(server, data) and not accepts(server, body(data)), data
    for data in (b"", b"[]", b"1", b'"a"', b"null", b"true", b"[" + whole + b"]", whole[:-1], whole.decode().encode("utf-16")):
        assert not accepts(server, data), data


def test_schemas():
    """The reader of schemas, asked the same: `default` asserts nothing, whatever it is."""
    driver = Driver()
    for case in CASES + ON_PURPOSE + NEVER + EITHER:
        text = f'{{"default":{case}}}'
        answer = driver.compile(SCHEMA, text)
        assert answer == "ok" or answer.startswith("error ")
        if case in CASES:
            assert (answer == "ok") == is_json(text), (text, answer)
        elif case in NEVER or case in ON_PURPOSE[:3]:
            assert answer != "ok", case[:80]
    for data in BYTES:
        assert driver.ask(f"compile {SCHEMA} " + (b'{"default":' + data + b"}").hex()).startswith("error "), data
    driver.process.stdin.close()
    assert driver.process.wait() == 0


def test_answers():
    """The automaton of "any JSON object" takes nothing that is none, and all that is but for other white space."""
    driver = Driver()
    assert driver.compile(OBJECT) == "ok"
    for case in CASES + NEVER[:1] + ON_PURPOSE[:3]:
        text = f'{{"a":{case}}}'
        if driver.matches(text):
            assert is_json(text), text
        elif is_json(text):  # white space as documented, exponents of at most two digits
            small = json.dumps(json.loads(text), ensure_ascii=False)
            assert driver.matches(small) or "e" in case.lower(), text
    for data in BYTES:
        assert driver.ask("match " + (b'{"a":' + data + b"}").hex()) != "yes", data
    driver.process.stdin.close()
    assert driver.process.wait() == 0
