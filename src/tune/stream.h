/* SPDX-License-Identifier: MIT
 * Tensors on their way from one file into another: rows are decoded to f32, changed where asked, and encoded, in chunks
 * of bounded size and on all threads. Whatever writes models (convert, quantize) lists its tensors and calls this.
 * The bytes that come out do not depend on the number of threads. */
#ifndef SLM_TUNE_STREAM_H
#define SLM_TUNE_STREAM_H
#include "format/gguf.h"
#include "kernel/encode.h"
#include "model/ternary.h"

/* Rows that lie one after the other. Usually those of dims[0] elements; a vector whose elements are to be reordered has
 * rows of one. */
struct slm_stream_part {
    const unsigned char *data;
    uint64_t n_rows;
    const struct slm_gguf_tensor *tensor; /* they are rows of this, from `first` on, and read through it; NULL: data is
                                           * blocks of type `from` and nothing else */
    uint64_t first;
    struct slm_ternary_rule rule;         /* what is read becomes ternary by it; scale 0: it stays */
};

#define SLM_STREAM_MAX_PARTS 4
struct slm_stream_tensor {
    struct slm_str name;              /* in the new file */
    uint64_t dims[SLM_GGUF_MAX_DIMS]; /* dims[0] is the length of a row; all n_dims of them nonzero */
    uint32_t n_dims;
    enum slm_dtype from, to;          /* from == to and no gain: bytes are copied */
    bool fixed;                       /* its type is not the user's to choose: norms, biases, tables */
    bool packed;                      /* written as panels (quant/panel.h) of type `to` */
    bool ternary;                     /* may have three values only: TQ1_0 and TQ2_0 are types for it */
    struct slm_stream_part parts[SLM_STREAM_MAX_PARTS]; /* the rows, in this order */
    unsigned n_parts;
    uint32_t pair_rows;               /* rows of a head whose halves (i, i + n/2) become neighbours (2i, 2i + 1);
                                       * 0: none. With one part only. */
    float gain;                       /* values are multiplied by it; 1 */
    const float *importance;          /* [dims[0]] what an error in a column counts; NULL: all the same */
};

struct slm_stream_options {
    unsigned n_threads;       /* >= 1 */
    const struct slm_encoders *encoders; /* NULL: values are rounded and no scale is searched for */
    slm_progress_fn progress; /* may be NULL; bytes of the output */
    void *user;
    uint64_t done, total;     /* progress over several calls: done grows */
};

/* Types that hold a number, its negative and zero. */
static inline bool slm_stream_is_ternary(enum slm_dtype type)
{
    return type == SLM_DTYPE_TQ1_0 || type == SLM_DTYPE_TQ2_0;
}
/* Bytes the tensor will have in the new file; false when its rows do not fit the type's blocks, or on overflow. */
bool slm_stream_bytes(const struct slm_stream_tensor *tensor, uint64_t *bytes);
/* Writes the data of n declared tensors, in order; what the writer has already is not made again. Pages of `source`
 * behind what was read are given back to the system (NULL: none to give back). SLM_ERR_NUMERIC names a value that the
 * new type cannot hold: without encoders for TQ1_0 and TQ2_0, and always for I2_S, anything in a matrix that is not
 * ternary already. */
slm_status slm_stream_write(struct slm_gguf_writer *writer, const struct slm_stream_tensor *tensors, size_t n,
                            const struct slm_gguf *source, struct slm_stream_options *options,
                            struct slm_error *error);
#endif
