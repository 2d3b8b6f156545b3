/* SPDX-License-Identifier: MIT
 * Views, hashing, the growing buffer and the two escapes. JSON strings are read back by jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include "base/rng.h"
#include "base/str.h"
#include "base/utf8.h"
#include "fake_os.h"

static void test_views(void **state)
{
    (void)state;
    assert_true(slm_str_is(slm_str("abc"), "abc") && !slm_str_is(slm_str("abc"), "ab"));
    assert_true(slm_str_equal((struct slm_str){NULL, 0}, slm_str("")) && slm_str(NULL).len == 0);
    assert_true(slm_str_starts_with(slm_str("abc"), slm_str("ab")) && slm_str_starts_with(slm_str("a"), slm_str("")));
    assert_false(slm_str_starts_with(slm_str("ab"), slm_str("abc")));
    assert_true(slm_str_starts_with((struct slm_str){NULL, 0}, (struct slm_str){NULL, 0}));
}

static void test_hash(void **state)
{
    (void)state;
    /* Depends on every byte, the length and the seed; 20000 short keys over 2^15 slots collide as chance would. */
    char zeros[64] = {0};
    for (size_t n = 0; n < 63; n++) assert_true(slm_hash_bytes(zeros, n, 0) != slm_hash_bytes(zeros, n + 1, 0));
    uint64_t base = slm_hash_bytes(zeros, 64, 0);
    for (size_t i = 0; i < 64; i++) {
        zeros[i] = 1;
        uint64_t changed = slm_hash_bytes(zeros, 64, 0);
        assert_true(__builtin_popcountll(changed ^ base) > 10);
        zeros[i] = 0;
    }
    assert_true(slm_hash_bytes("abc", 3, 1) != slm_hash_bytes("abc", 3, 2));
    enum { N = 20000, SLOTS = 1 << 15 };
    unsigned char *used = calloc(SLOTS, 1);
    assert_non_null(used);
    unsigned n_used = 0;
    for (unsigned i = 0; i < N; i++) {
        char key[32];
        int n = snprintf(key, sizeof key, "key%u", i);
        uint64_t slot = slm_hash_bytes(key, (size_t)n, 0) % SLOTS;
        n_used += !used[slot];
        used[slot] = 1;
    }
    free(used);
    assert_in_range(n_used, 14800, 15200); /* expected 32768 (1 - e^(-20000/32768)) = 14970, deviation about 57 */
}

static void test_buffer(void **state)
{
    (void)state;
    struct slm_buf buf = {0};
    for (int i = 0; i < 1000; i++) assert_true(slm_buf_printf(&buf, "%d,", i));
    assert_int_equal(buf.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(buf.data), buf.len);
    slm_buf_clear(&buf);
    assert_string_equal(buf.data, "");
    assert_true(slm_buf_add(&buf, NULL, 0) && slm_buf_add_str(&buf, slm_str("x\ty")) && slm_buf_add(&buf, "\0z", 2));
    assert_memory_equal(buf.data, "x\ty\0z", 6);
    assert_int_equal(slm_buf_status(&buf, "here", NULL), SLM_OK);
    slm_buf_release(&buf);
    assert_null(buf.data);
    slm_buf_release(&buf);
}

static void test_limit(void **state)
{
    (void)state;
    struct slm_error error = {0};
    struct slm_buf buf = {.limit = 10};
    assert_true(slm_buf_puts(&buf, "12345678"));
    assert_true(slm_buf_printf(&buf, "%d", 90)); /* exactly full */
    assert_false(slm_buf_printf(&buf, "%d", 1));
    assert_string_equal(buf.data, "1234567890");
    assert_false(slm_buf_add(&buf, "", 0)); /* stays failed */
    assert_int_equal(slm_buf_status(&buf, "reply", &error), SLM_ERR_LIMIT);
    assert_string_equal(error.where, "reply");
    assert_non_null(strstr(error.message, "10 bytes"));
    slm_buf_clear(&buf);
    assert_int_equal(buf.failed, SLM_OK);
    assert_true(slm_buf_puts(&buf, "1234567890"));
    slm_buf_clear(&buf);
    assert_false(slm_buf_puts(&buf, "12345678901"));
    assert_int_equal(buf.len, 0);
    slm_buf_clear(&buf);
    assert_false(slm_buf_printf(&buf, "%s", "abcdefghijklmnopqrstuvwxyz")); /* fits the memory, not the limit */
    assert_string_equal(buf.data, "");
    slm_buf_clear(&buf);
    assert_false(slm_buf_add(&buf, "x", SIZE_MAX)); /* must not wrap around */
    slm_buf_release(&buf);
}

static slm_status emit(void *user, struct slm_error *error)
{
    (void)user;
    struct slm_buf buf = {0};
    for (int i = 0; i < 200; i++) {
        slm_buf_printf(&buf, "%0100d", i);
        slm_buf_add_json_string(&buf, slm_str("a \"quoted\" \x01 word"));
    }
    slm_status status = slm_buf_status(&buf, "text", error);
    slm_buf_release(&buf);
    return status;
}

static void test_buffer_out_of_memory(void **state)
{
    (void)state;
    assert_true(fake_os_every_failure(NULL, FAKE_MEMORY, false, emit, NULL).n_failed > 5);
    assert_int_equal(fake_os_every_failure(NULL, FAKE_MEMORY, true, emit, NULL).n_recovered, 0);
}

/* Reads text back through jansson and compares with expected. */
static void check_json(struct slm_str text, struct slm_str expected)
{
    struct slm_buf buf = {0};
    assert_true(slm_buf_add_json_string(&buf, text));
    json_error_t why;
    json_t *value = json_loadb(buf.data, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (value == NULL) fail_msg("%s: %s", why.text, buf.data);
    assert_int_equal(json_string_length(value), expected.len);
    assert_memory_equal(json_string_value(value), expected.ptr, expected.len);
    json_decref(value);
    slm_buf_release(&buf);
}

static void test_json(void **state)
{
    (void)state;
    check_json((struct slm_str){NULL, 0}, slm_str(""));
    char all[256 * 4];
    size_t len = 0;
    for (uint32_t cp = 0; cp < 256; cp++) len += (size_t)slm_utf8_encode(cp, all + len);
    check_json((struct slm_str){all, len}, (struct slm_str){all, len});
    struct slm_str wide = slm_str("\xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBF");
    check_json(wide, wide);
#define R "\xEF\xBF\xBD"
    /* Unicode 15, tables 3-8 to 3-11. */
    check_json(slm_str("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), slm_str(R R R R R R R R "A"));
    check_json(slm_str("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), slm_str(R R R R R R R R "A"));
    check_json(slm_str("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), slm_str(R R R R R "A" R R "B"));
    check_json(slm_str("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), slm_str(R R R R "A"));
    check_json(slm_str("x\xF0\x9F\x98"), slm_str("x" R));
    /* Random bytes always give valid JSON. */
    struct slm_rng rng = {.seed = 1};
    for (int i = 0; i < 20000; i++) {
        char bytes[12];
        uint64_t a = slm_rng_next(&rng), b = slm_rng_next(&rng);
        memcpy(bytes, &a, 8);
        memcpy(bytes + 8, &b, 4);
        struct slm_buf buf = {0};
        assert_true(slm_buf_add_json_string(&buf, (struct slm_str){bytes, sizeof bytes}));
        json_t *value = json_loadb(buf.data, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        json_decref(value);
        slm_buf_release(&buf);
    }
}

static void test_escape(void **state)
{
    (void)state;
    char out[64];
    static const struct { const char *in, *out; } rows[] = {
        {"plain \xC3\xA9 \xF0\x9F\x98\x80", "plain \xC3\xA9 \xF0\x9F\x98\x80"},
        {"\x1b[31m", "\\x1B[31m"},
        {"a\nb\x7f", "a\\x0Ab\\x7F"},
        {"\xC2\x9B", "\\xC2\\x9B"},           /* C1 control */
        {"\xE2\x80\xAE", "\\xE2\\x80\\xAE"}, /* right-to-left override */
        {"\xFF\xC3", "\\xFF\\xC3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(slm_escape(out, sizeof out, slm_str(rows[i].in)), strlen(rows[i].out));
        assert_string_equal(out, rows[i].out);
    }
    /* Cut at whole units. */
    assert_int_equal(slm_escape(out, 4, slm_str("ab\xC3\xA9")), 2);
    assert_int_equal(slm_escape(out, 5, slm_str("ab\xC3\xA9")), 4);
    assert_int_equal(slm_escape(out, 5, slm_str("ab\n")), 2);
    assert_int_equal(slm_escape(out, 1, slm_str("ab")), 0);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),  cmocka_unit_test(test_hash),
        cmocka_unit_test(test_buffer), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_buffer_out_of_memory), cmocka_unit_test(test_json),
        cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
