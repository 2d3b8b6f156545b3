/* SPDX-License-Identifier: MIT
 * A bound model's hyper-parameters as the keys of a GGUF file: the way back of bind.c, by the same rows. Values are
 * those the model runs with, so what a configuration left to a default is stated.
 *
 * A row that GGUF has no key for must be without effect, or said in another way (SLM_HPARAM_ELSEWHERE); otherwise the
 * file would silently be another model, and it is refused. What is no row's business is written by the family's
 * `export`. Deliberately not here: general.* keys, the tokenizer, tensors (tune/). */
#include <stdio.h>

#include "model/family.h"

const char *slm_model_key(const struct slm_model *model, const char *name, char key[SLM_MODEL_KEY_BYTES])
{
    snprintf(key, SLM_MODEL_KEY_BYTES, "%s.%s", model->architecture, name);
    return key;
}

/* A family's own row replaces the shared one of the same key. */
static bool is_replaced(const struct slm_family *family, const struct slm_hparam_row *row)
{
    const struct slm_hparam_row *more = family->more_hparams;
    for (size_t i = 0; i < family->n_more_hparams; i++)
        if (&more[i] != row && more[i].gguf_key && strcmp(more[i].gguf_key, row->gguf_key) == 0) return true;
    return false;
}

static slm_status write_hparam(const struct slm_model *model, const struct slm_hparam_row *row,
                               struct slm_gguf_writer *w, struct slm_error *error)
{
    char key[SLM_MODEL_KEY_BYTES];
    const unsigned char *field = (const unsigned char *)&model->hparams + row->field;
    const bool is_u32 = row->type == SLM_HPARAM_U32;
    const uint32_t u = is_u32 ? *(const uint32_t *)(const void *)field : 0;
    const double d = is_u32 ? u : *(const double *)(const void *)field;
    if (!row->gguf_key) {
        if (row->flags & SLM_HPARAM_ELSEWHERE || d == row->fallback) return SLM_OK;
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                        "key '%s' is %g, which a GGUF file of architecture '%s' cannot say", row->hf_key, d,
                        model->architecture);
    }
    /* 0 is "not said"; scaling by 1 is none. */
    const bool unscaled = row->field == offsetof(struct slm_hparams, rope_linear_scale) && d == 1.0;
    if (d == 0 || unscaled || is_replaced(model->family, row)) return SLM_OK;
    slm_model_key(model, row->gguf_key, key);
    return is_u32 ? slm_gguf_write_i64(w, key, SLM_GGUF_U32, u, error) : slm_gguf_write_f32(w, key, (float)d, error);
}

slm_status slm_model_export(const struct slm_model *model, struct slm_export *out, struct slm_error *error)
{
    const struct slm_family *family = model->family;
    struct slm_gguf_writer *w = out->writer;
    char key[SLM_MODEL_KEY_BYTES];
    for (size_t i = 0; i < family->n_hparams; i++) SLM_TRY(write_hparam(model, &family->hparams[i], w, error));
    for (size_t i = 0; i < family->n_more_hparams; i++)
        SLM_TRY(write_hparam(model, &family->more_hparams[i], w, error));
    /* Implied by others here; programs that read GGUF files ask for them. */
    SLM_TRY(slm_gguf_write_i64(w, slm_model_key(model, "vocab_size", key), SLM_GGUF_U32, model->hparams.n_vocab,
                               error));
    SLM_TRY(slm_gguf_write_i64(w, slm_model_key(model, "attention.value_length", key), SLM_GGUF_U32,
                               model->hparams.head_dim, error));
    if (model->hparams.bidirectional)
        SLM_TRY(slm_gguf_write_bool(w, slm_model_key(model, "attention.causal", key), false, error));
    if (model->hparams.rope_linear_scale != 1.0)
        SLM_TRY(slm_gguf_write_str(w, slm_model_key(model, "rope.scaling.type", key), slm_str("linear"), error));
    return family->export ? family->export(model, out, error) : SLM_OK;
}
