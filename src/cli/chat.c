/* SPDX-License-Identifier: MIT
 *
 * The interactive chat: read an input, answer it, keep the conversation. What a turn costs is what is new: the
 * whole conversation is rendered by the template every time, but only the tokens after the longest beginning
 * that the session already holds are computed.
 *
 * Ctrl-C stops an answer, and what was said so far stays in the conversation; at the prompt it leaves. A model
 * without chat template cannot tell turns apart: there the input is appended to the text, and the model goes
 * on.
 *
 * Answers go to stdout; everything the program itself says goes to stderr. */
#include "cli/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/os.h"
#include "cli/commands.h"

/* Filled by the rows below; zero or NULL means not given. */
struct chat_options {
    uint64_t seen;
    const char *system;
    bool verbose;
    struct slm_thinking thinking;
    struct slm_speculating speculating;
    struct slm_model_choice model;
    struct slm_sampling sampling;
};

#define AT(field) offsetof(struct chat_options, field)
static const struct slm_option chat_rows[] = {
    {.name = "system", .kind = SLM_OPTION_TEXT, .offset = AT(system), .arg = "TEXT",
     .help = "system message for the chat template"},
    {.name = "verbose", .letter = 'v', .kind = SLM_OPTION_FLAG, .offset = AT(verbose),
     .help = "timing after every answer"},
};
static const struct slm_option_group chat_groups[] = {
    {"Options", chat_rows, sizeof chat_rows / sizeof chat_rows[0], 0},
    SLM_THINKING_GROUP(struct chat_options, thinking),
    SLM_SAMPLING_GROUP(struct chat_options, sampling),
    SLM_SPECULATING_GROUP(struct chat_options, speculating),
    SLM_MODEL_GROUP(struct chat_options, model),
};
#undef AT

/* Prompt tokens computed between two looks at Ctrl-C. */
enum { PROMPT_PIECE = 256 };

/* ---- the conversation ------------------------------------------------------------------------ */

slm_status slm_chat_add(struct slm_chat *chat, const char *role, struct slm_str text, struct slm_error *error)
{
    if (chat->n_messages == chat->cap_messages) {
        size_t cap = chat->cap_messages ? 2 * chat->cap_messages : 16;
        void *grown = slm_realloc(chat->messages, cap, sizeof *chat->messages, "chat", error);
        if (!grown) return SLM_ERR_MEMORY;
        chat->messages = grown;
        chat->cap_messages = cap;
    }
    char *copy = slm_alloc(text.len + 1, 1, "chat", error);
    if (!copy) return SLM_ERR_MEMORY;
    if (text.len > 0) memcpy(copy, text.ptr, text.len);
    chat->messages[chat->n_messages++] = (struct slm_chat_message){role, copy};
    return SLM_OK;
}

/* Contents are const for the library's sake; they were allocated by slm_chat_add. */
void slm_chat_drop_last(struct slm_chat *chat)
{
    SLM_ASSERT(chat->n_messages > 0);
    slm_release((void *)(uintptr_t)chat->messages[--chat->n_messages].content);
}

void slm_chat_clear(struct slm_chat *chat)
{
    while (chat->n_messages > 0) slm_chat_drop_last(chat);
    if (chat->session) slm_session_truncate(chat->session, 0, NULL); /* 0 tokens are always there to keep */
}

/* An empty text removes the message: a template may treat "" and none differently. */
slm_status slm_chat_set_system(struct slm_chat *chat, const char *text, struct slm_error *error)
{
    char *copy = slm_alloc(strlen(text) + 1, 1, "chat", error);
    if (!copy) return SLM_ERR_MEMORY;
    memcpy(copy, text, strlen(text) + 1);
    slm_release(chat->system);
    chat->system = text[0] ? copy : NULL;
    if (!text[0]) slm_release(copy);
    return SLM_OK;
}

/* ---- an answer ------------------------------------------------------------------------------- */

/* What is known of an answer while it comes in. */
struct answer {
    struct slm_buf text;     /* all of it, thinking too: what the template makes of that is its business */
    struct slm_answer shown;
    bool stopped; /* by Ctrl-C, or because stdout is gone */
};

/* Prints and keeps. Ctrl-C is looked at between tokens, so an answer stops within one of them. */
static bool on_text(void *user, const char *text, size_t n_bytes)
{
    struct answer *answer = user;
    slm_buf_add(&answer->text, text, n_bytes);
    if (!slm_answer_text(&answer->shown, text, n_bytes) || slm_line_interrupted()) answer->stopped = true;
    return !answer->stopped;
}

/* Tokens of the whole conversation as the template writes it, ready for the assistant. */
static slm_status encode_conversation(struct slm_chat *chat, int32_t **ids, size_t *n_ids, struct slm_error *error)
{
    size_t n = chat->n_messages + (chat->system ? 1 : 0);
    struct slm_chat_message *all = slm_alloc(n, sizeof *all, "chat", error);
    if (!all) return SLM_ERR_MEMORY;
    if (chat->system) all[0] = (struct slm_chat_message){"system", chat->system};
    memcpy(all + (n - chat->n_messages), chat->messages, chat->n_messages * sizeof *all);
    const struct slm_chat_options options = {.variables_json = slm_cli_think_variables(&chat->thinking)};
    slm_status status = slm_chat_encode(chat->model, all, n, &options, ids, n_ids, error);
    slm_release(all);
    return status;
}

/* Drops from the session what the conversation no longer begins with; *n_kept tokens need not be computed
 * again. The last one always is: its logits are what the answer starts from. */
static slm_status keep_common(struct slm_chat *chat, const int32_t *ids, size_t n_ids, size_t *n_kept,
                              struct slm_error *error)
{
    const int32_t *past = slm_session_tokens(chat->session);
    size_t n_past = slm_session_n_past(chat->session), n = 0;
    while (n < n_past && n + 1 < n_ids && past[n] == ids[n]) n++;
    *n_kept = n;
    return slm_session_truncate(chat->session, n, error);
}

/* At least one token of room for the answer. Nothing is ever cut off to make room: the person decides. */
static slm_status check_fits(const struct slm_chat *chat, size_t n_tokens, struct slm_error *error)
{
    size_t n_ctx = slm_session_n_ctx(chat->session);
    if (n_tokens < n_ctx) return SLM_OK;
    return slm_fail(error, SLM_ERR_CONTEXT, "chat",
                    "the conversation has %zu tokens and the context holds %zu; /clear begins a new one, --ctx %zu "
                    "would hold more",
                    n_tokens, n_ctx, 2 * n_ctx);
}

/* What has to be computed for this input: with a template the conversation, without one the input itself. */
static slm_status encode_turn(struct slm_chat *chat, const char *input, int32_t **ids, size_t *n_ids, size_t *n_kept,
                              struct slm_error *error)
{
    if (chat->has_template) {
        SLM_TRY(encode_conversation(chat, ids, n_ids, error));
        if (*n_ids == 0)
            return slm_fail(error, SLM_ERR_FORMAT, "chat", "the chat template makes nothing of this conversation");
        SLM_TRY(check_fits(chat, *n_ids, error));
        return keep_common(chat, *ids, *n_ids, n_kept, error);
    }
    size_t n_past = slm_session_n_past(chat->session);
    *n_kept = 0;
    SLM_TRY(
        slm_cli_tokenize(chat->model, slm_str(input), n_past == 0 ? SLM_TOKENIZE_ADD_SPECIAL : 0, ids, n_ids, error));
    if (*n_ids == 0) return slm_fail(error, SLM_ERR_ARGUMENT, "chat", "this input has no tokens");
    return check_fits(chat, n_past + *n_ids, error);
}

/* Computes all tokens but the last, a piece at a time, so that Ctrl-C is heard during a long prompt too. How a prompt
 * is cut does not change what is computed. */
static slm_status feed_prompt(struct slm_chat *chat, const int32_t *ids, size_t n, struct slm_error *error)
{
    for (size_t done = 0; done + 1 < n;) {
        if (slm_line_interrupted())
            return slm_fail(error, SLM_ERR_CANCELLED, "chat",
                            "stopped before the answer began; the input is forgotten");
        size_t piece = n - 1 - done < PROMPT_PIECE ? n - 1 - done : PROMPT_PIECE;
        SLM_TRY(slm_session_eval(chat->session, ids + done, piece, error));
        done += piece;
    }
    return SLM_OK;
}

/* Computes what is new and streams the answer into *answer. */
static slm_status generate(struct slm_chat *chat, const char *input, struct answer *answer,
                           struct slm_generate_result *result, struct slm_error *error)
{
    int32_t *ids = NULL;
    size_t n_ids = 0, n_kept = 0, n_before = slm_session_n_past(chat->session);
    slm_status status = encode_turn(chat, input, &ids, &n_ids, &n_kept, error);
    /* Settings may have been copied since (/load): point into the list that is in use now. */
    chat->sampling.params.logit_bias = chat->sampling.bias.items;
    chat->sampling.params.n_logit_bias = chat->sampling.bias.n;
    struct slm_generate_params params = {
        .sampler = chat->sampling.params,
        .n_predict = chat->sampling.n_predict,
        .stop = chat->sampling.stop.items,
        .n_stop = chat->sampling.stop.n,
        .ignore_eog = chat->sampling.ignore_eos,
        .on_text = on_text,
        .user = answer,
    };
    double start = slm_cli_seconds();
    if (status == SLM_OK)
        status = slm_answer_open(&answer->shown, chat->model, ids, n_ids, chat->thinking.hide, error);
    if (answer->shown.parts) params.show = slm_parts_marks(answer->shown.parts, &params.n_show);
    if (status == SLM_OK) status = feed_prompt(chat, ids + n_kept, n_ids - n_kept, error);
    double fed_s = slm_cli_seconds() - start;
    if (status == SLM_OK) status = slm_generate(chat->session, ids + n_ids - 1, 1, &params, result, error);
    slm_answer_close(&answer->shown);
    result->n_prompt = n_ids - n_kept;
    result->prompt_s += fed_s;
    /* Without a template the input went straight onto the text: take it back, as if it had not been typed. */
    if (status != SLM_OK && !chat->has_template && n_before < slm_session_n_past(chat->session))
        slm_session_truncate(chat->session, n_before, NULL);
    slm_release(ids);
    return status;
}

/* One question and its answer. The conversation grows by both or by neither. */
static void take_turn(struct slm_chat *chat, const char *input)
{
    struct answer answer = {0};
    struct slm_generate_result result = {0};
    struct slm_error error;
    slm_line_take_interrupt(); /* an old Ctrl-C does not stop the new answer */
    slm_status status = slm_chat_add(chat, "user", slm_str(input), &error);
    if (status != SLM_OK) {
        slm_cli_fail(&error);
        return;
    }
    status = generate(chat, input, &answer, &result, &error);
    if (answer.text.len > 0 && answer.text.data[answer.text.len - 1] != '\n') slm_cli_write("\n", 1);
    fflush(stdout);
    if (status == SLM_OK) status = slm_buf_status(&answer.text, "chat", &error);
    if (status == SLM_OK)
        status = slm_chat_add(chat, "assistant", (struct slm_str){answer.text.data, answer.text.len}, &error);
    if (status != SLM_OK) { /* the question did not happen: it can be asked again */
        slm_chat_drop_last(chat);
        slm_cli_fail(&error);
    } else if (result.stop_reason == SLM_STOP_CONTEXT) {
        fprintf(stderr, "slm: chat: the context of %zu tokens is full; /clear begins a new conversation\n",
                slm_session_n_ctx(chat->session));
    }
    if (status == SLM_OK && chat->verbose) slm_cli_print_timing(&result, 0);
    slm_buf_release(&answer.text);
    slm_line_take_interrupt(); /* the Ctrl-C that stopped the answer is used up */
}

/* ---- input ----------------------------------------------------------------------------------- */

/* Whether text ends with the given characters. */
static bool ends_with(const struct slm_buf *text, const char *end)
{
    size_t n = strlen(end);
    return text->len >= n && memcmp(text->data + text->len - n, end, n) == 0;
}

/* Cuts n bytes off the end. */
static void shorten(struct slm_buf *text, size_t n)
{
    text->len -= n;
    text->data[text->len] = '\0';
}

/* The lines after an opening """ up to the closing one. */
static enum slm_line_result read_block(struct slm_chat *chat, struct slm_buf *input, struct slm_buf *line)
{
    enum slm_line_result result = SLM_LINE_OK;
    while (result == SLM_LINE_OK && !ends_with(input, "\"\"\"")) {
        result = slm_line_read(chat->line, "... ", line);
        if (result != SLM_LINE_OK) break;
        if (input->len > 0) slm_buf_puts(input, "\n");
        slm_buf_add(input, line->data, line->len);
    }
    if (result == SLM_LINE_OK) shorten(input, 3);
    return result;
}

/* One input: a line, lines joined by a backslash at their end, or a block between """ and """. */
static enum slm_line_result read_input(struct slm_chat *chat, struct slm_buf *input)
{
    struct slm_buf line = {0};
    enum slm_line_result result = slm_line_read(chat->line, ">>> ", &line);
    slm_buf_clear(input);
    if (result == SLM_LINE_OK && line.len >= 3 && memcmp(line.data, "\"\"\"", 3) == 0) {
        slm_buf_add(input, line.data + 3, line.len - 3);
        result = read_block(chat, input, &line);
    } else if (result == SLM_LINE_OK) {
        slm_buf_add(input, line.data, line.len);
        while (result == SLM_LINE_OK && ends_with(input, "\\")) {
            input->data[input->len - 1] = '\n';
            result = slm_line_read(chat->line, "... ", &line);
            if (result == SLM_LINE_OK) slm_buf_add(input, line.data, line.len);
        }
    }
    slm_buf_release(&line);
    return result;
}

/* Nothing but white space: not worth a question. */
static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n")] == '\0'; }

/* Until the end of the input, /bye, or Ctrl-C at the prompt. */
static void loop(struct slm_chat *chat)
{
    struct slm_buf input = {0};
    while (!chat->done) {
        enum slm_line_result result = read_input(chat, &input);
        if (result == SLM_LINE_END) break;
        if (result == SLM_LINE_INTERRUPTED) break; /* Ctrl-C at the prompt leaves; during an answer it does not */
        if (!input.data || is_blank(input.data)) continue;
        slm_line_remember(chat->line, input.data);
        if (input.data[0] == '/')
            slm_chat_command(chat, input.data);
        else
            take_turn(chat, input.data);
    }
    slm_buf_release(&input);
}

/* ---- start and end --------------------------------------------------------------------------- */

/* $XDG_STATE_HOME/slm/history, else ~/.local/state/slm/history; makes the folders. False: no place for it. */
static bool find_history(char *path, size_t cap)
{
    const char *state = slm_env("XDG_STATE_HOME"), *home = slm_env("HOME");
    int n = 0;
    if (state && state[0] == '/')
        n = snprintf(path, cap, "%s/slm/history", state);
    else if (home)
        n = snprintf(path, cap, "%s/.local/state/slm/history", home);
    if (n <= 0 || (size_t)n >= cap) return false;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int made = mkdir(path, 0700);
        *slash = '/';
        if (made != 0 && errno != EEXIST) return false;
    }
    return true;
}

/* For people only: a pipe gets answers and nothing else. */
static void greet(const struct slm_chat *chat)
{
    if (!isatty(STDIN_FILENO)) return;
    struct slm_model_info info = slm_model_info(chat->model);
    const char *dim = slm_cli_colour(stderr) ? "\033[2m" : "", *off = dim[0] ? "\033[0m" : "";
    fprintf(stderr, "%s%s (%s). /help lists commands, /bye leaves, Ctrl-C stops an answer.%s\n", dim,
            info.name[0] ? info.name : "model", info.architecture, off);
    if (!chat->has_template)
        fprintf(stderr, "%sThis model has no chat template: it continues your text instead of answering it.%s\n", dim,
                off);
}

/* Model, session, settings, line reader; what was opened before a failure is closed by the caller. */
static slm_status open_chat(struct slm_chat *chat, const struct slm_chat_setup *setup, struct slm_error *error)
{
    char history[4096];
    double start = slm_cli_seconds();
    SLM_TRY(slm_cli_open_model(&chat->choice, false, &chat->model, error));
    SLM_TRY(slm_cli_open_session(chat->model, &chat->choice, &chat->session, error));
    SLM_TRY(slm_cli_speculate(&chat->speculating, &chat->choice, chat->session, error));
    chat->load_s = slm_cli_seconds() - start;
    chat->has_template = slm_model_chat_template(chat->model) != NULL;
    slm_cli_sampling_defaults(chat->model, &chat->sampling);
    if (setup->system && !chat->has_template)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "--system",
                        "this model has no chat template to carry a system message");
    if (setup->system) SLM_TRY(slm_chat_set_system(chat, setup->system, error));
    return slm_line_open(find_history(history, sizeof history) ? history : NULL, &chat->line, error);
}

/* The struct is large (lists of stop strings and biases) and lives as long as the program: heap, not stack. */
int slm_cli_chat(const struct slm_chat_setup *setup)
{
    struct slm_chat *chat;
    struct slm_error error;
    int exit_code = SLM_EXIT_OK;
    chat = slm_alloc(1, sizeof *chat, "chat", &error);
    if (!chat) return slm_cli_fail(&error);
    chat->choice = *setup->model;
    chat->sampling = *setup->sampling;
    chat->verbose = setup->verbose;
    chat->thinking = *setup->thinking;
    chat->speculating = *setup->speculating;
    if (open_chat(chat, setup, &error) != SLM_OK)
        exit_code = slm_cli_fail(&error);
    else {
        slm_line_catch_interrupts();
        greet(chat);
        loop(chat);
        exit_code = slm_cli_finish();
    }
    slm_line_close(chat->line);
    slm_chat_clear(chat);
    slm_session_close(chat->session);
    slm_model_close(chat->speculating.model);
    slm_model_close(chat->model);
    slm_arena_release(&chat->texts);
    slm_release(chat->messages);
    slm_release(chat->system);
    slm_release(chat);
    return exit_code;
}

/* `slm chat`: the same chat, also for pipes. */
static int chat_main(void *opaque, int n_args, char **args)
{
    struct chat_options *options = opaque;
    if (n_args > 0) options->model.path = args[0];
    struct slm_chat_setup setup = {&options->model, &options->sampling, options->system, &options->thinking,
                                   &options->speculating, options->verbose};
    if (options->thinking.on && options->thinking.off)
        return slm_cli_usage("chat", "give --think or --no-think, not both");
    if (slm_cli_check_speculating("chat", &options->speculating) != SLM_EXIT_OK) return SLM_EXIT_USAGE;
    return slm_cli_chat(&setup);
}

const struct slm_command slm_command_chat = {
    .name = "chat",
    .args = "[MODEL]",
    .summary = "Talks with a model, line by line",
    .details = "\n"
               "A line is a question. A line that ends in a backslash goes on in the next one;\n"
               "\"\"\" opens and closes a block of lines. /help lists the commands. From a pipe\n"
               "the same works without prompts.",
    .groups = chat_groups,
    .n_groups = sizeof chat_groups / sizeof chat_groups[0],
    .options_bytes = sizeof(struct chat_options),
    .max_args = 1,
    .run = chat_main,
};
