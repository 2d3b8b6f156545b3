/* SPDX-License-Identifier: MIT
 * Tokenizer and chat template of a Hugging Face folder.
 *
 * The template has had three homes: a file chat_template.jinja, a file chat_template.json, and a key of
 * tokenizer_config.json. The first that is there wins, as in transformers. The key may hold a list of named templates;
 * "default" is taken, else the first. What a template means is src/template's business. */
#include "engine/model_hf.h"
#include "base/os.h"
#include "format/hf_folder.h"
#include "format/json.h"

#define MAX_TEMPLATE_BYTES ((size_t)1 << 20) /* the longest in use has 20 KB */

/* The current STRING as the template. */
static bool take(struct slm_json *json, struct slm_buf *out)
{
    slm_buf_clear(out);
    return slm_json_read_text(json, out);
}

/* [{"name": "default", "template": "..."}, ...], after its ARRAY event. */
/* *found says whether out holds one already: the first stays until a default comes, and that one stays for good. */
static bool read_list(struct slm_json *json, struct slm_buf *out, bool *found)
{
    struct slm_buf text = {0};
    bool ok = true, settled = false;
    enum slm_json_event event;
    while (ok && (event = slm_json_next(json)) == SLM_JSON_OBJECT) {
        bool is_default = false, has_text = false;
        while (ok && (event = slm_json_next(json)) == SLM_JSON_KEY) {
            const bool name = slm_json_is(json, "name"), template = slm_json_is(json, "template");
            event = slm_json_next(json);
            if (name && event == SLM_JSON_STRING) is_default = slm_json_is(json, "default");
            if (template && event == SLM_JSON_STRING) ok = take(json, &text), has_text = true;
            ok = ok && slm_json_skip(json, event);
        }
        ok = ok && event == SLM_JSON_OBJECT_END;
        /* Judged at the end of an object, because its name may stand behind its text. */
        if (!ok || !has_text || settled || (*found && !is_default)) continue;
        slm_buf_clear(out);
        slm_buf_add_str(out, (struct slm_str){text.data, text.len});
        *found = true;
        settled = is_default;
    }
    slm_buf_release(&text);
    if (!ok || event == SLM_JSON_ARRAY_END) return ok;
    return slm_json_fail(json, SLM_ERR_FORMAT, "\"chat_template\" must be a list of objects") == SLM_OK;
}

/* The key "chat_template" of a JSON file. */
static bool read_key(struct slm_json *json, struct slm_buf *out, bool *found)
{
    enum slm_json_event event = slm_json_next(json);
    if (event != SLM_JSON_OBJECT)
        return event == SLM_JSON_ERROR ? false : slm_json_fail(json, SLM_ERR_FORMAT, "an object is expected") == SLM_OK;
    while ((event = slm_json_next(json)) == SLM_JSON_KEY) {
        const bool wanted = slm_json_is(json, "chat_template");
        event = slm_json_next(json);
        bool ok = true;
        if (wanted && event == SLM_JSON_STRING) ok = take(json, out), *found = true;
        else if (wanted && event == SLM_JSON_ARRAY) ok = read_list(json, out, found);
        else ok = slm_json_skip(json, event);
        if (!ok) return false;
    }
    return event == SLM_JSON_OBJECT_END && slm_json_next(json) == SLM_JSON_END;
}

/* One home of the template. An absent file, or one without the key, leaves *found as it was. */
static slm_status read_file(const char *folder, const char *name, bool json_file, struct slm_buf *out, bool *found,
                            struct slm_error *error)
{
    struct slm_map map;
    bool there;
    SLM_TRY(slm_hf_map(folder, name, &map, &there, error));
    if (!there) return SLM_OK;
    const struct slm_str text = {(const char *)map.data, map.bytes};
    slm_status status = SLM_OK;
    if (json_file) {
        struct slm_json json;
        struct slm_error own = {0}; /* its status is needed even when the caller wants no message */
        slm_json_init(&json, text, name, &own);
        if (!read_key(&json, out, found)) {
            status = own.status != SLM_OK ? own.status : SLM_ERR_FORMAT;
            if (error) *error = own;
        }
    } else {
        *found = true;
        slm_buf_add_str(out, text);
    }
    slm_os()->unmap(&map);
    if (status == SLM_OK && out->len > MAX_TEMPLATE_BYTES)
        status = slm_fail(error, SLM_ERR_LIMIT, name, "the chat template has %zu bytes; at most %zu are allowed",
                          out->len, MAX_TEMPLATE_BYTES);
    return status == SLM_OK ? slm_buf_status(out, name, error) : status;
}

static slm_status read_template(struct slm_model *model, const char *folder, struct slm_error *error)
{
    static const struct { const char *name; bool json; } homes[] = {
        {"chat_template.jinja", false}, {"chat_template.json", true}, {"tokenizer_config.json", true}};
    struct slm_buf text = {0};
    bool found = false;
    slm_status status = SLM_OK;
    for (size_t i = 0; i < sizeof homes / sizeof *homes && status == SLM_OK && !found; i++)
        status = read_file(folder, homes[i].name, homes[i].json, &text, &found, error);
    if (status == SLM_OK && found) {
        model->chat_template = slm_arena_copy(&model->arena, text.data ? text.data : "", text.len, error);
        if (!model->chat_template) status = SLM_ERR_MEMORY;
    }
    slm_buf_release(&text);
    return status;
}

slm_status slm_model_read_hf_texts(struct slm_model *model, const char *folder, struct slm_error *error)
{
    int64_t n_vocab = 0;
    bool found;
    SLM_TRY(slm_gguf_get_i64(model->gguf, "vocab_size", 0, INT32_MAX, &n_vocab, &found, error));
    SLM_TRY(slm_tokenizer_from_hf(folder, (size_t)n_vocab, &model->tokenizer, error));
    return read_template(model, folder, error);
}
