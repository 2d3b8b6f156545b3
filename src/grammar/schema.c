/* SPDX-License-Identifier: MIT
 * From JSON Schema to rules: what must hold together. allOf and $ref put schemas into one conjunction, anyOf and oneOf
 * make alternatives of it, each with its branch put in; what is left then is one list of schemas about one value. Each
 * distinct list gets one rule, so recursion in a schema is recursion among rules, and the work is a list that is done
 * one after the other.
 *
 * Nothing is widened. A keyword that asserts something and is not enforced here is refused with its JSON pointer; one
 * that asserts nothing (title, x-anything) is passed over, as the standard has it. A branch of oneOf must be told from
 * the others by its type, its constants or a required property with different constants: else "exactly one" would mean
 * to search for texts that fit two, and it is refused.
 *
 * Deliberately not here: how values are written (schema_types.c, schema_object.c). */
#include "grammar/schema.h"
#include "base/os.h"

#define NONE SLM_NFA_NONE
enum { CHOSEN_ANY = 1, CHOSEN_ONE = 2 };

/* Keywords that assert what is not enforced. "false" where that value asserts nothing. */
static const struct { const char *name; bool unless_false; } refused[] = {
    {"contains", false}, {"minContains", false}, {"maxContains", false}, {"uniqueItems", true},
    {"unevaluatedItems", false},
    {"$dynamicRef", false}, {"$recursiveRef", false}, {"contentSchema", false}, {"extends", false},
    {"disallow", false}, {"divisibleBy", false},
};

/* The pointer is made at once: the message may come from deep inside the builder. */
void slm_schema_at(struct slm_schema *s, const struct slm_dom *node)
{
    slm_dom_pointer(node, s->where, sizeof s->where);
    s->nfa->where = s->where;
}

/* Only the first failure is told. */
slm_status slm_schema_fail(struct slm_schema *s, const struct slm_dom *node, slm_status status, const char *format, ...)
{
    char message[256];
    va_list args;
    if (s->nfa->failed != SLM_OK) return s->nfa->failed;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    slm_schema_at(s, node);
    return slm_nfa_fail(s->nfa, status, "%s", message);
}

/* ---- conjunctions ---------------------------------------------------------------------------------------------- */

/* Refusing comes before anything is compiled of a schema, so nothing is passed over by accident. */
void slm_schema_check(struct slm_schema *s, const struct slm_dom *schema)
{
    for (const struct slm_dom *k = schema->first; k; k = k->next) {
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            if (!slm_str_is(k->key, refused[i].name) || (refused[i].unless_false && k->kind == SLM_DOM_FALSE)) continue;
            slm_schema_fail(s, k, SLM_ERR_UNSUPPORTED, "this keyword cannot be enforced exactly, so it is refused");
        }
    }
}

/* One step of a pointer: the member or element of this name. */
static const struct slm_dom *child_named(const struct slm_dom *node, struct slm_str name)
{
    if (node->kind != SLM_DOM_ARRAY) return slm_dom_find(node, name);
    /* An element of a list, by its number. */
    uint32_t index = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '0' || name.ptr[i] > '9' || index > SLM_DOM_MAX_NODES) return NULL;
        index = 10 * index + (uint32_t)(name.ptr[i] - '0');
    }
    const struct slm_dom *child = name.len ? node->first : NULL;
    while (child && child->index < index) child = child->next;
    return child;
}

/* A step with its escapes undone: %XX as in addresses, ~0 and ~1 as in pointers. */
static bool decode_step(struct slm_str raw, struct slm_buf *out)
{
    slm_buf_clear(out);
    for (size_t i = 0; i < raw.len;) {
        char c = raw.ptr[i++];
        uint32_t code;
        if (c == '%') {
            if (!slm_parse_hex(raw, &i, 2, &code)) return false;
            c = (char)code;
        } else if (c == '~') {
            if (i >= raw.len || (raw.ptr[i] != '0' && raw.ptr[i] != '1')) return false;
            c = raw.ptr[i++] == '0' ? '~' : '/';
        }
        slm_buf_add(out, &c, 1);
    }
    return out->failed == SLM_OK;
}

/* The schema with this "$anchor", which must be the only one: that it stands among constants, or in a part with an
 * address of its own, would be hard to tell. Goes through the document in its order. */
static const struct slm_dom *anchor(struct slm_schema *s, const struct slm_dom *ref, struct slm_str name)
{
    const struct slm_dom *found = NULL;
    size_t n = 0;
    for (const struct slm_dom *at = s->root; at;) {
        const struct slm_dom *own = slm_dom_get(at, "$anchor");
        if (own && own->kind == SLM_DOM_STRING && slm_str_equal(own->text, name)) found = at, n++;
        const struct slm_dom *next = at->first;
        for (; !next && at != s->root; at = at->parent) next = at->next;
        at = next;
    }
    /* Among constants it would be no schema. */
    bool open = n == 1;
    for (const struct slm_dom *up = found; open && up && up->parent; up = up->parent)
        open = !slm_dom_get(up, "$id") && !slm_str_is(up->key, "const") && !slm_str_is(up->key, "enum");
    if (n == 0) slm_schema_fail(s, ref, SLM_ERR_FORMAT, "there is no $anchor of this name");
    else if (!open) slm_schema_fail(s, ref, SLM_ERR_UNSUPPORTED, "it is not clear which $anchor it points to");
    return open ? found : NULL;
}

/* Step by step from the root; a step that leads nowhere ends it. */
const struct slm_dom *slm_schema_follow(struct slm_schema *s, const struct slm_dom *ref)
{
    struct slm_buf step = {0};
    const struct slm_dom *node = s->root;
    const struct slm_str text = ref->text;
    if (ref->kind != SLM_DOM_STRING) {
        slm_schema_fail(s, ref, SLM_ERR_FORMAT, "$ref is a text");
        return NULL;
    }
    /* Nothing is ever fetched. An address of a part of the document would change what # is. */
    const bool local = text.len > 0 && text.ptr[0] == '#';
    for (const struct slm_dom *up = ref->parent; local && up; up = up->parent) {
        const struct slm_dom *id = up->parent ? slm_dom_get(up, "$id") : NULL;
        if (!id || id->kind != SLM_DOM_STRING) continue;
        slm_schema_fail(s, id, SLM_ERR_UNSUPPORTED, "references within a part that has an address of its own");
        return NULL;
    }
    if (local && text.len > 1 && text.ptr[1] != '/')
        return anchor(s, ref, (struct slm_str){text.ptr + 1, text.len - 1});
    if (!local) {
        slm_schema_fail(s, ref, SLM_ERR_UNSUPPORTED, "only references within the schema (#/..., #name) are followed");
        return NULL;
    }
    for (size_t at = 1; at < text.len && node;) {
        const char *slash = memchr(text.ptr + at + 1, '/', text.len - at - 1);
        const size_t end = slash ? (size_t)(slash - text.ptr) : text.len;
        const bool ok = decode_step((struct slm_str){text.ptr + at + 1, end - at - 1}, &step);
        node = ok ? child_named(node, (struct slm_str){step.data, step.len}) : NULL;
        at = end;
    }
    slm_buf_release(&step);
    if (!node) slm_schema_fail(s, ref, SLM_ERR_FORMAT, "there is nothing where it points to");
    return node;
}

/* Adds a node that part number `by` asked for. One that asks for itself, over whatever others, without going into the
 * value in between, says nothing that could be checked. via: who asked for each part. */
static void add_part(struct slm_schema *s, struct slm_conj *conj, const struct slm_dom *node, size_t by, size_t *via)
{
    for (size_t i = 0; i < conj->n; i++) {
        if (conj->parts[i].node != node) continue;
        bool circle = conj->parts[i].chosen != 0; /* it is a branch of itself */
        for (size_t up = by; up != SIZE_MAX && !circle; up = via[up]) circle = up == i;
        if (circle) slm_schema_fail(s, node, SLM_ERR_UNSUPPORTED, "it refers to itself about the same value");
        return;
    }
    if (conj->n == SLM_SCHEMA_MAX_PARTS) {
        slm_schema_fail(s, node, SLM_ERR_LIMIT, "more than %d schemas have to hold at once", SLM_SCHEMA_MAX_PARTS);
        return;
    }
    via[conj->n] = by;
    conj->parts[conj->n++] = (struct slm_schema_part){node, 0};
}

void slm_conj_add(struct slm_schema *s, struct slm_conj *conj, const struct slm_dom *schema)
{
    size_t via[SLM_SCHEMA_MAX_PARTS], done = conj->n;
    for (size_t i = 0; i < done; i++) via[i] = SIZE_MAX;
    add_part(s, conj, schema, SIZE_MAX, via);
    for (; done < conj->n && s->nfa->failed == SLM_OK; done++) {
        /* What it asks for is added behind it, and gets its turn. */
        const struct slm_dom *node = conj->parts[done].node;
        if (node->kind == SLM_DOM_FALSE) conj->never = true;
        else if (node->kind != SLM_DOM_TRUE && node->kind != SLM_DOM_OBJECT)
            slm_schema_fail(s, node, SLM_ERR_FORMAT, "a schema is an object, true or false");
        if (node->kind != SLM_DOM_OBJECT) continue;
        slm_schema_check(s, node);
        const struct slm_dom *ref = slm_dom_get(node, "$ref"), *all = slm_dom_get(node, "allOf");
        const struct slm_dom *target = ref ? slm_schema_follow(s, ref) : NULL;
        if (target) add_part(s, conj, target, done, via);
        if (all && (all->kind != SLM_DOM_ARRAY || !all->first))
            slm_schema_fail(s, all, SLM_ERR_FORMAT, "allOf is an array of at least one schema");
        for (const struct slm_dom *part = all ? all->first : NULL; part; part = part->next)
            add_part(s, conj, part, done, via);
        /* What it says with conditions and negations, as schemas without them. */
        const struct slm_dom *more = s->nfa->failed == SLM_OK ? slm_schema_rewrite(s, node) : NULL;
        for (const struct slm_dom *part = more ? more->first : NULL; part; part = part->next)
            add_part(s, conj, part, done, via);
    }
}

/* Only the parts that are in use. */
static void conj_copy(struct slm_conj *to, const struct slm_schema_part *parts, size_t n, bool never)
{
    memcpy(to->parts, parts, n * sizeof *parts);
    to->n = n;
    to->never = never;
}

/* In the order of the document, so that equal conjunctions are equal lists. What asserts nothing is dropped. */
static size_t in_order(const struct slm_conj *conj, struct slm_schema_part *out)
{
    size_t n = 0;
    for (size_t i = 0; i < conj->n; i++) {
        const struct slm_schema_part part = conj->parts[i];
        if (part.node->kind == SLM_DOM_TRUE) continue;
        size_t k = n++;
        for (; k > 0 && out[k - 1].node->id > part.node->id; k--) out[k] = out[k - 1];
        out[k] = part;
    }
    return n;
}

/* The same parts, chosen from alike, are the same rule: that is what makes recursion end. */
uint32_t slm_conj_rule(struct slm_schema *s, const struct slm_conj *conj)
{
    struct slm_schema_part parts[SLM_SCHEMA_MAX_PARTS];
    size_t n = conj->never ? 0 : in_order(conj, parts);
    uint64_t hash = conj->never;
    if (s->nfa->failed != SLM_OK) return 0;
    /* Nothing is asked: any value. */
    if (n == 0 && !conj->never) return s->value;
    for (size_t i = 0; i < n; i++) hash = hash * 31 + parts[i].node->id * 4 + parts[i].chosen;
    uint32_t *head = &s->heads[hash % 1024];
    for (uint32_t i = *head; i != NONE; i = s->rules[i].next) {
        bool same = s->rules[i].n == n && s->rules[i].never == conj->never;
        for (size_t k = 0; k < n && same; k++)
            same = s->rules[i].parts[k].node == parts[k].node && s->rules[i].parts[k].chosen == parts[k].chosen;
        if (same) return s->rules[i].rule;
    }
    /* A new one, to be written when its turn comes. */
    if (s->n_rules == s->cap_rules) {
        const size_t cap = s->cap_rules ? 2 * s->cap_rules : 64;
        void *rules = slm_realloc(s->rules, cap, sizeof *s->rules, "schema", s->nfa->error);
        if (!rules) {
            s->nfa->failed = SLM_ERR_MEMORY;
            return 0;
        }
        s->rules = rules;
        s->cap_rules = cap;
    }
    struct slm_schema_part *kept = slm_arena_alloc(&s->arena, n + 1, sizeof *kept, "schema", s->nfa->error);
    if (!kept) {
        s->nfa->failed = SLM_ERR_MEMORY;
        return 0;
    }
    memcpy(kept, parts, n * sizeof *kept);
    const uint32_t rule = slm_nfa_rule(s->nfa);
    s->rules[s->n_rules] = (struct slm_schema_rule){kept, n, rule, *head, conj->never};
    *head = (uint32_t)s->n_rules++;
    return rule;
}

/* In the order of the parts. */
const struct slm_dom *slm_conj_keyword(const struct slm_conj *conj, const char *keyword, size_t i)
{
    for (size_t k = 0; k < conj->n; k++) {
        const struct slm_dom *value = slm_dom_get(conj->parts[k].node, keyword);
        if (value && i-- == 0) return value;
    }
    return NULL;
}

/* ---- types ----------------------------------------------------------------------------------------------------- */

static const struct { const char *name; unsigned types; } type_names[] = {
    {"null", SLM_TYPE_NULL}, {"boolean", SLM_TYPE_BOOLEAN}, {"integer", SLM_TYPE_WHOLE},
    {"number", SLM_TYPE_WHOLE | SLM_TYPE_FRACTION}, {"string", SLM_TYPE_STRING}, {"array", SLM_TYPE_ARRAY},
    {"object", SLM_TYPE_OBJECT},
};

/* The bits of one name. */
static unsigned named_types(struct slm_schema *s, const struct slm_dom *name)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (name->kind == SLM_DOM_STRING && slm_str_is(name->text, type_names[i].name)) return type_names[i].types;
    /* Misspelt ones would leave nothing, silently. */
    slm_schema_fail(s, name, SLM_ERR_FORMAT,
                    "types are null, boolean, integer, number, string, array and object");
    return 0;
}

/* One name, or a list; NULL: none. */
static unsigned types_of(struct slm_schema *s, const struct slm_dom *value)
{
    unsigned named = 0;
    if (!value || value->kind != SLM_DOM_ARRAY) return value ? named_types(s, value) : 0;
    if (!value->first) slm_schema_fail(s, value, SLM_ERR_FORMAT, "an empty list of types");
    for (const struct slm_dom *t = value->first; t; t = t->next) named |= named_types(s, t);
    return named;
}

/* 1.0 is whole, as the standard has it. */
unsigned slm_type_of(const struct slm_dom *value)
{
    static const unsigned types[] = {
        [SLM_DOM_NULL] = SLM_TYPE_NULL, [SLM_DOM_FALSE] = SLM_TYPE_BOOLEAN, [SLM_DOM_TRUE] = SLM_TYPE_BOOLEAN,
        [SLM_DOM_NUMBER] = SLM_TYPE_FRACTION, [SLM_DOM_STRING] = SLM_TYPE_STRING, [SLM_DOM_ARRAY] = SLM_TYPE_ARRAY,
        [SLM_DOM_OBJECT] = SLM_TYPE_OBJECT,
    };
    struct slm_decimal d;
    const bool whole = value->kind == SLM_DOM_NUMBER && slm_decimal_read(value->text, &d) && d.exponent >= 0;
    return whole ? SLM_TYPE_WHOLE : types[value->kind];
}

/* What all of the keywords leave. */
unsigned slm_conj_types(struct slm_schema *s, const struct slm_conj *conj)
{
    unsigned types = conj->never ? 0 : SLM_TYPE_ANY;
    const struct slm_dom *value;
    for (size_t i = 0; (value = slm_conj_keyword(conj, "type", i)); i++) types &= types_of(s, value);
    for (size_t i = 0; (value = slm_conj_keyword(conj, "not", i)); i++) {
        const struct slm_dom *list = slm_dom_get(value, "enum");
        if (list && list->kind != SLM_DOM_ARRAY) slm_schema_fail(s, list, SLM_ERR_FORMAT, "an enum is an array");
        if (slm_schema_is_simple(value)) types &= ~types_of(s, slm_dom_get(value, "type"));
    }
    for (size_t i = 0; (value = slm_conj_keyword(conj, "const", i)); i++) types &= slm_type_of(value);
    for (size_t i = 0; (value = slm_conj_keyword(conj, "enum", i)); i++) {
        unsigned listed = 0;
        for (const struct slm_dom *v = value->first; v; v = v->next) listed |= slm_type_of(v);
        types &= listed;
    }
    return types;
}

/* ---- alternatives ---------------------------------------------------------------------------------------------- */

/* Do two lists of constants have nothing in common? Each a const, or an enum. */
static bool no_common_constant(const struct slm_conj *a, const struct slm_conj *b)
{
    const struct slm_dom *lists[2];
    for (int i = 0; i < 2; i++) {
        const struct slm_conj *conj = i ? b : a;
        const struct slm_dom *one = slm_conj_keyword(conj, "const", 0), *many = slm_conj_keyword(conj, "enum", 0);
        lists[i] = one ? one : many ? many->first : NULL;
        if (!lists[i]) return false;
    }
    /* A const stands alone, though it has siblings that are other keywords. */
    const bool one_a = slm_conj_keyword(a, "const", 0) != NULL, one_b = slm_conj_keyword(b, "const", 0) != NULL;
    bool unsure = false;
    for (const struct slm_dom *x = lists[0]; x; x = one_a ? NULL : x->next)
        for (const struct slm_dom *y = lists[1]; y; y = one_b ? NULL : y->next)
            if (slm_dom_equal(x, y, &unsure) || unsure) return false;
    return true;
}

/* By any of the parts. */
static bool requires(const struct slm_conj *conj, struct slm_str key)
{
    const struct slm_dom *list;
    for (size_t i = 0; (list = slm_conj_keyword(conj, "required", i)); i++)
        for (const struct slm_dom *name = list->first; name; name = name->next)
            if (name->kind == SLM_DOM_STRING && slm_str_equal(name->text, key)) return true;
    return false;
}

/* All that the conjunction says about one property. */
static void property_of(struct slm_schema *s, const struct slm_conj *conj, struct slm_str key, struct slm_conj *out)
{
    const struct slm_dom *properties;
    out->n = 0;
    out->never = false;
    for (size_t i = 0; (properties = slm_conj_keyword(conj, "properties", i)); i++) {
        const struct slm_dom *schema = slm_dom_find(properties, key);
        if (schema) slm_conj_add(s, out, schema);
    }
}

/* Is no value in both? True only where that is plain to see. `inner`: room for two more conjunctions. */
static bool disjoint(struct slm_schema *s, const struct slm_conj *a, const struct slm_conj *b, struct slm_conj inner[2])
{
    const unsigned common = slm_conj_types(s, a) & slm_conj_types(s, b);
    const struct slm_dom *properties;
    if (common == 0 || no_common_constant(a, b)) return true;
    /* Objects are apart when a key that both must have is. */
    if (common != SLM_TYPE_OBJECT) return false;
    for (size_t i = 0; (properties = slm_conj_keyword(a, "properties", i)); i++) {
        for (const struct slm_dom *p = properties->first; p; p = p->next) {
            if (!requires(a, p->key) || !requires(b, p->key)) continue;
            property_of(s, a, p->key, &inner[0]);
            property_of(s, b, p->key, &inner[1]);
            if ((slm_conj_types(s, &inner[0]) & slm_conj_types(s, &inner[1])) == 0) return true;
            if (no_common_constant(&inner[0], &inner[1])) return true;
        }
    }
    return false;
}

/* Every branch with every later one. */
static void check_one_of(struct slm_schema *s, const struct slm_dom *list)
{
    struct slm_conj *conj = slm_alloc(4, sizeof *conj, "schema", s->nfa->error);
    if (!conj) s->nfa->failed = SLM_ERR_MEMORY;
    for (const struct slm_dom *x = list->first; x && s->nfa->failed == SLM_OK; x = x->next) {
        conj[0].n = 0;
        conj[0].never = false;
        slm_conj_add(s, &conj[0], x);
        for (const struct slm_dom *y = x->next; y && s->nfa->failed == SLM_OK; y = y->next) {
            conj[1].n = 0;
            conj[1].never = false;
            slm_conj_add(s, &conj[1], y);
            if (!disjoint(s, &conj[0], &conj[1], conj + 2))
                slm_schema_fail(s, list, SLM_ERR_UNSUPPORTED,
                                "branches %u and %u may both fit a value: tell them apart by type, const or a required "
                                "property with different constants, or use anyOf", x->index, y->index);
        }
    }
    slm_release(conj);
}

/* The first disjunction that was not chosen from; the part's bit is set, for all branches alike. */
static const struct slm_dom *next_choice(struct slm_schema *s, struct slm_conj *conj)
{
    static const struct { const char *name; unsigned bit; } kinds[] = {{"anyOf", CHOSEN_ANY}, {"oneOf", CHOSEN_ONE}};
    for (size_t i = 0; i < conj->n; i++) {
        for (size_t k = 0; k < 2; k++) {
            const struct slm_dom *list = slm_dom_get(conj->parts[i].node, kinds[k].name);
            if (!list || conj->parts[i].chosen & kinds[k].bit) continue;
            conj->parts[i].chosen |= kinds[k].bit;
            if (list->kind != SLM_DOM_ARRAY || !list->first)
                slm_schema_fail(s, list, SLM_ERR_FORMAT, "it is an array of at least one schema");
            else if (kinds[k].bit == CHOSEN_ONE) check_one_of(s, list);
            return list;
        }
    }
    return NULL;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* One conjunction: its alternatives, each a conjunction of its own, or else its value. */
static void write_rule(struct slm_schema *s, size_t index, struct slm_conj *conj, struct slm_conj *branch)
{
    const struct slm_schema_rule r = s->rules[index];
    conj_copy(conj, r.parts, r.n, r.never);
    if (r.n) slm_schema_at(s, r.parts[r.n - 1].node);
    const struct slm_dom *list = next_choice(s, conj);
    if (!list) {
        slm_nfa_define(s->nfa, r.rule, r.never ? slm_frag_never(s->nfa) : slm_schema_value(s, conj));
        return;
    }
    /* The branch joins what holds already. */
    struct slm_frag all = slm_frag_never(s->nfa);
    for (const struct slm_dom *b = list->first; b && s->nfa->failed == SLM_OK; b = b->next) {
        conj_copy(branch, conj->parts, conj->n, conj->never);
        slm_conj_add(s, branch, b);
        all = slm_frag_or(s->nfa, all, slm_frag_call(s->nfa, slm_conj_rule(s, branch)));
    }
    slm_nfa_define(s->nfa, r.rule, all);
}

/* Rules are named by where their schema stands. */
static const char *name_of(const void *user, uint32_t rule)
{
    struct slm_schema *s = (struct slm_schema *)(uintptr_t)user;
    for (size_t i = 0; i < s->n_rules; i++)
        if (s->rules[i].rule == rule && s->rules[i].n) slm_schema_at(s, s->rules[i].parts[0].node);
    return s->where;
}

/* Line ends, as models put them around marks. */
static struct slm_frag line_ends(struct slm_nfa *nfa, uint32_t most)
{
    return slm_frag_repeat(nfa, slm_frag_text(nfa, "\n"), 0, most);
}

/* A value and the mark behind it; the one in front as well unless it was there already. */
static struct slm_frag framed(struct slm_nfa *nfa, const struct slm_grammar_frame *frame, uint32_t value, bool opened)
{
    struct slm_frag all = slm_frag_empty(nfa);
    if (!opened && frame->open) all = slm_frag_cat(nfa, all, slm_frag_mark(nfa, slm_str(frame->open)));
    /* JSON itself allows no white space in front or behind. */
    if (frame->line_ends) all = slm_frag_cat(nfa, all, line_ends(nfa, 1));
    all = slm_frag_cat(nfa, all, slm_frag_call(nfa, value));
    if (frame->line_ends) all = slm_frag_cat(nfa, all, line_ends(nfa, 1));
    if (!frame->close) return all;
    return slm_frag_cat(nfa, all, slm_frag_mark(nfa, slm_str(frame->close)));
}

/* The rule of the whole text: one framed value, and further ones up to as many as may be. */
static uint32_t write_frame(struct slm_nfa *nfa, const struct slm_grammar_frame *frame, uint32_t value)
{
    const uint32_t rule = slm_nfa_rule(nfa);
    struct slm_frag all = frame->after_text ? line_ends(nfa, 2) : slm_frag_empty(nfa);
    all = slm_frag_cat(nfa, all, framed(nfa, frame, value, frame->opened));
    if (frame->most > 1) {
        struct slm_frag more = line_ends(nfa, 1);
        more = slm_frag_cat(nfa, more, framed(nfa, frame, value, false));
        more = slm_frag_repeat(nfa, more, 0, frame->most == UINT32_MAX ? SLM_NFA_NONE : frame->most - 1);
        all = slm_frag_cat(nfa, all, more);
    }
    slm_nfa_define(nfa, rule, all);
    return rule;
}

/* The list of rules grows while it is worked off; it ends because conjunctions are finite, or at the limit of rules. */
slm_status slm_schema_parse(struct slm_nfa *nfa, struct slm_str text, const struct slm_grammar_frame *frame,
                            uint32_t *root)
{
    struct slm_schema *s = slm_alloc(1, sizeof *s, "schema", nfa->error);
    struct slm_conj *conj = slm_alloc(2, sizeof *conj, "schema", nfa->error);
    slm_status status = s && conj ? SLM_OK : SLM_ERR_MEMORY;
    if (status == SLM_OK) {
        s->nfa = nfa;
        for (size_t i = 0; i < 1024; i++) s->heads[i] = NONE;
        status = slm_dom_parse(text, "schema", &s->arena, &s->root, nfa->error);
    }
    if (status != SLM_OK) nfa->failed = status;
    else {
        slm_schema_base(s);
        slm_conj_add(s, conj, s->root);
        *root = slm_conj_rule(s, conj);
        for (; s->n_done < s->n_rules && nfa->failed == SLM_OK; s->n_done++) write_rule(s, s->n_done, conj, conj + 1);
        slm_schema_at(s, s->root);
        if (frame) *root = write_frame(nfa, frame, *root);
        slm_nfa_finish(nfa, *root, name_of, s);
    }
    nfa->where = NULL;
    if (s) slm_arena_release(&s->arena);
    if (s) slm_release(s->rules);
    slm_release(s);
    slm_release(conj);
    return nfa->failed;
}
