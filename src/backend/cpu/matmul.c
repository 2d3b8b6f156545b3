/* SPDX-License-Identifier: MIT
 * MATMUL on the CPU: threads claim runs of weight rows and multiply them with all tokens of the step. Weights in
 * panels meet activations in int8, also where the panels have yet to be packed: then a run of rows is packed into the
 * thread's scratch. Halves are widened by the kernel, others unpacked to f32 a run at a time. Every
 * output element is one chain (kernel.h), whatever the run, batch or thread. */
#include "backend/cpu/cpu.h"
#include "kernel/pack.h"

#define AHEAD 4096u /* bytes of weights the memory is asked for before they are needed */
/* Rows a thread claims: */
#define PACKED_ROWS 32u       /* what the int8 kernels open up together */
#define PANEL_ELEMENTS 32768u /* 128 KiB of f32: leaves room in a 512 KiB second-level cache for the activations */

size_t slm_cpu_panel_rows(size_t stride)
{
    const size_t rows = PANEL_ELEMENTS / stride & ~(size_t)3;
    return rows < 4 ? 4 : rows > 64 ? 64 : rows;
}

/* Panels of a run of rows that are not in memory, of the type with the largest: what a session needs should not change
 * with the type, for it is told of files that are not there yet. */
static size_t run_bytes(const struct slm_weight *w)
{
    return PACKED_ROWS / SLM_PANEL_ROWS * slm_pack_panel_bytes(SLM_DTYPE_Q8_0, w->n_in);
}

size_t slm_cpu_thread_elements(const struct slm_op *op, bool packed)
{
    if (packed) return (SLM_PACK_SCRATCH + run_bytes(op->w)) / sizeof(float);
    const size_t stride = op->kind == SLM_OP_MATMUL ? slm_weight_stride(op->w) : 0;
    if (op->kind == SLM_OP_MATMUL)
        return op->w->dtype == SLM_DTYPE_F32 ? 0 : slm_cpu_panel_rows(stride) * stride;
    return op->kind == SLM_OP_ATTENTION ? slm_cpu_attention_elements(op) : 0;
}

/* From codes to numbers, in place. Scales and biases of a row are decoded a few groups at a time. */
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

/* What ternary weights are in the blocks of a file becomes -1, 0 and 1. */
static void signs(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)((x[i] > 0) - (x[i] < 0));
}

void slm_cpu_unpack_rows(const struct slm_backend *cpu, const struct slm_weight *w, size_t first, size_t n,
                         float *dst)
{
    const size_t stride = slm_weight_stride(w), panel_bytes = w->packed ? slm_pack_panel_bytes(w->dtype, w->n_in) : 0;
    for (size_t r = 0; r < n && w->packed; r++)
        slm_pack_read_row(w->dtype, w->data + (first + r) / SLM_PANEL_ROWS * panel_bytes, (first + r) % SLM_PANEL_ROWS,
                          w->n_in, dst + r * stride);
    if (w->packed) return;
    cpu->kernels.unpack[w->dtype](w->data + first * w->row_bytes, dst, n * stride);
    if (w->ternary_scale != 0) signs(dst, n * stride);
    for (size_t r = 0; r < n && w->scales; r++) apply_groups(cpu, w, first + r, dst + r * stride);
}

/* How rows meet the input as they are in the file; NULL: they must be unpacked first. */
static void (*direct_kernel(const struct slm_backend *cpu, const struct slm_weight *w))(const struct slm_matmul_args *)
{
    if (w->scales) return NULL;
    return w->dtype == SLM_DTYPE_F32    ? cpu->kernels.matmul
           : w->dtype == SLM_DTYPE_F16  ? cpu->kernels.matmul_f16
           : w->dtype == SLM_DTYPE_BF16 ? cpu->kernels.matmul_bf16
                                        : NULL;
}

/* Products of rows [first, first + n) of the op's weight with all rows of its input. */
static void multiply(const struct slm_worker *w, const struct slm_op *op, size_t first, size_t n, size_t n_tok)
{
    const struct slm_backend *cpu = w->cpu;
    void (*const direct)(const struct slm_matmul_args *) = direct_kernel(cpu, op->w);
    const struct slm_matmul_args args = {.w = direct ? (const void *)(op->w->data + first * op->w->row_bytes)
                                                     : w->scratch,
                                         .x = slm_cpu_rows(cpu, op->in[0]), .out = slm_cpu_rows(cpu, op->out) + first,
                                         .n_row = n, .n_tok = n_tok, .k = op->w->n_in,
                                         .w_stride = slm_weight_stride(op->w),
                                         .x_stride = cpu->plan->values[op->in[0]].width,
                                         .out_stride = op->w->n_out, .far = direct != NULL};
    if (!direct) slm_cpu_unpack_rows(cpu, op->w, first, n, w->scratch);
    (direct ? direct : cpu->kernels.matmul)(&args);
}

/* The same from the panels of these rows; w->scratch is where the kernel opens them up. */
static void multiply_panels(const struct slm_worker *w, const struct slm_op *op, const unsigned char *panels,
                            size_t first, size_t n, size_t n_tok)
{
    const struct slm_backend *cpu = w->cpu;
    cpu->kernels.matmul_packed[op->w->dtype](&(struct slm_packed_args){
        .w = panels, .x = slm_cpu_coded_row(cpu, op->in[0], 0),
        .out = slm_cpu_rows(cpu, op->out) + first, .n_row = n, .n_tok = n_tok, .k = op->w->n_in,
        .panel_bytes = slm_pack_panel_bytes(op->w->dtype, op->w->n_in),
        .x_stride = 2 * (size_t)op->w->n_in, .out_stride = op->w->n_out,
        .scratch = w->scratch, .ahead = AHEAD});
}

/* From panels in memory; or they are packed into the scratch behind the kernel's, a few rows at a time. */
static void multiply_packed(const struct slm_worker *w, const struct slm_op *op, const unsigned char *panels,
                            size_t first, size_t n, size_t n_tok)
{
    const size_t panel = first / SLM_PANEL_ROWS;
    if (op->w->packed || w->cpu->packed) {
        const size_t panel_bytes = slm_pack_panel_bytes(op->w->dtype, op->w->n_in);
        multiply_panels(w, op, panels + panel * panel_bytes, first, n, n_tok);
        return;
    }
    unsigned char *own = (unsigned char *)w->scratch + SLM_PACK_SCRATCH;
    for (size_t at = 0; at < n; at += PACKED_ROWS) {
        const size_t rows = n - at < PACKED_ROWS ? n - at : PACKED_ROWS;
        slm_cpu_pack_panels(op->w, panel + at / SLM_PANEL_ROWS,
                            panel + (at + rows + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS, own);
        multiply_panels(w, op, own, first + at, rows, n_tok);
    }
}

/* Readers code what its makers could not: each its share of the rows, and all wait for all. */
static void code_input(const struct slm_worker *w, const struct slm_op *op, size_t n_tok)
{
    const struct slm_backend *cpu = w->cpu;
    const size_t k = op->w->n_in, end = n_tok * (w->rank + 1) / w->n;
    for (size_t t = n_tok * w->rank / w->n; t < end; t++)
        cpu->kernels.encode_a8(slm_cpu_coded_row(cpu, op->in[0], t), slm_cpu_rows(cpu, op->in[0]) + t * k, 0, k, k);
    slm_pool_barrier(cpu->pool, w->rank);
}

/* Sums of codes become numbers: times the scale of the weights, over that of the token. The sums are integers, so
 * this is where rounding begins. */
static void scale_codes(const struct slm_backend *cpu, const struct slm_op *op, float *out, size_t n, size_t n_rows)
{
    const size_t width = cpu->plan->values[op->in[0]].width;
    const float *x = slm_cpu_rows(cpu, op->in[0]);
    for (size_t t = 0; t < n_rows; t++)
        cpu->kernels.scale(out + t * op->w->n_out, out + t * op->w->n_out,
                           op->w->ternary_scale / x[t * width + width - 1], n);
}

/* The next rows of an op for a thread: a share of what is left, so that a thread reads long stretches of memory and
 * meets the others at the counter a few times an op, and that all end together. False when nothing is left. */
static bool claim(const struct slm_worker *w, size_t op_index, size_t n_out, size_t run, size_t *first, size_t *n)
{
    atomic_size_t *next = &w->cpu->claims[op_index];
    *first = atomic_load_explicit(next, memory_order_relaxed);
    do {
        if (*first >= n_out) return false;
        const size_t left = n_out - *first, share = left / (2 * w->n) / run * run;
        *n = share > run ? share : left < run ? left : run;
    } while (!atomic_compare_exchange_weak_explicit(next, first, *first + *n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/* All threads; each claims runs of output features until none is left. */
void slm_cpu_matmul(const struct slm_worker *w, size_t op_index)
{
    const struct slm_backend *cpu = w->cpu;
    const struct slm_op *op = &cpu->plan->ops[op_index];
    const struct slm_weight *weight = op->w;
    const unsigned char *panels = cpu->panels[op_index];
    const size_t n_rows = slm_cpu_n_rows(cpu, op);
    const size_t run = panels ? PACKED_ROWS : slm_cpu_panel_rows(slm_weight_stride(weight));
    if (n_rows == 0) return;
    if (panels && cpu->coders[op->in[0]] == SLM_CODED_BY_READER) code_input(w, op, n_rows);
    for (size_t first, n; claim(w, op_index, weight->n_out, run, &first, &n);) {
        if (panels) multiply_packed(w, op, panels, first, n, n_rows);
        else
            for (size_t at = 0; at < n; at += run) multiply(w, op, first + at, n - at < run ? n - at : run, n_rows);
        float *out = slm_cpu_rows(cpu, op->out) + first;
        if (weight->ternary_scale != 0) scale_codes(cpu, op, out, n, n_rows);
        if (!op->bias) continue;
        const float *bias = (const float *)(const void *)op->bias->data + first;
        for (size_t t = 0; t < n_rows; t++)
            cpu->kernels.add(out + t * weight->n_out, out + t * weight->n_out, bias, n);
    }
}
