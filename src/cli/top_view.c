/* SPDX-License-Identifier: MIT
 *
 * See top_view.h. Rows are cut at the window's width in characters, not bytes; what a server calls its models is
 * escaped before it reaches a terminal: a name with escape sequences in it must not act there. Deliberately not here:
 * when anything is asked or drawn (top_run.c). */
#include "cli/top_view.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "cli/cli.h"

/* vLLM's words for why an answer ended, ours for what takes time. */
const char *const slm_top_reasons[4] = {"stop", "length", "abort", "error"};
const char *const slm_top_latencies[SLM_TOP_LATENCIES] = {"ttft", "itl", "tpot", "e2e"};
static const struct { const char *metric, *title; } latencies[SLM_TOP_LATENCIES] = {
    {"vllm:time_to_first_token_seconds", "first token"},
    {"vllm:inter_token_latency_seconds", "between tokens"},
    {"vllm:request_time_per_output_token_seconds", "a token, mean"},
    {"vllm:e2e_request_latency_seconds", "whole answer"},
};
/* The middle, the slow, the slowest that still matter. */
static const double shares[3] = {.5, .95, .99};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* A counter's growth a second; a server that began anew counts from 0 again. */
static double rate(const struct slm_scrape *before, const struct slm_scrape *now, const char *name, double seconds)
{
    const double a = before ? slm_scrape_sum(before, name) : NAN, b = slm_scrape_sum(now, name);
    return seconds > 0 && b >= a ? (b - a) / seconds : NAN;
}

/* The oldest falls out of a full one. */
static void remember(double *history, size_t n, double value)
{
    if (n == SLM_TOP_HISTORY) memmove(history, history + 1, (n - 1) * sizeof *history);
    history[n == SLM_TOP_HISTORY ? n - 1 : n] = value;
}

/* Everything is looked up by name, so a server that lacks one shows a dash there and no zero. */
void slm_top_read(struct slm_top *top, const struct slm_scrape *before, const struct slm_scrape *far,
                  const struct slm_scrape *now, double seconds)
{
    top->running = slm_scrape_sum(now, "vllm:num_requests_running");
    top->waiting = slm_scrape_sum(now, "vllm:num_requests_waiting");
    top->connections = slm_scrape_sum(now, "slm_http_connections");
    top->up_s = top->unix_s - slm_scrape_sum(now, "process_start_time_seconds");
    top->kv_pages = slm_scrape_sum(now, "slm_kv_pages");
    /* Shares of several models do not add up; other servers have a share alone. */
    const double used = slm_scrape_sum(now, "slm_kv_pages_used");
    top->kv_share = isnan(used) ? slm_scrape_sum(now, "vllm:kv_cache_usage_perc")
                                : used / (top->kv_pages > 0 ? top->kv_pages : 1);
    top->kv_cached = slm_scrape_sum(now, "slm_kv_pages_cached");
    top->prefix_share = slm_scrape_sum(now, "vllm:prefix_cache_hits_total") /
                        slm_scrape_sum(now, "vllm:prefix_cache_queries_total");
    top->prompt_rate = rate(before, now, "vllm:prompt_tokens_total", seconds);
    top->answer_rate = rate(before, now, "vllm:generation_tokens_total", seconds);
    for (size_t i = 0; i < 4; i++)
        top->ended[i] = slm_scrape_where(now, "vllm:request_success_total", "finished_reason", slm_top_reasons[i]);
    for (size_t i = 0; i < SLM_TOP_LATENCIES; i++)
        for (size_t k = 0; k < 3; k++)
            top->latency[i][k] = slm_scrape_quantile(far, now, latencies[i].metric, shares[k]);
    if (!before) return;
    remember(top->prompt_history, top->n_history, top->prompt_rate);
    remember(top->answer_history, top->n_history, top->answer_rate);
    if (top->n_history < SLM_TOP_HISTORY) top->n_history++;
}

/* Cut to its room; what a terminal could take for a command becomes \xNN. */
static void copy_text(char *out, size_t cap, const json_t *value)
{
    slm_escape(out, cap, (struct slm_str){json_string_value(value), json_string_length(value)});
}

/* "2026-11-21T19:55:21.5Z" in Unix time; NaN: it is none. */
static double unix_time(const char *text)
{
    struct tm tm = {.tm_isdst = 0};
    int n = 0;
    if (!text || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                        &tm.tm_min, &tm.tm_sec, &n) != 6)
        return NAN;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (double)timegm(&tm);
}

/* A time to leave that is years away is how Ollama says never. */
void slm_top_read_models(struct slm_top *top, struct slm_str json)
{
    json_t *root = json_loadb(json.ptr ? json.ptr : "", json.len, 0, NULL);
    const json_t *models = json_object_get(root, "models");
    const double a_year = 365 * 86400;
    top->n_models = 0;
    for (size_t i = 0; i < json_array_size(models) && i < SLM_TOP_MODELS; i++) {
        const json_t *from = json_array_get(models, i), *details = json_object_get(from, "details");
        struct slm_top_model *m = &top->models[top->n_models++];
        copy_text(m->name, sizeof m->name, json_object_get(from, "name"));
        copy_text(m->family, sizeof m->family, json_object_get(details, "family"));
        copy_text(m->params, sizeof m->params, json_object_get(details, "parameter_size"));
        m->bytes = json_number_value(json_object_get(from, "size"));
        m->n_ctx = json_number_value(json_object_get(from, "context_length"));
        m->leaves_s = unix_time(json_string_value(json_object_get(from, "expires_at"))) - top->unix_s;
        if (m->leaves_s > a_year) m->leaves_s = -1;
        else if (m->leaves_s < 0) m->leaves_s = 0;
    }
    json_decref(root);
}

/* ---- numbers as text --------------------------------------------------------------------------------------------- */

/* Returned by value, so that several fit into one call. */
struct text { char s[40]; };

/* Three digits and what they are of. */
static struct text number(double value, const char *unit)
{
    struct text t = {"–"};
    const int places = value >= 100 || value == floor(value) ? 0 : 1;
    if (isfinite(value)) snprintf(t.s, sizeof t.s, "%.*f%s", places, value, unit);
    return t;
}

/* In the unit that leaves two or three digits. */
static struct text duration(double s)
{
    struct text t = {"–"};
    if (!isfinite(s)) return t;
    if (s < 1) snprintf(t.s, sizeof t.s, s < 0.01 ? "%.1f ms" : "%.0f ms", s * 1000);
    else if (s < 100) snprintf(t.s, sizeof t.s, s < 10 ? "%.2f s" : "%.1f s", s);
    else if (s < 5400) snprintf(t.s, sizeof t.s, "%.0f min", s / 60);
    else if (s < 2 * 86400) snprintf(t.s, sizeof t.s, "%.1f h", s / 3600);
    else snprintf(t.s, sizeof t.s, "%.0f days", s / 86400);
    return t;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Where rows go, and what they are dressed in. */
struct page {
    struct slm_buf *out;
    size_t width, height, n;
    const char *end, *bold, *dim, *plain;
};

/* One row of plain text, cut at the width; style before it. Columns are counted as characters: every one used here is
 * as wide as one. */
static void row(struct page *p, const char *style, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void row(struct page *p, const char *style, const char *format, ...)
{
    char line[1024];
    va_list args;
    if (p->height && p->n == p->height) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t at = 0, columns = 0;
    while (line[at] && columns < p->width) {
        at++;
        while (((unsigned char)line[at] & 0xc0) == 0x80) at++;
        columns++;
    }
    while (at > 0 && line[at - 1] == ' ') at--; /* the end of the row is cleared by its caller */
    slm_buf_printf(p->out, "%s%.*s%s%s", style, (int)at, line, *style ? p->plain : "", p->end);
    p->n++;
}

/* The last `columns` values, in eighths of the greatest. */
static void add_spark(char *out, size_t cap, const double *values, size_t n, size_t columns)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double most = 0; /* fmax passes over what is not known */
    size_t len = 0;
    for (size_t i = n > columns ? n - columns : 0; i < n; i++) most = fmax(most, values[i]);
    for (size_t i = n > columns ? n - columns : 0; i < n && len + 4 < cap; i++) {
        const double share = most > 0 && isfinite(values[i]) ? values[i] / most : 0;
        len += (size_t)snprintf(out + len, cap - len, "%s", bars[(int)fmin(7, share * 8)]);
    }
    out[len] = '\0';
}

/* The curves have what is left of the width. */
static void add_speeds(struct page *p, const struct slm_top *top)
{
    char spark[3 * SLM_TOP_HISTORY + 8];
    const size_t room = p->width > 40 ? p->width - 36 : 4, columns = room < SLM_TOP_HISTORY ? room : SLM_TOP_HISTORY;
    add_spark(spark, sizeof spark, top->prompt_history, top->n_history, columns);
    row(p, "", "tokens/s        prompts %10s  %s", number(top->prompt_rate, "").s, spark);
    add_spark(spark, sizeof spark, top->answer_history, top->n_history, columns);
    row(p, "", "                answers %10s  %s", number(top->answer_rate, "").s, spark);
}

/* A bar of twenty, then the numbers. */
static void add_cache(struct page *p, const struct slm_top *top)
{
    char bar[3 * 20 + 1] = "";
    const size_t full = isfinite(top->kv_share) ? (size_t)fmin(20, fmax(0, round(top->kv_share * 20))) : 0;
    for (size_t i = 0; i < 20; i++) memcpy(bar + 3 * i, i < full ? "█" : "░", 3);
    row(p, "", "KV cache        %s  %s of %s pages, %s kept for prompts to come", bar,
        number(100 * top->kv_share, " %").s, number(top->kv_pages, "").s, number(top->kv_cached, "").s);
    row(p, "", "prefix cache    %s of all prompt tokens were found there", number(100 * top->prefix_share, " %").s);
}

/* Last, since there may be many: a low window cuts them. */
static void add_models(struct page *p, const struct slm_top *top)
{
    row(p, "", " ");
    row(p, p->bold, "%-28s %-12s %10s %9s %8s  %s", "MODEL", "FAMILY", "PARAMETERS", "FILE", "CONTEXT", "LEAVES IN");
    if (top->n_models == 0) row(p, p->dim, "none is loaded");
    for (size_t i = 0; i < top->n_models; i++) {
        const struct slm_top_model *m = &top->models[i];
        char size[16];
        row(p, "", "%-28s %-12s %10s %9s %8.0f  %s", m->name, m->family, m->params, slm_cli_size(size, m->bytes),
            m->n_ctx, m->leaves_s < 0 ? "stays" : duration(m->leaves_s).s);
    }
}

/* The order is that of worry: is it there, is it busy, is it fast, is it full. */
void slm_top_write(const struct slm_top *top, size_t width, size_t height, bool colour, const char *end,
                   struct slm_buf *out)
{
    struct page p = {.out = out, .width = width, .height = height, .end = end, .bold = colour ? "\033[1m" : "",
                     .dim = colour ? "\033[2m" : "", .plain = colour ? "\033[0m" : ""};
    row(&p, p.bold, "slm top  %s  up %s", top->url, duration(top->up_s).s);
    if (top->trouble[0]) row(&p, colour ? "\033[31m" : "", "%s", top->trouble);
    row(&p, "", " ");
    row(&p, "", "requests        %s running, %s waiting; %s connections", number(top->running, "").s,
        number(top->waiting, "").s, number(top->connections, "").s);
    add_speeds(&p, top);
    add_cache(&p, top);
    row(&p, "", "answers ended   %s by themselves, %s at their length, %s broken off, %s failed",
        number(top->ended[0], "").s, number(top->ended[1], "").s, number(top->ended[2], "").s,
        number(top->ended[3], "").s);
    row(&p, "", " ");
    row(&p, p.bold, "%-14s %10s %10s %10s", "LATENCY", "p50", "p95", "p99");
    for (size_t i = 0; i < SLM_TOP_LATENCIES; i++)
        row(&p, "", "%-14s %10s %10s %10s", latencies[i].title, duration(top->latency[i][0]).s,
            duration(top->latency[i][1]).s, duration(top->latency[i][2]).s);
    add_models(&p, top);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* What is not known is null. */
void slm_top_write_json(const struct slm_top *top, struct slm_buf *out)
{
    const struct { const char *name; double value; } rows[] = {
        {"up_s", top->up_s}, {"running", top->running}, {"waiting", top->waiting}, {"connections", top->connections},
        {"prompt_tokens_per_s", top->prompt_rate}, {"generated_tokens_per_s", top->answer_rate},
        {"kv_usage", top->kv_share}, {"kv_pages", top->kv_pages}, {"kv_pages_cached", top->kv_cached},
        {"prefix_hit_rate", top->prefix_share}};
    slm_buf_puts(out, "{");
    slm_json_text(out, "url", top->url);
    slm_json_text(out, "trouble", top->trouble[0] ? top->trouble : NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) slm_json_real(out, rows[i].name, rows[i].value);
    slm_json_key(out, "ended");
    slm_buf_puts(out, "{");
    for (size_t i = 0; i < 4; i++) slm_json_real(out, slm_top_reasons[i], top->ended[i]);
    slm_buf_puts(out, "}");
    for (size_t i = 0; i < SLM_TOP_LATENCIES; i++) {
        slm_json_key(out, slm_top_latencies[i]);
        slm_buf_puts(out, "{");
        slm_json_real(out, "p50_s", top->latency[i][0]);
        slm_json_real(out, "p95_s", top->latency[i][1]);
        slm_json_real(out, "p99_s", top->latency[i][2]);
        slm_buf_puts(out, "}");
    }
    slm_json_key(out, "models");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < top->n_models; i++) {
        slm_buf_puts(out, i ? ",{" : "{");
        slm_json_text(out, "name", top->models[i].name);
        slm_json_real(out, "bytes", top->models[i].bytes);
        slm_json_real(out, "n_ctx", top->models[i].n_ctx);
        slm_json_real(out, "leaves_in_s", top->models[i].leaves_s < 0 ? NAN : top->models[i].leaves_s);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]}\n");
}
