/* SPDX-License-Identifier: MIT
 * Conditions and negations as schemas without them. What a schema says with if, not and the dependent keywords is the
 * same as an anyOf of schemas that do not:
 *
 *     if I then T else E        I and T, or not I and E
 *     dependentSchemas {k: S}   k is not there, or it is and S
 *     not {properties {p: P}}   an object with a p that is not P
 *
 * Such schemas are made here, of new nodes and of copies that share what lies below them, once for each schema that
 * asks; they join its conjunction as allOf's do. Negations go down one step at a time, whenever the next schema is
 * added, so there is no recursion; what is left at the end is "none of these constants" and "none of these types",
 * which schema_types.c writes.
 *
 * Deliberately not here: negations of what describes texts (pattern, lengths) or elements, and of references, which are
 * refused. */
#include "grammar/schema.h"

/* ---- new nodes -------------------------------------------------------------------------------------------------- */

/* A node behind the others of its parent, which may be missing. Members are found by their key; messages about elements
 * give the pointer of `place`. NULL after a failure. */
static struct slm_dom *add(struct slm_schema *s, struct slm_dom *to, const char *key, enum slm_dom_kind kind,
                           const struct slm_dom *place)
{
    struct slm_dom *node = slm_arena_alloc(&s->arena, 1, sizeof *node, "schema", s->nfa->error);
    if (!node) {
        s->nfa->failed = SLM_ERR_MEMORY;
        return NULL;
    }
    const bool member = to && to->kind == SLM_DOM_OBJECT;
    *node = (struct slm_dom){.kind = kind, .id = SLM_DOM_MAX_NODES + s->n_made++,
                             .key = member ? slm_str(key) : place->key, .parent = member ? to : place->parent,
                             .index = place->index};
    if (!to) return node;
    const struct slm_dom **last = &to->first;
    while (*last) last = (const struct slm_dom **)(uintptr_t)&(*last)->next;
    *last = node;
    to->n++;
    return node;
}

/* The same value under another key; what lies below is shared, and messages about that are right as they are. */
static struct slm_dom *add_copy(struct slm_schema *s, struct slm_dom *to, const char *key, const struct slm_dom *from)
{
    struct slm_dom *node = to ? add(s, to, key, from->kind, from) : NULL;
    if (!node) return NULL;
    node->first = from->first;
    node->n = from->n;
    node->text = from->text;
    return node;
}

/* {"type": "object", ...} */
static struct slm_dom *add_typed(struct slm_schema *s, struct slm_dom *to, const char *type,
                                 const struct slm_dom *place)
{
    struct slm_dom *node = to ? add(s, to, "", SLM_DOM_OBJECT, place) : NULL;
    struct slm_dom *name = node ? add(s, node, "type", SLM_DOM_STRING, place) : NULL;
    if (name) name->text = slm_str(type);
    return node;
}

/* {..., "properties": {key: ...}}: the new property, of this kind. */
static struct slm_dom *add_property(struct slm_schema *s, struct slm_dom *to, struct slm_str key,
                                    enum slm_dom_kind kind, const struct slm_dom *place)
{
    struct slm_dom *properties = to ? add(s, to, "properties", SLM_DOM_OBJECT, place) : NULL;
    struct slm_dom *own = properties ? add(s, properties, "", kind, place) : NULL;
    if (own) own->key = key;
    return own;
}

/* {..., "required": [key]}, with those of a list. */
static void add_required(struct slm_schema *s, struct slm_dom *to, struct slm_str key, const struct slm_dom *names,
                         const struct slm_dom *place)
{
    struct slm_dom *list = to ? add(s, to, "required", SLM_DOM_ARRAY, place) : NULL;
    struct slm_dom *own = list ? add(s, list, "", SLM_DOM_STRING, place) : NULL;
    if (own) own->text = key;
    for (const struct slm_dom *name = names ? names->first : NULL; name && own; name = name->next) {
        if (name->kind != SLM_DOM_STRING) slm_schema_fail(s, name, SLM_ERR_FORMAT, "a key is a text");
        own = add_copy(s, list, "", name);
    }
}

/* {"not": schema} */
static void add_not(struct slm_schema *s, struct slm_dom *to, const struct slm_dom *schema)
{
    struct slm_dom *node = to ? add(s, to, "", SLM_DOM_OBJECT, schema) : NULL;
    (void)add_copy(s, node, "not", schema);
}

/* ---- negation --------------------------------------------------------------------------------------------------- */

/* What does not hold when one keyword does not: alternatives are added to the list. */
typedef void negate_fn(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value);

/* It has one keyword at most that asserts something: schema_types.c takes it as it is. */
static void no_constant(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value)
{
    struct slm_dom *node = any ? add(s, any, "", SLM_DOM_OBJECT, value) : NULL;
    struct slm_dom *not_these = node ? add(s, node, "not", SLM_DOM_OBJECT, value) : NULL;
    struct slm_dom *copy = add_copy(s, not_these, "", value);
    if (copy) copy->key = value->key;
}

/* One of them is missing. */
static void no_required(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value)
{
    for (const struct slm_dom *name = value->first; name && s->nfa->failed == SLM_OK; name = name->next) {
        if (name->kind != SLM_DOM_STRING) slm_schema_fail(s, name, SLM_ERR_FORMAT, "a key is a text");
        add_property(s, add_typed(s, any, "object", name), name->text, SLM_DOM_FALSE, name);
    }
}

/* One of them is there, and not as described. */
static void no_properties(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value)
{
    for (const struct slm_dom *p = value->first; p && s->nfa->failed == SLM_OK; p = p->next) {
        struct slm_dom *node = add_typed(s, any, "object", p);
        struct slm_dom *own = add_property(s, node, p->key, SLM_DOM_OBJECT, p);
        (void)add_copy(s, own, "not", p);
        add_required(s, node, p->key, NULL, p);
    }
}

/* One of them does not hold. */
static void no_all_of(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value)
{
    for (const struct slm_dom *part = value->first; part && s->nfa->failed == SLM_OK; part = part->next)
        add_not(s, any, part);
}

/* None of them holds. */
static void no_any_of(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value)
{
    struct slm_dom *node = any ? add(s, any, "", SLM_DOM_OBJECT, value) : NULL;
    struct slm_dom *all = node ? add(s, node, "allOf", SLM_DOM_ARRAY, value) : NULL;
    no_all_of(s, all, value);
}

/* It holds. */
static void no_not(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value)
{
    (void)add_copy(s, any, "", value);
}

/* A number on the other side. */
static void no_bound(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *value)
{
    static const char *const opposite[][2] = {{"minimum", "exclusiveMaximum"}, {"maximum", "exclusiveMinimum"},
                                              {"exclusiveMinimum", "maximum"}, {"exclusiveMaximum", "minimum"}};
    struct slm_dom *node = add_typed(s, any, "number", value);
    for (size_t i = 0; i < sizeof opposite / sizeof *opposite; i++)
        if (slm_str_is(value->key, opposite[i][0])) (void)add_copy(s, node, opposite[i][1], value);
}

/* Keywords that assert something; NULL: what it asserts cannot be negated here. Others say nothing. */
static const struct { const char *name; enum slm_dom_kind kind; negate_fn *negate; } asserting[] = {
    {"enum", SLM_DOM_ARRAY, no_constant}, {"required", SLM_DOM_ARRAY, no_required},
    {"properties", SLM_DOM_OBJECT, no_properties}, {"allOf", SLM_DOM_ARRAY, no_all_of},
    {"anyOf", SLM_DOM_ARRAY, no_any_of}, {"minimum", SLM_DOM_NUMBER, no_bound}, {"maximum", SLM_DOM_NUMBER, no_bound},
    {"exclusiveMinimum", SLM_DOM_NUMBER, no_bound}, {"exclusiveMaximum", SLM_DOM_NUMBER, no_bound},
    {"const", SLM_DOM_NULL, no_constant}, {"type", SLM_DOM_NULL, no_constant}, {"not", SLM_DOM_NULL, no_not},
    {"$ref", SLM_DOM_NULL, NULL}, {"oneOf", SLM_DOM_NULL, NULL}, {"if", SLM_DOM_NULL, NULL},
    {"dependentRequired", SLM_DOM_NULL, NULL}, {"dependentSchemas", SLM_DOM_NULL, NULL},
    {"dependencies", SLM_DOM_NULL, NULL}, {"minLength", SLM_DOM_NULL, NULL}, {"maxLength", SLM_DOM_NULL, NULL},
    {"pattern", SLM_DOM_NULL, NULL}, {"format", SLM_DOM_NULL, NULL}, {"multipleOf", SLM_DOM_NULL, NULL},
    {"items", SLM_DOM_NULL, NULL}, {"prefixItems", SLM_DOM_NULL, NULL}, {"additionalItems", SLM_DOM_NULL, NULL},
    {"minItems", SLM_DOM_NULL, NULL}, {"maxItems", SLM_DOM_NULL, NULL}, {"additionalProperties", SLM_DOM_NULL, NULL},
    {"patternProperties", SLM_DOM_NULL, NULL}, {"propertyNames", SLM_DOM_NULL, NULL},
    {"minProperties", SLM_DOM_NULL, NULL}, {"maxProperties", SLM_DOM_NULL, NULL},
    {"unevaluatedProperties", SLM_DOM_NULL, NULL},
};

/* Adds the alternatives of "not this schema". */
static void negate(struct slm_schema *s, struct slm_dom *any, const struct slm_dom *schema)
{
    if (schema->kind == SLM_DOM_FALSE) (void)add(s, any, "", SLM_DOM_TRUE, schema);
    if (schema->kind == SLM_DOM_FALSE || schema->kind == SLM_DOM_TRUE) return;
    if (schema->kind != SLM_DOM_OBJECT) {
        slm_schema_fail(s, schema, SLM_ERR_FORMAT, "a schema is an object, true or false");
        return;
    }
    slm_schema_check(s, schema);
    for (const struct slm_dom *k = schema->first; k && s->nfa->failed == SLM_OK; k = k->next) {
        for (size_t i = 0; i < sizeof asserting / sizeof *asserting; i++) {
            if (!slm_str_is(k->key, asserting[i].name)) continue;
            if (!asserting[i].negate)
                slm_schema_fail(s, k, SLM_ERR_UNSUPPORTED, "what it says cannot be negated exactly, so it is refused");
            else if (asserting[i].kind != SLM_DOM_NULL && k->kind != asserting[i].kind)
                slm_schema_fail(s, k, SLM_ERR_FORMAT, "it has a value of another kind");
            else asserting[i].negate(s, any, k);
        }
    }
}

/* Does "not" say no more than which constants or types there are not? */
bool slm_schema_is_simple(const struct slm_dom *schema)
{
    size_t n = 0, n_simple = 0;
    for (const struct slm_dom *k = schema->kind == SLM_DOM_OBJECT ? schema->first : NULL; k; k = k->next)
        for (size_t i = 0; i < sizeof asserting / sizeof *asserting; i++) {
            if (!slm_str_is(k->key, asserting[i].name)) continue;
            n++;
            n_simple += asserting[i].negate == no_constant;
        }
    return n == 1 && n_simple == 1;
}

/* ---- rewriting -------------------------------------------------------------------------------------------------- */

/* {"anyOf": []} in the list of what has to hold; its alternatives are to be filled in. */
static struct slm_dom *add_choice(struct slm_schema *s, struct slm_dom *all, const struct slm_dom *place)
{
    struct slm_dom *node = all ? add(s, all, "", SLM_DOM_OBJECT, place) : NULL;
    return node ? add(s, node, "anyOf", SLM_DOM_ARRAY, place) : NULL;
}

/* Without alternatives nothing can hold: an anyOf of none is no schema, but false is. */
static void rewrite_not(struct slm_schema *s, struct slm_dom *all, const struct slm_dom *schema)
{
    struct slm_dom *any = add_choice(s, all, schema);
    if (any) negate(s, any, schema);
    if (any && !any->first) (void)add(s, any, "", SLM_DOM_FALSE, schema);
}

static void rewrite_if(struct slm_schema *s, struct slm_dom *all, const struct slm_dom *schema)
{
    const struct slm_dom *condition = slm_dom_get(schema, "if");
    const struct slm_dom *branches[] = {slm_dom_get(schema, "then"), slm_dom_get(schema, "else")};
    if (!branches[0] && !branches[1]) return;
    struct slm_dom *any = add_choice(s, all, condition);
    for (size_t i = 0; i < 2 && any; i++) {
        struct slm_dom *node = add(s, any, "", SLM_DOM_OBJECT, condition);
        struct slm_dom *both = node ? add(s, node, "allOf", SLM_DOM_ARRAY, condition) : NULL;
        if (i == 0) (void)add_copy(s, both, "", condition);
        else add_not(s, both, condition);
        if (branches[i]) (void)add_copy(s, both, "", branches[i]);
    }
}

/* Key by key: a list of further keys, or a schema of the whole object. */
static void rewrite_dependent(struct slm_schema *s, struct slm_dom *all, const struct slm_dom *value)
{
    if (value->kind != SLM_DOM_OBJECT) {
        slm_schema_fail(s, value, SLM_ERR_FORMAT, "it is an object");
        return;
    }
    for (const struct slm_dom *k = value->first; k && s->nfa->failed == SLM_OK; k = k->next) {
        const bool names = k->kind == SLM_DOM_ARRAY;
        struct slm_dom *any = add_choice(s, all, k);
        struct slm_dom *without = any ? add(s, any, "", SLM_DOM_OBJECT, k) : NULL;
        add_property(s, without, k->key, SLM_DOM_FALSE, k);
        struct slm_dom *with = any ? add(s, any, "", SLM_DOM_OBJECT, k) : NULL;
        add_required(s, with, k->key, names ? k : NULL, k);
        struct slm_dom *own = with && !names ? add(s, with, "allOf", SLM_DOM_ARRAY, k) : NULL;
        if (own) (void)add_copy(s, own, "", k);
    }
}

static const char *const dependent[] = {"dependentRequired", "dependentSchemas", "dependencies"};

bool slm_schema_has_conditions(const struct slm_dom *schema)
{
    bool has = slm_dom_get(schema, "if") || slm_dom_get(schema, "not");
    for (size_t i = 0; i < 3; i++) has |= slm_dom_get(schema, dependent[i]) != NULL;
    return has;
}

const struct slm_dom *slm_schema_rewrite(struct slm_schema *s, const struct slm_dom *schema)
{
    const struct slm_dom *condition = slm_dom_get(schema, "if"), *negated = slm_dom_get(schema, "not"), *value;
    bool asks = condition || (negated && !slm_schema_is_simple(negated));
    for (size_t i = 0; i < 3; i++) asks |= slm_dom_get(schema, dependent[i]) != NULL;
    if (!asks) return NULL;
    struct slm_schema_rewritten **head = &s->rewritten[schema->id % SLM_SCHEMA_REWRITTEN];
    for (const struct slm_schema_rewritten *r = *head; r; r = r->next)
        if (r->schema == schema) return r->all;
    struct slm_schema_rewritten *r = slm_arena_alloc(&s->arena, 1, sizeof *r, "schema", s->nfa->error);
    struct slm_dom *all = r ? add(s, NULL, "", SLM_DOM_ARRAY, schema) : NULL;
    if (!all) {
        s->nfa->failed = SLM_ERR_MEMORY;
        return NULL;
    }
    if (condition) rewrite_if(s, all, schema);
    if (negated && !slm_schema_is_simple(negated)) rewrite_not(s, all, negated);
    for (size_t i = 0; i < 3; i++)
        if ((value = slm_dom_get(schema, dependent[i]))) rewrite_dependent(s, all, value);
    *r = (struct slm_schema_rewritten){schema, all, *head};
    *head = r;
    return all;
}
