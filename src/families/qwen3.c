/* SPDX-License-Identifier: MIT
 * Qwen3, dense: 0.6B, 1.7B, 4B, 8B (and slm's built-in model).
 *
 * Reference: Qwen3ForCausalLM in transformers. Differs from Llama in that
 *  - every head of q and k is RMS-normalised with one [head_dim] weight before the rotation;
 *  - head_dim is stated and need not be n_embd / n_head (0.6B: 128 with 16 heads on 1024);
 *  - rotary pairs are (i, i + n/2) in GGUF too: tensors are stored as Hugging Face has them.
 *
 * Traps: the head is tied up to 4B; the rope base of the released models is 1e6 (5e6 in the 2507 ones), but a file that
 * leaves the key out means 10000, as the config class and llama.cpp read it. */
#include "families/blocks.h"
#include "families/families.h"

static const struct slm_tensor_row tensors[] = {
    SLM_ROWS_ENDS(0), SLM_ROWS_PRE_NORMS, SLM_ROWS_QKVO(0), SLM_ROWS_HEAD_NORMS(0), SLM_ROWS_FFN,
};

static slm_val attention(struct slm_plan *p, const struct slm_model *m, const struct slm_layer *layer, slm_val x,
                         slm_val table, const struct slm_rope *rope)
{
    const uint32_t head_dim = m->hparams.head_dim;
    const float eps = (float)m->hparams.rms_eps;
    slm_val h = slm_plan_name(p, slm_plan_rms_norm(p, x, &layer->attn_norm, eps), "attn_norm");
    slm_val q = slm_plan_matmul(p, h, &layer->attn_q, NULL);
    slm_val k = slm_plan_matmul(p, h, &layer->attn_k, NULL);
    slm_val v = slm_plan_matmul(p, h, &layer->attn_v, NULL);
    q = slm_plan_name(p, slm_plan_rms_norm(p, q, &layer->attn_q_norm, eps), "q_norm");
    k = slm_plan_name(p, slm_plan_rms_norm(p, k, &layer->attn_k_norm, eps), "k_norm");
    q = slm_plan_rope(p, q, table, rope, head_dim);
    k = slm_plan_rope(p, k, table, rope, head_dim);
    return slm_plan_name(p, slm_plan_add(p, x, slm_block_attend(p, m, layer, q, k, v, 0)), "attn_residual");
}

static slm_val build(struct slm_plan *p, const struct slm_model *m)
{
    const struct slm_rope rope = slm_block_rope(m, SLM_ROPE_NEOX);
    return slm_block_decoder(p, m, &rope, attention);
}

static const char *const hf_architectures[] = {"Qwen3ForCausalLM", "Qwen3Model", NULL};

static const struct slm_shape shapes[] = {
    {.name = "qwen3-0.6b", .hparams = {.n_layer = 28, .n_embd = 1024, .n_ff = 3072, .n_head = 16, .n_head_kv = 8,
     .head_dim = 128, .n_vocab = 151936, .n_ctx_train = 40960, .rope_base = 1e6, .rms_eps = 1e-6}},
    {.name = "qwen3-1.7b", .hparams = {.n_layer = 28, .n_embd = 2048, .n_ff = 6144, .n_head = 16, .n_head_kv = 8,
     .head_dim = 128, .n_vocab = 151936, .n_ctx_train = 40960, .rope_base = 1e6, .rms_eps = 1e-6}},
    {.name = "qwen3-4b", .hparams = {.n_layer = 36, .n_embd = 2560, .n_ff = 9728, .n_head = 32, .n_head_kv = 8,
     .head_dim = 128, .n_vocab = 151936, .n_ctx_train = 262144, .rope_base = 5e6, .rms_eps = 1e-6}},
    {.name = "qwen3-8b", .untied = true, .hparams = {.n_layer = 36, .n_embd = 4096, .n_ff = 12288, .n_head = 32,
     .n_head_kv = 8, .head_dim = 128, .n_vocab = 151936, .n_ctx_train = 40960, .rope_base = 1e6, .rms_eps = 1e-6}},
};

const struct slm_family slm_family_qwen3 = {
    .architecture = "qwen3",
    .hf_architectures = hf_architectures,
    .hf_activation_key = "hidden_act",
    .hf_activation = "silu",
    .hparams = slm_decoder_hparams,
    .n_hparams = SLM_N_DECODER_HPARAMS,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
    .derive = slm_decoder_derive,
    .build = build,
    .shapes = shapes,
    .n_shapes = sizeof shapes / sizeof *shapes,
    .chat_template = SLM_CHAT_ML, /* what Qwen3 ships, without tools and thinking switches */
};
