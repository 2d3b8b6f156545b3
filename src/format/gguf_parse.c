/* SPDX-License-Identifier: MIT
 *
 * Parsing one GGUF file from memory. The file is not trusted: it is walked once, front to back, by a cursor that cannot
 * leave it; every count is compared with the bytes that are left before anything is allocated for it; every sum and
 * product of numbers from the file is checked. Nothing is copied: names and values stay views of the file. Tensor data
 * is never touched, so opening costs only the pages of the header.
 *
 * Layout (all little-endian):
 *   "GGUF", u32 version, u64 n_tensors, u64 n_kv
 *   n_kv x      { string key, u32 type, value }              string: u64 length, bytes;  array: u32 type, u64 n, values
 *   n_tensors x { string name, u32 n_dims, u64 dims[n_dims], u32 dtype, u64 offset }
 *   zeros up to a multiple of general.alignment, then tensor data in the same order, each padded to the alignment
 *
 * Where files differ from each other we take what ggml takes: any power of two is an alignment (up to 16 MiB), tensors
 * follow each other without holes, the padding after the last tensor may be missing, bytes after it are ignored.
 * Deliberately not here: opening files and split models (gguf.c), what any key but general.alignment means. */
#include <stdarg.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "format/gguf_part.h"
#include "quant/panel.h"

const struct slm_gguf_value_type slm_gguf_value_types[SLM_GGUF_TYPE_COUNT] = {
    [SLM_GGUF_U8] = {"UINT8", 1, SLM_GGUF_UNSIGNED},   [SLM_GGUF_I8] = {"INT8", 1, SLM_GGUF_SIGNED},
    [SLM_GGUF_U16] = {"UINT16", 2, SLM_GGUF_UNSIGNED}, [SLM_GGUF_I16] = {"INT16", 2, SLM_GGUF_SIGNED},
    [SLM_GGUF_U32] = {"UINT32", 4, SLM_GGUF_UNSIGNED}, [SLM_GGUF_I32] = {"INT32", 4, SLM_GGUF_SIGNED},
    [SLM_GGUF_U64] = {"UINT64", 8, SLM_GGUF_UNSIGNED}, [SLM_GGUF_I64] = {"INT64", 8, SLM_GGUF_SIGNED},
    [SLM_GGUF_F32] = {"FLOAT32", 4, SLM_GGUF_FLOAT},   [SLM_GGUF_F64] = {"FLOAT64", 8, SLM_GGUF_FLOAT},
    [SLM_GGUF_BOOL] = {"BOOL", 1, SLM_GGUF_TRUTH},     [SLM_GGUF_STRING] = {"STRING", 0, SLM_GGUF_TEXT},
    [SLM_GGUF_ARRAY] = {"ARRAY", 0, SLM_GGUF_LIST},
};

/* The least a well-formed entry occupies: this bounds every count by the size of the file. */
enum {
    HEADER_BYTES = 24,
    MIN_KV_BYTES = 8 + 1 + 4 + 1,              /* key of one byte, type, one-byte value */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,  /* name of one byte, one dimension */
};

struct slm_gguf_limits slm_gguf_limits_or_default(const struct slm_gguf_limits *limits)
{
    static const struct slm_gguf_limits defaults = {65536, 1048576, 65535, 63, 67108864, 16777216, 1000};
    if (limits == NULL) return defaults;
    struct slm_gguf_limits l = *limits;
    if (l.max_kv == 0) l.max_kv = defaults.max_kv;
    if (l.max_tensors == 0) l.max_tensors = defaults.max_tensors;
    if (l.max_key_bytes == 0) l.max_key_bytes = defaults.max_key_bytes;
    if (l.max_name_bytes == 0) l.max_name_bytes = defaults.max_name_bytes;
    if (l.max_array == 0) l.max_array = defaults.max_array;
    if (l.max_string == 0) l.max_string = defaults.max_string;
    if (l.max_parts == 0) l.max_parts = defaults.max_parts;
    return l;
}

void slm_gguf_where(char where[SLM_GGUF_WHERE_BYTES], const char *path, const char *kind, struct slm_str name)
{
    enum { PATH = 56, NAME = 48 };
    char shown[NAME + 1];
    size_t path_len = strlen(path);
    bool cut = path_len > PATH;
    if (cut) path += path_len - (PATH - 3);
    if (kind == NULL) {
        (void)snprintf(where, SLM_GGUF_WHERE_BYTES, "%s%s", cut ? "..." : "", path);
        return;
    }
    slm_escape(shown, sizeof shown, name);
    (void)snprintf(where, SLM_GGUF_WHERE_BYTES, "%s%s: %s '%s'", cut ? "..." : "", path, kind, shown);
}

void slm_gguf_describe(char text[48], const struct slm_gguf_kv *kv)
{
    if (kv->type == SLM_GGUF_ARRAY)
        (void)snprintf(text, 48, "array of %llu %s", (unsigned long long)kv->n,
                       slm_gguf_value_types[kv->array_type].name);
    else
        (void)snprintf(text, 48, "%s", slm_gguf_value_types[kv->type].name);
}

/* ---- the cursor ---------------------------------------------------------------------------------------------- */

struct cursor {
    const struct slm_gguf_part *part;
    const struct slm_gguf_limits *limits;
    size_t at;              /* <= part->readable_bytes */
    const char *kind;       /* what is being read: "key", "tensor" or NULL */
    struct slm_str name;    /* its name, or "#12" while that is not known */
    char number[24];        /* holds "#12" */
    struct slm_error *error;
};

static slm_status fail(const struct cursor *c, slm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
static slm_status fail(const struct cursor *c, slm_status status, const char *format, ...)
{
    char where[SLM_GGUF_WHERE_BYTES], message[sizeof(((struct slm_error *)0)->message)];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    slm_gguf_where(where, c->part->path, c->kind, c->name);
    return slm_fail(c->error, status, where, "%s", message);
}

/* Names what is read next by its number, until its name is known. */
static void begin(struct cursor *c, const char *kind, size_t number)
{
    (void)snprintf(c->number, sizeof c->number, "#%zu", number);
    c->kind = kind;
    c->name = slm_str(c->number);
}

static size_t left(const struct cursor *c) { return c->part->readable_bytes - c->at; }

/* The next bytes, as a view; the only place where the cursor moves. */
static slm_status take(struct cursor *c, uint64_t bytes, const char *what, const unsigned char **out)
{
    if (bytes > left(c))
        return fail(c, SLM_ERR_FORMAT, "%s at byte %zu needs %llu bytes but the file has %zu left: it is cut short or "
                    "a length is wrong", what, c->at, (unsigned long long)bytes, left(c));
    *out = c->part->data + c->at;
    c->at += (size_t)bytes;
    return SLM_OK;
}

/* A little-endian number of 1 to 8 bytes at any address. */
static uint64_t load(const unsigned char *p, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static slm_status take_u32(struct cursor *c, const char *what, uint32_t *out)
{
    const unsigned char *p = NULL;
    SLM_TRY(take(c, 4, what, &p));
    *out = (uint32_t)load(p, 4);
    return SLM_OK;
}

static slm_status take_u64(struct cursor *c, const char *what, uint64_t *out)
{
    const unsigned char *p = NULL;
    SLM_TRY(take(c, 8, what, &p));
    *out = load(p, 8);
    return SLM_OK;
}

/* Length and bytes. What the file cannot hold is a broken file; what it holds beyond the limit is a limit. */
static slm_status take_string(struct cursor *c, const char *what, uint64_t limit, struct slm_str *out)
{
    uint64_t length;
    const unsigned char *p = NULL;
    SLM_TRY(take_u64(c, what, &length));
    SLM_TRY(take(c, length, what, &p));
    if (length > limit)
        return fail(c, SLM_ERR_LIMIT, "%s is %llu bytes long; at most %llu are allowed", what,
                    (unsigned long long)length, (unsigned long long)limit);
    *out = (struct slm_str){(const char *)p, (size_t)length};
    return SLM_OK;
}

/* n things of at least min_bytes each must fit into what is left, before anything is allocated for them. */
static slm_status check_count(struct cursor *c, const char *what, uint64_t n, uint64_t min_bytes, uint64_t limit)
{
    if (n > left(c) / min_bytes)
        return fail(c, SLM_ERR_FORMAT, "%s is %llu, of at least %llu bytes each, but the file has %zu bytes left", what,
                    (unsigned long long)n, (unsigned long long)min_bytes, left(c));
    if (n > limit)
        return fail(c, SLM_ERR_LIMIT, "%s is %llu; at most %llu are allowed", what, (unsigned long long)n,
                    (unsigned long long)limit);
    return SLM_OK;
}

/* Keys and tensor names end up in messages, listings and file names: UTF-8 without control characters. */
static slm_status check_name(const struct cursor *c, struct slm_str name)
{
    if (name.len == 0) return fail(c, SLM_ERR_FORMAT, "the name is empty");
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f)
            return fail(c, SLM_ERR_FORMAT, "the name has control character 0x%02x at byte %zu; none is allowed",
                        (unsigned)(unsigned char)name.ptr[i], i);
    size_t valid = slm_utf8_valid_prefix(name.ptr, name.len);
    if (valid != name.len) return fail(c, SLM_ERR_FORMAT, "the name is not valid UTF-8 at byte %zu", valid);
    return SLM_OK;
}

slm_status slm_gguf_index_rows(const char *path, const char *kind, struct slm_name_index *index, const void *rows,
                               size_t n, size_t stride, struct slm_error *error)
{
    size_t bad = 0;
    char where[SLM_GGUF_WHERE_BYTES];
    enum slm_name_index_result result = slm_name_index_build(index, rows, n, stride, &bad, error);
    if (result == SLM_NAMES_OK) return SLM_OK;
    if (result == SLM_NAMES_NO_MEMORY) return SLM_ERR_MEMORY;
    slm_gguf_where(where, path, kind, *(const struct slm_str *)((const char *)rows + bad * stride));
    return result == SLM_NAMES_DUPLICATE
               ? slm_fail(error, SLM_ERR_FORMAT, where, "the name is there twice (again as #%zu); names must be unique",
                          bad)
               : slm_fail(error, SLM_ERR_LIMIT, where, "too many names fall together in the hash index: a file made to "
                          "be slow");
}

/* ---- header -------------------------------------------------------------------------------------------------- */

static slm_status parse_header(struct cursor *c, struct slm_gguf_part *part)
{
    if (left(c) < HEADER_BYTES)
        return fail(c, SLM_ERR_FORMAT, "truncated header: a GGUF file has at least %d bytes, this has %zu",
                    HEADER_BYTES, left(c));
    const unsigned char *magic = NULL;
    uint64_t n_tensors, n_kv;
    SLM_TRY(take(c, 4, "magic", &magic));
    if (memcmp(magic, "GGUF", 4) != 0)
        return fail(c, SLM_ERR_FORMAT, "not a GGUF file: it begins with the bytes %02x %02x %02x %02x instead of "
                    "\"GGUF\"", magic[0], magic[1], magic[2], magic[3]);
    SLM_TRY(take_u32(c, "version", &part->version));
    /* No version will reach 65536, but 2 and 3 read with swapped bytes do. */
    if (part->version != 0 && (part->version & 0xffff) == 0)
        return fail(c, SLM_ERR_UNSUPPORTED, "a big-endian GGUF file (version field 0x%08x); only little-endian files "
                    "are read", part->version);
    if (part->version != 2 && part->version != 3)
        return fail(c, SLM_ERR_UNSUPPORTED, "GGUF version %u; versions 2 and 3 are read", part->version);
    SLM_TRY(take_u64(c, "tensor count", &n_tensors));
    SLM_TRY(take_u64(c, "key count", &n_kv));
    SLM_TRY(check_count(c, "tensor count", n_tensors, MIN_TENSOR_BYTES, c->limits->max_tensors));
    SLM_TRY(check_count(c, "key count", n_kv, MIN_KV_BYTES, c->limits->max_kv));
    part->n_tensors = (size_t)n_tensors;
    part->n_kv = (size_t)n_kv;
    return SLM_OK;
}

/* ---- metadata ------------------------------------------------------------------------------------------------ */

static slm_status take_type(struct cursor *c, const char *what, enum slm_gguf_type *out)
{
    uint32_t type;
    SLM_TRY(take_u32(c, what, &type));
    if (type >= SLM_GGUF_TYPE_COUNT)
        return fail(c, SLM_ERR_FORMAT, "%s is %u; allowed are 0 (UINT8) to %d (FLOAT64)", what, type,
                    SLM_GGUF_TYPE_COUNT - 1);
    *out = (enum slm_gguf_type)type;
    return SLM_OK;
}

/* n values of one scalar type, in a row. */
static slm_status take_values(struct cursor *c, struct slm_gguf_kv *kv, enum slm_gguf_type type)
{
    size_t start = c->at;
    const unsigned char *p = c->part->data + c->at; /* also the place of an empty array */
    if (type == SLM_GGUF_STRING) {
        struct slm_str text;
        for (uint64_t i = 0; i < kv->n; i++) SLM_TRY(take_string(c, "string", c->limits->max_string, &text));
    } else {
        SLM_TRY(take(c, kv->n * slm_gguf_value_types[type].bytes, "value", &p)); /* cannot wrap: see check_count */
    }
    kv->data = p;
    kv->bytes = c->at - start;
    for (uint64_t i = 0; type == SLM_GGUF_BOOL && i < kv->n; i++)
        if (p[i] > 1) return fail(c, SLM_ERR_FORMAT, "a BOOL value is %u; 0 and 1 are allowed", p[i]);
    return SLM_OK;
}

/* kv->type says whether it is an array; array_type is the type of the values either way. */
static slm_status parse_kv(struct cursor *c, struct slm_gguf_kv *kv)
{
    struct slm_str key;
    SLM_TRY(take_string(c, "key name", c->limits->max_key_bytes, &key));
    SLM_TRY(check_name(c, key));
    c->name = kv->key = key;
    SLM_TRY(take_type(c, "value type", &kv->type));
    kv->array_type = kv->type; /* a single value is read as a list of one */
    kv->n = 1;
    if (kv->type == SLM_GGUF_ARRAY) {
        SLM_TRY(take_type(c, "array element type", &kv->array_type));
        if (kv->array_type == SLM_GGUF_ARRAY)
            return fail(c, SLM_ERR_UNSUPPORTED, "an array of arrays; arrays of numbers, BOOL or STRING are read");
        SLM_TRY(take_u64(c, "array length", &kv->n));
        uint32_t bytes = slm_gguf_value_types[kv->array_type].bytes;
        SLM_TRY(check_count(c, "array length", kv->n, bytes ? bytes : 8, c->limits->max_array));
    }
    return take_values(c, kv, kv->array_type);
}

static slm_status parse_metadata(struct cursor *c, struct slm_gguf_part *part)
{
    part->kvs = slm_alloc(part->n_kv, sizeof *part->kvs, part->path, c->error);
    if (part->kvs == NULL) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < part->n_kv; i++) {
        begin(c, "key", i);
        SLM_TRY(parse_kv(c, &part->kvs[i]));
    }
    SLM_TRY(slm_gguf_index_rows(part->path, "key", &part->keys, part->kvs, part->n_kv, sizeof *part->kvs, c->error));

    part->alignment = SLM_GGUF_DEFAULT_ALIGNMENT;
    /* The one key whose meaning the container itself depends on. */
    const struct slm_gguf_kv *kv = slm_name_index_find(&part->keys, slm_str("general.alignment"));
    if (kv == NULL) return SLM_OK;
    c->kind = "key";
    c->name = kv->key;
    char found[48];
    slm_gguf_describe(found, kv);
    if (kv->type != SLM_GGUF_U32) return fail(c, SLM_ERR_FORMAT, "is %s; it must be UINT32", found);
    part->alignment = (uint32_t)load(kv->data, 4);
    if (part->alignment == 0 || (part->alignment & (part->alignment - 1)) != 0)
        return fail(c, SLM_ERR_FORMAT, "is %u; it must be a power of two", part->alignment);
    if (part->alignment > SLM_GGUF_MAX_ALIGNMENT)
        return fail(c, SLM_ERR_LIMIT, "is %u; at most %u is allowed", part->alignment, SLM_GGUF_MAX_ALIGNMENT);
    return SLM_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------------------- */

/* No scalars and no empty tensors: no model has them, and a size of 0 has been a division by zero elsewhere. */
static slm_status parse_dims(struct cursor *c, struct slm_gguf_tensor *t)
{
    SLM_TRY(take_u32(c, "dimension count", &t->n_dims));
    if (t->n_dims < 1 || t->n_dims > SLM_GGUF_MAX_DIMS)
        return fail(c, SLM_ERR_FORMAT, "has %u dimensions; 1 to %d are allowed", t->n_dims, SLM_GGUF_MAX_DIMS);
    for (uint32_t i = 0; i < SLM_GGUF_MAX_DIMS; i++) t->dims[i] = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        SLM_TRY(take_u64(c, "dimension", &t->dims[i]));
        if (t->dims[i] == 0 || t->dims[i] > INT64_MAX)
            return fail(c, SLM_ERR_FORMAT, "dimension %u is %lld; it must be at least 1", i, (long long)t->dims[i]);
    }
    /* One dimension at a time: a product that wraps to something small is the oldest trick against tensor readers. */
    t->n_elements = 1;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (!slm_mul_u64(t->n_elements, t->dims[i], &t->n_elements) || t->n_elements > INT64_MAX)
            return fail(c, SLM_ERR_FORMAT, "%llu x %llu x %llu x %llu elements overflow; fewer than 2^63 are allowed",
                        (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                        (unsigned long long)t->dims[2], (unsigned long long)t->dims[3]);
    return SLM_OK;
}

/* A matrix in panels: of a layout and a type that this build reads, where panels may lie. */
static slm_status parse_packed(struct cursor *c, struct slm_gguf_tensor *t, uint32_t id)
{
    const unsigned version = id >> 8 & 0xff; /* the layout first: another one may mean the rest otherwise */
    if (version != SLM_PANEL_LAYOUT)
        return fail(c, SLM_ERR_UNSUPPORTED, "is packed in layout %u; layout %d is read: pack the model again with this "
                    "slm", version, SLM_PANEL_LAYOUT);
    t->packed = true;
    t->dtype = slm_dtype_from_gguf(id & 0xff);
    if (t->dtype == SLM_DTYPE_NONE || !slm_pack_in_files(t->dtype))
        return fail(c, SLM_ERR_FORMAT, "is packed from type %u, of which there are no panels", id & 0xff);
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    if (t->n_dims != 2)
        return fail(c, SLM_ERR_FORMAT, "is packed and has %u dimensions; only matrices are", t->n_dims);
    /* Kernels read any address; whole cache lines is what they are fast with, and what the writer gives. */
    if (c->part->alignment % SLM_PANEL_ALIGN != 0)
        return fail(c, SLM_ERR_FORMAT, "is packed in a file aligned to %u; panels need a multiple of %d",
                    c->part->alignment, SLM_PANEL_ALIGN);
    if (t->dims[0] % info->block != 0)
        return fail(c, SLM_ERR_FORMAT, "rows of %llu elements do not fit type %s, which comes in blocks of %u",
                    (unsigned long long)t->dims[0], info->name, info->block);
    if (!slm_pack_bytes(t->dtype, t->dims[1], t->dims[0], &t->bytes))
        return fail(c, SLM_ERR_FORMAT, "the size of %llu elements of packed type %s overflows",
                    (unsigned long long)t->n_elements, info->name);
    return SLM_OK;
}

/* The type must be one we can decode, and rows must be whole blocks, or no row could be addressed. */
static slm_status parse_dtype(struct cursor *c, struct slm_gguf_tensor *t)
{
#define X(name, id, block, bytes) " " #name "(" #id ")"
    static const char known[] = SLM_DTYPES(X);
#undef X
    uint32_t id;
    SLM_TRY(take_u32(c, "tensor type", &id));
    if ((id & 0xffff0000) == SLM_GGUF_PACKED_ID) return parse_packed(c, t, id);
    t->dtype = slm_dtype_from_gguf(id);
    if (t->dtype == SLM_DTYPE_NONE)
        return fail(c, SLM_ERR_UNSUPPORTED, "tensor type is %d; these are read:%s", (int)id, known);
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    if (t->dims[0] % info->block != 0)
        return fail(c, SLM_ERR_FORMAT, "rows of %llu elements do not fit type %s, which comes in blocks of %u",
                    (unsigned long long)t->dims[0], info->name, info->block);
    if (!slm_dtype_bytes(t->dtype, t->n_elements, &t->bytes))
        return fail(c, SLM_ERR_FORMAT, "the size of %llu elements of type %s overflows",
                    (unsigned long long)t->n_elements, info->name);
    return SLM_OK;
}

static slm_status parse_tensor(struct cursor *c, struct slm_gguf_tensor *t)
{
    struct slm_str name;
    SLM_TRY(take_string(c, "tensor name", c->limits->max_name_bytes, &name));
    SLM_TRY(check_name(c, name));
    c->name = t->name = name;
    /* Tools name files after tensors; no model has a reason to climb folders. */
    for (size_t i = 0; i + 2 < name.len; i++)
        if (memcmp(name.ptr + i, "../", 3) == 0) return fail(c, SLM_ERR_FORMAT, "the name must not contain \"../\"");
    SLM_TRY(parse_dims(c, t));
    SLM_TRY(parse_dtype(c, t));
    return take_u64(c, "data offset", &t->offset);
}

/* Turns offsets within the data section into places in the file. Tensors must follow each other in order, each at the
 * next multiple of the alignment: so none overlaps, none is outside, and the sum of sizes cannot wrap. */
static slm_status place_tensors(struct cursor *c, struct slm_gguf_part *part)
{
    uint64_t next = 0, mask = part->alignment - 1; /* next is bounded by the file's size after each round */
    for (size_t i = 0; i < part->n_tensors; i++) {
        struct slm_gguf_tensor *t = &part->tensors[i];
        c->kind = "tensor";
        c->name = t->name;
        next = (next + mask) & ~mask;
        const char *wrong = t->offset & mask ? "is not aligned"
                            : t->offset < next ? "overlaps the tensor before"
                                               : "leaves a hole";
        if (t->offset != next)
            return fail(c, SLM_ERR_FORMAT, "data offset is %llu, which %s; it must be %llu (tensors follow each other, "
                        "aligned to %u)", (unsigned long long)t->offset, wrong, (unsigned long long)next,
                        part->alignment);
        uint64_t start, end;
        if (!slm_add_u64(part->data_offset, t->offset, &start) || !slm_add_u64(start, t->bytes, &end) ||
            end > part->file_bytes)
            return fail(c, SLM_ERR_FORMAT, "needs %llu bytes at byte %llu but the file has %llu: it is cut short",
                        (unsigned long long)t->bytes, (unsigned long long)(part->data_offset + t->offset),
                        (unsigned long long)part->file_bytes);
        t->offset = start;
        t->data = end <= part->readable_bytes ? part->data + start : NULL;
        next += t->bytes;
    }
    return SLM_OK;
}

slm_status slm_gguf_part_parse(struct slm_gguf_part *part, const struct slm_gguf_limits *limits,
                               struct slm_error *error)
{
    struct cursor c = {.part = part, .limits = limits, .error = error};
    SLM_TRY(parse_header(&c, part));
    SLM_TRY(parse_metadata(&c, part));
    c.kind = NULL;
    /* Again, now that the metadata has taken its bytes: the allocation is never larger than the file warrants. */
    SLM_TRY(check_count(&c, "tensor count", part->n_tensors, MIN_TENSOR_BYTES, limits->max_tensors));
    part->tensors = slm_alloc(part->n_tensors, sizeof *part->tensors, part->path, error);
    if (part->tensors == NULL) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < part->n_tensors; i++) {
        begin(&c, "tensor", i);
        SLM_TRY(parse_tensor(&c, &part->tensors[i]));
    }
    uint64_t mask = part->alignment - 1;
    part->data_offset = ((uint64_t)c.at + mask) & ~mask;
    return place_tensors(&c, part);
}

void slm_gguf_part_release(struct slm_gguf_part *part)
{
    slm_name_index_release(&part->keys);
    slm_release(part->kvs);
    slm_release(part->tensors);
    slm_release(part->path);
    slm_release(part->owned);
    if (part->map.data != NULL) slm_os()->unmap(&part->map);
    *part = (struct slm_gguf_part){0};
}
