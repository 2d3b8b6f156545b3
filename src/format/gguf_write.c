/* SPDX-License-Identifier: MIT
 *
 * Writing GGUF v3. Keys and tensor declarations collect in memory (they are small); the first tensor byte, or the
 * finish, fixes them: the header is read back by our own parser before it is written, so this writer cannot make a file
 * that the reader refuses (twice the same key, a bad type, a row that does not fit its blocks ...). Tensor data then
 * streams through to a temporary file beside the target, which is synced and renamed into place: a reader sees the old
 * file, no file or the whole new one, whatever happens in between.
 *
 * general.alignment belongs to the writer: it is added when it is not the default and nobody wrote it; writing another
 * value than that of slm_gguf_writer_open is refused. Deliberately not here: which tensors go into which file of a
 * split model, any meaning of keys. */
#include <stdio.h>

#include "base/checked.h"
#include "format/gguf_part.h"
#include "quant/panel.h"

struct slm_gguf_writer {
    char *path, *temp_path;
    struct slm_file *file;    /* the temporary file */
    uint32_t alignment;
    bool says_alignment;      /* general.alignment is among the keys */
    struct slm_buf kvs;       /* n_kv entries as they go into the file */
    struct slm_buf tensors;   /* n_tensors entries likewise */
    uint64_t n_kv, n_tensors;
    uint64_t *tensor_bytes;   /* [n_tensors], capacity below */
    size_t tensor_capacity;
    uint64_t data_bytes;      /* of all declared tensors, padding between them included */
    bool streaming;           /* header is written: no more keys and tensors */
    bool sealed;              /* all is written and closed */
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
    size_t path_bytes = strlen(path) + 1, temp_bytes = path_bytes + 24;
    slm_status status = SLM_ERR_MEMORY;
    w->path = slm_alloc(path_bytes, 1, path, error);
    w->temp_path = slm_alloc(temp_bytes, 1, path, error);
    if (w->path == NULL || w->temp_path == NULL) goto out;
    memcpy(w->path, path, path_bytes);
    /* The time makes the name new, so two writers of one target do not share a temporary file. */
    (void)snprintf(w->temp_path, temp_bytes, "%s.tmp-%016llx", path, (unsigned long long)slm_os()->unix_ns());
    status = slm_os()->create(w->temp_path, &w->file, error);
    if (status != SLM_OK) goto out;
out:
    if (status == SLM_OK)
        *out = w;
    else
        slm_gguf_writer_abandon(w);
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

static slm_status write_zeros(struct slm_gguf_writer *w, uint64_t n, struct slm_error *error)
{
    static const unsigned char zeros[4096];
    while (n > 0) {
        size_t step = n < sizeof zeros ? (size_t)n : sizeof zeros;
        SLM_TRY(slm_os()->write(w->file, zeros, step, error));
        n -= step;
    }
    return SLM_OK;
}

/* Writes the header once; from then on only data may follow. */
static slm_status begin_data(struct slm_gguf_writer *w, struct slm_error *error)
{
    if (w->streaming) return SLM_OK;
    if (w->alignment != SLM_GGUF_DEFAULT_ALIGNMENT && !w->says_alignment)
        SLM_TRY(slm_gguf_write_i64(w, ALIGNMENT_KEY, SLM_GGUF_U32, w->alignment, error));
    struct slm_buf header = {0};
    slm_buf_puts(&header, "GGUF");
    add_uint(&header, 3, 4);
    add_uint(&header, w->n_tensors, 8);
    add_uint(&header, w->n_kv, 8);
    slm_buf_add(&header, w->kvs.data, w->kvs.len);
    slm_buf_add(&header, w->tensors.data, w->tensors.len);
    for (uint64_t n = padding(w, header.len); n > 0; n--) slm_buf_add(&header, "", 1);
    slm_status status = slm_buf_status(&header, w->path, error);
    if (status == SLM_OK) status = check_header(w, &header, error);
    if (status == SLM_OK) status = slm_os()->write(w->file, header.data, header.len, error);
    if (status == SLM_OK) w->streaming = true;
    slm_buf_release(&header);
    return status;
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
        SLM_TRY(slm_os()->write(w->file, p, step, error));
        p += step;
        bytes -= step;
        w->current_written += step;
        if (w->current_written < w->tensor_bytes[w->current]) continue;
        /* Also after the last one: other readers expect it. */
        SLM_TRY(write_zeros(w, padding(w, w->tensor_bytes[w->current]), error));
        w->current++;
        w->current_written = 0;
    }
    return SLM_OK;
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

/* The memory alone; the file is closed and named or removed by then. */
static void free_writer(struct slm_gguf_writer *w)
{
    slm_buf_release(&w->kvs);
    slm_buf_release(&w->tensors);
    slm_release(w->tensor_bytes);
    slm_release(w->path);
    slm_release(w->temp_path);
    slm_release(w);
}

uint64_t slm_gguf_writer_bytes(const struct slm_gguf_writer *w)
{
    const uint64_t header = 24 + w->kvs.len + w->tensors.len;
    return header + padding(w, header) + w->data_bytes + padding(w, w->data_bytes);
}

slm_status slm_gguf_writer_seal(struct slm_gguf_writer *w, struct slm_error *error)
{
    SLM_TRY(begin_data(w, error));
    if (w->current < w->n_tensors)
        return slm_fail(error, SLM_ERR_ARGUMENT, w->path, "the bytes of tensor #%llu and after have not been written",
                        (unsigned long long)w->current);
    SLM_TRY(slm_os()->sync(w->file, error));
    /* Close before rename: some file systems report a failed write only here. */
    const slm_status status = slm_os()->close(w->file, error);
    w->file = NULL;
    if (status == SLM_OK) w->sealed = true;
    else (void)slm_os()->remove(w->temp_path, NULL);
    return status;
}

slm_status slm_gguf_writer_finish(struct slm_gguf_writer *w, struct slm_error *error)
{
    slm_status status = w->sealed ? SLM_OK : slm_gguf_writer_seal(w, error);
    if (status == SLM_OK) status = slm_os()->rename(w->temp_path, w->path, error);
    if (status == SLM_OK) free_writer(w);
    else slm_gguf_writer_abandon(w);
    return status;
}

void slm_gguf_writer_abandon(struct slm_gguf_writer *w)
{
    if (w == NULL) return;
    /* The cause has been reported: what fails now is only tidying up. */
    if (w->file != NULL) (void)slm_os()->close(w->file, NULL);
    if (w->file != NULL || w->sealed) (void)slm_os()->remove(w->temp_path, NULL);
    free_writer(w);
}
