/* SPDX-License-Identifier: MIT
 * What /metrics says, in Prometheus' text format: each number under the name that vLLM gives it and, where
 * llama-server has one, under that too, so that dashboards made for either work. Everything is counted and read on
 * the loop's thread, so nothing here needs a lock. */
#ifndef SLM_SERVE_METRICS_H
#define SLM_SERVE_METRICS_H
#include "serve/host.h"
#include "serve/http_server.h"

/* How often a value was at most each bound; one more for what is above all. */
enum { SLM_MAX_BOUNDS = 24 };
struct slm_histogram { uint64_t counts[SLM_MAX_BOUNDS + 1]; double sum; };

/* Rows of the table in metrics.c. */
enum slm_histogram_id {
    SLM_HIST_TTFT, SLM_HIST_ITL, SLM_HIST_TPOT, SLM_HIST_E2E, SLM_HIST_QUEUE, SLM_HIST_INFERENCE, SLM_HIST_PREFILL,
    SLM_HIST_DECODE, SLM_HIST_PROMPT_TOKENS, SLM_HIST_GENERATION_TOKENS, SLM_HIST_MAX_TOKENS, SLM_HIST_N,
    SLM_HIST_HTTP, SLM_N_HISTOGRAMS,
};
enum { SLM_HTTP_CLASSES = 6 }; /* of statuses: 1xx to 5xx, [0] the client went away */

/* A zeroed struct has counted nothing. */
struct slm_metrics {
    struct slm_model_metrics { struct slm_histogram histograms[SLM_HIST_HTTP]; } *models; /* [n_models] by place */
    size_t n_models;
    struct slm_histogram http;
    uint64_t http_requests[SLM_HTTP_CLASSES];
};
/* For slm_host_options.observe; metrics is the observe_user, model the place of the job's model. */
void slm_metrics_observe(void *metrics, size_t model, const struct slm_job *job, struct slm_job_times *times,
                         const struct slm_event *event);
void slm_metrics_http(struct slm_metrics *metrics, const struct slm_http_done *done);
void slm_metrics_write(const struct slm_metrics *metrics, const struct slm_host *host,
                       const struct slm_http_counts *http, double start_unix_s, struct slm_buf *out);
void slm_metrics_release(struct slm_metrics *metrics);
#endif
