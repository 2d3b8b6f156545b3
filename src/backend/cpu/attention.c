/* SPDX-License-Identifier: MIT
 * KV_APPEND and ATTENTION on the CPU. A work item is a run of tokens and one KV head: all their query heads visit each
 * page of the cache once. A page that all of them see whole is opened up to f32 and met by all queries as a matrix; of
 * others every token takes its part. Softmax runs online, page by page in position order; pages start at multiples of
 * SLM_KV_PAGE_TOKENS of the absolute position, and each element is one chain (kernel.h), so results are a property of
 * the position alone and not of the company. */
#include "backend/cpu/cpu.h"

#include "base/fmath.h"

/* [PAGE_TOKENS, head_dim] keys or values of one head in one page of the token's sequence. */
static unsigned char *block(const struct slm_backend *cpu, size_t token, size_t page, uint32_t layer, bool value,
                            uint32_t head)
{
    const struct slm_kv_view *kv = cpu->batch->kv[token];
    SLM_ASSERT(page < kv->n_pages);
    return kv->pages[page] + slm_kv_offset(cpu->layout, layer, value, head);
}

void slm_cpu_kv_append(const struct slm_backend *cpu, const struct slm_op *op, size_t row)
{
    const uint32_t position = cpu->batch->positions[row], slot = position % SLM_KV_PAGE_TOKENS;
    const size_t dim = op->head_dim, width = dim * op->n_head_kv;
    for (int value = 0; value < 2; value++) {
        const float *src = slm_cpu_rows(cpu, op->in[value]) + row * width;
        for (uint32_t h = 0; h < op->n_head_kv; h++) {
            unsigned char *dst = block(cpu, row, position / SLM_KV_PAGE_TOKENS, (uint32_t)op->layer, value, h);
            if (cpu->layout->dtype == SLM_DTYPE_F16)
                cpu->kernels.f32_to_f16((uint16_t *)(void *)dst + slot * dim, src + h * dim, dim);
            else
                memcpy((float *)(void *)dst + slot * dim, src + h * dim, dim * sizeof(float));
        }
    }
}

enum { PAGE = SLM_KV_PAGE_TOKENS };
#define RUN_ROWS 24u /* query rows worth having together: a few tiles of the matrix kernel */
#define FEW_ROWS 4u  /* fewer meet a page faster as it is */

/* Tokens of a work item. */
static size_t run_tokens(const struct slm_op *op)
{
    const size_t group = op->n_head / op->n_head_kv;
    return group < RUN_ROWS ? RUN_ROWS / group : 1;
}

size_t slm_cpu_attention_elements(const struct slm_op *op)
{
    const size_t rows = run_tokens(op) * (op->n_head / op->n_head_kv), dim = op->head_dim;
    return PAGE * dim + rows * (PAGE + 2 * dim + sizeof(struct slm_cpu_online) / sizeof(float));
}

/* One work item: what stays the same while its pages are visited. Row r is query head r % group of token r / group. */
struct item {
    const struct slm_backend *cpu;
    const struct slm_op *op;
    float *page;   /* [PAGE, head_dim] keys or values as f32 */
    float *scores; /* [rows, PAGE] */
    float *mix;    /* [rows, head_dim] */
    float *q;      /* [rows, head_dim] */
    struct slm_cpu_online *state; /* [rows] */
    size_t group, rows;
};

/* From scores to weights: scores of the page become exponentials relative to the greatest score of the row so far, and
 * what was mixed before is brought to the same measure. */
static void fold(const struct item *it, size_t row, size_t n)
{
    const struct slm_kernels *kern = &it->cpu->kernels;
    struct slm_cpu_online *s = &it->state[row];
    float *scores = it->scores + row * PAGE, *mix = it->mix + row * it->op->head_dim, page_max;
    const float page_sum = kern->softmax_part(scores, n, &page_max);
    const float max = page_max > s->max ? page_max : s->max;
    const float keep = slm_expf(s->max - max), take = slm_expf(page_max - max);
    if (keep != 1.0f) kern->scale(mix, mix, keep, it->op->head_dim);
    if (take != 1.0f) kern->scale(scores, scores, take, n);
    s->sum = s->sum * keep + page_sum * take;
    s->max = max;
}

/* Slots [first, first + n) of one page and the query heads of one token of the run. */
static void visit_part(const struct item *it, size_t token, const unsigned char *keys, const unsigned char *values,
                       size_t first, size_t n)
{
    const struct slm_kernels *kern = &it->cpu->kernels;
    const size_t dim = it->op->head_dim, skip = first * dim;
    const uint16_t *keys_f16 = (const uint16_t *)(const void *)keys;
    const uint16_t *values_f16 = (const uint16_t *)(const void *)values;
    const float *keys_f32 = (const float *)(const void *)keys, *values_f32 = (const float *)(const void *)values;
    const bool f16 = it->cpu->layout->dtype == SLM_DTYPE_F16;
    for (size_t row = token * it->group; row < (token + 1) * it->group; row++) {
        float *scores = it->scores + row * PAGE, *mix = it->mix + row * dim;
        const float *q = it->q + row * dim;
        if (f16) kern->attn_scores_f16(scores, q, keys_f16 + skip, n, dim, dim, it->op->scale);
        else kern->attn_scores_f32(scores, q, keys_f32 + skip, n, dim, dim, it->op->scale);
        if (it->op->softcap != 0.0f) kern->softcap(scores, scores, it->op->softcap, n);
        fold(it, row, n);
        if (f16) kern->attn_mix_f16(mix, scores, values_f16 + skip, n, dim, dim);
        else kern->attn_mix_f32(mix, scores, values_f32 + skip, n, dim, dim);
    }
}

/* [PAGE, head_dim] f32 of a block of keys or values. */
static const float *open_block(const struct item *it, const unsigned char *data)
{
    if (it->cpu->layout->dtype == SLM_DTYPE_F32) return (const float *)(const void *)data;
    it->cpu->kernels.f16_to_f32(it->page, (const uint16_t *)(const void *)data, PAGE * (size_t)it->op->head_dim);
    return it->page;
}

/* A whole page and all rows. Every product and sum is the one visit_part() computes. */
static void visit_whole(const struct item *it, const unsigned char *keys, const unsigned char *values)
{
    const struct slm_kernels *kern = &it->cpu->kernels;
    const size_t dim = it->op->head_dim, n = it->rows * PAGE;
    kern->matmul(&(struct slm_matmul_args){.w = open_block(it, keys), .x = it->q, .out = it->scores, .n_row = PAGE,
                                           .n_tok = it->rows, .k = dim, .w_stride = dim, .x_stride = dim,
                                           .out_stride = PAGE});
    kern->scale(it->scores, it->scores, it->op->scale, n);
    if (it->op->softcap != 0.0f) kern->softcap(it->scores, it->scores, it->op->softcap, n);
    for (size_t row = 0; row < it->rows; row++) fold(it, row, PAGE);
    kern->attn_mix_rows(&(struct slm_mix_args){.acc = it->mix, .p = it->scores, .v = open_block(it, values),
                                               .n_row = it->rows, .n = PAGE, .head_dim = dim});
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

/* Page `page` and every token of the run [first, first + n). */
static void visit_page(const struct item *it, size_t first, size_t n, size_t page, uint32_t head)
{
    const size_t page_begin = page * PAGE, page_end = page_begin + PAGE;
    const unsigned char *keys = block(it->cpu, first, page, (uint32_t)it->op->layer, false, head);
    const unsigned char *values = block(it->cpu, first, page, (uint32_t)it->op->layer, true, head);
    bool whole = it->rows >= FEW_ROWS;
    for (size_t t = 0; whole && t < n; t++) {
        const struct span s = span_of(it->cpu, it->op, first + t);
        whole = s.begin <= page_begin && page_end <= s.end;
    }
    if (whole) {
        visit_whole(it, keys, values);
        return;
    }
    for (size_t t = 0; t < n; t++) {
        const struct span s = span_of(it->cpu, it->op, first + t);
        const size_t begin = s.begin > page_begin ? s.begin : page_begin, end = s.end < page_end ? s.end : page_end;
        if (begin < end) visit_part(it, t, keys, values, begin - page_begin, end - begin);
    }
}

/* Tokens [first, first + n) of one sequence and one KV head: all pages that any of them sees, then the mixes divided by
 * the sums. */
static void attend(const struct slm_worker *w, const struct slm_op *op, size_t first, size_t n, uint32_t head)
{
    const struct slm_backend *cpu = w->cpu;
    const size_t group = op->n_head / op->n_head_kv, dim = op->head_dim, width = dim * op->n_head, rows = n * group;
    struct item it = {.cpu = cpu, .op = op, .page = w->scratch, .group = group, .rows = rows};
    it.scores = it.page + PAGE * dim;
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
