/* SPDX-License-Identifier: MIT
 * The families this build knows: one row each. Adding one = one file beside this, one row here, one golden test. */
#ifndef SLM_FAMILIES_FAMILIES_H
#define SLM_FAMILIES_FAMILIES_H
#include "model/family.h"

#define SLM_FAMILIES(X) X(llama) X(qwen3)

#define X(name) extern const struct slm_family slm_family_##name;
SLM_FAMILIES(X)
#undef X

/* NULL when no family has this architecture. */
const struct slm_family *slm_family_find(struct slm_str architecture);
/* "llama, qwen3": for messages. */
const char *slm_family_names(void);
#endif
