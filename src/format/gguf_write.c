/* SPDX-License-Identifier: MIT
 *
 * Writing GGUF v3. Keys and tensor declarations collect in memory (they are small); the first tensor byte, or the
 * finish, fixes them: the header is read back by our own parser before it is written, so this writer cannot make a file
 * that the reader refuses (twice the same key, a bad type, a row that does not fit its blocks ...). Tensor data then
 * streams through to a temporary file beside the target (partial.h), which is synced and renamed into place: a reader
 * sees the old file, no file or the whole new one, whatever happens in between.
 *
 * general.alignment belongs to the writer: it is added when it is not the default and nobody wrote it; writing another
 * value than that of slm_gguf_writer_open is refused. Deliberately not here: which tensors go into which file of a
 * split model, any meaning of keys. */
#include <stdio.h>

#include "base/checked.h"
#include "format/gguf_part.h"
#include "format/partial.h"
#include "quant/panel.h"

struct slm_gguf_writer {
    char *path;
    struct slm_partial *partial; /* the temporary file */
    uint64_t kept;            /* bytes of it that are there already */
    struct slm_buf header;    /* once it is fixed; empty again when it is written */
    uint32_t alignment;
    bool says_alignment;      /* general.alignment is among the keys */
    struct slm_buf kvs;       /* n_kv entries as they go into the file */
    struct slm_buf tensors;   /* n_tensors entries likewise */
    uint64_t n_kv, n_tensors;
    uint64_t *tensor_bytes;   /* [n_tensors], capacity below */
    size_t tensor_capacity;
    uint64_t data_bytes;      /* of all declared tensors, padding between them included */
    bool streaming;           /* the header is fixed: no more keys and tensors */
    bool sealed;              /* all is written */
    uint64_t current;         /* tensor that is being written */
    uint64_t current_written; /* bytes of it */
};

static const char ALIGNMENT_KEY[] = "general.alignment";

/* Zero bytes that bring n to a multiple of the alignment. */
static uint64_t padding(const struct slm_gguf_writer *w, uint64_t n) { return -n & (w->alignment - 1); }

slm_status slm_gguf_writer_open(const char *path, uint32_t alignment, struct slm_gguf_writer **out,
                                struct slm_error *error)
{
    if (alignment == 0) alignment = SLM_GGUF_DEFAULT_ALIGNMENT;
    if ((alignment & (alignment - 1)) != 0 || alignment > SLM_GGUF_MAX_ALIGNMENT)
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "alignment is %u; it must be a power of two, at most %u",
                        alignment, SLM_GGUF_MAX_ALIGNMENT);
    struct slm_gguf_writer *w = slm_alloc(1, sizeof *w, path, error);
    if (w == NULL) return SLM_ERR_MEMORY;
    w->alignment = alignment;
    const size_t path_bytes = strlen(path) + 1;
    w->path = slm_alloc(path_bytes, 1, path, error);
    slm_status status = w->path ? SLM_OK : SLM_ERR_MEMORY;
    if (status == SLM_OK) {
        memcpy(w->path, path, path_bytes);
        status = slm_partial_open(path, &w->partial, error);
    }
    if (status == SLM_OK) *out = w;
    else slm_gguf_writer_abandon(w);
    return status;
}

/* ---- keys ---------------------------------------------------------------------------------------------------- */

/* Appending reports nothing: slm_buf remembers the first failure, and whoever adds last asks for it. */
static void add_uint(struct slm_buf *buf, uint64_t value, size_t bytes)
{
    unsigned char p[8];
    for (size_t i = 0; i < bytes; i++) p[i] = (unsigned char)(value >> (8 * i));
    slm_buf_add(buf, p, bytes);
}

static void add_string(struct slm_buf *buf, struct slm_str s)
{
    add_uint(buf, s.len, 8);
    slm_buf_add_str(buf, s);
}

/* An error about a key of the file being written. */
static slm_status fail_key(const struct slm_gguf_writer *w, struct slm_str key, slm_status status, const char *message,
                           struct slm_error *error)
{
    char where[SLM_GGUF_WHERE_BYTES];
    slm_gguf_where(where, w->path, "key", key);
    return slm_fail(error, status, where, "%s", message);
}

/* Key and type; the value is to be added behind them. */
static slm_status begin_kv(struct slm_gguf_writer *w, struct slm_str key, enum slm_gguf_type type,
                           enum slm_gguf_type array_type, uint64_t n, struct slm_error *error)
{
    if (w->streaming) return fail_key(w, key, SLM_ERR_ARGUMENT, "comes after tensor data; keys come first", error);
    w->n_kv++;
    add_string(&w->kvs, key);
    add_uint(&w->kvs, type, 4);
    if (type == SLM_GGUF_ARRAY) {
        add_uint(&w->kvs, array_type, 4);
        add_uint(&w->kvs, n, 8);
    }
    return SLM_OK;
}

slm_status slm_gguf_write_kv(struct slm_gguf_writer *w, const struct slm_gguf_kv *kv, struct slm_error *error)
{
    if (slm_str_is(kv->key, ALIGNMENT_KEY)) {
        if (kv->type != SLM_GGUF_U32 || slm_gguf_i64_at(kv, 0) != w->alignment)
            return fail_key(w, kv->key, SLM_ERR_ARGUMENT, "differs from the alignment this file has", error);
        w->says_alignment = true;
    }
    SLM_TRY(begin_kv(w, kv->key, kv->type, kv->array_type, kv->n, error));
    slm_buf_add(&w->kvs, kv->data, kv->bytes);
    return slm_buf_status(&w->kvs, w->path, error);
}

/* A scalar whose bits are given. */
static slm_status write_scalar(struct slm_gguf_writer *w, const char *key, enum slm_gguf_type type, uint64_t bits,
                               struct slm_error *error)
{
    unsigned char p[8];
    for (size_t i = 0; i < 8; i++) p[i] = (unsigned char)(bits >> (8 * i));
    struct slm_gguf_kv kv = {slm_str(key), type, type, 1, p, slm_gguf_value_types[type].bytes};
    return slm_gguf_write_kv(w, &kv, error);
}

slm_status slm_gguf_write_i64(struct slm_gguf_writer *w, const char *key, enum slm_gguf_type type, int64_t value,
                              struct slm_error *error)
{
    SLM_ASSERT(type < SLM_GGUF_TYPE_COUNT && slm_gguf_value_types[type].kind <= SLM_GGUF_SIGNED);
    const struct slm_gguf_value_type *info = &slm_gguf_value_types[type];
    bool is_signed = info->kind == SLM_GGUF_SIGNED;
    /* UINT64 is given as int64_t, so its upper half cannot be asked for. */
    int64_t max = INT64_MAX >> (info->bytes == 8 ? 0 : 64 - 8 * info->bytes - (is_signed ? 0 : 1));
    int64_t min = is_signed ? -max - 1 : 0;
    if (value < min || value > max) {
        char message[128];
        (void)snprintf(message, sizeof message, "is %lld; %s holds %lld to %lld", (long long)value, info->name,
                       (long long)min, (long long)max);
        return fail_key(w, slm_str(key), SLM_ERR_ARGUMENT, message, error);
    }
    return write_scalar(w, key, type, (uint64_t)value, error);
}

slm_status slm_gguf_write_f32(struct slm_gguf_writer *w, const char *key, float value, struct slm_error *error)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return write_scalar(w, key, SLM_GGUF_F32, bits, error);
}

slm_status slm_gguf_write_bool(struct slm_gguf_writer *w, const char *key, bool value, struct slm_error *error)
{
    return write_scalar(w, key, SLM_GGUF_BOOL, value, error);
}

slm_status slm_gguf_write_str(struct slm_gguf_writer *w, const char *key, struct slm_str value, struct slm_error *error)
{
    SLM_TRY(begin_kv(w, slm_str(key), SLM_GGUF_STRING, SLM_GGUF_STRING, 1, error));
    add_string(&w->kvs, value);
    return slm_buf_status(&w->kvs, w->path, error);
}

slm_status slm_gguf_write_strings(struct slm_gguf_writer *w, const char *key, const struct slm_str *values, size_t n,
                                  struct slm_error *error)
{
    SLM_TRY(begin_kv(w, slm_str(key), SLM_GGUF_ARRAY, SLM_GGUF_STRING, n, error));
    for (size_t i = 0; i < n; i++) add_string(&w->kvs, values[i]);
    return slm_buf_status(&w->kvs, w->path, error);
}

slm_status slm_gguf_write_array(struct slm_gguf_writer *w, const char *key, enum slm_gguf_type type, const void *values,
                                size_t n, struct slm_error *error)
{
    SLM_ASSERT(type < SLM_GGUF_TYPE_COUNT && slm_gguf_value_types[type].bytes > 0);
    size_t bytes;
    if (!slm_mul_size(n, slm_gguf_value_types[type].bytes, &bytes)) return slm_fail_memory(error, w->path, SIZE_MAX);
    SLM_TRY(begin_kv(w, slm_str(key), SLM_GGUF_ARRAY, type, n, error));
    slm_buf_add(&w->kvs, values, bytes); /* host order is file order: little-endian machines only */
    return slm_buf_status(&w->kvs, w->path, error);
}

/* ---- tensors ------------------------------------------------------------------------------------------------- */

/* One tensor more, as blocks or as panels. */
static slm_status declare(struct slm_gguf_writer *w, struct slm_str name, enum slm_dtype dtype, bool packed,
                          const uint64_t *dims, uint32_t n_dims, struct slm_error *error)
{
    SLM_ASSERT(dtype >= 0 && dtype < SLM_DTYPE_COUNT);
    char where[SLM_GGUF_WHERE_BYTES];
    slm_gguf_where(where, w->path, "tensor", name);
    if (w->streaming)
        return slm_fail(error, SLM_ERR_ARGUMENT, where, "is declared after tensor data; declarations come first");
    if (n_dims < 1 || n_dims > SLM_GGUF_MAX_DIMS)
        return slm_fail(error, SLM_ERR_ARGUMENT, where, "has %u dimensions; 1 to %d are allowed", n_dims,
                        SLM_GGUF_MAX_DIMS);
    /* Only what this function computes with is checked here; check_header judges the rest as a reader would. */
    uint64_t n = 1, bytes, end;
    bool fits = true;
    for (uint32_t i = 0; i < n_dims; i++) fits = fits && slm_mul_u64(n, dims[i], &n);
    uint64_t offset = w->data_bytes + padding(w, w->data_bytes);
    if (!fits || dims[0] % slm_dtypes[dtype].block != 0 || !slm_dtype_bytes(dtype, n, &bytes) ||
        (packed && !slm_pack_bytes(dtype, dims[1], dims[0], &bytes)) || !slm_add_u64(offset, bytes, &end) ||
        end > INT64_MAX)
        return slm_fail(error, SLM_ERR_ARGUMENT, where, "is too large, or its rows of %llu elements do not fit the "
                        "blocks of %u of type %s", (unsigned long long)dims[0], slm_dtypes[dtype].block,
                        slm_dtypes[dtype].name);

    if (w->n_tensors == w->tensor_capacity) {
        size_t capacity = w->tensor_capacity ? 2 * w->tensor_capacity : 64;
        uint64_t *grown = slm_realloc(w->tensor_bytes, capacity, sizeof *grown, w->path, error);
        if (grown == NULL) return SLM_ERR_MEMORY;
        w->tensor_bytes = grown;
        w->tensor_capacity = capacity;
    }
    w->tensor_bytes[w->n_tensors++] = bytes;
    w->data_bytes = end;
    add_string(&w->tensors, name);
    add_uint(&w->tensors, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) add_uint(&w->tensors, dims[i], 8);
    const uint32_t id = slm_dtypes[dtype].gguf_id;
    add_uint(&w->tensors, packed ? SLM_GGUF_PACKED_ID | (uint32_t)SLM_PANEL_LAYOUT << 8 | id : id, 4);
    add_uint(&w->tensors, offset, 8);
    return slm_buf_status(&w->tensors, w->path, error);
}

slm_status slm_gguf_declare_tensor(struct slm_gguf_writer *w, struct slm_str name, enum slm_dtype dtype,
                                   const uint64_t *dims, uint32_t n_dims, struct slm_error *error)
{
    return declare(w, name, dtype, false, dims, n_dims, error);
}

slm_status slm_gguf_declare_packed(struct slm_gguf_writer *w, struct slm_str name, enum slm_dtype dtype,
                                   const uint64_t *dims, struct slm_error *error)
{
    SLM_ASSERT(slm_pack_in_files(dtype) && w->alignment % SLM_PANEL_ALIGN == 0);
    return declare(w, name, dtype, true, dims, 2, error);
}

/* Reads the finished header as a reader will. */
static slm_status check_header(const struct slm_gguf_writer *w, const struct slm_buf *header, struct slm_error *error)
{
    struct slm_gguf_part part = {.data = (const unsigned char *)header->data, .readable_bytes = header->len,
                                 .file_bytes = header->len + w->data_bytes};
    struct slm_gguf_limits limits = slm_gguf_limits_or_default(NULL);
    struct slm_name_index names = {0};
    size_t path_bytes = strlen(w->path) + 1;
    part.path = slm_alloc(path_bytes, 1, w->path, error);
    if (part.path == NULL) return SLM_ERR_MEMORY;
    memcpy(part.path, w->path, path_bytes);
    slm_status status = slm_gguf_part_parse(&part, &limits, error);
    if (status == SLM_OK)
        status = slm_gguf_index_rows(part.path, "tensor", &names, part.tensors, part.n_tensors, sizeof *part.tensors,
                                     error);
    slm_name_index_release(&names);
    slm_gguf_part_release(&part);
    return status;
}

/* Zeros up to the next place where a tensor may begin. */
static slm_status pad(struct slm_gguf_writer *w, uint64_t written, struct slm_error *error)
{
    static const unsigned char zeros[4096];
    for (uint64_t n = padding(w, written); n > 0;) {
        const size_t step = n < sizeof zeros ? (size_t)n : sizeof zeros;
        SLM_TRY(slm_partial_put(w->partial, zeros, step, error));
        n -= step;
    }
    return SLM_OK;
}

/* Fixes the header, once; from then on only data may follow. */
static slm_status fix_header(struct slm_gguf_writer *w, struct slm_error *error)
{
    if (w->streaming) return SLM_OK;
    if (w->alignment != SLM_GGUF_DEFAULT_ALIGNMENT && !w->says_alignment)
        SLM_TRY(slm_gguf_write_i64(w, ALIGNMENT_KEY, SLM_GGUF_U32, w->alignment, error));
    struct slm_buf *header = &w->header;
    slm_buf_clear(header);
    slm_buf_puts(header, "GGUF");
    add_uint(header, 3, 4);
    add_uint(header, w->n_tensors, 8);
    add_uint(header, w->n_kv, 8);
    slm_buf_add(header, w->kvs.data, w->kvs.len);
    slm_buf_add(header, w->tensors.data, w->tensors.len);
    for (uint64_t n = padding(w, header->len); n > 0; n--) slm_buf_add(header, "", 1);
    SLM_TRY(slm_buf_status(header, w->path, error));
    SLM_TRY(check_header(w, header, error));
    w->streaming = true;
    return SLM_OK;
}

/* The header is written before any data, once. */
static slm_status begin_data(struct slm_gguf_writer *w, struct slm_error *error)
{
    SLM_TRY(fix_header(w, error));
    if (w->header.len == 0) return SLM_OK;
    SLM_TRY(slm_partial_put(w->partial, w->header.data, w->header.len, error));
    slm_buf_release(&w->header);
    return SLM_OK;
}

slm_status slm_gguf_writer_resume(struct slm_gguf_writer *w, uint64_t key, uint64_t *kept, bool *stale,
                                  struct slm_error *error)
{
    SLM_TRY(fix_header(w, error));
    /* Two headers of one length with different declarations must not be taken for each other. */
    key = slm_hash_bytes(w->header.data, w->header.len, key);
    SLM_TRY(slm_partial_resume(w->partial, key, slm_gguf_writer_bytes(w), &w->kept, stale, error));
    *kept = w->kept;
    return SLM_OK;
}

/* Part of the current tensor, or all that was left of it, is in the file. */
static slm_status advance(struct slm_gguf_writer *w, uint64_t bytes, struct slm_error *error)
{
    const uint64_t whole = w->tensor_bytes[w->current];
    w->current_written += bytes;
    if (w->current_written < whole) return SLM_OK;
    SLM_TRY(pad(w, whole, error)); /* also after the last one: other readers expect it */
    w->current++;
    w->current_written = 0;
    return SLM_OK;
}

slm_status slm_gguf_write_data(struct slm_gguf_writer *w, const void *data, size_t bytes, struct slm_error *error)
{
    SLM_TRY(begin_data(w, error));
    const unsigned char *p = data;
    while (bytes > 0) { /* a chunk may end one tensor and begin the next */
        if (w->current == w->n_tensors)
            return slm_fail(error, SLM_ERR_ARGUMENT, w->path, "%zu bytes more than the declared tensors have", bytes);
        uint64_t rest = w->tensor_bytes[w->current] - w->current_written;
        size_t step = bytes < rest ? bytes : (size_t)rest;
        SLM_TRY(slm_partial_put(w->partial, p, step, error));
        SLM_TRY(advance(w, step, error));
        p += step;
        bytes -= step;
    }
    return SLM_OK;
}

slm_status slm_gguf_skip_data(struct slm_gguf_writer *w, uint64_t bytes, bool *skipped, struct slm_error *error)
{
    *skipped = false;
    if (w->kept == 0) return SLM_OK;
    SLM_TRY(begin_data(w, error));
    SLM_ASSERT(w->current < w->n_tensors && bytes <= w->tensor_bytes[w->current] - w->current_written);
    const uint64_t at = slm_partial_at(w->partial);
    if (at > w->kept || bytes > w->kept - at) return SLM_OK;
    slm_partial_skip(w->partial, bytes);
    *skipped = true;
    return advance(w, bytes, error);
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

uint64_t slm_gguf_writer_bytes(const struct slm_gguf_writer *w)
{
    const uint64_t header = 24 + w->kvs.len + w->tensors.len;
    return header + padding(w, header) + w->data_bytes + padding(w, w->data_bytes);
}

const char *slm_gguf_writer_partial(const struct slm_gguf_writer *w) { return slm_partial_path(w->partial); }

slm_status slm_gguf_writer_seal(struct slm_gguf_writer *w, struct slm_error *error)
{
    SLM_TRY(begin_data(w, error));
    if (w->current < w->n_tensors)
        return slm_fail(error, SLM_ERR_ARGUMENT, w->path, "the bytes of tensor #%llu and after have not been written",
                        (unsigned long long)w->current);
    SLM_TRY(slm_partial_sync(w->partial, error));
    w->sealed = true;
    return SLM_OK;
}

slm_status slm_gguf_writer_finish(struct slm_gguf_writer *w, struct slm_error *error)
{
    slm_status status = w->sealed ? SLM_OK : slm_gguf_writer_seal(w, error);
    if (status == SLM_OK) status = slm_partial_finish(w->partial, error);
    slm_gguf_writer_abandon(w);
    return status;
}

/* What is closed with its name stays, of course. */
static bool release_writer(struct slm_gguf_writer *w, bool keep)
{
    if (w == NULL) return false;
    const bool kept = slm_partial_close(w->partial, keep);
    slm_buf_release(&w->header);
    slm_buf_release(&w->kvs);
    slm_buf_release(&w->tensors);
    slm_release(w->tensor_bytes);
    slm_release(w->path);
    slm_release(w);
    return kept;
}

void slm_gguf_writer_abandon(struct slm_gguf_writer *w) { (void)release_writer(w, false); }
bool slm_gguf_writer_suspend(struct slm_gguf_writer *w) { return release_writer(w, true); }
