/* SPDX-License-Identifier: MIT
 *
 * `slm`: one program, one table of commands. A command is a const struct in its own file; adding one is a file
 * and a row here. This file finds the row, parses the options its table declares, and turns the result into an
 * exit code: 0 done, 1 it failed, 2 it was asked for wrongly. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"

/* In the order of the overview: what people do first comes first. */
static const struct slm_command *const commands[] = {
    &slm_command_run,      &slm_command_chat,   &slm_command_inspect, &slm_command_tokenize,
    &slm_command_template, &slm_command_logits, &slm_command_embed,   &slm_command_bench,
    &slm_command_serve,    &slm_command_loadtest, &slm_command_top,
    &slm_command_convert,  &slm_command_quantize, &slm_command_calibrate, &slm_command_eval,
    &slm_command_compare,  &slm_command_recommend, &slm_command_optimize, &slm_command_doctor,
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

/* Exact names only; near ones are suggested, never guessed. */
static const struct slm_command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

/* One line a command. */
static void add_overview(struct slm_buf *out)
{
    slm_buf_printf(out, "slm %s: runs small language models on this machine\n\nusage: slm COMMAND [arguments]\n\n",
                   slm_version());
    for (size_t i = 0; i < N_COMMANDS; i++)
        slm_buf_printf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    slm_buf_puts(out, "\n"
                      "'slm COMMAND --help' says more about one; 'slm help all' prints everything.\n"
                      "Without a model, 'slm run' uses the one that is built in.\n");
}

/* Every help text in a row: what docs/cli.md contains. */
static void add_everything(struct slm_buf *out)
{
    add_overview(out);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        slm_buf_puts(out, "\n\n");
        slm_options_help(commands[i], out);
    }
}

/* What was typed is no command: perhaps a model, perhaps a slip. */
static int usage_unknown(const char *word)
{
    const char *names[N_COMMANDS + 1];
    for (size_t i = 0; i < N_COMMANDS; i++) names[i] = commands[i]->name;
    names[N_COMMANDS] = "help";
    if (slm_cli_is_model(word))
        return slm_cli_usage("command line", "'%s' is a model, not a command: slm run %s", word, word);
    const char *near = slm_nearest(word, names, N_COMMANDS + 1);
    if (near) return slm_cli_usage("command line", "unknown command '%s'; did you mean '%s'?", word, near);
    return slm_cli_usage("command line", "unknown command '%s'; 'slm help' lists them", word);
}

static int help(const char *about)
{
    struct slm_buf out = {0};
    const struct slm_command *command = about ? find_command(about) : NULL;
    if (!about)
        add_overview(&out);
    else if (strcmp(about, "all") == 0)
        add_everything(&out);
    else if (command)
        slm_options_help(command, &out);
    else
        return usage_unknown(about);
    return slm_cli_emit(&out);
}

/* The command gets its options zeroed and filled, and its positional arguments. */
static int run_command(const struct slm_command *command, int argc, char **argv)
{
    struct slm_error error;
    int first_arg = argc, exit_code = SLM_EXIT_OK;
    bool help_asked = false;
    void *options = slm_alloc(1, command->options_bytes, command->name, &error);
    if (!options) return slm_cli_fail(&error);
    if (slm_options_parse(command, options, argc, argv, &first_arg, &help_asked, &error) != SLM_OK)
        exit_code = slm_cli_usage(error.where, "%s", error.message);
    else if (help_asked)
        exit_code = help(command->name);
    else
        exit_code = command->run(options, argc - first_arg, argv + first_arg);
    slm_release(options);
    return exit_code;
}

/* Weights are read where the file is mapped: one that is cut short, or whose disk fails, while it is in use ends in
 * this signal on whatever thread touches the missing page. There is nothing to go on with, but there is a reason. */
static void on_lost_page(int signal_number)
{
    static const char reason[] = "slm: a model file was cut short, or its disk failed, while it was in use\n";
    (void)signal_number;
    const ssize_t written = write(STDERR_FILENO, reason, sizeof reason - 1);
    (void)written;
    _exit(SLM_EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    const struct sigaction lost_page = {.sa_handler = on_lost_page};
    sigaction(SIGBUS, &lost_page, NULL);
    /* A reader that goes away shows as a failed write, which ends the output quietly; the signal would end us
     * in the middle of whatever we do. */
    signal(SIGPIPE, SIG_IGN);
    /* What is not a command is handled here; everything else is a row of the table. */
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word) {
        struct slm_buf out = {0};
        add_overview(&out);
        fputs(out.data ? out.data : "", stderr);
        slm_buf_release(&out);
        return SLM_EXIT_USAGE;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        struct slm_buf out = {0};
        slm_buf_printf(&out, "slm %s\n", slm_version());
        return slm_cli_emit(&out);
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    const struct slm_command *command = find_command(word);
    if (!command) return usage_unknown(word);
    return run_command(command, argc - 1, argv + 1);
}
