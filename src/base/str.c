/* SPDX-License-Identifier: MIT
 *
 * String views, the growing buffer, and the two ways text leaves the library safely: escaped for
 * people (slm_escape) and escaped for JSON (slm_buf_add_json_string).
 *
 * The buffer remembers its first failure instead of reporting each one: an emitter of two hundred
 * appends stays readable and checks once at the end with slm_buf_status. Deliberately not here:
 * search, splitting, number parsing. */
#include "base/str.h"

#include <stdio.h>

#include "base/checked.h"
#include "base/os.h"
#include "base/utf8.h"

bool slm_str_starts_with(struct slm_str a, struct slm_str prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

/* ---- hash ---------------------------------------------------------------------------------------- */

/* A bijection of 64 bits in which every input bit reaches every output bit. */
static uint64_t mix64(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xE9846AF9B1A615D5);
    x ^= x >> 29;
    x *= UINT64_C(0x9E3779B97F4A7C15);
    x ^= x >> 32;
    return x;
}

/* Chained over 8-byte words. The length goes in at the start, so that "a" and "a\0" differ. */
uint64_t slm_hash_bytes(const void *data, size_t bytes, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t hash = mix64(seed + UINT64_C(0x9E3779B97F4A7C15)) + bytes;
    while (bytes > 0) {
        size_t n = bytes < 8 ? bytes : 8;
        uint64_t word = 0;
        /* Assembled byte by byte so that big-endian machines agree; compilers make one load of it. */
        for (size_t i = 0; i < n; i++) word |= (uint64_t)p[i] << (8 * i);
        hash = mix64(hash ^ word) + UINT64_C(0x9E3779B97F4A7C15);
        p += n;
        bytes -= n;
    }
    return mix64(hash);
}

/* ---- escaping for people -------------------------------------------------------------------------- */

/* Characters that a terminal or a log reader would act on instead of showing: C0, DEL, C1,
 * line/paragraph separators and the direction overrides that make text read differently from what
 * it is. */
static bool acts_on_reader(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || (cp >= 0x2028 && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069);
}

size_t slm_escape(char *out, size_t cap, struct slm_str s)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = 0;
    for (size_t at = 0; at < s.len;) {
        uint32_t cp = 0;
        int n = slm_utf8_decode(s.ptr + at, s.len - at, &cp);
        bool plain = n > 0 && !acts_on_reader(cp);
        size_t step = n > 0 ? (size_t)n : 1;
        size_t need = plain ? step : 4 * step;
        if (need >= cap - len) break;
        for (size_t i = 0; i < step; i++) {
            unsigned char byte = (unsigned char)s.ptr[at + i];
            if (plain) {
                out[len++] = (char)byte;
                continue;
            }
            out[len++] = '\\';
            out[len++] = 'x';
            out[len++] = hex[byte >> 4];
            out[len++] = hex[byte & 15];
        }
        at += step;
    }
    out[len] = '\0';
    return len;
}

/* ---- buffer -------------------------------------------------------------------------------------- */

static bool buf_fail(struct slm_buf *buf, slm_status status)
{
    buf->failed = status;
    return false;
}

/* Makes room for `bytes` more and the NUL. Doubling, so that n appends cost O(n). */
static bool buf_reserve(struct slm_buf *buf, size_t bytes)
{
    if (buf->failed != SLM_OK) return false;
    size_t need;
    if (!slm_add_size(buf->len, bytes, &need) || !slm_add_size(need, 1, &need)) return buf_fail(buf, SLM_ERR_MEMORY);
    if (buf->limit != 0 && need - 1 > buf->limit) return buf_fail(buf, SLM_ERR_LIMIT);
    if (need <= buf->cap) return true;
    size_t cap = buf->cap > SIZE_MAX / 2 ? need : buf->cap * 2;
    if (cap < 64) cap = 64;
    if (cap < need) cap = need;
    char *data = slm_realloc(buf->data, cap, 1, "buffer", NULL);
    if (data == NULL) return buf_fail(buf, SLM_ERR_MEMORY);
    buf->data = data;
    buf->cap = cap;
    return true;
}

bool slm_buf_add(struct slm_buf *buf, const void *data, size_t bytes)
{
    if (!buf_reserve(buf, bytes)) return false;
    if (bytes > 0) memcpy(buf->data + buf->len, data, bytes);
    buf->len += bytes;
    buf->data[buf->len] = '\0';
    return true;
}

bool slm_buf_add_str(struct slm_buf *buf, struct slm_str s) { return slm_buf_add(buf, s.ptr, s.len); }

bool slm_buf_puts(struct slm_buf *buf, const char *text) { return slm_buf_add(buf, text, strlen(text)); }

/* Formats in place when the piece fits, else measures with that same call and formats once more. The limit counts
 * even when the memory would do. */
bool slm_buf_printf(struct slm_buf *buf, const char *format, ...)
{
    if (!buf_reserve(buf, 0)) return false;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    /* First try into what is there: most pieces fit, and formatting twice is the exception. */
    int n = vsnprintf(buf->data + buf->len, buf->cap - buf->len, format, args);
    bool done = n >= 0 && (size_t)n < buf->cap - buf->len && (buf->limit == 0 || buf->len + (size_t)n <= buf->limit);
    if (n < 0) {
        (void)buf_fail(buf, SLM_ERR_ARGUMENT);
    } else if (!done && buf_reserve(buf, (size_t)n)) {
        (void)vsnprintf(buf->data + buf->len, buf->cap - buf->len, format, again);
        done = true;
    }
    va_end(again);
    va_end(args);
    if (done) buf->len += (size_t)n;
    buf->data[buf->len] = '\0'; /* a failed append leaves what was there */
    return done;
}

/* The escape of an ASCII character inside a JSON string, or NULL when it stands for itself. */
static const char *json_escape(unsigned char c, char unicode[8])
{
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
    }
    if (c >= 0x20) return NULL;
    (void)snprintf(unicode, 8, "\\u%04x", (unsigned)c);
    return unicode;
}

/* Runs of plain text are appended in one piece: strings are long and escapes rare. */
bool slm_buf_add_json_string(struct slm_buf *buf, struct slm_str s)
{
    slm_buf_add(buf, "\"", 1);
    size_t start = 0, at = 0; /* s[start..at) is pending text that needs no escape */
    while (at < s.len && buf->failed == SLM_OK) {
        uint32_t cp = 0;
        char unicode[8];
        const char *replacement = NULL;
        int n = slm_utf8_decode(s.ptr + at, s.len - at, &cp);
        size_t step = (size_t)n;
        if (n <= 0) {
            step = slm_utf8_bad_length(s.ptr + at, s.len - at);
            replacement = "\xEF\xBF\xBD";
        } else if (cp < 0x80) {
            replacement = json_escape((unsigned char)cp, unicode);
        }
        if (replacement != NULL) {
            slm_buf_add(buf, s.ptr + start, at - start);
            slm_buf_puts(buf, replacement);
            start = at + step;
        }
        at += step;
    }
    if (at > start) slm_buf_add(buf, s.ptr + start, at - start);
    return slm_buf_add(buf, "\"", 1);
}

/* A cleared buffer may be used again, also after a failure. */
void slm_buf_clear(struct slm_buf *buf)
{
    buf->len = 0;
    buf->failed = SLM_OK;
    if (buf->data != NULL) buf->data[0] = '\0';
}

void slm_buf_release(struct slm_buf *buf)
{
    slm_release(buf->data);
    *buf = (struct slm_buf){.limit = buf->limit};
}

slm_status slm_buf_status(const struct slm_buf *buf, const char *where, struct slm_error *error)
{
    if (buf->failed == SLM_OK) return SLM_OK;
    if (buf->failed == SLM_ERR_MEMORY) return slm_fail_memory(error, where, buf->len);
    if (buf->failed == SLM_ERR_LIMIT)
        return slm_fail(error, SLM_ERR_LIMIT, where, "text grows beyond the allowed %zu bytes", buf->limit);
    return slm_fail(error, buf->failed, where, "text could not be formatted");
}
