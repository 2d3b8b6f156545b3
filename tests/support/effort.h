/* SPDX-License-Identifier: MIT
 * How much of a test's repetition is worth its time. Under an emulator or ThreadSanitizer a repetition costs 30 to 100
 * times as much and shows what the ordinary build and AddressSanitizer have seen already, so there a share of them
 * runs, spread over the whole range. */
#ifndef SLM_TEST_EFFORT_H
#define SLM_TEST_EFFORT_H
#include <stdbool.h>
#include <stddef.h>

/* How many times slower than an ordinary build this one may be (SLM_TEST_SLOWDOWN, set by tests/run.py): 1 or more. */
double test_slowdown(void);
/* This build is so slow that repetitions are thinned out, and that limits on time would measure the emulator. */
bool test_is_far_too_slow(void);
/* Of n repetitions those to run here: n, or an eighth of it (at least 1) where it is far too slow. */
size_t test_share(size_t n);
/* What to try after the n-th of many things in a row: the next one, or where it is far too slow one that lies a
 * sixteenth further on, so that hundreds are tried of ten thousands and the first sixteen all. */
size_t test_next(size_t n);
/* How many times as much CPU time run(user, true) takes as run(user, false): both in turn, the least of each. What
 * others do to a machine makes times longer and never shorter, so it is measured until the ratio is at most `most`, or
 * for long enough that it will not be. */
double test_ratio(void (*run)(void *user, bool large), void *user, double most);
#endif
