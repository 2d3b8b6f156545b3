/* SPDX-License-Identifier: MIT
 * Values of one conjunction without disjunctions, type by type: constants, strings, numbers. And the rules of JSON
 * itself: any value, any string, white space.
 *
 * White space between the parts of objects and arrays is nothing, one space, or one line end with up to 40 spaces or
 * tabs: what models write, and too little to loop in. Strings of which nothing is asked may spell characters in any way
 * JSON knows; where a pattern, a format or constants are about them each character has one spelling, itself where that
 * is allowed, so that what is asked can be asked of the text. Objects and arrays: schema_object.c. */
#include "base/utf8.h"
#include "grammar/schema.h"

#define NONE SLM_NFA_NONE

enum { THOUSAND = 1024, MAX_FACTOR = 4096 }; /* characters that are a rule; of multipleOf */
enum { MAX_COMPARED = 1 << 24 }; /* pairs of constants: a tenth of a second */

static const struct slm_range everything[] = {{0, 0x10FFFF}};
static const struct slm_range unescaped[] = {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0x10FFFF}};

#define UNTIL_24 "(?:[01]\\d|2[0-3])"
#define YEAR "(?:\\d{3}[1-9]|\\d\\d[1-9]\\d|\\d[1-9]\\d\\d|[1-9]\\d{3})"
#define DATE "(?:" YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|" \
    "02-(?:0[1-9]|1\\d|2[0-8]))|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|" \
    "(?:0[48]|[2468][048]|[13579][26])00)-02-29)"
#define TIME UNTIL_24 ":[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+\\-]" UNTIL_24 ":[0-5]\\d)"
#define BYTE "(?:\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])"
#define V4 "(?:" BYTE "\\.){3}" BYTE
#define HEX "[0-9A-Fa-f]"
#define H16 HEX "{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" V4 ")"
#define V6 "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32 \
    "|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16 ":){2}" LS32 \
    "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32 \
    "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 "|(?:(?:" H16 ":){0,6}" H16 ")?::)"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9\\-]{0,61}[A-Za-z0-9])?"
#define HOST LABEL "(?:\\." LABEL "){0,3}" /* so that 253 characters are never passed */
#define ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-]{1,16}"
#define PCHAR "(?:[A-Za-z0-9\\-._~!$&'()*+,;=:@]|%" HEX HEX ")"
#define URI_TAIL "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define AUTHORITY "//(?:(?:[A-Za-z0-9\\-._~!$&'()*+,;=:]|%" HEX HEX ")*@)?" \
    "(?:\\[" V6 "\\]|(?:[A-Za-z0-9\\-._~!$&'()*+,;=]|%" HEX HEX ")*)(?::\\d*)?"

/* Formats that are enforced; where a standard allows oddities (leap seconds, quoted names of mail) these are left out.
 * NULL: refused, since the standard asserts more than is known here. Formats that are in neither list say nothing. */
static const struct { const char *name, *pattern; } formats[] = {
    {"date", DATE}, {"time", TIME}, {"date-time", DATE "T" TIME},
    {"duration", "P(?:\\d{1,9}W|(?:\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D)"
                 "(?:T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))?|"
                 "T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))"},
    {"uuid", HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}"},
    {"email", ATOM "(?:\\." ATOM "){0,2}@" HOST}, {"hostname", HOST},
    {"ipv4", V4}, {"ipv6", V6},
    {"uri", "[A-Za-z][A-Za-z0-9+\\-.]*:(?:" AUTHORITY "(?:/" PCHAR "*)*|/(?:" PCHAR "+(?:/" PCHAR "*)*)?|" PCHAR
            "+(?:/" PCHAR "*)*)?" URI_TAIL},
    {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
    {"idn-email", NULL}, {"idn-hostname", NULL}, {"iri", NULL}, {"iri-reference", NULL}, {"uri-reference", NULL},
    {"uri-template", NULL}, {"relative-json-pointer", NULL}, {"regex", NULL},
};

/* ---- JSON itself ----------------------------------------------------------------------------------------------- */

/* The quote in front was made before the body. */
static struct slm_frag quoted(struct slm_nfa *nfa, struct slm_frag body, struct slm_frag quote)
{
    return slm_frag_cat(nfa, slm_frag_cat(nfa, quote, body), slm_frag_text(nfa, "\""));
}

/* Our own patterns, as they stand. */
static struct slm_frag regex(struct slm_nfa *nfa, const char *pattern)
{
    return slm_regex_parse(nfa, slm_str(pattern), false, SLM_SPELL_PLAIN);
}

/* One character of a string, spelled in any way. What follows a backslash is a rule of its own: long repetitions would
 * copy it often, and it is rare. */
static struct slm_frag any_char(struct slm_schema *s)
{
    struct slm_nfa *nfa = s->nfa;
    /* Bytes below space, the quote and the backslash never stand for themselves. */
    struct slm_frag plain = slm_frag_chars(nfa, unescaped, 3, SLM_SPELL_PLAIN);
    slm_frag_counted(nfa, &plain, 1, 1); /* smaller */
    struct slm_frag escape = slm_frag_text(nfa, "\\");
    escape = slm_frag_cat(nfa, escape, slm_frag_call(nfa, s->escape));
    return slm_frag_or(nfa, plain, escape);
}

/* value, after its members and elements, is what it is made of; the rest is letters. */
void slm_schema_base(struct slm_schema *s)
{
    struct slm_nfa *nfa = s->nfa;
    const struct slm_conj none = {.n = 0};
    s->ws = slm_nfa_rule(nfa);
    s->value = slm_nfa_rule(nfa);
    s->string = slm_nfa_rule(nfa);
    s->escape = slm_nfa_rule(nfa);
    slm_nfa_define(nfa, s->ws, regex(nfa, "(?: |\n[ \t]{0,40})?"));
    /* Surrogates in pairs only: a half is no character. */
    slm_nfa_define(nfa, s->escape, regex(nfa, "[\"\\\\/bfnrt]|u(?:[0-9a-cA-CefEF]" HEX "{3}|[dD][0-7]" HEX HEX
                                              "|[dD][89abAB]" HEX HEX "\\\\u[dD][c-fC-F]" HEX HEX ")"));
    const struct slm_frag quote = slm_frag_text(nfa, "\"");
    slm_nfa_define(nfa, s->string, quoted(nfa, slm_frag_star(nfa, any_char(s)), quote));
    struct slm_frag all = regex(nfa, "null|true|false");
    all = slm_frag_or(nfa, all, slm_number_free(nfa, false));
    all = slm_frag_or(nfa, all, slm_frag_call(nfa, s->string));
    all = slm_frag_or(nfa, all, slm_schema_array(s, &none));
    all = slm_frag_or(nfa, all, slm_schema_object(s, &none));
    slm_nfa_define(nfa, s->value, all);
}

/* ---- counts ---------------------------------------------------------------------------------------------------- */

/* 20, 20.0 and 2e1 are the same count. */
uint32_t slm_schema_count(struct slm_schema *s, const struct slm_dom *value, uint32_t most)
{
    struct slm_decimal d;
    uint64_t n = 0;
    const bool ok = value->kind == SLM_DOM_NUMBER && slm_decimal_read(value->text, &d) && !d.negative &&
                    d.exponent >= 0;
    if (!ok) {
        slm_schema_fail(s, value, SLM_ERR_FORMAT, "it is a whole number that is not negative");
        return 0;
    }
    for (int i = 0; i < d.n && n <= most; i++) n = 10 * n + (uint64_t)(d.digits[i] - '0');
    for (int i = 0; i < d.exponent && n <= most && n > 0; i++) n *= 10;
    return n > most ? most : (uint32_t)n;
}

/* The strictest of what the parts say. */
uint32_t slm_conj_count(struct slm_schema *s, const struct slm_conj *conj, const char *keyword, bool greatest,
                        uint32_t without)
{
    const struct slm_dom *value;
    uint32_t out = without;
    for (size_t i = 0; (value = slm_conj_keyword(conj, keyword, i)); i++) {
        const uint32_t n = slm_schema_count(s, value, NONE - 1);
        if (i == 0 || (greatest ? n > out : n < out)) out = n;
    }
    return out;
}

/* ---- what "not" excludes ---------------------------------------------------------------------------------------- */

/* Goes through the constants that are excluded, one after the other. */
struct excluded { const struct slm_conj *conj; size_t n; const struct slm_dom *rest; };

static const struct slm_dom *next_excluded(struct excluded *x)
{
    const struct slm_dom *found = x->rest, *negated;
    x->rest = found ? found->next : NULL;
    while (!found && (negated = slm_conj_keyword(x->conj, "not", x->n))) {
        x->n++;
        if (!slm_schema_is_simple(negated)) continue;
        const struct slm_dom *list = slm_dom_get(negated, "enum");
        found = list ? list->first : slm_dom_get(negated, "const");
        x->rest = list && found ? found->next : NULL;
    }
    return found;
}

/* Those of a type of which not every value can be listed: what is left of it could not be written. */
static void refuse_excluded(struct slm_schema *s, const struct slm_conj *conj, unsigned types)
{
    struct excluded x = {.conj = conj};
    for (const struct slm_dom *v = next_excluded(&x); v && s->nfa->failed == SLM_OK; v = next_excluded(&x))
        if (slm_type_of(v) & types)
            slm_schema_fail(s, v, SLM_ERR_UNSUPPORTED, "of numbers, arrays and objects single ones cannot be excluded");
}

/* true, false, null: those that are left. */
static struct slm_frag words(struct slm_schema *s, const struct slm_conj *conj, unsigned types)
{
    static const struct { enum slm_dom_kind kind; const char *text; unsigned type; } all[] = {
        {SLM_DOM_NULL, "null", SLM_TYPE_NULL}, {SLM_DOM_TRUE, "true", SLM_TYPE_BOOLEAN},
        {SLM_DOM_FALSE, "false", SLM_TYPE_BOOLEAN},
    };
    struct slm_frag f = slm_frag_never(s->nfa);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct excluded x = {.conj = conj};
        const struct slm_dom *v = next_excluded(&x);
        while (v && v->kind != all[i].kind) v = next_excluded(&x);
        if (!v && types & all[i].type) f = slm_frag_or(s->nfa, f, slm_frag_text(s->nfa, all[i].text));
    }
    return f;
}

/* The texts among them; how many. */
static size_t excluded_texts(struct slm_schema *s, const struct slm_conj *conj, struct slm_str **out)
{
    struct excluded x = {.conj = conj};
    size_t n = 0;
    for (const struct slm_dom *v = next_excluded(&x); v; v = next_excluded(&x)) n += v->kind == SLM_DOM_STRING;
    if (n == 0 || !out) return n;
    *out = slm_arena_alloc(&s->arena, n, sizeof **out, "schema", s->nfa->error);
    if (!*out) {
        s->nfa->failed = SLM_ERR_MEMORY;
        return 0;
    }
    x = (struct excluded){.conj = conj};
    n = 0;
    for (const struct slm_dom *v = next_excluded(&x); v; v = next_excluded(&x))
        if (v->kind == SLM_DOM_STRING) (*out)[n++] = v->text;
    return n;
}

/* ---- strings --------------------------------------------------------------------------------------------------- */

/* NULL also for formats that say nothing. */
static const char *format_pattern(struct slm_schema *s, const struct slm_dom *format)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (format->kind != SLM_DOM_STRING || !slm_str_is(format->text, formats[i].name)) continue;
        if (!formats[i].pattern)
            slm_schema_fail(s, format, SLM_ERR_UNSUPPORTED, "the format '%s' cannot be enforced", formats[i].name);
        return formats[i].pattern;
    }
    return NULL;
}

/* Then the rule of all strings will do. */
bool slm_schema_string_is_free(const struct slm_conj *conj)
{
    static const char *const keywords[] = {"minLength", "maxLength", "pattern", "format"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (slm_conj_keyword(conj, keywords[i], 0)) return false;
    return excluded_texts(NULL, conj, NULL) == 0;
}

/* One condition more, each made small first, for together they have the product of their states. Alone it stays as it
 * is where it counts something: copies that look alike to tokens (nfa.h) are worth more than few states. */
static void add_condition(struct slm_nfa *nfa, struct slm_frag *all, struct slm_frag one, size_t before, bool alone)
{
    const bool counts = nfa->n_runs > 0 && nfa->runs[nfa->n_runs - 1].begin >= one.begin;
    if (!alone || !counts) slm_frag_counted(nfa, &one, 0, NONE);
    *all = before > 0 ? slm_frag_both(nfa, *all, one) : one;
    if (before > 0) slm_frag_counted(nfa, all, 0, NONE);
}

/* What all of the patterns and formats match and "not" leaves, each character in its one spelling. Returns how many
 * conditions there were. */
static size_t all_patterns(struct slm_schema *s, const struct slm_conj *conj, struct slm_frag *out)
{
    static const char *const keywords[] = {"pattern", "format", "minLength", "maxLength"};
    struct slm_nfa *nfa = s->nfa;
    const struct slm_dom *value;
    struct slm_str *texts = NULL;
    size_t n = 0, n_asked = excluded_texts(s, conj, NULL);
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        for (size_t k = 0; slm_conj_keyword(conj, keywords[i], k); k++) n_asked++;
    for (size_t i = 0; (value = slm_conj_keyword(conj, "pattern", i)) && nfa->failed == SLM_OK; i++) {
        if (value->kind != SLM_DOM_STRING) slm_schema_fail(s, value, SLM_ERR_FORMAT, "a pattern is a text");
        slm_schema_at(s, value);
        add_condition(nfa, out, slm_regex_parse(nfa, value->text, true, SLM_SPELL_JSON), n++, n_asked == 1);
    }
    for (size_t i = 0; (value = slm_conj_keyword(conj, "format", i)) && nfa->failed == SLM_OK; i++) {
        const char *pattern = format_pattern(s, value);
        if (!pattern) continue;
        add_condition(nfa, out, slm_regex_parse(nfa, slm_str(pattern), false, SLM_SPELL_JSON), n++, n_asked == 1);
    }
    const size_t n_texts = excluded_texts(s, conj, &texts);
    if (n_texts > 0) add_condition(nfa, out, slm_schema_other_text(s, texts, n_texts), n++, false);
    return n;
}

/* So many characters exactly, a thousand at a time; or, in front of nothing more, at most so many: fewer thousands and
 * a part of one, or all of them and what is left. */
static struct slm_frag long_text(struct slm_schema *s, uint32_t thousand, uint32_t n, bool exactly)
{
    struct slm_nfa *nfa = s->nfa;
    const uint32_t whole = n / THOUSAND, left = n % THOUSAND;
    struct slm_frag all = slm_frag_repeat(nfa, slm_frag_call(nfa, thousand), whole, whole);
    all = slm_frag_cat(nfa, all, slm_frag_repeat(nfa, any_char(s), exactly ? left : 0, left));
    if (exactly || whole == 0) return all;
    struct slm_frag fewer = slm_frag_repeat(nfa, slm_frag_call(nfa, thousand), 0, whole - 1);
    fewer = slm_frag_cat(nfa, fewer, slm_frag_repeat(nfa, any_char(s), 0, THOUSAND - 1));
    return slm_frag_or(nfa, all, fewer);
}

/* min to max characters in any spelling. Beyond some length a rule stands for a thousand of them. */
static struct slm_frag free_text(struct slm_schema *s, uint32_t min, uint32_t max)
{
    struct slm_nfa *nfa = s->nfa;
    if ((max == NONE ? min : max) <= 8 * THOUSAND) return slm_frag_repeat(nfa, any_char(s), min, max);
    const uint32_t thousand = slm_nfa_rule(nfa);
    slm_nfa_define(nfa, thousand, slm_frag_repeat(nfa, any_char(s), THOUSAND, THOUSAND));
    struct slm_frag all = long_text(s, thousand, min, true);
    if (max == NONE) return slm_frag_cat(nfa, all, slm_frag_star(nfa, any_char(s)));
    return slm_frag_cat(nfa, all, long_text(s, thousand, max - min, false));
}

/* Without patterns characters are counted in any spelling, with them, and where asked, in their one spelling. */
struct slm_frag slm_schema_string_body(struct slm_schema *s, const struct slm_conj *conj, bool one_spelling)
{
    struct slm_nfa *nfa = s->nfa;
    const uint32_t begin = (uint32_t)nfa->n_states;
    const uint32_t min = slm_conj_count(s, conj, "minLength", true, 0);
    const uint32_t max = slm_conj_count(s, conj, "maxLength", false, NONE);
    struct slm_frag f = slm_frag_empty(nfa);
    const size_t n = all_patterns(s, conj, &f);
    /* Contradictory bounds leave no string; other types may be left. */
    if (max < min) return slm_frag_never(nfa);
    if (n == 0 && !one_spelling) return free_text(s, min, max);
    if (n == 0) f = slm_frag_star(nfa, slm_frag_chars(nfa, everything, 1, SLM_SPELL_JSON));
    f.begin = begin;
    if ((min > 0 || max != NONE) && !slm_frag_counted(nfa, &f, min, max)) {
        const struct slm_frag any = slm_frag_chars(nfa, everything, 1, SLM_SPELL_JSON);
        f = slm_frag_both(nfa, f, slm_frag_repeat(nfa, any, min, max));
        f.begin = begin;
    }
    return f;
}

/* Between its quotes. */
static struct slm_frag string_value(struct slm_schema *s, const struct slm_conj *conj)
{
    if (slm_schema_string_is_free(conj)) return slm_frag_call(s->nfa, s->string);
    const struct slm_frag quote = slm_frag_text(s->nfa, "\"");
    return quoted(s->nfa, slm_schema_string_body(s, conj, false), quote);
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

/* How a stands to b: negative, 0 or positive. */
static int compare(const struct slm_decimal *a, const struct slm_decimal *b)
{
    const int sign = a->negative ? -1 : 1;
    if (a->negative != b->negative) return sign;
    if (a->n == 0 || b->n == 0) return a->n == b->n ? 0 : a->n ? sign : b->negative ? 1 : -1;
    const int magnitude = a->n + a->exponent - b->n - b->exponent;
    if (magnitude != 0) return magnitude > 0 ? sign : -sign;
    return sign * strcmp(a->digits, b->digits); /* without trailing zeros: as fractions */
}

/* The strictest of the bounds of one keyword. */
static void tighten(struct slm_schema *s, const struct slm_conj *conj, const char *keyword, bool excluded,
                    bool *has, bool *is_excluded, struct slm_decimal *bound, int sign)
{
    const struct slm_dom *value;
    for (size_t i = 0; (value = slm_conj_keyword(conj, keyword, i)); i++) {
        struct slm_decimal d;
        if (value->kind != SLM_DOM_NUMBER || !slm_decimal_read(value->text, &d)) {
            slm_schema_fail(s, value, SLM_ERR_FORMAT, "a bound is a number of at most 40 digits");
            return;
        }
        /* Of equal bounds the one that excludes itself is stricter. */
        const int order = *has ? sign * compare(&d, bound) : 1;
        if (order < 0 || (order == 0 && !excluded)) continue;
        *has = true;
        *is_excluded = excluded;
        *bound = d;
    }
}

/* The factor of a multipleOf; 0 and a failure where it is none that can be enforced: what doubles make of fractions no
 * text can know. */
static uint32_t factor_of(struct slm_schema *s, const struct slm_dom *value)
{
    struct slm_decimal d;
    uint32_t factor = 0;
    if (value->kind != SLM_DOM_NUMBER || !slm_decimal_read(value->text, &d) || d.negative || d.n == 0)
        slm_schema_fail(s, value, SLM_ERR_FORMAT, "it is a number above 0 of at most 40 digits");
    else if (d.exponent >= 0) factor = slm_schema_count(s, value, MAX_FACTOR + 1);
    if (factor == 0 || factor > MAX_FACTOR)
        slm_schema_fail(s, value, SLM_ERR_UNSUPPORTED,
                        "multiples of fractions, and of numbers above %d, cannot be enforced exactly", MAX_FACTOR);
    return factor;
}

/* Whole numbers that a factor divides: a state for each remainder. */
static struct slm_frag multiples(struct slm_nfa *nfa, uint32_t factor)
{
    const uint32_t begin = (uint32_t)nfa->n_states, out = slm_nfa_fork(nfa, NONE, NONE);
    const uint32_t first = slm_nfa_fork(nfa, NONE, NONE), minus = slm_frag_byte(nfa, '-', '-').in;
    const uint32_t in = slm_nfa_fork(nfa, minus, first), states = (uint32_t)nfa->n_states;
    for (uint32_t r = 0; r < factor; r++) slm_nfa_fork(nfa, r == 0 ? out : NONE, NONE);
    if (nfa->failed != SLM_OK) return (struct slm_frag){begin, in, out};
    slm_nfa_lead(nfa, nfa->states[minus].a, first);
    slm_nfa_lead(nfa, first, states); /* no digit yet is like 0, but may not end: the form of numbers sees to it */
    for (uint32_t r = 0; r < factor; r++) {
        uint32_t chain = states + r;
        for (char digit = '0'; digit <= '9' && nfa->failed == SLM_OK; digit++) {
            const struct slm_frag eat = slm_frag_byte(nfa, (uint8_t)digit, (uint8_t)digit);
            const uint32_t next = slm_nfa_fork(nfa, eat.in, NONE);
            slm_nfa_lead(nfa, eat.out, states + (10 * r + (uint32_t)(digit - '0')) % factor);
            if (nfa->failed == SLM_OK) nfa->states[chain].b = next;
            chain = next;
        }
    }
    return (struct slm_frag){begin, in, out};
}

/* Whole when the types say so, or a multipleOf does. */
static struct slm_frag number_value(struct slm_schema *s, const struct slm_conj *conj, unsigned types)
{
    struct slm_nfa *nfa = s->nfa;
    struct slm_number_bounds b = {.whole = !(types & SLM_TYPE_FRACTION) || slm_conj_keyword(conj, "multipleOf", 0)};
    const struct slm_dom *value;
    tighten(s, conj, "minimum", false, &b.has_min, &b.min_excluded, &b.min, 1);
    tighten(s, conj, "exclusiveMinimum", true, &b.has_min, &b.min_excluded, &b.min, 1);
    tighten(s, conj, "maximum", false, &b.has_max, &b.max_excluded, &b.max, -1);
    tighten(s, conj, "exclusiveMaximum", true, &b.has_max, &b.max_excluded, &b.max, -1);
    struct slm_frag f = b.has_min || b.has_max ? slm_number_between(nfa, &b) : slm_number_free(nfa, b.whole);
    for (size_t i = 0; (value = slm_conj_keyword(conj, "multipleOf", i)) && nfa->failed == SLM_OK; i++) {
        const uint32_t factor = factor_of(s, value);
        if (factor > 1) f = slm_frag_both(nfa, f, multiples(nfa, factor));
    }
    return f;
}

/* ---- constants ------------------------------------------------------------------------------------------------- */

/* A value as it is, with the white space JSON allows inside; the tree is walked without recursion. */
static struct slm_frag literal(struct slm_schema *s, const struct slm_dom *value)
{
    struct slm_nfa *nfa = s->nfa;
    struct slm_frag f = slm_frag_empty(nfa);
    const struct slm_dom *at = value;
#define ADD(piece) (f = slm_frag_cat(nfa, f, piece))
    while (at && nfa->failed == SLM_OK) {
        const bool object = at->kind == SLM_DOM_OBJECT, inside = object || at->kind == SLM_DOM_ARRAY;
        static const char *const words[] = {
            [SLM_DOM_NULL] = "null", [SLM_DOM_FALSE] = "false", [SLM_DOM_TRUE] = "true"};
        if (at != value && at->parent->kind == SLM_DOM_OBJECT) {
            ADD(slm_frag_text(nfa, "\""));
            ADD(slm_frag_spelled(nfa, at->key, SLM_SPELL_JSON));
            ADD(slm_frag_text(nfa, "\":"));
            ADD(slm_frag_call(nfa, s->ws));
        }
        if (at->kind == SLM_DOM_STRING) {
            ADD(slm_frag_text(nfa, "\""));
            ADD(slm_frag_spelled(nfa, at->text, SLM_SPELL_JSON));
            ADD(slm_frag_text(nfa, "\""));
        } else {
            ADD(at->kind == SLM_DOM_NUMBER ? slm_frag_bytes(nfa, at->text)
                                           : slm_frag_text(nfa, object ? "{" : inside ? "[" : words[at->kind]));
        }
        if (inside) ADD(slm_frag_call(nfa, s->ws));
        if (inside && at->first) {
            at = at->first;
            continue;
        }
        if (inside) ADD(slm_frag_text(nfa, object ? "}" : "]"));
        while (at != value && !at->next) { /* the last of its parent, which is over then */
            at = at->parent;
            ADD(slm_frag_call(nfa, s->ws));
            ADD(slm_frag_text(nfa, at->kind == SLM_DOM_OBJECT ? "}" : "]"));
        }
        if (at == value) break;
        at = at->next;
        ADD(slm_frag_text(nfa, ","));
        ADD(slm_frag_call(nfa, s->ws));
    }
#undef ADD
    return f;
}

/* Is the value in every const and enum? It comes from one of them, which need not be searched; a schema whose others
 * are so long that searching them for every value would take seconds is beyond the limit. */
bool slm_schema_in_lists(struct slm_schema *s, const struct slm_conj *conj, const struct slm_dom *value)
{
    const struct slm_dom *list;
    bool unsure = false;
    for (size_t i = 0; (list = slm_conj_keyword(conj, "const", i)); i++)
        if (!slm_dom_equal(list, value, &unsure)) return false;
    for (size_t i = 0; (list = slm_conj_keyword(conj, "enum", i)); i++) {
        if (value->parent == list) continue;
        const struct slm_dom *v = list->first;
        while (v && !slm_dom_equal(v, value, &unsure)) v = v->next, s->n_compared++;
        if (s->n_compared > MAX_COMPARED) slm_schema_fail(s, list, SLM_ERR_LIMIT, "too many values to compare");
        if (!v) return false;
    }
    struct excluded x = {.conj = conj};
    for (const struct slm_dom *v = next_excluded(&x); v; v = next_excluded(&x), s->n_compared++) {
        bool maybe = false;
        if (slm_dom_equal(v, value, &maybe) && !maybe) return false;
        unsure |= maybe;
    }
    if (s->n_compared > MAX_COMPARED) slm_schema_fail(s, value, SLM_ERR_LIMIT, "too many values to compare");
    if (unsure) slm_schema_fail(s, value, SLM_ERR_LIMIT, "this value is too large to be compared");
    return true;
}

/* Length, patterns and formats, tried on what would be written. */
bool slm_schema_string_fits(struct slm_schema *s, const struct slm_conj *conj, struct slm_str text)
{
    struct slm_nfa *nfa = s->nfa;
    const uint32_t min = slm_conj_count(s, conj, "minLength", true, 0);
    const uint32_t max = slm_conj_count(s, conj, "maxLength", false, NONE);
    uint32_t n = 0;
    for (size_t i = 0; i < text.len; i++) n += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    struct slm_frag f = slm_frag_empty(nfa);
    if (n < min || n > max) return false;
    if (all_patterns(s, conj, &f) == 0) return true;
    const struct slm_frag own = slm_frag_spelled(nfa, text, SLM_SPELL_JSON);
    return slm_frag_reaches(nfa, slm_frag_both(nfa, f, own));
}

/* Does the value satisfy what else is asked of its type? Strings and numbers are tried on what would be written; of
 * objects and arrays nothing else may be asked. */
static bool satisfies(struct slm_schema *s, const struct slm_conj *conj, const struct slm_dom *value)
{
    static const char *const structure[] = {"properties", "required", "additionalProperties", "patternProperties",
                                            "propertyNames", "minProperties", "maxProperties", "items", "prefixItems",
                                            "minItems", "maxItems", "unevaluatedProperties"};
    struct slm_nfa *nfa = s->nfa;
    static const char *const numeric[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
                                          "multipleOf"};
    for (size_t i = 0; value->kind == SLM_DOM_NUMBER && i < sizeof numeric / sizeof *numeric; i++) {
        if (!slm_conj_keyword(conj, numeric[i], 0)) continue;
        const struct slm_frag f = number_value(s, conj, slm_conj_types(s, conj) | slm_type_of(value));
        return slm_frag_matches(nfa, f, value->text);
    }
    if (value->kind == SLM_DOM_STRING) return slm_schema_string_fits(s, conj, value->text);
    for (size_t i = 0; i < sizeof structure / sizeof *structure; i++) {
        const struct slm_dom *k = slm_conj_keyword(conj, structure[i], 0);
        if (k && (value->kind == SLM_DOM_OBJECT || value->kind == SLM_DOM_ARRAY))
            slm_schema_fail(s, k, SLM_ERR_UNSUPPORTED, "beside const or enum with objects or arrays in it");
    }
    return true;
}

/* Those of the first list that all the other parts agree to. */
static struct slm_frag constants(struct slm_schema *s, const struct slm_conj *conj, const struct slm_dom *first,
                                 bool one, unsigned types)
{
    struct slm_frag all = slm_frag_never(s->nfa);
    for (const struct slm_dom *v = first; v && s->nfa->failed == SLM_OK; v = one ? NULL : v->next) {
        if (!(slm_type_of(v) & types) || !slm_schema_in_lists(s, conj, v) || !satisfies(s, conj, v)) continue;
        all = slm_frag_or(s->nfa, all, literal(s, v));
    }
    return all;
}

/* ---- a value --------------------------------------------------------------------------------------------------- */

/* Constants say all there is; else each type that is left is an alternative. */
struct slm_frag slm_schema_value(struct slm_schema *s, const struct slm_conj *conj)
{
    struct slm_nfa *nfa = s->nfa;
    const unsigned types = slm_conj_types(s, conj);
    const struct slm_dom *value = slm_conj_keyword(conj, "const", 0);
    if (value) return constants(s, conj, value, true, types);
    value = slm_conj_keyword(conj, "enum", 0);
    if (value && (value->kind != SLM_DOM_ARRAY || !value->first))
        slm_schema_fail(s, value, SLM_ERR_FORMAT, "an enum is an array of at least one value");
    if (value) return constants(s, conj, value->first, false, types);
    struct slm_frag all = slm_frag_never(nfa);
    refuse_excluded(s, conj, types & ~(unsigned)(SLM_TYPE_NULL | SLM_TYPE_BOOLEAN | SLM_TYPE_STRING));
    if ((types & SLM_TYPE_FRACTION) && !(types & SLM_TYPE_WHOLE))
        slm_nfa_fail(nfa, SLM_ERR_UNSUPPORTED, "numbers that are not whole cannot be told from others exactly");
    if (types & (SLM_TYPE_NULL | SLM_TYPE_BOOLEAN)) all = slm_frag_or(nfa, all, words(s, conj, types));
    if (types & (SLM_TYPE_WHOLE | SLM_TYPE_FRACTION)) all = slm_frag_or(nfa, all, number_value(s, conj, types));
    if (types & SLM_TYPE_STRING) all = slm_frag_or(nfa, all, string_value(s, conj));
    if (types & SLM_TYPE_ARRAY) all = slm_frag_or(nfa, all, slm_schema_array(s, conj));
    if (types & SLM_TYPE_OBJECT) all = slm_frag_or(nfa, all, slm_schema_object(s, conj));
    return all;
}
