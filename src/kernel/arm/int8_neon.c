/* SPDX-License-Identifier: MIT
 * The int8 kernels for Advanced SIMD without the dot product extension: products of 16 bits, added up in pairs twice.
 * Codes below 128 are signed as they stand; wide ones lose 128. */
#include "kernel/arm/arm.h"
#include "kernel/arm/int_neon.h"

enum { TILE_TOKENS = 3, TILE_VECS = 2, GEMM_TOKENS = 2, DOT_SIGNED = 1 };

/* Pairs of products reach 2 * 128 * 127 = 32512, which 16 bits hold. */
ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    if (wide) w = veorq_u8(w, vdupq_n_u8(0x80));
    const int8x16_t a = vreinterpretq_s8_u8(w), b = vreinterpretq_s8_u8(x);
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vreinterpretq_u8_s32(vpadalq_s16(vreinterpretq_s32_u8(acc), vpaddq_s16(low, high)));
}

#include "kernel/simd_int8.h"

void slm_kernels_fill_int8_neon(struct slm_kernels *table) { fill_int8(table); }
