/* SPDX-License-Identifier: MIT
 * What eight int32, or 32 bytes, in one register can do, in the words that simd_int8.h asks for; only the dot product
 * itself is the including file's, because instructions for it differ. Static only. */
#include "kernel/x86/vec_avx2.h"

typedef __m256i ivec;

ALWAYS_INLINE ivec ivec_load(const void *p) { return _mm256_loadu_si256(p); }
ALWAYS_INLINE void ivec_store(void *p, ivec v) { _mm256_storeu_si256(p, v); }
ALWAYS_INLINE ivec ivec_set1(int32_t i) { return _mm256_set1_epi32(i); }
/* The form that reads memory, as in int_avx512.h. */
ALWAYS_INLINE ivec ivec_load1(const void *p)
{
    ivec v;
    __asm__("vpbroadcastd %1, %0" : "=x"(v) : "m"(*(const int32_t *)p));
    return v;
}
ALWAYS_INLINE ivec ivec_and(ivec v, uint8_t mask) { return _mm256_and_si256(v, _mm256_set1_epi8((char)mask)); }
ALWAYS_INLINE ivec ivec_or(ivec a, ivec b) { return _mm256_or_si256(a, b); }
ALWAYS_INLINE ivec ivec_shr(ivec v, int n) { return _mm256_srli_epi16(v, n); }
ALWAYS_INLINE ivec ivec_shl(ivec v, int n) { return _mm256_slli_epi16(v, n); }
ALWAYS_INLINE ivec ivec_lookup(const uint8_t table[16], ivec v)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table)), v);
}
ALWAYS_INLINE ivec ivec_add32(ivec a, ivec b) { return _mm256_add_epi32(a, b); }
ALWAYS_INLINE ivec ivec_magnitude(vec v)
{
    return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
}
ALWAYS_INLINE ivec ivec_max32(ivec a, ivec b) { return _mm256_max_epu32(a, b); }
ALWAYS_INLINE uint32_t ivec_max_lanes(ivec v)
{
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1)));
}
ALWAYS_INLINE int32_t ivec_sum_lanes(ivec v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
ALWAYS_INLINE ivec ivec_from_vec(vec v) { return _mm256_cvtps_epi32(v); }
ALWAYS_INLINE vec vec_from_i32(ivec v) { return _mm256_cvtepi32_ps(v); }
ALWAYS_INLINE vec vec_load_i8(const void *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p))); }
ALWAYS_INLINE vec vec_load_u8(const void *p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p))); }
ALWAYS_INLINE void vec_load_nibbles(const void *p, vec *low, vec *high)
{
    const ivec bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p));
    *low = _mm256_cvtepi32_ps(_mm256_and_si256(bytes, _mm256_set1_epi32(15)));
    *high = _mm256_cvtepi32_ps(_mm256_srli_epi32(bytes, 4));
}
ALWAYS_INLINE void store_i8(int8_t *p, ivec v)
{
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(words, words));
}
