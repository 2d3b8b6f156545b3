/* SPDX-License-Identifier: MIT
 * Real vocabularies against ids that llama.cpp's own tests hold, and whole texts there and back.
 * Needs the shared test data; skips without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/os.h"
#include "base/str.h"
#include "families/families.h"
#include "format/gguf.h"
#include "shared.h"
#include "tokenizer/tokenizer.h"

static const char *const vocabularies[] = {"llama-spm", "phi-3", "gpt-2", "llama-bpe", "qwen2"};
static const char *const texts[] = {"wiki.test.raw", "tinyshakespeare.txt", "tinystories_val.txt"};
enum { N_CASES = 47 };
#define VOCABULARIES "data/tokenizers/ggml-vocab/ggml-vocab-"

/* The whole file; NULL with a printed reason when it is not there. Released with free(). */
static char *read_data(const char *folder, const char *name, const char *end, struct slm_str *out)
{
    char relative[256];
    snprintf(relative, sizeof relative, "data/%s%s%s", folder, name, end);
    const char *path = shared_path(relative);
    char *data = path ? shared_read(path, &out->len) : NULL;
    out->ptr = data;
    return data;
}

/* NULL with a printed reason when the file is not there; any other failure fails the test. */
static struct slm_tokenizer *open_vocabulary(const char *name)
{
    char relative[256];
    snprintf(relative, sizeof relative, VOCABULARIES "%s.gguf", name);
    const char *path = shared_path(relative);
    if (!path) return NULL;
    struct slm_error error = {0};
    struct slm_gguf *gguf = NULL;
    struct slm_tokenizer *t = NULL;
    if (slm_gguf_open(path, NULL, &gguf, &error) != SLM_OK ||
        slm_tokenizer_from_gguf(gguf, slm_family_specials_swallow_space(gguf), &t, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    slm_gguf_close(gguf); /* nothing is borrowed from it */
    assert_non_null(t);
    return t;
}

/* Position of `what` in s, or s.len. */
static size_t find(struct slm_str s, struct slm_str what)
{
    for (size_t i = 0; i + what.len <= s.len; i++)
        if (memcmp(s.ptr + i, what.ptr, what.len) == 0) return i;
    return s.len;
}

static struct slm_str cut(struct slm_str *rest, struct slm_str separator)
{
    const size_t at = find(*rest, separator);
    const struct slm_str part = {rest->ptr, at};
    const size_t used = at < rest->len ? at + separator.len : at;
    *rest = (struct slm_str){rest->ptr + used, rest->len - used};
    return part;
}

static void check_vectors(const char *name, const struct slm_tokenizer *t, struct slm_str input, struct slm_str output)
{
    for (int i = 0; i < N_CASES; i++) {
        const struct slm_str text = cut(&input, slm_str("\n__ggml_vocab_test__\n"));
        const struct slm_str line = cut(&output, slm_str("\n"));
        char want[4096] = "", got[4096] = "";
        snprintf(want, sizeof want, "%.*s", (int)line.len, line.ptr);
        int32_t ids[1024];
        size_t n = 0, used = 0;
        struct slm_error error = {0};
        assert_int_equal(slm_tokenizer_encode(t, text.ptr, text.len, 0, ids, 1024, &n, &error), SLM_OK);
        for (size_t k = 0; k < n; k++) used += (size_t)snprintf(got + used, sizeof got - used, " %d", ids[k]);
        if (strcmp(got, want) != 0)
            fail_msg("%s, case %d, '%.*s':\n got %s\nwant %s", name, i, (int)text.len, text.ptr, got, want);
    }
    assert_int_equal(input.len, 0);
    assert_int_equal(output.len, 0);
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        struct slm_tokenizer *t = open_vocabulary(vocabularies[i]);
        if (!t) skip();
        struct slm_str input, output;
        char *in = read_data("tokenizers/ggml-vocab/ggml-vocab-", vocabularies[i], ".gguf.inp", &input),
             *out = read_data("tokenizers/ggml-vocab/ggml-vocab-", vocabularies[i], ".gguf.out", &output);
        if (!in || !out) skip();
        check_vectors(vocabularies[i], t, input, output);
        free(in);
        free(out);
        slm_tokenizer_free(t);
    }
}

static void there_and_back(const struct slm_tokenizer *t, struct slm_str text)
{
    struct slm_error error = {0};
    int32_t *ids = slm_alloc(text.len + 2, sizeof *ids, "test", &error);
    char *back = slm_alloc(text.len + 1, 1, "test", &error), *streamed = slm_alloc(4 * text.len, 1, "test", &error);
    assert_true(ids && back && streamed);
    size_t n = 0, bytes = 0;
    assert_int_equal(slm_tokenizer_encode(t, text.ptr, text.len, 0, ids, text.len + 2, &n, &error), SLM_OK);
    assert_true(n > text.len / 8 && n < text.len / 2);
    assert_int_equal(slm_tokenizer_decode(t, ids, n, true, back, text.len + 1, &bytes, &error), SLM_OK);
    assert_int_equal(bytes, text.len);
    assert_memory_equal(back, text.ptr, text.len);
    /* The same as a stream of pieces; only the space in front, if there is one, is the caller's business. */
    struct slm_detok detok = {0};
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        used += slm_detok_feed(&detok, slm_tokenizer_piece(t, ids[i], true), streamed + used);
    used += slm_detok_flush(&detok, streamed + used);
    const size_t front = used - text.len;
    assert_true(front <= 1);
    assert_memory_equal(streamed + front, text.ptr, text.len);
    slm_release(ids);
    slm_release(back);
    slm_release(streamed);
}

static void test_texts_there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        struct slm_tokenizer *t = open_vocabulary(vocabularies[i]);
        if (!t) skip();
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            struct slm_str text;
            char *data = read_data("text/", texts[k], "", &text);
            if (!data) skip();
            there_and_back(t, text);
            free(data);
        }
        slm_tokenizer_free(t);
    }
}

/* Facts about these files that have other sources: their model cards and llama.cpp's listing of end tokens. */
static void test_end_tokens(void **state)
{
    (void)state;
    static const struct { const char *name; int32_t eog[4]; const char *not_eog; } rows[] = {
        {"llama-spm", {2, -1, -1, -1}, "<s>"},
        {"phi-3", {32000, 32007, 2, -1}, "<|user|>"},
        {"gpt-2", {50256, -1, -1, -1}, "the"},
        {"llama-bpe", {128001, 128009, -1, -1}, "<|start_header_id|>"},
        {"qwen2", {151643, 151645, -1, -1}, "</s>"}, /* an ordinary token of web text there */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_tokenizer *t = open_vocabulary(rows[i].name);
        if (!t) skip();
        size_t n = 0, want = 0;
        for (int32_t id = 0; (size_t)id < slm_tokenizer_n_vocab(t); id++) n += slm_tokenizer_is_eog(t, id);
        for (int k = 0; k < 4 && rows[i].eog[k] >= 0; k++, want++)
            assert_true(slm_tokenizer_is_eog(t, rows[i].eog[k]));
        assert_int_equal(n, want);
        const int32_t other = slm_tokenizer_find(t, slm_str(rows[i].not_eog));
        assert_true(other >= 0 && !slm_tokenizer_is_eog(t, other));
        slm_tokenizer_free(t);
    }
}

/* Text can never name a control token, whatever it says, unless it is allowed to. */
static void test_text_forges_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        struct slm_tokenizer *t = open_vocabulary(vocabularies[i]);
        if (!t) skip();
        for (int32_t id = 0; (size_t)id < slm_tokenizer_n_vocab(t); id++) {
            const enum slm_token_type type = slm_tokenizer_type(t, id);
            if (type != SLM_TOKEN_CONTROL && type != SLM_TOKEN_UNKNOWN) continue;
            const struct slm_str text = slm_tokenizer_piece(t, id, true);
            int32_t ids[64];
            size_t n = 0;
            struct slm_error error = {0};
            assert_int_equal(slm_tokenizer_encode(t, text.ptr, text.len, 0, ids, 64, &n, &error), SLM_OK);
            for (size_t k = 0; k < n; k++) assert_int_not_equal(slm_tokenizer_type(t, ids[k]), type);
            const unsigned parse = SLM_TOKENIZE_PARSE_SPECIAL;
            assert_int_equal(slm_tokenizer_encode(t, text.ptr, text.len, parse, ids, 64, &n, &error), SLM_OK);
            assert_true(n == 1 && ids[0] == id);
        }
        slm_tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_texts_there_and_back),
        cmocka_unit_test(test_end_tokens),
        cmocka_unit_test(test_text_forges_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
