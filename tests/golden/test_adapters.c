/* SPDX-License-Identifier: MIT
 * LoRA adapters against peft: tests/golden/adapters, written by tools/golden/adapters.py. Every combination of the two
 * kinds of model and adapter file must give the logits that peft gave, and the same bits however it is computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_os.h"
#include "shared.h"
#include "slm.h"

enum { MAX_IDS = 16, VOCAB = 40 };

struct text { int32_t ids[MAX_IDS]; size_t n; };

static const char *golden(const char *name)
{
    static char paths[32][512];
    static unsigned turn;
    char *path = paths[turn++ % 32];
    snprintf(path, sizeof paths[0], "%s/tests/golden/adapters/%s", SLM_SOURCE_DIR, name);
    return path;
}

static struct text read_ids(const char *name)
{
    struct text text = {.n = 0};
    char *line = shared_read(golden(name), NULL);
    assert_non_null(line);
    int used;
    for (const char *at = line; text.n < MAX_IDS && sscanf(at, "%d%n", &text.ids[text.n], &used) == 1; at += used)
        text.n++;
    free(line);
    assert_true(text.n > 1);
    return text;
}

/* All logits of the text, [n, VOCAB]; the caller frees them. */
static float *logits_of(const char *model_path, const struct slm_adapter *adapters, size_t n, const struct text *text,
                        const struct slm_session_options *options)
{
    struct slm_error error = {0};
    struct slm_model *model;
    struct slm_session *session;
    const struct slm_model_options model_options = {.adapters = adapters, .n_adapters = n};
    if (slm_model_open(model_path, &model_options, &model, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    assert_int_equal(slm_model_info(model).n_vocab, VOCAB);
    if (slm_session_open(model, options, &session, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    float *logits = malloc(text->n * VOCAB * sizeof *logits);
    if (slm_session_eval_all(session, text->ids, text->n, logits, &error) != SLM_OK) fail_msg("%s", error.message);
    slm_session_close(session);
    slm_model_close(model);
    return logits;
}

static const struct slm_session_options exact = {.kv_type = SLM_KV_F32, .n_threads = 1, .n_ctx = MAX_IDS};

static void expect(const char *expected_name, const char *model, const struct slm_adapter *adapters, size_t n,
                   const char *ids_name)
{
    const struct text text = read_ids(ids_name);
    size_t bytes;
    float *expected = (float *)(void *)shared_read(golden(expected_name), &bytes);
    assert_non_null(expected);
    assert_int_equal(bytes, text.n * VOCAB * sizeof(float));
    float *mine = logits_of(model, adapters, n, &text, &exact), scale = 0, worst = 0;
    for (size_t i = 0; i < text.n * VOCAB; i++) {
        const float magnitude = expected[i] < 0 ? -expected[i] : expected[i], d = mine[i] - expected[i];
        if (magnitude > scale) scale = magnitude;
        if (d > worst || -d > worst) worst = d < 0 ? -d : d;
    }
    if (!(worst <= 1e-5f * scale)) fail_msg("%s on %s: differs by %g of %g", expected_name, model, worst, scale);
    free(expected);
    free(mine);
}

static void model_files_and_adapter_files_mix(void **state)
{
    (void)state;
    static const char *const models[] = {"llama", "llama/base.gguf"}, *const ones[] = {"llama/one", "llama/one.gguf"};
    for (int m = 0; m < 2; m++) {
        expect("llama/plain.bin", golden(models[m]), NULL, 0, "llama/ids.txt");
        for (int a = 0; a < 2; a++) {
            const char *path = golden(ones[a]);
            const struct slm_adapter one = {path, 1.0f};
            const struct slm_adapter both[] = {{path, 0.5f}, {golden("llama/two"), -1.5f}};
            expect("llama/one.bin", golden(models[m]), &one, 1, "llama/ids.txt");
            expect("llama/both.bin", golden(models[m]), both, 2, "llama/ids.txt");
        }
    }
}

static void fused_matrices_are_adapted(void **state)
{
    (void)state;
    const struct slm_adapter one = {golden("phi3/one"), 1.0f};
    const struct slm_adapter both[] = {{golden("phi3/two"), -1.5f}, {golden("phi3/one"), 0.5f}};
    expect("phi3/plain.bin", golden("phi3"), NULL, 0, "phi3/ids.txt");
    expect("phi3/one.bin", golden("phi3"), &one, 1, "phi3/ids.txt");
    expect("phi3/both.bin", golden("phi3"), both, 2, "phi3/ids.txt");
}

static void the_bits_do_not_depend_on_threads_or_chunks(void **state)
{
    (void)state;
    const struct text text = read_ids("llama/ids.txt");
    const struct slm_adapter both[] = {{golden("llama/one"), 0.5f}, {golden("llama/two"), -1.5f}};
    float *expected = logits_of(golden("llama"), both, 2, &text, &exact);
    static const struct { int32_t n_threads, n_batch; } ways[] = {{1, 1}, {2, 5}, {3, 256}, {5, 2}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct slm_session_options options = exact;
        options.n_threads = ways[i].n_threads;
        options.n_batch = ways[i].n_batch;
        float *mine = logits_of(golden("llama"), both, 2, &text, &options);
        assert_memory_equal(mine, expected, text.n * VOCAB * sizeof *mine);
        free(mine);
    }
    free(expected);
}

static void a_scale_of_zero_is_the_model_alone(void **state)
{
    (void)state;
    const struct text text = read_ids("llama/ids.txt");
    const struct slm_adapter one = {golden("llama/one"), 0.0f};
    float *plain = logits_of(golden("llama"), NULL, 0, &text, &exact);
    float *mine = logits_of(golden("llama"), &one, 1, &text, &exact);
    for (size_t i = 0; i < text.n * VOCAB; i++) assert_true(mine[i] == plain[i]);
    free(plain);
    free(mine);
}

static void decoding_with_adapters_allocates_nothing(void **state)
{
    (void)state;
    const struct text text = read_ids("llama/ids.txt");
    const struct slm_adapter one = {golden("llama/one"), 1.0f};
    const struct slm_model_options options = {.adapters = &one, .n_adapters = 1};
    struct slm_model *model;
    struct slm_session *session;
    fake_os_start(NULL);
    assert_int_equal(slm_model_open(golden("llama/base.gguf"), &options, &model, NULL), SLM_OK);
    assert_int_equal(slm_session_open(model, &exact, &session, NULL), SLM_OK);
    const uint64_t before = fake_os_count(FAKE_MEMORY);
    for (size_t i = 0; i < text.n; i++)
        assert_int_equal(slm_session_eval(session, &text.ids[i], 1, NULL), SLM_OK);
    assert_int_equal(fake_os_count(FAKE_MEMORY), before);
    slm_session_close(session);
    slm_model_close(model);
    fake_os_assert_clean();
    fake_os_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_files_and_adapter_files_mix),
        cmocka_unit_test(fused_matrices_are_adapted),
        cmocka_unit_test(the_bits_do_not_depend_on_threads_or_chunks),
        cmocka_unit_test(a_scale_of_zero_is_the_model_alone),
        cmocka_unit_test(decoding_with_adapters_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
