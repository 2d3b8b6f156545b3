/* SPDX-License-Identifier: MIT
 * Guards in texts that come from outside. A guard (tokenizer.h) goes behind the first character of every control token
 * that a text spells: the tokenizer finds no token there and drops the guard. Whoever puts such a text between marks of
 * a model (chat.c, rerank.c) adds it through this.
 *
 * Deliberately not here: the marks themselves, and JSON. */
#include "engine/guard.h"

#include "base/os.h"
#include "slm.h"

static bool is_control(const struct slm_tokenizer *tokenizer, size_t id)
{
    /* One byte has no inside for a guard, and separates no turns. */
    return slm_tokenizer_type(tokenizer, (int32_t)id) == SLM_TOKEN_CONTROL &&
           slm_tokenizer_piece(tokenizer, (int32_t)id, true).len >= 2;
}

/* Two passes over the vocabulary, to count and to fill, so that the list is one allocation of the right size. */
slm_status slm_controls_list(const struct slm_tokenizer *tokenizer, struct slm_controls *out, struct slm_error *error)
{
    size_t n = 0;
    for (size_t id = 0; id < slm_tokenizer_n_vocab(tokenizer); id++) n += is_control(tokenizer, id);
    out->texts = slm_alloc(n + 1, sizeof *out->texts, "chat", error);
    if (!out->texts) return SLM_ERR_MEMORY;
    for (size_t id = 0; id < slm_tokenizer_n_vocab(tokenizer); id++)
        if (is_control(tokenizer, id)) out->texts[out->n++] = slm_tokenizer_piece(tokenizer, (int32_t)id, true);
    return SLM_OK;
}

/* Marks behind[i] where a guard must follow byte i: after the first character of each control token in the text. */
static void find_forgeries(const struct slm_controls *controls, struct slm_str text, unsigned char *behind)
{
    for (size_t i = 0; i < controls->n; i++) {
        const struct slm_str token = controls->texts[i];
        size_t first = 1; /* bytes of its first character */
        while (first < token.len && ((unsigned char)token.ptr[first] & 0xC0) == 0x80) first++;
        const char *end = text.ptr + text.len, *hit = text.ptr;
        while ((hit = memmem(hit, (size_t)(end - hit), token.ptr, token.len)) != NULL) {
            behind[(size_t)(hit - text.ptr) + first - 1] = 1;
            hit += token.len;
        }
    }
}

/* The message without guards of its own: they are no characters, and dropping one later could make a token. */
static void drop_guards(struct slm_str text, struct slm_buf *out)
{
    enum { GUARD = sizeof SLM_TOKENIZER_GUARD - 1 };
    for (const char *hit; (hit = memmem(text.ptr, text.len, SLM_TOKENIZER_GUARD, GUARD)) != NULL;) {
        const size_t n = (size_t)(hit - text.ptr);
        slm_buf_add(out, text.ptr, n);
        text = (struct slm_str){hit + GUARD, text.len - n - GUARD};
    }
    slm_buf_add_str(out, text);
}

/* The marks are found in the whole text first: were guards put in while searching, a token that overlaps another one's
 * would be missed. */
slm_status slm_guard_add(const struct slm_controls *controls, struct slm_str text, struct slm_buf *out,
                         struct slm_error *error)
{
    struct slm_buf plain = {0};
    drop_guards(text, &plain);
    unsigned char *behind = slm_alloc(plain.len + 1, 1, "chat", error);
    slm_status status = behind ? slm_buf_status(&plain, "chat", error) : SLM_ERR_MEMORY;
    if (status == SLM_OK && plain.len) find_forgeries(controls, (struct slm_str){plain.data, plain.len}, behind);
    for (size_t i = 0; status == SLM_OK && i < plain.len; i++) {
        slm_buf_add(out, plain.data + i, 1);
        if (behind[i]) slm_buf_puts(out, SLM_TOKENIZER_GUARD);
    }
    slm_release(behind);
    slm_buf_release(&plain);
    return status == SLM_OK ? slm_buf_status(out, "chat", error) : status;
}

/* The prompt decides about BOS as about every mark: transformers adds nothing to a rendered conversation either. */
slm_status slm_guard_encode(const struct slm_tokenizer *tokenizer, struct slm_str text, int32_t **ids, size_t *n_ids,
                            struct slm_error *error)
{
    const unsigned flags = SLM_TOKENIZE_PARSE_SPECIAL | SLM_TOKENIZE_GUARDED;
    size_t n = 0;
    SLM_TRY(slm_tokenizer_encode(tokenizer, text.ptr, text.len, flags, NULL, 0, &n, error));
    int32_t *all = slm_alloc(n + 1, sizeof *all, "chat", error); /* + 1: an empty prompt is owned memory too */
    if (!all) return SLM_ERR_MEMORY;
    const slm_status status = slm_tokenizer_encode(tokenizer, text.ptr, text.len, flags, all, n, n_ids, error);
    if (status == SLM_OK)
        *ids = all;
    else
        slm_release(all);
    return status;
}
