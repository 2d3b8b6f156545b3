/* SPDX-License-Identifier: MIT
 * Grammars and the states of texts under them. A grammar may be used by many threads: what it remembers grows under its
 * lock, and a state holds no more than the number of its configuration. When too much is remembered everything is
 * forgotten but the configurations of the open states, which are carried over: so memory is bounded, and no answer
 * depends on what was forgotten. Nothing is allocated where a text goes ways that texts went before.
 *
 * Deliberately not here: sampling (engine/sampler.c), models (engine/grammar.c). */
#include "grammar/grammar.h"
#include "base/lock.h"
#include "format/json.h"
#include "grammar/mask.h"
#include "grammar/parse.h"
#include "grammar/schema.h"

/* Tables and masks of one grammar. A mask over 150,000 tokens is 19 KB, and a schema has a few hundred at most. */
enum { FORGET_BYTES = 48 << 20 };

struct slm_grammar {
    const struct slm_vocab *vocab;
    struct slm_nfa nfa;
    uint32_t root;
    struct slm_lock lock;
    struct slm_machine machine;
    struct slm_mask mask;
    struct slm_grammar_state *states; /* the open ones */
};

struct slm_grammar_state {
    struct slm_grammar *grammar;
    struct slm_grammar_state *next, *previous;
    uint32_t config;
};

/* ---- compiling ------------------------------------------------------------------------------------------------- */

/* Rules of these kinds have no names; there is one. */
static const char *no_name(const void *user, uint32_t rule)
{
    (void)user;
    (void)rule;
    return "root";
}

/* A JSON array of texts. */
static struct slm_frag parse_choice(struct slm_nfa *nfa, struct slm_str text)
{
    struct slm_json json;
    struct slm_buf buf = {0};
    struct slm_frag all = slm_frag_empty(nfa);
    size_t n = 0;
    slm_json_init(&json, text, "choice", nfa->error);
    enum slm_json_event event = slm_json_next(&json);
    if (event != SLM_JSON_ARRAY && event != SLM_JSON_ERROR)
        slm_nfa_fail(nfa, SLM_ERR_FORMAT, "the choice is a JSON array of texts");
    while (nfa->failed == SLM_OK && (event = slm_json_next(&json)) != SLM_JSON_ARRAY_END) {
        slm_buf_clear(&buf);
        if (event == SLM_JSON_ERROR || (event == SLM_JSON_STRING && !slm_json_read_text(&json, &buf))) break;
        if (event != SLM_JSON_STRING) {
            slm_nfa_fail(nfa, SLM_ERR_FORMAT, "element %zu of the choice is no text", n);
            break;
        }
        const struct slm_frag one = slm_frag_spelled(nfa, (struct slm_str){buf.data, buf.len}, SLM_SPELL_PLAIN);
        all = n++ ? slm_frag_or(nfa, all, one) : one;
    }
    if (nfa->failed == SLM_OK && (event != SLM_JSON_ARRAY_END || slm_json_next(&json) != SLM_JSON_END))
        nfa->failed = SLM_ERR_FORMAT; /* the reader said why */
    slm_buf_release(&buf);
    if (n == 0) slm_nfa_fail(nfa, SLM_ERR_ARGUMENT, "a choice has one text at least");
    return all;
}

/* Each kind is a reader that builds fragments; what follows is the same for all. */
slm_status slm_grammar_compile(struct slm_nfa *nfa, enum slm_grammar_kind kind, struct slm_str text, uint32_t *root)
{
    if (kind == SLM_GRAMMAR_GBNF) return slm_gbnf_parse(nfa, text, root);
    if (kind == SLM_GRAMMAR_JSON_SCHEMA) return slm_schema_parse(nfa, text, NULL, root);
    if (kind == SLM_GRAMMAR_JSON_OBJECT) return slm_schema_parse(nfa, slm_str("{\"type\":\"object\"}"), NULL, root);
    if (kind != SLM_GRAMMAR_REGEX && kind != SLM_GRAMMAR_CHOICE)
        return slm_nfa_fail(nfa, SLM_ERR_ARGUMENT, "%d is no kind of grammar", (int)kind);
    *root = slm_nfa_rule(nfa);
    slm_nfa_define(nfa, *root, kind == SLM_GRAMMAR_REGEX ? slm_regex_parse(nfa, text, false, SLM_SPELL_PLAIN)
                                                         : parse_choice(nfa, text));
    return slm_nfa_finish(nfa, *root, no_name, NULL);
}

/* The automaton moves into the grammar; its reporter does not, for compiling is over. */
slm_status slm_grammar_of_nfa(const struct slm_vocab *vocab, struct slm_nfa *nfa, uint32_t root,
                              struct slm_grammar **out, struct slm_error *error)
{
    struct slm_grammar *g = slm_alloc(1, sizeof *g, "grammar", error);
    slm_status status = SLM_ERR_MEMORY;
    if (!g) {
        slm_nfa_release(nfa);
        return SLM_ERR_MEMORY;
    }
    g->vocab = vocab;
    /* Moved, not copied. */
    g->nfa = *nfa;
    g->nfa.error = NULL;
    g->root = root;
    if ((status = slm_machine_open(&g->machine, &g->nfa, error)) == SLM_OK)
        status = slm_mask_open(&g->mask, vocab, error);
    if (status == SLM_OK) *out = g;
    else slm_grammar_close(g);
    return status;
}

/* Compiling knows nothing of the vocabulary; running needs both. */
slm_status slm_grammar_new(const struct slm_vocab *vocab, enum slm_grammar_kind kind, struct slm_str text,
                           struct slm_grammar **out, struct slm_error *error)
{
    struct slm_nfa nfa = {.error = error};
    uint32_t root = 0;
    const slm_status status = slm_grammar_compile(&nfa, kind, text, &root);
    if (status == SLM_OK) return slm_grammar_of_nfa(vocab, &nfa, root, out, error);
    slm_nfa_release(&nfa);
    return status;
}

/* The same way for a schema inside of other text; a frame belongs to no
 * kind of the public side. */
slm_status slm_grammar_new_framed(const struct slm_vocab *vocab, const struct slm_grammar_frame *frame,
                                  struct slm_str schema, struct slm_grammar **out, struct slm_error *error)
{
    struct slm_nfa nfa = {.error = error};
    uint32_t root = 0;
    const slm_status status = slm_schema_parse(&nfa, schema, frame, &root);
    if (status == SLM_OK) return slm_grammar_of_nfa(vocab, &nfa, root, out, error);
    slm_nfa_release(&nfa);
    return status;
}

void slm_grammar_close(struct slm_grammar *g)
{
    if (!g) return;
    SLM_ASSERT(!g->states);
    slm_machine_release(&g->machine);
    slm_mask_release(&g->mask);
    slm_nfa_release(&g->nfa);
    slm_release(g);
}

size_t slm_grammar_bytes(const struct slm_grammar *g) { return g->machine.bytes + g->mask.bytes; }

/* ---- states ---------------------------------------------------------------------------------------------------- */

/* What failed was one question; the tables behind it stay whole, since answers are entered when they are complete. */
static slm_status explain(struct slm_grammar *g, slm_status status, struct slm_error *error)
{
    g->machine.failed = SLM_OK; /* what was asked failed, what is remembered is whole */
    if (status == SLM_ERR_LIMIT)
        return slm_fail(error, status, "grammar", "it can be read in too many ways at once: make it less ambiguous");
    return slm_fail(error, status, "grammar", "out of memory");
}

/* Forgets all but what the open states need, when it is time. */
static slm_status forget(struct slm_grammar *g, struct slm_error *error)
{
    struct slm_machine fresh;
    if (slm_grammar_bytes(g) < FORGET_BYTES) return SLM_OK;
    /* Into new tables, from the old ones: both exist for a moment. */
    SLM_TRY(slm_machine_open(&fresh, &g->nfa, error));
    for (struct slm_grammar_state *s = g->states; s; s = s->next) {
        const uint32_t config = slm_machine_import(&fresh, &g->machine, s->config);
        if (fresh.failed != SLM_OK) {
            slm_machine_release(&fresh);
            return explain(g, SLM_ERR_MEMORY, error);
        }
        s->config = config;
    }
    slm_machine_release(&g->machine);
    g->machine = fresh;
    slm_mask_release(&g->mask);
    return slm_mask_open(&g->mask, g->vocab, error);
}

/* States are on a list so that forgetting can carry them over. */
slm_status slm_grammar_state_open(const struct slm_grammar *grammar, struct slm_grammar_state **out,
                                  struct slm_error *error)
{
    struct slm_grammar *g = (struct slm_grammar *)(uintptr_t)grammar; /* what it remembers is under its lock */
    struct slm_grammar_state *s = slm_alloc(1, sizeof *s, "grammar", error);
    if (!s) return SLM_ERR_MEMORY;
    s->grammar = g;
    slm_lock_take(&g->lock);
    s->config = slm_machine_start(&g->machine, g->root);
    slm_status status = g->machine.failed;
    if (status != SLM_OK) explain(g, status, error);
    else {
        s->next = g->states;
        if (s->next) s->next->previous = s;
        g->states = s;
    }
    slm_lock_give(&g->lock);
    if (status == SLM_OK) *out = s;
    else slm_release(s);
    return status;
}

/* Off the list; what was remembered stays for other texts. */
void slm_grammar_state_close(struct slm_grammar_state *s)
{
    if (!s) return;
    slm_lock_take(&s->grammar->lock);
    if (s->next) s->next->previous = s->previous;
    if (s->previous) s->previous->next = s->next;
    else s->grammar->states = s->next;
    slm_lock_give(&s->grammar->lock);
    slm_release(s);
}

/* Under the lock: forgetting renames configurations. */
void slm_grammar_state_copy(struct slm_grammar_state *to, const struct slm_grammar_state *from)
{
    SLM_ASSERT(to->grammar == from->grammar);
    slm_lock_take(&to->grammar->lock);
    to->config = from->config;
    slm_lock_give(&to->grammar->lock);
}

/* All of the bytes or none. *n_taken tells how far it went. */
static slm_status take_bytes(struct slm_grammar_state *s, struct slm_str bytes, size_t *n_taken,
                             struct slm_error *error)
{
    struct slm_grammar *g = s->grammar;
    struct slm_machine *m = &g->machine;
    *n_taken = 0;
    SLM_TRY(forget(g, error));
    uint32_t config = s->config;
    while (*n_taken < bytes.len) {
        config = slm_machine_step(m, config, (uint8_t)bytes.ptr[*n_taken]);
        if (m->failed != SLM_OK) return explain(g, m->failed, error);
        if (config == SLM_CONFIG_DEAD)
            return slm_fail(error, SLM_ERR_ARGUMENT, "grammar", "it does not allow this text here (byte %zu of it)",
                            *n_taken);
        ++*n_taken;
    }
    s->config = config;
    return SLM_OK;
}

/* A token that ends a generation has no text here; it is the end of the text, after which nothing may follow. */
slm_status slm_grammar_accept(struct slm_grammar_state *s, int32_t id, struct slm_error *error)
{
    const struct slm_vocab *v = s->grammar->vocab;
    size_t taken;
    slm_status status = SLM_OK;
    if (id < 0 || (size_t)id >= v->n_vocab)
        return slm_fail(error, SLM_ERR_ARGUMENT, "grammar", "token id %d is not in the vocabulary (0 to %zu)", id,
                        v->n_vocab ? v->n_vocab - 1 : 0);
    slm_lock_take(&s->grammar->lock);
    const struct slm_str text = slm_vocab_text(v, id);
    if (slm_vocab_ends(v, id)) {
        if (s->grammar->machine.configs[s->config].complete) s->config = SLM_CONFIG_DEAD;
        else status = slm_fail(error, SLM_ERR_ARGUMENT, "grammar", "token %d ends a text that is not complete", id);
    } else if (text.len == 0) {
        status = slm_fail(error, SLM_ERR_ARGUMENT, "grammar", "token %d has no text, so it is not allowed", id);
    } else {
        status = take_bytes(s, text, &taken, error);
    }
    slm_lock_give(&s->grammar->lock);
    return status;
}

/* For text that came from elsewhere: the rest of a token behind a mark. */
slm_status slm_grammar_accept_text(struct slm_grammar_state *s, const char *text, size_t n_bytes,
                                   struct slm_error *error)
{
    size_t taken;
    slm_lock_take(&s->grammar->lock);
    const slm_status status = take_bytes(s, (struct slm_str){text, n_bytes}, &taken, error);
    slm_lock_give(&s->grammar->lock);
    return status;
}

/* Filling may add to what is remembered, so it is under the lock; looking at the result is not. */
slm_status slm_grammar_mask(struct slm_grammar_state *s, uint64_t *bits, struct slm_error *error)
{
    struct slm_grammar *g = s->grammar;
    slm_lock_take(&g->lock);
    slm_status status = forget(g, error);
    if (status == SLM_OK && (status = slm_mask_fill(&g->mask, &g->machine, s->config, bits)) != SLM_OK)
        explain(g, status, error);
    slm_lock_give(&g->lock);
    if (status != SLM_OK) return status;
    /* The grammar itself never leads into a dead end (nfa_check.c); a vocabulary without some byte, or a call that is
     * nested too deep, can. */
    uint64_t any = 0;
    for (size_t i = 0; i < g->vocab->n_words; i++) any |= bits[i];
    return any ? SLM_OK
               : slm_fail(error, SLM_ERR_DEAD_END, "grammar", "no token of the vocabulary goes on from here");
}

bool slm_grammar_is_complete(const struct slm_grammar_state *s)
{
    slm_lock_take(&s->grammar->lock);
    const bool complete = s->grammar->machine.configs[s->config].complete;
    slm_lock_give(&s->grammar->lock);
    return complete;
}

/* No state is left that could eat: complete, or ended by a token. */
bool slm_grammar_is_final(const struct slm_grammar_state *s)
{
    slm_lock_take(&s->grammar->lock);
    const bool final = s->grammar->machine.configs[s->config].n_groups == 0;
    slm_lock_give(&s->grammar->lock);
    return final;
}
