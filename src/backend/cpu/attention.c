/* SPDX-License-Identifier: MIT
 * KV_APPEND and ATTENTION on the CPU. A work item is one token and one KV head: all query heads of the group visit
 * each page of the cache once. Softmax runs online, page by page in position order; pages start at multiples of
 * SLM_KV_PAGE_TOKENS of the absolute position, so the order of additions is a property of the position alone. */
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

/* Running state of one query head: greatest score so far, sum of exponentials relative to it. */
struct online { float max, sum; };

/* One work item: what stays the same while its pages are visited. */
struct item {
    const struct slm_backend *cpu;
    const struct slm_op *op;
    const float *q;   /* [group, head_dim] */
    float *scores;    /* [PAGE_TOKENS] */
    float *mix;       /* [group, head_dim] */
    struct online *state; /* [group] */
    uint32_t group;
};

/* Folds slots [first, first + n) of one page into every query head of the item. */
static void visit_page(const struct item *it, const unsigned char *keys, const unsigned char *values, size_t first,
                       size_t n)
{
    const struct slm_kernels *kern = &it->cpu->kernels;
    const size_t dim = it->op->head_dim, skip = first * dim;
    const bool f16 = it->cpu->layout->dtype == SLM_DTYPE_F16;
    for (uint32_t g = 0; g < it->group; g++) {
        struct online *s = &it->state[g];
        float *mix = it->mix + g * dim, page_max;
        const float *q = it->q + g * dim;
        if (f16)
            kern->attn_scores_f16(it->scores, q, (const uint16_t *)(const void *)keys + skip, n, dim, dim,
                                  it->op->scale);
        else
            kern->attn_scores_f32(it->scores, q, (const float *)(const void *)keys + skip, n, dim, dim,
                                  it->op->scale);
        if (it->op->softcap != 0.0f) kern->softcap(it->scores, it->scores, it->op->softcap, n);
        const float page_sum = kern->softmax_part(it->scores, n, &page_max);
        const float max = page_max > s->max ? page_max : s->max;
        const float keep = slm_expf(s->max - max), take = slm_expf(page_max - max);
        if (keep != 1.0f) kern->scale(mix, mix, keep, dim);
        if (take != 1.0f) kern->scale(it->scores, it->scores, take, n);
        s->sum = s->sum * keep + page_sum * take;
        s->max = max;
        if (f16)
            kern->attn_mix_f16(mix, it->scores, (const uint16_t *)(const void *)values + skip, n, dim, dim);
        else
            kern->attn_mix_f32(mix, it->scores, (const float *)(const void *)values + skip, n, dim, dim);
    }
}

/* One token, one KV head: all pages up to the token, then the mix divided by the sum. */
static void attend(const struct slm_worker *w, const struct slm_op *op, size_t token, uint32_t head)
{
    enum { MAX_GROUP = 1024 };
    const struct slm_backend *cpu = w->cpu;
    const uint32_t group = op->n_head / op->n_head_kv;
    const size_t dim = op->head_dim, width = dim * op->n_head;
    struct online state[MAX_GROUP];
    struct item it = {cpu, op, slm_cpu_rows(cpu, op->in[0]) + token * width + head * group * dim, w->scratch,
                      w->scratch + SLM_KV_PAGE_TOKENS, state, group};
    memset(it.mix, 0, group * dim * sizeof(float));
    for (uint32_t g = 0; g < group; g++) state[g] = (struct online){-__builtin_inff(), 0.0f};
    size_t end = (size_t)cpu->batch->positions[token] + 1;
    size_t p = op->window && end > op->window ? end - op->window : 0;
    if (op->bidirectional) { /* the last position is included on this side, too */
        const size_t filled = cpu->batch->kv[token]->n_tokens, reach = end - 1 + op->window;
        end = op->window && reach < filled ? reach : filled;
    }
    while (p < end) {
        const size_t page = p / SLM_KV_PAGE_TOKENS, first = p % SLM_KV_PAGE_TOKENS;
        const size_t left = end - p, room = SLM_KV_PAGE_TOKENS - first, n = left < room ? left : room;
        visit_page(&it, block(cpu, token, page, (uint32_t)op->layer, false, head),
                   block(cpu, token, page, (uint32_t)op->layer, true, head), first, n);
        p += n;
    }
    float *out = slm_cpu_rows(cpu, op->out) + token * width + head * group * dim;
    for (uint32_t g = 0; g < group; g++)
        cpu->kernels.scale(out + g * dim, it.mix + g * dim, 1.0f / state[g].sum, dim);
    if (cpu->coders[op->out] == SLM_CODED_BY_MAKER)
        cpu->kernels.encode_a8(slm_cpu_coded_row(cpu, op->out, token), out, head * group * dim, group * dim, width);
}

void slm_cpu_attention(const struct slm_worker *w, size_t op_index)
{
    const struct slm_op *op = &w->cpu->plan->ops[op_index];
    const size_t n_items = w->cpu->batch->n_tok * op->n_head_kv;
    for (;;) {
        const size_t i = atomic_fetch_add_explicit(&w->cpu->claims[op_index], 1, memory_order_relaxed);
        if (i >= n_items) return;
        attend(w, op, i / op->n_head_kv, (uint32_t)(i % op->n_head_kv));
    }
}
