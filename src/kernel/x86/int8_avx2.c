/* SPDX-License-Identifier: MIT
 * The int8 kernels for AVX2 without a dot product instruction: vpmaddubsw adds pairs of products to 16 bits,
 * saturating, vpmaddwd pairs of those to 32. Codes of at most 6 bits cannot saturate (2 * 63 * 127 < 2^15). Wide
 * codes are taken as signed instead: |w| <= 128 against x with w's sign gives at most 2 * 128 * 127 = 32512, which
 * does not either. */
#include "kernel/x86/int_avx2.h"
#include "kernel/x86/x86.h"

enum { TILE_TOKENS = 3, TILE_VECS = 2, GEMM_TOKENS = 2, DOT_SIGNED = 1 };

ALWAYS_INLINE ivec dot4(ivec acc, ivec w, ivec x, bool wide)
{
    if (wide) {
        const ivec s = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
        w = _mm256_abs_epi8(s);
        x = _mm256_sign_epi8(x, s);
    }
    const ivec pairs = _mm256_maddubs_epi16(w, x);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "kernel/simd_int8.h"

void slm_kernels_fill_int8_avx2(struct slm_kernels *table) { fill_int8(table); }
