/* SPDX-License-Identifier: MIT
 * See cache.h. Numbers are written with 17 digits, so what is read back is what was measured, bit for bit: a run
 * that was killed decides like one that was not. Sums of files lie beside them (PATH.sum), because a model cannot hold
 * one; numbers end with their own. Reading a file for its sum costs what reading the model for its key costs.
 *
 * A file without its sum was written by a run that was killed just then: it counts as absent and is made again. Keys
 * and sums are 64 bits of a hash that is no cryptographic one: the folder is its owner's. Deliberately not here: what
 * is kept, and under which keys. */
#include "tune/cache.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

/* Chained: the key so far is the seed. */
uint64_t slm_cache_key(uint64_t key, const void *data, size_t bytes) { return slm_hash_bytes(data, bytes, key); }

/* No text is not the empty text. */
uint64_t slm_cache_key_text(uint64_t key, const char *text)
{
    return text ? slm_cache_key(key, text, strlen(text)) : slm_cache_key(key ^ 1, "", 0);
}

/* Flat: what belongs to which model, the keys say. */
slm_status slm_cache_path(const char *folder, const char *stem, uint64_t key, const char *end, struct slm_buf *out,
                          struct slm_error *error)
{
    slm_buf_clear(out);
    slm_buf_printf(out, "%s/%s-%016llx.%s", folder, stem, (unsigned long long)key, end);
    return slm_buf_status(out, folder, error);
}

/* The map outlives the file's handle. */
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

/* What a file's seal says. */
static slm_status sum_of(const char *path, char out[17], struct slm_error *error)
{
    struct slm_map map;
    SLM_TRY(slm_cache_map(path, &map, error));
    (void)snprintf(out, 17, "%016llx", (unsigned long long)slm_hash_bytes(map.data ? (const void *)map.data : "",
                                                                          map.bytes, 0));
    slm_os()->unmap(&map);
    return SLM_OK;
}

/* Where the seal of a file lies. */
static slm_status seal_path(const char *path, struct slm_buf *out, struct slm_error *error)
{
    slm_buf_printf(out, "%s.sum", path);
    return slm_buf_status(out, path, error);
}

/* The seal is looked at first: without one the file need not be read. */
slm_status slm_cache_has(const char *path, bool *found, struct slm_error *error)
{
    struct slm_path_info info, seal_info;
    struct slm_buf seal = {0};
    struct slm_map told = {0};
    char sum[17];
    *found = false;
    slm_status status = seal_path(path, &seal, error);
    if (status == SLM_OK) status = slm_os()->look_at(path, &info, error);
    if (status == SLM_OK) status = slm_os()->look_at(seal.data, &seal_info, error);
    if (status == SLM_OK && info.exists && seal_info.exists) {
        status = slm_cache_map(seal.data, &told, error);
        if (status == SLM_OK) status = sum_of(path, sum, error);
        *found = status == SLM_OK && told.bytes == 16 && memcmp(told.data, sum, 16) == 0;
        slm_os()->unmap(&told);
    }
    slm_buf_release(&seal);
    return status;
}

/* Under another name until it is on the disk: whoever looks sees the old file or the new one. */
static slm_status write_whole(const char *path, const void *data, size_t bytes, struct slm_error *error)
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

/* Reads what is on the disk, not what was meant to be. */
slm_status slm_cache_seal(const char *path, struct slm_error *error)
{
    struct slm_buf seal = {0};
    char sum[17];
    slm_status status = seal_path(path, &seal, error);
    if (status == SLM_OK) status = sum_of(path, sum, error);
    if (status == SLM_OK) status = write_whole(seal.data, sum, 16, error);
    slm_buf_release(&seal);
    return status;
}

/* The seal first: a file without one is nobody's. */
void slm_cache_remove(const char *path)
{
    struct slm_buf seal = {0};
    if (seal_path(path, &seal, NULL) == SLM_OK) (void)slm_os()->remove(seal.data, NULL);
    (void)slm_os()->remove(path, NULL);
    slm_buf_release(&seal);
}

slm_status slm_cache_write(const char *path, const void *data, size_t bytes, struct slm_error *error)
{
    SLM_TRY(write_whole(path, data, bytes, error));
    return slm_cache_seal(path, error);
}

/* The last field of an object: the sum of all before it. */
#define SUM_FORMAT ", \"sum\": \"%016llx\"}\n"
enum { SUM_BYTES = 29 };

/* Of exactly the bytes that stand before it. */
static bool sum_is_right(const struct slm_map *map)
{
    char end[SUM_BYTES + 1];
    if (map->bytes <= SUM_BYTES) return false;
    const size_t n = map->bytes - SUM_BYTES;
    (void)snprintf(end, sizeof end, SUM_FORMAT, (unsigned long long)slm_hash_bytes(map->data, n, 0));
    return memcmp(map->data + n, end, SUM_BYTES) == 0;
}

/* Fields in the order given, so the same numbers are the same bytes. */
slm_status slm_cache_put_numbers(const char *path, const char *const *names, const double *values, size_t n,
                                 struct slm_error *error)
{
    struct slm_buf text = {0};
    for (size_t i = 0; i < n; i++) {
        slm_buf_printf(&text, "%s\"%s\": ", i ? ", " : "{", names[i]);
        if (isfinite(values[i])) slm_buf_printf(&text, "%.17g", values[i]);
        else slm_buf_puts(&text, "null");
    }
    slm_status status = slm_buf_status(&text, path, error);
    if (status == SLM_OK) {
        slm_buf_printf(&text, SUM_FORMAT, (unsigned long long)slm_hash_bytes(text.data, text.len, 0));
        status = slm_buf_status(&text, path, error);
    }
    if (status == SLM_OK) status = write_whole(path, text.data, text.len, error);
    slm_buf_release(&text);
    return status;
}

/* What is not as it was written is not found, which is no error. */
slm_status slm_cache_get_numbers(const char *path, const char *const *names, double *values, size_t n, bool *found,
                                 struct slm_error *error)
{
    struct slm_map map;
    struct slm_path_info info;
    SLM_TRY(slm_os()->look_at(path, &info, error));
    *found = info.exists;
    if (!*found) return SLM_OK;
    SLM_TRY(slm_cache_map(path, &map, error));
    json_t *root = sum_is_right(&map) ? json_loadb((const char *)map.data, map.bytes, 0, NULL) : NULL;
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
