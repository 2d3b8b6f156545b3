/* SPDX-License-Identifier: MIT
 * Checked arithmetic for every number that comes from outside. true = the result is exact. */
#ifndef SLM_BASE_CHECKED_H
#define SLM_BASE_CHECKED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool slm_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool slm_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool slm_mul_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool slm_add_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }

/* Rounds up to a multiple of align (a power of two). */
static inline bool slm_align_up_size(size_t n, size_t align, size_t *out)
{
    if (!slm_add_size(n, align - 1, out)) return false;
    *out &= ~(align - 1);
    return true;
}
#endif
