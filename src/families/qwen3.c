/* SPDX-License-Identifier: MIT
 * Qwen3, dense: 0.6B, 1.7B, 4B, 8B (and slm's built-in model).
 *
 * Reference: Qwen3ForCausalLM in transformers. Differs from Llama in that
 *  - every head of q and k is RMS-normalised with one [head_dim] weight before the rotation;
 *  - head_dim is stated and need not be n_embd / n_head (0.6B: 128 with 16 heads on 1024);
 *  - rotary pairs are (i, i + n/2) in GGUF too: tensors are stored as Hugging Face has them.
 *
 * Traps: the head is tied up to 4B; the rope base of the released models is 1e6 (5e6 in the 2507 ones), but a file that
 * leaves the key out means 10000, as the config class and llama.cpp read it. */
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
    {"blk.#.attn_norm.weight", HF "input_layernorm.weight", L(attn_norm), SLM_DIM_EMBD, SLM_DIM_ONE, 0, LAYER | VECTOR},
    {"blk.#.attn_q.weight", HF "self_attn.q_proj.weight", L(attn_q), SLM_DIM_EMBD, SLM_DIM_Q, 0, LAYER},
    {"blk.#.attn_k.weight", HF "self_attn.k_proj.weight", L(attn_k), SLM_DIM_EMBD, SLM_DIM_KV, 0, LAYER},
    {"blk.#.attn_v.weight", HF "self_attn.v_proj.weight", L(attn_v), SLM_DIM_EMBD, SLM_DIM_KV, 0, LAYER},
    {"blk.#.attn_q_norm.weight", HF "self_attn.q_norm.weight", L(attn_q_norm), SLM_DIM_HEAD, SLM_DIM_ONE, 0,
     LAYER | VECTOR},
    {"blk.#.attn_k_norm.weight", HF "self_attn.k_norm.weight", L(attn_k_norm), SLM_DIM_HEAD, SLM_DIM_ONE, 0,
     LAYER | VECTOR},
    {"blk.#.attn_output.weight", HF "self_attn.o_proj.weight", L(attn_out), SLM_DIM_Q, SLM_DIM_EMBD, 0, LAYER},
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
    const float eps = (float)hp->rms_eps;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, NULL);
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, NULL);
    slm_val v = slm_plan_name(p, slm_plan_matmul(p, h, &layer->attn_v, NULL), "v");
    q = slm_plan_name(p, slm_plan_rms_norm(p, q, &layer->attn_q_norm, eps), "q_norm");
    k = slm_plan_name(p, slm_plan_rms_norm(p, k, &layer->attn_k_norm, eps), "k_norm");
    q = slm_plan_name(p, slm_plan_rope(p, q, table, rope, hp->head_dim), "q");
    k = slm_plan_name(p, slm_plan_rope(p, k, table, rope, hp->head_dim), "k");
    const struct slm_attention shape = {hp->n_head, hp->n_head_kv, hp->head_dim, 0,
                                        1.0f / __builtin_sqrtf((float)hp->head_dim)};
    slm_val mixed = slm_plan_name(p, slm_plan_attention(p, q, k, v, &shape), "attn_mix");
    slm_val out = slm_plan_name(p, slm_plan_matmul(p, mixed, &layer->attn_out, NULL), "attn_out");
    return slm_plan_name(p, slm_plan_add(p, x, out), "attn_residual");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = {.n_rot = m->hparams.n_rot, .base = m->hparams.rope_base,
                                  .linear_scale = m->hparams.rope_linear_scale, .gain = 1.0f, .style = SLM_ROPE_NEOX};
    slm_val x = slm_plan_name(p, slm_plan_embed(p, &m->globals.token_embd), "embedding");
    slm_val table = slm_plan_rope_table(p, &rope);
    for (uint32_t l = 0; l < m->hparams.n_layer; l++) {
        slm_plan_layer(p, (int32_t)l);
        x = attention(p, m, &m->layers[l], x, table, &rope);
        x = slm_block_swiglu(p, x, &m->layers[l], (float)m->hparams.rms_eps);
    }
    return slm_block_head(p, x, m);
}

static const char *const hf_architectures[] = {"Qwen3ForCausalLM", NULL};

const struct slm_family slm_family_qwen3 = {
    .architecture = "qwen3",
    .hf_architectures = hf_architectures,
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = slm_decoder_derive,
    .build = build,
    /* What Qwen3 ships, without tools and thinking switches. */
    .chat_template = "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
                     "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}",
};
