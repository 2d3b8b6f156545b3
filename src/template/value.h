/* SPDX-License-Identifier: MIT
 * The values a template computes with, and the state of one rendering.
 *
 * They mirror the Python objects jinja2 would use, because templates are written against Python's rules: int and bool
 * are both numbers, str() of a list is its repr, strings count code points, dicts keep insertion order. Values are 16
 * bytes and passed by value; what they point to lives in the arena of the rendering and dies with it. Nothing is ever
 * changed in place except a namespace's attributes, as in jinja2's immutable sandbox, so sharing needs no counting.
 *
 * A failed operation returns a value of kind V_FAIL; the error itself is already in the rendering. Every function
 * that walks a nested value spends fuel and depth, so a value that contains itself ends in an error, not a crash. */
#ifndef SLM_TEMPLATE_VALUE_H
#define SLM_TEMPLATE_VALUE_H
#include "base/arena.h"
#include "base/str.h"

enum value_kind {
    V_FAIL = 0,  /* the error is in the rendering */
    V_MISSING,   /* argument not given; end of an iteration; unset variable: never seen by a template */
    V_UNDEFINED, /* jinja2's Undefined: prints empty, is false, fails when used */
    V_NONE, V_BOOL, V_INT, V_FLOAT, V_STR, V_LIST, V_TUPLE, V_DICT,
    V_RANGE, V_VIEW, V_ITER, V_NAMESPACE, V_LOOP, V_MACRO, V_FUNCTION, V_METHOD, V_CYCLER, V_JOINER,
    V_KIND_COUNT
};

/* sub of V_UNDEFINED: how its error reads. Other values are the value_kind of the object that lacked the name. */
enum { UNDEFINED_NAME = 0, UNDEFINED_HINT = 1, UNDEFINED_UNSAFE = 2 };
enum { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS }; /* sub of V_VIEW */
enum { STR_PLAIN, STR_MARKUP };              /* sub of V_STR: markup escapes what is added to it */

struct text { /* a string: valid UTF-8 */
    const char *ptr;
    size_t len, n_chars;  /* bytes, code points */
    struct grow *owner;   /* the growing buffer ptr points into, or NULL */
};

#define TEXT(s) {.ptr = (s), .len = sizeof(s) - 1, .n_chars = sizeof(s) - 1} /* of an ASCII literal */

struct value {
    uint8_t kind, sub;
    union {
        bool b;
        int64_t i;
        double f;
        const struct text *s;
        const struct list *list;
        struct dict *dict;
        const struct range *range;
        struct iter *iter;
        struct dict *ns;
        struct loop *loop;
        const struct macro *macro;
        const struct builtin *function;
        const struct method *method;
        struct cycler *cycler;
        struct joiner *joiner;
    };
};

struct list { struct value *items; size_t n; };
struct entry { struct value key, value; uint64_t hash; };
struct dict {
    struct entry *entries; /* in insertion order; nothing is ever removed */
    size_t n, cap;
    uint32_t *index;       /* open addressing over entries, entry number + 1; NULL while small */
    size_t index_cap;
};
struct range { int64_t start, stop, step, n; };
struct iter { struct value *items; size_t n, pos; }; /* a generator, computed eagerly, consumed once */
struct method { struct value self; const struct builtin *builtin; };
struct cycler { const struct list *items; size_t pos; };
struct joiner { const struct text *separator; bool used; };

struct keyword { const struct text *name; struct value value; };
struct call { /* evaluated arguments */
    struct value *args;
    size_t n_args;
    struct keyword *keywords;
    size_t n_keywords;
};

struct render;
/* args[i] is V_MISSING where the caller gave nothing. */
typedef struct value (*builtin_fn)(struct render *r, struct value self, struct value *args);
typedef struct value (*builtin_raw_fn)(struct render *r, struct value self, const struct call *call);

enum { MAX_PARAMS = 6 };
struct builtin {
    const char *name;
    builtin_fn fn;
    uint8_t n_required;
    const char *params[MAX_PARAMS]; /* names, for keywords; a leading '/' = positional only */
    builtin_raw_fn raw;             /* used instead of fn when set: takes any arguments */
};

struct scope;
struct node;
struct render {
    const struct slm_template *tmpl;
    struct slm_arena arena;
    struct slm_buf out;
    struct slm_error *error;
    slm_status status;
    uint64_t fuel;
    unsigned depth, max_depth;
    size_t max_string, max_memory;
    const struct node *at;  /* what is being evaluated, for messages */
    struct value *names;    /* [n_names] the outermost variables, by name number */
    int64_t now_unix_s;
    const struct repr_frame *repr_stack;
};

/* ---- failing and accounting (render.c) */
struct value slm_jinja_fail(struct render *r, slm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
#define TYPE_ERROR(r, ...) slm_jinja_fail((r), SLM_ERR_ARGUMENT, __VA_ARGS__)
bool slm_jinja_burn_slow(struct render *r);
/* Spends fuel; false = out of it. */
static inline bool slm_jinja_burn(struct render *r, uint64_t steps);
/* Zeroed memory of the rendering, or NULL (failed). */
void *slm_jinja_alloc(struct render *r, size_t n, size_t size);
bool slm_jinja_enter(struct render *r); /* one level deeper; false = too deep. Pair with r->depth-- */

static inline bool slm_jinja_burn(struct render *r, uint64_t steps)
{
    if (r->fuel < steps) return slm_jinja_burn_slow(r);
    r->fuel -= steps;
    return true;
}

/* ---- making values (value.c) */
static inline struct value v_fail(void) { return (struct value){.kind = V_FAIL}; }
static inline struct value v_missing(void) { return (struct value){.kind = V_MISSING}; }
static inline struct value v_none(void) { return (struct value){.kind = V_NONE}; }
static inline struct value v_bool(bool b) { return (struct value){.kind = V_BOOL, .b = b}; }
static inline struct value v_int(int64_t i) { return (struct value){.kind = V_INT, .i = i}; }
static inline struct value v_float(double f) { return (struct value){.kind = V_FLOAT, .f = f}; }
static inline struct value v_text(const struct text *s)
{
    return s ? (struct value){.kind = V_STR, .s = s} : v_fail();
}
static inline bool is_number(struct value v) { return v.kind == V_BOOL || v.kind == V_INT || v.kind == V_FLOAT; }
static inline bool is_int(struct value v) { return v.kind == V_BOOL || v.kind == V_INT; }
static inline int64_t as_int(struct value v) { return v.kind == V_BOOL ? v.b : v.i; }
static inline double as_double(struct value v) { return v.kind == V_FLOAT ? v.f : (double)as_int(v); }
static inline struct slm_str text_str(const struct text *s) { return (struct slm_str){s->ptr, s->len}; }

struct value slm_jinja_str(struct render *r, const char *ptr, size_t len);  /* copies */
struct value slm_jinja_view(struct render *r, const char *ptr, size_t len); /* borrows bytes that outlive the render */
struct value slm_jinja_slice_text(struct render *r, const struct text *s, size_t from, size_t to); /* bytes; shares */
struct value slm_jinja_concat(struct render *r, const struct text *a, const struct text *b);
/* Ends a capture: what was put into r->out since `start` becomes a string. */
struct value slm_jinja_capture(struct render *r, size_t start);
struct value slm_jinja_list(struct render *r, enum value_kind kind, size_t n); /* n zeroed slots */
struct value slm_jinja_pair(struct render *r, struct value a, struct value b); /* a tuple */
struct value slm_jinja_dict(struct render *r);
bool slm_jinja_dict_set(struct render *r, struct dict *d, struct value key, struct value value);
/* V_MISSING when absent; V_FAIL when key cannot be hashed. */
struct value slm_jinja_dict_get(struct render *r, const struct dict *d, struct value key);
struct value slm_jinja_dict_get_text(struct render *r, const struct dict *d, const char *ptr, size_t len);
struct value slm_jinja_undefined(struct render *r, unsigned sub, const struct text *name);
struct value slm_jinja_use_undefined(struct render *r, struct value v); /* fails with jinja2's sentence */

/* ---- asking values (value.c) */
const char *slm_jinja_type_name(struct value v); /* Python's name of the type */
bool slm_jinja_truth(struct value v);
int slm_jinja_equal(struct render *r, struct value a, struct value b); /* 1, 0, -1 = failed */
enum { ORDER_LT, ORDER_LE, ORDER_GT, ORDER_GE };
int slm_jinja_order(struct render *r, struct value a, struct value b, int op); /* a op b: 1, 0, -1 = failed */
int slm_jinja_contains(struct render *r, struct value container, struct value item);
struct value slm_jinja_length(struct render *r, struct value v);
bool slm_jinja_is_hashable(struct value v);

struct cursor { struct value source; size_t pos; };
bool slm_jinja_iterate(struct render *r, struct value v, struct cursor *out); /* false = failed: not iterable */
struct value slm_jinja_next(struct render *r, struct cursor *c);              /* V_MISSING at the end */
const struct list *slm_jinja_to_list(struct render *r, struct value v);       /* any iterable; NULL = failed */
bool slm_jinja_is_iterable(struct value v);

/* A list under construction. */
struct builder { struct value *items; size_t n, cap; };
bool slm_jinja_push(struct render *r, struct builder *b, struct value v);
struct value slm_jinja_build(struct render *r, const struct builder *b, enum value_kind kind); /* LIST, TUPLE, ITER */

/* ---- printing (repr.c): appends to r->out; false = failed */
bool slm_jinja_print(struct render *r, struct value v); /* str(v) */
bool slm_jinja_repr(struct render *r, struct value v);
struct value slm_jinja_to_str(struct render *r, struct value v); /* a V_STR (the same one if v is one) */
bool slm_jinja_put(struct render *r, const char *ptr, size_t len);
bool slm_jinja_put_char(struct render *r, uint32_t cp);
bool slm_jinja_fill(struct render *r, uint32_t cp, int64_t n);

/* ---- numbers (number.c) */
enum { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD, OP_POW };
struct value slm_jinja_binary(struct render *r, int op, struct value a, struct value b);
struct value slm_jinja_negate(struct render *r, struct value v);
enum { DOUBLE_TEXT = 40 };
size_t slm_jinja_double_repr(double f, char out[DOUBLE_TEXT]); /* Python's repr(float) */
bool slm_jinja_parse_double(struct slm_str s, double *out);    /* Python's float(str) */
int slm_jinja_parse_int(struct slm_str s, int base,
    int64_t *out); /* Python's int(str, base): 1, 0 = no, -1 = too big */
struct value slm_jinja_double_to_int(struct render *r, double f);  /* truncates */
struct value slm_jinja_round(struct render *r, struct value v, int64_t precision);
int slm_jinja_order_numbers(struct value a, struct value b);       /* -1, 0, 1; 2 = unordered (NaN) */

/* ---- strings (text.c) */
bool slm_jinja_is_space(uint32_t cp);
enum { CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE, CASE_SWAP, CASE_FOLD };
struct value slm_jinja_case(struct render *r, const struct text *s, int how);
struct value slm_jinja_title_filter(struct render *r, const struct text *s);
bool slm_jinja_is_lower(uint32_t cp);
bool slm_jinja_is_upper(uint32_t cp);
struct value slm_jinja_is_cased(struct render *r, const struct text *s, bool upper); /* isupper(), islower() */
enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
struct value slm_jinja_strip(struct render *r, const struct text *s, const struct text *chars, int sides);
struct value slm_jinja_replace(struct render *r, const struct text *s, const struct text *from, const struct text *to,
                               int64_t count);
struct value slm_jinja_split_lines(struct render *r, const struct text *s, bool keep_ends);
size_t slm_jinja_find(struct slm_str hay, struct slm_str needle, size_t from); /* SIZE_MAX = not there */
size_t slm_jinja_byte_of(const struct text *s, size_t n_chars);                /* offset of the n-th code point */
struct value slm_jinja_escape(struct render *r, const struct text *s);         /* HTML */
struct value slm_jinja_percent_format(struct render *r, const struct text *format, struct value args);
struct value slm_jinja_str_format(struct render *r, struct value self, const struct call *call);

/* ---- attributes, items, calls (access.c, eval.c) */
struct value slm_jinja_getattr(struct render *r, struct value v, const struct text *name);
struct value slm_jinja_getitem(struct render *r, struct value v, struct value key);
struct value slm_jinja_getslice(struct render *r, struct value v, struct value start, struct value stop,
                                struct value step);
struct value slm_jinja_call(struct render *r, struct value callee, const struct call *call);
struct value slm_jinja_call_builtin(struct render *r, const struct builtin *b, struct value self,
                                    const struct call *call);

/* ---- the tables; NULL = no such name */
const struct builtin *slm_jinja_find_filter(struct slm_str name);
const struct builtin *slm_jinja_find_test(struct slm_str name);
const struct builtin *slm_jinja_find_global(struct slm_str name);
/* A method of this kind of value. *unsafe is set for those that would change it. */
const struct builtin *slm_jinja_find_method(enum value_kind kind, struct slm_str name, bool *unsafe);
const struct builtin *slm_jinja_find_in(const struct builtin *table, size_t n, struct slm_str name);
extern const struct builtin slm_jinja_tojson; /* tojson.c */
struct value slm_jinja_strftime(struct render *r, const struct text *format); /* strftime.c */
/* JSON text -> value (json_in.c). what names it in messages. */
struct value slm_jinja_from_json(struct render *r, const char *json, const char *what);
#endif
