/* SPDX-License-Identifier: MIT
 * Parts that several families share, made of plan operations, and the table rows that go with them. A family that needs
 * something slightly different writes its own lines instead of adding a switch here. */
#ifndef SLM_FAMILIES_BLOCKS_H
#define SLM_FAMILIES_BLOCKS_H
#include "model/family.h"

/* The hyper-parameters every decoder-only transformer with RMS norms and rotary positions has. */
#define SLM_N_DECODER_HPARAMS 11
extern const struct slm_hparam_row slm_decoder_hparams[SLM_N_DECODER_HPARAMS];

/* Fills head_dim, n_head_kv and n_rot when the file leaves them out; checks divisibility. */
slm_status slm_decoder_derive(struct slm_hparams *hparams, const char *where, struct slm_error *error);
/* Marks the layers with a sliding window: those that the file lists, else all but every interval-th. The interval is
 * that of config.json or of GGUF's key where they state one, else the one given here. */
slm_status slm_read_sliding(struct slm_model *model, uint32_t interval, struct slm_error *error);
/* Writes the list when the layers are not those that the interval gives. */
slm_status slm_write_sliding(const struct slm_model *model, uint32_t interval, struct slm_export *out,
                             struct slm_error *error);

/* ---- table rows: struct slm_tensor_row initialisers -------------------------------------------------------- */

#define SLM_GLOBAL(name) offsetof(struct slm_globals, name)
#define SLM_LAYER(name) offsetof(struct slm_layer, name)
#define SLM_HF_LAYER "model.layers.#."
/* One a layer; a vector of one a layer; the same when it may be absent. */
#define SLM_ROW(gguf, hf, field, in, out, transform) \
    {"blk.#." gguf ".weight", SLM_HF_LAYER hf ".weight", SLM_LAYER(field), in, out, transform, SLM_TENSOR_LAYER, 0, 0}
#define SLM_ROW_NORM(gguf, hf, field, in, transform) \
    {"blk.#." gguf ".weight", SLM_HF_LAYER hf ".weight", SLM_LAYER(field), in, SLM_DIM_ONE, transform, \
     SLM_TENSOR_LAYER | SLM_TENSOR_VECTOR, 0, 0}
#define SLM_ROW_BIAS(gguf, hf, field, in, transform) \
    {"blk.#." gguf ".bias", SLM_HF_LAYER hf ".bias", SLM_LAYER(field), in, SLM_DIM_ONE, transform, \
     SLM_TENSOR_LAYER | SLM_TENSOR_VECTOR | SLM_TENSOR_OPTIONAL, 0, 0}
/* Rows [first, first + out) of a matrix of `stored` rows. */
#define SLM_ROW_PART(gguf, hf, field, in, out, stored, first) \
    {"blk.#." gguf ".weight", SLM_HF_LAYER hf ".weight", SLM_LAYER(field), in, out, 0, SLM_TENSOR_LAYER, stored, first}

/* Embedding, last norm, head: the first row of every family. norm_transform is of the last norm. */
#define SLM_ROWS_ENDS(norm_transform) \
    {"token_embd.weight", "model.embed_tokens.weight", SLM_GLOBAL(token_embd), SLM_DIM_EMBD, SLM_DIM_VOCAB, 0, 0, 0, \
     0}, \
    {"output_norm.weight", "model.norm.weight", SLM_GLOBAL(output_norm), SLM_DIM_EMBD, SLM_DIM_ONE, norm_transform, \
     SLM_TENSOR_VECTOR, 0, 0}, \
    {"output.weight", "lm_head.weight", SLM_GLOBAL(output), SLM_DIM_EMBD, SLM_DIM_VOCAB, 0, SLM_TENSOR_OPTIONAL, 0, 0}
/* q, k, v, o; rope is how Hugging Face's q and k differ from GGUF's. */
#define SLM_ROWS_QKVO(rope) \
    SLM_ROW("attn_q", "self_attn.q_proj", attn_q, SLM_DIM_EMBD, SLM_DIM_Q, rope), \
    SLM_ROW("attn_k", "self_attn.k_proj", attn_k, SLM_DIM_EMBD, SLM_DIM_KV, rope), \
    SLM_ROW("attn_v", "self_attn.v_proj", attn_v, SLM_DIM_EMBD, SLM_DIM_KV, 0), \
    SLM_ROW("attn_output", "self_attn.o_proj", attn_out, SLM_DIM_Q, SLM_DIM_EMBD, 0)
#define SLM_ROWS_QKVO_BIAS(rope) \
    SLM_ROW_BIAS("attn_q", "self_attn.q_proj", attn_q_bias, SLM_DIM_Q, rope), \
    SLM_ROW_BIAS("attn_k", "self_attn.k_proj", attn_k_bias, SLM_DIM_KV, rope), \
    SLM_ROW_BIAS("attn_v", "self_attn.v_proj", attn_v_bias, SLM_DIM_KV, 0), \
    SLM_ROW_BIAS("attn_output", "self_attn.o_proj", attn_out_bias, SLM_DIM_EMBD, 0)
#define SLM_ROWS_FFN \
    SLM_ROW("ffn_gate", "mlp.gate_proj", ffn_gate, SLM_DIM_EMBD, SLM_DIM_FF, 0), \
    SLM_ROW("ffn_up", "mlp.up_proj", ffn_up, SLM_DIM_EMBD, SLM_DIM_FF, 0), \
    SLM_ROW("ffn_down", "mlp.down_proj", ffn_down, SLM_DIM_FF, SLM_DIM_EMBD, 0)
/* The two norms of a pre-norm block. */
#define SLM_ROWS_PRE_NORMS \
    SLM_ROW_NORM("attn_norm", "input_layernorm", attn_norm, SLM_DIM_EMBD, 0), \
    SLM_ROW_NORM("ffn_norm", "post_attention_layernorm", ffn_norm, SLM_DIM_EMBD, 0)
/* One norm over each head of q and of k. */
#define SLM_ROWS_HEAD_NORMS(transform) \
    SLM_ROW_NORM("attn_q_norm", "self_attn.q_norm", attn_q_norm, SLM_DIM_HEAD, transform), \
    SLM_ROW_NORM("attn_k_norm", "self_attn.k_norm", attn_k_norm, SLM_DIM_HEAD, transform)

/* ---- plan -------------------------------------------------------------------------------------------------- */

/* The rotation the hyper-parameters state, in this style; factors from rope_freqs and rope_long when they are there. */
struct slm_rope slm_block_rope(const struct slm_model *model, enum slm_rope_style style);
/* q, k, v -> values mixed by attention. window 0: the whole past. */
slm_val slm_block_mix(struct slm_plan *p, const struct slm_model *model, slm_val q, slm_val k, slm_val v,
                      uint32_t window);
/* The same and the output projection. */
slm_val slm_block_attend(struct slm_plan *p, const struct slm_model *model, const struct slm_layer *layer, slm_val q,
                         slm_val k, slm_val v, uint32_t window);
/* What q must be multiplied by where scores will be divided by the root of `base` (0: the head size) instead of by the
 * model's own. */
double slm_block_score_gain(const struct slm_hparams *hparams, double base);
/* x + down(silu(gate(norm x)) * up(norm x)) */
slm_val slm_block_swiglu(struct slm_plan *p, slm_val x, const struct slm_layer *layer, float eps);
/* x + norm(down(gelu(gate(norm x)) * up(norm x))): Gemma's, normalised on the way back too. */
slm_val slm_block_geglu(struct slm_plan *p, slm_val x, const struct slm_layer *layer, float eps);
/* A whole pre-norm decoder: embedding, then for each layer the family's attention (which returns the residual stream)
 * and a SwiGLU feed-forward, then the head. */
typedef slm_val (*slm_attention_fn)(struct slm_plan *p, const struct slm_model *model, const struct slm_layer *layer,
                                    slm_val x, slm_val table, const struct slm_rope *rope);
slm_val slm_block_decoder(struct slm_plan *p, const struct slm_model *model, const struct slm_rope *rope,
                          slm_attention_fn attention);
/* Last norm, the rows whose logits are wanted, the head, the cap on logits where there is one. A headless plan ends
 * with the norm. */
slm_val slm_block_head(struct slm_plan *p, slm_val x, const struct slm_model *model);
/* Ways to chat, for files that bring no template: plain conversations as the families' own templates write them. Gemma
 * knows no system message; what one says stands in front of the user's first. */
#define SLM_CHAT_ML \
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}" \
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
#define SLM_CHAT_TURNS \
    "{{ bos_token }}{% set ns = namespace(first='') %}{% for m in messages %}{% if m.role == 'system' %}" \
    "{% set ns.first = m.content + '\\n\\n' %}{% else %}" \
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + ns.first }}" \
    "{{ m.content | trim + '<end_of_turn>\\n' }}{% set ns.first = '' %}{% endif %}" \
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"

#endif
