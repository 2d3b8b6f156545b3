# SPDX-License-Identifier: MIT
"""Chat templates against jinja2: the same template and variables must give the same bytes, or fail on both sides.

The oracle is jinja2 itself, set up as transformers sets it up (apply_chat_template): ImmutableSandboxedEnvironment
with trim_blocks and lstrip_blocks, loop controls, the generation tag, and its own tojson, raise_exception and
strftime_now. Three kinds of cases: real templates with many conversations (skipped where the reference data is absent),
statements and whitespace put together by a grammar, and expressions put together by a grammar. The random ones print
their seed; SLM_TEMPLATE_SEED repeats a run, SLM_TEST_LEVEL (check, test, soak) sets how many there are.
"""

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
N_RANDOM = {"check": 1000, "test": 6000, "soak": 200000}.get(LEVEL, 6000)
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
        """(True, text) or (False, the error)."""
        names = {"messages": self.messages, "tools": self.tools, "documents": None,
                 "add_generation_prompt": self.generation, "eos_token": "</s>"}
        if self.bos is not None:
            names["bos_token"] = self.bos
        try:
            return True, compiled(self.template).render(**{**names, **self.variables})
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


def difference(driver, case):
    """None, or what differs."""
    expected, got = case.oracle(), driver.render(case)
    if expected[0] == got[0] and (not expected[0] or expected[1] == got[1]):
        return None
    return (f"template {case.template!r}\n  variables {case.variables!r}\n  jinja2 {'gives' if expected[0] else 'fails'}"
            f" {expected[1]!r}\n  slm    {'gives' if got[0] else 'fails'} {got[1]!r}")


def check(driver, cases):
    found = [d for d in (difference(driver, case) for case in cases) if d]
    assert not found, f"{len(found)} of {len(cases)} cases differ (seed {SEED})\n" + "\n".join(found[:12])


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
    "parts_system": [says("system", [{"type": "text", "text": "Short."}]), says("user", [{"type": "text", "text": "Hi"}])],
    "starts_with_assistant": [says("assistant", "Hello"), USER],
    "two_users": [USER, USER],
    "unknown_role": [says("wizard", "Abracadabra"), USER],
    "system_later": [USER, says("assistant", "a"), says("system", "Now rhyme."), says("user", "b")],
    "tools_in_system": [says("system", "Use tools.", tools="[{\"name\": \"f\"}]"), USER],
    "none": [],
}
SETTINGS = [
    {}, {"generation": False}, {"tools": [WEATHER]}, {"tools": [WEATHER, CLOCK], "generation": False}, {"bos": None},
    {"variables": {"enable_thinking": False}}, {"variables": {"enable_thinking": True, "date_string": "1 Jan 2025"}},
    {"tools": [WEATHER], "variables": {"tools_in_user_message": False, "builtin_tools": ["code_interpreter", "search"]}},
    {"variables": {"documents": [{"title": "A", "text": "First."}, {"title": "B", "text": "Second."}]}},
    {"variables": {"custom_tools": [CLOCK], "strftime_now": None}},
]
REAL = sorted((SHARED / "data" / "templates").glob("*.jinja"))


@pytest.mark.parametrize("path", REAL or [None], ids=lambda p: p.stem if p else "absent")
def test_real_template(driver, path):
    if path is None:
        pytest.skip(f"no templates under {SHARED}/data/templates")
    source = path.read_bytes().decode()
    check(driver, [Case(source, messages=messages, **setting)
                   for messages in CONVERSATIONS.values() for setting in SETTINGS])


def test_conversations_are_rendered():
    """The comparison means little if everything fails on both sides."""
    if not REAL:
        pytest.skip(f"no templates under {SHARED}/data/templates")
    for path in REAL:
        source = path.read_bytes().decode()
        done = [name for name, messages in CONVERSATIONS.items() if Case(source, messages=messages).oracle()[0]]
        assert len(done) >= 12, f"{path.name} renders only {done}"
