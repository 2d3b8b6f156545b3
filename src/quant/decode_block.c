/* SPDX-License-Identifier: MIT
 * The formats of 32 elements with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL.
 *
 * Rounding is part of the definition, because vector kernels must give the same bits: codes become f32 exactly, then
 * each * and each + written here rounds once to f32, in the order written, never fused. A NaN or infinite scale goes
 * through the same arithmetic; the sign and payload of a NaN result are not defined. */
#include "quant/block.h"

const int8_t slm_quant_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* y = d * (q - 8) */
void slm_quant_decode_Q4_0(const void *src, float *dst, size_t n)
{
    const struct slm_block_q4_0 *b = src;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, dst += SLM_BLOCK) {
        float d = slm_block_f16(b->d);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)((b->qs[j] & 15) - 8);
            dst[j + 16] = d * (float)((b->qs[j] >> 4) - 8);
        }
    }
}

/* y = d * q + m */
void slm_quant_decode_Q4_1(const void *src, float *dst, size_t n)
{
    const struct slm_block_q4_1 *b = src;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, dst += SLM_BLOCK) {
        float d = slm_block_f16(b->d), m = slm_block_f16(b->m);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)(b->qs[j] & 15) + m;
            dst[j + 16] = d * (float)(b->qs[j] >> 4) + m;
        }
    }
}

/* The five bits of element j and of element j + 16 (j < 16): low nibble and high nibble of qs[j], fifth bits in qh. */
static int code5_low(const uint8_t qh[4], const uint8_t qs[16], int j)
{
    return (qs[j] & 15) | (qh[j / 8] >> (j % 8) & 1) << 4;
}
static int code5_high(const uint8_t qh[4], const uint8_t qs[16], int j)
{
    return qs[j] >> 4 | (qh[2 + j / 8] >> (j % 8) & 1) << 4;
}

/* y = d * (q - 16) */
void slm_quant_decode_Q5_0(const void *src, float *dst, size_t n)
{
    const struct slm_block_q5_0 *b = src;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, dst += SLM_BLOCK) {
        float d = slm_block_f16(b->d);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)(code5_low(b->qh, b->qs, j) - 16);
            dst[j + 16] = d * (float)(code5_high(b->qh, b->qs, j) - 16);
        }
    }
}

/* y = d * q + m */
void slm_quant_decode_Q5_1(const void *src, float *dst, size_t n)
{
    const struct slm_block_q5_1 *b = src;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, dst += SLM_BLOCK) {
        float d = slm_block_f16(b->d), m = slm_block_f16(b->m);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)code5_low(b->qh, b->qs, j) + m;
            dst[j + 16] = d * (float)code5_high(b->qh, b->qs, j) + m;
        }
    }
}

/* y = d * q, q signed */
void slm_quant_decode_Q8_0(const void *src, float *dst, size_t n)
{
    const struct slm_block_q8_0 *b = src;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, dst += SLM_BLOCK) {
        float d = slm_block_f16(b->d);
        for (int j = 0; j < SLM_BLOCK; j++) dst[j] = d * (float)b->qs[j];
    }
}

/* y = d * values[q] */
void slm_quant_decode_IQ4_NL(const void *src, float *dst, size_t n)
{
    const struct slm_block_iq4_nl *b = src;
    for (size_t i = 0; i < n / SLM_BLOCK; i++, b++, dst += SLM_BLOCK) {
        float d = slm_block_f16(b->d);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)slm_quant_iq4_values[b->qs[j] & 15];
            dst[j + 16] = d * (float)slm_quant_iq4_values[b->qs[j] >> 4];
        }
    }
}
