/* SPDX-License-Identifier: MIT
 * See machine.h. Each number is the best pass of those that fit a fifth of a second: the others were disturbed.
 * Deliberately not here: what a model makes of it (predict.c). */
#include "tune/machine.h"

#include <string.h>

#include "base/os.h"
#include "base/pool.h"
#include "kernel/kernel.h"

enum { READ_BYTES = 256 << 20 }; /* well beyond any cache, where memory allows */
static const double measure_s = 0.2; /* of each measurement */

static double seconds(void) { return (double)slm_os()->now_ns() * 1e-9; }

/* `work` is what one pass of fn does; the result is work per second. */
static double best_rate(struct slm_pool *pool, void (*fn)(void *, unsigned, unsigned), void *arg, double work)
{
    double best = 0, begin = seconds(), now = begin;
    while (now - begin < measure_s) {
        const double start = now;
        slm_pool_run(pool, fn, arg);
        now = seconds();
        if (now > start && work / (now - start) > best) best = work / (now - start);
    }
    return best;
}

/* ---- memory bandwidth -------------------------------------------------------------------------------------------- */

struct read_job {
    const uint64_t *data;
    size_t n; /* 8-byte words */
    uint64_t sums[1024];
};

/* Adds up this thread's share; the sum is stored so that the reading cannot be optimised away. */
static void read_share(void *arg, unsigned rank, unsigned n_threads)
{
    struct read_job *job = arg;
    const size_t share = job->n / n_threads / 8 * 8;
    const uint64_t *p = job->data + share * rank;
    uint64_t sum[8] = {0};
    for (size_t i = 0; i < share; i += 8)
        for (size_t j = 0; j < 8; j++) sum[j] += p[i + j];
    for (size_t j = 1; j < 8; j++) sum[0] += sum[j];
    job->sums[rank % 1024] = sum[0];
}

/* Skipped (0) when memory is short: a quarter of what is available is the most this takes. */
static void measure_reading(struct slm_pool *pool, struct slm_machine *out)
{
    struct read_job job = {0};
    const uint64_t available = slm_os()->memory_available();
    size_t bytes = READ_BYTES;
    if (available > 0 && available / 4 < bytes) bytes = (size_t)(available / 4);
    bytes &= ~(size_t)0xffffff;
    void *memory = bytes > 0 ? slm_os()->alloc_pages(bytes) : NULL;
    if (!memory) return;
    memset(memory, 1, bytes); /* untouched pages would all be the same zero page */
    job.data = memory;
    job.n = bytes / sizeof *job.data;
    out->read_bytes_s = best_rate(pool, read_share, &job, (double)bytes);
    slm_os()->release_pages(memory, bytes);
}

/* ---- arithmetic -------------------------------------------------------------------------------------------------- */

enum { ROWS = 64, TOKENS = 8, DEPTH = 512, CALLS = 32 }; /* 128 KB of weights: stays in L2 */

struct multiply_job {
    const struct slm_kernels *kernels;
    const float *w, *x;
    float *out; /* [threads, TOKENS, ROWS] */
};

static void multiply_share(void *arg, unsigned rank, unsigned n_threads)
{
    const struct multiply_job *job = arg;
    (void)n_threads;
    const struct slm_matmul_args args = {
        job->w, job->x, job->out + (size_t)rank * TOKENS * ROWS, ROWS, TOKENS, DEPTH, DEPTH, DEPTH, ROWS, false};
    for (int i = 0; i < CALLS; i++) job->kernels->matmul(&args);
}

/* The matrix kernel in use, on data that stays in the cache: what the kernel can do, not what memory lets it do. */
static slm_status measure_floats(struct slm_pool *pool, const struct slm_kernels *kernels, struct slm_machine *out,
                                 struct slm_error *error)
{
    const size_t n_threads = slm_pool_size(pool), n_out = n_threads * TOKENS * ROWS;
    float *memory = slm_alloc((ROWS + TOKENS) * DEPTH + n_out, sizeof *memory, "machine", error);
    if (!memory) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < (ROWS + TOKENS) * DEPTH; i++) memory[i] = (float)(i % 17) * 0.125f;
    struct multiply_job job = {kernels, memory, memory + ROWS * DEPTH, memory + (ROWS + TOKENS) * DEPTH};
    out->flop_s = best_rate(pool, multiply_share, &job, 2.0 * ROWS * TOKENS * DEPTH * CALLS * (double)n_threads);
    slm_release(memory);
    return SLM_OK;
}

enum { PEAK_ROUNDS = 1 << 18 };

static void multiply_int8(void *arg, unsigned rank, unsigned n_threads)
{
    const struct slm_kernels *kernels = arg;
    (void)rank;
    (void)n_threads;
    kernels->peak_int8(PEAK_ROUNDS);
}

/* Bytes, floats, int8: dot products alone, on registers, are the limit of every product of quantized weights. */
slm_status slm_machine_measure(unsigned n_threads, uint64_t features, struct slm_machine *out,
                               struct slm_error *error)
{
    struct slm_kernels kernels;
    struct slm_pool *pool;
    *out = (struct slm_machine){0};
    slm_kernels_init(&kernels, features);
    SLM_TRY(slm_pool_open(n_threads, &pool, error));
    measure_reading(pool, out);
    const slm_status status = measure_floats(pool, &kernels, out, error);
    const double macs = (double)kernels.peak_int8(1) * PEAK_ROUNDS * n_threads;
    out->mac_s = best_rate(pool, multiply_int8, &kernels, macs);
    slm_pool_close(pool);
    return status;
}
