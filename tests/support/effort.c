/* SPDX-License-Identifier: MIT
 * See effort.h. What is far too slow follows from one number, so a new kind of build needs a row in tests/run.py only.
 * Deliberately not here: the level a person asks for (SLM_TEST_LEVEL). */
#include "effort.h"

#include <stdlib.h>

enum { FAR_TOO_SLOW = 30 };

double test_slowdown(void)
{
    const char *factor = getenv("SLM_TEST_SLOWDOWN");
    const double value = factor ? strtod(factor, NULL) : 1.0;
    return value > 1.0 ? value : 1.0;
}

bool test_is_far_too_slow(void) { return test_slowdown() >= FAR_TOO_SLOW; }
size_t test_share(size_t n) { return !test_is_far_too_slow() ? n : n < 8 ? 1 : n / 8; }
size_t test_next(size_t n) { return n + 1 + (test_is_far_too_slow() ? n / 16 : 0); }
