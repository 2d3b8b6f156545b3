/* SPDX-License-Identifier: MIT
 * Which sequence computes what in the next step, as pure functions of numbers: no threads, no clock, no memory, no
 * model. The runner (runner.h) does what they say and keeps the numbers true; the tests do the same with a simulator.
 *
 * A sequence is a line of tokens of which some are computed. That a prompt is being read, that one token follows the
 * other, and that a sequence which lost its pages is computed again are all the same: known tokens minus computed ones.
 *
 * The rules, in order:
 *  1. Higher priority first; a priority that waits rises, so that no stream of higher ones keeps it waiting for ever.
 *  2. Among equals the tenant that was served least (tokens counted as in Sheng et al., "Fairness in Serving Large
 *     Language Models", 2024: a virtual counter each; one that comes back starts at the least of those present).
 *  3. Of a tenant, first come first served.
 * Nobody overtakes a sequence that is next but finds no room: it would never find any.
 *
 * A sequence is admitted when the pages of all its known tokens are there, and one for each that runs already to grow
 * into. When pages run out all the same, the last that came of the lowest priority gives its pages back and waits; what
 * it said is known, so it goes on later as if nothing had happened. Nobody is refused for lack of pages. Sequences that
 * decode advance in every step; prompts share what is left of a step's rows, the first in order all of it, so that the
 * step stays as short as it must be. */
#ifndef SLM_SERVE_SCHED_H
#define SLM_SERVE_SCHED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slm_sched_seq {
    uint64_t order;     /* of arrival; unique */
    int32_t priority;   /* higher first */
    int32_t boost;      /* what waiting has added: while it waits, and kept while it runs */
    uint32_t tenant;    /* index of its counter */
    size_t n_known;     /* tokens: of the prompt, and what was generated; at least 1 */
    size_t n_done;      /* of them computed; below n_known */
    size_t n_pages;     /* pages it holds */
    size_t most_rows;   /* of its prompt in one step; 0 = no limit */
    size_t n_shared;    /* while it waits: pages it would find that running ones hold; asked of the candidate only */
    bool is_running;
    bool waits;         /* runs, and what it needs next is being computed by another that runs */
    size_t rows;        /* written by slm_sched_rows: known tokens to compute in this step */
};

struct slm_sched {
    struct slm_sched_seq *seqs; /* [n_seqs] in no order */
    size_t n_seqs;
    uint64_t *served;           /* [n_tenants] virtual counters */
    size_t n_tenants;
    size_t page_tokens, n_pages; /* of the pool */
    size_t n_free;              /* pages that are free, or can be freed without asking */
    size_t max_running;         /* sequences that run at a time */
    size_t max_rows;            /* rows of a step */
    double row_s;               /* what a row costs in steps of many, measured; 0 = not known */
    double target_s;            /* what a step is to take at most while sequences decode; 0 = any time */
};

enum { SLM_SCHED_NONE = -1 };

/* What it counts for now. */
int64_t slm_sched_level(const struct slm_sched_seq *seq);

/* Who would be admitted next, or NONE. The caller fills its n_shared before asking for the decision. */
ptrdiff_t slm_sched_candidate(const struct slm_sched *s);

enum slm_sched_action {
    SLM_SCHED_STEP,    /* nothing to change: compute */
    SLM_SCHED_ADMIT,   /* seqs[i] begins to run */
    SLM_SCHED_PREEMPT, /* seqs[i] gives its pages back and waits */
};
/* One decision at a time: the caller carries it out, brings the numbers up to date and asks again, until STEP. */
enum slm_sched_action slm_sched_next(const struct slm_sched *s, size_t *i);

/* Fills rows of every sequence; returns their sum, and the pages they take in *n_pages. 0: nobody runs. */
size_t slm_sched_rows(struct slm_sched *s, size_t *n_pages);

/* The rows of a step were computed: counters of the tenants go up. A token that is generated counts twice. */
void slm_sched_charge(struct slm_sched *s);
/* A tenant without sequences comes back: it has not saved anything up. present[t]: it has some. */
void slm_sched_join(struct slm_sched *s, uint32_t tenant, const bool *present);
#endif
