/* SPDX-License-Identifier: MIT
 * What a backend is: something that can run a plan for one step. The CPU backend is the definition; others come
 * beside it. Also here, because every backend must agree on it: how the KV cache lies in memory.
 *
 * A page holds PAGE_TOKENS consecutive positions of one sequence, for all layers: [layer][K, V][kv head], keys as
 * [dim][token], so that one vector holds an element of many keys, values as [token][dim].
 * In int8 (dtype Q8_0) keys are two panels of sixteen tokens (quant/panel.h), values [token / 4][dim][4] codes and then
 * an f32 scale for each token.
 * Positions p lives in slot p % PAGE_TOKENS of the sequence's page p / PAGE_TOKENS. */
#ifndef SLM_BACKEND_BACKEND_H
#define SLM_BACKEND_BACKEND_H
#include "plan/plan.h"

#define SLM_KV_PAGE_TOKENS 32u
#define SLM_KV_INT8_DIM 512u /* widest head that can be kept in int8 */

struct slm_kv_layout {
    uint32_t n_layer, n_head_kv, head_dim;
    enum slm_dtype dtype; /* F16, F32 or Q8_0 */
    size_t head_bytes;    /* of the keys or the values of a head */
    size_t page_bytes;
};
/* False when the sizes overflow. Q8_0: head_dim is a multiple of 32, SLM_KV_INT8_DIM at most. */
bool slm_kv_layout_init(struct slm_kv_layout *layout, uint32_t n_layer, uint32_t n_head_kv, uint32_t head_dim,
                        enum slm_dtype dtype);
/* Start of a head's block of keys (value = false) or values in a page. */
static inline size_t slm_kv_offset(const struct slm_kv_layout *l, uint32_t layer, bool value, uint32_t head)
{
    return (((size_t)layer * 2 + value) * l->n_head_kv + head) * l->head_bytes;
}

/* Where the pages of one sequence are, in order. */
struct slm_kv_view {
    unsigned char *const *pages;
    size_t n_pages;
    size_t n_tokens; /* positions that are filled once this step has run: how far bidirectional attention sees */
};

/* One step: n_tok tokens of any number of sequences. A token's earlier positions must be in the cache or earlier in
 * this step; where attention is bidirectional, all of a sequence must be in one step. */
struct slm_batch {
    size_t n_tok;
    const int32_t *tokens;              /* [n_tok] ids in [0, n_vocab) */
    const uint32_t *positions;          /* [n_tok] */
    const struct slm_kv_view *const *kv; /* [n_tok] the sequence of each token */
    size_t n_out;
    const uint32_t *out_rows;           /* [n_out] indices into the step, rising */
    float *logits;                      /* [n_out, n_vocab] written */
};

/* Sees every named value after it is made, whole rows, on one thread: data [n_rows, width] f32. Slows the step. */
typedef void (*slm_tap_fn)(void *user, const struct slm_value *value, const float *data, size_t n_rows);

/* Weights as the CPU backend multiplies with them fastest, quantized ones in panels for int8 activations. Shared
 * by any number of backends. */
struct slm_cpu_weights;
struct slm_cpu_source {
    /* Told on any thread, of rows that were packed: the file need not keep them in memory. May be NULL. */
    void (*packed)(void *user, const unsigned char *data, size_t bytes);
    /* Asked on every thread, many times a second: true ends it with SLM_ERR_CANCELLED. May be NULL. */
    bool (*stops)(void *user);
    void *user;
};
struct slm_backend; /* one plan's scratch memory and threads; used by one thread at a time */

/* For the products of a plan, and of other plans over the same weights, which are borrowed and must stay readable:
 * embeddings and float matrices are read where they are. Nothing is packed yet, and the memory for it not yet used:
 * steps do it as they go, again and again, until somebody calls slm_cpu_weights_pack. */
slm_status slm_cpu_weights_open(const struct slm_plan *plan, const struct slm_cpu_source *source,
                                struct slm_cpu_weights **out, struct slm_error *error);
/* With the threads of any backend, between its steps. One caller at a time; other backends may run meanwhile. */
slm_status slm_cpu_weights_pack(struct slm_cpu_weights *weights, struct slm_backend *threads, struct slm_error *error);
bool slm_cpu_weights_packed(const struct slm_cpu_weights *weights); /* on any thread */
void slm_cpu_weights_close(struct slm_cpu_weights *weights);
uint64_t slm_cpu_weights_bytes(const struct slm_plan *plan); /* what packing would take */

struct slm_backend_options {
    const struct slm_cpu_weights *weights; /* borrowed; NULL: all as in the file, f32 activations */
    unsigned n_threads; /* >= 1 */
    size_t max_tokens;  /* most tokens and most outputs of a step */
    size_t n_ctx;       /* positions stay below this: chooses between short and long rotary frequencies */
    uint64_t cpu_mask;  /* CPU features kernels may use */
    slm_tap_fn tap;     /* NULL: none */
    void *tap_user;
};

/* Everything a step needs is allocated here; a step allocates nothing. Borrows plan and layout. */
slm_status slm_cpu_open(const struct slm_plan *plan, const struct slm_kv_layout *layout,
                        const struct slm_backend_options *options, struct slm_backend **out, struct slm_error *error);
void slm_cpu_run(struct slm_backend *cpu, const struct slm_batch *batch);
/* Between steps: fn(arg, rank, n) on each of the backend's n threads. */
void slm_cpu_share(struct slm_backend *cpu, void (*fn)(void *arg, unsigned rank, unsigned n), void *arg);
void slm_cpu_close(struct slm_backend *cpu);
/* Bytes of scratch a backend of these options would take; for memory predictions. */
uint64_t slm_cpu_scratch_bytes(const struct slm_plan *plan, const struct slm_backend_options *options);
#endif
