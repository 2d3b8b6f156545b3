/* SPDX-License-Identifier: MIT
 * The pushdown automaton, determinised as it is used. The work is in one function, close_all: from some (state, stack)
 * pairs it follows empty moves, calls (push) and ends (pop) until only states that eat are left, and names the result.
 * There is no recursion: pairs to look at wait in a list, and a stamped table keeps each from being looked at twice.
 *
 * Calls that are the last thing of a rule push nothing, so lists written with right recursion do not grow the stack.
 * Left recursion cannot occur: slm_nfa_finish refused it. A stack at its depth limit takes no more calls: such texts
 * are not made. Deliberately not here: tokens (mask.c), and forgetting (grammar.c says when). */
#include "grammar/machine.h"
#include "base/os.h"

#define NONE SLM_NFA_NONE
enum { HASH_BITS = 12, MAX_FOUND = 1 << 16, MAX_BYTES = 96 << 20 };
#define N_HEADS ((size_t)1 << HASH_BITS)

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* The first failure counts, and stands until grammar.c has told the caller. */
static bool fail(struct slm_machine *m, slm_status status)
{
    if (m->failed == SLM_OK) m->failed = status;
    return false;
}

/* A larger array with the same in it, or the old one and `failed`. */
static void *larger(struct slm_machine *m, void *array, size_t n, size_t *cap, size_t size)
{
    size_t wanted = *cap ? *cap : 64;
    while (wanted < n) wanted *= 2;
    if (m->bytes + (wanted - *cap) * size > MAX_BYTES) {
        fail(m, SLM_ERR_LIMIT);
        return array;
    }
    void *bigger = slm_realloc(array, wanted, size, "grammar", NULL);
    if (!bigger) {
        fail(m, SLM_ERR_MEMORY);
        return array;
    }
    m->bytes += (wanted - *cap) * size;
    *cap = wanted;
    return bigger;
}

/* Room for n elements; false when there is none. */
#define ROOM(m, array, n, cap) \
    ((n) <= (m)->cap || \
     ((m)->array = larger((m), (m)->array, (n), &(m)->cap, sizeof *(m)->array), (n) <= (m)->cap))

/* Bytes that every RANGE treats alike share a class. */
static void find_classes(struct slm_machine *m)
{
    bool cut[257] = {[0] = true};
    for (size_t i = 0; i < m->nfa->n_states; i++) {
        const struct slm_nfa_state *s = &m->nfa->states[i];
        if (s->kind == SLM_NFA_RANGE) cut[s->lo] = cut[s->hi + 1] = true;
    }
    uint32_t class = 0;
    for (size_t b = 0; b < 256; b++) {
        if (b > 0 && cut[b]) class++;
        m->classes[b] = (uint8_t)class;
    }
    m->n_classes = class + 1;
}

/* A call whose return leads to the end without anything between. */
static void find_tails(struct slm_machine *m)
{
    const struct slm_nfa_state *states = m->nfa->states;
    for (size_t i = 0; i < m->nfa->n_states; i++)
        m->tail[i] = states[i].kind == SLM_NFA_CALL && states[i].a != NONE && states[states[i].a].kind == SLM_NFA_END;
}

/* Tables begin small: most grammars meet a few hundred configurations in their life. */
slm_status slm_machine_open(struct slm_machine *m, const struct slm_nfa *nfa, struct slm_error *error)
{
    *m = (struct slm_machine){.nfa = nfa, .cap_seen = 256};
    m->tail = slm_alloc(nfa->n_states, 1, "grammar", error);
    m->config_heads = slm_alloc(N_HEADS, sizeof *m->config_heads, "grammar", error);
    m->set_heads = slm_alloc(N_HEADS, sizeof *m->set_heads, "grammar", error);
    m->stack_heads = slm_alloc(N_HEADS, sizeof *m->stack_heads, "grammar", error);
    m->kernel_heads = slm_alloc(N_HEADS, sizeof *m->kernel_heads, "grammar", error);
    m->seen = slm_alloc(m->cap_seen, sizeof *m->seen, "grammar", error);
    m->seen_stamp = slm_alloc(m->cap_seen, sizeof *m->seen_stamp, "grammar", error);
    const bool ok = m->tail && m->config_heads && m->set_heads && m->stack_heads && m->kernel_heads && m->seen &&
                    m->seen_stamp && ROOM(m, configs, 64, cap_configs) && ROOM(m, stacks, 64, cap_stacks);
    if (!ok) {
        slm_machine_release(m);
        return slm_fail_memory(error, "grammar", 0);
    }
    find_classes(m);
    find_tails(m);
    for (size_t i = 0; i < N_HEADS; i++)
        m->config_heads[i] = m->set_heads[i] = m->stack_heads[i] = m->kernel_heads[i] = NONE;
    /* Numbers 0 and 1 of configurations and stacks have meanings of their own, so they are always there. */
    m->n_configs = m->n_stacks = 2; /* UNKNOWN and DEAD, CALLER and TEXT */
    for (size_t i = 0; i < 2; i++) {
        m->configs[i] = (struct slm_machine_config){.row = NONE, .next = NONE, .mask = NONE};
        m->stacks[i] = (struct slm_machine_stack){.ret = NONE, .below = NONE, .next = NONE};
    }
    return SLM_OK;
}

void slm_machine_release(struct slm_machine *m)
{
    void *const parts[] = {m->tail, m->configs, m->sets, m->stacks, m->groups, m->kernels, m->pairs, m->items,
                           m->rows, m->config_heads, m->set_heads, m->stack_heads, m->kernel_heads, m->todo, m->found,
                           m->seen, m->seen_stamp};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) slm_release(parts[i]);
    *m = (struct slm_machine){0};
}

/* ---- names for stacks, sets, configurations -------------------------------------------------------------------- */

/* Where a chain of equal hashes begins. Chains are short: there are fewer names than a few times the heads. */
static size_t head_of(const void *data, size_t bytes)
{
    return (size_t)slm_hash_bytes(data, bytes, 7) & (N_HEADS - 1);
}

/* The number of the stack `below` with `ret` on it; the same for the same, so that sets can be compared by number. */
static uint32_t push(struct slm_machine *m, uint32_t ret, uint32_t below)
{
    const uint32_t key[2] = {ret, below};
    uint32_t *head = &m->stack_heads[head_of(key, sizeof key)];
    for (uint32_t i = *head; i != NONE; i = m->stacks[i].next)
        if (m->stacks[i].ret == ret && m->stacks[i].below == below) return i;
    if (!ROOM(m, stacks, m->n_stacks + 1, cap_stacks)) return NONE;
    m->stacks[m->n_stacks] = (struct slm_machine_stack){ret, below, m->stacks[below].depth + 1, *head, 0};
    return *head = (uint32_t)m->n_stacks++;
}

/* The number of a set, given in order. */
static uint32_t name_set(struct slm_machine *m, const uint32_t *items, size_t n)
{
    uint32_t *head = &m->set_heads[head_of(items, n * sizeof *items)];
    for (uint32_t i = *head; i != NONE; i = m->sets[i].next)
        if (m->sets[i].n_items == n && memcmp(m->items + m->sets[i].items, items, n * sizeof *items) == 0) return i;
    if (!ROOM(m, sets, m->n_sets + 1, cap_sets) || !ROOM(m, items, m->n_items + n, cap_items)) return NONE;
    memcpy(m->items + m->n_items, items, n * sizeof *items);
    m->sets[m->n_sets] = (struct slm_machine_set){(uint32_t)m->n_items, (uint32_t)n, *head, {NONE, NONE}};
    m->n_items += n;
    return *head = (uint32_t)m->n_sets++;
}

/* The groups lie behind all others already, n of them. */
static uint32_t name_config(struct slm_machine *m, size_t n, bool complete)
{
    const struct slm_machine_group *groups = m->groups + m->n_groups;
    /* Nothing is left that the text could be. */
    if (n == 0 && !complete) return SLM_CONFIG_DEAD;
    size_t hash = complete ? 1 : 0;
    if (n) hash ^= head_of(groups, n * sizeof *groups);
    uint32_t *head = &m->config_heads[hash & (N_HEADS - 1)];
    for (uint32_t i = *head; i != NONE; i = m->configs[i].next) {
        const struct slm_machine_config *c = &m->configs[i];
        if (c->complete == complete && c->n_groups == n &&
            (n == 0 || memcmp(m->groups + c->groups, groups, n * sizeof *groups) == 0))
            return i;
    }
    if (!ROOM(m, configs, m->n_configs + 1, cap_configs)) return SLM_CONFIG_DEAD;
    m->configs[m->n_configs] = (struct slm_machine_config){.groups = (uint32_t)m->n_groups, .n_groups = (uint32_t)n,
                                                           .row = NONE, .next = *head, .mask = NONE,
                                                           .complete = complete};
    m->n_groups += n;
    return *head = (uint32_t)m->n_configs++;
}

/* ---- closure --------------------------------------------------------------------------------------------------- */

/* Was this pair met since begin()? It is now. */
static bool meet(struct slm_machine *m, uint32_t state, uint32_t stack)
{
    const uint64_t key = (uint64_t)stack << 32 | state;
    size_t at = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 40) & (m->cap_seen - 1);
    while (m->seen_stamp[at] == m->stamp) {
        if (m->seen[at] == key) return true;
        at = (at + 1) & (m->cap_seen - 1);
    }
    m->seen[at] = key;
    m->seen_stamp[at] = m->stamp;
    m->n_seen++;
    return false;
}

/* Twice as many slots, those of this closure put in again. */
static bool widen(struct slm_machine *m)
{
    const size_t cap = m->cap_seen;
    uint64_t *const keys = m->seen;
    uint32_t *const stamps = m->seen_stamp;
    uint64_t *more = slm_alloc(2 * cap, sizeof *more, "grammar", NULL);
    uint32_t *more_stamps = slm_alloc(2 * cap, sizeof *more_stamps, "grammar", NULL);
    if (!more || !more_stamps) {
        slm_release(more);
        slm_release(more_stamps);
        return fail(m, SLM_ERR_MEMORY);
    }
    m->seen = more;
    m->seen_stamp = more_stamps;
    m->cap_seen = 2 * cap;
    m->n_seen = 0;
    for (size_t i = 0; i < cap; i++)
        if (stamps[i] == m->stamp) meet(m, (uint32_t)keys[i], (uint32_t)(keys[i] >> 32));
    slm_release(keys);
    slm_release(stamps);
    return true;
}

/* A new closure: what was seen before counts no more, without clearing the table. */
static void begin(struct slm_machine *m)
{
    m->n_todo = m->n_found = m->n_seen = 0;
    if (++m->stamp == 0) { /* once in four billion closures */
        memset(m->seen_stamp, 0, m->cap_seen * sizeof *m->seen_stamp);
        m->stamp = 1;
    }
}

/* Puts a pair on the list unless it was there. The limit is on how many ways a text can be read at once. */
static void visit(struct slm_machine *m, uint32_t state, uint32_t stack)
{
    if (state == NONE || stack == NONE || m->failed != SLM_OK) return;
    if (2 * m->n_seen >= m->cap_seen && !widen(m)) return;
    if (meet(m, state, stack)) return;
    if (m->n_seen > MAX_FOUND) {
        fail(m, SLM_ERR_LIMIT);
        return;
    }
    if (ROOM(m, todo, m->n_todo + 1, cap_todo)) m->todo[m->n_todo++] = (struct slm_machine_item){state, stack};
}

/* By stack, so that groups are runs; states in order, so that equal sets are equal bytes. */
static bool comes_before(struct slm_machine_item a, struct slm_machine_item b)
{
    return a.stack != b.stack ? a.stack < b.stack : a.state < b.state;
}

/* Shell's sort: in place, no recursion; there are a handful of items as a rule. */
static void sort(struct slm_machine_item *items, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2) {
        for (size_t i = gap; i < n; i++) {
            const struct slm_machine_item item = items[i];
            size_t k = i;
            for (; k >= gap && comes_before(item, items[k - gap]); k -= gap) items[k] = items[k - gap];
            items[k] = item;
        }
    }
}

/* Groups what was found by stack, and names it. The list of what is left to do has done its work and holds the sets. */
static uint32_t name_found(struct slm_machine *m, bool complete)
{
    size_t n_groups = 0;
    sort(m->found, m->n_found);
    if (!ROOM(m, groups, m->n_groups + m->n_found + 1, cap_groups)) return SLM_CONFIG_DEAD; /* there, though of none */
    if (!ROOM(m, todo, m->n_found, cap_todo)) return SLM_CONFIG_DEAD;
    for (size_t i = 0; i < m->n_found;) {
        const uint32_t stack = m->found[i].stack;
        uint32_t *const states = (uint32_t *)m->todo;
        size_t n = 0;
        for (; i < m->n_found && m->found[i].stack == stack; i++) states[n++] = m->found[i].state;
        const uint32_t set = name_set(m, states, n);
        if (set == NONE) return SLM_CONFIG_DEAD;
        m->groups[m->n_groups + n_groups++] = (struct slm_machine_group){set, stack};
    }
    return name_config(m, n_groups, complete);
}

/* Follows what was visited to its end. */
static uint32_t close_all(struct slm_machine *m)
{
    bool complete = false;
    while (m->n_todo > 0 && m->failed == SLM_OK) {
        const struct slm_machine_item item = m->todo[--m->n_todo];
        const struct slm_nfa_state *s = &m->nfa->states[item.state];
        uint32_t stack = item.stack;
        switch ((enum slm_nfa_kind)s->kind) {
        case SLM_NFA_SPLIT:
            visit(m, s->a, stack);
            visit(m, s->b, stack);
            break;
        case SLM_NFA_RANGE:
            if (ROOM(m, found, m->n_found + 1, cap_found)) m->found[m->n_found++] = item;
            break;
        case SLM_NFA_CALL:
            if (!m->tail[item.state]) {
                /* A text that goes deeper is not made; it is never made wrongly. */
                if (m->stacks[stack].depth >= SLM_MACHINE_MAX_DEPTH) break;
                stack = push(m, s->a, stack);
            }
            visit(m, m->nfa->rules[s->b], stack);
            break;
        case SLM_NFA_END:
            /* At the bottom there is nobody to return to. */
            if (stack <= SLM_STACK_TEXT) complete = true;
            else visit(m, m->stacks[stack].ret, m->stacks[stack].below);
            break;
        }
    }
    return m->failed == SLM_OK ? name_found(m, complete) : SLM_CONFIG_DEAD;
}

/* ---- the interface --------------------------------------------------------------------------------------------- */

/* A text begins: the end of its rule is the end of the text. */
uint32_t slm_machine_start(struct slm_machine *m, uint32_t rule)
{
    begin(m);
    visit(m, m->nfa->rules[rule], SLM_STACK_TEXT);
    return close_all(m);
}

/* Whoever called is unknown: the end of the rule makes the configuration complete. */
uint32_t slm_machine_from_set(struct slm_machine *m, uint32_t set)
{
    begin(m);
    for (uint32_t i = 0; i < m->sets[set].n_items; i++)
        visit(m, m->items[m->sets[set].items + i], SLM_STACK_CALLER);
    return close_all(m);
}

/* Remembered with the stack: a rule that is over comes back to the same place each time. */
uint32_t slm_machine_after(struct slm_machine *m, uint32_t stack)
{
    if (m->stacks[stack].after != SLM_CONFIG_UNKNOWN) return m->stacks[stack].after;
    begin(m);
    visit(m, m->stacks[stack].ret, m->stacks[stack].below);
    const uint32_t config = close_all(m);
    if (m->failed == SLM_OK) m->stacks[stack].after = config;
    return config;
}

/* Every pair that the byte leads to, once, in order: into `found`. Nothing is followed from there, so this is quick. */
static void find_pairs(struct slm_machine *m, uint32_t config, uint8_t byte)
{
    const struct slm_machine_config c = m->configs[config];
    size_t n = 0;
    for (uint32_t g = 0; g < c.n_groups; g++) {
        const struct slm_machine_group group = m->groups[c.groups + g];
        const struct slm_machine_set set = m->sets[group.set];
        if (!ROOM(m, found, m->n_found + set.n_items, cap_found)) return;
        for (uint32_t i = 0; i < set.n_items; i++) {
            const struct slm_nfa_state *s = &m->nfa->states[m->items[set.items + i]];
            if (byte >= s->lo && byte <= s->hi)
                m->found[m->n_found++] = (struct slm_machine_item){s->a, group.stack};
        }
    }
    sort(m->found, m->n_found);
    for (size_t i = 0; i < m->n_found; i++)
        if (n == 0 || comes_before(m->found[n - 1], m->found[i])) m->found[n++] = m->found[i];
    m->n_found = n;
}

/* What comes of the pairs in `found`. Ambiguous grammars have many configurations and few of these: from each place of
 * "a"? "b"? "a"? "c"? ... an "a" leads to the same ones, as long as the same are ahead. */
static uint32_t close_pairs(struct slm_machine *m)
{
    const size_t n = m->n_found;
    uint32_t *head = &m->kernel_heads[head_of(m->found, n * sizeof *m->found)];
    for (uint32_t i = *head; i != NONE; i = m->kernels[i].next) {
        const struct slm_machine_kernel *k = &m->kernels[i];
        if (k->n_items == n && memcmp(m->pairs + k->items, m->found, n * sizeof *m->found) == 0) return k->config;
    }
    /* New: it is remembered when it is complete, so that a failure leaves nothing half done. */
    if (!ROOM(m, kernels, m->n_kernels + 1, cap_kernels) || !ROOM(m, pairs, m->n_pairs + n, cap_pairs))
        return SLM_CONFIG_DEAD;
    struct slm_machine_item *pairs = m->pairs + m->n_pairs;
    memcpy(pairs, m->found, n * sizeof *pairs);
    m->n_found = 0;
    for (size_t i = 0; i < n; i++) visit(m, pairs[i].state, pairs[i].stack);
    const uint32_t config = close_all(m);
    if (m->failed != SLM_OK) return SLM_CONFIG_DEAD;
    m->kernels[m->n_kernels] = (struct slm_machine_kernel){(uint32_t)m->n_pairs, (uint32_t)n, *head, config};
    m->n_pairs += n;
    *head = (uint32_t)m->n_kernels++;
    return config;
}

/* The first time for this configuration and class of bytes. The row comes first, for the arrays may move later. */
uint32_t slm_machine_step_slow(struct slm_machine *m, uint32_t config, uint8_t byte)
{
    if (config == SLM_CONFIG_DEAD || m->failed != SLM_OK) return SLM_CONFIG_DEAD;
    if (m->configs[config].row == NONE) {
        if (!ROOM(m, rows, m->n_rows + m->n_classes, cap_rows)) return SLM_CONFIG_DEAD;
        memset(m->rows + m->n_rows, 0, m->n_classes * sizeof *m->rows);
        m->configs[config].row = (uint32_t)m->n_rows;
        m->n_rows += m->n_classes;
    }
    begin(m);
    find_pairs(m, config, byte);
    const uint32_t next = m->n_found == 0 || m->failed != SLM_OK ? SLM_CONFIG_DEAD : close_pairs(m);
    if (m->failed == SLM_OK) m->rows[m->configs[config].row + m->classes[byte]] = next;
    return next;
}

/* The state of the first of the copies that such tokens cannot tell apart, or the state itself. */
static uint32_t canonical(const struct slm_nfa *nfa, uint32_t state, uint32_t piece)
{
    size_t lo = 0, hi = nfa->n_runs;
    while (lo < hi) { /* the last run that begins at or before the state */
        const size_t mid = (lo + hi) / 2;
        if (nfa->runs[mid].begin <= state) lo = mid + 1;
        else hi = mid;
    }
    if (lo == 0) return state;
    const struct slm_nfa_run *run = &nfa->runs[lo - 1];
    const uint32_t at = state - run->begin, copy = at / run->stride;
    return copy < run->n && copy + piece < run->ahead ? run->begin + at % run->stride : state;
}

/* What a set allows is the union of what its states allow, so each may be replaced by itself. */
uint32_t slm_machine_canonical_set(struct slm_machine *m, uint32_t set, uint32_t piece)
{
    if (m->nfa->n_runs == 0) return set;
    begin(m);
    for (uint32_t i = 0; i < m->sets[set].n_items; i++)
        visit(m, canonical(m->nfa, m->items[m->sets[set].items + i], piece), SLM_STACK_CALLER);
    const uint32_t config = close_all(m);
    return m->failed == SLM_OK && m->configs[config].n_groups == 1 ? m->groups[m->configs[config].groups].set : set;
}

/* States and stacks mean the same in both machines; only the numbers of stacks and sets differ. */
uint32_t slm_machine_import(struct slm_machine *m, const struct slm_machine *from, uint32_t config)
{
    uint32_t chain[SLM_MACHINE_MAX_DEPTH + 1];
    if (config <= SLM_CONFIG_DEAD) return config;
    const struct slm_machine_config *c = &from->configs[config];
    begin(m);
    for (uint32_t g = 0; g < c->n_groups; g++) {
        const struct slm_machine_group group = from->groups[c->groups + g];
        size_t n = 0;
        uint32_t stack = group.stack;
        for (; stack > SLM_STACK_TEXT; stack = from->stacks[stack].below) chain[n++] = from->stacks[stack].ret;
        while (n > 0 && stack != NONE) stack = push(m, chain[--n], stack);
        for (uint32_t i = 0; i < from->sets[group.set].n_items; i++)
            visit(m, from->items[from->sets[group.set].items + i], stack);
    }
    if (!c->complete) return close_all(m);
    /* States that eat close over themselves alone, so that it is complete is the one thing to be said. */
    close_all(m);
    return m->failed == SLM_OK ? name_found(m, true) : SLM_CONFIG_DEAD;
}
