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

const char *slm_family_names(void)
{
    static const char names[] =
#define X(name) #name ", "
        SLM_FAMILIES(X)
#undef X
        "";
    /* The list ends in a separator that callers should not see. */
    static char trimmed[sizeof names];
    if (!trimmed[0]) memcpy(trimmed, names, sizeof names - 3);
    return trimmed;
}
