/* SPDX-License-Identifier: MIT
 * Models quantized by mlx: tests/golden/mlx, written by tools/golden/mlx_groups.py. Weights must be what mlx
 * dequantizes, and logits what transformers computes with those weights; and what config.json says about them must be
 * believed or refused, never ignored. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/hf_folder.h"
#include "model/model.h"
#include "shared.h"
#include "slm.h"
#include "tiny_model.h"

#define FOLDER SLM_SOURCE_DIR "/tests/golden/mlx"
enum { MAX_TOKENS = 64, VOCAB = 61 };

static struct slm_gguf *open_expected(void)
{
    struct slm_gguf *gguf;
    struct slm_error error = {0};
    if (slm_hf_open_module(FOLDER, "config.json", "expected.safetensors", &gguf, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    return gguf;
}

static struct slm_gguf *open_folder(const char *folder)
{
    struct slm_gguf *gguf;
    struct slm_error error = {0};
    if (slm_hf_open(folder, &gguf, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return gguf;
}

static void rows_are_what_mlx_dequantizes(void **state)
{
    (void)state;
    struct slm_gguf *expected = open_expected(), *gguf = open_folder(FOLDER);
    unsigned seen[SLM_DTYPE_COUNT] = {0}, n = 0;
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        if (t->group == 0) continue;
        char name[200];
        snprintf(name, sizeof name, "%.*s.rows", (int)t->name.len, t->name.ptr);
        const struct slm_gguf_tensor *rows = slm_gguf_find_tensor(expected, slm_str(name));
        assert_true(rows && rows->dims[0] == t->dims[0] && rows->dims[1] == 3);
        const float *want = (const float *)(const void *)rows->data;
        const uint64_t at[3] = {0, 1, t->dims[1] - 1};
        for (int r = 0; r < 3; r++) {
            float got[128];
            slm_tensor_read_rows(t, at[r], 1, got);
            for (uint64_t k = 0; k < t->dims[0]; k++, want++) { /* mlx rounds twice where scales are F32 */
                const float bound = t->scales->dtype == SLM_DTYPE_F32 ? 1e-6f * (1 + fabsf(*want)) : 0.0f;
                if (!(fabsf(got[k] - *want) <= bound))
                    fail_msg("%s row %d element %d: %g, mlx has %g", name, r, (int)k, (double)got[k], (double)*want);
            }
        }
        seen[t->dtype] |= t->group;
        n++;
    }
    assert_int_equal(n, 3 * 7 + 2);
    for (int type = SLM_DTYPE_U2; type <= SLM_DTYPE_U8; type++) assert_int_equal(seen[type], 32 | 64 | 128);
    slm_gguf_close(gguf);
    slm_gguf_close(expected);
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    struct slm_gguf *expected = open_expected();
    const struct slm_gguf_tensor *ids = slm_gguf_find_tensor(expected, slm_str("ids"));
    const struct slm_gguf_tensor *want = slm_gguf_find_tensor(expected, slm_str("logits"));
    assert_true(ids && want && ids->dims[0] <= MAX_TOKENS && want->dims[0] == VOCAB);
    int32_t tokens[MAX_TOKENS];
    float values[MAX_TOKENS], got[MAX_TOKENS * VOCAB], largest = 0, worst = 0;
    slm_tensor_read_rows(ids, 0, 1, values);
    for (uint64_t i = 0; i < ids->dims[0]; i++) tokens[i] = (int32_t)values[i];
    struct slm_model *model;
    struct slm_session *session;
    struct slm_error error = {0};
    const struct slm_session_options options = {.kv_type = SLM_KV_F32, .n_ctx = MAX_TOKENS};
    if (slm_model_open(FOLDER, NULL, &model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    /* Embedding and head, three layers of four attention and three feed-forward matrices, the norms. */
    assert_int_equal(slm_model_info(model).n_params,
                     2 * 61 * 128 + 3 * (2 * 128 * 128 + 2 * 32 * 128 + 3 * 128 * 128 + 2 * 128) + 128);
    assert_int_equal(slm_session_open(model, &options, &session, &error), SLM_OK);
    assert_int_equal(slm_session_eval_all(session, tokens, ids->dims[0], got, &error), SLM_OK);
    for (uint64_t i = 0; i < want->n_elements; i++) {
        const float w = ((const float *)(const void *)want->data)[i];
        largest = fmaxf(largest, fabsf(w));
        worst = fmaxf(worst, fabsf(w - got[i]));
    }
    if (!(worst <= 1e-5f * largest)) fail_msg("logits differ by %g of %g", (double)worst, (double)largest);
    slm_session_close(session);
    slm_model_close(model);
    slm_gguf_close(expected);
}

/* The fixture with one text of its config.json replaced: must be refused, saying this. */
static void wrong_settings_are_refused(void **state)
{
    (void)state;
    static const struct { const char *from, *to, *says; } rows[] = {
        {"\"quantization\": {\n  \"group_size\": 64", "\"quantization\": {\n  \"group_size\": 16", "32, 64 or 128"},
        {"\"quantization\": {\n  \"group_size\": 64", "\"quantization\": {\n  \"group_size\": 32", "one a group"},
        {"\"quantization\": {\n  \"group_size\": 64,\n  \"bits\": 4", "\"quantization\": {\n  \"group_size\": 64,\n"
         "  \"bits\": 7", "2, 3, 4, 5, 6 or 8"},
        {"\"quantization\": {\n  \"group_size\": 64,\n  \"bits\": 4", "\"quantization\": {\n  \"group_size\": 64,\n"
         "  \"bits\": 8", "group"},
        {"\"quantization\": {", "\"quantization\": {\n  \"mode\": \"mxfp4\",", "affine"},
        {"\"quantization\": {", "\"quantized\": {", "quantization.bits"},
    };
    const char *folder = tiny_path("mlx");
    char path[600], target[600], says[1200];
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    snprintf(target, sizeof target, "%s/model.safetensors", FOLDER);
    assert_int_equal(symlink(target, path), 0);
    snprintf(path, sizeof path, "%s/config.json", folder);
    char *config = shared_read(FOLDER "/config.json", NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *at = strstr(config, rows[i].from);
        assert_non_null(at);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fprintf(file, "%.*s%s%s", (int)(at - config), config, rows[i].to, at + strlen(rows[i].from));
        fclose(file);
        struct slm_gguf *gguf;
        struct slm_error error = {0};
        if (slm_hf_open(folder, &gguf, &error) == SLM_OK) fail_msg("accepted: %s", rows[i].to);
        snprintf(says, sizeof says, "%s: %s", error.where, error.message);
        if (!strstr(says, rows[i].says)) fail_msg("'%s' does not say '%s'", says, rows[i].says);
    }
    free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_what_mlx_dequantizes),
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(wrong_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
