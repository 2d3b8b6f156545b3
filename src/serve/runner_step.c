/* SPDX-License-Identifier: MIT
 * A step of a runner: the scheduler decides who runs, the engine computes all their rows at once, each sequence is
 * given what it brought. */
#include "serve/runner_part.h"

#include "base/os.h"

enum {
    PAGE = SLM_KV_PAGE_TOKENS,
    MOST_GUESSING = SLM_MOST_GUESSERS,
    MOST_GUESSES = 32, /* of a step */
};
#define AGING_NS UINT64_C(10000000000) /* of waiting, for a level of priority: ten seconds */

/* ---- deciding --------------------------------------------------------------------------------------------------- */

/* What a sequence needs next is computed by one that goes before it: waiting is cheaper than computing it twice. */
static bool is_computed_by_another(const struct slm_runner *r, struct slm_choice *c)
{
    const struct slm_sched_seq *mine = slm_table_row(r, c);
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

/* One of its priority is served: the others of it wait from here on, with what they have risen by in its name. */
static void share_boost(struct slm_runner *r, struct slm_choice *c)
{
    struct slm_sched_seq *mine = slm_table_row(r, c);
    const uint64_t now = slm_os()->now_ns();
    for (size_t i = 0; i < r->sched.n_seqs; i++) {
        const struct slm_sched_seq *q = &r->sched.seqs[i];
        if (q->is_running || q->priority != mine->priority) continue;
        if (q->boost > mine->boost) mine->boost = q->boost;
        r->choices[i]->waits_since_ns = now;
    }
}

/* False: there is no session for it, which only memory can be the reason of. */
static bool start_running(struct slm_runner *r, struct slm_choice *c)
{
    /* Sessions are kept: opening one takes memory, and time. */
    struct slm_session *session = NULL;
    if (r->n_idle_sessions > 0) session = r->sessions[--r->n_idle_sessions];
    else (void)slm_table_session(r, &session, &c->error);
    if (!session && r->n_sessions > 0) { /* as many as there are must do */
        c->error = (struct slm_error){0};
        r->sched.max_running = r->n_sessions;
        return false;
    }
    if (session && slm_ticket_begin(r, c->ticket, &c->error) != SLM_OK) {
        r->sessions[r->n_idle_sessions++] = session;
        session = NULL;
    }
    if (!session) {
        slm_table_fail_job(r, c->ticket, &c->error);
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
    slm_table_row(r, c)->is_running = true;
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
            slm_table_stop(r, r->choices[i]);
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
void slm_turns_take(struct slm_turns *turns)
{
    pthread_mutex_lock(&turns->lock);
    const uint64_t mine = turns->next++;
    while (turns->now != mine) pthread_cond_wait(&turns->changed, &turns->lock);
    pthread_mutex_unlock(&turns->lock);
}

/* The next one's. */
void slm_turns_end(struct slm_turns *turns)
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

/* Beginnings that drafts keep of jobs that have ended give way to jobs that run. */
static void make_room_for_drafts(struct slm_runner *r)
{
    enum { NEED = 3 * MOST_GUESSING }; /* pages: a piece of a prompt, a tail and guesses may begin one each */
    if (!r->drafts || r->drafts->pool.n_free >= NEED) return;
    for (size_t i = 0; i < r->n_idle_sessions; i++)
        slm_session_truncate(r->sessions[i]->speculator.draft, 0, NULL); /* to nothing: never fails */
}

/* Sequences that decode alone or with a few others compute guesses along. */
static size_t add_guesses(struct slm_runner *r, size_t n, size_t n_pages)
{
    struct slm_guesser guessers[MOST_GUESSING];
    const size_t room = MOST_GUESSES / n < SLM_MAX_GUESS ? MOST_GUESSES / n : SLM_MAX_GUESS;
    if (!r->env.speculates || n > MOST_GUESSING || n_pages + 2 * n > r->sched.n_free) return 0;
    for (size_t i = 0; i < n; i++)
        if (slm_table_row(r, r->computed[i])->n_known - slm_table_row(r, r->computed[i])->n_done > 1) return 0;
    slm_prefix_make_room(r->env.prefix, n_pages + 2 * n); /* guesses may begin a page */
    make_room_for_drafts(r);
    for (size_t i = 0; i < n; i++) guessers[i] = slm_choice_guesser(r->computed[i], room, r->guesses[i]);
    const size_t sum = slm_speculate_guess(&r->meter, guessers, n);
    for (size_t i = 0; i < n; i++) {
        r->parts[i].n_guess = guessers[i].n;
        r->parts[i].ids = r->guesses[i];
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
        slm_table_stop(r, c);
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
        slm_table_fail_job(r, c->ticket, &c->error);
        return;
    }
    if (!c->has_ended) return;
    const struct slm_job *job = c->ticket->job;
    if (r->slots && c->index == 0 && !c->salt && job->slot_action == SLM_SLOT_NONE)
        slm_slot_keep(&r->slots[job->slot], c->ids, c->n_known);
    slm_table_stop(r, c);
    slm_table_count_finish(r, c, c->finish);
    slm_table_remove(r, c);
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
void slm_runner_step(struct slm_runner *r)
{
    size_t n_pages;
    decide(r);
    size_t n_rows = slm_sched_rows(&r->sched, &n_pages);
    if (n_rows == 0) return;
    one_asks(r);
    /* Idle pages count as free, but only now have to be. */
    slm_prefix_make_room(r->env.prefix, n_pages);
    const size_t n = lay_parts(r);
    /* From here to the end of the turn all threads are this model's. */
    slm_turns_take(r->options.turns);
    const uint64_t start = slm_os()->now_ns();
    const size_t n_guesses = add_guesses(r, n, n_pages);
    const uint64_t guessed = slm_os()->now_ns();
    (void)slm_engine_step(r->env.engine, r->parts, n, NULL);
    const uint64_t end = slm_os()->now_ns();
    slm_sched_charge(&r->sched);
    count_step(r, n_rows, (double)(end - start) * 1e-9);
    if (n == n_rows && n <= MOST_GUESSING)
        slm_speculate_took(&r->meter, n_rows + n_guesses, (double)(end - guessed) * 1e-9);
    draw_all(r, n);
    /* One that failed took the others of its job along. */
    for (size_t i = 0; i < n; i++)
        if (r->computed[i]->session == r->parts[i].session) settle(r, r->computed[i], &r->parts[i]);
    slm_turns_end(r->options.turns);
}
