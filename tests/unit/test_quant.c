/* SPDX-License-Identifier: MIT
 * Block formats against ggml: tests/golden/quant_blocks.bin holds packed blocks with what ggml's to_float makes of
 * them, and rows of f32 with what its from_float_ref does (tools/golden/quant_blocks.py wrote it). All bits count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "quant/quant.h"

enum { UNIT = 256 };

static unsigned char *golden;
static size_t golden_bytes;

static int load_golden(void **state)
{
    (void)state;
    FILE *file = fopen(SLM_SOURCE_DIR "/tests/golden/quant_blocks.bin", "rb");
    if (file == NULL) return -1;
    golden = malloc(1 << 18);
    golden_bytes = fread(golden, 1, 1 << 18, file);
    fclose(file);
    return golden_bytes > 8 && memcmp(golden, "slmQ", 4) == 0 ? 0 : -1;
}

static int free_golden(void **state)
{
    (void)state;
    free(golden);
    return 0;
}

static const unsigned char *take(size_t *at, size_t bytes)
{
    assert_true(bytes <= golden_bytes - *at);
    *at += bytes;
    return golden + *at - bytes;
}

static uint32_t take_u32(size_t *at)
{
    uint32_t value;
    memcpy(&value, take(at, 4), 4);
    return value;
}

/* The bits of a value; every NaN alike, because its sign and payload are not defined. */
static uint32_t canonical(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits;
}

static uint64_t fnv_of_unit(const float *values)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < UNIT; i++)
        for (int byte = 0; byte < 4; byte++)
            hash = (hash ^ (canonical(values[i]) >> (8 * byte) & 255)) * UINT64_C(0x100000001b3);
    return hash;
}

static void check_type(enum slm_dtype type, size_t *at)
{
    const struct slm_dtype_info *info = &slm_dtypes[type];
    assert_int_equal(take_u32(at), info->block);
    assert_int_equal(take_u32(at), info->block_bytes);
    size_t n_units = take_u32(at), unit_bytes = UNIT / info->block * info->block_bytes;
    const unsigned char *packed = take(at, n_units * unit_bytes);
    const unsigned char *hashes = take(at, n_units * 8), *first = take(at, UNIT * 4);
    float *values = malloc(n_units * UNIT * sizeof *values + 4);
    /* Once at an odd address: a tensor may lie anywhere in a file. */
    unsigned char *moved = malloc(n_units * unit_bytes + 1);
    memcpy(moved + 1, packed, n_units * unit_bytes);
    values[n_units * UNIT] = 12345.0f;
    info->decode(moved + 1, values, n_units * UNIT);
    assert_true(values[n_units * UNIT] == 12345.0f);
    for (size_t i = 0; i < UNIT; i++) {
        uint32_t want;
        memcpy(&want, first + 4 * i, 4);
        if (canonical(values[i]) != want)
            fail_msg("%s element %zu: got %08x, ggml has %08x", info->name, i, canonical(values[i]), want);
    }
    for (size_t unit = 0; unit < n_units; unit++) {
        uint64_t want;
        memcpy(&want, hashes + 8 * unit, 8);
        if (fnv_of_unit(values + unit * UNIT) != want) fail_msg("%s: unit %zu differs from ggml", info->name, unit);
    }
    info->decode(packed, values, 0); /* nothing to do, nothing done */
    free(moved);
    free(values);
}

/* Leaves *at behind the decode part. */
static void walk_decoders(size_t *at)
{
    *at = 4;
    uint32_t n_types = take_u32(at);
    assert_int_equal(n_types, SLM_DTYPE_I2_S); /* the types of ggml, which come before those of others */
    for (uint32_t i = 0; i < n_types; i++) {
        char name[9] = {0};
        memcpy(name, take(at, 8), 8);
        enum slm_dtype type = slm_dtype_from_name(name);
        if (type == SLM_DTYPE_NONE) fail_msg("the fixture has type %s, the table has not", name);
        check_type(type, at);
    }
}

static void test_decoders_equal_ggml(void **state)
{
    (void)state;
    size_t at;
    walk_decoders(&at);
}

static void test_encoders_equal_ggml(void **state)
{
    (void)state;
    size_t at;
    walk_decoders(&at);
    uint32_t n = take_u32(&at);
    float *x = malloc(n * sizeof *x);
    memcpy(x, take(&at, n * 4), n * 4);
    uint32_t n_encoders = take_u32(&at);
    assert_int_equal(n_encoders, 10);
    for (uint32_t i = 0; i < n_encoders; i++) {
        char name[9] = {0};
        memcpy(name, take(&at, 8), 8);
        uint32_t bytes = take_u32(&at);
        const unsigned char *want = take(&at, bytes);
        const struct slm_dtype_info *info = &slm_dtypes[slm_dtype_from_name(name)];
        assert_int_equal(bytes, n / info->block * info->block_bytes);
        unsigned char *got = malloc(bytes);
        info->encode(x, got, n);
        for (uint32_t b = 0; b < bytes; b++)
            if (got[b] != want[b])
                fail_msg("%s: byte %u of block %u is %02x, ggml has %02x", name, b % info->block_bytes,
                         b / info->block_bytes, got[b], want[b]);
        free(got);
    }
    assert_int_equal(at, golden_bytes);
    free(x);
}

/* A block small enough to check by eye. */
static void test_q4_0_by_hand(void **state)
{
    (void)state;
    unsigned char block[18] = {0x00, 0x38}; /* d = 0.5 */
    block[2] = 0xf0;                        /* element 0: code 0, element 16: code 15 */
    block[3] = 0x98;
    float y[32];
    slm_dtypes[SLM_DTYPE_Q4_0].decode(block, y, 32);
    assert_true(y[0] == -4.0f && y[16] == 3.5f && y[1] == 0.0f && y[17] == 0.5f && y[2] == -4.0f);
}

/* What is encoded comes back within half a step (and the rounding of the f16 scale). */
static void test_round_trip_error(void **state)
{
    (void)state;
    static const struct { enum slm_dtype type; float steps; } rows[] = {
        {SLM_DTYPE_Q4_0, 8},
        {SLM_DTYPE_Q4_1, 7.5f},
        {SLM_DTYPE_Q5_0, 16},
        {SLM_DTYPE_Q5_1, 15.5f},
        {SLM_DTYPE_Q8_0, 127},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (uint64_t trial = 0; trial < 200; trial++) {
            float x[32], y[32], most = 0;
            unsigned char block[64];
            for (uint64_t i = 0; i < 32; i++) {
                x[i] = (float)(slm_rng_uniform(7, trial * 32 + i, r) * 2 - 1);
                if (fabsf(x[i]) > most) most = fabsf(x[i]);
            }
            slm_dtypes[rows[r].type].encode(x, block, 32);
            slm_dtypes[rows[r].type].decode(block, y, 32);
            /* Half a step inside the range; a whole one at the short end of the symmetric types. */
            for (int i = 0; i < 32; i++)
                if (fabsf(x[i] - y[i]) > most / rows[r].steps * 1.01f)
                    fail_msg("%s: %g came back as %g", slm_dtypes[rows[r].type].name, (double)x[i], (double)y[i]);
        }
}

/* No bits of the input make an encoder misbehave; sanitizer builds watch the casts. */
static void test_encoders_take_any_bits(void **state)
{
    (void)state;
    static const uint32_t special[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0xff7fffff, 1, 0x80000001, 0};
    for (uint64_t trial = 0; trial < 300; trial++) {
        float x[256], y[256];
        unsigned char block[1024];
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t draw[4];
            slm_rng_block(11, trial * 256 + i, 0, draw);
            uint32_t bits = draw[1] % 4 == 0 ? special[draw[0] % 8] : draw[0];
            memcpy(&x[i], &bits, 4);
        }
        for (int type = 0; type < SLM_DTYPE_COUNT; type++) {
            if (slm_dtypes[type].encode == NULL) continue;
            slm_dtypes[type].encode(x, block, 256);
            slm_dtypes[type].decode(block, y, 256);
        }
    }
}

static void test_table(void **state)
{
    (void)state;
    assert_int_equal(SLM_DTYPE_COUNT, 24);
    for (int i = 0; i < SLM_DTYPE_COUNT; i++) {
        const bool stored = slm_dtypes[i].gguf_id != SLM_NO_GGUF_ID;
        assert_int_equal(slm_dtype_from_gguf(slm_dtypes[i].gguf_id), stored ? i : SLM_DTYPE_NONE);
        assert_int_equal(slm_dtype_from_name(slm_dtypes[i].name), i);
        assert_non_null(slm_dtypes[i].decode);
    }
    assert_int_equal(slm_dtype_from_name("q4_k"), SLM_DTYPE_Q4_K);
    assert_int_equal(slm_dtype_from_name("Q4"), SLM_DTYPE_NONE);
    assert_int_equal(slm_dtype_from_name("Q4_K_M"), SLM_DTYPE_NONE);
    assert_int_equal(slm_dtype_from_name(""), SLM_DTYPE_NONE);
    assert_int_equal(slm_dtype_from_gguf(4), SLM_DTYPE_NONE);
    assert_int_equal(slm_dtype_from_gguf(UINT32_MAX), SLM_DTYPE_NONE);
    uint64_t bytes;
    assert_true(slm_dtype_bytes(SLM_DTYPE_Q6_K, 512, &bytes));
    assert_int_equal(bytes, 420);
    assert_true(slm_dtype_bytes(SLM_DTYPE_Q8_0, 0, &bytes));
    assert_int_equal(bytes, 0);
    assert_false(slm_dtype_bytes(SLM_DTYPE_Q6_K, 300, &bytes));
    assert_false(slm_dtype_bytes(SLM_DTYPE_F32, UINT64_MAX / 2, &bytes));
    assert_true(slm_dtype_bytes(SLM_DTYPE_I2_S, 512, &bytes));
    assert_int_equal(bytes, 512 / 4 + 32);
    assert_false(slm_dtype_bytes(SLM_DTYPE_I2_S, UINT64_MAX - 127, &bytes) && bytes < UINT64_MAX / 8);
}

/* Written out from the layouts as bitnet.cpp and MLX state them. */
static void test_codes_by_hand(void **state)
{
    (void)state;
    unsigned char i2_s[32] = {0};
    float y[128];
    i2_s[0] = 0x2a;  /* 0 2 2 2: elements 0, 32, 64, 96 */
    i2_s[31] = 0x51; /* 1 1 0 1 */
    slm_dtypes[SLM_DTYPE_I2_S].decode(i2_s, y, 128);
    assert_true(y[0] == -1 && y[32] == 1 && y[64] == 1 && y[96] == 1);
    assert_true(y[31] == 0 && y[63] == 0 && y[95] == -1 && y[127] == 0 && y[1] == -1);
    static const struct { enum slm_dtype type; unsigned bits; } rows[] = {
        {SLM_DTYPE_U2, 2}, {SLM_DTYPE_U3, 3}, {SLM_DTYPE_U4, 4}, {SLM_DTYPE_U5, 5}, {SLM_DTYPE_U6, 6}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        unsigned char stream[64 * 6 / 8] = {0};
        for (unsigned i = 0; i < 64; i++) /* bit by bit: element i is (7 i + 3) mod 2^bits */
            for (unsigned b = 0; b < rows[r].bits; b++)
                if ((7 * i + 3) >> b & 1)
                    stream[(i * rows[r].bits + b) / 8] |= (unsigned char)(1u << (i * rows[r].bits + b) % 8);
        slm_dtypes[rows[r].type].decode(stream, y, 64);
        for (unsigned i = 0; i < 64; i++)
            assert_true(y[i] == (float)((7 * i + 3) & ((1u << rows[r].bits) - 1)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_q4_0_by_hand),
        cmocka_unit_test(test_codes_by_hand),
        cmocka_unit_test(test_decoders_equal_ggml),
        cmocka_unit_test(test_encoders_equal_ggml),
        cmocka_unit_test(test_round_trip_error),
        cmocka_unit_test(test_encoders_take_any_bits),
    };
    return cmocka_run_group_tests(tests, load_golden, free_golden);
}
