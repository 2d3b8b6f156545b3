/* SPDX-License-Identifier: MIT
 * Llama: Llama 2 and 3 (3.1 and 3.2 with their frequency factors), TinyLlama, SmolLM, and everything stored as
 * architecture "llama".
 *
 * Reference: LlamaForCausalLM in transformers. Pre-norm decoder: RMS norm, grouped-query attention with rotary
 * positions, SwiGLU feed-forward; no biases in the released models, though the format allows them.
 *
 * Traps:
 *  - GGUF stores the rows of q and k reordered so that rotary pairs are neighbours (2i, 2i+1); Hugging Face pairs
 *    (i, i + n/2). The tensors carry the difference (ROPE_PAIRS), so the plan rotates as the file at hand has them.
 *  - Llama 3.1's rope scaling is not in GGUF's keys: it arrives as the tensor rope_freqs.weight, divisors of the
 *    frequencies; a folder states the formula's parameters instead (complete). rope.scaling.factor is for plain linear
 *    scaling only.
 *  - The head may be tied (no output.weight): Llama 3.2 1B and 3B, SmolLM. */
#include "base/fmath.h"
#include "families/blocks.h"
#include "families/families.h"

#define G(name) offsetof(struct slm_globals, name)
#define L(name) offsetof(struct slm_layer, name)
#define HF "model.layers.#."
enum { LAYER = SLM_TENSOR_LAYER, OPTIONAL = SLM_TENSOR_OPTIONAL, VECTOR = SLM_TENSOR_VECTOR };

static const struct slm_tensor_row tensors[] = {
    {"token_embd.weight", "model.embed_tokens.weight", G(token_embd), SLM_DIM_EMBD, SLM_DIM_VOCAB, 0, 0},
    {"output_norm.weight", "model.norm.weight", G(output_norm), SLM_DIM_EMBD, SLM_DIM_ONE, 0, VECTOR},
    {"output.weight", "lm_head.weight", G(output), SLM_DIM_EMBD, SLM_DIM_VOCAB, 0, OPTIONAL},
    {"rope_freqs.weight", NULL, G(rope_freqs), SLM_DIM_ROT_HALF, SLM_DIM_ONE, 0, OPTIONAL | VECTOR},
    {"blk.#.attn_norm.weight", HF "input_layernorm.weight", L(attn_norm), SLM_DIM_EMBD, SLM_DIM_ONE, 0, LAYER | VECTOR},
    {"blk.#.attn_q.weight", HF "self_attn.q_proj.weight", L(attn_q), SLM_DIM_EMBD, SLM_DIM_Q,
     SLM_TRANSFORM_ROPE_PAIRS, LAYER},
    {"blk.#.attn_k.weight", HF "self_attn.k_proj.weight", L(attn_k), SLM_DIM_EMBD, SLM_DIM_KV,
     SLM_TRANSFORM_ROPE_PAIRS, LAYER},
    {"blk.#.attn_v.weight", HF "self_attn.v_proj.weight", L(attn_v), SLM_DIM_EMBD, SLM_DIM_KV, 0, LAYER},
    {"blk.#.attn_output.weight", HF "self_attn.o_proj.weight", L(attn_out), SLM_DIM_Q, SLM_DIM_EMBD, 0, LAYER},
    {"blk.#.attn_q.bias", HF "self_attn.q_proj.bias", L(attn_q_bias), SLM_DIM_Q, SLM_DIM_ONE,
     SLM_TRANSFORM_ROPE_PAIRS, LAYER | OPTIONAL | VECTOR},
    {"blk.#.attn_k.bias", HF "self_attn.k_proj.bias", L(attn_k_bias), SLM_DIM_KV, SLM_DIM_ONE,
     SLM_TRANSFORM_ROPE_PAIRS, LAYER | OPTIONAL | VECTOR},
    {"blk.#.attn_v.bias", HF "self_attn.v_proj.bias", L(attn_v_bias), SLM_DIM_KV, SLM_DIM_ONE, 0,
     LAYER | OPTIONAL | VECTOR},
    {"blk.#.attn_output.bias", HF "self_attn.o_proj.bias", L(attn_out_bias), SLM_DIM_EMBD, SLM_DIM_ONE, 0,
     LAYER | OPTIONAL | VECTOR},
    {"blk.#.ffn_norm.weight", HF "post_attention_layernorm.weight", L(ffn_norm), SLM_DIM_EMBD, SLM_DIM_ONE, 0,
     LAYER | VECTOR},
    {"blk.#.ffn_gate.weight", HF "mlp.gate_proj.weight", L(ffn_gate), SLM_DIM_EMBD, SLM_DIM_FF, 0, LAYER},
    {"blk.#.ffn_up.weight", HF "mlp.up_proj.weight", L(ffn_up), SLM_DIM_EMBD, SLM_DIM_FF, 0, LAYER},
    {"blk.#.ffn_down.weight", HF "mlp.down_proj.weight", L(ffn_down), SLM_DIM_FF, SLM_DIM_EMBD, 0, LAYER},
};

static slm_val attention(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x,
                         slm_val table, const struct slm_rope *rope)
{
    const struct slm_hparams *hp = &m->hparams;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, (float)hp->rms_eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, slm_weight_or_null(&layer->attn_q_bias));
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, slm_weight_or_null(&layer->attn_k_bias));
    slm_val v = slm_plan_matmul(p, h, &layer->attn_v, slm_weight_or_null(&layer->attn_v_bias));
    q = slm_plan_name(p, slm_plan_rope(p, q, table, rope, hp->head_dim), "q");
    k = slm_plan_name(p, slm_plan_rope(p, k, table, rope, hp->head_dim), "k");
    const struct slm_attention shape = {hp->n_head, hp->n_head_kv, hp->head_dim, 0,
                                        1.0f / __builtin_sqrtf((float)hp->head_dim)};
    slm_val mixed = slm_plan_name(p, slm_plan_attention(p, q, k, slm_plan_name(p, v, "v"), &shape), "attn_mix");
    slm_val out = slm_plan_matmul(p, mixed, &layer->attn_out, slm_weight_or_null(&layer->attn_out_bias));
    return slm_plan_name(p, slm_plan_add(p, x, slm_plan_name(p, out, "attn_out")), "attn_residual");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = {.n_rot = m->hparams.n_rot, .base = m->hparams.rope_base,
                                  .linear_scale = m->hparams.rope_linear_scale,
                                  .factors = (const float *)(const void *)m->globals.rope_freqs.data,
                                  .gain = 1.0f, .style = slm_model_rope_style(m)};
    slm_val x = slm_plan_name(p, slm_plan_embed(p, &m->globals.token_embd), "embedding");
    slm_val table = slm_plan_rope_table(p, &rope);
    for (uint32_t l = 0; l < m->hparams.n_layer; l++) {
        slm_plan_layer(p, (int32_t)l);
        x = attention(p, m, &m->layers[l], x, table, &rope);
        x = slm_block_swiglu(p, x, &m->layers[l], (float)m->hparams.rms_eps);
    }
    return slm_block_head(p, x, m);
}

/* Llama 3.1's formula, as rope_freqs.weight would hold it: long wavelengths are stretched by factor, short ones are not,
 * and between two cuts the change is gradual. */
static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    struct slm_str type = {0};
    bool found = false;
    SLM_TRY(slm_gguf_get_str(m->gguf, "rope_scaling.rope_type", &type, &found, error));
    if (!found || !slm_gguf_is_hf(m->gguf) || !slm_str_is(type, "llama3")) return SLM_OK;
    double factor, low, high, context;
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.factor", 1e-3, 1e6, &factor, NULL, error));
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.low_freq_factor", 1e-6, 1e6, &low, NULL, error));
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.high_freq_factor", low + 1e-9, 1e7, &high, NULL, error));
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.original_max_position_embeddings", 1, 1e9, &context, NULL, error));
    const uint32_t half = m->hparams.n_rot / 2;
    float *divisors = slm_arena_alloc(&m->arena, half, sizeof *divisors, "rope_freqs", error);
    if (!divisors) return SLM_ERR_MEMORY;
    for (uint32_t i = 0; i < half; i++) {
        const double freq = slm_pow(m->hparams.rope_base, -2.0 * (double)i / (double)m->hparams.n_rot);
        const double turns = context * freq / (2 * 3.14159265358979323846);
        const double smooth = turns < low ? 0 : turns > high ? 1 : (turns - low) / (high - low);
        divisors[i] = (float)(1.0 / ((1.0 - smooth) / factor + smooth));
    }
    m->globals.rope_freqs = (struct slm_weight){.name = "rope_freqs", .data = (const unsigned char *)divisors,
                                                .dtype = SLM_DTYPE_F32, .n_in = half, .n_out = 1,
                                                .row_bytes = half * sizeof *divisors};
    return SLM_OK;
}

static const char *const hf_architectures[] = {"LlamaForCausalLM", NULL};

const struct slm_family slm_family_llama = {
    .architecture = "llama",
    .hf_architectures = hf_architectures,
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = slm_decoder_derive,
    .complete = complete,
    .build = build,
};
