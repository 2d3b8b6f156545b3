/* SPDX-License-Identifier: MIT
 * The recogniser of parts without a model, for what opens one and for tests. */
#ifndef SLM_ENGINE_PARTS_H
#define SLM_ENGINE_PARTS_H
#include "base/str.h"

struct slm_parts_style {
    const char *template_text; /* of the chat template, or NULL */
    const char *prompt_end;    /* the last few characters of the prompt, or NULL */
    bool tools;                /* tools were offered */
    /* Does the vocabulary have this text as a token that is not ordinary text? NULL: no. */
    bool (*has_mark)(const void *user, const char *mark);
    const void *user;
};
slm_status slm_parts_new(const struct slm_parts_style *style, struct slm_parts **out, struct slm_error *error);
#endif
