/* SPDX-License-Identifier: MIT
 * Expressions: tokens -> nodes, by precedence climbing, so that a level of brackets costs few stack frames.
 *
 * The order of binding is jinja2's, which is nearly Python's: if-else, or, and, not, comparisons and in, + -, ~,
 * * / // %, **, unary + -, then attributes, subscripts, calls, filters and tests. Filters bind tighter than any binary
 * operator, and an operand of unary minus takes none. Both the recursion of this parser and the depth of the tree it
 * builds (a chain of a million `.a` needs no recursion here, but would in the evaluator) are held to 200.
 *
 * The shape of the parser follows jinja2's, because its corners are visible: a tuple ends where no expression can
 * start; `is` takes an argument without brackets; -x|abs is (-x)|abs; a, b needs no brackets in most places. Names are
 * numbered here so that the evaluator compares numbers. Every function returns NULL after an error, which is
 * recorded where it is found; the first one stays.
 *
 * Not here: meaning. 'a' + 1 is a fine expression until it is evaluated. Nor is anything computed ahead of time, as
 * jinja2 does with constants: a template is rendered a few times, and the folding has bugs of its own. */
#include <stdio.h>
#include "template/parse.h"

static struct node *parse_cond(struct parser *p);
static struct node *parse_primary(struct parser *p, bool with_namespace);

/* Nodes live in the template's arena; nothing is freed one by one. */
struct node *slm_jinja_node(struct parser *p, enum node_kind kind, uint32_t offset)
{
    struct node *n = slm_arena_alloc(&p->lx.tmpl->arena, 1, sizeof *n, p->lx.tmpl->where, p->lx.error);
    if (!n) {
        p->lx.status = SLM_ERR_MEMORY;
        return NULL;
    }
    n->kind = (uint8_t)kind;
    n->offset = offset;
    n->depth = 1;
    return n;
}

/* A NULL node is an error that was recorded where it happened. */
bool slm_jinja_append(struct node_list *list, struct node *node)
{
    if (!node) return false;
    if (list->tail) list->tail->next = node;
    else list->head = node;
    list->tail = node;
    if (node->depth > list->depth) list->depth = node->depth;
    return true;
}

/* Always true, so that a caller can put it behind a condition. */
static bool too_deep(struct parser *p, size_t offset)
{
    slm_jinja_syntax_error(&p->lx, SLM_ERR_LIMIT, offset, "nested deeper than %d levels", TEMPLATE_MAX_DEPTH);
    return true;
}

/* Every node passes through here once its children are known. The evaluator recurses over this
 * depth. */
struct node *slm_jinja_done(struct parser *p, struct node *node, unsigned list_depth)
{
    struct node *const below[] = {node->a, node->b, node->c, node->d, node->e};
    unsigned depth = list_depth;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++)
        if (below[i] && below[i]->depth > depth) depth = below[i]->depth;
    if (depth >= TEMPLATE_MAX_DEPTH && too_deep(p, node->offset)) return NULL;
    node->depth = (uint16_t)(depth + 1);
    return node;
}

/* For the recursion of the parser itself. */
bool slm_jinja_deeper(struct parser *p)
{
    if (p->depth >= TEMPLATE_MAX_DEPTH) return !too_deep(p, p->now.offset);
    p->depth++;
    return true;
}

/* Tokens are made one by one; at most one is looked at ahead. */
struct token slm_jinja_take(struct parser *p)
{
    struct token t = p->now;
    p->now = p->has_ahead ? p->ahead : slm_jinja_lex(&p->lx);
    p->has_ahead = false;
    return t;
}

/* The token behind the current one. */
static const struct token *look(struct parser *p)
{
    if (!p->has_ahead) p->ahead = slm_jinja_lex(&p->lx);
    p->has_ahead = true;
    return &p->ahead;
}

/* Keywords are ordinary names at the places where they mean something. */
bool slm_jinja_is_word(const struct parser *p, const char *word)
{
    return p->now.kind == T_NAME && slm_str_is(p->now.text, word);
}

/* Moves on if this token is current. */
bool slm_jinja_skip(struct parser *p, enum token_kind kind)
{
    if (p->now.kind != kind) return false;
    slm_jinja_take(p);
    return true;
}

/* The same for a word. */
bool slm_jinja_skip_word(struct parser *p, const char *word)
{
    if (!slm_jinja_is_word(p, word)) return false;
    slm_jinja_take(p);
    return true;
}

/* The one form of a syntax error: what was wanted, what is there. */
void *slm_jinja_unexpected(struct parser *p, const char *wanted)
{
    static const char *const shown[] = {[T_EOF] = "end of template", [T_DATA] = "template text",
                                        [T_VAR_BEGIN] = "{{", [T_VAR_END] = "end of print statement",
                                        [T_BLOCK_BEGIN] = "{%", [T_BLOCK_END] = "end of statement block",
                                        [T_STRING] = "a string"};
    const struct token *t = &p->now;
    /* tokens whose text says little have a name */
    const char *name = t->kind <= T_STRING ? shown[t->kind] : NULL;
    slm_jinja_syntax_error(&p->lx, SLM_ERR_FORMAT, t->offset, "expected %s, got '%.*s'", wanted,
                           name ? 60 : (int)(t->text.len > 60 ? 60 : t->text.len), name ? name : t->text.ptr);
    return NULL;
}

/* The same, or a syntax error that says what was wanted. */
bool slm_jinja_expect(struct parser *p, enum token_kind kind, const char *what)
{
    if (slm_jinja_skip(p, kind)) return true;
    slm_jinja_unexpected(p, what);
    return false;
}

/* ---- names: each distinct one gets a number, so that variables are found without comparing text */

/* Doubles both the list of names and the table that finds them. */
static bool grow_names(struct parser *p)
{
    struct slm_template *t = p->lx.tmpl;
    uint32_t cap = p->names_cap ? p->names_cap * 2 : 64;
    const struct text **names = slm_arena_alloc(&t->arena, cap, sizeof *names, t->where, p->lx.error);
    uint32_t *index = slm_arena_alloc(&t->arena, 2 * (size_t)cap, sizeof *index, t->where, p->lx.error);
    if (!names || !index) {
        p->lx.status = SLM_ERR_MEMORY;
        return false;
    }
    /* numbers stay, their places in the table move */
    for (uint32_t i = 0; i < t->n_names; i++) {
        names[i] = t->names[i];
        uint64_t h = slm_hash_bytes(names[i]->ptr, names[i]->len, 0);
        while (index[h & (2 * cap - 1)]) h++;
        index[h & (2 * cap - 1)] = i + 1;
    }
    t->names = names;
    p->names_cap = cap;
    p->name_index = index;
    p->name_index_cap = 2 * cap;
    return true;
}

/* A name as a string value; its bytes stay in the source. */
static const struct text *copy_text(struct parser *p, struct slm_str s)
{
    struct slm_template *t = p->lx.tmpl;
    struct text *text = slm_arena_alloc(&t->arena, 1, sizeof *text, t->where, p->lx.error);
    if (!text) {
        p->lx.status = SLM_ERR_MEMORY;
        return NULL;
    }
    *text = (struct text){.ptr = s.ptr, .len = s.len}; /* the source lives as long as the template */
    for (size_t i = 0; i < s.len; i++) text->n_chars += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return text;
}

/* Equal names get equal numbers. */
bool slm_jinja_name_number(struct parser *p, struct node *node, struct slm_str name)
{
    struct slm_template *t = p->lx.tmpl;
    if (!node || (t->n_names >= p->names_cap && !grow_names(p))) return false;
    /* open addressing; the table is never full, because it has two slots a name */
    uint64_t h = slm_hash_bytes(name.ptr, name.len, 0);
    uint32_t mask = p->name_index_cap - 1, found;
    for (; (found = p->name_index[h & mask]) != 0; h++)
        if (slm_str_equal(text_str(t->names[found - 1]), name)) break;
    if (!found) {
        const struct text *text = copy_text(p, name);
        if (!text) return false;
        t->names[t->n_names++] = text;
        p->name_index[h & mask] = found = t->n_names;
    }
    node->name = found - 1;
    node->text = t->names[found - 1];
    return true;
}

/* ---- primaries ---------------------------------------------------------------------------------------------- */

/* Constants have reserved names in both spellings, Python's and the lower case one. */
static struct node *parse_name(struct parser *p, bool with_namespace)
{
    struct token t = slm_jinja_take(p);
    /* becomes a name, or a namespace's attribute, unless it is one of the constants */
    struct node *n = slm_jinja_node(p, N_CONST, t.offset);
    if (!n) return NULL;
    if (slm_str_is(t.text, "true") || slm_str_is(t.text, "True")) {
        n->value = v_bool(true);
    } else if (slm_str_is(t.text, "false") || slm_str_is(t.text, "False")) {
        n->value = v_bool(false);
    } else if (slm_str_is(t.text, "none") || slm_str_is(t.text, "None")) {
        n->value = v_none();
    } else {
        n->kind = N_NAME;
        if (!slm_jinja_name_number(p, n, t.text)) return NULL;
        if (n->name == NAME_CALLER) p->uses |= MACRO_USES_CALLER;
        if (n->name == NAME_KWARGS) p->uses |= MACRO_USES_KWARGS;
        if (n->name == NAME_VARARGS) p->uses |= MACRO_USES_VARARGS;
        if (with_namespace && slm_jinja_skip(p, T_DOT)) {
            struct slm_str attribute = p->now.text;
            if (!slm_jinja_expect(p, T_NAME, "the name of an attribute")) return NULL;
            n->kind = N_NSREF;
            n->text = copy_text(p, attribute);
            return n->text ? n : NULL;
        }
    }
    return n;
}

/* Neighbouring string literals are one string. */
static struct node *parse_string(struct parser *p)
{
    struct node *n = slm_jinja_node(p, N_CONST, p->now.offset);
    struct slm_buf joined = {0}; /* used only if there is more than one */
    const struct text *first = p->now.string;
    slm_jinja_take(p);
    if (p->now.kind == T_STRING) slm_buf_add(&joined, first->ptr, first->len);
    while (p->now.kind == T_STRING) {
        slm_buf_add(&joined, p->now.string->ptr, p->now.string->len);
        slm_jinja_take(p);
    }
    if (joined.len > 0) {
        struct slm_template *t = p->lx.tmpl;
        const char *copy = slm_arena_copy(&t->arena, joined.data, joined.len, p->lx.error);
        /* the joined bytes move into the arena */
        first = copy ? copy_text(p, (struct slm_str){copy, joined.len}) : NULL;
        if (!copy) p->lx.status = SLM_ERR_MEMORY;
    }
    if (joined.failed) p->lx.status = slm_buf_status(&joined, p->lx.tmpl->where, p->lx.error);
    slm_buf_release(&joined);
    if (!n || !first) return NULL;
    n->value = v_text(first);
    return n;
}

/* A comma may end it. */
static struct node *parse_list(struct parser *p)
{
    struct node *n = slm_jinja_node(p, N_LIST, slm_jinja_take(p).offset);
    struct node_list items = {0};
    while (n && p->now.kind != T_RBRACKET) {
        if (items.head && !slm_jinja_expect(p, T_COMMA, "',' or ']'")) return NULL;
        if (p->now.kind == T_RBRACKET) break;
        if (!slm_jinja_append(&items, slm_jinja_parse_expression(p))) return NULL;
    }
    if (!n || !slm_jinja_expect(p, T_RBRACKET, "']'")) return NULL;
    n->a = items.head;
    return slm_jinja_done(p, n, items.depth);
}

/* Keys are expressions. */
static struct node *parse_dict(struct parser *p)
{
    struct node *n = slm_jinja_node(p, N_DICT, slm_jinja_take(p).offset);
    struct node_list items = {0};
    while (n && p->now.kind != T_RBRACE) {
        if (items.head && !slm_jinja_expect(p, T_COMMA, "',' or '}'")) return NULL;
        if (p->now.kind == T_RBRACE) break;
        if (!slm_jinja_append(&items, slm_jinja_parse_expression(p)) || !slm_jinja_expect(p, T_COLON, "':'") ||
            !slm_jinja_append(&items, slm_jinja_parse_expression(p)))
            return NULL;
    }
    if (!n || !slm_jinja_expect(p, T_RBRACE, "'}'")) return NULL;
    n->a = items.head;
    return slm_jinja_done(p, n, items.depth);
}

/* with_namespace allows ns.attribute, for targets of set. */
static struct node *parse_primary(struct parser *p, bool with_namespace)
{
    struct node *n;
    switch (p->now.kind) {
    case T_NAME: return parse_name(p, with_namespace);
    case T_STRING: return parse_string(p);
    case T_INT:
    case T_FLOAT:
        n = slm_jinja_node(p, N_CONST, p->now.offset);
        if (n) n->value = p->now.kind == T_INT ? v_int(p->now.i) : v_float(p->now.f);
        slm_jinja_take(p);
        return n;
    case T_LPAREN:
        slm_jinja_take(p);
        n = slm_jinja_parse_tuple(p, TUPLE_PARENTHESES, NULL);
        return n && slm_jinja_expect(p, T_RPAREN, "')'") ? n : NULL;
    case T_LBRACKET: return parse_list(p);
    case T_LBRACE: return parse_dict(p);
    default: return slm_jinja_unexpected(p, "an expression");
    }
}

/* ---- what follows a primary: .name [index] (arguments) | filter, is test ------------------------------------- */

/* One argument; *stage only grows: positional, keyword, *args, **kwargs. */
static struct node *parse_argument(struct parser *p, int *stage)
{
    struct node *n;
    uint32_t offset = p->now.offset;
    /* after *args only keywords may follow, after **kwargs nothing; Python allows more, jinja2 does not */
    if (p->now.kind == T_MUL || p->now.kind == T_POW) {
        bool star = slm_jinja_take(p).kind == T_MUL;
        if (*stage >= (star ? 2 : 3)) return slm_jinja_unexpected(p, "fewer '*' arguments");
        *stage = star ? 2 : 3;
        n = slm_jinja_node(p, star ? N_STAR : N_STARSTAR, offset);
    } else if (p->now.kind == T_NAME && look(p)->kind == T_ASSIGN) {
        if (*stage >= 3) return slm_jinja_unexpected(p, "no argument after **");
        if (*stage < 1) *stage = 1;
        n = slm_jinja_node(p, N_KEYWORD, offset);
        if (n) n->text = copy_text(p, p->now.text);
        slm_jinja_take(p);
        slm_jinja_take(p);
        if (n && !n->text) return NULL;
    } else {
        if (*stage >= 1) return slm_jinja_unexpected(p, "a keyword argument");
        return slm_jinja_parse_expression(p);
    }
    if (!n || !(n->a = slm_jinja_parse_expression(p))) return NULL;
    return slm_jinja_done(p, n, 0);
}

/* `(a, b, c=d)` into node->b. */
static struct node *parse_arguments(struct parser *p, struct node *node)
{
    struct node_list args = {0};
    int stage = 0;
    slm_jinja_take(p);
    while (node && p->now.kind != T_RPAREN) {
        if (args.head && !slm_jinja_expect(p, T_COMMA, "',' or ')'")) return NULL;
        if (args.head && p->now.kind == T_RPAREN) break;
        struct node *arg = parse_argument(p, &stage);
        /* Python refuses a repeated keyword when it compiles */
        for (struct node *q = args.head; arg && arg->kind == N_KEYWORD && q; q = q->next)
            if (q->kind == N_KEYWORD && slm_str_equal(text_str(q->text), text_str(arg->text)))
                return slm_jinja_unexpected(p, "each keyword argument once");
        if (!slm_jinja_append(&args, arg)) return NULL;
        if (stage == 1 && ++node->op == UINT8_MAX) return slm_jinja_unexpected(p, "fewer keyword arguments");
    }
    if (!node || !slm_jinja_expect(p, T_RPAREN, "')'")) return NULL;
    node->b = args.head;
    node->op = 0;
    return slm_jinja_done(p, node, args.depth);
}

/* Only the arguments are left to parse. */
static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *n = slm_jinja_node(p, N_CALL, p->now.offset);
    if (n) n->a = callee;
    return n ? parse_arguments(p, n) : NULL;
}

/* Inside [ ]: an index, or start:stop:step with any part left out. */
static struct node *parse_subscript(struct parser *p, struct node *target)
{
    struct node *n = slm_jinja_node(p, N_GETITEM, slm_jinja_take(p).offset);
    if (!n) return NULL;
    n->a = target;
    struct node_list items = {0};
    while (p->now.kind != T_RBRACKET) {
        if (items.head && !slm_jinja_expect(p, T_COMMA, "']'")) return NULL;
        struct node *first = NULL;
        if (p->now.kind != T_COLON && !(first = slm_jinja_parse_expression(p))) return NULL;
        if (p->now.kind != T_COLON) {
            if (!slm_jinja_append(&items, first)) return NULL;
            continue;
        }
        if (items.head) return slm_jinja_unexpected(p, "']': a tuple of slices indexes nothing");
        n->kind = N_SLICE;
        n->b = first;
        for (struct node **part = &n->c; part <= &n->d && slm_jinja_skip(p, T_COLON); part++) {
            bool empty = p->now.kind == T_COLON || p->now.kind == T_RBRACKET;
            if (!empty && !(*part = slm_jinja_parse_expression(p))) return NULL;
        }
        break;
    }
    /* x[a, b] indexes with a tuple */
    if (n->kind == N_GETITEM && items.head && items.head == items.tail) {
        n->b = items.head;
    } else if (n->kind == N_GETITEM) {
        if (!(n->b = slm_jinja_node(p, N_TUPLE, n->offset))) return NULL;
        n->b->a = items.head;
        if (!slm_jinja_done(p, n->b, items.depth)) return NULL;
    }
    return slm_jinja_expect(p, T_RBRACKET, "']'") ? slm_jinja_done(p, n, 0) : NULL;
}

/* x.1 is x[1]. */
static struct node *parse_attribute(struct parser *p, struct node *target)
{
    uint32_t offset = slm_jinja_take(p).offset;
    /* x.0 is how some templates write x[0] */
    struct token t = p->now;
    struct node *n = slm_jinja_node(p, t.kind == T_INT ? N_GETITEM : N_GETATTR, offset);
    if (!n) return NULL;
    n->a = target;
    if (t.kind == T_NAME) {
        if (!(n->text = copy_text(p, t.text))) return NULL;
    } else if (t.kind == T_INT) {
        if (!(n->b = slm_jinja_node(p, N_CONST, t.offset))) return NULL;
        n->b->value = v_int(t.i);
    } else {
        return slm_jinja_unexpected(p, "a name or number after '.'");
    }
    slm_jinja_take(p);
    return slm_jinja_done(p, n, 0);
}

/* A loop, not recursion: the chain may be long, its depth is counted by slm_jinja_done. */
static struct node *parse_postfix(struct parser *p, struct node *n)
{
    while (n) {
        if (p->now.kind == T_DOT) n = parse_attribute(p, n);
        else if (p->now.kind == T_LBRACKET) n = parse_subscript(p, n);
        else if (p->now.kind == T_LPAREN) n = parse_call(p, n);
        else break;
    }
    return n;
}

/* The name of a filter or test into node. An unknown one fails at the end of parsing or, inside an if, when reached. */
static bool parse_builtin_name(struct parser *p, struct node *n, bool filter)
{
    struct slm_str name = p->now.text;
    uint32_t offset = p->now.offset;
    if (!slm_jinja_expect(p, T_NAME, filter ? "the name of a filter" : "the name of a test")) return false;
    while (slm_jinja_skip(p, T_DOT)) {
        name.len = (size_t)(p->now.text.ptr - name.ptr) + p->now.text.len;
        if (!slm_jinja_expect(p, T_NAME, "a name")) return false;
    }
    n->builtin = filter ? slm_jinja_find_filter(name) : slm_jinja_find_test(name);
    n->text = copy_text(p, name);
    n->offset = offset;
    if (!n->builtin && !p->soft && p->n_unknown++ == 0) p->unknown = n;
    return n->text != NULL;
}

/* Left to right; the leftmost works on input, NULL in a block. */
struct node *slm_jinja_parse_filters(struct parser *p, struct node *input, bool first)
{
    while (p->now.kind == T_PIPE || first) {
        if (!first) slm_jinja_take(p);
        first = false;
        struct node *n = slm_jinja_node(p, N_FILTER, p->now.offset);
        if (!n || !parse_builtin_name(p, n, true)) return NULL;
        n->a = input;
        if (p->now.kind == T_LPAREN ? !parse_arguments(p, n) : !slm_jinja_done(p, n, 0)) return NULL;
        input = n;
    }
    return input;
}

/* An argument may follow without brackets: `x is divisibleby 3`. jinja2 takes any name for one
 * except else, or, and. */
static struct node *parse_test(struct parser *p, struct node *subject)
{
    struct node *n = slm_jinja_node(p, N_TEST, slm_jinja_take(p).offset);
    bool negated = slm_jinja_skip_word(p, "not");
    if (!n || !parse_builtin_name(p, n, false)) return NULL;
    n->a = subject;
    /* an argument without brackets starts with one of these */
    bool argument = p->now.kind == T_STRING || p->now.kind == T_INT || p->now.kind == T_FLOAT ||
                    p->now.kind == T_LBRACKET || p->now.kind == T_LBRACE ||
                    (p->now.kind == T_NAME && !slm_jinja_is_word(p, "else") && !slm_jinja_is_word(p, "or") &&
                     !slm_jinja_is_word(p, "and"));
    if (p->now.kind == T_LPAREN) {
        if (!parse_arguments(p, n)) return NULL;
    } else if (argument) {
        if (slm_jinja_is_word(p, "is")) return slm_jinja_unexpected(p, "no second 'is'");
        if (!(n->b = parse_postfix(p, parse_primary(p, false)))) return NULL;
    }
    if (!slm_jinja_done(p, n, 0) || !negated) return p->lx.status == SLM_OK ? n : NULL;
    struct node *not = slm_jinja_node(p, N_NOT, n->offset);
    if (!not) return NULL;
    not->a = n;
    return slm_jinja_done(p, not, 0);
}

/* Puts the prefix operators on operand, innermost first. They hang together by ->next, the innermost at the head. */
static struct node *apply_prefixes(struct parser *p, struct node *prefixes, struct node *operand)
{
    while (prefixes && operand) {
        struct node *outer = prefixes->next;
        prefixes->next = NULL;
        prefixes->a = operand;
        operand = slm_jinja_done(p, prefixes, 0);
        prefixes = outer;
    }
    return operand;
}

/* Signs bind looser than what follows a primary (-x.y is -(x.y)), but filters apply to the whole: -x|abs is (-x)|abs.
 * */
static struct node *parse_unary(struct parser *p)
{
    struct node *prefixes = NULL, *n;
    while (p->now.kind == T_SUB || p->now.kind == T_ADD) {
        if (!(n = slm_jinja_node(p, p->now.kind == T_SUB ? N_NEG : N_POS, p->now.offset))) return NULL;
        n->next = prefixes;
        prefixes = n;
        slm_jinja_take(p);
    }
    n = apply_prefixes(p, prefixes, parse_postfix(p, parse_primary(p, false)));
    n = prefixes ? parse_postfix(p, n) : n;
    while (n) {
        if (p->now.kind == T_PIPE) n = slm_jinja_parse_filters(p, n, false);
        else if (slm_jinja_is_word(p, "is")) n = parse_test(p, n);
        else if (p->now.kind == T_LPAREN) n = parse_call(p, n);
        else break;
    }
    return n;
}

/* ---- operators ---------------------------------------------------------------------------------------------- */

/* How tightly operators bind; ~ sits between + and *, which surprises everyone once. */
enum { LEVEL_ADD = 1, LEVEL_CONCAT, LEVEL_MUL, LEVEL_POW };
static const struct { uint8_t token, level, op; } binary_operators[] = {
    {T_ADD, LEVEL_ADD, OP_ADD}, {T_SUB, LEVEL_ADD, OP_SUB}, {T_TILDE, LEVEL_CONCAT, 0}, {T_MUL, LEVEL_MUL, OP_MUL},
    {T_DIV, LEVEL_MUL, OP_DIV}, {T_FLOORDIV, LEVEL_MUL, OP_FLOORDIV}, {T_MOD, LEVEL_MUL, OP_MOD},
    {T_POW, LEVEL_POW, OP_POW},
};

/* The row of the operator here if it binds at least as tightly as level, or -1. */
static int operator_at(const struct parser *p, int level)
{
    for (size_t i = 0; i < sizeof binary_operators / sizeof *binary_operators; i++)
        if (binary_operators[i].token == p->now.kind && binary_operators[i].level >= level) return (int)i;
    return -1;
}

static struct node *parse_math(struct parser *p, int level);

/* The right side of an operator. It counts as a level, for brackets in it come on top of this frame. */
static struct node *parse_operand(struct parser *p, int level)
{
    if (!slm_jinja_deeper(p)) return NULL;
    struct node *n = parse_math(p, level);
    p->depth--;
    return n;
}

/* Arithmetic of at least this level; all levels associate to the left, ** too. */
static struct node *parse_math(struct parser *p, int level)
{
    struct node *left = parse_unary(p);
    for (int i; left && (i = operator_at(p, level)) >= 0;) {
        int this_level = binary_operators[i].level;
        struct node *n = slm_jinja_node(p, this_level == LEVEL_CONCAT ? N_CONCAT : N_BINARY, p->now.offset);
        if (!n) return NULL;
        /* all parts of a ~ b ~ c are one node, so a long chain is not deep */
        if (this_level == LEVEL_CONCAT) {
            struct node_list parts = {0};
            slm_jinja_append(&parts, left);
            while (slm_jinja_skip(p, T_TILDE))
                if (!slm_jinja_append(&parts, parse_operand(p, LEVEL_CONCAT + 1))) return NULL;
            n->a = parts.head;
            left = slm_jinja_done(p, n, parts.depth);
            continue;
        }
        slm_jinja_take(p);
        n->op = binary_operators[i].op;
        n->a = left;
        if (!(n->b = parse_operand(p, this_level + 1))) return NULL;
        left = slm_jinja_done(p, n, 0);
    }
    return left;
}

/* -1 = none. `not in` is two words. */
static int comparison_at(struct parser *p)
{
    static const uint8_t of_token[] = {[T_EQ] = CMP_EQ, [T_NE] = CMP_NE, [T_LT] = CMP_LT, [T_LE] = CMP_LE,
                                       [T_GT] = CMP_GT, [T_GE] = CMP_GE};
    if (p->now.kind >= T_EQ && p->now.kind <= T_LE) return of_token[p->now.kind];
    if (slm_jinja_is_word(p, "in")) return CMP_IN;
    if (slm_jinja_is_word(p, "not") && look(p)->kind == T_NAME && slm_str_is(look(p)->text, "in")) return CMP_NOT_IN;
    return -1;
}

/* Links of a chain are siblings, not children, but are limited like depth. */
static struct node *parse_compare(struct parser *p)
{
    struct node *first = parse_math(p, LEVEL_ADD), *n = NULL;
    struct node_list operands = {0}; /* stays empty for a plain expression, which is then returned as it is */
    unsigned count = 0;
    for (int op; first && (op = comparison_at(p)) >= 0;) {
        struct node *operand = slm_jinja_node(p, N_OPERAND, p->now.offset);
        if (!operand) return NULL;
        if (!n && !(n = slm_jinja_node(p, N_COMPARE, p->now.offset))) return NULL;
        if (++count >= TEMPLATE_MAX_DEPTH && too_deep(p, p->now.offset)) return NULL;
        slm_jinja_take(p);
        if (op == CMP_NOT_IN) slm_jinja_take(p);
        operand->op = (uint8_t)op;
        if (!(operand->a = parse_math(p, LEVEL_ADD)) || !slm_jinja_done(p, operand, 0) ||
            !slm_jinja_append(&operands, operand))
            return NULL;
    }
    if (!n || !first) return first;
    n->a = first;
    n->b = operands.head;
    return slm_jinja_done(p, n, operands.depth);
}

/* Collects the nots in a loop, for there may be a million of them. */
static struct node *parse_not(struct parser *p)
{
    struct node *prefixes = NULL;
    while (slm_jinja_is_word(p, "not")) {
        struct node *n = slm_jinja_node(p, N_NOT, slm_jinja_take(p).offset);
        if (!n) return NULL;
        n->next = prefixes;
        prefixes = n;
    }
    return apply_prefixes(p, prefixes, parse_compare(p));
}

/* Starts or extends a chain. */
static struct node *join_logic(struct parser *p, enum node_kind kind, struct node *left, struct node *right)
{
    if (!left || !right) return right;
    struct node *n = slm_jinja_node(p, kind, right->offset);
    if (!n) return NULL;
    n->a = left;
    n->b = right;
    return slm_jinja_done(p, n, 0);
}

/* `and` and `or` in one loop: the open chain of and, and the chain of or around it. */
static struct node *parse_logic(struct parser *p)
{
    struct node *or_left = NULL, *and_left = NULL; /* NULL = nothing in that chain yet */
    for (;;) {
        if (!(and_left = join_logic(p, N_AND, and_left, parse_not(p)))) return NULL;
        if (slm_jinja_skip_word(p, "and")) continue;
        if (!(or_left = join_logic(p, N_OR, or_left, and_left))) return NULL;
        if (!slm_jinja_skip_word(p, "or")) return or_left;
        and_left = NULL;
    }
}

/* a if b else c, which nests to the right; without else, to the left. */
static struct node *parse_cond(struct parser *p)
{
    bool soft = p->soft;
    unsigned n_unknown = p->n_unknown;
    if (!slm_jinja_deeper(p)) return NULL;
    struct node *value = parse_logic(p);
    while (value && slm_jinja_is_word(p, "if")) {
        struct node *n = slm_jinja_node(p, N_COND, slm_jinja_take(p).offset);
        p->soft = true;
        p->n_unknown = n_unknown; /* that the first part is conditional too shows only here */
        if (!n) return NULL;
        n->b = value;
        if (!(n->a = parse_logic(p))) return NULL;
        if (slm_jinja_skip_word(p, "else") && !(n->c = parse_cond(p))) return NULL;
        value = slm_jinja_done(p, n, 0);
    }
    p->soft = soft;
    p->depth--;
    return value;
}

/* One expression, no tuple. */
struct node *slm_jinja_parse_expression(struct parser *p)
{
    return parse_cond(p);
}

/* Commas make a tuple. It ends where no expression can start, since there may be a comma at its
 * end. */
struct node *slm_jinja_parse_tuple(struct parser *p, unsigned flags, const char *end_word)
{
    uint32_t offset = p->now.offset;
    struct node_list items = {0};
    bool tuple = false;
    for (;;) {
        enum token_kind k = p->now.kind; /* where a tuple ends, a comma before it or not */
        if (k == T_VAR_END || k == T_BLOCK_END || k == T_RPAREN) break;
        if (end_word && slm_jinja_is_word(p, end_word)) break;
        struct node *item = flags & TUPLE_TARGET ? parse_primary(p, (flags & TUPLE_NAMESPACE) != 0)
                            : flags & TUPLE_NO_COND ? parse_logic(p) : parse_cond(p);
        if (!slm_jinja_append(&items, item)) return NULL;
        if (!slm_jinja_skip(p, T_COMMA)) break;
        tuple = true;
    }
    if (!tuple && items.head) return items.head;
    if (!tuple && !(flags & TUPLE_PARENTHESES)) return slm_jinja_unexpected(p, "an expression");
    struct node *n = slm_jinja_node(p, N_TUPLE, offset);
    if (!n) return NULL;
    n->a = items.head;
    return slm_jinja_done(p, n, items.depth);
}
