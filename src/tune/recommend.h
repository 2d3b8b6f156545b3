/* SPDX-License-Identifier: MIT
 * Which type of weights to run a model in, on a machine that was measured, with so much memory: everything that could
 * be chosen, with what it needs, does and loses, and the choice. */
#ifndef SLM_TUNE_RECOMMEND_H
#define SLM_TUNE_RECOMMEND_H
#include "tune/predict.h"

enum { SLM_MAX_CHOICES = 16 };

struct slm_wish {
    uint64_t ram_bytes;                 /* for one session, model included */
    double min_speed;                   /* generated tokens a second when the context is full; 0 = any */
    struct slm_session_options session; /* n_ctx and what else memory depends on */
};

/* One way to run a model. */
struct slm_choice {
    const char *type;  /* as slm_quantize calls it; NULL = as it is stored */
    struct slm_memory memory;
    struct slm_speed speed;
    double kl;         /* divergence from the original: a table's, of one small model, until somebody measures it */
    bool measured;     /* kl is of this very model */
    bool fits, fast;   /* what was wished for */
};

/* Fills choices, those that lose least first. stored: the model as it is comes first, and types that would be no
 * smaller are left out; a shape has no such form. */
slm_status slm_recommend_list(struct slm_sizes *sizes, bool stored, const struct slm_wish *wish,
                              const struct slm_machine *machine, struct slm_choice choices[SLM_MAX_CHOICES], size_t *n,
                              struct slm_error *error);
/* Of those that fit and are fast enough the one that loses least, the smallest of equals; NULL when there is none. */
const struct slm_choice *slm_recommend_best(const struct slm_choice *choices, size_t n);
/* Whether it loses no more than a type of four bits does: beyond that a smaller model is the better one. */
bool slm_recommend_is_good(const struct slm_choice *choice);
#endif
