/* SPDX-License-Identifier: MIT
 * HTTP/1.1 as the handlers of the server see it: routes, requests, replies. One event loop on one thread runs every
 * handler and every callback here; only slm_http_post() may be called from other threads. Limits and deadlines are
 * rows of struct slm_http_limits, so a handler only ever sees a complete, valid request.
 *
 * Deliberately not here: what any API means (api_*.c), models and their threads (host.h). */
#ifndef SLM_SERVE_HTTP_H
#define SLM_SERVE_HTTP_H
#include "base/str.h"

struct slm_http;  /* a server: listening sockets, connections, the loop */
struct slm_reply; /* the answer to one request, being written */

struct slm_http_header { struct slm_str name, value; }; /* names are compared without case */

struct slm_http_request { /* lives until its reply has ended */
    struct slm_str method, path, query; /* path is decoded and has no "." or ".." parts; query as it was sent */
    const struct slm_http_header *headers;
    size_t n_headers;
    struct slm_str body;   /* whole; chunked bodies are put together */
    struct slm_str wild;   /* what ":name" of the route stands for, or empty */
    char id[40];           /* the client's X-Request-Id when it is harmless, else a new one; the reply carries it */
    char peer[48];         /* address of the client */
    const char *key;       /* name of the API key that was presented (never the key itself); "" without keys */
};
/* Value of a header, or an empty string with ptr NULL. */
struct slm_str slm_http_header(const struct slm_http_request *request, const char *name);

typedef void (*slm_http_handler)(void *app, const struct slm_http_request *request, struct slm_reply *reply);

enum slm_http_route_flags {
    SLM_ROUTE_OPEN = 1, /* needs no API key */
};
/* Tables of routes are const rows, one table a file of handlers, ended by a row without method. An unknown path is
 * 404, another method of a known path 405 with Allow, both in the shape of the table's `error`. */
struct slm_http_route {
    const char *method, *path; /* "/api/blobs/:digest": the last part may be a name that stands for any text */
    slm_http_handler handle;
    unsigned flags;
};
struct slm_http_table {
    const char *prefix; /* of paths whose errors look like this table's: "/v1/" */
    const struct slm_http_route *routes;
    /* Ends the reply with an error in this API's shape; used by the server for 401, 404, 405, 413, 503 ... too. NULL:
     * {"error": {"message", "type", "code"}}. */
    void (*error)(struct slm_reply *reply, int status, const struct slm_error *error);
};

/* ---- replies: on the loop's thread only ------------------------------------------------------------------ */

/* Further header of the reply; before begin. The text is copied. */
void slm_reply_header(struct slm_reply *reply, const char *name, const char *value);
/* Status line and headers of a reply whose length is not known: chunked (or until close, for HTTP/1.0). */
void slm_reply_begin(struct slm_reply *reply, int status, const char *content_type);
/* Further bytes; copied. Writes to a client that has gone are dropped: it hears of that by on_close. */
void slm_reply_write(struct slm_reply *reply, const void *data, size_t bytes);
/* One server-sent event: "event: NAME\n" when name is not NULL, then "data: ...\n\n". */
void slm_reply_event(struct slm_reply *reply, const char *name, struct slm_str data);
/* The reply is complete; `reply` and its request are gone after this. */
void slm_reply_end(struct slm_reply *reply);
/* A whole reply at once, with its length; begin and end in one. */
void slm_reply_send(struct slm_reply *reply, int status, const char *content_type, struct slm_str body);
/* Breaks the connection: for a stream that cannot go on and has no way to say so. */
void slm_reply_abort(struct slm_reply *reply);
/* Called once when the client goes away (or stalls too long) before end; then `reply` is gone, do not touch it. */
void slm_reply_on_close(struct slm_reply *reply, void (*on_close)(void *user), void *user);
const struct slm_http_request *slm_reply_request(const struct slm_reply *reply);
/* Tokens of this request, for its line in the log; before end. */
void slm_reply_tokens(struct slm_reply *reply, size_t n_prompt, size_t n_generated);

/* ---- work off the loop ----------------------------------------------------------------------------------- */

/* Runs work(user) on a thread of a small pool, then done(user) on the loop. Both always run, whatever becomes of the
 * client meanwhile. */
void slm_http_work(struct slm_http *http, void (*work)(void *user), void (*done)(void *user), void *user);
/* From any thread: fn(user) runs soon on the loop, in the order of posting of one thread. */
void slm_http_post(struct slm_http *http, void (*fn)(void *user), void *user);
/* fn(user) runs on the loop every `ms` until the server stops. */
slm_status slm_http_every(struct slm_http *http, unsigned ms, void (*fn)(void *user), void *user,
                          struct slm_error *error);
#endif
