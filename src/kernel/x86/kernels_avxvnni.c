/* SPDX-License-Identifier: MIT
 * The int8 kernels for AVX-VNNI: vpdpbusd in registers of 32 bytes, as CPUs without AVX-512 have it. Sixteen
 * registers: 16 rows x 2 tokens are 4 sums of codes and 4 of floats, with 2 of weights and 1 of activations. */
#include "kernel/x86/int_avx2.h"
#include "kernel/x86/x86.h"

enum { TILE_TOKENS = 3, TILE_VECS = 2, GEMM_TOKENS = 2, DOT_SIGNED = 0 };

ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    (void)wide;
    return _mm256_dpbusd_avx_epi32(acc, w, x);
}

#include "kernel/simd_int8.h"

void slm_kernels_fill_avxvnni(struct slm_kernels *table)
{
    fill_int8(table);
    table->level = "avxvnni";
}
