/* SPDX-License-Identifier: MIT
 * Fuzzer of files of prompts and of addresses for the load test. What is taken for a prompt is JSON: a string, or an
 * array that is not empty; a host and a path have nothing in them that would end a line of a request. */
#include <jansson.h>
#include <stdlib.h>

#include "base/os.h"
#include "serve/loadtest.h"

static void check_url(const char *text)
{
    struct slm_url url;
    struct slm_error error;
    if (slm_url_parse(text, &url, &error) != SLM_OK) return;
    SLM_ASSERT(url.host[0] && (!url.path[0] || url.path[0] == '/'));
    for (const char *c = url.host; *c; c++) SLM_ASSERT((unsigned char)*c > ' ');
    for (const char *c = url.path; *c; c++) SLM_ASSERT((unsigned char)*c > ' ');
    for (const char *c = url.port; *c; c++) SLM_ASSERT(*c >= '0' && *c <= '9');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slm_load_prompts prompts;
    struct slm_error error;
    struct slm_buf text = {0};
    const struct slm_str whole = {(const char *)data, bytes};
    if (bytes > 8192) return 0;
    if (slm_load_read_prompts("file", whole, &prompts, &error) == SLM_OK) {
        SLM_ASSERT(prompts.n > 0);
        for (size_t i = 0; i < prompts.n; i++) {
            json_t *value = json_loadb(prompts.items[i].ptr, prompts.items[i].len, JSON_DECODE_ANY, NULL);
            SLM_ASSERT(!value || json_is_string(value) || (prompts.any_messages && json_array_size(value) > 0));
            json_decref(value);
        }
        slm_load_release_prompts(&prompts);
    }
    SLM_ASSERT(prompts.n == 0);
    slm_buf_add(&text, data, bytes);
    if (text.data) check_url(text.data);
    slm_buf_release(&text);
    return 0;
}
