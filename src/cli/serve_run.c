/* SPDX-License-Identifier: MIT
 *
 * `slm serve`: from options to the server's own struct, and what it says to stderr. stdout stays empty: there is no
 * data.
 *
 * Deliberately not here: anything a server does (serve/server.c). */
#include <unistd.h>

#include "cli/serve_options.h"
#include "cli/work.h"
#include "serve/server.h"

/* One write a line, so that lines of several threads stay whole. */
static void write_log(void *user, const char *line, size_t bytes)
{
    (void)user;
    const ssize_t written = write(STDERR_FILENO, line, bytes);
    (void)written; /* a log that nobody reads any more is no reason to stop serving */
}

static void say(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "%s\n", line);
}

static unsigned to_ms(float seconds)
{
    return (unsigned)((double)seconds * 1000);
}

static void set_limits(const struct slm_serve_limits *l, struct slm_http_limits *out)
{
    out->n_connections = (size_t)l->n_connections;
    out->body_bytes = (size_t)l->body_mib << 20;
    out->all_body_bytes = (size_t)l->all_body_mib << 20;
    out->body_rate = (size_t)l->body_rate;
    out->header_ms = to_ms(l->header_s);
    out->body_ms = to_ms(l->body_s);
    out->idle_ms = to_ms(l->idle_s);
    out->write_ms = to_ms(l->write_s);
}

/* A draft is named here and opened by the host. */
static void set_speculation(const struct slm_speculating *s, struct slm_host_options *out)
{
    out->draft = s->draft;
    out->speculation.mode = s->draft ? SLM_SPECULATE_DEFAULT : (enum slm_speculate)s->mode;
    out->speculation.n_guess = s->n_guess;
}

static bool set_models(const struct slm_serve_models *m, int n_args, char **args, struct slm_host_options *out)
{
    out->models = (const char *const *)args;
    out->n_models = (size_t)n_args;
    out->models_folder = m->folder;
    out->keep_alive_s = (int64_t)m->keep_alive_s;
    out->max_queue = (size_t)m->max_queue;
    out->max_running = (size_t)m->max_running;
    out->engine.session.n_threads = m->n_threads;
    out->engine.session.n_ctx = m->n_ctx;
    out->engine.session.n_batch = m->n_batch;
    out->engine.session.kv_type = (enum slm_kv_type)m->kv_type;
    return !m->memory || slm_cli_parse_size(m->memory, &out->memory_budget);
}

int slm_cli_serve(const struct slm_serve_options *o, int n_args, char **args)
{
    struct slm_server_options options = {
        .http = {.origins = o->origins.items, .n_origins = o->origins.n, .hosts = o->hosts.items,
                 .n_hosts = o->hosts.n},
        .slots_folder = o->models.slots_folder,
        .timeout_ms = (uint64_t)((double)o->timeout_s * 1000 + 0.5),
        .host = o->host, .unix_path = o->unix_path, .port = (unsigned)o->port,
        .keys = o->keys.items, .n_keys = o->keys.n, .key_file = o->key_file, .key_rate = o->key_rate,
        .is_open = o->open, .no_page = o->no_page,
        .drain_ms = to_ms(o->drain_s), .watch_ms = to_ms(o->watch_s),
        .log = {.format = (enum slm_log_format)o->log, .most = (enum slm_log_level)o->log_level, .write = write_log},
        .say = say,
    };
    struct slm_error error;
    int exit_code = SLM_EXIT_OK;
    set_limits(&o->limits, &options.http.limits);
    set_speculation(&o->speculating, &options.models);
    if (!set_models(&o->models, n_args, args, &options.models))
        return slm_cli_usage("serve", "--memory: '%s' is no size; write 8G, 500M or a number of bytes",
                             o->models.memory);
    if (slm_serve(&options, &exit_code, &error) != SLM_OK) return slm_cli_fail(&error);
    if (exit_code == SLM_SERVER_STUCK) {
        fflush(NULL);
        _Exit(exit_code); /* libraries wait for their threads at the end, and one of these may never come */
    }
    return exit_code;
}
