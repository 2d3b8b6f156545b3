/* SPDX-License-Identifier: MIT
 * The kernels for AVX-512 F, BW, DQ and VL: what a vector of sixteen floats can do, in the words of
 * simd_float.h and simd_unpack.h, and nothing else. Thirty-two registers: a tile of 4 rows x 6 tokens is 24
 * sums, 6 tokens, 1 weight. */
#include "kernel/x86/vec_avx512.h"
#include "kernel/x86/x86.h"

enum { TILE_TOKENS = 6 };

#include "kernel/x86/vec128.h"
#include "kernel/simd_float.h"

ALWAYS_INLINE quad quad_fold(const struct v16 *v)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v->part[0]), _mm512_extractf32x8_ps(v->part[0], 1));
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

ALWAYS_INLINE struct v16 v16_from_i8(u8x16 codes)
{
    return (struct v16){{_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)codes))}};
}

#include "kernel/simd_unpack.h"

void slm_kernels_fill_avx512(struct slm_kernels *table)
{
    fill_float(table);
    fill_unpack(table);
    table->level = "avx512";
}
