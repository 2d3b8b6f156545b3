/* SPDX-License-Identifier: MIT
 * The planner against its own promise, checked the slow way: no two values that are needed at the same time share
 * memory, and between any two conflicting accesses of different partitions there is a barrier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "plan/plan.h"

static struct slm_weight vector(uint32_t n) { return (struct slm_weight){.name = "v", .n_in = n, .n_out = 1}; }
static struct slm_weight matrix(uint32_t n_in, uint32_t n_out)
{
    return (struct slm_weight){.name = "m", .n_in = n_in, .n_out = n_out};
}

/* A decoder of `n_layer` layers with random widths, recorded like a family does. */
struct net { struct slm_weight embd, norm, q, kv, o, up, down, head; };

static struct slm_plan *record(struct net *w, uint32_t seed, int n_layer)
{
    struct slm_rng rng = {.seed = seed};
    const uint32_t head_dim = 2 * (1 + (uint32_t)(slm_rng_next(&rng) % 16)),
                   n_kv = 1 + (uint32_t)(slm_rng_next(&rng) % 3);
    const uint32_t n_head = n_kv * (1 + (uint32_t)(slm_rng_next(&rng) % 3)),
                   d = 8 + (uint32_t)(slm_rng_next(&rng) % 90);
    const uint32_t ff = 8 + (uint32_t)(slm_rng_next(&rng) % 200);
    *w = (struct net){matrix(d, 50), vector(d), matrix(d, n_head * head_dim), matrix(d, n_kv * head_dim),
                      matrix(n_head * head_dim, d), matrix(d, ff), matrix(ff, d), matrix(d, 50)};
    struct slm_plan *p;
    assert_int_equal(slm_plan_new(&p, NULL), SLM_OK);
    const struct slm_rope rope = {.n_rot = head_dim, .base = 10000, .linear_scale = 1, .gain = 1};
    const struct slm_attention shape = {.n_head = n_head, .n_head_kv = n_kv, .head_dim = head_dim, .scale = 1};
    slm_val x = slm_plan_embed(p, &w->embd), table = slm_plan_rope_table(p, &rope);
    for (int l = 0; l < n_layer; l++) {
        slm_plan_layer(p, l);
        slm_val h = slm_plan_rms_norm(p, x, &w->norm, 1e-6f);
        slm_val q = slm_plan_matmul(p, h, &w->q, NULL), k = slm_plan_matmul(p, h, &w->kv, NULL);
        slm_val v = slm_plan_matmul(p, h, &w->kv, NULL);
        q = slm_plan_rope(p, q, table, &rope, head_dim);
        k = slm_plan_rope(p, k, table, &rope, head_dim);
        slm_val a = slm_plan_attention(p, q, k, v, &shape);
        x = slm_plan_add(p, x, slm_plan_matmul(p, a, &w->o, NULL));
        h = slm_plan_rms_norm(p, x, &w->norm, 1e-6f);
        slm_val g = slm_plan_swiglu(p, slm_plan_matmul(p, h, &w->up, NULL), slm_plan_matmul(p, h, &w->up, NULL));
        x = slm_plan_add(p, x, slm_plan_matmul(p, g, &w->down, NULL));
    }
    slm_val out = slm_plan_matmul(p, slm_plan_rms_norm(p, slm_plan_select(p, x), &w->norm, 1e-6f), &w->head, NULL);
    assert_int_equal(slm_plan_finish(p, out, NULL), SLM_OK);
    return p;
}

static bool overlap(const struct slm_value *a, const struct slm_value *b)
{
    return a->offset < b->offset + b->width && b->offset < a->offset + a->width;
}

/* Which value owns each element of a scratch row, op by op: a read must find its own value there. */
static void values_keep_their_memory(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 50; seed++) {
        struct net w;
        struct slm_plan *p = record(&w, seed, 3);
        slm_val *owner = calloc(p->row_elements, sizeof *owner);
        for (size_t i = 0; i < p->n_ops; i++) {
            const struct slm_op *op = &p->ops[i];
            for (int in = 0; in < 2; in++) {
                if (op->in[in] == SLM_NO_VAL) continue;
                const struct slm_value *v = &p->values[op->in[in]];
                for (uint32_t e = 0; e < v->width; e++) assert_int_equal(owner[v->offset + e], op->in[in]);
            }
            if (op->out == SLM_NO_VAL || op->out == p->output) continue;
            const struct slm_value *v = &p->values[op->out];
            assert_true(v->offset + v->width <= p->row_elements);
            /* A matmul reads all of its input while writing: they may not share memory. */
            if (op->kind == SLM_OP_MATMUL || op->kind == SLM_OP_ATTENTION || op->kind == SLM_OP_SELECT)
                assert_false(overlap(v, &p->values[op->in[0]]));
            for (uint32_t e = 0; e < v->width; e++) owner[v->offset + e] = op->out;
        }
        free(owner);
        slm_plan_free(p);
    }
}

static bool same_rows(const struct slm_value *a, const struct slm_value *b)
{
    return a->offset == b->offset && a->width == b->width && a->rows == b->rows;
}

/* Do a (earlier) and b (later) touch a value of the other in a way that needs all threads to have finished a? */
static bool ordered_pair(const struct slm_plan *p, const struct slm_op *a, const struct slm_op *b)
{
    const bool by_rows = slm_op_infos[a->kind].partition == SLM_PARTITION_ROWS &&
                         slm_op_infos[b->kind].partition == SLM_PARTITION_ROWS;
    if ((a->kind == SLM_OP_KV_APPEND || a->kind == SLM_OP_ATTENTION) &&
        (b->kind == SLM_OP_KV_APPEND || b->kind == SLM_OP_ATTENTION) && a->kind != b->kind)
        return true;
    const slm_val as[3] = {a->in[0], a->in[1], a->out}, bs[3] = {b->in[0], b->in[1], b->out};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            if (as[i] == SLM_NO_VAL || bs[j] == SLM_NO_VAL || as[i] == p->output || bs[j] == p->output) continue;
            if (i != 2 && j != 2) continue; /* two reads */
            const struct slm_value *va = &p->values[as[i]], *vb = &p->values[bs[j]];
            /* SELECT walks output rows but reads token rows. */
            const bool selected = (a->kind == SLM_OP_SELECT && i == 0) || (b->kind == SLM_OP_SELECT && j == 0);
            if (overlap(va, vb) && !(by_rows && !selected && same_rows(va, vb))) return true;
        }
    return false;
}

static void barriers_separate_conflicts(void **state)
{
    (void)state;
    for (uint32_t seed = 100; seed < 130; seed++) {
        struct net w;
        struct slm_plan *p = record(&w, seed, 3);
        for (size_t b = 0; b < p->n_ops; b++) {
            bool barrier = p->ops[b].barrier;
            for (size_t a = b; a-- > 0 && !barrier; barrier = p->ops[a].barrier)
                if (ordered_pair(p, &p->ops[a], &p->ops[b]))
                    fail_msg("seed %u: no barrier between op %zu %s and op %zu %s", seed, a,
                             slm_op_infos[p->ops[a].kind].name, b, slm_op_infos[p->ops[b].kind].name);
        }
        /* Where a layer changes its partition, and nowhere else: reused memory must not cost a barrier. */
        assert_true(p->n_barriers <= 3 * 9 + 3);
        slm_plan_free(p);
    }
}

/* The slow way: what goes to the cache, and all that it is made of, is computed for every token; all else for wanted
 * rows alone. Nothing is lost or done twice on the way. */
static void only_the_cache_wants_all_tokens(void **state)
{
    (void)state;
    for (int n_layer = 1; n_layer <= 3; n_layer++) {
        struct net w;
        struct slm_plan *p = record(&w, (uint32_t)n_layer, n_layer);
        bool *cached = calloc(p->n_values, sizeof *cached);
        size_t n_kind[SLM_OP_COUNT] = {0};
        for (size_t i = p->n_ops; i-- > 0;) {
            const struct slm_op *op = &p->ops[i];
            const bool wants = op->kind == SLM_OP_KV_APPEND || (op->out != SLM_NO_VAL && cached[op->out]);
            n_kind[op->kind]++;
            for (int in = 0; in < 2; in++) {
                if (op->in[in] == SLM_NO_VAL) continue;
                if (wants) cached[op->in[in]] = true;
                /* Rows of both kinds never meet but in a selection. */
                if (op->out == SLM_NO_VAL) assert_int_equal(p->values[op->in[in]].rows, SLM_ROWS_TOKENS);
                else if (op->kind != SLM_OP_SELECT)
                    assert_int_equal(p->values[op->in[in]].rows, p->values[op->out].rows);
            }
            if (op->out == SLM_NO_VAL || op->kind == SLM_OP_EMBED || op->kind == SLM_OP_ROPE_TABLE) continue;
            assert_int_equal(p->values[op->out].rows, cached[op->out] ? SLM_ROWS_TOKENS : SLM_ROWS_OUTPUTS);
        }
        const size_t n = (size_t)n_layer;
        assert_int_equal(n_kind[SLM_OP_MATMUL], 7 * n + 1);
        assert_int_equal(n_kind[SLM_OP_ROPE], 2 * n);
        assert_int_equal(n_kind[SLM_OP_ADD], 2 * n);
        assert_int_equal(n_kind[SLM_OP_ATTENTION], n);
        assert_int_equal(n_kind[SLM_OP_SELECT], 3); /* the residual, the table, and what queries are made of */
        free(cached);
        slm_plan_free(p);
    }
}

static void wrong_widths_are_reported(void **state)
{
    (void)state;
    struct slm_plan *p;
    assert_int_equal(slm_plan_new(&p, NULL), SLM_OK);
    const struct slm_weight embd = matrix(16, 50), wrong = matrix(17, 4), head = matrix(4, 50);
    slm_val x = slm_plan_matmul(p, slm_plan_embed(p, &embd), &wrong, NULL);
    assert_int_equal(x, SLM_NO_VAL);
    struct slm_error error;
    assert_int_equal(slm_plan_finish(p, slm_plan_matmul(p, slm_plan_select(p, x), &head, NULL), &error),
                     SLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "width is 16, expected 17"));
    slm_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_their_memory),
        cmocka_unit_test(barriers_separate_conflicts),
        cmocka_unit_test(only_the_cache_wants_all_tokens),
        cmocka_unit_test(wrong_widths_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
