/* SPDX-License-Identifier: MIT
 *
 * `slm loadtest`: from options to runs, and their figures as a table or JSON. Deliberately not here: how a run is done
 * (serve/loadtest.c). */
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/loadtest_options.h"
#include "serve/loadtest.h"

/* A file may be large, but not so large that reading it is a mistake. */
enum { MOST_RATES = 32, MOST_PROMPTS_MADE = 10000, MOST_FILE = 1 << 30 };

/* What they are called: in options and JSON, in tables. */
static const char *const names[SLM_LOAD_FIGURES] = {"ttft", "tpot", "itl", "e2el"};
static const char *const titles[SLM_LOAD_FIGURES] = {"TTFT", "TPOT", "ITL", "E2EL"};
static const char *const fates[SLM_LOAD_FATES] = {"completed", "refused_429", "refused_503", "http_errors", "broken"};

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* "ttft:500", in milliseconds as vLLM's option has it; seconds from here on. */
static bool parse_slo(const char *text, double slo[SLM_LOAD_FIGURES])
{
    for (int f = 0; f < SLM_LOAD_FIGURES; f++) {
        const size_t n = strlen(names[f]);
        if (strncmp(text, names[f], n) != 0 || text[n] != ':') continue;
        char *end;
        const double ms = strtod(text + n + 1, &end);
        if (end == text + n + 1 || *end || !(ms > 0 && ms < 1e9)) return false;
        slo[f] = ms / 1000;
        return true;
    }
    return false;
}

/* "1,2,4.5" as numbers a second, in the order of the runs; returns how many, 0 where the text is no such list. */
static size_t parse_rates(const char *text, double rates[MOST_RATES])
{
    for (size_t n = 0; n < MOST_RATES; text++) {
        char *end;
        rates[n] = strtod(text, &end);
        if (end == text || !(rates[n] >= 0.001 && rates[n] <= 1e5)) return 0;
        n++;
        text = end;
        if (*text == '\0') return n;
        if (*text != ',') return 0;
    }
    return 0;
}

/* Made ones are as many as there are requests, up to a number that no cache holds anyway. */
static slm_status get_prompts(const struct slm_loadtest_options *o, size_t n_requests, struct slm_load_prompts *out,
                              struct slm_error *error)
{
    struct slm_buf text = {0};
    if (!o->prompts)
        return slm_load_make_prompts(n_requests < MOST_PROMPTS_MADE ? n_requests : MOST_PROMPTS_MADE,
                                     o->n_input ? (size_t)o->n_input : 128, o->seed, out, error);
    slm_status status = slm_cli_read(o->prompts, MOST_FILE, &text, error);
    if (status == SLM_OK)
        status = slm_load_read_prompts(o->prompts, (struct slm_str){text.data, text.len}, out, error);
    slm_buf_release(&text);
    if (status == SLM_OK && out->any_messages && o->completions)
        status = slm_fail(error, SLM_ERR_ARGUMENT, o->prompts, "messages are for chats: leave --completions out");
    if (status == SLM_OK && out->any_ids && !o->completions)
        status = slm_fail(error, SLM_ERR_ARGUMENT, o->prompts, "token ids are for --completions");
    if (status != SLM_OK) slm_load_release_prompts(out);
    return status;
}

/* ---- what came out ----------------------------------------------------------------------------------------------- */

/* Of the whole run. */
static double per_second(double n, const struct slm_load_result *r) { return r->seconds > 0 ? n / r->seconds : 0; }

/* Without limits everything is good, and nothing is said about it. */
static bool has_slo(const struct slm_load_options *o)
{
    for (int f = 0; f < SLM_LOAD_FIGURES; f++)
        if (o->slo[f] > 0) return true;
    return false;
}

/* Milliseconds everywhere, and names where there are the same ones, as vLLM's files have them: scripts that read those
 * read these. Nothing is left out: a count of 0 is said too. */
static void add_json(struct slm_buf *out, const struct slm_load_options *o, const struct slm_load_result *r)
{
    slm_buf_puts(out, "{");
    if (o->rate > 0) slm_json_real(out, "request_rate", o->rate);
    else slm_json_text(out, "request_rate", NULL);
    if (o->concurrency) slm_json_i64(out, "max_concurrency", (int64_t)o->concurrency);
    else slm_json_text(out, "max_concurrency", NULL);
    slm_json_i64(out, "requests", (int64_t)o->n_requests);
    for (int i = 0; i < SLM_LOAD_FATES; i++) slm_json_i64(out, fates[i], (int64_t)r->n_fates[i]);
    slm_json_i64(out, "refused_with_retry_after", (int64_t)r->n_retry_after);
    slm_json_i64(out, "most_at_once", (int64_t)r->most_at_once);
    slm_json_real(out, "duration_s", r->seconds);
    slm_json_i64(out, "total_input_tokens", (int64_t)r->n_prompt);
    slm_json_i64(out, "total_output_tokens", (int64_t)r->n_generated);
    slm_json_real(out, "request_throughput", per_second((double)r->n_fates[SLM_LOAD_DONE], r));
    slm_json_real(out, "output_throughput", per_second((double)r->n_generated, r));
    slm_json_real(out, "total_token_throughput", per_second((double)(r->n_generated + r->n_prompt), r));
    if (has_slo(o)) slm_json_real(out, "request_goodput", per_second((double)r->n_good, r));
    for (int f = 0; f < SLM_LOAD_FIGURES; f++) {
        const struct slm_load_series *s = &r->series[f];
        slm_json_key(out, names[f]);
        slm_buf_puts(out, "{");
        slm_json_i64(out, "n", (int64_t)s->n);
        slm_json_real(out, "mean_ms", s->mean * 1000);
        slm_json_real(out, "p50_ms", s->p50 * 1000);
        slm_json_real(out, "p90_ms", s->p90 * 1000);
        slm_json_real(out, "p95_ms", s->p95 * 1000);
        slm_json_real(out, "p99_ms", s->p99 * 1000);
        slm_buf_puts(out, "}");
    }
    slm_json_text(out, "first_error", r->first_error.status == SLM_OK ? NULL : r->first_error.message);
    slm_buf_puts(out, "}");
}

/* What the server said no to in good order is no failure. */
static size_t n_failed(const struct slm_load_result *r)
{
    return r->n_fates[SLM_LOAD_HTTP] + r->n_fates[SLM_LOAD_BROKEN];
}
static size_t n_refused(const struct slm_load_result *r) { return r->n_fates[SLM_LOAD_429] + r->n_fates[SLM_LOAD_503]; }

/* One run, all there is to say: first how it went, since figures of the few that came through a failing server would
 * look good. */
static void add_report(struct slm_buf *out, const struct slm_load_options *o, const struct slm_load_result *r)
{
    slm_buf_printf(out, "requests      %zu completed, %zu refused (%zu say when to retry), %zu failed\n",
                   r->n_fates[SLM_LOAD_DONE], n_refused(r), r->n_retry_after, n_failed(r));
    slm_buf_printf(out, "time          %.2f s, up to %zu requests at once\n", r->seconds, r->most_at_once);
    slm_buf_printf(out, "requests/s    %.2f", per_second((double)r->n_fates[SLM_LOAD_DONE], r));
    if (has_slo(o)) slm_buf_printf(out, ", good ones %.2f", per_second((double)r->n_good, r));
    slm_buf_printf(out, "\ntokens/s      %.1f generated, %.1f with prompts\n", per_second((double)r->n_generated, r),
                   per_second((double)(r->n_generated + r->n_prompt), r));
    slm_buf_puts(out, "\nms              mean       p50       p90       p95       p99\n");
    for (int f = 0; f < SLM_LOAD_FIGURES; f++) {
        const struct slm_load_series *s = &r->series[f];
        slm_buf_printf(out, "%-10s %9.2f %9.2f %9.2f %9.2f %9.2f\n", titles[f], s->mean * 1000, s->p50 * 1000,
                       s->p90 * 1000, s->p95 * 1000, s->p99 * 1000);
    }
}

/* A line a rate: what grows with the rate, and where it begins to hurt, is seen from above. */
static void add_row(struct slm_buf *out, const struct slm_load_options *o, const struct slm_load_result *r)
{
    const struct slm_load_series *ttft = &r->series[SLM_LOAD_TTFT], *tpot = &r->series[SLM_LOAD_TPOT],
                                 *e2el = &r->series[SLM_LOAD_E2EL];
    slm_buf_printf(out, "%8.6g %6zu %7zu %6zu %7.2f %7.2f %8.1f %8.1f %8.1f %7.2f %7.2f %9.1f %9.1f\n", o->rate,
                   r->n_fates[SLM_LOAD_DONE], n_refused(r), n_failed(r),
                   per_second((double)r->n_fates[SLM_LOAD_DONE], r), per_second((double)r->n_good, r),
                   per_second((double)r->n_generated, r), ttft->p50 * 1000, ttft->p99 * 1000, tpot->p50 * 1000,
                   tpot->p99 * 1000, e2el->p50 * 1000, e2el->p99 * 1000);
}

/* As wide as the rows below. */
static const char row_head[] =
    "                                 requests/s            TTFT ms           TPOT ms          E2EL ms\n"
    "    rate   done refused failed     all    good tokens/s      p50      p99     p50     p99       p50       p99\n";

/* ---- runs -------------------------------------------------------------------------------------------------------- */

/* Loads the model at the server, and finds out whether anything works at all. */
static slm_status try_it(const struct slm_load_options *o, struct slm_error *error)
{
    struct slm_load_options one = *o;
    struct slm_load_result result;
    one.n_requests = one.concurrency = 1;
    one.rate = 0;
    one.progress = NULL;
    SLM_TRY(slm_load_run(&one, &result, error));
    if (result.n_fates[SLM_LOAD_DONE] == 1) return SLM_OK;
    *error = result.first_error;
    return error->status;
}

/* On a terminal only. */
static bool progress(void *user, uint64_t done, uint64_t total)
{
    return slm_cli_draw_progress(user, done, total);
}

/* One report, or a line a rate; in JSON an object, or an array of them. */
static slm_status run_all(struct slm_load_options *o, const double *rates, size_t n_rates, bool json,
                          struct slm_error *error)
{
    struct slm_buf out = {0};
    SLM_TRY(try_it(o, error));
    slm_buf_puts(&out, json ? n_rates > 1 ? "[" : "" : n_rates > 1 ? row_head : "");
    for (size_t i = 0; i < n_rates; i++) {
        struct slm_load_result result;
        struct slm_cli_progress bar = {.label = "load test", .start = slm_cli_seconds()};
        o->rate = rates[i];
        o->progress = isatty(STDERR_FILENO) ? progress : NULL;
        o->user = &bar;
        SLM_TRY(slm_load_run(o, &result, error));
        slm_cli_clear_progress(&bar);
        if (json && i > 0) slm_buf_puts(&out, ",");
        (json ? add_json : n_rates > 1 ? add_row : add_report)(&out, o, &result);
        if (result.first_error.status != SLM_OK)
            fprintf(stderr, "slm: loadtest: not everything worked; first: %s: %s\n", result.first_error.where,
                    result.first_error.message);
        if (!json && !slm_cli_write(out.data, out.len)) break; /* each as it comes: sweeps take long */
        if (!json) slm_buf_clear(&out);
    }
    if (json) slm_buf_puts(&out, n_rates > 1 ? "]\n" : "\n");
    if (json) slm_cli_write(out.data, out.len);
    slm_buf_release(&out);
    return SLM_OK;
}

/* What was typed wrong is found before anything is sent. */
int slm_cli_loadtest(const struct slm_loadtest_options *o, const char *url)
{
    double rates[MOST_RATES] = {(double)o->rate};
    size_t n_rates = 1;
    struct slm_error error;
    struct slm_load_prompts prompts;
    struct slm_load_options load = {
        .completions = o->completions, .model = o->model, .key = o->key, .prompts = &prompts,
        .n_requests = o->n_requests ? (size_t)o->n_requests : 100, .concurrency = (size_t)o->concurrency,
        .seed = o->seed, .n_output = o->n_output ? o->n_output : 64, .ignore_eos = o->ignore_eos,
        .timeout_ms = (unsigned)(o->timeout_s > 0 ? (double)o->timeout_s * 1000 : 600e3)};
    if (o->rates && o->rate > 0) return slm_cli_usage("loadtest", "--rate and --rates: one of the two");
    if (o->rates && (n_rates = parse_rates(o->rates, rates)) == 0)
        return slm_cli_usage("loadtest", "--rates: '%s' is not allowed: up to %d numbers with commas between them "
                             "are, as 1,2,4", o->rates, MOST_RATES);
    for (size_t i = 0; i < o->goodput.n; i++)
        if (!parse_slo(o->goodput.items[i], load.slo))
            return slm_cli_usage("loadtest", "--goodput: '%s' is not allowed: ttft, tpot, itl or e2el, a colon and "
                                 "milliseconds are", o->goodput.items[i]);
    if (rates[0] <= 0 && load.concurrency == 0) load.concurrency = 8;
    if (slm_url_parse(url, &load.url, &error) != SLM_OK) return slm_cli_usage(error.where, "%s", error.message);
    /* The server's address alone will do. */
    if (!load.url.path[0]) snprintf(load.url.path, sizeof load.url.path, "/v1");
    if (get_prompts(o, load.n_requests, &prompts, &error) != SLM_OK) return slm_cli_fail(&error);
    const slm_status status = run_all(&load, rates, n_rates, o->json, &error);
    slm_load_release_prompts(&prompts);
    return status == SLM_OK ? slm_cli_finish() : slm_cli_fail(&error);
}
