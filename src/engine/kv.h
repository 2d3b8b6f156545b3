/* SPDX-License-Identifier: MIT
 * The KV cache as a pool of fixed-size pages and sequences that hold some of them. The memory is reserved when the pool
 * opens (and only touched as it fills); taking and returning a page is a stack operation. */
#ifndef SLM_ENGINE_KV_H
#define SLM_ENGINE_KV_H
#include "backend/backend.h"

struct slm_kv_pool {
    struct slm_kv_layout layout;
    unsigned char *memory; /* [n_pages, page_bytes] */
    size_t n_pages, bytes;
    uint32_t *free_pages;  /* stack of page numbers */
    size_t n_free;
};
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
#endif
