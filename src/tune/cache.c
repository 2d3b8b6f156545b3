/* SPDX-License-Identifier: MIT
 * See cache.h. Numbers are written with 17 digits, so what is read back is what was measured, bit for bit: a run
 * that was killed decides like one that was not. A file that cannot be understood counts as absent; it will be
 * written anew. Keys are 64 bits of a hash that is no cryptographic one: the folder is its owner's. */
#include "tune/cache.h"

#include <jansson.h>
#include <math.h>

uint64_t slm_cache_key(uint64_t key, const void *data, size_t bytes) { return slm_hash_bytes(data, bytes, key); }

uint64_t slm_cache_key_text(uint64_t key, const char *text)
{
    return text ? slm_cache_key(key, text, strlen(text)) : slm_cache_key(key ^ 1, "", 0);
}

slm_status slm_cache_path(const char *folder, const char *stem, uint64_t key, const char *end, struct slm_buf *out,
                          struct slm_error *error)
{
    slm_buf_clear(out);
    slm_buf_printf(out, "%s/%s-%016llx.%s", folder, stem, (unsigned long long)key, end);
    return slm_buf_status(out, folder, error);
}

slm_status slm_cache_has(const char *path, bool *found, struct slm_error *error)
{
    struct slm_path_info info;
    SLM_TRY(slm_os()->look_at(path, &info, error));
    *found = info.exists;
    return SLM_OK;
}

slm_status slm_cache_write(const char *path, const void *data, size_t bytes, struct slm_error *error)
{
    struct slm_file *file;
    struct slm_buf temp = {0};
    slm_buf_printf(&temp, "%s.tmp", path);
    slm_status status = slm_buf_status(&temp, path, error);
    if (status == SLM_OK) status = slm_os()->create(temp.data, &file, error);
    if (status == SLM_OK) {
        status = slm_os()->write(file, data, bytes, error);
        if (status == SLM_OK) status = slm_os()->sync(file, error);
        const slm_status closed = slm_os()->close(file, status == SLM_OK ? error : NULL);
        if (status == SLM_OK) status = closed;
        if (status == SLM_OK) status = slm_os()->rename(temp.data, path, error);
        if (status != SLM_OK) (void)slm_os()->remove(temp.data, NULL);
    }
    slm_buf_release(&temp);
    return status;
}

slm_status slm_cache_map(const char *path, struct slm_map *out, struct slm_error *error)
{
    struct slm_file *file;
    struct slm_file_info info;
    SLM_TRY(slm_os()->open_read(path, &file, &info, error));
    const slm_status status = slm_os()->map(file, out, error);
    const slm_status closed = slm_os()->close(file, status == SLM_OK ? error : NULL);
    if (status == SLM_OK && closed != SLM_OK) slm_os()->unmap(out);
    return status == SLM_OK ? closed : status;
}

slm_status slm_cache_put_numbers(const char *path, const char *const *names, const double *values, size_t n,
                                 struct slm_error *error)
{
    struct slm_buf text = {0};
    for (size_t i = 0; i < n; i++) {
        slm_buf_printf(&text, "%s\"%s\": ", i ? ", " : "{", names[i]);
        if (isfinite(values[i])) slm_buf_printf(&text, "%.17g", values[i]);
        else slm_buf_puts(&text, "null");
    }
    slm_buf_puts(&text, "}\n");
    slm_status status = slm_buf_status(&text, path, error);
    if (status == SLM_OK) status = slm_cache_write(path, text.data, text.len, error);
    slm_buf_release(&text);
    return status;
}

slm_status slm_cache_get_numbers(const char *path, const char *const *names, double *values, size_t n, bool *found,
                                 struct slm_error *error)
{
    struct slm_map map;
    SLM_TRY(slm_cache_has(path, found, error));
    if (!*found) return SLM_OK;
    SLM_TRY(slm_cache_map(path, &map, error));
    json_t *root = json_loadb(map.data ? (const char *)map.data : "", map.bytes, 0, NULL);
    slm_os()->unmap(&map);
    *found = json_is_object(root);
    for (size_t i = 0; *found && i < n; i++) {
        const json_t *value = json_object_get(root, names[i]);
        *found = json_is_number(value) || json_is_null(value);
        values[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    json_decref(root);
    return SLM_OK;
}
