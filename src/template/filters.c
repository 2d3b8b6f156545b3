/* SPDX-License-Identifier: MIT
 * The filters: the table, and those that work on one value. Those that work on sequences are in filters_seq.c.
 * Signatures, defaults and corner cases are jinja2's; a filter that jinja2 has and this table lacks is an error that
 * names it (urlize, pprint, wordwrap, xmlattr, random, filesizeformat, striptags, attr: for web pages, not prompts).
 *
 * A filter gets its input as self and its arguments bound to the parameters of its row, V_MISSING where none was given.
 * It returns V_FAIL after recording the error. Text that it builds goes to the end of the output and is cut off again
 * (slm_jinja_capture), so no filter needs a buffer or a limit of its own. */
#include <math.h>
#include <utf8proc.h>
#include "base/utf8.h"
#include "template/filters.h"

/* A filter that is one expression over r, self and its arguments a. */
#define FILTER(name, expression) \
    static struct value name(struct render *r, struct value self, struct value *a) \
    { (void)r, (void)self, (void)a; return (expression); }

/* Filters take str(value), so that numbers can be trimmed and lists upper-cased. */
const struct text *slm_jinja_text_of(struct render *r, struct value v)
{
    v = slm_jinja_to_str(r, v);
    return v.kind == V_FAIL ? NULL : v.s;
}

/* Truth of an optional argument. */
bool slm_jinja_flag(struct value v, bool if_missing)
{
    return v.kind == V_MISSING ? if_missing : slm_jinja_truth(v);
}

/* An optional integer argument; booleans count as integers, as in Python. false = failed. */
bool slm_jinja_int_arg(struct render *r, struct value v, int64_t if_missing, int64_t *out)
{
    *out = if_missing;
    if (v.kind == V_MISSING) return true;
    if (!is_int(v)) return TYPE_ERROR(r, "expected an integer, not %s", slm_jinja_type_name(v)).kind != V_FAIL;
    *out = as_int(v);
    return true;
}

/* The mappings are Python's, in text.c. */
static struct value case_filter(struct render *r, struct value self, int how)
{
    const struct text *s = slm_jinja_text_of(r, self);
    return s ? slm_jinja_case(r, s, how) : v_fail();
}

FILTER(f_upper, case_filter(r, self, CASE_UPPER))
FILTER(f_lower, case_filter(r, self, CASE_LOWER))
FILTER(f_capitalize, case_filter(r, self, CASE_CAPITALIZE))
/* Not str.title(): jinja2 splits words in a way of its own. */
static struct value f_title(struct render *r, struct value self, struct value *a)
{
    const struct text *s = slm_jinja_text_of(r, self);
    (void)a;
    return s ? slm_jinja_title_filter(r, s) : v_fail();
}

/* Whitespace, or the characters of a string, from both ends. */
static struct value f_trim(struct render *r, struct value self, struct value *a)
{
    const struct text *s = slm_jinja_text_of(r, self), *chars = NULL;
    if (!s) return v_fail();
    if (a[0].kind == V_STR) chars = a[0].s;
    else if (a[0].kind != V_MISSING && a[0].kind != V_NONE) return TYPE_ERROR(r, "trim: chars must be a string");
    return slm_jinja_strip(r, s, chars, STRIP_LEFT | STRIP_RIGHT);
}

/* All arguments become strings; a count of none means all. */
static struct value f_replace(struct render *r, struct value self, struct value *a)
{
    const struct text *s = slm_jinja_text_of(r, self), *from = s ? slm_jinja_text_of(r, a[0]) : NULL;
    const struct text *to = from ? slm_jinja_text_of(r, a[1]) : NULL;
    int64_t count;
    if (a[2].kind == V_NONE) a[2].kind = V_MISSING;
    return to && slm_jinja_int_arg(r, a[2], -1, &count) ? slm_jinja_replace(r, s, from, to, count) : v_fail();
}

/* For undefined values, and with boolean=true for every false one. */
static struct value f_default(struct render *r, struct value self, struct value *a)
{
    (void)r;
    bool use = self.kind == V_UNDEFINED || (slm_jinja_flag(a[1], false) && !slm_jinja_truth(self));
    return !use ? self : a[0].kind != V_MISSING ? a[0] : slm_jinja_view(r, "", 0);
}

FILTER(f_string, slm_jinja_to_str(r, self))
/* Marks the text as already escaped. Nothing is escaped automatically in a chat template, so this
 * shows only when text is added to it. */
static struct value f_safe(struct render *r, struct value self, struct value *a)
{
    (void)a;
    struct value v = slm_jinja_to_str(r, self);
    if (v.kind == V_STR) v.sub = STR_MARKUP;
    return v;
}

/* HTML entities, even in text that is marked safe. */
static struct value f_forceescape(struct render *r, struct value self, struct value *a)
{
    const struct text *s = slm_jinja_text_of(r, self);
    (void)a;
    return s ? slm_jinja_escape(r, s) : v_fail();
}

/* Leaves text alone that is marked safe. */
FILTER(f_escape, self.kind == V_STR && self.sub == STR_MARKUP ? self : f_forceescape(r, self, a))
/* int(value), then int(float(value)), then the default. */
static struct value f_int(struct render *r, struct value self, struct value *a)
{
    struct value otherwise = a[0].kind == V_MISSING ? v_int(0) : a[0];
    int64_t base, i;
    double f = 0;
    if (!slm_jinja_int_arg(r, a[1], 10, &base)) return v_fail();
    if (is_int(self)) return v_int(as_int(self));
    if (self.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, self);
    if (self.kind == V_FLOAT) return isfinite(self.f) ? slm_jinja_double_to_int(r, self.f) : otherwise;
    if (self.kind != V_STR) return otherwise;
    bool base_ok = base == 0 || (base >= 2 && base <= 36);
    int parsed = base_ok ? slm_jinja_parse_int(text_str(self.s), (int)base, &i) : 0;
    if (parsed == 1) return v_int(i);
    if (parsed < 0) return TYPE_ERROR(r, "the number does not fit a 64-bit integer");
    if (!slm_jinja_parse_double(text_str(self.s), &f) || !isfinite(f)) return otherwise;
    return slm_jinja_double_to_int(r, f);
}

/* What is no number gives the default, 0.0 unless given. */
static struct value f_float(struct render *r, struct value self, struct value *a)
{
    double f;
    if (is_number(self)) return v_float(as_double(self));
    if (self.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, self);
    if (self.kind == V_STR && slm_jinja_parse_double(text_str(self.s), &f)) return v_float(f);
    return a[0].kind == V_MISSING ? v_float(0) : a[0];
}

/* The most negative integer has no absolute value in 64 bits: an error. */
static struct value f_abs(struct render *r, struct value self, struct value *a)
{
    (void)a;
    if (self.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, self);
    if (!is_number(self)) return TYPE_ERROR(r, "bad operand type for abs(): '%s'", slm_jinja_type_name(self));
    if (self.kind == V_FLOAT) return v_float(fabs(self.f));
    return as_int(self) < 0 ? slm_jinja_negate(r, self) : v_int(as_int(self));
}

/* common: ties to even, on the exact binary value, as Python's round(). ceil and floor: over a
 * power of ten, so the result is a float. */
static struct value f_round(struct render *r, struct value self, struct value *a)
{
    int64_t precision;
    bool common = a[1].kind == V_MISSING || (a[1].kind == V_STR && slm_str_is(text_str(a[1].s), "common"));
    bool up = a[1].kind == V_STR && slm_str_is(text_str(a[1].s), "ceil");
    bool down = a[1].kind == V_STR && slm_str_is(text_str(a[1].s), "floor");
    if (!common && !up && !down) return TYPE_ERROR(r, "method must be common, ceil or floor");
    if (self.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, self);
    if (!is_number(self)) return TYPE_ERROR(r, "type %s cannot be rounded", slm_jinja_type_name(self));
    if (common && a[0].kind == V_NONE) { /* round(x, None): an integer */
        struct value v = slm_jinja_round(r, self, 0);
        return v.kind == V_FLOAT ? slm_jinja_double_to_int(r, v.f) : v;
    }
    if (common) return slm_jinja_int_arg(r, a[0], 0, &precision) ? slm_jinja_round(r, self, precision) : v_fail();
    struct value scale = slm_jinja_binary(r, OP_POW, v_int(10), a[0].kind == V_MISSING ? v_int(0) : a[0]);
    struct value v = scale.kind == V_FAIL ? scale : slm_jinja_binary(r, OP_MUL, self, scale);
    if (v.kind == V_FAIL) return v;
    if (v.kind == V_FLOAT) v = slm_jinja_double_to_int(r, up ? ceil(v.f) : floor(v.f));
    return v.kind == V_FAIL ? v : slm_jinja_binary(r, OP_DIV, v, scale);
}

FILTER(f_length, slm_jinja_length(r, self))
/* Pairs of a dict; of undefined, nothing. The result is a generator in jinja2. */
static struct value f_items(struct render *r, struct value self, struct value *a)
{
    struct builder b = {0};
    (void)a;
    if (self.kind == V_UNDEFINED) return slm_jinja_build(r, &b, V_ITER);
    if (self.kind != V_DICT) return TYPE_ERROR(r, "Can only get item pairs from a mapping.");
    for (size_t i = 0; i < self.dict->n; i++) {
        const struct entry *e = &self.dict->entries[i];
        if (!slm_jinja_push(r, &b, slm_jinja_pair(r, e->key, e->value))) return v_fail();
    }
    return slm_jinja_build(r, &b, V_ITER);
}

/* Lines after the first get the indent, blank ones only if asked; all kinds of line ends become
 * newlines, which is what Python's splitlines does to them. */
static struct value f_indent(struct render *r, struct value self, struct value *a)
{
    const struct text *s = self.s;
    size_t start = r->out.len;
    int64_t width = 4;
    if (self.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, self);
    if (self.kind != V_STR) return TYPE_ERROR(r, "indent: expected a string, not %s", slm_jinja_type_name(self));
    struct value unit = a[0];
    if (unit.kind != V_STR) {
        if (!slm_jinja_int_arg(r, unit, 4, &width)) return v_fail();
        if (!slm_jinja_fill(r, ' ', width)) return v_fail();
        unit = slm_jinja_capture(r, start);
    }
    bool first = slm_jinja_flag(a[1], false), blank = slm_jinja_flag(a[2], false);
    struct value with_end = slm_jinja_concat(r, s, &(const struct text)TEXT("\n"));
    struct value lines = with_end.kind == V_FAIL ? with_end : slm_jinja_split_lines(r, with_end.s, false);
    if (lines.kind == V_FAIL || unit.kind == V_FAIL) return v_fail();
    for (size_t i = 0; i < lines.list->n; i++) {
        const struct text *line = lines.list->items[i].s;
        bool indent = i == 0 ? first : blank || line->len > 0;
        if ((i > 0 && !slm_jinja_put(r, "\n", 1)) || (indent && !slm_jinja_put(r, unit.s->ptr, unit.s->len)) ||
            !slm_jinja_put(r, line->ptr, line->len))
            return v_fail();
    }
    return slm_jinja_capture(r, start);
}

/* str.center with a default width. */
static struct value f_center(struct render *r, struct value self, struct value *a)
{
    const struct text *s = slm_jinja_text_of(r, self);
    bool unsafe = false;
    struct value width = a[0].kind == V_MISSING ? v_int(80) : a[0];
    const struct builtin *center = slm_jinja_find_method(V_STR, slm_str("center"), &unsafe);
    return s ? slm_jinja_call_builtin(r, center, v_text(s), &(const struct call){&width, 1, NULL, 0}) : v_fail();
}

/* Cuts at a word unless killwords, and only if the text is longer than length + leeway, all in code
 * points. */
static struct value f_truncate(struct render *r, struct value self, struct value *a)
{
    int64_t length, leeway;
    static const struct text dots = TEXT("...");
    const struct text *end = a[2].kind == V_STR ? a[2].s : &dots, *s = self.s;
    if (a[3].kind == V_NONE) a[3].kind = V_MISSING;
    struct value n = slm_jinja_length(r, self);
    if (n.kind == V_FAIL) return n;
    if ((a[2].kind != V_STR && a[2].kind != V_MISSING))
        return TYPE_ERROR(r, "truncate: the end must be a string");
    if (!slm_jinja_int_arg(r, a[0], 255, &length) || !slm_jinja_int_arg(r, a[3], 5, &leeway)) return v_fail();
    if (length < (int64_t)end->n_chars || leeway < 0) return TYPE_ERROR(r, "truncate: length too small");
    if (length >= INT64_MAX - leeway || n.i <= length + leeway) return self;
    if (self.kind != V_STR) return TYPE_ERROR(r, "truncate: expected a string, not %s", slm_jinja_type_name(self));
    size_t cut = slm_jinja_byte_of(s, (size_t)(length - (int64_t)end->n_chars));
    if (!slm_jinja_flag(a[1], false)) {
        size_t space = cut;
        while (space > 0 && s->ptr[space - 1] != ' ') space--;
        if (space > 0) cut = space - 1;
    }
    struct value head = slm_jinja_slice_text(r, s, 0, cut);
    return head.kind == V_FAIL ? head : slm_jinja_concat(r, head.s, end);
}

/* Runs of word characters: letters, digits, underscore (the \\w of Python's regular expressions).
 * */
static struct value f_wordcount(struct render *r, struct value self, struct value *a)
{
    const struct text *s = slm_jinja_text_of(r, self);
    int64_t words = 0;
    bool inside = false;
    uint32_t cp;
    (void)a;
    if (!s || !slm_jinja_burn(r, 1 + s->len / 8)) return v_fail();
    for (size_t i = 0; i < s->len; i += (size_t)slm_utf8_decode(s->ptr + i, s->len - i, &cp)) {
        slm_utf8_decode(s->ptr + i, s->len - i, &cp);
        utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
        bool word = cp == '_' || (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) ||
                    (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO);
        words += word && !inside;
        inside = word;
    }
    return v_int(words);
}

/* Percent-encoding of the UTF-8 bytes. In a query a space is a plus and a slash is encoded too. */
static bool put_quoted(struct render *r, struct value v, bool query)
{
    const struct text *s = slm_jinja_text_of(r, v);
    for (size_t i = 0; s && i < s->len; i++) {
        unsigned char c = (unsigned char)s->ptr[i];
        char hex[3] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
        bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '.' ||
                     c == '-' || c == '~' || (c == '/' && !query);
        if (!(c == ' ' && query ? slm_jinja_put(r, "+", 1) : plain ? slm_jinja_put(r, s->ptr + i, 1)
                                                                   : slm_jinja_put(r, hex, 3)))
            return false;
    }
    return s != NULL;
}

/* A string is quoted; a dict or a list of pairs becomes a query. */
static struct value f_urlencode(struct render *r, struct value self, struct value *a)
{
    struct cursor c;
    size_t start = r->out.len;
    (void)a;
    if (self.kind == V_STR || !slm_jinja_is_iterable(self))
        return put_quoted(r, self, false) ? slm_jinja_capture(r, start) : v_fail();
    if (self.kind == V_DICT) self = (struct value){.kind = V_VIEW, .sub = VIEW_ITEMS, .dict = self.dict};
    if (!slm_jinja_iterate(r, self, &c)) return v_fail();
    for (size_t i = 0;; i++) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return slm_jinja_capture(r, start);
        size_t mark = r->out.len;
        const struct list *pair = v.kind == V_FAIL ? NULL : slm_jinja_to_list(r, v);
        if (!pair || pair->n != 2) return TYPE_ERROR(r, "urlencode: expected pairs");
        r->out.len = mark;
        if ((i > 0 && !slm_jinja_put(r, "&", 1)) || !put_quoted(r, pair->items[0], true) ||
            !slm_jinja_put(r, "=", 1) || !put_quoted(r, pair->items[1], true))
            return v_fail();
    }
}

/* '%s-%s'|format(a, b), or with names for '%(name)s'. */
static struct value f_format(struct render *r, struct value self, const struct call *call)
{
    const struct text *s = slm_jinja_text_of(r, self);
    struct value d = slm_jinja_dict(r);
    struct builder b = {call->args, call->n_args, call->n_args};
    if (!s || d.kind == V_FAIL) return v_fail();
    if (call->n_args && call->n_keywords)
        return TYPE_ERROR(r, "can't handle positional and keyword arguments at the same time");
    for (size_t i = 0; i < call->n_keywords; i++)
        if (!slm_jinja_dict_set(r, d.dict, v_text(call->keywords[i].name), call->keywords[i].value)) return v_fail();
    struct value args = call->n_keywords ? d : slm_jinja_build(r, &b, V_TUPLE);
    return args.kind == V_FAIL ? args : slm_jinja_percent_format(r, s, args);
}

/* Sorted by nothing: a template resolves its filters once, when it is parsed. */
static const struct builtin filters[] = {
    {"trim", f_trim, 0, {"chars"}, NULL},
    {"length", f_length, 0, {0}, NULL},
    {"count", f_length, 0, {0}, NULL},
    {"default", f_default, 0, {"default_value", "boolean"}, NULL},
    {"d", f_default, 0, {"default_value", "boolean"}, NULL},
    {"upper", f_upper, 0, {0}, NULL},
    {"lower", f_lower, 0, {0}, NULL},
    {"title", f_title, 0, {0}, NULL},
    {"capitalize", f_capitalize, 0, {0}, NULL},
    {"replace", f_replace, 2, {"old", "new", "count"}, NULL},
    {"string", f_string, 0, {0}, NULL},
    {"safe", f_safe, 0, {0}, NULL},
    {"escape", f_escape, 0, {0}, NULL},
    {"e", f_escape, 0, {0}, NULL},
    {"forceescape", f_forceescape, 0, {0}, NULL},
    {"int", f_int, 0, {"default", "base"}, NULL},
    {"float", f_float, 0, {"default"}, NULL},
    {"abs", f_abs, 0, {0}, NULL},
    {"round", f_round, 0, {"precision", "method"}, NULL},
    {"items", f_items, 0, {0}, NULL},
    {"indent", f_indent, 0, {"width", "first", "blank"}, NULL},
    {"center", f_center, 0, {"width"}, NULL},
    {"truncate", f_truncate, 0, {"length", "killwords", "end", "leeway"}, NULL},
    {"wordcount", f_wordcount, 0, {0}, NULL},
    {"urlencode", f_urlencode, 0, {0}, NULL},
    {.name = "format", .raw = f_format},
};

/* Linear search: a template looks its filters up once, when it is parsed; only map('name') does so
 * later. */
const struct builtin *slm_jinja_find_filter(struct slm_str name)
{
    const struct builtin *b = slm_jinja_find_in(filters, sizeof filters / sizeof *filters, name);
    if (!b) b = slm_jinja_find_in(slm_jinja_sequence_filters, slm_jinja_n_sequence_filters, name);
    return b ? b : slm_str_is(name, "tojson") ? &slm_jinja_tojson : NULL;
}
