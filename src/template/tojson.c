/* SPDX-License-Identifier: MIT
 * The tojson filter as transformers replaces it: Python's json.dumps with ensure_ascii=False, nothing escaped for
 * HTML. The bytes matter: tool definitions reach the model through this filter.
 * Not here: reading JSON (json_in.c), and jinja2's own tojson, which escapes < > & for web pages. */
#include <math.h>
#include <stdio.h>
#include "base/utf8.h"
#include "template/value.h"

/* The arguments, digested. */
struct writer {
    bool ascii, sort, indented;
    struct slm_str indent, item_separator, key_separator;
};

static bool put(struct render *r, struct slm_str s) { return slm_jinja_put(r, s.ptr, s.len); }

/* Stretches without escapes are copied whole. */
static bool put_string(struct render *r, const struct writer *w, const struct text *s)
{
    static const char escapes[] = "\"\"\\\\\nn\rr\tt\bb\ff"; /* character, its letter */
    uint32_t cp;
    if (!slm_jinja_put(r, "\"", 1) || !slm_jinja_burn(r, 1 + s->len / 16)) return false;
    size_t plain = 0; /* start of the stretch that needs no escape */
    for (size_t i = 0, n; i < s->len; i += n) {
        n = (size_t)slm_utf8_decode(s->ptr + i, s->len - i, &cp);
        if (cp >= 0x20 && cp != '"' && cp != '\\' && (cp < 0x7F || !w->ascii)) continue;
        char text[16];
        int len = 0;
        for (const char *e = escapes; *e; e += 2)
            if (cp == (unsigned char)*e) len = snprintf(text, sizeof text, "\\%c", e[1]);
        if (len == 0 && cp >= 0x10000)
            len = snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD7C0 + (cp >> 10), 0xDC00 + (cp & 0x3FF));
        if (len == 0) len = snprintf(text, sizeof text, "\\u%04x", cp);
        if (!slm_jinja_put(r, s->ptr + plain, i - plain) || !slm_jinja_put(r, text, (size_t)len)) return false;
        plain = i + n;
    }
    return slm_jinja_put(r, s->ptr + plain, s->len - plain) && slm_jinja_put(r, "\"", 1);
}

/* NaN and the infinities as Python writes them, although JSON has none. */
static bool put_number(struct render *r, struct value v)
{
    char text[DOUBLE_TEXT];
    if (v.kind == V_INT) return slm_jinja_put(r, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)v.i));
    const char *odd = isnan(v.f) ? "NaN" : isinf(v.f) ? v.f > 0 ? "Infinity" : "-Infinity" : NULL;
    return odd ? slm_jinja_put(r, odd, strlen(odd)) : slm_jinja_put(r, text, slm_jinja_double_repr(v.f, text));
}

/* Nothing without an indent argument; an indent of 0 still breaks lines. */
static bool newline(struct render *r, const struct writer *w, unsigned level)
{
    if (!w->indented) return true;
    if (!slm_jinja_put(r, "\n", 1)) return false;
    for (unsigned i = 0; i < level; i++)
        if (!put(r, w->indent)) return false;
    return true;
}

static bool put_value(struct render *r, const struct writer *w, struct value v, unsigned level);

/* Tuples are arrays too. Empty ones stay on one line. */
static bool put_list(struct render *r, const struct writer *w, const struct list *l, unsigned level)
{
    if (l->n == 0) return slm_jinja_put(r, "[]", 2);
    if (!slm_jinja_put(r, "[", 1)) return false;
    for (size_t i = 0; i < l->n; i++)
        if ((i > 0 && !put(r, w->item_separator)) || !newline(r, w, level + 1) ||
            !put_value(r, w, l->items[i], level + 1))
            return false;
    return newline(r, w, level) && slm_jinja_put(r, "]", 1);
}

/* Keys that are no strings become strings: 1, true and null are quoted. */
static bool put_key(struct render *r, const struct writer *w, struct value key)
{
    if (key.kind == V_STR) return put_string(r, w, key.s);
    if (key.kind != V_NONE && !is_number(key))
        return TYPE_ERROR(r, "tojson: keys must be str, int, float, bool or None, not %s",
                          slm_jinja_type_name(key)).kind != V_FAIL;
    return slm_jinja_put(r, "\"", 1) && put_value(r, w, key, 0) && slm_jinja_put(r, "\"", 1);
}

/* Entries in the order of their keys. */
static const struct entry *sorted_entries(struct render *r, const struct dict *d)
{
    const struct builtin *dictsort = slm_jinja_find_filter(slm_str("dictsort"));
    struct value sensitive = v_bool(true), self = {.kind = V_DICT, .dict = (struct dict *)(uintptr_t)d};
    struct value pairs = slm_jinja_call_builtin(r, dictsort, self, &(const struct call){&sensitive, 1, NULL, 0});
    struct entry *out = pairs.kind == V_FAIL ? NULL : slm_jinja_alloc(r, d->n + 1, sizeof *out);
    for (size_t i = 0; out && i < d->n; i++) {
        out[i].key = pairs.list->items[i].list->items[0];
        out[i].value = pairs.list->items[i].list->items[1];
    }
    return out;
}

/* In the order of insertion, or of the keys. */
static bool put_dict(struct render *r, const struct writer *w, const struct dict *d, unsigned level)
{
    const struct entry *entries = w->sort && d->n ? sorted_entries(r, d) : d->entries;
    if (r->status != SLM_OK) return false;
    if (d->n == 0) return slm_jinja_put(r, "{}", 2);
    if (!slm_jinja_put(r, "{", 1)) return false;
    for (size_t i = 0; i < d->n; i++)
        if ((i > 0 && !put(r, w->item_separator)) || !newline(r, w, level + 1) || !put_key(r, w, entries[i].key) ||
            !put(r, w->key_separator) || !put_value(r, w, entries[i].value, level + 1))
            return false;
    return newline(r, w, level) && slm_jinja_put(r, "}", 1);
}

/* Undefined, namespaces and other objects cannot be written. */
static bool put_value(struct render *r, const struct writer *w, struct value v, unsigned level)
{
    bool ok;
    if (!slm_jinja_burn(r, 1)) return false;
    switch (v.kind) {
    case V_NONE: return slm_jinja_put(r, "null", 4);
    case V_BOOL: return v.b ? slm_jinja_put(r, "true", 4) : slm_jinja_put(r, "false", 5);
    case V_INT: case V_FLOAT: return put_number(r, v);
    case V_STR: return put_string(r, w, v.s);
    case V_LIST: case V_TUPLE: case V_DICT:
        if (!slm_jinja_enter(r)) return false;
        ok = v.kind == V_DICT ? put_dict(r, w, v.dict, level) : put_list(r, w, v.list, level);
        r->depth--;
        return ok;
    default:
        return TYPE_ERROR(r, "Object of type %s is not JSON serializable", slm_jinja_type_name(v)).kind != V_FAIL;
    }
}

/* Positions of the arguments, as in transformers' own tojson. */
enum { ARG_ENSURE_ASCII, ARG_INDENT, ARG_SEPARATORS, ARG_SORT_KEYS };

/* false = failed. */
static bool read_arguments(struct render *r, struct value self, struct value *a, struct writer *w)
{
    size_t start = r->out.len;
    struct value indent = a[ARG_INDENT], separators = a[ARG_SEPARATORS];
    w->ascii = a[ARG_ENSURE_ASCII].kind != V_MISSING && slm_jinja_truth(a[ARG_ENSURE_ASCII]);
    w->sort = a[ARG_SORT_KEYS].kind != V_MISSING && slm_jinja_truth(a[ARG_SORT_KEYS]);
    w->indented = indent.kind != V_MISSING && indent.kind != V_NONE;
    w->item_separator = slm_str(w->indented ? "," : ", ");
    w->key_separator = slm_str(": ");
    if (indent.kind == V_STR) w->indent = text_str(indent.s);
    else if (is_int(indent)) {
        if (!slm_jinja_fill(r, ' ', as_int(indent))) return false;
        struct value spaces = slm_jinja_capture(r, start);
        if (spaces.kind == V_FAIL) return false;
        w->indent = text_str(spaces.s);
    } else if (w->indented && self.kind != V_STR) { /* json.dumps writes a string before it looks at the indent */
        return TYPE_ERROR(r, "tojson: indent must be an integer or a string").kind != V_FAIL;
    }
    if (separators.kind == V_MISSING || separators.kind == V_NONE) return true;
    bool pair = (separators.kind == V_TUPLE || separators.kind == V_LIST) && separators.list->n == 2 &&
                separators.list->items[0].kind == V_STR && separators.list->items[1].kind == V_STR;
    if (!pair) return TYPE_ERROR(r, "tojson: separators must be two strings").kind != V_FAIL;
    w->item_separator = text_str(separators.list->items[0].s);
    w->key_separator = text_str(separators.list->items[1].s);
    return true;
}

/* Returns plain text, not marked safe: transformers' version does not either. */
static struct value tojson(struct render *r, struct value self, struct value *a)
{
    struct writer w = {0};
    size_t start = r->out.len;
    if (!read_arguments(r, self, a, &w) || !put_value(r, &w, self, 0)) return v_fail();
    return slm_jinja_capture(r, start);
}

const struct builtin slm_jinja_tojson = {"tojson", tojson, 0, {"ensure_ascii", "indent", "separators", "sort_keys"},
    NULL};
