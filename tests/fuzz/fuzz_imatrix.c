/* SPDX-License-Identifier: MIT
 * Fuzzes importance matrices: a GGUF file in memory. What is found in one can be read to its last element, is finite,
 * not negative, and has a mean of about 1. */
#include <math.h>
#include "tune/imatrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const names[] = {"blk.0.ffn_up.weight", "output.weight", ""};
    struct slm_imatrix m;
    const struct slm_gguf_limits limits = {.max_array = 1 << 16};
    struct slm_gguf *gguf;
    if (slm_gguf_open_memory(data, bytes, "fuzz", &limits, &gguf, NULL) != SLM_OK) return 0;
    if (slm_imatrix_take(gguf, &m, NULL) != SLM_OK) return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (uint64_t n = 1; n <= 64; n *= 2) {
            const float *values;
            double sum = 0;
            if (slm_imatrix_find(&m, slm_str(names[i]), n, &values, NULL) != SLM_OK || !values) continue;
            for (uint64_t k = 0; k < n; k++) {
                SLM_ASSERT(values[k] >= 0 && isfinite(values[k]));
                sum += (double)values[k];
            }
            SLM_ASSERT(fabs(sum / (double)n - 1) < 1e-3);
        }
    slm_imatrix_close(&m);
    return 0;
}
