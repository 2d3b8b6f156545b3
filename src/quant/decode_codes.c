/* SPDX-License-Identifier: MIT
 * The formats that are codes and nothing else: I2_S of bitnet.cpp, and the bit streams of 2 to 8 bits in which MLX
 * packs affine groups. Decoding gives the integers as f32, exactly. What they are multiplied with stands elsewhere in
 * the file, so that belongs to format/tensor_rows.c.
 *
 * I2_S comes in two layouts that no file tells apart: builds of bitnet.cpp for x86 write blocks of 128 elements, and
 * so did all builds before November 2025; since then builds for Arm write blocks of 64. Published files have the first
 * one, which is the one read here. */
#include "quant/block.h"

/* y = q - 1: four codes of 2 bits a byte, the first 32 elements in the highest bits */
void slm_quant_decode_I2_S(const void *src, float *dst, size_t n)
{
    const struct slm_block_i2_s *b = src;
    for (size_t i = 0; i < n / 128; i++, b++, dst += 128)
        for (int j = 0; j < 32; j++)
            for (int part = 0; part < 4; part++) dst[32 * part + j] = (float)((b->qs[j] >> (6 - 2 * part) & 3) - 1);
}

/* Element i is the `bits` bits from bit i * bits on, the lowest bit of a byte first; n is a multiple of 32. Eight at a
 * time, because eight of any width end a byte. */
static inline void decode_stream(const uint8_t *src, float *dst, size_t n, unsigned bits)
{
    const unsigned mask = (1u << bits) - 1;
    for (size_t i = 0; i < n; i += 8, src += bits) {
        uint64_t eight = 0;
        for (unsigned byte = 0; byte < bits; byte++) eight |= (uint64_t)src[byte] << (8 * byte);
        for (unsigned j = 0; j < 8; j++) dst[i + j] = (float)((unsigned)(eight >> (j * bits)) & mask);
    }
}

void slm_quant_decode_U2(const void *src, float *dst, size_t n) { decode_stream(src, dst, n, 2); }
void slm_quant_decode_U3(const void *src, float *dst, size_t n) { decode_stream(src, dst, n, 3); }
void slm_quant_decode_U4(const void *src, float *dst, size_t n) { decode_stream(src, dst, n, 4); }
void slm_quant_decode_U5(const void *src, float *dst, size_t n) { decode_stream(src, dst, n, 5); }
void slm_quant_decode_U6(const void *src, float *dst, size_t n) { decode_stream(src, dst, n, 6); }

void slm_quant_decode_U8(const void *src, float *dst, size_t n)
{
    const uint8_t *bytes = src;
    for (size_t i = 0; i < n; i++) dst[i] = (float)bytes[i];
}
