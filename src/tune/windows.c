/* SPDX-License-Identifier: MIT
 * See windows.h. The cut is llama.cpp's: windows without overlap, and where texts begin with BOS each window does, its
 * own first token giving way. */
#include "tune/windows.h"

#include "base/os.h"

slm_status slm_windows_open(const struct slm_model *model, const char *text, size_t bytes, size_t window, size_t most,
                            struct slm_windows *out, struct slm_error *error)
{
    const struct slm_model_info info = slm_model_info(model);
    const unsigned flags = SLM_TOKENIZE_ADD_SPECIAL;
    *out = (struct slm_windows){.window = window > 0 ? window : 512, .bos = -1};
    SLM_TRY(slm_tokenize(model, text, bytes, flags, NULL, 0, &out->n_ids, error));
    out->ids = slm_alloc(out->n_ids ? out->n_ids : 1, sizeof *out->ids, "text", error);
    if (!out->ids) return SLM_ERR_MEMORY;
    SLM_TRY(slm_tokenize(model, text, bytes, flags, out->ids, out->n_ids, &out->n_ids, error));
    if (window == 0 && out->window > (size_t)info.n_ctx_train) out->window = (size_t)info.n_ctx_train;
    if (out->window < 4)
        return slm_fail(error, SLM_ERR_ARGUMENT, "window", "%zu tokens are too few; 4 are the least", out->window);
    out->n_windows = out->n_ids / out->window;
    if (out->n_ids > 0 && out->ids[0] == info.bos_id) out->bos = info.bos_id;
    if (most > 0 && most < out->n_windows) out->n_windows = most;
    if (out->n_windows > 0) return SLM_OK;
    return slm_fail(error, SLM_ERR_ARGUMENT, "text", "has %zu tokens, which is less than a window of %zu", out->n_ids,
                    out->window);
}

void slm_windows_release(struct slm_windows *windows)
{
    slm_release(windows->ids);
    windows->ids = NULL;
}
