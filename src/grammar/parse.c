/* SPDX-License-Identifier: MIT
 * Groups on a stack, and counts. Every atom is the last thing that was built when its repetition is read, which is what
 * copying needs (nfa.h). Deliberately not here: what the letters mean (regex.c, gbnf.c). */
#include "grammar/parse.h"

/* The level that atoms go to. */
static struct slm_pile_level *top(struct slm_pile *pile) { return &pile->levels[pile->depth - 1]; }

/* Every level begins with a state of its own, before which nothing of it lies. */
static void open_level(struct slm_pile *pile)
{
    pile->levels[pile->depth++] = (struct slm_pile_level){.sequence = slm_frag_empty(pile->nfa)};
}

/* The outermost level has no bracket, and is closed by the end of the text. */
void slm_pile_begin(struct slm_pile *pile, struct slm_nfa *nfa)
{
    pile->nfa = nfa;
    pile->depth = 0;
    open_level(pile);
}

bool slm_pile_open(struct slm_pile *pile)
{
    if (pile->depth > SLM_NFA_MAX_DEPTH) {
        slm_nfa_fail(pile->nfa, SLM_ERR_LIMIT, "groups are nested more than %u deep", SLM_NFA_MAX_DEPTH);
        return false;
    }
    open_level(pile);
    return true;
}

/* What came after the last atom cannot be a repetition of it any more. */
static void settle(struct slm_pile *pile)
{
    struct slm_pile_level *level = top(pile);
    if (level->has_last) level->sequence = slm_frag_cat(pile->nfa, level->sequence, level->last);
    level->has_last = false;
}

/* What was last is part of the sequence now. */
void slm_pile_atom(struct slm_pile *pile, struct slm_frag atom)
{
    settle(pile);
    top(pile)->last = atom;
    top(pile)->has_last = true;
}

/* The sequence so far is one of the alternatives of its level. */
static void end_alternative(struct slm_pile *pile)
{
    struct slm_pile_level *level = top(pile);
    settle(pile);
    level->alternatives = level->has_alternatives ? slm_frag_or(pile->nfa, level->alternatives, level->sequence)
                                                  : level->sequence;
    level->has_alternatives = true;
}

/* The next alternative begins. */
void slm_pile_bar(struct slm_pile *pile)
{
    end_alternative(pile);
    top(pile)->sequence = slm_frag_empty(pile->nfa);
}

/* The level ends; it began before its first atom, so it can be repeated as a whole. */
struct slm_frag slm_pile_close(struct slm_pile *pile)
{
    end_alternative(pile);
    return pile->levels[--pile->depth].alternatives;
}

/* The atom stays the last one: GBNF repeats repetitions. */
bool slm_pile_repeat(struct slm_pile *pile, uint32_t min, uint32_t max)
{
    struct slm_pile_level *level = top(pile);
    if (!level->has_last) return false;
    if (min == 0 && max == 1) level->last = slm_frag_opt(pile->nfa, level->last);
    else level->last = slm_frag_repeat(pile->nfa, level->last, min, max);
    return true;
}

/* Digits at text[*at]; a number that no repetition could be is held at a value that every limit refuses. */
static bool read_count(struct slm_str text, size_t *at, uint32_t *out)
{
    const size_t begin = *at;
    *out = 0;
    for (; *at < text.len && text.ptr[*at] >= '0' && text.ptr[*at] <= '9'; ++*at)
        if (*out < SLM_NFA_MAX_STATES + 1) *out = 10 * *out + (uint32_t)(text.ptr[*at] - '0');
    return *at > begin;
}

bool slm_parse_counts(struct slm_nfa *nfa, struct slm_str text, size_t *at, uint32_t *min, uint32_t *max)
{
    const size_t begin = *at;
    size_t i = *at + 1;
    /* At least one of the two numbers is there; a lone one is both. */
    const bool has_min = read_count(text, &i, min);
    bool ok = has_min;
    *max = *min;
    if (i < text.len && text.ptr[i] == ',') {
        i++;
        const bool has_max = read_count(text, &i, max);
        if (!has_max) *max = SLM_NFA_NONE;
        ok = has_min || has_max;
    }
    if (!ok || i >= text.len || text.ptr[i] != '}') {
        slm_nfa_fail(nfa, SLM_ERR_FORMAT, "'{' at byte %zu begins no repetition such as {2,3}; escape it if it is text",
                     begin);
        return false;
    }
    if (*max < *min) {
        slm_nfa_fail(nfa, SLM_ERR_FORMAT, "repetition at byte %zu: at most %u is less than at least %u", begin, *max,
                     *min);
        return false;
    }
    *at = i + 1;
    return true;
}

/* Exactly n digits; *at stays where the first was missing. */
bool slm_parse_hex(struct slm_str text, size_t *at, unsigned n, uint32_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < n; i++, ++*at) {
        if (*at >= text.len) return false;
        const char c = text.ptr[*at];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                         : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return false;
        *out = *out << 4 | (uint32_t)digit;
    }
    return true;
}
