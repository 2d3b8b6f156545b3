/* SPDX-License-Identifier: MIT
 * LoRA adapters: files -> low-rank additions to weights.
 *
 * Two kinds of file say the same thing. A PEFT folder has settings (adapter_config.json) and matrices named after the
 * modules of transformers; a GGUF adapter (llama.cpp's) has one number, alpha, and matrices named after GGUF tensors.
 * The family's rows carry both names, so either kind fits either kind of model. Rows of q and k that GGUF keeps in
 * another order (SLM_TRANSFORM_ROPE_PAIRS) are reordered on the way; matrices a model stores as one are cut as the
 * model's are.
 *
 * The weights themselves are not touched: they may be quantized, and they lie in a mapped file. What adapters add is
 * computed beside them, as x . down^T . up^T (plan.c). All adapters of one weight become one such pair: their rows and
 * columns are put behind each other, with the scale multiplied into `up`. The pair is f32 in the model's arena: rank
 * times (n_in + n_out) elements, and nothing of the files is needed afterwards.
 *
 * What would change the result and is not done here is refused by name: settings of PEFT that this file does not know,
 * tensors that belong to no matrix of the model. Deliberately not here: merging adapters into weights, training. */
#include "model/adapter.h"

#include <math.h>
#include <stdio.h>

#include "base/os.h"
#include "format/hf_folder.h"
#include "model/family.h"

enum { MAX_NAME = 320, MAX_RANK = 1 << 16 };
#define PEFT_FRONT "base_model.model." /* of every tensor that PEFT saves */

/* ---- settings ------------------------------------------------------------------------------------------------ */

/* Settings of PEFT that do not change what a trained adapter computes, and those that are read below. A dot at the end:
 * all keys of that object. */
static const char *const known_keys[] = {
    "peft_type", "r", "lora_alpha", "use_rslora", "bias", "init_lora_weights", "rank_pattern.", "alpha_pattern.",
    "task_type", "auto_mapping.", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "fan_in_fan_out",
    "megatron_core", "megatron_config.", "loftq_config.", "eva_config.", "corda_config.", "lora_ga_config.",
    "qalora_group_size", "runtime_config.", "ensure_weight_tying"};

/* Exact names, or all keys of an object. */
static bool is_known(struct slm_str key)
{
    for (size_t i = 0; i < sizeof known_keys / sizeof *known_keys; i++) {
        const struct slm_str known = slm_str(known_keys[i]);
        const bool object = known.ptr[known.len - 1] == '.';
        if (object ? slm_str_starts_with(key, known) : slm_str_equal(key, known)) return true;
    }
    return false;
}

/* PEFT writes every setting it has, most of them switched off. (null and empty lists are not even kept.) */
static bool says_nothing(const struct slm_gguf_kv *kv)
{
    if (kv->type == SLM_GGUF_BOOL) return slm_gguf_i64_at(kv, 0) == 0;
    struct slm_str text;
    size_t cursor = 0;
    return kv->type == SLM_GGUF_STRING && slm_gguf_next_string(kv, &cursor, &text) && text.len == 0;
}

/* A setting that must be one of a few words; absent is fine. */
static slm_status check_word(const struct slm_gguf *gguf, const char *key, const char *const words[], const char *list,
                             struct slm_error *error)
{
    struct slm_str value;
    bool found;
    SLM_TRY(slm_gguf_get_str(gguf, key, &value, &found, error));
    if (!found) return SLM_OK;
    for (size_t i = 0; words[i]; i++)
        if (slm_str_is(value, words[i])) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(gguf), "key '%s' is '%.*s', supported is %s", key,
                    (int)(value.len < 40 ? value.len : 40), value.ptr, list);
}

/* Whatever changes the result must be known; what is switched off may have any name. */
static slm_status check_peft(const struct slm_gguf *gguf, struct slm_error *error)
{
    static const char *const types[] = {"LORA", NULL}, *const biases[] = {"none", NULL};
    /* Others start from changed base weights, which the adapter does not bring along. */
    static const char *const inits[] = {"gaussian", "eva", "orthogonal", NULL};
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) {
        const struct slm_gguf_kv *kv = slm_gguf_kv_at(gguf, i);
        if (is_known(kv->key) || says_nothing(kv)) continue;
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(gguf),
                        "key '%.*s' asks for something this build does not know; plain LoRA is supported",
                        (int)(kv->key.len < 60 ? kv->key.len : 60), kv->key.ptr);
    }
    if (!slm_gguf_find(gguf, "peft_type"))
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(gguf), "key 'peft_type' is missing, LORA is supported");
    SLM_TRY(check_word(gguf, "peft_type", types, "LORA", error));
    SLM_TRY(check_word(gguf, "bias", biases, "none", error));
    const struct slm_gguf_kv *init = slm_gguf_find(gguf, "init_lora_weights");
    if (!init || init->type == SLM_GGUF_BOOL) return SLM_OK;
    return check_word(gguf, "init_lora_weights", inits, "true, false, gaussian, eva and orthogonal", error);
}

/* llama.cpp's adapters. Other keys than its own come from the base model's card and mean nothing here. */
static slm_status check_gguf(const struct slm_model *model, const struct slm_gguf *gguf, struct slm_error *error)
{
    static const char *const kinds[] = {"adapter", NULL}, *const types[] = {"lora", NULL};
    static const char *const known[] = {"adapter.type", "adapter.lora.alpha", "adapter.lora.task_name",
                                        "adapter.lora.prompt_prefix"};
    const char *architectures[] = {model->architecture, NULL};
    if (!slm_gguf_find(gguf, "adapter.type"))
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(gguf),
                        "this is no adapter: it has no key 'adapter.type'; a model is given without --lora");
    SLM_TRY(check_word(gguf, "general.type", kinds, "adapter", error));
    SLM_TRY(check_word(gguf, "adapter.type", types, "lora", error));
    SLM_TRY(check_word(gguf, "general.architecture", architectures, "the model's architecture", error));
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) {
        const struct slm_str key = slm_gguf_kv_at(gguf, i)->key;
        bool ok = !slm_str_starts_with(key, slm_str("adapter."));
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) ok = ok || slm_str_is(key, known[k]);
        if (!ok)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(gguf),
                            "key '%.*s' asks for something this build does not know; plain LoRA is supported",
                            (int)(key.len < 60 ? key.len : 60), key.ptr);
    }
    return SLM_OK;
}

/* Does PEFT's pattern name this module? It is a regular expression for the end of a name, from a dot on; the ones in
 * use are plain names. */
static bool pattern_names(struct slm_str pattern, struct slm_str module)
{
    if (pattern.len && pattern.ptr[0] == '^') /* the whole name */
        return slm_str_equal((struct slm_str){pattern.ptr + 1, pattern.len - 1}, module);
    if (pattern.len > module.len) return false;
    const size_t front = module.len - pattern.len;
    return memcmp(module.ptr + front, pattern.ptr, pattern.len) == 0 && (front == 0 || module.ptr[front - 1] == '.');
}

/* Letters, digits, underscores; and dots, which a regular expression would let stand for anything. */
static bool is_plain(struct slm_str pattern)
{
    for (size_t i = pattern.len && pattern.ptr[0] == '^'; i < pattern.len; i++) {
        const unsigned char c = (unsigned char)pattern.ptr[i];
        const bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '_' && c != '.') return false;
    }
    return true;
}

/* The key whose value holds for this module: the first pattern that names it, else the general one. */
static slm_status choose_key(const struct slm_gguf *gguf, const char *patterns, const char *general,
                             struct slm_str module, char key[MAX_NAME], struct slm_error *error)
{
    const struct slm_str prefix = slm_str(patterns);
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) {
        const struct slm_str full = slm_gguf_kv_at(gguf, i)->key;
        if (!slm_str_starts_with(full, prefix)) continue;
        const struct slm_str pattern = {full.ptr + prefix.len, full.len - prefix.len};
        if (!is_plain(pattern))
            return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(gguf),
                            "key '%.*s' is a regular expression, supported are names of modules",
                            (int)(full.len < 100 ? full.len : 100), full.ptr);
        if (!pattern_names(pattern, module)) continue;
        snprintf(key, MAX_NAME, "%.*s", (int)full.len, full.ptr);
        return SLM_OK;
    }
    snprintf(key, MAX_NAME, "%s", general);
    return SLM_OK;
}

/* What multiplies up . down for a module: asked scale * alpha / rank, or / sqrt(rank). rank is the stored one. */
static slm_status scale_of(const struct slm_adapter_part *part, struct slm_str module, const char *tensor,
                           uint64_t rank, double *scale, struct slm_error *error)
{
    const struct slm_gguf *gguf = part->gguf;
    double alpha = 0;
    bool found, rslora = false;
    if (!slm_gguf_is_hf(gguf)) {
        SLM_TRY(slm_gguf_get_f64(gguf, "adapter.lora.alpha", -1e9, 1e9, &alpha, &found, error));
        *scale = alpha != 0 ? part->scale * alpha / (double)rank : part->scale; /* no alpha: as llama.cpp does */
        return SLM_OK;
    }
    char key[MAX_NAME];
    int64_t r;
    SLM_TRY(choose_key(gguf, "rank_pattern.", "r", module, key, error));
    SLM_TRY(slm_gguf_get_i64(gguf, key, 1, MAX_RANK, &r, NULL, error));
    if ((uint64_t)r != rank)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(gguf), "tensor '%s' has rank %llu, key '%s' says %lld",
                        tensor, (unsigned long long)rank, key, (long long)r);
    SLM_TRY(choose_key(gguf, "alpha_pattern.", "lora_alpha", module, key, error));
    SLM_TRY(slm_gguf_get_f64(gguf, key, -1e9, 1e9, &alpha, NULL, error));
    SLM_TRY(slm_gguf_get_bool(gguf, "use_rslora", &rslora, &found, error));
    *scale = part->scale * alpha / (rslora ? sqrt((double)rank) : (double)rank);
    return SLM_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

slm_status slm_adapters_open(struct slm_model *model, const struct slm_adapter *adapters, size_t n,
                             struct slm_error *error)
{
    if (n == 0) return SLM_OK;
    if (n > SLM_MAX_ADAPTERS)
        return slm_fail(error, SLM_ERR_LIMIT, "adapters", "%zu are given, at most %d are allowed", n, SLM_MAX_ADAPTERS);
    model->adapters = slm_arena_alloc(&model->arena, n, sizeof *model->adapters, "adapters", error);
    if (!model->adapters) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        struct slm_adapter_part *part = &model->adapters[i];
        const char *path = adapters[i].path ? adapters[i].path : "";
        part->scale = (double)adapters[i].scale;
        if (!isfinite(part->scale))
            return slm_fail(error, SLM_ERR_ARGUMENT, path, "the scale of an adapter must be a finite number");
        /* Anything but a PEFT folder is taken for a GGUF file, whose reader says what is wrong with it. */
        const bool peft = slm_hf_is_folder(path, "adapter_config.json");
        SLM_TRY(peft ? slm_hf_open_module(path, "adapter_config.json", "adapter_model.safetensors", &part->gguf, error)
                     : slm_gguf_open(path, NULL, &part->gguf, error));
        model->n_adapters = i + 1;
    }
    return SLM_OK;
}

void slm_adapters_close(struct slm_model *model)
{
    for (size_t i = 0; i < model->n_adapters; i++) slm_gguf_close(model->adapters[i].gguf);
    model->n_adapters = 0;
}

/* ---- binding ------------------------------------------------------------------------------------------------- */

/* The two matrices of one adapter for one weight, as stored. */
struct pair {
    const struct slm_gguf_tensor *down, *up; /* [rank, n_in], [stored rows, rank] */
    double scale;
    bool reorder; /* model and adapter order the rows of q and k differently */
};

/* One weight and where it comes from. */
struct target {
    const struct slm_tensor_row *row;
    uint32_t layer;
    struct slm_weight *weight;
};

/* Which tensors of an adapter have found their matrix, one byte each; and was it made for a model that does more than
 * this language model inside of it (sees, hears)? */
struct marks {
    unsigned char *used[SLM_MAX_ADAPTERS];
    bool wrapped[SLM_MAX_ADAPTERS];
};

enum { WAY_PLAIN, WAY_HEADLESS, WAY_WRAPPED }; /* and further ones from there on */

/* What PEFT may call the module or tensor "model.X": that; "X" in an adapter of a model without its head; or what it is
 * called inside a bigger model. Empty where a way has no name; false when there are no further ways. */
static bool name_in(size_t way, const char *plain, char *out, size_t cap)
{
    static const char front[] = "model.";
    if (way >= WAY_WRAPPED) return slm_hf_wrapped_name(way - WAY_WRAPPED, plain, out, cap);
    const bool in_front = strncmp(plain, front, sizeof front - 1) == 0;
    snprintf(out, cap, "%s", way == WAY_PLAIN ? plain : in_front ? plain + sizeof front - 1 : "");
    return true;
}

/* A tensor by name, marked as used. */
static const struct slm_gguf_tensor *find(const struct slm_adapter_part *part, struct marks *marks, size_t adapter,
                                          const char *name)
{
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(part->gguf, slm_str(name));
    if (t) marks->used[adapter][t - slm_gguf_tensor_at(part->gguf, 0)] = 1;
    return t;
}

/* Names of the two tensors for the name of a module or tensor; false when the adapter has neither. */
static bool find_named(const struct slm_adapter_part *part, struct marks *marks, size_t adapter, const char *name,
                       char names[2][MAX_NAME], struct pair *out)
{
    const bool hf = slm_gguf_is_hf(part->gguf);
    for (int i = 0; i < 2; i++)
        snprintf(names[i], MAX_NAME, "%s%s%s", hf ? PEFT_FRONT : "", name,
                 hf ? (i ? ".lora_B.weight" : ".lora_A.weight") : (i ? ".lora_b" : ".lora_a"));
    out->down = find(part, marks, adapter, names[0]);
    out->up = find(part, marks, adapter, names[1]);
    return out->down || out->up;
}

/* Shapes follow from the weight; the rank from the tensor itself. */
static slm_status check_pair(const struct slm_model *model, const struct target *target, const struct pair *pair,
                             const char *where, char names[2][MAX_NAME], struct slm_error *error)
{
    const struct slm_tensor_row *row = target->row;
    if (!pair->down || !pair->up)
        return slm_fail(error, SLM_ERR_FORMAT, where, "tensor '%s' is missing beside '%s'", names[pair->down ? 1 : 0],
                        names[pair->down ? 0 : 1]);
    const uint64_t rank = pair->down->dims[1], n_in = target->weight->n_in,
                   n_out = slm_dim_size(&model->hparams, row->stored ? row->stored : row->n_out);
    const struct { const struct slm_gguf_tensor *t; uint64_t want[2]; } shapes[2] = {{pair->down, {n_in, rank}},
                                                                                     {pair->up, {rank, n_out}}};
    if (rank > MAX_RANK)
        return slm_fail(error, SLM_ERR_LIMIT, where, "tensor '%s' has rank %llu, allowed are 1 to %d", names[0],
                        (unsigned long long)rank, MAX_RANK);
    for (int i = 0; i < 2; i++)
        if (shapes[i].t->dtype >= SLM_DTYPE_I2_S || shapes[i].t->scales || shapes[i].t->packed)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, where, "tensor '%s' is made of codes, floats are needed",
                            names[i]);
    for (int i = 0; i < 2; i++)
        if (shapes[i].t->dims[0] != shapes[i].want[0] || shapes[i].t->dims[1] != shapes[i].want[1] ||
            shapes[i].t->dims[2] != 1 || shapes[i].t->dims[3] != 1)
            return slm_fail(error, SLM_ERR_FORMAT, where,
                            "tensor '%s' is %llux%llu, the model needs %llux%llu: it is for another base", names[i],
                            (unsigned long long)shapes[i].t->dims[0], (unsigned long long)shapes[i].t->dims[1],
                            (unsigned long long)shapes[i].want[0], (unsigned long long)shapes[i].want[1]);
    return SLM_OK;
}

/* The pair of one adapter for this weight; down stays NULL when it has none. */
static slm_status find_pair(const struct slm_model *model, size_t adapter, const struct target *target,
                            struct marks *marks, struct pair *out, struct slm_error *error)
{
    const struct slm_adapter_part *part = &model->adapters[adapter];
    const bool is_hf = slm_gguf_is_hf(part->gguf);
    const char *pattern = is_hf ? target->row->hf_name : target->row->gguf_name;
    char plain[MAX_NAME / 2], module[MAX_NAME / 2], names[2][MAX_NAME];
    if (!pattern) return SLM_OK;
    slm_tensor_name(plain, sizeof plain, pattern, target->layer);
    if (!is_hf) find_named(part, marks, adapter, plain, names, out);
    static const char tail[] = ".weight"; /* a module is its weight without it */
    if (is_hf && strlen(plain) > sizeof tail - 1) plain[strlen(plain) - (sizeof tail - 1)] = 0;
    for (size_t way = 0; is_hf && !out->down && !out->up && name_in(way, plain, module, sizeof module); way++)
        if (*module && find_named(part, marks, adapter, module, names, out) && way >= WAY_WRAPPED)
            marks->wrapped[adapter] = true;
    if (!out->down && !out->up) return SLM_OK;
    SLM_TRY(check_pair(model, target, out, slm_gguf_name(part->gguf), names, error));
    out->reorder = target->row->transform == SLM_TRANSFORM_ROPE_PAIRS && is_hf != slm_gguf_is_hf(model->gguf);
    return scale_of(part, slm_str(is_hf ? module : plain), names[0], out->down->dims[1], &out->scale, error);
}

/* Which stored row becomes row r of the weight: neighbours (2i, 2i + 1) of a head from halves (i, i + n/2), or back. */
static uint64_t reordered(uint64_t r, uint32_t head_dim, bool to_neighbours)
{
    const uint64_t head = r - r % head_dim, i = r % head_dim, half = head_dim / 2;
    return head + (to_neighbours ? i % 2 * half + i / 2 : i % half * 2 + i / half);
}

/* Puts one pair into its columns [first, first + rank) of the joint one of total_rank. */
static void copy_pair(const struct slm_model *model, const struct target *target, const struct pair *pair,
                      uint64_t first, float *down, float *up, uint64_t total_rank)
{
    const struct slm_weight *w = target->weight;
    const uint64_t rank = pair->down->dims[1], skip = slm_dim_size(&model->hparams, target->row->first);
    const size_t row_bytes = pair->up->bytes / pair->up->dims[1];
    slm_dtypes[pair->down->dtype].decode(pair->down->data, down + first * w->n_in, pair->down->n_elements);
    for (uint64_t r = 0; r < w->n_out; r++) {
        const uint64_t from =
            pair->reorder ? reordered(r, model->hparams.head_dim, !slm_gguf_is_hf(model->gguf)) : r + skip;
        float *row = up + r * total_rank + first;
        slm_dtypes[pair->up->dtype].decode(pair->up->data + from * row_bytes, row, rank);
        for (uint64_t k = 0; k < rank; k++) row[k] = (float)((double)row[k] * pair->scale);
    }
}

/* A thin matrix in the model's arena. */
static float *new_matrix(struct slm_model *model, struct slm_weight *out, const char *name, uint64_t n_in,
                         uint64_t n_out, struct slm_error *error)
{
    float *values = slm_arena_alloc(&model->arena, n_in * n_out, sizeof *values, name, error);
    *out = (struct slm_weight){.name = name, .data = (const unsigned char *)values, .dtype = SLM_DTYPE_F32,
                               .n_in = (uint32_t)n_in, .n_out = (uint32_t)n_out, .row_bytes = n_in * sizeof *values};
    return values;
}

/* Joins what all adapters have for this weight. */
static slm_status adapt(struct slm_model *model, const struct target *target, struct marks *marks,
                        struct slm_error *error)
{
    struct pair pairs[SLM_MAX_ADAPTERS] = {{0}};
    struct slm_weight *w = target->weight;
    uint64_t total = 0, first = 0;
    for (size_t i = 0; i < model->n_adapters; i++) {
        SLM_TRY(find_pair(model, i, target, marks, &pairs[i], error));
        if (pairs[i].down) total += pairs[i].down->dims[1];
    }
    if (total == 0) return SLM_OK;
    struct slm_low_rank *low = slm_arena_alloc(&model->arena, 1, sizeof *low, w->name, error);
    if (!low) return SLM_ERR_MEMORY;
    float *down = new_matrix(model, &low->down, w->name, w->n_in, total, error);
    float *up = down ? new_matrix(model, &low->up, w->name, total, w->n_out, error) : NULL;
    if (!up) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < model->n_adapters; i++) {
        if (!pairs[i].down) continue;
        copy_pair(model, target, &pairs[i], first, down, up, total);
        first += pairs[i].down->dims[1];
    }
    w->low_rank = low;
    return SLM_OK;
}

/* All matrices that are multiplied with. The embedding (the first row) is only looked up. */
static slm_status adapt_all(struct slm_model *model, struct marks *marks, struct slm_error *error)
{
    for (size_t i = 1; i < model->family->n_tensors; i++) {
        const struct slm_tensor_row *row = &model->family->tensors[i];
        const bool in_layers = row->flags & SLM_TENSOR_LAYER;
        if (row->flags & SLM_TENSOR_VECTOR) continue;
        for (uint32_t l = 0; l < (in_layers ? model->hparams.n_layer : 1); l++) {
            void *owner = in_layers ? (void *)&model->layers[l] : (void *)&model->globals;
            struct slm_weight *w = (struct slm_weight *)(void *)((unsigned char *)owner + row->field);
            if (!w->data) continue;
            const struct target target = {row, l, w};
            SLM_TRY(adapt(model, &target, marks, error));
        }
    }
    return SLM_OK;
}

/* Are the values of a stored matrix those of the model's? Only floats can be asked. */
static slm_status same_values(const struct slm_weight *w, const struct slm_gguf_tensor *t, bool *same,
                              struct slm_error *error)
{
    *same = t->dims[0] == w->n_in && t->dims[1] == w->n_out && t->dims[2] == 1 && t->dims[3] == 1 &&
            slm_dtypes[w->dtype].block == 1 && slm_dtypes[t->dtype].block == 1;
    if (!*same) return SLM_OK;
    float *rows = slm_alloc(2 * (size_t)w->n_in, sizeof *rows, w->name, error);
    if (!rows) return SLM_ERR_MEMORY;
    const size_t row_bytes = t->bytes / t->dims[1];
    for (uint32_t r = 0; r < w->n_out && *same; r++) {
        slm_dtypes[w->dtype].decode(w->data + r * w->row_bytes, rows, w->n_in);
        slm_dtypes[t->dtype].decode(t->data + r * row_bytes, rows + w->n_in, w->n_in);
        *same = memcmp(rows, rows + w->n_in, w->n_in * sizeof *rows) == 0;
    }
    slm_release(rows);
    return SLM_OK;
}

/* When the head is adapted, PEFT saves embedding and head themselves beside it, in case they were trained or resized.
 * Copies of what the model has change nothing and are passed over; others are not supported. */
static slm_status check_copy(const struct slm_model *model, size_t adapter, const struct slm_tensor_row *row,
                             const char *name, struct marks *marks, struct slm_error *error)
{
    const struct slm_gguf_tensor *t = find(&model->adapters[adapter], marks, adapter, name);
    const struct slm_weight *w = (const void *)((const unsigned char *)&model->globals + row->field);
    bool same = true;
    if (t && w->data) SLM_TRY(same_values(w, t, &same, error));
    if (same) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->adapters[adapter].gguf),
                    "tensor '%s' replaces the model's own, and is not (or cannot be seen to be) the same; save the "
                    "adapter with save_embedding_layers=False",
                    name);
}

static slm_status check_copies(const struct slm_model *model, struct marks *marks, struct slm_error *error)
{
    static const char *const tails[] = {".weight", ".base_layer.weight"};
    for (size_t i = 0; i < 2 * model->n_adapters * model->family->n_tensors; i++) {
        const size_t a = i / 2 % model->n_adapters;
        const struct slm_tensor_row *row = &model->family->tensors[i / 2 / model->n_adapters];
        if (row->flags & (SLM_TENSOR_LAYER | SLM_TENSOR_VECTOR) || !row->hf_name ||
            !slm_gguf_is_hf(model->adapters[a].gguf))
            continue;
        char plain[MAX_NAME / 2], inside[MAX_NAME / 2], name[MAX_NAME];
        snprintf(plain, sizeof plain, "%.*s%s", (int)(strlen(row->hf_name) - strlen(tails[0])), row->hf_name,
                 tails[i % 2]);
        for (size_t way = 0; name_in(way, plain, inside, sizeof inside); way++) {
            snprintf(name, sizeof name, PEFT_FRONT "%s", inside);
            if (*inside) SLM_TRY(check_copy(model, a, row, name, marks, error));
        }
    }
    return SLM_OK;
}

/* Is this of a tower that a bigger model has beside its language model? That one is not here, nor what adapts it. */
static bool is_of_tower(struct slm_str name)
{
    static const struct slm_str front = {PEFT_FRONT, sizeof PEFT_FRONT - 1}, head = {"lm_head.", 8};
    if (!slm_str_starts_with(name, front)) return false;
    const struct slm_str inside = {name.ptr + front.len, name.len - front.len};
    return !slm_hf_is_wrapped(inside) && !slm_str_starts_with(inside, head);
}

/* An adapter that fits only in part was made for another model. */
static slm_status check_used(const struct slm_model *model, const struct marks *marks, struct slm_error *error)
{
    for (size_t a = 0; a < model->n_adapters; a++) {
        const struct slm_gguf *gguf = model->adapters[a].gguf;
        for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
            const struct slm_str name = slm_gguf_tensor_at(gguf, i)->name;
            if (marks->used[a][i] || (marks->wrapped[a] && is_of_tower(name))) continue;
            return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(gguf),
                            "tensor '%.*s' adapts no matrix of this %s model (attention, feed-forward and head have "
                            "some): it is for another base",
                            (int)(name.len < 120 ? name.len : 120), name.ptr, model->architecture);
        }
    }
    return SLM_OK;
}

/* Settings first: they explain better than a tensor that is not expected. */
static slm_status bind_marked(struct slm_model *model, struct marks *marks, struct slm_error *error)
{
    for (size_t i = 0; i < model->n_adapters; i++) {
        const struct slm_gguf *gguf = model->adapters[i].gguf;
        if (slm_gguf_n_tensors(gguf) == 0)
            return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(gguf), "the adapter has no tensors");
        marks->used[i] = slm_alloc(slm_gguf_n_tensors(gguf), 1, "adapters", error);
        if (!marks->used[i]) return SLM_ERR_MEMORY;
        SLM_TRY(slm_gguf_is_hf(gguf) ? check_peft(gguf, error) : check_gguf(model, gguf, error));
    }
    SLM_TRY(adapt_all(model, marks, error));
    SLM_TRY(check_copies(model, marks, error));
    return check_used(model, marks, error);
}

slm_status slm_adapters_bind(struct slm_model *model, struct slm_error *error)
{
    struct marks marks = {.used = {NULL}};
    const slm_status status = bind_marked(model, &marks, error);
    for (size_t i = 0; i < model->n_adapters; i++) slm_release(marks.used[i]);
    slm_adapters_close(model);
    return status;
}
