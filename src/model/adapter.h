/* SPDX-License-Identifier: MIT
 * LoRA adapters of a model: opened before binding, turned into low-rank additions to its weights by it. */
#ifndef SLM_MODEL_ADAPTER_H
#define SLM_MODEL_ADAPTER_H
#include "model/model.h"

#define SLM_MAX_ADAPTERS 32

/* One adapter file or folder, open; and what was asked of it. */
struct slm_adapter_part {
    struct slm_gguf *gguf;
    double scale;
};

/* Opens what the options name into model->adapters. On failure the caller frees the model. */
slm_status slm_adapters_open(struct slm_model *model, const struct slm_adapter *adapters, size_t n,
                             struct slm_error *error);
/* Gives every weight that an adapter names its addition (slm_weight.low_rank), copied into the model's arena, and
 * closes the files. Called when all weights are bound, before the plan is recorded. */
slm_status slm_adapters_bind(struct slm_model *model, struct slm_error *error);
void slm_adapters_close(struct slm_model *model);
#endif
