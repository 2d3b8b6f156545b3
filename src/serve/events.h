/* SPDX-License-Identifier: MIT
 * The reading end of server-sent events (WHATWG HTML, 9.2), for the load test: bytes in whatever pieces they come,
 * the data of each event once it is whole. Deliberately not here: ids, retries and names of events, which no API of
 * language models uses for its answers. */
#ifndef SLM_SERVE_EVENTS_H
#define SLM_SERVE_EVENTS_H
#include "base/str.h"

/* Zeroed but for the first two and the limit. */
struct slm_events {
    void (*on_data)(void *user, struct slm_str data); /* the lines of data of an event with '\n' between them */
    void *user;
    struct slm_buf line, data; /* limit: of one line, of one event */
    bool after_cr, has_data, has_begun;
};
enum { SLM_EVENT_BYTES = 16 << 20 }; /* of one event; more is no answer of a model */

void slm_events_init(struct slm_events *events, void (*on_data)(void *user, struct slm_str data), void *user);
/* SLM_ERR_LIMIT: an event is too long; SLM_ERR_MEMORY. */
slm_status slm_events_feed(struct slm_events *events, const char *bytes, size_t n, struct slm_error *error);
void slm_events_release(struct slm_events *events);
#endif
