/* SPDX-License-Identifier: MIT
 * Private to the engine: what an engine and a session are. The public side is slm.h. */
#ifndef SLM_ENGINE_SESSION_H
#define SLM_ENGINE_SESSION_H
#include "engine/kv.h"
#include "engine/sampler.h"
#include "engine/speculate.h"
#include "model/model.h"

/* Most rows of a step whose logits go to several places, and so lie in the engine first. */
#define SLM_ENGINE_OUT_ROWS 64u

/* What sessions that are computed together share. */
struct slm_engine {
    const struct slm_model *model; /* borrowed; must outlive the engine */
    struct slm_kv_pool pool;
    struct slm_backend *backend;
    struct slm_sampler_scratch *samplers; /* [n_samplers] one for each thread that draws */
    unsigned n_samplers;
    size_t n_ctx, n_batch, n_sessions;
    struct slm_session_options options; /* resolved: what a draft model's session is opened with */
    bool packs;        /* its products are of packed weights */
    size_t max_piece;  /* bytes of the longest token, for text buffers */
    /* One pass, filled row by row: */
    size_t n_tok, n_out, max_out;
    int32_t *ids;                   /* [n_batch] */
    uint32_t *positions, *out_rows; /* [n_batch] */
    const struct slm_kv_view **kv;  /* [n_batch] */
    float **targets;                /* [n_batch] where the logits of an output row go: [n_vocab] */
    float *out;                     /* [max_out, n_vocab] logits on their way; NULL: the engine of one session */
    size_t out_bytes;
};

struct slm_session {
    const struct slm_model *model; /* borrowed; must outlive the session */
    struct slm_engine *engine;
    bool owns_engine;
    struct slm_kv_seq seq;
    int32_t *tokens;   /* [n_ctx] the timeline, n_past long; behind it the guesses that were computed */
    size_t n_past, n_ctx;
    size_t n_ahead;    /* guesses behind the timeline: their KV is in the cache, their logits in `rows` */
    float *rows;       /* [1 + SLM_MAX_GUESS, n_vocab]: row `row` is of the timeline's last token, guesses follow */
    size_t rows_bytes, row;
    bool has_logits;
    bool in_step;      /* while a step is made: this session has rows in it, */
    size_t n_guess;    /* and as many guesses among them */
    struct slm_speculation_counts counts; /* since open */
    struct slm_speculator speculator;
};

/* Logits of the last token; whether they are any, has_logits says. */
static inline float *slm_session_row(const struct slm_session *s, size_t i)
{
    return s->rows + (s->row + i) * s->model->hparams.n_vocab;
}
/* Forgets the guesses behind the timeline and returns their pages. */
void slm_session_drop_guesses(struct slm_session *session);

/* Options with the defaults filled in and checked; and how keys and values lie in pages of this type. */
struct slm_session_settings {
    size_t n_ctx, n_batch, n_kv;
    unsigned n_threads;
    enum slm_dtype kv_type;
    bool packed; /* quantized weights in panels, int8 activations */
};
slm_status slm_session_resolve(const struct slm_model *model, const struct slm_session_options *options,
                               struct slm_session_settings *out, struct slm_error *error);
slm_status slm_session_layout(const struct slm_model *model, const struct slm_session_settings *settings,
                              struct slm_kv_layout *layout, struct slm_error *error);

/* Bytes a session of its own would take beside the model: KV cache and scratch. Options as in slm_session_open. */
slm_status slm_session_predict(const struct slm_model *model, const struct slm_session_options *options,
                               uint64_t *kv_bytes, uint64_t *scratch_bytes, struct slm_error *error);
/* Golden tests: sees every named value of each step from now on. Must be set right after open. */
slm_status slm_session_open_tapped(const struct slm_model *model, const struct slm_session_options *options,
                                   slm_tap_fn tap, void *tap_user, struct slm_session **out, struct slm_error *error);

/* Between steps, for what many sequences need at the same moment: fn(arg, i, rank) for each i below n, on the engine's
 * threads. rank < n_samplers; no two calls have the same at a time. */
void slm_engine_share(struct slm_engine *engine, size_t n, void (*fn)(void *arg, size_t i, unsigned rank), void *arg);
/* slm_sample_masked with the scratch of a rank. */
slm_status slm_session_draw(struct slm_session *session, unsigned rank, const struct slm_sampler_params *params,
                            const uint64_t *mask, int32_t *id, struct slm_error *error);
/* Threads that draw, of so many; and what their scratch takes. */
unsigned slm_engine_n_samplers(unsigned n_threads);
/* Packs the weights now, not in the second pass over them. SLM_ERR_CANCELLED: slm_prepared_stop was called. */
slm_status slm_engine_pack(struct slm_engine *engine, struct slm_error *error);

/* engine.c. One session: the engine of a session that is on its own. */
struct slm_engine_setup {
    const struct slm_session_options *options;
    size_t n_kv; /* 0 = n_ctx */
    bool one_session;
    slm_tap_fn tap;
    void *tap_user;
};
slm_status slm_engine_open_as(const struct slm_model *model, const struct slm_engine_setup *setup,
                              struct slm_engine **out, struct slm_error *error);
#endif
