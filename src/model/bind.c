/* SPDX-License-Identifier: MIT
 * Binding: the family's rows are walked over the file. Every number is range-checked and every shape compared, so
 * that nothing after this point needs to doubt the model. Messages name the file, the key or tensor, the value found
 * and what is allowed.
 *
 * The same walk serves GGUF files and Hugging Face folders: a row carries the names of both, and the container says
 * which kind it is. What differs beyond names is stated in the row (transform, part of a stored matrix) and applied
 * here, so that families and backends see one kind of model.
 *
 * Matrices are pointed at where the file is mapped; vectors are decoded into the model's arena, ternary matrices are
 * repacked there (ternary.c).
 * Deliberately not here: which rows there are (families/), and anything a single row cannot say (a family's `derive`
 * and `complete`). */
#include <stdio.h>

#include "base/os.h"
#include "model/adapter.h"
#include "model/family.h"
#include "model/ternary.h"
#include "quant/panel.h"

/* One row: found and in range, or its fallback; a required one that is missing is an error that names the key. */
static slm_status read_hparam(struct slm_model *model, const struct slm_hparam_row *row, struct slm_error *error)
{
    char key[160];
    if (!slm_gguf_is_hf(model->gguf))
        snprintf(key, sizeof key, "%s.%s", model->architecture, row->gguf_key ? row->gguf_key : "(not stored)");
    else
        snprintf(key, sizeof key, "%s", row->hf_key ? row->hf_key : "(not stored)");
    unsigned char *field = (unsigned char *)&model->hparams + row->field;
    bool found = false, *found_or_required = row->flags & SLM_HPARAM_REQUIRED ? NULL : &found;
    if (row->type == SLM_HPARAM_U32) {
        int64_t value = (int64_t)row->fallback;
        SLM_TRY(slm_gguf_get_i64(model->gguf, key, (int64_t)row->min, (int64_t)row->max, &value, found_or_required,
                                 error));
        *(uint32_t *)(void *)field = (uint32_t)value;
    } else {
        double value = row->fallback;
        SLM_TRY(slm_gguf_get_f64(model->gguf, key, row->min, row->max, &value, found_or_required, error));
        *(double *)(void *)field = value;
    }
    return SLM_OK;
}

/* names ends with NULL; NULL itself is the empty list. */
static bool is_one_of(struct slm_str name, const char *const *names)
{
    while (names && *names && !slm_str_is(name, *names)) names++;
    return names && *names;
}

/* What is named here and computed otherwise would be a plausible wrong model. */
static slm_status check_activation(const struct slm_model *model, struct slm_error *error)
{
    const char *key = model->family->hf_activation_key;
    struct slm_str is = {0};
    bool found = false;
    if (!key || !slm_gguf_is_hf(model->gguf)) return SLM_OK;
    SLM_TRY(slm_gguf_get_str(model->gguf, key, &is, &found, error));
    if (!found || slm_str_is(is, model->family->hf_activation)) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                    "key '%s' is '%.*s', architecture '%s' is computed with '%s' only", key,
                    (int)(is.len < 40 ? is.len : 40), is.ptr, model->architecture, model->family->hf_activation);
}

/* The scaling type says whether the plain factor counts. Types with formulas of their own belong to the family that
 * knows them (its `complete`); the others are refused, not ignored. */
static slm_status read_rope_scaling(struct slm_model *model, struct slm_error *error)
{
    static const char *const plain[] = {"none", "default", "linear", NULL};
    char key[160] = "rope_scaling.rope_type";
    const bool hf = slm_gguf_is_hf(model->gguf);
    if (!hf) snprintf(key, sizeof key, "%s.rope.scaling.type", model->architecture);
/* Objects are taken apart into keys of their own; what is left under the plain name is something else. */
    static const char *const objects[] = {"rope_scaling", "rope_parameters"};
    for (size_t i = 0; hf && i < sizeof objects / sizeof *objects; i++)
        if (slm_gguf_find(model->gguf, objects[i]))
            return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf), "key '%s' must be an object or null",
                            objects[i]);
    struct slm_str type = slm_str("linear");
    bool found = false;
    SLM_TRY(slm_gguf_get_str(model->gguf, key, &type, &found, error));
    const char *const *own = model->family->rope_types;
    if (!is_one_of(type, plain) && !is_one_of(type, own))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                        "key '%s' is '%.*s', this build knows none, default, linear%s%s for architecture '%s'", key,
                        (int)(type.len < 40 ? type.len : 40), type.ptr, own ? ", " : "", own ? *own : "",
                        model->architecture);
/* The factor belongs to the formula then, not to plain scaling. */
    if (!slm_str_is(type, "linear")) model->hparams.rope_linear_scale = 1.0;
/* GGUF files may leave the factor out: 1 is its default there. */
    if (!hf || !found || !slm_str_is(type, "linear")) return SLM_OK;
    if (slm_gguf_find(model->gguf, "rope_scaling.factor")) return SLM_OK;
    return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                    "key 'rope_scaling.factor' is missing, rope_type linear needs it");
}

/* Whether a token sees the ones behind it: the two kinds of file ask in opposite ways. */
static slm_status read_direction(struct slm_model *model, struct slm_error *error)
{
    const bool hf = slm_gguf_is_hf(model->gguf);
    char key[160] = "use_bidirectional_attention";
    bool value = !hf, found;
    if (!hf) snprintf(key, sizeof key, "%s.attention.causal", model->architecture);
    SLM_TRY(slm_gguf_get_bool(model->gguf, key, &value, &found, error));
    model->hparams.bidirectional = value == hf;
    return SLM_OK;
}

/* Products of two 32-bit numbers, and sums of a few such: no overflow,
 * whatever the file says. */
uint64_t slm_dim_size(const struct slm_hparams *hp, enum slm_dim dim)
{
    const uint64_t sizes[] = {
        [SLM_DIM_ZERO] = 0,
        [SLM_DIM_ONE] = 1,
        [SLM_DIM_EMBD] = hp->n_embd,
        [SLM_DIM_VOCAB] = hp->n_vocab,
        [SLM_DIM_FF] = hp->n_ff,
        [SLM_DIM_Q] = (uint64_t)hp->n_head * hp->head_dim,
        [SLM_DIM_KV] = (uint64_t)hp->n_head_kv * hp->head_dim,
        [SLM_DIM_Q_KV] = ((uint64_t)hp->n_head + hp->n_head_kv) * hp->head_dim,
        [SLM_DIM_Q_KV_KV] = ((uint64_t)hp->n_head + 2 * (uint64_t)hp->n_head_kv) * hp->head_dim,
        [SLM_DIM_FF_FF] = 2 * (uint64_t)hp->n_ff,
        [SLM_DIM_HEAD] = hp->head_dim,
        [SLM_DIM_ROT_HALF] = hp->n_rot / 2,
    };
    return sizes[dim];
}

/* Cut off where it does not fit: then no tensor has that name. */
void slm_tensor_name(char *out, size_t cap, const char *pattern, uint32_t layer)
{
    const char *mark = strchr(pattern, '#');
    if (mark)
        snprintf(out, cap, "%.*s%u%s", (int)(mark - pattern), pattern, layer, mark + 1);
    else
        snprintf(out, cap, "%s", pattern);
}

/* What "model.X" is called in a folder of the bare model: "X". NULL for other names. */
static const char *without_model(const char *name)
{
    static const char front[] = "model.";
    return name && strncmp(name, front, sizeof front - 1) == 0 ? name + sizeof front - 1 : NULL;
}

/* The tensor of a row; name is what the row expands to. Folders of a model without its head lack the first part of
 * the name; some others store a tied matrix under the head's name only. */
static const struct slm_gguf_tensor *find_tensor(const struct slm_model *model, const struct slm_tensor_row *row,
                                                 const char *name)
{
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(model->gguf, slm_str(name));
    if (t || !slm_gguf_is_hf(model->gguf)) return t;
    if (without_model(name)) t = slm_gguf_find_tensor(model->gguf, slm_str(without_model(name)));
    const bool may_be_head = row == &model->family->tensors[0];
    return t || !may_be_head ? t : slm_gguf_find_tensor(model->gguf, slm_str("lm_head.weight"));
}

const struct slm_gguf_tensor *slm_model_find_tensor(const struct slm_model *model, const struct slm_tensor_row *row,
                                                    uint32_t layer)
{
    char name[256];
    const char *pattern = slm_gguf_is_hf(model->gguf) ? row->hf_name : row->gguf_name;
    if (!pattern) return NULL; /* this kind of file has no such tensor */
    slm_tensor_name(name, sizeof name, pattern, layer);
    return find_tensor(model, row, name);
}

/* Shapes follow from hyper-parameters, so a tensor of another shape means that one of the two lies. */
static slm_status check_shape(const struct slm_model *model, const struct slm_tensor_row *row,
                              const struct slm_gguf_tensor *t, const char *name, struct slm_error *error)
{
    const uint64_t want[SLM_GGUF_MAX_DIMS] = {
        slm_dim_size(&model->hparams, row->n_in),
        slm_dim_size(&model->hparams, row->stored ? row->stored : row->n_out), 1, 1};
    for (int i = 0; i < SLM_GGUF_MAX_DIMS; i++)
        if (t->dims[i] != want[i])
            return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                            "tensor '%s' is %llux%llux%llux%llu, expected %llux%llu from the hyper-parameters", name,
                            (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                            (unsigned long long)t->dims[2], (unsigned long long)t->dims[3], (unsigned long long)want[0],
                            (unsigned long long)want[1]);
    return SLM_OK;
}

/* Vectors become f32 in the model's arena: a few kilobytes that spare every kernel a format. */
static slm_status bind_vector(struct slm_model *model, const struct slm_tensor_row *row,
                              const struct slm_gguf_tensor *t, const char *name, struct slm_weight *out,
                              struct slm_error *error)
{
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    if (info->block != 1 || t->dtype == SLM_DTYPE_U8)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                        "tensor '%s' has type %s, allowed for vectors are F32, F16 and BF16", name, info->name);
    float *values = slm_arena_alloc(&model->arena, t->n_elements, sizeof *values, name, error);
    if (!values) return SLM_ERR_MEMORY;
    info->decode(t->data, values, t->n_elements);
    if (row->transform == SLM_TRANSFORM_ADD_ONE && slm_gguf_is_hf(model->gguf))
        for (uint64_t i = 0; i < t->n_elements; i++) values[i] += 1.0f;
    out->data = (const unsigned char *)values;
    out->dtype = SLM_DTYPE_F32;
    out->row_bytes = t->n_elements * sizeof *values;
    return SLM_OK;
}

/* Rows [first, first + n_out) of the tensor, where they lie. Codes whose scales are not in groups are for ternary rows
 * only: nothing else could multiply them. */
static slm_status bind_matrix(const struct slm_model *model, const struct slm_tensor_row *row,
                              const struct slm_gguf_tensor *t, struct slm_weight *out, struct slm_error *error)
{
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    const uint64_t first = slm_dim_size(&model->hparams, row->first);
    if (t->group == 0 && (t->dtype >= SLM_DTYPE_I2_S || t->scales))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                        "tensor '%s' is quantized in a way that architecture '%s' is not known to use", out->name,
                        model->architecture);
    out->n_out = (uint32_t)slm_dim_size(&model->hparams, row->n_out);
    out->dtype = t->dtype;
    out->row_bytes = t->dims[0] / info->block * info->block_bytes;
    out->data = t->data + first * out->row_bytes;
    out->packed = t->packed;
    if (t->packed && first % SLM_PANEL_ROWS != 0)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                        "tensor '%s' is packed, and its part from row %llu on does not begin a panel of %d rows",
                        out->name, (unsigned long long)first, SLM_PANEL_ROWS);
    if (t->packed) out->data = t->data + first / SLM_PANEL_ROWS * slm_pack_panel_bytes(t->dtype, (size_t)t->dims[0]);
    if (t->group == 0) return SLM_OK;
/* Scales and biases have as many rows as the codes. */
    const size_t scale_bytes = t->dims[0] / t->group * slm_dtypes[t->scales->dtype].block_bytes;
    out->group = t->group;
    out->scale_dtype = t->scales->dtype;
    out->scales = t->scales->data + first * scale_bytes;
    out->biases = t->biases->data + first * scale_bytes;
    return SLM_OK;
}

/* One row of one layer: found, of the right shape, and pointed at; vectors and ternary matrices are copied. */
static slm_status bind_tensor(struct slm_model *model, const struct slm_tensor_row *row, uint32_t layer, void *owner,
                              struct slm_error *error)
{
    char name[256];
    const char *pattern = slm_gguf_is_hf(model->gguf) ? row->hf_name : row->gguf_name;
    if (!pattern) return SLM_OK; /* this kind of file has no such tensor */
    slm_tensor_name(name, sizeof name, pattern, layer);
    struct slm_weight *out = (struct slm_weight *)(void *)((unsigned char *)owner + row->field);
    const struct slm_gguf_tensor *t = find_tensor(model, row, name);
    if (!t) {
        if (row->flags & SLM_TENSOR_OPTIONAL) return SLM_OK;
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                        "tensor '%s' is missing, architecture '%s' needs it", name, model->architecture);
    }
    SLM_TRY(check_shape(model, row, t, name, error));
    out->name = slm_arena_copy(&model->arena, name, strlen(name), error);
    if (!out->name) return SLM_ERR_MEMORY;
    out->n_in = (uint32_t)t->dims[0];
    out->n_out = (uint32_t)t->dims[1];
    if (row->flags & SLM_TENSOR_VECTOR) return bind_vector(model, row, t, name, out, error);
    if (row->flags & SLM_TENSOR_TERNARY && slm_ternary_trained(model)) return slm_ternary_bind(model, t, out, error);
    return bind_matrix(model, row, t, out, error);
}

/* The embedding alone knows the vocabulary size, and the tokenizer must agree with it. */
static slm_status read_vocab_size(struct slm_model *model, struct slm_error *error)
{
    const char *where = slm_gguf_name(model->gguf);
    const struct slm_tensor_row *row = &model->family->tensors[0];
    const char *name = slm_gguf_is_hf(model->gguf) ? row->hf_name : row->gguf_name;
    const struct slm_gguf_tensor *t = find_tensor(model, row, name);
    if (!t) return slm_fail(error, SLM_ERR_FORMAT, where, "tensor '%s', the token embedding, is missing", name);
    if (t->dims[1] > INT32_MAX)
        return slm_fail(error, SLM_ERR_LIMIT, where, "tensor '%s' has %llu rows, allowed are 1 to %d", name,
                        (unsigned long long)t->dims[1], INT32_MAX);
    model->hparams.n_vocab = (uint32_t)t->dims[1];
    if (model->tokenizer && slm_tokenizer_n_vocab(model->tokenizer) != model->hparams.n_vocab)
        return slm_fail(error, SLM_ERR_FORMAT, where, "the tokenizer has %zu tokens but the embedding has %u rows",
                        slm_tokenizer_n_vocab(model->tokenizer), model->hparams.n_vocab);
    return SLM_OK;
}

/* A missing head means that it is tied to the embedding. */
static slm_status bind_tensors(struct slm_model *model, struct slm_error *error)
{
    const struct slm_family *family = model->family;
    model->layers = slm_arena_alloc(&model->arena, model->hparams.n_layer, sizeof *model->layers, "layers", error);
    if (!model->layers) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < family->n_tensors; i++) {
        const struct slm_tensor_row *row = &family->tensors[i];
        if (!(row->flags & SLM_TENSOR_LAYER)) {
            SLM_TRY(bind_tensor(model, row, 0, &model->globals, error));
            continue;
        }
        for (uint32_t l = 0; l < model->hparams.n_layer; l++)
            SLM_TRY(bind_tensor(model, row, l, &model->layers[l], error));
    }
    if (!model->globals.output.data) model->globals.output = model->globals.token_embd; /* tied head */
    return SLM_OK;
}

/* A '#' stands for digits; everything else for itself. */
static bool names(const char *pattern, struct slm_str name)
{
    size_t at = 0;
    for (; pattern && *pattern && at < name.len; pattern++) {
        if (*pattern == '#') while (at < name.len && name.ptr[at] >= '0' && name.ptr[at] <= '9') at++;
        else if (name.ptr[at++] != *pattern) break;
    }
    return pattern && !*pattern && at == name.len;
}

/* Is this the name of a row, for any layer? */
static bool has_row(const struct slm_model *model, struct slm_str name)
{
    const bool hf = slm_gguf_is_hf(model->gguf);
    for (size_t i = 0; i < model->family->n_tensors; i++) {
        const struct slm_tensor_row *row = &model->family->tensors[i];
        const char *pattern = hf ? row->hf_name : row->gguf_name;
        if (names(pattern, name) || (hf && names(without_model(pattern), name))) return true;
    }
    return false;
}

/* A bias or norm that no row asks for belongs to a model that is not quite this family. Old folders repeat the
 * rotation's frequencies in every layer; those are no weights. */
static slm_status check_leftovers(const struct slm_model *model, struct slm_error *error)
{
    static const char frequencies[] = ".rotary_emb.inv_freq";
    const size_t n = sizeof frequencies - 1;
    for (size_t i = 0; i < slm_gguf_n_tensors(model->gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(model->gguf, i);
        if (t->n_dims != 1 || t->n_elements == 1 || t->side || has_row(model, t->name)) continue;
        if (t->name.len > n && memcmp(t->name.ptr + t->name.len - n, frequencies, n) == 0) continue;
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                        "tensor '%.*s' has no place in architecture '%s': without it the answers would be wrong",
                        (int)(t->name.len < 80 ? t->name.len : 80), t->name.ptr, model->architecture);
    }
    return SLM_OK;
}

/* What the file holds, tied or not: a tied head that is stored all the same counts once, and scales are no weights. */
static slm_status count_params(struct slm_model *model, struct slm_error *error)
{
    bool tied = false, found = false;
    if (slm_gguf_is_hf(model->gguf))
        SLM_TRY(slm_gguf_get_bool(model->gguf, "tie_word_embeddings", &tied, &found, error));
    const struct slm_gguf_tensor *head = tied ? slm_gguf_find_tensor(model->gguf, slm_str("lm_head.weight")) : NULL;
    const bool twice = head && slm_gguf_find_tensor(model->gguf, slm_str(model->family->tensors[0].hf_name));
    for (size_t i = 0; i < slm_gguf_n_tensors(model->gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(model->gguf, i);
        if (!t->side && !(t == head && twice)) model->n_params += t->n_elements;
    }
    return SLM_OK;
}

/* In this order because shapes need hyper-parameters, completing needs tensors, and the plan needs both. */
slm_status slm_model_bind(struct slm_model *model, struct slm_error *error)
{
    const struct slm_family *family = model->family;
    SLM_TRY(count_params(model, error));
    for (size_t i = 0; i < family->n_hparams; i++) SLM_TRY(read_hparam(model, &family->hparams[i], error));
    for (size_t i = 0; i < family->n_more_hparams; i++) SLM_TRY(read_hparam(model, &family->more_hparams[i], error));
    SLM_TRY(check_activation(model, error));
    SLM_TRY(read_rope_scaling(model, error));
    SLM_TRY(read_direction(model, error));
    SLM_TRY(family->derive(&model->hparams, slm_gguf_name(model->gguf), error));
    SLM_TRY(read_vocab_size(model, error));
    SLM_TRY(bind_tensors(model, error));
    SLM_TRY(check_leftovers(model, error));
    if (family->complete) SLM_TRY(family->complete(model, error));
    SLM_TRY(slm_adapters_bind(model, error));
    SLM_TRY(slm_plan_new(&model->plan, error));
    return slm_plan_finish(model->plan, family->build(model->plan, model), error);
}

void slm_model_free(struct slm_model *model)
{
    if (!model) return;
    slm_plan_free(model->plan);
    slm_tokenizer_free(model->tokenizer);
    slm_adapters_close(model);
    slm_gguf_close(model->gguf);
    slm_arena_release(&model->arena);
    slm_release(model);
}

const char *slm_model_size_class(uint64_t n_params)
{
    static const struct { uint64_t below; const char *name; } classes[] = {
        {100000000, "tiny"}, {1450000000, "micro"}, {13950000000, "small"}, {30500000001, "medium"}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (n_params < classes[i].below) return classes[i].name;
    return "large";
}

enum slm_rope_style slm_model_rope_style(const struct slm_model *model)
{
    /* Without a file it is a shape, whose files are GGUF. */
    return model->gguf && slm_gguf_is_hf(model->gguf) ? SLM_ROPE_NEOX : SLM_ROPE_NORM;
}

const struct slm_weight *slm_weight_or_null(const struct slm_weight *w) { return w->data ? w : NULL; }
