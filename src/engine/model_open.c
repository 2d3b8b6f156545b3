/* SPDX-License-Identifier: MIT
 * Opening a model: file, tokenizer, family, weights, plan put together; and the public calls that only read a model.
 *
 * This is the only place that knows all the rooms a model is made of. Opening maps files and reads headers; weights
 * are not touched unless the caller asks to see progress, so a model of any size opens in milliseconds and the system
 * brings in what is used.
 *
 * Deliberately not here: what a key or tensor means (model/, families/), text (tokenizer/), computing (session.c). */
#include <stddef.h>
#include "base/cpu.h"
#include "base/os.h"
#include "engine/model_hf.h"
#include "engine/model_open.h"
#include "engine/grammar.h"
#include "engine/weights.h"
#include "families/families.h"
#include "format/hf_folder.h"
#include "model/adapter.h"

extern const unsigned char slm_builtin_begin[], slm_builtin_end[];

/* A file, a folder, or without a path the bytes the assembler put into this binary. */
static slm_status open_file(const char *path, struct slm_gguf **out, struct slm_error *error)
{
    if (path && *path)
        return slm_hf_is_model(path) ? slm_hf_open(path, out, error)
                                                     : slm_gguf_open(path, NULL, out, error);
    const size_t bytes = (size_t)(slm_builtin_end - slm_builtin_begin);
    if (bytes == 0)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "built-in model", "this build has none; name a model file");
    return slm_gguf_open_memory(slm_builtin_begin, bytes, "built-in model", NULL, out, error);
}

/* A copy in the model's arena of a string key; fallback when the file does not have it. */
static slm_status copy_string(struct slm_model *model, const char *key, const char *fallback, const char **out,
                              struct slm_error *error)
{
    struct slm_str value = slm_str(fallback);
    bool found;
    SLM_TRY(slm_gguf_get_str(model->gguf, key, &value, &found, error));
    *out = NULL;
    if (!value.ptr) return SLM_OK;
    *out = slm_arena_copy(&model->arena, value.ptr, value.len, error);
    return *out ? SLM_OK : SLM_ERR_MEMORY;
}

/* "Qwen3ForSequenceClassification" is "Qwen3ForCausalLM" with labels for a head, one row each: it ranks. */
static slm_status find_ranking_family(struct slm_model *model, struct slm_str name, struct slm_error *error)
{
    static const char end[] = "ForSequenceClassification", head[] = "score.weight";
    const size_t n = sizeof end - 1;
    char other[64];
    if (name.len <= n || name.len > 60 || memcmp(name.ptr + name.len - n, end, n) != 0) return SLM_OK;
    const int len = snprintf(other, sizeof other, "%.*sForCausalLM", (int)(name.len - n), name.ptr);
    model->family = slm_family_find_hf((struct slm_str){other, (size_t)len});
    if (!model->family) return SLM_OK;
    model->has_no_head = true; /* for generating */
    if (slm_gguf_find_tensor(model->gguf, slm_str(head))) return SLM_OK;
    return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                    "key 'architectures' names '%.*s', and there is no tensor '%s'", (int)name.len, name.ptr, head);
}

/* A folder names the classes that can load it; the first one this build has wins. */
static slm_status find_hf_family(struct slm_model *model, struct slm_error *error)
{
    char known[SLM_FAMILY_NAMES_BYTES];
    const struct slm_gguf_kv *classes;
    struct slm_str name = {0};
    SLM_TRY(slm_gguf_get_array(model->gguf, "architectures", SLM_GGUF_STRING, &classes, NULL, error));
    for (size_t cursor = 0; !model->family && slm_gguf_next_string(classes, &cursor, &name);)
        model->family = slm_family_find_hf(name);
    /* "Qwen3Model" is the part of "Qwen3ForCausalLM" that lies before the head. */
    static const char bare[] = "Model";
    model->has_no_head = name.len >= sizeof bare - 1 &&
                         memcmp(name.ptr + name.len - (sizeof bare - 1), bare, sizeof bare - 1) == 0;
    if (!model->family) SLM_TRY(find_ranking_family(model, name, error));
    if (!model->family)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                        "key 'architectures' names '%.*s', this build knows the classes of %s",
                        (int)(name.len < 64 ? name.len : 64), name.ptr ? name.ptr : "", slm_family_names(known));
    model->architecture = model->family->architecture;
    return SLM_OK;
}

/* GGUF names its architecture; the error lists the ones that would have worked. */
static slm_status find_family(struct slm_model *model, struct slm_error *error)
{
    char known[SLM_FAMILY_NAMES_BYTES];
    if (slm_gguf_is_hf(model->gguf)) return find_hf_family(model, error);
    model->family = slm_family_find(slm_str(model->architecture));
    if (model->family) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                    "key 'general.architecture' is '%.64s', this build knows %s", model->architecture,
                    slm_family_names(known));
}

/* The order matters: the tokenizer comes before binding, which compares its size with the embedding. */
static slm_status fill(struct slm_model *model, const char *path, const struct slm_model_options *options,
                       struct slm_error *error)
{
    /* Headers only, whatever the size. */
    SLM_TRY(open_file(path, &model->gguf, error));
    SLM_TRY(copy_string(model, "general.architecture", "", &model->architecture, error));
    SLM_TRY(copy_string(model, "general.name", "", &model->name, error));
    if (slm_gguf_is_hf(model->gguf)) {
        model->folder = slm_arena_copy(&model->arena, path, strlen(path), error);
        if (!model->folder) return SLM_ERR_MEMORY;
        SLM_TRY(slm_model_read_hf_texts(model, path, error));
    } else {
        SLM_TRY(copy_string(model, "tokenizer.chat_template", NULL, &model->chat_template, error));
        const bool swallow = slm_family_specials_swallow_space(model->gguf);
        SLM_TRY(slm_tokenizer_from_gguf(model->gguf, swallow, &model->tokenizer, error));
    }
    if (options->vocab_only) {
        if (model->tokenizer) return SLM_OK;
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf), "the file has no tokenizer");
    }
    SLM_TRY(find_family(model, error));
    /* A family knows how its models were trained to chat when a file forgot to say. */
    if (!model->chat_template && model->tokenizer)
        model->chat_template = slm_family_chat_template(model->family, model->tokenizer);
    SLM_TRY(slm_adapters_open(model, options->adapters, options->n_adapters, error));
    return slm_model_bind(model, error);
}

/* Touches every page of the weights, in file order, and reports: so that a cold disk is waited for here, visibly, and
 * not at the first token. Without a progress function nothing is touched and opening is instant. */
static slm_status load_pages(const struct slm_model *model, const struct slm_model_options *options,
                             struct slm_error *error)
{
    enum { PAGE = 4096, REPORT = 4 << 20 };
    uint64_t done = 0, reported = 0, total = 0;
    const size_t n = slm_gguf_n_tensors(model->gguf);
    for (size_t i = 0; i < n; i++) total += slm_gguf_tensor_at(model->gguf, i)->bytes;
    for (size_t i = 0; i < n; i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(model->gguf, i);
        for (uint64_t at = 0; at < t->bytes; at += PAGE) {
            (void)*(const volatile unsigned char *)(t->data + at);
            const bool last = i + 1 == n && at + PAGE >= t->bytes;
            if (done + at < reported + REPORT && !last) continue;
            reported = last ? total : done + at;
            if (!options->progress(options->progress_user, reported, total))
                return slm_fail(error, SLM_ERR_CANCELLED, slm_gguf_name(model->gguf), "loading was cancelled");
        }
        done += t->bytes;
    }
    return SLM_OK;
}

/* One or the other of the two below. */
static slm_status open_model(const char *path, const struct slm_model_options *options, bool as_stored,
                             struct slm_model **out, struct slm_error *error)
{
    struct slm_model *model = slm_alloc(1, sizeof *model, "model", error);
    if (!model) return SLM_ERR_MEMORY;
    model->as_stored = as_stored;
/* Asking for a feature this CPU lacks is not an error: scripts pass one mask to many machines. */
    model->cpu_mask = slm_cpu_features() & (options->cpu_mask ? options->cpu_mask : ~SLM_CPU_ON_REQUEST);
    slm_status status = slm_prepared_open(&model->prepared, error);
    if (status == SLM_OK) status = slm_model_vocab_open(&model->vocab, error);
    if (status == SLM_OK) status = fill(model, path, options, error);
    if (status == SLM_OK && options->progress && !options->vocab_only) status = load_pages(model, options, error);
    if (status != SLM_OK) {
        slm_model_close(model);
        return status;
    }
    *out = model;
    return SLM_OK;
}

slm_status slm_model_open(const char *path, const struct slm_model_options *options, struct slm_model **out,
                          struct slm_error *error)
{
    const struct slm_model_options zero = {0};
    return open_model(path, options ? options : &zero, false, out, error);
}

/* No progress and no adapters: converting has bars of its own, and adapters are not part of a model. */
slm_status slm_model_open_stored(const char *path, struct slm_model **out, struct slm_error *error)
{
    return open_model(path, &(struct slm_model_options){0}, true, out, error);
}

/* ---- reading a model --------------------------------------------------------------------------------------- */

/* What sessions made of the weights first: it points into the plan. */
void slm_model_close(struct slm_model *model)
{
    if (!model) return;
    slm_prepared_close(model->prepared);
    slm_model_vocab_close(model->vocab);
    slm_model_free(model);
}

struct slm_model_info slm_model_info(const struct slm_model *model)
{
    const struct slm_hparams *hp = &model->hparams;
    const struct slm_tokenizer *tok = model->tokenizer;
/* Zeros where a vocabulary-only model has nothing to say. */
    return (struct slm_model_info){
        .architecture = model->architecture,
        .name = model->name,
        .size_class = slm_model_size_class(model->n_params),
        .n_params = model->n_params,
        .file_bytes = slm_gguf_file_bytes(model->gguf),
        .n_vocab = (int32_t)(model->plan ? hp->n_vocab : tok ? slm_tokenizer_n_vocab(tok) : 0),
        .n_ctx_train = (int32_t)hp->n_ctx_train,
        .n_layer = (int32_t)hp->n_layer,
        .n_embd = (int32_t)hp->n_embd,
        .n_head = (int32_t)hp->n_head,
        .n_head_kv = (int32_t)hp->n_head_kv,
        .head_dim = (int32_t)hp->head_dim,
        .bos_id = tok ? slm_tokenizer_bos(tok) : -1,
        .eos_id = tok ? slm_tokenizer_eos(tok) : -1,
    };
}

/* The file's own recommendation replaces a default when it is in the range the sampler allows. Folders name it
 * otherwise than files; no file has both names. */
static void recommend_f32(const struct slm_model *model, const char *const keys[2], double min, double max,
                          float *value)
{
    for (int i = 0; i < 2; i++) {
        double found_value;
        bool found = false;
        if (slm_gguf_get_f64(model->gguf, keys[i], min, max, &found_value, &found, NULL) == SLM_OK && found)
            *value = (float)found_value;
    }
}

static void recommend_i32(const struct slm_model *model, const char *key, int64_t min, int32_t *value)
{
    int64_t found_value;
    bool found = false;
    if (slm_gguf_get_i64(model->gguf, key, min, INT32_MAX, &found_value, &found, NULL) == SLM_OK && found)
        *value = (int32_t)found_value;
}

#define AT(field) offsetof(struct slm_sampler_params, field)

/* The keys are llama.cpp's and transformers'; what a file leaves out has the values slm.h states. */
struct slm_sampler_params slm_sampler_defaults(const struct slm_model *model)
{
    struct slm_sampler_params p = {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 1.0f,
                                   .repeat_penalty = 1.0f, .penalty_last_n = 64};
    /* Keys of a GGUF file and of a folder, and what the sampler takes. */
    static const struct { const char *keys[2]; double min, max; size_t at; } floats[] = {
        {{"general.sampling.temp", "generation_config.temperature"}, 0.0, 100.0, AT(temperature)},
        {{"general.sampling.top_p", "generation_config.top_p"}, 0.0, 1.0, AT(top_p)},
        {{"general.sampling.min_p", "generation_config.min_p"}, 0.0, 1.0, AT(min_p)},
        {{"general.sampling.penalty_repeat", "generation_config.repetition_penalty"}, 0.01, 100.0, AT(repeat_penalty)},
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        recommend_f32(model, floats[i].keys, floats[i].min, floats[i].max,
                      (float *)(void *)((char *)&p + floats[i].at));
    recommend_i32(model, "general.sampling.top_k", 0, &p.top_k);
    recommend_i32(model, "generation_config.top_k", 0, &p.top_k);
    recommend_i32(model, "general.sampling.penalty_last_n", -1, &p.penalty_last_n);
    return p;
}

const char *slm_model_chat_template(const struct slm_model *model) { return model->chat_template; }

/* ---- tokens ------------------------------------------------------------------------------------------------ */

/* Random test models and pure embedding stores come without one. */
static slm_status need_tokenizer(const struct slm_model *model, struct slm_error *error)
{
    if (model->tokenizer) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf), "the file has no tokenizer");
}

slm_status slm_tokenize(const struct slm_model *model, const char *text, size_t text_bytes, unsigned flags,
                        int32_t *ids, size_t cap, size_t *n_ids, struct slm_error *error)
{
    SLM_TRY(need_tokenizer(model, error));
    return slm_tokenizer_encode(model->tokenizer, text, text_bytes, flags, ids, cap, n_ids, error);
}

slm_status slm_detokenize(const struct slm_model *model, const int32_t *ids, size_t n_ids, bool show_special,
                          char *text, size_t cap, size_t *n_bytes, struct slm_error *error)
{
    SLM_TRY(need_tokenizer(model, error));
    return slm_tokenizer_decode(model->tokenizer, ids, n_ids, show_special, text, cap, n_bytes, error);
}

bool slm_token_is_eog(const struct slm_model *model, int32_t id)
{
    return model->tokenizer && slm_tokenizer_is_eog(model->tokenizer, id);
}
