/* SPDX-License-Identifier: MIT
 * What every kind of grammar is compiled to: one program of states over bytes, cut into rules that may call each other.
 * A rule by itself is a nondeterministic automaton; calls make the whole a pushdown automaton (machine.h runs it).
 * Here is the builder: fragments are put together like regular expressions, and each is a run of neighbouring states,
 * so that a repetition can copy it. A builder that failed stays failed and does nothing more; its first error counts.
 *
 * Special tokens (those whose text never appears as such) are spelled as the byte 0xFF, which no UTF-8 text holds,
 * followed by their text and another 0xFF; so they are letters like any other. */
#ifndef SLM_GRAMMAR_NFA_H
#define SLM_GRAMMAR_NFA_H
#include "base/str.h"

#define SLM_NFA_NONE UINT32_MAX
#define SLM_NFA_MAX_STATES 1000000u
#define SLM_NFA_MAX_RULES 20000u
#define SLM_NFA_MAX_DEPTH 256u     /* nesting of a regular expression, a GBNF group, a schema */
#define SLM_NFA_MAX_PIECE 256u     /* bytes of the longest token that constrained text is made of */
#define SLM_NFA_SHORT_PIECE 16u    /* bytes that hardly any token has more of */
#define SLM_NFA_SPECIAL "\xFF"

enum slm_nfa_kind {
    SLM_NFA_SPLIT, /* goes on at a and at b, where they are not NONE */
    SLM_NFA_RANGE, /* eats a byte in [lo, hi], goes on at a */
    SLM_NFA_CALL,  /* goes through rule b, then on at a */
    SLM_NFA_END    /* the rule is over */
};
struct slm_nfa_state { uint8_t kind, lo, hi; uint32_t a, b; };

/* Copies of one fragment, one behind the other: n of them are there, and for `ahead` of them nothing else comes. To a
 * token of p bytes the first ahead - p look alike, for it eats a byte at least in each: there state s of
 * [begin + stride, begin + n * stride) stands for s % stride of the first. */
struct slm_nfa_run { uint32_t begin, stride, n, ahead; };

struct slm_nfa {
    struct slm_nfa_state *states;
    size_t n_states, cap_states;
    uint32_t *rules; /* [n_rules] first state, NONE until it is defined */
    size_t n_rules, cap_rules;
    struct slm_nfa_run *runs; /* in order of begin */
    size_t n_runs, cap_runs;
    slm_status failed;
    struct slm_error *error;
    const char *where; /* for messages about limits: the part of the source that is being compiled; borrowed */
};

/* A part under construction: states [begin, n_states) at the time it was made. `out` is a SPLIT that leads nowhere
 * yet. */
struct slm_frag { uint32_t begin, in, out; };

struct slm_range { uint32_t lo, hi; }; /* code points, both ends included */
/* How a character is written: as itself, or as inside of a JSON string (escaped where it must be). */
enum slm_spelling { SLM_SPELL_PLAIN, SLM_SPELL_JSON };

void slm_nfa_release(struct slm_nfa *nfa);
slm_status slm_nfa_fail(struct slm_nfa *nfa, slm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

uint32_t slm_nfa_rule(struct slm_nfa *nfa); /* a new rule, to be defined later */
void slm_nfa_define(struct slm_nfa *nfa, uint32_t rule, struct slm_frag body);

/* For shapes that fragments cannot make: a state that goes on at a and at b (NONE: nowhere), and where one that led
 * nowhere shall lead. */
uint32_t slm_nfa_fork(struct slm_nfa *nfa, uint32_t a, uint32_t b);
void slm_nfa_lead(struct slm_nfa *nfa, uint32_t from, uint32_t to);

/* Notes copies, in order of begin; too few of them are of no use and passed over. */
void slm_nfa_alike(struct slm_nfa *nfa, struct slm_nfa_run run);
/* Forgets the states from here on: nothing before them leads to them. */
void slm_nfa_drop(struct slm_nfa *nfa, uint32_t begin);

struct slm_frag slm_frag_empty(struct slm_nfa *nfa);
struct slm_frag slm_frag_never(struct slm_nfa *nfa); /* matches nothing at all */
struct slm_frag slm_frag_byte(struct slm_nfa *nfa, uint8_t lo, uint8_t hi);
struct slm_frag slm_frag_bytes(struct slm_nfa *nfa, struct slm_str bytes);
struct slm_frag slm_frag_text(struct slm_nfa *nfa, const char *text);
struct slm_frag slm_frag_call(struct slm_nfa *nfa, uint32_t rule);
/* One character of the set, in UTF-8. Ranges in any order; surrogates are left out. */
struct slm_frag slm_frag_chars(struct slm_nfa *nfa, const struct slm_range *ranges, size_t n,
                               enum slm_spelling spelling);
/* UTF-8 text spelled so; what is no UTF-8 fails. */
struct slm_frag slm_frag_spelled(struct slm_nfa *nfa, struct slm_str text, enum slm_spelling spelling);
/* A token with this text, whether it is a special one or the text is spelled out: models have marks as either. */
struct slm_frag slm_frag_mark(struct slm_nfa *nfa, struct slm_str text);
/* Of two, b was made right after a. */
struct slm_frag slm_frag_cat(struct slm_nfa *nfa, struct slm_frag a, struct slm_frag b);
struct slm_frag slm_frag_or(struct slm_nfa *nfa, struct slm_frag a, struct slm_frag b);
struct slm_frag slm_frag_opt(struct slm_nfa *nfa, struct slm_frag a);
struct slm_frag slm_frag_star(struct slm_nfa *nfa, struct slm_frag a);
/* a, made last, min to max times; max SLM_NFA_NONE: without end. */
struct slm_frag slm_frag_repeat(struct slm_nfa *nfa, struct slm_frag a, uint32_t min, uint32_t max);
/* What both match; neither calls rules. a and b were made one after the other. */
struct slm_frag slm_frag_both(struct slm_nfa *nfa, struct slm_frag a, struct slm_frag b);
/* Cuts a, made last and without calls, down to its texts of min to max characters (NONE: no most), as JSON spells them,
 * and makes it as small as it can be. False and nothing done when it is too large for that. */
bool slm_frag_counted(struct slm_nfa *nfa, struct slm_frag *a, uint32_t min, uint32_t max);
/* Does the fragment, without calls, match this? */
bool slm_frag_matches(struct slm_nfa *nfa, struct slm_frag a, struct slm_str bytes);

/* Does it match any text at all? */
bool slm_frag_reaches(struct slm_nfa *nfa, struct slm_frag a);

/* Sorts and merges; returns how many are left. */
size_t slm_ranges_merge(struct slm_range *ranges, size_t n);
/* out [n + 1]: all characters that are in none of the merged ranges. Returns how many ranges. */
size_t slm_ranges_negate(const struct slm_range *ranges, size_t n, struct slm_range *out);

/* Everything is there: every rule that is called is defined, none calls itself before it ate a byte. where: names of
 * rules for messages, or NULL. */
slm_status slm_nfa_finish(struct slm_nfa *nfa, uint32_t root, const char *(*name)(const void *user, uint32_t rule),
                          const void *user);
#endif
