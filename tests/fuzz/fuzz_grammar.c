/* SPDX-License-Identifier: MIT
 * Fuzzes grammars: the first byte is the kind, then comes the source, and behind a NUL byte a text to try. All of it is
 * a stranger's in practice. What compiles must run: a mask has exactly the tokens that can be accepted, whatever else
 * is remembered; what does not compile must say where and why. Not here: whether the language is the right one
 * (e2e/test_grammar.py compares with other programs). */
#include <stdlib.h>
#include "grammar/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const tokens[] = {"a", "b", "x", "0", "1", "12", "\"", "{", "}", "[", "]", ":", ",", " ", "\n", "{\"",
                                     "\":", "\",\"", "null", "true", "-", ".", "\xC3", "\xA9", "abc", "]}", "<think>", "",
                                     "(", ")"};
enum { N_TOKENS = sizeof tokens / sizeof *tokens };

static struct slm_str text_of(const void *user, int32_t id, bool *special)
{
    (void)user;
    *special = id == 26;
    return slm_str(tokens[id]);
}

static bool ends(const void *user, int32_t id)
{
    (void)user;
    return id == 27;
}

/* Every token is in the mask exactly when it can be accepted. */
static void check_mask(struct slm_grammar *g, struct slm_grammar_state *state)
{
    struct slm_grammar_state *copy;
    uint64_t mask = 0;
    if (slm_grammar_state_open(g, &copy, NULL) != SLM_OK) abort();
    const slm_status status = slm_grammar_mask(state, &mask, NULL);
    for (int32_t id = 0; id < N_TOKENS && (status == SLM_OK || status == SLM_ERR_DEAD_END); id++) {
        slm_grammar_state_copy(copy, state);
        const slm_status accepted = slm_grammar_accept(copy, id, NULL);
        if (accepted != SLM_ERR_LIMIT && (accepted == SLM_OK) != (mask >> id & 1)) abort();
    }
    slm_grammar_state_close(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct slm_vocab *vocab;
    const struct slm_vocab_source source = {.n_vocab = N_TOKENS, .text = text_of, .ends = ends};
    struct slm_error error = {0};
    struct slm_grammar *g = NULL;
    struct slm_grammar_state *state;
    if (!vocab && slm_vocab_open(&source, &vocab, NULL) != SLM_OK) abort();
    if (size == 0 || size > 4096) return 0;
    const uint8_t *nul = memchr(data + 1, 0, size - 1);
    const size_t n = nul ? (size_t)(nul - data) - 1 : size - 1;
    const enum slm_grammar_kind kind = (enum slm_grammar_kind)(data[0] % 5);
    const slm_status status = slm_grammar_new(vocab, kind, (struct slm_str){(const char *)data + 1, n}, &g, &error);
    if (status != SLM_OK) {
        if (error.status != status || !error.where[0] || !error.message[0]) abort();
        return 0;
    }
    if (slm_grammar_state_open(g, &state, &error) != SLM_OK) abort();
    check_mask(g, state);
    for (size_t i = n + 2; i < size && i < n + 20; i++) {
        if (slm_grammar_accept_text(state, (const char *)data + i, 1, NULL) != SLM_OK) break;
        check_mask(g, state);
    }
    slm_grammar_state_close(state);
    slm_grammar_close(g);
    return 0;
}
