/* SPDX-License-Identifier: MIT
 * Generating text: sample, detokenise, watch for stop strings (stream.h), evaluate, repeat. The loop allocates
 * nothing. Tokens may be computed ahead of their turn (speculate.h); each is drawn, shown and counted in its turn all
 * the same.
 * Deliberately not here: which token (sampler.c), the prompt's text (callers tokenise it, through a template or not).
 */
#include "base/os.h"
#include "engine/session.h"
#include "engine/stream.h"

/* Wall time, for the result's figures. */
static double seconds_since(uint64_t start_ns) { return (double)(slm_os()->now_ns() - start_ns) * 1e-9; }

/* Evaluates a drawn token, with guesses at what follows unless it was guessed itself. room: tokens that may follow. */
static slm_status append(struct slm_session *session, const struct slm_sampler_params *params, int32_t id, size_t room,
                         struct slm_error *error)
{
    int32_t ids[1 + SLM_MAX_GUESS] = {id};
    struct slm_step_part part = {.session = session, .ids = ids, .n = 1};
    const bool foreseen = session->n_ahead > 0 && session->tokens[session->n_past] == id;
    const size_t left = session->n_ctx - session->n_past - 1;
    slm_speculate_drawn(session, id);
    struct slm_guesser guesser = {.session = session, .params = params, .id = id, .room = room < left ? room : left,
                                  .guesses = ids + 1};
    if (!foreseen) part.n_guess = slm_speculate_guess(&session->speculator, &guesser, 1);
    const uint64_t start = slm_os()->now_ns();
    SLM_TRY(slm_engine_step(session->engine, &part, 1, error));
    if (!foreseen) slm_speculate_took(&session->speculator, 1 + session->n_ahead, seconds_since(start));
    return SLM_OK;
}

/* The next token: of all, or of those the grammar allows, which then goes on with it. */
static slm_status draw(struct slm_session *session, const struct slm_generate_params *params, uint64_t *mask,
                       int32_t *id, struct slm_error *error)
{
    if (!params->grammar) return slm_sample(session, &params->sampler, id, error);
    SLM_TRY(slm_grammar_mask(params->grammar, mask, error));
    SLM_TRY(slm_sample_masked(session, &params->sampler, mask, id, error));
    return slm_grammar_accept(params->grammar, *id, error);
}

/* From the logits of the prompt to the last token. */
static slm_status loop(struct slm_session *session, struct slm_stream *s, const struct slm_generate_params *params,
                       uint64_t *mask, struct slm_generate_result *result, struct slm_error *error)
{
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
        SLM_TRY(draw(session, params, mask, &id, error));
        if ((!params->ignore_eog || params->grammar) && tokenizer && slm_tokenizer_is_eog(tokenizer, id)) {
            result->stop_reason = SLM_STOP_EOG;
            break;
        }
        result->n_generated++;
        const int32_t before = session->n_past ? session->tokens[session->n_past - 1] : -1;
        result->stop_reason = slm_stream_feed(s, before, id);
        const size_t room = result->stop_reason == SLM_STOP_NONE ? most - result->n_generated : 0;
        SLM_TRY(append(session, &params->sampler, id, room, error));
    }
    if (result->stop_reason != SLM_STOP_STRING && result->stop_reason != SLM_STOP_CALLBACK) slm_stream_finish(s);
    return SLM_OK;
}

slm_status slm_generate(struct slm_session *session, const int32_t *prompt, size_t n_prompt,
                        const struct slm_generate_params *params, struct slm_generate_result *result,
                        struct slm_error *error)
{
    struct slm_generate_result local = {.n_prompt = n_prompt};
    struct slm_stream s;
    const struct slm_stream_options stream = {.stop = params->stop, .n_stop = params->n_stop, .show = params->show,
                                              .n_show = params->n_show, .on_text = params->on_text,
                                              .user = params->user, .keep_space = params->grammar != NULL};
    uint64_t *mask = NULL;
    SLM_TRY(slm_stream_open(&s, session->engine, &stream, error));
    if (params->grammar) {
        mask = slm_alloc((session->model->hparams.n_vocab + 63) / 64, sizeof *mask, "generate", error);
        if (!mask) {
            slm_stream_close(&s);
            return SLM_ERR_MEMORY;
        }
    }
    const uint64_t start = slm_os()->now_ns();
    slm_status status = slm_session_eval(session, prompt, n_prompt, error);
    local.prompt_s = seconds_since(start);
    /* Evaluating can fail: then this is the time until it did. */
    const uint64_t generating = slm_os()->now_ns();
    const struct slm_speculation_counts before = session->counts, *after = &session->counts;
    slm_speculate_forget(&session->speculator);
    if (status == SLM_OK) status = loop(session, &s, params, mask, &local, error);
    local.generate_s = seconds_since(generating);
    local.speculation = (struct slm_speculation_counts){after->n_steps - before.n_steps,
                                                        after->n_guessed - before.n_guessed,
                                                        after->n_accepted - before.n_accepted};
    /* The timeline is what was generated, as if nothing had been guessed. */
    slm_session_drop_guesses(session);
    slm_stream_close(&s);
    slm_release(mask);
    if (result) *result = local;
    return status;
}
