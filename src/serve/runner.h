/* SPDX-License-Identifier: MIT
 * One loaded model at work: a thread that asks the scheduler (sched.h) what to compute, computes it with the engine,
 * draws tokens, makes text of them and writes events (outbox.h). Jobs come in through a locked list; nothing else is
 * shared with the thread that serves but the tickets' cancelled flags and the counts.
 *
 * The text of a job is that of slm_generate with the same parameters, bit for bit, whoever shares its steps, whether
 * its beginning was in the cache, and however often it lost its pages. Deliberately not here: loading, names, memory
 * budgets (host.c). */
#ifndef SLM_SERVE_RUNNER_H
#define SLM_SERVE_RUNNER_H
#include <stdatomic.h>

#include "serve/host.h"
#include "serve/outbox.h"

struct slm_choice; /* one sequence of a job */

struct slm_ticket {
    struct slm_job *job;         /* owned */
    slm_event_fn on_event;       /* the host's. The serving thread's, as is all to `model` */
    void *user;
    slm_event_fn receive;        /* the owner's; NULL: nobody listens any more */
    void *receive_user;
    struct slm_job_times times;
    struct slm_host_model *model;
    _Atomic bool cancelled;
    /* From here on the runner's, from submit until the ticket has ended. */
    struct slm_ticket *next;
    struct slm_choice *choices;  /* [job->n_choices] */
    size_t n_left;               /* choices that are not finished */
    bool has_begun;              /* it counts as waiting before */
    uint64_t submit_ns, begin_ns;
    float *vectors;              /* embeddings: [n_embed, n_dims] as far as they are computed */
    size_t n_embedded, n_dims;
    struct slm_event end;        /* END or FAILED */
};
void slm_ticket_free(struct slm_ticket *ticket);
/* The ticket's last event is a failure. */
void slm_ticket_fail(struct slm_ticket *ticket, const struct slm_error *error, int retry_after_s);

/* Whose turn it is to compute, among all models of a host: each step has all the threads for itself, in the order of
 * asking, since two that share the cores would both wait for the slower half of their threads. */
struct slm_turns {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t next, now;
};

struct slm_runner_options {
    struct slm_engine_options engine; /* resolved: n_ctx and n_kv are not 0 */
    size_t max_running;
    struct slm_speculation speculation; /* its draft has the model's vocabulary */
    bool keeps_slots;
    struct slm_turns *turns;
    /* Something is in the outbox. From the runner's thread, once until it is replayed. */
    void (*post)(void *user);
    void *user;
};

struct slm_runner;
/* What the engine of a draft model is opened with: KV for those that can guess at a time, as the model's has it. */
struct slm_engine_options slm_runner_draft_engine(const struct slm_engine_options *engine);
/* Opens the engine, which takes the time it takes, and starts the thread. Models that only embed have no engine. */
slm_status slm_runner_open(const struct slm_model *model, const struct slm_runner_options *options,
                           struct slm_runner **out, struct slm_error *error);
/* Refuses the jobs that have not begun, with a time after which to try again; the others go on. */
void slm_runner_drain(struct slm_runner *runner);
/* Ends all jobs as cancelled and the thread with them; their last events are in the outbox. */
void slm_runner_stop(struct slm_runner *runner);
void slm_runner_close(struct slm_runner *runner); /* after stop, when the outbox has been replayed */

void slm_runner_submit(struct slm_runner *runner, struct slm_ticket *ticket);
struct slm_outbox *slm_runner_outbox(struct slm_runner *runner);
size_t slm_runner_n_ctx(const struct slm_runner *runner);
size_t slm_runner_n_waiting(struct slm_runner *runner); /* jobs that have not begun */
/* Adds this model's figures. */
void slm_runner_count(struct slm_runner *runner, struct slm_host_counts *counts);
#endif
