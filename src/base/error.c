/* SPDX-License-Identifier: MIT
 *
 * Filling struct slm_error, and the one place where the library may stop the program.
 *
 * Text in errors often quotes bytes of files nobody vouched for (tensor names, metadata keys). It
 * ends up on terminals and in logs, so slm_fail passes the finished sentence through slm_escape: no
 * control byte, no broken UTF-8, no direction override reaches the reader. Formatting goes to local
 * buffers first, because callers wrap errors in place (`slm_fail(error, error->status, path, "%s",
 * error->message)`).
 *
 * Deliberately not here: printing errors, error chains, translations. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

/* The end of a place says most ("/long/path/model.gguf: key 'x'"), so what does not fit is cut from the front. */
static void copy_tail(char *out, size_t cap, const char *text)
{
    size_t len = strlen(text);
    if (len < cap) {
        memcpy(out, text, len + 1);
        return;
    }
    const char *tail = text + len - (cap - sizeof "...");
    while (((unsigned char)*tail & 0xC0) == 0x80) tail++; /* not in the middle of a character */
    (void)snprintf(out, cap, "...%s", tail);
}

slm_status slm_fail(struct slm_error *error, slm_status status, const char *where, const char *format, ...)
{
    if (error == NULL) return status;
    /* Larger than what is kept: a sentence cut here, perhaps inside a character, is cut again below at a whole one. */
    char message[sizeof error->message * 2];
    char place[sizeof error->where];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n < 0) message[0] = '\0';
    copy_tail(place, sizeof place, where ? where : "");
    error->status = status;
    slm_escape(error->where, sizeof error->where, slm_str(place));
    slm_escape(error->message, sizeof error->message, slm_str(message));
    return status;
}

slm_status slm_fail_memory(struct slm_error *error, const char *where, size_t bytes)
{
    return slm_fail(error, SLM_ERR_MEMORY, where, "out of memory: %zu bytes were asked for", bytes);
}

void slm_assert_failed(const char *cond, const char *file, int line)
{
    /* The only print and the only abort of the library: after a broken invariant nothing can be trusted. */
    (void)fprintf(stderr, "slm: internal error: %s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}
