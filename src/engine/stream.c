/* SPDX-License-Identifier: MIT
 * The text stream that stream.h describes. Held text is never longer than the longest stop string and a token, so
 * looking for stop strings in it at every token is cheap. Deliberately not here: loops, sessions. */
#include "engine/stream.h"

#include "base/checked.h"
#include "base/os.h"
#include "engine/session.h"

slm_status slm_stream_open(struct slm_stream *s, const struct slm_engine *engine,
                           const struct slm_stream_options *options, struct slm_error *error)
{
    *s = (struct slm_stream){.options = *options, .tokenizer = engine->model->tokenizer};
    for (size_t i = 0; i < options->n_stop; i++) {
        const size_t len = strlen(options->stop[i]);
        if (len > s->max_stop) s->max_stop = len;
    }
    /* A token's piece and a held-back character can each become three times as long (U+FFFD), twice over at the end. */
    size_t cap;
    if (!slm_mul_size(engine->max_piece + sizeof s->detok.held, 3, &cap) || !slm_add_size(cap, s->max_stop + 64, &cap))
        return slm_fail(error, SLM_ERR_LIMIT, "generate", "stop strings are too long");
    s->held = slm_alloc(cap, 1, "generate", error);
    return s->held ? SLM_OK : SLM_ERR_MEMORY;
}

void slm_stream_close(struct slm_stream *s)
{
    slm_release(s->held);
    s->held = NULL;
}

/* The first n held bytes go to the callback. */
static bool pass_on(struct slm_stream *s, size_t n)
{
    const bool go_on = !s->options.on_text || s->options.on_text(s->options.user, s->held, n);
    s->n_held -= n;
    memmove(s->held, s->held + n, s->n_held);
    return go_on;
}

/* Where the first stop string begins in the held text, or n_held; which one it is, in found. */
static size_t find_stop(struct slm_stream *s)
{
    size_t first = s->n_held;
    for (size_t i = 0; i < s->options.n_stop; i++) {
        const size_t len = strlen(s->options.stop[i]);
        const char *hit = len ? memmem(s->held, s->n_held, s->options.stop[i], len) : NULL;
        if (!hit || (size_t)(hit - s->held) >= first) continue;
        first = (size_t)(hit - s->held);
        s->found = s->options.stop[i];
    }
    return first;
}

/* Bytes at the end that may be the beginning of a stop string. */
static size_t maybe_stop(const struct slm_stream *s)
{
    size_t n = s->max_stop ? s->max_stop - 1 : 0;
    if (n > s->n_held) n = s->n_held;
    for (; n > 0; n--)
        for (size_t i = 0; i < s->options.n_stop; i++)
            if (strlen(s->options.stop[i]) > n && memcmp(s->held + s->n_held - n, s->options.stop[i], n) == 0) return n;
    return 0;
}

static bool is_shown(const struct slm_stream *s, int32_t id)
{
    for (size_t i = 0; i < s->options.n_show; i++)
        if (s->options.show[i] == id) return true;
    return false;
}

/* Text of a token where it stands. Only the first may differ from its piece: a space that begins a text is no text
 * (the tokenizer knows which). Returns the bytes put behind the held text. */
static size_t decode(struct slm_stream *s, int32_t before, int32_t id)
{
    struct slm_str piece = slm_tokenizer_piece(s->tokenizer, id, is_shown(s, id));
    if (!s->has_begun && !s->options.keep_space && before >= 0 && piece.len > 0) {
        const int32_t pair[2] = {before, id};
        size_t one = 0, both = 0;
        if (slm_tokenizer_decode(s->tokenizer, pair, 1, false, NULL, 0, &one, NULL) == SLM_OK &&
            slm_tokenizer_decode(s->tokenizer, pair, 2, false, NULL, 0, &both, NULL) == SLM_OK &&
            both - one + 1 == piece.len)
            piece = (struct slm_str){piece.ptr + 1, piece.len - 1};
    }
    s->has_begun = true;
    return slm_detok_feed(&s->detok, piece, s->held + s->n_held);
}

enum slm_stop_reason slm_stream_feed(struct slm_stream *s, int32_t before, int32_t id)
{
    if (!s->tokenizer) return SLM_STOP_NONE;
    s->n_held += decode(s, before, id);
    /* The earliest match wins, whichever string it is of. */
    const size_t stop = find_stop(s);
    if (stop < s->n_held) {
        pass_on(s, stop + (s->options.show_stop ? strlen(s->found) : 0));
        s->n_held = 0;
        return SLM_STOP_STRING;
    }
    return pass_on(s, s->n_held - maybe_stop(s)) ? SLM_STOP_NONE : SLM_STOP_CALLBACK;
}

void slm_stream_finish(struct slm_stream *s)
{
    s->n_held += slm_detok_flush(&s->detok, s->held + s->n_held);
    pass_on(s, s->n_held);
}
