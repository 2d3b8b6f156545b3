/* SPDX-License-Identifier: MIT
 * Products of packed weights (quant/panel.h) with int8 activations, written once for every vector ISA. A file such as
 * x86/kernels_avx512vnni.c defines a few operations and includes this text; all functions are static, so each ISA
 * gets its own copy, built with its flags.
 *
 * A register holds VEC_LANES rows of a panel: four codes of each as bytes, or one int32, or one float. So rows never
 * mix, and every lane follows the chain that ref_int8.c writes down: sums of codes exact, floats in the order of k.
 *
 * There are two ways through a matrix. With few tokens codes go from memory through registers into the products with
 * all of them: with one the memory is what limits, with eight the dot product. With many (gemm) two panels are opened
 * up in scratch, a chunk of k that fits the L1 cache at a time, and all tokens pass by, TILE_TOKENS tokens x TILE_VECS
 * registers of rows: codes are opened up once, and fewer registers do.
 *
 * The including file provides (vec, VEC_LANES, vec_*: see simd_float.h):
 *   ivec                                     the same register as bytes or int32
 *   ivec_load(p), ivec_store(p, v)           whole registers, at any address
 *   ivec_load1(p), ivec_set1(i)              four bytes at p, or an int32, in every lane
 *   ivec_and(v, mask), ivec_or, ivec_shr(v, n), ivec_shl(v, n)    bytes; what a shift brings over a byte's border is
 *                                            masked away by the caller
 *   ivec_lookup(table, v)                    table[16] at v < 16, by bytes
 *   ivec_add32(a, b)                        int32
 *   dot4(acc, w, x, wide)                    acc + the four products of unsigned w with signed x of each lane; codes
 *                                            above 127 only if wide
 *   DOT_SIGNED                               dot4 takes wide codes as w - 128, so that no zero is left to subtract
 *   vec_from_i32(v), vec_load_i8(p), vec_load_u8(p)    integers as floats, exactly
 *   vec_load_nibbles(p, low, high)           the halves of unsigned bytes
 *   ivec_from_vec(v)                         rounded to nearest even
 *   ivec_magnitude(v), ivec_max32(a, b), ivec_max_lanes(v), ivec_sum_lanes(v)    bits of |float|; unsigned maximum
 *   store_i8(p, v)                           the low bytes of the lanes
 *   GEMM_TOKENS                              from how many tokens on the second way is faster (docs/kernels.md)
 *   INT8_STRIP                               a text with another strip than simd_tile.h's, for products of
 *                                            matrices
 *   TILE_TOKENS, TILE_VECS                   2 * TILE_TOKENS * TILE_VECS + TILE_VECS + 2 registers or fewer */
#include "kernel/pack.h"

enum {
    BLOCK = 32,
    BLOCKS = SLM_GROUP / BLOCK,
    VEC_BYTES = 4 * VEC_LANES,
    PARTS = SLM_PANEL_ROWS / VEC_LANES,       /* registers of a panel */
    STRIP_ROWS = 2 * SLM_PANEL_ROWS,          /* rows opened up together */
    CHUNK_BLOCKS = SLM_PACK_CHUNK / BLOCK,
};

/* --- Activations ---------------------------------------------------------------------------------------------- */

/* `codes`: x are codes already. */
ALWAYS_INLINE void encode_block(const struct slm_a8 *row, size_t b, const float *x, const bool codes)
{
    enum { N = BLOCK / VEC_LANES };
    vec v[N];
    UNROLL for (int i = 0; i < N; i++) v[i] = vec_load(x + i * VEC_LANES);
    ivec most = ivec_magnitude(v[0]);
    UNROLL for (int i = 1; i < N; i++) most = ivec_max32(most, ivec_magnitude(v[i]));
    const uint32_t bits = ivec_max_lanes(most);
    const bool coded = (codes || bits >= SLM_A8_LEAST) && bits < SLM_F32_INF_BITS;
    const float scale_by = !coded || codes ? 1.0f : 127.0f / slm_bits_f32(bits);
    const float unit = codes ? 1.0f : slm_bits_f32(bits) / 127.0f;
    const float d = coded ? unit : bits < SLM_F32_INF_BITS ? 0.0f : NAN;
    int32_t sum[2] = {0, 0};
    UNROLL for (int i = 0; i < N; i++) {
        ivec q = coded ? ivec_from_vec(vec_mul(v[i], vec_set1(scale_by))) : ivec_set1(0);
        store_i8(row->q + b * BLOCK + i * VEC_LANES, q);
        sum[i / (N / 2)] += ivec_sum_lanes(q);
    }
    row->d[b] = d;
    row->z[b] = sum[0] + sum[1];
    row->s[b] = d * (float)row->z[b];
    UNROLL for (int h = 0; h < 2; h++) {
        row->z16[2 * b + (size_t)h] = sum[h];
        row->s16[2 * b + (size_t)h] = d * (float)sum[h];
    }
}

static void encode_a8(void *row, const float *x, size_t first, size_t n, size_t k)
{
    const struct slm_a8 a = slm_a8_row(row, k);
    for (size_t b = 0; b < n / BLOCK; b++) encode_block(&a, first / BLOCK + b, x + b * BLOCK, false);
}

static void encode_codes(void *row, const float *codes, size_t k)
{
    const struct slm_a8 a = slm_a8_row(row, k);
    for (size_t b = 0; b < k / BLOCK; b++) encode_block(&a, b, codes + b * BLOCK, true);
}

/* --- Opening weights ------------------------------------------------------------------------------------------ */

/* Everything about a type that the code below depends on; constants wherever it is inlined. */
struct type {
    enum slm_pack_codes codes;
    enum slm_pack_scales scales;
    int zero;
    bool iq4;
};

ALWAYS_INLINE bool is_wide(const struct type t) { return t.codes == SLM_CODES_8 || t.iq4; }
ALWAYS_INLINE bool has_zero(const struct type t) { return t.zero != 0 && !(DOT_SIGNED && is_wide(t)); }

/* The bits mask << at of each byte, brought down or up to bit `to`. */
ALWAYS_INLINE ivec bits_to(ivec v, const int at, const int to, const int mask)
{
    ivec moved = at > to ? ivec_shr(v, at - to) : at < to ? ivec_shl(v, to - at) : v;
    return ivec_and(moved, (uint8_t)(mask << to));
}

/* The eight units of a block for the rows of one register. */
ALWAYS_INLINE void open_codes(const struct type t, const uint8_t *block, ivec unit[8])
{
    const uint8_t *plane = block + (t.codes == SLM_CODES_3 ? 2 : 4) * 64;
    if (t.codes == SLM_CODES_8) {
        UNROLL for (int j = 0; j < 8; j++) unit[j] = ivec_load(block + j * 64);
    } else if (t.codes == SLM_CODES_2 || t.codes == SLM_CODES_3) {
        UNROLL for (int v = 0; v < 2; v++) {
            ivec pairs = ivec_load(block + v * 64);
            UNROLL for (int p = 0; p < 4; p++) unit[2 * p + v] = bits_to(pairs, 2 * p, 0, 3);
        }
    } else {
        UNROLL for (int v = 0; v < 4; v++) {
            ivec nibbles = ivec_load(block + v * 64);
            unit[v] = bits_to(nibbles, 0, 0, 15);
            unit[v + 4] = bits_to(nibbles, 4, 0, 15);
        }
    }
    if (t.codes == SLM_CODES_3 || t.codes == SLM_CODES_5) {
        ivec bits = ivec_load(plane);
        UNROLL for (int j = 0; j < 8; j++)
            unit[j] = ivec_or(unit[j], bits_to(bits, j, t.codes == SLM_CODES_3 ? 2 : 4, 1));
    }
    if (t.codes == SLM_CODES_6) {
        UNROLL for (int v = 0; v < 2; v++) {
            ivec pairs = ivec_load(plane + v * 64);
            UNROLL for (int p = 0; p < 4; p++)
                unit[2 * p + v] = ivec_or(unit[2 * p + v], bits_to(pairs, 2 * p, 4, 3));
        }
    }
    if (t.iq4) {
        /* slm_quant_iq4_values, with 128 added */
        static const uint8_t values[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
        UNROLL for (int j = 0; j < 8; j++) unit[j] = ivec_lookup(values, unit[j]);
    }
}

/* d and m (NULL where the type has none) of every block or half block of a group: `stride` floats from one to the
 * next. */
ALWAYS_INLINE void open_scales(const struct type t, const uint8_t *group, size_t n_blocks, float *d, float *m,
                               const size_t stride)
{
    const bool half = slm_pack_scales_half(t.scales);
    const size_t n = half ? 2 * n_blocks : n_blocks;
    UNROLL for (int p = 0; p < PARTS; p++) {
        const size_t lane = (size_t)p * VEC_LANES;
        const uint8_t *f16 = group + 2 * lane, *behind = f16 + (t.scales == SLM_SCALES_I8 ? 128 : 256);
        const bool direct = t.scales == SLM_SCALES_F16 || t.scales == SLM_SCALES_F16_MIN;
        const bool deep = !direct && t.scales != SLM_SCALES_GROUP;
        vec super = direct ? vec_set1(0.0f) : vec_load_f16(deep ? behind : f16), super_min = super;
        if (t.scales == SLM_SCALES_U8_MIN || t.scales == SLM_SCALES_NIBBLE_HALF)
            super_min = vec_neg(vec_load_f16(behind + 32));
        for (size_t i = 0; i < n; i++) {
            const uint8_t *small = group + i * SLM_PANEL_ROWS + lane;
            vec scale_of = super, min_of = super_min;
            if (direct) scale_of = vec_load_f16(f16 + i * 32);
            if (t.scales == SLM_SCALES_F16_MIN) min_of = vec_load_f16(f16 + (n_blocks + i) * 32);
            if (t.scales == SLM_SCALES_I8 || t.scales == SLM_SCALES_I8_HALF)
                scale_of = vec_mul(super, vec_load_i8(small));
            if (t.scales == SLM_SCALES_U8_MIN) {
                scale_of = vec_mul(super, vec_load_u8(small));
                min_of = vec_mul(super_min, vec_load_u8(small + 128));
            }
            if (t.scales == SLM_SCALES_NIBBLE_HALF) {
                vec low, high;
                vec_load_nibbles(small, &low, &high);
                scale_of = vec_mul(super, low);
                min_of = vec_mul(super_min, high);
            }
            vec_store(d + i * stride + lane, scale_of);
            if (slm_pack_scales_have_min(t.scales)) vec_store(m + i * stride + lane, min_of);
        }
    }
}

/* --- A few tokens --------------------------------------------------------------------------------------------- */

enum { FEW_TOKENS = GEMM_TOKENS > 8 ? 8 : 1 }; /* their sums and the codes of a block share the registers */

/* What the sums of a block start with: minus zero times the sum of the activations' codes. */
ALWAYS_INLINE ivec start(const struct type t, int32_t z)
{
    return has_zero(t) ? ivec_set1(-t.zero * z) : ivec_set1(0);
}

/* acc + the products of a block's codes with one token. */
ALWAYS_INLINE vec add_block(const struct type t, const ivec unit[8], const float *d, const float *m,
                            const struct slm_a8 *a, size_t b, vec acc)
{
    const bool half = slm_pack_scales_half(t.scales), wide = is_wide(t);
    ivec sum[2] = {start(t, half ? a->z16[2 * b] : a->z[b]), half ? start(t, a->z16[2 * b + 1]) : ivec_set1(0)};
    UNROLL for (int j = 0; j < 8; j++) { /* without halves the two sums are one, in two chains */
        const int s = half ? j / 4 : j % 2;
        sum[s] = dot4(sum[s], unit[j], ivec_load1(a->q + b * BLOCK + 4 * j), wide);
    }
    if (!half) sum[0] = ivec_add32(sum[0], sum[1]);
    const int n_sums = half ? 2 : 1;
    UNROLL for (int s = 0; s < n_sums; s++) {
        const vec by = vec_mul(vec_load(d + s * SLM_PANEL_ROWS), vec_set1(a->d[b]));
        acc = vec_fma(vec_from_i32(sum[s]), by, acc);
        if (slm_pack_scales_have_min(t.scales))
            acc =
                vec_fma(vec_load(m + s * SLM_PANEL_ROWS), vec_set1(half ? a->s16[2 * b + (size_t)s] : a->s[b]), acc);
    }
    return acc;
}

/* One panel with `tokens` tokens from `tok` on: codes are opened up in registers and meet all of them there. */
ALWAYS_INLINE void few_panel(const struct type t, const struct slm_packed_args *args, size_t row, size_t tok,
                             const int tokens)
{
    const size_t n_all = args->k / BLOCK, code_bytes = slm_pack_code_bytes(t.codes);
    const size_t per_block = slm_pack_scales_half(t.scales) ? 2 * SLM_PANEL_ROWS : SLM_PANEL_ROWS;
    const uint8_t *panel = args->w + row / SLM_PANEL_ROWS * args->panel_bytes;
    float d[2 * BLOCKS * SLM_PANEL_ROWS], m[2 * BLOCKS * SLM_PANEL_ROWS];
    struct slm_a8 a[FEW_TOKENS];
    vec acc[FEW_TOKENS][PARTS];
    UNROLL for (int i = 0; i < tokens; i++) {
        a[i] = slm_a8_row((unsigned char *)(uintptr_t)args->x + (tok + (size_t)i) * args->x_stride, args->k);
        UNROLL for (int p = 0; p < PARTS; p++) acc[i][p] = vec_set1(0.0f);
    }
    for (size_t first = 0; first < n_all; first += BLOCKS) {
        const size_t n = n_all - first < BLOCKS ? n_all - first : BLOCKS;
        open_scales(t, panel, n, d, m, SLM_PANEL_ROWS);
        const size_t scale_bytes = slm_pack_scale_bytes(t.scales, n);
        for (size_t line = 0; line < scale_bytes; line += 64) want(panel + line, args->ahead);
        panel += scale_bytes;
        for (size_t b = 0; b < n; b++, panel += code_bytes) {
            for (size_t line = 0; line < code_bytes; line += 64) want(panel + line, args->ahead);
            UNROLL for (int p = 0; p < PARTS; p++) {
                const size_t at = b * per_block + (size_t)p * VEC_LANES;
                ivec unit[8];
                open_codes(t, panel + p * VEC_BYTES, unit);
                UNROLL for (int i = 0; i < tokens; i++)
                    acc[i][p] = add_block(t, unit, d + at, m + at, &a[i], first + b, acc[i][p]);
            }
        }
    }
    const size_t rows = args->n_row - row;
    UNROLL for (int i = 0; i < tokens; i++) {
        float *out = args->out + (tok + (size_t)i) * args->out_stride + row;
        UNROLL for (int p = 0; p < PARTS; p++) {
            const size_t lane = (size_t)p * VEC_LANES;
            if (rows >= lane + VEC_LANES) vec_store(out + lane, acc[i][p]);
            else if (rows > lane) vec_store_n(out + lane, acc[i][p], rows - lane);
        }
    }
}

/* All tokens pass by a panel while it is in the L1 cache. */
ALWAYS_INLINE void few(const struct type t, const struct slm_packed_args *args)
{
    for (size_t row = 0; row < args->n_row; row += SLM_PANEL_ROWS) {
        size_t tok = 0;
        for (; tok + FEW_TOKENS <= args->n_tok; tok += FEW_TOKENS) few_panel(t, args, row, tok, FEW_TOKENS);
        if (FEW_TOKENS == 1) continue;
        if (tok + 4 <= args->n_tok) few_panel(t, args, row, tok, FEW_TOKENS < 4 ? 1 : 4), tok += 4;
        if (tok + 2 <= args->n_tok) few_panel(t, args, row, tok, FEW_TOKENS < 2 ? 1 : 2), tok += 2;
        if (tok < args->n_tok) few_panel(t, args, row, tok, 1);
    }
}

/* --- Many tokens ---------------------------------------------------------------------------------------------- */

/* Two panels over a chunk of k, opened up. */
struct strip {
    uint8_t *codes;     /* [n_blocks] of BLOCK * STRIP_ROWS bytes, in the order of store_units() */
    float *d, *m;       /* [n_blocks or twice that][STRIP_ROWS] */
    size_t n_blocks;    /* of this chunk */
    size_t first_block; /* of k */
    size_t n_row;       /* rows that exist */
    float *out;         /* of the first row */
    /* What is opened up next: so many bytes of the first panel from here on, and of the second behind panel_bytes. */
    const uint8_t *next;
    size_t next_bytes, panel_bytes;
};

/* How the products of opened codes go, whatever type they were: what is left of struct type. */
struct form {
    bool half, min, wide;
};

ALWAYS_INLINE struct form form_of(const struct type t)
{
    return (struct form){slm_pack_scales_half(t.scales), slm_pack_scales_have_min(t.scales), is_wide(t)};
}

ALWAYS_INLINE vec load_rows(const float *p, size_t n)
{
    return n >= VEC_LANES ? vec_load(p) : n ? vec_load_n(p, n) : vec_set1(0.0f);
}
ALWAYS_INLINE void store_rows(float *p, vec v, size_t n)
{
    if (n >= VEC_LANES) vec_store(p, v);
    else if (n) vec_store_n(p, v, n);
}

struct tile {
    const struct strip *strip;
    const struct slm_packed_args *args;
    size_t row, tok; /* first of the tile */
    int zero;        /* 0: none, else a power of two */
    size_t wanted, share; /* bytes of what is opened up next: asked for before this tile, and with each of its blocks */
};

/* So many bytes of what is opened up next are asked for while each of n blocks is multiplied: a line or two at a time,
 * because of many at once the CPU forgets some, and not before the tiles, where nobody would wait for them. */
ALWAYS_INLINE size_t share_of(const struct strip *strip, size_t n) { return (strip->next_bytes + n - 1) / n; }
ALWAYS_INLINE void want_share(const struct tile *tile, size_t i)
{
    const size_t first = tile->wanted + i * tile->share;
    for (size_t at = first; at < first + tile->share; at += 64) {
        want(tile->strip->next, at);
        want(tile->strip->next, at + tile->strip->panel_bytes);
    }
}

/* How a strip is laid out and multiplied: store_units() and gemm_strip(). */
#ifndef INT8_STRIP
#define INT8_STRIP "kernel/simd_tile.h"
#endif
#include INT8_STRIP

/* A group of n blocks of panel `side` (0 or 1), from block `at` of the strip on. */
ALWAYS_INLINE void open_group(const struct type t, const uint8_t *panel, size_t n, const struct strip *strip,
                              size_t at, size_t side)
{
    const size_t code_bytes = slm_pack_code_bytes(t.codes), scales = slm_pack_scales_half(t.scales) ? 2 : 1;
    const size_t to = at * scales * STRIP_ROWS + side * SLM_PANEL_ROWS;
    open_scales(t, panel, n, strip->d + to, strip->m + to, STRIP_ROWS);
    panel += slm_pack_scale_bytes(t.scales, n);
    for (size_t b = 0; b < n; b++, panel += code_bytes) {
        uint8_t *dst = strip->codes + (at + b) * BLOCK * STRIP_ROWS;
        UNROLL for (int p = 0; p < PARTS; p++) {
            ivec unit[8];
            open_codes(t, panel + p * VEC_BYTES, unit);
            store_units(dst, side * SLM_PANEL_ROWS + (size_t)p * VEC_LANES, unit, t.zero);
        }
    }
}

ALWAYS_INLINE void gemm(const struct type t, const struct slm_packed_args *args)
{
    const size_t panel_bytes = args->panel_bytes, code_bytes = slm_pack_code_bytes(t.codes);
    const size_t n_all = args->k / BLOCK, full_bytes = slm_pack_scale_bytes(t.scales, BLOCKS) + BLOCKS * code_bytes;
    struct strip strip = {.codes = args->scratch, .panel_bytes = panel_bytes};
    strip.d = (float *)(void *)(strip.codes + CHUNK_BLOCKS * 8 * 128);
    strip.m = strip.d + 2 * CHUNK_BLOCKS * STRIP_ROWS;
    for (size_t row = 0; row < args->n_row; row += STRIP_ROWS) {
        const uint8_t *panel = args->w + row / SLM_PANEL_ROWS * panel_bytes;
        strip.n_row = args->n_row - row < STRIP_ROWS ? args->n_row - row : STRIP_ROWS;
        strip.out = args->out + row;
        for (size_t first = 0; first < n_all; first += CHUNK_BLOCKS) {
            strip.first_block = first;
            strip.n_blocks = n_all - first < CHUNK_BLOCKS ? n_all - first : CHUNK_BLOCKS;
            for (size_t side = 0; side * SLM_PANEL_ROWS < strip.n_row; side++)
                for (size_t at = 0; at < strip.n_blocks; at += BLOCKS) {
                    const size_t left = strip.n_blocks - at, n = left < BLOCKS ? left : BLOCKS;
                    open_group(t, panel + side * panel_bytes + (first + at) / BLOCKS * full_bytes, n, &strip, at,
                               side);
                }
            const size_t end = first + CHUNK_BLOCKS;
            strip.next = end < n_all                      ? panel + end / BLOCKS * full_bytes
                         : row + STRIP_ROWS < args->n_row ? panel + 2 * panel_bytes
                                                          : (const uint8_t *)((uintptr_t)panel + args->ahead);
            strip.next_bytes = (strip.n_blocks + BLOCKS - 1) / BLOCKS * full_bytes;
            gemm_strip(&strip, args, form_of(t), has_zero(t) ? t.zero : 0);
        }
    }
}

ALWAYS_INLINE void matmul_packed(const struct type t, const struct slm_packed_args *args)
{
    if (args->n_tok < GEMM_TOKENS) few(t, args);
    else gemm(t, args);
}

/* --- Attention ------------------------------------------------------------------------------------------------ */

enum { MIX_ROWS = 2 * TILE_TOKENS }; /* sums of codes alone: the float sums wait in memory */

/* Codes of weights, and their scales. */
struct coded_rows {
    int8_t code[MIX_ROWS][SLM_KEYS];
    float scale[MIX_ROWS];
};

/* One row of p. */
ALWAYS_INLINE float code_weights(const struct slm_mix_i8_args *args, const float *p, int8_t *code)
{
    enum { N = SLM_KEYS / VEC_LANES };
    float seen[SLM_KEYS];
    vec w[N];
    UNROLL for (int i = 0; i < N; i++)
        w[i] = vec_mul(vec_load(p + i * VEC_LANES), vec_load(args->scales + i * VEC_LANES));
    if (args->n != SLM_KEYS) { /* what is not seen may be anything */
        memset(seen, 0, sizeof seen);
        for (size_t i = args->first; i < args->first + args->n; i++) seen[i] = p[i] * args->scales[i];
        UNROLL for (int i = 0; i < N; i++) w[i] = vec_load(seen + i * VEC_LANES);
    }
    ivec most = ivec_magnitude(w[0]);
    UNROLL for (int i = 1; i < N; i++) most = ivec_max32(most, ivec_magnitude(w[i]));
    const uint32_t bits = ivec_max_lanes(most);
    if (bits < SLM_A8_LEAST || bits >= SLM_F32_INF_BITS) {
        memset(code, 0, SLM_KEYS);
        return bits < SLM_F32_INF_BITS ? 0.0f : NAN;
    }
    const vec by = vec_set1(127.0f / slm_bits_f32(bits));
    UNROLL for (int i = 0; i < N; i++) store_i8(code + i * VEC_LANES, ivec_from_vec(vec_mul(w[i], by)));
    return slm_bits_f32(bits) * (1.0f / 127.0f);
}

/* `rows` rows of the mix from `row` on, TILE_VECS registers of the head from `at` on. Weights are the unsigned side of
 * the dot product, values the signed one: no zero to subtract, and 127 * 127 twice still fits 16 bits. */
ALWAYS_INLINE void mix_tile(const struct slm_mix_i8_args *args, const struct coded_rows *coded, size_t row, size_t at,
                            const int rows)
{
    ivec sum[MIX_ROWS][TILE_VECS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int j = 0; j < TILE_VECS; j++) sum[r][j] = ivec_set1(0);
    const int8_t *v = args->v + 4 * at;
    UNROLL for (int i = 0; i < SLM_KEYS / 4; i++, v += 4 * args->head_dim) {
        ivec values[TILE_VECS];
        UNROLL for (int j = 0; j < TILE_VECS; j++) {
            values[j] = ivec_load(v + j * VEC_BYTES);
            want(v + j * VEC_BYTES, args->ahead);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const ivec weight = ivec_load1(&coded->code[r][4 * i]);
            UNROLL for (int j = 0; j < TILE_VECS; j++) sum[r][j] = dot4(sum[r][j], weight, values[j], false);
        }
    }
    float *acc = args->acc + row * args->head_dim + at;
    UNROLL for (int r = 0; r < rows; r++, acc += args->head_dim)
        UNROLL for (int j = 0; j < TILE_VECS; j++)
            vec_store(acc + j * VEC_LANES,
                      vec_fma(vec_from_i32(sum[r][j]), vec_set1(coded->scale[r]), vec_load(acc + j * VEC_LANES)));
}

/* All of the head. */
ALWAYS_INLINE void mix_rows(const struct slm_mix_i8_args *args, size_t row, const int rows)
{
    struct coded_rows coded;
    for (size_t r = 0; r < (size_t)rows; r++)
        coded.scale[r] = code_weights(args, args->p + (row + r) * SLM_KEYS, coded.code[r]);
    for (size_t d = 0; d < args->head_dim; d += TILE_VECS * VEC_LANES) mix_tile(args, &coded, row, d, rows);
}

static void attn_mix_i8(const struct slm_mix_i8_args *args)
{
    size_t row = 0;
    for (; row + MIX_ROWS <= args->n_row; row += MIX_ROWS) mix_rows(args, row, MIX_ROWS);
    for (; row + 2 <= args->n_row; row += 2) mix_rows(args, row, 2);
    if (row < args->n_row) mix_rows(args, row, 1);
}

/* --- The limit ------------------------------------------------------------------------------------------------- */

/* A register that may have changed: what is computed from it is computed again. */
#if defined(__x86_64__)
#define MAY_CHANGE(v) __asm__ volatile("" : "+v"(v))
#else
#define MAY_CHANGE(v) __asm__ volatile("" : "+w"(v))
#endif

/* As many chains as hide the latency of a dot product and fit sixteen registers with its operands. */
static size_t peak_int8(size_t n)
{
    enum { CHAINS = 12 };
    ivec acc[CHAINS], w = ivec_set1(0x01020304), x = ivec_set1(0x04030201);
    UNROLL for (int c = 0; c < CHAINS; c++) acc[c] = ivec_set1(c);
    for (size_t i = 0; i < n; i++) {
        UNROLL for (int c = 0; c < CHAINS; c++) {
            MAY_CHANGE(w);
            acc[c] = dot4(acc[c], w, x, false);
        }
    }
    UNROLL for (int c = 0; c < CHAINS; c++) MAY_CHANGE(acc[c]);
    return n * CHAINS * VEC_BYTES;
}
#undef MAY_CHANGE

#define X(name, codes, scales, zero, iq4) \
    static void matmul_packed_##name(const struct slm_packed_args *args) \
    { \
        matmul_packed((struct type){SLM_CODES_##codes, SLM_SCALES_##scales, zero, iq4}, args); \
    }
SLM_PACK_TYPES(X)
#undef X

static void fill_int8(struct slm_kernels *table)
{
    table->encode_a8 = encode_a8;
    table->encode_codes = encode_codes;
    table->attn_mix_i8 = attn_mix_i8;
    table->peak_int8 = peak_int8;
#define X(name, codes, scales, zero, iq4) table->matmul_packed[SLM_DTYPE_##name] = matmul_packed_##name;
    SLM_PACK_TYPES(X)
#undef X
}
