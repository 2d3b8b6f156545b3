/* SPDX-License-Identifier: MIT
 * Qwen2 and Qwen2.5, dense: 0.5B to 14B.
 *
 * Reference: Qwen2ForCausalLM in transformers. Differs from Llama in that q, k and v have biases (o has none), and that
 * GGUF stores q and k as Hugging Face has them: rotary pairs are (i, i + n/2) in both.
 *
 * Traps: config.json states a sliding window that use_sliding_window switches off in every released model; a model that
 * switches it on for some layers is refused rather than computed wrongly. The head is tied up to 3B. */
#include "families/blocks.h"
#include "families/families.h"

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(0), SLM_ROWS_PRE_NORMS, SLM_ROWS_QKVO(0), SLM_ROWS_QKVO_BIAS(0), SLM_ROWS_FFN,
};

static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    bool slides = false, found = false;
    SLM_TRY(slm_gguf_get_bool(m->gguf, "use_sliding_window", &slides, &found, error));
    if (!slides || !slm_gguf_is_hf(m->gguf)) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(m->gguf),
                    "key 'use_sliding_window' is true, this build runs qwen2 without one");
}

static slm_val attention(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x,
                         slm_val table, const struct slm_rope *rope)
{
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, (float)m->hparams.rms_eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, slm_weight_or_null(&layer->attn_q_bias));
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, slm_weight_or_null(&layer->attn_k_bias));
    slm_val v = slm_plan_matmul(p, h, &layer->attn_v, slm_weight_or_null(&layer->attn_v_bias));
    q = slm_plan_rope(p, q, table, rope, m->hparams.head_dim);
    k = slm_plan_rope(p, k, table, rope, m->hparams.head_dim);
    return slm_plan_name(p, slm_plan_add(p, x, slm_block_attend(p, m, layer, q, k, v, 0)), "attn_residual");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = slm_block_rope(m, SLM_ROPE_NEOX);
    return slm_block_decoder(p, m, &rope, attention);
}

static const char *const hf_architectures[] = {"Qwen2ForCausalLM", "Qwen2Model", NULL};

const struct slm_family slm_family_qwen2 = {
    .architecture = "qwen2",
    .hf_architectures = hf_architectures,
    .hf_activation_key = "hidden_act",
    .hf_activation = "silu",
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .n_layer_large = 80,
    .derive = slm_decoder_derive,
    .complete = complete,
    .build = build,
    .chat_template = SLM_CHAT_ML, /* without the system message that its own adds where there is none */
};
