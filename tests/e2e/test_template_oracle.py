# SPDX-License-Identifier: MIT
"""Chat templates against jinja2: the same template and variables must give the same bytes, or fail on both sides.

The oracle is jinja2 itself, set up as transformers sets it up (apply_chat_template): ImmutableSandboxedEnvironment
with trim_blocks and lstrip_blocks, loop controls, the generation tag, and its own tojson, raise_exception and
strftime_now. Three kinds of cases: real templates with many conversations (skipped where the reference data is absent),
statements and whitespace put together by a grammar, and expressions put together by a grammar. The random ones print
their seed; SLM_TEMPLATE_SEED repeats a run, SLM_TEST_LEVEL (check, test, soak) sets how many there are.
"""

import copy
import functools
import json
import os
import random
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import jinja2
import jinja2.ext
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(os.environ.get("SLM_BUILD_DIR", ROOT / "build")) / "tests" / "template_driver"
SHARED = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared"))
NOW = datetime.fromtimestamp(1741507507, tz=timezone.utc).replace(tzinfo=None)
LEVEL = os.environ.get("SLM_TEST_LEVEL", "test")
N_RANDOM = {"check": 400, "test": 3000, "soak": 100000}.get(LEVEL, 3000)
SEED = int(os.environ.get("SLM_TEMPLATE_SEED", random.SystemRandom().randrange(1 << 32)))


# ---- the oracle -----------------------------------------------------------------------------------------------------


class GenerationTag(jinja2.ext.Extension):
    """{% generation %} passes its body through a caller, as the extension of transformers does."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(lineno)

    def _pass(self, caller):
        return caller()


def make_environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


ENV = make_environment()
compiled = functools.lru_cache(maxsize=64)(ENV.from_string)


class Case:
    def __init__(self, template, messages=None, tools=None, variables=None, bos="<s>", generation=True):
        self.template, self.messages, self.tools = template, messages or [], tools
        self.variables, self.bos, self.generation = variables or {}, bos, generation

    def oracle(self):
        """(True, text) or (False, the error). Works on a copy: some filters of jinja2 (indent) change a list in place."""
        names = {"messages": self.messages, "tools": self.tools, "documents": None,
                 "add_generation_prompt": self.generation, "eos_token": "</s>"}
        if self.bos is not None:
            names["bos_token"] = self.bos
        try:
            return True, compiled(self.template).render(**{**names, **copy.deepcopy(self.variables)})
        except Exception as error:  # whatever Python raises, the template failed
            return False, f"{type(error).__name__}: {error}"

    def fields(self):
        def dump(value):
            return json.dumps(value, ensure_ascii=False) if value is not None else None

        return [self.template, dump(self.messages), dump(self.tools), dump(self.variables), self.bos,
                "g" if self.generation else ""]


class Driver:
    """One process that renders case after case."""

    def __init__(self):
        self.process = subprocess.Popen([DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, case):
        parts = []
        for field in case.fields():
            data = b"" if field is None else field.encode()
            parts.append(b"%d\n" % (-1 if field is None else len(data)) + data)
        self.process.stdin.write(b"".join(parts))
        self.process.stdin.flush()
        header = self.process.stdout.readline().split()
        assert len(header) == 2, f"the driver died on {case.template!r}"
        text = self.process.stdout.read(int(header[1])).decode()
        return header[0] == b"0", text

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0


@pytest.fixture(scope="module")
def driver():
    if not DRIVER.exists():
        pytest.skip(f"{DRIVER} is not built")
    d = Driver()
    yield d
    d.close()


def check(driver, cases):
    """Every case must agree, error or not."""
    found = []
    for case in cases:
        expected, got = case.oracle(), driver.render(case)
        if expected[0] != got[0] or (expected[0] and expected[1] != got[1]):
            found.append(f"{case.template!r} {case.messages!r}\n  jinja2 {expected}\n  slm    {got}")
    assert not found, f"{len(found)} of {len(cases)} cases differ\n" + "\n".join(found[:12])


# ---- real templates -------------------------------------------------------------------------------------------------

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather \"now\" in a <place> & more: für Köln, 東京",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "a city"}, "days": {"type": "integer", "enum": [1, 3, 7]},
        "unit": {"type": ["string", "null"], "default": None}, "precise": {"type": "boolean", "default": False}},
        "required": ["place"]}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "", "parameters": {}}}


def says(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


USER = says("user", "Hi there")
SYSTEM = says("system", "You are terse.")
CONVERSATIONS = {
    "user": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, says("assistant", "Hello!"), says("user", "And now?")],
    "system_turns": [SYSTEM, USER, says("assistant", "Hello!"), says("user", "Why?"), says("assistant", "Because."),
                     says("user", "Thanks.\n")],
    "ends_with_assistant": [USER, says("assistant", "  padded  \n")],
    "thinking": [USER, says("assistant", "<think>\nLet me see.\n\n</think>\n\nYes."), says("user", "Go on")],
    "reasoning_field": [USER, says("assistant", "Yes.", reasoning_content="Because of that."), says("user", "More")],
    "think_last": [USER, says("assistant", "<think>a</think>b</think>c")],
    "no_think": [says("system", "Be brief. /no_think"), USER],
    "think_flag": [says("system", "/think Be thorough."), USER],
    "tool_call": [USER, says("assistant", "", tool_calls=[call("get_weather", {"place": "Köln", "days": 3})]),
                  says("tool", "{\"temp\": 21.5}"), says("assistant", "21.5 degrees"), says("user", "Thanks")],
    "tool_pending": [SYSTEM, USER, says("assistant", "Looking.", tool_calls=[
        call("get_weather", {"place": "Rome", "unit": None, "precise": True}, id="abc123456")]),
        says("tool", "sunny", tool_call_id="abc123456", name="get_weather")],
    "two_calls": [USER, says("assistant", None, tool_calls=[call("clock", {}), call("get_weather", {"place": "x"})]),
                  says("tool", "10:00"), says("tool", "rain"), says("user", "ok")],
    "call_string_arguments": [USER, says("assistant", "", tool_calls=[call("clock", "{\"zone\": \"UTC\"}")]),
                              says("tool", "noon")],
    "tool_content_json": [USER, says("assistant", "", tool_calls=[call("clock", {})]), says("tool", {"a": [1, 2.5]})],
    "bare_call": [USER, says("assistant", "", tool_calls=[{"name": "clock", "arguments": {"a": 1}}])],
    "ipython": [USER, says("assistant", "x", tool_calls=[call("clock", {})]), says("ipython", "done")],
    "empty": [says("user", "")],
    "empty_system": [says("system", ""), USER],
    "null_content": [says("user", None)],
    "unicode": [says("user", "naïve ß Σίσυφος 🦙👩‍👩‍👧 \u200b\u2028 fin")],
    "whitespace": [says("user", " \n\t x \r\n y \u00a0\u3000")],
    "looks_like_template": [says("user", "{{ 7*7 }} {% if x %} {# no #} <|im_end|>")],
    "parts": [says("user", [{"type": "text", "text": "What is this?"}, {"type": "image"}]),
              says("assistant", [{"type": "text", "text": "A cat."}])],
    "parts_system": [says("system", [{"type": "text", "text": "Short."}]), says("user", [{"type": "text",
    "text": "Hi"}])],
    "starts_with_assistant": [says("assistant", "Hello"), USER],
    "two_users": [USER, USER],
    "unknown_role": [says("wizard", "Abracadabra"), USER],
    "system_later": [USER, says("assistant", "a"), says("system", "Now rhyme."), says("user", "b")],
    "tools_in_system": [says("system", "Use tools.", tools="[{\"name\": \"f\"}]"), USER],
    "none": [],
    "many_turns": [SYSTEM] + [says(role, f"{role} {i}: naïve 🦙\n" * (i % 5))
                              for i in range(300) for role in ("user", "assistant")] + [USER],
    "long_messages": [says("system", "Rule. " * 20_000), says("user", "<|im_start|>\n\t\"é\" 東京 🦙 " * 20_000),
                      says("assistant", "<think>" + "step " * 20_000 + "</think>" + "so " * 20_000), USER],
    "many_calls": [USER] + [message for i in range(100) for message in (
        says("assistant", "", tool_calls=[call("get_weather", {"place": f"place {i}", "days": i})]),
        says("tool", "{\"temp\": " + str(i) + "}"))] + [says("user", "Sum up")],
}
SETTINGS = [
    {}, {"generation": False}, {"tools": [WEATHER]}, {"tools": [WEATHER, CLOCK], "generation": False}, {"bos": None},
    {"variables": {"enable_thinking": False}}, {"variables": {"enable_thinking": True, "date_string": "1 Jan 2025"}},
    {"tools": [WEATHER], "variables": {"tools_in_user_message": False, "builtin_tools": ["code_interpreter",
    "search"]}},
    {"variables": {"documents": [{"title": "A", "text": "First."}, {"title": "B", "text": "Second."}]}},
    {"variables": {"custom_tools": [CLOCK], "strftime_now": None}},
]
REAL = sorted(p for p in (SHARED / "data" / "templates").glob("*") if p.suffix in (".jinja", ".json"))


def source_of(path):
    """Templates come alone or in a chat_template.json."""
    text = path.read_bytes().decode()
    return json.loads(text)["chat_template"] if path.suffix == ".json" else text


@pytest.mark.parametrize("path", REAL or [None], ids=lambda p: p.name if p else "absent")
def test_real_template(driver, path):
    if path is None:
        pytest.skip(f"no templates under {SHARED}/data/templates")
    source = source_of(path)
    check(driver, [Case(source, messages=messages, **setting)
                   for messages in CONVERSATIONS.values() for setting in SETTINGS])


def test_conversations_are_rendered():
    """The comparison means little if everything fails on both sides, or covers few of the things people say."""
    assert len(CONVERSATIONS) >= 30
    if not REAL:
        pytest.skip(f"no templates under {SHARED}/data/templates")
    for path in REAL:
        source = source_of(path)
        done = [name for name, messages in CONVERSATIONS.items() if Case(source, messages=messages).oracle()[0]]
        assert len(done) >= 12, f"{path.name} renders only {done}"


# ---- random expressions ---------------------------------------------------------------------------------------------

VARIABLES = {
    "i": 7, "neg": -3, "zero": 0, "big": 9007199254740993, "f": 2.5, "g": -0.1, "h": 1e22, "yes": True, "no": False,
    "nil": None, "s": "Hello World", "t": "  a-b_c, d\n e\t", "u": "Straße ΟΔΟΣ ǆ 🦙é", "e": "", "num": " 42 ",
    "fl": "3.75",
    "l": [3, 1, 2, 1], "ls": ["b", "A", "c", "a"], "mixed": [1, "x", None, 2.5, [1]], "el": [], "ll": [[1, 2], [3], []],
    "d": {"b": 1, "a": 2, "c": None}, "ed": {}, "nest": {"k": {"x": [1, {"y": "deep"}]}, "items": "shadow", "1": "one"},
    "people": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25}, {"name": "Cy", "age": 30,
                                                                                    "city": None}],
}
WORDS = ["'a'", "'b'", "'Hello'", "' '", "''", "'o'", "'l'", "','", "'-'", "'é'", "\"it's\"", "'x\\ny'", "'ab' 'cd'",
    "'%'",
         "'A B\\tc'", "'{}'", "'12'", "'1_000'", "'ß'", "'ΣΑΣ'", "'\\u00e9\\x41'", "'<b>&\"'", "'a.b.c'", "'nan'"]
INTS = ["0", "1", "2", "3", "-1", "-2", "5", "10", "i", "neg", "zero", "1_000", "0x1f", "l|length", "true", "loop_n"]
FLOATS = ["f", "g", "h", "0.5", "1e3", "2.0", "-1.5", "1e-7", "123456.789", "0.1", "1e16"]
STRINGS = ["s", "t", "u", "e", "num", "fl", "d.a|string", "people[0].name"]
LISTS = ["l", "ls", "mixed", "el", "ll", "people", "d.items()", "d.keys()", "d.values()", "range(5)", "range(5, 0, -2)",
         "s.split()", "(1, 2)", "[1, 'a', none]", "nest.k.x", "d|list", "d|items|list", "d|dictsort",
         "people|map(attribute='age')|list"]
DICTS = ["d", "ed", "nest", "people[1]", "{'k': i, 2: s}", "dict(a=1, b=l)", "{1: 'i', 1.0: 'f', true: 't'}", "nest.k"]
STRING_CALLS = [
    ".upper()", ".lower()", ".title()", ".capitalize()", ".swapcase()", ".strip()", ".lstrip()", ".rstrip({S})",
    ".strip({S})",
    ".lstrip({S})", ".split({S})", ".split()", ".split({S}, {I})", ".rsplit({S}, {I})", ".rsplit()",
    ".split(maxsplit={I})",
    ".rsplit(none, {I})", ".splitlines()", ".splitlines(true)", ".replace({S}, {S})", ".replace({S}, {S}, {I})",
    ".startswith({S})", ".endswith({S})", ".startswith(('a', {S}))", ".find({S})", ".rfind({S})", ".find({S}, {I})",
    ".count({S})", ".count({S}, {I}, {I})", ".join({L})", ".join(ls)", ".join(s)", ".index({S})", ".partition({S})",
    ".rpartition({S})", ".removeprefix({S})", ".removesuffix({S})", ".ljust({I}, '*')", ".rjust({I})",
    ".center({I}, '.')",
    ".zfill({I})", ".isdigit()", ".isalpha()", ".isalnum()", ".isspace()", ".isupper()", ".islower()", ".isascii()",
    ".isnumeric()", ".nothing", ".format({A}, {A}, {A})", "[{I}]", "[{I}:]", "[:{I}]", "[{I}:{I}]", "[::-1]",
    "[{I}:{I}:{I}]",
]
FILTERS = [
    "upper", "lower", "title", "capitalize", "trim", "trim({S})", "length", "count", "first", "last", "list",
    "string", "int",
    "int({A})", "int(0, 16)", "float", "float({A})", "abs", "round", "round({I})", "round(1, 'floor')",
    "round(neg, 'ceil')",
    "default({A})", "default({A}, true)", "d('x')", "join", "join({S})", "join(', ', 'name')",
    "join(attribute='age')", "sort",
    "sort(true)", "sort(reverse=true, case_sensitive=true)", "sort(attribute='age')", "sort(attribute='age,name')",
    "unique|list", "unique(true)|list", "reverse|list", "sum", "sum('age')", "sum(start={A})", "min", "max",
    "min(attribute='age')",
    "max(true)", "map('upper')|list", "map(attribute='name')|list", "map(attribute='city', default='-')|list",
    "map('default', 'q')|join('/')", "map('int')|list", "map('replace', 'a', 'b')|list", "select|list",
    "select('odd')|list",
    "select('string')|list", "reject('none')|list", "select('in', l)|list", "select('gt', 1)|list",
    "reject('equalto', {A})|list",
    "selectattr('age')|list", "selectattr('age', 'equalto', 30)|list", "rejectattr('city', 'defined')|list",
    "selectattr('name', 'in', ['Ann', 'Cy'])|map(attribute='name')|list", "map(attribute='tags.0')|list",
    "replace({S}, {S})",
    "replace({S}, {S}, 1)", "indent", "indent({I})", "indent(2, true)", "indent('> ', blank=true)",
    "indent(width=1, first=yes)",
    "tojson", "tojson(indent=2)", "tojson(indent={I})", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))",
    "tojson(ensure_ascii=true)", "tojson(indent='--', separators=[';', '='])", "items|list", "dictsort",
    "dictsort(true)",
    "dictsort(false, 'value')", "dictsort(reverse=true)", "batch(2)|list", "batch(2, 'z')|list", "slice(2)|list",
    "slice(3, 'z')|list", "groupby('age')", "groupby('city', default='?')|list", "wordcount", "urlencode", "escape",
    "e",
    "safe", "forceescape", "center(9)", "truncate(5)", "truncate(7, true)", "truncate(6, false, '!', 0)", "format({A})",
    "format({A}, {A})", "format(a={A})",
]
TESTS = [
    "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence",
    "iterable",
    "callable", "true", "false", "odd", "even", "divisibleby 2", "divisibleby({I})", "eq {I}", "ne({A})", "lt {I}",
    "gt({A})",
    "ge({A})", "le(2)", "in {L}", "in({A})", "sameas none", "sameas true", "lower", "upper", "equalto({A})",
    "==({A})" , "escaped",
    "filter", "test", "lessthan(3)", "greaterthan 1",
]
FORMATS = ["'%s'", "'%s-%s'", "'%d'", "'%5d|'", "'%-6s|'", "'%05.1f'", "'%x %X'", "'%r'", "'%.3s'", "'%+d'", "'%e'",
    "'%g'",
           "'%%'", "'%(a)s %(b)s'", "'%c'", "'%i%%'", "'%08.3f'", "'%#x'", "'%o'", "'% d'", "'%*d'", "'%.10g'",
           "'%5.2f'"]
BRACES = ["'{}'", "'{} {}'", "'{0}{1}{0}'", "'{:>6}|'", "'{:*^9}'", "'{:05d}'", "'{:.2f}'", "'{:,}'", "'{!r}'",
    "'{:x}'", "'{:+}'",
          "'{a}'", "'{{}}'", "'{0[0]}'", "'{0.name}'", "'{:<4}|{:e}'", "'{:%}'", "'{:b}'", "'{:_}'", "'{:g}'",
          "'{:#x}'", "'{:10}|'"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]


class Grammar:
    """Makes expressions and templates. Typed enough that most of them mean something, loose enough that many fail."""

    def __init__(self, rng):
        self.rng = rng

    def fill(self, pattern, depth):
        makers = {"S": self.string, "I": self.integer, "L": self.sequence, "A": self.any}
        return re.sub(r"\{([SILA])\}", lambda m: makers[m[1]](depth - 1), pattern)

    def integer(self, depth):
        return self.rng.choice(INTS) if depth <= 0 or self.rng.random() < 0.7 else f"({self.number(depth)})"

    def number(self, depth):
        if depth <= 0 or self.rng.random() < 0.4:
            return self.rng.choice(INTS + FLOATS)
        op = self.rng.choice(["+", "-", "*", "/", "//", "%", "**"])
        if op == "**":  # a negative constant under a power is a known bug of jinja2's constant folding
            return f"{self.rng.choice(['i', 'f', '2', '0.5', 'zero', 'neg'])} ** {self.rng.choice(INTS + FLOATS)}"
        return f"{self.number(depth - 1)} {op} {self.number(depth - 2)}"

    def string(self, depth):
        pick = self.rng.random()
        if depth <= 0 or pick < 0.5:
            return self.rng.choice(WORDS + STRINGS)
        if pick < 0.7:
            return f"({self.string(depth - 1)} {self.rng.choice('+~')} {self.string(depth - 1)})"
        if pick < 0.8:
            return f"({self.any(depth - 1)})|string"
        return self.string(depth - 1) + self.fill(self.rng.choice(STRING_CALLS), depth)

    def sequence(self, depth):
        pick = self.rng.random()
        if depth <= 0 or pick < 0.5:
            return self.rng.choice(LISTS)
        if pick < 0.7:
            return "[" + ", ".join(self.any(depth - 1) for _ in range(self.rng.randrange(4))) + "]"
        endings = ["[{I}:]", "[:{I}]", "[::{I}]", "|sort", "|reverse|list", " + [1]", "[{I}]"]
        return f"({self.sequence(depth - 1)}){self.fill(self.rng.choice(endings), depth)}"

    def any(self, depth):
        rng, pick = self.rng, self.rng.random()
        if depth <= 0:
            return rng.choice(INTS + FLOATS + WORDS + STRINGS + LISTS + DICTS + ["nil", "yes", "no", "missing", "none"])
        if pick < 0.12:
            return self.number(depth)
        if pick < 0.26:
            return self.string(depth)
        if pick < 0.34:
            return self.sequence(depth)
        if pick < 0.40:
            return self.string(depth - 1) + self.fill(rng.choice(STRING_CALLS), depth)
        if pick < 0.62:
            return f"({self.any(depth - 1)})|{self.fill(rng.choice(FILTERS), depth)}"
        if pick < 0.70:
            return f"({self.any(depth - 1)}) is {rng.choice(['', '', 'not '])}{self.fill(rng.choice(TESTS), depth)}"
        if pick < 0.82:
            return f"{self.any(depth - 1)} {rng.choice(BINARY)} {self.any(depth - 1)}"
        if pick < 0.85:
            return f"({self.any(depth - 1)} if {self.any(depth - 1)}{rng.choice([' else ' + self.any(depth - 1), ''])})"
        if pick < 0.88:
            return rng.choice(['not ', '-', '+']) + f"({self.any(depth - 1)})"
        if pick < 0.92:
            key = rng.choice(["'a'", "'k'", "1", "0", "-1", "'items'", "'name'", "2", "'length'", self.any(depth - 1)])
            return f"({self.any(depth - 1)})[{key}]"
        if pick < 0.95:
            return f"({rng.choice(DICTS)})" + self.fill(rng.choice(
                [".a", ".k", ".items()|list", ".get({A})", ".keys()|list", ".nope", ".nope.more", ".k.x[1].y",
                 "|length", ".pop", ".update"]), depth)
        if pick < 0.975:
            return f"{rng.choice(FORMATS)} % " + self.fill(rng.choice(["{A}", "({A}, {A})", "({A},)", "d"]), depth)
        return rng.choice(BRACES) + self.fill(rng.choice([".format({A}, {A})", ".format({A}, {A}, a={A})"]), depth)

    # ---- templates

    def space(self):
        return self.rng.choice(["", "", " ", "\n", "  ", "\n  ", " \n", "\t", "\r\n", "x", " y ", "\n\n", "z\n",
            "\u00a0", "é\n "])

    def tag(self, body, variable=False):
        left, right = self.rng.choice(["", "", "-", "+"]), self.rng.choice(["", "", "-", "+" if not variable else ""])
        if variable:
            return "{{" + (left if left != "+" else "+") + " " + body + " " + right + "}}"
        return "{%" + left + " " + body + " " + right + "%}"

    def target(self):
        return self.rng.choice(["a", "b", "x", "a, b", "ns.v", "i", "(a, b)", "s", "l", "i, (s, a)"])

    def body(self, depth, loop=False):
        return "".join(self.space() + self.statement(depth, loop) for _ in range(self.rng.randrange(1,
            4))) + self.space()

    def expression(self, depth=1):
        rng = self.rng
        extra = ["a", "b", "x", "ns.v", "m(1)", "m(b=2)", "m(1, 2, 3)", "m(zz=1)", "caller()", "caller(1)",
            "loop.index", "loop.first",
                 "loop.last", "loop.length", "loop.index0", "loop.previtem", "loop.nextitem|default('end')",
                 "loop.cycle('o', 'e')",
                 "loop.revindex", "loop.revindex0", "loop.changed(a)", "loop.depth", "varargs", "kwargs", "cy.next()",
                 "jo()", "ns",
                 "m.name", "strftime_now('%Y-%m-%d %H:%M')"]
        return rng.choice(extra) if rng.random() < 0.4 else self.any(depth)

    def statement(self, depth, loop):
        rng, pick = self.rng, self.rng.random()
        if depth <= 0 or pick < 0.22:
            return self.tag(self.expression(), variable=True)
        if pick < 0.36:
            return self.tag(f"set {self.target()} = {self.expression()}")
        if pick < 0.40:
            return (self.tag("set " + rng.choice(["a", "x", "ns.v"]) + rng.choice(["", "|upper", "|trim|length"]))
                    + self.body(depth - 1, loop) + self.tag("endset"))
        if pick < 0.55:
            out = self.tag("if " + self.expression()) + self.body(depth - 1, loop)
            if rng.random() < 0.4:
                out += self.tag("elif " + self.expression()) + self.body(depth - 1, loop)
            if rng.random() < 0.5:
                out += self.tag("else") + self.body(depth - 1, loop)
            return out + self.tag("endif")
        if pick < 0.72:
            source = rng.choice(LISTS + ["a", "ll", "d|items", "missing", "people|selectattr('age', 'gt', 26)",
                "'abc'", "[1, 2, 3]"])
            target = rng.choice(["a", "x", "a", "a, b", "(a, b)"])
            condition = rng.choice(["", "", "", " if a", " if a is defined and a != 1", " if loop_n", " if x"])
            recursive = rng.choice(["", "", " recursive"])
            out = self.tag(f"for {target} in {source}{condition}{recursive}") + self.body(depth - 1, True)
            if rng.random() < 0.3:
                out += self.tag("else") + self.body(depth - 1, loop)
            return out + self.tag("endfor")
        if pick < 0.77:
            head = rng.choice(["m()", "m(a)", "m(a, b=2)", "m(a, b='d', x=a)", "w(a=1)"])
            return self.tag("macro " + head) + self.body(depth - 1) + self.tag("endmacro")
        if pick < 0.80:
            return self.tag("call " + rng.choice(["m()", "(a) m(1)", "w()",
                "(q=3) w(2)"])) + self.body(depth - 1) + self.tag("endcall")
        if pick < 0.83:
            return (self.tag("filter " + rng.choice(["upper", "trim", "replace('x', 'Q')", "upper|indent(2, true)",
                "length", "nosuch"]))
                    + self.body(depth - 1, loop) + self.tag("endfilter"))
        if pick < 0.86:
            return self.tag("with " + rng.choice(["a = 1", "a = b, b = a", "", "x = i + 1"])) + self.body(depth - 1,
                loop) + self.tag("endwith")
        if pick < 0.90:
            return "{#" + rng.choice(["", "-", "+"]) + " {{ no }} {% x " + rng.choice(["", "-", "+"]) + "#}"
        if pick < 0.93:
            return self.tag("raw").replace("+%}",
                "%}") + self.space() + "{{ a }}{% if %}" + self.space() + self.tag("endraw")
        if pick < 0.95:
            return self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration")
        if pick < 0.98 and loop:
            return self.tag("if " + self.expression()) + self.tag(rng.choice(["break", "continue"])) + self.tag("endif")
        return self.tag(rng.choice(["print a, b", "endif", "include 'x'", "set loop = 1", "for", "raise", "break",
            "set a.b.c = 1"]))

    def template(self):
        start = "{% set ns = namespace(v=1) %}{% set cy = cycler(1, 'z') %}{% set jo = joiner('+') %}"
        if self.rng.random() < 0.7:
            start += ("{% macro m(a, b=5) %}<{{ a }}{{ b }}{{ caller(a) if caller else '' }}{{ varargs }}{{ kwargs }}>"
                      "{% endmacro %}\n")
        return start + self.body(3)


class Scopes:
    """Makes templates that set, read and give the same few names in bodies of every kind, so that which body a name
    belongs to, and from when, decides what they print. The caller passes i and s; k is a macro; range is jinja2's."""

    NAMES = ["i", "i", "s", "a", "q"]
    READS = ["{N}", "{N}", "{N} is defined", "[{N}]", "{N} ~ {N}", "{N}|default('-')", "k() if k",
             "range is callable", "{N} is callable", "caller() if caller", "{N} if yes else {N}",
             "loop.index if loop is defined", "loop([{N}, 8]) if loop is defined and loop.depth < 3"]

    def __init__(self, rng):
        self.rng = rng

    def fill(self, *patterns):
        return re.sub(r"\{N\}", lambda m: self.rng.choice(self.NAMES), self.rng.choice(patterns))

    def read(self):
        return "<" + self.fill("{{ R }}", "{{ R }}", "{% print R %}").replace("R", self.fill(*self.READS)) + ">"

    def body(self, depth, loop=False):
        return "".join(self.statement(depth - 1, loop) for _ in range(self.rng.randrange(1, 5)))

    def branches(self, depth, loop):
        out = self.fill("{% if yes %}", "{% if no %}", "{% if {N} %}") + self.body(depth, loop)
        for word in ("elif no", "elif {N} is defined", "else"):
            if self.rng.random() < 0.4:
                out += self.fill("{% " + word + " %}") + self.body(depth, loop)
        return out + "{% endif %}"

    def loop(self, depth, loop):
        target, source = self.fill("{N}"), self.fill("[1, 2]", "[1, 2]", "[]", "[{N}]", "range(2)")
        condition, recursive = self.fill("", "", " if {N}", " if ({N} is defined)"), self.fill("", " recursive")
        out = f"{{% for {target} in {source}{condition}{recursive} %}}" + self.body(depth, True)
        if self.rng.random() < 0.4:
            out += "{% else %}" + self.body(depth, loop and not recursive)
        return out + "{% endfor %}"

    def statement(self, depth, loop):
        pick = self.rng.random()
        if depth <= 0 or pick < 0.25:
            return self.read()
        if pick < 0.45:
            return self.fill("{% set {N} = 1 %}", "{% set {N} = {N} %}", "{% set {N}, s = 'Q', 2 %}",
                             "{% set {N} = [{N}] %}", "{% set range = {N} %}")
        if pick < 0.52:
            return self.fill("{% set {N} %}", "{% set {N} | upper %}") + self.body(depth, loop) + "{% endset %}"
        if pick < 0.64:
            return self.branches(depth, loop)
        if pick < 0.77:
            return self.loop(depth, loop)
        if pick < 0.82:
            return (self.fill("{% macro k() %}", "{% macro k({N}) %}", "{% macro k(a={N}) %}", "{% macro i() %}")
                    + self.body(depth) + "{% endmacro %}")
        if pick < 0.86:
            return self.fill("{% call c() %}", "{% call({N}=3) c() %}") + self.body(depth) + "{% endcall %}"
        if pick < 0.90:
            return (self.fill("{% filter upper %}", "{% filter replace('Q', {N}|string) %}") + self.body(depth, loop)
                    + "{% endfilter %}")
        if pick < 0.94:
            return (self.fill("{% with %}", "{% with {N} = {N} %}", "{% with q = {N}, a = q %}")
                    + self.body(depth, loop) + "{% endwith %}")
        if pick < 0.97:
            return "{% generation %}" + self.body(depth) + "{% endgeneration %}"
        jump = self.fill("{% break %}", "{% continue %}")
        return self.fill("{% if {N} %}", "{% if no %}") + jump + "{% endif %}" if loop else self.read()

    def template(self):
        return "{% macro c() %}({{ caller() }}){% endmacro %}" * (self.rng.random() < 0.9) + self.body(3)


# What slm decides differently on purpose (docs/templates.md); such cases say nothing.
OTHERWISE = re.compile(
    r"64-bit|number too large|at most \d+ are allowed|wider than|precision above|too many steps|deeper than"
    r"|memory allowed|larger than the|longer than the|nested fields|is not allowed|is complex|slice indices must be"
    r"|(for -:|not supported between) .*'dict_")
ADDRESS = re.compile(
    r" at 0x|Markup\(|<generator|<built-in|<bound|<Macro|<LoopContext|<function|Cycler|_reverseiterator|Joiner|<class"
    r"|<method", re.IGNORECASE)


def compare(driver, cases):
    """Counts what was compared; fails on any difference."""
    found, rendered, skipped = [], 0, 0
    for case in cases:
        expected = case.oracle()
        if expected[0] and ADDRESS.search(expected[1]):
            skipped += 1
            continue
        got = driver.render(case)
        if expected[0] != got[0] and not got[0] and OTHERWISE.search(got[1]):
            skipped += 1
        elif expected[0] != got[0] or (expected[0] and expected[1] != got[1]):
            found.append(f"{case.template!r}\n  jinja2 {expected}\n  slm    {got}")
        rendered += expected[0]
    found.sort(key=len)
    print(f"seed {SEED}: {len(cases)} cases, {rendered} rendered, {skipped} not comparable, {len(found)} differ")
    assert not found, f"{len(found)} of {len(cases)} cases differ (SLM_TEMPLATE_SEED={SEED})\n" + "\n".join(found[:25])
    assert rendered > len(cases) // 5 and skipped < len(cases) // 5


def test_random_expressions(driver):
    grammar = Grammar(random.Random(SEED))
    variables = {**VARIABLES, "loop_n": 4}
    compare(driver, [Case("{{ " + grammar.any(3) + " }}", variables=variables) for _ in range(N_RANDOM)])


def test_random_templates(driver):
    grammar = Grammar(random.Random(SEED + 1))
    variables = {**VARIABLES, "loop_n": 4}
    compare(driver, [Case(grammar.template(), variables=variables) for _ in range(N_RANDOM // 2)])


def test_random_scopes(driver):
    scopes = Scopes(random.Random(SEED + 2))
    variables = {"i": 7, "s": "Qs", "yes": True, "no": False}
    compare(driver, [Case(scopes.template(), variables=variables) for _ in range(N_RANDOM)])
