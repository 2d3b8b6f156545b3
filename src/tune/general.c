/* SPDX-License-Identifier: MIT
 * The general.* keys of a converted model: what it is called, how large it is, under which licence it comes, how it
 * likes to be sampled. All from files of the folder; what they do not say is left out, nothing is guessed, and nothing
 * depends on the day or the machine. The numbers of general.file_type are llama.cpp's.
 *
 * Of the model card only lines `key: value` of its first block are read, as plain ASCII text: enough for licences, and
 * no YAML parser in the way of whoever writes one into a README. */
#include <stdio.h>

#include "base/os.h"

#include "format/hf_folder.h"
#include "model/model.h"
#include "tune/convert.h"

/* Of a K-quant, the number of the usual mixture. */
uint32_t slm_file_type(enum slm_dtype dtype)
{
    static const struct { enum slm_dtype dtype; uint32_t number; } rows[] = {
        {SLM_DTYPE_F32, 0}, {SLM_DTYPE_F16, 1}, {SLM_DTYPE_Q4_0, 2}, {SLM_DTYPE_Q4_1, 3}, {SLM_DTYPE_Q8_0, 7},
        {SLM_DTYPE_Q5_0, 8}, {SLM_DTYPE_Q5_1, 9}, {SLM_DTYPE_Q2_K, 10}, {SLM_DTYPE_Q3_K, 12}, {SLM_DTYPE_Q4_K, 15},
        {SLM_DTYPE_Q5_K, 17}, {SLM_DTYPE_Q6_K, 18}, {SLM_DTYPE_IQ4_NL, 25}, {SLM_DTYPE_IQ4_XS, 30},
        {SLM_DTYPE_BF16, 32}, {SLM_DTYPE_TQ1_0, 36}, {SLM_DTYPE_TQ2_0, 37},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].dtype == dtype) return rows[i].number;
    return SLM_FILE_TYPE_NONE;
}

/* Two digits at least, as gguf-py rounds: 0.6B does not become 1B. */
void slm_size_label(char out[16], uint64_t n_params)
{
    static const struct { double unit; char letter; } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    size_t i = 0;
    while (i + 1 < sizeof units / sizeof *units && (double)n_params <= units[i].unit) i++;
    const double scaled = (double)n_params / units[i].unit;
    snprintf(out, 16, "%.*f%c", scaled < 9.5 ? 1 : 0, scaled, units[i].letter);
}

/* The next line without its end; false when there is none. */
static bool next_line(struct slm_str *rest, struct slm_str *line)
{
    if (rest->len == 0) return false;
    const char *end = memchr(rest->ptr, '\n', rest->len);
    line->ptr = rest->ptr;
    line->len = end ? (size_t)(end - rest->ptr) : rest->len;
    const size_t used = line->len + (end != NULL);
    rest->ptr += used;
    rest->len -= used;
    if (line->len && line->ptr[line->len - 1] == '\r') line->len--;
    return true;
}

/* Without spaces and quotes around it. */
static struct slm_str trim(struct slm_str s)
{
    while (s.len && (*s.ptr == ' ' || *s.ptr == '\t')) s.ptr++, s.len--;
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) s.len--;
    if (s.len >= 2 && (*s.ptr == '"' || *s.ptr == '\'') && s.ptr[s.len - 1] == *s.ptr) s.ptr++, s.len -= 2;
    return s;
}

/* The first line of that key counts; nested keys are indented and do not match. */
struct slm_str slm_card_value(struct slm_str card, const char *key)
{
    const struct slm_str none = {0};
    struct slm_str line;
    const size_t n = strlen(key);
    if (!next_line(&card, &line) || !slm_str_is(line, "---")) return none;
    while (next_line(&card, &line) && !slm_str_is(line, "---")) {
        if (line.len <= n || memcmp(line.ptr, key, n) != 0 || line.ptr[n] != ':') continue;
        const struct slm_str value = trim((struct slm_str){line.ptr + n + 1, line.len - n - 1});
        /* Lists, maps, aliases and long texts are no plain value. */
        if (value.len == 0 || value.len > 200 || memchr("[{&*!|>%@`", *value.ptr, 10)) return none;
        for (size_t i = 0; i < value.len; i++)
            if (value.ptr[i] < 0x20 || value.ptr[i] > 0x7e) return none;
        return value;
    }
    return none;
}

/* What the model card says, under the names that GGUF has for it. */
static slm_status write_card(const struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error)
{
    static const struct { const char *card, *key; } rows[] = {
        {"license", "general.license"}, {"license_name", "general.license.name"},
        {"license_link", "general.license.link"}};
    struct slm_map map = {0};
    bool found = false;
    SLM_TRY(slm_hf_map(c->in, "README.md", &map, &found, error));
    slm_status status = SLM_OK;
    for (size_t i = 0; found && status == SLM_OK && i < sizeof rows / sizeof *rows; i++) {
        const struct slm_str value = slm_card_value((struct slm_str){(const char *)map.data, map.bytes}, rows[i].card);
        if (value.len) status = slm_gguf_write_str(w, rows[i].key, value, error);
    }
    slm_os()->unmap(&map);
    return status;
}

/* The name the configuration gives, else that of the folder; without the path. */
static struct slm_str model_name(const struct slm_conversion *c)
{
    struct slm_str name = {0};
    bool found = false;
    if (slm_gguf_get_str(c->gguf, "_name_or_path", &name, &found, NULL) != SLM_OK || !found || name.len == 0)
        name = slm_str(c->in);
    while (name.len && name.ptr[name.len - 1] == '/') name.len--;
    for (size_t i = name.len; i-- > 0;)
        if (name.ptr[i] == '/') return (struct slm_str){name.ptr + i + 1, name.len - i - 1};
    return slm_str_is(name, ".") || slm_str_is(name, "..") ? (struct slm_str){0} : name;
}

/* How its makers sample it. Values out of range are advice nobody can follow. */
static slm_status write_sampling(const struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error)
{
    static const struct { const char *hf, *key; double min, max; } rows[] = {
        {"generation_config.temperature", "general.sampling.temp", 0.0, 100.0},
        {"generation_config.top_p", "general.sampling.top_p", 0.0, 1.0},
        {"generation_config.min_p", "general.sampling.min_p", 0.0, 1.0},
        {"generation_config.repetition_penalty", "general.sampling.penalty_repeat", 0.01, 100.0},
    };
    bool found = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double value;
        if (slm_gguf_get_f64(c->gguf, rows[i].hf, rows[i].min, rows[i].max, &value, &found, NULL) == SLM_OK && found)
            SLM_TRY(slm_gguf_write_f32(w, rows[i].key, (float)value, error));
    }
    int64_t top_k;
    if (slm_gguf_get_i64(c->gguf, "generation_config.top_k", 0, INT32_MAX, &top_k, &found, NULL) != SLM_OK || !found)
        return SLM_OK;
    return slm_gguf_write_i64(w, "general.sampling.top_k", SLM_GGUF_I32, top_k, error);
}

/* In the order in which llama.cpp's converter has them. */
slm_status slm_convert_write_general(struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error)
{
    char label[16];
    SLM_TRY(slm_gguf_write_str(w, "general.architecture", slm_str(c->model->architecture), error));
    SLM_TRY(slm_gguf_write_str(w, "general.type", slm_str("model"), error));
    const struct slm_str name = model_name(c);
    if (name.len) SLM_TRY(slm_gguf_write_str(w, "general.name", name, error));
    slm_size_label(label, c->model->n_params);
    SLM_TRY(slm_gguf_write_str(w, "general.size_label", slm_str(label), error));
    SLM_TRY(write_card(c, w, error));
    SLM_TRY(write_sampling(c, w, error));
    if (c->file_type != SLM_FILE_TYPE_NONE)
        SLM_TRY(slm_gguf_write_i64(w, "general.file_type", SLM_GGUF_U32, c->file_type, error));
    /* The generation of the block formats, which has not changed since 2023. */
    return c->quantized ? slm_gguf_write_i64(w, "general.quantization_version", SLM_GGUF_U32, 2, error) : SLM_OK;
}

/* As it stands there: what a licence allows is nothing a program should say. */
void slm_licence_of(const struct slm_model *model, char *out, size_t cap)
{
    struct slm_str value = {0};
    struct slm_map map = {0};
    bool found = false;
    (void)slm_gguf_get_str(model->gguf, "general.license", &value, &found, NULL);
    found = false;
    if (model->folder && slm_hf_map(model->folder, "README.md", &map, &found, NULL) == SLM_OK && found)
        value = slm_card_value((struct slm_str){(const char *)map.data, map.bytes}, "license");
    snprintf(out, cap, "%.*s", (int)(value.len < cap ? value.len : cap - 1), value.ptr ? value.ptr : "");
    if (found) slm_os()->unmap(&map);
}
