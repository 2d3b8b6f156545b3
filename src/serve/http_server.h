/* SPDX-License-Identifier: MIT
 * A server as the program sees it that runs one: limits, who may come in, where it listens, how it ends. server.c
 * uses this; handlers use http.h.
 *
 * Deliberately not here: TLS (a proxy in front does it), signals, logs and metrics (server.c is told of each
 * request). */
#ifndef SLM_SERVE_HTTP_SERVER_H
#define SLM_SERVE_HTTP_SERVER_H
#include "serve/http.h"

struct uv_loop_s;
struct slm_keys;

/* What a client may do to us; zero means the default in brackets. Nothing here is about what requests mean. */
struct slm_http_limits {
    size_t header_bytes;      /* request line and headers together [32 KiB]: 431 */
    size_t n_headers;         /* [100]: 431 */
    size_t url_bytes;         /* [8 KiB]: 414 */
    size_t body_bytes;        /* [32 MiB]: 413, before it is read when its length is announced */
    size_t all_body_bytes;    /* of all bodies in memory together [256 MiB]: 503 */
    size_t pipelined_bytes;   /* read ahead while a reply is written [64 KiB]: the connection ends after that reply */
    size_t unsent_bytes;      /* of a reply that its client does not read [64 MiB]: the client counts as gone */
    size_t n_connections;     /* [4096]: 503 */
    size_t n_requests;        /* on one connection [100000]: it ends after the last */
    unsigned header_ms;       /* from the first byte to the last of the head [10 s]: 408 */
    unsigned body_ms;         /* a body may take this long [30 s] and ... */
    size_t body_rate;         /* ... a second more for so many bytes that have come [1 KiB]: 408 */
    unsigned idle_ms;         /* between two requests [60 s] */
    unsigned write_ms;        /* without the client taking a byte that waits for it [30 s] */
    unsigned linger_ms;       /* for the client to close first, so that it can read why we do [1 s] */
};

/* A request that is over, for logs and metrics; lives until the callback returns. */
struct slm_http_done {
    const struct slm_http_request *request; /* NULL: it was not even one */
    const char *route;                      /* the route's pattern, or "" */
    const char *peer;
    int status;                             /* 499: the client went away, or stalled, before the reply had ended */
    double seconds;
    uint64_t bytes_in, bytes_out;
    size_t n_prompt, n_generated;           /* tokens, by slm_reply_tokens */
};

struct slm_http_options {
    struct slm_http_limits limits;
    const struct slm_keys *keys;         /* borrowed, or NULL: everyone may use everything; keys.h */
    const char *const *origins;          /* [n_origins] of browser pages that may call, beside local ones; "*": all */
    size_t n_origins;
    const char *const *hosts;            /* [n_hosts] names we are called by, beside localhost and addresses */
    size_t n_hosts;
    void (*on_done)(void *user, const struct slm_http_done *done);
    void *user;
};

/* *options is copied, what it points to is borrowed. */
slm_status slm_http_open(const struct slm_http_options *options, struct slm_http **out, struct slm_error *error);
/* After slm_http_run. Runs what was posted meanwhile. */
void slm_http_close(struct slm_http *http);
/* Its handlers get `app`. Before the first request. */
slm_status slm_http_mount(struct slm_http *http, const struct slm_http_table *table, void *app,
                          struct slm_error *error);

/* host: a name or an address. port 0: any free one. *bound: the port. */
slm_status slm_http_listen(struct slm_http *http, const char *host, unsigned port, unsigned *bound,
                           struct slm_error *error);
slm_status slm_http_listen_unix(struct slm_http *http, const char *path, struct slm_error *error);
/* A listening socket that somebody else has made (systemd). */
slm_status slm_http_listen_fd(struct slm_http *http, int fd, struct slm_error *error);
/* Whether it can be reached from other machines. */
bool slm_http_is_public(const struct slm_http *http);

/* Returns after slm_http_stop. */
void slm_http_run(struct slm_http *http);
/* No further connections; those without a request end now, the others after their reply. done(user) when none is
 * left. */
void slm_http_drain(struct slm_http *http, void (*done)(void *user), void *user);
/* Breaks what is still open, once the sockets have been handed what was written; slm_http_run returns soon. */
void slm_http_stop(struct slm_http *http);
/* fn(user) once, on the loop, after ms; false: no memory. */
bool slm_http_after(struct slm_http *http, unsigned ms, void (*fn)(void *user), void *user);

struct slm_http_counts {
    size_t n_connections, n_busy;           /* open now; with a request whose reply has not ended */
    size_t body_bytes;                      /* of requests, in memory now */
    uint64_t n_accepted, n_refused;         /* connections since start; refused for their number */
};
void slm_http_counts(const struct slm_http *http, struct slm_http_counts *out);
/* For handles of the program's own, such as signals; they must be closed before slm_http_run can return. */
struct uv_loop_s *slm_http_loop(struct slm_http *http);
#endif
