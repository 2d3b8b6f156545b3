/* SPDX-License-Identifier: MIT
 * A small JSON document as a tree that is kept: what a schema is read from. Nodes know their parents, so that an error
 * can name its place as a JSON pointer; numbers keep their text, so that nothing is rounded. */
#ifndef SLM_GRAMMAR_DOM_H
#define SLM_GRAMMAR_DOM_H
#include "base/arena.h"
#include "base/str.h"

enum slm_dom_kind {
    SLM_DOM_NULL, SLM_DOM_FALSE, SLM_DOM_TRUE, SLM_DOM_NUMBER, SLM_DOM_STRING, SLM_DOM_ARRAY, SLM_DOM_OBJECT
};
enum { SLM_DOM_MAX_NODES = 1 << 20 };

struct slm_dom {
    enum slm_dom_kind kind;
    uint32_t id;         /* in the order of the document; the root is 0 */
    uint32_t n;          /* children */
    uint32_t index;      /* among its siblings */
    struct slm_str key;  /* of a member of an object, decoded */
    struct slm_str text; /* of a string, decoded; of a number, as written */
    const struct slm_dom *parent, *first, *next;
};

/* Everything lives in the arena. A key that is there twice is SLM_ERR_FORMAT. */
slm_status slm_dom_parse(struct slm_str text, const char *where, struct slm_arena *arena, const struct slm_dom **out,
                         struct slm_error *error);
/* NULL where there is none, or node is no object. */
const struct slm_dom *slm_dom_get(const struct slm_dom *node, const char *key);
const struct slm_dom *slm_dom_find(const struct slm_dom *node, struct slm_str key);
/* Are they equal as JSON values? Numbers by value, objects whatever the order. Deep values are compared up to a limit
 * and count as possibly equal beyond it: *unsure. */
bool slm_dom_equal(const struct slm_dom *a, const struct slm_dom *b, bool *unsure);
/* "#/properties/a", cut to fit. */
void slm_dom_pointer(const struct slm_dom *node, char *out, size_t cap);
/* Of a number's text: its sign, its digits without leading or trailing zeros, and the power of ten of the last one.
 * False when there are more than 40 digits, or the exponent is beyond +-10000. Zero has no digits. */
struct slm_decimal { bool negative; char digits[41]; int n, exponent; };
bool slm_decimal_read(struct slm_str text, struct slm_decimal *out);
#endif
