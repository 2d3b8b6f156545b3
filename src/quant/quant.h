/* SPDX-License-Identifier: MIT
 * Block formats as data: one row a type. The scalar code here is the definition that every kernel is tested against.
 * Layouts are GGUF's (little-endian); each format's struct and formula stand beside its decode function. */
#ifndef SLM_QUANT_QUANT_H
#define SLM_QUANT_QUANT_H
#include "base/error.h"

/* X(NAME, gguf type id, elements a block, bytes a block) */
#define SLM_DTYPES(X) \
    X(F32, 0, 1, 4) X(F16, 1, 1, 2) X(Q4_0, 2, 32, 18) X(Q4_1, 3, 32, 20) X(Q5_0, 6, 32, 22) X(Q5_1, 7, 32, 24) \
    X(Q8_0, 8, 32, 34) X(Q2_K, 10, 256, 84) X(Q3_K, 11, 256, 110) X(Q4_K, 12, 256, 144) X(Q5_K, 13, 256, 176) \
    X(Q6_K, 14, 256, 210) X(IQ4_NL, 20, 32, 18) X(IQ4_XS, 23, 256, 136) X(BF16, 30, 1, 2) X(TQ1_0, 34, 256, 54) \
    X(TQ2_0, 35, 256, 66)
/* Codes alone, whose scales stand elsewhere in the file (format/tensor_rows.c knows where): decoding gives the
 * integers. I2_S is of GGUF files of bitnet.cpp; U2 to U8 are of Hugging Face folders and have no id in GGUF. */
#define SLM_CODE_DTYPES(X) \
    X(I2_S, 36, 128, 32) X(U2, SLM_NO_GGUF_ID, 32, 8) X(U3, SLM_NO_GGUF_ID, 32, 12) X(U4, SLM_NO_GGUF_ID, 32, 16) \
    X(U5, SLM_NO_GGUF_ID, 32, 20) X(U6, SLM_NO_GGUF_ID, 32, 24) X(U8, SLM_NO_GGUF_ID, 1, 1)
#define SLM_NO_GGUF_ID UINT32_MAX

enum slm_dtype {
#define X(name, id, block, bytes) SLM_DTYPE_##name,
    SLM_DTYPES(X)
    SLM_CODE_DTYPES(X)
#undef X
    SLM_DTYPE_COUNT,
    SLM_DTYPE_NONE = -1
};

struct slm_dtype_info {
    const char *name;      /* "Q4_K" */
    uint32_t gguf_id;
    uint32_t block;        /* elements a block */
    uint32_t block_bytes;
    /* n is a multiple of block. src needs no alignment. Exact: the same bits on every machine. */
    void (*decode)(const void *src, float *dst, size_t n);
    /* Round-to-nearest reference encoder, or NULL when this build cannot write the type yet. */
    void (*encode)(const float *src, void *dst, size_t n);
};
extern const struct slm_dtype_info slm_dtypes[SLM_DTYPE_COUNT];

enum slm_dtype slm_dtype_from_gguf(uint32_t id);        /* SLM_DTYPE_NONE when unknown */
enum slm_dtype slm_dtype_from_name(const char *name);   /* case-insensitive; NONE when unknown */
/* Bytes of a tensor of n elements (I2_S: with the 32 bytes behind its codes); n must be a multiple of the block. False
 * when not, or on overflow. */
bool slm_dtype_bytes(enum slm_dtype type, uint64_t n, uint64_t *bytes);
#endif
