/* SPDX-License-Identifier: MIT
 * A Hugging Face folder as the source of a conversion. The model is opened as for running, so everything has been
 * checked; then the family's rows are walked over the bound weights: the row has the GGUF name, the weight its shape
 * and where its rows lie. Nothing here knows a family.
 *
 * Rows with the same GGUF name are parts of one matrix, in the order of the table. Vectors are taken as they were
 * bound: f32, transforms done, computed ones (rotary factors) included. */
#include "base/os.h"
#include "engine/model_open.h"
#include "families/families.h"
#include "format/hf_folder.h"
#include "tune/convert.h"

/* Rotated in the order of the file, so rows are reordered where GGUF has another. */
static uint32_t pair_rows(const struct slm_conversion *c, const struct slm_tensor_row *row)
{
    return row->transform == SLM_TRANSFORM_ROPE_PAIRS ? c->model->hparams.head_dim : 0;
}

/* The same matrix as the row before: one more part of it. */
static bool add_part(struct slm_conversion *c, const struct slm_tensor_row *row, const char *name, uint32_t n_rows,
                     const struct slm_stream_part *part)
{
    struct slm_stream_tensor *last = c->n_tensors ? &c->tensors[c->n_tensors - 1] : NULL;
    if (!row->stored || !last || !slm_str_is(last->name, name)) return false;
    SLM_ASSERT(last->n_parts < SLM_STREAM_MAX_PARTS);
    last->parts[last->n_parts++] = *part;
    last->dims[1] += n_rows;
    return true;
}

/* Where the rows of a weight lie, and how they are read: as they are, or with scales that stand elsewhere. */
static slm_status find_rows(const struct slm_conversion *c, const struct slm_tensor_row *row, uint32_t layer,
                            const struct slm_weight *w, struct slm_stream_part *part, struct slm_error *error)
{
    *part = (struct slm_stream_part){.data = w->data, .n_rows = w->n_out};
    if (!w->scales && w->ternary_scale == 0) return SLM_OK;
    part->tensor = slm_model_find_tensor(c->model, row, layer);
    part->first = slm_dim_size(&c->model->hparams, row->first);
    return w->scales ? SLM_OK : slm_ternary_find_rule(c->model, part->tensor, w, &part->rule, error);
}

static slm_status add_tensor(struct slm_conversion *c, const struct slm_tensor_row *row, uint32_t layer,
                             const struct slm_weight *w, struct slm_error *error)
{
    char text[256];
    struct slm_stream_part part;
    /* Absent, or a head that is the embedding: GGUF says that by leaving it out. */
    const struct slm_weight *embd = &c->model->globals.token_embd;
    if (!w->data || (w != embd && w->data == embd->data)) return SLM_OK;
    slm_tensor_name(text, sizeof text, row->gguf_name, layer);
    const char *name = slm_arena_copy(&c->arena, text, strlen(text), error);
    if (!name) return SLM_ERR_MEMORY;
    SLM_TRY(find_rows(c, row, layer, w, &part, error));
    if (add_part(c, row, name, w->n_out, &part)) return SLM_OK;
    struct slm_stream_tensor *t = &c->tensors[c->n_tensors++];
    /* Codes become F16 unless asked otherwise. */
    *t = (struct slm_stream_tensor){.name = slm_str(name), .dims = {w->n_in, w->n_out, 1, 1}, .n_dims = 2,
                                    .from = w->dtype, .to = part.tensor ? SLM_DTYPE_F16 : w->dtype,
                                    .ternary = w->ternary_scale != 0, .parts = {part}, .n_parts = 1,
                                    .pair_rows = pair_rows(c, row), .gain = 1.0f};
    if (!(row->flags & SLM_TENSOR_VECTOR)) return SLM_OK;
    t->fixed = true;
    t->n_dims = 1;
    /* Reordering is of rows, which for a vector are single elements. */
    if (t->pair_rows) t->parts[0].n_rows = w->n_in;
    return SLM_OK;
}

/* Room for every row of every layer; some rows are parts of one tensor, and some are absent. */
static slm_status list_tensors(struct slm_conversion *c, struct slm_error *error)
{
    struct slm_model *m = c->model;
    const struct slm_family *family = m->family;
    const size_t most = family->n_tensors * ((size_t)m->hparams.n_layer + 1) + SLM_N_DENSE_NAMES;
    c->tensors = slm_arena_alloc(&c->arena, most, sizeof *c->tensors, c->in, error);
    if (!c->tensors) return SLM_ERR_MEMORY;
    for (int32_t l = -1; l < (int32_t)m->hparams.n_layer; l++) { /* -1: those that belong to no layer */
        unsigned char *owner = l < 0 ? (unsigned char *)&m->globals : (unsigned char *)&m->layers[l];
        for (size_t i = 0; i < family->n_tensors; i++) {
            const struct slm_tensor_row *row = &family->tensors[i];
            if (!(row->flags & SLM_TENSOR_LAYER) != (l < 0)) continue;
            SLM_TRY(add_tensor(c, row, (uint32_t)l, (const struct slm_weight *)(const void *)(owner + row->field),
                               error));
        }
    }
    return SLM_OK;
}

/* ---- embedding ------------------------------------------------------------------------------------------------- */

/* Folders of embedding models say how hidden states become one vector, those of ranking models have a head for it; the
 * others have neither. */
static slm_status read_rules(struct slm_conversion *c, struct slm_error *error)
{
    struct slm_map map;
    bool found = false;
    SLM_TRY(slm_hf_map(c->in, "modules.json", &map, &found, error));
    if (found) slm_os()->unmap(&map);
    if (!found && !slm_gguf_find_tensor(c->gguf, slm_str(SLM_RANK_OUTPUT_HF))) return SLM_OK;
    return slm_embed_rules_read(c->model, NULL, &c->rules, error);
}

/* Layers behind the pooling: GGUF has names for two plain ones, and for the head of a ranking model. */
static slm_status add_dense(struct slm_conversion *c, struct slm_error *error)
{
    if (c->rules.n_dense > SLM_N_DENSE_NAMES)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, c->in, "modules.json has %zu Dense steps, GGUF files hold %d",
                        c->rules.n_dense, SLM_N_DENSE_NAMES);
    const bool ranks = c->rules.pooling == SLM_POOLING_RANK; /* a folder's head is one plain layer */
    for (size_t i = 0; i < c->rules.n_dense; i++) {
        const struct slm_dense *dense = &c->rules.dense[i];
        if (dense->bias || dense->tanh)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(dense->file),
                            "the layer has %s, which GGUF files have no place for", dense->bias ? "a bias" : "tanh");
        const struct slm_stream_part part = {.data = dense->w.data, .n_rows = dense->w.n_out};
        c->tensors[c->n_tensors++] = (struct slm_stream_tensor){
            .name = slm_str(ranks ? SLM_RANK_OUTPUT : slm_dense_names[i]),
            .dims = {dense->w.n_in, dense->w.n_out, 1, 1}, .n_dims = 2,
            .from = dense->w.dtype, .to = dense->w.dtype, .parts = {part}, .n_parts = 1, .gain = 1.0f};
    }
    return SLM_OK;
}

/* What other readers do not do: they know the layers where the first of the models had them, and make vectors as wide
 * as the model. */
static void note_dense(const struct slm_conversion *c)
{
    const struct slm_embed_rules *rules = &c->rules;
    const uint32_t width = rules->n_dense ? rules->dense[rules->n_dense - 1].w.n_out : c->model->hparams.n_embd;
    const bool known = c->model->family->has_dense && width == c->model->hparams.n_embd;
    if (!c->options->note) return;
    if (rules->n_dense > 0 && !known)
        c->options->note(c->options->user, "other programs know no layers behind the pooling of this architecture, or "
                                           "none that change the width: they may refuse the file");
    if (rules->prompt)
        c->options->note(c->options->user, "the folder puts a prompt in front of texts unless told otherwise, which a "
                                           "GGUF file cannot say");
}

static slm_status write_rules(const struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error)
{
    static const int64_t types[] = {[SLM_POOLING_MEAN] = 1, [SLM_POOLING_CLS] = 2, [SLM_POOLING_LAST] = 3,
                                    [SLM_POOLING_RANK] = 4};
    static const char *const sizes[][2] = {{"dense_2_feat_in", "dense_2_feat_out"},
                                           {"dense_3_feat_in", "dense_3_feat_out"}};
    char key[SLM_MODEL_KEY_BYTES];
    if (c->rules.pooling == SLM_POOLING_DEFAULT) return SLM_OK;
    SLM_TRY(slm_gguf_write_i64(w, slm_model_key(c->model, "pooling_type", key), SLM_GGUF_U32, types[c->rules.pooling],
                               error));
    if (c->rules.pooling == SLM_POOLING_RANK) return SLM_OK; /* its layer says how wide it is */
    for (size_t i = 0; i < c->rules.n_dense; i++) {
        const struct slm_weight *dense = &c->rules.dense[i].w;
        SLM_TRY(slm_gguf_write_i64(w, slm_model_key(c->model, sizes[i][0], key), SLM_GGUF_U32, dense->n_in, error));
        SLM_TRY(slm_gguf_write_i64(w, slm_model_key(c->model, sizes[i][1], key), SLM_GGUF_U32, dense->n_out, error));
    }
    note_dense(c);
    return SLM_OK;
}

/* ---- the source ------------------------------------------------------------------------------------------------ */

static slm_status list(struct slm_conversion *c, struct slm_error *error)
{
    SLM_TRY(slm_model_open_stored(c->in, &c->model, error));
    c->gguf = c->model->gguf;
    SLM_TRY(read_rules(c, error));
    SLM_TRY(list_tensors(c, error));
    return add_dense(c, error);
}

/* Multiplies the weights that the family named. */
static void apply_gain(struct slm_conversion *c, const struct slm_export *e)
{
    for (size_t i = 0; e->gain != 1.0 && i < c->n_tensors; i++)
        for (uint32_t l = 0; l < c->model->hparams.n_layer; l++) {
            const unsigned char *field = (const unsigned char *)&c->model->layers[l] + e->gain_field;
            const struct slm_weight *w = (const struct slm_weight *)(const void *)field;
            if (w->data && w->data == c->tensors[i].parts[0].data) c->tensors[i].gain = (float)e->gain;
        }
}

/* The shape in which the tokenizer's reader hands over what it read. */
static slm_status write_tokenizer(void *user, const struct slm_tokenizer_source *source, struct slm_error *error)
{
    return slm_tokenizer_write_gguf(source, user, error);
}

static slm_status write_keys(struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error)
{
    const struct slm_model *m = c->model;
    struct slm_export e = {.writer = w, .gain = 1.0};
    SLM_TRY(slm_convert_write_general(c, w, error));
    SLM_TRY(slm_model_export(m, &e, error));
    apply_gain(c, &e);
    SLM_TRY(write_rules(c, w, error));
    if (e.note && c->options->note) c->options->note(c->options->user, e.note);
    if (!m->tokenizer) return slm_gguf_write_str(w, "tokenizer.ggml.model", slm_str("none"), error);
    SLM_TRY(slm_tokenizer_read_hf(c->in, m->hparams.n_vocab, write_tokenizer, w, error));
    const bool own_template = m->chat_template && m->chat_template != m->family->chat_template;
    return own_template ? slm_gguf_write_str(w, "tokenizer.chat_template", slm_str(m->chat_template), error) : SLM_OK;
}

const struct slm_convert_source slm_convert_folder = {.list = list, .write_keys = write_keys};
