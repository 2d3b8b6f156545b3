/* SPDX-License-Identifier: MIT
 *
 * `slm top`: its options and its help, which are the same in every build; what they do is in top_run.c. Deliberately
 * not here: anything a terminal does. */
#include "cli/commands.h"
#include "cli/top_options.h"

#define AT(field) offsetof(struct slm_top_options, field)
static const struct slm_option rows[] = {
    {.name = "interval", .letter = 'i', .kind = SLM_OPTION_FLOAT, .offset = AT(interval_s), .arg = "S", .min = 0.1,
     .max = 3600, .help = "seconds between two looks (default: 1)"},
    {.name = "once", .kind = SLM_OPTION_FLAG, .offset = AT(once), .help = "look twice, print, and end"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "a line of JSON for each look, without a screen; with --once one"},
    {.name = "api-key", .kind = SLM_OPTION_TEXT, .offset = AT(key), .arg = "KEY", .help = "sent with each request"},
};
#undef AT
static const struct slm_option_group groups[] = {{"Options", rows, sizeof rows / sizeof *rows, 0}};

static int run(void *opaque, int n_args, char **args)
{
    return slm_cli_top(opaque, n_args > 0 ? args[0] : "http://127.0.0.1:8080");
}

const struct slm_command slm_command_top = {
    .name = "top",
    .args = "[URL]",
    .summary = "Shows what a server is doing, live",
    .details = "\nURL is where 'slm serve' listens (default: http://127.0.0.1:8080). Of other servers what\n"
               "they have under vLLM's names is shown. q ends it. Speeds are since the look before,\n"
               "latencies of the last half minute of looks. A server that is away is tried again.",
    .groups = groups,
    .n_groups = sizeof groups / sizeof *groups,
    .options_bytes = sizeof(struct slm_top_options),
    .max_args = 1,
    .run = run,
};
