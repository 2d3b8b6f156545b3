/* SPDX-License-Identifier: MIT
 * Normalizers: what is done to the text between special tokens before it is cut into words. A tokenizer has a short
 * list of steps, each of which reads the text and writes it anew; most vocabularies have none.
 *
 * The steps are those of SentencePiece's normalizer_spec and of tokenizer.json's "normalizer", as far as models for
 * text generation and embedding use them (hf_steps.c says which). Every step is linear in the text and passes bytes
 * that are not UTF-8 on as they are. Spaces in front and spaces spelled U+2581 are not here: they belong to the model
 * of tokenization (spm.c). */
#include <utf8proc.h>
#include "base/utf8.h"
#include "tokenizer/internal.h"

#define WHERE "tokenize"
#define MAX_GROWTH 512 /* steps can multiply; the longest that any text grows with Unicode's rules is 18 times */

bool slm_is_white(uint32_t cp)
{
    return cp == ' ' || (cp >= 0x09 && cp <= 0x0d) || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
           cp == 0x3000;
}

size_t slm_white_before(struct slm_str text, size_t from, size_t at)
{
    while (at > from) {
        size_t start = at - 1;
        while (start > from && at - start < 4 && ((unsigned char)text.ptr[start] & 0xC0) == 0x80) start--;
        uint32_t cp;
        if (slm_utf8_decode(text.ptr + start, at - start, &cp) != (int)(at - start) || !slm_is_white(cp)) break;
        at = start;
    }
    return at;
}

size_t slm_white_after(struct slm_str text, size_t at)
{
    uint32_t cp;
    for (int n; at < text.len; at += (size_t)n) {
        n = slm_utf8_decode(text.ptr + at, text.len - at, &cp);
        if (n <= 0 || !slm_is_white(cp)) break;
    }
    return at;
}

/* Character by character. Only U+0130 has a lower case of two. */
static void lower(struct slm_str text, struct slm_buf *out)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t cp;
        char bytes[4];
        const int n = slm_utf8_decode(text.ptr + i, text.len - i, &cp);
        if (n <= 0) slm_buf_add(out, text.ptr + i, 1);
        else if (cp == 0x130) slm_buf_puts(out, "i\xcc\x87");
        else slm_buf_add(out, bytes, (size_t)slm_utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)cp), bytes));
        i += n > 0 ? (size_t)n : 1;
    }
}

/* Without the characters of the general category Mark. */
static void strip_accents(struct slm_str text, struct slm_buf *out)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t cp = 0;
        const int n = slm_utf8_decode(text.ptr + i, text.len - i, &cp);
        const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
        const size_t bytes = n > 0 ? (size_t)n : 1;
        if (n <= 0 || (c != UTF8PROC_CATEGORY_MN && c != UTF8PROC_CATEGORY_MC && c != UTF8PROC_CATEGORY_ME))
            slm_buf_add(out, text.ptr + i, bytes);
        i += bytes;
    }
}

/* Each occurrence of `find`, or with `runs` of at least one of it behind another, becomes `put`. */
static void replace(struct slm_str text, const struct slm_normal_step *step, bool runs, struct slm_buf *out)
{
    const struct slm_str find = step->find;
    for (size_t i = 0; i < text.len;) {
        const char *hit = memmem(text.ptr + i, text.len - i, find.ptr, find.len);
        const size_t at = hit ? (size_t)(hit - text.ptr) : text.len;
        slm_buf_add(out, text.ptr + i, at - i);
        if (!hit) break;
        i = at + find.len;
        /* The occurrences that follow at once. */
        while (runs && text.len - i >= find.len && memcmp(text.ptr + i, find.ptr, find.len) == 0) i += find.len;
        if (!runs || i > at + find.len) slm_buf_add_str(out, step->put);
        else slm_buf_add_str(out, find);
    }
}

/* SentencePiece's remove_extra_whitespaces: one space for several, none where a sentence begins and ends. */
static void squeeze(struct slm_str text, struct slm_span span, struct slm_buf *out)
{
    bool after_space = span.first;
    while (span.last && text.len && text.ptr[text.len - 1] == ' ') text.len--;
    for (size_t i = 0; i < text.len; i++) {
        const bool space = text.ptr[i] == ' ';
        if (!space || !after_space) slm_buf_add(out, text.ptr + i, 1);
        after_space = space;
    }
}

/* The steps that write their text anew. */
static void write_step(const struct slm_normal_step *step, struct slm_str text, struct slm_span span,
                       struct slm_buf *out)
{
    switch (step->kind) {
    case SLM_NORMAL_LOWERCASE: lower(text, out); break;
    case SLM_NORMAL_STRIP_ACCENTS: strip_accents(text, out); break;
    case SLM_NORMAL_REPLACE: replace(text, step, false, out); break;
    case SLM_NORMAL_REPLACE_RUN: replace(text, step, true, out); break;
    case SLM_NORMAL_CHARSMAP: slm_charsmap_apply(step->map, text, out); break;
    case SLM_NORMAL_CHARSMAP_CLUSTERS: slm_charsmap_apply_clusters(step->map, text, out); break;
    case SLM_NORMAL_SQUEEZE: squeeze(text, span, out); break;
    case SLM_NORMAL_PREPEND:
        if (text.len) slm_buf_add_str(out, step->put);
        slm_buf_add_str(out, text);
        break;
    default: SLM_ASSERT(false);
    }
}

/* The two buffers take turns: a step writes into the one that its text does not lie in. */
slm_status slm_encoder_normalize(struct slm_encoder *e, struct slm_str text, struct slm_span span, struct slm_str *out)
{
    const struct slm_tokenizer *t = e->tokenizer;
    e->normal[0].limit = e->normal[1].limit = MAX_GROWTH * (text.len + 16);
    for (size_t i = 0, turn = 0; i < t->n_steps; i++) {
        const struct slm_normal_step *step = &t->steps[i];
        struct slm_buf *buf = &e->normal[turn];
        slm_buf_clear(buf);
        if (step->kind <= SLM_NORMAL_NFKD) { /* which may leave the text where it is */
            SLM_TRY(slm_encoder_normal_form(e, step->kind, text, buf, &text));
            turn ^= text.ptr == buf->data;
        } else if (step->kind == SLM_NORMAL_STRIP) { /* a shorter view of it */
            const size_t begin = step->sides & SLM_STRIP_LEFT ? slm_white_after(text, 0) : 0;
            const size_t end = step->sides & SLM_STRIP_RIGHT ? slm_white_before(text, begin, text.len) : text.len;
            text = (struct slm_str){text.ptr + begin, end - begin};
        } else {
            write_step(step, text, span, buf);
            SLM_TRY(slm_buf_status(buf, WHERE, e->error));
            text = (struct slm_str){buf->data ? buf->data : "", buf->len};
            turn ^= 1;
        }
    }
    *out = text;
    /* As for texts that come in: positions have 32 bits. */
    if (text.len < UINT32_MAX - 1) return SLM_OK;
    return slm_fail(e->error, SLM_ERR_LIMIT, WHERE, "the normalized text has %zu bytes; less than %u are allowed",
                    text.len, UINT32_MAX - 1);
}

/* Texts are copied, tables opened. */
slm_status slm_normalizer_build(struct slm_tokenizer *t, const struct slm_tokenizer_source *source,
                                struct slm_error *error)
{
    struct slm_normal_step *steps =
        slm_arena_alloc(&t->arena, source->n_steps + 1, sizeof *steps, source->where, error);
    if (!steps) return SLM_ERR_MEMORY;
    t->steps = steps;
    for (; t->n_steps < source->n_steps; t->n_steps++) {
        struct slm_normal_step *step = &steps[t->n_steps];
        *step = source->steps[t->n_steps];
        struct slm_str *const texts[] = {&step->find, &step->put};
        for (size_t i = 0; i < 2; i++) {
            texts[i]->ptr = slm_arena_copy(&t->arena, texts[i]->len ? texts[i]->ptr : "", texts[i]->len, error);
            if (!texts[i]->ptr) return SLM_ERR_MEMORY;
        }
        if (step->kind == SLM_NORMAL_CHARSMAP || step->kind == SLM_NORMAL_CHARSMAP_CLUSTERS)
            SLM_TRY(slm_charsmap_open(step->find, source->where, &step->map, error));
        SLM_ASSERT(step->find.len || (step->kind != SLM_NORMAL_REPLACE && step->kind != SLM_NORMAL_REPLACE_RUN));
    }
    return SLM_OK;
}
