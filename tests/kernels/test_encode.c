/* SPDX-License-Identifier: MIT
 * The encoders that search: the same bits for every vector width, nothing written past the blocks, errors not above
 * those of plain rounding, and near those of trying every scale there is. What llama.cpp's quantizer makes of the same
 * numbers is compared in tests/oracle/quantizer.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "effort.h"
#include "base/cpu.h"
#include "base/fmath.h"
#include "base/rng.h"
#include "kernel/encode.h"

enum { MOST = 256 * 40, MARGIN = 64 };

static struct slm_encoders levels[3];
static size_t n_levels;
static struct slm_rng rng = {.seed = 1};

static int set_up(void **state)
{
    (void)state;
    const uint64_t has = slm_cpu_features(), masks[] = {0, SLM_CPU(AVX2), ~UINT64_C(0)};
    for (size_t i = 0; i < 3; i++)
        if (i == 0 || (has & (i == 1 ? SLM_CPU(AVX2) : SLM_CPU(AVX512))))
            slm_encoders_init(&levels[n_levels++], masks[i] & has);
    return 0;
}

static float uniform(void) { return (float)(slm_rng_next(&rng) >> 40) * 0x1p-24f; }

/* Kinds of weights that models have, and some that they should not have. */
enum { N_KINDS = 8 };
static float number(int kind, size_t i)
{
    const float bell = uniform() + uniform() + uniform() + uniform() - 2;
    switch (kind) {
    case 0: return bell * 0.05f;
    case 1: return i % 61 == 0 ? bell * 20 : bell * 0.02f;       /* outliers */
    case 2: return (float)((int)(uniform() * 3) - 1) * 0.0371f;  /* ternary */
    case 3: return 0;
    case 4: return bell * 1e-38f;                                /* at the end of float */
    case 5: return bell < 0 ? -65504 : 65504;
    case 6: return 5 + bell * 0.01f;                             /* far from zero */
    default: return i / 32 % 2 ? 0 : -fabsf(bell);
    }
}

static double error_of(const float *x, const float *y, const float *w, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (w ? (double)w[i] : 1) * ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    return sum;
}

static void same_bits(void **state)
{
    (void)state;
    static float x[MOST + 1], w[MOST + 1];
    static uint8_t want[MOST * 4], got[MOST * 4 + MARGIN];
    for (int type = 0; type < SLM_DTYPE_COUNT; type++) {
        if (!levels[0].encode[type]) continue;
        const struct slm_dtype_info *info = &slm_dtypes[type];
        for (int kind = 0; kind < N_KINDS; kind++)
            for (size_t n_blocks = 0; n_blocks <= 40; n_blocks += n_blocks < 18 ? 1 : 11) {
                const size_t n = n_blocks * info->block, bytes = n_blocks * info->block_bytes;
                if (n > MOST) continue;
                for (size_t i = 0; i < n; i++) {
                    x[i + 1] = number(kind, i);
                    w[i + 1] = uniform() < 0.2f ? 0 : uniform() * 3;
                }
                const float *weights = n_blocks % 2 ? w + 1 : NULL;
                levels[0].encode[type](x + 1, weights, want, n);
                for (size_t level = 1; level < n_levels; level++) {
                    memset(got, 0xa5, sizeof got);
                    levels[level].encode[type](x + 1, weights, got, n);
                    assert_memory_equal(want, got, bytes);
                    for (size_t i = 0; i < MARGIN; i++) assert_int_equal(got[bytes + i], 0xa5);
                }
            }
    }
}

/* Blocks do not know each other: alone each is what it was among others. */
static void blocks_are_independent(void **state)
{
    (void)state;
    static float x[256 * 5];
    uint8_t all[256 * 5 * 2], one[256 * 2];
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = number(0, i);
    for (int type = 0; type < SLM_DTYPE_COUNT; type++) {
        if (!levels[0].encode[type]) continue;
        const size_t block = slm_dtypes[type].block, bytes = slm_dtypes[type].block_bytes;
        levels[n_levels - 1].encode[type](x, NULL, all, sizeof x / sizeof *x);
        for (size_t i = 0; i < 5; i++) {
            levels[n_levels - 1].encode[type](x + i * block, NULL, one, block);
            assert_memory_equal(one, all + i * bytes, bytes);
        }
    }
}

/* Of the types that plain rounding can write too. */
static void no_worse_than_rounding(void **state)
{
    (void)state;
    static float x[MOST], w[MOST], y[MOST], z[MOST];
    static uint8_t a[MOST * 4], b[MOST * 4];
    for (int type = 0; type < SLM_DTYPE_COUNT; type++) {
        const struct slm_dtype_info *info = &slm_dtypes[type];
        if (!levels[0].encode[type] || !info->encode) continue;
        for (int kind = 0; kind < 3; kind++)
            for (int weighed = 0; weighed < 2; weighed++) {
                for (size_t i = 0; i < MOST; i++) x[i] = number(kind, i), w[i] = uniform() * uniform() * 4;
                levels[0].encode[type](x, weighed ? w : NULL, a, MOST);
                info->encode(x, b, MOST);
                info->decode(a, y, MOST);
                info->decode(b, z, MOST);
                assert_true(error_of(x, y, weighed ? w : NULL, MOST) <= error_of(x, z, weighed ? w : NULL, MOST));
            }
    }
}

/* The least error of 32 numbers as codes lo..hi times any positive or negative half-precision scale. */
static double best_of_all_scales(const float *x, const float *w, int lo, int hi)
{
    double best = INFINITY;
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        const float d = slm_f16_to_f32((uint16_t)bits);
        double sum = 0;
        if (!isfinite(d) || d == 0) continue;
        for (int i = 0; i < 32 && sum < best; i++) {
            float q = rintf(x[i] / d);
            q = q < (float)lo ? (float)lo : q > (float)hi ? (float)hi : q;
            sum += (double)w[i] * ((double)x[i] - (double)(q * d)) * ((double)x[i] - (double)(q * d));
        }
        if (sum < best) best = sum;
    }
    return best;
}

static void near_the_best_scale_there_is(void **state)
{
    (void)state;
    static const struct { enum slm_dtype type; int lo, hi; double factor; } rows[] = {
        {SLM_DTYPE_Q4_0, -8, 7, 1.02}, {SLM_DTYPE_Q5_0, -16, 15, 1.04},
        {SLM_DTYPE_Q8_0, -127, 127, 1.25}, /* few tries: nobody sees this error */
    };
    float x[32 * 16], w[32 * 16], y[32 * 16];
    uint8_t blocks[16 * 34];
    if (test_is_far_too_slow()) {
        print_message("skipped: the same bits everywhere, measured in the ordinary build\n");
        skip();
    }
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int weighed = 0; weighed < 2; weighed++) {
            double best = 0;
            for (size_t i = 0; i < 32 * 16; i++) x[i] = number(0, i), w[i] = weighed ? 0.1f + uniform() * 3 : 1;
            levels[0].encode[rows[r].type](x, w, blocks, 32 * 16);
            slm_dtypes[rows[r].type].decode(blocks, y, 32 * 16);
            for (size_t i = 0; i < 16; i++) best += best_of_all_scales(x + 32 * i, w + 32 * i, rows[r].lo, rows[r].hi);
            const double error = error_of(x, y, w, 32 * 16);
            print_message("report: %s%s: %.4f times the least squared error possible\n", slm_dtypes[rows[r].type].name,
                          weighed ? ", weighed" : "", error / best);
            assert_true(error >= best * (1 - 1e-6));
            assert_true(error <= best * rows[r].factor);
        }
}

/* A ternary model loses nothing as TQ1_0 and TQ2_0. */
static void ternary_is_exact(void **state)
{
    (void)state;
    float x[256 * 3], y[256 * 3];
    uint8_t blocks[3 * 66];
    const float scale = slm_f16_to_f32(0x2a5b);
    for (size_t i = 0; i < 256 * 3; i++) x[i] = (float)((int)(uniform() * 3) - 1) * scale;
    for (int type = SLM_DTYPE_TQ1_0; type <= SLM_DTYPE_TQ2_0; type++) {
        levels[0].encode[type](x, NULL, blocks, 256 * 3);
        slm_dtypes[type].decode(blocks, y, 256 * 3);
        assert_memory_equal(x, y, sizeof x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits),
        cmocka_unit_test(blocks_are_independent),
        cmocka_unit_test(no_worse_than_rounding),
        cmocka_unit_test(near_the_best_scale_there_is),
        cmocka_unit_test(ternary_is_exact),
    };
    return cmocka_run_group_tests_name("kernels/encode", tests, set_up, NULL);
}
