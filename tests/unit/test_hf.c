/* SPDX-License-Identifier: MIT
 * Hugging Face folders: the JSON reader, safetensors headers, configurations, shards; and every way they can be wrong.
 * Folders are made on the spot; the trained one with a reference output lies in the shared data folder. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fake_os.h"
#include "format/hf_folder.h"
#include "format/json.h"
#include "shared.h"
#include "slm.h"
#include "tiny_folder.h"
#include "tiny_model.h"

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

/* Reads to the end; OK when the whole text is one JSON document. */
static slm_status read_all(const char *text, size_t bytes)
{
    struct slm_json json;
    struct slm_error error = {0};
    slm_json_init(&json, (struct slm_str){text, bytes}, "text", &error);
    for (;;) {
        const enum slm_json_event event = slm_json_next(&json);
        if (event == SLM_JSON_END) return SLM_OK;
        if (event == SLM_JSON_ERROR) {
            assert_true(error.message[0] != 0);
            assert_int_equal(slm_json_next(&json), SLM_JSON_ERROR); /* it stays there */
            return error.status;
        }
    }
}

static void json_accepts_and_rejects_as_rfc_8259(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "-0", "1.5e+3", "\"\"", "true", " null ", "[]", "{}", "[1,[2],{\"a\":[]}]",
                                       "\"\\u00e9\\ud83d\\ude00\\n\"", "{\"a\":1,\"b\":{\"c\":null}}", "\t[\r\n]"};
    static const char *const bad[] = {"",
                                      " ",
                                      "01",
                                      "+1",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "-",
                                      "tru",
                                      "nulll",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{a:1}",
                                      "{\"a\":1,}",
                                      "[",
                                      "{",
                                      "]",
                                      "\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\n\"",
                                      "'a'",
                                      "1 2",
                                      "[1]]",
                                      "{\"a\":1]",
                                      "\xff",
                                      "\"\xc0\x80\"",
                                      "NaN",
                                      "/**/1",
                                      "\xef\xbb\xbf"
                                      "1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(read_all(good[i], strlen(good[i])), SLM_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (read_all(bad[i], strlen(bad[i])) == SLM_OK) fail_msg("accepted: %s", bad[i]);
    char deep[2 * SLM_JSON_MAX_DEPTH + 2];
    memset(deep, '[', SLM_JSON_MAX_DEPTH + 1);
    memset(deep + SLM_JSON_MAX_DEPTH + 1, ']', SLM_JSON_MAX_DEPTH + 1);
    assert_int_equal(read_all(deep, sizeof deep), SLM_ERR_LIMIT);
    assert_int_equal(read_all(deep + 1, sizeof deep - 2), SLM_OK);
}

static void json_decodes_strings_and_numbers(void **state)
{
    (void)state;
    struct slm_json json;
    struct slm_error error;
    struct slm_buf text = {0};
    int64_t i;
    slm_json_init(
        &json,
        slm_str("[\"a\\\"\\u00e9\\ud83d\\ude00\\/\\t\", -12, 9223372036854775807, 9223372036854775808, 2.5e-3,"
                " \"\\ud800\"]"),
        "text", &error);
    assert_int_equal(slm_json_next(&json), SLM_JSON_ARRAY);
    assert_int_equal(slm_json_next(&json), SLM_JSON_STRING);
    assert_true(slm_json_read_text(&json, &text));
    assert_string_equal(text.data, "a\"\xc3\xa9\xf0\x9f\x98\x80/\t");
    assert_int_equal(slm_json_next(&json), SLM_JSON_NUMBER);
    assert_true(slm_json_read_i64(&json, &i));
    assert_int_equal(i, -12);
    slm_json_next(&json);
    assert_true(slm_json_read_i64(&json, &i));
    assert_true(i == INT64_MAX);
    slm_json_next(&json);
    assert_false(slm_json_read_i64(&json, &i));
    slm_json_next(&json);
    assert_true(slm_json_read_f64(&json) == 2.5e-3);
    slm_json_next(&json);
    assert_false(slm_json_read_text(&json, &text)); /* half of a pair */
    assert_int_equal(error.status, SLM_ERR_FORMAT);
    slm_buf_release(&text);
}

/* ---- safetensors ----------------------------------------------------------------------------------------------- */

static size_t safetensors(char *out, const char *header, size_t n_data)
{
    const uint64_t n = strlen(header);
    memcpy(out, &n, 8);
    memcpy(out + 8, header, n);
    memset(out + 8 + n, 0, n_data);
    return 8 + n + n_data;
}

static slm_status parse(const char *file, size_t bytes, struct slm_error *error)
{
    struct slm_gguf_tensor *rows = NULL;
    size_t n = 0;
    char *exact = malloc(bytes ? bytes : 1); /* so that ASan sees a byte read past the end */
    memcpy(exact, file, bytes);
    const slm_status status = slm_safetensors_parse((struct slm_str){exact, bytes}, "x.safetensors", &rows, &n, error);
    if (status == SLM_OK) slm_release(rows);
    free(exact);
    return status;
}

static void bad_safetensors_are_refused(void **state)
{
    (void)state;
    static const struct { const char *header; size_t n_data; const char *says; } rows[] = {
        {"", 0, "'{'"},
        {" {}", 0, "'{'"},
        {"[]", 0, "'{'"},
        {"{\"a\":1}", 0, "must be an object"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, "ends too early"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "end at"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "dimension of 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8, "integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "more than 4"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "F8_E4M3"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "needs dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4, "only"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "begins at byte"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12, "begins at byte"},
        {"{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "name has 0 bytes"},
    };
    static char file[4096];
    struct slm_error error;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t bytes = safetensors(file, rows[i].header, rows[i].n_data);
        if (parse(file, bytes, &error) == SLM_OK) fail_msg("accepted: %s", rows[i].header);
        if (!strstr(error.message, rows[i].says)) fail_msg("'%s' does not say '%s'", error.message, rows[i].says);
    }
    static const uint64_t lengths[] = {0, 1, UINT64_C(1) << 63, 100000001, 4000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const size_t bytes = safetensors(file, "{}", 0);
        memcpy(file, &lengths[i], 8);
        assert_int_not_equal(parse(file, bytes, &error), SLM_OK);
    }
    for (size_t n = 0; n < 8; n++) assert_int_equal(parse(file, n, &error), SLM_ERR_FORMAT);
    assert_int_equal(parse(file, safetensors(file, "{\"__metadata__\":{\"format\":\"pt\"}}", 0), &error), SLM_OK);
    assert_int_equal(parse(file, safetensors(file, "{}   ", 0), &error), SLM_OK); /* padded headers are usual */
}

/* ---- folders --------------------------------------------------------------------------------------------------- */

static const char *folder_of(const char *name)
{
    const char *path = tiny_path(name);
    mkdir(path, 0700);
    return path;
}

static void put(const char *folder, const char *name, const char *data, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static void put_text(const char *folder, const char *name, const char *text) { put(folder, name, text, strlen(text)); }

/* What transformers 5.23 takes these configurations for: rope_parameters of LlamaConfig and Gemma3TextConfig. */
static void newer_keys_win(void **state)
{
    (void)state;
    static const struct { const char *config; double theta, local; const char *type; } rows[] = {
        {"{\"rope_theta\":123,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":456}}", 456, 0, "default"},
        {"{\"rope_parameters\":{\"rope_theta\":456,\"rope_type\":\"default\"},\"rope_theta\":123}", 456, 0, "default"},
        {"{\"rope_theta\":123,\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2}}", 123, 0, "linear"},
        {"{\"rope_theta\":123,\"rope_scaling\":{\"rope_type\":\"linear\",\"rope_theta\":9}}", 9, 0, "linear"},
        {"{\"rope_theta\":123,\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"default\"}}", 123, 0, "default"},
        {"{\"rope_theta\":123,\"rope_scaling\":{\"type\":\"linear\"}}", 123, 0, "linear"},
        {"{\"rope_theta\":123,\"rope_local_base_freq\":11,\"rope_parameters\":{\"full_attention\":{\"rope_type\":"
         "\"default\",\"rope_theta\":456},\"sliding_attention\":{\"rope_theta\":22}}}", 456, 22, "default"},
        {"{\"rope_theta\":1,\"text_config\":{\"rope_theta\":123,\"rope_parameters\":{\"rope_type\":\"default\","
         "\"rope_theta\":456}}}", 456, 0, "default"},
    };
    const char *folder = folder_of("newer");
    char file[256];
    put(folder, "model.safetensors", file, safetensors(file, "{}", 0));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slm_gguf *gguf;
        struct slm_error error;
        struct slm_str type;
        double theta, local = 0;
        bool found;
        put_text(folder, "config.json", rows[i].config);
        if (slm_hf_open(folder, &gguf, &error) != SLM_OK) fail_msg("%s: %s", rows[i].config, error.message);
        assert_int_equal(slm_gguf_get_f64(gguf, "rope_theta", 0, 1e9, &theta, NULL, &error), SLM_OK);
        assert_int_equal(slm_gguf_get_f64(gguf, "rope_local_base_freq", 0, 1e9, &local, &found, &error), SLM_OK);
        assert_int_equal(slm_gguf_get_str(gguf, "rope_scaling.rope_type", &type, NULL, &error), SLM_OK);
        if (theta != rows[i].theta || local != rows[i].local || !slm_str_is(type, rows[i].type))
            fail_msg("%s: %g, %g, %.*s", rows[i].config, theta, local, (int)type.len, type.ptr);
        slm_gguf_close(gguf);
    }
    struct slm_gguf *gguf; /* the same key in the same place is still an error */
    put_text(folder, "config.json", "{\"rope_theta\":1,\"rope_theta\":1}");
    assert_int_not_equal(slm_hf_open(folder, &gguf, NULL), SLM_OK);
}

static void configurations_become_metadata(void **state)
{
    (void)state;
    const char *folder = folder_of("config");
    char file[256];
    put_text(folder, "config.json",
             "{\"architectures\":[\"X\"],\"text_config\":{\"hidden_size\":64,\"rope_parameters\":{\"rope_theta\":10000,"
             "\"type\":\"linear\",\"factor\":2}},\"eps\":1e-6,\"flag\":true,\"nothing\":null,\"list\":[1,2.5],"
             "\"mixed\":[1,\"a\"],\"objects\":[{\"a\":1}],\"name\":\"caf\\u00e9\"}");
    put_text(folder, "generation_config.json", "{\"temperature\":0.6,\"eos_token_id\":[1,2]}");
    put(folder, "model.safetensors", file, safetensors(file, "{\"w\":{\"dtype\":\"F16\",\"shape\":[3,2],"
                                                             "\"data_offsets\":[0,12]}}", 12));
    struct slm_gguf *gguf;
    struct slm_error error;
    if (slm_hf_open(folder, &gguf, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    int64_t i;
    double d;
    bool b;
    struct slm_str s;
    const struct slm_gguf_kv *list;
    assert_int_equal(slm_gguf_get_i64(gguf, "hidden_size", 0, 100, &i, NULL, &error), SLM_OK);
    assert_int_equal(i, 64);
    assert_int_equal(slm_gguf_get_f64(gguf, "rope_theta", 0, 1e9, &d, NULL, &error), SLM_OK); /* an integer there */
    assert_true(d == 10000);
    assert_int_equal(slm_gguf_get_f64(gguf, "rope_scaling.factor", 0, 9, &d, NULL, &error), SLM_OK);
    assert_int_equal(slm_gguf_get_str(gguf, "rope_scaling.rope_type", &s, NULL, &error), SLM_OK);
    assert_true(slm_str_is(s, "linear"));
    assert_int_equal(slm_gguf_get_f64(gguf, "eps", 0, 1, &d, NULL, &error), SLM_OK);
    assert_int_equal(slm_gguf_get_bool(gguf, "flag", &b, NULL, &error), SLM_OK);
    assert_int_equal(slm_gguf_get_str(gguf, "name", &s, NULL, &error), SLM_OK);
    assert_true(slm_str_is(s, "caf\xc3\xa9"));
    assert_int_equal(slm_gguf_get_array(gguf, "list", SLM_GGUF_F64, &list, NULL, &error), SLM_OK);
    assert_true(list->n == 2 && slm_gguf_f64_at(list, 0) == 1 && slm_gguf_f64_at(list, 1) == 2.5);
    assert_int_equal(slm_gguf_get_array(gguf, "generation_config.eos_token_id", SLM_GGUF_I64, &list, NULL, &error),
                     SLM_OK);
    assert_null(slm_gguf_find(gguf, "nothing"));
    assert_null(slm_gguf_find(gguf, "mixed"));
    const struct slm_gguf_tensor *w = slm_gguf_find_tensor(gguf, slm_str("w"));
    assert_true(w && w->dims[0] == 2 && w->dims[1] == 3 && w->dtype == SLM_DTYPE_F16);
    slm_gguf_close(gguf);
}

static void bad_folders_are_refused(void **state)
{
    (void)state;
    static const struct { const char *index, *says; } rows[] = {
        {"{\"weight_map\":{\"w\":\"../../etc/passwd\"}}", "no file name"},
        {"{\"weight_map\":{\"w\":\"/etc/passwd\"}}", "no file name"},
        {"{\"weight_map\":{\"w\":\"a\\\\b\"}}", "no file name"},
        {"{\"weight_map\":{\"w\":\".hidden\"}}", "no file name"},
        {"{\"weight_map\":{\"w\":\"\"}}", "no file name"},
        {"{\"weight_map\":{\"w\":1}}", "must name files"},
        {"{\"weight_map\":[]}", "must be an object"},
        {"{\"weight_map\":{}}", "names no file"},
        {"{}", "names no file"},
        {"{\"weight_map\":{\"w\":\"missing.safetensors\"}}", ""},
    };
    const char *folder = folder_of("badindex");
    put_text(folder, "config.json", "{}");
    struct slm_gguf *gguf;
    struct slm_error error;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_text(folder, "model.safetensors.index.json", rows[i].index);
        error.message[0] = 0;
        assert_int_not_equal(slm_hf_open(folder, &gguf, &error), SLM_OK);
        if (!strstr(error.message, rows[i].says)) fail_msg("%s: '%s'", rows[i].index, error.message);
    }
    /* The same tensor in two shards. */
    char file[256];
    const size_t n = safetensors(file, "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    put(folder, "a.safetensors", file, n);
    put(folder, "b.safetensors", file, n);
    put_text(folder, "model.safetensors.index.json",
             "{\"weight_map\":{\"w\":\"a.safetensors\",\"v\":\"b.safetensors\"}}");
    assert_int_equal(slm_hf_open(folder, &gguf, &error), SLM_ERR_FORMAT);
}

static void impossible_configurations_are_refused(void **state)
{
    (void)state;
    static const struct { const char *config, *says; } rows[] = {
        {"[]", "must be an object"},
        {"{\"architectures\":[\"NopeForCausalLM\"]}", "NopeForCausalLM"},
        {"{\"architectures\":\"LlamaForCausalLM\"}", "array"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":1431655766}", "1431655766"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":0}", "allowed are 1 to 512"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":-1}", "allowed are 1 to 512"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":1e300}", "integer"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":\"2\"}", "integer"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"a\":1,\"a\":2}", "a"},
    };
    const char *folder = folder_of("badconfig");
    char file[256];
    put(folder, "model.safetensors", file, safetensors(file, "{}", 0));
    struct slm_model *model;
    struct slm_error error;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_text(folder, "config.json", rows[i].config);
        error.message[0] = 0;
        assert_int_not_equal(slm_model_open(folder, NULL, &model, &error), SLM_OK);
        if (!strstr(error.message, rows[i].says) && !strstr(error.where, rows[i].says))
            fail_msg("%s: '%s: %s'", rows[i].config, error.where, error.message);
    }
}

/* A file that is there and cannot be read is not taken for one that is not there, whichever it is. */
static void unreadable_files_are_not_absent(void **state)
{
    (void)state;
    const char *folder = tiny_path("unreadable");
    struct slm_model *model;
    struct slm_error error = {0};
    tiny_folder_write(folder, SLM_DTYPE_F32);
    fake_os_start(NULL);
    assert_int_equal(slm_model_open(folder, NULL, &model, &error), SLM_OK);
    slm_model_close(model);
    const uint64_t n_opened = fake_os_count(FAKE_BIT(FAKE_OPEN_READ)), n_there = fake_os_count(FAKE_BIT(FAKE_MAP));
    fake_os_stop();
    assert_true(n_there >= 4 && n_there < n_opened);
    uint64_t n_refused = 0;
    for (uint64_t i = 1; i <= n_opened; i++) {
        fake_os_start(&(struct fake_os_plan){.kinds = FAKE_BIT(FAKE_OPEN_READ), .fail_at = i, .reason = EACCES});
        const slm_status status = slm_model_open(folder, NULL, &model, &error);
        fake_os_stop();
        if (status == SLM_OK) slm_model_close(model);
        else if (status != SLM_ERR_IO || !strstr(error.message, "Permission denied")) fail_msg("%s", error.message);
        n_refused += status != SLM_OK;
    }
    assert_int_equal(n_refused, n_there);
    /* A folder whose files cannot even be looked for is a folder; one without a config.json is none. */
    assert_true(slm_hf_is_folder(folder, "config.json"));
    assert_false(slm_hf_is_folder(folder, "adapter_config.json"));
    fake_os_start(&(struct fake_os_plan){.kinds = FAKE_BIT(FAKE_LOOK_AT), .fail_at = 1, .reason = EACCES});
    assert_true(slm_hf_is_folder(folder, "config.json"));
    fake_os_stop();
}

static void tinystories_writes_the_reference_tokens(void **state)
{
    (void)state;
    SLM_NEED_SHARED(path, "data/models/tinystories-656k");
    char *reference = shared_read(shared_path("data/models/tinystories-656k/greedy-80.f64.txt"), NULL);
    assert_non_null(reference);
    struct slm_model *model;
    struct slm_session *session;
    struct slm_error error;
    const struct slm_session_options options = {.kv_type = SLM_KV_F32};
    if (slm_model_open(path, NULL, &model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    assert_int_equal(slm_session_open(model, &options, &session, &error), SLM_OK);
    const int32_t n_vocab = slm_model_info(model).n_vocab;
    char *at = reference;
    int32_t id = 1;
    for (int i = 0; i < 80; i++) {
        assert_int_equal(slm_session_eval(session, &id, 1, &error), SLM_OK);
        const float *logits = slm_session_logits(session);
        id = 0;
        for (int32_t j = 1; j < n_vocab; j++)
            if (logits[j] > logits[id]) id = j;
        assert_int_equal(id, strtol(at, &at, 10));
    }
    free(reference);
    slm_session_close(session);
    slm_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_accepts_and_rejects_as_rfc_8259),
        cmocka_unit_test(json_decodes_strings_and_numbers),
        cmocka_unit_test(bad_safetensors_are_refused),
        cmocka_unit_test(newer_keys_win),
        cmocka_unit_test(configurations_become_metadata),
        cmocka_unit_test(bad_folders_are_refused),
        cmocka_unit_test(impossible_configurations_are_refused),
        cmocka_unit_test(unreadable_files_are_not_absent),
        cmocka_unit_test(tinystories_writes_the_reference_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
