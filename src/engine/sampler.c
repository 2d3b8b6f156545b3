/* SPDX-License-Identifier: MIT
 *
 * The sampler chain: mask -> logit bias -> penalties -> top_k -> typical_p -> top_p -> min_p -> temperature -> draw.
 *
 * What each link does is what llama.cpp's sampler of the same name does, so that settings found on the web mean
 * the same here; a link that is off costs nothing. Three things are ours:
 *
 *   - Same bits everywhere. Exponentials come from slm_expf, sums are doubles taken in a fixed order, and every
 *     comparison is a total order (equal values: the lower id first), so no result depends on how a library
 * sorts.
 *   - No full sort. top_k keeps a bounded heap whose root is the worst kept token: one comparison for nearly
 * all of a 150,000-token vocabulary. The filters that want an order over many candidates pop a heap only as far
 * as the probability mass they need.
 *   - Unnormalised weights. weight = exp(logit - greatest logit) is computed once; a probability is weight /
 * sum of the weights still in the race, which is the renormalisation llama.cpp does by running softmax in every
 * link.
 *
 * Deliberately not here: mirostat, XTC, DRY and other links that need state or strings. */
#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include "base/fmath.h"
#include "base/os.h"
#include "base/rng.h"

enum { DRAW_STREAM = 1 }; /* keeps these random numbers apart from other uses of the same seed */

struct slm_candidate {
    float logit;
    float weight;   /* exp(logit - greatest logit of the vocabulary) */
    float surprise; /* typical_p only: distance of the token's information from the expected one */
    int32_t id;
};

/* ---- scratch --------------------------------------------------------------------------------- */

slm_status slm_sampler_scratch_init(struct slm_sampler_scratch *scratch, size_t n_vocab, struct slm_error *error)
{
    *scratch = (struct slm_sampler_scratch){.n_vocab = n_vocab};
    scratch->logits = slm_alloc(n_vocab, sizeof *scratch->logits, "sampler", error);
    if (!scratch->logits) goto fail;
    scratch->candidates = slm_alloc(n_vocab, sizeof *scratch->candidates, "sampler", error);
    if (!scratch->candidates) goto fail;
    scratch->counts = slm_alloc(n_vocab, sizeof *scratch->counts, "sampler", error);
    if (!scratch->counts) goto fail;
    return SLM_OK;
fail:
    slm_sampler_scratch_release(scratch);
    return SLM_ERR_MEMORY;
}

void slm_sampler_scratch_release(struct slm_sampler_scratch *scratch)
{
    slm_release(scratch->logits);
    slm_release(scratch->candidates);
    slm_release(scratch->counts);
    *scratch = (struct slm_sampler_scratch){0};
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* Every float parameter with its closed range. NaN is in no range. */
static const struct {
    const char *name;
    size_t offset;
    float min, max;
} float_rows[] = {
#define ROW(field, min, max) {#field, offsetof(struct slm_sampler_params, field), min, max}
    ROW(temperature, -FLT_MAX, FLT_MAX),
    ROW(top_p, 0.0f, 1.0f),
    ROW(min_p, 0.0f, 1.0f),
    ROW(typical_p, 0.0f, 1.0f),
    ROW(repeat_penalty, 0.0f, 1000.0f),
    ROW(frequency_penalty, -1000.0f, 1000.0f),
    ROW(presence_penalty, -1000.0f, 1000.0f),
#undef ROW
};

static slm_status check_bias(const struct slm_sampler_params *params, size_t n_vocab, struct slm_error *error)
{
    if (params->n_logit_bias > 0 && !params->logit_bias)
        return slm_fail(error, SLM_ERR_ARGUMENT, "logit_bias", "%zu entries are announced but the list is NULL",
                        params->n_logit_bias);
    for (size_t i = 0; i < params->n_logit_bias; i++) {
        const struct slm_logit_bias *row = &params->logit_bias[i];
        if (row->id < 0 || (n_vocab > 0 && (size_t)row->id >= n_vocab))
            return slm_fail(error, SLM_ERR_ARGUMENT, "logit_bias", "token id %d is not in the vocabulary (0 to %zu)",
                            row->id, n_vocab > 0 ? n_vocab - 1 : (size_t)INT32_MAX);
        /* -inf bans a token; +inf and NaN have no meaning that survives the addition. */
        if (isnan(row->bias) || row->bias == INFINITY)
            return slm_fail(error, SLM_ERR_ARGUMENT, "logit_bias",
                            "bias %g of token %d is not allowed: finite numbers and -inf are", (double)row->bias,
                            row->id);
    }
    return SLM_OK;
}

slm_status slm_sampler_check(const struct slm_sampler_params *params, size_t n_vocab, struct slm_error *error)
{
    for (size_t i = 0; i < sizeof float_rows / sizeof *float_rows; i++) {
        float value;
        memcpy(&value, (const char *)params + float_rows[i].offset, sizeof value);
        if (!(value >= float_rows[i].min && value <= float_rows[i].max))
            return slm_fail(error, SLM_ERR_ARGUMENT, float_rows[i].name, "%g is not allowed: %g to %g are",
                            (double)value, (double)float_rows[i].min, (double)float_rows[i].max);
    }
    if (params->top_k < 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, "top_k", "%d is not allowed: 0 (off) or a positive number is",
                        params->top_k);
    if (params->penalty_last_n < -1)
        return slm_fail(error, SLM_ERR_ARGUMENT, "penalty_last_n",
                        "%d is not allowed: -1 (whole timeline), 0 (off) or a positive number is",
                        params->penalty_last_n);
    return check_bias(params, n_vocab, error);
}

/* ---- links that change logits ---------------------------------------------------------------- */

/* Copies logits [n] and tells whether all are finite. On the bits, because the loop then vectorises anywhere.
 */
static bool copy_finite(float *dst, const float *src, size_t n)
{
    const uint32_t exponent = UINT32_C(0x7f800000); /* all ones: infinite, or no number */
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &src[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
        dst[i] = src[i];
    }
    return bad == 0;
}

static slm_status fail_not_finite(const float *logits, size_t n, struct slm_error *error)
{
    size_t i = 0;
    while (i + 1 < n && isfinite(logits[i])) i++;
    return slm_fail(
        error, SLM_ERR_NUMERIC, "logits",
        "the model produced %g for token %zu; finite numbers are allowed: the weights are damaged or overflow",
        (double)logits[i], i);
}

/* Sums that leave the range of a float stay at its end, so that only a bias of -inf bans a token. */
static float clamp_finite(float x) { return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x; }

/* Most masks allow nearly all tokens or nearly none, so whole words of either kind are quick. */
static void apply_mask(float *logits, const uint64_t *mask, size_t n_vocab)
{
    for (size_t base = 0; base < n_vocab; base += 64) {
        const uint64_t word = mask[base / 64];
        const size_t n = n_vocab - base < 64 ? n_vocab - base : 64;
        if (word == UINT64_MAX) continue;
        for (size_t i = 0; i < n; i++) logits[base + i] = word >> i & 1 ? logits[base + i] : -INFINITY;
    }
}

static void apply_bias(float *logits, const struct slm_sampler_params *params)
{
    for (size_t i = 0; i < params->n_logit_bias; i++) {
        const struct slm_logit_bias *row = &params->logit_bias[i];
        float *logit = &logits[row->id];
        if (*logit == -INFINITY || row->bias == -INFINITY)
            *logit = -INFINITY;
        else
            *logit = clamp_finite(*logit + row->bias);
    }
}

static float penalise(float logit, uint32_t count, const struct slm_sampler_params *params)
{
    if (logit == -INFINITY) return logit;
    /* Dividing a negative logit would make the token likelier (the paper's formula does; everybody mends it
     * so). */
    if (params->repeat_penalty > 0.0f)
        logit = logit <= 0.0f ? logit * params->repeat_penalty : logit / params->repeat_penalty;
    logit -= (float)count * params->frequency_penalty + params->presence_penalty;
    return clamp_finite(logit);
}

static slm_status apply_penalties(struct slm_sampler_scratch *scratch, size_t n_vocab, const int32_t *history,
                                  size_t n_history, const struct slm_sampler_params *params, struct slm_error *error)
{
    bool repeat_off = params->repeat_penalty == 1.0f || params->repeat_penalty == 0.0f;
    if (repeat_off && params->frequency_penalty == 0.0f && params->presence_penalty == 0.0f) return SLM_OK;
    if (params->penalty_last_n >= 0 && n_history > (size_t)params->penalty_last_n) {
        history += n_history - (size_t)params->penalty_last_n;
        n_history = (size_t)params->penalty_last_n;
    }
    for (size_t i = 0; i < n_history; i++)
        if (history[i] < 0 || (size_t)history[i] >= n_vocab)
            return slm_fail(error, SLM_ERR_ARGUMENT, "history", "token id %d is not in the vocabulary (0 to %zu)",
                            history[i], n_vocab - 1);
    for (size_t i = 0; i < n_history; i++) scratch->counts[history[i]]++;
    for (size_t i = 0; i < n_history; i++) {
        uint32_t *count = &scratch->counts[history[i]];
        if (*count == 0) continue; /* an earlier occurrence was handled, and cleared the count for the next call */
        scratch->logits[history[i]] = penalise(scratch->logits[history[i]], *count, params);
        *count = 0;
    }
    return SLM_OK;
}

/* ---- orders and heaps ------------------------------------------------------------------------ */

/* A total order: true when a comes strictly before b. */
typedef bool (*order_fn)(const struct slm_candidate *a, const struct slm_candidate *b);

static bool likelier(const struct slm_candidate *a, const struct slm_candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static bool unlikelier(const struct slm_candidate *a, const struct slm_candidate *b) { return likelier(b, a); }

static bool more_typical(const struct slm_candidate *a, const struct slm_candidate *b)
{
    return a->surprise < b->surprise || (a->surprise == b->surprise && a->id < b->id);
}

/* Restores the heap c[0..n), whose root is the first in order, after c[i] changed. */
static inline void sift_down(struct slm_candidate *c, size_t n, size_t i, order_fn before)
{
    struct slm_candidate moving = c[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && before(&c[child + 1], &c[child])) child++;
        if (!before(&c[child], &moving)) break;
        c[i] = c[child];
        i = child;
    }
    c[i] = moving;
}

static inline void heapify(struct slm_candidate *c, size_t n, order_fn before)
{
    for (size_t i = n / 2; i-- > 0;) sift_down(c, n, i, before);
}

/* Moves the root behind the heap, which shrinks to n - 1. */
static inline void heap_pop(struct slm_candidate *c, size_t n, order_fn before)
{
    struct slm_candidate root = c[0];
    c[0] = c[n - 1];
    c[n - 1] = root;
    if (n > 1) sift_down(c, n - 1, 0, before);
}

static void reverse(struct slm_candidate *c, size_t n)
{
    for (size_t i = 0, j = n; i + 1 < j; i++) {
        struct slm_candidate other = c[--j];
        c[j] = c[i];
        c[i] = other;
    }
}

/* ---- links that drop candidates -------------------------------------------------------------- */

/* The race: candidates [n], in an order that is a function of the inputs only. */
struct race {
    struct slm_candidate *c;
    size_t n;
    bool sorted; /* likeliest first */
};

static double total_weight(const struct race *race)
{
    double sum = 0.0;
    for (size_t i = 0; i < race->n; i++) sum += (double)race->c[i].weight;
    return sum;
}

/* Everybody who is not banned, in order of id. */
static void enter_all(struct race *race, const float *logits, size_t n_vocab)
{
    for (size_t i = 0; i < n_vocab; i++)
        if (logits[i] != -INFINITY) race->c[race->n++] = (struct slm_candidate){.logit = logits[i], .id = (int32_t)i};
}

/* Runs of logits of which none clears the bar are passed over whole: nearly all of them, once the bar is high. The loop
 * has no branches, so that it vectorises anywhere. */
enum { RUN = 64 };
static bool none_above(const float *logits, float bar)
{
    unsigned any = 0;
    for (size_t i = 0; i < RUN; i++) any |= logits[i] > bar;
    return any == 0;
}

/* The k likeliest, likeliest first. The heap's root is the worst one kept: the bar that a newcomer must clear.
 * A newcomer of equal logit has the higher id, so it loses the tie. */
static void enter_top_k(struct race *race, const float *logits, size_t n_vocab, size_t k)
{
    size_t i = 0;
    for (; i < n_vocab && race->n < k; i++)
        if (logits[i] != -INFINITY) race->c[race->n++] = (struct slm_candidate){.logit = logits[i], .id = (int32_t)i};
    heapify(race->c, race->n, unlikelier);
    for (; i < n_vocab; i++) {
        while (i % RUN == 0 && i + RUN <= n_vocab && none_above(logits + i, race->c[0].logit)) i += RUN;
        if (i == n_vocab) break;
        if (!(logits[i] > race->c[0].logit)) continue;
        race->c[0] = (struct slm_candidate){.logit = logits[i], .id = (int32_t)i};
        sift_down(race->c, race->n, 0, unlikelier);
    }
    for (size_t n = race->n; n > 1; n--) heap_pop(race->c, n, unlikelier);
    race->sorted = true;
}

static void weigh(struct race *race)
{
    float greatest = -INFINITY;
    for (size_t i = 0; i < race->n; i++) greatest = race->c[i].logit > greatest ? race->c[i].logit : greatest;
    for (size_t i = 0; i < race->n; i++) race->c[i].weight = slm_expf(race->c[i].logit - greatest);
}

/* Locally typical sampling (Meister et al., 2022): keeps the tokens whose information -log p is nearest to the
 * expected one, until their mass is more than p. With log p = logit - m - log Z, the log Z cancels in
 * |-log p - entropy|, so no logarithm is needed. */
static void keep_typical(struct race *race, float p)
{
    double sum = total_weight(race), mean = 0.0, mass = 0.0;
    for (size_t i = 0; i < race->n; i++) {
        const struct slm_candidate *c = &race->c[i];
        if (c->weight > 0.0f) mean += (double)c->weight / sum * (double)c->logit;
    }
    for (size_t i = 0; i < race->n; i++)
        race->c[i].surprise = (float)fmin(fabs(mean - (double)race->c[i].logit), (double)FLT_MAX);
    heapify(race->c, race->n, more_typical);
    size_t rest = race->n;
    while (rest > 0 && !(mass > (double)p * sum)) {
        mass += (double)race->c[0].weight;
        heap_pop(race->c, rest--, more_typical);
    }
    reverse(race->c, race->n);
    race->n -= rest;
    race->sorted = false;
}

/* Nucleus sampling (Holtzman et al., 2020): the fewest likeliest tokens whose mass reaches p; at least one. */
static void keep_top_p(struct race *race, float p)
{
    double needed = (double)p * total_weight(race), mass = 0.0;
    size_t kept = 0;
    if (race->sorted) {
        do mass += (double)race->c[kept++].weight;
        while (kept < race->n && mass < needed);
    } else {
        heapify(race->c, race->n, likelier);
        do {
            mass += (double)race->c[0].weight;
            heap_pop(race->c, race->n - kept++, likelier);
        } while (kept < race->n && mass < needed);
        reverse(race->c, race->n);
        race->sorted = true;
    }
    race->n = kept;
}

/* Keeps what is at least p times as likely as the likeliest. */
static void keep_min_p(struct race *race, float p)
{
    float greatest = 0.0f;
    for (size_t i = 0; i < race->n; i++) greatest = race->c[i].weight > greatest ? race->c[i].weight : greatest;
    size_t kept = 0;
    for (size_t i = 0; i < race->n; i++)
        if (race->c[i].weight >= p * greatest) race->c[kept++] = race->c[i];
    race->n = kept;
}

/* ---- the draw -------------------------------------------------------------------------------- */

/* Softmax at the temperature over who is left, inverted at a uniform number. */
static int32_t draw(struct race *race, float temperature, double uniform)
{
    float greatest = -INFINITY;
    double sum = 0.0, mass = 0.0;
    int32_t id = -1;
    for (size_t i = 0; i < race->n; i++) greatest = race->c[i].logit > greatest ? race->c[i].logit : greatest;
    for (size_t i = 0; i < race->n; i++) {
        struct slm_candidate *c = &race->c[i];
        c->weight = slm_expf((c->logit - greatest) / temperature);
        sum += (double)c->weight;
    }
    for (size_t i = 0; i < race->n; i++) {
        if (race->c[i].weight <= 0.0f) continue;
        mass += (double)race->c[i].weight;
        id = race->c[i].id; /* stands if rounding lets the mass end a hair below uniform * sum */
        if (mass > uniform * sum) break;
    }
    return id;
}

static int32_t greatest_logit(const float *logits, size_t n_vocab)
{
    int32_t best = -1;
    float greatest = -INFINITY;
    for (size_t i = 0; i < n_vocab; i++) {
        while (i % RUN == 0 && i + RUN <= n_vocab && none_above(logits + i, greatest)) i += RUN;
        if (i == n_vocab) break;
        if (logits[i] > greatest) { /* strictly: the lowest id wins a tie, and a banned token never does */
            greatest = logits[i];
            best = (int32_t)i;
        }
    }
    return best;
}

static int32_t run_filters_and_draw(struct slm_sampler_scratch *scratch, size_t n_vocab, uint64_t position,
                                    const struct slm_sampler_params *params)
{
    struct race race = {.c = scratch->candidates};
    size_t k = (size_t)params->top_k;
    if (k > 0 && k < n_vocab)
        enter_top_k(&race, scratch->logits, n_vocab, k);
    else
        enter_all(&race, scratch->logits, n_vocab);
    if (race.n == 0) return -1;
    weigh(&race);
    if (params->typical_p < 1.0f) keep_typical(&race, params->typical_p);
    if (params->top_p < 1.0f) keep_top_p(&race, params->top_p);
    if (params->min_p > 0.0f) keep_min_p(&race, params->min_p);
    return draw(&race, params->temperature, slm_rng_uniform(params->seed, position, DRAW_STREAM));
}

slm_status slm_sampler_pick(struct slm_sampler_scratch *scratch, const float *logits, size_t n_vocab,
                            const int32_t *history, size_t n_history, uint64_t position,
                            const struct slm_sampler_params *params, const uint64_t *mask, int32_t *id,
                            struct slm_error *error)
{
    SLM_ASSERT(n_vocab >= 1 && n_vocab <= scratch->n_vocab);
    SLM_TRY(slm_sampler_check(params, n_vocab, error));
    if (!copy_finite(scratch->logits, logits, n_vocab)) return fail_not_finite(logits, n_vocab, error);
    if (mask) apply_mask(scratch->logits, mask, n_vocab);
    apply_bias(scratch->logits, params);
    SLM_TRY(apply_penalties(scratch, n_vocab, history, n_history, params, error));
    int32_t picked = params->temperature <= 0.0f ? greatest_logit(scratch->logits, n_vocab)
                                                 : run_filters_and_draw(scratch, n_vocab, position, params);
    if (picked < 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, mask ? "mask" : "logit_bias",
                        "all %zu tokens are banned: at least one must be left", n_vocab);
    *id = picked;
    return SLM_OK;
}
