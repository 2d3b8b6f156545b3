/* SPDX-License-Identifier: MIT
 * Texts of an automaton that have so many characters: a pattern beside minLength and maxLength. A pattern that is
 * searched for has many states, most of them the thirty ways in which JSON spells what may stand around the match, and
 * a pair of automata would have each of them once per length. So the pattern is made deterministic first and as small
 * as it can be (Moore's partitions); what is left is multiplied by the number of characters so far, and of these pairs
 * only those are written that can be reached and can still end.
 *
 * A text is cut into characters by a reader of its own, which knows UTF-8 and escapes, and is part of each state: two
 * places of a pattern can go on alike and stand in the middle of a character and behind one. Patterns whose
 * deterministic form is too large (2^n states for n characters, in theory) are left to pairs of states as they are.
 * Deliberately not here: calls of rules, and escapes of surrogates, which count as two. */
#include <stdlib.h>

#include "base/os.h"
#include "grammar/nfa.h"

#define NONE SLM_NFA_NONE
enum { MAX_STATES = 4096, MAX_ITEMS = 1 << 19, HASH = 1 << 13, MAX_CELLS = 1 << 20, BEHIND_BACKSLASH = 5 };
enum { MAX_WORK = 1 << 26 }; /* steps of making it deterministic, and of making it small: a tenth of a second each */

/* The deterministic automaton. Bytes that nothing tells apart are a class; classes are ranges, in order. */
struct dfa {
    struct slm_nfa *nfa;
    struct slm_frag from;
    uint8_t class_of[256], first[256];
    uint32_t n_classes;
    /* A state: a set of states of the fragment that eat, its way out among them, and where in a character it is. */
    struct { uint32_t items, n_items, next; uint8_t inside; bool ends; } *states;
    uint32_t n_states;
    uint32_t *items, n_items; /* [MAX_ITEMS] */
    uint32_t *to;             /* [n_states][n_classes] or NONE */
    uint32_t *heads;          /* [HASH] */
    uint32_t *seen, stamp;    /* [states of the fragment] */
    uint32_t *stack;          /* [2 * states of the fragment + 2] */
    uint64_t work;
    bool too_large;
};

/* Where a byte leads in the spelling of a character: 0 behind it, else how many bytes are missing, or behind '\'. */
static uint8_t step_inside(uint8_t inside, uint8_t byte)
{
    if (inside == BEHIND_BACKSLASH) return byte == 'u' ? 4 : 0;
    if (inside > 0) return (uint8_t)(inside - 1);
    if (byte == '\\') return BEHIND_BACKSLASH;
    return byte < 0xC0 ? 0 : byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
}

/* Cuts the bytes where a state of the fragment does, or the reader of characters. */
static void find_classes(struct dfa *d)
{
    /* The backslash, the u behind it, and the first bytes of two, three and four. */
    static const uint16_t readers[] = {'\\', '\\' + 1, 'u', 'u' + 1, 0xC0, 0xE0, 0xF0};
    bool cut[257] = {true};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) cut[readers[i]] = true;
    for (size_t i = d->from.begin; i < d->nfa->n_states; i++) {
        const struct slm_nfa_state *s = &d->nfa->states[i];
        if (s->kind == SLM_NFA_RANGE) cut[s->lo] = cut[s->hi + 1] = true;
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        if (cut[byte]) d->first[d->n_classes++] = (uint8_t)byte;
        d->class_of[byte] = (uint8_t)(d->n_classes - 1);
    }
}

/* Adds what a state leads to without eating to the set that is being made: states that eat, and the way out. */
static void add_closure(struct dfa *d, uint32_t from)
{
    uint32_t *const stack = d->stack;
    size_t n = 0;
    stack[n++] = from;
    while (n > 0 && !d->too_large) {
        const uint32_t at = stack[--n];
        if (at == NONE || d->seen[at - d->from.begin] == d->stamp) continue;
        d->seen[at - d->from.begin] = d->stamp;
        const struct slm_nfa_state *s = &d->nfa->states[at];
        if (s->kind != SLM_NFA_SPLIT || at == d->from.out) d->items[d->n_items++] = at;
        if (s->kind == SLM_NFA_SPLIT) stack[n++] = s->a, stack[n++] = s->b;
        d->too_large = d->n_items + 1 >= MAX_ITEMS || d->work++ > MAX_WORK || s->kind == SLM_NFA_CALL;
    }
}

/* For qsort; each state is in a set once. */
static int by_number(const void *a, const void *b) { return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1; }

/* The state of the set items[begin, n_items), which goes out of the pool again when it is known. Sets are compared in
 * order, whatever order their members were found in. */
static uint32_t intern(struct dfa *d, uint32_t begin, uint8_t inside)
{
    const uint32_t n = d->n_items - begin;
    uint32_t *set = d->items + begin;
    qsort(set, n, sizeof *set, by_number);
    uint32_t *head = &d->heads[slm_hash_bytes(set, n * sizeof *set, inside) % HASH];
    for (uint32_t i = *head; i != NONE; i = d->states[i].next) {
        if (d->states[i].n_items != n || d->states[i].inside != inside ||
            memcmp(d->items + d->states[i].items, set, n * sizeof *set) != 0)
            continue;
        d->n_items = begin;
        return i;
    }
    if (d->n_states == MAX_STATES) {
        d->too_large = true;
        return 0;
    }
    /* The way out is one of its own: texts may end here. */
    bool ends = false;
    for (uint32_t i = 0; i < n; i++) ends |= set[i] == d->from.out;
    d->states[d->n_states].items = begin;
    d->states[d->n_states].n_items = n;
    d->states[d->n_states].next = *head;
    d->states[d->n_states].inside = inside;
    d->states[d->n_states].ends = ends;
    return *head = d->n_states++;
}

/* All sets that bytes lead to; each state's row is filled when its turn comes. */
static void determinise(struct dfa *d)
{
    for (uint32_t i = 0; i < HASH; i++) d->heads[i] = NONE;
    d->stamp++;
    add_closure(d, d->from.in);
    intern(d, 0, 0);
    for (uint32_t at = 0; at < d->n_states && !d->too_large; at++) {
        for (uint32_t class = 0; class < d->n_classes && !d->too_large; class++) {
            const uint32_t begin = d->n_items;
            const uint8_t byte = d->first[class];
            d->stamp++;
            d->work += d->states[at].n_items;
            for (uint32_t i = 0; i < d->states[at].n_items; i++) {
                const struct slm_nfa_state *s = &d->nfa->states[d->items[d->states[at].items + i]];
                if (s->kind == SLM_NFA_RANGE && byte >= s->lo && byte <= s->hi) add_closure(d, s->a);
            }
            d->to[(size_t)at * d->n_classes + class] =
                d->n_items == begin ? NONE : intern(d, begin, step_inside(d->states[at].inside, byte));
        }
    }
}

/* One round of Moore's: states that were alike stay so when every byte leads to states that were alike. Returns how
 * many kinds there are. next: of states of one hash, those that stand for a kind. */
static uint32_t refine(struct dfa *d, const uint32_t *old, uint32_t *new, uint32_t *next, uint32_t *row)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < HASH; i++) d->heads[i] = NONE;
    for (uint32_t at = 0; at < d->n_states; at++) {
        const uint32_t *to = d->to + (size_t)at * d->n_classes;
        for (uint32_t c = 0; c < d->n_classes; c++) row[c] = to[c] == NONE ? NONE : old[to[c]];
        uint32_t *head = &d->heads[slm_hash_bytes(row, d->n_classes * sizeof *row, old[at]) % HASH], same;
        for (same = *head; same != NONE; same = next[same]) {
            const uint32_t *other = d->to + (size_t)same * d->n_classes;
            bool alike = old[same] == old[at];
            for (uint32_t c = 0; c < d->n_classes && alike; c++)
                alike = row[c] == (other[c] == NONE ? NONE : old[other[c]]);
            if (alike) break;
        }
        if (same == NONE) {
            next[at] = *head;
            *head = at;
        }
        new[at] = same == NONE ? n++ : new[same];
    }
    return n;
}

/* Merges states that go on alike: rows and ends of each kind take the place of its first state's. What would take too
 * many rounds stays as it is, which is as right and only larger. */
static bool minimise(struct dfa *d)
{
    uint32_t *kinds = slm_alloc(3 * (size_t)d->n_states + d->n_classes, sizeof *kinds, "grammar", d->nfa->error);
    if (!kinds) return false;
    uint32_t *old = kinds, *new = kinds + d->n_states, *next = new + d->n_states, *row = next + d->n_states;
    const uint64_t round = (uint64_t)d->n_states * d->n_classes;
    uint32_t n = 0, before = NONE;
    uint64_t work = 0;
    for (uint32_t at = 0; at < d->n_states; at++) old[at] = 2u * d->states[at].inside + d->states[at].ends;
    while ((n = refine(d, old, new, next, row)) != before) {
        uint32_t *const swap = old;
        old = new;
        new = swap;
        before = n;
        work += round;
        if (work > MAX_WORK) break;
    }
    /* Kinds are numbered by their first states, so none moves upwards. */
    uint32_t done = 0;
    for (uint32_t at = 0; at < d->n_states && work <= MAX_WORK; at++) {
        if (new[at] != done) continue;
        for (uint32_t c = 0; c < d->n_classes; c++) {
            const uint32_t to = d->to[(size_t)at * d->n_classes + c];
            d->to[(size_t)done * d->n_classes + c] = to == NONE ? NONE : new[to];
        }
        d->states[done] = d->states[at];
        done++;
    }
    if (work <= MAX_WORK) d->n_states = done;
    slm_release(kinds);
    return true;
}

/* ---- states and how many characters there were ------------------------------------------------------------------ */

struct grid {
    struct dfa *d;
    uint32_t min, max, n_counts; /* of characters; max NONE: all counts from min on are one */
    uint8_t *alive;              /* [n_counts][n_states] bit 0: it can end; bit 1: it can be reached */
    uint32_t *base;              /* [n_states][n_counts] where the pair is written, or NONE */
    uint32_t *size;              /* [n_states] of states written for one pair */
    uint32_t out;
};

/* The count behind a byte that leads to `state`, or NONE. */
static uint32_t count_behind(const struct grid *g, uint32_t state, uint32_t count)
{
    if (g->d->states[state].inside > 0) return count;
    if (count + 1 < g->n_counts) return count + 1;
    return g->max == NONE ? count : NONE;
}

/* Visits a pair: forward, marks what it leads to as reached; backward, marks it as able to end when what it leads to
 * is. Returns whether anything changed. */
static bool visit(struct grid *g, uint32_t state, uint32_t count, bool forward)
{
    const struct dfa *d = g->d;
    uint8_t *own = &g->alive[(size_t)count * d->n_states + state];
    const uint8_t before = *own;
    bool changed = false;
    if (!(before & 2)) return false;
    if (!forward && d->states[state].ends && count >= g->min) *own |= 1;
    for (uint32_t c = 0; c < d->n_classes; c++) {
        const uint32_t to = d->to[(size_t)state * d->n_classes + c];
        const uint32_t then = to == NONE ? NONE : count_behind(g, to, count);
        if (then == NONE) continue;
        uint8_t *other = &g->alive[(size_t)then * d->n_states + to];
        if (!forward) *own |= *other & 1;
        else if (!(*other & 2)) *other |= 2, changed = true;
    }
    return changed || *own != before;
}

/* Count by count; within one, until nothing changes: as often as a character has bytes, or, where counts end in a
 * loop, as the automaton is deep. */
static void mark(struct grid *g, bool forward)
{
    for (uint32_t i = 0; i < g->n_counts; i++) {
        const uint32_t count = forward ? i : g->n_counts - 1 - i;
        for (bool changed = true; changed;) {
            changed = false;
            for (uint32_t s = 0, n = g->d->n_states; s < n; s++)
                changed |= visit(g, forward ? s : n - 1 - s, count, forward);
        }
    }
}

/* A state's ways: neighbouring classes with one target are one. Returns how many; *at goes to the next. */
static bool next_way(const struct dfa *d, uint32_t state, uint32_t *class, uint8_t *lo, uint8_t *hi, uint32_t *to)
{
    const uint32_t *row = d->to + (size_t)state * d->n_classes;
    while (*class < d->n_classes && row[*class] == NONE) (*class)++;
    if (*class == d->n_classes) return false;
    *to = row[*class];
    *lo = d->first[*class];
    while (*class < d->n_classes && row[*class] == *to) (*class)++;
    *hi = *class == d->n_classes ? 0xFF : (uint8_t)(d->first[*class] - 1);
    return true;
}

/* Gives each pair that is of use its place, state by state. False when they are too many. */
static bool place(struct grid *g)
{
    const struct dfa *d = g->d;
    size_t at = d->nfa->n_states;
    for (uint32_t s = 0; s < d->n_states; s++) {
        uint32_t class = 0, to, n = 0;
        uint8_t lo, hi;
        while (next_way(d, s, &class, &lo, &hi, &to)) n++;
        g->size[s] = 2 * n + 1;
        for (uint32_t c = 0; c < g->n_counts; c++) {
            uint32_t *base = &g->base[(size_t)s * g->n_counts + c];
            *base = NONE;
            if (g->alive[(size_t)c * d->n_states + s] != 3) continue;
            *base = (uint32_t)at;
            at += g->size[s];
            if (at > SLM_NFA_MAX_STATES) return false;
        }
    }
    return true;
}

/* A chain of forks with a way each; the first leads out where the text may end. All pairs of a state have one shape. */
static void write_pair(struct grid *g, uint32_t state, uint32_t count)
{
    const struct dfa *d = g->d;
    struct slm_nfa *nfa = d->nfa;
    uint32_t class = 0, to, before = slm_nfa_fork(nfa, NONE, NONE);
    uint8_t lo, hi;
    if (d->states[state].ends && count >= g->min) slm_nfa_lead(nfa, before, g->out);
    while (next_way(d, state, &class, &lo, &hi, &to) && nfa->failed == SLM_OK) {
        const uint32_t then = count_behind(g, to, count);
        const uint32_t target = then == NONE ? NONE : g->base[(size_t)to * g->n_counts + then];
        const uint32_t eater = slm_nfa_fork(nfa, NONE, NONE), fork = slm_nfa_fork(nfa, eater, NONE);
        if (nfa->failed != SLM_OK) return;
        nfa->states[before].b = fork;
        before = fork;
        if (target != NONE)
            nfa->states[eater] = (struct slm_nfa_state){.kind = SLM_NFA_RANGE, .lo = lo, .hi = hi, .a = target,
                                                        .b = NONE};
    }
}

/* Up to which count everything is as at this one, for each count. */
static void find_stretches(const struct grid *g, uint32_t *until)
{
    const uint32_t n = g->d->n_states;
    for (uint32_t c = g->n_counts; c-- > 0;) {
        bool same = c + 1 < g->n_counts && (c >= g->min) == (c + 1 >= g->min);
        for (uint32_t s = 0; s < n && same; s++)
            same = ((g->alive[(size_t)c * n + s] ^ g->alive[(size_t)(c + 1) * n + s]) & 1) == 0;
        until[c] = same ? until[c + 1] : c;
    }
}

/* Pairs of one state that no token can tell apart: what it could reach is the same at each of these counts. */
static void note_stretches(struct grid *g, const uint32_t *until)
{
    for (uint32_t s = 0; s < g->d->n_states; s++)
        for (uint32_t c = 0, n; c < g->n_counts; c += n ? n : 1) {
            const uint32_t *base = &g->base[(size_t)s * g->n_counts];
            for (n = 0; c + n <= until[c] && base[c + n] != NONE; n++) continue;
            slm_nfa_alike(g->d->nfa, (struct slm_nfa_run){base[c], g->size[s], n, until[c] - c + 1});
        }
}

/* The fragment makes room for what takes its place: it was made last. */
static struct slm_frag write_grid(struct grid *g, struct slm_frag f, uint32_t *until)
{
    struct slm_nfa *nfa = g->d->nfa;
    slm_nfa_drop(nfa, f.begin);
    g->out = slm_nfa_fork(nfa, NONE, NONE);
    const struct slm_frag never = {f.begin, slm_nfa_fork(nfa, NONE, NONE), g->out};
    if (nfa->failed != SLM_OK) return never;
    if (!place(g)) {
        slm_nfa_fail(nfa, SLM_ERR_LIMIT, "a pattern of %u states beside lengths up to %u: needs more than %u states",
                     g->d->n_states, g->n_counts - 1, SLM_NFA_MAX_STATES);
        return never;
    }
    for (uint32_t s = 0; s < g->d->n_states; s++)
        for (uint32_t c = 0; c < g->n_counts && nfa->failed == SLM_OK; c++)
            if (g->base[(size_t)s * g->n_counts + c] != NONE) write_pair(g, s, c);
    find_stretches(g, until);
    note_stretches(g, until);
    if (g->base[0] != NONE) slm_nfa_lead(nfa, never.in, g->base[0]);
    return never;
}

/* Multiplies the automaton by counts. *tried: it could be, whether or not it failed then. */
static struct slm_frag multiply(struct dfa *d, struct slm_frag f, uint32_t min, uint32_t max, bool *tried)
{
    struct grid g = {.d = d, .min = min, .max = max};
    const uint64_t n_counts = (uint64_t)(max == NONE ? min : max) + 1, cells = n_counts * d->n_states;
    if (cells > MAX_CELLS) {
        *tried = true;
        slm_nfa_fail(d->nfa, SLM_ERR_LIMIT, "a pattern of %u states beside lengths up to %llu is too large",
                     d->n_states, (unsigned long long)n_counts - 1);
        return f;
    }
    g.n_counts = (uint32_t)n_counts;
    g.alive = slm_alloc((size_t)cells, 1, "grammar", d->nfa->error);
    g.base = slm_alloc((size_t)cells, sizeof *g.base, "grammar", d->nfa->error);
    g.size = slm_alloc(d->n_states, sizeof *g.size, "grammar", d->nfa->error);
    uint32_t *until = slm_alloc((size_t)n_counts, sizeof *until, "grammar", d->nfa->error);
    if (g.alive && g.base && g.size && until) {
        g.alive[0] = 2;
        mark(&g, true);
        mark(&g, false);
        f = write_grid(&g, f, until);
        *tried = true;
    } else {
        d->nfa->failed = SLM_ERR_MEMORY;
    }
    slm_release(g.alive);
    slm_release(g.base);
    slm_release(g.size);
    slm_release(until);
    return f;
}

bool slm_frag_counted(struct slm_nfa *nfa, struct slm_frag *f, uint32_t min, uint32_t max)
{
    if (nfa->failed != SLM_OK) return true;
    struct dfa d = {.nfa = nfa, .from = *f};
    bool done = false;
    find_classes(&d);
    d.states = slm_alloc(MAX_STATES, sizeof *d.states, "grammar", nfa->error);
    d.items = slm_alloc(MAX_ITEMS, sizeof *d.items, "grammar", nfa->error);
    d.to = slm_alloc((size_t)MAX_STATES * d.n_classes, sizeof *d.to, "grammar", nfa->error);
    d.heads = slm_alloc(HASH, sizeof *d.heads, "grammar", nfa->error);
    d.seen = slm_alloc(nfa->n_states - f->begin, sizeof *d.seen, "grammar", nfa->error);
    d.stack = slm_alloc(2 * (nfa->n_states - f->begin) + 2, sizeof *d.stack, "grammar", nfa->error);
    if (d.states && d.items && d.to && d.heads && d.seen && d.stack) {
        determinise(&d);
        if (!d.too_large) {
            if (minimise(&d)) *f = multiply(&d, *f, min, max, &done);
            else nfa->failed = SLM_ERR_MEMORY;
        }
    } else {
        nfa->failed = SLM_ERR_MEMORY;
    }
    slm_release(d.states);
    slm_release(d.items);
    slm_release(d.to);
    slm_release(d.heads);
    slm_release(d.seen);
    slm_release(d.stack);
    return done;
}
