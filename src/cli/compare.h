/* SPDX-License-Identifier: MIT
 * What `slm compare` has found, as its three ways of telling it (JSON, tables, an HTML page) read it. */
#ifndef SLM_CLI_COMPARE_H
#define SLM_CLI_COMPARE_H
#include "cli/bench.h"
#include "tune/predict.h"

enum { SLM_COMPARE_MODELS = 16, SLM_COMPARE_TYPES = 10, SLM_COMPARE_TEXT = 128 };

/* Texts are copies: models are closed when it is their turn no more. */
struct slm_compared {
    const char *path; /* as it was given */
    char name[SLM_COMPARE_TEXT], architecture[SLM_COMPARE_TEXT], licence[SLM_COMPARE_TEXT]; /* "" = not said */
    char types[SLM_COMPARE_TEXT]; /* "Q4_0 Q6_K F32", those with most bytes first */
    const char *size_class;
    uint64_t n_params, file_bytes;
    struct slm_work work;
    double bits;                             /* a weight */
    struct slm_memory memory[SLM_MAX_INTS];  /* at each context; weights 0: longer than the model can */
    bool measured, evaluated, same_tokens;
    struct slm_spread prefill, decode;       /* tokens a second */
    struct slm_eval_result eval;             /* has_base: against the base */
    double bits_per_byte;
    bool front;                              /* no other is smaller, faster and better at once */
};

/* The base in a type that may or may not be among the models. */
struct slm_footprint {
    const char *type;
    struct slm_memory memory; /* at the last of the contexts that the base can */
    bool present;             /* a model has these very weights */
};

struct slm_comparison {
    struct slm_compared models[SLM_COMPARE_MODELS];
    size_t n, base;
    struct slm_int_list contexts;
    struct slm_footprint footprint[SLM_COMPARE_TYPES];
    size_t n_footprint;
    int32_t footprint_ctx;
    const char *text;      /* its path; NULL = nothing was evaluated */
    int32_t n_prompt, n_generate, n_threads;
    const char *cpu, *kernels; /* NULL = nothing was measured */
};

void slm_compare_json(struct slm_buf *out, const struct slm_comparison *c);
void slm_compare_text(struct slm_buf *out, const struct slm_comparison *c);
void slm_compare_html(struct slm_buf *out, const struct slm_comparison *c);
#endif
