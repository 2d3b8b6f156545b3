/* SPDX-License-Identifier: MIT
 * The 128-bit part of the operations that simd_float.h and simd_unpack.h ask for, the same for AVX2 and
 * AVX-512: codes, and the last steps of a sum. Static only; part of the text of kernels_avx2.c and
 * kernels_avx512.c. */
typedef __m128 quad;

ALWAYS_INLINE void quad_store(float *p, quad v) { _mm_storeu_ps(p, v); }

/* Lanes j and j + 2, then 0 and 1, of four vectors at once. */
ALWAYS_INLINE quad quad_sum(quad a, quad b, quad c, quad d)
{
    quad ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a)); /* a0+a2 a1+a3 b0+b2 b1+b3 */
    quad cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    return _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd));
}

/* There are no shifts of bytes: shift words and clear what came over from the neighbour. */
ALWAYS_INLINE u8x16 shift_right(u8x16 v, int n)
{
    return (u8x16)_mm_srli_epi16((__m128i)v, n) & (uint8_t)(0xff >> n);
}
ALWAYS_INLINE u8x16 shift_left(u8x16 v, int n) { return (u8x16)_mm_slli_epi16((__m128i)v, n); }
ALWAYS_INLINE u8x16 lookup(u8x16 table, u8x16 index)
{
    return (u8x16)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
}

ALWAYS_INLINE float half_at(const uint8_t *bytes)
{
    uint16_t half;
    memcpy(&half, bytes, sizeof(half));
    return _cvtsh_ss(half);
}
