/* SPDX-License-Identifier: MIT
 * UTF-8 against utf8proc: the set of valid sequences is made by utf8proc from every scalar value;
 * what is a prefix of one of them is incomplete, everything else is invalid. All sequences of 1 to
 * 3 bytes and all 4-byte ones near a boundary are tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "base/utf8.h"

/* Bit sets over byte strings of length 1..3: whole characters, and proper prefixes of characters. */
struct sets { unsigned char whole[4][1 << 21], prefix[4][1 << 21]; };
static struct sets *sets;

static uint32_t key(const unsigned char *s, int n)
{
    uint32_t k = 0;
    for (int i = 0; i < n; i++) k = k << 8 | s[i];
    return k;
}
static void put(unsigned char *set, uint32_t k) { set[k >> 3] = (unsigned char)(set[k >> 3] | 1u << (k & 7)); }
static int has(const unsigned char *set, uint32_t k) { return set[k >> 3] >> (k & 7) & 1; }

static int make_sets(void **state)
{
    (void)state;
    sets = calloc(1, sizeof *sets);
    if (sets == NULL) return -1;
    for (int32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp >= 0xD800 && cp <= 0xDFFF) continue;
        unsigned char s[4];
        int n = (int)utf8proc_encode_char(cp, s);
        for (int i = 1; i < n; i++) put(sets->prefix[i], key(s, i));
        if (n < 4) put(sets->whole[n], key(s, n));
    }
    return 0;
}
static int drop_sets(void **state)
{
    (void)state;
    free(sets);
    return 0;
}

static void test_every_scalar(void **state)
{
    (void)state;
    for (int32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp >= 0xD800 && cp <= 0xDFFF) continue;
        unsigned char expected[4];
        char s[4];
        uint32_t back = 0;
        int n = (int)utf8proc_encode_char(cp, expected);
        if (slm_utf8_encode((uint32_t)cp, s) != n || memcmp(s, expected, (size_t)n) != 0) fail_msg("encode U+%04X", cp);
        if (slm_utf8_decode(s, 4, &back) != n || back != (uint32_t)cp) fail_msg("decode U+%04X", cp);
        for (int i = 1; i < n; i++)
            if (slm_utf8_decode(s, (size_t)i, &back) != -1) fail_msg("%d bytes of U+%04X", i, cp);
    }
}

static void test_every_short_sequence(void **state)
{
    (void)state;
    for (int n = 1; n <= 3; n++) {
        for (uint32_t k = 0; k < 1u << (8 * n); k++) {
            const unsigned char all[3] = {(unsigned char)(k >> 16), (unsigned char)(k >> 8), (unsigned char)k};
            const unsigned char *s = all + 3 - n;
            int expected = 0;
            for (int m = 1; m <= n; m++)
                if (has(sets->whole[m], k >> (8 * (n - m)))) expected = m;
            if (expected == 0 && has(sets->prefix[n], k)) expected = -1;
            uint32_t cp;
            int got = slm_utf8_decode((const char *)s, (size_t)n, &cp);
            if (got != expected) fail_msg("bytes %0*X: %d instead of %d", 2 * n, k, got, expected);
        }
    }
}

static void test_four_bytes(void **state)
{
    (void)state;
    static const unsigned char tails[] = {0x00, 0x7F, 0x80, 0x81, 0xBF, 0xC0, 0xFF};
    for (unsigned lead = 0xE0; lead <= 0xFF; lead++)
        for (unsigned second = 0; second < 256; second++)
            for (unsigned i = 0; i < sizeof tails; i++)
                for (unsigned k = 0; k < sizeof tails; k++) {
                    const unsigned char s[4] = {(unsigned char)lead, (unsigned char)second, tails[i], tails[k]};
                    int32_t expected_cp;
                    int expected = (int)utf8proc_iterate(s, 4, &expected_cp);
                    uint32_t cp = 0;
                    int got = slm_utf8_decode((const char *)s, 4, &cp);
                    if (got != (expected < 0 ? 0 : expected)) fail_msg("%02X %02X %02X %02X", s[0], s[1], s[2], s[3]);
                    if (got > 0) assert_int_equal(cp, expected_cp);
                }
}

static void test_valid_prefix(void **state)
{
    (void)state;
    assert_int_equal(slm_utf8_valid_prefix("", 0), 0);
    assert_int_equal(slm_utf8_valid_prefix("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 10), 10);
    assert_int_equal(slm_utf8_valid_prefix("a\xC3\xA9\xE2\x82", 5), 3);
    assert_int_equal(slm_utf8_valid_prefix("ab\xFFq", 4), 2);
    assert_int_equal(slm_utf8_valid_prefix("a\0b", 3), 3);
}

/* Unicode 15, tables 3-8 to 3-11: how many U+FFFD stand for ill-formed text. */
static void test_replacement_lengths(void **state)
{
    (void)state;
    static const struct { const char *bytes; const char *steps; } rows[] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "111111111"},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "111111111"},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "111111111"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "21321"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *s = rows[i].bytes, *end = s + strlen(s);
        for (const char *step = rows[i].steps; *step != '\0'; step++) {
            uint32_t cp;
            int n = slm_utf8_decode(s, (size_t)(end - s), &cp);
            size_t length = n > 0 ? (size_t)n : slm_utf8_bad_length(s, (size_t)(end - s));
            assert_int_equal(length, *step - '0');
            s += length;
        }
        assert_ptr_equal(s, end);
    }
    assert_int_equal(slm_utf8_bad_length("\xF0\x9F\x98", 3), 3); /* cut at the end of the text */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_scalar), cmocka_unit_test(test_every_short_sequence),
        cmocka_unit_test(test_four_bytes),   cmocka_unit_test(test_valid_prefix),
        cmocka_unit_test(test_replacement_lengths),
    };
    return cmocka_run_group_tests(tests, make_sets, drop_sets);
}
