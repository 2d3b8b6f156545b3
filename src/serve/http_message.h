/* SPDX-License-Identifier: MIT
 * Bytes to requests, without sockets: what the fuzzer drives. A message is fed as bytes arrive, in pieces of any
 * size, and says when its head, then all of it, is there. llhttp knows the grammar; what it lets pass although RFC
 * 9112 forbids it, or what two servers may read differently, is refused here before it sees it (http_head.c). */
#ifndef SLM_SERVE_HTTP_MESSAGE_H
#define SLM_SERVE_HTTP_MESSAGE_H
#include "serve/http_server.h"

/* ---- the head, looked at before it is parsed (http_head.c) ----------------------------------------------- */

struct slm_head_scan {
    size_t at, line; /* looked at so far; where the current line begins */
    size_t n_lines;  /* that are complete */
    bool in_method;
};
enum { SLM_HTTP_MORE = 0, SLM_HTTP_HEAD = 100, SLM_HTTP_DONE = 200 }; /* or an error's status, 400 and above */

/* Looks on in data[0..len), which begins with a request. SLM_HTTP_HEAD: it is complete and *head_bytes long. */
int slm_head_scan(struct slm_head_scan *scan, const char *data, size_t len, const struct slm_http_limits *limits,
                  size_t *head_bytes, struct slm_error *error);
/* The target of a request in place: path decoded, query and, of an absolute one, host split off. 200 or an error. */
int slm_head_target(char *target, size_t len, struct slm_str *path, struct slm_str *query, struct slm_str *host,
                    struct slm_error *error);
/* How the message goes on, by its headers. */
struct slm_head_framing {
    struct slm_str host;
    uint64_t length;
    bool has_length, is_chunked, wants_continue;
};
int slm_head_framing(const struct slm_http_header *headers, size_t n, bool is_http10, struct slm_head_framing *out,
                     struct slm_error *error);

/* ---- messages -------------------------------------------------------------------------------------------- */

struct slm_http_message {
    const struct slm_http_limits *limits;
    size_t *all_body_bytes; /* shared by all messages, counted against the limit */
    struct llhttp__internal_s *parser;
    struct slm_buf head, body;
    struct slm_head_scan scan;
    struct slm_http_header *headers;
    size_t n_headers, cap_headers, extra_bytes, n_skipped;
    struct slm_str method, target;
    struct slm_str path, query, host;
    struct slm_head_framing framing;
    uint64_t bytes; /* of this message so far */
    bool is_http10, keep_alive, head_done, done;
    int refused;             /* by a callback of the parser */
    struct slm_error reason;
};
slm_status slm_http_message_init(struct slm_http_message *message, const struct slm_http_limits *limits,
                                 size_t *all_body_bytes, struct slm_error *error);
void slm_http_message_release(struct slm_http_message *message);
/* Forgets the message that is done: the next bytes begin another one. Holds no memory but the parser's then. */
void slm_http_message_reset(struct slm_http_message *message);
/* Takes *used bytes. SLM_HTTP_MORE: all were taken. SLM_HTTP_HEAD: the head is there, feed again for the rest.
 * SLM_HTTP_DONE: so is the body. Else the status to answer with, and the connection cannot go on. */
int slm_http_message_feed(struct slm_http_message *message, const char *data, size_t len, size_t *used,
                          struct slm_error *error);
#endif
