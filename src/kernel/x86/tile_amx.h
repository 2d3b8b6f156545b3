/* SPDX-License-Identifier: MIT
 * The strip of AMX, part of the text of simd_int8.h: one instruction multiplies up to 16 tokens with the 16 rows of a
 * panel. A unit of a block is a line of a tile as it stands in the panel, and a token's codes are one of the other
 * operand, so nothing is rearranged. What limits is the float chain: scales change every 32 elements of k (or 16), so
 * each product fills half a tile's depth (or a quarter) and its sums go through memory into registers, where a token
 * is a register. The sums of one block are stored while those of the next are computed.
 *
 * Codes are opened as code - zero, signed: no zero is left to subtract, and the sums are the same integers. */
_Static_assert(PARTS == 1, "a line of a tile is a register");

enum { LINES = 16 };

/* Units of the 16 rows from `row` on: [8][STRIP_ROWS][4]. */
ALWAYS_INLINE void store_units(uint8_t *block, size_t row, const ivec unit[8], int zero)
{
    UNROLL for (int j = 0; j < 8; j++)
        ivec_store(block + j * 4 * STRIP_ROWS + 4 * row, _mm512_sub_epi8(unit[j], _mm512_set1_epi8((char)zero)));
}

/* Tiles for `tokens` tokens. */
static void shape_tiles(const struct form form, size_t tokens)
{
    struct amx_shapes shapes = {.palette = 1};
    const uint16_t depth = form.half ? BLOCK / 2 : BLOCK;
    for (int i = 0; i < 2; i++) {
        shapes.line_bytes[i] = 64, shapes.lines[i] = (uint8_t)tokens;
        shapes.line_bytes[2 + i] = depth, shapes.lines[2 + i] = (uint8_t)tokens;
        shapes.line_bytes[4 + i] = 64, shapes.lines[4 + i] = (uint8_t)(depth / 4);
    }
    amx_shape(&shapes);
}

/* Up to 16 tokens from tile->tok on with the 16 rows from tile->row on, over the chunk. Tokens that are not there are
 * computed along, as copies of the first. */
ALWAYS_INLINE void gemm_tile(const struct tile *tile, const struct form form, size_t tokens)
{
    const struct strip *strip = tile->strip;
    const struct slm_packed_args *args = tile->args;
    const size_t n = form.half ? 2 * strip->n_blocks : strip->n_blocks, depth = form.half ? BLOCK / 2 : BLOCK;
    const size_t first = form.half ? 2 * strip->first_block : strip->first_block, rows = strip->n_row - tile->row;
    float *out = strip->out + tile->tok * args->out_stride + tile->row;
    _Alignas(64) int32_t sums[2][LINES * 16];
    struct slm_a8 a[LINES];
    vec acc[LINES];
    memset(sums, 0, sizeof sums);
    UNROLL for (size_t t = 0; t < LINES; t++) {
        const size_t tok = t < tokens ? t : 0;
        a[t] = slm_a8_row((unsigned char *)(uintptr_t)args->x + (tile->tok + tok) * args->x_stride, args->k);
        acc[t] = first ? load_rows(out + tok * args->out_stride, rows) : vec_set1(0.0f);
    }
    const uint8_t *w = strip->codes + 4 * tile->row;
    const float *d = strip->d + tile->row, *m = strip->m + tile->row;
    const int8_t *x = a[0].q + first * depth;
    for (size_t i = 0; i <= n; i++) {
        const size_t at = first + i - 1; /* of the sums that are ready */
        if (i < n) {
            want_share(tile, i);
            if (i % 2 == 0) amx_multiply(0, x + i * depth, args->x_stride, w + i * depth * STRIP_ROWS, 4 * STRIP_ROWS);
            else amx_multiply(1, x + i * depth, args->x_stride, w + i * depth * STRIP_ROWS, 4 * STRIP_ROWS);
        }
        if (i == 0) continue;
        if (i % 2 == 0) amx_store(1, sums[1]);
        else amx_store(0, sums[0]);
        const vec dr = vec_load(d + (i - 1) * STRIP_ROWS);
        UNROLL for (int t = 0; t < LINES; t++) {
            const vec by = vec_mul(dr, vec_set1(a[t].d[form.half ? at / 2 : at]));
            acc[t] = vec_fma(vec_from_i32(ivec_load(sums[(i - 1) % 2] + 16 * t)), by, acc[t]);
            if (form.min)
                acc[t] = vec_fma(vec_load(m + (i - 1) * STRIP_ROWS), vec_set1(form.half ? a[t].s16[at] : a[t].s[at]),
                                 acc[t]);
        }
    }
    UNROLL for (size_t t = 0; t < LINES; t++)
        if (t < tokens) store_rows(out + t * args->out_stride, acc[t], rows);
}

#define TILE(name, half, min)                                                                 \
    static __attribute__((noinline)) void tile_##name(const struct tile *tile, size_t tokens) \
    {                                                                                         \
        gemm_tile(tile, (struct form){half, min, false}, tokens);                             \
    }
TILE(plain, false, false)
TILE(min, false, true)
TILE(half, true, false)
TILE(half_min, true, true)

/* All tokens pass by a strip. */
ALWAYS_INLINE void gemm_strip(const struct strip *strip, const struct slm_packed_args *args, const struct form form,
                              int zero)
{
    const size_t n = strip->n_blocks * (form.half ? 2 : 1);
    const size_t n_tiles = (args->n_tok + LINES - 1) / LINES * ((strip->n_row + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS);
    struct tile tile = {.strip = strip, .args = args, .share = share_of(strip, n_tiles * n)};
    size_t shaped = 0;
    (void)zero;
    for (; tile.tok < args->n_tok; tile.tok += LINES) {
        const size_t left = args->n_tok - tile.tok, tokens = left < LINES ? left : LINES;
        if (tokens != shaped) shape_tiles(form, tokens);
        shaped = tokens;
        for (tile.row = 0; tile.row < strip->n_row; tile.row += SLM_PANEL_ROWS, tile.wanted += n * tile.share) {
            if (form.half && form.min) tile_half_min(&tile, tokens);
            else if (form.half) tile_half(&tile, tokens);
            else if (form.min) tile_min(&tile, tokens);
            else tile_plain(&tile, tokens);
        }
    }
    amx_release();
}
