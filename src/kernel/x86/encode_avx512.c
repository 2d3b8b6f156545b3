/* SPDX-License-Identifier: MIT
 * The encoders that search (kernel/encode.h) in vectors of avx512: the words of vec_avx512.h and the
 * shared text, nothing else. */
#include "kernel/encode.h"

#include "kernel/x86/vec_avx512.h"

#include "kernel/simd_search.h"
#include "kernel/simd_encode.h"

void slm_encoders_fill_avx512(struct slm_encoders *table) { fill_encoders(table); }
