/* SPDX-License-Identifier: MIT
 * The closed list of operations a model is made of, and the records a plan holds. Plain data: backends, the profiler,
 * golden tests and exporters read the same array; none of them knows a model family.
 *
 * A value is a matrix of f32 rows, one row per token of the step (TOKENS) or per token whose logits are wanted
 * (OUTPUTS). An operation reads up to two values and writes one. Deliberately not here: shapes that depend on the
 * input text (a step fills them in) and anything about threads. */
#ifndef SLM_PLAN_OP_H
#define SLM_PLAN_OP_H
#include "quant/quant.h"

/* X(NAME, partition): how the work of the op may be split: by rows of its values (ROWS), by output features (FEATURES)
 * or by token and KV head (HEADS). Two neighbouring ROWS ops on the same rows need no barrier between them. */
#define SLM_OPS(X) \
    X(EMBED, ROWS)      /* out[t] = w[token t] */ \
    X(RMS_NORM, ROWS)   /* each group of w.n_in elements of a row is normalised, then times w */ \
    X(MATMUL, FEATURES) /* out = in0 . w^T (+ bias) */ \
    X(QUANTIZE, ROWS)   /* out[t] = in0[t] as int8 codes and, last, their scale: what ternary weights multiply */ \
    X(ADD, ROWS)        /* out = in0 + in1 */ \
    X(SCALE, ROWS)      /* out = in0 * scale */ \
    X(SOFTCAP, ROWS)    /* out = softcap * tanh(in0 / softcap) */ \
    X(SWIGLU, ROWS)     /* out = silu(in0) * in1 */ \
    X(GEGLU, ROWS)      /* out = gelu(in0) * in1 */ \
    X(RELU2GLU, ROWS)   /* out = max(in0, 0)^2 * in1 */ \
    X(ROPE_TABLE, ROWS) /* out[t] = cosines then sines of position t times the inverse frequencies */ \
    X(ROPE, ROWS)       /* out = in0 with every head rotated by the table in1 */ \
    X(KV_APPEND, ROWS)  /* keys in0 and values in1 go to the cache of this layer */ \
    X(ATTENTION, HEADS) /* out = softmax(q k^T * scale) v over the cache of this layer, q = in0 */ \
    X(SELECT, ROWS)     /* out = the OUTPUTS rows of in0 */

enum slm_op_kind {
#define X(name, partition) SLM_OP_##name,
    SLM_OPS(X)
#undef X
    SLM_OP_COUNT
};
enum slm_partition { SLM_PARTITION_ROWS, SLM_PARTITION_FEATURES, SLM_PARTITION_HEADS };

struct slm_op_info {
    const char *name;
    enum slm_partition partition;
};
extern const struct slm_op_info slm_op_infos[SLM_OP_COUNT];

struct slm_low_rank;

/* One weight matrix (or vector: n_out 1) in its file format. Row r starts at data + r * row_bytes. */
struct slm_weight {
    const char *name;          /* as in the file */
    const unsigned char *data; /* [n_out, n_in], rows contiguous; borrowed from the model file */
    enum slm_dtype dtype;
    uint32_t n_in, n_out;
    size_t row_bytes;          /* whole blocks: a row may be padded with zeros */
    bool packed;               /* data is panels (quant/panel.h) of dtype instead, from a packed file */
    /* Affine groups: data holds codes, element i of row r is scales[r][i / group] * code + biases[r][i / group]. */
    const unsigned char *scales, *biases; /* [n_out, n_in / group] of scale_dtype; NULL: the type says everything */
    enum slm_dtype scale_dtype;
    uint32_t group;
    /* Ternary weights: the signs of what data holds (or its codes less 1), all to be multiplied with this; 0 for all
     * others. They multiply quantized values only: products of integers, so sums are exact in any order. */
    float ternary_scale;
    const struct slm_low_rank *low_rank; /* what adapters add to it, or NULL */
};

/* An addition to a matrix, kept as two thin ones: W becomes W + up . down without being touched. */
struct slm_low_rank {
    struct slm_weight down, up; /* [rank, n_in], [n_out, rank]; f32 */
};
/* Elements from one row to the next when rows are unpacked whole. */
static inline size_t slm_weight_stride(const struct slm_weight *w)
{
    return w->row_bytes / slm_dtypes[w->dtype].block_bytes * slm_dtypes[w->dtype].block;
}

typedef int32_t slm_val; /* index of a value in the plan; SLM_NO_VAL = none */
#define SLM_NO_VAL (-1)

enum slm_rows { SLM_ROWS_TOKENS, SLM_ROWS_OUTPUTS };

struct slm_value {
    const char *name;    /* "attn_norm", "q", ...; for taps and profiles */
    int32_t layer;       /* -1 outside layers */
    uint32_t width;      /* f32 elements a row */
    bool quantized;      /* the last element of a row is the scale of the others, which are integers -128..127 */
    enum slm_rows rows;
    int32_t first, last; /* op that writes it, last op that reads it */
    size_t offset;       /* planner: elements per row of scratch before this value */
};

enum slm_rope_style { SLM_ROPE_NEOX, SLM_ROPE_NORM }; /* pairs (i, i + n/2) or (2i, 2i + 1) */

struct slm_op {
    enum slm_op_kind kind;
    bool barrier;                   /* planner: all threads must have arrived before this op */
    int32_t layer;
    slm_val in[2], out;
    const struct slm_weight *w;     /* EMBED, RMS_NORM, MATMUL */
    const struct slm_weight *bias;  /* MATMUL, optional; [1, n_out] */
    float eps, scale;               /* RMS_NORM; SCALE and ATTENTION */
    float softcap;                  /* SOFTCAP; ATTENTION: scores are capped so before softmax, 0 = not */
    const float *inv_freq;          /* ROPE_TABLE: [n_rot / 2] radians a position */
    const float *inv_freq_long; /* ROPE_TABLE: used instead when the context is longer than short_ctx; may be NULL */
    uint32_t short_ctx;
    float rope_gain;                /* ROPE_TABLE: cosines and sines are multiplied by this (1 = plain) */
    enum slm_rope_style rope_style; /* ROPE */
    uint32_t n_head, n_head_kv, head_dim, n_rot; /* ROPE, KV_APPEND, ATTENTION */
    uint32_t window;                /* ATTENTION: a token sees this many positions back, itself included; 0 = all */
    bool bidirectional;             /* ATTENTION: and as many onward, as far as the sequence is filled by this step */
};
#endif
