/* SPDX-License-Identifier: MIT
 *
 * One sink, installed by the program (cli, serve) before it starts threads; none by default, so the
 * library is silent. Formatting happens only when the sink wants the level. Deliberately not here:
 * time stamps, files, rotation, colours: they belong to the sink. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"

static struct { slm_log_fn fn; void *user; enum slm_log_level most; } sink;

void slm_log_sink(slm_log_fn fn, void *user, enum slm_log_level most)
{
    sink.fn = fn;
    sink.user = user;
    sink.most = most;
}

void slm_log(enum slm_log_level level, const char *format, ...)
{
    if (sink.fn == NULL || level > sink.most) return;
    char text[2048], line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) return;
    slm_escape(line, sizeof line, slm_str(text));
    sink.fn(sink.user, level, line);
}
