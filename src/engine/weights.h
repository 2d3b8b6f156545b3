/* SPDX-License-Identifier: MIT
 * Private to the engine: the weights all sessions of a model share, in the form the backend computes with. */
#ifndef SLM_ENGINE_WEIGHTS_H
#define SLM_ENGINE_WEIGHTS_H
#include "backend/backend.h"
#include "model/model.h"

slm_status slm_prepared_open(struct slm_prepared **out, struct slm_error *error);
void slm_prepared_close(struct slm_prepared *prepared);
/* Those of the model, which need not be packed yet; any thread. On failure the next call tries again. */
slm_status slm_prepared_get(const struct slm_model *model, const struct slm_cpu_weights **out, struct slm_error *error);
/* Packs what _get gave unless that is done, with a backend's threads; from the thread that uses the backend. */
slm_status slm_prepared_pack(const struct slm_model *model, struct slm_backend *threads, struct slm_error *error);
/* Before every pass over weights that _get gave: the first of a model leaves them as they are, so that its result comes
 * soon; the next one packs them. */
void slm_prepared_use(const struct slm_model *model, struct slm_backend *threads);
/* Ends packing: for a model that is about to be closed. From any thread. */
void slm_prepared_stop(const struct slm_model *model);
bool slm_prepared_ready(const struct slm_model *model); /* nothing is left to pack */
#endif
