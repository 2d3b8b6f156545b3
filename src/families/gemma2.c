/* SPDX-License-Identifier: MIT
 * Gemma 2: 2B, 9B, 27B.
 *
 * Reference: Gemma2ForCausalLM in transformers. Differs from Llama in that
 *  - the embedding is multiplied by sqrt(n_embd); the head is tied to the unscaled one;
 *  - norms are (1 + w): GGUF stores the sum, Hugging Face w (ADD_ONE);
 *  - attention and feed-forward have a norm before and one after them, the latter on the way back into the residual;
 *  - gelu (tanh form) instead of silu;
 *  - scores are capped (50 tanh(s / 50)) before softmax, logits too (30);
 *  - every other layer, beginning with the first, sees a sliding window only;
 *  - scores are divided by sqrt(query_pre_attn_scalar): head_dim but in the 27B, where it is n_embd / n_head.
 *
 * Traps: GGUF says nothing about the last point; llama.cpp tells the 27B by its 46 layers, and so does this. Rotary
 * pairs are (i, i + n/2) in both kinds of file. */
#include "families/blocks.h"
#include "families/families.h"

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(SLM_TRANSFORM_ADD_ONE),
    SLM_ROWS_QKVO(0),
    SLM_ROW_NORM("attn_norm", "input_layernorm", attn_norm, SLM_DIM_EMBD, SLM_TRANSFORM_ADD_ONE),
    SLM_ROW_NORM("post_attention_norm", "post_attention_layernorm", attn_post_norm, SLM_DIM_EMBD,
                 SLM_TRANSFORM_ADD_ONE),
    SLM_ROW_NORM("ffn_norm", "pre_feedforward_layernorm", ffn_norm, SLM_DIM_EMBD, SLM_TRANSFORM_ADD_ONE),
    SLM_ROW_NORM("post_ffw_norm", "post_feedforward_layernorm", ffn_post_norm, SLM_DIM_EMBD, SLM_TRANSFORM_ADD_ONE),
    SLM_ROWS_FFN,
};

#define FIELD(name) offsetof(struct slm_hparams, name)
static const struct slm_hparam_row more_hparams[] = {
    {"attention.sliding_window", "sliding_window", SLM_HPARAM_U32, FIELD(window), 4096, 1, 1 << 27, 0},
    {"attn_logit_softcapping", "attn_logit_softcapping", SLM_HPARAM_F64, FIELD(attn_softcap), 0, 0, 1e6, 0},
    {"final_logit_softcapping", "final_logit_softcapping", SLM_HPARAM_F64, FIELD(logit_softcap), 0, 0, 1e6, 0},
    {NULL, "query_pre_attn_scalar", SLM_HPARAM_F64, FIELD(attn_scale_base), 0, 1e-3, 1e6, SLM_HPARAM_ELSEWHERE},
};

enum { INTERVAL = 2 };

/* What readers of GGUF files take it for; 0: the head size. */
static double gguf_scale_base(const struct slm_hparams *hp)
{
    return hp->n_layer == 46 ? (double)hp->n_embd / hp->n_head : 0;
}

static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    if (m->hparams.attn_scale_base == 0) m->hparams.attn_scale_base = gguf_scale_base(&m->hparams);
    return slm_read_sliding(m, INTERVAL, error);
}

/* Other divisors of scores move into the query weights. Readers cap where no cap is stated: one that is never reached
 * is. */
static slm_status export(const struct slm_model *m, struct slm_export *out, struct slm_error *error)
{
    const struct slm_hparams *hp = &m->hparams;
    const double no_cap = 1e6;
    char key[SLM_MODEL_KEY_BYTES];
    out->gain_field = SLM_LAYER(attn_q);
    out->gain = slm_block_score_gain(hp, gguf_scale_base(hp));
    if (hp->attn_softcap == 0)
        SLM_TRY(slm_gguf_write_f32(out->writer, slm_model_key(m, "attn_logit_softcapping", key), (float)no_cap, error));
    if (hp->logit_softcap == 0)
        SLM_TRY(slm_gguf_write_f32(out->writer, slm_model_key(m, "final_logit_softcapping", key), (float)no_cap,
                                   error));
    return slm_write_sliding(m, INTERVAL, out, error);
}

static slm_val layer_of(struct slm_plan *p, const struct slm_model *m, uint32_t l, slm_val x, slm_val table,
                        const struct slm_rope *rope)
{
    const struct slm_layer *layer = &m->layers[l];
    const struct slm_hparams *hp = &m->hparams;
    const float eps = (float)hp->rms_eps;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, NULL);
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, NULL);
    slm_val v = slm_plan_matmul(p, h, &layer->attn_v, NULL);
    q = slm_plan_rope(p, q, table, rope, hp->head_dim);
    k = slm_plan_rope(p, k, table, rope, hp->head_dim);
    slm_val out = slm_block_attend(p, m, layer, q, k, v, slm_layer_bit(hp->layer_slides, l) ? hp->window : 0);
    x = slm_plan_name(p, slm_plan_add(p, x, slm_plan_rms_norm(p, out, &layer->attn_post_norm, eps)), "attn_residual");
    return slm_block_geglu(p, x, layer, eps);
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = slm_block_rope(m, SLM_ROPE_NEOX);
    slm_val x = slm_plan_scale(p, slm_plan_embed(p, &m->globals.token_embd), __builtin_sqrtf((float)m->hparams.n_embd));
    slm_plan_name(p, x, "embedding");
    slm_val table = slm_plan_rope_table(p, &rope);
    for (uint32_t l = 0; l < m->hparams.n_layer; l++) {
        slm_plan_layer(p, (int32_t)l);
        x = layer_of(p, m, l, x, table, &rope);
    }
    return slm_block_head(p, x, m);
}

static const char *const hf_architectures[] = {"Gemma2ForCausalLM", "Gemma2Model", NULL};

const struct slm_family slm_family_gemma2 = {
    .architecture = "gemma2",
    .hf_architectures = hf_architectures,
    .hf_activation_key = "hidden_activation",
    .hf_activation = "gelu_pytorch_tanh",
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .more_hparams = more_hparams,
    .n_more_hparams = sizeof more_hparams / sizeof *more_hparams,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = slm_decoder_derive,
    .complete = complete,
    .export = export,
    .build = build,
    .chat_template = SLM_CHAT_TURNS,
};
