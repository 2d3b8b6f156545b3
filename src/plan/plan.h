/* SPDX-License-Identifier: MIT
 * A plan: the flat list of operations one step of a model is, recorded once by the family's build function and then
 * only read. Build functions read like the maths: x = slm_plan_rms_norm(p, x, w, eps).
 *
 * Errors while recording are sticky: every call after the first failure returns SLM_NO_VAL, and slm_plan_finish
 * reports it, so build functions need no checks. */
#ifndef SLM_PLAN_PLAN_H
#define SLM_PLAN_PLAN_H
#include "base/arena.h"
#include "plan/op.h"

struct slm_plan {
    struct slm_op *ops;       /* [n_ops] in execution order */
    size_t n_ops;
    struct slm_value *values; /* [n_values] */
    size_t n_values;
    slm_val output;           /* the logits: OUTPUTS rows, written to the caller's memory, not to scratch */
    bool headless;            /* set before recording: the output is what the head would read, not logits */
    size_t row_elements;      /* scratch a backend needs: this many f32 for each row of a step */
    uint32_t n_barriers;
    /* recording */
    struct slm_arena arena;
    size_t cap_ops, cap_values;
    int32_t layer;
    struct slm_error error;
};

slm_status slm_plan_new(struct slm_plan **out, struct slm_error *error);
void slm_plan_free(struct slm_plan *plan);

/* Values recorded from now on belong to this layer (-1: none). */
void slm_plan_layer(struct slm_plan *plan, int32_t layer);
/* Names a value for taps and profiles; name is a literal. Returns val. */
slm_val slm_plan_name(struct slm_plan *plan, slm_val val, const char *name);

slm_val slm_plan_embed(struct slm_plan *plan, const struct slm_weight *w);
slm_val slm_plan_rms_norm(struct slm_plan *plan, slm_val x, const struct slm_weight *w, float eps);
/* Each row becomes round(x * s), s = 127 / max |x|: the activations of ternary weights. */
slm_val slm_plan_quantize(struct slm_plan *plan, slm_val x);
/* bias may be NULL. x is quantized exactly when w is ternary. */
slm_val slm_plan_matmul(struct slm_plan *plan, slm_val x, const struct slm_weight *w, const struct slm_weight *bias);
slm_val slm_plan_add(struct slm_plan *plan, slm_val a, slm_val b);
slm_val slm_plan_scale(struct slm_plan *plan, slm_val x, float scale);
/* cap 0 records nothing and returns x. */
slm_val slm_plan_softcap(struct slm_plan *plan, slm_val x, float cap);
slm_val slm_plan_swiglu(struct slm_plan *plan, slm_val gate, slm_val up);
slm_val slm_plan_geglu(struct slm_plan *plan, slm_val gate, slm_val up);
slm_val slm_plan_relu2glu(struct slm_plan *plan, slm_val gate, slm_val up);
slm_val slm_plan_select(struct slm_plan *plan, slm_val x);

/* Rotary embedding: frequencies base^(-2i/n_rot), each divided by factors[i] when factors is not NULL ([n_rot/2]) and
 * by linear_scale. The table is recorded once and shared by all layers. */
struct slm_rope {
    uint32_t n_rot;
    double base, linear_scale; /* 10000, 1 */
    const float *factors;
    const float *long_factors; /* instead of factors in sessions whose context is longer than short_ctx; may be NULL */
    uint32_t short_ctx;
    float gain;                /* 1: multiplies cosines and sines */
    enum slm_rope_style style;
};
slm_val slm_plan_rope_table(struct slm_plan *plan, const struct slm_rope *rope);
slm_val slm_plan_rope(struct slm_plan *plan, slm_val x, slm_val table, const struct slm_rope *rope, uint32_t head_dim);

struct slm_attention {
    uint32_t n_head, n_head_kv, head_dim, window;
    float scale, softcap; /* 0 = scores are not capped */
    bool bidirectional;   /* sees what comes after, too; a window then reaches as far to either side */
};
/* Appends k and v to the cache of the current layer, then attends: [.., n_head * head_dim]. */
slm_val slm_plan_attention(struct slm_plan *plan, slm_val q, slm_val k, slm_val v, const struct slm_attention *a);

/* Ends recording: logits must come from selected rows. Leaves out what only others would have read (narrow.c), assigns
 * memory and barriers (planner.c). Values are numbered anew. */
slm_status slm_plan_finish(struct slm_plan *plan, slm_val logits, struct slm_error *error);

/* plan.c: appends op; its value, [rows, width], or SLM_NO_VAL where width is 0 or memory is out (plan->error). Checks
 * nothing. */
slm_val slm_plan_record(struct slm_plan *plan, struct slm_op op, uint32_t width, enum slm_rows rows);
/* narrow.c: moves the selection of wanted rows up as far as it goes. */
slm_status slm_plan_narrow(struct slm_plan *plan, struct slm_error *error);

/* planner.c: lifetimes -> offsets, hazards -> barriers. */
slm_status slm_plan_assign(struct slm_plan *plan, struct slm_error *error);
#endif
