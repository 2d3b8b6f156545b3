/* SPDX-License-Identifier: MIT
 * Fuzzer of requests: the same bytes once whole and once in pieces, whose sizes the first byte chooses. Both ways must
 * find the same requests, and what is taken for one is complete and within the limits. */
#include <stdlib.h>

#include "serve/http_message.h"

static const struct slm_http_limits limits = {
    .header_bytes = 2000, .n_headers = 20, .url_bytes = 200, .body_bytes = 500, .all_body_bytes = 800};

static void check(const struct slm_http_message *m)
{
    SLM_ASSERT(m->method.len > 0 && m->path.len > 0 && (m->path.ptr[0] == '/' || m->path.ptr[0] == '*'));
    SLM_ASSERT(m->target.len <= limits.url_bytes && m->n_headers <= limits.n_headers);
    SLM_ASSERT(m->body.len <= limits.body_bytes && !(m->framing.has_length && m->framing.is_chunked));
    if (m->framing.has_length) SLM_ASSERT(m->body.len == m->framing.length);
    SLM_ASSERT(m->framing.host.len > 0 || m->is_http10);
    for (size_t i = 0; i < m->n_headers; i++) {
        SLM_ASSERT(m->headers[i].name.len > 0);
        for (size_t k = 0; k < m->headers[i].value.len; k++) {
            const char c = m->headers[i].value.ptr[k];
            SLM_ASSERT(c != '\0' && c != '\r' && c != '\n');
        }
    }
}

/* Bytes in pieces of `step`. What was found, as a number that depends on all of it. */
static uint64_t feed(const char *data, size_t len, size_t step)
{
    struct slm_http_message m;
    struct slm_error error;
    size_t all_bodies = 0;
    uint64_t found = 1;
    if (slm_http_message_init(&m, &limits, &all_bodies, &error) != SLM_OK) abort();
    for (size_t at = 0; at < len;) {
        size_t piece = len - at < step ? len - at : step;
        while (piece > 0) {
            size_t used = 0;
            int status = slm_http_message_feed(&m, data + at, piece, &used, &error);
            SLM_ASSERT(used <= piece);
            at += used;
            piece -= used;
            if (status == SLM_HTTP_HEAD) {
                found = found * 31 + slm_hash_bytes(m.path.ptr, m.path.len, m.n_headers);
                status = slm_http_message_feed(&m, data + at, 0, &used, &error);
            }
            if (status == SLM_HTTP_DONE) {
                check(&m);
                found = found * 31 + slm_hash_bytes(m.body.data, m.body.len, 7);
                slm_http_message_reset(&m);
                SLM_ASSERT(all_bodies == 0);
            } else if (status >= 400) {
                slm_http_message_release(&m);
                SLM_ASSERT(all_bodies == 0);
                return found * 31 + (uint64_t)(status == 400);
            } else {
                SLM_ASSERT(status == SLM_HTTP_MORE && (piece == 0 || used > 0 || m.head_done));
            }
        }
    }
    slm_http_message_release(&m);
    return found * 31 + 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1 || bytes > 8192) return 0;
    const char *text = (const char *)data + 1;
    const uint64_t whole = feed(text, bytes - 1, SIZE_MAX);
    SLM_ASSERT(feed(text, bytes - 1, (size_t)data[0] + 1) == whole);
    SLM_ASSERT(feed(text, bytes - 1, 1) == whole);
    return 0;
}
