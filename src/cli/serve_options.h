/* SPDX-License-Identifier: MIT
 * What `slm serve` takes: the same rows with and without the server in the build, so that the help is the same. */
#ifndef SLM_CLI_SERVE_OPTIONS_H
#define SLM_CLI_SERVE_OPTIONS_H
#include "cli/cli.h"

struct slm_serve_options {
    uint64_t seen;
    const char *host, *unix_path, *key_file, *key_rate;
    int32_t port;
    float drain_s, timeout_s, watch_s;
    struct slm_text_list keys, origins, hosts;
    bool open, no_page;
    int log, log_level;
    struct slm_serve_models {
        uint64_t seen;
        const char *folder, *memory, *slots_folder;
        int32_t n_threads, n_ctx, n_batch, max_queue, max_running;
        int kv_type;
        float keep_alive_s;
    } models;
    struct slm_speculating speculating;
    struct slm_serve_limits {
        uint64_t seen;
        int32_t n_connections, body_mib, all_body_mib, body_rate;
        float header_s, body_s, idle_s, write_s;
    } limits;
};
/* serve_run.c, or serve_none.c in builds without the server. */
int slm_cli_serve(const struct slm_serve_options *options, int n_args, char **args);
#endif
