/* SPDX-License-Identifier: MIT
 * A tokenizer written into a GGUF file and read back gives every text the ids it gave before, whatever it is made of:
 * rules that GGUF has no key for included. That llama.cpp reads the same keys is checked in tests/oracle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "format/gguf.h"
#include "tiny_model.h"
#include "tokenizer/tokenizer.h"

#define MARK "\xe2\x96\x81"
enum { MAX_IDS = 512 };

/* What differs from a plain source of that model. */
struct sample {
    const char *name, *tokens, *merges; /* space-separated; merges: "l+r" */
    struct slm_tokenizer_source source;
    const char *text; /* one on which the rule at hand matters */
};

static const struct slm_normal_step nfc = {.kind = SLM_NORMAL_NFC};
static const struct slm_normal_step squeeze = {.kind = SLM_NORMAL_SQUEEZE};
static const uint8_t strips[64] = {[1] = SLM_STRIP_RIGHT};
static const int32_t eog[] = {0, 1, 2};
static const float scores[64] = {0, 0, 0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10};

#define SPM "<unk> <s> </s> a b c " MARK " ab bc abc " MARK "a " MARK MARK
#define BPE "<unk> <s> </s> a b c \xc4\xa0 ab bc abc \xc4\xa0""a \xc3\x83 \xc2\xa9 \xc3\x8c \xc4\x81 e"
#define COMMON .bos = 1, .eos = 2, .unk = 0, .pad = -1, .eot = -1
#define LLAMA .model = "llama-merges", .add_space_prefix = true, COMMON
#define GPT2 .model = "gpt2", .pre = "gpt-2", COMMON
static const struct sample samples[] = {
    {"rules", SPM, "b+c a+bc", {LLAMA}, "abc ab"}, /* ab is a token, but no rule makes it */
    {"scores", SPM, "", {.model = "llama", .scores = scores, .add_bos = true, .add_space_prefix = true, COMMON}, "abc"},
    {"once", SPM, "a+b", {LLAMA, .space_prefix = SLM_SPACE_ONCE}, "a<s>a"},
    {"unless", SPM, "a+b", {LLAMA, .space_prefix = SLM_SPACE_UNLESS_SPACE}, " a"},
    {"each", SPM, MARK "+" MARK, {LLAMA, .each_space = true}, "  a"},
    {"white", SPM, "a+b", {LLAMA, .split_white = true, .each_space = true}, "a  b"},
    {"unknown", SPM, "a+b", {LLAMA, .fuse_unk = true}, "xyz"},
    {"words", SPM, "a+b", {LLAMA, .whole_words = SLM_WHOLE_ALWAYS, .each_space = true}, "a"},
    {"strips", SPM, "a+b", {LLAMA, .strips = strips}, "<s> a"},
    {"ends", SPM, "a+b", {LLAMA, .eog = eog, .n_eog = 3}, "a"},
    {"bytes", BPE, "b+c a+bc", {GPT2, .whole_words = SLM_WHOLE_NEVER}, "abc ab"},
    {"whole", BPE, "a+b", {GPT2, .whole_words = SLM_WHOLE_ALWAYS}, "abc"}, /* no row of this pattern says so */
    {"other row", BPE, "a+b", {.model = "gpt2", .pre = "dbrx", COMMON, .whole_words = SLM_WHOLE_ALWAYS}, "abc"},
    {"no row", BPE, "a+b", {.model = "gpt2", .pre = "tekken", COMMON, .whole_words = SLM_WHOLE_NEVER}, "abc"},
    {"normal form", BPE, "a+b", {GPT2, .steps = &nfc, .n_steps = 1}, "e\xcc\x81"},
    {"ranks", BPE, "", {GPT2, .ids_are_ranks = true}, "abcab"},
    {"unigram", SPM, "", {.model = "t5", .scores = scores, COMMON, .steps = &squeeze, .n_steps = 1, .fuse_unk = true,
                          .add_space_prefix = true, .space_prefix = SLM_SPACE_SENTENCE}, " a   b "},
};

static size_t split(const char *text, char between, struct slm_str *out, char *copy)
{
    size_t n = 0;
    snprintf(copy, 512, "%s", text);
    for (char *at = copy; *at;) {
        char *end = strchr(at, between);
        const size_t len = end ? (size_t)(end - at) : strlen(at);
        out[n++] = (struct slm_str){at, len};
        at += len + (end != NULL);
    }
    return n;
}

static void check_ok(const char *name, slm_status status, const struct slm_error *error)
{
    if (status != SLM_OK) fail_msg("%s: %s: %s", name, error->where, error->message);
}

static struct slm_tokenizer *write_and_read(const struct sample *sample, const struct slm_tokenizer_source *source)
{
    struct slm_error error;
    struct slm_gguf_writer *w;
    struct slm_gguf *gguf;
    struct slm_tokenizer *tokenizer;
    const char *path = tiny_path("tokenizer.gguf");
    check_ok(sample->name, slm_gguf_writer_open(path, 0, &w, &error), &error);
    check_ok(sample->name, slm_tokenizer_write_gguf(source, w, &error), &error);
    check_ok(sample->name, slm_gguf_writer_finish(w, &error), &error);
    check_ok(sample->name, slm_gguf_open(path, NULL, &gguf, &error), &error);
    check_ok(sample->name, slm_tokenizer_from_gguf(gguf, false, &tokenizer, &error), &error);
    slm_gguf_close(gguf);
    return tokenizer;
}

static void assert_same_ids(const struct sample *sample, struct slm_tokenizer *a, struct slm_tokenizer *b,
                            const char *text)
{
    int32_t ids[2][MAX_IDS];
    size_t n[2];
    struct slm_error error;
    const unsigned flags = SLM_TOKENIZE_ADD_SPECIAL | SLM_TOKENIZE_PARSE_SPECIAL;
    check_ok(sample->name, slm_tokenizer_encode(a, text, strlen(text), flags, ids[0], MAX_IDS, &n[0], &error), &error);
    check_ok(sample->name, slm_tokenizer_encode(b, text, strlen(text), flags, ids[1], MAX_IDS, &n[1], &error), &error);
    if (n[0] != n[1] || memcmp(ids[0], ids[1], n[0] * sizeof ids[0][0]) != 0) fail_msg("%s: '%s'", sample->name, text);
}

static void check_sample(const struct sample *sample)
{
    static const char *const pieces[] = {"a", "b", "c", " ", "  ", "abc", "<s>", "x", "e\xcc\x81", "\xc3\xa9", "</s>"};
    struct slm_tokenizer_source source = sample->source;
    struct slm_str tokens[64], merges[16];
    char token_text[512], merge_text[512];
    uint8_t types[64];
    source.where = sample->name;
    source.n_vocab = split(sample->tokens, ' ', tokens, token_text);
    source.n_merges = split(sample->merges, ' ', merges, merge_text);
    for (size_t i = 0; i < source.n_merges; i++) ((char *)(uintptr_t)merges[i].ptr)[strcspn(merges[i].ptr, "+")] = ' ';
    for (size_t i = 0; i < source.n_vocab; i++) types[i] = i == 0 ? SLM_TOKEN_UNKNOWN : i < 3 ? SLM_TOKEN_CONTROL : 1;
    source.tokens = tokens, source.merges = merges, source.types = types;
    if (!source.pre) source.pre = "default";
    struct slm_tokenizer *before;
    struct slm_error error;
    check_ok(sample->name, slm_tokenizer_new(&source, &before, &error), &error);
    struct slm_tokenizer *after = write_and_read(sample, &source);
    assert_same_ids(sample, before, after, sample->text);
    for (uint64_t i = 0; i < 200; i++) {
        char text[128] = "";
        for (uint64_t k = 0; k < 1 + i % 9; k++) {
            const size_t n = strlen(text), at = (size_t)(slm_rng_uniform(11, i * 16 + k, 0) * 11);
            snprintf(text + n, sizeof text - n, "%s", pieces[at]);
        }
        assert_same_ids(sample, before, after, text);
    }
    for (int32_t id = 0; id < (int32_t)source.n_vocab; id++)
        assert_int_equal(slm_tokenizer_is_eog(before, id), slm_tokenizer_is_eog(after, id));
    slm_tokenizer_free(before);
    slm_tokenizer_free(after);
}

static void written_tokenizers_say_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) check_sample(&samples[i]);
}

/* What no GGUF file can hold is refused by name. */
static void what_cannot_be_said_is_refused(void **state)
{
    (void)state;
    const struct slm_str tokens[] = {slm_str("a"), slm_str("b"), slm_str("a")}, merge = slm_str("a b  c");
    const uint16_t cut = 3;
    const struct slm_normal_step lower = {.kind = SLM_NORMAL_LOWERCASE};
    const struct slm_tokenizer_source sources[] = {
        {.where = "cut", .model = "llama-merges", .tokens = tokens, .n_vocab = 2, .merges = &merge, .merge_cuts = &cut,
         .n_merges = 1, COMMON},
        {.where = "twice", .model = "llama-merges", .tokens = tokens, .n_vocab = 3, COMMON},
        {.where = "lower", .model = "gpt2", .pre = "gpt-2", .tokens = tokens, .n_vocab = 2, .steps = &lower,
         .n_steps = 1, COMMON},
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct slm_gguf_writer *w;
        struct slm_error error = {0};
        check_ok("open", slm_gguf_writer_open(tiny_path("refused.gguf"), 0, &w, &error), &error);
        assert_int_equal(slm_tokenizer_write_gguf(&sources[i], w, &error), SLM_ERR_UNSUPPORTED);
        assert_string_equal(error.where, sources[i].where);
        slm_gguf_writer_abandon(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_tokenizers_say_the_same),
        cmocka_unit_test(what_cannot_be_said_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
