/* SPDX-License-Identifier: MIT
 * Reading a tree from the events of format/json.h, which bounds depth; a stack of open nodes instead of recursion.
 * Equality works through a list of pairs. Deliberately not here: writing, changing. */
#include "grammar/dom.h"
#include "base/os.h"
#include "format/json.h"

/* Where reading stands: the open nodes, and the last child of each. */
struct reader {
    struct slm_arena *arena;
    struct slm_json json;
    struct slm_buf buf;
    struct slm_dom *open[SLM_JSON_MAX_DEPTH + 1], *last[SLM_JSON_MAX_DEPTH + 1];
    size_t depth;
    uint32_t n;
    struct slm_str key;
    /* Every key of every open or closed object, to find those that come twice: open addressing, at most half full. */
    struct seen { const struct slm_dom *object; struct slm_str key; } *seen;
    size_t n_seen, cap_seen;
};

/* A copy that lives as long as the tree; one byte longer, so that it is never NULL. */
static struct slm_str keep(struct reader *r, struct slm_str text, struct slm_error *error)
{
    const char *copy = slm_arena_copy(r->arena, text.len ? text.ptr : "", text.len, error);
    return (struct slm_str){copy, copy ? text.len : 0};
}

/* The current KEY or STRING, decoded. */
static bool take_text(struct reader *r, struct slm_str *out, struct slm_error *error)
{
    slm_buf_clear(&r->buf);
    if (!slm_json_read_text(&r->json, &r->buf)) return false;
    *out = keep(r, (struct slm_str){r->buf.data, r->buf.len}, error);
    return out->ptr != NULL;
}

/* A node for the event, behind the last child of the open one. */
static struct slm_dom *add(struct reader *r, enum slm_dom_kind kind, struct slm_error *error)
{
    struct slm_dom *node = slm_arena_alloc(r->arena, 1, sizeof *node, "schema", error);
    if (!node) return NULL;
    if (r->n == SLM_DOM_MAX_NODES) {
        slm_fail(error, SLM_ERR_LIMIT, r->json.where, "more than %d values", SLM_DOM_MAX_NODES);
        return NULL;
    }
    node->kind = kind;
    node->id = r->n++;
    if (r->depth == 0) return node;
    struct slm_dom *parent = r->open[r->depth - 1];
    /* Children are in the order of the document. */
    node->parent = parent;
    node->key = r->key;
    node->index = parent->n++;
    if (r->last[r->depth - 1]) r->last[r->depth - 1]->next = node;
    else parent->first = node;
    r->last[r->depth - 1] = node;
    return node;
}

/* The place of a key of an object, or a free one. Where this reader lies is nothing that a sender knows, so nobody can
 * choose keys that fall together. */
static struct seen *place_of(struct reader *r, const struct slm_dom *object, struct slm_str key)
{
    const uint64_t seed = (uint64_t)(uintptr_t)r + object->id;
    size_t at = (size_t)slm_hash_bytes(key.ptr, key.len, seed) & (r->cap_seen - 1);
    while (r->seen[at].object && (r->seen[at].object != object || !slm_str_equal(r->seen[at].key, key)))
        at = (at + 1) & (r->cap_seen - 1);
    return &r->seen[at];
}

/* The reader leaves doubled keys to its callers. */
static bool is_new_key(struct reader *r, struct slm_error *error)
{
    /* In one table for all objects: most have few keys, and none may be slow with many. */
    const struct slm_dom *object = r->open[r->depth - 1];
    if (2 * r->n_seen >= r->cap_seen) {
        struct seen *old = r->seen;
        const size_t n = r->cap_seen;
        struct seen *more = slm_alloc(n ? 2 * n : 64, sizeof *more, "schema", error);
        if (!more) return false;
        r->seen = more;
        r->cap_seen = n ? 2 * n : 64;
        for (size_t i = 0; i < n; i++)
            if (old[i].object) *place_of(r, old[i].object, old[i].key) = old[i];
        slm_release(old);
    }
    struct seen *place = place_of(r, object, r->key);
    if (place->object)
        return slm_json_refuse(&r->json, SLM_ERR_FORMAT, "the key '%.*s' is there twice",
                               (int)(r->key.len < 64 ? r->key.len : 64), r->key.ptr);
    *place = (struct seen){object, r->key};
    r->n_seen++;
    return true;
}

/* Takes one event. False on failure; *root is the first node. */
static bool take(struct reader *r, enum slm_json_event event, struct slm_dom **root, struct slm_error *error)
{
    static const enum slm_dom_kind kinds[] = {
        [SLM_JSON_OBJECT] = SLM_DOM_OBJECT, [SLM_JSON_ARRAY] = SLM_DOM_ARRAY, [SLM_JSON_STRING] = SLM_DOM_STRING,
        [SLM_JSON_NUMBER] = SLM_DOM_NUMBER, [SLM_JSON_TRUE] = SLM_DOM_TRUE, [SLM_JSON_FALSE] = SLM_DOM_FALSE,
        [SLM_JSON_NULL] = SLM_DOM_NULL,
    };
    /* The node it closes is complete already. */
    if (event == SLM_JSON_OBJECT_END || event == SLM_JSON_ARRAY_END) {
        r->depth--;
        return true;
    }
    if (event == SLM_JSON_KEY) {
        return take_text(r, &r->key, error) && is_new_key(r, error);
    }
    struct slm_dom *node = add(r, kinds[event], error);
    if (!node) return false;
    if (!*root) *root = node;
    if (event == SLM_JSON_STRING && !take_text(r, &node->text, error)) return false;
    if (event == SLM_JSON_NUMBER) {
        node->text = keep(r, r->json.token, error);
        if (!node->text.ptr) return false;
    }
    /* What follows lies inside of it. */
    if (event != SLM_JSON_OBJECT && event != SLM_JSON_ARRAY) return true;
    r->open[r->depth] = node;
    r->last[r->depth++] = NULL;
    return true;
}

slm_status slm_dom_parse(struct slm_str text, const char *where, struct slm_arena *arena, const struct slm_dom **out,
                         struct slm_error *error)
{
    /* The reader's own error, to tell failures with words from those without. */
    struct slm_error local = {0};
    struct reader r = {.arena = arena};
    struct slm_dom *root = NULL;
    enum slm_json_event event;
    bool ok = true;
    slm_json_init(&r.json, text, where, &local);
    while (ok && (event = slm_json_next(&r.json)) != SLM_JSON_END)
        ok = event != SLM_JSON_ERROR && take(&r, event, &root, &local);
    slm_buf_release(&r.buf);
    slm_release(r.seen);
    *out = root;
    if (ok) return SLM_OK;
    /* A failure without words was one of memory. */
    if (local.status == SLM_OK) return slm_fail_memory(error, where, text.len);
    if (error) *error = local;
    return local.status;
}

/* ---- looking ---------------------------------------------------------------------------------------------------- */

/* One child after the other: keys of schemas are few, and their order is kept. */
const struct slm_dom *slm_dom_find(const struct slm_dom *node, struct slm_str key)
{
    if (!node || node->kind != SLM_DOM_OBJECT) return NULL;
    for (const struct slm_dom *child = node->first; child; child = child->next)
        if (slm_str_equal(child->key, key)) return child;
    return NULL;
}

/* The same for a key that stands in our own text. */
const struct slm_dom *slm_dom_get(const struct slm_dom *node, const char *key)
{
    return slm_dom_find(node, slm_str(key));
}

/* From the node up to the root, then written downwards. The depth is bounded by the reader. */
void slm_dom_pointer(const struct slm_dom *node, char *out, size_t cap)
{
    const struct slm_dom *path[SLM_JSON_MAX_DEPTH + 8]; /* schemas may be put into others (schema_rewrite.c) */
    size_t n = 0, at = 0;
    for (; node && node->parent && n < sizeof path / sizeof *path; node = node->parent) path[n++] = node;
    at += (size_t)snprintf(out, cap, "#");
    while (n > 0 && at + 1 < cap) {
        const struct slm_dom *step = path[--n];
        if (step->parent->kind == SLM_DOM_ARRAY) {
            at += (size_t)snprintf(out + at, cap - at, "/%u", step->index);
            continue;
        }
        out[at++] = '/';
        for (size_t i = 0; i < step->key.len && at + 2 < cap; i++) { /* '~' and '/' are escaped in pointers */
            const char c = step->key.ptr[i];
            if (c == '~' || c == '/') out[at++] = '~', out[at++] = c == '~' ? '0' : '1';
            else out[at++] = c;
        }
        out[at < cap ? at : cap - 1] = '\0';
    }
    out[cap - 1] = '\0';
}

/* Leading zeros are never taken, trailing ones move into the exponent. */
bool slm_decimal_read(struct slm_str text, struct slm_decimal *out)
{
    size_t i = 0;
    int shift = 0, e = 0;
    bool point = false, e_negative = false;
    *out = (struct slm_decimal){0};
    if (i < text.len && text.ptr[i] == '-') out->negative = true, i++;
    for (; i < text.len && text.ptr[i] != 'e' && text.ptr[i] != 'E'; i++) {
        const char c = text.ptr[i];
        if (c == '.') {
            point = true;
            continue;
        }
        if (point) shift--;
        if (out->n == 0 && c == '0') continue;
        /* More digits than any bound needs. */
        if (out->n == 40) return false;
        out->digits[out->n++] = c;
    }
    /* Behind the 'e', if there is one. */
    for (i++; i < text.len; i++) {
        if (text.ptr[i] == '-') e_negative = true;
        if (text.ptr[i] >= '0' && text.ptr[i] <= '9') e = 10 * e + (text.ptr[i] - '0');
        if (e > 10000) return false;
    }
    out->exponent = shift + (e_negative ? -e : e);
    while (out->n > 0 && out->digits[out->n - 1] == '0') out->n--, out->exponent++;
    out->digits[out->n] = '\0';
    if (out->n == 0) out->negative = false, out->exponent = 0;
    return true;
}

/* 1, 1.0 and 10e-1 are the same. Too long to tell: perhaps. */
static bool same_number(const struct slm_dom *a, const struct slm_dom *b, bool *unsure)
{
    struct slm_decimal x, y;
    if (slm_str_equal(a->text, b->text)) return true;
    if (!slm_decimal_read(a->text, &x) || !slm_decimal_read(b->text, &y)) return *unsure = true;
    return x.negative == y.negative && x.n == y.n && x.exponent == y.exponent &&
           memcmp(x.digits, y.digits, (size_t)x.n) == 0;
}

/* All but their children. */
static bool alike(const struct slm_dom *a, const struct slm_dom *b, bool *unsure)
{
    if (!a || !b || a->kind != b->kind || a->n != b->n) return false;
    if (a->kind == SLM_DOM_STRING) return slm_str_equal(a->text, b->text);
    return a->kind != SLM_DOM_NUMBER || same_number(a, b, unsure);
}

/* Pairs that must be equal wait in a list; most values have no children and need none. */
bool slm_dom_equal(const struct slm_dom *a, const struct slm_dom *b, bool *unsure)
{
    if (!alike(a, b, unsure)) return false;
    if (!a->first) return true;
    enum { MAX_PAIRS = 1024 };
    const struct slm_dom *todo[MAX_PAIRS][2];
    size_t n = 1;
    todo[0][0] = a;
    todo[0][1] = b;
    while (n > 0) {
        a = todo[--n][0];
        b = todo[n][1];
        if (!alike(a, b, unsure)) return false;
        /* Members by their keys, elements by their places. */
        const struct slm_dom *y = b->first;
        for (const struct slm_dom *x = a->first; x; x = x->next, y = y ? y->next : NULL) {
            if (n == MAX_PAIRS) return *unsure = true;
            todo[n][0] = x;
            todo[n++][1] = a->kind == SLM_DOM_OBJECT ? slm_dom_find(b, x->key) : y;
        }
    }
    return true;
}
