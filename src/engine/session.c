/* SPDX-License-Identifier: MIT
 * Sessions: one timeline of tokens over one KV sequence, computed by an engine (engine.c) that others may share. All
 * memory is taken at open; evaluating and sampling allocate nothing.
 *
 * A call either succeeds or leaves the timeline as it was: everything that can be refused (ids, room in the context)
 * is refused before the first token is computed, and computing itself cannot fail.
 *
 * Only the logits of the last token of a call are computed, unless all are asked for: the head is the largest matrix
 * of a small model, and a prompt needs it once. Behind the timeline there may be guesses at what follows, computed with
 * the last tokens: a token that comes true is appended without being computed again. Deliberately not here: text
 * (generate.c), files (session_file.c), where guesses come from (speculate.c). */
#include "engine/session.h"

#include "base/checked.h"
#include "base/os.h"

enum { DEFAULT_CTX = 4096, DEFAULT_BATCH = 256, MAX_THREADS = 1024, MAX_BATCH = 1 << 16, MAX_CTX = 1 << 27 };

/* Options are signed so that a negative one can be named instead of becoming huge. */
static slm_status in_range(const char *name, int64_t value, int64_t max, struct slm_error *error)
{
    if (value >= 0 && value <= max) return SLM_OK;
    return slm_fail(error, SLM_ERR_ARGUMENT, "session", "%s is %lld, allowed are 0 (default) to %lld", name,
                    (long long)value, (long long)max);
}

/* The context defaults to what the model was trained for, but no more than a small machine can spare. */
slm_status slm_session_resolve(const struct slm_model *model, const struct slm_session_options *options,
                               struct slm_session_settings *out, struct slm_error *error)
{
    const struct slm_session_options zero = {0}, *o = options ? options : &zero;
    SLM_TRY(in_range("n_ctx", o->n_ctx, MAX_CTX, error));
    SLM_TRY(in_range("n_threads", o->n_threads, MAX_THREADS, error));
    SLM_TRY(in_range("n_batch", o->n_batch, MAX_BATCH, error));
    SLM_TRY(in_range("kv_type", (int64_t)o->kv_type, SLM_KV_INT8, error));
    SLM_TRY(in_range("activations", (int64_t)o->activations, SLM_ACTIVATIONS_F32, error));
    if (!model->plan)
        return slm_fail(error, SLM_ERR_ARGUMENT, "session", "the model was opened for its vocabulary only");
    const size_t trained = model->hparams.n_ctx_train;
    out->n_ctx = o->n_ctx ? (size_t)o->n_ctx : trained < DEFAULT_CTX ? trained : DEFAULT_CTX;
    out->n_threads = o->n_threads ? (unsigned)o->n_threads : slm_os()->n_cpus();
    out->n_batch = o->n_batch ? (size_t)o->n_batch : DEFAULT_BATCH;
    if (out->n_batch > out->n_ctx) out->n_batch = out->n_ctx;
    out->n_kv = out->n_ctx;
    /* Kernels read whole blocks of 32, and writers keep a head on the stack. */
    out->kv_type = o->kv_type == SLM_KV_F32    ? SLM_DTYPE_F32
                   : o->kv_type == SLM_KV_INT8 ? SLM_DTYPE_Q8_0
                                               : SLM_DTYPE_F16;
    if (out->kv_type == SLM_DTYPE_Q8_0 &&
        (model->hparams.head_dim % 32 != 0 || model->hparams.head_dim > SLM_KV_INT8_DIM))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "session",
                        "a KV cache in int8 needs heads of a multiple of 32 elements, %u at most; this model's have "
                        "%u: f16 and f32 are possible", SLM_KV_INT8_DIM, model->hparams.head_dim);
    out->packed = o->activations != SLM_ACTIVATIONS_F32;
    return SLM_OK;
}

/* How this model's keys and values lie in pages of this type. */
slm_status slm_session_layout(const struct slm_model *model, const struct slm_session_settings *s,
                              struct slm_kv_layout *layout, struct slm_error *error)
{
    const struct slm_hparams *hp = &model->hparams;
    if (slm_kv_layout_init(layout, hp->n_layer, hp->n_head_kv, hp->head_dim, s->kv_type)) return SLM_OK;
    return slm_fail(error, SLM_ERR_LIMIT, "session", "the KV cache of this model is larger than memory can address");
}

slm_status slm_session_predict(const struct slm_model *model, const struct slm_session_options *options,
                               uint64_t *kv_bytes, uint64_t *scratch_bytes, struct slm_error *error)
{
    struct slm_session_settings s = {0};
    struct slm_kv_layout layout;
    SLM_TRY(slm_session_resolve(model, options, &s, error));
    SLM_TRY(slm_session_layout(model, &s, &layout, error));
    if (!slm_mul_u64(slm_kv_pages_for(s.n_kv), layout.page_bytes, kv_bytes))
        return slm_fail(error, SLM_ERR_LIMIT, "session", "a KV cache of %zu tokens overflows", s.n_ctx);
    const struct slm_backend_options backend = {.n_threads = s.n_threads, .max_tokens = s.n_batch};
    *scratch_bytes = slm_cpu_scratch_bytes(model->plan, &backend) + model->hparams.n_vocab * sizeof(float);
    return SLM_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

slm_status slm_engine_session(struct slm_engine *engine, struct slm_session **out, struct slm_error *error)
{
    struct slm_session *session = slm_alloc(1, sizeof *session, "session", error);
    if (!session) return SLM_ERR_MEMORY;
    session->model = engine->model;
    session->engine = engine;
    session->n_ctx = engine->n_ctx;
    engine->n_sessions++;
    session->tokens = slm_alloc(session->n_ctx, sizeof *session->tokens, "session", error);
    slm_status status = session->tokens ? SLM_OK : SLM_ERR_MEMORY;
    if (status == SLM_OK) status = slm_kv_seq_open(&session->seq, session->n_ctx, error);
    if (status == SLM_OK) {
        /* Untouched pages cost nothing: those of the guesses, where nobody guesses. */
        session->rows_bytes = (1 + SLM_MAX_GUESS) * session->model->hparams.n_vocab * sizeof *session->rows;
        session->rows = slm_os()->alloc_pages(session->rows_bytes);
        if (!session->rows) status = slm_fail_memory(error, "session", session->rows_bytes);
    }
    if (status == SLM_OK) status = slm_speculator_open(session, NULL, NULL, error);
    if (status != SLM_OK) {
        slm_session_close(session);
        return status;
    }
    *out = session;
    return SLM_OK;
}

slm_status slm_session_open_tapped(const struct slm_model *model, const struct slm_session_options *options,
                                   slm_tap_fn tap, void *tap_user, struct slm_session **out, struct slm_error *error)
{
    struct slm_engine *engine;
    const struct slm_engine_setup setup = {.options = options, .one_session = true, .tap = tap, .tap_user = tap_user};
    SLM_TRY(slm_engine_open_as(model, &setup, &engine, error));
    const slm_status status = slm_engine_session(engine, out, error);
    if (status == SLM_OK) (*out)->owns_engine = true;
    else slm_engine_close(engine);
    return status;
}

slm_status slm_session_open(const struct slm_model *model, const struct slm_session_options *options,
                            struct slm_session **out, struct slm_error *error)
{
    return slm_session_open_tapped(model, options, NULL, NULL, out, error);
}

/* Also of one that was opened halfway. */
void slm_session_close(struct slm_session *session)
{
    if (!session) return;
    struct slm_engine *engine = session->engine;
    slm_speculator_close(&session->speculator);
    slm_kv_seq_close(&engine->pool, &session->seq);
    slm_os()->release_pages(session->rows, session->rows_bytes);
    slm_release(session->tokens);
    engine->n_sessions--;
    if (session->owns_engine) slm_engine_close(engine);
    slm_release(session);
}

/* ---- evaluating -------------------------------------------------------------------------------------------- */

slm_status slm_session_eval(struct slm_session *session, const int32_t *ids, size_t n, struct slm_error *error)
{
    return slm_engine_step(session->engine, &(struct slm_step_part){.session = session, .ids = ids, .n = n}, 1, error);
}

slm_status slm_session_eval_all(struct slm_session *session, const int32_t *ids, size_t n, float *all_logits,
                                struct slm_error *error)
{
    struct slm_step_part part = {.session = session, .ids = ids, .n = n, .all_logits = all_logits};
    return slm_engine_step(session->engine, &part, 1, error);
}

/* ---- reading and sampling ---------------------------------------------------------------------------------- */

const float *slm_session_logits(const struct slm_session *session)
{
    return session->has_logits ? slm_session_row(session, 0) : NULL;
}
size_t slm_session_n_past(const struct slm_session *session) { return session->n_past; }
size_t slm_session_n_ctx(const struct slm_session *session) { return session->n_ctx; }
const int32_t *slm_session_tokens(const struct slm_session *session) { return session->tokens; }

void slm_session_drop_guesses(struct slm_session *session)
{
    session->n_ahead = 0;
    slm_kv_seq_resize(&session->engine->pool, &session->seq, session->n_past); /* smaller: never fails */
}

slm_status slm_session_truncate(struct slm_session *session, size_t n, struct slm_error *error)
{
    if (n > session->n_past)
        return slm_fail(error, SLM_ERR_ARGUMENT, "session", "cannot keep %zu of %zu tokens", n, session->n_past);
    if (n < session->n_past) session->has_logits = false; /* those were of a token that is gone */
    session->n_past = n;
    slm_session_drop_guesses(session);
    return SLM_OK;
}

slm_status slm_session_copy(struct slm_session *to, const struct slm_session *from, size_t n, struct slm_error *error)
{
    if (to->engine != from->engine || to == from)
        return slm_fail(error, SLM_ERR_ARGUMENT, "session", "a session is copied to another of the same engine");
    if (n > from->n_past)
        return slm_fail(error, SLM_ERR_ARGUMENT, "session", "cannot copy %zu of %zu tokens", n, from->n_past);
    slm_kv_seq_share(&to->engine->pool, &to->seq, &from->seq, n);
    memcpy(to->tokens, from->tokens, n * sizeof *to->tokens);
    to->n_past = n;
    to->n_ahead = to->row = 0;
    to->has_logits = from->has_logits && n == from->n_past;
    if (to->has_logits) memcpy(to->rows, slm_session_row(from, 0), to->model->hparams.n_vocab * sizeof *to->rows);
    return SLM_OK;
}

slm_status slm_sample(struct slm_session *session, const struct slm_sampler_params *params, int32_t *id,
                      struct slm_error *error)
{
    return slm_sample_masked(session, params, NULL, id, error);
}

/* The draw depends on the position alone: guessed tokens are drawn as they would have been without guessing. */
slm_status slm_sample_masked(struct slm_session *session, const struct slm_sampler_params *params,
                             const uint64_t *mask, int32_t *id, struct slm_error *error)
{
    return slm_session_draw(session, 0, params, mask, id, error);
}

slm_status slm_session_draw(struct slm_session *session, unsigned rank, const struct slm_sampler_params *params,
                            const uint64_t *mask, int32_t *id, struct slm_error *error)
{
    if (!session->has_logits)
        return slm_fail(error, SLM_ERR_ARGUMENT, "sample", "no logits: evaluate at least one token first");
    /* A function of the session's own row and tokens: draws of many sessions may be made at the same time. */
    struct slm_sampler_scratch *scratch = &session->engine->samplers[rank];
    return slm_sampler_pick(scratch, slm_session_row(session, 0), session->model->hparams.n_vocab, session->tokens,
                            session->n_past, session->n_past, params, mask, id, error);
}
