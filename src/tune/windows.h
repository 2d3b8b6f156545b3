/* SPDX-License-Identifier: MIT
 * A text as windows of tokens that are computed each by itself: what evaluating and calibrating share. */
#ifndef SLM_TUNE_WINDOWS_H
#define SLM_TUNE_WINDOWS_H
#include "base/error.h"

struct slm_windows {
    int32_t *ids;      /* [n_ids] of the whole text, owned */
    size_t n_ids, window, n_windows;
    int32_t bos;       /* stands in the place of each window's first token; -1 = that stays */
};
/* window 0: 512, or fewer where the model was trained for fewer. most 0: all windows there are; the rest of the text is
 * left out. A text shorter than a window is SLM_ERR_ARGUMENT. slm_windows_release also after a failure. */
slm_status slm_windows_open(const struct slm_model *model, const char *text, size_t bytes, size_t window, size_t most,
                            struct slm_windows *out, struct slm_error *error);
void slm_windows_release(struct slm_windows *windows);
#endif
