/* SPDX-License-Identifier: MIT
 * The block layouts of the quantized types, byte for byte as they stand in a file, and the functions behind the table
 * of quant.h. Made of bytes only, so that a block may lie at any address; two-byte fields are little-endian.
 * Every format is a scale (f16 `d`), perhaps an offset, perhaps a second level of small integer scales, and codes.
 * Deliberately not here: any other arrangement of the same codes (that is a backend's business). */
#ifndef SLM_QUANT_BLOCK_H
#define SLM_QUANT_BLOCK_H
#include "base/fmath.h"
#include "quant/quant.h"

enum { SLM_BLOCK = 32, SLM_SUPERBLOCK = 256 }; /* elements */

/* ---- 32 elements: one scale ---- */
struct slm_block_q4_0 { uint8_t d[2], qs[16]; };             /* element j: low nibble of qs[j]; j + 16: high nibble */
struct slm_block_q4_1 { uint8_t d[2], m[2], qs[16]; };       /* codes as Q4_0; m is the value of code 0 */
struct slm_block_q5_0 { uint8_t d[2], qh[4], qs[16]; };      /* low bits as Q4_0; fifth bit of element j: bit j of qh */
struct slm_block_q5_1 { uint8_t d[2], m[2], qh[4], qs[16]; };
struct slm_block_q8_0 { uint8_t d[2]; int8_t qs[32]; };
struct slm_block_iq4_nl { uint8_t d[2], qs[16]; };           /* codes as Q4_0, looked up in slm_quant_iq4_values */

/* ---- 256 elements: f16 scale(s) over small integer scales of 16 or 32 elements each ---- */
struct slm_block_q2_k { uint8_t scales[16], qs[64], d[2], dmin[2]; };      /* 16 x (scale | min << 4) */
struct slm_block_q3_k { uint8_t hmask[32], qs[64], scales[12], d[2]; };    /* 16 scales of 6 bits */
struct slm_block_q4_k { uint8_t d[2], dmin[2], scales[12], qs[128]; };     /* 8 scales and 8 mins of 6 bits */
struct slm_block_q5_k { uint8_t d[2], dmin[2], scales[12], qh[32], qs[128]; };
struct slm_block_q6_k { uint8_t ql[128], qh[64]; int8_t scales[16]; uint8_t d[2]; };
struct slm_block_iq4_xs { uint8_t d[2], scales_h[2], scales_l[4], qs[128]; }; /* 8 scales of 6 bits */
struct slm_block_tq1_0 { uint8_t qs[48], qh[4], d[2]; };                   /* five base-3 digits a byte (four in qh) */
struct slm_block_tq2_0 { uint8_t qs[64], d[2]; };                          /* four 2-bit codes a byte */

/* ---- 128 elements without a scale: the one of the tensor, an f32, begins the bytes behind its codes ---- */
struct slm_block_i2_s { uint8_t qs[32]; };                                 /* four 2-bit codes a byte */
enum { SLM_I2_S_TAIL_BYTES = 32 };

_Static_assert(sizeof(struct slm_block_q4_0) == 18, "Q4_0");
_Static_assert(sizeof(struct slm_block_q4_1) == 20, "Q4_1");
_Static_assert(sizeof(struct slm_block_q5_0) == 22, "Q5_0");
_Static_assert(sizeof(struct slm_block_q5_1) == 24, "Q5_1");
_Static_assert(sizeof(struct slm_block_q8_0) == 34, "Q8_0");
_Static_assert(sizeof(struct slm_block_iq4_nl) == 18, "IQ4_NL");
_Static_assert(sizeof(struct slm_block_q2_k) == 84, "Q2_K");
_Static_assert(sizeof(struct slm_block_q3_k) == 110, "Q3_K");
_Static_assert(sizeof(struct slm_block_q4_k) == 144, "Q4_K");
_Static_assert(sizeof(struct slm_block_q5_k) == 176, "Q5_K");
_Static_assert(sizeof(struct slm_block_q6_k) == 210, "Q6_K");
_Static_assert(sizeof(struct slm_block_iq4_xs) == 136, "IQ4_XS");
_Static_assert(sizeof(struct slm_block_tq1_0) == 54, "TQ1_0");
_Static_assert(sizeof(struct slm_block_tq2_0) == 66, "TQ2_0");
_Static_assert(sizeof(struct slm_block_i2_s) == 32, "I2_S");

/* The 16 levels of IQ4_NL and IQ4_XS: finer near zero, as weights are. */
extern const int8_t slm_quant_iq4_values[16];

/* An f16 field of a block. */
static inline float slm_block_f16(const uint8_t field[2])
{
    return slm_f16_to_f32((uint16_t)(field[0] | field[1] << 8));
}

/* Scale and min of sub-block j (0..7) of Q4_K and Q5_K. Twelve bytes hold 8 + 8 numbers of 6 bits: the first four of
 * each stand whole in the low bits of bytes 0-3 and 4-7; the last four have their low 4 bits in bytes 8-11 and their
 * high 2 bits on top of the first four. */
static inline void slm_block_scale_min(const uint8_t scales[12], unsigned j, unsigned *scale, unsigned *min)
{
    if (j < 4) {
        *scale = scales[j] & 63u;
        *min = scales[j + 4] & 63u;
    } else {
        *scale = (scales[j + 4] & 15u) | (unsigned)(scales[j - 4] >> 6) << 4;
        *min = (unsigned)(scales[j + 4] >> 4) | (unsigned)(scales[j] >> 6) << 4;
    }
}

/* Scale j (0..15) of Q3_K, -32..31: low 4 bits in the nibbles of bytes 0-7, high 2 bits in bytes 8-11. */
static inline int slm_block_scale_q3_k(const uint8_t scales[12], unsigned j)
{
    unsigned low = j < 8 ? scales[j] & 15u : (unsigned)(scales[j - 8] >> 4);
    unsigned high = (unsigned)(scales[8 + j % 4] >> (2 * (j / 4))) & 3u;
    return (int)(low | high << 4) - 32;
}

/* Scale j (0..7) of IQ4_XS, -32..31. */
static inline int slm_block_scale_iq4_xs(const struct slm_block_iq4_xs *block, unsigned j)
{
    unsigned low = (unsigned)(block->scales_l[j / 2] >> (4 * (j % 2))) & 15u;
    unsigned high = (unsigned)(block->scales_h[j / 4] >> (2 * (j % 4))) & 3u;
    return (int)(low | high << 4) - 32;
}

/* The rows of the table. */
#define X(name, id, block, bytes) void slm_quant_decode_##name(const void *src, float *dst, size_t n);
SLM_DTYPES(X)
SLM_CODE_DTYPES(X)
#undef X
void slm_quant_encode_F32(const float *src, void *dst, size_t n);
void slm_quant_encode_F16(const float *src, void *dst, size_t n);
void slm_quant_encode_BF16(const float *src, void *dst, size_t n);
void slm_quant_encode_Q4_0(const float *src, void *dst, size_t n);
void slm_quant_encode_Q4_1(const float *src, void *dst, size_t n);
void slm_quant_encode_Q5_0(const float *src, void *dst, size_t n);
void slm_quant_encode_Q5_1(const float *src, void *dst, size_t n);
void slm_quant_encode_Q8_0(const float *src, void *dst, size_t n);
void slm_quant_encode_TQ1_0(const float *src, void *dst, size_t n);
void slm_quant_encode_TQ2_0(const float *src, void *dst, size_t n);
#endif
