/* SPDX-License-Identifier: MIT
 * SPMD thread pool: every thread runs the same function and meets at barriers. Waiting spins a few
 * microseconds, then pauses, then parks on the OS, so an idle or oversubscribed pool costs nothing.
 * The calling thread is rank 0. */
#ifndef SLM_BASE_POOL_H
#define SLM_BASE_POOL_H
#include <stdatomic.h>
#include "base/error.h"

struct slm_pool;
/* n_threads >= 1 (1 starts no thread). Returns owned *out. */
slm_status slm_pool_open(unsigned n_threads, struct slm_pool **out, struct slm_error *error);
void slm_pool_close(struct slm_pool *pool);
unsigned slm_pool_size(const struct slm_pool *pool);
/* Runs fn(arg, rank, n_threads) on all threads and returns when all have. No allocation. Not reentrant. */
void slm_pool_run(struct slm_pool *pool, void (*fn)(void *arg, unsigned rank, unsigned n), void *arg);
/* Inside a run: returns when all threads have arrived. What was written before is visible after. */
void slm_pool_barrier(struct slm_pool *pool, unsigned rank);
#endif
