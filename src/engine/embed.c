/* SPDX-License-Identifier: MIT
 * Embeddings: texts in, one vector each out.
 *
 * An embedder has a plan of its own, the model's without its head (slm_plan.headless), and a KV cache for the texts it
 * is working on. Texts are laid into steps one after the other, as many as fit: short ones share the weights that are
 * unpacked for a step, long ones are cut into several. What a token computes depends on its own text and position only
 * (kernel.h says why), and pooling adds in the order of positions, so company and cuts do not change a bit of it.
 *
 * Models that attend to both sides must see a whole text in one step: its keys and values have to be in the cache
 * before the first token looks ahead. Their steps are as long as the context, and texts are never cut.
 *
 * Pooling and what follows it (dense layers, cutting to n_dims, normalising) is done here on one thread: it is a few
 * thousandths of the model's work. Deliberately not here: what the files say (embed_rules.c). */
#include "base/checked.h"
#include "base/fmath.h"
#include "base/os.h"
#include "engine/embed_rules.h"
#include "engine/session.h"
#include "engine/weights.h"
#include "families/families.h"
#include "kernel/kernel.h"

enum { MAX_SLOTS = 32 }; /* texts in one step */

/* One text being worked on. */
struct slot {
    struct slm_kv_seq seq;
    int32_t *ids;         /* [n_ctx] */
    double *sum;          /* [n_embd] of the hidden states that are pooled */
    size_t n, done;       /* tokens, and how many of them are in this or an earlier step */
    size_t first, n_rows; /* its tokens of this step: where in it, how many */
    size_t place;         /* of the text among the inputs, for messages */
    float *out;           /* [n_dims] the caller's */
};

struct slm_embedder {
    const struct slm_model *model; /* borrowed */
    struct slm_embed_rules rules;
    struct slm_plan *plan;
    struct slm_kv_pool pool;
    struct slm_backend *backend;
    struct slm_kernels kernels;
    struct slm_session_settings settings;
    size_t n_dims;
    bool normalize;
    struct slot slots[MAX_SLOTS];
    size_t n_slots;                /* in use by this step */
    /* One step: */
    size_t n_tok, n_out;
    int32_t *tokens;               /* [n_batch] */
    uint32_t *positions, *out_rows;
    const struct slm_kv_view **kv;
    float *hidden;                 /* [n_batch, n_embd] of the rows that are pooled */
    float *vectors[2];             /* [widest] before and after a dense layer */
    float *row;                    /* [widest] one row of a dense layer's matrix */
};

/* ---- opening ------------------------------------------------------------------------------------------------- */

/* Widest vector on the way from pooling to the result. */
static size_t widest(const struct slm_embedder *e)
{
    size_t most = e->model->hparams.n_embd;
    for (size_t i = 0; i < e->rules.n_dense; i++)
        if (e->rules.dense[i].w.n_out > most) most = e->rules.dense[i].w.n_out;
    return most;
}

/* Width of the last layer: all the numbers there are. */
static size_t full_dims(const struct slm_embedder *e)
{
    return e->rules.n_dense ? e->rules.dense[e->rules.n_dense - 1].w.n_out : e->model->hparams.n_embd;
}

static slm_status check_options(struct slm_embedder *e, const struct slm_embedder_options *o, struct slm_error *error)
{
    const bool ranks = e->rules.pooling == SLM_POOLING_RANK;
    if ((int)o->pooling < 0 || o->pooling > SLM_POOLING_RANK)
        return slm_fail(error, SLM_ERR_ARGUMENT, "embed", "pooling is %d, allowed are 0 (default) to %d",
                        (int)o->pooling, SLM_POOLING_RANK);
    if (o->pooling == SLM_POOLING_RANK && !ranks)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(e->model->gguf),
                        "the model has no head that ranks texts (pooling_type 4 and cls.output.weight, or "
                        "score.weight)");
    if (o->pooling != SLM_POOLING_DEFAULT) e->rules.pooling = o->pooling;
    if (ranks && e->rules.pooling != SLM_POOLING_RANK) e->rules.n_dense = 0; /* the head is not asked */
    const size_t all = full_dims(e);
    if (o->n_dims < 0 || (size_t)o->n_dims > all)
        return slm_fail(error, SLM_ERR_ARGUMENT, "embed", "n_dims is %d, the model makes %zu; allowed are 0 (all) to "
                        "%zu", o->n_dims, all, all);
    e->n_dims = o->n_dims ? (size_t)o->n_dims : all;
    e->normalize = !o->no_normalize && e->rules.pooling != SLM_POOLING_RANK;
    return SLM_OK;
}

/* The model's operations up to what its head would read. */
static slm_status record_plan(struct slm_embedder *e, struct slm_error *error)
{
    SLM_TRY(slm_plan_new(&e->plan, error));
    e->plan->headless = true;
    return slm_plan_finish(e->plan, e->model->family->build(e->plan, e->model), error);
}

/* One text at most is left unfinished by a step; the others of the next one lie wholly in it. */
static size_t n_pages_of(const struct slm_session_settings *s)
{
    return s->n_ctx / SLM_KV_PAGE_TOKENS + s->n_batch / SLM_KV_PAGE_TOKENS + MAX_SLOTS + 2;
}

/* Refused with figures before anything is taken. */
static slm_status check_memory(const struct slm_embedder *e, const struct slm_kv_layout *layout,
                               const struct slm_backend_options *backend, struct slm_error *error)
{
    const uint64_t available = slm_os()->memory_available(), scratch = slm_cpu_scratch_bytes(e->plan, backend);
    uint64_t kv;
    if (!slm_mul_u64(n_pages_of(&e->settings), layout->page_bytes, &kv)) kv = UINT64_MAX;
    if (available == 0 || (kv <= available && scratch <= available - kv)) return SLM_OK;
    return slm_fail(error, SLM_ERR_MEMORY, "embed",
                    "texts of up to %zu tokens need %.0f MiB for keys and values and %.0f MiB to compute in, %.0f MiB "
                    "are available: ask for a smaller context", e->settings.n_ctx, (double)kv / 0x1p20,
                    (double)scratch / 0x1p20, (double)available / 0x1p20);
}

static slm_status allocate(struct slm_embedder *e, struct slm_error *error)
{
    const size_t n_batch = e->settings.n_batch, n_embd = e->model->hparams.n_embd, most = widest(e);
    e->tokens = slm_alloc(n_batch, sizeof *e->tokens, "embed", error);
    e->positions = slm_alloc(n_batch, sizeof *e->positions, "embed", error);
    e->out_rows = slm_alloc(n_batch, sizeof *e->out_rows, "embed", error);
    e->kv = slm_alloc(n_batch, sizeof *e->kv, "embed", error);
    e->hidden = slm_alloc(n_batch, n_embd * sizeof *e->hidden, "embed", error);
    for (int i = 0; i < 2; i++) e->vectors[i] = slm_alloc(most, sizeof *e->vectors[i], "embed", error);
    e->row = slm_alloc(most, sizeof *e->row, "embed", error);
    if (!e->tokens || !e->positions || !e->out_rows || !e->kv || !e->hidden || !e->vectors[0] || !e->vectors[1] ||
        !e->row)
        return SLM_ERR_MEMORY;
    for (size_t i = 0; i < MAX_SLOTS; i++) {
        struct slot *slot = &e->slots[i];
        SLM_TRY(slm_kv_seq_open(&slot->seq, e->settings.n_ctx, error));
        slot->ids = slm_alloc(e->settings.n_ctx, sizeof *slot->ids, "embed", error);
        slot->sum = slm_alloc(n_embd, sizeof *slot->sum, "embed", error);
        if (!slot->ids || !slot->sum) return SLM_ERR_MEMORY;
    }
    return SLM_OK;
}

static slm_status open_parts(struct slm_embedder *e, const struct slm_embedder_options *o, struct slm_error *error)
{
    struct slm_kv_layout layout;
    struct slm_session_options session = o->session;
    if (session.kv_type == SLM_KV_DEFAULT) session.kv_type = SLM_KV_F32; /* texts are short: nothing to save */
    SLM_TRY(slm_session_resolve(e->model, &session, &e->settings, error));
    if (e->model->hparams.bidirectional) e->settings.n_batch = e->settings.n_ctx;
    SLM_TRY(slm_embed_rules_read(e->model, o->prompt_name, &e->rules, error));
    SLM_TRY(check_options(e, o, error));
    SLM_TRY(record_plan(e, error));
    SLM_TRY(slm_session_layout(e->model, &e->settings, &layout, error));
    const struct slm_cpu_weights *weights = NULL;
    if (e->settings.packed) SLM_TRY(slm_prepared_get(e->model, &weights, error));
    const struct slm_backend_options backend = {.weights = weights, .n_threads = e->settings.n_threads,
                                                .max_tokens = e->settings.n_batch, .n_ctx = e->settings.n_ctx,
                                                .cpu_mask = e->model->cpu_mask};
    SLM_TRY(check_memory(e, &layout, &backend, error));
    SLM_TRY(slm_kv_pool_open(&e->pool, &layout, n_pages_of(&e->settings), error));
    SLM_TRY(allocate(e, error));
    slm_kernels_init(&e->kernels, e->model->cpu_mask);
    return slm_cpu_open(e->plan, &e->pool.layout, &backend, &e->backend, error);
}

slm_status slm_embedder_open(const struct slm_model *model, const struct slm_embedder_options *options,
                             struct slm_embedder **out, struct slm_error *error)
{
    const struct slm_embedder_options zero = {.n_dims = 0};
    struct slm_embedder *e = slm_alloc(1, sizeof *e, "embed", error);
    if (!e) return SLM_ERR_MEMORY;
    e->model = model;
    const slm_status status = open_parts(e, options ? options : &zero, error);
    if (status != SLM_OK) {
        slm_embedder_close(e); /* knows how to close half an embedder */
        return status;
    }
    *out = e;
    return SLM_OK;
}

void slm_embedder_close(struct slm_embedder *e)
{
    if (!e) return;
    slm_cpu_close(e->backend);
    for (size_t i = 0; i < MAX_SLOTS; i++) {
        slm_kv_seq_close(&e->pool, &e->slots[i].seq);
        slm_release(e->slots[i].ids);
        slm_release(e->slots[i].sum);
    }
    slm_kv_pool_close(&e->pool);
    slm_plan_free(e->plan);
    slm_embed_rules_release(&e->rules);
    slm_release(e->tokens);
    slm_release(e->positions);
    slm_release(e->out_rows);
    slm_release(e->kv);
    slm_release(e->hidden);
    slm_release(e->vectors[0]);
    slm_release(e->vectors[1]);
    slm_release(e->row);
    slm_release(e);
}

size_t slm_embedder_n_dims(const struct slm_embedder *e) { return e->n_dims; }
enum slm_pooling slm_embedder_pooling(const struct slm_embedder *e) { return e->rules.pooling; }

/* ---- from hidden states to a vector -------------------------------------------------------------------------- */

/* Is the hidden state of this token part of the result? */
static bool is_pooled(const struct slm_embedder *e, const struct slot *slot, size_t position)
{
    const bool last = e->rules.pooling == SLM_POOLING_LAST ||
                      (e->rules.pooling == SLM_POOLING_RANK && !e->model->hparams.bidirectional);
    if (last) return position + 1 == slot->n;
    return e->rules.pooling == SLM_POOLING_MEAN || position == 0;
}

/* x [n_in] -> out [n_out], one DOT16 chain a number. */
static void apply_dense(const struct slm_embedder *e, const struct slm_dense *dense, const float *x, float *out)
{
    const struct slm_weight *w = &dense->w;
    for (uint32_t r = 0; r < w->n_out; r++) {
        e->kernels.unpack[w->dtype](w->data + r * w->row_bytes, e->row, w->n_in);
        e->kernels.matmul(&(struct slm_matmul_args){.w = e->row, .x = x, .out = out + r, .n_row = 1, .n_tok = 1,
                                                    .k = w->n_in, .w_stride = w->n_in, .x_stride = w->n_in,
                                                    .out_stride = w->n_out});
    }
    if (dense->bias) e->kernels.add(out, out, dense->bias, w->n_out);
    if (!dense->tanh) return;
    for (uint32_t r = 0; r < w->n_out; r++) out[r] = slm_tanhf(out[r]);
}

/* Labels become probabilities: with one alone there is nothing to share. */
static void share(float *scores, size_t n)
{
    float most = scores[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++) most = scores[i] > most ? scores[i] : most;
    for (size_t i = 0; i < n; i++) sum += (double)(scores[i] = slm_expf(scores[i] - most));
    for (size_t i = 0; i < n; i++) scores[i] = (float)((double)scores[i] / sum);
}

/* The pooled state of a finished text becomes its vector. */
static slm_status finish(struct slm_embedder *e, struct slot *slot, struct slm_error *error)
{
    const size_t n_embd = e->model->hparams.n_embd, n_pooled = e->rules.pooling == SLM_POOLING_MEAN ? slot->n : 1;
    size_t at = 0;
    for (size_t i = 0; i < n_embd; i++) e->vectors[0][i] = (float)(slot->sum[i] / (double)n_pooled);
    for (size_t i = 0; i < e->rules.n_dense; i++, at = !at)
        apply_dense(e, &e->rules.dense[i], e->vectors[at], e->vectors[!at]);
    if (e->rules.pooling == SLM_POOLING_RANK && full_dims(e) > 1) share(e->vectors[at], full_dims(e));
    double squares = 0;
    for (size_t i = 0; i < e->n_dims; i++) squares += (double)e->vectors[at][i] * (double)e->vectors[at][i];
    if (!(squares <= 1e300)) /* NaN too */
        return slm_fail(error, SLM_ERR_NUMERIC, "embed", "the vector of text %zu has numbers that are not finite",
                        slot->place);
    /* A vector of zeros stays one, as in PyTorch. */
    const double norm = e->normalize ? __builtin_sqrt(squares) : 1.0, divisor = norm > 1e-12 ? norm : 1e-12;
    for (size_t i = 0; i < e->n_dims; i++) slot->out[i] = (float)((double)e->vectors[at][i] / divisor);
    return SLM_OK;
}

/* ---- steps --------------------------------------------------------------------------------------------------- */

/* Adds the rows of this step to their texts, in the order of positions. */
static void pool_rows(struct slm_embedder *e)
{
    const size_t n_embd = e->model->hparams.n_embd;
    size_t s = 0;
    for (size_t i = 0; i < e->n_out; i++) {
        while (e->out_rows[i] >= e->slots[s].first + e->slots[s].n_rows) s++;
        double *sum = e->slots[s].sum;
        const float *row = e->hidden + i * n_embd;
        for (size_t k = 0; k < n_embd; k++) sum[k] += (double)row[k];
    }
}

/* Computes the step. Finished texts are written out; an unfinished one, which can only be the last, moves to the first
 * slot. */
static slm_status run_step(struct slm_embedder *e, struct slm_error *error)
{
    const struct slm_batch batch = {.n_tok = e->n_tok, .tokens = e->tokens, .positions = e->positions, .kv = e->kv,
                                    .n_out = e->n_out, .out_rows = e->out_rows, .logits = e->hidden};
    if (e->n_tok == 0) return SLM_OK;
    if (e->settings.packed) slm_prepared_use(e->model, e->backend);
    slm_cpu_run(e->backend, &batch);
    pool_rows(e);
    size_t n_left = 0;
    for (size_t i = 0; i < e->n_slots; i++) {
        struct slot *slot = &e->slots[i];
        slot->n_rows = 0;
        if (slot->done < slot->n) {
            const struct slot unfinished = *slot;
            *slot = e->slots[0];
            e->slots[0] = unfinished;
            n_left = 1;
            continue;
        }
        SLM_TRY(finish(e, slot, error));
        slm_kv_seq_resize(&e->pool, &slot->seq, 0);
    }
    e->n_slots = n_left;
    e->n_tok = e->n_out = 0;
    return SLM_OK;
}

/* Lays the next n tokens of a text into the step. */
static void add_tokens(struct slm_embedder *e, struct slot *slot, size_t n)
{
    const bool fits = slm_kv_seq_resize(&e->pool, &slot->seq, slot->done + n);
    SLM_ASSERT(fits);
    slot->first = e->n_tok;
    slot->n_rows = n;
    for (size_t i = 0; i < n; i++, slot->done++, e->n_tok++) {
        e->tokens[e->n_tok] = slot->ids[slot->done];
        e->positions[e->n_tok] = (uint32_t)slot->done;
        e->kv[e->n_tok] = &slot->seq.view;
        if (is_pooled(e, slot, slot->done)) e->out_rows[e->n_out++] = (uint32_t)e->n_tok;
    }
}

/* ---- texts --------------------------------------------------------------------------------------------------- */

/* A text that is longer than the model was told to read loses its end, as in sentence-transformers; not the token that
 * the tokenizer puts last. A context that is shorter than that is the caller's, and nothing is cut silently for it. */
static void cut(const struct slm_embedder *e, struct slot *slot, size_t *n)
{
    const int32_t last = slm_tokenizer_added_last(e->model->tokenizer);
    const size_t keep = e->rules.n_keep;
    if (keep < 2 || *n <= keep || keep > e->settings.n_ctx) return;
    if (last >= 0) slot->ids[keep - 1] = last;
    *n = keep;
}

/* Encodes a text behind the prompt into the slot; *n is the full count, also when it is more than fit. */
static slm_status tokenize(struct slm_embedder *e, const struct slm_embed_input *input, struct slot *slot, size_t *n,
                           struct slm_error *error)
{
    struct slm_buf joined = {0};
    struct slm_str text = {input->text ? input->text : "", input->text_bytes};
    slm_status status = SLM_OK;
    if (e->rules.prompt) {
        slm_buf_puts(&joined, e->rules.prompt);
        slm_buf_add(&joined, text.ptr, text.len);
        status = slm_buf_status(&joined, "embed", error);
        text = (struct slm_str){joined.data, joined.len};
    }
    if (status == SLM_OK)
        status = slm_tokenize(e->model, text.ptr, text.len, SLM_TOKENIZE_ADD_SPECIAL, slot->ids, e->settings.n_ctx, n,
                              error);
    slm_buf_release(&joined);
    if (status == SLM_OK) cut(e, slot, n);
    return status;
}

/* Ids as given; those out of range are named. */
static slm_status copy_ids(struct slm_embedder *e, const struct slm_embed_input *input, struct slot *slot,
                           struct slm_error *error)
{
    for (size_t i = 0; i < input->n_ids && i < e->settings.n_ctx; i++) {
        slot->ids[i] = input->ids[i];
        if (input->ids[i] < 0 || (uint32_t)input->ids[i] >= e->model->hparams.n_vocab)
            return slm_fail(error, SLM_ERR_ARGUMENT, "embed", "text %zu: token %zu is %d, allowed are 0 to %u",
                            slot->place, i, input->ids[i], e->model->hparams.n_vocab - 1);
    }
    return SLM_OK;
}

/* A text takes the next free slot; there is one. */
static slm_status begin(struct slm_embedder *e, const struct slm_embed_input *input, size_t place, float *out,
                        struct slm_error *error)
{
    struct slot *slot = &e->slots[e->n_slots];
    size_t n = input->n_ids;
    slot->place = place;
    SLM_TRY(input->ids ? copy_ids(e, input, slot, error) : tokenize(e, input, slot, &n, error));
    if (n > e->settings.n_ctx)
        return slm_fail(error, SLM_ERR_CONTEXT, "embed", "text %zu has %zu tokens, the context holds %zu", place, n,
                        e->settings.n_ctx);
    if (n == 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, "embed", "text %zu has no tokens: there is nothing to embed", place);
    slot->n = n;
    slot->done = 0;
    slot->out = out;
    memset(slot->sum, 0, e->model->hparams.n_embd * sizeof *slot->sum);
    e->n_slots++;
    return SLM_OK;
}

/* Lays one text into steps and runs those that get full. Where attention looks ahead a text is not cut. */
static slm_status add_text(struct slm_embedder *e, const struct slm_embed_input *input, size_t place, float *out,
                           struct slm_error *error)
{
    const size_t n_batch = e->settings.n_batch;
    const bool whole = e->model->hparams.bidirectional;
    if (e->n_slots == MAX_SLOTS) SLM_TRY(run_step(e, error));
    SLM_TRY(begin(e, input, place, out, error));
    size_t left = e->slots[e->n_slots - 1].n;
    while (left > 0) {
        const size_t room = n_batch - e->n_tok, n = left <= room ? left : whole ? 0 : room;
        if (n) add_tokens(e, &e->slots[e->n_slots - 1], n); /* an unfinished text is the last one */
        left -= n;
        if (left > 0 || e->n_tok == n_batch) SLM_TRY(run_step(e, error));
    }
    return SLM_OK;
}

slm_status slm_embed(struct slm_embedder *e, const struct slm_embed_input *inputs, size_t n, float *out,
                     struct slm_error *error)
{
    slm_status status = SLM_OK;
    for (size_t i = 0; i < n && status == SLM_OK; i++)
        status = add_text(e, &inputs[i], i, out + i * e->n_dims, error);
    if (status == SLM_OK) status = run_step(e, error);
    /* After a failure nothing of the texts in work may be left. */
    for (size_t i = 0; i < e->n_slots; i++) slm_kv_seq_resize(&e->pool, &e->slots[i].seq, 0);
    e->n_slots = e->n_tok = e->n_out = 0;
    return status;
}
