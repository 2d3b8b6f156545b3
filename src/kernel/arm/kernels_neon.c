/* SPDX-License-Identifier: MIT
 * The kernels for Advanced SIMD: what a vector of four floats can do, in the words of simd_float.h and
 * simd_unpack.h, and nothing else. Thirty-two registers: a tile of 4 rows x 5 tokens is 20 sums, 5 tokens and up to 4
 * weights, because compilers load ahead; with 6 tokens they spill sums inside the loop. The conversions to and from
 * half precision used here are part of the base architecture; half arithmetic, which is not, is not needed. */
#include <arm_neon.h>
#include "kernel/arm/arm.h"
#include "kernel/simd.h"

typedef float32x4_t vec;
enum { VEC_LANES = 4, TILE_TOKENS = 5 };

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
ALWAYS_INLINE void vec_store_pairs(float *p, vec even, vec odd) { vst2q_f32(p, (float32x4x2_t){{even, odd}}); }

typedef float32x4_t quad;
ALWAYS_INLINE quad quad_set1(float x) { return vdupq_n_f32(x); }
ALWAYS_INLINE quad quad_mul(quad a, quad b) { return vmulq_f32(a, b); }
ALWAYS_INLINE void quad_store(float *p, quad v) { vst1q_f32(p, v); }

/* a0+a2 a1+a3 b0+b2 b1+b3 */
ALWAYS_INLINE quad add_halves(quad a, quad b)
{
    quad low = vcombine_f32(vget_low_f32(a), vget_low_f32(b));
    return vaddq_f32(low, vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
}

/* Lanes j and j + 2, then 0 and 1, of four vectors at once. */
ALWAYS_INLINE quad quad_sum(quad a, quad b, quad c, quad d)
{
    return vpaddq_f32(add_halves(a, b), add_halves(c, d));
}

#include "kernel/simd_float.h"

/* Parts 0 and 2 are lanes j and j + 8 for j < 4, parts 1 and 3 for j < 8: then lanes j and j + 4 are added. */
ALWAYS_INLINE quad quad_fold(const struct v16 *v)
{
    return vaddq_f32(vaddq_f32(v->part[0], v->part[2]), vaddq_f32(v->part[1], v->part[3]));
}

/* Bytes widen to words and words to double words, a half at a time. */
ALWAYS_INLINE struct v16 v16_from_i8(u8x16 codes)
{
    int16x8_t low = vmovl_s8(vget_low_s8((int8x16_t)codes)), high = vmovl_s8(vget_high_s8((int8x16_t)codes));
    return (struct v16){{
        vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
        vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high))),
    }};
}

/* Inlined with a constant n, the operators of C become single instructions. */
ALWAYS_INLINE u8x16 shift_right(u8x16 v, int n) { return v >> (uint8_t)n; }
ALWAYS_INLINE u8x16 shift_left(u8x16 v, int n) { return v << (uint8_t)n; }
ALWAYS_INLINE u8x16 lookup(u8x16 table, u8x16 index)
{
    return (u8x16)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
}

ALWAYS_INLINE float half_at(const uint8_t *bytes)
{
    __fp16 half;
    memcpy(&half, bytes, sizeof(half));
    return (float)half;
}

#include "kernel/simd_unpack.h"

void slm_kernels_fill_neon(struct slm_kernels *table)
{
    fill_float(table);
    fill_unpack(table);
    table->level = "neon";
}
