/* SPDX-License-Identifier: MIT
 *
 * The commands of the chat: one table row each, which is also what /help prints. */
#include "base/os.h"
#include "cli/chat.h"

const struct slm_option_group slm_chat_parameters = {"Parameters", slm_sampling_rows, SLM_SAMPLING_ROWS, 0};

/* Skips blanks; cuts the next word off *rest (in place) and returns it, "" at the end. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    size_t n = strcspn(word, " \t");
    *rest = word + n;
    if (**rest) *(*rest)++ = '\0';
    *rest += strspn(*rest, " \t");
    return word;
}

/* ---- parameters ------------------------------------------------------------------------------ */

slm_status slm_chat_set_parameter(struct slm_chat *chat, const char *name, const char *value, struct slm_error *error)
{
    const char *names[SLM_SAMPLING_ROWS]; /* for the suggestion when none matches */
    size_t n = 0;
    for (size_t i = 0; i < SLM_SAMPLING_ROWS; i++) {
        const struct slm_option *row = &slm_sampling_rows[i];
        if (!row->key) continue;
        names[n++] = row->key;
        if (strcmp(row->key, name) != 0) continue;
        /* Text values stay where they are pointed to: keep a copy as long as the chat lives. */
        const char *copy = slm_arena_copy(&chat->texts, value, strlen(value), error);
        if (!copy) return SLM_ERR_MEMORY;
        return slm_option_set(&slm_chat_parameters, i, name, copy, &chat->sampling, error);
    }
    const char *near = slm_nearest(name, names, n);
    return slm_fail(error, SLM_ERR_ARGUMENT, "/set parameter", "unknown parameter '%s'%s%s%s", name,
                    near ? "; did you mean " : "; /show parameters lists them", near ? near : "", near ? "?" : "");
}

/* The values in use, by the names that /set parameter takes. */
static void show_parameters(const struct slm_chat *chat)
{
    for (size_t i = 0; i < SLM_SAMPLING_ROWS; i++) {
        const struct slm_option *row = &slm_sampling_rows[i];
        const char *at = (const char *)&chat->sampling + row->offset;
        if (!row->key) continue;
        /* Copied, not cast: the row says which of them it is. */
        float real;
        int32_t whole;
        uint64_t wide;
        memcpy(&whole, at, sizeof whole);
        memcpy(&real, at, sizeof real);
        if (row->kind == SLM_OPTION_FLOAT)
            fprintf(stderr, "  %-18s %g\n", row->key, (double)real);
        else if (row->kind == SLM_OPTION_INT)
            fprintf(stderr, "  %-18s %d\n", row->key, whole);
        else if (row->kind == SLM_OPTION_U64) {
            memcpy(&wide, at, sizeof wide);
            fprintf(stderr, "  %-18s %llu\n", row->key, (unsigned long long)wide);
        } else if (row->kind == SLM_OPTION_LIST) {
            for (size_t s = 0; s < chat->sampling.stop.n; s++)
                fprintf(stderr, "  %-18s %s\n", row->key, chat->sampling.stop.items[s]);
        }
    }
}

/* ---- the commands ---------------------------------------------------------------------------- */

/* /set: one setting; a bad value changes nothing. */
static void do_set(struct slm_chat *chat, char *rest)
{
    struct slm_error error;
    slm_status status = SLM_OK;
    const char *what = next_word(&rest);
    if (strcmp(what, "parameter") == 0) {
        const char *name = next_word(&rest);
        if (!name[0] || !rest[0])
            status = slm_fail(&error, SLM_ERR_ARGUMENT, "/set parameter", "needs a name and a value");
        else
            status = slm_chat_set_parameter(chat, name, rest, &error);
    } else if (strcmp(what, "system") == 0) {
        if (!chat->has_template)
            status =
                slm_fail(&error, SLM_ERR_UNSUPPORTED, "/set system", "this model has no chat template to carry it");
        else
            status = slm_chat_set_system(chat, rest, &error);
    } else if (strcmp(what, "verbose") == 0 || strcmp(what, "quiet") == 0) {
        chat->verbose = what[0] == 'v';
    } else if (strcmp(what, "think") == 0 && (strcmp(rest, "on") == 0 || strcmp(rest, "off") == 0)) {
        chat->thinking.on = rest[1] == 'n'; /* from the next question on */
        chat->thinking.off = !chat->thinking.on;
    } else if (strcmp(what, "think") == 0) {
        status = slm_fail(&error, SLM_ERR_ARGUMENT, "/set think", "'%s' is not allowed: on or off is", rest);
    } else {
        status = slm_fail(&error, SLM_ERR_ARGUMENT, "/set",
                          "'%s' is not allowed: parameter, system, think, verbose or quiet is", what);
    }
    if (status != SLM_OK) slm_cli_fail(&error);
}

/* /show: looks only, changes nothing. Everything goes to stderr: stdout is for answers. */
static void do_show(struct slm_chat *chat, char *rest)
{
    const char *what = next_word(&rest);
    struct slm_model_info info = slm_model_info(chat->model);
    char count[16];
    if (strcmp(what, "parameters") == 0)
        show_parameters(chat);
    else if (strcmp(what, "system") == 0)
        fprintf(stderr, "%s\n", chat->system ? chat->system : "(no system message)");
    else if (strcmp(what, "template") == 0)
        fprintf(stderr, "%s\n", chat->has_template ? slm_model_chat_template(chat->model) : "(no chat template)");
    else if (what[0] == '\0' || strcmp(what, "info") == 0) {
        fprintf(stderr, "  model      %s, %s, %s parameters (%s)\n", info.name[0] ? info.name : "(no name)",
                info.architecture, slm_cli_count(count, (double)info.n_params), info.size_class);
        fprintf(stderr, "  context    %zu of %zu tokens used\n", slm_session_n_past(chat->session),
                slm_session_n_ctx(chat->session));
        fprintf(stderr, "  messages   %zu\n", chat->n_messages);
    } else {
        slm_cli_usage("/show", "'%s' is not allowed: info, parameters, system or template is", what);
    }
}

/* /save and /load have the same shape: a file name, an action, how many messages there are now. */
static void do_file(struct slm_chat *chat, const char *path, const char *where,
                    slm_status (*act)(struct slm_chat *, const char *, struct slm_error *))
{
    struct slm_error error;
    if (!path[0])
        slm_cli_usage(where, "needs the name of a file");
    else if (act(chat, path, &error) != SLM_OK)
        slm_cli_fail(&error);
    else
        fprintf(stderr, "%s: %zu messages\n", path, chat->n_messages);
}

/* slm_chat_save takes a const chat; a function pointer needs the exact type. */
static slm_status save(struct slm_chat *chat, const char *path, struct slm_error *error)
{
    return slm_chat_save(chat, path, error);
}

/* The name is the whole rest of the line: file names have spaces. */
static void do_save(struct slm_chat *chat, char *rest) { do_file(chat, rest, "/save", save); }

static void do_load(struct slm_chat *chat, char *rest) { do_file(chat, rest, "/load", slm_chat_load); }

/* A fresh seed with the fresh start, or the same question would always get the same answer. */
static void do_clear(struct slm_chat *chat, char *rest)
{
    (void)rest;
    slm_chat_clear(chat);
    slm_cli_sampling_defaults(chat->model, &chat->sampling); /* a new seed, unless one was chosen */
    fprintf(stderr, "new conversation\n");
}

/* The loop sees it before the next line. */
static void do_bye(struct slm_chat *chat, char *rest)
{
    (void)rest;
    chat->done = true;
}

static void do_help(struct slm_chat *chat, char *rest); /* reads the table that names it */

/* Several rows may share a name: one line of help each. A row without help is another spelling. */
static const struct {
    const char *name, *args, *help;
    void (*run)(struct slm_chat *, char *rest); /* rest: what follows the name; may be cut up */
} chat_commands[] = {
    {"/set", "parameter NAME VALUE", "change a sampling parameter (/show parameters lists them)", do_set},
    {"/set", "system TEXT", "set the system message; without text, remove it", do_set},
    {"/set", "think on | off", "have the model think before it answers, if its template can say so", do_set},
    {"/set", "verbose | quiet", "timing after every answer, or not", do_set},
    {"/show", "[info|parameters|system|template]", "look at something", do_show},
    {"/save", "FILE", "write the conversation to a file (JSON)", do_save},
    {"/load", "FILE", "go on with a saved conversation", do_load},
    {"/clear", "", "begin a new conversation", do_clear},
    {"/help", "", "this text; also /?", do_help},
    {"/?", "", NULL, do_help},
    {"/bye", "", "leave; also Ctrl-D, or Ctrl-C at the prompt", do_bye},
};
enum { N_CHAT_COMMANDS = sizeof chat_commands / sizeof chat_commands[0] };

/* The table as text, and what is not a command but input. */
static void do_help(struct slm_chat *chat, char *rest)
{
    (void)chat;
    (void)rest;
    for (size_t i = 0; i < N_CHAT_COMMANDS; i++) {
        char left[64];
        if (!chat_commands[i].help) continue;
        snprintf(left, sizeof left, "%s %s", chat_commands[i].name, chat_commands[i].args);
        fprintf(stderr, "  %-42s %s\n", left, chat_commands[i].help);
    }
    fprintf(stderr, "  %-42s %s\n", "\"\"\"", "begin and end an input of several lines");
    fprintf(stderr, "  %-42s %s\n", "\\ at the end of a line", "the input goes on in the next line");
}

/* A line that begins with a slash but names no command is not sent to the model: it was a slip more often than
 * a question. */
void slm_chat_command(struct slm_chat *chat, const char *input)
{
    struct slm_error error;
    const char *names[N_CHAT_COMMANDS];
    char *copy = slm_alloc(strlen(input) + 1, 1, "chat", &error);
    if (!copy) {
        slm_cli_fail(&error);
        return;
    }
    memcpy(copy, input, strlen(input) + 1);
    for (size_t n = strlen(copy); n > 0 && strchr(" \t\r\n", copy[n - 1]); n--) copy[n - 1] = '\0';
    /* The input is cut into words in place, so the commands get a copy of it. */
    char *rest = copy, *name = next_word(&rest);
    size_t i = 0;
    for (; i < N_CHAT_COMMANDS; i++) {
        names[i] = chat_commands[i].name;
        if (strcmp(chat_commands[i].name, name) == 0) break;
    }
    if (i < N_CHAT_COMMANDS)
        chat_commands[i].run(chat, rest);
    else {
        const char *near = slm_nearest(name, names, N_CHAT_COMMANDS);
        slm_cli_usage("chat", "unknown command '%s'%s%s%s", name, near ? "; did you mean " : "; /help lists them",
                      near ? near : "", near ? "?" : "");
    }
    slm_release(copy);
}
