/* SPDX-License-Identifier: MIT
 * The float kernels, written once for every vector ISA. A file such as x86/kernels_avx2.c defines what a vector
 * is and the few operations below and includes this text; all functions are static, so each ISA gets its own
 * copy, built with its flags. What makes this possible is the contract itself: DOT16 fixes sixteen lanes, and
 * struct v16 is those lanes as one, two or four vectors of the ISA, so that the code that follows keeps the
 * order of ref.c by construction.
 *
 * Tails: the *_n operations touch the first n elements only (0 < n < VEC_LANES), and vec_keep() leaves the
 * absent lanes of a sum as they were.
 *
 * The including file provides:
 *   vec, VEC_LANES                          one vector of f32: 4, 8 or 16 of them
 *   TILE_TOKENS                             4 * TILE_TOKENS accumulators and TILE_TOKENS + 1 vectors fit its registers
 *   vec_set1, vec_load, vec_load_n (absent lanes 0), vec_store, vec_store_n
 *   vec_add, vec_sub, vec_mul, vec_div, vec_fma(a, b, c) = a * b + c, vec_neg (the sign bit)
 *   vec_max(a, b)                           a > b ? a : b, so b where either is NaN
 *   vec_max_lanes(v)                        the greatest lane; none is NaN
 *   vec_keep(fresh, old, n)                 lanes below n of fresh, the others of old
 *   vec_equal_bits(a, b)                    bit i set where lane i is equal
 *   vec_load_f16(_n), vec_store_f16(_n), vec_load_bf16    16-bit elements at any address
 *   vec_load_pairs, vec_store_pairs         2 * VEC_LANES elements, parted by the parity of their index
 *   vec_add_exponent(p, t)                  the bits of p + (the bits of t << 23)
 *   vec_where_less(a, b, yes, no)           a < b ? yes : no, so no where either is NaN
 *   quad, quad_sum(a, b, c, d), quad_store; after this text quad_fold(v16): see sum_rows() */
enum { LANES = 16, V16_PARTS = LANES / VEC_LANES };

/* Sixteen lanes: lane j is lane j % VEC_LANES of part j / VEC_LANES. */
struct v16 {
    vec part[V16_PARTS];
};

ALWAYS_INLINE quad quad_fold(const struct v16 *v);

/* The end of DOT16 for four sums at once, because one alone would use a quarter of a register: quad_fold() adds lanes
 * j and j + 8, then j and j + 4, leaving four; quad_sum() finishes four of these, giving one sum a lane. */
ALWAYS_INLINE quad sum_rows(const struct v16 row[4])
{
    return quad_sum(quad_fold(&row[0]), quad_fold(&row[1]), quad_fold(&row[2]), quad_fold(&row[3]));
}

ALWAYS_INLINE float sum_lanes(const struct v16 *v)
{
    float sums[4];
    quad folded = quad_fold(v);
    quad_store(sums, quad_sum(folded, folded, folded, folded));
    return sums[0];
}

/* Loads n lanes from element `index` of an array of some type. n is the constant VEC_LANES inside loops, so that the
 * branch is not in the code, and less at the end. */
typedef vec (*load_fn)(const void *base, size_t index, size_t n);

ALWAYS_INLINE vec load_f32(const void *base, size_t index, size_t n)
{
    const float *p = (const float *)base + index;
    return n == VEC_LANES ? vec_load(p) : vec_load_n(p, n);
}

ALWAYS_INLINE vec load_f16(const void *base, size_t index, size_t n)
{
    const uint8_t *p = (const uint8_t *)base + 2 * index;
    return n == VEC_LANES ? vec_load_f16(p) : vec_load_f16_n(p, n);
}

ALWAYS_INLINE vec load_bf16(const void *base, size_t index, size_t n)
{
    const uint8_t *p = (const uint8_t *)base + 2 * index;
    uint16_t rest[VEC_LANES] = {0};
    if (n == VEC_LANES) return vec_load_bf16(p);
    memcpy(rest, p, n * sizeof rest[0]);
    return vec_load_bf16(rest);
}

ALWAYS_INLINE void store(float *p, vec v, size_t n)
{
    if (n == VEC_LANES) vec_store(p, v);
    else vec_store_n(p, v, n);
}

/* --- Dot products ---------------------------------------------------------------------------------------------
 * A tile is the products of a few rows with a few tokens, its accumulators kept in registers: rows * tokens chains
 * hide the latency of fma, and each loaded vector serves several of them. */

enum {
    TILE_ROWS = 4,    /* with TILE_TOKENS tokens */
    COLUMN_ROWS = 8,  /* with one token: enough chains for two fma a cycle of latency four */
    FAR_ROWS = 4,     /* the same from memory, which is what limits: fewer streams for the CPU to foresee */
    TILE_MAX = TILE_ROWS * TILE_TOKENS > COLUMN_ROWS ? TILE_ROWS * TILE_TOKENS : COLUMN_ROWS,
    /* Where sixteen lanes are several registers, the parts are summed one after the other, each with all
     * accumulators; in chunks of k that leave both operands in the L1 cache for the next part. */
    CHUNK = 512,
};

struct tile {
    const void *w;            /* rows, read by `load` from element w_first on */
    const float *x;           /* tokens */
    size_t w_first, w_stride, x_stride, k;
    bool far;                 /* rows come from memory, which is asked for the next ones meanwhile */
};

/* One vector of k: sum[t * rows + r] += w[r][k..k+n) * x[t][k..k+n). */
ALWAYS_INLINE void tile_step(vec *sum, const struct tile *tile, load_fn load, const int rows, const int tokens,
                             size_t k, size_t n)
{
    const size_t bytes = load == load_f32 ? 4 : 2;
    vec x[TILE_TOKENS];
    UNROLL for (int t = 0; t < tokens; t++) x[t] = load_f32(tile->x, (size_t)t * tile->x_stride + k, n);
    UNROLL for (int r = 0; r < rows; r++) {
        const size_t at = tile->w_first + (size_t)r * tile->w_stride + k;
        if (tile->far) want(tile->w, (at + (size_t)rows * tile->w_stride) * bytes);
        vec w = load(tile->w, at, n);
        UNROLL for (int t = 0; t < tokens; t++) {
            vec *lane = &sum[t * rows + r];
            vec next = vec_fma(w, x[t], *lane);
            *lane = n == VEC_LANES ? next : vec_keep(next, *lane, n);
        }
    }
}

/* Part p of the lanes over k_first..k_end. */
ALWAYS_INLINE void tile_part(struct v16 *sum, const struct tile *tile, load_fn load, const int rows, const int tokens,
                             const int p, size_t k_first, size_t k_end)
{
    vec acc[TILE_MAX];
    UNROLL for (int i = 0; i < rows * tokens; i++) acc[i] = sum[i].part[p];
    size_t k = k_first + (size_t)p * VEC_LANES;
    for (; k + VEC_LANES <= k_end; k += LANES) tile_step(acc, tile, load, rows, tokens, k, VEC_LANES);
    if (k < k_end) tile_step(acc, tile, load, rows, tokens, k, k_end - k);
    UNROLL for (int i = 0; i < rows * tokens; i++) sum[i].part[p] = acc[i];
}

/* sum[t * rows + r] = the sixteen lanes of row r with token t. */
ALWAYS_INLINE void tile_sums(struct v16 *sum, const struct tile *tile, load_fn load, const int rows, const int tokens)
{
    UNROLL for (int i = 0; i < rows * tokens; i++)
        UNROLL for (int p = 0; p < V16_PARTS; p++) sum[i].part[p] = vec_set1(0.0f);
    size_t chunk = V16_PARTS == 1 ? tile->k : CHUNK;
    for (size_t k = 0; k < tile->k; k += chunk) {
        size_t k_end = tile->k - k < chunk ? tile->k : k + chunk;
        UNROLL for (int p = 0; p < V16_PARTS; p++) tile_part(sum, tile, load, rows, tokens, p, k, k_end);
    }
}

/* One row with one token: here the parts go side by side, being the only chains there are. */
ALWAYS_INLINE float row_sum(const struct tile *tile, load_fn load)
{
    struct v16 sum;
    UNROLL for (int p = 0; p < V16_PARTS; p++) sum.part[p] = vec_set1(0.0f);
    size_t k = 0;
    for (; k + LANES <= tile->k; k += LANES)
        UNROLL for (int p = 0; p < V16_PARTS; p++) {
            size_t at = k + (size_t)p * VEC_LANES;
            vec w = load(tile->w, tile->w_first + at, VEC_LANES);
            sum.part[p] = vec_fma(w, load_f32(tile->x, at, VEC_LANES), sum.part[p]);
        }
    UNROLL for (int p = 0; p < V16_PARTS; p++) {
        size_t at = k + (size_t)p * VEC_LANES;
        if (at >= tile->k) break;
        size_t n = tile->k - at < VEC_LANES ? tile->k - at : VEC_LANES;
        vec next = vec_fma(load(tile->w, tile->w_first + at, n), load_f32(tile->x, at, n), sum.part[p]);
        sum.part[p] = n == VEC_LANES ? next : vec_keep(next, sum.part[p], n);
    }
    return sum_lanes(&sum);
}

/* out[i] = row i . token, i < n, `rows` at a time: one column of a product. */
ALWAYS_INLINE void column(float *out, struct tile tile, load_fn load, size_t n, const size_t rows)
{
    struct v16 sum[COLUMN_ROWS];
    size_t i = 0;
    for (; i + rows <= n; i += rows, tile.w_first += rows * tile.w_stride) {
        tile_sums(sum, &tile, load, (int)rows, 1);
        UNROLL for (size_t r = 0; r < rows; r += 4)
            quad_store(out + i + r, sum_rows(sum + r));
    }
    for (; i < n; i++, tile.w_first += tile.w_stride) out[i] = row_sum(&tile, load);
}

ALWAYS_INLINE void matmul_tile(const struct slm_matmul_args *args, load_fn load, size_t row, size_t tok,
                               const int tokens, const bool far)
{
    struct v16 sum[TILE_ROWS * TILE_TOKENS];
    struct tile tile = {args->w, args->x + tok * args->x_stride, row * args->w_stride, args->w_stride, args->x_stride,
                        args->k, far};
    tile_sums(sum, &tile, load, TILE_ROWS, tokens);
    float *out = args->out + tok * args->out_stride + row;
    UNROLL for (int t = 0; t < tokens; t++)
        quad_store(out + (size_t)t * args->out_stride, sum_rows(sum + t * TILE_ROWS));
}

/* Rows row..n_row of one token. */
ALWAYS_INLINE void matmul_column(const struct slm_matmul_args *args, load_fn load, size_t row, size_t tok,
                                 const bool far)
{
    struct tile tile = {args->w, args->x + tok * args->x_stride, row * args->w_stride, args->w_stride, 0, args->k,
                        far};
    column(args->out + tok * args->out_stride + row, tile, load, args->n_row - row, far ? FAR_ROWS : COLUMN_ROWS);
}

/* All rows of `tokens` tokens: rows inside, so that the tokens stay in the L1 cache while the weights pass by. */
ALWAYS_INLINE void matmul_tokens(const struct slm_matmul_args *args, load_fn load, size_t tok, const int tokens,
                                 const bool far)
{
    size_t row = 0;
    for (; row + TILE_ROWS <= args->n_row; row += TILE_ROWS) matmul_tile(args, load, row, tok, tokens, far);
    for (int t = 0; t < tokens; t++) matmul_column(args, load, row, tok + (size_t)t, far);
}

/* Halves are widened as they are loaded: a vector of weights serves all tokens of a tile. The first tile brings rows
 * that are far into the cache. */
ALWAYS_INLINE void products_of(const struct slm_matmul_args *args, load_fn load, const bool far)
{
    size_t tok = 0;
    if (TILE_TOKENS <= args->n_tok) {
        matmul_tokens(args, load, 0, TILE_TOKENS, far);
        tok = TILE_TOKENS;
    }
    for (; tok + TILE_TOKENS <= args->n_tok; tok += TILE_TOKENS) matmul_tokens(args, load, tok, TILE_TOKENS, false);
    for (; tok + 2 <= args->n_tok; tok += 2) matmul_tokens(args, load, tok, 2, far); /* read half as often */
    if (tok < args->n_tok) matmul_column(args, load, 0, tok, far);
}

ALWAYS_INLINE void products(const struct slm_matmul_args *args, load_fn load)
{
    if (args->far) products_of(args, load, true);
    else products_of(args, load, false);
}

static void matmul(const struct slm_matmul_args *args) { products(args, load_f32); }
static void matmul_f16(const struct slm_matmul_args *args) { products(args, load_f16); }
static void matmul_bf16(const struct slm_matmul_args *args) { products(args, load_bf16); }

/* --- Element by element ---------------------------------------------------------------------------------------
 * Each kernel is a step over `lanes` elements at i, run with the constant VEC_LANES and once with what is left. */

ALWAYS_INLINE void add_step(float *out, const float *a, const float *b, size_t i, size_t lanes)
{
    store(out + i, vec_add(load_f32(a, i, lanes), load_f32(b, i, lanes)), lanes);
}

static void add(float *out, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) add_step(out, a, b, i, VEC_LANES);
    if (i < n) add_step(out, a, b, i, n - i);
}

ALWAYS_INLINE void scale_step(float *out, const float *a, vec s, size_t i, size_t lanes)
{
    store(out + i, vec_mul(load_f32(a, i, lanes), s), lanes);
}

static void scale(float *out, const float *a, float s, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) scale_step(out, a, vec_set1(s), i, VEC_LANES);
    if (i < n) scale_step(out, a, vec_set1(s), i, n - i);
}

ALWAYS_INLINE void scale_weighted_step(float *out, const float *a, const float *w, vec s, size_t i, size_t lanes)
{
    store(out + i, vec_mul(vec_mul(load_f32(a, i, lanes), s), load_f32(w, i, lanes)), lanes);
}

static void rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    float r = 1.0f / sqrtf(row_sum(&(struct tile){x, x, 0, 0, 0, n, false}, load_f32) / (float)n + eps);
    if (!w) {
        scale(out, x, r, n);
        return;
    }
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) scale_weighted_step(out, x, w, vec_set1(r), i, VEC_LANES);
    if (i < n) scale_weighted_step(out, x, w, vec_set1(r), i, n - i);
}

/* slm_expf, operation by operation; its cases become two selects, since x + inf is +inf or, for NaN, NaN. */
ALWAYS_INLINE vec vec_exp(vec x)
{
    vec t = vec_fma(x, vec_set1(SLM_EXPF_LOG2E), vec_set1(SLM_EXPF_MAGIC));
    vec n = vec_sub(t, vec_set1(SLM_EXPF_MAGIC));
    vec r = vec_fma(n, vec_set1(-SLM_EXPF_LN2_HI), x);
    r = vec_fma(n, vec_set1(-SLM_EXPF_LN2_LO), r);
    vec p = vec_set1(SLM_EXPF_C6);
    p = vec_fma(p, r, vec_set1(SLM_EXPF_C5));
    p = vec_fma(p, r, vec_set1(SLM_EXPF_C4));
    p = vec_fma(p, r, vec_set1(SLM_EXPF_C3));
    p = vec_fma(p, r, vec_set1(SLM_EXPF_C2));
    p = vec_fma(p, r, vec_set1(1.0f));
    p = vec_fma(p, r, vec_set1(1.0f));
    vec y = vec_add_exponent(p, t);
    y = vec_where_less(vec_set1(SLM_EXPF_MIN), x, y, vec_set1(0.0f));
    return vec_where_less(x, vec_set1(SLM_EXPF_MAX), y, vec_add(x, vec_set1(INFINITY)));
}

ALWAYS_INLINE void swiglu_step(float *out, const float *gate, const float *up, size_t i, size_t lanes)
{
    vec g = load_f32(gate, i, lanes);
    vec e = vec_exp(vec_neg(g));
    store(out + i, vec_mul(vec_div(g, vec_add(vec_set1(1.0f), e)), load_f32(up, i, lanes)), lanes);
}

static void swiglu(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) swiglu_step(out, gate, up, i, VEC_LANES);
    if (i < n) swiglu_step(out, gate, up, i, n - i);
}

/* slm_tanhf: both branches are computed, each lane takes its own. */
ALWAYS_INLINE vec vec_tanh(vec x)
{
    vec zero = vec_set1(0.0f), a = vec_where_less(x, zero, vec_neg(x), x);
    vec small = vec_sub(x, vec_mul(vec_mul(vec_mul(x, x), x), vec_set1(1.0f / 3.0f)));
    vec e = vec_exp(vec_mul(vec_set1(2.0f), a));
    vec t = vec_sub(vec_set1(1.0f), vec_div(vec_set1(2.0f), vec_add(e, vec_set1(1.0f))));
    return vec_where_less(a, vec_set1(0.015625f), small, vec_where_less(x, zero, vec_neg(t), t));
}

ALWAYS_INLINE void geglu_step(float *out, const float *gate, const float *up, size_t i, size_t lanes)
{
    vec x = load_f32(gate, i, lanes), cube = vec_mul(vec_mul(x, x), x);
    vec inner = vec_mul(vec_set1(0.7978845608028654f), vec_fma(vec_set1(0.044715f), cube, x));
    vec g = vec_mul(vec_mul(vec_set1(0.5f), x), vec_add(vec_set1(1.0f), vec_tanh(inner)));
    store(out + i, vec_mul(g, load_f32(up, i, lanes)), lanes);
}

static void geglu(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) geglu_step(out, gate, up, i, VEC_LANES);
    if (i < n) geglu_step(out, gate, up, i, n - i);
}

ALWAYS_INLINE void relu2glu_step(float *out, const float *gate, const float *up, size_t i, size_t lanes)
{
    vec r = vec_max(vec_set1(0.0f), load_f32(gate, i, lanes)); /* in this order a NaN gate stays one */
    store(out + i, vec_mul(vec_mul(r, r), load_f32(up, i, lanes)), lanes);
}

static void relu2glu(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) relu2glu_step(out, gate, up, i, VEC_LANES);
    if (i < n) relu2glu_step(out, gate, up, i, n - i);
}

/* The greatest of max and the magnitudes of the first lanes; absent lanes are 0. */
ALWAYS_INLINE vec max_magnitude(vec max, const float *x, size_t i, size_t lanes)
{
    vec v = load_f32(x, i, lanes);
    return vec_max(vec_max(v, vec_neg(v)), max); /* NaN: the second operand of both */
}

ALWAYS_INLINE void quantize_step(float *codes, const float *x, float s, size_t i, size_t lanes)
{
    const vec shift = vec_set1(12582912.0f);
    vec v = vec_mul(load_f32(x, i, lanes), vec_set1(s));
    store(codes + i, vec_sub(vec_add(v, shift), shift), lanes);
}

static float quantize(float *codes, const float *x, size_t n)
{
    vec max = vec_set1(1e-5f);
    float lane[VEC_LANES], most = 1e-5f;
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) max = max_magnitude(max, x, i, VEC_LANES);
    if (i < n) max = max_magnitude(max, x, i, n - i);
    vec_store(lane, max);
    for (int j = 0; j < VEC_LANES; j++) most = lane[j] > most ? lane[j] : most;
    const float s = 127.0f / most;
    for (i = 0; i + VEC_LANES <= n; i += VEC_LANES) quantize_step(codes, x, s, i, VEC_LANES);
    if (i < n) quantize_step(codes, x, s, i, n - i);
    return s;
}

ALWAYS_INLINE void affine_step(float *x, float scale, float bias, size_t i, size_t lanes)
{
    store(x + i, vec_fma(load_f32(x, i, lanes), vec_set1(scale), vec_set1(bias)), lanes);
}

static void affine(float *x, const float *scales, const float *biases, size_t n_group, size_t group)
{
    for (size_t g = 0; g < n_group; g++, x += group) {
        size_t i = 0;
        for (; i + VEC_LANES <= group; i += VEC_LANES) affine_step(x, scales[g], biases[g], i, VEC_LANES);
        if (i < group) affine_step(x, scales[g], biases[g], i, group - i);
    }
}

ALWAYS_INLINE void softcap_step(float *out, const float *x, float cap, size_t i, size_t lanes)
{
    store(out + i, vec_mul(vec_set1(cap), vec_tanh(vec_div(load_f32(x, i, lanes), vec_set1(cap)))), lanes);
}

static void softcap(float *out, const float *x, float cap, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) softcap_step(out, x, cap, i, VEC_LANES);
    if (i < n) softcap_step(out, x, cap, i, n - i);
}

/* The rotation of rope, of one pair and of a vector of pairs. */
ALWAYS_INLINE void rotate_one(float *a, float *b, float cosine, float sine)
{
    float a_old = *a, b_old = *b;
    *a = fmaf(a_old, cosine, -(b_old * sine));
    *b = fmaf(a_old, sine, b_old * cosine);
}

ALWAYS_INLINE void rotate(vec *a, vec *b, vec cosine, vec sine)
{
    vec a_old = *a, b_old = *b;
    *a = vec_fma(a_old, cosine, vec_neg(vec_mul(b_old, sine)));
    *b = vec_fma(a_old, sine, vec_mul(b_old, cosine));
}

static void rope_neox(float *head, const float *cos_sin, size_t n_rot)
{
    size_t half = n_rot / 2, i = 0;
    for (; i + VEC_LANES <= half; i += VEC_LANES) {
        vec a = vec_load(head + i), b = vec_load(head + half + i);
        rotate(&a, &b, vec_load(cos_sin + i), vec_load(cos_sin + half + i));
        vec_store(head + i, a);
        vec_store(head + half + i, b);
    }
    for (; i < half; i++) rotate_one(&head[i], &head[i + half], cos_sin[i], cos_sin[i + half]);
}

static void rope_norm(float *head, const float *cos_sin, size_t n_rot)
{
    size_t half = n_rot / 2, i = 0;
    for (; i + VEC_LANES <= half; i += VEC_LANES) {
        vec a, b;
        vec_load_pairs(head + 2 * i, &a, &b);
        rotate(&a, &b, vec_load(cos_sin + i), vec_load(cos_sin + half + i));
        vec_store_pairs(head + 2 * i, a, b);
    }
    for (; i < half; i++) rotate_one(&head[2 * i], &head[2 * i + 1], cos_sin[i], cos_sin[i + half]);
}

static void f32_to_f16(uint16_t *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) vec_store_f16(dst + i, vec_load(src + i));
    if (i < n) vec_store_f16_n(dst + i, vec_load_n(src + i, n - i), n - i);
}

/* From halves at any address. */
ALWAYS_INLINE void convert_f16(float *dst, const void *src, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) vec_store(dst + i, load_f16(src, i, VEC_LANES));
    if (i < n) vec_store_n(dst + i, load_f16(src, i, n - i), n - i);
}

static void f16_to_f32(float *dst, const uint16_t *src, size_t n)
{
    convert_f16(dst, src, n);
}

/* --- Over a whole vector --------------------------------------------------------------------------------------*/

/* The greatest number of x[0..n), NaN left out; -inf when there is none. Of -0 and +0 either. */
static float max_of(const float *x, size_t n)
{
    enum { CHAINS = 4 };
    vec max[CHAINS];
    UNROLL for (int c = 0; c < CHAINS; c++) max[c] = vec_set1(-INFINITY);
    size_t i = 0;
    for (; i + CHAINS * VEC_LANES <= n; i += CHAINS * VEC_LANES)
        UNROLL for (int c = 0; c < CHAINS; c++) max[c] = vec_max(vec_load(x + i + (size_t)c * VEC_LANES), max[c]);
    for (; i + VEC_LANES <= n; i += VEC_LANES) max[0] = vec_max(vec_load(x + i), max[0]);
    if (i < n) max[0] = vec_keep(vec_max(vec_load_n(x + i, n - i), max[0]), max[0], n - i);

    return vec_max_lanes(vec_max(vec_max(max[0], max[1]), vec_max(max[2], max[3])));
}

/* Two passes: the greatest value, then where it first stands. Only when all are NaN it stands nowhere. */
static size_t argmax(const float *x, size_t n)
{
    float max = max_of(x, n);
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        unsigned bits = vec_equal_bits(vec_load(x + i), vec_set1(max));
        if (bits) return i + (size_t)__builtin_ctz(bits);
    }
    for (; i < n; i++)
        if (x[i] == max) return i;
    return 0;
}

#include "kernel/simd_attention.h"

static void fill_float(struct slm_kernels *table)
{
    table->matmul = matmul;
    table->matmul_f16 = matmul_f16;
    table->matmul_bf16 = matmul_bf16;
    table->rms_norm = rms_norm;
    table->add = add;
    table->scale = scale;
    table->swiglu = swiglu;
    table->geglu = geglu;
    table->relu2glu = relu2glu;
    table->quantize = quantize;
    table->affine = affine;
    table->softcap = softcap;
    table->rope_neox = rope_neox;
    table->rope_norm = rope_norm;
    table->f32_to_f16 = f32_to_f16;
    table->f16_to_f32 = f16_to_f32;
    table->softmax_part = softmax_part;
    table->attn_scores_f32 = attn_scores_f32;
    table->attn_scores_f16 = attn_scores_f16;
    table->attn_mix_f32 = attn_mix_f32;
    table->attn_mix_f16 = attn_mix_f16;
    table->argmax = argmax;
}
