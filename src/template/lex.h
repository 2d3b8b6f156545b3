/* SPDX-License-Identifier: MIT
 * Source bytes -> tokens, one at a time, for the parser alone. A token is a view into the source; only strings own a
 * decoded value. The lexer knows the three kinds of tags and what whitespace they swallow, not what stands in them. */
#ifndef SLM_TEMPLATE_LEX_H
#define SLM_TEMPLATE_LEX_H
#include "template/ast.h"

enum token_kind {
    T_EOF, T_ERROR, T_DATA, T_VAR_BEGIN, T_VAR_END, T_BLOCK_BEGIN, T_BLOCK_END, T_NAME, T_STRING, T_INT, T_FLOAT,
    T_ADD, T_SUB, T_DIV, T_FLOORDIV, T_MUL, T_MOD, T_POW, T_TILDE, T_LBRACKET, T_RBRACKET, T_LPAREN, T_RPAREN,
    T_LBRACE, T_RBRACE, T_EQ, T_NE, T_GT, T_GE, T_LT, T_LE, T_ASSIGN, T_DOT, T_COLON, T_PIPE, T_COMMA, T_SEMICOLON,
};

struct token {
    enum token_kind kind;
    uint32_t offset;
    struct slm_str text; /* data, name, or the operator itself */
    union { int64_t i; double f; const struct text *string; };
};

enum lex_state { LEX_DATA, LEX_VAR, LEX_BLOCK };
struct lexer {
    struct slm_template *tmpl;
    const char *src;
    size_t len, pos;
    enum lex_state state;
    bool line_starting;      /* the last tag ended with a newline: what follows may be stripped as indentation */
    bool has_pending;        /* the tag that ended a stretch of data */
    struct token pending;
    size_t n_open;
    char open[TEMPLATE_MAX_DEPTH + 1]; /* brackets not closed yet */
    slm_status status;
    struct slm_error *error;
};

/* Returns T_ERROR once an error is recorded in lexer->status and ->error. */
struct token slm_jinja_lex(struct lexer *lx);
/* Records a syntax error at a byte of the source; the first one stays. */
void slm_jinja_syntax_error(struct lexer *lx, slm_status status, size_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5), cold));
#endif
