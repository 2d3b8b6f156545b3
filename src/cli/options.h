/* SPDX-License-Identifier: MIT
 * Options as data: one row says an option's spelling, where its value goes, what is allowed and what help says.
 * The same rows drive getopt_long, the help, `/set parameter` of the chat and the messages about bad values. */
#ifndef SLM_CLI_OPTIONS_H
#define SLM_CLI_OPTIONS_H
#include "base/str.h"

enum slm_option_kind {
    SLM_OPTION_FLAG,   /* bool, set to true */
    SLM_OPTION_INT,    /* int32_t in [min, max] */
    SLM_OPTION_INTS,   /* struct slm_int_list: whole numbers in [min, max] with commas between them */
    SLM_OPTION_U64,    /* uint64_t, decimal or 0x... */
    SLM_OPTION_FLOAT,  /* float in [min, max] */
    SLM_OPTION_TEXT,   /* const char * */
    SLM_OPTION_LIST,   /* struct slm_text_list; may be given again */
    SLM_OPTION_CHOICE, /* int: index into choices */
    SLM_OPTION_BIAS,   /* struct slm_bias_list, "ID=BIAS"; may be given again */
};

struct slm_text_list {
    const char *items[32];
    size_t n;
};
enum { SLM_MAX_INTS = 16 };
struct slm_int_list {
    int32_t items[SLM_MAX_INTS];
    size_t n;
};
struct slm_bias_list {
    struct slm_logit_bias items[256];
    size_t n;
};

struct slm_option {
    const char *name; /* long spelling without dashes */
    char letter;      /* short spelling, 0 = none */
    enum slm_option_kind kind;
    size_t offset;              /* of the target in the group's struct */
    const char *arg;            /* name of the value in help; NULL for flags */
    const char *help;           /* one sentence without full stop */
    double min, max;            /* INT, INTS, FLOAT */
    const char *const *choices; /* CHOICE: NULL-terminated */
    const char *key;            /* name of the parameter in `/set parameter`, NULL = cannot be set there */
};

/* Rows that fill one struct, whose first member is `uint64_t seen`: bit i is set when row i was given. A row hides
 * those of the same name in the groups behind its own. */
struct slm_option_group {
    const char *title;
    const struct slm_option *rows;
    size_t n_rows;
    size_t base; /* of the struct in the command's options */
};

struct slm_command {
    const char *name;
    const char *args;    /* "[MODEL] [PROMPT]", for help */
    const char *summary; /* one line */
    const char *details; /* paragraphs for its own help, newline-separated lines of at most 80 characters */
    const struct slm_option_group *groups;
    size_t n_groups;
    size_t options_bytes;                               /* of the command's options struct, zeroed before parsing */
    int max_args;                                       /* positional arguments */
    int (*run)(void *options, int n_args, char **args); /* returns the exit code */
};

/* Parses argv[1..argc) into options; the positional arguments end up in argv[*first_arg..argc). help is set
 * when
 * --help was asked for. SLM_ERR_ARGUMENT names the option, the value and what is allowed. */
slm_status slm_options_parse(const struct slm_command *command, void *options, int argc, char **argv, int *first_arg,
                             bool *help, struct slm_error *error);
/* Parses one value into group struct `target` and marks it seen. where names the option in messages. */
slm_status slm_option_set(const struct slm_option_group *group, size_t row, const char *where, const char *value,
                          void *target, struct slm_error *error);
/* Copies the values that were given from one group struct over those of another (numbers and flags only). */
void slm_options_overlay(const struct slm_option_group *group, const void *given, void *target);
/* The help of one command. */
void slm_options_help(const struct slm_command *command, struct slm_buf *out);
/* The word of names[0..n) that is likely meant by `word`, or NULL when none is near. */
const char *slm_nearest(const char *word, const char *const *names, size_t n);
#endif
