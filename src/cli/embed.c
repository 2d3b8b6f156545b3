/* SPDX-License-Identifier: MIT
 *
 * `slm embed`: texts to vectors, one a line. For search, clustering and comparing, in pipes; JSON carries the settings
 * along. Each line of stdin is a text, so that a file of sentences needs no wrapping; a text with newlines of its own
 * goes through -f, which takes a file as one text. */
#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"

/* More than any context; a limit so that an endless pipe ends. */
enum { MAX_TEXT_BYTES = 1 << 30 };

/* Filled by the rows below; zero means not given. */
struct embed_options {
    uint64_t seen;
    const char *file, *prompt, *ids;
    int pooling; /* enum slm_pooling */
    int32_t n_dims;
    bool no_normalize, json;
    struct slm_model_choice model; /* n_ctx: tokens of the longest text */
};

static const char *const pooling_names[] = {"", "mean", "last", "cls", "rank", NULL}; /* enum slm_pooling */

#define AT(field) offsetof(struct embed_options, field)
static const struct slm_option embed_rows[] = {
    {.name = "file", .letter = 'f', .kind = SLM_OPTION_TEXT, .offset = AT(file), .arg = "FILE",
     .help = "embed a file as one text ('-': stdin as one text)"},
    {.name = "pooling", .kind = SLM_OPTION_CHOICE, .offset = AT(pooling), .arg = "HOW", .choices = pooling_names,
     .help = "from tokens to one vector: mean, last, cls or rank (default: what the model says)"},
    {.name = "no-normalize", .kind = SLM_OPTION_FLAG, .offset = AT(no_normalize),
     .help = "leave vectors as long as they are (default: length 1)"},
    {.name = "dimensions", .kind = SLM_OPTION_INT, .offset = AT(n_dims), .arg = "N", .min = 1, .max = 16777216,
     .help = "keep the first N numbers, for models trained so (default: all)"},
    {.name = "prompt", .kind = SLM_OPTION_TEXT, .offset = AT(prompt), .arg = "NAME",
     .help = "the model's prompt of this name in front of each text, such as 'query'"},
    {.name = "ids", .kind = SLM_OPTION_TEXT, .offset = AT(ids), .arg = "IDS",
     .help = "embed these tokens, numbers between spaces or commas, instead of a text"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "{\"dimensions\": N, \"pooling\": \"mean\", \"embeddings\": [[...], ...]}"},
};
#undef AT
static const struct slm_option_group embed_groups[] = {
    {"Options", embed_rows, sizeof embed_rows / sizeof embed_rows[0], 0},
    SLM_MODEL_GROUP(struct embed_options, model),
};

/* The texts of one run: views of `text`, or one list of ids. */
struct work {
    struct slm_buf text;
    int32_t *ids;
    struct slm_embed_input *inputs; /* [n] */
    size_t n;
    float *vectors; /* [n, n_dims] */
};

/* One input a line; a last line without its newline is one too, nothing behind the last newline is not. */
static slm_status split_lines(struct work *w, struct slm_error *error)
{
    const char *at = w->text.data, *end = at + w->text.len;
    size_t n = 0;
    for (size_t i = 0; i < w->text.len; i++) n += w->text.data[i] == '\n';
    w->inputs = slm_alloc(n + 1, sizeof *w->inputs, "embed", error);
    if (!w->inputs) return SLM_ERR_MEMORY;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t len = (size_t)((stop ? stop : end) - at);
        w->inputs[w->n++] = (struct slm_embed_input){.text = at, .text_bytes = len};
        at += len + 1;
    }
    return SLM_OK;
}

/* A text that is not split, or ids. */
static slm_status one_input(struct work *w, struct slm_embed_input input, struct slm_error *error)
{
    w->inputs = slm_alloc(1, sizeof *w->inputs, "embed", error);
    if (!w->inputs) return SLM_ERR_MEMORY;
    w->inputs[0] = input;
    w->n = 1;
    return SLM_OK;
}

/* What was asked for, most explicit first. */
static slm_status gather(const struct embed_options *o, const struct slm_model *model, const char *text,
                         struct work *w, struct slm_error *error)
{
    if (o->ids) {
        size_t n_ids = 0;
        SLM_TRY(slm_cli_parse_ids(o->ids, slm_model_info(model).n_vocab, &w->ids, &n_ids, error));
        return one_input(w, (struct slm_embed_input){.ids = w->ids, .n_ids = n_ids}, error);
    }
    if (text) return one_input(w, (struct slm_embed_input){.text = text, .text_bytes = strlen(text)}, error);
    SLM_TRY(slm_cli_read(o->file ? o->file : "-", MAX_TEXT_BYTES, &w->text, error));
    if (o->file)
        return one_input(w, (struct slm_embed_input){.text = w->text.data, .text_bytes = w->text.len}, error);
    return split_lines(w, error);
}

/* Nine digits: the numbers read back as the same floats. */
static void add_vector(struct slm_buf *out, const float *vector, size_t n, const char *between)
{
    for (size_t i = 0; i < n; i++) {
        if (i) slm_buf_puts(out, between);
        slm_json_float(out, vector[i]);
    }
}

/* JSON as one object on one line; else a vector a line. */
static void print(const struct work *w, const struct slm_embedder *embedder, bool json, struct slm_buf *out)
{
    const size_t n_dims = slm_embedder_n_dims(embedder);
    if (json) {
        slm_buf_puts(out, "{");
        slm_json_i64(out, "dimensions", (int64_t)n_dims);
        slm_json_text(out, "pooling", pooling_names[slm_embedder_pooling(embedder)]);
        slm_json_key(out, "embeddings");
        slm_buf_puts(out, "[");
    }
    for (size_t i = 0; i < w->n; i++) {
        if (json) slm_buf_puts(out, i ? ",[" : "[");
        add_vector(out, w->vectors + i * n_dims, n_dims, json ? "," : " ");
        slm_buf_puts(out, json ? "]" : "\n");
    }
    if (json) slm_buf_puts(out, "]}\n");
}

/* From options to printed vectors; everything on the way is released here. */
static slm_status embed(const struct embed_options *o, const struct slm_model *model, const char *text,
                        struct slm_buf *out, struct slm_error *error)
{
    const struct slm_embedder_options options = {
        .session = {.n_ctx = o->model.n_ctx, .n_threads = o->model.n_threads, .n_batch = o->model.n_batch,
                    .kv_type = (enum slm_kv_type)o->model.kv_type,
                    .activations = (enum slm_activations)o->model.activations},
        .pooling = (enum slm_pooling)o->pooling, .n_dims = o->n_dims, .no_normalize = o->no_normalize,
        .prompt_name = o->prompt};
    struct slm_embedder *embedder = NULL;
    struct work w = {.n = 0};
    slm_status status = slm_embedder_open(model, &options, &embedder, error);
    if (status == SLM_OK) status = gather(o, model, text, &w, error);
    if (status == SLM_OK && w.n > 0) {
        w.vectors = slm_alloc(w.n, slm_embedder_n_dims(embedder) * sizeof *w.vectors, "embed", error);
        status = w.vectors ? slm_embed(embedder, w.inputs, w.n, w.vectors, error) : SLM_ERR_MEMORY;
    }
    if (status == SLM_OK) print(&w, embedder, o->json, out);
    slm_embedder_close(embedder);
    slm_release(w.vectors);
    slm_release(w.inputs);
    slm_release(w.ids);
    slm_buf_release(&w.text);
    return status;
}

/* As in `slm run`, a single argument is a model when it looks like one, else a text for the built-in model. */
static int embed_main(void *opaque, int n_args, char **args)
{
    struct embed_options *o = opaque;
    const char *text = NULL;
    struct slm_model *model = NULL;
    struct slm_buf out = {0};
    struct slm_error error;
    if (n_args == 2 || (n_args == 1 && !o->model.path && slm_cli_is_model(args[0]))) o->model.path = args[0];
    else if (n_args == 1) text = args[0];
    if (n_args == 2) text = args[1];
    if ((text != NULL) + (o->file != NULL) + (o->ids != NULL) > 1)
        return slm_cli_usage("embed", "one of a text, --file and --ids is allowed");
    slm_status status = slm_cli_open_model(&o->model, false, &model, &error);
    if (status == SLM_OK) status = embed(o, model, text, &out, &error);
    slm_model_close(model);
    if (status == SLM_OK) return slm_cli_emit(&out);
    slm_buf_release(&out);
    return slm_cli_fail(&error);
}

/* Nothing is sampled: no sampling options. */
const struct slm_command slm_command_embed = {
    .name = "embed",
    .args = "[MODEL] [\"TEXT\"]",
    .summary = "Turns texts into vectors, for search and comparison",
    .details = "\nWithout a text each line of stdin is one. A single argument is a model when it\n"
               "exists or ends in .gguf. A vector a line, its numbers between spaces.",
    .groups = embed_groups,
    .n_groups = sizeof embed_groups / sizeof embed_groups[0],
    .options_bytes = sizeof(struct embed_options),
    .max_args = 2,
    .run = embed_main,
};
