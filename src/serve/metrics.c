/* SPDX-License-Identifier: MIT
 *
 * Two tables, one of histograms and one of plain numbers; a metric is a row. Bounds of buckets and definitions are
 * vLLM's: time to first token from the arrival of the request, inter-token latency between any two pieces of text that
 * reach the client, time per output token a mean of each request.
 *
 * What vLLM has names for comes with its label model_name: a series for the default model and for each that was ever
 * loaded, so there are never more than files the server knows. What llama-server has names for is of all models
 * together, as there. Counters stay when a model leaves; it may come back.
 *
 * Deliberately not here: anything that would grow with the number of clients, or with what they ask for. */
#include "serve/metrics.h"

#include "base/os.h"

/* Upper bounds of buckets in seconds, of COUNT in tokens. They are vLLM's to the digit: quantiles of dashboards and
 * of comparisons between servers are made from buckets, and others would shift them. */
#define LATENCY \
    {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}
#define TOKEN {.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
#define REQUEST {.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
#define COUNT {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000}
#define HTTP {.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

/* Bounds end where they stop growing: what a row leaves out is 0. Beyond the last there is one more bucket, +Inf. */
static const struct histogram_row {
    const char *name, *help;
    double bounds[SLM_MAX_BOUNDS];
} histograms[SLM_N_HISTOGRAMS] = {
    [SLM_HIST_TTFT] = {"vllm:time_to_first_token_seconds", "From the request to its first text.", LATENCY},
    [SLM_HIST_ITL] = {"vllm:inter_token_latency_seconds", "Between two pieces of text of one request.", TOKEN},
    [SLM_HIST_TPOT] = {"vllm:request_time_per_output_token_seconds", "Mean of each request after its first token.",
                       TOKEN},
    [SLM_HIST_E2E] = {"vllm:e2e_request_latency_seconds", "From the request to the end of its answer.", REQUEST},
    [SLM_HIST_QUEUE] = {"vllm:request_queue_time_seconds", "Waiting for its turn.", REQUEST},
    [SLM_HIST_INFERENCE] = {"vllm:request_inference_time_seconds", "Computing, prompt and answer.", REQUEST},
    [SLM_HIST_PREFILL] = {"vllm:request_prefill_time_seconds", "Computing the prompt.", REQUEST},
    [SLM_HIST_DECODE] = {"vllm:request_decode_time_seconds", "Computing the answer.", REQUEST},
    [SLM_HIST_PROMPT_TOKENS] = {"vllm:request_prompt_tokens", "Tokens of each prompt.", COUNT},
    [SLM_HIST_GENERATION_TOKENS] = {"vllm:request_generation_tokens", "Tokens of each answer.", COUNT},
    [SLM_HIST_MAX_TOKENS] = {"vllm:request_params_max_tokens", "Most tokens asked for.", COUNT},
    [SLM_HIST_N] = {"vllm:request_params_n", "Answers asked for.", {1, 2, 5, 10, 20}},
    [SLM_HIST_HTTP] = {"http_request_duration_seconds", "HTTP requests, from head to the end of the reply.", HTTP},
};

static size_t n_bounds(const struct histogram_row *row)
{
    size_t n = 0;
    while (n < SLM_MAX_BOUNDS && row->bounds[n] > (n ? row->bounds[n - 1] : 0)) n++;
    return n;
}

/* Each value is counted in one bucket only; add_histogram() sums them up, since Prometheus wants them cumulative. */
static void record_in(struct slm_histogram *h, const struct histogram_row *row, double value)
{
    const size_t n = n_bounds(row);
    size_t i = 0;
    while (i < n && value > row->bounds[i]) i++;
    h->counts[i]++;
    h->sum += value;
}

/* The same of a model, by name. */
static void record(struct slm_model_metrics *m, enum slm_histogram_id id, double value)
{
    record_in(&m->histograms[id], &histograms[id], value);
}

/* The model's own, made when its first event comes. NULL without memory: then that event is not counted. */
static struct slm_model_metrics *metrics_of(struct slm_metrics *m, size_t model)
{
    if (model < m->n_models) return &m->models[model];
    struct slm_model_metrics *grown = slm_realloc(m->models, model + 1, sizeof *grown, "metrics", NULL);
    if (!grown) return NULL;
    memset(grown + m->n_models, 0, (model + 1 - m->n_models) * sizeof *grown);
    m->models = grown;
    m->n_models = model + 1;
    return &m->models[model];
}

void slm_metrics_release(struct slm_metrics *m)
{
    slm_release(m->models);
    *m = (struct slm_metrics){.n_models = 0};
}

/* ---- counting -------------------------------------------------------------------------------------------- */

/* Not below 0 where two threads have read the clock in another order than they stored it. */
static double seconds_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? (double)(now_ns - then_ns) * 1e-9 : 0;
}

/* TPOT leaves out the first token of each choice, whose time is TTFT's. Choices decode side by side, so the time that
 * passed counts once for each of them. Jobs of embeddings have no answer: zeros would spoil the histograms. */
static void count_end(struct slm_model_metrics *m, const struct slm_job *job, const struct slm_job_times *times,
                      const struct slm_usage *usage, uint64_t now)
{
    record(m, SLM_HIST_E2E, seconds_since(times->submit_ns, now));
    record(m, SLM_HIST_QUEUE, usage->queue_s);
    record(m, SLM_HIST_PREFILL, usage->prompt_s);
    record(m, SLM_HIST_INFERENCE, usage->prompt_s + usage->generate_s);
    record(m, SLM_HIST_PROMPT_TOKENS, (double)usage->n_prompt);
    if (job->n_embed > 0) return; /* the rest is about answers */
    record(m, SLM_HIST_DECODE, usage->generate_s);
    record(m, SLM_HIST_GENERATION_TOKENS, (double)usage->n_generated);
    record(m, SLM_HIST_N, (double)job->n_choices);
    if (job->n_predict > 0) record(m, SLM_HIST_MAX_TOKENS, (double)job->n_predict);
    const double after_first = (double)usage->n_generated - (double)job->n_choices;
    if (after_first > 0 && times->first_ns)
        record(m, SLM_HIST_TPOT,
               seconds_since(times->first_ns, times->last_ns) * (double)job->n_choices / after_first);
}

/* For every event of every job. times belongs to the job and is kept up here; now_ns is a clock that nobody sets. */
void slm_metrics_observe(void *metrics, size_t model, const struct slm_job *job, struct slm_job_times *times,
                         const struct slm_event *event)
{
    struct slm_model_metrics *m = metrics_of(metrics, model);
    const uint64_t now = slm_os()->now_ns();
    if (!m) return;
    if (event->kind == SLM_EVENT_PART) {
        if (times->first_ns) record(m, SLM_HIST_ITL, seconds_since(times->last_ns, now));
        else record(m, SLM_HIST_TTFT, seconds_since(times->submit_ns, now));
        if (!times->first_ns) times->first_ns = now;
        times->last_ns = now;
    } else if (event->kind == SLM_EVENT_END) {
        count_end(m, job, times, &event->usage, now);
    }
}

/* 499 is no status that was sent: the client had gone. As a 4xx it would look like an error of ours or theirs. */
void slm_metrics_http(struct slm_metrics *m, const struct slm_http_done *done)
{
    m->http_requests[done->status == 499 ? 0 : done->status / 100]++;
    record_in(&m->http, &histograms[SLM_HIST_HTTP], done->seconds);
}

/* ---- writing --------------------------------------------------------------------------------------------- */

/* Prometheus's text format 0.0.4: each name once, its HELP and TYPE before its samples. */
static void add_head(struct slm_buf *out, const char *name, const char *type, const char *help)
{
    slm_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* model_name="NAME": names are files', so they may hold anything; the format escapes three bytes. */
static void add_label(struct slm_buf *out, const char *name)
{
    slm_buf_puts(out, "model_name=\"");
    for (const char *c = name; *c; c++) {
        if (*c == '\n') slm_buf_puts(out, "\\n");
        else slm_buf_printf(out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    }
    slm_buf_puts(out, "\"");
}

/* label: inside of the braces, or "". */
static void add_histogram(struct slm_buf *out, const struct histogram_row *row, const char *label,
                          const struct slm_histogram *h)
{
    const size_t n = n_bounds(row);
    const char *comma = *label ? "," : "", *open = *label ? "{" : "", *close = *label ? "}" : "";
    uint64_t sum = 0;
    for (size_t i = 0; i <= n; i++) {
        sum += h->counts[i];
        slm_buf_printf(out, "%s_bucket{%s%sle=\"", row->name, label, comma);
        if (i < n) slm_buf_printf(out, "%g\"} %llu\n", row->bounds[i], (unsigned long long)sum);
        else slm_buf_printf(out, "+Inf\"} %llu\n", (unsigned long long)sum);
    }
    slm_buf_printf(out, "%s_sum%s%s%s %.9g\n%s_count%s%s%s %llu\n", row->name, open, label, close, h->sum, row->name,
                   open, label, close, (unsigned long long)sum);
}

/* 0 in place of 0/0 at the start: NaN is legal in the format, but makes every sum over it NaN. */
static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* A model as it is written: its label and its numbers. Those without numbers of their own yet have zeros. */
struct written {
    struct slm_buf label;
    struct slm_host_counts counts;
    const struct slm_model_metrics *metrics;
};

/* Requests that ended, by vLLM's reasons. */
static void add_finished(struct slm_buf *out, const struct written *models, size_t n)
{
    static const struct { const char *reason; enum slm_finish from[2]; } rows[] = {
        {"stop", {SLM_FINISH_EOG, SLM_FINISH_STOP}},
        {"length", {SLM_FINISH_LENGTH, SLM_FINISH_LENGTH}},
        {"abort", {SLM_FINISH_CANCELLED, SLM_FINISH_TIMEOUT}},
        {"error", {7, 7}}, /* what failed has no finish */
    };
    add_head(out, "vllm:request_success_total", "counter", "Answers that ended, by reason.");
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const enum slm_finish a = rows[i].from[0], b = rows[i].from[1];
            const uint64_t *ends = models[k].counts.n_finished;
            slm_buf_printf(out, "vllm:request_success_total{%s,finished_reason=\"%s\"} %llu\n", models[k].label.data,
                           rows[i].reason, (unsigned long long)(ends[a] + (a == b ? 0 : ends[b])));
        }
}

static void add_http(struct slm_buf *out, const struct slm_metrics *m)
{
    static const char *const names[SLM_HTTP_CLASSES] = {"gone", "1xx", "2xx", "3xx", "4xx", "5xx"};
    add_head(out, "http_requests_total", "counter", "HTTP requests by class of status.");
    for (size_t i = 0; i < SLM_HTTP_CLASSES; i++)
        slm_buf_printf(out, "http_requests_total{status=\"%s\"} %llu\n", names[i],
                       (unsigned long long)m->http_requests[i]);
}

struct number { const char *name, *type, *help; double value; };

/* What each model has. KV pages kept for later prompts count as free: they give way at once. */
enum { N_MODEL_NUMBERS = 13 };
static void numbers_of(const struct slm_host_counts *h, struct number out[N_MODEL_NUMBERS])
{
    const double kv = ratio((double)h->kv_pages_used, (double)h->kv_pages);
    const struct number numbers[N_MODEL_NUMBERS] = {
        {"vllm:num_requests_running", "gauge", "Requests being computed.", (double)h->n_running},
        {"vllm:num_requests_waiting", "gauge", "Requests waiting for their turn.", (double)h->n_waiting},
        {"vllm:kv_cache_usage_perc", "gauge", "Share of the KV pages that requests hold, 0 to 1.", kv},
        {"vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked for in the cache.",
         (double)h->prompt_tokens},
        {"vllm:prefix_cache_hits_total", "counter", "Prompt tokens found there.", (double)h->cached_tokens},
        {"vllm:num_preemptions_total", "counter", "Requests put back for lack of KV pages.", (double)h->n_preempted},
        {"vllm:prompt_tokens_total", "counter", "Prompt tokens.", (double)h->prompt_tokens},
        {"vllm:generation_tokens_total", "counter", "Generated tokens.", (double)h->generated_tokens},
        {"vllm:spec_decode_num_draft_tokens_total", "counter", "Tokens guessed.", (double)h->speculation.n_guessed},
        {"vllm:spec_decode_num_accepted_tokens_total", "counter", "Tokens guessed right.",
         (double)h->speculation.n_accepted},
        {"slm_kv_pages", "gauge", "Pages of the KV pool.", (double)h->kv_pages},
        {"slm_kv_pages_used", "gauge", "Of these, held by requests.", (double)h->kv_pages_used},
        {"slm_kv_pages_cached", "gauge", "Of these, kept for prompts to come.", (double)h->kv_pages_cached},
    };
    memcpy(out, numbers, sizeof numbers);
}

/* Prometheus wants all samples of a name together: names outside, models inside. */
static void add_models(struct slm_buf *out, const struct written *models, size_t n)
{
    static const struct slm_histogram empty = {.sum = 0};
    struct number numbers[N_MODEL_NUMBERS];
    for (size_t i = 0; i < N_MODEL_NUMBERS; i++)
        for (size_t k = 0; k < n; k++) {
            numbers_of(&models[k].counts, numbers);
            if (k == 0) add_head(out, numbers[i].name, numbers[i].type, numbers[i].help);
            slm_buf_printf(out, "%s{%s} %.15g\n", numbers[i].name, models[k].label.data, numbers[i].value);
        }
    add_finished(out, models, n);
    for (size_t i = 0; i < SLM_HIST_HTTP; i++) {
        add_head(out, histograms[i].name, "histogram", histograms[i].help);
        for (size_t k = 0; k < n; k++)
            add_histogram(out, &histograms[i], models[k].label.data,
                          models[k].metrics ? &models[k].metrics->histograms[i] : &empty);
    }
}

/* The rows under llama.cpp's names say the same once more for dashboards made for its server. The "since start" gauges
 * are among them; rates over counters say more. */
static void add_totals(struct slm_buf *out, const struct slm_host_counts *h, const struct slm_http_counts *http,
                       double start_unix_s)
{
    const struct number rows[] = {
        {"llamacpp:prompt_tokens_total", "counter", "Prompt tokens computed.",
         (double)(h->prompt_tokens - h->cached_tokens)},
        {"llamacpp:prompt_seconds_total", "counter", "Seconds of computing prompts.", h->prompt_s},
        {"llamacpp:prompt_tokens_seconds", "gauge", "Prompt tokens a second, since start.",
         ratio((double)(h->prompt_tokens - h->cached_tokens), h->prompt_s)},
        {"llamacpp:tokens_predicted_total", "counter", "Generated tokens.", (double)h->generated_tokens},
        {"llamacpp:tokens_predicted_seconds_total", "counter", "Seconds of generating.", h->generate_s},
        {"llamacpp:predicted_tokens_seconds", "gauge", "Generated tokens a second of each request, since start.",
         ratio((double)h->generated_tokens, h->generate_s)},
        {"llamacpp:requests_processing", "gauge", "Requests being computed.", (double)h->n_running},
        {"llamacpp:requests_deferred", "gauge", "Requests waiting for their turn.", (double)h->n_waiting},
        {"llamacpp:n_decode_total", "counter", "Passes over the weights.", (double)h->n_steps},
        {"llamacpp:n_busy_slots_per_decode", "gauge", "Tokens a pass, since start.",
         ratio((double)h->n_step_rows, (double)h->n_steps)},
        {"slm_models_loaded", "gauge", "Models in memory.", (double)h->n_models_loaded},
        {"slm_http_connections", "gauge", "Open connections.", (double)http->n_connections},
        {"slm_http_requests_active", "gauge", "HTTP requests whose reply has not ended.", (double)http->n_busy},
        {"slm_http_body_bytes", "gauge", "Bodies of requests in memory.", (double)http->body_bytes},
        {"slm_http_connections_total", "counter", "Connections accepted.", (double)http->n_accepted},
        {"slm_http_connections_refused_total", "counter", "Connections refused: too many.",
         (double)http->n_refused},
        {"process_start_time_seconds", "gauge", "Start, in Unix time.", start_unix_s},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        add_head(out, rows[i].name, rows[i].type, rows[i].help);
        slm_buf_printf(out, "%s %.15g\n", rows[i].name, rows[i].value);
    }
}

/* In the order of the tables: models, the server, HTTP. */
static void add_all(const struct slm_metrics *m, const struct written *models, size_t n,
                    const struct slm_http_counts *http, double start_unix_s, struct slm_buf *out)
{
    const struct histogram_row *row = &histograms[SLM_HIST_HTTP];
    struct slm_host_counts sum = {.n_running = 0};
    for (size_t k = 0; k < n; k++) slm_host_counts_add(&sum, &models[k].counts);
    add_models(out, models, n);
    add_totals(out, &sum, http, start_unix_s);
    add_http(out, m);
    add_head(out, row->name, "histogram", row->help);
    add_histogram(out, row, "", &m->http);
}

/* What there is no memory to write down is left out: the next scrape may find some. */
void slm_metrics_write(const struct slm_metrics *m, const struct slm_host *host, const struct slm_http_counts *http,
                       double start_unix_s, struct slm_buf *out)
{
    struct written *models = NULL, *grown;
    struct slm_host_counts counts;
    const char *name;
    size_t n = 0;
    for (; slm_host_counts_of(host, n, &counts, &name); n++) {
        if (!(grown = slm_realloc(models, n + 1, sizeof *models, "metrics", NULL))) break;
        models = grown;
        models[n] = (struct written){.counts = counts, .metrics = n < m->n_models ? &m->models[n] : NULL};
        add_label(&models[n].label, name);
        if (slm_buf_status(&models[n].label, "metrics", NULL) == SLM_OK) continue;
        slm_buf_release(&models[n].label);
        break;
    }
    add_all(m, models, n, http, start_unix_s, out);
    for (size_t i = 0; i < n; i++) slm_buf_release(&models[i].label);
    slm_release(models);
}
