/* SPDX-License-Identifier: MIT
 * x.name, x[key], x[a:b:c] and x(...): what jinja2's sandbox lets a template reach.
 * The order matters and is jinja2's: x.name looks for an attribute of the type first (so d.items is the method even
 * when d has that key), x['name'] for the key first. Names with two leading underscores, Python's way into the
 * interpreter, are an error here; nothing exists behind them anyway. */
#include "template/eval.h"

/* A method together with the value it belongs to: `x.strip` without a call is a value like others.
 * */
static struct value bind_method(struct render *r, struct value self, const struct builtin *b)
{
    struct method *m = slm_jinja_alloc(r, 1, sizeof *m);
    if (!m) return v_fail();
    *m = (struct method){self, b};
    return (struct value){.kind = V_METHOD, .method = m};
}

/* Attributes of the type, V_MISSING when there is none of that name. */
static struct value type_attribute(struct render *r, struct value v, const struct text *name)
{
    bool unsafe = false;
    if (name->len >= 2 && name->ptr[0] == '_' && name->ptr[1] == '_')
        return TYPE_ERROR(r, "access to attribute '%.*s' is not allowed", (int)(name->len > 60 ? 60 : name->len),
                          name->ptr);
    if (v.kind == V_LOOP) return slm_jinja_loop_attribute(r, v.loop, text_str(name));
    if (v.kind == V_NAMESPACE) return slm_jinja_dict_get(r, v.ns, v_text(name));
    if (v.kind == V_CYCLER && slm_str_is(text_str(name), "current")) return v.cycler->items->items[v.cycler->pos];
    if (v.kind == V_MACRO && slm_str_is(text_str(name), "name")) return v_text(v.macro->node->text);
    const struct builtin *b = slm_jinja_find_method(v.kind, text_str(name), &unsafe);
    if (unsafe) return slm_jinja_undefined(r, UNDEFINED_UNSAFE, name);
    return b ? bind_method(r, v, b) : v_missing();
}

/* Attribute of the type, then key of a dict, then undefined. Undefined itself has no attributes:
 * that is the error users see most, so it names the variable. */
struct value slm_jinja_getattr(struct render *r, struct value v, const struct text *name)
{
    if (v.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, v);
    struct value found = type_attribute(r, v, name);
    if (found.kind == V_MISSING && v.kind == V_DICT) found = slm_jinja_dict_get(r, v.dict, v_text(name));
    return found.kind == V_MISSING ? slm_jinja_undefined(r, v.kind, name) : found;
}

/* Negative positions count from the end; false = outside. */
static bool position(int64_t i, int64_t n, int64_t *out)
{
    *out = i < 0 ? i + n : i;
    return *out >= 0 && *out < n;
}

/* V_MISSING outside of the sequence: x[9] is undefined in jinja2, not an error. */
static struct value item_at(struct render *r, struct value v, int64_t index)
{
    int64_t i;
    switch (v.kind) {
    case V_LIST: case V_TUPLE: return position(index, (int64_t)v.list->n, &i) ? v.list->items[i] : v_missing();
    case V_RANGE: return position(index, v.range->n, &i) ? v_int(v.range->start + i * v.range->step) : v_missing();
    case V_STR: {
        if (!position(index, (int64_t)v.s->n_chars, &i)) return v_missing();
        if (!slm_jinja_burn(r, v.s->n_chars == v.s->len ? 0 : v.s->len / 64)) return v_fail();
        size_t from = slm_jinja_byte_of(v.s, (size_t)i), to = from + 1;
        while (to < v.s->len && ((unsigned char)v.s->ptr[to] & 0xC0) == 0x80) to++;
        return slm_jinja_slice_text(r, v.s, from, to);
    }
    default: return v_missing();
    }
}

/* Key or index, then attribute. What cannot be a key of the value (a list, or a name for a list)
 * gives undefined, because jinja2 swallows Python's TypeError here. */
struct value slm_jinja_getitem(struct render *r, struct value v, struct value key)
{
    struct value found = v_missing();
    if (v.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, v);
    if (v.kind == V_DICT && slm_jinja_is_hashable(key)) found = slm_jinja_dict_get(r, v.dict, key);
    else if (is_int(key)) found = item_at(r, v, as_int(key));
    if (found.kind == V_MISSING && key.kind == V_STR) found = type_attribute(r, v, key.s);
    if (found.kind == V_MISSING && key.kind != V_STR) key = is_number(key) ? slm_jinja_to_str(r, key) : v_missing();
    if (found.kind != V_MISSING || key.kind == V_FAIL) return key.kind == V_FAIL ? key : found;
    return slm_jinja_undefined(r, v.kind, key.kind == V_STR ? key.s : NULL);
}

/* A slice of n items after Python's rules: `first` and `stop` may be -1 when the step is negative.
 * */
struct slice { int64_t first, stop, step, count; };

/* Python's slice.indices(n), and how many items that is. false = failed. */
static bool slice_indices(struct render *r, const struct value part[3], int64_t n, struct slice *out)
{
    for (int i = 0; i < 3; i++)
        if (part[i].kind != V_NONE && !is_int(part[i]))
            return TYPE_ERROR(r, "slice indices must be integers or None").kind != V_FAIL;
    int64_t step = part[2].kind == V_NONE ? 1 : as_int(part[2]), ends[2];
    if (step == 0) return TYPE_ERROR(r, "slice step cannot be zero").kind != V_FAIL;
    if (step < -INT64_MAX) step = -INT64_MAX;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    for (int i = 0; i < 2; i++) {
        bool from_low = (i == 0) == (step > 0);
        int64_t x = part[i].kind == V_NONE ? 0 : as_int(part[i]);
        if (x < 0) x = x < -n ? low : x + n;
        ends[i] = part[i].kind == V_NONE ? from_low ? low : high : x < low ? low : x > high ? high : x;
    }
    int64_t span = step > 0 ? ends[1] - ends[0] : ends[0] - ends[1], stride = step > 0 ? step : -step;
    *out = (struct slice){ends[0], ends[1], step, span <= 0 ? 0 : (span - 1) / stride + 1};
    return true;
}

/* The slice of a range is a range. */
static struct value slice_range(struct render *r, const struct range *v, const struct slice *s)
{
    struct range *range = slm_jinja_alloc(r, 1, sizeof *range);
    if (!range) return v_fail();
    *range = (struct range){.n = s->count};
    if (__builtin_mul_overflow(s->step, v->step, &range->step) ||
        __builtin_mul_overflow(s->first, v->step, &range->start) ||
        __builtin_add_overflow(range->start, v->start, &range->start) ||
        __builtin_mul_overflow(s->stop, v->step, &range->stop) ||
        __builtin_add_overflow(range->stop, v->start, &range->stop))
        return TYPE_ERROR(r, "the range does not fit 64-bit integers");
    return (struct value){.kind = V_RANGE, .range = range};
}

/* Positions are code points; the text is walked once, whatever the step. */
static struct value slice_text(struct render *r, const struct text *s, int64_t first, int64_t step, int64_t count)
{
    if (!slm_jinja_burn(r, 1 + s->len / 32)) return v_fail();
    if (count == 0) return slm_jinja_view(r, "", 0);
    size_t from = slm_jinja_byte_of(s, (size_t)first), start = r->out.len;
    if (step == 1) return slm_jinja_slice_text(r, s, from, slm_jinja_byte_of(s, (size_t)(first + count)));
    for (int64_t i = 0; i < count; i++) {
        size_t to = from + 1;
        while (to < s->len && ((unsigned char)s->ptr[to] & 0xC0) == 0x80) to++;
        if (!slm_jinja_put(r, s->ptr + from, to - from) || !slm_jinja_burn(r, 1)) return v_fail();
        for (int64_t k = step; k > 0 && from < s->len; k--) /* stepping costs what it passes, once in all */
            do from++;
            while (from < s->len && ((unsigned char)s->ptr[from] & 0xC0) == 0x80);
        for (int64_t k = step; k < 0 && from > 0; k++)
            do from--;
            while (from > 0 && ((unsigned char)s->ptr[from] & 0xC0) == 0x80);
    }
    return slm_jinja_capture(r, start);
}

/* Unlike x[i], a slice of something that has none is an error: jinja2 compiles it to Python's own.
 * */
struct value slm_jinja_getslice(struct render *r, struct value v, struct value start, struct value stop,
                                struct value step_value)
{
    struct value part[3] = {start, stop, step_value};
    struct slice s = {0};
    if (v.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, v);
    if (v.kind != V_STR && v.kind != V_LIST && v.kind != V_TUPLE && v.kind != V_RANGE)
        return TYPE_ERROR(r, "'%s' object cannot be sliced", slm_jinja_type_name(v));
    int64_t n = slm_jinja_length(r, v).i;
    if (!slice_indices(r, part, n, &s)) return v_fail();
    if (v.kind == V_STR) return slice_text(r, v.s, s.first, s.step, s.count);
    if (v.kind == V_RANGE) return slice_range(r, v.range, &s);
    struct value out = slm_jinja_list(r, v.kind, (size_t)s.count);
    if (out.kind == V_FAIL || !slm_jinja_burn(r, (uint64_t)s.count)) return v_fail();
    for (int64_t i = 0; i < s.count; i++) out.list->items[i] = v.list->items[s.first + i * s.step];
    return out;
}

/* Counts as a level of depth, which is what stops a macro that calls itself. */
struct value slm_jinja_call(struct render *r, struct value callee, const struct call *call)
{
    struct value result = v_fail();
    if (!slm_jinja_enter(r)) return result;
    switch (callee.kind) {
    case V_FUNCTION: result = slm_jinja_call_builtin(r, callee.function, v_none(), call); break;
    case V_METHOD: result = slm_jinja_call_builtin(r, callee.method->builtin, callee.method->self, call); break;
    case V_MACRO: result = slm_jinja_call_macro(r, callee.macro, call); break;
    case V_LOOP: result = slm_jinja_call_loop(r, callee.loop, call); break;
    case V_JOINER:
        result = callee.joiner->used ? v_text(callee.joiner->separator) : slm_jinja_view(r, "", 0);
        callee.joiner->used = true;
        break;
    case V_UNDEFINED: result = slm_jinja_use_undefined(r, callee); break;
    default: result = TYPE_ERROR(r, "'%s' object is not callable", slm_jinja_type_name(callee));
    }
    r->depth--;
    return result;
}
