/* SPDX-License-Identifier: MIT
 * Recipes of slm_optimize: a JSON object that says what is made of which model, by which passes, measured how,
 * until what goal is met (docs/optimize.md). */
#ifndef SLM_TUNE_RECIPE_H
#define SLM_TUNE_RECIPE_H
#include "base/arena.h"
#include "tune/goal.h"

enum slm_pass {
    SLM_PASS_CONVERT, SLM_PASS_CALIBRATE, SLM_PASS_QUANTIZE, SLM_PASS_SEARCH, SLM_PASS_EVALUATE, SLM_PASS_BENCH,
    SLM_PASS_PACKAGE, SLM_PASS_COUNT
};
enum { SLM_RECIPE_MAX_TYPES = 32 };
struct slm_type_list { const char *items[SLM_RECIPE_MAX_TYPES]; size_t n; };

/* Zero and NULL: not given. What is given, a caller may overrule. */
struct slm_recipe {
    const char *input, *output, *text, *goal; /* paths as written */
    int64_t ctx, threads;                     /* of the target */
    bool passes[SLM_PASS_COUNT];              /* which ones run */
    const char *convert_type;
    int64_t calibrate_window, calibrate_windows;
    struct slm_type_list types, search_types;
    int64_t rounds;                           /* of the search: candidates it may measure */
    int64_t window, max_windows;              /* of the evaluation */
    int64_t bench_prompt, bench_tokens, bench_repeat;
    struct slm_arena arena;
};
/* An empty text is the recipe of defaults: all passes. where names the file in messages. slm_recipe_release also
 * after a failure. */
slm_status slm_recipe_parse(const char *text, size_t bytes, const char *where, struct slm_recipe *out,
                            struct slm_error *error);
void slm_recipe_release(struct slm_recipe *recipe);
#endif
