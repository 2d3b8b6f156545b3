/* SPDX-License-Identifier: MIT
 * Generating text: sample, detokenise, watch for stop strings, evaluate, repeat. Text goes out as soon as it is
 * certain: whole UTF-8 characters, and nothing that may still turn out to be the beginning of a stop string. The loop
 * allocates nothing: its one buffer is sized before it starts. Tokens may be computed ahead of their turn
 * (speculate.h); each is drawn, shown and counted in its turn all the same.
 * Deliberately not here: which token (sampler.c), the prompt's text (callers tokenise it, through a template or not).
 */
#include "base/checked.h"
#include "base/os.h"
#include "engine/session.h"

struct stream {
    const struct slm_generate_params *params;
    struct slm_detok detok;
    char *held;      /* text not yet passed on */
    size_t n_held;
    size_t max_stop; /* bytes of the longest stop string */
    uint64_t *mask;  /* with a grammar: the tokens it allows */
};

/* Wall time, for the result's figures. */
static double seconds_since(uint64_t start_ns) { return (double)(slm_os()->now_ns() - start_ns) * 1e-9; }

/* The first n held bytes go to the callback. */
static bool pass_on(struct stream *s, size_t n)
{
    const bool go_on = !s->params->on_text || s->params->on_text(s->params->user, s->held, n);
    s->n_held -= n;
    memmove(s->held, s->held + n, s->n_held);
    return go_on;
}

/* Where the first stop string begins in the held text, or n_held. */
static size_t find_stop(const struct stream *s)
{
    size_t first = s->n_held;
    for (size_t i = 0; i < s->params->n_stop; i++) {
        const size_t len = strlen(s->params->stop[i]);
        const char *hit = len ? memmem(s->held, s->n_held, s->params->stop[i], len) : NULL;
        if (hit && (size_t)(hit - s->held) < first) first = (size_t)(hit - s->held);
    }
    return first;
}

/* Bytes at the end that may be the beginning of a stop string. */
static size_t maybe_stop(const struct stream *s)
{
    size_t n = s->max_stop ? s->max_stop - 1 : 0;
    if (n > s->n_held) n = s->n_held;
    for (; n > 0; n--)
        for (size_t i = 0; i < s->params->n_stop; i++)
            if (strlen(s->params->stop[i]) > n && memcmp(s->held + s->n_held - n, s->params->stop[i], n) == 0) return n;
    return 0;
}

/* Takes the new text of one token. Returns why to stop, or NONE. */
static enum slm_stop_reason take_text(struct stream *s, size_t n_new)
{
    s->n_held += n_new;
/* The earliest match wins, whichever string it is of. */
    const size_t stop = find_stop(s);
    if (stop < s->n_held) {
        pass_on(s, stop);
        s->n_held = 0;
        return SLM_STOP_STRING;
    }
    return pass_on(s, s->n_held - maybe_stop(s)) ? SLM_STOP_NONE : SLM_STOP_CALLBACK;
}

static bool is_shown(const struct slm_generate_params *params, int32_t id)
{
    for (size_t i = 0; i < params->n_show; i++)
        if (params->show[i] == id) return true;
    return false;
}

/* Text of a token where it stands. Only the first after the prompt may differ from its piece: a space that begins a
 * text is no text (the tokenizer knows which; a grammar sees it, so then it is).
 * Returns the bytes put behind the held text. */
static size_t feed(struct slm_session *session, struct stream *s, int32_t id, bool first)
{
    const struct slm_tokenizer *tokenizer = session->model->tokenizer;
    struct slm_str piece = slm_tokenizer_piece(tokenizer, id, is_shown(s->params, id));
    if (first && !s->params->grammar && session->n_past > 0 && piece.len > 0) {
        const int32_t pair[2] = {session->tokens[session->n_past - 1], id};
        size_t before = 0, both = 0;
        if (slm_tokenizer_decode(tokenizer, pair, 1, false, NULL, 0, &before, NULL) == SLM_OK &&
            slm_tokenizer_decode(tokenizer, pair, 2, false, NULL, 0, &both, NULL) == SLM_OK &&
            both - before + 1 == piece.len)
            piece = (struct slm_str){piece.ptr + 1, piece.len - 1};
    }
    return slm_detok_feed(&s->detok, piece, s->held + s->n_held);
}

/* Evaluates a drawn token, with guesses at what follows unless it was guessed itself. room: tokens that may follow. */
static slm_status append(struct slm_session *session, const struct slm_sampler_params *params, int32_t id, size_t room,
                         struct slm_error *error)
{
    int32_t ids[1 + SLM_MAX_GUESS] = {id};
    struct slm_step_part part = {.session = session, .ids = ids, .n = 1};
    const bool foreseen = session->n_ahead > 0 && session->tokens[session->n_past] == id;
    const size_t left = session->n_ctx - session->n_past - 1;
    slm_speculate_drawn(session, id);
    if (!foreseen) part.n_guess = slm_speculate_guess(session, id, room < left ? room : left, params, ids + 1);
    const uint64_t start = slm_os()->now_ns();
    SLM_TRY(slm_engine_step(session->engine, &part, 1, error));
    if (!foreseen) slm_speculate_took(&session->speculator, 1 + session->n_ahead, seconds_since(start));
    return SLM_OK;
}

/* The next token: of all, or of those the grammar allows, which then goes on with it. */
static slm_status draw(struct slm_session *session, const struct stream *s, int32_t *id, struct slm_error *error)
{
    const struct slm_generate_params *params = s->params;
    if (!params->grammar) return slm_sample(session, &params->sampler, id, error);
    SLM_TRY(slm_grammar_mask(params->grammar, s->mask, error));
    SLM_TRY(slm_sample_masked(session, &params->sampler, s->mask, id, error));
    return slm_grammar_accept(params->grammar, *id, error);
}

static slm_status loop(struct slm_session *session, struct stream *s, struct slm_generate_result *result,
                       struct slm_error *error)
{
    const struct slm_generate_params *params = s->params;
    const struct slm_tokenizer *tokenizer = session->model->tokenizer;
    const size_t most = params->n_predict > 0 ? (size_t)params->n_predict : SIZE_MAX;
    while (result->stop_reason == SLM_STOP_NONE) {
        if (params->grammar && slm_grammar_is_final(params->grammar)) {
            result->stop_reason = SLM_STOP_EOG; /* it is all that could be drawn */
            break;
        }
        if (result->n_generated == most) {
            result->stop_reason = SLM_STOP_LENGTH;
            break;
        }
/* A drawn token must have room on the timeline: it is evaluated even when it is the last. */
        if (session->n_past == session->n_ctx) {
            result->stop_reason = SLM_STOP_CONTEXT;
            break;
        }
        int32_t id;
        SLM_TRY(draw(session, s, &id, error));
        if ((!params->ignore_eog || params->grammar) && tokenizer && slm_tokenizer_is_eog(tokenizer, id)) {
            result->stop_reason = SLM_STOP_EOG;
            break;
        }
        result->n_generated++;
        if (tokenizer)
            result->stop_reason = take_text(s, feed(session, s, id, result->n_generated == 1));
        const size_t room = result->stop_reason == SLM_STOP_NONE ? most - result->n_generated : 0;
        SLM_TRY(append(session, &params->sampler, id, room, error));
    }
    if (result->stop_reason != SLM_STOP_STRING && result->stop_reason != SLM_STOP_CALLBACK) {
        s->n_held += slm_detok_flush(&s->detok, s->held + s->n_held);
        pass_on(s, s->n_held);
    }
    return SLM_OK;
}

slm_status slm_generate(struct slm_session *session, const int32_t *prompt, size_t n_prompt,
                        const struct slm_generate_params *params, struct slm_generate_result *result,
                        struct slm_error *error)
{
    struct slm_generate_result local = {.n_prompt = n_prompt};
    struct stream s = {.params = params};
    for (size_t i = 0; i < params->n_stop; i++) {
        const size_t len = strlen(params->stop[i]);
        if (len > s.max_stop) s.max_stop = len;
    }
    /* A token's piece and a held-back character can each become three times as long (U+FFFD), twice over at the end. */
    size_t cap;
    if (!slm_mul_size(session->engine->max_piece + sizeof s.detok.held, 3, &cap) ||
        !slm_add_size(cap, s.max_stop + 64, &cap))
        return slm_fail(error, SLM_ERR_LIMIT, "generate", "stop strings are too long");
    s.held = slm_alloc(cap, 1, "generate", error);
    if (!s.held) return SLM_ERR_MEMORY;
    if (params->grammar) {
        s.mask = slm_alloc((session->model->hparams.n_vocab + 63) / 64, sizeof *s.mask, "generate", error);
        if (!s.mask) {
            slm_release(s.held);
            return SLM_ERR_MEMORY;
        }
    }
    const uint64_t start = slm_os()->now_ns();
    slm_status status = slm_session_eval(session, prompt, n_prompt, error);
    local.prompt_s = seconds_since(start);
    const uint64_t generating = slm_os()->now_ns();
    const struct slm_speculation_counts before = session->counts, *after = &session->counts;
    slm_speculate_forget(&session->speculator);
    if (status == SLM_OK) status = loop(session, &s, &local, error);
    local.generate_s = seconds_since(generating);
    local.speculation = (struct slm_speculation_counts){after->n_steps - before.n_steps,
                                                        after->n_guessed - before.n_guessed,
                                                        after->n_accepted - before.n_accepted};
    /* The timeline is what was generated, as if nothing had been guessed. */
    slm_session_drop_guesses(session);
    slm_release(s.held);
    slm_release(s.mask);
    if (result) *result = local;
    return status;
}
