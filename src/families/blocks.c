/* SPDX-License-Identifier: MIT
 * Shared parts of the families: see blocks.h. */
#include "families/blocks.h"

#define FIELD(name) offsetof(struct slm_hparams, name)

/* Ranges are wide enough for any model under 30 billion parameters and tight enough that products of two fit 64 bits
 * with room to spare. */
const struct slm_hparam_row slm_decoder_hparams[SLM_N_DECODER_HPARAMS] = {
    {"block_count", "num_hidden_layers", SLM_HPARAM_U32, FIELD(n_layer), 0, 1, 512, SLM_HPARAM_REQUIRED},
    {"context_length", "max_position_embeddings", SLM_HPARAM_U32, FIELD(n_ctx_train), 0, 1, 1 << 27,
     SLM_HPARAM_REQUIRED},
    {"embedding_length", "hidden_size", SLM_HPARAM_U32, FIELD(n_embd), 0, 1, 1 << 17, SLM_HPARAM_REQUIRED},
    {"feed_forward_length", "intermediate_size", SLM_HPARAM_U32, FIELD(n_ff), 0, 1, 1 << 20, SLM_HPARAM_REQUIRED},
    {"attention.head_count", "num_attention_heads", SLM_HPARAM_U32, FIELD(n_head), 0, 1, 1024, SLM_HPARAM_REQUIRED},
    {"attention.head_count_kv", "num_key_value_heads", SLM_HPARAM_U32, FIELD(n_head_kv), 0, 1, 1024, 0},
    {"attention.key_length", "head_dim", SLM_HPARAM_U32, FIELD(head_dim), 0, 1, 1024, 0},
    {"rope.dimension_count", NULL, SLM_HPARAM_U32, FIELD(n_rot), 0, 2, 1024, 0},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", SLM_HPARAM_F64, FIELD(rms_eps), 0, 1e-12, 1e-1,
     SLM_HPARAM_REQUIRED},
    {"rope.freq_base", "rope_theta", SLM_HPARAM_F64, FIELD(rope_base), 10000.0, 1.0, 1e12, 0},
    {"rope.scaling.factor", "rope_scaling.factor", SLM_HPARAM_F64, FIELD(rope_linear_scale), 1.0, 1e-3, 1e6, 0},
};

slm_status slm_decoder_derive(struct slm_hparams *hp, const char *where, struct slm_error *error)
{
    if (hp->n_head_kv == 0) hp->n_head_kv = hp->n_head;
    if (hp->n_head % hp->n_head_kv != 0)
        return slm_fail(error, SLM_ERR_FORMAT, where, "attention.head_count %u is no multiple of head_count_kv %u",
                        hp->n_head, hp->n_head_kv);
    if (hp->head_dim == 0) {
        if (hp->n_embd % hp->n_head != 0)
            return slm_fail(error, SLM_ERR_FORMAT, where, "embedding_length %u is no multiple of attention.head_count %u",
                            hp->n_embd, hp->n_head);
        hp->head_dim = hp->n_embd / hp->n_head;
    }
    if (hp->n_rot == 0) hp->n_rot = hp->head_dim;
    if (hp->n_rot % 2 != 0 || hp->n_rot > hp->head_dim)
        return slm_fail(error, SLM_ERR_FORMAT, where, "rope.dimension_count %u must be even and at most the head size %u",
                        hp->n_rot, hp->head_dim);
    return SLM_OK;
}

slm_val slm_block_swiglu(struct slm_plan *p, slm_val x, const struct slm_layer *layer, float eps)
{
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->ffn_norm, eps), "ffn_norm");
    slm_val gate = slm_plan_name(p, slm_plan_matmul(p, h, &layer->ffn_gate, NULL), "ffn_gate");
    slm_val up = slm_plan_name(p, slm_plan_matmul(p, h, &layer->ffn_up, NULL), "ffn_up");
    slm_val act = slm_plan_name(p, slm_plan_swiglu(p, gate, up), "ffn_act");
    slm_val down = slm_plan_name(p, slm_plan_matmul(p, act, &layer->ffn_down, NULL), "ffn_down");
    return slm_plan_name(p, slm_plan_add(p, x, down), "layer_out");
}

slm_val slm_block_head(struct slm_plan *p, slm_val x, const struct slm_model *model)
{
    slm_plan_layer(p, -1);
    slm_val last = slm_plan_select(p, x);
    slm_val h = slm_plan_rms_norm(p, last, &model->globals.output_norm, (float)model->hparams.rms_eps);
    return slm_plan_name(p, slm_plan_matmul(p, slm_plan_name(p, h, "output_norm"), &model->globals.output, NULL),
                         "logits");
}
