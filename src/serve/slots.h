/* SPDX-License-Identifier: MIT
 * Conversations by number, as llama-server's clients know them: what the last job of a slot was, from its prompt to its
 * last token, so that it can be written to a file and be had again later, or after a restart. A slot is only a list of
 * tokens: what was computed of them is where everybody's beginnings are (engine/prefix.h), or is computed again.
 *
 * Deliberately not here: saving, which is a job like others that computes what is missing and then writes instead of
 * drawing (choice.c). One thread, the runner's. */
#ifndef SLM_SERVE_SLOTS_H
#define SLM_SERVE_SLOTS_H
#include "base/error.h"

struct slm_prefix;
struct slm_session;
struct slm_slot { int32_t *ids; size_t n; };

/* A job has ended in this slot. Without memory the slot is empty. */
void slm_slot_keep(struct slm_slot *slot, const int32_t *ids, size_t n);
/* Empty, also of what the tree has of it and nobody else uses. */
void slm_slot_erase(struct slm_slot *slot, struct slm_prefix *prefix);
/* The file's tokens become the slot's and its full pages the tree's. The session is empty before and after. LIMIT:
 * other jobs have the pages. */
slm_status slm_slot_restore(struct slm_slot *slot, struct slm_prefix *prefix, struct slm_session *session,
                            const char *path, struct slm_error *error);
#endif
