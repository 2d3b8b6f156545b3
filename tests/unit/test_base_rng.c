/* SPDX-License-Identifier: MIT
 * Philox against the known answers published with Random123 (kat_vectors, "philox4x32 10"), and the
 * derived draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include "base/rng.h"

static void test_known_answers(void **state)
{
    (void)state;
    static const struct { uint64_t seed, counter, stream; uint32_t out[4]; } rows[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {UINT64_C(0x299f31d0a4093822), UINT64_C(0x85a308d3243f6a88), UINT64_C(0x0370734413198a2e),
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}, /* digits of pi */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t out[4];
        slm_rng_block(rows[i].seed, rows[i].counter, rows[i].stream, out);
        assert_memory_equal(out, rows[i].out, sizeof out);
    }
}

static void test_uniform(void **state)
{
    (void)state;
    enum { N_BINS = 64 };
    const unsigned n = 1000000;
    unsigned bins[N_BINS] = {0};
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        double u = slm_rng_uniform(42, i, 0);
        assert_true(u >= 0.0 && u < 1.0);
        bins[(int)(u * (double)N_BINS)]++;
        sum += u;
    }
    double chi = 0, expected = (double)n / (double)N_BINS;
    for (int i = 0; i < N_BINS; i++) chi += (bins[i] - expected) * (bins[i] - expected) / expected;
    assert_true(chi > 30 && chi < 110); /* 63 degrees of freedom: outside once in 10^4 for each side */
    assert_true(fabs(sum / n - 0.5) < 4 * 0.2887 / 1000);
    /* Any order, any time: the same; another stream or seed: not. */
    assert_true(slm_rng_uniform(42, 999, 0) == slm_rng_uniform(42, 999, 0));
    assert_true(slm_rng_uniform(42, 999, 1) != slm_rng_uniform(42, 999, 0));
    assert_true(slm_rng_uniform(43, 999, 0) != slm_rng_uniform(42, 999, 0));
}

static void test_stepping(void **state)
{
    (void)state;
    struct slm_rng rng = {.seed = 5, .stream = 9};
    for (uint64_t i = 0; i < 100; i++) {
        uint32_t out[4];
        slm_rng_block(5, i, 9, out);
        assert_true(slm_rng_next(&rng) == ((uint64_t)out[1] << 32 | out[0]));
    }
    assert_int_equal(rng.counter, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_stepping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
