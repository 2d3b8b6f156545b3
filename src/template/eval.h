/* SPDX-License-Identifier: MIT
 * What the evaluator of expressions (eval.c) and of statements (exec.c) share: variables, loops, macros. */
#ifndef SLM_TEMPLATE_EVAL_H
#define SLM_TEMPLATE_EVAL_H
#include "template/ast.h"

struct binding { uint32_t name; struct value value; };
/* The variables of a loop body, macro or block; NULL stands for the outermost ones (render.names). A scope sees the
 * ones around it and assigns to itself only, which is why a loop cannot change a variable outside. */
struct scope {
    struct scope *parent;
    struct binding *items;
    uint32_t n, cap;
};

struct macro {
    const struct node *node;
    struct scope *scope; /* where it was defined */
};

struct loop {
    struct cursor cursor;
    struct value iterable;
    const struct node *node;      /* the N_FOR */
    struct scope *outer;          /* scope around the for */
    struct scope *filter_scope;   /* of its condition, or NULL */
    const struct list *drained;   /* the items left, once somebody asked a filtered loop for its length */
    size_t drained_pos;
    struct value before, current, after; /* after is V_MISSING unless looked at */
    struct value changed;         /* what loop.changed() saw last */
    int64_t index0, length, depth0; /* length -1 = not known yet */
    bool at_end;
};

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAIL };

struct scope *slm_jinja_scope(struct render *r, struct scope *parent);
struct value slm_jinja_eval(struct render *r, struct scope *scope, const struct node *node);
/* A call with the macro of a {% call %} block passed along; caller V_MISSING = none. */
struct value slm_jinja_eval_call(struct render *r, struct scope *scope, const struct node *node, struct value caller);
/* The filters of a block, applied to its text. */
struct value slm_jinja_eval_block_filter(struct render *r, struct scope *scope, const struct node *node,
                                         struct value input);
bool slm_jinja_bind(struct render *r, struct scope *scope, uint32_t name, struct value v);
bool slm_jinja_assign(struct render *r, struct scope *scope, const struct node *target, struct value v);
struct value slm_jinja_call_macro(struct render *r, const struct macro *macro, const struct call *call);
struct value slm_jinja_call_loop(struct render *r, struct loop *loop, const struct call *call);
struct value slm_jinja_loop_attribute(struct render *r, struct loop *loop, struct slm_str name);
struct value slm_jinja_loop_next(struct render *r, struct loop *loop); /* V_MISSING at the end */
enum flow slm_jinja_exec(struct render *r, struct scope *scope, const struct node *body);
#endif
