/* SPDX-License-Identifier: MIT
 * str() and repr() as Python prints them, appended to the output. A container that is being printed already shows as
 * [...] or {...}, so a namespace that holds itself prints; depth, fuel and the output limit bound the rest.
 *
 * Everything a rendering writes passes through slm_jinja_put, which is therefore the one place that checks the output
 * limit. Not here: JSON (tojson.c) and formats with widths (format.c). */
#include <stdio.h>
#include <utf8proc.h>
#include "base/utf8.h"
#include "template/value.h"

/* The containers that are being printed, innermost first. */
struct repr_frame { const void *object; const struct repr_frame *up; };

/* All text of a rendering passes here: output, captured text and strings under construction, so one
 * limit covers them. */
bool slm_jinja_put(struct render *r, const char *ptr, size_t len)
{
    if (r->status != SLM_OK || !slm_jinja_burn(r, len / 256)) return false;
    if (len == 0 || slm_buf_add(&r->out, ptr, len)) return true;
    if (r->out.failed == SLM_ERR_LIMIT)
        slm_jinja_fail(r, SLM_ERR_LIMIT, "the output is larger than the %zu bytes allowed", r->out.limit);
    else
        slm_jinja_fail(r, r->out.failed, "out of memory for the output");
    return false;
}

static bool put_text(struct render *r, const char *text) { return slm_jinja_put(r, text, strlen(text)); }

bool slm_jinja_put_char(struct render *r, uint32_t cp)
{
    char bytes[4];
    return slm_jinja_put(r, bytes, (size_t)slm_utf8_encode(cp, bytes));
}

/* n copies of a character, none if n is negative. */
bool slm_jinja_fill(struct render *r, uint32_t cp, int64_t n)
{
    for (; n > 0; n--)
        if (!slm_jinja_burn(r, (n & 31) == 0) || !slm_jinja_put_char(r, cp)) return false;
    return true;
}

/* What repr() shows as itself: neither control nor separator nor unassigned, except the space. */
static bool is_printable(uint32_t cp)
{
    if (cp < 0x7F) return cp >= 0x20;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS: case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP: case UTF8PROC_CATEGORY_ZS:
        return false;
    default: return true;
    }
}

/* Double quotes only for a text with single and without double ones. */
static bool repr_text(struct render *r, const struct text *s)
{
    bool single = memchr(s->ptr, '\'', s->len) != NULL, dbl = memchr(s->ptr, '"', s->len) != NULL;
    char quote = single && !dbl ? '"' : '\'';
    uint32_t cp;
    if (!slm_jinja_put(r, &quote, 1) || !slm_jinja_burn(r, s->len / 16)) return false;
    for (size_t i = 0, n; i < s->len; i += n) {
        char escaped[16];
        n = (size_t)slm_utf8_decode(s->ptr + i, s->len - i, &cp);
        const char *out = escaped;
        if (cp == '\\' || cp == (uint32_t)quote) snprintf(escaped, sizeof escaped, "\\%c", (char)cp);
        else if (cp == '\n') out = "\\n";
        else if (cp == '\r') out = "\\r";
        else if (cp == '\t') out = "\\t";
        else if (is_printable(cp)) out = NULL;
        else snprintf(escaped, sizeof escaped, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
        if (!slm_jinja_put(r, out ? out : s->ptr + i, out ? strlen(out) : n)) return false;
    }
    return slm_jinja_put(r, &quote, 1);
}

/* A tuple of one ends in a comma. */
static bool repr_list(struct render *r, struct value v)
{
    bool tuple = v.kind == V_TUPLE;
    if (!put_text(r, tuple ? "(" : "[")) return false;
    for (size_t i = 0; i < v.list->n; i++)
        if ((i > 0 && !put_text(r, ", ")) || !slm_jinja_repr(r, v.list->items[i])) return false;
    return put_text(r, tuple ? v.list->n == 1 ? ",)" : ")" : "]");
}

/* In the order of insertion. */
static bool repr_dict(struct render *r, const struct dict *d)
{
    if (!put_text(r, "{")) return false;
    for (size_t i = 0; i < d->n; i++)
        if ((i > 0 && !put_text(r, ", ")) || !slm_jinja_repr(r, d->entries[i].key) || !put_text(r, ": ") ||
            !slm_jinja_repr(r, d->entries[i].value))
            return false;
    return put_text(r, "}");
}

/* dict_items([...]) and its sisters. */
static bool repr_view(struct render *r, struct value v)
{
    static const char *const names[] = {"dict_keys([", "dict_values([", "dict_items(["};
    struct cursor c = {.source = v};
    if (!put_text(r, names[v.sub])) return false;
    for (size_t i = 0;; i++) {
        struct value item = slm_jinja_next(r, &c);
        if (item.kind == V_MISSING) return put_text(r, "])");
        if (item.kind == V_FAIL || (i > 0 && !put_text(r, ", ")) || !slm_jinja_repr(r, item)) return false;
    }
}

/* Containers, each at most once on the way down. */
static bool repr_container(struct render *r, struct value v)
{
    const struct repr_frame here = {v.list, r->repr_stack};
    for (const struct repr_frame *f = r->repr_stack; f; f = f->up)
        if (f->object == here.object)
            return put_text(r, v.kind == V_LIST ? "[...]" : v.kind == V_TUPLE ? "(...)" : v.kind == V_VIEW ? "..."
                : "{...}");
    if (!slm_jinja_enter(r)) return false;
    r->repr_stack = &here;
    bool ok = v.kind == V_LIST || v.kind == V_TUPLE ? repr_list(r, v)
              : v.kind == V_VIEW ? repr_view(r, v) : repr_dict(r, v.dict);
    r->repr_stack = here.up;
    r->depth--;
    return ok;
}

/* What Python prints with an address; these have no stable text, so ours is just the type. */
static bool repr_object(struct render *r, struct value v)
{
    char text[64];
    snprintf(text, sizeof text, "<%s object>", slm_jinja_type_name(v));
    return put_text(r, text);
}

/* The step only when it is not 1. */
static bool repr_range(struct render *r, const struct range *range)
{
    char text[80];
    int n = snprintf(text, sizeof text, "range(%lld, %lld", (long long)range->start, (long long)range->stop);
    if (range->step != 1) n += snprintf(text + n, sizeof text - (size_t)n, ", %lld", (long long)range->step);
    return slm_jinja_put(r, text, (size_t)n) && put_text(r, ")");
}

/* repr(): strings quoted, and everything inside containers. */
bool slm_jinja_repr(struct render *r, struct value v)
{
    char text[DOUBLE_TEXT];
    if (!slm_jinja_burn(r, 1)) return false;
    switch (v.kind) {
    case V_FAIL: return false;
    case V_UNDEFINED: return put_text(r, "Undefined");
    case V_NONE: return put_text(r, "None");
    case V_BOOL: return put_text(r, v.b ? "True" : "False");
    case V_INT: return slm_jinja_put(r, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)v.i));
    case V_FLOAT: return slm_jinja_put(r, text, slm_jinja_double_repr(v.f, text));
    case V_STR:
        if (v.sub != STR_MARKUP) return repr_text(r, v.s);
        return put_text(r, "Markup(") && repr_text(r, v.s) && put_text(r, ")");
    case V_LIST: case V_TUPLE: case V_DICT: case V_VIEW: return repr_container(r, v);
    case V_NAMESPACE: return put_text(r, "<Namespace ") && repr_container(r, v) && put_text(r, ">");
    case V_RANGE: return repr_range(r, v.range);
    default: return repr_object(r, v);
    }
}

/* str(): as repr(), but a string is itself and undefined is nothing. */
bool slm_jinja_print(struct render *r, struct value v)
{
    if (v.kind == V_STR) return slm_jinja_put(r, v.s->ptr, v.s->len);
    if (v.kind == V_UNDEFINED) return true;
    return slm_jinja_repr(r, v);
}

/* Through the end of the output, which is then cut off again. */
struct value slm_jinja_to_str(struct render *r, struct value v)
{
    size_t start = r->out.len;
    if (v.kind == V_STR || v.kind == V_FAIL) return v;
    return slm_jinja_print(r, v) ? slm_jinja_capture(r, start) : v_fail();
}
