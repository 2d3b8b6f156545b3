/* SPDX-License-Identifier: MIT
 * The scalar int8 kernels: activations to A8, and products of packed weights with them, one code at a time. They
 * define what the vector versions (simd_int8.h) must give, bit for bit: sums of codes are exact integers, and the
 * float chain of an output element is one, in the order of k, whatever the tiles. Deliberately not fast. */
#include <math.h>
#include <string.h>
#include "base/fmath.h"
#include "kernel/kernel.h"
#include "kernel/pack.h"
#include "quant/block.h"

enum { BLOCK = SLM_BLOCK, HALF = SLM_BLOCK / 2, BLOCKS = SLM_GROUP / SLM_BLOCK };

/* ---- activations ------------------------------------------------------------------------------------------- */

/* Bits of |x| order as the numbers do, infinities above all finite ones and NaN above those: an integer maximum is
 * exact and finds the block that cannot be coded. */
static uint32_t greatest_magnitude(const float *x)
{
    uint32_t most = 0;
    for (int i = 0; i < BLOCK; i++) {
        const uint32_t bits = slm_f32_bits(x[i]) & 0x7fffffff;
        if (bits > most) most = bits;
    }
    return most;
}

/* Codes of a block that stand for x / d, and the sums that products need. */
static void put_block(const struct slm_a8 *row, size_t b, const float *x, float scale, float d)
{
    int32_t sum[2] = {0, 0};
    for (int i = 0; i < BLOCK; i++) {
        const int8_t q = scale == 0.0f ? 0 : (int8_t)lrintf(x[i] * scale);
        row->q[b * BLOCK + (size_t)i] = q;
        sum[i / HALF] += q;
    }
    row->d[b] = d;
    row->z[b] = sum[0] + sum[1];
    row->s[b] = d * (float)row->z[b];
    for (size_t h = 0; h < 2; h++) {
        row->z16[2 * b + h] = sum[h];
        row->s16[2 * b + h] = d * (float)sum[h];
    }
}

static void encode_block(const struct slm_a8 *row, size_t b, const float *x)
{
    const uint32_t most = greatest_magnitude(x);
    const float scale = most < SLM_A8_LEAST || most >= SLM_F32_INF_BITS ? 0.0f : 127.0f / slm_bits_f32(most);
    put_block(row, b, x, scale,
              most >= SLM_F32_INF_BITS ? NAN : scale == 0.0f ? 0.0f : slm_bits_f32(most) / 127.0f);
}

/* The blocks of x, the first of which is block first / 32 of the row. */
static void encode_a8(void *row, const float *x, size_t first, size_t n, size_t k)
{
    const struct slm_a8 a = slm_a8_row(row, k);
    for (size_t b = 0; b < n / BLOCK; b++) encode_block(&a, first / BLOCK + b, x + b * BLOCK);
}

/* Integers stay what they are. */
static void encode_codes(void *row, const float *codes, size_t k)
{
    const struct slm_a8 a = slm_a8_row(row, k);
    for (size_t b = 0; b < k / BLOCK; b++) {
        const bool coded = greatest_magnitude(codes + b * BLOCK) < SLM_F32_INF_BITS;
        put_block(&a, b, codes + b * BLOCK, coded ? 1.0f : 0.0f, coded ? 1.0f : NAN);
    }
}

/* ---- packed weights ------------------------------------------------------------------------------------------ */

/* Continues the chain of one output element over one half block, or a whole one where the scales are the same. */
static float add_part(float acc, const struct slm_pack_type *t, const uint8_t *block, size_t r, const int8_t *q,
                      size_t first, size_t n, const float scale[2], float d, int32_t z, float s)
{
    int32_t sum = -(int32_t)t->zero * z;
    for (size_t k = first; k < first + n; k++) sum += slm_pack_code_at(t, block, r, k) * q[k];
    acc = fmaf((float)sum, scale[0] * d, acc);
    return slm_pack_scales_have_min(t->scales) ? fmaf(scale[1], s, acc) : acc;
}

/* Row r of a panel with one token: the chain that every tile must follow. */
static float row_dot(enum slm_dtype type, const uint8_t *panel, size_t r, const struct slm_a8 *a, size_t k)
{
    const struct slm_pack_type *t = &slm_pack_types[type];
    const size_t code_bytes = slm_pack_code_bytes(t->codes);
    float acc = 0.0f;
    for (size_t first = 0; first < k / BLOCK; first += BLOCKS) {
        const size_t left = k / BLOCK - first, n = left < BLOCKS ? left : BLOCKS;
        const uint8_t *codes = panel + slm_pack_scale_bytes(t->scales, n);
        for (size_t b = 0; b < n; b++, codes += code_bytes) {
            const int8_t *q = a->q + (first + b) * BLOCK;
            const size_t at = first + b, parts = slm_pack_scales_half(t->scales) ? 2 : 1;
            for (size_t h = 0; h < parts; h++) {
                float scale[2];
                slm_pack_scale_at(t->scales, panel, n, 2 * b + h, r, &scale[0], &scale[1]);
                acc =
                    add_part(acc, t, codes, r, q, h * HALF, BLOCK / parts, scale, a->d[at],
                             parts == 2 ? a->z16[2 * at + h] : a->z[at], parts == 2 ? a->s16[2 * at + h] : a->s[at]);
            }
        }
        panel = codes;
    }
    return acc;
}

/* Element by element. */
static void matmul_packed(const struct slm_packed_args *args, enum slm_dtype type)
{
    for (size_t t = 0; t < args->n_tok; t++) {
        const struct slm_a8 a = slm_a8_row((unsigned char *)(uintptr_t)args->x + t * args->x_stride, args->k);
        for (size_t r = 0; r < args->n_row; r++)
            args->out[t * args->out_stride + r] = row_dot(type, args->w + r / SLM_PANEL_ROWS * args->panel_bytes,
                                                          r % SLM_PANEL_ROWS, &a, args->k);
    }
}

/* ---- attention ----------------------------------------------------------------------------------------------- */

/* The codes of a row's weights; returns their scale. */
static float weight_codes(const struct slm_mix_i8_args *args, size_t r, int8_t code[SLM_KEYS])
{
    float w[SLM_KEYS];
    for (size_t i = 0; i < SLM_KEYS; i++)
        w[i] = i >= args->first && i < args->first + args->n ? args->p[r * SLM_KEYS + i] * args->scales[i] : 0.0f;
    const uint32_t most = greatest_magnitude(w);
    const bool coded = most >= SLM_A8_LEAST && most < SLM_F32_INF_BITS;
    for (size_t i = 0; i < SLM_KEYS; i++)
        code[i] = coded ? (int8_t)lrintf(w[i] * (127.0f / slm_bits_f32(most))) : 0;
    return coded ? slm_bits_f32(most) * (1.0f / 127.0f) : most < SLM_F32_INF_BITS ? 0.0f : NAN;
}

/* The sum is exact, so only the fma rounds: once a page and element. */
static void attn_mix_i8(const struct slm_mix_i8_args *args)
{
    for (size_t r = 0; r < args->n_row; r++) {
        int8_t code[SLM_KEYS];
        const float scale = weight_codes(args, r, code);
        for (size_t d = 0; d < args->head_dim; d++) {
            int32_t sum = 0;
            for (size_t i = 0; i < SLM_KEYS; i++) sum += code[i] * args->v[(i / 4 * args->head_dim + d) * 4 + i % 4];
            float *acc = &args->acc[r * args->head_dim + d];
            *acc = fmaf((float)sum, scale, *acc);
        }
    }
}

/* Read each time, so that no compiler makes one product of all. */
static size_t peak_int8(size_t n)
{
    volatile int8_t w = 3, x = 5;
    volatile int32_t sum = 0; /* written once, so that the loop has a use */
    int32_t acc = 0;
    for (size_t i = 0; i < n; i++) acc = (acc + w * x) & 0xffff;
    sum = acc;
    (void)sum;
    return n;
}

#define X(name, codes, scales, zero, iq4) \
    static void matmul_packed_##name(const struct slm_packed_args *args) { matmul_packed(args, SLM_DTYPE_##name); }
SLM_PACK_TYPES(X)
#undef X

void slm_kernels_init_ref_int8(struct slm_kernels *table)
{
    table->encode_a8 = encode_a8;
    table->encode_codes = encode_codes;
    table->attn_mix_i8 = attn_mix_i8;
    table->peak_int8 = peak_int8;
#define X(name, codes, scales, zero, iq4) table->matmul_packed[SLM_DTYPE_##name] = matmul_packed_##name;
    SLM_PACK_TYPES(X)
#undef X
}
