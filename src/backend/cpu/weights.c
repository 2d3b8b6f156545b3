/* SPDX-License-Identifier: MIT
 * Weights as int8 kernels want them: every quantized matrix a plan multiplies with, in panels (kernel/pack.h). Made
 * once for a model, by all threads, and shared by its sessions. Rows that have been packed are given back to the file
 * behind them while the next are read, so that the matrices are in memory once.
 *
 * Deliberately not packed: float matrices, which are multiplied as they are; an embedding that is not the head as
 * well, of which a step reads a few rows where they stand in the file. */
#include "backend/cpu/cpu.h"

#include "base/checked.h"
#include "base/os.h"
#include "kernel/pack.h"

/* File bytes a thread claims at a time: the system maps pages in runs around the one that is read, so small pieces
 * given back beside pieces still being read would come right back. */
enum { CLAIM_BYTES = 4 << 20 };

struct slm_cpu_weights {
    const struct slm_plan *plan;
    unsigned char **panels; /* [n_ops] of the op's weight, also when it is read as an embedding; or NULL */
    unsigned char *memory;
    size_t bytes;
};

/* While packing: what threads share. */
struct packing {
    const struct slm_cpu_weights *weights;
    const struct slm_cpu_source *source;
    atomic_size_t *claims; /* [n_ops] next panel */
};

/* The last may be part empty. */
static size_t n_panels(const struct slm_weight *w) { return (w->n_out + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS; }

/* Float weights have no codes. */
static bool can_pack(const struct slm_op *op) { return op->kind == SLM_OP_MATMUL && slm_pack_has(op->w->dtype); }

/* The op before i that multiplies with the same matrix, or i itself. */
static size_t first_use(const struct slm_plan *plan, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (can_pack(&plan->ops[j]) && plan->ops[j].w == plan->ops[i].w) return j;
    return i;
}

uint64_t slm_cpu_weights_bytes(const struct slm_plan *plan)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan->n_ops; i++)
        if (can_pack(&plan->ops[i]) && first_use(plan, i) == i)
            bytes += (uint64_t)n_panels(plan->ops[i].w) *
                     slm_pack_panel_bytes(plan->ops[i].w->dtype, plan->ops[i].w->n_in);
    return bytes;
}

const unsigned char *slm_cpu_weights_of(const struct slm_cpu_weights *weights, size_t op_index)
{
    return weights ? weights->panels[op_index] : NULL;
}

/* Every thread: claims runs of panels of one matrix after the other. */
static void pack(void *arg, unsigned rank, unsigned n)
{
    const struct packing *p = arg;
    (void)rank, (void)n;
    for (size_t i = 0; i < p->weights->plan->n_ops; i++) {
        if (!can_pack(&p->weights->plan->ops[i]) || first_use(p->weights->plan, i) != i) continue;
        const struct slm_weight *w = p->weights->plan->ops[i].w;
        const size_t panel_bytes = slm_pack_panel_bytes(w->dtype, w->n_in), end = n_panels(w);
        const size_t claim = CLAIM_BYTES / (w->row_bytes * SLM_PANEL_ROWS) + 1;
        for (;;) {
            const size_t first = atomic_fetch_add_explicit(&p->claims[i], claim, memory_order_relaxed);
            if (first >= end) break;
            const size_t last = end - first < claim ? end : first + claim, row = first * SLM_PANEL_ROWS;
            for (size_t at = first; at < last; at++) {
                const size_t r = at * SLM_PANEL_ROWS, left = w->n_out - r;
                slm_pack_panel(w->dtype, w->data + r * w->row_bytes, w->row_bytes,
                               left < SLM_PANEL_ROWS ? left : SLM_PANEL_ROWS, w->n_in,
                               p->weights->panels[i] + at * panel_bytes);
            }
            const size_t rows = (last * SLM_PANEL_ROWS < w->n_out ? last * SLM_PANEL_ROWS : w->n_out) - row;
            if (p->source->packed)
                p->source->packed(p->source->user, w->data + row * w->row_bytes, rows * w->row_bytes);
        }
    }
}

/* Gives every matrix its place. */
static void place(struct slm_cpu_weights *weights)
{
    unsigned char *next = weights->memory;
    for (size_t i = 0; i < weights->plan->n_ops; i++) {
        const struct slm_op *op = &weights->plan->ops[i];
        if (!can_pack(op)) continue;
        const size_t first = first_use(weights->plan, i);
        weights->panels[i] = first == i ? next : weights->panels[first];
        if (first == i) next += n_panels(op->w) * slm_pack_panel_bytes(op->w->dtype, op->w->n_in);
    }
    for (size_t i = 0; i < weights->plan->n_ops; i++)
        for (size_t j = 0; weights->plan->ops[i].kind == SLM_OP_EMBED && j < weights->plan->n_ops; j++)
            if (can_pack(&weights->plan->ops[j]) && weights->plan->ops[j].w->data == weights->plan->ops[i].w->data)
                weights->panels[i] = weights->panels[j];
}

slm_status slm_cpu_weights_open(const struct slm_plan *plan, const struct slm_cpu_source *source, unsigned n_threads,
                                struct slm_cpu_weights **out, struct slm_error *error)
{
    struct slm_cpu_weights *weights = slm_alloc(1, sizeof *weights, "weights", error);
    if (!weights) return SLM_ERR_MEMORY;
    struct packing packing = {weights, source, slm_alloc(plan->n_ops, sizeof *packing.claims, "weights", error)};
    struct slm_pool *pool = NULL;
    slm_status status = SLM_ERR_MEMORY;
    weights->plan = plan;
    weights->panels = slm_alloc(plan->n_ops, sizeof *weights->panels, "weights", error);
    if (!packing.claims || !weights->panels) goto out;
    const uint64_t bytes = slm_cpu_weights_bytes(plan);
    weights->bytes = (size_t)bytes;
    if (bytes > 0) {
        weights->memory = bytes <= SIZE_MAX ? slm_os()->alloc_pages((size_t)bytes) : NULL;
        if (!weights->memory) {
            status = slm_fail_memory(error, "weights", (size_t)bytes);
            goto out;
        }
        place(weights);
        status = slm_pool_open(n_threads, &pool, error);
        if (status != SLM_OK) goto out;
        slm_pool_run(pool, pack, &packing);
        for (size_t i = 0; source->packed && i < plan->n_ops; i++) /* the edges of the pieces */
            if (weights->panels[i])
                source->packed(source->user, plan->ops[i].w->data, plan->ops[i].w->n_out * plan->ops[i].w->row_bytes);
    }
    status = SLM_OK;
out:
    slm_pool_close(pool);
    slm_release(packing.claims);
    if (status != SLM_OK) {
        slm_cpu_weights_close(weights);
        weights = NULL;
    }
    *out = weights;
    return status;
}

/* Also of one that was opened halfway. */
void slm_cpu_weights_close(struct slm_cpu_weights *weights)
{
    if (!weights) return;
    slm_os()->release_pages(weights->memory, weights->bytes);
    slm_release(weights->panels);
    slm_release(weights);
}
