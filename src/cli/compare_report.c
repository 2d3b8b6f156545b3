/* SPDX-License-Identifier: MIT
 *
 * What `slm compare` found, as JSON for scripts and as tables for people. What was not measured is null, or a dash. New
 * fields may be added, none is renamed. */
#include "cli/compare.h"

/* ---- JSON ------------------------------------------------------------------------------------ */

/* null for what was not measured: zero would be an answer. */
static void add_real(struct slm_buf *out, const char *key, bool known, double value)
{
    if (known) slm_json_real(out, key, value);
    else slm_json_text(out, key, NULL);
}

/* {"n_ctx": .., "weights_bytes": ..}; null where the model was not trained for so much. */
static void add_memory_list(struct slm_buf *out, const struct slm_comparison *c, const struct slm_compared *m)
{
    slm_json_key(out, "memory");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < c->contexts.n; i++) {
        if (i) slm_buf_puts(out, ",");
        if (m->memory[i].weight_bytes == 0) {
            slm_buf_puts(out, "null");
            continue;
        }
        slm_buf_puts(out, "{");
        slm_json_i64(out, "n_ctx", c->contexts.items[i]);
        slm_json_memory(out, &m->memory[i]);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]");
}

/* All fields always, so that scripts need not ask which there are. */
static void add_model(struct slm_buf *out, const struct slm_comparison *c, size_t i)
{
    const struct slm_compared *m = &c->models[i];
    const struct slm_eval_result *e = &m->eval;
    slm_json_text(out, "model", m->path);
    slm_json_text(out, "name", m->name);
    slm_json_bool(out, "is_base", i == c->base);
    slm_json_text(out, "architecture", m->architecture);
    slm_json_text(out, "licence", m->licence[0] ? m->licence : NULL);
    /* Sizes: of the file, and of what is in it. */
    slm_json_i64(out, "n_params", (int64_t)m->n_params);
    slm_json_text(out, "size_class", m->size_class);
    slm_json_i64(out, "file_bytes", (int64_t)m->file_bytes);
    slm_json_i64(out, "weights_bytes", (int64_t)m->work.weight_bytes);
    slm_json_real(out, "bits_per_weight", m->bits);
    slm_json_text(out, "types", m->types);
    add_memory_list(out, c, m);
    /* Measured here and now, so never the same twice. */
    add_real(out, "prefill_tok_s", m->measured, m->prefill.median);
    add_real(out, "decode_tok_s", m->measured, m->decode.median);
    add_real(out, "ppl", m->evaluated, e->ppl);
    add_real(out, "ppl_error", m->evaluated, e->ppl_error);
    add_real(out, "bits_per_byte", m->evaluated, m->bits_per_byte);
    /* Whether there can be a divergence at all. */
    slm_json_key(out, "same_tokens_as_base");
    slm_buf_puts(out, !m->evaluated ? "null" : m->same_tokens ? "true" : "false");
    add_real(out, "kl_mean", e->has_base, e->kl_mean);
    add_real(out, "kl_mean_error", e->has_base, e->kl_error);
    add_real(out, "kl_p99", e->has_base, e->kl_p99);
    add_real(out, "top1", e->has_base, e->top1);
    slm_json_bool(out, "front", m->front);
}

/* The question, the models, and what the base would be in other types. */
void slm_compare_json(struct slm_buf *out, const struct slm_comparison *c)
{
    slm_buf_puts(out, "{");
    slm_json_text(out, "base", c->models[c->base].path);
    slm_json_text(out, "text", c->text);
    slm_json_text(out, "cpu", c->cpu);
    slm_json_text(out, "kernels", c->kernels);
    slm_json_i64(out, "threads", c->n_threads);
    slm_json_i64(out, "n_prompt", c->n_prompt);
    slm_json_i64(out, "n_gen", c->n_generate);
    slm_json_key(out, "models");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < c->n; i++) {
        slm_buf_puts(out, i ? ",{" : "{");
        add_model(out, c, i);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]");
    /* Types that nobody has made yet are there as well. */
    slm_json_key(out, "footprint");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < c->n_footprint; i++) {
        slm_buf_puts(out, i ? ",{" : "{");
        slm_json_text(out, "type", c->footprint[i].type);
        slm_json_bool(out, "present", c->footprint[i].present);
        slm_json_i64(out, "n_ctx", c->footprint_ctx);
        slm_json_memory(out, &c->footprint[i].memory);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]}\n");
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Right-aligned in so many columns; a dash for what is not known. */
static void add_number(struct slm_buf *out, int width, bool known, int decimals, double value)
{
    if (known) slm_buf_printf(out, "  %*.*f", width, decimals, value);
    else slm_buf_printf(out, "  %*s", width, "-");
}

/* The first column is as wide as the longest name. */
static int longest_name(const struct slm_comparison *c)
{
    size_t most = 5;
    for (size_t i = 0; i < c->n; i++)
        if (strlen(c->models[i].name) > most) most = strlen(c->models[i].name);
    return (int)most;
}

/* Names are of files: no byte of them may command the terminal. */
static void add_name(struct slm_buf *out, int width, const char *name)
{
    for (int i = 0; i < width; i++) {
        const char c = *name ? *name++ : ' ';
        const char shown = (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
        slm_buf_add(out, &shown, 1);
    }
}

/* The types stand last: their list has no fixed width, and no line ends in spaces. */
static void add_model_line(struct slm_buf *out, const struct slm_comparison *c, const struct slm_compared *m, int width)
{
    char a[16], b[16];
    slm_buf_puts(out, m->front ? "* " : "  ");
    add_name(out, width, m->name);
    slm_buf_printf(out, "  %7s  %8s", slm_cli_count(a, (double)m->n_params), slm_cli_size(b, (double)m->file_bytes));
    add_number(out, 5, true, 2, m->bits);
    /* Columns that nobody has are left out. */
    if (c->cpu) add_number(out, 9, m->measured, 1, m->prefill.median);
    if (c->cpu) add_number(out, 8, m->measured, 1, m->decode.median);
    if (c->text) {
        add_number(out, 9, m->evaluated, 4, m->bits_per_byte);
        add_number(out, 10, m->evaluated, 3, m->eval.ppl);
        add_number(out, 8, m->eval.has_base, 5, m->eval.kl_mean);
        add_number(out, 6, m->eval.has_base, 1, 100 * m->eval.top1);
    }
    slm_buf_printf(out, "  %s\n", m->types);
}

/* A second table, since one of all columns would be wider than a terminal. */
static void add_memory_table(struct slm_buf *out, const struct slm_comparison *c, int width)
{
    char text[24];
    slm_buf_printf(out, "\n  %-*s", width, "memory at");
    for (size_t i = 0; i < c->contexts.n; i++) {
        snprintf(text, sizeof text, "%d", c->contexts.items[i]);
        slm_buf_printf(out, "  %9s", text);
    }
    slm_buf_puts(out, "  licence\n");
    for (size_t i = 0; i < c->n; i++) {
        const struct slm_compared *m = &c->models[i];
        slm_buf_puts(out, "  ");
        add_name(out, width, m->name);
        for (size_t k = 0; k < c->contexts.n; k++)
            slm_buf_printf(out, "  %9s", m->memory[k].weight_bytes == 0
                                              ? "-" : slm_cli_size(text, (double)slm_memory_total(&m->memory[k])));
        slm_buf_puts(out, "  ");
        add_name(out, m->licence[0] ? (int)strlen(m->licence) : 10, m->licence[0] ? m->licence : "not stated");
        slm_buf_puts(out, "\n");
    }
}

/* Lines below say what is not comparable, and why. */
void slm_compare_text(struct slm_buf *out, const struct slm_comparison *c)
{
    const int width = longest_name(c);
    slm_buf_printf(out, "  %-*s  %7s  %8s  %5s", width, "model", "params", "on disk", "bits");
    if (c->cpu) slm_buf_printf(out, "  %9s  %8s", "prefill/s", "decode/s");
    if (c->text) slm_buf_printf(out, "  %9s  %10s  %8s  %6s", "bits/byte", "perplexity", "KL", "top1 %");
    slm_buf_puts(out, "  types\n");
    for (size_t i = 0; i < c->n; i++) add_model_line(out, c, &c->models[i], width);
    /* Who needs what, and whose it is. */
    add_memory_table(out, c, width);
    /* The star, and what stands beside what. */
    slm_buf_puts(out, "\n* no other is smaller, faster and better at once");
    if (c->text) {
        slm_buf_puts(out, "; KL divergence and likeliest tokens are beside ");
        add_name(out, (int)strlen(c->models[c->base].name), c->models[c->base].name);
    }
    slm_buf_puts(out, "\n");
    for (size_t i = 0; i < c->n; i++)
        if (c->models[i].evaluated && !c->models[i].same_tokens) {
            slm_buf_puts(out, "no KL divergence of ");
            add_name(out, (int)strlen(c->models[i].name), c->models[i].name);
            slm_buf_puts(out, ": it cuts the text into other tokens than the base; bits a byte compare them\n");
        }
}
