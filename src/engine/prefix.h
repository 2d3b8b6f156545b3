/* SPDX-License-Identifier: MIT
 * Beginnings of texts that were computed, kept for whoever begins in the same way. The pages of an engine's KV pool are
 * nodes of a tree: a full page of tokens under the page before it. Sessions and the tree hold pages together (kv.h
 * counts holders), so a beginning is there once, however many sessions use it, also while it is still being computed
 * further on, and stays after the last of them until its page is wanted for something else, the least recently used
 * first. What a page holds does not depend on who computed it, so using it changes no bit of what follows.
 *
 * Tokens are compared, not only hashes. All memory is taken at open. One thread, that of the engine. Deliberately not
 * here: which session asks when (the scheduler of the server), files. */
#ifndef SLM_ENGINE_PREFIX_H
#define SLM_ENGINE_PREFIX_H
#include "base/error.h"

struct slm_prefix; /* the tree over one engine */

slm_status slm_prefix_open(struct slm_engine *engine, struct slm_prefix **out, struct slm_error *error);
void slm_prefix_close(struct slm_prefix *prefix); /* returns all its pages; before the engine */

/* What names the beginning up to and including a page: `before` is that of the page in front of it, for the first page
 * a salt: beginnings with different salts have nothing in common. */
uint64_t slm_prefix_hash(uint64_t before, const int32_t *page);

/* A timeline in terms of the tree. hashes: one a full page. */
struct slm_prefix_line {
    const int32_t *ids;
    const uint64_t *hashes;
    size_t n_pages; /* full ones */
    uint64_t salt;
};
/* How many of its first pages are there; of these, how many are held by sessions, in *n_held (may be NULL). */
size_t slm_prefix_find(const struct slm_prefix *prefix, const struct slm_prefix_line *line, size_t *n_held);
/* The session, which holds exactly the line's first `from` pages, goes on with as many of the following as are there.
 * It is n pages long afterwards, and that is returned. It has no logits then, unless nothing was found. */
size_t slm_prefix_extend(struct slm_prefix *prefix, struct slm_session *session, const struct slm_prefix_line *line,
                         size_t from);
/* The session has computed all pages of the line: those from `from` on are for others too, the ones before are
 * known to be. Where the tree has the same page already, the session holds that one from now on. */
void slm_prefix_leave(struct slm_prefix *prefix, struct slm_session *session, const struct slm_prefix_line *line,
                      size_t from);
/* Takes the line out as far as no other line goes on from it and no session holds it. */
void slm_prefix_forget(struct slm_prefix *prefix, const struct slm_prefix_line *line);
/* Lets go of pages nobody else holds until n pages of the pool are free. False: there are too few. */
bool slm_prefix_make_room(struct slm_prefix *prefix, size_t n);
/* Pages that only the tree holds: as good as free. */
size_t slm_prefix_n_idle(const struct slm_prefix *prefix);
#endif
