/* SPDX-License-Identifier: MIT
 * Importance matrices in the form llama.cpp writes as GGUF: for a matrix NAME the tensors NAME.in_sum2 [n_in], sums of
 * squared inputs, and NAME.counts, how many inputs were summed. Reading only; who collects them writes them. */
#ifndef SLM_TUNE_IMATRIX_H
#define SLM_TUNE_IMATRIX_H
#include "base/arena.h"
#include "format/gguf.h"

struct slm_imatrix {
    struct slm_gguf *gguf;
    struct slm_arena arena;
};

/* Checks what is there, of a file of any origin; takes gguf, which is closed on failure too. */
slm_status slm_imatrix_take(struct slm_gguf *gguf, struct slm_imatrix *out, struct slm_error *error);
/* Every sum is checked: finite and not negative. */
slm_status slm_imatrix_open(const char *path, struct slm_imatrix *out, struct slm_error *error);
void slm_imatrix_close(struct slm_imatrix *imatrix); /* zeroed is fine */
size_t slm_imatrix_n_entries(const struct slm_imatrix *imatrix);
/* *out: [n_in], mean 1, in the arena of the imatrix; NULL when it has no entry for the tensor, or one that saw no
 * inputs. An entry of another width is an error. */
slm_status slm_imatrix_find(struct slm_imatrix *imatrix, struct slm_str tensor, uint64_t n_in, const float **out,
                            struct slm_error *error);
#endif
