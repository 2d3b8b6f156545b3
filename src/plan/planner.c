/* SPDX-License-Identifier: MIT
 * Turns recorded operations into something to run: every value gets a place in a scratch row (places are reused when
 * a value dies), and an operation gets a barrier exactly where another thread's work must be finished first.
 *
 * Places are in elements per row; a backend multiplies by its largest number of rows. Values that live in the same
 * place with the same width are row-compatible: ops split by rows then touch only their own rows of both. */
#include "base/os.h"
#include "plan/plan.h"

/* A place is not reused right after the last read: the next op is often split the same way, and would need a barrier
 * only because its output lies where its neighbour is still reading. */
static bool alive_together(const struct slm_value *a, const struct slm_value *b)
{
    return a->first <= b->last + 1 && b->first <= a->last + 1;
}

/* An op that works row by row, element by element, may write over an input that dies with it. */
static bool can_overwrite(const struct slm_plan *plan, const struct slm_op *op)
{
    static const bool in_place[SLM_OP_COUNT] = {
        [SLM_OP_ADD] = true,    [SLM_OP_SCALE] = true, [SLM_OP_SOFTCAP] = true,  [SLM_OP_SWIGLU] = true,
        [SLM_OP_GEGLU] = true,  [SLM_OP_RELU2GLU] = true, [SLM_OP_ROPE] = true,  [SLM_OP_RMS_NORM] = true,
    };
    if (!in_place[op->kind]) return false;
    return plan->values[op->in[0]].last == plan->values[op->out].first;
}

enum { ALIGN = 16 }; /* elements: rows of a value start on a cache line wherever their width allows it */

/* First fit: the lowest offset where val overlaps no value that is alive at the same time and already placed. */
static size_t first_fit(const struct slm_plan *plan, slm_val val)
{
    const struct slm_value *v = &plan->values[val];
    size_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (slm_val other = 0; other < val; other++) {
            const struct slm_value *o = &plan->values[other];
            if (other == plan->output || !alive_together(v, o)) continue;
            if (offset < o->offset + o->width && o->offset < offset + v->width) {
                offset = (o->offset + o->width + ALIGN - 1) / ALIGN * ALIGN;
                moved = true;
            }
        }
    }
    return offset;
}

/* In order of execution, so that what is placed already is what came before. */
static void assign_memory(struct slm_plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct slm_op *op = &plan->ops[i];
        if (op->out == SLM_NO_VAL || op->out == plan->output) continue;
        struct slm_value *out = &plan->values[op->out];
        if (can_overwrite(plan, op)) {
            /* The input hands its place over: it must not look alive here any more. */
            out->offset = plan->values[op->in[0]].offset;
            plan->values[op->in[0]].last = out->first - 1;
        } else {
            out->offset = first_fit(plan, op->out);
        }
        if (out->offset + out->width > plan->row_elements) plan->row_elements = out->offset + out->width;
    }
}

/* One read or write since the last barrier. The KV cache is one pseudo value beyond the end of scratch. */
struct access {
    size_t begin, end;
    enum slm_partition partition;
    enum slm_rows rows;
    bool write;
};

static bool conflicts(const struct access *a, const struct access *b)
{
    if (!a->write && !b->write) return false;
    if (a->begin >= b->end || b->begin >= a->end) return false;
    const bool same_rows = a->begin == b->begin && a->end == b->end && a->rows == b->rows;
    return !(same_rows && a->partition == SLM_PARTITION_ROWS && b->partition == SLM_PARTITION_ROWS);
}

/* What an op reads and writes, at most four things. */
static size_t accesses_of(const struct slm_plan *plan, const struct slm_op *op, struct access out[4])
{
    const enum slm_partition partition = slm_op_infos[op->kind].partition;
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        if (op->in[i] == SLM_NO_VAL) continue;
        const struct slm_value *v = &plan->values[op->in[i]];
        /* SELECT walks output rows but reads token rows: never row-compatible. */
        out[n++] = (struct access){v->offset, v->offset + v->width,
                                   op->kind == SLM_OP_SELECT ? SLM_PARTITION_FEATURES : partition, v->rows, false};
    }
    if (op->out != SLM_NO_VAL && op->out != plan->output) {
        const struct slm_value *v = &plan->values[op->out];
        out[n++] = (struct access){v->offset, v->offset + v->width, partition, v->rows, true};
    }
    if (op->kind == SLM_OP_KV_APPEND || op->kind == SLM_OP_ATTENTION)
        out[n++] = (struct access){plan->row_elements, plan->row_elements + 1, partition, SLM_ROWS_TOKENS,
                                   op->kind == SLM_OP_KV_APPEND};
    return n;
}

static void assign_barriers(struct slm_plan *plan, struct access *open)
{
    size_t n_open = 0;
    for (size_t i = 0; i < plan->n_ops; i++) {
        struct slm_op *op = &plan->ops[i];
        struct access mine[4];
        const size_t n_mine = accesses_of(plan, op, mine);
        op->barrier = false;
        for (size_t a = 0; a < n_open && !op->barrier; a++)
            for (size_t b = 0; b < n_mine; b++)
                if (conflicts(&open[a], &mine[b])) op->barrier = true;
        if (op->barrier) {
            n_open = 0;
            plan->n_barriers++;
        }
        for (size_t b = 0; b < n_mine; b++) open[n_open++] = mine[b];
    }
}

slm_status slm_plan_assign(struct slm_plan *plan, struct slm_error *error)
{
    plan->row_elements = 0;
    plan->n_barriers = 0;
    assign_memory(plan);
    struct access *open = slm_alloc(plan->n_ops * 4, sizeof *open, "plan", error);
    if (!open) return SLM_ERR_MEMORY;
    assign_barriers(plan, open);
    slm_release(open);
    return SLM_OK;
}
