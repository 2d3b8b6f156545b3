/* SPDX-License-Identifier: MIT
 * What int8 kernels read and need beside panels of weights (quant/panel.h): activations in int8 (A8), and room to work.
 * Layout only; arithmetic is in the kernels, whose contracts refer to the words defined here. */
#ifndef SLM_KERNEL_PACK_H
#define SLM_KERNEL_PACK_H
#include "quant/panel.h"

/* A8: a row of k activations (a multiple of 32), 60 bytes for each 32 of them. Code q stands for q * d of its block;
 * z are sums of codes, s the sums of what they stand for (d * z), of each block and each half block. */
struct slm_a8 {
    int8_t *q;  /* [k] */
    float *d;   /* [k / 32] */
    int32_t *z; /* [k / 32] */
    float *s;   /* [k / 32] */
    int32_t *z16; /* [k / 16] */
    float *s16;   /* [k / 16] */
};
static inline size_t slm_a8_row_bytes(size_t k) { return k / 32 * 60; }
static inline struct slm_a8 slm_a8_row(void *row, size_t k)
{
    unsigned char *p = row;
    const size_t n = k / 32 * 4;
    return (struct slm_a8){(int8_t *)p, (float *)(void *)(p + k), (int32_t *)(void *)(p + k + n),
                           (float *)(void *)(p + k + 2 * n), (int32_t *)(void *)(p + k + 3 * n),
                           (float *)(void *)(p + k + 5 * n)};
}

enum {
    SLM_A8_LEAST = 27 << 23,        /* bits of 2^-100: 127 over it is finite */
    SLM_F32_INF_BITS = 0x7f800000,
};

/* Scratch a thread lends to matmul_packed: two panels of SLM_PACK_CHUNK elements opened up, codes a byte each and
 * f32 scales and mins for every 16 elements. 64-byte aligned. */
enum {
    SLM_PACK_CHUNK = 1024,
    SLM_PACK_SCRATCH = 2 * SLM_PANEL_ROWS * (SLM_PACK_CHUNK + 2 * (SLM_PACK_CHUNK / 16) * 4),
};
#endif
