/* SPDX-License-Identifier: MIT
 * Reports as pages: the frame of one that loads nothing, and charts in it, as SVG. Whoever makes a report fills
 * rows and says nothing of pixels. A chart is drawn for wide and for narrow screens; the style sheet shows one. */
#ifndef SLM_CLI_CHART_H
#define SLM_CLI_CHART_H
#include "base/str.h"

enum { SLM_CHART_COLOURS = 6, SLM_CHART_LABEL = 96, SLM_CHART_TITLE = 192, SLM_CHART_PARTS = 3 };

/* ---- the page ------------------------------------------------------------------------------------ */

/* Everything up to the heading, which is the title. Texts are escaped here and everywhere below. */
void slm_page_begin(struct slm_buf *out, const char *title);
void slm_page_end(struct slm_buf *out);
void slm_page_text(struct slm_buf *out, const char *text);
/* A table that may be wider than the page, its head filled: columns end in NULL. Rows follow, then the end. */
void slm_page_begin_table(struct slm_buf *out, const char *const *columns);
void slm_page_end_table(struct slm_buf *out);
/* A number in large type and what it is; between <div class="tiles"> and its end. */
void slm_page_tile(struct slm_buf *out, const char *value, const char *what);

/* ---- bars ---------------------------------------------------------------------------------------- */

/* A horizontal bar: one length, or several on end. */
struct slm_bar {
    char label[SLM_CHART_LABEL], value[24]; /* before it, and behind it */
    char title[SLM_CHART_TITLE];            /* what a pointer at rest is told */
    double parts[SLM_CHART_PARTS];
    double least, most;                     /* a whisker; equal = none */
    bool faint;                             /* not there, only predicted */
};
struct slm_bar_chart {
    const char *what; /* for those who do not see it */
    const struct slm_bar *bars;
    size_t n;
    int n_parts, colour;      /* colours of the parts begin with this one */
    const char *const *names; /* [n_parts] in the legend; NULL = none */
};
void slm_chart_bars(struct slm_buf *out, const struct slm_bar_chart *chart);

/* ---- points and lines ---------------------------------------------------------------------------- */

struct slm_point {
    double x, y, least, most;      /* least to most: a whisker; equal = none */
    double radius;                 /* 0 = a small one */
    char label[SLM_CHART_LABEL];   /* beside it; "" = none */
    char title[SLM_CHART_TITLE];
    bool hollow;
};
struct slm_line {
    const char *label;             /* in the legend; NULL = not there */
    const struct slm_point *points; /* [n] from left to right where they are joined */
    size_t n;
    int colour;
    bool joined, marked;           /* a line through them, a disc at each */
};
enum slm_scale {
    SLM_SCALE_LINEAR, /* from 0 */
    SLM_SCALE_FIT,    /* linear, over what occurs: where differences matter and not how large it all is */
    SLM_SCALE_LOG,    /* what is not above 0 lies on the axis, which is then called 0 */
    SLM_SCALE_STEPS,  /* values that occur, evenly spaced: for 0, 512, 4096 */
};
struct slm_axis {
    const char *title;
    enum slm_scale scale;
    const char *(*format)(char out[16], double value);
};
struct slm_plot {
    const char *what;
    struct slm_axis x, y;
    const struct slm_line *lines;
    size_t n_lines;
};
void slm_chart_plot(struct slm_buf *out, const struct slm_plot *plot);
#endif
