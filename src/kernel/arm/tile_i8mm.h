/* SPDX-License-Identifier: MIT
 * The strip of an ISA with products of small matrices, part of the text of simd_int8.h: smmla adds two rows by two
 * tokens, eight elements of k each, to four int32. So a strip keeps pairs of rows, and everything of a tile stands as
 * row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1 until it is stored: as many lanes as a dot product fills,
 * with twice the products in each. The float chain of an output element is the same in any order of lanes. */

enum { PAIRS = TILE_TOKENS / 2, ROW_PAIRS = 2 * TILE_VECS };

/* Units of four rows from `row` on: [4][STRIP_ROWS][8], two units side by side, as code - zero: so no zero is left to
 * subtract, and the sums are the same integers. */
ALWAYS_INLINE void store_units(uint8_t *block, size_t row, const ivec unit[8], int zero)
{
    const ivec less = vdupq_n_u8((uint8_t)zero);
    UNROLL for (int j = 0; j < 8; j += 2) {
        uint8_t *dst = block + j * 4 * STRIP_ROWS + 8 * row;
        const uint32x4_t a = vreinterpretq_u32_u8(unit[j] - less), b = vreinterpretq_u32_u8(unit[j + 1] - less);
        ivec_store(dst, vreinterpretq_u8_u32(vzip1q_u32(a, b)));
        ivec_store(dst + 16, vreinterpretq_u8_u32(vzip2q_u32(a, b)));
    }
}

/* Numbers of two tokens, in the order of lanes. */
ALWAYS_INLINE vec two_tokens(const float *a, const float *b)
{
    const float32x2_t both = vld1_lane_f32(b, vld1_dup_f32(a), 1);
    return vcombine_f32(both, both);
}

/* Row pair r of the numbers of rows. */
ALWAYS_INLINE vec two_rows(const float *p, int r)
{
    const vec four = vec_load(p + r / 2 * VEC_LANES);
    return r % 2 ? vzip2q_f32(four, four) : vzip1q_f32(four, four);
}

/* Sums of the tile's tokens, from where the last chunk left them: rows that are not there are zero. */
ALWAYS_INLINE void load_sums(vec acc[PAIRS][ROW_PAIRS], const float *out, size_t stride, size_t n_row,
                             const int tokens)
{
    UNROLL for (int t = 0; t < tokens; t += 2)
        UNROLL for (int v = 0; v < TILE_VECS; v++) {
            const size_t lane = (size_t)v * VEC_LANES, rows = n_row > lane ? n_row - lane : 0;
            const vec a = load_rows(out + (size_t)t * stride + lane, rows);
            const vec b = t + 1 < tokens ? load_rows(out + (size_t)(t + 1) * stride + lane, rows) : a;
            acc[t / 2][2 * v] = vzip1q_f32(a, b);
            acc[t / 2][2 * v + 1] = vzip2q_f32(a, b);
        }
}

/* The way back: the even lanes of a pair of registers are one token's, the odd ones the other's. Of rows and tokens
 * that are not there nothing is written. */
ALWAYS_INLINE void store_sums(vec acc[PAIRS][ROW_PAIRS], float *out, size_t stride, size_t n_row, const int tokens)
{
    UNROLL for (int t = 0; t < tokens; t++)
        UNROLL for (int v = 0; v < TILE_VECS; v++) {
            const size_t lane = (size_t)v * VEC_LANES, rows = n_row > lane ? n_row - lane : 0;
            const vec a = acc[t / 2][2 * v], b = acc[t / 2][2 * v + 1];
            store_rows(out + (size_t)t * stride + lane, t % 2 ? vuzp2q_f32(a, b) : vuzp1q_f32(a, b), rows);
        }
}

/* Four rows by TILE_VECS with `tokens` tokens over the chunk. A token without another beside it goes twice. */
ALWAYS_INLINE void gemm_tile(const struct tile *tile, const struct form form, const int tokens)
{
    const struct strip *strip = tile->strip;
    const size_t first = strip->first_block, stride = tile->args->out_stride;
    const size_t n_row = strip->n_row - tile->row;
    const int n_half = form.half ? 2 : 1, n_pair = form.half ? 2 : 4;
    float *out = strip->out + tile->tok * stride + tile->row;
    struct slm_a8 a[TILE_TOKENS];
    vec acc[PAIRS][ROW_PAIRS];
    UNROLL for (int t = 0; t < tokens + tokens % 2; t++) {
        const size_t tok = tile->tok + (size_t)(t < tokens ? t : t - 1);
        a[t] = slm_a8_row((unsigned char *)(uintptr_t)(tile->args->x + tok * tile->args->x_stride), tile->args->k);
        UNROLL for (int r = 0; r < ROW_PAIRS; r++) acc[t / 2][r] = vec_set1(0.0f);
    }
    if (first) load_sums(acc, out, stride, n_row, tokens);
    const uint8_t *codes = strip->codes + tile->row * 8;
    const float *d = strip->d + tile->row, *m = strip->m + tile->row;
    for (size_t b = first; b < first + strip->n_blocks; b++) {
        want_share(tile, b - first);
        UNROLL for (int h = 0; h < n_half; h++, d += STRIP_ROWS, m += STRIP_ROWS) {
            const size_t at = form.half ? 2 * b + (size_t)h : b;
            int32x4_t sum[PAIRS][ROW_PAIRS];
            UNROLL for (int t = 0; t < tokens; t += 2)
                UNROLL for (int r = 0; r < ROW_PAIRS; r++) sum[t / 2][r] = vdupq_n_s32(0);
            UNROLL for (int j = 0; j < n_pair; j++, codes += 8 * STRIP_ROWS) {
                int8x16_t w[ROW_PAIRS];
                UNROLL for (int r = 0; r < ROW_PAIRS; r++) w[r] = vreinterpretq_s8_u8(ivec_load(codes + 16 * r));
                UNROLL for (int t = 0; t < tokens; t += 2) {
                    const size_t k = b * BLOCK + 8 * (size_t)(h * 2 + j);
                    const int8x16_t x = vcombine_s8(vld1_s8(a[t].q + k), vld1_s8(a[t + 1].q + k));
                    UNROLL for (int r = 0; r < ROW_PAIRS; r++)
                        sum[t / 2][r] = vmmlaq_s32(sum[t / 2][r], w[r], x);
                }
            }
            UNROLL for (int r = 0; r < ROW_PAIRS; r++) {
                const vec dr = two_rows(d, r);
                UNROLL for (int t = 0; t < tokens; t += 2) {
                    vec *to = &acc[t / 2][r];
                    *to = vec_fma(vcvtq_f32_s32(sum[t / 2][r]), vec_mul(dr, two_tokens(&a[t].d[b], &a[t + 1].d[b])),
                                  *to);
                    if (form.min)
                        *to = vec_fma(two_rows(m, r), form.half ? two_tokens(&a[t].s16[at], &a[t + 1].s16[at])
                                                                : two_tokens(&a[t].s[at], &a[t + 1].s[at]), *to);
                }
            }
        }
    }
    store_sums(acc, out, stride, n_row, tokens);
}

#include "kernel/simd_strip.h"
