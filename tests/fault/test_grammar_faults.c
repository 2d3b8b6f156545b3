/* SPDX-License-Identifier: MIT
 * Every allocation of compiling a form, making masks under it and taking text is made to fail, one after another: each
 * failure is an error with a sentence and leaks nothing, and a state whose mask could not be made is where it was. The
 * forms reach all builders: characters, pairs, counted patterns, keys of every kind, calls of rules. A vocabulary in
 * which nothing can go on is here as well: that too must end in a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake_os.h"
#include "grammar/grammar.h"

enum { N = 257, END = 256, WORDS = (N + 63) / 64 };

static struct slm_str text_of(const void *user, int32_t id, bool *special)
{
    static char bytes[256];
    const bool *no_digits = user;
    *special = false;
    if (id == END) return slm_str("</s>");
    bytes[id] = (char)id;
    return (struct slm_str){bytes + id, *no_digits && id >= '0' && id <= '9' ? 0 : 1};
}

static bool ends(const void *user, int32_t id)
{
    (void)user;
    return id == END;
}

static const struct form { enum slm_grammar_kind kind; const char *source, *text; } forms[] = {
    {SLM_GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"[A-Z]\",\"minLength\":2,\"maxLength\":9},"
     "\"b\":{\"type\":\"integer\",\"minimum\":-3,\"multipleOf\":5},\"c\":{\"enum\":[1,\"x\"]}},\"required\":[\"a\"],"
     "\"patternProperties\":{\"^p\":{\"type\":\"null\"},\"^q\":true},\"minProperties\":2,\"maxProperties\":3,"
     "\"propertyNames\":{\"maxLength\":4}}", "{\"a\":\"xY\",\"b\":10}"},
    {SLM_GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[\"x\",1]},\"v\":{\"type\":\"string\",\"not\":{\"const\":\"n\"}}},"
     "\"if\":{\"properties\":{\"k\":{\"const\":\"x\"}}},\"then\":{\"required\":[\"v\"]},"
     "\"dependentRequired\":{\"v\":[\"k\"]}}", "{\"k\":\"x\",\"v\":\"a\"}"},
    {SLM_GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"anyOf\":[{\"type\":\"array\",\"items\":{\"$ref\":"
                              "\"#/$defs/t\"}},{\"type\":\"string\",\"maxLength\":9000}]}}}", "[[\"a\"],[]]"},
    {SLM_GRAMMAR_REGEX, "^(?:a|^b){1,3}[^x]$", "ab"},
    {SLM_GRAMMAR_GBNF, "root ::= \"[\" item (\",\" item)* \"]\"\nitem ::= [0-9]+ | root", "[1,[2]]"},
};

static slm_status all_of_it(void *user, struct slm_error *error)
{
    const struct form *form = user;
    static const bool with_digits = false;
    const struct slm_vocab_source source = {.n_vocab = N, .text = text_of, .ends = ends, .user = &with_digits};
    struct slm_vocab *vocab = NULL;
    struct slm_grammar *grammar = NULL;
    struct slm_grammar_state *state = NULL;
    uint64_t mask[WORDS];
    slm_status status = slm_vocab_open(&source, &vocab, error);
    if (status == SLM_OK) status = slm_grammar_new(vocab, form->kind, slm_str(form->source), &grammar, error);
    if (status == SLM_OK) status = slm_grammar_state_open(grammar, &state, error);
    for (const char *at = form->text; *at && status == SLM_OK; at++) {
        status = slm_grammar_mask(state, mask, error);
        if (status == SLM_OK) assert_true(mask[*at / 64] >> (*at % 64) & 1);
        if (status == SLM_OK) status = slm_grammar_accept(state, *at, error);
    }
    if (status == SLM_OK) assert_true(slm_grammar_is_complete(state));
    slm_grammar_state_close(state);
    slm_grammar_close(grammar);
    slm_vocab_close(vocab);
    return status;
}

/* Schemas take most of the time, and fail in the same places. */
static void every_allocation(bool persistent)
{
    for (size_t i = persistent ? 3 : 0; i < sizeof forms / sizeof *forms; i++) {
        struct form form = forms[i];
        const struct fake_os_runs runs = fake_os_every_failure(NULL, FAKE_MEMORY, persistent, all_of_it, &form);
        if (runs.n_failed < 15) fail_msg("form %zu: %zu failures", i, (size_t)runs.n_failed);
    }
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    every_allocation(false);
}

static void every_allocation_fails_from_there_on(void **state)
{
    (void)state;
    every_allocation(true);
}

/* Row Q11: no token fits, and what nothing satisfies. */
static void dead_ends_say_so(void **state)
{
    static const bool no_digits = true;
    const struct slm_vocab_source source = {.n_vocab = N, .text = text_of, .ends = ends, .user = &no_digits};
    struct slm_vocab *vocab;
    struct slm_grammar *grammar = NULL;
    struct slm_grammar_state *s;
    struct slm_error error = {0};
    uint64_t mask[WORDS];
    (void)state;
    assert_int_equal(slm_vocab_open(&source, &vocab, NULL), SLM_OK);
    assert_int_equal(slm_grammar_new(vocab, SLM_GRAMMAR_REGEX, slm_str("a[0-9]"), &grammar, NULL), SLM_OK);
    assert_int_equal(slm_grammar_state_open(grammar, &s, NULL), SLM_OK);
    assert_int_equal(slm_grammar_accept_text(s, "a", 1, NULL), SLM_OK);
    assert_int_equal(slm_grammar_mask(s, mask, &error), SLM_ERR_DEAD_END);
    assert_non_null(strstr(error.message, "no token of the vocabulary"));
    slm_grammar_state_close(s);
    slm_grammar_close(grammar);
    grammar = NULL;
    assert_int_equal(slm_grammar_new(vocab, SLM_GRAMMAR_GBNF, slm_str("root ::= \"a\" root"), &grammar, &error),
                     SLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "nothing can satisfy it"));
    assert_null(grammar);
    slm_vocab_close(vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(every_allocation_fails_from_there_on),
        cmocka_unit_test(dead_ends_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
