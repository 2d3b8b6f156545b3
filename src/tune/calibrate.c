/* SPDX-License-Identifier: MIT
 * slm_calibrate: which columns of a matrix a model uses how much, as an importance matrix (imatrix.h). The text is
 * computed window by window; a tap sees every value as it is made, and of those that matrices are multiplied with the
 * squares are summed, in double and in the order of tokens, so the file does not depend on threads.
 *
 * Matrices that read the same value have the same sums. The head is left out, as llama.cpp leaves it out: it gets more
 * bits anyway. So it is not computed either: the plan is the model's without it. Names are those of GGUF, for folders
 * too, so that one file serves every form of a model.
 * Deliberately not here: experts, which no family has. */
#include <math.h>
#include <stdio.h>

#include "base/os.h"
#include "engine/kv.h"
#include "engine/session.h"
#include "engine/weights.h"
#include "families/families.h"
#include "format/gguf.h"
#include "model/model.h"
#include "tune/windows.h"

/* Sums of one value of the plan; empty for values that no matrix reads. */
struct sums { double *squares; uint64_t n_rows; uint32_t width; };

struct calibration {
    const struct slm_model *model;
    struct slm_arena arena;
    struct slm_plan *plan;     /* the model's, up to what the head would read */
    struct sums *values;       /* [plan->n_values] */
    /* What computes a window. */
    struct slm_session_settings settings;
    struct slm_kv_pool pool;
    struct slm_kv_seq seq;
    struct slm_backend *backend;
    uint32_t *rows;            /* [n_batch] 0, 1, ..: every token is put out, or the last layer would see one only */
    uint32_t *positions;       /* [n_batch] */
    const struct slm_kv_view **kv; /* [n_batch] all the same sequence */
    float *hidden;             /* [n_batch, n_embd] put out, and of no interest */
};

/* A row of quantized values ends with their scale: x = q / scale. */
static void on_value(void *user, const struct slm_value *value, const float *data, size_t n_rows)
{
    struct calibration *c = user;
    const struct slm_plan *plan = c->plan;
    for (size_t v = 0; v < plan->n_values; v++) {
        struct sums *s = &c->values[v];
        if (!s->squares || &plan->values[v] != value) continue;
        for (size_t r = 0; r < n_rows; r++) {
            const float *x = data + r * value->width;
            const double gain = value->quantized && x[s->width] != 0 ? 1 / (double)x[s->width] : 1;
            for (uint32_t i = 0; i < s->width; i++) s->squares[i] += (double)x[i] * (double)x[i] * gain * gain;
        }
        s->n_rows += n_rows;
    }
}

/* Room for what matrices of layers read. */
static slm_status prepare(struct calibration *c, struct slm_error *error)
{
    const struct slm_plan *plan = c->plan;
    c->values = slm_arena_alloc(&c->arena, plan->n_values, sizeof *c->values, "calibrate", error);
    if (!c->values) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct slm_op *op = &plan->ops[i];
        if (op->kind != SLM_OP_MATMUL || op->layer < 0 || c->values[op->in[0]].squares) continue;
        struct sums *s = &c->values[op->in[0]];
        s->width = op->w->n_in;
        s->squares = slm_arena_alloc(&c->arena, s->width, sizeof *s->squares, "calibrate", error);
        if (!s->squares) return SLM_ERR_MEMORY;
    }
    return SLM_OK;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* What a matrix reads; NULL for what is no matrix of a layer. */
static const struct sums *read_by(const struct calibration *c, const struct slm_weight *w)
{
    const struct slm_plan *plan = c->plan;
    for (size_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].kind == SLM_OP_MATMUL && plan->ops[i].w == w && c->values[plan->ops[i].in[0]].squares)
            return &c->values[plan->ops[i].in[0]];
    return NULL;
}

/* Calls `each` for every matrix in the order of layers; rows that are parts of one tensor count once. */
static slm_status each_matrix(struct calibration *c, struct slm_gguf_writer *w,
                              slm_status (*each)(struct slm_gguf_writer *, const char *, const struct sums *,
                                                 struct slm_error *),
                              size_t *n, struct slm_error *error)
{
    const struct slm_model *m = c->model;
    char name[128], last[128] = "";
    *n = 0;
    for (uint32_t l = 0; l < m->hparams.n_layer; l++)
        for (size_t i = 0; i < m->family->n_tensors; i++) {
            const struct slm_tensor_row *row = &m->family->tensors[i];
            if (!(row->flags & SLM_TENSOR_LAYER) || (row->flags & SLM_TENSOR_VECTOR)) continue;
            const unsigned char *field = (const unsigned char *)&m->layers[l] + row->field;
            const struct sums *s = read_by(c, (const struct slm_weight *)(const void *)field);
            slm_tensor_name(name, sizeof name, row->gguf_name, l);
            if (!s || strcmp(name, last) == 0) continue;
            memcpy(last, name, sizeof last);
            SLM_TRY(each(w, name, s, error));
            ++*n;
        }
    return SLM_OK;
}

/* Two tensors a matrix; second dimensions are of experts, of which there is one. */
static slm_status declare(struct slm_gguf_writer *w, const char *name, const struct sums *s, struct slm_error *error)
{
    char text[160];
    const uint64_t sums[2] = {s->width, 1}, one[2] = {1, 1};
    snprintf(text, sizeof text, "%s.in_sum2", name);
    SLM_TRY(slm_gguf_declare_tensor(w, slm_str(text), SLM_DTYPE_F32, sums, 2, error));
    snprintf(text, sizeof text, "%s.counts", name);
    return slm_gguf_declare_tensor(w, slm_str(text), SLM_DTYPE_F32, one, 2, error);
}

/* In the order of declaration. */
static slm_status write_sums(struct slm_gguf_writer *w, const char *name, const struct sums *s,
                             struct slm_error *error)
{
    const float count = (float)s->n_rows;
    for (uint32_t i = 0; i < s->width; i++) {
        const float value = (float)s->squares[i];
        if (!isfinite(value))
            return slm_fail(error, SLM_ERR_NUMERIC, "calibrate", "'%s' was multiplied with what is no number", name);
        SLM_TRY(slm_gguf_write_data(w, &value, sizeof value, error));
    }
    return slm_gguf_write_data(w, &count, sizeof count, error);
}

/* Keys and tensors as llama.cpp's imatrix tool writes them. */
static slm_status write_file(struct calibration *c, const struct slm_calibrate_options *o,
                             const struct slm_windows *text, const char *path, size_t *n_entries,
                             struct slm_error *error)
{
    struct slm_gguf_writer *w;
    const struct slm_str dataset = slm_str(o->dataset ? o->dataset : "");
    SLM_TRY(slm_gguf_writer_open(path, 0, &w, error));
    slm_status status = slm_gguf_write_str(w, "general.type", slm_str("imatrix"), error);
    if (status == SLM_OK) status = slm_gguf_write_strings(w, "imatrix.datasets", &dataset, 1, error);
    if (status == SLM_OK)
        status = slm_gguf_write_i64(w, "imatrix.chunk_count", SLM_GGUF_U32, (int64_t)text->n_windows, error);
    if (status == SLM_OK)
        status = slm_gguf_write_i64(w, "imatrix.chunk_size", SLM_GGUF_U32, (int64_t)text->window, error);
    if (status == SLM_OK) status = each_matrix(c, w, declare, n_entries, error);
    if (status == SLM_OK) status = each_matrix(c, w, write_sums, n_entries, error);
    if (status == SLM_OK) return slm_gguf_writer_finish(w, error);
    slm_gguf_writer_abandon(w);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* The plan, memory and threads for one window at a time. */
static slm_status open_backend(struct calibration *c, const struct slm_session_options *options,
                               struct slm_error *error)
{
    const struct slm_model *m = c->model;
    struct slm_kv_layout layout;
    const struct slm_cpu_weights *weights = NULL;
    if (m->has_no_head || m->hparams.bidirectional)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "calibrate", "this model makes embeddings; it has no next token");
    SLM_TRY(slm_session_resolve(m, options, &c->settings, error));
    SLM_TRY(slm_session_layout(m, &c->settings, &layout, error));
    SLM_TRY(slm_plan_new(&c->plan, error));
    c->plan->headless = true;
    SLM_TRY(slm_plan_finish(c->plan, m->family->build(c->plan, m), error));
    if (c->settings.packed) SLM_TRY(slm_prepared_get(m, &weights, error));
    const size_t n = c->settings.n_batch;
    c->rows = slm_arena_alloc(&c->arena, n, sizeof *c->rows, "calibrate", error);
    c->positions = slm_arena_alloc(&c->arena, n, sizeof *c->positions, "calibrate", error);
    c->kv = slm_arena_alloc(&c->arena, n, sizeof(void *), "calibrate", error);
    c->hidden = slm_arena_alloc(&c->arena, n * m->hparams.n_embd, sizeof *c->hidden, "calibrate", error);
    if (!c->rows || !c->positions || !c->kv || !c->hidden) return SLM_ERR_MEMORY;
    SLM_TRY(slm_kv_pool_open(&c->pool, &layout, slm_kv_pages_for(c->settings.n_ctx), error));
    SLM_TRY(slm_kv_seq_open(&c->seq, c->settings.n_ctx, error));
    for (size_t i = 0; i < n; i++) c->rows[i] = (uint32_t)i, c->kv[i] = &c->seq.view;
    const struct slm_backend_options backend = {.weights = weights, .n_threads = c->settings.n_threads,
                                                .max_tokens = n, .n_ctx = c->settings.n_ctx,
                                                .cpu_mask = m->cpu_mask, .tap = on_value, .tap_user = c};
    SLM_TRY(slm_cpu_open(c->plan, &c->pool.layout, &backend, &c->backend, error));
    return c->settings.packed ? slm_prepared_pack(m, c->backend, error) : SLM_OK;
}

static void close_backend(struct calibration *c)
{
    slm_cpu_close(c->backend);
    slm_kv_seq_close(&c->pool, &c->seq);
    slm_kv_pool_close(&c->pool);
    slm_plan_free(c->plan);
}

/* Each window by itself, in steps of a batch. */
static slm_status run_windows(struct calibration *c, const struct slm_calibrate_options *o,
                              const struct slm_windows *text, struct slm_error *error)
{
    for (size_t i = 0; i < text->n_windows * text->window; i++) /* a tokenizer may know more than the model does */
        if ((uint32_t)text->ids[i] >= c->model->hparams.n_vocab)
            return slm_fail(error, SLM_ERR_FORMAT, "calibrate", "the text has token %d, the model only tokens below %u",
                            text->ids[i], (unsigned)c->model->hparams.n_vocab);
    for (size_t n = 0; n < text->n_windows; n++) {
        int32_t *ids = text->ids + n * text->window;
        if (o->progress && !o->progress(o->user, n, text->n_windows))
            return slm_fail(error, SLM_ERR_CANCELLED, "calibrate", "was cancelled");
        if (text->bos >= 0) ids[0] = text->bos;
        const bool fits = slm_kv_seq_renew(&c->pool, &c->seq, text->window);
        SLM_ASSERT(fits); /* the pool is as large as a window */
        for (size_t at = 0; at < text->window; at += c->settings.n_batch) {
            const size_t left = text->window - at, step = left < c->settings.n_batch ? left : c->settings.n_batch;
            for (size_t i = 0; i < step; i++) c->positions[i] = (uint32_t)(at + i);
            slm_cpu_run(c->backend, &(struct slm_batch){.n_tok = step, .tokens = ids + at, .positions = c->positions,
                                                        .kv = c->kv, .n_out = step, .out_rows = c->rows,
                                                        .logits = c->hidden});
        }
    }
    return SLM_OK;
}

/* The plan says which values to listen to; sums are there before the first token. */
slm_status slm_calibrate(const struct slm_model *model, const char *out, const struct slm_calibrate_options *options,
                         struct slm_calibrate_result *result, struct slm_error *error)
{
    struct calibration c = {.model = model};
    struct slm_windows text = {0};
    struct slm_session_options session = options->session;
    size_t n_entries = 0;
    if (!options->text || !out || !*out)
        return slm_fail(error, SLM_ERR_ARGUMENT, "calibrate", "a text and a path are needed");
    slm_status status = slm_windows_open(model, options->text, options->text_bytes, (size_t)options->n_window,
                                         options->max_windows, &text, error);
    /* Exactly a window: rotation of some models depends on it. */
    session.n_ctx = (int32_t)text.window;
    if (status == SLM_OK) status = open_backend(&c, &session, error);
    if (status == SLM_OK) status = prepare(&c, error);
    if (status == SLM_OK) status = run_windows(&c, options, &text, error);
    if (status == SLM_OK) status = write_file(&c, options, &text, out, &n_entries, error);
    if (status == SLM_OK && result)
        *result = (struct slm_calibrate_result){.n_windows = text.n_windows, .n_entries = n_entries,
                                                .n_tokens = text.n_windows * text.window};
    close_backend(&c);
    slm_windows_release(&text);
    slm_arena_release(&c.arena);
    return status;
}
