/* SPDX-License-Identifier: MIT
 * The sampler chain against an oracle that is written the slow way: full sorts, libm, probabilities that sum
 * to 1. pick() gives one id, so a distribution is checked by drawing many times: no id outside the oracle's
 * survivors may ever appear, and the counts must pass a chi-square test. Seeds are fixed: a verdict never
 * changes between runs. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "engine/sampler.h"

enum { MAX_VOCAB = 4096 };

static const struct slm_sampler_params all_off = {
    .temperature = 1.0f, .top_p = 1.0f, .typical_p = 1.0f, .repeat_penalty = 1.0f, .seed = 1234};

/* ---- the oracle ------------------------------------------------------------------------------ */

struct entry {
    double logit, p, key;
    int id;
};
struct oracle {
    struct entry e[MAX_VOCAB];
    int n;
};

static int by_logit(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->logit != y->logit ? (x->logit > y->logit ? -1 : 1) : x->id - y->id;
}
static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : x->id - y->id;
}
static void softmax(struct oracle *o, double temperature)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < o->n; i++) max = fmax(max, o->e[i].logit);
    for (int i = 0; i < o->n; i++) sum += o->e[i].p = exp((o->e[i].logit - max) / temperature);
    for (int i = 0; i < o->n; i++) o->e[i].p /= sum;
}

/* Straight from the definitions, in the documented order. */
static void oracle_run(struct oracle *o, const float *logits, int n_vocab, const int32_t *history, int n_history,
                       const struct slm_sampler_params *p)
{
    o->n = n_vocab;
    for (int i = 0; i < n_vocab; i++) o->e[i] = (struct entry){.logit = (double)logits[i], .id = i};
    for (size_t b = 0; b < p->n_logit_bias; b++) o->e[p->logit_bias[b].id].logit += (double)p->logit_bias[b].bias;
    int first = p->penalty_last_n < 0 || p->penalty_last_n > n_history ? 0 : n_history - p->penalty_last_n;
    for (int i = 0; i < n_vocab; i++) {
        int count = 0;
        for (int h = first; h < n_history; h++) count += history[h] == i;
        if (count == 0) continue;
        double *l = &o->e[i].logit;
        *l = *l > 0 ? *l / (double)p->repeat_penalty : *l * (double)p->repeat_penalty;
        *l -= count * (double)p->frequency_penalty + (double)p->presence_penalty;
    }
    qsort(o->e, (size_t)o->n, sizeof o->e[0], by_logit);
    while (o->n > 0 && o->e[o->n - 1].logit == -INFINITY) o->n--;
    if (p->top_k > 0 && p->top_k < o->n) o->n = p->top_k;
    if (p->typical_p < 1.0f) {
        softmax(o, 1.0);
        double entropy = 0, mass = 0;
        for (int i = 0; i < o->n; i++) entropy -= o->e[i].p > 0 ? o->e[i].p * log(o->e[i].p) : 0;
        for (int i = 0; i < o->n; i++) o->e[i].key = fabs(-log(o->e[i].p) - entropy);
        qsort(o->e, (size_t)o->n, sizeof o->e[0], by_key);
        int kept = 0;
        while (kept < o->n && mass <= (double)p->typical_p) mass += o->e[kept++].p;
        o->n = kept;
    }
    qsort(o->e, (size_t)o->n, sizeof o->e[0], by_logit);
    if (p->top_p < 1.0f) {
        softmax(o, 1.0);
        double mass = 0;
        int kept = 0;
        do mass += o->e[kept++].p;
        while (kept < o->n && mass < (double)p->top_p);
        o->n = kept;
    }
    softmax(o, 1.0);
    int kept = 0;
    while (kept < o->n && o->e[kept].p >= (double)p->min_p * o->e[0].p) kept++;
    o->n = kept;
    softmax(o, (double)p->temperature);
}

/* ---- helpers --------------------------------------------------------------------------------- */

static float *random_logits(int n, uint64_t seed, double spread)
{
    static float logits[MAX_VOCAB];
    for (int i = 0; i < n; i++) { /* Box-Muller: about what a model gives */
        double u = slm_rng_uniform(seed, (uint64_t)i, 77), v = slm_rng_uniform(seed, (uint64_t)i, 78);
        logits[i] = (float)(spread * sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v));
    }
    return logits;
}

static int32_t pick_one(const float *logits, int n_vocab, const int32_t *history, int n_history, uint64_t position,
                        const struct slm_sampler_params *params)
{
    struct slm_sampler_scratch scratch;
    int32_t id = -1;
    struct slm_error error = {0};
    assert_int_equal(slm_sampler_scratch_init(&scratch, (size_t)n_vocab, &error), SLM_OK);
    slm_status status = slm_sampler_pick(&scratch, logits, (size_t)n_vocab, history, (size_t)n_history, position,
                                         params, NULL, &id, &error);
    slm_sampler_scratch_release(&scratch);
    if (status != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return id;
}

/* Draws n_draws times; every survivor's count must fit its probability. Returns the number of survivors. */
static int check_distribution(const float *logits, int n_vocab, const int32_t *history, int n_history,
                              const struct slm_sampler_params *params, int n_draws)
{
    static struct oracle o;
    static int counts[MAX_VOCAB];
    struct slm_sampler_scratch scratch;
    struct slm_error error = {0};
    memset(counts, 0, sizeof counts);
    oracle_run(&o, logits, n_vocab, history, n_history, params);
    assert_int_equal(slm_sampler_scratch_init(&scratch, (size_t)n_vocab, NULL), SLM_OK);
    for (int d = 0; d < n_draws; d++) {
        int32_t id = -1;
        if (slm_sampler_pick(&scratch, logits, (size_t)n_vocab, history, (size_t)n_history, (uint64_t)d,
                             params, NULL, &id,
                             &error) != SLM_OK)
            fail_msg("%s: %s", error.where, error.message);
        assert_in_range(id, 0, n_vocab - 1);
        counts[id]++;
    }
    slm_sampler_scratch_release(&scratch);

    double chi2 = 0, rest_expected = 0;
    int rest = 0, cells = 0, drawn = 0;
    for (int i = 0; i < o.n; i++) {
        double expected = o.e[i].p * n_draws;
        drawn += counts[o.e[i].id];
        if (expected < 8) { /* thin cells are pooled, as the test wants */
            rest += counts[o.e[i].id];
            rest_expected += expected;
            continue;
        }
        chi2 += (counts[o.e[i].id] - expected) * (counts[o.e[i].id] - expected) / expected;
        cells++;
    }
    if (rest_expected >= 8) {
        chi2 += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
        cells++;
    }
    if (drawn != n_draws)
        fail_msg("%d of %d draws are outside the oracle's %d survivors", n_draws - drawn, n_draws, o.n);
    /* Mean cells-1, deviation sqrt(2(cells-1)): five deviations plus the skew of few cells. */
    double limit = cells - 1 + 5 * sqrt(2.0 * (cells > 1 ? cells - 1 : 1)) + 12;
    if (chi2 > limit) fail_msg("chi-square %.1f over %d cells, limit %.1f", chi2, cells, limit);
    return o.n;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_greedy(void **state)
{
    (void)state;
    struct slm_sampler_params p = all_off;
    p.temperature = 0.0f;
    float ties[] = {-1, 3, 2, 3, 3, -9};
    assert_int_equal(pick_one(ties, 6, NULL, 0, 0, &p), 1);
    p.temperature = -1.0f;
    p.top_k = 2;
    p.top_p = 0.0f;
    p.typical_p = 0.01f; /* would drop the likeliest; greedy stays greedy */
    assert_int_equal(pick_one(ties, 6, NULL, 0, 7, &p), 1);
    float flat[300] = {0};
    assert_int_equal(pick_one(flat, 300, NULL, 0, 0, &p), 0);
    float one = -5;
    assert_int_equal(pick_one(&one, 1, NULL, 0, 0, &p), 0);
    /* a zeroed struct is greedy without penalties */
    struct slm_sampler_params zero = {0};
    int32_t history[] = {1, 1, 1};
    assert_int_equal(pick_one(ties, 6, history, 3, 0, &zero), 1);
}

static void test_draw_matches_softmax(void **state)
{
    (void)state;
    struct slm_sampler_params p = all_off;
    const float temperatures[] = {0.05f, 0.3f, 1.0f, 2.5f, 100.0f};
    for (size_t t = 0; t < 5; t++) {
        p.temperature = temperatures[t];
        p.seed = 900 + t;
        check_distribution(random_logits(40, t, 2.0), 40, NULL, 0, &p, 20000);
    }
}

static void test_each_filter(void **state)
{
    (void)state;
    const int n = 200;
    for (uint64_t round = 0; round < 4; round++) {
        const float *logits = random_logits(n, 50 + round, 2.5);
        const struct slm_sampler_params rows[] = {
            {.top_k = 1},           {.top_k = 7},        {.top_k = 199},      {.top_k = 200},
            {.top_k = 100000},      {.top_p = 0.0001f},  {.top_p = 0.5f},     {.top_p = 0.93f},
            {.top_p = 0.9999f},     {.min_p = 0.02f},    {.min_p = 0.5f},     {.min_p = 1.0f},
            {.typical_p = 0.0001f}, {.typical_p = 0.2f}, {.typical_p = 0.7f}, {.typical_p = 0.97f},
        };
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct slm_sampler_params p = all_off;
            p.top_k = rows[i].top_k;
            p.min_p = rows[i].min_p;
            if (rows[i].top_p > 0) p.top_p = rows[i].top_p;
            if (rows[i].typical_p > 0) p.typical_p = rows[i].typical_p;
            p.seed = round * 100 + i;
            int survivors = check_distribution(logits, n, NULL, 0, &p, 4000);
            if (p.top_k > 0 && p.top_k <= n) assert_int_equal(survivors, p.top_k);
            if (p.min_p == 1.0f || rows[i].top_p == 0.0001f) assert_int_equal(survivors, 1);
        }
    }
}

static void test_chains(void **state)
{
    (void)state;
    const int n = 150;
    int32_t history[90];
    struct slm_logit_bias bias[] = {{3, 2.0f}, {9, -INFINITY}, {20, -1.5f}, {3, 0.5f}};
    for (uint64_t round = 0; round < 40; round++) {
        struct slm_rng rng = {.seed = round, .stream = 5};
        for (int h = 0; h < 90; h++) history[h] = (int32_t)(slm_rng_next(&rng) % (uint64_t)n);
#define UNIT() ((float)(slm_rng_next(&rng) >> 40) / 16777216.0f)
        struct slm_sampler_params p = {
            .temperature = 0.2f + 1.5f * UNIT(),
            .top_k = (int32_t)(slm_rng_next(&rng) % 80),
            .top_p = 0.3f + 0.7f * UNIT(),
            .min_p = 0.2f * UNIT(),
            .typical_p = 0.3f + 0.7f * UNIT(),
            .repeat_penalty = 0.8f + UNIT(),
            .frequency_penalty = UNIT() - 0.5f,
            .presence_penalty = UNIT() - 0.5f,
            .penalty_last_n = (int32_t)(slm_rng_next(&rng) % 100) - 1,
            .seed = round,
            .logit_bias = bias,
            .n_logit_bias = 4,
        };
#undef UNIT
        check_distribution(random_logits(n, 200 + round, 2.0), n, history, 90, &p, 3000);
    }
}

/* With a huge temperature all survivors are equally likely: the set of picks is the set of survivors. */
static void test_top_k_keeps_lower_ids_on_ties(void **state)
{
    (void)state;
    enum { N = 1000, K = 25 };
    static float logits[N];
    struct slm_sampler_params p = all_off;
    p.temperature = FLT_MAX;
    p.top_k = K;
    for (int i = 0; i < N; i++) logits[i] = (float)((i * 7919) % 40); /* 25 tokens of each value: 39 fills the k */
    for (int i = 0; i < N; i += 200) logits[i + 1] = 39.0f;           /* ... and now there are more than k */
    assert_int_equal(check_distribution(logits, N, NULL, 0, &p, 2000), K);
    memset(logits, 0, sizeof logits);
    for (uint64_t d = 0; d < 500; d++) assert_in_range(pick_one(logits, N, NULL, 0, d, &p), 0, K - 1);
    /* A late winner pushes out the highest of the equal ids, not the lowest. */
    const float late[] = {5, 5, 5, 5, 6, 5, 7};
    for (p.top_k = 1; p.top_k <= 7; p.top_k++) {
        assert_int_equal(check_distribution(late, 7, NULL, 0, &p, 2000), p.top_k);
        struct slm_sampler_params nucleus = all_off;
        nucleus.temperature = FLT_MAX;
        nucleus.top_p = (float)p.top_k / 7.01f;
        check_distribution(late, 7, NULL, 0, &nucleus, 2000);
    }
    p.top_k = K;
    for (int i = 0; i < N; i++) logits[i] = (float)i; /* rising: the heap's worst case */
    assert_int_equal(check_distribution(logits, N, NULL, 0, &p, 2000), K);
    for (int i = 0; i < N; i++) logits[i] = (float)-i;
    assert_int_equal(check_distribution(logits, N, NULL, 0, &p, 2000), K);
}

/* A penalised logit is found by a rival just below and just above the closed form. */
static void assert_penalised(float logit, const int32_t *history, int n_history, struct slm_sampler_params p,
                             float expected)
{
    p.temperature = 0.0f;
    float logits[] = {logit, expected - 1e-3f};
    assert_int_equal(pick_one(logits, 2, history, n_history, 0, &p), 0);
    logits[1] = expected + 1e-3f;
    assert_int_equal(pick_one(logits, 2, history, n_history, 0, &p), 1);
}

static void test_penalties(void **state)
{
    (void)state;
    int32_t h[] = {0, 0, 0, 0};
    struct slm_sampler_params p = all_off;
    p.penalty_last_n = 64;
    p.repeat_penalty = 1.25f;
    assert_penalised(2.0f, h, 1, p, 1.6f);
    assert_penalised(2.0f, h, 4, p, 1.6f); /* once, however often it occurred */
    assert_penalised(-2.0f, h, 2, p, -2.5f);
    p.repeat_penalty = 1.0f;
    p.frequency_penalty = 0.3f;
    assert_penalised(2.0f, h, 4, p, 0.8f);
    p.penalty_last_n = 2; /* the window */
    assert_penalised(2.0f, h, 4, p, 1.4f);
    p.penalty_last_n = -1;
    assert_penalised(2.0f, h, 4, p, 0.8f);
    p.penalty_last_n = 0;
    assert_penalised(2.0f, h, 4, p, 2.0f);
    p.penalty_last_n = 64;
    p.frequency_penalty = 0.0f;
    p.presence_penalty = 0.7f;
    assert_penalised(2.0f, h, 4, p, 1.3f);
    p.repeat_penalty = 2.0f;
    p.frequency_penalty = -0.25f; /* a reward */
    assert_penalised(3.0f, h, 2, p, 1.5f + 0.5f - 0.7f);
}

/* Counts are cleared after every call, also the failing one. */
static void test_no_state_between_calls(void **state)
{
    (void)state;
    struct slm_sampler_scratch scratch;
    assert_int_equal(slm_sampler_scratch_init(&scratch, 4, NULL), SLM_OK);
    float logits[] = {1.0f, 0.9f, 0, 0};
    int32_t bad[] = {0, 0, 4}, good[] = {0}, id = -1;
    struct slm_sampler_params p = all_off;
    struct slm_error error = {0};
    p.temperature = 0.0f;
    p.penalty_last_n = 64;
    p.frequency_penalty = 0.05f;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(slm_sampler_pick(&scratch, logits, 4, bad, 3, 0, &p, NULL, &id, &error), SLM_ERR_ARGUMENT);
        assert_string_equal(error.where, "history");
        assert_int_equal(slm_sampler_pick(&scratch, logits, 4, good, 1, 0, &p, NULL, &id, NULL), SLM_OK);
        assert_int_equal(id, 0); /* 0.95 beats 0.9; a count left over would lose */
    }
    slm_sampler_scratch_release(&scratch);
    slm_sampler_scratch_release(&scratch);
}

static void test_bias(void **state)
{
    (void)state;
    struct slm_sampler_params p = all_off;
    float logits[] = {5, 4, 3, 2};
    struct slm_logit_bias ban[] = {{0, -INFINITY}, {1, -INFINITY}, {2, -INFINITY}, {3, -INFINITY}};
    p.logit_bias = ban;
    p.n_logit_bias = 2;
    const int32_t top_ks[] = {0, 1, 3, 4};
    for (size_t k = 0; k < 4; k++) {
        p.top_k = top_ks[k];
        for (uint64_t d = 0; d < 300; d++) assert_in_range(pick_one(logits, 4, NULL, 0, d, &p), 2, 3);
    }
    p.temperature = 0.0f;
    assert_int_equal(pick_one(logits, 4, NULL, 0, 0, &p), 2);

    struct slm_sampler_scratch scratch;
    struct slm_error error = {0};
    int32_t id = 99;
    assert_int_equal(slm_sampler_scratch_init(&scratch, 4, NULL), SLM_OK);
    p.n_logit_bias = 4;
    for (int t = 0; t < 2; t++) {
        p.temperature = (float)t;
        assert_int_equal(slm_sampler_pick(&scratch, logits, 4, NULL, 0, 0, &p, NULL, &id, &error), SLM_ERR_ARGUMENT);
        assert_non_null(strstr(error.message, "banned"));
        assert_int_equal(id, 99);
    }
    slm_sampler_scratch_release(&scratch);
    /* A finite bias never bans and never makes infinity. */
    struct slm_logit_bias huge[] = {{1, FLT_MAX}, {0, -FLT_MAX}};
    float extreme[] = {-FLT_MAX, FLT_MAX};
    p.logit_bias = huge;
    p.n_logit_bias = 2;
    p.temperature = 1.0f;
    assert_int_equal(pick_one(extreme, 2, NULL, 0, 0, &p), 1);
}

static void test_bad_logits(void **state)
{
    (void)state;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int where = 0; where < 50; where += 7) {
        for (size_t b = 0; b < 4; b++) {
            struct slm_sampler_scratch scratch;
            struct slm_sampler_params p = all_off;
            struct slm_error error = {0};
            int32_t id = -7;
            float *logits = random_logits(50, 1, 1.0);
            logits[where] = bad[b];
            assert_int_equal(slm_sampler_scratch_init(&scratch, 50, NULL), SLM_OK);
            assert_int_equal(slm_sampler_pick(&scratch, logits, 50, NULL, 0, 0, &p, NULL, &id, &error),
                                              SLM_ERR_NUMERIC);
            assert_int_equal(id, -7);
            slm_sampler_scratch_release(&scratch);
        }
    }
    /* The whole range of floats is fine. */
    float extreme[] = {FLT_MAX, -FLT_MAX, FLT_MIN, 0.0f};
    struct slm_sampler_params p = all_off;
    for (float t = 1e-30f; t < 1e30f; t *= 1e6f) {
        p.temperature = t;
        p.typical_p = 0.5f;
        p.min_p = 0.1f;
        p.top_p = 0.5f;
        assert_int_equal(pick_one(extreme, 4, NULL, 0, 0, &p), 0);
    }
}

static void expect_refused(struct slm_sampler_params p, const char *field, const char *range)
{
    struct slm_error error = {0};
    assert_int_equal(slm_sampler_check(&p, 10, &error), SLM_ERR_ARGUMENT);
    assert_int_equal(error.status, SLM_ERR_ARGUMENT);
    assert_string_equal(error.where, field);
    if (!strstr(error.message, range)) fail_msg("'%s' does not name the range '%s'", error.message, range);
}

static void test_bad_parameters(void **state)
{
    (void)state;
    assert_int_equal(slm_sampler_check(&all_off, 10, NULL), SLM_OK);
    const struct {
        const char *name, *range;
        size_t offset;
        float too_low, too_high;
    } rows[] = {
        {"temperature", "to", offsetof(struct slm_sampler_params, temperature), -INFINITY, INFINITY},
        {"top_p", "0 to 1", offsetof(struct slm_sampler_params, top_p), -0.01f, 1.01f},
        {"min_p", "0 to 1", offsetof(struct slm_sampler_params, min_p), -0.01f, 1.01f},
        {"typical_p", "0 to 1", offsetof(struct slm_sampler_params, typical_p), -0.01f, 1.01f},
        {"repeat_penalty", "0 to", offsetof(struct slm_sampler_params, repeat_penalty), -0.5f, INFINITY},
        {"frequency_penalty", "to", offsetof(struct slm_sampler_params, frequency_penalty), -INFINITY, INFINITY},
        {"presence_penalty", "to", offsetof(struct slm_sampler_params, presence_penalty), -INFINITY, INFINITY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const float bad[] = {NAN, rows[i].too_low, rows[i].too_high};
        for (size_t b = 0; b < 3; b++) {
            struct slm_sampler_params p = all_off;
            memcpy((char *)&p + rows[i].offset, &bad[b], sizeof bad[b]);
            expect_refused(p, rows[i].name, rows[i].range);
        }
    }
    struct slm_sampler_params p = all_off;
    p.top_k = -1;
    expect_refused(p, "top_k", "0 (off)");
    p = all_off;
    p.penalty_last_n = -2;
    expect_refused(p, "penalty_last_n", "-1 (whole timeline)");
    p = all_off;
    struct slm_logit_bias bias = {10, 0.0f};
    p.n_logit_bias = 1;
    expect_refused(p, "logit_bias", "NULL");
    p.logit_bias = &bias;
    expect_refused(p, "logit_bias", "0 to 9");
    assert_int_equal(slm_sampler_check(&p, 0, NULL), SLM_OK); /* vocabulary not known yet */
    bias.id = -1;
    expect_refused(p, "logit_bias", "0 to 9");
    bias = (struct slm_logit_bias){0, NAN};
    expect_refused(p, "logit_bias", "-inf");
    bias.bias = INFINITY;
    expect_refused(p, "logit_bias", "-inf");
}

/* The draw depends on (seed, position) and on nothing that happened before. */
static void test_repeatable(void **state)
{
    (void)state;
    const float *logits = random_logits(500, 3, 1.0);
    struct slm_sampler_params p = all_off;
    p.top_p = 0.95f;
    int32_t forward[100];
    for (int d = 0; d < 100; d++) forward[d] = pick_one(logits, 500, NULL, 0, (uint64_t)d, &p);
    int moved = 0;
    for (int d = 99; d >= 0; d--) {
        assert_int_equal(pick_one(logits, 500, NULL, 0, (uint64_t)d, &p), forward[d]);
        p.seed++;
        moved += pick_one(logits, 500, NULL, 0, (uint64_t)d, &p) != forward[d];
        p.seed--;
    }
    assert_true(moved > 80);
}

/* A mask is a bias of -inf on every token it leaves out, whatever the links do. */
static void test_masks_ban_tokens(void **state)
{
    (void)state;
    enum { N = 200 };
    static struct slm_logit_bias bans[N];
    struct slm_sampler_scratch scratch;
    assert_int_equal(slm_sampler_scratch_init(&scratch, N, NULL), SLM_OK);
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t mask[(N + 63) / 64] = {0};
        struct slm_sampler_params p = {.temperature = seed % 3 ? 0.9f : 0.0f, .top_k = 20, .top_p = 0.9f,
                                       .min_p = 0.02f, .typical_p = 1, .repeat_penalty = 1, .seed = seed};
        const double share = seed % 2 ? 0.9 : 0.05;
        for (int32_t i = 0; i < N; i++) {
            if (i == (int32_t)seed || slm_rng_uniform(seed, (uint64_t)i, 5) < share)
                mask[i / 64] |= UINT64_C(1) << (i % 64);
            else
                bans[p.n_logit_bias++] = (struct slm_logit_bias){i, -INFINITY};
        }
        int32_t masked = -1, banned = -2;
        const float *logits = random_logits(N, seed, 3);
        assert_int_equal(slm_sampler_pick(&scratch, logits, N, NULL, 0, seed, &(struct slm_sampler_params){
            .temperature = p.temperature, .top_k = 20, .top_p = 0.9f, .min_p = 0.02f, .typical_p = 1,
            .repeat_penalty = 1, .seed = seed}, mask, &masked, NULL), SLM_OK);
        p.logit_bias = bans;
        assert_int_equal(slm_sampler_pick(&scratch, logits, N, NULL, 0, seed, &p, NULL, &banned, NULL), SLM_OK);
        assert_int_equal(masked, banned);
        assert_true(mask[masked / 64] >> (masked % 64) & 1);
    }
    const uint64_t none[(N + 63) / 64] = {0};
    struct slm_error error = {0};
    int32_t id = -7;
    assert_int_equal(slm_sampler_pick(&scratch, random_logits(N, 1, 3), N, NULL, 0, 0,
                                      &(struct slm_sampler_params){.typical_p = 1}, none, &id, &error),
                     SLM_ERR_ARGUMENT);
    assert_string_equal(error.where, "mask");
    assert_int_equal(id, -7);
    slm_sampler_scratch_release(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_draw_matches_softmax),
        cmocka_unit_test(test_each_filter),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_top_k_keeps_lower_ids_on_ties),
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_no_state_between_calls),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_masks_ban_tokens),
        cmocka_unit_test(test_bad_logits),
        cmocka_unit_test(test_bad_parameters),
        cmocka_unit_test(test_repeatable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
