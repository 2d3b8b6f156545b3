/* SPDX-License-Identifier: MIT
 * Fuzzer of server-sent events: the same bytes once whole, once in pieces and once byte by byte must bring the same
 * events, and no data contains what cannot stand in a line but the line feeds between lines. */
#include "serve/events.h"

static void take(void *user, struct slm_str data)
{
    uint64_t *sum = user;
    for (size_t i = 0; i < data.len; i++) SLM_ASSERT(data.ptr[i] != '\r');
    *sum = slm_hash_bytes(data.ptr, data.len, *sum + 1);
}

static uint64_t feed(const char *text, size_t len, size_t step)
{
    uint64_t sum = 0;
    struct slm_events events;
    struct slm_error error;
    slm_events_init(&events, take, &sum);
    for (size_t at = 0; at < len; at += step)
        SLM_ASSERT(slm_events_feed(&events, text + at, len - at < step ? len - at : step, &error) == SLM_OK);
    slm_events_release(&events);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1 || bytes > 8192) return 0;
    const char *text = (const char *)data + 1;
    const uint64_t whole = feed(text, bytes - 1, bytes);
    SLM_ASSERT(feed(text, bytes - 1, (size_t)data[0] + 1) == whole);
    SLM_ASSERT(feed(text, bytes - 1, 1) == whole);
    return 0;
}
