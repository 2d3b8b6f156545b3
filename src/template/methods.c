/* SPDX-License-Identifier: MIT
 * Methods of str, dict, list, tuple and cycler, and the global functions.
 * Methods that would change a list or dict are known by name only: the sandbox makes them undefined.
 *
 * Tables name the parameters as Python does; "/" is one that cannot be named. Indexes that a template gives or gets are
 * code points, while the text is searched as bytes: in UTF-8 a match of whole characters is a match of bytes. Pieces
 * share the bytes of the text they were cut from. What costs more than a step pays by its length, so that a loop over
 * a method is bounded like a loop over anything else.
 *
 * Not here: methods that nobody has seen in a chat template (encode, translate, expandtabs ...; docs/templates.md lists
 * them), attributes of numbers, and filters, which look alike but follow jinja2's rules, not Python's. */
#include <utf8proc.h>
#include "base/utf8.h"
#include "template/eval.h"

/* A method or function that is one expression over r, self and its arguments a. */
#define METHOD(name, expression) \
    static struct value name(struct render *r, struct value self, struct value *a) \
    { (void)r, (void)self, (void)a; return (expression); }

/* ---- arguments ---------------------------------------------------------------------------------------------- */

/* NULL = failed, or V_MISSING/None with optional. */
static const struct text *text_arg(struct render *r, struct value v, bool optional)
{
    if (v.kind == V_STR) return v.s;
    if (!(optional && (v.kind == V_MISSING || v.kind == V_NONE)))
        v.kind == V_UNDEFINED ? slm_jinja_use_undefined(r, v)
                              : TYPE_ERROR(r, "expected a string, not %s", slm_jinja_type_name(v));
    return NULL;
}

/* false = failed. */
static bool int_arg(struct render *r, struct value v, int64_t if_missing, int64_t *out)
{
    *out = if_missing;
    if (v.kind == V_MISSING) return true;
    if (is_int(v)) {
        *out = as_int(v);
        return true;
    }
    return TYPE_ERROR(r, "'%s' object cannot be interpreted as an integer", slm_jinja_type_name(v)).kind != V_FAIL;
}

/* ---- str ---------------------------------------------------------------------------------------------------- */

/* None and nothing both mean whitespace. */
static struct value strip(struct render *r, struct value self, struct value arg, int sides)
{
    const struct text *chars = text_arg(r, arg, true);
    return r->status == SLM_OK ? slm_jinja_strip(r, self.s, chars, sides) : v_fail();
}

/* The argument a[0], if any, is a set of characters, not an affix. */
METHOD(str_strip, strip(r, self, a[0], STRIP_LEFT | STRIP_RIGHT))
METHOD(str_lstrip, strip(r, self, a[0], STRIP_LEFT))
METHOD(str_rstrip, strip(r, self, a[0], STRIP_RIGHT))
/* Case: full Unicode mappings (text.c). */
METHOD(str_upper, slm_jinja_case(r, self.s, CASE_UPPER))
METHOD(str_lower, slm_jinja_case(r, self.s, CASE_LOWER))
METHOD(str_title, slm_jinja_case(r, self.s, CASE_TITLE))
METHOD(str_capitalize, slm_jinja_case(r, self.s, CASE_CAPITALIZE))
METHOD(str_swapcase, slm_jinja_case(r, self.s, CASE_SWAP))
/* start and end of an optional [start, end) in code points, as bytes; false = failed. */
static bool text_window(struct render *r, const struct text *s, struct value start, struct value end, size_t *from,
                        size_t *to, bool *empty)
{
    int64_t n = (int64_t)s->n_chars, a, b;
    if (start.kind == V_NONE) start.kind = V_MISSING;
    if (end.kind == V_NONE) end.kind = V_MISSING;
    if (!int_arg(r, start, 0, &a) || !int_arg(r, end, n, &b) || !slm_jinja_burn(r, 1 + s->len / 64)) return false;
    if (a < 0) a = a < -n ? 0 : a + n;
    if (b < 0) b = b < -n ? 0 : b + n;
    if (b > n) b = n;
    *empty = a > b || a > n;
    *from = *empty ? 0 : slm_jinja_byte_of(s, (size_t)a);
    *to = *empty ? 0 : slm_jinja_byte_of(s, (size_t)b);
    return true;
}

/* startswith and endswith: one string, or any of a tuple of them, within a window. */
static struct value affix(struct render *r, struct value self, struct value *a, bool at_end)
{
    size_t from, to;
    bool empty;
    if (!text_window(r, self.s, a[1], a[2], &from, &to, &empty)) return v_fail();
    struct value one[1] = {a[0]};
    const struct list single = {one, 1}, *candidates = a[0].kind == V_TUPLE ? a[0].list : &single;
    for (size_t i = 0; i < candidates->n; i++) {
        const struct text *t = text_arg(r, candidates->items[i], false);
        if (!t || !slm_jinja_burn(r, 1 + t->len / 64)) return v_fail();
        if (!empty && t->len <= to - from &&
            (t->len == 0 || memcmp(self.s->ptr + (at_end ? to - t->len : from), t->ptr, t->len) == 0))
            return v_bool(true);
    }
    return v_bool(false);
}

/* a[0] the affix or a tuple of them, a[1] and a[2] the window. */
METHOD(str_startswith, affix(r, self, a, false))
METHOD(str_endswith, affix(r, self, a, true))
/* Leaves the text alone when the affix is not there. */
static struct value remove_affix(struct render *r, struct value self, struct value arg, bool at_end)
{
    const struct text *t = text_arg(r, arg, false);
    if (!t) return v_fail();
    size_t n = self.s->len;
    if (t->len > n || memcmp(self.s->ptr + (at_end ? n - t->len : 0), t->ptr, t->len) != 0) return self;
    return slm_jinja_slice_text(r, self.s, at_end ? 0 : t->len, at_end ? n - t->len : n);
}

METHOD(str_removeprefix, remove_affix(r, self, a[0], false))
METHOD(str_removesuffix, remove_affix(r, self, a[0], true))
/* The last occurrence inside [from, to), SIZE_MAX = none. Bytes. */
static size_t find_last(struct slm_str hay, struct slm_str needle, size_t from, size_t to)
{
    if (needle.len > to - from) return SIZE_MAX;
    for (size_t i = to - needle.len + 1; i-- > from;)
        if (needle.len == 0 || (hay.ptr[i] == needle.ptr[0] && memcmp(hay.ptr + i, needle.ptr, needle.len) == 0))
            return i;
    return SIZE_MAX;
}

/* find, rfind, index, rindex. Searching is by bytes, which is safe in UTF-8; the answer is in code
 * points. */
static struct value find(struct render *r, struct value self, struct value *a, bool last, bool must)
{
    const struct text *needle = text_arg(r, a[0], false);
    size_t from, to, at = SIZE_MAX;
    bool empty;
    if (!needle || !text_window(r, self.s, a[1], a[2], &from, &to, &empty)) return v_fail();
    struct slm_str window = {self.s->ptr, to};
    if (last && !slm_jinja_burn(r, (to - from) * (needle->len < 64 ? 1 : needle->len / 64) / 16)) return v_fail();
    if (!empty) at = last ? find_last(window, text_str(needle), from, to) : slm_jinja_find(window, text_str(needle),
        from);
    if (at == SIZE_MAX) return must ? TYPE_ERROR(r, "substring not found") : v_int(-1);
    int64_t chars = 0;
    for (size_t i = 0; i < at; i++) chars += ((unsigned char)self.s->ptr[i] & 0xC0) != 0x80;
    return v_int(chars);
}

/* a[0] needle, a[1] and a[2] window; index and rindex fail where find says -1. */
METHOD(str_find, find(r, self, a, false, false))
METHOD(str_rfind, find(r, self, a, true, false))
METHOD(str_index, find(r, self, a, false, true))
METHOD(str_rindex, find(r, self, a, true, true))

/* Occurrences that do not overlap. The empty string is found between all characters. */
static struct value str_count(struct render *r, struct value self, struct value *a)
{
    const struct text *needle = text_arg(r, a[0], false);
    /* a[0] needle, a[1] and a[2] window */
    size_t from, to;
    bool empty;
    int64_t n = 0;
    if (!needle || !text_window(r, self.s, a[1], a[2], &from, &to, &empty)) return v_fail();
    if (empty) return v_int(0);
    if (needle->len == 0) {
        for (; from < to; from++) n += ((unsigned char)self.s->ptr[from] & 0xC0) != 0x80;
        return v_int(n + 1);
    }
    while ((from = slm_jinja_find((struct slm_str){self.s->ptr, to}, text_str(needle), from)) != SIZE_MAX) {
        from += needle->len;
        n++;
    }
    return v_int(n);
}

/* A negative count means all. */
static struct value str_replace(struct render *r, struct value self, struct value *a)
{
    const struct text *from = text_arg(r, a[0], false), *to = from ? text_arg(r, a[1], false) : NULL;
    int64_t count;
    if (!from || !to || !int_arg(r, a[2], -1, &count)) return v_fail();
    return slm_jinja_replace(r, self.s, from, to, count);
}

/* Length in bytes of the whitespace character that ends at `end`, 0 = none. */
static size_t space_before(const struct text *s, size_t end)
{
    uint32_t cp = 0;
    size_t i = end - 1;
    while (i > 0 && ((unsigned char)s->ptr[i] & 0xC0) == 0x80) i--;
    slm_utf8_decode(s->ptr + i, end - i, &cp);
    return slm_jinja_is_space(cp) ? end - i : 0;
}

/* Length in bytes of the whitespace character at i, 0 = none. */
static size_t space_here(const struct text *s, size_t i)
{
    uint32_t cp = 0;
    int n = slm_utf8_decode(s->ptr + i, s->len - i, &cp);
    return slm_jinja_is_space(cp) ? (size_t)n : 0;
}

/* split() without a separator: words between any whitespace. What is left over by a limit keeps its whitespace on the
 * right. */
static struct value split_words(struct render *r, const struct text *s, int64_t max)
{
    struct builder b = {0};
    if (!slm_jinja_burn(r, 1 + s->len / 8)) return v_fail();
    for (size_t i = 0; i < s->len;) {
        size_t n = space_here(s, i), end = i;
        i += n;
        if (n > 0) continue;
        if (max >= 0 && (int64_t)b.n == max) {
            if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, i, s->len))) return v_fail();
            break;
        }
        while (end < s->len && space_here(s, end) == 0)
            do end++;
            while (end < s->len && ((unsigned char)s->ptr[end] & 0xC0) == 0x80);
        if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, i, end))) return v_fail();
        i = end;
    }
    return slm_jinja_build(r, &b, V_LIST);
}

/* rsplit finds the pieces from the end. */
static struct value reversed_list(struct render *r, const struct builder *b)
{
    for (size_t i = 0; i < b->n / 2; i++) {
        struct value swap = b->items[i];
        b->items[i] = b->items[b->n - 1 - i];
        b->items[b->n - 1 - i] = swap;
    }
    return slm_jinja_build(r, b, V_LIST);
}

/* split() from the right; what is left over keeps the whitespace on its left. */
static struct value rsplit_words(struct render *r, const struct text *s, int64_t max)
{
    struct builder b = {0};
    size_t end = s->len, n, start;
    if (!slm_jinja_burn(r, 1 + s->len / 8)) return v_fail();
    for (;; end = start) {
        while (end > 0 && (n = space_before(s, end)) > 0) end -= n;
        if (end == 0) break;
        start = end;
        if (max >= 0 && (int64_t)b.n == max) {
            if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, 0, end))) return v_fail();
            break;
        }
        while (start > 0 && space_before(s, start) == 0)
            do start--;
            while (start > 0 && ((unsigned char)s->ptr[start] & 0xC0) == 0x80);
        if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, start, end))) return v_fail();
    }
    return reversed_list(r, &b);
}

/* Pieces share the bytes of the text, so splitting a long message copies nothing. */
static struct value str_split(struct render *r, struct value self, struct value *a)
{
    const struct text *sep = text_arg(r, a[0], true), *s = self.s;
    /* a[0] separator, a[1] most splits */
    struct builder b = {0};
    int64_t max;
    size_t from = 0, at;
    if (r->status != SLM_OK || !int_arg(r, a[1], -1, &max)) return v_fail();
    if (!sep) return split_words(r, s, max);
    if (sep->len == 0) return TYPE_ERROR(r, "empty separator");
    if (!slm_jinja_burn(r, 1 + s->len / 32)) return v_fail();
    /* a negative limit never reaches zero: no limit */
    for (; max != 0 && (at = slm_jinja_find(text_str(s), text_str(sep), from)) != SIZE_MAX; max -= max > 0) {
        if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, from, at))) return v_fail();
        from = at + sep->len;
    }
    if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, from, s->len))) return v_fail();
    return slm_jinja_build(r, &b, V_LIST);
}

/* The same from the right; without a limit the result is that of split. */
static struct value str_rsplit(struct render *r, struct value self, struct value *a)
{
    const struct text *sep = text_arg(r, a[0], true), *s = self.s;
    /* a[0] separator, a[1] most splits */
    struct builder b = {0};
    int64_t max;
    size_t end = s->len, at;
    if (r->status != SLM_OK || !int_arg(r, a[1], -1, &max)) return v_fail();
    if (!sep) return rsplit_words(r, s, max);
    if (sep->len == 0) return TYPE_ERROR(r, "empty separator");
    if (!slm_jinja_burn(r, 1 + s->len * (1 + sep->len / 64) / 16)) return v_fail();
    for (; max != 0 && (at = find_last(text_str(s), text_str(sep), 0, end)) != SIZE_MAX; max -= max > 0) {
        if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, at + sep->len, end))) return v_fail();
        end = at;
    }
    if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, 0, end))) return v_fail();
    return reversed_list(r, &b);
}

/* (before, separator, after); where there is no separator, the text stands first, or last for
 * rpartition. */
static struct value partition(struct render *r, struct value self, struct value arg, bool last)
{
    const struct text *sep = text_arg(r, arg, false), *s = self.s;
    struct value out = slm_jinja_list(r, V_TUPLE, 3), nothing = slm_jinja_view(r, "", 0);
    if (!sep || out.kind == V_FAIL || nothing.kind == V_FAIL) return v_fail();
    if (sep->len == 0) return TYPE_ERROR(r, "empty separator");
    if (!slm_jinja_burn(r, 1 + s->len * (1 + sep->len / 64) / 16)) return v_fail();
    size_t at = last ? find_last(text_str(s), text_str(sep), 0, s->len) : slm_jinja_find(text_str(s), text_str(sep), 0);
    struct value *items = out.list->items;
    items[0] = items[1] = items[2] = nothing;
    if (at == SIZE_MAX) {
        items[last ? 2 : 0] = self;
        return out;
    }
    items[0] = slm_jinja_slice_text(r, s, 0, at);
    items[1] = arg;
    items[2] = slm_jinja_slice_text(r, s, at + sep->len, s->len);
    return r->status == SLM_OK ? out : v_fail();
}

METHOD(str_partition, partition(r, self, a[0], false))
METHOD(str_rpartition, partition(r, self, a[0], true))
METHOD(str_splitlines, slm_jinja_split_lines(r, self.s, a[0].kind != V_MISSING && slm_jinja_truth(a[0])))
/* Unlike the filter, items have to be strings. */
static struct value str_join(struct render *r, struct value self, struct value *a)
{
    struct cursor c;
    size_t start = r->out.len;
    if (!slm_jinja_iterate(r, a[0], &c)) return v_fail();
    for (size_t i = 0;; i++) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return slm_jinja_capture(r, start);
        const struct text *t = v.kind == V_FAIL ? NULL : text_arg(r, v, false);
        if (!t || (i > 0 && !slm_jinja_put(r, self.s->ptr, self.s->len)) || !slm_jinja_put(r, t->ptr, t->len))
            return v_fail();
    }
}

/* Padding to a width; '^' is center. */
static struct value justify(struct render *r, struct value self, struct value *a, char align)
{
    int64_t width, n = (int64_t)self.s->n_chars;
    size_t start = r->out.len;
    uint32_t fill = ' ';
    if (!int_arg(r, a[0], 0, &width)) return v_fail();
    if (a[1].kind != V_MISSING) {
        if (a[1].kind != V_STR || a[1].s->n_chars != 1)
            return TYPE_ERROR(r, "the fill character must be exactly one character long");
        slm_utf8_decode(a[1].s->ptr, a[1].s->len, &fill);
    }
    /* where a centred text cannot sit in the middle, CPython's formula decides */
    int64_t pad = width > n ? width - n : 0;
    int64_t left = align == '>' ? pad : align == '^' ? pad / 2 + (pad & width & 1) : 0;
    if (!slm_jinja_fill(r, fill, left) || !slm_jinja_put(r, self.s->ptr, self.s->len) ||
        !slm_jinja_fill(r, fill, pad - left))
        return v_fail();
    return slm_jinja_capture(r, start);
}

/* a[0] width in code points, a[1] the character to fill with. */
METHOD(str_ljust, justify(r, self, a, '<'))
METHOD(str_rjust, justify(r, self, a, '>'))
METHOD(str_center, justify(r, self, a, '^'))

/* Zeros go behind a sign. */
static struct value str_zfill(struct render *r, struct value self, struct value *a)
{
    int64_t width;
    size_t start = r->out.len;
    const struct text *s = self.s;
    if (!int_arg(r, a[0], 0, &width)) return v_fail();
    size_t sign = s->len > 0 && (s->ptr[0] == '-' || s->ptr[0] == '+');
    if (!slm_jinja_put(r, s->ptr, sign) || !slm_jinja_fill(r, '0', width - (int64_t)s->n_chars) ||
        !slm_jinja_put(r, s->ptr + sign, s->len - sign))
        return v_fail();
    return slm_jinja_capture(r, start);
}

/* All characters are of a kind, and there is at least one. */
static struct value all_chars(struct render *r, struct value self, bool (*is)(uint32_t))
{
    /* stops at the first that is not */
    uint32_t cp;
    if (!slm_jinja_burn(r, 1 + self.s->len / 8)) return v_fail();
    for (size_t i = 0; i < self.s->len; i += (size_t)slm_utf8_decode(self.s->ptr + i, self.s->len - i, &cp)) {
        slm_utf8_decode(self.s->ptr + i, self.s->len - i, &cp);
        if (!is(cp)) return v_bool(false);
    }
    return v_bool(self.s->len > 0);
}

/* The letter categories of Unicode. */
static bool is_alpha(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}
/* Decimal digits and the superscripts; Python knows a few more digits in other scripts' circles and
 * brackets. */
static bool is_digit(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 ||
           cp == 0x2070 || (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089);
}
/* Numbers of every kind, except the Chinese numerals that are letters to Unicode. */
static bool is_numeric(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return is_digit(cp) || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}
static bool is_alnum(uint32_t cp) { return is_alpha(cp) || is_numeric(cp); }
static bool is_ascii(uint32_t cp) { return cp < 128; }

/* False for the empty string, except isascii. */
METHOD(str_isalpha, all_chars(r, self, is_alpha))
METHOD(str_isdigit, all_chars(r, self, is_digit))
METHOD(str_isnumeric, all_chars(r, self, is_numeric))
METHOD(str_isalnum, all_chars(r, self, is_alnum))
METHOD(str_isspace, all_chars(r, self, slm_jinja_is_space))
METHOD(str_isascii, self.s->len == 0 ? v_bool(true) : all_chars(r, self, is_ascii))
METHOD(str_islower, slm_jinja_is_cased(r, self.s, false))
METHOD(str_isupper, slm_jinja_is_cased(r, self.s, true))
/* Those that chat templates use, and their neighbours. "/" is a parameter without a name, as most
 * of Python's are. */
static const struct builtin str_methods[] = {
    {"strip", str_strip, 0, {"/"}, NULL},
    {"lstrip", str_lstrip, 0, {"/"}, NULL},
    {"rstrip", str_rstrip, 0, {"/"}, NULL},
    {"upper", str_upper, 0, {0}, NULL},
    {"lower", str_lower, 0, {0}, NULL},
    {"title", str_title, 0, {0}, NULL},
    {"capitalize", str_capitalize, 0, {0}, NULL},
    {"swapcase", str_swapcase, 0, {0}, NULL},
    {"startswith", str_startswith, 1, {"/", "/", "/"}, NULL},
    {"endswith", str_endswith, 1, {"/", "/", "/"}, NULL},
    {"removeprefix", str_removeprefix, 1, {"/"}, NULL},
    {"removesuffix", str_removesuffix, 1, {"/"}, NULL},
    {"find", str_find, 1, {"/", "/", "/"}, NULL},
    {"rfind", str_rfind, 1, {"/", "/", "/"}, NULL},
    {"index", str_index, 1, {"/", "/", "/"}, NULL},
    {"rindex", str_rindex, 1, {"/", "/", "/"}, NULL},
    {"count", str_count, 1, {"/", "/", "/"}, NULL},
    {"replace", str_replace, 2, {"/", "/", "/"}, NULL},
    {"split", str_split, 0, {"sep", "maxsplit"}, NULL},
    {"rsplit", str_rsplit, 0, {"sep", "maxsplit"}, NULL},
    {"partition", str_partition, 1, {"/"}, NULL},
    {"rpartition", str_rpartition, 1, {"/"}, NULL},
    {"splitlines", str_splitlines, 0, {"keepends"}, NULL},
    {"join", str_join, 1, {"/"}, NULL},
    {"ljust", str_ljust, 1, {"/", "/"}, NULL},
    {"rjust", str_rjust, 1, {"/", "/"}, NULL},
    {"center", str_center, 1, {"/", "/"}, NULL},
    {"zfill", str_zfill, 1, {"/"}, NULL},
    {"isalpha", str_isalpha, 0, {0}, NULL},
    {"isdigit", str_isdigit, 0, {0}, NULL},
    {"isnumeric", str_isnumeric, 0, {0}, NULL},
    {"isalnum", str_isalnum, 0, {0}, NULL},
    {"isspace", str_isspace, 0, {0}, NULL},
    {"isascii", str_isascii, 0, {0}, NULL},
    {"islower", str_islower, 0, {0}, NULL},
    {"isupper", str_isupper, 0, {0}, NULL},
    {.name = "format", .raw = slm_jinja_str_format},
};

/* ---- dict, list, tuple, cycler ------------------------------------------------------------------------------ */

/* None when there is neither the key nor a default. */
static struct value dict_get(struct render *r, struct value self, struct value *a)
{
    struct value v = slm_jinja_dict_get(r, self.dict, a[0]);
    return v.kind != V_MISSING ? v : a[1].kind != V_MISSING ? a[1] : v_none();
}

/* keys(), values() and items() look at the dict; they copy nothing. */
static struct value view(struct value self, uint8_t which)
{
    return (struct value){.kind = V_VIEW, .sub = which, .dict = self.dict};
}

METHOD(dict_keys, view(self, VIEW_KEYS))
METHOD(dict_values, view(self, VIEW_VALUES))
METHOD(dict_items, view(self, VIEW_ITEMS))
static struct value itself(struct render *r, struct value self, struct value *a) /* copy() of what never changes */
{
    (void)r, (void)a;
    return self;
}

/* By equality; an error when it is not there. */
static struct value list_index(struct render *r, struct value self, struct value *a)
{
    for (size_t i = 0; i < self.list->n; i++) {
        int same = slm_jinja_equal(r, self.list->items[i], a[0]);
        if (same != 0) return same < 0 ? v_fail() : v_int((int64_t)i);
    }
    return TYPE_ERROR(r, "the value is not in the list");
}

/* By equality. */
static struct value list_count(struct render *r, struct value self, struct value *a)
{
    int64_t n = 0;
    for (size_t i = 0; i < self.list->n; i++) {
        int same = slm_jinja_equal(r, self.list->items[i], a[0]);
        if (same < 0) return v_fail();
        n += same;
    }
    return v_int(n);
}

/* The current one; then moves on. */
static struct value cycler_next(struct render *r, struct value self, struct value *a)
{
    (void)r, (void)a;
    size_t i = self.cycler->pos;
    self.cycler->pos = (i + 1) % self.cycler->items->n;
    return self.cycler->items->items[i];
}

/* Back to the first. */
static struct value cycler_reset(struct render *r, struct value self, struct value *a)
{
    (void)r, (void)a;
    self.cycler->pos = 0;
    return v_none();
}

/* What does not change a dict, a list, a tuple (the first two of the list's) or only moves a cycler. */
static const struct builtin dict_methods[] = {
    {"get", dict_get, 1, {"/", "/"}, NULL}, {"keys", dict_keys, 0, {0}, NULL}, {"values", dict_values, 0, {0}, NULL},
    {"items", dict_items, 0, {0}, NULL},    {"copy", itself, 0, {0}, NULL},
};
static const struct builtin list_methods[] = {
    {"index", list_index, 1, {"/"}, NULL}, {"count", list_count, 1, {"/"}, NULL}, {"copy", itself, 0, {0}, NULL}};
static const struct builtin cycler_methods[] = {{"next", cycler_next, 0, {0}, NULL},
                                                {"reset", cycler_reset, 0, {0}, NULL}};

/* NULL = not in the table. */
const struct builtin *slm_jinja_find_in(const struct builtin *table, size_t n, struct slm_str name)
{
    for (size_t i = 0; i < n; i++)
        if (slm_str_is(name, table[i].name)) return &table[i];
    return NULL;
}

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* The sandbox refuses what would change a list or a dict: jinja2 turns those names into an
 * undefined value whose use is an error, so they are told apart from names that do not exist. */
const struct builtin *slm_jinja_find_method(enum value_kind kind, struct slm_str name, bool *unsafe)
{
    static const char *const changing_list[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend",
                                                "remove"};
    static const char *const changing_dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    /* tables by kind; a kind without one has no methods */
    const char *const *changing = kind == V_LIST ? changing_list : changing_dict;
    size_t n = kind == V_LIST ? COUNT(changing_list) : kind == V_DICT ? COUNT(changing_dict) : 0;
    for (size_t i = 0; i < n; i++)
        if (slm_str_is(name, changing[i])) *unsafe = true;
    switch (kind) {
    case V_STR: return slm_jinja_find_in(str_methods, COUNT(str_methods), name);
    case V_DICT: return slm_jinja_find_in(dict_methods, COUNT(dict_methods), name);
    case V_LIST: return slm_jinja_find_in(list_methods, COUNT(list_methods), name);
    case V_TUPLE: return slm_jinja_find_in(list_methods, 2, name); /* no copy() */
    case V_CYCLER: return slm_jinja_find_in(cycler_methods, COUNT(cycler_methods), name);
    default: return NULL;
    }
}

/* ---- global functions --------------------------------------------------------------------------------------- */

enum { MAX_RANGE = 100000 }; /* as jinja2's sandbox */

/* Lazy, as Python's: three numbers, however long. Lengths are computed unsigned, where nothing
 * overflows. */
static struct value global_range(struct render *r, struct value self, struct value *a)
{
    /* one argument is the stop */
    int64_t start, stop, step;
    (void)self;
    if (!int_arg(r, a[0], 0, &start) || !int_arg(r, a[1], 0, &stop) || !int_arg(r, a[2], 1, &step)) return v_fail();
    if (a[1].kind == V_MISSING) {
        stop = start;
        start = 0;
    }
    if (step == 0) return TYPE_ERROR(r, "range() arg 3 must not be zero");
    uint64_t span = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    bool empty = step > 0 ? stop <= start : stop >= start;
    uint64_t n = empty ? 0 : (span - 1) / stride + 1;
    if (n > MAX_RANGE)
        return slm_jinja_fail(r, SLM_ERR_LIMIT, "range too big: at most %d items are allowed", MAX_RANGE);
    struct range *range = slm_jinja_alloc(r, 1, sizeof *range);
    if (!range) return v_fail();
    *range = (struct range){start, stop, step, (int64_t)n};
    return (struct value){.kind = V_RANGE, .range = range};
}

/* dict(mapping or pairs, **more); namespace() takes the same. */
static struct value global_dict(struct render *r, struct value self, const struct call *call)
{
    struct value d = slm_jinja_dict(r);
    (void)self;
    if (d.kind == V_FAIL || call->n_args > 1) return TYPE_ERROR(r, "expected at most one argument that is not named");
    /* a mapping is copied; anything else has to yield pairs */
    struct value from = call->n_args ? call->args[0] : v_missing();
    for (size_t i = 0; from.kind == V_DICT && i < from.dict->n; i++)
        if (!slm_jinja_dict_set(r, d.dict, from.dict->entries[i].key, from.dict->entries[i].value)) return v_fail();
    if (call->n_args && from.kind != V_DICT) {
        const struct list *pairs = slm_jinja_to_list(r, from);
        for (size_t i = 0; pairs && i < pairs->n; i++) {
            const struct list *pair = slm_jinja_to_list(r, pairs->items[i]);
            if (!pair) return v_fail();
            if (pair->n != 2) return TYPE_ERROR(r, "dict() wants pairs; element %zu has %zu items", i, pair->n);
            if (!slm_jinja_dict_set(r, d.dict, pair->items[0], pair->items[1])) return v_fail();
        }
        if (!pairs) return v_fail();
    }
    for (size_t i = 0; i < call->n_keywords; i++)
        if (!slm_jinja_dict_set(r, d.dict, v_text(call->keywords[i].name), call->keywords[i].value)) return v_fail();
    return d;
}

/* The only value with attributes that can be assigned. */
static struct value global_namespace(struct render *r, struct value self, const struct call *call)
{
    struct value d = global_dict(r, self, call);
    if (d.kind == V_DICT) d.kind = V_NAMESPACE;
    return d;
}

/* At least one item, or there would be nothing to cycle through. */
static struct value global_cycler(struct render *r, struct value self, const struct call *call)
{
    (void)self;
    if (call->n_args == 0 || call->n_keywords) return TYPE_ERROR(r, "at least one item has to be provided");
    struct cycler *c = slm_jinja_alloc(r, 1, sizeof *c);
    struct builder b = {call->args, call->n_args, call->n_args};
    struct value items = slm_jinja_build(r, &b, V_TUPLE);
    if (!c || items.kind == V_FAIL) return v_fail();
    c->items = items.list;
    return (struct value){.kind = V_CYCLER, .cycler = c};
}

/* Empty the first time it is called, the separator from then on. */
static struct value global_joiner(struct render *r, struct value self, struct value *a)
{
    (void)self;
    struct value separator = a[0].kind == V_MISSING ? slm_jinja_view(r, ", ", 2) : slm_jinja_to_str(r, a[0]);
    struct joiner *j = slm_jinja_alloc(r, 1, sizeof *j);
    if (!j || separator.kind == V_FAIL) return v_fail();
    j->separator = separator.s;
    return (struct value){.kind = V_JOINER, .joiner = j};
}

/* How a template refuses a conversation. Its text is the message that the user sees. */
static struct value global_raise_exception(struct render *r, struct value self, struct value *a)
{
    struct value message = slm_jinja_to_str(r, a[0]);
    (void)self;
    if (message.kind == V_FAIL) return message;
    return slm_jinja_fail(r, SLM_ERR_ARGUMENT, "%.*s", (int)(message.s->len > 380 ? 380 : message.s->len),
                          message.s->ptr);
}

/* See strftime.c for the codes. */
static struct value global_strftime_now(struct render *r, struct value self, struct value *a)
{
    const struct text *format = text_arg(r, a[0], false);
    (void)self;
    return format ? slm_jinja_strftime(r, format) : v_fail();
}

/* jinja2's own, without lipsum, and the two that transformers adds. */
static const struct builtin globals[] = {
    {"range", global_range, 1, {"/", "/", "/"}, NULL},
    {.name = "dict", .raw = global_dict},
    {.name = "namespace", .raw = global_namespace},
    {.name = "cycler", .raw = global_cycler},
    {"joiner", global_joiner, 0, {"sep"}, NULL},
    {"raise_exception", global_raise_exception, 1, {"message"}, NULL},
    {"strftime_now", global_strftime_now, 1, {"format"}, NULL},
};

/* Names that the template assigns, or the caller passes, hide these. */
const struct builtin *slm_jinja_find_global(struct slm_str name)
{
    return slm_jinja_find_in(globals, COUNT(globals), name);
}
