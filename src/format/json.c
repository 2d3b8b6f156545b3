/* SPDX-License-Identifier: MIT
 * The pull reader of json.h: a state (what may come next) and one bit a level (object or array).
 *
 * A document is never held as a tree. A caller that wants one key of a 20 MB tokenizer.json walks over the rest at the
 * speed of reading it, and what it keeps are views of the file. Three rules keep this safe on hostile input:
 *   - depth is a counter against a limit, not a C stack;
 *   - every byte is looked at a bounded number of times, so time is linear in the text;
 *   - after the first error the reader only ever answers ERROR, so loops of callers end.
 *
 * Deliberately not here: numbers beyond int64 and double, comments, trailing commas, and whether a key appeared before;
 * callers to whom duplicates matter see every key and can tell. */
#include "format/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

void slm_json_init(struct slm_json *json, struct slm_str text, const char *where, struct slm_error *error)
{
    *json = (struct slm_json){.text = text, .where = where, .error = error, .want = SLM_JSON_WANT_VALUE};
}

slm_status slm_json_fail(struct slm_json *json, slm_status status, const char *format, ...)
{
    if (json->want == SLM_JSON_FAILED && json->error) return json->error->status; /* the reader's own reason stays */
    char message[256];
    size_t line = 1;
    for (size_t i = 0; i < json->at && i < json->text.len; i++) line += json->text.ptr[i] == '\n';
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    json->want = SLM_JSON_FAILED;
    return slm_fail(json->error, status, json->where, "line %zu, byte %zu: %s", line, json->at, message);
}

/* What is wrong is said once; from then on every event is an error. */
static enum slm_json_event bad(struct slm_json *json, const char *message)
{
    slm_json_fail(json, SLM_ERR_FORMAT, "%s", message);
    return SLM_JSON_ERROR;
}

/* Of the innermost open level; there must be one. */
static bool is_object(const struct slm_json *json)
{
    const uint32_t level = json->depth - 1;
    return json->in_object[level / 64] >> (level % 64) & 1;
}

/* Next byte that is not white space, or -1 at the end. */
static int peek(struct slm_json *json)
{
    const char *p = json->text.ptr;
    while (json->at < json->text.len &&
           (p[json->at] == ' ' || p[json->at] == '\n' || p[json->at] == '\t' || p[json->at] == '\r'))
        json->at++;
    return json->at < json->text.len ? (unsigned char)p[json->at] : -1;
}

/* Four hexadecimal digits, as behind \u. */
static bool hex4(const char *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const int c = p[i] | 0x20; /* folds A-F to a-f */
        const int digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false;
        *out = *out << 4 | (uint32_t)digit;
    }
    return true;
}

/* At the opening quote. Leaves at behind the closing one. */
static bool read_string(struct slm_json *json)
{
    const char *p = json->text.ptr;
    const size_t start = ++json->at;
    json->escaped = false;
    for (; json->at < json->text.len; json->at++) {
        const unsigned char c = (unsigned char)p[json->at];
        if (c == '"') {
            json->token = (struct slm_str){p + start, json->at - start};
            json->at++;
            return true;
        }
        if (c < 0x20)
            return slm_json_refuse(json, SLM_ERR_FORMAT, "a control character inside a string must be escaped");
        if (c != '\\') continue;
        json->escaped = true;
        uint32_t unit;
        const char next = json->at + 1 < json->text.len ? p[json->at + 1] : 0;
        if (next == 'u' ? json->at + 5 >= json->text.len || !hex4(p + json->at + 2, &unit)
                        : !next || !strchr("\"\\/bfnrt", next))
            return slm_json_refuse(json, SLM_ERR_FORMAT, "unknown escape in a string");
        json->at += next == 'u' ? 5 : 1;
    }
    return slm_json_refuse(json, SLM_ERR_FORMAT, "the text ends inside a string");
}

/* One digit at least. */
static bool digits(struct slm_json *json)
{
    const size_t start = json->at;
    while (json->at < json->text.len && json->text.ptr[json->at] >= '0' && json->text.ptr[json->at] <= '9') json->at++;
    return json->at > start;
}

/* Takes the next byte when it is one of the two. */
static bool accept(struct slm_json *json, char a, char b)
{
    if (json->at >= json->text.len || (json->text.ptr[json->at] != a && json->text.ptr[json->at] != b)) return false;
    json->at++;
    return true;
}

/* The grammar of RFC 8259, section 6; the value stays text until somebody asks for it. */
static enum slm_json_event read_number(struct slm_json *json)
{
    const size_t start = json->at;
    accept(json, '-', '-');
    if (!accept(json, '0', '0') && !digits(json)) return bad(json, "a number needs digits");
    if (accept(json, '.', '.') && !digits(json)) return bad(json, "a number needs digits behind its point");
    if (accept(json, 'e', 'E')) {
        accept(json, '+', '-');
        if (!digits(json)) return bad(json, "a number needs digits in its exponent");
    }
    json->token = (struct slm_str){json->text.ptr + start, json->at - start};
    return SLM_JSON_NUMBER;
}

/* The three names JSON has. */
static enum slm_json_event read_word(struct slm_json *json)
{
    static const struct { const char *word; enum slm_json_event event; } words[] = {
        {"true", SLM_JSON_TRUE}, {"false", SLM_JSON_FALSE}, {"null", SLM_JSON_NULL}};
    for (size_t i = 0; i < 3; i++) {
        const size_t len = strlen(words[i].word);
        if (json->text.len - json->at < len || memcmp(json->text.ptr + json->at, words[i].word, len) != 0) continue;
        json->at += len;
        return words[i].event;
    }
    return bad(json, "a value is expected: object, array, string, number, true, false or null");
}

/* Depth is counted, not recursed into, and bounded. */
static enum slm_json_event open_level(struct slm_json *json, bool object)
{
    if (json->depth == SLM_JSON_MAX_DEPTH) {
        slm_json_fail(json, SLM_ERR_LIMIT, "more than %u levels", SLM_JSON_MAX_DEPTH);
        return SLM_JSON_ERROR;
    }
    const uint64_t bit = UINT64_C(1) << (json->depth % 64);
    uint64_t *word = &json->in_object[json->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    json->depth++;
    json->at++;
    json->want = SLM_JSON_WANT_FIRST;
    return object ? SLM_JSON_OBJECT : SLM_JSON_ARRAY;
}

/* Back to the level outside, or to the end of the document. */
static enum slm_json_event close_level(struct slm_json *json)
{
    const bool object = is_object(json);
    json->at++;
    json->depth--;
    json->want = json->depth ? SLM_JSON_WANT_MORE : SLM_JSON_WANT_END;
    return object ? SLM_JSON_OBJECT_END : SLM_JSON_ARRAY_END;
}

/* A value may be anything; what may follow it depends on whether a level is open. */
static enum slm_json_event read_value(struct slm_json *json, int c)
{
    if (c == '{' || c == '[') return open_level(json, c == '{');
    json->want = json->depth ? SLM_JSON_WANT_MORE : SLM_JSON_WANT_END;
    if (c == '"') return read_string(json) ? SLM_JSON_STRING : SLM_JSON_ERROR;
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(json);
    return read_word(json);
}

/* A key and its colon. */
static enum slm_json_event read_key(struct slm_json *json, int c)
{
    if (c != '"') return bad(json, "a key in quotes is expected");
    if (!read_string(json)) return SLM_JSON_ERROR;
    if (peek(json) != ':') return bad(json, "a colon is expected behind a key");
    json->at++;
    json->want = SLM_JSON_WANT_VALUE;
    return SLM_JSON_KEY;
}

/* UTF-8 is checked once, over the whole text, before its first byte is read. */
enum slm_json_event slm_json_next(struct slm_json *json)
{
    if (json->want == SLM_JSON_FAILED) return SLM_JSON_ERROR;
    if (json->at == 0 && slm_utf8_valid_prefix(json->text.ptr, json->text.len) != json->text.len)
        return bad(json, "the text is not valid UTF-8");
    int c = peek(json);
    if (json->want == SLM_JSON_WANT_END) return c < 0 ? SLM_JSON_END : bad(json, "something follows the document");
    if (c < 0) return bad(json, "the text ends too early");
    if (json->want == SLM_JSON_WANT_FIRST || json->want == SLM_JSON_WANT_MORE) {
        if (c == (is_object(json) ? '}' : ']')) return close_level(json);
        if (json->want == SLM_JSON_WANT_MORE) {
            if (c != ',') return bad(json, "a comma or the end of the list is expected");
            json->at++;
            c = peek(json);
        }
        if (is_object(json)) return read_key(json, c);
    }
    return read_value(json, c);
}

/* Runs until the depth is back outside what the event opened. */
bool slm_json_skip(struct slm_json *json, enum slm_json_event event)
{
    if (event != SLM_JSON_OBJECT && event != SLM_JSON_ARRAY) return event != SLM_JSON_ERROR;
    for (const uint32_t outside = json->depth - 1; json->depth > outside;)
        if (slm_json_next(json) == SLM_JSON_ERROR) return false;
    return true;
}

/* One escape at p (behind the backslash); appends it and returns how many bytes it was, 0 when it is impossible. */
static size_t unescape(const char *p, size_t left, struct slm_buf *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (*p != 'u') return slm_buf_add(out, &values[strchr(names, *p) - names], 1) ? 1 : 0;
    uint32_t cp = 0, low;
    hex4(p + 1, &cp);
    size_t used = 5;
    if (cp >= 0xD800 && cp < 0xDC00 && left >= 11 && p[5] == '\\' && p[6] == 'u' && hex4(p + 7, &low) &&
        low >= 0xDC00 && low < 0xE000) {
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        used = 11;
    }
    if (cp >= 0xD800 && cp < 0xE000) return 0;
    char bytes[4];
    return slm_buf_add(out, bytes, (size_t)slm_utf8_encode(cp, bytes)) ? used : 0;
}

/* Without escapes the token is its text. */
bool slm_json_read_text(struct slm_json *json, struct slm_buf *out)
{
    const struct slm_str t = json->token;
    if (!json->escaped) {
        if (slm_buf_add_str(out, t)) return true;
        json->want = SLM_JSON_FAILED;
        return slm_buf_status(out, json->where, json->error) == SLM_OK;
    }
    for (size_t i = 0; i < t.len;) {
        const char *stop = memchr(t.ptr + i, '\\', t.len - i);
        const size_t plain = stop ? (size_t)(stop - t.ptr) - i : t.len - i;
        slm_buf_add(out, t.ptr + i, plain);
        i += plain;
        if (!stop) break;
        const size_t used = unescape(t.ptr + i + 1, t.len - i - 1, out);
        if (used == 0 && out->failed == SLM_OK)
            return slm_json_refuse(json, SLM_ERR_FORMAT, "half of a surrogate pair");
        i += 1 + used;
        if (out->failed != SLM_OK) break;
    }
    if (out->failed == SLM_OK) return true;
    json->want = SLM_JSON_FAILED;
    return slm_buf_status(out, json->where, json->error) == SLM_OK;
}

bool slm_json_is(const struct slm_json *json, const char *text)
{
    return !json->escaped && slm_str_is(json->token, text);
}

/* Digits only: 1.0 and 1e3 are numbers but not written as integers. */
bool slm_json_read_i64(const struct slm_json *json, int64_t *out)
{
    const bool negative = json->token.ptr[0] == '-';
    uint64_t value = 0;
    for (size_t i = negative; i < json->token.len; i++) {
        const char c = json->token.ptr[i];
        if (c < '0' || c > '9') return false;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(c - '0'), &value))
            return false;
    }
/* One number short of the whole range, for the sake of one case less. */
    if (value > (uint64_t)INT64_MAX) return false; /* INT64_MIN is not worth a case */
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

double slm_json_read_f64(const struct slm_json *json)
{
    /* strtod wants a NUL; no number that matters is longer. */
    char text[64];
    const size_t n = json->token.len < sizeof text - 1 ? json->token.len : sizeof text - 1;
    memcpy(text, json->token.ptr, n);
    text[n] = 0;
    return strtod(text, NULL);
}
