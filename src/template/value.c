/* SPDX-License-Identifier: MIT
 * Values: making them, comparing them, looking inside. Follows Python's data model as far as templates can see it.
 * Not here: printing (repr.c), arithmetic (number.c), attributes and methods (access.c, methods.c).
 *
 * Lists, tuples, strings and ranges never change once they are made; dicts only while they are being filled;
 * namespaces do, and are the only way to make a value that contains itself. Hence every walk below counts depth. */
#include "template/value.h"

/* ---- strings ------------------------------------------------------------------------------------------------ */

/* A buffer at whose end strings are extended in place; see slm_jinja_concat. */
struct grow { char *data; size_t used, cap; };

/* Code points, by their first bytes. */
static size_t count_chars(const char *ptr, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)ptr[i] & 0xC0) != 0x80;
    return n;
}

/* The header only; the bytes are somebody's. */
static struct value new_text(struct render *r, const char *ptr, size_t len, size_t n_chars, struct grow *owner)
{
    struct text *t = slm_jinja_alloc(r, 1, sizeof *t);
    if (!t) return v_fail();
    *t = (struct text){ptr, len, n_chars, owner};
    return v_text(t);
}

/* The limit on one string, and the fuel for moving it. */
static bool fits(struct render *r, size_t len)
{
    if (len <= r->max_string) return slm_jinja_burn(r, 1 + len / 64);
    slm_jinja_fail(r, SLM_ERR_LIMIT, "a string of %zu bytes; at most %zu are allowed", len, r->max_string);
    return false;
}

/* For bytes of the template, of a literal or of another string. */
struct value slm_jinja_view(struct render *r, const char *ptr, size_t len)
{
    return fits(r, len) ? new_text(r, ptr, len, count_chars(ptr, len), NULL) : v_fail();
}

/* Copies, for bytes that will go away. */
struct value slm_jinja_str(struct render *r, const char *ptr, size_t len)
{
    if (!fits(r, len)) return v_fail();
    char *copy = slm_jinja_alloc(r, len + 1, 1);
    if (!copy) return v_fail();
    if (len > 0) memcpy(copy, ptr, len);
    return new_text(r, copy, len, count_chars(copy, len), NULL);
}

/* No copy: a part of a string shares its bytes. It must not cut a character. */
struct value slm_jinja_slice_text(struct render *r, const struct text *s, size_t from, size_t to)
{
    if (to <= from) return new_text(r, "", 0, 0, NULL);
    if (from == 0 && to == s->len) return v_text(s);
    if (!slm_jinja_burn(r, 1 + (to - from) / 64)) return v_fail();
    bool ascii = s->n_chars == s->len;
    return new_text(r, s->ptr + from, to - from, ascii ? to - from : count_chars(s->ptr + from, to - from), s->owner);
}

/* a + b. When a is the newest piece of a buffer that still has room, b is written behind it: templates that build
 * their text by adding to one variable then take linear time and memory. Nobody else can see those bytes. */
struct value slm_jinja_concat(struct render *r, const struct text *a, const struct text *b)
{
    size_t len = a->len + b->len;
    if (b->len == 0) return v_text(a);
    if (a->len == 0) return v_text(b);
    struct grow *g = a->owner;
    if (g && a->ptr + a->len == g->data + g->used && g->cap - g->used >= b->len) {
        if (len > r->max_string ? !fits(r, len) : !fits(r, b->len)) return v_fail();
        memmove(g->data + g->used, b->ptr, b->len);
        g->used += b->len;
        return new_text(r, a->ptr, len, a->n_chars + b->n_chars, g);
    }
    if (!fits(r, len)) return v_fail();
    if (!(g = slm_jinja_alloc(r, 1, sizeof *g))) return v_fail();
    g->cap = len < 256 ? len : len + len / 2;
    if (!(g->data = slm_jinja_alloc(r, g->cap, 1))) return v_fail();
    memcpy(g->data, a->ptr, a->len);
    memcpy(g->data + a->len, b->ptr, b->len);
    g->used = len;
    return new_text(r, g->data, len, a->n_chars + b->n_chars, g);
}

/* Ends what began at out.len == start. */
struct value slm_jinja_capture(struct render *r, size_t start)
{
    struct value v = slm_jinja_str(r, r->out.data ? r->out.data + start : "", r->out.len - start);
    r->out.len = start;
    return v;
}

/* ---- containers --------------------------------------------------------------------------------------------- */

/* LIST or TUPLE; the caller fills the slots before anyone else sees them. */
struct value slm_jinja_list(struct render *r, enum value_kind kind, size_t n)
{
    struct list *l = slm_jinja_alloc(r, 1, sizeof *l);
    if (!l || (n > 0 && !(l->items = slm_jinja_alloc(r, n, sizeof *l->items)))) return v_fail();
    l->n = n;
    return (struct value){.kind = (uint8_t)kind, .list = l};
}

/* What items() yields. */
struct value slm_jinja_pair(struct render *r, struct value a, struct value b)
{
    struct value v = slm_jinja_list(r, V_TUPLE, 2);
    if (v.kind == V_FAIL) return v;
    v.list->items[0] = a;
    v.list->items[1] = b;
    return v;
}

/* Doubles; the old slots stay in the arena, which at most doubles the memory. */
bool slm_jinja_push(struct render *r, struct builder *b, struct value v)
{
    if (v.kind == V_FAIL || !slm_jinja_burn(r, 1)) return false;
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 8;
        struct value *items = slm_jinja_alloc(r, cap, sizeof *items);
        if (!items) return false;
        if (b->n) memcpy(items, b->items, b->n * sizeof *items);
        b->items = items;
        b->cap = cap;
    }
    b->items[b->n++] = v;
    return true;
}

/* The slots change hands; the builder is done. */
struct value slm_jinja_build(struct render *r, const struct builder *b, enum value_kind kind)
{
    if (kind == V_ITER) {
        struct iter *it = slm_jinja_alloc(r, 1, sizeof *it);
        if (!it) return v_fail();
        *it = (struct iter){b->items, b->n, 0};
        return (struct value){.kind = V_ITER, .iter = it};
    }
    struct list *l = slm_jinja_alloc(r, 1, sizeof *l);
    if (!l) return v_fail();
    *l = (struct list){b->items, b->n};
    return (struct value){.kind = (uint8_t)kind, .list = l};
}

/* Empty, to be filled before a template sees it. */
struct value slm_jinja_dict(struct render *r)
{
    struct dict *d = slm_jinja_alloc(r, 1, sizeof *d);
    return d ? (struct value){.kind = V_DICT, .dict = d} : v_fail();
}

/* What can be a key. dict.values() can, by identity; keys() and items() are sets to Python and
 * cannot. */
bool slm_jinja_is_hashable(struct value v)
{
    return v.kind != V_LIST && v.kind != V_DICT && (v.kind != V_VIEW || v.sub == VIEW_VALUES);
}

/* Equal values hash alike, across int, bool and float too. false = failed. */
static bool hash(struct render *r, struct value v, uint64_t *out)
{
    if (!slm_jinja_is_hashable(v)) {
        TYPE_ERROR(r, "unhashable type: '%s'", slm_jinja_type_name(v));
        return false;
    }
    if (v.kind == V_STR) {
        *out = slm_hash_bytes(v.s->ptr, v.s->len, 1);
    } else if (is_number(v)) {
        double f = as_double(v);
        if (f == 0) f = 0; /* -0.0 */
        *out = slm_hash_bytes(&f, sizeof f, 2);
    } else if (v.kind == V_TUPLE) {
        if (!slm_jinja_enter(r)) return false;
        *out = 3;
        for (size_t i = 0; i < v.list->n; i++) {
            uint64_t h;
            if (!slm_jinja_burn(r, 1) || !hash(r, v.list->items[i], &h)) return false;
            *out = (*out ^ h) * UINT64_C(0x9E3779B97F4A7C15) + i;
        }
        r->depth--;
    } else if (v.kind == V_NONE || v.kind == V_UNDEFINED) {
        *out = v.kind;
    } else {
        *out = slm_hash_bytes(&v.list, sizeof v.list, 4); /* identity */
    }
    return true;
}

/* The entry with this key or NULL. */
static struct entry *find_entry(struct render *r, const struct dict *d, struct value key, uint64_t h)
{
    if (!d->index) {
        for (size_t i = 0; i < d->n; i++)
            if (d->entries[i].hash == h && slm_jinja_equal(r, d->entries[i].key, key) == 1) return &d->entries[i];
        return NULL;
    }
    for (uint64_t at = h; d->index[at & (d->index_cap - 1)]; at++) {
        struct entry *e = &d->entries[d->index[at & (d->index_cap - 1)] - 1];
        if (e->hash == h && slm_jinja_equal(r, e->key, key) == 1) return e;
    }
    return NULL;
}

/* The table holds twice as many slots as entries, so searching it is short. */
static bool grow_dict(struct render *r, struct dict *d)
{
    size_t cap = d->cap ? d->cap * 2 : 8;
    struct entry *entries = slm_jinja_alloc(r, cap, sizeof *entries);
    if (!entries) return false;
    if (d->n) memcpy(entries, d->entries, d->n * sizeof *entries);
    d->entries = entries;
    d->cap = cap;
    if (cap <= 8) return true;
    d->index_cap = 2 * cap;
    if (!(d->index = slm_jinja_alloc(r, d->index_cap, sizeof *d->index))) return false;
    for (size_t i = 0; i < d->n; i++) {
        uint64_t at = entries[i].hash;
        while (d->index[at & (d->index_cap - 1)]) at++;
        d->index[at & (d->index_cap - 1)] = (uint32_t)i + 1;
    }
    return true;
}

/* false = failed: out of a budget, or a key that cannot be hashed. */
bool slm_jinja_dict_set(struct render *r, struct dict *d, struct value key, struct value value)
{
    uint64_t h;
    if (value.kind == V_FAIL || key.kind == V_FAIL || !hash(r, key, &h) || !slm_jinja_burn(r, 1)) return false;
    struct entry *e = find_entry(r, d, key, h);
    if (r->status != SLM_OK) return false;
    if (e) {
        e->value = value; /* the first key stays, as in Python */
        return true;
    }
    if (d->n == d->cap && !grow_dict(r, d)) return false;
    d->entries[d->n] = (struct entry){key, value, h};
    d->n++;
    if (d->index) {
        uint64_t at = h;
        while (d->index[at & (d->index_cap - 1)]) at++;
        d->index[at & (d->index_cap - 1)] = (uint32_t)d->n;
    }
    return true;
}

/* A key that cannot be hashed is an error here; slm_jinja_getitem asks first. */
struct value slm_jinja_dict_get(struct render *r, const struct dict *d, struct value key)
{
    uint64_t h;
    if (!hash(r, key, &h)) return v_fail();
    const struct entry *e = find_entry(r, d, key, h);
    if (r->status != SLM_OK) return v_fail();
    return e ? e->value : v_missing();
}

/* The key need not be a value of the rendering. */
struct value slm_jinja_dict_get_text(struct render *r, const struct dict *d, const char *ptr, size_t len)
{
    const struct text key = {.ptr = ptr, .len = len};
    return slm_jinja_dict_get(r, d, v_text(&key));
}

/* ---- undefined ---------------------------------------------------------------------------------------------- */

/* name is NULL where there is none worth telling. */
struct value slm_jinja_undefined(struct render *r, unsigned sub, const struct text *name)
{
    (void)r;
    return (struct value){.kind = V_UNDEFINED, .sub = (uint8_t)sub, .s = name};
}

/* jinja2's sentences, since people search for them. */
struct value slm_jinja_use_undefined(struct render *r, struct value v)
{
    int n = v.s ? (int)(v.s->len > 200 ? 200 : v.s->len) : 0;
    const char *name = v.s ? v.s->ptr : "";
    if (v.sub == UNDEFINED_HINT) return TYPE_ERROR(r, "%.*s", n, name);
    if (v.sub == UNDEFINED_NAME) return TYPE_ERROR(r, "'%.*s' is undefined", n, name);
    if (v.sub == UNDEFINED_UNSAFE) return TYPE_ERROR(r, "access to attribute '%.*s' is unsafe", n, name);
    return TYPE_ERROR(r, "'%s' has no attribute '%.*s'", slm_jinja_type_name((struct value){.kind = v.sub}), n, name);
}

/* ---- questions ---------------------------------------------------------------------------------------------- */

/* Python's, since messages of templates are read by people who know jinja2. */
const char *slm_jinja_type_name(struct value v)
{
    static const char *const names[V_KIND_COUNT] = {
        "?", "?", "Undefined", "NoneType", "bool", "int", "float", "str", "list", "tuple", "dict", "range",
        "dict_items", "generator", "Namespace", "LoopContext", "Macro", "function", "method", "Cycler", "Joiner"};
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    if (v.kind == V_VIEW) return views[v.sub];
    return v.kind < V_KIND_COUNT ? names[v.kind] : "object";
}

/* Empty is false; objects without a size are true. */
bool slm_jinja_truth(struct value v)
{
    switch (v.kind) {
    case V_UNDEFINED: case V_NONE: return false;
    case V_BOOL: return v.b;
    case V_INT: return v.i != 0;
    case V_FLOAT: return v.f != 0;
    case V_STR: return v.s->len > 0;
    case V_LIST: case V_TUPLE: return v.list->n > 0;
    case V_DICT: case V_VIEW: return v.dict->n > 0;
    case V_RANGE: return v.range->n > 0;
    default: return true;
    }
}

/* 1, 0, or -1 = failed: too deep or out of fuel. The same list is equal without a look, even one
 * that holds NaN. */
static int equal_lists(struct render *r, const struct list *a, const struct list *b)
{
    if (a == b) return 1;
    if (a->n != b->n) return 0;
    if (!slm_jinja_enter(r)) return -1;
    int same = 1;
    for (size_t i = 0; i < a->n && same == 1; i++) same = slm_jinja_equal(r, a->items[i], b->items[i]);
    r->depth--;
    return same;
}

/* Order does not matter. */
static int equal_dicts(struct render *r, const struct dict *a, const struct dict *b)
{
    if (a == b) return 1; /* shared, as values that never change often are */
    if (a->n != b->n) return 0;
    if (!slm_jinja_enter(r)) return -1;
    int same = 1;
    for (size_t i = 0; i < a->n && same == 1; i++) {
        const struct entry *e = find_entry(r, b, a->entries[i].key, a->entries[i].hash);
        same = r->status != SLM_OK ? -1 : e ? slm_jinja_equal(r, a->entries[i].value, e->value) : 0;
    }
    r->depth--;
    return same;
}

/* keys() and items() compare as sets, values() as objects: and each values() is a new one. */
static int equal_views(struct render *r, struct value a, struct value b)
{
    if (a.sub != b.sub || a.sub == VIEW_VALUES) return 0;
    if (a.sub == VIEW_ITEMS) return equal_dicts(r, a.dict, b.dict);
    if (a.dict->n != b.dict->n) return 0;
    for (size_t i = 0; i < a.dict->n; i++) {
        const struct entry *e = &a.dict->entries[i];
        if (!find_entry(r, b.dict, e->key, e->hash)) return r->status == SLM_OK ? 0 : -1;
    }
    return 1;
}

/* As the sequences of their numbers. */
static int equal_ranges(const struct range *a, const struct range *b)
{
    if (a->n != b->n || a->n == 0) return a->n == b->n;
    return a->start == b->start && (a->n == 1 || a->step == b->step);
}

/* Never an error for types: what cannot be equal is not. */
int slm_jinja_equal(struct render *r, struct value a, struct value b)
{
    if (!slm_jinja_burn(r, 1)) return -1;
    if (is_number(a) && is_number(b)) return slm_jinja_order_numbers(a, b) == 0;
    if (a.kind != b.kind) return 0;
    switch (a.kind) {
    case V_UNDEFINED: case V_NONE: return 1;
    case V_STR: return slm_jinja_burn(r, a.s->len / 64) ? slm_str_equal(text_str(a.s), text_str(b.s)) : -1;
    case V_LIST: case V_TUPLE: return equal_lists(r, a.list, b.list);
    case V_DICT: return equal_dicts(r, a.dict, b.dict);
    case V_RANGE: return equal_ranges(a.range, b.range);
    case V_VIEW: return equal_views(r, a, b);
    case V_METHOD: return a.method == b.method;
    default: return a.list == b.list; /* identity */
    }
}

/* The first pair that differs decides; else the length. */
static int order_lists(struct render *r, const struct list *a, const struct list *b, int op)
{
    if (!slm_jinja_enter(r)) return -1;
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    int same = 1;
    while (i < n && (same = slm_jinja_equal(r, a->items[i], b->items[i])) == 1) i++;
    int result = same < 0 ? -1 : i < n ? slm_jinja_order(r, a->items[i], b->items[i], op)
                                       : slm_jinja_order(r, v_int((int64_t)a->n), v_int((int64_t)b->n), op);
    r->depth--;
    return result;
}

/* Numbers, strings and sequences among themselves; everything else is an error, as in Python 3. */
int slm_jinja_order(struct render *r, struct value a, struct value b, int op)
{
    static const char *const shown[] = {"<", "<=", ">", ">="};
    int c;
    if (!slm_jinja_burn(r, 1)) return -1;
    if (is_number(a) && is_number(b)) {
        c = slm_jinja_order_numbers(a, b);
        if (c == 2) return 0;
    } else if (a.kind == V_STR && b.kind == V_STR) {
        size_t n = a.s->len < b.s->len ? a.s->len : b.s->len; /* UTF-8 bytes order as code points do */
        if (!slm_jinja_burn(r, n / 64)) return -1;
        c = n ? memcmp(a.s->ptr, b.s->ptr, n) : 0;
        if (c == 0) c = (a.s->len > b.s->len) - (a.s->len < b.s->len);
    } else if (a.kind == b.kind && (a.kind == V_LIST || a.kind == V_TUPLE)) {
        return order_lists(r, a.list, b.list, op);
    } else {
        if (a.kind == V_UNDEFINED) slm_jinja_use_undefined(r, a);
        else if (b.kind == V_UNDEFINED) slm_jinja_use_undefined(r, b);
        else TYPE_ERROR(r, "'%s' not supported between '%s' and '%s'", shown[op], slm_jinja_type_name(a),
                        slm_jinja_type_name(b));
        return -1;
    }
    return op == ORDER_LT ? c < 0 : op == ORDER_LE ? c <= 0 : op == ORDER_GT ? c > 0 : c >= 0;
}

/* Substring, key, or item; walks anything that can be iterated, and so uses up a generator. */
int slm_jinja_contains(struct render *r, struct value container, struct value item)
{
    if (container.kind == V_STR) {
        if (item.kind != V_STR) {
            TYPE_ERROR(r, "'in <string>' requires string as left operand, not %s", slm_jinja_type_name(item));
            return -1;
        }
        if (!slm_jinja_burn(r, 1 + container.s->len / 64)) return -1;
        return slm_jinja_find(text_str(container.s), text_str(item.s), 0) != SIZE_MAX;
    }
    if (container.kind == V_DICT || (container.kind == V_VIEW && container.sub == VIEW_KEYS)) {
        struct value v = slm_jinja_dict_get(r, container.dict, item);
        return v.kind == V_FAIL ? -1 : v.kind != V_MISSING;
    }
    struct cursor c;
    if (!slm_jinja_iterate(r, container, &c)) return -1;
    for (;;) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return 0;
        int same = v.kind == V_FAIL ? -1 : slm_jinja_equal(r, v, item);
        if (same != 0) return same;
    }
}

/* A generator has none. */
struct value slm_jinja_length(struct render *r, struct value v)
{
    switch (v.kind) {
    case V_UNDEFINED: return v_int(0);
    case V_STR: return v_int((int64_t)v.s->n_chars);
    case V_LIST: case V_TUPLE: return v_int((int64_t)v.list->n);
    case V_DICT: case V_VIEW: return v_int((int64_t)v.dict->n);
    case V_RANGE: return v_int(v.range->n);
    case V_LOOP: return slm_jinja_getattr(r, v, &(const struct text)TEXT("length"));
    default: return TYPE_ERROR(r, "object of type '%s' has no len()", slm_jinja_type_name(v));
    }
}

/* ---- iteration ---------------------------------------------------------------------------------------------- */

/* A loop variable says yes and then is not, a wrinkle of jinja2's LoopContext. */
bool slm_jinja_is_iterable(struct value v)
{
    return v.kind == V_UNDEFINED || v.kind == V_LOOP || (v.kind >= V_STR && v.kind <= V_ITER);
}

/* The error names the type. */
bool slm_jinja_iterate(struct render *r, struct value v, struct cursor *out)
{
    *out = (struct cursor){.source = v};
    if (slm_jinja_is_iterable(v) && v.kind != V_LOOP) return true;
    if (v.kind != V_FAIL) TYPE_ERROR(r, "'%s' object is not iterable", slm_jinja_type_name(v));
    return false;
}

/* Every item costs a step, whatever it is drawn for. */
struct value slm_jinja_next(struct render *r, struct cursor *c)
{
    struct value v = c->source;
    size_t i = c->pos++;
    if (!slm_jinja_burn(r, 1)) return v_fail();
    switch (v.kind) {
    case V_LIST: case V_TUPLE: return i < v.list->n ? v.list->items[i] : v_missing();
    case V_DICT: return i < v.dict->n ? v.dict->entries[i].key : v_missing();
    case V_RANGE: return i < (size_t)v.range->n ? v_int(v.range->start + (int64_t)i * v.range->step) : v_missing();
    case V_ITER: return v.iter->pos < v.iter->n ? v.iter->items[v.iter->pos++] : v_missing();
    case V_STR: {
        if (i >= v.s->len) return v_missing();
        size_t end = i + 1;
        while (end < v.s->len && ((unsigned char)v.s->ptr[end] & 0xC0) == 0x80) end++;
        c->pos = end;
        return slm_jinja_slice_text(r, v.s, i, end);
    }
    case V_VIEW: {
        if (i >= v.dict->n) return v_missing();
        const struct entry *e = &v.dict->entries[i];
        return v.sub == VIEW_KEYS ? e->key : v.sub == VIEW_VALUES ? e->value : slm_jinja_pair(r, e->key, e->value);
    }
    default: return v_missing(); /* undefined is empty */
    }
}

/* The list itself when it is one: lists do not change. */
const struct list *slm_jinja_to_list(struct render *r, struct value v)
{
    if (v.kind == V_LIST || v.kind == V_TUPLE) return v.list;
    struct cursor c;
    struct builder b = {0};
    if (!slm_jinja_iterate(r, v, &c)) return NULL;
    for (;;) {
        struct value item = slm_jinja_next(r, &c);
        if (item.kind == V_MISSING) break;
        if (!slm_jinja_push(r, &b, item)) return NULL;
    }
    struct value list = slm_jinja_build(r, &b, V_LIST);
    return list.kind == V_FAIL ? NULL : list.list;
}
