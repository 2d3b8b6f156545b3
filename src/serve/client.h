/* SPDX-License-Identifier: MIT
 * HTTP/1.1 from the other side, for the commands that ask servers (`slm loadtest`, `slm top`): one request on one
 * connection, on the caller's loop. Deliberately not here: TLS, proxies, redirects, connections that are kept. */
#ifndef SLM_SERVE_CLIENT_H
#define SLM_SERVE_CLIENT_H
#include "base/str.h"

struct uv_loop_s;

struct slm_url {
    char host[256], port[8];
    char path[512]; /* "" or begins with '/', and does not end with one */
};
/* A host, a port, a path: "http://127.0.0.1:8080/v1"; the scheme may be left out. https is refused with a sentence
 * about why. */
slm_status slm_url_parse(const char *text, struct slm_url *out, struct slm_error *error);

struct slm_ask {
    const struct slm_url *url;
    const char *method, *path; /* the path behind the URL's */
    const char *key;           /* API key; NULL: none */
    struct slm_str body;       /* JSON, copied; empty: none */
    unsigned timeout_ms;       /* of all of it; 0 = none */
    void (*on_body)(void *user, const char *data, size_t n); /* further bytes of an answer */
    /* The last call: error NULL when the answer came whole; status 0 when none came. retry_after_s: < 0 not said. */
    void (*on_end)(void *user, int status, int retry_after_s, const struct slm_error *error);
    void *user;
};

/* Addresses of a host; looked up once, because names are not what is measured. */
struct slm_peer;
slm_status slm_peer_open(struct uv_loop_s *loop, const struct slm_url *url, struct slm_peer **out,
                         struct slm_error *error);
void slm_peer_close(struct slm_peer *peer);

/* When it is SLM_OK on_end is called once, never before this returns; else never. */
slm_status slm_peer_ask(struct slm_peer *peer, const struct slm_ask *ask, struct slm_error *error);
/* Ends all that are open, each with an error. */
void slm_peer_cancel(struct slm_peer *peer);
#endif
