/* SPDX-License-Identifier: MIT
 * Llama: Llama 2 and 3 (3.1 and 3.2 with their frequency factors), Mistral, TinyLlama, SmolLM 1 and 2, and everything
 * stored as architecture "llama".
 *
 * Reference: LlamaForCausalLM in transformers. Pre-norm decoder: RMS norm, grouped-query attention with rotary
 * positions, SwiGLU feed-forward; no biases in the released models, though the format allows them.
 *
 * Traps:
 *  - GGUF stores the rows of q and k reordered so that rotary pairs are neighbours (2i, 2i+1); Hugging Face pairs
 *    (i, i + n/2). The tensors carry the difference (ROPE_PAIRS), so the plan rotates as the file at hand has them.
 *  - Llama 3.1's rope scaling is not in GGUF's keys: it arrives as the tensor rope_freqs.weight, divisors of the
 *    frequencies; a folder states the formula's parameters instead (complete). rope.scaling.factor is for plain linear
 *    scaling only.
 *  - The head may be tied (no output.weight): Llama 3.2 1B and 3B, SmolLM. */
#include "base/fmath.h"
#include "families/blocks.h"
#include "families/families.h"

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(0),
    {"rope_freqs.weight", NULL, SLM_GLOBAL(rope_freqs), SLM_DIM_ROT_HALF, SLM_DIM_ONE, 0,
     SLM_TENSOR_OPTIONAL | SLM_TENSOR_VECTOR, 0, 0},
    SLM_ROWS_PRE_NORMS,
    SLM_ROWS_QKVO(SLM_TRANSFORM_ROPE_PAIRS),
    SLM_ROWS_QKVO_BIAS(SLM_TRANSFORM_ROPE_PAIRS),
    SLM_ROWS_FFN,
};

/* Mistral's: every layer slides. Absent or null in the others. */
static const struct slm_hparam_row more_hparams[] = {{"attention.sliding_window", "sliding_window", SLM_HPARAM_U32,
                                                      offsetof(struct slm_hparams, window), 0, 0, 1 << 27, 0}};

static slm_val attention(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x,
                         slm_val table, const struct slm_rope *rope)
{
    const struct slm_hparams *hp = &m->hparams;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, (float)hp->rms_eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, slm_weight_or_null(&layer->attn_q_bias));
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, slm_weight_or_null(&layer->attn_k_bias));
    slm_val v = slm_plan_matmul(p, h, &layer->attn_v, slm_weight_or_null(&layer->attn_v_bias));
    q = slm_plan_rope(p, q, table, rope, hp->head_dim);
    k = slm_plan_rope(p, k, table, rope, hp->head_dim);
    slm_val out = slm_block_attend(p, m, layer, q, k, v, hp->window);
    return slm_plan_name(p, slm_plan_add(p, x, out), "attn_residual");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = slm_block_rope(m, slm_model_rope_style(m));
    return slm_block_decoder(p, m, &rope, attention);
}

/* Llama 3.1's formula, as rope_freqs.weight would hold it: long wavelengths are stretched by factor, short ones are
 * not, and between two cuts the change is gradual. */
static slm_status complete(struct slm_model *m, struct slm_error *error)
{
    struct slm_str type = {0};
    bool found = false;
    SLM_TRY(slm_gguf_get_str(m->gguf, "rope_scaling.rope_type", &type, &found, error));
    if (!found || !slm_gguf_is_hf(m->gguf) || !slm_str_is(type, "llama3")) return SLM_OK;
    double factor, low, high, context;
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.factor", 1e-3, 1e6, &factor, NULL, error));
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.low_freq_factor", 1e-6, 1e6, &low, NULL, error));
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.high_freq_factor", low + 1e-9, 1e7, &high, NULL, error));
    SLM_TRY(slm_gguf_get_f64(m->gguf, "rope_scaling.original_max_position_embeddings", 1, 1e9, &context, NULL, error));
    const uint32_t half = m->hparams.n_rot / 2;
    float *divisors = slm_arena_alloc(&m->arena, half, sizeof *divisors, "rope_freqs", error);
    if (!divisors) return SLM_ERR_MEMORY;
    for (uint32_t i = 0; i < half; i++) {
        const double freq = slm_pow(m->hparams.rope_base, -2.0 * (double)i / (double)m->hparams.n_rot);
        const double turns = context * freq / (2 * 3.14159265358979323846);
        const double smooth = turns < low ? 0 : turns > high ? 1 : (turns - low) / (high - low);
        divisors[i] = (float)(1.0 / ((1.0 - smooth) / factor + smooth));
    }
    m->globals.rope_freqs = (struct slm_weight){.name = "rope_freqs", .data = (const unsigned char *)divisors,
                                                .dtype = SLM_DTYPE_F32, .n_in = half, .n_out = 1,
                                                .row_bytes = half * sizeof *divisors};
    return SLM_OK;
}

static const char *const rope_types[] = {"llama3", NULL};
static const char *const hf_architectures[] = {"LlamaForCausalLM", "LlamaModel", "MistralForCausalLM",
                                               "MistralModel", "Mistral3ForConditionalGeneration", "Mistral3Model",
                                               NULL};

/* Many makers use this architecture; those whose turns have tokens of their own can be told apart. Llama 2 and the
 * first Mistral write theirs as plain text, so a file of theirs without a template is continued. Mistral puts the
 * system message before the last question; its SentencePiece vocabulary wants a space, the later ones want none. */
#define MISTRAL_CHAT(space) \
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}" \
    "{% set ns.system = m.content + '\\n\\n' %}{% elif m.role == 'user' %}" \
    "{{ '[INST]" space "' + (ns.system if loop.last else '') + m.content + '[/INST]' }}" \
    "{% elif m.role == 'assistant' %}" \
    "{{ '" space "' + m.content + eos_token }}{% endif %}{% endfor %}"
static const struct slm_chat_row chat_rows[] = {
    {{"<|start_header_id|>", "<|eot_id|>"},
     "{{ bos_token }}{% for m in messages %}"
     "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
    {{"<|im_start|>", "<|im_end|>"}, SLM_CHAT_ML},
    {{"[INST]", "\xe2\x96\x81the"}, MISTRAL_CHAT(" ")},
    {{"[INST]", NULL}, MISTRAL_CHAT("")},
};

static const struct slm_shape shapes[] = {
    {.name = "llama-3.2-1b", .hparams = {.n_layer = 16, .n_embd = 2048, .n_ff = 8192, .n_head = 32, .n_head_kv = 8,
     .head_dim = 64, .n_vocab = 128256, .n_ctx_train = 131072, .rope_base = 5e5, .rms_eps = 1e-5}},
    {.name = "llama-3.2-3b", .hparams = {.n_layer = 28, .n_embd = 3072, .n_ff = 8192, .n_head = 24, .n_head_kv = 8,
     .head_dim = 128, .n_vocab = 128256, .n_ctx_train = 131072, .rope_base = 5e5, .rms_eps = 1e-5}},
    {.name = "llama-3.1-8b", .untied = true, .hparams = {.n_layer = 32, .n_embd = 4096, .n_ff = 14336, .n_head = 32,
     .n_head_kv = 8, .head_dim = 128, .n_vocab = 128256, .n_ctx_train = 131072, .rope_base = 5e5, .rms_eps = 1e-5}},
};

const struct slm_family slm_family_llama = {
    .architecture = "llama",
    .hf_architectures = hf_architectures,
    .hf_activation_key = "hidden_act",
    .hf_activation = "silu",
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .more_hparams = more_hparams,
    .n_more_hparams = sizeof more_hparams / sizeof *more_hparams,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .n_layer_large = 80,
    .derive = slm_decoder_derive,
    .complete = complete,
    .rope_types = rope_types,
    .build = build,
    .chat_rows = chat_rows,
    .n_chat_rows = sizeof chat_rows / sizeof *chat_rows,
    .shapes = shapes,
    .n_shapes = sizeof shapes / sizeof *shapes,
};
