/* SPDX-License-Identifier: MIT
 * Gemma 3, text: 270M, 1B, and the text tower of 4B, 12B and 27B.
 *
 * Reference: Gemma3ForCausalLM (and the language model inside Gemma3ForConditionalGeneration) in transformers. Like
 * Gemma 2 (see gemma2.c) but
 *  - no caps; instead every head of q and k is normalised, (1 + w) again, before the rotation;
 *  - five sliding layers, then one that sees everything: layers 5, 11, 17, ..;
 *  - two rotations: sliding layers use base 10000 unscaled, the others rope.freq_base (1e6), scaled by 8 from 4B on.
 *
 * EmbeddingGemma is the same without a head and with attention to both sides: the second family below. Folders say so
 * (use_bidirectional_attention); GGUF gives it an architecture of its own, gemma-embedding, and no key.
 *
 * Traps: 27B divides scores by sqrt(n_embd / n_head) and GGUF does not say so (62 layers tell). Rotary pairs are
 * (i, i + n/2) in both kinds of file. */
#include "families/blocks.h"
#include "families/families.h"

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(SLM_TRANSFORM_ADD_ONE),
    SLM_ROWS_QKVO(0),
    SLM_ROWS_HEAD_NORMS(SLM_TRANSFORM_ADD_ONE),
    SLM_ROW_NORM("attn_norm", "input_layernorm", attn_norm, SLM_DIM_EMBD, SLM_TRANSFORM_ADD_ONE),
    SLM_ROW_NORM("post_attention_norm", "post_attention_layernorm", attn_post_norm, SLM_DIM_EMBD,
                 SLM_TRANSFORM_ADD_ONE),
    SLM_ROW_NORM("ffn_norm", "pre_feedforward_layernorm", ffn_norm, SLM_DIM_EMBD, SLM_TRANSFORM_ADD_ONE),
    SLM_ROW_NORM("post_ffw_norm", "post_feedforward_layernorm", ffn_post_norm, SLM_DIM_EMBD, SLM_TRANSFORM_ADD_ONE),
    SLM_ROWS_FFN,
};

#define FIELD(name) offsetof(struct slm_hparams, name)
static const struct slm_hparam_row more_hparams[] = {
    {"attention.sliding_window", "sliding_window", SLM_HPARAM_U32, FIELD(window), 512, 1, 1 << 27, 0},
    {"rope.freq_base", "rope_theta", SLM_HPARAM_F64, FIELD(rope_base), 1e6, 1.0, 1e12, 0},
    {"rope.freq_base_swa", "rope_local_base_freq", SLM_HPARAM_F64, FIELD(rope_base_local), 10000.0, 1.0, 1e12, 0},
    {"final_logit_softcapping", "final_logit_softcapping", SLM_HPARAM_F64, FIELD(logit_softcap), 0, 0, 1e6, 0},
    {NULL, "attn_logit_softcapping", SLM_HPARAM_F64, FIELD(attn_softcap), 0, 0, 1e6, 0},
    {NULL, "query_pre_attn_scalar", SLM_HPARAM_F64, FIELD(attn_scale_base), 0, 1e-3, 1e6, SLM_HPARAM_ELSEWHERE},
};

enum { INTERVAL = 6 };

/* What readers of GGUF files take it for; 0: the head size. */
static double gguf_scale_base(const struct slm_hparams *hp)
{
    return hp->n_layer == 62 ? (double)hp->n_embd / hp->n_head : 0;
}

static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    if (m->hparams.attn_scale_base == 0) m->hparams.attn_scale_base = gguf_scale_base(&m->hparams);
    return slm_read_sliding(m, INTERVAL, error);
}

/* Other divisors of scores move into the norm of the queries: before it they would be normalised away. */
static slm_status export(const struct slm_model *m, struct slm_export *out, struct slm_error *error)
{
    out->gain_field = SLM_LAYER(attn_q_norm);
    out->gain = slm_block_score_gain(&m->hparams, gguf_scale_base(&m->hparams));
    return slm_write_sliding(m, INTERVAL, out, error);
}

/* As GGUF files of this architecture mean it, unless they say otherwise. */
static slm_status complete_embedding(struct slm_model *m, struct slm_error *error)
{
    if (!slm_gguf_is_hf(m->gguf) && !slm_gguf_find(m->gguf, "gemma-embedding.attention.causal"))
        m->hparams.bidirectional = true;
    return complete(m, error);
}

static slm_status export_embedding(const struct slm_model *m, struct slm_export *out, struct slm_error *error)
{
    if (!m->hparams.bidirectional)
        SLM_TRY(slm_gguf_write_bool(out->writer, "gemma-embedding.attention.causal", true, error));
    return export(m, out, error);
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
    q = slm_plan_name(p, slm_plan_rms_norm(p, q, &layer->attn_q_norm, eps), "q_norm");
    k = slm_plan_name(p, slm_plan_rms_norm(p, k, &layer->attn_k_norm, eps), "k_norm");
    q = slm_plan_rope(p, q, table, rope, hp->head_dim);
    k = slm_plan_rope(p, k, table, rope, hp->head_dim);
    /* Stated is the whole window: where attention sees both sides, each has half of it, and the token itself. */
    const uint32_t window = hp->bidirectional && hp->window ? hp->window / 2 + 1 : hp->window;
    slm_val out = slm_block_attend(p, m, layer, q, k, v, slm_layer_bit(hp->layer_slides, l) ? window : 0);
    x = slm_plan_name(p, slm_plan_add(p, x, slm_plan_rms_norm(p, out, &layer->attn_post_norm, eps)), "attn_residual");
    return slm_block_geglu(p, x, layer, eps);
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope far = slm_block_rope(m, SLM_ROPE_NEOX);
    struct slm_rope near = far;
    near.base = m->hparams.rope_base_local;
    near.linear_scale = 1.0;
    slm_val x = slm_plan_scale(p, slm_plan_embed(p, &m->globals.token_embd), __builtin_sqrtf((float)m->hparams.n_embd));
    slm_plan_name(p, x, "embedding");
    const slm_val far_table = slm_plan_rope_table(p, &far), near_table = slm_plan_rope_table(p, &near);
    for (uint32_t l = 0; l < m->hparams.n_layer; l++) {
        const bool slides = slm_layer_bit(m->hparams.layer_slides, l);
        slm_plan_layer(p, (int32_t)l);
        x = layer_of(p, m, l, x, slides ? near_table : far_table, slides ? &near : &far);
    }
    return slm_block_head(p, x, m);
}

static const char *const hf_architectures[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration",
                                               "Gemma3Model", NULL};
static const char *const hf_embedding_architectures[] = {"Gemma3TextModel", NULL};

static const struct slm_shape shapes[] = {
    {.name = "gemma-3-1b", .hparams = {.n_layer = 26, .n_embd = 1152, .n_ff = 6912, .n_head = 4, .n_head_kv = 1,
     .head_dim = 256, .n_vocab = 262144, .n_ctx_train = 32768, .rope_base = 1e6, .rms_eps = 1e-6,
     .rope_base_local = 1e4, .window = 512, .layer_slides = {0x37df7df} /* all but every sixth */}},
};

const struct slm_family slm_family_gemma3 = {
    .architecture = "gemma3",
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
    .shapes = shapes,
    .n_shapes = sizeof shapes / sizeof *shapes,
};

const struct slm_family slm_family_gemma_embedding = {
    .architecture = "gemma-embedding",
    .hf_architectures = hf_embedding_architectures,
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .more_hparams = more_hparams,
    .n_more_hparams = sizeof more_hparams / sizeof *more_hparams,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = slm_decoder_derive,
    .complete = complete_embedding,
    .export = export_embedding,
    .build = build,
    .has_dense = true,
};
