/* SPDX-License-Identifier: MIT
 * Arrays and objects of one conjunction of schemas.
 *
 * Keys come in the order in which the schema lists them, required ones that it does not describe last; optional ones may
 * be left out, and a key is written in one way only. What a schema leaves open without saying so (no
 * additionalProperties, elements behind prefixItems without items) is not used where it describes anything: every text
 * satisfies the schema, though not every value can be written. Where it describes nothing, anything may come. Where it
 * says additionalProperties or patternProperties, such keys follow the described ones and differ from them.
 *
 * Deliberately not here: what has to be searched for, such as minProperties among optional keys: refused. */
#include "base/utf8.h"
#include "grammar/schema.h"

#define NONE SLM_NFA_NONE
enum { MAX_KEYS = 4096 };

static struct slm_frag then(struct slm_schema *s, struct slm_frag a, struct slm_frag b)
{
    return slm_frag_cat(s->nfa, a, b);
}

/* A text, then white space. */
static struct slm_frag text_ws(struct slm_schema *s, const char *text)
{
    const struct slm_frag f = slm_frag_text(s->nfa, text);
    return then(s, f, slm_frag_call(s->nfa, s->ws));
}

/* ---- arrays ---------------------------------------------------------------------------------------------------- */

/* What is asked of element i; of those behind all prefixes, where i is NONE. *said: some part says something. */
static void element(struct slm_schema *s, const struct slm_conj *conj, uint32_t i, struct slm_conj *out, bool *said)
{
    out->n = 0;
    out->never = false;
    *said = false;
    for (size_t k = 0; k < conj->n; k++) {
        const struct slm_dom *prefix = slm_dom_get(conj->parts[k].node, "prefixItems");
        const struct slm_dom *items = slm_dom_get(conj->parts[k].node, "items"), *schema = items;
        if (items && items->kind == SLM_DOM_ARRAY)
            slm_schema_fail(s, items, SLM_ERR_UNSUPPORTED, "a list of schemas is called prefixItems since 2020-12");
        if (prefix && i != NONE && i < prefix->n)
            for (schema = prefix->first; schema->index < i;) schema = schema->next;
        *said |= schema != NULL;
        if (schema) slm_conj_add(s, out, schema);
    }
}

static uint32_t longest_prefix(struct slm_schema *s, const struct slm_conj *conj)
{
    const struct slm_dom *prefix;
    uint32_t n = 0;
    for (size_t i = 0; (prefix = slm_conj_keyword(conj, "prefixItems", i)); i++) {
        if (prefix->kind != SLM_DOM_ARRAY) slm_schema_fail(s, prefix, SLM_ERR_FORMAT, "it is an array of schemas");
        if (prefix->n > n) n = prefix->n;
    }
    return n;
}

/* Elements behind `before` others, lo to hi of them. */
static struct slm_frag rest(struct slm_schema *s, uint32_t rule, bool before, uint32_t lo, uint32_t hi)
{
    struct slm_nfa *nfa = s->nfa;
    struct slm_frag first = slm_frag_empty(nfa);
    if (!before) first = then(s, first, slm_frag_call(nfa, rule));
    const uint32_t one = before ? 0 : 1;
    struct slm_frag more = text_ws(s, ",");
    more = then(s, more, slm_frag_call(nfa, rule));
    more = slm_frag_repeat(nfa, more, lo > one ? lo - one : 0, hi == NONE ? NONE : hi - one);
    const struct slm_frag all = then(s, first, more);
    return lo == 0 && !before ? slm_frag_opt(nfa, all) : all;
}

struct slm_frag slm_schema_array(struct slm_schema *s, const struct slm_conj *conj)
{
    struct slm_nfa *nfa = s->nfa;
    const uint32_t min = slm_conj_count(s, conj, "minItems", true, 0), n_prefix = longest_prefix(s, conj);
    uint32_t max = slm_conj_count(s, conj, "maxItems", false, NONE);
    struct slm_frag f = text_ws(s, "[");
    struct slm_frag close = slm_frag_call(nfa, s->ws); /* behind elements */
    const struct slm_frag bracket = slm_frag_text(nfa, "]");
    close = then(s, close, bracket);
    uint32_t at = f.out, c = 0;
    struct slm_conj one;
    bool said, open = true;
    for (; c < n_prefix && c < max && open && nfa->failed == SLM_OK; c++) {
        const uint32_t go_on = slm_nfa_fork(nfa, NONE, NONE);
        slm_nfa_lead(nfa, at, c >= min ? slm_nfa_fork(nfa, c ? close.in : bracket.in, go_on) : go_on);
        element(s, conj, c, &one, &said);
        struct slm_frag piece = c ? text_ws(s, ",") : slm_frag_empty(nfa);
        piece = then(s, piece, one.never ? slm_frag_never(nfa) : slm_frag_call(nfa, slm_conj_rule(s, &one)));
        slm_nfa_lead(nfa, go_on, piece.in);
        at = piece.out;
        open = !one.never;
    }
    element(s, conj, NONE, &one, &said);
    /* Behind a prefix nothing follows unless it is described or there have to be more. */
    if (n_prefix > 0 && !said && min <= n_prefix && max > n_prefix) max = n_prefix;
    if (one.never && max > c) max = c;
    if (open && max > c) {
        const struct slm_frag more = rest(s, slm_conj_rule(s, &one), c > 0, min > c ? min - c : 0,
                                          max == NONE ? NONE : max - c);
        slm_nfa_lead(nfa, at, more.in);
        slm_nfa_lead(nfa, more.out, close.in);
    } else if (open && c >= min) {
        slm_nfa_lead(nfa, at, c ? close.in : bracket.in);
    }
    f.out = bracket.out;
    return f;
}

/* ---- keys ------------------------------------------------------------------------------------------------------ */

struct keys {
    struct key { struct slm_str text; bool required; } *list;
    size_t n;
};

static void add_key(struct slm_schema *s, struct keys *keys, const struct slm_dom *from, struct slm_str text,
                    bool required)
{
    for (size_t i = 0; i < keys->n; i++) {
        if (!slm_str_equal(keys->list[i].text, text)) continue;
        keys->list[i].required |= required;
        return;
    }
    if (keys->n == MAX_KEYS) slm_schema_fail(s, from, SLM_ERR_LIMIT, "more than %d keys in one object", MAX_KEYS);
    else keys->list[keys->n++] = (struct key){text, required};
}

static void list_keys(struct slm_schema *s, const struct slm_conj *conj, struct keys *keys)
{
    const struct slm_dom *value;
    size_t most = 0;
    for (size_t i = 0; (value = slm_conj_keyword(conj, "properties", i)); i++) {
        if (value->kind != SLM_DOM_OBJECT) slm_schema_fail(s, value, SLM_ERR_FORMAT, "it is an object of schemas");
        most += value->n;
    }
    for (size_t i = 0; (value = slm_conj_keyword(conj, "required", i)); i++) {
        if (value->kind != SLM_DOM_ARRAY) slm_schema_fail(s, value, SLM_ERR_FORMAT, "it is an array of texts");
        most += value->n;
    }
    keys->list = slm_arena_alloc(&s->arena, most + 1, sizeof *keys->list, "schema", s->nfa->error);
    if (!keys->list) s->nfa->failed = SLM_ERR_MEMORY;
    for (size_t i = 0; (value = slm_conj_keyword(conj, "properties", i)) && s->nfa->failed == SLM_OK; i++)
        for (const struct slm_dom *p = value->first; p; p = p->next) add_key(s, keys, p, p->key, false);
    for (size_t i = 0; (value = slm_conj_keyword(conj, "required", i)) && s->nfa->failed == SLM_OK; i++)
        for (const struct slm_dom *p = value->first; p; p = p->next) {
            if (p->kind != SLM_DOM_STRING) slm_schema_fail(s, p, SLM_ERR_FORMAT, "a key is a text");
            add_key(s, keys, p, p->text, true);
        }
}

static bool key_matches(struct slm_schema *s, const struct slm_dom *pattern, struct slm_str key)
{
    slm_schema_at(s, pattern);
    const struct slm_frag f = slm_regex_parse(s->nfa, pattern->key, true, SLM_SPELL_PLAIN);
    return slm_frag_matches(s->nfa, f, key);
}

/* What is asked of the value of this key. */
static void value_of(struct slm_schema *s, const struct slm_conj *conj, struct slm_str key, struct slm_conj *out)
{
    out->n = 0;
    out->never = false;
    for (size_t i = 0; i < conj->n && s->nfa->failed == SLM_OK; i++) {
        const struct slm_dom *node = conj->parts[i].node, *additional = slm_dom_get(node, "additionalProperties");
        const struct slm_dom *patterns = slm_dom_get(node, "patternProperties");
        const struct slm_dom *own = slm_dom_find(slm_dom_get(node, "properties"), key);
        bool described = own != NULL;
        if (own) slm_conj_add(s, out, own);
        for (const struct slm_dom *p = patterns ? patterns->first : NULL; p; p = p->next) {
            if (!key_matches(s, p, key)) continue;
            described = true;
            slm_conj_add(s, out, p);
        }
        if (!described && additional) slm_conj_add(s, out, additional);
    }
}

/* ---- keys that are not described ------------------------------------------------------------------------------- */

/* A trie of the described keys, by characters. */
struct branch { uint32_t c, child, sibling, state; bool is_key; };

static uint32_t trie_add(struct branch *trie, uint32_t *n, struct slm_str key)
{
    uint32_t at = 0;
    for (size_t i = 0; i < key.len;) {
        uint32_t c, k;
        const int bytes = slm_utf8_decode(key.ptr + i, key.len - i, &c);
        if (bytes <= 0) break;
        for (k = trie[at].child; k != NONE && trie[k].c != c; k = trie[k].sibling) continue;
        if (k == NONE) {
            k = (*n)++;
            trie[k] = (struct branch){c, NONE, trie[at].child, 0, false};
            trie[at].child = k;
        }
        at = k;
        i += (size_t)bytes;
    }
    return at;
}

/* From one node: the characters of its children lead to them, all others to what is free. */
static void trie_state(struct slm_schema *s, struct branch *trie, uint32_t at, uint32_t free_state, uint32_t out)
{
    struct slm_nfa *nfa = s->nfa;
    struct slm_range taken[512], others[513];
    size_t n = 0;
    uint32_t head = trie[at].is_key ? NONE : out;
    /* What strings must escape is no character of these keys. */
    taken[n++] = (struct slm_range){0, 0x1F};
    taken[n++] = (struct slm_range){'"', '"'};
    taken[n++] = (struct slm_range){'\\', '\\'};
    for (uint32_t k = trie[at].child; k != NONE && nfa->failed == SLM_OK; k = trie[k].sibling) {
        const struct slm_range one = {trie[k].c, trie[k].c};
        if (n == 512) slm_nfa_fail(nfa, SLM_ERR_LIMIT, "its keys go on in more than 500 ways after the same beginning");
        else taken[n++] = one;
        if (one.lo < 0x20 || one.lo == '"' || one.lo == '\\') continue;
        const struct slm_frag f = slm_frag_chars(nfa, &one, 1, SLM_SPELL_PLAIN);
        slm_nfa_lead(nfa, f.out, trie[k].state);
        head = head == NONE ? f.in : slm_nfa_fork(nfa, head, f.in);
    }
    n = slm_ranges_negate(taken, slm_ranges_merge(taken, n), others);
    const struct slm_frag f = slm_frag_chars(nfa, others, n, SLM_SPELL_PLAIN);
    slm_nfa_lead(nfa, f.out, free_state);
    head = head == NONE ? f.in : slm_nfa_fork(nfa, head, f.in);
    slm_nfa_lead(nfa, trie[at].state, head);
}

/* The text of a key that is none of these, without escapes. */
static struct slm_frag other_key(struct slm_schema *s, const struct keys *keys)
{
    struct slm_nfa *nfa = s->nfa;
    size_t most = 1;
    uint32_t n = 1;
    for (size_t i = 0; i < keys->n; i++) most += keys->list[i].text.len;
    struct branch *trie = slm_arena_alloc(&s->arena, most, sizeof *trie, "schema", nfa->error);
    struct slm_frag f = slm_frag_empty(nfa);
    if (!trie) {
        nfa->failed = SLM_ERR_MEMORY;
        return f;
    }
    trie[0] = (struct branch){.child = NONE, .sibling = NONE};
    for (size_t i = 0; i < keys->n; i++) trie[trie_add(trie, &n, keys->list[i].text)].is_key = true;
    /* A node without keys that goes on to any character as often as there are: what is free. */
    struct branch free_node = {.child = NONE, .sibling = NONE, .state = slm_nfa_fork(nfa, NONE, NONE)};
    const uint32_t out = slm_nfa_fork(nfa, NONE, NONE);
    trie_state(s, &free_node, 0, free_node.state, out);
    for (uint32_t i = 0; i < n; i++) trie[i].state = slm_nfa_fork(nfa, NONE, NONE);
    for (uint32_t i = 0; i < n && nfa->failed == SLM_OK; i++) trie_state(s, trie, i, free_node.state, out);
    slm_nfa_lead(nfa, f.out, trie[0].state);
    f.out = out;
    return f;
}

/* What keys beyond the described ones are like. */
struct extra {
    bool any;                      /* there may be some */
    const struct slm_dom *pattern; /* a member of patternProperties that they match, or NULL */
    struct slm_conj names;         /* of propertyNames */
    struct slm_conj value;
};

static void find_extra(struct slm_schema *s, const struct slm_conj *conj, const struct keys *keys, struct extra *x)
{
    const struct slm_dom *owner = NULL, *value;
    bool said = false;
    for (size_t i = 0; (value = slm_conj_keyword(conj, "patternProperties", i)); i++) {
        for (const struct slm_dom *p = value->first; p; p = p->next) {
            if (x->pattern)
                slm_schema_fail(s, p, SLM_ERR_UNSUPPORTED, "more than one pattern for keys of the same object");
            x->pattern = p;
            owner = value->parent;
        }
    }
    if (x->pattern) slm_conj_add(s, &x->value, x->pattern);
    for (size_t i = 0; i < conj->n; i++) {
        const struct slm_dom *additional = slm_dom_get(conj->parts[i].node, "additionalProperties");
        if (!additional || conj->parts[i].node == owner) continue;
        slm_conj_add(s, &x->value, additional);
        said = true;
    }
    for (size_t i = 0; (value = slm_conj_keyword(conj, "unevaluatedProperties", i)); i++) {
        if (value->kind != SLM_DOM_FALSE)
            slm_schema_fail(s, value, SLM_ERR_UNSUPPORTED, "only false can be enforced here");
        if (!said && !x->pattern) x->value.never = true;
    }
    for (size_t i = 0; (value = slm_conj_keyword(conj, "propertyNames", i)); i++) {
        slm_conj_add(s, &x->names, value);
        if (keys->n > 0)
            slm_schema_fail(s, value, SLM_ERR_UNSUPPORTED, "beside described or required keys");
    }
    x->any = !x->value.never && (said || x->pattern || keys->n == 0);
}

/* `"key"` of an extra one. */
static struct slm_frag extra_key(struct slm_schema *s, const struct keys *keys, const struct extra *x)
{
    static const char *const elsewhere[] = {"anyOf", "oneOf", "const", "enum"};
    struct slm_nfa *nfa = s->nfa;
    if (!x->pattern && keys->n == 0 && x->names.n == 0) return slm_frag_call(nfa, s->string);
    struct slm_frag f = slm_frag_text(nfa, "\"");
    struct slm_frag body = slm_frag_empty(nfa);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        const struct slm_dom *k = slm_conj_keyword(&x->names, elsewhere[i], 0);
        if (k) slm_schema_fail(s, k, SLM_ERR_UNSUPPORTED, "in propertyNames: lengths, patterns and formats are enforced");
    }
    if (x->names.n && !(slm_conj_types(s, &x->names) & SLM_TYPE_STRING)) return slm_frag_never(nfa);
    if (x->pattern) {
        slm_schema_at(s, x->pattern);
        body = slm_regex_parse(nfa, x->pattern->key, true, SLM_SPELL_JSON);
        if (keys->n) body = slm_frag_both(nfa, body, other_key(s, keys));
        if (!slm_schema_string_is_free(&x->names))
            slm_schema_fail(s, x->pattern, SLM_ERR_UNSUPPORTED, "beside propertyNames");
    } else if (x->names.n) {
        body = slm_schema_string_body(s, &x->names);
    } else {
        body = other_key(s, keys);
    }
    f = then(s, f, body);
    return then(s, f, slm_frag_text(nfa, "\""));
}

/* ---- objects --------------------------------------------------------------------------------------------------- */

/* An object on its way: the states before its next member, where there is none yet and where there are some. */
struct members { uint32_t none, some; size_t n_required; };

/* A described key: may be left out unless it is required. */
static void add_member(struct slm_schema *s, struct members *m, const struct key *key, uint32_t rule)
{
    struct slm_nfa *nfa = s->nfa;
    const uint32_t after = slm_nfa_fork(nfa, NONE, NONE);
    struct slm_frag pair = slm_frag_text(nfa, "\"");
    pair = then(s, pair, slm_frag_spelled(nfa, key->text, SLM_SPELL_JSON));
    pair = then(s, pair, text_ws(s, "\":"));
    pair = then(s, pair, slm_frag_call(nfa, rule));
    slm_nfa_lead(nfa, pair.out, after);
    if (m->some != NONE) {
        const struct slm_frag comma = text_ws(s, ",");
        slm_nfa_lead(nfa, comma.out, pair.in);
        slm_nfa_lead(nfa, m->some, key->required ? comma.in : slm_nfa_fork(nfa, comma.in, after));
    }
    if (m->none != NONE) {
        const uint32_t left_out = key->required ? NONE : slm_nfa_fork(nfa, NONE, NONE);
        slm_nfa_lead(nfa, m->none, key->required ? pair.in : slm_nfa_fork(nfa, pair.in, left_out));
        m->none = left_out;
    }
    m->some = after;
    m->n_required += key->required;
}

/* Keys beyond the described ones, min to max of them. */
static void add_extra(struct slm_schema *s, struct members *m, const struct keys *keys, const struct extra *x,
                      uint32_t min, uint32_t max)
{
    struct slm_nfa *nfa = s->nfa;
    const uint32_t pair_rule = slm_nfa_rule(nfa);
    struct slm_frag pair = extra_key(s, keys, x);
    pair = then(s, pair, text_ws(s, ":"));
    pair = then(s, pair, slm_frag_call(nfa, slm_conj_rule(s, &x->value)));
    slm_nfa_define(nfa, pair_rule, pair);
    const uint32_t after = slm_nfa_fork(nfa, NONE, NONE);
    if (m->some != NONE) {
        const struct slm_frag more = rest(s, pair_rule, true, 0, NONE);
        slm_nfa_lead(nfa, m->some, more.in);
        slm_nfa_lead(nfa, more.out, after);
    }
    if (m->none != NONE) {
        const struct slm_frag more = rest(s, pair_rule, false, min > 0 ? min : 1, max);
        const uint32_t empty = min > 0 ? NONE : slm_nfa_fork(nfa, NONE, NONE);
        slm_nfa_lead(nfa, m->none, slm_nfa_fork(nfa, more.in, empty));
        slm_nfa_lead(nfa, more.out, after);
        m->none = empty;
    }
    m->some = after;
}

/* minProperties and maxProperties, as far as they can be kept without searching. */
static void count_members(struct slm_schema *s, const struct slm_conj *conj, const struct keys *keys, bool extra,
                          uint32_t *min, uint32_t *max)
{
    size_t n_required = 0;
    for (size_t i = 0; i < keys->n; i++) n_required += keys->list[i].required;
    *min = slm_conj_count(s, conj, "minProperties", true, 0);
    *max = slm_conj_count(s, conj, "maxProperties", false, NONE);
    /* Of keys that are not described two may be the same, so two pairs need not be two properties. */
    if (*min > n_required && !(keys->n == 0 && *min <= 1))
        slm_schema_fail(s, slm_conj_keyword(conj, "minProperties", 0), SLM_ERR_UNSUPPORTED,
                        "it asks for more properties than are required");
    if (*max != NONE && keys->n > 0 && (extra || *max < keys->n))
        slm_schema_fail(s, slm_conj_keyword(conj, "maxProperties", 0), SLM_ERR_UNSUPPORTED,
                        "it asks for fewer properties than may be there");
}

struct slm_frag slm_schema_object(struct slm_schema *s, const struct slm_conj *conj)
{
    struct slm_nfa *nfa = s->nfa;
    struct keys keys = {0};
    struct extra extra = {0};
    struct slm_conj value;
    uint32_t min = 0, max = NONE;
    list_keys(s, conj, &keys);
    if (nfa->failed == SLM_OK) find_extra(s, conj, &keys, &extra);
    if (nfa->failed == SLM_OK) count_members(s, conj, &keys, extra.any, &min, &max);
    struct slm_frag f = text_ws(s, "{");
    struct slm_frag close = slm_frag_call(nfa, s->ws);
    const struct slm_frag brace = slm_frag_text(nfa, "}");
    close = then(s, close, brace);
    struct members m = {.none = f.out, .some = NONE};
    for (size_t i = 0; i < keys.n && nfa->failed == SLM_OK; i++) {
        value_of(s, conj, keys.list[i].text, &value);
        if (!value.never) add_member(s, &m, &keys.list[i], slm_conj_rule(s, &value));
        else if (keys.list[i].required) m.none = m.some = NONE; /* nothing can be its value: there is no such object */
        if (m.none == NONE && m.some == NONE) return slm_frag_never(nfa);
    }
    if (extra.any && max > 0 && nfa->failed == SLM_OK) add_extra(s, &m, &keys, &extra, min, max);
    if (m.none != NONE && min == 0) slm_nfa_lead(nfa, m.none, brace.in);
    if (m.some != NONE) slm_nfa_lead(nfa, m.some, close.in);
    f.out = brace.out;
    return f;
}
