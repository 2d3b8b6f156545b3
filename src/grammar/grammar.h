/* SPDX-License-Identifier: MIT
 * Constrained text: a grammar is an automaton (nfa.h), what it remembers while it runs (machine.h, mask.h) and a
 * vocabulary. The public side is slm.h; here is what makes one without a model. */
#ifndef SLM_GRAMMAR_GRAMMAR_H
#define SLM_GRAMMAR_GRAMMAR_H
#include "grammar/nfa.h"
#include "grammar/vocab.h"

/* How values of a schema stand in a text: marks around each. */
struct slm_grammar_frame {
    const char *open, *close; /* or NULL */
    uint32_t most;            /* values, one behind the other; UINT32_MAX: any number. One at least */
    bool opened;              /* the text begins behind the first open mark */
    bool line_ends;           /* may stand beside the marks */
    bool after_text;          /* it stands behind other text: line ends may come first */
};
/* Values of a JSON Schema in a frame. */
slm_status slm_grammar_new_framed(const struct slm_vocab *vocab, const struct slm_grammar_frame *frame,
                                  struct slm_str schema, struct slm_grammar **out, struct slm_error *error);
/* The vocabulary is borrowed and must outlive *out. */
slm_status slm_grammar_new(const struct slm_vocab *vocab, enum slm_grammar_kind kind, struct slm_str text,
                           struct slm_grammar **out, struct slm_error *error);
/* The same for an automaton made otherwise; takes the nfa, also on failure. */
slm_status slm_grammar_of_nfa(const struct slm_vocab *vocab, struct slm_nfa *nfa, uint32_t root,
                              struct slm_grammar **out, struct slm_error *error);
/* Compiles text into a rule of the automaton, and finishes that. */
slm_status slm_grammar_compile(struct slm_nfa *nfa, enum slm_grammar_kind kind, struct slm_str text, uint32_t *root);
/* Bytes held by what is remembered: for tests of the limit. */
size_t slm_grammar_bytes(const struct slm_grammar *grammar);
#endif
