/* SPDX-License-Identifier: MIT
 * All tokens pass by a strip, in tiles that keep their sums in registers: the end of such a text as simd_tile.h, which
 * provides gemm_tile(tile, form, tokens). Part of the text of simd_int8.h. */

typedef void (*tile_fn)(const struct tile *tile);

/* A function for every form and number of tokens: the codes of a type stay out of it. */
#define TILE(name, half, min, wide, tokens)                                                                          \
    static __attribute__((noinline)) void tile_##name##_##tokens(const struct tile *tile)                            \
    {                                                                                                                \
        if (tokens <= TILE_TOKENS)                                                                                   \
            gemm_tile(tile, (struct form){half, min, wide}, tokens <= TILE_TOKENS ? tokens : 1);                     \
    }
#define TILES(name, half, min, wide) \
    TILE(name, half, min, wide, 1) TILE(name, half, min, wide, 2) TILE(name, half, min, wide, 3) \
    TILE(name, half, min, wide, 4) TILE(name, half, min, wide, 5) TILE(name, half, min, wide, 6) \
    static const tile_fn tiles_##name[] = {NULL,          tile_##name##_1, tile_##name##_2, tile_##name##_3, \
                                           tile_##name##_4, tile_##name##_5, tile_##name##_6};
TILES(plain, false, false, false)
TILES(wide, false, false, true)
TILES(min, false, true, false)
TILES(half, true, false, false)
TILES(half_min, true, true, false)

static void pass_tokens(const struct strip *strip, const struct slm_packed_args *args, const tile_fn *tiles, int zero)
{
    enum { ROWS = TILE_VECS * VEC_LANES };
    const size_t n_tiles = (args->n_tok + TILE_TOKENS - 1) / TILE_TOKENS * ((strip->n_row + ROWS - 1) / ROWS);
    struct tile tile = {.strip = strip, .args = args, .zero = zero,
                        .share = share_of(strip, n_tiles * strip->n_blocks)};
    for (; tile.tok < args->n_tok; tile.tok += TILE_TOKENS) {
        const size_t left = args->n_tok - tile.tok, tokens = left < TILE_TOKENS ? left : TILE_TOKENS;
        for (tile.row = 0; tile.row < strip->n_row; tile.row += ROWS) {
            tiles[tokens](&tile);
            tile.wanted += strip->n_blocks * tile.share;
        }
    }
}

ALWAYS_INLINE void gemm_strip(const struct strip *strip, const struct slm_packed_args *args, const struct form form,
                              int zero)
{
    pass_tokens(strip, args,
                form.half ? form.min ? tiles_half_min : tiles_half
                : form.min ? tiles_min : form.wide ? tiles_wide : tiles_plain, zero);
}
