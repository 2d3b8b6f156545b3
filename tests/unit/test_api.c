/* SPDX-License-Identifier: MIT
 * Requests are read strictly by rows, answers are written as JSON that any reader takes: what needs neither a server
 * nor a model. The rest is tests/e2e/test_serve_clients.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve/api_openai.h"
#include "serve/api_write.h"

struct filled { int flag; int64_t count; double share; const char *text; const json_t *any; };
#define AT(field) offsetof(struct filled, field)
static const struct slm_field rows[] = {
    {.name = "flag", .kind = SLM_FIELD_BOOL, .offset = AT(flag)},
    {.name = "count", .kind = SLM_FIELD_INT, .offset = AT(count), .min = -1, .max = 10},
    {.name = "share", .kind = SLM_FIELD_FLOAT, .offset = AT(share), .min = 0, .max = 1},
    {.name = "text", .kind = SLM_FIELD_TEXT, .offset = AT(text), .needed = true},
    {.name = "any", .kind = SLM_FIELD_JSON, .offset = AT(any)},
    {.name = "hint", .kind = SLM_FIELD_HINT},
    {.name = "only", .kind = SLM_FIELD_ONLY, .only = "1|\"one\"", .help = "there is one"},
    {.name = "never", .kind = SLM_FIELD_ONLY, .only = "", .help = "it cannot be"},
};
static const struct slm_field_set sets[] = {SLM_FIELDS(rows), {NULL, 0}};

/* Reads a body by the rows; *body is to be released. where: of the error, or NULL when there must be none. */
static struct filled read_body(const char *text, const char *where, json_t **body)
{
    struct filled out;
    struct slm_error error = {.where = ""};
    *body = NULL;
    slm_status status = slm_read_body(slm_str(text), body, &error);
    if (status == SLM_OK) status = slm_read_fields(*body, "", sets, &out, &error);
    if ((status == SLM_OK) != !where) fail_msg("%s: %s: %s", text, error.where, error.message);
    if (where) assert_string_equal(error.where, where);
    if (status != SLM_OK) memset(&out, 0, sizeof out);
    return out;
}

static void rows_say_where_values_go(void **state)
{
    (void)state;
    json_t *body;
    struct filled out = read_body("{\"flag\":true,\"count\":7.0,\"share\":1,\"text\":\"a\\u00e9\",\"any\":[],"
                                  "\"hint\":{\"x\":1},\"only\":\"one\",\"never\":null}", NULL, &body);
    assert_int_equal(out.flag, 1);
    assert_int_equal(out.count, 7);
    assert_true(out.share == 1);
    assert_string_equal(out.text, "a\xC3\xA9");
    assert_true(json_is_array(out.any));
    json_decref(body);
    out = read_body("{\"text\":\"\",\"flag\":null,\"count\":null}", NULL, &body);
    assert_int_equal(out.flag, SLM_ABSENT_BOOL);
    assert_true(out.count == SLM_ABSENT_INT && slm_is_absent(out.share) && !out.any);
    json_decref(body);
}

static void what_is_wrong_is_named(void **state)
{
    static const struct { const char *body, *where; } cases[] = {
        {"{}", "text"}, {"{\"text\":null}", "text"}, {"{\"text\":\"\",\"other\":1}", "other"},
        {"{\"text\":1}", "text"}, {"{\"text\":\"a\\u0000b\"}", "text"}, {"{\"text\":\"\",\"flag\":1}", "flag"},
        {"{\"text\":\"\",\"count\":1.5}", "count"}, {"{\"text\":\"\",\"count\":11}", "count"},
        {"{\"text\":\"\",\"count\":-2}", "count"}, {"{\"text\":\"\",\"count\":\"1\"}", "count"},
        {"{\"text\":\"\",\"count\":1e300}", "count"}, {"{\"text\":\"\",\"count\":9223372036854775807}", "count"},
        {"{\"text\":\"\",\"count\":9223372036854775808}", "body"}, {"{\"text\":\"\",\"share\":1.01}", "share"},
        {"{\"text\":\"\",\"share\":1e400}", "body"}, {"{\"text\":\"\",\"share\":NaN}", "body"},
        {"{\"text\":\"\",\"share\":true}", "share"}, {"{\"text\":\"\",\"only\":2}", "only"},
        {"{\"text\":\"\",\"never\":false}", "never"}, {"", "body"}, {"[]", "body"}, {"null", "body"}, {"1", "body"},
        {"{\"text\":\"\",\"text\":\"\"}", "body"}, {"{\"text\":\"\"} x", "body"}, {"{\"text\":\"\\ud800\"}", "body"},
        {"\xEF\xBB\xBF{\"text\":\"\"}", "body"}, {"{\"text\":\"\xFF\"}", "body"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *body;
        (void)read_body(cases[i].body, cases[i].where, &body);
        json_decref(body);
    }
}

static void depth_is_limited_before_anything_recurs(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    char *text = malloc(DEPTH);
    struct slm_error error;
    json_t *body;
    memset(text, '[', DEPTH);
    assert_int_equal(slm_read_body((struct slm_str){text, DEPTH}, &body, &error), SLM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "128"));
    free(text);
}

/* ---- messages ---- */

/* The messages as templates get them, or the place of the error. */
static void check_messages(const char *in, const char *want)
{
    json_error_t bad;
    json_t *array = json_loads(in, 0, &bad), *out = NULL;
    struct slm_error error;
    struct slm_buf text = {0};
    assert_non_null(array);
    if (slm_messages_read(array, "messages", &out, &error) == SLM_OK) slm_json_write(&text, out);
    else slm_buf_puts(&text, error.where);
    assert_string_equal(text.data, want);
    slm_buf_release(&text);
    json_decref(out);
    json_decref(array);
}

static void messages_become_what_templates_know(void **state)
{
    (void)state;
    check_messages("[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}]",
                   "[{\"role\":\"system\",\"content\":\"a\\nb\"}]");
    check_messages("[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}}]},"
                   "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"3\"}]",
                   "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":"
                   "{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"1\"}]");
    check_messages("[{\"role\":\"assistant\",\"content\":\"x\",\"thinking\":\"hm\"}]",
                   "[{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_content\":\"hm\"}]");
    check_messages("[{\"role\":\"user\",\"content\":\"x\",\"who\":1}]", "messages[0].who");
    check_messages("[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"wizard\",\"content\":\"x\"}]", "messages[1].role");
    check_messages("[{\"role\":\"user\"}]", "messages[0].content");
    check_messages("[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", "messages[0].content[0]");
    check_messages("[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]", "messages[0].content[0].type");
    check_messages("[{\"role\":\"user\",\"content\":\"\",\"tool_calls\":[{}]}]", "messages[0].tool_calls");
    check_messages("[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"[1]\"}}]}]",
                   "messages[0].tool_calls[0].function.arguments");
    check_messages("[]", "messages");
    check_messages("{}", "messages");
}

/* ---- writing ---- */

static void what_is_written_reads_back(void **state)
{
    static const float numbers[] = {0.1f, -1e-30f, 3.4e38f, 1, INFINITY};
    struct slm_buf out = {0};
    json_error_t bad;
    (void)state;
    slm_write_begin(&out, NULL, '{');
    slm_write_str(&out, "text", (struct slm_str){"a\"\\\n\xC3\xA9\xFF\0b", 9});
    slm_write_int(&out, "least", INT64_MIN);
    slm_write_float(&out, "third", 1.0 / 3);
    slm_write_float(&out, "none", (double)NAN);
    slm_write_vector(&out, "vector", numbers, sizeof numbers / sizeof *numbers);
    slm_write_json(&out, "raw", slm_str("{\n \"a b\" : [ 1 , \" \\\" \" ] }"));
    slm_write_base64(&out, "base64", "\x00\xff\x10z", 4);
    slm_write_begin(&out, "empty", '[');
    slm_write_end(&out, ']');
    slm_write_bool(&out, "yes", true);
    slm_write_end(&out, '}');
    json_t *json = json_loads(out.data, JSON_ALLOW_NUL, &bad);
    if (!json) fail_msg("%s: %s", bad.text, out.data);
    assert_memory_equal(json_string_value(json_object_get(json, "text")), "a\"\\\n\xC3\xA9\xEF\xBF\xBD\0b", 11);
    assert_true(json_integer_value(json_object_get(json, "least")) == INT64_MIN);
    assert_true(json_real_value(json_object_get(json, "third")) == 1.0 / 3);
    assert_true(json_is_null(json_object_get(json, "none")));
    for (size_t i = 0; i < 4; i++)
        assert_true((float)json_number_value(json_array_get(json_object_get(json, "vector"), i)) == numbers[i]);
    assert_true(json_is_null(json_array_get(json_object_get(json, "vector"), 4)));
    assert_non_null(strstr(out.data, "\"raw\":{\"a b\":[1,\" \\\" \"]}"));
    assert_string_equal(json_string_value(json_object_get(json, "base64")), "AP8Qeg==");
    assert_string_equal(slm_timestamp(1795280880369246176).text, "2026-11-21T17:08:00.369246176Z");
    json_decref(json);
    slm_buf_release(&out);
}

/* A template is a program, and one that a client sends would be a stranger's. */
static void no_request_brings_a_template(void **state)
{
    (void)state;
    size_t n_found = 0;
    for (const struct slm_call_kind *const *kind = slm_api_kinds; *kind; kind++)
        for (const struct slm_field_set *set = (*kind)->sets; set->rows; set++)
            for (size_t i = 0; i < set->n; i++) {
                const struct slm_field *row = &set->rows[i];
                if (strcmp(row->name, "chat_template") != 0 && strcmp(row->name, "template") != 0) continue;
                n_found++;
                assert_int_equal(row->kind, SLM_FIELD_ONLY);
                if (row->only[0] != '\0') assert_string_equal(row->only, "\"\"");
            }
    assert_true(n_found >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_request_brings_a_template),
        cmocka_unit_test(rows_say_where_values_go), cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(depth_is_limited_before_anything_recurs),
        cmocka_unit_test(messages_become_what_templates_know), cmocka_unit_test(what_is_written_reads_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
