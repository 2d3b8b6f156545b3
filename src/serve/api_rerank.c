/* SPDX-License-Identifier: MIT
 * Documents in the order in which they answer a query: the request and the reply that Jina, Cohere, vLLM and
 * llama-server have in common.
 *
 * Two kinds of model can. One that ranks has a head for it and reads each document together with the query; what the
 * head says of its first label is the score, as the model means it. One that embeds reads them apart, and the score is
 * the cosine of the two vectors. A model whose files claim neither is refused: the numbers would look the same and mean
 * nothing.
 *
 * Deliberately not here: how query and document become one text (engine/rerank.c), and cutting long documents: too long
 * is an error that says which. */
#include <stdlib.h>
#include "base/os.h"
#include "serve/api_native.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

static const struct slm_field rows[] = {
    NEEDED_TEXT("query", query, "text"),
    NEEDED_JSON("documents", documents, "texts, or objects with `text` alone: at most 2047"),
    INT("top_n", n_top, 1, 1e6, "results: the best so many; default: all"),
    BOOL("return_documents", verbose, "each result has its document; default false"),
    TEXT("model", model, "name of the model; absent: the one that was served first"),
};
static const struct slm_field_set sets[] = {SLM_FIELDS(rows), {NULL, 0}};

/* A string, or what Jina's clients wrap around one. */
static slm_status read_document(const json_t *documents, size_t i, struct slm_str *out, struct slm_error *error)
{
    const json_t *one = json_array_get(documents, i), *text = json_is_object(one) ? json_object_get(one, "text") : one;
    if (json_is_object(one) && (json_object_size(one) != 1 || !text))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("documents[%zu]", i).text,
                        "must be text, or an object with text and nothing else");
    if (!json_is_string(text))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("documents[%zu]", i).text, "must be text, not %s",
                        slm_json_kind(text));
    *out = (struct slm_str){json_string_value(text), json_string_length(text)};
    return SLM_OK;
}

/* How many tokens a text has; more than the context is an error that names the field. */
static slm_status count_tokens(struct slm_call *call, struct slm_str text, const char *field, size_t *n_ids,
                               struct slm_error *error)
{
    const size_t n_ctx = slm_host_model_n_ctx(call->model);
    SLM_TRY(slm_tokenize(slm_call_model(call), text.ptr, text.len, SLM_TOKENIZE_ADD_SPECIAL, NULL, 0, n_ids, error));
    if (*n_ids <= n_ctx) return SLM_OK;
    return slm_fail(error, SLM_ERR_CONTEXT, field, "has %zu tokens, the context holds %zu", *n_ids, n_ctx);
}

/* Vectors: the query's, then the documents'. */
static slm_status copy_texts(struct slm_call *call, const struct slm_embed_input *documents, size_t n,
                             struct slm_embed_input *out, struct slm_error *error)
{
    for (size_t i = 0; i <= n; i++) {
        const struct slm_str query = slm_str(call->ask.query);
        const struct slm_str text = i ? (struct slm_str){documents[i - 1].text, documents[i - 1].text_bytes} : query;
        size_t n_ids = 0;
        out[i].text = slm_call_copy(text, error);
        out[i].text_bytes = text.len;
        if (!out[i].text) return SLM_ERR_MEMORY;
        SLM_TRY(count_tokens(call, text, i ? slm_path("documents[%zu]", i - 1).text : "query", &n_ids, error));
        call->n_prompt += n_ids;
    }
    return SLM_OK;
}

/* Pairs of query and document: a query counts as often as it is read. One that is too long is found before it is joined
 * with two thousand documents. */
static slm_status join_texts(struct slm_call *call, const struct slm_embed_input *documents, size_t n,
                             struct slm_embed_input *out, struct slm_error *error)
{
    const size_t n_ctx = slm_host_model_n_ctx(call->model);
    const struct slm_embed_input query = {.text = call->ask.query, .text_bytes = strlen(call->ask.query)};
    size_t n_query = 0;
    SLM_TRY(count_tokens(call, slm_str(call->ask.query), "query", &n_query, error));
    SLM_TRY(slm_rerank_inputs(slm_call_model(call), query, documents, n, out, error));
    for (size_t i = 0; i < n; i++) {
        if (out[i].n_ids > n_ctx)
            return slm_fail(error, SLM_ERR_CONTEXT, slm_path("documents[%zu]", i).text,
                            "has %zu tokens with the query, the context holds %zu", out[i].n_ids, n_ctx);
        call->n_prompt += out[i].n_ids;
    }
    return SLM_OK;
}

/* One job of all of them; until it is made they are ours to release. */
static slm_status make_inputs(struct slm_call *call, const struct slm_embed_input *documents, size_t n, bool pairs,
                              struct slm_error *error)
{
    const size_t n_inputs = pairs ? n : n + 1;
    struct slm_embed_input *inputs = slm_alloc(n_inputs, sizeof *inputs, "documents", error);
    if (!inputs) return SLM_ERR_MEMORY;
    const slm_status status = (pairs ? join_texts : copy_texts)(call, documents, n, inputs, error);
    if (status == SLM_OK) return slm_call_add_embed(call, inputs, n_inputs, error);
    for (size_t i = 0; i < n_inputs; i++) {
        slm_release((char *)(uintptr_t)inputs[i].text);
        slm_release((int32_t *)(uintptr_t)inputs[i].ids);
    }
    slm_release(inputs);
    return status;
}

struct result { size_t index; double score; };

/* Room for the results is taken here, where a lack of memory is an answer like any other. */
static slm_status prepare(struct slm_call *call, struct slm_error *error)
{
    const json_t *list = call->ask.documents;
    const size_t n = json_array_size(list);
    const enum slm_pooling pooling = slm_model_pooling(slm_call_model(call));
    if (pooling == SLM_POOLING_DEFAULT)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "model", "\"%s\" cannot rank: its files have neither a head for it "
                        "(pooling_type 4 and cls.output.weight, or score.weight) nor a pooling for embeddings",
                        slm_host_model_name(call->model));
    if (!json_is_array(list) || n == 0 || n >= SLM_MAX_INPUTS)
        return slm_fail(error, SLM_ERR_ARGUMENT, "documents", "must be an array of 1 to %d texts", SLM_MAX_INPUTS - 1);
    for (size_t i = 0; i < n; i++)
        slm_buf_add(&call->extra, (const char *)&(struct result){.index = i}, sizeof(struct result));
    SLM_TRY(slm_buf_status(&call->extra, "documents", error));
    struct slm_embed_input *documents = slm_alloc(n, sizeof *documents, "documents", error);
    if (!documents) return SLM_ERR_MEMORY;
    slm_status status = SLM_OK;
    for (size_t i = 0; i < n && status == SLM_OK; i++) {
        struct slm_str text = {0};
        status = read_document(list, i, &text, error);
        documents[i] = (struct slm_embed_input){.text = text.ptr, .text_bytes = text.len};
    }
    if (status == SLM_OK) status = make_inputs(call, documents, n, pooling == SLM_POOLING_RANK, error);
    slm_release(documents);
    return status;
}

/* ---- the answer ------------------------------------------------------------------------------------------------ */

/* The best first; among equals in the order in which they came. */
static int by_score(const void *a, const void *b)
{
    const struct result *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

/* The document comes as an object in any case: so Jina and Cohere have it. */
static void write_result(struct slm_call *call, const struct result *result)
{
    struct slm_str text = {0};
    slm_write_begin(&call->out, NULL, '{');
    slm_write_int(&call->out, "index", (int64_t)result->index);
    slm_write_float(&call->out, "relevance_score", result->score);
    if (call->ask.verbose == 1 && read_document(call->ask.documents, result->index, &text, NULL) == SLM_OK) {
        slm_write_begin(&call->out, "document", '{');
        slm_write_str(&call->out, "text", text);
        slm_write_end(&call->out, '}');
    }
    slm_write_end(&call->out, '}');
}

/* With one vector more than documents the first is the query's. Vectors have length 1, so their product is the cosine.
 * */
static void embedded(struct slm_call *call, const struct slm_event *event)
{
    const size_t n = json_array_size(call->ask.documents), first = call->n_inputs - n, n_dims = event->n_dims;
    struct result *results = (struct result *)(void *)call->extra.data;
    slm_write_begin(&call->out, NULL, '{');
    slm_write_begin(&call->out, "results", '[');
    for (size_t i = 0; i < n; i++) {
        const float *vector = event->vectors + (first + i) * n_dims;
        results[i].score = first ? 0 : (double)vector[0];
        for (size_t k = 0; k < n_dims && first; k++) results[i].score += (double)vector[k] * (double)event->vectors[k];
    }
    qsort(results, n, sizeof *results, by_score);
    const size_t most = call->ask.n_top != SLM_ABSENT_INT && (size_t)call->ask.n_top < n ? (size_t)call->ask.n_top : n;
    for (size_t i = 0; i < most; i++) write_result(call, &results[i]);
    slm_write_end(&call->out, ']');
    slm_write_text(&call->out, "object", "list");
}

const struct slm_call_kind slm_native_rerank = {
    .method = "POST", .path = "/rerank", .sets = sets, .table = &slm_api_native, .prepare = prepare,
    .embedded = embedded, .end = slm_call_end_embedded};

void slm_native_post_rerank(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_native_rerank);
}
