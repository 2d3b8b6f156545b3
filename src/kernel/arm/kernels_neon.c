/* SPDX-License-Identifier: MIT
 * The kernels for Advanced SIMD: what a vector of four floats can do, in the words of simd_float.h and
 * simd_unpack.h, and nothing else. Thirty-two registers: a tile of 4 rows x 5 tokens is 20 sums, 5 tokens and up to 4
 * weights, because compilers load ahead; with 6 tokens they spill sums inside the loop. The conversions to and from
 * half precision used here are part of the base architecture; half arithmetic, which is not, is not needed. */
#include "kernel/arm/arm.h"
#include "kernel/arm/vec_neon.h"

enum { TILE_TOKENS = 5 };

typedef float32x4_t quad;
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
