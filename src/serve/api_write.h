/* SPDX-License-Identifier: MIT
 * Answers, written as JSON into a buffer from left to right: no tree, commas where they belong. Every value is named
 * where it is written; NULL as a name is an element of an array.
 *
 * Deliberately not here: the shapes of answers (api_*.c). */
#ifndef SLM_SERVE_API_WRITE_H
#define SLM_SERVE_API_WRITE_H
#include "base/str.h"

void slm_write_begin(struct slm_buf *out, const char *name, char bracket); /* '{' or '[' */
void slm_write_end(struct slm_buf *out, char bracket);                     /* '}' or ']' */
void slm_write_text(struct slm_buf *out, const char *name, const char *text); /* NULL: null */
void slm_write_str(struct slm_buf *out, const char *name, struct slm_str text);
void slm_write_int(struct slm_buf *out, const char *name, int64_t number);
void slm_write_float(struct slm_buf *out, const char *name, double number);   /* not finite: null */
void slm_write_bool(struct slm_buf *out, const char *name, bool value);
void slm_write_null(struct slm_buf *out, const char *name);
/* JSON as it is, but without white space between tokens: a line stays a line. */
void slm_write_json(struct slm_buf *out, const char *name, struct slm_str json);
/* Numbers as shortest decimals that read back as the same float. */
void slm_write_vector(struct slm_buf *out, const char *name, const float *numbers, size_t n);
void slm_write_base64(struct slm_buf *out, const char *name, const void *data, size_t bytes);
/* "2026-11-21T16:30:05.123456789Z" */
struct slm_timestamp { char text[40]; };
struct slm_timestamp slm_timestamp(int64_t unix_ns);
#endif
