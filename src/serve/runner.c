/* SPDX-License-Identifier: MIT
 * The thread of a loaded model. A round of its loop: take what came in, drop what was cancelled or ran out of time, let
 * the scheduler decide who runs, compute one step, give each sequence its rows, hand the events over. Nothing in a
 * round waits for a client, and nothing a client does lasts longer than a step.
 *
 * A job that fails (no memory for its text, logits that are not finite, a token that does not exist) fails alone; its
 * pages go back and the others do not notice.
 *
 * Deliberately not here: the rules of who runs (sched.c), text (choice.c). */
#include "serve/runner.h"

#include <inttypes.h>
#include <time.h>

#include "base/os.h"
#include "serve/choice.h"
#include "serve/sched.h"
#include "serve/slots.h"

enum {
    PAGE = SLM_KV_PAGE_TOKENS,
    RETRY_MS = 10,
    MOST_GUESSING = 8, /* sequences that decode together and guess: more use up by themselves what rows cost little */
    MOST_GUESSES = 32, /* of a step */
};
#define TARGET_S 0.1 /* of a step while somebody waits for the next token */
#define AGING_NS UINT64_C(10000000000) /* of waiting, for a level of priority: ten seconds */
#define FIRST_COST 0.15 /* of a row more, before anything was measured */

/* Whose jobs they are; its counter is the scheduler's. */
struct tenant {
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
    struct slm_session **sessions;    /* [max_running] those that nobody uses */
    size_t n_idle_sessions, n_sessions;
    /* The scheduler's table and, row by row, whose it is. */
    struct slm_sched sched;
    struct slm_choice **choices;      /* [cap] */
    size_t cap;
    struct tenant *tenants;           /* [sched.n_tenants] */
    bool *present;
    uint64_t n_orders, n_salts;
    /* One step: */
    struct slm_step_part *parts;      /* [max_running] */
    struct slm_choice **computed;     /* [max_running] */
    struct slm_choice **drawing;      /* [max_running] of these, those that draw */
    int32_t (*guesses)[1 + SLM_MAX_GUESS]; /* [MOST_GUESSING] */
    struct slm_speculator meter;      /* what rows cost here */
    struct slm_slot *slots;           /* [max_running], or NULL: not kept */
    /* Embeddings: */
    struct slm_embedder *embedder;
    int32_t embed_dims;
    struct slm_ticket_list embeds;
    /* What follows is shared with the serving thread: */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slm_ticket_list inbox;
    bool stops, drains;
    size_t n_waiting;
    struct slm_host_counts counts;
};

/* ---- tickets ---------------------------------------------------------------------------------------------------- */

/* After its last event, on the serving thread. */
void slm_ticket_free(struct slm_ticket *ticket)
{
    for (size_t i = 0; ticket->choices && i < (size_t)ticket->job->n_choices; i++)
        slm_choice_close(&ticket->choices[i]);
    slm_release(ticket->choices);
    slm_release(ticket->vectors);
    slm_job_free(ticket->job);
    slm_release(ticket);
}

void slm_ticket_fail(struct slm_ticket *ticket, const struct slm_error *error, int retry_after_s)
{
    ticket->end.kind = SLM_EVENT_FAILED;
    ticket->end.error = *error;
    ticket->end.retry_after_s = retry_after_s;
}

/* The ticket's last event is on its way; nothing of it is left here. */
static void end_ticket(struct slm_runner *r, struct slm_ticket *t)
{
    pthread_mutex_lock(&r->lock);
    if (!t->has_begun) r->n_waiting--;
    if (t->end.kind == SLM_EVENT_FAILED) r->counts.n_finished[7]++;
    pthread_mutex_unlock(&r->lock);
    t->has_begun = true;
    slm_outbox_end(&r->outbox, t);
}

/* Its first token is going to be computed. */
static slm_status begin_ticket(struct slm_runner *r, struct slm_ticket *t, struct slm_error *error)
{
    if (t->has_begun) return SLM_OK;
    t->has_begun = true;
    t->begin_ns = slm_os()->now_ns();
    pthread_mutex_lock(&r->lock);
    r->n_waiting--;
    pthread_mutex_unlock(&r->lock);
    if (slm_outbox_add(&r->outbox, t, &(struct slm_event){.kind = SLM_EVENT_STARTED})) return SLM_OK;
    return slm_fail(error, SLM_ERR_MEMORY, "job", "there is no memory for its events");
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

/* What the scheduler knows of a choice. */
static struct slm_sched_seq *row_of(const struct slm_runner *r, const struct slm_choice *c)
{
    return &r->sched.seqs[c->at];
}

/* The table has room for n more. */
static slm_status reserve_rows(struct slm_runner *r, size_t n, struct slm_error *error)
{
    size_t cap = r->cap ? r->cap : 64;
    if (r->sched.n_seqs + n <= r->cap) return SLM_OK;
    while (cap < r->sched.n_seqs + n) cap *= 2;
    struct slm_sched_seq *seqs = slm_realloc(r->sched.seqs, cap, sizeof *seqs, "job", error);
    if (!seqs) return SLM_ERR_MEMORY;
    r->sched.seqs = seqs;
    struct slm_choice **choices = slm_realloc(r->choices, cap, sizeof *choices, "job", error);
    if (!choices) return SLM_ERR_MEMORY;
    r->choices = choices;
    r->cap = cap;
    return SLM_OK;
}

/* The counter of a tenant by name; one that nobody uses is given to the next newcomer. */
static slm_status find_tenant(struct slm_runner *r, const char *name, uint32_t *out, struct slm_error *error)
{
    struct slm_sched *s = &r->sched;
    size_t at = s->n_tenants;
    for (size_t t = 0; t < s->n_tenants; t++) {
        if (strcmp(r->tenants[t].name, name) == 0) {
            *out = (uint32_t)t;
            return SLM_OK;
        }
        if (r->tenants[t].n_seqs == 0) at = t;
    }
    if (at == s->n_tenants) { /* all are in use: one more */
        struct tenant *tenants = slm_realloc(r->tenants, at + 1, sizeof *tenants, "job", error);
        if (!tenants) return SLM_ERR_MEMORY;
        r->tenants = tenants;
        uint64_t *served = slm_realloc(s->served, at + 1, sizeof *served, "job", error);
        if (!served) return SLM_ERR_MEMORY;
        s->served = served;
        bool *present = slm_realloc(r->present, at + 1, sizeof *present, "job", error);
        if (!present) return SLM_ERR_MEMORY;
        r->present = present;
        s->n_tenants++;
    }
    r->tenants[at] = (struct tenant){.n_seqs = 0};
    memcpy(r->tenants[at].name, name, strlen(name) + 1);
    s->served[at] = 0;
    *out = (uint32_t)at;
    return SLM_OK;
}

/* The choice waits from here on. */
static void add_row(struct slm_runner *r, struct slm_choice *c, uint32_t tenant)
{
    for (size_t t = 0; t < r->sched.n_tenants; t++) r->present[t] = r->tenants[t].n_seqs > 0;
    if (r->tenants[tenant].n_seqs++ == 0) slm_sched_join(&r->sched, tenant, r->present);
    c->at = r->sched.n_seqs++;
    c->waits_since_ns = slm_os()->now_ns();
    r->choices[c->at] = c;
    *row_of(r, c) = (struct slm_sched_seq){.order = r->n_orders++,
                                           .priority = c->ticket->job->priority,
                                           .tenant = tenant,
                                           .n_known = c->n_known};
}

/* Its session is free for others. */
static void stop_running(struct slm_runner *r, struct slm_choice *c)
{
    if (!c->session) return;
    r->sessions[r->n_idle_sessions++] = slm_choice_give(c);
    row_of(r, c)->is_running = false;
    row_of(r, c)->n_done = row_of(r, c)->n_pages = 0;
    c->waits_since_ns = slm_os()->now_ns();
}

/* One of its priority is served: the others of it wait from here on, with what they have risen by in its name. */
static void share_boost(struct slm_runner *r, struct slm_choice *c)
{
    struct slm_sched_seq *mine = row_of(r, c);
    const uint64_t now = slm_os()->now_ns();
    for (size_t i = 0; i < r->sched.n_seqs; i++) {
        const struct slm_sched_seq *q = &r->sched.seqs[i];
        if (q->is_running || q->priority != mine->priority) continue;
        if (q->boost > mine->boost) mine->boost = q->boost;
        r->choices[i]->waits_since_ns = now;
    }
}

/* The choice leaves the table; the last one of a job ends it. */
static void remove_choice(struct slm_runner *r, struct slm_choice *c)
{
    struct slm_ticket *t = c->ticket;
    stop_running(r, c);
    if (c->salt) { /* nobody will begin like this again */
        const struct slm_prefix_line line = slm_choice_line(c);
        slm_prefix_forget(r->env.prefix, &line);
    }
    r->tenants[row_of(r, c)->tenant].n_seqs--;
    r->sched.n_seqs--;
    r->sched.seqs[c->at] = r->sched.seqs[r->sched.n_seqs];
    r->choices[c->at] = r->choices[r->sched.n_seqs];
    r->choices[c->at]->at = c->at;
    if (--t->n_left == 0) end_ticket(r, t);
}

/* All that is left of a job leaves. */
static void remove_job(struct slm_runner *r, struct slm_ticket *t)
{
    for (size_t i = r->sched.n_seqs; i-- > 0;)
        if (r->choices[i]->ticket == t) remove_choice(r, r->choices[i]); /* the last takes its row: seen before */
}

/* The whole job, whichever of its choices it happened to. */
static void fail_job(struct slm_runner *r, struct slm_ticket *t, const struct slm_error *error)
{
    const struct slm_error copy = *error; /* it may be in a choice */
    slm_ticket_fail(t, &copy, 0);
    remove_job(r, t);
}

/* What has not begun can as well be computed by somebody who stays. */
static void refuse_waiting(struct slm_runner *r)
{
    struct slm_error error;
    struct slm_ticket_list embeds = r->embeds;
    (void)slm_fail(&error, SLM_ERR_CANCELLED, "server", "it is shutting down: try again soon");
    for (size_t i = r->sched.n_seqs; i-- > 0;) {
        if (i >= r->sched.n_seqs || r->choices[i]->ticket->has_begun) continue; /* several left at once */
        struct slm_ticket *t = r->choices[i]->ticket;
        slm_ticket_fail(t, &error, 1);
        remove_job(r, t);
    }
    r->embeds = (struct slm_ticket_list){0};
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&embeds)) != NULL;) {
        if (t->has_begun) {
            slm_ticket_list_add(&r->embeds, t);
        } else {
            slm_ticket_fail(t, &error, 1);
            end_ticket(r, t);
        }
    }
}

/* For the totals. */
static void count_finish(struct slm_runner *r, const struct slm_choice *c, enum slm_finish finish)
{
    pthread_mutex_lock(&r->lock);
    r->counts.n_finished[finish]++;
    r->counts.cached_tokens += c->n_cached;
    r->counts.speculation.n_steps += c->counts.n_steps;
    r->counts.speculation.n_guessed += c->counts.n_guessed;
    r->counts.speculation.n_accepted += c->counts.n_accepted;
    pthread_mutex_unlock(&r->lock);
}

/* ---- what comes in ---------------------------------------------------------------------------------------------- */

/* What no step could compute is refused before it waits for one. */
static slm_status check_prompt(const struct slm_runner *r, const struct slm_job *job, struct slm_error *error)
{
    const int32_t n_vocab = (int32_t)r->model->hparams.n_vocab;
    if (!r->env.engine) {
        if (error) *error = r->cannot_generate;
        return r->cannot_generate.status;
    }
    if (job->n_prompt == 0) return slm_fail(error, SLM_ERR_ARGUMENT, "prompt", "it has no tokens; one is needed");
    if (job->n_choices < 1)
        return slm_fail(error, SLM_ERR_ARGUMENT, "job", "%d choices were asked for, 1 is the least", job->n_choices);
    for (size_t i = 0; i < job->n_prompt; i++)
        if (job->prompt[i] < 0 || job->prompt[i] >= n_vocab)
            return slm_fail(error, SLM_ERR_ARGUMENT, "prompt", "token %zu is %d, allowed are 0 to %d", i,
                            job->prompt[i], n_vocab - 1);
    if (job->n_prompt >= r->env.n_ctx)
        return slm_fail(error, SLM_ERR_CONTEXT, "prompt",
                        "it has %zu tokens, the context holds %zu, and one at least must be left for the answer",
                        job->n_prompt, r->env.n_ctx);
    if (job->slot < 0 || (size_t)job->slot >= r->options.max_running)
        return slm_fail(error, SLM_ERR_ARGUMENT, "id_slot", "slots of this model are from 0 to %zu",
                        r->options.max_running - 1);
    return slm_sampler_check(&job->sampler, (size_t)n_vocab, error);
}

/* The job's sequences enter the table: all of them or none. */
static slm_status admit_job(struct slm_runner *r, struct slm_ticket *t, struct slm_error *error)
{
    struct slm_job *job = t->job;
    uint32_t tenant;
    job->sampler.logit_bias = job->logit_bias;
    job->tenant[sizeof job->tenant - 1] = '\0';
    SLM_TRY(check_prompt(r, job, error));
    const size_t n = (size_t)job->n_choices;
    SLM_TRY(find_tenant(r, job->tenant, &tenant, error));
    SLM_TRY(reserve_rows(r, n, error));
    t->choices = slm_alloc(n, sizeof *t->choices, "job", error);
    if (!t->choices) return SLM_ERR_MEMORY;
    if (job->prompt_logprobs && !r->env.rows) {
        r->env.rows = slm_alloc(SLM_CHOICE_ROWS, r->model->hparams.n_vocab * sizeof *r->env.rows, "job", error);
        if (!r->env.rows) return SLM_ERR_MEMORY;
    }
    if (job->grammar && !r->env.masks) {
        const size_t words = (r->model->hparams.n_vocab + 63) / 64;
        r->env.masks = slm_alloc(r->env.engine->n_samplers * words, sizeof *r->env.masks, "job", error);
        if (!r->env.masks) return SLM_ERR_MEMORY;
    }
    /* With a salt of its own it finds and leaves nothing, but its choices share. */
    const uint64_t salt = job->no_cache ? ++r->n_salts : 0;
    /* What is open when one fails is closed with the ticket. */
    for (size_t i = 0; i < n; i++) SLM_TRY(slm_choice_open(&t->choices[i], &r->env, t, (int32_t)i, salt, error));
    t->n_left = n;
    for (size_t i = 0; i < n; i++) add_row(r, &t->choices[i], tenant);
    return SLM_OK;
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

/* A session for a moment. */
static slm_status restore_slot(struct slm_runner *r, struct slm_slot *slot, const char *path, struct slm_error *error)
{
    struct slm_session *session = NULL;
    if (r->n_idle_sessions > 0) session = r->sessions[--r->n_idle_sessions];
    else if (r->n_sessions == r->options.max_running)
        return slm_fail(error, SLM_ERR_LIMIT, "slot", "all %zu places are taken: try again later", r->n_sessions);
    if (!session) {
        SLM_TRY(slm_engine_session(r->env.engine, &session, error));
        r->n_sessions++;
    }
    const slm_status status = slm_slot_restore(slot, r->env.prefix, session, path, error);
    r->sessions[r->n_idle_sessions++] = session;
    /* What is wrong with the file is the client's concern; where the server keeps it is not. */
    if (status != SLM_OK && status != SLM_ERR_LIMIT && status != SLM_ERR_MEMORY) {
        const struct slm_error why = *error;
        return slm_fail(error, SLM_ERR_ARGUMENT, "filename", "%s", why.message);
    }
    return status;
}

/* True: it is done, or failed. Else its prompt is the slot's and it is a job like others until all is computed. */
static bool use_slot(struct slm_runner *r, struct slm_ticket *t)
{
    struct slm_job *job = t->job;
    struct slm_error error;
    struct slm_slot *slot = r->slots && (size_t)job->slot < r->options.max_running ? &r->slots[job->slot] : NULL;
    slm_status status = SLM_OK;
    if (!slot) {
        status = slm_fail(&error, SLM_ERR_ARGUMENT, "id_slot", "slots of this model are from 0 to %zu",
                          r->options.max_running - 1);
    } else if (job->slot_action == SLM_SLOT_RESTORE) {
        status = restore_slot(r, slot, job->slot_path, &error);
        t->end.usage.n_prompt = slot->n;
    } else if (job->slot_action == SLM_SLOT_ERASE) {
        t->end.usage.n_prompt = slot->n;
        slm_slot_erase(slot, r->env.prefix);
    } else if (slot->n == 0) {
        status = slm_fail(&error, SLM_ERR_ARGUMENT, "id_slot", "slot %" PRId32 " has nothing to save", job->slot);
    } else {
        /* One place of the context is always left for an answer. */
        job->n_prompt = slot->n < r->env.n_ctx ? slot->n : r->env.n_ctx - 1;
        job->prompt = slm_alloc(job->n_prompt, sizeof *job->prompt, "slot", &error);
        if (job->prompt) memcpy(job->prompt, slot->ids, job->n_prompt * sizeof *slot->ids);
        else status = SLM_ERR_MEMORY;
        if (status == SLM_OK) return false;
    }
    if (status != SLM_OK) slm_ticket_fail(t, &error, status == SLM_ERR_LIMIT);
    end_ticket(r, t);
    return true;
}

/* ---- jobs that arrive ------------------------------------------------------------------------------------------- */

/* From the list of the serving thread into the tables. */
static void take_in(struct slm_runner *r, struct slm_ticket *t)
{
    struct slm_error error;
    t->end = (struct slm_event){.kind = SLM_EVENT_END};
    if (t->job->slot_action != SLM_SLOT_NONE && use_slot(r, t)) return;
    if (t->job->n_embed) {
        slm_ticket_list_add(&r->embeds, t);
    } else if (admit_job(r, t, &error) != SLM_OK) {
        slm_ticket_fail(t, &error, 0);
        end_ticket(r, t);
    }
}

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
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&list)) != NULL;) take_in(r, t);
    if (drains) refuse_waiting(r);
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
            count_finish(r, c, SLM_FINISH_CANCELLED);
            remove_choice(r, c);
            continue;
        }
        if (all) finish = SLM_FINISH_CANCELLED;
        else if (timeout_ns && now - t->submit_ns >= timeout_ns) finish = SLM_FINISH_TIMEOUT;
        if (finish == SLM_FINISH_NONE) continue;
        if (slm_choice_finish(c, finish)) {
            count_finish(r, c, finish);
            remove_choice(r, c);
        } else {
            fail_job(r, t, &c->error);
        }
    }
}

/* ---- deciding --------------------------------------------------------------------------------------------------- */

/* What a sequence needs next is computed by one that goes before it: waiting is cheaper than computing it twice. */
static bool is_computed_by_another(const struct slm_runner *r, struct slm_choice *c)
{
    const struct slm_sched_seq *mine = row_of(r, c);
    const struct slm_prefix_line line = slm_choice_line(c);
    const size_t page = mine->n_done / PAGE;
    if (mine->n_done % PAGE || page >= line.n_pages) return false;
    for (size_t i = 0; i < r->sched.n_seqs; i++) {
        struct slm_choice *other = r->choices[i];
        const struct slm_sched_seq *q = &r->sched.seqs[i];
        const int64_t its_level = slm_sched_level(q), my_level = slm_sched_level(mine);
        if (!q->is_running || its_level < my_level || (its_level == my_level && q->order >= mine->order)) continue;
        if (q->n_done / PAGE > page || (page + 1) * PAGE > q->n_known || other->n_hashed <= page) continue;
        if (other->hashes[page] == line.hashes[page]) return true;
    }
    return false;
}

/* Makes the table true. */
static void refresh(struct slm_runner *r)
{
    const uint64_t now = slm_os()->now_ns();
    for (size_t i = 0; i < r->sched.n_seqs; i++) {
        struct slm_choice *c = r->choices[i];
        struct slm_sched_seq *q = &r->sched.seqs[i];
        q->n_known = c->n_known;
        q->waits = false;
        if (!c->session) {
            const uint64_t levels = now > c->waits_since_ns ? (now - c->waits_since_ns) / AGING_NS : 0;
            q->boost = levels < INT32_MAX ? (int32_t)levels : INT32_MAX;
            continue;
        }
        /* Others may have computed what it needs since the last step. */
        if (c->n_known - c->session->n_past > 1) slm_choice_catch_up(c);
        q->n_done = c->session->n_past;
        q->n_pages = c->session->seq.view.n_pages;
        q->most_rows = slm_choice_asks(c) ? SLM_CHOICE_ROWS : 0;
    }
    for (size_t i = 0; i < r->sched.n_seqs; i++) {
        struct slm_sched_seq *q = &r->sched.seqs[i];
        if (q->is_running && q->n_known - q->n_done > 1) q->waits = is_computed_by_another(r, r->choices[i]);
    }
    r->sched.n_free = r->env.engine->pool.n_free + slm_prefix_n_idle(r->env.prefix);
}

/* False: there is no session for it, which only memory can be the reason of. */
static bool start_running(struct slm_runner *r, struct slm_choice *c)
{
    /* Sessions are kept: opening one takes memory, and time. */
    struct slm_session *session = NULL;
    if (r->n_idle_sessions > 0) session = r->sessions[--r->n_idle_sessions];
    else if (slm_engine_session(r->env.engine, &session, &c->error) == SLM_OK) r->n_sessions++;
    if (!session && r->n_sessions > 0) { /* as many as there are must do */
        c->error = (struct slm_error){0};
        r->sched.max_running = r->n_sessions;
        return false;
    }
    if (session && begin_ticket(r, c->ticket, &c->error) != SLM_OK) {
        r->sessions[r->n_idle_sessions++] = session;
        session = NULL;
    }
    if (!session) {
        fail_job(r, c->ticket, &c->error);
        return false;
    }
    slm_choice_take(c, session);
    if (!c->has_begun) {
        pthread_mutex_lock(&r->lock);
        r->counts.prompt_tokens += c->n_known;
        pthread_mutex_unlock(&r->lock);
    }
    c->has_begun = true;
    share_boost(r, c);
    row_of(r, c)->is_running = true;
    return true;
}

/* Carries decisions out until there are none. */
static void decide(struct slm_runner *r)
{
    for (;;) {
        size_t i;
        refresh(r);
        const ptrdiff_t next = slm_sched_candidate(&r->sched);
        if (next >= 0) {
            const struct slm_prefix_line line = slm_choice_line(r->choices[next]);
            slm_prefix_find(r->env.prefix, &line, &r->sched.seqs[next].n_shared);
        }
        const enum slm_sched_action action = slm_sched_next(&r->sched, &i);
        if (action == SLM_SCHED_STEP) return;
        if (action == SLM_SCHED_PREEMPT) {
            stop_running(r, r->choices[i]);
            pthread_mutex_lock(&r->lock);
            r->counts.n_preempted++;
            pthread_mutex_unlock(&r->lock);
        } else if (!start_running(r, r->choices[i]) && r->n_sessions > 0) {
            return; /* it waits for a session */
        }
    }
}

/* ---- computing -------------------------------------------------------------------------------------------------- */

/* Waits until all who asked before have computed. */
static void take_turn(struct slm_turns *turns)
{
    pthread_mutex_lock(&turns->lock);
    const uint64_t mine = turns->next++;
    while (turns->now != mine) pthread_cond_wait(&turns->changed, &turns->lock);
    pthread_mutex_unlock(&turns->lock);
}

/* The next one's. */
static void end_turn(struct slm_turns *turns)
{
    pthread_mutex_lock(&turns->lock);
    turns->now++;
    pthread_cond_broadcast(&turns->changed);
    pthread_mutex_unlock(&turns->lock);
}

/* Prompts first: then the rows that want logits come last and share a pass with them. */
static size_t lay_parts(struct slm_runner *r)
{
    size_t n = 0;
    for (int decoding = 0; decoding < 2; decoding++)
        for (size_t i = 0; i < r->sched.n_seqs; i++) {
            const struct slm_sched_seq *q = &r->sched.seqs[i];
            struct slm_choice *c = r->choices[i];
            /* n_done is what was computed before this step. */
            if (q->rows == 0 || decoding != (q->n_known - q->n_done == 1)) continue;
            const bool asks = slm_choice_asks(c);
            r->computed[n] = c;
            r->parts[n++] = (struct slm_step_part){.session = c->session,
                                                   .ids = c->ids + q->n_done,
                                                   .n = q->rows,
                                                   .no_logits = !asks && q->n_done + q->rows < q->n_known,
                                                   .all_logits = asks ? r->env.rows : NULL,
                                                   .error = &c->error};
        }
    return n;
}

/* Sequences that decode alone or with a few others compute guesses along. With n of them a guess delays n tokens, so it
 * has to be so much better founded. */
static size_t add_guesses(struct slm_runner *r, size_t n, size_t n_pages)
{
    const size_t room = MOST_GUESSES / n < SLM_MAX_GUESS ? MOST_GUESSES / n : SLM_MAX_GUESS;
    size_t sum = 0;
    if (!r->env.speculates || n > MOST_GUESSING || n_pages + 2 * n > r->sched.n_free) return 0;
    for (size_t i = 0; i < n; i++)
        if (row_of(r, r->computed[i])->n_known - row_of(r, r->computed[i])->n_done > 1) return 0;
    slm_prefix_make_room(r->env.prefix, n_pages + 2 * n); /* guesses may begin a page */
    const double c = r->meter.row_cost, cost = (double)n * c / (1 + (double)(n - 1) * c);
    for (size_t i = 0; i < n; i++) {
        r->parts[i].n_guess = slm_choice_guess(r->computed[i], room, cost, r->guesses[i]);
        r->parts[i].ids = r->guesses[i];
        sum += r->parts[i].n_guess;
    }
    return sum;
}

/* Only one sequence a step may use the rows for logprobs of prompts. */
static void one_asks(struct slm_runner *r)
{
    /* The others go on in the next step. */
    bool taken = false;
    for (size_t i = 0; i < r->sched.n_seqs; i++) {
        struct slm_sched_seq *q = &r->sched.seqs[i];
        if (q->rows == 0 || !slm_choice_asks(r->choices[i])) continue;
        if (taken) q->rows = 0;
        taken = true;
    }
}

/* Time goes to prompts and answers by their rows. */
static void count_step(struct slm_runner *r, size_t n_rows, double seconds)
{
    double prompt = 0;
    for (size_t i = 0; i < r->sched.n_seqs; i++)
        if (r->sched.seqs[i].n_known - r->sched.seqs[i].n_done > 1) prompt += (double)r->sched.seqs[i].rows;
    pthread_mutex_lock(&r->lock);
    r->counts.n_steps++;
    r->counts.n_step_rows += n_rows;
    r->counts.prompt_s += seconds * prompt / (double)n_rows;
    r->counts.generate_s += seconds * (1 - prompt / (double)n_rows);
    pthread_mutex_unlock(&r->lock);
    if (n_rows < 2 * PAGE) return; /* the weights' reading counts too much */
    const double row_s = seconds / (double)n_rows;
    r->sched.row_s += r->sched.row_s > 0 ? (row_s - r->sched.row_s) / 4 : row_s;
}

/* What a step brought to one choice; or a refusal, which with a true table only bad luck with memory can be. */
static void settle(struct slm_runner *r, struct slm_choice *c, const struct slm_step_part *part)
{
    if (part->status == SLM_ERR_MEMORY && r->n_sessions - r->n_idle_sessions > 1) {
        c->error = (struct slm_error){0};
        stop_running(r, c);
        return;
    }
    const size_t n_before = c->n_generated;
    const bool is_good = part->status == SLM_OK && slm_choice_computed(c, part->n);
    if (c->n_generated > n_before) { /* with each step: rates over minutes of writing would see one jump */
        pthread_mutex_lock(&r->lock);
        r->counts.generated_tokens += c->n_generated - n_before;
        pthread_mutex_unlock(&r->lock);
    }
    if (!is_good) {
        fail_job(r, c->ticket, &c->error);
        return;
    }
    if (!c->has_ended) return;
    const struct slm_job *job = c->ticket->job;
    if (r->slots && c->index == 0 && !c->salt && job->slot_action == SLM_SLOT_NONE)
        slm_slot_keep(&r->slots[job->slot], c->ids, c->n_known);
    stop_running(r, c);
    count_finish(r, c, c->finish);
    remove_choice(r, c);
}

/* One draw of many, on any thread of the engine. */
static void draw_one(void *arg, size_t i, unsigned rank)
{
    struct slm_choice *const *drawing = arg;
    slm_choice_draw(drawing[i], rank);
}

/* What costs most after a step, looking through a vocabulary for each sequence, is for all threads; what comes of it is
 * settled one after the other. */
static void draw_all(struct slm_runner *r, size_t n)
{
    size_t n_drawing = 0;
    for (size_t i = 0; i < n; i++)
        if (r->parts[i].status == SLM_OK && slm_choice_can_draw(r->computed[i]))
            r->drawing[n_drawing++] = r->computed[i];
    slm_engine_share(r->env.engine, n_drawing, draw_one, r->drawing);
}

/* One step, from deciding to drawing. */
static void compute(struct slm_runner *r)
{
    size_t n_pages;
    decide(r);
    size_t n_rows = slm_sched_rows(&r->sched, &n_pages);
    if (n_rows == 0) return;
    one_asks(r);
    /* Idle pages count as free, but only now have to be. */
    slm_prefix_make_room(r->env.prefix, n_pages);
    const size_t n = lay_parts(r), n_guesses = add_guesses(r, n, n_pages);
    /* From here to the end of the turn all threads are this model's. */
    take_turn(r->options.turns);
    const uint64_t start = slm_os()->now_ns();
    (void)slm_engine_step(r->env.engine, r->parts, n, NULL);
    const double seconds = (double)(slm_os()->now_ns() - start) * 1e-9;
    slm_sched_charge(&r->sched);
    count_step(r, n_rows, seconds);
    if (n == n_rows && n <= MOST_GUESSING) slm_speculate_took(&r->meter, n_rows + n_guesses, seconds);
    draw_all(r, n);
    /* One that failed took the others of its job along. */
    for (size_t i = 0; i < n; i++)
        if (r->computed[i]->session == r->parts[i].session) settle(r, r->computed[i], &r->parts[i]);
    end_turn(r->options.turns);
}

/* ---- embeddings ------------------------------------------------------------------------------------------------- */

/* The embedder with so many dimensions, opened when it is first asked for. */
static slm_status get_embedder(struct slm_runner *r, int32_t n_dims, struct slm_error *error)
{
    if (r->embedder && r->embed_dims == n_dims) return SLM_OK;
    slm_embedder_close(r->embedder);
    r->embedder = NULL;
    const struct slm_embedder_options options = {
        .session = {.n_ctx = r->options.engine.session.n_ctx, .n_threads = r->options.engine.session.n_threads,
                    .activations = r->options.engine.session.activations},
        .n_dims = n_dims,
    };
    r->embed_dims = n_dims;
    return slm_embedder_open(r->model, &options, &r->embedder, error);
}

/* Texts of one go: some, so that small ones share their steps, but not so many that others wait long. */
static size_t how_many(const struct slm_job *job, size_t from)
{
    enum { BYTES = 1024, MOST = 16 };
    size_t n = 0, bytes = 0;
    while (from + n < job->n_embed && n < MOST && (n == 0 || bytes < BYTES)) {
        const struct slm_embed_input *input = &job->embed[from + n++];
        bytes += input->ids ? 4 * input->n_ids : input->text_bytes;
    }
    return n;
}

/* The next texts of a job. */
static slm_status embed_some(struct slm_runner *r, struct slm_ticket *t, struct slm_error *error)
{
    const struct slm_job *job = t->job;
    SLM_TRY(get_embedder(r, job->embed_dims, error));
    t->n_dims = slm_embedder_n_dims(r->embedder);
    if (!t->vectors) {
        t->vectors = slm_alloc(job->n_embed, t->n_dims * sizeof *t->vectors, "embed", error);
        if (!t->vectors) return SLM_ERR_MEMORY;
    }
    const size_t n = how_many(job, t->n_embedded);
    take_turn(r->options.turns);
    const slm_status status = slm_embed(r->embedder, job->embed + t->n_embedded, n,
                                        t->vectors + t->n_embedded * t->n_dims, error);
    end_turn(r->options.turns);
    t->n_embedded += n;
    return status;
}

/* One go of the first of them, which then goes to the end of the line. */
static void embed(struct slm_runner *r)
{
    struct slm_error error;
    struct slm_ticket *t = slm_ticket_list_take(&r->embeds);
    if (!t) return;
    /* The client may have left since the last go. */
    const bool is_gone = atomic_load_explicit(&t->cancelled, memory_order_relaxed);
    if (!is_gone && (begin_ticket(r, t, &error) != SLM_OK || embed_some(r, t, &error) != SLM_OK)) {
        slm_ticket_fail(t, &error, 0);
        end_ticket(r, t);
    } else if (is_gone || t->n_embedded == t->job->n_embed) {
        struct slm_event event = {.kind = SLM_EVENT_EMBEDDINGS, .vectors = t->vectors, .n_dims = t->n_dims};
        for (size_t i = 0; i < t->job->n_embed; i++) event.usage.n_prompt += t->job->embed[i].n_ids;
        t->end.usage = event.usage;
        if (!is_gone && !slm_outbox_add(&r->outbox, t, &event)) {
            (void)slm_fail(&error, SLM_ERR_MEMORY, "embed", "there is no memory for %zu vectors", t->job->n_embed);
            slm_ticket_fail(t, &error, 0);
        }
        end_ticket(r, t);
    } else {
        slm_ticket_list_add(&r->embeds, t);
    }
}

/* ---- the thread ------------------------------------------------------------------------------------------------- */

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
        if (r->sched.n_seqs > 0) compute(r);
        embed(r);
        publish(r);
        again = hand_over(r);
    }
    /* Stopped: whoever is left is told. */
    drop_ended(r, true);
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&r->embeds)) != NULL;) {
        struct slm_error error;
        (void)slm_fail(&error, SLM_ERR_CANCELLED, "embed", "the model is being unloaded");
        slm_ticket_fail(t, &error, 1);
        end_ticket(r, t);
    }
    publish(r);
    for (again = true; again;) again = hand_over(r);
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
    SLM_TRY(slm_prefix_open(r->env.engine, &r->env.prefix, error));
    r->sessions = slm_alloc(n, sizeof *r->sessions, "runner", error);
    r->parts = slm_alloc(n, sizeof *r->parts, "runner", error);
    r->computed = slm_alloc(n, sizeof *r->computed, "runner", error);
    r->drawing = slm_alloc(n, sizeof *r->drawing, "runner", error);
    r->guesses = slm_alloc(MOST_GUESSING, sizeof *r->guesses, "runner", error);
    if (!r->sessions || !r->parts || !r->computed || !r->drawing || !r->guesses) return SLM_ERR_MEMORY;
    if (r->options.keeps_slots) {
        r->slots = slm_alloc(n, sizeof *r->slots, "runner", error);
        if (!r->slots) return SLM_ERR_MEMORY;
    }
    r->env.speculates = r->options.speculate != SLM_SPECULATE_OFF;
    r->env.guesses_always = r->options.guess_always;
    r->meter.row_cost = FIRST_COST;
    const struct slm_engine_info info = slm_engine_info(r->env.engine);
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
    sum->n_running += c.n_running;
    sum->n_waiting += c.n_waiting;
    sum->kv_pages += c.kv_pages;
    sum->kv_pages_used += c.kv_pages_used;
    sum->kv_pages_cached += c.kv_pages_cached;
    sum->prompt_tokens += c.prompt_tokens;
    sum->cached_tokens += c.cached_tokens;
    sum->generated_tokens += c.generated_tokens;
    sum->n_preempted += c.n_preempted;
    sum->n_steps += c.n_steps;
    sum->n_step_rows += c.n_step_rows;
    for (size_t i = 0; i < 8; i++) sum->n_finished[i] += c.n_finished[i];
    sum->speculation.n_steps += c.speculation.n_steps;
    sum->speculation.n_guessed += c.speculation.n_guessed;
    sum->speculation.n_accepted += c.speculation.n_accepted;
    sum->prompt_s += c.prompt_s;
    sum->generate_s += c.generate_s;
}
