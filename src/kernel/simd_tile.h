/* SPDX-License-Identifier: MIT
 * The strip of an ISA whose dot products add four pairs of bytes to an int32, part of the text of simd_int8.h: a unit
 * of a block is one load for every VEC_LANES rows, and a token's four codes are in all lanes. */

/* Units of VEC_LANES rows from `row` on: [8][STRIP_ROWS][4]. Codes stay without a sign. */
ALWAYS_INLINE void store_units(uint8_t *block, size_t row, const ivec unit[8], int zero)
{
    (void)zero;
    UNROLL for (int j = 0; j < 8; j++) ivec_store(block + j * 4 * STRIP_ROWS + 4 * row, unit[j]);
}

/* What the sums of each block, or half block, of a chunk start with. Once a tile, so that a start is one load there. */
ALWAYS_INLINE void fill_starts(int32_t *start, const int32_t *z, size_t n, int zero)
{
    for (size_t i = 0; i < n; i++) start[i] = -zero * z[i];
}

/* TILE_VECS registers of rows with `tokens` tokens over the chunk; sums go on from where the last chunk left out. */
ALWAYS_INLINE void gemm_tile(const struct tile *tile, const struct form form, const int tokens)
{
    const struct strip *strip = tile->strip;
    const size_t k = tile->args->k, first = strip->first_block;
    const int n_half = form.half ? 2 : 1, n_unit = form.half ? 4 : 8;
    struct slm_a8 a[TILE_TOKENS];
    int32_t starts[TILE_TOKENS][2 * CHUNK_BLOCKS];
    vec acc[TILE_TOKENS][TILE_VECS];
    float *out = strip->out + tile->tok * tile->args->out_stride + tile->row;
    const size_t stride = tile->args->out_stride;
    size_t rows[TILE_VECS];
    UNROLL for (int r = 0; r < TILE_VECS; r++) {
        const size_t lane = tile->row + (size_t)r * VEC_LANES;
        rows[r] = strip->n_row > lane ? strip->n_row - lane : 0;
    }
    UNROLL for (int t = 0; t < tokens; t++) {
        const unsigned char *x = tile->args->x + (tile->tok + (size_t)t) * tile->args->x_stride;
        a[t] = slm_a8_row((unsigned char *)(uintptr_t)x, k);
        if (tile->zero)
            fill_starts(starts[t], form.half ? a[t].z16 + 2 * first : a[t].z + first,
                        strip->n_blocks * (size_t)n_half, tile->zero);
        UNROLL for (int r = 0; r < TILE_VECS; r++)
            acc[t][r] = first == 0 ? vec_set1(0.0f) : load_rows(out + (size_t)t * stride + r * VEC_LANES, rows[r]);
    }
    const uint8_t *codes = strip->codes + tile->row * 4;
    const float *d = strip->d + tile->row, *m = strip->m + tile->row;
    for (size_t b = first; b < first + strip->n_blocks; b++) {
        want_share(tile, b - first);
        UNROLL for (int h = 0; h < n_half; h++, d += STRIP_ROWS, m += STRIP_ROWS) {
            ivec sum[TILE_TOKENS][TILE_VECS];
            UNROLL for (int t = 0; t < tokens; t++) {
                const ivec s = tile->zero ? ivec_load1(&starts[t][(b - first) * (size_t)n_half + (size_t)h])
                                          : ivec_set1(0);
                UNROLL for (int r = 0; r < TILE_VECS; r++) sum[t][r] = s;
            }
            UNROLL for (int j = 0; j < n_unit; j++, codes += 128) {
                ivec w[TILE_VECS];
                UNROLL for (int r = 0; r < TILE_VECS; r++) w[r] = ivec_load(codes + r * VEC_BYTES);
                UNROLL for (int t = 0; t < tokens; t++) {
                    const ivec x = ivec_load1(a[t].q + b * BLOCK + 4 * (h * 4 + j));
                    UNROLL for (int r = 0; r < TILE_VECS; r++) sum[t][r] = dot4(sum[t][r], w[r], x, form.wide);
                }
            }
            UNROLL for (int r = 0; r < TILE_VECS; r++) {
                const vec dr = vec_load(d + r * VEC_LANES);
                UNROLL for (int t = 0; t < tokens; t++) {
                    acc[t][r] = vec_fma(vec_from_i32(sum[t][r]), vec_mul(dr, vec_set1(a[t].d[b])), acc[t][r]);
                    if (form.min)
                        acc[t][r] = vec_fma(vec_load(m + r * VEC_LANES),
                                            vec_set1(form.half ? a[t].s16[2 * b + (size_t)h] : a[t].s[b]), acc[t][r]);
                }
            }
        }
    }
    UNROLL for (int t = 0; t < tokens; t++)
        UNROLL for (int r = 0; r < TILE_VECS; r++)
            store_rows(out + (size_t)t * stride + r * VEC_LANES, acc[t][r], rows[r]);
}

#include "kernel/simd_strip.h"
