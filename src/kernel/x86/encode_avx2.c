/* SPDX-License-Identifier: MIT
 * The encoders that search (kernel/encode.h) in vectors of avx2: the words of vec_avx2.h and the
 * shared text, nothing else. */
#include "kernel/encode.h"

#include "kernel/x86/vec_avx2.h"

#include "kernel/simd_search.h"
#include "kernel/simd_encode.h"

void slm_encoders_fill_avx2(struct slm_encoders *table) { fill_encoders(table); }
