/* SPDX-License-Identifier: MIT
 * safetensors: u64 length of a JSON header, the header, then tensor bytes without holes. The header maps names to
 * {dtype, shape, data_offsets}. Everything is compared with the file's size before it is believed; ranges must cover
 * the data section exactly once, as the format demands (a polyglot or a shared range is an attack, not a model).
 *
 * The rules are those of the reference implementation, which has stood 38 million fuzzing inputs: a length in front
 * that fits the file and a limit; a header that begins with its brace; three keys a tensor and no others; sizes by
 * checked multiplication; ranges that tile the data from its first byte to the last of the file.
 *
 * Names and data stay views of the file, so parsing a model of any size touches the pages of its header only.
 * Deliberately not here: what tensors mean, and which files belong together (hf_folder.c). */
#include <stdlib.h>

#include "base/checked.h"
#include "base/os.h"
#include "format/hf_folder.h"
#include "format/json.h"

enum { LENGTH_BYTES = 8, MAX_HEADER = 100000000, MAX_TENSORS = 1 << 20, MAX_NAME = 255 };

/* Integers hold packed codes, whatever their width: as bytes. */
static const struct { const char *name; enum slm_dtype dtype; unsigned n; } dtypes[] = {
    {"F32", SLM_DTYPE_F32, 1}, {"F16", SLM_DTYPE_F16, 1}, {"BF16", SLM_DTYPE_BF16, 1}, {"U8", SLM_DTYPE_U8, 1},
    {"U32", SLM_DTYPE_U8, 4}};

struct parser {
    struct slm_json json;
    struct slm_str file;
    uint64_t data_begin, data_bytes;
    struct slm_gguf_tensor *rows;
    size_t n, cap;
    unsigned n_each; /* elements of the dtype that one stored element is */
};

/* The types weights come in; those of other ways to quantize are refused by name. */
static bool read_dtype(struct parser *p, struct slm_gguf_tensor *t)
{
    if (slm_json_next(&p->json) != SLM_JSON_STRING)
        return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "dtype must be a string");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (slm_json_is(&p->json, dtypes[i].name)) {
            t->dtype = dtypes[i].dtype;
            p->n_each = dtypes[i].n;
            return true;
        }
    const struct slm_str is = p->json.token;
    return slm_json_refuse(&p->json, SLM_ERR_UNSUPPORTED,
                         "tensor '%.*s' has dtype %.*s, this build reads F32, F16, BF16, U8 and U32", (int)t->name.len,
                         t->name.ptr, (int)(is.len < 16 ? is.len : 16), is.ptr);
}

/* A list of non-negative integers; at most cap of them. */
static bool read_list(struct parser *p, const char *what, uint64_t *out, size_t cap, size_t *n)
{
    if (slm_json_next(&p->json) != SLM_JSON_ARRAY)
        return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "%s must be a list", what);
    for (*n = 0;;) {
        const enum slm_json_event event = slm_json_next(&p->json);
        int64_t value;
        if (event == SLM_JSON_ARRAY_END) return true;
        if (event != SLM_JSON_NUMBER || !slm_json_read_i64(&p->json, &value) || value < 0)
            return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "%s must hold integers from 0 to 2^63-1", what);
        if (*n == cap)
            return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "%s has more than %zu entries", what, cap);
        out[(*n)++] = (uint64_t)value;
    }
}

/* Shape outermost first -> dims innermost first; sizes must agree with the range. */
static bool place(struct parser *p, struct slm_gguf_tensor *t, const uint64_t *shape, size_t n_dims,
                  const uint64_t range[2])
{
    t->n_dims = n_dims ? (uint32_t)n_dims : 1;
    t->n_elements = 1;
    for (int i = 0; i < SLM_GGUF_MAX_DIMS; i++) t->dims[i] = 1;
    bool fits = true;
/* A scalar has no dimensions: it becomes one element. */
    for (size_t i = 0; i < n_dims; i++) {
        if (!slm_mul_u64(shape[n_dims - 1 - i], i == 0 ? p->n_each : 1, &t->dims[i])) fits = false;
        if (shape[n_dims - 1 - i] == 0)
            return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "tensor '%.*s' has a dimension of 0", (int)t->name.len,
                                 t->name.ptr);
        fits = fits && slm_mul_u64(t->n_elements, t->dims[i], &t->n_elements);
    }
    if (n_dims == 0) t->dims[0] = t->n_elements = p->n_each;
    fits = fits && slm_mul_u64(t->n_elements, slm_dtypes[t->dtype].block_bytes, &t->bytes);
    if (!fits || range[0] > range[1] || range[1] > p->data_bytes || range[1] - range[0] != t->bytes)
        return slm_json_refuse(&p->json, SLM_ERR_FORMAT,
                             "tensor '%.*s': data_offsets %llu to %llu do not fit its shape and the "
                             "%llu bytes of data",
                             (int)t->name.len, t->name.ptr, (unsigned long long)range[0],
                             (unsigned long long)range[1], (unsigned long long)p->data_bytes);
    t->offset = p->data_begin + range[0];
    t->data = (const unsigned char *)p->file.ptr + t->offset;
    return true;
}

/* The object of one tensor; its name is set. */
static bool read_tensor(struct parser *p, struct slm_gguf_tensor *t)
{
    uint64_t shape[SLM_GGUF_MAX_DIMS], range[2];
    size_t n_dims = 0, n_range = 0;
    unsigned seen = 0;
    if (slm_json_next(&p->json) != SLM_JSON_OBJECT)
        return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "a tensor must be an object");
    for (;;) {
        const enum slm_json_event event = slm_json_next(&p->json);
        if (event == SLM_JSON_OBJECT_END) break;
        if (event != SLM_JSON_KEY) return false;
        unsigned bit;
        bool ok;
        if (slm_json_is(&p->json, "dtype")) ok = read_dtype(p, t), bit = 1;
        else if (slm_json_is(&p->json, "shape")) ok = read_list(p, "shape", shape, SLM_GGUF_MAX_DIMS, &n_dims), bit = 2;
        else if (slm_json_is(&p->json, "data_offsets")) ok = read_list(p, "data_offsets", range, 2, &n_range), bit = 4;
        else
            return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "a tensor has dtype, shape and data_offsets only");
        if (!ok) return false;
        if (seen & bit) return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "a key appears twice");
        seen |= bit;
    }
/* All three keys, in any order. */
    if (seen != 7 || n_range != 2)
        return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "a tensor needs dtype, shape and two data_offsets");
    return place(p, t, shape, n_dims, range);
}

/* Grows by doubling: the number of tensors is known only at the end of the header. */
static bool add_row(struct parser *p, const struct slm_gguf_tensor *t)
{
    if (p->n == MAX_TENSORS)
        return slm_json_refuse(&p->json, SLM_ERR_LIMIT, "more than %d tensors", MAX_TENSORS);
    if (p->n == p->cap) {
        const size_t cap = p->cap ? p->cap * 2 : 64;
        struct slm_gguf_tensor *rows = slm_realloc(p->rows, cap, sizeof *rows, p->json.where, p->json.error);
        if (!rows) return false;
        p->rows = rows;
        p->cap = cap;
    }
    p->rows[p->n++] = *t;
    return true;
}

/* Free text of the writer, strings only; nothing in it changes what the tensors are. */
static bool skip_metadata(struct parser *p)
{
    enum slm_json_event event = slm_json_next(&p->json);
/* Any length: the header's limit is the limit. */
    if (event == SLM_JSON_OBJECT)
        while ((event = slm_json_next(&p->json)) == SLM_JSON_KEY)
            if (slm_json_next(&p->json) != SLM_JSON_STRING) break;
    if (event == SLM_JSON_OBJECT_END) return true;
    return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "__metadata__ must be an object of strings");
}

/* Names are taken as written; one with an escape in it is no tensor anybody asks for. */
static bool read_header(struct parser *p)
{
    if (slm_json_next(&p->json) != SLM_JSON_OBJECT)
        return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "the header must be an object");
    for (;;) {
        const enum slm_json_event event = slm_json_next(&p->json);
        if (event == SLM_JSON_OBJECT_END) return slm_json_next(&p->json) == SLM_JSON_END;
        if (event != SLM_JSON_KEY) return false;
        if (slm_json_is(&p->json, "__metadata__")) {
            if (!skip_metadata(p)) return false;
            continue;
        }
        struct slm_gguf_tensor t = {.name = p->json.token};
        if (p->json.escaped || t.name.len == 0 || t.name.len > MAX_NAME)
            return slm_json_refuse(&p->json, SLM_ERR_FORMAT,
                                 "a tensor's name has %zu bytes; allowed are 1 to %d plain ones", t.name.len,
                                 MAX_NAME);
        if (!read_tensor(p, &t) || !add_row(p, &t)) return false;
    }
}

/* For sorting; offsets are 64-bit, so no subtraction. */
static int by_offset(const void *a, const void *b)
{
    const struct slm_gguf_tensor *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* In file order the ranges must follow each other from the first byte to the last. */
static bool check_cover(struct parser *p)
{
    uint64_t at = p->data_begin;
    if (p->n) qsort(p->rows, p->n, sizeof *p->rows, by_offset);
    for (size_t i = 0; i < p->n; i++) {
        const struct slm_gguf_tensor *t = &p->rows[i];
        if (t->offset != at)
            return slm_json_refuse(&p->json, SLM_ERR_FORMAT,
                                   "tensor '%.*s' begins at byte %llu, the one before ends at %llu", (int)t->name.len,
                                   t->name.ptr, (unsigned long long)t->offset, (unsigned long long)at);
        at += t->bytes;
    }
    if (at == p->file.len) return true;
    return slm_json_refuse(&p->json, SLM_ERR_FORMAT, "the file has %zu bytes, its tensors end at %llu", p->file.len,
                         (unsigned long long)at);
}

/* The header must begin with its brace: spaces in front are how files pretend to be two things at once. */
slm_status slm_safetensors_parse(struct slm_str file, const char *where, struct slm_gguf_tensor **rows, size_t *n_rows,
                                 struct slm_error *error)
{
    /* The reader wants an error to fill even when the caller does not. */
    struct slm_error local = {0};
    struct parser p = {.file = file};
    uint64_t header = 0;
    if (file.len < LENGTH_BYTES)
        return slm_fail(error, SLM_ERR_FORMAT, where, "a safetensors file has at least 8 bytes, this one %zu",
                        file.len);
/* Little-endian, byte by byte: the file may lie at any address. */
    for (int i = 0; i < LENGTH_BYTES; i++) header |= (uint64_t)(unsigned char)file.ptr[i] << (8 * i);
    if (header > MAX_HEADER || header > file.len - LENGTH_BYTES)
        return slm_fail(error, SLM_ERR_FORMAT, where,
                        "the header claims %llu bytes, allowed are up to %d within the file's %zu",
                        (unsigned long long)header, MAX_HEADER, file.len);
    p.data_begin = LENGTH_BYTES + header;
    p.data_bytes = file.len - p.data_begin;
    if (header == 0 || file.ptr[LENGTH_BYTES] != '{')
        return slm_fail(error, SLM_ERR_FORMAT, where, "the header must begin with '{'");
    slm_json_init(&p.json, (struct slm_str){file.ptr + LENGTH_BYTES, (size_t)header}, where, &local);
    if (read_header(&p) && check_cover(&p)) {
        *rows = p.rows;
        *n_rows = p.n;
        return SLM_OK;
    }
    slm_release(p.rows);
    if (error) *error = local;
    return local.status;
}
