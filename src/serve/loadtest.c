/* SPDX-License-Identifier: MIT
 *
 * See loadtest.h. One loop sends requests when their time has come and there is room, and writes down when their pieces
 * arrive. The clock of a request begins before its connection is made: that is what its user waits for.
 *
 * Times between requests are drawn from (seed, number of the request), so the same seed sends the same load to every
 * server. Deliberately not here: prompts (loadtest_prompts.c), retries (a refusal is a result). */
#include "serve/loadtest.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <uv.h>

#include "base/os.h"
#include "base/rng.h"
#include "serve/events.h"

enum { MOST_OF_AN_ERROR = 400 }; /* bytes of an answer that is none */

/* Seconds, as many as come: which of them are the middle or the worst is known only at the end. */
struct list { double *items; size_t n, cap; };

/* Doubles its room: a million gaps are twenty steps. */
static bool add(struct list *list, double value)
{
    if (list->n == list->cap) {
        const size_t cap = list->cap ? 2 * list->cap : 64;
        double *grown = slm_realloc(list->items, cap, sizeof *grown, "figures", NULL);
        if (!grown) return false;
        list->items = grown;
        list->cap = cap;
    }
    list->items[list->n++] = value;
    return true;
}

struct load {
    const struct slm_load_options *options;
    struct slm_load_result *result;
    struct slm_peer *peer;
    uv_loop_t loop;
    uv_timer_t timer;
    size_t n_sent, n_due, n_over, n_open; /* due: their time has come */
    double next_s;                        /* when the next is due, since the start */
    uint64_t start_ns, end_ns;
    struct list lists[SLM_LOAD_FIGURES];
    slm_status failed;                    /* without memory no figure is true */
};

/* A request at work. */
struct shot {
    struct load *load;
    uint64_t sent_ns, first_ns, last_ns;
    size_t n_pieces;
    json_int_t n_prompt, n_generated;     /* of its usage; -1 not said */
    struct list gaps;
    struct slm_events events;
    struct slm_buf head;                  /* of the body, for the message when it is an error */
    bool broke, is_done;                  /* an error inside; the last event has come */
};

/* Both by the clock that nobody sets. */
static double seconds(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) * 1e-9 : 0;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* values sorted. Linear between the two nearest ranks, as numpy.percentile. */
static double percentile(const double *values, size_t n, double share)
{
    const double at = share * (double)(n - 1);
    const size_t i = (size_t)at;
    return i + 1 < n ? values[i] + (at - (double)i) * (values[i + 1] - values[i]) : values[n - 1];
}

/* Sorts the list in its place. Of no values everything is 0, and n says so. */
static struct slm_load_series series_of(struct list *list)
{
    struct slm_load_series s = {.n = list->n};
    if (s.n == 0) return s;
    qsort(list->items, list->n, sizeof *list->items, by_size);
    for (size_t i = 0; i < s.n; i++) s.mean += list->items[i] / (double)s.n;
    s.p50 = percentile(list->items, s.n, .5);
    s.p90 = percentile(list->items, s.n, .9);
    s.p95 = percentile(list->items, s.n, .95);
    s.p99 = percentile(list->items, s.n, .99);
    return s;
}

/* An answer that came whole. Its figures count, and whether it was in time. */
static void count_answer(struct load *load, struct shot *shot, uint64_t now)
{
    const double *slo = load->options->slo;
    struct slm_load_result *out = load->result;
    const json_int_t n = shot->n_generated >= 0 ? shot->n_generated : (json_int_t)shot->n_pieces;
    double value[SLM_LOAD_FIGURES] = {[SLM_LOAD_TTFT] = seconds(shot->sent_ns, shot->first_ns),
                                      [SLM_LOAD_E2EL] = seconds(shot->sent_ns, now)};
    bool good = true, fits = true;
    value[SLM_LOAD_TPOT] = n > 1 ? (value[SLM_LOAD_E2EL] - value[SLM_LOAD_TTFT]) / (double)(n - 1) : 0;
    for (size_t i = 0; i < shot->gaps.n; i++) {
        fits = fits && add(&load->lists[SLM_LOAD_ITL], shot->gaps.items[i]);
        value[SLM_LOAD_ITL] += shot->gaps.items[i] / (double)shot->gaps.n;
    }
    for (int f = 0; f < SLM_LOAD_FIGURES; f++) {
        good = good && (slo[f] <= 0 || value[f] <= slo[f]);
        /* One token has no time per further token; ITL is of gaps, not of answers. */
        if (f != SLM_LOAD_ITL && !(f == SLM_LOAD_TPOT && n <= 1)) fits = fits && add(&load->lists[f], value[f]);
    }
    if (!fits) load->failed = SLM_ERR_MEMORY;
    out->n_good += good;
    out->n_generated += (uint64_t)n;
    if (shot->n_prompt > 0) out->n_prompt += (uint64_t)shot->n_prompt;
}

/* ---- an answer --------------------------------------------------------------------------------------------------- */

/* Text in any of the places where servers put it: of chats, of thinking (two names), of completions. */
/* Only whether: the text itself is nobody's business here. */
static bool has_text(const json_t *choice)
{
    static const char *const names[] = {"content", "reasoning_content", "reasoning"};
    const json_t *delta = json_object_get(choice, "delta");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_string_length(json_object_get(delta, names[i])) > 0) return true;
    return json_string_length(json_object_get(choice, "text")) > 0;
}

/* An event: the end, an error inside of a stream that began well, usage, or text. Roles and reasons to end are no
 * text, so they are no first token either. */
static void on_data(void *user, struct slm_str data)
{
    struct shot *shot = user;
    const uint64_t now = slm_os()->now_ns();
    if (slm_str_is(data, "[DONE]")) {
        shot->is_done = true;
        return;
    }
    json_t *event = json_loadb(data.ptr, data.len, JSON_ALLOW_NUL, NULL);
    const json_t *usage = json_object_get(event, "usage"), *choices = json_object_get(event, "choices");
    if (!event || json_object_get(event, "error")) {
        shot->broke = true;
        slm_buf_clear(&shot->head);
        slm_buf_add(&shot->head, data.ptr, data.len < MOST_OF_AN_ERROR ? data.len : MOST_OF_AN_ERROR);
    }
    if (json_is_object(usage)) {
        const json_t *in = json_object_get(usage, "prompt_tokens"), *out = json_object_get(usage, "completion_tokens");
        if (json_is_integer(in) && json_integer_value(in) >= 0) shot->n_prompt = json_integer_value(in);
        if (json_is_integer(out) && json_integer_value(out) >= 0) shot->n_generated = json_integer_value(out);
    }
    bool any = false;
    for (size_t i = 0; i < json_array_size(choices); i++) any = any || has_text(json_array_get(choices, i));
    json_decref(event);
    if (!any) return;
    shot->n_pieces++;
    if (!shot->first_ns) shot->first_ns = now;
    else if (!add(&shot->gaps, seconds(shot->last_ns, now))) shot->load->failed = SLM_ERR_MEMORY;
    shot->last_ns = now;
}

/* The first bytes are kept as long as no text has come: if the answer is an error, they say which. */
static void on_body(void *user, const char *data, size_t n)
{
    struct shot *shot = user;
    struct slm_error error;
    const size_t room = MOST_OF_AN_ERROR - (shot->head.len < MOST_OF_AN_ERROR ? shot->head.len : MOST_OF_AN_ERROR);
    if (shot->n_pieces == 0 && !shot->broke) slm_buf_add(&shot->head, data, n < room ? n : room);
    if (slm_events_feed(&shot->events, data, n, &error) != SLM_OK) shot->broke = true;
}

static void send_due(struct load *load);

/* The first reason is told: the others are mostly the same. */
static void keep_error(struct load *load, const struct shot *shot, int status, const struct slm_error *error)
{
    struct slm_error *first = &load->result->first_error;
    char text[MOST_OF_AN_ERROR];
    if (first->status != SLM_OK) return;
    slm_escape(text, sizeof text, (struct slm_str){shot->head.data, shot->head.len});
    if (error) *first = *error;
    else if (status == 200 && !shot->broke)
        slm_fail(first, SLM_ERR_FORMAT, "answer", "no text came as a stream of events: %s", text);
    else slm_fail(first, SLM_ERR_IO, "answer", "status %d: %s", status, text);
}

/* Its memory goes here; then there is room for the next. */
static void on_end(void *user, int status, int retry_after_s, const struct slm_error *error)
{
    struct shot *shot = user;
    struct load *load = shot->load;
    const uint64_t now = slm_os()->now_ns();
    const bool whole = !error && status == 200 && !shot->broke && shot->n_pieces > 0;
    const enum slm_load_fate fate = whole ? SLM_LOAD_DONE : error || status == 200 ? SLM_LOAD_BROKEN
                                  : status == 429 ? SLM_LOAD_429 : status == 503 || status == 529 ? SLM_LOAD_503
                                  : SLM_LOAD_HTTP;
    load->result->n_fates[fate]++;
    if ((fate == SLM_LOAD_429 || fate == SLM_LOAD_503) && retry_after_s >= 0) load->result->n_retry_after++;
    if (whole) count_answer(load, shot, now);
    else keep_error(load, shot, status, error);
    load->n_over++;
    load->n_open--;
    load->end_ns = now;
    slm_release(shot->gaps.items);
    slm_buf_release(&shot->head);
    slm_events_release(&shot->events);
    slm_release(shot);
    if (load->options->progress) load->options->progress(load->options->user, load->n_over, load->options->n_requests);
    send_due(load);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* Greedy, so that the same prompts mean the same work; usage is asked for because pieces are not tokens. */
static void write_body(const struct slm_load_options *o, size_t number, struct slm_buf *out)
{
    const struct slm_str prompt = o->prompts->items[number % o->prompts->n];
    slm_buf_puts(out, "{");
    if (o->model) {
        slm_buf_puts(out, "\"model\":");
        slm_buf_add_json_string(out, slm_str(o->model));
        slm_buf_puts(out, ",");
    }
    const bool wrap = !o->completions && prompt.ptr[0] != '[';
    slm_buf_puts(out, o->completions ? "\"prompt\":" : "\"messages\":");
    if (wrap) slm_buf_puts(out, "[{\"role\":\"user\",\"content\":");
    slm_buf_add_str(out, prompt);
    slm_buf_printf(out, "%s,\"max_tokens\":%d,\"temperature\":0,\"stream\":true,\"stream_options\":"
                        "{\"include_usage\":true}%s}", wrap ? "}]" : "", o->n_output,
                   o->ignore_eos ? ",\"ignore_eos\":true" : "");
}

/* The clock starts once the body is written: that is our work, not the server's. */
static slm_status send_one(struct load *load, struct slm_error *error)
{
    const struct slm_load_options *o = load->options;
    struct slm_buf body = {0};
    struct shot *shot = slm_alloc(1, sizeof *shot, "request", error);
    if (!shot) return SLM_ERR_MEMORY;
    shot->load = load;
    shot->n_prompt = shot->n_generated = -1;
    slm_events_init(&shot->events, on_data, shot);
    write_body(o, load->n_sent, &body);
    shot->sent_ns = slm_os()->now_ns();
    slm_status status = slm_buf_status(&body, "request", error);
    const struct slm_ask ask = {.method = "POST", .path = o->completions ? "/completions" : "/chat/completions",
                                .key = o->key, .body = {body.data, body.len}, .timeout_ms = o->timeout_ms,
                                .on_body = on_body, .on_end = on_end, .user = shot};
    if (status == SLM_OK) status = slm_peer_ask(load->peer, &ask, error);
    slm_buf_release(&body);
    if (status != SLM_OK) {
        slm_release(shot);
        return status;
    }
    load->n_open++;
    if (load->n_open > load->result->most_at_once) load->result->most_at_once = load->n_open;
    return SLM_OK;
}

/* As many as are due and have room. What cannot even be sent is broken. */
static void send_due(struct load *load)
{
    const struct slm_load_options *o = load->options;
    while (load->n_sent < load->n_due && (o->concurrency == 0 || load->n_open < o->concurrency)) {
        struct slm_error error;
        const slm_status status = send_one(load, &error);
        load->n_sent++;
        if (status == SLM_OK) continue;
        load->n_over++;
        load->end_ns = slm_os()->now_ns();
        load->result->n_fates[SLM_LOAD_BROKEN]++;
        if (load->result->first_error.status == SLM_OK) load->result->first_error = error;
    }
}

/* Times between arrivals at random are exponential. The timer counts milliseconds, so several may be due at once. */
static void on_time(uv_timer_t *timer)
{
    struct load *load = timer->data;
    const struct slm_load_options *o = load->options;
    const double now_s = seconds(load->start_ns, slm_os()->now_ns());
    while (load->n_due < o->n_requests && load->next_s <= now_s) {
        load->next_s -= log(1 - slm_rng_uniform(o->seed, load->n_due, 0)) / o->rate;
        load->n_due++;
    }
    if (load->n_due < o->n_requests) {
        uv_update_time(&load->loop);
        uv_timer_start(timer, on_time, (uint64_t)fmax(1, (load->next_s - now_s) * 1000), 0);
    }
    send_due(load);
}

/* The loop ends by itself when nothing is open and nothing is due. */
slm_status slm_load_run(const struct slm_load_options *options, struct slm_load_result *out, struct slm_error *error)
{
    struct load load = {.options = options, .result = out};
    *out = (struct slm_load_result){.n_good = 0};
    if (uv_loop_init(&load.loop) != 0) return slm_fail(error, SLM_ERR_IO, "loop", "the system gives no event loop");
    slm_status status = slm_peer_open(&load.loop, &options->url, &load.peer, error);
    if (status == SLM_OK) {
        uv_timer_init(&load.loop, &load.timer);
        load.timer.data = &load;
        load.start_ns = load.end_ns = slm_os()->now_ns();
        if (options->rate > 0) {
            on_time(&load.timer);
        } else {
            load.n_due = options->n_requests;
            send_due(&load);
        }
        uv_run(&load.loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *)&load.timer, NULL);
        uv_run(&load.loop, UV_RUN_DEFAULT);
    }
    slm_peer_close(load.peer);
    uv_loop_close(&load.loop);
    out->seconds = seconds(load.start_ns, load.end_ns);
    for (int f = 0; f < SLM_LOAD_FIGURES; f++) {
        out->series[f] = series_of(&load.lists[f]);
        slm_release(load.lists[f].items);
    }
    if (status == SLM_OK && load.failed != SLM_OK)
        return slm_fail(error, SLM_ERR_MEMORY, "figures", "there is no memory for more of them");
    return status;
}
