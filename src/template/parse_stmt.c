/* SPDX-License-Identifier: MIT
 * Statements and the entry of the parser. One row a tag; what jinja2 has and a chat template must not do (reading
 * other templates) has a row too, so that the message can say so.
 *
 * Bodies are lists of nodes; statements that hold bodies are levels of depth. Where jinja2 compiles a body to a Python
 * function of its own (macros, call blocks, generation), a break inside cannot reach a loop outside; where it opens a
 * scope (for, with, blocks), filters that do not exist are errors even if an if around them is never taken. Both rules
 * are kept, for templates are tested against jinja2 and rely on what it accepts.
 *
 * Not here: expressions (parse_expr.c), and what statements do (exec.c). */
#include <stdio.h>
#include "base/os.h"
#include "base/utf8.h"
#include "template/parse.h"

/* A node for the tag whose name is current. */
static struct node *statement(struct parser *p, enum node_kind kind)
{
    return slm_jinja_node(p, kind, slm_jinja_take(p).offset);
}

/* ends may be NULL: then nothing matches. */
static bool word_in(const struct parser *p, const char *const *words)
{
    for (; words && *words; words++)
        if (slm_jinja_is_word(p, *words)) return true;
    return false;
}

/* A body up to one of the end words, which is taken too. */
static struct node *parse_body(struct parser *p, const char *const *ends, unsigned *depth)
{
    slm_jinja_skip(p, T_COLON); /* Python habit, allowed by jinja2 */
    if (!slm_jinja_expect(p, T_BLOCK_END, "'%}'")) return NULL;
    return slm_jinja_parse_statements(p, ends, depth);
}

/* For bodies that are their own function in jinja2: no break out of them, unknown filters fail early. */
static struct node *parse_function_body(struct parser *p, const char *end, unsigned *depth)
{
    const char *const ends[] = {end, NULL};
    unsigned n_loops = p->n_loops;
    bool soft = p->soft;
    p->n_loops = 0;
    p->soft = false;
    struct node *body = parse_body(p, ends, depth);
    slm_jinja_take(p);
    p->n_loops = n_loops;
    p->soft = soft;
    return body;
}

/* For bodies with a scope of their own but in the same function: a break inside leaves the loop
 * around. */
static struct node *parse_scope_body(struct parser *p, const char *end, unsigned *depth)
{
    const char *const ends[] = {end, NULL};
    bool soft = p->soft;
    p->soft = false;
    struct node *body = parse_body(p, ends, depth);
    slm_jinja_take(p);
    p->soft = soft;
    return body;
}

/* Names, tuples of them, and ns.attribute where allowed. */
static bool check_target(struct parser *p, const struct node *n)
{
    if (n->kind == N_NAME && p->in_for && n->name == NAME_LOOP) {
        slm_jinja_syntax_error(&p->lx, SLM_ERR_FORMAT, n->offset, "cannot assign to the variable 'loop' in a for");
        return false;
    }
    if (n->kind == N_NAME || n->kind == N_NSREF) return true;
    bool ok = n->kind == N_TUPLE;
    for (const struct node *q = n->a; ok && q; q = q->next)
        if (!check_target(p, q)) return false;
    if (!ok) slm_jinja_syntax_error(&p->lx, SLM_ERR_FORMAT, n->offset, "this cannot be assigned to");
    return ok;
}

/* What a set or a for assigns to. */
static struct node *parse_target(struct parser *p, bool with_namespace, const char *end_word)
{
    uint8_t uses = p->uses;
    struct node *n = slm_jinja_parse_tuple(p, TUPLE_TARGET | (with_namespace ? TUPLE_NAMESPACE : 0), end_word);
    p->uses = uses; /* assigning is not reading */
    return n && check_target(p, n) ? n : NULL;
}

/* A plain name that can be assigned to. */
static struct node *parse_name_target(struct parser *p)
{
    struct node *n = slm_jinja_node(p, N_NAME, p->now.offset);
    struct slm_str name = p->now.text;
    static const char *const reserved[] = {"true", "True", "false", "False", "none", "None", NULL};
    if (word_in(p, reserved)) return slm_jinja_unexpected(p, "a name that can be assigned to");
    if (!n || !slm_jinja_expect(p, T_NAME, "a name") || !slm_jinja_name_number(p, n, name)) return NULL;
    return n;
}

/* All branches in one loop, chained by ->c. */
static struct node *parse_if(struct parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    bool soft = p->soft;
    struct node *first = NULL, *last = NULL;
    unsigned depth = 0;
    p->soft = true;
    for (bool more = true; more;) {
        /* the current word is if, elif or else */
        bool is_else = slm_jinja_is_word(p, "else");
        struct node *n = statement(p, N_IF);
        if (!n) return NULL;
        if (!is_else && !(n->a = slm_jinja_parse_tuple(p, TUPLE_NO_COND, NULL))) return NULL;
        unsigned body_depth = 0;
        n->b = parse_body(p, is_else ? ends + 2 : ends, &body_depth);
        if (p->lx.status != SLM_OK || !slm_jinja_done(p, n, body_depth)) return NULL;
        if (n->depth > depth) depth = n->depth;
        if (last) last->c = n;
        else first = n;
        last = n;
        more = !slm_jinja_is_word(p, "endif");
    }
    slm_jinja_take(p);
    first->depth = (uint16_t)depth; /* branches hang in a chain but are not below one another */
    p->soft = soft;
    return first;
}

/* The iterable is parsed without an inline if, whose `if` would be the loop's condition. */
static struct node *parse_for(struct parser *p)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    struct node *n = statement(p, N_FOR);
    unsigned depth = 0, else_depth = 0;
    if (!n) return NULL;
    p->in_for++;
    if (!(n->a = parse_target(p, false, "in"))) return NULL;
    if (!slm_jinja_is_word(p, "in")) return slm_jinja_unexpected(p, "'in'");
    slm_jinja_take(p);
    if (!(n->b = slm_jinja_parse_tuple(p, TUPLE_NO_COND, "recursive"))) return NULL;
    /* condition and body are scopes of their own, hence strict about filters again */
    bool soft = p->soft;
    p->soft = false;
    if (slm_jinja_skip_word(p, "if") && !(n->c = slm_jinja_parse_expression(p))) return NULL;
    n->flag = slm_jinja_skip_word(p, "recursive");
    p->n_loops++;
    n->d = parse_body(p, ends, &depth);
    p->n_loops--;
    if (slm_jinja_take(p).text.len == 4) { /* else */
        unsigned n_loops = p->n_loops;
        if (n->flag) p->n_loops = 0; /* a recursive loop is a function, with the else inside: no way to break out */
        n->e = parse_body(p, (const char *const[]){"endfor", NULL}, &else_depth);
        slm_jinja_take(p);
        p->n_loops = n_loops;
    }
    p->in_for--;
    p->soft = soft;
    return slm_jinja_done(p, n, depth > else_depth ? depth : else_depth);
}

/* With '=' a value, without it a block, perhaps with filters. */
static struct node *parse_set(struct parser *p)
{
    struct node *n = statement(p, N_SET);
    if (!n || !(n->a = parse_target(p, true, NULL))) return NULL;
    if (slm_jinja_skip(p, T_ASSIGN)) {
        n->b = slm_jinja_parse_tuple(p, 0, NULL);
        return n->b ? slm_jinja_done(p, n, 0) : NULL;
    }
    /* {% set x %} ... {% endset %} */
    n->kind = N_SET_BLOCK;
    unsigned depth = 0;
    n->b = slm_jinja_parse_filters(p, NULL, false);
    n->d = parse_scope_body(p, "endset", &depth);
    return slm_jinja_done(p, n, depth);
}

/* `(a, b=1)` into macro->a. */
static bool parse_signature(struct parser *p, struct node *macro)
{
    struct node_list params = {0};
    /* as in Python: no parameter twice, none without a default behind one with */
    if (!slm_jinja_expect(p, T_LPAREN, "'('")) return false;
    while (p->now.kind != T_RPAREN) {
        if (params.head && !slm_jinja_expect(p, T_COMMA, "',' or ')'")) return false;
        struct node *param = parse_name_target(p);
        if (!param) return false;
        for (struct node *q = params.head; q; q = q->next)
            if (q->name == param->name) return slm_jinja_unexpected(p, "each parameter once") != NULL;
        if (slm_jinja_skip(p, T_ASSIGN)) {
            if (!(param->a = slm_jinja_parse_expression(p)) || !slm_jinja_done(p, param, 0)) return false;
        } else if (params.tail && params.tail->a) {
            return slm_jinja_unexpected(p, "a default: an earlier parameter has one") != NULL;
        }
        if (!slm_jinja_append(&params, param)) return false;
    }
    macro->a = params.head;
    slm_jinja_take(p);
    return slm_jinja_done(p, macro, params.depth) != NULL;
}

/* Also for call blocks. Notes which of caller, kwargs and varargs the body reads: only those may be
 * passed. */
static struct node *parse_macro_body(struct parser *p, struct node *macro, const char *end)
{
    uint8_t uses = p->uses;
    unsigned depth = macro->depth;
    p->uses = 0;
    macro->d = parse_function_body(p, end, &depth);
    macro->uses = p->uses;
    /* caller as a parameter without a default would hide the caller of a call block */
    for (const struct node *q = macro->a; q; q = q->next)
        if (q->name == NAME_CALLER && !q->a && (macro->uses & MACRO_USES_CALLER))
            return slm_jinja_unexpected(p, "a default for the parameter 'caller'");
    p->uses |= uses;
    return slm_jinja_done(p, macro, depth);
}

/* The name is a variable like others. */
static struct node *parse_macro(struct parser *p)
{
    struct node *n = statement(p, N_MACRO), *name = parse_name_target(p);
    if (!n || !name || !check_target(p, name)) return NULL;
    n->name = name->name;
    n->text = name->text;
    return parse_signature(p, n) ? parse_macro_body(p, n, "endmacro") : NULL;
}

/* The block is a macro without a name; the call has to be a call, not an expression around one. */
static struct node *parse_call_block(struct parser *p)
{
    struct node *n = statement(p, N_CALL_BLOCK);
    if (!n || !(n->c = slm_jinja_node(p, N_MACRO, n->offset))) return NULL;
    if (p->now.kind == T_LPAREN && !parse_signature(p, n->c)) return NULL;
    if (!(n->b = slm_jinja_parse_expression(p))) return NULL;
    if (n->b->kind != N_CALL) return slm_jinja_unexpected(p, "a call before this");
    return parse_macro_body(p, n->c, "endcall") ? slm_jinja_done(p, n, 0) : NULL;
}

/* The first filter has no input: it gets the block's text. */
static struct node *parse_filter_block(struct parser *p)
{
    struct node *n = statement(p, N_FILTER_BLOCK);
    unsigned depth = 0;
    bool soft = p->soft;
    p->soft = false;
    if (!n || !(n->b = slm_jinja_parse_filters(p, NULL, true))) return NULL;
    n->d = parse_scope_body(p, "endfilter", &depth);
    p->soft = soft;
    return slm_jinja_done(p, n, depth);
}

/* Like several sets that do not see one another. */
static struct node *parse_with(struct parser *p)
{
    struct node *n = statement(p, N_WITH);
    struct node_list sets = {0};
    while (n && p->now.kind != T_BLOCK_END && p->now.kind != T_COLON) {
        if (sets.head && !slm_jinja_expect(p, T_COMMA, "','")) return NULL;
        struct node *set = slm_jinja_node(p, N_SET, p->now.offset);
        if (!set || !(set->a = parse_target(p, false, NULL)) || !slm_jinja_expect(p, T_ASSIGN, "'='") ||
            !(set->b = slm_jinja_parse_expression(p)) || !slm_jinja_done(p, set, 0) || !slm_jinja_append(&sets, set))
            return NULL;
    }
    if (!n) return NULL;
    n->a = sets.head;
    unsigned depth = sets.depth;
    n->d = parse_scope_body(p, "endwith", &depth);
    return slm_jinja_done(p, n, depth);
}

/* {% generation %}: marks what the assistant said, for training; the text passes through. */
static struct node *parse_generation(struct parser *p)
{
    struct node *n = statement(p, N_SCOPE);
    unsigned depth = 0;
    if (!n) return NULL;
    uint8_t uses = p->uses;
    p->uses = 0;
    n->d = parse_function_body(p, "endgeneration", &depth);
    n->uses = p->uses;
    p->uses |= uses;
    return slm_jinja_done(p, n, depth);
}

/* break and continue, of the loop controls extension. */
static struct node *parse_jump(struct parser *p)
{
    if (p->n_loops == 0) return slm_jinja_unexpected(p, "a loop around this");
    return statement(p, slm_jinja_is_word(p, "break") ? N_BREAK : N_CONTINUE);
}

/* {% print a, b %}: {{ a }}{{ b }}. */
static struct node *parse_print(struct parser *p)
{
    struct node *n = statement(p, N_IF); /* one without a test, to hold the list */
    struct node_list items = {0};
    while (n && p->now.kind != T_BLOCK_END) {
        if (items.head && !slm_jinja_expect(p, T_COMMA, "','")) return NULL;
        if (!slm_jinja_append(&items, slm_jinja_parse_expression(p))) return NULL;
    }
    if (!n) return NULL;
    n->b = items.head;
    return slm_jinja_done(p, n, items.depth);
}

/* Tags that jinja2 has and a chat template must not use, said in so many words. */
static struct node *parse_refused(struct parser *p)
{
    slm_jinja_syntax_error(&p->lx, SLM_ERR_UNSUPPORTED, p->now.offset,
                           "the tag '%.*s' is not allowed in a chat template: a template stands alone",
                           (int)p->now.text.len, p->now.text.ptr);
    return NULL;
}

/* Every tag that can start a statement. */
static const struct { const char *name; struct node *(*parse)(struct parser *p); } tags[] = {
    {"if", parse_if}, {"for", parse_for}, {"set", parse_set}, {"macro", parse_macro}, {"call", parse_call_block},
    {"filter", parse_filter_block}, {"with", parse_with}, {"generation", parse_generation}, {"break", parse_jump},
    {"continue", parse_jump}, {"print", parse_print}, {"include", parse_refused}, {"import", parse_refused},
    {"from", parse_refused}, {"extends", parse_refused}, {"block", parse_refused}, {"autoescape", parse_refused},
};

/* Unknown tags are an error that names the ones that would close what is open. */
static struct node *parse_statement(struct parser *p, const char *const *ends)
{
    if (p->now.kind != T_NAME) return slm_jinja_unexpected(p, "a tag name");
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!slm_jinja_is_word(p, tags[i].name)) continue;
        if (!slm_jinja_deeper(p)) return NULL;
        struct node *n = tags[i].parse(p);
        p->depth--;
        if (n && p->lx.status == SLM_OK && slm_jinja_expect(p, T_BLOCK_END, "'%}'")) return n;
        return NULL;
    }
    char wanted[80] = ""; /* "; looking for endfor or else" */
    for (size_t used = 0; ends && *ends && used < sizeof wanted; ends++)
        used += (size_t)snprintf(wanted + used, sizeof wanted - used, "%s%s", used ? " or " : "; looking for ", *ends);
    slm_jinja_syntax_error(&p->lx, SLM_ERR_UNSUPPORTED, p->now.offset, "unknown tag '%.*s'%s",
                           (int)(p->now.text.len > 60 ? 60 : p->now.text.len), p->now.text.ptr, wanted);
    return NULL;
}

/* The text stays in the source. */
static struct node *parse_data(struct parser *p)
{
    struct token t = slm_jinja_take(p);
    struct node *n = slm_jinja_node(p, N_DATA, t.offset);
    struct text *text = slm_arena_alloc(&p->lx.tmpl->arena, 1, sizeof *text, p->lx.tmpl->where, p->lx.error);
    if (!n || !text) {
        p->lx.status = SLM_ERR_MEMORY;
        return NULL;
    }
    *text = (struct text){.ptr = t.text.ptr, .len = t.text.len};
    n->value = v_text(text);
    return n;
}

/* Up to one of the end words (now current, behind its "{%") or, when ends is NULL, the end of the template. */
struct node *slm_jinja_parse_statements(struct parser *p, const char *const *ends, unsigned *depth)
{
    struct node_list body = {0};
    /* where to point if the end is missing */
    uint32_t start = p->now.offset;
    while (p->lx.status == SLM_OK && p->now.kind != T_EOF) {
        struct node *n;
        if (p->now.kind == T_DATA) {
            n = parse_data(p);
        } else if (p->now.kind == T_VAR_BEGIN) {
            slm_jinja_take(p);
            n = slm_jinja_parse_tuple(p, 0, NULL);
            if (n && !slm_jinja_expect(p, T_VAR_END, "'}}'")) return NULL;
        } else {
            slm_jinja_take(p);
            if (word_in(p, ends)) {
                if (body.depth > *depth) *depth = body.depth;
                return body.head;
            }
            n = parse_statement(p, ends);
        }
        if (!slm_jinja_append(&body, n)) return NULL;
    }
    if (ends && p->lx.status == SLM_OK)
        slm_jinja_syntax_error(&p->lx, SLM_ERR_FORMAT, start, "this is not closed: '%s' is missing",
                               ends[1] ? ends[2] ? ends[2] : ends[0] : ends[0]);
    *depth = body.depth;
    return p->lx.status == SLM_OK ? body.head : NULL;
}

/* "\r\n" and "\r" become "\n"; one newline at the very end goes. */
static bool copy_source(struct slm_template *t, struct slm_str source, struct slm_error *error)
{
    char *copy = slm_arena_alloc(&t->arena, source.len + 1, 1, t->where, error);
    size_t n = 0;
    if (!copy) return false;
    for (size_t i = 0; i < source.len; i++) {
        if (source.ptr[i] == '\r' && i + 1 < source.len && source.ptr[i + 1] == '\n') continue;
        copy[n++] = source.ptr[i] == '\r' ? '\n' : source.ptr[i];
    }
    if (n > 0 && copy[n - 1] == '\n') n--;
    t->source = copy;
    t->source_bytes = n;
    return true;
}

/* Before anything is copied. UTF-8 is checked once, here; the rest may rely on it. */
static slm_status check_source(struct slm_str source, const char *where, struct slm_error *error)
{
    if (source.len > TEMPLATE_MAX_SOURCE)
        return slm_fail(error, SLM_ERR_LIMIT, where, "the template has %zu bytes; at most %d are allowed", source.len,
                        TEMPLATE_MAX_SOURCE);
    size_t valid = slm_utf8_valid_prefix(source.ptr, source.len);
    if (valid == source.len) return SLM_OK;
    struct slm_template whole = {.source = source.ptr, .source_bytes = source.len};
    char at[128];
    snprintf(whole.where, sizeof whole.where, "%s", where);
    slm_jinja_where(&whole, valid, at, sizeof at);
    return slm_fail(error, SLM_ERR_FORMAT, at, "the byte 0x%02x here is not UTF-8", (unsigned char)source.ptr[valid]);
}

/* So that their numbers are the constants of ast.h. */
static bool number_fixed_names(struct parser *p)
{
    static const char *const names[] = {[NAME_LOOP] = "loop", [NAME_CALLER] = "caller", [NAME_KWARGS] = "kwargs",
                                        [NAME_VARARGS] = "varargs"};
    struct node scratch;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!slm_jinja_name_number(p, &scratch, slm_str(names[i]))) return false;
    return true;
}

/* See the header. */
slm_status slm_template_parse(struct slm_str source, const char *where, struct slm_template **out,
                              struct slm_error *error)
{
    SLM_TRY(check_source(source, where, error));
    struct slm_template *t = slm_alloc(1, sizeof *t, where, error);
    if (!t) return SLM_ERR_MEMORY;
    snprintf(t->where, sizeof t->where, "%s", where);
    slm_status status = SLM_ERR_MEMORY;
    struct parser *p = slm_alloc(1, sizeof *p, where, error);
    if (!p || !copy_source(t, source, error)) goto out;
    p->lx = (struct lexer){.tmpl = t, .src = t->source, .len = t->source_bytes, .line_starting = true, .error = error};
    if (!number_fixed_names(p)) goto out;
    p->now = slm_jinja_lex(&p->lx);
    t->body = slm_jinja_parse_statements(p, NULL, &t->depth);
    /* unknown filters that no if protects; syntax errors go first */
    if (p->n_unknown > 0 && p->lx.status == SLM_OK)
        slm_jinja_syntax_error(&p->lx, SLM_ERR_UNSUPPORTED, p->unknown->offset, "no %s named '%.*s'",
                               p->unknown->kind == N_FILTER ? "filter" : "test", (int)p->unknown->text->len,
                               p->unknown->text->ptr);
    if (p->lx.status == SLM_OK) slm_jinja_hide_names(p);
    status = p->lx.status;
out:
    slm_release(p);
    if (status != SLM_OK) {
        slm_template_free(t);
        return status;
    }
    *out = t;
    return SLM_OK;
}

/* All nodes, names and strings are in the arena. */
void slm_template_free(struct slm_template *tmpl)
{
    if (!tmpl) return;
    slm_arena_release(&tmpl->arena);
    slm_release(tmpl);
}
