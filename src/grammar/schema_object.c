/* SPDX-License-Identifier: MIT
 * Arrays and objects of one conjunction of schemas.
 *
 * Keys come in the order in which the schema lists them, required ones that it does not describe last; optional ones
 * may be left out, and a key is written in one way only. What a schema leaves open without saying so (no
 * additionalProperties, elements behind prefixItems without items) is not used where it describes anything: every text
 * satisfies the schema, though not every value can be written. Where it describes nothing, anything may come. Where it
 * says additionalProperties or patternProperties, such keys follow the described ones and differ from them.
 *
 * Deliberately not here: what has to be searched for, such as keys that two patterns find, or several that are not
 * described and all different: refused. */
#include "base/utf8.h"
#include "grammar/schema.h"

#define NONE SLM_NFA_NONE
enum { MAX_KEYS = 4096 };

/* One after the other. */
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

/* A list of schemas, one for each of the first elements: prefixItems, or what drafts before 2020-12 write as items. */
static const struct slm_dom *prefix_of(const struct slm_dom *node)
{
    const struct slm_dom *items = slm_dom_get(node, "items");
    return items && items->kind == SLM_DOM_ARRAY ? items : slm_dom_get(node, "prefixItems");
}

/* What is asked of element i; of those behind all prefixes, where i is NONE. *said: some part says something. */
static void element(struct slm_schema *s, const struct slm_conj *conj, uint32_t i, struct slm_conj *out, bool *said)
{
    out->n = 0;
    out->never = false;
    *said = false;
    for (size_t k = 0; k < conj->n; k++) {
        const struct slm_dom *node = conj->parts[k].node, *prefix = prefix_of(node);
        const struct slm_dom *items = slm_dom_get(node, "items");
        const struct slm_dom *schema = items && items == prefix ? slm_dom_get(node, "additionalItems") : items;
        if (prefix && i != NONE && i < prefix->n)
            for (schema = prefix->first; schema->index < i;) schema = schema->next;
        *said |= schema != NULL;
        if (schema) slm_conj_add(s, out, schema);
    }
}

/* Elements up to here may differ from those behind. */
static uint32_t longest_prefix(struct slm_schema *s, const struct slm_conj *conj)
{
    uint32_t n = 0;
    for (size_t i = 0; i < conj->n; i++) {
        const struct slm_dom *prefix = prefix_of(conj->parts[i].node);
        if (prefix && prefix->kind != SLM_DOM_ARRAY)
            slm_schema_fail(s, prefix, SLM_ERR_FORMAT, "it is an array of schemas");
        if (prefix && prefix->n > n) n = prefix->n;
    }
    return n;
}

/* Elements behind `before` others, lo to hi of them. */
static struct slm_frag rest(struct slm_schema *s, uint32_t rule, bool before, uint32_t lo, uint32_t hi)
{
    struct slm_nfa *nfa = s->nfa;
    struct slm_frag first = slm_frag_empty(nfa);
    if (!before) first = then(s, first, slm_frag_call(nfa, rule));
    /* The first has no comma in front, unless others stand before it. */
    const uint32_t one = before ? 0 : 1;
    struct slm_frag more = text_ws(s, ",");
    more = then(s, more, slm_frag_call(nfa, rule));
    more = slm_frag_repeat(nfa, more, lo > one ? lo - one : 0, hi == NONE ? NONE : hi - one);
    const struct slm_frag all = then(s, first, more);
    return lo == 0 && !before ? slm_frag_opt(nfa, all) : all;
}

/* Elements of the prefixes one by one, each a place where the array may be over if it has enough; then the rest. */
struct slm_frag slm_schema_array(struct slm_schema *s, const struct slm_conj *conj)
{
    struct slm_nfa *nfa = s->nfa;
    const uint32_t min = slm_conj_count(s, conj, "minItems", true, 0), n_prefix = longest_prefix(s, conj);
    uint32_t max = slm_conj_count(s, conj, "maxItems", false, NONE);
    if (max < min) return slm_frag_never(nfa);
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

/* Once each, in the order of their first mention. */
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

/* Those that propertyNames lists one by one; the others of its lists are asked when each key is. */
static const struct slm_dom *listed_names(const struct slm_conj *names, bool *one)
{
    const struct slm_dom *value = slm_conj_keyword(names, "const", 0), *list = slm_conj_keyword(names, "enum", 0);
    *one = value != NULL;
    return value ? value : list ? list->first : NULL;
}

/* Described ones, then those that are only required, then those that are only listed as names. */
static void list_keys(struct slm_schema *s, const struct slm_conj *conj, const struct slm_conj *names,
                      struct keys *keys)
{
    bool one;
    const struct slm_dom *value, *listed = listed_names(names, &one);
    size_t most = listed ? listed->parent ? listed->parent->n + 1 : 1 : 0;
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
    for (; listed && s->nfa->failed == SLM_OK; listed = one ? NULL : listed->next)
        if (listed->kind == SLM_DOM_STRING) add_key(s, keys, listed, listed->text, false);
}

/* Does propertyNames allow this key? */
static bool is_name(struct slm_schema *s, const struct slm_conj *names, struct slm_str key)
{
    const struct slm_dom text = {.kind = SLM_DOM_STRING, .text = key};
    return names->n == 0 || (!names->never && slm_conj_types(s, names) & SLM_TYPE_STRING &&
                             slm_schema_in_lists(s, names, &text) && slm_schema_string_fits(s, names, key));
}

/* Tried on the key itself, unescaped. */
static bool key_matches(struct slm_schema *s, const struct slm_dom *pattern, struct slm_str key)
{
    slm_schema_at(s, pattern);
    const struct slm_frag f = slm_regex_parse(s->nfa, pattern->key, true, SLM_SPELL_PLAIN);
    return slm_frag_matches(s->nfa, f, key);
}

/* Is the part among those that speak for `owner`: itself, and what it asks for about the same value? */
static bool speaks_for(struct slm_schema *s, const struct slm_conj *conj, size_t owner, bool *speaks)
{
    bool changed = true;
    memset(speaks, 0, conj->n);
    for (speaks[owner] = true; changed;) {
        changed = false;
        for (size_t i = 0; i < conj->n; i++) {
            const struct slm_dom *list = conj->parts[i].node->parent; /* of allOf, anyOf, oneOf */
            for (size_t k = 0; k < conj->n && !speaks[i]; k++) {
                const struct slm_dom *by = conj->parts[k].node, *ref = speaks[k] ? slm_dom_get(by, "$ref") : NULL;
                speaks[i] = speaks[k] && ((list && list->kind == SLM_DOM_ARRAY && list->parent == by) ||
                                          (ref && slm_schema_follow(s, ref) == conj->parts[i].node));
                changed |= speaks[i];
            }
        }
    }
    return s->nfa->failed == SLM_OK;
}

/* Does every unevaluatedProperties: false find its keys described by a part that speaks for it? described: by part. */
static bool all_evaluated(struct slm_schema *s, const struct slm_conj *conj, const bool *described)
{
    bool speaks[SLM_SCHEMA_MAX_PARTS], all = true;
    for (size_t i = 0; i < conj->n && all; i++) {
        const struct slm_dom *value = slm_dom_get(conj->parts[i].node, "unevaluatedProperties");
        if (!value || value->kind == SLM_DOM_TRUE || !speaks_for(s, conj, i, speaks)) continue;
        if (value->kind != SLM_DOM_FALSE)
            slm_schema_fail(s, value, SLM_ERR_UNSUPPORTED, "only true and false can be enforced here");
        /* Which keys a condition has looked at depends on how it went. */
        for (size_t k = 0; k < conj->n; k++)
            if (slm_schema_has_conditions(conj->parts[k].node))
                slm_schema_fail(s, value, SLM_ERR_UNSUPPORTED, "not beside if, not or dependent keywords");
        all = false;
        for (size_t k = 0; k < conj->n; k++) all |= speaks[k] && described[k];
    }
    return all;
}

/* What is asked of the value of this key. */
static void value_of(struct slm_schema *s, const struct slm_conj *conj, struct slm_str key, struct slm_conj *out)
{
    bool by_part[SLM_SCHEMA_MAX_PARTS] = {0};
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
        by_part[i] = described || additional;
    }
    if (!all_evaluated(s, conj, by_part)) out->never = true;
}

/* ---- keys that are not described ------------------------------------------------------------------------------- */

/* A trie of texts, by characters. */
struct branch { uint32_t c, child, sibling, state; bool is_key; };

/* Returns the node of the key. There is room for a node a byte. */
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
    for (uint32_t k = trie[at].child; k != NONE && nfa->failed == SLM_OK; k = trie[k].sibling) {
        const struct slm_range one = {trie[k].c, trie[k].c};
        if (n < 512) taken[n++] = one;
        else slm_nfa_fail(nfa, SLM_ERR_LIMIT, "its texts go on in more than 500 ways after the same beginning");
        const struct slm_frag f = slm_frag_chars(nfa, &one, 1, SLM_SPELL_JSON);
        slm_nfa_lead(nfa, f.out, trie[k].state);
        head = head == NONE ? f.in : slm_nfa_fork(nfa, head, f.in);
    }
    n = slm_ranges_negate(taken, slm_ranges_merge(taken, n), others);
    const struct slm_frag f = slm_frag_chars(nfa, others, n, SLM_SPELL_JSON);
    slm_nfa_lead(nfa, f.out, free_state);
    head = head == NONE ? f.in : slm_nfa_fork(nfa, head, f.in);
    slm_nfa_lead(nfa, trie[at].state, head);
}

/* A state for each node of the trie and one for all that has left it: there any text may end, in the trie those that
 * are none of the texts. */
struct slm_frag slm_schema_other_text(struct slm_schema *s, const struct slm_str *texts, size_t n_texts)
{
    struct slm_nfa *nfa = s->nfa;
    size_t most = 1;
    uint32_t n = 1;
    for (size_t i = 0; i < n_texts; i++) most += texts[i].len;
    struct branch *trie = slm_arena_alloc(&s->arena, most, sizeof *trie, "schema", nfa->error);
    struct slm_frag f = slm_frag_empty(nfa);
    if (!trie) {
        nfa->failed = SLM_ERR_MEMORY;
        return f;
    }
    trie[0] = (struct branch){.child = NONE, .sibling = NONE};
    for (size_t i = 0; i < n_texts; i++) trie[trie_add(trie, &n, texts[i])].is_key = true;
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

/* The text of a key that is none of these. */
static struct slm_frag other_key(struct slm_schema *s, const struct keys *keys)
{
    struct slm_str *texts = slm_arena_alloc(&s->arena, keys->n, sizeof *texts, "schema", s->nfa->error);
    if (!texts) {
        s->nfa->failed = SLM_ERR_MEMORY;
        return slm_frag_empty(s->nfa);
    }
    for (size_t i = 0; i < keys->n; i++) texts[i] = keys->list[i].text;
    return slm_schema_other_text(s, texts, keys->n);
}

/* What keys beyond the described ones are like: of one kind, or of one for each pattern. */
struct extra {
    bool any, others;      /* there may be some; some that match no pattern */
    struct slm_conj names; /* of propertyNames */
    struct slm_conj value; /* of one kind at a time */
};

/* The i-th member of patternProperties among all parts. */
static const struct slm_dom *pattern_number(const struct slm_conj *conj, size_t i)
{
    const struct slm_dom *list;
    for (size_t k = 0; (list = slm_conj_keyword(conj, "patternProperties", k)); k++)
        for (const struct slm_dom *p = list->first; p; p = p->next)
            if (i-- == 0) return p;
    return NULL;
}

/* Keys that a pattern finds, each character in its one spelling. */
static struct slm_frag found_by(struct slm_schema *s, const struct slm_dom *pattern)
{
    slm_schema_at(s, pattern);
    struct slm_frag f = slm_regex_parse(s->nfa, pattern->key, true, SLM_SPELL_JSON);
    slm_frag_counted(s->nfa, &f, 0, NONE);
    return f;
}

/* A key that two patterns find would have to satisfy both: such pairs are not searched for. */
static void check_patterns(struct slm_schema *s, const struct slm_conj *conj)
{
    const struct slm_dom *a, *b;
    for (size_t i = 0; (a = pattern_number(conj, i)); i++)
        for (size_t k = i + 1; (b = pattern_number(conj, k)) && s->nfa->failed == SLM_OK; k++) {
            const uint32_t begin = (uint32_t)s->nfa->n_states;
            const struct slm_frag first = found_by(s, a), second = found_by(s, b);
            const bool both = slm_frag_reaches(s->nfa, slm_frag_both(s->nfa, first, second));
            slm_nfa_drop(s->nfa, begin);
            if (both)
                slm_schema_fail(s, b, SLM_ERR_UNSUPPORTED, "a key may match it and another pattern of the same object");
        }
}

/* What is asked of the values of keys that one pattern finds (NULL: of those that none does) and no part describes.
 * Returns whether any part says something. */
static bool extra_value(struct slm_schema *s, const struct slm_conj *conj, const struct slm_dom *pattern,
                        struct slm_conj *out)
{
    bool by_part[SLM_SCHEMA_MAX_PARTS] = {0}, said = false;
    out->n = 0;
    out->never = false;
    for (size_t i = 0; i < conj->n && s->nfa->failed == SLM_OK; i++) {
        const struct slm_dom *node = conj->parts[i].node, *additional = slm_dom_get(node, "additionalProperties");
        const bool owner = pattern && pattern->parent == slm_dom_get(node, "patternProperties");
        if (owner) slm_conj_add(s, out, pattern);
        else if (additional) slm_conj_add(s, out, additional);
        by_part[i] = owner || additional;
        said |= by_part[i];
    }
    if (!all_evaluated(s, conj, by_part)) out->never = true;
    return said;
}

/* May there be keys that no part describes? Left open and nothing described: anything. Left open beside something:
 * nothing more. */
static void find_extra(struct slm_schema *s, const struct slm_conj *conj, const struct keys *keys, struct extra *x)
{
    bool one;
    const bool patterns = pattern_number(conj, 0), listed = listed_names(&x->names, &one);
    if (listed || x->names.never) return;
    if (x->names.n && !(slm_conj_types(s, &x->names) & SLM_TYPE_STRING)) return;
    const bool said = extra_value(s, conj, NULL, &x->value);
    x->others = !patterns && !x->value.never && (said || keys->n == 0);
    x->any = x->others;
    check_patterns(s, conj);
    const struct slm_dom *p;
    for (size_t i = 0; (p = pattern_number(conj, i)) && s->nfa->failed == SLM_OK; i++) {
        extra_value(s, conj, p, &x->value);
        x->any |= !x->value.never;
    }
}

/* `"key"` of an extra one: what the pattern finds, what propertyNames allows, and none of the described ones. */
static struct slm_frag extra_key(struct slm_schema *s, const struct keys *keys, const struct extra *x,
                                 const struct slm_dom *pattern)
{
    struct slm_nfa *nfa = s->nfa;
    if (!pattern && keys->n == 0 && x->names.n == 0) return slm_frag_call(nfa, s->string);
    struct slm_frag f = slm_frag_text(nfa, "\"");
    struct slm_frag body = slm_frag_empty(nfa);
    if (pattern) body = found_by(s, pattern);
    if (x->names.n) {
        const struct slm_frag named = slm_schema_string_body(s, &x->names, true);
        body = pattern ? slm_frag_both(nfa, body, named) : named;
    }
    if (keys->n) {
        const struct slm_frag other = other_key(s, keys);
        body = pattern || x->names.n ? slm_frag_both(nfa, body, other) : other;
    }
    f = then(s, f, body);
    return then(s, f, slm_frag_text(nfa, "\""));
}

/* Key and value of one kind, an alternative of the rule of all. */
static struct slm_frag extra_pair(struct slm_schema *s, const struct keys *keys, const struct extra *x,
                                  const struct slm_dom *pattern)
{
    if (x->value.never) return slm_frag_never(s->nfa);
    struct slm_frag pair = extra_key(s, keys, x, pattern);
    pair = then(s, pair, text_ws(s, ":"));
    return then(s, pair, slm_frag_call(s->nfa, slm_conj_rule(s, &x->value)));
}

/* A rule, for it is written often. */
static uint32_t extra_rule(struct slm_schema *s, const struct slm_conj *conj, const struct keys *keys, struct extra *x)
{
    const uint32_t rule = slm_nfa_rule(s->nfa);
    const struct slm_dom *pattern;
    struct slm_frag all = slm_frag_never(s->nfa);
    for (size_t i = 0; (pattern = pattern_number(conj, i)) && s->nfa->failed == SLM_OK; i++) {
        extra_value(s, conj, pattern, &x->value);
        all = slm_frag_or(s->nfa, all, extra_pair(s, keys, x, pattern));
    }
    if (x->others) {
        extra_value(s, conj, NULL, &x->value);
        all = slm_frag_or(s->nfa, all, extra_pair(s, keys, x, NULL));
    }
    slm_nfa_define(s->nfa, rule, all);
    return rule;
}

/* ---- objects --------------------------------------------------------------------------------------------------- */

/* An object on its way: at[c] is the state before its next member where there are c of them; NONE: that cannot be.
 * Counts end at the last, which stands for all from there on where there is no maximum. Without bounds on them there
 * are two, none and some, since only behind a member stands a comma. */
struct members {
    uint32_t *at, *next; /* [n_counts] */
    uint32_t n_counts, min, max;
};

/* The count behind one more member. */
static uint32_t one_more(const struct members *m, uint32_t count)
{
    if (count + 1 < m->n_counts) return count + 1;
    return m->max == NONE ? count : NONE;
}

/* A described key: may be left out unless it is required. Both ways meet again; those that come to one count share the
 * pair. */
static void add_member(struct slm_schema *s, struct members *m, const struct key *key, uint32_t rule)
{
    struct slm_nfa *nfa = s->nfa;
    uint32_t pair_of = NONE, pair_in = NONE;
    for (uint32_t c = 0; c < m->n_counts; c++) m->next[c] = NONE;
    for (uint32_t c = 0; c < m->n_counts && nfa->failed == SLM_OK; c++) {
        const uint32_t then_count = one_more(m, c);
        uint32_t taken = NONE;
        if (m->at[c] == NONE) continue;
        if (!key->required && m->next[c] == NONE) m->next[c] = slm_nfa_fork(nfa, NONE, NONE);
        if (then_count != NONE) {
            if (m->next[then_count] == NONE) m->next[then_count] = slm_nfa_fork(nfa, NONE, NONE);
            if (pair_of != then_count) {
                struct slm_frag pair = slm_frag_text(nfa, "\"");
                pair = then(s, pair, slm_frag_spelled(nfa, key->text, SLM_SPELL_JSON));
                pair = then(s, pair, text_ws(s, "\":"));
                pair = then(s, pair, slm_frag_call(nfa, rule));
                slm_nfa_lead(nfa, pair.out, m->next[then_count]);
                pair_of = then_count;
                pair_in = pair.in;
            }
            taken = pair_in;
            if (c > 0) {
                const struct slm_frag comma = text_ws(s, ",");
                slm_nfa_lead(nfa, comma.out, pair_in);
                taken = comma.in;
            }
        }
        slm_nfa_lead(nfa, m->at[c], slm_nfa_fork(nfa, taken, key->required ? NONE : m->next[c]));
    }
    uint32_t *const swap = m->at;
    m->at = m->next;
    m->next = swap;
}

/* The end of the object, with keys beyond the described ones in front where there may be some. Two of those may be the
 * same, so towards the least count all of them are one. */
static void finish_members(struct slm_schema *s, struct members *m, bool extra, uint32_t pair_rule,
                           struct slm_frag close, uint32_t brace)
{
    struct slm_nfa *nfa = s->nfa;
    for (uint32_t c = 0; c < m->n_counts && nfa->failed == SLM_OK; c++) {
        const uint32_t left = m->max == NONE ? NONE : m->max - c;
        uint32_t more_in = NONE;
        if (m->at[c] == NONE) continue;
        if (extra && left > 0 && c + 1 >= m->min) {
            const struct slm_frag more = rest(s, pair_rule, c > 0, 1, left);
            slm_nfa_lead(nfa, more.out, close.in);
            more_in = more.in;
        }
        const uint32_t over = c < m->min ? NONE : c ? close.in : brace;
        slm_nfa_lead(nfa, m->at[c], slm_nfa_fork(nfa, more_in, over));
    }
}

/* minProperties and maxProperties, as far as what is required leaves anything of them to ask. */
static void count_members(struct slm_schema *s, const struct slm_conj *conj, const struct keys *keys, bool extra,
                          struct members *m)
{
    const uint32_t n = (uint32_t)keys->n;
    uint32_t n_required = 0;
    for (uint32_t i = 0; i < n; i++) n_required += keys->list[i].required;
    m->min = slm_conj_count(s, conj, "minProperties", true, 0);
    m->max = slm_conj_count(s, conj, "maxProperties", false, NONE);
    if (m->min <= n_required) m->min = 0;
    if (m->max != NONE && m->max >= n && !extra) m->max = NONE;
    if (extra && m->min > n + 1)
        slm_schema_fail(s, slm_conj_keyword(conj, "minProperties", 0), SLM_ERR_UNSUPPORTED,
                        "it asks for more than one property that is not described: two of these may have the same key");
    /* Counts of described ones: up to all of them, or up to where it is enough. */
    const uint32_t last = m->max != NONE ? m->max : m->min;
    m->n_counts = 1 + (last < n ? last : n);
    if (m->max == NONE && m->n_counts == 1) m->n_counts = 2;
    m->at = slm_arena_alloc(&s->arena, m->n_counts, sizeof *m->at, "schema", s->nfa->error);
    m->next = slm_arena_alloc(&s->arena, m->n_counts, sizeof *m->next, "schema", s->nfa->error);
    if (!m->at || !m->next) s->nfa->failed = SLM_ERR_MEMORY;
}

/* propertyNames: what strings may be, without alternatives. */
static void find_names(struct slm_schema *s, const struct slm_conj *conj, struct slm_conj *names)
{
    static const char *const elsewhere[] = {"anyOf", "oneOf"};
    const struct slm_dom *value;
    for (size_t i = 0; (value = slm_conj_keyword(conj, "propertyNames", i)); i++) slm_conj_add(s, names, value);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        if ((value = slm_conj_keyword(names, elsewhere[i], 0)))
            slm_schema_fail(s, value, SLM_ERR_UNSUPPORTED, "not in propertyNames");
}

/* Ways run side by side through the keys, one for each count of members so far. */
struct slm_frag slm_schema_object(struct slm_schema *s, const struct slm_conj *conj)
{
    struct slm_nfa *nfa = s->nfa;
    struct keys keys = {0};
    struct extra extra = {0};
    struct slm_conj value;
    struct members m = {0};
    uint32_t pair_rule = 0;
    find_names(s, conj, &extra.names);
    list_keys(s, conj, &extra.names, &keys);
    if (nfa->failed == SLM_OK) find_extra(s, conj, &keys, &extra);
    if (nfa->failed == SLM_OK) count_members(s, conj, &keys, extra.any, &m);
    if (nfa->failed == SLM_OK && extra.any) pair_rule = extra_rule(s, conj, &keys, &extra);
    struct slm_frag f = text_ws(s, "{");
    struct slm_frag close = slm_frag_call(nfa, s->ws);
    const struct slm_frag brace = slm_frag_text(nfa, "}");
    close = then(s, close, brace);
    if (nfa->failed != SLM_OK) return f;
    for (uint32_t c = 0; c < m.n_counts; c++) m.at[c] = NONE;
    m.at[0] = f.out;
    for (size_t i = 0; i < keys.n && nfa->failed == SLM_OK; i++) {
        value_of(s, conj, keys.list[i].text, &value);
        if (!value.never && is_name(s, &extra.names, keys.list[i].text))
            add_member(s, &m, &keys.list[i], slm_conj_rule(s, &value));
        else if (keys.list[i].required) return slm_frag_never(nfa); /* there is no such object */
    }
    finish_members(s, &m, extra.any, pair_rule, close, brace.in);
    f.out = brace.out;
    return f;
}
