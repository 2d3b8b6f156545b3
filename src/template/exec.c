/* SPDX-License-Identifier: MIT
 * Statements: nodes -> text in the output, variables in scopes. Loops and macros live here.
 * Text that becomes a value (a macro's, a block's) is written to the same output and then cut off it. */
#include "template/eval.h"

/* ---- loops -------------------------------------------------------------------------------------------------- */

/* The next item that passes the loop's condition. */
static struct value pull(struct render *r, struct loop *l)
{
    if (l->drained) return l->drained_pos < l->drained->n ? l->drained->items[l->drained_pos++] : v_missing();
    for (;;) {
        struct value v = slm_jinja_next(r, &l->cursor);
        if (!l->node->c || v.kind == V_MISSING || v.kind == V_FAIL) return v;
        l->filter_scope->n = 0;
        if (!slm_jinja_assign(r, l->filter_scope, l->node->a, v)) return v_fail();
        struct value test = slm_jinja_eval(r, l->filter_scope, l->node->c);
        if (test.kind == V_FAIL) return test;
        if (slm_jinja_truth(test)) return v;
    }
}

/* Looks one item ahead, which `loop.last` and `loop.nextitem` need; the item is kept for the next
 * round. */
static struct value peek(struct render *r, struct loop *l)
{
    if (l->after.kind == V_MISSING && !l->at_end) {
        l->after = pull(r, l);
        l->at_end = l->after.kind == V_MISSING;
    }
    return l->after;
}

/* Advances the loop and what its variable `loop` tells. */
struct value slm_jinja_loop_next(struct render *r, struct loop *l)
{
    struct value v = peek(r, l);
    l->after = v_missing();
    if (v.kind == V_MISSING || v.kind == V_FAIL) return v;
    l->index0++;
    l->before = l->current;
    l->current = v;
    return v;
}

/* Of a list at once. A filtered loop or a generator has to be run to its end first; the items are
 * kept and used by the rounds to come, as in jinja2. */
static struct value loop_length(struct render *r, struct loop *l)
{
    if (l->length < 0 && !l->node->c && l->iterable.kind != V_ITER) {
        struct value n = slm_jinja_length(r, l->iterable);
        if (n.kind == V_FAIL) return n;
        l->length = n.i;
    } else if (l->length < 0) { /* nobody knows before all are there */
        struct builder rest = {0};
        for (;;) {
            struct value v = pull(r, l);
            if (v.kind == V_MISSING) break;
            if (!slm_jinja_push(r, &rest, v)) return v_fail();
        }
        struct value list = slm_jinja_build(r, &rest, V_LIST);
        if (list.kind == V_FAIL) return list;
        l->drained = list.list;
        l->length = (int64_t)rest.n + l->index0 + 1 + (l->after.kind != V_MISSING);
    }
    return v_int(l->length);
}

/* loop.cycle(a, b): one of them, by the round. */
static struct value loop_cycle(struct render *r, struct value self, const struct call *call)
{
    if (call->n_args == 0 || call->n_keywords > 0) return TYPE_ERROR(r, "no items for cycling given");
    return call->args[self.loop->index0 % (int64_t)call->n_args];
}

/* loop.changed(x): whether it differs from the last call's; the first call always does. */
static struct value loop_changed(struct render *r, struct value self, const struct call *call)
{
    struct builder b = {call->args, call->n_args, call->n_args};
    struct value now = slm_jinja_build(r, &b, V_TUPLE);
    if (now.kind == V_FAIL || call->n_keywords > 0) return TYPE_ERROR(r, "loop.changed() takes no keyword arguments");
    int same = slm_jinja_equal(r, self.loop->changed, now);
    self.loop->changed = now;
    return same < 0 ? v_fail() : v_bool(!same);
}

/* Reached through loop.name like methods of other values. */
static const struct builtin loop_methods[] = {{.name = "cycle", .raw = loop_cycle},
                                              {.name = "changed", .raw = loop_changed}};

/* V_MISSING for a name that a loop does not have. The order of the questions does not matter, only
 * that asking for the length or the end may run ahead. */
struct value slm_jinja_loop_attribute(struct render *r, struct loop *l, struct slm_str name)
{
    static const struct text no_previous = TEXT("there is no previous item");
    static const struct text no_next = TEXT("there is no next item");
    const struct builtin *method = slm_jinja_find_in(loop_methods, 2, name);
    if (slm_str_is(name, "index")) return v_int(l->index0 + 1);
    if (slm_str_is(name, "index0")) return v_int(l->index0);
    if (slm_str_is(name, "first")) return v_bool(l->index0 == 0);
    if (slm_str_is(name, "depth")) return v_int(l->depth0 + 1);
    if (slm_str_is(name, "depth0")) return v_int(l->depth0);
    if (slm_str_is(name, "last")) return peek(r, l).kind == V_FAIL ? v_fail() : v_bool(l->at_end);
    if (slm_str_is(name, "nextitem")) {
        struct value v = peek(r, l);
        return v.kind == V_MISSING ? slm_jinja_undefined(r, UNDEFINED_HINT, &no_next) : v;
    }
    if (slm_str_is(name, "previtem"))
        return l->index0 == 0 ? slm_jinja_undefined(r, UNDEFINED_HINT, &no_previous) : l->before;
    bool reverse = slm_str_is(name, "revindex"), reverse0 = slm_str_is(name, "revindex0");
    if (reverse || reverse0 || slm_str_is(name, "length")) {
        struct value n = loop_length(r, l);
        return n.kind == V_FAIL || !(reverse || reverse0) ? n : v_int(n.i - l->index0 - reverse0);
    }
    if (!method) return v_missing();
    struct method *m = slm_jinja_alloc(r, 1, sizeof *m);
    if (!m) return v_fail();
    *m = (struct method){{.kind = V_LOOP, .loop = l}, method};
    return (struct value){.kind = V_METHOD, .method = m};
}

/* All rounds of a for. The scope is one for all rounds, emptied before each, so that a macro
 * defined inside sees what Python's closures would see. Break and continue end here; errors pass
 * through. */
static enum flow run_loop(struct render *r, struct scope *outer, const struct node *n, struct value iterable,
                          int64_t depth0)
{
    struct loop *l = slm_jinja_alloc(r, 1, sizeof *l);
    struct scope *scope = slm_jinja_scope(r, outer);
    if (!l || !scope || iterable.kind == V_FAIL) return FLOW_FAIL;
    *l = (struct loop){.iterable = iterable, .node = n, .outer = outer, .after = v_missing(), .index0 = -1,
                       .length = -1, .depth0 = depth0};
    if (n->c && !(l->filter_scope = slm_jinja_scope(r, outer))) return FLOW_FAIL;
    if (!slm_jinja_iterate(r, iterable, &l->cursor)) return FLOW_FAIL;
    const struct value loop = {.kind = V_LOOP, .loop = l};
    enum flow flow = FLOW_NEXT;
    bool ran = false;
    while (flow != FLOW_BREAK) {
        r->at = n;
        struct value v = slm_jinja_loop_next(r, l);
        if (v.kind == V_FAIL) return FLOW_FAIL;
        if (v.kind == V_MISSING) break;
        scope->n = 0; /* each round starts without what the last one set */
        if (!slm_jinja_assign(r, scope, n->a, v) || !slm_jinja_bind(r, scope, NAME_LOOP, loop)) return FLOW_FAIL;
        flow = slm_jinja_exec(r, scope, n->d);
        if (flow == FLOW_FAIL) return FLOW_FAIL;
        /* a round left early does not count as one, which is how jinja2's else behaves */
        ran |= flow == FLOW_NEXT;
    }
    if (!n->e || ran) return FLOW_NEXT;
    if (!(scope = slm_jinja_scope(r, outer))) return FLOW_FAIL;
    return slm_jinja_exec(r, scope, n->e);
}

/* loop(items) inside a recursive loop: the same body over other items, as text. */
struct value slm_jinja_call_loop(struct render *r, struct loop *l, const struct call *call)
{
    if (!l->node->flag)
        return TYPE_ERROR(r, "The loop must have the 'recursive' marker to be called recursively.");
    if (call->n_args != 1 || call->n_keywords) return TYPE_ERROR(r, "loop() takes one iterable");
    size_t start = r->out.len;
    if (!slm_jinja_enter(r)) return v_fail();
    enum flow flow = run_loop(r, l->outer, l->node, call->args[0], l->depth0 + 1);
    r->depth--;
    return flow == FLOW_FAIL ? v_fail() : slm_jinja_capture(r, start);
}

static const struct text no_caller = TEXT("No caller defined");

/* ---- macros ------------------------------------------------------------------------------------------------- */

/* Takes the keyword argument out of the call: V_MISSING when it is not there. */
static struct value take_keyword(struct call *call, bool *taken, const struct text *name)
{
    for (size_t i = 0; i < call->n_keywords; i++) {
        if (taken[i] || !slm_str_equal(text_str(call->keywords[i].name), text_str(name))) continue;
        taken[i] = true;
        return call->keywords[i].value;
    }
    return v_missing();
}

/* caller, kwargs and varargs: for a macro that mentions them; else nothing may be left over. */
static bool bind_extras(struct render *r, struct scope *scope, const struct macro *m, struct call *call, bool *taken,
                        size_t n_params)
{
    static const struct text caller = TEXT("caller");
    uint8_t uses = m->node->uses;
    for (const struct node *p = m->node->a; p; p = p->next) { /* a parameter of that name is just a parameter */
        if (p->name == NAME_CALLER) uses &= (uint8_t)~MACRO_USES_CALLER;
        if (p->name == NAME_KWARGS) uses &= (uint8_t)~MACRO_USES_KWARGS;
        if (p->name == NAME_VARARGS) uses &= (uint8_t)~MACRO_USES_VARARGS;
    }
    if (uses & MACRO_USES_CALLER) {
        struct value v = take_keyword(call, taken, &caller);
        if (v.kind == V_MISSING) v = slm_jinja_undefined(r, UNDEFINED_HINT, &no_caller);
        if (!slm_jinja_bind(r, scope, NAME_CALLER, v)) return false;
    }
    struct value kwargs = slm_jinja_dict(r);
    for (size_t i = 0; i < call->n_keywords; i++) {
        const struct text *name = call->keywords[i].name;
        if (taken[i]) continue;
        if (!(uses & MACRO_USES_KWARGS))
            return TYPE_ERROR(r, "macro takes no keyword argument '%.*s'", (int)(name->len > 60 ? 60 : name->len),
                              name->ptr).kind != V_FAIL;
        if (!slm_jinja_dict_set(r, kwargs.dict, v_text(name), call->keywords[i].value)) return false;
    }
    if ((uses & MACRO_USES_KWARGS) && !slm_jinja_bind(r, scope, NAME_KWARGS, kwargs)) return false;
    size_t extra = call->n_args > n_params ? call->n_args - n_params : 0;
    if (extra > 0 && !(uses & MACRO_USES_VARARGS))
        return TYPE_ERROR(r, "macro takes not more than %zu argument(s)", n_params).kind != V_FAIL;
    struct builder b = {extra ? call->args + n_params : NULL, extra, extra};
    return !(uses & MACRO_USES_VARARGS) || slm_jinja_bind(r, scope, NAME_VARARGS, slm_jinja_build(r, &b, V_TUPLE));
}

/* Positional first, then by name, then the defaults, which see the parameters before them and the ones given, and
 * no variables of the names of the others. */
static bool bind_arguments(struct render *r, struct scope *scope, const struct macro *m, struct call *call)
{
    bool *taken = slm_jinja_alloc(r, call->n_keywords + 1, sizeof *taken);
    size_t n_params = 0;
    if (!taken) return false;
    for (const struct node *p = m->node->a; p; p = p->next, n_params++) {
        struct value v = n_params < call->n_args ? call->args[n_params] : take_keyword(call, taken, p->text);
        if (!slm_jinja_bind(r, scope, p->name, v)) return false;
    }
    if (!bind_extras(r, scope, m, call, taken, n_params)) return false;
    uint32_t i = 0; /* the parameters come first in the scope */
    for (const struct node *p = m->node->a; p; p = p->next, i++) {
        if (scope->items[i].value.kind != V_MISSING) continue;
        struct value v = p->a ? slm_jinja_eval(r, scope, p->a) : slm_jinja_undefined(r, UNDEFINED_NAME, p->text);
        if (!slm_jinja_bind(r, scope, p->name, v)) return false;
    }
    return true;
}

/* A macro's value is its text. Its variables come from where it was defined, not from where it is
 * called. */
struct value slm_jinja_call_macro(struct render *r, const struct macro *m, const struct call *call)
{
    struct scope *scope = slm_jinja_scope(r, m->scope);
    struct call copy = *call;
    size_t start = r->out.len;
    if (!scope || !bind_arguments(r, scope, m, &copy)) return v_fail();
    if (!slm_jinja_enter(r)) return v_fail();
    enum flow flow = slm_jinja_exec(r, scope, m->node->d);
    r->depth--;
    return flow == FLOW_FAIL ? v_fail() : slm_jinja_capture(r, start);
}

/* Remembers the scope it was defined in; the node is the template's. */
static struct value make_macro(struct render *r, struct scope *scope, const struct node *n)
{
    struct macro *m = slm_jinja_alloc(r, 1, sizeof *m);
    if (!m) return v_fail();
    *m = (struct macro){n, scope};
    return (struct value){.kind = V_MACRO, .macro = m};
}

/* ---- the other statements ----------------------------------------------------------------------------------- */

/* An elif hangs on the branch before it, so a chain of ten thousand costs no stack. */
static enum flow exec_if(struct render *r, struct scope *scope, const struct node *n)
{
    for (; n; n = n->c) { /* elif is the next in the chain: no recursion */
        struct value test = n->a ? slm_jinja_eval(r, scope, n->a) : v_bool(true);
        if (test.kind == V_FAIL) return FLOW_FAIL;
        if (slm_jinja_truth(test)) return slm_jinja_exec(r, scope, n->b);
    }
    return FLOW_NEXT;
}

/* The result of a filter block or call block: unlike {{ }}, these print strings only. */
static bool put_block(struct render *r, struct value v)
{
    if (v.kind == V_STR) return slm_jinja_print(r, v);
    return TYPE_ERROR(r, "expected a string to print, found %s", slm_jinja_type_name(v)).kind != V_FAIL;
}

/* {% set x %}...{% endset %} and {% filter f %}...{% endfilter %} */
static enum flow exec_captured(struct render *r, struct scope *scope, const struct node *n)
{
    struct scope *inner = slm_jinja_scope(r, scope);
    size_t start = r->out.len;
    if (!inner) return FLOW_FAIL;
    enum flow flow = slm_jinja_exec(r, inner, n->d);
    if (flow != FLOW_NEXT) {
        r->out.len = start; /* a break leaves the text behind */
        return flow;
    }
    struct value v = slm_jinja_capture(r, start);
    if (v.kind != V_FAIL && n->b) v = slm_jinja_eval_block_filter(r, inner, n->b, v);
    if (v.kind == V_FAIL) return FLOW_FAIL;
    r->at = n;
    bool ok = n->kind == N_SET_BLOCK ? slm_jinja_assign(r, scope, n->a, v) : put_block(r, v);
    return ok ? FLOW_NEXT : FLOW_FAIL;
}

/* The values see the variables outside, not one another. */
static enum flow exec_with(struct render *r, struct scope *scope, const struct node *n)
{
    struct scope *inner = slm_jinja_scope(r, scope);
    if (!inner) return FLOW_FAIL;
    for (const struct node *set = n->a; set; set = set->next)
        if (!slm_jinja_assign(r, inner, set->a, slm_jinja_eval(r, scope, set->b))) return FLOW_FAIL;
    return slm_jinja_exec(r, inner, n->d);
}

/* The block becomes a macro named caller and is handed to the call. */
static enum flow exec_call_block(struct render *r, struct scope *scope, const struct node *n)
{
    struct value caller = make_macro(r, scope, n->c);
    struct value v = caller.kind == V_FAIL ? caller : slm_jinja_eval_call(r, scope, n->b, caller);
    return v.kind != V_FAIL && put_block(r, v) ? FLOW_NEXT : FLOW_FAIL;
}

/* {% generation %}: transformers makes it a call block, hence the three special names inside it. */
static enum flow exec_scope(struct render *r, struct scope *scope, const struct node *n)
{
    struct scope *inner = slm_jinja_scope(r, scope);
    struct value nothing[] = {slm_jinja_undefined(r, UNDEFINED_HINT, &no_caller), slm_jinja_dict(r),
                              slm_jinja_list(r, V_TUPLE, 0)};
    static const struct { uint8_t use; uint32_t name; } special[] = {
        {MACRO_USES_CALLER, NAME_CALLER}, {MACRO_USES_KWARGS, NAME_KWARGS}, {MACRO_USES_VARARGS, NAME_VARARGS}};
    for (int i = 0; inner && i < 3; i++)
        if ((n->uses & special[i].use) && !slm_jinja_bind(r, inner, special[i].name, nothing[i])) return FLOW_FAIL;
    return inner ? slm_jinja_exec(r, inner, n->d) : FLOW_FAIL;
}

/* An expression that stands alone is printed; that is the default branch. */
static enum flow exec_statement(struct render *r, struct scope *scope, const struct node *n)
{
    bool ok;
    switch (n->kind) {
    case N_HIDE: ok = slm_jinja_bind(r, scope, n->name, v_missing()); break;
    case N_IF: return exec_if(r, scope, n);
    case N_FOR: return run_loop(r, scope, n, slm_jinja_eval(r, scope, n->b), 0);
    case N_SET: ok = slm_jinja_assign(r, scope, n->a, slm_jinja_eval(r, scope, n->b)); break;
    case N_SET_BLOCK: case N_FILTER_BLOCK: return exec_captured(r, scope, n);
    case N_MACRO: ok = slm_jinja_bind(r, scope, n->name, make_macro(r, scope, n)); break;
    case N_CALL_BLOCK: return exec_call_block(r, scope, n);
    case N_WITH: return exec_with(r, scope, n);
    case N_SCOPE: return exec_scope(r, scope, n);
    case N_BREAK: return FLOW_BREAK;
    case N_CONTINUE: return FLOW_CONTINUE;
    default: ok = slm_jinja_print(r, slm_jinja_eval(r, scope, n)); break;
    }
    return ok ? FLOW_NEXT : FLOW_FAIL;
}

/* One body. Stops at the first break, continue or error and tells which. */
enum flow slm_jinja_exec(struct render *r, struct scope *scope, const struct node *body)
{
    for (const struct node *n = body; n; n = n->next) {
        r->at = n;
        if (!slm_jinja_burn(r, 1)) return FLOW_FAIL;
        if (n->kind == N_DATA) {
            if (!slm_jinja_put(r, n->value.s->ptr, n->value.s->len)) return FLOW_FAIL;
            continue;
        }
        if (!slm_jinja_enter(r)) return FLOW_FAIL;
        enum flow flow = exec_statement(r, scope, n);
        r->depth--;
        if (flow != FLOW_NEXT) return flow;
    }
    return FLOW_NEXT;
}
