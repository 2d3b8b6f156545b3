/* SPDX-License-Identifier: MIT
 * What `slm top` knows of a server, and how it looks: numbers from two scrapes, rows of text from numbers. Pure: no
 * clock, no network, no terminal. */
#ifndef SLM_CLI_TOP_VIEW_H
#define SLM_CLI_TOP_VIEW_H
#include "base/str.h"
#include "serve/scrape.h"

enum { SLM_TOP_HISTORY = 240, SLM_TOP_LATENCIES = 4, SLM_TOP_MODELS = 64 };

struct slm_top_model { char name[64], family[24], params[16]; double bytes, n_ctx, leaves_s; }; /* < 0: stays */
struct slm_top {  /* NaN: not known */
    const char *url;
    double unix_s, up_s, running, waiting, connections;
    double prompt_rate, answer_rate;          /* tokens a second */
    double kv_share, kv_pages, kv_cached, prefix_share;
    double ended[4];                          /* by slm_top_reasons */
    double latency[SLM_TOP_LATENCIES][3];     /* seconds: p50, p95, p99 */
    double prompt_history[SLM_TOP_HISTORY], answer_history[SLM_TOP_HISTORY]; /* [n_history] oldest first */
    size_t n_history;
    struct slm_top_model models[SLM_TOP_MODELS];
    size_t n_models;
    char trouble[520];                        /* why there is nothing new; "": there is */
};
extern const char *const slm_top_reasons[4], *const slm_top_latencies[SLM_TOP_LATENCIES];

/* before: of `seconds` ago, NULL: the first look; far: the oldest that is kept. */
void slm_top_read(struct slm_top *top, const struct slm_scrape *before, const struct slm_scrape *far,
                  const struct slm_scrape *now, double seconds);
/* An answer of /api/ps; what is none leaves no models. */
void slm_top_read_models(struct slm_top *top, struct slm_str json);

/* Lines of at most `width` columns, at most `height` of them (0 = all), each ended by end. */
void slm_top_write(const struct slm_top *top, size_t width, size_t height, bool colour, const char *end,
                   struct slm_buf *out);
void slm_top_write_json(const struct slm_top *top, struct slm_buf *out);
#endif
