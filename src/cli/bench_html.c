/* SPDX-License-Identifier: MIT
 *
 * What `slm bench` measured as one HTML page: facts, charts, every number in a table. A bar is a case; where a list had
 * several depths, sequences or threads there is also a line over them. Whiskers are the least and the most of the
 * repeats. Deliberately not here: how charts are drawn (chart.c), comparing models (compare_html.c). */
#include "cli/bench.h"
#include "cli/chart.h"

#include "base/os.h"

enum { MAX_LINES = 16 };

/* ---- cases in words -------------------------------------------------------------------------- */

/* What a case may differ in, beside being prefill or decode. */
static const struct dimension {
    size_t offset;
    const char *before, *after; /* the number, in a label; what stands after it has a plural */
    const char *axis;           /* title of a line chart over it; NULL = none */
} dimensions[] = {
    {offsetof(struct slm_bench_case, n), "", " token", NULL},
    {offsetof(struct slm_bench_case, depth), "depth ", "", "depth: tokens in the context before"},
    {offsetof(struct slm_bench_case, batch), "", " sequence", "sequences side by side"},
    {offsetof(struct slm_bench_case, threads), "", " thread", "threads"},
};
enum { N_DIMENSIONS = sizeof dimensions / sizeof *dimensions };

static int32_t value_of(const struct slm_bench_case *c, const struct dimension *d)
{
    int32_t value;
    memcpy(&value, (const char *)c + d->offset, sizeof value);
    return value;
}

/* "512 tokens, depth 4096": how many tokens, and what else differs between the cases, without `left_out`. */
static const char *label_of(char out[SLM_CHART_LABEL], const struct slm_bench_report *report,
                            const struct slm_bench_case *c, const struct dimension *left_out)
{
    size_t length = 0;
    out[0] = '\0';
    for (const struct dimension *d = dimensions; d < dimensions + N_DIMENSIONS; d++) {
        if (d == left_out || (d != dimensions && slm_bench_is_same(report, d->offset))) continue;
        if (length) length += (size_t)snprintf(out + length, SLM_CHART_LABEL - length, ", ");
        length += (size_t)snprintf(out + length, SLM_CHART_LABEL - length, "%s%d%s%s", d->before, (int)value_of(c, d),
                                   d->after, d->after[0] && value_of(c, d) != 1 ? "s" : "");
    }
    return out;
}

/* ---- charts ---------------------------------------------------------------------------------- */

/* For axes: as short as it goes. */
static const char *plain(char out[16], double value)
{
    if (value >= 10000) return slm_cli_count(out, value);
    snprintf(out, 16, "%.4g", value);
    return out;
}

/* What a mark says when it is asked. */
static void title_of(char out[SLM_CHART_TITLE], const struct slm_spread *s)
{
    snprintf(out, SLM_CHART_TITLE, "%.2f tokens/s, %.2f to %.2f", s->median, s->least, s->most);
}

/* A bar a case, its number at the end. */
static slm_status add_bars(struct slm_buf *out, const struct slm_bench_report *report, bool prefill,
                           struct slm_error *error)
{
    struct slm_bar *bars = slm_alloc(report->n_cases, sizeof *bars, "bench", error);
    if (!bars) return SLM_ERR_MEMORY;
    struct slm_bar_chart chart = {.what = prefill ? "prompt tokens per second" : "generated tokens per second",
                                  .bars = bars, .n_parts = 1, .colour = prefill ? 0 : 1};
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        if (c->prefill != prefill) continue;
        const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
        struct slm_bar *bar = &bars[chart.n++];
        *bar = (struct slm_bar){.parts = {s.median}, .least = s.least, .most = s.most};
        label_of(bar->label, report, c, NULL);
        snprintf(bar->value, sizeof bar->value, "%.1f", s.median);
        title_of(bar->title, &s);
    }
    slm_chart_bars(out, &chart);
    slm_release(bars);
    return SLM_OK;
}

/* The same but for the axis: on one line. */
static bool same_line(const struct slm_bench_case *a, const struct slm_bench_case *b, const struct dimension *axis)
{
    bool same = a->prefill == b->prefill;
    for (const struct dimension *d = dimensions; d < dimensions + N_DIMENSIONS; d++)
        same = same && (d == axis || value_of(a, d) == value_of(b, d));
    return same;
}

/* The line of cases like `first`, whatever order they are in: points rise along the axis. Returns how many. */
static size_t collect_line(const struct slm_bench_report *report, const struct slm_bench_case *first,
                           const struct dimension *axis, struct slm_point *points)
{
    size_t n = 0;
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        if (!same_line(c, first, axis)) continue;
        const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
        struct slm_point point = {.x = value_of(c, axis), .y = s.median, .least = s.least, .most = s.most};
        title_of(point.title, &s);
        /* Into its place: lists may be in any order. */
        size_t at = n++;
        for (; at > 0 && points[at - 1].x > point.x; at--) points[at] = points[at - 1];
        points[at] = point;
    }
    return n;
}

/* Nothing when all cases of the kind are at one place of the axis. */
static slm_status add_plot(struct slm_buf *out, const struct slm_bench_report *report, bool prefill,
                           const struct dimension *axis, struct slm_error *error)
{
    struct slm_line lines[MAX_LINES];
    char labels[MAX_LINES][SLM_CHART_LABEL];
    struct slm_plot plot = {.what = axis->axis, .x = {axis->axis, SLM_SCALE_STEPS, plain},
                            .y = {"tokens per second", SLM_SCALE_LINEAR, plain}, .lines = lines};
    size_t n_points = 0, longest = 0;
    struct slm_point *points = slm_alloc(report->n_cases, sizeof *points, "bench", error);
    if (!points) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < report->n_cases && plot.n_lines < MAX_LINES; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        bool drawn = c->prefill != prefill; /* the first case of its line draws all of it */
        for (size_t j = 0; j < i; j++) drawn = drawn || same_line(&report->cases[j], c, axis);
        if (drawn) continue;
        const size_t n = collect_line(report, c, axis, points + n_points);
        lines[plot.n_lines] = (struct slm_line){.points = points + n_points, .n = n, .colour = (int)plot.n_lines,
                                                .joined = true, .marked = true,
                                                .label = label_of(labels[plot.n_lines], report, c, axis)};
        plot.n_lines++;
        n_points += n;
        if (n > longest) longest = n;
    }
    if (longest > 1) slm_chart_plot(out, &plot);
    slm_release(points);
    return SLM_OK;
}

/* Prompts and generating have charts of their own: their rates are far apart. */
static slm_status add_charts(struct slm_buf *out, const struct slm_bench_report *report, bool prefill,
                             struct slm_error *error)
{
    if (!slm_bench_first(report, prefill)) return SLM_OK;
    slm_buf_printf(out, "<h2>%s, tokens per second</h2>\n", prefill ? "Reading a prompt" : "Generating");
    SLM_TRY(add_bars(out, report, prefill, error));
    for (const struct dimension *d = dimensions; d < dimensions + N_DIMENSIONS; d++)
        if (d->axis) SLM_TRY(add_plot(out, report, prefill, d, error));
    return SLM_OK;
}

/* ---- the rest of the page -------------------------------------------------------------------- */

/* A number with so many decimals. */
static void add_tile(struct slm_buf *out, const char *what, double value, int decimals, const char *unit)
{
    char text[32];
    snprintf(text, sizeof text, "%.*f%s", decimals, value, unit);
    slm_page_tile(out, text, what);
}

/* Of the first case of each kind, which the label names. */
static void add_tiles(struct slm_buf *out, const struct slm_bench_report *report)
{
    const struct slm_bench_case *pp = slm_bench_first(report, true), *tg = slm_bench_first(report, false);
    char size[16], what[48];
    const int32_t n = report->n_repeat;
    slm_buf_puts(out, "<div class=\"tiles\">\n");
    snprintf(what, sizeof what, "tokens/s, prompt of %d", pp ? pp->n : 0);
    if (pp) add_tile(out, what, slm_bench_spread(pp->tok_s, n).median, 1, "");
    snprintf(what, sizeof what, "tokens/s, generating %d", tg ? tg->n : 0);
    if (tg) add_tile(out, what, slm_bench_spread(tg->tok_s, n).median, 1, "");
    add_tile(out, "to open", slm_bench_spread(report->load_s, n).median, 3, " s");
    add_tile(out, "to the first token", slm_bench_spread(report->first_s, n).median, 3, " s");
    slm_page_tile(out, slm_cli_size(size, (double)report->peak_rss_bytes), "memory at most");
    if (tg && tg->joules >= 0) add_tile(out, "a generated token takes", slm_bench_joules(report, tg), 3, " J");
    slm_buf_puts(out, "</div>\n");
}

/* What the charts show, to be read and copied. */
static void add_table(struct slm_buf *out, const struct slm_bench_report *report)
{
    const bool energy = report->n_cases > 0 && report->cases[0].joules >= 0;
    slm_buf_puts(out, "<h2>All numbers</h2>\n");
    /* Energy is a column where the machine tells it. */
    slm_page_begin_table(out, (const char *const[]){"test", "tokens", "threads", "sequences", "depth", "tokens/s",
                                                    "least", "most", energy ? "J/token" : NULL, NULL});
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
        slm_buf_printf(out, "<tr><td>%s</td><td>%d</td><td>%d</td><td>%d</td><td>%d</td><td>%.2f</td><td>%.2f</td>"
                       "<td>%.2f</td>", c->prefill ? "prompt" : "generate", c->n, c->threads, c->batch, c->depth,
                       s.median, s.least, s.most);
        if (energy) slm_buf_printf(out, "<td>%.3f</td>", slm_bench_joules(report, c));
        slm_buf_puts(out, "</tr>\n");
    }
    slm_page_end_table(out);
}

/* Head and facts, charts, table, and what the numbers mean. */
slm_status slm_bench_html(struct slm_buf *out, const struct slm_bench_report *report, struct slm_error *error)
{
    char size[16], count[16];
    const bool energy = report->n_cases > 0 && report->cases[0].joules >= 0;
    const char *slash = strrchr(report->name, '/');
    slm_page_begin(out, slash ? slash + 1 : report->name);
    slm_buf_puts(out, "<p>");
    slm_page_text(out, report->info.architecture);
    slm_buf_printf(out, ", %s parameters, %s, measured on ", slm_cli_count(count, (double)report->info.n_params),
                   slm_cli_size(size, (double)report->info.file_bytes));
    slm_page_text(out, report->cpu);
    slm_buf_printf(out, " with %s kernels by slm %s</p>\n", report->kernels, slm_version());
    add_tiles(out, report);
    SLM_TRY(add_charts(out, report, true, error));
    SLM_TRY(add_charts(out, report, false, error));
    add_table(out, report);
    slm_buf_printf(out, "<p>Bars, points and the column tokens/s are medians of %d; whiskers go from the least to the "
                   "most. The first token is the one behind a prompt of %d, counted from before the model was opened."
                   "%s</p>\n", report->n_repeat, SLM_BENCH_FIRST_PROMPT,
                   energy ? "" : " Energy is not known: no counter in /sys/class/powercap could be read.");
    slm_page_end(out);
    return SLM_OK;
}
