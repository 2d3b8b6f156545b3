/* SPDX-License-Identifier: MIT
 * Token masks. A configuration is a few groups (set of states, stack); the mask is the union over the groups, each of
 * which is the remembered answer for its set, plus short walks below the nodes where the set's rule was over, with what
 * the stack says comes then. Only the first meeting with a set walks the whole trie.
 *
 * Very deep stacks are walked in full every time, because how deep a call may go then depends on them.
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

void slm_mask_reset(struct slm_mask *mask) { mask->n_answers = mask->n_words = mask->n_numbers = 0; }

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
    while (at < end) {
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

/* Keeps what is in the scratch bits in the smaller of two forms. */
static bool keep(struct slm_mask *mask, struct slm_mask_answer *answer)
{
    const size_t n_words = mask->vocab->n_words;
    for (size_t i = 0; i < n_words; i++) answer->n += (size_t)__builtin_popcountll(mask->scratch[i]);
    /* A number takes half of what a word takes. */
    answer->is_bits = answer->n >= 2 * n_words;
    if (answer->is_bits) {
        if (!ROOM(mask, words, mask->n_words + n_words, cap_words)) return false;
        answer->at = mask->n_words;
        memcpy(mask->words + mask->n_words, mask->scratch, n_words * sizeof *mask->words);
        mask->n_words += n_words;
        return true;
    }
    if (!ROOM(mask, numbers, mask->n_numbers + answer->n, cap_numbers)) return false;
    answer->at = mask->n_numbers;
    for (size_t i = 0; i < n_words; i++)
        for (uint64_t left = mask->scratch[i]; left; left &= left - 1)
            mask->numbers[mask->n_numbers++] = (uint32_t)(64 * i + (size_t)__builtin_ctzll(left));
    return true;
}

/* The answer for a set, worked out when it is new. NULL with m->failed. */
static const struct slm_mask_answer *answer_for(struct slm_mask *mask, struct slm_machine *m, uint32_t set)
{
    if (m->sets[set].mask != SLM_NFA_NONE) return &mask->answers[m->sets[set].mask];
    /* Long repetitions share the answer of one count. */
    const uint32_t like = slm_machine_canonical_set(m, set);
    if (m->failed != SLM_OK) return NULL;
    if (m->sets[like].mask == SLM_NFA_NONE) {
        struct slm_mask_answer answer = {.exits = mask->n_numbers};
        const uint32_t config = slm_machine_from_set(m, like);
        memset(mask->scratch, 0, mask->vocab->n_words * sizeof *mask->scratch);
        if (!walk(mask, m, config, 0, (uint32_t)mask->vocab->n_nodes, 0, true, mask->scratch)) return NULL;
        answer.n_exits = mask->n_numbers - answer.exits;
        if (!ROOM(mask, answers, mask->n_answers + 1, cap_answers) || !keep(mask, &answer)) {
            m->failed = SLM_ERR_MEMORY;
            return NULL;
        }
        m->sets[like].mask = (uint32_t)mask->n_answers;
        mask->answers[mask->n_answers++] = answer;
    }
    m->sets[set].mask = m->sets[like].mask;
    return &mask->answers[m->sets[set].mask];
}

/* Tokens of one group: those that stay in the rule whoever called, and those that end it and go on with the caller. */
static slm_status fill_group(struct slm_mask *mask, struct slm_machine *m, struct slm_machine_group group,
                             uint64_t *bits)
{
    const struct slm_vocab *v = mask->vocab;
    const struct slm_mask_answer *found = answer_for(mask, m, group.set);
    if (!found) return m->failed;
    /* Copied: walking below may move the arrays. */
    const struct slm_mask_answer answer = *found;
    if (answer.is_bits)
        for (size_t i = 0; i < v->n_words; i++) bits[i] |= mask->words[answer.at + i];
    else
        for (size_t i = 0; i < answer.n; i++) {
            const uint32_t id = mask->numbers[answer.at + i];
            bits[id / 64] |= UINT64_C(1) << (id % 64);
        }
    if (group.stack <= SLM_STACK_TEXT || answer.n_exits == 0) return SLM_OK;
    /* Below the end of the text there is nobody to go on with. */
    const uint32_t after = slm_machine_after(m, group.stack);
    for (size_t i = 0; i < answer.n_exits && after != SLM_CONFIG_DEAD; i++) {
        const uint32_t at = mask->numbers[answer.exits + i];
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
    bool deep = false;
    if (c.complete) memcpy(bits, v->ends, v->n_words * sizeof *bits);
    else memset(bits, 0, v->n_words * sizeof *bits);
    for (uint32_t g = 0; g < c.n_groups; g++) deep |= m->stacks[m->groups[c.groups + g].stack].depth > DEEP;
    if (deep) {
        walk(mask, m, config, 0, (uint32_t)v->n_nodes, 0, false, bits);
        return m->failed;
    }
    for (uint32_t g = 0; g < c.n_groups; g++) SLM_TRY(fill_group(mask, m, m->groups[c.groups + g], bits));
    return m->failed;
}
