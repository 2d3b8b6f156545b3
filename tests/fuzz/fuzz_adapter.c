/* SPDX-License-Identifier: MIT
 * Fuzzes LoRA adapters: the first byte picks the kind, the rest is a GGUF adapter, or an adapter_config.json beside
 * fixed tensors. The model is that of tests/golden/adapters/llama, without its values: binding an adapter looks at
 * shapes only. What is bound must be readable to its last element. */
#include "base/os.h"
#include "families/families.h"
#include "format/gguf_part.h"
#include "format/hf_folder.h"
#include "model/adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LAYERS = 2 };
static const char header[] = "{\"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight\":"
                             "{\"dtype\":\"F32\",\"shape\":[2,24],\"data_offsets\":[0,192]},"
                             "\"base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight\":"
                             "{\"dtype\":\"F32\",\"shape\":[32,2],\"data_offsets\":[192,448]}}";

/* A safetensors file in memory. */
static struct slm_str tensors(void)
{
    static char file[8 + sizeof header - 1 + 448];
    const uint64_t length = sizeof header - 1;
    memcpy(file, &length, 8);
    memcpy(file + 8, header, sizeof header - 1);
    return (struct slm_str){file, sizeof file};
}

/* The configuration as a container, with the tensors above. */
static bool open_peft(struct slm_str json, struct slm_buf *bytes, struct slm_gguf **out)
{
    const struct slm_hf_config file = {json, "fuzz", ""};
    const struct slm_gguf_limits limits = slm_gguf_limits_or_default(NULL);
    if (slm_hf_config_to_gguf(&file, 1, bytes, NULL) != SLM_OK ||
        slm_gguf_open_memory(bytes->data, bytes->len, "fuzz", NULL, out, NULL) != SLM_OK)
        return false;
    struct slm_gguf_part *part = &(*out)->parts[0];
    (*out)->from_hf = true;
    slm_name_index_release(&(*out)->tensor_index);
    slm_release((*out)->tensors);
    (*out)->tensors = NULL;
    part->tensors = NULL;
    if (slm_safetensors_parse(tensors(), "fuzz", &part->tensors, &part->n_tensors, NULL) == SLM_OK &&
        slm_gguf_join_tensors(*out, &limits, NULL) == SLM_OK)
        return true;
    slm_gguf_close(*out);
    return false;
}

static void set_weight(struct slm_weight *w, uint32_t n_in, uint32_t n_out)
{
    static const unsigned char nothing[1];
    *w = (struct slm_weight){.name = "w", .data = nothing, .dtype = SLM_DTYPE_Q4_K, .n_in = n_in, .n_out = n_out};
}

static void bind(struct slm_model *model)
{
    for (int l = 0; l < LAYERS; l++) {
        struct slm_layer *layer = &model->layers[l];
        set_weight(&layer->attn_q, 24, 32), set_weight(&layer->attn_k, 24, 16), set_weight(&layer->attn_v, 24, 16);
        set_weight(&layer->attn_out, 32, 24), set_weight(&layer->ffn_gate, 24, 40), set_weight(&layer->ffn_up, 24, 40);
        set_weight(&layer->ffn_down, 40, 24);
    }
    set_weight(&model->globals.token_embd, 24, 40), set_weight(&model->globals.output, 24, 40);
    if (slm_adapters_bind(model, NULL) != SLM_OK) return;
    volatile float sink = 0;
    for (int l = 0; l < LAYERS; l++) {
        const struct slm_low_rank *low = model->layers[l].attn_q.low_rank;
        if (low) sink = sink + ((const float *)(const void *)low->up.data)[(size_t)low->up.n_in * 32 - 1];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_layer layers[LAYERS] = {{.attn_norm = {0}}};
    struct slm_gguf *gguf = NULL;
    struct slm_buf bytes = {0};
    if (size == 0) return 0;
    const struct slm_str rest = {(const char *)data + 1, size - 1};
    const bool open = data[0] & 1 ? slm_gguf_open_memory(rest.ptr, rest.len, "fuzz", NULL, &gguf, NULL) == SLM_OK
                                  : open_peft(rest, &bytes, &gguf);
    struct slm_adapter_part part = {gguf, 1.0};
    struct slm_model model = {.gguf = gguf, .family = &slm_family_llama, .layers = layers, .adapters = &part,
                              .n_adapters = 1, .architecture = "llama",
                              .hparams = {.n_layer = LAYERS, .n_embd = 24, .n_ff = 40, .n_head = 4, .n_head_kv = 2,
                                          .head_dim = 8, .n_rot = 8, .n_vocab = 40}};
    if (open) bind(&model);
    slm_arena_release(&model.arena);
    slm_buf_release(&bytes);
    return 0;
}
