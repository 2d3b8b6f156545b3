/* SPDX-License-Identifier: MIT
 *
 * `slm run`: one prompt in, generated text out, streamed as whole characters. stdout is the text and nothing
 * else, so `slm run ... > story.txt` is the story; timing goes to stderr when asked for.
 *
 * With a chat template the prompt is a user's message; with --raw, or when the model has none, it is the
 * beginning of a text that the model continues. Without any prompt and on a terminal it becomes the interactive
 * chat (chat.c). */
#include <unistd.h>

#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"

enum { MAX_PROMPT_BYTES = 64 << 20, MAX_TOOLS_BYTES = 16 << 20 };

/* Filled by the rows below; zero or NULL means not given. */
struct run_options {
    uint64_t seen;
    bool raw, verbose, json;
    const char *system, *file, *tools;
    struct slm_thinking thinking;
    struct slm_form form;
    struct slm_speculating speculating;
    struct slm_model_choice model;
    struct slm_sampling sampling;
};

#define AT(field) offsetof(struct run_options, field)
static const struct slm_option run_rows[] = {
    {.name = "raw", .kind = SLM_OPTION_FLAG, .offset = AT(raw),
     .help = "no chat template: continue the prompt as it stands"},
    {.name = "system", .kind = SLM_OPTION_TEXT, .offset = AT(system), .arg = "TEXT",
     .help = "system message for the chat template"},
    {.name = "file", .letter = 'f', .kind = SLM_OPTION_TEXT, .offset = AT(file), .arg = "FILE",
     .help = "read the prompt from a file ('-': from stdin)"},
    {.name = "verbose", .letter = 'v', .kind = SLM_OPTION_FLAG, .offset = AT(verbose),
     .help = "timing on stderr"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "one JSON object: text and its parts, counts, timing, reason for stopping"},
    {.name = "tools", .kind = SLM_OPTION_TEXT, .offset = AT(tools), .arg = "FILE",
     .help = "JSON array of tools that the model may call"},
};
static const struct slm_option_group run_groups[] = {
    {"Options", run_rows, sizeof run_rows / sizeof run_rows[0], 0},
    SLM_FORM_GROUP(struct run_options, form),
    SLM_THINKING_GROUP(struct run_options, thinking),
    SLM_SAMPLING_GROUP(struct run_options, sampling),
    SLM_SPECULATING_GROUP(struct run_options, speculating),
    SLM_MODEL_GROUP(struct run_options, model),
};
#undef AT

/* What one run holds on to; released in one place. */
struct run {
    struct run_options *options;
    struct slm_model *model;
    struct slm_session *session;
    struct slm_grammar *grammar;
    struct slm_grammar_state *form;
    struct slm_buf prompt, tools;
    struct slm_answer answer;
    struct slm_parts *parts;                      /* for --json only, as are the rest: */
    struct slm_buf text, thinking, content, calls;
    int32_t *ids;
    size_t n_ids;
    double load_s;
};

/* One positional is a model when it looks like one, else the prompt; two are model and prompt. */
static int choose_prompt(struct run_options *options, int n_args, char **args, const char **prompt)
{
    int next = 0;
    *prompt = NULL;
    if (n_args > 0 && !options->model.path && (n_args == 2 || slm_cli_is_model(args[0])))
        options->model.path = args[next++];
    if (next < n_args) *prompt = args[next++];
    if (next < n_args)
        return slm_cli_usage("run", "unexpected argument '%s': the model was given with --model", args[next]);
    /* What contradicts itself is refused before a model is opened. */
    const struct slm_thinking *thinking = &options->thinking;
    if (options->raw && (options->system || options->tools || thinking->on || thinking->off))
        return slm_cli_usage("run", "%s needs the chat template that --raw turns off",
                             options->system  ? "--system"
                             : options->tools ? "--tools"
                                              : "thinking");
    if (thinking->on && thinking->off) return slm_cli_usage("run", "give --think or --no-think, not both");
    if (thinking->hide && options->json)
        return slm_cli_usage("run", "--json has the thinking in a field of its own; --hide-thinking is for text");
    if (*prompt && options->file) return slm_cli_usage("run", "give a prompt or --file, not both");
    const int form = slm_cli_check_form("run", &options->form);
    return form != SLM_EXIT_OK ? form : slm_cli_check_speculating("run", &options->speculating);
}

/* From the argument, else from --file, else from stdin. The newline that ends a text file or the output of echo is
 * not part of the prompt: a model asked to go on after it would begin a new line. */
static slm_status read_prompt(struct run *run, const char *argument, struct slm_error *error)
{
    struct slm_buf *prompt = &run->prompt;
    if (argument) {
        slm_buf_puts(prompt, argument);
        return slm_buf_status(prompt, "prompt", error);
    }
    SLM_TRY(slm_cli_read(run->options->file ? run->options->file : "-", MAX_PROMPT_BYTES, prompt, error));
    if (prompt->len > 0 && prompt->data[prompt->len - 1] == '\n') prompt->data[--prompt->len] = '\0';
    return SLM_OK;
}

static slm_status encode_message(struct run *run, struct slm_error *error)
{
    struct slm_chat_message messages[2];
    size_t n = 0;
    if (run->prompt.len > 0 && memchr(run->prompt.data, 0, run->prompt.len))
        return slm_fail(error, SLM_ERR_ARGUMENT, "prompt",
                        "a message cannot hold a NUL character; --raw takes any bytes");
    if (run->options->system) messages[n++] = (struct slm_chat_message){"system", run->options->system};
    messages[n++] = (struct slm_chat_message){"user", run->prompt.data ? run->prompt.data : ""};
    /* A prompt without a template has no place for either. */
    struct slm_chat_options chat = {.variables_json = slm_cli_think_variables(&run->options->thinking)};
    if (run->options->tools) {
        SLM_TRY(slm_cli_read(run->options->tools, MAX_TOOLS_BYTES, &run->tools, error));
        chat.tools_json = run->tools.data ? run->tools.data : "";
    }
    return slm_chat_encode(run->model, messages, n, &chat, &run->ids, &run->n_ids, error);
}

/* As a chat where that is possible and wanted, else as the beginning of a text with BOS as the model file asks. An
 * empty prompt is fine where there is a BOS to start from. */
static slm_status encode_prompt(struct run *run, struct slm_error *error)
{
    if (!run->options->raw && slm_model_chat_template(run->model)) return encode_message(run, error);
    if (run->options->system || run->options->tools)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, run->options->system ? "--system" : "--tools",
                        "this model has no chat template to carry %s",
                        run->options->system ? "a system message" : "tools");
    SLM_TRY(slm_cli_tokenize(run->model, (struct slm_str){run->prompt.data, run->prompt.len},
                             SLM_TOKENIZE_ADD_SPECIAL, &run->ids, &run->n_ids, error));
    if (run->n_ids == 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, "prompt",
                        "is empty, and this model has no token to begin a text with");
    return SLM_OK;
}

/* Every piece is flushed: streaming is the point. Returning false stops the generation when nobody reads any
 * more. */
static bool print_text(void *user, const char *text, size_t n_bytes)
{
    struct run *run = user;
    return slm_answer_text(&run->answer, text, n_bytes);
}

/* For --json: the parts are fields of an object that is printed at the end. */
static bool collect_part(void *user, const struct slm_part *part)
{
    struct run *run = user;
    if (part->kind != SLM_PART_TOOL_CALL)
        return slm_buf_add(part->kind == SLM_PART_THINKING ? &run->thinking : &run->content, part->text,
                           part->text_bytes);
    /* A list of objects, without its brackets until it is printed. */
    slm_buf_puts(&run->calls, run->calls.len ? ",{" : "{");
    slm_json_text(&run->calls, "name", part->name);
    slm_json_key(&run->calls, "arguments");
    return slm_buf_add(&run->calls, part->text, part->text_bytes) && slm_buf_puts(&run->calls, "}");
}

/* The text itself is kept too: it is what a pipe would get. */
static bool collect_text(void *user, const char *text, size_t n_bytes)
{
    struct run *run = user;
    return slm_buf_add(&run->text, text, n_bytes) &&
           slm_parts_feed(run->parts, text, n_bytes, collect_part, run, NULL) == SLM_OK;
}

/* Rates of a run without tokens are null, not infinite. */
static int print_json(struct run *run, const struct slm_generate_result *result)
{
    struct slm_buf out = {0};
    slm_buf_puts(&out, "{");
    slm_json_key(&out, "text");
    slm_buf_add_json_string(&out, (struct slm_str){run->text.data, run->text.len});
    slm_json_key(&out, "thinking"); /* null when there was none */
    if (run->thinking.len) slm_buf_add_json_string(&out, (struct slm_str){run->thinking.data, run->thinking.len});
    else slm_buf_puts(&out, "null");
    slm_json_key(&out, "content");
    slm_buf_add_json_string(&out, (struct slm_str){run->content.data, run->content.len});
    slm_json_key(&out, "tool_calls");
    slm_buf_printf(&out, "[%s]", run->calls.data ? run->calls.data : "");
    slm_json_text(&out, "stop_reason", slm_cli_stop_name(result->stop_reason));
    slm_json_i64(&out, "prompt_tokens", (int64_t)result->n_prompt);
    slm_json_i64(&out, "generated_tokens", (int64_t)result->n_generated);
    /* Without speculation a step for each token. */
    slm_json_i64(&out, "steps", (int64_t)result->speculation.n_steps);
    slm_json_i64(&out, "guessed_tokens", (int64_t)result->speculation.n_guessed);
    slm_json_i64(&out, "accepted_tokens", (int64_t)result->speculation.n_accepted);
    slm_json_key(&out, "seed");
    slm_buf_printf(&out, "%llu", (unsigned long long)run->options->sampling.params.seed);
    slm_json_real(&out, "load_s", run->load_s);
    slm_json_real(&out, "prompt_s", result->prompt_s);
    slm_json_real(&out, "generate_s", result->generate_s);
    slm_json_real(&out, "prompt_tok_s", (double)result->n_prompt / result->prompt_s);
    slm_json_real(&out, "generate_tok_s", (double)result->n_generated / result->generate_s);
    slm_buf_puts(&out, "}\n");
    return slm_cli_emit(&out);
}

/* What comes after the text. A context that ended the answer early is always said, because half an answer looks
 * like a whole one. */
static int report(struct run *run, const struct slm_generate_result *result)
{
    struct run_options *options = run->options;
    int exit_code;
    if (options->json)
        exit_code = print_json(run, result);
    else {
        if (isatty(STDOUT_FILENO)) slm_cli_write("\n", 1); /* for the shell's prompt; a pipe gets the text alone */
        exit_code = slm_cli_finish();
    }
    if (options->verbose) {
        fprintf(stderr, "seed:                 %llu\n", (unsigned long long)options->sampling.params.seed);
        fprintf(stderr, "stop reason:          %s\n", slm_cli_stop_name(result->stop_reason));
        slm_cli_print_timing(result, run->load_s);
    } else if (result->stop_reason == SLM_STOP_CONTEXT && options->sampling.n_predict > 0) {
        fprintf(stderr,
                "slm: run: the context of %zu tokens is full after %zu of %d tokens; a larger --ctx holds more\n",
                slm_session_n_ctx(run->session), result->n_generated, options->sampling.n_predict);
    }
    return exit_code;
}

/* What tells the parts of the answer apart, and the marks it needs to see. */
static slm_status open_answer(struct run *run, struct slm_generate_params *params, struct slm_error *error)
{
    const struct run_options *options = run->options;
    if (!options->json)
        SLM_TRY(slm_answer_open(&run->answer, run->model, run->ids, run->n_ids, options->thinking.hide, error));
    else
        SLM_TRY(slm_parts_open(run->model, run->ids, run->n_ids, options->tools, &run->parts, error));
    const struct slm_parts *parts = options->json ? run->parts : run->answer.parts;
    if (parts) params->show = slm_parts_marks(parts, &params->n_show);
    return SLM_OK;
}

/* The whole of a run; what it opened is in *run, also when it fails. The model opens before the prompt is read:
 * a wrong file name is reported at once, not after someone typed a text. */
static int run_prompt(struct run *run, const char *prompt)
{
    struct run_options *options = run->options;
    struct slm_error error;
    struct slm_generate_result result;
    double start = slm_cli_seconds();
    if (slm_cli_open_model(&options->model, false, &run->model, &error) != SLM_OK) return slm_cli_fail(&error);
    if (slm_cli_open_session(run->model, &options->model, &run->session, &error) != SLM_OK)
        return slm_cli_fail(&error);
    if (slm_cli_speculate(&options->speculating, &options->model, run->session, &error) != SLM_OK)
        return slm_cli_fail(&error);
    if (slm_cli_open_form(&options->form, run->model, &run->grammar, &run->form, &error) != SLM_OK)
        return slm_cli_fail(&error);
    run->load_s = slm_cli_seconds() - start;
    if (read_prompt(run, prompt, &error) != SLM_OK) return slm_cli_fail(&error);
    if (encode_prompt(run, &error) != SLM_OK) return slm_cli_fail(&error);
    slm_cli_sampling_defaults(run->model, &options->sampling);
    struct slm_generate_params params = {
        .sampler = options->sampling.params,
        .n_predict = options->sampling.n_predict,
        .stop = options->sampling.stop.items,
        .n_stop = options->sampling.stop.n,
        .ignore_eog = options->sampling.ignore_eos,
        .grammar = run->form,
        .on_text = options->json ? collect_text : print_text,
        .user = run,
    };
    if (open_answer(run, &params, &error) != SLM_OK) return slm_cli_fail(&error);
    /* What was held back comes out at the end, also after a failure half-way. */
    slm_status status = slm_generate(run->session, run->ids, run->n_ids, &params, &result, &error);
    slm_answer_close(&run->answer);
    if (status == SLM_OK && run->parts) status = slm_parts_finish(run->parts, collect_part, run, &error);
    return status == SLM_OK ? report(run, &result) : slm_cli_fail(&error);
}

/* A person at a terminal without a prompt wants to talk; a script never ends up in the chat, because its stdin
 * is no terminal. */
static int run_main(void *opaque, int n_args, char **args)
{
    struct run_options *options = opaque;
    struct run run = {.options = options};
    const char *prompt;
    int exit_code = choose_prompt(options, n_args, args, &prompt);
    if (exit_code != SLM_EXIT_OK) return exit_code;
    bool interactive = isatty(STDIN_FILENO) && !prompt && !options->file;
    if (interactive && !options->raw && !options->json) {
        struct slm_chat_setup setup = {&options->model, &options->sampling, options->system, &options->thinking,
                                       &options->speculating, options->verbose};
        if (options->form.seen) return slm_cli_usage("run", "the form of an answer is for a single prompt");
        /* Nobody would answer the calls. */
        if (options->tools) return slm_cli_usage("run", "--tools is for a single prompt; the chat runs no tools");
        return slm_cli_chat(&setup);
    }
    if (interactive) return slm_cli_usage("run", "no prompt: give one as an argument, with --file or through a pipe");
    exit_code = run_prompt(&run, prompt);
    slm_grammar_state_close(run.form);
    slm_grammar_close(run.grammar);
    slm_session_close(run.session);
    /* The session's draft is closed with it; then the models they borrow. */
    slm_model_close(options->speculating.model);
    slm_model_close(run.model);
    slm_release(run.ids);
    slm_answer_close(&run.answer);
    slm_parts_close(run.parts);
    struct slm_buf *const buffers[] = {&run.prompt, &run.tools, &run.text, &run.thinking, &run.content, &run.calls};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) slm_buf_release(buffers[i]);
    return exit_code;
}

const struct slm_command slm_command_run = {
    .name = "run",
    .args = "[MODEL] [\"PROMPT\"]",
    .summary = "Generates text from a prompt; without one, starts a chat",
    .details = "\n"
               "A single argument is a model when it exists or ends in .gguf, else it is the\n"
               "prompt for the built-in model. Without a prompt it is read from a pipe; on a\n"
               "terminal the interactive chat starts. Only generated text goes to stdout.",
    .groups = run_groups,
    .n_groups = sizeof run_groups / sizeof run_groups[0],
    .options_bytes = sizeof(struct run_options),
    .max_args = 2,
    .run = run_main,
};
