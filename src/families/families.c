/* SPDX-License-Identifier: MIT
 * Looking a family up by the architecture a file names. The rows are in families.h. */
#include "families/families.h"

static const struct slm_family *const families[] = {
#define X(name) &slm_family_##name,
    SLM_FAMILIES(X)
#undef X
};

const struct slm_family *slm_family_find(struct slm_str architecture)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (slm_str_is(architecture, families[i]->architecture)) return families[i];
    return NULL;
}

const struct slm_family *slm_family_find_hf(struct slm_str class_name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (const char *const *name = families[i]->hf_architectures; *name; name++)
            if (slm_str_is(class_name, *name)) return families[i];
    return NULL;
}

const char *slm_family_names(void)
{
    return &
#define X(name) ", " #name
        SLM_FAMILIES(X)
#undef X
        [2]; /* without the leading separator */
}
