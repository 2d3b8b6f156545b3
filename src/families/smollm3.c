/* SPDX-License-Identifier: MIT
 * SmolLM3: Llama with layers that do not rotate (NoPE).
 *
 * Reference: SmolLM3ForCausalLM in transformers. Every fourth layer (3, 7, 11, ..) leaves q and k as they are;
 * config.json says so in no_rope_layers, where 1 means that the layer DOES rotate. GGUF has no key for it, and readers
 * take every fourth; for others slm writes, and reads, one of its own.
 *
 * Traps: like Llama, GGUF stores q and k with neighbouring rotary pairs, reordered in every layer, rotating or not.
 * The optional sliding window of config.json is off in the released model (use_sliding_window). */
#include "families/blocks.h"
#include "families/families.h"

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(0),
    SLM_ROWS_PRE_NORMS,
    SLM_ROWS_QKVO(SLM_TRANSFORM_ROPE_PAIRS),
    SLM_ROWS_QKVO_BIAS(SLM_TRANSFORM_ROPE_PAIRS),
    SLM_ROWS_FFN,
};

static const char SKIPPED[] = "rope.skipped_layers"; /* our own key: one BOOL a layer */

/* The list of either kind of file. A folder's says which layers rotate, ours which do not. */
static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    const struct slm_gguf_kv *list = NULL;
    struct slm_hparams *hp = &m->hparams;
    const bool hf = slm_gguf_is_hf(m->gguf);
    char key[SLM_MODEL_KEY_BYTES] = "no_rope_layers";
    bool found = false;
    if (!hf) slm_model_key(m, SKIPPED, key);
    SLM_TRY(slm_gguf_get_array(m->gguf, key, hf ? SLM_GGUF_I64 : SLM_GGUF_BOOL, &list, &found, error));
    if (found && list->n != hp->n_layer)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(m->gguf), "key '%s' has %llu entries for %u layers", key,
                        (unsigned long long)list->n, hp->n_layer);
    for (uint32_t l = 0; l < hp->n_layer; l++)
        if (found ? (slm_gguf_i64_at(list, l) != 0) != hf : l % 4 == 3) slm_set_layer_bit(hp->layer_norope, l);
    return SLM_OK;
}

static slm_status export(const struct slm_model *m, struct slm_export *out, struct slm_error *error)
{
    char key[SLM_MODEL_KEY_BYTES];
    bool skips[512], usual = true; /* as many layers as the hyper-parameter rows allow */
    SLM_ASSERT(m->hparams.n_layer <= sizeof skips);
    for (uint32_t l = 0; l < m->hparams.n_layer; l++) {
        skips[l] = slm_layer_bit(m->hparams.layer_norope, l);
        usual = usual && skips[l] == (l % 4 == 3);
    }
    if (usual) return SLM_OK;
    out->note = "not every fourth layer, but others go without rotation; programs other than slm will not know";
    return slm_gguf_write_array(out->writer, slm_model_key(m, SKIPPED, key), SLM_GGUF_BOOL, skips, m->hparams.n_layer,
                                error);
}

static slm_val attention(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x,
                         slm_val table, const struct slm_rope *rope)
{
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, (float)m->hparams.rms_eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, slm_weight_or_null(&layer->attn_q_bias));
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, slm_weight_or_null(&layer->attn_k_bias));
    slm_val v = slm_plan_matmul(p, h, &layer->attn_v, slm_weight_or_null(&layer->attn_v_bias));
    if (!slm_layer_bit(m->hparams.layer_norope, (uint32_t)(layer - m->layers))) {
        q = slm_plan_rope(p, q, table, rope, m->hparams.head_dim);
        k = slm_plan_rope(p, k, table, rope, m->hparams.head_dim);
    }
    return slm_plan_name(p, slm_plan_add(p, x, slm_block_attend(p, m, layer, q, k, v, 0)), "attn_residual");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = slm_block_rope(m, slm_model_rope_style(m));
    return slm_block_decoder(p, m, &rope, attention);
}

static const char *const hf_architectures[] = {"SmolLM3ForCausalLM", "SmolLM3Model", NULL};

const struct slm_family slm_family_smollm3 = {
    .architecture = "smollm3",
    .hf_architectures = hf_architectures,
    .hf_activation_key = "hidden_act",
    .hf_activation = "silu",
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = slm_decoder_derive,
    .complete = complete,
    .export = export,
    .build = build,
    .chat_template = SLM_CHAT_ML, /* without the system message that says how to think */
};
