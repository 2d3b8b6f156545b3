/* SPDX-License-Identifier: MIT
 * ATTENTION on the CPU. A work item is a run of tokens and one KV head: all their query heads visit each
 * page of the cache once, as a matrix. Softmax runs online, page by page in position order; pages start at multiples of
 * SLM_KV_PAGE_TOKENS of the absolute position, and each element is one chain (kernel.h), so results are a property of
 * the position alone and not of the company. */
#include "backend/cpu/cpu.h"

#include "base/fmath.h"
#include "kernel/pack.h"

#define PAGE SLM_KV_PAGE_TOKENS
_Static_assert(PAGE == (unsigned)SLM_KEYS, "kernels see pages");

#define RUN_ROWS 24u /* query rows worth having together: a few tiles of the kernels */

/* Tokens of a work item. */
static size_t run_tokens(const struct slm_op *op)
{
    const size_t group = op->n_head / op->n_head_kv;
    return group < RUN_ROWS ? RUN_ROWS / group : 1;
}

/* f32 elements an A8 row of n takes. */
static size_t coded_elements(size_t n) { return slm_a8_row_bytes(n) / sizeof(float); }

size_t slm_cpu_attention_elements(const struct slm_op *op)
{
    const size_t rows = run_tokens(op) * (op->n_head / op->n_head_kv), dim = op->head_dim;
    return SLM_PACK_SCRATCH / sizeof(float) + rows * (PAGE + 2 * dim + sizeof(struct slm_cpu_online) / sizeof(float)) +
           rows * coded_elements(dim);
}

/* One work item: what stays the same while its pages are visited. Row r is query head r % group of token r / group. */
struct item {
    const struct slm_backend *cpu;
    const struct slm_op *op;
    void *open;    /* SLM_PACK_SCRATCH bytes: keys in int8 opened up */
    float *scores; /* [rows, PAGE] */
    float *mix;    /* [rows, head_dim] */
    float *q;      /* [rows, head_dim] */
    float *q_coded; /* [rows] A8 rows of head_dim; used with int8 alone */
    struct slm_cpu_online *state; /* [rows] */
    size_t group, rows;
    size_t ahead; /* from blocks of this page to those of the next: bytes, modulo the size of memory */
};

/* From scores to weights: n scores of the page from `first` on become exponentials relative to the greatest score of
 * the row so far, and what was mixed before is brought to the same measure. */
static void fold(const struct item *it, size_t row, size_t first, size_t n)
{
    const struct slm_kernels *kern = &it->cpu->kernels;
    struct slm_cpu_online *s = &it->state[row];
    float *mix = it->mix + row * it->op->head_dim, max = s->max;
    const float page_sum = kern->softmax_part(it->scores + row * PAGE + first, n, &max);
    if (max != s->max) {
        const float keep = slm_expf(s->max - max);
        kern->scale(mix, mix, keep, it->op->head_dim);
        s->sum *= keep;
    }
    s->sum += page_sum;
    s->max = max;
}

/* Slots [first, first + n) of a page's values join the mix of `rows` rows from `row` on. */
static void mix(const struct item *it, size_t row, size_t rows, const unsigned char *values, size_t first, size_t n)
{
    const size_t dim = it->op->head_dim;
    const bool f16 = it->cpu->layout->dtype == SLM_DTYPE_F16;
    const struct slm_mix_args args = {.acc = it->mix + row * dim, .p = it->scores + row * PAGE + first,
                                      .v = values + first * dim * (f16 ? 2 : 4), .n_row = rows, .n = n,
                                      .head_dim = dim, .ahead = it->ahead};
    if (f16) it->cpu->kernels.attn_mix_f16(&args);
    else it->cpu->kernels.attn_mix_f32(&args);
}

/* The same for values in int8. */
static void mix_i8(const struct item *it, size_t row, size_t rows, const unsigned char *values, size_t first, size_t n)
{
    const size_t dim = it->op->head_dim;
    it->cpu->kernels.attn_mix_i8(&(struct slm_mix_i8_args){
        .acc = it->mix + row * dim, .p = it->scores + row * PAGE, .v = (const int8_t *)values,
        .scales = (const float *)(const void *)(values + PAGE * dim), .n_row = rows, .head_dim = dim, .first = first,
        .n = n, .ahead = it->ahead});
}

/* [rows, PAGE] scores of the page, the softcap included. */
static void score(const struct item *it, const unsigned char *keys)
{
    const struct slm_kernels *kern = &it->cpu->kernels;
    const size_t dim = it->op->head_dim;
    const enum slm_dtype type = it->cpu->layout->dtype;
    const struct slm_scores_args args = {.q = it->q, .out = it->scores, .n_row = it->rows, .k = keys,
                                         .head_dim = dim, .scale = it->op->scale, .ahead = it->ahead};
    if (type == SLM_DTYPE_F16) kern->attn_scores_f16(&args);
    else if (type == SLM_DTYPE_F32) kern->attn_scores_f32(&args);
    else
        kern->matmul_packed[type](&(struct slm_packed_args){
            .w = keys, .x = (const unsigned char *)it->q_coded, .out = it->scores, .n_row = PAGE, .n_tok = it->rows,
            .k = dim, .panel_bytes = slm_pack_panel_bytes(type, dim),
            .x_stride = coded_elements(dim) * sizeof(float), .out_stride = PAGE, .scratch = it->open,
            .ahead = it->ahead});
    if (it->op->softcap != 0.0f) kern->softcap(it->scores, it->scores, it->op->softcap, it->rows * PAGE);
}

/* The token of the step that row `row` of the queries belongs to: in the last layer only wanted ones have any. */
static size_t token_of(const struct slm_backend *cpu, const struct slm_op *op, size_t row)
{
    return cpu->plan->values[op->out].rows == SLM_ROWS_OUTPUTS ? cpu->batch->out_rows[row] : row;
}

/* Positions [begin, end) a query sees. */
struct span { size_t begin, end; };

static struct span span_of(const struct slm_backend *cpu, const struct slm_op *op, size_t row)
{
    const size_t token = token_of(cpu, op, row);
    struct span s = {0, (size_t)cpu->batch->positions[token] + 1};
    if (op->window && s.end > op->window) s.begin = s.end - op->window;
    if (op->bidirectional) { /* the last position is included on this side, too */
        const size_t filled = cpu->batch->kv[token]->n_tokens, reach = s.end - 1 + op->window;
        s.end = op->window && reach < filled ? reach : filled;
    }
    return s;
}

/* Page `page` and every query row of the run [first, first + n): scores of all with all of the page, then of each what
 * it sees. */
static void visit_page(const struct item *it, size_t first, size_t n, size_t page, uint32_t head)
{
    const size_t page_begin = page * PAGE, page_end = page_begin + PAGE;
    const size_t token = token_of(it->cpu, it->op, first); /* of the sequence of all */
    const unsigned char *values = slm_cpu_kv_block(it->cpu, token, page, (uint32_t)it->op->layer, true, head);
    void (*const mix_fn)(const struct item *, size_t, size_t, const unsigned char *, size_t, size_t) =
        it->cpu->layout->dtype == SLM_DTYPE_Q8_0 ? mix_i8 : mix;
    score(it, slm_cpu_kv_block(it->cpu, token, page, (uint32_t)it->op->layer, false, head));
    bool whole = true;
    for (size_t t = 0; t < n; t++) {
        const struct span s = span_of(it->cpu, it->op, first + t);
        const size_t begin = s.begin > page_begin ? s.begin : page_begin, end = s.end < page_end ? s.end : page_end;
        for (size_t g = 0; g < it->group && begin < end; g++)
            fold(it, t * it->group + g, begin - page_begin, end - begin);
        whole = whole && begin == page_begin && end == page_end;
    }
    if (whole) {
        mix_fn(it, 0, it->rows, values, 0, PAGE);
        return;
    }
    for (size_t t = 0; t < n; t++) {
        const struct span s = span_of(it->cpu, it->op, first + t);
        const size_t begin = s.begin > page_begin ? s.begin : page_begin, end = s.end < page_end ? s.end : page_end;
        if (begin < end) mix_fn(it, t * it->group, it->group, values, begin - page_begin, end - begin);
    }
}

/* Rows [first, first + n) of one sequence and one KV head: all pages that any of them sees, then the mixes divided by
 * the sums. */
static void attend(const struct slm_worker *w, const struct slm_op *op, size_t first, size_t n, uint32_t head)
{
    const struct slm_backend *cpu = w->cpu;
    const size_t group = op->n_head / op->n_head_kv, dim = op->head_dim, width = dim * op->n_head, rows = n * group;
    struct item it = {.cpu = cpu, .op = op, .open = w->scratch, .group = group, .rows = rows};
    it.scores = w->scratch + SLM_PACK_SCRATCH / sizeof(float);
    it.mix = it.scores + rows * PAGE;
    it.q = it.mix + rows * dim;
    it.q_coded = it.q + rows * dim;
    it.state = (struct slm_cpu_online *)(void *)(it.q_coded + rows * coded_elements(dim));
    memset(it.mix, 0, rows * dim * sizeof(float));
    struct span all = {SIZE_MAX, 0};
    for (size_t t = 0; t < n; t++) {
        const struct span s = span_of(cpu, op, first + t);
        if (s.begin < all.begin) all.begin = s.begin;
        if (s.end > all.end) all.end = s.end;
        memcpy(it.q + t * group * dim, slm_cpu_rows(cpu, op->in[0]) + (first + t) * width + head * group * dim,
               group * dim * sizeof(float));
    }
    for (size_t row = 0; row < rows; row++) it.state[row] = (struct slm_cpu_online){-__builtin_inff(), 0.0f};
    if (cpu->layout->dtype == SLM_DTYPE_Q8_0) { /* sums of codes leave no room for the scale: it goes in before */
        cpu->kernels.scale(it.q, it.q, op->scale, rows * dim);
        for (size_t row = 0; row < rows; row++)
            cpu->kernels.encode_a8(it.q_coded + row * coded_elements(dim), it.q + row * dim, 0, dim, dim);
    }
    const struct slm_kv_view *kv = cpu->batch->kv[token_of(cpu, op, first)];
    for (size_t page = all.begin / PAGE; page * PAGE < all.end; page++) {
        const bool last = (page + 1) * PAGE >= all.end;
        it.ahead = last ? 0 : (uintptr_t)kv->pages[page + 1] - (uintptr_t)kv->pages[page];
        visit_page(&it, first, n, page, head);
    }
    for (size_t t = 0; t < n; t++) {
        float *out = slm_cpu_rows(cpu, op->out) + (first + t) * width + head * group * dim;
        for (size_t g = 0; g < group; g++) {
            const size_t row = t * group + g;
            cpu->kernels.scale(out + g * dim, it.mix + row * dim, 1.0f / it.state[row].sum, dim);
        }
        if (cpu->coders[op->out] == SLM_CODED_BY_MAKER)
            cpu->kernels.encode_a8(slm_cpu_coded_row(cpu, op->out, first + t), out, head * group * dim, group * dim,
                                   width);
    }
}

/* Runs are cut at fixed places of the step, and again where the next token belongs to another sequence. */
void slm_cpu_attention(const struct slm_worker *w, size_t op_index)
{
    const struct slm_op *op = &w->cpu->plan->ops[op_index];
    const struct slm_batch *batch = w->cpu->batch;
    const size_t n_rows = slm_cpu_n_rows(w->cpu, op), run = run_tokens(op);
    const size_t n_items = (n_rows + run - 1) / run * op->n_head_kv;
    for (;;) {
        const size_t i = atomic_fetch_add_explicit(&w->cpu->claims[op_index], 1, memory_order_relaxed);
        if (i >= n_items) return;
        const size_t begin = i / op->n_head_kv * run, end = begin + run < n_rows ? begin + run : n_rows;
        for (size_t first = begin, next; first < end; first = next) {
            const struct slm_kv_view *kv = batch->kv[token_of(w->cpu, op, first)];
            for (next = first + 1; next < end && batch->kv[token_of(w->cpu, op, next)] == kv;) next++;
            attend(w, op, first, next - first, (uint32_t)(i % op->n_head_kv));
        }
    }
}
