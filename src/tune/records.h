/* SPDX-License-Identifier: MIT
 * Checkpoints of evaluations: the few numbers that were measured so far, and what they were measured of, in a file
 * that is replaced as a whole. */
#ifndef SLM_TUNE_RECORDS_H
#define SLM_TUNE_RECORDS_H
#include "base/error.h"

struct slm_records {
    const char *path;     /* NULL: nothing is kept */
    const char *key;      /* the GGUF key that holds the fingerprint; says which kind of evaluation it is */
    uint64_t fingerprint; /* of all that decides the numbers; below 2^63 */
    float *rows;          /* [n_most, n_fields] borrowed */
    size_t n_fields, n_most;
};
/* FNV-1a; begin with SLM_FINGERPRINT, and shift the result right by one. */
#define SLM_FINGERPRINT UINT64_C(0xcbf29ce484222325)
static inline void slm_fingerprint_mix(uint64_t *hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) *hash = (*hash ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
}

/* Replaces the file by the first n rows. Nothing without a path. */
slm_status slm_records_save(const struct slm_records *records, size_t n, struct slm_error *error);
/* Fills the first *n rows from the file; 0 when there is no such file. A file of another fingerprint, or whose rows
 * are no multiple of `step`, is SLM_ERR_ARGUMENT; one that was changed since is SLM_ERR_FORMAT. */
slm_status slm_records_restore(const struct slm_records *records, size_t step, size_t *n, struct slm_error *error);
/* Removes a file that no longer has what was saved, so that it is measured again; for who need not ask a person. */
void slm_records_drop_damaged(const char *path);
#endif
