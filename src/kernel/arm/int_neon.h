/* SPDX-License-Identifier: MIT
 * What four int32, or sixteen bytes, in one register can do, in the words that simd_int8.h asks for; only the dot
 * product itself is the including file's, because instructions for it differ. Static only. */
#include "kernel/arm/vec_neon.h"

typedef uint8x16_t ivec;

ALWAYS_INLINE ivec ivec_load(const void *p) { return vld1q_u8(p); }
ALWAYS_INLINE void ivec_store(void *p, ivec v) { vst1q_u8(p, v); }
ALWAYS_INLINE ivec ivec_set1(int32_t i) { return vreinterpretq_u8_s32(vdupq_n_s32(i)); }
ALWAYS_INLINE ivec ivec_load1(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof(word));
    return ivec_set1(word);
}
ALWAYS_INLINE ivec ivec_and(ivec v, uint8_t mask) { return vandq_u8(v, vdupq_n_u8(mask)); }
ALWAYS_INLINE ivec ivec_or(ivec a, ivec b) { return vorrq_u8(a, b); }
ALWAYS_INLINE ivec ivec_shr(ivec v, int n) { return v >> (uint8_t)n; }
ALWAYS_INLINE ivec ivec_shl(ivec v, int n) { return v << (uint8_t)n; }
ALWAYS_INLINE ivec ivec_lookup(const uint8_t table[16], ivec v) { return vqtbl1q_u8(vld1q_u8(table), v); }
ALWAYS_INLINE ivec ivec_add32(ivec a, ivec b)
{
    return vreinterpretq_u8_s32(vaddq_s32(vreinterpretq_s32_u8(a), vreinterpretq_s32_u8(b)));
}
ALWAYS_INLINE ivec ivec_magnitude(vec v)
{
    return vreinterpretq_u8_u32(vandq_u32(vreinterpretq_u32_f32(v), vdupq_n_u32(0x7fffffff)));
}
ALWAYS_INLINE ivec ivec_max32(ivec a, ivec b)
{
    return vreinterpretq_u8_u32(vmaxq_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
}
ALWAYS_INLINE uint32_t ivec_max_lanes(ivec v) { return vmaxvq_u32(vreinterpretq_u32_u8(v)); }
ALWAYS_INLINE int32_t ivec_sum_lanes(ivec v) { return vaddvq_s32(vreinterpretq_s32_u8(v)); }
ALWAYS_INLINE ivec ivec_from_vec(vec v) { return vreinterpretq_u8_s32(vcvtnq_s32_f32(v)); }
ALWAYS_INLINE vec vec_from_i32(ivec v) { return vcvtq_f32_s32(vreinterpretq_s32_u8(v)); }
ALWAYS_INLINE vec vec_load_i8(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof(word));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(word))))));
}
ALWAYS_INLINE vec vec_load_u8(const void *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof(word));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(word))))));
}
ALWAYS_INLINE void vec_load_nibbles(const void *p, vec *low, vec *high)
{
    uint32_t word;
    memcpy(&word, p, sizeof(word));
    const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(word));
    *low = vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vand_u8(bytes, vdup_n_u8(15))))));
    *high = vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vshr_n_u8(bytes, 4)))));
}
ALWAYS_INLINE void store_i8(int8_t *p, ivec v)
{
    const int16x4_t words = vmovn_s32(vreinterpretq_s32_u8(v));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    vst1_lane_u32((uint32_t *)(void *)p, vreinterpret_u32_s8(bytes), 0);
}
