/* SPDX-License-Identifier: MIT
 * The kernel table: every inner loop of the library, as function pointers with contracts. Filled with the scalar
 * definitions (ref.c) and overwritten upward by CPU features (x86/, arm/), within a mask the caller chooses.
 *
 * Rules for every slot: no malloc, threads, globals or I/O; pointers need no alignment beyond the element's unless
 * stated; nothing outside the stated ranges is read or written; all counts may be 0.
 *
 * EXACT means: the same bits as ref.c for every input, on every ISA. Float slots reach it by a fixed order:
 *   DOT16  sum over k of a[k]*b[k]: 16 lanes, lane j takes k = j, j+16, j+32 ... in order as acc_j = fma(a,b,acc_j),
 *          acc_j starting at +0; absent tail elements leave their lane untouched; then lanes are added as a tree:
 *          j += j+8 (j<8), j += j+4 (j<4), j += j+2 (j<2), 0 += 1.
 * so that results do not depend on the ISA, the batch, the chunking or the thread count. "absent" means untouched,
 * not "plus zero": a lane may hold -0. One freedom: where ref.c gives a NaN every variant gives a NaN, but its sign
 * and payload are the hardware's (an fma with two NaN operands keeps a different one on x86 and on Arm). */
#ifndef SLM_KERNEL_KERNEL_H
#define SLM_KERNEL_KERNEL_H
#include "quant/quant.h"

/* Kernels that read long stretches of memory are told what is read after: `ahead` bytes behind what they are reading,
 * counted modulo the size of memory, and they may ask the memory for it meanwhile (a prefetch, which cannot fault, so
 * that it may point anywhere; 0: nothing follows). Results do not depend on it. */

/* out[t * out_stride + r] = DOT16(w + r * w_stride, x + t * x_stride) for r < n_row, t < n_tok. */
struct slm_matmul_args {
    const void *w;     /* [n_row, k] of the slot's type at any address, row stride w_stride */
    const float *x;    /* [n_tok, k] f32, row stride x_stride */
    float *out;        /* [n_tok, n_row] f32, row stride out_stride; must not overlap w or x */
    size_t n_row, n_tok, k, w_stride, x_stride, out_stride; /* in elements */
};

/* Products of packed weights (quant/panel.h) with A8 rows (kernel/pack.h). For every row r and token t: acc = +0; then
 * for each block of 32 elements in order (each half of it, where the type has scales for 16)
 * acc = fma((float)(sum of code * q - zero * z), d_w * d_a, acc), and where the type has a min acc = fma(m, s, acc). */
struct slm_packed_args {
    const unsigned char *w; /* panels, panel_bytes apart; row r is row r % 16 of panel r / 16 */
    const unsigned char *x; /* [n_tok] A8 rows of k, x_stride bytes apart, 4-byte aligned */
    float *out;             /* [n_tok, n_row] f32, row stride out_stride elements */
    size_t n_row, n_tok, k; /* k a multiple of 32 */
    size_t panel_bytes, x_stride, out_stride;
    void *scratch;          /* SLM_PACK_SCRATCH bytes, 64-byte aligned */
    size_t ahead;           /* from w */
};

/* Attention sees the KV cache by pages of SLM_KEYS positions. Keys of a page and head lie side by side,
 * [head_dim][SLM_KEYS], values one after the other, [SLM_KEYS][head_dim]; both f32 or f16, at any address. */
enum { SLM_KEYS = 32 };
struct slm_scores_args {
    const float *q;  /* [n_row, head_dim] */
    const void *k;   /* [head_dim, SLM_KEYS]: all are read, also those that hold nothing yet */
    float *out;      /* [n_row, SLM_KEYS] */
    size_t n_row, head_dim;
    float scale;
    size_t ahead;    /* from k */
};
struct slm_mix_args {
    float *acc;     /* [n_row, head_dim] */
    const float *p; /* [n_row], SLM_KEYS elements from one row to the next; n of them used */
    const void *v;  /* [n, head_dim] */
    size_t n_row, n, head_dim;
    size_t ahead;   /* from v */
};

/* int8: keys are panels of Q8_0 (quant/panel.h), 16 positions each, so that scores are products of packed weights.
 * Values are codes with a scale a position. */
struct slm_mix_i8_args {
    float *acc;          /* [n_row, head_dim] */
    const float *p;      /* [n_row, SLM_KEYS] weights, 0 or more; those of slots [first, first + n) count */
    const float *scales; /* [SLM_KEYS] of the values, 0 or more */
    const int8_t *v;     /* [SLM_KEYS / 4, head_dim, 4]: codes -127..127, four positions of an element together */
    size_t n_row, head_dim; /* head_dim a multiple of 32 */
    size_t first, n;
    size_t ahead;    /* from v */
};

struct slm_kernels {
    const char *level; /* "scalar", "avx2", "avx512", "neon": the highest that filled a slot */
    uint64_t features; /* CPU features the table was built for */

    /* dst[0..n) f32 from packed src; n is a multiple of the type's block. EXACT (equals slm_dtypes[].decode). */
    void (*unpack[SLM_DTYPE_COUNT])(const void *src, float *dst, size_t n);

    /* Weights in f32, f16 and bf16. EXACT. */
    void (*matmul)(const struct slm_matmul_args *args);
    void (*matmul_f16)(const struct slm_matmul_args *args);
    void (*matmul_bf16)(const struct slm_matmul_args *args);

    /* Elements [first, first + n) of the A8 row of k elements at `row`, from x[0..n); first, n and k are multiples
     * of 32. Of each block of 32: most = max |x|; d = most / 127, q = round(x * (127 / most)) to nearest even; z and
     * s as pack.h says. A block with most < 2^-100 is zeros, one with an infinity or NaN has d = NaN and q = 0.
     * EXACT. */
    void (*encode_a8)(void *row, const float *x, size_t first, size_t n, size_t k);
    /* The A8 row of k codes, integers -127..127 as quantize makes them, k a multiple of 32: q = codes, d = 1, so that
     * products with weights of d = 1 are exact integers. A block with a NaN has d = NaN and q = 0. EXACT. */
    void (*encode_codes)(void *row, const float *codes, size_t k);
    /* NULL for types that are not packed. EXACT. */
    void (*matmul_packed[SLM_DTYPE_COUNT])(const struct slm_packed_args *args);

    /* Nothing but n rounds of the dot products of int8 that this level has, on registers; returns how many numbers were
     * multiplied. What it takes is the least that any product of as many could take: `slm doctor` measures it. */
    size_t (*peak_int8)(size_t n);

    /* out[i] = x[i] * r * w[i], r = 1 / sqrt(DOT16(x, x) / n + eps) (division and sqrt in f32, one rounding each;
     * product order (x*r)*w); w NULL means no weight. out may be x. EXACT. */
    void (*rms_norm)(float *out, const float *x, const float *w, size_t n, float eps);

    /* out[i] = a[i] + b[i]; out may be a or b. EXACT. */
    void (*add)(float *out, const float *a, const float *b, size_t n);
    /* out[i] = a[i] * s; out may be a. EXACT. */
    void (*scale)(float *out, const float *a, float s, size_t n);
    /* out[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + expf(-x)) with slm_expf; out may be gate or up. EXACT. */
    void (*swiglu)(float *out, const float *gate, const float *up, size_t n);

    /* out[i] = gelu(gate[i]) * up[i], the tanh form: gelu(x) = (0.5x) * (1 + tanh(c * (x + 0.044715 * x^3))),
     * c = sqrt(2 / pi), evaluated as t = (x * x) * x, fma(0.044715, t, x). EXACT. */
    void (*geglu)(float *out, const float *gate, const float *up, size_t n);
    /* out[i] = r * r * up[i], r = max(gate[i], 0); out may be gate or up. EXACT. */
    void (*relu2glu)(float *out, const float *gate, const float *up, size_t n);
    /* codes[i] = x[i] * s rounded to the nearest integer, ties to even, s = 127 / max(|x[0]|, .. |x[n - 1]|, 1e-5): so
     * -127..127 for finite x. Returns s. NaN is left out of the maximum and stays NaN. codes may be x. EXACT. */
    float (*quantize)(float *codes, const float *x, size_t n);
    /* x[i] = fma(x[i], scales[i / group], biases[i / group]) for i < n_group * group, in place. EXACT. */
    void (*affine)(float *x, const float *scales, const float *biases, size_t n_group, size_t group);
    /* out[i] = cap * tanh(x[i] / cap); out may be x. EXACT. */
    void (*softcap)(float *out, const float *x, float cap, size_t n);

    /* Rotates one head of n_rot elements (even), in place. cos_sin [n_rot] holds n_rot/2 cosines, then n_rot/2
     * sines. neox pairs (i, i + n_rot/2); norm pairs (2i, 2i+1): a' = fma(a, cos, -(b*sin)), b' = fma(a, sin,
     * b*cos). EXACT. */
    void (*rope_neox)(float *head, const float *cos_sin, size_t n_rot);
    void (*rope_norm)(float *head, const float *cos_sin, size_t n_rot);

    /* f32 <-> f16, round to nearest even. EXACT. */
    void (*f32_to_f16)(uint16_t *dst, const float *src, size_t n);
    void (*f16_to_f32)(float *dst, const uint16_t *src, size_t n);

    /* One pass of softmax over scores[0..n), n >= 1: m = max(*max, scores), scores[i] = expf(scores[i] - m), returns
     * their sum in DOT16 order (with b = 1), *max = m. -inf scores give 0. If all and *max are -inf: zeros, returns
     * 0. A maximum of zero is +0; NaN scores are left out of the maximum and stay NaN (so the sum is NaN). EXACT. */
    float (*softmax_part)(float *scores, size_t n, float *max);

    /* out[r, i] = acc * scale, acc = fma(q[r, d], k[d, i], acc) from +0 for d = 0..head_dim-1 in this order. EXACT. */
    void (*attn_scores_f32)(const struct slm_scores_args *args);
    void (*attn_scores_f16)(const struct slm_scores_args *args);
    /* acc[r, d] = fma(p[r, i], v[i, d], acc[r, d]) for i = 0..n-1 in this order. EXACT. */
    void (*attn_mix_f32)(const struct slm_mix_args *args);
    void (*attn_mix_f16)(const struct slm_mix_args *args);
    /* w[i] = p[r, i] * scales[i], 0 for slots that do not count; most = max w; code c[i] = round(w[i] * (127 / most))
     * to nearest even; acc[r, d] = fma((float)(sum over i of c[i] * v[i, d]), most * (1 / 127), acc[r, d]). A row with
     * most < 2^-100 adds zeros, one with an infinity or NaN makes NaN of all. EXACT. */
    void (*attn_mix_i8)(const struct slm_mix_i8_args *args);

    /* Index of the greatest value; the lowest index wins a tie; NaN never wins; n >= 1 (all NaN: 0). EXACT. */
    size_t (*argmax)(const float *x, size_t n);
};

/* Fills *table for the given features (a subset of slm_cpu_features(), or any mask in tests that only look at
 * names). */
void slm_kernels_init(struct slm_kernels *table, uint64_t features);
/* Per architecture, called by slm_kernels_init in rising order; each returns at the first missing feature. */
void slm_kernels_init_ref(struct slm_kernels *table);
void slm_kernels_init_ref_int8(struct slm_kernels *table); /* after init_ref */
void slm_kernels_init_x86(struct slm_kernels *table, uint64_t features);
void slm_kernels_init_arm(struct slm_kernels *table, uint64_t features);
#endif
