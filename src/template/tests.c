/* SPDX-License-Identifier: MIT
 * What can stand after `is`, and the names that select() and its like take. All of jinja2's tests are here. A test
 * answers true or false; comparisons fail for types that have no order. Not here: the operators (value.c). */
#include "template/value.h"

static struct value of_int(int yes) { return yes < 0 ? v_fail() : v_bool(yes); }

static struct value modulo(struct render *r, struct value self, struct value divisor, int64_t rest)
{
    struct value v = slm_jinja_binary(r, OP_MOD, self, divisor);
    return v.kind == V_FAIL ? v : of_int(slm_jinja_equal(r, v, v_int(rest)));
}

#define TEST(name, expression) \
    static struct value t_##name(struct render *r, struct value self, struct value *a) \
    { (void)r, (void)self, (void)a; return (expression); }

TEST(defined, v_bool(self.kind != V_UNDEFINED))
TEST(undefined, v_bool(self.kind == V_UNDEFINED))
TEST(none, v_bool(self.kind == V_NONE))
TEST(string, v_bool(self.kind == V_STR))
TEST(number, v_bool(is_number(self)))
TEST(integer, v_bool(self.kind == V_INT))
TEST(float, v_bool(self.kind == V_FLOAT))
TEST(boolean, v_bool(self.kind == V_BOOL))
TEST(true, v_bool(self.kind == V_BOOL && self.b))
TEST(false, v_bool(self.kind == V_BOOL && !self.b))
TEST(mapping, v_bool(self.kind == V_DICT))
TEST(sequence, v_bool(self.kind == V_STR || self.kind == V_LIST || self.kind == V_TUPLE || self.kind == V_DICT ||
                      self.kind == V_RANGE || self.kind == V_UNDEFINED))
TEST(iterable, v_bool(slm_jinja_is_iterable(self)))
TEST(callable, v_bool(self.kind == V_FUNCTION || self.kind == V_METHOD || self.kind == V_MACRO ||
                      self.kind == V_LOOP || self.kind == V_JOINER || self.kind == V_UNDEFINED))
TEST(odd, modulo(r, self, v_int(2), 1))
TEST(even, modulo(r, self, v_int(2), 0))
TEST(divisibleby, modulo(r, self, a[0], 0))
TEST(eq, of_int(slm_jinja_equal(r, self, a[0])))
TEST(lt, of_int(slm_jinja_order(r, self, a[0], ORDER_LT)))
TEST(le, of_int(slm_jinja_order(r, self, a[0], ORDER_LE)))
TEST(gt, of_int(slm_jinja_order(r, self, a[0], ORDER_GT)))
TEST(ge, of_int(slm_jinja_order(r, self, a[0], ORDER_GE)))
TEST(in, of_int(slm_jinja_contains(r, a[0], self)))
TEST(escaped, v_bool(self.kind == V_STR && self.sub == STR_MARKUP))

/* `'upper' is filter`: looks the name up in a dict, so it has to be hashable. */
static struct value is_name_of(struct render *r, struct value v, const struct builtin *(*lookup)(struct slm_str))
{
    if (!slm_jinja_is_hashable(v)) return TYPE_ERROR(r, "unhashable type: '%s'", slm_jinja_type_name(v));
    return v_bool(v.kind == V_STR && lookup(text_str(v.s)) != NULL);
}

TEST(filter, is_name_of(r, self, slm_jinja_find_filter))
TEST(test, is_name_of(r, self, slm_jinja_find_test))

static struct value t_ne(struct render *r, struct value self, struct value *a)
{
    int same = slm_jinja_equal(r, self, a[0]);
    return same < 0 ? v_fail() : v_bool(!same);
}

/* Python's `is`: the same object. Small values have no identity of their own, so equal ones of a type are the same. */
static struct value t_sameas(struct render *r, struct value self, struct value *a)
{
    if (self.kind != a[0].kind) return v_bool(false);
    if (self.kind == V_LIST || self.kind == V_TUPLE || self.kind == V_DICT)
        return v_bool(self.list == a[0].list);
    return of_int(slm_jinja_equal(r, self, a[0]));
}

static struct value cased(struct render *r, struct value self, bool upper)
{
    self = slm_jinja_to_str(r, self);
    return self.kind == V_FAIL ? self : slm_jinja_is_cased(r, self.s, upper);
}

TEST(upper, cased(r, self, true))
TEST(lower, cased(r, self, false))

static const struct builtin tests[] = {
    {"defined", t_defined, 0, {0}, NULL}, {"undefined", t_undefined, 0, {0}, NULL}, {"none", t_none, 0, {0}, NULL},
    {"string", t_string, 0, {0}, NULL}, {"number", t_number, 0, {0}, NULL}, {"integer", t_integer, 0, {0}, NULL},
    {"float", t_float, 0, {0}, NULL}, {"boolean", t_boolean, 0, {0}, NULL}, {"true", t_true, 0, {0}, NULL},
    {"false", t_false, 0, {0}, NULL}, {"mapping", t_mapping, 0, {0}, NULL}, {"sequence", t_sequence, 0, {0}, NULL},
    {"iterable", t_iterable, 0, {0}, NULL}, {"callable", t_callable, 0, {0}, NULL}, {"odd", t_odd, 0, {0}, NULL},
    {"even", t_even, 0, {0}, NULL}, {"divisibleby", t_divisibleby, 1, {"num"}, NULL},
    {"eq", t_eq, 1, {"/"}, NULL}, {"equalto", t_eq, 1, {"/"}, NULL}, {"==", t_eq, 1, {"/"}, NULL},
    {"ne", t_ne, 1, {"/"}, NULL}, {"!=", t_ne, 1, {"/"}, NULL},
    {"lt", t_lt, 1, {"/"}, NULL}, {"lessthan", t_lt, 1, {"/"}, NULL}, {"<", t_lt, 1, {"/"}, NULL},
    {"le", t_le, 1, {"/"}, NULL}, {"<=", t_le, 1, {"/"}, NULL},
    {"gt", t_gt, 1, {"/"}, NULL}, {"greaterthan", t_gt, 1, {"/"}, NULL}, {">", t_gt, 1, {"/"}, NULL},
    {"ge", t_ge, 1, {"/"}, NULL}, {">=", t_ge, 1, {"/"}, NULL},
    {"in", t_in, 1, {"seq"}, NULL}, {"sameas", t_sameas, 1, {"other"}, NULL}, {"upper", t_upper, 0, {0}, NULL},
    {"lower", t_lower, 0, {0}, NULL}, {"escaped", t_escaped, 0, {0}, NULL}, {"filter", t_filter, 0, {0}, NULL},
    {"test", t_test, 0, {0}, NULL},
};

const struct builtin *slm_jinja_find_test(struct slm_str name)
{
    return slm_jinja_find_in(tests, sizeof tests / sizeof *tests, name);
}
