/* SPDX-License-Identifier: MIT
 * Attention over one page of the KV cache, part of the text of simd_float.h. Keys lie side by side ([head_dim][32]), so
 * a lane is a key and a score needs no sum over lanes; values lie one after the other ([32][head_dim]), so a lane is
 * an element of the head. Either way a tile of query rows x vectors stays in registers while the page passes by, and
 * halves are widened as they are loaded, once for the whole tile. */

enum {
    KEY_VECS = VEC_LANES >= 8 ? 2 : 4,         /* vectors of keys in a tile */
    KEY_ROWS = 4 * TILE_TOKENS / KEY_VECS,     /* queries with them: as many sums as a product has */
    MIX_VECS = 4,
    MIX_ROWS = TILE_TOKENS,
    MIX_SUMS = MIX_VECS * MIX_ROWS > 8 ? MIX_VECS * MIX_ROWS : 8,
};

/* `rows` queries from `row` on and KEY_VECS vectors of keys from `key` on. */
ALWAYS_INLINE void scores_tile(const struct slm_scores_args *args, load_fn load, size_t row, size_t key, const int rows)
{
    const size_t row_bytes = SLM_KEYS * (load == load_f16 ? 2 : 4);
    vec sum[KEY_ROWS * KEY_VECS];
    const float *q = args->q + row * args->head_dim;
    UNROLL for (int i = 0; i < rows * KEY_VECS; i++) sum[i] = vec_set1(0.0f);
    for (size_t d = 0; d < args->head_dim; d++) {
        vec k[KEY_VECS];
        UNROLL for (size_t line = 0; line < row_bytes; line += 64) want(args->k, args->ahead + d * row_bytes + line);
        UNROLL for (int j = 0; j < KEY_VECS; j++)
            k[j] = load(args->k, d * SLM_KEYS + key + (size_t)j * VEC_LANES, VEC_LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            const vec x = vec_set1(q[(size_t)r * args->head_dim + d]);
            UNROLL for (int j = 0; j < KEY_VECS; j++) sum[r * KEY_VECS + j] = vec_fma(x, k[j], sum[r * KEY_VECS + j]);
        }
    }
    float *out = args->out + row * SLM_KEYS + key;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int j = 0; j < KEY_VECS; j++)
            vec_store(out + r * SLM_KEYS + j * VEC_LANES, vec_mul(sum[r * KEY_VECS + j], vec_set1(args->scale)));
}

/* All keys of the page. */
ALWAYS_INLINE void scores_rows(const struct slm_scores_args *args, load_fn load, size_t row, const int rows)
{
    for (size_t key = 0; key < SLM_KEYS; key += KEY_VECS * VEC_LANES) scores_tile(args, load, row, key, rows);
}

/* Prefill comes with two dozen rows, decoding with the queries of one KV head: one to eight. */
ALWAYS_INLINE void scores(const struct slm_scores_args *args, load_fn load)
{
    size_t row = 0;
    for (; row + KEY_ROWS <= args->n_row; row += KEY_ROWS) scores_rows(args, load, row, KEY_ROWS);
    for (; row + 4 <= args->n_row; row += 4) scores_rows(args, load, row, 4);
    for (; row + 2 <= args->n_row; row += 2) scores_rows(args, load, row, 2);
    if (row < args->n_row) scores_rows(args, load, row, 1);
}

static void attn_scores_f32(const struct slm_scores_args *args) { scores(args, load_f32); }
static void attn_scores_f16(const struct slm_scores_args *args) { scores(args, load_f16); }

/* `rows` rows of the mix from `row` on, `vecs` vectors of the head from `at` on, `lanes` lanes of each. */
ALWAYS_INLINE void mix_tile(const struct slm_mix_args *args, load_fn load, size_t row, size_t at, const int rows,
                            const int vecs, size_t lanes)
{
    vec sum[MIX_SUMS];
    const size_t bytes = load == load_f16 ? 2 : 4;
    float *acc = args->acc + row * args->head_dim + at;
    const float *p = args->p + row * SLM_KEYS;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int j = 0; j < vecs; j++)
            sum[r * vecs + j] = load_f32(acc, (size_t)r * args->head_dim + (size_t)j * VEC_LANES, lanes);
    for (size_t i = 0; i < args->n; i++) {
        vec v[8];
        UNROLL for (size_t line = 0; line < (size_t)vecs * VEC_LANES * bytes; line += 64)
            want(args->v, args->ahead + (i * args->head_dim + at) * bytes + line);
        UNROLL for (int j = 0; j < vecs; j++)
            v[j] = load(args->v, i * args->head_dim + at + (size_t)j * VEC_LANES, lanes);
        UNROLL for (int r = 0; r < rows; r++) {
            const vec x = vec_set1(p[r * SLM_KEYS + i]);
            UNROLL for (int j = 0; j < vecs; j++) sum[r * vecs + j] = vec_fma(x, v[j], sum[r * vecs + j]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int j = 0; j < vecs; j++)
            store(acc + (size_t)r * args->head_dim + (size_t)j * VEC_LANES, sum[r * vecs + j], lanes);
}

/* Few rows take more vectors at once: chains enough to hide the latency of fma, and values that are read as they lie in
 * memory. */
ALWAYS_INLINE void mix_rows(const struct slm_mix_args *args, load_fn load, size_t row, const int rows)
{
    const int most = rows == 1 || (rows == 2 && VEC_LANES >= 16) ? 2 * MIX_VECS : MIX_VECS;
    size_t d = 0;
    for (; d + (size_t)most * VEC_LANES <= args->head_dim; d += (size_t)most * VEC_LANES)
        mix_tile(args, load, row, d, rows, most, VEC_LANES);
    for (; d + VEC_LANES <= args->head_dim; d += VEC_LANES) mix_tile(args, load, row, d, rows, 1, VEC_LANES);
    if (d < args->head_dim) mix_tile(args, load, row, d, rows, 1, args->head_dim - d);
}

/* Any number of rows; pairs for decoding. */
ALWAYS_INLINE void mix(const struct slm_mix_args *args, load_fn load)
{
    size_t row = 0;
    for (; row + MIX_ROWS <= args->n_row; row += MIX_ROWS) mix_rows(args, load, row, MIX_ROWS);
    for (; row + 2 <= args->n_row; row += 2) mix_rows(args, load, row, 2);
    if (row < args->n_row) mix_rows(args, load, row, 1);
}

static void attn_mix_f32(const struct slm_mix_args *args) { mix(args, load_f32); }
static void attn_mix_f16(const struct slm_mix_args *args) { mix(args, load_f16); }

/* Sums in the order of DOT16: a page is two rounds of its sixteen lanes. */
static float softmax_part(float *x, size_t n, float *max_io)
{
    float max = max_of(x, n);
    max = (*max_io > max ? *max_io : max) + 0.0f; /* -0 becomes +0, as in ref.c */
    *max_io = max;
    vec shift = vec_set1(max == -INFINITY ? 0.0f : max);
    struct v16 sum;
    UNROLL for (int p = 0; p < V16_PARTS; p++) sum.part[p] = vec_set1(0.0f);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        UNROLL for (int p = 0; p < V16_PARTS; p++) {
            vec e = vec_exp(vec_sub(vec_load(x + i + p * VEC_LANES), shift));
            vec_store(x + i + p * VEC_LANES, e);
            sum.part[p] = vec_add(sum.part[p], e);
        }
    }
    UNROLL for (int p = 0; p < V16_PARTS; p++) {
        size_t at = i + (size_t)p * VEC_LANES;
        if (at >= n) break;
        size_t lanes = n - at < VEC_LANES ? n - at : VEC_LANES;
        vec e = vec_exp(vec_sub(load_f32(x, at, lanes), shift));
        store(x + at, e, lanes);
        vec next = vec_add(sum.part[p], e);
        sum.part[p] = lanes == VEC_LANES ? next : vec_keep(next, sum.part[p], lanes);
    }
    return sum_lanes(&sum);
}
