/* SPDX-License-Identifier: MIT
 * The two formatting languages a template can reach: 'text' % values, and 'text'.format(values).
 * Both end in the same field writer: a sign, a body, a width. Widths and precisions are limited, for they are the
 * cheapest way to ask for gigabytes. Not here: %c of an integer above Unicode, 'n' (locale) and nested format specs.
 *
 * Python has two because the second was to replace the first; templates use both. What they share is small: how a
 * field is padded, and how digits are made. The differences are kept apart: %-formats know '*' and C's letters, the
 * others know alignment, fill characters, thousands and attributes. Digits come from C's printf, which rounds
 * correctly in glibc and musl, as CPython's own do. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include "base/utf8.h"
#include "template/value.h"

/* What stands between % or : and the letter. */
struct spec { /* zeroed, with a blank to fill and no precision, is the plain field */
    uint32_t fill;
    char align, sign, type; /* 0 = not given */
    bool alternate, zero;
    char group;             /* ',' or '_' */
    int64_t width, precision; /* precision -1 = not given */
};

enum { MAX_FIELD = 1 << 20, MAX_PRECISION = 300, FLOAT_TEXT = 700 };

/* body[0..n) with its sign apart, so that padding can go between. Numbers align right, text left. */
static bool put_field(struct render *r, const struct spec *s, const char *sign, const char *body, size_t n,
                      size_t n_chars, char default_align)
{
    int64_t pad = s->width - (int64_t)(n_chars + strlen(sign));
    char align = s->align ? s->align : default_align;
    int64_t left = pad <= 0 ? 0 : align == '>' ? pad : align == '^' ? pad / 2 : 0;
    int64_t inner = pad > 0 && align == '=' ? pad : 0, right = pad <= 0 ? 0 : pad - left - inner;
    return slm_jinja_fill(r, s->fill, left) && slm_jinja_put(r, sign, strlen(sign)) &&
           slm_jinja_fill(r, s->fill, inner) && slm_jinja_put(r, body, n) && slm_jinja_fill(r, s->fill, right);
}

/* A precision cuts the text, in code points. */
static bool put_string_field(struct render *r, const struct spec *s, struct value v)
{
    if (v.kind == V_FAIL) return false;
    size_t len = v.s->len, chars = v.s->n_chars;
    if (s->precision >= 0 && (uint64_t)s->precision < chars) {
        chars = (size_t)s->precision;
        len = slm_jinja_byte_of(v.s, chars);
    }
    return put_field(r, s, "", v.s->ptr, len, chars, '<');
}

/* Digits of |i| in a base, from the end of out[80]. */
static const char *int_digits(int64_t i, unsigned base, bool upper, char out[80])
{
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    char *p = out + 79;
    *p = 0;
    do *--p = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
    while ((u /= base) > 0);
    return p;
}

/* Thousands separators into the digits before the point. */
static size_t group_digits(const char *body, char separator, char *out)
{
    size_t whole = strspn(body, "0123456789"), n = 0;
    for (size_t i = 0; body[i]; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0) out[n++] = separator;
        out[n++] = body[i];
    }
    out[n] = 0;
    return n;
}

/* Of a number that is not negative, '+' or ' ' only if asked. */
static const char *sign_of(const struct spec *s, bool negative)
{
    return negative ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "";
}

/* Sign and prefix go before zeros, behind blanks: put_field knows where. */
static bool put_number_body(struct render *r, const struct spec *s, bool negative, const char *prefix,
                            const char *body)
{
    char grouped[1200], sign[8];
    size_t n = s->group ? group_digits(body, s->group, grouped) : strlen(body);
    snprintf(sign, sizeof sign, "%s%s", sign_of(s, negative), prefix);
    return put_field(r, s, sign, s->group ? grouped : body, n, n, '>');
}

/* In the base of the letter. A precision is the least number of digits. */
static bool put_int_field(struct render *r, const struct spec *s, int64_t i)
{
    char digits[80], padded[MAX_PRECISION + 90];
    bool upper = s->type == 'X';
    unsigned base = s->type == 'x' || upper ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    const char *body = int_digits(i, base, upper, digits);
    const char *prefix = !s->alternate ? "" : s->type == 'x' ? "0x" : upper ? "0X" : s->type == 'o' ? "0o"
                         : s->type == 'b' ? "0b" : "";
    if (s->precision > (int64_t)strlen(body)) { /* %.5d: at least so many digits */
        snprintf(padded, sizeof padded, "%0*d%s", (int)s->precision - (int)strlen(body), 0, body);
        body = padded;
    }
    return put_number_body(r, s, i < 0, prefix, body);
}

/* C's printf does the digits: it rounds correctly, like Python. Only its locale's point is put
 * right. Without a letter, the shortest text that reads back. */
static bool put_float_field(struct render *r, const struct spec *s, double f)
{
    char body[FLOAT_TEXT], form[8];
    char type = s->type ? s->type : 'r';
    /* the sign is put by put_number_body; -0.0 has one, nan has none */
    bool percent = type == '%', negative = signbit(f) && !isnan(f);
    int precision = (int)(s->precision < 0 ? 6 : s->precision);
    double magnitude = percent ? fabs(f) * 100 : fabs(f);
    if (!isfinite(f)) {
        snprintf(body, sizeof body, "%s", isnan(f) ? "nan" : "inf");
        for (char *c = body; isupper((unsigned char)type) && *c; c++) *c = (char)toupper((unsigned char)*c);
    } else if (type == 'r' && s->precision < 0) {
        slm_jinja_double_repr(magnitude, body);
    } else {
        if (type == 'r') type = 'g';
        if ((type == 'g' || type == 'G') && precision == 0) precision = 1;
        snprintf(form, sizeof form, "%%%s.*%c", s->alternate ? "#" : "", percent ? 'f' : type);
        /* the format is one of %.*f %.*e %.*g, built from letters checked by the caller */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(body, sizeof body, form, precision, magnitude);
#pragma GCC diagnostic pop
        for (char *c = body; *c; c++) *c = *c == ',' ? '.' : *c; /* the locale's point */
    }
    if (percent) snprintf(body + strlen(body), sizeof body - strlen(body), "%%");
    return put_number_body(r, s, negative, "", body);
}

/* ---- 'text' % values ---------------------------------------------------------------------------------------- */

/* The right side of %: one value, a tuple of them, or a dict for names. */
struct percent_args {
    struct value all;
    size_t next, n;
    bool used_mapping;
};

/* A value that is no tuple is the one argument. */
static struct value next_percent_arg(struct render *r, struct percent_args *a)
{
    if (a->next >= a->n) return TYPE_ERROR(r, "not enough arguments for format string");
    size_t i = a->next++;
    return a->all.kind == V_TUPLE ? a->all.list->items[i] : a->all;
}

/* A width or precision, written out or taken from the arguments by '*'. Beyond a megabyte it is an
 * attack. */
static bool parse_star_or_digits(struct render *r, struct slm_str *f, struct percent_args *a, int64_t *out)
{
    if (f->len > 0 && f->ptr[0] == '*') {
        struct value v = next_percent_arg(r, a);
        f->ptr++, f->len--;
        if (v.kind == V_FAIL) return false;
        if (!is_int(v)) return TYPE_ERROR(r, "* wants int").kind != V_FAIL;
        *out = as_int(v);
    } else {
        for (*out = 0; f->len > 0 && isdigit((unsigned char)f->ptr[0]); f->ptr++, f->len--)
            if (*out <= MAX_FIELD) *out = *out * 10 + (f->ptr[0] - '0');
    }
    if (*out > MAX_FIELD || *out < -MAX_FIELD)
        return slm_jinja_fail(r, SLM_ERR_LIMIT, "a field wider than %d", MAX_FIELD).kind != V_FAIL;
    return true;
}

/* %d takes floats and cuts them, %x does not; zeros give way to an explicit '-'. */
static bool put_percent_number(struct render *r, struct spec *s, struct value v)
{
    bool is_float = strchr("eEfFgG", s->type) != NULL;
    if (!is_number(v)) {
        if (v.kind == V_UNDEFINED) return slm_jinja_use_undefined(r, v).kind != V_FAIL;
        return TYPE_ERROR(r, "%%%c format: a real number is required, not %s", s->type, slm_jinja_type_name(v)).kind !=
               V_FAIL;
    }
    if (s->zero && s->align != '<') {
        s->fill = '0';
        s->align = '=';
    }
    if (!s->align) s->align = '>';
    if (is_float) return put_float_field(r, s, as_double(v));
    if (v.kind == V_FLOAT && s->type != 'd')
        return TYPE_ERROR(r, "%%%c format: an integer is required, not float", s->type).kind != V_FAIL;
    v = v.kind == V_FLOAT ? slm_jinja_double_to_int(r, v.f) : v;
    return v.kind != V_FAIL && put_int_field(r, s, as_int(v));
}

/* A code point, or a string of one character. */
static bool put_percent_char(struct render *r, const struct spec *s, struct value v)
{
    struct spec plain = *s;
    char bytes[4];
    plain.precision = -1;
    if (!plain.align) plain.align = '>';
    if (v.kind == V_STR && v.s->n_chars == 1) return put_string_field(r, &plain, v);
    if (!is_int(v) || as_int(v) < 0 || as_int(v) > 0x10FFFF || (as_int(v) >= 0xD800 && as_int(v) < 0xE000))
        return TYPE_ERROR(r, "%%c requires int or char").kind != V_FAIL;
    size_t n = (size_t)slm_utf8_encode((uint32_t)as_int(v), bytes);
    return put_field(r, &plain, "", bytes, n, 1, '>');
}

/* One conversion; f starts behind the '%'. */
static bool percent_conversion(struct render *r, struct slm_str *f, struct percent_args *a)
{
    struct spec s = {.fill = ' ', .precision = -1};
    struct value v = v_missing();
    /* %(name)s takes its value from the dict on the right */
    if (f->len > 0 && f->ptr[0] == '(') {
        const char *end = memchr(f->ptr, ')', f->len);
        if (!end || a->all.kind != V_DICT) return TYPE_ERROR(r, "format requires a mapping").kind != V_FAIL;
        v = slm_jinja_dict_get_text(r, a->all.dict, f->ptr + 1, (size_t)(end - f->ptr) - 1);
        if (v.kind == V_MISSING) TYPE_ERROR(r, "the mapping lacks a key of the format");
        if (r->status != SLM_OK) return false;
        a->used_mapping = true;
        f->len -= (size_t)(end + 1 - f->ptr);
        f->ptr = end + 1;
    }
    for (; f->len > 0 && strchr("-+ #0", f->ptr[0]) && f->ptr[0]; f->ptr++, f->len--) {
        char c = f->ptr[0];
        if (c == '-') s.align = '<';
        if (c == '+' || (c == ' ' && s.sign != '+')) s.sign = c;
        s.alternate |= c == '#';
        s.zero |= c == '0';
    }
    /* width, which only '*' can make negative: that means left */
    if (!parse_star_or_digits(r, f, a, &s.width)) return false;
    if (s.width < 0) {
        s.align = '<';
        s.width = -s.width;
    }
    if (f->len > 0 && f->ptr[0] == '.') {
        f->ptr++, f->len--;
        if (!parse_star_or_digits(r, f, a, &s.precision)) return false;
        if (s.precision < 0) s.precision = 0;
    }
    /* C's length letters are read and ignored, as Python does */
    while (f->len > 0 && strchr("hlL", f->ptr[0]) && f->ptr[0]) f->ptr++, f->len--;
    if (f->len == 0) return TYPE_ERROR(r, "incomplete format").kind != V_FAIL;
    s.type = f->ptr[0] == 'i' || f->ptr[0] == 'u' ? 'd' : f->ptr[0];
    f->ptr++, f->len--;
    if (s.type == '%') return slm_jinja_put(r, "%", 1);
    /* from here on a value is needed */
    if (v.kind == V_MISSING && (v = next_percent_arg(r, a)).kind == V_FAIL) return false;
    if (s.type == 'c') return put_percent_char(r, &s, v);
    if (s.type == 's' || s.type == 'r' || s.type == 'a') {
        size_t start = r->out.len;
        struct value text = s.type == 's' ? slm_jinja_to_str(r, v)
                            : slm_jinja_repr(r, v) ? slm_jinja_capture(r, start) : v_fail();
        if (!s.align) s.align = '>';
        return put_string_field(r, &s, text);
    }
    if (!strchr("dxXoeEfFgG", s.type)) return TYPE_ERROR(r, "unsupported format character").kind != V_FAIL;
    if (s.precision > MAX_PRECISION)
        return slm_jinja_fail(r, SLM_ERR_LIMIT, "a precision above %d", MAX_PRECISION).kind != V_FAIL;
    return put_percent_number(r, &s, v);
}

/* Every argument has to be used, except that a container may be left over. */
struct value slm_jinja_percent_format(struct render *r, const struct text *format, struct value args)
{
    size_t start = r->out.len;
    struct slm_str f = text_str(format);
    struct percent_args a = {.all = args, .n = args.kind == V_TUPLE ? args.list->n : 1};
    while (f.len > 0) {
        const char *percent = memchr(f.ptr, '%', f.len);
        size_t n = percent ? (size_t)(percent - f.ptr) : f.len;
        if (!slm_jinja_put(r, f.ptr, n) || !slm_jinja_burn(r, 1)) return v_fail();
        f = (struct slm_str){f.ptr + n, f.len - n};
        if (!percent) break;
        f = (struct slm_str){f.ptr + 1, f.len - 1};
        if (!percent_conversion(r, &f, &a)) return v_fail();
    }
    /* a dict, list or other container may stay unused: it could have been meant as the mapping */
    bool may_stay = args.kind == V_DICT || args.kind == V_LIST || args.kind == V_RANGE || args.kind == V_UNDEFINED;
    if (a.next < a.n && !a.used_mapping && !may_stay)
        return TYPE_ERROR(r, "not all arguments converted during string formatting");
    return slm_jinja_capture(r, start);
}

/* ---- 'text'.format(values) ---------------------------------------------------------------------------------- */

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool parse_spec(struct render *r, struct slm_str f, struct spec *s)
{
    uint32_t cp = 0;
    struct percent_args none = {0};
    *s = (struct spec){.fill = ' ', .precision = -1};
    /* an alignment in second place makes the first character the fill */
    int n = f.len > 0 ? slm_utf8_decode(f.ptr, f.len, &cp) : 0;
    if (n > 0 && (size_t)n < f.len && strchr("<>^=", f.ptr[n]) && f.ptr[n]) {
        s->fill = cp;
        s->align = f.ptr[n];
        f = (struct slm_str){f.ptr + n + 1, f.len - (size_t)n - 1};
    } else if (f.len > 0 && strchr("<>^=", f.ptr[0]) && f.ptr[0]) {
        s->align = f.ptr[0];
        f.ptr++, f.len--;
    }
    if (f.len > 0 && strchr("+- ", f.ptr[0]) && f.ptr[0]) s->sign = f.ptr[0], f.ptr++, f.len--;
    if (f.len > 0 && f.ptr[0] == '#') s->alternate = true, f.ptr++, f.len--;
    if (f.len > 0 && f.ptr[0] == '0') {
        s->zero = true;
        if (!s->align) s->fill = '0';
        f.ptr++, f.len--;
    }
    if (f.len > 0 && f.ptr[0] == '*') return TYPE_ERROR(r, "invalid format specifier").kind != V_FAIL;
    if (!parse_star_or_digits(r, &f, &none, &s->width)) return false;
    if (f.len > 0 && (f.ptr[0] == ',' || f.ptr[0] == '_')) s->group = f.ptr[0], f.ptr++, f.len--;
    if (f.len > 1 && f.ptr[0] == '.' && isdigit((unsigned char)f.ptr[1])) {
        f.ptr++, f.len--;
        if (!parse_star_or_digits(r, &f, &none, &s->precision)) return false;
    }
    if (f.len > 0) s->type = f.ptr[0], f.ptr++, f.len--;
    if (f.len > 0) return TYPE_ERROR(r, "invalid format specifier").kind != V_FAIL;
    return true;
}

/* Which letters are allowed depends on the type, as in Python's __format__. */
static bool put_format_field(struct render *r, struct value v, struct slm_str spec_text)
{
    struct spec s;
    if (spec_text.len == 0) return slm_jinja_print(r, v);
    if (v.kind != V_STR && !is_number(v)) /* as Python: only str and numbers have a format of their own */
        return TYPE_ERROR(r, "unsupported format string passed to %s.__format__",
            slm_jinja_type_name(v)).kind != V_FAIL;
    if (!parse_spec(r, spec_text, &s)) return false;
    if (v.kind == V_BOOL && !s.type && s.precision < 0) s.type = 'd';
    bool float_type = s.type && strchr("eEfFgG%", s.type), int_type = s.type && strchr("dxXob", s.type);
    if (v.kind == V_STR) {
        if ((s.type && s.type != 's') || s.align == '=' || s.sign || s.alternate || s.group)
            return TYPE_ERROR(r, "invalid format specifier for a string").kind != V_FAIL;
        return put_string_field(r, &s, v);
    }
    if (s.precision > MAX_PRECISION)
        return slm_jinja_fail(r, SLM_ERR_LIMIT, "a precision above %d", MAX_PRECISION).kind != V_FAIL;
    if (s.zero && !s.align) s.align = '=';
    if (is_int(v) && !float_type) {
        if ((s.type && !int_type) || s.precision >= 0)
            return TYPE_ERROR(r, "invalid format specifier for an integer").kind != V_FAIL;
        return put_int_field(r, &s, as_int(v));
    }
    if (s.type && !float_type) return TYPE_ERROR(r, "invalid format specifier for a float").kind != V_FAIL;
    return put_float_field(r, &s, as_double(v));
}

/* name(.attribute | [key])* */
static struct value field_value(struct render *r, struct slm_str name, const struct call *call, int64_t *next_auto)
{
    /* the part before the first . or [ chooses the argument: empty counts on, digits index, the rest are names */
    size_t n = 0;
    while (n < name.len && name.ptr[n] != '.' && name.ptr[n] != '[') n++;
    struct slm_str first = {name.ptr, n};
    int64_t index = -1;
    struct value v = v_missing();
    if (n == 0) {
        if (*next_auto < 0) return TYPE_ERROR(r, "cannot switch from manual to automatic field numbering");
        index = (*next_auto)++;
    } else if (isdigit((unsigned char)first.ptr[0])) {
        if (*next_auto > 0 || slm_jinja_parse_int(first, 10, &index) != 1)
            return TYPE_ERROR(r, "cannot switch to manual field numbering");
        *next_auto = -1;
    }
    /* an index beyond the arguments and an unknown name are the same error */
    if (index >= 0 && (size_t)index < call->n_args) v = call->args[index];
    for (size_t i = 0; index < 0 && i < call->n_keywords; i++)
        if (slm_str_equal(text_str(call->keywords[i].name), first)) v = call->keywords[i].value;
    if (v.kind == V_MISSING) return TYPE_ERROR(r, "format(): no argument for '{%.*s}'", (int)(n > 60 ? 60 : n),
        name.ptr);
    while (n < name.len && v.kind != V_FAIL) {
        bool attribute = name.ptr[n] == '.';
        size_t from = ++n;
        while (n < name.len && (attribute ? name.ptr[n] != '.' && name.ptr[n] != '[' : name.ptr[n] != ']')) n++;
        if (n == from || (!attribute && n == name.len)) return TYPE_ERROR(r, "format(): bad field name");
        struct value key = slm_jinja_view(r, name.ptr + from, n - from);
        if (key.kind == V_FAIL) return key;
        int64_t i;
        if (attribute) v = slm_jinja_getattr(r, v, key.s);
        else v = slm_jinja_getitem(r, v, slm_jinja_parse_int(text_str(key.s), 10, &i) == 1 && i >= 0 ? v_int(i) : key);
        if (!attribute && ++n < name.len && name.ptr[n] != '.' && name.ptr[n] != '[')
            return TYPE_ERROR(r, "format(): bad field name");
    }
    return v;
}

/* Doubled braces stand for one. */
struct value slm_jinja_str_format(struct render *r, struct value self, const struct call *call)
{
    size_t start = r->out.len;
    struct slm_str f = text_str(self.s);
    int64_t next_auto = 0;
    for (size_t i = 0; i < f.len; i++) {
        char c = f.ptr[i];
        if (!slm_jinja_burn(r, (i & 15) == 0)) return v_fail();
        if ((c == '{' || c == '}') && i + 1 < f.len && f.ptr[i + 1] == c) i++;
        else if (c == '}') return TYPE_ERROR(r, "single '}' encountered in format string");
        else if (c == '{') {
            const char *end = memchr(f.ptr + i, '}', f.len - i);
            if (!end) return TYPE_ERROR(r, "expected '}' before end of string");
            struct slm_str field = {f.ptr + i + 1, (size_t)(end - f.ptr) - i - 1}, spec = {0};
            if (memchr(field.ptr, '{', field.len)) return TYPE_ERROR(r, "format(): nested fields are not supported");
            i = (size_t)(end - f.ptr);
            const char *colon = memchr(field.ptr, ':', field.len);
            if (colon) {
                spec = (struct slm_str){colon + 1, (size_t)(end - colon) - 1};
                field.len = (size_t)(colon - field.ptr);
            }
            char conversion = 0;
            if (field.len >= 2 && field.ptr[field.len - 2] == '!') {
                conversion = field.ptr[field.len - 1];
                field.len -= 2;
                if (conversion != 's' && conversion != 'r') return TYPE_ERROR(r, "format(): bad conversion");
            }
            struct value v = field_value(r, field, call, &next_auto);
            size_t mark = r->out.len;
            if (conversion == 's') v = slm_jinja_to_str(r, v);
            if (conversion == 'r' && v.kind != V_FAIL) v = slm_jinja_repr(r, v) ? slm_jinja_capture(r, mark) : v_fail();
            if (v.kind == V_FAIL || !put_format_field(r, v, spec)) return v_fail();
            continue;
        }
        if (!slm_jinja_put(r, &c, 1)) return v_fail();
    }
    return slm_jinja_capture(r, start);
}
