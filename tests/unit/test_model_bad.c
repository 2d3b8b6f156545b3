/* SPDX-License-Identifier: MIT
 * Files that are well-formed GGUF and impossible models: each is refused with one sentence that names the file, the key
 * or tensor, the value and what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>

#include <cmocka.h>

#include "model/model.h"
#include "slm.h"
#include "tiny_model.h"

static void expect_refusal(const struct tiny_spec *spec, slm_status status, const char *const *words)
{
    const char *path = tiny_path("bad.gguf");
    tiny_model_write(path, spec);
    struct slm_model *model;
    struct slm_error error = {0};
    assert_int_equal(slm_model_open(path, NULL, &model, &error), status);
    for (; *words; words++)
        if (!strstr(error.message, *words) && !strstr(error.where, *words))
            fail_msg("'%s' is not in '%s: %s'", *words, error.where, error.message);
}

static void impossible_numbers_are_refused(void **state)
{
    (void)state;
    static const struct { struct tiny_override o; const char *words[4]; } rows[] = {
        {{"block_count", SLM_GGUF_U32, 0, NULL, false}, {"llama.block_count", "0", "512"}},
        {{"block_count", SLM_GGUF_U32, 600, NULL, false}, {"llama.block_count", "600", "512"}},
        {{"block_count", SLM_GGUF_U32, 2147483648.0, NULL, false}, {"llama.block_count", "2147483648"}},
        {{"block_count", SLM_GGUF_U32, 0, NULL, true}, {"llama.block_count"}},
        {{"block_count", SLM_GGUF_F32, 2, NULL, false}, {"llama.block_count"}},
        {{"attention.head_count", SLM_GGUF_U32, 0, NULL, false}, {"attention.head_count"}},
        {{"attention.head_count_kv", SLM_GGUF_U32, 3, NULL, false}, {"head_count_kv 3", "head_count 4"}},
        {{"embedding_length", SLM_GGUF_U32, 0, NULL, false}, {"embedding_length"}},
        {{"embedding_length", SLM_GGUF_U32, 33, NULL, false}, {"token_embd.weight", "33"}},
        {{"attention.layer_norm_rms_epsilon", SLM_GGUF_F32, NAN, NULL, false}, {"layer_norm_rms_epsilon", "nan"}},
        {{"attention.layer_norm_rms_epsilon", SLM_GGUF_F32, -1, NULL, false}, {"layer_norm_rms_epsilon", "-1"}},
        {{"attention.layer_norm_rms_epsilon", SLM_GGUF_F32, 0, NULL, false}, {"layer_norm_rms_epsilon"}},
        {{"attention.layer_norm_rms_epsilon", SLM_GGUF_F32, INFINITY, NULL, false}, {"layer_norm_rms_epsilon", "inf"}},
        {{"rope.freq_base", SLM_GGUF_F32, 0, NULL, false}, {"rope.freq_base"}},
        {{"rope.freq_base", SLM_GGUF_F32, NAN, NULL, false}, {"rope.freq_base"}},
        {{"rope.dimension_count", SLM_GGUF_U32, 7, NULL, false}, {"rope.dimension_count 7", "even", "32"}},
        {{"rope.dimension_count", SLM_GGUF_U32, 999, NULL, false}, {"rope.dimension_count 999", "32"}},
        {{"context_length", SLM_GGUF_U32, 4294967295.0, NULL, false}, {"context_length", "4294967295"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F16);
        spec.overrides = &rows[i].o;
        spec.n_overrides = 1;
        expect_refusal(&spec, SLM_ERR_FORMAT, rows[i].words);
    }
}

static void missing_and_wrong_tensors_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"token_embd.weight", "output_norm.weight", "blk.1.attn_q.weight",
                                        "blk.0.attn_q_norm.weight", "blk.1.ffn_down.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_F16);
        spec.skip_tensor = names[i];
        expect_refusal(&spec, SLM_ERR_FORMAT, (const char *[]){names[i], "missing", "bad.gguf", NULL});
        spec.skip_tensor = NULL;
        spec.wrong_tensor = names[i];
        expect_refusal(&spec, SLM_ERR_FORMAT, (const char *[]){i == 0 ? "321" : names[i], NULL});
    }
}

static void unknown_models_are_named(void **state)
{
    (void)state;
    const struct tiny_override nope = {"general.architecture", SLM_GGUF_STRING, 0, "nope", false};
    struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F16);
    spec.overrides = &nope;
    spec.n_overrides = 1;
    expect_refusal(&spec, SLM_ERR_UNSUPPORTED, (const char *[]){"nope", "llama", "qwen3", NULL});
    const struct tiny_override yarn = {"llama.rope.scaling.type", SLM_GGUF_STRING, 0, "yarn", false};
    spec.overrides = &yarn;
    expect_refusal(&spec, SLM_ERR_UNSUPPORTED, (const char *[]){"llama.rope.scaling.type", "yarn", "linear", NULL});
}

static void size_classes_cut_the_gaps_in_the_middle(void **state)
{
    (void)state;
    static const struct { uint64_t n; const char *name; } rows[] = {
        {99999999, "tiny"}, {100000000, "micro"}, {1400000000, "micro"}, {1449999999, "micro"}, {1450000000, "small"},
        {1500000000, "small"}, {13900000000, "small"}, {13950000000, "medium"}, {14000000000, "medium"},
        {30000000000, "medium"}, {30600000000, "large"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(slm_model_size_class(rows[i].n), rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_numbers_are_refused),
        cmocka_unit_test(missing_and_wrong_tensors_are_refused),
        cmocka_unit_test(unknown_models_are_named),
        cmocka_unit_test(size_classes_cut_the_gaps_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
