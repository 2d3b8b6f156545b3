/* SPDX-License-Identifier: MIT
 * The decisions that sched.h describes. Everything is a scan over a table of at most a few thousand rows, which is
 * nothing beside a step. Deliberately not here: what makes the numbers true. */
#include "serve/sched.h"

enum { PROMPT_WEIGHT = 1, DECODE_WEIGHT = 2 }; /* of a row, in a tenant's counter */

/* Pages of so many tokens. */
static size_t pages_for(const struct slm_sched *s, size_t n_tokens)
{
    return (n_tokens + s->page_tokens - 1) / s->page_tokens;
}

/* Its next token is all it has to compute. */
static bool decodes(const struct slm_sched_seq *q) { return q->is_running && q->n_known - q->n_done == 1; }

int64_t slm_sched_level(const struct slm_sched_seq *q) { return (int64_t)q->priority + q->boost; }

/* Does a, of the same priority, wait before b? */
static bool goes_first(const struct slm_sched *s, const struct slm_sched_seq *a, const struct slm_sched_seq *b)
{
    if (a->tenant != b->tenant && s->served[a->tenant] != s->served[b->tenant])
        return s->served[a->tenant] < s->served[b->tenant];
    return a->order < b->order;
}

/* Which of two that run keeps its pages? */
static bool came_first(const struct slm_sched_seq *a, const struct slm_sched_seq *b)
{
    const int64_t x = slm_sched_level(a), y = slm_sched_level(b);
    return x != y ? x > y : a->order < b->order;
}

/* First whose priority it is, by the one of it that has waited longest; then who of that priority, by fairness. */
ptrdiff_t slm_sched_candidate(const struct slm_sched *s)
{
    const struct slm_sched_seq *first = NULL;
    ptrdiff_t best = SLM_SCHED_NONE;
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct slm_sched_seq *q = &s->seqs[i];
        if (q->is_running) continue;
        const int64_t mine = slm_sched_level(q), its = first ? slm_sched_level(first) : 0;
        if (!first || mine > its || (mine == its && q->priority > first->priority)) first = q;
    }
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct slm_sched_seq *q = &s->seqs[i];
        if (q->is_running || q->priority != first->priority) continue;
        if (best < 0 || goes_first(s, q, &s->seqs[best])) best = (ptrdiff_t)i;
    }
    return best;
}

/* The running one that would go first when pages are short. */
static ptrdiff_t victim(const struct slm_sched *s)
{
    ptrdiff_t worst = SLM_SCHED_NONE;
    for (size_t i = 0; i < s->n_seqs; i++)
        if (s->seqs[i].is_running && (worst < 0 || came_first(&s->seqs[worst], &s->seqs[i]))) worst = (ptrdiff_t)i;
    return worst;
}

/* Pages a sequence takes when it is n_tokens long. */
static size_t growth(const struct slm_sched *s, const struct slm_sched_seq *q, size_t n_tokens)
{
    const size_t want = pages_for(s, n_tokens);
    return want > q->n_pages ? want - q->n_pages : 0;
}

/* Pages that those who run will want. */
struct need {
    size_t n_running;
    size_t decode;  /* pages of the next token of all that decode */
    size_t prompts; /* pages that the others will take until they decode */
};
static struct need sum_up(const struct slm_sched *s)
{
    struct need need = {0};
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct slm_sched_seq *q = &s->seqs[i];
        if (!q->is_running) continue;
        need.n_running++;
        if (decodes(q)) need.decode += growth(s, q, q->n_known);
        else need.prompts += growth(s, q, q->n_known);
    }
    return need;
}

/* Could any prompt that runs take a row? With nothing to decode and no page for any of them all would wait for
 * another. */
static bool is_stuck(const struct slm_sched *s)
{
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct slm_sched_seq *q = &s->seqs[i];
        if (!q->is_running) continue;
        if (decodes(q) || (!q->waits && growth(s, q, q->n_done + 1) <= s->n_free)) return false;
    }
    return true;
}

enum slm_sched_action slm_sched_next(const struct slm_sched *s, size_t *i)
{
    const struct need need = sum_up(s);
    const ptrdiff_t last = victim(s), next = slm_sched_candidate(s);
    /* One alone always has room: the pool holds a whole context. */
    if (need.n_running > 1 && (need.decode > s->n_free || is_stuck(s))) {
        *i = (size_t)last;
        return SLM_SCHED_PREEMPT;
    }
    if (next < 0) return SLM_SCHED_STEP;
    const struct slm_sched_seq *q = &s->seqs[next];
    const size_t want = pages_for(s, q->n_known), found = q->n_shared < want ? q->n_shared : want;
    const bool fits = want - found + need.decode + need.prompts + need.n_running <= s->n_free;
    if (need.n_running == 0 || (need.n_running < s->max_running && fits)) {
        *i = (size_t)next;
        return SLM_SCHED_ADMIT;
    }
    /* There is no room: only whoever counts for less makes some. Having waited is no reason to send others away. */
    if (slm_sched_level(&s->seqs[last]) >= q->priority) return SLM_SCHED_STEP;
    *i = (size_t)last;
    return SLM_SCHED_PREEMPT;
}

/* Rows of prompts in a step with so many decoding: as many as keep it short, but never so few that prompts stand. */
static size_t prompt_rows(const struct slm_sched *s, size_t n_decoding)
{
    size_t rows = s->max_rows > n_decoding ? s->max_rows - n_decoding : 0;
    const size_t least = s->page_tokens < rows ? s->page_tokens : rows;
    if (n_decoding == 0 || s->row_s <= 0 || s->target_s <= 0) return rows;
    const double timely = s->target_s / s->row_s - (double)n_decoding;
    if (timely < (double)least) return least;
    return timely < (double)rows ? (size_t)timely : rows;
}

/* The first in order of those that run, read a prompt and have no rows yet. */
static struct slm_sched_seq *next_prompt(const struct slm_sched *s, const struct slm_sched_seq *after)
{
    struct slm_sched_seq *best = NULL;
    for (size_t i = 0; i < s->n_seqs; i++) {
        struct slm_sched_seq *q = &s->seqs[i];
        if (!q->is_running || q->waits || decodes(q) || (after && !came_first(after, q))) continue;
        if (!best || came_first(q, best)) best = q;
    }
    return best;
}

/* How many rows a prompt can take with so many left and so many pages free. */
static size_t rows_of(const struct slm_sched *s, const struct slm_sched_seq *q, size_t rows, size_t n_free)
{
    const size_t room = (q->n_pages + n_free) * s->page_tokens - q->n_done;
    if (q->n_known - q->n_done < rows) rows = q->n_known - q->n_done;
    if (q->most_rows && q->most_rows < rows) rows = q->most_rows;
    return room < rows ? room : rows;
}

size_t slm_sched_rows(struct slm_sched *s, size_t *n_pages)
{
    size_t n_decoding = 0, pages = 0;
    for (size_t i = 0; i < s->n_seqs; i++) {
        struct slm_sched_seq *q = &s->seqs[i];
        q->rows = decodes(q) ? 1 : 0;
        if (!q->rows) continue;
        n_decoding++;
        pages += growth(s, q, q->n_known);
    }
    size_t left = prompt_rows(s, n_decoding), sum = n_decoding;
    for (struct slm_sched_seq *q = next_prompt(s, NULL); q && left > 0; q = next_prompt(s, q)) {
        q->rows = rows_of(s, q, left, s->n_free > pages ? s->n_free - pages : 0);
        pages += growth(s, q, q->n_done + q->rows);
        left -= q->rows;
        sum += q->rows;
    }
    *n_pages = pages;
    return sum;
}

void slm_sched_charge(struct slm_sched *s)
{
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct slm_sched_seq *q = &s->seqs[i];
        if (q->is_running) s->served[q->tenant] += q->rows * (decodes(q) ? DECODE_WEIGHT : PROMPT_WEIGHT);
    }
}

void slm_sched_join(struct slm_sched *s, uint32_t tenant, const bool *present)
{
    uint64_t least = UINT64_MAX;
    for (size_t t = 0; t < s->n_tenants; t++)
        if (t != tenant && present[t] && s->served[t] < least) least = s->served[t];
    if (least != UINT64_MAX && s->served[tenant] < least) s->served[tenant] = least;
}
