/* SPDX-License-Identifier: MIT
 * Looking a family up by the architecture a file names. The rows are in families.h. */
#include "families/families.h"

#include <stdio.h>

#include "tokenizer/tokenizer.h"

static const struct slm_family *const families[] = {
#define X(name) &slm_family_##name,
    SLM_FAMILIES(X)
#undef X
};

static bool is_named(const struct slm_family *family, struct slm_str architecture)
{
    if (slm_str_is(architecture, family->architecture)) return true;
    for (const char *const *name = family->more_architectures; name && *name; name++)
        if (slm_str_is(architecture, *name)) return true;
    return false;
}

const struct slm_family *slm_family_find(struct slm_str architecture)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (is_named(families[i], architecture)) return families[i];
    return NULL;
}

const struct slm_family *slm_family_find_hf(struct slm_str class_name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (const char *const *name = families[i]->hf_architectures; *name; name++)
            if (slm_str_is(class_name, *name)) return families[i];
    return NULL;
}

const struct slm_shape *slm_family_shape_at(size_t i, const struct slm_family **family)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        *family = families[f];
        if (i < families[f]->n_shapes) return &families[f]->shapes[i];
        i -= families[f]->n_shapes;
    }
    return NULL;
}

const char *slm_family_chat_template(const struct slm_family *family, const struct slm_tokenizer *tokenizer)
{
    for (size_t i = 0; i < family->n_chat_rows; i++) {
        const struct slm_chat_row *row = &family->chat_rows[i];
        bool fits = true;
        for (size_t t = 0; t < 2 && row->tokens[t]; t++)
            fits = fits && slm_tokenizer_find(tokenizer, slm_str(row->tokens[t])) >= 0;
        if (fits) return row->chat_template;
    }
    return family->chat_template;
}

bool slm_family_specials_swallow_space(const struct slm_gguf *gguf)
{
    struct slm_str name = {0};
    bool found = false;
    (void)slm_gguf_get_str(gguf, "general.architecture", &name, &found, NULL);
    const struct slm_family *family = found ? slm_family_find(name) : NULL;
    return family && family->specials_swallow_space;
}

const char *slm_family_names(char out[SLM_FAMILY_NAMES_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families && n < SLM_FAMILY_NAMES_BYTES; i++)
        n += (size_t)snprintf(out + n, SLM_FAMILY_NAMES_BYTES - n, "%s%s", i ? ", " : "", families[i]->architecture);
    return out;
}
