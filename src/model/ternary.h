/* SPDX-License-Identifier: MIT
 * Ternary matrices: owns the one form they have in memory for the many they have in files, so that binding and backends
 * need to know none of these. Does not read files (format/) and does not say which weights are ternary (families/). */
#ifndef SLM_MODEL_TERNARY_H
#define SLM_MODEL_TERNARY_H
#include "model/model.h"

/* Does this model compute with three values? GGUF files of such families always do; a folder says so in
 * quantization_config, and without it transformers computes with the floats as they are. */
bool slm_ternary_trained(const struct slm_model *model);
/* How elements of a file become -1, 0 and 1: by their signs, or (inverse not 0) multiplied with inverse and rounded.
 * scale is what these stand for. */
struct slm_ternary_rule { float inverse, scale; };
/* Reads the whole matrix, whose weight has its name, to find its rule. What is not ternary is refused. */
slm_status slm_ternary_find_rule(const struct slm_model *model, const struct slm_gguf_tensor *t,
                                 const struct slm_weight *w, struct slm_ternary_rule *rule, struct slm_error *error);
/* n elements of the file become -1, 0 and 1 in place. */
void slm_ternary_sort(const struct slm_ternary_rule *rule, float *x, size_t n);
/* Fills data, dtype, row_bytes and ternary_scale of out, whose name and dims are set, from a matrix of any type. In a
 * model opened as stored out points into the file, nothing is read, and nobody can compute with it. */
slm_status slm_ternary_bind(struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out,
                            struct slm_error *error);
#endif
