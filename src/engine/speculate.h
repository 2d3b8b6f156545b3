/* SPDX-License-Identifier: MIT
 * Speculation: guesses at the tokens that come next, computed together with the token that is certain. A step reads all
 * weights whether it computes one row or a few, so a guess that comes true is a token nearly for free. Guesses never
 * decide anything: each token is drawn from the logits at its position exactly as without them, and a session uses what
 * was computed ahead only where the guess was that very token (engine.c). So the text is the same, bit for bit.
 *
 * Here: where guesses come from, and how many are worth their rows. Deliberately not here: computing and forgetting
 * them (engine.c, session.c). */
#ifndef SLM_ENGINE_SPECULATE_H
#define SLM_ENGINE_SPECULATE_H
#include "base/error.h"

/* Most guesses of a step: more than pay on any machine we know. */
#define SLM_MAX_GUESS 15u

struct slm_session;
struct slm_spec_kind;

enum { SLM_SPEC_CLASSES = 7 };

struct slm_speculator {
    const struct slm_spec_kind *kind; /* NULL: off */
    enum slm_speculate mode;
    size_t most;              /* guesses of a step */
    bool always;              /* whether they pay is not asked */
    struct slm_session *draft; /* of the draft model; owned */
    /* What is expected next: of an n-gram match, where in the timeline it goes on and how many tokens agree; of a
     * draft, its guesses and how many have come true. */
    size_t from, len;
    int32_t guesses[SLM_MAX_GUESS];
    size_t n_guesses;
    size_t n_idle;            /* draft: tokens since one was last asked */
    struct { float hits, tries; } odds[SLM_SPEC_CLASSES]; /* by how well founded a guess was; older ones count less */
    /* Seconds of a step with one row; what a row more and a draft's token cost, as shares of it. Measured. */
    double step_s, row_cost, draft_cost;
};

/* options NULL: the default. A draft model must have the session's vocabulary. On failure the session speculates as
 * before. */
slm_status slm_speculator_open(struct slm_session *session, const struct slm_speculation *options,
                               struct slm_error *error);
void slm_speculator_close(struct slm_speculator *speculator);

/* The loop of generation calls, for every token that was drawn and before it is evaluated: */
void slm_speculate_drawn(struct slm_session *session, int32_t id);
/* Before a token is computed: writes guesses at the tokens that follow id; at most room of them. Returns how many. */
size_t slm_speculate_guess(struct slm_session *session, int32_t id, size_t room,
                           const struct slm_sampler_params *params, int32_t guesses[SLM_MAX_GUESS]);
/* After a step of so many rows. */
void slm_speculate_took(struct slm_speculator *speculator, size_t n_rows, double seconds);
/* Generation begins or ends: nothing is expected. */
void slm_speculate_forget(struct slm_speculator *speculator);
#endif
