/* SPDX-License-Identifier: MIT
 * What the files of a runner share with each other: the runner itself, its table of sequences, tickets, turns.
 *
 * runner.c the thread, opening and closing, the other thread's side · runner_table.c sequences, tickets and tenants ·
 * runner_intake.c jobs and slots that come in · runner_step.c deciding and computing · runner_embed.c embeddings */
#ifndef SLM_SERVE_RUNNER_PART_H
#define SLM_SERVE_RUNNER_PART_H
#include <stdatomic.h>

#include "serve/choice.h"
#include "serve/runner.h"
#include "serve/sched.h"
#include "serve/slots.h"

/* Whose jobs they are; its counter is the scheduler's. */
struct slm_tenant {
    char name[sizeof ((struct slm_job *)0)->tenant];
    size_t n_seqs;
};

struct slm_runner {
    const struct slm_model *model;
    struct slm_runner_options options;
    struct slm_choice_env env;
    struct slm_outbox outbox;
    struct slm_thread *thread;
    struct slm_error cannot_generate; /* why there is no engine */
    struct slm_engine *drafts;        /* of the draft model, or NULL: no sequence has one */
    struct slm_session **sessions;    /* [max_running] those that nobody uses */
    size_t n_idle_sessions, n_sessions;
    /* The scheduler's table and, row by row, whose it is. */
    struct slm_sched sched;
    struct slm_choice **choices;      /* [cap] */
    size_t cap;
    struct slm_tenant *tenants;           /* [sched.n_tenants] */
    bool *present;
    uint64_t n_orders, n_salts;
    /* One step: */
    struct slm_step_part *parts;      /* [max_running] */
    struct slm_choice **computed;     /* [max_running] */
    struct slm_choice **drawing;      /* [max_running] of these, those that draw */
    int32_t (*guesses)[1 + SLM_MAX_GUESS]; /* [SLM_MOST_GUESSERS] */
    struct slm_speculator meter;      /* what rows and drafts cost here */
    struct slm_slot *slots;           /* [max_running], or NULL: not kept */
    /* Embeddings: */
    struct slm_embedder *embedder;
    int32_t embed_dims;
    struct slm_ticket_list embeds;
    /* What follows is shared with the serving thread; these two without the lock, for who asks whether this thread
     * still does anything must not wait for it. */
    _Atomic uint64_t n_rounds;        /* of its loop */
    _Atomic bool works;               /* it has something to do, or is about to find out */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slm_ticket_list inbox;
    bool stops, drains;
    size_t n_waiting;
    struct slm_host_counts counts;
};

/* ---- runner_table.c --------------------------------------------------------------------------------------------- */

/* The ticket's last event is on its way; nothing of it is left here. */
void slm_ticket_end(struct slm_runner *r, struct slm_ticket *t);
/* Its first token is going to be computed. */
slm_status slm_ticket_begin(struct slm_runner *r, struct slm_ticket *t, struct slm_error *error);

/* What the scheduler knows of a choice. */
struct slm_sched_seq *slm_table_row(const struct slm_runner *r, const struct slm_choice *c);
/* The table has room for n more. */
slm_status slm_table_reserve(struct slm_runner *r, size_t n, struct slm_error *error);
/* The counter of a tenant by name; one that nobody uses is given to the next newcomer. */
slm_status slm_table_tenant(struct slm_runner *r, const char *name, uint32_t *out, struct slm_error *error);
/* A further session, with a draft's where there is one. */
slm_status slm_table_session(struct slm_runner *r, struct slm_session **out, struct slm_error *error);
/* The choice waits from here on. */
void slm_table_add(struct slm_runner *r, struct slm_choice *c, uint32_t tenant);
/* Its session is free for others. */
void slm_table_stop(struct slm_runner *r, struct slm_choice *c);
/* The choice leaves the table; the last one of a job ends it. */
void slm_table_remove(struct slm_runner *r, struct slm_choice *c);
/* The whole job fails, whichever of its choices it happened to. */
void slm_table_fail_job(struct slm_runner *r, struct slm_ticket *t, const struct slm_error *error);
/* What has not begun can as well be computed by somebody who stays. */
void slm_table_refuse_waiting(struct slm_runner *r);
/* For the totals. */
void slm_table_count_finish(struct slm_runner *r, const struct slm_choice *c, enum slm_finish finish);

/* ---- the others ------------------------------------------------------------------------------------------------- */

/* From the list of the serving thread into the tables. */
void slm_runner_take_in(struct slm_runner *r, struct slm_ticket *t);
/* One step, from deciding to drawing. */
void slm_runner_step(struct slm_runner *r);
/* Some texts of the first job that wants embeddings, which then goes to the end of the line. */
void slm_runner_embed(struct slm_runner *r);
/* Waits until all who asked before have computed; and: the next one's. */
void slm_turns_take(struct slm_turns *turns);
void slm_turns_end(struct slm_turns *turns);

#endif
