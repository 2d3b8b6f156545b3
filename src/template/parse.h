/* SPDX-License-Identifier: MIT
 * The parser's state, shared by its two halves: parse_expr.c and parse_stmt.c. */
#ifndef SLM_TEMPLATE_PARSE_H
#define SLM_TEMPLATE_PARSE_H
#include "template/lex.h"

struct parser {
    struct lexer lx;
    struct token now, ahead;
    bool has_ahead;
    unsigned depth;      /* of this recursive descent */
    unsigned n_loops;    /* loops a {% break %} here would end */
    unsigned in_for;     /* for statements around, whatever is between: `loop` cannot be assigned there */
    bool soft;           /* inside an if: unknown filters and tests fail only when reached */
    unsigned n_unknown;  /* unknown filters and tests outside any if, and the first of them */
    const struct node *unknown;
    uint8_t uses;        /* MACRO_USES_ bits of the names read so far in this macro */
    uint32_t *name_index; /* open addressing over tmpl->names, number + 1 */
    uint32_t name_index_cap, names_cap;
};

struct node_list { struct node *head, *tail; unsigned depth; };

/* All of these return NULL or false after recording the error. */
struct node *slm_jinja_node(struct parser *p, enum node_kind kind, uint32_t offset);
bool slm_jinja_append(struct node_list *list, struct node *node);
struct node *slm_jinja_done(struct parser *p, struct node *node,
    unsigned list_depth); /* fills in and checks the depth */
bool slm_jinja_deeper(struct parser *p);                 /* pair with p->depth-- */
struct token slm_jinja_take(struct parser *p);           /* returns the current token and moves on */
bool slm_jinja_is_word(const struct parser *p, const char *word);
bool slm_jinja_skip(struct parser *p, enum token_kind kind);
bool slm_jinja_skip_word(struct parser *p, const char *word);
bool slm_jinja_expect(struct parser *p, enum token_kind kind, const char *what);
bool slm_jinja_name_number(struct parser *p, struct node *node, struct slm_str name); /* sets node->name and ->text */
void *slm_jinja_unexpected(struct parser *p, const char *wanted);

enum tuple_flags { TUPLE_NO_COND = 1, TUPLE_PARENTHESES = 2, TUPLE_TARGET = 4, TUPLE_NAMESPACE = 8 };
struct node *slm_jinja_parse_expression(struct parser *p);
/* One expression, or a tuple without brackets. end_word also ends it. */
struct node *slm_jinja_parse_tuple(struct parser *p, unsigned flags, const char *end_word);
/* `name(args) | name ...` after a '|' (or, first = true, without one) applied to input. */
struct node *slm_jinja_parse_filters(struct parser *p, struct node *input, bool first);
struct node *slm_jinja_parse_statements(struct parser *p, const char *const *ends, unsigned *depth);
/* Puts the N_HIDEs into the parsed template; records an error in p. */
void slm_jinja_hide_names(struct parser *p);
#endif
