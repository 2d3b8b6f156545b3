/* SPDX-License-Identifier: MIT
 * Sessions: one timeline of tokens over one KV sequence. All memory is taken at open; evaluating and sampling
 * allocate nothing. A prompt is fed in chunks of n_batch; the numbers do not depend on the chunking (kernel.h says
 * why).
 *
 * A call either succeeds or leaves the timeline as it was: everything that can be refused (ids, room in the context)
 * is refused before the first token is computed, and computing itself cannot fail.
 *
 * Only the logits of the last token of a call are computed, unless all are asked for: the head is the largest matrix
 * of a small model, and a prompt needs it once. Deliberately not here: text (generate.c), files (session_file.c),
 * many sequences in one step (comes with serving). */
#include "engine/session.h"

#include "base/checked.h"
#include "base/os.h"
#include "engine/weights.h"

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

/* Pages that hold n_ctx tokens; the last may be part empty. */
static size_t n_pages_of(const struct slm_session_settings *s)
{
    return (s->n_ctx + SLM_KV_PAGE_TOKENS - 1) / SLM_KV_PAGE_TOKENS;
}

slm_status slm_session_predict(const struct slm_model *model, const struct slm_session_options *options,
                               uint64_t *kv_bytes, uint64_t *scratch_bytes, struct slm_error *error)
{
    struct slm_session_settings s = {0};
    struct slm_kv_layout layout;
    SLM_TRY(slm_session_resolve(model, options, &s, error));
    SLM_TRY(slm_session_layout(model, &s, &layout, error));
    if (!slm_mul_u64(n_pages_of(&s), layout.page_bytes, kv_bytes))
        return slm_fail(error, SLM_ERR_LIMIT, "session", "a KV cache of %zu tokens overflows", s.n_ctx);
    const struct slm_backend_options backend = {.n_threads = s.n_threads, .max_tokens = s.n_batch};
    *scratch_bytes = slm_cpu_scratch_bytes(model->plan, &backend) + model->hparams.n_vocab * sizeof(float);
    return SLM_OK;
}

/* Refused with figures before anything is taken, instead of killed by the system when the cache fills. Weights that
 * stay in the file are not counted: their pages belong to it and can be dropped. */
static slm_status check_memory(const struct slm_model *model, const struct slm_session_options *options,
                               const struct slm_session_settings *s, struct slm_error *error)
{
    uint64_t kv, scratch;
    SLM_TRY(slm_session_predict(model, options, &kv, &scratch, error));
    const uint64_t available = slm_os()->memory_available();
    const uint64_t weights = s->packed && !slm_prepared_ready(model) ? slm_cpu_weights_bytes(model->plan) : 0;
    if (available == 0) return SLM_OK; /* the system does not tell */
    if (weights > available)
        return slm_fail(error, SLM_ERR_MEMORY, "session",
                        "the weights need %.0f MiB, %.0f MiB are available: use a smaller model or f32 activations, "
                        "which leave the weights in the file", (double)weights / 0x1p20, (double)available / 0x1p20);
    if (kv <= available - weights && scratch <= available - weights - kv) return SLM_OK;
    return slm_fail(
        error, SLM_ERR_MEMORY, "session",
        "a context of %zu tokens needs %.0f MiB for its KV cache and %.0f MiB to compute in, %.0f MiB are "
        "available: ask for a smaller context",
        s->n_ctx, (double)kv / 0x1p20, (double)scratch / 0x1p20, (double)(available - weights) / 0x1p20);
}

/* Sizes the text buffer of generation, so that its loop never has to grow one. */
static size_t longest_piece(const struct slm_tokenizer *tokenizer)
{
    size_t most = 0;
    for (size_t id = 0; tokenizer && id < slm_tokenizer_n_vocab(tokenizer); id++) {
        const size_t len = slm_tokenizer_piece(tokenizer, (int32_t)id, true).len;
        if (len > most) most = len;
    }
    return most;
}

/* Models without a head have nothing to say next, and those that look ahead were not trained to. */
static slm_status check_generates(const struct slm_model *model, struct slm_error *error)
{
    if (!model->has_no_head && !model->hparams.bidirectional) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                    "this model %s: it makes embeddings (slm embed), it cannot generate",
                    model->has_no_head ? "has no head" : "attends to both sides");
}

/* All memory of the session but the cache and the backend's. On failure the caller closes the session. */
static slm_status allocate(struct slm_session *session, const struct slm_session_settings *s, struct slm_error *error)
{
    const size_t n_vocab = session->model->hparams.n_vocab;
    session->tokens = slm_alloc(s->n_ctx, sizeof *session->tokens, "session", error);
    session->logits = slm_alloc(n_vocab, sizeof *session->logits, "session", error);
    session->positions = slm_alloc(s->n_batch, sizeof *session->positions, "session", error);
    session->out_rows = slm_alloc(s->n_batch, sizeof *session->out_rows, "session", error);
    session->kv = slm_alloc(s->n_batch, sizeof *session->kv, "session", error);
    if (!session->tokens || !session->logits || !session->positions || !session->out_rows || !session->kv)
        return SLM_ERR_MEMORY;
/* All tokens of a step belong to this one sequence. */
    for (size_t i = 0; i < s->n_batch; i++) session->kv[i] = &session->seq.view;
    SLM_TRY(slm_kv_seq_open(&session->seq, s->n_ctx, error));
    return slm_sampler_scratch_init(&session->sampler, n_vocab, error);
}

slm_status slm_session_open_tapped(const struct slm_model *model, const struct slm_session_options *options,
                                   slm_tap_fn tap, void *tap_user, struct slm_session **out, struct slm_error *error)
{
    struct slm_session_settings s = {0};
    struct slm_kv_layout layout;
    SLM_TRY(slm_session_resolve(model, options, &s, error));
    SLM_TRY(slm_session_layout(model, &s, &layout, error));
    SLM_TRY(check_generates(model, error));
    SLM_TRY(check_memory(model, options, &s, error));
    const struct slm_cpu_weights *weights = NULL;
    /* Before anything of the session's own: this is where most of the time goes. */
    if (s.packed) SLM_TRY(slm_prepared_get(model, s.n_threads, &weights, error));
    struct slm_session *session = slm_alloc(1, sizeof *session, "session", error);
    if (!session) return SLM_ERR_MEMORY;
    session->model = model;
    session->n_ctx = s.n_ctx;
    session->n_batch = s.n_batch;
    session->max_piece = longest_piece(model->tokenizer);
    const struct slm_backend_options backend = {.weights = weights,
                                                .n_threads = s.n_threads,
                                                .max_tokens = s.n_batch,
                                                .n_ctx = s.n_ctx,
                                                .cpu_mask = model->cpu_mask,
                                                .tap = tap,
                                                .tap_user = tap_user};
    slm_status status = slm_kv_pool_open(&session->pool, &layout, n_pages_of(&s), error);
    if (status == SLM_OK) status = allocate(session, &s, error);
    if (status == SLM_OK)
        status = slm_cpu_open(model->plan, &session->pool.layout, &backend, &session->backend, error);
    if (status != SLM_OK) {
        slm_session_close(session);
        return status;
    }
    *out = session;
    return SLM_OK;
}

slm_status slm_session_open(const struct slm_model *model, const struct slm_session_options *options,
                            struct slm_session **out, struct slm_error *error)
{
    return slm_session_open_tapped(model, options, NULL, NULL, out, error);
}

void slm_session_close(struct slm_session *session)
{
    if (!session) return;
    slm_cpu_close(session->backend);
    slm_sampler_scratch_release(&session->sampler);
    slm_kv_seq_close(&session->pool, &session->seq);
    slm_kv_pool_close(&session->pool);
    slm_release(session->kv);
    slm_release(session->out_rows);
    slm_release(session->positions);
    slm_release(session->logits);
    slm_release(session->tokens);
    slm_release(session);
}

/* ---- evaluating -------------------------------------------------------------------------------------------- */

/* Everything that can be wrong with new tokens, before anything is touched. */
static slm_status check_ids(const struct slm_session *session, const int32_t *ids, size_t n, struct slm_error *error)
{
    if (n > session->n_ctx - session->n_past)
        return slm_fail(error, SLM_ERR_CONTEXT, "session", "%zu tokens do not fit: %zu of the context's %zu are used",
                        n, session->n_past, session->n_ctx);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= session->model->hparams.n_vocab)
            return slm_fail(error, SLM_ERR_ARGUMENT, "session", "token %zu is %d, allowed are 0 to %u", i, ids[i],
                            session->model->hparams.n_vocab - 1);
    return SLM_OK;
}

/* Runs n <= n_batch tokens that are already on the timeline behind n_past; n_out 0, 1 (the last) or n. */
static void run_chunk(struct slm_session *session, size_t n, size_t n_out, float *logits)
{
    for (size_t i = 0; i < n; i++) session->positions[i] = (uint32_t)(session->n_past + i);
/* Wanted rows are the last ones of the chunk. */
    for (size_t i = 0; i < n_out; i++) session->out_rows[i] = (uint32_t)(n - n_out + i);
    const struct slm_batch batch = {.n_tok = n, .tokens = session->tokens + session->n_past,
                                    .positions = session->positions, .kv = session->kv, .n_out = n_out,
                                    .out_rows = session->out_rows, .logits = logits};
    slm_cpu_run(session->backend, &batch);
    session->n_past += n;
}

/* all_logits NULL: only the last token's, into the session. */
static slm_status eval(struct slm_session *session, const int32_t *ids, size_t n, float *all_logits,
                       struct slm_error *error)
{
    SLM_TRY(check_ids(session, ids, n, error));
    if (n == 0) return SLM_OK;
    /* The pool holds n_ctx tokens and this is its only sequence. */
    const bool fits = slm_kv_seq_resize(&session->pool, &session->seq, session->n_past + n);
    SLM_ASSERT(fits);
/* The backend reads ids from the timeline, where they stay. */
    memcpy(session->tokens + session->n_past, ids, n * sizeof *ids);
    const size_t n_vocab = session->model->hparams.n_vocab;
    for (size_t done = 0; done < n;) {
        const size_t chunk = n - done < session->n_batch ? n - done : session->n_batch;
        if (all_logits)
            run_chunk(session, chunk, chunk, all_logits + done * n_vocab);
        else
            run_chunk(session, chunk, done + chunk == n ? 1 : 0, session->logits);
        done += chunk;
    }
    if (all_logits) memcpy(session->logits, all_logits + (n - 1) * n_vocab, n_vocab * sizeof(float));
    session->has_logits = true;
    return SLM_OK;
}

slm_status slm_session_eval(struct slm_session *session, const int32_t *ids, size_t n, struct slm_error *error)
{
    return eval(session, ids, n, NULL, error);
}

slm_status slm_session_eval_all(struct slm_session *session, const int32_t *ids, size_t n, float *all_logits,
                                struct slm_error *error)
{
    return eval(session, ids, n, all_logits, error);
}

/* ---- reading and sampling ---------------------------------------------------------------------------------- */

const float *slm_session_logits(const struct slm_session *session)
{
    return session->has_logits ? session->logits : NULL;
}
size_t slm_session_n_past(const struct slm_session *session) { return session->n_past; }
size_t slm_session_n_ctx(const struct slm_session *session) { return session->n_ctx; }
const int32_t *slm_session_tokens(const struct slm_session *session) { return session->tokens; }

slm_status slm_session_truncate(struct slm_session *session, size_t n, struct slm_error *error)
{
    if (n > session->n_past)
        return slm_fail(error, SLM_ERR_ARGUMENT, "session", "cannot keep %zu of %zu tokens", n, session->n_past);
    if (n < session->n_past) session->has_logits = false; /* those were of a token that is gone */
    session->n_past = n;
    slm_kv_seq_resize(&session->pool, &session->seq, n);
    return SLM_OK;
}

slm_status slm_sample(struct slm_session *session, const struct slm_sampler_params *params, int32_t *id,
                      struct slm_error *error)
{
    if (!session->has_logits)
        return slm_fail(error, SLM_ERR_ARGUMENT, "sample", "no logits: evaluate at least one token first");
    return slm_sampler_pick(&session->sampler, session->logits, session->model->hparams.n_vocab, session->tokens,
                            session->n_past, session->n_past, params, id, error);
}
