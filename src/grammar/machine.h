/* SPDX-License-Identifier: MIT
 * Runs an automaton (nfa.h) on bytes. A configuration is everything that may be the case after some text: pairs of a
 * set of states and the stack of calls they stand in. Configurations, sets and stacks are stored once each and named by
 * numbers; what a byte makes of a configuration is worked out when it is first asked for and remembered. So a text that
 * goes ways gone before costs a look into a table per byte, and allocates nothing.
 *
 * Stacks have a bottom: the end of the text, or "whoever called", for questions that do not depend on it (mask.c).
 * Not thread-safe; grammar.c has the lock. */
#ifndef SLM_GRAMMAR_MACHINE_H
#define SLM_GRAMMAR_MACHINE_H
#include "grammar/nfa.h"

enum { SLM_STACK_CALLER = 0, SLM_STACK_TEXT = 1 }; /* the bottoms */
enum { SLM_CONFIG_UNKNOWN = 0, SLM_CONFIG_DEAD = 1 };
enum { SLM_MACHINE_MAX_DEPTH = 1024 };  /* calls inside of calls */

struct slm_machine_group { uint32_t set, stack; };
struct slm_machine_config {
    uint32_t groups, n_groups; /* in `groups` */
    uint32_t row;              /* in `rows`: what each class of bytes makes of it; NONE until asked */
    uint32_t next;             /* of the same hash */
    uint32_t mask;             /* of mask.c: number of its answer, or NONE */
    bool complete;             /* the bottom was reached: the text may end here */
};
struct slm_machine_set {
    uint32_t items, n_items; /* in `items`: states that eat, in order */
    uint32_t next;
    uint32_t mask[2];        /* of mask.c: numbers of its answers, or NONE: for short tokens, for long ones */
};
/* Pairs that a byte leads to, before anything is followed from there: few, and the same for many configurations. */
struct slm_machine_kernel { uint32_t items, n_items, next, config; };
struct slm_machine_stack {
    uint32_t ret, below, depth, next;
    uint32_t after;          /* the configuration after returning: filled when it is asked for */
};

struct slm_machine {
    const struct slm_nfa *nfa;
    uint8_t classes[256]; /* bytes that no state tells apart */
    uint32_t n_classes;
    uint8_t *tail;        /* [n_states] of a CALL: nothing follows it in its rule */
    struct slm_machine_config *configs;
    struct slm_machine_set *sets;
    struct slm_machine_stack *stacks;
    struct slm_machine_group *groups;
    struct slm_machine_kernel *kernels;
    struct slm_machine_item { uint32_t state, stack; } *pairs; /* of kernels */
    uint32_t *items, *rows;
    uint32_t *config_heads, *set_heads, *stack_heads, *kernel_heads; /* hash tables of 2^HASH_BITS */
    size_t n_configs, n_sets, n_stacks, n_groups, n_kernels, n_pairs, n_items, n_rows;
    size_t cap_configs, cap_sets, cap_stacks, cap_groups, cap_kernels, cap_pairs, cap_items, cap_rows;
    /* Working memory of one closure. */
    struct slm_machine_item *todo, *found;
    size_t n_todo, n_found, cap_todo, cap_found;
    uint64_t *seen;   /* [cap_seen] open addressing: stamp and pair folded (machine.c) */
    uint32_t *seen_stamp;
    size_t cap_seen, n_seen;
    uint32_t stamp;
    size_t bytes;     /* held by what is remembered */
    slm_status failed;
};

slm_status slm_machine_open(struct slm_machine *m, const struct slm_nfa *nfa, struct slm_error *error);
void slm_machine_release(struct slm_machine *m);

/* All of these return SLM_CONFIG_DEAD and set `failed` when memory or a limit stands in the way. */
uint32_t slm_machine_start(struct slm_machine *m, uint32_t rule);          /* at the beginning of a text */
uint32_t slm_machine_from_set(struct slm_machine *m, uint32_t set);        /* called by whoever */
uint32_t slm_machine_after(struct slm_machine *m, uint32_t stack);         /* returned from a call; no bottom */
uint32_t slm_machine_step_slow(struct slm_machine *m, uint32_t config, uint8_t byte);
/* The set of states that look to tokens of at most `piece` bytes like those of this one: counted repetitions at a
 * canonical count. */
uint32_t slm_machine_canonical_set(struct slm_machine *m, uint32_t set, uint32_t piece);
/* The configuration of another machine of the same automaton, in this one. */
uint32_t slm_machine_import(struct slm_machine *m, const struct slm_machine *from, uint32_t config);

static inline uint32_t slm_machine_step(struct slm_machine *m, uint32_t config, uint8_t byte)
{
    const uint32_t row = m->configs[config].row;
    if (row != SLM_NFA_NONE) {
        const uint32_t next = m->rows[row + m->classes[byte]];
        if (next != SLM_CONFIG_UNKNOWN) return next;
    }
    return slm_machine_step_slow(m, config, byte);
}
#endif
