/* SPDX-License-Identifier: MIT
 * See tiny_folder.h. The header of the safetensors file is made in the order of its data, so offsets are a running
 * sum. */
#include "tiny_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/str.h"

enum { LAYERS = 2, KV = 2, HEAD = 16 };

static void save(const char *folder, const char *name, const struct slm_buf *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(text->data, 1, text->len, file) != text->len || fclose(file) != 0)
        fail_msg("cannot write %s", path);
}

static const char CONFIG[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":2,\"max_position_embeddings\":512,"
    "\"hidden_size\":64,\"intermediate_size\":80,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"
    "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"vocab_size\":259,\"attention_bias\":true,\"eos_token_id\":258,"
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
    "\"original_max_position_embeddings\":64}}";

/* The byte-level alphabet, one merge, two special tokens. */
static void add_tokenizer(struct slm_buf *out)
{
    slm_buf_puts(out, "{\"added_tokens\":[{\"id\":257,\"content\":\"<|begin|>\",\"special\":true},"
                      "{\"id\":258,\"content\":\"<|end|>\",\"special\":true}],"
                      "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                      "\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (unsigned byte = 0, shifted = 0; byte < 256; byte++) {
        const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
        slm_buf_printf(out, "\"\\u%04x\":%u,", printable ? byte : 256 + shifted, byte);
        shifted += !printable;
    }
    slm_buf_puts(out, "\"he\":256},\"merges\":[\"h e\"]}}");
}

struct tensors { struct slm_buf header, data; enum slm_dtype dtype; uint64_t seed; };

static void add(struct tensors *t, const char *name, unsigned rows, unsigned columns)
{
    const unsigned n = (rows ? rows : 1) * columns;
    const size_t begin = t->data.len, bytes = n * slm_dtypes[t->dtype].block_bytes;
    float *values = malloc(n * sizeof *values);
    unsigned char *encoded = malloc(bytes);
    for (unsigned i = 0; i < n; i++) {
        uint32_t block[4];
        slm_rng_block(t->seed, begin + i, 0, block);
        values[i] = (float)(block[0] >> 8) * 0x1p-24f - 0.5f;
    }
    slm_dtypes[t->dtype].encode(values, encoded, n);
    slm_buf_add(&t->data, encoded, bytes);
    slm_buf_printf(&t->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->header.len > 1 ? "," : "", name,
                   slm_dtypes[t->dtype].name);
    if (rows) slm_buf_printf(&t->header, "%u,", rows);
    slm_buf_printf(&t->header, "%u],\"data_offsets\":[%zu,%zu]}", columns, begin, begin + bytes);
    free(values);
    free(encoded);
}

static void add_layer(struct tensors *t, int layer)
{
    static const struct { const char *name; unsigned rows, columns; } rows[] = {
        {"input_layernorm.weight", 0, TINY_FOLDER_EMBD},
        {"post_attention_layernorm.weight", 0, TINY_FOLDER_EMBD},
        {"self_attn.q_proj.weight", TINY_FOLDER_HEADS * HEAD, TINY_FOLDER_EMBD},
        {"self_attn.k_proj.weight", KV * HEAD, TINY_FOLDER_EMBD},
        {"self_attn.v_proj.weight", KV * HEAD, TINY_FOLDER_EMBD},
        {"self_attn.o_proj.weight", TINY_FOLDER_EMBD, TINY_FOLDER_HEADS * HEAD},
        {"self_attn.q_proj.bias", 0, TINY_FOLDER_HEADS * HEAD},
        {"self_attn.k_proj.bias", 0, KV * HEAD},
        {"self_attn.v_proj.bias", 0, KV * HEAD},
        {"self_attn.o_proj.bias", 0, TINY_FOLDER_EMBD},
        {"mlp.gate_proj.weight", TINY_FOLDER_FF, TINY_FOLDER_EMBD},
        {"mlp.up_proj.weight", TINY_FOLDER_FF, TINY_FOLDER_EMBD},
        {"mlp.down_proj.weight", TINY_FOLDER_EMBD, TINY_FOLDER_FF},
    };
    char name[96];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(name, sizeof name, "model.layers.%d.%s", layer, rows[i].name);
        add(t, name, rows[i].rows, rows[i].columns);
    }
}

void tiny_folder_write(const char *folder, enum slm_dtype dtype)
{
    struct tensors t = {.dtype = dtype, .seed = 7};
    struct slm_buf config = {0}, tokenizer = {0}, file = {0};
    (void)mkdir(folder, 0777);
    slm_buf_puts(&config, CONFIG);
    add_tokenizer(&tokenizer);
    slm_buf_puts(&t.header, "{");
    add(&t, "model.embed_tokens.weight", TINY_FOLDER_VOCAB, TINY_FOLDER_EMBD);
    add(&t, "lm_head.weight", TINY_FOLDER_VOCAB, TINY_FOLDER_EMBD);
    add(&t, "model.norm.weight", 0, TINY_FOLDER_EMBD);
    for (int l = 0; l < LAYERS; l++) add_layer(&t, l);
    slm_buf_puts(&t.header, "}");
    const uint64_t n = t.header.len;
    slm_buf_add(&file, &n, sizeof n);
    slm_buf_add(&file, t.header.data, t.header.len);
    slm_buf_add(&file, t.data.data, t.data.len);
    save(folder, "config.json", &config);
    save(folder, "tokenizer.json", &tokenizer);
    save(folder, "model.safetensors", &file);
    struct slm_buf *const all[] = {&config, &tokenizer, &file, &t.header, &t.data};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) slm_buf_release(all[i]);
}
