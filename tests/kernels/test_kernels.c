/* SPDX-License-Identifier: MIT
 * Every kernel variant this CPU can run against its scalar definition, bit for bit: for each level of the
 * dispatch, each slot that differs from the level below is tried on all small sizes and some large ones, on
 * ordinary and pathological numbers, at unaligned addresses beside unreadable pages, in place where the
 * contract allows it. The definitions themselves are test_definitions.c's.
 *
 *   test_kernels [--seed N] [--bench [SLOT]]     --bench measures instead: each slot, each level, ratio to scalar */
#include <float.h>
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

enum { MOST = 4096, STRIDE_GAP = 5 };

static float want[64 * MOST]; /* what the definition gives */
static uint16_t want_half[MOST];

/* --- One check per slot ---------------------------------------------------------------------------------------- */

static void check_unpack(struct checkkern *ck)
{
    const struct slm_dtype_info *info = &slm_dtypes[ck->type];
    for (size_t round = 0; round < CHECKKERN_N_SIZES; round++)
        for (int kind = 0; kind < CHECKKERN_N_BLOCK_KINDS; kind++) {
            size_t n_blocks = info->block == 1 ? checkkern_size(round) : round % 16, n = n_blocks * info->block;
            checkkern_note(ck, "n=%zu kind=%d", n, kind);
            uint8_t *src = checkkern_buffer(ck, 0, n_blocks * info->block_bytes);
            checkkern_blocks(ck, src, n_blocks, info->block_bytes, kind);
            float *got = checkkern_buffer(ck, 1, n * sizeof(float));
            ck->ref->unpack[ck->type](src, want, n);
            ck->test->unpack[ck->type](src, got, n);
            checkkern_same_f32(ck, "dst", want, got, n);
            checkkern_margins(ck, 1);
        }
}

/* The slots of products, by the type of their weights. */
typedef void (*matmul_fn)(const struct slm_matmul_args *args);
static matmul_fn matmul_of(const struct slm_kernels *k, enum slm_dtype type)
{
    return type == SLM_DTYPE_F32 ? k->matmul : type == SLM_DTYPE_F16 ? k->matmul_f16 : k->matmul_bf16;
}

static void matmul_case(struct checkkern *ck, enum slm_dtype type, size_t n_row, size_t n_tok, size_t k)
{
    int kind_w = (int)checkkern_below(ck, CHECKKERN_N_KINDS), kind_x = (int)checkkern_below(ck, CHECKKERN_N_KINDS);
    size_t gap = checkkern_below(ck, 3) * STRIDE_GAP, out_stride = n_row + gap;
    struct slm_matmul_args args = {.n_row = n_row, .n_tok = n_tok, .k = k, .w_stride = k + gap, .x_stride = k + gap,
                                   .out_stride = n_row};
    checkkern_note(ck, "rows=%zu tokens=%zu k=%zu gap=%zu kinds=%d,%d", n_row, n_tok, k, gap, kind_w, kind_x);
    size_t w_len = n_row ? (n_row - 1) * args.w_stride + k : 0, x_len = n_tok ? (n_tok - 1) * args.x_stride + k : 0;
    void *w = checkkern_buffer(ck, 0, w_len * slm_dtypes[type].block_bytes);
    float *x = checkkern_buffer(ck, 1, x_len * sizeof(float));
    if (type == SLM_DTYPE_F32) checkkern_floats(ck, w, w_len, kind_w);
    else checkkern_halves(ck, w, w_len, kind_w);
    checkkern_floats(ck, x, x_len, kind_x);
    size_t out_len = n_tok && n_row ? (n_tok - 1) * out_stride + n_row : 0;
    float *got = checkkern_buffer(ck, 2, out_len * sizeof(float));
    args.w = w, args.x = x, args.out = want;
    matmul_of(ck->ref, type)(&args);
    args.out = got, args.out_stride = out_stride;
    matmul_of(ck->test, type)(&args);
    for (size_t t = 0; t < n_tok && n_row; t++) {
        checkkern_same_f32(ck, "out", want + t * n_row, got + t * out_stride, n_row);
        if (t + 1 < n_tok) checkkern_untouched(ck, 2, (t * out_stride + n_row) * sizeof(float), gap * sizeof(float));
    }
    checkkern_margins(ck, 2);
}

static void check_products(struct checkkern *ck, enum slm_dtype type)
{
    for (size_t i = 0; i < CHECKKERN_N_SIZES; i++) matmul_case(ck, type, checkkern_below(ck, 14), 7, checkkern_size(i));
    for (size_t rows = 0; rows < 18; rows++)
        for (size_t tokens = 0; tokens < 15; tokens++) matmul_case(ck, type, rows, tokens, checkkern_below(ck, 70));
    for (int i = 0; i < 300; i++)
        matmul_case(ck, type, 1 + checkkern_below(ck, 13), 1 + checkkern_below(ck, 13), 1 + checkkern_below(ck, 40));
    matmul_case(ck, type, 130, 61, 33);
}
static void check_matmul(struct checkkern *ck) { check_products(ck, SLM_DTYPE_F32); }
static void check_matmul_f16(struct checkkern *ck) { check_products(ck, SLM_DTYPE_F16); }
static void check_matmul_bf16(struct checkkern *ck) { check_products(ck, SLM_DTYPE_BF16); }

/* Kernels of the shape out[i] = f(a[i], b[i]); `alias` 0: out is its own buffer, 1: out is a, 2: out is b. */
typedef void (*elementwise_fn)(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n);

static void check_elementwise(struct checkkern *ck, elementwise_fn run, int n_alias)
{
    for (size_t i = 0; i < CHECKKERN_N_SIZES; i++)
        for (int kind = 0; kind < CHECKKERN_N_KINDS; kind++)
            for (int alias = 0; alias < n_alias; alias++) {
                size_t n = checkkern_size(i);
                int kind_b = (int)checkkern_below(ck, CHECKKERN_N_KINDS);
                checkkern_note(ck, "n=%zu kinds=%d,%d alias=%d", n, kind, kind_b, alias);
                float *a = checkkern_buffer(ck, 0, n * sizeof(float));
                float *b = checkkern_buffer(ck, 1, n * sizeof(float));
                checkkern_floats(ck, a, n, kind);
                checkkern_floats(ck, b, n, kind_b);
                float *got = alias == 1 ? a : alias == 2 ? b : checkkern_buffer(ck, 2, n * sizeof(float));
                run(ck->ref, want, a, b, n);
                run(ck->test, got, a, b, n);
                checkkern_same_f32(ck, "out", want, got, n);
                for (int buffer = 0; buffer < 3; buffer++)
                    if (buffer < 2 || alias == 0) checkkern_margins(ck, buffer);
            }
}

static void run_add(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->add(out, a, b, n);
}
static void run_scale(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->scale(out, a, n ? b[n / 2] : 1.0f, n); /* in place, b must not be the output: not tried (n_alias 2) */
}
static void run_swiglu(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->swiglu(out, a, b, n);
}
static void run_geglu(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->geglu(out, a, b, n);
}
static void run_relu2glu(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->relu2glu(out, a, b, n);
}
/* The scale goes where the last code was, so that it is compared too. */
static void run_quantize(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    (void)b;
    const float scale = k->quantize(out, a, n);
    if (n) out[n - 1] = out[n - 1] + scale;
}
static void run_softcap(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->softcap(out, a, n ? b[n / 2] : 1.0f, n); /* as for scale */
}
static void run_rms_norm(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->rms_norm(out, a, b, n, 1e-5f);
}
static void run_rms_norm_plain(const struct slm_kernels *k, float *out, const float *a, const float *b, size_t n)
{
    k->rms_norm(out, a, NULL, n, n ? fabsf(b[0]) : 0.0f);
}
static void check_add(struct checkkern *ck) { check_elementwise(ck, run_add, 3); }
static void check_scale(struct checkkern *ck) { check_elementwise(ck, run_scale, 2); }
static void check_rms_norm(struct checkkern *ck)
{
    check_elementwise(ck, run_rms_norm, 2);
    check_elementwise(ck, run_rms_norm_plain, 2);
}

static void check_relu2glu(struct checkkern *ck) { check_elementwise(ck, run_relu2glu, 3); }
static void check_quantize(struct checkkern *ck) { check_elementwise(ck, run_quantize, 2); }

static void check_affine(struct checkkern *ck)
{
    for (int round = 0; round < 400; round++) {
        const size_t n_group = checkkern_below(ck, 9), group = 1 + checkkern_below(ck, 130), n = n_group * group;
        const int kind = (int)checkkern_below(ck, CHECKKERN_N_KINDS);
        checkkern_note(ck, "groups=%zu group=%zu kind=%d", n_group, group, kind);
        float *got = checkkern_buffer(ck, 0, n * sizeof(float));
        float *scales = checkkern_buffer(ck, 1, n_group * sizeof(float));
        float *biases = checkkern_buffer(ck, 2, n_group * sizeof(float));
        checkkern_floats(ck, got, n, 0);
        checkkern_floats(ck, scales, n_group, kind);
        checkkern_floats(ck, biases, n_group, kind);
        memcpy(want, got, n * sizeof(float));
        ck->ref->affine(want, scales, biases, n_group, group);
        ck->test->affine(got, scales, biases, n_group, group);
        checkkern_same_f32(ck, "x", want, got, n);
        checkkern_margins(ck, 0);
    }
}

static void check_softcap(struct checkkern *ck) { check_elementwise(ck, run_softcap, 2); }

/* Besides: a million gates over the whole range of float, so that exp has no unvisited corner. */
static void check_swiglu(struct checkkern *ck)
{
    check_elementwise(ck, run_swiglu, 3);
    float gate[512], up[512], got[512];
    for (uint64_t bits = checkkern_below(ck, 4099); bits < UINT64_C(1) << 32;) {
        checkkern_note(ck, "gates up to 0x%08llx", (unsigned long long)bits);
        for (int i = 0; i < 512; i++, bits += 4099) gate[i] = slm_bits_f32((uint32_t)bits), up[i] = 1.0f;
        ck->ref->swiglu(want, gate, up, 512);
        ck->test->swiglu(got, gate, up, 512);
        checkkern_same_f32(ck, "out", want, got, 512);
    }
}

/* The same tour for tanh, whose two branches meet at a sixty-fourth. */
static void check_geglu(struct checkkern *ck)
{
    check_elementwise(ck, run_geglu, 3);
    float gate[512], up[512], got[512];
    for (uint64_t bits = checkkern_below(ck, 4099); bits < UINT64_C(1) << 32;) {
        checkkern_note(ck, "gates up to 0x%08llx", (unsigned long long)bits);
        for (int i = 0; i < 512; i++, bits += 4099) gate[i] = slm_bits_f32((uint32_t)bits), up[i] = 1.0f;
        ck->ref->geglu(want, gate, up, 512);
        ck->test->geglu(got, gate, up, 512);
        checkkern_same_f32(ck, "out", want, got, 512);
    }
}

static void check_rope(struct checkkern *ck, void (*ref)(float *, const float *, size_t),
                       void (*test)(float *, const float *, size_t))
{
    for (size_t i = 0; i < CHECKKERN_N_SIZES; i++)
        for (int kind = 0; kind < CHECKKERN_N_KINDS; kind++) {
            size_t n = checkkern_size(i) & ~(size_t)1;
            checkkern_note(ck, "n_rot=%zu kind=%d", n, kind);
            float *head = checkkern_buffer(ck, 0, n * sizeof(float));
            float *cos_sin = checkkern_buffer(ck, 1, n * sizeof(float));
            checkkern_floats(ck, head, n, kind);
            checkkern_floats(ck, cos_sin, n, (int)checkkern_below(ck, CHECKKERN_N_KINDS));
            memcpy(want, head, n * sizeof(float));
            ref(want, cos_sin, n);
            test(head, cos_sin, n);
            checkkern_same_f32(ck, "head", want, head, n);
            checkkern_margins(ck, 0);
        }
}
static void check_rope_neox(struct checkkern *ck) { check_rope(ck, ck->ref->rope_neox, ck->test->rope_neox); }
static void check_rope_norm(struct checkkern *ck) { check_rope(ck, ck->ref->rope_norm, ck->test->rope_norm); }

/* Random numbers, then every half, its neighbours and the midpoints where rounding turns. */
static void check_f32_to_f16(struct checkkern *ck)
{
    for (size_t i = 0; i < CHECKKERN_N_SIZES; i++)
        for (int kind = 0; kind < CHECKKERN_N_KINDS; kind++) {
            size_t n = checkkern_size(i);
            checkkern_note(ck, "n=%zu kind=%d", n, kind);
            float *src = checkkern_buffer(ck, 0, n * sizeof(float));
            uint16_t *got = checkkern_buffer(ck, 1, n * sizeof(uint16_t));
            checkkern_floats(ck, src, n, kind);
            ck->ref->f32_to_f16(want_half, src, n);
            ck->test->f32_to_f16(got, src, n);
            checkkern_same_f16(ck, "dst", want_half, got, n);
            checkkern_margins(ck, 1);
        }
    for (uint32_t half = 0; half < 0x10000; half += 64) {
        float src[5 * 64];
        uint16_t got[5 * 64];
        for (uint32_t i = 0; i < 64; i++) {
            float exact = slm_f16_to_f32((uint16_t)(half + i)), next = slm_f16_to_f32((uint16_t)(half + i + 1));
            float middle = exact / 2 + next / 2, *five = src + 5 * i;
            five[0] = exact, five[1] = nextafterf(exact, INFINITY), five[2] = middle;
            five[3] = nextafterf(middle, 0.0f), five[4] = nextafterf(middle, next);
        }
        checkkern_note(ck, "around half 0x%04x", half);
        ck->ref->f32_to_f16(want_half, src, 5 * 64);
        ck->test->f32_to_f16(got, src, 5 * 64);
        checkkern_same_f16(ck, "dst", want_half, got, 5 * 64);
    }
}

static void check_f16_to_f32(struct checkkern *ck)
{
    for (size_t i = 0; i < CHECKKERN_N_SIZES; i++) {
        size_t n = checkkern_size(i);
        checkkern_note(ck, "n=%zu", n);
        uint16_t *src = checkkern_buffer(ck, 0, n * sizeof(uint16_t));
        float *got = checkkern_buffer(ck, 1, n * sizeof(float));
        checkkern_halves(ck, src, n, 2);
        ck->ref->f16_to_f32(want, src, n);
        ck->test->f16_to_f32(got, src, n);
        checkkern_same_f32(ck, "dst", want, got, n);
        checkkern_margins(ck, 1);
    }
    static uint16_t all[1 << 16];
    static float got_all[1 << 16];
    for (uint32_t h = 0; h < 1 << 16; h++) all[h] = (uint16_t)h;
    checkkern_note(ck, "all halves");
    ck->ref->f16_to_f32(want, all, 1 << 16);
    ck->test->f16_to_f32(got_all, all, 1 << 16);
    checkkern_same_f32(ck, "dst", want, got_all, 1 << 16);
}

/* Kinds after the common ones: nothing but -inf, -inf among NaN, and zeros of both signs above negative numbers. */
enum { N_SCORE_KINDS = CHECKKERN_N_KINDS + 3 };

static void score_numbers(struct checkkern *ck, float *x, size_t n, int kind)
{
    static const float more[3][3] = {
        {-INFINITY, -INFINITY, -INFINITY}, {-INFINITY, NAN, -INFINITY}, {-0.0f, -1.0f, 0.0f}};
    if (kind < CHECKKERN_N_KINDS) {
        checkkern_floats(ck, x, n, kind);
        return;
    }
    size_t of = 2 + checkkern_below(ck, 2); /* without the last: only -0 */
    for (size_t i = 0; i < n; i++) x[i] = more[kind - CHECKKERN_N_KINDS][checkkern_below(ck, of)];
}

static void check_softmax_part(struct checkkern *ck)
{
    for (size_t i = 1; i < CHECKKERN_N_SIZES; i++)
        for (int kind = 0; kind < N_SCORE_KINDS; kind++) {
            size_t n = checkkern_size(i);
            checkkern_note(ck, "n=%zu kind=%d", n, kind);
            float *scores = checkkern_buffer(ck, 0, n * sizeof(float));
            float *max = checkkern_buffer(ck, 1, sizeof(float));
            score_numbers(ck, scores, n, kind);
            memcpy(want, scores, n * sizeof(float));
            float want_max = *max = checkkern_below(ck, 2) ? -INFINITY : (float)checkkern_below(ck, 9) - 4.0f;
            float want_sum = ck->ref->softmax_part(want, n, &want_max);
            float sum = ck->test->softmax_part(scores, n, max);
            checkkern_same_f32(ck, "max", &want_max, max, 1);
            checkkern_same_f32(ck, "scores", want, scores, n);
            checkkern_same_f32(ck, "sum", &want_sum, &sum, 1);
            checkkern_margins(ck, 0);
            checkkern_margins(ck, 1);
        }
}

static void check_argmax(struct checkkern *ck)
{
    for (size_t i = 1; i < CHECKKERN_N_SIZES; i++)
        for (int kind = 0; kind < N_SCORE_KINDS; kind++)
            for (int round = 0; round < 3; round++) { /* 1: few distinct values, so many ties; 2: one NaN first */
                size_t n = checkkern_size(i);
                checkkern_note(ck, "n=%zu kind=%d round=%d", n, kind, round);
                float *x = checkkern_buffer(ck, 0, n * sizeof(float));
                score_numbers(ck, x, n, kind);
                for (size_t j = 0; round == 1 && j < n; j++) x[j] = (float)checkkern_below(ck, 3) - 2.0f;
                if (round == 2) x[0] = NAN;
                float want_index = (float)ck->ref->argmax(x, n), index = (float)ck->test->argmax(x, n);
                checkkern_same_f32(ck, "index", &want_index, &index, 1);
            }
}

/* The attention slots in both element types: halves where element_bytes is 2. */
static void *attn_elements(struct checkkern *ck, size_t n, size_t element_bytes)
{
    const int kind = (int)checkkern_below(ck, CHECKKERN_N_KINDS);
    void *elements = checkkern_buffer(ck, 0, n * element_bytes);
    if (element_bytes == 2) checkkern_halves(ck, elements, n, kind);
    else checkkern_floats(ck, elements, n, kind);
    return elements;
}

/* Forward or backward, mostly where no memory is: nothing may come of it. */
static size_t far_ahead(struct checkkern *ck) { return (size_t)0 - ((size_t)checkkern_below(ck, 64) << 58) + 4096; }

static void scores_case(struct checkkern *ck, size_t n_row, size_t n, size_t head_dim, size_t element_bytes)
{
    (void)n;
    checkkern_note(ck, "rows=%zu head_dim=%zu", n_row, head_dim);
    const void *k = attn_elements(ck, head_dim * SLM_KEYS, element_bytes);
    float *q = checkkern_buffer(ck, 1, n_row * head_dim * sizeof(float));
    float *got = checkkern_buffer(ck, 2, n_row * SLM_KEYS * sizeof(float));
    checkkern_floats(ck, q, n_row * head_dim, (int)checkkern_below(ck, CHECKKERN_N_KINDS));
    struct slm_scores_args args = {.q = q, .k = k, .out = want, .n_row = n_row, .head_dim = head_dim,
                                   .scale = checkkern_below(ck, 8) ? 0.125f : -INFINITY,
                                   .ahead = far_ahead(ck)};
    (element_bytes == 2 ? ck->ref->attn_scores_f16 : ck->ref->attn_scores_f32)(&args);
    args.out = got;
    (element_bytes == 2 ? ck->test->attn_scores_f16 : ck->test->attn_scores_f32)(&args);
    checkkern_same_f32(ck, "scores", want, got, n_row * SLM_KEYS);
    checkkern_margins(ck, 2);
}

static void mix_case(struct checkkern *ck, size_t n_row, size_t n, size_t head_dim, size_t element_bytes)
{
    checkkern_note(ck, "rows=%zu n=%zu head_dim=%zu", n_row, n, head_dim);
    const void *v = attn_elements(ck, n * head_dim, element_bytes);
    const size_t n_p = n_row && n ? (n_row - 1) * SLM_KEYS + n : 0;
    float *p = checkkern_buffer(ck, 1, n_p * sizeof(float));
    float *acc = checkkern_buffer(ck, 2, n_row * head_dim * sizeof(float));
    checkkern_floats(ck, p, n_p, (int)checkkern_below(ck, CHECKKERN_N_KINDS));
    checkkern_floats(ck, acc, n_row * head_dim, (int)checkkern_below(ck, CHECKKERN_N_KINDS));
    memcpy(want, acc, n_row * head_dim * sizeof(float));
    struct slm_mix_args args = {.acc = want, .p = p, .v = v, .n_row = n_row, .n = n, .head_dim = head_dim,
                                .ahead = far_ahead(ck)};
    (element_bytes == 2 ? ck->ref->attn_mix_f16 : ck->ref->attn_mix_f32)(&args);
    args.acc = acc;
    (element_bytes == 2 ? ck->test->attn_mix_f16 : ck->test->attn_mix_f32)(&args);
    checkkern_same_f32(ck, "acc", want, acc, n_row * head_dim);
    checkkern_margins(ck, 2);
}

static void check_attn(struct checkkern *ck, void (*one)(struct checkkern *, size_t, size_t, size_t, size_t),
                       size_t bytes)
{
    for (size_t i = 0; i < CHECKKERN_N_SIZES; i++)
        one(ck, checkkern_below(ck, 27), checkkern_below(ck, SLM_KEYS + 1), checkkern_size(i), bytes);
    for (size_t rows = 0; rows < 27; rows++) one(ck, rows, 1 + checkkern_below(ck, SLM_KEYS), 64, bytes);
}
static void check_attn_scores_f32(struct checkkern *ck) { check_attn(ck, scores_case, 4); }
static void check_attn_scores_f16(struct checkkern *ck) { check_attn(ck, scores_case, 2); }
static void check_attn_mix_f32(struct checkkern *ck) { check_attn(ck, mix_case, 4); }
static void check_attn_mix_f16(struct checkkern *ck) { check_attn(ck, mix_case, 2); }

/* --- The table of slots ---------------------------------------------------------------------------------------- */

struct slot {
    const char *name;
    size_t offset; /* of the function pointer in struct slm_kernels */
    void (*check)(struct checkkern *ck);
    enum slm_dtype type;
};

static const struct slot slots[] = {
#define X(name, id, block, bytes) \
    {"unpack " #name, offsetof(struct slm_kernels, unpack[SLM_DTYPE_##name]), check_unpack, SLM_DTYPE_##name},
    SLM_DTYPES(X)
    SLM_CODE_DTYPES(X)
#undef X
#define X(name) {#name, offsetof(struct slm_kernels, name), check_##name, SLM_DTYPE_NONE},
    X(matmul) X(matmul_f16) X(matmul_bf16) X(rms_norm) X(add) X(scale) X(swiglu) X(geglu) X(relu2glu) X(quantize)
    X(affine) X(softcap)
    X(rope_neox) X(rope_norm)
    X(f32_to_f16) X(f16_to_f32) X(softmax_part) X(attn_scores_f32) X(attn_scores_f16) X(attn_mix_f32)
    X(attn_mix_f16) X(argmax)
#undef X
};
enum { N_SLOTS = sizeof(slots) / sizeof(slots[0]) };
/* A new slot of the table must come here too: the table is two words and the slots. Those of int8 (encode_a8,
 * encode_codes, attn_mix_i8, peak_int8, matmul_packed) are test_int8.c's. */
enum { N_INT8_SLOTS = 4 + SLM_DTYPE_COUNT };
_Static_assert(sizeof(struct slm_kernels) ==
                   sizeof(char *) + sizeof(uint64_t) + (N_SLOTS + N_INT8_SLOTS) * sizeof(void (*)(void)),
               "every slot is tested");

/* The masks that make a difference, rising; each that this CPU can run becomes a level. */
#define AVX2_MASK (SLM_CPU(AVX) | SLM_CPU(F16C) | SLM_CPU(FMA) | SLM_CPU(AVX2))
static const struct mask {
    const char *level;
    uint64_t features;
} masks[] = {
    {"scalar", 0},
    {"avx2", AVX2_MASK},
    {"avx512", AVX2_MASK | SLM_CPU(AVX512)},
    {"neon", SLM_CPU(NEON)},
};
enum { N_MASKS = sizeof(masks) / sizeof(masks[0]) };

static struct slm_kernels levels[N_MASKS];
static const char *level_names[N_MASKS];
static int n_levels;

static void find_levels(void)
{
    for (int i = 0; i < N_MASKS; i++) {
        if ((masks[i].features & slm_cpu_features()) != masks[i].features) continue;
        level_names[n_levels] = masks[i].level;
        slm_kernels_init(&levels[n_levels++], masks[i].features);
    }
}

static bool slot_differs(const struct slot *slot, const struct slm_kernels *a, const struct slm_kernels *b)
{
    return memcmp((const char *)a + slot->offset, (const char *)b + slot->offset, sizeof(void (*)(void))) != 0;
}

static uint64_t seed = 1; /* of the first round; each round has the next */
static uint64_t n_rounds = 1;

/* How often to try everything with other numbers: see docs/testing.md. */
static uint64_t rounds_of_level(void)
{
    const char *level = getenv("SLM_TEST_LEVEL");
    if (!level) return 1;
    return strcmp(level, "soak") == 0 ? 100 : strcmp(level, "test") == 0 ? 2 : 1;
}

struct job {
    const struct slot *slot;
    int level;
    char name[64];
};

static void run_job(void **state)
{
    const struct job *job = *state;
    for (uint64_t round = 0; round < n_rounds; round++) {
        struct checkkern ck = {.ref = &levels[0], .test = &levels[job->level], .slot = job->slot->name,
                               .type = job->slot->type,
                               .rng = {.seed = seed + round, .stream = (uint64_t)(job->slot - slots)}};
        job->slot->check(&ck);
    }
}

/* Each mask gives its level, whatever else the CPU could do; an unknown bit changes nothing. */
static void dispatch_follows_the_mask(void **state)
{
    (void)state;
    struct slm_kernels table, again;
    slm_kernels_init_ref(&table);
    for (int i = 0; i < N_SLOTS; i++) assert_false(slot_differs(&slots[i], &table, &levels[0]));
    for (int level = 0; level < n_levels; level++) assert_string_equal(levels[level].level, level_names[level]);
    for (int level = 1; level < n_levels; level++) {
        uint64_t mask = levels[level].features;
        for (int i = 0; i < N_SLOTS; i++) assert_true(slot_differs(&slots[i], &levels[level], &levels[0]));
        slm_kernels_init(&again, mask | UINT64_C(1) << 63);
        for (int i = 0; i < N_SLOTS; i++) assert_false(slot_differs(&slots[i], &again, &levels[level]));
        for (int bit = 0; bit < 64; bit++) { /* without any one of its features a level is not chosen */
            if (!(mask >> bit & 1)) continue;
            slm_kernels_init(&again, mask & ~(UINT64_C(1) << bit));
            assert_string_not_equal(again.level, levels[level].level);
        }
    }
}

/* --- Measuring -------------------------------------------------------------------------------------------------
 * Operands in the L1 or L2 cache, as the engine arranges it; the unit says what is counted. */

enum { BENCH_N = 4096, BENCH_HEAD = 128, BENCH_POS = 256, BENCH_K = 1024, BENCH_ROWS = 64 };

static struct bench_data {
    float a[BENCH_ROWS * BENCH_K], b[BENCH_ROWS * BENCH_K], out[BENCH_ROWS * BENCH_ROWS + BENCH_N];
    uint16_t half[BENCH_POS * BENCH_HEAD];
    uint8_t blocks[BENCH_N * 4];
} data;

struct bench {
    const char *name;
    void (*run)(const struct slm_kernels *k, enum slm_dtype type);
    double work; /* per call; per nanosecond it reads as giga-units per second. 0: packed bytes of the type */
    const char *unit;
    enum slm_dtype type;
};

static void bench_unpack(const struct slm_kernels *k, enum slm_dtype type)
{
    k->unpack[type](data.blocks, data.out, BENCH_N);
}
static void bench_matmul(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->matmul(&(struct slm_matmul_args){.w = data.a, .x = data.b, .out = data.out, .n_row = BENCH_ROWS, .n_tok = 48,
                                        .k = BENCH_K, .w_stride = BENCH_K, .x_stride = BENCH_K,
                                        .out_stride = BENCH_ROWS});
}
static void bench_matmul_1(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->matmul(&(struct slm_matmul_args){.w = data.a, .x = data.b, .out = data.out, .n_row = 8, .n_tok = 1,
                                        .k = BENCH_K, .w_stride = BENCH_K, .x_stride = BENCH_K, .out_stride = 8});
}
static void bench_rms_norm(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->rms_norm(data.out, data.a, data.b, 1024, 1e-5f);
}
static void bench_add(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->add(data.out, data.a, data.b, 1024);
}
static void bench_scale(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->scale(data.out, data.a, 0.5f, 1024);
}
static void bench_geglu(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->geglu(data.out, data.a, data.b, 1024);
}
static void bench_relu2glu(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->relu2glu(data.out, data.a, data.b, 1024);
}
static void bench_quantize(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    (void)k->quantize(data.out, data.a, 1024);
}
/* The scales are below 1, so the values stay finite however often this runs. */
static void bench_affine(const struct slm_kernels *k, enum slm_dtype type)
{
    static const float scales[16] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f,
                                     0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
    (void)type;
    k->affine(data.out, scales, scales, 16, 64);
}
static void bench_softcap(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->softcap(data.out, data.a, 30.0f, 1024);
}
static void bench_swiglu(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->swiglu(data.out, data.a, data.b, 1024);
}
static void bench_rope_neox(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->rope_neox(data.out, data.b, BENCH_HEAD);
}
static void bench_rope_norm(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->rope_norm(data.out, data.b, BENCH_HEAD);
}
static void bench_f32_to_f16(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->f32_to_f16((uint16_t *)data.out, data.a, 1024);
}
static void bench_f16_to_f32(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->f16_to_f32(data.out, data.half, 1024);
}
static void bench_softmax_part(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    float max = -INFINITY;
    k->softmax_part(data.out, 512, &max);
}
static void bench_attn_scores_f32(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->attn_scores_f32(&(struct slm_scores_args){data.b, data.a, data.out, 24, BENCH_HEAD, 0.1f, 0});
}
static void bench_attn_scores_f16(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->attn_scores_f16(&(struct slm_scores_args){data.b, data.half, data.out, 24, BENCH_HEAD, 0.1f, 0});
}
static void bench_attn_scores_2(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->attn_scores_f16(&(struct slm_scores_args){data.b, data.half, data.out, 2, BENCH_HEAD, 0.1f, 0});
}
static void bench_attn_mix_f32(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->attn_mix_f32(&(struct slm_mix_args){data.out, data.b, data.a, 24, SLM_KEYS, BENCH_HEAD, 0});
}
static void bench_attn_mix_f16(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->attn_mix_f16(&(struct slm_mix_args){data.out, data.b, data.half, 24, SLM_KEYS, BENCH_HEAD, 0});
}
static void bench_attn_mix_2(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    k->attn_mix_f16(&(struct slm_mix_args){data.out, data.b, data.half, 2, SLM_KEYS, BENCH_HEAD, 0});
}
static volatile size_t argmax_result;
static void bench_argmax(const struct slm_kernels *k, enum slm_dtype type)
{
    (void)type;
    argmax_result = k->argmax(data.a, BENCH_N);
}

static const struct bench benches[] = {
#define X(name, id, block, bytes) {"unpack " #name, bench_unpack, 0, "GB/s packed", SLM_DTYPE_##name},
    SLM_DTYPES(X)
    SLM_CODE_DTYPES(X)
#undef X
    {"matmul 64x48, k 1024", bench_matmul, (double)(BENCH_ROWS * 48 * BENCH_K), "GMAC/s", SLM_DTYPE_NONE},
    {"matmul 8x1, k 1024", bench_matmul_1, (double)(8 * BENCH_K), "GMAC/s", SLM_DTYPE_NONE},
    {"attn_scores_f32 24x32x128", bench_attn_scores_f32, 24 * 32 * BENCH_HEAD, "GMAC/s", SLM_DTYPE_NONE},
    {"attn_scores_f16 24x32x128", bench_attn_scores_f16, 24 * 32 * BENCH_HEAD, "GMAC/s", SLM_DTYPE_NONE},
    {"attn_scores_f16 2x32x128", bench_attn_scores_2, 2 * 32 * BENCH_HEAD, "GMAC/s", SLM_DTYPE_NONE},
    {"attn_mix_f32 24x32x128", bench_attn_mix_f32, 24 * 32 * BENCH_HEAD, "GMAC/s", SLM_DTYPE_NONE},
    {"attn_mix_f16 24x32x128", bench_attn_mix_f16, 24 * 32 * BENCH_HEAD, "GMAC/s", SLM_DTYPE_NONE},
    {"attn_mix_f16 2x32x128", bench_attn_mix_2, 2 * 32 * BENCH_HEAD, "GMAC/s", SLM_DTYPE_NONE},
    {"rms_norm 1024", bench_rms_norm, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"add 1024", bench_add, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"scale 1024", bench_scale, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"geglu 1024", bench_geglu, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"relu2glu 1024", bench_relu2glu, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"quantize 1024", bench_quantize, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"affine 16x64", bench_affine, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"softcap 1024", bench_softcap, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"swiglu 1024", bench_swiglu, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"rope_neox 128", bench_rope_neox, BENCH_HEAD, "G elements/s", SLM_DTYPE_NONE},
    {"rope_norm 128", bench_rope_norm, BENCH_HEAD, "G elements/s", SLM_DTYPE_NONE},
    {"f32_to_f16 1024", bench_f32_to_f16, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"f16_to_f32 1024", bench_f16_to_f32, 1024, "G elements/s", SLM_DTYPE_NONE},
    {"softmax_part 512", bench_softmax_part, 512, "G elements/s", SLM_DTYPE_NONE},
    {"argmax 4096", bench_argmax, BENCH_N, "G elements/s", SLM_DTYPE_NONE},
};

struct timed {
    const struct bench *bench;
    const struct slm_kernels *kernels;
};

static void call_bench(void *arg)
{
    const struct timed *timed = arg;
    timed->bench->run(timed->kernels, timed->bench->type);
}

static void fill_bench_data(void)
{
    struct checkkern ck = {.rng = {.seed = seed, .stream = 2000}};
    checkkern_floats(&ck, data.a, sizeof(data.a) / sizeof(float), 0);
    checkkern_floats(&ck, data.b, sizeof(data.b) / sizeof(float), 0);
    checkkern_floats(&ck, data.out, sizeof(data.out) / sizeof(float), 0);
    checkkern_halves(&ck, data.half, sizeof(data.half) / sizeof(uint16_t), 0);
    /* Codes are random; scales that are f16 come out wild, but every byte below 0x70 keeps them finite and normal. */
    for (size_t i = 0; i < sizeof(data.blocks); i++) data.blocks[i] = (uint8_t)(0x10 + checkkern_below(&ck, 0x50));
}

static int run_benches(const char *only)
{
    fill_bench_data();
    printf("%s, one thread; best of 60 rounds; x = times the scalar speed\n", slm_cpu_model());
    for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
        const struct bench *b = &benches[i];
        if (only && !strstr(b->name, only)) continue;
        double scalar_ns = 0, work = b->work;
        if (work == 0) work = BENCH_N / slm_dtypes[b->type].block * (double)slm_dtypes[b->type].block_bytes;
        printf("%-24s", b->name);
        for (int level = 0; level < n_levels; level++) {
            double ns = checkkern_time_ns(call_bench, &(struct timed){b, &levels[level]});
            if (level == 0) scalar_ns = ns;
            printf("  %s %8.0f ns %7.2f %s", levels[level].level, ns, work / ns, level == 0 ? b->unit : "");
            if (level > 0) printf("x %.1f", scalar_ns / ns);
        }
        printf("\n");
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct job jobs[N_MASKS * N_SLOTS];
    static struct CMUnitTest tests[N_MASKS * N_SLOTS + 1] = {
        cmocka_unit_test(dispatch_follows_the_mask),
    };
    const char *only = NULL;
    bool bench = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--bench") == 0) bench = true;
        else only = argv[i];
    }
    find_levels();
    n_rounds = rounds_of_level();
    if (bench) return run_benches(only);

    printf("# kernels: %s, highest level %s, seed %llu\n", slm_cpu_model(), levels[n_levels - 1].level,
           (unsigned long long)seed);
    size_t n = 1, n_jobs = 0;
    for (int level = 1; level < n_levels; level++)
        for (int i = 0; i < N_SLOTS; i++) {
            if (!slot_differs(&slots[i], &levels[level], &levels[level - 1])) continue;
            struct job *job = &jobs[n_jobs++];
            *job = (struct job){.slot = &slots[i], .level = level};
            snprintf(job->name, sizeof(job->name), "%s %s", levels[level].level, slots[i].name);
            tests[n++] = (struct CMUnitTest){.name = job->name, .test_func = run_job, .initial_state = job};
        }
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL); /* unused entries are skipped */
}
