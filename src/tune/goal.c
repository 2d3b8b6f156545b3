/* SPDX-License-Identifier: MIT
 * See goal.h. The language is as small as it looks: NAME <= NUMBER or NAME >= NUMBER, with commas. Numbers are read
 * here rather than by strtod, whose reading of "1e999", "nan" or hexadecimal nobody asked for. Deliberately not
 * here: how candidates are measured, and which one is taken (optimize.c). */
#include "tune/goal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

const char *const slm_metric_names[SLM_METRIC_COUNT] = {
    [SLM_METRIC_SIZE] = "size",     [SLM_METRIC_BPW] = "bpw",         [SLM_METRIC_KL] = "kl",
    [SLM_METRIC_PPL] = "ppl",       [SLM_METRIC_TOP1] = "top1",       [SLM_METRIC_DECODE] = "decode",
    [SLM_METRIC_PREFILL] = "prefill", [SLM_METRIC_MEMORY] = "memory",
};

/* A letter behind a number, and what it multiplies it with. */
static const struct { char letter; double factor; bool bytes; } units[] = {
    {'K', 1e3, true}, {'M', 1e6, true}, {'G', 1e9, true}, {'%', 0.01, false},
};

/* The others are plain numbers, and one of them a share. */
static bool is_bytes(enum slm_metric m) { return m == SLM_METRIC_SIZE || m == SLM_METRIC_MEMORY; }

/* Goals are written in shells and in JSON, where line ends come along. */
static void skip_spaces(const char **p) { while (**p == ' ' || **p == '\t' || **p == '\n' || **p == '\r') ++*p; }

/* Digits with at most one point; false when there are none, or too many to mean something. */
static bool read_number(const char **p, double *out)
{
    double value = 0, place = 1;
    int digits = 0;
    bool point = false;
    for (; (**p >= '0' && **p <= '9') || (**p == '.' && !point); ++*p) {
        if (**p == '.') {
            point = true;
            continue;
        }
        value = value * 10 + (**p - '0');
        if (point) place *= 10;
        if (++digits > 18) return false;
    }
    *out = value / place;
    return digits > 0;
}

/* `at` is the rest of the goal from the bound that is wrong: where to look is plain without counting bytes. */
static slm_status refuse(const char *at, const char *what, struct slm_error *error)
{
    char rest[48];
    slm_escape(rest, sizeof rest, slm_str(at));
    return slm_fail(error, SLM_ERR_ARGUMENT, "goal", "'%s': %s", rest, what);
}

/* Names are lower case, as they are in the JSON of results. */
static bool read_metric(const char **p, enum slm_metric *out)
{
    size_t n = 0;
    while (((*p)[n] >= 'a' && (*p)[n] <= 'z') || ((*p)[n] >= '0' && (*p)[n] <= '9')) n++;
    for (int i = 0; i < SLM_METRIC_COUNT; i++)
        if (slm_str_is((struct slm_str){*p, n}, slm_metric_names[i])) {
            *out = (enum slm_metric)i;
            *p += n;
            return true;
        }
    return false;
}

/* A name, a comparison, a number, perhaps a unit; what follows must be a comma or the end. */
static slm_status read_bound(const char **p, struct slm_bound *out, struct slm_error *error)
{
    const char *start = *p;
    if (!read_metric(p, &out->metric))
        return refuse(start, "begins with none of size, bpw, kl, ppl, top1, decode, prefill, memory", error);
    skip_spaces(p);
    out->at_least = **p == '>';
    if ((**p != '<' && **p != '>') || (*p)[1] != '=')
        return refuse(start, "needs <= or >= behind the name, as in size<=400M", error);
    *p += 2;
    skip_spaces(p);
    if (!read_number(p, &out->value)) return refuse(start, "needs a number, as in kl<=0.02", error);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (**p != units[i].letter) continue;
        if (units[i].bytes ? !is_bytes(out->metric) : out->metric != SLM_METRIC_TOP1) break;
        out->value *= units[i].factor;
        ++*p;
        break;
    }
    skip_spaces(p);
    return **p == ',' || **p == 0 ? SLM_OK
                                  : refuse(start, "has something behind the number; sizes may end in K, M or G, "
                                           "top1 in %, and a comma comes before the next bound", error);
}

slm_status slm_goal_parse(const char *text, struct slm_goal *out, struct slm_error *error)
{
    const char *p = text;
    *out = (struct slm_goal){.n = 0};
    /* An empty goal is none, and a comma at the end is a bound that was forgotten: both are refused. */
    for (;;) {
        if (out->n == SLM_GOAL_MAX_BOUNDS) return refuse(p, "is one bound more than the 16 allowed", error);
        skip_spaces(&p);
        SLM_TRY(read_bound(&p, &out->bounds[out->n], error));
        out->n++;
        if (*p == 0) return SLM_OK;
        p++;
    }
}

/* By what share a bound is missed; 0 when it is met. */
static double miss_of(const struct slm_bound *b, double value)
{
    const double over = b->at_least ? b->value - value : value - b->value;
    if (isnan(value)) return INFINITY; /* nothing is known, so nothing is promised */
    return over > 0 ? over / (b->value > 0 ? b->value : 1) : 0;
}

double slm_goal_miss(const struct slm_goal *goal, const double *values)
{
    double sum = 0;
    for (size_t i = 0; i < goal->n; i++) sum += miss_of(&goal->bounds[i], values[goal->bounds[i].metric]);
    return sum;
}

/* No comparison with 0 by ==: a miss is NaN nowhere, and positive exactly when something is missed. */
bool slm_goal_met(const struct slm_goal *goal, const double *values) { return !(slm_goal_miss(goal, values) > 0); }

/* Two bounds on one number are allowed; the search heeds the first, the choice both. */
const struct slm_bound *slm_goal_bound(const struct slm_goal *goal, enum slm_metric metric)
{
    for (size_t i = 0; i < goal->n; i++)
        if (goal->bounds[i].metric == metric) return &goal->bounds[i];
    return NULL;
}

bool slm_goal_has_quality(const struct slm_goal *goal)
{
    return slm_goal_bound(goal, SLM_METRIC_KL) || slm_goal_bound(goal, SLM_METRIC_PPL) ||
           slm_goal_bound(goal, SLM_METRIC_TOP1);
}

bool slm_goal_has_speed(const struct slm_goal *goal)
{
    return slm_goal_bound(goal, SLM_METRIC_DECODE) || slm_goal_bound(goal, SLM_METRIC_PREFILL);
}
