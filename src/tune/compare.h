/* SPDX-License-Identifier: MIT
 * What makes evaluations of several models comparable: a measure that does not depend on how a text is cut into
 * tokens, whether distributions over tokens can be compared at all, and which models of many are worth looking at. */
#ifndef SLM_TUNE_COMPARE_H
#define SLM_TUNE_COMPARE_H
#include "slm.h"

/* Bytes of text that the tokens stand for which slm_evaluate predicts with these options. Perplexities of models
 * that cut a text differently are about different things; nats a byte are about the same bytes, but for those that
 * stand at the edges of windows. */
slm_status slm_compare_bytes(const struct slm_model *model, const struct slm_eval_options *options, size_t *bytes,
                             struct slm_error *error);
/* Whether both take the text for the same tokens, of as many. */
slm_status slm_compare_same_tokens(const struct slm_model *a, const struct slm_model *b, const char *text,
                                   size_t text_bytes, bool *same, struct slm_error *error);

/* One of several, by what is wanted little of; INFINITY = not known. */
enum { SLM_COSTS = 3 };
struct slm_cost {
    double of[SLM_COSTS]; /* bytes, seconds a token, loss */
};
/* Whether no other is at least as good in everything and better in something (the Pareto front). */
bool slm_compare_is_front(const struct slm_cost *costs, size_t n, size_t i);
#endif
