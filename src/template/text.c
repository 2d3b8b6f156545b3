/* SPDX-License-Identifier: MIT
 * Strings by Python's rules: case, stripping, searching, splitting into lines. Positions inside are bytes; what a
 * template sees are code points. Every function is linear in its input and its output.
 *
 * Strings are valid UTF-8 from their making on: sources and JSON are checked when they come in, and nothing here cuts
 * inside a character. So decoding cannot fail and bytes can be searched directly. Case follows the full mappings of
 * Unicode, as Python's does; a test compares every character. Not here: normalisation and collation, which Python's
 * str does not do either. */
#include <utf8proc.h>
#include "base/utf8.h"
#include "template/case_table.h"
#include "template/value.h"

/* Python's str.isspace(). */
bool slm_jinja_is_space(uint32_t cp)
{
    if (cp < 128) return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 31);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

/* utf8proc's own signed type stays in here. */
static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

/* Category Ll, or the property Other_Lowercase. */
bool slm_jinja_is_lower(uint32_t cp)
{
    if (cp < 128) return cp >= 'a' && cp <= 'z';
    for (size_t i = 0; i < sizeof other_lower / sizeof *other_lower; i++)
        if (cp >= other_lower[i].first && cp <= other_lower[i].last) return true;
    return category(cp) == UTF8PROC_CATEGORY_LL;
}

/* Category Lu, or the property Other_Uppercase. */
bool slm_jinja_is_upper(uint32_t cp)
{
    if (cp < 128) return cp >= 'A' && cp <= 'Z';
    for (size_t i = 0; i < sizeof other_upper / sizeof *other_upper; i++)
        if (cp >= other_upper[i].first && cp <= other_upper[i].last) return true;
    return category(cp) == UTF8PROC_CATEGORY_LU;
}

/* Letters that have a case, title case included. */
static bool is_cased(uint32_t cp)
{
    return slm_jinja_is_lower(cp) || slm_jinja_is_upper(cp) || (cp >= 128 && category(cp) == UTF8PROC_CATEGORY_LT);
}

/* Characters that do not end a word for the final-sigma rule. */
static bool is_case_ignorable(uint32_t cp)
{
    static const uint16_t mid_word[] = {'\'', '.', ':', 0xB7, 0x387, 0x55F, 0x5F4, 0x2018, 0x2019, 0x2024, 0x2027,
                                        0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < sizeof mid_word / sizeof *mid_word; i++)
        if (cp == mid_word[i]) return true;
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_ME: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return false;
    }
}

/* Up to three characters, ended by 0. */
static bool put_special(struct render *r, const uint16_t cps[3])
{
    for (int i = 0; i < 3 && cps[i]; i++)
        if (!slm_jinja_put_char(r, cps[i])) return false;
    return true;
}

/* Full mapping: the sharp s becomes two letters. Title case differs for a few digraphs. */
static bool put_upper(struct render *r, uint32_t cp, bool title)
{
    if (cp < 128) return slm_jinja_put_char(r, cp >= 'a' && cp <= 'z' ? cp - 32 : cp);
    for (size_t i = 0; i < sizeof special_case / sizeof *special_case; i++)
        if (special_case[i].cp == cp) return put_special(r, title ? special_case[i].title : special_case[i].upper);
    utf8proc_int32_t c = (utf8proc_int32_t)cp;
    return slm_jinja_put_char(r, (uint32_t)(title ? utf8proc_totitle(c) : utf8proc_toupper(c)));
}

/* A capital sigma is a final one when a letter is before it in the word and none behind. */
static bool is_final_sigma(struct render *r, const struct text *s, size_t at)
{
    size_t before = at, after = at + 2;
    uint32_t cp = 0;
    bool cased = false;
    while (before > 0 && !cased) {
        do before--;
        while (before > 0 && ((unsigned char)s->ptr[before] & 0xC0) == 0x80);
        slm_utf8_decode(s->ptr + before, s->len - before, &cp);
        if (!slm_jinja_burn(r, 1) || !is_case_ignorable(cp)) break;
    }
    /* a cased letter before it ... */
    if (before == at || !is_cased(cp) || is_case_ignorable(cp)) return false;
    /* ... and none after it, looking past apostrophes, accents and the like */
    while (after < s->len) {
        after += (size_t)slm_utf8_decode(s->ptr + after, s->len - after, &cp);
        if (!slm_jinja_burn(r, 1) || !is_case_ignorable(cp)) return !is_cased(cp);
    }
    return true;
}

/* All lower-case mappings are of one character to one, but for the dotted I and the final sigma. */
static bool put_lower(struct render *r, const struct text *s, size_t at, uint32_t cp)
{
    if (cp < 128) return slm_jinja_put_char(r, cp >= 'A' && cp <= 'Z' ? cp + 32 : cp);
    if (cp == 0x3A3) return slm_jinja_put_char(r, is_final_sigma(r, s, at) ? 0x3C2 : 0x3C3);
    if (cp == 0x130) return slm_jinja_put_char(r, 'i') && slm_jinja_put_char(r, 0x307);
    return slm_jinja_put_char(r, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

/* One pass for all of them. Title case starts a word after every character without a case, as
 * Python does: They'Re. */
struct value slm_jinja_case(struct render *r, const struct text *s, int how)
{
    size_t start = r->out.len;
    bool in_word = false;
    uint32_t cp;
    if (!slm_jinja_burn(r, 1 + s->len / 16)) return v_fail();
    for (size_t i = 0, n; i < s->len; i += n) {
        n = (size_t)slm_utf8_decode(s->ptr + i, s->len - i, &cp);
        bool up = how == CASE_UPPER || (how == CASE_CAPITALIZE && i == 0) || (how == CASE_TITLE && !in_word) ||
                  (how == CASE_SWAP && slm_jinja_is_lower(cp));
        bool keep = how == CASE_SWAP && !up && !slm_jinja_is_upper(cp);
        bool ok = keep ? slm_jinja_put_char(r, cp)
                  : up ? put_upper(r, cp, how == CASE_CAPITALIZE || how == CASE_TITLE) : put_lower(r, s, i, cp);
        if (!ok) return v_fail();
        in_word = how == CASE_TITLE && is_cased(cp);
    }
    return slm_jinja_capture(r, start);
}

/* jinja2's own title: a word starts after whitespace and any of -({[< ; the rest of it is lower case. */
struct value slm_jinja_title_filter(struct render *r, const struct text *s)
{
    size_t start = r->out.len, word = 0;
    uint32_t cp;
    for (size_t i = 0, n; i <= s->len; i += n) {
        n = i < s->len ? (size_t)slm_utf8_decode(s->ptr + i, s->len - i, &cp) : 1;
        bool breaks = i == s->len || slm_jinja_is_space(cp) || (cp < 128 && strchr("-({[<", (int)cp) && cp);
        if (!breaks) continue;
        if (word < i) { /* lower() sees the rest of the word only, which matters for a sigma */
            size_t first = (size_t)slm_utf8_decode(s->ptr + word, s->len - word, &(uint32_t){0});
            uint32_t initial;
            slm_utf8_decode(s->ptr + word, s->len - word, &initial);
            struct value rest = slm_jinja_slice_text(r, s, word + first, i);
            if (!put_upper(r, initial, false) || rest.kind == V_FAIL) return v_fail();
            size_t rest_start = r->out.len;
            rest = slm_jinja_case(r, rest.s, CASE_LOWER);
            if (rest.kind == V_FAIL) return v_fail();
            r->out.len = rest_start;
            if (!slm_jinja_put(r, rest.s->ptr, rest.s->len)) return v_fail();
        }
        if (i < s->len && !slm_jinja_put(r, s->ptr + i, n)) return v_fail();
        word = i + n;
    }
    return slm_jinja_capture(r, start);
}

/* Without a set, whitespace. */
static bool in_set(const struct text *chars, uint32_t cp)
{
    if (!chars) return slm_jinja_is_space(cp);
    uint32_t c;
    for (size_t i = 0; i < chars->len; i += (size_t)slm_utf8_decode(chars->ptr + i, chars->len - i, &c)) {
        slm_utf8_decode(chars->ptr + i, chars->len - i, &c);
        if (c == cp) return true;
    }
    return false;
}

/* The result shares the bytes of s. */
struct value slm_jinja_strip(struct render *r, const struct text *s, const struct text *chars, int sides)
{
    size_t from = 0, to = s->len, cost = 1 + (chars ? chars->len / 8 : 0);
    uint32_t cp;
    while ((sides & STRIP_LEFT) && from < to) {
        int n = slm_utf8_decode(s->ptr + from, to - from, &cp);
        if (!slm_jinja_burn(r, cost)) return v_fail();
        if (!in_set(chars, cp)) break;
        from += (size_t)n;
    }
    while ((sides & STRIP_RIGHT) && to > from) {
        size_t last = to - 1;
        while (last > from && ((unsigned char)s->ptr[last] & 0xC0) == 0x80) last--;
        slm_utf8_decode(s->ptr + last, to - last, &cp);
        if (!slm_jinja_burn(r, cost)) return v_fail();
        if (!in_set(chars, cp)) break;
        to = last;
    }
    return slm_jinja_slice_text(r, s, from, to);
}

/* From a byte offset. glibc's memmem is linear in the worst case. */
size_t slm_jinja_find(struct slm_str hay, struct slm_str needle, size_t from)
{
    if (from > hay.len) return SIZE_MAX;
    if (needle.len == 0) return from;
    const char *p = memmem(hay.ptr + from, hay.len - from, needle.ptr, needle.len); /* two-way: linear */
    return p ? (size_t)(p - hay.ptr) : SIZE_MAX;
}

/* A table lookup for ASCII text, a walk for the rest. */
size_t slm_jinja_byte_of(const struct text *s, size_t n_chars)
{
    if (n_chars >= s->n_chars) return s->len;
    if (s->n_chars == s->len) return n_chars;
    size_t i = 0;
    for (size_t seen = 0; i < s->len; i++)
        if (((unsigned char)s->ptr[i] & 0xC0) != 0x80 && seen++ == n_chars) break;
    return i;
}

/* replace('', x): x before every character and at the end. */
static struct value insert_between(struct render *r, const struct text *s, const struct text *to, int64_t count)
{
    size_t start = r->out.len;
    for (size_t i = 0, n; i <= s->len; i += n) {
        for (n = 1; i + n < s->len && ((unsigned char)s->ptr[i + n] & 0xC0) == 0x80;) n++;
        if (count != 0 && !slm_jinja_put(r, to->ptr, to->len)) return v_fail();
        if (count > 0) count--;
        if (!slm_jinja_burn(r, 1) || (i < s->len && !slm_jinja_put(r, s->ptr + i, n))) return v_fail();
    }
    return slm_jinja_capture(r, start);
}

/* All or the first `count` occurrences, from the left, without overlap. */
struct value slm_jinja_replace(struct render *r, const struct text *s, const struct text *from, const struct text *to,
                               int64_t count)
{
    size_t start = r->out.len, done = 0, at;
    struct slm_str hay = text_str(s);
    if (!slm_jinja_burn(r, 1 + s->len / 32)) return v_fail();
    if (from->len == 0) return insert_between(r, s, to, count);
    for (; count != 0 && (at = slm_jinja_find(hay, text_str(from), done)) != SIZE_MAX; count -= count > 0) {
        if (!slm_jinja_put(r, s->ptr + done, at - done) || !slm_jinja_put(r, to->ptr, to->len) ||
            !slm_jinja_burn(r, 1))
            return v_fail();
        done = at + from->len;
    }
    if (done == 0 && start == r->out.len) return v_text(s);
    if (!slm_jinja_put(r, s->ptr + done, s->len - done)) return v_fail();
    return slm_jinja_capture(r, start);
}

/* All of Python's line boundaries; no empty line after the last one. */
struct value slm_jinja_split_lines(struct render *r, const struct text *s, bool keep_ends)
{
    struct builder b = {0};
    uint32_t cp;
    size_t start = 0;
    for (size_t i = 0, n; i < s->len; i += n) {
        n = (size_t)slm_utf8_decode(s->ptr + i, s->len - i, &cp);
        if (!((cp >= 10 && cp <= 13) || (cp >= 28 && cp <= 30) || cp == 0x85 || cp == 0x2028 || cp == 0x2029)) continue;
        if (cp == '\r' && i + 1 < s->len && s->ptr[i + 1] == '\n') n = 2;
        if (!slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, start, keep_ends ? i + n : i))) return v_fail();
        start = i + n;
    }
    if (start < s->len && !slm_jinja_push(r, &b, slm_jinja_slice_text(r, s, start, s->len))) return v_fail();
    return slm_jinja_burn(r, s->len / 16) ? slm_jinja_build(r, &b, V_LIST) : v_fail();
}

/* The five characters that markupsafe escapes; the result is marked safe. */
struct value slm_jinja_escape(struct render *r, const struct text *s)
{
    static const struct { char c; const char *entity; } entities[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    size_t start = r->out.len;
    if (!slm_jinja_burn(r, 1 + s->len / 16)) return v_fail();
    for (size_t i = 0; i < s->len; i++) {
        const char *entity = NULL;
        for (size_t k = 0; k < sizeof entities / sizeof *entities; k++)
            if (s->ptr[i] == entities[k].c) entity = entities[k].entity;
        if (!slm_jinja_put(r, entity ? entity : s->ptr + i, entity ? strlen(entity) : 1)) return v_fail();
    }
    struct value v = slm_jinja_capture(r, start);
    v.sub = STR_MARKUP;
    return v;
}

/* At least one cased character, and all cased ones of this case. */
struct value slm_jinja_is_cased(struct render *r, const struct text *s, bool upper)
{
    bool any = false;
    uint32_t cp;
    if (!slm_jinja_burn(r, 1 + s->len / 8)) return v_fail();
    for (size_t i = 0; i < s->len; i += (size_t)slm_utf8_decode(s->ptr + i, s->len - i, &cp)) {
        slm_utf8_decode(s->ptr + i, s->len - i, &cp);
        if (!is_cased(cp)) continue;
        if (upper ? !slm_jinja_is_upper(cp) : !slm_jinja_is_lower(cp)) return v_bool(false);
        any = true;
    }
    return v_bool(any);
}
