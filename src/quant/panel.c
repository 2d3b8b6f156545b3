/* SPDX-License-Identifier: MIT
 * From the file's blocks to panels (panel.h): per type, where the codes of 32 elements and their scales are read; and
 * one place that puts them where kernels look for them. The first answer of a model waits for it, so it works on
 * sixteen rows at once, in vectors of 128 bits, which all CPUs have, and asks the memory for what comes next. And back:
 * the scalar kernels and the embedding read single codes and rows. Deliberately not here: products. */
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

/* ---- reading: codes of one block of sixteen rows, unsigned ------------------------------------------------------ */

/* Four bytes of each row, side by side: what a panel is made of, and what the file's bytes are turned into first, so
 * that all that is done with bits is done to sixteen rows at once. Of codes, unit j holds elements 4j .. 4j+3. */
typedef uint32_t quad __attribute__((vector_size(16))); /* of four rows: SSE2 on x86-64, Advanced SIMD on Arm */
enum { QUADS = ROWS / 4 };
typedef quad unit[QUADS];
#define EACH_BYTE 0x01010101u

/* out = the bits `mask` of each byte, moved down by `shift`. What a shift brings over a byte's border is not in the
 * mask. */
static inline void cut(unit *out, const unit *raw, size_t n, unsigned shift, uint32_t mask)
{
    for (size_t j = 0; j < n; j++)
        for (size_t q = 0; q < QUADS; q++) out[j][q] = raw[j][q] >> shift & mask * EACH_BYTE;
}

/* The same bits of a block joined to what is there, moved up to bit `to`. */
static inline void join(unit code[8], const unit raw[8], unsigned shift, uint32_t mask, unsigned to)
{
    for (size_t j = 0; j < 8; j++)
        for (size_t q = 0; q < QUADS; q++) code[j][q] |= (raw[j][q] >> shift & mask * EACH_BYTE) << to;
}

/* Formats of 32. Sixteen bytes of nibbles: the low ones are elements 0..15, the high ones 16..31. */
static void codes_nibbles(unit code[8], const unit *raw, size_t b)
{
    (void)b;
    cut(code, raw, 4, 0, 15);
    cut(code + 4, raw, 4, 4, 15);
}
/* Before them a unit of which bit i is the fifth of element i: four of them are spread to the four bytes of a unit. */
static void codes_fifth_bits(unit code[8], const unit *raw, size_t b)
{
    codes_nibbles(code, raw + 1, b);
    for (unsigned j = 0; j < 8; j++)
        for (size_t q = 0; q < QUADS; q++) {
            const quad four = raw[0][q] >> (4 * j) & 15;
            code[j][q] |= ((four | four << 7 | four << 14 | four << 21) & EACH_BYTE) << 4;
        }
}
/* Signed bytes become unsigned ones with zero at 128. */
static void codes_q8_0(unit code[8], const unit *raw, size_t b)
{
    (void)b;
    for (size_t j = 0; j < 8; j++)
        for (size_t q = 0; q < QUADS; q++) code[j][q] = raw[j][q] ^ 0x80 * EACH_BYTE;
}

/* The formats of 256: b is one of the superblock's eight blocks. The bit orders are decode_superblock.c's. */
/* Half the superblock is 32 bytes; every block of it has two bits of each. */
static void codes_pairs(unit code[8], const unit *raw, size_t b)
{
    cut(code, raw + b / 4 * 8, 8, (unsigned)(b % 4 * 2), 3);
}
/* The third bit is in a plane of its own; in the file it spares the code a subtraction of 4, here 4 is the zero. */
static void codes_q3_k(unit code[8], const unit *raw, size_t b)
{
    codes_pairs(code, raw + 8, b);
    join(code, raw, (unsigned)b, 1, 2);
}
/* 32 bytes hold two blocks: low nibbles, then high ones. */
static void codes_q4_k(unit code[8], const unit *raw, size_t b)
{
    cut(code, raw + b / 2 * 8, 8, (unsigned)(b % 2 * 4), 15);
}
/* And before them the fifth bits of all eight blocks in 32 bytes more. */
static void codes_q5_k(unit code[8], const unit *raw, size_t b)
{
    codes_q4_k(code, raw + 8, b);
    join(code, raw, (unsigned)b, 1, 4);
}
/* Four blocks share 64 bytes of nibbles and, behind all of those, 32 of pairs. */
static void codes_q6_k(unit code[8], const unit *raw, size_t b)
{
    const size_t half = b / 4;
    const unsigned quarter = b % 4;
    cut(code, raw + half * 16 + quarter % 2 * 8, 8, quarter / 2 * 4, 15);
    join(code, raw + 32 + half * 8, quarter * 2, 3, 4);
}
/* Sixteen bytes a block, as in IQ4_NL. */
static void codes_iq4_xs(unit code[8], const unit *raw, size_t b) { codes_nibbles(code, raw + b * 4, b); }

/* Blocks of 128, the first 32 elements in the highest bits. */
static void codes_i2_s(unit code[8], const unit *raw, size_t b) { cut(code, raw, 8, 6 - (unsigned)b * 2, 3); }

/* Digit `digit` of each byte of n units of TQ1_0: two bytes at a time, which have room for the products. */
static void digits(unit *code, const unit *raw, size_t n, size_t digit)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    const uint32_t even = 0x00ff00ff, power = powers[digit];
    for (size_t j = 0; j < n; j++)
        for (size_t q = 0; q < QUADS; q++) {
            const quad low = (raw[j][q] & even) * power & even, high = (raw[j][q] >> 8 & even) * power & even;
            code[j][q] = (low * 3 >> 8 & even) | ((high * 3 >> 8 & even) << 8);
        }
}
/* Five blocks in 32 bytes, two and a half in 16, the last 16 elements in 4: see slm_quant_decode_TQ1_0. */
static void codes_tq1_0(unit code[8], const unit *raw, size_t b)
{
    if (b < 5) {
        digits(code, raw, 8, b);
        return;
    }
    digits(code, raw + 8, 4, 2 * (b - 5));
    if (b < 7) digits(code + 4, raw + 8, 4, 2 * (b - 5) + 1);
    for (size_t j = 0; j < 4 && b == 7; j++) digits(code + 4 + j, raw + 12, 1, j);
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

/* One row a type: where codes are in a block of the file, how many bytes, and of how many blocks of 32 elements; how
 * those of block b come out of them; scales of a superblock (NULL: f16 fields at the front of each block of 32). */
#define CODES(type, field, bytes, blocks) offsetof(struct slm_block_##type, field), bytes, blocks
enum { MOST_BYTES = 192 };
static const struct reader {
    size_t at, bytes, blocks;
    void (*codes)(unit code[8], const unit *raw, size_t b);
    void (*scales)(uint8_t *dst, size_t r, const void *superblock);
} readers[SLM_DTYPE_COUNT] = {
    [SLM_DTYPE_Q4_0] = {CODES(q4_0, qs, 16, 1), codes_nibbles, NULL},
    [SLM_DTYPE_Q4_1] = {CODES(q4_1, qs, 16, 1), codes_nibbles, NULL},
    [SLM_DTYPE_IQ4_NL] = {CODES(iq4_nl, qs, 16, 1), codes_nibbles, NULL},
    [SLM_DTYPE_Q5_0] = {CODES(q5_0, qh, 20, 1), codes_fifth_bits, NULL},
    [SLM_DTYPE_Q5_1] = {CODES(q5_1, qh, 20, 1), codes_fifth_bits, NULL},
    [SLM_DTYPE_Q8_0] = {CODES(q8_0, qs, 32, 1), codes_q8_0, NULL},
    [SLM_DTYPE_Q2_K] = {CODES(q2_k, qs, 64, 8), codes_pairs, scales_q2_k},
    [SLM_DTYPE_Q3_K] = {CODES(q3_k, hmask, 96, 8), codes_q3_k, scales_q3_k},
    [SLM_DTYPE_Q4_K] = {CODES(q4_k, qs, 128, 8), codes_q4_k, scales_q4_k},
    [SLM_DTYPE_Q5_K] = {CODES(q5_k, qh, 160, 8), codes_q5_k, scales_q5_k},
    [SLM_DTYPE_Q6_K] = {CODES(q6_k, ql, 192, 8), codes_q6_k, scales_q6_k},
    [SLM_DTYPE_IQ4_XS] = {CODES(iq4_xs, qs, 128, 8), codes_iq4_xs, scales_iq4_xs},
    [SLM_DTYPE_TQ1_0] = {CODES(tq1_0, qs, 52, 8), codes_tq1_0, scales_tq1_0},
    [SLM_DTYPE_TQ2_0] = {CODES(tq2_0, qs, 64, 8), codes_pairs, scales_tq2_0},
    [SLM_DTYPE_I2_S] = {CODES(i2_s, qs, 32, 4), codes_i2_s, scales_i2_s},
};

static quad load_quad(const uint8_t *src)
{
    quad q;
    memcpy(&q, src, sizeof q);
    return q;
}

static uint32_t word(const uint8_t *src)
{
    uint32_t w;
    memcpy(&w, src, sizeof w);
    return w;
}

/* Bytes of sixteen rows become units: in squares of four rows and four units, then what is left. Rows are many streams
 * of memory, more than CPUs foresee, so the bytes `ahead` of these are asked for: those of the next sixteen rows. */
static void turn(unit *raw, const uint8_t *const rows[ROWS], size_t from, size_t bytes, size_t ahead)
{
    for (size_t r = 0; r < ROWS; r += 4) {
        const uint8_t *const row[4] = {rows[r] + from, rows[r + 1] + from, rows[r + 2] + from, rows[r + 3] + from};
        size_t at = 0;
        for (size_t i = 0; i < 4; i++)
            for (size_t line = ahead; line < ahead + bytes; line += 64)
                __builtin_prefetch((const void *)((uintptr_t)row[i] + line));
        for (; at + sizeof(quad) <= bytes; at += sizeof(quad)) {
            const quad a = load_quad(row[0] + at), b = load_quad(row[1] + at);
            const quad c = load_quad(row[2] + at), d = load_quad(row[3] + at);
            const quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            const quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            unit *four = raw + at / 4;
            four[0][r / 4] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            four[1][r / 4] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            four[2][r / 4] = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
            four[3][r / 4] = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
        }
        for (; at < bytes; at += 4)
            raw[at / 4][r / 4] = (quad){word(row[0] + at), word(row[1] + at), word(row[2] + at), word(row[3] + at)};
    }
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

/* The ways codes share vectors, as panel.h draws them; `from` is the lowest bit of the code that goes in. */
static void put(uint8_t *vector, const unit words) { memcpy(vector, words, sizeof(unit)); }

static void put_nibbles(uint8_t *vectors, const unit code[8])
{
    for (size_t j = 0; j < 4; j++) {
        unit words;
        for (size_t q = 0; q < QUADS; q++)
            words[q] = (code[j][q] & 15 * EACH_BYTE) | (code[j + 4][q] & 15 * EACH_BYTE) << 4;
        put(vectors + j * 64, words);
    }
}
/* Four units share a vector. */
static void put_pairs(uint8_t *vectors, const unit code[8], unsigned from)
{
    for (size_t v = 0; v < 2; v++) {
        unit words = {{0}};
        for (size_t j = v; j < 8; j += 2)
            for (size_t q = 0; q < QUADS; q++)
                words[q] |= (code[j][q] >> from & 3 * EACH_BYTE) << (unsigned)(j / 2 * 2);
        put(vectors + v * 64, words);
    }
}
/* All eight do. */
static void put_bits(uint8_t *vector, const unit code[8], unsigned from)
{
    unit words = {{0}};
    for (size_t j = 0; j < 8; j++)
        for (size_t q = 0; q < QUADS; q++) words[q] |= (code[j][q] >> from & EACH_BYTE) << (unsigned)j;
    put(vector, words);
}

/* A block of all rows. */
static void put_codes(enum slm_pack_codes codes, uint8_t *dst, const unit code[8])
{
    for (size_t j = 0; j < 8 && codes == SLM_CODES_8; j++) put(dst + j * 64, code[j]);
    if (codes <= SLM_CODES_3) put_pairs(dst, code, 0);
    else if (codes != SLM_CODES_8) put_nibbles(dst, code);
    if (codes == SLM_CODES_3) put_bits(dst + 2 * 64, code, 2);
    if (codes == SLM_CODES_5) put_bits(dst + 4 * 64, code, 4);
    if (codes == SLM_CODES_6) put_pairs(dst + 4 * 64, code, 4);
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

/* The scales of a group of n_blocks blocks, which begins at byte `from` of the rows. */
static void put_scales(enum slm_dtype type, const uint8_t *const rows[ROWS], size_t from, size_t n_rows,
                       size_t n_blocks, unsigned char *dst)
{
    const struct reader *read = &readers[type];
    const size_t block_bytes = slm_dtypes[type].block_bytes;
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *row = rows[r] + from;
        if (read->scales) read->scales(dst, r, row);
        else if (slm_pack_types[type].scales == SLM_SCALES_F16) scales_f16(dst, r, row, n_blocks, block_bytes);
        else scales_f16_min(dst, r, row, n_blocks, block_bytes);
    }
}

/* Group by group, so that the panel is written from its beginning to its end: scales, then block by block the codes of
 * all rows. Rows that are missing are read as the first one, and become zeros. */
void slm_pack_panel(enum slm_dtype type, const unsigned char *src, size_t row_bytes, size_t n_rows, size_t k,
                    unsigned char *panel)
{
    const struct slm_pack_type *t = &slm_pack_types[type];
    const struct reader *read = &readers[type];
    const size_t block_bytes = slm_dtypes[type].block_bytes, code_bytes = slm_pack_code_bytes(t->codes);
    const uint8_t *rows[ROWS];
    unit raw[MOST_BYTES / 4], code[8];
    for (size_t r = 0; r < ROWS; r++) rows[r] = src + (r < n_rows ? r : 0) * row_bytes;
    for (size_t first = 0; first < k / SLM_BLOCK; first += BLOCKS) {
        const size_t left = k / SLM_BLOCK - first, n = left < BLOCKS ? left : BLOCKS;
        const size_t scale_bytes = slm_pack_scale_bytes(t->scales, n);
        memset(panel, 0, scale_bytes);
        put_scales(type, rows, first / read->blocks * block_bytes, n_rows, n, panel);
        panel += scale_bytes;
        for (size_t b = 0; b < n; b++, panel += code_bytes) {
            const size_t block = (first + b) / read->blocks, part = (first + b) % read->blocks;
            if (part == 0) turn(raw, rows, block * block_bytes + read->at, read->bytes, ROWS * row_bytes);
            read->codes(code, raw, part);
            for (size_t j = 0; j < 8 && n_rows < ROWS; j++)
                for (size_t r = n_rows; r < ROWS; r++) code[j][r / 4][r % 4] = 0;
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
