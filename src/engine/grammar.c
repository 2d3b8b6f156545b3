/* SPDX-License-Identifier: MIT
 * Grammars of a model: its vocabulary as grammars need it, made when the first grammar is opened and kept with the
 * model. Deliberately not here: what a grammar is (grammar/), and how a mask narrows a draw (sampler.c). */
#include "engine/grammar.h"

#include "grammar/grammar.h"
#include "base/lock.h"
#include "model/model.h"

struct slm_model_vocab {
    struct slm_lock lock;
    struct slm_vocab *vocab;
};

slm_status slm_model_vocab_open(struct slm_model_vocab **out, struct slm_error *error)
{
    *out = slm_alloc(1, sizeof **out, "vocabulary", error);
    return *out ? SLM_OK : SLM_ERR_MEMORY;
}

void slm_model_vocab_close(struct slm_model_vocab *vocab)
{
    if (vocab) slm_vocab_close(vocab->vocab);
    slm_release(vocab);
}

/* A control or unknown token shows its text only when asked to. */
static struct slm_str text_of(const void *user, int32_t id, bool *special)
{
    const struct slm_tokenizer *tokenizer = user;
    *special = false;
    if ((size_t)id >= slm_tokenizer_n_vocab(tokenizer)) return (struct slm_str){NULL, 0};
    const enum slm_token_type type = slm_tokenizer_type(tokenizer, id);
    if (type == SLM_TOKEN_UNUSED || type == SLM_TOKEN_UNKNOWN) return (struct slm_str){NULL, 0};
    const struct slm_str text = slm_tokenizer_piece(tokenizer, id, false);
    if (text.len > 0 || type != SLM_TOKEN_CONTROL) return text;
    *special = true;
    return slm_tokenizer_piece(tokenizer, id, true);
}

static bool ends(const void *user, int32_t id)
{
    const struct slm_tokenizer *tokenizer = user;
    return (size_t)id < slm_tokenizer_n_vocab(tokenizer) && slm_tokenizer_is_eog(tokenizer, id);
}

slm_status slm_model_vocab_get(const struct slm_model *model, const struct slm_vocab **out, struct slm_error *error)
{
    struct slm_model_vocab *v = model->vocab;
    slm_status status = SLM_OK;
    if (!model->tokenizer)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "grammar", "this model has no tokenizer: its tokens have no text");
    const size_t n_tokens = slm_tokenizer_n_vocab(model->tokenizer);
    const struct slm_vocab_source source = {
        .n_vocab = model->hparams.n_vocab ? model->hparams.n_vocab : n_tokens,
        .text = text_of, .ends = ends, .user = model->tokenizer,
    };
    slm_lock_take(&v->lock);
    if (!v->vocab) status = slm_vocab_open(&source, &v->vocab, error);
    *out = v->vocab;
    slm_lock_give(&v->lock);
    return status;
}

slm_status slm_grammar_open(const struct slm_model *model, enum slm_grammar_kind kind, const char *text,
                            size_t text_bytes, struct slm_grammar **out, struct slm_error *error)
{
    const struct slm_vocab *vocab;
    SLM_TRY(slm_model_vocab_get(model, &vocab, error));
    return slm_grammar_new(vocab, kind, (struct slm_str){text, text_bytes}, out, error);
}

slm_status slm_model_grammar_framed(const struct slm_model *model, const struct slm_grammar_frame *frame,
                                    struct slm_str schema, struct slm_grammar **out, struct slm_error *error)
{
    const struct slm_vocab *vocab;
    SLM_TRY(slm_model_vocab_get(model, &vocab, error));
    return slm_grammar_new_framed(vocab, frame, schema, out, error);
}
