/* SPDX-License-Identifier: MIT
 * Choosing encoders for a CPU, and the ones that run everywhere: vectors of four floats in the compiler's own words,
 * which are SSE2 on x86-64 and Advanced SIMD on 64-bit Arm. */
#include "kernel/encode.h"

#include "base/cpu.h"
#include "kernel/simd.h"

typedef float vec __attribute__((vector_size(16)));
typedef int32_t lane_mask __attribute__((vector_size(16))); /* all bits of a lane, or none */
enum { VEC_LANES = 4 };

ALWAYS_INLINE vec vec_set1(float x) { return (vec){x, x, x, x}; }
ALWAYS_INLINE vec vec_load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS_INLINE void vec_store(float *p, vec v) { memcpy(p, &v, sizeof v); }
ALWAYS_INLINE vec vec_add(vec a, vec b) { return a + b; }
ALWAYS_INLINE vec vec_sub(vec a, vec b) { return a - b; }
ALWAYS_INLINE vec vec_mul(vec a, vec b) { return a * b; }
ALWAYS_INLINE vec vec_div(vec a, vec b) { return a / b; }
ALWAYS_INLINE vec vec_neg(vec a) { return -a; }
ALWAYS_INLINE vec vec_where_less(vec a, vec b, vec yes, vec no)
{
    const lane_mask less = a < b;
    return (vec)((less & (lane_mask)yes) | (~less & (lane_mask)no));
}
/* b where they cannot be compared, as maxps has it. */
ALWAYS_INLINE vec vec_max(vec a, vec b) { return vec_where_less(b, a, a, b); }
ALWAYS_INLINE vec vec_min(vec a, vec b) { return vec_where_less(a, b, a, b); }
/* The sum has no room behind the binary point. */
ALWAYS_INLINE vec vec_round(vec a) { return a + 0x1.8p+23f - 0x1.8p+23f; }
ALWAYS_INLINE vec vec_load_f16(const uint16_t *p)
{
    return (vec){slm_f16_to_f32(p[0]), slm_f16_to_f32(p[1]), slm_f16_to_f32(p[2]), slm_f16_to_f32(p[3])};
}
ALWAYS_INLINE void vec_store_f16(uint16_t *p, vec v)
{
    for (int i = 0; i < VEC_LANES; i++) p[i] = slm_f32_to_f16(v[i]);
}

#include "kernel/simd_search.h"
#include "kernel/simd_encode.h"

void slm_encoders_fill_ref(struct slm_encoders *table) { fill_encoders(table); }

void slm_encoders_init(struct slm_encoders *table, uint64_t features)
{
    *table = (struct slm_encoders){{NULL}};
    slm_encoders_fill_ref(table);
#if defined(__x86_64__)
    if (features & SLM_CPU(AVX2)) slm_encoders_fill_avx2(table);
    if (features & SLM_CPU(AVX512)) slm_encoders_fill_avx512(table);
#else
    (void)features;
#endif
}
