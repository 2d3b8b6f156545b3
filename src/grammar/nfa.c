/* SPDX-License-Identifier: MIT
 * The builder of automata: Thompson's construction, with characters cut into UTF-8 and counted repetitions by copying.
 * States are the unit of every limit: what would need more of them is refused while it is built, so time and memory of
 * compiling stay bounded whatever the source says ({1,1000}{1,1000}).
 *
 * Deliberately not here: determinising (machine.c does it for what is met, as it is met), and removing empty moves. */
#include "grammar/nfa.h"
#include "base/os.h"
#include "base/utf8.h"

#define MAX_CODE_POINT 0x10FFFFu

/* Only the first failure is told: those after it follow from it. */
slm_status slm_nfa_fail(struct slm_nfa *nfa, slm_status status, const char *format, ...)
{
    if (nfa->failed != SLM_OK) return nfa->failed;
    char message[sizeof((struct slm_error *)0)->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return nfa->failed = slm_fail(nfa->error, status, nfa->where ? nfa->where : "grammar", "%s", message);
}

void slm_nfa_release(struct slm_nfa *nfa)
{
    slm_release(nfa->states);
    slm_release(nfa->rules);
    slm_release(nfa->runs);
    *nfa = (struct slm_nfa){0};
}

/* Room for one more of an array that doubles. */
static bool grow(struct slm_nfa *nfa, void **array, size_t n, size_t *cap, size_t size, size_t most, const char *what)
{
    if (nfa->failed != SLM_OK) return false;
    if (n < *cap) return true;
    if (n >= most) {
        slm_nfa_fail(nfa, SLM_ERR_LIMIT, "needs more than %zu %s: shorten its repetitions", most, what);
        return false;
    }
    const size_t wanted = *cap ? 2 * *cap : 256;
    void *bigger = slm_realloc(*array, wanted, size, "grammar", nfa->error);
    if (!bigger) {
        nfa->failed = SLM_ERR_MEMORY;
        return false;
    }
    *array = bigger;
    *cap = wanted;
    return true;
}

/* Returns 0 after a failure: any index is as good then, for nobody follows it. */
static uint32_t add(struct slm_nfa *nfa, struct slm_nfa_state state)
{
    void *array = nfa->states;
    if (!grow(nfa, &array, nfa->n_states, &nfa->cap_states, sizeof state, SLM_NFA_MAX_STATES, "states")) return 0;
    nfa->states = array;
    nfa->states[nfa->n_states] = state;
    return (uint32_t)nfa->n_states++;
}

/* A state that eats nothing. NONE leads nowhere. */
uint32_t slm_nfa_fork(struct slm_nfa *nfa, uint32_t a, uint32_t b)
{
    return add(nfa, (struct slm_nfa_state){.kind = SLM_NFA_SPLIT, .a = a, .b = b});
}

/* Every fragment ends in a SPLIT that leads nowhere; this gives it its way. */
void slm_nfa_lead(struct slm_nfa *nfa, uint32_t from, uint32_t to)
{
    if (nfa->failed == SLM_OK) nfa->states[from].a = to;
}

uint32_t slm_nfa_rule(struct slm_nfa *nfa)
{
    void *array = nfa->rules;
    if (!grow(nfa, &array, nfa->n_rules, &nfa->cap_rules, sizeof *nfa->rules, SLM_NFA_MAX_RULES, "rules")) return 0;
    nfa->rules = array;
    nfa->rules[nfa->n_rules] = SLM_NFA_NONE;
    return (uint32_t)nfa->n_rules++;
}

/* The body's way out becomes the end of the rule. */
void slm_nfa_define(struct slm_nfa *nfa, uint32_t rule, struct slm_frag body)
{
    const struct slm_nfa_state end = {.kind = SLM_NFA_END, .a = SLM_NFA_NONE, .b = SLM_NFA_NONE};
    slm_nfa_lead(nfa, body.out, add(nfa, end));
    if (nfa->failed == SLM_OK) nfa->rules[rule] = body.in;
}

/* ---- simple fragments ------------------------------------------------------------------------------------------ */

static uint32_t here(const struct slm_nfa *nfa) { return (uint32_t)nfa->n_states; }

/* One state that is way in and way out. */
struct slm_frag slm_frag_empty(struct slm_nfa *nfa)
{
    const uint32_t at = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    return (struct slm_frag){at, at, at};
}

/* Two states that nothing connects. */
struct slm_frag slm_frag_never(struct slm_nfa *nfa)
{
    const uint32_t in = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    return (struct slm_frag){in, in, slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE)};
}

/* The way out comes first: the eater names it. */
struct slm_frag slm_frag_byte(struct slm_nfa *nfa, uint8_t lo, uint8_t hi)
{
    const uint32_t out = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    const struct slm_nfa_state eat = {.kind = SLM_NFA_RANGE, .lo = lo, .hi = hi, .a = out, .b = SLM_NFA_NONE};
    return (struct slm_frag){out, add(nfa, eat), out};
}

struct slm_frag slm_frag_bytes(struct slm_nfa *nfa, struct slm_str bytes)
{
    struct slm_frag f = slm_frag_empty(nfa);
    for (size_t i = 0; i < bytes.len && nfa->failed == SLM_OK; i++) {
        const uint8_t byte = (uint8_t)bytes.ptr[i];
        /* The state behind the last byte becomes the eater of the next: one state for each. */
        const uint32_t out = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
        if (nfa->failed != SLM_OK) break;
        nfa->states[f.out] = (struct slm_nfa_state){.kind = SLM_NFA_RANGE, .lo = byte, .hi = byte, .a = out,
                                                    .b = SLM_NFA_NONE};
        f.out = out;
    }
    return f;
}

struct slm_frag slm_frag_text(struct slm_nfa *nfa, const char *text) { return slm_frag_bytes(nfa, slm_str(text)); }

struct slm_frag slm_frag_call(struct slm_nfa *nfa, uint32_t rule)
{
    const uint32_t out = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    const struct slm_nfa_state call = {.kind = SLM_NFA_CALL, .a = out, .b = rule};
    return (struct slm_frag){out, add(nfa, call), out};
}

/* Nothing in between: special tokens have a spelling that no text has. */
struct slm_frag slm_frag_mark(struct slm_nfa *nfa, struct slm_str text)
{
    struct slm_frag special = slm_frag_text(nfa, SLM_NFA_SPECIAL);
    special = slm_frag_cat(nfa, special, slm_frag_spelled(nfa, text, SLM_SPELL_PLAIN));
    special = slm_frag_cat(nfa, special, slm_frag_text(nfa, SLM_NFA_SPECIAL));
    return slm_frag_or(nfa, special, slm_frag_spelled(nfa, text, SLM_SPELL_PLAIN));
}

/* The second was made right after the first, so the whole is a run of neighbours again. */
struct slm_frag slm_frag_cat(struct slm_nfa *nfa, struct slm_frag a, struct slm_frag b)
{
    slm_nfa_lead(nfa, a.out, b.in);
    return (struct slm_frag){a.begin, a.in, b.out};
}

/* A fork before both, a meeting point behind. */
struct slm_frag slm_frag_or(struct slm_nfa *nfa, struct slm_frag a, struct slm_frag b)
{
    const uint32_t in = slm_nfa_fork(nfa, a.in, b.in);
    const uint32_t out = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    slm_nfa_lead(nfa, a.out, out);
    slm_nfa_lead(nfa, b.out, out);
    return (struct slm_frag){a.begin, in, out};
}

/* A fork that may go past it. */
struct slm_frag slm_frag_opt(struct slm_nfa *nfa, struct slm_frag a)
{
    const uint32_t out = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    slm_nfa_lead(nfa, a.out, out);
    return (struct slm_frag){a.begin, slm_nfa_fork(nfa, a.in, out), out};
}

/* The fork is the way in and the way back at once. */
struct slm_frag slm_frag_star(struct slm_nfa *nfa, struct slm_frag a)
{
    const uint32_t out = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    const uint32_t loop = slm_nfa_fork(nfa, a.in, out);
    slm_nfa_lead(nfa, a.out, loop);
    return (struct slm_frag){a.begin, loop, out};
}

/* ---- repetition ------------------------------------------------------------------------------------------------ */

/* The states [from, from + n) once more, at the end; what leads outside of them leads there still. */
static void copy_states(struct slm_nfa *nfa, uint32_t from, uint32_t n)
{
    const uint32_t shift = here(nfa) - from;
    for (uint32_t i = 0; i < n && nfa->failed == SLM_OK; i++) {
        struct slm_nfa_state s = nfa->states[from + i];
        if (s.a != SLM_NFA_NONE && s.a - from < n) s.a += shift;
        if (s.kind == SLM_NFA_SPLIT && s.b != SLM_NFA_NONE && s.b - from < n) s.b += shift;
        add(nfa, s);
    }
}

/* Can the fragment be gone through without eating? (A call may well be empty.) Walks its empty moves. */
static bool may_be_empty(struct slm_nfa *nfa, struct slm_frag a)
{
    const uint32_t n = here(nfa) - a.begin;
    uint32_t *todo = slm_alloc(2 * (size_t)n + 2, sizeof *todo, "grammar", nfa->error);
    uint8_t *seen = slm_alloc(n, 1, "grammar", nfa->error);
    size_t n_todo = 0;
    bool empty = false;
    if (!todo || !seen) nfa->failed = SLM_ERR_MEMORY;
    else todo[n_todo++] = a.in;
    while (n_todo > 0 && !empty) {
        const uint32_t at = todo[--n_todo];
        if (at == SLM_NFA_NONE || at - a.begin >= n || seen[at - a.begin]) continue;
        seen[at - a.begin] = 1;
        const struct slm_nfa_state *s = &nfa->states[at];
        empty = at == a.out;
        if (s->kind == SLM_NFA_RANGE) continue;
        todo[n_todo++] = s->a;
        if (s->kind == SLM_NFA_SPLIT) todo[n_todo++] = s->b;
    }
    slm_release(todo);
    slm_release(seen);
    return empty;
}

/* What is copied later has no such runs: the copies' states are elsewhere. */
void slm_nfa_alike(struct slm_nfa *nfa, struct slm_nfa_run run)
{
    void *array = nfa->runs;
    if (run.n < 2 || run.ahead < SLM_NFA_SHORT_PIECE + 2) return;
    if (!grow(nfa, &array, nfa->n_runs, &nfa->cap_runs, sizeof *nfa->runs, SLM_NFA_MAX_STATES, "repetitions")) return;
    nfa->runs = array;
    nfa->runs[nfa->n_runs++] = run;
}

/* With the repetitions among them. */
void slm_nfa_drop(struct slm_nfa *nfa, uint32_t begin)
{
    if (nfa->failed != SLM_OK) return;
    nfa->n_states = begin;
    while (nfa->n_runs > 0 && nfa->runs[nfa->n_runs - 1].begin >= begin) nfa->n_runs--;
}

/* Repetitions inside of it are no longer worth telling apart: their states are of the first copy alone. Unless there
 * are so few copies that long tokens always tell them apart. */
static void note_run(struct slm_nfa *nfa, uint32_t begin, uint32_t stride, uint32_t n)
{
    const bool inside = nfa->n_runs > 0 && nfa->runs[nfa->n_runs - 1].begin >= begin;
    if (n < (inside ? SLM_NFA_MAX_PIECE : SLM_NFA_SHORT_PIECE) + 2) return;
    while (nfa->n_runs > 0 && nfa->runs[nfa->n_runs - 1].begin >= begin) nfa->n_runs--;
    slm_nfa_alike(nfa, (struct slm_nfa_run){begin, stride, n, n});
}

/* min copies that must be gone through, then copies that can be left at their gates; an endless one goes back to the
 * gate of the last. */
struct slm_frag slm_frag_repeat(struct slm_nfa *nfa, struct slm_frag a, uint32_t min, uint32_t max)
{
    if (nfa->failed != SLM_OK) return a;
    if (max == 0) { /* its states stay behind, unreachable */
        struct slm_frag f = slm_frag_empty(nfa);
        f.begin = a.begin;
        return f;
    }
    if (max == SLM_NFA_NONE && min == 0) return slm_frag_star(nfa, a);
    const bool nullable = may_be_empty(nfa, a);
    if (nullable && min > 1) min = max == SLM_NFA_NONE ? 1 : min; /* x{3,} of what may be empty is x{1,} */
    /* Each copy: a way around the rest of all, the fragment, and for the last of an endless one a way back. */
    const uint32_t stride = here(nfa) - a.begin + 1, n = max == SLM_NFA_NONE ? min : max;
    if ((uint64_t)stride * n > SLM_NFA_MAX_STATES) {
        slm_nfa_fail(nfa, SLM_ERR_LIMIT, "needs more than %u states: shorten its repetitions", SLM_NFA_MAX_STATES);
        return a;
    }
    /* The gate lies behind the fragment, so both are copied together. */
    const uint32_t gate = slm_nfa_fork(nfa, a.in, SLM_NFA_NONE);
    for (uint32_t i = 1; i < n; i++) copy_states(nfa, a.begin, stride);
    const uint32_t out = slm_nfa_fork(nfa, SLM_NFA_NONE, SLM_NFA_NONE);
    if (nfa->failed != SLM_OK) return a;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t shift = i * stride;
        nfa->states[gate + shift].b = i >= min ? out : SLM_NFA_NONE;
        slm_nfa_lead(nfa, a.out + shift, i + 1 < n ? gate + shift + stride : out);
    }
    if (max == SLM_NFA_NONE) nfa->states[out].b = gate + (n - 1) * stride;
    if (!nullable && max != SLM_NFA_NONE) {
        note_run(nfa, a.begin, stride, min);
        note_run(nfa, a.begin + min * stride, stride, max - min);
    } else if (!nullable) {
        note_run(nfa, a.begin, stride, min);
    }
    return (struct slm_frag){a.begin, gate, out};
}

/* ---- characters ------------------------------------------------------------------------------------------------ */

size_t slm_ranges_merge(struct slm_range *ranges, size_t n)
{
    size_t kept = 0;
    for (size_t i = 1; i < n; i++) { /* sets are written by hand: short, or nearly in order */
        const struct slm_range r = ranges[i];
        size_t k = i;
        for (; k > 0 && ranges[k - 1].lo > r.lo; k--) ranges[k] = ranges[k - 1];
        ranges[k] = r;
    }
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && ranges[i].lo <= ranges[kept - 1].hi + 1) {
            if (ranges[i].hi > ranges[kept - 1].hi) ranges[kept - 1].hi = ranges[i].hi;
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

/* The gaps between merged ranges. */
size_t slm_ranges_negate(const struct slm_range *ranges, size_t n, struct slm_range *out)
{
    uint32_t next = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].lo > next) out[kept++] = (struct slm_range){next, ranges[i].lo - 1};
        next = ranges[i].hi + 1;
    }
    if (next <= MAX_CODE_POINT) out[kept++] = (struct slm_range){next, MAX_CODE_POINT};
    return kept;
}

/* Adds `more` as a further alternative. */
static void alternative(struct slm_nfa *nfa, struct slm_frag *all, bool *any, struct slm_frag more)
{
    *all = *any ? slm_frag_or(nfa, *all, more) : more;
    *any = true;
}

/* Characters lo to hi whose encodings have the same length and differ in such a way that every combination of the
 * bytes' ranges is one of them. */
static struct slm_frag utf8_block(struct slm_nfa *nfa, uint32_t lo, uint32_t hi)
{
    char first[4], last[4];
    const int n = slm_utf8_encode(lo, first);
    slm_utf8_encode(hi, last);
    struct slm_frag f = slm_frag_byte(nfa, (uint8_t)first[0], (uint8_t)last[0]);
    for (int i = 1; i < n; i++) f = slm_frag_cat(nfa, f, slm_frag_byte(nfa, (uint8_t)first[i], (uint8_t)last[i]));
    return f;
}

/* Cuts [lo, hi] into such blocks: at the lengths, at the surrogates, and where a byte's last value is followed by
 * others. */
static void utf8_range(struct slm_nfa *nfa, uint32_t lo, uint32_t hi, struct slm_frag *all, bool *any)
{
    static const uint32_t ends[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF, MAX_CODE_POINT};
    while (lo <= hi && nfa->failed == SLM_OK) {
        uint32_t last = hi;
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (lo <= ends[i] && last > ends[i]) last = ends[i];
        if (lo >= 0xD800 && lo <= 0xDFFF) {
            lo = last + 1;
            continue;
        }
        for (unsigned bits = 6; bits <= 18 && lo > 0x7F; bits += 6) {
            const uint32_t mask = (UINT32_C(1) << bits) - 1;
            if ((lo & ~mask) == (last & ~mask)) break; /* they differ within these bits only */
            if (lo & mask) last = lo | mask;
            else if ((last & mask) != mask) last = (last & ~mask) - 1;
        }
        alternative(nfa, all, any, utf8_block(nfa, lo, last));
        lo = last + 1;
    }
}

/* How JSON spells what cannot stand in a string as it is. */
static void escaped(struct slm_nfa *nfa, uint32_t c, struct slm_frag *all, bool *any)
{
    static const char short_names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char text[8];
    snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    for (size_t i = 0; i + 1 < sizeof short_names; i += 2)
        if ((uint32_t)(unsigned char)short_names[i] == c) snprintf(text, sizeof text, "\\%c", short_names[i + 1]);
    alternative(nfa, all, any, slm_frag_text(nfa, text));
}

/* JSON's escapes concern characters up to the backslash; beyond it both spellings are the same. */
struct slm_frag slm_frag_chars(struct slm_nfa *nfa, const struct slm_range *ranges, size_t n,
                               enum slm_spelling spelling)
{
    const uint32_t begin = here(nfa);
    struct slm_frag all = {0};
    bool any = false;
    for (size_t i = 0; i < n && nfa->failed == SLM_OK; i++) {
        uint32_t lo = ranges[i].lo;
        const uint32_t hi = ranges[i].hi < MAX_CODE_POINT ? ranges[i].hi : MAX_CODE_POINT;
        while (spelling == SLM_SPELL_JSON && lo <= hi && lo <= '\\') {
            if (lo < 0x20 || lo == '"' || lo == '\\') {
                escaped(nfa, lo++, &all, &any);
                continue;
            }
            const uint32_t stop = lo < '"' ? '"' - 1 : '\\' - 1;
            utf8_range(nfa, lo, hi < stop ? hi : stop, &all, &any);
            lo = stop + 1;
        }
        if (lo <= hi) utf8_range(nfa, lo, hi, &all, &any);
    }
    if (!any) all = slm_frag_never(nfa);
    all.begin = begin;
    return all;
}

/* Character by character, so that what must be escaped is. */
struct slm_frag slm_frag_spelled(struct slm_nfa *nfa, struct slm_str text, enum slm_spelling spelling)
{
    struct slm_frag f = slm_frag_empty(nfa);
    for (size_t at = 0; at < text.len && nfa->failed == SLM_OK;) {
        uint32_t c;
        const int n = slm_utf8_decode(text.ptr + at, text.len - at, &c);
        if (n <= 0) {
            slm_nfa_fail(nfa, SLM_ERR_FORMAT, "byte %zu is no UTF-8", at);
            break;
        }
        const bool plain = spelling == SLM_SPELL_PLAIN || (c >= 0x20 && c != '"' && c != '\\');
        const struct slm_range one = {c, c};
        f = slm_frag_cat(nfa, f, plain ? slm_frag_bytes(nfa, (struct slm_str){text.ptr + at, (size_t)n})
                                       : slm_frag_chars(nfa, &one, 1, spelling));
        at += (size_t)n;
    }
    return f;
}
