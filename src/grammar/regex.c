/* SPDX-License-Identifier: MIT
 * Regular expressions that are regular: alternatives, groups, classes, repetitions, ^ and $. The dialect is that of
 * ECMA-262 with the flag u, as JSON Schema asks: \d and \w are ASCII, \s also the white space of Unicode, '.' anything
 * but line ends. What is not regular or means other things elsewhere (back references, look-around, \b, \p) is refused,
 * never taken for something near.
 *
 * ^ and $ become letters of their own, bytes that no text holds; what is built with them is then cut down to texts that
 * have ^ first and $ last and nowhere else, and the letters are made empty. Deliberately not here: matching. */
#include "grammar/parse.h"
#include "base/utf8.h"

#define BEGIN_MARK 0xFEu
#define END_MARK 0xFDu
enum { MAX_CLASS = 512 };

/* One expression on its way: where reading stands, and the class that was read last. */
struct regex {
    struct slm_nfa *nfa;
    struct slm_str text;
    size_t at;
    enum slm_spelling spelling;
    struct slm_range class[2 * MAX_CLASS];
    size_t n_class;
};

/* What the shorthands mean in ECMA-262; its white space and its line ends. */
static const struct slm_range digits[] = {{'0', '9'}};
static const struct slm_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct slm_range spaces[] = {
    {9, 13}, {32, 32}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
    {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF},
};
static const struct slm_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
static const struct slm_range everything[] = {{0, 0x10FFFF}};
#define SHORTHAND(c, ranges) {c, ranges, sizeof ranges / sizeof *ranges}
static const struct { char name; const struct slm_range *ranges; size_t n; } shorthands[] = {
    SHORTHAND('d', digits), SHORTHAND('w', words), SHORTHAND('s', spaces),
};

/* Errors name the byte: regular expressions have no lines. */
static bool bad(struct regex *r, slm_status status, const char *what)
{
    slm_nfa_fail(r->nfa, status, "at byte %zu of the regular expression: %s", r->at, what);
    return false;
}

/* Text is left, and no failure. */
static bool more(const struct regex *r) { return r->at < r->text.len && r->nfa->failed == SLM_OK; }
static char peek(const struct regex *r) { return r->at < r->text.len ? r->text.ptr[r->at] : '\0'; }

/* A character as it stands. */
static bool read_char(struct regex *r, uint32_t *c)
{
    const int n = slm_utf8_decode(r->text.ptr + r->at, r->text.len - r->at, c);
    if (n <= 0) return bad(r, SLM_ERR_FORMAT, "no UTF-8");
    r->at += (size_t)n;
    return true;
}

/* Classes are short where people write them; the limit bounds the work of merging. */
static bool add_ranges(struct regex *r, const struct slm_range *ranges, size_t n)
{
    if (r->n_class + n > MAX_CLASS) return bad(r, SLM_ERR_LIMIT, "a class of more than 512 parts");
    memcpy(r->class + r->n_class, ranges, n * sizeof *ranges);
    r->n_class += n;
    return true;
}

/* Makes the class the characters that are not in it. */
static bool negate(struct regex *r)
{
    struct slm_range out[MAX_CLASS + 1];
    r->n_class = slm_ranges_merge(r->class, r->n_class);
    const size_t n = slm_ranges_negate(r->class, r->n_class, out);
    r->n_class = 0;
    return n <= MAX_CLASS ? add_ranges(r, out, n) : bad(r, SLM_ERR_LIMIT, "a class of more than 512 parts");
}

/* \d \D \w \W \s \S at the letter: adds it to the class. */
static bool shorthand(struct regex *r, bool *was)
{
    const char c = peek(r);
    *was = false;
    for (size_t i = 0; i < sizeof shorthands / sizeof *shorthands; i++) {
        if ((c | 0x20) != shorthands[i].name) continue;
        *was = true;
        r->at++;
        if (c == shorthands[i].name) return add_ranges(r, shorthands[i].ranges, shorthands[i].n);
        struct slm_range out[16];
        return add_ranges(r, out, slm_ranges_negate(shorthands[i].ranges, shorthands[i].n, out));
    }
    return true;
}

/* \u at its digits: four, two halves of a surrogate pair, or {...}. */
static bool unicode_escape(struct regex *r, uint32_t *c)
{
    size_t at = r->at;
    if (peek(r) == '{') {
        *c = 0;
        size_t n = 0;
        for (at++; at < r->text.len && r->text.ptr[at] != '}' && n < 6; n++) {
            uint32_t digit;
            if (!slm_parse_hex(r->text, &at, 1, &digit)) return bad(r, SLM_ERR_FORMAT, "\\u{} holds hex digits");
            *c = *c << 4 | digit;
        }
        if (n == 0 || at >= r->text.len || r->text.ptr[at++] != '}' || *c > 0x10FFFF)
            return bad(r, SLM_ERR_FORMAT, "\\u{} holds a code point up to 10FFFF");
    } else {
        uint32_t low;
        if (!slm_parse_hex(r->text, &at, 4, c)) return bad(r, SLM_ERR_FORMAT, "\\u is followed by four hex digits");
        size_t behind = at + 2;
        if (*c >= 0xD800 && *c < 0xDC00 && behind <= r->text.len && memcmp(r->text.ptr + at, "\\u", 2) == 0 &&
            slm_parse_hex(r->text, &behind, 4, &low) && low >= 0xDC00 && low < 0xE000) {
            *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
            at = behind;
        }
    }
    if (*c >= 0xD800 && *c < 0xE000) return bad(r, SLM_ERR_FORMAT, "half a surrogate pair is no character");
    r->at = at;
    return true;
}

/* The character that an escape stands for; r->at is behind the backslash. */
static bool escape(struct regex *r, bool in_class, uint32_t *c)
{
    static const char names[] = "t\tn\nr\rf\fv\v";
    if (r->at >= r->text.len) return bad(r, SLM_ERR_FORMAT, "'\\' ends the text");
    const char name = peek(r);
    for (size_t i = 0; i + 1 < sizeof names; i += 2) {
        /* Pairs: what is written, what it means. */
        if (names[i] != name) continue;
        r->at++;
        *c = (uint32_t)names[i + 1];
        return true;
    }
    if (name == 'x' || name == 'u') {
        r->at++;
        if (name == 'u') return unicode_escape(r, c);
        return slm_parse_hex(r->text, &r->at, 2, c) || bad(r, SLM_ERR_FORMAT, "\\x is followed by two hex digits");
    }
    /* \0 is a character unless more digits follow: that would be a reference, or octal. */
    if (name == '0' && !(r->at + 1 < r->text.len && r->text.ptr[r->at + 1] >= '0' && r->text.ptr[r->at + 1] <= '9')) {
        r->at++;
        *c = 0;
        return true;
    }
    /* In a class it is a backspace, elsewhere the border of a word. */
    if (name == 'b' && in_class) {
        r->at++;
        *c = '\b';
        return true;
    }
    if (name == 'b' || name == 'B') return bad(r, SLM_ERR_UNSUPPORTED, "\\b and \\B (word borders) are not supported");
    if (name == 'p' || name == 'P') return bad(r, SLM_ERR_UNSUPPORTED, "\\p (Unicode properties) is not supported");
    if ((name >= '0' && name <= '9') || name == 'k')
        return bad(r, SLM_ERR_UNSUPPORTED, "references to groups are not regular, so not supported");
    if ((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z'))
        return bad(r, SLM_ERR_UNSUPPORTED, "this escape is not known");
    return read_char(r, c);
}

/* One end of a range of a class. set: it was a shorthand, and is in the class already. */
static bool class_atom(struct regex *r, uint32_t *c, bool *set)
{
    *set = false;
    if (peek(r) != '\\') return read_char(r, c);
    r->at++;
    if (!shorthand(r, set)) return false;
    return *set || escape(r, true, c);
}

/* Behind "[". */
static struct slm_frag class(struct regex *r)
{
    /* "[]" is a class without characters and matches nothing, "[^]" matches everything. */
    const bool negated = peek(r) == '^';
    r->at += negated;
    r->n_class = 0;
    while (more(r) && peek(r) != ']') {
        uint32_t lo = 0, hi = 0;
        bool set, set_hi = false;
        if (!class_atom(r, &lo, &set)) break;
        hi = lo;
        /* A '-' that is last stands for itself. */
        const bool range = peek(r) == '-' && r->at + 1 < r->text.len && r->text.ptr[r->at + 1] != ']';
        if (range) {
            r->at++;
            if (!class_atom(r, &hi, &set_hi)) break;
            if (set || set_hi) bad(r, SLM_ERR_FORMAT, "a range of a class begins and ends with characters");
            else if (hi < lo) bad(r, SLM_ERR_FORMAT, "a range of a class ends before it begins");
        }
        if (!set && r->nfa->failed == SLM_OK) add_ranges(r, &(struct slm_range){lo, hi}, 1);
    }
    if (r->nfa->failed == SLM_OK && peek(r) != ']') bad(r, SLM_ERR_FORMAT, "a class without ']'");
    r->at++;
    if (negated && r->nfa->failed == SLM_OK) negate(r);
    /* In order and without overlaps, for then each character is there once. */
    r->n_class = slm_ranges_merge(r->class, r->n_class);
    return slm_frag_chars(r->nfa, r->class, r->n_class, r->spelling);
}

/* Behind "(": skips what says that the group is not remembered, or its name. */
static bool group_kind(struct regex *r)
{
    if (peek(r) != '?') return true;
    /* (?: and (?<name> and Python's (?P<name> are groups like any other, for nothing is remembered. */
    const size_t left = r->text.len - r->at;
    if (left >= 2 && r->text.ptr[r->at + 1] == ':') {
        r->at += 2;
        return true;
    }
    size_t at = r->at + 1;
    if (at < r->text.len && r->text.ptr[at] == 'P') at++;
    if (at + 1 < r->text.len && r->text.ptr[at] == '<' && r->text.ptr[at + 1] != '=' && r->text.ptr[at + 1] != '!') {
        const char *close = memchr(r->text.ptr + at, '>', r->text.len - at);
        if (!close) return bad(r, SLM_ERR_FORMAT, "the name of a group without '>'");
        r->at = (size_t)(close - r->text.ptr) + 1;
        return true;
    }
    return bad(r, SLM_ERR_UNSUPPORTED, "groups of this kind (look-around, flags) are not supported");
}

/* Lazy and greedy ones match the same texts, which is all that counts here. */
static void quantifier(struct regex *r, struct slm_pile *pile)
{
    uint32_t min = 0, max = SLM_NFA_NONE;
    const char c = peek(r);
    if (c == '{') {
        if (!slm_parse_counts(r->nfa, r->text, &r->at, &min, &max)) return;
    } else {
        min = c == '+';
        max = c == '?' ? 1 : SLM_NFA_NONE;
        r->at++;
    }
    /* An anchor is an atom too; a repetition at the beginning is none. */
    if (!slm_pile_repeat(pile, min, max)) {
        bad(r, SLM_ERR_FORMAT, "nothing to repeat");
        return;
    }
    if (peek(r) == '?') r->at++; /* lazy: the same texts */
    else if (more(r) && strchr("*+{", peek(r))) bad(r, SLM_ERR_FORMAT, "a repetition of a repetition");
}

/* An escape outside of a class: a shorthand or one character. */
static void escape_atom(struct regex *r, struct slm_pile *pile)
{
    bool set;
    uint32_t c = 0;
    r->at++;
    r->n_class = 0;
    if (!shorthand(r, &set)) return;
    if (!set) {
        if (!escape(r, false, &c)) return;
        add_ranges(r, &(struct slm_range){c, c}, 1);
    }
    slm_pile_atom(pile, slm_frag_chars(r->nfa, r->class, r->n_class, r->spelling));
}

/* One step of the main loop. */
static void item(struct regex *r, struct slm_pile *pile)
{
    struct slm_range not_ends[8];
    uint32_t c;
    switch (peek(r)) {
    case '(':
        r->at++;
        if (group_kind(r)) slm_pile_open(pile);
        break;
    case ')':
        if (pile->depth == 1) {
            bad(r, SLM_ERR_FORMAT, "')' without '('");
            break;
        }
        r->at++;
        slm_pile_atom(pile, slm_pile_close(pile));
        break;
    case '|': r->at++; slm_pile_bar(pile); break;
    case '*': case '+': case '?': case '{': quantifier(r, pile); break;
    case '^': r->at++; slm_pile_atom(pile, slm_frag_byte(r->nfa, BEGIN_MARK, BEGIN_MARK)); break;
    case '$': r->at++; slm_pile_atom(pile, slm_frag_byte(r->nfa, END_MARK, END_MARK)); break;
    case '[': r->at++; slm_pile_atom(pile, class(r)); break;
    case ']': case '}': bad(r, SLM_ERR_FORMAT, "a closing bracket that is text needs a '\\'"); break;
    case '\\': escape_atom(r, pile); break;
    case '.':
        r->at++;
        slm_pile_atom(pile, slm_frag_chars(r->nfa, not_ends,
                                           slm_ranges_negate(line_ends, 3, not_ends), r->spelling));
        break;
    default:
        if (read_char(r, &c)) slm_pile_atom(pile, slm_frag_chars(r->nfa, &(struct slm_range){c, c}, 1, r->spelling));
    }
}

/* What may stand around a match that is searched for; the marks may stand there too until they are cut down. */
static struct slm_frag any_text(struct slm_nfa *nfa, enum slm_spelling spelling, bool marks)
{
    struct slm_frag any = slm_frag_chars(nfa, everything, 1, spelling);
    if (marks) any = slm_frag_or(nfa, any, slm_frag_byte(nfa, END_MARK, BEGIN_MARK));
    return slm_frag_star(nfa, any);
}

/* A letter for an end of the text. */
static struct slm_frag mark(struct slm_nfa *nfa, uint8_t byte) { return slm_frag_byte(nfa, byte, byte); }

/* Texts with ^ first, $ last and nowhere else; then neither. A match may pass several of each, as in ^(?:a|^b). */
static struct slm_frag apply_anchors(struct slm_nfa *nfa, struct slm_frag f, enum slm_spelling spelling)
{
    struct slm_frag framed = slm_frag_star(nfa, mark(nfa, BEGIN_MARK));
    framed = slm_frag_cat(nfa, framed, any_text(nfa, spelling, false));
    framed = slm_frag_cat(nfa, framed, slm_frag_star(nfa, mark(nfa, END_MARK)));
    const size_t first = nfa->n_states;
    f = slm_frag_both(nfa, f, framed);
    /* The letters have done their work. */
    for (size_t i = first; i < nfa->n_states && nfa->failed == SLM_OK; i++) {
        struct slm_nfa_state *s = &nfa->states[i];
        if (s->kind == SLM_NFA_RANGE && (s->lo == BEGIN_MARK || s->lo == END_MARK)) s->kind = SLM_NFA_SPLIT;
    }
    return f;
}

/* The usual ways, no anchor or ^ first and $ last and no other alternative, need no cutting down. Cuts the $ off; the ^
 * is for the caller to skip. */
static bool plain_anchors(struct slm_str *text, bool *open_begin, bool *open_end)
{
    size_t depth = 0, n = 0, plain = 0;
    bool in_class = false, alternatives = false;
    const size_t len = text->len;
    for (size_t i = 0; i < len; i++) {
        const char c = text->ptr[i];
        if (c == '\\') i++;
        else if (in_class) in_class = c != ']';
        else if (c == '[') in_class = true;
        else if (c == '(') depth++;
        else if (c == ')') depth--;
        else if (c == '|' && depth == 0) alternatives = true;
        else if (c == '^') n++, plain += i == 0;
        else if (c == '$') n++, plain += i + 1 == len;
    }
    if (n == 0) return true;
    if (alternatives || n != plain) return false;
    /* All anchors are where they may be: at the two ends. */
    const bool first = text->ptr[0] == '^';
    if (first) *open_begin = false;
    if (plain > first) {
        *open_end = false;
        text->len--;
    }
    return true;
}

/* Around the match: any text where it is searched for, else nothing. */
struct slm_frag slm_regex_parse(struct slm_nfa *nfa, struct slm_str text, bool search, enum slm_spelling spelling)
{
    struct regex r = {.nfa = nfa, .text = text, .spelling = spelling};
    struct slm_pile pile;
    bool open_begin = search, open_end = search;
    const bool plain = plain_anchors(&r.text, &open_begin, &open_end);
    if (plain && peek(&r) == '^') r.at = 1;
    const uint32_t begin = (uint32_t)nfa->n_states;
    struct slm_frag before = slm_frag_empty(nfa);
    if (search && open_begin) before = slm_frag_cat(nfa, before, any_text(nfa, spelling, !plain));
    slm_pile_begin(&pile, nfa);
    /* The expression itself. */
    while (more(&r)) item(&r, &pile);
    /* Every group was closed. */
    if (nfa->failed == SLM_OK && pile.depth > 1) bad(&r, SLM_ERR_FORMAT, "a '(' without ')'");
    if (nfa->failed != SLM_OK) return before;
    struct slm_frag f = slm_frag_cat(nfa, before, slm_pile_close(&pile));
    if (search && open_end) f = slm_frag_cat(nfa, f, any_text(nfa, spelling, !plain));
    if (!plain) f = apply_anchors(nfa, f, spelling);
    f.begin = begin;
    return f;
}
