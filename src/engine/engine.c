/* SPDX-License-Identifier: MIT
 * The engine: threads, scratch memory and KV pages for the sessions of one model, and the step that computes tokens of
 * many of them in one pass over the weights. A step is a pure function of its parts: who takes part, in which order and
 * with how many tokens is the caller's business (a session alone, or a scheduler), and changes no bit of anybody's
 * numbers (kernel.h says why).
 *
 * A step has two halves. Admitting looks at every part on its own, refuses what is wrong with it, and reserves its
 * pages; after that nothing can fail. Computing lays the tokens of all admitted parts into passes of at most n_batch
 * rows. A row's logits go where its part wants them: straight from the backend when a pass writes to one place, else
 * through a buffer of the engine's.
 *
 * All memory is taken at open; a step allocates nothing. Deliberately not here: which session runs when, text, files.
 */
#include <stdatomic.h>

#include "base/checked.h"
#include "base/os.h"
#include "engine/session.h"
#include "engine/weights.h"

/* ---- opening ----------------------------------------------------------------------------------------------- */

/* Refused with figures before anything is taken, instead of killed by the system when the cache fills. Weights that
 * stay in the file are not counted: their pages belong to it and can be dropped. */
static slm_status check_memory(const struct slm_model *model, const struct slm_session_settings *s,
                               const struct slm_kv_layout *layout, struct slm_error *error)
{
    const struct slm_backend_options backend = {.n_threads = s->n_threads, .max_tokens = s->n_batch};
    const uint64_t scratch = slm_cpu_scratch_bytes(model->plan, &backend) + model->hparams.n_vocab * sizeof(float);
    const uint64_t available = slm_os()->memory_available();
    const uint64_t weights = s->packed && !slm_prepared_ready(model) ? slm_cpu_weights_bytes(model->plan) : 0;
    uint64_t kv;
    if (!slm_mul_u64(slm_kv_pages_for(s->n_kv), layout->page_bytes, &kv))
        return slm_fail(error, SLM_ERR_LIMIT, "session", "a KV cache of %zu tokens overflows", s->n_kv);
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
        s->n_kv, (double)kv / 0x1p20, (double)scratch / 0x1p20, (double)(available - weights) / 0x1p20);
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

/* All memory of the engine but the cache and the backend's. On failure the caller closes the engine. */
static slm_status allocate(struct slm_engine *engine, unsigned n_samplers, bool one_session, struct slm_error *error)
{
    const size_t n_vocab = engine->model->hparams.n_vocab, n = engine->n_batch;
    engine->ids = slm_alloc(n, sizeof *engine->ids, "session", error);
    engine->positions = slm_alloc(n, sizeof *engine->positions, "session", error);
    engine->out_rows = slm_alloc(n, sizeof *engine->out_rows, "session", error);
    engine->kv = slm_alloc(n, sizeof *engine->kv, "session", error);
    engine->targets = slm_alloc(n, sizeof *engine->targets, "session", error);
    if (!engine->ids || !engine->positions || !engine->out_rows || !engine->kv || !engine->targets)
        return SLM_ERR_MEMORY;
    engine->max_out = n;
    if (!one_session) {
        if (engine->max_out > SLM_ENGINE_OUT_ROWS) engine->max_out = SLM_ENGINE_OUT_ROWS;
        engine->out_bytes = engine->max_out * n_vocab * sizeof *engine->out;
        engine->out = slm_os()->alloc_pages(engine->out_bytes);
        if (!engine->out) return slm_fail_memory(error, "session", engine->out_bytes);
    }
    engine->samplers = slm_alloc(n_samplers, sizeof *engine->samplers, "session", error);
    if (!engine->samplers) return SLM_ERR_MEMORY;
    for (; engine->n_samplers < n_samplers; engine->n_samplers++)
        SLM_TRY(slm_sampler_scratch_init(&engine->samplers[engine->n_samplers], n_vocab, error));
    return SLM_OK;
}

/* ---- sharing work ------------------------------------------------------------------------------------------ */

enum { MOST_SAMPLERS = 16 }; /* each has megabytes of scratch, and draws of a step are not that many */

unsigned slm_engine_n_samplers(unsigned n_threads) { return n_threads < MOST_SAMPLERS ? n_threads : MOST_SAMPLERS; }

struct share {
    const struct slm_engine *engine;
    void (*fn)(void *arg, size_t i, unsigned rank);
    void *arg;
    size_t n;
    _Atomic size_t next;
};

/* Whoever is free takes the next: they do not take the same time. */
static void take_shares(void *arg, unsigned rank, unsigned n)
{
    struct share *share = arg;
    (void)n;
    if (rank >= share->engine->n_samplers) return;
    for (size_t i; (i = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed)) < share->n;)
        share->fn(share->arg, i, rank);
}

void slm_engine_share(struct slm_engine *engine, size_t n, void (*fn)(void *arg, size_t i, unsigned rank), void *arg)
{
    struct share share = {.engine = engine, .fn = fn, .arg = arg, .n = n};
    if (n > 1 && engine->n_samplers > 1) slm_cpu_share(engine->backend, take_shares, &share);
    else take_shares(&share, 0, 1);
}

/* ---- opening and closing ----------------------------------------------------------------------------------- */

slm_status slm_engine_open_as(const struct slm_model *model, const struct slm_engine_setup *setup,
                              struct slm_engine **out, struct slm_error *error)
{
    struct slm_session_settings s = {0};
    struct slm_kv_layout layout;
    SLM_TRY(slm_session_resolve(model, setup->options, &s, error));
    if (setup->n_kv) s.n_kv = setup->n_kv;
    SLM_TRY(slm_session_layout(model, &s, &layout, error));
    SLM_TRY(check_generates(model, error));
    SLM_TRY(check_memory(model, &s, &layout, error));
    const struct slm_cpu_weights *weights = NULL;
    if (s.packed) SLM_TRY(slm_prepared_get(model, &weights, error));
    /* From here on a failure closes what there is. */
    struct slm_engine *engine = slm_alloc(1, sizeof *engine, "session", error);
    if (!engine) return SLM_ERR_MEMORY;
    engine->model = model;
    engine->n_ctx = s.n_ctx;
    engine->n_batch = s.n_batch;
    engine->packs = s.packed;
    engine->options = (struct slm_session_options){
        .n_ctx = (int32_t)s.n_ctx,
        .n_threads = (int32_t)s.n_threads,
        .kv_type = setup->options ? setup->options->kv_type : SLM_KV_DEFAULT,
        .activations = setup->options ? setup->options->activations : SLM_ACTIVATIONS_DEFAULT,
    };
    engine->max_piece = longest_piece(model->tokenizer);
    const struct slm_backend_options backend = {.weights = weights,
                                                .n_threads = s.n_threads,
                                                .max_tokens = s.n_batch,
                                                .n_ctx = s.n_ctx,
                                                .cpu_mask = model->cpu_mask,
                                                .tap = setup->tap,
                                                .tap_user = setup->tap_user};
    slm_status status = slm_kv_pool_open(&engine->pool, &layout, slm_kv_pages_for(s.n_kv), error);
    const unsigned n_samplers = setup->one_session ? 1 : slm_engine_n_samplers(s.n_threads);
    if (status == SLM_OK) status = allocate(engine, n_samplers, setup->one_session, error);
    if (status == SLM_OK) status = slm_cpu_open(model->plan, &engine->pool.layout, &backend, &engine->backend, error);
    if (status != SLM_OK) {
        slm_engine_close(engine);
        return status;
    }
    *out = engine;
    return SLM_OK;
}

slm_status slm_engine_open(const struct slm_model *model, const struct slm_engine_options *options,
                           struct slm_engine **out, struct slm_error *error)
{
    const struct slm_engine_options zero = {.n_kv = 0}, *o = options ? options : &zero;
    return slm_engine_open_as(model, &(struct slm_engine_setup){.options = &o->session, .n_kv = o->n_kv}, out, error);
}

/* For those who have time now and none later. */
slm_status slm_engine_pack(struct slm_engine *engine, struct slm_error *error)
{
    return engine->packs ? slm_prepared_pack(engine->model, engine->backend, error) : SLM_OK;
}

/* Also of one that was opened halfway. */
void slm_engine_close(struct slm_engine *engine)
{
    if (!engine) return;
    SLM_ASSERT(engine->n_sessions == 0);
    slm_cpu_close(engine->backend);
    for (unsigned i = 0; i < engine->n_samplers; i++) slm_sampler_scratch_release(&engine->samplers[i]);
    slm_release(engine->samplers);
    slm_kv_pool_close(&engine->pool);
    slm_os()->release_pages(engine->out, engine->out_bytes);
    slm_release(engine->targets);
    slm_release(engine->kv);
    slm_release(engine->out_rows);
    slm_release(engine->positions);
    slm_release(engine->ids);
    slm_release(engine);
}

struct slm_engine_info slm_engine_info(const struct slm_engine *engine)
{
    return (struct slm_engine_info){.n_ctx = engine->n_ctx,
                                    .n_batch = engine->n_batch,
                                    .n_sessions = engine->n_sessions,
                                    .page_tokens = SLM_KV_PAGE_TOKENS,
                                    .n_pages = engine->pool.n_pages,
                                    .n_pages_free = engine->pool.n_free};
}

/* ---- admitting ----------------------------------------------------------------------------------------------- */

/* A row of the embedding. */
static bool is_token(const struct slm_engine *engine, int32_t id)
{
    return id >= 0 && (uint32_t)id < engine->model->hparams.n_vocab;
}

/* Everything that can be wrong with a part but the pool, before anything is touched. */
static slm_status check_part(const struct slm_engine *engine, const struct slm_step_part *part,
                             struct slm_error *error)
{
    const struct slm_session *s = part->session;
    if (s->engine != engine)
        return slm_fail(error, SLM_ERR_ARGUMENT, "step", "the session belongs to another engine");
    if (s->in_step) return slm_fail(error, SLM_ERR_ARGUMENT, "step", "the session has another part in this step");
    if (part->n_guess > SLM_MAX_GUESS || (part->n_guess && (part->all_logits || part->no_logits)))
        return slm_fail(error, SLM_ERR_ARGUMENT, "step", "n_guess is %zu, allowed are 0 to %u, and 0 with all_logits "
                        "or no_logits", part->n_guess, SLM_MAX_GUESS);
    if (part->n > s->n_ctx - s->n_past)
        return slm_fail(error, SLM_ERR_CONTEXT, "session", "%zu tokens do not fit: %zu of the context's %zu are used",
                        part->n, s->n_past, s->n_ctx);
    for (size_t i = 0; i < part->n; i++)
        if (!is_token(engine, part->ids[i]))
            return slm_fail(error, SLM_ERR_ARGUMENT, "session", "token %zu is %d, allowed are 0 to %u", i,
                            part->ids[i], engine->model->hparams.n_vocab - 1);
    return SLM_OK;
}

/* Tokens of the part that were guessed and are computed. */
static size_t n_foreseen(const struct slm_step_part *part)
{
    const struct slm_session *s = part->session;
    size_t n = 0;
    if (part->all_logits || part->no_logits) return 0;
    while (n < part->n && n < s->n_ahead && part->ids[n] == s->tokens[s->n_past + n]) n++;
    return n;
}

/* Guesses of the part that are tokens and have room. */
static size_t n_sane_guesses(const struct slm_step_part *part)
{
    const struct slm_session *s = part->session;
    const size_t room = s->n_ctx - s->n_past - part->n;
    size_t n = 0;
    while (n < part->n_guess && n < room && is_token(s->engine, part->ids[part->n + n])) n++;
    return n;
}

/* Afterwards n_past is where the session's first row stands, and n_ahead counts the rows that are to be computed,
 * n_guess of them guesses: the others become timeline when the step is through. */
static slm_status admit(struct slm_engine *engine, const struct slm_step_part *part, struct slm_error *error)
{
    struct slm_session *s = part->session;
    SLM_TRY(check_part(engine, part, error));
    const size_t foreseen = n_foreseen(part), first = s->n_past + foreseen, end = s->n_past + part->n;
    if (foreseen == part->n) { /* nothing to compute */
        s->n_past += foreseen;
        s->n_ahead -= foreseen;
        s->row += foreseen;
        s->counts.n_accepted += foreseen;
        return SLM_OK;
    }
    s->n_guess = n_sane_guesses(part);
    if (!slm_kv_seq_write(&engine->pool, &s->seq, first, end + s->n_guess)) {
        s->n_guess = 0;
        if (!slm_kv_seq_write(&engine->pool, &s->seq, first, end)) {
            slm_session_drop_guesses(s);
            return slm_fail(error, SLM_ERR_MEMORY, "session",
                            "%zu tokens do not fit: %zu of the KV pool's %zu pages of %u tokens are free", part->n,
                            engine->pool.n_free, engine->pool.n_pages, SLM_KV_PAGE_TOKENS);
        }
    }
    s->counts.n_accepted += foreseen;
    memcpy(s->tokens + s->n_past, part->ids, (part->n + s->n_guess) * sizeof *part->ids);
    s->n_past = first;
    s->n_ahead = end + s->n_guess - first;
    s->in_step = true;
    return SLM_OK;
}

/* ---- computing ----------------------------------------------------------------------------------------------- */

/* Runs the rows that were laid out. */
static void run_pass(struct slm_engine *engine)
{
    const size_t n_vocab = engine->model->hparams.n_vocab;
    bool in_a_row = true;
    for (size_t i = 1; i < engine->n_out; i++)
        in_a_row &= engine->targets[i] == engine->targets[0] + i * n_vocab;
    float *logits = engine->n_out == 0 ? NULL : in_a_row ? engine->targets[0] : engine->out;
    SLM_ASSERT(logits || engine->n_out == 0); /* a session alone wants its logits in one place */
    const struct slm_batch batch = {.n_tok = engine->n_tok, .tokens = engine->ids, .positions = engine->positions,
                                    .kv = engine->kv, .n_out = engine->n_out, .out_rows = engine->out_rows,
                                    .logits = logits};
    if (engine->n_tok > 0) {
        /* Here and not at opening: the first pass reads the file, so that its tokens come soon. */
        if (engine->packs) slm_prepared_use(engine->model, engine->backend);
        slm_cpu_run(engine->backend, &batch);
    }
    for (size_t i = 0; i < engine->n_out && !in_a_row; i++)
        memcpy(engine->targets[i], engine->out + i * n_vocab, n_vocab * sizeof *engine->out);
    engine->n_tok = engine->n_out = 0;
}

/* One row more for the pass; target NULL: nobody wants its logits. */
static void add_row(struct slm_engine *engine, const struct slm_session *s, size_t position, float *target)
{
    engine->ids[engine->n_tok] = s->tokens[position];
    engine->positions[engine->n_tok] = (uint32_t)position;
    engine->kv[engine->n_tok] = &s->seq.view;
    if (target) {
        engine->targets[engine->n_out] = target;
        engine->out_rows[engine->n_out++] = (uint32_t)engine->n_tok;
    }
    engine->n_tok++;
    if (engine->n_tok == engine->n_batch || engine->n_out == engine->max_out) run_pass(engine);
}

/* Lays the rows of one admitted part. The last of its tokens and the guesses behind it have their logits in the
 * session, one after the other. */
static void add_rows(struct slm_engine *engine, const struct slm_step_part *part)
{
    struct slm_session *s = part->session;
    const size_t n_vocab = engine->model->hparams.n_vocab, end = s->n_past + s->n_ahead - s->n_guess;
    s->row = 0;
    for (size_t p = s->n_past; p < s->n_past + s->n_ahead; p++) {
        float *target = NULL;
        if (part->all_logits) target = part->all_logits + (p - s->n_past) * n_vocab;
        else if (p + 1 >= end && !part->no_logits) target = slm_session_row(s, p + 1 - end);
        add_row(engine, s, p, target);
    }
}

/* The tokens are on the timeline. */
static void settle(const struct slm_step_part *part)
{
    struct slm_session *s = part->session;
    const size_t n_vocab = s->model->hparams.n_vocab;
    if (part->all_logits)
        memcpy(s->rows, part->all_logits + (part->n - 1) * n_vocab, n_vocab * sizeof *s->rows);
    s->in_step = false;
    s->has_logits = !part->no_logits;
    s->n_past += s->n_ahead - s->n_guess;
    s->n_ahead = s->n_guess;
    s->counts.n_steps++;
    s->counts.n_guessed += s->n_guess;
}

slm_status slm_engine_step(struct slm_engine *engine, struct slm_step_part *parts, size_t n_parts,
                           struct slm_error *error)
{
    const struct slm_step_part *bad = NULL;
    for (size_t i = 0; i < n_parts; i++) {
        struct slm_error local;
        parts[i].status = admit(engine, &parts[i], &local);
        if (parts[i].status == SLM_OK) continue;
        if (parts[i].error) *parts[i].error = local;
        if (!bad && error) *error = local;
        if (!bad) bad = &parts[i];
    }
    for (size_t i = 0; i < n_parts; i++)
        if (parts[i].status == SLM_OK && parts[i].session->in_step) add_rows(engine, &parts[i]);
    run_pass(engine);
    for (size_t i = 0; i < n_parts; i++)
        if (parts[i].status == SLM_OK && parts[i].session->in_step) settle(&parts[i]);
    return bad ? bad->status : SLM_OK;
}
