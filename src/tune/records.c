/* SPDX-License-Identifier: MIT
 * See records.h. The file is a GGUF file of one tensor, because its writer replaces files safely and its reader takes
 * nothing for granted. Deliberately not here: what the numbers mean. */
#include "tune/records.h"

#include "base/os.h"
#include "format/gguf.h"

static const char ROWS[] = "records", SUM[] = "slm.records.sum";

/* Below 2^63, as keys are read. */
static uint64_t sum_of(const void *rows, size_t bytes) { return slm_hash_bytes(rows, bytes, 0) >> 1; }

/* Are these the rows that were saved? */
static bool is_intact(const struct slm_gguf *gguf)
{
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(gguf, slm_str(ROWS));
    int64_t sum = -1;
    bool found = false;
    return t && slm_gguf_get_i64(gguf, SUM, 0, INT64_MAX, &sum, &found, NULL) == SLM_OK && found &&
           (uint64_t)sum == sum_of(t->data, (size_t)t->bytes);
}

void slm_records_drop_damaged(const char *path)
{
    struct slm_gguf *gguf;
    bool intact = false;
    if (slm_gguf_open(path, NULL, &gguf, NULL) == SLM_OK) {
        intact = is_intact(gguf);
        slm_gguf_close(gguf);
    }
    if (!intact) (void)slm_os()->remove(path, NULL);
}

slm_status slm_records_save(const struct slm_records *r, size_t n, struct slm_error *error)
{
    struct slm_gguf_writer *w;
    const uint64_t dims[2] = {r->n_fields, n};
    if (!r->path || n == 0) return SLM_OK;
    SLM_TRY(slm_gguf_writer_open(r->path, 0, &w, error));
    slm_status status = slm_gguf_write_i64(w, r->key, SLM_GGUF_U64, (int64_t)r->fingerprint, error);
    const uint64_t sum = sum_of(r->rows, n * r->n_fields * sizeof *r->rows);
    if (status == SLM_OK) status = slm_gguf_write_i64(w, SUM, SLM_GGUF_U64, (int64_t)sum, error);
    if (status == SLM_OK) status = slm_gguf_declare_tensor(w, slm_str(ROWS), SLM_DTYPE_F32, dims, 2, error);
    if (status == SLM_OK) status = slm_gguf_write_data(w, r->rows, n * r->n_fields * sizeof *r->rows, error);
    if (status == SLM_OK) return slm_gguf_writer_finish(w, error);
    slm_gguf_writer_abandon(w);
    return status;
}

slm_status slm_records_restore(const struct slm_records *r, size_t step, size_t *n, struct slm_error *error)
{
    struct slm_path_info info;
    struct slm_gguf *gguf;
    int64_t fingerprint = -1;
    *n = 0;
    SLM_TRY(slm_os()->look_at(r->path, &info, error));
    if (!info.exists) return SLM_OK;
    SLM_TRY(slm_gguf_open(r->path, NULL, &gguf, error));
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(gguf, slm_str(ROWS));
    bool found = false;
    slm_status status = slm_gguf_get_i64(gguf, r->key, 0, INT64_MAX, &fingerprint, &found, error);
    if (status == SLM_OK && (!found || (uint64_t)fingerprint != r->fingerprint || !t || t->dtype != SLM_DTYPE_F32 ||
                             t->dims[0] != r->n_fields || t->n_elements / r->n_fields > r->n_most ||
                             t->n_elements % (r->n_fields * step) != 0))
        status = slm_fail(error, SLM_ERR_ARGUMENT, r->path,
                          "is the checkpoint of another evaluation: other text, window or models; remove it first");
    if (status == SLM_OK && !is_intact(gguf))
        status = slm_fail(error, SLM_ERR_FORMAT, r->path, "is damaged: its numbers are not those that were saved; "
                          "remove it first");
    if (status == SLM_OK) {
        *n = (size_t)(t->n_elements / r->n_fields);
        memcpy(r->rows, t->data, (size_t)t->n_elements * sizeof *r->rows);
    }
    slm_gguf_close(gguf);
    return status;
}
