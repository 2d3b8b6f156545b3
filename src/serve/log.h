/* SPDX-License-Identifier: MIT
 * Lines of the server's log: words and fields, as text for people or as JSON for programs. What a client asks a model
 * and what it answers never gets here. */
#ifndef SLM_SERVE_LOG_H
#define SLM_SERVE_LOG_H
#include "base/log.h"
#include "base/str.h"

enum slm_log_format { SLM_LOG_TEXT, SLM_LOG_JSON };
struct slm_serve_log {
    enum slm_log_format format;
    enum slm_log_level most;
    void (*write)(void *user, const char *line, size_t bytes); /* with its newline; from any thread */
    void *user;
};
/* A line that is being put together. Nothing is done when the log does not want its level. */
struct slm_log_line { const struct slm_serve_log *log; struct slm_buf text; };
void slm_line_begin(struct slm_log_line *line, const struct slm_serve_log *log, enum slm_log_level level,
                    const char *words);
void slm_line_text(struct slm_log_line *line, const char *key, struct slm_str value);
void slm_line_int(struct slm_log_line *line, const char *key, int64_t value);
void slm_line_ms(struct slm_log_line *line, const char *key, double seconds);
void slm_line_end(struct slm_log_line *line);
/* A line of words alone. */
void slm_line(const struct slm_serve_log *log, enum slm_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
