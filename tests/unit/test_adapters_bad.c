/* SPDX-License-Identifier: MIT
 * Adapters that must be refused, each with a sentence that names what is wrong and what is allowed: settings of PEFT
 * that mean more than plain LoRA, tensors that do not fit, files that are something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "format/gguf.h"
#include "slm.h"
#include "tiny_model.h"

#define CONFIG "\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"bias\":\"none\""
#define LAYER(n) "base_model.model.model.layers." n ".self_attn.q_proj"

static void write_file(const char *folder, const char *name, const void *data, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

/* One f32 tensor of a safetensors header, zeros behind it. */
struct tensor { const char *name; unsigned n_out, n_in; };

/* A PEFT folder with these settings and tensors. */
static const char *peft_folder(const char *config, const struct tensor *tensors, size_t n)
{
    static char header[4096];
    static char file[1 << 16];
    const char *folder = tiny_path("peft");
    size_t at = 0, data = 0;
    mkdir(folder, 0700);
    at += (size_t)snprintf(header, sizeof header, "{");
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = 4u * tensors[i].n_in * tensors[i].n_out;
        at += (size_t)snprintf(header + at, sizeof header - at,
                               "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%u,%u],\"data_offsets\":[%zu,%zu]}", i ? "," : "",
                               tensors[i].name, tensors[i].n_out, tensors[i].n_in, data, data + bytes);
        data += bytes;
    }
    at += (size_t)snprintf(header + at, sizeof header - at, "}");
    const uint64_t length = at;
    memset(file, 0, sizeof file);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, at);
    assert_true(8 + at + data <= sizeof file);
    write_file(folder, "adapter_config.json", config, strlen(config));
    write_file(folder, "adapter_model.safetensors", file, 8 + at + data);
    return folder;
}

static const char *model_path(void)
{
    static char path[512];
    if (!path[0]) {
        const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
        snprintf(path, sizeof path, "%s", tiny_path("base.gguf"));
        tiny_model_write(path, &spec);
    }
    return path;
}

static slm_status open_with(const struct slm_adapter *adapters, size_t n, struct slm_error *error)
{
    const struct slm_model_options options = {.adapters = adapters, .n_adapters = n};
    struct slm_model *model;
    const slm_status status = slm_model_open(model_path(), &options, &model, error);
    if (status == SLM_OK) slm_model_close(model);
    return status;
}

static void refused(const char *path, slm_status status, const char *where, const char *says)
{
    struct slm_error error = {0};
    const struct slm_adapter adapter = {path, 1.0f};
    const slm_status got = open_with(&adapter, 1, &error);
    if (got != status) fail_msg("'%s': status %s, message '%s'", says, slm_status_name(got), error.message);
    if (!strstr(error.message, says)) fail_msg("'%s' does not say '%s'", error.message, says);
    if (!strstr(error.where, where)) fail_msg("'%s' does not name '%s'", error.where, where);
}

/* The tiny model is 64 wide, with 4 heads of 32. */
static const struct tensor good[] = {{LAYER("0") ".lora_A.weight", 2, 64}, {LAYER("0") ".lora_B.weight", 128, 2}};

static void a_plain_adapter_opens(void **state)
{
    (void)state;
    struct slm_error error = {0};
    const struct slm_adapter adapter = {peft_folder("{" CONFIG ",\"modules_to_save\":null,\"use_dora\":false,"
                                                    "\"unheard_of\":false,\"layers_pattern\":[]}", good, 2), 1.0f};
    if (open_with(&adapter, 1, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
}

static void settings_beyond_plain_lora_are_refused(void **state)
{
    (void)state;
    static const struct { const char *config; slm_status status; const char *says; } rows[] = {
        {"{" CONFIG ",\"use_dora\":true}", SLM_ERR_UNSUPPORTED, "use_dora"},
        {"{" CONFIG ",\"modules_to_save\":[\"lm_head\"]}", SLM_ERR_UNSUPPORTED, "modules_to_save"},
        {"{" CONFIG ",\"unheard_of\":3}", SLM_ERR_UNSUPPORTED, "unheard_of"},
        {"{" CONFIG ",\"unheard_of\":{\"a\":true}}", SLM_ERR_UNSUPPORTED, "unheard_of.a"},
        {"{" CONFIG ",\"layer_replication\":[1,2]}", SLM_ERR_UNSUPPORTED, "layer_replication"},
        {"{" CONFIG ",\"lora_bias\":true}", SLM_ERR_UNSUPPORTED, "lora_bias"},
        {"{" CONFIG ",\"init_lora_weights\":\"pissa\"}", SLM_ERR_UNSUPPORTED, "'pissa'"},
        {"{" CONFIG ",\"rank_pattern\":{\"q_(proj|x)\":2}}", SLM_ERR_UNSUPPORTED, "regular expression"},
        {"{" CONFIG ",\"alpha_pattern\":{\"q_proj\":\"x\"}}", SLM_ERR_FORMAT, "STRING"},
        {"{\"peft_type\":\"IA3\",\"r\":2,\"lora_alpha\":4}", SLM_ERR_UNSUPPORTED, "'IA3'"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"bias\":\"all\"}", SLM_ERR_UNSUPPORTED, "'all'"},
        {"{\"peft_type\":\"LORA\",\"lora_alpha\":4}", SLM_ERR_FORMAT, "is missing"},
        {"{\"peft_type\":\"LORA\",\"r\":2}", SLM_ERR_FORMAT, "is missing"},
        {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":4}", SLM_ERR_FORMAT, "0"},
        {"{\"peft_type\":\"LORA\",\"r\":3,\"lora_alpha\":4}", SLM_ERR_FORMAT, "rank 2, key 'r' says 3"},
        {"{\"r\":2,\"lora_alpha\":4}", SLM_ERR_FORMAT, "peft_type"},
        {"{", SLM_ERR_FORMAT, "line 1"},
        {"[]", SLM_ERR_FORMAT, "object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(peft_folder(rows[i].config, good, 2), rows[i].status, "adapter_config.json", rows[i].says);
}

static void tensors_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct { struct tensor tensors[3]; size_t n; const char *says; } rows[] = {
        {{{LAYER("0") ".lora_A.weight", 2, 60}, {LAYER("0") ".lora_B.weight", 128, 2}}, 2, "60x2, the model needs 64x2"},
        {{{LAYER("0") ".lora_A.weight", 2, 64}, {LAYER("0") ".lora_B.weight", 120, 2}}, 2, "2x120"},
        {{{LAYER("0") ".lora_A.weight", 2, 64}, {LAYER("0") ".lora_B.weight", 128, 3}}, 2, "3x128"},
        {{{LAYER("0") ".lora_A.weight", 2, 64}}, 1, "lora_B.weight' is missing"},
        {{{LAYER("0") ".lora_B.weight", 128, 2}}, 1, "lora_A.weight' is missing"},
        {{{LAYER("7") ".lora_A.weight", 2, 64}, {LAYER("7") ".lora_B.weight", 128, 2}}, 2, "another base"},
        {{good[0], good[1], {"base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", 2, 64}}, 3, "c_attn"},
        {{good[0], good[1], {"base_model.model.model.embed_tokens.lora_embedding_A", 2, 320}}, 3, "lora_embedding_A"},
        {{good[0], good[1], {"base_model.model.model.embed_tokens.weight", 4, 64}}, 3, "save_embedding_layers"},
        {{{"x", 1, 1}}, 0, "no tensors"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(peft_folder("{" CONFIG "}", rows[i].tensors, rows[i].n), i == 8 ? SLM_ERR_UNSUPPORTED : SLM_ERR_FORMAT,
                "peft", rows[i].says);
}

/* A GGUF adapter of one pair for attn_q of layer 0. */
static const char *gguf_adapter(const char *kind, const char *type, const char *architecture, const char *more)
{
    static const uint64_t down[] = {64, 2}, up[] = {2, 128};
    static const float zeros[256];
    struct slm_gguf_writer *w;
    const char *path = tiny_path("adapter.gguf");
    assert_int_equal(slm_gguf_writer_open(path, 0, &w, NULL), SLM_OK);
    slm_gguf_write_str(w, "general.type", slm_str(kind), NULL);
    slm_gguf_write_str(w, "general.architecture", slm_str(architecture), NULL);
    if (type) slm_gguf_write_str(w, "adapter.type", slm_str(type), NULL);
    if (more) slm_gguf_write_i64(w, more, SLM_GGUF_U32, 1, NULL);
    slm_gguf_write_f32(w, "adapter.lora.alpha", 4, NULL);
    slm_gguf_declare_tensor(w, slm_str("blk.0.attn_q.weight.lora_a"), SLM_DTYPE_F32, down, 2, NULL);
    slm_gguf_declare_tensor(w, slm_str("blk.0.attn_q.weight.lora_b"), SLM_DTYPE_F32, up, 2, NULL);
    slm_gguf_write_data(w, zeros, 512, NULL);
    slm_gguf_write_data(w, zeros, 1024, NULL);
    assert_int_equal(slm_gguf_writer_finish(w, NULL), SLM_OK);
    return path;
}

static void gguf_adapters_are_checked(void **state)
{
    (void)state;
    struct slm_error error = {0};
    const struct slm_adapter adapter = {gguf_adapter("adapter", "lora", "llama", NULL), 1.0f};
    if (open_with(&adapter, 1, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    refused(gguf_adapter("model", "lora", "llama", NULL), SLM_ERR_UNSUPPORTED, "adapter.gguf", "'model'");
    refused(gguf_adapter("adapter", "lokr", "llama", NULL), SLM_ERR_UNSUPPORTED, "adapter.gguf", "'lokr'");
    refused(gguf_adapter("adapter", NULL, "llama", NULL), SLM_ERR_FORMAT, "adapter.gguf", "adapter.type");
    refused(gguf_adapter("adapter", "lora", "qwen3", NULL), SLM_ERR_UNSUPPORTED, "adapter.gguf", "'qwen3'");
    refused(gguf_adapter("adapter", "lora", "llama", "adapter.alora.invocation_tokens"), SLM_ERR_UNSUPPORTED,
            "adapter.gguf", "alora");
    refused(model_path(), SLM_ERR_FORMAT, "base.gguf", "no adapter");
}

static void what_is_asked_for_is_checked(void **state)
{
    (void)state;
    struct slm_error error = {0};
    struct slm_adapter adapters[33] = {{"nowhere", 1.0f}};
    assert_int_equal(open_with(adapters, 33, &error), SLM_ERR_LIMIT);
    assert_non_null(strstr(error.message, "at most 32"));
    assert_int_equal(open_with(adapters, 1, &error), SLM_ERR_IO);
    adapters[0].scale = __builtin_nanf("");
    assert_int_equal(open_with(adapters, 1, &error), SLM_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_adapter_opens),
        cmocka_unit_test(settings_beyond_plain_lora_are_refused),
        cmocka_unit_test(tensors_that_do_not_fit_are_refused),
        cmocka_unit_test(gguf_adapters_are_checked),
        cmocka_unit_test(what_is_asked_for_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
