/* SPDX-License-Identifier: MIT
 * Hugging Face folders as containers: see hf_folder.h. The metadata is written out as the bytes of a GGUF file and
 * read back by the GGUF parser, so that limits, duplicates and look-ups are the same ones.
 *
 * Why not a tree of its own for config.json: everything that asks a model about itself (binding, inspecting,
 * converting) would need two ways to ask. Flattened under dotted paths, a configuration is a list of keys like any
 * other, a key that appears twice is found by the index, and a value of the wrong kind is refused by the getter that
 * is asked for it.
 *
 * Configurations name the same thing differently, by generation of the library that wrote them; the table of
 * spellings below is the one place that knows. Of a model inside a model (text_config) the keys keep their prefix:
 * both may have a model_type, and slm_gguf_find asks for the inner one first.
 *
 * Shards: model.safetensors.index.json says which files there are. Its names are untrusted: they must be plain file
 * names, so nothing outside the folder is ever opened. What lies in which file is read from the files.
 * Deliberately not here: tokenizer files (tokenizer/), pickle files (never). */
#include "format/hf_folder.h"

#include <stdio.h>

#include "base/checked.h"
#include "format/gguf_part.h"
#include "format/json.h"

char *slm_hf_path(const char *folder, const char *name, struct slm_error *error)
{
    struct slm_buf path = {0};
    slm_buf_puts(&path, folder);
    /* "folder/" and "folder" are the same folder. */
    if (path.len && path.data[path.len - 1] != '/') slm_buf_puts(&path, "/");
    slm_buf_puts(&path, name);
    if (slm_buf_status(&path, folder, error) == SLM_OK) return path.data;
    slm_buf_release(&path);
    return NULL;
}

/* Optional files are asked for with `found`: then it is no error when there is none. One that is there and cannot be
 * read, because of its permissions say, is one: the folder would mean something else without it. */
slm_status slm_hf_map(const char *folder, const char *name, struct slm_map *out, bool *found, struct slm_error *error)
{
    char *path = slm_hf_path(folder, name, error);
    if (!path) return SLM_ERR_MEMORY;
    struct slm_file *file;
    struct slm_file_info info;
    struct slm_path_info there;
    struct slm_error own = {0};
    slm_status status = slm_os()->open_read(path, &file, &info, found ? &own : error);
    if (found) *found = status == SLM_OK;
    if (status == SLM_OK) {
        status = slm_os()->map(file, out, error);
        const slm_status closed = slm_os()->close(file, status == SLM_OK ? error : NULL);
        if (status == SLM_OK && closed != SLM_OK) {
            slm_os()->unmap(out);
            status = closed;
        }
    } else if (found && status == SLM_ERR_IO && slm_os()->look_at(path, &there, NULL) == SLM_OK && !there.exists) {
        status = SLM_OK;
    } else if (found && error) {
        *error = own;
    }
    slm_release(path);
    return status;
}

/* Asked of every path that is opened, GGUF files too: there it fails at once, since a file holds no file. */
bool slm_hf_is_folder(const char *path, const char *config)
{
    struct slm_path_info info = {0};
    char *full = slm_hf_path(path, config, NULL);
    const bool seen = full && slm_os()->look_at(full, &info, NULL) == SLM_OK;
    slm_release(full);
    if (seen) return info.exists;
    return slm_os()->look_at(path, &info, NULL) == SLM_OK && info.is_folder;
}

/* As Meta and Mistral write their models themselves: other names for everything. Known only to be told apart. */
static const char makers_own[] = "params.json";

bool slm_hf_is_model(const char *path)
{
    return slm_hf_is_folder(path, "config.json") || slm_hf_is_folder(path, makers_own);
}

/* ---- config.json -> GGUF metadata ---------------------------------------------------------------------------- */

enum { MAX_KEY = SLM_HF_MAX_KEY };

/* Keys that are passed over when the same is said in its newer place too, as in transformers. */
static const char *const gives_way[] = {"rope_theta", "rope_local_base_freq", "partial_rotary_factor",
                                        "rope_scaling.type", "rope_parameters.type",
                                        "rope_parameters.full_attention.type"};
enum { N_GIVES_WAY = sizeof gives_way / sizeof *gives_way };

struct config {
    struct slm_json json;
    struct slm_buf kvs; /* GGUF-encoded entries */
    uint64_t n_kv;
    bool newer[2][N_GIVES_WAY]; /* is the same said in its newer place; of a model inside a model */
    bool looking;               /* for that, without passing over anything */
};

/* The writer's encodings, little-endian like the machines this runs on. */
static void put_u32(struct slm_buf *buf, uint32_t v) { slm_buf_add(buf, &v, sizeof v); }
static void put_u64(struct slm_buf *buf, uint64_t v) { slm_buf_add(buf, &v, sizeof v); }
static void put_string(struct slm_buf *buf, struct slm_str s)
{
    put_u64(buf, s.len);
    slm_buf_add_str(buf, s);
}

/* Of the front of a path that says it is of a model inside a model. */
static size_t inner_length(const char *path)
{
    return strncmp(path, SLM_HF_INNER, strlen(SLM_HF_INNER)) == 0 ? strlen(SLM_HF_INNER) : 0;
}

/* One spelling for what configurations write in several ways; rows apply in turn to the front of the path, behind the
 * prefix of a model inside a model. */
static void canonical(char full_path[MAX_KEY])
{
    static const struct { const char *from, *to; } spellings[] = {
        {"quantization.language_model.", "quantization."},
        {"quantization.model.language_model.", "quantization.model."},
        {"rope_parameters.full_attention.", "rope_parameters."},
        {"rope_parameters.sliding_attention.rope_theta", "rope_local_base_freq"},
        {"rope_parameters.rope_theta", "rope_theta"},
        {"rope_scaling.rope_theta", "rope_theta"},
        {"rope_parameters.partial_rotary_factor", "partial_rotary_factor"},
        {"rope_parameters.", "rope_scaling."},
        {"rope_scaling.type", "rope_scaling.rope_type"}};
    const size_t inner = inner_length(full_path);
    char *path = full_path + inner;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        const size_t n = strlen(spellings[i].from);
        if (strncmp(path, spellings[i].from, n) != 0) continue;
/* Prefixes end in a dot. */
        if (path[n] != 0 && spellings[i].from[n - 1] != '.') continue; /* whole keys match whole */
        char rest[MAX_KEY];
        snprintf(rest, sizeof rest, "%s", path + n);
        snprintf(path, MAX_KEY - inner, "%s%.200s", spellings[i].to, rest);
    }
}

/* Is this key to be passed over? While looking: notes which ones are. */
static bool passed_over(struct config *c, const char *raw_path)
{
    char path[MAX_KEY], weak[MAX_KEY];
    const size_t inner = inner_length(raw_path);
    for (size_t i = 0; i < N_GIVES_WAY; i++)
        if (strcmp(raw_path + inner, gives_way[i]) == 0) return !c->looking && c->newer[inner > 0][i];
    if (!c->looking) return false;
    snprintf(path, sizeof path, "%s", raw_path + inner);
    canonical(path);
    for (size_t i = 0; i < N_GIVES_WAY; i++) {
        snprintf(weak, sizeof weak, "%s", gives_way[i]);
        canonical(weak);
        c->newer[inner > 0][i] = c->newer[inner > 0][i] || strcmp(path, weak) == 0;
    }
    return false;
}

/* Key of an entry; its type and value follow. */
static void begin_kv(struct config *c, const char *raw_path)
{
    char path[MAX_KEY];
    snprintf(path, sizeof path, "%s", raw_path);
    canonical(path);
    put_string(&c->kvs, slm_str(path));
    c->n_kv++;
}

/* The value of the current NUMBER, STRING, TRUE or FALSE; with its type in front unless it is an element. */
static bool put_scalar(struct config *c, enum slm_json_event event, bool as_float, bool with_type)
{
    int64_t i;
    if (event == SLM_JSON_NUMBER) {
        const bool integer = !as_float && slm_json_read_i64(&c->json, &i);
        if (with_type) put_u32(&c->kvs, integer ? SLM_GGUF_I64 : SLM_GGUF_F64);
        const double d = slm_json_read_f64(&c->json);
        slm_buf_add(&c->kvs, integer ? (const void *)&i : (const void *)&d, 8);
        return true;
    }
    if (event == SLM_JSON_STRING) {
        struct slm_buf text = {0};
        if (with_type) put_u32(&c->kvs, SLM_GGUF_STRING);
        const bool ok = slm_json_read_text(&c->json, &text);
        if (ok) put_string(&c->kvs, (struct slm_str){text.data, text.len});
        slm_buf_release(&text);
        return ok;
    }
    if (with_type) put_u32(&c->kvs, SLM_GGUF_BOOL);
    slm_buf_add(&c->kvs, event == SLM_JSON_TRUE ? "\1" : "\0", 1);
    return true;
}

/* What kind a list is, found by reading ahead on a copy of the reader: all numbers (floats if one is), all strings or
 * all booleans. Anything else is not kept. */
static enum slm_gguf_type list_type(struct slm_json ahead, uint64_t *n)
{
    struct slm_error ignored;
    enum slm_gguf_type type = SLM_GGUF_TYPE_COUNT;
    ahead.error = &ignored;
    for (*n = 0;; (*n)++) {
        const enum slm_json_event event = slm_json_next(&ahead);
        int64_t i;
        enum slm_gguf_type this;
        if (event == SLM_JSON_ARRAY_END) return type;
        if (event == SLM_JSON_NUMBER) this = slm_json_read_i64(&ahead, &i) ? SLM_GGUF_I64 : SLM_GGUF_F64;
        else if (event == SLM_JSON_STRING) this = SLM_GGUF_STRING;
        else if (event == SLM_JSON_TRUE || event == SLM_JSON_FALSE) this = SLM_GGUF_BOOL;
        else return SLM_GGUF_TYPE_COUNT;
        if (type == SLM_GGUF_F64 && this == SLM_GGUF_I64) this = SLM_GGUF_F64;
        if (type == SLM_GGUF_I64 && this == SLM_GGUF_F64) type = SLM_GGUF_F64;
        if (type != SLM_GGUF_TYPE_COUNT && type != this) return SLM_GGUF_TYPE_COUNT;
        type = this;
    }
}

/* Lists of one kind are kept whole; anything else (objects, mixed lists) is skipped. */
static bool put_list(struct config *c, const char *path)
{
    uint64_t n;
/* The type stands before the elements, so the list is looked through twice. */
    const enum slm_gguf_type type = list_type(c->json, &n);
    if (type == SLM_GGUF_TYPE_COUNT) return slm_json_skip(&c->json, SLM_JSON_ARRAY);
    begin_kv(c, path);
    put_u32(&c->kvs, SLM_GGUF_ARRAY);
    put_u32(&c->kvs, type);
    put_u64(&c->kvs, n);
    for (enum slm_json_event event; (event = slm_json_next(&c->json)) != SLM_JSON_ARRAY_END;)
        if (event == SLM_JSON_ERROR || !put_scalar(c, event, type == SLM_GGUF_F64, false)) return false;
    return true;
}

/* path[0..len) is the object being read; a key is put behind it. False when it would be too long. */
static bool extend_path(struct config *c, char path[MAX_KEY], size_t len)
{
    const struct slm_str key = c->json.token;
    if (len + 1 + key.len >= MAX_KEY || key.len == 0)
        return slm_json_refuse(&c->json, SLM_ERR_LIMIT, "a key is empty, or its path longer than %d bytes", MAX_KEY);
    if (len) path[len++] = '.';
    memcpy(path + len, key.ptr, key.len);
    path[len + key.len] = 0;
    return true;
}

/* Every key is put behind prefix, which may be empty. */
static bool read_config(struct config *c, const char *prefix)
{
    char path[MAX_KEY];
    size_t lengths[SLM_JSON_MAX_DEPTH + 1] = {0}; /* of the path at each level */
    snprintf(path, sizeof path, "%s", prefix);
    lengths[1] = strlen(prefix);
    if (slm_json_next(&c->json) != SLM_JSON_OBJECT)
        return slm_json_refuse(&c->json, SLM_ERR_FORMAT, "a configuration must be an object");
    for (;;) {
        enum slm_json_event event = slm_json_next(&c->json);
        if (event == SLM_JSON_OBJECT_END) {
            if (c->json.depth == 0) return slm_json_next(&c->json) == SLM_JSON_END;
            continue;
        }
        if (event != SLM_JSON_KEY || !extend_path(c, path, lengths[c->json.depth])) return false;
        event = slm_json_next(&c->json);
        if (event == SLM_JSON_ERROR) return false;
        if (event != SLM_JSON_OBJECT && event != SLM_JSON_NULL && passed_over(c, path)) {
            if (!slm_json_skip(&c->json, event)) return false;
        } else if (event == SLM_JSON_OBJECT) {
/* Keys of this object go behind the path as it is now. */
            lengths[c->json.depth] = strlen(path);
        } else if (event == SLM_JSON_ARRAY) {
            if (!put_list(c, path)) return false;
        } else if (event != SLM_JSON_NULL) {
            begin_kv(c, path);
            if (!put_scalar(c, event, false, true)) return false;
        }
    }
}

/* Twice: first only to see what is said where. */
static bool read_twice(struct config *c, const struct slm_hf_config *file, struct slm_error *error)
{
    const uint64_t n_kv = c->n_kv;
    const size_t before = c->kvs.len;
    c->looking = true;
    slm_json_init(&c->json, file->json, file->where, error);
    if (!read_config(c, file->prefix)) return false;
    c->looking = false;
    c->kvs.len = before;
    c->n_kv = n_kv;
    slm_json_init(&c->json, file->json, file->where, error);
    return read_config(c, file->prefix);
}

/* The entries are collected first because a GGUF header begins with their number. */
slm_status slm_hf_config_to_gguf(const struct slm_hf_config *files, size_t n, struct slm_buf *out,
                                 struct slm_error *error)
{
    struct slm_error local = {0};
    struct config c = {0};
    slm_status status = SLM_OK;
    for (size_t i = 0; i < n && status == SLM_OK; i++) {
        status = read_twice(&c, &files[i], &local) ? slm_buf_status(&c.kvs, files[i].where, &local) : local.status;
    }
    if (status == SLM_OK) {
        slm_buf_puts(out, "GGUF");
        put_u32(out, 3);
        put_u64(out, 0);
        put_u64(out, c.n_kv);
        slm_buf_add(out, c.kvs.data, c.kvs.len);
        status = slm_buf_status(out, "config.json", &local);
    }
    slm_buf_release(&c.kvs);
    if (status != SLM_OK && error) *error = local;
    return status;
}

/* Takes the bytes as the first part: metadata without tensors. Only a whole model has a generation_config.json. */
static slm_status open_config(struct slm_gguf_part *part, const char *folder, const char *name, bool whole_model,
                              struct slm_error *error)
{
    struct slm_map config = {0}, generation = {0};
    struct slm_buf bytes = {0};
    bool found = false;
    part->path = slm_hf_path(folder, name, error);
    if (!part->path) return SLM_ERR_MEMORY;
    slm_status status = slm_hf_map(folder, name, &config, NULL, error);
    if (status == SLM_OK && whole_model)
        status = slm_hf_map(folder, "generation_config.json", &generation, &found, error);
    if (status == SLM_OK) {
        const struct slm_hf_config files[2] = {
            {{(const char *)config.data, config.bytes}, part->path, ""},
            {{(const char *)generation.data, generation.bytes}, "generation_config.json", "generation_config"}};
        status = slm_hf_config_to_gguf(files, found ? 2 : 1, &bytes, error);
    }
    slm_os()->unmap(&config);
    slm_os()->unmap(&generation);
    part->owned = bytes.data;
    if (status != SLM_OK) return status;
    const struct slm_gguf_limits limits = slm_gguf_limits_or_default(NULL);
    part->data = (const unsigned char *)bytes.data;
    part->readable_bytes = bytes.len;
    part->file_bytes = bytes.len;
    return slm_gguf_part_parse(part, &limits, error);
}

/* ---- safetensors files ----------------------------------------------------------------------------------------- */

/* One safetensors file: mapped, its header parsed, no data touched. */
static slm_status open_shard(struct slm_gguf_part *part, const char *folder, const char *name, struct slm_error *error)
{
    part->path = slm_hf_path(folder, name, error);
    if (!part->path) return SLM_ERR_MEMORY;
    SLM_TRY(slm_hf_map(folder, name, &part->map, NULL, error));
    part->data = part->map.data;
    part->readable_bytes = part->map.bytes;
    part->file_bytes = part->map.bytes;
    return slm_safetensors_parse((struct slm_str){(const char *)part->data, part->readable_bytes}, part->path,
                                 &part->tensors, &part->n_tensors, error);
}

/* Anything else could lead out of the folder, or to what the system hides. */
bool slm_hf_is_plain_name(struct slm_str name)
{
    if (name.len == 0 || name.len > 200 || name.ptr[0] == '.') return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == '/' || name.ptr[i] == '\\' || (unsigned char)name.ptr[i] < 0x20) return false;
    return true;
}

/* The distinct values of weight_map, NUL-separated, in order of appearance. */
static slm_status list_shards(struct slm_json *json, struct slm_buf *names, size_t *n)
{
    enum slm_json_event event = slm_json_next(json);
    if (event != SLM_JSON_OBJECT) return slm_json_fail(json, SLM_ERR_FORMAT, "weight_map must be an object");
    while ((event = slm_json_next(json)) == SLM_JSON_KEY) {
        if (slm_json_next(json) != SLM_JSON_STRING)
            return slm_json_fail(json, SLM_ERR_FORMAT, "weight_map must name files");
        const struct slm_str name = json->token;
        if (json->escaped || !slm_hf_is_plain_name(name))
            return slm_json_fail(json, SLM_ERR_FORMAT, "'%.*s' is no file name of this folder",
                                 (int)(name.len < 80 ? name.len : 80), name.ptr);
        bool known = false;
        for (size_t at = 0; at < names->len && !known; at += strlen(names->data + at) + 1)
            known = slm_str_is(name, names->data + at);
        if (known) continue;
        if (++*n > 999) return slm_json_fail(json, SLM_ERR_LIMIT, "more than 999 files");
        slm_buf_add_str(names, name);
        slm_buf_add(names, "", 1);
    }
    return event == SLM_JSON_OBJECT_END ? slm_buf_status(names, json->where, json->error) : SLM_ERR_FORMAT;
}

/* weight_map is all that matters; which tensor lies in which file is found out again from the files themselves. */
static slm_status read_index(struct slm_str text, const char *where, struct slm_buf *names, size_t *n,
                             struct slm_error *error)
{
    struct slm_error local = {0};
    struct slm_json json;
    slm_json_init(&json, text, where, &local);
    slm_status status = SLM_OK;
    if (slm_json_next(&json) != SLM_JSON_OBJECT)
        status = slm_json_fail(&json, SLM_ERR_FORMAT, "the index must be an object");
    for (enum slm_json_event event; status == SLM_OK && (event = slm_json_next(&json)) != SLM_JSON_OBJECT_END;) {
        if (event == SLM_JSON_ERROR) status = local.status;
        else if (slm_json_is(&json, "weight_map")) status = list_shards(&json, names, n);
        else if (!slm_json_skip(&json, slm_json_next(&json))) status = local.status;
    }
    if (status == SLM_OK && *n == 0) status = slm_json_fail(&json, SLM_ERR_FORMAT, "the index names no file");
    if (status != SLM_OK && error) *error = local;
    return status;
}

/* Names of the files that hold the tensors, NUL-separated. */
static slm_status find_shards(const char *folder, struct slm_buf *names, size_t *n, struct slm_error *error)
{
    struct slm_map map = {0};
    bool found = false;
    SLM_TRY(slm_hf_map(folder, "model.safetensors.index.json", &map, &found, error));
/* Without an index all tensors are in one file of a fixed name. */
    if (!found) {
        *n = 1;
        slm_buf_add(names, "model.safetensors", sizeof "model.safetensors");
        return slm_buf_status(names, folder, error);
    }
    const slm_status status = read_index((struct slm_str){(const char *)map.data, map.bytes},
                                         "model.safetensors.index.json", names, n, error);
    slm_os()->unmap(&map);
    return status;
}

/* The n files of these names become the parts behind the configuration, in this order. */
static slm_status open_shards(struct slm_gguf *gguf, const char *folder, const char *names, size_t n,
                              struct slm_error *error)
{
    struct slm_gguf_part *grown = slm_realloc(gguf->parts, n + 1, sizeof *grown, folder, error);
    if (!grown) return SLM_ERR_MEMORY;
    gguf->parts = grown;
    for (size_t i = 1; i <= n; i++, names += strlen(names) + 1) {
        gguf->n_parts = i + 1;
        SLM_TRY(open_shard(&gguf->parts[i], folder, names, error));
    }
    return SLM_OK;
}

/* A model: configuration, then what the index names. */
static slm_status open_model(struct slm_gguf *gguf, const char *folder, struct slm_error *error)
{
    struct slm_buf names = {0};
    size_t n = 0;
    slm_status status = open_config(&gguf->parts[0], folder, "config.json", true, error);
    if (status == SLM_OK) status = find_shards(folder, &names, &n, error);
    if (status == SLM_OK) status = open_shards(gguf, folder, names.data, n, error);
    slm_buf_release(&names);
    return status;
}

/* A part of one (an adapter, a layer behind a model): both files under the names given; the second may not be
 * needed. */
static slm_status open_module(struct slm_gguf *gguf, const char *folder, const char *config, const char *weights,
                              struct slm_error *error)
{
    SLM_TRY(open_config(&gguf->parts[0], folder, config, false, error));
    return weights ? open_shards(gguf, folder, weights, 1, error) : SLM_OK;
}

/* A tensor that two files hold is found when all are joined under one index. */
static slm_status open_folder(const char *folder, const char *config, const char *weights, struct slm_gguf **out,
                              struct slm_error *error)
{
    struct slm_gguf *gguf;
    SLM_TRY(slm_gguf_new(&gguf, error));
    gguf->from_hf = true;
    slm_status status =
        config ? open_module(gguf, folder, config, weights, error) : open_model(gguf, folder, error);
    const struct slm_gguf_limits limits = slm_gguf_limits_or_default(NULL);
    if (status == SLM_OK) status = slm_hf_unwrap(gguf, error);
    if (status == SLM_OK) status = slm_gguf_join_tensors(gguf, &limits, error);
    if (status == SLM_OK) status = slm_hf_link(gguf, error);
    if (status == SLM_OK)
        *out = gguf;
    else
        slm_gguf_close(gguf);
    return status;
}

slm_status slm_hf_open(const char *folder, struct slm_gguf **out, struct slm_error *error)
{
    if (!slm_hf_is_folder(folder, "config.json") && slm_hf_is_folder(folder, makers_own))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, folder,
                        "the model is in its makers' own format (params.json); folders with a config.json are "
                        "supported, as on Hugging Face");
    return open_folder(folder, NULL, NULL, out, error);
}

slm_status slm_hf_open_module(const char *folder, const char *config, const char *weights, struct slm_gguf **out,
                              struct slm_error *error)
{
    return open_folder(folder, config, weights, out, error);
}
