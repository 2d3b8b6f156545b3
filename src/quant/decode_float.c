/* SPDX-License-Identifier: MIT
 * F32, F16 and BF16 to f32. All three are exact: every f16 and bf16 number is an f32 number. A signalling NaN may come
 * out quiet. Owns no rounding; encoding is in encode.c. */
#include <string.h>
#include "quant/block.h"

void slm_quant_decode_F32(const void *src, float *dst, size_t n)
{
    if (n) memcpy(dst, src, n * sizeof(float)); /* GGUF is little-endian, and so are the machines we build for */
}

void slm_quant_decode_F16(const void *src, float *dst, size_t n)
{
    const uint8_t *s = src;
    for (size_t i = 0; i < n; i++) dst[i] = slm_block_f16(s + 2 * i);
}

void slm_quant_decode_BF16(const void *src, float *dst, size_t n)
{
    const uint8_t *s = src;
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, s + 2 * i, sizeof half);
        dst[i] = slm_bf16_to_f32(half);
    }
}
