/* SPDX-License-Identifier: MIT
 *
 * Option tables at work: parsing with getopt_long, help, and the checks with their sentences. Nothing here
 * knows a command; a command is a const table (struct slm_command) that this file reads.
 *
 * Why getopt_long under our own table: it knows the syntax people's fingers know (--n=5, -n5, -n 5, options
 * after arguments, unambiguous prefixes, "--"), and leaves meaning to us. Deliberately not here: option files
 * and environment variables as a second way to set an option. */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"

enum {
    MAX_ROWS = 64,    /* over all groups of a command */
    FIRST_LONG = 256, /* getopt values of rows: above every letter */
    HELP_COLUMN = 26, /* where help text starts */
    HELP_WIDTH = 80,
    NEAR_LIMIT = 64, /* longest word compared by slm_nearest */
};

/* ---- values ---------------------------------------------------------------------------------- */

/* The usual sentence of a refused value. */
static slm_status bad_value(const char *where, const char *value, const char *allowed, struct slm_error *error)
{
    return slm_fail(error, SLM_ERR_ARGUMENT, where, "'%s' is not allowed: %s", value, allowed);
}

/* A whole number in the row's range, nothing before or after it. */
static slm_status parse_int(const struct slm_option *row, const char *where, const char *value, void *target,
                            struct slm_error *error)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end || errno || (double)number < row->min || (double)number > row->max)
        return slm_fail(error, SLM_ERR_ARGUMENT, where, "'%s' is not allowed: a whole number from %.0f to %.0f is",
                        value, row->min, row->max);
    int32_t narrow = (int32_t)number;
    memcpy(target, &narrow, sizeof narrow);
    return SLM_OK;
}

/* "512" or "0,512,4096"; given again, the last list counts. */
static slm_status parse_ints(const struct slm_option *row, const char *where, const char *value, void *target,
                             struct slm_error *error)
{
    struct slm_int_list list = {.n = 0};
    for (const char *at = value;; at++) {
        char number[16];
        const size_t length = strcspn(at, ",");
        if (list.n == SLM_MAX_INTS)
            return slm_fail(error, SLM_ERR_ARGUMENT, where, "'%s' is not allowed: at most %d numbers are", value,
                            SLM_MAX_INTS);
        snprintf(number, sizeof number, "%.*s", (int)(length < sizeof number ? length : sizeof number), at);
        SLM_TRY(parse_int(row, where, number, &list.items[list.n++], error));
        at += length;
        if (*at == '\0') break;
    }
    memcpy(target, &list, sizeof list);
    return SLM_OK;
}

static slm_status parse_u64(const struct slm_option *row, const char *where, const char *value, void *target,
                            struct slm_error *error)
{
    char *end;
    (void)row;
    errno = 0;
    uint64_t number = strtoull(value, &end, 0);
    /* strtoull takes "-1" for 2^64-1; nobody who types a minus means that. */
    if (end == value || *end || errno || strchr(value, '-'))
        return bad_value(where, value, "a whole number from 0 to 2^64-1 is (0x... for hexadecimal)", error);
    memcpy(target, &number, sizeof number);
    return SLM_OK;
}

/* Refuses NaN too: it is in no range. */
static slm_status parse_float(const struct slm_option *row, const char *where, const char *value, void *target,
                              struct slm_error *error)
{
    char *end;
    float number = strtof(value, &end);
    if (end == value || *end || !((double)number >= row->min && (double)number <= row->max))
        return slm_fail(error, SLM_ERR_ARGUMENT, where, "'%s' is not allowed: a number from %g to %g is", value,
                        row->min, row->max);
    memcpy(target, &number, sizeof number);
    return SLM_OK;
}

static slm_status parse_flag(const struct slm_option *row, const char *where, const char *value, void *target,
                             struct slm_error *error)
{
    (void)row;
    (void)where;
    (void)value;
    (void)error;
    *(bool *)target = true;
    return SLM_OK;
}

/* Borrowed: command line arguments live as long as the program. */
static slm_status parse_text(const struct slm_option *row, const char *where, const char *value, void *target,
                             struct slm_error *error)
{
    (void)row;
    (void)where;
    (void)error;
    memcpy(target, &value, sizeof value);
    return SLM_OK;
}

/* Appends; the row may be given again. */
static slm_status parse_list(const struct slm_option *row, const char *where, const char *value, void *target,
                             struct slm_error *error)
{
    struct slm_text_list *list = target;
    (void)row;
    if (value[0] == '\0') return bad_value(where, value, "a text of at least one character is", error);
    if (list->n == sizeof list->items / sizeof list->items[0])
        return slm_fail(error, SLM_ERR_ARGUMENT, where, "may be given at most %zu times", list->n);
    list->items[list->n++] = value;
    return SLM_OK;
}

/* The target becomes the index of the word. Empty words are defaults that cannot be typed. */
static slm_status parse_choice(const struct slm_option *row, const char *where, const char *value, void *target,
                               struct slm_error *error)
{
    struct slm_buf allowed = {0}; /* the words, for the message */
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], value) == 0) {
            memcpy(target, &i, sizeof i);
            return SLM_OK;
        }
        if (row->choices[i][0]) slm_buf_printf(&allowed, "%s%s", allowed.len ? ", " : "", row->choices[i]);
    }
    slm_status status = slm_fail(error, SLM_ERR_ARGUMENT, where, "'%s' is not allowed: one of %s is", value,
                                 allowed.data ? allowed.data : "");
    slm_buf_release(&allowed);
    return status;
}

/* "ID=BIAS", appended. strtof knows "-inf". */
static slm_status parse_bias(const struct slm_option *row, const char *where, const char *value, void *target,
                             struct slm_error *error)
{
    struct slm_bias_list *list = target;
    char *end;
    (void)row;
    errno = 0;
    long id = strtol(value, &end, 10);
    /* Split at "=", each half a whole number or a number and nothing else. */
    bool good = end != value && *end == '=' && errno == 0 && id >= 0 && id <= INT32_MAX;
    const char *number = good ? end + 1 : value;
    float bias = good ? strtof(number, &end) : 0.0f;
    if (!good || end == number || *end || isnan(bias) || bias == INFINITY)
        return bad_value(where, value, "ID=BIAS is, with a token id and a number (-inf bans the token)", error);
    if (list->n == sizeof list->items / sizeof list->items[0])
        return slm_fail(error, SLM_ERR_ARGUMENT, where, "may be given at most %zu times", list->n);
    list->items[list->n++] = (struct slm_logit_bias){(int32_t)id, bias};
    return SLM_OK;
}

/* One row a kind. copy_bytes is what slm_options_overlay copies; lists live in the struct they were parsed
 * into. */
static const struct {
    slm_status (*parse)(const struct slm_option *, const char *where, const char *value, void *target,
                        struct slm_error *);
    size_t copy_bytes;
} kinds[] = {
    [SLM_OPTION_FLAG] = {parse_flag, sizeof(bool)},
    [SLM_OPTION_INT] = {parse_int, sizeof(int32_t)},
    [SLM_OPTION_INTS] = {parse_ints, sizeof(struct slm_int_list)},
    [SLM_OPTION_U64] = {parse_u64, sizeof(uint64_t)},
    [SLM_OPTION_FLOAT] = {parse_float, sizeof(float)},
    [SLM_OPTION_TEXT] = {parse_text, 0},
    [SLM_OPTION_LIST] = {parse_list, 0},
    [SLM_OPTION_CHOICE] = {parse_choice, sizeof(int)},
    [SLM_OPTION_BIAS] = {parse_bias, 0},
};

slm_status slm_option_set(const struct slm_option_group *group, size_t row, const char *where, const char *value,
                          void *target, struct slm_error *error)
{
    const struct slm_option *option = &group->rows[row];
    SLM_TRY(kinds[option->kind].parse(option, where, value, (char *)target + option->offset, error));
    *(uint64_t *)target |= UINT64_C(1) << row;
    return SLM_OK;
}

void slm_options_overlay(const struct slm_option_group *group, const void *given, void *target)
{
    uint64_t seen = *(const uint64_t *)given;
    for (size_t i = 0; i < group->n_rows; i++) {
        const struct slm_option *option = &group->rows[i];
        if (seen >> i & 1)
            memcpy((char *)target + option->offset, (const char *)given + option->offset,
                   kinds[option->kind].copy_bytes);
    }
}

/* ---- parsing --------------------------------------------------------------------------------- */

/* An earlier group has a row of this name. */
static bool is_hidden(const struct slm_command *command, size_t group, const struct slm_option *row)
{
    for (size_t g = 0; g < group; g++)
        for (size_t r = 0; r < command->groups[g].n_rows; r++)
            if (strcmp(command->groups[g].rows[r].name, row->name) == 0) return true;
    return false;
}

/* Where a getopt value leads: group and row. */
struct slot {
    const struct slm_option_group *group;
    size_t row;
};

/* What getopt_long reads, made from the rows; and the way back from its answer to the row. */
struct tables {
    struct option longs[MAX_ROWS + 2]; /* with --help and the end */
    struct slot slots[MAX_ROWS];
    const char *names[MAX_ROWS + 1];
    char letters[2 * MAX_ROWS + 4];
    size_t n;
};

/* Long options get numbers above every letter, in order of the rows, so that the number is the slot. */
static void build_tables(const struct slm_command *command, struct tables *t)
{
    size_t n_letters = 0;
    t->letters[n_letters++] = ':'; /* tell a missing value from an unknown option */
    t->letters[n_letters++] = 'h';
    for (size_t g = 0; g < command->n_groups; g++) {
        for (size_t r = 0; r < command->groups[g].n_rows; r++) {
            const struct slm_option *row = &command->groups[g].rows[r];
            if (is_hidden(command, g, row)) continue;
            int has_arg = row->kind == SLM_OPTION_FLAG ? no_argument : required_argument;
            SLM_ASSERT(t->n < MAX_ROWS);
            t->slots[t->n] = (struct slot){&command->groups[g], r};
            t->longs[t->n] = (struct option){row->name, has_arg, NULL, FIRST_LONG + (int)t->n};
            t->names[t->n++] = row->name;
            if (row->letter) {
                t->letters[n_letters++] = row->letter;
                if (has_arg) t->letters[n_letters++] = ':';
            }
        }
    }
    t->names[t->n] = "help";
    t->longs[t->n] = (struct option){"help", no_argument, NULL, 'h'};
}

/* The row of a getopt value: by number for long options, by letter for short ones. */
static const struct slot *find_slot(const struct tables *t, int value)
{
    if (value >= FIRST_LONG) return &t->slots[value - FIRST_LONG];
    for (size_t i = 0; i < t->n; i++)
        if (t->slots[i].group->rows[t->slots[i].row].letter == value) return &t->slots[i];
    return NULL;
}

/* getopt says '?' for an unknown option, an ambiguous prefix, and a flag that was given a value. */
static slm_status fail_unknown(const struct slm_command *command, const struct tables *t, const char *word, int value,
                               struct slm_error *error)
{
    if (value >= FIRST_LONG)
        return slm_fail(error, SLM_ERR_ARGUMENT, command->name, "option --%s takes no value",
                        t->names[value - FIRST_LONG]);
    if (value > 0 && value != 'h')
        return slm_fail(error, SLM_ERR_ARGUMENT, command->name, "unknown option -%c; 'slm %s --help' lists them",
                        value, command->name);
    const char *near = slm_nearest(word + 2, t->names, t->n + 1);
    if (near)
        return slm_fail(error, SLM_ERR_ARGUMENT, command->name, "unknown option '%s'; did you mean --%s?", word,
                        near);
    return slm_fail(error, SLM_ERR_ARGUMENT, command->name,
                    "unknown or ambiguous option '%s'; 'slm %s --help' lists them", word, command->name);
}

/* getopt_long reorders argv so that arguments come last; what is left of them is counted here. */
slm_status slm_options_parse(const struct slm_command *command, void *options, int argc, char **argv, int *first_arg,
                             bool *help, struct slm_error *error)
{
    struct tables t = {.n = 0};
    build_tables(command, &t);
    *help = false;
    opterr = 0;
    optind = 0; /* start over: GNU's way to say it */
    for (;;) {
        int value = getopt_long(argc, argv, t.letters, t.longs, NULL);
        if (value == -1) break;
        /* getopt's own answers first. */
        if (value == '?') return fail_unknown(command, &t, argv[optind - 1], optopt, error);
        if (value == ':')
            return slm_fail(error, SLM_ERR_ARGUMENT, command->name, "option '%s' needs a value", argv[optind - 1]);
        if (value == 'h') {
            *help = true;
            return SLM_OK;
        }
        const struct slot *slot = find_slot(&t, value);
        SLM_ASSERT(slot != NULL);
        char where[64]; /* "run: --temp": what messages begin with */
        snprintf(where, sizeof where, "%s: --%s", command->name, slot->group->rows[slot->row].name);
        SLM_TRY(slm_option_set(slot->group, slot->row, where, optarg, (char *)options + slot->group->base, error));
    }
    *first_arg = optind;
    if (argc - optind > command->max_args)
        return slm_fail(error, SLM_ERR_ARGUMENT, command->name,
                        "unexpected argument '%s'; usage: slm %s %s (a text with spaces needs quotes)",
                        argv[optind + command->max_args], command->name, command->args);
    return SLM_OK;
}

/* ---- help ------------------------------------------------------------------------------------ */

/* Appends words from column HELP_COLUMN on, breaking lines at spaces. `column` is where the line stands. */
static void add_wrapped(struct slm_buf *out, const char *text, int column)
{
    if (column >= HELP_COLUMN) {
        slm_buf_puts(out, "\n");
        column = 0;
    }
    slm_buf_printf(out, "%*s", HELP_COLUMN - column, "");
    column = HELP_COLUMN;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
            slm_buf_printf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        if (column > HELP_COLUMN) {
            slm_buf_puts(out, " ");
            column++;
        }
        slm_buf_printf(out, "%.*s", word, text);
        column += word;
        text += word;
        text += *text == ' ';
    }
    slm_buf_puts(out, "\n");
}

/* "  -n, --name ARG      help". */
static void add_row(struct slm_buf *out, const struct slm_option *row)
{
    char left[80], letter[5] = "    ";
    if (row->letter) snprintf(letter, sizeof letter, "-%c, ", row->letter);
    int n =
        snprintf(left, sizeof left, "  %s--%s%s%s", letter, row->name, row->arg ? " " : "", row->arg ? row->arg : "");
    slm_buf_puts(out, left);
    add_wrapped(out, row->help, n + 1 > HELP_COLUMN - 1 ? HELP_COLUMN : n);
}

void slm_options_help(const struct slm_command *command, struct slm_buf *out)
{
    slm_buf_printf(out, "usage: slm %s %s%s\n\n%s.\n", command->name, command->args,
                   command->n_groups ? (command->args[0] ? " [options]" : "[options]") : "", command->summary);
    if (command->details) slm_buf_printf(out, "%s\n", command->details);
    for (size_t g = 0; g < command->n_groups; g++) {
        slm_buf_printf(out, "\n%s:\n", command->groups[g].title);
        for (size_t r = 0; r < command->groups[g].n_rows; r++)
            if (!is_hidden(command, g, &command->groups[g].rows[r])) add_row(out, &command->groups[g].rows[r]);
    }
    slm_buf_puts(out, "\n");
    static const struct slm_option help_row = {.name = "help", .letter = 'h', .help = "this text"};
    add_row(out, &help_row);
}

/* ---- near misses ----------------------------------------------------------------------------- */

/* Levenshtein distance with transpositions of neighbours counted once; words over NEAR_LIMIT are "far". */
static size_t distance(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    size_t rows[3][NEAR_LIMIT + 1]; /* the last three rows of the table: a swap looks back two */
    if (n_a > NEAR_LIMIT || n_b > NEAR_LIMIT) return NEAR_LIMIT;
    for (size_t j = 0; j <= n_b; j++) rows[0][j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n_a % 3][n_b];
}

const char *slm_nearest(const char *word, const char *const *names, size_t n)
{
    const char *nearest = NULL;
    size_t least = 3, word_bytes = strlen(word); /* three edits away is another word */
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, names[i]);
        if (d < least && d < word_bytes) {
            least = d;
            nearest = names[i];
        }
    }
    return nearest;
}
