/* SPDX-License-Identifier: MIT
 * BitNet b1.58: bitnet-b1.58-2B-4T.
 *
 * Reference: BitNetForCausalLM in transformers, with the linear layers of its integrations/bitnet.py. Differs from
 * Llama in that
 *  - the seven matrices of a layer are ternary, and what they multiply is quantized to int8 a token (round half to
 *    even, 127 / max |x|): QUANTIZE and MATMUL of the plan. Embedding and head are floats, tied;
 *  - the mix of attention is normalised before the output matrix, and the feed-forward's product before the down one
 *    (sub-norms);
 *  - the gate is squared ReLU.
 *
 * Traps:
 *  - Folders come packed (quantization_mode "offline", weight_scale) or as the weights training worked on ("online");
 *    without quantization_config transformers computes with plain floats, and so does this. linear_class "bitlinear"
 *    divides by weight_scale, "autobitlinear" multiplies.
 *  - GGUF files name the architecture bitnet (llama.cpp), bitnet-b1.58 or bitnet-25 (bitnet.cpp). llama.cpp takes SiLU
 *    where hidden_activation is missing, because the first models of that name had it, and up to 0.5.0 it does not look
 *    for the key; bitnet.cpp's are squared ReLU.
 *  - Rotary pairs are (i, i + n/2) in both kinds of file.
 *  - The older 1bitLLM folders (BitnetForCausalLM) say nothing about how they were trained: not opened. */
#include <stdio.h>

#include "families/blocks.h"
#include "families/families.h"
#include "model/ternary.h"

#define ROW(gguf, hf, field, in, out) \
    {"blk.#." gguf ".weight", SLM_HF_LAYER hf ".weight", SLM_LAYER(field), in, out, 0, \
     SLM_TENSOR_LAYER | SLM_TENSOR_TERNARY, 0, 0}

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(0),
    SLM_ROWS_PRE_NORMS,
    SLM_ROW_NORM("attn_sub_norm", "self_attn.attn_sub_norm", attn_sub_norm, SLM_DIM_EMBD, 0),
    SLM_ROW_NORM("ffn_sub_norm", "mlp.ffn_sub_norm", ffn_sub_norm, SLM_DIM_FF, 0),
    ROW("attn_q", "self_attn.q_proj", attn_q, SLM_DIM_EMBD, SLM_DIM_Q),
    ROW("attn_k", "self_attn.k_proj", attn_k, SLM_DIM_EMBD, SLM_DIM_KV),
    ROW("attn_v", "self_attn.v_proj", attn_v, SLM_DIM_EMBD, SLM_DIM_KV),
    ROW("attn_output", "self_attn.o_proj", attn_out, SLM_DIM_Q, SLM_DIM_EMBD),
    ROW("ffn_gate", "mlp.gate_proj", ffn_gate, SLM_DIM_EMBD, SLM_DIM_FF),
    ROW("ffn_up", "mlp.up_proj", ffn_up, SLM_DIM_EMBD, SLM_DIM_FF),
    ROW("ffn_down", "mlp.down_proj", ffn_down, SLM_DIM_FF, SLM_DIM_EMBD),
};

/* The sub-norm of attention has the width of the model, so the heads must fill it. */
static slm_status derive(struct slm_hparams *hp, const char *where, struct slm_error *error)
{
    SLM_TRY(slm_decoder_derive(hp, where, error));
    if ((uint64_t)hp->n_head * hp->head_dim == hp->n_embd) return SLM_OK;
    return slm_fail(error, SLM_ERR_FORMAT, where, "%u heads of %u do not fill the width %u", hp->n_head, hp->head_dim,
                    hp->n_embd);
}

/* The activation by its name, and what no released model has. */
static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    const bool hf = slm_gguf_is_hf(m->gguf);
    struct slm_str act = slm_str(!hf && slm_str_is(slm_str(m->architecture), "bitnet") ? "silu" : "relu2");
    char key[160] = "hidden_act";
    bool found = false, biased = false;
    if (!hf) snprintf(key, sizeof key, "%s.hidden_activation", m->architecture);
    SLM_TRY(slm_gguf_get_str(m->gguf, key, &act, &found, error));
    m->hparams.ffn_relu2 = slm_str_is(act, "relu2") || slm_str_is(act, "relu_sqr");
    if (!m->hparams.ffn_relu2 && !slm_str_is(act, "silu"))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(m->gguf), "key '%s' is '%.*s', known are relu2, silu",
                        key, (int)(act.len < 40 ? act.len : 40), act.ptr);
    if (hf) SLM_TRY(slm_gguf_get_bool(m->gguf, "attention_bias", &biased, &found, error));
    if (!biased) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(m->gguf),
                    "key 'attention_bias' is true, this build runs the architecture without biases");
}

/* GGUF files of this architecture hold ternary weights: a model of plain floats would become another one. */
static slm_status export(const struct slm_model *m, struct slm_export *out, struct slm_error *error)
{
    char key[SLM_MODEL_KEY_BYTES];
    if (!slm_ternary_trained(m))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(m->gguf),
                        "key 'quantization_config' is missing: the model is computed with plain floats, which a GGUF "
                        "file of architecture '%s' cannot say", m->architecture);
    if (m->hparams.ffn_relu2)
        out->note = "llama.cpp 0.5.0 computes this architecture with SiLU, not the model's squared ReLU: its answers "
                    "will be others; later versions read the key that says so";
    return slm_gguf_write_str(out->writer, slm_model_key(m, "hidden_activation", key),
                              slm_str(m->hparams.ffn_relu2 ? "relu2" : "silu"), error);
}

/* x [.., n_in] -> [.., n_out]; xq is x quantized, made once for all matrices that read it. */
static slm_val quantize(struct slm_plan *p, slm_val x, const struct slm_weight *w)
{
    return w->ternary_scale != 0 ? slm_plan_quantize(p, x) : x;
}

static slm_val attention(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x,
                         slm_val table, const struct slm_rope *rope)
{
    const struct slm_hparams *hp = &m->hparams;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, (float)hp->rms_eps), "attn_norm");
    slm_val hq = quantize(p, h, &layer->attn_q);
    slm_val q = slm_plan_matmul(p, hq, &layer->attn_q, NULL);
    slm_val k = slm_plan_matmul(p, hq, &layer->attn_k, NULL);
    slm_val v = slm_plan_matmul(p, hq, &layer->attn_v, NULL);
    q = slm_plan_rope(p, q, table, rope, hp->head_dim);
    k = slm_plan_rope(p, k, table, rope, hp->head_dim);
    slm_val mixed = slm_block_mix(p, m, q, k, v, 0);
    mixed = slm_plan_name(p, slm_plan_rms_norm(p, mixed, &layer->attn_sub_norm, (float)hp->rms_eps), "attn_sub_norm");
    slm_val out = slm_plan_matmul(p, quantize(p, mixed, &layer->attn_out), &layer->attn_out, NULL);
    return slm_plan_name(p, slm_plan_add(p, x, slm_plan_name(p, out, "attn_out")), "attn_residual");
}

static slm_val feed_forward(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x)
{
    const float eps = (float)m->hparams.rms_eps;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->ffn_norm, eps), "ffn_norm");
    slm_val hq = quantize(p, h, &layer->ffn_gate);
    slm_val gate = slm_plan_name(p, slm_plan_matmul(p, hq, &layer->ffn_gate, NULL), "ffn_gate");
    slm_val up = slm_plan_name(p, slm_plan_matmul(p, hq, &layer->ffn_up, NULL), "ffn_up");
    slm_val act = m->hparams.ffn_relu2 ? slm_plan_relu2glu(p, gate, up) : slm_plan_swiglu(p, gate, up);
    slm_plan_name(p, act, "ffn_act");
    act = slm_plan_name(p, slm_plan_rms_norm(p, act, &layer->ffn_sub_norm, eps), "ffn_sub_norm");
    slm_val down = slm_plan_matmul(p, quantize(p, act, &layer->ffn_down), &layer->ffn_down, NULL);
    return slm_plan_name(p, slm_plan_add(p, x, slm_plan_name(p, down, "ffn_down")), "layer_out");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = slm_block_rope(m, SLM_ROPE_NEOX);
    slm_val x = slm_plan_name(p, slm_plan_embed(p, &m->globals.token_embd), "embedding");
    const slm_val table = slm_plan_rope_table(p, &rope);
    for (uint32_t l = 0; l < m->hparams.n_layer; l++) {
        slm_plan_layer(p, (int32_t)l);
        x = attention(p, m, &m->layers[l], x, table, &rope);
        x = feed_forward(p, m, &m->layers[l], x);
    }
    return slm_block_head(p, x, m);
}

static const char *const more_architectures[] = {"bitnet-b1.58", "bitnet-25", NULL};
static const char *const hf_architectures[] = {"BitNetForCausalLM", NULL};

static const struct slm_shape shapes[] = {
    {.name = "bitnet-2b4t", .hparams = {.n_layer = 30, .n_embd = 2560, .n_ff = 6912, .n_head = 20, .n_head_kv = 5,
     .head_dim = 128, .n_vocab = 128256, .n_ctx_train = 4096, .rope_base = 5e5, .rms_eps = 1e-5,
     .ffn_relu2 = true}},
};

const struct slm_family slm_family_bitnet = {
    .architecture = "bitnet",
    .more_architectures = more_architectures,
    .hf_architectures = hf_architectures,
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = derive,
    .complete = complete,
    .export = export,
    .build = build,
    .chat_template = "{% for m in messages %}{{ m.role | capitalize + ': ' + m.content | trim + '<|eot_id|>' }}"
                     "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}",
    .shapes = shapes,
    .n_shapes = sizeof shapes / sizeof *shapes,
};
