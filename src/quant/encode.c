/* SPDX-License-Identifier: MIT
 * Round-to-nearest encoders of the simple types: the definition other encoders are compared with. They choose the
 * scale from the extremes of the block alone; the same bits as ggml's reference encoders for finite input.
 * Deliberately not here: encoders that search for better scales or weigh errors by importance.
 *
 * Non-finite input cannot be represented: it never traps or reads out of range, but its block decodes to something
 * meaningless. Callers that care check first. */
#include <math.h>
#include <string.h>
#include "quant/block.h"

static void store_f16(uint8_t field[2], float value)
{
    uint16_t h = slm_f32_to_f16(value);
    field[0] = (uint8_t)(h & 255);
    field[1] = (uint8_t)(h >> 8);
}

/* x toward zero as a code in 0..max. The comparison is written so that NaN gives 0: a plain cast would be undefined. */
static unsigned to_code(float x, unsigned max)
{
    if (!(x >= 1.0f)) return 0;
    return x >= (float)max ? max : (unsigned)x;
}

/* 1 / d, or 0 where there is nothing to scale. */
static float inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/* The element of greatest magnitude with its sign; the first one wins a tie. It gets the code that reaches furthest
 * (the negative end), so its sign decides the sign of the scale. */
static float signed_extreme(const float *x)
{
    float most = 0.0f, value = 0.0f;
    for (int j = 0; j < SLM_BLOCK; j++)
        if (most < fabsf(x[j])) {
            most = fabsf(x[j]);
            value = x[j];
        }
    return value;
}

static void range(const float *x, float *min, float *max)
{
    *min = *max = x[0];
    for (int j = 1; j < SLM_BLOCK; j++) {
        if (x[j] < *min) *min = x[j];
        if (x[j] > *max) *max = x[j];
    }
}

void slm_quant_encode_F32(const float *src, void *dst, size_t n)
{
    if (n) memcpy(dst, src, n * sizeof(float));
}

void slm_quant_encode_F16(const float *src, void *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) store_f16((uint8_t *)dst + 2 * i, src[i]);
}

void slm_quant_encode_BF16(const float *src, void *dst, size_t n)
{
    uint8_t *d = dst;
    for (size_t i = 0; i < n; i++) {
        uint16_t h = slm_f32_to_bf16(src[i]);
        d[2 * i] = (uint8_t)(h & 255);
        d[2 * i + 1] = (uint8_t)(h >> 8);
    }
}

/* d = extreme / -8; q = floor(x / d + 8.5), at most 15 */
void slm_quant_encode_Q4_0(const float *src, void *dst, size_t n)
{
    struct slm_block_q4_0 *b = dst;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, src += SLM_BLOCK) {
        float d = signed_extreme(src) / -8.0f, id = inverse(d);
        store_f16(b->d, d);
        for (int j = 0; j < 16; j++)
            b->qs[j] = (uint8_t)(to_code(src[j] * id + 8.5f, 15) | to_code(src[j + 16] * id + 8.5f, 15) << 4);
    }
}

/* d = (max - min) / 15; m = min; q = floor((x - min) / d + 0.5) */
void slm_quant_encode_Q4_1(const float *src, void *dst, size_t n)
{
    struct slm_block_q4_1 *b = dst;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, src += SLM_BLOCK) {
        float min, max;
        range(src, &min, &max);
        float d = (max - min) / 15.0f, id = inverse(d);
        store_f16(b->d, d);
        store_f16(b->m, min);
        for (int j = 0; j < 16; j++)
            b->qs[j] = (uint8_t)(to_code((src[j] - min) * id + 0.5f, 15) |
                                 to_code((src[j + 16] - min) * id + 0.5f, 15) << 4);
    }
}

/* Splits the 5-bit code of element j (0..31): four bits to qs, the fifth to qh. */
static void store_code5(uint8_t qh[4], uint8_t qs[16], int j, unsigned code)
{
    qs[j % 16] = (uint8_t)(qs[j % 16] | (code & 15) << (j / 16 * 4));
    qh[j / 8] = (uint8_t)(qh[j / 8] | (code >> 4) << (j % 8));
}

/* d = extreme / -16; q = floor(x / d + 16.5), at most 31 */
void slm_quant_encode_Q5_0(const float *src, void *dst, size_t n)
{
    struct slm_block_q5_0 *b = dst;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, src += SLM_BLOCK) {
        float d = signed_extreme(src) / -16.0f, id = inverse(d);
        memset(b, 0, sizeof *b);
        store_f16(b->d, d);
        for (int j = 0; j < SLM_BLOCK; j++) store_code5(b->qh, b->qs, j, to_code(src[j] * id + 16.5f, 31));
    }
}

/* d = (max - min) / 31; m = min; q = floor((x - min) / d + 0.5) */
void slm_quant_encode_Q5_1(const float *src, void *dst, size_t n)
{
    struct slm_block_q5_1 *b = dst;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, src += SLM_BLOCK) {
        float min, max;
        range(src, &min, &max);
        float d = (max - min) / 31.0f, id = inverse(d);
        memset(b, 0, sizeof *b);
        store_f16(b->d, d);
        store_f16(b->m, min);
        for (int j = 0; j < SLM_BLOCK; j++)
            store_code5(b->qh, b->qs, j, to_code((src[j] - min) * id + 0.5f, 31));
    }
}

/* d = max |x| / 127; q = x / d rounded to nearest, halves away from zero */
void slm_quant_encode_Q8_0(const float *src, void *dst, size_t n)
{
    struct slm_block_q8_0 *b = dst;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, src += SLM_BLOCK) {
        float d = fabsf(signed_extreme(src)) / 127.0f, id = inverse(d);
        store_f16(b->d, d);
        for (int j = 0; j < SLM_BLOCK; j++) {
            float q = roundf(src[j] * id);
            b->qs[j] = (int8_t)(q > 127.0f ? 127.0f : q >= -127.0f ? q : q < -127.0f ? -127.0f : 0.0f);
        }
    }
}
