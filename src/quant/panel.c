/* SPDX-License-Identifier: MIT
 * From the file's blocks to panels (panel.h): per type, where the codes of 32 elements and their scales are read; and
 * one place that puts them where kernels look for them. Runs once when a model is opened, on all threads, so it is
 * plain C that compilers vectorise well enough to be limited by memory. And back: the scalar kernels and the
 * embedding read single codes and rows. Deliberately not here: products. */
#include "quant/panel.h"

#include <string.h>

#include "base/checked.h"
#include "quant/block.h"

const struct slm_pack_type slm_pack_types[SLM_DTYPE_COUNT] = {
#define X(name, codes, scales, zero, iq4) [SLM_DTYPE_##name] = {SLM_CODES_##codes, SLM_SCALES_##scales, zero, iq4},
    SLM_PACK_TYPES(X)
#undef X
};

enum { ROWS = SLM_PANEL_ROWS, BLOCKS = SLM_GROUP / SLM_BLOCK };
#define EACH_BYTE UINT64_C(0x0101010101010101)

/* ---- reading: codes of one block of one row, unsigned, in the order of the elements --------------------------- */

/* The bits `mask` of each of n bytes (a multiple of eight), moved down by `shift`: eight bytes at a time. What a shift
 * brings over a byte's border is not in the mask. */
static inline void cut(uint8_t *code, const uint8_t *bytes, size_t n, unsigned shift, uint8_t mask)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        word = word >> shift & mask * EACH_BYTE;
        memcpy(code + i, &word, sizeof word);
    }
}

/* The same bits of 32 bytes joined to what is there, moved up to bit `to`. */
static inline void join(uint8_t code[32], const uint8_t *bytes, unsigned shift, uint8_t mask, unsigned to)
{
    for (size_t i = 0; i < 32; i += 8) {
        uint64_t word, old;
        memcpy(&word, bytes + i, sizeof word);
        memcpy(&old, code + i, sizeof old);
        old |= (word >> shift & mask * EACH_BYTE) << to;
        memcpy(code + i, &old, sizeof old);
    }
}

/* Sixteen bytes of nibbles: the low ones are elements 0..15, the high ones 16..31. */
static void nibbles(uint8_t code[32], const uint8_t *qs)
{
    cut(code, qs, 16, 0, 15);
    cut(code + 16, qs, 16, 4, 15);
}

/* Bit i of the four bytes is the fifth of element i: a copy of the byte for each of eight, of which its bit stays. */
static void fifth_bits(uint8_t code[32], const uint8_t qh[4])
{
    static const uint8_t own[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    uint64_t own_bits, word;
    memcpy(&own_bits, own, sizeof own_bits);
    for (int i = 0; i < 4; i++) {
        memcpy(&word, code + 8 * i, sizeof word);
        const uint64_t bits = qh[i] * EACH_BYTE & own_bits;
        word |= (bits + 127 * EACH_BYTE) >> 3 & 16 * EACH_BYTE; /* the highest bit of a byte tells whether it was 0 */
        memcpy(code + 8 * i, &word, sizeof word);
    }
}

/* Formats of 32: b counts their blocks. */
static void codes_q4_0(uint8_t code[32], const void *row, size_t b)
{
    nibbles(code, ((const struct slm_block_q4_0 *)row)[b].qs);
}
static void codes_q4_1(uint8_t code[32], const void *row, size_t b)
{
    nibbles(code, ((const struct slm_block_q4_1 *)row)[b].qs);
}
static void codes_iq4_nl(uint8_t code[32], const void *row, size_t b)
{
    nibbles(code, ((const struct slm_block_iq4_nl *)row)[b].qs);
}
static void codes_q5_0(uint8_t code[32], const void *row, size_t b)
{
    const struct slm_block_q5_0 *block = (const struct slm_block_q5_0 *)row + b;
    nibbles(code, block->qs);
    fifth_bits(code, block->qh);
}
static void codes_q5_1(uint8_t code[32], const void *row, size_t b)
{
    const struct slm_block_q5_1 *block = (const struct slm_block_q5_1 *)row + b;
    nibbles(code, block->qs);
    fifth_bits(code, block->qh);
}
/* Signed bytes become unsigned ones with zero at 128. */
static void codes_q8_0(uint8_t code[32], const void *row, size_t b)
{
    const struct slm_block_q8_0 *block = (const struct slm_block_q8_0 *)row + b;
    for (int i = 0; i < 32; i++) code[i] = (uint8_t)block->qs[i] ^ 0x80;
}

/* The formats of 256: b counts blocks of 32, so the superblock is b / 8. The bit orders are decode_superblock.c's. */
/* Half the superblock is 32 bytes; every block of it has two bits of each. */
static void two_bits(uint8_t code[32], const uint8_t qs[64], size_t b)
{
    cut(code, qs + b / 4 * 32, 32, (unsigned)(b % 4 * 2), 3);
}
static void codes_q2_k(uint8_t code[32], const void *row, size_t b)
{
    two_bits(code, ((const struct slm_block_q2_k *)row)[b / BLOCKS].qs, b % BLOCKS);
}
static void codes_tq2_0(uint8_t code[32], const void *row, size_t b)
{
    two_bits(code, ((const struct slm_block_tq2_0 *)row)[b / BLOCKS].qs, b % BLOCKS);
}
/* The third bit is in a plane of its own; in the file it spares the code a subtraction of 4, here 4 is the zero. */
static void codes_q3_k(uint8_t code[32], const void *row, size_t b)
{
    const struct slm_block_q3_k *block = (const struct slm_block_q3_k *)row + b / BLOCKS;
    two_bits(code, block->qs, b % BLOCKS);
    join(code, block->hmask, (unsigned)(b % BLOCKS), 1, 2);
}
/* 32 bytes hold two blocks: low nibbles, then high ones. */
static void nibble_rows(uint8_t code[32], const uint8_t qs[128], size_t b)
{
    cut(code, qs + b / 2 * 32, 32, (unsigned)(b % 2 * 4), 15);
}
static void codes_q4_k(uint8_t code[32], const void *row, size_t b)
{
    nibble_rows(code, ((const struct slm_block_q4_k *)row)[b / BLOCKS].qs, b % BLOCKS);
}
/* And the fifth bits of all eight blocks in 32 bytes more. */
static void codes_q5_k(uint8_t code[32], const void *row, size_t b)
{
    const struct slm_block_q5_k *block = (const struct slm_block_q5_k *)row + b / BLOCKS;
    nibble_rows(code, block->qs, b % BLOCKS);
    join(code, block->qh, (unsigned)(b % BLOCKS), 1, 4);
}
/* Four blocks share 64 bytes of nibbles and 32 of pairs. */
static void codes_q6_k(uint8_t code[32], const void *row, size_t b)
{
    const struct slm_block_q6_k *block = (const struct slm_block_q6_k *)row + b / BLOCKS;
    const size_t half = b % BLOCKS / 4;
    const unsigned quarter = b % 4;
    cut(code, block->ql + half * 64 + quarter % 2 * 32, 32, quarter / 2 * 4, 15);
    join(code, block->qh + half * 32, quarter * 2, 3, 4);
}
/* Sixteen bytes a block, as in IQ4_NL. */
static void codes_iq4_xs(uint8_t code[32], const void *row, size_t b)
{
    nibbles(code, ((const struct slm_block_iq4_xs *)row)[b / BLOCKS].qs + b % BLOCKS * 16);
}

/* Blocks of 128, the first 32 elements in the highest bits. */
static void codes_i2_s(uint8_t code[32], const void *row, size_t b)
{
    const uint8_t *qs = ((const struct slm_block_i2_s *)row)[b / 4].qs;
    cut(code, qs, 32, 6 - (unsigned)(b % 4) * 2, 3);
}

/* Element e of a TQ1_0 superblock: see slm_quant_decode_TQ1_0. */
static void codes_tq1_0(uint8_t code[32], const void *row, size_t b)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    const struct slm_block_tq1_0 *block = (const struct slm_block_tq1_0 *)row + b / BLOCKS;
    for (size_t i = 0; i < 32; i++) {
        const size_t e = b % BLOCKS * 32 + i;
        const uint8_t byte = e < 160 ? block->qs[e % 32] : e < 240 ? block->qs[32 + e % 16] : block->qh[e % 4];
        const size_t digit = e < 160 ? e / 32 : e < 240 ? (e - 160) / 16 : (e - 240) / 4;
        code[i] = (uint8_t)((uint8_t)(byte * power[digit]) * 3 >> 8);
    }
}

/* ---- reading: scales of one group of one row, into column `r` of the panel's scales ---------------------------- */

/* Halves are moved as they are. */
static void put_f16(uint8_t *dst, size_t r, const uint8_t field[2]) { memcpy(dst + 2 * r, field, 2); }
static const uint8_t one[2] = {0x00, 0x3c}; /* 1.0 */

/* Formats of 32 elements: every block has its f16 d, at the front of the block, and perhaps its f16 m behind it. */
static void scales_f16(uint8_t *dst, size_t r, const uint8_t *blocks, size_t n_blocks, size_t block_bytes)
{
    for (size_t b = 0; b < n_blocks; b++) put_f16(dst + b * 2 * ROWS, r, blocks + b * block_bytes);
}
static void scales_f16_min(uint8_t *dst, size_t r, const uint8_t *blocks, size_t n_blocks, size_t block_bytes)
{
    scales_f16(dst, r, blocks, n_blocks, block_bytes);
    scales_f16(dst + n_blocks * 2 * ROWS, r, blocks + 2, n_blocks, block_bytes);
}

/* Superblocks: small scales of every block or half block, sixteen rows side by side, then the halves they multiply.
 */
static void scales_q2_k(uint8_t *dst, size_t r, const void *superblock)
{
    const struct slm_block_q2_k *block = superblock;
    for (size_t i = 0; i < 16; i++) dst[i * ROWS + r] = block->scales[i];
    put_f16(dst + 16 * ROWS, r, block->d);
    put_f16(dst + 18 * ROWS, r, block->dmin);
}
/* The packed six bits of Q3_K become a byte each. */
static void scales_q3_k(uint8_t *dst, size_t r, const void *superblock)
{
    const struct slm_block_q3_k *block = superblock;
    for (unsigned i = 0; i < 16; i++) dst[i * ROWS + r] = (uint8_t)slm_block_scale_q3_k(block->scales, i);
    put_f16(dst + 16 * ROWS, r, block->d);
}
static void scales_q6_k(uint8_t *dst, size_t r, const void *superblock)
{
    const struct slm_block_q6_k *block = superblock;
    for (size_t i = 0; i < 16; i++) dst[i * ROWS + r] = (uint8_t)block->scales[i];
    put_f16(dst + 16 * ROWS, r, block->d);
}
/* Scales and mins of six bits get a byte each: kernels widen bytes, and the panel grows by 3 %. */
static void scales_q45_k(uint8_t *dst, size_t r, const uint8_t d[2], const uint8_t dmin[2], const uint8_t packed[12])
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        unsigned scale, min;
        slm_block_scale_min(packed, i, &scale, &min);
        dst[i * ROWS + r] = (uint8_t)scale;
        dst[(BLOCKS + i) * ROWS + r] = (uint8_t)min;
    }
    put_f16(dst + 16 * ROWS, r, d);
    put_f16(dst + 18 * ROWS, r, dmin);
}
static void scales_q4_k(uint8_t *dst, size_t r, const void *superblock)
{
    const struct slm_block_q4_k *block = superblock;
    scales_q45_k(dst, r, block->d, block->dmin, block->scales);
}
static void scales_q5_k(uint8_t *dst, size_t r, const void *superblock)
{
    const struct slm_block_q5_k *block = superblock;
    scales_q45_k(dst, r, block->d, block->dmin, block->scales);
}
/* And so do those of IQ4_XS. */
static void scales_iq4_xs(uint8_t *dst, size_t r, const void *superblock)
{
    const struct slm_block_iq4_xs *block = superblock;
    for (unsigned i = 0; i < BLOCKS; i++) dst[i * ROWS + r] = (uint8_t)slm_block_scale_iq4_xs(block, i);
    put_f16(dst + BLOCKS * ROWS, r, block->d);
}
/* One scale for the whole superblock. */
static void scales_tq1_0(uint8_t *dst, size_t r, const void *superblock)
{
    put_f16(dst, r, ((const struct slm_block_tq1_0 *)superblock)->d);
}
static void scales_tq2_0(uint8_t *dst, size_t r, const void *superblock)
{
    put_f16(dst, r, ((const struct slm_block_tq2_0 *)superblock)->d);
}

/* Its scale is the tensor's and not in the blocks: here codes are the weights. */
static void scales_i2_s(uint8_t *dst, size_t r, const void *superblock)
{
    (void)superblock;
    put_f16(dst, r, one);
}

/* One row a type: codes of a block, scales of a superblock (NULL: f16 fields at the front of each block of 32). */
static const struct reader {
    void (*codes)(uint8_t code[32], const void *row, size_t b);
    void (*scales)(uint8_t *dst, size_t r, const void *superblock);
} readers[SLM_DTYPE_COUNT] = {
    [SLM_DTYPE_Q4_0] = {codes_q4_0, NULL},           [SLM_DTYPE_Q4_1] = {codes_q4_1, NULL},
    [SLM_DTYPE_Q5_0] = {codes_q5_0, NULL},           [SLM_DTYPE_Q5_1] = {codes_q5_1, NULL},
    [SLM_DTYPE_Q8_0] = {codes_q8_0, NULL},           [SLM_DTYPE_IQ4_NL] = {codes_iq4_nl, NULL},
    [SLM_DTYPE_Q2_K] = {codes_q2_k, scales_q2_k},    [SLM_DTYPE_Q3_K] = {codes_q3_k, scales_q3_k},
    [SLM_DTYPE_Q4_K] = {codes_q4_k, scales_q4_k},    [SLM_DTYPE_Q5_K] = {codes_q5_k, scales_q5_k},
    [SLM_DTYPE_Q6_K] = {codes_q6_k, scales_q6_k},    [SLM_DTYPE_IQ4_XS] = {codes_iq4_xs, scales_iq4_xs},
    [SLM_DTYPE_TQ1_0] = {codes_tq1_0, scales_tq1_0}, [SLM_DTYPE_TQ2_0] = {codes_tq2_0, scales_tq2_0},
    [SLM_DTYPE_I2_S] = {codes_i2_s, scales_i2_s},
};

/* ---- writing ------------------------------------------------------------------------------------------------ */

/* Four codes of every row as the bytes of a word each: unit j of all rows side by side, as panels have them. */
typedef uint32_t units[8][ROWS];

/* In squares of four rows and four units, which the compiler keeps in registers. */
static void turn(units unit, const uint8_t code[ROWS][SLM_BLOCK])
{
    for (int r = 0; r < ROWS; r += 4)
        for (int j = 0; j < 8; j += 4) {
            uint32_t square[4][4];
            for (int i = 0; i < 4; i++) memcpy(square[i], code[r + i] + 4 * j, sizeof square[i]);
            for (int i = 0; i < 4; i++)
                for (int n = 0; n < 4; n++) unit[j + i][r + n] = square[n][i];
        }
}

/* The ways codes share vectors, as panel.h draws them; `from` is the lowest bit of the code that goes in. */
static void put_nibbles(uint8_t *vectors, units unit)
{
    for (int j = 0; j < 4; j++) {
        uint32_t words[ROWS];
        for (int r = 0; r < ROWS; r++)
            words[r] = (unit[j][r] & 0x0f0f0f0f) | (unit[j + 4][r] & 0x0f0f0f0f) << 4;
        memcpy(vectors + j * 64, words, sizeof words);
    }
}
/* Four units share a vector. */
static void put_pairs(uint8_t *vectors, units unit, unsigned from)
{
    for (int v = 0; v < 2; v++) {
        uint32_t words[ROWS] = {0};
        for (int j = v; j < 8; j += 2)
            for (int r = 0; r < ROWS; r++) words[r] |= (unit[j][r] >> from & 0x03030303) << (j / 2 * 2);
        memcpy(vectors + v * 64, words, sizeof words);
    }
}
/* All eight do. */
static void put_bits(uint8_t *vector, units unit, unsigned from)
{
    uint32_t words[ROWS] = {0};
    for (int j = 0; j < 8; j++)
        for (int r = 0; r < ROWS; r++) words[r] |= (unit[j][r] >> from & 0x01010101) << j;
    memcpy(vector, words, sizeof words);
}

/* A block of all rows. */
static void put_codes(enum slm_pack_codes codes, uint8_t *dst, const uint8_t code[ROWS][SLM_BLOCK])
{
    units unit;
    turn(unit, code);
    if (codes == SLM_CODES_8) memcpy(dst, unit, sizeof unit);
    else if (codes <= SLM_CODES_3) put_pairs(dst, unit, 0);
    else put_nibbles(dst, unit);
    if (codes == SLM_CODES_3) put_bits(dst + 2 * 64, unit, 2);
    if (codes == SLM_CODES_5) put_bits(dst + 4 * 64, unit, 4);
    if (codes == SLM_CODES_6) put_pairs(dst + 4 * 64, unit, 4);
}

/* Full groups, and a shorter one at the end of rows that are no multiple of 256. */
size_t slm_pack_panel_bytes(enum slm_dtype type, size_t k)
{
    const struct slm_pack_type *t = &slm_pack_types[type];
    const size_t full = k / SLM_GROUP, rest = k % SLM_GROUP / SLM_BLOCK, code_bytes = slm_pack_code_bytes(t->codes);
    size_t bytes = full * (slm_pack_scale_bytes(t->scales, BLOCKS) + BLOCKS * code_bytes);
    if (rest) bytes += slm_pack_scale_bytes(t->scales, rest) + rest * code_bytes;
    return bytes;
}

bool slm_pack_bytes(enum slm_dtype type, uint64_t n_rows, uint64_t k, uint64_t *bytes)
{
    /* A panel takes less than 8 bytes an element and row, so this bound keeps its own size from overflowing. */
    if (k > SIZE_MAX / 256 || n_rows > UINT64_MAX - ROWS) return false;
    return slm_mul_u64((n_rows + ROWS - 1) / ROWS, slm_pack_panel_bytes(type, (size_t)k), bytes);
}

/* Group by group, so that the panel is written from its beginning to its end: scales, then block by block the codes of
 * all rows. Rows that are missing are zeros. */
void slm_pack_panel(enum slm_dtype type, const unsigned char *src, size_t row_bytes, size_t n_rows, size_t k,
                    unsigned char *panel)
{
    const struct slm_pack_type *t = &slm_pack_types[type];
    const struct reader *read = &readers[type];
    const size_t block_bytes = slm_dtypes[type].block_bytes, code_bytes = slm_pack_code_bytes(t->codes);
    uint8_t code[ROWS][SLM_BLOCK] = {0};
    for (size_t first = 0; first < k / SLM_BLOCK; first += BLOCKS) {
        const size_t left = k / SLM_BLOCK - first, n = left < BLOCKS ? left : BLOCKS;
        const size_t scale_bytes = slm_pack_scale_bytes(t->scales, n);
        memset(panel, 0, scale_bytes);
        for (size_t r = 0; r < n_rows; r++) {
            const unsigned char *row = src + r * row_bytes;
            if (read->scales) read->scales(panel, r, row + first / BLOCKS * block_bytes);
            else if (t->scales == SLM_SCALES_F16) scales_f16(panel, r, row + first * block_bytes, n, block_bytes);
            else scales_f16_min(panel, r, row + first * block_bytes, n, block_bytes);
        }
        panel += scale_bytes;
        for (size_t b = 0; b < n; b++, panel += code_bytes) {
            for (size_t r = 0; r < n_rows; r++) read->codes(code[r], src + r * row_bytes, first + b);
            put_codes(t->codes, panel, code);
        }
    }
}

void slm_pack_unit_scales(enum slm_dtype type, size_t k, unsigned char *panel)
{
    const struct slm_pack_type *t = &slm_pack_types[type];
    const size_t full_bytes = slm_pack_scale_bytes(t->scales, BLOCKS) + BLOCKS * slm_pack_code_bytes(t->codes);
    for (size_t at = 0; at < k; at += SLM_GROUP, panel += full_bytes)
        for (size_t r = 0; r < ROWS; r++) put_f16(panel, r, one);
}

/* ---- reading back -------------------------------------------------------------------------------------------- */

/* How codes share bytes, for element k of row r; panel.h draws the layout. */
static int bit_at(const uint8_t *plane, size_t r, size_t k) { return plane[r * 4 + k % 4] >> (k / 4) & 1; }
static int pair_at(const uint8_t *plane, size_t r, size_t k)
{
    return plane[k / 4 % 2 * 64 + r * 4 + k % 4] >> (k / 8 * 2) & 3;
}
static int nibble_at(const uint8_t *block, size_t r, size_t k)
{
    return block[k / 4 % 4 * 64 + r * 4 + k % 4] >> (k / 16 * 4) & 15;
}

/* Narrow codes are put together from their parts; IQ4 ones are looked up here and not when packing, or they would
 * take twice the room. */
int slm_pack_code_at(const struct slm_pack_type *t, const uint8_t *block, size_t r, size_t k)
{
    switch (t->codes) {
    case SLM_CODES_8: return block[k / 4 * 64 + r * 4 + k % 4];
    case SLM_CODES_6: return nibble_at(block, r, k) | pair_at(block + 4 * 64, r, k) << 4;
    case SLM_CODES_5: return nibble_at(block, r, k) | bit_at(block + 4 * 64, r, k) << 4;
    case SLM_CODES_4:
        return t->iq4 ? slm_quant_iq4_values[nibble_at(block, r, k)] + 128 : nibble_at(block, r, k);
    case SLM_CODES_3: return pair_at(block, r, k) | bit_at(block + 2 * 64, r, k) << 2;
    case SLM_CODES_2: return pair_at(block, r, k);
    case SLM_CODES_NONE: break;
    }
    return 0;
}

/* Element i of an array of halves. */
static float f16_at(const uint8_t *bytes, size_t i) { return slm_block_f16(bytes + 2 * i); }

void slm_pack_scale_at(enum slm_pack_scales scales, const uint8_t *group, size_t n_blocks, size_t half, size_t r,
                       float *d, float *m)
{
    const size_t at = half / 2 * ROWS + r, at_half = half * ROWS + r;
    const uint8_t *behind = group + 256; /* the f16 fields of a group with sixteen or twice eight small scales */
    *d = *m = 0.0f;
    switch (scales) {
    case SLM_SCALES_F16_MIN: *m = f16_at(group + n_blocks * 32, at); /* fall through */
    case SLM_SCALES_F16: *d = f16_at(group, at); break;
    case SLM_SCALES_GROUP: *d = f16_at(group, r); break;
    case SLM_SCALES_I8: *d = f16_at(group + 128, r) * (float)(int8_t)group[at]; break;
    case SLM_SCALES_U8_MIN:
        *d = f16_at(behind, r) * (float)group[at];
        *m = -f16_at(behind, 16 + r) * (float)group[128 + at];
        break;
    case SLM_SCALES_I8_HALF: *d = f16_at(behind, r) * (float)(int8_t)group[at_half]; break;
    case SLM_SCALES_NIBBLE_HALF:
        *d = f16_at(behind, r) * (float)(group[at_half] & 15);
        *m = -f16_at(behind, 16 + r) * (float)(group[at_half] >> 4);
        break;
    case SLM_SCALES_COUNT: break;
    }
}

/* The roundings are the decoder's: one for the scale, one for the product, one for the sum. */
void slm_pack_read_row(enum slm_dtype type, const unsigned char *panel, size_t r, size_t k, float *out)
{
    const struct slm_pack_type *t = &slm_pack_types[type];
    const size_t code_bytes = slm_pack_code_bytes(t->codes);
    for (size_t first = 0; first < k / SLM_BLOCK; first += BLOCKS) {
        const size_t left = k / SLM_BLOCK - first, n = left < BLOCKS ? left : BLOCKS;
        const unsigned char *codes = panel + slm_pack_scale_bytes(t->scales, n);
        for (size_t b = 0; b < n; b++, codes += code_bytes)
            for (size_t half = 0; half < 2; half++) {
                float d, m;
                slm_pack_scale_at(t->scales, panel, n, 2 * b + half, r, &d, &m);
                for (size_t i = half * 16; i < half * 16 + 16; i++) {
                    const float product = d * (float)(slm_pack_code_at(t, codes, r, i) - t->zero);
                    *out++ = slm_pack_scales_have_min(t->scales) ? product + m : product;
                }
            }
        panel = codes;
    }
}
