/* SPDX-License-Identifier: MIT
 * See compare.h. Deliberately not here: evaluating (eval.c), measuring speed (the command). */
#include "tune/compare.h"

#include <string.h>

#include "base/os.h"
#include "tune/windows.h"

slm_status slm_compare_bytes(const struct slm_model *model, const struct slm_eval_options *options, size_t *bytes,
                             struct slm_error *error)
{
    struct slm_windows text = {0};
    size_t n = 0;
    *bytes = 0;
    slm_status status = slm_windows_open(model, options->text, options->text_bytes, (size_t)options->n_window,
                                         options->max_windows, &text, error);
    /* The predicted ones: all behind the first of the second half. */
    for (size_t w = 0; status == SLM_OK && w < text.n_windows; w++) {
        const size_t first = text.window / 2 + 1;
        status = slm_detokenize(model, text.ids + w * text.window + first, text.window - first, false, NULL, 0, &n,
                                error);
        *bytes += n;
    }
    slm_windows_release(&text);
    return status;
}

slm_status slm_compare_same_tokens(const struct slm_model *a, const struct slm_model *b, const char *text,
                                   size_t text_bytes, bool *same, struct slm_error *error)
{
    size_t n_a, n_b;
    *same = false;
    SLM_TRY(slm_tokenize(a, text, text_bytes, SLM_TOKENIZE_ADD_SPECIAL, NULL, 0, &n_a, error));
    SLM_TRY(slm_tokenize(b, text, text_bytes, SLM_TOKENIZE_ADD_SPECIAL, NULL, 0, &n_b, error));
    if (n_a != n_b || slm_model_info(a).n_vocab != slm_model_info(b).n_vocab) return SLM_OK;
    int32_t *ids = slm_alloc(n_a ? 2 * n_a : 1, sizeof *ids, "compare", error);
    if (!ids) return SLM_ERR_MEMORY;
    slm_status status = slm_tokenize(a, text, text_bytes, SLM_TOKENIZE_ADD_SPECIAL, ids, n_a, &n_a, error);
    if (status == SLM_OK)
        status = slm_tokenize(b, text, text_bytes, SLM_TOKENIZE_ADD_SPECIAL, ids + n_a, n_a, &n_b, error);
    *same = status == SLM_OK && memcmp(ids, ids + n_a, n_a * sizeof *ids) == 0;
    slm_release(ids);
    return status;
}

/* Equals do not push each other out: both are worth looking at. */
bool slm_compare_is_front(const struct slm_cost *costs, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++) {
        bool no_worse = true, better = false;
        for (int c = 0; c < SLM_COSTS; c++) {
            no_worse = no_worse && costs[k].of[c] <= costs[i].of[c];
            better = better || costs[k].of[c] < costs[i].of[c];
        }
        if (no_worse && better) return false;
    }
    return true;
}
