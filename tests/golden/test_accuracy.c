/* SPDX-License-Identifier: MIT
 * What rounding activations to int8 costs on a trained model: the built-in one reads stories once with f32 activations
 * and once with int8, the weights the same. The stories are its own, sampled at temperature 1: text it has an opinion
 * about. The limits are the ones docs/kernels.md states. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "effort.h"
#include "slm.h"

enum { STORIES = 12, TOKENS = 128 };

struct loss {
    double kl, nll_f32, nll_int8;
    size_t n, same_top;
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
        loss->same_top += top(p, n_vocab) == top(q, n_vocab);
        loss->n++;
    }
    free(f32);
    free(int8);
}

static void costs_little(const char *what, enum slm_activations activations, enum slm_kv_type kv)
{
    if (test_slowdown() > 1) { /* sanitizers, emulators: minutes for what the ordinary build says */
        print_message("skipped: the same bits everywhere, measured in the ordinary build\n");
        skip();
    }
    struct slm_model *model;
    struct loss loss = {0};
    assert_int_equal(slm_model_open(NULL, NULL, &model, NULL), SLM_OK);
    for (uint64_t seed = 1; seed <= STORIES; seed++) {
        int32_t ids[TOKENS];
        write_story(model, seed, ids);
        compare(model, activations, kv, ids, TOKENS, &loss);
    }
    slm_model_close(model);
    const double n = (double)loss.n, kl = loss.kl / n, top_share = (double)loss.same_top / n;
    print_message("%s, %zu tokens: KL %.6f, same top token %.2f %%, perplexity %.3f, %+.4f %%\n", what, loss.n, kl,
                  100 * top_share, exp(loss.nll_f32 / n), 100 * (exp((loss.nll_int8 - loss.nll_f32) / n) - 1));
    assert_true(kl >= 0 && kl <= 1e-3);
    assert_true(top_share >= 0.99);
    assert_true(fabs(exp((loss.nll_int8 - loss.nll_f32) / n) - 1) <= 1e-3);
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
                                       cmocka_unit_test(both_cost_little)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
