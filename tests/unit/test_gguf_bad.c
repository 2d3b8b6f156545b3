/* SPDX-License-Identifier: MIT
 * The GGUF reader on bad files. Each must be refused with one line that names the file, the field, the value and what
 * is allowed; none may read outside the file (sanitizer builds watch), allocate for what is not there, or take longer
 * than linear time. Ids like G07 are rows of the project's table of faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "format/gguf.h"
#include "effort.h"
#include "gguf_builder.h"

/* ---- an allocator that counts ------------------------------------------------------------------------------------ */

static struct slm_os counting_os;
static size_t live_bytes, peak_bytes; /* peak above what was live before the last open_copy */

static void *count_alloc(size_t bytes, size_t align)
{
    live_bytes += bytes;
    if (live_bytes > peak_bytes) peak_bytes = live_bytes;
    return slm_os_posix()->alloc(bytes, align);
}

static void count_release(void *memory, size_t bytes)
{
    if (memory != NULL) live_bytes -= bytes;
    slm_os_posix()->release(memory, bytes);
}

static int install_counter(void **state)
{
    (void)state;
    counting_os = *slm_os_posix();
    counting_os.alloc = count_alloc;
    counting_os.release = count_release;
    slm_os_replace(&counting_os);
    return 0;
}

static int remove_counter(void **state)
{
    (void)state;
    slm_os_replace(NULL);
    return 0;
}

/* ---- opening and walking ----------------------------------------------------------------------------------------- */

static uint64_t sum_of(const unsigned char *data, size_t bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += data[i];
    return sum;
}

/* Touches everything an opened file hands out. */
static uint64_t walk(const struct slm_gguf *gguf)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) {
        const struct slm_gguf_kv *kv = slm_gguf_kv_at(gguf, i);
        sum += sum_of(kv->data, kv->bytes) + sum_of((const unsigned char *)kv->key.ptr, kv->key.len);
        size_t cursor = 0, n = 0;
        struct slm_str text;
        if (kv->array_type != SLM_GGUF_STRING) continue;
        while (slm_gguf_next_string(kv, &cursor, &text)) sum += sum_of((const unsigned char *)text.ptr, text.len) + ++n;
        assert_int_equal(n, kv->n);
    }
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        sum += sum_of(t->data, (size_t)t->bytes);
        assert_ptr_equal(slm_gguf_find_tensor(gguf, t->name), t);
    }
    return sum;
}

/* Opens an exact copy of the bytes, so that a sanitizer sees the first byte read behind them. Walks what opens. */
static slm_status open_copy(const char *data, size_t bytes, struct slm_error *error)
{
    char *copy = malloc(bytes ? bytes : 1);
    size_t live_before = live_bytes;
    struct slm_gguf *gguf = NULL;
    peak_bytes = live_before;
    if (bytes) memcpy(copy, data, bytes);
    slm_status status = slm_gguf_open_memory(copy, bytes, "bad.gguf", NULL, &gguf, error);
    if (status == SLM_OK) (void)walk(gguf);
    slm_gguf_close(gguf);
    free(copy);
    assert_int_equal(live_bytes, live_before);
    peak_bytes -= live_before;
    return status;
}

/* The file must be refused like this, and in little memory: a small multiple of its own size. Empties the file. */
static void reject(struct slm_buf *file, slm_status status, const char *where, const char *message)
{
    struct slm_error error = {0};
    char *data = malloc(file->len + 1);
    size_t bytes = file->len;
    if (bytes) memcpy(data, file->data, bytes);
    slm_buf_release(file);
    slm_status got = open_copy(data, bytes, &error);
    free(data);
    if (got != status || strstr(error.where, where) == NULL || strstr(error.message, message) == NULL)
        fail_msg("wanted %s at '%s': '%s'; got %s at '%s': '%s'", slm_status_name(status), where, message,
                 slm_status_name(got), error.where, error.message);
    if (strstr(error.where, "bad.gguf") == NULL) fail_msg("the file is not named: '%s'", error.where);
    if (strpbrk(error.message, "\n\r\033") != NULL) fail_msg("not one printable line: '%s'", error.message);
    if (peak_bytes > 4096 + 16 * bytes) fail_msg("%zu bytes allocated for a file of %zu", peak_bytes, bytes);
}

static void accept(struct slm_buf *file)
{
    struct slm_error error = {0};
    char *data = malloc(file->len + 1);
    size_t bytes = file->len;
    memcpy(data, file->data, bytes);
    slm_buf_release(file);
    if (open_copy(data, bytes, &error) != SLM_OK) fail_msg("refused: %s: %s", error.where, error.message);
    free(data);
}

/* ---- header ------------------------------------------------------------------------------------------------------ */

static void test_g01_short(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    reject(&file, SLM_ERR_FORMAT, "bad.gguf", "truncated header: a GGUF file has at least 24 bytes, this has 0");
    slm_buf_puts(&file, "GGUF");
    reject(&file, SLM_ERR_FORMAT, "bad.gguf", "this has 4");
    gb_header(&file, 0, 0);
    file.len = 20;
    reject(&file, SLM_ERR_FORMAT, "bad.gguf", "this has 20");
}

static void test_g02_magic_and_version(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    gb_header(&file, 0, 0);
    file.data[3] = 'X';
    reject(&file, SLM_ERR_FORMAT, "bad.gguf", "begins with the bytes 47 47 55 58 instead of \"GGUF\"");
    static const unsigned char versions[] = {0, 1, 4, 99};
    for (size_t i = 0; i < sizeof versions; i++) {
        char message[64];
        gb_header(&file, 0, 0);
        file.data[4] = (char)versions[i];
        (void)snprintf(message, sizeof message, "GGUF version %u; versions 2 and 3 are read", versions[i]);
        reject(&file, SLM_ERR_UNSUPPORTED, "bad.gguf", message);
    }
    gb_header(&file, 0, 0);
    file.data[4] = 0;
    file.data[7] = 3;
    reject(&file, SLM_ERR_UNSUPPORTED, "bad.gguf", "a big-endian GGUF file (version field 0x03000000)");
}

static void test_g03_counts(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const uint64_t counts[] = {UINT64_C(1) << 60, UINT64_MAX, UINT64_C(1) << 31, SIZE_MAX / 368 + 2, 100};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char message[64];
        (void)snprintf(message, sizeof message, "is %llu, of at least", (unsigned long long)counts[i]);
        gb_header(&file, counts[i], 0);
        gb_zeros(&file, 100);
        reject(&file, SLM_ERR_FORMAT, "bad.gguf", message);
        gb_header(&file, 0, counts[i]);
        gb_zeros(&file, 100);
        reject(&file, SLM_ERR_FORMAT, "bad.gguf", message);
    }
    gb_header(&file, 0, 2); /* fits by its minimum, but there is only one */
    gb_key_string(&file, "a", "a value longer than another entry");
    reject(&file, SLM_ERR_FORMAT, "key '#1'", "key name at byte 78 needs 8 bytes but the file has 0 left");
    gb_header(&file, 2, 1); /* the metadata takes the room of the tensors */
    gb_key_string(&file, "a", "a value longer than two tensor entries, which need 33 bytes each at the very least");
    reject(&file, SLM_ERR_FORMAT, "bad.gguf", "tensor count is 2, of at least 33 bytes each, but the file has 0");
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static void test_g04_key_length(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const uint64_t lengths[] = {UINT64_C(1) << 63, UINT64_MAX, 900000000, 200};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char message[64];
        gb_header(&file, 0, 1);
        gb_u64(&file, lengths[i]);
        gb_zeros(&file, 168);
        (void)snprintf(message, sizeof message, "at byte 32 needs %llu bytes but the file has 168 left",
                       (unsigned long long)lengths[i]);
        reject(&file, SLM_ERR_FORMAT, "key '#0'", message);
    }
}

static void test_g05_key_names(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    gb_header(&file, 0, 1);
    gb_key_u32(&file, "", 1);
    reject(&file, SLM_ERR_FORMAT, "key '#0'", "the name is empty");
    gb_header(&file, 0, 1);
    gb_key_u32(&file, "a.b", 1);
    file.data[24 + 8 + 1] = 0;
    reject(&file, SLM_ERR_FORMAT, "key '#0'", "control character 0x00 at byte 1");
    gb_header(&file, 0, 1);
    gb_key_u32(&file, "a\x1b[2J", 1);
    reject(&file, SLM_ERR_FORMAT, "key '#0'", "control character 0x1b at byte 1");
    gb_header(&file, 0, 1);
    gb_key_u32(&file, "ab\xc3\x28", 1);
    reject(&file, SLM_ERR_FORMAT, "key '#0'", "not valid UTF-8 at byte 2");
    gb_header(&file, 0, 1);
    gb_key_u32(&file, "half\xe2\x82", 1);
    reject(&file, SLM_ERR_FORMAT, "key '#0'", "not valid UTF-8 at byte 4");
    gb_header(&file, 0, 3);
    gb_key_u32(&file, "twice", 1);
    gb_key_u32(&file, "once", 1);
    gb_key_string(&file, "twice", "x");
    reject(&file, SLM_ERR_FORMAT, "key 'twice'", "the name is there twice (again as #2)");
    for (size_t length = 65535; length <= 65536; length++) {
        char *key = malloc(length + 1);
        memset(key, 'k', length);
        key[length] = 0;
        gb_header(&file, 0, 1);
        gb_key_u32(&file, key, 1);
        free(key);
        if (length == 65535)
            accept(&file);
        else
            reject(&file, SLM_ERR_LIMIT, "key '#0'", "key name is 65536 bytes long; at most 65535");
    }
}

static void test_g06_value_types(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const uint32_t types[] = {13, 99, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        char message[64];
        gb_header(&file, 0, 1);
        gb_key(&file, "k", types[i]);
        gb_zeros(&file, 64);
        (void)snprintf(message, sizeof message, "value type is %u; allowed are 0 (UINT8) to 12", types[i]);
        reject(&file, SLM_ERR_FORMAT, "key 'k'", message);
        gb_header(&file, 0, 1);
        gb_key_array(&file, "k", types[i], 1);
        gb_zeros(&file, 64);
        reject(&file, SLM_ERR_FORMAT, "key 'k'", "array element type is");
    }
    gb_header(&file, 0, 1);
    gb_key_array(&file, "k", SLM_GGUF_ARRAY, 1);
    gb_zeros(&file, 64);
    reject(&file, SLM_ERR_UNSUPPORTED, "key 'k'", "an array of arrays");
    gb_header(&file, 0, 1);
    gb_key(&file, "k", SLM_GGUF_BOOL);
    gb_u8(&file, 7);
    reject(&file, SLM_ERR_FORMAT, "key 'k'", "a BOOL value is 7; 0 and 1 are allowed");
    gb_header(&file, 0, 1);
    gb_key_array(&file, "k", SLM_GGUF_BOOL, 3);
    slm_buf_add(&file, "\x01\x00\x02", 3);
    reject(&file, SLM_ERR_FORMAT, "key 'k'", "a BOOL value is 2");
}

static void test_g07_array_lengths(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const struct { uint32_t type; uint64_t n; unsigned least; } rows[] = {
        {SLM_GGUF_U64, UINT64_C(1) << 61, 8}, {SLM_GGUF_U64, UINT64_MAX, 8}, {SLM_GGUF_U8, 900000000, 1},
        {SLM_GGUF_STRING, 900000000, 8}, {SLM_GGUF_STRING, 26, 8}, {SLM_GGUF_F32, 51, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char message[96];
        gb_header(&file, 0, 1);
        gb_key_array(&file, "k", rows[i].type, rows[i].n);
        gb_zeros(&file, 200);
        (void)snprintf(message, sizeof message, "array length is %llu, of at least %u bytes each, but the file has 200",
                       (unsigned long long)rows[i].n, rows[i].least);
        reject(&file, SLM_ERR_FORMAT, "key 'k'", message);
    }
    gb_header(&file, 0, 1); /* the strings inside lie */
    gb_key_array(&file, "k", SLM_GGUF_STRING, 2);
    gb_string(&file, "fine");
    gb_u64(&file, UINT64_MAX - 3);
    reject(&file, SLM_ERR_FORMAT, "key 'k'", "string at byte 69 needs 18446744073709551612 bytes but the file has 0");
}

/* Limits are limits even where the bytes are there. */
static void test_limits(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    gb_header(&file, 1, 2);
    gb_key_string(&file, "text", "0123456789");
    gb_key_array(&file, "list", SLM_GGUF_U8, 20);
    gb_zeros(&file, 20);
    gb_tensor(&file, "tensor", 1, (uint64_t[]){1}, 0, 0);
    gb_align(&file, 32);
    gb_zeros(&file, 4);
    static const struct { struct slm_gguf_limits limits; const char *where, *message; } rows[] = {
        {{.max_kv = 1}, "bad.gguf", "key count is 2; at most 1"},
        {{.max_key_bytes = 3}, "key '#0'", "key name is 4 bytes long; at most 3"},
        {{.max_string = 9}, "key 'text'", "string is 10 bytes long; at most 9"},
        {{.max_array = 19}, "key 'list'", "array length is 20; at most 19"},
        {{.max_name_bytes = 5}, "tensor '#0'", "tensor name is 6 bytes long; at most 5"}};
    struct slm_gguf *gguf;
    struct slm_error error = {0};
    struct slm_gguf_limits enough = {2, 1, 4, 6, 20, 10, 1};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        slm_status status = slm_gguf_open_memory(file.data, file.len, "bad.gguf", &rows[i].limits, &gguf, &error);
        assert_int_equal(status, SLM_ERR_LIMIT);
        if (!strstr(error.where, rows[i].where) || !strstr(error.message, rows[i].message))
            fail_msg("'%s': '%s'", error.where, error.message);
    }
    assert_int_equal(slm_gguf_open_memory(file.data, file.len, "bad.gguf", &enough, &gguf, &error), SLM_OK);
    slm_gguf_close(gguf);
    slm_buf_release(&file);
}

static void test_g09_alignment(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const struct { uint32_t value; slm_status status; const char *message; } rows[] = {
        {0, SLM_ERR_FORMAT, "is 0; it must be a power of two"}, {7, SLM_ERR_FORMAT, "is 7; it must be a power of two"},
        {UINT32_MAX, SLM_ERR_FORMAT, "must be a power of two"},
        {UINT32_C(1) << 31, SLM_ERR_LIMIT, "is 2147483648; at most 16777216"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gb_header(&file, 0, 1);
        gb_key_u32(&file, "general.alignment", rows[i].value);
        reject(&file, rows[i].status, "key 'general.alignment'", rows[i].message);
    }
    gb_header(&file, 0, 1);
    gb_key_string(&file, "general.alignment", "32");
    reject(&file, SLM_ERR_FORMAT, "key 'general.alignment'", "is STRING; it must be UINT32");
    gb_header(&file, 0, 1);
    gb_key(&file, "general.alignment", SLM_GGUF_U64);
    gb_u64(&file, 32);
    reject(&file, SLM_ERR_FORMAT, "key 'general.alignment'", "is UINT64; it must be UINT32");
    for (uint32_t alignment = 1; alignment <= 256; alignment *= 2) {
        gb_header(&file, 2, 1);
        gb_key_u32(&file, "general.alignment", alignment);
        gb_tensor(&file, "a", 1, (uint64_t[]){3}, 1, 0);
        gb_tensor(&file, "b", 1, (uint64_t[]){3}, 1, (6 + alignment - 1) / alignment * alignment);
        gb_align(&file, alignment);
        gb_zeros(&file, (6 + alignment - 1) / alignment * alignment + 6);
        accept(&file);
    }
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* A file of one tensor. */
static void one_tensor(struct slm_buf *file, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t dtype,
                       uint64_t offset, size_t data_bytes)
{
    gb_header(file, 1, 0);
    gb_tensor(file, name, n_dims, dims, dtype, offset);
    gb_align(file, 32);
    gb_zeros(file, data_bytes);
}

static void test_g10_g13_dimensions(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const uint64_t five[] = {1, 1, 1, 1, 1};
    one_tensor(&file, "t", 0, five, 0, 0, 64);
    reject(&file, SLM_ERR_FORMAT, "tensor 't'", "has 0 dimensions; 1 to 4 are allowed");
    one_tensor(&file, "t", 5, five, 0, 0, 64);
    reject(&file, SLM_ERR_FORMAT, "tensor 't'", "has 5 dimensions; 1 to 4 are allowed");
    one_tensor(&file, "t", 1, five, 0, 0, 64);
    memset(file.data + 24 + 9, 255, 4);
    reject(&file, SLM_ERR_FORMAT, "tensor 't'", "has 4294967295 dimensions");

    static const struct { uint64_t dims[4]; uint32_t n, dtype; const char *message; } rows[] = {
        {{0}, 1, 0, "dimension 0 is 0; it must be at least 1"},
        {{4, 0}, 2, 0, "dimension 1 is 0"},
        {{(uint64_t)-4}, 1, 0, "dimension 0 is -4; it must be at least 1"},
        {{UINT64_C(1) << 32, UINT64_C(1) << 32}, 2, 0, "4294967296 x 4294967296 x 1 x 1 elements overflow"},
        {{UINT64_C(1) << 62, 4}, 2, 0, "elements overflow; fewer than 2^63"},
        {{4, UINT64_C(1) << 61, 2, 4}, 4, 0, "elements overflow"},
        {{UINT64_C(1) << 62, 2}, 2, 0, "elements overflow"},                      /* 2^63 */
        {{(UINT64_C(1) << 62) - 1}, 1, 0, "needs 18446744073709551612 bytes at byte 64 but the file has 128"},
        {{UINT64_C(1) << 62}, 1, 0, "the size of 4611686018427387904 elements of type F32 overflows"},
        {{UINT64_C(1) << 61}, 1, 0, "needs 9223372036854775808 bytes at byte 64 but the file has 128"},
        {{INT64_MAX}, 1, 0, "the size of 9223372036854775807 elements of type F32 overflows"},
        {{17}, 1, 0, "needs 68 bytes at byte 64 but the file has 128"},
        {{255}, 1, 12, "rows of 255 elements do not fit type Q4_K, which comes in blocks of 256"},
        {{128, 2}, 2, 12, "rows of 128 elements do not fit type Q4_K"},
        {{16, 2}, 2, 8, "rows of 16 elements do not fit type Q8_0, which comes in blocks of 32"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        one_tensor(&file, "t", rows[i].n, rows[i].dims, rows[i].dtype, 0, 0);
        while (file.len < 128) gb_u8(&file, 0);
        reject(&file, SLM_ERR_FORMAT, "tensor 't'", rows[i].message);
    }
}

static void test_g13_sum_of_sizes(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    gb_header(&file, 3, 0); /* 2^62 bytes each: offsets wrap to where the file is */
    for (uint64_t i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        gb_tensor(&file, name, 1, (uint64_t[]){UINT64_C(1) << 60}, 0, i << 62);
    }
    gb_align(&file, 32);
    gb_zeros(&file, 64);
    reject(&file, SLM_ERR_FORMAT, "tensor 'a'", "needs 4611686018427387904 bytes at byte 128 but the file has 192");
}

static void test_g14_types(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const uint32_t types[] = {UINT32_MAX, 9999, 4, 5, 9, 16, 37};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char message[96];
        one_tensor(&file, "t", 1, (uint64_t[]){256}, types[i], 0, 2048);
        (void)snprintf(message, sizeof message, "tensor type is %d; these are read: F32(0) F16(1) Q4_0(2)",
                       (int)types[i]);
        reject(&file, SLM_ERR_UNSUPPORTED, "tensor 't'", message);
    }
}

/* One tensor of panels; of Q4_0, 18 rows of 64 are two panels of 16 x 2 blocks of 18 bytes. Rows of 32 have 16 scales
 * of 2 bytes, which take 64, and 256 bytes of codes a panel. */
static void packed_tensor(struct slm_buf *file, uint32_t alignment, uint32_t id, uint32_t n_dims, const uint64_t *dims,
                          size_t data_bytes)
{
    gb_header(file, 1, 1);
    gb_key_u32(file, "general.alignment", alignment);
    gb_tensor(file, "t", n_dims, dims, id, 0);
    gb_align(file, 64);
    gb_zeros(file, data_bytes);
}

static void test_packed(void **state)
{
    (void)state;
    enum { Q4_0 = 0x52160102, PANEL = 16 * 2 * 18 };
    struct slm_buf file = {0};
    static const struct {
        uint32_t alignment, id, n_dims;
        uint64_t dims[4];
        size_t bytes;
        slm_status status;
        const char *message;
    } rows[] = {
        {64, 0x52160202, 2, {64, 18}, 2 * PANEL, SLM_ERR_UNSUPPORTED, "packed in layout 2; layout 1 is read"},
        {64, 0x52160002, 2, {64, 18}, 2 * PANEL, SLM_ERR_UNSUPPORTED, "packed in layout 0; layout 1 is read"},
        {64, 0x52160101, 2, {64, 18}, 2 * PANEL, SLM_ERR_FORMAT, "packed from type 1, of which there are no panels"},
        {64, 0x52160123, 2, {256, 18}, 4096, SLM_ERR_FORMAT, "packed from type 35, of which there are no panels"},
        {64, 0x521601ff, 2, {64, 18}, 2 * PANEL, SLM_ERR_FORMAT, "packed from type 255"},
        {64, 0x52170102, 2, {64, 18}, 2 * PANEL, SLM_ERR_UNSUPPORTED, "tensor type is 1377239298; these are read"},
        {64, Q4_0, 1, {64}, 2 * PANEL, SLM_ERR_FORMAT, "is packed and has 1 dimensions; only matrices are"},
        {64, Q4_0, 3, {64, 18, 1}, 2 * PANEL, SLM_ERR_FORMAT, "is packed and has 3 dimensions"},
        {32, Q4_0, 2, {64, 18}, 2 * PANEL, SLM_ERR_FORMAT, "packed in a file aligned to 32; panels need a multiple"},
        {64, Q4_0, 2, {48, 18}, 2 * PANEL, SLM_ERR_FORMAT, "rows of 48 elements do not fit type Q4_0"},
        {64, Q4_0, 2, {64, 18}, 2 * PANEL - 1, SLM_ERR_FORMAT, "needs 1152 bytes at byte 128 but the file has 1279"},
        {64, Q4_0, 2, {64, 33}, 2 * PANEL, SLM_ERR_FORMAT, "needs 1728 bytes at byte 128"},
        {64, Q4_0, 2, {UINT64_C(1) << 62, 1}, 64, SLM_ERR_FORMAT, "elements of packed type Q4_0 overflows"},
        {64, Q4_0, 2, {32, UINT64_C(1) << 57}, 64, SLM_ERR_FORMAT, "needs 2882303761517117440 bytes at byte 128"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        packed_tensor(&file, rows[i].alignment, rows[i].id, rows[i].n_dims, rows[i].dims, rows[i].bytes);
        reject(&file, rows[i].status, "tensor 't'", rows[i].message);
    }
    packed_tensor(&file, 128, Q4_0, 2, (uint64_t[]){64, 18}, 2 * PANEL);
    accept(&file);
}

static void test_g15_names(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const uint64_t one[] = {1};
    static const char sixty_three[] = "123456789012345678901234567890123456789012345678901234567890123";
    _Static_assert(sizeof sixty_three == 64, "63 and a NUL");
    one_tensor(&file, sixty_three, 1, one, 0, 0, 4);
    accept(&file);
    char sixty_four[66];
    (void)snprintf(sixty_four, sizeof sixty_four, "%s4", sixty_three);
    one_tensor(&file, sixty_four, 1, one, 0, 0, 4);
    reject(&file, SLM_ERR_LIMIT, "tensor '#0'", "tensor name is 64 bytes long; at most 63 are allowed");
    one_tensor(&file, "", 1, one, 0, 0, 4);
    reject(&file, SLM_ERR_FORMAT, "tensor '#0'", "the name is empty");
    one_tensor(&file, "a/../../etc/passwd", 1, one, 0, 0, 4);
    reject(&file, SLM_ERR_FORMAT, "tensor 'a/../../etc/passwd'", "must not contain \"../\"");
    one_tensor(&file, "line\nbreak", 1, one, 0, 0, 4);
    reject(&file, SLM_ERR_FORMAT, "tensor '#0'", "control character 0x0a at byte 4");
    one_tensor(&file, "\xff", 1, one, 0, 0, 4);
    reject(&file, SLM_ERR_FORMAT, "tensor '#0'", "not valid UTF-8 at byte 0");
    gb_header(&file, 2, 0);
    gb_tensor(&file, "same", 1, one, 0, 0);
    gb_tensor(&file, "same", 1, one, 0, 32);
    gb_align(&file, 32);
    gb_zeros(&file, 36);
    reject(&file, SLM_ERR_FORMAT, "tensor 'same'", "the name is there twice (again as #1)");
    /* Names are escaped in messages: a right-to-left override does not reach a terminal. */
    one_tensor(&file, "a\xe2\x80\xae" "b", 0, one, 0, 0, 4);
    reject(&file, SLM_ERR_FORMAT, "tensor 'a\\xE2\\x80\\xAEb'", "has 0 dimensions");
}

static void test_g16_offsets(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const struct { uint64_t offset; const char *message; } rows[] = {
        {UINT64_C(1) << 63, "data offset is 9223372036854775808, which leaves a hole; it must be 64"},
        {UINT64_MAX - 31, "which leaves a hole"},
        {32, "data offset is 32, which overlaps the tensor before; it must be 64"},
        {0, "overlaps the tensor before"},
        {65, "data offset is 65, which is not aligned; it must be 64 (tensors follow each other, aligned to 32)"},
        {128, "leaves a hole"},
        {1 << 20, "leaves a hole"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gb_header(&file, 2, 0);
        gb_tensor(&file, "a", 1, (uint64_t[]){10}, 0, 0); /* 40 bytes, so the next begins at 64 */
        gb_tensor(&file, "b", 1, (uint64_t[]){10}, 0, rows[i].offset);
        gb_align(&file, 32);
        gb_zeros(&file, 256);
        reject(&file, SLM_ERR_FORMAT, "tensor 'b'", rows[i].message);
    }
    one_tensor(&file, "a", 1, (uint64_t[]){1}, 0, 32, 64);
    reject(&file, SLM_ERR_FORMAT, "tensor 'a'", "data offset is 32, which leaves a hole; it must be 0");
}

static void test_g17_cut_data(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    static const size_t cuts[] = {1, 5000, 8000};
    for (size_t i = 0; i < 3; i++) {
        char message[96];
        one_tensor(&file, "t", 1, (uint64_t[]){2000}, 0, 0, 8000);
        file.len -= cuts[i];
        (void)snprintf(message, sizeof message, "needs 8000 bytes at byte 64 but the file has %zu: it is cut short",
                       file.len);
        reject(&file, SLM_ERR_FORMAT, "tensor 't'", message);
    }
    one_tensor(&file, "t", 1, (uint64_t[]){2000}, 0, 0, 8000);
    file.len = 60; /* inside the padding */
    reject(&file, SLM_ERR_FORMAT, "tensor 't'", "but the file has 60");
}

/* ---- every cut, every byte --------------------------------------------------------------------------------------- */

/* One of everything, small. */
static size_t sample(struct slm_buf *file)
{
    gb_header(file, 2, 6);
    gb_key_string(file, "general.architecture", "llama");
    gb_key_u32(file, "general.alignment", 8);
    gb_key(file, "b", SLM_GGUF_BOOL);
    gb_u8(file, 1);
    gb_key_array(file, "words", SLM_GGUF_STRING, 2);
    gb_string(file, "x");
    gb_string(file, "");
    gb_key_array(file, "f", SLM_GGUF_F32, 2);
    gb_zeros(file, 8);
    gb_key(file, "i", SLM_GGUF_I64);
    gb_u64(file, 5);
    gb_tensor(file, "a.weight", 2, (uint64_t[]){32, 1}, 8, 0);
    gb_tensor(file, "b", 1, (uint64_t[]){3}, 1, 40);
    gb_align(file, 8);
    size_t header_bytes = file->len;
    gb_zeros(file, 46);
    return header_bytes;
}

static void check_clean(const char *data, size_t bytes, const char *what, size_t at)
{
    struct slm_error error = {0};
    slm_status status = open_copy(data, bytes, &error);
    bool refused = status == SLM_ERR_FORMAT || status == SLM_ERR_LIMIT || status == SLM_ERR_UNSUPPORTED;
    bool said_why = error.message[0] != 0 && strstr(error.where, "bad.gguf") != NULL;
    if (status != SLM_OK && !(refused && said_why))
        fail_msg("%s at %zu: %s at '%s': '%s'", what, at, slm_status_name(status), error.where, error.message);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    (void)sample(&file);
    assert_int_equal(open_copy(file.data, file.len, NULL), SLM_OK);
    for (size_t cut = 0; cut < file.len; cut++) {
        check_clean(file.data, cut, "cut", cut);
        assert_int_equal(open_copy(file.data, cut, NULL), SLM_ERR_FORMAT); /* nothing is optional at the end here */
    }
    slm_buf_release(&file);
}

/* All 255 changes of each byte; where tests usually run emulated, the flips of one bit and of all eight. */
static void test_every_byte_changed(void **state)
{
    (void)state;
#ifdef __x86_64__
    const bool all = true;
#else
    const bool all = false;
#endif
    struct slm_buf file = {0};
    size_t header_bytes = sample(&file);
    for (size_t at = 0; at < header_bytes; at++) {
        char was = file.data[at];
        for (int change = 1; change < 256; change++) {
            if (!all && (change & (change - 1)) != 0 && change != 255) continue;
            file.data[at] = (char)(was ^ change);
            check_clean(file.data, file.len, "byte changed", at);
        }
        file.data[at] = was;
    }
    slm_buf_release(&file);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void open_one(void *user, bool large)
{
    const struct slm_buf *file = (const struct slm_buf *)user + large;
    struct slm_gguf *gguf;
    assert_int_equal(slm_gguf_open_memory(file->data, file->len, "many.gguf", NULL, &gguf, NULL), SLM_OK);
    slm_gguf_close(gguf);
}

static void many_keys(struct slm_buf *file, unsigned n)
{
    char name[32];
    gb_header(file, 0, n);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "some.key.%u", i);
        gb_key_u32(file, name, i);
    }
}

static void many_tensors(struct slm_buf *file, unsigned n)
{
    char name[32];
    gb_header(file, n, 0);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "blk.%u.weight", i);
        gb_tensor(file, name, 1, (uint64_t[]){8}, 0, 32 * (uint64_t)i);
    }
    gb_align(file, 32);
    gb_zeros(file, 32 * (size_t)n);
}

/* Four times the size may take 8 times as long: linear time is 4 and a little, quadratic would be 16. Small
 * enough to stay in the caches, which would flatter the smaller file otherwise. */
static void check_linear(void (*make)(struct slm_buf *, unsigned), unsigned n, const char *what)
{
    struct slm_buf files[2] = {{0}, {0}};
    make(&files[0], n);
    make(&files[1], 4 * n);
    const double ratio = test_ratio(open_one, files, 8);
    print_message("4 times the %s: %.1f times as long\n", what, ratio);
    if (ratio > 8) fail_msg("4 times the %s took %.1f times as long", what, ratio);
    slm_buf_release(&files[0]);
    slm_buf_release(&files[1]);
}

static void test_g08_linear_time(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    check_linear(many_keys, 4000, "keys");
    check_linear(many_tensors, 4000, "tensors");
    many_keys(&file, 65536);
    accept(&file);
    many_keys(&file, 65537);
    reject(&file, SLM_ERR_LIMIT, "bad.gguf", "key count is 65537; at most 65536 are allowed");
    gb_header(&file, 1048577, 0);
    gb_zeros(&file, 1048577 * 33);
    reject(&file, SLM_ERR_LIMIT, "bad.gguf", "tensor count is 1048577; at most 1048576 are allowed");
}

/* Names chosen to fall on a few slots of the index: a million of them would make it a list. */
static void test_colliding_names(void **state)
{
    (void)state;
    enum { N = 600, SLOTS = 2048 }; /* the index has at least two slots a name, and a power of two of them */
    struct slm_buf file = {0};
    gb_header(&file, 0, N);
    char name[16];
    unsigned n = 0;
    for (unsigned i = 0; n < N; i++) {
        int length = snprintf(name, sizeof name, "%u", i);
        if (slm_hash_bytes(name, (size_t)length, 0) % SLOTS >= 4) continue;
        gb_key_u32(&file, name, i);
        n++;
    }
    reject(&file, SLM_ERR_LIMIT, "bad.gguf: key", "too many names fall together in the hash index");
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

static void test_g35_paths(void **state)
{
    (void)state;
    char folder[] = "/tmp/slm-test-gguf-XXXXXX", path[64], loop[64], strange[64];
    struct slm_gguf *gguf;
    struct slm_error error = {0};
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/fifo", folder);
    (void)snprintf(loop, sizeof loop, "%s/loop", folder);
    (void)snprintf(strange, sizeof strange, "%s/new\nline", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(symlink(loop, loop), 0);
    const char *const paths[] = {folder, path, loop, strange, "/dev/zero", "/dev/random", "/nonexistent.gguf", ""};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        slm_status status = slm_gguf_open(paths[i], NULL, &gguf, &error); /* returns: a FIFO would block for ever */
        if (status != SLM_ERR_IO) fail_msg("'%s': %s", paths[i], slm_status_name(status));
        assert_true(error.message[0] != 0);
        assert_null(strchr(error.where, '\n'));
    }
    FILE *empty = fopen(strange, "w");
    fclose(empty);
    assert_int_equal(slm_gguf_open(strange, NULL, &gguf, &error), SLM_ERR_FORMAT);
    assert_non_null(strstr(error.where, "new\\x0Aline"));
    unlink(path);
    unlink(loop);
    unlink(strange);
    rmdir(folder);
    assert_int_equal(live_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g01_short),
        cmocka_unit_test(test_g02_magic_and_version),
        cmocka_unit_test(test_g03_counts),
        cmocka_unit_test(test_g04_key_length),
        cmocka_unit_test(test_g05_key_names),
        cmocka_unit_test(test_g06_value_types),
        cmocka_unit_test(test_g07_array_lengths),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_g08_linear_time),
        cmocka_unit_test(test_colliding_names),
        cmocka_unit_test(test_g09_alignment),
        cmocka_unit_test(test_g10_g13_dimensions),
        cmocka_unit_test(test_g13_sum_of_sizes),
        cmocka_unit_test(test_g14_types),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_g15_names),
        cmocka_unit_test(test_g16_offsets),
        cmocka_unit_test(test_g17_cut_data),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_g35_paths),
    };
    return cmocka_run_group_tests(tests, install_counter, remove_counter);
}
