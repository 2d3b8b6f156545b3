/* SPDX-License-Identifier: MIT
 *
 * Everything of `slm serve` put together, and its life: listen, answer, and at the first SIGTERM or SIGINT take
 * nothing new, let what is at work end, then go. What has not ended by the deadline ends with an error that its
 * client can read; at a second signal at once.
 *
 * Deliberately not here: any API (api_*.c), any model (host.c). */
#include "serve/server.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <uv.h>

#include "base/os.h"
#include "serve/api.h"
#include "serve/keys.h"
#include "serve/metrics.h"
#include "serve/notify.h"
#include "serve/page.h"

enum { N_SIGNALS = 3, LAST_WORDS_MS = 2000, WATCH_LOOKS = 20 };
/* LAST_WORDS_MS: for errors to reach clients after the drain's deadline; WATCH_LOOKS: of a watchdog in its time. */

struct server {
    const struct slm_server_options *options;
    struct slm_http *http;
    struct slm_api api;
    struct slm_metrics metrics;
    struct slm_keys keys;
    uv_signal_t signals[N_SIGNALS];
    unsigned port;
    int64_t start_unix_ns;
    bool draining, loading, stuck;
    int exit_code;
    struct slm_error failure; /* what ended it, when it is not SLM_OK */
};

/* ---- routes ---------------------------------------------------------------------------------------------- */

/* For load balancers and people who wonder. 503 while requests would have to wait for the model, in llama-server's
 * words, and while draining, so that the next request goes elsewhere. */
static void health(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    const struct server *server = app;
    const char *body = server->stuck ? "{\"status\":\"stuck\"}\n"
                       : server->draining ? "{\"status\":\"draining\"}\n" : "{\"status\":\"ok\"}\n";
    (void)request;
    if (server->loading && !server->draining)
        body = "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}\n";
    if (server->draining || server->loading) slm_reply_header(reply, "Retry-After", "1");
    slm_reply_send(reply, server->draining || server->loading ? 503 : 200, "application/json", slm_str(body));
}

/* The process runs; nothing more. "ok" even while draining: who watches this kills what does not answer, and that
 * would cut the requests that a drain waits for. */
static void alive(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    (void)app, (void)request;
    slm_reply_send(reply, 200, "text/plain; charset=utf-8", slm_str("ok\n"));
}

/* For Prometheus. Needs a key where there are keys, for numbers tell of others' use. */
static void metrics(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    const struct server *server = app;
    struct slm_http_counts http;
    struct slm_buf out = {0};
    (void)request;
    slm_http_counts(server->http, &http);
    slm_metrics_write(&server->metrics, server->api.host, &http, (double)server->start_unix_ns * 1e-9, &out);
    slm_reply_send(reply, 200, "text/plain; version=0.0.4; charset=utf-8", (struct slm_str){out.data, out.len});
    slm_buf_release(&out);
}

/* OpenAI's shape without its nulls; the tables of the APIs have their own. */
static const struct slm_http_route routes[] = {
    {"GET", "/health", health, SLM_ROUTE_OPEN},
    {"GET", "/v1/health", health, SLM_ROUTE_OPEN},
    {"GET", "/readyz", health, SLM_ROUTE_OPEN},
    {"GET", "/livez", alive, SLM_ROUTE_OPEN},
    {"GET", "/metrics", metrics, 0},
    {NULL, NULL, NULL, 0},
};
static const struct slm_http_table table = {"/", routes, NULL};

/* ---- log ------------------------------------------------------------------------------------------------- */

/* A line a request; those of health checks only for the curious. */
static void on_done(void *user, const struct slm_http_done *done)
{
    struct server *server = user;
    slm_metrics_http(&server->metrics, done);
    const bool quiet = done->status == 200 && strcmp(done->route, "/health") == 0;
    struct slm_log_line line;
    slm_line_begin(&line, &server->options->log,
                   done->status >= 500 ? SLM_LOG_WARN : quiet ? SLM_LOG_DEBUG : SLM_LOG_INFO, "request");
    if (done->request) {
        slm_line_text(&line, "id", slm_str(done->request->id));
        slm_line_text(&line, "method", done->request->method);
        slm_line_text(&line, "path", done->request->path);
        if (done->request->key[0]) slm_line_text(&line, "key", slm_str(done->request->key));
    }
    slm_line_text(&line, "peer", slm_str(done->peer));
    slm_line_int(&line, "status", done->status);
    slm_line_ms(&line, "ms", done->seconds);
    slm_line_int(&line, "bytes_in", (int64_t)done->bytes_in);
    slm_line_int(&line, "bytes_out", (int64_t)done->bytes_out);
    if (done->n_prompt || done->n_generated) {
        slm_line_int(&line, "prompt_tokens", (int64_t)done->n_prompt);
        slm_line_int(&line, "generated_tokens", (int64_t)done->n_generated);
    }
    slm_line_end(&line);
}

/* What the library has to say. */
static void on_library_line(void *user, enum slm_log_level level, const char *text)
{
    slm_line(user, level, "%s", text);
}

/* ---- keys ------------------------------------------------------------------------------------------------ */

enum { MAX_KEY_FILE = 1 << 20 }; /* bytes; a longer one is a mistaken path */

static slm_status read_key_file(const char *path, struct slm_keys *keys, struct slm_error *error)
{
    const struct slm_os *os = slm_os();
    struct slm_file *file = NULL;
    struct slm_file_info info;
    SLM_TRY(os->open_read(path, &file, &info, error));
    slm_status status = SLM_OK;
    char *text = NULL;
    if (info.bytes > MAX_KEY_FILE)
        status = slm_fail(error, SLM_ERR_LIMIT, path, "a file of keys has at most %d bytes", MAX_KEY_FILE);
    if (status == SLM_OK) {
        text = slm_alloc(info.bytes + 1, 1, path, error);
        status = text ? os->read_at(file, text, info.bytes, 0, error) : SLM_ERR_MEMORY;
    }
    if (status == SLM_OK) status = slm_keys_add_lines(keys, path, (struct slm_str){text, info.bytes}, error);
    slm_release(text);
    const slm_status closed = os->close(file, status == SLM_OK ? error : NULL);
    return status == SLM_OK ? closed : status;
}

/* All of them anew, into a set of its own: a file that cannot be read leaves the keys at work as they were, and a key
 * that was taken out of it is gone. On error *out is empty. */
static slm_status read_keys(const struct slm_server_options *options, struct slm_keys *out, struct slm_error *error)
{
    slm_status status = SLM_OK;
    *out = (struct slm_keys){.n = 0};
    if (options->key_rate && !slm_rate_parse(slm_str(options->key_rate), &out->rate))
        return slm_fail(error, SLM_ERR_ARGUMENT, "--key-rate", "'%.40s' is no rate: write 10/s, 600/m or 1000/h",
                        options->key_rate);
    for (size_t i = 0; i < options->n_keys && status == SLM_OK; i++)
        status = slm_keys_add(out, slm_str(options->keys[i]), error);
    if (status == SLM_OK && options->key_file) status = read_key_file(options->key_file, out, error);
    if (status != SLM_OK) slm_keys_release(out);
    return status;
}

/* ---- signals --------------------------------------------------------------------------------------------- */

/* Their handles keep the loop running, so they close with the server. A further signal then acts as it does by
 * default. */
static void close_signals(struct server *server)
{
    for (size_t i = 0; i < N_SIGNALS; i++)
        if (!uv_is_closing((uv_handle_t *)&server->signals[i])) uv_close((uv_handle_t *)&server->signals[i], NULL);
}

static void stop(void *user)
{
    struct server *server = user;
    close_signals(server);
    slm_http_stop(server->http);
}

/* The time for what was at work is over. */
static void drain_is_late(void *user)
{
    struct server *server = user;
    slm_line(&server->options->log, SLM_LOG_WARN, "requests that are still at work are ended");
    slm_api_end(&server->api);
    if (!slm_http_after(server->http, LAST_WORDS_MS, stop, server)) stop(server);
}

/* A model's thread stands still. It cannot be ended from outside, nor what it holds be given back, so the process has
 * to go, in words: clients are told, the log says how things stood, and whoever started this starts another. */
static void give_up(struct server *server, const char *model)
{
    struct slm_http_counts http;
    struct slm_log_line line;
    struct slm_error error;
    server->stuck = server->draining = true;
    server->exit_code = SLM_SERVER_STUCK;
    slm_http_counts(server->http, &http);
    slm_line_begin(&line, &server->options->log, SLM_LOG_ERROR, "a model's thread stands still: the server ends");
    slm_line_text(&line, "model", slm_str(model));
    slm_line_ms(&line, "watchdog_ms", server->options->watch_ms * 1e-3);
    slm_line_int(&line, "requests", (int64_t)http.n_busy);
    slm_line_int(&line, "connections", (int64_t)http.n_connections);
    slm_line_end(&line);
    slm_fail(&error, SLM_ERR_TIMEOUT, "server", "the model makes no progress; the server is ending, try again soon");
    slm_host_refuse(server->api.host);
    slm_api_fail(&server->api, &error);
    slm_notify("STOPPING=1");
    if (!slm_http_after(server->http, LAST_WORDS_MS, stop, server)) stop(server);
}

/* Looks are counted, not seconds: while the machine sleeps, or this process is stopped, there are none. */
static void watch(void *user)
{
    struct server *server = user;
    if (server->stuck) return;
    const char *model = slm_host_stands_still(server->api.host, WATCH_LOOKS);
    if (model) give_up(server, model);
}

static void tell_watchdog(void *user)
{
    const struct server *server = user;
    if (!server->stuck) slm_notify("WATCHDOG=1");
}

static slm_status start_watching(struct server *server, struct slm_error *error)
{
    const unsigned looks_ms = server->options->watch_ms / WATCH_LOOKS, tell_ms = slm_notify_every_ms();
    if (server->options->watch_ms)
        SLM_TRY(slm_http_every(server->http, looks_ms ? looks_ms : 1, watch, server, error));
    return tell_ms ? slm_http_every(server->http, tell_ms, tell_watchdog, server, error) : SLM_OK;
}

/* The deadline is set before the drain: where no connection is open that calls stop at once, and a timer that begins
 * after it would keep the loop from ending. Without memory for a timer nobody waits without limit: it stops now. */
static void drain(struct server *server)
{
    struct slm_http_counts counts;
    slm_http_counts(server->http, &counts);
    server->draining = true;
    slm_host_drain(server->api.host);
    slm_notify("STOPPING=1");
    slm_line(&server->options->log, SLM_LOG_INFO, "stopping: %zu requests at work", counts.n_busy);
    if (!slm_http_after(server->http, server->options->drain_ms, drain_is_late, server)) stop(server);
    else slm_http_drain(server->http, stop, server);
}

/* On the loop, between two requests, so no lock. Replies have copied the name of their key. READY=1 follows in either
 * case: systemd waits for it before it calls the reload done. */
static void reload(struct server *server)
{
    struct slm_keys keys;
    struct slm_error error;
    slm_notify("RELOADING=1");
    if (read_keys(server->options, &keys, &error) != SLM_OK) {
        slm_line(&server->options->log, SLM_LOG_ERROR, "reload: %s: %s; the old keys stay", error.where,
                 error.message);
    } else {
        slm_keys_inherit(&keys, &server->keys);
        slm_keys_release(&server->keys);
        server->keys = keys;
        slm_line(&server->options->log, SLM_LOG_INFO, "reload: %zu API keys", keys.n);
    }
    slm_notify("READY=1");
}

/* On the loop, like any other event: libuv's handler has only written to a pipe. 128 + number is what a shell
 * reports for a process that a signal ended; a drain that was left to end is a success, 0. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    if (number == SIGHUP) {
        reload(server);
    } else if (server->draining) {
        server->exit_code = 128 + number;
        slm_api_end(&server->api);
        stop(server);
    } else {
        drain(server);
    }
}

static void catch_signals(struct server *server)
{
    static const int numbers[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < N_SIGNALS; i++) {
        uv_signal_init(slm_http_loop(server->http), &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
}

/* ---- start ----------------------------------------------------------------------------------------------- */

/* A connection is a descriptor; the usual limit of 1024 is lower than what the system allows. */
static void raise_limit_of_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Sockets of systemd take the place of --host. Whether others can reach us is known only once they are bound; until
 * the loop runs nobody is answered, so refusing to start at that point is early enough. */
static slm_status listen_everywhere(struct server *server, struct slm_error *error)
{
    const struct slm_server_options *options = server->options;
    int first = 0;
    const int n = slm_notify_sockets(&first);
    for (int i = 0; i < n; i++) SLM_TRY(slm_http_listen_fd(server->http, first + i, error));
    if (options->unix_path) SLM_TRY(slm_http_listen_unix(server->http, options->unix_path, error));
    if (n == 0 && (!options->unix_path || options->host))
        SLM_TRY(slm_http_listen(server->http, options->host ? options->host : "127.0.0.1", options->port,
                                &server->port, error));
    if (slm_http_is_public(server->http) && server->keys.n == 0 && !options->is_open)
        return slm_fail(error, SLM_ERR_ARGUMENT, options->host ? options->host : "socket",
                        "other machines can reach this address, and no key is needed to use it: give --api-key-file "
                        "FILE (or --api-key KEY), or --open if that is what you want");
    return SLM_OK;
}

static void say(const struct server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct server *server, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (server->options->say) server->options->say(server->options->user, line);
}

/* What to type into each kind of client. */
static void announce(const struct server *server)
{
    const char *host = server->options->host ? server->options->host : "127.0.0.1";
    const bool is_ip6 = strchr(host, ':') != NULL;
    if (server->options->unix_path) say(server, "listening on unix:%s", server->options->unix_path);
    if (server->port == 0) return;
    char url[300];
    snprintf(url, sizeof url, "http://%s%s%s:%u", is_ip6 ? "[" : "", host, is_ip6 ? "]" : "", server->port);
    say(server, "listening on %s", url);
    if (server->api.has_page) say(server, "  browsers:          %s/", url);
    say(server, "  OpenAI clients:    %s/v1", url);
    say(server, "  Ollama clients:    %s", url);
    say(server, "  Anthropic clients: %s", url);
}

/* Model threads hand their events over through this; everything of the server then runs on one thread. */
static void post(void *user, void (*fn)(void *user), void *fn_user) { slm_http_post(user, fn, fn_user); }

/* The models, and every API in front of them. */
static slm_status open_models(struct server *server, struct slm_error *error)
{
    struct slm_host_options models = server->options->models;
    models.post = post;
    models.keeps_slots = server->options->slots_folder != NULL;
    models.post_user = server->http;
    models.observe = slm_metrics_observe;
    models.observe_user = &server->metrics;
    SLM_TRY(slm_host_open(&models, &server->api.host, error));
    server->api.http = server->http;
    server->api.slots_folder = server->options->slots_folder;
    server->api.timeout_ms = server->options->timeout_ms;
    server->api.has_page = !server->options->no_page;
    if (server->api.has_page) SLM_TRY(slm_http_mount(server->http, &slm_page_table, NULL, error));
    for (size_t i = 0; slm_api_tables[i]; i++)
        SLM_TRY(slm_http_mount(server->http, slm_api_tables[i], &server->api, error));
    return SLM_OK;
}

/* Listening comes last: who can connect finds models and routes complete. On error slm_serve() closes what is open.
 * */
static slm_status start(struct server *server, struct slm_error *error)
{
    struct slm_http_options http = server->options->http;
    SLM_TRY(read_keys(server->options, &server->keys, error));
    http.keys = &server->keys;
    http.on_done = on_done;
    http.user = server;
    SLM_TRY(slm_http_open(&http, &server->http, error));
    SLM_TRY(slm_http_mount(server->http, &table, server, error));
    SLM_TRY(open_models(server, error));
    SLM_TRY(start_watching(server, error));
    if (server->options->mount) SLM_TRY(server->options->mount(server->options->user, server->http, error));
    return listen_everywhere(server, error);
}

/* The first model is there, or never will be: then there is nothing to serve. One that was asked to go meanwhile has
 * not failed. */
static void on_first_model(void *user, struct slm_host_model *model, const struct slm_error *error)
{
    struct server *server = user;
    server->loading = false;
    if (model) {
        slm_host_release(model);
        slm_notify("READY=1");
    } else if (!server->draining) {
        server->failure = *error;
        stop(server);
    }
}

/* Named models are wanted: the first is loaded while the server answers already, so that nobody's first request waits
 * for it, and so is one with a draft, to see that they fit. One that is found in a folder, or built in, is loaded when
 * somebody asks. */
static void load_first_model(struct server *server)
{
    server->loading = server->options->models.n_models > 0 || server->options->models.draft;
    if (server->loading) slm_host_get(server->api.host, NULL, on_first_model, server);
    else slm_notify("READY=1");
}

/* Returns when the server has stopped. The host closes first, which joins the model threads, then the loop that they
 * post to, then the keys that its options point to. */
slm_status slm_serve(const struct slm_server_options *options, int *exit_code, struct slm_error *error)
{
    struct slm_serve_log log = options->log;
    struct server server = {.options = options, .start_unix_ns = slm_os()->unix_ns()};
    raise_limit_of_files();
    signal(SIGPIPE, SIG_IGN); /* clients go away while they are written to */
    slm_log_sink(on_library_line, &log, log.most);
    slm_status status = start(&server, error);
    if (status == SLM_OK) {
        catch_signals(&server);
        announce(&server);
        load_first_model(&server);
        slm_http_run(server.http);
        slm_line(&log, SLM_LOG_INFO, "stopped");
        status = server.failure.status;
        if (status != SLM_OK && error) *error = server.failure;
    }
    *exit_code = server.exit_code;
    if (server.stuck) return status;
    slm_host_close(server.api.host); /* what it posts last is run by the next */
    slm_http_close(server.http);
    slm_keys_release(&server.keys);
    slm_metrics_release(&server.metrics);
    slm_log_sink(NULL, NULL, SLM_LOG_ERROR);
    return status;
}
