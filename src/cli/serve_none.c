/* SPDX-License-Identifier: MIT
 * `slm serve` and what asks servers in a build without the server's libraries: commands and their help are there
 * (serve.c, loadtest.c, top.c), and this says what is missing. */
#include "cli/loadtest_options.h"
#include "cli/serve_options.h"
#include "cli/top_options.h"

static int missing(const char *command)
{
    struct slm_error error;
    slm_fail(&error, SLM_ERR_UNSUPPORTED, command,
             "this slm was built without its server (-DSLM_SERVER=OFF); build it with libuv and llhttp to have one");
    return slm_cli_fail(&error);
}

int slm_cli_serve(const struct slm_serve_options *options, int n_args, char **args)
{
    (void)options, (void)n_args, (void)args;
    return missing("serve");
}

int slm_cli_loadtest(const struct slm_loadtest_options *options, const char *url)
{
    (void)options, (void)url;
    return missing("loadtest");
}

int slm_cli_top(const struct slm_top_options *options, const char *url)
{
    (void)options, (void)url;
    return missing("top");
}
