/* SPDX-License-Identifier: MIT
 * The int8 kernels for the dot product extension: sdot multiplies sixteen pairs of signed bytes and adds them up by
 * fours. Codes below 128 are signed as they stand; wide ones lose 128. Thirty-two registers: 8 rows x 4 tokens are 8
 * sums of codes and 8 of floats, with 2 of weights and 1 of activations. */
#include "kernel/arm/arm.h"
#include "kernel/arm/int_neon.h"

enum { TILE_TOKENS = 4, TILE_VECS = 2, GEMM_TOKENS = 2, DOT_SIGNED = 1 };

ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    if (wide) w = veorq_u8(w, vdupq_n_u8(0x80));
    return vreinterpretq_u8_s32(
        vdotq_s32(vreinterpretq_s32_u8(acc), vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(x)));
}

#include "kernel/simd_int8.h"

void slm_kernels_fill_dotprod(struct slm_kernels *table)
{
    fill_int8(table);
    table->level = "dotprod";
}
