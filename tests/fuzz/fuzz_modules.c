/* SPDX-License-Identifier: MIT
 * Fuzzes modules.json of sentence-transformers folders. What is accepted must be whole texts, and no path may lead out
 * of the folder. */
#include "base/os.h"
#include "format/hf_modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_hf_modules modules;
    struct slm_error error = {0};
    if (slm_hf_modules_parse((struct slm_str){(const char *)data, size}, "fuzz", &modules, &error) != SLM_OK) {
        SLM_ASSERT(error.status != SLM_OK && error.message[0]);
        return 0;
    }
    SLM_ASSERT(modules.n <= SLM_HF_MAX_MODULES);
    for (size_t i = 0; i < modules.n; i++) {
        const struct slm_hf_module *m = &modules.list[i];
        SLM_ASSERT(memchr(m->path, 0, sizeof m->path) && memchr(m->type, 0, sizeof m->type));
        SLM_ASSERT(!strchr(m->path, '/') && m->path[0] != '.' && !strchr(m->type, '.'));
    }
    return 0;
}
