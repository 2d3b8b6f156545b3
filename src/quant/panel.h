/* SPDX-License-Identifier: MIT
 * Panels: how quantized weights lie when int8 kernels read them, in memory and in packed files (R16K4). Layout only;
 * arithmetic is in the kernels, whose contracts refer to the words defined here.
 *
 * R16K4. Sixteen rows of a matrix make a panel. Along k a panel is a sequence of groups of 256 elements (the last may
 * be shorter, a multiple of 32): first the scales of the group, then the codes of its blocks of 32 elements. Codes
 * are unsigned and come in units of 64 bytes: unit j holds elements 4j .. 4j+3 of the block for all sixteen rows,
 * four bytes a row. That is one 512-bit register, two of 256 or four of 128, and what every int8 dot product
 * instruction wants. Narrow codes share bytes, always so that a unit comes out with shifts and masks of whole
 * registers:
 *   C8         8 vectors: unit j in vector j
 *   C4         4 vectors: unit j in the low nibbles of vector j, unit j + 4 in the high ones
 *   C2         2 vectors: unit j in bits 2(j/2) and up of vector j % 2
 *   bit plane  1 vector: bit j belongs to unit j (after C4: the fifth bit of codes; after C2: the third)
 *   pair plane 2 vectors: as C2 (after C4: bits five and six)
 *
 * What a code means: w = d * (code - zero) or w = d * code + m, with d and m for each 32 or each 16 elements.
 * Scales are the file's own numbers in another order, so nothing is lost; TQ1_0 alone grows (to two bits a code).
 *
 * Packed files hold this layout, so it cannot change without another SLM_PANEL_LAYOUT. */
#ifndef SLM_QUANT_PANEL_H
#define SLM_QUANT_PANEL_H
#include "quant/quant.h"

enum { SLM_PANEL_ROWS = 16, SLM_GROUP = 256, SLM_PANEL_LAYOUT = 1, SLM_PANEL_ALIGN = 64 };

/* How codes lie, and where scales come from. */
enum slm_pack_codes { SLM_CODES_NONE, SLM_CODES_2, SLM_CODES_3, SLM_CODES_4, SLM_CODES_5, SLM_CODES_6, SLM_CODES_8 };
enum slm_pack_scales {
    SLM_SCALES_F16,         /* [n_blocks][16] f16 d */
    SLM_SCALES_F16_MIN,     /* [n_blocks][16] f16 d, then the same of m */
    SLM_SCALES_GROUP,       /* [16] f16 d of the whole group */
    SLM_SCALES_I8,          /* [8][16] i8, [16] f16: d is their product */
    SLM_SCALES_U8_MIN,      /* [8][16] u8 scales, [8][16] u8 mins, [16] f16 d, [16] f16 dmin: m = -(dmin * min) */
    SLM_SCALES_I8_HALF,     /* [16][16] i8, one for each 16 elements, [16] f16 */
    SLM_SCALES_NIBBLE_HALF, /* [16][16] u8: scale and min << 4 for each 16 elements, [16] f16 d, [16] f16 dmin */
    SLM_SCALES_COUNT
};

struct slm_pack_type {
    enum slm_pack_codes codes; /* NONE: the type is not packed */
    enum slm_pack_scales scales;
    uint8_t zero;              /* of codes without a min: a power of two; 0 for codes with one */
    bool iq4;                  /* nibbles are indices of slm_quant_iq4_values, which have 128 added to them */
};
/* X(NAME, codes, scales, zero, iq4): the types int8 kernels exist for. */
#define SLM_PACK_TYPES(X) \
    X(Q4_0, 4, F16, 8, 0) X(Q4_1, 4, F16_MIN, 0, 0) X(Q5_0, 5, F16, 16, 0) X(Q5_1, 5, F16_MIN, 0, 0) \
    X(Q8_0, 8, F16, 128, 0) X(Q2_K, 2, NIBBLE_HALF, 0, 0) X(Q3_K, 3, I8_HALF, 4, 0) X(Q4_K, 4, U8_MIN, 0, 0) \
    X(Q5_K, 5, U8_MIN, 0, 0) X(Q6_K, 6, I8_HALF, 32, 0) X(IQ4_NL, 4, F16, 128, 1) X(IQ4_XS, 4, I8, 128, 1) \
    X(TQ1_0, 2, GROUP, 1, 0) X(TQ2_0, 2, GROUP, 1, 0) X(I2_S, 2, GROUP, 1, 0)
extern const struct slm_pack_type slm_pack_types[SLM_DTYPE_COUNT];
static inline bool slm_pack_has(enum slm_dtype type) { return slm_pack_types[type].codes != SLM_CODES_NONE; }

/* Types that packed files hold. Ternary ones pack in no time, and models that compute with integers want other scales
 * in panels than files have. */
static inline bool slm_pack_in_files(enum slm_dtype type)
{
    return slm_pack_has(type) && slm_pack_types[type].scales != SLM_SCALES_GROUP;
}

static inline bool slm_pack_scales_have_min(enum slm_pack_scales s)
{
    return s == SLM_SCALES_F16_MIN || s == SLM_SCALES_U8_MIN || s == SLM_SCALES_NIBBLE_HALF;
}
/* Whether each 16 elements have a scale of their own, not each 32. */
static inline bool slm_pack_scales_half(enum slm_pack_scales s)
{
    return s == SLM_SCALES_I8_HALF || s == SLM_SCALES_NIBBLE_HALF;
}

/* Bytes of the codes of a block of 32 elements in a panel. */
static inline size_t slm_pack_code_bytes(enum slm_pack_codes codes)
{
    static const uint16_t vectors[] = {[SLM_CODES_2] = 2, [SLM_CODES_3] = 3, [SLM_CODES_4] = 4,
                                       [SLM_CODES_5] = 5, [SLM_CODES_6] = 6, [SLM_CODES_8] = 8};
    return (size_t)vectors[codes] * 64;
}
/* Bytes of the scales of a group of n_blocks blocks: a multiple of 64. */
static inline size_t slm_pack_scale_bytes(enum slm_pack_scales scales, size_t n_blocks)
{
    static const struct { uint16_t block, group; } bytes[] = {
        [SLM_SCALES_F16] = {32, 0},      [SLM_SCALES_F16_MIN] = {64, 0},  [SLM_SCALES_GROUP] = {0, 32},
        [SLM_SCALES_I8] = {16, 32},      [SLM_SCALES_U8_MIN] = {32, 64},  [SLM_SCALES_I8_HALF] = {32, 32},
        [SLM_SCALES_NIBBLE_HALF] = {32, 64},
    };
    return (bytes[scales].block * n_blocks + bytes[scales].group + 63) & ~(size_t)63;
}
/* Bytes of a panel of rows of k elements (a multiple of 32), a multiple of 64. */
size_t slm_pack_panel_bytes(enum slm_dtype type, size_t k);
/* Bytes of the panels of n_rows rows (the last panel may be part empty); false on overflow. */
bool slm_pack_bytes(enum slm_dtype type, uint64_t n_rows, uint64_t k, uint64_t *bytes);
/* Writes the panel of up to 16 rows that lie row_bytes apart from src on; absent rows become zeros. */
void slm_pack_panel(enum slm_dtype type, const unsigned char *src, size_t row_bytes, size_t n_rows, size_t k,
                    unsigned char *panel);

/* All d of a panel of a type with one for a group become 1: its codes are integers then, and so are their products
 * with coded activations of d = 1. What they stand for is said elsewhere (ternary_scale in plan/op.h). */
void slm_pack_unit_scales(enum slm_dtype type, size_t k, unsigned char *panel);

/* Code of element k (0..31) of row r in a block of a panel. */
int slm_pack_code_at(const struct slm_pack_type *type, const uint8_t *block, size_t r, size_t k);
/* d and m of row r for half block `half` of a group of n_blocks blocks; m is 0 where the type has none. */
void slm_pack_scale_at(enum slm_pack_scales scales, const uint8_t *group, size_t n_blocks, size_t half, size_t r,
                       float *d, float *m);
/* The k weights of row r of a panel: the same bits as decoding the row in the file. */
void slm_pack_read_row(enum slm_dtype type, const unsigned char *panel, size_t r, size_t k, float *out);
#endif
