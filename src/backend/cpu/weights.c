/* SPDX-License-Identifier: MIT
 * Weights as int8 kernels want them: every quantized matrix a plan multiplies with, in panels (quant/panel.h). Made
 * once for a model, by all threads, and shared by its sessions. Rows that have been packed are given back to the file
 * behind them while the next are read, so that the matrices are in memory once. Matrices that are panels in the file
 * are read there.
 *
 * Opening only says where panels will lie. Until they are packed a step makes those it needs in the scratch of its
 * threads (matmul.c): the same bits, without the memory, which is what takes most of the time where a virtual machine
 * has to be given it first.
 *
 * Deliberately not packed: float matrices, which are multiplied as they are; an embedding that is not the head as
 * well, of which a step reads a few rows where they stand in the file. */
#include "backend/cpu/cpu.h"

#include "base/checked.h"
#include "base/os.h"
#include "kernel/pack.h"
#include "quant/block.h"

/* File bytes a thread claims at a time: the system maps pages in runs around the one that is read, so small pieces
 * given back beside pieces still being read would come right back. */
enum { CLAIM_BYTES = 4 << 20 };

struct matrix {
    const struct slm_weight *weight;
    const unsigned char *panels;
    atomic_size_t next; /* while packing: the first panel nobody has claimed */
};

struct slm_cpu_weights {
    struct matrix *matrices; /* [n] */
    size_t n;
    unsigned char *memory;
    size_t bytes;
    struct slm_cpu_source source;
    atomic_bool packed; /* what panels point to is there */
};

/* The last may be part empty. */
static size_t n_panels(const struct slm_weight *w) { return (w->n_out + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS; }

static size_t panels_bytes(const struct slm_weight *w)
{
    return n_panels(w) * slm_pack_panel_bytes(w->dtype, w->n_in);
}

/* Float weights have no codes; groups whose scales lie elsewhere, and rows that do not end with a block, stay in the
 * file's form. */
bool slm_cpu_can_pack(const struct slm_op *op)
{
    return op->kind == SLM_OP_MATMUL && slm_pack_has(op->w->dtype) && !op->w->scales && op->w->n_in % SLM_BLOCK == 0;
}

/* Whether op i is the first to multiply with its matrix. */
static bool is_first_use(const struct slm_plan *plan, size_t i)
{
    if (!slm_cpu_can_pack(&plan->ops[i])) return false;
    for (size_t j = 0; j < i; j++)
        if (slm_cpu_can_pack(&plan->ops[j]) && plan->ops[j].w->data == plan->ops[i].w->data) return false;
    return true;
}

uint64_t slm_cpu_weights_bytes(const struct slm_plan *plan)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan->n_ops; i++)
        if (is_first_use(plan, i) && !plan->ops[i].w->packed) bytes += panels_bytes(plan->ops[i].w);
    return bytes;
}

const unsigned char *slm_cpu_weights_find(const struct slm_cpu_weights *weights, const struct slm_weight *w)
{
    for (size_t i = 0; weights && w && i < weights->n; i++)
        if (weights->matrices[i].weight->data == w->data) return weights->matrices[i].panels;
    return NULL;
}

void slm_cpu_pack_panels(const struct slm_weight *w, size_t first, size_t last, unsigned char *panels)
{
    const size_t panel_bytes = slm_pack_panel_bytes(w->dtype, w->n_in);
    for (size_t at = first; at < last; at++, panels += panel_bytes) {
        const size_t r = at * SLM_PANEL_ROWS, left = w->n_out - r;
        slm_pack_panel(w->dtype, w->data + r * w->row_bytes, w->row_bytes,
                       left < SLM_PANEL_ROWS ? left : SLM_PANEL_ROWS, w->n_in, panels);
        if (w->ternary_scale != 0) slm_pack_unit_scales(w->dtype, w->n_in, panels);
    }
}

/* Panels [first, last) of a matrix; then their rows are the file's alone. */
static void pack_run(const struct slm_cpu_source *source, const struct matrix *m, size_t first, size_t last)
{
    const struct slm_weight *w = m->weight;
    const size_t panel_bytes = slm_pack_panel_bytes(w->dtype, w->n_in), row = first * SLM_PANEL_ROWS;
    /* Not the file's: those of its matrices that are panels are not packed. */
    slm_cpu_pack_panels(w, first, last, (unsigned char *)(uintptr_t)m->panels + first * panel_bytes);
    const size_t end = last * SLM_PANEL_ROWS < w->n_out ? last * SLM_PANEL_ROWS : w->n_out;
    if (source->packed) source->packed(source->user, w->data + row * w->row_bytes, (end - row) * w->row_bytes);
}

/* Every thread: claims runs of panels of one matrix after the other. */
static void pack(void *arg, unsigned rank, unsigned n)
{
    const struct slm_cpu_weights *weights = arg;
    const struct slm_cpu_source *source = &weights->source;
    (void)rank, (void)n;
    for (size_t i = 0; i < weights->n; i++) {
        struct matrix *m = &weights->matrices[i];
        if (m->weight->packed) continue;
        const size_t end = n_panels(m->weight), claim = CLAIM_BYTES / (m->weight->row_bytes * SLM_PANEL_ROWS) + 1;
        for (;;) {
            const size_t first = atomic_fetch_add_explicit(&m->next, claim, memory_order_relaxed);
            if (first >= end) break;
            if (source->stops && source->stops(source->user)) return;
            pack_run(source, m, first, end - first < claim ? end : first + claim);
        }
    }
}

/* Gives every matrix its place. */
static void place(struct slm_cpu_weights *weights, const struct slm_plan *plan)
{
    unsigned char *next = weights->memory;
    for (size_t i = 0; i < plan->n_ops; i++) {
        if (!is_first_use(plan, i)) continue;
        struct matrix *m = &weights->matrices[weights->n++];
        m->weight = plan->ops[i].w;
        m->panels = m->weight->packed ? m->weight->data : next;
        if (!m->weight->packed) next += panels_bytes(m->weight);
    }
}

/* All threads pack; at the end the edges of their runs go back to the file too. */
slm_status slm_cpu_weights_pack(struct slm_cpu_weights *weights, struct slm_backend *threads, struct slm_error *error)
{
    const struct slm_cpu_source *source = &weights->source;
    if (slm_cpu_weights_packed(weights)) return SLM_OK;
    for (size_t i = 0; i < weights->n; i++) weights->matrices[i].next = 0;
    slm_cpu_share(threads, pack, weights);
    if (source->stops && source->stops(source->user))
        return slm_fail(error, SLM_ERR_CANCELLED, "weights", "packing was cancelled");
    for (size_t i = 0; source->packed && i < weights->n; i++) {
        const struct slm_weight *w = weights->matrices[i].weight;
        if (!w->packed) source->packed(source->user, w->data, w->n_out * w->row_bytes);
    }
    atomic_store_explicit(&weights->packed, true, memory_order_release);
    return SLM_OK;
}

bool slm_cpu_weights_packed(const struct slm_cpu_weights *weights)
{
    return atomic_load_explicit(&weights->packed, memory_order_acquire);
}

slm_status slm_cpu_weights_open(const struct slm_plan *plan, const struct slm_cpu_source *source,
                                struct slm_cpu_weights **out, struct slm_error *error)
{
    *out = NULL;
    struct slm_cpu_weights *weights = slm_alloc(1, sizeof *weights, "weights", error);
    if (!weights) return SLM_ERR_MEMORY;
    const uint64_t bytes = slm_cpu_weights_bytes(plan);
    slm_status status = SLM_ERR_MEMORY;
    weights->matrices = slm_alloc(plan->n_ops, sizeof *weights->matrices, "weights", error);
    if (weights->matrices && bytes > 0) {
        weights->bytes = (size_t)bytes;
        weights->memory = bytes <= SIZE_MAX ? slm_os()->alloc_pages((size_t)bytes) : NULL;
        if (!weights->memory) slm_fail_memory(error, "weights", (size_t)bytes);
    }
    if (weights->matrices && (weights->memory || bytes == 0)) {
        place(weights, plan);
        weights->source = *source;
        weights->packed = bytes == 0;
        status = SLM_OK;
    }
    if (status != SLM_OK) slm_cpu_weights_close(weights);
    else *out = weights;
    return status;
}

/* Also of one that was opened halfway. */
void slm_cpu_weights_close(struct slm_cpu_weights *weights)
{
    if (!weights) return;
    slm_os()->release_pages(weights->memory, weights->bytes);
    slm_release(weights->matrices);
    slm_release(weights);
}
