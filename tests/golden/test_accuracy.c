/* SPDX-License-Identifier: MIT
 * What rounding activations to int8 costs on a trained model: the built-in one reads a text it did not write, once with
 * f32 activations and once with int8, the weights the same. The limits are the ones docs/kernels.md states. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "slm.h"

static const char *const texts[] = {
    "Once there was a girl called Mia who lived near a river. Every morning she fed the ducks. One day a small duck was "
    "missing. Mia looked under the bridge and behind the trees. At last she heard a quiet sound from an old boat. The "
    "little duck was stuck in a net! Mia cut the net with her scissors and set the duck free. The duck swam to its "
    "mother, and all the ducks quacked to say thank you. Mia went home and told her father what had happened.",
    "Tom wanted to build a tower that was taller than his sister. He took the red blocks first, then the blue ones, and "
    "then every book in his room. The tower shook. \"Stop!\" said his sister. But Tom put one more book on top. Crash! "
    "Everything fell down. Tom was sad, but his sister laughed and said, \"Let us build it again together. You hold the "
    "bottom, and I will climb on the chair.\" This time the tower stood until dinner.",
    "The old lighthouse had been dark for years. Nobody in the village knew how to mend the lamp. Then a sailor came with "
    "a box of tools and a yellow bird. He climbed the stairs, one hundred and two of them, and worked all night. In the "
    "morning the bird sang, and in the evening the light went around and around over the sea. The fishermen came out of "
    "their houses and clapped their hands.",
};

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
static float *read_text(const struct slm_model *model, enum slm_activations activations, const int32_t *ids, size_t n)
{
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 512, .activations = activations};
    float *logits = malloc(n * (size_t)slm_model_info(model).n_vocab * sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(slm_session_open(model, &options, &session, NULL), SLM_OK);
    assert_int_equal(slm_session_eval_all(session, ids, n, logits, NULL), SLM_OK);
    slm_session_close(session);
    return logits;
}

static void compare(const struct slm_model *model, const char *text, size_t bytes, struct loss *loss)
{
    enum { MOST = 512 };
    int32_t ids[MOST];
    size_t n;
    const int32_t n_vocab = slm_model_info(model).n_vocab;
    assert_int_equal(slm_tokenize(model, text, bytes, SLM_TOKENIZE_ADD_SPECIAL, ids, MOST, &n, NULL), SLM_OK);
    assert_true(n <= MOST);
    if (n < 2) return;
    float *f32 = read_text(model, SLM_ACTIVATIONS_F32, ids, n), *int8 = read_text(model, SLM_ACTIVATIONS_INT8, ids, n);
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

static void report(const struct loss *loss)
{
    const double n = (double)loss->n, kl = loss->kl / n, top_share = (double)loss->same_top / n;
    print_message("%zu tokens: KL %.6f, same top token %.2f %%, perplexity %.4f, %+.4f %%\n", loss->n, kl,
                  100 * top_share, exp(loss->nll_f32 / n), 100 * (exp((loss->nll_int8 - loss->nll_f32) / n) - 1));
    assert_true(kl >= 0 && kl <= 1e-3);
    assert_true(top_share >= 0.99);
}

static void int8_activations_keep_the_distribution(void **state)
{
    (void)state;
    struct slm_model *model;
    struct loss loss = {0};
    assert_int_equal(slm_model_open(NULL, NULL, &model, NULL), SLM_OK);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) compare(model, texts[i], strlen(texts[i]), &loss);
    assert_true(loss.n > 200);
    report(&loss);
    slm_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(int8_activations_keep_the_distribution)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
