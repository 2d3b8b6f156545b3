/* SPDX-License-Identifier: MIT
 * Reading bodies by rows. jansson parses; what it does not promise is checked here before its recursive parser
 * sees the
 * text: how deep it nests. Deliberately not here: any row. */
#include "serve/api_read.h"

#include <inttypes.h>
#include <math.h>
#include "base/os.h"

enum { MAX_DEPTH = 128 };

/* Brackets nest no deeper than the limit; whether they match is the parser's business. */
static bool depth_ok(struct slm_str text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MAX_DEPTH) return false;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return true;
}

/* jansson checks UTF-8, surrogates and numbers; it is asked to refuse keys
 * that come twice. A byte 0 it passes over behind a number or a word. */
slm_status slm_read_body(struct slm_str text, json_t **out, struct slm_error *error)
{
    json_error_t bad;
    if (text.len == 0) return slm_fail(error, SLM_ERR_FORMAT, "body",
                                       "the request has no body; a JSON object is needed");
    if (!depth_ok(text))
        return slm_fail(error, SLM_ERR_FORMAT, "body", "JSON nested deeper than the allowed %d levels", MAX_DEPTH);
    if (memchr(text.ptr, 0, text.len)) return slm_fail(error, SLM_ERR_FORMAT, "body", "not valid JSON: a byte 0 in it");
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &bad);
    if (!json)
        return slm_fail(error, SLM_ERR_FORMAT, "body", "not valid JSON: line %d column %d: %s", bad.line, bad.column,
                        bad.text);
    if (!json_is_object(json)) {
        slm_fail(error, SLM_ERR_FORMAT, "body", "is %s, a JSON object is needed", slm_json_kind(json));
        json_decref(json);
        return SLM_ERR_FORMAT;
    }
    *out = json;
    return SLM_OK;
}

/* Long paths are cut: they are for people. */
struct slm_path slm_path(const char *format, ...)
{
    struct slm_path path;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path.text, sizeof path.text, format, args);
    va_end(args);
    return path;
}

/* For sentences: "must be a string, not an array". */
const char *slm_json_kind(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    default: return "null";
    }
}

/* jansson's way of writing into our memory. */
static int add_bytes(const char *data, size_t bytes, void *user) { return slm_buf_add(user, data, bytes) ? 0 : -1; }

/* Members keep their order: templates print schemas, and a model was
 * trained on one order. */
void slm_json_write(struct slm_buf *out, const json_t *value)
{
    if (json_dump_callback(value, add_bytes, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0 && out->failed == SLM_OK)
        out->failed = SLM_ERR_MEMORY;
}

/* Fields that are C strings further on cannot hold a NUL, so it is said
 * here. */
const char *slm_read_text(const json_t *value, const char *path, struct slm_error *error)
{
    if (!json_is_string(value)) {
        slm_fail(error, SLM_ERR_ARGUMENT, path, "must be a string, not %s", slm_json_kind(value));
        return NULL;
    }
    const char *text = json_string_value(value);
    if (strlen(text) == json_string_length(value)) return text;
    slm_fail(error, SLM_ERR_ARGUMENT, path, "has a NUL character in it, which this field cannot hold");
    return NULL;
}

/* ---- values by rows -------------------------------------------------------------------------------------------- */

/* Places of fields that are not there, in the way that the kind has for
 * it. */
static void set_absent(const struct slm_field *row, char *place)
{
    switch (row->kind) {
    case SLM_FIELD_BOOL: *(int *)(void *)place = SLM_ABSENT_BOOL; break;
    case SLM_FIELD_INT: *(int64_t *)(void *)place = SLM_ABSENT_INT; break;
    case SLM_FIELD_FLOAT: *(double *)(void *)place = (double)NAN; break;
    case SLM_FIELD_TEXT: *(const char **)(void *)place = NULL; break;
    case SLM_FIELD_JSON: *(const json_t **)(void *)place = NULL; break;
    default: break;
    }
}

/* Both ends 0 would allow only 0: no field wants that. */
static bool has_range(const struct slm_field *row) { return row->min != 0 || row->max != 0; }

/* Integers stay exact up to 64 bits; a real number is taken where it is
 * whole, as some languages have no other. */
static slm_status read_int(const json_t *value, const char *path, const struct slm_field *row, int64_t *out,
                           struct slm_error *error)
{
    const double real = json_is_real(value) ? json_real_value(value) : 0;
    const bool whole = json_is_integer(value) || (json_is_real(value) && real == floor(real) && fabs(real) < 1e15);
    const int64_t number = json_is_integer(value) ? json_integer_value(value) : whole ? (int64_t)real : 0;
    if (!whole)
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be an integer, not %s",
                        json_is_real(value) ? "a fraction" : slm_json_kind(value));
    /* As integers, which bounds are: a double cannot tell 2^53 + 1 from 2^53. */
    if (has_range(row) && (number < (int64_t)row->min || number > (int64_t)row->max))
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be from %.0f to %.0f, not %" PRId64, row->min, row->max,
                        number);
    *out = number;
    return SLM_OK;
}

/* Not-a-number cannot come: JSON has none. */
static slm_status read_float(const json_t *value, const char *path, const struct slm_field *row, double *out,
                             struct slm_error *error)
{
    if (!json_is_number(value))
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be a number, not %s", slm_json_kind(value));
    const double number = json_number_value(value);
    if (has_range(row) && (number < row->min || number > row->max))
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be from %g to %g, not %g", row->min, row->max, number);
    *out = number;
    return SLM_OK;
}

/* Is the value one of those in `only`? */
static slm_status read_only(const json_t *value, const char *path, const struct slm_field *row,
                            struct slm_error *error)
{
    struct slm_buf text = {0};
    slm_json_write(&text, value);
    slm_status status = slm_buf_status(&text, path, error);
    bool found = false;
    for (const char *at = row->only; status == SLM_OK && !found && *at;) {
        const size_t n = strcspn(at, "|");
        found = slm_str_equal((struct slm_str){at, n}, (struct slm_str){text.data, text.len});
        at += n + (at[n] == '|');
    }
    if (status == SLM_OK && !found && *row->only)
        status = slm_fail(error, SLM_ERR_UNSUPPORTED, path, "must be one of %s here: %s", row->only, row->help);
    else if (status == SLM_OK && !found)
        status = slm_fail(error, SLM_ERR_UNSUPPORTED, path, "is not supported: %s", row->help);
    slm_buf_release(&text);
    return status;
}

/* The kinds, one by one; a hint is read by nobody. */
slm_status slm_read_value(const json_t *value, const char *path, const struct slm_field *row, void *out,
                          struct slm_error *error)
{
    switch (row->kind) {
    case SLM_FIELD_BOOL:
        if (!json_is_boolean(value))
            return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be true or false, not %s", slm_json_kind(value));
        *(int *)out = json_is_true(value);
        return SLM_OK;
    case SLM_FIELD_INT: return read_int(value, path, row, out, error);
    case SLM_FIELD_FLOAT: return read_float(value, path, row, out, error);
    case SLM_FIELD_TEXT:
        *(const char **)out = slm_read_text(value, path, error);
        return *(const char **)out ? SLM_OK : SLM_ERR_ARGUMENT;
    case SLM_FIELD_JSON: *(const json_t **)out = value; return SLM_OK;
    case SLM_FIELD_ONLY: return read_only(value, path, row, error);
    default: return SLM_OK;
    }
}

/* Requests have few fields and rows are few: no index is worth it. */
static const struct slm_field *find_row(const struct slm_field_set *sets, const char *name)
{
    for (; sets->rows; sets++)
        for (size_t i = 0; i < sets->n; i++)
            if (strcmp(sets->rows[i].name, name) == 0) return &sets->rows[i];
    return NULL;
}

/* First all places are absent, then what is there is read, then what must
 * be there is looked for. */
slm_status slm_read_fields(const json_t *object, const char *prefix, const struct slm_field_set *sets, void *out,
                           struct slm_error *error)
{
    if (!json_is_object(object))
        return slm_fail(error, SLM_ERR_ARGUMENT, *prefix ? prefix : "body", "must be an object, not %s",
                        slm_json_kind(object));
    for (const struct slm_field_set *set = sets; set->rows; set++)
        for (size_t i = 0; i < set->n; i++) set_absent(&set->rows[i], (char *)out + set->rows[i].offset);
    json_t *mutable = (json_t *)(uintptr_t)object; /* iterating changes nothing, but jansson's type says it might */
    for (void *i = json_object_iter(mutable); i; i = json_object_iter_next(mutable, i)) {
        const char *name = json_object_iter_key(i);
        const json_t *value = json_object_iter_value(i);
        const struct slm_path path = slm_path("%s%s", prefix, name);
        const struct slm_field *row = find_row(sets, name);
        if (!row) return slm_fail(error, SLM_ERR_UNSUPPORTED, *path.text ? path.text : "\"\"", /* a key may be empty */
                                  "is no field of this request; docs/api.md lists them");
        if (json_is_null(value)) continue;
        SLM_TRY(slm_read_value(value, path.text, row, (char *)out + row->offset, error));
    }
    for (const struct slm_field_set *set = sets; set->rows; set++)
        for (size_t i = 0; i < set->n; i++) {
            const json_t *value = set->rows[i].needed ? json_object_get(object, set->rows[i].name) : NULL;
            if (set->rows[i].needed && (!value || json_is_null(value)))
                return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s%s", prefix, set->rows[i].name).text,
                                "is required");
        }
    return SLM_OK;
}
