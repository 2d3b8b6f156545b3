/* SPDX-License-Identifier: MIT
 * Files of a released model's shape with random weights, to measure speed where the model is not. Names, sizes and
 * types of all tensors are the real ones, and so is the size of the vocabulary. Nothing can be learned from what such a
 * model says. */
#ifndef SLM_TUNE_SHAPE_H
#define SLM_TUNE_SHAPE_H
#include "model/model.h"

/* Writes the GGUF file `path` for spec "NAME" or "NAME:TYPE" ("qwen3-0.6b:q4_k_m"; q4_0 when no type is named). TYPE is
 * a block format, or a mix by its customary name: embedding and head then are of the types such files have. Same spec,
 * same bytes. An unknown name is SLM_ERR_ARGUMENT with those that are known. */
slm_status slm_shape_write(const char *spec, const char *path, struct slm_error *error);

/* The keys of a vocabulary of n_vocab > 256 tokens, the last of which ends a text. */
slm_status slm_shape_write_vocab(struct slm_gguf_writer *w, size_t n_vocab, struct slm_error *error);

/* The i-th known shape as a model with hyper-parameters, a plan and weights that are nowhere: it can be asked and
 * predicted, never computed with. *out is NULL behind the last. Returns owned *out (slm_model_close). */
slm_status slm_shape_outline(size_t i, struct slm_model **out, struct slm_error *error);
#endif
