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
/* Sessions that guess in one step: more use up by themselves what rows cost little. */
#define SLM_MOST_GUESSERS 8u

struct slm_session;
struct slm_engine;
struct slm_spec_kind;

enum { SLM_SPEC_CLASSES = 7 };

struct slm_speculator {
    const struct slm_spec_kind *kind; /* NULL: off */
    enum slm_speculate mode;
    size_t most;              /* guesses of a step */
    bool always;              /* whether they pay is not asked */
    struct slm_session *draft; /* of the draft model; owned. NULL: it has none to ask */
    /* What is expected next: of an n-gram match, where in the timeline it goes on and how many tokens agree; of a
     * draft, its guesses and how many have come true. */
    size_t from, len;
    int32_t guesses[SLM_MAX_GUESS];
    size_t n_guesses;
    size_t n_idle, patience;  /* draft: tokens since it was last asked; after how many it is although it did not pay */
    struct { float hits, tries; } odds[SLM_SPEC_CLASSES]; /* by how well founded a guess was; older ones count less */
    /* Seconds of a step with one row; what a row more and a draft's step cost, as shares of it. Measured. */
    double step_s, row_cost, draft_cost;
};

/* A draft must have the model's vocabulary; the error names the first token that differs. */
slm_status slm_speculate_check(const struct slm_model *model, const struct slm_model *draft, struct slm_error *error);
/* options NULL: the default. shared: the engine of the draft model, which drafts for other sessions too, all checked
 * already; NULL: this session has one of its own. On failure the session speculates as before. */
slm_status slm_speculator_open(struct slm_session *session, const struct slm_speculation *options,
                               struct slm_engine *shared, struct slm_error *error);
void slm_speculator_close(struct slm_speculator *speculator);

/* The loop of generation calls, for every token that was drawn and before it is evaluated: */
void slm_speculate_drawn(struct slm_session *session, int32_t id);
/* A session before its next token is computed, and what it is given. */
struct slm_guesser {
    struct slm_session *session;
    const struct slm_sampler_params *params;
    int32_t id;       /* that token */
    size_t room;      /* most guesses */
    int32_t *guesses; /* [SLM_MAX_GUESS] at the tokens that follow id */
    size_t n;         /* so many were written */
};
/* For the sessions of one step, SLM_MOST_GUESSERS at most: all of one mode, their drafts of one engine. meter: what
 * rows and drafts cost there. Returns the sum of guesses. */
size_t slm_speculate_guess(struct slm_speculator *meter, struct slm_guesser *guessers, size_t n);
/* After a step of so many rows. */
void slm_speculate_took(struct slm_speculator *speculator, size_t n_rows, double seconds);
/* Generation begins or ends: nothing is expected. */
void slm_speculate_forget(struct slm_speculator *speculator);
#endif
