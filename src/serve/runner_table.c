/* SPDX-License-Identifier: MIT
 * The table of a runner: sequences and, row by row, what the scheduler knows of them; tenants; the beginning and the
 * end of tickets. All of it is the runner's thread's, but for the totals, which are under the lock.
 *
 * Deliberately not here: who runs next (sched.c). */
#include "serve/runner_part.h"

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
void slm_ticket_end(struct slm_runner *r, struct slm_ticket *t)
{
    pthread_mutex_lock(&r->lock);
    if (!t->has_begun) r->n_waiting--;
    if (t->end.kind == SLM_EVENT_FAILED) r->counts.n_finished[7]++;
    pthread_mutex_unlock(&r->lock);
    t->has_begun = true;
    slm_outbox_end(&r->outbox, t);
}

/* Its first token is going to be computed. */
slm_status slm_ticket_begin(struct slm_runner *r, struct slm_ticket *t, struct slm_error *error)
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
struct slm_sched_seq *slm_table_row(const struct slm_runner *r, const struct slm_choice *c)
{
    return &r->sched.seqs[c->at];
}

/* The table has room for n more. */
slm_status slm_table_reserve(struct slm_runner *r, size_t n, struct slm_error *error)
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
slm_status slm_table_tenant(struct slm_runner *r, const char *name, uint32_t *out, struct slm_error *error)
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
        struct slm_tenant *tenants = slm_realloc(r->tenants, at + 1, sizeof *tenants, "job", error);
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
    r->tenants[at] = (struct slm_tenant){.n_seqs = 0};
    memcpy(r->tenants[at].name, name, strlen(name) + 1);
    s->served[at] = 0;
    *out = (uint32_t)at;
    return SLM_OK;
}

/* Counted once it is whole. */
slm_status slm_table_session(struct slm_runner *r, struct slm_session **out, struct slm_error *error)
{
    struct slm_session *session;
    SLM_TRY(slm_engine_session(r->env.engine, &session, error));
    const slm_status status = slm_speculator_open(session, &r->options.speculation, r->drafts, error);
    if (status != SLM_OK) {
        slm_session_close(session);
        return status;
    }
    r->n_sessions++;
    *out = session;
    return SLM_OK;
}

/* The choice waits from here on. */
void slm_table_add(struct slm_runner *r, struct slm_choice *c, uint32_t tenant)
{
    for (size_t t = 0; t < r->sched.n_tenants; t++) r->present[t] = r->tenants[t].n_seqs > 0;
    if (r->tenants[tenant].n_seqs++ == 0) slm_sched_join(&r->sched, tenant, r->present);
    c->at = r->sched.n_seqs++;
    c->waits_since_ns = slm_os()->now_ns();
    r->choices[c->at] = c;
    *slm_table_row(r, c) = (struct slm_sched_seq){.order = r->n_orders++,
                                           .priority = c->ticket->job->priority,
                                           .tenant = tenant,
                                           .n_known = c->n_known};
}

/* Its session is free for others. */
void slm_table_stop(struct slm_runner *r, struct slm_choice *c)
{
    if (!c->session) return;
    r->sessions[r->n_idle_sessions++] = slm_choice_give(c);
    slm_table_row(r, c)->is_running = false;
    slm_table_row(r, c)->n_done = slm_table_row(r, c)->n_pages = 0;
    c->waits_since_ns = slm_os()->now_ns();
}

/* The choice leaves the table; the last one of a job ends it. */
void slm_table_remove(struct slm_runner *r, struct slm_choice *c)
{
    struct slm_ticket *t = c->ticket;
    slm_table_stop(r, c);
    if (c->salt) { /* nobody will begin like this again */
        const struct slm_prefix_line line = slm_choice_line(c);
        slm_prefix_forget(r->env.prefix, &line);
    }
    r->tenants[slm_table_row(r, c)->tenant].n_seqs--;
    r->sched.n_seqs--;
    r->sched.seqs[c->at] = r->sched.seqs[r->sched.n_seqs];
    r->choices[c->at] = r->choices[r->sched.n_seqs];
    r->choices[c->at]->at = c->at;
    if (--t->n_left == 0) slm_ticket_end(r, t);
}

/* All that is left of a job leaves. */
static void remove_job(struct slm_runner *r, struct slm_ticket *t)
{
    for (size_t i = r->sched.n_seqs; i-- > 0;)
        if (r->choices[i]->ticket == t) slm_table_remove(r, r->choices[i]); /* the last takes its row: seen before */
}

/* The whole job, whichever of its choices it happened to. */
void slm_table_fail_job(struct slm_runner *r, struct slm_ticket *t, const struct slm_error *error)
{
    const struct slm_error copy = *error; /* it may be in a choice */
    slm_ticket_fail(t, &copy, 0);
    remove_job(r, t);
}

/* What has not begun can as well be computed by somebody who stays. */
void slm_table_refuse_waiting(struct slm_runner *r)
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
            slm_ticket_end(r, t);
        }
    }
}

/* For the totals. */
void slm_table_count_finish(struct slm_runner *r, const struct slm_choice *c, enum slm_finish finish)
{
    pthread_mutex_lock(&r->lock);
    r->counts.n_finished[finish]++;
    r->counts.cached_tokens += c->n_cached;
    r->counts.speculation.n_steps += c->counts.n_steps;
    r->counts.speculation.n_guessed += c->counts.n_guessed;
    r->counts.speculation.n_accepted += c->counts.n_accepted;
    pthread_mutex_unlock(&r->lock);
}
