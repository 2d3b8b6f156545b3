/* SPDX-License-Identifier: MIT
 * The int8 kernels: packing of every type against the file format's own decoder, the scalar definitions against
 * formulas in double, and every variant this CPU can run against the scalar definition, bit for bit: all numbers of
 * tokens from 0 to 40, partial panels, chunks of k with a rest, extreme blocks, scales that are infinite or NaN.
 *
 *   test_int8 [--seed N] [--bench [TYPE] [--tokens N]]     --bench measures instead, operands in the cache */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/cpu.h"
#include "base/fmath.h"
#include "checkkern.h"
#include "kernel/pack.h"

enum { MOST_ROWS = 40, MOST_TOKENS = 40, MOST_K = 2304 };

static const enum slm_dtype types[] = {
#define X(name, codes, scales, zero, iq4) SLM_DTYPE_##name,
    SLM_PACK_TYPES(X)
#undef X
};
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static uint8_t blocks[MOST_ROWS * MOST_K * 2], packed[3 * 16 * MOST_K * 2];
enum { MIX_ROWS = 27, MIX_DIM = 128 };
_Static_assert(MIX_ROWS * MIX_DIM >= MOST_ROWS * MOST_TOKENS, "want is the larger");
static float want[MIX_ROWS * MIX_DIM], activations[MOST_TOKENS * MOST_K];
static float weights[MOST_ROWS * MOST_K]; /* decoded */
static _Alignas(64) unsigned char scratch[SLM_PACK_SCRATCH];

/* The levels that have int8 kernels of their own, rising within an architecture. */
#define AVX2_MASK (SLM_CPU(AVX) | SLM_CPU(F16C) | SLM_CPU(FMA) | SLM_CPU(AVX2))
static const struct mask {
    const char *name;
    uint64_t features;
} masks[] = {
    {"scalar", 0},
    {"avx2", AVX2_MASK},
    {"avxvnni", AVX2_MASK | SLM_CPU(AVXVNNI)},
    {"avx512", AVX2_MASK | SLM_CPU(AVX512)},
    {"avx512vnni", AVX2_MASK | SLM_CPU(AVX512) | SLM_CPU(AVX512VNNI)},
    {"amx", AVX2_MASK | SLM_CPU(AVX512) | SLM_CPU(AVX512VNNI) | SLM_CPU(AMXINT8)},
    {"neon", SLM_CPU(NEON)},
    {"dotprod", SLM_CPU(NEON) | SLM_CPU(DOTPROD)},
    {"i8mm", SLM_CPU(NEON) | SLM_CPU(DOTPROD) | SLM_CPU(I8MM)},
};
enum { N_MASKS = sizeof(masks) / sizeof(masks[0]) };
enum { MOST_LEVELS = N_MASKS + 1 }; /* and AMX in plain C */
static struct slm_kernels levels[MOST_LEVELS];
static const char *names[MOST_LEVELS];
static int n_levels;
static uint64_t seed = 1;

static void find_levels(void)
{
    for (int i = 0; i < N_MASKS; i++) {
        if ((masks[i].features & slm_cpu_features()) != masks[i].features) continue;
        names[n_levels] = masks[i].name;
        slm_kernels_init(&levels[n_levels++], masks[i].features);
    }
#if defined(__x86_64__)
    const uint64_t vnni = AVX2_MASK | SLM_CPU(AVX512) | SLM_CPU(AVX512VNNI);
    if ((slm_cpu_features() & vnni) != vnni) return;
    names[n_levels] = "amx emulated";
    slm_kernels_init(&levels[n_levels], vnni);
    slm_test_fill_amx_emulated(&levels[n_levels++]);
#endif
}

/* Packs n_row rows of blocks[] as backends do. */
static size_t pack(enum slm_dtype type, size_t n_row, size_t k, unsigned char *dst)
{
    const struct slm_dtype_info *info = &slm_dtypes[type];
    const size_t row_bytes = k / info->block * info->block_bytes, panel_bytes = slm_pack_panel_bytes(type, k);
    for (size_t r = 0; r < n_row; r += SLM_PANEL_ROWS)
        slm_pack_panel(type, blocks + r * row_bytes, row_bytes,
                       n_row - r < SLM_PANEL_ROWS ? n_row - r : SLM_PANEL_ROWS, k,
                       dst + r / SLM_PANEL_ROWS * panel_bytes);
    return panel_bytes;
}

/* The f16 d that ends block b. */
static uint16_t tail_half(enum slm_dtype type, size_t b)
{
    uint16_t half;
    memcpy(&half, blocks + (b + 1) * slm_dtypes[type].block_bytes - 2, 2);
    return half;
}

/* ---- the definitions --------------------------------------------------------------------------------------- */

/* Blocks whose scales are ordinary halves: every type keeps its f16 fields where these bytes are tame. */
static void ordinary_blocks(struct checkkern *ck, enum slm_dtype type, size_t n_blocks)
{
    const struct slm_dtype_info *info = &slm_dtypes[type];
    for (size_t i = 0; i < n_blocks * info->block_bytes; i++) blocks[i] = (uint8_t)checkkern_below(ck, 256);
    static const struct { enum slm_dtype type; uint8_t at[2]; } fields[] = {
        {SLM_DTYPE_Q4_0, {0}}, {SLM_DTYPE_Q4_1, {0, 2}}, {SLM_DTYPE_Q5_0, {0}}, {SLM_DTYPE_Q5_1, {0, 2}},
        {SLM_DTYPE_Q8_0, {0}}, {SLM_DTYPE_Q2_K, {80, 82}}, {SLM_DTYPE_Q3_K, {108, 108}}, {SLM_DTYPE_Q4_K, {0, 2}},
        {SLM_DTYPE_Q5_K, {0, 2}}, {SLM_DTYPE_Q6_K, {208, 208}}, {SLM_DTYPE_IQ4_NL, {0}}, {SLM_DTYPE_IQ4_XS, {0}},
        {SLM_DTYPE_TQ1_0, {52, 52}}, {SLM_DTYPE_TQ2_0, {64, 64}},
    };
    for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
        if (fields[f].type != type) continue;
        for (size_t b = 0; b < n_blocks; b++)
            for (int i = 0; i < 2; i++) {
                const uint16_t half = slm_f32_to_f16(0.01f + (float)checkkern_below(ck, 1000) * 1e-4f);
                memcpy(blocks + b * info->block_bytes + fields[f].at[i], &half, 2);
            }
    }
}

/* Products of packed weights are those of the decoded weights with the coded activations. */
static void packed_products_are_those_of_the_file(void **state)
{
    (void)state;
    struct checkkern ck = {.rng = {.seed = seed, .stream = 1}};
    for (int i = 0; i < N_TYPES; i++) {
        const enum slm_dtype type = types[i];
        const size_t n_row = 19, n_tok = 2, k = slm_dtypes[type].block == 32 ? 352 : 768;
        ordinary_blocks(&ck, type, n_row * k / slm_dtypes[type].block);
        slm_dtypes[type].decode(blocks, weights, n_row * k);
        const size_t panel_bytes = pack(type, n_row, k, packed), stride = slm_a8_row_bytes(k);
        static unsigned char a8[2 * MOST_K * 2] __attribute__((aligned(4)));
        checkkern_floats(&ck, activations, n_tok * k, 0);
        for (size_t t = 0; t < n_tok; t++) levels[0].encode_a8(a8 + t * stride, activations + t * k, 0, k, k);
        levels[0].matmul_packed[type](&(struct slm_packed_args){
            .w = packed, .x = a8, .out = want, .n_row = n_row, .n_tok = n_tok, .k = k, .panel_bytes = panel_bytes,
            .x_stride = stride, .out_stride = n_row, .scratch = scratch});
        for (size_t t = 0; t < n_tok; t++) {
            const struct slm_a8 a = slm_a8_row(a8 + t * stride, k);
            for (size_t r = 0; r < n_row; r++) {
                double sum = 0, size = 0;
                for (size_t e = 0; e < k; e++) {
                    const double term = (double)weights[r * k + e] * (double)a.q[e] * (double)a.d[e / 32];
                    sum += term;
                    size += fabs(term);
                }
                if (!(fabs(sum - (double)want[t * n_row + r]) <= 2e-6 * size))
                    fail_msg("%s row %zu token %zu: %.9g, expected %.9g", slm_dtypes[type].name, r, t,
                             (double)want[t * n_row + r], sum);
            }
        }
    }
}

static void rows_read_back_are_those_of_the_file(void **state)
{
    (void)state;
    static float decoded[MOST_K], back[MOST_K];
    struct checkkern ck = {.rng = {.seed = seed, .stream = 3}};
    for (int i = 0; i < N_TYPES; i++)
        for (int kind = 0; kind < CHECKKERN_N_BLOCK_KINDS; kind++) {
            const struct slm_dtype_info *info = &slm_dtypes[types[i]];
            const size_t k = info->block == 32 ? 352 : 768, row_bytes = k / info->block * info->block_bytes;
            checkkern_blocks(&ck, blocks, 19 * k / info->block, info->block_bytes, kind);
            const size_t panel_bytes = pack(types[i], 19, k, packed);
            for (size_t r = 0; r < 19; r++) {
                info->decode(blocks + r * row_bytes, decoded, k);
                slm_pack_read_row(types[i], packed + r / 16 * panel_bytes, r % 16, k, back);
                for (size_t e = 0; e < k; e++)
                    if (!checkkern_equal_f32(decoded[e], back[e]))
                        fail_msg("%s row %zu element %zu: %a, in the file %a", info->name, r, e, (double)back[e],
                                 (double)decoded[e]);
            }
        }
}

/* Coded activations stand for the activations, to half a step; their sums are what they say. */
static void activations_are_coded_to_half_a_step(void **state)
{
    (void)state;
    enum { K = 320 };
    struct checkkern ck = {.rng = {.seed = seed, .stream = 2}};
    static unsigned char row[K * 2] __attribute__((aligned(4)));
    float x[K];
    double error = 0, size = 0;
    checkkern_floats(&ck, x, K, 0);
    levels[0].encode_a8(row, x, 0, K, K);
    const struct slm_a8 a = slm_a8_row(row, K);
    for (size_t b = 0; b < K / 32; b++) {
        float most = 0;
        int sum[2] = {0, 0};
        for (size_t i = 0; i < 32; i++) {
            const double back = (double)a.q[b * 32 + i] * (double)a.d[b], off = back - (double)x[b * 32 + i];
            if (fabsf(x[b * 32 + i]) > most) most = fabsf(x[b * 32 + i]);
            assert_true(fabs(off) <= 0.5001 * (double)a.d[b]);
            sum[i / 16] += a.q[b * 32 + i];
            error += off * off;
            size += (double)x[b * 32 + i] * (double)x[b * 32 + i];
        }
        assert_true(fabsf(a.d[b] * 127.0f - most) <= 1e-6f * most);
        assert_int_equal(a.z[b], sum[0] + sum[1]);
        assert_int_equal(a.z16[2 * b], sum[0]);
        assert_int_equal(a.z16[2 * b + 1], sum[1]);
        assert_true(a.s[b] == a.d[b] * (float)a.z[b] && a.s16[2 * b + 1] == a.d[b] * (float)sum[1]);
    }
    assert_true(sqrt(error / size) <= 1e-2);
}

static void activations_beyond_coding(void **state)
{
    (void)state;
    static unsigned char row[3 * 60] __attribute__((aligned(4)));
    float x[96];
    for (int i = 0; i < 96; i++) x[i] = i < 32 ? 1e-38f : i < 64 ? 3.0e38f : 1.0f;
    x[70] = NAN;
    levels[0].encode_a8(row, x, 0, 96, 96);
    const struct slm_a8 a = slm_a8_row(row, 96);
    assert_true(a.d[0] == 0.0f && a.q[0] == 0 && a.z[0] == 0);
    assert_true(a.q[40] == 127 && a.z[1] == 32 * 127);
    assert_true(isnan(a.d[2]) && a.q[64] == 0 && isnan(a.s[2]));
    x[70] = -INFINITY;
    levels[0].encode_a8(row, x, 0, 96, 96);
    assert_true(isnan(a.d[2]) && a.z[2] == 0);
}

/* Codes of a row meet two-bit codes without a scale: integers, and so the same as any other way of adding them. */
static void codes_give_products_of_integers(void **state)
{
    (void)state;
    static const enum slm_dtype ternary[] = {SLM_DTYPE_TQ1_0, SLM_DTYPE_TQ2_0, SLM_DTYPE_I2_S};
    enum { K = 768, ROWS = 19 };
    static unsigned char a8[K * 2] __attribute__((aligned(4)));
    struct checkkern ck = {.rng = {.seed = seed, .stream = 4}};
    float codes[K];
    for (size_t i = 0; i < K; i++) codes[i] = i < 64 ? 127.0f : (float)((int)checkkern_below(&ck, 255) - 127);
    levels[0].encode_codes(a8, codes, K);
    for (size_t i = 0; i < sizeof(ternary) / sizeof(ternary[0]); i++) {
        const enum slm_dtype type = ternary[i];
        ordinary_blocks(&ck, type, ROWS * K / slm_dtypes[type].block);
        slm_dtypes[type].decode(blocks, weights, ROWS * K);
        const size_t panel_bytes = pack(type, ROWS, K, packed);
        for (size_t p = 0; p < 2; p++) slm_pack_unit_scales(type, K, packed + p * panel_bytes);
        levels[0].matmul_packed[type](&(struct slm_packed_args){
            .w = packed, .x = a8, .out = want, .n_row = ROWS, .n_tok = 1, .k = K, .panel_bytes = panel_bytes,
            .x_stride = slm_a8_row_bytes(K), .out_stride = ROWS, .scratch = scratch});
        for (size_t r = 0; r < ROWS; r++) {
            long sum = 0;
            for (size_t e = 0; e < K; e++) { /* code 3 of two bits is 2 */
                const size_t block = (r * K + e) / slm_dtypes[type].block;
                const float d = type == SLM_DTYPE_I2_S ? 1.0f : slm_f16_to_f32(tail_half(type, block));
                sum += lrintf(weights[r * K + e] / d) * (long)codes[e];
            }
            assert_true(want[r] == (float)sum);
        }
    }
    codes[100] = NAN;
    levels[0].encode_codes(a8, codes, K);
    const struct slm_a8 a = slm_a8_row(a8, K);
    assert_true(isnan(a.d[3]) && a.q[100] == 0 && a.z[3] == 0 && a.d[2] == 1.0f && a.z[0] == 32 * 127);
}

/* ---- variants ---------------------------------------------------------------------------------------------- */

/* The definition of attn_mix_i8 against the formula in double: weights are rounded to half a step, values are exact. */
static void mixes_are_near_the_product(void **state)
{
    (void)state;
    enum { ROWS = 3, DIM = 32 };
    struct checkkern ck = {.rng = {.seed = 5}};
    float p[ROWS * SLM_KEYS], scales[SLM_KEYS], acc[ROWS * DIM];
    int8_t v[SLM_KEYS * DIM];
    for (int i = 0; i < ROWS * SLM_KEYS; i++) p[i] = (float)checkkern_below(&ck, 1000) / 1000.0f;
    for (int i = 0; i < SLM_KEYS; i++) scales[i] = (float)(1 + checkkern_below(&ck, 100)) / 100.0f;
    for (int i = 0; i < SLM_KEYS * DIM; i++) v[i] = (int8_t)((int)checkkern_below(&ck, 255) - 127);
    for (int i = 0; i < ROWS * DIM; i++) acc[i] = 10.0f;
    levels[0].attn_mix_i8(&(struct slm_mix_i8_args){.acc = acc, .p = p, .scales = scales, .v = v, .n_row = ROWS,
                                                    .head_dim = DIM, .first = 3, .n = 20});
    for (int i = 0; i < ROWS * DIM; i++) {
        double sum = 10, most = 0, error = 1e-3;
        for (int t = 3; t < 23; t++) most = fmax(most, (double)p[i / DIM * SLM_KEYS + t] * (double)scales[t]);
        for (int t = 3; t < 23; t++) {
            const double value = v[(t / 4 * DIM + i % DIM) * 4 + t % 4];
            sum += (double)p[i / DIM * SLM_KEYS + t] * (double)scales[t] * value;
            error += most / 127 / 2 * fabs(value);
        }
        assert_true(fabs((double)acc[i] - sum) <= error);
    }
}

struct job {
    void (*check)(struct checkkern *ck);
    enum slm_dtype type; /* of packed weights */
    int level;
    char name[48];
};

static void same_rows(struct checkkern *ck, unsigned char *want_row, unsigned char *got, size_t k)
{
    const struct slm_a8 a = slm_a8_row(want_row, k), b = slm_a8_row(got, k);
    assert_memory_equal(a.q, b.q, k);
    assert_memory_equal(a.z, b.z, k / 32 * sizeof(int32_t));
    assert_memory_equal(a.z16, b.z16, k / 16 * sizeof(int32_t));
    checkkern_same_f32(ck, "d", a.d, b.d, k / 32);
    checkkern_same_f32(ck, "s", a.s, b.s, k / 32);
    checkkern_same_f32(ck, "s16", a.s16, b.s16, k / 16);
    checkkern_margins(ck, 1);
}

static void check_encode_a8(struct checkkern *ck)
{
    for (size_t i = 0; i < 40; i++)
        for (int kind = 0; kind < CHECKKERN_N_KINDS; kind++) {
            const size_t k = (1 + i) * 32, first = checkkern_below(ck, i + 1) * 32, n = k - first;
            checkkern_note(ck, "k=%zu first=%zu kind=%d", k, first, kind);
            float *x = checkkern_buffer(ck, 0, n * sizeof(float));
            checkkern_floats(ck, x, n, kind);
            unsigned char *got = checkkern_buffer(ck, 1, slm_a8_row_bytes(k));
            memset(packed, 0x5a, slm_a8_row_bytes(k));
            memset(got, 0x5a, slm_a8_row_bytes(k));
            ck->ref->encode_a8(packed, x, first, n, k);
            ck->test->encode_a8(got, x, first, n, k);
            same_rows(ck, packed, got, k);
        }
}

static void check_encode_codes(struct checkkern *ck)
{
    for (size_t k = 32; k <= 40 * 32; k += 32)
        for (int kind = 0; kind < 3; kind++) { /* any codes, the greatest alone, a NaN */
            checkkern_note(ck, "k=%zu kind=%d", k, kind);
            float *x = checkkern_buffer(ck, 0, k * sizeof(float));
            for (size_t i = 0; i < k; i++)
                x[i] = kind == 1 ? (checkkern_below(ck, 2) ? 127.0f : -127.0f)
                                 : (float)((int)checkkern_below(ck, 255) - 127);
            if (kind == 2) x[checkkern_below(ck, k)] = NAN;
            unsigned char *got = checkkern_buffer(ck, 1, slm_a8_row_bytes(k));
            ck->ref->encode_codes(packed, x, k);
            ck->test->encode_codes(got, x, k);
            same_rows(ck, packed, got, k);
        }
}

static void packed_case(struct checkkern *ck, size_t n_row, size_t n_tok, size_t n_blocks)
{
    const struct slm_dtype_info *info = &slm_dtypes[ck->type];
    const size_t k = n_blocks * info->block, stride = slm_a8_row_bytes(k) + checkkern_below(ck, 3) * 4;
    const int block_kind = (int)checkkern_below(ck, CHECKKERN_N_BLOCK_KINDS + 3);
    const int kind = (int)checkkern_below(ck, CHECKKERN_N_KINDS + 3);
    checkkern_note(ck, "rows=%zu tokens=%zu k=%zu kinds=%d,%d", n_row, n_tok, k, block_kind, kind);
    if (block_kind < CHECKKERN_N_BLOCK_KINDS)
        checkkern_blocks(ck, blocks, n_row * n_blocks, info->block_bytes, block_kind);
    else
        ordinary_blocks(ck, ck->type, n_row * n_blocks);
    const size_t n_panels = (n_row + 15) / 16, panel_bytes = slm_pack_panel_bytes(ck->type, k);
    unsigned char *w = checkkern_buffer(ck, 0, n_panels * panel_bytes);
    pack(ck->type, n_row, k, w);
    unsigned char *x = checkkern_buffer(ck, 1, n_tok * stride);
    checkkern_floats(ck, activations, n_tok * k, kind < CHECKKERN_N_KINDS ? kind : 0);
    for (size_t t = 0; t < n_tok; t++) ck->ref->encode_a8(x + t * stride, activations + t * k, 0, k, k);
    const size_t gap = checkkern_below(ck, 3) * 5, out_stride = n_row + gap;
    struct slm_packed_args args = {.w = w, .x = x, .out = want, .n_row = n_row, .n_tok = n_tok, .k = k,
                                   .panel_bytes = panel_bytes, .x_stride = stride, .out_stride = n_row,
                                   .scratch = scratch, .ahead = (size_t)checkkern_below(ck, 64) << 58};
    ck->ref->matmul_packed[ck->type](&args);
    float *got = checkkern_buffer(ck, 2, n_tok ? ((n_tok - 1) * out_stride + n_row) * sizeof(float) : 0);
    args.out = got, args.out_stride = out_stride;
    ck->test->matmul_packed[ck->type](&args);
    for (size_t t = 0; t < n_tok; t++) {
        checkkern_same_f32(ck, "out", want + t * n_row, got + t * out_stride, n_row);
        if (t + 1 < n_tok) checkkern_untouched(ck, 2, (t * out_stride + n_row) * sizeof(float), gap * sizeof(float));
    }
    checkkern_margins(ck, 2);
}

static void check_packed(struct checkkern *ck)
{
    const size_t block = slm_dtypes[ck->type].block, most = block == 32 ? 12 : 3;
    for (size_t tokens = 0; tokens <= MOST_TOKENS; tokens++)
        packed_case(ck, 1 + checkkern_below(ck, MOST_ROWS), tokens, 1 + checkkern_below(ck, most));
    for (size_t rows = 1; rows <= MOST_ROWS; rows++)
        packed_case(ck, rows, 1 + checkkern_below(ck, 8), 1 + checkkern_below(ck, most));
    for (int i = 0; i < 20; i++) packed_case(ck, 1 + checkkern_below(ck, 35), 1, 1 + checkkern_below(ck, most));
    /* More than a chunk of k, with a rest. */
    for (size_t tokens = 1; tokens < 9; tokens += 3)
        packed_case(ck, 33, tokens, (MOST_K - checkkern_below(ck, 2) * block) / block);
}

/* Attention over values in int8: rows of every number, pages seen in part with anything in what is not seen. */
static void mix_case(struct checkkern *ck, size_t n_row, size_t head_dim, size_t first, size_t n, int kind)
{
    checkkern_note(ck, "rows=%zu head_dim=%zu slots=%zu+%zu kind=%d", n_row, head_dim, first, n, kind);
    float *p = checkkern_buffer(ck, 0, n_row * SLM_KEYS * sizeof(float));
    int8_t *v = checkkern_buffer(ck, 1, SLM_KEYS * head_dim);
    float *acc = checkkern_buffer(ck, 2, n_row * head_dim * sizeof(float)), scales[SLM_KEYS];
    checkkern_floats(ck, p, n_row * SLM_KEYS, kind);
    checkkern_floats(ck, scales, SLM_KEYS, kind);
    checkkern_floats(ck, acc, n_row * head_dim, 0);
    for (size_t i = 0; i < n_row * SLM_KEYS; i++) {
        const bool seen = i % SLM_KEYS >= first && i % SLM_KEYS < first + n;
        p[i] = seen ? fabsf(p[i]) : checkkern_below(ck, 2) ? NAN : INFINITY;
    }
    for (size_t i = 0; i < SLM_KEYS; i++) scales[i] = fabsf(scales[i]);
    for (size_t i = 0; i < SLM_KEYS * head_dim; i++)
        v[i] = (int8_t)(kind == 1 ? (checkkern_below(ck, 2) ? 127 : -127) : (int)checkkern_below(ck, 255) - 127);
    memcpy(want, acc, n_row * head_dim * sizeof(float));
    struct slm_mix_i8_args args = {.acc = want, .p = p, .scales = scales, .v = v, .n_row = n_row,
                                   .head_dim = head_dim, .first = first, .n = n,
                                   .ahead = (size_t)checkkern_below(ck, 64) << 58};
    ck->ref->attn_mix_i8(&args);
    args.acc = acc;
    ck->test->attn_mix_i8(&args);
    checkkern_same_f32(ck, "acc", want, acc, n_row * head_dim);
    checkkern_margins(ck, 2);
}

static void check_attn_mix_i8(struct checkkern *ck)
{
    for (size_t rows = 0; rows < MIX_ROWS; rows++)
        for (int kind = 0; kind < CHECKKERN_N_KINDS; kind++) {
            const size_t first = checkkern_below(ck, SLM_KEYS), n = 1 + checkkern_below(ck, SLM_KEYS - first);
            mix_case(ck, rows, 32 * (1 + checkkern_below(ck, MIX_DIM / 32)), 0, SLM_KEYS, kind);
            mix_case(ck, rows, 32 * (1 + checkkern_below(ck, MIX_DIM / 32)), first, n, kind);
        }
}

static void run_job(void **state)
{
    const struct job *job = *state;
    struct checkkern ck = {.ref = &levels[0], .test = &levels[job->level], .slot = job->name, .type = job->type,
                           .rng = {.seed = seed, .stream = (uint64_t)job->type + 10}};
    job->check(&ck);
}

/* Each level has its own kernels for every packed type, and none for the others. */
static void every_level_has_every_type(void **state)
{
    (void)state;
    for (int level = 0; level < n_levels; level++)
        for (int type = 0; type < SLM_DTYPE_COUNT; type++) {
            assert_true((levels[level].matmul_packed[type] != NULL) == slm_pack_has((enum slm_dtype)type));
            if (level > 0 && slm_pack_has((enum slm_dtype)type))
                assert_true(levels[level].matmul_packed[type] != levels[level - 1].matmul_packed[type]);
        }
}

/* Work that grows with the rounds asked for, and is none when none are. */
static void every_level_has_a_peak(void **state)
{
    (void)state;
    for (int level = 0; level < n_levels; level++) {
        const size_t one = levels[level].peak_int8(1);
        assert_in_range(one, 1, 1 << 16);
        assert_int_equal(levels[level].peak_int8(1000), 1000 * one);
        assert_int_equal(levels[level].peak_int8(0), 0);
        if (level > 0) assert_true(levels[level].peak_int8 != levels[0].peak_int8);
    }
}

/* ---- measuring --------------------------------------------------------------------------------------------- */

enum { BENCH_ROWS = 512, BENCH_K = 1024, BENCH_TOKENS = 96 };
static size_t bench_tokens = BENCH_TOKENS;
static unsigned char bench_packed[BENCH_ROWS * BENCH_K * 2], bench_a8[BENCH_TOKENS * BENCH_K * 2];
static float bench_out[BENCH_ROWS * BENCH_TOKENS];
struct bench {
    const struct slm_kernels *kernels;
    enum slm_dtype type;
    size_t n_tok;
};

static void call_bench(void *arg)
{
    const struct bench *b = arg;
    b->kernels->matmul_packed[b->type](&(struct slm_packed_args){
        .w = bench_packed, .x = bench_a8, .out = bench_out, .n_row = BENCH_ROWS, .n_tok = b->n_tok, .k = BENCH_K,
        .panel_bytes = slm_pack_panel_bytes(b->type, BENCH_K), .x_stride = slm_a8_row_bytes(BENCH_K),
        .out_stride = BENCH_ROWS, .scratch = scratch, .ahead = 4096});
}

static void call_encode_a8(void *arg)
{
    const struct bench *b = arg;
    b->kernels->encode_a8(bench_a8, activations, 0, BENCH_K, BENCH_K);
}

static int run_benches(const char *only)
{
    struct checkkern ck = {.rng = {.seed = seed}};
    checkkern_floats(&ck, activations, BENCH_K, 0);
    for (size_t t = 0; t < BENCH_TOKENS; t++)
        levels[0].encode_a8(bench_a8 + t * slm_a8_row_bytes(BENCH_K), activations, 0, BENCH_K, BENCH_K);
    printf("%s, one thread, %d rows, k %d; best of 60 rounds\n", slm_cpu_model(), BENCH_ROWS, BENCH_K);
    for (int i = 0; i < N_TYPES; i++) {
        if (only && strcmp(only, slm_dtypes[types[i]].name) != 0) continue;
        ordinary_blocks(&ck, types[i], 16 * BENCH_K / slm_dtypes[types[i]].block);
        const size_t bytes = pack(types[i], 16, BENCH_K, packed);
        for (size_t p = 0; p < BENCH_ROWS / 16; p++) memcpy(bench_packed + p * bytes, packed, bytes);
        printf("%-8s", slm_dtypes[types[i]].name);
        for (int level = 1; level < n_levels; level++) {
            struct bench one = {&levels[level], types[i], 1}, many = {&levels[level], types[i], bench_tokens};
            const double ns_1 = checkkern_time_ns(call_bench, &one), ns_many = checkkern_time_ns(call_bench, &many);
            printf("  %s %5.1f GB/s %6.1f GMAC/s", names[level], (double)(bytes * BENCH_ROWS / 16) / ns_1,
                   (double)BENCH_ROWS * BENCH_K * (double)bench_tokens / ns_many);
        }
        printf("\n");
    }
    printf("encode_a8");
    for (int level = 0; level < n_levels; level++)
        printf("  %s %.2f G elements/s", names[level],
               BENCH_K / checkkern_time_ns(call_encode_a8, &(struct bench){&levels[level], SLM_DTYPE_NONE, 1}));
    printf("\n");
    return 0;
}

static const struct CMUnitTest plain[] = {
    cmocka_unit_test(packed_products_are_those_of_the_file), cmocka_unit_test(rows_read_back_are_those_of_the_file),
    cmocka_unit_test(activations_are_coded_to_half_a_step),  cmocka_unit_test(activations_beyond_coding),
    cmocka_unit_test(codes_give_products_of_integers),       cmocka_unit_test(mixes_are_near_the_product),
    cmocka_unit_test(every_level_has_every_type),            cmocka_unit_test(every_level_has_a_peak)};
enum { N_PLAIN = sizeof(plain) / sizeof(plain[0]) };

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*check)(struct checkkern *ck); } others[] = {
        {"encode_a8", check_encode_a8}, {"encode_codes", check_encode_codes}, {"attn_mix_i8", check_attn_mix_i8}};
    enum { N_OTHERS = sizeof(others) / sizeof(others[0]) };
    static struct job jobs[MOST_LEVELS * (N_TYPES + N_OTHERS)];
    static struct CMUnitTest tests[MOST_LEVELS * (N_TYPES + N_OTHERS) + N_PLAIN];
    const char *only = NULL;
    bool bench = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--bench") == 0) bench = true;
        else if (strcmp(argv[i], "--tokens") == 0 && i + 1 < argc) bench_tokens = strtoull(argv[++i], NULL, 0);
        else only = argv[i];
    }
    find_levels();
    memcpy(tests, plain, sizeof(plain));
    if (bench) return run_benches(only);
    size_t n = N_PLAIN, n_jobs = 0;
    for (int level = 1; level < n_levels; level++)
        for (int i = 0; i < N_TYPES + N_OTHERS; i++) {
            struct job *job = &jobs[n_jobs++];
            const bool packs = i < N_TYPES;
            *job = (struct job){.check = packs ? check_packed : others[i - N_TYPES].check,
                                .type = packs ? types[i] : SLM_DTYPE_NONE, .level = level};
            snprintf(job->name, sizeof(job->name), "%s %s", names[level],
                     packs ? slm_dtypes[types[i]].name : others[i - N_TYPES].name);
            tests[n++] = (struct CMUnitTest){.name = job->name, .test_func = run_job, .initial_state = job};
        }
    return cmocka_run_group_tests_name("int8", tests, NULL, NULL);
}
