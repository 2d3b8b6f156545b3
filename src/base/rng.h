/* SPDX-License-Identifier: MIT
 * Counter-based random numbers (Philox 4x32-10, Salmon et al., SC 2011): a value depends on (seed,
 * counter) only, so a draw can be repeated at any time, in any order, on any thread. */
#ifndef SLM_BASE_RNG_H
#define SLM_BASE_RNG_H
#include <stdint.h>
/* 128 random bits for (seed, counter, stream). */
void slm_rng_block(uint64_t seed, uint64_t counter, uint64_t stream, uint32_t out[4]);
/* Uniform in [0, 1) with 53 bits. */
double slm_rng_uniform(uint64_t seed, uint64_t counter, uint64_t stream);
/* A stepping generator over the same function, for tests and tools. */
struct slm_rng { uint64_t seed, stream, counter; };
uint64_t slm_rng_next(struct slm_rng *rng);
#endif
