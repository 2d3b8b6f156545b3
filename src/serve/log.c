/* SPDX-License-Identifier: MIT
 *
 * One line an event, with the time in UTC in front. Values from outside are quoted and escaped as JSON has it in both
 * formats, so that no client can end a line or paint a terminal.
 *
 * Deliberately not here: files and their rotation; whoever runs the server collects its stderr. */
#include "serve/log.h"

#include <stdio.h>
#include <time.h>

#include "base/os.h"

static const char *const levels[] = {"error", "warn", "info", "debug"};

static void add_time(struct slm_buf *out)
{
    const int64_t now_ms = slm_os()->unix_ns() / 1000000;
    const time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    char text[32];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    slm_buf_printf(out, "%s.%03dZ", text, (int)(now_ms % 1000));
}

void slm_line_begin(struct slm_log_line *line, const struct slm_serve_log *log, enum slm_log_level level,
                    const char *words)
{
    *line = (struct slm_log_line){.log = log->write && level <= log->most ? log : NULL};
    if (!line->log) return;
    if (log->format == SLM_LOG_JSON) {
        slm_buf_puts(&line->text, "{\"time\":\"");
        add_time(&line->text);
        slm_buf_printf(&line->text, "\",\"level\":\"%s\",\"msg\":", levels[level]);
        slm_buf_add_json_string(&line->text, slm_str(words));
    } else {
        add_time(&line->text);
        slm_buf_printf(&line->text, " %s %s", levels[level], words);
    }
}

static bool add_key(struct slm_log_line *line, const char *key)
{
    if (!line->log) return false;
    if (line->log->format == SLM_LOG_JSON) slm_buf_printf(&line->text, ",\"%s\":", key);
    else slm_buf_printf(&line->text, " %s=", key);
    return true;
}

/* Words without surprises need no quotes in text. */
static bool is_plain(struct slm_str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] <= ' ' || value.ptr[i] > '~' || strchr("\"\\=", value.ptr[i])) return false;
    return value.len > 0;
}

void slm_line_text(struct slm_log_line *line, const char *key, struct slm_str value)
{
    if (!add_key(line, key)) return;
    if (line->log->format == SLM_LOG_TEXT && is_plain(value)) slm_buf_add_str(&line->text, value);
    else slm_buf_add_json_string(&line->text, value);
}

void slm_line_int(struct slm_log_line *line, const char *key, int64_t value)
{
    if (add_key(line, key)) slm_buf_printf(&line->text, "%lld", (long long)value);
}

void slm_line_ms(struct slm_log_line *line, const char *key, double seconds)
{
    if (add_key(line, key)) slm_buf_printf(&line->text, "%.2f", seconds * 1e3);
}

void slm_line_end(struct slm_log_line *line)
{
    if (!line->log) return;
    slm_buf_puts(&line->text, line->log->format == SLM_LOG_JSON ? "}\n" : "\n");
    if (!line->text.failed) line->log->write(line->log->user, line->text.data, line->text.len);
    slm_buf_release(&line->text);
}

void slm_line(const struct slm_serve_log *log, enum slm_log_level level, const char *format, ...)
{
    char raw[1024], words[2048];
    struct slm_log_line line;
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    slm_escape(words, sizeof words, slm_str(raw));
    slm_line_begin(&line, log, level, words);
    slm_line_end(&line);
}
