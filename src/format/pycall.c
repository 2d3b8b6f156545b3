/* SPDX-License-Identifier: MIT
 * Python calls to JSON: see pycall.h. Two small machines, because text streams:
 *
 *   - the scanner looks at each byte once and knows brackets, strings and comments, no more: it says where a statement
 *     ends, and as soon as it can that there is none;
 *   - the reader then takes the whole statement, with a stack of brackets instead of recursion, and writes JSON as it
 *     goes. Parentheses may turn out to be a tuple only at their comma: their place in the output is kept as a blank.
 *
 * Where Python is larger (expressions, calls as arguments, f-strings, sets, \N{names}, numbers with j) the answer is
 * "no call", never a guess. Deliberately not here: which text is looked at, and what follows from a call (parts.c). */
#include "format/pycall.h"

#include "base/utf8.h"

/* ---- the scanner ----------------------------------------------------------------------------------------------- */

/* Names beyond ASCII are Python too; a tool that has one is called through JSON. */
bool slm_pycall_starts(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return slm_pycall_starts(c) || is_digit(c); }
static bool is_blank(char c) { return c == ' ' || c == '\t'; }
static bool is_line_end(char c) { return c == '\n' || c == '\r'; }

/* Behind two quotes it depends on the next byte whether that was an empty string. */
bool slm_pyscan_in_string(const struct slm_pyscan *scan) { return scan->quote && scan->opening != 2; }

/* Is this byte one of a string that began before? *broken: and it cannot stand there. */
static bool take_in_string(struct slm_pyscan *s, char c, bool *broken)
{
    if (!s->quote) return false;
    if (s->opening) {
        if (c == s->quote) {
            if (++s->opening == 3) s->triple = true, s->opening = 0;
            return true;
        }
        const bool empty = s->opening == 2;
        s->opening = 0;
        if (empty) {
            s->quote = 0;
            return false;
        }
    }
    const bool escaped = s->escaped, closes = !escaped && c == s->quote;
    s->escaped = !escaped && c == '\\';
    s->closing = closes ? (uint8_t)(s->closing + 1) : 0;
    if (closes && (!s->triple || s->closing == 3)) s->quote = 0;
    *broken = !escaped && !s->triple && is_line_end(c);
    return true;
}

/* A byte inside of brackets, outside of strings. Which bracket closes which is the reader's to see: counting is enough
 * to know where a statement ends, if it is one. */
static enum slm_pyscan_event take_inside(struct slm_pyscan *s, char c)
{
    if (c == '"' || c == '\'') s->quote = c, s->opening = 1, s->closing = 0, s->triple = false;
    if (c == '#') s->comment = true;
    if (c == '(' || c == '[' || c == '{')
        return ++s->depth > SLM_PYCALL_MAX_DEPTH ? SLM_PYSCAN_BROKEN : SLM_PYSCAN_MORE;
    if ((c != ')' && c != ']' && c != '}') || --s->depth) return SLM_PYSCAN_MORE;
    s->stage = SLM_PYSCAN_AFTER;
    return SLM_PYSCAN_END;
}

/* Between brackets lines and separators count. Two words side by side are no call: prose shows at its second word. */
enum slm_pyscan_event slm_pyscan_next(struct slm_pyscan *s, char c)
{
    bool broken = false;
    if (take_in_string(s, c, &broken)) return broken ? SLM_PYSCAN_BROKEN : SLM_PYSCAN_MORE;
    if (s->comment && !is_line_end(c)) return SLM_PYSCAN_MORE;
    s->comment = false;
    if (s->stage == SLM_PYSCAN_INSIDE) return take_inside(s, c);
    if (s->stage == SLM_PYSCAN_WORD || s->stage == SLM_PYSCAN_GAP) {
        if (is_blank(c)) s->stage = SLM_PYSCAN_GAP;
        else if (c == '(') s->stage = SLM_PYSCAN_INSIDE, s->depth = 1;
        else if (s->stage == SLM_PYSCAN_GAP || !(is_word(c) || c == '.')) return SLM_PYSCAN_BROKEN;
        return SLM_PYSCAN_MORE;
    }
    if (c == '#') s->comment = true;
    else if (is_line_end(c)) s->stage = SLM_PYSCAN_BETWEEN;
    else if (is_blank(c)) return SLM_PYSCAN_MORE;
    else if (s->stage == SLM_PYSCAN_AFTER && (c == ';' || c == ',')) s->stage = SLM_PYSCAN_BETWEEN;
    else if (s->stage == SLM_PYSCAN_BETWEEN && (c == '[' || slm_pycall_starts(c))) {
        s->stage = c == '[' ? SLM_PYSCAN_INSIDE : SLM_PYSCAN_WORD;
        s->depth = c == '[';
        return SLM_PYSCAN_BEGIN;
    } else return SLM_PYSCAN_BROKEN;
    return SLM_PYSCAN_MORE;
}

/* ---- the reader ------------------------------------------------------------------------------------------------ */

/* Every read_x() takes one x at `at`, leaves `at` behind it and appends its JSON to *out; false means that there is no
 * x, and then `at` and what was appended no longer matter. */
struct reader {
    struct slm_str text;
    size_t at;             /* next byte */
    struct slm_buf *out;   /* the caller's list */
    struct slm_buf string; /* the literal being read: a string decoded, or the digits of a number */
    uint32_t depth;        /* brackets that are open inside of one argument */
    struct level {
        char close;        /* what closes it */
        bool tuple;        /* a comma was seen, or nothing at all is inside: round brackets are a list then */
        size_t blank_at;   /* where *out has its opening bracket, of round ones a blank */
    } levels[SLM_PYCALL_MAX_DEPTH];
};

/* The next byte; NUL at the end, for the text itself has none. */
static char peek(const struct reader *r) { return r->at < r->text.len ? r->text.ptr[r->at] : '\0'; }

static bool accept(struct reader *r, char c)
{
    if (peek(r) != c) return false;
    r->at++;
    return true;
}

/* Between a name and its bracket, where a line end would end the statement. */
static void skip_blanks(struct reader *r)
{
    while (is_blank(peek(r))) r->at++;
}

/* Inside of brackets lines do not count, and comments may stand anywhere. */
static void skip_space(struct reader *r)
{
    for (bool comment = false; peek(r); r->at++) {
        const char c = peek(r);
        if (is_line_end(c)) comment = false;
        else if (c == '#') comment = true;
        else if (!comment && !is_blank(c)) return;
    }
}

/* words: with points between them. Empty when there is none here. */
static struct slm_str read_name(struct reader *r, bool words)
{
    const size_t begin = r->at;
    do {
        if (!slm_pycall_starts(peek(r))) return (struct slm_str){0};
        while (is_word(peek(r))) r->at++;
    } while (words && accept(r, '.'));
    return (struct slm_str){r->text.ptr + begin, r->at - begin};
}

/* n hexadecimal digits. */
static bool read_hex(struct reader *r, size_t n, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++, r->at++) {
        const char c = peek(r), low = (char)(c | 0x20);
        if (!is_digit(c) && (low < 'a' || low > 'f')) return false;
        *out = *out << 4 | (uint32_t)(is_digit(c) ? c - '0' : low - 'a' + 10);
    }
    return true;
}

/* Half of a pair stands for nothing; JSON knows only whole ones, and that is how they are meant. */
static bool add_character(struct reader *r, uint32_t cp)
{
    uint32_t low = 0;
    if (cp >= 0xD800 && cp < 0xDC00) {
        if (!accept(r, '\\') || !accept(r, 'u') || !read_hex(r, 4, &low) || low < 0xDC00 || low > 0xDFFF) return false;
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    }
    if (cp > 0x10FFFF || (cp >= 0xDC00 && cp < 0xE000)) return false;
    char bytes[4];
    return slm_buf_add(&r->string, bytes, (size_t)slm_utf8_encode(cp, bytes));
}

/* Behind a backslash. \N{...} would need the table of names, and is no call. */
static bool read_escape(struct reader *r)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    static const struct { char letter; uint8_t digits; } numbers[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    const char c = peek(r);
    const char *known = c ? strchr(from, c) : NULL;
    uint32_t cp = 0;
    if (known) {
        r->at++;
        return slm_buf_add(&r->string, to + (known - from), 1);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (accept(r, numbers[i].letter)) return read_hex(r, numbers[i].digits, &cp) && add_character(r, cp);
    if (c >= '0' && c <= '7') {
        for (size_t i = 0; i < 3 && peek(r) >= '0' && peek(r) <= '7'; i++, r->at++)
            cp = cp << 3 | (uint32_t)(peek(r) - '0');
        return add_character(r, cp);
    }
    if (is_line_end(c)) { /* the line goes on */
        r->at++;
        if (c == '\r') accept(r, '\n');
        return true;
    }
    return c != 'N' && slm_buf_add(&r->string, "\\", 1); /* an unknown escape is two characters */
}

/* One literal, its quotes and the letter in front. Lines end with \n, however they are written. */
static bool read_literal(struct reader *r)
{
    const bool raw = peek(r) == 'r' || peek(r) == 'R';
    if (raw || peek(r) == 'u' || peek(r) == 'U') r->at++;
    const char quote = peek(r);
    if (quote != '"' && quote != '\'') return false;
    size_t n = 0; /* quotes at its ends */
    while (n < 3 && accept(r, quote)) n++;
    if (n == 2) return true;
    while (r->at < r->text.len) {
        const char c = r->text.ptr[r->at++];
        if (c == quote) {
            if (n == 1) return true;
            if (peek(r) == quote && r->at + 1 < r->text.len && r->text.ptr[r->at + 1] == quote) {
                r->at += 2;
                return true;
            }
        }
        if (c == '\\' && !raw) {
            if (!read_escape(r)) return false;
            continue;
        }
        if (is_line_end(c) && n == 1) return false;
        if (c == '\r') accept(r, '\n');
        slm_buf_add(&r->string, c == '\r' ? "\n" : &c, 1);
        if (c != '\\' || r->at >= r->text.len) continue;
        const char next = r->text.ptr[r->at]; /* raw: what is behind a backslash ends nothing, and both stay */
        if (next != quote && next != '\\') continue;
        slm_buf_add(&r->string, &next, 1);
        r->at++;
    }
    return false;
}

/* Literals side by side are one string. */
static bool read_string(struct reader *r)
{
    slm_buf_clear(&r->string);
    do {
        if (!read_literal(r)) return false;
        skip_space(r);
    } while (peek(r) == '"' || peek(r) == '\'');
    return slm_buf_add_json_string(r->out, (struct slm_str){r->string.len ? r->string.data : "", r->string.len});
}

/* Decimal digits with single underscores between them, appended without those. False: none, or one astray. */
static bool read_digits(struct reader *r)
{
    if (!is_digit(peek(r))) return false;
    for (bool digit = true; is_digit(peek(r)) || (digit && peek(r) == '_'); r->at++) {
        digit = is_digit(peek(r));
        if (digit) slm_buf_add(&r->string, &r->text.ptr[r->at], 1);
    }
    return r->text.ptr[r->at - 1] != '_';
}

/* 0x, 0o, 0b and their digits, up to 64 bits. */
static bool read_based(struct reader *r, unsigned bits)
{
    uint64_t value = 0;
    bool digit = false;
    for (r->at += 2; is_word(peek(r)); r->at++) {
        const char c = peek(r), low = (char)(c | 0x20);
        if (c == '_' && r->text.ptr[r->at - 1] != '_') {
            digit = false;
            continue;
        }
        const bool letter = low >= 'a' && low <= 'f';
        const unsigned none = 16, d = is_digit(c) ? (unsigned)(c - '0') : letter ? (unsigned)(low - 'a' + 10) : none;
        if (d >> bits || value >> (64 - bits)) return false;
        value = value << bits | d;
        digit = true;
    }
    return digit && slm_buf_printf(r->out, "%llu", (unsigned long long)value);
}

/* As JSON writes it, and of the same value, however long: digits on both sides of a point, no zeros in front, no
 * underscores. */
static bool read_number(struct reader *r)
{
    enum { MAX_DIGITS = 4300 }; /* Python's own limit */
    if (peek(r) == '-' || peek(r) == '+') {
        if (peek(r) == '-') slm_buf_puts(r->out, "-");
        r->at++;
        skip_space(r);
    }
    if (peek(r) == '0' && r->at + 1 < r->text.len) {
        const char base = (char)(r->text.ptr[r->at + 1] | 0x20);
        const unsigned bits = base == 'x' ? 4 : base == 'o' ? 3 : base == 'b' ? 1 : 0;
        if (bits) return read_based(r, bits);
    }
    slm_buf_clear(&r->string);
    const bool whole = read_digits(r);
    if (!whole && (peek(r) != '.' || r->string.len)) return false;
    size_t zeros = 0;
    while (zeros + 1 < r->string.len && r->string.data[zeros] == '0') zeros++;
    const size_t n_whole = r->string.len;
    bool real = accept(r, '.');
    if (real) {
        slm_buf_puts(&r->string, whole ? "." : "0.");
        if (is_digit(peek(r)) ? !read_digits(r) : !whole) return false;
        if (r->string.len == n_whole + 1) slm_buf_puts(&r->string, "0");
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        real = true;
        r->at++;
        slm_buf_puts(&r->string, "e");
        if (peek(r) == '-' || peek(r) == '+') slm_buf_add(&r->string, &r->text.ptr[r->at++], 1);
        if (!read_digits(r)) return false;
    }
    if (is_word(peek(r)) || peek(r) == '.' || r->string.len > MAX_DIGITS || r->string.failed != SLM_OK) return false;
    if (!real && zeros && r->string.data[zeros] != '0') return false; /* Python has no 007 */
    return slm_buf_add(r->out, r->string.data + zeros, r->string.len - zeros);
}

/* A value without brackets. A letter in front of a quote belongs to the string. */
static bool read_scalar(struct reader *r)
{
    static const struct { const char *python, *json; } words[] = {
        {"True", "true"}, {"False", "false"}, {"None", "null"},
        {"true", "true"}, {"false", "false"}, {"null", "null"}, /* nothing else that they could mean */
    };
    const char c = peek(r), next = r->at + 1 < r->text.len ? r->text.ptr[r->at + 1] : '\0';
    if (c == '"' || c == '\'' || (slm_pycall_starts(c) && (next == '"' || next == '\''))) return read_string(r);
    if (is_digit(c) || c == '.' || c == '-' || c == '+') return read_number(r);
    const struct slm_str name = read_name(r, false);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slm_str_is(name, words[i].python)) return slm_buf_puts(r->out, words[i].json);
    return false;
}

/* A key of a dict, its colon, and what JSON has for them. */
static bool read_key(struct reader *r)
{
    skip_space(r);
    if (!read_string(r)) return false;
    skip_space(r);
    return accept(r, ':') && slm_buf_puts(r->out, ": ");
}

/* An opening bracket. *empty: the closing one follows. */
static bool open_level(struct reader *r, bool *empty)
{
    const char c = peek(r);
    if (r->depth == SLM_PYCALL_MAX_DEPTH || !slm_buf_puts(r->out, c == '[' ? "[" : c == '{' ? "{" : " ")) return false;
    r->at++;
    r->levels[r->depth++] = (struct level){
        .close = c == '[' ? ']' : c == '{' ? '}' : ')', .blank_at = r->out->len - 1};
    skip_space(r);
    struct level *level = &r->levels[r->depth - 1];
    *empty = peek(r) == level->close;
    level->tuple = *empty;
    return *empty || c != '{' || read_key(r);
}

/* Behind a value: closes what closes here. False: no call. *more: another value follows. */
static bool close_levels(struct reader *r, bool *more)
{
    for (*more = false; r->depth && !*more;) {
        struct level *level = &r->levels[r->depth - 1];
        skip_space(r);
        if (accept(r, ',')) {
            level->tuple = true;
            skip_space(r);
            *more = peek(r) != level->close;
            if (*more && (!slm_buf_puts(r->out, ", ") || (level->close == '}' && !read_key(r)))) return false;
            if (*more) break;
        }
        if (!accept(r, level->close)) return false;
        if (level->close != ')') slm_buf_add(r->out, &level->close, 1);
        else if (level->tuple && slm_buf_puts(r->out, "]")) r->out->data[level->blank_at] = '[';
        r->depth--;
    }
    return r->out->failed == SLM_OK;
}

/* With all that is in it: opens levels as they come, and is done when the last one is closed. */
static bool read_value(struct reader *r)
{
    for (bool more = true; more;) {
        bool empty = false;
        skip_space(r);
        const char c = peek(r);
        if (c == '[' || c == '(' || c == '{') {
            if (!open_level(r, &empty)) return false;
            if (!empty) continue;
        } else if (!read_scalar(r)) {
            return false;
        }
        if (!close_levels(r, &more)) return false;
    }
    return true;
}

/* "key=value, ..." up to the bracket. Python has no key twice. */
static bool read_arguments(struct reader *r)
{
    struct slm_str keys[SLM_PYCALL_MAX_ARGUMENTS];
    slm_buf_puts(r->out, "{");
    for (size_t n = 0; skip_space(r), !accept(r, ')'); n++) {
        if (n == SLM_PYCALL_MAX_ARGUMENTS) return false;
        keys[n] = read_name(r, false);
        for (size_t i = 0; i < n; i++)
            if (slm_str_equal(keys[i], keys[n])) return false;
        skip_space(r);
        if (!keys[n].len || !accept(r, '=')) return false;
        slm_buf_puts(r->out, n ? ", " : "");
        slm_buf_add_json_string(r->out, keys[n]);
        slm_buf_puts(r->out, ": ");
        if (!read_value(r)) return false;
        skip_space(r);
        if (!accept(r, ',') && peek(r) != ')') return false;
    }
    return slm_buf_add(r->out, "}", 2);
}

/* Llama's own tools are called as tool.call(...). */
static bool read_call(struct reader *r)
{
    static const struct slm_str suffix = {".call", 5};
    struct slm_str name = read_name(r, true);
    skip_blanks(r);
    if (!name.len || !accept(r, '(')) return false;
    if (name.len > suffix.len && memcmp(name.ptr + name.len - suffix.len, suffix.ptr, suffix.len) == 0)
        name.len -= suffix.len;
    slm_buf_add_str(r->out, name);
    slm_buf_add(r->out, "", 1);
    return read_arguments(r);
}

/* The bracket that closes the list of calls which begins here, 0 for a single call. print opens one when a call
 * follows; with named arguments it is a tool of that name. */
static char open_list(struct reader *r)
{
    if (accept(r, '[')) return ']';
    const size_t begin = r->at;
    if (slm_str_is(read_name(r, true), "print")) {
        skip_blanks(r);
        if (accept(r, '(')) {
            skip_space(r);
            const size_t inner = r->at;
            const bool name = read_name(r, true).len != 0;
            skip_blanks(r);
            if (name && peek(r) == '(') {
                r->at = inner;
                return ')';
            }
        }
    }
    r->at = begin;
    return 0;
}

bool slm_pycall_read(struct slm_str statement, struct slm_buf *list)
{
    struct reader r = {.text = statement, .out = list};
    const size_t before = list->len;
    /* Neither is JSON's, and Python refuses them too. */
    if (memchr(statement.ptr, 0, statement.len) ||
        slm_utf8_valid_prefix(statement.ptr, statement.len) != statement.len) return false;
    const char close = open_list(&r);
    bool ok, more = true;
    do {
        if (close) skip_space(&r);
        ok = read_call(&r);
        if (!ok || !close) break;
        skip_space(&r);
        more = accept(&r, ',');
        if (more) skip_space(&r);
        if (accept(&r, close)) break;
        ok = more;
    } while (ok);
    ok = ok && r.at == r.text.len && list->failed == SLM_OK;
    if (r.string.failed != SLM_OK && list->failed == SLM_OK) list->failed = r.string.failed;
    if (!ok && list->len > before) list->data[list->len = before] = '\0';
    slm_buf_release(&r.string);
    return ok;
}
