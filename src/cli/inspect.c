/* SPDX-License-Identifier: MIT
 *
 * `slm inspect`: what a model file is: hyper-parameters, tensors by type, tokenizer, chat template, and the
 * memory it needs at several context lengths. Works on every well-formed GGUF file and Hugging Face folder, also when
 * this build cannot run it: then it says why not, and shows what the file says.
 *
 * Deliberately not here: quality, speed (`slm bench`), and judgement of a template's content; its hash lets two
 * files be compared. */
#include <inttypes.h>

#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "format/hf_folder.h"
#include "model/model.h"
#include "quant/panel.h"
#include "tune/predict.h"

/* Filled by the rows below; zero means not given. */
struct inspect_options {
    uint64_t seen;
    bool json, tensors, keys, template_text;
    struct slm_model_choice model;
};

#define AT(field) offsetof(struct inspect_options, field)
static const struct slm_option inspect_rows[] = {
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "one JSON object"},
    {.name = "tensors", .kind = SLM_OPTION_FLAG, .offset = AT(tensors),
     .help = "list every tensor"},
    {.name = "keys", .kind = SLM_OPTION_FLAG, .offset = AT(keys),
     .help = "list every metadata key with its value"},
    {.name = "template", .kind = SLM_OPTION_FLAG, .offset = AT(template_text),
     .help = "print the chat template"},
};
#undef AT
/* --ctx, --kv and --batch-size change what is predicted; --cpu-mask only what the scratch is laid out for. */
static const struct slm_option_group inspect_groups[] = {
    {"Options", inspect_rows, sizeof inspect_rows / sizeof inspect_rows[0], 0},
    SLM_MODEL_GROUP(struct inspect_options, model),
};

/* How many context lengths are predicted; how much of a long value is shown as text. */
enum { MAX_CONTEXTS = 8, SHOWN_ELEMENTS = 6, SHOWN_BYTES = 60 };

/* Sums over the tensors of one type, or over all. */
struct type_sum {
    uint64_t n_tensors, n_elements, bytes;
};
/* Bytes that a session with this context takes. */
struct need {
    int32_t n_ctx;
    struct slm_memory memory;
};

/* Everything that is shown, gathered before anything is printed. */
struct report {
    const char *path;
    struct slm_model *model; /* NULL: cannot be run */
    struct slm_gguf *opened; /* owned when model is NULL */
    const struct slm_gguf *gguf;
    struct slm_error why_not;                      /* when model is NULL */
    struct type_sum types[SLM_DTYPE_COUNT], total; /* total: over all types */
    size_t n_packed;
    struct need needs[MAX_CONTEXTS];
    size_t n_needs;                                                   /* contexts that could be predicted */
    struct slm_str architecture, name, tokenizer, pre, chat_template; /* borrowed from the file */
    int64_t n_vocab;                                                  /* tokens listed in the file */
};

/* ---- gathering ------------------------------------------------------------------------------- */

/* As a model if possible, for everything that only a bound model knows; else as a bare file. The built-in model
 * has no such second way: it is always well-formed, or absent. */
static slm_status open_report(struct report *r, const struct inspect_options *options, struct slm_error *error)
{
    slm_status status = slm_cli_open_model(&options->model, false, &r->model, &r->why_not);
    if (status == SLM_OK) {
        r->gguf = r->model->gguf;
        return SLM_OK;
    }
    r->model = NULL;
    if (!options->model.path) {
        if (error) *error = r->why_not;
        return status;
    }
    /* Names, types and shapes do not need an architecture that is known. */
    const char *path = options->model.path;
    SLM_TRY(slm_hf_is_model(path) ? slm_hf_open(path, &r->opened, error)
                                                  : slm_gguf_open(path, NULL, &r->opened, error));
    r->gguf = r->opened;
    return SLM_OK;
}

/* A string of the file; empty when absent or of another type. */
static struct slm_str text_key(const struct slm_gguf *gguf, const char *key)
{
    struct slm_str value = {0};
    bool found;
    if (slm_gguf_get_str(gguf, key, &value, &found, NULL) != SLM_OK) return (struct slm_str){0};
    return value;
}

/* Counts what is stored. Scales in tensors of their own take room but are no weights; a head that is tied and stored
 * all the same counts once, which only the model knows. */
static void sum_tensors(struct report *r)
{
    for (size_t i = 0; i < slm_gguf_n_tensors(r->gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(r->gguf, i);
        struct type_sum *sums[] = {&r->types[t->dtype], &r->total};
        r->n_packed += t->packed;
        for (size_t s = 0; s < 2; s++) {
            sums[s]->n_tensors++;
            sums[s]->n_elements += t->side ? 0 : t->n_elements;
            sums[s]->bytes += t->bytes;
        }
    }
    if (r->model) r->total.n_elements = r->model->n_params;
}

/* Folders name things otherwise than GGUF: what a model was made of is asked of the model, and where there is none, of
 * the folder. */
static void gather_folder(struct report *r)
{
    const struct slm_gguf_kv *classes = NULL;
    bool found = false;
    size_t cursor = 0;
    if (r->model) {
        const struct slm_tokenizer *tok = r->model->tokenizer;
        r->architecture = slm_str(r->model->architecture);
        if (r->model->chat_template) r->chat_template = slm_str(r->model->chat_template);
        if (!tok) return;
        r->tokenizer = slm_str(slm_tokenizer_model(tok));
        r->pre = slm_str(slm_tokenizer_pre(tok) ? slm_tokenizer_pre(tok) : "");
        r->n_vocab = (int64_t)slm_tokenizer_n_vocab(tok);
    } else if (slm_gguf_get_array(r->gguf, "architectures", SLM_GGUF_STRING, &classes, &found, NULL) == SLM_OK &&
               found) {
        (void)slm_gguf_next_string(classes, &cursor, &r->architecture);
    }
}

/* Powers of four from 1024 up to what the model was trained for, and the context asked for, if any. */
static void predict_needs(struct report *r, const struct inspect_options *options)
{
    const struct slm_work work = slm_work_of(r->model);
    int32_t n_ctx_train = slm_model_info(r->model).n_ctx_train;
    int32_t contexts[MAX_CONTEXTS]; /* tokens */
    size_t n = 0;
    if (options->model.n_ctx > 0)
        contexts[n++] = options->model.n_ctx;
    else {
        for (int32_t n_ctx = 1024; n_ctx < n_ctx_train && n + 1 < MAX_CONTEXTS; n_ctx *= 4) contexts[n++] = n_ctx;
        contexts[n++] = n_ctx_train;
    }
    for (size_t i = 0; i < n; i++) {
        struct slm_session_options session = {.n_ctx = contexts[i],
                                              .n_threads = options->model.n_threads,
                                              .n_batch = options->model.n_batch,
                                              .kv_type = (enum slm_kv_type)options->model.kv_type};
        struct need *need = &r->needs[r->n_needs];
        need->n_ctx = contexts[i];
        if (slm_memory_predict(r->model, &work, &session, &need->memory, NULL) == SLM_OK) r->n_needs++;
    }
}

/* All reading is done here; what follows only prints. */
static slm_status gather(struct report *r, const struct inspect_options *options, struct slm_error *error)
{
    const struct slm_gguf_kv *tokens = NULL;
    bool found = false;
    /* The keys that every reader of GGUF knows; absent ones are shown as empty. */
    r->path = options->model.path ? options->model.path : "built-in model";
    SLM_TRY(open_report(r, options, error));
    r->architecture = text_key(r->gguf, "general.architecture");
    r->name = text_key(r->gguf, "general.name");
    r->tokenizer = text_key(r->gguf, "tokenizer.ggml.model");
    r->pre = text_key(r->gguf, "tokenizer.ggml.pre");
    r->chat_template = text_key(r->gguf, "tokenizer.chat_template");
    /* The file's own list, so that the number is there even for tokenizers this build does not know. */
    if (slm_gguf_get_array(r->gguf, "tokenizer.ggml.tokens", SLM_GGUF_STRING, &tokens, &found, NULL) == SLM_OK &&
        found)
        r->n_vocab = (int64_t)tokens->n;
    if (slm_gguf_is_hf(r->gguf)) gather_folder(r);
    sum_tensors(r);
    if (r->model) predict_needs(r, options);
    return SLM_OK;
}

/* Over all tensors, norms included: what the file really costs. */
static double bits_per_weight(const struct report *r)
{
    return r->total.n_elements ? 8.0 * (double)r->total.bytes / (double)r->total.n_elements : 0.0;
}

/* A short name for a text, to compare files by; not cryptographic. */
static uint64_t short_hash(struct slm_str text) { return slm_hash_bytes(text.ptr, text.len, 0); }

/* ---- values of keys -------------------------------------------------------------------------- */

/* JSON of scalar i of a numeric key. */
static void add_number(struct slm_buf *out, const struct slm_gguf_kv *kv, enum slm_gguf_type type, uint64_t i)
{
    if (type == SLM_GGUF_F32)
        slm_json_float(out, (float)slm_gguf_f64_at(kv, i));
    else if (type == SLM_GGUF_F64)
        slm_buf_printf(out, "%.17g", slm_gguf_f64_at(kv, i));
    else if (type == SLM_GGUF_BOOL)
        slm_buf_puts(out, slm_gguf_i64_at(kv, i) ? "true" : "false");
    else
        slm_buf_printf(out, "%" PRId64, slm_gguf_i64_at(kv, i));
}

/* The first bytes of a text as a JSON string; most 0 = all. */
static void add_text(struct slm_buf *out, struct slm_str text, size_t most)
{
    /* A cut that splits a character shows as U+FFFD; the full value is in --json. */
    bool cut = most > 0 && text.len > most;
    slm_buf_add_json_string(out, (struct slm_str){text.ptr, cut ? most : text.len});
    if (cut) slm_buf_printf(out, "... (%zu bytes)", text.len);
}

/* The value of a key as JSON; arrays are cut to `most` elements (0 = none is) and texts to most_bytes. */
static void add_value(struct slm_buf *out, const struct slm_gguf *gguf, const struct slm_gguf_kv *kv, size_t most,
                      size_t most_bytes)
{
    /* Every branch writes one JSON value. */
    if (kv->type == SLM_GGUF_STRING) {
        struct slm_str text = {0};
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)kv->key.len, kv->key.ptr);
        if (kv->key.len < sizeof key) text = text_key(gguf, key);
        add_text(out, text, most_bytes);
    } else if (kv->type != SLM_GGUF_ARRAY) {
        add_number(out, kv, kv->type, 0);
    } else if (kv->array_type == SLM_GGUF_ARRAY) {
        slm_buf_puts(out, "\"(nested array)\"");
    } else {
        size_t cursor = 0;
        uint64_t n = most && kv->n > most ? most : kv->n;
        slm_buf_puts(out, "[");
        for (uint64_t i = 0; i < n; i++) {
            struct slm_str text;
            if (i) slm_buf_puts(out, ", ");
            if (kv->array_type != SLM_GGUF_STRING)
                add_number(out, kv, kv->array_type, i);
            else if (slm_gguf_next_string(kv, &cursor, &text))
                add_text(out, text, most_bytes);
        }
        if (n < kv->n) slm_buf_printf(out, ", ... %" PRIu64 " in all", kv->n);
        slm_buf_puts(out, "]");
    }
}

/* Contiguous dimension first, as the file has them. */
static void add_dims(struct slm_buf *out, const struct slm_gguf_tensor *t, const char *between)
{
    for (uint32_t d = 0; d < t->n_dims; d++) slm_buf_printf(out, "%s%" PRIu64, d ? between : "", t->dims[d]);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* What every file has. Names come from the file, so they are printed as JSON strings: no byte of them reaches
 * the terminal raw. */
static void add_model_text(struct slm_buf *out, const struct report *r)
{
    char a[16], b[16]; /* sizes and counts as text */
    const bool folder = slm_gguf_is_hf(r->gguf);
    slm_buf_printf(out, "file          %s\n", r->path);
    slm_buf_puts(out, "format        ");
    if (folder) slm_buf_puts(out, "Hugging Face folder");
    else slm_buf_printf(out, "GGUF v%u", slm_gguf_version(r->gguf));
    slm_buf_printf(out, ", %s, %zu part%s, %zu keys, %zu tensors\n",
                   slm_cli_size(a, (double)slm_gguf_file_bytes(r->gguf)), slm_gguf_n_parts(r->gguf),
                   slm_gguf_n_parts(r->gguf) == 1 ? "" : "s", slm_gguf_n_kv(r->gguf), slm_gguf_n_tensors(r->gguf));
    slm_buf_printf(out, "name          ");
    add_text(out, r->name, 200);
    slm_buf_printf(out, "\narchitecture  ");
    add_text(out, r->architecture, 200);
    slm_buf_printf(out, "\nparameters    %s (%" PRIu64 "), size class %s\n",
                   slm_cli_count(b, (double)r->total.n_elements), r->total.n_elements,
                   slm_model_size_class(r->total.n_elements));
    slm_buf_printf(out, "weights       %s, %.2f bits a weight\n", slm_cli_size(a, (double)r->total.bytes),
                   bits_per_weight(r));
    for (size_t t = 0; t < SLM_DTYPE_COUNT; t++)
        if (r->types[t].n_tensors)
            slm_buf_printf(out, "  %-11s %4" PRIu64 " tensors, %s weights, %s\n", slm_dtypes[t].name,
                           r->types[t].n_tensors, slm_cli_count(b, (double)r->types[t].n_elements),
                           slm_cli_size(a, (double)r->types[t].bytes));
    if (r->n_packed)
        slm_buf_printf(out, "packed        %zu tensors in panels, layout %d: for slm alone, which opens them at once\n",
                       r->n_packed, SLM_PANEL_LAYOUT);
}

/* What the model is made of, and what it needs: known only for models that can be run. */
static void add_run_text(struct slm_buf *out, const struct report *r)
{
    char a[16], b[16], c[16];
    if (!r->model) {
        slm_buf_printf(out, "runs here     no: %s: %s\n", r->why_not.where, r->why_not.message);
        return;
    }
    /* Sizes as the model was bound, defaults of its family included. */
    struct slm_model_info info = slm_model_info(r->model);
    slm_buf_printf(out, "layers        %d of width %d\n", info.n_layer, info.n_embd);
    slm_buf_printf(out, "attention     %d heads of %d, %d for keys and values\n", info.n_head, info.head_dim,
                   info.n_head_kv);
    slm_buf_printf(out, "context       %d tokens in training\n", info.n_ctx_train);
    for (size_t i = 0; i < r->n_needs; i++) {
        const struct slm_memory *m = &r->needs[i].memory;
        slm_buf_printf(out, "memory        %s at %d tokens (KV cache %s, scratch %s)\n",
                       slm_cli_size(a, (double)slm_memory_total(m)), r->needs[i].n_ctx,
                       slm_cli_size(b, (double)m->kv_bytes), slm_cli_size(c, (double)m->scratch_bytes));
    }
}

/* The special ids are known only where the tokenizer could be built. */
static void add_tokenizer_text(struct slm_buf *out, const struct report *r)
{
    if (!r->tokenizer.len)
        slm_buf_puts(out, "tokenizer     none\n");
    else {
        slm_buf_puts(out, "tokenizer     ");
        add_text(out, r->tokenizer, 40);
        if (r->pre.len) {
            slm_buf_puts(out, ", pre-tokenizer ");
            add_text(out, r->pre, 40);
        }
        slm_buf_printf(out, ", %" PRId64 " tokens", r->n_vocab);
        if (r->model)
            slm_buf_printf(out, ", BOS %d, EOS %d", slm_model_info(r->model).bos_id, slm_model_info(r->model).eos_id);
        slm_buf_puts(out, "\n");
    }
    if (r->chat_template.len)
        slm_buf_printf(out, "chat template %zu bytes, hash %016" PRIx64 "\n", r->chat_template.len,
                       short_hash(r->chat_template));
    else
        slm_buf_puts(out, "chat template none\n");
}

/* The lists come last, they may be thousands of lines. */
static void add_report_text(struct slm_buf *out, const struct report *r, const struct inspect_options *options)
{
    add_model_text(out, r);
    add_run_text(out, r);
    add_tokenizer_text(out, r);
    for (size_t i = 0; options->keys && i < slm_gguf_n_kv(r->gguf); i++) {
        const struct slm_gguf_kv *kv = slm_gguf_kv_at(r->gguf, i);
        slm_buf_puts(out, i ? "  " : "keys\n  ");
        slm_buf_add_str(out, kv->key);
        slm_buf_puts(out, " = ");
        add_value(out, r->gguf, kv, SHOWN_ELEMENTS, SHOWN_BYTES);
        slm_buf_puts(out, "\n");
    }
    for (size_t i = 0; options->tensors && i < slm_gguf_n_tensors(r->gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(r->gguf, i);
        slm_buf_printf(out, "%s%-40.*s %-6s ", i ? "  " : "tensors\n  ", (int)t->name.len, t->name.ptr,
                       slm_dtypes[t->dtype].name);
        add_dims(out, t, " x ");
        slm_buf_puts(out, t->packed ? " packed\n" : "\n");
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* "key": value, null when the file does not have it. */
static void add_str(struct slm_buf *out, const char *key, struct slm_str value)
{
    slm_json_key(out, key);
    if (value.ptr)
        slm_buf_add_json_string(out, value);
    else
        slm_buf_puts(out, "null");
}

/* {"Q4_K": {...}, ...}: only the types that occur. */
static void add_types_json(struct slm_buf *out, const struct report *r)
{
    slm_json_key(out, "types");
    slm_buf_puts(out, "{");
    for (size_t t = 0; t < SLM_DTYPE_COUNT; t++) {
        if (!r->types[t].n_tensors) continue;
        slm_json_key(out, slm_dtypes[t].name);
        slm_buf_puts(out, "{");
        slm_json_i64(out, "n_tensors", (int64_t)r->types[t].n_tensors);
        slm_json_i64(out, "n_elements", (int64_t)r->types[t].n_elements);
        slm_json_i64(out, "bytes", (int64_t)r->types[t].bytes);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "}");
}

/* Fields that only models have which this build can run. */
static void add_run_json(struct slm_buf *out, const struct report *r)
{
    /* Always there, so that a script can ask before it looks further. */
    slm_json_bool(out, "runs", r->model != NULL);
    slm_json_text(out, "runs_not_because", r->model ? NULL : r->why_not.message);
    if (!r->model) return;
    struct slm_model_info info = slm_model_info(r->model);
    slm_json_key(out, "hyper_parameters");
    slm_buf_puts(out, "{");
    slm_json_i64(out, "n_layer", info.n_layer);
    slm_json_i64(out, "n_embd", info.n_embd);
    slm_json_i64(out, "n_head", info.n_head);
    slm_json_i64(out, "n_head_kv", info.n_head_kv);
    slm_json_i64(out, "head_dim", info.head_dim);
    slm_json_i64(out, "n_vocab", info.n_vocab);
    slm_json_i64(out, "n_ctx_train", info.n_ctx_train);
    slm_buf_puts(out, "}");
    slm_json_key(out, "memory");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < r->n_needs; i++) {
        slm_buf_puts(out, i ? ",{" : "{");
        slm_json_i64(out, "n_ctx", r->needs[i].n_ctx);
        slm_json_memory(out, &r->needs[i].memory);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]");
}

/* The hash is a text: 64-bit numbers do not survive every JSON reader. */
static void add_tokenizer_json(struct slm_buf *out, const struct report *r, const struct inspect_options *options)
{
    slm_json_key(out, "tokenizer");
    if (!r->tokenizer.len)
        slm_buf_puts(out, "null");
    else {
        slm_buf_puts(out, "{");
        add_str(out, "model", r->tokenizer);
        add_str(out, "pre", r->pre);
        slm_json_i64(out, "n_tokens", r->n_vocab);
        if (r->model) {
            slm_json_i64(out, "bos_id", slm_model_info(r->model).bos_id);
            slm_json_i64(out, "eos_id", slm_model_info(r->model).eos_id);
        }
        slm_buf_puts(out, "}");
    }
    slm_json_key(out, "chat_template");
    if (!r->chat_template.len)
        slm_buf_puts(out, "null");
    else {
        char hash[20];
        snprintf(hash, sizeof hash, "%016" PRIx64, short_hash(r->chat_template));
        slm_buf_puts(out, "{");
        slm_json_i64(out, "bytes", (int64_t)r->chat_template.len);
        slm_json_text(out, "hash", hash);
        if (options->template_text) add_str(out, "text", r->chat_template);
        slm_buf_puts(out, "}");
    }
}

/* Whole values here, however long: cutting is for eyes. */
static void add_lists_json(struct slm_buf *out, const struct report *r, const struct inspect_options *options)
{
    if (options->keys) {
        slm_json_key(out, "keys");
        slm_buf_puts(out, "{");
        for (size_t i = 0; i < slm_gguf_n_kv(r->gguf); i++) {
            const struct slm_gguf_kv *kv = slm_gguf_kv_at(r->gguf, i);
            if (i) slm_buf_puts(out, ",");
            slm_buf_add_json_string(out, kv->key);
            slm_buf_puts(out, ":");
            add_value(out, r->gguf, kv, 0, 0);
        }
        slm_buf_puts(out, "}");
    }
    if (!options->tensors) return;
    slm_json_key(out, "tensors");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < slm_gguf_n_tensors(r->gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(r->gguf, i);
        slm_buf_puts(out, i ? ",\n{" : "\n{");
        add_str(out, "name", t->name);
        slm_json_text(out, "type", slm_dtypes[t->dtype].name);
        slm_json_key(out, "shape"); /* contiguous dimension first, as the file has it */
        slm_buf_puts(out, "[");
        add_dims(out, t, ",");
        slm_buf_puts(out, "]");
        slm_json_i64(out, "bytes", (int64_t)t->bytes);
        slm_json_bool(out, "packed", t->packed);
        slm_json_i64(out, "offset", (int64_t)t->offset);
        slm_json_i64(out, "part", t->part);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]");
}

/* The fields that scripts read; new ones may be added, none is renamed. */
static void add_report_json(struct slm_buf *out, const struct report *r, const struct inspect_options *options)
{
    slm_buf_puts(out, "{");
    slm_json_text(out, "file", r->path);
    slm_json_text(out, "format", slm_gguf_is_hf(r->gguf) ? "folder" : "gguf");
    slm_json_i64(out, "gguf_version", slm_gguf_is_hf(r->gguf) ? 0 : slm_gguf_version(r->gguf));
    slm_json_i64(out, "file_bytes", (int64_t)slm_gguf_file_bytes(r->gguf));
    slm_json_i64(out, "n_parts", (int64_t)slm_gguf_n_parts(r->gguf));
    slm_json_i64(out, "n_keys", (int64_t)slm_gguf_n_kv(r->gguf));
    slm_json_i64(out, "n_tensors", (int64_t)slm_gguf_n_tensors(r->gguf));
    add_str(out, "name", r->name);
    add_str(out, "architecture", r->architecture);
    slm_json_i64(out, "n_params", (int64_t)r->total.n_elements);
    slm_json_text(out, "size_class", slm_model_size_class(r->total.n_elements));
    slm_json_i64(out, "weights_bytes", (int64_t)r->total.bytes);
    slm_json_real(out, "bits_per_weight", bits_per_weight(r));
    add_types_json(out, r);
    add_run_json(out, r);
    add_tokenizer_json(out, r, options);
    add_lists_json(out, r, options);
    slm_buf_puts(out, "}\n");
}

/* Model and file stay open until the report is formatted: its texts are borrowed from them. */
static int inspect_main(void *opaque, int n_args, char **args)
{
    struct inspect_options *options = opaque;
    struct report report = {0};
    struct slm_buf out = {0};
    struct slm_error error;
    if (n_args > 0) options->model.path = args[0];
    slm_status status = gather(&report, options, &error);
    if (status == SLM_OK && options->json)
        add_report_json(&out, &report, options);
    else if (status == SLM_OK && options->template_text)
        slm_buf_add_str(&out, report.chat_template);
    else if (status == SLM_OK)
        add_report_text(&out, &report, options);
    slm_model_close(report.model);
    slm_gguf_close(report.opened);
    if (status == SLM_OK) return slm_cli_emit(&out);
    return slm_cli_fail(&error);
}

const struct slm_command slm_command_inspect = {
    .name = "inspect",
    .args = "[MODEL]",
    .summary = "Shows what is in a model file and what it needs to run",
    .details = "\n"
               "Size classes by parameters: tiny below 100M, micro 100M-1.4B, small 1.5B-13.9B,\n"
               "medium 14B-30B, large above; between two classes the nearer one counts.\n"
               "Files that this build cannot run are shown too.",
    .groups = inspect_groups,
    .n_groups = sizeof inspect_groups / sizeof inspect_groups[0],
    .options_bytes = sizeof(struct inspect_options),
    .max_args = 1,
    .run = inspect_main,
};
