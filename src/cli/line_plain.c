/* SPDX-License-Identifier: MIT
 *
 * The line reader of builds without libedit: the terminal's own line editing, no history. */
#include "base/os.h"
#include "cli/line.h"

struct slm_line {
    char unused; /* C has no empty structs */
};

slm_status slm_line_open(const char *history_path, struct slm_line **out, struct slm_error *error)
{
    (void)history_path;
    *out = slm_alloc(1, sizeof **out, "line reader", error);
    return *out ? SLM_OK : SLM_ERR_MEMORY;
}

void slm_line_close(struct slm_line *line) { slm_release(line); }

enum slm_line_result slm_line_read(struct slm_line *line, const char *prompt, struct slm_buf *text)
{
    (void)line;
    return slm_line_read_plain(prompt, text);
}

void slm_line_remember(struct slm_line *line, const char *text)
{
    (void)line;
    (void)text;
}
