/* SPDX-License-Identifier: MIT
 * Expressions: nodes -> values. Recursive over the tree, whose depth the parser has bounded; every node costs fuel.
 * Each kind has its own small function so that a level of recursion costs little stack. */
#include "template/eval.h"

/* Inlined into one another these would need a frame of hundreds of bytes at every level of recursion. */
#define SEPARATE __attribute__((noinline))

/* Binds arguments to the parameters of a built-in by position, then by name, as Python binds them:
 * too many, unknown, doubled and missing ones are errors before the function runs. */
struct value slm_jinja_call_builtin(struct render *r, const struct builtin *b, struct value self,
                                    const struct call *call)
{
    if (b->raw) return b->raw(r, self, call);
    struct value args[MAX_PARAMS];
    size_t n_params = 0;
    while (n_params < MAX_PARAMS && b->params[n_params]) n_params++;
    if (call->n_args > n_params)
        return TYPE_ERROR(r, "%s() takes at most %zu arguments (%zu given)", b->name, n_params, call->n_args);
    for (size_t i = 0; i < MAX_PARAMS; i++) args[i] = i < call->n_args ? call->args[i] : v_missing();
    for (size_t k = 0; k < call->n_keywords; k++) {
        const struct text *name = call->keywords[k].name;
        size_t i = 0;
        while (i < n_params && !slm_str_is(text_str(name), b->params[i])) i++;
        if (i == n_params || args[i].kind != V_MISSING)
            return TYPE_ERROR(r, "%s() got an unexpected keyword argument '%.*s'", b->name,
                              (int)(name->len > 60 ? 60 : name->len), name->ptr);
        args[i] = call->keywords[k].value;
    }
    for (size_t i = 0; i < b->n_required; i++)
        if (args[i].kind == V_MISSING) return TYPE_ERROR(r, "%s() misses an argument", b->name);
    return b->fn(r, self, args);
}

/* ---- variables ---------------------------------------------------------------------------------------------- */

/* A scope without variables; it stays valid to the end of the rendering, since a macro may hold on
 * to it. */
struct scope *slm_jinja_scope(struct render *r, struct scope *parent)
{
    struct scope *s = slm_jinja_alloc(r, 1, sizeof *s);
    if (s) s->parent = parent;
    return s;
}

/* Assigns in this scope only. Scopes are small, so a list is searched; long searches cost fuel. */
bool slm_jinja_bind(struct render *r, struct scope *scope, uint32_t name, struct value v)
{
    if (v.kind == V_FAIL) return false;
    if (!scope) {
        r->names[name] = v;
        return true;
    }
    if (!slm_jinja_burn(r, 1 + scope->n / 8)) return false;
    for (uint32_t i = 0; i < scope->n; i++) {
        if (scope->items[i].name != name) continue;
        scope->items[i].value = v;
        return true;
    }
    if (scope->n == scope->cap) {
        uint32_t cap = scope->cap ? scope->cap * 2 : 4;
        struct binding *items = slm_jinja_alloc(r, cap, sizeof *items);
        if (!items) return false;
        if (scope->n) memcpy(items, scope->items, scope->n * sizeof *items);
        scope->items = items;
        scope->cap = cap;
    }
    scope->items[scope->n++] = (struct binding){name, v};
    return true;
}

/* The innermost variable of this name: bodies first, outwards, then the template's own level, where
 * the caller's variables and the global functions are too. V_MISSING: none, or one that is not set yet. */
static struct value look_up(struct render *r, const struct scope *scope, uint32_t name)
{
    for (const struct scope *s = scope; s; s = s->parent) {
        if (!slm_jinja_burn(r, s->n / 8)) return v_fail();
        for (uint32_t i = 0; i < s->n; i++)
            if (s->items[i].name == name) return s->items[i].value;
    }
    return r->names[name];
}

/* A missing variable is no error until it is used. */
static struct value eval_name(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v = look_up(r, scope, n->name);
    return v.kind != V_MISSING ? v : slm_jinja_undefined(r, UNDEFINED_NAME, n->text);
}

/* Counts must match exactly, as in Python; any iterable can be taken apart, strings too. */
static bool unpack(struct render *r, struct scope *scope, const struct node *targets, struct value v)
{
    struct cursor c;
    const struct node *t = targets;
    if (!slm_jinja_iterate(r, v, &c)) return false;
    for (;; t = t->next) {
        struct value item = slm_jinja_next(r, &c);
        if (item.kind == V_FAIL) return false;
        if (item.kind == V_MISSING || !t) {
            if (item.kind == V_MISSING && !t) return true;
            return TYPE_ERROR(r, t ? "not enough values to unpack" : "too many values to unpack").kind != V_FAIL;
        }
        if (!slm_jinja_assign(r, scope, t, item)) return false;
    }
}

/* The three kinds of target: a name, a tuple of targets, and an attribute of a namespace, which is
 * the one way to change something outside of a loop. */
bool slm_jinja_assign(struct render *r, struct scope *scope, const struct node *target, struct value v)
{
    if (v.kind == V_FAIL) return false;
    if (target->kind == N_NAME) return slm_jinja_bind(r, scope, target->name, v);
    if (target->kind == N_TUPLE) return unpack(r, scope, target->a, v);
    struct value ns = eval_name(r, scope, target);
    r->at = target;
    if (ns.kind != V_NAMESPACE)
        return TYPE_ERROR(r, "cannot assign attribute on non-namespace object").kind != V_FAIL;
    return slm_jinja_dict_set(r, ns.ns, v_text(target->text), v);
}

/* ---- literals and operators --------------------------------------------------------------------------------- */

/* Also the place where a huge literal pays: each item is a step. */
static SEPARATE struct value eval_items(struct render *r, struct scope *scope, const struct node *n,
    enum value_kind kind)
{
    struct builder b = {0};
    for (const struct node *item = n->a; item; item = item->next)
        if (!slm_jinja_push(r, &b, slm_jinja_eval(r, scope, item))) return v_fail();
    return slm_jinja_build(r, &b, kind);
}

/* Keys and values alternate in the list of nodes; a later equal key replaces the value and keeps
 * the place. */
static SEPARATE struct value eval_dict(struct render *r, struct scope *scope, const struct node *n)
{
    struct value d = slm_jinja_dict(r);
    for (const struct node *item = n->a; item && d.kind != V_FAIL; item = item->next->next) {
        struct value key = slm_jinja_eval(r, scope, item);
        struct value value = key.kind == V_FAIL ? key : slm_jinja_eval(r, scope, item->next);
        r->at = item;
        if (value.kind == V_FAIL || !slm_jinja_dict_set(r, d.dict, key, value)) return v_fail();
    }
    return d;
}

/* Parts that are left out are None, like in Python. */
static SEPARATE struct value eval_slice(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v = slm_jinja_eval(r, scope, n->a), part[3] = {v_none(), v_none(), v_none()};
    const struct node *const nodes[] = {n->b, n->c, n->d};
    for (size_t i = 0; i < 3 && v.kind != V_FAIL; i++)
        if (nodes[i] && (part[i] = slm_jinja_eval(r, scope, nodes[i])).kind == V_FAIL) return v_fail();
    r->at = n;
    return v.kind == V_FAIL ? v : slm_jinja_getslice(r, v, part[0], part[1], part[2]);
}

/* `~` turns both sides into strings. The growing buffer of slm_jinja_concat makes long chains
 * linear. */
static SEPARATE struct value eval_concat(struct render *r, struct scope *scope, const struct node *n)
{
    struct value all = slm_jinja_view(r, "", 0);
    for (const struct node *item = n->a; item && all.kind != V_FAIL; item = item->next) {
        struct value v = slm_jinja_eval(r, scope, item);
        r->at = n;
        v = slm_jinja_to_str(r, v);
        all = v.kind == V_FAIL ? v : slm_jinja_concat(r, all.s, v.s);
        all.sub = STR_PLAIN;
    }
    return all;
}

/* Both sides are evaluated before the types are looked at, so the left error wins. */
static SEPARATE struct value eval_binary(struct render *r, struct scope *scope, const struct node *n)
{
    struct value a = slm_jinja_eval(r, scope, n->a);
    struct value b = a.kind == V_FAIL ? a : slm_jinja_eval(r, scope, n->b);
    r->at = n;
    return b.kind == V_FAIL ? b : slm_jinja_binary(r, n->op, a, b);
}

/* One link of a chain of comparisons: 1, 0, or -1 = failed. */
static int compare(struct render *r, int op, struct value a, struct value b)
{
    if (op <= CMP_NE) {
        int same = slm_jinja_equal(r, a, b);
        return same < 0 || op == CMP_EQ ? same : !same;
    }
    if (op <= CMP_GE) return slm_jinja_order(r, a, b, op - CMP_LT + ORDER_LT);
    int in = slm_jinja_contains(r, b, a);
    return in < 0 || op == CMP_IN ? in : !in;
}

/* a < b < c: each operand is evaluated once, and not at all behind a link that does not hold. */
static SEPARATE struct value eval_compare(struct render *r, struct scope *scope, const struct node *n)
{
    struct value left = slm_jinja_eval(r, scope, n->a);
    for (const struct node *operand = n->b; operand && left.kind != V_FAIL; operand = operand->next) {
        struct value right = slm_jinja_eval(r, scope, operand->a);
        r->at = operand;
        int yes = right.kind == V_FAIL ? -1 : compare(r, operand->op, left, right);
        if (yes <= 0) return yes < 0 ? v_fail() : v_bool(false);
        left = right;
    }
    return left.kind == V_FAIL ? left : v_bool(true);
}

/* Only the branch that is taken is evaluated; without else the value is undefined, with a hint that
 * says so. */
static SEPARATE struct value eval_cond(struct render *r, struct scope *scope, const struct node *n)
{
    static const struct text hint =
        TEXT("the inline if-expression evaluated to false and no else section was defined");
    struct value test = slm_jinja_eval(r, scope, n->a);
    if (test.kind == V_FAIL) return test;
    if (slm_jinja_truth(test)) return slm_jinja_eval(r, scope, n->b);
    return n->c ? slm_jinja_eval(r, scope, n->c) : slm_jinja_undefined(r, UNDEFINED_HINT, &hint);
}

/* `not` works on everything, the signs on numbers only; +true is 1. */
static SEPARATE struct value eval_unary(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v = slm_jinja_eval(r, scope, n->a);
    r->at = n;
    if (v.kind == V_FAIL) return v;
    if (n->kind == N_NOT) return v_bool(!slm_jinja_truth(v));
    if (n->kind == N_NEG) return slm_jinja_negate(r, v);
    if (v.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, v);
    if (!is_number(v)) return TYPE_ERROR(r, "bad operand type for unary +: '%s'", slm_jinja_type_name(v));
    return v.kind == V_BOOL ? v_int(v.b) : v;
}

/* ---- calls, filters, tests ---------------------------------------------------------------------------------- */

/* Arguments while they are being collected, in the arena, because they may outlive this frame. */
struct call_builder { struct builder args; struct keyword *keywords; size_t n_keywords, cap; };

/* A name given twice, also by way of **, is an error. */
static bool add_keyword(struct render *r, struct call_builder *b, const struct text *name, struct value v)
{
    if (v.kind == V_FAIL || !slm_jinja_burn(r, 1 + b->n_keywords / 4)) return false;
    for (size_t i = 0; i < b->n_keywords; i++)
        if (slm_str_equal(text_str(b->keywords[i].name), text_str(name)))
            return TYPE_ERROR(r, "got multiple values for a keyword argument").kind != V_FAIL;
    if (b->n_keywords == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 4;
        struct keyword *keywords = slm_jinja_alloc(r, cap, sizeof *keywords);
        if (!keywords) return false;
        if (b->n_keywords) memcpy(keywords, b->keywords, b->n_keywords * sizeof *keywords);
        b->keywords = keywords;
        b->cap = cap;
    }
    b->keywords[b->n_keywords++] = (struct keyword){name, v};
    return true;
}

/* ** takes dicts with string keys. */
static bool add_mapping(struct render *r, struct call_builder *b, struct value v)
{
    if (v.kind != V_DICT) {
        if (v.kind != V_FAIL) TYPE_ERROR(r, "argument after ** must be a mapping, not %s", slm_jinja_type_name(v));
        return false;
    }
    for (size_t i = 0; i < v.dict->n; i++) {
        struct value key = v.dict->entries[i].key;
        if (key.kind != V_STR) return TYPE_ERROR(r, "keywords must be strings").kind != V_FAIL;
        if (!add_keyword(r, b, key.s, v.dict->entries[i].value)) return false;
    }
    return true;
}

/* * takes any iterable. */
static bool add_star(struct render *r, struct call_builder *b, struct value v)
{
    struct cursor c;
    if (v.kind == V_FAIL || !slm_jinja_iterate(r, v, &c)) return false;
    for (;;) {
        struct value item = slm_jinja_next(r, &c);
        if (item.kind == V_MISSING) return true;
        if (!slm_jinja_push(r, &b->args, item)) return false;
    }
}

/* From left to right, as written; the caller of a call block comes last. */
static SEPARATE bool eval_args(struct render *r, struct scope *scope, const struct node *arg, struct value caller,
                      struct call *out)
{
    static const struct text caller_name = TEXT("caller");
    struct call_builder b = {0};
    if (!slm_jinja_enter(r)) return false; /* this frame is large: it counts as a level of its own */
    for (; arg; arg = arg->next) {
        bool special = arg->kind == N_KEYWORD || arg->kind == N_STAR || arg->kind == N_STARSTAR;
        struct value v = slm_jinja_eval(r, scope, special ? arg->a : arg);
        r->at = arg;
        bool ok = arg->kind == N_KEYWORD ? add_keyword(r, &b, arg->text, v)
                  : arg->kind == N_STAR ? add_star(r, &b, v)
                  : arg->kind == N_STARSTAR ? add_mapping(r, &b, v) : slm_jinja_push(r, &b.args, v);
        if (!ok) return false;
    }
    if (caller.kind != V_MISSING && !add_keyword(r, &b, &caller_name, caller)) return false;
    *out = (struct call){b.args.items, b.args.n, b.keywords, b.n_keywords};
    r->depth--;
    return true;
}

/* The callee is evaluated before its arguments. */
struct value slm_jinja_eval_call(struct render *r, struct scope *scope, const struct node *n, struct value caller)
{
    struct call call;
    struct value callee = slm_jinja_eval(r, scope, n->a);
    if (callee.kind == V_FAIL || !eval_args(r, scope, n->b, caller, &call)) return v_fail();
    r->at = n;
    return slm_jinja_call(r, callee, &call);
}

/* A filter or a test. input is V_MISSING unless a block's text goes to the innermost filter. */
static SEPARATE struct value eval_applied(struct render *r, struct scope *scope, const struct node *n,
    struct value input)
{
    struct call call;
    if (n->a && input.kind == V_MISSING) input = slm_jinja_eval(r, scope, n->a);
    else if (n->a) input = slm_jinja_eval_block_filter(r, scope, n->a, input);
    if (input.kind == V_FAIL || !eval_args(r, scope, n->b, v_missing(), &call)) return v_fail();
    r->at = n;
    if (!n->builtin)
        return slm_jinja_fail(r, SLM_ERR_UNSUPPORTED, "no %s named '%.*s'", n->kind == N_FILTER ? "filter" : "test",
                              (int)(n->text->len > 60 ? 60 : n->text->len), n->text->ptr);
    return slm_jinja_call_builtin(r, n->builtin, input, &call);
}

/* For {% filter %} and {% set x | filter %}: the chain of filters ends in one without input, which
 * gets the text. */
struct value slm_jinja_eval_block_filter(struct render *r, struct scope *scope, const struct node *n,
                                         struct value input)
{
    return eval_applied(r, scope, n, input);
}

/* Everything but constants and names. One switch, so that the compiler checks that no kind is
 * forgotten. */
static struct value eval_branch(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v, key;
    switch (n->kind) {
    case N_TUPLE: return eval_items(r, scope, n, V_TUPLE);
    case N_LIST: return eval_items(r, scope, n, V_LIST);
    case N_DICT: return eval_dict(r, scope, n);
    case N_GETATTR:
        v = slm_jinja_eval(r, scope, n->a);
        r->at = n;
        return v.kind == V_FAIL ? v : slm_jinja_getattr(r, v, n->text);
    case N_GETITEM:
        v = slm_jinja_eval(r, scope, n->a);
        key = v.kind == V_FAIL ? v : slm_jinja_eval(r, scope, n->b);
        r->at = n;
        return key.kind == V_FAIL ? key : slm_jinja_getitem(r, v, key);
    case N_SLICE: return eval_slice(r, scope, n);
    case N_CALL: return slm_jinja_eval_call(r, scope, n, v_missing());
    case N_FILTER: case N_TEST: return eval_applied(r, scope, n, v_missing());
    case N_NOT: case N_NEG: case N_POS: return eval_unary(r, scope, n);
    case N_BINARY: return eval_binary(r, scope, n);
    case N_AND: case N_OR:
        v = slm_jinja_eval(r, scope, n->a);
        if (v.kind == V_FAIL || slm_jinja_truth(v) == (n->kind == N_OR)) return v;
        return slm_jinja_eval(r, scope, n->b);
    case N_CONCAT: return eval_concat(r, scope, n);
    case N_COMPARE: return eval_compare(r, scope, n);
    default: return eval_cond(r, scope, n);
    }
}

/* Constants and names are most of a template and need no level of depth. */
struct value slm_jinja_eval(struct render *r, struct scope *scope, const struct node *n)
{
    if (!slm_jinja_burn(r, 1)) return v_fail();
    if (n->kind == N_CONST) return n->value;
    if (n->kind == N_NAME) return eval_name(r, scope, n);
    r->at = n;
    if (!slm_jinja_enter(r)) return v_fail();
    struct value v = eval_branch(r, scope, n);
    r->depth--;
    return v;
}
