/* SPDX-License-Identifier: MIT
 *
 * What both line readers share: Ctrl-C as a flag, and reading a line without an editor. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/line.h"

enum { MAX_LINE_BYTES = 64 << 20 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void slm_line_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: a waiting read must return */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool slm_line_interrupted(void) { return interrupted != 0; }

bool slm_line_take_interrupt(void)
{
    bool was = interrupted != 0;
    interrupted = 0;
    return was;
}

enum slm_line_result slm_line_read_plain(const char *prompt, struct slm_buf *text)
{
    slm_buf_clear(text);
    text->limit = MAX_LINE_BYTES;
    if (isatty(STDIN_FILENO)) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    for (;;) {
        int c = getc(stdin);
        if (c == '\n') return SLM_LINE_OK;
        if (c != EOF) {
            char byte = (char)c;
            slm_buf_add(text, &byte, 1);
            continue;
        }
        if (ferror(stdin) && errno == EINTR) {
            clearerr(stdin);
            if (slm_line_take_interrupt()) return SLM_LINE_INTERRUPTED;
            continue;
        }
        return text->len > 0 ? SLM_LINE_OK : SLM_LINE_END; /* a last line without newline is a line */
    }
}
