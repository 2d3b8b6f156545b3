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
/* How this model writes calls of tools in JSON, as far as its template shows it. */
struct slm_call_form {
    const char *open, *close; /* marks around the JSON; NULL: none */
    const char *arguments;    /* the key beside "name" */
    bool is_list;             /* one array of calls; else each call by itself */
    bool is_alone;            /* one call is all there is */
};
/* False: in no way that is known so well. */
bool slm_parts_call_form(const struct slm_parts *parts, struct slm_call_form *out);
/* What comes next is thinking, or may be. */
bool slm_parts_thinks(const struct slm_parts *parts);
slm_status slm_parts_new(const struct slm_parts_style *style, struct slm_parts **out, struct slm_error *error);
#endif
