/* SPDX-License-Identifier: MIT
 * The page pool and the sequences that kv.h describes: a stack of free page numbers, a list of pages per sequence, and
 * how many sequences hold each page. Deliberately not here: what lies inside a page (backend.h), which sequences have a
 * beginning in common (their owner knows the tokens). */
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
    pool->holders = slm_alloc(n_pages, sizeof *pool->holders, "kv cache", error);
    if (!pool->free_pages || !pool->holders) {
        slm_kv_pool_close(pool);
        return SLM_ERR_MEMORY;
    }
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
    slm_release(pool->holders);
    *pool = (struct slm_kv_pool){0};
}

size_t slm_kv_pages_for(size_t n_tokens) { return (n_tokens + SLM_KV_PAGE_TOKENS - 1) / SLM_KV_PAGE_TOKENS; }

slm_status slm_kv_seq_open(struct slm_kv_seq *seq, size_t max_tokens, struct slm_error *error)
{
    *seq = (struct slm_kv_seq){.cap = slm_kv_pages_for(max_tokens)};
    seq->pages = slm_alloc(seq->cap, sizeof *seq->pages, "kv cache", error);
    if (!seq->pages) return SLM_ERR_MEMORY;
    seq->view.pages = seq->pages;
    return SLM_OK;
}

/* A sequence that was never opened has no pages to return. */
void slm_kv_seq_close(struct slm_kv_pool *pool, struct slm_kv_seq *seq)
{
    if (seq->pages) slm_kv_seq_resize(pool, seq, 0);
    slm_release(seq->pages);
    *seq = (struct slm_kv_seq){0};
}

/* Pages are pointers to backends, numbers here. */
static uint32_t number_of(const struct slm_kv_pool *pool, const unsigned char *page)
{
    return (uint32_t)((size_t)(page - pool->memory) / pool->layout.page_bytes);
}

/* The caller has seen to it that one is left. */
static unsigned char *take(struct slm_kv_pool *pool)
{
    const uint32_t number = pool->free_pages[--pool->n_free];
    pool->holders[number] = 1;
    return pool->memory + number * pool->layout.page_bytes;
}

/* Free when nobody holds it any more. */
static void give_back(struct slm_kv_pool *pool, const unsigned char *page)
{
    const uint32_t number = number_of(pool, page);
    SLM_ASSERT(pool->holders[number] > 0);
    if (--pool->holders[number] == 0) pool->free_pages[pool->n_free++] = number;
}

/* Nothing will be written yet, so nothing is copied. */
bool slm_kv_seq_resize(struct slm_kv_pool *pool, struct slm_kv_seq *seq, size_t n_tokens)
{
    return slm_kv_seq_write(pool, seq, n_tokens, n_tokens);
}

bool slm_kv_seq_write(struct slm_kv_pool *pool, struct slm_kv_seq *seq, size_t first, size_t n_tokens)
{
    const size_t want = slm_kv_pages_for(n_tokens), at = first / SLM_KV_PAGE_TOKENS;
    size_t *held = &seq->view.n_pages;
    SLM_ASSERT(want <= seq->cap && first <= n_tokens);
    /* What lies before `first` in its page is read on, so the page is copied; pages behind it are the sequence's own:
     * they came by writing. */
    const bool copy = first < n_tokens && at < *held && pool->holders[number_of(pool, seq->pages[at])] > 1;
    if ((want > *held ? want - *held : 0) + copy > pool->n_free) return false;
    seq->view.n_tokens = n_tokens;
    if (copy) { /* the page leaves this sequence, not its other holders */
        unsigned char *page = take(pool);
        memcpy(page, seq->pages[at], pool->layout.page_bytes);
        give_back(pool, seq->pages[at]);
        seq->pages[at] = page;
    }
    while (*held < want) seq->pages[(*held)++] = take(pool);
    while (*held > want) give_back(pool, seq->pages[--*held]);
    return true;
}

bool slm_kv_seq_renew(struct slm_kv_pool *pool, struct slm_kv_seq *seq, size_t n_tokens)
{
    size_t n_own = 0; /* pages that come free when this sequence lets them go */
    for (size_t i = 0; i < seq->view.n_pages; i++) n_own += pool->holders[number_of(pool, seq->pages[i])] == 1;
    if (slm_kv_pages_for(n_tokens) > pool->n_free + n_own) return false;
    slm_kv_seq_resize(pool, seq, 0);
    return slm_kv_seq_resize(pool, seq, n_tokens);
}

void slm_kv_seq_share(struct slm_kv_pool *pool, struct slm_kv_seq *to, const struct slm_kv_seq *from, size_t n_tokens)
{
    const size_t n = slm_kv_pages_for(n_tokens);
    SLM_ASSERT(to != from && n <= from->view.n_pages && n <= to->cap);
    slm_kv_seq_resize(pool, to, 0);
    for (size_t i = 0; i < n; i++) {
        to->pages[i] = from->pages[i];
        pool->holders[number_of(pool, to->pages[i])]++;
    }
    /* The last page may be part full: whoever writes on gets a copy of it. */
    to->view.n_pages = n;
    to->view.n_tokens = n_tokens;
}
