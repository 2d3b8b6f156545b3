/* SPDX-License-Identifier: MIT
 * Phi-3, Phi-3.5 mini and Phi-4-mini.
 *
 * Reference: Phi3ForCausalLM in transformers. Differs from Llama in that
 *  - q, k and v are stored as one matrix, gate and up as another (gate first);
 *  - Phi-4-mini rotates only a part of each head (partial_rotary_factor 0.75: 96 of 128);
 *  - LongRoPE: every frequency is divided by a factor of its own, from one list for contexts up to the original length
 *    and from another beyond it; cosines and sines are multiplied by sqrt(1 + ln(s) / ln(original)), s = how many times
 *    longer the context was made, whichever list is used.
 *
 * Traps: transformers switches lists when a sequence grows beyond the original length, leaving older keys as they are;
 * a session here decides once, by its context size, as llama.cpp does: a whole prompt computed at once agrees with
 * transformers. GGUF carries the lists as tensors rope_factors_{short,long}.weight, a folder in config.json. Phi-3's
 * sliding window (2047) is stated but transformers applies it; so does this. White space behind a special token belongs
 * to it in models with Llama 2's vocabulary: tokenizer.json says so, GGUF files do not (specials_swallow_space). */
#include "base/fmath.h"
#include "families/blocks.h"
#include "families/families.h"

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(0),
    {"rope_factors_short.weight", NULL, SLM_GLOBAL(rope_freqs), SLM_DIM_ROT_HALF, SLM_DIM_ONE, 0,
     SLM_TENSOR_OPTIONAL | SLM_TENSOR_VECTOR, 0, 0},
    {"rope_factors_long.weight", NULL, SLM_GLOBAL(rope_long), SLM_DIM_ROT_HALF, SLM_DIM_ONE, 0,
     SLM_TENSOR_OPTIONAL | SLM_TENSOR_VECTOR, 0, 0},
    SLM_ROWS_PRE_NORMS,
    SLM_ROW_PART("attn_qkv", "self_attn.qkv_proj", attn_q, SLM_DIM_EMBD, SLM_DIM_Q, SLM_DIM_Q_KV_KV, SLM_DIM_ZERO),
    SLM_ROW_PART("attn_qkv", "self_attn.qkv_proj", attn_k, SLM_DIM_EMBD, SLM_DIM_KV, SLM_DIM_Q_KV_KV, SLM_DIM_Q),
    SLM_ROW_PART("attn_qkv", "self_attn.qkv_proj", attn_v, SLM_DIM_EMBD, SLM_DIM_KV, SLM_DIM_Q_KV_KV, SLM_DIM_Q_KV),
    SLM_ROW("attn_output", "self_attn.o_proj", attn_out, SLM_DIM_Q, SLM_DIM_EMBD, 0),
    SLM_ROW_PART("ffn_up", "mlp.gate_up_proj", ffn_gate, SLM_DIM_EMBD, SLM_DIM_FF, SLM_DIM_FF_FF, SLM_DIM_ZERO),
    SLM_ROW_PART("ffn_up", "mlp.gate_up_proj", ffn_up, SLM_DIM_EMBD, SLM_DIM_FF, SLM_DIM_FF_FF, SLM_DIM_FF),
    SLM_ROW("ffn_down", "mlp.down_proj", ffn_down, SLM_DIM_FF, SLM_DIM_EMBD, 0),
};

#define FIELD(name) offsetof(struct slm_hparams, name)
static const struct slm_hparam_row more_hparams[] = {
    {NULL, "partial_rotary_factor", SLM_HPARAM_F64, FIELD(rope_fraction), 1.0, 1e-3, 1.0, SLM_HPARAM_ELSEWHERE},
    {"rope.scaling.original_context_length", "original_max_position_embeddings", SLM_HPARAM_U32,
     FIELD(rope_short_ctx), 0, 1, 1 << 27, 0},
    {"rope.scaling.attn_factor", "rope_scaling.attention_factor", SLM_HPARAM_F64, FIELD(rope_gain), 0, 1e-3, 1e3, 0},
    {"attention.sliding_window", "sliding_window", SLM_HPARAM_U32, FIELD(window), 0, 0, 1 << 27, 0},
};

static slm_status derive(struct slm_hparams *hp, const char *where, struct slm_error *error)
{
    if (hp->head_dim == 0 && hp->n_embd % hp->n_head == 0) hp->head_dim = hp->n_embd / hp->n_head;
    if (hp->n_rot == 0) hp->n_rot = (uint32_t)(hp->rope_fraction * hp->head_dim);
    return slm_decoder_derive(hp, where, error);
}

/* One list of config.json as a vector of the model. */
static slm_status read_factors(struct slm_model *m, const char *key, struct slm_weight *out, struct slm_error *error)
{
    const struct slm_gguf_kv *list = NULL;
    const uint32_t half = m->hparams.n_rot / 2;
    SLM_TRY(slm_gguf_get_array(m->gguf, key, SLM_GGUF_F64, &list, NULL, error));
    if (list->n != half)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(m->gguf), "key '%s' has %llu entries, %u are needed", key,
                        (unsigned long long)list->n, half);
    float *factors = slm_arena_alloc(&m->arena, half, sizeof *factors, key, error);
    if (!factors) return SLM_ERR_MEMORY;
    for (uint32_t i = 0; i < half; i++) {
        factors[i] = (float)slm_gguf_f64_at(list, i);
        if (!(factors[i] >= 1e-3f && factors[i] <= 1e6f))
            return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(m->gguf),
                            "key '%s': entry %u is %g, allowed are 0.001 to 1e6", key, i, (double)factors[i]);
    }
    *out = (struct slm_weight){.name = "rope factors", .data = (const unsigned char *)factors, .dtype = SLM_DTYPE_F32,
                               .n_in = half, .n_out = 1, .row_bytes = half * sizeof *factors};
    return SLM_OK;
}

static const char *const rope_types[] = {"longrope", "su", NULL}; /* the first Phi-3 calls it su */

static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    struct slm_hparams *hp = &m->hparams;
    struct slm_str type = {0};
    bool found = false;
    SLM_TRY(slm_gguf_get_str(m->gguf, "rope_scaling.rope_type", &type, &found, error));
    if (slm_gguf_is_hf(m->gguf) && (slm_str_is(type, rope_types[0]) || slm_str_is(type, rope_types[1]))) {
        SLM_TRY(read_factors(m, "rope_scaling.short_factor", &m->globals.rope_freqs, error));
        SLM_TRY(read_factors(m, "rope_scaling.long_factor", &m->globals.rope_long, error));
    }
    if (!m->globals.rope_long.data) return SLM_OK;
    if (!m->globals.rope_freqs.data || hp->rope_short_ctx == 0)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(m->gguf),
                        "long rope factors need short ones and the original context length");
    hp->rope_linear_scale = 1.0;
    if (hp->rope_gain == 0 && hp->n_ctx_train > hp->rope_short_ctx && hp->rope_short_ctx > 1)
        hp->rope_gain = __builtin_sqrt(1.0 + slm_ln((double)hp->n_ctx_train / hp->rope_short_ctx) /
                                                 slm_ln((double)hp->rope_short_ctx));
    return SLM_OK;
}

/* The lists are tensors, the gain is a key; that they are to be used is this one. */
static slm_status export(const struct slm_model *m, struct slm_export *out, struct slm_error *error)
{
    char key[SLM_MODEL_KEY_BYTES];
    if (!m->globals.rope_long.data) return SLM_OK;
    return slm_gguf_write_str(out->writer, slm_model_key(m, "rope.scaling.type", key), slm_str("longrope"), error);
}

static slm_val attention(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x,
                         slm_val table, const struct slm_rope *rope)
{
    const struct slm_hparams *hp = &m->hparams;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, (float)hp->rms_eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, NULL);
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, NULL);
    slm_val v = slm_plan_matmul(p, h, &layer->attn_v, NULL);
    q = slm_plan_rope(p, q, table, rope, hp->head_dim);
    k = slm_plan_rope(p, k, table, rope, hp->head_dim);
    return slm_plan_name(p, slm_plan_add(p, x, slm_block_attend(p, m, layer, q, k, v, hp->window)), "attn_residual");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = slm_block_rope(m, SLM_ROPE_NEOX);
    return slm_block_decoder(p, m, &rope, attention);
}

static const char *const hf_architectures[] = {"Phi3ForCausalLM", "Phi3Model", NULL};

static const struct slm_shape shapes[] = {
    {.name = "phi-4-mini", .hparams = {.n_layer = 32, .n_embd = 3072, .n_ff = 8192, .n_head = 24, .n_head_kv = 8,
     .head_dim = 128, .n_vocab = 200064, .n_ctx_train = 131072, .rope_base = 1e4, .rms_eps = 1e-5, .n_rot = 96,
     .window = 262144}},
};

const struct slm_family slm_family_phi3 = {
    .architecture = "phi3",
    .hf_architectures = hf_architectures,
    .hf_activation_key = "hidden_act",
    .hf_activation = "silu",
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .more_hparams = more_hparams,
    .n_more_hparams = sizeof more_hparams / sizeof *more_hparams,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = derive,
    .complete = complete,
    .export = export,
    .rope_types = rope_types,
    .build = build,
    .chat_template = "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
                     "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
    .shapes = shapes,
    .n_shapes = sizeof shapes / sizeof *shapes,
    .specials_swallow_space = true,
};
