/* SPDX-License-Identifier: MIT
 * Private to the engine: the weights all sessions of a model share, in the form the backend computes with. */
#ifndef SLM_ENGINE_WEIGHTS_H
#define SLM_ENGINE_WEIGHTS_H
#include "backend/backend.h"
#include "model/model.h"

slm_status slm_prepared_open(struct slm_prepared **out, struct slm_error *error);
void slm_prepared_close(struct slm_prepared *prepared);
/* Packs them with n_threads threads unless that is done; any thread. On failure the next call tries again. */
slm_status slm_prepared_get(const struct slm_model *model, unsigned n_threads, const struct slm_cpu_weights **out,
                            struct slm_error *error);
/* Ends packing: for a model that is about to be closed. From any thread. */
void slm_prepared_stop(const struct slm_model *model);
bool slm_prepared_ready(const struct slm_model *model); /* nothing is left to pack */
#endif
