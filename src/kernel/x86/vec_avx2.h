/* SPDX-License-Identifier: MIT
 * What a vector of eight floats can do (AVX2, FMA and F16C), in the words that simd_float.h asks for. Static only;
 * part of the text of every kernel file of that width. */
#include <immintrin.h>
#include "kernel/simd.h"

typedef __m256 vec;
enum { VEC_LANES = 8 };

/* All bits of the first n lanes. */
ALWAYS_INLINE __m256i first_lanes(size_t n)
{
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(mask + VEC_LANES - n));
}

ALWAYS_INLINE vec vec_set1(float x) { return _mm256_set1_ps(x); }
ALWAYS_INLINE vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
ALWAYS_INLINE vec vec_load_n(const float *p, size_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
ALWAYS_INLINE void vec_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
ALWAYS_INLINE void vec_store_n(float *p, vec v, size_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
ALWAYS_INLINE vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
ALWAYS_INLINE vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
ALWAYS_INLINE vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
ALWAYS_INLINE vec vec_div(vec a, vec b) { return _mm256_div_ps(a, b); }
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
ALWAYS_INLINE vec vec_neg(vec a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
ALWAYS_INLINE vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }
ALWAYS_INLINE vec vec_min(vec a, vec b) { return _mm256_min_ps(a, b); }
ALWAYS_INLINE vec vec_round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT); } /* halves to even */
ALWAYS_INLINE float vec_max_lanes(vec v)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
ALWAYS_INLINE vec vec_keep(vec fresh, vec old, size_t n)
{
    return _mm256_blendv_ps(old, fresh, _mm256_castsi256_ps(first_lanes(n)));
}
ALWAYS_INLINE unsigned vec_equal_bits(vec a, vec b)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
ALWAYS_INLINE vec vec_where_less(vec a, vec b, vec yes, vec no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
ALWAYS_INLINE vec vec_add_exponent(vec p, vec t)
{
    __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
}

ALWAYS_INLINE vec vec_load_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
ALWAYS_INLINE vec vec_load_f16_n(const void *p, size_t n)
{
    uint16_t half[VEC_LANES] = {0};
    memcpy(half, p, n * sizeof(half[0]));
    return vec_load_f16(half);
}
ALWAYS_INLINE void vec_store_f16(uint16_t *p, vec v)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
ALWAYS_INLINE void vec_store_f16_n(uint16_t *p, vec v, size_t n)
{
    uint16_t half[VEC_LANES];
    vec_store_f16(half, v);
    memcpy(p, half, n * sizeof(half[0]));
}
ALWAYS_INLINE vec vec_load_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}

ALWAYS_INLINE void vec_load_pairs(const float *p, vec *even, vec *odd)
{
    vec a = vec_load(p), b = vec_load(p + VEC_LANES);
    vec low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
    *even = _mm256_shuffle_ps(low, high, 0x88); /* 0 2 4 6 | 8 10 12 14 */
    *odd = _mm256_shuffle_ps(low, high, 0xdd);
}
ALWAYS_INLINE void vec_store_pairs(float *p, vec even, vec odd)
{
    vec low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    vec_store(p, _mm256_permute2f128_ps(low, high, 0x20));
    vec_store(p + VEC_LANES, _mm256_permute2f128_ps(low, high, 0x31));
}
