/* SPDX-License-Identifier: MIT
 * Private to the CPU backend: the state all threads of a step share, and what each op does with it. */
#ifndef SLM_BACKEND_CPU_CPU_H
#define SLM_BACKEND_CPU_CPU_H
#include "backend/backend.h"
#include "base/pool.h"
#include "kernel/kernel.h"

struct slm_backend {
    const struct slm_plan *plan;
    const struct slm_kv_layout *layout;
    const struct slm_batch *batch; /* the step being run */
    struct slm_kernels kernels;
    struct slm_pool *pool;
    size_t max_tokens, n_ctx;
    float *scratch;         /* [row_elements * max_tokens]: value v at scratch + offset * max_tokens */
    float *thread_scratch;  /* [n_threads, thread_elements] */
    size_t thread_elements; /* f32 each thread has to itself: unpacked weight rows, or attention state */
    size_t scratch_bytes, thread_scratch_bytes;
    atomic_size_t *claims;  /* [n_ops] next piece of work of each op that is claimed piece by piece */
    slm_tap_fn tap;
    void *tap_user;
};

/* One thread of a step. */
struct slm_worker {
    struct slm_backend *cpu;
    unsigned rank, n;
    float *scratch; /* [thread_elements] */
};

/* Rows of a value: row t at slm_rows_of(..) + t * width. */
float *slm_cpu_rows(const struct slm_backend *cpu, slm_val val);
/* Rows [first, first + n) of a weight as f32, slm_weight_stride elements each. */
void slm_cpu_unpack_rows(const struct slm_backend *cpu, const struct slm_weight *w, size_t first, size_t n, float *dst);
/* Weight rows unpacked at a time: enough to amortise, few enough to stay in the second-level cache. */
size_t slm_cpu_panel_rows(size_t stride);
/* f32 elements of thread scratch the op needs. */
size_t slm_cpu_thread_elements(const struct slm_op *op);

void slm_cpu_matmul(const struct slm_worker *w, size_t op_index);
void slm_cpu_attention(const struct slm_worker *w, size_t op_index);
void slm_cpu_kv_append(const struct slm_backend *cpu, const struct slm_op *op, size_t row);
#endif
