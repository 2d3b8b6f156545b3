/* SPDX-License-Identifier: MIT
 * `slm serve` in a build without the server: the command and its help are there (serve.c), and this says what is
 * missing. */
#include "cli/serve_options.h"

int slm_cli_serve(const struct slm_serve_options *options, int n_args, char **args)
{
    struct slm_error error;
    (void)options, (void)n_args, (void)args;
    slm_fail(&error, SLM_ERR_UNSUPPORTED, "serve",
             "this slm was built without its server (-DSLM_SERVER=OFF); build it with libuv and llhttp to have one");
    return slm_cli_fail(&error);
}
