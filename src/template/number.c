/* SPDX-License-Identifier: MIT
 * Arithmetic by Python's rules, with one difference: an integer that leaves 64 bits is an error, not a longer
 * integer. Also the text forms of numbers; these do not depend on the program's locale.
 * Not here: formats with widths (format.c). */
#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "template/value.h"

/* Python would go on with a longer integer. */
static struct value overflow(struct render *r)
{
    return TYPE_ERROR(r, "the result does not fit a 64-bit integer");
}

/* For all of / // % and negative powers of zero. */
static struct value zero_division(struct render *r)
{
    return TYPE_ERROR(r, "division by zero");
}

/* Exact across types: 2**53 + 1 differs from the float 2.0**53. */
int slm_jinja_order_numbers(struct value a, struct value b)
{
    if (a.kind != V_FLOAT && b.kind != V_FLOAT) return (as_int(a) > as_int(b)) - (as_int(a) < as_int(b));
    /* long double holds every int64 on the machines we build for, so the comparison is exact */
    long double x = a.kind == V_FLOAT ? (long double)a.f : (long double)as_int(a);
    long double y = b.kind == V_FLOAT ? (long double)b.f : (long double)as_int(b);
    if (isnan(x) || isnan(y)) return 2;
    return (x > y) - (x < y);
}

/* Rounds towards minus infinity. b is neither 0 nor -1. */
static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

/* By squaring, with every product checked; a negative exponent gives a float. */
static struct value int_power(struct render *r, int64_t base, int64_t exponent)
{
    if (exponent < 0) {
        if (base == 0) return zero_division(r);
        return v_float(pow((double)base, (double)exponent));
    }
    int64_t result = 1;
    for (;;) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) return overflow(r);
        exponent >>= 1;
        if (exponent == 0) return v_int(result);
        /* past here the square is needed unless the result cannot change any more */
        if (base == 0 || base == 1 || result == 0) return v_int(exponent ? result * base : result);
        if (base == -1) base = 1;
        else if (__builtin_mul_overflow(base, base, &base)) return overflow(r);
    }
}

/* The result is an int, except for / which always gives a float. */
static struct value int_binary(struct render *r, int op, int64_t a, int64_t b)
{
    int64_t result = 0;
    switch (op) {
    case OP_ADD: return __builtin_add_overflow(a, b, &result) ? overflow(r) : v_int(result);
    case OP_SUB: return __builtin_sub_overflow(a, b, &result) ? overflow(r) : v_int(result);
    case OP_MUL: return __builtin_mul_overflow(a, b, &result) ? overflow(r) : v_int(result);
    case OP_DIV: return b == 0 ? zero_division(r) : v_float((double)((long double)a / (long double)b));
    case OP_POW: return int_power(r, a, b);
    default: break;
    }
    if (b == 0) return zero_division(r);
    if (b == -1) return op == OP_MOD ? v_int(0) : slm_jinja_negate(r, v_int(a)); /* INT64_MIN / -1 traps */
    return v_int(op == OP_FLOORDIV ? floor_div(a, b) : a - floor_div(a, b) * b);
}

/* Python raises where C returns an infinity for finite arguments. */
static struct value float_power(struct render *r, double a, double b)
{
    if (a == 0 && b < 0) return zero_division(r);
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
        return TYPE_ERROR(r, "a negative number to a fractional power is complex");
    double result = pow(a, b);
    if (isinf(result) && isfinite(a) && isfinite(b)) return TYPE_ERROR(r, "the result is out of range");
    return v_float(result);
}

/* // and % take the sign of the divisor; the steps are those of CPython's float_divmod, so that the
 * last bit agrees. */
static struct value float_binary(struct render *r, int op, double a, double b)
{
    switch (op) {
    case OP_ADD: return v_float(a + b);
    case OP_SUB: return v_float(a - b);
    case OP_MUL: return v_float(a * b);
    case OP_POW: return float_power(r, a, b);
    default: break;
    }
    if (b == 0) return zero_division(r);
    if (op == OP_DIV) return v_float(a / b);
    double mod = fmod(a, b);
    double div = (a - mod) / b;
    if (mod != 0 && (b < 0) != (mod < 0)) {
        mod += b;
        div -= 1;
    }
    if (mod == 0) mod = copysign(0, b);
    if (op == OP_MOD) return v_float(mod);
    double whole = floor(div);
    if (div - whole > 0.5) whole += 1;
    return v_float(div != 0 ? whole : copysign(0, a / b));
}

/* Checked against the limit before a byte is written. */
static struct value repeat_text(struct render *r, struct value s, int64_t n)
{
    if (n <= 0) return slm_jinja_view(r, "", 0);
    size_t start = r->out.len, len = s.s->len;
    if (len == 0) return s;
    if ((uint64_t)n > r->max_string / len)
        return slm_jinja_fail(r, SLM_ERR_LIMIT, "a string longer than the %zu bytes allowed", r->max_string);
    for (int64_t i = 0; i < n; i++)
        if (!slm_jinja_put(r, s.s->ptr, len)) return v_fail();
    return slm_jinja_capture(r, start);
}

/* Items are shared, as in Python; each costs a step. */
static struct value repeat_list(struct render *r, struct value v, int64_t n)
{
    struct builder b = {0};
    for (int64_t i = 0; i < n && v.list->n > 0; i++)
        for (size_t k = 0; k < v.list->n; k++)
            if (!slm_jinja_push(r, &b, v.list->items[k])) return v_fail();
    return slm_jinja_build(r, &b, v.kind);
}

/* A new list: neither operand changes. */
static struct value add_lists(struct render *r, struct value a, struct value b)
{
    struct value v = slm_jinja_list(r, a.kind, a.list->n + b.list->n);
    if (v.kind == V_FAIL || !slm_jinja_burn(r, v.list->n)) return v_fail();
    if (a.list->n) memcpy(v.list->items, a.list->items, a.list->n * sizeof *a.list->items);
    if (b.list->n) memcpy(v.list->items + a.list->n, b.list->items, b.list->n * sizeof *b.list->items);
    return v;
}

/* Text marked safe escapes the other side, as markupsafe does. */
static struct value add_texts(struct render *r, struct value a, struct value b)
{
    bool markup = a.sub == STR_MARKUP || b.sub == STR_MARKUP;
    if (markup && a.sub != STR_MARKUP) a = slm_jinja_escape(r, a.s);
    if (markup && b.sub != STR_MARKUP) b = slm_jinja_escape(r, b.s);
    if (a.kind == V_FAIL || b.kind == V_FAIL) return v_fail();
    struct value v = slm_jinja_concat(r, a.s, b.s);
    v.sub = markup ? STR_MARKUP : STR_PLAIN;
    return v;
}

/* By the types of both sides: numbers, strings, sequences. Undefined comes last, so that its
 * message is only given where nothing else fits. */
struct value slm_jinja_binary(struct render *r, int op, struct value a, struct value b)
{
    static const char *const shown[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (is_int(a) && is_int(b)) return int_binary(r, op, as_int(a), as_int(b));
    if (is_number(a) && is_number(b)) return float_binary(r, op, as_double(a), as_double(b));
    if (op == OP_MOD && a.kind == V_STR) return slm_jinja_percent_format(r, a.s, b);
    if (op == OP_ADD && a.kind == b.kind) {
        if (a.kind == V_STR) return add_texts(r, a, b);
        if (a.kind == V_LIST || a.kind == V_TUPLE) return add_lists(r, a, b);
    }
    if (op == OP_MUL && (is_int(a) || is_int(b))) {
        struct value sequence = is_int(a) ? b : a;
        int64_t n = as_int(is_int(a) ? a : b);
        if (sequence.kind == V_STR) return repeat_text(r, sequence, n);
        if (sequence.kind == V_LIST || sequence.kind == V_TUPLE) return repeat_list(r, sequence, n);
    }
    if (a.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, a);
    if (b.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, b);
    return TYPE_ERROR(r, "unsupported operand types for %s: '%s' and '%s'", shown[op], slm_jinja_type_name(a),
                      slm_jinja_type_name(b));
}

/* The most negative integer has no positive counterpart. */
struct value slm_jinja_negate(struct render *r, struct value v)
{
    if (v.kind == V_FLOAT) return v_float(-v.f);
    if (is_int(v)) return as_int(v) == INT64_MIN ? overflow(r) : v_int(-as_int(v));
    if (v.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, v);
    return TYPE_ERROR(r, "bad operand type for unary -: '%s'", slm_jinja_type_name(v));
}

/* int(float): an error for what is not finite or does not fit. */
struct value slm_jinja_double_to_int(struct render *r, double f)
{
    if (isnan(f) || isinf(f)) return TYPE_ERROR(r, "cannot convert this float to an integer");
    if (!(f > -9223372036854775809.0 && f < 9223372036854775808.0)) return overflow(r);
    return v_int((int64_t)f);
}

/* round(): ties to even, on the exact value. */
struct value slm_jinja_round(struct render *r, struct value v, int64_t precision)
{
    char digits[400];
    if (is_int(v) && precision >= 0) return v_int(as_int(v));
    if (precision > 300) return v;
    if (is_int(v)) {
        int64_t scale = 1, i = as_int(v);
        if (precision < -18) return v_int(0);
        for (int64_t k = precision; k < 0; k++) scale *= 10;
        int64_t down = floor_div(i, scale), rest = i - down * scale; /* rest in [0, scale) */
        if (rest * 2 > scale || (rest * 2 == scale && (down & 1))) down++;
        return int_binary(r, OP_MUL, down, scale);
    }
    if (!isfinite(v.f)) return v;
    if (precision < 0) {
        double scale = pow(10, (double)(precision < -308 ? -308 : precision) * -1);
        return v_float(nearbyint(v.f / scale) * scale);
    }
    snprintf(digits, sizeof digits, "%.*f", (int)(precision > 60 ? 60 : precision), v.f);
    return v_float(precision > 60 ? v.f : strtod(digits, NULL)); /* same locale both ways */
}

/* The shortest digits that read back as f, laid out as Python does. */
size_t slm_jinja_double_repr(double f, char out[DOUBLE_TEXT])
{
    if (!isfinite(f)) return (size_t)snprintf(out, DOUBLE_TEXT, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
    char text[DOUBLE_TEXT], digits[24]; /* 17 digits always suffice */
    for (int p = 0; p < 17; p++) {
        snprintf(text, sizeof text, "%.*e", p, f);
        if (strtod(text, NULL) == f) break;
    }
    int n = 0, exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    for (const char *c = text; *c != 'e'; c++)
        if (isdigit((unsigned char)*c)) digits[n++] = *c; /* skips sign and the locale's point */
    while (n > 1 && digits[n - 1] == '0') n--;
    size_t k = 0;
    if (signbit(f)) out[k++] = '-';
    if (exponent < -4 || exponent >= 16) {
        out[k++] = digits[0];
        if (n > 1) out[k++] = '.';
        for (int i = 1; i < n; i++) out[k++] = digits[i];
        return k + (size_t)snprintf(out + k, DOUBLE_TEXT - k, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    }
    if (exponent < 0) {
        out[k++] = '0';
        out[k++] = '.';
        for (int i = -1; i > exponent; i--) out[k++] = '0';
        for (int i = 0; i < n; i++) out[k++] = digits[i];
    } else {
        for (int i = 0; i < n || i <= exponent + 1; i++) {
            if (i == exponent + 1) out[k++] = '.';
            out[k++] = i < n ? digits[i] : '0';
        }
    }
    out[k] = 0;
    return k;
}

/* Whitespace around a number is allowed in int() and float(). */
static struct slm_str trim_ascii_number(struct slm_str s)
{
    while (s.len > 0 && (isspace((unsigned char)s.ptr[0]) || (s.ptr[0] >= 28 && s.ptr[0] < 32))) s.ptr++, s.len--;
    while (s.len > 0 && (isspace((unsigned char)s.ptr[s.len - 1]) || (s.ptr[s.len - 1] >= 28 && s.ptr[s.len - 1] < 32)))
        s.len--;
    return s;
}

/* Checks the form itself before it asks strtod, which accepts more than Python (hexadecimal) and
 * less (underscores), and whose decimal point depends on the locale. */
bool slm_jinja_parse_double(struct slm_str s, double *out)
{
    char text[400];
    size_t n = 0, digits = 0;
    const char *point = localeconv()->decimal_point;
    s = trim_ascii_number(s);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '_') { /* only between digits */
            if (i == 0 || i + 1 == s.len || !isdigit((unsigned char)s.ptr[i - 1]) ||
                !isdigit((unsigned char)s.ptr[i + 1]))
                return false;
            continue;
        }
        if (n + strlen(point) + 1 >= sizeof text) return false;
        if (!isalnum((unsigned char)c) && c != '.' && c != '+' && c != '-') return false;
        if (c == 'x' || c == 'X' || c == 'p' || c == 'P') return false; /* hexadecimal floats are C's, not Python's */
        digits += isdigit((unsigned char)c) != 0;
        if (c == '.') for (const char *q = point; *q; q++) text[n++] = *q;
        else text[n++] = c;
    }
    text[n] = 0;
    if (n == 0) return false;
    char *end;
    *out = strtod(text, &end);
    if (*end || end == text) return false;
    return digits > 0 || isinf(*out) || isnan(*out);
}

/* Base 0 means as in source code: by prefix, and no leading zeros. */
int slm_jinja_parse_int(struct slm_str s, int base, int64_t *out)
{
    s = trim_ascii_number(s);
    bool negative = s.len > 0 && s.ptr[0] == '-', any = false, too_big = false, leading_zero = false;
    size_t i = negative || (s.len > 0 && s.ptr[0] == '+');
    int prefix = 0;
    if (s.len >= i + 2 && s.ptr[i] == '0') {
        char c = (char)(s.ptr[i + 1] | 0x20);
        prefix = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    }
    if (prefix && (base == 0 || base == prefix)) {
        base = prefix;
        i += 2;
        if (i < s.len && s.ptr[i] == '_') i++;
    } else if (base == 0) {
        base = 10;
        leading_zero = i < s.len && s.ptr[i] == '0';
    }
    /* counts down from zero, since there is one more negative number than positive ones */
    int64_t value = 0;
    for (; i < s.len; i++) {
        char c = s.ptr[i], low = (char)(c | 0x20);
        if (c == '_' && any && i + 1 < s.len && s.ptr[i - 1] != '_') continue;
        int d = isdigit((unsigned char)c) ? c - '0' : low >= 'a' && low <= 'z' ? low - 'a' + 10 : 99;
        if (d >= base) return 0;
        any = true;
        too_big |= __builtin_mul_overflow(value, base, &value) || __builtin_sub_overflow(value, d, &value);
    }
    if (!any || (leading_zero && value != 0) || s.ptr[s.len - 1] == '_') return 0; /* int('012', 0) is refused */
    if (!negative && value == INT64_MIN) too_big = true;
    *out = negative || value == INT64_MIN ? value : -value;
    return too_big ? -1 : 1;
}
