/* SPDX-License-Identifier: MIT
 * What a model is to be like: "size<=400M, kl<=0.02". A goal is a list of bounds on numbers that are measured of
 * every candidate. */
#ifndef SLM_TUNE_GOAL_H
#define SLM_TUNE_GOAL_H
#include "base/error.h"

enum slm_metric {
    SLM_METRIC_SIZE,    /* bytes of the file */
    SLM_METRIC_BPW,     /* bits a weight, over the whole file */
    SLM_METRIC_KL, SLM_METRIC_PPL, SLM_METRIC_TOP1, /* of the evaluation; top1 a share */
    SLM_METRIC_DECODE, SLM_METRIC_PREFILL,          /* tokens a second */
    SLM_METRIC_MEMORY,  /* bytes of weights, cache and scratch at the target's context */
    SLM_METRIC_COUNT
};
extern const char *const slm_metric_names[SLM_METRIC_COUNT];

struct slm_bound { enum slm_metric metric; bool at_least; double value; };
enum { SLM_GOAL_MAX_BOUNDS = 16 };
struct slm_goal { struct slm_bound bounds[SLM_GOAL_MAX_BOUNDS]; size_t n; };

/* Bounds with commas between them. Sizes may end in K, M, G (powers of 1000), shares in %. */
slm_status slm_goal_parse(const char *text, struct slm_goal *out, struct slm_error *error);
/* values: [SLM_METRIC_COUNT]; a number that was not measured (NaN) meets no bound. */
bool slm_goal_met(const struct slm_goal *goal, const double *values);
/* By how much the values miss the goal: the sum of what each bound is missed by, as a share of it. 0 when it is
 * met. */
double slm_goal_miss(const struct slm_goal *goal, const double *values);
const struct slm_bound *slm_goal_bound(const struct slm_goal *goal, enum slm_metric metric); /* the first, or NULL */
/* Is there a bound on what is lost (kl, ppl, top1)? */
bool slm_goal_has_quality(const struct slm_goal *goal);
bool slm_goal_has_speed(const struct slm_goal *goal);
#endif
