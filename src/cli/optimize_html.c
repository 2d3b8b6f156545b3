/* SPDX-License-Identifier: MIT
 *
 * What `slm optimize` tried as one HTML page: what was chosen and why, size against loss with the candidates that no
 * other beats, every number in a table, and which types the tensors of the chosen model have. Deliberately not here:
 * how charts are drawn (chart.c). */
#include <math.h>

#include "base/os.h"
#include "cli/chart.h"
#include "cli/optimize.h"

/* For axes and titles. */
static const char *plain(char out[16], double value)
{
    snprintf(out, 16, "%.3g", value);
    return out;
}

/* Names stand at what is worth choosing; a pointer at rest is told the others. */
static struct slm_point point_of(const struct slm_optimize_candidate *c, bool chosen)
{
    char size[16];
    struct slm_point p = {.x = c->size, .y = c->kl, .radius = chosen ? 9 : 6, .hollow = !c->pareto};
    slm_cli_size(size, c->size);
    if (c->pareto || chosen) snprintf(p.label, sizeof p.label, "%.40s", c->name);
    snprintf(p.title, sizeof p.title, "%.60s: %s, KL divergence %.5f, perplexity %.3f", c->name, size, c->kl, c->ppl);
    return p;
}

/* Marks of all candidates, a line along the front by size, a larger mark for what was chosen. */
static void add_chart(struct slm_buf *out, const struct slm_optimize_result *r)
{
    struct slm_error ignored; /* without memory for a drawing the tables still say everything */
    struct slm_point *all = slm_alloc(2 * r->n, sizeof *all, "optimize", &ignored), *front = all ? all + r->n : NULL;
    size_t n_front = 0, n_all = 0;
    if (!all) return;
    /* The chosen one is drawn once, larger, and last: on top of its neighbours. */
    for (size_t i = 0; i < r->n; i++) {
        const struct slm_optimize_candidate *c = &r->candidates[i];
        if (isnan(c->kl) || i == r->chosen) continue;
        all[n_all++] = point_of(c, false);
    }
    const struct slm_point chosen = point_of(&r->candidates[r->chosen], true);
    for (size_t i = 0; i < r->n; i++) {
        if (!r->candidates[i].pareto || isnan(r->candidates[i].kl)) continue;
        const struct slm_point p = point_of(&r->candidates[i], false);
        size_t at = n_front++; /* candidates come as they were tried, the line goes from left to right */
        for (; at > 0 && front[at - 1].x > p.x; at--) front[at] = front[at - 1];
        front[at] = p;
    }
    /* Sizes and divergences go by factors. */
    const struct slm_line lines[] = {
        {.points = front, .n = n_front, .colour = 2, .joined = true, .label = "no other is smaller, faster and better"},
        {.points = all, .n = n_all, .colour = 0, .marked = true, .label = "tried; hollow: another beats it"},
        {.points = &chosen, .n = !isnan(chosen.y), .colour = 1, .marked = true, .label = "chosen"},
    };
    const struct slm_plot plot = {.what = "Size and KL divergence from the original of everything that was tried",
                                  .x = {"size on disk", SLM_SCALE_LOG, slm_cli_size},
                                  .y = {"KL divergence from the original", SLM_SCALE_LOG, plain}, .lines = lines,
                                  .n_lines = sizeof lines / sizeof *lines};
    slm_buf_puts(out, "<h2>Size and loss</h2>\n");
    slm_chart_plot(out, &plot);
    slm_buf_puts(out, "<p>Lower and further left is better.</p>\n");
    slm_release(all);
}

/* The columns of the terminal's table; a dash for what was not measured. */
static void add_candidates(struct slm_buf *out, const struct slm_optimize_result *r)
{
    const char *columns[SLM_OPTIMIZE_COLUMNS + 3] = {"candidate"};
    size_t n = 1;
    for (size_t k = 0; k < SLM_OPTIMIZE_COLUMNS; k++)
        if (slm_optimize_columns[k].title) columns[n++] = slm_optimize_columns[k].title;
    columns[n] = "goal"; /* the array's zeros end the list */
    slm_buf_puts(out, "<h2>Everything that was tried</h2>\n");
    slm_page_begin_table(out, columns);
    for (size_t i = 0; i < r->n; i++) {
        const struct slm_optimize_candidate *c = &r->candidates[i];
        slm_buf_puts(out, "<tr><th scope=\"row\">");
        slm_page_text(out, c->name);
        slm_buf_puts(out, c->pareto ? " ★</th>" : "</th>");
        for (size_t k = 0; k < SLM_OPTIMIZE_COLUMNS; k++) {
            const struct slm_optimize_column *column = &slm_optimize_columns[k];
            const double value = slm_optimize_number(c, column) * column->factor;
            if (column->title && isnan(value)) slm_buf_puts(out, "<td>–</td>");
            else if (column->title) slm_buf_printf(out, "<td>%.*f</td>", column->digits, value);
        }
        slm_buf_printf(out, "<td>%s</td></tr>\n", i == r->chosen ? "chosen" : c->meets ? "met" : "not met");
    }
    slm_page_end_table(out);
}

/* "blk.12.attn_q.weight": what follows the number, and the number; else the whole name and -1. */
static const char *kind_of(const char *name, int *layer)
{
    int used = 0;
    *layer = -1;
    return sscanf(name, "blk.%6d.%n", layer, &used) == 1 && used > 0 ? name + used : name;
}

/* Types in the order of layers: each with the first and the last layer of a row of equal ones. */
static void add_layers(struct slm_buf *out, const struct slm_optimize_result *r, size_t first, const char *kind)
{
    const char *type = NULL, *separator = "";
    int begin = 0, end = 0, layer;
    for (size_t i = first; i <= r->n_types; i++) {
        const bool ended = i == r->n_types; /* one step more, for what is open */
        if (!ended && strcmp(kind_of(r->types[i].pattern, &layer), kind) != 0) continue;
        if (type && (ended || strcmp(type, r->types[i].type) != 0)) {
            slm_buf_printf(out, "%s%s", separator, type);
            if (begin >= 0 && begin == end) slm_buf_printf(out, " (%d)", begin);
            else if (begin >= 0) slm_buf_printf(out, " (%d–%d)", begin, end);
            separator = ", ";
            type = NULL;
        }
        if (ended) break;
        if (!type) begin = layer;
        type = r->types[i].type;
        end = layer;
    }
}

/* A row for each kind of tensor; where the mixture's name says it all there is nothing to list. */
static void add_types(struct slm_buf *out, const struct slm_optimize_result *r)
{
    int layer, other;
    if (r->n_types == 0) return;
    slm_buf_puts(out, "<h2>Types of the chosen model</h2>\n");
    slm_page_begin_table(out, (const char *const[]){"tensor", "types (layers)", NULL});
    for (size_t i = 0; i < r->n_types; i++) {
        const char *kind = kind_of(r->types[i].pattern, &layer);
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++) seen = strcmp(kind_of(r->types[k].pattern, &other), kind) == 0;
        if (seen) continue; /* a row of its own already */
        slm_buf_puts(out, "<tr><th scope=\"row\">");
        slm_page_text(out, kind);
        slm_buf_puts(out, "</th><td>");
        add_layers(out, r, i, kind);
        slm_buf_puts(out, "</td></tr>\n");
    }
    slm_page_end_table(out);
}

/* What came of it, beside where it began. */
static void add_tiles(struct slm_buf *out, const struct slm_optimize_result *r)
{
    const struct slm_optimize_candidate *c = &r->candidates[r->chosen];
    char size[16], base[16], value[48], what[96];
    slm_buf_puts(out, "<div class=\"tiles\">\n");
    slm_cli_size(base, r->base_size);
    snprintf(what, sizeof what, "%.40s; the original: %s", c->name, base);
    slm_page_tile(out, slm_cli_size(size, c->size), what);
    snprintf(value, sizeof value, "%.5f", c->kl);
    if (!isnan(c->kl)) slm_page_tile(out, value, "KL divergence from the original");
    snprintf(value, sizeof value, "%.3f", c->ppl);
    snprintf(what, sizeof what, "perplexity; the original: %.3f", r->base_ppl);
    if (!isnan(c->ppl)) slm_page_tile(out, value, what);
    snprintf(value, sizeof value, "%.1f tokens/s", c->decode);
    if (!isnan(c->decode)) slm_page_tile(out, value, "generated");
    slm_buf_puts(out, "</div>\n");
}

/* What was asked, the answer in tiles, the chart, everything else. */
void slm_optimize_html(struct slm_buf *out, const struct slm_optimize_result *r, const char *what)
{
    slm_page_begin(out, "What was tried, and what was chosen");
    slm_buf_puts(out, "<p><strong>");
    slm_page_text(out, what);
    slm_buf_puts(out, "</strong>, goal ");
    slm_page_text(out, r->goal);
    slm_buf_printf(out, r->met ? ", by slm %s</p>\n" : ", by slm %s; no file was written</p>\n", slm_version());
    slm_buf_puts(out, "<p>");
    slm_page_text(out, r->reason);
    slm_buf_puts(out, "</p>\n");
    add_tiles(out, r);
    add_chart(out, r);
    add_candidates(out, r);
    add_types(out, r);
    slm_buf_puts(out, "<p>★ and filled marks: no other is at least as small, fast and near the original and better in "
                      "one of these.</p>\n");
    slm_page_end(out);
}
