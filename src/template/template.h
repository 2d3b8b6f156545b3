/* SPDX-License-Identifier: MIT
 * Chat templates: the Jinja subset that models ship, rendered byte for byte as jinja2 does with the settings of
 * transformers (trim_blocks, lstrip_blocks, ImmutableSandbox, raise_exception, strftime_now, tojson, loop controls).
 * Fuel, depth and output limits; linear time; no recursion on input. Templates are untrusted input. */
#ifndef SLM_TEMPLATE_TEMPLATE_H
#define SLM_TEMPLATE_TEMPLATE_H
#include "base/str.h"

struct slm_template; /* parsed; immutable; safe to share */

struct slm_template_limits { /* zero = default */
    uint64_t fuel;           /* evaluation steps: 5,000,000 */
    size_t max_output;       /* bytes: 16 MiB */
    size_t max_source;       /* bytes: 1 MiB */
    unsigned max_depth;      /* of the syntax tree and of calls: 200 */
};

/* Parses. where names the source in messages ("file.jinja"); errors carry line:column. Returns owned *out. */
slm_status slm_template_parse(struct slm_str source, const char *where, struct slm_template **out,
                              struct slm_error *error);
void slm_template_free(struct slm_template *tmpl);

struct slm_template_args {
    const char *messages_json; /* JSON array of messages */
    const char *tools_json;    /* JSON array or NULL (none) */
    const char *extra_json;    /* JSON object of further variables (documents, enable_thinking, ...) or NULL */
    const char *bos_token, *eos_token; /* NULL = undefined */
    bool add_generation_prompt;
    int64_t now_unix_s;        /* what strftime_now sees (UTC); 0 = the clock */
};
/* Appends the prompt to *out. raise_exception('x') in the template gives SLM_ERR_ARGUMENT with x. limits may be NULL.
 * */
slm_status slm_template_render(const struct slm_template *tmpl, const struct slm_template_args *args,
                               const struct slm_template_limits *limits, struct slm_buf *out, struct slm_error *error);
#endif
