/* SPDX-License-Identifier: MIT
 * Bodies of requests, read strictly: JSON without duplicate keys, at most 128 levels deep; every field is a row of a
 * constant table that says what it may be and where it goes, and a field that no row names is an error that names it.
 * So nothing a client asks for is ignored unseen, and docs/api.md is made from the same rows.
 *
 * Deliberately not here: what fields mean (api_*.c). */
#ifndef SLM_SERVE_API_READ_H
#define SLM_SERVE_API_READ_H
#include <jansson.h>
#include "base/str.h"

/* Parses a body, which must be an object. Returns owned *out (json_decref). Errors have the status FORMAT. */
slm_status slm_read_body(struct slm_str text, json_t **out, struct slm_error *error);

enum slm_field_kind {
    SLM_FIELD_BOOL,    /* int: 0 or 1 */
    SLM_FIELD_INT,     /* int64_t, from min to max; 7.0 is one too */
    SLM_FIELD_FLOAT,   /* double, from min to max */
    SLM_FIELD_TEXT,    /* const char *, in the tree; without NUL */
    SLM_FIELD_JSON,    /* const json_t *, in the tree: read further by whoever knows it */
    SLM_FIELD_HINT,    /* accepted and without effect, which its help says */
    SLM_FIELD_ONLY,    /* accepted with these values alone, JSON texts with '|' between; "" none but null */
};
struct slm_field {
    const char *name;
    const char *help;      /* for docs/api.md */
    const char *only;      /* of ONLY */
    double min, max;       /* of INT and FLOAT; both 0: any */
    size_t offset;         /* in the struct that is filled */
    enum slm_field_kind kind;
    bool needed;
};
struct slm_field_set { const struct slm_field *rows; size_t n; };
#define SLM_FIELDS(table) {(table), sizeof(table) / sizeof *(table)}

/* What an absent field leaves in its place. null is absence. */
#define SLM_ABSENT_INT INT64_MIN
#define SLM_ABSENT_BOOL (-1)
static inline bool slm_is_absent(double value) { return value != value; }

/* Fills the places of all rows of all sets (ended by a set without rows) in *out, absent ones too. prefix is
 * what comes in front of names in messages: "options.". Errors: where is the path of the field. */
slm_status slm_read_fields(const json_t *object, const char *prefix, const struct slm_field_set *sets, void *out,
                           struct slm_error *error);
/* One value, as a row of that kind reads it; path is its name in messages. */
slm_status slm_read_value(const json_t *value, const char *path, const struct slm_field *row, void *out,
                          struct slm_error *error);

/* "messages[3].content": for errors about what lies deeper than rows reach. */
struct slm_path { char text[120]; };
struct slm_path slm_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "a string", "an object" ... */
const char *slm_json_kind(const json_t *value);
/* Appends the value as compact JSON. */
void slm_json_write(struct slm_buf *out, const json_t *value);
/* Text of a string value without NUL, or NULL with the error filled. */
const char *slm_read_text(const json_t *value, const char *path, struct slm_error *error);
#endif
