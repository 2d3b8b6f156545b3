/* SPDX-License-Identifier: MIT
 * Private to the engine: what a session is. The public side is slm.h. */
#ifndef SLM_ENGINE_SESSION_H
#define SLM_ENGINE_SESSION_H
#include "engine/kv.h"
#include "engine/sampler.h"
#include "model/model.h"

struct slm_session {
    const struct slm_model *model; /* borrowed; must outlive the session */
    struct slm_kv_pool pool;
    struct slm_kv_seq seq;
    struct slm_backend *backend;
    struct slm_sampler_scratch sampler;
    int32_t *tokens;   /* [n_ctx] the timeline */
    size_t n_past, n_ctx, n_batch;
    float *logits;     /* [n_vocab] of the last token */
    bool has_logits;
    size_t max_piece;  /* bytes of the longest token, for text buffers */
    /* One step, filled per chunk: */
    uint32_t *positions;            /* [n_batch] */
    uint32_t *out_rows;             /* [n_batch] */
    const struct slm_kv_view **kv;  /* [n_batch] */
};

/* Options with the defaults filled in and checked; and how keys and values lie in pages of this type. */
struct slm_session_settings {
    size_t n_ctx, n_batch;
    unsigned n_threads;
    enum slm_dtype kv_type;
    bool packed; /* quantized weights in panels, int8 activations */
};
slm_status slm_session_resolve(const struct slm_model *model, const struct slm_session_options *options,
                               struct slm_session_settings *out, struct slm_error *error);
slm_status slm_session_layout(const struct slm_model *model, const struct slm_session_settings *settings,
                              struct slm_kv_layout *layout, struct slm_error *error);

/* Bytes a session would take beside the model: KV cache and scratch. Options as in slm_session_open. */
slm_status slm_session_predict(const struct slm_model *model, const struct slm_session_options *options,
                               uint64_t *kv_bytes, uint64_t *scratch_bytes, struct slm_error *error);
/* Golden tests: sees every named value of each step from now on. Must be set right after open. */
slm_status slm_session_open_tapped(const struct slm_model *model, const struct slm_session_options *options,
                                   slm_tap_fn tap, void *tap_user, struct slm_session **out, struct slm_error *error);
#endif
