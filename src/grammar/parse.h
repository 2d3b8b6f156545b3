/* SPDX-License-Identifier: MIT
 * What readers of regular expressions and of GBNF have in common: groups inside of groups, on a stack of fixed size
 * instead of recursion, and counts of repetitions. */
#ifndef SLM_GRAMMAR_PARSE_H
#define SLM_GRAMMAR_PARSE_H
#include "grammar/nfa.h"

struct slm_pile_level {
    struct slm_frag alternatives, sequence, last; /* last: the atom that a repetition would be about */
    bool has_alternatives, has_last;
};
struct slm_pile {
    struct slm_nfa *nfa;
    size_t depth;
    struct slm_pile_level levels[SLM_NFA_MAX_DEPTH + 1];
};

/* A pile with one open level. */
void slm_pile_begin(struct slm_pile *pile, struct slm_nfa *nfa);
bool slm_pile_open(struct slm_pile *pile); /* "(": false beyond the limit, reported */
void slm_pile_atom(struct slm_pile *pile, struct slm_frag atom);
void slm_pile_bar(struct slm_pile *pile);  /* "|" */
/* ")", or the end of all: what the level was. The caller adds it as an atom to the level below, if there is one. */
struct slm_frag slm_pile_close(struct slm_pile *pile);
/* Repeats the last atom; false when there is none. */
bool slm_pile_repeat(struct slm_pile *pile, uint32_t min, uint32_t max);

/* Reads "{m}", "{m,}", "{m,n}" (and "{,n}") at text[*at]; false and reported when it is none. max NONE: no end. */
bool slm_parse_counts(struct slm_nfa *nfa, struct slm_str text, size_t *at, uint32_t *min, uint32_t *max);
/* n hexadecimal digits at text[*at]. */
bool slm_parse_hex(struct slm_str text, size_t *at, unsigned n, uint32_t *out);

/* regex.c. search: the text may hold the match anywhere, else it is the match. */
struct slm_frag slm_regex_parse(struct slm_nfa *nfa, struct slm_str text, bool search, enum slm_spelling spelling);
/* gbnf.c. Defines all rules; *root is the one named "root". Finishes the automaton. */
slm_status slm_gbnf_parse(struct slm_nfa *nfa, struct slm_str text, uint32_t *root);
#endif
