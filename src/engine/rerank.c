/* SPDX-License-Identifier: MIT
 * What a ranking model reads: a query and a document in one text. GGUF files may say how, in a template of their own
 * (tokenizer.chat_template.rerank) that has "{query}" and "{document}" and nothing else to replace: Qwen3-Reranker's is
 * a whole conversation that asks for yes or no. Without one the two stand behind each other, as tokenizers make pairs.
 *
 * Both are texts of users, so special tokens in them stay text (guard.h). Deliberately not here: the head that makes a
 * score of it (embed.c). */
#include "base/os.h"
#include "engine/guard.h"
#include "model/model.h"
#include "slm.h"

static const char key[] = "tokenizer.chat_template.rerank";

/* What every document of a request shares. */
struct pairing {
    const struct slm_tokenizer *tokenizer;
    struct slm_str template; /* ptr NULL = none */
    struct slm_controls controls;
    struct slm_buf query;    /* guarded */
    int32_t *ids;            /* [n_ids] of the query, when there is no template */
    size_t n_ids, n_first;   /* n_first: tokens that the model puts in front of a text */
};

static struct slm_str text_of(struct slm_embed_input input)
{
    return (struct slm_str){input.text ? input.text : "", input.text ? input.text_bytes : 0};
}

/* With the tokens around it, from `skip` on. */
static slm_status encode_plain(const struct slm_tokenizer *tokenizer, struct slm_str text, size_t skip, int32_t **ids,
                               size_t *n, struct slm_error *error)
{
    const unsigned flags = SLM_TOKENIZE_ADD_SPECIAL;
    SLM_TRY(slm_tokenizer_encode(tokenizer, text.ptr, text.len, flags, NULL, 0, n, error));
    *ids = slm_alloc(*n + 1, sizeof **ids, "rerank", error);
    if (!*ids) return SLM_ERR_MEMORY;
    const slm_status status = slm_tokenizer_encode(tokenizer, text.ptr, text.len, flags, *ids, *n, n, error);
    if (status != SLM_OK) {
        slm_release(*ids);
        *ids = NULL;
        return status;
    }
    if (skip > *n) skip = *n;
    memmove(*ids, *ids + skip, (*n - skip) * sizeof **ids);
    *n -= skip;
    return SLM_OK;
}

/* Folders have no place for such a template. Tokens in front of a text are counted by encoding an empty one. */
static slm_status open_pairing(struct pairing *p, const struct slm_model *model, struct slm_str query,
                               struct slm_error *error)
{
    bool found;
    p->tokenizer = model->tokenizer;
    if (!p->tokenizer)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf), "the file has no tokenizer");
    if (!model->folder) SLM_TRY(slm_gguf_get_str(model->gguf, key, &p->template, &found, error));
    if (!p->template.ptr) {
        size_t n_around = 0;
        SLM_TRY(slm_tokenizer_encode(p->tokenizer, "", 0, SLM_TOKENIZE_ADD_SPECIAL, NULL, 0, &n_around, error));
        p->n_first = n_around - (slm_tokenizer_added_last(p->tokenizer) >= 0 && n_around > 0);
        return encode_plain(p->tokenizer, query, 0, &p->ids, &p->n_ids, error);
    }
    SLM_TRY(slm_controls_list(p->tokenizer, &p->controls, error));
    SLM_TRY(slm_guard_add(&p->controls, query, &p->query, error));
    slm_buf_puts(&p->query, ""); /* an empty query is a text too */
    return slm_buf_status(&p->query, "rerank", error);
}

static void close_pairing(struct pairing *p)
{
    slm_release(p->controls.texts);
    slm_buf_release(&p->query);
    slm_release(p->ids);
}

/* In one pass, so that a query which spells "{document}" stays as it is. */
static slm_status fill_template(const struct pairing *p, struct slm_str document, struct slm_buf *out,
                                struct slm_error *error)
{
    static const struct { struct slm_str name; bool is_query; } places[] = {
        {{"{query}", 7}, true}, {{"{document}", 10}, false}};
    for (size_t at = 0; at < p->template.len;) {
        const struct slm_str rest = {p->template.ptr + at, p->template.len - at};
        size_t i = 0;
        while (i < 2 && !slm_str_starts_with(rest, places[i].name)) i++;
        if (i == 2) {
            slm_buf_add(out, rest.ptr, 1);
            at++;
            continue;
        }
        if (places[i].is_query) slm_buf_add(out, p->query.data, p->query.len);
        else SLM_TRY(slm_guard_add(&p->controls, document, out, error));
        at += places[i].name.len;
    }
    slm_buf_puts(out, "");
    return slm_buf_status(out, "rerank", error);
}

/* Without a template: the query's ids, copied, and the document's without what begins a text. */
static slm_status join(const struct pairing *p, struct slm_str document, int32_t **ids, size_t *n_ids,
                       struct slm_error *error)
{
    if (p->template.ptr) {
        struct slm_buf text = {0};
        slm_status status = fill_template(p, document, &text, error);
        if (status == SLM_OK)
            status = slm_guard_encode(p->tokenizer, (struct slm_str){text.data, text.len}, ids, n_ids, error);
        slm_buf_release(&text);
        return status;
    }
    int32_t *more = NULL;
    size_t n_more = 0;
    SLM_TRY(encode_plain(p->tokenizer, document, p->n_first, &more, &n_more, error));
    int32_t *all = slm_alloc(p->n_ids + n_more + 1, sizeof *all, "rerank", error);
    if (all) {
        memcpy(all, p->ids, p->n_ids * sizeof *all);
        memcpy(all + p->n_ids, more, n_more * sizeof *all);
        *ids = all;
        *n_ids = p->n_ids + n_more;
    }
    slm_release(more);
    return all ? SLM_OK : SLM_ERR_MEMORY;
}

slm_status slm_rerank_inputs(const struct slm_model *model, struct slm_embed_input query,
                             const struct slm_embed_input *documents, size_t n, struct slm_embed_input *out,
                             struct slm_error *error)
{
    struct pairing p = {.tokenizer = NULL};
    memset(out, 0, n * sizeof *out);
    slm_status status = open_pairing(&p, model, text_of(query), error);
    for (size_t i = 0; i < n && status == SLM_OK; i++) {
        int32_t *ids = NULL;
        status = join(&p, text_of(documents[i]), &ids, &out[i].n_ids, error);
        out[i].ids = ids;
    }
    close_pairing(&p);
    return status;
}
