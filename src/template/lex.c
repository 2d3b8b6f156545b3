/* SPDX-License-Identifier: MIT
 * The lexer: template text, the three kinds of tags, and the tokens inside them.
 *
 * Whitespace is the delicate part of chat templates, because every newline reaches the model. The rules are those of
 * jinja2 with trim_blocks and lstrip_blocks: a block or comment tag swallows one newline after it and the blanks
 * between it and the start of its line; '-' next to a tag swallows all whitespace on that side, '+' keeps it; a
 * variable tag does neither unless told to. This file does not know what the names and operators mean.
 *
 * The source was checked to be UTF-8 and its newlines are '\n' before this file sees it. Tokens point into it. The
 * lexer never goes back, except over the blanks before a tag, and so takes linear time. */
#include <stdio.h>
#include <utf8proc.h>
#include "base/utf8.h"
#include "template/lex.h"

/* Counted from the start each time: only errors ask. Columns are code points, from 1. */
void slm_jinja_where(const struct slm_template *tmpl, size_t offset, char *out, size_t out_bytes)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < tmpl->source_bytes; i++) {
        unsigned char c = (unsigned char)tmpl->source[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xC0) != 0x80) {
            column++;
        }
    }
    snprintf(out, out_bytes, "%s:%zu:%zu", tmpl->where, line, column);
}

/* The first error is the cause; what the parser finds after it is noise. */
void slm_jinja_syntax_error(struct lexer *lx, slm_status status, size_t offset, const char *format, ...)
{
    if (lx->status != SLM_OK) return;
    char where[128], message[300];
    slm_jinja_where(lx->tmpl, offset, where, sizeof where);
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    lx->status = slm_fail(lx->error, status, where, "%s", message);
}

/* An error and the token that carries it to the parser. */
static struct token fail_at(struct lexer *lx, size_t offset, const char *message)
{
    slm_jinja_syntax_error(lx, SLM_ERR_FORMAT, offset, "%s", message);
    return (struct token){.kind = T_ERROR, .offset = (uint32_t)offset};
}

/* Whether these bytes stand at pos. */
static bool at(const struct lexer *lx, size_t pos, const char *what)
{
    size_t n = strlen(what);
    return lx->len - pos >= n && memcmp(lx->src + pos, what, n) == 0;
}

/* Length of the whitespace character at pos, 0 = none. */
static size_t space_at(const struct lexer *lx, size_t pos)
{
    if (pos >= lx->len) return 0;
    uint32_t cp;
    int n = slm_utf8_decode(lx->src + pos, lx->len - pos, &cp);
    return n > 0 && slm_jinja_is_space(cp) ? (size_t)n : 0;
}

/* Python's idea of whitespace, which includes a dozen Unicode characters. */
static size_t skip_space(const struct lexer *lx, size_t pos)
{
    for (size_t n; (n = space_at(lx, pos)) > 0;) pos += n;
    return pos;
}

/* Everything behind the end of a tag of two bytes at pos; sign is '-', '+' or another. */
static void end_tag(struct lexer *lx, size_t pos, char sign, bool trims)
{
    pos += 2;
    if (sign == '-') pos = skip_space(lx, pos);
    else if (sign != '+' && trims && pos < lx->len && lx->src[pos] == '\n') pos++;
    lx->line_starting = lx->src[pos - 1] == '\n';
    lx->pos = pos;
}

/* Cuts what the tag after text[from..to) swallows of it. */
static size_t strip_before(const struct lexer *lx, size_t from, size_t to, char sign, bool variable)
{
    if (sign == '+' || (sign != '-' && variable)) return to;
    /* lstrip_blocks: only if nothing but blanks stands before the tag on its line */
    size_t end = to;
    while (end > from) { /* back over whitespace, a character at a time */
        if (sign != '-' && lx->src[end - 1] == '\n') return end;
        size_t start = end - 1;
        while (start > from && ((unsigned char)lx->src[start] & 0xC0) == 0x80) start--;
        if (space_at(lx, start) == 0) return sign == '-' ? end : to;
        end = start;
    }
    return sign == '-' || lx->line_starting ? end : to;
}

/* The end of `{% raw %}` at pos (its '{'), or 0 when there is none. */
static size_t match_word_tag(const struct lexer *lx, size_t pos, const char *word, char *end_sign)
{
    size_t p = pos + 2;
    if (p < lx->len && (lx->src[p] == '-' || lx->src[p] == '+')) p++;
    p = skip_space(lx, p);
    if (!at(lx, p, word)) return 0;
    p = skip_space(lx, p + strlen(word));
    *end_sign = 0;
    if (p < lx->len && (lx->src[p] == '-' || lx->src[p] == '+')) *end_sign = lx->src[p++];
    return at(lx, p, "%}") ? p : 0;
}

/* The '-' or '+' at pos, or 0. */
static char sign_at(const struct lexer *lx, size_t pos)
{
    return pos < lx->len && (lx->src[pos] == '-' || lx->src[pos] == '+') ? lx->src[pos] : 0;
}

/* lx->pos is behind `{% raw %}`: the text up to the end tag, as it stands. */
static struct token lex_raw(struct lexer *lx, size_t tag)
{
    size_t from = lx->pos;
    for (size_t p = from; p + 1 < lx->len; p++) {
        char end_sign;
        if (!at(lx, p, "{%")) continue;
        size_t end = match_word_tag(lx, p, "endraw", &end_sign);
        if (!end) continue;
        size_t to = strip_before(lx, from, p, sign_at(lx, p + 2), false);
        end_tag(lx, end, end_sign, true);
        return (struct token){.kind = T_DATA, .offset = (uint32_t)from, .text = {lx->src + from, to - from}};
    }
    return fail_at(lx, tag, "Missing end of raw directive");
}

/* Comments do not nest; the first end counts. A '-' or '+' right before it is its sign. */
static bool skip_comment(struct lexer *lx, size_t tag, size_t from)
{
    for (size_t p = from; p + 1 < lx->len; p++) {
        if (!at(lx, p, "#}")) continue;
        char sign = p > from ? sign_at(lx, p - 1) : 0;
        end_tag(lx, p, sign, true);
        return true;
    }
    fail_at(lx, tag, "Missing end of comment tag");
    return false;
}

/* Template text up to the next tag, then the tag's begin. */
static struct token lex_data(struct lexer *lx)
{
    while (lx->pos < lx->len) {
        size_t from = lx->pos, p = from;
        while (p < lx->len && !at(lx, p, "{{") && !at(lx, p, "{%") && !at(lx, p, "{#")) p++;
        if (p >= lx->len) {
            lx->pos = lx->len;
            return (struct token){.kind = T_DATA, .offset = (uint32_t)from, .text = {lx->src + from, p - from}};
        }
        char kind = lx->src[p + 1], sign = sign_at(lx, p + 2), end_sign;
        size_t to = strip_before(lx, from, p, sign, kind == '{');
        struct token data = {.kind = T_DATA, .offset = (uint32_t)from, .text = {lx->src + from, to - from}};
        size_t raw = kind == '%' ? match_word_tag(lx, p, "raw", &end_sign) : 0;
        if (raw && end_sign != '+') { /* jinja2 knows no '+' here */
            end_tag(lx, raw, end_sign, false);
            lx->pending = lex_raw(lx, p);
            if (lx->pending.kind == T_ERROR) return lx->pending;
            lx->has_pending = true;
        } else if (kind == '#') {
            if (!skip_comment(lx, p, p + 2 + (sign != 0))) return (struct token){.kind = T_ERROR};
        } else {
            lx->pos = p + 2 + (sign != 0);
            lx->state = kind == '{' ? LEX_VAR : LEX_BLOCK;
            lx->pending = (struct token){.kind = kind == '{' ? T_VAR_BEGIN : T_BLOCK_BEGIN, .offset = (uint32_t)p};
            lx->has_pending = true;
        }
        if (data.text.len > 0) return data;
        if (lx->has_pending) {
            lx->has_pending = false;
            if (lx->pending.kind != T_DATA || lx->pending.text.len > 0) return lx->pending;
        }
    }
    return (struct token){.kind = T_EOF, .offset = (uint32_t)lx->len};
}

/* ---- inside a tag ------------------------------------------------------------------------------------------- */

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* Digits with single underscores between them. */
static size_t scan_digits(const struct lexer *lx, size_t p)
{
    while (p < lx->len && (digit(lx->src[p]) || (lx->src[p] == '_' && p + 1 < lx->len && digit(lx->src[p + 1])))) p++;
    return p;
}

/* The longest integer at p, with 0x, 0o or 0b; as in Python a decimal may not start with a zero, so
 * 007 is three tokens and then an error. */
static size_t scan_integer(const struct lexer *lx, size_t p, int *base)
{
    char prefix = p + 1 < lx->len ? (char)(lx->src[p + 1] | 0x20) : 0;
    *base = 10;
    if (lx->src[p] != '0') return scan_digits(lx, p);
    *base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
    size_t q = *base == 10 ? p + 1 : p + 2;
    while (q < lx->len) {
        size_t d = lx->src[q] == '_' && q + 1 < lx->len ? q + 1 : q;
        char c = (char)(digit(lx->src[d]) ? lx->src[d] : lx->src[d] | 0x20);
        bool fits = *base == 16 ? digit(c) || (c >= 'a' && c <= 'f')
                                : c >= '0' && c < (*base == 10 ? '1' : '0' + *base); /* a decimal zero has only zeros */
        if (!fits) break;
        q = d + 1;
    }
    if (*base != 10 && q == p + 2) { /* "0x" alone is a zero and a name */
        *base = 10;
        return p + 1;
    }
    return q;
}

/* A number is a float when it has a fraction or an exponent, except right after a point: x.1.2 is
 * two subscripts. */
static struct token lex_number(struct lexer *lx)
{
    size_t start = lx->pos, p = scan_digits(lx, start);
    bool is_float = false;
    if (start == 0 || lx->src[start - 1] != '.') {
        if (p + 1 < lx->len && lx->src[p] == '.' && digit(lx->src[p + 1])) {
            p = scan_digits(lx, p + 1);
            is_float = true;
        }
        if (p + 1 < lx->len && (lx->src[p] | 0x20) == 'e') {
            size_t q = p + 1;
            if (lx->src[q] == '+' || lx->src[q] == '-') q++;
            if (q < lx->len && digit(lx->src[q])) {
                p = scan_digits(lx, q);
                is_float = true;
            }
        }
    }
    struct token t = {.kind = is_float ? T_FLOAT : T_INT, .offset = (uint32_t)start};
    int base = 10;
    if (!is_float) p = scan_integer(lx, start, &base);
    t.text = (struct slm_str){lx->src + start, p - start};
    lx->pos = p;
    if (is_float ? !slm_jinja_parse_double(t.text, &t.f)
                 : slm_jinja_parse_int(t.text, base == 10 ? 10 : 0, &t.i) != 1)
        return fail_at(lx, start, "number too large: integers must fit 64 bits");
    return t;
}

/* Python's identifiers. */
static bool name_char(uint32_t cp, bool first)
{
    if (cp < 128) return cp == '_' || (cp | 0x20) - 'a' < 26 || (!first && cp - '0' < 10);
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_NL: return true;
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_PC:
        return !first;
    default: return false;
    }
}

/* Keywords are names too; the parser knows them by their place. */
static struct token lex_name(struct lexer *lx)
{
    size_t p = lx->pos;
    uint32_t cp;
    for (int n; p < lx->len && (n = slm_utf8_decode(lx->src + p, lx->len - p, &cp)) > 0 &&
                name_char(cp, p == lx->pos); p += (size_t)n) {}
    struct token t = {.kind = T_NAME, .offset = (uint32_t)lx->pos, .text = {lx->src + lx->pos, p - lx->pos}};
    lx->pos = p;
    return t;
}

/* Exactly n of them; 0 = some are not. */
static int hex_digits(const char *s, size_t n, uint32_t *out)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        int c = s[i] | 0x20, d = digit(s[i]) ? s[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0) return 0;
        v = v * 16 + (uint32_t)d;
    }
    *out = v;
    return 1;
}

/* One escape of s[0..n), s[0] = '\\'. Writes its bytes and returns how many source bytes it took; 0 = bad. */
static size_t unescape(const char *s, size_t n, char *out, size_t *out_len)
{
    static const char plain[] = "\\\\\'\'\"\"a\ab\bf\fn\nr\rt\tv\v";
    *out_len = 1;
    for (const char *p = plain; *p; p += 2) {
        if (s[1] != p[0]) continue;
        out[0] = p[1];
        return 2;
    }
    uint32_t cp = 0;
    if (s[1] == '\n') {
        *out_len = 0;
        return 2;
    }
    size_t n_hex = s[1] == 'x' ? 2 : s[1] == 'u' ? 4 : s[1] == 'U' ? 8 : 0, used = 2 + n_hex;
    if (n_hex > 0) {
        if (n < used || !hex_digits(s + 2, n_hex, &cp)) return 0;
    } else if (s[1] >= '0' && s[1] <= '7') {
        for (used = 1; used < 4 && used < n && s[used] >= '0' && s[used] <= '7'; used++)
            cp = cp * 8 + (uint32_t)(s[used] - '0');
    } else if (s[1] == 'N') {
        return 0; /* \N{NAME} needs the table of character names */
    } else if ((unsigned char)s[1] >= 0x80) {
        /* jinja2 escapes what is not ASCII before it unescapes, so the backslash meets that escape */
        int len = slm_utf8_decode(s + 1, n - 1, &cp);
        *out_len = (size_t)snprintf(out, 16, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
        return 1 + (size_t)len;
    } else {
        out[0] = '\\'; /* an unknown escape stands for itself */
        return 1;
    }
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return 0;
    *out_len = (size_t)slm_utf8_encode(cp, out);
    return used;
}

/* Either quote, with Python's escapes; the end is found first, so the value can be sized once. */
static struct token lex_string(struct lexer *lx)
{
    size_t start = lx->pos, p = start + 1;
    char quote = lx->src[start];
    while (p < lx->len && lx->src[p] != quote) p += lx->src[p] == '\\' ? 2 : 1;
    if (p >= lx->len) return fail_at(lx, start, "unexpected char: a string that does not end");
    lx->pos = p + 1;
    const char *s = lx->src + start + 1;
    size_t n = p - start - 1, len = 0;
    /* an escape of a character that is not ASCII grows: 10 bytes from 5 at most */
    char *out = slm_arena_alloc(&lx->tmpl->arena, 2 * n + 1, 1, lx->tmpl->where, lx->error);
    struct text *text = slm_arena_alloc(&lx->tmpl->arena, 1, sizeof *text, lx->tmpl->where, lx->error);
    if (!out || !text) {
        lx->status = SLM_ERR_MEMORY;
        return (struct token){.kind = T_ERROR};
    }
    for (size_t i = 0; i < n;) {
        char piece[16];
        size_t piece_len = 1, used = 1;
        piece[0] = s[i];
        if (s[i] == '\\') used = unescape(s + i, n - i, piece, &piece_len);
        if (used == 0) return fail_at(lx, start + 1 + i, "bad escape in a string");
        memcpy(out + len, piece, piece_len);
        len += piece_len;
        i += used;
    }
    *text = (struct text){.ptr = out, .len = len};
    for (size_t i = 0; i < len; i++) text->n_chars += ((unsigned char)out[i] & 0xC0) != 0x80;
    return (struct token){.kind = T_STRING, .offset = (uint32_t)start, .string = text};
}

static const struct { char text[3]; uint8_t kind; } operators[] = { /* longest first */
    {"//", T_FLOORDIV}, {"**", T_POW}, {"==", T_EQ}, {"!=", T_NE}, {">=", T_GE}, {"<=", T_LE},
    {"+", T_ADD}, {"-", T_SUB}, {"/", T_DIV}, {"*", T_MUL}, {"%", T_MOD}, {"~", T_TILDE}, {"[", T_LBRACKET},
    {"]", T_RBRACKET}, {"(", T_LPAREN}, {")", T_RPAREN}, {"{", T_LBRACE}, {"}", T_RBRACE}, {">", T_GT}, {"<", T_LT},
    {"=", T_ASSIGN}, {".", T_DOT}, {":", T_COLON}, {"|", T_PIPE}, {",", T_COMMA}, {";", T_SEMICOLON},
};

/* Brackets are matched here already, because a tag ends only where none is open: {{ {'a': {}} }}.
 * */
static struct token lex_operator(struct lexer *lx)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!at(lx, lx->pos, operators[i].text)) continue;
        size_t start = lx->pos, n = strlen(operators[i].text);
        struct token t = {operators[i].kind, (uint32_t)start, {lx->src + start, n}, {0}};
        char c = lx->src[start];
        if (t.kind == T_LPAREN || t.kind == T_LBRACKET || t.kind == T_LBRACE) {
            if (lx->n_open >= TEMPLATE_MAX_DEPTH) return fail_at(lx, start, "brackets nested deeper than 200");
            lx->open[lx->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (t.kind == T_RPAREN || t.kind == T_RBRACKET || t.kind == T_RBRACE) {
            if (lx->n_open == 0 || lx->open[--lx->n_open] != c) return fail_at(lx, start, "unexpected closing bracket");
        }
        lx->pos = start + n;
        return t;
    }
    return fail_at(lx, lx->pos, "unexpected char");
}

/* One token inside {{ }} or {% %}. */
static struct token lex_tag(struct lexer *lx)
{
    bool variable = lx->state == LEX_VAR;
    for (;;) {
        size_t p = lx->pos;
        if (p >= lx->len) return (struct token){.kind = T_EOF, .offset = (uint32_t)p};
        char sign = lx->src[p] == '-' || (lx->src[p] == '+' && !variable) ? lx->src[p] : 0;
        size_t end = p + (sign != 0);
        if (lx->n_open == 0 && at(lx, end, variable ? "}}" : "%}")) {
            end_tag(lx, end, sign, !variable);
            lx->state = LEX_DATA;
            return (struct token){.kind = variable ? T_VAR_END : T_BLOCK_END, .offset = (uint32_t)p};
        }
        size_t after = skip_space(lx, p);
        if (after == p) break;
        lx->pos = after;
    }
    /* the order is that of jinja2's rules: a number before a name, so 1a is two tokens */
    char c = lx->src[lx->pos];
    if (digit(c)) return lex_number(lx);
    if (c == '"' || c == '\'') return lex_string(lx);
    uint32_t cp;
    if (slm_utf8_decode(lx->src + lx->pos, lx->len - lx->pos, &cp) > 0 && name_char(cp, true)) return lex_name(lx);
    return lex_operator(lx);
}

/* Text and the tag behind it are found together; the tag waits in `pending`. */
struct token slm_jinja_lex(struct lexer *lx)
{
    if (lx->status != SLM_OK) return (struct token){.kind = T_ERROR};
    if (lx->has_pending) {
        lx->has_pending = false;
        if (lx->pending.kind != T_DATA || lx->pending.text.len > 0) return lx->pending;
    }
    return lx->state == LEX_DATA ? lex_data(lx) : lex_tag(lx);
}
