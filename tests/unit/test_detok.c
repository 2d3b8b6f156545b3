/* SPDX-License-Identifier: MIT
 * Streaming decode against the UTF-8 decoder of the WHATWG Encoding standard (section 8.1.1), written here from its
 * text: whatever the bytes and however they are cut, the stream must give the characters that a browser would, and
 * every piece of output must be whole characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

enum { MAX_BYTES = 64 };

static size_t put(char *out, uint32_t cp)
{
    return (size_t)slm_utf8_encode(cp, out);
}

/* The standard's decoder, state by state: code point, bytes seen, bytes needed, lower and upper boundary. */
static size_t whatwg(const unsigned char *in, size_t n, char *out)
{
    uint32_t cp = 0;
    int seen = 0, needed = 0;
    unsigned lower = 0x80, upper = 0xbf;
    size_t written = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned b = in[i];
        if (needed == 0) {
            if (b <= 0x7f) written += put(out + written, b);
            else if (b >= 0xc2 && b <= 0xdf) needed = 1, cp = b & 0x1f;
            else if (b >= 0xe0 && b <= 0xef) {
                if (b == 0xe0) lower = 0xa0;
                if (b == 0xed) upper = 0x9f;
                needed = 2, cp = b & 0xf;
            } else if (b >= 0xf0 && b <= 0xf4) {
                if (b == 0xf0) lower = 0x90;
                if (b == 0xf4) upper = 0x8f;
                needed = 3, cp = b & 7;
            } else written += put(out + written, 0xfffd);
            continue;
        }
        const bool fits = b >= lower && b <= upper;
        lower = 0x80, upper = 0xbf;
        if (!fits) { /* restore the byte to the stream and return error */
            needed = seen = 0;
            i--;
            written += put(out + written, 0xfffd);
            continue;
        }
        cp = cp << 6 | (b & 0x3f);
        if (++seen == needed) {
            written += put(out + written, cp);
            needed = seen = 0;
        }
    }
    if (needed) written += put(out + written, 0xfffd);
    return written;
}

/* Feeds bytes cut at random, each piece and each output in a buffer of exactly the promised size. */
static void check(const char *bytes, size_t n, struct slm_rng *rng)
{
    char want[3 * MAX_BYTES + 3], got[4 * MAX_BYTES + 16];
    const size_t n_want = whatwg((const unsigned char *)bytes, n, want);
    struct slm_detok detok = {0};
    size_t n_got = 0;
    for (size_t at = 0; at <= n;) {
        size_t len = slm_rng_next(rng) % 5;
        if (len > n - at) len = n - at;
        const size_t room = 3 * (len + detok.n_held) + 3;
        char *out = test_malloc(room); /* cmocka watches the byte after it */
        const size_t written = slm_detok_feed(&detok, (struct slm_str){bytes + at, len}, out);
        assert_true(written <= room && detok.n_held <= 3);
        assert_int_equal(slm_utf8_valid_prefix(out, written), written);
        memcpy(got + n_got, out, written);
        n_got += written;
        test_free(out);
        at += len;
        if (at == n) break;
    }
    n_got += slm_detok_flush(&detok, got + n_got);
    assert_int_equal(detok.n_held, 0);
    assert_int_equal(n_got, n_want);
    assert_memory_equal(got, want, n_want);
}

static void test_chosen(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "plain", "caf\xc3\xa9", "\xe4\xb8\xad\xf0\x9f\x98\x80", "\xf0\x9f\x98", "\xe2\x82" "a", "\xf0\x80\x80\x80",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf\xc1\xbf", "\xff\xfe", "\x80\x80\x80\x80", "\xc3\xc3\xa9",
        "\xe0\xa4\xe0\xa4\xb9", "\xf1\x80\x80\xf1\x80\x80\x80", "\xef\xbf\xbd"};
    struct slm_rng rng = {.seed = 1};
    for (int round = 0; round < 50; round++)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check(texts[i], strlen(texts[i]), &rng);
}

static void test_random(void **state)
{
    (void)state;
    /* Bytes at the edges of the ranges meet often. */
    static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                                          0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    struct slm_rng rng = {.seed = 2};
    for (int round = 0; round < 100000; round++) {
        char bytes[MAX_BYTES];
        const size_t n = slm_rng_next(&rng) % (round % 8 ? 9 : MAX_BYTES);
        for (size_t i = 0; i < n; i++) bytes[i] = (char)edges[slm_rng_next(&rng) % sizeof edges];
        check(bytes, n, &rng);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chosen), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
