/* SPDX-License-Identifier: MIT
 * The parsed template: nodes in one arena, immutable after parsing, so that threads may render it at once. A node
 * knows its byte offset in the source; line and column are counted only when a message needs them. */
#ifndef SLM_TEMPLATE_AST_H
#define SLM_TEMPLATE_AST_H
#include "template/template.h"
#include "template/value.h"

enum node_kind {
    /* expressions; one standing in a body is printed */
    N_CONST,    /* value */
    N_NAME,     /* name; text */
    N_TUPLE,    /* a = items */
    N_LIST,     /* a = items */
    N_DICT,     /* a = key, value, key, value ... */
    N_GETATTR,  /* a . text */
    N_GETITEM,  /* a [b] */
    N_SLICE,    /* a [b:c:d], each may be NULL */
    N_CALL,     /* a (b = arguments) */
    N_FILTER,   /* a | text (b = arguments); a is NULL in a filter block */
    N_TEST,     /* a is text (b = arguments) */
    N_NOT, N_NEG, N_POS, /* a */
    N_BINARY,   /* a op b */
    N_AND, N_OR,
    N_CONCAT,   /* a = parts of a ~ b ~ c */
    N_COMPARE,  /* a, b = operands: each N_OPERAND */
    N_OPERAND,  /* op a */
    N_COND,     /* b if a else c; c may be NULL */
    N_KEYWORD,  /* text = a, in arguments */
    N_STAR, N_STARSTAR, /* *a, **a, in arguments */
    N_NSREF,    /* name . text, as a target */
    /* statements */
    N_DATA,     /* value */
    N_HIDE,     /* name: not set yet in this body, whatever it is around it; made by scope.c */
    N_IF,       /* a = test (NULL = else, or {% print %}), b = body, c = the next branch */
    N_FOR,      /* a = target, b = iterable, c = filter, d = body, e = else; flag = recursive */
    N_SET,      /* a = target, b = expression */
    N_SET_BLOCK,    /* a = target, b = filter or NULL, d = body */
    N_MACRO,    /* name, text; a = parameters (N_NAME with a = default), d = body; uses = MACRO_USES_ bits */
    N_CALL_BLOCK,   /* b = the N_CALL, c = the caller as N_MACRO */
    N_FILTER_BLOCK, /* b = filter, d = body */
    N_WITH,     /* a = N_SETs, d = body */
    N_SCOPE,    /* d = body: {% generation %}, a macro called at once without arguments; uses as in N_MACRO */
    N_BREAK, N_CONTINUE,
};
enum { NAME_LOOP, NAME_CALLER, NAME_KWARGS, NAME_VARARGS }; /* variables with a fixed number */
enum { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_IN, CMP_NOT_IN };
enum { MACRO_USES_CALLER = 1, MACRO_USES_KWARGS = 2, MACRO_USES_VARARGS = 4 };

struct node {
    uint8_t kind, op, uses;
    bool flag;
    uint16_t depth;  /* of the tree below, this one included */
    uint32_t offset; /* byte in the source */
    uint32_t name;   /* number of the variable */
    struct node *a, *b, *c, *d, *e;
    struct node *next; /* in a list of statements, items or arguments */
    const struct text *text;
    union {
        struct value value;
        const struct builtin *builtin; /* NULL = unknown, an error when reached */
    };
};

struct slm_template {
    struct slm_arena arena;
    char where[96];
    const char *source; /* newlines normalised */
    size_t source_bytes;
    struct node *body;
    const struct text **names; /* [n_names] */
    uint32_t n_names;
    unsigned depth;
};

enum { TEMPLATE_MAX_DEPTH = 200, TEMPLATE_MAX_SOURCE = 1 << 20 };

/* "name:line:column" of a byte of the source. */
void slm_jinja_where(const struct slm_template *tmpl, size_t offset, char *out, size_t out_bytes);
#endif
