/* SPDX-License-Identifier: MIT
 * The reading end of /metrics (Prometheus' text format 0.0.4), for `slm top`: samples by name, sums over their labels,
 * quantiles of histograms. Deliberately not here: types, help, timestamps. */
#ifndef SLM_SERVE_SCRAPE_H
#define SLM_SERVE_SCRAPE_H
#include "base/str.h"

struct slm_sample {
    struct slm_str name, labels; /* labels as they stand between the braces; of the scrape's text */
    double value;
};
struct slm_scrape {
    struct slm_buf text;
    struct slm_sample *samples; /* [n] in the order of the text */
    size_t n;
};
/* Takes text, also on error. Lines that are no samples are left out: other servers write what we do not know. Refuses
 * a text without a single sample. */
slm_status slm_scrape_read(struct slm_buf *text, struct slm_scrape *out, struct slm_error *error);
void slm_scrape_release(struct slm_scrape *scrape);

/* Over all labels; NaN when there is no such name. */
double slm_scrape_sum(const struct slm_scrape *scrape, const char *name);
/* Of those whose label has that value. */
double slm_scrape_where(const struct slm_scrape *scrape, const char *name, const char *label, const char *value);
/* Of what histogram `name` counted from before (NULL: from the start) to after, linear inside of buckets as Prometheus'
 * histogram_quantile has it; NaN when nothing was. */
double slm_scrape_quantile(const struct slm_scrape *before, const struct slm_scrape *after, const char *name, double q);
#endif
