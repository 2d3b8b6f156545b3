/* SPDX-License-Identifier: MIT
 * A growing arena: many small objects with one lifetime, released together. Redzones under ASan. */
#ifndef SLM_BASE_ARENA_H
#define SLM_BASE_ARENA_H
#include "base/error.h"

struct slm_arena_block;
struct slm_arena {
    struct slm_arena_block *head;
    size_t used_bytes; /* sum handed out, for reports */
};
/* A zeroed struct is an empty arena. Returns zeroed memory, 16-byte aligned (64 for requests >=
 * 4096 bytes), or NULL with the error filled. n * size is checked. */
void *slm_arena_alloc(struct slm_arena *arena, size_t n, size_t size, const char *where, struct slm_error *error);
/* NUL-terminated copy of text[0..bytes). */
char *slm_arena_copy(struct slm_arena *arena, const char *text, size_t bytes, struct slm_error *error);
void slm_arena_release(struct slm_arena *arena); /* leaves it empty and usable */
#endif
