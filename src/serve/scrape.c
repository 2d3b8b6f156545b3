/* SPDX-License-Identifier: MIT
 *
 * See scrape.h. A line is a name, labels in braces or none, a number. Texts are views of the buffer that came, so a
 * scrape is one buffer and one table. Whoever writes such a text may be wrong or mean harm: what is not closed, has no
 * number, or goes on behind it is no sample. */
#include "serve/scrape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"

enum { MOST_SAMPLES = 1 << 20, MOST_BUCKETS = 256 };

/* Colons are for those who make rules of metrics, and for vLLM. */
static bool in_name(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || (!first && c >= '0' && c <= '9');
}

/* Past the text in quotes that begins at `at`; a backslash takes the next byte along. */
static size_t skip_quoted(struct slm_str line, size_t at)
{
    for (at++; at < line.len && line.ptr[at] != '"'; at++)
        if (line.ptr[at] == '\\') at++;
    return at + 1;
}

/* False: it is none. line ends with a byte that is no part of a number, a line feed or the buffer's NUL. */
static bool read_line(struct slm_str line, struct slm_sample *out)
{
    size_t at = 0;
    while (at < line.len && in_name(line.ptr[at], at == 0)) at++;
    out->name = (struct slm_str){line.ptr, at};
    out->labels = (struct slm_str){NULL, 0};
    if (at == 0) return false;
    if (at < line.len && line.ptr[at] == '{') {
        const size_t begin = ++at;
        while (at < line.len && line.ptr[at] != '}') at = line.ptr[at] == '"' ? skip_quoted(line, at) : at + 1;
        if (at >= line.len) return false;
        out->labels = (struct slm_str){line.ptr + begin, at++ - begin};
    }
    const size_t end = at;
    while (at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t')) at++;
    if (at == line.len || (at == end && out->labels.len == 0)) return false;
    char *stop;
    out->value = strtod(line.ptr + at, &stop);
    return stop > line.ptr + at && stop <= line.ptr + line.len && (stop == line.ptr + line.len || *stop == ' ' ||
                                                                   *stop == '\t' || *stop == '\r');
}

/* A line that has no end is the last. */
slm_status slm_scrape_read(struct slm_buf *text, struct slm_scrape *out, struct slm_error *error)
{
    slm_status status = slm_buf_status(text, "metrics", error);
    *out = (struct slm_scrape){.text = *text};
    *text = (struct slm_buf){0};
    for (size_t at = 0; at < out->text.len && status == SLM_OK;) {
        const char *line = out->text.data + at, *end = memchr(line, '\n', out->text.len - at);
        const size_t len = end ? (size_t)(end - line) : out->text.len - at;
        struct slm_sample sample;
        at += len + 1;
        if (!read_line((struct slm_str){line, len}, &sample)) continue;
        if (out->n == MOST_SAMPLES) status = slm_fail(error, SLM_ERR_LIMIT, "metrics", "there are too many samples");
        if (status == SLM_OK && (out->n & (out->n - 1)) == 0) { /* it is full at each power of two */
            struct slm_sample *grown = slm_realloc(out->samples, out->n ? 2 * out->n : 1, sizeof *grown, "metrics",
                                                   error);
            if (grown) out->samples = grown;
            else status = SLM_ERR_MEMORY;
        }
        if (status == SLM_OK) out->samples[out->n++] = sample;
    }
    if (status == SLM_OK && out->n == 0)
        status = slm_fail(error, SLM_ERR_FORMAT, "metrics", "what came has no sample of Prometheus' text format");
    if (status != SLM_OK) slm_scrape_release(out);
    return status;
}

void slm_scrape_release(struct slm_scrape *scrape)
{
    slm_buf_release(&scrape->text);
    slm_release(scrape->samples);
    *scrape = (struct slm_scrape){.n = 0};
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* What stands in the quotes behind `name=`, escapes as they are; ptr NULL: there is no such label. */
static struct slm_str label_of(const struct slm_sample *sample, const char *name)
{
    const struct slm_str all = sample->labels;
    for (size_t at = 0; at < all.len;) {
        while (at < all.len && (all.ptr[at] == ',' || all.ptr[at] == ' ')) at++;
        const size_t begin = at;
        while (at < all.len && all.ptr[at] != '=') at++;
        const struct slm_str key = {all.ptr + begin, at - begin};
        while (at < all.len && all.ptr[at] != '"') at++;
        const size_t from = at + 1;
        at = skip_quoted(all, at);
        if (at > all.len) break; /* it has no end */
        if (slm_str_is(key, name)) return (struct slm_str){all.ptr + from, at - 1 - from};
    }
    return (struct slm_str){NULL, 0};
}

/* label NULL: any. */
double slm_scrape_where(const struct slm_scrape *scrape, const char *name, const char *label, const char *value)
{
    double sum = NAN;
    for (size_t i = 0; i < scrape->n; i++) {
        const struct slm_sample *s = &scrape->samples[i];
        if (!slm_str_is(s->name, name) || (label && !slm_str_is(label_of(s, label), value))) continue;
        sum = isnan(sum) ? s->value : sum + s->value;
    }
    return sum;
}

double slm_scrape_sum(const struct slm_scrape *scrape, const char *name)
{
    return slm_scrape_where(scrape, name, NULL, NULL);
}

struct bucket { double bound, count; };

/* +Inf is the last of its own accord. */
static int by_bound(const void *a, const void *b)
{
    const double x = ((const struct bucket *)a)->bound, y = ((const struct bucket *)b)->bound;
    return (x > y) - (x < y);
}

/* Adds sign times the counts of the scrape's buckets to those of the same bound. Returns how many there are then. */
static size_t add_buckets(const struct slm_scrape *scrape, const char *name, double sign, struct bucket *out, size_t n)
{
    char full[128];
    snprintf(full, sizeof full, "%s_bucket", name);
    for (size_t i = 0; i < scrape->n; i++) {
        const struct slm_sample *s = &scrape->samples[i];
        const struct slm_str le = slm_str_is(s->name, full) ? label_of(s, "le") : (struct slm_str){NULL, 0};
        size_t k = 0;
        if (!le.ptr || le.len == 0) continue;
        const double bound = strtod(le.ptr, NULL); /* it ends at the quote; "+Inf" too is a number */
        if (isnan(bound) || isnan(s->value)) continue;
        while (k < n && out[k].bound != bound) k++;
        if (k == MOST_BUCKETS) continue;
        if (k == n) out[n++] = (struct bucket){bound, 0};
        out[k].count += sign * s->value;
    }
    return n;
}

/* Counts of buckets are cumulative, and so are their differences and their sums over labels. */
double slm_scrape_quantile(const struct slm_scrape *before, const struct slm_scrape *after, const char *name, double q)
{
    struct bucket buckets[MOST_BUCKETS];
    size_t n = add_buckets(after, name, 1, buckets, 0);
    if (before) n = add_buckets(before, name, -1, buckets, n);
    qsort(buckets, n, sizeof *buckets, by_bound);
    const double want = n ? q * buckets[n - 1].count : 0;
    double low = 0, below = 0;
    if (n == 0 || !(buckets[n - 1].count > 0)) return NAN;
    for (size_t i = 0; i < n; i++) {
        const struct bucket *b = &buckets[i];
        if (b->count >= want && isinf(b->bound)) return low; /* above all bounds: the last of them is what is known */
        const double share = b->count > below ? (want - below) / (b->count - below) : 0;
        if (b->count >= want) return low + (b->bound - low) * share;
        low = b->bound;
        below = b->count;
    }
    return low;
}
