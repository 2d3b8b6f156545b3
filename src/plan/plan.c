/* SPDX-License-Identifier: MIT
 * Recording: each slm_plan_* call appends one operation and the value it makes, checking widths. What is checked here
 * is the family file against itself; files were checked when their tensors were bound.
 *
 * A value remembers the op that makes it and the last op that reads it: that is all the planner needs to give it
 * memory. Widths are those of one row; how many rows there are is known only when a step is run. Deliberately not
 * here: memory and barriers (planner.c), arithmetic (the backends). */
#include "plan/plan.h"

#include "base/fmath.h"
#include "base/os.h"

const struct slm_op_info slm_op_infos[SLM_OP_COUNT] = {
#define X(name, part) [SLM_OP_##name] = {#name, SLM_PARTITION_##part},
    SLM_OPS(X)
#undef X
};

/* ---- lifetime ---------------------------------------------------------------------------------------------- */

slm_status slm_plan_new(struct slm_plan **out, struct slm_error *error)
{
    struct slm_plan *plan = slm_alloc(1, sizeof *plan, "plan", error);
    if (!plan) return SLM_ERR_MEMORY;
    plan->layer = -1;
    plan->output = SLM_NO_VAL;
    *out = plan;
    return SLM_OK;
}

void slm_plan_free(struct slm_plan *plan)
{
    if (!plan) return;
    slm_arena_release(&plan->arena);
    slm_release(plan->ops);
    slm_release(plan->values);
    slm_release(plan);
}

void slm_plan_layer(struct slm_plan *plan, int32_t layer) { plan->layer = layer; }

slm_val slm_plan_name(struct slm_plan *plan, slm_val val, const char *name)
{
    if (val != SLM_NO_VAL) plan->values[val].name = name;
    return val;
}

/* Room for one more op and one more value; both arrays double. */
static bool reserve(struct slm_plan *plan)
{
    if (plan->n_ops == plan->cap_ops) {
        const size_t cap = plan->cap_ops ? plan->cap_ops * 2 : 64;
        struct slm_op *ops = slm_realloc(plan->ops, cap, sizeof *ops, "plan", &plan->error);
        if (!ops) return false;
        plan->ops = ops;
        plan->cap_ops = cap;
    }
    if (plan->n_values == plan->cap_values) {
        const size_t cap = plan->cap_values ? plan->cap_values * 2 : 64;
        struct slm_value *values = slm_realloc(plan->values, cap, sizeof *values, "plan", &plan->error);
        if (!values) return false;
        plan->values = values;
        plan->cap_values = cap;
    }
    return true;
}

/* Sticky errors: after the first failure nothing is usable any more. */
static bool usable(struct slm_plan *plan, slm_val v)
{
    if (plan->error.status != SLM_OK) return false;
    if (v >= 0 && (size_t)v < plan->n_values) return true;
    slm_fail(&plan->error, SLM_ERR_ARGUMENT, "plan", "an operation reads a value that was not recorded");
    return false;
}

/* The one check of recording: two widths that must be equal. */
static bool widths_agree(struct slm_plan *plan, enum slm_op_kind kind, size_t have, size_t want)
{
    if (have == want) return true;
    slm_fail(&plan->error, SLM_ERR_ARGUMENT, "plan", "%s in layer %d: width is %zu, expected %zu",
             slm_op_infos[kind].name, (int)plan->layer, have, want);
    return false;
}

/* Appends op; gives it a value of the given width unless width is 0. Marks the inputs as used here. */
slm_val slm_plan_record(struct slm_plan *plan, struct slm_op op, uint32_t width, enum slm_rows rows)
{
    if (!reserve(plan)) return SLM_NO_VAL;
    const int32_t index = (int32_t)plan->n_ops;
    for (int i = 0; i < 2; i++)
        if (op.in[i] != SLM_NO_VAL) plan->values[op.in[i]].last = index;
/* Whoever builds says once a layer where it is. */
    op.layer = plan->layer;
    op.out = SLM_NO_VAL;
    if (width) {
        op.out = (slm_val)plan->n_values++;
        plan->values[op.out] = (struct slm_value){.name = slm_op_infos[op.kind].name, .layer = plan->layer,
                                                  .width = width, .rows = rows, .first = index, .last = index};
    }
    plan->ops[plan->n_ops++] = op;
    return op.out;
}

/* ---- operations -------------------------------------------------------------------------------------------- */

/* [n_vocab, n_embd] -> one row a token. */
slm_val slm_plan_embed(struct slm_plan *plan, const struct slm_weight *w)
{
    if (plan->error.status != SLM_OK) return SLM_NO_VAL;
    const struct slm_op op = {.kind = SLM_OP_EMBED, .in = {SLM_NO_VAL, SLM_NO_VAL}, .w = w};
    return slm_plan_record(plan, op, w->n_in, SLM_ROWS_TOKENS);
}

/* The weight may be narrower than the row: then each group of its width is normalised alone (heads). */
slm_val slm_plan_rms_norm(struct slm_plan *plan, slm_val x, const struct slm_weight *w, float eps)
{
    if (!usable(plan, x)) return SLM_NO_VAL;
    const uint32_t width = plan->values[x].width;
    if (!widths_agree(plan, SLM_OP_RMS_NORM, width % w->n_in, 0)) return SLM_NO_VAL;
    const struct slm_op op = {.kind = SLM_OP_RMS_NORM, .in = {x, SLM_NO_VAL}, .w = w, .eps = eps};
    return slm_plan_record(plan, op, width, plan->values[x].rows);
}

/* A row of n becomes n codes and their scale. */
slm_val slm_plan_quantize(struct slm_plan *plan, slm_val x)
{
    if (!usable(plan, x)) return SLM_NO_VAL;
    const struct slm_op op = {.kind = SLM_OP_QUANTIZE, .in = {x, SLM_NO_VAL}};
    const slm_val out = slm_plan_record(plan, op, plan->values[x].width + 1, plan->values[x].rows);
    if (out != SLM_NO_VAL) plan->values[out].quantized = true;
    return out;
}

/* Integers up to 2^24 are f32 numbers, so sums of products of codes are exact up to so many elements a row. */
enum { MAX_QUANTIZED = (1 << 24) / 128 };

/* [rows, n_in] x [n_out, n_in]^T -> [rows, n_out]. */
static slm_val record_matmul(struct slm_plan *plan, slm_val x, const struct slm_weight *w,
                             const struct slm_weight *bias)
{
    if (!usable(plan, x)) return SLM_NO_VAL;
    const bool quantized = plan->values[x].quantized;
    SLM_ASSERT(quantized == (w->ternary_scale != 0));
    if (!widths_agree(plan, SLM_OP_MATMUL, plan->values[x].width, (size_t)w->n_in + quantized)) return SLM_NO_VAL;
    if (quantized && w->n_in > MAX_QUANTIZED) {
        slm_fail(&plan->error, SLM_ERR_LIMIT, "plan", "ternary rows of %u elements; at most %d are exact", w->n_in,
                 MAX_QUANTIZED);
        return SLM_NO_VAL;
    }
    if (bias && !widths_agree(plan, SLM_OP_MATMUL, bias->n_in, w->n_out)) return SLM_NO_VAL;
    const struct slm_op op = {.kind = SLM_OP_MATMUL, .in = {x, SLM_NO_VAL}, .w = w, .bias = bias};
    return slm_plan_record(plan, op, w->n_out, plan->values[x].rows);
}

/* Elementwise over two values of one shape. */
static slm_val record_pair(struct slm_plan *plan, enum slm_op_kind kind, slm_val a, slm_val b)
{
    if (!usable(plan, a) || !usable(plan, b)) return SLM_NO_VAL;
    const uint32_t width = plan->values[a].width;
/* Token rows and output rows never meet in one op. */
    SLM_ASSERT(plan->values[a].rows == plan->values[b].rows);
    if (!widths_agree(plan, kind, plan->values[b].width, width)) return SLM_NO_VAL;
    return slm_plan_record(plan, (struct slm_op){.kind = kind, .in = {a, b}}, width, plan->values[a].rows);
}

/* Adapters go beside the weight, not into it: quantized weights stay as they are, and where the file has them. */
slm_val slm_plan_matmul(struct slm_plan *plan, slm_val x, const struct slm_weight *w, const struct slm_weight *bias)
{
    const slm_val out = record_matmul(plan, x, w, bias);
    if (!w->low_rank || !usable(plan, x)) return out;
    const struct slm_value *v = &plan->values[x]; /* adapters are floats: they read what was quantized */
    const slm_val floats = v->quantized ? plan->ops[v->first].in[0] : x;
    const slm_val low = slm_plan_name(plan, record_matmul(plan, floats, &w->low_rank->down, NULL), "lora_down");
    const slm_val up = slm_plan_name(plan, record_matmul(plan, low, &w->low_rank->up, NULL), "lora_up");
    return slm_plan_add(plan, out, up);
}

slm_val slm_plan_add(struct slm_plan *plan, slm_val a, slm_val b) { return record_pair(plan, SLM_OP_ADD, a, b); }

slm_val slm_plan_swiglu(struct slm_plan *plan, slm_val gate, slm_val up)
{
    return record_pair(plan, SLM_OP_SWIGLU, gate, up);
}

slm_val slm_plan_geglu(struct slm_plan *plan, slm_val gate, slm_val up)
{
    return record_pair(plan, SLM_OP_GEGLU, gate, up);
}

/* The gate of BitNet. */
slm_val slm_plan_relu2glu(struct slm_plan *plan, slm_val gate, slm_val up)
{
    return record_pair(plan, SLM_OP_RELU2GLU, gate, up);
}

/* Elementwise over one value. */
slm_val slm_plan_scale(struct slm_plan *plan, slm_val x, float scale)
{
    if (!usable(plan, x)) return SLM_NO_VAL;
    const struct slm_op op = {.kind = SLM_OP_SCALE, .in = {x, SLM_NO_VAL}, .scale = scale};
    return slm_plan_record(plan, op, plan->values[x].width, plan->values[x].rows);
}

slm_val slm_plan_softcap(struct slm_plan *plan, slm_val x, float cap)
{
/* Most models of a family with caps have none: no op then. */
    if (cap == 0.0f || !usable(plan, x)) return x;
    const struct slm_op op = {.kind = SLM_OP_SOFTCAP, .in = {x, SLM_NO_VAL}, .softcap = cap};
    return slm_plan_record(plan, op, plan->values[x].width, plan->values[x].rows);
}

/* Everything behind this is computed for the wanted rows only. */
slm_val slm_plan_select(struct slm_plan *plan, slm_val x)
{
    if (!usable(plan, x)) return SLM_NO_VAL;
    const bool quantized = plan->values[x].quantized;
    const struct slm_op op = {.kind = SLM_OP_SELECT, .in = {x, SLM_NO_VAL}};
    const slm_val out = slm_plan_record(plan, op, plan->values[x].width, SLM_ROWS_OUTPUTS);
    if (out != SLM_NO_VAL) plan->values[out].quantized = quantized;
    return out;
}

/* [n_rot / 2] in the plan's arena, or NULL with the plan failed. */
static const float *inverse_frequencies(struct slm_plan *plan, const struct slm_rope *rope, const float *factors)
{
    const uint32_t half = rope->n_rot / 2;
    float *inv_freq = slm_arena_alloc(&plan->arena, half, sizeof *inv_freq, "rope", &plan->error);
    for (uint32_t i = 0; inv_freq && i < half; i++) {
        const double freq = slm_pow(rope->base, -2.0 * (double)i / (double)rope->n_rot) / rope->linear_scale;
        inv_freq[i] = (float)(factors ? freq / (double)factors[i] : freq);
    }
    return inv_freq;
}

slm_val slm_plan_rope_table(struct slm_plan *plan, const struct slm_rope *rope)
{
    if (plan->error.status != SLM_OK) return SLM_NO_VAL;
    struct slm_op op = {.kind = SLM_OP_ROPE_TABLE, .in = {SLM_NO_VAL, SLM_NO_VAL}, .rope_gain = rope->gain,
                        .n_rot = rope->n_rot, .short_ctx = rope->short_ctx};
    op.inv_freq = inverse_frequencies(plan, rope, rope->factors);
    if (rope->long_factors) op.inv_freq_long = inverse_frequencies(plan, rope, rope->long_factors);
    if (plan->error.status != SLM_OK) return SLM_NO_VAL;
    return slm_plan_record(plan, op, rope->n_rot, SLM_ROWS_TOKENS);
}

/* Every head of x by the same table row: the table belongs to the position, not to the head. */
slm_val slm_plan_rope(struct slm_plan *plan, slm_val x, slm_val table, const struct slm_rope *rope, uint32_t head_dim)
{
    if (!usable(plan, x) || !usable(plan, table)) return SLM_NO_VAL;
    const uint32_t width = plan->values[x].width;
    if (!widths_agree(plan, SLM_OP_ROPE, width % head_dim, 0)) return SLM_NO_VAL;
    const struct slm_op op = {.kind = SLM_OP_ROPE, .in = {x, table}, .rope_style = rope->style,
                              .n_head = width / head_dim, .head_dim = head_dim, .n_rot = rope->n_rot};
    return slm_plan_record(plan, op, width, SLM_ROWS_TOKENS);
}

/* Two ops: appending is split by rows, attending by heads, and a barrier lies between them. */
slm_val slm_plan_attention(struct slm_plan *plan, slm_val q, slm_val k, slm_val v, const struct slm_attention *a)
{
    if (!usable(plan, q) || !usable(plan, k) || !usable(plan, v)) return SLM_NO_VAL;
    const size_t kv_width = (size_t)a->n_head_kv * a->head_dim, q_width = (size_t)a->n_head * a->head_dim;
    if (!widths_agree(plan, SLM_OP_KV_APPEND, plan->values[k].width, kv_width) ||
        !widths_agree(plan, SLM_OP_KV_APPEND, plan->values[v].width, kv_width) ||
        !widths_agree(plan, SLM_OP_ATTENTION, plan->values[q].width, q_width))
        return SLM_NO_VAL;
    /* The two ops share their shape; only what they read and make differs. */
    struct slm_op op = {.kind = SLM_OP_KV_APPEND, .in = {k, v}, .n_head = a->n_head, .n_head_kv = a->n_head_kv,
                        .head_dim = a->head_dim, .window = a->window, .scale = a->scale,
                        .softcap = a->softcap, .bidirectional = a->bidirectional};
    slm_plan_record(plan, op, 0, SLM_ROWS_TOKENS);
    op.kind = SLM_OP_ATTENTION;
    op.in[0] = q;
    op.in[1] = SLM_NO_VAL;
    return slm_plan_record(plan, op, (uint32_t)q_width, SLM_ROWS_TOKENS);
}

/* The first error of recording, if there was one, is the one worth telling. */
slm_status slm_plan_finish(struct slm_plan *plan, slm_val logits, struct slm_error *error)
{
    if (usable(plan, logits) && plan->values[logits].rows == SLM_ROWS_OUTPUTS) {
        plan->output = logits;
        SLM_TRY(slm_plan_narrow(plan, error));
        return slm_plan_assign(plan, error);
    }
    if (plan->error.status == SLM_OK)
        slm_fail(&plan->error, SLM_ERR_ARGUMENT, "plan", "the logits must come from selected rows");
    if (error) *error = plan->error;
    return plan->error.status;
}
