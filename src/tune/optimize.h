/* SPDX-License-Identifier: MIT
 * What the files of slm_optimize share: the state of one run, and measuring what a choice of types costs. Private to
 * src/tune. */
#ifndef SLM_TUNE_OPTIMIZE_H
#define SLM_TUNE_OPTIMIZE_H
#include "tune/cache.h"
#include "tune/predict.h"
#include "tune/recipe.h"

/* What slm_quantize is to do; all of it lives in the run's arena. */
struct slm_choice {
    const char *type;
    bool pure;
    const struct slm_convert_rule *rules; /* [n_rules] */
    size_t n_rules;
};

enum { SLM_OPTIMIZE_KL_ERROR = SLM_METRIC_COUNT, SLM_OPTIMIZE_BASE_PPL, SLM_OPTIMIZE_NUMBERS };

struct slm_trial {
    char name[64];
    struct slm_choice choice;
    double numbers[SLM_OPTIMIZE_NUMBERS]; /* by metric, then the two above; NaN = not measured */
    bool pareto;
};
enum { SLM_OPTIMIZE_MAX_TRIALS = 128 };

struct slm_optimizer {
    const struct slm_optimize_options *options;
    struct slm_recipe recipe;
    struct slm_goal goal;
    bool asked;                /* the goal is the user's, not the default one */
    struct slm_arena arena;
    const char *base_path;     /* what is quantized: the input itself, or the GGUF file made of it */
    uint64_t base_key;         /* of its content */
    struct slm_model *base;
    const char *text, *calibration; /* the second half of the text, and the first */
    size_t text_bytes, calibration_bytes;
    struct slm_map map;        /* of the text */
    uint64_t text_key;
    const char *imatrix;       /* NULL: none */
    uint64_t imatrix_key;
    struct slm_trial trials[SLM_OPTIMIZE_MAX_TRIALS];
    size_t n_trials;
};

/* The text: the recipe's, or one that the model writes itself. Fills text and calibration. */
slm_status slm_optimize_read_text(struct slm_optimizer *o, struct slm_error *error);
/* Quantizes to a file of the work folder and measures it on the first `windows` windows of the text; with speed
 * when the bench pass runs and `all` is set. Numbers that the cache has are not measured again. */
slm_status slm_optimize_measure(struct slm_optimizer *o, const struct slm_choice *choice, int64_t windows, bool all,
                                double numbers[SLM_OPTIMIZE_NUMBERS], struct slm_error *error);
/* slm_quantize as the choice has it. */
slm_status slm_optimize_quantize(struct slm_optimizer *o, const struct slm_choice *choice, const char *path,
                                 struct slm_convert_result *result, struct slm_error *error);
/* Measures, and adds to the trials; one of this name that is there already is the answer. out may be NULL. */
slm_status slm_optimize_try(struct slm_optimizer *o, const char *name, const struct slm_choice *choice,
                            const struct slm_trial **out, struct slm_error *error);
/* Types tensor by tensor: adds the mixtures it tries to the trials. */
slm_status slm_optimize_search(struct slm_optimizer *o, struct slm_error *error);
void slm_optimize_note(const struct slm_optimizer *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
