/* SPDX-License-Identifier: MIT
 * The thread of a loaded model. A round of its loop: take what came in, drop what was cancelled or ran out of time, let
 * the scheduler decide who runs, compute one step, give each sequence its rows, hand the events over. Nothing in a
 * round waits for a client, and nothing a client does lasts longer than a step.
 *
 * A job that fails (no memory for its text, logits that are not finite, a token that does not exist) fails alone; its
 * pages go back and the others do not notice.
 *
 * Deliberately not here: the rules of who runs (sched.c), text (choice.c). */
#include "serve/runner_part.h"

#include <time.h>

#include "base/os.h"
#include "engine/session.h"

enum { RETRY_MS = 10 }; /* for events that there was no memory for */
#define TARGET_S 0.1 /* of a step while somebody waits for the next token */
#define FIRST_COST 0.15 /* of a row more, before anything was measured */

/* ---- the thread ------------------------------------------------------------------------------------------------- */

/* Waits until there is something to do. False: stop. */
static bool receive(struct slm_runner *r, bool is_busy, bool again)
{
    /* Without memory for events there is something to do all the same: try again. */
    pthread_mutex_lock(&r->lock);
    while (!is_busy && !r->stops && !r->inbox.first && !again) pthread_cond_wait(&r->changed, &r->lock);
    if (!is_busy && again) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += RETRY_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) until = (struct timespec){until.tv_sec + 1, until.tv_nsec - 1000000000L};
        pthread_cond_timedwait(&r->changed, &r->lock, &until);
    }
    struct slm_ticket_list list = r->inbox;
    r->inbox = (struct slm_ticket_list){0};
    const bool go_on = !r->stops, drains = r->drains;
    pthread_mutex_unlock(&r->lock);
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&list)) != NULL;) slm_runner_take_in(r, t);
    if (drains) slm_table_refuse_waiting(r);
    return go_on;
}

/* Ends choices whose client has gone, or whose time is over. Also all of them, when the runner stops. */
static void drop_ended(struct slm_runner *r, bool all)
{
    const uint64_t now = slm_os()->now_ns();
    for (size_t i = r->sched.n_seqs; i-- > 0;) {
        if (i >= r->sched.n_seqs) continue; /* several left at once */
        struct slm_choice *c = r->choices[i];
        struct slm_ticket *t = c->ticket;
        const uint64_t timeout_ns = t->job->timeout_ms * 1000000u;
        enum slm_finish finish = SLM_FINISH_NONE;
        if (atomic_load_explicit(&t->cancelled, memory_order_relaxed)) {
            slm_table_count_finish(r, c, SLM_FINISH_CANCELLED);
            slm_table_remove(r, c);
            continue;
        }
        if (all) finish = SLM_FINISH_CANCELLED;
        else if (timeout_ns && now - t->submit_ns >= timeout_ns) finish = SLM_FINISH_TIMEOUT;
        if (finish == SLM_FINISH_NONE) continue;
        if (slm_choice_finish(c, finish)) {
            slm_table_count_finish(r, c, finish);
            slm_table_remove(r, c);
        } else {
            slm_table_fail_job(r, t, &c->error);
        }
    }
}

/* How things stand, for who asks from the other thread. */
static void publish(struct slm_runner *r)
{
    const struct slm_kv_pool *pool = r->env.engine ? &r->env.engine->pool : NULL;
    const size_t idle = pool ? slm_prefix_n_idle(r->env.prefix) : 0;
    size_t n_running = 0;
    for (size_t i = 0; i < r->sched.n_seqs; i++) n_running += r->sched.seqs[i].is_running;
    pthread_mutex_lock(&r->lock);
    r->counts.n_running = n_running;
    r->counts.n_waiting = r->sched.n_seqs - n_running;
    r->counts.kv_pages = pool ? pool->n_pages : 0;
    r->counts.kv_pages_cached = idle;
    r->counts.kv_pages_used = pool ? pool->n_pages - pool->n_free - idle : 0;
    pthread_mutex_unlock(&r->lock);
}

/* True: there was no memory for it, and it is to be tried again. */
static bool hand_over(struct slm_runner *r)
{
    const enum slm_flush flush = slm_outbox_flush(&r->outbox);
    if (flush == SLM_FLUSH_POST) r->options.post(r->options.user);
    return flush == SLM_FLUSH_AGAIN;
}

/* The thread. */
static void run(void *arg)
{
    struct slm_runner *r = arg;
    bool again = false;
    while (receive(r, r->sched.n_seqs > 0 || r->embeds.first, again)) {
        drop_ended(r, false);
        if (r->sched.n_seqs > 0) slm_runner_step(r);
        slm_runner_embed(r);
        publish(r);
        again = hand_over(r);
    }
    /* Stopped: whoever is left is told. Events without memory are tried until it is there: clients wait for them. */
    drop_ended(r, true);
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&r->embeds)) != NULL;) {
        struct slm_error error;
        (void)slm_fail(&error, SLM_ERR_CANCELLED, "embed", "the model is being unloaded");
        slm_ticket_fail(t, &error, 1);
        slm_ticket_end(r, t);
    }
    publish(r);
    for (again = true; again;) again = hand_over(r);
}

struct slm_engine_options slm_runner_draft_engine(const struct slm_engine_options *engine)
{
    struct slm_engine_options draft = *engine;
    const size_t most = (size_t)engine->session.n_ctx * SLM_MOST_GUESSERS;
    if (draft.n_kv > most) draft.n_kv = most;
    return draft;
}

/* Only sequences that generate are guessed for. */
static slm_status open_drafts(struct slm_runner *r, struct slm_error *error)
{
    const struct slm_speculation *speculation = &r->options.speculation;
    const struct slm_engine_options options = slm_runner_draft_engine(&r->options.engine);
    r->env.speculates = speculation->mode != SLM_SPECULATE_OFF;
    r->meter.row_cost = FIRST_COST;
    return speculation->draft ? slm_engine_open(speculation->draft, &options, &r->drafts, error) : SLM_OK;
}

/* All that generating needs. */
static slm_status open_engine(struct slm_runner *r, struct slm_error *error)
{
    const struct slm_engine_options *options = &r->options.engine;
    const size_t n = r->options.max_running;
    /* The engine says why it cannot, and jobs that want it to hear that. */
    if (r->model->has_no_head || r->model->hparams.bidirectional) {
        struct slm_engine *none;
        (void)slm_engine_open(r->model, options, &none, &r->cannot_generate);
        return SLM_OK;
    }
    SLM_TRY(slm_engine_open(r->model, options, &r->env.engine, error));
    SLM_TRY(slm_engine_pack(r->env.engine, error)); /* before somebody waits */
    SLM_TRY(slm_prefix_open(r->env.engine, &r->env.prefix, error));
    SLM_TRY(open_drafts(r, error));
    r->sessions = slm_alloc(n, sizeof *r->sessions, "runner", error);
    r->parts = slm_alloc(n, sizeof *r->parts, "runner", error);
    r->computed = slm_alloc(n, sizeof *r->computed, "runner", error);
    r->drawing = slm_alloc(n, sizeof *r->drawing, "runner", error);
    r->guesses = slm_alloc(SLM_MOST_GUESSERS, sizeof *r->guesses, "runner", error);
    if (!r->sessions || !r->parts || !r->computed || !r->drawing || !r->guesses) return SLM_ERR_MEMORY;
    if (r->options.keeps_slots) {
        r->slots = slm_alloc(n, sizeof *r->slots, "runner", error);
        if (!r->slots) return SLM_ERR_MEMORY;
    }
    const struct slm_engine_info info = slm_engine_info(r->env.engine);
    /* The engine has resolved what was left to it. */
    r->sched.page_tokens = info.page_tokens;
    r->sched.n_pages = info.n_pages;
    r->sched.max_running = n;
    r->sched.max_rows = info.n_batch;
    r->sched.target_s = TARGET_S;
    r->env.n_ctx = info.n_ctx < info.n_pages * info.page_tokens ? info.n_ctx : info.n_pages * info.page_tokens;
    return SLM_OK;
}

/* On failure the outbox and all else is closed again. */
slm_status slm_runner_open(const struct slm_model *model, const struct slm_runner_options *options,
                           struct slm_runner **out, struct slm_error *error)
{
    struct slm_runner *r = slm_alloc(1, sizeof *r, "runner", error);
    if (!r) return SLM_ERR_MEMORY;
    r->model = r->env.model = model;
    r->options = *options;
    r->env.outbox = &r->outbox;
    slm_kernels_init(&r->env.kernels, model->cpu_mask);
    r->env.n_ctx = (size_t)options->engine.session.n_ctx;
    /* From here on slm_runner_close undoes it. */
    slm_outbox_open(&r->outbox);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    slm_status status = open_engine(r, error);
    if (status == SLM_OK) status = slm_os()->thread_start(run, r, &r->thread, error);
    if (status != SLM_OK) {
        slm_runner_close(r);
        return status;
    }
    *out = r;
    return SLM_OK;
}

/* Whoever waits is with the thread or in the list that it looks at next; with neither it sleeps on. */
void slm_runner_drain(struct slm_runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->drains = true;
    pthread_mutex_unlock(&r->lock);
}

/* Waits for the step that is being computed. */
void slm_runner_stop(struct slm_runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->stops = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    slm_os()->thread_join(r->thread);
    r->thread = NULL;
}

/* Also of one that was opened halfway. */
void slm_runner_close(struct slm_runner *r)
{
    if (!r) return;
    slm_embedder_close(r->embedder);
    for (size_t i = 0; r->slots && i < r->options.max_running; i++) slm_release(r->slots[i].ids);
    slm_release(r->slots);
    slm_prefix_close(r->env.prefix);
    for (size_t i = 0; i < r->n_idle_sessions; i++) slm_session_close(r->sessions[i]);
    SLM_ASSERT(!r->env.engine || r->env.engine->pool.n_free == r->env.engine->pool.n_pages);
    slm_engine_close(r->env.engine);
    slm_engine_close(r->drafts);
    slm_release(r->sessions);
    slm_release(r->parts);
    slm_release(r->computed);
    slm_release(r->guesses);
    slm_release(r->env.rows);
    slm_release(r->env.masks);
    slm_release(r->drawing);
    slm_release(r->sched.seqs);
    slm_release(r->sched.served);
    slm_release(r->choices);
    slm_release(r->tenants);
    slm_release(r->present);
    slm_outbox_close(&r->outbox);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    slm_release(r);
}

/* ---- the serving thread's side ---------------------------------------------------------------------------------- */

/* The lock is held by the runner for a few instructions only. */
void slm_runner_submit(struct slm_runner *r, struct slm_ticket *ticket)
{
    pthread_mutex_lock(&r->lock);
    r->n_waiting++;
    slm_ticket_list_add(&r->inbox, ticket);
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

struct slm_outbox *slm_runner_outbox(struct slm_runner *r) { return &r->outbox; }
size_t slm_runner_n_ctx(const struct slm_runner *r) { return r->env.n_ctx; }

size_t slm_runner_n_waiting(struct slm_runner *r)
{
    pthread_mutex_lock(&r->lock);
    const size_t n = r->n_waiting;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void slm_runner_count(struct slm_runner *r, struct slm_host_counts *sum)
{
    pthread_mutex_lock(&r->lock);
    const struct slm_host_counts c = r->counts;
    pthread_mutex_unlock(&r->lock);
    slm_host_counts_add(sum, &c);
}
