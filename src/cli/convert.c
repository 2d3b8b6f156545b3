/* SPDX-License-Identifier: MIT
 *
 * `slm convert`: a Hugging Face folder or a GGUF file into a GGUF file of wanted types, in one piece or split. The work
 * is the library's (slm_convert); here are the options, the bar, and what happens on Ctrl-C: the conversion is told to
 * stop, so that it takes its unfinished files away. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"

/* Filled by the rows below; zero means not given. */
struct convert_options {
    uint64_t seen;
    const char *type, *split_size;
    struct slm_text_list tensors;
    int32_t split_tensors, n_threads;
    bool quiet;
};

#define AT(field) offsetof(struct convert_options, field)
static const struct slm_option convert_rows[] = {
    {.name = "type", .kind = SLM_OPTION_TEXT, .offset = AT(type), .arg = "TYPE",
     .help = "type of the matrices: f32, f16, bf16, q8_0 and others (default: as they are stored)"},
    {.name = "tensor", .kind = SLM_OPTION_LIST, .offset = AT(tensors), .arg = "NAME=TYPE",
     .help = "another type for these tensors; * in NAME is any text (may be repeated, the last one counts)"},
    {.name = "split-max-size", .kind = SLM_OPTION_TEXT, .offset = AT(split_size), .arg = "SIZE",
     .help = "begin a new file before this many bytes of tensors, as in 2G or 500M"},
    {.name = "split-max-tensors", .kind = SLM_OPTION_INT, .offset = AT(split_tensors), .arg = "N", .min = 1,
     .max = 1048576, .help = "begin a new file after N tensors"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024, .help = "threads (default: all CPUs this process may use)"},
    {.name = "quiet", .letter = 'q', .kind = SLM_OPTION_FLAG, .offset = AT(quiet),
     .help = "no bar, no notes, no summary"},
};
#undef AT
static const struct slm_option_group convert_groups[] = {
    {"Options", convert_rows, sizeof convert_rows / sizeof convert_rows[0], 0},
};

/* Only noted in the handler; the conversion asks from time to time. */
static volatile sig_atomic_t interrupted; /* the signal, 0 = none */
static void on_signal(int number) { interrupted = number; }

/* What the callbacks see. */
struct state {
    struct slm_cli_progress bar;
    bool show_bar, quiet;
};

/* Also called when nothing is drawn, because this is where an interrupt is noticed: every few million weights. */
static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct state *state = user;
    if (state->show_bar) slm_cli_draw_progress(&state->bar, done, total);
    return interrupted == 0;
}

/* Said on stderr like an error, but the conversion goes on. */
static void on_note(void *user, const char *sentence)
{
    const struct state *state = user;
    if (!state->quiet) fprintf(stderr, "slm: convert: %s\n", sentence);
}

/* "2G", "500M", "64K", plain bytes: powers of 1000, as llama.cpp's splitter has them. False when it is none of these.
 */
static bool parse_size(const char *text, uint64_t *out)
{
    static const struct { const char *unit; double factor; } units[] = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}};
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    if (end == text || errno || !(number > 0)) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        const double bytes = floor(number * units[i].factor);
        *out = bytes < 9e18 ? (uint64_t)bytes : 0;
        return bytes >= 1 && bytes < 9e18;
    }
    return false;
}

/* "NAME=TYPE" cut at the last "=": types have none. The names are copied, owned by the caller; false when a rule is
 * not of this form. */
static bool parse_rules(const struct slm_text_list *list, struct slm_convert_rule *rules, char **copies)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *equals = strrchr(list->items[i], '=');
        if (!equals || equals == list->items[i] || equals[1] == '\0') return false;
        const size_t n = (size_t)(equals - list->items[i]);
        struct slm_buf copy = {0};
        slm_buf_add(&copy, list->items[i], n);
        if (!copy.data) return false;
        copies[i] = copy.data;
        rules[i] = (struct slm_convert_rule){copy.data, equals + 1};
    }
    return true;
}

/* One line, on stderr: there is no data for stdout. */
static int report(const struct slm_convert_result *result, const char *out, double seconds)
{
    char size[16], speed[16];
    fprintf(stderr, "%s: %zu tensors, %s", out, result->n_tensors, slm_cli_size(size, (double)result->bytes));
    if (result->n_files > 1) fprintf(stderr, " in %zu files", result->n_files);
    fprintf(stderr, ", %.1f s (%s/s)\n", seconds,
            slm_cli_size(speed, seconds > 0 ? (double)result->bytes / seconds : 0));
    return SLM_EXIT_OK;
}

/* The handlers stay: this is the last thing the command does. A cancelled conversion has taken its files away. */
static int convert(const struct convert_options *options, const char *in, const char *out,
                   const struct slm_convert_options *what, struct state *state)
{
    struct slm_convert_result result;
    struct slm_error error;
    const struct sigaction stop = {.sa_handler = on_signal};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    const slm_status status = slm_convert(in, out, what, &result, &error);
    slm_cli_clear_progress(&state->bar);
    if (status == SLM_ERR_CANCELLED && interrupted) return 128 + interrupted; /* as shells say it */
    if (status != SLM_OK) return slm_cli_fail(&error);
    return options->quiet ? SLM_EXIT_OK : report(&result, out, slm_cli_seconds() - state->bar.start);
}

/* What was typed is judged before anything is opened. */
static int convert_main(void *opaque, int n_args, char **args)
{
    const struct convert_options *options = opaque;
    struct slm_convert_rule rules[sizeof options->tensors.items / sizeof options->tensors.items[0]];
    char *copies[sizeof rules / sizeof rules[0]] = {0};
    struct state state = {.bar = {.label = "converting", .start = slm_cli_seconds()}, .quiet = options->quiet};
    struct slm_convert_options what = {.type = options->type, .rules = rules, .n_rules = options->tensors.n,
                                       .split_max_tensors = (uint32_t)options->split_tensors,
                                       .n_threads = options->n_threads, .progress = on_progress, .note = on_note,
                                       .user = &state};
    int exit_code;
    state.show_bar = !options->quiet && isatty(STDERR_FILENO);
    if (n_args != 2)
        exit_code = slm_cli_usage("convert", "two paths are needed: slm convert MODEL OUT.gguf");
    else if (options->split_size && !parse_size(options->split_size, &what.split_max_bytes))
        exit_code = slm_cli_usage("split-max-size", "'%s' is not allowed: a number of bytes is, as in 2G, 500M or 64K",
                                  options->split_size);
    else if (!parse_rules(&options->tensors, rules, copies))
        exit_code = slm_cli_usage("tensor", "NAME=TYPE is expected, as in output.weight=f16");
    else
        exit_code = convert(options, args[0], args[1], &what, &state);
    for (size_t i = 0; i < options->tensors.n; i++) {
        struct slm_buf copy = {.data = copies[i]};
        slm_buf_release(&copy);
    }
    return exit_code;
}

/* No model options: nothing is computed with the model. */
const struct slm_command slm_command_convert = {
    .name = "convert",
    .args = "MODEL OUT.gguf",
    .summary = "Writes a model as a GGUF file, of other types or split",
    .details = "MODEL is a Hugging Face folder, a GGUF file, or the first file of a split GGUF\n"
               "model, which is merged. Norms and biases stay f32. OUT.gguf appears when it is\n"
               "complete, never in parts.\n"
               "\n"
               "  slm convert Qwen3-0.6B/ qwen3.gguf --type q8_0\n"
               "  slm convert qwen3.gguf other.gguf --tensor 'blk.*.ffn_down.weight=f16'\n"
               "  slm convert big.gguf parts.gguf --split-max-size 2G\n"
               "  slm convert parts-00001-of-00003.gguf big.gguf\n",
    .groups = convert_groups,
    .n_groups = sizeof convert_groups / sizeof convert_groups[0],
    .options_bytes = sizeof(struct convert_options),
    .max_args = 2,
    .run = convert_main,
};
