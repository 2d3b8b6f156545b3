/* SPDX-License-Identifier: MIT
 * The page pool and the sequences that kv.h describes: a stack of free page numbers, and a list of pages per sequence.
 * Deliberately not here: what lies inside a page (backend.h), sharing pages between sequences (comes with serving). */
#include "engine/kv.h"

#include "base/checked.h"
#include "base/os.h"

slm_status slm_kv_pool_open(struct slm_kv_pool *pool, const struct slm_kv_layout *layout, size_t n_pages,
                            struct slm_error *error)
{
    *pool = (struct slm_kv_pool){.layout = *layout, .n_pages = n_pages};
    if (n_pages > UINT32_MAX || !slm_mul_size(n_pages, layout->page_bytes, &pool->bytes))
        return slm_fail(error, SLM_ERR_LIMIT, "kv cache", "%zu pages of %zu bytes are more than can be addressed",
                        n_pages, layout->page_bytes);
    pool->free_pages = slm_alloc(n_pages, sizeof *pool->free_pages, "kv cache", error);
    if (!pool->free_pages) return SLM_ERR_MEMORY;
    pool->memory = slm_os()->alloc_pages(pool->bytes);
    if (!pool->memory) {
        slm_kv_pool_close(pool);
        return slm_fail_memory(error, "kv cache", n_pages * layout->page_bytes);
    }
    /* Lowest page on top, so that memory is touched from the bottom. */
    for (size_t i = 0; i < n_pages; i++) pool->free_pages[i] = (uint32_t)(n_pages - 1 - i);
    pool->n_free = n_pages;
    return SLM_OK;
}

void slm_kv_pool_close(struct slm_kv_pool *pool)
{
    if (pool->memory) slm_os()->release_pages(pool->memory, pool->bytes);
    slm_release(pool->free_pages);
    *pool = (struct slm_kv_pool){0};
}

static size_t pages_for(size_t n_tokens) { return (n_tokens + SLM_KV_PAGE_TOKENS - 1) / SLM_KV_PAGE_TOKENS; }

slm_status slm_kv_seq_open(struct slm_kv_seq *seq, size_t max_tokens, struct slm_error *error)
{
    *seq = (struct slm_kv_seq){.cap = pages_for(max_tokens)};
    seq->pages = slm_alloc(seq->cap, sizeof *seq->pages, "kv cache", error);
    if (!seq->pages) return SLM_ERR_MEMORY;
    seq->view.pages = seq->pages;
    return SLM_OK;
}

void slm_kv_seq_close(struct slm_kv_pool *pool, struct slm_kv_seq *seq)
{
    if (seq->pages) slm_kv_seq_resize(pool, seq, 0);
    slm_release(seq->pages);
    *seq = (struct slm_kv_seq){0};
}

bool slm_kv_seq_resize(struct slm_kv_pool *pool, struct slm_kv_seq *seq, size_t n_tokens)
{
    const size_t want = pages_for(n_tokens);
    size_t *held = &seq->view.n_pages;
    SLM_ASSERT(want <= seq->cap);
    if (want > *held && want - *held > pool->n_free) return false;
    seq->view.n_tokens = n_tokens;
    while (*held < want)
        seq->pages[(*held)++] = pool->memory + pool->free_pages[--pool->n_free] * pool->layout.page_bytes;
    while (*held > want)
        pool->free_pages[pool->n_free++] =
            (uint32_t)((size_t)(seq->pages[--*held] - pool->memory) / pool->layout.page_bytes);
    return true;
}
