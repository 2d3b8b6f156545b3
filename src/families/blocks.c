/* SPDX-License-Identifier: MIT
 * What blocks.h declares: hyper-parameters, rotation, attention and feed-forward that more than one family uses as
 * they are. Sharing stops where a parameter would only say which family it is: such lines are written out in the
 * family's own file, because there they read like its paper. Deliberately not here: anything only one family needs,
 * and switches between families. */
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

/* Llama's defaults: as many key-value heads as heads, heads that divide the width, all of a head rotated. */
slm_status slm_decoder_derive(struct slm_hparams *hp, const char *where, struct slm_error *error)
{
    if (hp->n_head_kv == 0) hp->n_head_kv = hp->n_head;
    if (hp->n_head % hp->n_head_kv != 0)
        return slm_fail(error, SLM_ERR_FORMAT, where, "attention.head_count %u is no multiple of head_count_kv %u",
                        hp->n_head, hp->n_head_kv);
    if (hp->head_dim == 0) {
        if (hp->n_embd % hp->n_head != 0)
            return slm_fail(error, SLM_ERR_FORMAT, where,
                            "embedding_length %u is no multiple of attention.head_count %u", hp->n_embd, hp->n_head);
        hp->head_dim = hp->n_embd / hp->n_head;
    }
    if (hp->n_rot == 0) hp->n_rot = hp->head_dim;
/* Pairs are rotated, so an odd number of elements has one without a partner. */
    if (hp->n_rot % 2 != 0 || hp->n_rot > hp->head_dim)
        return slm_fail(error, SLM_ERR_FORMAT, where,
                        "rope.dimension_count %u must be even and at most the head size %u", hp->n_rot, hp->head_dim);
    return SLM_OK;
}

/* config.json's list; false in *found when there is none. */
static slm_status read_layer_types(struct slm_model *model, bool *found, struct slm_error *error)
{
    const struct slm_gguf_kv *list = NULL;
    SLM_TRY(slm_gguf_get_array(model->gguf, "layer_types", SLM_GGUF_STRING, &list, found, error));
    if (!*found) return SLM_OK;
    const struct slm_hparams *hp = &model->hparams;
    if (list->n != hp->n_layer)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                        "key 'layer_types' has %llu entries for %u layers", (unsigned long long)list->n, hp->n_layer);
    struct slm_str type;
    size_t cursor = 0;
    for (uint32_t l = 0; slm_gguf_next_string(list, &cursor, &type); l++) {
        if (slm_str_is(type, "sliding_attention")) slm_set_layer_bit(model->hparams.layer_slides, l);
        else if (!slm_str_is(type, "full_attention"))
            return slm_fail(
                error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                "key 'layer_types': layer %u is '%.*s', this build knows full_attention and sliding_attention", l,
                (int)(type.len < 40 ? type.len : 40), type.ptr);
    }
    return SLM_OK;
}

/* As llama.cpp names it, an interval or a list. */
static const char PATTERN[] = "attention.sliding_window_pattern";

/* GGUF's list, one truth a layer; not *found when the key is an interval or absent. */
static slm_status read_layer_bits(struct slm_model *model, const char *key, bool *found, struct slm_error *error)
{
    const struct slm_gguf_kv *kv = slm_gguf_find(model->gguf, key);
    *found = kv && kv->type == SLM_GGUF_ARRAY;
    if (!*found) return SLM_OK;
    SLM_TRY(slm_gguf_get_array(model->gguf, key, kv->array_type == SLM_GGUF_BOOL ? SLM_GGUF_BOOL : SLM_GGUF_I32, &kv,
                               NULL, error));
    if (kv->n != model->hparams.n_layer)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf), "key '%s' has %llu entries for %u layers",
                        key, (unsigned long long)kv->n, model->hparams.n_layer);
    for (uint32_t l = 0; l < model->hparams.n_layer; l++)
        if (slm_gguf_i64_at(kv, l) != 0) slm_set_layer_bit(model->hparams.layer_slides, l);
    return SLM_OK;
}

/* A list is the newer spelling of what older files leave to an interval; it wins where both are there. */
slm_status slm_read_sliding(struct slm_model *model, uint32_t interval, struct slm_error *error)
{
    char key[SLM_MODEL_KEY_BYTES] = "sliding_window_pattern";
    const bool hf = slm_gguf_is_hf(model->gguf);
    struct slm_hparams *hp = &model->hparams;
    int64_t every = interval;
    bool listed = false, found = false;
    if (!hf) slm_model_key(model, PATTERN, key);
    SLM_TRY(hf ? read_layer_types(model, &listed, error) : read_layer_bits(model, key, &listed, error));
    if (!listed) SLM_TRY(slm_gguf_get_i64(model->gguf, key, 1, 512, &every, &found, error));
    for (uint32_t l = 0; l < hp->n_layer && !listed; l++)
        if ((l + 1) % (uint32_t)every != 0) slm_set_layer_bit(hp->layer_slides, l);
    /* A window that no layer has is none; other programs insist on that. */
    bool any = false;
    for (uint32_t l = 0; l < hp->n_layer; l++) any = any || slm_layer_bit(hp->layer_slides, l);
    if (!any) hp->window = 0;
    return SLM_OK;
}

/* What every reader assumes is not written: files of the released models are then as others write them. */
slm_status slm_write_sliding(const struct slm_model *model, uint32_t interval, struct slm_export *out,
                             struct slm_error *error)
{
    char key[SLM_MODEL_KEY_BYTES];
    bool slides[512], usual = true; /* as many layers as the hyper-parameter rows allow */
    const uint32_t n = model->hparams.n_layer;
    SLM_ASSERT(n <= sizeof slides);
    for (uint32_t l = 0; l < n; l++) {
        slides[l] = slm_layer_bit(model->hparams.layer_slides, l);
        usual = usual && slides[l] == ((l + 1) % interval != 0);
    }
    return usual ? SLM_OK
                 : slm_gguf_write_array(out->writer, slm_model_key(model, PATTERN, key), SLM_GGUF_BOOL, slides, n,
                                        error);
}

struct slm_rope slm_block_rope(const struct slm_model *model, enum slm_rope_style style)
{
    const struct slm_hparams *hp = &model->hparams;
    return (struct slm_rope){.n_rot = hp->n_rot, .base = hp->rope_base, .linear_scale = hp->rope_linear_scale,
                             .factors = (const float *)(const void *)model->globals.rope_freqs.data,
                             .long_factors = (const float *)(const void *)model->globals.rope_long.data,
                             .short_ctx = hp->rope_short_ctx, .style = style,
                             .gain = hp->rope_gain > 0 ? (float)hp->rope_gain : 1.0f};
}

/* q . k / sqrt(base) with q multiplied by this is q . k / sqrt(own). Exactly 1 where both are the same. */
double slm_block_score_gain(const struct slm_hparams *hp, double base)
{
    const double own = hp->attn_scale_base > 0 ? hp->attn_scale_base : (double)hp->head_dim;
    return __builtin_sqrt((base > 0 ? base : (double)hp->head_dim) / own);
}

/* Scores are divided by the square root of the head size unless the model says of what else. */
slm_val slm_block_mix(struct slm_plan *p, const struct slm_model *model, slm_val q, slm_val k, slm_val v,
                      uint32_t window)
{
    const struct slm_hparams *hp = &model->hparams;
    /* The product of both roots would round twice; the scale is one number, rounded once. */
    const double scale_base = hp->attn_scale_base > 0 ? hp->attn_scale_base : (double)hp->head_dim;
    const struct slm_attention shape = {.n_head = hp->n_head, .n_head_kv = hp->n_head_kv, .head_dim = hp->head_dim,
                                        .window = window, .scale = (float)(1.0 / __builtin_sqrt(scale_base)),
                                        .softcap = (float)hp->attn_softcap,
                                        .bidirectional = hp->bidirectional};
/* As they go into attention: after bias, norm and rotation. */
    slm_plan_name(p, q, "q");
    slm_plan_name(p, k, "k");
    slm_plan_name(p, v, "v");
    return slm_plan_name(p, slm_plan_attention(p, q, k, v, &shape), "attn_mix");
}

slm_val slm_block_attend(struct slm_plan *p, const struct slm_model *model, const struct slm_layer *layer, slm_val q,
                         slm_val k, slm_val v, uint32_t window)
{
/* What the heads mixed goes back into the residual stream. */
    const slm_val mixed = slm_block_mix(p, model, q, k, v, window);
    return slm_plan_name(p, slm_plan_matmul(p, mixed, &layer->attn_out, slm_weight_or_null(&layer->attn_out_bias)),
                         "attn_out");
}

/* Names are what taps, profiles and golden fixtures know the values by. */
slm_val slm_block_swiglu(struct slm_plan *p, slm_val x, const struct slm_layer *layer, float eps)
{
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->ffn_norm, eps), "ffn_norm");
    slm_val gate = slm_plan_name(p, slm_plan_matmul(p, h, &layer->ffn_gate, NULL), "ffn_gate");
    slm_val up = slm_plan_name(p, slm_plan_matmul(p, h, &layer->ffn_up, NULL), "ffn_up");
    slm_val act = slm_plan_name(p, slm_plan_swiglu(p, gate, up), "ffn_act");
    slm_val down = slm_plan_name(p, slm_plan_matmul(p, act, &layer->ffn_down, NULL), "ffn_down");
    return slm_plan_name(p, slm_plan_add(p, x, down), "layer_out");
}

slm_val slm_block_geglu(struct slm_plan *p, slm_val x, const struct slm_layer *layer, float eps)
{
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->ffn_norm, eps), "ffn_norm");
    slm_val gate = slm_plan_name(p, slm_plan_matmul(p, h, &layer->ffn_gate, NULL), "ffn_gate");
    slm_val up = slm_plan_name(p, slm_plan_matmul(p, h, &layer->ffn_up, NULL), "ffn_up");
    slm_val act = slm_plan_name(p, slm_plan_geglu(p, gate, up), "ffn_act");
    slm_val down = slm_plan_name(p, slm_plan_matmul(p, act, &layer->ffn_down, NULL), "ffn_down");
    return slm_plan_name(p, slm_plan_add(p, x, slm_plan_rms_norm(p, down, &layer->ffn_post_norm, eps)), "layer_out");
}

slm_val slm_block_head(struct slm_plan *p, slm_val x, const struct slm_model *model)
{
    slm_plan_layer(p, -1);
/* Selecting before the norm: both it and the head then work on the wanted rows only. */
    slm_val last = slm_plan_select(p, x);
    slm_val h = slm_plan_rms_norm(p, last, &model->globals.output_norm, (float)model->hparams.rms_eps);
    slm_plan_name(p, h, "output_norm");
    if (p->headless) return h;
    slm_val logits = slm_plan_matmul(p, h, &model->globals.output, NULL);
    return slm_plan_name(p, slm_plan_softcap(p, logits, (float)model->hparams.logit_softcap), "logits");
}

/* The table belongs to no layer: it is made once a step, and every layer that rotates reads it. Families whose layers
 * differ among themselves (Gemma) write their own loop. */
slm_val slm_block_decoder(struct slm_plan *p, const struct slm_model *model, const struct slm_rope *rope,
                          slm_attention_fn attention)
{
    slm_val x = slm_plan_name(p, slm_plan_embed(p, &model->globals.token_embd), "embedding");
    const slm_val table = slm_plan_rope_table(p, rope);
    for (uint32_t l = 0; l < model->hparams.n_layer; l++) {
        slm_plan_layer(p, (int32_t)l);
        x = attention(p, model, &model->layers[l], x, table, rope);
        x = slm_block_swiglu(p, x, &model->layers[l], (float)model->hparams.rms_eps);
    }
    return slm_block_head(p, x, model);
}
