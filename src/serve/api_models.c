/* SPDX-License-Identifier: MIT
 * OpenAI's embeddings and list of models. Both are short, and neither is a chat. Deliberately not here:
 * loading models, and what a vector means (host.h, slm_embed). */
#include "base/os.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

/* ---- models ---------------------------------------------------------------------------------------------------- */

/* {"id", "object", "created", "owned_by"}, and the context as vLLM says
 * it, when it is known. */
static void write_model(struct slm_buf *out, const struct slm_host_entry *entry)
{
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "id", entry->name);
    slm_write_text(out, "object", "model");
    slm_write_int(out, "created", entry->mtime_s);
    slm_write_text(out, "owned_by", "slm");
    if (entry->n_ctx > 0) slm_write_int(out, "max_model_len", (int64_t)entry->n_ctx);
    slm_write_end(out, '}');
}

static void add_model(void *user, const struct slm_host_entry *entry) { write_model(user, entry); }

/* Loaded or not: a model is served when it is asked for. */
void slm_openai_get_models(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    const struct slm_api *api = app;
    struct slm_buf out = {0};
    (void)request;
    slm_write_begin(&out, NULL, '{');
    slm_write_text(&out, "object", "list");
    slm_write_begin(&out, "data", '[');
    slm_host_each(api->host, add_model, &out);
    slm_write_end(&out, ']');
    slm_write_end(&out, '}');
    slm_reply_json(reply, 200, &out);
    slm_buf_release(&out);
}

struct search { struct slm_str name; struct slm_buf out; };

/* Stops looking at the first: names are unique. */
static void find_model(void *user, const struct slm_host_entry *entry)
{
    struct search *search = user;
    if (search->out.len == 0 && slm_str_is(search->name, entry->name)) write_model(&search->out, entry);
}

/* Names may hold slashes, so the route takes the rest of the path. */
void slm_openai_get_model(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    const struct slm_api *api = app;
    struct search search = {.name = request->wild};
    slm_host_each(api->host, find_model, &search);
    if (search.out.len > 0) {
        slm_reply_json(reply, 200, &search.out);
    } else {
        struct slm_error error;
        slm_fail(&error, SLM_ERR_ARGUMENT, "model", "'%.*s' does not exist; GET /v1/models lists those that do",
                 (int)(request->wild.len < 200 ? request->wild.len : 200), request->wild.ptr);
        slm_openai_error(reply, 404, &error);
    }
    slm_buf_release(&search.out);
}

/* ---- embeddings ------------------------------------------------------------------------------------------------ */

static const struct slm_field embedding_rows[] = {
    TEXT("model", model, "name of the model; absent: the first"),
    NEEDED_JSON("input", input, "a string, token ids, or an array of either: at most 2048"),
    TEXT("encoding_format", encoding, "float, or base64 of little-endian f32"),
    INT("dimensions", dims, 1, 65536, "keep the first so many numbers, then normalise"),
    {.name = "user", .kind = SLM_FIELD_HINT, .help = "accepted, without effect"},
    {.name = "truncate_prompt_tokens", .kind = SLM_FIELD_ONLY, .only = "",
     .help = "an input that is too long is an error"},
};
static const struct slm_field_set embedding_sets[] = {SLM_FIELDS(embedding_rows), {NULL, 0}};

/* Clients of OpenAI ask for base64 by themselves and decode it again; it
 * is a quarter of the size. */
static slm_status check(struct slm_call *call, struct slm_error *error)
{
    const char *format = call->ask.encoding;
    if (format && strcmp(format, "float") != 0 && strcmp(format, "base64") != 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, "encoding_format", "must be float or base64, not '%.40s'", format);
    return SLM_OK;
}

/* Inputs may be texts or tokens, one or many. */
static slm_status prepare(struct slm_call *call, struct slm_error *error)
{
    return slm_call_embed(call, call->ask.input, "input", error);
}

/* Vectors are little-endian f32 in base64, as numpy.frombuffer reads them
 * on the machines we know. */
static void embedded(struct slm_call *call, const struct slm_event *event)
{
    struct slm_buf *out = &call->out;
    const bool base64 = call->ask.encoding && strcmp(call->ask.encoding, "base64") == 0;
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "object", "list");
    slm_write_begin(out, "data", '[');
    for (size_t i = 0; i < call->n_inputs; i++) {
        const float *vector = event->vectors + i * event->n_dims;
        slm_write_begin(out, NULL, '{');
        slm_write_text(out, "object", "embedding");
        slm_write_int(out, "index", (int64_t)i);
        if (base64)
            slm_write_base64(out, "embedding", vector, event->n_dims * sizeof *vector);
        else
            slm_write_vector(out, "embedding", vector, event->n_dims);
        slm_write_end(out, '}');
    }
    slm_write_end(out, ']');
}

const struct slm_call_kind slm_openai_embeddings = {
    .method = "POST", .path = "/v1/embeddings", .sets = embedding_sets, .table = &slm_api_openai, .check = check,
    .prepare = prepare, .embedded = embedded, .end = slm_call_end_embedded, .broken = slm_openai_broken};

void slm_openai_post_embeddings(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_openai_embeddings);
}
