/* SPDX-License-Identifier: MIT
 * What `slm loadtest` takes: the same rows with and without the server's libraries in the build. */
#ifndef SLM_CLI_LOADTEST_OPTIONS_H
#define SLM_CLI_LOADTEST_OPTIONS_H
#include "cli/cli.h"

struct slm_loadtest_options {
    uint64_t seen;
    const char *model, *key, *prompts, *rates;
    int32_t n_requests, concurrency, n_input, n_output;
    float rate, timeout_s;
    uint64_t seed;
    struct slm_text_list goodput;
    bool completions, ignore_eos, json;
};
/* loadtest_run.c, or serve_none.c in builds without the server. */
int slm_cli_loadtest(const struct slm_loadtest_options *options, const char *url);
#endif
