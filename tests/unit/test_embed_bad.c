/* SPDX-License-Identifier: MIT
 * Embedding models and requests that must be refused, each with a sentence that names the file, what it says and what
 * is allowed. Folders are copies of tests/golden/embeddings/qwen3 with one file written differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/gguf.h"
#include "slm.h"
#include "tiny_model.h"

#define GOLDEN SLM_SOURCE_DIR "/tests/golden/embeddings/"
#define STEP(path, type) \
    "{\"idx\":0,\"name\":\"0\",\"path\":\"" path "\",\"type\":\"sentence_transformers.models." type "\"}"
#define FIRST STEP("", "Transformer") "," STEP("1_Pooling", "Pooling")

/* A fresh copy with one file replaced. */
static const char *folder_with(const char *name, const char *text)
{
    const char *folder = tiny_path("embed");
    char command[1200], path[600];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '" GOLDEN "qwen3' '%s'", folder, folder);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return folder;
}

/* What opening an embedder on the model says. */
static slm_status try_open(const char *model_path, const struct slm_embedder_options *options, struct slm_error *error)
{
    struct slm_model *model;
    struct slm_embedder *embedder;
    slm_status status = slm_model_open(model_path, NULL, &model, error);
    if (status != SLM_OK) return status;
    status = slm_embedder_open(model, options, &embedder, error);
    if (status == SLM_OK) slm_embedder_close(embedder);
    slm_model_close(model);
    return status;
}

static void expect_refusal(slm_status got, const struct slm_error *error, slm_status status, const char *says)
{
    if (got != status) fail_msg("'%s': status %s: %s", says, slm_status_name(got), got ? error->message : "");
    if (!strstr(error->message, says) && !strstr(error->where, says))
        fail_msg("'%s: %s' does not say '%s'", error->where, error->message, says);
}

static void folders_that_ask_for_more_are_refused(void **state)
{
    (void)state;
    static const struct { const char *file, *text; slm_status status; const char *says; } rows[] = {
        {"modules.json", "{}", SLM_ERR_FORMAT, "must be a list"},
        {"modules.json", "[1]", SLM_ERR_FORMAT, "must be an object"},
        {"modules.json", "[{\"path\":\"\"}]", SLM_ERR_FORMAT, "needs a path and a type"},
        {"modules.json", "[" STEP("../x", "Pooling") "]", SLM_ERR_FORMAT, "'../x' is no folder"},
        {"modules.json", "[" STEP("", "CLIPModel") "]", SLM_ERR_UNSUPPORTED, "'CLIPModel' as step 1"},
        {"modules.json", "[" FIRST "," STEP("9_x", "LayerNorm") "]", SLM_ERR_UNSUPPORTED, "'LayerNorm' as step 3"},
        {"modules.json", "[" STEP("1_Pooling", "Pooling") "]", SLM_ERR_UNSUPPORTED, "'Pooling' as step 1"},
        {"modules.json", "[" STEP("", "Transformer") "]", SLM_ERR_UNSUPPORTED, "no step Pooling"},
        {"modules.json", "[" STEP("0_Transformer", "Transformer") "]", SLM_ERR_UNSUPPORTED, "'0_Transformer'"},
        {"modules.json", "[" FIRST "," STEP("3", "Normalize") "," STEP("2_Dense", "Dense") "]", SLM_ERR_UNSUPPORTED,
         "'Normalize' as step 3"},
        {"modules.json", "[" FIRST "," STEP("7_Dense", "Dense") "]", SLM_ERR_IO, "7_Dense/config.json"},
        {"modules.json", "[" FIRST "," STEP("2_Dense", "Dense") "," STEP("2_Dense", "Dense") "]", SLM_ERR_FORMAT,
         "takes 16 numbers, it gets 10"},
        {"1_Pooling/config.json", "{\"pooling_mode\":\"max\"}", SLM_ERR_UNSUPPORTED, "'max'"},
        {"1_Pooling/config.json", "{\"pooling_mode\":\"new\"}", SLM_ERR_UNSUPPORTED, "1_Pooling/config.json"},
        {"1_Pooling/config.json", "{\"pooling_mode\":[\"mean\",\"cls\"]}", SLM_ERR_UNSUPPORTED, "among others"},
        {"1_Pooling/config.json", "{\"pooling_mode\":[\"mean\",\"new\"]}", SLM_ERR_UNSUPPORTED, "one of mean"},
        {"1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true,\"pooling_mode_max_tokens\":true}",
         SLM_ERR_UNSUPPORTED, "among others"},
        {"1_Pooling/config.json", "{\"pooling_mode\":\"mean\",\"embedding_dimension\":17}", SLM_ERR_FORMAT, "is 17"},
        {"2_Dense/config.json", "{\"activation_function\":\"torch.nn.modules.activation.GELU\"}", SLM_ERR_UNSUPPORTED,
         "GELU"},
        {"2_Dense/config.json", "{\"use_residual\":true}", SLM_ERR_UNSUPPORTED, "use_residual"},
        {"2_Dense/config.json", "{\"module_output_name\":\"x\"}", SLM_ERR_UNSUPPORTED, "'x'"},
        {"2_Dense/config.json", "{\"out_features\":11}", SLM_ERR_FORMAT, "'out_features' is 11"},
        {"2_Dense/model.safetensors", "", SLM_ERR_FORMAT, "2_Dense/model.safetensors"},
        {"sentence_bert_config.json", "{\"do_lower_case\":true}", SLM_ERR_UNSUPPORTED, "do_lower_case"},
        {"sentence_bert_config.json", "{\"max_seq_length\":0}", SLM_ERR_FORMAT, "'max_seq_length' is 0"},
        {"sentence_bert_config.json", "{\"max_seq_length\":\"x\"}", SLM_ERR_FORMAT, "must be a number"},
        {"tokenizer_config.json", "{\"model_max_length\":-3}", SLM_ERR_FORMAT, "'model_max_length' is -3"},
        {"config_sentence_transformers.json", "{\"prompts\":{\"a\":\"b\"},\"default_prompt_name\":\"c\"}",
         SLM_ERR_ARGUMENT, "no prompt 'c'; there are: a"},
    };
    struct slm_error error;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_refusal(try_open(folder_with(rows[i].file, rows[i].text), NULL, &error), &error, rows[i].status,
                       rows[i].says);
}

static void older_spellings_are_understood(void **state)
{
    (void)state;
    struct slm_error error = {0};
    const char *folder = folder_with("1_Pooling/config.json",
                                     "{\"word_embedding_dimension\":16,\"pooling_mode_cls_token\":true,"
                                     "\"pooling_mode_mean_tokens\":false,\"include_prompt\":true}");
    struct slm_model *model;
    struct slm_embedder *embedder;
    assert_int_equal(slm_model_open(folder, NULL, &model, &error), SLM_OK);
    assert_int_equal(slm_embedder_open(model, NULL, &embedder, &error), SLM_OK);
    assert_int_equal(slm_embedder_pooling(embedder), SLM_POOLING_CLS);
    assert_int_equal(slm_embedder_n_dims(embedder), 10);
    slm_embedder_close(embedder);
    slm_model_close(model);
}

/* What sentence-transformers makes of max_seq_length 5: the first four tokens and the one put last. A shorter context
 * cuts nothing. */
static void long_texts_are_cut_where_the_folder_says(void **state)
{
    (void)state;
    enum { KEEP = 5, N_DIMS = 10 };
    static const char text[] = "The quick brown fox jumps over the lazy dog.";
    struct slm_error error = {0};
    struct slm_model *model;
    struct slm_embedder *embedder;
    int32_t ids[64];
    size_t n = 0;
    float vectors[2][N_DIMS];
    assert_int_equal(slm_model_open(folder_with("sentence_bert_config.json", "{\"max_seq_length\":5}"), NULL, &model,
                                    &error), SLM_OK);
    assert_int_equal(slm_tokenize(model, text, sizeof text - 1, SLM_TOKENIZE_ADD_SPECIAL, ids, 64, &n, &error), SLM_OK);
    assert_true(n > KEEP && n < 64);
    ids[KEEP - 1] = ids[n - 1];
    const struct slm_embed_input inputs[2] = {{.text = text, .text_bytes = sizeof text - 1},
                                              {.ids = ids, .n_ids = KEEP}};
    assert_int_equal(slm_embedder_open(model, NULL, &embedder, &error), SLM_OK);
    assert_int_equal(slm_embedder_n_dims(embedder), N_DIMS);
    assert_int_equal(slm_embed(embedder, inputs, 2, vectors[0], &error), SLM_OK);
    assert_memory_equal(vectors[0], vectors[1], sizeof vectors[0]);
    slm_embedder_close(embedder);
    const struct slm_embedder_options small = {.session = {.n_ctx = KEEP - 1}};
    assert_int_equal(slm_embedder_open(model, &small, &embedder, &error), SLM_OK);
    assert_int_equal(slm_embed(embedder, inputs, 1, vectors[0], &error), SLM_ERR_CONTEXT);
    slm_embedder_close(embedder);
    slm_model_close(model);
}

static void options_are_checked(void **state)
{
    (void)state;
    struct slm_error error;
    const struct { struct slm_embedder_options options; const char *says; } rows[] = {
        {{.n_dims = 11}, "n_dims is 11"},
        {{.n_dims = -1}, "n_dims is -1"},
        {{.pooling = (enum slm_pooling)9}, "pooling is 9"},
        {{.session = {.n_ctx = -1}}, "n_ctx"},
        {{.prompt_name = "nothing"}, "no prompt 'nothing'; there are: document, query"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const slm_status got = try_open(GOLDEN "qwen3", &rows[i].options, &error);
        expect_refusal(got, &error, SLM_ERR_ARGUMENT, rows[i].says);
    }
}

static void texts_are_checked(void **state)
{
    (void)state;
    static const int32_t bad_ids[] = {1, 300};
    static const struct { struct slm_embed_input inputs[2]; slm_status status; const char *says; } rows[] = {
        {{{"a", 1, NULL, 0}, {"abcdefghijklmnopqrstuvw", 23, NULL, 0}}, SLM_ERR_CONTEXT, "text 1 has"},
        {{{"a", 1, NULL, 0}, {NULL, 0, bad_ids, 2}}, SLM_ERR_ARGUMENT, "text 1: token 1 is 300, allowed are 0 to 299"},
        {{{"a", 1, NULL, 0}, {NULL, 0, bad_ids, 0}}, SLM_ERR_ARGUMENT, "text 1 has no tokens"},
    };
    struct slm_error error = {0};
    struct slm_model *model;
    struct slm_embedder *embedder;
    float first[20], again[20];
    const struct slm_embedder_options options = {.session = {.n_ctx = 8}};
    assert_int_equal(slm_model_open(GOLDEN "qwen3", NULL, &model, &error), SLM_OK);
    assert_int_equal(slm_embedder_open(model, &options, &embedder, &error), SLM_OK);
    assert_int_equal(slm_embed(embedder, rows[0].inputs, 1, first, &error), SLM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_refusal(slm_embed(embedder, rows[i].inputs, 2, again, &error), &error, rows[i].status, rows[i].says);
        /* A refusal leaves nothing behind. */
        assert_int_equal(slm_embed(embedder, rows[0].inputs, 1, again, &error), SLM_OK);
        assert_memory_equal(first, again, 10 * sizeof *first);
    }
    assert_int_equal(slm_embed(embedder, NULL, 0, NULL, &error), SLM_OK);
    slm_embedder_close(embedder);
    slm_model_close(model);
}

static void what_cannot_generate_says_so(void **state)
{
    (void)state;
    static const struct { const char *model, *says; } rows[] = {
        {GOLDEN "qwen3", "has no head"}, {GOLDEN "gemma/model.gguf", "attends to both sides"}};
    for (int i = 0; i < 2; i++) {
        struct slm_error error;
        struct slm_model *model;
        struct slm_session *session;
        assert_int_equal(slm_model_open(rows[i].model, NULL, &model, &error), SLM_OK);
        expect_refusal(slm_session_open(model, NULL, &session, &error), &error, SLM_ERR_UNSUPPORTED, rows[i].says);
        slm_model_close(model);
    }
}

static void gguf_pooling_types_are_checked(void **state)
{
    (void)state;
    static const struct { double type; slm_status status; const char *says; } rows[] = {
        {4, SLM_ERR_FORMAT, "cls.output.weight"}, {5, SLM_ERR_FORMAT, "pooling_type"},
        {-1, SLM_ERR_FORMAT, "pooling_type"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_error error;
        const struct tiny_override extra = {.key = "qwen3.pooling_type", .type = SLM_GGUF_I32, .number = rows[i].type};
        struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_F32);
        const char *path = tiny_path("pooling.gguf");
        spec.overrides = &extra;
        spec.n_overrides = 1;
        tiny_model_write(path, &spec);
        expect_refusal(try_open(path, NULL, &error), &error, rows[i].status, rows[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_that_ask_for_more_are_refused),
        cmocka_unit_test(older_spellings_are_understood),
        cmocka_unit_test(long_texts_are_cut_where_the_folder_says),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(texts_are_checked),
        cmocka_unit_test(what_cannot_generate_says_so),
        cmocka_unit_test(gguf_pooling_types_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
