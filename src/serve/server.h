/* SPDX-License-Identifier: MIT
 * `slm serve` without its command line: the HTTP server, the models, the APIs between them, and a life from start to
 * drain. Stops at signals of the process: SIGTERM and SIGINT drain, SIGHUP reads keys and models again. */
#ifndef SLM_SERVE_SERVER_H
#define SLM_SERVE_SERVER_H
#include "serve/host.h"
#include "serve/http_server.h"
#include "serve/log.h"

struct slm_server_options {
    struct slm_http_options http;   /* keys and on_done are the server's own */
    struct slm_host_options models; /* post is the server's own */
    const char *slots_folder;       /* where slots are saved, or NULL: nowhere */
    uint64_t timeout_ms;            /* of each request to a model; 0 = none */
    const char *host, *unix_path;   /* NULL: 127.0.0.1; no Unix socket */
    unsigned port;                  /* 0 = any free one */
    const char *const *keys;        /* [n_keys] "[NAME:]KEY [RATE]" */
    size_t n_keys;
    const char *key_file;           /* NULL: none */
    const char *key_rate;           /* of keys that come without one, as "600/m"; NULL: any number of requests */
    bool is_open;                   /* other machines need no key */
    bool no_page;                   /* browsers get nothing that programs do not get */
    unsigned drain_ms;              /* for requests at work, after the first signal */
    unsigned watch_ms;              /* without progress of a model that has work: it ends; 0 = never */
    struct slm_serve_log log;
    /* Further routes, or NULL: called before anything listens. */
    slm_status (*mount)(void *user, struct slm_http *http, struct slm_error *error);
    /* Once it answers: where. Lines for people, without newline. */
    void (*say)(void *user, const char *line);
    void *user;
};
/* Runs until a signal ends it. *exit_code: 0 drained, 128 + signal when a second one cut it short, SLM_SERVER_STUCK
 * when a model's thread stood still: that thread still runs then and what it uses stays, so the process is to end. */
enum { SLM_SERVER_STUCK = 70 }; /* EX_SOFTWARE */
slm_status slm_serve(const struct slm_server_options *options, int *exit_code, struct slm_error *error);
#endif
