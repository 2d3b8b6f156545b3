/* SPDX-License-Identifier: MIT
 *
 * The line reader of builds with libedit: editing, history, bracketed paste.
 *
 * Through libedit's own interface, not its readline imitation, because two things need it: Ctrl-C must end the
 * read (libedit swallows the first EINTR, so the function that reads characters is ours), and a paste must not
 * be taken for typing. A terminal with bracketed paste wraps pasted text in ESC [200~ and ESC [201~. One line
 * of it is inserted as if typed; several lines are kept aside under a mark like [paste 1: 12 lines], and take
 * the mark's place when the line is done, so that no newline in a paste sends half a question. */
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/os.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/line.h"

enum { HISTORY_LINES = 1000, MAX_PASTES = 32, MAX_PASTE_BYTES = 16 << 20 };

static const char paste_end[] = "\033[201~";

struct slm_line {
    EditLine *editor; /* NULL: stdin is no terminal, lines are read plainly */
    History *history;
    char *history_path;
    const char *prompt;
    struct slm_buf pastes[MAX_PASTES];
    size_t n_pastes;
    bool interrupted;
};

static char *show_prompt(EditLine *editor)
{
    struct slm_line *line = NULL;
    el_get(editor, EL_CLIENTDATA, &line);
    return (char *)(uintptr_t)line->prompt; /* libedit wants char * and does not write */
}

/* Waits for input; false: Ctrl-C came first. The signal is held back but while waiting, so that one which arrives just
 * before is not waited past: a flag that is looked at, then a read that blocks, would miss it. */
static bool wait_for_input(void)
{
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    bool caught = slm_line_take_interrupt();
    while (!caught && ppoll(&input, 1, NULL, &before) < 0 && errno == EINTR) caught = slm_line_take_interrupt();
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !caught;
}

/* Reads one character as UTF-8, whatever the locale says. 1 = read, 0 = end, -1 = Ctrl-C or error. */
static int read_character(EditLine *editor, wchar_t *out)
{
    struct slm_line *line = NULL;
    char bytes[4];
    size_t n = 0;
    el_get(editor, EL_CLIENTDATA, &line);
    for (;;) {
        if (!wait_for_input()) {
            line->interrupted = true;
            return -1;
        }
        ssize_t got = read(STDIN_FILENO, bytes + n, 1); /* there is something: it does not block */
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) return 0;
        n++;
        uint32_t cp;
        int length = slm_utf8_decode(bytes, n, &cp);
        if (length < 0 && n < sizeof bytes) continue; /* more bytes belong to it */
        *out = length > 0 ? (wchar_t)cp : L'?';
        return 1;
    }
}

/* Collects a paste up to its end mark. False when the input ended first. */
static bool collect_paste(EditLine *editor, struct slm_buf *text)
{
    const size_t n_end = sizeof paste_end - 1;
    wchar_t wide;
    char utf8[4];
    text->limit = MAX_PASTE_BYTES;
    while (read_character(editor, &wide) == 1) {
        if (wide == L'\r') wide = L'\n'; /* terminals send the Enter key's code */
        slm_buf_add(text, utf8, (size_t)slm_utf8_encode((uint32_t)wide, utf8));
        if (text->len >= n_end && memcmp(text->data + text->len - n_end, paste_end, n_end) == 0) {
            text->len -= n_end;
            text->data[text->len] = '\0';
            return true;
        }
    }
    return false;
}

/* The text that stands for paste number index in the line. */
static void paste_mark(char out[48], size_t index, const struct slm_buf *text)
{
    size_t n_lines = 1;
    for (size_t i = 0; i + 1 < text->len; i++) n_lines += text->data[i] == '\n';
    snprintf(out, 48, "[paste %zu: %zu lines]", index + 1, n_lines);
}

/* Called by libedit at ESC [200~; the paste itself is read here. */
static unsigned char on_paste(EditLine *editor, int key)
{
    struct slm_line *line = NULL;
    (void)key;
    el_get(editor, EL_CLIENTDATA, &line);
    if (line->n_pastes == MAX_PASTES) return CC_ERROR;
    struct slm_buf *text = &line->pastes[line->n_pastes];
    slm_buf_clear(text);
    if (!collect_paste(editor, text)) return CC_EOF;
    if (text->len == 0) return CC_REFRESH;
    if (!strchr(text->data, '\n')) return el_insertstr(editor, text->data) == 0 ? CC_REFRESH : CC_ERROR;
    char mark[48];
    paste_mark(mark, line->n_pastes++, text);
    return el_insertstr(editor, mark) == 0 ? CC_REFRESH : CC_ERROR;
}

/* Puts the pasted texts in the place of their marks; a mark that was edited stays as typed. */
static void expand_pastes(struct slm_line *line, const char *typed, size_t bytes, struct slm_buf *text)
{
    size_t from = 0, at = 0;
    while (at < bytes) {
        size_t mark_bytes = 0, index = 0;
        for (size_t i = 0; i < line->n_pastes && typed[at] == '[' && mark_bytes == 0; i++) {
            char mark[48];
            paste_mark(mark, i, &line->pastes[i]);
            size_t n = strlen(mark);
            if (bytes - at >= n && memcmp(typed + at, mark, n) == 0) mark_bytes = n;
            index = i;
        }
        if (mark_bytes > 0) {
            slm_buf_add(text, typed + from, at - from);
            slm_buf_add(text, line->pastes[index].data, line->pastes[index].len);
            from = at + mark_bytes;
        }
        at += mark_bytes > 0 ? mark_bytes : 1;
    }
    slm_buf_add(text, typed + from, bytes - from);
    line->n_pastes = 0;
}

/* A history that cannot be read or written is no reason not to chat. */
static void open_history(struct slm_line *line, const char *path)
{
    HistEvent event;
    line->history = history_init();
    if (!line->history) return;
    history(line->history, &event, H_SETSIZE, HISTORY_LINES);
    history(line->history, &event, H_SETUNIQUE, 1);
    el_set(line->editor, EL_HIST, history, line->history);
    if (!path) return;
    history(line->history, &event, H_LOAD, path);
    line->history_path = slm_alloc(strlen(path) + 1, 1, "history", NULL);
    if (line->history_path) memcpy(line->history_path, path, strlen(path) + 1);
}

slm_status slm_line_open(const char *history_path, struct slm_line **out, struct slm_error *error)
{
    struct slm_line *line = slm_alloc(1, sizeof *line, "line reader", error);
    *out = line;
    if (!line) return SLM_ERR_MEMORY;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return SLM_OK;
    /* libedit shows what the locale can show. Only the character type: numbers must keep their point. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
    line->prompt = "";
    line->editor = el_init("slm", stdin, stdout, stderr);
    if (!line->editor) return SLM_OK; /* an unknown terminal: plain reading still works */
    el_set(line->editor, EL_CLIENTDATA, line);
    el_set(line->editor, EL_PROMPT, show_prompt);
    el_set(line->editor, EL_EDITOR, "emacs");
    el_set(line->editor, EL_GETCFN, read_character);
    /* The wide call: the narrow one copies both texts and never frees them. */
    el_wset(line->editor, EL_ADDFN, L"slm-paste", L"insert pasted text", on_paste);
    el_set(line->editor, EL_BIND, "\\e[200~", "slm-paste", NULL);
    el_set(line->editor, EL_BIND, "\\e[1;5C", "em-next-word", NULL);
    el_set(line->editor, EL_BIND, "\\e[1;5D", "ed-prev-word", NULL);
    open_history(line, history_path);
    return SLM_OK;
}

void slm_line_close(struct slm_line *line)
{
    HistEvent event;
    if (!line) return;
    if (line->history_path) history(line->history, &event, H_SAVE, line->history_path);
    if (line->history) history_end(line->history);
    if (line->editor) el_end(line->editor);
    for (size_t i = 0; i < MAX_PASTES; i++) slm_buf_release(&line->pastes[i]);
    slm_release(line->history_path);
    slm_release(line);
}

enum slm_line_result slm_line_read(struct slm_line *line, const char *prompt, struct slm_buf *text)
{
    int bytes = 0;
    if (!line->editor) return slm_line_read_plain(prompt, text);
    slm_buf_clear(text);
    line->prompt = prompt;
    line->interrupted = false;
    line->n_pastes = 0;
    el_resize(line->editor);               /* the window may have changed while an answer was printed */
    el_set(line->editor, EL_PREP_TERM, 1); /* before the prompt: whoever sees it may type anything at once */
    fputs("\033[?2004h", stdout);
    fflush(stdout);
    const char *typed = el_gets(line->editor, &bytes);
    fputs("\033[?2004l", stdout);
    fflush(stdout);
    if (line->interrupted) {
        el_reset(line->editor);
        fputs("\n", stdout);
        return SLM_LINE_INTERRUPTED;
    }
    if (!typed || bytes <= 0) return SLM_LINE_END;
    if (typed[bytes - 1] == '\n') bytes--;
    expand_pastes(line, typed, (size_t)bytes, text);
    return SLM_LINE_OK;
}

void slm_line_remember(struct slm_line *line, const char *text)
{
    HistEvent event;
    if (line->history && text[0]) history(line->history, &event, H_ENTER, text);
}
