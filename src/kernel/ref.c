/* SPDX-License-Identifier: MIT
 * The scalar kernels: what every slot of the table means, in the clearest code that says it. They are always
 * linked, run on any CPU, and are what tests/kernels holds each vector variant to, bit for bit. So nothing here
 * is tuned, and a change of one operation here is a change of every result the library gives.
 *
 * The order of float operations is written out because it is the contract (kernel.h, DOT16): sixteen lanes are
 * what one AVX-512 register holds, two AVX2 registers or four NEON ones, so every ISA can keep it at full
 * speed. fmaf is meant where it stands, and the build forbids the compiler to make or break one
 * (-ffp-contract=off). */
#include <math.h>
#include <string.h>
#include "base/fmath.h"
#include "kernel/kernel.h"
#include "quant/block.h"

enum { LANES = 16 };

/* The end of DOT16: the lanes as a tree, the halves onto each other. */
static float sum_lanes(float lane[LANES])
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

/* The tail of n needs no case of its own: its lanes simply end one step earlier. */
static float dot16(const float *a, const float *b, size_t n)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i++) lane[i % LANES] = fmaf(a[i], b[i], lane[i % LANES]);
    return sum_lanes(lane);
}

/* Row by row and token by token. */
static void matmul(const struct slm_matmul_args *args)
{
    const float *w = args->w;
    for (size_t t = 0; t < args->n_tok; t++)
        for (size_t r = 0; r < args->n_row; r++)
            args->out[t * args->out_stride + r] =
                dot16(w + r * args->w_stride, args->x + t * args->x_stride, args->k);
}

/* Element i of an array in bf16, f16 or f32. */
static float element(const void *base, size_t i, enum slm_dtype type)
{
    const uint8_t *half = (const uint8_t *)base + 2 * i;
    return type == SLM_DTYPE_F32   ? ((const float *)base)[i]
           : type == SLM_DTYPE_F16 ? slm_block_f16(half)
                                   : slm_bits_f32((uint32_t)half[0] << 16 | (uint32_t)half[1] << 24);
}

/* The same of weights that are widened first, as unpack does. */
static void matmul_half(const struct slm_matmul_args *args, enum slm_dtype type)
{
    for (size_t t = 0; t < args->n_tok; t++)
        for (size_t r = 0; r < args->n_row; r++) {
            float lane[LANES] = {0};
            for (size_t i = 0; i < args->k; i++)
                lane[i % LANES] = fmaf(element(args->w, r * args->w_stride + i, type),
                                       args->x[t * args->x_stride + i], lane[i % LANES]);
            args->out[t * args->out_stride + r] = sum_lanes(lane);
        }
}
static void matmul_f16(const struct slm_matmul_args *args) { matmul_half(args, SLM_DTYPE_F16); }
static void matmul_bf16(const struct slm_matmul_args *args) { matmul_half(args, SLM_DTYPE_BF16); }

/* The scale r is one number a row, so a division and a root here cost nothing; x * r comes before * w. */
static void rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    float r = 1.0f / sqrtf(dot16(x, x, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++) out[i] = w ? x[i] * r * w[i] : x[i] * r;
}

static void add(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void scale(float *out, const float *a, float s, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = a[i] * s;
}

/* gate / (1 + e^-gate) is x * sigmoid(x) with one rounding less than the product would have. */
static void swiglu(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = gate[i] / (1.0f + slm_expf(-gate[i])) * up[i];
}

static void geglu(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float x = gate[i], inner = 0.7978845608028654f * fmaf(0.044715f, x * x * x, x);
        out[i] = 0.5f * x * (1.0f + slm_tanhf(inner)) * up[i];
    }
}

/* A NaN gate stays one. */
static void relu2glu(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float r = 0.0f > gate[i] ? 0.0f : gate[i];
        out[i] = r * r * up[i];
    }
}

/* Adding 1.5 * 2^23 leaves no bits behind the point, so the sum rounds to an integer; taking it away is exact. No code
 * can leave the range: |x * s| exceeds 127 by rounding only. */
static float quantize(float *codes, const float *x, size_t n)
{
    float max = 1e-5f;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > max) max = fabsf(x[i]);
    const float s = 127.0f / max;
    for (size_t i = 0; i < n; i++) codes[i] = x[i] * s + 12582912.0f - 12582912.0f;
    return s;
}

/* One rounding a weight: scale and bias of a group are the file's, the codes are integers. */
static void affine(float *x, const float *scales, const float *biases, size_t n_group, size_t group)
{
    for (size_t i = 0; i < n_group * group; i++) x[i] = fmaf(x[i], scales[i / group], biases[i / group]);
}

static void softcap(float *out, const float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = cap * slm_tanhf(x[i] / cap);
}

/* (a, b) turned by the angle whose cosine and sine are given. */
static void rotate(float *a, float *b, float cosine, float sine)
{
    float a_old = *a, b_old = *b;
    *a = fmaf(a_old, cosine, -(b_old * sine));
    *b = fmaf(a_old, sine, b_old * cosine);
}

static void rope_neox(float *head, const float *cos_sin, size_t n_rot)
{
    size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i++) rotate(&head[i], &head[i + half], cos_sin[i], cos_sin[i + half]);
}

/* The same angles for neighbours: the order of Llama's own weights, and of GGUF files made from them. */
static void rope_norm(float *head, const float *cos_sin, size_t n_rot)
{
    size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i++) rotate(&head[2 * i], &head[2 * i + 1], cos_sin[i], cos_sin[i + half]);
}

/* Rounding and NaN are base/fmath.h's business. */
static void f32_to_f16(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = slm_f32_to_f16(src[i]);
}

static void f16_to_f32(float *dst, const uint16_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = slm_f16_to_f32(src[i]);
}

static float softmax_part(float *scores, size_t n, float *max_io)
{
    float max = *max_io;
    for (size_t i = 0; i < n; i++)
        if (scores[i] > max) max = scores[i];
    max += 0.0f; /* which of -0 and +0 came first would depend on the order of the search: -0 becomes +0 */
    *max_io = max;

    /* Without any finite score there is nothing to shift by, and -inf - -inf would be NaN. */
    float shift = max == -INFINITY ? 0.0f : max;
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        scores[i] = slm_expf(scores[i] - shift);
        lane[i % LANES] += scores[i];
    }
    return sum_lanes(lane);
}

static void scores(const struct slm_scores_args *args, enum slm_dtype type)
{
    for (size_t r = 0; r < args->n_row; r++)
        for (size_t i = 0; i < SLM_KEYS; i++) {
            float acc = 0.0f;
            for (size_t d = 0; d < args->head_dim; d++)
                acc = fmaf(args->q[r * args->head_dim + d], element(args->k, d * SLM_KEYS + i, type), acc);
            args->out[r * SLM_KEYS + i] = acc * args->scale;
        }
}
static void attn_scores_f32(const struct slm_scores_args *args) { scores(args, SLM_DTYPE_F32); }
static void attn_scores_f16(const struct slm_scores_args *args) { scores(args, SLM_DTYPE_F16); }

/* Positions outside, so that each element of acc is one chain in the order of the positions, however they are paged. */
static void mix(const struct slm_mix_args *args, enum slm_dtype type)
{
    for (size_t r = 0; r < args->n_row; r++) {
        float *acc = args->acc + r * args->head_dim;
        for (size_t i = 0; i < args->n; i++)
            for (size_t d = 0; d < args->head_dim; d++)
                acc[d] = fmaf(args->p[r * SLM_KEYS + i], element(args->v, i * args->head_dim + d, type), acc[d]);
    }
}
static void attn_mix_f32(const struct slm_mix_args *args) { mix(args, SLM_DTYPE_F32); }
static void attn_mix_f16(const struct slm_mix_args *args) { mix(args, SLM_DTYPE_F16); }

/* Comparison with NaN is false, so a NaN is never greater; only as the first element it must be given up by hand. */
static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (isnan(x[best]) ? !isnan(x[i]) : x[i] > x[best]) best = i;
    return best;
}

void slm_kernels_init_ref(struct slm_kernels *table)
{
    *table = (struct slm_kernels){
        .level = "scalar",
        .matmul = matmul,
        .matmul_f16 = matmul_f16,
        .matmul_bf16 = matmul_bf16,
        .rms_norm = rms_norm,
        .add = add,
        .scale = scale,
        .swiglu = swiglu,
        .geglu = geglu,
        .relu2glu = relu2glu,
        .quantize = quantize,
        .affine = affine,
        .softcap = softcap,
        .rope_neox = rope_neox,
        .rope_norm = rope_norm,
        .f32_to_f16 = f32_to_f16,
        .f16_to_f32 = f16_to_f32,
        .softmax_part = softmax_part,
        .attn_scores_f32 = attn_scores_f32,
        .attn_scores_f16 = attn_scores_f16,
        .attn_mix_f32 = attn_mix_f32,
        .attn_mix_f16 = attn_mix_f16,
        .argmax = argmax,
    };
    for (size_t type = 0; type < SLM_DTYPE_COUNT; type++) table->unpack[type] = slm_dtypes[type].decode;
}
