/* SPDX-License-Identifier: MIT
 * The APIs as the server mounts them: a table of routes for each, whose handlers get a struct slm_api as `app`. One
 * file an API (api_*.c), each a translation of its JSON to jobs (job.h) and of events back.
 *
 * Deliberately not here: /health and /metrics, API keys, limits of bodies (the server's); what a job does
 * (host.h). */
#ifndef SLM_SERVE_API_H
#define SLM_SERVE_API_H
#include "serve/host.h"
#include "serve/http.h"

struct slm_call;

/* What every handler gets as `app`; outlives all replies. */
struct slm_api {
    struct slm_http *http;
    struct slm_host *host;
    uint64_t timeout_ms; /* of each job; 0 = none */
    const char *slots_folder; /* of files that slots are saved to, or NULL: none are kept */
    bool has_page; /* browsers get the page at "/", else what programs get */
    struct slm_call *calls; /* at work; none at first */
};

/* Ends all calls that are at work with an error that their clients can read: the time to drain is over. */
void slm_api_end(struct slm_api *api);
/* The same with another reason. */
void slm_api_fail(struct slm_api *api, const struct slm_error *why);

/* All tables, ended by NULL. A path belongs to the table with the longest prefix of it, as far as errors go. */
extern const struct slm_http_table *const slm_api_tables[];
#endif
