/* SPDX-License-Identifier: MIT
 * Quantizing: which tensor gets which type, the rules on top, importance, what is refused before anything is written.
 * That llama.cpp chooses the same types and reads the same numbers is checked in tests/oracle/quantizer.py; the search
 * for scales in tests/kernels/test_encode.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "effort.h"
#include "tiny_folder.h"
#include "tiny_model.h"

static char in[256], wide[256], out[256], folder[256], imatrix[256];
static char notes[2048];

static void keep_note(void *user, const char *sentence)
{
    (void)user;
    const size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%s\n", sentence);
}

static int set_up(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_F32);
    snprintf(in, sizeof in, "%s", tiny_path("in.gguf"));
    snprintf(wide, sizeof wide, "%s", tiny_path("wide.gguf"));
    snprintf(out, sizeof out, "%s", tiny_path("out.gguf"));
    snprintf(folder, sizeof folder, "%s", tiny_path("folder"));
    snprintf(imatrix, sizeof imatrix, "%s", tiny_path("imatrix.gguf"));
    tiny_model_write(in, &spec);
    tiny_folder_write(folder, SLM_DTYPE_BF16);
    spec.n_embd = 256, spec.n_ff = 512, spec.n_layer = 16, spec.n_head = 8, spec.untied = true;
    tiny_model_write(wide, &spec);
    return 0;
}

static slm_status quantize(const char *from, struct slm_quantize_options options, struct slm_error *error)
{
    options.note = keep_note;
    notes[0] = 0;
    return slm_quantize(from, out, &options, NULL, error);
}

static void quantized(const char *from, struct slm_quantize_options options)
{
    struct slm_error error = {0};
    if (quantize(from, options, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
}

/* One after the other from `names`, ended by NULL: tensor, type. */
static void assert_types(const char *const *names)
{
    struct slm_gguf *gguf;
    assert_int_equal(slm_gguf_open(out, NULL, &gguf, NULL), SLM_OK);
    for (; *names; names += 2) {
        const struct slm_gguf_tensor *t = slm_gguf_find_tensor(gguf, slm_str(names[0]));
        assert_non_null(t);
        if (strcmp(slm_dtypes[t->dtype].name, names[1]) != 0)
            fail_msg("%s has type %s, not %s", names[0], slm_dtypes[t->dtype].name, names[1]);
    }
    slm_gguf_close(gguf);
}
#define TYPES(...) assert_types((const char *const[]){__VA_ARGS__, NULL})

/* ---- types ----------------------------------------------------------------------------------------------------- */

/* Layers 0, 1 are the first eighth of 16; 4, 7, 10, 13 and the last two get more. Four heads share one. */
static void mixtures(void **state)
{
    (void)state;
    quantized(wide, (struct slm_quantize_options){.type = "Q4_K_M"});
    TYPES("token_embd.weight", "Q4_K", "output.weight", "Q6_K", "blk.0.attn_v.weight", "Q6_K", "blk.2.attn_v.weight",
          "Q4_K", "blk.4.ffn_down.weight", "Q6_K", "blk.5.ffn_down.weight", "Q4_K", "blk.15.ffn_down.weight", "Q6_K",
          "blk.0.attn_norm.weight", "F32", "blk.0.attn_q.weight", "Q4_K");
    quantized(wide, (struct slm_quantize_options){.type = "q4_k_s"});
    TYPES("blk.3.attn_v.weight", "Q5_K", "blk.4.attn_v.weight", "Q4_K", "blk.1.ffn_down.weight", "Q5_K",
          "blk.2.ffn_down.weight", "Q4_K");
    if (test_is_far_too_slow()) return; /* rows of the same table */
    quantized(wide, (struct slm_quantize_options){.type = "q3_k_m"});
    TYPES("blk.1.attn_v.weight", "Q5_K", "blk.2.attn_v.weight", "Q4_K", "blk.0.ffn_down.weight", "Q5_K",
          "blk.1.ffn_down.weight", "Q4_K", "blk.9.attn_output.weight", "Q4_K", "blk.9.ffn_up.weight", "Q3_K");
    quantized(wide, (struct slm_quantize_options){.type = "q2_k"});
    TYPES("blk.9.attn_v.weight", "Q4_K", "blk.9.ffn_down.weight", "Q3_K", "blk.9.attn_output.weight", "Q3_K",
          "blk.9.attn_q.weight", "Q2_K");
    quantized(wide, (struct slm_quantize_options){.type = "iq4_xs"});
    TYPES("blk.9.attn_v.weight", "Q5_K", "blk.1.ffn_down.weight", "Q5_K", "blk.2.ffn_down.weight", "IQ4_XS");
    quantized(wide, (struct slm_quantize_options){.type = "tq2_0"});
    TYPES("token_embd.weight", "Q4_K", "output.weight", "Q6_K", "blk.0.attn_v.weight", "TQ2_0");
    quantized(wide, (struct slm_quantize_options){.type = "q8_0"});
    TYPES("output.weight", "Q8_0", "blk.0.attn_v.weight", "Q8_0");
    quantized(wide, (struct slm_quantize_options){.type = "f16"});
    TYPES("output.weight", "F16", "token_embd.weight", "F16", "blk.0.attn_norm.weight", "F32");
    quantized(wide, (struct slm_quantize_options){.type = "q6_k", .pure = true});
    TYPES("token_embd.weight", "Q6_K", "output.weight", "Q6_K");
}

static void rules(void **state)
{
    (void)state;
    const struct slm_convert_rule list[] = {{"ffn_down", "q6_k"}, {"blk.1.*down", "q8_0"}};
    quantized(wide, (struct slm_quantize_options){.type = "q4_k_s", .rules = list, .n_rules = 2, .head = "q8_0",
                                                  .embedding = "q5_1"});
    TYPES("blk.0.ffn_down.weight", "Q6_K", "blk.1.ffn_down.weight", "Q8_0", "output.weight", "Q8_0",
          "token_embd.weight", "Q5_1", "blk.0.ffn_up.weight", "Q4_K", "blk.0.attn_output.weight", "Q4_K");
    quantized(in, (struct slm_quantize_options){.type = "q4_0", .head = "f16"}); /* the embedding is the head */
    TYPES("token_embd.weight", "F16");
}

/* 64 and 96 elements a row: no superblocks. */
static void falls_back(void **state)
{
    (void)state;
    quantized(in, (struct slm_quantize_options){.type = "q4_k_m"});
    TYPES("token_embd.weight", "Q8_0", "blk.0.attn_q.weight", "Q5_0", "blk.1.ffn_down.weight", "Q8_0");
    assert_non_null(strstr(notes, "do not fit the blocks of the type asked for, and are written as Q5_0"));
    assert_non_null(strstr(notes, "written as Q8_0"));
    quantized(in, (struct slm_quantize_options){.type = "iq4_xs"});
    TYPES("blk.0.attn_q.weight", "IQ4_NL");
    quantized(in, (struct slm_quantize_options){.type = "q2_k"});
    TYPES("blk.0.attn_q.weight", "Q4_0");
    assert_non_null(strstr(notes, "written as Q4_0"));
}

static void folders_too(void **state)
{
    (void)state;
    quantized(folder, (struct slm_quantize_options){.type = "q5_1"});
    TYPES("blk.0.attn_q.weight", "Q5_1", "blk.0.attn_norm.weight", "F32");
}

/* ---- importance ------------------------------------------------------------------------------------------------ */

static double error_of(const char *tensor, bool weighed)
{
    struct slm_gguf *a, *b;
    double sum = 0;
    assert_int_equal(slm_gguf_open(wide, NULL, &a, NULL), SLM_OK);
    assert_int_equal(slm_gguf_open(out, NULL, &b, NULL), SLM_OK);
    const struct slm_gguf_tensor *x = slm_gguf_find_tensor(a, slm_str(tensor)), *y = slm_gguf_find_tensor(b, x->name);
    float *p = malloc(x->n_elements * sizeof *p), *q = malloc(x->n_elements * sizeof *q);
    slm_tensor_read_rows(x, 0, x->dims[1], p);
    slm_tensor_read_rows(y, 0, x->dims[1], q);
    for (uint64_t i = 0; i < x->n_elements; i++)
        sum += (double)((p[i] - q[i]) * (p[i] - q[i])) * (weighed ? (double)(i % x->dims[0] + 1) : 1);
    free(p);
    free(q);
    slm_gguf_close(a);
    slm_gguf_close(b);
    return sum;
}

/* What counts more becomes better, at the cost of the rest; tensors without an entry stay as they were. */
static void importance_counts(void **state)
{
    (void)state;
    static const char weighed[] = "blk.0.ffn_up.weight", other[] = "blk.1.ffn_up.weight";
    tiny_imatrix_write(imatrix, weighed, 256, 5);
    quantized(wide, (struct slm_quantize_options){.type = "q3_k_s"});
    const double before = error_of(weighed, true), plain = error_of(weighed, false);
    const double other_before = error_of(other, false);
    quantized(wide, (struct slm_quantize_options){.type = "q3_k_s", .imatrix = imatrix});
    assert_true(error_of(weighed, true) < before);
    assert_true(error_of(weighed, false) > plain);
    assert_true(fabs(error_of(other, false) - other_before) == 0);
    assert_non_null(strstr(notes, "weighs 1 of "));
}

static void bad_importance(void **state)
{
    (void)state;
    struct slm_error error;
    const struct slm_quantize_options with = {.type = "q4_0", .imatrix = imatrix};
    tiny_imatrix_write(imatrix, "blk.0.ffn_up.weight", 128, 5);
    assert_int_equal(quantize(wide, with, &error), SLM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "256 inputs"));
    tiny_imatrix_write(imatrix, "blk.0.ffn_up.weight", 256, NAN);
    assert_int_equal(quantize(wide, with, &error), SLM_ERR_NUMERIC);
    tiny_imatrix_write(imatrix, "nothing", 256, 5);
    assert_int_equal(quantize(wide, with, &error), SLM_ERR_ARGUMENT);
    tiny_imatrix_write(imatrix, "blk.0.ffn_up.weight", 256, 0); /* saw nothing: as if it were not there */
    assert_int_equal(quantize(wide, with, &error), SLM_ERR_ARGUMENT);
    const struct slm_quantize_options model = {.type = "q4_0", .imatrix = in};
    assert_int_equal(quantize(wide, model, &error), SLM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "no importance matrix"));
}

/* ---- what is refused ------------------------------------------------------------------------------------------- */

/* Overwrites one weight of a copy of the wide model. */
static void spoil(const char *path, float value)
{
    struct slm_gguf *gguf;
    const struct slm_convert_options copy = {0};
    assert_int_equal(slm_convert(wide, path, &copy, NULL, NULL), SLM_OK);
    assert_int_equal(slm_gguf_open(path, NULL, &gguf, NULL), SLM_OK);
    const uint64_t at = slm_gguf_find_tensor(gguf, slm_str("blk.3.ffn_up.weight"))->offset + 4 * 777;
    slm_gguf_close(gguf);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)at, SEEK_SET);
    fwrite(&value, sizeof value, 1, file);
    fclose(file);
}

static void bad_weights(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, -INFINITY, 1e6f};
    static const char *const types[] = {"q4_k_m", "q8_0", "iq4_nl", "f16", "tq2_0"};
    struct slm_error error;
    char path[256];
    snprintf(path, sizeof path, "%s", tiny_path("spoilt.gguf"));
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        spoil(path, values[v]);
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            unlink(out);
            assert_int_equal(quantize(path, (struct slm_quantize_options){.type = types[t]}, &error), SLM_ERR_NUMERIC);
            assert_non_null(strstr(error.message, "'blk.3.ffn_up.weight': element 777 "));
            assert_int_not_equal(access(out, F_OK), 0);
        }
    }
}

static void bad_requests(void **state)
{
    (void)state;
    struct slm_error error;
    const struct slm_convert_rule none[] = {{"ffn_sideways", "q6_k"}}, odd[] = {{"ffn_down", "u4"}};
    assert_int_equal(quantize(wide, (struct slm_quantize_options){.type = "q9_k"}, &error), SLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "Q4_K_M"));
    assert_int_equal(quantize(wide, (struct slm_quantize_options){.type = "q4_0", .rules = none, .n_rules = 1}, &error),
                     SLM_ERR_ARGUMENT);
    assert_int_equal(quantize(wide, (struct slm_quantize_options){.type = "q4_0", .rules = odd, .n_rules = 1}, &error),
                     SLM_ERR_ARGUMENT);
    const struct slm_quantize_options plain = {.type = "q4_0"};
    assert_int_equal(slm_quantize(wide, wide, &plain, NULL, &error), SLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "is the model that is read"));
    assert_int_equal(slm_quantize("/nowhere.gguf", out, &plain, NULL, &error), SLM_ERR_IO);
    assert_int_equal(quantize(wide, (struct slm_quantize_options){.type = "i2_s"}, &error), SLM_ERR_NUMERIC);
    assert_non_null(strstr(error.message, "ternary"));
}

static void threads_change_nothing(void **state)
{
    (void)state;
    char first[256], command[600];
    snprintf(first, sizeof first, "%s", tiny_path("first.gguf"));
    quantized(wide, (struct slm_quantize_options){.type = "q4_k_m", .n_threads = 1});
    rename(out, first);
    quantized(wide, (struct slm_quantize_options){.type = "q4_k_m", .n_threads = 7});
    snprintf(command, sizeof command, "cmp '%s' '%s'", first, out);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixtures),          cmocka_unit_test(rules),
        cmocka_unit_test(falls_back),        cmocka_unit_test(folders_too),
        cmocka_unit_test(importance_counts), cmocka_unit_test(bad_importance),
        cmocka_unit_test(bad_weights),       cmocka_unit_test(bad_requests),
        cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
