# SPDX-License-Identifier: MIT
"""JSON Schema keyword by keyword, after the manner of the official suite: for each keyword and each pair that belongs
together, schemas with every combination of values, and instances around their borders. jsonschema says which are valid.
Whatever compiles must never take an invalid instance; and it must take the valid ones, apart from what the
documentation says is not written (an order of keys, keys left open). Deliberately not here: texts drawn from masks, and
random schemas (test_grammar.py)."""

import itertools
import json
import os
import re

import jsonschema
import pytest
from test_grammar import SCHEMA, driver  # noqa: F401 -- a fixture

SOAK = os.environ.get("SLM_TEST_LEVEL") == "soak"


def combinations(**keywords):
    """Every choice of one value for each keyword; ... leaves the keyword out."""
    for values in itertools.product(*keywords.values()):
        yield {k: v for k, v in zip(keywords, values) if v is not ...}


STRINGS = ["", "a", "B", "ab", "abc", "xacy", "a\nc", "aXc!", "Zzzz", "é", "aéc", "ab" * 3, "\"", "\\", "a\\c", "b1", "1",
           "😀", "a😀c", "\u0001", " x", "c" * 4, "c" * 5, "a" * 299, "a" * 300, "A" * 301, "é" * 300, "\n" * 300]
NUMBERS = [0, 1, -1, 2, 3, 5, 6, 9, 10, 15, -15, 30, 99, 100, 101, -100, 1000, 0.5, -0.5, 2.5, 9.75, 10.25, 99.999,
           0.001]
LISTS = [[], [1], ["a"], [1, "a"], [1, 2], ["a", 1], [1, "a", None], [1, "a", None, None], [1, 2, 3], [1, 2, 3, 4], [None]]
OBJECTS = [dict(zip(keys, values))
           for keys in ([], ["a"], ["b"], ["a", "b"], ["p_x"], ["a", "p_x"], ["q_x"], ["p_x", "q_x"], ["zz"],
                        ["b", "zz"], ["a", "b", "zz"], ["a", "b", "zz", "zy"], ["a", "b", "p_x", "p_y"],
                        ["zz", "zy", "zx"], ["long_key"])
           for values in ([1, "s", None, None], [1, 1, 1, 1], ["s", "s", "s", "s"], [None] * 4, [1, "s", 1, "s"])]
FREE = {"type": "string"}
GROUPS = {
    "strings": (combinations(type=["string"], minLength=[..., 1, 2, 300], maxLength=[..., 0, 3, 4, 300],
                             pattern=[..., "a.c", "[A-Z]", "^[a-z]+$", "b|^c", "é", "\\d$", "^(ab)*$", "^\\S", "\\\\",
                                      "^.{2,4}$", "^[^a]", "^a{299,}$"]), STRINGS),
    "two patterns": (({"allOf": [{"type": "string", "pattern": a}, {"pattern": b}, c]}
                      for a, b in itertools.combinations(["a", "^a", "[A-Z]", "c$", ".{3}", "é|c", "^[^b]*$"], 2)
                      for c in ({}, {"minLength": 2, "maxLength": 5}, {"maxLength": 300}, {"pattern": "[a-z]$"})), STRINGS),
    "whole numbers": (combinations(type=["integer"], minimum=[..., -15, 0, 2.5], exclusiveMinimum=[..., 1],
                                   maximum=[..., 10, 99.5, 1e25], exclusiveMaximum=[..., 100],
                                   multipleOf=[..., 1, 3, 5, 10]), NUMBERS),
    "numbers": (combinations(type=["number"], minimum=[..., -0.5, 0, -1e30], exclusiveMinimum=[..., 0.5],
                             maximum=[..., 10, 99.999, 1e20], exclusiveMaximum=[..., 10.25], multipleOf=[..., 1, 2]),
                NUMBERS),
    "bounds of many digits": (({"type": kind, keyword: bound, **more} for kind in ("number", "integer")
                               for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
                               for bound in (8.280000000000001, -8.280000000000001, 1e14, -1e15, 1e16, -1e18, 1e19,
                                             123456789.0123456, -0.00000000001, 2**63, -2**63)
                               for more in ({}, {"minimum": -50}, {"exclusiveMaximum": 60.5})), NUMBERS),
    "arrays": (combinations(type=["array"], items=[True, {"type": "integer"}, False], minItems=[..., 1, 3],
                            maxItems=[..., 0, 2, 3],
                            prefixItems=[..., [{"type": "integer"}], [{"type": "integer"}, FREE]]), LISTS),
    "objects": (combinations(type=["object"], properties=[..., {"a": {"type": "integer"}, "b": FREE}],
                             required=[..., ["a"], ["b", "zz"]], additionalProperties=[..., False, {"type": "null"}],
                             minProperties=[..., 1, 2, 3], maxProperties=[..., 0, 1, 2, 3]), OBJECTS),
    "names": (combinations(type=["object"], properties=[..., {"a": {"type": "integer"}, "b": FREE}], required=[..., ["a"]],
                           propertyNames=[{"pattern": "^[a-z]+$"}, {"maxLength": 2}, {"enum": ["a", "zz", "zy"]},
                                          {"const": "a"}, {"minLength": 2, "maxLength": 3}, False, {"enum": ["a", "b"], "minLength": 2},
                                          {"type": "integer"}],
                           additionalProperties=[..., True, {"type": "null"}], minProperties=[..., 1, 2],
                           maxProperties=[..., 2]), OBJECTS),
    "patterns of names": (combinations(type=["object"], properties=[..., {"a": {"type": "integer"}, "p_x": True}],
                                       patternProperties=[{"^p_": {"type": "null"}},
                                                          {"^p_": FREE, "^q_": {"type": "integer"}},
                                                          {"^[^z]*_x$": True, "^z": {"type": "null"}}],
                                       additionalProperties=[..., False], propertyNames=[..., {"maxLength": 3}],
                                       required=[..., ["p_x"]], minProperties=[..., 1, 2],
                                       maxProperties=[..., 1, 2]), OBJECTS),
    "unevaluated": (iter([
        {"type": "object", "properties": {"a": {}}, "unevaluatedProperties": False},
        {"type": "object", "properties": {"a": {}}, "required": ["b"], "unevaluatedProperties": False},
        {"type": "object", "required": ["a"], "unevaluatedProperties": False},
        {"type": "object", "allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
        {"type": "object", "allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}, "unevaluatedProperties": False}]},
        {"type": "object", "properties": {"a": {}}, "allOf": [{"unevaluatedProperties": False}]},
        {"$defs": {"d": {"properties": {"a": {}}, "required": ["a"]}}, "$ref": "#/$defs/d", "type": "object",
         "properties": {"b": {}}, "unevaluatedProperties": False},
        {"type": "object", "anyOf": [{"properties": {"a": {}}, "required": ["a"]},
                                     {"properties": {"b": {}}, "required": ["b"]}], "unevaluatedProperties": False},
        {"type": "object", "allOf": [{"additionalProperties": {"type": "null"}}, {"unevaluatedProperties": False}]},
        {"type": "object", "allOf": [{"additionalProperties": {"type": "null"}}], "unevaluatedProperties": False},
        {"type": "object", "patternProperties": {"^p": {}}, "unevaluatedProperties": False},
        {"type": "object", "properties": {"a": {}}, "unevaluatedProperties": True},
    ]), OBJECTS),
    "alternatives": (iter([
        {"anyOf": [{"type": "integer", "minimum": 5}, {"type": "string", "maxLength": 1}]},
        {"anyOf": [{"minimum": 5}, {"maxLength": 1}]}, {"type": ["integer", "string"], "minimum": 3, "minLength": 2},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]}, {"oneOf": [{"const": 1}, {"enum": ["a", 2]}], "minimum": 2},
        {"oneOf": [{"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 5}]},
        {"allOf": [{"type": "number"}, {"type": ["integer", "string"]}, {"multipleOf": 5}]},
        {"allOf": [{"anyOf": [{"multipleOf": 3}, {"multipleOf": 5}]}, {"type": "integer"}, {"minimum": 10}]},
        {"const": 10}, {"enum": [1, 10, "a", None], "type": ["integer", "null"]}, {"enum": ["abc", "b1"], "pattern": "\\d"},
        {"enum": [1, 9, 10], "multipleOf": 5}, {"const": None, "type": "string"}, True, {}, False,
        {"type": "null"}, {"type": "boolean"}, {"type": "array"}, {"type": "object"},
        {"$defs": {"n": {"type": "integer"}}, "anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n", "minimum": 2}]},
    ]), STRINGS[:12] + NUMBERS + LISTS + OBJECTS[::3] + [None, True, False]),
    "negations": (iter([
        {"not": {"const": "a"}}, {"not": {"type": "string"}}, {"not": {"type": ["object", "array", "number"]}}, {"not": False},
        {"type": "string", "not": {"enum": ["a", "abc", "a\nc", "\"", "é"]}}, {"type": ["boolean", "string"], "not": {"const": True}},
        {"type": "string", "not": {"enum": ["a", "ab"]}, "maxLength": 3}, {"enum": [1, 2, "a", None], "not": {"enum": [2.0, None]}},
        {"type": "string", "pattern": "^a", "not": {"const": "abc"}}, {"type": "integer", "not": {"minimum": 5}},
        {"type": "number", "not": {"exclusiveMaximum": 5, "maximum": 9}}, {"not": {"not": {"type": "null"}}},
        {"type": "integer", "not": {"anyOf": [{"minimum": 10}, {"maximum": 2}]}},
        {"type": "integer", "allOf": [{"not": {"allOf": [{"minimum": 3}, {"maximum": 9}]}}]},
        {"type": ["integer", "string"], "not": {"type": "integer", "minimum": 3}},
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": FREE}, "not": {"required": ["a"]}},
        {"type": "object", "properties": {"a": {"enum": [1, "s"]}, "b": FREE}, "not": {"properties": {"a": {"const": 1}}}},
        {"type": "object", "properties": {"a": {"enum": [1, "s"]}, "b": {}}, "not": {"properties": {"a": {"const": 1}}, "required": ["b"]}},
        {"type": "object", "propertyNames": {"not": {"enum": ["a", "zz"]}}},
        {"type": "array", "items": {"not": {"type": "integer"}}}, {"type": "array", "items": {"not": {"const": "a"}, "type": ["string", "null"]}},
        {"type": ["array", "integer"], "not": {"type": "array"}, "minimum": 2},
    ]), STRINGS[:20] + NUMBERS + LISTS + OBJECTS + [None, True, False]),
    "conditions": (({**base, **condition} for base in (
        {"type": "object", "properties": {"a": {"type": ["integer", "string"]}, "b": {}}}, {"type": "object", "additionalProperties": True},
        {"type": ["object", "null"], "properties": {"a": {}, "b": {}, "zz": {}}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1, "additionalProperties": {"type": "null"}})
        for condition in (
        {"if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"required": ["b"]}},
        {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}, "else": {"properties": {"b": False}}},
        {"if": {"properties": {"a": {"type": "string"}}, "required": ["a"]}, "else": {"required": ["b"]}},
        {"if": {"properties": {"a": {"minimum": 0}}}, "then": {"properties": {"b": {"type": "integer"}}}},
        {"if": {"type": "object"}, "then": {"required": ["b"]}, "else": False}, {"if": True, "then": {"required": ["a"]}},
        {"if": False, "then": False, "else": {"required": ["a"]}}, {"then": False}, {"else": False}, {"if": {"required": ["b"]}},
        {"if": {"not": {"required": ["b"]}}, "then": {"required": ["a"]}},
        {"if": {"anyOf": [{"required": ["b"]}, {"required": ["zz"]}]}, "then": {"required": ["a"]}},
        {"allOf": [{"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"if": {"required": ["b"]}, "then": {"required": ["zz"]}}]},
        {"dependentRequired": {"a": ["b"]}}, {"dependentRequired": {"a": ["b"], "b": ["a", "zz"]}}, {"dependentRequired": {"a": []}},
        {"dependencies": {"a": ["b"], "b": {"required": ["zz"]}}},
        {"dependentSchemas": {"a": {"required": ["b"], "properties": {"b": {"type": "integer"}}}}}, {"dependentSchemas": {"b": False}},
        {"dependentSchemas": {"a": {"maxProperties": 1}, "b": True}})), OBJECTS + [None]),
    "anchors": (iter([{"$defs": {"n": {"$anchor": "number", "type": "integer"}}, "anyOf": [{"$ref": "#number"}, {"const": "a"}]},
                      {"$anchor": "here", "type": "array", "items": {"anyOf": [{"$ref": "#here"}, {"type": "integer"}]}}]),
                STRINGS[:4] + NUMBERS + LISTS + [[[1], []]]),
}
CONDITIONS = ("dependencies", "if", "then", "else", "not", "dependentRequired", "dependentSchemas")


def not_written(schema, value):
    """What the documentation says: keys of an object that describes some are those, and others only where it says so;
    where patterns describe keys, such keys; where every name is listed, in its order. Towards minProperties all that
    are not described count as one."""
    if not isinstance(value, dict) or schema is True:
        return False
    described = list(schema.get("properties", {})) + [k for k in schema.get("required", [])]
    listed = schema.get("propertyNames", {})
    if isinstance(listed, dict) and ("enum" in listed or "const" in listed):
        described += listed.get("enum", [listed.get("const")])
    described = list(dict.fromkeys(described))
    own = [k for k in value if k in described]
    others = [k for k in value if k not in described]
    if own != [k for k in described if k in own] or list(value) != own + others:
        return True
    if "allOf" in schema or "$ref" in schema or "anyOf" in schema:
        return True
    if any(k in schema for k in CONDITIONS):  # what they name is described too
        return bool(others) or len(value) < len(described) or not described
    if len(own) + min(len(others), 1) < schema.get("minProperties", 0):
        return True
    if others and "patternProperties" in schema:
        return not all(any(re.search(p, k) for p in schema["patternProperties"]) for k in others)
    return bool(others) and "additionalProperties" not in schema and bool(described)


@pytest.mark.parametrize("group", GROUPS)
def test_keywords(driver, group):
    schemas, instances = GROUPS[group]
    compiled = wrong = refused = taken = 0
    for n, schema in enumerate(schemas):
        if not SOAK and group not in ("two patterns", "unevaluated", "alternatives", "arrays", "negations", "anchors") and n % 3:
            continue
        draft7 = isinstance(schema, dict) and "dependencies" in schema
        draft = jsonschema.Draft7Validator if draft7 else jsonschema.Draft202012Validator
        validator = draft(schema)
        valid = [validator.is_valid(v) for v in instances]
        answer = driver.compile(SCHEMA, json.dumps(schema))
        if answer != "ok":
            assert answer.startswith(("error unsupported #", "error argument #", "error limit #")), (schema, answer)
            if answer.startswith("error argument"):  # nothing satisfies it: then no instance may, that could be written
                assert not any(ok and not not_written(schema, v) for ok, v in zip(valid, instances)), (schema, answer)
            print(schema, answer)
            refused += not answer.startswith("error argument")
            continue
        compiled += 1
        for ok, value in zip(valid, instances):
            text = json.dumps(value, ensure_ascii=False)
            match = driver.matches(text)
            taken += match
            assert ok or not match, (schema, text, "is taken and invalid")
            if ok and not match:
                assert not_written(schema, value), (schema, text, "is valid and not taken")
    print(group, "compiled", compiled, "refused", refused, "taken", taken)
    assert compiled > refused and taken > 0


def test_lengths_exactly(driver):
    """Lengths of thousands are counted in rules of a thousand: around each border of one, and at the ends."""
    for low, high in ((0, 8193), (1, 65535), (5000, 9000), (9000, None), (10240, 10240), (20000, 300000)):
        schema = {"type": "string", "minLength": low} | ({} if high is None else {"maxLength": high})
        assert driver.compile(SCHEMA, json.dumps(schema)) == "ok"
        most = high or 0
        borders = {0, 1, 1023, 1024, 1025, 8192, 8193, low - 1, low, low + 1, low + 1024, most - 1, most, most + 1}
        for n in borders:
            if n >= 0:
                assert driver.matches('"' + "é" * n + '"') == (low <= n and (high is None or n <= high)), (schema, n)
