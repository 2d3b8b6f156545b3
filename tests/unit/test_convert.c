/* SPDX-License-Identifier: MIT
 * Conversions: types and the rules for them, splitting and merging, what is refused before anything is written, and the
 * streaming underneath, compared with the same done in one piece by loops of a few lines. The results are opened by
 * other programs in tests/oracle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "fake_os.h"
#include "format/hf_folder.h"
#include "tiny_folder.h"
#include "tiny_model.h"
#include "tune/convert.h"

static char in[256], out[256], folder[256];
static char notes[1024];

static void keep_note(void *user, const char *sentence)
{
    (void)user;
    const size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%s\n", sentence);
}

static int set_up(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_F32);
    snprintf(in, sizeof in, "%s", tiny_path("in.gguf"));
    snprintf(out, sizeof out, "%s", tiny_path("out.gguf"));
    snprintf(folder, sizeof folder, "%s", tiny_path("folder"));
    tiny_model_write(in, &spec);
    tiny_folder_write(folder, SLM_DTYPE_BF16);
    return 0;
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("no %s", path);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*bytes);
    assert_int_equal(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

static void assert_same_file(const char *a, const char *b)
{
    size_t n_a, n_b;
    char *x = read_file(a, &n_a), *y = read_file(b, &n_b);
    if (n_a != n_b || memcmp(x, y, n_a) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

static struct slm_convert_result convert(const char *from, const char *to, struct slm_convert_options options)
{
    struct slm_error error = {0};
    struct slm_convert_result result = {0};
    options.note = keep_note;
    notes[0] = 0;
    if (slm_convert(from, to, &options, &result, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return result;
}

static struct slm_gguf *open_gguf(const char *path)
{
    struct slm_gguf *gguf;
    struct slm_error error;
    if (slm_gguf_open(path, NULL, &gguf, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return gguf;
}

/* ---- types ----------------------------------------------------------------------------------------------------- */

/* Every tensor is what the encoder of its type makes of the original. */
static void assert_encoded(const char *path, const char *original)
{
    struct slm_gguf *a = open_gguf(original), *b = open_gguf(path);
    assert_int_equal(slm_gguf_n_tensors(a), slm_gguf_n_tensors(b));
    for (size_t i = 0; i < slm_gguf_n_tensors(a); i++) {
        const struct slm_gguf_tensor *x = slm_gguf_tensor_at(a, i);
        const struct slm_gguf_tensor *y = slm_gguf_find_tensor(b, x->name);
        assert_non_null(y);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        unsigned char *expected = malloc(y->bytes);
        assert_int_equal(x->dtype, SLM_DTYPE_F32);
        slm_dtypes[y->dtype].encode((const float *)(const void *)x->data, expected, x->n_elements);
        assert_memory_equal(expected, y->data, y->bytes);
        free(expected);
    }
    slm_gguf_close(a);
    slm_gguf_close(b);
}

static enum slm_dtype type_of(const char *path, const char *name)
{
    struct slm_gguf *gguf = open_gguf(path);
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(gguf, slm_str(name));
    assert_non_null(t);
    const enum slm_dtype dtype = t->dtype;
    slm_gguf_close(gguf);
    return dtype;
}

static int64_t key_of(const char *path, const char *key)
{
    struct slm_gguf *gguf = open_gguf(path);
    int64_t value = -1;
    bool found;
    assert_int_equal(slm_gguf_get_i64(gguf, key, INT64_MIN, INT64_MAX, &value, &found, NULL), SLM_OK);
    slm_gguf_close(gguf);
    return value;
}

static void types_change_matrices_only(void **state)
{
    (void)state;
    static const struct { const char *name; enum slm_dtype dtype; int64_t file_type; } types[] = {
        {"f32", SLM_DTYPE_F32, 0}, {"F16", SLM_DTYPE_F16, 1}, {"bf16", SLM_DTYPE_BF16, 32},
        {"q8_0", SLM_DTYPE_Q8_0, 7}, {"q4_0", SLM_DTYPE_Q4_0, 2}, {"q5_1", SLM_DTYPE_Q5_1, 9}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        convert(in, out, (struct slm_convert_options){.type = types[i].name});
        assert_encoded(out, in);
        assert_int_equal(type_of(out, "blk.1.ffn_down.weight"), types[i].dtype);
        assert_int_equal(type_of(out, "token_embd.weight"), types[i].dtype);
        assert_int_equal(type_of(out, "blk.0.attn_norm.weight"), SLM_DTYPE_F32);
        assert_int_equal(key_of(out, "general.file_type"), types[i].file_type);
        assert_int_equal(key_of(out, "general.quantization_version"), slm_dtypes[types[i].dtype].block > 1 ? 2 : -1);
    }
}

static void rules_name_tensors(void **state)
{
    (void)state;
    static const struct slm_convert_rule rules[] = {
        {"blk.*.ffn_*.weight", "f16"}, {"blk.?.ffn_down.weight", "q4_0"}, {"token_embd.weight", "bf16"}};
    convert(in, out, (struct slm_convert_options){.type = "q8_0", .rules = rules, .n_rules = 3});
    assert_encoded(out, in);
    assert_int_equal(type_of(out, "blk.0.ffn_up.weight"), SLM_DTYPE_F16);
    assert_int_equal(type_of(out, "blk.1.ffn_down.weight"), SLM_DTYPE_Q4_0); /* the last rule that names it */
    assert_int_equal(type_of(out, "token_embd.weight"), SLM_DTYPE_BF16);
    assert_int_equal(type_of(out, "blk.1.attn_q.weight"), SLM_DTYPE_Q8_0);
    assert_int_equal(type_of(out, "output_norm.weight"), SLM_DTYPE_F32);
}

static void what_does_not_fit_blocks_becomes_f16(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_F32);
    spec.n_ff = 72; /* rows of ffn_down: no multiple of 32 */
    char odd[256];
    snprintf(odd, sizeof odd, "%s", tiny_path("odd.gguf"));
    tiny_model_write(odd, &spec);
    convert(odd, out, (struct slm_convert_options){.type = "q8_0"});
    assert_encoded(out, odd);
    assert_int_equal(type_of(out, "blk.0.ffn_down.weight"), SLM_DTYPE_F16);
    assert_int_equal(type_of(out, "blk.0.ffn_up.weight"), SLM_DTYPE_Q8_0);
    assert_non_null(strstr(notes, "2 tensors, 'blk.0.ffn_down.weight' first"));
    convert(out, odd, (struct slm_convert_options){.type = "q4_0"});
    assert_non_null(strstr(notes, "quantized already"));
    assert_int_equal(remove(odd), 0);
}

static void without_a_type_all_stays(void **state)
{
    (void)state;
    convert(in, out, (struct slm_convert_options){0});
    assert_same_file(in, out);
    assert_string_equal(notes, "");
}

/* ---- splitting ------------------------------------------------------------------------------------------------- */

static void split_and_merged_is_the_same(void **state)
{
    (void)state;
    char path[300], merged[256];
    snprintf(merged, sizeof merged, "%s", tiny_path("merged.gguf"));
    convert(in, out, (struct slm_convert_options){.type = "f16"});
    char plain[256];
    snprintf(plain, sizeof plain, "%s", tiny_path("plain.gguf"));
    rename(out, plain);
    static const struct slm_convert_options limits[] = {{.split_max_tensors = 7}, {.split_max_bytes = 40000}};
    for (size_t i = 0; i < 2; i++) {
        const struct slm_convert_result result = convert(plain, out, limits[i]);
        assert_true(result.n_files > 2);
        assert_false(exists(out));
        for (size_t k = 0; k < result.n_files; k++) {
            snprintf(path, sizeof path, "%.*s-%05zu-of-%05zu.gguf", (int)strlen(out) - 5, out, k + 1, result.n_files);
            assert_true(exists(path));
        }
        snprintf(path, sizeof path, "%.*s-00001-of-%05zu.gguf", (int)strlen(out) - 5, out, result.n_files);
        assert_int_equal(key_of(path, "split.no"), 0);
        assert_int_equal(key_of(path, "split.count"), (int64_t)result.n_files);
        assert_int_equal(key_of(path, "split.tensors.count"), (int64_t)result.n_tensors);
        convert(path, merged, (struct slm_convert_options){0});
        assert_same_file(plain, merged);
        struct slm_error error = {0}; /* a part's name for something else would not open again */
        assert_int_equal(slm_convert(plain, path, NULL, NULL, &error), SLM_ERR_ARGUMENT);
    }
    /* One file when nothing exceeds the limit. */
    assert_int_equal(convert(plain, out, (struct slm_convert_options){.split_max_tensors = 1000}).n_files, 1);
    assert_same_file(plain, out);
}

static void threads_do_not_change_bytes(void **state)
{
    (void)state;
    char other[256];
    snprintf(other, sizeof other, "%s", tiny_path("threads.gguf"));
    for (int32_t n = 2; n <= 5; n += 3) {
        convert(folder, out, (struct slm_convert_options){.type = "q8_0", .n_threads = 1});
        convert(folder, other, (struct slm_convert_options){.type = "q8_0", .n_threads = n});
        assert_same_file(out, other);
    }
}

/* ---- what is refused ------------------------------------------------------------------------------------------- */

static void refused(const char *from, const char *to, struct slm_convert_options options, slm_status status,
                    const char *part)
{
    struct slm_error error = {0};
    assert_int_equal(slm_convert(from, to, &options, NULL, &error), status);
    if (!strstr(error.message, part)) fail_msg("'%s' is not in '%s'", part, error.message);
}

static void bad_requests_leave_nothing(void **state)
{
    (void)state;
    const struct slm_convert_options plain = {0};
    char target[256], directory[256];
    snprintf(target, sizeof target, "%s", tiny_path("target.gguf"));
    snprintf(directory, sizeof directory, "%s", tiny_path("directory.gguf"));
    mkdir(directory, 0777);
    refused("", target, plain, SLM_ERR_ARGUMENT, "two paths");
    refused(in, in, plain, SLM_ERR_ARGUMENT, "is the model that is read");
    char link_path[256], inside[512];
    snprintf(link_path, sizeof link_path, "%s", tiny_path("link.gguf"));
    assert_int_equal(link(in, link_path), 0); /* the same file by another name */
    refused(in, link_path, plain, SLM_ERR_ARGUMENT, "is the model that is read");
    snprintf(inside, sizeof inside, "%s/model.safetensors", folder);
    refused(folder, inside, plain, SLM_ERR_ARGUMENT, "is the model that is read");
    refused(in, directory, plain, SLM_ERR_ARGUMENT, "no regular file");
    refused(in, "/nowhere/at/all.gguf", plain, SLM_ERR_IO, "No such file");
    refused("/nowhere/in.gguf", target, plain, SLM_ERR_IO, "No such file");
    refused(in, target, (struct slm_convert_options){.type = "q4_k"}, SLM_ERR_ARGUMENT, "cannot be written");
    refused(in, target, (struct slm_convert_options){.type = "int3"}, SLM_ERR_ARGUMENT, "cannot be written");
    const struct slm_convert_rule norms = {"*_norm.weight", "f16"}, none = {"blk.9.*", "f16"}, type = {"*", "x"};
    refused(in, target, (struct slm_convert_options){.rules = &norms, .n_rules = 1}, SLM_ERR_ARGUMENT, "type stays");
    refused(in, target, (struct slm_convert_options){.rules = &none, .n_rules = 1}, SLM_ERR_ARGUMENT, "no tensor");
    refused(in, target, (struct slm_convert_options){.rules = &type, .n_rules = 1}, SLM_ERR_ARGUMENT, "'x'");
    assert_false(exists(target));
}

static bool stop_soon(void *user, uint64_t done, uint64_t total)
{
    int *calls = user;
    assert_true(done <= total);
    return ++*calls < 5;
}

/* Of so small a model; tests/fault/test_resume_faults.c has what is worth going on with. */
static void cancelling_leaves_nothing(void **state)
{
    (void)state;
    int calls = 0;
    char target[256];
    snprintf(target, sizeof target, "%s", tiny_path("cancelled.gguf"));
    fake_os_start(NULL);
    struct slm_error error = {0};
    const struct slm_convert_options options = {.progress = stop_soon, .user = &calls, .n_threads = 2};
    assert_int_equal(slm_convert(in, target, &options, NULL, &error), SLM_ERR_CANCELLED);
    fake_os_assert_clean();
    assert_int_equal(fake_os_count(FAKE_BIT(FAKE_REMOVE)), fake_os_count(FAKE_BIT(FAKE_OPEN_LOCKED)));
    fake_os_stop();
    assert_int_equal(calls, 5);
    assert_false(exists(target));
}

/* ---- streaming ------------------------------------------------------------------------------------------------- */

static uint16_t value_at(uint64_t i) { return (uint16_t)(slm_rng_uniform(3, i, 0) * 0x7bff); } /* finite as F16 */

/* A file with one F16 matrix of several chunks; its rows end nowhere near the ends of units. */
static void write_large(const char *path, uint64_t columns, uint64_t rows, uint64_t infinite)
{
    struct slm_gguf_writer *w;
    struct slm_error error;
    uint16_t *values = malloc(columns * rows * sizeof *values);
    for (uint64_t i = 0; i < columns * rows; i++) values[i] = i == infinite ? 0x7c00 : value_at(i);
    const uint64_t dims[] = {columns, rows};
    if (slm_gguf_writer_open(path, 0, &w, &error) != SLM_OK ||
        slm_gguf_write_str(w, "general.architecture", slm_str("none"), &error) != SLM_OK ||
        slm_gguf_declare_tensor(w, slm_str("big.weight"), SLM_DTYPE_F16, dims, 2, &error) != SLM_OK ||
        slm_gguf_write_data(w, values, columns * rows * sizeof *values, &error) != SLM_OK ||
        slm_gguf_writer_finish(w, &error) != SLM_OK)
        fail_msg("%s", error.message);
    free(values);
}

enum { COLUMNS = 3104, ROWS = 1500 }; /* 4.66 million elements: more than a chunk */

static void large_tensors_go_in_chunks(void **state)
{
    (void)state;
    char large[256];
    snprintf(large, sizeof large, "%s", tiny_path("large.gguf"));
    write_large(large, COLUMNS, ROWS, UINT64_MAX);
    /* Dropped pages are overwritten here: reading one again would show. */
    const struct fake_os_plan plan = {.heap_maps = true};
    fake_os_start(&plan);
    convert(large, out, (struct slm_convert_options){.type = "f32", .n_threads = 3});
    fake_os_stop();
    struct slm_gguf *gguf = open_gguf(out);
    const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, 0);
    const float *values = (const float *)(const void *)t->data;
    for (uint64_t i = 0; i < (uint64_t)COLUMNS * ROWS; i++) {
        float expected;
        const uint16_t half = value_at(i);
        slm_dtypes[SLM_DTYPE_F16].decode(&half, &expected, 1);
        if (values[i] != expected) fail_msg("element %llu", (unsigned long long)i);
    }
    slm_gguf_close(gguf);
    convert(out, large, (struct slm_convert_options){.type = "q8_0"});
    assert_encoded(large, out);
}

static void values_that_do_not_fit_are_named(void **state)
{
    (void)state;
    char large[256], target[256];
    snprintf(large, sizeof large, "%s", tiny_path("infinite.gguf"));
    snprintf(target, sizeof target, "%s", tiny_path("finite.gguf"));
    write_large(large, COLUMNS, ROWS, 4400000);
    refused(large, target, (struct slm_convert_options){.type = "q8_0", .n_threads = 3}, SLM_ERR_NUMERIC,
            "'big.weight': element 4400000");
    assert_false(exists(target));
    convert(large, target, (struct slm_convert_options){.type = "f32"}); /* which can hold it */
    refused(target, large, (struct slm_convert_options){.type = "f16"}, SLM_ERR_NUMERIC, "element 4400000");
}

/* Halves of heads become neighbours, over the ends of chunks. */
static void rows_of_heads_are_paired(void **state)
{
    (void)state;
    enum { HEAD = 60, N = 1500 }; /* 25 heads; a chunk ends within one */
    float *values = malloc((size_t)COLUMNS * N * sizeof *values);
    for (size_t i = 0; i < (size_t)COLUMNS * N; i++) values[i] = (float)i;
    const struct slm_stream_tensor t = {.name = slm_str("t"), .dims = {COLUMNS, N, 1, 1}, .n_dims = 2,
                                        .from = SLM_DTYPE_F32, .to = SLM_DTYPE_F32, .n_parts = 1, .pair_rows = HEAD,
                                        .parts = {{.data = (const unsigned char *)values, .n_rows = N}},
                                        .gain = 1.0f};
    struct slm_stream_options options = {.n_threads = 3};
    struct slm_gguf_writer *w;
    struct slm_error error;
    assert_int_equal(slm_gguf_writer_open(out, 0, &w, &error), SLM_OK);
    assert_int_equal(slm_gguf_declare_tensor(w, t.name, t.to, t.dims, 2, &error), SLM_OK);
    assert_int_equal(slm_stream_write(w, &t, 1, NULL, &options, &error), SLM_OK);
    assert_int_equal(slm_gguf_writer_finish(w, &error), SLM_OK);
    struct slm_gguf *gguf = open_gguf(out);
    const float *got = (const float *)(const void *)slm_gguf_tensor_at(gguf, 0)->data;
    for (size_t head = 0; head < N / HEAD; head++)
        for (size_t i = 0; i < HEAD / 2; i++)
            for (size_t half = 0; half < 2; half++)
                assert_memory_equal(got + (head * HEAD + 2 * i + half) * COLUMNS,
                                    values + (head * HEAD + half * HEAD / 2 + i) * COLUMNS, COLUMNS * sizeof *got);
    slm_gguf_close(gguf);
    free(values);
}

/* ---- folders --------------------------------------------------------------------------------------------------- */

/* A model says the same before and after; q and k are reordered, so sums of theirs may round otherwise. */
static void folders_say_the_same_as_files(void **state)
{
    (void)state;
    static const int32_t ids[] = {1, 50, 256, 7, 9, 100, 33, 2, 2, 80};
    const char *const paths[] = {folder, out};
    float logits[2][TINY_FOLDER_VOCAB];
    const struct fake_os_plan plan = {.heap_maps = true};
    fake_os_start(&plan);
    convert(folder, out, (struct slm_convert_options){.type = "f32"});
    fake_os_stop();
    for (int i = 0; i < 2; i++) {
        struct slm_model *model;
        struct slm_session *session;
        struct slm_error error;
        const struct slm_session_options options = {.kv_type = SLM_KV_F32, .n_threads = 1};
        if (slm_model_open(paths[i], NULL, &model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
        assert_int_equal(slm_session_open(model, &options, &session, &error), SLM_OK);
        assert_int_equal(slm_session_eval(session, ids, sizeof ids / sizeof *ids, &error), SLM_OK);
        memcpy(logits[i], slm_session_logits(session), sizeof logits[i]);
        int32_t text_ids[16];
        size_t n;
        assert_int_equal(slm_tokenize(model, "hehe!<|end|>", 12, SLM_TOKENIZE_PARSE_SPECIAL, text_ids, 16, &n, &error),
                         SLM_OK);
        assert_int_equal(n, 4);
        assert_int_equal(text_ids[0], 256);
        assert_int_equal(text_ids[3], 258);
        assert_true(slm_token_is_eog(model, 258));
        slm_session_close(session);
        slm_model_close(model);
    }
    for (int i = 0; i < TINY_FOLDER_VOCAB; i++)
        if (!(fabsf(logits[0][i] - logits[1][i]) <= 1e-4f))
            fail_msg("logit %d: %g, %g", i, (double)logits[0][i], (double)logits[1][i]);
}

/* Codes with scales in tensors of their own, as mlx writes them: what they stand for is written, rows in GGUF's order.
 */
static void groups_become_floats(void **state)
{
    (void)state;
    struct slm_gguf *from, *to;
    struct slm_error error = {0};
    const struct fake_os_plan plan = {.heap_maps = true};
    fake_os_start(&plan);
    convert(SLM_SOURCE_DIR "/tests/golden/mlx", out, (struct slm_convert_options){.type = "f32", .n_threads = 2});
    fake_os_stop();
    if (slm_hf_open(SLM_SOURCE_DIR "/tests/golden/mlx", &from, &error) != SLM_OK) fail_msg("%s", error.message);
    to = open_gguf(out);
    int64_t heads = 0;
    assert_int_equal(slm_gguf_get_i64(from, "num_attention_heads", 1, 64, &heads, NULL, &error), SLM_OK);
    static const struct { const char *hf, *gguf; bool paired; } rows[] = {
        {"model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight", false},
        {"model.embed_tokens.weight", "token_embd.weight", false},
        {"model.layers.2.self_attn.q_proj.weight", "blk.2.attn_q.weight", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct slm_gguf_tensor *a = slm_gguf_find_tensor(from, slm_str(rows[i].hf));
        const struct slm_gguf_tensor *b = slm_gguf_find_tensor(to, slm_str(rows[i].gguf));
        assert_true(a && b && a->group > 0 && b->dtype == SLM_DTYPE_F32 && a->dims[1] == b->dims[1]);
        const uint64_t head = a->dims[1] / (uint64_t)heads;
        float row[1024];
        assert_true(a->dims[0] <= 1024);
        for (uint64_t r = 0; r < a->dims[1]; r++) {
            const uint64_t in_head = r % head, source = r - in_head + in_head / 2 + in_head % 2 * (head / 2);
            slm_tensor_read_rows(a, rows[i].paired ? source : r, 1, row);
            assert_memory_equal(row, b->data + r * a->dims[0] * sizeof *row, a->dims[0] * sizeof *row);
        }
    }
    slm_gguf_close(from);
    slm_gguf_close(to);
}

static void model_cards_and_labels(void **state)
{
    (void)state;
    static const struct { const char *card, *license; } cards[] = {
        {"---\nlanguage:\n- en\nlicense: apache-2.0\n---\nlicense: no\n", "apache-2.0"},
        {"---\r\nlicense: 'mit'\r\n---", "mit"},
        {"---\nlicense: [mit, other]\n---", ""}, {"---\nlicense:\n- mit\n---", ""}, {"license: mit\n", ""},
        {"---\nlicense_name: x\n---\n", ""}, {"---\nlicense: \x1b[31m\n---", ""}, {"", ""}, {"---", ""},
        {"---\nlicense: mit", "mit"}};
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        const struct slm_str value = slm_card_value(slm_str(cards[i].card), "license");
        if (!slm_str_is(value, cards[i].license)) fail_msg("card %zu: '%.*s'", i, (int)value.len, value.ptr);
    }
    /* As gguf-py rounds them. */
    static const struct { uint64_t n; const char *label; } labels[] = {
        {656000, "656K"}, {1235814400, "1.2B"}, {8030261248, "8.0B"}, {14765947904, "15B"}, {268098176, "268M"}};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        char label[16];
        slm_size_label(label, labels[i].n);
        assert_string_equal(label, labels[i].label);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_change_matrices_only),
        cmocka_unit_test(rules_name_tensors),
        cmocka_unit_test(what_does_not_fit_blocks_becomes_f16),
        cmocka_unit_test(without_a_type_all_stays),
        cmocka_unit_test(split_and_merged_is_the_same),
        cmocka_unit_test(threads_do_not_change_bytes),
        cmocka_unit_test(bad_requests_leave_nothing),
        cmocka_unit_test(cancelling_leaves_nothing),
        cmocka_unit_test(large_tensors_go_in_chunks),
        cmocka_unit_test(values_that_do_not_fit_are_named),
        cmocka_unit_test(rows_of_heads_are_paired),
        cmocka_unit_test(folders_say_the_same_as_files),
        cmocka_unit_test(groups_become_floats),
        cmocka_unit_test(model_cards_and_labels),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
