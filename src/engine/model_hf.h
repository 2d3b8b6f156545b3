/* SPDX-License-Identifier: MIT
 * What a Hugging Face folder holds beside configuration and weights: tokenizer and chat template. */
#ifndef SLM_ENGINE_MODEL_HF_H
#define SLM_ENGINE_MODEL_HF_H
#include "model/model.h"

/* Fills tokenizer and chat_template of a model whose configuration is open. Either stays NULL when the folder has
 * none. */
slm_status slm_model_read_hf_texts(struct slm_model *model, const char *folder, struct slm_error *error);
#endif
