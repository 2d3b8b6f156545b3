/* SPDX-License-Identifier: MIT
 * Filters over sequences. What jinja2 makes a generator (map, select, unique, batch ...) is computed at once here and
 * handed out as V_ITER: like a generator it can be walked once and has no length.
 *
 * Inputs may be any iterable: lists, strings, dicts (their keys), views, ranges, generators, undefined (empty). Every
 * item drawn costs fuel, and so does every comparison; sorting is n log n of them. Nothing here changes its input. A
 * filter that gives up half-way leaves no trace but the error, for results are only built at the end. */
#include <ctype.h>
#include "template/filters.h"

/* ---- attributes by path: "a.b.0" ---------------------------------------------------------------------------- */

/* A part of digits is an index, as in 'tags.0'. */
static struct value path_part(struct render *r, struct value v, struct slm_str part)
{
    bool digits = part.len > 0;
    for (size_t i = 0; i < part.len; i++) digits &= isdigit((unsigned char)part.ptr[i]) != 0;
    int64_t i;
    if (digits && slm_jinja_parse_int(part, 10, &i) == 1) return slm_jinja_getitem(r, v, v_int(i));
    struct value key = slm_jinja_view(r, part.ptr, part.len);
    return key.kind == V_FAIL ? key : slm_jinja_getitem(r, v, key);
}

/* fallback replaces each undefined step, when given. */
static struct value follow(struct render *r, struct value v, struct value path, struct value fallback)
{
    if (path.kind == V_MISSING || path.kind == V_NONE) return v;
    if (path.kind != V_STR) {
        v = slm_jinja_getitem(r, v, path);
        return v.kind == V_UNDEFINED && fallback.kind != V_MISSING ? fallback : v;
    }
    struct slm_str rest = text_str(path.s);
    for (;;) {
        const char *dot = rest.len ? memchr(rest.ptr, '.', rest.len) : NULL;
        size_t n = dot ? (size_t)(dot - rest.ptr) : rest.len;
        v = path_part(r, v, (struct slm_str){rest.ptr, n});
        if (v.kind == V_UNDEFINED && fallback.kind != V_MISSING && fallback.kind != V_NONE) v = fallback;
        if (v.kind == V_FAIL || !dot) return v;
        rest = (struct slm_str){dot + 1, rest.len - n - 1};
    }
}

/* What jinja2 compares by: an attribute, and strings without regard to case unless asked. */
static struct value sort_key(struct render *r, struct value v, struct value attribute, bool case_sensitive)
{
    v = follow(r, v, attribute, v_missing());
    return v.kind == V_STR && !case_sensitive ? slm_jinja_case(r, v.s, CASE_LOWER) : v;
}

/* ---- sorting ------------------------------------------------------------------------------------------------ */

/* A value and what it is sorted by; keys are computed once. */
struct sorted { struct value key, value; };
/* 1 = b goes before a, 0 = not, -1 = failed. */
typedef int (*before_fn)(struct render *r, struct value b, struct value a);

/* dictsort and groupby compare the keys themselves, so two None are an error. */
static int plain_before(struct render *r, struct value b, struct value a)
{
    return slm_jinja_order(r, b, a, ORDER_LT);
}

/* The keys of sort() are lists in jinja2, and lists skip over what is equal before they ask which is less. */
static int list_before(struct render *r, struct value b, struct value a)
{
    int same = slm_jinja_equal(r, b, a);
    return same != 0 ? same < 0 ? -1 : 0 : slm_jinja_order(r, b, a, ORDER_LT);
}

/* Stable bottom-up merge sort; reverse keeps equal items in their order too, as in Python. */
static bool merge_sort(struct render *r, struct sorted *items, size_t n, before_fn before, bool reverse)
{
    struct sorted *from = items, *to = slm_jinja_alloc(r, n + 1, sizeof *to);
    if (!to) return false;
    /* runs of `width` are sorted; each pass merges neighbours from one array into the other */
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t start = 0; start < n; start += 2 * width) {
            size_t a = start, mid = start + width < n ? start + width : n;
            size_t b = mid, end = start + 2 * width < n ? start + 2 * width : n;
            for (size_t i = start; i < end; i++) {
                int take_b = a == mid;
                if (a < mid && b < end)
                    take_b = reverse ? before(r, from[a].key, from[b].key) : before(r, from[b].key, from[a].key);
                if (take_b < 0 || !slm_jinja_burn(r, 1)) return false;
                to[i] = take_b ? from[b++] : from[a++];
            }
        }
        struct sorted *swap = from;
        from = to;
        to = swap;
    }
    if (from != items && n > 0) memcpy(items, from, n * sizeof *items);
    return true;
}

/* Drops the keys. */
static struct value unwrap(struct render *r, const struct sorted *items, size_t n)
{
    struct value out = slm_jinja_list(r, V_LIST, n);
    for (size_t i = 0; i < n && out.kind != V_FAIL; i++) out.list->items[i] = items[i].value;
    return out;
}

/* A key of several attributes, "a,b", is a list of them. */
static struct value multi_key(struct render *r, struct value v, struct value attribute, bool case_sensitive)
{
    struct builder b = {0};
    if (attribute.kind != V_STR || !memchr(attribute.s->ptr, ',', attribute.s->len))
        return sort_key(r, v, attribute, case_sensitive);
    for (size_t from = 0, i = 0; i <= attribute.s->len; i++) {
        if (i < attribute.s->len && attribute.s->ptr[i] != ',') continue;
        struct value part = slm_jinja_slice_text(r, attribute.s, from, i);
        if (part.kind == V_FAIL || !slm_jinja_push(r, &b, sort_key(r, v, part, case_sensitive))) return v_fail();
        from = i + 1;
    }
    return slm_jinja_build(r, &b, V_LIST);
}

/* Stable. Values that cannot be compared are an error, as soon as two of them meet. */
static struct value f_sort(struct render *r, struct value self, struct value *a)
{
    /* a[0] reverse, a[1] case_sensitive, a[2] attribute */
    const struct list *l = slm_jinja_to_list(r, self);
    struct sorted *items = l ? slm_jinja_alloc(r, l->n + 1, sizeof *items) : NULL;
    if (!items) return v_fail();
    for (size_t i = 0; i < l->n; i++) {
        items[i] = (struct sorted){multi_key(r, l->items[i], a[2], slm_jinja_flag(a[1], false)), l->items[i]};
        if (items[i].key.kind == V_FAIL) return v_fail();
    }
    return merge_sort(r, items, l->n, list_before, slm_jinja_flag(a[0], false)) ? unwrap(r, items, l->n) : v_fail();
}

/* Pairs of a dict by key or value. */
static struct value f_dictsort(struct render *r, struct value self, struct value *a)
{
    bool by_value = a[1].kind == V_STR && slm_str_is(text_str(a[1].s), "value");
    bool by_key = a[1].kind == V_MISSING || (a[1].kind == V_STR && slm_str_is(text_str(a[1].s), "key"));
    if (!by_value && !by_key) return TYPE_ERROR(r, "You can only sort by either \"key\" or \"value\"");
    if (self.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, self);
    if (self.kind != V_DICT) return TYPE_ERROR(r, "'%s' object has no items()", slm_jinja_type_name(self));
    size_t n = self.dict->n;
    struct sorted *items = slm_jinja_alloc(r, n + 1, sizeof *items);
    for (size_t i = 0; items && i < n; i++) {
        const struct entry *e = &self.dict->entries[i];
        items[i].value = slm_jinja_pair(r, e->key, e->value);
        items[i].key = sort_key(r, by_value ? e->value : e->key, v_missing(), slm_jinja_flag(a[0], false));
        if (items[i].value.kind == V_FAIL || items[i].key.kind == V_FAIL) return v_fail();
    }
    if (!items || !merge_sort(r, items, n, plain_before, slm_jinja_flag(a[2], false))) return v_fail();
    return unwrap(r, items, n);
}

/* Sorts, then gathers neighbours with equal keys. The key shown is that of the first of a group, in
 * its own case. */
static struct value f_groupby(struct render *r, struct value self, struct value *a)
{
    const struct list *l = slm_jinja_to_list(r, self);
    struct sorted *items = l ? slm_jinja_alloc(r, l->n + 1, sizeof *items) : NULL;
    bool sensitive = slm_jinja_flag(a[2], false);
    struct builder groups = {0};
    if (!items) return v_fail();
    for (size_t i = 0; i < l->n; i++) {
        struct value key = follow(r, l->items[i], a[0], a[1]);
        if (key.kind == V_STR && !sensitive) key = slm_jinja_case(r, key.s, CASE_LOWER);
        items[i] = (struct sorted){key, l->items[i]};
        if (key.kind == V_FAIL) return key;
    }
    if (!merge_sort(r, items, l->n, plain_before, false)) return v_fail();
    for (size_t i = 0; i < l->n;) { /* i moves past one group a round */
        struct builder members = {0};
        struct value key = items[i].key, first = items[i].value;
        int same = 1;
        for (; i < l->n && (same = slm_jinja_equal(r, items[i].key, key)) == 1; i++)
            if (!slm_jinja_push(r, &members, items[i].value)) return v_fail();
        if (same < 0) return v_fail();
        if (!sensitive) key = follow(r, first, a[0], a[1]);
        struct value list = slm_jinja_build(r, &members, V_LIST);
        if (list.kind == V_FAIL || !slm_jinja_push(r, &groups, slm_jinja_pair(r, key, list))) return v_fail();
    }
    return slm_jinja_build(r, &groups, V_LIST);
}

/* ---- one value out of many ---------------------------------------------------------------------------------- */

/* jinja2 gives an undefined value for the first, last or best of nothing; used, it fails with this
 * sentence. */
static struct value empty_hint(struct render *r, const struct text *hint)
{
    return slm_jinja_undefined(r, UNDEFINED_HINT, hint);
}

/* Takes one item off a generator. */
static struct value f_first(struct render *r, struct value self, struct value *a)
{
    static const struct text hint = TEXT("No first item, sequence was empty.");
    struct cursor c;
    (void)a;
    if (!slm_jinja_iterate(r, self, &c)) return v_fail();
    struct value v = slm_jinja_next(r, &c);
    return v.kind == V_MISSING ? empty_hint(r, &hint) : v;
}

/* What Python's reversed() accepts; a generator is not among it. */
static bool is_reversible(struct value v)
{
    return v.kind == V_STR || v.kind == V_LIST || v.kind == V_TUPLE || v.kind == V_DICT || v.kind == V_RANGE ||
           v.kind == V_VIEW || v.kind == V_UNDEFINED;
}

/* Indexed where possible, so that the last of a long list costs nothing. */
static struct value f_last(struct render *r, struct value self, struct value *a)
{
    static const struct text hint = TEXT("No last item, sequence was empty.");
    (void)a;
    if (self.kind == V_STR || self.kind == V_LIST || self.kind == V_TUPLE || self.kind == V_RANGE) {
        if (slm_jinja_length(r, self).i == 0) return empty_hint(r, &hint);
        return slm_jinja_getitem(r, self, v_int(-1));
    }
    if (!is_reversible(self)) return TYPE_ERROR(r, "'%s' object is not reversible", slm_jinja_type_name(self));
    const struct list *l = slm_jinja_to_list(r, self);
    return !l ? v_fail() : l->n ? l->items[l->n - 1] : empty_hint(r, &hint);
}

/* min and max: the first of several equal ones wins. */
static struct value extreme(struct render *r, struct value self, struct value *a, int op)
{
    static const struct text hint = TEXT("No aggregated item, sequence was empty.");
    struct cursor c;
    struct value best = v_missing(), best_key = v_missing();
    if (!slm_jinja_iterate(r, self, &c)) return v_fail();
    for (;;) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return best.kind == V_MISSING ? empty_hint(r, &hint) : best;
        struct value key = v.kind == V_FAIL ? v : sort_key(r, v, a[1], slm_jinja_flag(a[0], false));
        if (key.kind == V_FAIL) return key;
        int better = best.kind == V_MISSING ? 1 : slm_jinja_order(r, key, best_key, op);
        if (better < 0) return v_fail();
        if (better) best = v, best_key = key;
    }
}

/* a[0] case_sensitive, a[1] attribute, for both. */
static struct value f_min(struct render *r, struct value self, struct value *a)
{
    return extreme(r, self, a, ORDER_LT);
}
static struct value f_max(struct render *r, struct value self, struct value *a)
{
    return extreme(r, self, a, ORDER_GT);
}

/* Starts from 0, or from start; adds with +, so lists can be summed onto a list but strings cannot.
 * */
static struct value f_sum(struct render *r, struct value self, struct value *a)
{
    struct cursor c;
    struct value total = a[1].kind == V_MISSING ? v_int(0) : a[1];
    if (total.kind == V_STR) return TYPE_ERROR(r, "sum() can't sum strings");
    if (!slm_jinja_iterate(r, self, &c)) return v_fail();
    while (total.kind != V_FAIL) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return total;
        v = v.kind == V_FAIL ? v : follow(r, v, a[0], v_missing());
        total = v.kind == V_FAIL ? v : slm_jinja_binary(r, OP_ADD, total, v);
    }
    return total;
}

/* str() of each item with the separator between. */
static struct value f_join(struct render *r, struct value self, struct value *a)
{
    struct cursor c;
    size_t start = r->out.len;
    struct value separator = a[0].kind == V_MISSING ? slm_jinja_view(r, "", 0) : slm_jinja_to_str(r, a[0]);
    if (separator.kind == V_FAIL || !slm_jinja_iterate(r, self, &c)) return v_fail();
    for (size_t i = 0;; i++) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return slm_jinja_capture(r, start);
        v = v.kind == V_FAIL ? v : follow(r, v, a[1], v_missing());
        if (v.kind == V_FAIL || (i > 0 && !slm_jinja_put(r, separator.s->ptr, separator.s->len)) ||
            !slm_jinja_print(r, v))
            return v_fail();
    }
}

/* ---- many values out of many -------------------------------------------------------------------------------- */

/* A generator becomes a list; a string becomes its characters. */
static struct value f_list(struct render *r, struct value self, struct value *a)
{
    const struct list *l = slm_jinja_to_list(r, self);
    (void)a;
    return l ? (struct value){.kind = V_LIST, .list = l} : v_fail();
}

/* A string is reversed by code points. */
static struct value f_reverse(struct render *r, struct value self, struct value *a)
{
    struct builder b = {0};
    (void)a;
    if (self.kind == V_STR) return slm_jinja_getslice(r, self, v_none(), v_none(), v_int(-1));
    const struct list *l = slm_jinja_to_list(r, self);
    if (!l) return v_fail();
    for (size_t i = l->n; i-- > 0;)
        if (!slm_jinja_push(r, &b, l->items[i])) return v_fail();
    /* jinja2 gives an iterator for what can be reversed in place, a list for the rest */
    return slm_jinja_build(r, &b, is_reversible(self) ? V_ITER : V_LIST);
}

/* Keeps the first of equal items, which have to be hashable. */
static struct value f_unique(struct render *r, struct value self, struct value *a)
{
    struct value seen = slm_jinja_dict(r);
    struct builder b = {0};
    struct cursor c;
    if (seen.kind == V_FAIL || !slm_jinja_iterate(r, self, &c)) return v_fail();
    for (;;) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return slm_jinja_build(r, &b, V_ITER);
        struct value key = v.kind == V_FAIL ? v : sort_key(r, v, a[1], slm_jinja_flag(a[0], false));
        size_t before = seen.dict->n;
        if (key.kind == V_FAIL || !slm_jinja_dict_set(r, seen.dict, key, v_none())) return v_fail();
        if (seen.dict->n > before && !slm_jinja_push(r, &b, v)) return v_fail();
    }
}

/* Pads the last row of batch and slice, when there is something to pad with. */
static bool fill_up(struct render *r, struct builder *b, struct value fill, int64_t n)
{
    while (fill.kind != V_MISSING && fill.kind != V_NONE && (int64_t)b->n < n)
        if (!slm_jinja_push(r, b, fill)) return false;
    return true;
}

/* Rows of so many items. */
static struct value f_batch(struct render *r, struct value self, struct value *a)
{
    const struct list *l = slm_jinja_to_list(r, self);
    struct builder rows = {0}, row = {0};
    int64_t size;
    if (!l || !slm_jinja_int_arg(r, a[0], 0, &size)) return v_fail();
    for (size_t i = 0; i < l->n; i++) {
        if ((int64_t)row.n == size) { /* a size of 0 gives an empty first row, as in jinja2 */
            if (!slm_jinja_push(r, &rows, slm_jinja_build(r, &row, V_LIST))) return v_fail();
            row = (struct builder){0};
        }
        if (!slm_jinja_push(r, &row, l->items[i])) return v_fail();
    }
    if (row.n > 0 && (!fill_up(r, &row, a[1], size) || !slm_jinja_push(r, &rows, slm_jinja_build(r, &row, V_LIST))))
        return v_fail();
    return slm_jinja_build(r, &rows, V_ITER);
}

/* So many columns; the first ones are longer by one when it does not divide. */
static struct value f_slice(struct render *r, struct value self, struct value *a)
{
    const struct list *l = slm_jinja_to_list(r, self);
    struct builder columns = {0};
    int64_t n;
    if (!l || !slm_jinja_int_arg(r, a[0], 1, &n)) return v_fail();
    if (n == 0) return TYPE_ERROR(r, "slice: division by zero");
    int64_t each = n > 0 ? (int64_t)l->n / n : 0, longer = n > 0 ? (int64_t)l->n % n : 0;
    for (int64_t k = 0, at = 0; k < n; k++) {
        struct builder column = {0};
        int64_t size = each + (k < longer);
        for (int64_t i = 0; i < size; i++)
            if (!slm_jinja_push(r, &column, l->items[at++])) return v_fail();
        if (k >= longer && !fill_up(r, &column, a[1], size + 1)) return v_fail();
        if (!slm_jinja_push(r, &columns, slm_jinja_build(r, &column, V_LIST))) return v_fail();
    }
    return slm_jinja_build(r, &columns, V_ITER);
}

/* ---- map, select, reject ------------------------------------------------------------------------------------ */

/* V_MISSING when it was not given. */
static struct value keyword_arg(const struct call *call, const char *name)
{
    for (size_t i = 0; i < call->n_keywords; i++)
        if (slm_str_is(text_str(call->keywords[i].name), name)) return call->keywords[i].value;
    return v_missing();
}

/* A filter or test by its name at run time; NULL = failed. Names that came with the source were
 * checked when it was parsed. */
static const struct builtin *named(struct render *r, struct value name, bool filter)
{
    const struct builtin *b = NULL;
    if (name.kind == V_STR) b = filter ? slm_jinja_find_filter(text_str(name.s))
        : slm_jinja_find_test(text_str(name.s));
    if (!b)
        TYPE_ERROR(r, "no %s named '%.*s'", filter ? "filter" : "test",
                   name.kind == V_STR ? (int)(name.s->len > 60 ? 60 : name.s->len) : 1,
                   name.kind == V_STR ? name.s->ptr : "?");
    return b;
}

/* map(attribute=path, default=x), or map('filter', arguments). Deep nesting (map of map of map)
 * counts as depth. */
static struct value f_map(struct render *r, struct value self, const struct call *call)
{
    struct builder b = {0};
    struct cursor c;
    struct value attribute = keyword_arg(call, "attribute"), fallback = keyword_arg(call, "default");
    bool by_attribute = call->n_args == 0 && attribute.kind != V_MISSING;
    if (!slm_jinja_truth(self)) return slm_jinja_build(r, &b, V_ITER);
    size_t used = 1 + (fallback.kind != V_MISSING);
    if (by_attribute && call->n_keywords > used) return TYPE_ERROR(r, "map: unexpected keyword argument");
    if (!by_attribute && call->n_args == 0) return TYPE_ERROR(r, "map requires a filter argument");
    if (!slm_jinja_iterate(r, self, &c)) return v_fail();
    const struct call rest = by_attribute ? (struct call){0}
                                          : (struct call){call->args + 1, call->n_args - 1, call->keywords,
                                              call->n_keywords};
    const struct builtin *filter = NULL;
    for (;;) {
        struct value v = slm_jinja_next(r, &c);
        if (v.kind == V_MISSING) return slm_jinja_build(r, &b, V_ITER);
        if (v.kind == V_FAIL) return v;
        if (!by_attribute && !filter && !(filter = named(r, call->args[0], true))) return v_fail();
        if (!slm_jinja_enter(r)) return v_fail();
        v = by_attribute ? follow(r, v, attribute, fallback) : slm_jinja_call_builtin(r, filter, v, &rest);
        r->depth--;
        if (!slm_jinja_push(r, &b, v)) return v_fail();
    }
}

/* The four of select and reject: by the truth of the item or of a test on it, or on an attribute of
 * it. */
static struct value choose(struct render *r, struct value self, const struct call *call, bool by_attribute, bool wanted)
{
    struct builder b = {0};
    struct cursor c;
    size_t off = by_attribute ? 1 : 0;
    if (!slm_jinja_truth(self)) return slm_jinja_build(r, &b, V_ITER);
    if (call->n_args < off) return TYPE_ERROR(r, "Missing parameter for attribute name");
    if (!slm_jinja_iterate(r, self, &c)) return v_fail();
    bool has_test = call->n_args > off;
    const struct call rest = has_test ? (struct call){call->args + off + 1, call->n_args - off - 1, call->keywords,
                                                      call->n_keywords} : (struct call){0};
    const struct builtin *test = NULL;
    for (;;) {
        struct value item = slm_jinja_next(r, &c);
        if (item.kind == V_MISSING) return slm_jinja_build(r, &b, V_ITER);
        struct value v = item.kind == V_FAIL || !by_attribute ? item : follow(r, item, call->args[0], v_missing());
        if (v.kind == V_FAIL) return v;
        if (has_test && !test && !(test = named(r, call->args[off], false))) return v_fail();
        if (test && (v = slm_jinja_call_builtin(r, test, v, &rest)).kind == V_FAIL) return v;
        if (slm_jinja_truth(v) == wanted && !slm_jinja_push(r, &b, item)) return v_fail();
    }
}

/* Items that pass, that do not, and the same by an attribute. */
static struct value f_select(struct render *r, struct value s, const struct call *c)
{
    return choose(r, s, c, false, true);
}
static struct value f_reject(struct render *r, struct value s, const struct call *c)
{
    return choose(r, s, c, false, false);
}
static struct value f_selectattr(struct render *r, struct value s, const struct call *c)
{
    return choose(r, s, c, true, true);
}
static struct value f_rejectattr(struct render *r, struct value s, const struct call *c)
{
    return choose(r, s, c, true, false);
}

/* Parameters in the order in which jinja2 takes them by position. */
const struct builtin slm_jinja_sequence_filters[] = {
    {"join", f_join, 0, {"d", "attribute"}, NULL},
    {"first", f_first, 0, {0}, NULL},
    {"last", f_last, 0, {0}, NULL},
    {"list", f_list, 0, {0}, NULL},
    {"reverse", f_reverse, 0, {0}, NULL},
    {"sort", f_sort, 0, {"reverse", "case_sensitive", "attribute"}, NULL},
    {"dictsort", f_dictsort, 0, {"case_sensitive", "by", "reverse"}, NULL},
    {"groupby", f_groupby, 1, {"attribute", "default", "case_sensitive"}, NULL},
    {"unique", f_unique, 0, {"case_sensitive", "attribute"}, NULL},
    {"min", f_min, 0, {"case_sensitive", "attribute"}, NULL},
    {"max", f_max, 0, {"case_sensitive", "attribute"}, NULL},
    {"sum", f_sum, 0, {"attribute", "start"}, NULL},
    {"batch", f_batch, 1, {"linecount", "fill_with"}, NULL},
    {"slice", f_slice, 1, {"slices", "fill_with"}, NULL},
    {.name = "map", .raw = f_map},
    {.name = "select", .raw = f_select},
    {.name = "reject", .raw = f_reject},
    {.name = "selectattr", .raw = f_selectattr},
    {.name = "rejectattr", .raw = f_rejectattr},
};
const size_t slm_jinja_n_sequence_filters = sizeof slm_jinja_sequence_filters / sizeof *slm_jinja_sequence_filters;
