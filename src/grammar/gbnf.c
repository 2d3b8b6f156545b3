/* SPDX-License-Identifier: MIT
 * GBNF, the grammar notation of llama.cpp: rules "name ::= ...", texts "..." and classes [...] with escapes, '.',
 * groups, alternatives, * + ? {m,n}, and # comments. A rule goes on over line ends until the next "name ::=".
 * <name> stands for the token with that text, whether it is a special one or not.
 *
 * Refused: left recursion (by nfa_check.c), tokens by number, and tokens negated. Deliberately not here: what runs. */
#include "base/os.h"
#include "base/utf8.h"
#include "grammar/parse.h"

enum { MAX_CLASS = 1024, N_HEADS = 1024, MAX_NAME = 256 };

struct gbnf {
    struct slm_nfa *nfa;
    struct slm_str text;
    size_t at;
    struct name { struct slm_str text; uint32_t next; } *names; /* [n_rules of nfa] by number of the rule */
    size_t cap_names;
    uint32_t heads[N_HEADS];
    struct slm_range class[2 * MAX_CLASS + 1], negated[2 * MAX_CLASS + 2];
    char shown[MAX_NAME + 1]; /* a rule's name for messages */
};

/* Errors name the line, which is what an editor shows. */
static bool bad(struct gbnf *g, slm_status status, const char *what)
{
    size_t line = 1;
    for (size_t i = 0; i < g->at && i < g->text.len; i++) line += g->text.ptr[i] == '\n';
    slm_nfa_fail(g->nfa, status, "line %zu: %s", line, what);
    return false;
}

/* Text is left, and no failure. */
static bool more(const struct gbnf *g) { return g->at < g->text.len && g->nfa->failed == SLM_OK; }
static char peek(const struct gbnf *g) { return g->at < g->text.len ? g->text.ptr[g->at] : '\0'; }

/* llama.cpp's letters of names, and '_' besides. */
static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* White space and comments, line ends among them: what ends a rule is the next one, not its line. */
static void skip_space(struct gbnf *g)
{
    while (g->at < g->text.len) {
        const char c = g->text.ptr[g->at];
        if (c == '#')
            while (g->at < g->text.len && g->text.ptr[g->at] != '\n') g->at++;
        else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') g->at++;
        else break;
    }
}

/* The name that stands here; empty when none does. */
static struct slm_str read_word(struct gbnf *g)
{
    const size_t begin = g->at;
    while (g->at < g->text.len && is_word(g->text.ptr[g->at])) g->at++;
    return (struct slm_str){g->text.ptr + begin, g->at - begin};
}

/* Does "name ::=" stand here? */
static bool at_rule(struct gbnf *g)
{
    const size_t at = g->at;
    bool rule = read_word(g).len > 0;
    skip_space(g);
    rule = rule && g->text.len - g->at >= 3 && memcmp(g->text.ptr + g->at, "::=", 3) == 0;
    g->at = at;
    return rule;
}

/* The number of the rule of this name; a new one where there is none. */
static uint32_t rule_of(struct gbnf *g, struct slm_str name)
{
    uint32_t *head = &g->heads[slm_hash_bytes(name.ptr, name.len, 3) % N_HEADS];
    if (name.len > MAX_NAME) bad(g, SLM_ERR_LIMIT, "the name of a rule is longer than 256 bytes");
    for (uint32_t i = *head; i != SLM_NFA_NONE; i = g->names[i].next)
        if (slm_str_equal(g->names[i].text, name)) return i;
    /* Met for the first time, be it in a call; that it is defined some time is checked at the end. */
    const uint32_t rule = slm_nfa_rule(g->nfa);
    if (g->nfa->failed != SLM_OK) return 0;
    if (rule >= g->cap_names) {
        const size_t cap = g->cap_names ? 2 * g->cap_names : 64;
        void *names = slm_realloc(g->names, cap, sizeof *g->names, "grammar", g->nfa->error);
        if (!names) {
            g->nfa->failed = SLM_ERR_MEMORY;
            return 0;
        }
        g->names = names;
        g->cap_names = cap;
    }
    g->names[rule] = (struct name){name, *head};
    return *head = rule;
}

/* A character of a text or a class, escapes read. */
static bool read_char(struct gbnf *g, uint32_t *c)
{
    static const char names[] = "t\tn\nr\r\\\\\"\"[[]]--";
    static const struct { char name; unsigned digits; } codes[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    if (peek(g) != '\\') {
        const int n = slm_utf8_decode(g->text.ptr + g->at, g->text.len - g->at, c);
        if (n <= 0) return bad(g, SLM_ERR_FORMAT, "no UTF-8");
        g->at += (size_t)n;
        return true;
    }
    g->at++;
    const char name = peek(g);
    g->at++;
    for (size_t i = 0; i + 1 < sizeof names; i += 2) {
        /* Pairs: what is written, what it means. */
        if (names[i] != name) continue;
        *c = (uint32_t)(unsigned char)names[i + 1];
        return true;
    }
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i].name != name) continue;
        if (!slm_parse_hex(g->text, &g->at, codes[i].digits, c) || *c > 0x10FFFF || (*c >= 0xD800 && *c < 0xE000))
            return bad(g, SLM_ERR_FORMAT, "\\x, \\u and \\U are followed by 2, 4 and 8 hex digits of a character");
        return true;
    }
    return bad(g, SLM_ERR_FORMAT, "no such escape: \\t \\n \\r \\\\ \\\" \\[ \\] \\- \\x \\u \\U are known");
}

/* "...": the bytes of its characters, one after the other. */
static struct slm_frag text_atom(struct gbnf *g)
{
    struct slm_frag f = slm_frag_empty(g->nfa);
    g->at++;
    while (more(g) && peek(g) != '"') {
        uint32_t c = 0;
        char utf8[4];
        if (!read_char(g, &c)) break;
        const size_t n = (size_t)slm_utf8_encode(c, utf8);
        f = slm_frag_cat(g->nfa, f, slm_frag_bytes(g->nfa, (struct slm_str){utf8, n}));
    }
    if (g->nfa->failed == SLM_OK && peek(g) != '"') bad(g, SLM_ERR_FORMAT, "a text without its closing '\"'");
    g->at++;
    return f;
}

/* [...] and [^...]: ranges of characters, never of bytes. A '-' that is last stands for itself. */
static struct slm_frag class_atom(struct gbnf *g)
{
    size_t n = 0;
    g->at++;
    const bool negated = peek(g) == '^';
    g->at += negated;
    while (more(g) && peek(g) != ']') {
        struct slm_range r = {0, 0};
        if (!read_char(g, &r.lo)) break;
        r.hi = r.lo;
        if (peek(g) == '-' && g->at + 1 < g->text.len && g->text.ptr[g->at + 1] != ']') {
            g->at++;
            if (!read_char(g, &r.hi)) break;
        }
        /* Told apart from a class that matches nothing, which is allowed. */
        if (r.hi < r.lo) bad(g, SLM_ERR_FORMAT, "a range of a class ends before it begins");
        if (n == 2 * MAX_CLASS) bad(g, SLM_ERR_LIMIT, "a class of more than 2048 parts");
        else g->class[n++] = r;
    }
    if (g->nfa->failed == SLM_OK && peek(g) != ']') bad(g, SLM_ERR_FORMAT, "a class without its closing ']'");
    g->at++;
    n = slm_ranges_merge(g->class, n);
    /* After merging, so that the gaps are what is left. */
    if (!negated) return slm_frag_chars(g->nfa, g->class, n, SLM_SPELL_PLAIN);
    n = slm_ranges_negate(g->class, n, g->negated);
    return slm_frag_chars(g->nfa, g->negated, n, SLM_SPELL_PLAIN);
}

/* <name>: as a special token, or as text. */
static struct slm_frag token_atom(struct gbnf *g)
{
    const char *close = memchr(g->text.ptr + g->at, '>', g->text.len - g->at);
    const struct slm_str name = {g->text.ptr + g->at, close ? (size_t)(close + 1 - g->text.ptr) - g->at : 0};
    if (name.len < 3 || name.len > MAX_NAME || name.ptr[1] == '[') {
        bad(g, close ? SLM_ERR_UNSUPPORTED : SLM_ERR_FORMAT,
            close ? "tokens are named by their text, such as <think>" : "a token without its closing '>'");
        return slm_frag_empty(g->nfa);
    }
    g->at += name.len;
    return slm_frag_mark(g->nfa, name);
}

/* What follows an atom: the same again, some times. */
static void repeat(struct gbnf *g, struct slm_pile *pile)
{
    uint32_t min = 0, max = SLM_NFA_NONE;
    const char c = peek(g);
    if (c == '{') {
        if (!slm_parse_counts(g->nfa, g->text, &g->at, &min, &max)) return;
    } else {
        min = c == '+';
        max = c == '?' ? 1 : SLM_NFA_NONE;
        g->at++;
    }
    if (!slm_pile_repeat(pile, min, max)) bad(g, SLM_ERR_FORMAT, "nothing to repeat");
}

/* One step of a rule's body: an atom, or what is done to the last one. Groups go onto the pile, not onto the stack. */
static void item(struct gbnf *g, struct slm_pile *pile)
{
    static const struct slm_range everything = {0, 0x10FFFF};
    switch (peek(g)) {
    case '(': g->at++; slm_pile_open(pile); break;
    case ')':
        if (pile->depth == 1) {
            bad(g, SLM_ERR_FORMAT, "')' without '('");
            break;
        }
        g->at++;
        slm_pile_atom(pile, slm_pile_close(pile));
        break;
    case '|': g->at++; slm_pile_bar(pile); break;
    case '*': case '+': case '?': case '{': repeat(g, pile); break;
    case '"': slm_pile_atom(pile, text_atom(g)); break;
    case '[': slm_pile_atom(pile, class_atom(g)); break;
    case '<': slm_pile_atom(pile, token_atom(g)); break;
    case '.': g->at++; slm_pile_atom(pile, slm_frag_chars(g->nfa, &everything, 1, SLM_SPELL_PLAIN)); break;
    case '!': bad(g, SLM_ERR_UNSUPPORTED, "negated tokens are not supported"); break;
    default:
        if (!is_word(peek(g))) bad(g, SLM_ERR_FORMAT, "neither a text, a class, a group nor the name of a rule");
        else slm_pile_atom(pile, slm_frag_call(g->nfa, rule_of(g, read_word(g))));
    }
}

/* One "name ::= ..." with the reader at the name. */
static void rule(struct gbnf *g)
{
    struct slm_pile pile;
    const uint32_t number = rule_of(g, read_word(g));
    skip_space(g);
    /* Past the '::='. */
    g->at += 3;
    if (g->nfa->failed != SLM_OK) return;
    if (g->nfa->rules[number] != SLM_NFA_NONE) bad(g, SLM_ERR_FORMAT, "this rule was defined before");
    slm_pile_begin(&pile, g->nfa);
    /* Up to the next rule: a body may go on over lines, and a '|' may begin one. */
    for (skip_space(g); more(g); skip_space(g)) {
        if (is_word(peek(g)) && at_rule(g)) break;
        item(g, &pile);
    }
    if (g->nfa->failed == SLM_OK && pile.depth > 1) bad(g, SLM_ERR_FORMAT, "a '(' without ')'");
    if (g->nfa->failed == SLM_OK) slm_nfa_define(g->nfa, number, slm_pile_close(&pile));
}

/* Names go into messages, so they are made printable; the room for it is the reader's own. */
static const char *name_of(const void *user, uint32_t number)
{
    struct gbnf *g = (struct gbnf *)(uintptr_t)user;
    const struct slm_str name = g->names[number].text;
    slm_escape(g->shown, sizeof g->shown, name);
    return g->shown;
}

/* The reader is too large for a stack: it holds a class twice over. */
slm_status slm_gbnf_parse(struct slm_nfa *nfa, struct slm_str text, uint32_t *root)
{
    struct gbnf *g = slm_alloc(1, sizeof *g, "grammar", nfa->error);
    if (!g) return nfa->failed = SLM_ERR_MEMORY;
    g->nfa = nfa;
    g->text = text;
    for (size_t i = 0; i < N_HEADS; i++) g->heads[i] = SLM_NFA_NONE;
    for (skip_space(g); more(g); skip_space(g)) {
        if (at_rule(g)) rule(g);
        else bad(g, SLM_ERR_FORMAT, "a rule begins with its name and '::='");
    }
    /* Not there: it is a rule that is called and not defined, which finishing reports. */
    *root = rule_of(g, slm_str("root"));
    slm_nfa_finish(nfa, *root, name_of, g);
    slm_release(g->names);
    slm_release(g);
    return nfa->failed;
}
