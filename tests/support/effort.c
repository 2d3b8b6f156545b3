/* SPDX-License-Identifier: MIT
 * See effort.h. What is far too slow follows from one number, so a new kind of build needs a row in tests/run.py only.
 * Deliberately not here: the level a person asks for (SLM_TEST_LEVEL). */
#include "effort.h"

#include <stdlib.h>
#include <time.h>

enum { FAR_TOO_SLOW = 30, LEAST_ROUNDS = 3, MOST_ROUNDS = 200 };
#define ENOUGH_S 10.0 /* of measuring */

double test_slowdown(void)
{
    const char *factor = getenv("SLM_TEST_SLOWDOWN");
    const double value = factor ? strtod(factor, NULL) : 1.0;
    return value > 1.0 ? value : 1.0;
}

bool test_is_far_too_slow(void) { return test_slowdown() >= FAR_TOO_SLOW; }
size_t test_share(size_t n) { return !test_is_far_too_slow() ? n : n < 8 ? 1 : n / 8; }
static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double test_ratio(void (*run)(void *user, bool large), void *user, double most)
{
    double least[2] = {1e9, 1e9}, spent = 0;
    for (int i = 0; i < MOST_ROUNDS && (i < LEAST_ROUNDS || (least[1] > most * least[0] && spent < ENOUGH_S)); i++)
        for (int large = 0; large < 2; large++) {
            const double start = cpu_seconds();
            run(user, large);
            const double took = cpu_seconds() - start;
            if (took < least[large]) least[large] = took;
            spent += took;
        }
    return least[1] / least[0];
}

size_t test_next(size_t n) { return n + 1 + (test_is_far_too_slow() ? n / 16 : 0); }
