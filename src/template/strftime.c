/* SPDX-License-Identifier: MIT
 * strftime_now(format): the date in the words of Python's strftime in the C locale, in UTC. C's own strftime is not
 * used: it depends on the locale of the program, and templates are part of a model's exact input.
 *
 * Not here: time zones. A server renders the same prompt wherever it stands, so the date is UTC. */
#include <stdio.h>
#include "template/value.h"

/* A moment in UTC. */
struct date { int64_t year; int month, day, hour, minute, second, weekday, yearday; }; /* month 1..,
    weekday 0 = Sunday */

/* Days since 1970 to a civil date (H. Hinnant, chrono-compatible low-level date algorithms). */
static struct date date_of(int64_t unix_s)
{
    int64_t days = unix_s / 86400, rest = unix_s % 86400;
    if (rest < 0) rest += 86400, days--;
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097, yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct date d = {.day = (int)(doy - (153 * mp + 2) / 5 + 1), .month = (int)(mp < 10 ? mp + 3 : mp - 9)};
    d.year = yoe + era * 400 + (d.month <= 2);
    d.hour = (int)(rest / 3600);
    d.minute = (int)(rest / 60 % 60);
    d.second = (int)(rest % 60);
    d.weekday = (int)(((days + 4) % 7 + 7) % 7);
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
    d.yearday = before[d.month - 1] + d.day - 1 + (leap && d.month > 2);
    return d;
}

/* ISO 8601 week and its year. */
static int iso_week(const struct date *d, int64_t *year)
{
    int weekday = (d->weekday + 6) % 7; /* Monday = 0 */
    int week = (d->yearday - weekday + 10) / 7;
    *year = d->year;
    for (int pass = 0; pass < 2; pass++) {
        bool leap = (*year % 4 == 0 && *year % 100 != 0) || *year % 400 == 0;
        int first = (weekday - d->yearday % 7 + 7) % 7; /* weekday of 1 January of d->year */
        if (week == 0) { /* belongs to the year before: 53 weeks when that one began late enough */
            int64_t before = *year - 1;
            bool before_leap = (before % 4 == 0 && before % 100 != 0) || before % 400 == 0;
            int before_first = (first - (before_leap ? 366 : 365) % 7 + 7) % 7;
            *year = before;
            return before_first == 3 || (before_first == 2 && before_leap) ? 53 : 52;
        }
        if (week == 53 && !(first == 3 || (first == 2 && leap))) {
            ++*year;
            return 1;
        }
    }
    return week;
}

/* With the flags of the C library: '-' no padding, '_' blanks, '0' zeros. */
static bool number(struct render *r, int64_t value, int width, char pad, char flag)
{
    char text[32];
    if (flag == '-') width = 0;
    if (flag == '_') pad = ' ';
    if (flag == '0') pad = '0';
    int n = snprintf(text, sizeof text, pad == '0' ? "%0*lld" : "%*lld", width, (long long)value);
    return slm_jinja_put(r, text, (size_t)n);
}

/* At most so many bytes of an ASCII text. */
static bool words(struct render *r, const char *text, size_t most)
{
    size_t n = strlen(text);
    return slm_jinja_put(r, text, n < most ? n : most);
}

static const char *const weekdays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July", "August",
                                     "September", "October", "November", "December"};

/* Codes that stand for others. */
static const char *expansion(char code)
{
    switch (code) {
    case 'c': return "%a %b %e %H:%M:%S %Y";
    case 'D': case 'x': return "%m/%d/%y";
    case 'F': return "%Y-%m-%d";
    case 'r': return "%I:%M:%S %p";
    case 'R': return "%H:%M";
    case 'T': case 'X': return "%H:%M:%S";
    default: return NULL;
    }
}

/* One conversion. What Python leaves to C is here as glibc does it. */
static bool put_code(struct render *r, const struct date *d, int64_t now, char code, char flag)
{
    int64_t iso_year;
    int hour12 = d->hour % 12 ? d->hour % 12 : 12;
    switch (code) {
    case 'a': return words(r, weekdays[d->weekday], 3);
    case 'A': return words(r, weekdays[d->weekday], 20);
    case 'b': case 'h': return words(r, months[d->month - 1], 3);
    case 'B': return words(r, months[d->month - 1], 20);
    case 'C': return number(r, d->year / 100, 2, '0', flag);
    case 'd': return number(r, d->day, 2, '0', flag);
    case 'e': return number(r, d->day, 2, ' ', flag);
    case 'f': return words(r, "000000", 6);
    case 'g': iso_week(d, &iso_year); return number(r, iso_year % 100, 2, '0', flag);
    case 'G': iso_week(d, &iso_year); return number(r, iso_year, 0, '0', flag);
    case 'H': return number(r, d->hour, 2, '0', flag);
    case 'I': return number(r, hour12, 2, '0', flag);
    case 'j': return number(r, d->yearday + 1, 3, '0', flag);
    case 'k': return number(r, d->hour, 2, ' ', flag);
    case 'l': return number(r, hour12, 2, ' ', flag);
    case 'm': return number(r, d->month, 2, '0', flag);
    case 'M': return number(r, d->minute, 2, '0', flag);
    case 'n': return words(r, "\n", 1);
    case 'p': return words(r, d->hour < 12 ? "AM" : "PM", 2);
    case 'P': return words(r, d->hour < 12 ? "am" : "pm", 2);
    case 's': return number(r, now, 0, '0', flag);
    case 'S': return number(r, d->second, 2, '0', flag);
    case 't': return words(r, "\t", 1);
    case 'u': return number(r, d->weekday ? d->weekday : 7, 1, '0', flag);
    case 'U': return number(r, (d->yearday + 7 - d->weekday) / 7, 2, '0', flag);
    case 'V': return number(r, iso_week(d, &iso_year), 2, '0', flag);
    case 'w': return number(r, d->weekday, 1, '0', flag);
    case 'W': return number(r, (d->yearday + 7 - (d->weekday + 6) % 7) / 7, 2, '0', flag);
    case 'y': return number(r, d->year % 100, 2, '0', flag);
    case 'Y': return number(r, d->year, 0, '0', flag);
    case 'z': case 'Z': return true; /* Python's now() knows no zone */
    case '%': return words(r, "%", 1);
    default: return TYPE_ERROR(r, "strftime_now: unknown code '%%%c'", code >= ' ' && code < 127 ? code
        : '?').kind != V_FAIL;
    }
}

/* A flag between % and the letter changes the padding; a lone % at the end stands for itself. */
static bool put_format(struct render *r, const struct date *d, int64_t now, struct slm_str f)
{
    for (size_t i = 0; i < f.len; i++) {
        if (f.ptr[i] != '%' || i + 1 == f.len) {
            if (!slm_jinja_put(r, f.ptr + i, 1)) return false;
            continue;
        }
        char flag = 0;
        i++;
        while (i + 1 < f.len && (f.ptr[i] == '-' || f.ptr[i] == '_' || f.ptr[i] == '0')) flag = f.ptr[i++];
        const char *expanded = expansion(f.ptr[i]);
        for (const char *e = expanded; e && *e; e++) {
            bool ok = *e == '%' ? put_code(r, d, now, *++e, 0) : slm_jinja_put(r, e, 1);
            if (!ok) return false;
        }
        if (!slm_jinja_burn(r, 8) || (!expanded && !put_code(r, d, now, f.ptr[i], flag))) return false;
    }
    return true;
}

struct value slm_jinja_strftime(struct render *r, const struct text *format)
{
    struct date d = date_of(r->now_unix_s);
    size_t start = r->out.len;
    return put_format(r, &d, r->now_unix_s, text_str(format)) ? slm_jinja_capture(r, start) : v_fail();
}
