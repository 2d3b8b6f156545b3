/* SPDX-License-Identifier: MIT
 * What every vector kernel file begins with: the compiler words that the shared kernel texts (simd_float.h,
 * simd_unpack.h) are written in. Inner loops over registers must disappear, or accumulators live in memory. SHUFFLE
 * takes four lanes of two vectors of four. */
#ifndef SLM_KERNEL_SIMD_H
#define SLM_KERNEL_SIMD_H
#include <math.h>
#include <string.h>
#include "base/fmath.h"
#include "kernel/kernel.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define UNROLL _Pragma("GCC unroll 64")
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (u32x4){__VA_ARGS__})
#endif

/* Asks the memory for the line `distance` bytes from p. It may be anywhere, and nothing comes of it but time. */
ALWAYS_INLINE void want(const void *p, size_t distance)
{
    __builtin_prefetch((const void *)((uintptr_t)p + distance));
}

typedef uint8_t u8x16 __attribute__((vector_size(16))); /* codes: sixteen bytes, with the operators of C */
typedef float f32x4 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef uint64_t u64x2 __attribute__((vector_size(16)));
#endif
