/* SPDX-License-Identifier: MIT
 * What this CPU can do. Detected once; compiled without ISA flags so that the probe itself runs
 * anywhere. */
#ifndef SLM_BASE_CPU_H
#define SLM_BASE_CPU_H
#include <stdint.h>
/* X(NAME, bit, "text") - bits are stable: they are what --cpu-mask takes. */
#define SLM_CPU_FEATURES(X) \
    X(SSE42, 0, "sse4.2") X(AVX, 1, "avx") X(F16C, 2, "f16c") X(FMA, 3, "fma") X(AVX2, 4, "avx2") \
    X(AVX512, 5, "avx512f/bw/dq/vl") X(AVX512VNNI, 6, "avx512vnni") X(AVX512BF16, 7, "avx512bf16") \
    X(AVXVNNI, 8, "avxvnni") X(AVX512VBMI, 9, "avx512vbmi") X(AVX512FP16, 10, "avx512fp16") X(AMXINT8, 11, "amx-int8") \
    X(NEON, 32, "neon") X(FP16, 33, "fp16") X(DOTPROD, 34, "dotprod") X(I8MM, 35, "i8mm") X(BF16, 36, "bf16") \
    X(SVE, 37, "sve")
enum {
#define X(name, bit, text) SLM_CPU_##name##_BIT = (bit),
    SLM_CPU_FEATURES(X)
#undef X
};
#define SLM_CPU(name) (UINT64_C(1) << SLM_CPU_##name##_BIT)
/* Used only where a mask names them: their kernels are held to the definitions by emulation, because no machine that
 * has them was there to try them on. */
#define SLM_CPU_ON_REQUEST SLM_CPU(AMXINT8)
uint64_t slm_cpu_features(void);      /* bits of this CPU that the operating system lets us use */
const char *slm_cpu_feature_name(unsigned bit); /* NULL when the bit has no name */
const char *slm_cpu_model(void);      /* "AMD EPYC 9..."; "unknown" when not told. Static storage. */
#endif
