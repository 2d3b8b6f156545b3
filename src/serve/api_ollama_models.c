/* SPDX-License-Identifier: MIT
 * Ollama's questions about models and the server, in the shapes that its own clients parse. A model is what the host
 * can open: there is no store, so nothing has a digest, and what would change a store is refused in words.
 *
 * Deliberately not here: answers (api_ollama.c); which models there are (host.h). */
#include <stdio.h>
#include <string.h>
#include "base/os.h"
#include "serve/api_chat.h"
#include "serve/api_ollama.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"
#include "serve/page.h"

/* Sizes as Ollama prints them: "3.5M", "1.2B". What is only known of
 * loaded models is empty for others. */
static void write_details(struct slm_buf *out, const struct slm_model_info *info)
{
    char size[32] = "";
    const double n = (double)info->n_params;
    if (info->n_params)
        (void)snprintf(size, sizeof size, n >= 1e9 ? "%.1fB" : n >= 1e6 ? "%.1fM" : "%.1fK",
                       n >= 1e9 ? n / 1e9 : n >= 1e6 ? n / 1e6 : n / 1e3);
    slm_write_begin(out, "details", '{');
    slm_write_text(out, "parent_model", "");
    slm_write_text(out, "format", "gguf");
    slm_write_text(out, "family", info->architecture ? info->architecture : "");
    slm_write_begin(out, "families", '[');
    if (info->architecture) slm_write_text(out, NULL, info->architecture);
    slm_write_end(out, ']');
    slm_write_text(out, "parameter_size", size);
    slm_write_text(out, "quantization_level", "");
    slm_write_end(out, '}');
}

/* What lists of both kinds have. There is no store, so there are no
 * digests. */
static void write_entry(struct slm_buf *out, const struct slm_host_entry *entry)
{
    slm_write_text(out, "name", entry->name);
    slm_write_text(out, "model", entry->name);
    slm_write_int(out, "size", (int64_t)entry->file_bytes);
    slm_write_text(out, "digest", "");
    write_details(out, &entry->info);
}

/* A model that could be asked. */
static void add_tag(void *user, const struct slm_host_entry *entry)
{
    struct slm_buf *out = user;
    slm_write_begin(out, NULL, '{');
    write_entry(out, entry);
    slm_write_text(out, "modified_at", slm_timestamp(entry->mtime_s * 1000000000).text);
    slm_write_end(out, '}');
}

/* A model that is in memory, and until when. */
static void add_loaded(void *user, const struct slm_host_entry *entry)
{
    static const int64_t never = INT64_C(9000000000); /* seconds: a time that clients can read, far away */
    struct slm_buf *out = user;
    if (!entry->is_loaded) return;
    slm_write_begin(out, NULL, '{');
    write_entry(out, entry);
    slm_write_text(out, "expires_at", slm_timestamp((entry->expires_s ? entry->expires_s : never) * 1000000000).text);
    slm_write_int(out, "size_vram", 0);
    slm_write_int(out, "context_length", (int64_t)entry->n_ctx);
    slm_write_end(out, '}');
}

/* {"models": [...]} */
static void send_list(const struct slm_api *api, struct slm_reply *reply,
                      void (*each)(void *user, const struct slm_host_entry *entry))
{
    struct slm_buf out = {0};
    slm_write_begin(&out, NULL, '{');
    slm_write_begin(&out, "models", '[');
    slm_host_each(api->host, each, &out);
    slm_write_end(&out, ']');
    slm_write_end(&out, '}');
    slm_reply_json(reply, 200, &out);
    slm_buf_release(&out);
}

/* All models that the server knows of. */
static void get_tags(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    (void)request;
    send_list(app, reply, add_tag);
}

/* Those that answer without loading. */
static void get_loaded(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    (void)request;
    send_list(app, reply, add_loaded);
}

/* Of slm; clients only print it. */
static void get_version(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    struct slm_buf out = {0};
    (void)app;
    (void)request;
    slm_write_begin(&out, NULL, '{');
    slm_write_text(&out, "version", slm_version());
    slm_write_end(&out, '}');
    slm_reply_json(reply, 200, &out);
    slm_buf_release(&out);
}

/* Clients look for this sentence to see whether a server runs; people get
 * the page. */
static void get_root(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    const struct slm_api *api = app;
    const struct slm_str accept = slm_http_header(request, "Accept");
    const bool browser = accept.len && memmem(accept.ptr, accept.len, "text/html", 9);
    slm_reply_header(reply, "Vary", "Accept");
    if (browser && api->has_page)
        slm_page_send_index(request, reply);
    else
        slm_reply_send(reply, 200, "text/plain; charset=utf-8", slm_str("Ollama is running"));
}

/* 501 and a sentence: not a typing error, not a missing model, but
 * something this server does not do. */
static void no_store(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    struct slm_error error;
    (void)app;
    slm_fail(&error, SLM_ERR_UNSUPPORTED, "", "%.*s: slm has no store of models yet; put GGUF files in the folder of "
             "`slm serve --models`", (int)(request->path.len < 60 ? request->path.len : 60), request->path.ptr);
    slm_ollama_error(reply, 501, &error);
}

/* ---- show ------------------------------------------------------------------------------------------------------ */

static const struct slm_field show_rows[] = {
    NEEDED_TEXT("model", model, "name of the model"),
    {.name = "verbose", .kind = SLM_FIELD_ONLY, .only = "false", .help = "tokens and tensors are not listed"},
    {.name = "system", .kind = SLM_FIELD_ONLY, .only = "\"\"", .help = "not supported"},
    {.name = "template", .kind = SLM_FIELD_ONLY, .only = "\"\"", .help = "not supported"},
    {.name = "options", .kind = SLM_FIELD_ONLY, .only = "{}", .help = "not supported"},
};
static const struct slm_field_set show_sets[] = {SLM_FIELDS(show_rows), {NULL, 0}};

/* Keys as they stand in GGUF files, whose names begin with the
 * architecture. */
static void write_info(struct slm_buf *out, const struct slm_model_info *info)
{
    const struct { const char *name; int64_t value; } rows[] = {
        {"context_length", info->n_ctx_train}, {"embedding_length", info->n_embd}, {"block_count", info->n_layer},
        {"attention.head_count", info->n_head}, {"attention.head_count_kv", info->n_head_kv},
        {"attention.key_length", info->head_dim}, {"vocab_size", info->n_vocab}};
    slm_write_begin(out, "model_info", '{');
    slm_write_text(out, "general.architecture", info->architecture);
    slm_write_text(out, "general.basename", info->name);
    slm_write_int(out, "general.parameter_count", (int64_t)info->n_params);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%.60s.%s", info->architecture, rows[i].name);
        slm_write_int(out, name, rows[i].value);
    }
    slm_write_end(out, '}');
}

/* Asking loads the model: what is shown is what is served. */
static void end_show(struct slm_call *call)
{
    const struct slm_model *model = slm_call_model(call);
    const struct slm_model_info info = slm_model_info(model);
    const char *text = slm_model_chat_template(model);
    struct slm_buf *out = &call->out;
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "modelfile", "");
    slm_write_text(out, "parameters", "");
    slm_write_text(out, "template", text ? text : "");
    write_details(out, &info);
    write_info(out, &info);
    slm_write_begin(out, "capabilities", '[');
    slm_write_text(out, NULL, "completion");
    if (slm_model_can_call(model)) slm_write_text(out, NULL, "tools");
    if (slm_model_can_think(model)) slm_write_text(out, NULL, "thinking");
    slm_write_end(out, ']');
    slm_write_text(out, "modified_at", slm_timestamp(call->created_ns).text);
    slm_write_end(out, '}');
    slm_call_send(call, 200);
}

const struct slm_call_kind slm_ollama_show = {.method = "POST", .path = "/api/show", .sets = show_sets,
                                              .table = &slm_api_ollama, .end = end_show};

/* The handler only names its row. */
static void post_show(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_ollama_show);
}

static const struct slm_http_route routes[] = {
    {"GET", "/", get_root, SLM_ROUTE_OPEN},
    {"POST", "/api/generate", slm_ollama_post_generate, 0},
    {"POST", "/api/chat", slm_ollama_post_chat, 0},
    {"POST", "/api/embed", slm_ollama_post_embed, 0},
    {"POST", "/api/embeddings", slm_ollama_post_embedding, 0},
    {"GET", "/api/tags", get_tags, 0},
    {"GET", "/api/ps", get_loaded, 0},
    {"GET", "/api/version", get_version, 0},
    {"POST", "/api/show", post_show, 0},
    {"POST", "/api/pull", no_store, 0},
    {"POST", "/api/push", no_store, 0},
    {"POST", "/api/create", no_store, 0},
    {"POST", "/api/copy", no_store, 0},
    {"DELETE", "/api/delete", no_store, 0},
    {"HEAD", "/api/blobs/:digest", no_store, 0},
    {"POST", "/api/blobs/:digest", no_store, 0},
    {NULL, NULL, NULL, 0},
};
const struct slm_http_table slm_api_ollama = {.prefix = "/api/", .routes = routes, .error = slm_ollama_error};
