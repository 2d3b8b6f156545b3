/* SPDX-License-Identifier: MIT
 * MATMUL on the CPU: threads claim panels of weight rows, unpack a panel to f32 once and multiply it with all tokens of
 * the step. Every output element is one DOT16 chain (kernel.h), whatever the panel, batch or thread. */
#include "backend/cpu/cpu.h"

#define PANEL_ELEMENTS 32768u /* 128 KiB of f32: leaves room in a 512 KiB second-level cache for the activations */

size_t slm_cpu_panel_rows(size_t n_in)
{
    const size_t rows = PANEL_ELEMENTS / n_in & ~(size_t)3;
    return rows < 4 ? 4 : rows > 64 ? 64 : rows;
}

size_t slm_cpu_thread_elements(const struct slm_op *op)
{
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

void slm_cpu_matmul(const struct slm_worker *w, size_t op_index)
{
    const struct slm_backend *cpu = w->cpu;
    const struct slm_op *op = &cpu->plan->ops[op_index];
    const struct slm_weight *weight = op->w;
    const struct slm_value *out_value = &cpu->plan->values[op->out];
    const size_t n_rows = out_value->rows == SLM_ROWS_OUTPUTS ? cpu->batch->n_out : cpu->batch->n_tok;
    const size_t panel = slm_cpu_panel_rows(weight->n_in);
    if (n_rows == 0) return;
    for (;;) {
        const size_t first =
            atomic_fetch_add_explicit(&w->cpu->claims[op_index], panel, memory_order_relaxed);
        if (first >= weight->n_out) return;
        const size_t n = weight->n_out - first < panel ? weight->n_out - first : panel;
        float *out = slm_cpu_rows(cpu, op->out) + first;
        cpu->kernels.matmul(&(struct slm_matmul_args){
            .w = panel_rows(w, weight, first, n), .x = slm_cpu_rows(cpu, op->in[0]), .out = out, .n_row = n,
            .n_tok = n_rows, .k = weight->n_in, .w_stride = weight->n_in, .x_stride = weight->n_in,
            .out_stride = weight->n_out});
        if (!op->bias) continue;
        const float *bias = (const float *)(const void *)op->bias->data + first;
        for (size_t t = 0; t < n_rows; t++)
            cpu->kernels.add(out + t * weight->n_out, out + t * weight->n_out, bias, n);
    }
}
