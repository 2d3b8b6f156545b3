/* SPDX-License-Identifier: MIT
 * A folder of results, each under a name that is a hash of all it depends on: what is there need not be computed
 * again, and whatever changes gives another name. Files appear whole, and each has a sum, beside it or in it: what was
 * cut or changed by hand, or spoilt by a disk, counts as absent and is made again. */
#ifndef SLM_TUNE_CACHE_H
#define SLM_TUNE_CACHE_H
#include "base/str.h"
#include "base/os.h"

/* Adds to a key; begin with 0. Lengths count, so "a","bc" is not "ab","c". */
uint64_t slm_cache_key(uint64_t key, const void *data, size_t bytes);
uint64_t slm_cache_key_text(uint64_t key, const char *text); /* NULL counts too */

/* "FOLDER/STEM-KEY.END" */
slm_status slm_cache_path(const char *folder, const char *stem, uint64_t key, const char *end, struct slm_buf *out,
                          struct slm_error *error);
/* Is there such a file, as it was sealed? */
slm_status slm_cache_has(const char *path, bool *found, struct slm_error *error);
/* A file that somebody else wrote is complete. */
slm_status slm_cache_seal(const char *path, struct slm_error *error);
/* It and its seal, if they are there; that is no error. */
void slm_cache_remove(const char *path);
/* Replaces a file as a whole, and seals it. */
slm_status slm_cache_write(const char *path, const void *data, size_t bytes, struct slm_error *error);
/* A whole file; map->data is NULL when it is empty. slm_os()->unmap. */
slm_status slm_cache_map(const char *path, struct slm_map *out, struct slm_error *error);
/* Numbers by name, as a JSON object; NaN is null. get: *found is false when there is no such file, or not as
 * it was written. */
slm_status slm_cache_put_numbers(const char *path, const char *const *names, const double *values, size_t n,
                                 struct slm_error *error);
slm_status slm_cache_get_numbers(const char *path, const char *const *names, double *values, size_t n, bool *found,
                                 struct slm_error *error);
#endif
