/* SPDX-License-Identifier: MIT
 *
 * Philox 4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011. Ten rounds of a Feistel-like bijection of a 128-bit counter under a 64-bit key.
 *
 * Why counter-based: the draw at position p of a generation depends on (seed, p) and nothing else,
 * so preemption, batching, speculation and restored sessions repeat it exactly. Not cryptographic;
 * keys and nonces come from libsodium. */
#include "base/rng.h"

void slm_rng_block(uint64_t seed, uint64_t counter, uint64_t stream, uint32_t out[4])
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t x0 = (uint32_t)counter, x1 = (uint32_t)(counter >> 32);
    uint32_t x2 = (uint32_t)stream, x3 = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = UINT64_C(0xD2511F53) * x0, b = UINT64_C(0xCD9E8D57) * x2;
        x0 = (uint32_t)(b >> 32) ^ x1 ^ key0;
        x1 = (uint32_t)b;
        x2 = (uint32_t)(a >> 32) ^ x3 ^ key1;
        x3 = (uint32_t)a;
        key0 += 0x9E3779B9u; /* golden ratio: the key schedule is a Weyl sequence */
        key1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}

static uint64_t block_u64(uint64_t seed, uint64_t counter, uint64_t stream)
{
    uint32_t out[4];
    slm_rng_block(seed, counter, stream, out);
    return (uint64_t)out[1] << 32 | out[0];
}

double slm_rng_uniform(uint64_t seed, uint64_t counter, uint64_t stream)
{
    return (double)(block_u64(seed, counter, stream) >> 11) * 0x1p-53;
}

uint64_t slm_rng_next(struct slm_rng *rng) { return block_u64(rng->seed, rng->counter++, rng->stream); }
