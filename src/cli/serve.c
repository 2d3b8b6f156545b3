/* SPDX-License-Identifier: MIT
 *
 * `slm serve`: its options and its help, which are the same in every build; what they do is in serve_run.c.
 *
 * Where zero is a value of its own (a port, a time), the default is put in by serve_main; else zero means "the
 * default", and the server fills it in.
 *
 * Deliberately not here: checks of what options mean together with the machine (the server's, once it tries). */
#include "cli/commands.h"
#include "cli/serve_options.h"

static const char *const log_names[] = {"text", "json", NULL};                    /* enum slm_log_format */
static const char *const level_names[] = {"error", "warn", "info", "debug", NULL}; /* enum slm_log_level */
static const char *const kv_names[] = {"", "f16", "f32", "int8", NULL};           /* enum slm_kv_type */

#define AT(field) offsetof(struct slm_serve_options, field)
/* Where it listens and who may come in. */
static const struct slm_option serve_rows[] = {
    {.name = "host", .kind = SLM_OPTION_TEXT, .offset = AT(host), .arg = "HOST",
     .help = "name or address to listen on (default: 127.0.0.1, which only this machine reaches)"},
    {.name = "port", .letter = 'p', .kind = SLM_OPTION_INT, .offset = AT(port), .arg = "PORT", .min = 0, .max = 65535,
     .help = "port to listen on; 0 is any free one (default: 8080)"},
    {.name = "unix", .kind = SLM_OPTION_TEXT, .offset = AT(unix_path), .arg = "PATH",
     .help = "listen on this Unix socket; with --host also there"},
    {.name = "api-key", .kind = SLM_OPTION_LIST, .offset = AT(keys), .arg = "[NAME:]KEY",
     .help = "requests need this key (may be repeated; others on this machine can read it in the list of processes)"},
    {.name = "api-key-file", .kind = SLM_OPTION_TEXT, .offset = AT(key_file), .arg = "FILE",
     .help = "requests need one of the keys in this file, one a line; SIGHUP reads it again"},
    {.name = "open", .kind = SLM_OPTION_FLAG, .offset = AT(open),
     .help = "let other machines in without a key"},
    {.name = "cors-origin", .kind = SLM_OPTION_LIST, .offset = AT(origins), .arg = "ORIGIN",
     .help = "pages from there may call too ('*': all), such as https://example.com (default: pages of this machine; "
             "may be repeated)"},
    {.name = "allow-host", .kind = SLM_OPTION_LIST, .offset = AT(hosts), .arg = "NAME",
     .help = "a further name under which this server is called on a loopback address, behind a proxy for example "
             "(may be repeated)"},
    {.name = "request-timeout", .kind = SLM_OPTION_FLOAT, .offset = AT(timeout_s), .arg = "S", .min = 0, .max = 1e6,
     .help = "seconds a request may take: then it fails with 504, or an error in its stream; 0 is no limit (default: "
             "0)"},
    {.name = "drain-timeout", .kind = SLM_OPTION_FLOAT, .offset = AT(drain_s), .arg = "S", .min = 0, .max = 1e5,
     .help = "seconds that requests at work get to end after SIGTERM or Ctrl-C (default: 30)"},
    {.name = "log", .kind = SLM_OPTION_CHOICE, .offset = AT(log), .arg = "FORMAT", .choices = log_names,
     .help = "a line a request on stderr, as text (default) or json"},
    {.name = "log-level", .kind = SLM_OPTION_CHOICE, .offset = AT(log_level), .arg = "LEVEL", .choices = level_names,
     .help = "least important lines to write: error, warn, info (default) or debug"},
    {.name = "no-page", .kind = SLM_OPTION_FLAG, .offset = AT(no_page), .help = "no page for browsers at /"},
    {.name = "key-rate", .kind = SLM_OPTION_TEXT, .offset = AT(key_rate), .arg = "RATE",
     .help = "most requests of each key, as 10/s, 600/m or 1000/h; more are refused with 429. A line of the file may "
             "have a rate of its own: NAME:KEY RATE"},
    {.name = "watchdog", .kind = SLM_OPTION_FLOAT, .offset = AT(watch_s), .arg = "S", .min = 0, .max = 1e5,
     .help = "seconds a model's thread may stand still while it has work: then requests fail and the server ends with "
             "exit code 70, to be started again; 0 is for ever (default: 600)"},
};
#undef AT
#define AT(field) offsetof(struct slm_serve_models, field)
/* What it computes with; the rows of the other commands that make sense for many models at once. */
static const struct slm_option model_rows[] = {
    {.name = "models", .kind = SLM_OPTION_TEXT, .offset = AT(folder), .arg = "FOLDER",
     .help = "requests may name models in this folder, by file name without '.gguf'"},
    {.name = "memory", .kind = SLM_OPTION_TEXT, .offset = AT(memory), .arg = "SIZE",
     .help = "most memory of all loaded models, as 8G or 500M (default: 80 % of the RAM); those not used for longest "
             "leave first"},
    {.name = "keep-alive", .kind = SLM_OPTION_FLOAT, .offset = AT(keep_alive_s), .arg = "S", .min = -1, .max = 1e9,
     .help = "seconds an idle model stays loaded; -1 is for ever (default: 300; for ever if it is the only one)"},
    {.name = "max-running", .kind = SLM_OPTION_INT, .offset = AT(max_running), .arg = "N", .min = 1, .max = 4096,
     .help = "requests computed together (default: 64)"},
    {.name = "max-queue", .kind = SLM_OPTION_INT, .offset = AT(max_queue), .arg = "N", .min = 1, .max = 1000000,
     .help = "requests waiting for a model; more are refused (default: 1024)"},
    {.name = "slot-save-path", .kind = SLM_OPTION_TEXT, .offset = AT(slots_folder), .arg = "FOLDER",
     .help = "clients may save conversations to files there and restore them (POST /slots/0?action=save)"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024, .help = "threads a model (default: all CPUs this process may use)"},
    {.name = "ctx", .letter = 'c', .kind = SLM_OPTION_INT, .offset = AT(n_ctx), .arg = "N", .min = 1, .max = 16777216,
     .help = "tokens of the longest context (default: what the model was trained for, at most 4096)"},
    {.name = "batch-size", .kind = SLM_OPTION_INT, .offset = AT(n_batch), .arg = "N", .min = 1, .max = 65536,
     .help = "most prompt tokens computed at once (default: 256)"},
    {.name = "kv", .kind = SLM_OPTION_CHOICE, .offset = AT(kv_type), .arg = "TYPE", .choices = kv_names,
     .help = "precision of the KV cache: f16 (default), f32, or int8 (half the memory, faster on long texts)"},
};
#undef AT
#define AT(field) offsetof(struct slm_serve_limits, field)
/* What a client may take; seconds may have fractions, so that tests need not wait. */
static const struct slm_option limit_rows[] = {
    {.name = "max-connections", .kind = SLM_OPTION_INT, .offset = AT(n_connections), .arg = "N", .min = 1,
     .max = 1000000, .help = "connections open together; more are refused with 503 (default: 4096)"},
    {.name = "max-body", .kind = SLM_OPTION_INT, .offset = AT(body_mib), .arg = "MIB", .min = 1, .max = 65536,
     .help = "MiB of the longest body of a request (default: 32)"},
    {.name = "max-bodies", .kind = SLM_OPTION_INT, .offset = AT(all_body_mib), .arg = "MIB", .min = 1, .max = 1048576,
     .help = "MiB of all bodies in memory together (default: 256)"},
    {.name = "min-rate", .kind = SLM_OPTION_INT, .offset = AT(body_rate), .arg = "BYTES", .min = 1,
     .max = 1000000000, .help = "bytes of a body a second, at least, after the body timeout (default: 1024)"},
    {.name = "header-timeout", .kind = SLM_OPTION_FLOAT, .offset = AT(header_s), .arg = "S", .min = 0.001, .max = 1e5,
     .help = "seconds for the head of a request, all of it (default: 10)"},
    {.name = "body-timeout", .kind = SLM_OPTION_FLOAT, .offset = AT(body_s), .arg = "S", .min = 0.001, .max = 1e5,
     .help = "seconds for a body, however slow (default: 30)"},
    {.name = "idle-timeout", .kind = SLM_OPTION_FLOAT, .offset = AT(idle_s), .arg = "S", .min = 0.001, .max = 1e5,
     .help = "seconds a connection may wait between two requests (default: 60)"},
    {.name = "write-timeout", .kind = SLM_OPTION_FLOAT, .offset = AT(write_s), .arg = "S", .min = 0.001, .max = 1e5,
     .help = "seconds a client may leave its answer unread before its request is cancelled (default: 30)"},
};
#undef AT
#define GROUP(title, rows, base) {title, rows, sizeof rows / sizeof *rows, base}
static const struct slm_option_group serve_groups[] = {
    GROUP("Options", serve_rows, 0),
    GROUP("Models", model_rows, offsetof(struct slm_serve_options, models)),
    SLM_SPECULATING_GROUP(struct slm_serve_options, speculating),
    GROUP("Limits", limit_rows, offsetof(struct slm_serve_options, limits)),
};

/* Rows are named by their place here because a row that was not given leaves no other trace. */
static int serve_main(void *opaque, int n_args, char **args)
{
    struct slm_serve_options *o = opaque;
    if (!(o->seen >> 1 & 1)) o->port = 8080;                           /* row 1: 0 is a port too */
    if (!(o->seen >> 9 & 1)) o->drain_s = 30;
    if (!(o->seen >> 11 & 1)) o->log_level = 2;                        /* info */
    if (!(o->seen >> 14 & 1)) o->watch_s = 600;                       /* a slow board may take minutes for a step */
    if (!(o->models.seen >> 2 & 1)) o->models.keep_alive_s = n_args > 1 || o->models.folder ? 300 : -1;
    if (o->unix_path && o->seen >> 1 & 1 && !o->host)
        return slm_cli_usage("serve", "--port and --unix: add --host to listen on both");
    if (slm_cli_check_speculating("serve", &o->speculating) != SLM_EXIT_OK) return SLM_EXIT_USAGE;
    return slm_cli_serve(o, n_args, args);
}

const struct slm_command slm_command_serve = {
    .name = "serve",
    .args = "[MODEL ...]",
    .summary = "Serves models to OpenAI, Ollama and Anthropic clients",
    .details = "\nModels are GGUF files or folders; the first answers requests that name none, and it is\n"
               "the one that --draft guesses for. Without a model the built-in one is served. Prints\n"
               "where it listens once it is ready. SIGTERM and Ctrl-C let requests at work end, a\n"
               "second one does not; SIGHUP reads the key file again.",
    .groups = serve_groups,
    .n_groups = sizeof serve_groups / sizeof *serve_groups,
    .options_bytes = sizeof(struct slm_serve_options),
    .max_args = 64,
    .run = serve_main,
};
