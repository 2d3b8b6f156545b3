/* SPDX-License-Identifier: MIT
 * The Unicode normal forms C, D, KC and KD, for the vocabularies whose tokenizer.json asks for one: "e" and a combining
 * acute become one "é" (or the other way round) before the text is cut into words. llama.cpp leaves this out, so its
 * ids differ there for such text.
 *
 * The text falls into units that start at a character which is in normal form and never joins what stands before it:
 * for C, the form in wide use (Qwen), all below U+0300, else ASCII. Only a unit that holds something else is looked at.
 * Linear: marks are ordered by counting, because a text may hold a million of them on one letter (utf8proc's own
 * ordering is quadratic). Bytes that are not UTF-8 stay as they are, and end a unit. */
#include <utf8proc.h>
#include "base/os.h"
#include "base/utf8.h"
#include "tokenizer/internal.h"

#define FIRST_COMBINING 0x300u
#define WHERE "tokenize"

/* [enum slm_normal_kind]: the characters below `stable` are in the form already. */
static const struct form { int options; uint32_t stable; } forms[] = {
    [SLM_NORMAL_NFC] = {UTF8PROC_COMPOSE, FIRST_COMBINING},
    [SLM_NORMAL_NFD] = {UTF8PROC_DECOMPOSE, 0x80},
    [SLM_NORMAL_NFKC] = {UTF8PROC_COMPOSE | UTF8PROC_COMPAT, 0x80},
    [SLM_NORMAL_NFKD] = {UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, 0x80},
};

/* Could this character be changed, moved or joined? May say yes too often. */
static bool may_change(const struct form *form, uint32_t cp)
{
    if (cp < form->stable) return false;
    if (form->options != UTF8PROC_COMPOSE) return true;
    if (cp >= 0x1161 && cp <= 0x11C2) return true; /* Hangul vowels and finals, joined by arithmetic */
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)cp);
    return p->combining_class != 0 || p->comb_index != UINT16_MAX ||
           (p->decomp_seqindex != UINT16_MAX && p->decomp_type == 0);
}

/* Room for n characters. */
static slm_status reserve(int32_t **points, size_t *cap, size_t n, struct slm_error *error)
{
    if (n <= *cap) return SLM_OK;
    size_t grown_cap = *cap ? *cap : 256;
    while (grown_cap < n) grown_cap *= 2;
    int32_t *grown = slm_realloc(*points, grown_cap, sizeof *grown, WHERE, error);
    if (!grown) return SLM_ERR_MEMORY;
    *points = grown;
    *cap = grown_cap;
    return SLM_OK;
}

static int class_of(int32_t cp) { return utf8proc_get_property(cp)->combining_class; }

/* Marks in a row go by their class, equals in their order. */
static slm_status order_marks(struct slm_encoder *e, int32_t *points, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t begin = i;
        bool ordered = true;
        for (int before = 0, class; i < n && (class = class_of(points[i])) != 0; before = class, i++)
            ordered = ordered && class >= before;
        if (ordered) continue; /* so is a run of none */
        SLM_TRY(reserve(&e->spare, &e->cap_spare, i - begin, e->error));
        size_t at[257] = {0};
        for (size_t k = begin; k < i; k++) at[class_of(points[k]) + 1]++;
        for (int class = 1; class < 257; class++) at[class] += at[class - 1];
        for (size_t k = begin; k < i; k++) e->spare[at[class_of(points[k])]++] = points[k];
        memcpy(points + begin, e->spare, (i - begin) * sizeof *points);
    }
    return SLM_OK;
}

/* Appends the normal form of one unit. */
static slm_status add_unit(struct slm_encoder *e, const struct form *form, struct slm_str unit, struct slm_buf *out)
{
    enum { MOST = 18 }; /* no character decomposes into more */
    size_t n = 0;
    for (size_t i = 0; i < unit.len;) {
        uint32_t cp;
        int boundary = 0;
        i += (size_t)slm_utf8_decode(unit.ptr + i, unit.len - i, &cp);
        SLM_TRY(reserve(&e->points, &e->cap_points, n + MOST, e->error));
        const utf8proc_ssize_t parts = utf8proc_decompose_char((utf8proc_int32_t)cp, e->points + n, MOST,
                                                               UTF8PROC_STABLE | form->options, &boundary);
        SLM_ASSERT(parts > 0 && parts <= MOST);
        n += (size_t)parts;
    }
    SLM_TRY(order_marks(e, e->points, n));
    n = (size_t)utf8proc_normalize_utf32(e->points, (utf8proc_ssize_t)n, UTF8PROC_STABLE | form->options);
    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        slm_buf_add(out, bytes, (size_t)slm_utf8_encode((uint32_t)e->points[i], bytes));
    }
    return SLM_OK;
}

slm_status slm_encoder_normal_form(struct slm_encoder *e, enum slm_normal_kind kind, struct slm_str text,
                                   struct slm_buf *buf, struct slm_str *out)
{
    const struct form *form = &forms[kind];
    size_t copied = 0; /* text[0..copied) is in buf, in normal form */
    for (size_t i = 0, start = 0; i < text.len;) {
        uint32_t cp;
        const int bytes = slm_utf8_decode(text.ptr + i, text.len - i, &cp);
        if (bytes <= 0) {
            start = ++i;
            continue;
        }
        if (cp < form->stable) start = i;
        i += (size_t)bytes;
        if (!may_change(form, cp)) continue;
        while (i < text.len) { /* to where the next unit starts */
            const int next = slm_utf8_decode(text.ptr + i, text.len - i, &cp);
            if (next <= 0 || cp < form->stable) break;
            i += (size_t)next;
        }
        slm_buf_add(buf, text.ptr + copied, start - copied);
        SLM_TRY(add_unit(e, form, (struct slm_str){text.ptr + start, i - start}, buf));
        copied = start = i;
    }
    *out = text;
    if (copied == 0) return SLM_OK;
    slm_buf_add(buf, text.ptr + copied, text.len - copied);
    SLM_TRY(slm_buf_status(buf, WHERE, e->error));
    *out = (struct slm_str){buf->data, buf->len};
    return SLM_OK;
}
