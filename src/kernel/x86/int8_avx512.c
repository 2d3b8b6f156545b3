/* SPDX-License-Identifier: MIT
 * The int8 kernels for AVX-512 without VNNI: the arithmetic of int8_avx2.c in registers twice as wide. There is no
 * vpsignb of that width; a masked subtraction does its work. */
#include "kernel/x86/int_avx512.h"
#include "kernel/x86/x86.h"

enum { TILE_TOKENS = 5, TILE_VECS = 2, GEMM_TOKENS = 1 << 20, DOT_SIGNED = 1 };

ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    if (wide) {
        const ivec s = _mm512_xor_si512(w, _mm512_set1_epi8((char)0x80));
        w = _mm512_abs_epi8(s);
        x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(s), _mm512_setzero_si512(), x);
    }
    const ivec pairs = _mm512_maddubs_epi16(w, x);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#include "kernel/simd_int8.h"
#include "kernel/x86/activations_avx512.h"

void slm_kernels_fill_int8_avx512(struct slm_kernels *table)
{
    fill_int8(table);
    table->encode_a8 = encode_a8_by_four;
}
