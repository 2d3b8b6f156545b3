/* SPDX-License-Identifier: MIT
 * Numbers between bounds, as automata over their decimal digits. A bound is compared digit by digit: as long as the
 * digits so far are those of the bound the next one may not pass it, afterwards it is free.
 *
 * Bounded numbers that need not be whole have no exponent and at most 15 digits in all: of those any two differ as
 * doubles too, in the same order, so a checker that computes with doubles agrees. Whole ones are exact at any length up
 * to 18 digits of the bounds. Deliberately not here: multiples. */
#include "grammar/schema.h"

enum { MAX_DIGITS = 18, FLOAT_DIGITS = 15 };
#define NONE SLM_NFA_NONE

/* A bound as a whole number of 10^-F: ceil or floor of it, moved inwards where the bound itself is excluded. False when
 * it has too many digits. */
static bool scale(const struct slm_decimal *d, int fraction, bool up, bool exclusive, int64_t *out)
{
    int64_t value = 0;
    bool cut = false;
    const int shift = d->exponent + fraction; /* zeros to add behind the digits, or digits to cut */
    const int kept = shift < 0 ? d->n + shift : d->n;
    if ((shift > 0 ? d->n + shift : kept) > MAX_DIGITS && d->n > 0) return false;
    for (int i = 0; i < d->n; i++) {
        if (i < kept) value = 10 * value + (d->digits[i] - '0');
        else cut = true;
    }
    for (int i = 0; i < shift && d->n > 0; i++) value *= 10;
    if (d->negative) value = -value;
    if (cut) *out = up ? value + !d->negative : value - d->negative; /* cutting goes towards zero */
    else *out = exclusive ? (up ? value + 1 : value - 1) : value;
    return true;
}

/* Digits of a number that has to be in [lo, hi], both given as `len` digits; where at_lo and at_hi hold the digits so
 * far are those of the bound. */
struct magnitude {
    struct slm_nfa *nfa;
    const char *lo, *hi; /* NULL: no bound */
    int n_whole, n_fraction; /* digits in front of the point and behind it */
    uint32_t end;            /* the state behind the number */
    uint32_t states[MAX_DIGITS + 2][4]; /* before digit i, with at_lo and at_hi as bits; NONE until it is made */
};

static bool all_zero(const char *digits, int from, int n)
{
    for (int i = from; i < n; i++)
        if (digits[i] != '0') return false;
    return true;
}

/* May the number end before digit i, the rest being zeros? */
static bool may_end(const struct magnitude *m, int i, unsigned at)
{
    const int n = m->n_whole + m->n_fraction;
    return i >= m->n_whole && (!(at & 1) || all_zero(m->lo, i, n));
}

/* The state before digit i; a fork that is filled in later. */
static uint32_t before(struct magnitude *m, int i, unsigned at)
{
    if (m->states[i][at] == NONE) m->states[i][at] = slm_nfa_fork(m->nfa, NONE, NONE);
    return m->states[i][at];
}

/* Adds [from, to] eaten in front of `next` to the alternatives at `state`. Returns the new head of them. */
static uint32_t eat(struct slm_nfa *nfa, uint32_t head, char from, char to, uint32_t next)
{
    if (from > to) return head;
    const struct slm_frag f = slm_frag_byte(nfa, (uint8_t)from, (uint8_t)to);
    slm_nfa_lead(nfa, f.out, next);
    return head == NONE ? f.in : slm_nfa_fork(nfa, head, f.in);
}

/* Fills the state before digit i: what digits may come, and whether the number may be over. */
static void fill(struct magnitude *m, int i, unsigned at)
{
    struct slm_nfa *nfa = m->nfa;
    const int n = m->n_whole + m->n_fraction;
    uint32_t head = NONE;
    if (i < n) {
        const char lo = at & 1 ? m->lo[i] : '0', hi = at & 2 ? m->hi[i] : '9';
        const char from = i == 0 && m->n_whole > 1 && lo == '0' ? '1' : lo;
        const bool lo_edge = at & 1 && from == lo, hi_edge = at & 2;
        if (lo_edge && hi_edge && lo == hi) {
            head = eat(nfa, head, lo, lo, before(m, i + 1, 3));
        } else if (from <= hi) {
            if (lo_edge) head = eat(nfa, head, lo, lo, before(m, i + 1, 1));
            if (hi_edge) head = eat(nfa, head, hi, hi, before(m, i + 1, 2));
            const char a = lo_edge ? (char)(lo + 1) : from, b = hi_edge ? (char)(hi - 1) : hi;
            if (a <= b) head = eat(nfa, head, a, b, before(m, i + 1, 0));
        }
        if (i == m->n_whole && head != NONE) { /* the point stands before the first digit behind it */
            const struct slm_frag point = slm_frag_byte(nfa, '.', '.');
            slm_nfa_lead(nfa, point.out, head);
            head = point.in;
        }
    }
    if (may_end(m, i, at)) head = head == NONE ? m->end : slm_nfa_fork(nfa, head, m->end);
    if (head != NONE) slm_nfa_lead(nfa, m->states[i][at], head);
}

/* Numbers of n_whole digits before the point between the bounds (NULL: none), as digits of n_whole + n_fraction. */
static uint32_t magnitude(struct slm_nfa *nfa, const char *lo, const char *hi, int n_whole, int n_fraction,
                          uint32_t end)
{
    struct magnitude m = {.nfa = nfa, .lo = lo, .hi = hi, .n_whole = n_whole, .n_fraction = n_fraction, .end = end};
    for (size_t i = 0; i < MAX_DIGITS + 2; i++)
        for (size_t k = 0; k < 4; k++) m.states[i][k] = NONE;
    const uint32_t start = before(&m, 0, (lo ? 1u : 0u) | (hi ? 2u : 0u));
    for (int i = 0; i <= n_whole + n_fraction; i++) /* each only leads to later ones */
        for (unsigned at = 0; at < 4; at++)
            if (m.states[i][at] != NONE) fill(&m, i, at);
    return start;
}

/* How many digits stand before the point of a number of 10^-F. */
static int whole_digits(int64_t value, int fraction)
{
    char text[32];
    const int n = snprintf(text, sizeof text, "%lld", (long long)value) - fraction;
    return n < 1 ? 1 : n;
}

/* The last n digits of a number that is not negative. */
static void digits_of(int64_t value, int n, char *out)
{
    for (int i = n; i-- > 0; value /= 10) out[i] = (char)('0' + value % 10);
}

/* All numbers from lo to hi (INT64_MAX: no bound), lo >= 0: length by length. */
static uint32_t from_to(struct slm_nfa *nfa, int64_t lo, int64_t hi, int fraction, uint32_t end)
{
    char a[40], b[40];
    uint32_t head = NONE;
    const int least = whole_digits(lo, fraction);
    const int limit = FLOAT_DIGITS - fraction;
    const int most = hi != INT64_MAX ? whole_digits(hi, fraction) : fraction > 0 ? limit : least;
    for (int n = least; n <= most; n++) {
        digits_of(lo, n + fraction, a);
        digits_of(hi, n + fraction, b);
        const bool last = hi != INT64_MAX && n == most;
        const uint32_t one = magnitude(nfa, n == least ? a : NULL, last ? b : NULL, n, fraction, end);
        head = head == NONE ? one : slm_nfa_fork(nfa, head, one);
    }
    if (hi != INT64_MAX || fraction > 0) return head;
    /* Whole numbers without an upper bound: any that are longer. */
    struct slm_frag longer = slm_frag_byte(nfa, '1', '9');
    longer = slm_frag_cat(nfa, longer, slm_frag_repeat(nfa, slm_frag_byte(nfa, '0', '9'), (uint32_t)most, NONE));
    slm_nfa_lead(nfa, longer.out, end);
    return slm_nfa_fork(nfa, head, longer.in);
}

struct slm_frag slm_number_free(struct slm_nfa *nfa, bool whole)
{
    return slm_regex_parse(nfa, slm_str(whole ? "-?(0|[1-9][0-9]*)"
                                              : "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+\\-]?[0-9]{1,2})?"),
                           false, SLM_SPELL_PLAIN);
}

/* Digits behind the point that the bounds need. */
static int fraction_of(const struct slm_number_bounds *b)
{
    int fraction = b->whole ? 0 : 6;
    if (!b->whole && b->has_min && -b->min.exponent > fraction) fraction = -b->min.exponent;
    if (!b->whole && b->has_max && -b->max.exponent > fraction) fraction = -b->max.exponent;
    return fraction;
}

/* A bound far outside of what is written anyway is as good as the last number of so many digits: nothing that it allows
 * is written beyond that, and nothing else gets in. */
static struct slm_number_bounds reachable(struct slm_number_bounds b)
{
    const int most = b.whole ? MAX_DIGITS : FLOAT_DIGITS - fraction_of(&b);
    struct slm_decimal last = {.n = most};
    if (most < 1) return b; /* so many digits behind the point that none is left in front: refused as it is */
    memset(last.digits, '9', (size_t)last.n);
    last.digits[last.n] = '\0';
    if (b.has_min && b.min.negative && b.min.n + b.min.exponent > most) {
        b.min = last;
        b.min.negative = true;
        b.min_excluded = false;
    }
    if (b.has_max && !b.max.negative && b.max.n + b.max.exponent > most) {
        b.max = last;
        b.max_excluded = false;
    }
    return b;
}

struct slm_frag slm_number_between(struct slm_nfa *nfa, const struct slm_number_bounds *asked)
{
    const struct slm_number_bounds inner = reachable(*asked), *const b = &inner;
    int64_t lo = -INT64_MAX, hi = INT64_MAX;
    const int fraction = fraction_of(b);
    const uint32_t begin = (uint32_t)nfa->n_states;
    struct slm_frag f = slm_frag_empty(nfa);
    const int limit = b->whole ? MAX_DIGITS : FLOAT_DIGITS;
    int64_t most = 1;
    if ((b->has_min && !scale(&b->min, fraction, true, b->min_excluded, &lo)) ||
        (b->has_max && !scale(&b->max, fraction, false, b->max_excluded, &hi)))
        lo = INT64_MIN;
    for (int i = 0; i < limit; i++) most *= 10;
    const bool fits = lo != INT64_MIN && fraction < limit && (!b->has_min || (lo > -most && lo < most)) &&
                      (!b->has_max || (hi > -most && hi < most));
    if (!fits) {
        slm_nfa_fail(nfa, SLM_ERR_UNSUPPORTED, "a bound of more than %d digits cannot be enforced exactly", limit);
        return f;
    }
    const uint32_t end = slm_nfa_fork(nfa, NONE, NONE);
    uint32_t head = NONE;
    if (hi >= 0 && hi >= lo) head = from_to(nfa, lo > 0 ? lo : 0, hi, fraction, end);
    if (lo < 0 && hi >= lo) {
        /* Negative ones are a '-' and the mirrored range; minus zero is left out. */
        const struct slm_frag minus = slm_frag_byte(nfa, '-', '-');
        const int64_t most_negative = lo == -INT64_MAX ? INT64_MAX : -lo;
        slm_nfa_lead(nfa, minus.out, from_to(nfa, hi < -1 ? -hi : 1, most_negative, fraction, end));
        head = head == NONE ? minus.in : slm_nfa_fork(nfa, head, minus.in);
    }
    if (head != NONE) slm_nfa_lead(nfa, f.out, head);
    return (struct slm_frag){begin, f.in, end};
}
