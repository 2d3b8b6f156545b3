/* SPDX-License-Identifier: MIT
 * Fuzzer of requests: the first byte names an endpoint, the rest is a body. What its rows accept goes on to the readers
 * of messages and tools. Whatever is refused names its place. */
#include <stdlib.h>
#include <string.h>

#include "serve/api_openai.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(slm_status status, const struct slm_error *error)
{
    if (status != SLM_OK) SLM_ASSERT(error->status == status && *error->where && *error->message);
}

static void read_chat(const json_t *body)
{
    struct slm_error error = {0};
    json_t *messages = NULL, *tools = NULL;
    check(slm_messages_read(json_object_get(body, "messages"), "messages", &messages, &error), &error);
    check(slm_tools_read(json_object_get(body, "tools"), &tools, &error), &error);
    for (size_t i = 0; i < json_array_size(messages); i++) { /* templates may count on both */
        SLM_ASSERT(json_is_string(json_object_get(json_array_get(messages, i), "role")));
        SLM_ASSERT(json_is_string(json_object_get(json_array_get(messages, i), "content")));
    }
    json_decref(messages);
    json_decref(tools);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    _Alignas(16) static char out[4096]; /* larger than any struct that rows fill */
    size_t n_kinds = 0;
    json_t *body = NULL;
    struct slm_error error = {0};
    while (slm_api_kinds[n_kinds]) n_kinds++;
    if (bytes == 0) return 0;
    const struct slm_call_kind *kind = slm_api_kinds[data[0] % n_kinds];
    slm_status status = slm_read_body((struct slm_str){(const char *)data + 1, bytes - 1}, &body, &error);
    check(status, &error);
    if (status != SLM_OK) return 0;
    memset(out, 0xA5, sizeof out);
    check(slm_read_fields(body, "", kind->sets, out, &error), &error);
    read_chat(body);
    json_decref(body);
    return 0;
}
