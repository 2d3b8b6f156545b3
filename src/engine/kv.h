/* SPDX-License-Identifier: MIT
 * The KV cache as a pool of fixed-size pages and sequences that hold some of them. The memory is reserved when the pool
 * opens (and only touched as it fills); taking and returning a page is a stack operation. Sequences with a common
 * beginning may hold the same pages: whoever writes to a page that others hold too gets a copy first. */
#ifndef SLM_ENGINE_KV_H
#define SLM_ENGINE_KV_H
#include "backend/backend.h"

struct slm_kv_pool {
    struct slm_kv_layout layout;
    unsigned char *memory; /* [n_pages, page_bytes] */
    size_t n_pages, bytes;
    uint32_t *free_pages;  /* stack of page numbers */
    size_t n_free;
    uint32_t *holders;     /* [n_pages] sequences that hold the page; 0 = free */
};
size_t slm_kv_pages_for(size_t n_tokens);
slm_status slm_kv_pool_open(struct slm_kv_pool *pool, const struct slm_kv_layout *layout, size_t n_pages,
                            struct slm_error *error);
void slm_kv_pool_close(struct slm_kv_pool *pool);

struct slm_kv_seq {
    struct slm_kv_view view; /* what backends see; view.pages is `pages` */
    unsigned char **pages;   /* [cap] */
    size_t cap;
};
/* max_tokens bounds the sequence for its life. */
slm_status slm_kv_seq_open(struct slm_kv_seq *seq, size_t max_tokens, struct slm_error *error);
void slm_kv_seq_close(struct slm_kv_pool *pool, struct slm_kv_seq *seq);
/* Makes the sequence hold exactly the pages that n_tokens need: takes or returns pages. False, and nothing taken, when
 * the pool has too few left. */
bool slm_kv_seq_resize(struct slm_kv_pool *pool, struct slm_kv_seq *seq, size_t n_tokens);
/* The same, and positions from `first` on can be written without another sequence seeing it. */
bool slm_kv_seq_write(struct slm_kv_pool *pool, struct slm_kv_seq *seq, size_t first, size_t n_tokens);
/* Pages for n_tokens, none held by another sequence; what was in them is lost. False, and nothing changed, as above. */
bool slm_kv_seq_renew(struct slm_kv_pool *pool, struct slm_kv_seq *seq, size_t n_tokens);
/* `to` becomes the first n_tokens of `from`: it holds the same pages. Takes no page, so it cannot fail. */
void slm_kv_seq_share(struct slm_kv_pool *pool, struct slm_kv_seq *to, const struct slm_kv_seq *from, size_t n_tokens);
#endif
