/* SPDX-License-Identifier: MIT
 * See chart.h. A page loads nothing from anywhere and runs no script, so it can be mailed, kept and opened in ten
 * years; light or dark is the reader's setting. Numbers are said in tables as well: a chart is no substitute for those
 * who do not see it. Deliberately not here: what is shown (bench_html.c, compare_html.c). */
#include "cli/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STEPS = 16, MAX_LABELS = 64 };

/* Colours stand here once for each of the two settings; charts name them as variables. Series colours are far enough
 * from each other for most eyes, and the legend is not the only place that tells them apart: every mark has a title. */
static const char styles[] =
    ":root{color-scheme:light dark;--back:#fff;--card:#f5f6f8;--text:#1b1f24;--dim:#59636e;--line:#d5d9de;"
    "--c0:#2563c9;--c1:#c2570c;--c2:#0f7b5f;--c3:#8b3fb0;--c4:#b3261e;--c5:#6b6b00}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#14171b;--card:#1d2126;--text:#e6e9ec;--dim:#9aa4ae;"
    "--line:#343a41;--c0:#6ea3ff;--c1:#f2954f;--c2:#4cc9a4;--c3:#c98bea;--c4:#f2827b;--c5:#cfcf5a}}\n"
    "body{margin:0 auto;padding:1.5rem;max-width:60rem;background:var(--back);color:var(--text);"
    "font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}"
    "p{margin:.25rem 0;color:var(--dim);overflow-wrap:anywhere}p strong{color:var(--text);font-weight:600}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1.25rem 0}\n"
    ".tile{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}"
    ".tile b{display:block;font-size:1.35rem;line-height:1.3}.tile span{color:var(--dim);font-size:.85rem}\n"
    "svg{display:block;width:100%;height:auto;margin-top:.75rem}"
    /* Letters lie above lines, with a rim that keeps both apart. */
    "svg text{fill:var(--text);font:13px system-ui,sans-serif;paint-order:stroke;stroke:var(--back);"
    "stroke-width:4px;stroke-linejoin:round}"
    "svg .dim{fill:var(--dim)}svg .grid{stroke:var(--line)}svg .whisker{stroke:var(--text);stroke-width:1.5}"
    "svg .faint rect{opacity:.45}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.25rem 1rem;font-size:.85rem;color:var(--dim);margin-top:.4rem}"
    ".legend i{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;margin-right:.35rem}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;color:var(--dim);padding:.3rem 0}"
    "th,td{padding:.3rem .45rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}"
    "thead th{color:var(--dim)}th{font-weight:600}th:first-child,td:first-child{text-align:left;padding-left:0;"
    "position:sticky;left:0;background:var(--back)}\n"
    "a{color:var(--c0)}.narrow{display:none}"
    "@media(max-width:640px){body{padding:1rem}.broad{display:none}.narrow{display:block}}\n";

/* ---- the page ------------------------------------------------------------------------------------ */

/* Paths and names are whatever somebody called them. */
void slm_page_text(struct slm_buf *out, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;"
                           : *text == '"' ? "&quot;" : NULL;
        if (entity) slm_buf_puts(out, entity);
        else slm_buf_add(out, text, 1);
    }
}

/* The viewport is what makes a phone lay it out as wide as it is. */
void slm_page_begin(struct slm_buf *out, const char *title)
{
    slm_buf_puts(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    slm_page_text(out, title);
    slm_buf_puts(out, "</title>\n<style>\n");
    slm_buf_puts(out, styles);
    slm_buf_puts(out, "</style>\n</head>\n<body>\n<h1>");
    slm_page_text(out, title);
    slm_buf_puts(out, "</h1>\n");
}

void slm_page_end(struct slm_buf *out) { slm_buf_puts(out, "</body>\n</html>\n"); }

void slm_page_tile(struct slm_buf *out, const char *value, const char *what)
{
    slm_buf_puts(out, "<div class=\"tile\"><b>");
    slm_page_text(out, value);
    slm_buf_puts(out, "</b><span>");
    slm_page_text(out, what);
    slm_buf_puts(out, "</span></div>\n");
}

/* It can be scrolled sideways, from the keyboard too. */
void slm_page_begin_table(struct slm_buf *out, const char *const *columns)
{
    slm_buf_puts(out, "<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>");
    for (; *columns; columns++) {
        slm_buf_puts(out, "<th scope=\"col\">");
        slm_page_text(out, *columns);
        slm_buf_puts(out, "</th>");
    }
    slm_buf_puts(out, "</tr></thead>\n");
}

void slm_page_end_table(struct slm_buf *out) { slm_buf_puts(out, "</table></div>\n"); }

/* ---- what charts share --------------------------------------------------------------------------- */

/* In the units of the drawing, which are CSS pixels where the page is as wide as this. */
struct canvas {
    const char *class;
    int width, label; /* label: room for that of a bar, at its left; 0 = above it */
};
static const struct canvas canvases[] = {{"broad", 720, 230}, {"narrow", 360, 0}};
enum { N_CANVASES = sizeof canvases / sizeof *canvases };

/* Closed by its caller. The label is what is read out in place of the drawing. */
static void begin_svg(struct slm_buf *out, const struct canvas *canvas, int height, const char *what)
{
    slm_buf_printf(out, "<svg class=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", canvas->class,
                   canvas->width, height);
    slm_page_text(out, what);
    slm_buf_puts(out, "\">\n");
}

/* First in its group, where browsers look for it. */
static void add_title(struct slm_buf *out, const char *title)
{
    slm_buf_puts(out, "<title>");
    slm_page_text(out, title);
    slm_buf_puts(out, "</title>");
}

/* anchor: "start", "middle" or "end". */
static void add_text(struct slm_buf *out, double x, double y, const char *anchor, const char *class, const char *text)
{
    slm_buf_printf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y, anchor);
    slm_page_text(out, text);
    slm_buf_puts(out, "</text>");
}

/* A colour alone tells nothing: the words are beside it. */
static void add_legend_item(struct slm_buf *out, int colour, const char *text)
{
    slm_buf_printf(out, "<span><i style=\"background:var(--c%d)\"></i>", colour % SLM_CHART_COLOURS);
    slm_page_text(out, text);
    slm_buf_puts(out, "</span>");
}

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

/* ---- bars ---------------------------------------------------------------------------------------- */

/* Up to where nothing of it is left, so that the number behind it is in nobody's way. */
static double length_of(const struct slm_bar *bar, int n_parts)
{
    double sum = 0;
    for (int i = 0; i < n_parts; i++) sum += bar->parts[i];
    return fmax(sum, bar->most);
}

/* Room on the right for the number behind the longest bar. */
static void draw_bars(struct slm_buf *out, const struct canvas *canvas, const struct slm_bar_chart *chart)
{
    enum { RIGHT = 90, BAR = 18 };
    const int row = canvas->label ? 30 : 46;
    const double left = canvas->label;
    double most = 0;
    for (size_t i = 0; i < chart->n; i++) most = fmax(most, length_of(&chart->bars[i], chart->n_parts));
    const double per_px = most > 0 ? most / (canvas->width - left - RIGHT) : 1;
    begin_svg(out, canvas, (int)chart->n * row, chart->what);
    for (size_t i = 0; i < chart->n; i++) {
        const struct slm_bar *bar = &chart->bars[i];
        /* A label above its bar needs room there, one before it is level with it. */
        const double top = (double)i * row + (canvas->label ? (row - BAR) / 2.0 : row - BAR - 4);
        const double middle = top + BAR / 2.0;
        double x = left;
        slm_buf_printf(out, "<g%s>", bar->faint ? " class=\"faint\"" : "");
        add_title(out, bar->title);
        if (canvas->label) add_text(out, left - 10, middle + 4.5, "end", "", bar->label);
        else add_text(out, 0, top - 5, "start", "", bar->label);
        for (int p = 0; p < chart->n_parts; p++) {
            slm_buf_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"var(--c%d)\"/>", x,
                           top, bar->parts[p] / per_px, BAR, (chart->colour + p) % SLM_CHART_COLOURS);
            x += bar->parts[p] / per_px;
        }
        if (bar->most > bar->least)
            slm_buf_printf(out, "<path class=\"whisker\" fill=\"none\" d=\"M%.1f %.1fv8m0-4H%.1fm0-4v8\"/>",
                           left + bar->least / per_px, middle - 4, left + bar->most / per_px);
        add_text(out, left + length_of(bar, chart->n_parts) / per_px + 8, middle + 4.5, "start", "", bar->value);
        slm_buf_puts(out, "</g>\n");
    }
    slm_buf_puts(out, "</svg>\n");
}

/* One legend serves both drawings. */
void slm_chart_bars(struct slm_buf *out, const struct slm_bar_chart *chart)
{
    for (size_t i = 0; i < N_CANVASES; i++) draw_bars(out, &canvases[i], chart);
    if (!chart->names) return;
    /* In the order of the parts. */
    slm_buf_puts(out, "<div class=\"legend\">");
    for (int p = 0; p < chart->n_parts; p++) add_legend_item(out, chart->colour + p, chart->names[p]);
    slm_buf_puts(out, "</div>\n");
}

/* ---- scales -------------------------------------------------------------------------------------- */

/* From values to pixels, along x or y. */
struct range {
    const struct slm_axis *axis;
    double from, to;          /* pixels of the two ends */
    double least, most;       /* values there; of STEPS none */
    double steps[MAX_STEPS];  /* STEPS: rising */
    size_t n_steps;
    bool has_zero;            /* LOG: something lies on the axis */
};

static double x_of_point(const struct slm_point *p) { return p->x; }
static double y_of_point(const struct slm_point *p) { return p->y; }

/* Every value that occurs, once, rising. */
static void add_step(struct range *r, double value)
{
    size_t at = 0;
    while (at < r->n_steps && r->steps[at] < value) at++;
    if ((at < r->n_steps && r->steps[at] == value) || r->n_steps == MAX_STEPS) return;
    memmove(r->steps + at + 1, r->steps + at, (r->n_steps - at) * sizeof *r->steps);
    r->steps[at] = value;
    r->n_steps++;
}

/* 1, 2 or 5 times a power of ten: the next one below (up false) or above. */
static double round_to_125(double value, bool up)
{
    const double power = pow(10, floor(log10(value)));
    static const double steps[] = {1, 2, 5, 10};
    for (int i = up ? 0 : 3; i >= 0 && i <= 3; i += up ? 1 : -1)
        if (up ? steps[i] * power >= value * (1 - 1e-9) : steps[i] * power <= value * (1 + 1e-9))
            return steps[i] * power;
    return value;
}

/* Whiskers count upwards, so that they stay inside; a logarithmic axis ends in round numbers. */
static void measure_range(struct range *r, const struct slm_plot *plot, double (*of)(const struct slm_point *))
{
    r->least = HUGE_VAL;
    r->most = 0;
    for (size_t l = 0; l < plot->n_lines; l++)
        for (size_t i = 0; i < plot->lines[l].n; i++) {
            const struct slm_point *p = &plot->lines[l].points[i];
            const double value = of(p), most = of == y_of_point ? fmax(value, p->most) : value;
            if (r->axis->scale == SLM_SCALE_STEPS) add_step(r, value);
            r->most = fmax(r->most, most);
            if (value > 0) r->least = fmin(r->least, value);
            else r->has_zero = true;
        }
    if (r->axis->scale == SLM_SCALE_LOG && r->most > 0) {
        r->least = round_to_125(r->least / (r->has_zero ? 2 : 1), false);
        r->most = round_to_125(r->most, true);
        if (r->most <= r->least) r->most = r->least * 10;
    } else if (r->axis->scale == SLM_SCALE_FIT && r->most > r->least) {
        const double step = scale_end((r->most - r->least) / 4);
        r->least = floor(r->least / step) * step;
        r->most = ceil(r->most / step) * step;
    } else {
        r->least = 0;
        r->most = scale_end(r->most);
    }
}

static bool is_log(const struct range *r) { return r->axis->scale == SLM_SCALE_LOG && r->least > 0; }

/* A share of the axis becomes pixels; STEPS leave some room at both ends. */
static double place(const struct range *r, double value)
{
    double share; /* of the axis, from its beginning */
    if (r->axis->scale == SLM_SCALE_STEPS) {
        size_t i = 0;
        while (i + 1 < r->n_steps && r->steps[i] < value) i++;
        share = r->n_steps > 1 ? 0.04 + 0.92 * (double)i / (double)(r->n_steps - 1) : 0.5;
    } else if (is_log(r)) {
        share = value > r->least ? log(value / r->least) / log(r->most / r->least) : 0;
    } else {
        share = (value - r->least) / (r->most - r->least);
    }
    return r->from + share * (r->to - r->from);
}

/* Values with a mark, at most MAX_STEPS. */
static size_t ticks_of(const struct range *r, bool crowded, double out[MAX_STEPS])
{
    size_t n = 0;
    if (r->axis->scale == SLM_SCALE_STEPS) {
        memcpy(out, r->steps, r->n_steps * sizeof *out);
        return r->n_steps;
    }
    if (!is_log(r)) {
        for (int i = 0; i <= 4; i++) out[n++] = r->least + (r->most - r->least) * i / 4;
        return n;
    }
    /* Beyond two decades the tens are enough. */
    const bool decades = r->most / r->least > (crowded ? 20 : 100);
    for (double v = r->least; v <= r->most * (1 + 1e-9) && n < MAX_STEPS; v = round_to_125(v * 1.5, true))
        if (!decades || fabs(log10(v) - round(log10(v))) < 1e-6 || n == 0) out[n++] = v;
    return n;
}

/* ---- points and lines ---------------------------------------------------------------------------- */

enum { LEFT = 66, TOP = 24, BOTTOM_ROOM = 56 };

/* Corners, in pixels. */
struct box { double x0, y0, x1, y1; };
struct drawing {
    const struct slm_plot *plot;
    struct range x, y;
    double right, bottom;
    struct box taken[MAX_LABELS]; /* by marks and labels */
    size_t n_taken;
};

/* Lines across for what is read upwards, short marks for what is read along. */
static void add_axes(struct slm_buf *out, const struct drawing *d, bool crowded)
{
    double ticks[MAX_STEPS];
    char text[16];
    size_t n = ticks_of(&d->y, false, ticks);
    for (size_t i = 0; i < n; i++) {
        const double y = place(&d->y, ticks[i]);
        slm_buf_printf(out, "<path class=\"grid\" d=\"M%d %.1fH%.1f\"/>", LEFT, y, d->right);
        const bool zero = is_log(&d->y) && d->y.has_zero && i == 0;
        add_text(out, LEFT - 8, y + 4, "end", "dim", zero ? "0" : d->plot->y.format(text, ticks[i]));
    }
    n = ticks_of(&d->x, crowded, ticks);
    double free_from = 0; /* labels that would run into each other are left out */
    for (size_t i = 0; i < n; i++) {
        const double x = place(&d->x, ticks[i]), wide = 7.2 * (double)strlen(d->plot->x.format(text, ticks[i]));
        if (x - wide / 2 < free_from) continue;
        free_from = x + wide / 2 + 6;
        slm_buf_printf(out, "<path class=\"grid\" d=\"M%.1f %.1fv5\"/>", x, d->bottom);
        add_text(out, x, d->bottom + 20, x > d->right - 12 && wide > 40 ? "end" : "middle", "dim",
                 d->plot->x.format(text, ticks[i]));
    }
    add_text(out, 0, 13, "start", "dim", d->plot->y.title);
    add_text(out, (LEFT + d->right) / 2, d->bottom + 42, "middle", "dim", d->plot->x.title);
    slm_buf_puts(out, "\n");
}

static bool overlap(const struct box *a, const struct box *b)
{
    return a->x0 < b->x1 && b->x0 < a->x1 && a->y0 < b->y1 && b->y0 < a->y1;
}

/* Inside of the frame, and over nothing that has been drawn. */
static bool is_free(const struct drawing *d, const struct box *box)
{
    if (box->x0 < LEFT || box->x1 > d->right + 10 || box->y0 < 14 || box->y1 > d->bottom) return false;
    for (size_t i = 0; i < d->n_taken; i++)
        if (overlap(&d->taken[i], box)) return false;
    return true;
}

static void take(struct drawing *d, struct box box)
{
    if (d->n_taken < MAX_LABELS) d->taken[d->n_taken++] = box;
}

/* Right of its mark, left, above or below, wherever nothing else is; nowhere if there is no such place: the table and
 * the title have it. */
static void add_label(struct slm_buf *out, struct drawing *d, const struct slm_point *p, double x, double y, double r)
{
    const double w = 7.2 * (double)strlen(p->label), gap = r + 5;
    const struct { double x, y; const char *anchor; double back; } places[] = {
        {x + gap, y + 4, "start", 0}, {x - gap, y + 4, "end", w}, {x, y - gap - 1, "middle", w / 2},
        {x, y + gap + 11, "middle", w / 2}, {x + gap, y - 10, "start", 0}, {x + gap, y + 18, "start", 0},
        {x - gap, y - 10, "end", w}, {x - gap, y + 18, "end", w},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const double left = places[i].x - places[i].back;
        const struct box box = {left, places[i].y - 11, left + w, places[i].y + 3};
        if (!is_free(d, &box)) continue;
        take(d, box);
        add_text(out, places[i].x, places[i].y, places[i].anchor, "", p->label);
        return;
    }
}

static double radius_of(const struct slm_point *p) { return p->radius > 0 ? p->radius : 4; }

/* The line, then a mark and a whisker at each point. */
static void add_line(struct slm_buf *out, struct drawing *d, const struct slm_line *line)
{
    const int colour = line->colour % SLM_CHART_COLOURS;
    if (line->joined) {
        slm_buf_printf(out, "<path fill=\"none\" stroke=\"var(--c%d)\" stroke-width=\"2\"%s d=\"", colour,
                       line->marked ? "" : " stroke-dasharray=\"5 4\"");
        for (size_t i = 0; i < line->n; i++)
            slm_buf_printf(out, "%c%.1f %.1f", i ? 'L' : 'M', place(&d->x, line->points[i].x),
                           place(&d->y, line->points[i].y));
        slm_buf_puts(out, "\"/>\n");
    }
    for (size_t i = 0; line->marked && i < line->n; i++) {
        const struct slm_point *p = &line->points[i];
        const double x = place(&d->x, p->x), y = place(&d->y, p->y);
        slm_buf_puts(out, "<g>");
        add_title(out, p->title);
        if (p->most > p->least)
            slm_buf_printf(out, "<path stroke=\"var(--c%d)\" d=\"M%.1f %.1fV%.1f\"/>", colour, x,
                           place(&d->y, p->least), place(&d->y, p->most));
        slm_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" stroke=\"var(--c%d)\" stroke-width=\"2\"", x,
                       y, radius_of(p), colour);
        if (p->hollow) slm_buf_puts(out, " fill=\"var(--back)\"/></g>\n");
        else slm_buf_printf(out, " fill=\"var(--c%d)\"/></g>\n", colour);
    }
}

/* Frame, lines, labels, in this order: what is drawn later lies above. */
static void draw_plot(struct slm_buf *out, const struct canvas *canvas, const struct slm_plot *plot)
{
    const int height = canvas->label ? 340 : 380;
    /* Narrow screens are short of width, not of height. */
    struct drawing d = {.plot = plot, .right = canvas->width - (canvas->label ? 40 : 14),
                        .bottom = height - BOTTOM_ROOM};
    d.x = (struct range){.axis = &plot->x, .from = LEFT, .to = d.right};
    d.y = (struct range){.axis = &plot->y, .from = d.bottom, .to = TOP};
    measure_range(&d.x, plot, x_of_point);
    measure_range(&d.y, plot, y_of_point);
    begin_svg(out, canvas, height, plot->what);
    add_axes(out, &d, !canvas->label);
    for (size_t l = 0; l < plot->n_lines; l++) add_line(out, &d, &plot->lines[l]);
    /* Labels last, when it is known where all marks are. */
    for (int labels = 0; labels < 2; labels++)
        for (size_t l = 0; l < plot->n_lines; l++)
            for (size_t i = 0; plot->lines[l].marked && i < plot->lines[l].n; i++) {
                const struct slm_point *p = &plot->lines[l].points[i];
                const double x = place(&d.x, p->x), y = place(&d.y, p->y), r = radius_of(p);
                if (!labels) take(&d, (struct box){x - r, y - r, x + r, y + r});
                else if (p->label[0]) add_label(out, &d, p, x, y, r);
            }
    slm_buf_puts(out, "\n</svg>\n");
}

/* Lines without a label are told by the marks on them. */
void slm_chart_plot(struct slm_buf *out, const struct slm_plot *plot)
{
    for (size_t i = 0; i < N_CANVASES; i++) draw_plot(out, &canvases[i], plot);
    slm_buf_puts(out, "<div class=\"legend\">");
    for (size_t l = 0; l < plot->n_lines; l++)
        if (plot->lines[l].label) add_legend_item(out, plot->lines[l].colour, plot->lines[l].label);
    slm_buf_puts(out, "</div>\n");
}
