/* SPDX-License-Identifier: MIT
 * slm_convert: from a source (a folder, GGUF files) to one GGUF file or several.
 *
 * First everything is decided: types, which file each tensor goes to, sizes, whether the disk has room. Then the files
 * are written under temporary names, and when the last byte of the last one is on the disk they are renamed, the first
 * part last of all: whoever looks sees no model or a whole one.
 *
 * A conversion that is killed, cancelled or out of disk leaves its temporary files, and the next one that would write
 * the same goes on with them (format/partial.h). That it would is what a key says: of the files that are read, what is
 * done with each tensor, this version of the library.
 *
 * The same input and options give the same bytes. Deliberately not here: what a source's keys and tensors are, how
 * values change their type (stream.c). */
#include "tune/convert.h"

#include <stdio.h>

#include "base/checked.h"
#include "base/fmath.h"
#include "base/os.h"
#include "format/hf_folder.h"
#include "quant/panel.h"

enum { MAX_PARTS = 1000, SUFFIX_BYTES = 32 }; /* as many as a reader accepts; "-00001-of-00003.gguf" */

/* One file of the output. */
struct part {
    size_t first, n;  /* tensors */
    struct slm_gguf_writer *writer;
};

struct output {
    const char *path;
    uint64_t kept;            /* bytes that an earlier run left */
    struct part *parts; /* [n_parts], in the conversion's arena */
    size_t n_parts;
    uint64_t data_bytes, total_bytes;
};

/* ---- types ------------------------------------------------------------------------------------------------------- */

/* Does the whole name match? '*' stands for any text, '?' for one byte. Linear but for repeated stars, whose last one
 * only is tried again. */
static bool matches(const char *pattern, struct slm_str name)
{
    const char *star = NULL;
    size_t i = 0, from = 0;
    while (i < name.len) {
        if (*pattern == '*') {
            star = pattern++;
            from = i;
        } else if (*pattern && (*pattern == '?' || *pattern == name.ptr[i])) {
            pattern++;
            i++;
        } else if (star) {
            pattern = star + 1;
            i = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return *pattern == 0;
}

/* Rounding alone serves the simple types; the others need the search that quantizing has. */
static bool can_write(const struct slm_conversion *c, int type)
{
    return slm_dtypes[type].encode || (c->encoders && (c->encoders->encode[type] || type == SLM_DTYPE_I2_S));
}

/* A type that can be written here, by its name. */
static slm_status parse_type(const struct slm_conversion *c, const char *name, enum slm_dtype *out,
                             struct slm_error *error)
{
    struct slm_buf known = {0};
    *out = slm_dtype_from_name(name);
    if (*out != SLM_DTYPE_NONE && can_write(c, *out)) return SLM_OK;
    for (int i = 0; i < SLM_DTYPE_COUNT; i++)
        if (can_write(c, i)) slm_buf_printf(&known, "%s%s", known.len ? ", " : "", slm_dtypes[i].name);
    const slm_status status = slm_fail(error, SLM_ERR_ARGUMENT, "type", "'%s' cannot be written; %s can", name,
                                       known.data ? known.data : "");
    slm_buf_release(&known);
    return status;
}

/* Notes are for people; nothing depends on them. */
static void note(const struct slm_conversion *c, const char *sentence)
{
    if (c->options && c->options->note) c->options->note(c->options->user, sentence);
}

/* One rule over all tensors. */
slm_status slm_convert_apply_rule(struct slm_conversion *c, const struct slm_convert_rule *rule,
                                  struct slm_error *error)
{
    enum slm_dtype type;
    bool fixed = false, found = false;
    SLM_TRY(parse_type(c, rule->type, &type, error));
    for (size_t i = 0; i < c->n_tensors; i++) {
        if (!matches(rule->pattern, c->tensors[i].name)) continue;
        if (c->tensors[i].fixed) fixed = true;
        else c->tensors[i].to = type, found = true;
    }
    if (found) return SLM_OK;
    return slm_fail(error, SLM_ERR_ARGUMENT, "tensor", "'%s' %s", rule->pattern,
                    fixed ? "names tensors whose type stays: norms, biases and tables" : "names no tensor");
}

/* Where blocks of 256 do not fit and scales are searched for, the type of blocks of 32 that loses as little
 * (llama.cpp's choice); else, and where those do not fit either, F16. */
static enum slm_dtype fitting_type(const struct slm_conversion *c, enum slm_dtype type, uint64_t row)
{
    static const struct { enum slm_dtype large, small; } rows[] = {
        {SLM_DTYPE_IQ4_XS, SLM_DTYPE_IQ4_NL}, {SLM_DTYPE_Q2_K, SLM_DTYPE_Q4_0}, {SLM_DTYPE_Q3_K, SLM_DTYPE_Q4_0},
        {SLM_DTYPE_TQ1_0, SLM_DTYPE_Q4_0}, {SLM_DTYPE_TQ2_0, SLM_DTYPE_Q4_0}, {SLM_DTYPE_Q4_K, SLM_DTYPE_Q5_0},
        {SLM_DTYPE_Q5_K, SLM_DTYPE_Q5_1}, {SLM_DTYPE_Q6_K, SLM_DTYPE_Q8_0},
    };
    if (row % slm_dtypes[type].block == 0) return type;
    for (size_t i = 0; c->encoders && i < sizeof rows / sizeof *rows; i++)
        if (rows[i].large == type && row % slm_dtypes[rows[i].small].block == 0) return rows[i].small;
    return SLM_DTYPE_F16;
}

/* Says for each type that others fell back to which they are. */
void slm_convert_fit_types(struct slm_conversion *c)
{
    size_t n[SLM_DTYPE_COUNT] = {0}, first[SLM_DTYPE_COUNT] = {0};
    char sentence[256];
    for (size_t i = c->n_tensors; i-- > 0;) {
        struct slm_stream_tensor *t = &c->tensors[i];
        const enum slm_dtype to = fitting_type(c, t->to, t->dims[0]);
        if (to == t->to) continue;
        t->to = to;
        first[to] = i;
        n[to]++;
    }
    for (int to = 0; to < SLM_DTYPE_COUNT; to++) {
        const struct slm_str name = c->n_tensors ? c->tensors[first[to]].name : slm_str("");
        if (n[to] == 0) continue;
        snprintf(sentence, sizeof sentence,
                 "%zu tensor%s, '%.*s' first, %s rows that do not fit the blocks of the type asked for, and %s written "
                 "as %s", n[to], n[to] == 1 ? "" : "s", (int)(name.len < 80 ? name.len : 80), name.ptr,
                 n[to] == 1 ? "has" : "have", n[to] == 1 ? "is" : "are", slm_dtypes[to].name);
        note(c, sentence);
    }
}

/* Rounding what is rounded already costs more than rounding the original would. */
static void warn_of_requantizing(const struct slm_conversion *c)
{
    size_t n = 0;
    char sentence[160];
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct slm_stream_tensor *t = &c->tensors[i];
        n += t->from != t->to && slm_dtypes[t->from].block > 1 && slm_dtypes[t->to].block > 1 &&
             !(slm_stream_is_ternary(t->to) && !c->encoders); /* which take nothing that they would round */
    }
    if (n == 0) return;
    snprintf(sentence, sizeof sentence, "%zu tensor%s quantized already and lose%s quality by being quantized again", n,
             n == 1 ? " is" : "s are", n == 1 ? "s" : "");
    note(c, sentence);
}

/* The type most of the matrices' elements have. */
static enum slm_dtype main_type(const struct slm_conversion *c)
{
    uint64_t elements[SLM_DTYPE_COUNT] = {0};
    enum slm_dtype most = SLM_DTYPE_F32;
    for (size_t i = 0; i < c->n_tensors; i++)
        if (!c->tensors[i].fixed) elements[c->tensors[i].to] += c->tensors[i].dims[0] * c->tensors[i].dims[1];
    for (int i = 0; i < SLM_DTYPE_COUNT; i++)
        if (elements[i] > elements[most]) most = (enum slm_dtype)i;
    return most;
}

/* The type for all, then the rules in turn. */
static slm_status choose_types(struct slm_conversion *c, struct slm_error *error)
{
    const struct slm_convert_options *o = c->options;
    enum slm_dtype type = SLM_DTYPE_NONE;
    if (o->type) SLM_TRY(parse_type(c, o->type, &type, error));
    for (size_t i = 0; o->type && i < c->n_tensors; i++)
        if (!c->tensors[i].fixed && (c->tensors[i].ternary || !slm_stream_is_ternary(type))) c->tensors[i].to = type;
    for (size_t i = 0; i < o->n_rules; i++) SLM_TRY(slm_convert_apply_rule(c, &o->rules[i], error));
    if (o->type) c->file_type = slm_file_type(type);
    else if (c->model) c->file_type = slm_file_type(main_type(c));
    return SLM_OK;
}

/* Matrices that every family multiplies with as a whole, an embedding only where it is the head as well: of others few
 * rows are read. */
static void choose_packed(struct slm_conversion *c)
{
    bool has_head = false;
    for (size_t i = 0; i < c->n_tensors; i++) has_head = has_head || slm_str_is(c->tensors[i].name, "output.weight");
    for (size_t i = 0; i < c->n_tensors; i++) {
        struct slm_stream_tensor *t = &c->tensors[i];
        const bool known = slm_str_starts_with(t->name, slm_str("blk.")) || slm_str_is(t->name, "output.weight") ||
                           (slm_str_is(t->name, "token_embd.weight") && !has_head);
        t->packed = known && !t->fixed && t->n_dims == 2 && slm_pack_in_files(t->to);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* The suffix of a split file goes in front of ".gguf". */
static bool ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

/* "model.gguf" -> "model-00002-of-00003.gguf"; the path itself when there is one file. */
static slm_status part_path(const struct output *out, size_t i, struct slm_buf *path, struct slm_error *error)
{
    slm_buf_clear(path);
    const size_t len = strlen(out->path) - (ends_in(out->path, ".gguf") ? 5 : 0);
    if (out->n_parts == 1) slm_buf_puts(path, out->path);
    else {
        slm_buf_add(path, out->path, len);
        slm_buf_printf(path, "-%05zu-of-%05zu.gguf", i + 1, out->n_parts);
    }
    return slm_buf_status(path, out->path, error);
}

/* A new file begins where the next tensor would make this one too large. */
static slm_status split(struct slm_conversion *c, struct output *out, struct slm_error *error)
{
    const uint64_t max_bytes = c->options->split_max_bytes, max_tensors = c->options->split_max_tensors;
    uint64_t bytes, part_bytes = 0;
    out->parts = slm_arena_alloc(&c->arena, MAX_PARTS, sizeof *out->parts, out->path, error);
    if (!out->parts) return SLM_ERR_MEMORY;
    out->n_parts = 1;
    for (size_t i = 0; i < c->n_tensors; i++) {
        struct part *part = &out->parts[out->n_parts - 1];
        if (!slm_stream_bytes(&c->tensors[i], &bytes) || !slm_add_u64(out->data_bytes, bytes, &out->data_bytes))
            return slm_fail(error, SLM_ERR_LIMIT, out->path, "tensor '%.*s' is too large", (int)c->tensors[i].name.len,
                            c->tensors[i].name.ptr);
        const bool full = (max_bytes && part_bytes + bytes > max_bytes) || (max_tensors && part->n == max_tensors);
        if (full && part->n > 0) {
            if (out->n_parts == MAX_PARTS)
                return slm_fail(error, SLM_ERR_LIMIT, out->path, "would be split into more than %d files", MAX_PARTS);
            part = &out->parts[out->n_parts++];
            part->first = i;
            part_bytes = 0;
        }
        part->n++;
        part_bytes += bytes;
    }
    return SLM_OK;
}

/* Before anything is written: the target must be no file that is read, and a file or nothing. */
static slm_status check_target(const struct slm_conversion *c, const struct output *out, struct slm_error *error)
{
    struct slm_buf path = {0};
    slm_status status = SLM_OK;
    if (slm_gguf_is_split_name(out->path))
        return slm_fail(error, SLM_ERR_ARGUMENT, out->path,
                        "has a name that parts of a split model have; the numbers are added where they are needed");
    for (size_t i = 0; i < out->n_parts && status == SLM_OK; i++) {
        struct slm_path_info info;
        bool same = false;
        status = part_path(out, i, &path, error);
        if (status == SLM_OK) status = slm_os()->look_at(path.data, &info, error);
        if (status == SLM_OK && info.exists && !info.is_regular)
            status = slm_fail(error, SLM_ERR_ARGUMENT, path.data,
                              "is no regular file; the model cannot take its place");
        if (status == SLM_OK) status = slm_gguf_reads_file(c->gguf, path.data, &same, error);
        if (same)
            status = slm_fail(error, SLM_ERR_ARGUMENT, path.data, "is the model that is read; another name is needed");
    }
    slm_buf_release(&path);
    return status;
}

/* All that decides the data of a file and is not in its header. A file that is replaced by another of the same size and
 * time at the same place goes unnoticed, as it does by make. */
static uint64_t resume_key(const struct slm_conversion *c, const struct part *part)
{
    uint64_t key = slm_hash_bytes(slm_version(), strlen(slm_version()), slm_gguf_fingerprint(c->gguf));
    for (size_t i = 0; i < part->n; i++) {
        const struct slm_stream_tensor *t = &c->tensors[part->first + i];
        const uint64_t facts[] = {t->from, t->pair_rows, t->n_parts, slm_f32_bits(t->gain), t->importance != NULL};
        key = slm_hash_bytes(facts, sizeof facts, key);
        if (t->importance) key = slm_hash_bytes(t->importance, (size_t)t->dims[0] * sizeof *t->importance, key);
        for (unsigned k = 0; k < t->n_parts; k++)
            key = slm_hash_bytes(&t->parts[k].rule.scale, sizeof t->parts[k].rule.scale, key + t->parts[k].first);
    }
    return key;
}

/* What an earlier run left, if it was one like this. */
static slm_status resume(struct slm_conversion *c, struct output *out, const struct part *part, struct slm_error *error)
{
    uint64_t kept;
    bool stale;
    struct slm_buf sentence = {0};
    SLM_TRY(slm_gguf_writer_resume(part->writer, resume_key(c, part), &kept, &stale, error));
    out->kept += kept;
    const char *path = slm_gguf_writer_partial(part->writer);
    if (kept)
        slm_buf_printf(&sentence, "goes on with %s: %.0f of %.0f MB are there", path, (double)kept / 1e6,
                       (double)slm_gguf_writer_bytes(part->writer) / 1e6);
    else if (stale)
        slm_buf_printf(&sentence, "begins anew: %s was not left by this command on this input", path);
    if (sentence.data) note(c, sentence.data);
    slm_buf_release(&sentence);
    return SLM_OK;
}

/* Keys and declarations of one file; its data may follow. */
static slm_status open_part(struct slm_conversion *c, const struct slm_convert_source *source, struct output *out,
                            size_t i, struct slm_error *error)
{
    struct part *part = &out->parts[i];
    struct slm_buf path = {0};
    slm_status status = part_path(out, i, &path, error);
    uint32_t alignment = c->model ? 0 : slm_gguf_alignment(c->gguf);
    if (c->options->pack && alignment < SLM_PANEL_ALIGN) alignment = SLM_PANEL_ALIGN;
    if (status == SLM_OK) status = slm_gguf_writer_open(path.data, alignment, &part->writer, error);
    slm_buf_release(&path);
    SLM_TRY(status);
    struct slm_gguf_writer *w = part->writer;
    if (i == 0) SLM_TRY(source->write_keys(c, w, error));
    if (i == 0 && c->write_keys) SLM_TRY(c->write_keys(c, w, error));
    if (out->n_parts > 1) {
        SLM_TRY(slm_gguf_write_i64(w, "split.no", SLM_GGUF_U16, (int64_t)i, error));
        SLM_TRY(slm_gguf_write_i64(w, "split.count", SLM_GGUF_U16, (int64_t)out->n_parts, error));
        SLM_TRY(slm_gguf_write_i64(w, "split.tensors.count", SLM_GGUF_I32, (int64_t)c->n_tensors, error));
    }
    for (size_t k = 0; k < part->n; k++) {
        const struct slm_stream_tensor *t = &c->tensors[part->first + k];
        SLM_TRY(t->packed ? slm_gguf_declare_packed(w, t->name, t->to, t->dims, error)
                          : slm_gguf_declare_tensor(w, t->name, t->to, t->dims, t->n_dims, error));
    }
    return resume(c, out, part, error);
}

/* After the last thing that may be refused for its size: the disk.
 * All files are in the folder of the first. Known when all are declared, so that headers count too. */
static slm_status check_room(struct output *out, struct slm_error *error)
{
    struct slm_path_info info;
    for (size_t i = 0; i < out->n_parts; i++) out->total_bytes += slm_gguf_writer_bytes(out->parts[i].writer);
    SLM_TRY(slm_os()->look_at(out->path, &info, error));
    const uint64_t needed = out->total_bytes - out->kept;
    if (info.free_bytes >= needed) return SLM_OK;
    return slm_fail(error, SLM_ERR_IO, out->path, "needs %llu bytes on the disk, which has %llu free",
                    (unsigned long long)needed, (unsigned long long)info.free_bytes);
}

/* From the last to the first, which is the one that is opened. When one fails, those before it go again: they are no
 * model. */
static slm_status rename_parts(struct output *out, struct slm_error *error)
{
    slm_status status = SLM_OK;
    size_t i = out->n_parts;
    while (status == SLM_OK && i-- > 0) {
        struct slm_gguf_writer *w = out->parts[i].writer;
        out->parts[i].writer = NULL;
        status = slm_gguf_writer_finish(w, error);
    }
    struct slm_buf path = {0};
    while (status != SLM_OK && ++i < out->n_parts)
        if (part_path(out, i, &path, NULL) == SLM_OK) (void)slm_os()->remove(path.data, NULL);
    slm_buf_release(&path);
    return status;
}

/* All headers first: whatever is wrong with them shows before gigabytes are written. */
static slm_status write_parts(struct slm_conversion *c, const struct slm_convert_source *source, struct output *out,
                              struct slm_error *error)
{
    const struct slm_convert_options *o = c->options;
    struct slm_stream_options stream = {.n_threads = o->n_threads > 0 ? (unsigned)o->n_threads : slm_os()->n_cpus(),
                                        .encoders = c->encoders, .progress = o->progress, .user = o->user,
                                        .total = out->data_bytes};
    for (size_t i = 0; i < out->n_parts; i++) SLM_TRY(open_part(c, source, out, i, error));
    SLM_TRY(check_room(out, error));
    for (size_t i = 0; i < out->n_parts; i++) {
        const struct part *part = &out->parts[i];
        SLM_TRY(slm_stream_write(part->writer, &c->tensors[part->first], part->n, c->gguf, &stream, error));
        SLM_TRY(slm_gguf_writer_seal(part->writer, error));
    }
    /* A file that changed while it was read may have been read half old, half new. */
    if (!c->model) SLM_TRY(slm_gguf_unchanged(c->gguf, error));
    return rename_parts(out, error);
}

/* What another attempt may go on with stays, the rest goes. */
static void close_parts(const struct slm_conversion *c, struct output *out, slm_status status)
{
    const bool later = status == SLM_ERR_IO || status == SLM_ERR_CANCELLED || status == SLM_ERR_MEMORY;
    bool kept = false;
    for (size_t i = 0; i < out->n_parts; i++) {
        struct slm_gguf_writer *w = out->parts[i].writer;
        if (later) kept = slm_gguf_writer_suspend(w) || kept;
        else slm_gguf_writer_abandon(w);
    }
    if (kept) note(c, "stopped; the same command goes on where this one was, with what is in the .partial file");
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* What is asked for is judged before anything is written, which is not before write_parts. Types that were chosen are
 * not yet final: blocks must fit. */
static slm_status run(struct slm_conversion *c, const struct slm_convert_source *source, struct output *out,
                      struct slm_error *error)
{
    SLM_TRY(source->list(c, error));
    SLM_TRY(c->choose(c, error));
    slm_convert_fit_types(c);
    warn_of_requantizing(c);
    for (size_t i = 0; i < c->n_tensors; i++) c->quantized = c->quantized || slm_dtypes[c->tensors[i].to].block > 1;
    if (c->weigh) SLM_TRY(c->weigh(c, error));
    if (c->options->pack) choose_packed(c);
    SLM_TRY(split(c, out, error));
    SLM_TRY(check_target(c, out, error));
    return write_parts(c, source, out, error);
}

slm_status slm_convert_run(struct slm_conversion *c, const char *out_path, struct slm_convert_result *result,
                           struct slm_error *error)
{
    struct output out = {.path = out_path};
    const bool folder = slm_hf_is_model(c->in);
    const slm_status status = run(c, folder ? &slm_convert_folder : &slm_convert_gguf, &out, error);
    close_parts(c, &out, status);
    if (status == SLM_OK && result)
        *result = (struct slm_convert_result){.bytes = out.total_bytes, .n_files = out.n_parts,
                                              .n_tensors = c->n_tensors};
    slm_embed_rules_release(&c->rules);
    if (c->model) slm_model_close(c->model);
    else slm_gguf_close(c->gguf);
    slm_arena_release(&c->arena);
    return status;
}

slm_status slm_convert(const char *in, const char *out_path, const struct slm_convert_options *options,
                       struct slm_convert_result *result, struct slm_error *error)
{
    const struct slm_convert_options defaults = {0};
    struct slm_conversion c = {.in = in, .options = options ? options : &defaults, .file_type = SLM_FILE_TYPE_NONE,
                               .choose = choose_types};
    if (!in || !*in || !out_path || !*out_path)
        return slm_fail(error, SLM_ERR_ARGUMENT, "convert", "two paths are needed, of a model and of the new file");
    return slm_convert_run(&c, out_path, result, error);
}
