/* SPDX-License-Identifier: MIT
 * Unpacking every block format, written once for every vector ISA. A file such as x86/kernels_avx2.c defines
 * the few operations below and includes this text; all functions are static, so each ISA gets its own copy,
 * built with its flags.
 *
 * All formats come down to one sentence: sixteen small integer codes, a scale, perhaps an offset. So each
 * function here only cuts codes out of bytes, which 16-byte vectors do well everywhere, and hands them to
 * put_scaled() or put_affine(), which are as wide as the ISA. The scales of a K-quant block are codes too and
 * go the same way. The layouts are documented beside their decode functions in quant/; only what is needed to
 * follow the cutting is repeated here.
 *
 * The including file provides (vec, struct v16 and vec_*: see simd_float.h):
 *   u8x16 shift_right(u8x16 v, int n)             each byte by n, zeros come in; n is a constant
 *   u8x16 shift_left(u8x16 v, int n)              the same upward; the n upper bits of each byte are 0 already
 *   u8x16 lookup(u8x16 table, u8x16 index)        table[index] for index < 16
 *   struct v16 v16_from_i8(u8x16 codes)           the bytes as signed integers, as floats (exact)
 *   float half_at(const uint8_t *bytes)           an f16 at any address */

static inline u8x16 codes_at(const uint8_t *bytes)
{
    u8x16 v;
    memcpy(&v, bytes, sizeof(v));
    return v;
}

static inline uint32_t u32_at(const uint8_t *bytes)
{
    uint32_t v;
    memcpy(&v, bytes, sizeof(v));
    return v;
}

/* dst[0..16) = codes * d */
static inline void put_scaled(float *dst, u8x16 codes, float d)
{
    struct v16 v = v16_from_i8(codes);
    UNROLL for (int p = 0; p < V16_PARTS; p++) vec_store(dst + p * VEC_LANES, vec_mul(v.part[p], vec_set1(d)));
}

/* dst[0..16) = codes * d + m. The definition rounds the product, then the sum; but the product is exact (an f16 of
 * 11 bits, times a scale of at most 6, times a code of at most 5: 22 of 24 bits), so fma rounds where it does. */
static inline void put_affine(float *dst, u8x16 codes, float d, float m)
{
    struct v16 v = v16_from_i8(codes);
    UNROLL for (int p = 0; p < V16_PARTS; p++)
        vec_store(dst + p * VEC_LANES, vec_fma(v.part[p], vec_set1(d), vec_set1(m)));
}

/* The fifth bits of Q5_0 and Q5_1 from the four bytes that hold them: 16 where the bit is set, for elements 0..15
 * (`half` 0) or 16..31 (`half` 1). */
static inline u8x16 fifth_bits(const uint8_t *bytes, int half)
{
    const u8x16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const u8x16 which_byte = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    u8x16 spread = lookup((u8x16)(u32x4){u32_at(bytes)}, which_byte + (uint8_t)(2 * half));
    return (u8x16)((spread & bit) == bit) & 16;
}

static void unpack_f32(const void *src, float *dst, size_t n)
{
    if (n > 0) memcpy(dst, src, n * sizeof(float));
}

static void unpack_f16(const void *src, float *dst, size_t n)
{
    convert_f16(dst, src, n);
}

/* The upper half of an f32, so widening is a shift. */
static void unpack_bf16(const void *src, float *dst, size_t n)
{
    const uint8_t *bytes = src;
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) vec_store(dst + i, vec_load_bf16(bytes + 2 * i));
    for (; i < n; i++) {
        uint32_t bits = (uint32_t)(bytes[2 * i] | bytes[2 * i + 1] << 8) << 16;
        memcpy(dst + i, &bits, sizeof(bits));
    }
}

/* d, 16 bytes of nibbles: low ones are elements 0..15, high ones 16..31, as in all the 32-element 4- and 5-bit
 * types. */
static void unpack_q4_0(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 32, block += 18, dst += 32) {
        float d = half_at(block);
        u8x16 q = codes_at(block + 2);
        put_scaled(dst, (q & 15) - 8, d);
        put_scaled(dst + 16, shift_right(q, 4) - 8, d);
    }
}

/* d, m, nibbles: 0..15 with an offset instead of a zero point. */
static void unpack_q4_1(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 32, block += 20, dst += 32) {
        float d = half_at(block), m = half_at(block + 2);
        u8x16 q = codes_at(block + 4);
        put_affine(dst, q & 15, d, m);
        put_affine(dst + 16, shift_right(q, 4), d, m);
    }
}

/* d, fifth bits of all 32, nibbles. */
static void unpack_q5_0(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 32, block += 22, dst += 32) {
        float d = half_at(block);
        u8x16 q = codes_at(block + 6);
        put_scaled(dst, ((q & 15) | fifth_bits(block + 2, 0)) - 16, d);
        put_scaled(dst + 16, (shift_right(q, 4) | fifth_bits(block + 2, 1)) - 16, d);
    }
}

static void unpack_q5_1(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 32, block += 24, dst += 32) {
        float d = half_at(block), m = half_at(block + 2);
        u8x16 q = codes_at(block + 8);
        put_affine(dst, (q & 15) | fifth_bits(block + 4, 0), d, m);
        put_affine(dst + 16, shift_right(q, 4) | fifth_bits(block + 4, 1), d, m);
    }
}

/* d, 32 signed bytes. */
static void unpack_q8_0(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 32, block += 34, dst += 32) {
        float d = half_at(block);
        put_scaled(dst, codes_at(block + 2), d);
        put_scaled(dst + 16, codes_at(block + 18), d);
    }
}

/* scales[16] (low nibble scale, high nibble minimum of 16 elements), qs[64], d, dmin. 32 bytes hold 128
 * elements: bits 0-1 of them are elements 0..31, bits 2-3 32..63, and so on. */
static void unpack_q2_k(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 84, dst += 256) {
        float d[16], m[16];
        u8x16 scales = codes_at(block);
        put_scaled(d, scales & 15, half_at(block + 80));
        put_scaled(m, shift_right(scales, 4), -half_at(block + 82)); /* subtracting is adding the negative */
        for (int half = 0; half < 2; half++) {
            UNROLL for (int part = 0; part < 2; part++) {
                u8x16 q = codes_at(block + 16 + 32 * half + 16 * part);
                float *out = dst + 128 * half + 16 * part;
                const float *ds = d + 8 * half + part, *ms = m + 8 * half + part;
                put_affine(out, q & 3, ds[0], ms[0]);
                put_affine(out + 32, shift_right(q, 2) & 3, ds[2], ms[2]);
                put_affine(out + 64, shift_right(q, 4) & 3, ds[4], ms[4]);
                put_affine(out + 96, shift_right(q, 6), ds[6], ms[6]);
            }
        }
    }
}

/* The sixteen 6-bit scales of Q3_K from 12 bytes: low nibbles in the first 8 bytes, the upper two bits in the
 * last 4. */
static inline u8x16 q3_k_scales(const uint8_t *bytes)
{
    const uint32_t two = 0x03030303, four = 0x0f0f0f0f;
    uint32_t a = u32_at(bytes), b = u32_at(bytes + 4), c = u32_at(bytes + 8);
    return (u8x16)(u32x4){
        (a & four) | (c & two) << 4,
        (b & four) | (c >> 2 & two) << 4,
        (a >> 4 & four) | (c >> 4 & two) << 4,
        (b >> 4 & four) | (c >> 6 & two) << 4,
    };
}

/* hmask[32], qs[64], scales[12], d. Codes as in Q2_K; bit i of hmask[l], set, spares elements 32 i + l the -4. */
static void unpack_q3_k(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 110, dst += 256) {
        float d[16];
        put_scaled(d, q3_k_scales(block + 96) - 32, half_at(block + 108));
        UNROLL for (int part = 0; part < 2; part++) {
            u8x16 high = ~codes_at(block + 16 * part); /* 1 = subtract 4 */
            u8x16 q0 = codes_at(block + 32 + 16 * part), q1 = codes_at(block + 64 + 16 * part);
            const float *ds = d + part;
            float *out = dst + 16 * part;
            put_scaled(out, (q0 & 3) - shift_left(high & 1, 2), ds[0]);
            put_scaled(out + 32, (shift_right(q0, 2) & 3) - shift_left(high & 2, 1), ds[2]);
            put_scaled(out + 64, (shift_right(q0, 4) & 3) - (high & 4), ds[4]);
            put_scaled(out + 96, shift_right(q0, 6) - (shift_right(high, 1) & 4), ds[6]);
            put_scaled(out + 128, (q1 & 3) - (shift_right(high, 2) & 4), ds[8]);
            put_scaled(out + 160, (shift_right(q1, 2) & 3) - (shift_right(high, 3) & 4), ds[10]);
            put_scaled(out + 192, (shift_right(q1, 4) & 3) - (shift_right(high, 4) & 4), ds[12]);
            put_scaled(out + 224, shift_right(q1, 6) - (shift_right(high, 5) & 4), ds[14]);
        }
    }
}

/* The eight 6-bit scales (bytes 0..7) and eight 6-bit minima (bytes 8..15) of Q4_K and Q5_K from 12 bytes. */
static inline u8x16 q4_k_scales(const uint8_t *bytes)
{
    const uint32_t two = 0x03030303, four = 0x0f0f0f0f, six = 0x3f3f3f3f;
    uint32_t a = u32_at(bytes), b = u32_at(bytes + 4), c = u32_at(bytes + 8);
    return (u8x16)(u32x4){
        a & six,
        (c & four) | (a >> 6 & two) << 4,
        b & six,
        (c >> 4 & four) | (b >> 6 & two) << 4,
    };
}

/* d, dmin, scales[12], qs[128]. 32 bytes hold 64 elements: low nibbles 0..31, high ones 32..63. */
static void unpack_q4_k(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 144, dst += 256) {
        float d[16], m[16];
        u8x16 scales = q4_k_scales(block + 4);
        put_scaled(d, scales, half_at(block));
        put_scaled(m, scales, -half_at(block + 2));
        UNROLL for (int pair = 0; pair < 4; pair++) {
            UNROLL for (int part = 0; part < 2; part++) {
                u8x16 q = codes_at(block + 16 + 32 * pair + 16 * part);
                float *out = dst + 64 * pair + 16 * part;
                put_affine(out, q & 15, d[2 * pair], m[8 + 2 * pair]);
                put_affine(out + 32, shift_right(q, 4), d[2 * pair + 1], m[8 + 2 * pair + 1]);
            }
        }
    }
}

/* d, dmin, scales[12], qh[32], qs[128]. As Q4_K; bit i of qh[l] is the fifth bit of element 32 i + l. */
static void unpack_q5_k(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 176, dst += 256) {
        float d[16], m[16];
        u8x16 scales = q4_k_scales(block + 4);
        put_scaled(d, scales, half_at(block));
        put_scaled(m, scales, -half_at(block + 2));
        UNROLL for (int part = 0; part < 2; part++) {
            u8x16 high = codes_at(block + 16 + 16 * part);
            UNROLL for (int pair = 0; pair < 4; pair++) {
                u8x16 q = codes_at(block + 48 + 32 * pair + 16 * part);
                float *out = dst + 64 * pair + 16 * part;
                u8x16 fifth_low = (u8x16)((high & 1) == 1) & 16, fifth_high = (u8x16)((high & 2) == 2) & 16;
                put_affine(out, (q & 15) | fifth_low, d[2 * pair], m[8 + 2 * pair]);
                put_affine(out + 32, shift_right(q, 4) | fifth_high, d[2 * pair + 1], m[8 + 2 * pair + 1]);
                high = shift_right(high, 2);
            }
        }
    }
}

/* ql[128], qh[64], scales[16] signed, d. 64 bytes of ql and 32 of qh hold 128 elements in four rows of 32: rows
 * 0 and 1 are the low nibbles of the two halves of ql, rows 2 and 3 the high ones; two bits of qh for each row. */
static void unpack_q6_k(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 210, dst += 256) {
        float d[16];
        put_scaled(d, codes_at(block + 192), half_at(block + 208));
        for (int half = 0; half < 2; half++) {
            UNROLL for (int part = 0; part < 2; part++) {
                u8x16 low = codes_at(block + 64 * half + 16 * part);
                u8x16 next = codes_at(block + 64 * half + 32 + 16 * part);
                u8x16 high = codes_at(block + 128 + 32 * half + 16 * part);
                const float *ds = d + 8 * half + part;
                float *out = dst + 128 * half + 16 * part;
                put_scaled(out, ((low & 15) | shift_left(high & 3, 4)) - 32, ds[0]);
                put_scaled(out + 32, ((next & 15) | shift_left(high & 12, 2)) - 32, ds[2]);
                put_scaled(out + 64, (shift_right(low, 4) | (high & 48)) - 32, ds[4]);
                put_scaled(out + 96, (shift_right(next, 4) | (shift_right(high, 2) & 48)) - 32, ds[6]);
            }
        }
    }
}

/* The sixteen values of IQ4_NL and IQ4_XS, as bytes: -127, -104, -83, ... 113. */
static const u8x16 iq4_values = {129, 152, 173, 191, 207, 221, 234, 246, 1, 13, 25, 38, 53, 69, 89, 113};

static void unpack_iq4_nl(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 32, block += 18, dst += 32) {
        float d = half_at(block);
        u8x16 q = codes_at(block + 2);
        put_scaled(dst, lookup(iq4_values, q & 15), d);
        put_scaled(dst + 16, lookup(iq4_values, shift_right(q, 4)), d);
    }
}

/* d, scales_h (u16: two upper bits for each of 8 groups), scales_l[4] (nibbles), qs[128]: each group as IQ4_NL. */
static void unpack_iq4_xs(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 136, dst += 256) {
        float d = half_at(block);
        uint32_t high = (uint32_t)(block[2] | block[3] << 8), low = u32_at(block + 4);
        UNROLL for (int group = 0; group < 8; group++) {
            int scale = (int)((low >> 4 * group & 15) | (high >> 2 * group & 3) << 4) - 32;
            u8x16 q = codes_at(block + 8 + 16 * group);
            put_scaled(dst + 32 * group, lookup(iq4_values, q & 15), d * (float)scale);
            put_scaled(dst + 32 * group + 16, lookup(iq4_values, shift_right(q, 4)), d * (float)scale);
        }
    }
}

/* One base-3 digit of each byte, -1, 0 or 1: the integer part of q * 3 / 256, less one. */
static inline u8x16 top_trit(u8x16 q)
{
    return (u8x16)(q < 86) - (u8x16)(q >= 171); /* a comparison that holds is -1 */
}

/* qs[48], qh[4], d. A byte holds five digits, the highest first; multiplying by 3 modulo 256 brings up the
 * next. The digits of qs[0..32) are elements 32 k + l, those of qs[32..48) 160 + 16 k + l, the first four of qh
 * 240 + 4 k + l. */
static void unpack_tq1_0(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 54, dst += 256) {
        float d = half_at(block + 52);
        u8x16 a = codes_at(block), b = codes_at(block + 16), c = codes_at(block + 32);
        UNROLL for (int k = 0; k < 5; k++, a += a + a, b += b + b, c += c + c) {
            put_scaled(dst + 32 * k, top_trit(a), d);
            put_scaled(dst + 32 * k + 16, top_trit(b), d);
            put_scaled(dst + 160 + 16 * k, top_trit(c), d);
        }
        u8x16 tail = {block[48], block[49], block[50], block[51]};
        const u8x16 times = {1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27};
        const u8x16 four = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
        put_scaled(dst + 240, top_trit(lookup(tail, four) * times), d);
    }
}

/* qs[64], d. As Q2_K: two bits a code, 32 bytes hold 128 elements. */
static void unpack_tq2_0(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 256, block += 66, dst += 256) {
        float d = half_at(block + 64);
        UNROLL for (int part = 0; part < 4; part++) {
            u8x16 q = codes_at(block + 16 * part);
            float *out = dst + 128 * (part / 2) + 16 * (part % 2);
            put_scaled(out, (q & 3) - 1, d);
            put_scaled(out + 32, (shift_right(q, 2) & 3) - 1, d);
            put_scaled(out + 64, (shift_right(q, 4) & 3) - 1, d);
            put_scaled(out + 96, shift_right(q, 6) - 1, d);
        }
    }
}

/* The codes as floats, unscaled. */
static inline void put_codes(float *dst, u8x16 codes)
{
    struct v16 v = v16_from_i8(codes);
    UNROLL for (int p = 0; p < V16_PARTS; p++) vec_store(dst + p * VEC_LANES, v.part[p]);
}

/* As Q2_K with the highest bits first, blocks of 128. */
static void unpack_i2_s(const void *src, float *dst, size_t n)
{
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += 128, block += 32, dst += 128)
        UNROLL for (int part = 0; part < 2; part++) {
            u8x16 q = codes_at(block + 16 * part);
            float *out = dst + 16 * part;
            put_codes(out, shift_right(q, 6) - 1);
            put_codes(out + 32, (shift_right(q, 4) & 3) - 1);
            put_codes(out + 64, (shift_right(q, 2) & 3) - 1);
            put_codes(out + 96, (q & 3) - 1);
        }
}

/* n bytes (2, 4, 6 or 8) as a number: a vector made of these never waits for a store. */
ALWAYS_INLINE uint64_t few_bytes(const uint8_t *bytes, unsigned n)
{
    uint64_t eight;
    if (n == 8) {
        memcpy(&eight, bytes, sizeof(eight));
        return eight;
    }
    const uint64_t two = (uint64_t)(bytes[n - 2] | bytes[n - 1] << 8);
    return n == 2 ? two : n == 4 ? u32_at(bytes) : u32_at(bytes) | two << 32;
}

/* A stream of `bits` bits an element: sixteen elements are 2 * bits bytes. Each lies within two neighbouring bytes:
 * these are looked up, a product shifts the element to the top of them, and one shift brings all down. Elements of even
 * and of odd index apart, so that putting both together also makes bytes of them. */
ALWAYS_INLINE u8x16 stream_codes(const uint8_t *bytes, unsigned bits)
{
#define AT(i) (uint8_t)((i) * bits / 8), (uint8_t)((i) * bits / 8 + 1)
#define TO_TOP(i) (uint16_t)(1u << (16 - bits - (i) * bits % 8))
    const u8x16 even_at = {AT(0), AT(2), AT(4), AT(6), AT(8), AT(10), AT(12), AT(14)};
    const u8x16 odd_at = {AT(1), AT(3), AT(5), AT(7), AT(9), AT(11), AT(13), AT(15)};
    const u16x8 even_up = {TO_TOP(0), TO_TOP(2), TO_TOP(4), TO_TOP(6), TO_TOP(8), TO_TOP(10), TO_TOP(12), TO_TOP(14)};
    const u16x8 odd_up = {TO_TOP(1), TO_TOP(3), TO_TOP(5), TO_TOP(7), TO_TOP(9), TO_TOP(11), TO_TOP(13), TO_TOP(15)};
#undef AT
#undef TO_TOP
    const u8x16 packed = (u8x16)(u64x2){few_bytes(bytes, bits < 4 ? 2 * bits : 8),
                                        bits > 4 ? few_bytes(bytes + 8, 2 * bits - 8) : 0};
    u16x8 even = (u16x8)lookup(packed, even_at) * even_up >> (uint16_t)(16 - bits);
    u16x8 odd = (u16x8)lookup(packed, odd_at) * odd_up >> (uint16_t)(16 - bits);
    return (u8x16)(even | odd << 8);
}

ALWAYS_INLINE void unpack_stream(const uint8_t *src, float *dst, size_t n, unsigned bits)
{
    for (size_t i = 0; i < n; i += 16) put_codes(dst + i, stream_codes(src + i / 8 * bits, bits));
}

static void unpack_u2(const void *src, float *dst, size_t n) { unpack_stream(src, dst, n, 2); }
static void unpack_u3(const void *src, float *dst, size_t n) { unpack_stream(src, dst, n, 3); }
static void unpack_u4(const void *src, float *dst, size_t n) { unpack_stream(src, dst, n, 4); }
static void unpack_u5(const void *src, float *dst, size_t n) { unpack_stream(src, dst, n, 5); }
static void unpack_u6(const void *src, float *dst, size_t n) { unpack_stream(src, dst, n, 6); }

/* Bytes without a sign, made signed and moved back: both steps are exact. */
static void unpack_u8(const void *src, float *dst, size_t n)
{
    const uint8_t *bytes = src;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        struct v16 v = v16_from_i8(codes_at(bytes + i) - 128);
        UNROLL for (int p = 0; p < V16_PARTS; p++)
            vec_store(dst + i + p * VEC_LANES, vec_add(v.part[p], vec_set1(128.0f)));
    }
    for (; i < n; i++) dst[i] = (float)bytes[i];
}

static void fill_unpack(struct slm_kernels *table)
{
    table->unpack[SLM_DTYPE_I2_S] = unpack_i2_s;
    table->unpack[SLM_DTYPE_U2] = unpack_u2;
    table->unpack[SLM_DTYPE_U3] = unpack_u3;
    table->unpack[SLM_DTYPE_U4] = unpack_u4;
    table->unpack[SLM_DTYPE_U5] = unpack_u5;
    table->unpack[SLM_DTYPE_U6] = unpack_u6;
    table->unpack[SLM_DTYPE_U8] = unpack_u8;
    table->unpack[SLM_DTYPE_F32] = unpack_f32;
    table->unpack[SLM_DTYPE_F16] = unpack_f16;
    table->unpack[SLM_DTYPE_BF16] = unpack_bf16;
    table->unpack[SLM_DTYPE_Q4_0] = unpack_q4_0;
    table->unpack[SLM_DTYPE_Q4_1] = unpack_q4_1;
    table->unpack[SLM_DTYPE_Q5_0] = unpack_q5_0;
    table->unpack[SLM_DTYPE_Q5_1] = unpack_q5_1;
    table->unpack[SLM_DTYPE_Q8_0] = unpack_q8_0;
    table->unpack[SLM_DTYPE_Q2_K] = unpack_q2_k;
    table->unpack[SLM_DTYPE_Q3_K] = unpack_q3_k;
    table->unpack[SLM_DTYPE_Q4_K] = unpack_q4_k;
    table->unpack[SLM_DTYPE_Q5_K] = unpack_q5_k;
    table->unpack[SLM_DTYPE_Q6_K] = unpack_q6_k;
    table->unpack[SLM_DTYPE_IQ4_NL] = unpack_iq4_nl;
    table->unpack[SLM_DTYPE_IQ4_XS] = unpack_iq4_xs;
    table->unpack[SLM_DTYPE_TQ1_0] = unpack_tq1_0;
    table->unpack[SLM_DTYPE_TQ2_0] = unpack_tq2_0;
}
