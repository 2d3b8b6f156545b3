/* SPDX-License-Identifier: MIT
 * What rounding activations to int8 costs on trained models: the built-in one and TinyStories-656K read stories once
 * with f32 activations and once with int8, the weights the same. The built-in model reads its own, sampled at
 * temperature 1: text it has an opinion about; the other one people's. The limits are the ones docs/kernels.md
 * states. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "effort.h"
#include "shared.h"
#include "slm.h"
#include "tiny_model.h"

enum { STORIES = 12, TOKENS = 128, WINDOW = 512, WINDOWS = 8, TEXT = 1 << 15 };
#define LEAD 0.01 /* of probability: less is no opinion on which token is likeliest */

struct loss {
    double kl, nll_f32, nll_int8;
    size_t n, same_top;
    size_t n_led, same_led; /* where the likeliest token leads */
};

static double log_sum_exp(const float *x, int32_t n)
{
    double most = (double)x[0], sum = 0;
    for (int32_t i = 1; i < n; i++)
        if ((double)x[i] > most) most = (double)x[i];
    for (int32_t i = 0; i < n; i++) sum += exp((double)x[i] - most);
    return most + log(sum);
}

static int32_t top(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* How much likelier the likeliest token is than the next. */
static double lead_of(const float *x, int32_t n, double log_sum)
{
    const int32_t best = top(x, n);
    float next = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        if (i != best && x[i] > next) next = x[i];
    return exp((double)x[best] - log_sum) - exp((double)next - log_sum);
}

/* [n, n_vocab] logits of a text; caller frees. */
static float *read_text(const struct slm_model *model, enum slm_activations activations, enum slm_kv_type kv,
                        const int32_t *ids, size_t n)
{
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 512, .activations = activations, .kv_type = kv};
    float *logits = malloc(n * (size_t)slm_model_info(model).n_vocab * sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(slm_session_open(model, &options, &session, NULL), SLM_OK);
    assert_int_equal(slm_session_eval_all(session, ids, n, logits, NULL), SLM_OK);
    slm_session_close(session);
    return logits;
}

/* A story from the model's own distribution. */
static void write_story(const struct slm_model *model, uint64_t seed, int32_t ids[TOKENS])
{
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 512, .activations = SLM_ACTIVATIONS_F32};
    const struct slm_sampler_params plain = {.temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1,
                                             .seed = seed};
    assert_int_equal(slm_session_open(model, &options, &session, NULL), SLM_OK);
    ids[0] = slm_model_info(model).bos_id;
    for (int i = 1; i < TOKENS; i++) {
        assert_int_equal(slm_session_eval(session, &ids[i - 1], 1, NULL), SLM_OK);
        assert_int_equal(slm_sample(session, &plain, &ids[i], NULL), SLM_OK);
    }
    slm_session_close(session);
}

static void compare(const struct slm_model *model, enum slm_activations activations, enum slm_kv_type kv,
                    const int32_t *ids, size_t n, struct loss *loss)
{
    const int32_t n_vocab = slm_model_info(model).n_vocab;
    float *f32 = read_text(model, SLM_ACTIVATIONS_F32, SLM_KV_F16, ids, n);
    float *int8 = read_text(model, activations, kv, ids, n);
    assert_memory_not_equal(f32, int8, n * (size_t)n_vocab * sizeof *f32); /* else nothing was compared */
    for (size_t t = 0; t + 1 < n; t++) {
        const float *p = f32 + t * (size_t)n_vocab, *q = int8 + t * (size_t)n_vocab;
        const double zp = log_sum_exp(p, n_vocab), zq = log_sum_exp(q, n_vocab);
        for (int32_t i = 0; i < n_vocab; i++)
            loss->kl += exp((double)p[i] - zp) * ((double)p[i] - zp - (double)q[i] + zq);
        loss->nll_f32 += zp - (double)p[ids[t + 1]];
        loss->nll_int8 += zq - (double)q[ids[t + 1]];
        const bool same = top(p, n_vocab) == top(q, n_vocab), led = lead_of(p, n_vocab, zp) >= LEAD;
        loss->same_top += same;
        loss->n_led += led;
        loss->same_led += led && same;
        loss->n++;
    }
    free(f32);
    free(int8);
}

/* Prints everything; asserts what holds for every model. Returns the share of positions with the same top token. */
static double judge(const char *what, const struct loss *loss)
{
    const double n = (double)loss->n, kl = loss->kl / n, top_share = (double)loss->same_top / n;
    const double perplexity_change = exp((loss->nll_int8 - loss->nll_f32) / n) - 1;
    const double led_share = (double)loss->same_led / (double)loss->n_led;
    print_message("%s, %zu tokens: KL %.6f, same top token %.2f %% (%.2f %% of the %zu with a lead), perplexity %.3f, "
                  "%+.4f %%\n", what, loss->n, kl, 100 * top_share, 100 * led_share, loss->n_led,
                  exp(loss->nll_f32 / n), 100 * perplexity_change);
    assert_true(kl >= 0 && kl <= 1e-3);
    assert_true(led_share >= 0.99);
    assert_true(fabs(perplexity_change) <= 1e-3);
    return top_share;
}

/* Sanitizers, emulators: minutes for what the ordinary build says. */
static bool too_slow(void)
{
    if (test_slowdown() <= 1) return false;
    print_message("skipped: the same bits everywhere, measured in the ordinary build\n");
    return true;
}

static void costs_little(const char *what, enum slm_activations activations, enum slm_kv_type kv)
{
    if (too_slow()) skip();
    struct slm_model *model;
    struct loss loss = {0};
    assert_int_equal(slm_model_open(NULL, NULL, &model, NULL), SLM_OK);
    for (uint64_t seed = 1; seed <= STORIES; seed++) {
        int32_t ids[TOKENS];
        write_story(model, seed, ids);
        compare(model, activations, kv, ids, TOKENS, &loss);
    }
    slm_model_close(model);
    assert_true(judge(what, &loss) >= 0.99);
}

/* Rows of 128, distributions flat enough that in one of ten positions the two likeliest tokens are as good as tied:
 * there no rounding of activations to 8 bits keeps the order of 99 % (docs/kernels.md has the arithmetic), so the top
 * token is asked for where it leads. */
static void tinystories_costs_little(void **state)
{
    (void)state;
    SLM_NEED_SHARED(folder, "data/models/tinystories-656k");
    SLM_NEED_SHARED(text_path, "data/text/tinystories_val.txt");
    if (too_slow()) skip();
    const char *file = tiny_path("tinystories.gguf");
    const struct slm_convert_options options = {.type = "q8_0"};
    assert_int_equal(slm_convert(folder, file, &options, NULL, NULL), SLM_OK);
    struct slm_model *model;
    assert_int_equal(slm_model_open(file, NULL, &model, NULL), SLM_OK);
    size_t n_text, n_ids;
    char *text = shared_read(text_path, &n_text);
    assert_non_null(text);
    if (n_text > TEXT) n_text = TEXT;
    int32_t *ids = malloc(n_text * sizeof *ids);
    assert_non_null(ids);
    assert_int_equal(slm_tokenize(model, text, n_text, 0, ids, n_text, &n_ids, NULL), SLM_OK);
    assert_true(n_ids >= (size_t)WINDOWS * WINDOW);
    struct loss loss = {0};
    for (int w = 0; w < WINDOWS; w++) {
        ids[w * WINDOW] = slm_model_info(model).bos_id;
        compare(model, SLM_ACTIVATIONS_INT8, SLM_KV_F16, ids + w * WINDOW, WINDOW, &loss);
    }
    judge("TinyStories-656K, int8 activations", &loss);
    free(ids);
    free(text);
    slm_model_close(model);
}

static void int8_activations_cost_little(void **state)
{
    (void)state;
    costs_little("int8 activations", SLM_ACTIVATIONS_INT8, SLM_KV_F16);
}

static void an_int8_cache_costs_little(void **state)
{
    (void)state;
    costs_little("int8 cache", SLM_ACTIVATIONS_F32, SLM_KV_INT8);
}

static void both_cost_little(void **state)
{
    (void)state;
    costs_little("both", SLM_ACTIVATIONS_INT8, SLM_KV_INT8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(int8_activations_cost_little),
                                       cmocka_unit_test(an_int8_cache_costs_little),
                                       cmocka_unit_test(both_cost_little),
                                       cmocka_unit_test(tinystories_costs_little)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
