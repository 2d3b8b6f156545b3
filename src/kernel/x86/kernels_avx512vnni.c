/* SPDX-License-Identifier: MIT
 * The int8 kernels for AVX-512 VNNI: vpdpbusd multiplies 64 pairs of bytes and adds them up by fours. Thirty-two
 * registers: 32 rows x 6 tokens are 12 sums of codes and 12 of floats, with 2 of weights and 1 of activations. */
#include "kernel/x86/int_avx512.h"
#include "kernel/x86/x86.h"

enum { TILE_TOKENS = 6, TILE_VECS = 2, GEMM_TOKENS = 24, DOT_SIGNED = 0 };

ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    (void)wide;
    return _mm512_dpbusd_epi32(acc, w, x);
}

#include "kernel/simd_int8.h"
#include "kernel/x86/activations_avx512.h"

void slm_kernels_fill_avx512vnni(struct slm_kernels *table)
{
    fill_int8(table);
    table->encode_a8 = encode_a8_by_four;
    table->level = "avx512vnni";
}
