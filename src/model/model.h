/* SPDX-License-Identifier: MIT
 * A model: hyper-parameters and weights bound from a file by a family's tables, checked once, immutable after.
 * Weights stay in their file format and are borrowed from the mapped file; vectors (norms, biases) are small and kept
 * as f32. Deliberately does not know any family: the tables come from families/. */
#ifndef SLM_MODEL_MODEL_H
#define SLM_MODEL_MODEL_H
#include "base/arena.h"
#include "format/gguf.h"
#include "plan/plan.h"
#include "tokenizer/tokenizer.h"

struct slm_family;
struct slm_prepared;

/* Filled by the family's hyper-parameter rows; 0 means the file did not say and the family has no use for it. */
struct slm_hparams {
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_rot, n_ctx_train;
    uint32_t n_vocab;         /* rows of the token embedding */
    double rms_eps;
    double rope_base;
    double rope_linear_scale; /* positions are divided by this; 1 = not scaled */
    double rope_fraction;     /* part of a head that is rotated, where the file says it so */
    double rope_gain;         /* cosines and sines are multiplied by this; 1 */
    double rope_base_local;   /* of layers with a sliding window, where it differs */
    uint32_t rope_short_ctx;  /* contexts longer than this use the long factors */
    uint32_t window;          /* positions a sliding layer sees, itself included; 0 = no layer slides */
    double attn_softcap, logit_softcap; /* 0 = none */
    double attn_scale_base;   /* scores are divided by its square root; 0 = head_dim */
    bool ffn_relu2;           /* the gate is squared ReLU, where a family has a choice */
    bool bidirectional;       /* attention sees the whole text: embeds it, cannot continue it */
    uint64_t layer_slides[8]; /* bit l: layer l has the sliding window */
    uint64_t layer_norope[8]; /* bit l: layer l does not rotate */
};

/* A weight whose data is NULL is absent (optional rows only). */
struct slm_layer {
    struct slm_weight attn_norm, attn_q, attn_k, attn_v, attn_out; /* out is [n_embd, n_head * head_dim] */
    struct slm_weight attn_q_bias, attn_k_bias, attn_v_bias, attn_out_bias;
    struct slm_weight attn_q_norm, attn_k_norm;                    /* [head_dim] */
    struct slm_weight attn_post_norm, ffn_post_norm;               /* on the way back into the residual stream */
    struct slm_weight ffn_norm, ffn_gate, ffn_up, ffn_down;
    struct slm_weight attn_sub_norm, ffn_sub_norm;                 /* inside, before the matrix that leads back */
};

struct slm_globals {
    struct slm_weight token_embd;  /* [n_vocab, n_embd] */
    struct slm_weight output_norm; /* [n_embd] */
    struct slm_weight output;      /* [n_vocab, n_embd]; the same data as token_embd when tied */
    struct slm_weight rope_freqs;  /* [n_rot / 2] divisors of the rotary frequencies */
    struct slm_weight rope_long;   /* [n_rot / 2] the same for long contexts */
};

struct slm_model {
    struct slm_gguf *gguf;           /* owned */
    struct slm_adapter_part *adapters; /* [n_adapters] opened and owned (adapter.h); empty once they are bound */
    size_t n_adapters;
    const struct slm_family *family; /* NULL when opened for the vocabulary only */
    struct slm_hparams hparams;
    struct slm_globals globals;
    struct slm_layer *layers;         /* [n_layer] */
    struct slm_plan *plan;            /* owned; NULL when vocabulary only */
    struct slm_prepared *prepared;   /* owned by the engine: weights as sessions compute with them */
    struct slm_model_vocab *vocab;   /* owned by the engine: the tokens as grammars need them */
    struct slm_tokenizer *tokenizer;  /* owned; NULL when the file has none */
    const char *name, *architecture;  /* in arena */
    const char *folder;               /* in arena; NULL when the model is a GGUF file */
    bool has_no_head;                 /* saved without one: it can embed, not generate */
    bool as_stored;                   /* ternary weights stay in the file's form: to be read and never computed with */
    const char *chat_template;        /* in arena; NULL when neither file nor family has one */
    uint64_t n_params;
    uint64_t cpu_mask;                /* CPU features kernels may use */
    struct slm_arena arena;
};

/* Reads hyper-parameters, binds weights and records the plan. model->gguf, architecture and family must be set, the
 * tokenizer too when there is one (its vocabulary size is checked). On failure the caller frees the model. */
slm_status slm_model_bind(struct slm_model *model, struct slm_error *error);
void slm_model_free(struct slm_model *model);

/* "tiny" < 100M <= "micro" < 1.45B <= "small" < 13.95B <= "medium" <= 30.5B < "large": the published classes are
 * 100M-1.4B, 1.5B-13.9B and 14B-30B; each gap between them is cut in the middle. */
const char *slm_model_size_class(uint64_t n_params);
static inline bool slm_layer_bit(const uint64_t bits[8], uint32_t layer)
{
    return bits[layer / 64] >> (layer % 64) & 1;
}
static inline void slm_set_layer_bit(uint64_t bits[8], uint32_t layer)
{
    bits[layer / 64] |= UINT64_C(1) << (layer % 64);
}
/* How rows are paired by rotation where GGUF has neighbours (SLM_TRANSFORM_ROPE_PAIRS): by this file. */
enum slm_rope_style slm_model_rope_style(const struct slm_model *model);
/* NULL for an absent optional weight, else w itself. */
const struct slm_weight *slm_weight_or_null(const struct slm_weight *w);
#endif
