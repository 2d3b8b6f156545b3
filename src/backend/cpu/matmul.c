/* SPDX-License-Identifier: MIT
 * MATMUL on the CPU: threads claim panels of weight rows, unpack a panel to f32 once and multiply it with all tokens of
 * the step. Every output element is one DOT16 chain (kernel.h), whatever the panel, batch or thread. */
#include "backend/cpu/cpu.h"

#define PANEL_ELEMENTS 32768u /* 128 KiB of f32: leaves room in a 512 KiB second-level cache for the activations */

size_t slm_cpu_panel_rows(size_t stride)
{
    const size_t rows = PANEL_ELEMENTS / stride & ~(size_t)3;
    return rows < 4 ? 4 : rows > 64 ? 64 : rows;
}

size_t slm_cpu_thread_elements(const struct slm_op *op)
{
    const size_t stride = op->kind == SLM_OP_MATMUL ? slm_weight_stride(op->w) : 0;
    if (op->kind == SLM_OP_MATMUL)
        return op->w->dtype == SLM_DTYPE_F32 ? 0 : slm_cpu_panel_rows(stride) * stride;
    /* Scores of one page, and the mix of each query head of a group. */
    if (op->kind == SLM_OP_ATTENTION)
        return SLM_KV_PAGE_TOKENS + (size_t)(op->n_head / op->n_head_kv) * op->head_dim;
    return 0;
}

/* Scales and biases of a row are decoded a few groups at a time. */
static void apply_groups(const struct slm_backend *cpu, const struct slm_weight *w, size_t row, float *x)
{
    enum { MOST = 32 };
    const size_t n_groups = w->n_in / w->group, bytes = slm_dtypes[w->scale_dtype].block_bytes;
    for (size_t g = 0; g < n_groups; g += MOST) {
        const size_t n = n_groups - g < MOST ? n_groups - g : MOST, at = (row * n_groups + g) * bytes;
        float scales[MOST], biases[MOST];
        cpu->kernels.unpack[w->scale_dtype](w->scales + at, scales, n);
        cpu->kernels.unpack[w->scale_dtype](w->biases + at, biases, n);
        cpu->kernels.affine(x + g * w->group, scales, biases, n, w->group);
    }
}

void slm_cpu_unpack_rows(const struct slm_backend *cpu, const struct slm_weight *w, size_t first, size_t n, float *dst)
{
    const size_t stride = slm_weight_stride(w);
    cpu->kernels.unpack[w->dtype](w->data + first * w->row_bytes, dst, n * stride);
    for (size_t r = 0; r < n && w->scales; r++) apply_groups(cpu, w, first + r, dst + r * stride);
}

/* f32 rows of the panel: the file's own when it is f32, else unpacked into the thread's scratch. */
static const float *panel_rows(const struct slm_worker *w, const struct slm_weight *weight, size_t first, size_t n)
{
    if (weight->dtype == SLM_DTYPE_F32)
        return (const float *)(const void *)(weight->data + first * weight->row_bytes);
    slm_cpu_unpack_rows(w->cpu, weight, first, n, w->scratch);
    return w->scratch;
}

/* Sums of codes become numbers: times the scale of the weights, over that of the token. The sums are integers, so this
 * is where rounding begins. */
static void scale_codes(const struct slm_backend *cpu, const struct slm_op *op, float *out, size_t n, size_t n_rows)
{
    const size_t width = cpu->plan->values[op->in[0]].width;
    const float *x = slm_cpu_rows(cpu, op->in[0]);
    for (size_t t = 0; t < n_rows; t++)
        cpu->kernels.scale(out + t * op->w->n_out, out + t * op->w->n_out,
                           op->w->ternary_scale / x[t * width + width - 1], n);
}

void slm_cpu_matmul(const struct slm_worker *w, size_t op_index)
{
    const struct slm_backend *cpu = w->cpu;
    const struct slm_op *op = &cpu->plan->ops[op_index];
    const struct slm_weight *weight = op->w;
    const struct slm_value *out_value = &cpu->plan->values[op->out];
    const size_t n_rows = out_value->rows == SLM_ROWS_OUTPUTS ? cpu->batch->n_out : cpu->batch->n_tok;
    const size_t stride = slm_weight_stride(weight), panel = slm_cpu_panel_rows(stride);
    if (n_rows == 0) return;
    for (;;) {
        const size_t first =
            atomic_fetch_add_explicit(&w->cpu->claims[op_index], panel, memory_order_relaxed);
        if (first >= weight->n_out) return;
        const size_t n = weight->n_out - first < panel ? weight->n_out - first : panel;
        float *out = slm_cpu_rows(cpu, op->out) + first;
        cpu->kernels.matmul(&(struct slm_matmul_args){
            .w = panel_rows(w, weight, first, n), .x = slm_cpu_rows(cpu, op->in[0]), .out = out, .n_row = n,
            .n_tok = n_rows, .k = weight->n_in, .w_stride = stride, .x_stride = cpu->plan->values[op->in[0]].width,
            .out_stride = weight->n_out});
        if (weight->ternary_scale != 0) scale_codes(cpu, op, out, n, n_rows);
        if (!op->bias) continue;
        const float *bias = (const float *)(const void *)op->bias->data + first;
        for (size_t t = 0; t < n_rows; t++)
            cpu->kernels.add(out + t * weight->n_out, out + t * weight->n_out, bias, n);
    }
}
