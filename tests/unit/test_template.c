/* SPDX-License-Identifier: MIT
 * The template engine: what it prints, what it refuses, and that hostile templates end in an error within bounds of
 * time, memory and stack. Expected texts are Python's and jinja2's (e2e/test_template_oracle.py compares thousands more
 * with jinja2 itself); the hostile ones are those that broke other engines. Not here: real chat templates, which
 * that test renders too. */
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "effort.h"
#include "template/template.h"

#include <stdarg.h>
#include <cmocka.h>

struct outcome {
    slm_status status;
    struct slm_error error;
    struct slm_buf out;
};

static const struct slm_template_args defaults = {
    .messages_json = "[{\"role\":\"user\",\"content\":\"Hi\"}]",
    .extra_json = "{\"n\":7,\"s\":\"h\\u00e9llo W\\u00f6rld\",\"l\":[3,1,2],\"d\":{\"b\":1,\"a\":null},"
                  "\"big\":9223372036854775807,\"x\":\"{{ 7*7 }}{% if %}\"}",
    .bos_token = "<s>", .now_unix_s = 1741507507};

static struct outcome render_with(const char *source, size_t bytes, const struct slm_template_args *args,
                                  const struct slm_template_limits *limits)
{
    struct outcome o = {0};
    struct slm_template *tmpl = NULL;
    o.status = slm_template_parse((struct slm_str){source, bytes}, "t.jinja", &tmpl, &o.error);
    if (o.status == SLM_OK) o.status = slm_template_render(tmpl, args, limits, &o.out, &o.error);
    slm_template_free(tmpl);
    return o;
}

static struct outcome render(const char *source)
{
    return render_with(source, strlen(source), &defaults, NULL);
}

static void expect_text(const char *source, const char *expected)
{
    struct outcome o = render(source);
    if (o.status != SLM_OK) print_error("%s\n  %s: %s\n", source, o.error.where, o.error.message);
    assert_int_equal(o.status, SLM_OK);
    const char *got = o.out.data ? o.out.data : "";
    if (strcmp(got, expected) != 0) print_error("%s\n", source);
    assert_string_equal(got, expected);
    slm_buf_release(&o.out);
}

/* where and part of the message; either may be NULL. */
static void expect_error(const char *source, slm_status status, const char *where, const char *message)
{
    struct outcome o = render(source);
    if (o.status != status || (message && !strstr(o.error.message, message)))
        print_error("%.200s\n  gives %d %s: %s\n", source, (int)o.status, o.error.where, o.error.message);
    assert_int_equal(o.status, status);
    assert_int_equal(o.error.status, status);
    if (where) assert_string_equal(o.error.where, where);
    if (message) assert_non_null(strstr(o.error.message, message));
    assert_int_equal(o.out.len, 0); /* nothing of a failed rendering gets out */
    slm_buf_release(&o.out);
}

/* n copies of piece between head and tail. Owned. */
static char *repeat(const char *head, const char *piece, size_t n, const char *tail)
{
    size_t a = strlen(head), b = strlen(piece), c = strlen(tail);
    char *text = malloc(a + b * n + c + 1);
    assert_non_null(text);
    memcpy(text, head, a);
    for (size_t i = 0; i < n; i++) memcpy(text + a + i * b, piece, b);
    memcpy(text + a + b * n, tail, c + 1);
    return text;
}

/* ---- what it prints ----------------------------------------------------------------------------------------- */

static void test_values_print_as_python_prints_them(void **state)
{
    (void)state;
    expect_text("{{ [1, 2.0, true, none, 'a', \"it's\", (1,), {'k': 'v'}] }}",
                "[1, 2.0, True, None, 'a', \"it's\", (1,), {'k': 'v'}]");
    expect_text("{{ 1e22 }} {{ 1e15 }} {{ 1e16 }} {{ 0.1 }} {{ 1e-5 }} {{ -0.0 }} {{ 2/3 }}",
                "1e+22 1000000000000000.0 1e+16 0.1 1e-05 -0.0 0.6666666666666666");
    expect_text("{{ missing }}|{{ [missing] }}|{{ none }}", "|[Undefined]|None");
    expect_text("{{ '\\x07\\u200b\\n\\\\' }}{{ ['\\x07\\u200b\\n\\\\é'] }}", "\x07\u200b\n\\['\\x07\\u200b\\n\\\\é']");
    expect_text("{{ range(3) }} {{ range(3)|list }} {{ d.items() }}", "range(0, 3) [0, 1, 2] dict_items([('b', 1), "
        "('a', None)])");
    expect_text("{{ big }} {{ true + true }}", "9223372036854775807 2");
}

static void test_operators_follow_pythons_rules(void **state)
{
    (void)state;
    expect_text("{{ 7 // -2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -1 % 2.5 }} {{ 2 ** 10 }} {{ 2 ** -1 }}",
        "-4 2 3.0 1.5 1024 0.5");
    expect_text("{{ 1 ~ 2 * 3 ~ 4 }} {{ 'x' + 1 ~ 2 }}", "164 x12"); /* ~ binds tighter than +, looser than * */
    expect_text("{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ not 1 == 2 }} {{ 1 in [1] and 2 not in l }}",
        "True False True False");
    expect_text("{{ 'a' if false }}|{{ 'a' if false else 'b' if false else 'c' }}", "|c");
    expect_text("{{ 0 or 'x' }} {{ 1 and 'y' }} {{ '' or none }}", "x y None");
    expect_text("{{ -n|abs }} {{ (-n)|abs }} {{ 2 ** 3 ** 2 }}", "7 7 64");
    expect_text("{{ 'ab' * 2 ~ [1] * 2 }}", "abab[1, 1]");
    expect_text("{{ s[1] }} {{ s[-5:] }} {{ s[::-1] }} {{ l[1:] }} {{ s|length }}", "é Wörld dlröW olléh [1, 2] 11");
}

static void test_strings_know_unicode(void **state)
{
    (void)state;
    expect_text("{{ 'straße'.upper() }} {{ 'ΟΔΟΣ ΣΑΣ.'.lower() }} {{ 'ǆx ﬁ'.title() }} {{ 'éA'|capitalize }}",
                "STRASSE οδος σας. ǅx Fi Éa");
    expect_text("{{ \"they're bill's\".title() }}|{{ \"they're bill's\"|title }}", "They'Re Bill'S|They're Bill's");
    expect_text("{{ '\\u3000 x\\u00a0'|trim ~ '|' ~ 'a\\u2028b\\r\\nc'.splitlines() }}", "x|['a', 'b', 'c']");
    expect_text("{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.rsplit(' ', 1) }} {{ "
        "'abc'.partition('b') }}",
                "['a', 'b', '', 'c'] ['a', 'b'] ['a b', 'c'] ('a', 'b', 'c')");
    expect_text("{{ ' a b '.split(none, 1) }} {{ ' a b '.rsplit(none, 1) }}", "['a', 'b '] [' a', 'b']");
    expect_text("{{ 'aaa'.replace('a', 'b', 2) }} {{ 'ab'.replace('', '-') }}", "bba -a-b-");
    expect_text("{{ '%s %5.2f %-4d| %x %r' % ('a', 3.14159, 7, 255, 'q') }}", "a  3.14 7   | ff 'q'");
    expect_text("{{ '{0:>5}{1!r}{k:.1f}'.format('a', 'b', k=2) }}", "    a'b'2.0");
}

static void test_undefined_behaves_as_in_jinja2(void **state)
{
    (void)state;
    expect_text("{{ missing is defined }} {{ missing|default('d') }} {{ d.nope is undefined }} {{ missing == nope }}",
                "False d True True");
    expect_text("{% for x in missing %}x{% else %}none{% endfor %}", "none");
    expect_error("{{ missing.attribute }}", SLM_ERR_ARGUMENT, "t.jinja:1:11", "'missing' is undefined");
    expect_error("{{ d.nope.more }}", SLM_ERR_ARGUMENT, NULL, "'dict' has no attribute 'nope'");
    expect_error("{{ missing + 1 }}", SLM_ERR_ARGUMENT, NULL, "'missing' is undefined");
    expect_error("{{ missing() }}", SLM_ERR_ARGUMENT, NULL, "'missing' is undefined");
}

static void test_attributes_and_items(void **state)
{
    (void)state;
    expect_text("{{ d.a }} {{ d['b'] }} {{ messages[0].role }} {{ messages.0.content }}", "None 1 user Hi");
    expect_text("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "b=1;a=None;");
    expect_text("{% set q = {'items': 1} %}{{ q['items'] }} {{ q.items is callable }}", "1 True");
    expect_text("{{ d.get('z', 5) }} {{ 'b' in d }} {{ d.keys()|list }} {{ {1: 'a', 1.0: 'b', true: 'c'} }}",
                "5 True ['b', 'a'] {1: 'c'}");
    /* the sandbox: what would change a value is not there */
    expect_error("{{ l.append(1) }}", SLM_ERR_ARGUMENT, NULL, "unsafe");
    expect_error("{{ d.update({}) }}", SLM_ERR_ARGUMENT, NULL, "unsafe");
}

static void test_whitespace_control(void **state)
{
    (void)state;
    expect_text("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc");
    expect_text("a  {%- if true -%}  b  {%- endif -%}  c", "abc");
    expect_text("  {%+ if true %}x{% endif +%}\ny", "  x\ny");
    expect_text("a\n  {{ 1 }}\n  {# c #}\n  b", "a\n  1\n  b");
    expect_text("{% raw %}{{ x }}{% endraw %}\r\n.\r\n\n", "{{ x }}.\n");
    expect_text("x {#- c -#} y{{- 1 -}} z", "xy1z");
    expect_text("  {% set x = 1 %}  {% set y = 2 %}\n{{ x }}", "  1"); /* the second tag has text before it */
}

static void test_loops(void **state)
{
    (void)state;
    expect_text("{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}"
                "{{ loop.previtem }}{{ loop.nextitem }}{{ loop.length }} {% endfor %}",
                "103TrueFalse13 212FalseFalse323 321FalseTrue13 ");
    expect_text("{% for x in range(9) if x is odd %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}",
                "1:1/4 2:3/4 3:5/4 4:7/4 ");
    expect_text("{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif "
        "%}{{ x }}"
                "{% endfor %}", "013");
    expect_text("{% set v = 1 %}{% for x in l %}{% set v = x %}{% endfor %}{{ v }}", "1");
    expect_text("{% set ns = namespace(v=1) %}{% for x in l %}{% set ns.v = x %}{% endfor %}{{ ns.v }}", "2");
    expect_text("{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{{ loop.cycle('x', 'y') }}{% endfor %}",
        "123x");
    expect_text("{% for x in [[1, [2]], 3] recursive %}{% if x is sequence %}({{ loop(x) }}){% else %}{{ x }}{{ "
        "loop.depth }}"
                "{% endif %}{% endfor %}", "(12(23))31");
    expect_error("{% for loop in l %}{% endfor %}", SLM_ERR_FORMAT, "t.jinja:1:8", "loop");
    expect_error("{% for a, b in l %}{% endfor %}", SLM_ERR_ARGUMENT, NULL, "not iterable");
}

static void test_macros_and_blocks(void **state)
{
    (void)state;
    expect_text("{% macro m(a, b='B') %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 2, 3, "
        "z=4) }}",
                "1B(){}12(3,){'z': 4}");
    expect_text("{% macro m(a) %}<{{ caller(a) }}>{% endmacro %}{% call(q) m(5) %}{{ q + 1 }}{% endcall %}", "<6>");
    expect_text("{% macro m(a, n=n, k=n, z=9, q=z) %}{{ [a, n, k, z, q] }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(z=3) }}",
        "[1, Undefined, Undefined, 9, 9][1, 2, 2, 9, 9][Undefined, Undefined, Undefined, 3, 3]");
    expect_text("{% macro m(a=n, n=2) %}{{ a }}{{ n }}{% endmacro %}{{ m() }}|{{ m(n=3) }}", "2|33");
    expect_text("{% macro m() %}{{ x2 }}{% endmacro %}{% set x2 = 1 %}{{ m() }}", "1");
    expect_text("{% set t | upper %}a{{ n }}{% endset %}{{ t }}{% filter replace('x', 'y') %}xx{% endfilter %}",
        "A7yy");
    expect_text("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "3");
    expect_text("{% generation %}a{% set n = 1 %}{{ n }}{% endgeneration %}{{ n }}", "a17");
    expect_error("{% macro m() %}{% endmacro %}{{ m(1) }}", SLM_ERR_ARGUMENT, NULL, "not more than 0");
    expect_error("{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}", SLM_ERR_ARGUMENT, NULL, "caller");
}

/* What a body sets belongs to it from its start on, so a body inside cannot read the caller's variable of that name
 * before; n is the caller's, 7. */
static void test_what_a_body_sets_hides_what_is_passed(void **state)
{
    static const char *const rows[][2] = {
        {"{% for a in l %}{{ n }}{% endfor %}{% set n = 2 %}{{ n }}", "2"},
        {"{% for a in [1] recursive %}{{ n }}{% endfor %}{% set (a, n), b = (1, 2), 3 %}", ""},
        {"{% for a in l if n %}{{ a }}{% endfor %}{% set n = 2 %}", ""},
        {"{% macro m() %}{{ n }}{% endmacro %}{{ m() }}{% set n = 2 %}{{ m() }}", "2"},
        {"{% generation %}{{ n }}{% endgeneration %}{% set n = 2 %}", ""},
        {"{% set q %}{{ n }}{% endset %}{% set n = 2 %}{{ q }}", ""},
        {"{% set n %}<{{ n }}>{% endset %}{{ n }}", "<>"},
        {"{% filter upper %}{{ n is defined }}{% endfilter %}{% set n = 2 %}", "FALSE"},
        {"{% with %}{{ n }}{% endwith %}{% macro n() %}{% endmacro %}", ""},
        {"{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}"
            "{% endcall %}{{ m.name }}", "3m"},
        {"{% for a in [] %}{% else %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endfor %}", "3"},
        {"{% for a in [1, 2] %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endfor %}", "33"},
        {"{% macro m(a=1) %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endmacro %}{{ m() }}", "3"},
        {"{% with a = 1 %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endwith %}", "3"},
        {"{% if true %}{% for a in l %}{{ n }}{% endfor %}{% endif %}{% set n = 2 %}", ""},
        /* read before, or set in a branch only, or mentioned further out, or given: not hidden */
        {"{{ n }}{% for a in [1] %}{{ n }}{% endfor %}{% set n = 2 %}{{ n }}", "772"},
        {"{% print n, 1 %}{% for a in [1] %}{{ n }}{% endfor %}{% set n = 2 %}", "717"},
        {"{% for a in [1] %}{{ n }}{% endfor %}{% set n = n + 1 %}{{ n }}", "78"},
        {"{% for a in [1] %}{{ n }}{% endfor %}{% if true %}{% set n = 2 %}{% else %}{% set n = 3 %}{% endif %}{{ n }}",
            "72"},
        {"{% for a in [1] %}{{ n }}{% endfor %}{% if false %}{{ n }}{% endif %}{% set n = 2 %}", "7"},
        {"{% for a in [1] %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endfor %}{{ n }}", "737"},
        {"{% for n in [1] %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endfor %}", "13"},
        {"{% macro m(n) %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endmacro %}{{ m(1) }}", "13"},
        {"{% macro m(a=n) %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endmacro %}{{ m() }}", "73"},
        {"{% with n = 1 %}{% with %}{{ n }}{% endwith %}{% set n = 3 %}{{ n }}{% endwith %}", "13"},
        {"{% filter replace('x', n) %}{% with %}{{ n }}{% endwith %}{% set n = 'y' %}x{% endfilter %}", "7y"},
        {"{% macro m() %}{% for a in [1] %}{{ caller() }}{% endfor %}{% set caller = 1 %}{% endmacro %}"
            "{% call m() %}c{% endcall %}", "c"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) expect_text(rows[i][0], rows[i][1]);
    expect_error("{% for a in [1] %}{{ n * 2 }}{% endfor %}{% set n = 2 %}", SLM_ERR_ARGUMENT, "t.jinja:1:24",
        "'n' is undefined");
    expect_error("{% for a in [1] %}{{ range(3) }}{% endfor %}{% set range = 2 %}", SLM_ERR_ARGUMENT, NULL,
        "'range' is undefined");
}

static void test_filters(void **state)
{
    (void)state;
    expect_text("{{ l|sort }} {{ l|sort(reverse=true) }} {{ ['b', 'A']|sort }} {{ l|sum }} {{ l|max }} {{ l|first }} "
        "{{ l|last }}",
                "[1, 2, 3] [3, 2, 1] ['A', 'b'] 6 3 3 2");
    expect_text("{{ [{'a': 1}, {'a': 2}]|selectattr('a', 'gt', 1)|map(attribute='a')|list }} {{ l|reject('odd')|join "
        "}}", "[2] 2");
    expect_text("{{ d|dictsort }} {{ d|items|list }} {{ l|batch(2, 0)|list }} {{ l|unique|list }}",
                "[('a', None), ('b', 1)] [('b', 1), ('a', None)] [[3, 1], [2, 0]] [3, 1, 2]");
    expect_text("{{ '42'|int + '1.5'|float }} {{ 'x'|int(9) }} {{ 'ff'|int(0, 16) }} {{ 2.5|round }} {{ "
        "2.567|round(1) }} {{ 3.7|int }}",
                "43.5 9 255 2.0 2.6 3");
    expect_text("{{ 'a\nb\n\nc'|indent(2) }}", "a\n  b\n\n  c");
    expect_text("{{ '<a href=\"x\">'|escape }}{{ '<'|safe + '<' }}", "&lt;a href=&#34;x&#34;&gt;<&lt;");
}

static void test_tojson_is_json_dumps(void **state)
{
    (void)state;
    expect_text("{{ {'a': [1, 2.0, none, true, 'é\"\\n<'], 'b': {}}|tojson }}",
        "{\"a\": [1, 2.0, null, true, \"é\\\"\\n<\"], \"b\": {}}");
    expect_text("{{ {'b': [1], 'a': {}}|tojson(indent=2) }}", "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}");
    expect_text("{{ {'b': 1, 'a': '🦙'}|tojson(sort_keys=true, ensure_ascii=true, separators=(',', ':')) }}",
                "{\"a\":\"\\ud83e\\udd99\",\"b\":1}");
    expect_text("{{ {1: 1, none: 2, true: 3, 1.5: 4}|tojson }}", "{\"1\": 3, \"null\": 2, \"1.5\": 4}");
    expect_error("{{ missing|tojson }}", SLM_ERR_ARGUMENT, NULL, "not JSON serializable");
}

static void test_strftime_now(void **state)
{
    (void)state;
    expect_text("{{ strftime_now('%d %b %Y|%A %-d %B|%H:%M:%S|%j %U %V %y %I%p %%') }}",
                "09 Mar 2025|Sunday 9 March|08:05:07|068 10 10 25 08AM %");
    expect_error("{{ strftime_now('%Q') }}", SLM_ERR_ARGUMENT, NULL, "%Q");
}

static void test_dates_agree_with_the_c_library(void **state)
{
    (void)state;
    struct slm_template_args args = defaults;
    for (int64_t day = -25567; day < 60000; day += 97) { /* 1900 to 2134 */
        char expected[100];
        time_t t = (time_t)(day * 86400 + 4242);
        struct tm tm;
        args.now_unix_s = t;
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(expected, sizeof expected, "%Y-%m-%d %j %a %U %W %V %G %u %w %p", &tm) > 0);
        const char *source = "{{ strftime_now('%Y-%m-%d %j %a %U %W %V %G %u %w %p') }}";
        struct outcome o = render_with(source, strlen(source), &args, NULL);
        assert_int_equal(o.status, SLM_OK);
        assert_string_equal(o.out.data, expected);
        slm_buf_release(&o.out);
    }
}

/* ---- what it refuses (rows J01 to J13) ------------------------------------------------------------------------ */

/* J01: nesting of every kind is refused at load, with a place. */
static void test_deep_nesting_is_refused(void **state)
{
    static const char *const shapes[][4] = {
        {"{{ ", "(", "1", " }}"}, {"{{ ", "[", "", " }}"}, {"{{ ", "{1:", "1", " }}"}, {"{{ ", "not ", "1", " }}"},
        {"{{ ", "- ", "1", " }}"}, {"{{ x", ".a", "", " }}"}, {"{{ x", "|trim", "", " }}"}, {"{{ 1", "/1", "", " }}"},
        {"{{ 1", "+1", "", " }}"}, {"{{ 1", "==1", "", " }}"}, {"{{ x", "[0]", "", " }}"}, {"{{ x", "()", "", " }}"},
        {"{{ x", "[x", "", " }}"}, {"{{ 1", " if 1 else 1", "", " }}"}, {"{{ 1", " and 1", "", " }}"},
        {"{{ 1", " is true is true", "", " }}"}, {"", "{% if 1 %}", "", ""}, {"", "{% for a in l %}", "", ""},
        {"{% set ", "(", "a", " = 1 %}"}, {"", "{% macro m() %}", "", ""}, {"", "{% filter trim %}", "", ""},
        {"{{ x", "~(1", "", " }}"}, {"{{ 1", "**1", "", " }}"}, {"", "{% set a %}", "", ""}, {"", "{% generation %}",
        "", ""},
        {"", "{% call x() %}", "", ""}, {"", "{% with %}", "", ""}, {"{{ x(", "x(", "", " }}"}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char tail[40];
        snprintf(tail, sizeof tail, "%s%s", shapes[i][2], shapes[i][3]);
        char *text = repeat(shapes[i][0], shapes[i][1], (1 << 20) / 20, tail);
        struct outcome o = render(text);
        if (o.status != SLM_ERR_LIMIT && o.status != SLM_ERR_FORMAT) print_error("%s: %d\n", shapes[i][1],
            (int)o.status);
        assert_true(o.status == SLM_ERR_LIMIT || o.status == SLM_ERR_FORMAT);
        assert_int_equal(strncmp(o.error.where, "t.jinja:1:", 10), 0);
        free(text);
    }
    char *chain = repeat("{% if 0 %}", "{% elif 0 %}", 50000, "{% else %}x{% endif %}"); /* long, not deep */
    expect_text(chain, "x");
    free(chain);
    chain = repeat("{{ 0", " ~ 1", 100000, " }}");
    struct outcome o = render(chain);
    assert_int_equal(o.status, SLM_OK);
    assert_int_equal(o.out.len, 100001);
    slm_buf_release(&o.out);
    free(chain);
}

/* J02 */
static void test_runaway_macros_are_stopped(void **state)
{
    (void)state;
    expect_error("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", SLM_ERR_LIMIT, NULL, "deeper");
    expect_error("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        SLM_ERR_LIMIT, NULL,
                 NULL);
    expect_error("{% macro a() %}{{ caller() }}{% endmacro %}{% macro b() %}{% call a() %}{{ b() }}{% endcall %}{% "
        "endmacro %}{{ b() }}",
                 SLM_ERR_LIMIT, NULL, "deeper");
    expect_error("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", SLM_ERR_LIMIT, NULL, "deeper");
}

/* J03 */
static void test_values_that_contain_themselves(void **state)
{
    (void)state;
    expect_text("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "<Namespace {'me': <Namespace {...}>}>");
    expect_text("{% set ns = namespace() %}{% set ns.l = [ns] %}{{ ns.l }}{{ ns == ns }}",
        "[<Namespace {'l': [...]}>]True");
    expect_error("{% set ns = namespace() %}{% set ns.l = [ns] %}{{ ns.l|tojson }}", SLM_ERR_ARGUMENT, NULL,
        "serializable");
    static const char nest[] = "{% set ns = namespace(a=[], b=[]) %}{% for i in range(90000) %}{% set ns.a = [ns.a] %}"
                               "{% set ns.b = [ns.b] %}{% endfor %}";
    static const char *const uses[] = {"{{ ns.a }}", "{{ ns.a == ns.b }}", "{{ ns.a|tojson }}",
        "{{ [ns.a, ns.b]|sort }}",
                                       "{{ ns.a in [ns.b] }}", "{{ {(ns.a,): 1} }}", "{{ ns.a|string }}",
                                       "{{ ns.a < ns.b }}"};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        char *text = repeat(nest, uses[i], 1, "");
        struct outcome o = render(text);
        assert_true(o.status == SLM_ERR_LIMIT || o.status == SLM_ERR_ARGUMENT);
        slm_buf_release(&o.out);
        free(text);
    }
    expect_error("{% set ns = namespace(a=[], b=[]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
                 "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}", SLM_ERR_LIMIT, NULL, NULL);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* In an emulator or under ThreadSanitizer a limit on time measures that, and takes minutes to do so. */
static void skip_when_far_too_slow(void)
{
    if (!test_is_far_too_slow()) return;
    print_message("skipped: time measured here says nothing about the code\n");
    skip();
}

/* J04, J05: out of fuel, output or memory, soon. The time limit is loose: it tells runaway, which would be hours, from
 * bounded, a second at most on a machine of today that has nothing else to do. */
static void test_expensive_templates_are_stopped(void **state)
{
    static const char *const sources[] = {
        "{{ range(1000000000) }}", "{{ range(100000000)|length }}", "{{ range(0, 9000000000000000000, 1)|list }}",
        "{% for a in range(30000) %}{% for b in range(30000) %}{% for c in range(30000) %}x{% endfor %}{% endfor %}{% "
            "endfor %}",
        "{% for a in range(30000) %}{% for b in range(30000) %}{% endfor %}{% endfor %}", "{{ 'a' * 2000000000 }}",
        "{% set ns = namespace(s='a') %}{% for i in range(34) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ "
            "ns.s|length }}",
        "{% set ns = namespace(s='a') %}{% for i in range(34) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='a') %}{% for i in range(34) %}{% set ns.s = [ns.s, ns.s]|join %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(34) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ "
            "ns.s|length }}",
        "{{ ('x' * 1000)|join('y' * 1000000) }}", "{{ 'a'|indent(2000000000, true) }}", "{{ 'a'|center(2000000000) }}",
        "{{ [[1]]|tojson(indent=2000000000) }}", "{{ 'a'.rjust(2000000000) }}", "{{ 'a'.zfill(9000000000000000000) }}",
        "{{ '%2000000000d' % 1 }}", "{{ '%.2000000000f' % 1 }}", "{{ '{:2000000000}'.format(1) }}",
        "{{ '%*d' % (2000000000, 1) }}",
        "{{ [1] * 2000000000 }}", "{{ (1, 2) * 9000000000000000000 }}", "{{ l|batch(2000000000, 1)|list }}",
        "{{ l|slice(2000000000)|list }}", "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% set s = 'ab' * 4000000 %}{% for i in range(100000) %}{{ s.find('c') }}{% endfor %}",
        "{% set s = 'ab' * 4000000 %}{% for i in range(100000) %}{{ s.rfind('c') }}{% endfor %}",
        "{% set s = 'é' * 4000000 %}{% for i in range(100000) %}{{ s[3999999] }}{% endfor %}",
        "{% set s = 'ab' * 4000000 %}{% for i in range(100000) %}{% if s == s ~ 'c' %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 4000000 %}{{ s|list|sort|join|length }}{{ s.strip('a' * 1000000) }}{{ s.lstrip('ab' * "
            "500000) }}",
        "{% set d = dict([]) %}{% for i in range(100000) %}{% set x = l|map('string')|map('upper')|list|sort %}{% "
            "endfor %}",
        /* These take a second and a sanitizer twenty. */
        "{% set ns = namespace(s='a') %}{% for i in range(34) %}{% set ns.s = ns.s.replace('a', 'aa') %}{% endfor %}",
        "{% set ns = namespace(s='a') %}{% for i in range(34) %}{% set ns.s = ns.s|replace('a', 'aa') %}{% endfor %}",
        "{% set s = 'ab' * 4000000 %}{% for i in range(100000) %}{% set t = s.split('b') %}{% endfor %}",
    };
    enum { N_SOURCES = sizeof sources / sizeof *sources, N_LONG = 3 };
    (void)state;
    skip_when_far_too_slow();
    for (size_t i = 0; i < (test_slowdown() > 1 ? N_SOURCES - N_LONG : N_SOURCES); i++) {
        double start = seconds();
        struct outcome o = render(sources[i]);
        double took = seconds() - start;
        if (o.status != SLM_ERR_LIMIT || took > 10)
            print_error("%s\n  %d in %.2f s: %s\n", sources[i], (int)o.status, took, o.error.message);
        assert_int_equal(o.status, SLM_ERR_LIMIT);
        assert_true(took < 30.0 * test_slowdown());
        slm_buf_release(&o.out);
    }
}

/* J06 */
static void test_arithmetic_has_no_undefined_behaviour(void **state)
{
    static const char *const sources[] = {
        "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ 1 // 0 }}", "{{ 1.0 / 0 }}", "{{ 1.0 % 0 }}", "{{ 0 ** -1 }}",
        "{{ 0.0 ** -1 }}",
        "{{ (-big - 1) // -1 }}", "{{ -(-big - 1) }}", "{{ (-big - 1)|abs }}", "{{ 10 ** 100000000 }}", "{{ big + 1 }}",
        "{{ big * 2 }}", "{{ -big - 2 }}", "{{ 'abc'[::0] }}", "{{ l[::0] }}", "{{ range(1, 2, 0) }}",
        "{{ 1e300 ** 2 }}",
        "{{ 1e300|int }}", "{{ '9' * 30 ~ ''|int }}{{ ('9' * 30)|int }}", "{{ (-2) ** 0.5 }}", "{{ l|slice(0)|list }}"};
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) expect_error(sources[i], SLM_ERR_ARGUMENT, NULL,
        NULL);
    expect_error("{{ 99999999999999999999999999 }}", SLM_ERR_FORMAT, "t.jinja:1:4", "64 bits");
    expect_text("{{ (-big - 1) % -1 }} {{ -big - 1 }} {{ 'abc'[big:-big:-big] }} {{ 1e308 * 10 }}",
        "0 -9223372036854775808 c inf");
    expect_text("{{ range(-big - 1, big, big) }}", "range(-9223372036854775808, 9223372036854775807, "
        "9223372036854775807)");
}

/* J07 */
static void test_ways_out_are_refused(void **state)
{
    (void)state;
    expect_error("{{ ''.__class__ }}", SLM_ERR_ARGUMENT, "t.jinja:1:6", "'__class__' is not allowed");
    expect_error("{{ ''['__class__'] }}", SLM_ERR_ARGUMENT, NULL, "not allowed");
    expect_error("{{ cycler(1).__init__.__globals__ }}", SLM_ERR_ARGUMENT, NULL, "not allowed");
    expect_error("{{ [1]|map(attribute='__class__')|list }}", SLM_ERR_ARGUMENT, NULL, "not allowed");
    expect_error("{{ '{0.__class__}'.format(1) }}", SLM_ERR_ARGUMENT, NULL, "not allowed");
    expect_error("{{ namespace(a=1).__dict__ }}", SLM_ERR_ARGUMENT, NULL, "not allowed");
    static const char *const tags[] = {"include 'a'", "import 'a' as b", "from 'a' import b", "extends 'a'", "block a"};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        char text[80];
        snprintf(text, sizeof text, "x\n{%% %s %%}", tags[i]);
        expect_error(text, SLM_ERR_UNSUPPORTED, "t.jinja:2:4", "not allowed");
    }
}

/* J08 */
static void test_broken_templates_name_the_place(void **state)
{
    (void)state;
    expect_error("a\nb {{ x ", SLM_ERR_FORMAT, "t.jinja:2:8", NULL);
    expect_error("{% if x %}", SLM_ERR_FORMAT, NULL, "endif");
    expect_error("{% endfor %}", SLM_ERR_UNSUPPORTED, "t.jinja:1:4", "endfor");
    expect_error("{% for x in l %}{% endif %}", SLM_ERR_UNSUPPORTED, NULL, "endfor or else");
    expect_error("{# x", SLM_ERR_FORMAT, "t.jinja:1:1", "comment");
    expect_error("{% raw %}", SLM_ERR_FORMAT, NULL, "raw");
    expect_error("{{ 'abc }}", SLM_ERR_FORMAT, "t.jinja:1:4", NULL);
    expect_error("{{ (1 }}", SLM_ERR_FORMAT, NULL, NULL);
    expect_error("{{ 1 ! 2 }}", SLM_ERR_FORMAT, "t.jinja:1:6", NULL);
    expect_error("é{{ '\\xZZ' }}", SLM_ERR_FORMAT, "t.jinja:1:6", "escape");
    expect_error("ok\n\xff", SLM_ERR_FORMAT, "t.jinja:2:1", "0xff");
    expect_error("{{ x|nosuch }}", SLM_ERR_UNSUPPORTED, "t.jinja:1:6", "no filter named 'nosuch'");
    expect_error("{{ x is nosuch }}", SLM_ERR_UNSUPPORTED, NULL, "no test named 'nosuch'");
    expect_text("{% if false %}{{ x|nosuch }}{% endif %}{{ 1|nosuch if false else 2 }}", "2"); /* not reached */
    struct outcome o = render_with("a\0b", 3, &defaults, NULL);
    assert_int_equal(o.status, SLM_OK);
    assert_memory_equal(o.out.data, "a\0b", 3);
    slm_buf_release(&o.out);
    char *big = repeat("", "x", 10 << 20, "");
    expect_error(big, SLM_ERR_LIMIT, "t.jinja", "1048576");
    free(big);
}

/* J09, J12 */
static void test_the_templates_own_errors(void **state)
{
    (void)state;
    expect_error("a\n{{ raise_exception('only ' ~ n ~ ' roles') }}", SLM_ERR_ARGUMENT, "t.jinja:2:19", "only 7 roles");
    expect_error("{% frobnicate x %}", SLM_ERR_UNSUPPORTED, "t.jinja:1:4", "unknown tag 'frobnicate'");
}

/* J10, J13: what users write is data. */
static void test_messages_are_never_evaluated(void **state)
{
    (void)state;
    expect_text("{{ x }}", "{{ 7*7 }}{% if %}");
    struct slm_template_args args = defaults;
    const char *source = "{% for m in messages %}{{ m.content }};{% endfor %}";
    args.messages_json = "[{\"content\":null},{\"content\":[{\"type\":\"odd\"}]},{\"content\":\"{{ x }}\"},{}]";
    struct outcome o = render_with(source, strlen(source), &args, NULL);
    assert_int_equal(o.status, SLM_OK);
    assert_string_equal(o.out.data, "None;[{'type': 'odd'}];{{ x }};;");
    slm_buf_release(&o.out);
}

static void test_bad_json_is_an_error(void **state)
{
    static const char *const bad[] = {"", "[", "{}", "[1,]", "[\"\\ud800\"]", "[\"\xff\"]", "[99999999999999999999]",
                                      "[{\"a\":1,\"a\":2}]", "[1] x"};
    (void)state;
    struct slm_template_args args = defaults;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        args.messages_json = bad[i];
        struct outcome o = render_with("x", 1, &args, NULL);
        if (o.status != SLM_ERR_ARGUMENT) print_error("%s\n", bad[i]);
        assert_int_equal(o.status, SLM_ERR_ARGUMENT);
        assert_non_null(strstr(o.error.message, "messages"));
    }
    char *deep = repeat("", "[", 100000, "");
    args.messages_json = deep;
    assert_int_equal(render_with("x", 1, &args, NULL).status, SLM_ERR_LIMIT);
    free(deep);
    args = defaults;
    args.extra_json = "[]";
    assert_int_equal(render_with("x", 1, &args, NULL).status, SLM_ERR_ARGUMENT);
}

/* ---- bounds ------------------------------------------------------------------------------------------------- */

static void test_limits_of_the_caller_hold(void **state)
{
    const struct slm_template_limits output = {.max_output = 10}, fuel = {.fuel = 50}, depth = {.max_depth = 3},
                                     source = {.max_source = 4};
    (void)state;
    assert_int_equal(render_with("0123456789", 10, &defaults, &output).status, SLM_ERR_LIMIT); /* the variables alone */
    const struct slm_template_args bare = {.messages_json = "[]", .now_unix_s = 1};
    struct outcome o = render_with("0123456789", 10, &bare, &output);
    assert_int_equal(o.status, SLM_OK);
    slm_buf_release(&o.out);
    assert_int_equal(render_with("0123456789a", 11, &bare, &output).status, SLM_ERR_LIMIT);
    const char *loop = "{% for i in range(99) %}{% endfor %}";
    assert_int_equal(render_with(loop, strlen(loop), &bare, &fuel).status, SLM_ERR_LIMIT);
    assert_int_equal(render_with("{{ ((-1)|abs + 1) * 2 }}", 24, &bare, &depth).status, SLM_ERR_LIMIT);
    assert_int_equal(render_with("12345", 5, &bare, &source).status, SLM_ERR_LIMIT);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_BYTES = 4 << 20 }; /* instrumented frames are larger */
#elif defined(__clang__)
enum { STACK_BYTES = 4 << 20 }; /* clang has no macro before __has_feature; its plain builds are measured with gcc's */
#else
enum { STACK_BYTES = 256 << 10 };
#endif

static void *render_deepest(void *arg)
{
    static const char *const sources[] = {
        "{% macro f(n) %}{% for x in [1] %}{% if true %}{{ [f(n + 1)]|map('upper')|list }}{% endif %}{% endfor %}{% "
            "endmacro %}{{ f(0) }}",
        "{% macro f() %}{{ {'a': [(f() ~ 1) + (2 if f() else 1)]}|tojson }}{% endmacro %}{{ f() }}",
        "{% macro a() %}{% filter upper %}{{ caller(*[1], **{'b': 2}) }}{% endfilter %}{% endmacro %}"
        "{% macro b() %}{% call(x, b) a() %}{% set y %}{{ b() if not x is none else -x }}{% endset %}{% endcall %}{% "
            "endmacro %}{{ b() }}",
        "{% for x in [1] recursive %}{% with q = 1 %}{{ loop([x])[1:2:1].a < 1 == 2 }}{% endwith %}{% endfor %}",
        "{% set ns = namespace(a=[]) %}{% for i in range(390) %}{% set ns.a = [{'k': (ns.a,)}] %}{% endfor %}{{ ns.a "
            "}}",
        "{% set ns = namespace(a=[]) %}{% for i in range(130) %}{% set ns.a = [{'k': (ns.a,)}] %}{% endfor %}{{ "
            "ns.a|tojson(sort_keys=true) }}",
        "{% set ns = namespace(a=[], b=[]) %}{% for i in range(190) %}{% set ns.a = [{'k': (ns.a,)}] %}{% set ns.b = "
            "[{'k': (ns.b,)}] %}"
        "{% endfor %}{{ ns.a == ns.b }}"};
    (void)arg;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct outcome o = render(sources[i]);
        slm_buf_release(&o.out);
    }
    static const char *const shapes[][2] = {{"(", ")"}, {"[", "]"}, {"{1:", "}"}, {"not ", ""}, {"x(", ")"}, {"x[",
        "]"},
                                            {"-", ""}, {"1 if 1 else ", ""}, {"x|default(", ")"}, {"x is eq(", ")"},
                                            {"1 + (2 * (3 ~ ", "))"}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t n = 60; n < 202; n += 20) {
            char *head = repeat("{{ ", shapes[i][0], n, "1"), *all = repeat(head, shapes[i][1], n, " }}");
            struct outcome o = render(all);
            slm_buf_release(&o.out);
            free(head);
            free(all);
        }
    return NULL;
}

static void test_the_stack_stays_small(void **state)
{
    (void)state;
    pthread_attr_t attr;
    pthread_t thread;
    unsigned char *stack = NULL;
    assert_int_equal(posix_memalign((void **)&stack, 4096, STACK_BYTES), 0);
    memset(stack, 0xA5, STACK_BYTES);
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstack(&attr, stack, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, render_deepest, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    size_t untouched = 0;
    while (untouched < STACK_BYTES && stack[untouched] == 0xA5) untouched++;
    print_message("deepest templates used %zu KiB of a %d KiB stack\n", (STACK_BYTES - untouched) >> 10,
        STACK_BYTES >> 10);
    assert_true(untouched > STACK_BYTES / 8);
    pthread_attr_destroy(&attr);
    free(stack);
}

struct long_text { const char *source; struct slm_template_args args[2]; };

static void render_long(void *user, bool large)
{
    const struct long_text *text = user;
    struct outcome o = render_with(text->source, strlen(text->source), &text->args[large], NULL);
    if (o.status != SLM_OK) print_error("%s: %s\n", o.error.where, o.error.message);
    assert_int_equal(o.status, SLM_OK);
    slm_buf_release(&o.out);
}

static void test_time_is_linear_in_the_input(void **state)
{
    static const char *const sources[] = {
        "{{ messages[0].content }}", "{{ messages[0].content|trim|upper|lower }}", "{{ messages[0].content|tojson }}",
        "{{ messages[0].content.split(' ')|join('-') }}", "{{ messages[0].content.replace('a', 'bb') }}",
        "{{ messages }}",
        "{{ messages[0].content|indent }}", "{{ messages[0].content|title }}",
        "{{ messages[0].content.rsplit('c', 1)[-1].lstrip('x') }}",
        "{{ messages[0].content[::-1] }}",
        "{% set ns = namespace(s='') %}{% for w in messages[0].content.split(' ') %}{% set ns.s = ns.s + w %}{% "
            "endfor %}{{ ns.s }}"};
    (void)state;
    skip_when_far_too_slow();
    enum { N = 2500, TIMES = 16, MOST = TIMES * TIMES / 4 }; /* linear: TIMES; quadratic: TIMES * TIMES */
    char *texts[2];
    struct long_text text = {.args = {defaults, defaults}};
    for (int large = 0; large < 2; large++) {
        texts[large] = repeat("[{\"role\":\"user\",\"content\":\"", "word é ", large ? N * TIMES : N, "\"}]");
        text.args[large].messages_json = texts[large];
    }
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        text.source = sources[i];
        const double ratio = test_ratio(render_long, &text, MOST);
        if (ratio > MOST) fail_msg("%s: %d times the text took %.1f times as long", sources[i], TIMES, ratio);
    }
    for (int large = 0; large < 2; large++) free(texts[large]);
}

static void test_one_template_serves_many_threads(void **state)
{
    (void)state;
    struct slm_template *tmpl = NULL;
    assert_int_equal(slm_template_parse(slm_str("{{ bos_token }}{{ n }}"), "t", &tmpl, NULL), SLM_OK);
    struct slm_buf out = {0};
    assert_true(slm_buf_puts(&out, "before:"));
    for (int i = 0; i < 3; i++) assert_int_equal(slm_template_render(tmpl, &defaults, NULL, &out, NULL), SLM_OK);
    assert_string_equal(out.data, "before:<s>7<s>7<s>7"); /* appends; nothing is left behind in the template */
    slm_buf_release(&out);
    slm_template_free(tmpl);
    slm_template_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_print_as_python_prints_them),
        cmocka_unit_test(test_operators_follow_pythons_rules),
        cmocka_unit_test(test_strings_know_unicode), cmocka_unit_test(test_undefined_behaves_as_in_jinja2),
        cmocka_unit_test(test_attributes_and_items), cmocka_unit_test(test_whitespace_control),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_macros_and_blocks),
        cmocka_unit_test(test_what_a_body_sets_hides_what_is_passed), cmocka_unit_test(test_filters),
        cmocka_unit_test(test_tojson_is_json_dumps),
        cmocka_unit_test(test_strftime_now), cmocka_unit_test(test_dates_agree_with_the_c_library),
        cmocka_unit_test(test_deep_nesting_is_refused), cmocka_unit_test(test_runaway_macros_are_stopped),
        cmocka_unit_test(test_values_that_contain_themselves), cmocka_unit_test(test_expensive_templates_are_stopped),
        cmocka_unit_test(test_arithmetic_has_no_undefined_behaviour), cmocka_unit_test(test_ways_out_are_refused),
        cmocka_unit_test(test_broken_templates_name_the_place), cmocka_unit_test(test_the_templates_own_errors),
        cmocka_unit_test(test_messages_are_never_evaluated), cmocka_unit_test(test_bad_json_is_an_error),
        cmocka_unit_test(test_limits_of_the_caller_hold), cmocka_unit_test(test_the_stack_stays_small),
        cmocka_unit_test(test_time_is_linear_in_the_input), cmocka_unit_test(test_one_template_serves_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
