/* SPDX-License-Identifier: MIT
 * KV_APPEND and ATTENTION on the CPU. A work item is a run of tokens and one KV head: all their query heads visit each
 * page of the cache once, as a matrix. Softmax runs online, page by page in position order; pages start at multiples of
 * SLM_KV_PAGE_TOKENS of the absolute position, and each element is one chain (kernel.h), so results are a property of
 * the position alone and not of the company. */
#include "backend/cpu/cpu.h"

#include "base/fmath.h"

#define PAGE SLM_KV_PAGE_TOKENS
_Static_assert(PAGE == (unsigned)SLM_KEYS, "kernels see pages");

/* Keys or values of one head in one page of the token's sequence: [head_dim, PAGE] or [PAGE, head_dim]. */
static unsigned char *block(const struct slm_backend *cpu, size_t token, size_t page, uint32_t layer, bool value,
                            uint32_t head)
{
    const struct slm_kv_view *kv = cpu->batch->kv[token];
    SLM_ASSERT(page < kv->n_pages);
    return kv->pages[page] + slm_kv_offset(cpu->layout, layer, value, head);
}

/* Keys go side by side: element d of a key into row d of its page, at the slot. */
static void append_key(const struct slm_backend *cpu, unsigned char *dst, const float *src, size_t dim, size_t slot)
{
    for (size_t first = 0; first < dim; first += 64) {
        const size_t n = dim - first < 64 ? dim - first : 64, at = first * PAGE + slot;
        uint16_t half[64];
        if (cpu->layout->dtype == SLM_DTYPE_F16) {
            cpu->kernels.f32_to_f16(half, src + first, n);
            for (size_t d = 0; d < n; d++) ((uint16_t *)(void *)dst)[at + d * PAGE] = half[d];
        } else {
            for (size_t d = 0; d < n; d++) ((float *)(void *)dst)[at + d * PAGE] = src[first + d];
        }
    }
}

void slm_cpu_kv_append(const struct slm_backend *cpu, const struct slm_op *op, size_t row)
{
    const uint32_t position = cpu->batch->positions[row], layer = (uint32_t)op->layer;
    const size_t dim = op->head_dim, width = dim * op->n_head_kv, slot = position % PAGE, page = position / PAGE;
    const float *keys = slm_cpu_rows(cpu, op->in[0]) + row * width;
    const float *values = slm_cpu_rows(cpu, op->in[1]) + row * width;
    for (uint32_t h = 0; h < op->n_head_kv; h++) {
        append_key(cpu, block(cpu, row, page, layer, false, h), keys + h * dim, dim, slot);
        unsigned char *dst = block(cpu, row, page, layer, true, h);
        if (cpu->layout->dtype == SLM_DTYPE_F16)
            cpu->kernels.f32_to_f16((uint16_t *)(void *)dst + slot * dim, values + h * dim, dim);
        else
            memcpy((float *)(void *)dst + slot * dim, values + h * dim, dim * sizeof(float));
    }
}

#define RUN_ROWS 24u /* query rows worth having together: a few tiles of the kernels */

/* Tokens of a work item. */
static size_t run_tokens(const struct slm_op *op)
{
    const size_t group = op->n_head / op->n_head_kv;
    return group < RUN_ROWS ? RUN_ROWS / group : 1;
}

size_t slm_cpu_attention_elements(const struct slm_op *op)
{
    const size_t rows = run_tokens(op) * (op->n_head / op->n_head_kv), dim = op->head_dim;
    return rows * (PAGE + 2 * dim + sizeof(struct slm_cpu_online) / sizeof(float));
}

/* One work item: what stays the same while its pages are visited. Row r is query head r % group of token r / group. */
struct item {
    const struct slm_backend *cpu;
    const struct slm_op *op;
    float *scores; /* [rows, PAGE] */
    float *mix;    /* [rows, head_dim] */
    float *q;      /* [rows, head_dim] */
    struct slm_cpu_online *state; /* [rows] */
    size_t group, rows;
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
                                      .head_dim = dim};
    if (f16) it->cpu->kernels.attn_mix_f16(&args);
    else it->cpu->kernels.attn_mix_f32(&args);
}

/* Positions [begin, end) a token sees. */
struct span { size_t begin, end; };

static struct span span_of(const struct slm_backend *cpu, const struct slm_op *op, size_t token)
{
    struct span s = {0, (size_t)cpu->batch->positions[token] + 1};
    if (op->window && s.end > op->window) s.begin = s.end - op->window;
    if (op->bidirectional) { /* the last position is included on this side, too */
        const size_t filled = cpu->batch->kv[token]->n_tokens, reach = s.end - 1 + op->window;
        s.end = op->window && reach < filled ? reach : filled;
    }
    return s;
}

/* Page `page` and every token of the run [first, first + n): scores of all with all of the page, then of each what it
 * sees. */
static void visit_page(const struct item *it, size_t first, size_t n, size_t page, uint32_t head)
{
    const struct slm_kernels *kern = &it->cpu->kernels;
    const size_t page_begin = page * PAGE, page_end = page_begin + PAGE;
    const unsigned char *values = block(it->cpu, first, page, (uint32_t)it->op->layer, true, head);
    const struct slm_scores_args args = {.q = it->q, .out = it->scores, .n_row = it->rows,
                                         .k = block(it->cpu, first, page, (uint32_t)it->op->layer, false, head),
                                         .head_dim = it->op->head_dim, .scale = it->op->scale};
    if (it->cpu->layout->dtype == SLM_DTYPE_F16) kern->attn_scores_f16(&args);
    else kern->attn_scores_f32(&args);
    if (it->op->softcap != 0.0f) kern->softcap(it->scores, it->scores, it->op->softcap, it->rows * PAGE);
    bool whole = true;
    for (size_t t = 0; t < n; t++) {
        const struct span s = span_of(it->cpu, it->op, first + t);
        const size_t begin = s.begin > page_begin ? s.begin : page_begin, end = s.end < page_end ? s.end : page_end;
        for (size_t g = 0; g < it->group && begin < end; g++)
            fold(it, t * it->group + g, begin - page_begin, end - begin);
        whole = whole && begin == page_begin && end == page_end;
    }
    if (whole) {
        mix(it, 0, it->rows, values, 0, PAGE);
        return;
    }
    for (size_t t = 0; t < n; t++) {
        const struct span s = span_of(it->cpu, it->op, first + t);
        const size_t begin = s.begin > page_begin ? s.begin : page_begin, end = s.end < page_end ? s.end : page_end;
        if (begin < end) mix(it, t * it->group, it->group, values, begin - page_begin, end - begin);
    }
}

/* Tokens [first, first + n) of one sequence and one KV head: all pages that any of them sees, then the mixes divided by
 * the sums. */
static void attend(const struct slm_worker *w, const struct slm_op *op, size_t first, size_t n, uint32_t head)
{
    const struct slm_backend *cpu = w->cpu;
    const size_t group = op->n_head / op->n_head_kv, dim = op->head_dim, width = dim * op->n_head, rows = n * group;
    struct item it = {.cpu = cpu, .op = op, .scores = w->scratch, .group = group, .rows = rows};
    it.mix = it.scores + rows * PAGE;
    it.q = it.mix + rows * dim;
    it.state = (struct slm_cpu_online *)(void *)(it.q + rows * dim);
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
    for (size_t page = all.begin / PAGE; page * PAGE < all.end; page++) visit_page(&it, first, n, page, head);
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
    const size_t run = run_tokens(op), n_items = (batch->n_tok + run - 1) / run * op->n_head_kv;
    for (;;) {
        const size_t i = atomic_fetch_add_explicit(&w->cpu->claims[op_index], 1, memory_order_relaxed);
        if (i >= n_items) return;
        const size_t begin = i / op->n_head_kv * run, end = begin + run < batch->n_tok ? begin + run : batch->n_tok;
        for (size_t first = begin, next; first < end; first = next) {
            for (next = first + 1; next < end && batch->kv[next] == batch->kv[first];) next++;
            attend(w, op, first, next - first, (uint32_t)(i % op->n_head_kv));
        }
    }
}
