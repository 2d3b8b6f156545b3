/* SPDX-License-Identifier: MIT
 * Which tokens may come next: the trie of a vocabulary walked with a configuration of the machine. For each set of
 * states the answer that does not depend on who called is kept: tokens that fit, and the places of the trie where the
 * rule is over, from which the caller has to go on. */
#ifndef SLM_GRAMMAR_MASK_H
#define SLM_GRAMMAR_MASK_H
#include "grammar/machine.h"
#include "grammar/vocab.h"

struct slm_mask_answer {
    bool is_bits;          /* bits [n_words] at `words`, else a list at `numbers` */
    size_t at, n;          /* of the list: how many */
    size_t exits, n_exits; /* at `numbers`: nodes where the rule was over, and with nodes below */
};
struct slm_mask {
    const struct slm_vocab *vocab;
    struct slm_mask_answer *answers;
    uint64_t *words, *scratch; /* scratch [n_words] */
    uint32_t *numbers;
    size_t n_answers, cap_answers, n_words, cap_words, n_numbers, cap_numbers;
    size_t n_below; /* nodes gone through so far below others, where the caller went on */
    size_t bytes;
};

slm_status slm_mask_open(struct slm_mask *mask, const struct slm_vocab *vocab, struct slm_error *error);
void slm_mask_release(struct slm_mask *mask);
/* bits [n_words]: exactly the tokens after whose bytes the configuration is alive, and those that end a generation
 * where it is complete. */
slm_status slm_mask_fill(struct slm_mask *mask, struct slm_machine *m, uint32_t config, uint64_t *bits);
#endif
