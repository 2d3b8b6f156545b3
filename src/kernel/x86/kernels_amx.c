/* SPDX-License-Identifier: MIT
 * The int8 kernels for AMX: products of many tokens go through tiles, everything else as with AVX-512 VNNI, which
 * every CPU with AMX has. A test includes this text with other operations (AMX_OPERATIONS) and another name. */
#include "kernel/x86/int_avx512.h"
#include "kernel/x86/x86.h"
#ifndef AMX_OPERATIONS
#define AMX_OPERATIONS "kernel/x86/amx.h"
#define AMX_FILL slm_kernels_fill_amx
#endif
#include AMX_OPERATIONS

enum { TILE_TOKENS = 6, TILE_VECS = 2, GEMM_TOKENS = 24, DOT_SIGNED = 0 };

ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    (void)wide;
    return _mm512_dpbusd_epi32(acc, w, x);
}

#define INT8_STRIP "kernel/x86/tile_amx.h"
#include "kernel/simd_int8.h"
#include "kernel/x86/activations_avx512.h"

void AMX_FILL(struct slm_kernels *table)
{
    fill_int8(table);
    table->encode_a8 = encode_a8_by_four;
    table->level = "amx";
}
