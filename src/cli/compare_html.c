/* SPDX-License-Identifier: MIT
 *
 * What `slm compare` found as one HTML page: what is best at what, size against quality with speed as the area of the
 * marks, memory of the base in many types, and every number in tables below the charts. Deliberately not here: how
 * charts are drawn (chart.c). */
#include "cli/chart.h"
#include "cli/compare.h"

#include <math.h>

/* For axes and titles. */
static const char *plain(char out[16], double value)
{
    snprintf(out, 16, "%.3g", value);
    return out;
}

/* ---- the chart of choices ------------------------------------------------------------------------ */

/* What upward means: the best measure of quality that all models have, else speed. */
struct quality {
    const char *title, *what, *note; /* of the axis, for those who do not see, where it is good */
    enum slm_scale scale;
    double (*of)(const struct slm_compared *m);
};

/* What each row below measures. */
static double kl_of(const struct slm_compared *m) { return m->eval.kl_mean; }
static double bits_of(const struct slm_compared *m) { return m->bits_per_byte; }
static double speed_of(const struct slm_compared *m) { return m->decode.median; }

static const struct quality qualities[] = {
    {"KL divergence from the base", "Size on disk and KL divergence from the base; speed is the area of a mark",
     "Lower and further left is better.", SLM_SCALE_LOG, kl_of},
    {"bits a byte of the text", "Size on disk and bits a byte of the text; speed is the area of a mark",
     "Lower and further left is better.", SLM_SCALE_FIT, bits_of},
    {"generated tokens per second", "Size on disk and generated tokens per second",
     "Higher and further left is better.", SLM_SCALE_LINEAR, speed_of},
};

/* Distances from the base are the sharper measure, where all have one. */
static const struct quality *choose_quality(const struct slm_comparison *c)
{
    bool same = c->text != NULL;
    for (size_t i = 0; i < c->n; i++) same = same && c->models[i].same_tokens;
    return same && c->n > 1 ? &qualities[0] : c->text ? &qualities[1] : c->cpu ? &qualities[2] : NULL;
}

/* The area of a mark is in proportion to speed, plus what makes the slowest one visible. */
static struct slm_point point_of(const struct slm_compared *m, const struct quality *q, double fastest)
{
    char size[16], value[16];
    struct slm_point p = {.x = (double)m->file_bytes, .y = q->of(m), .hollow = !m->front, .radius = 6};
    slm_cli_size(size, p.x);
    plain(value, p.y);
    /* Speed is in the place of the mark already where it is what goes upwards. */
    if (m->measured && fastest > 0 && q->of != speed_of) p.radius = 3 + 10 * sqrt(m->decode.median / fastest);
    snprintf(p.label, sizeof p.label, "%.40s", m->name);
    if (m->measured)
        snprintf(p.title, sizeof p.title, "%.80s: %s, %s %s, %.1f tokens/s", m->name, size, q->title, value,
                 m->decode.median);
    else
        snprintf(p.title, sizeof p.title, "%.80s: %s, %s %s", m->name, size, q->title, value);
    return p;
}

/* Marks of all models, and a line along those that are on the front, by size. */
static void add_choices(struct slm_buf *out, const struct slm_comparison *c)
{
    const struct quality *q = choose_quality(c);
    struct slm_point all[SLM_COMPARE_MODELS], front[SLM_COMPARE_MODELS];
    size_t n_front = 0;
    double fastest = 0;
    if (!q) return;
    for (size_t i = 0; i < c->n; i++) fastest = fmax(fastest, c->models[i].decode.median);
    /* The front rises to the right. */
    for (size_t i = 0; i < c->n; i++) {
        all[i] = point_of(&c->models[i], q, fastest);
        if (!c->models[i].front) continue;
        size_t at = n_front++;
        for (; at > 0 && front[at - 1].x > all[i].x; at--) front[at] = front[at - 1];
        front[at] = all[i];
    }
    const struct slm_line lines[] = {
        {.points = front, .n = n_front, .colour = 2, .joined = true, .label = "no other is smaller, faster and better"},
        {.points = all, .n = c->n, .colour = 0, .marked = true, .label = "models; hollow: another beats it"},
    };
    const struct slm_plot plot = {.what = q->what, .x = {"size on disk", SLM_SCALE_LOG, slm_cli_size},
                                  .y = {q->title, q->scale, plain}, .lines = lines, .n_lines = 2};
    /* Sizes go by factors, from quarters to wholes. */
    slm_buf_puts(out, "<h2>Size, quality, speed</h2>\n");
    slm_chart_plot(out, &plot);
    slm_buf_printf(out, "<p>%s%s</p>\n", q->note,
                   c->cpu && q->of != speed_of ? " The larger the mark, the faster the model generates." : "");
}

/* ---- memory -------------------------------------------------------------------------------------- */

/* One stacked bar. */
static struct slm_bar bar_of(const char *label, const struct slm_memory *m, bool faint)
{
    struct slm_bar bar = {.parts = {(double)m->weight_bytes, (double)m->kv_bytes, (double)m->scratch_bytes},
                          .faint = faint};
    char all[16], weights[16], kv[16], scratch[16];
    slm_cli_size(all, (double)slm_memory_total(m));
    slm_cli_size(weights, bar.parts[0]);
    slm_cli_size(kv, bar.parts[1]);
    slm_cli_size(scratch, bar.parts[2]);
    /* Pale is not enough to say that it is not there. */
    snprintf(bar.label, sizeof bar.label, "%.60s%s", label, faint ? " (predicted)" : "");
    snprintf(bar.value, sizeof bar.value, "%s", all);
    snprintf(bar.title, sizeof bar.title, "%.60s: %s, of it weights %s, KV cache %s, scratch %s", label, all, weights,
             kv, scratch);
    return bar;
}

/* Memory at one context, the longest that was asked for and the base can: bars, and the numbers below. */
static void add_footprint(struct slm_buf *out, const struct slm_comparison *c)
{
    static const char *const names[SLM_CHART_PARTS] = {"weights", "KV cache", "scratch"};
    struct slm_bar bars[SLM_COMPARE_TYPES];
    char size[16];
    if (c->n_footprint == 0) return;
    for (size_t i = 0; i < c->n_footprint; i++)
        bars[i] = bar_of(c->footprint[i].type, &c->footprint[i].memory, !c->footprint[i].present);
    const struct slm_bar_chart chart = {.what = "Memory of the base model in each type", .bars = bars,
                                        .n = c->n_footprint, .n_parts = SLM_CHART_PARTS, .names = names};
    slm_buf_puts(out, "<h2>Memory of ");
    slm_page_text(out, c->models[c->base].name);
    slm_buf_printf(out, " by type, %d tokens of context</h2>\n", c->footprint_ctx);
    slm_chart_bars(out, &chart);
    slm_page_begin_table(out, (const char *const[]){"type", "weights", "KV cache", "scratch", "together", "here",
                                                    NULL});
    for (size_t i = 0; i < c->n_footprint; i++) {
        const struct slm_memory *m = &c->footprint[i].memory;
        slm_buf_printf(out, "<tr><th scope=\"row\">%s</th>", c->footprint[i].type);
        const uint64_t cells[] = {m->weight_bytes, m->kv_bytes, m->scratch_bytes, slm_memory_total(m)};
        for (size_t k = 0; k < 4; k++) slm_buf_printf(out, "<td>%s</td>", slm_cli_size(size, (double)cells[k]));
        slm_buf_printf(out, "<td>%s</td></tr>\n", c->footprint[i].present ? "yes" : "predicted");
    }
    slm_page_end_table(out);
}

/* ---- tables -------------------------------------------------------------------------------------- */

/* A dash for what was not measured. */
static void add_cell(struct slm_buf *out, bool known, int decimals, double value, const char *unit)
{
    if (known) slm_buf_printf(out, "<td>%.*f%s</td>", decimals, value, unit);
    else slm_buf_puts(out, "<td>–</td>");
}

/* Screen readers say it before each number of the row. */
static void add_row_head(struct slm_buf *out, const struct slm_compared *m)
{
    slm_buf_puts(out, "<tr><th scope=\"row\">");
    slm_page_text(out, m->name);
    slm_buf_puts(out, m->front ? " ★</th>" : "</th>");
}

/* Measured things, most important first. */
static void add_numbers(struct slm_buf *out, const struct slm_comparison *c)
{
    char text[16];
    slm_buf_puts(out, "<h2>Speed and quality</h2>\n");
    slm_page_begin_table(out, (const char *const[]){"model", "on disk", "bits/weight", "prefill/s", "decode/s",
                                                    "bits/byte", "perplexity", "KL", "same token", NULL});
    for (size_t i = 0; i < c->n; i++) {
        const struct slm_compared *m = &c->models[i];
        add_row_head(out, m);
        slm_buf_printf(out, "<td>%s</td>", slm_cli_size(text, (double)m->file_bytes));
        add_cell(out, true, 2, m->bits, "");
        add_cell(out, m->measured, 1, m->prefill.median, "");
        add_cell(out, m->measured, 1, m->decode.median, "");
        add_cell(out, m->evaluated, 4, m->bits_per_byte, "");
        add_cell(out, m->evaluated, 3, m->eval.ppl, "");
        add_cell(out, m->eval.has_base, 5, m->eval.kl_mean, "");
        add_cell(out, m->eval.has_base, 1, 100 * m->eval.top1, " %");
        slm_buf_puts(out, "</tr>\n");
    }
    slm_page_end_table(out);
}

/* A column for each context. */
static void add_facts(struct slm_buf *out, const struct slm_comparison *c)
{
    enum { BEFORE = 3 };
    char text[16], heads[SLM_MAX_INTS][32];
    const char *columns[BEFORE + SLM_MAX_INTS + 3] = {"model", "parameters", "class"};
    for (size_t i = 0; i < c->contexts.n; i++) {
        snprintf(heads[i], sizeof heads[i], "at %d tokens", c->contexts.items[i]);
        columns[BEFORE + i] = heads[i];
    }
    columns[BEFORE + c->contexts.n] = "licence";
    columns[BEFORE + c->contexts.n + 1] = "types";
    slm_buf_puts(out, "<h2>Memory and origin</h2>\n");
    slm_page_begin_table(out, columns);
    for (size_t i = 0; i < c->n; i++) {
        const struct slm_compared *m = &c->models[i];
        add_row_head(out, m);
        slm_buf_printf(out, "<td>%s</td><td>%s</td>", slm_cli_count(text, (double)m->n_params), m->size_class);
        for (size_t k = 0; k < c->contexts.n; k++)
            slm_buf_printf(out, "<td>%s</td>", m->memory[k].weight_bytes == 0
                                                   ? "–" : slm_cli_size(text, (double)slm_memory_total(&m->memory[k])));
        slm_buf_puts(out, "<td>");
        slm_page_text(out, m->licence[0] ? m->licence : "not stated");
        slm_buf_printf(out, "</td><td>%s</td></tr>\n", m->types);
    }
    slm_page_end_table(out);
}

/* The best of each kind, as far as it was measured. */
static void add_tiles(struct slm_buf *out, const struct slm_comparison *c)
{
    /* The first of equals. */
    const struct slm_compared *small = c->models, *fast = c->models, *good = c->models;
    char text[48], what[SLM_COMPARE_TEXT + 32];
    for (const struct slm_compared *m = c->models; m < c->models + c->n; m++) {
        if (m->file_bytes < small->file_bytes) small = m;
        if (m->decode.median > fast->decode.median) fast = m;
        if (m->bits_per_byte < good->bits_per_byte) good = m;
    }
    slm_buf_puts(out, "<div class=\"tiles\">\n");
    snprintf(what, sizeof what, "smallest: %s", small->name);
    slm_page_tile(out, slm_cli_size(text, (double)small->file_bytes), what);
    /* The others only if they were measured. */
    snprintf(what, sizeof what, "fastest: %s", fast->name);
    snprintf(text, sizeof text, "%.1f tokens/s", fast->decode.median);
    if (c->cpu) slm_page_tile(out, text, what);
    snprintf(what, sizeof what, "predicts best: %s", good->name);
    snprintf(text, sizeof text, "%.3f bits a byte", good->bits_per_byte);
    if (c->text) slm_page_tile(out, text, what);
    slm_buf_puts(out, "</div>\n");
}

/* What the columns mean, and what cannot be compared. */
static void add_notes(struct slm_buf *out, const struct slm_comparison *c)
{
    slm_buf_puts(out, "<p>★ and filled marks: no other model is at least as small, fast and good and better in one of "
                      "these. Memory is predicted, for one session.");
    if (c->cpu) slm_buf_printf(out, " Speed: medians, prompts of %d tokens and %d generated ones.", c->n_prompt,
                               c->n_generate);
    if (c->text) slm_buf_puts(out, " Bits a byte compare models of any tokenizer; KL divergence and how often the "
                                   "likeliest token is the same are beside the base.");
    slm_buf_puts(out, "</p>\n");
    for (size_t i = 0; i < c->n; i++) {
        if (!c->models[i].evaluated || c->models[i].same_tokens) continue;
        slm_buf_puts(out, "<p>No KL divergence of ");
        slm_page_text(out, c->models[i].name);
        slm_buf_puts(out, ": it cuts the text into other tokens than the base.</p>\n");
    }
}

/* What is compared, the answer in three tiles, the charts, everything else. */
void slm_compare_html(struct slm_buf *out, const struct slm_comparison *c)
{
    slm_page_begin(out, "Models side by side");
    slm_buf_puts(out, "<p>Beside <strong>");
    slm_page_text(out, c->models[c->base].name);
    slm_buf_puts(out, "</strong>");
    if (c->text) slm_buf_puts(out, ", on the text ");
    if (c->text) slm_page_text(out, c->text);
    if (c->cpu) slm_buf_puts(out, ", measured on ");
    if (c->cpu) slm_page_text(out, c->cpu);
    if (c->cpu) slm_buf_printf(out, " with %d thread%s and %s kernels", c->n_threads, c->n_threads == 1 ? "" : "s",
                               c->kernels);
    slm_buf_printf(out, " by slm %s</p>\n", slm_version());
    add_tiles(out, c);
    add_choices(out, c);
    add_numbers(out, c);
    add_footprint(out, c);
    add_facts(out, c); /* what is known without measuring */
    add_notes(out, c);
    slm_page_end(out);
}
