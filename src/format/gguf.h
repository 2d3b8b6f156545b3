/* SPDX-License-Identifier: MIT
 * GGUF v2/v3 files: reader (bounded, linear, non-recursive, split files) and writer. Pure over a byte range; the file
 * itself is mapped through the OS seam. Everything returned has been validated: ranges lie in the file, sizes do not
 * overflow, names are unique UTF-8, types are known. Deliberately does not know what any key means. */
#ifndef SLM_FORMAT_GGUF_H
#define SLM_FORMAT_GGUF_H
#include "base/os.h"
#include "base/str.h"
#include "quant/quant.h"

enum slm_gguf_type { /* value types, as numbered in files */
    SLM_GGUF_U8, SLM_GGUF_I8, SLM_GGUF_U16, SLM_GGUF_I16, SLM_GGUF_U32, SLM_GGUF_I32, SLM_GGUF_F32, SLM_GGUF_BOOL,
    SLM_GGUF_STRING, SLM_GGUF_ARRAY, SLM_GGUF_U64, SLM_GGUF_I64, SLM_GGUF_F64, SLM_GGUF_TYPE_COUNT
};

struct slm_gguf_kv {
    struct slm_str key;
    enum slm_gguf_type type;       /* ARRAY: see below */
    enum slm_gguf_type array_type; /* element type of an array; else the same as type */
    uint64_t n;                    /* elements of an array, else 1 */
    const unsigned char *data;     /* raw little-endian bytes of the value in the file (unaligned): a string begins
                                    * with its u64 length, an array with its first element */
    size_t bytes;                  /* of data */
};

#define SLM_GGUF_MAX_DIMS 4
/* Type id of a packed tensor: this, the layout's version in the second byte, the id of its blocks' type in the lowest.
 * No other program has ids as high, so they refuse such a file. */
#define SLM_GGUF_PACKED_ID UINT32_C(0x52160000)
struct slm_gguf_tensor {
    struct slm_str name;
    enum slm_dtype dtype;
    uint32_t n_dims;                   /* 1..4 */
    uint64_t dims[SLM_GGUF_MAX_DIMS];  /* dims[0] is contiguous; unused ones are 1 */
    uint64_t n_elements, bytes;
    const unsigned char *data;         /* NULL when opened without tensor data */
    uint16_t part;                     /* which file of a split model */
    uint64_t offset;                   /* absolute, in that file */
    /* Folders keep scales in tensors of their own, which are marked side and count as no parameters of the model.
     * dtype and dims say what the codes are; slm_tensor_read_rows is what puts both together. */
    const struct slm_gguf_tensor *scales, *biases; /* group > 0: [dims[0] / group, dims[1]]; group 0: one scale */
    uint32_t group;                    /* elements of a row that share a scale and a bias */
    bool scale_divides;                /* the one scale is a divisor */
    bool planes;                       /* U2: stored row s holds rows s, s + m, s + 2m, s + 3m, m = dims[1] / 4 */
    bool side;
    bool packed;                       /* data is panels (quant/panel.h) of dtype, not rows of blocks */
};

/* What a file may claim; a value over a limit is SLM_ERR_LIMIT. Zero fields mean the default beside them. */
struct slm_gguf_limits {
    uint64_t max_kv;         /* 65536 */
    uint64_t max_tensors;    /* 1048576 */
    uint64_t max_key_bytes;  /* 65535 */
    uint64_t max_name_bytes; /* 63 */
    uint64_t max_array;      /* 67108864 elements */
    uint64_t max_string;     /* 16777216 bytes */
    uint64_t max_parts;      /* 1000 */
};

struct slm_gguf; /* immutable after open; owns the maps */

/* Opens path; when its name ends in -00001-of-0000N.gguf (or the metadata says split.count > 1), opens the other
 * parts beside it too. Returns owned *out (slm_gguf_close). limits may be NULL. */
slm_status slm_gguf_open(const char *path, const struct slm_gguf_limits *limits, struct slm_gguf **out,
                         struct slm_error *error);
/* The same over memory, which must outlive *out. name is for messages. */
slm_status slm_gguf_open_memory(const void *data, size_t bytes, const char *name, const struct slm_gguf_limits *limits,
                                struct slm_gguf **out, struct slm_error *error);
void slm_gguf_close(struct slm_gguf *gguf);

/* Is this a Hugging Face folder in the form of a GGUF model (format/hf_folder.h)? Its keys and names are other ones. */
bool slm_gguf_is_hf(const struct slm_gguf *gguf);
const char *slm_gguf_name(const struct slm_gguf *gguf);     /* path as given */
uint32_t slm_gguf_version(const struct slm_gguf *gguf);
uint32_t slm_gguf_alignment(const struct slm_gguf *gguf);
uint64_t slm_gguf_data_offset(const struct slm_gguf *gguf, unsigned part);
uint64_t slm_gguf_file_bytes(const struct slm_gguf *gguf);  /* all parts */
size_t slm_gguf_n_parts(const struct slm_gguf *gguf);
size_t slm_gguf_n_kv(const struct slm_gguf *gguf);
const struct slm_gguf_kv *slm_gguf_kv_at(const struct slm_gguf *gguf, size_t i);       /* in file order */
size_t slm_gguf_n_tensors(const struct slm_gguf *gguf);
const struct slm_gguf_tensor *slm_gguf_tensor_at(const struct slm_gguf *gguf, size_t i);
/* Hash lookups; NULL when absent. */
const struct slm_gguf_kv *slm_gguf_find(const struct slm_gguf *gguf, const char *key);
const struct slm_gguf_tensor *slm_gguf_find_tensor(const struct slm_gguf *gguf, struct slm_str name);
/* Elements [column, column + n) of a row, whole blocks of its type (of a packed one the whole row), as f32, every scale
 * applied. The tensor has data. */
void slm_tensor_read(const struct slm_gguf_tensor *tensor, uint64_t row, uint64_t column, uint64_t n, float *dst);
/* Rows [first, first + n): dst [n, dims[0]]. */
void slm_tensor_read_rows(const struct slm_gguf_tensor *tensor, uint64_t first, uint64_t n, float *dst);
/* What every element is multiplied with beside the scales of blocks and groups: 1 for most tensors. */
float slm_tensor_scale(const struct slm_gguf_tensor *tensor);
/* These bytes have been read: their pages may leave memory, and come back from the file when read again. No-op for
 * bytes in no map (memory files). Any thread. */
void slm_gguf_drop_bytes(const struct slm_gguf *gguf, const unsigned char *data, size_t bytes);
/* The same for all that rows [first, first + n) were read from: codes, scales, biases. */
void slm_tensor_drop_rows(const struct slm_gguf *gguf, const struct slm_gguf_tensor *tensor, uint64_t first,
                          uint64_t n);
/* Does the name end in -00001-of-00003.gguf or the like? */
bool slm_gguf_is_split_name(const char *path);
/* Is there a file at path, and is it one of those this model is read from? */
slm_status slm_gguf_reads_file(const struct slm_gguf *gguf, const char *path, bool *out, struct slm_error *error);

/* SLM_OK while the files are the ones that were opened: same device, inode, size and time of change. */
slm_status slm_gguf_unchanged(const struct slm_gguf *gguf, struct slm_error *error);

/* Typed access. Each *_get: absent key -> *found = false, *out untouched, SLM_OK; present with another type or out of
 * the stated range -> SLM_ERR_FORMAT naming file, key, type/value and what is allowed. Any integer type is accepted
 * where an integer is asked for, F32/F64 where a float is. found may be NULL (then absent is an error). */
slm_status slm_gguf_get_i64(const struct slm_gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *out,
                            bool *found, struct slm_error *error);
slm_status slm_gguf_get_f64(const struct slm_gguf *gguf, const char *key, double min, double max, double *out,
                            bool *found, struct slm_error *error); /* NaN is always out of range */
slm_status slm_gguf_get_bool(const struct slm_gguf *gguf, const char *key, bool *out, bool *found,
                             struct slm_error *error);
slm_status slm_gguf_get_str(const struct slm_gguf *gguf, const char *key, struct slm_str *out, bool *found,
                            struct slm_error *error);
/* An array of that element type (integers: of that width, signed or not), of any length. */
slm_status slm_gguf_get_array(const struct slm_gguf *gguf, const char *key, enum slm_gguf_type element,
                              const struct slm_gguf_kv **out, bool *found, struct slm_error *error);
/* Element i of a scalar (i = 0) or array of numbers or BOOL, converted; what i64 cannot hold becomes its nearest end,
 * NaN becomes 0. The kv must not be of strings, i < n. */
int64_t slm_gguf_i64_at(const struct slm_gguf_kv *kv, uint64_t i);
double slm_gguf_f64_at(const struct slm_gguf_kv *kv, uint64_t i);
/* Walks an array of strings (or a single string) in order: start with cursor 0; false at the end. Linear in total. */
bool slm_gguf_next_string(const struct slm_gguf_kv *kv, size_t *cursor, struct slm_str *out);

/* ---- writer: keys, then tensors declared, then tensor bytes in the same order. Temp file + fsync + rename. What is
 * unfinished is called PATH.partial, and locked. ---- */
struct slm_gguf_writer;
slm_status slm_gguf_writer_open(const char *path, uint32_t alignment /* 0 = 32 */, struct slm_gguf_writer **out,
                                struct slm_error *error);
/* A copy of what a reader returned. */
slm_status slm_gguf_write_kv(struct slm_gguf_writer *w, const struct slm_gguf_kv *kv, struct slm_error *error);
slm_status slm_gguf_write_i64(struct slm_gguf_writer *w, const char *key, enum slm_gguf_type type, int64_t value,
                              struct slm_error *error);
slm_status slm_gguf_write_f32(struct slm_gguf_writer *w, const char *key, float value, struct slm_error *error);
slm_status slm_gguf_write_bool(struct slm_gguf_writer *w, const char *key, bool value, struct slm_error *error);
slm_status slm_gguf_write_str(struct slm_gguf_writer *w, const char *key, struct slm_str value,
                              struct slm_error *error);
slm_status slm_gguf_write_strings(struct slm_gguf_writer *w, const char *key, const struct slm_str *values, size_t n,
                                  struct slm_error *error);
slm_status slm_gguf_write_array(struct slm_gguf_writer *w, const char *key, enum slm_gguf_type type, const void *values,
                                size_t n, struct slm_error *error); /* numeric element types */
slm_status slm_gguf_declare_tensor(struct slm_gguf_writer *w, struct slm_str name, enum slm_dtype dtype,
                                   const uint64_t *dims, uint32_t n_dims, struct slm_error *error);
/* The same of a matrix [n_out, n_in] in panels; the file's alignment is SLM_PANEL_ALIGN or a multiple. */
slm_status slm_gguf_declare_packed(struct slm_gguf_writer *w, struct slm_str name, enum slm_dtype dtype,
                                   const uint64_t *dims, struct slm_error *error);
/* Appends bytes of the tensors in declared order, in chunks of any size; padding is inserted. */
slm_status slm_gguf_write_data(struct slm_gguf_writer *w, const void *data, size_t bytes, struct slm_error *error);
/* After the last declaration and before data: how many bytes has an earlier run like this one left, from the beginning?
 * key stands for all that decides what data will be written and is not in the header. *stale: something else was left,
 * which is gone. */
slm_status slm_gguf_writer_resume(struct slm_gguf_writer *w, uint64_t key, uint64_t *kept, bool *stale,
                                  struct slm_error *error);
/* Instead of writing so many bytes of the current tensor, no more than it still has: *skipped when all are there. */
slm_status slm_gguf_skip_data(struct slm_gguf_writer *w, uint64_t bytes, bool *skipped, struct slm_error *error);
const char *slm_gguf_writer_partial(const struct slm_gguf_writer *w);
/* What the whole file will have, by what is declared so far. */
uint64_t slm_gguf_writer_bytes(const struct slm_gguf_writer *w);
/* All declared bytes must have been written: they are on the disk after it, still under a temporary name. For models of
 * several files, which should appear together. */
slm_status slm_gguf_writer_seal(struct slm_gguf_writer *w, struct slm_error *error);
/* Seals if that was not done, and renames into place. Frees the writer on success and on failure. */
slm_status slm_gguf_writer_finish(struct slm_gguf_writer *w, struct slm_error *error);
void slm_gguf_writer_abandon(struct slm_gguf_writer *w); /* removes the temp file; NULL is fine */
/* Leaves it, for another run to go on with: true. False when there is too little of it, and it was removed. */
bool slm_gguf_writer_suspend(struct slm_gguf_writer *w);
/* A number for what the files are and when they were last written, their contents unread. */
uint64_t slm_gguf_fingerprint(const struct slm_gguf *gguf);
#endif
