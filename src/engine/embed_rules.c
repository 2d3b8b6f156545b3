/* SPDX-License-Identifier: MIT
 * Reading how a model is to be used for embeddings. GGUF files say it in a key and in up to two tensors; folders in the
 * files of sentence-transformers: modules.json lists the steps, each with a folder of its own (1_Pooling, 2_Dense ..),
 * config_sentence_transformers.json the prompts, sentence_bert_config.json or the tokenizer where texts are cut.
 *
 * Steps this build knows: Transformer, Pooling (mean, last, first token), Dense (with no activation or tanh),
 * Normalize. Anything else would change the vectors, so it is refused with the file's name.
 *
 * Deliberately not here: computing (embed.c), the reader of modules.json (format/hf_modules.c). */
#include "engine/embed_rules.h"

#include <stdio.h>

#include "base/os.h"
#include "format/hf_folder.h"
#include "format/hf_modules.h"
#include "format/json.h"

/* ---- the parts of a folder ----------------------------------------------------------------------------------- */

/* Opens FOLDER/path/{config.json, weights}; weights may be NULL. */
static slm_status open_module(const struct slm_model *model, const struct slm_hf_module *module, const char *weights,
                              struct slm_gguf **out, struct slm_error *error)
{
    char *folder = slm_hf_path(model->folder, module->path, error);
    if (!folder) return SLM_ERR_MEMORY;
    const slm_status status = slm_hf_open_module(folder, "config.json", weights, out, error);
    slm_release(folder);
    return status;
}

/* Stated sizes are redundant: they follow from the model and the tensors. One that differs means a mixed-up folder. */
static slm_status check_size(const struct slm_gguf *config, const char *key, int64_t want, struct slm_error *error)
{
    int64_t value = want;
    bool found;
    SLM_TRY(slm_gguf_get_i64(config, key, 1, INT32_MAX, &value, &found, error));
    if (value == want) return SLM_OK;
    return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(config), "key '%s' is %lld, what comes before it makes %lld",
                    key, (long long)value, (long long)want);
}

/* How sentence-transformers names the three ways: as one word, and before 2025 as one switch each. */
static const struct { const char *word, *key; enum slm_pooling pooling; } modes[] = {
    {"mean", "pooling_mode_mean_tokens", SLM_POOLING_MEAN},
    {"lasttoken", "pooling_mode_lasttoken", SLM_POOLING_LAST},
    {"cls", "pooling_mode_cls_token", SLM_POOLING_CLS},
    {"max", "pooling_mode_max_tokens", SLM_POOLING_DEFAULT},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", SLM_POOLING_DEFAULT},
    {"weightedmean", "pooling_mode_weightedmean_tokens", SLM_POOLING_DEFAULT},
};
enum { N_MODES = sizeof modes / sizeof *modes };

/* Two at once would be two vectors behind each other; the library allows it, no model in use does it. */
static slm_status read_mode(const struct slm_gguf *config, enum slm_pooling *pooling, struct slm_error *error)
{
    const char *where = slm_gguf_name(config);
    const struct slm_gguf_kv *kv = slm_gguf_find(config, "pooling_mode");
    size_t n_named = 0, chosen = N_MODES;
    for (size_t i = 0; i < N_MODES; i++) {
        bool on = false, found;
        struct slm_str word = {0};
        size_t cursor = 0;
        if (kv && kv->array_type == SLM_GGUF_STRING)
            while (slm_gguf_next_string(kv, &cursor, &word)) on = on || slm_str_is(word, modes[i].word);
        if (!kv) SLM_TRY(slm_gguf_get_bool(config, modes[i].key, &on, &found, error));
        if (on) chosen = i;
        n_named += on;
    }
    if (n_named == 0 && !kv) chosen = 0; /* as the library has it */
    const bool whole = !kv || kv->n == 1; /* no unknown one beside those counted */
    if (n_named <= 1 && whole && chosen < N_MODES && modes[chosen].pooling != SLM_POOLING_DEFAULT) {
        *pooling = modes[chosen].pooling;
        return SLM_OK;
    }
    return slm_fail(error, SLM_ERR_UNSUPPORTED, where, "asks for pooling '%s'%s; one of mean, lasttoken and cls is "
                    "supported", chosen < N_MODES ? modes[chosen].word : "?", n_named > 1 ? " among others" : "");
}

/* The step that makes one vector of many. Its width is stated again, under two names over the years. */
static slm_status read_pooling(const struct slm_model *model, const struct slm_hf_module *module,
                               struct slm_embed_rules *rules, bool *include_prompt, struct slm_error *error)
{
    struct slm_gguf *config = NULL;
    bool found;
    SLM_TRY(open_module(model, module, NULL, &config, error));
    slm_status status = read_mode(config, &rules->pooling, error);
    const char *const sizes[] = {"embedding_dimension", "word_embedding_dimension"};
    for (size_t i = 0; i < 2 && status == SLM_OK; i++)
        status = check_size(config, sizes[i], model->hparams.n_embd, error);
    if (status == SLM_OK) status = slm_gguf_get_bool(config, "include_prompt", include_prompt, &found, error);
    slm_gguf_close(config);
    return status;
}

/* Width of what reaches the next layer. */
static uint32_t width(const struct slm_model *model, const struct slm_embed_rules *rules)
{
    return rules->n_dense ? rules->dense[rules->n_dense - 1].w.n_out : model->hparams.n_embd;
}

/* A layer's matrix; its input must be as wide as what comes before. */
static slm_status set_matrix(const struct slm_model *model, struct slm_embed_rules *rules, const struct slm_gguf *file,
                             const struct slm_gguf_tensor *t, struct slm_error *error)
{
    struct slm_dense *dense = &rules->dense[rules->n_dense];
    const uint32_t n_in = width(model, rules);
    if (t->dims[0] != n_in || t->dims[1] > INT32_MAX || t->dims[2] != 1 || t->dims[3] != 1)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(file), "tensor '%.*s' takes %llu numbers, it gets %u",
                        (int)(t->name.len < 60 ? t->name.len : 60), t->name.ptr, (unsigned long long)t->dims[0], n_in);
    if (t->dtype >= SLM_DTYPE_I2_S || t->packed)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(file),
                        "tensor '%.*s' has type %s: codes alone, or packed",
                        (int)(t->name.len < 60 ? t->name.len : 60), t->name.ptr, slm_dtypes[t->dtype].name);
    dense->w = (struct slm_weight){.name = "dense", .data = t->data, .dtype = t->dtype, .n_in = n_in,
                                   .n_out = (uint32_t)t->dims[1], .row_bytes = t->bytes / t->dims[1]};
    return SLM_OK;
}

/* PyTorch's class name; only its end is the same in all versions. */
static slm_status read_activation(const struct slm_gguf *config, bool *tanh, struct slm_error *error)
{
    struct slm_str name = slm_str("torch.nn.modules.activation.Tanh"); /* the library's default */
    bool found;
    SLM_TRY(slm_gguf_get_str(config, "activation_function", &name, &found, error));
    *tanh = slm_str_is(name, "torch.nn.modules.activation.Tanh");
    if (*tanh || slm_str_is(name, "torch.nn.modules.linear.Identity")) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(config),
                    "key 'activation_function' is '%.*s', supported are Identity and Tanh of torch.nn",
                    (int)(name.len < 80 ? name.len : 80), name.ptr);
}

/* What a Dense step may ask for beyond its matrix. */
static slm_status check_dense(const struct slm_gguf *config, struct slm_error *error)
{
    static const char *const names[] = {"module_input_name", "module_output_name"};
    bool residual = false, found;
    for (size_t i = 0; i < 2; i++) {
        struct slm_str value = slm_str("sentence_embedding");
        SLM_TRY(slm_gguf_get_str(config, names[i], &value, &found, error));
        if (!slm_str_is(value, "sentence_embedding"))
            return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(config),
                            "key '%s' is '%.*s', supported is sentence_embedding", names[i],
                            (int)(value.len < 60 ? value.len : 60), value.ptr);
    }
    SLM_TRY(slm_gguf_get_bool(config, "use_residual", &residual, &found, error));
    if (!residual) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(config),
                    "key 'use_residual' is true, supported is false");
}

/* Bias as f32; without the tensor there is none, unless it is needed. */
static slm_status read_bias(const struct slm_gguf *file, const char *name, bool needed, struct slm_dense *dense,
                            struct slm_error *error)
{
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(file, slm_str(name));
    if (!needed && !t) return SLM_OK;
    if (!t || t->n_elements != dense->w.n_out || t->dtype >= SLM_DTYPE_I2_S || t->packed)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(file), "tensor '%s' %s, %u numbers are needed", name,
                        t ? "has another size or type" : "is missing", dense->w.n_out);
    dense->bias = slm_alloc(dense->w.n_out, sizeof *dense->bias, "dense", error);
    if (!dense->bias) return SLM_ERR_MEMORY;
    slm_dtypes[t->dtype].decode(t->data, dense->bias, t->n_elements);
    return SLM_OK;
}

/* One Dense step, from its own folder. The file stays open: the matrix lies in it. */
static slm_status read_dense(const struct slm_model *model, const struct slm_hf_module *module,
                             struct slm_embed_rules *rules, struct slm_error *error)
{
    if (rules->n_dense == SLM_MAX_DENSE)
        return slm_fail(error, SLM_ERR_LIMIT, model->folder, "modules.json has more than %d Dense steps",
                        SLM_MAX_DENSE);
    struct slm_dense *dense = &rules->dense[rules->n_dense];
    SLM_TRY(open_module(model, module, "model.safetensors", &dense->file, error));
    const char *where = slm_gguf_name(dense->file);
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(dense->file, slm_str("linear.weight"));
    if (!t) return slm_fail(error, SLM_ERR_FORMAT, where, "tensor 'linear.weight' is missing beside it");
    SLM_TRY(set_matrix(model, rules, dense->file, t, error));
    SLM_TRY(check_size(dense->file, "in_features", dense->w.n_in, error));
    SLM_TRY(check_size(dense->file, "out_features", dense->w.n_out, error));
    SLM_TRY(check_dense(dense->file, error));
    SLM_TRY(read_activation(dense->file, &dense->tanh, error));
    bool bias = true, found;
    SLM_TRY(slm_gguf_get_bool(dense->file, "bias", &bias, &found, error));
    SLM_TRY(read_bias(dense->file, "linear.bias", bias, dense, error));
    rules->n_dense++;
    return SLM_OK;
}

/* ---- texts ------------------------------------------------------------------------------------------------- */

/* A file of settings that may be absent: *out = NULL then. */
static slm_status open_optional(const struct slm_model *model, const char *name, struct slm_gguf **out,
                                struct slm_error *error)
{
    struct slm_map map;
    bool found = false;
    *out = NULL;
    if (model->folder) SLM_TRY(slm_hf_map(model->folder, name, &map, &found, error));
    if (!found) return SLM_OK;
    slm_os()->unmap(&map);
    return slm_hf_open_module(model->folder, name, NULL, out, error);
}

/* A number among the first keys of a JSON file of the folder. tokenizer_config.json is not worth a table of its own:
 * other keys in it may be anything. */
static slm_status find_number(const struct slm_model *model, const char *name, const char *key, double *out,
                              bool *found, struct slm_error *error)
{
    struct slm_map map;
    struct slm_json json;
    enum slm_json_event event;
    bool there = false;
    SLM_TRY(slm_hf_map(model->folder, name, &map, &there, error));
    if (!there) return SLM_OK;
    slm_json_init(&json, (struct slm_str){(const char *)map.data, map.bytes}, name, error);
    slm_status status = slm_json_next(&json) == SLM_JSON_OBJECT
                            ? SLM_OK : slm_json_fail(&json, SLM_ERR_FORMAT, "an object is expected");
    while (status == SLM_OK && (event = slm_json_next(&json)) == SLM_JSON_KEY) {
        const bool asked = slm_json_is(&json, key);
        event = slm_json_next(&json);
        if (asked && event == SLM_JSON_NUMBER) *out = slm_json_read_f64(&json), *found = true;
        else if (asked && event != SLM_JSON_NULL)
            status = slm_json_fail(&json, SLM_ERR_FORMAT, "key '%s' must be a number", key);
        if (status == SLM_OK && !slm_json_skip(&json, event)) status = SLM_ERR_FORMAT;
    }
    if (status == SLM_OK && event != SLM_JSON_OBJECT_END) status = SLM_ERR_FORMAT; /* the reader has said why */
    slm_os()->unmap(&map);
    return status;
}

/* How many tokens sentence-transformers keeps of a text: what it was told, even if that is more than the model can;
 * else the lesser of what the tokenizer and the model can. The library saves what it was told as the tokenizer's limit,
 * and tokenizers that know of none say 1e30. */
static slm_status read_n_keep(const struct slm_model *model, struct slm_embed_rules *rules, struct slm_error *error)
{
    const char *const files[] = {"sentence_bert_config.json", "tokenizer_config.json"};
    const char *const keys[] = {"max_seq_length", "model_max_length"};
    double n = 0;
    bool found = false;
    size_t i = 0;
    for (; i < 2 && !found; i++) SLM_TRY(find_number(model, files[i], keys[i], &n, &found, error));
    if (found && !(n >= 1))
        return slm_fail(error, SLM_ERR_FORMAT, files[i - 1], "key '%s' is %g, 1 or more is allowed", keys[i - 1], n);
    if (!found || (i == 2 && n > model->hparams.n_ctx_train)) n = model->hparams.n_ctx_train;
    rules->n_keep = n < (double)UINT32_MAX ? (size_t)n : UINT32_MAX;
    return SLM_OK;
}

/* Old models could ask for lower case outside of their tokenizer. */
static slm_status check_case(const struct slm_model *model, struct slm_error *error)
{
    struct slm_gguf *config;
    bool lower = false, found;
    SLM_TRY(open_optional(model, "sentence_bert_config.json", &config, error));
    if (!config) return SLM_OK;
    slm_status status = slm_gguf_get_bool(config, "do_lower_case", &lower, &found, error);
    if (status == SLM_OK && lower)
        status = slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(config),
                          "key 'do_lower_case' is true, supported is false");
    slm_gguf_close(config);
    return status;
}

/* Says which ones there are. */
static slm_status no_such_prompt(const struct slm_gguf *config, struct slm_str name, struct slm_error *error)
{
    const struct slm_str front = slm_str("prompts.");
    struct slm_buf names = {.limit = 200};
    for (size_t i = 0; i < slm_gguf_n_kv(config); i++) {
        const struct slm_str key = slm_gguf_kv_at(config, i)->key;
        if (slm_str_starts_with(key, front))
            slm_buf_printf(&names, "%s%.*s", names.len ? ", " : "", (int)(key.len - front.len), key.ptr + front.len);
    }
    const slm_status status =
        slm_fail(error, SLM_ERR_ARGUMENT, slm_gguf_name(config), "there is no prompt '%.*s'; there are: %s",
                 (int)(name.len < 60 ? name.len : 60), name.ptr, names.len ? names.data : "none");
    slm_buf_release(&names);
    return status;
}

/* Texts that a model was trained to see in front of a query, a document .. */
static slm_status read_prompt(const struct slm_model *model, const char *name, struct slm_embed_rules *rules,
                              struct slm_error *error)
{
    static const char file[] = "config_sentence_transformers.json";
    struct slm_gguf *config = NULL;
    bool found;
    SLM_TRY(open_optional(model, file, &config, error));
    if (!config) {
        if (!name) return SLM_OK;
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_gguf_name(model->gguf),
                        "the model has no prompt '%.60s': it has no %s", name, file);
    }
    struct slm_str chosen = name ? slm_str(name) : (struct slm_str){0}, text = {0};
    char key[256];
    slm_status status = SLM_OK;
    if (!name) status = slm_gguf_get_str(config, "default_prompt_name", &chosen, &found, error);
    if (status == SLM_OK && chosen.ptr) {
        snprintf(key, sizeof key, "prompts.%.*s", (int)(chosen.len < 200 ? chosen.len : 200), chosen.ptr);
        status = slm_gguf_get_str(config, key, &text, &found, error);
        if (status == SLM_OK && !found) status = no_such_prompt(config, chosen, error);
    }
    if (status == SLM_OK && text.len) {
        rules->prompt = slm_alloc(text.len + 1, 1, "prompt", error);
        if (rules->prompt) memcpy(rules->prompt, text.ptr, text.len);
        else status = SLM_ERR_MEMORY;
    }
    slm_gguf_close(config);
    return status;
}

/* ---- both kinds of file -------------------------------------------------------------------------------------- */

/* The steps in their order: Transformer, Pooling, any number of Dense, perhaps Normalize. */
static slm_status read_modules(const struct slm_model *model, const struct slm_hf_modules *modules,
                               struct slm_embed_rules *rules, struct slm_error *error)
{
    static const struct { const char *type; int stage; } known[] = {
        {"Transformer", 0}, {"Pooling", 1}, {"Dense", 2}, {"Normalize", 3}};
    int stage = -1; /* of the step before */
    bool include_prompt = true; /* is the prompt's part of the mean? */
    for (size_t i = 0; i < modules->n; i++) {
        const struct slm_hf_module *module = &modules->list[i];
        size_t k = 0;
        while (k < 4 && strcmp(known[k].type, module->type) != 0) k++;
        /* Transformer and Pooling come once and first; Dense may come again. */
        if (k == 4 || (k < 2 ? (int)k != stage + 1 : stage < 1 || stage > 2 || (k == 3 && i + 1 != modules->n)))
            return slm_fail(error, SLM_ERR_UNSUPPORTED, model->folder,
                            "modules.json has '%s' as step %zu; supported are Transformer, Pooling, Dense, Normalize, "
                            "in this order", module->type, i + 1);
        stage = known[k].stage;
        if (k == 0 && module->path[0])
            return slm_fail(error, SLM_ERR_UNSUPPORTED, model->folder,
                            "modules.json has its Transformer in '%s'; supported is the folder itself", module->path);
        if (k == 1) SLM_TRY(read_pooling(model, module, rules, &include_prompt, error));
        if (k == 2) SLM_TRY(read_dense(model, module, rules, error));
    }
    if (stage < 1)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, model->folder, "modules.json has no step Pooling");
    if (rules->prompt && !include_prompt)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, model->folder,
                        "1_Pooling leaves the prompt out of the mean (include_prompt false): not supported");
    return SLM_OK;
}

/* One layer of a head, from the model's own file. *found tells whether it is there. */
static slm_status read_head_layer(const struct slm_model *model, const char *weight, const char *bias, bool tanh,
                                  struct slm_embed_rules *rules, bool *found, struct slm_error *error)
{
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(model->gguf, slm_str(weight));
    *found = t != NULL;
    if (!t) return SLM_OK;
    struct slm_dense *dense = &rules->dense[rules->n_dense];
    SLM_TRY(set_matrix(model, rules, model->gguf, t, error));
    dense->tanh = tanh;
    if (bias) SLM_TRY(read_bias(model->gguf, bias, false, dense, error));
    rules->n_dense++;
    return SLM_OK;
}

/* A folder of a class ...ForSequenceClassification: one layer without bias, behind the last token. */
static slm_status read_score(const struct slm_model *model, struct slm_embed_rules *rules, struct slm_error *error)
{
    bool found;
    SLM_TRY(read_head_layer(model, SLM_RANK_OUTPUT_HF, NULL, false, rules, &found, error));
    if (found) rules->pooling = SLM_POOLING_RANK;
    return SLM_OK;
}

/* llama.cpp's names: a layer with tanh, as BERT's classifiers have it, and the one that makes the labels; either may be
 * alone. */
static slm_status read_rank_head(const struct slm_model *model, struct slm_embed_rules *rules, struct slm_error *error)
{
    bool found[2];
    SLM_TRY(read_head_layer(model, "cls.weight", "cls.bias", true, rules, &found[0], error));
    SLM_TRY(read_head_layer(model, SLM_RANK_OUTPUT, "cls.output.bias", false, rules, &found[1], error));
    if (found[0] || found[1]) return SLM_OK;
    return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                    "key 'pooling_type' is 4 (rank), and tensor '" SLM_RANK_OUTPUT "' is missing");
}

/* A folder without modules.json says nothing but what head it has, which is no error. */
static slm_status read_folder(const struct slm_model *model, struct slm_embed_rules *rules, struct slm_error *error)
{
    struct slm_map map;
    struct slm_hf_modules modules;
    bool found;
    SLM_TRY(slm_hf_map(model->folder, "modules.json", &map, &found, error));
    if (!found) return read_score(model, rules, error);
    const slm_status status = slm_hf_modules_parse((struct slm_str){(const char *)map.data, map.bytes}, "modules.json",
                                                   &modules, error);
    slm_os()->unmap(&map);
    /* Only here: what the library would do means nothing to a folder that was not made for it. */
    if (status == SLM_OK) SLM_TRY(read_n_keep(model, rules, error));
    return status == SLM_OK ? read_modules(model, &modules, rules, error) : status;
}

const char *const slm_dense_names[SLM_N_DENSE_NAMES] = {"dense_2.weight", "dense_3.weight"};

/* llama.cpp's key, and its names for the layers that EmbeddingGemma has behind the pooling. */
static slm_status read_gguf(const struct slm_model *model, struct slm_embed_rules *rules, struct slm_error *error)
{
    static const enum slm_pooling types[] = {SLM_POOLING_DEFAULT, SLM_POOLING_MEAN, SLM_POOLING_CLS, SLM_POOLING_LAST,
                                             SLM_POOLING_RANK};
    char key[160];
    int64_t type = 0;
    bool found;
    snprintf(key, sizeof key, "%s.pooling_type", model->architecture);
    SLM_TRY(slm_gguf_get_i64(model->gguf, key, 0, 4, &type, &found, error));
    rules->pooling = types[type];
    if (rules->pooling == SLM_POOLING_RANK) return read_rank_head(model, rules, error);
    for (size_t i = 0; i < SLM_N_DENSE_NAMES; i++) {
        const struct slm_gguf_tensor *t = slm_gguf_find_tensor(model->gguf, slm_str(slm_dense_names[i]));
        if (!t) continue;
        SLM_TRY(set_matrix(model, rules, model->gguf, t, error));
        rules->n_dense++;
    }
    return SLM_OK;
}

/* As they are stated, whatever else the files get wrong: whoever embeds is told. */
enum slm_pooling slm_model_pooling(const struct slm_model *model)
{
    struct slm_embed_rules rules = {.n_dense = 0};
    const slm_status status = model->folder ? read_folder(model, &rules, NULL) : read_gguf(model, &rules, NULL);
    const enum slm_pooling pooling = status == SLM_OK ? rules.pooling : SLM_POOLING_DEFAULT;
    slm_embed_rules_release(&rules);
    return pooling;
}

/* The texts first: they are read from folders and files alike, and cost nothing where there are none. */
slm_status slm_embed_rules_read(const struct slm_model *model, const char *prompt_name, struct slm_embed_rules *out,
                                struct slm_error *error)
{
    SLM_TRY(check_case(model, error));
    SLM_TRY(read_prompt(model, prompt_name, out, error));
    SLM_TRY(model->folder ? read_folder(model, out, error) : read_gguf(model, out, error));
    /* Where nothing says: the last token has seen the whole text, unless all have. */
    if (out->pooling == SLM_POOLING_DEFAULT)
        out->pooling = model->hparams.bidirectional ? SLM_POOLING_MEAN : SLM_POOLING_LAST;
    return SLM_OK;
}

/* Also of rules that were read only in part. */
void slm_embed_rules_release(struct slm_embed_rules *rules)
{
    for (size_t i = 0; i < SLM_MAX_DENSE; i++) {
        slm_gguf_close(rules->dense[i].file);
        slm_release(rules->dense[i].bias);
    }
    slm_release(rules->prompt);
    *rules = (struct slm_embed_rules){.n_dense = 0};
}
