/* SPDX-License-Identifier: MIT
 * What `slm top` takes: the same rows with and without the server's libraries in the build. */
#ifndef SLM_CLI_TOP_OPTIONS_H
#define SLM_CLI_TOP_OPTIONS_H
#include "cli/cli.h"

struct slm_top_options {
    uint64_t seen;
    const char *key;
    float interval_s;
    bool once, json;
};
/* top_run.c, or serve_none.c in builds without the server. */
int slm_cli_top(const struct slm_top_options *options, const char *url);
#endif
