/* SPDX-License-Identifier: MIT
 * The formats of 256 elements: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K (small integer scales under one or two f16 scales),
 * IQ4_XS (the same over a non-linear table), TQ1_0 and TQ2_0 (ternary).
 *
 * Rounding is part of the definition, because vector kernels must give the same bits: integers become f32 exactly,
 * then each product and each difference written here rounds once to f32, in the order written, never fused:
 *   affine    s = d * scale;  m = dmin * min;  y = s * q - m      (Q2_K, Q4_K, Q5_K)
 *   symmetric s = d * scale;                   y = s * q          (Q3_K, Q6_K, IQ4_XS)
 *   ternary                                    y = d * q          (TQ1_0, TQ2_0)
 * A NaN or infinite scale goes through the same arithmetic; the sign and payload of a NaN result are not defined. */
#include "quant/block.h"

/* q of 2 bits. Each half (128 elements) is 32 bytes; bits 2s..2s+1 of them are its elements 32s..32s+31. Scales and
 * mins of 16. */
void slm_quant_decode_Q2_K(const void *src, float *dst, size_t n)
{
    const struct slm_block_q2_k *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d), dmin = slm_block_f16(b->dmin);
        for (int group = 0; group < 16; group++, dst += 16) { /* group = half * 8 + s * 2 + which 16 of the 32 bytes */
            const uint8_t *qs = b->qs + group / 8 * 32 + group % 2 * 16;
            int shift = group % 8 / 2 * 2;
            float s = d * (float)(b->scales[group] & 15);
            float m = dmin * (float)(b->scales[group] >> 4);
            for (int j = 0; j < 16; j++) dst[j] = s * (float)(qs[j] >> shift & 3) - m;
        }
    }
}

/* q of 3 bits, minus 4: low two bits as Q2_K; the third of elements 32t..32t+31 is bit t of the 32 bytes of hmask. */
void slm_quant_decode_Q3_K(const void *src, float *dst, size_t n)
{
    const struct slm_block_q3_k *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d);
        for (unsigned group = 0; group < 16; group++, dst += 16) {
            const uint8_t *qs = b->qs + group / 8 * 32 + group % 2 * 16;
            const uint8_t *hmask = b->hmask + group % 2 * 16;
            unsigned shift = group % 8 / 2 * 2, bit = group / 2;
            float s = d * (float)slm_block_scale_q3_k(b->scales, group);
            for (int j = 0; j < 16; j++)
                dst[j] = s * (float)((qs[j] >> shift & 3) + (hmask[j] >> bit & 1) * 4 - 4);
        }
    }
}

/* q of 4 bits: 64 elements are 32 bytes, low nibbles first. Scale and min of 32. */
void slm_quant_decode_Q4_K(const void *src, float *dst, size_t n)
{
    const struct slm_block_q4_k *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d), dmin = slm_block_f16(b->dmin);
        for (unsigned group = 0; group < 8; group++, dst += 32) {
            const uint8_t *qs = b->qs + group / 2 * 32;
            unsigned shift = group % 2 * 4, scale, min;
            slm_block_scale_min(b->scales, group, &scale, &min);
            float s = d * (float)scale, m = dmin * (float)min;
            for (int j = 0; j < 32; j++) dst[j] = s * (float)(qs[j] >> shift & 15) - m;
        }
    }
}

/* q of 5 bits: low four as Q4_K; the fifth of elements 32t..32t+31 is bit t of the 32 bytes of qh. */
void slm_quant_decode_Q5_K(const void *src, float *dst, size_t n)
{
    const struct slm_block_q5_k *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d), dmin = slm_block_f16(b->dmin);
        for (unsigned group = 0; group < 8; group++, dst += 32) {
            const uint8_t *qs = b->qs + group / 2 * 32;
            unsigned shift = group % 2 * 4, scale, min;
            slm_block_scale_min(b->scales, group, &scale, &min);
            float s = d * (float)scale, m = dmin * (float)min;
            for (int j = 0; j < 32; j++)
                dst[j] = s * (float)((qs[j] >> shift & 15) + (b->qh[j] >> group & 1) * 16) - m;
        }
    }
}

/* q of 6 bits, minus 32. Each half (128 elements): low four bits in 64 bytes of ql (low nibbles are elements 0-63, high
 * nibbles 64-127), high two in 32 bytes of qh (bits 2s..2s+1 are elements 32s..32s+31). Signed scales of 16. */
void slm_quant_decode_Q6_K(const void *src, float *dst, size_t n)
{
    const struct slm_block_q6_k *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d);
        for (int group = 0; group < 16; group++, dst += 16) {
            int half = group / 8, in_half = group % 8 * 16; /* first element of the group within its half */
            const uint8_t *ql = b->ql + half * 64 + in_half % 64;
            const uint8_t *qh = b->qh + half * 32 + in_half % 32;
            int shift_low = in_half / 64 * 4, shift_high = in_half / 32 * 2;
            float s = d * (float)b->scales[group];
            for (int j = 0; j < 16; j++)
                dst[j] = s * (float)((ql[j] >> shift_low & 15) + (qh[j] >> shift_high & 3) * 16 - 32);
        }
    }
}

/* y = s * values[q]: 32 elements are 16 bytes, low nibbles first. Scales of 32. */
void slm_quant_decode_IQ4_XS(const void *src, float *dst, size_t n)
{
    const struct slm_block_iq4_xs *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d);
        for (unsigned group = 0; group < 8; group++, dst += 32) {
            const uint8_t *qs = b->qs + group * 16;
            float s = d * (float)slm_block_scale_iq4_xs(b, group);
            for (int j = 0; j < 16; j++) {
                dst[j] = s * (float)slm_quant_iq4_values[qs[j] & 15];
                dst[j + 16] = s * (float)slm_quant_iq4_values[qs[j] >> 4];
            }
        }
    }
}

/* Digit k of a TQ1_0 byte, minus 1. The byte is ceil(256 * v / 243) for the five-digit base-3 number v, so it holds
 * v / 243 as a fraction of 256: times 3^k modulo 256 brings digit k to the front, times 3 over 256 reads it. */
static int ternary_digit(uint8_t byte, int k)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return (uint8_t)(byte * power[k]) * 3 / 256 - 1;
}

/* Bytes 0-31 of qs hold elements 0-159 (digit k: 32k..32k+31), bytes 32-47 elements 160-239 (digit k: 16 of them), the
 * four bytes of qh the last 16 (four digits each). */
void slm_quant_decode_TQ1_0(const void *src, float *dst, size_t n)
{
    const struct slm_block_tq1_0 *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d);
        for (int k = 0; k < 5; k++)
            for (int j = 0; j < 32; j++) *dst++ = d * (float)ternary_digit(b->qs[j], k);
        for (int k = 0; k < 5; k++)
            for (int j = 32; j < 48; j++) *dst++ = d * (float)ternary_digit(b->qs[j], k);
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < 4; j++) *dst++ = d * (float)ternary_digit(b->qh[j], k);
    }
}

/* q of 2 bits, minus 1 (code 3 is not written by anyone and decodes to 2). Bit order as Q2_K. */
void slm_quant_decode_TQ2_0(const void *src, float *dst, size_t n)
{
    const struct slm_block_tq2_0 *b = src;
    for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, b++) {
        float d = slm_block_f16(b->d);
        for (int group = 0; group < 8; group++, dst += 32) {
            const uint8_t *qs = b->qs + group / 4 * 32;
            int shift = group % 4 * 2;
            for (int j = 0; j < 32; j++) dst[j] = d * (float)((qs[j] >> shift & 3) - 1);
        }
    }
}
