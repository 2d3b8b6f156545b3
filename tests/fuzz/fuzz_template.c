/* SPDX-License-Identifier: MIT
 * Fuzzes the template engine: the input is a template and, behind a NUL byte, JSON for its messages. Both are
 * attacker's data in practice. Small limits keep every run short; a run that ends in an error must say where and why,
 * and one that succeeds must stay within the output limit and give valid UTF-8. Not here: whether the text is the
 * right one
 * (e2e/test_template_oracle.py compares with jinja2). */
#include <stdlib.h>
#include "base/utf8.h"
#include "template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char default_messages[] =
    "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\" Hi \\u00e9\"},"
    "{\"role\":\"assistant\",\"content\":null,"
    "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1.5}}}]},"
    "{\"role\":\"tool\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]";
static const char variables[] = "{\"n\":-3,\"s\":\"ab cd\",\"l\":[3,1,2],\"d\":{\"k\":[true,null]},\"f\":0.1}";

static void check_failure(const struct slm_error *error, slm_status status)
{
    if (error->status != status || !error->where[0] || !error->message[0]) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MAX_OUTPUT = 1 << 16 };
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t template_bytes = nul ? (size_t)(nul - data) : size;
    struct slm_template *tmpl = NULL;
    struct slm_error error = {0};
    slm_status status =
        slm_template_parse((struct slm_str){(const char *)data, template_bytes}, "fuzz", &tmpl, &error);
    if (status != SLM_OK) {
        check_failure(&error, status);
        return 0;
    }
    char *messages = NULL;
    if (nul && (messages = malloc(size - template_bytes))) {
        memcpy(messages, nul + 1, size - template_bytes - 1);
        messages[size - template_bytes - 1] = 0;
    }
    const struct slm_template_limits limits = {.fuel = 20000, .max_output = MAX_OUTPUT};
    const struct slm_template_args args = {.messages_json = messages ? messages : default_messages,
                                           .tools_json = "[{\"name\":\"f\",\"x\":{\"y\":[]}}]", .extra_json = variables,
                                           .bos_token = "<s>", .eos_token = "</s>", .add_generation_prompt = true,
                                           .now_unix_s = 1741507507};
    struct slm_buf out = {0};
    status = slm_template_render(tmpl, &args, &limits, &out, &error);
    if (status != SLM_OK) check_failure(&error, status);
    else if (out.len > MAX_OUTPUT || slm_utf8_valid_prefix(out.data, out.len) != out.len) abort();
    slm_buf_release(&out);
    slm_template_free(tmpl);
    free(messages);
    return 0;
}
