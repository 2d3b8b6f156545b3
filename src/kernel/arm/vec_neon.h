/* SPDX-License-Identifier: MIT
 * What a vector of four floats can do (Advanced SIMD), in the words that simd_float.h asks for. The conversions to
 * and from half precision used here are part of the base architecture. Static only; part of the text of every kernel
 * file of this architecture. */
#include <arm_neon.h>
#include "kernel/simd.h"

typedef float32x4_t vec;
enum { VEC_LANES = 4 };

ALWAYS_INLINE vec vec_set1(float x) { return vdupq_n_f32(x); }
ALWAYS_INLINE vec vec_load(const float *p) { return vld1q_f32(p); }
/* No masked loads here: what is left goes through memory of our own, never past the end of the caller's. */
ALWAYS_INLINE vec vec_load_n(const float *p, size_t n)
{
    float lane[VEC_LANES] = {0};
    memcpy(lane, p, n * sizeof(lane[0]));
    return vld1q_f32(lane);
}
ALWAYS_INLINE void vec_store(float *p, vec v) { vst1q_f32(p, v); }
ALWAYS_INLINE void vec_store_n(float *p, vec v, size_t n)
{
    float lane[VEC_LANES];
    vst1q_f32(lane, v);
    memcpy(p, lane, n * sizeof(lane[0]));
}
ALWAYS_INLINE vec vec_add(vec a, vec b) { return vaddq_f32(a, b); }
ALWAYS_INLINE vec vec_sub(vec a, vec b) { return vsubq_f32(a, b); }
ALWAYS_INLINE vec vec_mul(vec a, vec b) { return vmulq_f32(a, b); }
ALWAYS_INLINE vec vec_div(vec a, vec b) { return vdivq_f32(a, b); }
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
ALWAYS_INLINE vec vec_neg(vec a) { return vnegq_f32(a); }
/* Not vmaxq_f32, which gives NaN where either is NaN. */
ALWAYS_INLINE vec vec_max(vec a, vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
ALWAYS_INLINE float vec_max_lanes(vec v) { return vmaxvq_f32(v); }
/* A window onto ones and zeros gives the first n lanes without a loop. */
ALWAYS_INLINE vec vec_keep(vec fresh, vec old, size_t n)
{
    static const uint32_t mask[8] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, 0, 0, 0, 0};
    return vbslq_f32(vld1q_u32(mask + VEC_LANES - n), fresh, old);
}
/* There is no movemask: each lane keeps its own bit, and their sum is the mask. */
ALWAYS_INLINE unsigned vec_equal_bits(vec a, vec b)
{
    const uint32x4_t bit = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, b), bit));
}
/* Ordered: false where either is NaN, as in C. */
ALWAYS_INLINE vec vec_where_less(vec a, vec b, vec yes, vec no) { return vbslq_f32(vcltq_f32(a, b), yes, no); }
ALWAYS_INLINE vec vec_add_exponent(vec p, vec t)
{
    uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), exponent));
}

/* Loads of bytes, since halves inside packed blocks stand at any address. */
ALWAYS_INLINE vec vec_load_f16(const void *p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }
ALWAYS_INLINE vec vec_load_f16_n(const void *p, size_t n)
{
    uint16_t half[VEC_LANES] = {0};
    memcpy(half, p, n * sizeof(half[0]));
    return vec_load_f16(half);
}
ALWAYS_INLINE void vec_store_f16(uint16_t *p, vec v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
ALWAYS_INLINE void vec_store_f16_n(uint16_t *p, vec v, size_t n)
{
    uint16_t half[VEC_LANES];
    vec_store_f16(half, v);
    memcpy(p, half, n * sizeof(half[0]));
}
ALWAYS_INLINE vec vec_load_bf16(const void *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

ALWAYS_INLINE void vec_load_pairs(const float *p, vec *even, vec *odd)
{
    float32x4x2_t pairs = vld2q_f32(p);
    *even = pairs.val[0];
    *odd = pairs.val[1];
}
ALWAYS_INLINE void vec_store_pairs(float *p, vec even, vec odd) { vst2q_f32(p, ((float32x4x2_t){{even, odd}})); }
