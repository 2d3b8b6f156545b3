/* SPDX-License-Identifier: MIT
 * Writing JSON by appending. Whether a comma is due shows in the last byte: after an opening bracket, a colon or
 * nothing there is none. So there is no state to keep, and pieces written elsewhere can be put in between.
 * Deliberately
 * not here: what answers look like. */
#include "serve/api_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void add_name(struct slm_buf *out, const char *name)
{
    const char last = out->len ? out->data[out->len - 1] : '[';
    if (last != '[' && last != '{' && last != ':' && last != '\n') slm_buf_add(out, ",", 1);
    if (!name) return;
    slm_buf_add_json_string(out, slm_str(name));
    slm_buf_add(out, ":", 1);
}

/* Opens an object or an array. */
void slm_write_begin(struct slm_buf *out, const char *name, char bracket)
{
    add_name(out, name);
    slm_buf_add(out, &bracket, 1);
}

/* And closes it. */
void slm_write_end(struct slm_buf *out, char bracket) { slm_buf_add(out, &bracket, 1); }

/* Bytes that are no UTF-8 become U+FFFD. */
void slm_write_str(struct slm_buf *out, const char *name, struct slm_str text)
{
    add_name(out, name);
    slm_buf_add_json_string(out, text);
}

/* The same for texts that end with NUL. */
void slm_write_text(struct slm_buf *out, const char *name, const char *text)
{
    if (text)
        slm_write_str(out, name, slm_str(text));
    else
        slm_write_null(out, name);
}

/* All 64 bits, as they are. */
void slm_write_int(struct slm_buf *out, const char *name, int64_t number)
{
    add_name(out, name);
    slm_buf_printf(out, "%" PRId64, number);
}

/* The fewest digits that read back as the same number, of `most` at most. */
static void add_number(struct slm_buf *out, double number, int least, int most, bool single)
{
    char text[40];
    if (!isfinite(number)) {
        slm_buf_puts(out, "null");
        return;
    }
    for (int digits = least; digits <= most; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
        const double back = strtod(text, NULL);
        if (single ? (float)back == (float)number : back == number) break;
    }
    slm_buf_puts(out, text);
}

/* The shortest form: 0.1 and not 0.10000000000000001. */
void slm_write_float(struct slm_buf *out, const char *name, double number)
{
    add_name(out, name);
    const bool single = isfinite(number) && (double)(float)number == number; /* it came from an f32 */
    add_number(out, number, 6, single ? 9 : 17, single);
}

/* true or false. */
void slm_write_bool(struct slm_buf *out, const char *name, bool value)
{
    add_name(out, name);
    slm_buf_puts(out, value ? "true" : "false");
}

/* The one value without one. */
void slm_write_null(struct slm_buf *out, const char *name)
{
    add_name(out, name);
    slm_buf_puts(out, "null");
}

/* Strings are copied whole; white space between tokens is left out. */
void slm_write_json(struct slm_buf *out, const char *name, struct slm_str json)
{
    add_name(out, name);
    bool in_string = false;
    size_t copied = 0;
    for (size_t i = 0; i < json.len; i++) {
        const char c = json.ptr[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = false;
            continue;
        }
        if (c == '"') in_string = true;
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') continue;
        slm_buf_add(out, json.ptr + copied, i - copied);
        copied = i + 1;
    }
    if (copied < json.len) slm_buf_add(out, json.ptr + copied, json.len - copied);
}

/* Seven to nine digits are enough for an f32. */
void slm_write_vector(struct slm_buf *out, const char *name, const float *numbers, size_t n)
{
    slm_write_begin(out, name, '[');
    for (size_t i = 0; i < n; i++) {
        add_name(out, NULL);
        add_number(out, (double)numbers[i], 7, 9, true);
    }
    slm_write_end(out, ']');
}

/* RFC 4648, with padding. */
void slm_write_base64(struct slm_buf *out, const char *name, const void *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    slm_write_begin(out, name, '"');
    for (size_t i = 0; i < bytes; i += 3) {
        const size_t n = bytes - i < 3 ? bytes - i : 3;
        const uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0u);
        const char four[4] = {digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
                              n > 2 ? digits[v & 63] : '='};
        slm_buf_add(out, four, 4);
    }
    slm_write_end(out, '"');
}

/* RFC 3339 in UTC. */
struct slm_timestamp slm_timestamp(int64_t unix_ns)
{
    struct slm_timestamp out;
    const time_t seconds = (time_t)(unix_ns / 1000000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    const size_t n = strftime(out.text, sizeof out.text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out.text + n, sizeof out.text - n, ".%09" PRId64 "Z", unix_ns % 1000000000);
    return out;
}
