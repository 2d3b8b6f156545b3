/* SPDX-License-Identifier: MIT
 * Ternary models: the same random weights written in every form GGUF files have them must give the same logits, bit for
 * bit, however they are computed; what is not ternary must be refused. That the numbers are right is for the golden
 * fixture and the oracle to say. Converting between the forms changes nothing either. The packing here is written out
 * from the definitions of ggml and bitnet.cpp. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/fmath.h"
#include "base/rng.h"
#include "format/gguf.h"
#include "slm.h"
#include "tiny_model.h"

enum { EMBD = 256, HEADS = 4, KV = 2, HEAD = 64, FF = 512, VOCAB = 40, LAYERS = 2, TOKENS = 9, MOST = EMBD * FF };

#define AVX2 (SLM_CPU(AVX) | SLM_CPU(F16C) | SLM_CPU(FMA) | SLM_CPU(AVX2))

struct form {
    const char *architecture, *activation; /* NULL: not said */
    enum slm_dtype dtype;
    bool side_scale; /* the matrix holds -1, 0, 1, and P.scale the factor */
    float spoil;     /* added to one weight; of two-bit codes: a code 3 */
    bool flipped;    /* codes and scales of the other sign, which is the same */
};

/* Few bits, so that F16 and BF16 hold it exactly. */
static float scale_of(unsigned matrix) { return (float)(8 + matrix % 8) / 256; }

static void pack_i2_s(const signed char *codes, size_t n, float scale, unsigned char *out)
{
    memset(out, 0, n / 4 + 32);
    for (size_t i = 0; i < n; i++)
        out[i / 128 * 32 + i % 32] |= (unsigned char)((codes[i] + 1) << (6 - 2 * (i % 128 / 32)));
    memcpy(out + n / 4, &scale, 4);
}

static void put_half(unsigned char *at, float value)
{
    const uint16_t half = slm_f32_to_f16(value);
    memcpy(at, &half, 2);
}

static void pack_tq2_0(const signed char *codes, size_t n, float scale, unsigned char *out)
{
    for (size_t b = 0; b < n / 256; b++, codes += 256, out += 66) {
        memset(out, 0, 64);
        for (int i = 0; i < 256; i++)
            out[i / 128 * 32 + i % 32] |= (unsigned char)((codes[i] + 1) << (2 * (i % 128 / 32)));
        put_half(out + 64, scale);
    }
}

/* Digits of elements first, first + step, ..; the first is the highest. Missing ones are 0. */
static unsigned char digits(const signed char *codes, int first, int step, int n)
{
    unsigned value = 0;
    for (int k = 0; k < 5; k++) value = 3 * value + (k < n ? (unsigned)(codes[first + k * step] + 1) : 0);
    return (unsigned char)((value * 256 + 242) / 243);
}

static void pack_tq1_0(const signed char *codes, size_t n, float scale, unsigned char *out)
{
    for (size_t b = 0; b < n / 256; b++, codes += 256, out += 54) {
        for (int j = 0; j < 32; j++) out[j] = digits(codes, j, 32, 5);
        for (int j = 0; j < 16; j++) out[32 + j] = digits(codes, 160 + j, 16, 5);
        for (int j = 0; j < 4; j++) out[48 + j] = digits(codes, 240 + j, 4, 4);
        put_half(out + 52, scale);
    }
}

/* Codes of a matrix as the file of this form has them. */
static void pack(const struct form *form, const signed char *codes, size_t n, float scale, unsigned char *out)
{
    if (form->flipped) {
        static signed char negative[MOST];
        for (size_t i = 0; i < n; i++) negative[i] = (signed char)-codes[i];
        codes = negative;
        scale = -scale;
    }
    if (form->dtype == SLM_DTYPE_I2_S) pack_i2_s(codes, n, scale, out);
    else if (form->dtype == SLM_DTYPE_TQ1_0) pack_tq1_0(codes, n, scale, out);
    else if (form->dtype == SLM_DTYPE_TQ2_0) pack_tq2_0(codes, n, scale, out);
    else {
        static float values[MOST];
        for (size_t i = 0; i < n; i++) values[i] = (float)codes[i] * scale;
        values[5] += form->spoil;
        slm_dtypes[form->dtype].encode(values, out, n);
        return;
    }
    if (form->spoil != 0) out[3] |= 3 << 4;
}

static const struct { const char *name; uint32_t n_in, n_out; } matrices[] = {
    {"attn_q", EMBD, HEADS * HEAD}, {"attn_k", EMBD, KV * HEAD}, {"attn_v", EMBD, KV * HEAD},
    {"attn_output", HEADS * HEAD, EMBD}, {"ffn_gate", EMBD, FF}, {"ffn_up", EMBD, FF}, {"ffn_down", FF, EMBD}};
static const struct { const char *name; uint32_t n; } norms[] = {
    {"attn_norm", EMBD}, {"attn_sub_norm", EMBD}, {"ffn_norm", EMBD}, {"ffn_sub_norm", FF}};
enum { N_MATRICES = sizeof matrices / sizeof *matrices, N_NORMS = sizeof norms / sizeof *norms };

static struct slm_gguf_writer *writer;
static struct slm_error error;

static void must(slm_status status)
{
    if (status != SLM_OK) fail_msg("%s: %s", error.where, error.message);
}

static void declare(const char *name, enum slm_dtype dtype, uint32_t n_in, uint32_t n_out)
{
    const uint64_t dims[2] = {n_in, n_out};
    must(slm_gguf_declare_tensor(writer, slm_str(name), dtype, dims, n_out ? 2 : 1, &error));
}

static void write_floats(uint64_t stream, size_t n, float middle)
{
    static float values[VOCAB * EMBD];
    struct slm_rng rng = {.seed = 5, .stream = stream};
    for (size_t i = 0; i < n; i++) values[i] = middle + (float)(slm_rng_next(&rng) % 2001) / 1000 - 1;
    must(slm_gguf_write_data(writer, values, n * sizeof *values, &error));
}

static void write_matrix(const struct form *form, unsigned layer, unsigned m)
{
    static signed char codes[MOST];
    static unsigned char packed[MOST * 4];
    const size_t n = (size_t)matrices[m].n_in * matrices[m].n_out;
    struct slm_rng rng = {.seed = 5, .stream = 100 + layer * N_MATRICES + m};
    for (size_t i = 0; i < n; i++) codes[i] = (signed char)(slm_rng_next(&rng) % 3 - 1);
    codes[5] = 1;
    uint64_t bytes;
    assert_true(slm_dtype_bytes(form->dtype, n, &bytes));
    const float scale = scale_of(layer * N_MATRICES + m);
    pack(form, codes, n, form->side_scale ? 1.0f : scale, packed);
    must(slm_gguf_write_data(writer, packed, bytes, &error));
    if (form->side_scale) must(slm_gguf_write_data(writer, &scale, sizeof scale, &error));
}

static void write_keys(const struct form *form)
{
    static const struct { const char *key; int64_t value; } numbers[] = {
        {"block_count", LAYERS}, {"context_length", 64}, {"embedding_length", EMBD}, {"feed_forward_length", FF},
        {"attention.head_count", HEADS}, {"attention.head_count_kv", KV}};
    char key[100];
    must(slm_gguf_write_str(writer, "general.architecture", slm_str(form->architecture), &error));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(key, sizeof key, "%s.%s", form->architecture, numbers[i].key);
        must(slm_gguf_write_i64(writer, key, SLM_GGUF_U32, numbers[i].value, &error));
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", form->architecture);
    must(slm_gguf_write_f32(writer, key, 1e-5f, &error));
    snprintf(key, sizeof key, "%s.hidden_activation", form->architecture);
    if (form->activation) must(slm_gguf_write_str(writer, key, slm_str(form->activation), &error));
}

static const char *write_model(const struct form *form)
{
    const char *path = tiny_path("ternary.gguf");
    char name[64];
    must(slm_gguf_writer_open(path, 0, &writer, &error));
    write_keys(form);
    declare("token_embd.weight", SLM_DTYPE_F32, EMBD, VOCAB);
    declare("output_norm.weight", SLM_DTYPE_F32, EMBD, 0);
    for (unsigned l = 0; l < LAYERS; l++) {
        for (int i = 0; i < N_NORMS; i++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", l, norms[i].name);
            declare(name, SLM_DTYPE_F32, norms[i].n, 0);
        }
        for (int m = 0; m < N_MATRICES; m++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", l, matrices[m].name);
            declare(name, form->dtype, matrices[m].n_in, matrices[m].n_out);
            snprintf(name, sizeof name, "blk.%u.%s.scale", l, matrices[m].name);
            if (form->side_scale) declare(name, SLM_DTYPE_F32, 1, 0);
        }
    }
    write_floats(1, VOCAB * EMBD, 0);
    write_floats(2, EMBD, 2);
    for (unsigned l = 0; l < LAYERS; l++) {
        for (unsigned i = 0; i < N_NORMS; i++) write_floats(10 + l * N_NORMS + i, norms[i].n, 2);
        for (unsigned m = 0; m < N_MATRICES; m++) write_matrix(form, l, m);
    }
    must(slm_gguf_writer_finish(writer, &error));
    return path;
}

static enum slm_activations activations = SLM_ACTIVATIONS_INT8;

static void compute(const char *path, unsigned n_threads, int32_t n_batch, uint64_t cpu_mask, float *logits)
{
    static const int32_t ids[TOKENS] = {3, 1, 4, 1, 5, 9, 2, 6, 39};
    const struct slm_model_options how = {.cpu_mask = cpu_mask};
    const struct slm_session_options options = {.kv_type = SLM_KV_F32, .n_ctx = 32, .n_threads = (int32_t)n_threads,
                                                .n_batch = n_batch, .activations = activations};
    struct slm_model *model;
    struct slm_session *session;
    must(slm_model_open(path, &how, &model, &error));
    must(slm_session_open(model, &options, &session, &error));
    must(slm_session_eval_all(session, ids, TOKENS, logits, &error));
    slm_session_close(session);
    slm_model_close(model);
}

static const struct form plain = {"bitnet-b1.58", NULL, SLM_DTYPE_F32, false, 0, false};
static float reference[TOKENS * VOCAB], other[TOKENS * VOCAB];

static void every_form_gives_the_same_bits(void **state)
{
    (void)state;
    static const struct form forms[] = {
        {"bitnet-b1.58", NULL, SLM_DTYPE_F16, false, 0, false},
        {"bitnet-b1.58", NULL, SLM_DTYPE_BF16, false, 0, false},
        {"bitnet-b1.58", NULL, SLM_DTYPE_I2_S, false, 0, false},
        {"bitnet-b1.58", NULL, SLM_DTYPE_TQ1_0, false, 0, false},
        {"bitnet-b1.58", NULL, SLM_DTYPE_TQ2_0, false, 0, false},
        {"bitnet-25", NULL, SLM_DTYPE_I2_S, false, 0, false},
        {"bitnet", "relu2", SLM_DTYPE_TQ2_0, false, 0, false},
        {"bitnet", "relu2", SLM_DTYPE_TQ1_0, true, 0, false},
        {"bitnet", "relu_sqr", SLM_DTYPE_F32, true, 0, false},
        {"bitnet", "relu2", SLM_DTYPE_I2_S, true, 0, false},
        {"bitnet", "relu2", SLM_DTYPE_TQ2_0, false, 0, true},
        {"bitnet", "relu2", SLM_DTYPE_I2_S, false, 0, true}};
    compute(write_model(&plain), 1, 64, 0, reference);
    for (int i = 0; i < TOKENS * VOCAB; i++) assert_true(isfinite(reference[i]));
    assert_memory_not_equal(reference, reference + VOCAB, VOCAB * sizeof *reference);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        compute(write_model(&forms[i]), 1, 64, 0, other);
        if (memcmp(reference, other, sizeof other) != 0)
            fail_msg("%s %s: other logits", forms[i].architecture, slm_dtypes[forms[i].dtype].name);
    }
    /* SiLU */
    compute(write_model(&(struct form){"bitnet", NULL, SLM_DTYPE_TQ2_0, false, 0, false}), 1, 64, 0, other);
    assert_memory_not_equal(reference, other, sizeof other);
}

static void threads_chunks_and_kernels_change_nothing(void **state)
{
    (void)state;
    const char *path = write_model(&(struct form){"bitnet-b1.58", NULL, SLM_DTYPE_I2_S, false, 0, false});
    activations = SLM_ACTIVATIONS_F32; /* unpacked to floats: the same integers */
    compute(path, 1, 64, 0, reference);
    activations = SLM_ACTIVATIONS_INT8;
    static const struct { unsigned n_threads; int32_t n_batch; uint64_t mask; } ways[] = {
        {1, 1, 0}, {2, 4, 0}, {3, 64, 0}, {1, 64, UINT64_C(1) << 63}, {2, 2, UINT64_C(1) << 63},
        {1, 64, AVX2}, {2, 3, AVX2 | SLM_CPU(AVXVNNI)}, {2, 64, AVX2 | SLM_CPU(AVX512)}, {2, 64, SLM_CPU(NEON)}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        compute(path, ways[i].n_threads, ways[i].n_batch, ways[i].mask, other);
        assert_memory_equal(reference, other, sizeof other);
    }
}

static void what_is_not_ternary_is_refused(void **state)
{
    (void)state;
    static const struct { struct form form; const char *says; } rows[] = {
        {{"bitnet-b1.58", NULL, SLM_DTYPE_F32, false, 0.001f, false}, "ternary"},
        {{"bitnet-b1.58", NULL, SLM_DTYPE_F32, false, INFINITY, false}, "ternary"},
        {{"bitnet-b1.58", NULL, SLM_DTYPE_F32, false, NAN, false}, "ternary"},
        {{"bitnet-b1.58", NULL, SLM_DTYPE_TQ2_0, false, 1, false}, "ternary"},
        {{"bitnet-b1.58", NULL, SLM_DTYPE_I2_S, false, 1, false}, "ternary"},
        {{"bitnet-b1.58", "gelu", SLM_DTYPE_F32, false, 0, false}, "relu2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_model *model;
        assert_int_not_equal(slm_model_open(write_model(&rows[i].form), NULL, &model, &error), SLM_OK);
        if (!strstr(error.message, rows[i].says)) fail_msg("'%s' does not say '%s'", error.message, rows[i].says);
    }
}

static enum slm_dtype type_of(const char *path, const char *name)
{
    struct slm_gguf *gguf;
    must(slm_gguf_open(path, NULL, &gguf, &error));
    const enum slm_dtype dtype = slm_gguf_find_tensor(gguf, slm_str(name))->dtype;
    slm_gguf_close(gguf);
    return dtype;
}

/* From every form into every type that holds it, and split among files. */
static void converted_files_compute_the_same(void **state)
{
    (void)state;
    static const enum slm_dtype forms[] = {SLM_DTYPE_I2_S, SLM_DTYPE_TQ1_0, SLM_DTYPE_TQ2_0, SLM_DTYPE_F32};
    static const struct { const char *name; enum slm_dtype dtype; } types[] = {
        {"f32", SLM_DTYPE_F32}, {"f16", SLM_DTYPE_F16}, {"bf16", SLM_DTYPE_BF16}, {"tq1_0", SLM_DTYPE_TQ1_0},
        {"tq2_0", SLM_DTYPE_TQ2_0}, {NULL, SLM_DTYPE_NONE}};
    char in[256], out[256], part[300];
    snprintf(out, sizeof out, "%s", tiny_path("ternary-converted.gguf"));
    compute(write_model(&plain), 1, 64, 0, reference);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        snprintf(in, sizeof in, "%s", write_model(&(struct form){"bitnet-b1.58", NULL, forms[f], false, 0, false}));
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            const struct slm_convert_rule rule = {"blk.*", types[i].name};
            must(slm_convert(in, out, &(struct slm_convert_options){.rules = &rule, .n_rules = types[i].name != NULL,
                                                                    .n_threads = 2}, NULL, &error));
            assert_int_equal(type_of(out, "blk.1.ffn_down.weight"), types[i].name ? types[i].dtype : forms[f]);
            compute(out, 1, 64, 0, other);
            if (memcmp(reference, other, sizeof other) != 0)
                fail_msg("%s as %s: other logits", slm_dtypes[forms[f]].name, types[i].name ? types[i].name : "is");
        }
    }
    snprintf(in, sizeof in, "%s", write_model(&(struct form){"bitnet-b1.58", NULL, SLM_DTYPE_I2_S, false, 0, false}));
    struct slm_convert_result result;
    must(slm_convert(in, out, &(struct slm_convert_options){.split_max_tensors = 5}, &result, &error));
    snprintf(part, sizeof part, "%.*s-00001-of-%05zu.gguf", (int)strlen(out) - 5, out, result.n_files);
    compute(part, 1, 64, 0, other);
    assert_memory_equal(reference, other, sizeof other);
    /* A type for all does not make the embedding ternary. */
    must(slm_convert(in, out, &(struct slm_convert_options){.type = "tq1_0"}, NULL, &error));
    assert_int_equal(type_of(out, "token_embd.weight"), SLM_DTYPE_F32);
    assert_int_equal(type_of(out, "blk.0.ffn_up.weight"), SLM_DTYPE_TQ1_0);
}

/* The search for scales finds the one that is there: whichever ternary type a model goes through, nothing is lost. */
static void quantized_files_compute_the_same(void **state)
{
    (void)state;
    static const struct { const char *name; enum slm_dtype dtype; } types[] = {
        {"i2_s", SLM_DTYPE_I2_S}, {"tq1_0", SLM_DTYPE_TQ1_0}, {"tq2_0", SLM_DTYPE_TQ2_0}};
    enum { N_TYPES = sizeof types / sizeof *types };
    char first[256], second[256];
    snprintf(first, sizeof first, "%s", tiny_path("ternary-first.gguf"));
    snprintf(second, sizeof second, "%s", tiny_path("ternary-second.gguf"));
    compute(write_model(&plain), 1, 64, 0, reference);
    for (size_t i = 0; i < N_TYPES; i++) {
        struct slm_quantize_options options = {.type = types[i].name, .embedding = "f32", .n_threads = 2};
        must(slm_quantize(write_model(&plain), first, &options, NULL, &error));
        assert_int_equal(type_of(first, "blk.1.ffn_down.weight"), types[i].dtype);
        compute(first, 1, 64, 0, other);
        if (memcmp(reference, other, sizeof other) != 0) fail_msg("%s: other logits", types[i].name);
        for (size_t k = 0; k < N_TYPES; k++) {
            options.type = types[k].name;
            must(slm_quantize(first, second, &options, NULL, &error));
            assert_int_equal(type_of(second, "blk.1.ffn_down.weight"), types[k].dtype);
            compute(second, 1, 64, 0, other);
            if (memcmp(reference, other, sizeof other) != 0)
                fail_msg("%s as %s: other logits", types[i].name, types[k].name);
        }
    }
}

static void ternary_types_refuse_other_values(void **state)
{
    (void)state;
    const struct slm_convert_options options = {.type = "tq2_0"};
    static const float spoils[] = {0.001f, INFINITY, NAN};
    char in[256];
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        snprintf(in, sizeof in, "%s", write_model(&(struct form){"bitnet", NULL, SLM_DTYPE_F32, false, spoils[i], false}));
        assert_int_equal(slm_convert(in, tiny_path("ternary-converted.gguf"), &options, NULL, &error),
                         SLM_ERR_NUMERIC);
        if (!strstr(error.message, "'blk.0.attn_q.weight': element ") || !strstr(error.message, "TQ2_0"))
            fail_msg("%s", error.message);
    }
}

/* Codes without scales are for models that were trained with them. */
static void codes_alone_are_no_weights(void **state)
{
    (void)state;
    struct form form = {"llama", NULL, SLM_DTYPE_I2_S, false, 0, false};
    struct slm_model *model;
    assert_int_not_equal(slm_model_open(write_model(&form), NULL, &model, &error), SLM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_the_same_bits),
        cmocka_unit_test(threads_chunks_and_kernels_change_nothing),
        cmocka_unit_test(what_is_not_ternary_is_refused),
        cmocka_unit_test(converted_files_compute_the_same), cmocka_unit_test(quantized_files_compute_the_same),
        cmocka_unit_test(ternary_types_refuse_other_values),
        cmocka_unit_test(codes_alone_are_no_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
