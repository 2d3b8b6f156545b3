/* SPDX-License-Identifier: MIT
 *
 * `slm tokenize`: text from stdin to token ids, and back. For looking at what a model sees, and for comparing
 * tokenizers. Loads the vocabulary only, so it works on files without weights. */
#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"

/* More than any context; a limit so that an endless pipe ends. */
enum { MAX_TEXT_BYTES = 1 << 30 };

/* Filled by the rows below; zero means not given. */
struct tokenize_options {
    uint64_t seen;
    bool ids, bos, special, decode;
    const char *model;
};

#define AT(field) offsetof(struct tokenize_options, field)
static const struct slm_option tokenize_rows[] = {
    {.name = "ids", .kind = SLM_OPTION_FLAG, .offset = AT(ids),
     .help = "print the ids alone, on one line"},
    {.name = "bos", .kind = SLM_OPTION_FLAG, .offset = AT(bos),
     .help = "add the tokens that the model wants around a text (BOS, EOS)"},
    {.name = "special", .kind = SLM_OPTION_FLAG, .offset = AT(special),
     .help = "the text of a special token becomes that token"},
    {.name = "decode", .letter = 'd', .kind = SLM_OPTION_FLAG, .offset = AT(decode),
     .help = "the other way: ids from stdin to text"},
    {.name = "model", .letter = 'm', .kind = SLM_OPTION_TEXT, .offset = AT(model), .arg = "MODEL",
     .help = "GGUF file (default: the built-in model)"},
};
#undef AT
static const struct slm_option_group tokenize_groups[] = {
    {"Options", tokenize_rows, sizeof tokenize_rows / sizeof tokenize_rows[0], 0},
};

/* One token a line: id, tab, its text as a JSON string (so that spaces, newlines and split characters show). */
static void add_table(const struct slm_model *model, const int32_t *ids, size_t n, struct slm_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        slm_buf_printf(out, "%d\t", ids[i]);
        slm_buf_add_json_string(out, slm_cli_piece(model, ids[i]));
        slm_buf_puts(out, "\n");
    }
}

/* stdin to ids: with --ids one line for programs, else a table for eyes. The text is encoded as a user's, so
 * nothing in it becomes a special token unless --special asks for it. */
static slm_status encode(const struct slm_model *model, const struct tokenize_options *options, struct slm_str text,
                         struct slm_buf *out, struct slm_error *error)
{
    int32_t *ids = NULL;
    size_t n;
    /* Independent of each other: special tokens around the text, and inside it. */
    unsigned flags =
        (options->bos ? SLM_TOKENIZE_ADD_SPECIAL : 0u) | (options->special ? SLM_TOKENIZE_PARSE_SPECIAL : 0u);
    SLM_TRY(slm_cli_tokenize(model, text, flags, &ids, &n, error));
    if (options->ids) {
        for (size_t i = 0; i < n; i++) slm_buf_printf(out, "%s%d", i ? " " : "", ids[i]);
        slm_buf_puts(out, "\n");
    } else {
        add_table(model, ids, n, out);
    }
    slm_release(ids);
    return SLM_OK;
}

/* ids to bytes: the first call measures, the second writes. Special tokens are shown, because whoever looks at
 * ids wants to see them all. */
static slm_status decode(const struct slm_model *model, struct slm_str text, struct slm_buf *out,
                         struct slm_error *error)
{
    int32_t *ids = NULL;
    size_t n_ids, n_bytes;
    SLM_TRY(slm_cli_parse_ids(text.ptr ? text.ptr : "", slm_model_info(model).n_vocab, &ids, &n_ids, error));
    char *bytes = NULL;
    slm_status status = slm_detokenize(model, ids, n_ids, true, NULL, 0, &n_bytes, error);
    if (status != SLM_OK) goto out;
    bytes = slm_alloc(n_bytes + 1, 1, "text", error);
    if (!bytes) {
        status = SLM_ERR_MEMORY;
        goto out;
    }
    status = slm_detokenize(model, ids, n_ids, true, bytes, n_bytes, &n_bytes, error);
    if (status == SLM_OK) slm_buf_add(out, bytes, n_bytes);
out:
    slm_release(bytes);
    slm_release(ids);
    return status;
}

/* One text a run. The whole input is read first: the tokenizer may look at any of it. */
static int tokenize_main(void *opaque, int n_args, char **args)
{
    const struct tokenize_options *options = opaque;
    struct slm_model_choice choice = {.path = n_args > 0 ? args[0] : options->model};
    struct slm_model *model = NULL;
    struct slm_buf text = {0}, out = {0};
    struct slm_error error;
    slm_status status = slm_cli_open_model(&choice, true, &model, &error);
    if (status == SLM_OK) status = slm_cli_read("-", MAX_TEXT_BYTES, &text, &error);
    /* No limit but memory on what is said about it; the ids are written to one buffer and printed at once. */
    struct slm_str input = {text.data, text.len};
    if (status == SLM_OK)
        status = options->decode ? decode(model, input, &out, &error) : encode(model, options, input, &out, &error);
    slm_model_close(model);
    slm_buf_release(&text);
    if (status == SLM_OK) return slm_cli_emit(&out);
    slm_buf_release(&out);
    return slm_cli_fail(&error);
}

/* No sampling or session options: this command never computes anything. */
const struct slm_command slm_command_tokenize = {
    .name = "tokenize",
    .args = "[MODEL] < TEXT",
    .summary = "Shows the tokens of a text, or the text of tokens",
    .groups = tokenize_groups,
    .n_groups = 1,
    .options_bytes = sizeof(struct tokenize_options),
    .max_args = 1,
    .run = tokenize_main,
};
