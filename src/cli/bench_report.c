/* SPDX-License-Identifier: MIT
 *
 * What `slm bench` measured, as JSON for scripts and as a table for people. The fields of the JSON that stand outside
 * of "cases" are those of the first case of their kind: whoever measures one thing need not look further. New fields
 * may be added, none is renamed. */
#include "cli/bench.h"

#include "base/os.h"

/* Of a copy: the order in which values were measured matters to who pairs them up. */
struct slm_spread slm_bench_spread(const double *values, int32_t n)
{
    double sorted[SLM_BENCH_REPEATS];
    SLM_ASSERT(n >= 1 && n <= SLM_BENCH_REPEATS);
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    const double median = slm_cli_median(sorted, (size_t)n);
    return (struct slm_spread){median, sorted[0], sorted[n - 1]};
}

/* Counters run on for every program of the machine, and so does the time they are divided by. */
double slm_bench_joules(const struct slm_bench_report *report, const struct slm_bench_case *c)
{
    return c->joules < 0 ? -1 : c->joules / ((double)c->n * c->batch * report->n_repeat);
}

const struct slm_bench_case *slm_bench_first(const struct slm_bench_report *report, bool prefill)
{
    for (size_t i = 0; i < report->n_cases; i++)
        if (report->cases[i].prefill == prefill) return &report->cases[i];
    return NULL;
}

/* The field at this offset. */
static int32_t value_at(const struct slm_bench_case *c, size_t offset)
{
    int32_t value;
    memcpy(&value, (const char *)c + offset, sizeof value);
    return value;
}

bool slm_bench_is_same(const struct slm_bench_report *report, size_t offset)
{
    for (size_t i = 1; i < report->n_cases; i++)
        if (value_at(&report->cases[i], offset) != value_at(report->cases, offset)) return false;
    return true;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* "name": median, "name_all": [...]; null and [] when it was not measured. */
static void add_values(struct slm_buf *out, const char *name, const double *values, int32_t n)
{
    char key[64];
    snprintf(key, sizeof key, "%s_all", name);
    slm_json_key(out, name);
    if (values)
        slm_json_double(out, slm_bench_spread(values, n).median);
    else
        slm_buf_puts(out, "null");
    slm_json_key(out, key);
    slm_buf_puts(out, "[");
    for (int32_t i = 0; i < n && values; i++) {
        if (i) slm_buf_puts(out, ",");
        slm_json_double(out, values[i]);
    }
    slm_buf_puts(out, "]");
}

/* null where the machine does not tell. */
static void add_joules(struct slm_buf *out, double joules)
{
    slm_json_key(out, "joules_per_tok");
    if (joules < 0)
        slm_buf_puts(out, "null");
    else
        slm_json_double(out, joules);
}

/* "pp" and "tg" are what llama-bench calls them. */
static void add_case(struct slm_buf *out, const struct slm_bench_report *report, const struct slm_bench_case *c)
{
    slm_buf_puts(out, "{");
    slm_json_text(out, "test", c->prefill ? "pp" : "tg");
    slm_json_i64(out, "n", c->n);
    slm_json_i64(out, "depth", c->depth);
    slm_json_i64(out, "batch", c->batch);
    slm_json_i64(out, "threads", c->threads);
    add_values(out, "tok_s", c->tok_s, report->n_repeat);
    add_joules(out, slm_bench_joules(report, c));
    slm_buf_puts(out, "}");
}

/* The order is for people who read it raw: what it was, then what came out. */
void slm_bench_json(struct slm_buf *out, const struct slm_bench_report *report)
{
    const struct slm_bench_case *pp = slm_bench_first(report, true), *tg = slm_bench_first(report, false);
    /* Scripts of the time when there was one case read its settings here. */
    const struct slm_bench_case *any = report->n_cases > 0 ? report->cases : NULL;
    slm_buf_puts(out, "{");
    slm_json_text(out, "model", report->name);
    slm_json_text(out, "architecture", report->info.architecture);
    slm_json_i64(out, "n_params", (int64_t)report->info.n_params);
    slm_json_i64(out, "file_bytes", (int64_t)report->info.file_bytes);
    slm_json_i64(out, "weight_bytes_per_tok", (int64_t)report->weight_bytes);
    slm_json_i64(out, "macs_per_prompt_tok", (int64_t)report->n_macs);
    slm_json_text(out, "cpu", report->cpu);
    slm_json_text(out, "kernels", report->kernels);
    slm_json_i64(out, "n_prompt", pp ? pp->n : 0);
    slm_json_i64(out, "n_gen", tg ? tg->n : 0);
    slm_json_i64(out, "batch", any ? any->batch : 0);
    slm_json_i64(out, "depth", any ? any->depth : 0);
    slm_json_i64(out, "threads", any ? any->threads : 0);
    slm_json_i64(out, "repeat", report->n_repeat);
    /* The medians, and every value they are of: whoever compares two programs wants to pair them up. */
    add_values(out, "pp_tok_s", pp ? pp->tok_s : NULL, report->n_repeat);
    add_values(out, "tg_tok_s", tg ? tg->tok_s : NULL, report->n_repeat);
    add_values(out, "load_s", report->load_s, report->n_repeat);
    add_values(out, "first_token_s", report->first_s, report->n_repeat);
    slm_json_i64(out, "rss_bytes", (int64_t)report->rss_bytes);
    slm_json_i64(out, "peak_rss_bytes", (int64_t)report->peak_rss_bytes);
    slm_json_key(out, "cases");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < report->n_cases; i++) {
        if (i) slm_buf_puts(out, ",");
        add_case(out, report, &report->cases[i]);
    }
    slm_buf_puts(out, "]}\n");
}

/* ---- table ----------------------------------------------------------------------------------- */

/* "load             0.213 s (0.209 to 0.230)". */
static void add_seconds(struct slm_buf *out, const char *what, const double *values, int32_t n)
{
    const struct slm_spread s = slm_bench_spread(values, n);
    slm_buf_printf(out, "%-16s %.3f s (%.3f to %.3f)\n", what, s.median, s.least, s.most);
}

/* Facts, then one line a case. */
void slm_bench_text(struct slm_buf *out, const struct slm_bench_report *report)
{
    char size[16], count[16];
    const bool energy = report->n_cases > 0 && report->cases[0].joules >= 0;
    slm_buf_printf(out, "model            %s, %s, %s parameters, %s\n", report->name, report->info.architecture,
                   slm_cli_count(count, (double)report->info.n_params),
                   slm_cli_size(size, (double)report->info.file_bytes));
    slm_buf_printf(out, "machine          %s, kernels %s\n", report->cpu, report->kernels);
    add_seconds(out, "load", report->load_s, report->n_repeat);
    add_seconds(out, "first token", report->first_s, report->n_repeat);
    slm_buf_printf(out, "memory           %s at most\n", slm_cli_size(size, (double)report->peak_rss_bytes));
    slm_buf_printf(out, "energy           %s\n\n",
                   energy ? "of all CPU packages, whoever uses them"
                          : "not known: no counter in /sys/class/powercap that this user may read");
    slm_buf_printf(out, "%-14s %7s %9s %7s %12s   %s\n", "test", "threads", "sequences", "depth", "tokens/s",
                   energy ? "least to most         J/token" : "least to most");
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
        /* The last column is padded only when another follows: no line ends in spaces. */
        char what[32], spread[48];
        snprintf(what, sizeof what, "%s %d", c->prefill ? "prompt" : "generate", c->n);
        snprintf(spread, sizeof spread, "%.2f to %.2f", s.least, s.most);
        slm_buf_printf(out, "%-14s %7d %9d %7d %12.2f   %*s", what, c->threads, c->batch, c->depth, s.median,
                       energy ? -21 : 0, spread);
        if (energy) slm_buf_printf(out, " %7.3f", slm_bench_joules(report, c));
        slm_buf_puts(out, "\n");
    }
}
