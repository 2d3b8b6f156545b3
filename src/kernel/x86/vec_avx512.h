/* SPDX-License-Identifier: MIT
 * What a vector of sixteen floats can do (AVX-512 F, BW, DQ and VL), in the words that simd_float.h asks for. Static
 * only; part of the text of every kernel file of that width. */
#include <immintrin.h>
#include "kernel/simd.h"

typedef __m512 vec;
enum { VEC_LANES = 16 };

ALWAYS_INLINE __mmask16 first_lanes(size_t n) { return (__mmask16)((1u << n) - 1); }

ALWAYS_INLINE vec vec_set1(float x) { return _mm512_set1_ps(x); }
ALWAYS_INLINE vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
ALWAYS_INLINE vec vec_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
ALWAYS_INLINE void vec_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
ALWAYS_INLINE void vec_store_n(float *p, vec v, size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
ALWAYS_INLINE vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
ALWAYS_INLINE vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
ALWAYS_INLINE vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
ALWAYS_INLINE vec vec_div(vec a, vec b) { return _mm512_div_ps(a, b); }
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
ALWAYS_INLINE vec vec_neg(vec a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
ALWAYS_INLINE vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
ALWAYS_INLINE vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }
ALWAYS_INLINE vec vec_round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); } /* halves to even */
ALWAYS_INLINE float vec_max_lanes(vec v) { return _mm512_reduce_max_ps(v); }
ALWAYS_INLINE vec vec_keep(vec fresh, vec old, size_t n) { return _mm512_mask_mov_ps(old, first_lanes(n), fresh); }
ALWAYS_INLINE unsigned vec_equal_bits(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
ALWAYS_INLINE vec vec_where_less(vec a, vec b, vec yes, vec no)
{
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
}
ALWAYS_INLINE vec vec_add_exponent(vec p, vec t)
{
    __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
}

ALWAYS_INLINE vec vec_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
ALWAYS_INLINE vec vec_load_f16_n(const void *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
ALWAYS_INLINE void vec_store_f16(uint16_t *p, vec v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
ALWAYS_INLINE void vec_store_f16_n(uint16_t *p, vec v, size_t n)
{
    _mm256_mask_storeu_epi16(p, first_lanes(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
ALWAYS_INLINE vec vec_load_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}

ALWAYS_INLINE void vec_load_pairs(const float *p, vec *even, vec *odd)
{
    const __m512i first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    vec a = vec_load(p), b = vec_load(p + VEC_LANES);
    *even = _mm512_permutex2var_ps(a, first, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(first, _mm512_set1_epi32(1)), b);
}
ALWAYS_INLINE void vec_store_pairs(float *p, vec even, vec odd)
{
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    vec_store(p, _mm512_permutex2var_ps(even, low, odd));
    vec_store(p + VEC_LANES, _mm512_permutex2var_ps(even, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd));
}
