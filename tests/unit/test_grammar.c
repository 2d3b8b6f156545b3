/* SPDX-License-Identifier: MIT
 * Grammars on a vocabulary made for it: every byte is a token, and so are texts that begin and end in the middle of
 * characters, a special one, and two that end a text. A mask is compared with what it stands for, taking each token;
 * what JSON Schema, regular expressions and real vocabularies mean is compared with other programs in
 * e2e/test_grammar.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "effort.h"
#include "grammar/grammar.h"
#include "grammar/machine.h"
#include "slm.h"

/* ---- the vocabulary --------------------------------------------------------------------------------------------- */

static const char *const texts[] = { /* behind the bytes */
    "ab", "abc", "é", "日", "日本", "\xE6\x97", "\xA5", "\xE6\x97\xA5\xE6", "{\"", "\": ", "\":", "}", "]}", "\"}\n",
    "true", "tru", "12", "-1", ", ", ",\"", "\\u00", "\\\"", "  ", "\n", "<tool_call>", "</tool_call>", "ab",
    "ababababababababababab", "                        ", "",
};
enum { N_TEXTS = sizeof texts / sizeof *texts, FIRST = 256, END = FIRST + N_TEXTS, OTHER_END, SPECIAL, N };
enum { WORDS = (N + 63) / 64 };

static struct slm_str text_of(const void *user, int32_t id, bool *special)
{
    static char bytes[256];
    (void)user;
    *special = id == SPECIAL;
    if (id == SPECIAL) return slm_str("<tool_call>"); /* of the same text as an ordinary one */
    if (id >= END) return slm_str("</s>");
    if (id >= FIRST) return slm_str(texts[id - FIRST]);
    bytes[id] = (char)id;
    return (struct slm_str){bytes + id, 1};
}

static bool ends(const void *user, int32_t id)
{
    (void)user;
    return id == END || id == OTHER_END;
}

static struct slm_vocab *vocab;

static int open_vocab(void **state)
{
    const struct slm_vocab_source source = {.n_vocab = N, .text = text_of, .ends = ends};
    (void)state;
    return slm_vocab_open(&source, &vocab, NULL) == SLM_OK ? 0 : -1;
}

static int close_vocab(void **state)
{
    (void)state;
    slm_vocab_close(vocab);
    return 0;
}

static struct slm_grammar *open_grammar(enum slm_grammar_kind kind, const char *text)
{
    struct slm_grammar *grammar = NULL;
    struct slm_error error = {0};
    if (slm_grammar_new(vocab, kind, slm_str(text), &grammar, &error) != SLM_OK)
        fail_msg("%s: %s: %s", text, error.where, error.message);
    return grammar;
}

static struct slm_grammar_state *begin(const struct slm_grammar *grammar)
{
    struct slm_grammar_state *state;
    assert_int_equal(slm_grammar_state_open(grammar, &state, NULL), SLM_OK);
    return state;
}

static bool allows(const uint64_t *mask, int32_t id) { return mask[id / 64] >> (id % 64) & 1; }

/* ---- masks ------------------------------------------------------------------------------------------------------ */

static const struct { enum slm_grammar_kind kind; const char *text; } grammars[] = {
    {SLM_GRAMMAR_JSON_OBJECT, ""},
    {SLM_GRAMMAR_JSON_SCHEMA, "{\"type\":\"object\",\"properties\":{\"ab\":{\"enum\":[true,12,\"é\"]},\"日\":{\"type\":"
                              "\"array\",\"items\":{\"type\":\"integer\",\"minimum\":-12,\"maximum\":120}}},"
                              "\"required\":[\"ab\"]}"},
    {SLM_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}"},
    {SLM_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"pattern\":\"^(ab|日本)+$\",\"maxLength\":9}"},
    {SLM_GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":"
                              "\"#/$defs/t\"},\"maxItems\":2}}}"},
    {SLM_GRAMMAR_REGEX, "(ab|c)*[^a]日?.{0,3}"},
    {SLM_GRAMMAR_CHOICE, "[\"ab\",\"abc\",\"日本\",\"\"]"},
    {SLM_GRAMMAR_GBNF, "root ::= \"[\" (root (\",\" root)*)? \"]\" | <tool_call> [ab]+"},
};

/* A token is in the mask exactly when the text can be taken: at every place of texts drawn from the masks. */
static void a_mask_is_what_can_be_taken(void **state)
{
    (void)state;
    struct slm_rng rng = {.seed = 11};
    uint64_t mask[WORDS];
    for (size_t g = 0; g < sizeof grammars / sizeof *grammars; g++) {
        struct slm_grammar *grammar = open_grammar(grammars[g].kind, grammars[g].text);
        struct slm_grammar_state *other = begin(grammar);
        size_t n_ended = 0;
        for (size_t k = 0; k < test_share(40); k++) {
            struct slm_grammar_state *s = begin(grammar);
            for (size_t n = 0; n < 24; n++) {
                int32_t pick = -1;
                size_t n_allowed = 0;
                assert_int_equal(slm_grammar_mask(s, mask, NULL), SLM_OK);
                for (int32_t id = 0; id < N; id++) {
                    slm_grammar_state_copy(other, s);
                    const bool taken = slm_grammar_accept(other, id, NULL) == SLM_OK;
                    if (taken != allows(mask, id)) fail_msg("grammar %zu, token %d: %d", g, id, taken);
                    if (ends(NULL, id)) assert_int_equal(taken, slm_grammar_is_complete(s));
                    if (taken && slm_rng_next(&rng) % ++n_allowed == 0) pick = id;
                }
                assert_true(n_allowed > 0);
                for (int32_t id = N; id < WORDS * 64; id++) assert_false(allows(mask, id));
                assert_int_equal(slm_grammar_accept(s, pick, NULL), SLM_OK);
                n_ended += ends(NULL, pick);
                if (ends(NULL, pick) || slm_grammar_is_final(s)) break;
            }
            slm_grammar_state_close(s);
        }
        /* A random object is long, and so may a few texts be. */
        assert_true(n_ended > 0 || grammars[g].kind <= SLM_GRAMMAR_JSON_OBJECT || test_is_far_too_slow());
        slm_grammar_state_close(other);
        slm_grammar_close(grammar);
    }
}

/* Masks of counted texts are shared among counts that no token can tell apart: also deep inside and near both ends a
 * token is in the mask exactly when the text can be taken. */
static void masks_are_exact_deep_in_long_texts(void **state)
{
    static const struct { const char *schema, *piece; size_t lengths[6]; } rows[] = {
        {"{\"type\":\"string\",\"pattern\":\"[A-Z]\",\"minLength\":2,\"maxLength\":700}", "a",
         {1, 300, 444, 690, 698, 699}},
        {"{\"type\":\"string\",\"pattern\":\"[A-Z]$\",\"minLength\":600}", "\\n", {1, 300, 340, 345, 598, 601}},
        {"{\"type\":\"string\",\"pattern\":\"^(ab)*$\",\"maxLength\":601}", "ab", {0, 20, 298, 299, 300, 250}},
        {"{\"type\":\"string\",\"maxLength\":9000}", "日", {1, 1020, 1024, 8190, 8999, 9000}},
        {"{\"type\":\"string\",\"pattern\":\"^a*(bc)?a{3}$\",\"maxLength\":500}", "a", {1, 200, 490, 495, 497, 499}},
        {"{\"type\":\"string\",\"maxLength\":60}", "a", {0, 1, 38, 39, 46, 60}},
        {"{\"type\":\"string\",\"pattern\":\"^(?:ab){2,30}$\"}", "ab", {0, 1, 14, 18, 20, 30}},
        {"{\"type\":\"string\",\"pattern\":\"^(?:[a-c]{1,40}-){1,30}$\"}", "ab", {0, 5, 9, 12, 19, 20}},
        {"{\"type\":\"string\",\"pattern\":\"b\",\"minLength\":30,\"maxLength\":90}", "a", {3, 10, 29, 66, 80, 89}},
    };
    uint64_t mask[WORDS];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_grammar *grammar = open_grammar(SLM_GRAMMAR_JSON_SCHEMA, rows[i].schema);
        struct slm_grammar_state *s = begin(grammar), *other = begin(grammar);
        assert_int_equal(slm_grammar_accept_text(s, "\"", 1, NULL), SLM_OK);
        for (size_t n = 0, k = 0; k < 6; n++) {
            /* Lengths need not be in order: the text is gone through once for all. */
            bool look = false;
            for (size_t j = 0; j < 6; j++) look |= rows[i].lengths[j] == n;
            k += look;
            if (look) assert_int_equal(slm_grammar_mask(s, mask, NULL), SLM_OK);
            for (int32_t id = 0; id < N && look; id++) {
                slm_grammar_state_copy(other, s);
                const bool taken = slm_grammar_accept(other, id, NULL) == SLM_OK;
                if (taken != allows(mask, id)) fail_msg("row %zu behind %zu, token %d: %d", i, n, id, taken);
            }
            if (k < 6) assert_int_equal(slm_grammar_accept_text(s, rows[i].piece, strlen(rows[i].piece), NULL), SLM_OK);
        }
        slm_grammar_state_close(s);
        slm_grammar_state_close(other);
        slm_grammar_close(grammar);
    }
}

/* Bytes that begin no character, or go on with none, are never allowed: RFC 3629, section 4, row by row. */
static void characters_are_whole(void **state)
{
    static const struct { const char *begin; unsigned lo, hi; } rows[] = {
        {"\xC2", 0x80, 0xBF}, {"\xDF", 0x80, 0xBF}, {"\xE0", 0xA0, 0xBF}, {"\xE1", 0x80, 0xBF}, {"\xEC", 0x80, 0xBF},
        {"\xED", 0x80, 0x9F}, {"\xEE", 0x80, 0xBF}, {"\xEF", 0x80, 0xBF}, {"\xF0", 0x90, 0xBF}, {"\xF1", 0x80, 0xBF},
        {"\xF3", 0x80, 0xBF}, {"\xF4", 0x80, 0x8F}, {"\xF0\x90", 0x80, 0xBF}, {"\xF4\x8F\xBF", 0x80, 0xBF},
        {"\xE6\x97", 0x80, 0xBF},
    };
    static const enum slm_grammar_kind kinds[] = {SLM_GRAMMAR_REGEX, SLM_GRAMMAR_GBNF, SLM_GRAMMAR_JSON_SCHEMA};
    static const char *const any[] = {"[^x]*", "root ::= [^x]*", "{\"type\":\"string\"}"};
    uint64_t mask[WORDS];
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        struct slm_grammar *grammar = open_grammar(kinds[k], any[k]);
        struct slm_grammar_state *s = begin(grammar), *t = begin(grammar);
        if (kinds[k] == SLM_GRAMMAR_JSON_SCHEMA) assert_int_equal(slm_grammar_accept_text(s, "\"", 1, NULL), SLM_OK);
        assert_int_equal(slm_grammar_mask(s, mask, NULL), SLM_OK);
        for (int b = 0x80; b < 0x100; b++) assert_int_equal(allows(mask, b), b >= 0xC2 && b <= 0xF4);
        assert_true(allows(mask, FIRST + 5) && !allows(mask, FIRST + 6)); /* the first part of a character; the last */
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            slm_grammar_state_copy(t, s);
            assert_int_equal(slm_grammar_accept_text(t, rows[i].begin, strlen(rows[i].begin), NULL), SLM_OK);
            assert_false(slm_grammar_is_complete(t));
            assert_int_equal(slm_grammar_mask(t, mask, NULL), SLM_OK);
            for (unsigned b = 0; b < 0x100; b++)
                if (allows(mask, (int32_t)b) != (b >= rows[i].lo && b <= rows[i].hi))
                    fail_msg("%s, row %zu: byte %02x", any[k], i, b);
        }
        slm_grammar_state_close(s);
        slm_grammar_state_close(t);
        slm_grammar_close(grammar);
    }
}

static void a_special_token_is_not_its_text(void **state)
{
    uint64_t mask[WORDS];
    (void)state;
    struct slm_grammar *grammar = open_grammar(SLM_GRAMMAR_REGEX, ".*");
    struct slm_grammar_state *s = begin(grammar);
    assert_int_equal(slm_grammar_mask(s, mask, NULL), SLM_OK);
    assert_true(allows(mask, FIRST + 24) && !allows(mask, SPECIAL) && !allows(mask, FIRST + N_TEXTS - 1)); /* no text */
    assert_true(slm_grammar_is_complete(s) && allows(mask, END) && allows(mask, OTHER_END));
    assert_int_equal(slm_grammar_accept(s, -1, NULL), SLM_ERR_ARGUMENT);
    assert_int_equal(slm_grammar_accept(s, N, NULL), SLM_ERR_ARGUMENT);
    assert_int_equal(slm_grammar_accept(s, END, NULL), SLM_OK);
    assert_true(slm_grammar_is_final(s));
    assert_int_not_equal(slm_grammar_accept(s, 'a', NULL), SLM_OK);
    slm_grammar_state_close(s);
    slm_grammar_close(grammar);
}

/* ---- what is refused, and where --------------------------------------------------------------------------------- */

/* Row Q04: four rules of 200 optional letters. Counted, not timed: of the ways that letters lead on from the
 * configurations that are met, only one in ten may have to be worked out anew. */
static void ambiguous_rules_share_their_work(void **state)
{
    struct slm_nfa nfa = {0};
    struct slm_machine m;
    struct slm_buf text = {0};
    uint32_t root;
    size_t n_steps = 0;
    (void)state;
    slm_buf_puts(&text, "root ::= r0");
    for (int r = 0; r < 4; r++) {
        slm_buf_printf(&text, "\nr%d ::=", r);
        for (int k = 0; k < 200; k++) slm_buf_printf(&text, " \"%c\"?", 'a' + k % 26);
        if (r < 3) slm_buf_printf(&text, " r%d", r + 1);
    }
    assert_int_equal(slm_grammar_compile(&nfa, SLM_GRAMMAR_GBNF, (struct slm_str){text.data, text.len}, &root), SLM_OK);
    assert_int_equal(slm_machine_open(&m, &nfa, NULL), SLM_OK);
    const uint32_t start = slm_machine_start(&m, root);
    for (size_t at = start; at < m.n_configs && at < 400; at++, n_steps += 26)
        for (uint8_t c = 'a'; c <= 'z'; c++) assert_int_not_equal(slm_machine_step(&m, (uint32_t)at, c), SLM_CONFIG_UNKNOWN);
    assert_true(n_steps == 400 * 26 - start * 26);
    if (10 * m.n_kernels > n_steps) fail_msg("%zu of %zu steps were worked out", m.n_kernels, n_steps);
    slm_machine_release(&m);
    slm_nfa_release(&nfa);
    slm_buf_release(&text);
}

static void errors_name_their_place(void **state)
{
    static const struct {
        enum slm_grammar_kind kind;
        slm_status status;
        const char *text, *where, *message;
    } rows[] = {
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_UNSUPPORTED, "{\"properties\":{\"a\":{\"type\":\"number\","
         "\"multipleOf\":0.5}}}", "#/properties/a/multipleOf", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_UNSUPPORTED, "{\"items\":{\"not\":{\"items\":{}}}}", "#/items/not/items", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_UNSUPPORTED, "{\"properties\":{\"a/b~\":{\"if\":{\"minLength\":1},\"then\":{}}}}",
         "#/properties/a~1b~0/if/minLength", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_UNSUPPORTED, "{\"$ref\":\"http://localhost/x\"}", "#/$ref", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_FORMAT, "{\"$ref\":\"#/nowhere\"}", "#/$ref", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_ARGUMENT, "{\"type\":\"string\",\"minLength\":5,\"maxLength\":2}", "#", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_ARGUMENT, "false", "#", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_FORMAT, "{\"type\":\"hiccup\"}", "#/type", "types are"},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_FORMAT, "{\"type\":\"string\",\"maxLength\":-1}", "#/maxLength", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_UNSUPPORTED, "{\"type\":\"string\",\"pattern\":\"(?=a)b\"}", "#/pattern", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_FORMAT, "{\"type\":\"string\",\"pattern\":\"(a\"}", "#/pattern", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_FORMAT, "{\"anyOf\":[]}", "#/anyOf", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_FORMAT, "{\"type\":", "schema", ""},
        {SLM_GRAMMAR_JSON_SCHEMA, SLM_ERR_FORMAT, "7", "#", ""},
        {SLM_GRAMMAR_REGEX, SLM_ERR_UNSUPPORTED, "(a)\\1", "grammar", "regular expression"},
        {SLM_GRAMMAR_REGEX, SLM_ERR_FORMAT, "a{5,2}", "grammar", "at byte 1"},
        {SLM_GRAMMAR_REGEX, SLM_ERR_FORMAT, "[b-a]", "grammar", "regular expression"},
        {SLM_GRAMMAR_REGEX, SLM_ERR_LIMIT, "a{1000000000}", "grammar", "states"},
        {SLM_GRAMMAR_REGEX, SLM_ERR_LIMIT, "((a{1000}){1000}){1000}", "", ""},
        {SLM_GRAMMAR_CHOICE, SLM_ERR_ARGUMENT, "[]", "", ""},
        {SLM_GRAMMAR_CHOICE, SLM_ERR_FORMAT, "[1]", "", "element 0"},
        {SLM_GRAMMAR_CHOICE, SLM_ERR_FORMAT, "[\"a\"", "", ""},
        {SLM_GRAMMAR_GBNF, SLM_ERR_FORMAT, "rot ::= \"a\"", "", "root"},
        {SLM_GRAMMAR_GBNF, SLM_ERR_FORMAT, "root ::= other", "", "other"},
        {SLM_GRAMMAR_GBNF, SLM_ERR_UNSUPPORTED, "root ::= root \"a\" | \"b\"", "", "root"},
        {SLM_GRAMMAR_GBNF, SLM_ERR_UNSUPPORTED, "root ::= a\na ::= \"x\"? root", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_grammar *grammar = NULL;
        struct slm_error error = {0};
        const slm_status status = slm_grammar_new(vocab, rows[i].kind, slm_str(rows[i].text), &grammar, &error);
        const bool at = *rows[i].where == '#' ? strcmp(error.where, rows[i].where) == 0
                                              : strstr(error.where, rows[i].where) != NULL;
        if (status != rows[i].status || !at || !strstr(error.message, rows[i].message) || !*error.message)
            fail_msg("%s: %s, %s: %s", rows[i].text, slm_status_name(status), error.where, error.message);
        assert_null(grammar);
    }
}

/* Deep or large sources end at a limit, not at the end of the stack, and in no time. */
static void sources_have_limits(void **state)
{
    static const struct { enum slm_grammar_kind kind; const char *open, *middle, *close; } nested[] = {
        {SLM_GRAMMAR_REGEX, "(", "a", ")"},
        {SLM_GRAMMAR_JSON_SCHEMA, "{\"items\":", "{}", "}"},
        {SLM_GRAMMAR_JSON_SCHEMA, "{\"anyOf\":[", "{}", "]}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof nested / sizeof *nested; i++)
        for (size_t deep = 0; deep < 2; deep++) {
            struct slm_buf text = {0};
            struct slm_grammar *grammar = NULL;
            struct slm_error error = {0};
            const size_t n = deep ? 20000 : 60;
            for (size_t k = 0; k < n; k++) slm_buf_puts(&text, nested[i].open);
            slm_buf_puts(&text, nested[i].middle);
            for (size_t k = 0; k < n; k++) slm_buf_puts(&text, nested[i].close);
            const slm_status status =
                slm_grammar_new(vocab, nested[i].kind, (struct slm_str){text.data, text.len}, &grammar, &error);
            if ((status == SLM_OK) == (deep == 1)) fail_msg("%zu of %s: %s", n, nested[i].open, error.message);
            slm_grammar_close(grammar);
            slm_buf_release(&text);
        }
    /* How deep an answer may be nested has its limit too, and stays allowed up to it. */
    struct slm_grammar *grammar = open_grammar(SLM_GRAMMAR_GBNF, "root ::= \"[\" root \"]\" \"!\" | \"x\"");
    struct slm_grammar_state *s = begin(grammar);
    size_t n = 0;
    while (n < 5000 && slm_grammar_accept_text(s, "[", 1, NULL) == SLM_OK) n++;
    assert_true(n > 500 && n < 5000);
    slm_grammar_state_close(s);
    slm_grammar_close(grammar);
}

/* ---- values in frames ------------------------------------------------------------------------------------------- */

/* complete, the beginning of one, or none. */
static char match(const struct slm_grammar *grammar, const char *text)
{
    struct slm_grammar_state *s = begin(grammar);
    const bool taken = slm_grammar_accept_text(s, text, strlen(text), NULL) == SLM_OK;
    const char result = !taken ? 'n' : slm_grammar_is_final(s) ? 'f' : slm_grammar_is_complete(s) ? 'y' : 'p';
    slm_grammar_state_close(s);
    return result;
}

static void values_stand_in_frames(void **state)
{
    static const struct slm_grammar_frame
        marks = {.open = "<tool_call>", .close = "</tool_call>", .most = UINT32_MAX, .line_ends = true},
        behind = {.open = "<tool_call>", .close = "</tool_call>", .most = 2, .line_ends = true, .opened = true},
        bare = {.most = 1}, late = {.open = "[X]", .most = 1, .after_text = true};
    static const struct { const struct slm_grammar_frame *frame; const char *text; char result; } rows[] = {
        {&marks, "<tool_call>1</tool_call>", 'y'}, {&marks, "<tool_call>\n2\n</tool_call>", 'y'},
        {&marks, "<tool_call>1</tool_call>\n<tool_call>2</tool_call>\n<tool_call>1", 'p'},
        {&marks, "<tool_call>3</tool_call>", 'n'}, {&marks, "1", 'n'}, {&marks, "<tool_call>\n\n1", 'n'},
        {&marks, "<tool_call>1</tool_call> ", 'n'}, {&marks, "<tool_call>1\n", 'p'}, {&marks, "", 'p'},
        {&behind, "\n1\n</tool_call>", 'y'}, {&behind, "<tool_call>", 'n'},
        {&behind, "1</tool_call><tool_call>2</tool_call>", 'f'}, {&bare, "1", 'f'}, {&bare, "\n1", 'n'},
        {&late, "\n\n[X]2", 'f'}, {&late, "[X]2", 'f'}, {&late, "\n\n\n", 'n'},
        {&marks, "\xFF<tool_call>\xFF""1</tool_call>", 'y'}, /* the special token */
    };
    uint64_t mask[WORDS];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_grammar *grammar;
        assert_int_equal(slm_grammar_new_framed(vocab, rows[i].frame, slm_str("{\"enum\":[1,2]}"), &grammar, NULL),
                         SLM_OK);
        if (match(grammar, rows[i].text) != rows[i].result)
            fail_msg("row %zu, '%s': %c", i, rows[i].text, match(grammar, rows[i].text));
        if (rows[i].frame == &marks) {
            struct slm_grammar_state *s = begin(grammar);
            assert_int_equal(slm_grammar_mask(s, mask, NULL), SLM_OK);
            assert_true(allows(mask, SPECIAL) && allows(mask, FIRST + 24) && !allows(mask, FIRST + 25));
            slm_grammar_state_close(s);
        }
        slm_grammar_close(grammar);
    }
    struct slm_grammar *none = NULL;
    struct slm_error error;
    assert_int_equal(slm_grammar_new_framed(vocab, &marks, slm_str("{\"contains\":{}}"), &none, &error), SLM_ERR_UNSUPPORTED);
    assert_string_equal(error.where, "#/contains");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_is_what_can_be_taken),
        cmocka_unit_test(masks_are_exact_deep_in_long_texts),
        cmocka_unit_test(characters_are_whole),
        cmocka_unit_test(a_special_token_is_not_its_text),
        cmocka_unit_test(ambiguous_rules_share_their_work),
        cmocka_unit_test(errors_name_their_place),
        cmocka_unit_test(sources_have_limits),
        cmocka_unit_test(values_stand_in_frames),
    };
    return cmocka_run_group_tests(tests, open_vocab, close_vocab);
}
