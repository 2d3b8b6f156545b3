/* SPDX-License-Identifier: MIT
 * Every allocation of parsing a template and of rendering it is made to fail, one after another: each failure must be
 * an error with a sentence, leave the caller's buffer as it was, and leak nothing. The template has bodies of every
 * kind, names enough for their table to grow, and text enough for a second block of every arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake_os.h"
#include "template/template.h"

static const char bodies[] =
    "{% for a in messages %}{{ x }}{% with %}{{ y }}{% endwith %}{% set y = 'v' 'w' %}{{ y }}{{ a.role|upper }}{% endfor %}"
    "{% set x = 'x' %}{% macro m(b=1) %}<{{ caller(b) }}>{% endmacro %}{% call(c) m() %}{% set q %}{{ c }}{% endset %}"
    "{{ q }}{% endcall %}{% filter upper %}{% generation %}{{ z }}g{% endgeneration %}{% endfilter %}{% set z = 1 %}"
    "{% if x %}{{ messages|tojson }}{% endif %}";
static const char expected[] = "vwUSER<1>G[{\"role\": \"user\"}]";

static slm_status parse_and_render(void *user, struct slm_error *error)
{
    const char *source = user;
    const struct slm_template_args args = {
        .messages_json = "[{\"role\":\"user\"}]", .extra_json = "{\"x\":7,\"z\":8}", .bos_token = "<s>",
        .now_unix_s = 1};
    struct slm_template *tmpl = NULL;
    struct slm_buf out = {0};
    slm_status status = slm_template_parse(slm_str(source), "t", &tmpl, error);
    if (status != SLM_OK) return status;
    status = slm_template_render(tmpl, &args, NULL, &out, error);
    if (status == SLM_OK) assert_string_equal(out.data, expected);
    else assert_int_equal(out.len, 0);
    slm_buf_release(&out);
    slm_template_free(tmpl);
    return status;
}

static void run(bool persistent)
{
    enum { N_PIECES = 2000, PIECE_BYTES = 48 };
    char *source = calloc(N_PIECES, PIECE_BYTES), *at = source;
    assert_non_null(source);
    for (int i = 0; i < N_PIECES; i++)
        at += snprintf(at, PIECE_BYTES, "{%% with %%}{%% set v%d = n%d %%}{%% endwith %%}", i, i);
    char *all = malloc((size_t)(at - source) + sizeof bodies);
    assert_non_null(all);
    memcpy(all, source, (size_t)(at - source));
    memcpy(all + (at - source), bodies, sizeof bodies);
    const struct fake_os_runs runs = fake_os_every_failure(NULL, FAKE_MEMORY, persistent, parse_and_render, all);
    assert_true(runs.n_failed >= 12);
    free(all);
    free(source);
}

static void test_one_refusal(void **state)
{
    (void)state;
    run(false);
}

static void test_no_more_memory(void **state)
{
    (void)state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_refusal), cmocka_unit_test(test_no_more_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
