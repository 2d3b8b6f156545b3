/* SPDX-License-Identifier: MIT
 * JSON Schema to automaton, inside of the room: schema.c decides what must hold together, schema_types.c writes each
 * type of value, number.c numbers. A schema that is being compiled is a conjunction: a list of schema objects that must
 * all hold, which is what allOf and $ref come to. */
#ifndef SLM_GRAMMAR_SCHEMA_H
#define SLM_GRAMMAR_SCHEMA_H
#include "grammar/dom.h"
#include "grammar/grammar.h"
#include "grammar/parse.h"

struct slm_number_bounds {
    bool whole, has_min, has_max, min_excluded, max_excluded;
    struct slm_decimal min, max;
};
struct slm_frag slm_number_free(struct slm_nfa *nfa, bool whole);
struct slm_frag slm_number_between(struct slm_nfa *nfa, const struct slm_number_bounds *bounds);

enum slm_schema_types { /* whole numbers are apart from others: "number" is both */
    SLM_TYPE_NULL = 1, SLM_TYPE_BOOLEAN = 2, SLM_TYPE_WHOLE = 4, SLM_TYPE_FRACTION = 8, SLM_TYPE_STRING = 16,
    SLM_TYPE_ARRAY = 32, SLM_TYPE_OBJECT = 64, SLM_TYPE_ANY = 127
};
enum { SLM_SCHEMA_MAX_PARTS = 128 };

/* One schema of a conjunction. chosen: bits of disjunctions whose branch is in the conjunction already. */
struct slm_schema_part { const struct slm_dom *node; unsigned chosen; };
struct slm_conj {
    struct slm_schema_part parts[SLM_SCHEMA_MAX_PARTS];
    size_t n;
    bool never; /* false is among them */
};

/* What if, not and the dependent keywords of a schema say, as a list of schemas that have to hold. */
enum { SLM_SCHEMA_REWRITTEN = 256 };
struct slm_schema_rewritten { const struct slm_dom *schema, *all; struct slm_schema_rewritten *next; };

struct slm_schema {
    struct slm_nfa *nfa;
    struct slm_arena arena;
    const struct slm_dom *root;
    struct slm_error *error;
    char where[128]; /* JSON pointer of what is being compiled */
    /* Conjunctions with a rule of their own; those from n_done on are not yet written. */
    struct slm_schema_rule { struct slm_schema_part *parts; size_t n; uint32_t rule, next; bool never; } *rules;
    size_t n_rules, cap_rules, n_done;
    uint32_t heads[1024];
    struct slm_schema_rewritten *rewritten[SLM_SCHEMA_REWRITTEN]; /* by the schema's id */
    uint32_t n_made; /* nodes beyond the document's */
    uint32_t ws, value, string, escape; /* rules of JSON itself */
    uint64_t n_compared; /* pairs of constants so far */
};

/* Messages from here on are about this node. */
void slm_schema_at(struct slm_schema *s, const struct slm_dom *node);
slm_status slm_schema_fail(struct slm_schema *s, const struct slm_dom *node, slm_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Keywords that cannot be enforced fail. */
void slm_schema_check(struct slm_schema *s, const struct slm_dom *schema);
/* schema_rewrite.c. NULL where there is nothing to rewrite, or after a failure. */
const struct slm_dom *slm_schema_rewrite(struct slm_schema *s, const struct slm_dom *schema);
bool slm_schema_has_conditions(const struct slm_dom *schema);
/* Of the value of a "not": it names constants or types only, and is not rewritten. */
bool slm_schema_is_simple(const struct slm_dom *schema);
/* Adds a schema, with what its $ref, allOf and conditions say. */
void slm_conj_add(struct slm_schema *s, struct slm_conj *conj, const struct slm_dom *schema);
/* The rule of a conjunction; written later when it is new. */
uint32_t slm_conj_rule(struct slm_schema *s, const struct slm_conj *conj);
/* The part of a conjunction that has this keyword, the i-th of such; NULL when there are fewer. */
const struct slm_dom *slm_conj_keyword(const struct slm_conj *conj, const char *keyword, size_t i);
/* Which types the keywords type, enum and const leave. */
unsigned slm_conj_types(struct slm_schema *s, const struct slm_conj *conj);
unsigned slm_type_of(const struct slm_dom *value);

/* schema_types.c: the rules of JSON itself, and the text of a value of one conjunction without disjunctions. */
void slm_schema_base(struct slm_schema *s);
struct slm_frag slm_schema_value(struct slm_schema *s, const struct slm_conj *conj);
/* schema_object.c */
struct slm_frag slm_schema_array(struct slm_schema *s, const struct slm_conj *conj);
struct slm_frag slm_schema_object(struct slm_schema *s, const struct slm_conj *conj);
/* The characters of a string between its quotes. free: nothing is asked of it. fits: a text is such a string. */
struct slm_frag slm_schema_string_body(struct slm_schema *s, const struct slm_conj *conj, bool one_spelling);
bool slm_schema_string_is_free(const struct slm_conj *conj);
bool slm_schema_string_fits(struct slm_schema *s, const struct slm_conj *conj, struct slm_str text);
/* Texts that are none of these, each character in its one spelling. */
struct slm_frag slm_schema_other_text(struct slm_schema *s, const struct slm_str *texts, size_t n_texts);
/* Is the value in every const and enum, and in none that "not" has? */
bool slm_schema_in_lists(struct slm_schema *s, const struct slm_conj *conj, const struct slm_dom *value);
/* Where a $ref points: within this document, never elsewhere; NULL and a failure where there is nothing. */
const struct slm_dom *slm_schema_follow(struct slm_schema *s, const struct slm_dom *ref);
/* A whole number >= 0 as the value of a keyword; `most` where it is larger. */
uint32_t slm_schema_count(struct slm_schema *s, const struct slm_dom *value, uint32_t most);
/* The least (or greatest) of the counts of a keyword over all parts, or what there is without one. */
uint32_t slm_conj_count(struct slm_schema *s, const struct slm_conj *conj, const char *keyword, bool greatest,
                        uint32_t without);

/* schema.c: the whole, in its frame when there is one. Leaves the automaton finished. */
slm_status slm_schema_parse(struct slm_nfa *nfa, struct slm_str text, const struct slm_grammar_frame *frame,
                            uint32_t *root);
#endif
