/* SPDX-License-Identifier: MIT
 * Every allocation of opening a tokenizer and encoding with it is made to fail, one after another: each failure must be
 * an error with a sentence (or be recovered from: the pattern compiler does without its fast path) and leak nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "fake_os.h"
#include "tokenizer/tokenizer.h"

enum { N_TOKENS = 259, TEXT_BYTES = 3000 };

struct scenario {
    struct slm_tokenizer_source source;
    struct slm_str tokens[N_TOKENS], merges[1];
    float scores[N_TOKENS];
    uint8_t types[N_TOKENS];
    char texts[N_TOKENS][8], text[TEXT_BYTES];
};

static void prepare(struct scenario *s, bool spm)
{
    uint32_t next = 256;
    for (unsigned b = 0; b < 256; b++) {
        const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        const uint32_t cp = printable ? b : next++;
        if (spm) snprintf(s->texts[b], sizeof s->texts[b], "<0x%02X>", b);
        else s->texts[b][slm_utf8_encode(cp, s->texts[b])] = '\0';
        s->types[b] = spm ? SLM_TOKEN_BYTE : SLM_TOKEN_NORMAL;
    }
    static const char *const rest[] = {"ab", "<x>", "<y>"};
    for (unsigned i = 0; i < 3; i++) {
        memcpy(s->texts[256 + i], rest[i], strlen(rest[i]) + 1);
        s->types[256 + i] = i ? SLM_TOKEN_CONTROL : SLM_TOKEN_NORMAL;
    }
    for (unsigned i = 0; i < N_TOKENS; i++) s->tokens[i] = slm_str(s->texts[i]);
    s->merges[0] = slm_str("a b");
    /* Long enough for the memory of words, a long word among short ones, bytes that are not UTF-8, a special token. */
    for (size_t i = 0; i < TEXT_BYTES; i++) s->text[i] = i < 1000 ? "ab "[i % 3] : i < 2500 ? 'b' : (char)(i % 251);
    memcpy(s->text + 2600, "<x>", 3);
    s->source = (struct slm_tokenizer_source){
        .where = "test", .model = spm ? "llama" : "gpt2", .pre = "qwen2", .tokens = s->tokens, .scores = s->scores,
        .types = s->types, .n_vocab = N_TOKENS, .merges = s->merges, .n_merges = !spm, .bos = 257, .eos = 258,
        .unk = -1, .pad = -1, .eot = -1, .add_bos = true, .add_space_prefix = spm,
    };
}

static slm_status open_and_encode(void *user, struct slm_error *error)
{
    const struct scenario *s = user;
    struct slm_tokenizer *t = NULL;
    slm_status status = slm_tokenizer_new(&s->source, &t, error);
    if (status != SLM_OK) return status;
    int32_t ids[TEXT_BYTES + 2];
    char back[TEXT_BYTES];
    size_t n = 0, bytes = 0;
    const unsigned flags = SLM_TOKENIZE_ADD_SPECIAL | SLM_TOKENIZE_PARSE_SPECIAL;
    status = slm_tokenizer_encode(t, s->text, TEXT_BYTES, flags, ids, TEXT_BYTES + 2, &n, error);
    if (status == SLM_OK) { /* and when it succeeds it is right */
        assert_int_equal(ids[0], 257);
        assert_int_equal(slm_tokenizer_decode(t, ids + 1, n - 1, true, back, TEXT_BYTES, &bytes, error), SLM_OK);
        assert_int_equal(bytes, TEXT_BYTES);
        assert_memory_equal(back, s->text, TEXT_BYTES);
    }
    slm_tokenizer_free(t);
    return status;
}

static void run(bool spm, bool persistent)
{
    struct scenario *s = calloc(1, sizeof *s);
    assert_non_null(s);
    prepare(s, spm);
    const struct fake_os_runs runs = fake_os_every_failure(NULL, FAKE_MEMORY, persistent, open_and_encode, s);
    assert_true(runs.n_failed >= 8);
    free(s);
}

/* Where pages may not be both writable and executable, patterns are interpreted. The same happens when the memory for
 * compiling them to machine code is refused, so that is how it is had here: same ids, and no limit on long runs. */
static void test_interpreted_patterns(void **state)
{
    (void)state;
    enum { RUN_BYTES = 1 << 20 };
    struct scenario *s = calloc(1, sizeof *s);
    char *text = malloc(RUN_BYTES);
    int32_t *ids[2] = {malloc(RUN_BYTES * sizeof **ids), malloc(RUN_BYTES * sizeof **ids)};
    assert_true(s && text && ids[0] && ids[1]);
    prepare(s, false);
    struct slm_error error = {0};
    struct slm_tokenizer *t[2] = {NULL, NULL}; /* as usual, and without machine code */
    assert_int_equal(slm_tokenizer_new(&s->source, &t[0], &error), SLM_OK);
    fake_os_start(NULL);
    for (uint64_t k = 1; !t[1]; k++) { /* the one refusal that is recovered from */
        fake_os_arm(FAKE_MEMORY, k, false);
        const slm_status status = slm_tokenizer_new(&s->source, &t[1], &error);
        assert_true(fake_os_fired());
        assert_true(status == SLM_OK || status == SLM_ERR_MEMORY);
    }
    fake_os_arm(0, 0, false);
    static const char *const units[] = {"Z", " ", "\n", "\xc3\xa9", "ab", "a1 .", "'s"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        const size_t len = strlen(units[u]), bytes = RUN_BYTES - RUN_BYTES % len;
        for (size_t i = 0; i < bytes; i++) text[i] = units[u][i % len];
        size_t n[2] = {0, 0};
        for (int k = 0; k < 2; k++)
            if (slm_tokenizer_encode(t[k], text, bytes, 0, ids[k], RUN_BYTES, &n[k], &error) != SLM_OK)
                fail_msg("%s: %s", error.where, error.message);
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(ids[0], ids[1], n[0] * sizeof **ids);
    }
    slm_tokenizer_free(t[1]);
    fake_os_stop();
    slm_tokenizer_free(t[0]);
    for (int k = 0; k < 2; k++) free(ids[k]);
    free(text);
    free(s);
}

static void test_spm_once(void **state) { (void)state, run(true, false); }
static void test_spm_for_good(void **state) { (void)state, run(true, true); }
static void test_bpe_once(void **state) { (void)state, run(false, false); }
static void test_bpe_for_good(void **state) { (void)state, run(false, true); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_once),
        cmocka_unit_test(test_spm_for_good),
        cmocka_unit_test(test_bpe_once),
        cmocka_unit_test(test_bpe_for_good),
        cmocka_unit_test(test_interpreted_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
