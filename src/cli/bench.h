/* SPDX-License-Identifier: MIT
 * What `slm bench` measures, and the report that its three ways of telling it (JSON, a table, an HTML page) read. */
#ifndef SLM_CLI_BENCH_H
#define SLM_CLI_BENCH_H
#include "cli/cli.h"

enum { SLM_BENCH_REPEATS = 100, SLM_BENCH_FIRST_PROMPT = 16, SLM_BENCH_SEQUENCES = 64 };

/* What is to be measured: every combination. A count of 0 tokens is skipped; the other lists have an item at least. */
struct slm_bench_plan {
    struct slm_int_list n_prompt, n_generate, n_batch, n_depth, n_threads;
    int32_t n_repeat, n_warm_up;
    const char *label; /* of the bar; NULL = "measuring" */
};

/* One number of the table, and what it was measured under. */
struct slm_bench_case {
    bool prefill;  /* a prompt at once, else tokens one after the other */
    int32_t n;     /* tokens of each sequence that were timed */
    int32_t depth; /* tokens that stood before them */
    int32_t batch, threads;
    double tok_s[SLM_BENCH_REPEATS]; /* [n_repeat] over all sequences, in the order measured */
    double joules;                   /* of all CPU packages, over all repeats; < 0 = not known */
};

struct slm_bench_report {
    struct slm_model *model; /* owned */
    const char *name; /* path, shape or "built-in" */
    const char *cpu, *kernels;
    struct slm_model_info info;
    uint64_t weight_bytes; /* of weights that one generated token reads */
    uint64_t n_macs;       /* multiplications of a prompt's token with weights, the head left out */
    int32_t n_repeat;
    double load_s[SLM_BENCH_REPEATS];  /* from nothing to sessions that could take a token */
    double first_s[SLM_BENCH_REPEATS]; /* and to the logits behind a prompt of SLM_BENCH_FIRST_PROMPT tokens */
    uint64_t rss_bytes, peak_rss_bytes;
    struct slm_bench_case *cases; /* [n_cases] */
    size_t n_cases;
};

/* Opens the model n_repeat times and measures it. Texts of the report live until it is released, after failing too. */
slm_status slm_bench_measure(const struct slm_bench_plan *plan, const struct slm_model_choice *choice,
                             struct slm_bench_report *report, struct slm_error *error);
void slm_bench_release(struct slm_bench_report *report);

/* Values in order: the middle, and the ends. n >= 1. */
struct slm_spread { double median, least, most; };
struct slm_spread slm_bench_spread(const double *values, int32_t n);
/* Of each token, or < 0. */
double slm_bench_joules(const struct slm_bench_report *report, const struct slm_bench_case *c);
/* The first case that reads a prompt, or that generates; NULL when there is none. */
const struct slm_bench_case *slm_bench_first(const struct slm_bench_report *report, bool prefill);
/* Whether every case has the same value there. offset is of an int32_t in struct slm_bench_case. */
bool slm_bench_is_same(const struct slm_bench_report *report, size_t offset);

void slm_bench_json(struct slm_buf *out, const struct slm_bench_report *report);
void slm_bench_text(struct slm_buf *out, const struct slm_bench_report *report);
/* One page with charts that needs nothing from anywhere. */
slm_status slm_bench_html(struct slm_buf *out, const struct slm_bench_report *report, struct slm_error *error);
#endif
