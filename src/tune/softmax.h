/* SPDX-License-Identifier: MIT
 * Logits as natural logarithms of probabilities, for what evaluates: in double over slm_expf, so that the numbers are
 * the same on every machine. */
#ifndef SLM_TUNE_SOFTMAX_H
#define SLM_TUNE_SOFTMAX_H
#include <stddef.h>
#include "base/fmath.h"

struct slm_softmax { float max; double sum, log_sum; };

/* n >= 1 */
static inline struct slm_softmax slm_softmax_of(const float *x, size_t n)
{
    struct slm_softmax s = {.max = x[0]};
    for (size_t i = 1; i < n; i++) s.max = x[i] > s.max ? x[i] : s.max;
    for (size_t i = 0; i < n; i++) s.sum += (double)slm_expf(x[i] - s.max);
    s.log_sum = slm_ln(s.sum);
    return s;
}

/* Of the element that is x. */
static inline double slm_softmax_log(const struct slm_softmax *s, float x) { return (double)(x - s->max) - s->log_sum; }
#endif
