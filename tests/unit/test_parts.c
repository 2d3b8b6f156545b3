/* SPDX-License-Identifier: MIT
 * Parts of an answer. Each row is a text as a model of some kind writes it, and what is in it, written by hand from the
 * models' own templates and documents. Every row is fed whole, byte by byte, and cut in two at every place: the parts
 * must be the same, and their raw texts together the text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/os.h"
#include "effort.h"
#include "engine/parts.h"
#include "fake_os.h"

#define QWEN "... <think> ... <tool_call> ... </tool_call>"
#define LLAMA "<|python_tag|> ... 'Respond in the format {\"name\": function name, \"parameters\": dictionary'"
#define PHI "'<|tool|>' + message['tools'] + '<|/tool|>'"
#define MISTRAL "[AVAILABLE_TOOLS] ... [TOOL_CALLS]"
#define MAGISTRAL MISTRAL " [THINK] ... [/THINK]"
#define GEMMA "<start_of_turn>model"

/* want: kinds as T(...), C(...), F(name|arguments), neighbours of one kind joined. */
static const struct { const char *style, *prompt; bool tools; const char *text, *want; } rows[] = {
    {"", "", true, "", ""},
    {"", "", true, "Hello <think>x</think> {\"name\":1}", "C(Hello <think>x</think> {\"name\":1})"},
    /* thinking */
    {QWEN, "<|im_start|>assistant\n", false, "<think>\nHm.\n\nSo.\n</think>\n\nYes.\n", "T(Hm.\n\nSo.)C(Yes.\n)"},
    {QWEN, "assistant\n<think>\n", false, "Hm.\n</think>\n\nYes.", "T(Hm.)C(Yes.)"},
    {QWEN, "assistant\n<think>\n\n</think>\n\n", false, "Yes. </think>", "C(Yes. </think>)"},
    {QWEN, "", false, "<think>\n\n</think>\n\nYes.", "C(Yes.)"},
    {QWEN, "", false, "\n <think>Hm", "T(Hm)"},
    {QWEN, "", false, "<think>Hm </thin", "T(Hm </thin)"},
    {QWEN, "", false, "<think>a <think> b</think>c", "T(a <think> b)C(c)"},
    {QWEN, "", false, "Write <think> first.", "C(Write <think> first.)"},
    {QWEN, "", false, "<thin", "C(<thin)"},
    {QWEN, "", false, "<thinking>", "C(<thinking>)"},
    {MAGISTRAL, "", false, "[THINK]Hm[/THINK]Yes", "T(Hm)C(Yes)"},
    /* Hermes and Qwen */
    {QWEN, "", true, "<think>\nx\n</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
     "T(x)F(f|{\"a\": 1})"},
    {QWEN, "", false, "Sure.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"arguments\": "
     "{\"b\": [1, {\"c\": \"}\\\"</tool_call>\"}]}, \"name\": \"g\"}\n</tool_call>\nDone.",
     "C(Sure.)F(f|{})F(g|{\"b\": [1, {\"c\": \"}\\\"</tool_call>\"}]})C(Done.)"},
    {QWEN, "", false, "<tool_call>{\"name\": \"f\"}</tool_call>", "F(f|{})"},
    {QWEN, "", false, "<tool_call>{\"name\": \"f\", \"arguments\": {}}", "F(f|{})"},
    {QWEN, "", false, "<tool_call>{\"name\": \"f\", \"arguments\": {}} ", "F(f|{})"},
    {QWEN, "", false, "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {}}}</tool_call>",
     "F(f|{})"},
    {QWEN, "", false, "<tool_call>{\"name\": \"\\u0066\\n\", \"arguments\": {}}</tool_call>", "F(f\n|{})"},
    /* no calls: nothing is lost */
    {QWEN, "", false, "a <tool_call>{\"name\": \"f\", \"argu", "C(a <tool_call>{\"name\": \"f\", \"argu)"},
    {QWEN, "", false, "<tool_call>{\"name\": 3, \"arguments\": {}}</tool_call> b",
     "C(<tool_call>{\"name\": 3, \"arguments\": {}}</tool_call> b)"},
    {QWEN, "", false, "<tool_call>{\"name\": \"f\" \"arguments\": {}}</tool_call>",
     "C(<tool_call>{\"name\": \"f\" \"arguments\": {}}</tool_call>)"},
    {QWEN, "", false, "<tool_call>{]</tool_call>x", "C(<tool_call>{]</tool_call>x)"},
    {QWEN, "", false, "<tool_call>{}</tool_call>x", "C(<tool_call>{}</tool_call>x)"},
    {QWEN, "", false, "<tool_call> is a mark. <tool_call>{\"name\":\"f\"}</tool_call>",
     "C(<tool_call> is a mark.)F(f|{})"},
    {QWEN, "", false, "<tool_call>{\"name\": \"f\", \"arguments\": \"x\"}</tool_call>", "F(f|{})"},
    {QWEN, "", false, "<tool_call>{\"name\":\"f\"} x</tool_call>", "C(<tool_call>{\"name\":\"f\"} x</tool_call>)"},
    {QWEN, "", false, "<tool_call>{\"name\":\"f\"}", "F(f|{})"},
    {QWEN, "", false, "<tool_call", "C(<tool_call)"},
    {QWEN, "", false, "</tool_call>x", "C(</tool_call>x)"},
    {QWEN, "", false, "<tool_call>\xff", "C(<tool_call>\xff)"},
    /* Llama */
    {LLAMA, "", true, "{\"name\": \"f\", \"parameters\": {\"x\": \"{\"}}", "F(f|{\"x\": \"{\"})"},
    {LLAMA, "", true, "\n {\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}", "F(f|{})F(g|{})"},
    {LLAMA, "", true, "{\"name\": \"f\"}", "C({\"name\": \"f\"})"},
    {LLAMA, "", true, "{\"name\": \"f\", \"parameters\": {}} is JSON", "F(f|{})C(is JSON)"},
    {LLAMA, "", true, "JSON: {\"name\": \"f\", \"parameters\": {}}", "C(JSON: {\"name\": \"f\", \"parameters\": {}})"},
    {LLAMA, "", false, "{\"name\": \"f\", \"parameters\": {}}", "C({\"name\": \"f\", \"parameters\": {}})"},
    {LLAMA, "", true, "{\"answer\": 42}\n", "C({\"answer\": 42}\n)"},
    {LLAMA, "", true, "{\"name\": \"f", "C({\"name\": \"f)"},
    {LLAMA, "", true, "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"q\": 1}}", "F(f|{\"q\": 1})"},
    {LLAMA, "", false, "<|python_tag|>print(\"{}\")", "C(<|python_tag|>print(\"{}\"))"},
    /* Phi-4-mini */
    {PHI, "", true, "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]"
     "<|/tool_call|>", "F(f|{\"a\": 1})F(g|{})"},
    {PHI, "", true, "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}, 3]<|/tool_call|>",
     "C(<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}, 3]<|/tool_call|>)"},
    {PHI, "", true, "<|tool_call|>[]<|/tool_call|>", "C(<|tool_call|>[]<|/tool_call|>)"},
    /* Mistral: v3, v11, v13 */
    {MISTRAL, "", true, "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": []}, \"id\": \"abc\"}]", "F(f|{\"a\": []})"},
    {MISTRAL, "", true, "[TOOL_CALLS]f[CALL_ID]1a2[ARGS]{\"a\": 1}", "F(f|{\"a\": 1})"},
    {MISTRAL, "", true, "Ok.[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g{}", "C(Ok.)F(f|{\"a\": 1})F(g|{})"},
    {MISTRAL, "", true, "[TOOL_CALLS]f g[ARGS]{}", "C([TOOL_CALLS]f g[ARGS]{})"},
    {MISTRAL, "", true, "[TOOL_CALLS]f", "C([TOOL_CALLS]f)"},
    {MISTRAL, "", true, "[TOOL_CALLS]f\nno", "C([TOOL_CALLS]f\nno)"},
    {MISTRAL, "", true, "[TOOL_CALLS]f[ARGS]{\"a\":}", "C([TOOL_CALLS]f[ARGS]{\"a\":})"},
    /* Gemma has no marks of its own; the block is what prompts for it ask for */
    {GEMMA, "", true, "```tool_code\n{\"name\": \"f\", \"parameters\": {}}\n```", "F(f|{})"},
    {GEMMA, "", false, "```tool_code\nget_weather(city=\"Paris\")\n```", "F(get_weather|{\"city\": \"Paris\"})"},
    {GEMMA, "", false, "Let me see.\n```tool_code\nprint(f(x=1))\n```\nDone.", "C(Let me see.)F(f|{\"x\": 1})C(Done.)"},
    {GEMMA, "", false, "```tool_code\n# first\nf(a='it\\'s', b=[1, -2.5, True, None, {'k': (1, '```')}])\n\ng() ; h(x=\"\"\"a\"b\n\"\"\")\n```",
     "F(f|{\"a\": \"it's\", \"b\": [1, -2.5, true, null, {\"k\": [1, \"```\"]}]})F(g|{})F(h|{\"x\": \"a\\\"b\\n\"})"},
    {GEMMA, "", false, "```tool_code\n[f(a=''), g(b=1,)]", "F(f|{\"a\": \"\"})F(g|{\"b\": 1})"},
    {GEMMA, "", false, "```tool_code\nmath.add(a=1), print(g(), h(from='x'))\n```",
     "F(math.add|{\"a\": 1})F(g|{})F(h|{\"from\": \"x\"})"},
    {GEMMA, "", false, "```tool_code\n[{\"name\": \"f\", \"parameters\": {}}, {\"name\": \"g\", \"parameters\": {}}]\n```",
     "F(f|{})F(g|{})"},
    {GEMMA, "", false, "```tool_code\nprint(text='x')\n```", "F(print|{\"text\": \"x\"})"},
    {GEMMA, "", true, "[f(a=1), g(b='x')]", "F(f|{\"a\": 1})F(g|{\"b\": \"x\"})"},
    {GEMMA, "", true, "\n[ f(a=[[]]) ] more", "F(f|{\"a\": [[]]})C(more)"},
    {GEMMA, "", true, "{\"name\": \"f\", \"parameters\": {}}", "F(f|{})"},
    {GEMMA, "", false, "[f(a=1)]", "C([f(a=1)])"},
    {GEMMA, "", true, "As [f(a=1)]", "C(As [f(a=1)])"},
    {LLAMA, "", true, "[f(a=1)]", "F(f|{\"a\": 1})"},
    {LLAMA, "", false, "<|python_tag|>brave_search.call(query=\"rain\")", "F(brave_search|{\"query\": \"rain\"})"},
    {LLAMA, "", false, "<|python_tag|>f(a=1)\ng(b=2)\n", "F(f|{\"a\": 1})F(g|{\"b\": 2})"},
    {QWEN, "", true, "[f(a=1)]", "C([f(a=1)])"},
    {QWEN, "", true, "<tool_call>f(a=1)</tool_call>", "C(<tool_call>f(a=1)</tool_call>)"},
    {GEMMA MAGISTRAL, "", true, "[THINK]a[/THINK][f()]", "T(a)F(f|{})"},
    /* other Python, and what only looks like it, is content */
    {LLAMA, "", false, "<|python_tag|>plot(x=1)\nplt.show(2)", "C(<|python_tag|>plot(x=1)\nplt.show(2))"},
    {LLAMA, "", false, "<|python_tag|>import os\nf(a=1)", "C(<|python_tag|>import os\nf(a=1))"},
    {LLAMA, "", false, "<|python_tag|>f(a=1).g()", "C(<|python_tag|>f(a=1).g())"},
    {LLAMA, "", true, "[Paris](/see) is", "C([Paris](/see) is)"},
    {LLAMA, "", true, "[1, 2]", "C([1, 2])"},
    {LLAMA, "", true, "[f(a=1), 2] [g()]", "C([f(a=1), 2] [g()])"},
    {LLAMA, "", true, "[f(a=1), ", "C([f(a=1), )"},
    {GEMMA, "", true, "```tool_code\nf(1)\n```", "C(```tool_code\nf(1)\n```)"},
    {GEMMA, "", true, "```tool_code\nx = f(a=1)\n```", "C(```tool_code\nx = f(a=1)\n```)"},
    {GEMMA, "", true, "```tool_code\nf(a=1)\nThat's it.\n```", "C(```tool_code\nf(a=1)\nThat's it.\n```)"},
    {GEMMA, "", true, "```tool_code\nf(a=g())\nf(a=1, a=2)```", "C(```tool_code\nf(a=g())\nf(a=1, a=2)```)"},
    {GEMMA, "", true, "```tool_code\nf(a=1, a=2)\n```", "C(```tool_code\nf(a=1, a=2)\n```)"},
    {GEMMA, "", true, "```tool_code\nf(a='\n')\n```", "C(```tool_code\nf(a='\n')\n```)"},
    {GEMMA, "", true, "```tool_code\n# nothing\n```", "C(```tool_code\n# nothing\n```)"},
    {GEMMA, "", true, "```tool_code\nf(a='\xff')```", "C(```tool_code\nf(a='\xff')```)"},
    {GEMMA, "", true, "```tool_codes\nf()```", "C(```tool_codes\nf()```)"},
};

struct seen { struct slm_buf parts, raw; int last; };

/* Writes parts in the form of `want`. */
static bool on_part(void *user, const struct slm_part *part)
{
    struct seen *seen = user;
    slm_buf_add(&seen->raw, part->raw, part->raw_bytes);
    if (part->kind == SLM_PART_TOOL_CALL) {
        slm_buf_printf(&seen->parts, "%sF(%s|%s)", seen->last >= 0 ? ")" : "", part->name, part->text);
        assert_int_equal(strlen(part->text), part->text_bytes);
        seen->last = -1;
    } else if (part->text_bytes) {
        assert_null(part->name);
        if (seen->last != (int)part->kind)
            slm_buf_printf(&seen->parts, "%s%s(", seen->last >= 0 ? ")" : "", part->kind == SLM_PART_THINKING ? "T" : "C");
        slm_buf_add(&seen->parts, part->text, part->text_bytes);
        seen->last = (int)part->kind;
    }
    return true;
}

static struct slm_parts *open_row(size_t i)
{
    const struct slm_parts_style style = {
        .template_text = rows[i].style, .prompt_end = rows[i].prompt, .tools = rows[i].tools};
    struct slm_parts *parts = NULL;
    assert_int_equal(slm_parts_new(&style, &parts, NULL), SLM_OK);
    return parts;
}

/* Feeds the row in pieces: up to `cut`, then the rest, or with step byte by byte. */
static void check(size_t i, size_t cut, bool bytewise)
{
    struct slm_parts *parts = open_row(i);
    struct seen seen = {.last = -1};
    const size_t n = strlen(rows[i].text);
    for (size_t at = 0, step; at < n; at += step) {
        step = bytewise ? 1 : at == 0 && cut ? cut : n - at;
        assert_int_equal(slm_parts_feed(parts, rows[i].text + at, step, on_part, &seen, NULL), SLM_OK);
    }
    assert_int_equal(slm_parts_finish(parts, on_part, &seen, NULL), SLM_OK);
    if (seen.last >= 0) slm_buf_puts(&seen.parts, ")");
    slm_buf_puts(&seen.parts, "");
    slm_buf_puts(&seen.raw, "");
    if (strcmp(seen.parts.data, rows[i].want) != 0 || strcmp(seen.raw.data, rows[i].text) != 0)
        fail_msg("row %zu, cut at %zu: '%s'\n is '%s'\n not '%s'\n raw '%s'", i, cut, rows[i].text, seen.parts.data,
                 rows[i].want, seen.raw.data);
    slm_buf_release(&seen.parts);
    slm_buf_release(&seen.raw);
    slm_parts_close(parts);
}

static void every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t cut = 0; cut <= strlen(rows[i].text); cut = test_next(cut)) check(i, cut, false);
        check(i, 0, true);
    }
}

/* ---- a long text costs its length ---- */

static bool count_part(void *user, const struct slm_part *part)
{
    *(size_t *)user += part->raw_bytes;
    return true;
}

static void long_texts(void **state)
{
    (void)state;
    static const char *const units[] = {"<", "<tool_call>", "<tool_call>{", "<tool_call>{\"name\":\"f\"}</tool_call>\n", " ",
                                        "{", "[TOOL_CALLS]f", "<think>", "</think>",
                                        "```tool_code\n", "```tool_code\nf(a='", "```tool_code\nf(a=1)```", "[a", "[ ",
                                        "[f(a=1), ", "<|python_tag|>f(a=1)\n", "[f(a=((((((((((", "\"\"\""};
    const struct slm_parts_style style = {.template_text = QWEN LLAMA MAGISTRAL PHI GEMMA, .tools = true};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        struct slm_buf text = {0};
        while (text.len < test_share(4 << 20)) slm_buf_puts(&text, units[u]);
        for (size_t step = 7; step <= text.len; step *= 1000) {
            struct slm_parts *parts = NULL;
            size_t n = 0;
            assert_int_equal(slm_parts_new(&style, &parts, NULL), SLM_OK);
            for (size_t at = 0; at < text.len; at += step)
                assert_int_equal(slm_parts_feed(parts, text.data + at, step < text.len - at ? step : text.len - at,
                                                count_part, &n, NULL), SLM_OK);
            assert_int_equal(slm_parts_finish(parts, count_part, &n, NULL), SLM_OK);
            assert_int_equal(n, text.len);
            slm_parts_close(parts);
        }
        slm_buf_release(&text);
    }
}

/* ---- stopping ---- */

static bool refuse(void *user, const struct slm_part *part)
{
    (void)user, (void)part;
    return false;
}

static void can_be_stopped(void **state)
{
    (void)state;
    struct slm_parts *parts = open_row(2);
    struct slm_error error = {0};
    assert_int_equal(slm_parts_feed(parts, "a", 1, refuse, NULL, &error), SLM_ERR_CANCELLED);
    slm_parts_close(parts);
    slm_parts_close(NULL);
}

/* ---- failures of the machine ---- */

static slm_status split(void *row, struct slm_error *error)
{
    const size_t i = *(const size_t *)row;
    const struct slm_parts_style style = {.template_text = rows[i].style, .tools = rows[i].tools};
    struct slm_parts *parts = NULL;
    size_t n = 0;
    SLM_TRY(slm_parts_new(&style, &parts, error));
    slm_status status = SLM_OK;
    for (size_t at = 0; rows[i].text[at] && status == SLM_OK; at++)
        status = slm_parts_feed(parts, rows[i].text + at, 1, count_part, &n, error);
    if (status == SLM_OK) status = slm_parts_finish(parts, count_part, &n, error);
    slm_parts_close(parts);
    return status;
}

static void memory_runs_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strstr(rows[i].want, "F(")) fake_os_every_failure(NULL, FAKE_MEMORY, false, split, &i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut), cmocka_unit_test(long_texts),
                                       cmocka_unit_test(can_be_stopped), cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
