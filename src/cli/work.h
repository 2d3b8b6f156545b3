/* SPDX-License-Identifier: MIT
 * What commands share that work long: a bar with the time that is left, notes, and Ctrl-C, which tells the library to
 * stop so that it takes its unfinished files away. And the arguments of those that write models. */
#ifndef SLM_CLI_WORK_H
#define SLM_CLI_WORK_H
#include "cli/cli.h"

struct slm_cli_work {
    const char *name; /* of the command, for notes */
    struct slm_cli_progress bar;
    bool show_bar, quiet;
};

/* From here on SIGINT and SIGTERM are only noted. */
void slm_cli_work_begin(struct slm_cli_work *work, const char *name, const char *label, bool quiet);
/* For the library's options; user is the work. */
bool slm_cli_work_progress(void *user, uint64_t done, uint64_t total);
void slm_cli_work_note(void *user, const char *sentence);
/* Takes the bar away. The exit code of what ended with this status; the error is printed. */
int slm_cli_work_end(struct slm_cli_work *work, slm_status status, const struct slm_error *error);

/* "2G", "500M", "64K", plain bytes: powers of 1000, as llama.cpp's splitter has them. False when it is none of
 * these. */
bool slm_cli_parse_size(const char *text, uint64_t *out);

struct slm_cli_rules {
    struct slm_convert_rule rules[32];
    char *copies[32];
    size_t n;
};
/* "NAME=TYPE" cut at the last "=": types have none. False when one is not of this form. */
bool slm_cli_parse_rules(const struct slm_text_list *list, struct slm_cli_rules *out);
void slm_cli_release_rules(struct slm_cli_rules *rules);
/* One line about the files that were written, on stderr: there is no data for stdout. */
int slm_cli_report_files(const struct slm_convert_result *result, const char *out, double seconds);
#endif
