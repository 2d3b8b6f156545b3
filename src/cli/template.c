/* SPDX-License-Identifier: MIT
 *
 * `slm template`: the prompt that a chat template makes of messages, exactly, with nothing added, not even a
 * newline. For checking a model's template against other programs, and for seeing what a model is really asked. */
#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "template/template.h"

/* Messages with images inside are large; endless ones are a mistake. */
enum { MAX_JSON_BYTES = 64 << 20 };

/* Filled by the rows below; NULL means not given. */
struct template_options {
    uint64_t seen;
    const char *template_file, *bos, *eos, *messages, *tools, *extra;
    uint64_t now;
    bool no_generation_prompt;
};

#define AT(field) offsetof(struct template_options, field)
static const struct slm_option template_rows[] = {
    {.name = "messages", .kind = SLM_OPTION_TEXT, .offset = AT(messages), .arg = "FILE",
     .help = "JSON array of messages ('-': from stdin)"},
    {.name = "template", .kind = SLM_OPTION_TEXT, .offset = AT(template_file), .arg = "FILE",
     .help = "a Jinja file instead of a model's template"},
    {.name = "bos", .kind = SLM_OPTION_TEXT, .offset = AT(bos), .arg = "TEXT",
     .help = "the template's bos_token (default: the model's)"},
    {.name = "eos", .kind = SLM_OPTION_TEXT, .offset = AT(eos), .arg = "TEXT",
     .help = "the template's eos_token (default: the model's)"},
    {.name = "tools", .kind = SLM_OPTION_TEXT, .offset = AT(tools), .arg = "FILE",
     .help = "JSON array of tools"},
    {.name = "extra", .kind = SLM_OPTION_TEXT, .offset = AT(extra), .arg = "JSON",
     .help = "further variables: a JSON object, or a file that holds one"},
    {.name = "now", .kind = SLM_OPTION_U64, .offset = AT(now), .arg = "SECONDS",
     .help = "Unix time that strftime_now sees (default: the clock)"},
    {.name = "no-generation-prompt", .kind = SLM_OPTION_FLAG, .offset = AT(no_generation_prompt),
     .help = "do not add the beginning of the model's answer"},
};
#undef AT
static const struct slm_option_group template_groups[] = {
    {"Options", template_rows, sizeof template_rows / sizeof template_rows[0], 0},
};

/* The texts of all files, and the special tokens of a model; released in one place. */
struct inputs {
    struct slm_buf source, messages, tools, extra;
    char bos[256], eos[256];
};

/* The text of a model's special token, NUL-terminated; empty when there is none. */
static slm_status token_text(const struct slm_model *model, int32_t id, char *out, size_t cap,
                             struct slm_error *error)
{
    size_t bytes = 0;
    if (id >= 0) SLM_TRY(slm_detokenize(model, &id, 1, true, out, cap - 1, &bytes, error));
    out[bytes < cap ? bytes : cap - 1] = '\0';
    return SLM_OK;
}

/* Template and special tokens from a model file, where the options do not say otherwise. The vocabulary is
 * enough: no weights are read, and architectures that this build cannot run are fine. */
static slm_status read_model(struct template_options *options, const char *path, struct inputs *in,
                             struct slm_error *error)
{
    struct slm_model_choice choice = {.path = path};
    struct slm_model *model;
    SLM_TRY(slm_cli_open_model(&choice, true, &model, error));
    struct slm_model_info info = slm_model_info(model);
    const char *source = slm_model_chat_template(model);
    slm_status status = SLM_OK;
    /* Without one there is nothing to render: unlike `run`, this command does not fall back to plain text. */
    if (!source)
        status = slm_fail(error, SLM_ERR_UNSUPPORTED, path ? path : "built-in model", "has no chat template");
    else
        slm_buf_puts(&in->source, source);
    if (status == SLM_OK) status = token_text(model, info.bos_id, in->bos, sizeof in->bos, error);
    if (status == SLM_OK) status = token_text(model, info.eos_id, in->eos, sizeof in->eos, error);
    if (!options->bos) options->bos = in->bos;
    if (!options->eos) options->eos = in->eos;
    slm_model_close(model);
    return status;
}

/* Everything from outside, before anything is rendered. The messages go to the template as the JSON they are,
 * so that fields this program does not know (tool calls, images) reach it too. */
static slm_status read_inputs(struct template_options *options, const char *path, struct inputs *in,
                              struct slm_error *error)
{
    if (options->template_file)
        SLM_TRY(slm_cli_read(options->template_file, 0, &in->source, error));
    else
        SLM_TRY(read_model(options, path, in, error));
    SLM_TRY(slm_cli_read(options->messages, MAX_JSON_BYTES, &in->messages, error));
    if (options->tools) SLM_TRY(slm_cli_read(options->tools, MAX_JSON_BYTES, &in->tools, error));
    /* An object in place is handy for one variable: --extra '{"enable_thinking": false}'. */
    if (options->extra && options->extra[0] != '{')
        return slm_cli_read(options->extra, MAX_JSON_BYTES, &in->extra, error);
    if (options->extra) slm_buf_puts(&in->extra, options->extra);
    return slm_buf_status(&in->extra, "extra", error);
}

/* Parses and renders; errors of the template carry its name, line and column. */
static slm_status render(const struct template_options *options, const char *path, const struct inputs *in,
                         struct slm_buf *out, struct slm_error *error)
{
    /* What errors name as the template's origin. */
    const char *where = options->template_file ? options->template_file : path ? path : "built-in model";
    struct slm_template *tmpl;
    SLM_TRY(slm_template_parse((struct slm_str){in->source.data, in->source.len}, where, &tmpl, error));
    struct slm_template_args args = {
        .messages_json = in->messages.data ? in->messages.data : "",
        .tools_json = options->tools ? in->tools.data : NULL,
        .extra_json = options->extra ? in->extra.data : NULL,
        .bos_token = options->bos,
        .eos_token = options->eos,
        .add_generation_prompt = !options->no_generation_prompt,
        .now_unix_s = (int64_t)options->now,
    };
    slm_status status = slm_template_render(tmpl, &args, NULL, out, error);
    slm_template_free(tmpl);
    return status;
}

/* The prompt is printed whole or not at all. */
static int template_main(void *opaque, int n_args, char **args)
{
    struct template_options *options = opaque;
    struct inputs in = {0};
    struct slm_buf out = {0};
    struct slm_error error;
    /* No argument and no --template: the built-in model's. */
    const char *path = n_args > 0 ? args[0] : NULL;
    if (!options->messages)
        return slm_cli_usage("template", "--messages is needed: a file with a JSON array of messages");
    if (path && options->template_file) return slm_cli_usage("template", "give a model or --template, not both");
    slm_status status = read_inputs(options, path, &in, &error);
    if (status == SLM_OK) status = render(options, path, &in, &out, &error);
    slm_buf_release(&in.source);
    slm_buf_release(&in.messages);
    slm_buf_release(&in.tools);
    slm_buf_release(&in.extra);
    if (status == SLM_OK) return slm_cli_emit(&out);
    slm_buf_release(&out);
    return slm_cli_fail(&error);
}

const struct slm_command slm_command_template = {
    .name = "template",
    .args = "[MODEL] --messages FILE",
    .summary = "Renders a chat template: the exact prompt of a conversation",
    .groups = template_groups,
    .n_groups = 1,
    .options_bytes = sizeof(struct template_options),
    .max_args = 1,
    .run = template_main,
};
