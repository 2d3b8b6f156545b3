/* SPDX-License-Identifier: MIT
 * Opening a model for what reads its weights and computes nothing: converting. Public opening is in slm.h. */
#ifndef SLM_ENGINE_MODEL_OPEN_H
#define SLM_ENGINE_MODEL_OPEN_H
#include "model/model.h"

/* As slm_model_open, but nothing of the size of the model is made in memory: see as_stored in struct slm_model. No
 * session can be opened on it. */
slm_status slm_model_open_stored(const char *path, struct slm_model **out, struct slm_error *error);
#endif
