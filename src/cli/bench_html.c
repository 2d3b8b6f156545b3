/* SPDX-License-Identifier: MIT
 *
 * What `slm bench` measured as one HTML page: facts, charts drawn as SVG, every number in a table. It loads nothing
 * from anywhere and runs no script, so it can be mailed, kept and opened in ten years; light or dark is the reader's
 * setting. A bar is a case; where a list had several depths, sequences or threads there is also a line over them.
 * Whiskers are the least and the most of the repeats. Deliberately not here: comparing two reports. */
#include "cli/bench.h"

#include <math.h>

enum { WIDTH = 720, COLOURS = 6, MAX_POINTS = SLM_MAX_INTS };

/* Colours stand here once for each of the two settings; charts name them as variables. Series colours are far enough
 * from each other for most eyes, and the legend is not the only place that tells them apart: every mark has a title. */
static const char page_head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>slm bench</title>\n<style>\n"
    ":root{color-scheme:light dark;--back:#fff;--card:#f5f6f8;--text:#1b1f24;--dim:#59636e;--line:#d5d9de;"
    "--c0:#2563c9;--c1:#c2570c;--c2:#0f7b5f;--c3:#8b3fb0;--c4:#b3261e;--c5:#6b6b00}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#14171b;--card:#1d2126;--text:#e6e9ec;--dim:#9aa4ae;"
    "--line:#343a41;--c0:#6ea3ff;--c1:#f2954f;--c2:#4cc9a4;--c3:#c98bea;--c4:#f2827b;--c5:#cfcf5a}}\n"
    "body{margin:0 auto;padding:1.5rem;max-width:48rem;background:var(--back);color:var(--text);"
    "font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}"
    "p{margin:.25rem 0;color:var(--dim)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1.25rem 0}\n"
    ".tile{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}"
    ".tile b{display:block;font-size:1.35rem;line-height:1.3}.tile span{color:var(--dim);font-size:.85rem}\n"
    "svg{display:block;width:100%;min-width:34rem;height:auto;margin-top:.75rem}"
    "svg text{fill:var(--text);font:13px system-ui,sans-serif}"
    "svg .dim{fill:var(--dim)}svg .grid{stroke:var(--line)}svg .whisker{stroke:var(--text);stroke-width:1.5}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.25rem 1rem;font-size:.85rem;color:var(--dim)}"
    ".legend i{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;margin-right:.35rem}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}"
    "th{color:var(--dim);font-weight:600}th:first-child,td:first-child{text-align:left}\n"
    "</style>\n</head>\n<body>\n";

/* Paths and names are whatever somebody called them. */
static void add_escaped(struct slm_buf *out, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;"
                           : *text == '"' ? "&quot;" : NULL;
        if (entity) slm_buf_puts(out, entity);
        else slm_buf_add(out, text, 1);
    }
}

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
enum { N_DIMENSIONS = sizeof dimensions / sizeof *dimensions, LABEL_BYTES = 96 };

static int32_t value_of(const struct slm_bench_case *c, const struct dimension *d)
{
    int32_t value;
    memcpy(&value, (const char *)c + d->offset, sizeof value);
    return value;
}

/* "512 tokens, depth 4096": how many tokens, and what else differs between the cases, without `left_out`. */
static const char *label_of(char out[LABEL_BYTES], const struct slm_bench_report *report,
                            const struct slm_bench_case *c, const struct dimension *left_out)
{
    size_t length = 0;
    out[0] = '\0';
    for (const struct dimension *d = dimensions; d < dimensions + N_DIMENSIONS; d++) {
        if (d == left_out || (d != dimensions && slm_bench_is_same(report, d->offset))) continue;
        if (length) length += (size_t)snprintf(out + length, LABEL_BYTES - length, ", ");
        length += (size_t)snprintf(out + length, LABEL_BYTES - length, "%s%d%s%s", d->before, (int)value_of(c, d),
                                   d->after, d->after[0] && value_of(c, d) != 1 ? "s" : "");
    }
    return out;
}

/* ---- charts ---------------------------------------------------------------------------------- */

/* A round number not below most, so that the grid has readable marks: 1, 2, 2.5, 4, 5 or 8 times a power of ten. */
static double scale_end(double most)
{
    static const double steps[] = {1, 2, 2.5, 4, 5, 8, 10};
    double power = 1;
    if (!(most > 0)) return 1;
    while (power > most) power /= 10;
    while (power * 10 < most) power *= 10;
    /* power <= most <= 10 * power, so the last step always does. */
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (steps[i] * power >= most) return steps[i] * power;
    return most;
}

/* Of the repeats too, so that whiskers stay inside. */
static double most_of(const struct slm_bench_report *report, bool prefill)
{
    double most = 0;
    for (size_t i = 0; i < report->n_cases; i++)
        if (report->cases[i].prefill == prefill)
            most = fmax(most, slm_bench_spread(report->cases[i].tok_s, report->n_repeat).most);
    return most;
}

/* On a narrow screen a chart scrolls sideways instead of shrinking beyond reading. */
static void begin_svg(struct slm_buf *out, int height, const char *what)
{
    slm_buf_printf(out, "<div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", WIDTH,
                   height, what);
}

/* A horizontal bar a case, its number at the end. */
static void add_bars(struct slm_buf *out, const struct slm_bench_report *report, bool prefill)
{
    enum { LEFT = 250, RIGHT = 90, ROW = 30, BAR = 18 };
    /* Room on the left for the longest label, on the right for a number behind the longest bar. */
    const double per_px = scale_end(most_of(report, prefill)) / (double)(WIDTH - LEFT - RIGHT), left = LEFT;
    int n = 0;
    for (size_t i = 0; i < report->n_cases; i++) n += report->cases[i].prefill == prefill; /* rows, for the height */
    begin_svg(out, n * ROW, prefill ? "prompt tokens per second" : "generated tokens per second");
    int y = 0;
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        if (c->prefill != prefill) continue;
        const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
        const int middle = y + ROW / 2;
        char label[LABEL_BYTES];
        const double least = left + s.least / per_px, most = left + s.most / per_px;
        slm_buf_printf(out, "<g><title>%.2f tokens/s, %.2f to %.2f</title><text x=\"%d\" y=\"%d\" text-anchor=\"end\">"
                       "%s</text><rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"3\" fill=\"var(--c%d)\"/>",
                       s.median, s.least, s.most, LEFT - 10, middle + 5, label_of(label, report, c, NULL), LEFT,
                       middle - BAR / 2, s.median / per_px, BAR, prefill ? 0 : 1);
        if (s.most > s.least)
            slm_buf_printf(out, "<path class=\"whisker\" fill=\"none\" d=\"M%.1f %dv8m0-4H%.1fm0-4v8\"/>",
                           least, middle - 4, most);
        slm_buf_printf(out, "<text x=\"%.1f\" y=\"%d\">%.1f</text></g>\n", most + 8, middle + 5, s.median);
        y += ROW;
    }
    slm_buf_puts(out, "</svg></div>\n");
}

struct plot { /* a line chart's frame */
    const struct slm_bench_report *report;
    const struct dimension *axis;
    int32_t values[MAX_POINTS]; /* along the axis, rising */
    size_t n;
    double end;                 /* of the upward scale */
};
enum { PLOT_LEFT = 64, PLOT_RIGHT = 40, PLOT_TOP = 14, PLOT_BOTTOM = 250, PLOT_HEIGHT = 300 };

/* Evenly spaced: depths like 0, 512, 4096 would crowd at one end of a true scale. */
static double x_of(const struct plot *p, int32_t value)
{
    size_t i = 0;
    while (p->values[i] != value) i++;
    return (double)(PLOT_LEFT + 24) + (double)i * (double)(WIDTH - PLOT_LEFT - PLOT_RIGHT - 48) / (double)(p->n - 1);
}

/* Zero is at the bottom: a line that falls by a tenth looks like it. */
static double y_of(const struct plot *p, double rate)
{
    return (double)PLOT_BOTTOM - rate / p->end * (double)(PLOT_BOTTOM - PLOT_TOP);
}

/* Every value the cases of this kind have there, once each. */
static void collect_values(struct plot *p, bool prefill)
{
    for (size_t c = 0; c < p->report->n_cases; c++) {
        const int32_t value = value_of(&p->report->cases[c], p->axis);
        size_t at = 0;
        while (at < p->n && p->values[at] < value) at++;
        if (p->report->cases[c].prefill != prefill || (at < p->n && p->values[at] == value) || p->n == MAX_POINTS)
            continue;
        memmove(p->values + at + 1, p->values + at, (p->n - at) * sizeof *p->values);
        p->values[at] = value;
        p->n++;
    }
}

/* The same but for the axis: on one line. */
static bool same_line(const struct slm_bench_case *a, const struct slm_bench_case *b, const struct dimension *axis)
{
    bool same = a->prefill == b->prefill;
    for (const struct dimension *d = dimensions; d < dimensions + N_DIMENSIONS; d++)
        same = same && (d == axis || value_of(a, d) == value_of(b, d));
    return same;
}

/* The first case of its line draws all of it. */
static bool begins_line(const struct plot *p, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (same_line(&p->report->cases[j], &p->report->cases[i], p->axis)) return false;
    return true;
}

/* The line through the medians, then a mark and a whisker at each. */
static void add_line(struct slm_buf *out, const struct plot *p, const struct slm_bench_case *first, int colour)
{
    const struct slm_bench_report *report = p->report;
    bool moved = false;
    slm_buf_printf(out, "<path fill=\"none\" stroke=\"var(--c%d)\" stroke-width=\"2\" d=\"", colour);
    for (size_t v = 0; v < p->n; v++) /* in the order of the axis, whatever that of the list was */
        for (size_t i = 0; i < report->n_cases; i++) {
            const struct slm_bench_case *c = &report->cases[i];
            if (!same_line(c, first, p->axis) || value_of(c, p->axis) != p->values[v]) continue;
            const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
            slm_buf_printf(out, "%c%.1f %.1f", moved ? 'L' : 'M', x_of(p, p->values[v]), y_of(p, s.median));
            moved = true;
        }
    slm_buf_puts(out, "\"/>\n");
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        if (!same_line(c, first, p->axis)) continue;
        const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
        const double x = x_of(p, value_of(c, p->axis));
        slm_buf_printf(out, "<g><title>%.2f tokens/s, %.2f to %.2f</title><path stroke=\"var(--c%d)\" d=\"M%.1f %.1fV"
                       "%.1f\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"var(--c%d)\"/></g>\n", s.median, s.least,
                       s.most, colour, x, y_of(p, s.least), y_of(p, s.most), x, y_of(p, s.median), colour);
    }
}

/* Lines at quarters of the scale, the axis below. */
static void add_grid(struct slm_buf *out, const struct plot *p)
{
    for (int i = 0; i <= 4; i++) {
        const double y = y_of(p, p->end * i / 4);
        slm_buf_printf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"dim\" x=\"%d\" y=\"%.1f\" "
                       "text-anchor=\"end\">%.*f</text>\n", PLOT_LEFT, y, WIDTH - PLOT_RIGHT, PLOT_LEFT - 8, y + 4,
                       p->end < 40 ? 2 : 0, p->end * i / 4);
    }
    for (size_t v = 0; v < p->n; v++)
        slm_buf_printf(out, "<text class=\"dim\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n",
                       x_of(p, p->values[v]), PLOT_BOTTOM + 20, (int)p->values[v]);
    slm_buf_printf(out, "<text class=\"dim\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                   (PLOT_LEFT + WIDTH - PLOT_RIGHT) / 2, PLOT_BOTTOM + 42, p->axis->axis);
}

/* Nothing when all cases of the kind are at one place of the axis. */
static void add_plot(struct slm_buf *out, const struct slm_bench_report *report, bool prefill,
                     const struct dimension *axis)
{
    struct plot p = {.report = report, .axis = axis, .end = scale_end(most_of(report, prefill))};
    int colour = 0;
    collect_values(&p, prefill);
    if (p.n < 2) return;
    begin_svg(out, PLOT_HEIGHT, axis->axis);
    add_grid(out, &p);
    for (size_t i = 0; i < report->n_cases; i++)
        if (report->cases[i].prefill == prefill && begins_line(&p, i))
            add_line(out, &p, &report->cases[i], colour++ % COLOURS);
    /* In the same order, so with the same colours. */
    slm_buf_puts(out, "</svg></div>\n<div class=\"legend\">");
    colour = 0;
    for (size_t i = 0; i < report->n_cases; i++) {
        char label[LABEL_BYTES];
        if (report->cases[i].prefill != prefill || !begins_line(&p, i)) continue;
        slm_buf_printf(out, "<span><i style=\"background:var(--c%d)\"></i>%s</span>", colour++ % COLOURS,
                       label_of(label, report, &report->cases[i], axis));
    }
    slm_buf_puts(out, "</div>\n");
}

/* Prompts and generating have charts of their own: their rates are far apart. */
static void add_charts(struct slm_buf *out, const struct slm_bench_report *report, bool prefill)
{
    if (!slm_bench_first(report, prefill)) return;
    slm_buf_printf(out, "<h2>%s, tokens per second</h2>\n", prefill ? "Reading a prompt" : "Generating");
    add_bars(out, report, prefill);
    for (const struct dimension *d = dimensions; d < dimensions + N_DIMENSIONS; d++)
        if (d->axis) add_plot(out, report, prefill, d);
}

/* ---- the rest of the page -------------------------------------------------------------------- */

/* A large number and what it is. */
static void add_tile(struct slm_buf *out, const char *what, double value, int decimals, const char *unit)
{
    slm_buf_printf(out, "<div class=\"tile\"><b>%.*f%s</b><span>%s</span></div>\n", decimals, value, unit, what);
}

/* Of the first case of each kind, which the label names. */
static void add_tiles(struct slm_buf *out, const struct slm_bench_report *report)
{
    const struct slm_bench_case *pp = slm_bench_first(report, true), *tg = slm_bench_first(report, false);
    char size[16];
    const int32_t n = report->n_repeat;
    slm_buf_puts(out, "<div class=\"tiles\">\n");
    char what[48];
    snprintf(what, sizeof what, "tokens/s, prompt of %d", pp ? pp->n : 0);
    if (pp) add_tile(out, what, slm_bench_spread(pp->tok_s, n).median, 1, "");
    snprintf(what, sizeof what, "tokens/s, generating %d", tg ? tg->n : 0);
    if (tg) add_tile(out, what, slm_bench_spread(tg->tok_s, n).median, 1, "");
    add_tile(out, "to open", slm_bench_spread(report->load_s, n).median, 3, " s");
    add_tile(out, "to the first token", slm_bench_spread(report->first_s, n).median, 3, " s");
    slm_buf_printf(out, "<div class=\"tile\"><b>%s</b><span>memory at most</span></div>\n",
                   slm_cli_size(size, (double)report->peak_rss_bytes));
    if (tg && tg->joules >= 0) add_tile(out, "a generated token takes", slm_bench_joules(report, tg), 3, " J");
    slm_buf_puts(out, "</div>\n");
}

/* What the charts show, to be read and copied. */
static void add_table(struct slm_buf *out, const struct slm_bench_report *report)
{
    const bool energy = report->n_cases > 0 && report->cases[0].joules >= 0;
    slm_buf_printf(out, "<h2>All numbers</h2>\n<div class=\"wide\"><table>\n<tr><th>test</th><th>tokens</th>"
                   "<th>threads</th><th>sequences</th><th>depth</th><th>tokens/s</th><th>least</th><th>most</th>%s"
                   "</tr>\n", energy ? "<th>J/token</th>" : "");
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct slm_bench_case *c = &report->cases[i];
        const struct slm_spread s = slm_bench_spread(c->tok_s, report->n_repeat);
        slm_buf_printf(out, "<tr><td>%s</td><td>%d</td><td>%d</td><td>%d</td><td>%d</td><td>%.2f</td><td>%.2f</td>"
                       "<td>%.2f</td>", c->prefill ? "prompt" : "generate", c->n, c->threads, c->batch, c->depth,
                       s.median, s.least, s.most);
        if (energy) slm_buf_printf(out, "<td>%.3f</td>", slm_bench_joules(report, c));
        slm_buf_puts(out, "</tr>\n");
    }
    slm_buf_puts(out, "</table></div>\n");
}

/* Head and facts, charts, table, and what the numbers mean. */
void slm_bench_html(struct slm_buf *out, const struct slm_bench_report *report)
{
    char size[16], count[16];
    const bool energy = report->n_cases > 0 && report->cases[0].joules >= 0;
    slm_buf_puts(out, page_head);
    const char *slash = strrchr(report->name, '/');
    slm_buf_puts(out, "<h1>");
    add_escaped(out, slash ? slash + 1 : report->name);
    slm_buf_puts(out, "</h1>\n<p>");
    add_escaped(out, report->info.architecture);
    slm_buf_printf(out, ", %s parameters, %s, measured on ", slm_cli_count(count, (double)report->info.n_params),
                   slm_cli_size(size, (double)report->info.file_bytes));
    add_escaped(out, report->cpu);
    slm_buf_printf(out, " with %s kernels by slm %s</p>\n", report->kernels, slm_version());
    add_tiles(out, report);
    add_charts(out, report, true);
    add_charts(out, report, false);
    add_table(out, report);
    slm_buf_printf(out, "<p>Bars, points and the column tokens/s are medians of %d; whiskers go from the least to the "
                   "most. The first token is the one behind a prompt of %d, counted from before the model was opened."
                   "%s</p>\n</body>\n</html>\n", report->n_repeat, SLM_BENCH_FIRST_PROMPT,
                   energy ? "" : " Energy is not known: no counter in /sys/class/powercap could be read.");
}
