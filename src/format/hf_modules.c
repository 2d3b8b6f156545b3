/* SPDX-License-Identifier: MIT
 * modules.json: a list of objects {"idx", "name", "path", "type"}, in the order the steps are taken. It is not a
 * configuration (those are objects, hf_folder.c), so it has a reader of its own: one pass, fixed memory.
 *
 * Deliberately not here: what the types mean and which this build knows (engine/embed_rules.c). */
#include "format/hf_modules.h"

#include "format/hf_folder.h"
#include "format/json.h"

/* The current STRING into a fixed buffer. */
static bool read_short(struct slm_json *json, char out[SLM_HF_MODULE_BYTES])
{
    const struct slm_str text = json->token;
    if (json->escaped || text.len >= SLM_HF_MODULE_BYTES)
        return slm_json_refuse(json, SLM_ERR_LIMIT, "a module's path and type are plain texts of less than %d bytes",
                               SLM_HF_MODULE_BYTES);
    if (text.len) memcpy(out, text.ptr, text.len);
    out[text.len] = 0;
    return true;
}

/* Packages moved between versions of the library; class names did not. */
static void drop_package(char type[SLM_HF_MODULE_BYTES])
{
    const char *dot = strrchr(type, '.');
    if (dot) memmove(type, dot + 1, strlen(dot));
}

/* The object of one module, behind its OBJECT event. */
static bool read_module(struct slm_json *json, struct slm_hf_module *out)
{
    bool has_path = false, has_type = false;
    enum slm_json_event event;
    *out = (struct slm_hf_module){.path = ""};
    while ((event = slm_json_next(json)) == SLM_JSON_KEY) {
        const bool path = slm_json_is(json, "path"), type = slm_json_is(json, "type");
        event = slm_json_next(json);
        if ((path || type) && event != SLM_JSON_STRING)
            return slm_json_refuse(json, SLM_ERR_FORMAT, "a module's path and type must be texts");
        if ((path && has_path) || (type && has_type))
            return slm_json_refuse(json, SLM_ERR_FORMAT, "a module has two of a key");
        if (path || type) {
            if (!read_short(json, path ? out->path : out->type)) return false;
            has_path |= path, has_type |= type;
        } else if (!slm_json_skip(json, event)) {
            return false;
        }
    }
    if (event != SLM_JSON_OBJECT_END) return false;
    if (!has_path || !has_type) return slm_json_refuse(json, SLM_ERR_FORMAT, "a module needs a path and a type");
    if (out->path[0] && !slm_hf_is_plain_name(slm_str(out->path)))
        return slm_json_refuse(json, SLM_ERR_FORMAT, "'%s' is no folder inside this one", out->path);
    drop_package(out->type);
    return true;
}

/* The list to its end, and nothing behind it. */
static bool read_list(struct slm_json *json, struct slm_hf_modules *out)
{
    enum slm_json_event event = slm_json_next(json);
    if (event == SLM_JSON_ERROR) return false;
    if (event != SLM_JSON_ARRAY) return slm_json_refuse(json, SLM_ERR_FORMAT, "the modules must be a list");
    while ((event = slm_json_next(json)) == SLM_JSON_OBJECT) {
        if (out->n == SLM_HF_MAX_MODULES)
            return slm_json_refuse(json, SLM_ERR_LIMIT, "more than %d modules", SLM_HF_MAX_MODULES);
        if (!read_module(json, &out->list[out->n++])) return false;
    }
    if (event == SLM_JSON_ARRAY_END) return slm_json_next(json) == SLM_JSON_END;
    return event == SLM_JSON_ERROR ? false : slm_json_refuse(json, SLM_ERR_FORMAT, "a module must be an object");
}

slm_status slm_hf_modules_parse(struct slm_str file, const char *where, struct slm_hf_modules *out,
                                struct slm_error *error)
{
    struct slm_json json;
    struct slm_error local = {0}; /* its status is needed even when the caller wants no message */
    out->n = 0;
    slm_json_init(&json, file, where, &local);
    if (read_list(&json, out)) return SLM_OK;
    if (error) *error = local;
    return local.status != SLM_OK ? local.status : SLM_ERR_FORMAT;
}
