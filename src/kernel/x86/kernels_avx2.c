/* SPDX-License-Identifier: MIT
 * The kernels for AVX2 + FMA + F16C: what a vector of eight floats can do, in the words of simd_float.h and
 * simd_unpack.h, and nothing else. Sixteen registers, so a tile of 4 rows x 3 tokens: 12 sums, 3 tokens, 1 weight. */
#include "kernel/x86/vec_avx2.h"
#include "kernel/x86/x86.h"

enum { TILE_TOKENS = 3 };

#include "kernel/x86/vec128.h"
#include "kernel/simd_float.h"

ALWAYS_INLINE quad quad_fold(const struct v16 *v)
{
    vec eight = vec_add(v->part[0], v->part[1]);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

ALWAYS_INLINE struct v16 v16_from_i8(u8x16 codes)
{
    __m256i low = _mm256_cvtepi8_epi32((__m128i)codes);
    __m256i high = _mm256_cvtepi8_epi32(_mm_srli_si128((__m128i)codes, 8));
    return (struct v16){{_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)}};
}

#include "kernel/simd_unpack.h"

void slm_kernels_fill_avx2(struct slm_kernels *table)
{
    fill_float(table);
    fill_unpack(table);
    table->level = "avx2";
}
