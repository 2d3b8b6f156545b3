/* SPDX-License-Identifier: MIT
 * What sixteen int32, or 64 bytes, in one register can do, in the words that simd_int8.h asks for; only the dot
 * product itself is the including file's, because instructions for it differ. Static only. */
#include "kernel/x86/vec_avx512.h"

typedef __m512i ivec;

ALWAYS_INLINE ivec ivec_load(const void *p) { return _mm512_loadu_si512(p); }
ALWAYS_INLINE void ivec_store(void *p, ivec v) { _mm512_storeu_si512(p, v); }
ALWAYS_INLINE ivec ivec_set1(int32_t i) { return _mm512_set1_epi32(i); }
/* The broadcast that reads memory costs a load; compilers like to load into a general register first and then need
 * the port that the dot products want. */
ALWAYS_INLINE ivec ivec_load1(const void *p)
{
    ivec v;
    __asm__("vpbroadcastd %1, %0" : "=v"(v) : "m"(*(const int32_t *)p));
    return v;
}
ALWAYS_INLINE ivec ivec_and(ivec v, uint8_t mask) { return _mm512_and_si512(v, _mm512_set1_epi8((char)mask)); }
ALWAYS_INLINE ivec ivec_or(ivec a, ivec b) { return _mm512_or_si512(a, b); }
ALWAYS_INLINE ivec ivec_shr(ivec v, int n) { return _mm512_srli_epi16(v, (unsigned)n); }
ALWAYS_INLINE ivec ivec_shl(ivec v, int n) { return _mm512_slli_epi16(v, (unsigned)n); }
ALWAYS_INLINE ivec ivec_lookup(const uint8_t table[16], ivec v)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table)), v);
}
ALWAYS_INLINE ivec ivec_add32(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
ALWAYS_INLINE ivec ivec_magnitude(vec v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}
ALWAYS_INLINE ivec ivec_max32(ivec a, ivec b) { return _mm512_max_epu32(a, b); }
ALWAYS_INLINE uint32_t ivec_max_lanes(ivec v) { return _mm512_reduce_max_epu32(v); }
ALWAYS_INLINE int32_t ivec_sum_lanes(ivec v) { return _mm512_reduce_add_epi32(v); }
ALWAYS_INLINE ivec ivec_from_vec(vec v) { return _mm512_cvtps_epi32(v); }
ALWAYS_INLINE vec vec_from_i32(ivec v) { return _mm512_cvtepi32_ps(v); }
ALWAYS_INLINE vec vec_load_i8(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p))); }
ALWAYS_INLINE vec vec_load_u8(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p))); }
ALWAYS_INLINE void vec_load_nibbles(const void *p, vec *low, vec *high)
{
    const ivec bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(p));
    *low = _mm512_cvtepi32_ps(_mm512_and_si512(bytes, _mm512_set1_epi32(15)));
    *high = _mm512_cvtepi32_ps(_mm512_srli_epi32(bytes, 4));
}
ALWAYS_INLINE void store_i8(int8_t *p, ivec v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(v));
}
