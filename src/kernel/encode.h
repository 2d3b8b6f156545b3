/* SPDX-License-Identifier: MIT
 * Encoders that search: for each block format the codes and scales that lose least, by the importance of the elements
 * where it is known. A table of its own beside struct slm_kernels, because only who writes models needs it. The scheme
 * is described in simd_search.h; slm_dtypes[].encode is the plain rounding that these are compared with. */
#ifndef SLM_KERNEL_ENCODE_H
#define SLM_KERNEL_ENCODE_H
#include "quant/quant.h"

struct slm_encoders {
    /* dst: the blocks of x[0..n), n a multiple of the type's block; w[0..n) says what an element's squared error counts
     * (not negative; NULL: all the same). NULL for types that need no search. x must be finite and within +-65504.
     * No memory, threads or I/O. The same bits on every machine. */
    void (*encode[SLM_DTYPE_COUNT])(const float *x, const float *w, void *dst, size_t n);
};

/* Fills the table for these CPU features (base/cpu.h). */
void slm_encoders_init(struct slm_encoders *table, uint64_t features);

/* One for each vector width; called by the above. */
void slm_encoders_fill_ref(struct slm_encoders *table);
void slm_encoders_fill_avx2(struct slm_encoders *table);
void slm_encoders_fill_avx512(struct slm_encoders *table);
#endif
