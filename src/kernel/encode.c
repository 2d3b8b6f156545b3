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
