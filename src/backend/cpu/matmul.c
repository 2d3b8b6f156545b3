/* SPDX-License-Identifier: MIT
 * MATMUL on the CPU: threads claim runs of weight rows and multiply them with all tokens of the step. Weights in
 * panels meet activations in int8; others are unpacked to f32 a run at a time. Every output element is one chain
 * (kernel.h), whatever the run, batch or thread. */
#include "backend/cpu/cpu.h"
#include "kernel/pack.h"

#define PACKED_ROWS 32u       /* what the int8 kernels open up together */
#define PANEL_ELEMENTS 32768u /* 128 KiB of f32: leaves room in a 512 KiB second-level cache for the activations */

size_t slm_cpu_panel_rows(size_t n_in)
{
    const size_t rows = PANEL_ELEMENTS / n_in & ~(size_t)3;
    return rows < 4 ? 4 : rows > 64 ? 64 : rows;
}

size_t slm_cpu_thread_elements(const struct slm_op *op, bool packed)
{
    if (packed) return SLM_PACK_SCRATCH / sizeof(float);
    if (op->kind == SLM_OP_MATMUL)
        return op->w->dtype == SLM_DTYPE_F32 ? 0 : slm_cpu_panel_rows(op->w->n_in) * op->w->n_in;
    /* Scores of one page, and the mix of each query head of a group. */
    if (op->kind == SLM_OP_ATTENTION)
        return SLM_KV_PAGE_TOKENS + (size_t)(op->n_head / op->n_head_kv) * op->head_dim;
    return 0;
}

/* f32 rows of the panel: the file's own when it is f32, else unpacked into the thread's scratch. */
static const float *panel_rows(const struct slm_worker *w, const struct slm_weight *weight, size_t first, size_t n)
{
    const unsigned char *packed = weight->data + first * weight->row_bytes;
    if (weight->dtype == SLM_DTYPE_F32) return (const float *)(const void *)packed;
    w->cpu->kernels.unpack[weight->dtype](packed, w->scratch, n * weight->n_in);
    return w->scratch;
}

/* Products of rows [first, first + n) of the op's weight with all rows of its input. */
static void multiply(const struct slm_worker *w, const struct slm_op *op, size_t first, size_t n, size_t n_tok)
{
    const struct slm_backend *cpu = w->cpu;
    cpu->kernels.matmul(&(struct slm_matmul_args){.w = panel_rows(w, op->w, first, n),
                                                  .x = slm_cpu_rows(cpu, op->in[0]),
                                                  .out = slm_cpu_rows(cpu, op->out) + first,
                                                  .n_row = n,
                                                  .n_tok = n_tok,
                                                  .k = op->w->n_in,
                                                  .w_stride = op->w->n_in,
                                                  .x_stride = op->w->n_in,
                                                  .out_stride = op->w->n_out});
}

static void multiply_packed(const struct slm_worker *w, const struct slm_op *op, const unsigned char *panels,
                            size_t first, size_t n, size_t n_tok)
{
    const struct slm_backend *cpu = w->cpu;
    const size_t panel_bytes = slm_pack_panel_bytes(op->w->dtype, op->w->n_in);
    cpu->kernels.matmul_packed[op->w->dtype](&(struct slm_packed_args){
        .w = panels + first / SLM_PANEL_ROWS * panel_bytes, .x = slm_cpu_coded_row(cpu, op->in[0], 0),
        .out = slm_cpu_rows(cpu, op->out) + first, .n_row = n, .n_tok = n_tok, .k = op->w->n_in,
        .panel_bytes = panel_bytes, .x_stride = 2 * (size_t)op->w->n_in, .out_stride = op->w->n_out,
        .scratch = w->scratch});
}

/* Readers code what its makers could not: each its share of the rows, and all wait for all. */
static void code_input(const struct slm_worker *w, const struct slm_op *op, size_t n_tok)
{
    const struct slm_backend *cpu = w->cpu;
    const size_t k = op->w->n_in, end = n_tok * (w->rank + 1) / w->n;
    for (size_t t = n_tok * w->rank / w->n; t < end; t++)
        cpu->kernels.quantize(slm_cpu_coded_row(cpu, op->in[0], t), slm_cpu_rows(cpu, op->in[0]) + t * k, 0, k, k);
    slm_pool_barrier(cpu->pool, w->rank);
}

void slm_cpu_matmul(const struct slm_worker *w, size_t op_index)
{
    const struct slm_backend *cpu = w->cpu;
    const struct slm_op *op = &cpu->plan->ops[op_index];
    const struct slm_weight *weight = op->w;
    const unsigned char *panels = cpu->panels[op_index];
    const size_t n_rows = cpu->plan->values[op->out].rows == SLM_ROWS_OUTPUTS ? cpu->batch->n_out : cpu->batch->n_tok;
    const size_t run = panels ? PACKED_ROWS : slm_cpu_panel_rows(weight->n_in);
    if (n_rows == 0) return;
    if (panels && cpu->coders[op->in[0]] == SLM_CODED_BY_READER) code_input(w, op, n_rows);
    for (;;) {
        const size_t first = atomic_fetch_add_explicit(&w->cpu->claims[op_index], run, memory_order_relaxed);
        if (first >= weight->n_out) return;
        const size_t n = weight->n_out - first < run ? weight->n_out - first : run;
        if (panels) multiply_packed(w, op, panels, first, n, n_rows);
        else multiply(w, op, first, n, n_rows);
        if (!op->bias) continue;
        float *out = slm_cpu_rows(cpu, op->out) + first;
        const float *bias = (const float *)(const void *)op->bias->data + first;
        for (size_t t = 0; t < n_rows; t++)
            cpu->kernels.add(out + t * weight->n_out, out + t * weight->n_out, bias, n);
    }
}
