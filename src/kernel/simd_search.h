/* SPDX-License-Identifier: MIT
 * The search for scales that lose least: text of every encode_*.c, compiled once for each vector ISA.
 *
 * Sixteen sub-blocks (16, 32 elements each) are laid side by side, so that element j of sub-block s is at [j][s]: a
 * lane is a sub-block, every lane does its own sums in the order of its elements, and the bits are the same whatever
 * the width of a vector. No fma, so that plain SSE2 gives them too at the speed of vectors.
 *
 * What is minimised is the sum of w * (x - y)^2 over a sub-block, y being what the decoder makes of it. For given codes
 * the best scale (and min) is a least-squares fit in closed form; for a given scale the best codes are the nearest
 * ones. So a search tries a row of scales, rounds, fits, keeps the fit that explains most of the input, and then
 * alternates between the two until nothing is gained: the best of several local minima, found in some twenty passes
 * over registers.
 *
 * Deliberately not here: how codes and scales are packed (simd_encode.h). */
#include "quant/block.h"

enum { LANES = 16 };

/* Sub-blocks on their way. len is 16 or 32, the same for all. */
struct group {
    _Alignas(64) float x[32][LANES], w[32][LANES], q[32][LANES];
    bool weighed; /* else w is not filled: all weights are 1 */
};

/* A row of constants says which codes a type has and which scales are worth trying: id = tries[i] / extreme. */
struct code_range { float lo, hi; const float *tries; size_t n_tries; };

ALWAYS_INLINE vec vec_abs(vec a) { return vec_max(a, vec_neg(a)); }
/* NaN becomes lo. */
ALWAYS_INLINE vec nearest_code(vec t, vec lo, vec hi) { return vec_round(vec_min(vec_max(t, lo), hi)); }
/* 1 / a, 0 where a is 0. */
ALWAYS_INLINE vec inverse(vec a)
{
    const vec zero = vec_set1(0);
    return vec_where_less(zero, vec_abs(a), vec_div(vec_set1(1), a), zero);
}

/* Element j at [s][j] to [j][s], 4 x 4 at a time. */
ALWAYS_INLINE void lay_side_by_side(float to[32][LANES], const float *x, size_t len)
{
    for (size_t s = 0; s < LANES; s += 4)
        for (size_t j = 0; j < len; j += 4) {
            const float *from = x + s * len + j;
            f32x4 a, b, c, d;
            memcpy(&a, from, sizeof a), memcpy(&b, from + len, sizeof b);
            memcpy(&c, from + 2 * len, sizeof c), memcpy(&d, from + 3 * len, sizeof d);
            const f32x4 ab = SHUFFLE(a, b, 0, 4, 1, 5), ab_high = SHUFFLE(a, b, 2, 6, 3, 7);
            const f32x4 cd = SHUFFLE(c, d, 0, 4, 1, 5), cd_high = SHUFFLE(c, d, 2, 6, 3, 7);
            const f32x4 out[4] = {SHUFFLE(ab, cd, 0, 1, 4, 5), SHUFFLE(ab, cd, 2, 3, 6, 7),
                                  SHUFFLE(ab_high, cd_high, 0, 1, 4, 5), SHUFFLE(ab_high, cd_high, 2, 3, 6, 7)};
            UNROLL for (size_t i = 0; i < 4; i++) memcpy(&to[j + i][s], &out[i], sizeof *out);
        }
}

/* A value of element j times its weight, which a group without any is spared. */
ALWAYS_INLINE vec weigh(const struct group *g, size_t j, size_t at, vec value)
{
    return g->weighed ? vec_mul(vec_load(&g->w[j][at]), value) : value;
}

/* n <= 16 sub-blocks of len elements; lanes without one get zeros. */
ALWAYS_INLINE void gather(struct group *g, const float *x, const float *w, size_t n, size_t len)
{
    g->weighed = w != NULL;
    if (n < LANES) {
        float padded[2][LANES * 32] = {{0}};
        memcpy(padded[0], x, n * len * sizeof *x);
        if (w) memcpy(padded[1], w, n * len * sizeof *w);
        lay_side_by_side(g->x, padded[0], len);
        lay_side_by_side(g->w, padded[1], len);
        return;
    }
    lay_side_by_side(g->x, x, len);
    if (w) lay_side_by_side(g->w, w, len);
}

/* The level of IQ4 nearest to t, of 16; levels and the middles between them stand in constants. */
ALWAYS_INLINE vec nearest_level(vec t)
{
    vec level = vec_set1(slm_quant_iq4_values[0]);
    UNROLL for (int i = 1; i < 16; i++) {
        const float low = slm_quant_iq4_values[i - 1], high = slm_quant_iq4_values[i];
        level = vec_where_less(vec_set1((low + high) * 0.5f), t, vec_set1(high), level);
    }
    return level;
}

/* What a code stands for, before the scale: an integer, or a level of the table. */
ALWAYS_INLINE vec code_of(vec t, vec lo, vec hi, bool levels)
{
    return levels ? nearest_level(t) : nearest_code(t, lo, hi);
}

/* ---- one scale: x = d * q ---- */

/* n tries side by side keep the adders busy, which one chain of sums would leave waiting for itself. */
enum { ABREAST = 4 };

/* Rounds with 1/d = ids[i] and fits d again, for each of n. Where that explains more than *gain, *gain and *d become
 * the fit's; of equals the first counts. */
ALWAYS_INLINE void try_scales(const struct group *g, size_t at, size_t len, const vec *ids, size_t n,
                              const struct code_range *r, bool levels, vec *gain, vec *d)
{
    const vec lo = vec_set1(r->lo), hi = vec_set1(r->hi);
    vec xq[ABREAST], qq[ABREAST];
    UNROLL for (size_t i = 0; i < n; i++) xq[i] = qq[i] = vec_set1(0);
    for (size_t j = 0; j < len; j++) {
        const vec x = vec_load(&g->x[j][at]);
        UNROLL for (size_t i = 0; i < n; i++) {
            const vec q = code_of(vec_mul(x, ids[i]), lo, hi, levels), wq = weigh(g, j, at, q);
            xq[i] = vec_add(xq[i], vec_mul(wq, x));
            qq[i] = vec_add(qq[i], vec_mul(wq, q));
        }
    }
    UNROLL for (size_t i = 0; i < n; i++) {
        const vec fit = vec_mul(xq[i], inverse(qq[i])), new_gain = vec_mul(fit, xq[i]);
        *d = vec_where_less(*gain, new_gain, fit, *d);
        *gain = vec_where_less(*gain, new_gain, new_gain, *gain);
    }
}

/* The element of greatest magnitude with its sign. */
ALWAYS_INLINE vec extreme(const struct group *g, size_t at, size_t len)
{
    vec most = vec_set1(0), value = vec_set1(0);
    for (size_t j = 0; j < len; j++) {
        const vec x = vec_load(&g->x[j][at]), a = vec_abs(x);
        value = vec_where_less(most, a, x, value);
        most = vec_max(a, most);
    }
    return value;
}

/* d[LANES]: scales for codes lo..hi. */
ALWAYS_INLINE void search_scale(const struct group *g, size_t len, const struct code_range *r, bool levels,
                                float *d)
{
    for (size_t at = 0; at < LANES; at += VEC_LANES) {
        const vec over = inverse(extreme(g, at, len));
        vec gain = vec_set1(0), best = vec_set1(0);
        size_t i = 0;
        vec ids[ABREAST];
        for (; i + ABREAST <= r->n_tries; i += ABREAST) {
            UNROLL for (size_t k = 0; k < ABREAST; k++) ids[k] = vec_mul(vec_set1(r->tries[i + k]), over);
            try_scales(g, at, len, ids, ABREAST, r, levels, &gain, &best);
        }
        for (; i < r->n_tries + 2; i++) {
            ids[0] = i < r->n_tries ? vec_mul(vec_set1(r->tries[i]), over) : inverse(best);
            try_scales(g, at, len, ids, 1, r, levels, &gain, &best);
        }
        vec_store(d + at, best);
    }
}

/* error[LANES] of the codes nearest for these scales and mins: sum of w * (x - (d * q + m))^2. */
ALWAYS_INLINE vec error_of(const struct group *g, size_t at, size_t len, vec d, vec m, const struct code_range *r,
                           bool levels)
{
    const vec id = inverse(d), lo = vec_set1(r->lo), hi = vec_set1(r->hi);
    vec error = vec_set1(0);
    for (size_t j = 0; j < len; j++) {
        const vec x = vec_sub(vec_load(&g->x[j][at]), m);
        const vec e = vec_sub(x, vec_mul(d, code_of(vec_mul(x, id), lo, hi, levels)));
        error = vec_add(error, weigh(g, j, at, vec_mul(e, e)));
    }
    return error;
}

/* g->q: the codes for these scales and mins (m may be NULL). */
ALWAYS_INLINE void assign_codes(struct group *g, size_t len, const float *d, const float *m,
                                const struct code_range *r, bool levels)
{
    for (size_t at = 0; at < LANES; at += VEC_LANES) {
        const vec id = inverse(vec_load(d + at)), lo = vec_set1(r->lo), hi = vec_set1(r->hi);
        const vec min = m ? vec_load(m + at) : vec_set1(0);
        for (size_t j = 0; j < len; j++) {
            const vec x = vec_sub(vec_load(&g->x[j][at]), min);
            vec_store(&g->q[j][at], code_of(vec_mul(x, id), lo, hi, levels));
        }
    }
}

/* ---- a scale and a min: x = d * q + m ---- */

struct affine {
    vec sw, sx;      /* sums of w and of w * x: the same for all fits */
    vec gain, d, m;  /* the best fit */
};

/* How a range is cut that is longer than the codes reach: at the upper end, at both, at the lower. */
enum { CUTS = 3 };

/* What the sums over rounded codes (of w q, w q q, w q x) say of scale and min, min <= 0 where `below`. */
ALWAYS_INLINE void fit_affine(vec q1, vec q2, vec qx, bool below, struct affine *best)
{
    const vec zero = vec_set1(0), over = inverse(vec_sub(vec_mul(best->sw, q2), vec_mul(q1, q1)));
    vec fit_d = vec_mul(vec_sub(vec_mul(best->sw, qx), vec_mul(best->sx, q1)), over);
    vec fit_m = vec_mul(vec_sub(vec_mul(q2, best->sx), vec_mul(q1, qx)), over);
    if (below) { /* the best fit through zero where the free one has a min that cannot be stored */
        const vec alone = vec_mul(qx, inverse(q2));
        fit_d = vec_where_less(zero, fit_m, alone, fit_d);
        fit_m = vec_min(fit_m, zero);
    }
    const vec gain = vec_add(vec_mul(fit_d, qx), vec_mul(fit_m, best->sx));
    best->d = vec_where_less(best->gain, gain, fit_d, best->d);
    best->m = vec_where_less(best->gain, gain, fit_m, best->m);
    best->gain = vec_where_less(best->gain, gain, gain, best->gain);
}

/* Rounds with 1/d = id and min m[i] and fits both again, for each of n. */
ALWAYS_INLINE void try_affine(const struct group *g, size_t at, size_t len, vec id, const vec *m, size_t n, vec hi,
                              bool below, struct affine *best)
{
    const vec zero = vec_set1(0);
    vec q1[CUTS], q2[CUTS], qx[CUTS];
    UNROLL for (size_t i = 0; i < n; i++) q1[i] = q2[i] = qx[i] = zero;
    for (size_t j = 0; j < len; j++) {
        const vec x = vec_load(&g->x[j][at]);
        UNROLL for (size_t i = 0; i < n; i++) {
            const vec q = nearest_code(vec_mul(vec_sub(x, m[i]), id), zero, hi), wq = weigh(g, j, at, q);
            q1[i] = vec_add(q1[i], wq);
            q2[i] = vec_add(q2[i], vec_mul(wq, q));
            qx[i] = vec_add(qx[i], vec_mul(wq, x));
        }
    }
    UNROLL for (size_t i = 0; i < n; i++) fit_affine(q1[i], q2[i], qx[i], below, best);
}

/* d[LANES], m[LANES] for codes 0..r->hi. */
ALWAYS_INLINE void search_affine(const struct group *g, size_t len, const struct code_range *r, bool below,
                                 float *d, float *m)
{
    const vec zero = vec_set1(0), hi = vec_set1(r->hi);
    for (size_t at = 0; at < LANES; at += VEC_LANES) {
        vec min = vec_load(&g->x[0][at]), max = min, sw = zero, sx = zero;
        for (size_t j = 0; j < len; j++) {
            const vec x = vec_load(&g->x[j][at]);
            sw = vec_add(sw, weigh(g, j, at, vec_set1(1)));
            sx = vec_add(sx, weigh(g, j, at, x));
            min = vec_min(x, min);
            max = vec_max(x, max);
        }
        if (below) min = vec_min(min, zero);
        const vec span = vec_sub(max, min), over = inverse(span);
        struct affine best = {sw, sx, vec_set1(-1), vec_mul(span, vec_set1(1 / r->hi)), min};
        for (size_t i = 0; i < r->n_tries; i++) {
            const vec id = vec_mul(vec_set1(r->tries[i]), over), spare = vec_sub(span, vec_mul(hi, inverse(id)));
            vec mins[CUTS];
            UNROLL for (int cut = 0; cut < CUTS; cut++)
                mins[cut] = vec_add(min, vec_mul(spare, vec_set1(0.5f * (float)cut)));
            try_affine(g, at, len, id, mins, CUTS, hi, below, &best);
        }
        for (int i = 0; i < 3; i++) {
            const vec fitted = best.m;
            try_affine(g, at, len, inverse(best.d), &fitted, 1, hi, below, &best);
        }
        vec_store(d + at, best.d);
        vec_store(m + at, best.m);
    }
}
