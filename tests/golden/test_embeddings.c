/* SPDX-License-Identifier: MIT
 * Embeddings against sentence-transformers: tests/golden/embeddings, written by tools/golden/embeddings.py. And what
 * must hold whatever the vectors are: the same bits alone and in company, for any number of threads and any chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared.h"
#include "slm.h"

enum { MAX_TEXTS = 8, MAX_DIMS = 32 };

/* The lines of texts.txt; an empty one is a text too. */
struct texts { char *memory; struct slm_embed_input inputs[MAX_TEXTS]; size_t n; };

static const char *golden(const char *name)
{
    static char paths[16][512];
    static unsigned turn;
    char *path = paths[turn++ % 16];
    snprintf(path, sizeof paths[0], "%s/tests/golden/embeddings/%s", SLM_SOURCE_DIR, name);
    return path;
}

static struct texts read_texts(const char *name)
{
    struct texts t = {.memory = shared_read(golden(name), NULL)};
    assert_non_null(t.memory);
    for (char *line = t.memory, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        assert_true(t.n < MAX_TEXTS);
        t.inputs[t.n++] = (struct slm_embed_input){.text = line, .text_bytes = (size_t)(end - line)};
    }
    return t;
}

/* A model and an embedder on it. */
struct opened { struct slm_model *model; struct slm_embedder *embedder; };

static struct opened open_embedder(const char *name, const struct slm_embedder_options *options)
{
    struct opened o;
    struct slm_error error = {0};
    if (slm_model_open(golden(name), NULL, &o.model, &error) != SLM_OK ||
        slm_embedder_open(o.model, options, &o.embedder, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    assert_true(slm_embedder_n_dims(o.embedder) <= MAX_DIMS);
    return o;
}

static void close_embedder(struct opened o)
{
    slm_embedder_close(o.embedder);
    slm_model_close(o.model);
}

/* Vectors of the inputs, [n, n_dims]; the caller frees them. */
static float *embed(const char *name, const struct slm_embedder_options *options, const struct slm_embed_input *inputs,
                    size_t n)
{
    struct slm_error error = {0};
    struct opened o = open_embedder(name, options);
    float *out = malloc(n * slm_embedder_n_dims(o.embedder) * sizeof *out);
    if (slm_embed(o.embedder, inputs, n, out, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    close_embedder(o);
    return out;
}

static void expect(const float *mine, const char *expected_name, size_t n)
{
    size_t bytes;
    float *expected = (float *)(void *)shared_read(golden(expected_name), &bytes);
    assert_non_null(expected);
    assert_int_equal(bytes % (n * sizeof(float)), 0);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        if (!(mine[i] - expected[i] <= 1e-5f && expected[i] - mine[i] <= 1e-5f))
            fail_msg("%s: number %zu is %g, expected %g", expected_name, i, mine[i], expected[i]);
    free(expected);
}

static void folders_match_sentence_transformers(void **state)
{
    (void)state;
    static const struct { const char *model, *texts, *prompt, *expected; enum slm_pooling pooling; } rows[] = {
        {"gemma", "gemma/texts.txt", NULL, "gemma/expected.bin", SLM_POOLING_MEAN},
        {"gemma", "gemma/texts.txt", "query", "gemma/query.bin", SLM_POOLING_MEAN},
        {"qwen3", "qwen3/texts.txt", NULL, "qwen3/expected.bin", SLM_POOLING_LAST}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct texts t = read_texts(rows[i].texts);
        const struct slm_embedder_options options = {.prompt_name = rows[i].prompt};
        struct opened o = open_embedder(rows[i].model, &options);
        assert_int_equal(slm_embedder_pooling(o.embedder), rows[i].pooling);
        close_embedder(o);
        float *mine = embed(rows[i].model, &options, t.inputs, t.n);
        expect(mine, rows[i].expected, t.n);
        free(mine);
        free(t.memory);
    }
}

static void gguf_files_say_the_same(void **state)
{
    (void)state;
    static const char *const models[] = {"gemma", "gemma/model.gguf"};
    int32_t ids[64];
    size_t n = 0;
    char *line = shared_read(golden("gemma/ids.txt"), NULL);
    assert_non_null(line);
    int used;
    for (const char *at = line; n < 64 && sscanf(at, "%d%n", &ids[n], &used) == 1; at += used) n++;
    free(line);
    assert_true(n > 16); /* beyond the window on both sides */
    for (int i = 0; i < 2; i++) {
        const struct slm_embed_input input = {.ids = ids, .n_ids = n};
        float *mine = embed(models[i], NULL, &input, 1);
        expect(mine, "gemma/ids.bin", 1);
        free(mine);
    }
}

static void the_bits_do_not_depend_on_company_threads_or_chunks(void **state)
{
    (void)state;
    static const char *const models[] = {"gemma", "qwen3"};
    static const struct { int32_t n_threads, n_batch; } ways[] = {{1, 1}, {2, 3}, {3, 64}, {1, 7}, {4, 256}};
    for (int m = 0; m < 2; m++) {
        struct texts t = read_texts(m ? "qwen3/texts.txt" : "gemma/texts.txt");
        const struct slm_embedder_options plain = {.session = {.n_threads = 1}};
        struct opened o = open_embedder(models[m], &plain);
        const size_t n_dims = slm_embedder_n_dims(o.embedder);
        float *together = embed(models[m], &plain, t.inputs, t.n), one[MAX_DIMS];
        for (size_t i = t.n; i-- > 0;) { /* backwards: nothing may be left over from the text before */
            assert_int_equal(slm_embed(o.embedder, &t.inputs[i], 1, one, NULL), SLM_OK);
            assert_memory_equal(one, together + i * n_dims, n_dims * sizeof *one);
        }
        close_embedder(o);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            const struct slm_embedder_options options = {
                .session = {.n_threads = ways[i].n_threads, .n_batch = ways[i].n_batch}};
            float *mine = embed(models[m], &options, t.inputs, t.n);
            assert_memory_equal(mine, together, t.n * n_dims * sizeof *mine);
            free(mine);
        }
        free(together);
        free(t.memory);
    }
}

/* More texts than a step has places for, each as alone. */
static void a_crowd_of_texts_is_embedded(void **state)
{
    (void)state;
    enum { N = 100 };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct slm_embed_input inputs[N];
    struct opened o = open_embedder("qwen3", NULL);
    const size_t n_dims = slm_embedder_n_dims(o.embedder);
    for (size_t i = 0; i < N; i++)
        inputs[i] = (struct slm_embed_input){.text = letters + i % 20, .text_bytes = 1 + i % 6};
    float *all = embed("qwen3", NULL, inputs, N), one[MAX_DIMS];
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(slm_embed(o.embedder, &inputs[i], 1, one, NULL), SLM_OK);
        assert_memory_equal(one, all + i * n_dims, n_dims * sizeof *one);
    }
    close_embedder(o);
    free(all);
}

static void vectors_are_cut_then_normalised(void **state)
{
    (void)state;
    struct texts t = read_texts("gemma/texts.txt");
    const struct slm_embedder_options raw = {.no_normalize = true}, cut = {.n_dims = 5};
    float *full = embed("gemma", &raw, t.inputs, t.n), *mine = embed("gemma", &cut, t.inputs, t.n);
    for (size_t i = 0; i < t.n; i++) {
        double squares = 0, length = 0;
        for (int k = 0; k < 5; k++) squares += (double)full[i * 12 + k] * (double)full[i * 12 + k];
        for (int k = 0; k < 5; k++) {
            assert_float_equal(mine[i * 5 + k], (float)((double)full[i * 12 + k] / __builtin_sqrt(squares)), 1e-6f);
            length += (double)mine[i * 5 + k] * (double)mine[i * 5 + k];
        }
        assert_float_equal((float)length, 1.0f, 1e-6f);
    }
    free(full);
    free(mine);
    free(t.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_match_sentence_transformers),
        cmocka_unit_test(gguf_files_say_the_same),
        cmocka_unit_test(the_bits_do_not_depend_on_company_threads_or_chunks),
        cmocka_unit_test(a_crowd_of_texts_is_embedded),
        cmocka_unit_test(vectors_are_cut_then_normalised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
