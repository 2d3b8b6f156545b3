/* SPDX-License-Identifier: MIT
 * What a model's files say about turning its hidden states into one vector for a text. Private to the engine. */
#ifndef SLM_ENGINE_EMBED_RULES_H
#define SLM_ENGINE_EMBED_RULES_H
#include "model/model.h"

enum { SLM_MAX_DENSE = 4 };

/* y = act(w x + bias): a layer behind the pooling. */
struct slm_dense {
    struct slm_weight w;     /* [n_out, n_in]; its data lies in the model or in `file` */
    struct slm_gguf *file;   /* owned; NULL when the layer came with the model */
    float *bias;             /* [n_out] owned; NULL = none */
    bool tanh;               /* act: tanh, or nothing */
};

struct slm_embed_rules {
    enum slm_pooling pooling;
    struct slm_dense dense[SLM_MAX_DENSE]; /* of RANK: its head */
    size_t n_dense;
    char *prompt;  /* owned; NULL = nothing is put in front of a text */
    size_t n_keep; /* tokens that are kept of a text, those around it included; 0 = all */
};

/* Tensors of a GGUF file that are such layers, in their order: plain ones. */
enum { SLM_N_DENSE_NAMES = 2 };
extern const char *const slm_dense_names[SLM_N_DENSE_NAMES];
/* The last layer of a head that ranks, in GGUF files and in folders. */
#define SLM_RANK_OUTPUT "cls.output.weight"
#define SLM_RANK_OUTPUT_HF "score.weight"

/* prompt_name may be NULL. On failure too, the caller releases what is there. */
slm_status slm_embed_rules_read(const struct slm_model *model, const char *prompt_name, struct slm_embed_rules *out,
                                struct slm_error *error);
void slm_embed_rules_release(struct slm_embed_rules *rules);
#endif
