/* SPDX-License-Identifier: MIT
 * The GGUF reader and writer on well-formed files: a real file against a reading made with ggml, every value type,
 * both versions, split models, what the writer makes, what changes behind our back. Bad files: test_gguf_bad.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "format/gguf.h"
#include "effort.h"
#include "gguf_builder.h"

#define OK(call)                                                                                             \
    do {                                                                                                     \
        struct slm_error error_ = {0};                                                                       \
        struct slm_error *error = &error_;                                                                   \
        if ((call) != SLM_OK) fail_msg("%s: %s: %s", #call, error_.where, error_.message);                   \
    } while (0)

static char folder[] = "/tmp/slm-test-gguf-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* Path of a file in the test's folder; valid until the fourth call after. */
static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void save(const char *path, const struct slm_buf *file)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file->data, 1, file->len, f), file->len);
    assert_int_equal(fclose(f), 0);
}

static void load(const char *path, struct slm_buf *file)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("cannot read %s", path);
    char chunk[4096];
    size_t n;
    slm_buf_clear(file);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) slm_buf_add(file, chunk, n);
    fclose(f);
}

static bool shared_file(char *path, size_t size, const char *name)
{
    const char *shared = getenv("SLM_SHARED");
    (void)snprintf(path, size, "%s/%s", shared ? shared : SLM_SOURCE_DIR "/../shared", name);
    if (access(path, R_OK) == 0) return true;
    print_message("skipped: no %s\n", path);
    return false;
}

/* ---- a real file ------------------------------------------------------------------------------------------------ */

/* FNV-1a with the start value of the reference file (not the usual one). */
static uint64_t fnv(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    return hash;
}
#define FNV_START UINT64_C(1469598103934665603)

static void dump_kv(struct slm_buf *out, const struct slm_gguf_kv *kv)
{
    static const char *const names[] = {"u8",   "i8",  "u16", "i16", "u32", "i32", "f32",
                                        "bool", "str", "arr", "u64", "i64", "f64"};
    slm_buf_puts(out, "kv ");
    slm_buf_add_str(out, kv->key);
    size_t cursor = 0;
    struct slm_str text;
    if (kv->type == SLM_GGUF_ARRAY) {
        uint64_t hash = FNV_START;
        if (kv->array_type == SLM_GGUF_STRING) {
            while (slm_gguf_next_string(kv, &cursor, &text)) hash = fnv(fnv(hash, text.ptr, text.len), "", 1);
        } else {
            hash = fnv(hash, kv->data, kv->bytes);
        }
        slm_buf_printf(out, " arr %s x%llu fnv:%016llx\n", names[kv->array_type], (unsigned long long)kv->n,
                       (unsigned long long)hash);
    } else if (kv->type == SLM_GGUF_STRING) {
        assert_true(slm_gguf_next_string(kv, &cursor, &text));
        slm_buf_puts(out, " str \"");
        slm_buf_add_str(out, text);
        slm_buf_puts(out, "\"\n");
    } else if (kv->type == SLM_GGUF_F32) {
        float f = (float)slm_gguf_f64_at(kv, 0);
        uint32_t bits;
        memcpy(&bits, &f, 4);
        slm_buf_printf(out, " f32 f32:%08x\n", bits);
    } else {
        slm_buf_printf(out, " %s %lld\n", names[kv->type], (long long)slm_gguf_i64_at(kv, 0));
    }
}

static void test_dump_equals_ggml(void **state)
{
    (void)state;
    char model[512], reference[512];
    if (!shared_file(model, sizeof model, "data/models/stories260K/stories260K.gguf") ||
        !shared_file(reference, sizeof reference, "data/models/stories260K/gguf-dump.ggml.txt"))
        skip();
    struct slm_gguf *gguf;
    OK(slm_gguf_open(model, NULL, &gguf, error));
    struct slm_buf got = {0}, want = {0};
    slm_buf_printf(&got, "version %u\nalignment %u\ndata %llu\n", slm_gguf_version(gguf), slm_gguf_alignment(gguf),
                   (unsigned long long)slm_gguf_data_offset(gguf, 0));
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) dump_kv(&got, slm_gguf_kv_at(gguf, i));
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        slm_buf_puts(&got, "tensor ");
        slm_buf_add_str(&got, t->name);
        assert_int_equal(t->dtype, SLM_DTYPE_F32);
        slm_buf_printf(&got, " f32 at %llu size %llu fnv:%016llx\n", (unsigned long long)t->offset,
                       (unsigned long long)t->bytes, (unsigned long long)fnv(FNV_START, t->data, (size_t)t->bytes));
        assert_ptr_equal(slm_gguf_find_tensor(gguf, t->name), t);
    }
    load(reference, &want);
    assert_string_equal(got.data, want.data);
    slm_gguf_close(gguf);
    slm_buf_release(&got);
    slm_buf_release(&want);
}

/* ---- what another writer makes ----------------------------------------------------------------------------------- */

/* tests/golden/every_type.gguf was written by the Python package gguf (tools/golden/gguf_every_type.py); these are the
 * values that script gives it. */
static void test_every_type(void **state)
{
    (void)state;
    struct slm_gguf *gguf;
    OK(slm_gguf_open(SLM_SOURCE_DIR "/tests/golden/every_type.gguf", NULL, &gguf, error));
    static const struct { const char *key; int64_t value; } integers[] = {
        {"t.u8", 255}, {"t.i8", -128}, {"t.u16", 65535}, {"t.i16", -32768}, {"t.u32", 4294967295}, {"t.i32", INT32_MIN},
        {"t.u64", INT64_MAX}, {"t.i64", INT64_MIN}};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        int64_t value = 0;
        OK(slm_gguf_get_i64(gguf, integers[i].key, INT64_MIN, INT64_MAX, &value, NULL, error));
        assert_int_equal(value, integers[i].value);
    }
    double d = 0;
    bool b = false, found = false;
    struct slm_str text;
    const struct slm_gguf_kv *array;
    OK(slm_gguf_get_f64(gguf, "t.f32", -1e9, 1e9, &d, NULL, error));
    assert_true(d == (double)-1.5e-3f);
    OK(slm_gguf_get_f64(gguf, "t.f64", -1e9, 1e9, &d, NULL, error));
    assert_true(d == 3.141592653589793);
    OK(slm_gguf_get_bool(gguf, "t.bool", &b, &found, error));
    assert_true(b && found);
    OK(slm_gguf_get_str(gguf, "t.string", &text, NULL, error));
    assert_true(slm_str_is(text, "h\xc3\xa9llo\nworld"));
    OK(slm_gguf_get_str(gguf, "t.empty", &text, NULL, error));
    assert_int_equal(text.len, 0);
    OK(slm_gguf_get_array(gguf, "t.array_i32", SLM_GGUF_I32, &array, NULL, error));
    assert_int_equal(array->n, 3);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(slm_gguf_i64_at(array, i), ((int64_t[]){-1, 0, 7})[i]);
    OK(slm_gguf_get_array(gguf, "t.array_f32", SLM_GGUF_F32, &array, NULL, error));
    assert_true(slm_gguf_f64_at(array, 1) == 2.5);
    OK(slm_gguf_get_array(gguf, "t.array_bool", SLM_GGUF_BOOL, &array, NULL, error));
    assert_int_equal(slm_gguf_i64_at(array, 0), 1);
    assert_int_equal(slm_gguf_i64_at(array, 1), 0);
    OK(slm_gguf_get_array(gguf, "t.array_string", SLM_GGUF_STRING, &array, NULL, error));
    static const char *const words[] = {"one", "", "\xe4\xb8\x89"};
    size_t cursor = 0, n = 0;
    while (slm_gguf_next_string(array, &cursor, &text)) assert_true(slm_str_is(text, words[n++]));
    assert_int_equal(n, 3);
    assert_int_equal(slm_gguf_alignment(gguf), 64);

    assert_int_equal(slm_gguf_n_tensors(gguf), 3);
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(gguf, slm_str("a.weight"));
    assert_non_null(t);
    assert_int_equal(t->dtype, SLM_DTYPE_F32);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 3);
    assert_int_equal(t->dims[1], 2);
    assert_int_equal(t->dims[2], 1);
    for (int i = 0; i < 6; i++) {
        float f;
        memcpy(&f, t->data + 4 * i, 4);
        assert_true(f == (float)i);
    }
    t = slm_gguf_find_tensor(gguf, slm_str("b.weight"));
    assert_int_equal(t->dtype, SLM_DTYPE_F16);
    assert_int_equal(t->n_elements, 5);
    t = slm_gguf_find_tensor(gguf, slm_str("c.weight"));
    assert_int_equal(t->dtype, SLM_DTYPE_Q8_0);
    assert_int_equal(t->bytes, 2 * 34);
    assert_int_equal((uintptr_t)t->offset % 64, 0);
    assert_null(slm_gguf_find_tensor(gguf, slm_str("d.weight")));
    slm_gguf_drop_bytes(gguf, t->data, (size_t)t->bytes);
    slm_gguf_close(gguf);
}

/* Copies a file through reader and writer. */
static void rewrite(const char *from, const char *to)
{
    struct slm_gguf *gguf;
    struct slm_gguf_writer *w;
    OK(slm_gguf_open(from, NULL, &gguf, error));
    OK(slm_gguf_writer_open(to, slm_gguf_alignment(gguf), &w, error));
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) OK(slm_gguf_write_kv(w, slm_gguf_kv_at(gguf, i), error));
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        OK(slm_gguf_declare_tensor(w, t->name, t->dtype, t->dims, t->n_dims, error));
    }
    /* In pieces of 7 bytes, so that pieces straddle tensors never but chunks are many; the last in one. */
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        size_t step = i + 1 == slm_gguf_n_tensors(gguf) ? (size_t)t->bytes : 7;
        for (size_t at = 0; at < t->bytes; at += step)
            OK(slm_gguf_write_data(w, t->data + at, t->bytes - at < step ? (size_t)t->bytes - at : step, error));
    }
    OK(slm_gguf_writer_finish(w, error));
    slm_gguf_close(gguf);
}

static void assert_same_file(const char *a, const char *b)
{
    struct slm_buf x = {0}, y = {0};
    load(a, &x);
    load(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    slm_buf_release(&x);
    slm_buf_release(&y);
}

/* The same bytes as the other writer's, alignment, padding and all. */
static void test_rewrite_is_identical(void **state)
{
    (void)state;
    char model[512];
    rewrite(SLM_SOURCE_DIR "/tests/golden/every_type.gguf", in_folder("copy.gguf"));
    assert_same_file(SLM_SOURCE_DIR "/tests/golden/every_type.gguf", in_folder("copy.gguf"));
    if (!shared_file(model, sizeof model, "data/models/stories260K/stories260K.gguf")) return;
    rewrite(model, in_folder("copy.gguf")); /* over the one that is there */
    assert_same_file(model, in_folder("copy.gguf"));
}

/* ---- small files ------------------------------------------------------------------------------------------------ */

static struct slm_gguf *open_memory(const struct slm_buf *file)
{
    struct slm_gguf *gguf = NULL;
    OK(slm_gguf_open_memory(file->data, file->len, "memory.gguf", NULL, &gguf, error));
    return gguf;
}

static void test_smallest_and_v2(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    gb_header(&file, 0, 0);
    struct slm_gguf *gguf = open_memory(&file);
    assert_int_equal(slm_gguf_n_kv(gguf), 0);
    assert_int_equal(slm_gguf_n_tensors(gguf), 0);
    assert_int_equal(slm_gguf_alignment(gguf), 32);
    assert_int_equal(slm_gguf_file_bytes(gguf), 24);
    assert_int_equal(slm_gguf_n_parts(gguf), 1);
    assert_null(slm_gguf_find(gguf, "general.name"));
    assert_string_equal(slm_gguf_name(gguf), "memory.gguf");
    slm_gguf_close(gguf);
    slm_gguf_close(NULL);

    slm_buf_clear(&file);
    gb_header(&file, 1, 1);
    file.data[4] = 2;
    gb_key_string(&file, "general.name", "old");
    gb_tensor(&file, "x", 1, (uint64_t[]){2}, 0, 0);
    gb_align(&file, 32);
    gb_zeros(&file, 8);
    gguf = open_memory(&file);
    assert_int_equal(slm_gguf_version(gguf), 2);
    assert_int_equal(slm_gguf_tensor_at(gguf, 0)->bytes, 8);
    /* Bytes after the last tensor are not ours to judge. */
    slm_gguf_close(gguf);
    gb_zeros(&file, 4096);
    gguf = open_memory(&file);
    assert_int_equal(slm_gguf_file_bytes(gguf), file.len);
    slm_gguf_close(gguf);
    slm_buf_release(&file);
}

/* Fails unless the last error says this. */
static void assert_error(slm_status got, const struct slm_error *error, slm_status want, const char *where,
                         const char *message)
{
    if (got != want || strstr(error->where, where) == NULL || strstr(error->message, message) == NULL)
        fail_msg("wanted %s at '%s': '%s'; got %s at '%s': '%s'", slm_status_name(want), where, message,
                 slm_status_name(got), error->where, error->message);
    assert_null(strchr(error->message, '\n'));
}

static struct slm_gguf *open_getter_sample(struct slm_buf *file_out)
{
    struct slm_buf file = {0};
    gb_header(&file, 0, 8);
    gb_key_u32(&file, "n", 7);
    gb_key_string(&file, "s", "text");
    gb_key(&file, "big", SLM_GGUF_U64);
    gb_u64(&file, UINT64_MAX);
    gb_key(&file, "nan", SLM_GGUF_F32);
    gb_u32(&file, 0x7fc00000);
    gb_key_array(&file, "bytes", SLM_GGUF_U8, 3);
    slm_buf_add(&file, "\x01\x02\xff", 3);
    gb_key_array(&file, "none", SLM_GGUF_STRING, 0);
    gb_key_array(&file, "u32s", SLM_GGUF_U32, 1);
    gb_u32(&file, UINT32_MAX);
    gb_key(&file, "f", SLM_GGUF_F64);
    gb_u64(&file, 0xc08f400000000000); /* -1000.0 */
    *file_out = file;
    return open_memory(file_out);
}

static void test_getters(void **state)
{
    (void)state;
    struct slm_buf file;
    struct slm_gguf *gguf = open_getter_sample(&file);
    struct slm_error e = {0};
    int64_t i = 5;
    double d = 5;
    bool b = true, found = true;
    struct slm_str text;

    OK(slm_gguf_get_i64(gguf, "absent", 0, 9, &i, &found, error));
    assert_true(!found && i == 5);
    assert_error(slm_gguf_get_i64(gguf, "absent", 0, 9, &i, NULL, &e), &e, SLM_ERR_FORMAT, "memory.gguf: key 'absent'",
                 "is missing");
    OK(slm_gguf_get_i64(gguf, "n", 7, 7, &i, &found, error));
    assert_true(found && i == 7);
    assert_error(slm_gguf_get_i64(gguf, "n", 8, 9, &i, NULL, &e), &e, SLM_ERR_FORMAT, "key 'n'",
                 "is 7; allowed are 8 to 9");
    assert_error(slm_gguf_get_i64(gguf, "s", 0, 9, &i, NULL, &e), &e, SLM_ERR_FORMAT, "key 's'",
                 "is STRING; it must be an integer");
    assert_error(slm_gguf_get_i64(gguf, "f", 0, 9, &i, NULL, &e), &e, SLM_ERR_FORMAT, "key 'f'", "must be an integer");
    assert_error(slm_gguf_get_i64(gguf, "bytes", 0, 9, &i, NULL, &e), &e, SLM_ERR_FORMAT, "key 'bytes'",
                 "is array of 3 UINT8; it must be an integer");
    assert_error(slm_gguf_get_i64(gguf, "big", INT64_MIN, INT64_MAX, &i, NULL, &e), &e, SLM_ERR_FORMAT, "key 'big'",
                 "is 18446744073709551615; allowed are");
    assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "big"), 0), INT64_MAX);
    assert_true(slm_gguf_f64_at(slm_gguf_find(gguf, "big"), 0) == 0x1p64);
    assert_int_equal(i, 7);

    assert_error(slm_gguf_get_f64(gguf, "nan", -INFINITY, INFINITY, &d, NULL, &e), &e, SLM_ERR_FORMAT, "key 'nan'",
                 "is nan; allowed");
    assert_error(slm_gguf_get_f64(gguf, "n", 0, 9, &d, NULL, &e), &e, SLM_ERR_FORMAT, "key 'n'",
                 "is UINT32; it must be FLOAT32 or FLOAT64");
    assert_true(d == 5);
    OK(slm_gguf_get_f64(gguf, "f", -1000, 0, &d, NULL, error));
    assert_true(d == -1000);
    assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "nan"), 0), 0);
    assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "f"), 0), -1000);
    assert_error(slm_gguf_get_bool(gguf, "n", &b, NULL, &e), &e, SLM_ERR_FORMAT, "key 'n'", "must be BOOL");
    assert_error(slm_gguf_get_str(gguf, "n", &text, NULL, &e), &e, SLM_ERR_FORMAT, "key 'n'", "must be STRING");

    slm_gguf_close(gguf);
    slm_buf_release(&file);
}

/* Absent keys leave the caller's default; ranges are checked at both ends; conversions meet their ends. */
static void test_getter_edges(void **state)
{
    (void)state;
    struct slm_buf file;
    struct slm_gguf *gguf = open_getter_sample(&file);
    struct slm_error e = {0};
    int64_t i = 5;
    double d = 5;
    bool b = true, found = true;
    struct slm_str text = slm_str("default");
    const struct slm_gguf_kv *kv = NULL;
    OK(slm_gguf_get_f64(gguf, "absent", 0, 1, &d, &found, error));
    assert_true(!found && d == 5);
    OK(slm_gguf_get_bool(gguf, "absent", &b, &found, error));
    assert_true(!found && b);
    OK(slm_gguf_get_str(gguf, "absent", &text, &found, error));
    assert_true(!found && slm_str_is(text, "default"));
    OK(slm_gguf_get_array(gguf, "absent", SLM_GGUF_F32, &kv, &found, error));
    assert_true(!found && kv == NULL);
    assert_error(slm_gguf_get_i64(gguf, "n", 0, 6, &i, NULL, &e), &e, SLM_ERR_FORMAT, "key 'n'",
                 "is 7; allowed are 0 to 6");
    assert_error(slm_gguf_get_f64(gguf, "f", -999, 0, &d, NULL, &e), &e, SLM_ERR_FORMAT, "key 'f'",
                 "is -1000; allowed are -999 to 0");
    assert_error(slm_gguf_get_f64(gguf, "f", -2000, -1001, &d, NULL, &e), &e, SLM_ERR_FORMAT, "key 'f'", "is -1000");
    slm_gguf_close(gguf);
    slm_buf_release(&file);

    gb_header(&file, 0, 3);
    gb_key_array(&file, "huge", SLM_GGUF_F64, 2);
    gb_u64(&file, 0x7fefffffffffffff); /* the greatest and the least double */
    gb_u64(&file, 0xffefffffffffffff);
    gb_key_array(&file, "signed", SLM_GGUF_I8, 2);
    slm_buf_add(&file, "\xff\x7f", 2);
    gb_key(&file, "yes", SLM_GGUF_BOOL);
    gb_u8(&file, 1);
    gguf = open_memory(&file);
    assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "huge"), 0), INT64_MAX);
    assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "huge"), 1), INT64_MIN);
    assert_true(slm_gguf_f64_at(slm_gguf_find(gguf, "signed"), 0) == -1.0);
    assert_true(slm_gguf_f64_at(slm_gguf_find(gguf, "signed"), 1) == 127.0);
    assert_true(slm_gguf_f64_at(slm_gguf_find(gguf, "yes"), 0) == 1.0);
    assert_error(slm_gguf_get_array(gguf, "signed", SLM_GGUF_BOOL, &kv, NULL, &e), &e, SLM_ERR_FORMAT, "key 'signed'",
                 "is array of 2 INT8; it must be an array of BOOL");
    slm_gguf_close(gguf);
    slm_buf_release(&file);
}

/* Widths of arrays are never guessed: callers may read the bytes. */
static void test_get_array(void **state)
{
    (void)state;
    struct slm_buf file;
    struct slm_gguf *gguf = open_getter_sample(&file);
    struct slm_error e = {0};
    struct slm_str text;
    const struct slm_gguf_kv *kv = NULL;
    size_t cursor = 0;
    assert_error(slm_gguf_get_array(gguf, "bytes", SLM_GGUF_I32, &kv, NULL, &e), &e, SLM_ERR_FORMAT, "key 'bytes'",
                 "is array of 3 UINT8; it must be an array of INT32");
    assert_error(slm_gguf_get_array(gguf, "u32s", SLM_GGUF_F32, &kv, NULL, &e), &e, SLM_ERR_FORMAT, "key 'u32s'",
                 "an array of FLOAT32");
    assert_error(slm_gguf_get_array(gguf, "s", SLM_GGUF_STRING, &kv, NULL, &e), &e, SLM_ERR_FORMAT, "key 's'",
                 "an array of STRING");
    OK(slm_gguf_get_array(gguf, "bytes", SLM_GGUF_I8, &kv, NULL, error));
    assert_int_equal(slm_gguf_i64_at(kv, 2), 255); /* as the file has it: UINT8 */
    OK(slm_gguf_get_array(gguf, "u32s", SLM_GGUF_I32, &kv, NULL, error));
    OK(slm_gguf_get_array(gguf, "none", SLM_GGUF_STRING, &kv, NULL, error));
    assert_false(slm_gguf_next_string(kv, &cursor, &text));
    slm_gguf_close(gguf);
    slm_buf_release(&file);
}

/* ---- split models ------------------------------------------------------------------------------------------------ */

struct part {
    unsigned no, count;
    const char *arch;     /* NULL: not said */
    uint32_t n_declared;  /* split.tensors.count */
    const char *tensors;  /* a letter each */
};

static void save_part(const char *path, const struct part *part)
{
    struct slm_buf file = {0};
    size_t n_tensors = strlen(part->tensors);
    gb_header(&file, n_tensors, part->arch ? 4 : 3);
    gb_key_u16(&file, "split.no", part->no);
    gb_key_u16(&file, "split.count", part->count);
    gb_key(&file, "split.tensors.count", SLM_GGUF_I32);
    gb_u32(&file, part->n_declared);
    if (part->arch) gb_key_string(&file, "general.architecture", part->arch);
    for (size_t i = 0; i < n_tensors; i++)
        gb_tensor(&file, (char[]){part->tensors[i], 0}, 1, (uint64_t[]){8}, 0, 32 * i);
    gb_align(&file, 32);
    for (size_t i = 0; i < n_tensors; i++)
        for (int k = 0; k < 32; k++) gb_u8(&file, (unsigned char)part->tensors[i]);
    save(path, &file);
    slm_buf_release(&file);
}

static void test_split(void **state)
{
    (void)state;
    static const struct part good[3] = {{0, 3, "llama", 6, "ab"}, {1, 3, NULL, 6, "c"}, {2, 3, "llama", 6, "def"}};
    static const char *const names[3] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"};
    for (int i = 0; i < 3; i++) save_part(in_folder(names[i]), &good[i]);
    struct slm_gguf *gguf;
    OK(slm_gguf_open(in_folder(names[0]), NULL, &gguf, error));
    assert_int_equal(slm_gguf_n_parts(gguf), 3);
    assert_int_equal(slm_gguf_n_tensors(gguf), 6);
    assert_int_equal(slm_gguf_n_kv(gguf), 4);
    for (size_t i = 0; i < 6; i++) { /* the data of each tensor is its name */
        static const struct { uint16_t part; uint64_t offset; } at[6] = {{0, 0}, {0, 32}, {1, 0},
                                                                         {2, 0}, {2, 32}, {2, 64}};
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        char letter = "abcdef"[i];
        assert_true(t->name.len == 1 && t->name.ptr[0] == letter && t->data[0] == letter && t->data[31] == letter);
        assert_int_equal(t->part, at[i].part);
        assert_int_equal(t->offset, slm_gguf_data_offset(gguf, t->part) + at[i].offset);
        assert_ptr_equal(slm_gguf_find_tensor(gguf, t->name), t);
        slm_gguf_drop_bytes(gguf, t->data, (size_t)t->bytes);
    }
    OK(slm_gguf_unchanged(gguf, error));
    slm_gguf_close(gguf);

    static const struct { int part; struct part as; slm_status status; const char *where, *message; } bad[] = {
        {1, {2, 3, NULL, 6, "c"}, SLM_ERR_FORMAT, "m-00002-of-00003.gguf: key 'split.no'", "part 3 of 3; part 2 of 3"},
        {2, {2, 4, NULL, 6, "def"}, SLM_ERR_FORMAT, "m-00003-of-00003.gguf: key 'split.no'", "part 3 of 4"},
        {2, {2, 3, "qwen3", 6, "def"}, SLM_ERR_FORMAT, "key 'general.architecture'", "different models"},
        {2, {2, 3, NULL, 6, "dae"}, SLM_ERR_FORMAT, "tensor 'a'", "there twice"},
        {0, {0, 3, "llama", 9, "ab"}, SLM_ERR_FORMAT, "key 'split.tensors.count'", "is 9 but the 3 files hold 6"},
        {0, {0, 2, "llama", 6, "ab"}, SLM_ERR_FORMAT, "key 'split.count'", "by its name this is file 1 of 3"},
        {0, {1, 3, "llama", 6, "ab"}, SLM_ERR_ARGUMENT, "key 'split.no'", "file 2 of 3 of a split model; open the"},
        {0, {0, 2000, "llama", 6, "ab"}, SLM_ERR_LIMIT, "key 'split.count'", "is 2000; at most 1000"},
    };
    struct slm_error e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        save_part(in_folder(names[bad[i].part]), &bad[i].as);
        assert_error(slm_gguf_open(in_folder(names[0]), NULL, &gguf, &e), &e, bad[i].status, bad[i].where,
                     bad[i].message);
        save_part(in_folder(names[bad[i].part]), &good[bad[i].part]);
    }
    struct slm_gguf_limits few = {.max_tensors = 5};
    assert_error(slm_gguf_open(in_folder(names[0]), &few, &gguf, &e), &e, SLM_ERR_LIMIT, "m-00001",
                 "6 tensors; at most 5");
    assert_int_equal(remove(in_folder(names[2])), 0);
    assert_error(slm_gguf_open(in_folder(names[0]), NULL, &gguf, &e), &e, SLM_ERR_IO, "m-00003-of-00003.gguf", "");
    save_part(in_folder("plain.gguf"), &good[0]);
    assert_error(slm_gguf_open(in_folder("plain.gguf"), NULL, &gguf, &e), &e, SLM_ERR_FORMAT, "key 'split.count'",
                 "is 3, so the name must end in -00001-of-00003.gguf");
    save_part(in_folder("m-00002-of-00003.gguf"), &good[0]);
    assert_error(slm_gguf_open(in_folder("m-00002-of-00003.gguf"), NULL, &gguf, &e), &e, SLM_ERR_FORMAT, "split.count",
                 "by its name this is file 2 of 3");
    struct slm_buf file = {0};
    load(in_folder("plain.gguf"), &file);
    assert_error(slm_gguf_open_memory(file.data, file.len, "mem", NULL, &gguf, &e), &e, SLM_ERR_UNSUPPORTED,
                 "mem: key 'split.count'", "cannot be read from memory");
    slm_buf_release(&file);
}

/* Names that look a little like parts are names of whole models, whatever split.count 0 or 1 says. */
static void test_not_split(void **state)
{
    (void)state;
    static const char *const names[] = {"s-0000x-of-00003.gguf", "s-00001-of-000y3.gguf", "s-00001_of_00003.gguf",
                                        "s-00001-of-00003.ggml", "s00001-of-00003.gguf", "s-00001-of-00001.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct part whole = {0, i % 2, "llama", 1, "a"};
        struct slm_gguf *gguf;
        save_part(in_folder(names[i]), &whole);
        OK(slm_gguf_open(in_folder(names[i]), NULL, &gguf, error));
        assert_int_equal(slm_gguf_n_parts(gguf), 1);
        slm_gguf_close(gguf);
    }
}

/* A long path is cut in front in messages, so that the end of the name and the key stay. */
static void test_long_path(void **state)
{
    (void)state;
    struct slm_gguf *gguf;
    struct slm_error e = {0};
    char name[201];
    memset(name, 'd', 200);
    memcpy(name + 200 - 8, "end.gguf", 9);
    assert_error(slm_gguf_open_memory("GG", 2, name, NULL, &gguf, &e), &e, SLM_ERR_FORMAT, "end.gguf", "truncated");
    assert_memory_equal(e.where, "...d", 4);
    struct slm_buf file = {0};
    gb_header(&file, 0, 1);
    gb_key_u32(&file, "general.alignment", 3);
    assert_error(slm_gguf_open_memory(file.data, file.len, name, NULL, &gguf, &e), &e, SLM_ERR_FORMAT,
                 "end.gguf: key 'general.alignment'", "is 3");
    slm_buf_release(&file);
}

static void test_unchanged(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    struct slm_error e = {0};
    struct slm_gguf *gguf;
    gb_header(&file, 0, 0);
    save(in_folder("watched.gguf"), &file);
    OK(slm_gguf_open(in_folder("watched.gguf"), NULL, &gguf, error));
    OK(slm_gguf_unchanged(gguf, error));
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, in_folder("watched.gguf"), times, 0), 0);
    assert_error(slm_gguf_unchanged(gguf, &e), &e, SLM_ERR_IO, "watched.gguf", "was changed while open");
    gb_zeros(&file, 8);
    save(in_folder("watched.gguf"), &file); /* in place */
    assert_error(slm_gguf_unchanged(gguf, &e), &e, SLM_ERR_IO, "watched.gguf", "24 bytes, now 32");
    save(in_folder("other.gguf"), &file);
    assert_int_equal(rename(in_folder("other.gguf"), in_folder("watched.gguf")), 0);
    assert_error(slm_gguf_unchanged(gguf, &e), &e, SLM_ERR_IO, "watched.gguf", "another file");
    assert_int_equal(remove(in_folder("watched.gguf")), 0);
    assert_int_equal(slm_gguf_unchanged(gguf, &e), SLM_ERR_IO);
    slm_gguf_close(gguf);
    gguf = open_memory(&file);
    OK(slm_gguf_unchanged(gguf, error));
    slm_gguf_close(gguf);
    slm_buf_release(&file);
}

/* ---- writer ------------------------------------------------------------------------------------------------------ */

static void test_write_all_kinds(void **state)
{
    (void)state;
    static const struct { enum slm_gguf_type type; int64_t min, max; } ints[] = {
        {SLM_GGUF_U8, 0, 255}, {SLM_GGUF_I8, -128, 127}, {SLM_GGUF_U16, 0, 65535}, {SLM_GGUF_I16, -32768, 32767},
        {SLM_GGUF_U32, 0, 4294967295}, {SLM_GGUF_I32, INT32_MIN, INT32_MAX}, {SLM_GGUF_U64, 0, INT64_MAX},
        {SLM_GGUF_I64, INT64_MIN, INT64_MAX}};
    struct slm_gguf_writer *w;
    struct slm_error e = {0};
    char key[32];
    OK(slm_gguf_writer_open(in_folder("kinds.gguf"), 64, &w, error));
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        (void)snprintf(key, sizeof key, "min.%zu", i);
        OK(slm_gguf_write_i64(w, key, ints[i].type, ints[i].min, error));
        (void)snprintf(key, sizeof key, "max.%zu", i);
        OK(slm_gguf_write_i64(w, key, ints[i].type, ints[i].max, error));
        if (ints[i].max == INT64_MAX) continue;
        assert_error(slm_gguf_write_i64(w, "over", ints[i].type, ints[i].max + 1, &e), &e, SLM_ERR_ARGUMENT,
                     "key 'over'", "holds");
        assert_error(slm_gguf_write_i64(w, "under", ints[i].type, ints[i].min - 1, &e), &e, SLM_ERR_ARGUMENT,
                     "key 'under'", "holds");
    }
    struct slm_str words[2] = {slm_str("a"), slm_str("")};
    static const int16_t numbers[3] = {-1, 2, 300};
    OK(slm_gguf_write_f32(w, "f", 0.1f, error));
    OK(slm_gguf_write_bool(w, "yes", true, error));
    OK(slm_gguf_write_bool(w, "no", false, error));
    OK(slm_gguf_write_str(w, "s", slm_str("value"), error));
    OK(slm_gguf_write_strings(w, "words", words, 2, error));
    OK(slm_gguf_write_array(w, "numbers", SLM_GGUF_I16, numbers, 3, error));
    OK(slm_gguf_write_array(w, "nothing", SLM_GGUF_F32, NULL, 0, error));
    OK(slm_gguf_writer_finish(w, error));

    struct slm_gguf *gguf;
    OK(slm_gguf_open(in_folder("kinds.gguf"), NULL, &gguf, error));
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        (void)snprintf(key, sizeof key, "min.%zu", i);
        assert_int_equal(slm_gguf_find(gguf, key)->type, ints[i].type);
        assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, key), 0), ints[i].min);
        (void)snprintf(key, sizeof key, "max.%zu", i);
        assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, key), 0), ints[i].max);
    }
    assert_int_equal(slm_gguf_alignment(gguf), 64);
    assert_true(slm_gguf_f64_at(slm_gguf_find(gguf, "f"), 0) == (double)0.1f);
    assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "yes"), 0), 1);
    assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "no"), 0), 0);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(slm_gguf_i64_at(slm_gguf_find(gguf, "numbers"), i), numbers[i]);
    assert_int_equal(slm_gguf_find(gguf, "nothing")->n, 0);
    size_t cursor = 0, n = 0;
    struct slm_str text;
    while (slm_gguf_next_string(slm_gguf_find(gguf, "words"), &cursor, &text))
        assert_true(slm_str_equal(text, words[n++]));
    assert_int_equal(n, 2);
    slm_gguf_close(gguf);
}

static int count_files(void)
{
    char command[160];
    int n = -1;
    (void)snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL || fscanf(pipe, "%d", &n) != 1) n = -1;
    if (pipe != NULL) pclose(pipe);
    return n;
}

/* Every refusal leaves the target as it was and no temporary file behind. */
static void test_writer_refuses(void **state)
{
    (void)state;
    struct slm_gguf_writer *w;
    struct slm_error e = {0};
    static const uint64_t dims[5] = {32, 1, 1, 1, 1};
    static const char data[256];
    const char *path = in_folder("target.gguf");
    struct slm_buf old = {0};
    slm_buf_puts(&old, "old contents");
    save(path, &old);
    save(in_folder("same.gguf"), &old);
    int n_files = count_files();

    assert_error(slm_gguf_writer_open(path, 48, &w, &e), &e, SLM_ERR_ARGUMENT, "target.gguf", "alignment is 48");
    assert_int_equal(slm_gguf_writer_open("/nonexistent/x.gguf", 0, &w, &e), SLM_ERR_IO);
    slm_gguf_writer_abandon(NULL);

    OK(slm_gguf_writer_open(path, 0, &w, error)); /* twice the same key */
    OK(slm_gguf_write_bool(w, "k", true, error));
    OK(slm_gguf_write_bool(w, "k", true, error));
    assert_error(slm_gguf_writer_finish(w, &e), &e, SLM_ERR_FORMAT, "key 'k'", "there twice");

    OK(slm_gguf_writer_open(path, 0, &w, error)); /* twice the same tensor */
    OK(slm_gguf_declare_tensor(w, slm_str("t"), SLM_DTYPE_Q8_0, dims, 1, error));
    OK(slm_gguf_declare_tensor(w, slm_str("t"), SLM_DTYPE_Q8_0, dims, 1, error));
    assert_error(slm_gguf_write_data(w, data, 34, &e), &e, SLM_ERR_FORMAT, "tensor 't'", "there twice");
    slm_gguf_writer_abandon(w);

    OK(slm_gguf_writer_open(path, 64, &w, error));
    assert_error(slm_gguf_write_i64(w, "general.alignment", SLM_GGUF_U32, 32, &e), &e, SLM_ERR_ARGUMENT,
                 "key 'general.alignment'", "differs");
    assert_error(slm_gguf_declare_tensor(w, slm_str("odd"), SLM_DTYPE_Q8_0, (uint64_t[]){33}, 1, &e), &e,
                 SLM_ERR_ARGUMENT, "tensor 'odd'", "33 elements do not fit the blocks of 32");
    assert_error(slm_gguf_declare_tensor(w, slm_str("flat"), SLM_DTYPE_Q8_0, dims, 0, &e), &e, SLM_ERR_ARGUMENT,
                 "tensor 'flat'", "0 dimensions");
    assert_error(slm_gguf_declare_tensor(w, slm_str("deep"), SLM_DTYPE_Q8_0, dims, 5, &e), &e, SLM_ERR_ARGUMENT,
                 "tensor 'deep'", "5 dimensions");
    static const uint64_t huge[2] = {1ull << 40, 1ull << 40};
    assert_error(slm_gguf_declare_tensor(w, slm_str("big"), SLM_DTYPE_F32, huge, 2, &e), &e, SLM_ERR_ARGUMENT,
                 "tensor 'big'", "too large");
    OK(slm_gguf_declare_tensor(w, slm_str("t"), SLM_DTYPE_Q8_0, dims, 1, error));
    OK(slm_gguf_declare_tensor(w, slm_str("u"), SLM_DTYPE_F32, dims, 1, error));
    OK(slm_gguf_write_data(w, data, 34 + 100, error)); /* over the border between tensors */
    assert_error(slm_gguf_write_bool(w, "late", true, &e), &e, SLM_ERR_ARGUMENT, "key 'late'", "keys come first");
    assert_error(slm_gguf_declare_tensor(w, slm_str("late"), SLM_DTYPE_F32, dims, 1, &e), &e, SLM_ERR_ARGUMENT,
                 "tensor 'late'", "declarations come first");
    assert_error(slm_gguf_write_data(w, data, 29, &e), &e, SLM_ERR_ARGUMENT, "target.gguf", "1 bytes more");
    slm_gguf_writer_abandon(w);

    OK(slm_gguf_writer_open(path, 0, &w, error));
    OK(slm_gguf_declare_tensor(w, slm_str("t"), SLM_DTYPE_F32, dims, 1, error));
    OK(slm_gguf_write_data(w, data, 127, error));
    assert_error(slm_gguf_writer_finish(w, &e), &e, SLM_ERR_ARGUMENT, "target.gguf", "tensor #0 and after");

    assert_int_equal(count_files(), n_files);
    assert_same_file(path, in_folder("same.gguf"));
    slm_buf_release(&old);
}

/* ---- size -------------------------------------------------------------------------------------------------------- */

/* The metadata of a model with 150,000 tokens and as many merges, and tensor entries for 400 MB; no tensor data. */
static uint64_t large_header(struct slm_buf *file)
{
    enum { N_TOKENS = 150000, N_TENSORS = 400 };
    char text[64];
    gb_header(file, N_TENSORS, 5);
    gb_key_string(file, "general.architecture", "llama");
    gb_key_array(file, "tokenizer.ggml.tokens", SLM_GGUF_STRING, N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++) {
        (void)snprintf(text, sizeof text, "token%d", i);
        gb_string(file, text);
    }
    gb_key_array(file, "tokenizer.ggml.merges", SLM_GGUF_STRING, N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++) {
        (void)snprintf(text, sizeof text, "left%d right%d", i, i);
        gb_string(file, text);
    }
    gb_key_array(file, "tokenizer.ggml.scores", SLM_GGUF_F32, N_TOKENS);
    gb_zeros(file, 4 * N_TOKENS);
    gb_key_array(file, "tokenizer.ggml.token_type", SLM_GGUF_I32, N_TOKENS);
    gb_zeros(file, 4 * N_TOKENS);
    for (uint64_t i = 0; i < N_TENSORS; i++) {
        (void)snprintf(text, sizeof text, "blk.%d.ffn_gate.weight", (int)i);
        gb_tensor(file, text, 2, (uint64_t[]){512, 488}, 0, i * 512 * 488 * 4);
    }
    gb_align(file, 32);
    return file->len + (uint64_t)N_TENSORS * 512 * 488 * 4;
}

struct large { struct slm_buf file; uint64_t bytes; struct slm_gguf *gguf; };

/* The one is put together, or the other opened. */
static void build_or_open(void *user, bool opens)
{
    struct large *l = user;
    struct slm_buf again = {0};
    if (!opens) {
        large_header(&again);
        slm_buf_release(&again);
        return;
    }
    slm_gguf_close(l->gguf);
    OK(slm_gguf_open(in_folder("large.gguf"), NULL, &l->gguf, error));
}

/* Opening walks the header once and touches nothing else: it costs less than half of what putting the header together
 * costs (some milliseconds for 8 MB), on any machine, and no tensor page is read. */
static void test_large_file_opens_fast(void **state)
{
    (void)state;
    struct large l = {.gguf = NULL};
    l.bytes = large_header(&l.file);
    const char *path = in_folder("large.gguf");
    save(path, &l.file);
    assert_int_equal(truncate(path, (off_t)l.bytes), 0); /* a hole: 400 MB that take no disk */
    const double ratio = test_ratio(build_or_open, &l, 0.5);
    print_message("%.0f MB with a header of %.1f MB: opened in %.2f of the time it took to put it together\n",
                  (double)l.bytes / 1e6, (double)l.file.len / 1e6, ratio);
    assert_true(ratio < 0.5);

    struct slm_gguf *gguf = l.gguf;
    const uint64_t bytes = l.bytes;
    const struct slm_gguf_tensor *first = slm_gguf_tensor_at(gguf, 0);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), skip_bytes = 8 << 20; /* what the system reads ahead */
    uintptr_t from = ((uintptr_t)first->data + skip_bytes) / page * page;
    size_t n_pages = (size_t)(bytes - slm_gguf_data_offset(gguf, 0) - skip_bytes) / page, n_resident = 0;
    unsigned char *resident = malloc(n_pages);
    if (mincore((void *)from, n_pages * page, resident) == 0)
        for (size_t i = 0; i < n_pages; i++) n_resident += resident[i] & 1;
    free(resident);
    assert_int_equal(n_resident, 0);
    slm_gguf_close(gguf);
    slm_buf_release(&l.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dump_equals_ggml),
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_rewrite_is_identical),
        cmocka_unit_test(test_smallest_and_v2),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_get_array),
        cmocka_unit_test(test_getter_edges),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_not_split),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_write_all_kinds),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_large_file_opens_fast),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
