/* SPDX-License-Identifier: MIT
 * Strings as (pointer, length): a view that owns nothing, and a growing buffer that owns its bytes.
 * */
#ifndef SLM_BASE_STR_H
#define SLM_BASE_STR_H
#include <stdarg.h>
#include <string.h>
#include "base/error.h"

struct slm_str { const char *ptr; size_t len; }; /* not NUL-terminated; ptr may be NULL when len is 0 */

static inline struct slm_str slm_str(const char *text) { return (struct slm_str){text, text ? strlen(text) : 0}; }
static inline bool slm_str_equal(struct slm_str a, struct slm_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool slm_str_is(struct slm_str a, const char *text) { return slm_str_equal(a, slm_str(text)); }
bool slm_str_starts_with(struct slm_str a, struct slm_str prefix);
uint64_t slm_hash_bytes(const void *data, size_t bytes, uint64_t seed); /* for hash tables; not cryptographic */

/* Writes a printable copy of s to out[0..cap), always NUL-terminated (cap >= 1), cut at a whole
 * unit when it does not fit: control characters, line and direction overrides and invalid UTF-8
 * become \xNN per byte. Returns the length. */
size_t slm_escape(char *out, size_t cap, struct slm_str s);

/* A growing byte buffer; a zeroed struct is empty. Appending is amortised linear. After a failed
 * append `failed` is set and later appends do nothing, so a long emitter can check once at the end.
 * data is always NUL-terminated when not NULL. */
struct slm_buf {
    char *data;
    size_t len, cap, limit; /* limit 0 = none: going over it fails with SLM_ERR_LIMIT */
    slm_status failed;
};
bool slm_buf_add(struct slm_buf *buf, const void *data, size_t bytes);
bool slm_buf_add_str(struct slm_buf *buf, struct slm_str s);
bool slm_buf_puts(struct slm_buf *buf, const char *text);
bool slm_buf_printf(struct slm_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool slm_buf_add_json_string(struct slm_buf *buf, struct slm_str s); /* quoted, escaped; bad UTF-8 as U+FFFD */
void slm_buf_clear(struct slm_buf *buf);   /* keeps the memory */
void slm_buf_release(struct slm_buf *buf);
/* SLM_OK, or the recorded failure as an error. */
slm_status slm_buf_status(const struct slm_buf *buf, const char *where, struct slm_error *error);
#endif
