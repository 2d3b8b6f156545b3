/* SPDX-License-Identifier: MIT
 * What a model family is: tables that say where hyper-parameters and tensors are found in a file, and a build function
 * that records the plan. One const struct a family, in one file of families/. Rows carry the GGUF and the Hugging Face
 * name side by side, so that opening, converting and exporting need no code of their own per model. */
#ifndef SLM_MODEL_FAMILY_H
#define SLM_MODEL_FAMILY_H
#include "model/model.h"

enum slm_hparam_type { SLM_HPARAM_U32, SLM_HPARAM_F64 };
#define SLM_HPARAM_REQUIRED 1u
#define SLM_HPARAM_ELSEWHERE 2u /* without a GGUF key, because such files say it in another way */

/* The GGUF key is ARCHITECTURE.key; a NULL key is not stored in that kind of file. A missing optional value is set to
 * fallback. */
struct slm_hparam_row {
    const char *gguf_key, *hf_key;
    enum slm_hparam_type type;
    size_t field; /* offsetof(struct slm_hparams, ..) */
    double fallback, min, max;
    unsigned flags;
};

/* Symbolic sizes, so that a row states its shape as the paper does. */
enum slm_dim {
    SLM_DIM_ZERO,
    SLM_DIM_ONE,
    SLM_DIM_EMBD,
    SLM_DIM_VOCAB,
    SLM_DIM_FF,
    SLM_DIM_Q,        /* n_head * head_dim */
    SLM_DIM_KV,       /* n_head_kv * head_dim */
    SLM_DIM_Q_KV,     /* sums, for matrices that are stored as one: q over k .. */
    SLM_DIM_Q_KV_KV,  /* .. over v */
    SLM_DIM_FF_FF,    /* gate over up */
    SLM_DIM_HEAD,     /* head_dim */
    SLM_DIM_ROT_HALF, /* n_rot / 2 */
};

#define SLM_TENSOR_OPTIONAL 1u
#define SLM_TENSOR_LAYER 2u  /* one a layer: '#' in the names is its number; field is in struct slm_layer */
#define SLM_TENSOR_VECTOR 4u /* kept as f32: norms, biases, factors */
#define SLM_TENSOR_TERNARY 8u /* trained with three values: see ternary.c */

/* How Hugging Face stores what GGUF stores otherwise. ROPE_PAIRS is not undone when a folder is opened: the plan
 * rotates in the order the rows are in (slm_model_rope_style); converting reorders them. */
enum slm_transform {
    SLM_TRANSFORM_NONE,
    SLM_TRANSFORM_ADD_ONE,    /* a norm stored as its difference from one; undone when a folder is opened */
    SLM_TRANSFORM_ROPE_PAIRS, /* rows of each head reordered from halves (i, i + n/2) to neighbours (2i, 2i + 1) */
};

struct slm_tensor_row {
    const char *gguf_name, *hf_name; /* hf_name NULL: not stored there */
    size_t field;
    enum slm_dim n_in, n_out; /* n_out ONE for vectors */
    enum slm_transform transform;
    unsigned flags;
    enum slm_dim stored, first; /* rows [first, first + n_out) of a matrix of `stored` rows; ZERO: all of it */
};

/* What a family adds when its model is written as a GGUF file. */
struct slm_export {
    struct slm_gguf_writer *writer; /* keys may be written */
    /* The weight of every layer at this offset of struct slm_layer is multiplied by gain (1: by nothing), where GGUF
     * leaves a factor to the reader that this model does not have. */
    size_t gain_field;
    double gain;
    const char *note; /* what other readers of the file will do differently; NULL = nothing */
};

/* What a symbolic dimension is for this model. */
uint64_t slm_dim_size(const struct slm_hparams *hparams, enum slm_dim dim);
/* "blk.#.attn_q.weight", 3 -> "blk.3.attn_q.weight" */
void slm_tensor_name(char *out, size_t cap, const char *pattern, uint32_t layer);

/* The tensor a row of a model's table is bound to, NULL when the file has none. */
const struct slm_gguf_tensor *slm_model_find_tensor(const struct slm_model *model, const struct slm_tensor_row *row,
                                                    uint32_t layer);

/* The size of a released model, for who needs a model of that shape but not its weights. Hyper-parameters that are 0
 * have their row's fallback. */
struct slm_shape {
    const char *name; /* "qwen3-0.6b" */
    struct slm_hparams hparams;
    bool untied;      /* the head is a matrix of its own */
};

/* A way to chat that the vocabulary gives away: all of these tokens are in it. */
struct slm_chat_row {
    const char *tokens[2]; /* the second may be NULL */
    const char *chat_template;
};

struct slm_family {
    const char *architecture;           /* general.architecture in GGUF */
    const char *const *more_architectures; /* other names of it, NULL-terminated; may be NULL */
    const char *const *hf_architectures; /* "architectures" in config.json, NULL-terminated */
    const struct slm_hparam_row *hparams, *more_hparams; /* shared rows, and those of this family; more may be NULL */
    size_t n_hparams, n_more_hparams;
    const struct slm_tensor_row *tensors; /* the first row is the token embedding */
    size_t n_tensors;
    /* Fills what is derived and checks what no single row can. where is the file's name. */
    slm_status (*derive)(struct slm_hparams *hparams, const char *where, struct slm_error *error);
    /* May be NULL: reads what no row can (rope scaling formulas, lists) once hyper-parameters and tensors are there. */
    slm_status (*complete)(struct slm_model *model, struct slm_error *error);
    /* May be NULL: writes the keys that no row can, and refuses what GGUF cannot hold. */
    slm_status (*export)(const struct slm_model *model, struct slm_export *out, struct slm_error *error);
    /* A model of so many layers, whose query heads share key heads, counts as large where types are mixed: its attn_v
     * may cost more. 0: none does. */
    uint32_t n_layer_large;
    /* config.json's key for the activation of the feed-forward, and the one that is computed. NULL: not asked for. */
    const char *hf_activation_key, *hf_activation;
    /* The rotation formula that `complete` knows, as rope_type names it (NULL-terminated, may be NULL); the plain ones
     * need no family. Every other is refused. */
    const char *const *rope_types;
    /* Records the plan of one step. Errors are sticky in the plan. Returns the logits. */
    slm_val (*build)(struct slm_plan *plan, const struct slm_model *model);
    /* For files that bring no template. Families whose models chat in several ways have rows instead, of which the
     * first that fits counts (may be NULL). Neither: plain continuation. */
    const char *chat_template;
    const struct slm_chat_row *chat_rows;
    size_t n_chat_rows;
    /* The models with a "llama" vocabulary learned special tokens to which the white space behind them belongs. Their
     * GGUF files do not say so. */
    bool specials_swallow_space;
    bool has_dense; /* every reader of its GGUF files knows layers behind the pooling: dense_2.weight, dense_3.weight */

    const struct slm_shape *shapes; /* [n_shapes] as their config.json states them */
    size_t n_shapes;
};

/* Writes all hyper-parameters of a model opened from a folder. */
slm_status slm_model_export(const struct slm_model *model, struct slm_export *out, struct slm_error *error);
/* "ARCHITECTURE.name" in key, which is returned. */
enum { SLM_MODEL_KEY_BYTES = 160 };
const char *slm_model_key(const struct slm_model *model, const char *name, char key[SLM_MODEL_KEY_BYTES]);
#endif
