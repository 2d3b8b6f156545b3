/* SPDX-License-Identifier: MIT
 * Logging for programs (cli, serve): the library itself never logs unless a sink is installed. */
#ifndef SLM_BASE_LOG_H
#define SLM_BASE_LOG_H
enum slm_log_level { SLM_LOG_ERROR, SLM_LOG_WARN, SLM_LOG_INFO, SLM_LOG_DEBUG };
/* One line, no newline, control characters already escaped. */
typedef void (*slm_log_fn)(void *user, enum slm_log_level level, const char *line);
void slm_log_sink(slm_log_fn fn, void *user, enum slm_log_level most); /* NULL = silent (the default) */
void slm_log(enum slm_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
