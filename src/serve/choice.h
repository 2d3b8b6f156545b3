/* SPDX-License-Identifier: MIT
 * Private to the runner: one choice of a job as a sequence of tokens, from its prompt to its last word. It may run (it
 * has a session then) or wait; what it is does not depend on that.
 *
 * Deliberately not here: when it runs (runner_step.c). */
#ifndef SLM_SERVE_CHOICE_H
#define SLM_SERVE_CHOICE_H
#include "engine/parts.h"
#include "engine/prefix.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "kernel/kernel.h"
#include "serve/runner.h"

/* What all choices of a model share. */
struct slm_choice_env {
    const struct slm_model *model;
    struct slm_engine *engine;
    struct slm_prefix *prefix;
    struct slm_outbox *outbox;
    struct slm_kernels kernels;
    size_t n_ctx; /* of a sequence: what session and pool hold */
    bool speculates;
    uint64_t *masks; /* [n_samplers, n_vocab / 64] tokens that a grammar allows; NULL until a job has one */
    float *rows;  /* [SLM_CHOICE_ROWS, n_vocab] for logprobs of prompts; NULL until somebody asks */
};
enum { SLM_CHOICE_ROWS = 16, SLM_CHOICE_TOP = 20 };

/* What a row of logits says of its likeliest tokens, and what turns logits into logprobs. */
struct slm_logprobs {
    float greatest;
    double log_sum; /* of exp(logit - greatest) */
    struct slm_token_top top[SLM_CHOICE_TOP]; /* [n_top] */
    size_t n_top;
};

/* A token that was drawn, before it is taken. */
struct slm_draw {
    bool is_made;
    slm_status status; /* not OK: the error is in the choice */
    int32_t id;
    float logit;
    struct slm_logprobs probs; /* where the job wants them */
};

struct slm_choice {
    struct slm_ticket *ticket;
    struct slm_choice_env *env;
    size_t at;                   /* its row in the scheduler's table */
    int32_t index;
    bool has_begun, has_ended;
    struct slm_session *session; /* while it runs; owned by the runner */
    /* The timeline: the job's prompt itself until something is generated. */
    int32_t *ids;                /* [n_known] */
    size_t n_known, cap;
    uint64_t *hashes;            /* [n_known / page] as far as n_hashed */
    size_t n_hashed, hashes_cap;
    uint64_t salt;
    size_t n_left;               /* pages of the session that the tree has */
    /* Text. */
    bool is_open;                /* stream and parts */
    struct slm_stream stream;
    struct slm_parts *parts;     /* NULL: all is content */
    enum slm_part_kind kind;     /* of the last text */
    struct slm_grammar_state *grammar; /* from where it holds on; NULL: it does not */
    struct slm_buf seen;         /* the last text, while the grammar's trigger is looked for in it */
    struct slm_buf tokens, tops; /* logprobs that go out with the next text */
    /* What became of it. */
    struct slm_sampler_params sampler;
    struct slm_draw drawn;       /* ahead, by one of many threads */
    size_t n_generated, n_thinking, n_cached, n_asked; /* n_asked: prompt tokens that told the logprobs
                                                           of those that follow */
    enum slm_finish finish;
    uint64_t first_ns, waits_since_ns; /* the latter: or since one of its priority was served */
    struct slm_speculation_counts counts, before; /* before: the session's when it was taken */
    struct slm_error error;      /* why the job fails; status SLM_OK: it does not */
};

/* Fills a zeroed choice. */
slm_status slm_choice_open(struct slm_choice *choice, struct slm_choice_env *env, struct slm_ticket *ticket,
                           int32_t index, uint64_t salt, struct slm_error *error);
void slm_choice_close(struct slm_choice *choice);

/* The line of its first pages that another may have computed for it; all full pages at most. */
struct slm_prefix_line slm_choice_line(struct slm_choice *choice);
/* It runs now, on an empty session, and begins with what the tree has of it; or it runs no more. */
void slm_choice_take(struct slm_choice *choice, struct slm_session *session);
struct slm_session *slm_choice_give(struct slm_choice *choice);
/* Goes on with what the tree has of it by now. */
void slm_choice_catch_up(struct slm_choice *choice);
/* Of those that a step has computed: could draw a token now. Then the costly part of it, which touches nothing but this
 * choice, may be done on any thread of the engine, for many choices at once; slm_choice_computed finds it. */
bool slm_choice_can_draw(const struct slm_choice *choice);
void slm_choice_draw(struct slm_choice *choice, unsigned rank);
/* A step computed n_rows of its tokens; its rows of logits are in env when it asked for those of the prompt. Draws
 * tokens as far as there are logits. Afterwards it has ended, or has tokens to compute. False: its job fails. */
bool slm_choice_computed(struct slm_choice *choice, size_t n_rows);
/* Its last token, and how many may be guessed behind it; into ids, the token first. */
struct slm_guesser slm_choice_guesser(struct slm_choice *choice, size_t room, int32_t ids[1 + SLM_MAX_GUESS]);
/* Writes the last text and FINISHED. */
bool slm_choice_finish(struct slm_choice *choice, enum slm_finish finish);
/* Does its next step need all rows of logits? */
bool slm_choice_asks(const struct slm_choice *choice);
#endif
