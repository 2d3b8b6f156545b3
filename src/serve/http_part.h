/* SPDX-License-Identifier: MIT
 * What the files of the HTTP server share with each other: a server, a connection, its one reply.
 *
 * http.c the loop, listening, posting, the end · http_conn.c bytes and deadlines of a connection · http_route.c
 * who may call what · http_reply.c answers */
#ifndef SLM_SERVE_HTTP_PART_H
#define SLM_SERVE_HTTP_PART_H
#include <uv.h>

#include "serve/http_message.h"
#include "serve/keys.h"

struct slm_conn;

struct slm_reply {
    struct slm_conn *conn;
    struct slm_http_request request;
    const struct slm_http_table *table; /* whose errors fit the path; NULL: ours */
    const struct slm_http_route *route;
    void *app;
    struct slm_buf headers; /* lines to come */
    char key[64];           /* request.key, which outlives a reload of the keys so */
    bool active;            /* between the head of a request and the end of its reply */
    bool begun, chunked, is_head, no_body;
    bool last;              /* the connection ends after it */
    int status;
    uint64_t start_ns, bytes_out;
    size_t n_prompt, n_generated;
    void (*on_close)(void *user);
    void *user;
};

/* What a connection waits for; each has its deadline. */
enum slm_conn_phase {
    SLM_CONN_FIRST,  /* the first request: as for a head */
    SLM_CONN_IDLE,   /* another request */
    SLM_CONN_HEAD,
    SLM_CONN_BODY,
    SLM_CONN_REPLY,  /* us; the client only where bytes wait for it */
    SLM_CONN_FLUSH,  /* the client, to take what waits for it; then comes LINGER or the next request */
    SLM_CONN_LINGER, /* the client, to close */
    SLM_CONN_CLOSED, /* the loop, to release the handles */
};

struct slm_conn {
    struct slm_http *http;
    struct slm_conn *next, *prev;           /* of all */
    struct slm_conn *dirty_next;            /* of those that have something to do at the end of this tick */
    bool is_dirty;
    union { uv_handle_t handle; uv_stream_t stream; uv_tcp_t tcp; uv_pipe_t pipe; } io;
    uv_timer_t timer;
    uv_shutdown_t shutdown;
    int n_handles;                          /* not closed yet */
    enum slm_conn_phase phase;
    uint64_t since_ms;                      /* the phase began */
    struct slm_http_message message;
    struct slm_reply reply;
    struct slm_buf in;                      /* read ahead */
    struct slm_buf out;                     /* not handed to the socket yet */
    uv_write_t write;
    struct slm_buf writing;                 /* handed to it */
    uint64_t handed_bytes, taken_bytes;     /* in all; taken by the client when last looked at */
    bool ends;                              /* no request after the one at hand */
    bool eof;                               /* the client has closed its side */
    bool overflowed;                        /* it does not read what it asked for */
    bool is_local;                          /* a Unix socket */
    bool on_loopback;                       /* came to a loopback address */
    size_t n_requests;
    char peer[48];
};

struct slm_mount { const struct slm_http_table *table; void *app; };
struct slm_post { struct slm_post *next; void (*fn)(void *user); void *user; };
struct slm_listener {
    struct slm_listener *next;
    struct slm_http *http;
    union { uv_handle_t handle; uv_stream_t stream; uv_tcp_t tcp; uv_pipe_t pipe; } io;
    bool is_local, on_loopback;
    char path[108];                         /* of a Unix socket that we made */
};

enum { SLM_HTTP_MOUNTS = 16, SLM_HTTP_READ_BYTES = 1 << 16 };
struct slm_http {
    struct slm_http_options options;
    uv_loop_t loop;
    uv_prepare_t flush;
    uv_async_t wake;
    uv_mutex_t post_lock;
    struct slm_post *posted, **posted_end;
    struct slm_mount mounts[SLM_HTTP_MOUNTS];
    size_t n_mounts;
    struct slm_listener *listeners;
    struct slm_ticker *tickers;
    struct slm_conn *conns, *dirty;
    struct slm_http_counts counts;
    bool draining, stopping;
    void (*on_drained)(void *user);
    void *drained_user;
    uint64_t next_id[2];
    char *read_buffer; /* [SLM_HTTP_READ_BYTES] of whichever connection is being read */
};

/* ---- connections (http_conn.c) --------------------------------------------------------------------------- */

/* fd: an accepted socket, which it takes, or -1 for the one that libuv has waiting. */
void slm_conn_accept(struct slm_listener *listener, int fd);
/* Something to write or to read on: at the end of this tick. */
void slm_conn_touch(struct slm_conn *conn);
/* What is due at the end of a tick. */
void slm_conn_settle(struct slm_conn *conn);
/* The client is gone: the reply hears of it, the handles close. */
void slm_conn_gone(struct slm_conn *conn);
/* The reply has ended: what comes next on this connection. */
void slm_conn_next(struct slm_conn *conn);
void slm_conn_send(struct slm_conn *conn, const void *data, size_t bytes);
/* Closes one that waits for a request; others end after their reply. */
void slm_conn_drain(struct slm_conn *conn);

/* ---- requests (http_route.c) ----------------------------------------------------------------------------- */

/* The head is there: false when the request was answered already, without its body. */
bool slm_route_head(struct slm_conn *conn);
/* So is the body. */
void slm_route_run(struct slm_conn *conn);
/* A request that is none, or that cannot be let in; the connection ends after it. */
void slm_route_refuse(struct slm_conn *conn, int status, const struct slm_error *error);

/* ---- replies (http_reply.c) ------------------------------------------------------------------------------ */

/* A reply to what conn->message holds so far. */
void slm_reply_start(struct slm_conn *conn);
/* It is over, however: tells the program and forgets it. */
void slm_reply_over(struct slm_reply *reply, int status);
const char *slm_http_reason(int status);
#endif
