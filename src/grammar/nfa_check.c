/* SPDX-License-Identifier: MIT
 * What is asked of finished automata: do all rules exist, does one call itself before it ate a byte (nothing could run
 * that), what do two automata have in common, does one match a text. None of it goes deeper than its own lists.
 * Deliberately not here: building them (nfa.c), running them on tokens (machine.c). */
#include "base/os.h"
#include "grammar/nfa.h"

/* ---- both ------------------------------------------------------------------------------------------------------ */

/* Pairs of states that were met, and which state stands for each. Only states that a byte leads to make pairs: what
 * either side reaches from there without eating is looked through at once, else every split of one would meet every
 * split of the other. */
struct pairs {
    struct slm_nfa *nfa;
    uint32_t a_out, b_out, end; /* the ends of both, and of what comes of them */
    uint64_t *keys;    /* [cap] open addressing; 0 is free: a pair of states is stored as key + 1 */
    uint32_t *states;  /* [cap] */
    size_t n, cap;
    uint64_t *todo;    /* [cap] */
    size_t n_todo;
    uint32_t *near[2]; /* [n_near] what each side reaches: states that eat, and its end */
    size_t n_near[2];
    uint32_t *seen, stamp; /* [n_before] */
    size_t n_before;   /* states of both sides */
};

enum { MAX_PAIRS = 1 << 18 };

/* The state for the pair; a new one is a SPLIT to be filled in later. */
static uint32_t pair_state(struct pairs *p, uint32_t a, uint32_t b)
{
    const uint64_t key = ((uint64_t)a << 32 | b) + 1;
    size_t at = (size_t)(slm_hash_bytes(&key, sizeof key, 1) & (p->cap - 1));
    while (p->keys[at] && p->keys[at] != key) at = (at + 1) & (p->cap - 1);
    if (p->keys[at]) return p->states[at];
    if (p->n >= p->cap / 2) {
        slm_nfa_fail(p->nfa, SLM_ERR_LIMIT, "what both conditions allow needs more than %zu states", p->cap / 2);
        return 0;
    }
    /* New: it is filled in when its turn comes. */
    p->n++;
    p->keys[at] = key;
    p->states[at] = slm_nfa_fork(p->nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    p->todo[p->n_todo++] = key - 1;
    return p->states[at];
}

/* All that is reached from a state without eating; the list serves as the stack of those to look at, too. */
static void look_around(struct pairs *p, int side, uint32_t from)
{
    const uint32_t out = side ? p->b_out : p->a_out;
    uint32_t *list = p->near[side];
    size_t n = 0, n_kept = 0;
    p->stamp++;
    p->seen[from] = p->stamp;
    list[n++] = from;
    for (size_t i = 0; i < n; i++) {
        const uint32_t at = list[i];
        const struct slm_nfa_state *s = &p->nfa->states[at];
        const uint32_t next[2] = {s->a, s->b};
        for (int k = 0; k < 2 && s->kind == SLM_NFA_SPLIT; k++) {
            if (next[k] == SLM_NFA_NONE || p->seen[next[k]] == p->stamp) continue;
            p->seen[next[k]] = p->stamp;
            list[n++] = next[k];
        }
        /* An end may lead back into its own repetition: it is both. */
        if (s->kind == SLM_NFA_RANGE || at == out) list[n_kept++] = at;
    }
    p->n_near[side] = n_kept;
}

/* One alternative more of a state that is a chain of splits; returns the split that the next one goes to. */
static uint32_t add_way(struct slm_nfa *nfa, uint32_t split, uint32_t to)
{
    const uint32_t next = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    if (nfa->failed != SLM_OK) return split;
    nfa->states[split].a = to;
    nfa->states[split].b = next;
    return next;
}

/* A byte must suit both; where both may end, the whole may. */
static void fill_pair(struct pairs *p, uint64_t pair)
{
    struct slm_nfa *nfa = p->nfa;
    const uint32_t a = (uint32_t)(pair >> 32), b = (uint32_t)pair;
    uint32_t split = pair_state(p, a, b);
    look_around(p, 0, a);
    look_around(p, 1, b);
    for (size_t i = 0; i < p->n_near[0]; i++)
        for (size_t k = 0; k < p->n_near[1] && nfa->failed == SLM_OK; k++) {
            const struct slm_nfa_state x = nfa->states[p->near[0][i]], y = nfa->states[p->near[1][k]];
            if (p->near[0][i] == p->a_out && p->near[1][k] == p->b_out) split = add_way(nfa, split, p->end);
            if (x.kind != SLM_NFA_RANGE || y.kind != SLM_NFA_RANGE) continue;
            const uint8_t lo = x.lo > y.lo ? x.lo : y.lo, hi = x.hi < y.hi ? x.hi : y.hi;
            if (lo > hi) continue;
            const uint32_t range = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE), to = pair_state(p, x.a, y.a);
            if (nfa->failed != SLM_OK) return;
            nfa->states[range] = (struct slm_nfa_state){.kind = SLM_NFA_RANGE, .lo = lo, .hi = hi, .a = to,
                                                        .b = SLM_NFA_NONE};
            split = add_way(nfa, split, range);
        }
}

/* The pairs that can be reached from the pair of beginnings; the others are never made. */
struct slm_frag slm_frag_both(struct slm_nfa *nfa, struct slm_frag a, struct slm_frag b)
{
    if (nfa->failed != SLM_OK) return a;
    struct pairs p = {.nfa = nfa, .cap = MAX_PAIRS, .a_out = a.out, .b_out = b.out, .n_before = nfa->n_states};
    struct slm_frag f = {a.begin, a.in, a.out};
    p.keys = slm_alloc(p.cap, sizeof *p.keys, "grammar", nfa->error);
    p.states = slm_alloc(p.cap, sizeof *p.states, "grammar", nfa->error);
    p.todo = slm_alloc(p.cap, sizeof *p.todo, "grammar", nfa->error);
    p.seen = slm_alloc(p.n_before, sizeof *p.seen, "grammar", nfa->error);
    p.near[0] = slm_alloc(p.n_before, sizeof *p.near[0], "grammar", nfa->error);
    p.near[1] = slm_alloc(p.n_before, sizeof *p.near[1], "grammar", nfa->error);
    if (!p.keys || !p.states || !p.todo || !p.seen || !p.near[0] || !p.near[1]) {
        nfa->failed = SLM_ERR_MEMORY;
        goto out;
    }
    p.end = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    f.in = pair_state(&p, a.in, b.in);
    while (p.n_todo > 0 && nfa->failed == SLM_OK) fill_pair(&p, p.todo[--p.n_todo]);
    f.out = p.end;
out:
    slm_release(p.keys);
    slm_release(p.states);
    slm_release(p.todo);
    slm_release(p.seen);
    slm_release(p.near[0]);
    slm_release(p.near[1]);
    return f;
}

/* ---- matching -------------------------------------------------------------------------------------------------- */

/* Adds a state and all it leads to without eating. */
static size_t close_over(const struct slm_nfa *nfa, uint32_t begin, uint32_t from, uint32_t *list, size_t n,
                         uint8_t *seen)
{
    size_t done = n;
    if (seen[from - begin]) return n;
    seen[from - begin] = 1;
    list[n++] = from;
    for (; done < n; done++) {
        const struct slm_nfa_state *s = &nfa->states[list[done]];
        const uint32_t next[2] = {s->a, s->b};
        for (int k = 0; k < 2 && s->kind == SLM_NFA_SPLIT; k++) {
            if (next[k] == SLM_NFA_NONE || seen[next[k] - begin]) continue;
            seen[next[k] - begin] = 1;
            list[n++] = next[k];
        }
    }
    return n;
}

/* All states at once, byte by byte: linear in the text whatever the pattern. */
bool slm_frag_matches(struct slm_nfa *nfa, struct slm_frag a, struct slm_str bytes)
{
    if (nfa->failed != SLM_OK) return false;
    /* Its states lie between its beginning and the end of all. */
    const size_t n = nfa->n_states - a.begin;
    uint32_t *now = slm_alloc(n, sizeof *now, "grammar", nfa->error);
    uint32_t *next = slm_alloc(n, sizeof *next, "grammar", nfa->error);
    uint8_t *seen = slm_alloc(n, 1, "grammar", nfa->error);
    bool matches = false;
    if (!now || !next || !seen) {
        nfa->failed = SLM_ERR_MEMORY;
        goto out;
    }
    size_t n_now = close_over(nfa, a.begin, a.in, now, 0, seen);
    for (size_t i = 0; i < bytes.len && n_now > 0; i++) {
        const uint8_t byte = (uint8_t)bytes.ptr[i];
        size_t n_next = 0;
        memset(seen, 0, n);
        for (size_t k = 0; k < n_now; k++) {
            const struct slm_nfa_state *s = &nfa->states[now[k]];
            if (s->kind == SLM_NFA_RANGE && byte >= s->lo && byte <= s->hi)
                n_next = close_over(nfa, a.begin, s->a, next, n_next, seen);
        }
        uint32_t *const swap = now;
        now = next;
        next = swap;
        n_now = n_next;
    }
    /* The way out is among what is left. */
    for (size_t k = 0; k < n_now; k++) matches |= now[k] == a.out;
out:
    slm_release(now);
    slm_release(next);
    slm_release(seen);
    return matches;
}

/* A search from the way in to the way out. */
bool slm_frag_reaches(struct slm_nfa *nfa, struct slm_frag a)
{
    if (nfa->failed != SLM_OK) return false;
    const size_t n = nfa->n_states;
    uint32_t *todo = slm_alloc(2 * n + 2, sizeof *todo, "grammar", nfa->error);
    uint8_t *seen = slm_alloc(n, 1, "grammar", nfa->error);
    size_t n_todo = 0;
    bool reached = false;
    if (!todo || !seen) nfa->failed = SLM_ERR_MEMORY;
    else todo[n_todo++] = a.in;
    while (n_todo > 0 && !reached) {
        const uint32_t at = todo[--n_todo];
        if (at == SLM_NFA_NONE || seen[at]) continue;
        seen[at] = 1;
        reached = at == a.out;
        todo[n_todo++] = nfa->states[at].a;
        if (nfa->states[at].kind == SLM_NFA_SPLIT) todo[n_todo++] = nfa->states[at].b;
    }
    slm_release(todo);
    slm_release(seen);
    return reached;
}

/* ---- finishing ------------------------------------------------------------------------------------------------- */

/* What every rule calls before it ate a byte. */
struct starts {
    struct slm_nfa *nfa;
    uint8_t *nullable; /* [n_rules] */
    uint8_t *colour;   /* [n_rules] of the search: 0 new, 1 on the path, 2 done */
    uint32_t *seen;    /* [n_states] stamp */
    uint32_t *todo;    /* [2 * n_states + 2] */
    struct frame { uint32_t rule, at, end; } *path; /* [n_rules + 1] a rule and where in `calls` its own lie */
    uint32_t *calls;
    size_t n_calls, cap_calls;
    uint32_t stamp;
};

/* Goes from the start of a rule through its empty moves. calls: those met are added to the list. Returns whether the
 * end was reached. */
static bool explore(struct starts *s, uint32_t rule, bool list_calls)
{
    struct slm_nfa *nfa = s->nfa;
    size_t n = 0;
    bool ends = false;
    /* A new search: older marks count no more. */
    s->stamp++;
    s->todo[n++] = nfa->rules[rule];
    while (n > 0 && nfa->failed == SLM_OK) {
        const uint32_t at = s->todo[--n];
        if (at == SLM_NFA_NONE || s->seen[at] == s->stamp) continue;
        s->seen[at] = s->stamp;
        const struct slm_nfa_state *state = &nfa->states[at];
        if (state->kind == SLM_NFA_END) ends = true;
        if (state->kind == SLM_NFA_SPLIT) s->todo[n++] = state->a, s->todo[n++] = state->b;
        if (state->kind != SLM_NFA_CALL) continue;
        if (s->nullable[state->b]) s->todo[n++] = state->a;
        if (!list_calls) continue;
        if (s->n_calls == s->cap_calls) {
            const size_t cap = s->cap_calls ? 2 * s->cap_calls : 256;
            uint32_t *more = slm_realloc(s->calls, cap, sizeof *more, "grammar", nfa->error);
            if (!more) {
                nfa->failed = SLM_ERR_MEMORY;
                break;
            }
            s->calls = more;
            s->cap_calls = cap;
        }
        s->calls[s->n_calls++] = state->b;
    }
    return ends;
}

/* Which rules may be empty: what can be is found in rounds, until a round finds nothing. Chains of such rules are short
 * where people write them, and a long one costs a round per link at worst: the limit on rules bounds it. */
static void find_nullable(struct starts *s)
{
    for (bool changed = true; changed && s->nfa->failed == SLM_OK;) {
        changed = false;
        for (uint32_t r = (uint32_t)s->nfa->n_rules; r-- > 0;) {
            if (s->nullable[r] || !explore(s, r, false)) continue;
            s->nullable[r] = 1;
            changed = true;
        }
    }
}

/* Looks for a cycle of calls from a rule on, depth first. Returns a rule on it, or NONE. */
static uint32_t find_cycle(struct starts *s, uint32_t from)
{
    size_t depth = 0;
    /* Seen in an earlier search: no cycle goes through it. */
    if (s->colour[from]) return SLM_NFA_NONE;
    s->n_calls = 0;
    explore(s, from, true);
    s->colour[from] = 1;
    s->path[depth++] = (struct frame){from, 0, (uint32_t)s->n_calls};
    while (depth > 0 && s->nfa->failed == SLM_OK) {
        struct frame *f = &s->path[depth - 1];
        if (f->at == f->end) {
            s->colour[f->rule] = 2;
            depth--;
            s->n_calls = depth ? s->path[depth - 1].end : 0;
            continue;
        }
        const uint32_t callee = s->calls[f->at++];
        /* Back on the path: this rule leads to itself without a byte between. */
        if (s->colour[callee] == 1) return callee;
        if (s->colour[callee] == 2) continue;
        const uint32_t begin = (uint32_t)s->n_calls;
        explore(s, callee, true);
        s->colour[callee] = 1;
        s->path[depth++] = (struct frame){callee, begin, (uint32_t)s->n_calls};
    }
    return SLM_NFA_NONE;
}

/* What leads nowhere is cut off, so that a text that was begun can always be ended: a state is of use when the end of
 * its rule can be reached from it through rules that are of use themselves. Goes backwards from the ends. */
static void prune(struct slm_nfa *nfa, uint32_t root)
{
    const size_t n = nfa->n_states;
    uint32_t *first = slm_alloc(n + 1, sizeof *first, "grammar", nfa->error); /* of `from`: who leads to a state */
    uint32_t *from = slm_alloc(3 * n + 1, sizeof *from, "grammar", nfa->error);
    uint32_t *todo = slm_alloc(n + 1, sizeof *todo, "grammar", nfa->error);
    uint8_t *useful = slm_alloc(n + 1, 1, "grammar", nfa->error);
    size_t n_todo = 0;
    if (!first || !from || !todo || !useful) {
        nfa->failed = SLM_ERR_MEMORY;
        goto out;
    }
    /* A call leads to the start of its rule too: when that becomes of use, the call is looked at again. */
    for (int fill = 0; fill < 2; fill++) {
        for (size_t i = 0; i < n; i++) {
            const struct slm_nfa_state *s = &nfa->states[i];
            const bool calls = s->kind == SLM_NFA_CALL, splits = s->kind == SLM_NFA_SPLIT;
            const uint32_t to[2] = {s->a, calls ? nfa->rules[s->b] : splits ? s->b : SLM_NFA_NONE};
            for (int k = 0; k < 2; k++) {
                if (to[k] == SLM_NFA_NONE) continue;
                if (fill) from[--first[to[k]]] = (uint32_t)i;
                else first[to[k]]++;
            }
        }
        for (size_t i = 1; i <= n && !fill; i++) first[i] += first[i - 1]; /* ends; filling makes them beginnings */
    }
    for (size_t i = 0; i < n; i++)
        if (nfa->states[i].kind == SLM_NFA_END) useful[i] = 1, todo[n_todo++] = (uint32_t)i;
    while (n_todo > 0) {
        const uint32_t at = todo[--n_todo];
        for (uint32_t k = first[at]; k < first[at + 1]; k++) {
            const struct slm_nfa_state *s = &nfa->states[from[k]];
            if (useful[from[k]]) continue;
            /* Both what is called and what comes after it must be of use. */
            if (s->kind == SLM_NFA_CALL &&
                (!useful[nfa->rules[s->b]] || s->a == SLM_NFA_NONE || !useful[s->a]))
                continue;
            useful[from[k]] = 1;
            todo[n_todo++] = from[k];
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct slm_nfa_state *s = &nfa->states[i];
        if (!useful[i]) *s = (struct slm_nfa_state){.kind = SLM_NFA_SPLIT, .a = SLM_NFA_NONE, .b = SLM_NFA_NONE};
        if (s->kind != SLM_NFA_SPLIT) continue;
        if (s->a != SLM_NFA_NONE && !useful[s->a]) s->a = SLM_NFA_NONE;
        if (s->b != SLM_NFA_NONE && !useful[s->b]) s->b = SLM_NFA_NONE;
    }
    if (!useful[nfa->rules[root]])
        slm_nfa_fail(nfa, SLM_ERR_ARGUMENT, "nothing can satisfy it: no text would be allowed");
out:
    slm_release(first);
    slm_release(from);
    slm_release(todo);
    slm_release(useful);
}

/* Past forks with one way, to what eats, calls, ends or really forks. Beyond some hops it stops, which is as right and
 * only slower. */
static uint32_t past_forks(const struct slm_nfa *nfa, uint32_t at)
{
    for (int hops = 0; hops < 64 && at != SLM_NFA_NONE && nfa->states[at].kind == SLM_NFA_SPLIT; hops++) {
        const struct slm_nfa_state *s = &nfa->states[at];
        if (s->a != SLM_NFA_NONE && s->b != SLM_NFA_NONE) break;
        at = s->a != SLM_NFA_NONE ? s->a : s->b;
    }
    return at;
}

/* Fragments are joined by forks with one way; here they are gone past once, and not by every text. */
static void shorten(struct slm_nfa *nfa)
{
    for (size_t i = 0; i < nfa->n_states; i++) {
        struct slm_nfa_state *s = &nfa->states[i];
        s->a = past_forks(nfa, s->a);
        if (s->kind == SLM_NFA_SPLIT) s->b = past_forks(nfa, s->b);
    }
    for (size_t r = 0; r < nfa->n_rules; r++) nfa->rules[r] = past_forks(nfa, nfa->rules[r]);
}

/* Undefined rules first, for what follows goes through all of them. */
slm_status slm_nfa_finish(struct slm_nfa *nfa, uint32_t root, const char *(*name)(const void *user, uint32_t rule),
                          const void *user)
{
    if (nfa->failed != SLM_OK) return nfa->failed;
    SLM_ASSERT(root < nfa->n_rules);
    struct starts s = {.nfa = nfa};
    s.nullable = slm_alloc(nfa->n_rules, 1, "grammar", nfa->error);
    s.colour = slm_alloc(nfa->n_rules, 1, "grammar", nfa->error);
    s.seen = slm_alloc(nfa->n_states, sizeof *s.seen, "grammar", nfa->error);
    s.todo = slm_alloc(2 * nfa->n_states + 2, sizeof *s.todo, "grammar", nfa->error);
    s.path = slm_alloc(nfa->n_rules + 1, sizeof *s.path, "grammar", nfa->error);
    if (!s.nullable || !s.colour || !s.seen || !s.todo || !s.path) nfa->failed = SLM_ERR_MEMORY;
    for (uint32_t r = 0; r < nfa->n_rules && nfa->failed == SLM_OK; r++)
        if (nfa->rules[r] == SLM_NFA_NONE)
            slm_nfa_fail(nfa, SLM_ERR_FORMAT, "rule '%s' is not defined", name ? name(user, r) : "?");
    if (nfa->failed == SLM_OK) find_nullable(&s);
    for (uint32_t r = 0; r < nfa->n_rules && nfa->failed == SLM_OK; r++) {
        const uint32_t on_cycle = find_cycle(&s, r);
        if (on_cycle != SLM_NFA_NONE)
            slm_nfa_fail(nfa, SLM_ERR_UNSUPPORTED,
                         "'%s' begins with itself (left recursion): write what is repeated behind what is fixed",
                         name ? name(user, on_cycle) : "?");
    }
    if (nfa->failed == SLM_OK) prune(nfa, root);
    if (nfa->failed == SLM_OK) shorten(nfa);
    slm_release(s.nullable);
    slm_release(s.colour);
    slm_release(s.seen);
    slm_release(s.todo);
    slm_release(s.path);
    slm_release(s.calls);
    return nfa->failed;
}
