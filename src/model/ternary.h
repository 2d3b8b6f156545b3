/* SPDX-License-Identifier: MIT
 * Ternary matrices: owns the one form they have in memory for the many they have in files, so that binding and backends
 * need to know none of these. Does not read files (format/) and does not say which weights are ternary (families/). */
#ifndef SLM_MODEL_TERNARY_H
#define SLM_MODEL_TERNARY_H
#include "model/model.h"

/* Does this model compute with three values? GGUF files of such families always do; a folder says so in
 * quantization_config, and without it transformers computes with the floats as they are. */
bool slm_ternary_trained(const struct slm_model *model);
/* Fills data, dtype, row_bytes and ternary_scale of out, whose name and dims are set, from a matrix of any type. */
slm_status slm_ternary_bind(struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out,
                            struct slm_error *error);
#endif
