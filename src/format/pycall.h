/* SPDX-License-Identifier: MIT
 * Calls of functions written in Python, as models write calls of tools: where they begin and end while text still
 * comes, and what they say, as JSON.
 *
 *   call      := name "(" [key "=" value, ...] ")"          name: words with points between
 *   statement := call | "[" call, ... "]" | "print(" call, ... ")"
 *   value     := string | number | True | False | None | [value, ...] | (value, ...) | {string: value, ...}
 *
 * The subset is what has a meaning as JSON and names every argument; nothing is ever run. */
#ifndef SLM_FORMAT_PYCALL_H
#define SLM_FORMAT_PYCALL_H
#include "base/str.h"

enum { SLM_PYCALL_MAX_DEPTH = 100, SLM_PYCALL_MAX_ARGUMENTS = 128 };

/* Statements in a stream of bytes; a zeroed struct is at the beginning. */
struct slm_pyscan {
    enum { SLM_PYSCAN_BETWEEN, SLM_PYSCAN_WORD, SLM_PYSCAN_GAP, SLM_PYSCAN_INSIDE, SLM_PYSCAN_AFTER } stage;
    uint32_t depth;     /* of brackets */
    char quote;         /* of the string it is in, or 0 */
    uint8_t opening;    /* quotes seen at its beginning: 1 or 2, while it may still become a triple quote */
    uint8_t closing;    /* quotes in a row in a triple-quoted one */
    bool triple, escaped, comment;
};
enum slm_pyscan_event {
    SLM_PYSCAN_MORE,
    SLM_PYSCAN_BEGIN,   /* a statement begins with this byte */
    SLM_PYSCAN_END,     /* and ends with this one */
    SLM_PYSCAN_BROKEN   /* with this byte it is something else than statements of this form */
};
enum slm_pyscan_event slm_pyscan_next(struct slm_pyscan *scan, char c);
bool slm_pyscan_in_string(const struct slm_pyscan *scan);
bool slm_pycall_starts(char c); /* may a name begin with this byte? */

/* One whole statement. Appends name NUL arguments NUL for each call, the arguments a JSON object. False: it is no call,
 * and *list is as before; or memory is out, which *list says. Invalid UTF-8, unknown names, arguments without a name
 * and whatever JSON cannot say are no call. Words that Python keeps for itself may be names here (from="Rome"). */
bool slm_pycall_read(struct slm_str statement, struct slm_buf *list);
#endif
