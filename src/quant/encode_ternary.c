/* SPDX-License-Identifier: MIT
 * Encoders of TQ1_0 and TQ2_0: the same bytes as ggml's for finite input. The scale is the greatest magnitude of the
 * block, and what is nearer to it than to zero becomes one of its signs. So weights that are ternary come back as they
 * were, but for the rounding of the scale to F16; of other weights little is left, which callers look after.
 * Deliberately not here: what ternary models are (model/ternary.c). */
#include <math.h>
#include <string.h>

#include "quant/block.h"

/* The scale goes to d; returns what brings the block to -1, 0 and 1. */
static float scale_of(const float *x, uint8_t d[2])
{
    float most = 0.0f;
    for (int i = 0; i < SLM_SUPERBLOCK; i++)
        if (most < fabsf(x[i])) most = fabsf(x[i]);
    const uint16_t half = slm_f32_to_f16(most);
    d[0] = (uint8_t)(half & 255);
    d[1] = (uint8_t)(half >> 8);
    return most != 0.0f ? 1.0f / most : 0.0f;
}

/* -1, 0, 1 as 0, 1, 2; halves go away from zero, NaN to zero. */
static unsigned code_of(float x) { return x >= 0.5f ? 2 : x <= -0.5f ? 0 : 1; }

/* n codes, `step` apart, as the highest digits of a five-digit number in base 3, which is kept as a fraction of 256,
 * rounded up. */
static uint8_t digits(const float *x, int step, int n, float inverse)
{
    unsigned value = 0;
    for (int k = 0; k < 5; k++) value = 3 * value + (k < n ? code_of(x[k * step] * inverse) : 0);
    return (uint8_t)((value * 256 + 242) / 243);
}

/* Where digits stand: decode_superblock.c. */
void slm_quant_encode_TQ1_0(const float *src, void *dst, size_t n)
{
    struct slm_block_tq1_0 *b = dst;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++, src += SLM_SUPERBLOCK) {
        const float inverse = scale_of(src, b->d);
        for (int j = 0; j < 32; j++) b->qs[j] = digits(src + j, 32, 5, inverse);
        for (int j = 0; j < 16; j++) b->qs[32 + j] = digits(src + 160 + j, 16, 5, inverse);
        for (int j = 0; j < 4; j++) b->qh[j] = digits(src + 240 + j, 4, 4, inverse);
    }
}

/* Bit order as Q2_K. */
void slm_quant_encode_TQ2_0(const float *src, void *dst, size_t n)
{
    struct slm_block_tq2_0 *b = dst;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++, src += SLM_SUPERBLOCK) {
        const float inverse = scale_of(src, b->d);
        memset(b->qs, 0, sizeof b->qs);
        for (int j = 0; j < SLM_SUPERBLOCK; j++) {
            uint8_t *byte = &b->qs[j / 128 * 32 + j % 32];
            *byte = (uint8_t)(*byte | code_of(src[j] * inverse) << (j % 128 / 32 * 2));
        }
    }
}
