/* SPDX-License-Identifier: MIT
 * From logits to one token id: the sampler chain. A pure function of (logits, history, position, parameters):
 * no state between calls, no clock, no global; the scratch only saves allocations. So a draw can be repeated,
 * checked by a speculative decoder, or made on another machine, and gives the same id.
 *
 * Deliberately not here: stop strings and end-of-generation tokens (the generate loop), grammars (they arrive
 * as a mask of allowed tokens), defaults from the model file (slm_sampler_defaults). */
#ifndef SLM_ENGINE_SAMPLER_H
#define SLM_ENGINE_SAMPLER_H
#include "base/error.h"

struct slm_candidate; /* one token still in the race */

/* Working memory for vocabularies of up to n_vocab tokens, reserved when a session opens. A zeroed struct is
 * empty. */
struct slm_sampler_scratch {
    float *logits;                    /* [n_vocab] logits after bias and penalties */
    struct slm_candidate *candidates; /* [n_vocab] */
    uint32_t *counts;                 /* [n_vocab] occurrences in the penalty window; all 0 between calls */
    size_t n_vocab;
};
slm_status slm_sampler_scratch_init(struct slm_sampler_scratch *scratch, size_t n_vocab, struct slm_error *error);
void slm_sampler_scratch_release(struct slm_sampler_scratch *scratch); /* leaves it empty; twice is fine */

/* SLM_OK, or SLM_ERR_ARGUMENT naming the field, its value and what is allowed. pick() checks this itself;
 * programs call it to refuse bad parameters before a model is loaded. Ids of the logit bias are checked against
 * n_vocab unless n_vocab is 0. */
slm_status slm_sampler_check(const struct slm_sampler_params *params, size_t n_vocab, struct slm_error *error);

/* Draws one id.
 *   logits   [n_vocab] f32, all finite (else SLM_ERR_NUMERIC); n_vocab >= 1 and at most the scratch's
 *   history  [n_history] the tokens so far, oldest first, each in [0, n_vocab): what the penalties look back on
 *   position counter of the draw: the random number is a function of (params->seed, position) only
 *   mask     NULL, or [ceil(n_vocab / 64)]: a token whose bit is 0 counts as banned, before anything else
 * With temperature <= 0 the answer is the greatest logit after bias and penalties (lowest id on a tie) and the
 * filters do not run: none of them but typical_p could drop it. SLM_ERR_ARGUMENT also when every token is
 * banned. No allocation. *id is written on success only. */
slm_status slm_sampler_pick(struct slm_sampler_scratch *scratch, const float *logits, size_t n_vocab,
                            const int32_t *history, size_t n_history, uint64_t position,
                            const struct slm_sampler_params *params, const uint64_t *mask, int32_t *id,
                            struct slm_error *error);
#endif
