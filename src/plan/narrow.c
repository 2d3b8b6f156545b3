/* SPDX-License-Identifier: MIT
 * Computes nothing for tokens whose results nobody reads. Build functions select the rows whose logits are wanted just
 * before the head; here the selection moves up the plan as far as it goes, through every operation that treats its rows
 * alone. It stops below what all tokens need: in the last layer keys and values, which go to the cache. Queries,
 * attention, the feed-forward part and all residuals of that layer are then computed for wanted rows only, and not at
 * all in a piece of a prompt that wants none. The bits of a row do not depend on its company, so nothing else changes.
 *
 * Deliberately not here: memory and barriers (planner.c), which see the narrowed plan. */
#include "base/os.h"
#include "plan/plan.h"

/* Rows of the result depend on the same rows of what is read, and on the cache. */
static const bool row_by_row[SLM_OP_COUNT] = {
    [SLM_OP_RMS_NORM] = true,  [SLM_OP_MATMUL] = true, [SLM_OP_QUANTIZE] = true, [SLM_OP_ADD] = true,
    [SLM_OP_SCALE] = true,     [SLM_OP_SOFTCAP] = true, [SLM_OP_SWIGLU] = true,  [SLM_OP_GEGLU] = true,
    [SLM_OP_RELU2GLU] = true,  [SLM_OP_ROPE] = true,    [SLM_OP_ATTENTION] = true,
};

struct narrowing {
    struct slm_plan *plan, new;
    bool *for_all;    /* [n_values] of the plan: somebody reads the rows of all tokens */
    slm_val *now;     /* [n_values] of the plan: the value in the new one */
    slm_val *selected; /* [n_values] of the new plan, as far as they are: its wanted rows, or SLM_NO_VAL */
};

/* Is the op computed for wanted rows only? Not if its value goes nowhere: somebody may look at it all the same. */
static bool is_narrowed(const struct narrowing *n, const struct slm_op *op)
{
    if (op->out == SLM_NO_VAL || !row_by_row[op->kind] || n->for_all[op->out]) return false;
    const struct slm_value *out = &n->plan->values[op->out];
    return out->rows == SLM_ROWS_TOKENS && out->last > out->first;
}

/* From the end, so that all readers of a value are known before its maker is asked. */
static void find_readers(struct narrowing *n)
{
    for (size_t i = n->plan->n_ops; i-- > 0;) {
        const struct slm_op *op = &n->plan->ops[i];
        if (op->kind == SLM_OP_SELECT || is_narrowed(n, op)) continue;
        for (int k = 0; k < 2; k++)
            if (op->in[k] != SLM_NO_VAL) n->for_all[op->in[k]] = true;
    }
}

/* The wanted rows of a value of the new plan; several ops share one selection. */
static slm_val select_rows(struct narrowing *n, slm_val val)
{
    if (n->new.values[val].rows == SLM_ROWS_OUTPUTS) return val;
    if (n->selected[val] == SLM_NO_VAL) {
        n->selected[val] = slm_plan_select(&n->new, val);
        if (n->selected[val] != SLM_NO_VAL) n->selected[n->selected[val]] = SLM_NO_VAL;
    }
    return n->selected[val];
}

/* Records an op anew, with what it reads now. */
static void move(struct narrowing *n, const struct slm_op *old)
{
    const bool narrow = is_narrowed(n, old);
    struct slm_op op = *old;
    for (int k = 0; k < 2; k++) {
        if (op.in[k] == SLM_NO_VAL) continue;
        op.in[k] = narrow ? select_rows(n, n->now[op.in[k]]) : n->now[op.in[k]];
        if (op.in[k] == SLM_NO_VAL) return; /* out of memory: the plan says so */
    }
    if (op.out == SLM_NO_VAL) {
        slm_plan_record(&n->new, op, 0, SLM_ROWS_TOKENS);
        return;
    }
    const struct slm_value *was = &n->plan->values[old->out];
    op.out = slm_plan_record(&n->new, op, was->width, narrow ? SLM_ROWS_OUTPUTS : was->rows);
    if (op.out == SLM_NO_VAL) return;
    n->new.values[op.out].name = was->name;
    n->new.values[op.out].quantized = was->quantized;
    n->now[old->out] = op.out;
    n->selected[op.out] = SLM_NO_VAL;
}

/* A selection of what was narrowed is there already. */
static void rebuild(struct narrowing *n)
{
    for (size_t i = 0; i < n->plan->n_ops && n->new.error.status == SLM_OK; i++) {
        const struct slm_op *op = &n->plan->ops[i];
        n->new.layer = op->layer;
        if (op->kind == SLM_OP_SELECT) n->now[op->out] = select_rows(n, n->now[op->in[0]]);
        else move(n, op);
    }
}

slm_status slm_plan_narrow(struct slm_plan *plan, struct slm_error *error)
{
    struct narrowing n = {.plan = plan, .new = {.layer = -1}};
    struct slm_plan *const new = &n.new;
    n.for_all = slm_alloc(plan->n_values, sizeof *n.for_all, "plan", &new->error);
    n.now = slm_alloc(plan->n_values, sizeof *n.now, "plan", &new->error);
    /* Each value may get a selection beside it, and that is all that is added. */
    n.selected = slm_alloc(plan->n_values, 2 * sizeof *n.selected, "plan", &new->error);
    if (new->error.status == SLM_OK) {
        find_readers(&n);
        rebuild(&n);
    }
    const slm_status status = new->error.status;
    if (status == SLM_OK) {
        const struct slm_plan old = *plan;
        plan->ops = new->ops, plan->n_ops = new->n_ops, plan->cap_ops = new->cap_ops;
        plan->values = new->values, plan->n_values = new->n_values, plan->cap_values = new->cap_values;
        plan->output = n.now[old.output];
        new->ops = old.ops, new->values = old.values;
    } else if (error) {
        *error = new->error;
    }
    slm_release(new->ops);
    slm_release(new->values);
    slm_release(n.for_all);
    slm_release(n.now);
    slm_release(n.selected);
    return status;
}
