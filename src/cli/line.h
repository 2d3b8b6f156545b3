/* SPDX-License-Identifier: MIT
 * Reading lines from a person: with editing and history where libedit is there and stdin is a terminal
 * (line_edit.c), plainly elsewhere (line_plain.c). The build compiles one of the two; both read plainly through
 * line_common.c. */
#ifndef SLM_CLI_LINE_H
#define SLM_CLI_LINE_H
#include "base/str.h"

struct slm_line; /* a reader of lines from stdin */

enum slm_line_result { SLM_LINE_OK, SLM_LINE_END, SLM_LINE_INTERRUPTED };

/* history_path: file that keeps earlier lines, NULL = none. Returns owned *out. */
slm_status slm_line_open(const char *history_path, struct slm_line **out, struct slm_error *error);
void slm_line_close(struct slm_line *line); /* writes the history; NULL is fine */
/* Replaces *text with the next line, without its newline; a pasted text may bring newlines inside. The prompt
 * is shown on terminals only. INTERRUPTED: Ctrl-C was typed. */
enum slm_line_result slm_line_read(struct slm_line *line, const char *prompt, struct slm_buf *text);
/* Keeps an input for the history. */
void slm_line_remember(struct slm_line *line, const char *text);

/* From here on Ctrl-C sets a flag instead of ending the program, and interrupts a waiting read. */
void slm_line_catch_interrupts(void);
/* Whether Ctrl-C was typed since the last call. */
bool slm_line_take_interrupt(void);
bool slm_line_interrupted(void); /* the same, without forgetting it */

/* A line from stdin without an editor: for both implementations. */
enum slm_line_result slm_line_read_plain(const char *prompt, struct slm_buf *text);
#endif
