/* SPDX-License-Identifier: MIT
 * JSON text -> values. jansson parses; what it does not promise is checked here: a depth limit that suits a small
 * stack, before its recursive parser sees the text. Duplicate keys, bad UTF-8, lone surrogates and integers beyond 64
 * bits are errors. */
#include <jansson.h>
#include "template/value.h"

enum { JSON_MAX_DEPTH = 200 };

/* Brackets nest no deeper than the limit; whether they match is the parser's business. */
static bool depth_ok(const char *json)
{
    size_t depth = 0;
    for (bool in_string = false; *json; json++) {
        if (in_string) {
            if (*json == '\\' && json[1]) json++;
            else if (*json == '"') in_string = false;
        } else if (*json == '"') {
            in_string = true;
        } else if (*json == '[' || *json == '{') {
            if (++depth > JSON_MAX_DEPTH) return false;
        } else if ((*json == ']' || *json == '}') && depth > 0) {
            depth--;
        }
    }
    return true;
}

static struct value convert(struct render *r, const json_t *json);

static struct value convert_array(struct render *r, const json_t *json)
{
    size_t n = json_array_size(json);
    struct value v = slm_jinja_list(r, V_LIST, n);
    for (size_t i = 0; i < n && v.kind != V_FAIL; i++) {
        struct value item = convert(r, json_array_get(json, i));
        if (item.kind == V_FAIL) return item;
        v.list->items[i] = item;
    }
    return v;
}

static struct value convert_object(struct render *r, const json_t *json)
{
    struct value v = slm_jinja_dict(r);
    json_t *object = (json_t *)(uintptr_t)json; /* iterating changes nothing, but jansson's type says it might */
    for (void *i = json_object_iter(object); i && v.kind != V_FAIL; i = json_object_iter_next(object, i)) {
        const char *name = json_object_iter_key(i);
        struct value key = slm_jinja_str(r, name, strlen(name));
        if (!slm_jinja_dict_set(r, v.dict, key, convert(r, json_object_iter_value(i)))) return v_fail();
    }
    return v;
}

/* Recursion no deeper than depth_ok allowed. */
static struct value convert(struct render *r, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT: return convert_object(r, json);
    case JSON_ARRAY: return convert_array(r, json);
    case JSON_STRING: return slm_jinja_str(r, json_string_value(json), json_string_length(json));
    case JSON_INTEGER: return v_int(json_integer_value(json));
    case JSON_REAL: return v_float(json_real_value(json));
    case JSON_TRUE: return v_bool(true);
    case JSON_FALSE: return v_bool(false);
    default: return v_none();
    }
}

struct value slm_jinja_from_json(struct render *r, const char *json, const char *what)
{
    json_error_t error;
    if (!depth_ok(json))
        return slm_jinja_fail(r, SLM_ERR_LIMIT, "%s: nested deeper than %d levels", what, JSON_MAX_DEPTH);
    json_t *parsed = json_loads(json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!parsed)
        return TYPE_ERROR(r, "%s is not valid JSON: line %d column %d: %s", what, error.line, error.column, error.text);
    struct value v = convert(r, parsed);
    json_decref(parsed);
    return v;
}
