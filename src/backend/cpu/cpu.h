/* SPDX-License-Identifier: MIT
 * Private to the CPU backend: the state all threads of a step share, and what each op does with it. */
#ifndef SLM_BACKEND_CPU_CPU_H
#define SLM_BACKEND_CPU_CPU_H
#include "backend/backend.h"
#include "base/pool.h"
#include "kernel/kernel.h"

/* Who makes the int8 form (kernel/pack.h) of a value that products with packed weights read: whoever makes a row of
 * it, or, where no thread makes whole blocks of 32 elements, the readers before they start. */
enum slm_coder { SLM_CODED_NOT, SLM_CODED_BY_MAKER, SLM_CODED_BY_READER };

struct slm_backend {
    const struct slm_plan *plan;
    const struct slm_cpu_weights *weights; /* NULL: all as in the file */
    const unsigned char **panels; /* [n_ops] the op's weight in panels, when they are packed; NULL: it never is */
    bool packed;                  /* they are, in the step being run: else threads make those they need */
    const struct slm_kv_layout *layout;
    const struct slm_batch *batch; /* the step being run */
    struct slm_kernels kernels;
    struct slm_pool *pool;
    size_t max_tokens, n_ctx;
    float *scratch;         /* [row_elements * max_tokens]: value v at scratch + offset * max_tokens */
    unsigned char *coded;   /* int8 rows: those of value v at 2 * offset * max_tokens, 2 * width bytes apart */
    enum slm_coder *coders; /* [n_values] */
    float *thread_scratch;  /* [n_threads, thread_elements] */
    size_t thread_elements; /* f32 each thread has to itself: unpacked weight rows, or attention state */
    size_t scratch_bytes, coded_bytes, thread_scratch_bytes;
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

/* Rows of what an op makes: one for each token of the step, or for each token whose logits are wanted. */
size_t slm_cpu_n_rows(const struct slm_backend *cpu, const struct slm_op *op);
/* Rows of a value: row t at slm_rows_of(..) + t * width. */
float *slm_cpu_rows(const struct slm_backend *cpu, slm_val val);
/* The int8 row of row `row` of a value. */
unsigned char *slm_cpu_coded_row(const struct slm_backend *cpu, slm_val val, size_t row);
/* Whether the op multiplies with a matrix that is packed. */
bool slm_cpu_can_pack(const struct slm_op *op);
/* Panels [first, last) of a weight that is not packed in the file. */
void slm_cpu_pack_panels(const struct slm_weight *w, size_t first, size_t last, unsigned char *panels);
/* Where the panels of a weight are once they are packed, or NULL when they never will be. */
const unsigned char *slm_cpu_weights_find(const struct slm_cpu_weights *weights, const struct slm_weight *w);
/* Rows [first, first + n) of a weight as f32, slm_weight_stride elements each. */
void slm_cpu_unpack_rows(const struct slm_backend *cpu, const struct slm_weight *w, size_t first, size_t n, float *dst);
/* Weight rows unpacked at a time: enough to amortise, few enough to stay in the second-level cache. */
size_t slm_cpu_panel_rows(size_t stride);
/* f32 elements of thread scratch the op needs; packed: its weight is in panels. */
size_t slm_cpu_thread_elements(const struct slm_op *op, bool packed);

/* Running state of one query head: greatest score so far, sum of exponentials relative to it. */
struct slm_cpu_online { float max, sum; };
size_t slm_cpu_attention_elements(const struct slm_op *op); /* of thread scratch */

void slm_cpu_matmul(const struct slm_worker *w, size_t op_index);
void slm_cpu_attention(const struct slm_worker *w, size_t op_index);
/* Keys or values of one KV head in page `page` of a token's sequence (backend.h). */
unsigned char *slm_cpu_kv_block(const struct slm_backend *cpu, size_t token, size_t page, uint32_t layer, bool value,
                                uint32_t head);
void slm_cpu_kv_append(const struct slm_backend *cpu, const struct slm_op *op, size_t row);
#endif
