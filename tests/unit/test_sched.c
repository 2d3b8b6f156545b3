/* SPDX-License-Identifier: MIT
 * The scheduler in a simulator: random loads on random machines, a page pool with shared beginnings, clients that
 * leave; after every decision the books must balance, every step must do what can be done, and everybody must finish.
 * A seed is a whole run, so a failure is repeated by its number. SLM_TEST_LEVEL=soak: 100,000 seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "effort.h"
#include "serve/sched.h"

enum { PAGE = 4, MOST = 48, GROUPS = 3, GROUP_PAGES = 8, TENANTS = 4 };

/* What the simulator knows of a sequence beside the scheduler's row. */
struct seq {
    size_t n_total;   /* tokens when it is through */
    size_t arrives;   /* at which step */
    size_t group;     /* whose first pages it begins with; GROUPS: nobody's */
    size_t n_group;   /* how many of them */
    size_t n_shared;  /* of its pages, those that are the group's */
    uint64_t order;
    size_t waits_since; /* step */
    bool has_started;
};

struct sim {
    struct slm_rng rng;
    uint64_t seed;
    struct slm_sched sched;
    struct slm_sched_seq rows[MOST];
    struct seq *of[MOST];           /* row by row */
    struct seq seqs[MOST];
    uint64_t served[TENANTS];
    size_t n_seqs, n_arrived, n_left, step, n_preempted;
    size_t aging;                   /* steps of waiting for a level of priority; 0 = no such thing */
    size_t holders[GROUPS][GROUP_PAGES]; /* sequences that hold a group's page */
    bool computed[GROUPS][GROUP_PAGES];  /* it is in the pool, held or idle */
};

#define CHECK(sim, condition) \
    do { if (!(condition)) fail_msg("seed %llu, step %zu: %s", (unsigned long long)(sim)->seed, (sim)->step, #condition); \
    } while (0)

static size_t below(struct sim *s, size_t n) { return (size_t)(slm_rng_next(&s->rng) % n); }

static size_t pages_for(size_t n) { return (n + PAGE - 1) / PAGE; }

/* Pages that somebody holds. */
static size_t n_held(const struct sim *s)
{
    size_t n = 0;
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t p = 0; p < GROUP_PAGES; p++) n += s->holders[g][p] > 0;
    for (size_t i = 0; i < s->sched.n_seqs; i++) n += s->rows[i].n_pages - s->of[i]->n_shared;
    return n;
}

/* Idle pages go when the pool is full, the last of a beginning first. */
static void evict(struct sim *s)
{
    size_t n = n_held(s);
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t p = 0; p < GROUP_PAGES; p++) n += s->computed[g][p] && !s->holders[g][p];
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t p = GROUP_PAGES; p-- > 0 && n > s->sched.n_pages;)
            if (s->computed[g][p] && !s->holders[g][p]) {
                s->computed[g][p] = false;
                n--;
            }
}

/* Full pages of the group's beginning are the group's. */
static void share(struct sim *s, size_t i)
{
    struct seq *q = s->of[i];
    while (q->n_shared < q->n_group && (q->n_shared + 1) * PAGE <= s->rows[i].n_done) {
        s->holders[q->group][q->n_shared]++;
        s->computed[q->group][q->n_shared++] = true;
    }
}

/* Goes on with what is there. */
static void adopt(struct sim *s, size_t i)
{
    struct slm_sched_seq *row = &s->rows[i];
    const struct seq *q = s->of[i];
    while (row->n_done % PAGE == 0 && row->n_done / PAGE < q->n_group && s->computed[q->group][row->n_done / PAGE] &&
           row->n_done + PAGE < row->n_known) {
        row->n_done += PAGE;
        row->n_pages = row->n_done / PAGE;
        share(s, i);
    }
}

static void give_back(struct sim *s, size_t i)
{
    struct seq *q = s->of[i];
    while (q->n_shared > 0) s->holders[q->group][--q->n_shared]--;
    s->rows[i].n_done = s->rows[i].n_pages = 0;
    s->rows[i].is_running = false;
    q->waits_since = s->step;
}

static void leave(struct sim *s, size_t i)
{
    give_back(s, i);
    s->sched.n_seqs--;
    s->rows[i] = s->rows[s->sched.n_seqs];
    s->of[i] = s->of[s->sched.n_seqs];
    s->n_left++;
}

static void refresh(struct sim *s)
{
    for (size_t i = 0; i < s->sched.n_seqs; i++) {
        struct slm_sched_seq *row = &s->rows[i];
        row->waits = false;
        if (!row->is_running && s->aging) row->boost = (int32_t)((s->step - s->of[i]->waits_since) / s->aging);
        if (row->is_running && row->n_known - row->n_done > 1) adopt(s, i);
    }
    for (size_t i = 0; i < s->sched.n_seqs; i++) {
        struct slm_sched_seq *row = &s->rows[i];
        const size_t page = row->n_done / PAGE;
        if (!row->is_running || row->n_known - row->n_done <= 1 || row->n_done % PAGE || page >= s->of[i]->n_group)
            continue;
        for (size_t k = 0; k < s->sched.n_seqs; k++)
            row->waits |= s->rows[k].is_running && slm_sched_level(&s->rows[k]) == slm_sched_level(row) &&
                          s->rows[k].order < row->order && s->of[k]->group == s->of[i]->group &&
                          s->of[k]->n_group > page && s->rows[k].n_done / PAGE <= page &&
                          s->rows[k].n_known >= (page + 1) * PAGE;
    }
    s->sched.n_free = s->sched.n_pages - n_held(s);
}

static void arrive(struct sim *s)
{
    for (; s->n_arrived < s->n_seqs && s->seqs[s->n_arrived].arrives <= s->step; s->n_arrived++) {
        struct seq *q = &s->seqs[s->n_arrived];
        const size_t i = s->sched.n_seqs++;
        bool present[TENANTS] = {false};
        for (size_t k = 0; k < i; k++) present[s->rows[k].tenant] = true;
        s->of[i] = q;
        s->rows[i] = (struct slm_sched_seq){.order = s->n_arrived,
                                            .priority = below(s, 6) ? 0 : (int32_t)below(s, 3) - 1,
                                            .tenant = (uint32_t)below(s, TENANTS),
                                            .n_known = 1 + below(s, q->n_total - 1),
                                            .most_rows = below(s, 8) ? 0 : 1 + below(s, 5)};
        q->order = s->n_arrived;
        q->waits_since = s->step;
        if (!present[s->rows[i].tenant]) slm_sched_join(&s->sched, s->rows[i].tenant, present);
    }
}

static void make(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.rng = {.seed = seed}, .seed = seed};
    const size_t n_pages = 4 + below(s, 60), n_ctx = 2 + below(s, n_pages * PAGE - 1);
    s->sched = (struct slm_sched){.seqs = s->rows, .served = s->served, .n_tenants = TENANTS, .page_tokens = PAGE,
                                  .n_pages = n_pages, .max_running = 1 + below(s, 12), .max_rows = 1 + below(s, 64)};
    if (below(s, 2)) s->sched.row_s = 0.001;
    if (below(s, 2)) s->sched.target_s = 0.001 * (double)below(s, 40);
    if (below(s, 2)) s->aging = 1 + below(s, 50);
    s->n_seqs = 1 + below(s, MOST);
    for (size_t i = 0, at = 0; i < s->n_seqs; i++) {
        at += below(s, 3) ? 0 : below(s, 20);
        s->seqs[i] = (struct seq){.n_total = 2 + below(s, n_ctx - 1), .arrives = at, .group = below(s, GROUPS + 1)};
        if (s->seqs[i].group < GROUPS) s->seqs[i].n_group = below(s, GROUP_PAGES + 1);
        if (s->seqs[i].n_group > s->seqs[i].n_total / PAGE) s->seqs[i].n_group = s->seqs[i].n_total / PAGE;
    }
}

/* Those of the same tenant and priority start in the order they came. */
static void check_first(struct sim *s, size_t i)
{
    for (size_t k = 0; k < s->sched.n_seqs; k++)
        CHECK(s, s->rows[k].is_running || s->rows[k].tenant != s->rows[i].tenant ||
                     s->rows[k].priority != s->rows[i].priority || s->rows[k].order >= s->rows[i].order);
}

static void decide(struct sim *s)
{
    for (size_t n = 0;; n++) {
        size_t i;
        CHECK(s, n <= 4 * MOST); /* it comes to an end */
        refresh(s);
        const ptrdiff_t next = slm_sched_candidate(&s->sched);
        if (next >= 0) {
            const struct seq *q = s->of[next];
            s->rows[next].n_shared = 0;
            for (size_t p = 0; p < q->n_group && s->computed[q->group][p]; p++)
                if ((p + 1) * PAGE < s->rows[next].n_known) s->rows[next].n_shared += s->holders[q->group][p] > 0;
        }
        const enum slm_sched_action action = slm_sched_next(&s->sched, &i);
        if (action == SLM_SCHED_STEP) return;
        CHECK(s, i < s->sched.n_seqs && s->rows[i].is_running == (action == SLM_SCHED_PREEMPT));
        if (action == SLM_SCHED_PREEMPT) {
            for (size_t k = 0; k < s->sched.n_seqs; k++) CHECK(s, !s->rows[k].is_running || k == i ||
                slm_sched_level(&s->rows[k]) > slm_sched_level(&s->rows[i]) ||
                (slm_sched_level(&s->rows[k]) == slm_sched_level(&s->rows[i]) && s->rows[k].order < s->rows[i].order));
            give_back(s, i);
            s->n_preempted++;
            continue;
        }
        if (!s->of[i]->has_started) check_first(s, i);
        for (size_t k = 0; k < s->sched.n_seqs; k++) { /* its priority has been served */
            if (s->rows[k].is_running || s->rows[k].priority != s->rows[i].priority) continue;
            if (s->rows[k].boost > s->rows[i].boost) s->rows[i].boost = s->rows[k].boost;
            s->of[k]->waits_since = s->step;
        }
        s->of[i]->has_started = s->rows[i].is_running = true;
        adopt(s, i);
    }
}

/* Rows within their budget and their pages, and none left over that somebody could have used. */
static void check_rows(struct sim *s, size_t n_rows, size_t n_pages)
{
    size_t sum = 0, n_decoding = 0, n_running = 0, pages = 0, hungry = 0, prompts = 0;
    for (size_t i = 0; i < s->sched.n_seqs; i++) {
        const struct slm_sched_seq *row = &s->rows[i];
        CHECK(s, row->is_running || row->rows == 0);
        if (!row->is_running) continue;
        const bool decodes = row->n_known - row->n_done == 1;
        const size_t want = pages_for(row->n_done + row->rows);
        n_running++;
        n_decoding += decodes;
        sum += row->rows;
        pages += want > row->n_pages ? want - row->n_pages : 0;
        CHECK(s, row->rows <= row->n_known - row->n_done);
        if (decodes) CHECK(s, row->rows == 1);
        if (!decodes) prompts += row->rows;
        if (row->waits) CHECK(s, row->rows == 0);
        if (row->most_rows && !decodes) CHECK(s, row->rows <= row->most_rows);
        hungry += !decodes && !row->waits && row->rows < row->n_known - row->n_done && !row->most_rows;
    }
    const double timely = s->sched.row_s > 0 && s->sched.target_s > 0 && n_decoding
                              ? s->sched.target_s / s->sched.row_s - (double)n_decoding
                              : 1e9;
    CHECK(s, sum == n_rows && pages == n_pages && pages <= s->sched.n_free);
    CHECK(s, n_running <= s->sched.max_running);
    CHECK(s, sum <= s->sched.max_rows || sum == n_decoding);
    CHECK(s, prompts <= PAGE || (double)prompts <= timely);
    CHECK(s, n_rows > 0 || s->sched.n_seqs == 0);
    /* Whoever wants more found the budget or the pool at its end. */
    if (hungry && pages < s->sched.n_free)
        CHECK(s, sum >= s->sched.max_rows || (prompts >= PAGE && (double)prompts >= timely - 1) ||
                     (timely < PAGE && prompts >= PAGE));
}

static void compute(struct sim *s)
{
    for (size_t i = s->sched.n_seqs; i-- > 0;) {
        struct slm_sched_seq *row = &s->rows[i];
        if (!row->rows) continue;
        row->n_done += row->rows;
        if (pages_for(row->n_done) > row->n_pages) row->n_pages = pages_for(row->n_done);
        share(s, i);
    }
    evict(s);
    for (size_t i = s->sched.n_seqs; i-- > 0;) {
        struct slm_sched_seq *row = &s->rows[i];
        if (row->is_running && row->n_done == row->n_known && ++row->n_known > s->of[i]->n_total) leave(s, i);
        else if (below(s, 200) == 0) leave(s, i); /* the client has gone */
    }
}

static size_t run(uint64_t seed)
{
    static struct sim s;
    make(&s, seed);
    size_t work = 0;
    for (size_t i = 0; i < s.n_seqs; i++) work += s.seqs[i].n_total + 20;
    while (s.n_left < s.n_seqs) {
        size_t n_pages;
        arrive(&s);
        decide(&s);
        const size_t n_rows = slm_sched_rows(&s.sched, &n_pages);
        check_rows(&s, n_rows, n_pages);
        slm_sched_charge(&s.sched);
        compute(&s);
        CHECK(&s, n_held(&s) <= s.sched.n_pages);
        CHECK(&s, ++s.step < 20 * work); /* nobody waits for ever */
    }
    CHECK(&s, n_held(&s) == 0);
    CHECK(&s, s.n_preempted <= work);
    return s.n_preempted;
}

static void everybody_finishes_and_the_books_balance(void **state)
{
    (void)state;
    const char *level = getenv("SLM_TEST_LEVEL");
    const size_t n = level && strcmp(level, "soak") == 0 ? 100000 : test_share(2000);
    size_t n_preempted = 0;
    for (uint64_t seed = 0; seed < n; seed++) n_preempted += run(seed);
    assert_true(n_preempted > n / 4); /* the loads were heavy enough to mean something */
}

/* ---- fairness --------------------------------------------------------------------------------------------------- */

/* Two tenants that always have something waiting, one with long requests and many of them. */
static void two_tenants_get_the_same(void **state)
{
    (void)state;
    enum { CTX = 128, STEPS = 20000, RUNNING = 6, WAITING = 20 };
    static struct sim s;
    for (uint64_t seed = 0; seed < 4; seed++) {
        size_t got[2] = {0, 0};
        s = (struct sim){.rng = {.seed = seed}, .seed = seed};
        s.sched = (struct slm_sched){.seqs = s.rows, .served = s.served, .n_tenants = 2, .page_tokens = PAGE,
                                     .n_pages = RUNNING * CTX / PAGE, .max_running = RUNNING, .max_rows = 32};
        for (s.step = 0; s.step < STEPS; s.step++) {
            size_t n_pages, waiting[2] = {0, 0}, i;
            for (i = 0; i < s.sched.n_seqs; i++) waiting[s.rows[i].tenant] += !s.rows[i].is_running;
            for (uint32_t t = 0; t < 2; t++)
                for (; waiting[t] < (t ? 2 : WAITING); waiting[t]++) {
                    static struct seq totals[MOST * 4096];
                    struct seq *q = &totals[s.n_arrived % (MOST * 4096)];
                    *q = (struct seq){.n_total = t ? 2 + below(&s, 20) : CTX / 2 + below(&s, CTX / 2), .group = GROUPS};
                    s.of[s.sched.n_seqs] = q;
                    s.rows[s.sched.n_seqs++] = (struct slm_sched_seq){.order = s.n_arrived++, .tenant = t,
                                                                      .n_known = 1 + below(&s, q->n_total - 1)};
                }
            decide(&s);
            slm_sched_rows(&s.sched, &n_pages);
            for (i = 0; i < s.sched.n_seqs; i++)
                got[s.rows[i].tenant] += s.rows[i].rows * (s.rows[i].n_known - s.rows[i].n_done == 1 ? 2 : 1);
            slm_sched_charge(&s.sched);
            compute(&s);
        }
        /* What one can be ahead: all that runs at once, from its first token to its last. */
        const size_t more = got[0] > got[1] ? got[0] - got[1] : got[1] - got[0];
        if (more > 2 * RUNNING * CTX) fail_msg("seed %llu: %zu and %zu", (unsigned long long)seed, got[0], got[1]);
    }
}

static void one_who_comes_back_has_saved_nothing(void **state)
{
    (void)state;
    uint64_t served[3] = {100, 5000, 7000};
    struct slm_sched s = {.served = served, .n_tenants = 3};
    const bool present[3] = {false, true, true};
    slm_sched_join(&s, 0, present);
    assert_int_equal(served[0], 5000);
    slm_sched_join(&s, 2, present);
    assert_int_equal(served[2], 7000);
}

/* ---- single rules ----------------------------------------------------------------------------------------------- */

static void a_higher_priority_takes_the_place_of_a_lower(void **state)
{
    (void)state;
    uint64_t served[2] = {0, 1000};
    struct slm_sched_seq rows[] = {
        {.order = 0, .n_known = 9, .n_done = 8, .n_pages = 2, .is_running = true},
        {.order = 1, .n_known = 9, .n_done = 8, .n_pages = 2, .is_running = true, .priority = -1},
        {.order = 2, .n_known = 8, .tenant = 1},
    };
    struct slm_sched s = {.seqs = rows, .n_seqs = 3, .served = served, .n_tenants = 2, .page_tokens = 4, .n_pages = 20,
                          .n_free = 16, .max_running = 2, .max_rows = 8};
    size_t i;
    assert_int_equal(slm_sched_next(&s, &i), SLM_SCHED_PREEMPT);
    assert_int_equal(i, 1);
    rows[1] = (struct slm_sched_seq){.order = 1, .n_known = 9, .priority = -1};
    assert_int_equal(slm_sched_next(&s, &i), SLM_SCHED_ADMIT);
    assert_int_equal(i, 2);
    rows[2].is_running = true;
    assert_int_equal(slm_sched_next(&s, &i), SLM_SCHED_STEP); /* the low one waits */
}

/* More of high priority than the machine can do, for ever: low ones get their turns, later the lower they are, and
 * what they once got is not taken away by the next high one. */
static void low_priorities_have_their_turns(void **state)
{
    (void)state;
    enum { STEPS = 4000, AGING = 20 };
    static struct sim s;
    static struct seq seqs[8];
    size_t done[3] = {0, 0, 0};
    s = (struct sim){.aging = AGING};
    s.sched = (struct slm_sched){.seqs = s.rows, .served = s.served, .n_tenants = 1, .page_tokens = PAGE,
                                 .n_pages = 40, .max_running = 2, .max_rows = 16};
    for (size_t i = 0; i < 8; i++) { /* two wait of each, and two of the highest run */
        seqs[i] = (struct seq){.n_total = 24, .group = GROUPS};
        s.of[i] = &seqs[i];
        s.rows[i] = (struct slm_sched_seq){.order = i, .priority = (int32_t)(i < 4 ? 10 : i < 6 ? 5 : 0), .n_known = 8};
    }
    s.sched.n_seqs = 8;
    for (s.step = 0; s.step < STEPS; s.step++) {
        size_t n_pages;
        decide(&s);
        assert_true(slm_sched_rows(&s.sched, &n_pages) > 0);
        for (size_t i = 0; i < s.sched.n_seqs; i++) {
            struct slm_sched_seq *row = &s.rows[i];
            if (!row->rows) continue;
            row->n_done += row->rows;
            row->n_pages = pages_for(row->n_done);
            if (row->n_done < row->n_known || ++row->n_known <= s.of[i]->n_total) continue;
            done[(10 - row->priority) / 5]++;
            give_back(&s, i);
            *row = (struct slm_sched_seq){.order = 8 + s.step * 8 + i, .priority = row->priority, .n_known = 8};
        }
    }
    assert_true(done[1] > 10 && done[2] > 5 && done[0] > 10 * done[1] && done[1] > done[2]);
    assert_int_equal(s.n_preempted, 0);
}

static void nobody_overtakes_one_without_room(void **state)
{
    (void)state;
    uint64_t served[1] = {0};
    struct slm_sched_seq rows[] = {
        {.order = 0, .n_known = 9, .n_done = 8, .n_pages = 3, .is_running = true},
        {.order = 1, .n_known = 60},
        {.order = 2, .n_known = 1},
    };
    struct slm_sched s = {.seqs = rows, .n_seqs = 3, .served = served, .n_tenants = 1, .page_tokens = 4, .n_pages = 16,
                          .n_free = 13, .max_running = 4, .max_rows = 8};
    size_t i;
    assert_int_equal(slm_sched_candidate(&s), 1);
    assert_int_equal(slm_sched_next(&s, &i), SLM_SCHED_STEP);
    rows[1].n_shared = 5; /* of its 15 pages, held by others anyway */
    assert_int_equal(slm_sched_next(&s, &i), SLM_SCHED_ADMIT);
    assert_int_equal(i, 1);
}

static void prompts_leave_room_for_those_who_decode(void **state)
{
    (void)state;
    uint64_t served[1] = {0};
    struct slm_sched_seq rows[] = {
        {.order = 0, .n_known = 500, .is_running = true},
        {.order = 1, .n_known = 9, .n_done = 8, .n_pages = 2, .is_running = true},
    };
    struct slm_sched s = {.seqs = rows, .n_seqs = 2, .served = served, .n_tenants = 1, .page_tokens = 4, .n_pages = 200,
                          .n_free = 198, .max_running = 4, .max_rows = 256, .row_s = 0.001, .target_s = 0.05};
    size_t n_pages;
    assert_int_equal(slm_sched_rows(&s, &n_pages), 50);
    assert_int_equal(rows[0].rows, 49);
    s.target_s = 0.0001;
    assert_int_equal(slm_sched_rows(&s, &n_pages), 5); /* a page at least */
    rows[1].is_running = false;
    assert_int_equal(slm_sched_rows(&s, &n_pages), 256); /* nobody waits for a token */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_finishes_and_the_books_balance),
        cmocka_unit_test(two_tenants_get_the_same),
        cmocka_unit_test(one_who_comes_back_has_saved_nothing),
        cmocka_unit_test(a_higher_priority_takes_the_place_of_a_lower),
        cmocka_unit_test(low_priorities_have_their_turns),
        cmocka_unit_test(nobody_overtakes_one_without_room),
        cmocka_unit_test(prompts_leave_room_for_those_who_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
