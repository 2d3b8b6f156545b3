/* SPDX-License-Identifier: MIT
 * Unicode normal form C, for the vocabularies whose tokenizer.json asks for it (Qwen): "e" and a combining acute become
 * one "é" before the text is cut into words. llama.cpp leaves this out, so its ids differ there for such text.
 *
 * Characters below U+0300 are in normal form and never join what stands before them. So the text falls into units that
 * start at such a character, and only a unit that holds something else is looked at. Linear: marks are ordered by
 * counting, because a text may hold a million of them on one letter (utf8proc's own ordering is quadratic). */
#include <utf8proc.h>
#include "base/os.h"
#include "base/utf8.h"
#include "tokenizer/internal.h"

#define FIRST_COMBINING 0x300u
#define WHERE "tokenize"

/* Could this character be changed, moved or joined? May say yes too often. */
static bool may_change(uint32_t cp)
{
    if (cp < FIRST_COMBINING) return false;
    if (cp >= 0x1161 && cp <= 0x11C2) return true; /* Hangul vowels and finals, joined by arithmetic */
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)cp);
    return p->combining_class != 0 || p->comb_index != UINT16_MAX ||
           (p->decomp_seqindex != UINT16_MAX && p->decomp_type == 0);
}

/* Room for n characters and a second array as long. */
static slm_status reserve_points(struct slm_encoder *e, size_t n)
{
    if (2 * n <= e->cap_points) return SLM_OK;
    size_t cap = e->cap_points ? e->cap_points : 256;
    while (cap < 2 * n) cap *= 2;
    int32_t *grown = slm_realloc(e->points, cap, sizeof *grown, WHERE, e->error);
    if (!grown) return SLM_ERR_MEMORY;
    e->points = grown;
    e->cap_points = cap;
    return SLM_OK;
}

static slm_status reserve_text(struct slm_encoder *e, size_t bytes)
{
    if (bytes <= e->cap_text) return SLM_OK;
    size_t cap = e->cap_text ? e->cap_text : 256;
    while (cap < bytes) cap *= 2;
    char *grown = slm_realloc(e->text, cap, 1, WHERE, e->error);
    if (!grown) return SLM_ERR_MEMORY;
    e->text = grown;
    e->cap_text = cap;
    return SLM_OK;
}

static int class_of(int32_t cp) { return utf8proc_get_property(cp)->combining_class; }

/* Marks in a row go by their class, equals in their order. spare is as long as points. */
static void order_marks(int32_t *points, size_t n, int32_t *spare)
{
    for (size_t i = 0; i < n; i++) {
        const size_t begin = i;
        bool ordered = true;
        for (int before = 0, class; i < n && (class = class_of(points[i])) != 0; before = class, i++)
            ordered = ordered && class >= before;
        if (ordered) continue; /* so is a run of none */
        size_t at[257] = {0};
        for (size_t k = begin; k < i; k++) at[class_of(points[k]) + 1]++;
        for (int class = 1; class < 257; class++) at[class] += at[class - 1];
        for (size_t k = begin; k < i; k++) spare[at[class_of(points[k])]++] = points[k];
        memcpy(points + begin, spare, (i - begin) * sizeof *points);
    }
}

/* Appends the normal form of one unit to e->text. */
static slm_status add_unit(struct slm_encoder *e, struct slm_str unit, size_t *used)
{
    enum { MOST = 4 }; /* no character decomposes canonically into more */
    SLM_TRY(reserve_points(e, unit.len * MOST));
    size_t n = 0;
    for (size_t i = 0; i < unit.len;) {
        uint32_t cp;
        int boundary = 0;
        i += (size_t)slm_utf8_decode(unit.ptr + i, unit.len - i, &cp);
        const utf8proc_ssize_t parts = utf8proc_decompose_char((utf8proc_int32_t)cp, e->points + n, MOST,
                                                               UTF8PROC_STABLE | UTF8PROC_COMPOSE, &boundary);
        SLM_ASSERT(parts > 0 && parts <= MOST);
        n += (size_t)parts;
    }
    order_marks(e->points, n, e->points + e->cap_points / 2);
    n = (size_t)utf8proc_normalize_utf32(e->points, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    SLM_TRY(reserve_text(e, *used + 4 * n));
    for (size_t i = 0; i < n; i++) *used += (size_t)slm_utf8_encode((uint32_t)e->points[i], e->text + *used);
    return SLM_OK;
}

slm_status slm_encoder_nfc(struct slm_encoder *e, struct slm_str text, struct slm_str *out)
{
    size_t used = 0, copied = 0; /* text[0..copied) is in e->text[0..used) */
    for (size_t i = 0, start = 0; i < text.len;) {
        uint32_t cp;
        const size_t bytes = (size_t)slm_utf8_decode(text.ptr + i, text.len - i, &cp);
        if (cp < FIRST_COMBINING) start = i;
        i += bytes;
        if (!may_change(cp)) continue;
        while (i < text.len) { /* to where the next unit starts */
            const size_t next = (size_t)slm_utf8_decode(text.ptr + i, text.len - i, &cp);
            if (cp < FIRST_COMBINING) break;
            i += next;
        }
        SLM_TRY(reserve_text(e, used + (start - copied)));
        memcpy(e->text + used, text.ptr + copied, start - copied);
        used += start - copied;
        SLM_TRY(add_unit(e, (struct slm_str){text.ptr + start, i - start}, &used));
        copied = i;
    }
    *out = text;
    if (copied == 0) return SLM_OK;
    SLM_TRY(reserve_text(e, used + (text.len - copied)));
    memcpy(e->text + used, text.ptr + copied, text.len - copied);
    *out = (struct slm_str){e->text, used + (text.len - copied)};
    return SLM_OK;
}
