/* SPDX-License-Identifier: MIT
 * Which variables a body begins without, although the caller passed one of that name.
 *
 * In jinja2 a variable that a body sets belongs to that body from its first statement on: `{% for a in l %}{{ x }}
 * {% endfor %}{% set x = 1 %}` prints nothing even if the caller passed an x. Variables are looked up by name here, so
 * this pass, run once after parsing, puts N_HIDEs in front of the bodies that have such names, which make them missing
 * until they are set. Nothing else about variables is decided before they are used.
 *
 * A body hides a name if the first thing that it does with it itself is to set it in any case, no body around mentions
 * it, and there are bodies inside before the set, which may read it. What a body does itself ends at the bodies inside
 * it. Those are looked at after it, for they see all of its names, also those mentioned behind them. A name that is
 * read first, or set only in a branch of an if, keeps the caller's value, and one that a body around mentions keeps
 * that one's. The branches of an if are part of the body around them; parameters and the targets of for and with are
 * given when their body starts, so never hidden.
 *
 * Every node is visited once, with a stack as deep as the tree. Not here: what a name means at run time (eval.c). */
#include "base/os.h"
#include "template/parse.h"

/* What a list of nodes is to the body that is looked at. */
enum role {
    READ,            /* expressions; parameters too, for all that counts is that the name is known */
    STORE,           /* the target of a set that happens in any case */
    BODY,            /* statements */
    BRANCH,          /* statements inside an if */
    VALUES, TARGETS, /* the two halves of the N_SETs of a with */
};
struct visit { struct node *node; enum role role; };

/* A body with variables of its own. Those not done yet lie on a stack, the ones around below the ones inside. */
struct frame {
    struct frame *below;
    const struct node *node; /* the statement it belongs to; NULL = the whole template's */
    struct node **body;
    uint32_t first_learnt;   /* the names from here on in learnt[] are known because of it */
    bool entered;
    bool has_inner;          /* bodies, in what has been visited of it */
};

enum { MAX_VISITS = 8 * TEMPLATE_MAX_DEPTH }; /* a node leaves its five children and its next behind */

struct pass {
    struct parser *p;
    struct slm_arena arena;
    struct frame *top;
    bool *known;      /* [n_names] mentioned so far by this frame, or anywhere by one around */
    uint32_t *learnt; /* [n_learnt] the known ones, in this order */
    uint32_t n_learnt;
    struct visit visits[MAX_VISITS];
    size_t n_visits;
};

/* Of this pass; the nodes it makes are the template's. */
static void *scratch(struct pass *w, size_t n, size_t size)
{
    struct lexer *lx = &w->p->lx;
    void *memory = slm_arena_alloc(&w->arena, n, size, lx->tmpl->where, lx->error);
    if (!memory) lx->status = SLM_ERR_MEMORY;
    return memory;
}

/* What is pushed last is visited first. */
static void later(struct pass *w, struct node *node, enum role role)
{
    if (!node) return;
    SLM_ASSERT(w->n_visits < MAX_VISITS); /* the parser holds the depth */
    w->visits[w->n_visits++] = (struct visit){node, role};
}

/* A body to look at once the one around is known, which is NULL for the template itself. */
static void open_frame(struct pass *w, struct frame *around, const struct node *node, struct node **body)
{
    struct frame *f = *body ? scratch(w, 1, sizeof *f) : NULL;
    if (!f) return;
    *f = (struct frame){.below = w->top, .node = node, .body = body};
    w->top = f;
    if (around) around->has_inner = true;
}

/* The first mention decides. */
static void mention(struct pass *w, struct frame *f, uint32_t name, bool stored)
{
    if (w->known[name]) return;
    w->known[name] = true;
    w->learnt[w->n_learnt++] = name;
    if (!stored || !f->has_inner) return;
    struct node *hide = slm_jinja_node(w->p, N_HIDE, (*f->body)->offset);
    if (!hide) return;
    hide->name = name;
    hide->next = *f->body;
    *f->body = hide;
}

/* One node of the frame's own; its children in reverse, where the order matters. */
static void visit(struct pass *w, struct frame *f, struct node *n, enum role role)
{
    enum role target = role == BODY ? STORE : READ;
    later(w, n->next, role);
    switch (n->kind) {
    case N_NAME: case N_NSREF:
        mention(w, f, n->name, role == STORE);
        later(w, n->a, READ);
        break;
    case N_TUPLE: later(w, n->a, role == STORE ? STORE : READ); break;
    case N_IF:
        later(w, n->c, BRANCH);
        later(w, n->b, BRANCH);
        later(w, n->a, READ);
        break;
    case N_FOR:
        open_frame(w, f, n, &n->d);
        open_frame(w, f, n, &n->e);
        later(w, n->b, READ);
        break;
    case N_SET:
        if (role != VALUES) later(w, n->a, target);
        if (role != TARGETS) later(w, n->b, READ);
        break;
    case N_SET_BLOCK: /* its filter belongs to the frame inside, which jinja2 forgets as well */
        open_frame(w, f, n, &n->d);
        later(w, n->a, target);
        break;
    case N_MACRO:
        mention(w, f, n->name, target == STORE);
        open_frame(w, f, n, &n->d);
        break;
    case N_CALL_BLOCK:
        open_frame(w, f, n->c, &n->c->d);
        later(w, n->b, READ);
        break;
    case N_FILTER_BLOCK:
        open_frame(w, f, n, &n->d);
        later(w, n->b, READ);
        break;
    case N_WITH:
        open_frame(w, f, n, &n->d);
        later(w, n->a, VALUES);
        break;
    case N_SCOPE: open_frame(w, f, n, &n->d); break;
    default: { /* an expression, or nothing */
        struct node *const below[] = {n->a, n->b, n->c, n->d, n->e};
        for (size_t i = 0; i < sizeof below / sizeof *below; i++) later(w, below[i], READ);
    }
    }
}

/* What is given when the frame starts. `loop` is not needed: nothing inside a for may set it. */
static void visit_given(struct pass *w, struct frame *f)
{
    static const struct { uint8_t use; uint32_t name; } special[] = {
        {MACRO_USES_CALLER, NAME_CALLER}, {MACRO_USES_KWARGS, NAME_KWARGS}, {MACRO_USES_VARARGS, NAME_VARARGS}};
    const struct node *n = f->node;
    if (!n) return;
    if (n->kind == N_MACRO || (n->kind == N_FOR && f->body == &n->d)) later(w, n->a, READ);
    if (n->kind == N_WITH) later(w, n->a, TARGETS);
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (n->uses & special[i].use) mention(w, f, special[i].name, false);
}

/* A frame is seen twice: before the ones inside it, and after them, when what it made known is forgotten. */
static void visit_frames(struct pass *w)
{
    while (w->top && w->p->lx.status == SLM_OK) {
        struct frame *f = w->top;
        if (f->entered) {
            while (w->n_learnt > f->first_learnt) w->known[w->learnt[--w->n_learnt]] = false;
            w->top = f->below;
            continue;
        }
        f->entered = true;
        f->first_learnt = w->n_learnt;
        later(w, *f->body, BODY);
        visit_given(w, f);
        while (w->n_visits > 0) {
            struct visit v = w->visits[--w->n_visits];
            visit(w, f, v.node, v.role);
        }
    }
}

/* See the header. */
void slm_jinja_hide_names(struct parser *p)
{
    struct slm_template *t = p->lx.tmpl;
    struct pass *w = slm_alloc(1, sizeof *w, t->where, p->lx.error);
    if (!w) {
        p->lx.status = SLM_ERR_MEMORY;
        return;
    }
    w->p = p;
    w->known = scratch(w, t->n_names, sizeof *w->known);
    w->learnt = scratch(w, t->n_names, sizeof *w->learnt);
    open_frame(w, NULL, NULL, &t->body);
    if (w->known && w->learnt) visit_frames(w);
    slm_arena_release(&w->arena);
    slm_release(w);
}
