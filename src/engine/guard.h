/* SPDX-License-Identifier: MIT
 * Texts of users in prompts: they must not become marks. Private to the engine. */
#ifndef SLM_ENGINE_GUARD_H
#define SLM_ENGINE_GUARD_H
#include "tokenizer/tokenizer.h"

/* The texts of a vocabulary's control tokens: looked up once a prompt, for it has many strings. They are views into the
 * tokenizer; only the list is the caller's to release. */
struct slm_controls {
    struct slm_str *texts; /* [n] */
    size_t n;
};
slm_status slm_controls_list(const struct slm_tokenizer *tokenizer, struct slm_controls *out, struct slm_error *error);

/* Appends the text with a guard in every control token it spells. */
slm_status slm_guard_add(const struct slm_controls *controls, struct slm_str text, struct slm_buf *out,
                         struct slm_error *error);
/* The ids of a prompt with guards: its own marks become control tokens. Returns owned *ids (slm_release). */
slm_status slm_guard_encode(const struct slm_tokenizer *tokenizer, struct slm_str text, int32_t **ids, size_t *n_ids,
                            struct slm_error *error);
#endif
