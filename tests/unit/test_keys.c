/* SPDX-License-Identifier: MIT
 * API keys: lines of a file, and how often a key may be used. Time is a number here, so each answer is checked against
 * what the rate says: never more than it allows, and a client that waits as long as it was told to is let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "serve/keys.h"

#define SECOND UINT64_C(1000000000)

static void rates_are_read_or_refused(void **state)
{
    (void)state;
    static const struct { const char *text; uint32_t n, seconds; } rows[] = {
        {"10/s", 10, 1}, {"600/m", 600, 60}, {"1/h", 1, 3600}, {"9999999/s", 9999999, 1},
        {"", 0, 0}, {"10", 0, 0}, {"/s", 0, 0}, {"0/s", 0, 0}, {"10/", 0, 0}, {"10/d", 0, 0}, {"10/ms", 0, 0},
        {"-1/s", 0, 0}, {"+1/s", 0, 0}, {"1.5/s", 0, 0}, {"10000000/s", 0, 0}, {"4294967297/s", 0, 0}, {"10 /s", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_rate rate = {0, 0};
        assert_int_equal(slm_rate_parse(slm_str(rows[i].text), &rate), rows[i].n > 0);
        assert_int_equal(rate.n, rows[i].n);
        assert_int_equal(rate.seconds, rows[i].seconds);
    }
}

static void lines_have_names_keys_and_rates(void **state)
{
    (void)state;
    static const char good[] = "# team\nanna:anna-secret   5/m \r\n\nplain-secret\nb:berta-secret 2/h";
    static const char *const bad[] = {"anna:anna-secret 5/x", "anna:anna-secret 5/m 6/m", "anna-secret often", "short"};
    struct slm_keys keys = {.rate = {7, 1}};
    struct slm_error error;
    assert_int_equal(slm_keys_add_lines(&keys, "file", slm_str(good), &error), SLM_OK);
    assert_int_equal(keys.n, 3);
    const struct slm_key *anna = slm_keys_find(&keys, slm_str("anna-secret"));
    assert_non_null(anna);
    assert_string_equal(anna->name, "anna");
    assert_int_equal(anna->rate.n, 5);
    assert_int_equal(anna->rate.seconds, 60);
    assert_int_equal(slm_keys_find(&keys, slm_str("plain-secret"))->rate.n, 7); /* the default */
    assert_int_equal(slm_keys_find(&keys, slm_str("berta-secret"))->rate.seconds, 3600);
    assert_null(slm_keys_find(&keys, slm_str("anna-secret 5/m")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(slm_keys_add_lines(&keys, "file", slm_str(bad[i]), &error), SLM_ERR_ARGUMENT);
        assert_null(strstr(error.message, "secret")); /* keys are not shown */
        assert_int_equal(keys.n, 3);
    }
    slm_keys_release(&keys);
}

/* Clients of all kinds of haste. In any stretch of time there are at most as many requests as a period holds and as
 * came back in it; one that waits as told is let in, and a second earlier it would not have been. */
static void no_key_gets_more_than_its_rate(void **state)
{
    (void)state;
    enum { MOST = 4000 };
    static uint64_t times[MOST];
    static const struct slm_rate rates[] = {{1, 1}, {10, 1}, {7, 60}, {600, 60}, {1000, 3600}};
    for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
        struct slm_key key = {.rate = rates[k]};
        struct slm_rng rng = {.seed = k};
        const uint64_t period = rates[k].seconds * SECOND;
        uint64_t now = 5 * SECOND;
        size_t n = 0;
        for (size_t i = 0; i < MOST; i++) {
            /* in a hurry for long, then now and then */
            now += slm_rng_next(&rng) % (i % 2500 < 2200 ? period / rates[k].n / 3 : 3 * period / (i % 5 + 1));
            unsigned wait = 0;
            if (slm_key_use(&key, now, &wait)) {
                times[n++] = now;
                continue;
            }
            struct slm_key copy = key;
            unsigned ignored;
            assert_true(wait >= 1 && wait <= rates[k].seconds);
            assert_true(slm_key_use(&copy, now + wait * SECOND, &ignored));
            copy = key;
            assert_false(slm_key_use(&copy, now + (wait - 1) * SECOND, &ignored));
        }
        assert_true(n > rates[k].n && n < MOST);
        for (size_t from = 0; from < n; from++)
            for (size_t to = from; to < n && to < from + 2000; to += 37) {
                const uint64_t back = (times[to] - times[from]) / (period / rates[k].n);
                assert_true(to - from + 1 <= rates[k].n + back);
            }
    }
}

static void a_burst_is_one_period_and_no_more(void **state)
{
    (void)state;
    struct slm_key key = {.rate = {60, 60}}, free_key = {.rate = {0, 0}};
    unsigned wait = 0;
    for (int i = 0; i < 60; i++) assert_true(slm_key_use(&key, SECOND, &wait));
    assert_false(slm_key_use(&key, SECOND, &wait));
    assert_int_equal(wait, 1);
    assert_true(slm_key_use(&key, 2 * SECOND, &wait));
    assert_false(slm_key_use(&key, 2 * SECOND, &wait));
    for (int i = 0; i < 10000; i++) assert_true(slm_key_use(&free_key, SECOND, &wait));
}

/* Reading the file again gives nobody new requests; other keys are other keys. */
static void a_reload_keeps_what_was_used(void **state)
{
    (void)state;
    struct slm_keys before = {.n = 0}, after = {.n = 0};
    unsigned wait;
    assert_int_equal(slm_keys_add_lines(&before, "file", slm_str("first-key 2/h\nsecond-key 2/h"), NULL), SLM_OK);
    assert_int_equal(slm_keys_add_lines(&after, "file", slm_str("second-key 2/h\nfirst-key 1/h\nthird-key 1/h"), NULL),
                     SLM_OK);
    struct slm_key *first = slm_keys_find(&before, slm_str("first-key"));
    assert_true(slm_key_use(first, SECOND, &wait) && slm_key_use(first, SECOND, &wait));
    slm_keys_inherit(&after, &before);
    assert_false(slm_key_use(slm_keys_find(&after, slm_str("first-key")), SECOND, &wait));
    assert_true(wait > 3000 && wait <= 7200);
    assert_true(slm_key_use(slm_keys_find(&after, slm_str("second-key")), SECOND, &wait));
    assert_true(slm_key_use(slm_keys_find(&after, slm_str("third-key")), SECOND, &wait));
    slm_keys_release(&before);
    slm_keys_release(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_read_or_refused),
        cmocka_unit_test(lines_have_names_keys_and_rates),
        cmocka_unit_test(no_key_gets_more_than_its_rate),
        cmocka_unit_test(a_burst_is_one_period_and_no_more),
        cmocka_unit_test(a_reload_keeps_what_was_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
