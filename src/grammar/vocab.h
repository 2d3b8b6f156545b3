/* SPDX-License-Identifier: MIT
 * A vocabulary as grammars see it: all tokens in tries of their bytes, laid out in preorder, so that "which tokens may
 * follow" is one pass with skips. Built once for a model, immutable, shared by its grammars. */
#ifndef SLM_GRAMMAR_VOCAB_H
#define SLM_GRAMMAR_VOCAB_H
#include "base/str.h"

/* Where the tokens come from. Everything is borrowed until slm_vocab_open returns. */
struct slm_vocab_source {
    size_t n_vocab;
    struct slm_str (*text)(const void *user, int32_t id, bool *special); /* special: the text never appears as such */
    bool (*ends)(const void *user, int32_t id);                           /* ends a generation */
    const void *user;
};

struct slm_vocab_node {
    uint32_t skip;    /* the next node that is not below this one */
    int32_t token;    /* the first token that ends here, or -1; others by `same` */
    uint8_t byte;
    uint16_t depth;   /* bytes up to here, at least 1 */
};

/* Short tokens and long ones apart: far from the end of a counted text all counts look alike to a short one. */
enum { SLM_VOCAB_TRIES = 2 };
struct slm_vocab_trie { uint32_t begin, end, longest; }; /* nodes [begin, end); bytes of its longest token */

struct slm_vocab {
    size_t n_vocab, n_words;  /* words of a mask */
    struct slm_vocab_node *nodes; /* [n_nodes] of one trie behind the other, preorder, the roots left out */
    size_t n_nodes;
    struct slm_vocab_trie tries[SLM_VOCAB_TRIES];
    int32_t *same;            /* [n_vocab] the next token of the same bytes, or -1 */
    char *bytes;              /* the spellings of all tokens (nfa.h), one behind the other */
    uint32_t *begin;          /* [n_vocab + 1] where in bytes */
    uint64_t *ends;           /* [n_words] mask of the tokens that end a generation */
};

slm_status slm_vocab_open(const struct slm_vocab_source *source, struct slm_vocab **out, struct slm_error *error);
void slm_vocab_close(struct slm_vocab *vocab);
static inline bool slm_vocab_ends(const struct slm_vocab *v, int32_t id) { return v->ends[id / 64] >> (id % 64) & 1; }
static inline struct slm_str slm_vocab_text(const struct slm_vocab *v, int32_t id)
{
    return (struct slm_str){v->bytes + v->begin[id], v->begin[id + 1] - v->begin[id]};
}
#endif
