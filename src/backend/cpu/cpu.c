/* SPDX-License-Identifier: MIT
 * The CPU backend: every thread walks the same plan (SPMD) and meets the others at the planner's barriers. Work of an
 * op is split by rows (fixed ranges), or claimed piece by piece from a counter; either way each output element is
 * computed by one thread in one fixed order, so results do not depend on who does what.
 * Two tables say how an op is done; an op that is in neither would be a programmer's error, found by the first test.
 *
 * Deliberately not here: arithmetic (kernel/), memory of the KV cache (engine/), what a model is. */
#include "backend/cpu/cpu.h"

#include "base/checked.h"
#include "base/fmath.h"
#include "base/os.h"
#include "kernel/pack.h"

float *slm_cpu_rows(const struct slm_backend *cpu, slm_val val)
{
    if (val == cpu->plan->output) return cpu->batch->logits;
    return cpu->scratch + cpu->plan->values[val].offset * cpu->max_tokens;
}

unsigned char *slm_cpu_coded_row(const struct slm_backend *cpu, slm_val val, size_t row)
{
    const struct slm_value *v = &cpu->plan->values[val];
    return cpu->coded + 2 * (v->offset * cpu->max_tokens + row * (v->width - v->quantized)); /* its scale stays f32 */
}

/* Norm weights and biases are f32 (bind.c sees to it). */
static const float *vector(const struct slm_weight *w) { return w ? (const float *)(const void *)w->data : NULL; }

/* ---- ops split by rows: each does row t of its op ---------------------------------------------------------- */

/* One row of the embedding, unpacked: [n_embd] f32. */
static void op_embed(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const struct slm_weight *w = op->w;
    /* A head that is the embedding as well: its rows in the file were given back. */
    const unsigned char *panels = cpu->panels[op - cpu->plan->ops];
    const size_t row = (size_t)cpu->batch->tokens[t];
    if (panels && cpu->packed) {
        slm_pack_read_row(w->dtype, panels + row / SLM_PANEL_ROWS * slm_pack_panel_bytes(w->dtype, w->n_in),
                          row % SLM_PANEL_ROWS, w->n_in, slm_cpu_rows(cpu, op->out) + t * w->n_in);
        return;
    }
    slm_cpu_unpack_rows(cpu, w, row, 1, slm_cpu_rows(cpu, op->out) + t * w->n_in);
}

/* The weight is as wide as a group: a whole row, or one head of q or k. */
static void op_rms_norm(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width, group = op->w->n_in;
    const float *x = slm_cpu_rows(cpu, op->in[0]) + t * width;
    float *out = slm_cpu_rows(cpu, op->out) + t * width;
    for (size_t g = 0; g < width; g += group) cpu->kernels.rms_norm(out + g, x + g, vector(op->w), group, op->eps);
}

/* Residual connections: [width] + [width]. */
static void op_add(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width;
    cpu->kernels.add(slm_cpu_rows(cpu, op->out) + t * width, slm_cpu_rows(cpu, op->in[0]) + t * width,
                     slm_cpu_rows(cpu, op->in[1]) + t * width, width);
}

/* Gemma multiplies its embeddings. */
static void op_scale(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width;
    cpu->kernels.scale(slm_cpu_rows(cpu, op->out) + t * width, slm_cpu_rows(cpu, op->in[0]) + t * width, op->scale,
                       width);
}

/* Gemma 2 bounds its logits smoothly. */
static void op_softcap(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width;
    cpu->kernels.softcap(slm_cpu_rows(cpu, op->out) + t * width, slm_cpu_rows(cpu, op->in[0]) + t * width,
                         op->softcap, width);
}

/* The gated activations: [n_ff] x [n_ff] -> [n_ff]. */
static void op_geglu(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width;
    cpu->kernels.geglu(slm_cpu_rows(cpu, op->out) + t * width, slm_cpu_rows(cpu, op->in[0]) + t * width,
                       slm_cpu_rows(cpu, op->in[1]) + t * width, width);
}

static void op_relu2glu(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width;
    cpu->kernels.relu2glu(slm_cpu_rows(cpu, op->out) + t * width, slm_cpu_rows(cpu, op->in[0]) + t * width,
                          slm_cpu_rows(cpu, op->in[1]) + t * width, width);
}

/* [n] -> [n + 1]: codes, then their scale. */
static void op_quantize(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t n = cpu->plan->values[op->in[0]].width;
    float *out = slm_cpu_rows(cpu, op->out) + t * (n + 1);
    out[n] = cpu->kernels.quantize(out, slm_cpu_rows(cpu, op->in[0]) + t * n, n);
}

static void op_swiglu(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width;
    cpu->kernels.swiglu(slm_cpu_rows(cpu, op->out) + t * width, slm_cpu_rows(cpu, op->in[0]) + t * width,
                        slm_cpu_rows(cpu, op->in[1]) + t * width, width);
}

/* The angle is position * frequency in f32, as the reference implementations have it: rounding included. */
static void op_rope_table(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t half = op->n_rot / 2;
    const float *inv_freq = op->inv_freq_long && cpu->n_ctx > op->short_ctx ? op->inv_freq_long : op->inv_freq;
    float *cosines = slm_cpu_rows(cpu, op->out) + t * op->n_rot, *sines = cosines + half;
    for (size_t i = 0; i < half; i++) {
        slm_sincosf((float)cpu->batch->positions[t] * inv_freq[i], &sines[i], &cosines[i]);
        sines[i] *= op->rope_gain;
        cosines[i] *= op->rope_gain;
    }
}

/* The rotated part comes first in each head; what lies behind it passes through. */
static void op_rope(const struct slm_backend *cpu, const struct slm_op *op, size_t t)
{
    const size_t width = cpu->plan->values[op->out].width;
    const float *x = slm_cpu_rows(cpu, op->in[0]) + t * width, *table = slm_cpu_rows(cpu, op->in[1]) + t * op->n_rot;
    float *out = slm_cpu_rows(cpu, op->out) + t * width;
    if (out != x) memcpy(out, x, width * sizeof *out);
    for (size_t h = 0; h < width; h += op->head_dim)
        (op->rope_style == SLM_ROPE_NEOX ? cpu->kernels.rope_neox : cpu->kernels.rope_norm)(out + h, table,
                                                                                            op->n_rot);
}

/* From token rows to output rows: the rest of the step is computed for these only. */
static void op_select(const struct slm_backend *cpu, const struct slm_op *op, size_t row)
{
    const size_t width = cpu->plan->values[op->out].width;
    memcpy(slm_cpu_rows(cpu, op->out) + row * width,
           slm_cpu_rows(cpu, op->in[0]) + cpu->batch->out_rows[row] * width, width * sizeof(float));
}

/* ---- running ----------------------------------------------------------------------------------------------- */

static void (*const row_ops[SLM_OP_COUNT])(const struct slm_backend *cpu, const struct slm_op *op, size_t row) = {
    [SLM_OP_EMBED] = op_embed,           [SLM_OP_RMS_NORM] = op_rms_norm, [SLM_OP_ADD] = op_add,
    [SLM_OP_SCALE] = op_scale,           [SLM_OP_SOFTCAP] = op_softcap,
    [SLM_OP_SWIGLU] = op_swiglu,         [SLM_OP_GEGLU] = op_geglu,    [SLM_OP_RELU2GLU] = op_relu2glu,
    [SLM_OP_QUANTIZE] = op_quantize,
    [SLM_OP_ROPE_TABLE] = op_rope_table,
    [SLM_OP_ROPE] = op_rope,             [SLM_OP_KV_APPEND] = slm_cpu_kv_append,
    [SLM_OP_SELECT] = op_select,
};
static void (*const claimed_ops[SLM_OP_COUNT])(const struct slm_worker *w, size_t op_index) = {
    [SLM_OP_MATMUL] = slm_cpu_matmul, [SLM_OP_ATTENTION] = slm_cpu_attention};

/* A value has a row for each token of the step, or for each token whose logits are wanted. */
size_t slm_cpu_n_rows(const struct slm_backend *cpu, const struct slm_op *op)
{
    const bool outputs = op->out != SLM_NO_VAL && cpu->plan->values[op->out].rows == SLM_ROWS_OUTPUTS;
    return outputs ? cpu->batch->n_out : cpu->batch->n_tok;
}

/* Shows a value to the tap: everybody waits while rank 0 does. */
static void show(const struct slm_worker *w, const struct slm_op *op)
{
    slm_pool_barrier(w->cpu->pool, w->rank);
    if (w->rank == 0 && op->out != SLM_NO_VAL)
        w->cpu->tap(w->cpu->tap_user, &w->cpu->plan->values[op->out], slm_cpu_rows(w->cpu, op->out),
                    slm_cpu_n_rows(w->cpu, op));
    slm_pool_barrier(w->cpu->pool, w->rank);
}

/* The int8 form of a row just made, while it is in the cache. */
static void code_row(const struct slm_backend *cpu, slm_val val, size_t row)
{
    if (val == SLM_NO_VAL || cpu->coders[val] != SLM_CODED_BY_MAKER) return;
    const struct slm_value *v = &cpu->plan->values[val];
    const float *x = slm_cpu_rows(cpu, val) + row * v->width;
    if (v->quantized) cpu->kernels.encode_codes(slm_cpu_coded_row(cpu, val, row), x, v->width - 1);
    else cpu->kernels.encode_a8(slm_cpu_coded_row(cpu, val, row), x, 0, v->width, v->width);
}

/* What every thread does: the whole plan, its share of each op. Taps see a value as soon as it is made. */
static void step(void *arg, unsigned rank, unsigned n)
{
    struct slm_backend *cpu = arg;
    const struct slm_worker worker = {cpu, rank, n, cpu->thread_scratch + rank * cpu->thread_elements};
    for (size_t i = 0; i < cpu->plan->n_ops; i++) {
        const struct slm_op *op = &cpu->plan->ops[i];
        if (op->barrier) slm_pool_barrier(cpu->pool, rank);
        if (row_ops[op->kind]) {
            const size_t rows = slm_cpu_n_rows(cpu, op), end = rows * (rank + 1) / n;
            for (size_t row = rows * rank / n; row < end; row++) {
                row_ops[op->kind](cpu, op, row);
                code_row(cpu, op->out, row);
            }
        } else {
            claimed_ops[op->kind](&worker, i);
        }
        if (cpu->tap) show(&worker, op);
    }
}

void slm_cpu_run(struct slm_backend *cpu, const struct slm_batch *batch)
{
/* The engine cuts prompts into chunks that fit. */
    SLM_ASSERT(batch->n_tok <= cpu->max_tokens && batch->n_out <= cpu->max_tokens);
    cpu->batch = batch;
    cpu->packed = cpu->weights && slm_cpu_weights_packed(cpu->weights);
    for (size_t i = 0; i < cpu->plan->n_ops; i++) atomic_store_explicit(&cpu->claims[i], 0, memory_order_relaxed);
    slm_pool_run(cpu->pool, step, cpu);
}

/* The threads have just met at the step's end and are still awake. */
void slm_cpu_share(struct slm_backend *cpu, void (*fn)(void *arg, unsigned rank, unsigned n), void *arg)
{
    slm_pool_run(cpu->pool, fn, arg);
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

/* The greediest op decides, done in the greediest way; ops of one thread follow each other and share the room. */
static size_t thread_elements(const struct slm_plan *plan)
{
    size_t most = 0;
    for (size_t i = 0; i < plan->n_ops; i++)
        for (int packed = 0; packed <= (int)(plan->ops[i].kind == SLM_OP_MATMUL); packed++) {
            const size_t need = slm_cpu_thread_elements(&plan->ops[i], packed != 0);
            if (need > most) most = need;
        }
    return (most + 31) & ~(size_t)31; /* threads do not share cache lines */
}

uint64_t slm_cpu_scratch_bytes(const struct slm_plan *plan, const struct slm_backend_options *options)
{
    /* int8 rows are half as large as f32 ones */
    return plan->row_elements * (uint64_t)options->max_tokens * 6 +
           thread_elements(plan) * (uint64_t)options->n_threads * sizeof(float);
}

/* Finds the values that products with packed weights read, and who will code them. */
static void assign_coders(struct slm_backend *cpu)
{
    const struct slm_plan *plan = cpu->plan;
    for (size_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].kind == SLM_OP_MATMUL && cpu->panels[i]) cpu->coders[plan->ops[i].in[0]] = SLM_CODED_BY_READER;
    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct slm_op *op = &plan->ops[i];
        if (op->out == SLM_NO_VAL || cpu->coders[op->out] == SLM_CODED_NOT) continue;
        const bool whole_blocks = op->kind == SLM_OP_ATTENTION && op->n_head / op->n_head_kv * op->head_dim % 32 == 0;
        if (row_ops[op->kind] || whole_blocks) cpu->coders[op->out] = SLM_CODED_BY_MAKER;
    }
}

/* Sizes, then memory. */
static slm_status allocate(struct slm_backend *cpu, const struct slm_cpu_weights *weights, unsigned n_threads,
                           struct slm_error *error)
{
    const struct slm_plan *plan = cpu->plan;
    size_t row_bytes, thread_bytes;
    if (!slm_mul_size(plan->row_elements, sizeof(float), &row_bytes) ||
        !slm_mul_size(row_bytes, cpu->max_tokens, &cpu->scratch_bytes) ||
        !slm_mul_size(cpu->thread_elements, sizeof(float), &thread_bytes) ||
        !slm_mul_size(thread_bytes, n_threads, &cpu->thread_scratch_bytes))
        return slm_fail(error, SLM_ERR_LIMIT, "cpu backend", "scratch memory for %zu tokens overflows",
                        cpu->max_tokens);
    cpu->coded_bytes = weights ? cpu->scratch_bytes / 2 : 0;
    cpu->claims = slm_alloc(plan->n_ops, sizeof *cpu->claims, "cpu backend", error);
    cpu->coders = slm_alloc(plan->n_values, sizeof *cpu->coders, "cpu backend", error);
    cpu->panels = slm_alloc(plan->n_ops, sizeof *cpu->panels, "cpu backend", error);
    if (!cpu->claims || !cpu->coders || !cpu->panels) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < plan->n_ops; i++) cpu->panels[i] = slm_cpu_weights_find(weights, plan->ops[i].w);
    cpu->scratch = slm_os()->alloc_pages(cpu->scratch_bytes);
    cpu->thread_scratch = slm_os()->alloc_pages(cpu->thread_scratch_bytes);
    if (cpu->coded_bytes) cpu->coded = slm_os()->alloc_pages(cpu->coded_bytes);
    if (!cpu->scratch || !cpu->thread_scratch || (cpu->coded_bytes && !cpu->coded))
        return slm_fail_memory(error, "cpu backend",
                               cpu->scratch_bytes + cpu->coded_bytes + cpu->thread_scratch_bytes);
    return SLM_OK;
}

slm_status slm_cpu_open(const struct slm_plan *plan, const struct slm_kv_layout *layout,
                        const struct slm_backend_options *options, struct slm_backend **out, struct slm_error *error)
{
    struct slm_backend *cpu = slm_alloc(1, sizeof *cpu, "cpu backend", error);
    if (!cpu) return SLM_ERR_MEMORY;
    cpu->plan = plan;
    cpu->layout = layout;
    cpu->max_tokens = options->max_tokens;
    cpu->n_ctx = options->n_ctx;
    cpu->tap = options->tap;
    cpu->tap_user = options->tap_user;
    cpu->weights = options->weights;
    cpu->thread_elements = thread_elements(plan);
    slm_kernels_init(&cpu->kernels, options->cpu_mask);
    slm_status status = allocate(cpu, options->weights, options->n_threads, error);
    if (status == SLM_OK) {
        assign_coders(cpu);
        status = slm_pool_open(options->n_threads, &cpu->pool, error);
    }
    if (status != SLM_OK) {
        slm_cpu_close(cpu);
        return status;
    }
    *out = cpu;
    return SLM_OK;
}

/* Also of one that was opened halfway. */
void slm_cpu_close(struct slm_backend *cpu)
{
    if (!cpu) return;
    slm_pool_close(cpu->pool);
    slm_os()->release_pages(cpu->scratch, cpu->scratch_bytes);
    slm_os()->release_pages(cpu->thread_scratch, cpu->thread_scratch_bytes);
    slm_os()->release_pages(cpu->coded, cpu->coded_bytes);
    slm_release(cpu->panels);
    slm_release(cpu->coders);
    slm_release(cpu->claims);
    slm_release(cpu);
}
