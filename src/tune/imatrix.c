/* SPDX-License-Identifier: MIT
 * See imatrix.h. The importance of input j of a matrix is the mean of its square over the calibration text: the squared
 * error of a product is, for independent errors, the sum over j of that mean times the squared error of weight j. Only
 * proportions matter, so rows are brought to a mean of 1, which keeps sums of the search far from the ends of float. */
#include "tune/imatrix.h"

#include <math.h>
#include <stdio.h>

static const char SUMS[] = ".in_sum2", COUNTS[] = ".counts";

/* NAME + suffix as a tensor of the file; NULL when it has none. */
static const struct slm_gguf_tensor *find(const struct slm_imatrix *m, struct slm_str name, const char *suffix)
{
    char text[256];
    const int n = snprintf(text, sizeof text, "%.*s%s", (int)(name.len < 200 ? name.len : 200), name.ptr, suffix);
    return slm_gguf_find_tensor(m->gguf, (struct slm_str){.ptr = text, .len = (size_t)n});
}

static bool ends_in(struct slm_str text, const char *end)
{
    const size_t n = strlen(end);
    return text.len > n && memcmp(text.ptr + text.len - n, end, n) == 0;
}

static float value_at(const struct slm_gguf_tensor *t, uint64_t i)
{
    float value;
    memcpy(&value, t->data + i * sizeof value, sizeof value);
    return value;
}

/* One tensor of the file. */
static slm_status check(const struct slm_imatrix *m, const struct slm_gguf_tensor *t, struct slm_error *error)
{
    const char *path = slm_gguf_name(m->gguf);
    const int len = (int)(t->name.len < 80 ? t->name.len : 80);
    if (t->dtype != SLM_DTYPE_F32)
        return slm_fail(error, SLM_ERR_FORMAT, path, "tensor '%.*s' has type %s; an importance matrix has F32 only",
                        len, t->name.ptr, slm_dtypes[t->dtype].name);
    if (ends_in(t->name, SUMS)) {
        const struct slm_str name = {.ptr = t->name.ptr, .len = t->name.len - strlen(SUMS)};
        if (!find(m, name, COUNTS))
            return slm_fail(error, SLM_ERR_FORMAT, path, "tensor '%.*s' has no counts beside it", len, t->name.ptr);
    }
    for (uint64_t i = 0; i < t->n_elements; i++)
        if (!(value_at(t, i) >= 0) || !isfinite(value_at(t, i)))
            return slm_fail(error, SLM_ERR_NUMERIC, path,
                            "tensor '%.*s': element %llu is %g; sums of squares and counts are finite and not negative",
                            len, t->name.ptr, (unsigned long long)i, (double)value_at(t, i));
    return SLM_OK;
}

size_t slm_imatrix_n_entries(const struct slm_imatrix *m)
{
    size_t n = 0;
    for (size_t i = 0; i < slm_gguf_n_tensors(m->gguf); i++)
        n += ends_in(slm_gguf_tensor_at(m->gguf, i)->name, SUMS);
    return n;
}

slm_status slm_imatrix_take(struct slm_gguf *gguf, struct slm_imatrix *out, struct slm_error *error)
{
    slm_status status = SLM_OK;
    *out = (struct slm_imatrix){.gguf = gguf};
    if (slm_imatrix_n_entries(out) == 0)
        status = slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(gguf),
                          "is no importance matrix: it has no tensor NAME%s", SUMS);
    for (size_t i = 0; status == SLM_OK && i < slm_gguf_n_tensors(gguf); i++)
        status = check(out, slm_gguf_tensor_at(gguf, i), error);
    if (status != SLM_OK) slm_imatrix_close(out);
    return status;
}

slm_status slm_imatrix_open(const char *path, struct slm_imatrix *out, struct slm_error *error)
{
    struct slm_gguf *gguf;
    *out = (struct slm_imatrix){0};
    SLM_TRY(slm_gguf_open(path, NULL, &gguf, error));
    return slm_imatrix_take(gguf, out, error);
}

void slm_imatrix_close(struct slm_imatrix *m)
{
    slm_gguf_close(m->gguf);
    slm_arena_release(&m->arena);
    *m = (struct slm_imatrix){0};
}

slm_status slm_imatrix_find(struct slm_imatrix *m, struct slm_str tensor, uint64_t n_in, const float **out,
                            struct slm_error *error)
{
    const struct slm_gguf_tensor *sums = find(m, tensor, SUMS), *counts = find(m, tensor, COUNTS);
    *out = NULL;
    if (!sums) return SLM_OK;
    if (sums->n_elements != n_in || counts->n_elements != 1)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(m->gguf),
                        "tensor '%.*s' has %llu inputs, of which the importance matrix has %llu: it is of another "
                        "model",
                        (int)(tensor.len < 80 ? tensor.len : 80), tensor.ptr, (unsigned long long)n_in,
                        (unsigned long long)sums->n_elements);
    double total = 0;
    for (uint64_t i = 0; i < n_in; i++) total += (double)value_at(sums, i);
    if (!(total > 0) || !(value_at(counts, 0) > 0)) return SLM_OK;
    float *values = slm_arena_alloc(&m->arena, (size_t)n_in, sizeof *values, "importance matrix", error);
    if (!values) return SLM_ERR_MEMORY;
    for (uint64_t i = 0; i < n_in; i++) values[i] = (float)((double)value_at(sums, i) * (double)n_in / total);
    *out = values;
    return SLM_OK;
}
