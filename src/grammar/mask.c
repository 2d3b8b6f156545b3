/* SPDX-License-Identifier: MIT
 * Token masks. A configuration is a few groups (set of states, stack); the mask is the union over the groups, each of
 * which is the remembered answer for its set, plus short walks below the nodes where the set's rule was over, with what
 * the stack says comes then. Only the first meeting with a set walks a whole trie; counts of a bounded text share the
 * answer for short tokens until few bytes are left.
 *
 * Where those walks are long (rules that may be over almost anywhere, and many callers) the mask of the configuration
 * itself is kept as well. Very deep stacks are walked in full, because how deep a call may go then depends on them.
 * Deliberately not here: which configuration follows which (machine.c). */
#include "grammar/mask.h"
#include "base/os.h"

enum { DEEP = SLM_MACHINE_MAX_DEPTH / 2 };

slm_status slm_mask_open(struct slm_mask *mask, const struct slm_vocab *vocab, struct slm_error *error)
{
    *mask = (struct slm_mask){.vocab = vocab};
    mask->scratch = slm_alloc(vocab->n_words + 1, sizeof *mask->scratch, "grammar", error);
    return mask->scratch ? SLM_OK : SLM_ERR_MEMORY;
}

void slm_mask_release(struct slm_mask *mask)
{
    slm_release(mask->answers);
    slm_release(mask->words);
    slm_release(mask->scratch);
    slm_release(mask->numbers);
    *mask = (struct slm_mask){0};
}

/* A larger array, or the old one when there is no memory: the caller looks at the capacity. */
static void *larger(struct slm_mask *mask, void *array, size_t n, size_t *cap, size_t size)
{
    size_t wanted = *cap ? *cap : 64;
    while (wanted < n) wanted *= 2;
    void *bigger = slm_realloc(array, wanted, size, "grammar", NULL);
    if (!bigger) return array;
    mask->bytes += (wanted - *cap) * size;
    *cap = wanted;
    return bigger;
}

#define ROOM(mask, array, n, cap) \
    ((n) <= (mask)->cap || \
     ((mask)->array = larger((mask), (mask)->array, (n), &(mask)->cap, sizeof *(mask)->array), (n) <= (mask)->cap))

/* Goes through the nodes [at, end), which lie below `above` bytes, and sets the bit of each token that is alive. exits:
 * notes nodes with others below where the configuration is complete. */
static bool walk(struct slm_mask *mask, struct slm_machine *m, uint32_t config, uint32_t at, uint32_t end,
                 unsigned above, bool exits, uint64_t *bits)
{
    const struct slm_vocab *v = mask->vocab;
    uint32_t path[SLM_NFA_MAX_PIECE + 4];
    path[0] = config;
    for (; at < end; mask->n_below += !exits) {
        const struct slm_vocab_node *node = &v->nodes[at];
        const unsigned depth = node->depth - above;
        const uint32_t next = slm_machine_step(m, path[depth - 1], node->byte);
        /* Nothing below can be alive. */
        if (next == SLM_CONFIG_DEAD) {
            if (m->failed != SLM_OK) return false;
            at = node->skip;
            continue;
        }
        path[depth] = next;
        /* Tokens of the same bytes are all allowed: which one a model means is its own affair. */
        for (int32_t id = node->token; id >= 0; id = v->same[id]) bits[id / 64] |= UINT64_C(1) << (id % 64);
        at++;
        if (exits && m->configs[next].complete && node->skip > at) {
            if (!ROOM(mask, numbers, mask->n_numbers + 1, cap_numbers)) {
                m->failed = SLM_ERR_MEMORY;
                return false;
            }
            mask->numbers[mask->n_numbers++] = at - 1;
        }
    }
    return true;
}

/* Keeps these bits in the smaller of two forms; returns the number of the answer, or NONE with m->failed. */
static uint32_t keep(struct slm_mask *mask, struct slm_machine *m, struct slm_mask_answer answer, const uint64_t *bits)
{
    const size_t n_words = mask->vocab->n_words;
    for (size_t i = 0; i < n_words; i++) answer.n += (size_t)__builtin_popcountll(bits[i]);
    /* A number takes half of what a word takes. */
    answer.is_bits = answer.n >= 2 * n_words;
    const bool room = ROOM(mask, answers, mask->n_answers + 1, cap_answers) &&
                      (answer.is_bits ? ROOM(mask, words, mask->n_words + n_words, cap_words)
                                      : ROOM(mask, numbers, mask->n_numbers + answer.n, cap_numbers));
    if (!room) {
        m->failed = SLM_ERR_MEMORY;
        return SLM_NFA_NONE;
    }
    if (answer.is_bits) {
        answer.at = mask->n_words;
        memcpy(mask->words + mask->n_words, bits, n_words * sizeof *bits);
        mask->n_words += n_words;
    } else {
        answer.at = mask->n_numbers;
        for (size_t i = 0; i < n_words; i++)
            for (uint64_t left = bits[i]; left; left &= left - 1)
                mask->numbers[mask->n_numbers++] = (uint32_t)(64 * i + (size_t)__builtin_ctzll(left));
    }
    mask->answers[mask->n_answers] = answer;
    return (uint32_t)mask->n_answers++;
}

/* Adds the tokens of an answer. */
static void add_bits(const struct slm_mask *mask, const struct slm_mask_answer *answer, uint64_t *bits)
{
    for (size_t i = 0; answer->is_bits && i < mask->vocab->n_words; i++) bits[i] |= mask->words[answer->at + i];
    for (size_t i = 0; !answer->is_bits && i < answer->n; i++) {
        const uint32_t id = mask->numbers[answer->at + i];
        bits[id / 64] |= UINT64_C(1) << (id % 64);
    }
}

/* The answer for a set and one of the tries, worked out when it is new. NULL with m->failed. */
static const struct slm_mask_answer *answer_for(struct slm_mask *mask, struct slm_machine *m, uint32_t set, unsigned i)
{
    const struct slm_vocab_trie *trie = &mask->vocab->tries[i];
    if (m->sets[set].mask[i] != SLM_NFA_NONE) return &mask->answers[m->sets[set].mask[i]];
    /* Long repetitions share the answer of one count. */
    const uint32_t like = slm_machine_canonical_set(m, set, trie->longest);
    if (m->failed != SLM_OK) return NULL;
    if (m->sets[like].mask[i] == SLM_NFA_NONE) {
        struct slm_mask_answer answer = {.exits = mask->n_numbers};
        const uint32_t config = slm_machine_from_set(m, like);
        memset(mask->scratch, 0, mask->vocab->n_words * sizeof *mask->scratch);
        if (!walk(mask, m, config, trie->begin, trie->end, 0, true, mask->scratch)) return NULL;
        answer.n_exits = mask->n_numbers - answer.exits;
        const uint32_t number = keep(mask, m, answer, mask->scratch);
        if (number == SLM_NFA_NONE) return NULL;
        m->sets[like].mask[i] = number;
    }
    m->sets[set].mask[i] = m->sets[like].mask[i];
    return &mask->answers[m->sets[set].mask[i]];
}

/* Tokens of one group and one trie: those that stay in the rule whoever called, and those that end it and go on with
 * the caller. */
static slm_status fill_group(struct slm_mask *mask, struct slm_machine *m, struct slm_machine_group group, unsigned i,
                             uint64_t *bits)
{
    const struct slm_vocab *v = mask->vocab;
    const struct slm_mask_answer *found = answer_for(mask, m, group.set, i);
    if (!found) return m->failed;
    /* Copied: walking below may move the arrays. */
    const struct slm_mask_answer answer = *found;
    add_bits(mask, &answer, bits);
    if (group.stack <= SLM_STACK_TEXT || answer.n_exits == 0) return SLM_OK;
    /* Below the end of the text there is nobody to go on with. */
    const uint32_t after = slm_machine_after(m, group.stack);
    for (size_t k = 0; k < answer.n_exits && after != SLM_CONFIG_DEAD; k++) {
        const uint32_t at = mask->numbers[answer.exits + k];
        const struct slm_vocab_node *node = &v->nodes[at];
        if (!walk(mask, m, after, at + 1, node->skip, node->depth, false, bits)) break;
    }
    return m->failed;
}

/* bits are written in full; groups only add to them. */
slm_status slm_mask_fill(struct slm_mask *mask, struct slm_machine *m, uint32_t config, uint64_t *bits)
{
    const struct slm_vocab *v = mask->vocab;
    const struct slm_machine_config c = m->configs[config]; /* the arrays may move */
    const size_t below = mask->n_below;
    bool deep = false;
    if (c.complete && c.mask == SLM_NFA_NONE) memcpy(bits, v->ends, v->n_words * sizeof *bits);
    else memset(bits, 0, v->n_words * sizeof *bits);
    if (c.mask != SLM_NFA_NONE) {
        add_bits(mask, &mask->answers[c.mask], bits);
        return SLM_OK;
    }
    for (uint32_t g = 0; g < c.n_groups; g++) deep |= m->stacks[m->groups[c.groups + g].stack].depth > DEEP;
    if (deep) walk(mask, m, config, 0, (uint32_t)v->n_nodes, 0, false, bits);
    for (uint32_t g = 0; g < c.n_groups && !deep; g++)
        for (unsigned i = 0; i < SLM_VOCAB_TRIES; i++)
            SLM_TRY(fill_group(mask, m, m->groups[c.groups + g], i, bits));
    /* As long as it takes to read a mask. */
    if (m->failed == SLM_OK && mask->n_below - below > v->n_words)
        m->configs[config].mask = keep(mask, m, (struct slm_mask_answer){0}, bits);
    return m->failed;
}
