/* SPDX-License-Identifier: MIT
 *
 * `slm loadtest`: its options and its help, which are the same in every build; what they do is in loadtest_run.c.
 * Deliberately not here: defaults of what zero means something else for (the run's). */
#include "cli/commands.h"
#include "cli/loadtest_options.h"

#define AT(field) offsetof(struct slm_loadtest_options, field)
/* How much is sent, what, and what is said about it. */
static const struct slm_option rows[] = {
    {.name = "requests", .letter = 'n', .kind = SLM_OPTION_INT, .offset = AT(n_requests), .arg = "N", .min = 1,
     .max = 1000000, .help = "requests of each run (default: 100)"},
    {.name = "concurrency", .letter = 'c', .kind = SLM_OPTION_INT, .offset = AT(concurrency), .arg = "N", .min = 1,
     .max = 100000, .help = "most requests at a time (default: 8; without limit when a rate is given)"},
    {.name = "rate", .kind = SLM_OPTION_FLOAT, .offset = AT(rate), .arg = "R", .min = 0.001, .max = 100000,
     .help = "requests a second, sent at random times (Poisson) whether or not others have ended (default: the next "
             "when one ends)"},
    {.name = "rates", .kind = SLM_OPTION_TEXT, .offset = AT(rates), .arg = "R,R,...",
     .help = "a run for each of these rates, one after the other"},
    {.name = "model", .letter = 'm', .kind = SLM_OPTION_TEXT, .offset = AT(model), .arg = "NAME",
     .help = "the model's name at the server (default: none is named, which slm takes for its first)"},
    {.name = "prompts", .kind = SLM_OPTION_TEXT, .offset = AT(prompts), .arg = "FILE",
     .help = "prompts in turn: plain lines, or JSON lines with \"prompt\" (a text or token ids) or \"messages\" "
             "(default: words at random)"},
    {.name = "input-len", .kind = SLM_OPTION_INT, .offset = AT(n_input), .arg = "N", .min = 1, .max = 1000000,
     .help = "words of a prompt at random (default: 128)"},
    {.name = "output-len", .kind = SLM_OPTION_INT, .offset = AT(n_output), .arg = "N", .min = 1, .max = 1000000,
     .help = "most tokens of an answer (default: 64)"},
    {.name = "ignore-eos", .kind = SLM_OPTION_FLAG, .offset = AT(ignore_eos),
     .help = "ask for answers of exactly that length (slm, vLLM and llama-server do it)"},
    {.name = "completions", .kind = SLM_OPTION_FLAG, .offset = AT(completions),
     .help = "use /v1/completions, without a chat template, in place of /v1/chat/completions"},
    {.name = "api-key", .kind = SLM_OPTION_TEXT, .offset = AT(key), .arg = "KEY", .help = "sent with each request"},
    {.name = "timeout", .kind = SLM_OPTION_FLOAT, .offset = AT(timeout_s), .arg = "S", .min = 0.001, .max = 1e6,
     .help = "seconds an answer may take (default: 600)"},
    {.name = "goodput", .kind = SLM_OPTION_LIST, .offset = AT(goodput), .arg = "KEY:MS",
     .help = "count answers that keep this as good, as ttft:500, tpot:50, itl:50 or e2el:5000 (may be repeated)"},
    {.name = "seed", .kind = SLM_OPTION_U64, .offset = AT(seed), .arg = "N",
     .help = "of times and words (default: 0)"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json), .help = "everything as JSON"},
};
#undef AT
static const struct slm_option_group groups[] = {{"Options", rows, sizeof rows / sizeof *rows, 0}};

static int run(void *opaque, int n_args, char **args)
{
    return slm_cli_loadtest(opaque, n_args > 0 ? args[0] : "http://127.0.0.1:8080/v1");
}

const struct slm_command slm_command_loadtest = {
    .name = "loadtest",
    .args = "[URL]",
    .summary = "Measures a server under load: any with OpenAI's API",
    .details = "\nURL is the one that OpenAI clients get, with /v1 (default: http://127.0.0.1:8080/v1).\n"
               "Figures are defined as in vLLM's 'bench serve': TTFT is the time to the first text,\n"
               "ITL the time between two pieces of text, E2EL that of the whole answer, TPOT what is\n"
               "left of it after the first token, by the tokens that follow. One request before the\n"
               "first run is not counted. Each request has a connection of its own, which counts.",
    .groups = groups,
    .n_groups = sizeof groups / sizeof *groups,
    .options_bytes = sizeof(struct slm_loadtest_options),
    .max_args = 1,
    .run = run,
};
