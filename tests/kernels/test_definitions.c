/* SPDX-License-Identifier: MIT
 * The scalar kernels, which define every result (ref.c), against double-precision formulas: variants are held to them
 * bit for bit in test_kernels.c, but bits that agree may agree on a mistake. And a checksum of their results, the same
 * from every compiler and on every machine. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/fmath.h"
#include "checkkern.h"

static struct slm_kernels scalar;

static void near(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance)) fail_msg("%.9g, expected %.9g within %g", got, expected, tolerance);
}

enum { REF_N = 100 };

static void ref_inputs(float *a, float *b)
{
    struct checkkern ck = {.rng = {.seed = 1, .stream = 1000}};
    checkkern_floats(&ck, a, REF_N, 0);
    checkkern_floats(&ck, b, REF_N, 0);
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static void ref_products(void **state)
{
    (void)state;
    const struct slm_kernels *k = &scalar;
    float a[REF_N], b[REF_N], out[6];
    ref_inputs(a, b);
    k->matmul(&(struct slm_matmul_args){a, b, out, 2, 3, 33, 40, 30, 2});
    for (int t = 0; t < 3; t++)
        for (int r = 0; r < 2; r++) near((double)out[t * 2 + r], dot(a + r * 40, b + t * 30, 33), 1e-4);
}

/* By the formulas, in double. */
static void ref_attention(void **state)
{
    (void)state;
    enum { ROWS = 2, DIM = 5, N = 7 };
    const struct slm_kernels *k = &scalar;
    float a[REF_N], b[REF_N], keys[DIM * SLM_KEYS], rounded[DIM * SLM_KEYS], out[2][ROWS * SLM_KEYS];
    uint16_t half[DIM * SLM_KEYS];
    ref_inputs(a, b);
    for (int i = 0; i < DIM * SLM_KEYS; i++) keys[i] = b[i % REF_N] + (float)i / 64;
    k->f32_to_f16(half, keys, DIM * SLM_KEYS);
    k->f16_to_f32(rounded, half, DIM * SLM_KEYS);
    for (int i = 0; i < DIM * SLM_KEYS; i++)
        near((double)rounded[i], (double)keys[i], fabs((double)keys[i]) / 2048);
    k->attn_scores_f32(&(struct slm_scores_args){a, rounded, out[0], ROWS, DIM, 0.5f, 0});
    k->attn_scores_f16(&(struct slm_scores_args){a, half, out[1], ROWS, DIM, 0.5f, 0});
    for (int i = 0; i < ROWS * SLM_KEYS; i++) {
        double sum = 0;
        for (int d = 0; d < DIM; d++)
            sum += (double)a[i / SLM_KEYS * DIM + d] * (double)rounded[d * SLM_KEYS + i % SLM_KEYS];
        near((double)out[0][i], 0.5 * sum, 1e-4);
        near((double)out[1][i], 0.5 * sum, 1e-4);
    }
    float p[ROWS * SLM_KEYS] = {0}, acc[2][ROWS * DIM];
    for (int i = 0; i < ROWS * SLM_KEYS; i++) p[i] = a[i % REF_N];
    for (int i = 0; i < ROWS * DIM; i++) acc[0][i] = acc[1][i] = (float)i;
    k->attn_mix_f32(&(struct slm_mix_args){acc[0], p, rounded, ROWS, N, DIM, 0});
    k->attn_mix_f16(&(struct slm_mix_args){acc[1], p, half, ROWS, N, DIM, 0});
    for (int i = 0; i < ROWS * DIM; i++) {
        double sum = i;
        for (int t = 0; t < N; t++) sum += (double)p[i / DIM * SLM_KEYS + t] * (double)rounded[t * DIM + i % DIM];
        near((double)acc[0][i], sum, 1e-4);
        near((double)acc[1][i], sum, 1e-4);
    }
}

/* Sixteen lanes and a tree, checked with numbers whose sum depends on the order: 2^24 swallows a 1 that meets
 * it alone. */
static void ref_sum_order(void **state)
{
    (void)state;
    float w[32] = {0}, ones[32], out;
    for (int i = 0; i < 32; i++) ones[i] = 1.0f;
    struct slm_matmul_args args = {w, ones, &out, 1, 1, 32, 32, 32, 1};
    w[3] = 0x1p24f, w[7] = 1.0f, w[15] = 1.0f; /* lanes 7 and 15 meet first (2), then lane 3 (2^24 + 2) */
    scalar.matmul(&args);
    assert_true(out == 0x1p24f + 2.0f);
    w[15] = 0.0f, w[11] = 1.0f; /* lanes 3 and 11 meet first: 2^24; then lane 7: 2^24 */
    scalar.matmul(&args);
    assert_true(out == 0x1p24f);
    w[11] = 0.0f, w[23] = 1.0f; /* 7 and 23 share a lane: 2 */
    scalar.matmul(&args);
    assert_true(out == 0x1p24f + 2.0f);
}

static void ref_norm_and_activations(void **state)
{
    (void)state;
    const struct slm_kernels *k = &scalar;
    float a[REF_N], b[REF_N], out[REF_N], max;
    ref_inputs(a, b);
    double rms = sqrt(dot(a, a, REF_N) / (double)REF_N + 1e-5);
    k->rms_norm(out, a, b, REF_N, 1e-5f);
    for (int i = 0; i < REF_N; i++) near((double)out[i], (double)a[i] / rms * (double)b[i], 1e-5);
    k->rms_norm(out, a, NULL, REF_N, 1e-5f);
    for (int i = 0; i < REF_N; i++) near((double)out[i], (double)a[i] / rms, 1e-5);
    k->swiglu(out, a, b, REF_N);
    for (int i = 0; i < REF_N; i++)
        near((double)out[i], (double)a[i] / (1 + exp(-(double)a[i])) * (double)b[i], 1e-5);
    k->geglu(out, a, b, REF_N);
    for (int i = 0; i < REF_N; i++) {
        const double x = (double)a[i], inner = sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
        near((double)out[i], 0.5 * x * (1 + tanh(inner)) * (double)b[i], 1e-5);
    }
    k->relu2glu(out, a, b, REF_N);
    for (int i = 0; i < REF_N; i++)
        near((double)out[i], a[i] > 0 ? (double)a[i] * (double)a[i] * (double)b[i] : 0, 1e-5);
    double magnitude = 1e-5;
    for (int i = 0; i < REF_N; i++)
        if (fabs((double)a[i]) > magnitude) magnitude = fabs((double)a[i]);
    near((double)k->quantize(out, a, REF_N), 127 / magnitude, 1e-4);
    for (int i = 0; i < REF_N; i++) {
        const double code = (double)a[i] * 127 / magnitude; /* a code is an integer no further off than a half */
        near((double)out[i], nearbyint((double)out[i]), 0);
        near((double)out[i], code, 0.5 + 1e-4);
    }
    memcpy(out, a, sizeof(out));
    k->affine(out, b, b + 2, 2, REF_N / 2);
    for (int i = 0; i < REF_N / 2 * 2; i++) {
        const int group = i / (REF_N / 2);
        near((double)out[i], (double)a[i] * (double)b[group] + (double)b[2 + group], 1e-5);
    }
    k->softcap(out, a, 2.5f, REF_N);
    for (int i = 0; i < REF_N; i++) near((double)out[i], 2.5 * tanh((double)a[i] / 2.5), 1e-6);
    k->add(out, a, b, REF_N);
    for (int i = 0; i < REF_N; i++) near((double)out[i], (double)a[i] + (double)b[i], 1e-6);
    k->scale(out, a, 3.0f, REF_N);
    for (int i = 0; i < REF_N; i++) near((double)out[i], 3 * (double)a[i], 1e-6);

    double greatest = -INFINITY, sum = 0;
    for (int i = 0; i < REF_N; i++) /* fmax here sends gcc 12 for aarch64 into an internal error */
        if ((double)b[i] > greatest) greatest = (double)b[i];
    for (int i = 0; i < REF_N; i++) sum += exp((double)b[i] - greatest);
    memcpy(out, b, sizeof(out));
    max = -INFINITY;
    near((double)k->softmax_part(out, REF_N, &max), sum, 1e-4);
    near((double)max, greatest, 0);
    for (int i = 0; i < REF_N; i++) near((double)out[i], exp((double)b[i] - greatest), 1e-6);
    memcpy(out, b, sizeof(out));
    max += 1.5f; /* a greater one seen before */
    near((double)k->softmax_part(out, REF_N, &max), sum * exp(-1.5), 1e-4);
    near((double)max, greatest + 1.5, 1e-6);
    near((double)b[k->argmax(b, REF_N)], greatest, 0);
}

/* Halves go to the even neighbour, signed zeros and tiny rows too, and the ends are reached. */
static void ref_quantize_by_hand(void **state)
{
    (void)state;
    const float x[] = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.49999997f, -0.0f};
    const float codes[] = {127, -127, 0, 2, 2, 0, -2, -2, 0, 0};
    float out[10], zeros[3] = {0, -0.0f, 1e-9f};
    assert_true(scalar.quantize(out, x, 10) == 1.0f);
    for (int i = 0; i < 10; i++) assert_true(out[i] == codes[i] && !(out[i] == 0 && signbit(out[i])));
    assert_true(scalar.quantize(zeros, zeros, 3) == 127.0f / 1e-5f);
    for (int i = 0; i < 3; i++) assert_true(zeros[i] == 0);
}

static void ref_rope(void **state)
{
    (void)state;
    const struct slm_kernels *k = &scalar;
    float a[REF_N], b[REF_N], neox[10], norm[10], cos_sin[10];
    ref_inputs(a, b);
    for (int i = 0; i < 5; i++) cos_sin[i] = cosf(b[i]), cos_sin[i + 5] = sinf(b[i]);
    memcpy(neox, a, sizeof(neox));
    memcpy(norm, a, sizeof(norm));
    k->rope_neox(neox, cos_sin, 10);
    k->rope_norm(norm, cos_sin, 10);
    for (int i = 0; i < 5; i++) {
        double c = cos((double)b[i]), s = sin((double)b[i]);
        near((double)neox[i], (double)a[i] * c - (double)a[i + 5] * s, 1e-5);
        near((double)neox[i + 5], (double)a[i] * s + (double)a[i + 5] * c, 1e-5);
        near((double)norm[2 * i], (double)a[2 * i] * c - (double)a[2 * i + 1] * s, 1e-5);
        near((double)norm[2 * i + 1], (double)a[2 * i] * s + (double)a[2 * i + 1] * c, 1e-5);
    }
}

static void ref_edges(void **state)
{
    (void)state;
    const struct slm_kernels *k = &scalar;
    float scores[3] = {-INFINITY, -INFINITY, -INFINITY}, max = -INFINITY;
    assert_true(k->softmax_part(scores, 3, &max) == 0.0f && max == -INFINITY);
    for (int i = 0; i < 3; i++) assert_true(slm_f32_bits(scores[i]) == 0);
    float zeros[2] = {-0.0f, -0.0f};
    assert_true(k->softmax_part(zeros, 2, &max) == 2.0f && slm_f32_bits(max) == 0);
    float tie[6] = {NAN, 1.0f, 2.0f, NAN, 2.0f, -3.0f}, lost[2] = {NAN, NAN}, low[3] = {NAN, -INFINITY, -INFINITY};
    assert_int_equal(k->argmax(tie, 6), 2);
    assert_int_equal(k->argmax(lost, 2), 0);
    assert_int_equal(k->argmax(low, 3), 1);
}

/* A checksum of bits, all NaN counted as one. */
static uint64_t digest(uint64_t hash, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ (isnan(x[i]) ? 0x7fc00000 : slm_f32_bits(x[i]))) * 0x100000001b3;
    return hash;
}

/* The promise of kernel.h is the same bits on every machine, and variants are only held to the definitions as this
 * compiler and this libm (fmaf) made them. So these sums, printed by an x86-64 build, must come out of every build. */
static void definitions_give_the_same_bits_everywhere(void **state)
{
    (void)state;
    enum { ROWS = 5, N = 77 };
    const struct slm_kernels *k = &scalar;
    struct checkkern ck = {.rng = {.seed = 12345}};
    float w[ROWS * N], x[ROWS * N], out[ROWS * N] = {0}, max; /* zeros: attn_mix adds to what is there */
    uint16_t half[ROWS * N];
    checkkern_floats(&ck, w, ROWS * N, 1);
    checkkern_floats(&ck, x, ROWS * N, 4);
    k->matmul(&(struct slm_matmul_args){w, w, out, ROWS, ROWS, N, N, N, ROWS});
    uint64_t products = digest(0, out, ROWS * ROWS);
    k->f32_to_f16(half, w, ROWS * N);
    enum { DIM = ROWS * N / SLM_KEYS }; /* the same numbers as a page */
    k->attn_scores_f16(&(struct slm_scores_args){w, half, out, ROWS, DIM, 0.125f, 0});
    k->attn_mix_f16(&(struct slm_mix_args){out + ROWS * SLM_KEYS, w, half, ROWS, SLM_KEYS, DIM, 0});
    products = digest(products, out, ROWS * (SLM_KEYS + DIM));

    k->rms_norm(out, w, x, N, 1e-6f);
    uint64_t elementwise = digest(0, out, N);
    k->swiglu(out, x, w, ROWS * N);
    k->rope_neox(out, w, N - 1);
    k->rope_norm(out + N, w, N - 1);
    elementwise = digest(elementwise, out, ROWS * N);
    checkkern_floats(&ck, out, N, 0);
    max = -INFINITY;
    max = k->softmax_part(out, N, &max);
    elementwise = digest(digest(elementwise, out, N), &max, 1);

    uint64_t unpacked = 0;
    uint8_t blocks[2 * 256 * sizeof(float)];
    float numbers[2 * 256];
    for (int type = 0; type < SLM_DTYPE_I2_S; type++) { /* integers are the same everywhere */
        checkkern_blocks(&ck, blocks, 2, slm_dtypes[type].block_bytes, 0);
        k->unpack[type](blocks, numbers, 2 * slm_dtypes[type].block);
        unpacked = digest(unpacked, numbers, 2 * slm_dtypes[type].block);
    }
    assert_int_equal(products, UINT64_C(0x957ba52634f557d));
    assert_int_equal(elementwise, UINT64_C(0xa5e962c24c0800a6));
    assert_int_equal(unpacked, UINT64_C(0x552b1ec8299d791e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_products), cmocka_unit_test(ref_attention), cmocka_unit_test(ref_sum_order),
        cmocka_unit_test(ref_norm_and_activations), cmocka_unit_test(ref_quantize_by_hand), cmocka_unit_test(ref_rope),
        cmocka_unit_test(ref_edges), cmocka_unit_test(definitions_give_the_same_bits_everywhere),
    };
    slm_kernels_init(&scalar, 0);
    return cmocka_run_group_tests_name("definitions", tests, NULL, NULL);
}
