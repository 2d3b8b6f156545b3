/* SPDX-License-Identifier: MIT
 * The int8 kernels for the matrix extension of Advanced SIMD: one token takes dot products of unsigned codes with
 * signed ones (usdot), several take matrices (smmla), which multiply twice as many pairs. Thirty-two registers: 8 rows
 * x 4 tokens are 8 sums of codes and 8 of floats, with 4 of weights and 1 of activations; with 6 tokens compilers
 * keep sums in memory. */
#include "kernel/arm/arm.h"
#include "kernel/arm/int_neon.h"

enum { TILE_TOKENS = 4, TILE_VECS = 2, GEMM_TOKENS = 2, DOT_SIGNED = 0 };

ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    (void)wide;
    return vreinterpretq_u8_s32(vusdotq_s32(vreinterpretq_s32_u8(acc), w, vreinterpretq_s8_u8(x)));
}

#define INT8_STRIP "kernel/arm/tile_i8mm.h"
#include "kernel/simd_int8.h"

void slm_kernels_fill_i8mm(struct slm_kernels *table)
{
    fill_int8(table);
    table->level = "i8mm";
}
