/* SPDX-License-Identifier: MIT
 * What the GGUF files of this folder share: one file as parsed, and a model as the sum of its files. Private to
 * src/format; others use gguf.h. */
#ifndef SLM_FORMAT_GGUF_PART_H
#define SLM_FORMAT_GGUF_PART_H
#include "format/gguf.h"
#include "format/name_index.h"

/* One file of a model. */
struct slm_gguf_part {
    char *path;                   /* owned; for messages */
    const unsigned char *data;    /* [readable_bytes] the file, or what of it is in memory */
    size_t readable_bytes;
    uint64_t file_bytes;          /* >= readable_bytes: a header can be checked before its tensor data exists */
    struct slm_map map;           /* what data points into; empty for memory files */
    char *owned;                  /* bytes made for this part, when data points into no file */
    struct slm_file_info info;    /* as it was when opened; zero for memory files */
    uint32_t version, alignment;
    uint64_t data_offset;         /* where tensor data begins, in the file */
    struct slm_gguf_kv *kvs;      /* [n_kv] owned */
    size_t n_kv;
    struct slm_name_index keys;
    struct slm_gguf_tensor *tensors; /* [n_tensors] owned */
    size_t n_tensors;
};

struct slm_gguf {
    struct slm_gguf_part *parts;     /* [n_parts] owned */
    size_t n_parts;
    struct slm_gguf_tensor *tensors; /* [n_tensors] of all parts in order; owned (a single part's table moves here) */
    size_t n_tensors;
    struct slm_name_index tensor_index;
    bool from_hf;                    /* a Hugging Face folder in this form (hf_folder.h) */
};

/* Keys of a model inside a model are found before those of the outer one. */
#define SLM_HF_INNER "text_config."
enum { SLM_HF_MAX_KEY = 256 };

/* hf_tensors.c: names of a model inside a model lose their prefix (before the parts are joined); tensors that belong to
 * other tensors are tied to them (after). */
slm_status slm_hf_unwrap(struct slm_gguf *gguf, struct slm_error *error);
slm_status slm_hf_link(struct slm_gguf *gguf, struct slm_error *error);

/* An empty model with one part; and the last step of opening one: all parts' tensors in one table with one index. */
slm_status slm_gguf_new(struct slm_gguf **out, struct slm_error *error);
slm_status slm_gguf_join_tensors(struct slm_gguf *gguf, const struct slm_gguf_limits *limits, struct slm_error *error);

struct slm_gguf_value_type {
    const char *name;
    uint32_t bytes; /* 0: strings and arrays say their own length */
    int kind;       /* enum slm_gguf_kind */
};
enum slm_gguf_kind { SLM_GGUF_UNSIGNED, SLM_GGUF_SIGNED, SLM_GGUF_FLOAT, SLM_GGUF_TRUTH, SLM_GGUF_TEXT, SLM_GGUF_LIST };
extern const struct slm_gguf_value_type slm_gguf_value_types[SLM_GGUF_TYPE_COUNT];

#define SLM_GGUF_DEFAULT_ALIGNMENT 32u
#define SLM_GGUF_MAX_ALIGNMENT (UINT32_C(1) << 24)

/* The limits with defaults filled in; limits may be NULL. */
struct slm_gguf_limits slm_gguf_limits_or_default(const struct slm_gguf_limits *limits);

/* Parses part->data: fills version, alignment, data_offset, kvs, keys, tensors (their `part` is left 0). On failure
 * what was allocated stays in the part for slm_gguf_part_release. */
slm_status slm_gguf_part_parse(struct slm_gguf_part *part, const struct slm_gguf_limits *limits,
                               struct slm_error *error);
/* Indexes rows by name; the errors of slm_name_index_build as sentences about a file. */
slm_status slm_gguf_index_rows(const char *path, const char *kind, struct slm_name_index *index, const void *rows,
                               size_t n, size_t stride, struct slm_error *error);
void slm_gguf_part_release(struct slm_gguf_part *part);

/* "path: kind 'name'" into where, fit for slm_fail: the path is cut in front and the name at its end. kind may be
 * NULL (then only the path). */
enum { SLM_GGUF_WHERE_BYTES = 120 };
void slm_gguf_where(char where[SLM_GGUF_WHERE_BYTES], const char *path, const char *kind, struct slm_str name);
/* "UINT32", "array of 5 STRING", ... for messages. */
void slm_gguf_describe(char text[48], const struct slm_gguf_kv *kv);
#endif
