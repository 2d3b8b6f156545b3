/* SPDX-License-Identifier: MIT
 * A pull reader for JSON (RFC 8259) that comes from outside: one bounded pass, no recursion, no tree, no allocation of
 * its own. Callers ask for the next event and keep what they need; big files (tokenizer.json, safetensors headers) cost
 * their length once. Duplicate keys are the caller's to notice. For small documents that are kept, use jansson. */
#ifndef SLM_FORMAT_JSON_H
#define SLM_FORMAT_JSON_H
#include "base/str.h"

#define SLM_JSON_MAX_DEPTH 128u

enum slm_json_event {
    SLM_JSON_ERROR, /* *error is filled; the reader stays there */
    SLM_JSON_OBJECT, SLM_JSON_OBJECT_END, SLM_JSON_ARRAY, SLM_JSON_ARRAY_END,
    SLM_JSON_KEY, SLM_JSON_STRING, SLM_JSON_NUMBER, SLM_JSON_TRUE, SLM_JSON_FALSE, SLM_JSON_NULL,
    SLM_JSON_END    /* the document is complete and nothing follows it */
};

struct slm_json {
    struct slm_str text;
    size_t at;              /* next byte to read */
    const char *where;      /* file name for messages; borrowed */
    struct slm_error *error;
    struct slm_str token;   /* of KEY and STRING: between the quotes, escapes and all; of NUMBER: as written */
    bool escaped;           /* the token holds escapes: see slm_json_read_text */
    uint32_t depth;
    uint64_t in_object[SLM_JSON_MAX_DEPTH / 64]; /* bit d: is level d an object */
    enum { SLM_JSON_WANT_VALUE, SLM_JSON_WANT_KEY, SLM_JSON_WANT_FIRST, SLM_JSON_WANT_MORE, SLM_JSON_WANT_END,
           SLM_JSON_FAILED } want;
};

/* text is borrowed for the reader's life. Invalid UTF-8 is found at the first event. */
void slm_json_init(struct slm_json *json, struct slm_str text, const char *where, struct slm_error *error);
enum slm_json_event slm_json_next(struct slm_json *json);
/* Reads on until the value that `event` opened is over (a no-op for scalars). False on error. */
bool slm_json_skip(struct slm_json *json, enum slm_json_event event);
/* The current KEY or STRING decoded, appended to *out. False on a lone surrogate or when memory is out (error
 * filled). */
bool slm_json_read_text(struct slm_json *json, struct slm_buf *out);
/* Is the current KEY or STRING, decoded, this text? (text without characters that JSON must escape) */
bool slm_json_is(const struct slm_json *json, const char *text);
/* The current NUMBER. i64: false when it is no integer in range. */
bool slm_json_read_i64(const struct slm_json *json, int64_t *out);
double slm_json_read_f64(const struct slm_json *json);
/* Fills *error with "line L: message" and makes every later event an ERROR. Returns the status for `return`. */
slm_status slm_json_fail(struct slm_json *json, slm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, as the false of a function that answers bool. */
#define slm_json_refuse(...) (slm_json_fail(__VA_ARGS__), false)
#endif
