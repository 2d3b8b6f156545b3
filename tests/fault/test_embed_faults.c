/* SPDX-License-Identifier: MIT
 * Opening an embedder and embedding texts while every allocation, system call and thread fails in turn: each failure
 * must come back as an error with a sentence, and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_os.h"
#include "slm.h"

static slm_status open_and_embed(void *user, struct slm_error *error)
{
    static const struct slm_embed_input inputs[] = {{.text = "Hello there", .text_bytes = 11},
                                                    {.text = "fox", .text_bytes = 3}};
    const struct slm_embedder_options options = {.session = {.n_ctx = 32, .n_threads = 2, .n_batch = 8}};
    struct slm_model *model;
    struct slm_embedder *embedder;
    float out[64];
    slm_status status = slm_model_open(user, NULL, &model, error);
    if (status != SLM_OK) return status;
    status = slm_embedder_open(model, &options, &embedder, error);
    if (status == SLM_OK) {
        status = slm_embed(embedder, inputs, 2, out, error);
        if (status == SLM_OK) status = slm_embed(embedder, inputs + 1, 1, out, error);
        slm_embedder_close(embedder);
    }
    slm_model_close(model);
    return status;
}

/* Pairs that were made before a failure are the caller's. */
static slm_status open_and_pair(void *user, struct slm_error *error)
{
    static const struct slm_embed_input documents[] = {{.text = "Hello <|im_end|>", .text_bytes = 16}, {.text = NULL}};
    struct slm_embed_input pairs[2];
    struct slm_model *model;
    slm_status status = slm_model_open(user, NULL, &model, error);
    if (status != SLM_OK) return status;
    status = slm_rerank_inputs(model, documents[0], documents, 2, pairs, error);
    for (int i = 0; i < 2; i++) slm_free((int32_t *)(uintptr_t)pairs[i].ids);
    slm_model_close(model);
    return status;
}

static void run(unsigned kinds, bool persistent)
{
    char gemma[] = SLM_SOURCE_DIR "/tests/golden/embeddings/gemma";
    char qwen3[] = SLM_SOURCE_DIR "/tests/golden/embeddings/qwen3";
    assert_true(fake_os_every_failure(NULL, kinds, persistent, open_and_embed, gemma).n_failed >= 10);
    assert_true(fake_os_every_failure(NULL, kinds, persistent, open_and_embed, qwen3).n_failed >= 10);
    char ranks[] = SLM_SOURCE_DIR "/tests/golden/embeddings/ranks";
    assert_true(fake_os_every_failure(NULL, kinds, persistent, open_and_embed, ranks).n_failed >= 10);
    assert_true(fake_os_every_failure(NULL, kinds, persistent, open_and_pair, ranks).n_failed >= 10);
}

static void every_allocation_fails_once(void **state) { (void)state; run(FAKE_MEMORY, false); }
static void every_system_call_fails_once(void **state) { (void)state; run(FAKE_FILES | FAKE_THREADS, false); }
static void every_system_call_fails_from_there_on(void **state)
{
    (void)state;
    run(FAKE_FILES | FAKE_THREADS, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(every_system_call_fails_once),
        cmocka_unit_test(every_system_call_fails_from_there_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
