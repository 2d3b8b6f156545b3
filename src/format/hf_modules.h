/* SPDX-License-Identifier: MIT
 * modules.json of sentence-transformers folders: which steps turn a text into a vector. */
#ifndef SLM_FORMAT_HF_MODULES_H
#define SLM_FORMAT_HF_MODULES_H
#include "base/str.h"

enum { SLM_HF_MAX_MODULES = 16, SLM_HF_MODULE_BYTES = 128 };

struct slm_hf_module {
    char path[SLM_HF_MODULE_BYTES]; /* folder below the model's; "" is the model's own */
    char type[SLM_HF_MODULE_BYTES]; /* class name without its package: "Transformer", "Pooling", "Dense", .. */
};
struct slm_hf_modules {
    struct slm_hf_module list[SLM_HF_MAX_MODULES];
    size_t n;
};

/* Reads the whole file. where names it in messages. Paths are "" or plain names of folders. */
slm_status slm_hf_modules_parse(struct slm_str file, const char *where, struct slm_hf_modules *out,
                                struct slm_error *error);
#endif
