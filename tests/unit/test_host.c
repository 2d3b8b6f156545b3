/* SPDX-License-Identifier: MIT
 * What the host promises, on the built-in model: the text of a job is that of slm_generate with the same parameters,
 * whoever shares its steps, with plenty of KV pages or few; clients may leave at any time and nothing of them stays;
 * one job's failure is its own; models come and go within their budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/os.h"
#include "base/rng.h"
#include "effort.h"
#include "fake_os.h"
#include "serve/host.h"
#include "tiny_model.h"

/* ---- an event loop of the simplest kind ------------------------------------------------------------------------- */

struct loop {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct { void (*fn)(void *); void *user; } items[4096];
    size_t first, n;
};

static void loop_post(void *user, void (*fn)(void *), void *arg)
{
    struct loop *l = user;
    pthread_mutex_lock(&l->lock);
    assert_true(l->n < 4096);
    const size_t at = (l->first + l->n++) % 4096;
    l->items[at].fn = fn;
    l->items[at].user = arg;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

/* Runs one function; waits for it at most so long. False: none came. */
static bool loop_one(struct loop *l, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&l->lock);
    while (l->n == 0)
        if (ms == 0 || pthread_cond_timedwait(&l->changed, &l->lock, &until) != 0) {
            pthread_mutex_unlock(&l->lock);
            return false;
        }
    void (*fn)(void *) = l->items[l->first].fn;
    void *arg = l->items[l->first].user;
    l->first = (l->first + 1) % 4096;
    l->n--;
    pthread_mutex_unlock(&l->lock);
    fn(arg);
    return true;
}

static void loop_until(struct loop *l, const bool *done)
{
    while (!*done)
        if (!loop_one(l, 60000)) fail_msg("nothing happened for a minute");
}

/* ---- a host and its model --------------------------------------------------------------------------------------- */

struct server {
    struct loop loop;
    struct slm_host *host;
    struct slm_host_model *model;
    struct slm_error error;
    bool answered;
};

static void on_ready(void *user, struct slm_host_model *model, const struct slm_error *error)
{
    struct server *s = user;
    s->model = model;
    s->answered = true;
    if (error) s->error = *error;
}

static struct slm_host_model *get(struct server *s, const char *name)
{
    s->answered = false;
    s->model = NULL;
    s->error = (struct slm_error){0};
    slm_host_get(s->host, name, on_ready, s);
    loop_until(&s->loop, &s->answered);
    return s->model;
}

static struct slm_host_options plain(void)
{
    return (struct slm_host_options){.engine = {.session = {.n_ctx = 256, .n_threads = 1, .n_batch = 64}},
                                     .keep_alive_s = -1};
}

static struct server *open_server(const struct slm_host_options *options)
{
    struct server *s = calloc(1, sizeof *s);
    struct slm_host_options o = *options;
    assert_non_null(s);
    pthread_mutex_init(&s->loop.lock, NULL);
    pthread_cond_init(&s->loop.changed, NULL);
    o.post = loop_post;
    o.post_user = &s->loop;
    assert_int_equal(slm_host_open(&o, &s->host, &s->error), SLM_OK);
    return s;
}

static void close_server(struct server *s)
{
    slm_host_close(s->host);
    while (loop_one(&s->loop, 0)) continue;
    free(s);
}

/* ---- what a job said -------------------------------------------------------------------------------------------- */

struct answer {
    struct slm_ticket *ticket;
    char text[4096];
    size_t n_text, n_parts, n_finished, n_tokens, n_prompt_tokens;
    double logprobs, prompt_logprobs;
    enum slm_finish finish;
    const char *stop;
    struct slm_usage usage;
    struct slm_error error;
    int retry_after_s;
    bool started, ended, failed;
    float vectors[3 * 512];
    size_t n_dims;
};

static void on_event(void *user, const struct slm_event *e)
{
    struct answer *a = user;
    assert_false(a->ended);
    if (e->kind == SLM_EVENT_STARTED) a->started = true;
    if (e->kind == SLM_EVENT_PROMPT) {
        for (size_t i = 0; i < e->n_tokens; i++)
            if (a->n_prompt_tokens++ > 0) a->prompt_logprobs += (double)e->tokens[i].logprob;
    }
    if (e->kind == SLM_EVENT_PART) {
        assert_true(a->started);
        const size_t room = sizeof a->text - a->n_text; /* endless answers are as long as this machine is fast */
        const size_t n = e->part.text_bytes < room ? e->part.text_bytes : room;
        memcpy(a->text + a->n_text, e->part.text, n);
        a->n_text += n;
        a->n_parts++;
        a->n_tokens += e->n_tokens;
        for (size_t i = 0; i < e->n_tokens; i++) a->logprobs += (double)e->tokens[i].logprob;
    }
    if (e->kind == SLM_EVENT_FINISHED) {
        a->n_finished++;
        a->finish = e->finish;
        a->stop = e->stop_string;
    }
    if (e->kind == SLM_EVENT_EMBEDDINGS) {
        a->n_dims = e->n_dims;
        memcpy(a->vectors, e->vectors, 3 * e->n_dims * sizeof *a->vectors);
    }
    if (e->kind == SLM_EVENT_END) a->usage = e->usage;
    if (e->kind == SLM_EVENT_FAILED) {
        a->failed = true;
        a->error = e->error;
        a->retry_after_s = e->retry_after_s;
    }
    a->ended = e->kind == SLM_EVENT_END || e->kind == SLM_EVENT_FAILED;
}

static struct slm_job *job_of(const int32_t *ids, size_t n, int32_t n_predict)
{
    struct slm_job *job = slm_job_new(NULL);
    assert_non_null(job);
    job->prompt = slm_alloc(n, sizeof *ids, "test", NULL);
    assert_non_null(job->prompt);
    if (n) memcpy(job->prompt, ids, n * sizeof *ids);
    job->n_prompt = n;
    job->n_predict = n_predict;
    return job;
}

static void ask(struct server *s, struct slm_job *job, struct answer *a)
{
    *a = (struct answer){.ended = false};
    a->ticket = slm_host_submit(s->model, job, on_event, a);
    assert_non_null(a->ticket);
}

static void wait_for(struct server *s, struct answer *answers, size_t n)
{
    for (size_t i = 0; i < n; i++) loop_until(&s->loop, &answers[i].ended);
}

/* Nothing of any job is left: all pages are free, or kept for who begins alike. */
static void assert_idle(struct server *s)
{
    struct slm_host_counts counts;
    for (int i = 0; i < 20000; i++) {
        slm_host_counts(s->host, &counts);
        if (counts.n_running + counts.n_waiting + counts.kv_pages_used == 0) return;
        loop_one(&s->loop, 5);
    }
    fail_msg("%zu run, %zu wait, %zu pages are used", counts.n_running, counts.n_waiting, counts.kv_pages_used);
}

/* ---- many at once ----------------------------------------------------------------------------------------------- */

enum { MANY = 64, MOST_PROMPT = 90, MOST_TEXT = 1024 };

/* One request, and what slm_generate says to it. */
struct request {
    int32_t ids[MOST_PROMPT];
    size_t n;
    int32_t n_predict;
    struct slm_sampler_params sampler;
    const char *stop;
    bool ignore_eog;
    char text[MOST_TEXT];
    size_t n_text;
    size_t n_generated;
};

static bool collect(void *user, const char *text, size_t n)
{
    struct request *r = user;
    assert_true(r->n_text + n < MOST_TEXT);
    memcpy(r->text + r->n_text, text, n);
    r->n_text += n;
    return true;
}

static void generate(const struct slm_model *model, struct request *r)
{
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 256, .n_threads = 1, .n_batch = 64};
    assert_int_equal(slm_session_open(model, &options, &session, NULL), SLM_OK);
    const struct slm_generate_params params = {.sampler = r->sampler, .n_predict = r->n_predict, .stop = &r->stop,
                                               .n_stop = r->stop ? 1 : 0, .ignore_eog = r->ignore_eog,
                                               .on_text = collect, .user = r};
    struct slm_generate_result result;
    assert_int_equal(slm_generate(session, r->ids, r->n, &params, &result, NULL), SLM_OK);
    r->n_generated = result.n_generated;
    slm_session_close(session);
}

/* Texts of which some begin alike, of many lengths, greedy and sampled, some with a stop string. */
static struct request *make_requests(const struct slm_model *model)
{
    static struct request requests[MANY];
    static bool made;
    static const char text[] = "Once upon a time there was a little girl who lived in a small house near the forest. "
                               "Every day she went out to play with her friends, and they had a lot of fun together. "
                               "One day they found a big red ball under an old tree, and everybody wanted to have it.";
    int32_t ids[256];
    size_t n;
    if (made) return requests;
    made = true;
    assert_int_equal(slm_tokenize(model, text, sizeof text - 1, SLM_TOKENIZE_ADD_SPECIAL, ids, 256, &n, NULL), SLM_OK);
    struct slm_rng rng = {.seed = 7};
    for (size_t i = 0; i < MANY; i++) {
        struct request *r = &requests[i];
        const size_t from = i % 4 ? i % 16 * 2 : 0;
        r->n = 1 + slm_rng_next(&rng) % (n - from < MOST_PROMPT ? n - from : MOST_PROMPT);
        memcpy(r->ids, ids + from, r->n * sizeof *ids);
        r->n_predict = 4 + (int32_t)(slm_rng_next(&rng) % 44);
        r->sampler = slm_sampler_defaults(model);
        r->sampler.seed = i;
        if (i % 4 == 0) r->sampler.temperature = 0;
        if (i % 5 == 0) r->sampler.repeat_penalty = 1.2f;
        if (i % 7 == 0) r->stop = " the";
        if (i % 8 == 1) r->ignore_eog = true;
        if (i % 8 == 1) r->n_predict = 150; /* these grow out of what they were admitted with */
        generate(model, r);
    }
    return requests;
}

static struct slm_job *job_for(const struct request *r)
{
    struct slm_job *job = job_of(r->ids, r->n, r->n_predict);
    job->sampler = r->sampler;
    job->ignore_eog = r->ignore_eog;
    if (!r->stop) return job;
    job->stop = slm_alloc(1, sizeof *job->stop, "test", NULL);
    job->stop[0] = slm_alloc(strlen(r->stop) + 1, 1, "test", NULL);
    memcpy(job->stop[0], r->stop, strlen(r->stop) + 1);
    job->n_stop = 1;
    return job;
}

static void check(const struct answer *a, const struct request *r, size_t i)
{
    if (a->failed) fail_msg("request %zu: %s: %s", i, a->error.where, a->error.message);
    if (a->n_text != r->n_text || memcmp(a->text, r->text, r->n_text) != 0)
        fail_msg("request %zu: '%.*s', alone '%.*s'", i, (int)a->n_text, a->text, (int)r->n_text, r->text);
    assert_int_equal(a->usage.n_generated, r->n_generated);
    assert_int_equal(a->usage.n_prompt, r->n);
}

/* The first n at once; returns what was counted. */
static struct slm_host_counts run_some(const struct slm_host_options *o, int priorities, size_t n)
{
    static struct answer answers[MANY];
    struct slm_host_counts counts;
    struct server *s = open_server(o);
    if (!get(s, NULL)) fail_msg("%s: %s", s->error.where, s->error.message);
    struct request *requests = make_requests(slm_host_model(s->model));
    for (size_t i = 0; i < n; i++) {
        struct slm_job *job = job_for(&requests[i]);
        job->priority = (int32_t)(i % (size_t)priorities);
        snprintf(job->tenant, sizeof job->tenant, "tenant %zu", i % 3);
        ask(s, job, &answers[i]);
    }
    wait_for(s, answers, n);
    for (size_t i = 0; i < n; i++) check(&answers[i], &requests[i], i);
    slm_host_counts(s->host, &counts);
    assert_idle(s);
    slm_host_release(s->model);
    close_server(s);
    return counts;
}

/* With a pool of so many tokens. */
static struct slm_host_counts run_many(size_t n_kv, int priorities, int32_t n_threads)
{
    struct slm_host_options o = plain();
    o.engine.n_kv = n_kv;
    o.engine.session.n_threads = n_threads;
    return run_some(&o, priorities, test_share(MANY));
}

static void many_streams_say_what_each_says_alone(void **state)
{
    (void)state;
    const struct slm_host_counts counts = run_many(MANY * 256, 1, 3); /* draws are made by all */
    assert_int_equal(counts.n_preempted, 0);
    assert_true(counts.n_step_rows > 2 * counts.n_steps); /* they did share steps */
    assert_true(counts.cached_tokens > 0 || test_is_far_too_slow());
}

/* Pages that all would hold at their ends. */
static size_t tokens_of_all(void)
{
    size_t demand = 0;
    const size_t n = test_share(MANY);
    struct server *s = open_server(&(struct slm_host_options){.engine = plain().engine, .keep_alive_s = -1});
    assert_non_null(get(s, NULL));
    const struct request *requests = make_requests(slm_host_model(s->model));
    for (size_t i = 0; i < n; i++) demand += (requests[i].n + requests[i].n_generated + 31) / 32 * 32;
    slm_host_release(s->model);
    close_server(s);
    return demand;
}

static void too_few_pages_change_no_text(void **state)
{
    (void)state;
    const size_t demand = tokens_of_all();
    run_many(demand / 4 > 256 ? demand / 4 : 256, 1, 1); /* a pool holds one context at least */
    const size_t n_preempted = run_many(256, 3, 1).n_preempted; /* one context's worth */
    assert_true(n_preempted > 0 || test_is_far_too_slow());
}

/* ---- a draft model ---------------------------------------------------------------------------------------------- */

/* The built-in model in fewer bits, which is mostly right. */
static const char *coarse_builtin(void)
{
    static char path[512];
    static const char in[] = SLM_SOURCE_DIR "/models/builtin.gguf";
    const struct slm_quantize_options options = {.type = "q4_0", .n_threads = 1};
    struct slm_error error;
    if (path[0]) return path;
    snprintf(path, sizeof path, "%s", tiny_path("coarse.gguf"));
    if (slm_quantize(in, path, &options, NULL, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return path;
}

static struct slm_host_options with_draft(size_t n_kv)
{
    struct slm_host_options o = plain();
    o.draft = coarse_builtin();
    o.speculation.always = true; /* whether it pays is measured: without this a slow machine would not guess */
    o.engine.n_kv = n_kv;
    return o;
}

/* Few at a time, so that all guess; then more than that, of which the last few do; then with pages for a context alone,
 * which the drafts have no more of. Right and wrong guesses, greedy and sampled: the texts are those without. */
static void drafts_change_no_text(void **state)
{
    (void)state;
    struct slm_host_options o = with_draft(8 * 256);
    o.max_running = 6;
    o.speculation.n_guess = 1;
    o.engine.session.n_threads = 2;
    struct slm_host_counts counts = run_some(&o, 1, 16);
    const struct slm_speculation_counts *c = &counts.speculation;
    assert_true(c->n_accepted < c->n_guessed && c->n_accepted * 2 > c->n_guessed); /* they mostly draw the same */
    o = with_draft(20 * 256);
    assert_true(run_some(&o, 1, 20).speculation.n_accepted > 0);
    o = with_draft(256);
    o.max_running = 5;
    counts = run_some(&o, 3, 12);
    assert_true(c->n_accepted > 0); /* some were preempted, if they met */
    o.speculation = (struct slm_speculation){.n_guess = 3}; /* as the gate wants it */
    run_some(&o, 1, 6);
}

/* What it takes is part of the budget, and of what the model is said to take. */
static void count_loaded(void *user, const struct slm_host_entry *e);
static void a_draft_counts_in_the_budget(void **state)
{
    (void)state;
    size_t n[2][3] = {{0}};
    for (int drafts = 0; drafts < 2; drafts++) {
        struct slm_host_options o = drafts ? with_draft(1024) : plain();
        o.engine.n_kv = 1024;
        struct server *s = open_server(&o);
        assert_non_null(get(s, NULL));
        slm_host_each(s->host, count_loaded, n[drafts]);
        slm_host_release(s->model);
        close_server(s);
    }
    assert_true(n[1][2] > n[0][2]);
    struct slm_host_options o = with_draft(1024);
    o.memory_budget = n[1][2];
    struct server *s = open_server(&o);
    assert_non_null(get(s, NULL));
    slm_host_release(s->model);
    close_server(s);
    o.memory_budget = n[1][2] - 1; /* the model alone would fit */
    s = open_server(&o);
    assert_null(get(s, NULL));
    assert_int_equal(s->error.status, SLM_ERR_MEMORY);
    close_server(s);
}

/* A draft belongs to the default model; one that does not suit it is the reason why that cannot be had. */
static void drafts_that_do_not_suit_are_refused(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    char other[512];
    snprintf(other, sizeof other, "%s", tiny_path("other.gguf"));
    tiny_model_write(other, &spec);
    const char *const drafts[] = {other, "/nonexistent/draft.gguf"}, *models[] = {"", other};
    static const slm_status want[] = {SLM_ERR_ARGUMENT, SLM_ERR_IO};
    for (size_t i = 0; i < 2; i++) {
        struct slm_host_options o = with_draft(256);
        o.draft = drafts[i];
        o.models = models;
        o.n_models = 2;
        struct server *s = open_server(&o);
        assert_null(get(s, NULL));
        assert_int_equal(s->error.status, want[i]);
        if (i == 0) assert_non_null(strstr(s->error.message, "a draft must have the model's vocabulary"));
        assert_non_null(get(s, "other"));
        struct answer a;
        ask(s, job_of((const int32_t[]){1, 5, 9}, 3, 3), &a);
        wait_for(s, &a, 1);
        assert_false(a.failed);
        slm_host_release(s->model);
        close_server(s);
    }
}

/* ---- details of one job ----------------------------------------------------------------------------------------- */

static struct server *open_loaded(const struct slm_host_options *options)
{
    struct server *s = open_server(options);
    assert_non_null(get(s, NULL));
    make_requests(slm_host_model(s->model));
    return s;
}

static struct server *open_plain(void)
{
    const struct slm_host_options o = plain();
    return open_loaded(&o);
}

static void close_plain(struct server *s)
{
    assert_idle(s);
    slm_host_release(s->model);
    close_server(s);
}

static void choices_share_the_prompt(void **state)
{
    (void)state;
    struct server *s = open_plain();
    struct request r = make_requests(slm_host_model(s->model))[1];
    struct answer a;
    struct slm_job *job = job_for(&r);
    job->n_choices = 4;
    job->n_top = 2;
    ask(s, job, &a);
    wait_for(s, &a, 1);
    assert_false(a.failed);
    assert_int_equal(a.n_finished, 4);
    assert_int_equal(a.n_tokens, a.usage.n_generated);
    assert_true(a.logprobs < 0);
    assert_int_equal(a.usage.n_prompt, r.n);
    close_plain(s);
}

static void prompt_logprobs_are_those_of_the_model(void **state)
{
    (void)state;
    struct server *s = open_plain();
    const struct slm_model *model = slm_host_model(s->model);
    const struct request *r = &make_requests(model)[1];
    const size_t n_vocab = (size_t)slm_model_info(model).n_vocab;
    struct answer a;
    for (int again = 0; again < 2; again++) { /* the second time its pages are in the cache */
        struct slm_job *job = job_for(r);
        job->prompt_logprobs = true;
        job->n_top = 0;
        ask(s, job, &a);
        wait_for(s, &a, 1);
        check(&a, r, 0);
        assert_int_equal(a.n_prompt_tokens, r->n);
    }
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 256, .n_threads = 1};
    float *logits = malloc(r->n * n_vocab * sizeof *logits);
    assert_int_equal(slm_session_open(model, &options, &session, NULL), SLM_OK);
    assert_int_equal(slm_session_eval_all(session, r->ids, r->n, logits, NULL), SLM_OK);
    double want = 0;
    for (size_t i = 1; i < r->n; i++) {
        double sum = 0;
        const float *row = logits + (i - 1) * n_vocab;
        for (size_t k = 0; k < n_vocab; k++) sum += __builtin_exp((double)row[k]);
        want += (double)row[r->ids[i]] - __builtin_log(sum);
    }
    assert_true(__builtin_fabs(want - a.prompt_logprobs) < 1e-3 * (double)r->n);
    slm_session_close(session);
    free(logits);
    close_plain(s);
}

static void a_second_request_finds_its_beginning(void **state)
{
    (void)state;
    struct server *s = open_plain();
    struct request r = {.n = 0};
    for (size_t i = 0; i < MANY && r.n < 65; i++) r = make_requests(slm_host_model(s->model))[i];
    struct answer a;
    for (int i = 0; i < 3; i++) {
        struct slm_job *job = job_for(&r);
        job->no_cache = i == 2;
        ask(s, job, &a);
        wait_for(s, &a, 1);
        check(&a, &r, 0);
        assert_int_equal(a.usage.n_cached, i == 1 ? (r.n - 1) / 32 * 32 : 0);
    }
    close_plain(s);
}

static void a_grammar_holds_from_the_start_or_behind_a_trigger(void **state)
{
    (void)state;
    static const char choices[] = "[\"a big red ball\", \"a small house\"]";
    struct server *s = open_plain();
    const struct slm_model *model = slm_host_model(s->model);
    struct request r = make_requests(model)[1];
    struct answer a;
    r.stop = NULL;
    r.n_predict = 60;
    for (int triggered = 0; triggered < 2; triggered++) {
        struct slm_job *job = job_for(&r);
        assert_int_equal(slm_grammar_open(model, SLM_GRAMMAR_CHOICE, choices, sizeof choices - 1, &job->grammar, NULL),
                         SLM_OK);
        if (triggered) {
            char *trigger = slm_alloc(2, 1, "test", NULL);
            trigger[0] = 'e';
            job->grammar_trigger = trigger;
        }
        ask(s, job, &a);
        wait_for(s, &a, 1);
        if (a.failed && triggered) continue; /* a token went on behind the "e" in a way that is not allowed */
        if (a.failed) fail_msg("%s", a.error.message);
        a.text[a.n_text] = '\0';
        const char *from = triggered ? strchr(a.text, 'e') + 1 : a.text;
        if (strcmp(from, "a big red ball") != 0 && strcmp(from, "a small house") != 0) fail_msg("'%s'", a.text);
        assert_int_equal(a.finish, SLM_FINISH_EOG);
    }
    close_plain(s);
}

static void guesses_come_true_and_change_no_text(void **state)
{
    (void)state;
    static const char text[] = "The cat sat. The cat sat. The cat sat. The cat sat. The cat";
    struct slm_host_options o = plain();
    o.speculation.always = true; /* whether guessing pays is measured: without this a slow machine would not guess */
    struct server *s = open_loaded(&o);
    const struct slm_model *model = slm_host_model(s->model);
    static struct request r;
    static struct answer answers[3];
    r = (struct request){.n_predict = 120, .ignore_eog = true, .sampler = slm_sampler_defaults(model)};
    r.sampler.temperature = 0;
    assert_int_equal(slm_tokenize(model, text, sizeof text - 1, 0, r.ids, MOST_PROMPT, &r.n, NULL), SLM_OK);
    generate(model, &r);
    for (size_t i = 0; i < 3; i++) ask(s, job_for(&r), &answers[i]);
    wait_for(s, answers, 3);
    for (size_t i = 0; i < 3; i++) check(&answers[i], &r, i);
    for (size_t i = 0; i < 3; i++) {
        const struct slm_speculation_counts *c = &answers[i].usage.speculation;
        assert_true(c->n_accepted > 0);
        assert_int_equal(c->n_steps + c->n_accepted, r.n_predict);
    }
    close_plain(s);
}

static void bad_jobs_fail_alone(void **state)
{
    (void)state;
    struct server *s = open_plain();
    static struct answer answers[6];
    static const slm_status want[] = {SLM_OK, SLM_ERR_ARGUMENT, SLM_ERR_ARGUMENT, SLM_ERR_CONTEXT, SLM_ERR_ARGUMENT,
                                      SLM_ERR_ARGUMENT};
    const struct request *r = &make_requests(slm_host_model(s->model))[3];
    const int32_t bad[2] = {1, 1 << 30};
    static int32_t many[300];
    struct slm_job *jobs[] = {job_for(r), job_of(bad, 2, 4), job_of(bad, 0, 4), job_of(many, 300, 4), job_for(r),
                              job_for(r)};
    jobs[4]->n_choices = 0;
    jobs[5]->sampler.top_p = 2;
    for (size_t i = 0; i < 6; i++) ask(s, jobs[i], &answers[i]);
    wait_for(s, answers, 6);
    check(&answers[0], r, 0);
    for (size_t i = 1; i < 6; i++) {
        assert_true(answers[i].failed);
        assert_int_equal(answers[i].error.status, want[i]);
        assert_int_equal(answers[i].retry_after_s, 0);
    }
    close_plain(s);
}

/* What the pool cannot hold is refused as it comes, what grows to its end ends there; nobody waits for ever (A18). */
static void a_pool_smaller_than_a_context_is_the_context(void **state)
{
    (void)state;
    enum { POOL = 64 };
    static const int32_t ids[POOL + 100] = {1, 2, 3};
    static const size_t sizes[6] = {POOL + 100, POOL, POOL - 1, 40, 3, 40};
    static struct answer answers[6];
    struct slm_host_options o = plain();
    o.engine.n_kv = POOL;
    struct server *s = open_server(&o);
    assert_true(get(s, NULL) && slm_host_model_n_ctx(s->model) == POOL);
    for (size_t i = 0; i < 6; i++) {
        struct slm_job *job = job_of(ids, sizes[i], 1000);
        job->ignore_eog = true;
        ask(s, job, &answers[i]);
    }
    wait_for(s, answers, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(answers[i].failed, sizes[i] >= POOL);
        if (answers[i].failed) assert_int_equal(answers[i].error.status, SLM_ERR_CONTEXT);
        else assert_int_equal(answers[i].usage.n_generated, POOL - sizes[i]);
    }
    close_plain(s);
}

static void a_full_context_ends_or_shifts(void **state)
{
    (void)state;
    struct server *s = open_plain();
    struct answer a;
    for (int shift = 0; shift < 2; shift++) {
        struct slm_job *job = job_of((const int32_t[]){1, 2, 3}, 3, shift ? 400 : 0);
        job->shift = shift;
        job->n_keep = 40;
        job->ignore_eog = true;
        ask(s, job, &a);
        wait_for(s, &a, 1);
        assert_false(a.failed);
        assert_int_equal(a.finish, SLM_FINISH_LENGTH);
        assert_int_equal(a.usage.n_generated, shift ? 400 : 253);
    }
    close_plain(s);
}

static void time_runs_out(void **state)
{
    (void)state;
    struct server *s = open_plain();
    struct answer a;
    struct slm_job *job = job_of((const int32_t[]){1, 2, 3}, 3, 1 << 30);
    job->shift = job->ignore_eog = true;
    job->timeout_ms = 30;
    job->sampler.temperature = 0;
    ask(s, job, &a);
    loop_until(&s->loop, &a.ended);
    assert_int_equal(a.finish, SLM_FINISH_TIMEOUT);
    close_plain(s);
}

/* ---- clients that leave ----------------------------------------------------------------------------------------- */

static void leave_at_any_time(const struct slm_host_options *o, size_t n)
{
    enum { SLOTS = 24 };
    static struct answer answers[SLOTS];
    struct server *s = open_server(o);
    assert_non_null(get(s, NULL));
    const struct request *requests = make_requests(slm_host_model(s->model));
    size_t which[SLOTS];
    struct slm_rng rng = {.seed = 11};
    memset(answers, 0, sizeof answers);
    for (size_t i = 0; i < n; i++) {
        const size_t slot = slm_rng_next(&rng) % SLOTS;
        struct answer *a = &answers[slot];
        if (a->ticket && !a->ended && slm_rng_next(&rng) % 4 == 0) { /* this one stays to the end */
            loop_until(&s->loop, &a->ended);
            check(a, &requests[which[slot]], which[slot]);
        } else if (a->ticket && !a->ended) {
            slm_host_cancel(a->ticket);
        }
        which[slot] = slm_rng_next(&rng) % MANY;
        ask(s, job_for(&requests[which[slot]]), a);
        for (size_t k = slm_rng_next(&rng) % 4; k > 0 && loop_one(&s->loop, (unsigned)(i % 2)); k--) continue;
    }
    struct answer *last = &answers[0]; /* one at least stays, however the others met */
    if (last->ticket && !last->ended) slm_host_cancel(last->ticket);
    ask(s, job_for(&requests[0]), last);
    loop_until(&s->loop, &last->ended);
    check(last, &requests[0], 0);
    for (size_t i = 0; i < SLOTS; i++)
        if (answers[i].ticket && !answers[i].ended) slm_host_cancel(answers[i].ticket);
    close_plain(s);
}

static void clients_leave_at_any_time(void **state)
{
    (void)state;
    const char *level = getenv("SLM_TEST_LEVEL");
    const size_t n = level && strcmp(level, "soak") == 0 ? 10000 : test_share(240);
    struct slm_host_options o = plain();
    o.engine.n_kv = 1024; /* some are in the queue, some lose their pages */
    leave_at_any_time(&o, n);
    o = with_draft(1024);
    o.max_running = 5; /* all guess */
    leave_at_any_time(&o, n / 6);
}

static void closing_ends_all_jobs(void **state)
{
    (void)state;
    static struct answer answers[8];
    struct server *s = open_plain();
    for (size_t i = 0; i < 8; i++) {
        struct slm_job *job = job_of((const int32_t[]){1, 2, 3}, 3, 1 << 30);
        job->shift = job->ignore_eog = true;
        ask(s, job, &answers[i]);
    }
    loop_until(&s->loop, &answers[7].started);
    close_server(s);
    for (size_t i = 0; i < 8; i++) {
        assert_true(answers[i].ended && !answers[i].failed);
        assert_int_equal(answers[i].finish, SLM_FINISH_CANCELLED);
    }
}

/* Everything from opening to closing, with one allocation that fails. False: none did. */
static bool try_without(uint64_t fail_at, const char *path, const char *draft)
{
    static struct answer a;
    struct server s = {.answered = false};
    struct slm_host_options o = plain();
    o.models = &path;
    o.n_models = 1;
    o.draft = draft;
    o.speculation.always = true;
    o.post = loop_post;
    o.post_user = &s.loop;
    pthread_mutex_init(&s.loop.lock, NULL);
    pthread_cond_init(&s.loop.changed, NULL);
    fake_os_start(&(struct fake_os_plan){.kinds = FAKE_MEMORY, .fail_at = fail_at});
    if (slm_host_open(&o, &s.host, &s.error) == SLM_OK) {
        struct slm_job *job = get(&s, NULL) ? slm_job_new(NULL) : NULL;
        if (job) job->prompt = slm_alloc(40, sizeof *job->prompt, "test", NULL);
        if (job && job->prompt) {
            job->n_prompt = 40;
            job->n_predict = 8;
            a = (struct answer){.ended = false};
            if (slm_host_submit(s.model, job, on_event, &a)) loop_until(&s.loop, &a.ended);
        } else {
            slm_job_free(job);
        }
        if (s.model) slm_host_release(s.model);
        slm_host_close(s.host);
        while (loop_one(&s.loop, 0)) continue;
    }
    const bool fired = fake_os_fired();
    fake_os_assert_clean();
    fake_os_stop();
    return fired;
}

static void memory_runs_out_cleanly(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    const char *path = tiny_path("small.gguf");
    tiny_model_write(path, &spec);
    for (int drafts = 0; drafts < 2; drafts++) {
        uint64_t fail_at = 1;
        while (try_without(fail_at, path, drafts ? path : NULL)) fail_at = test_next(fail_at);
        assert_true(fail_at > 20);
    }
}

static void a_full_queue_and_a_drain_refuse(void **state)
{
    (void)state;
    struct slm_host_options o = plain();
    static struct answer answers[4];
    o.max_queue = 3;
    o.max_running = 1;
    struct server *s = open_server(&o);
    assert_non_null(get(s, NULL));
    const struct request *r = &make_requests(slm_host_model(s->model))[1];
    struct slm_host_model *model = s->model;
    size_t n_refused = 0;
    for (size_t i = 0; i < 4; i++) ask(s, job_for(r), &answers[i]);
    wait_for(s, answers, 4);
    for (size_t i = 0; i < 4; i++) n_refused += answers[i].failed && answers[i].retry_after_s > 0;
    assert_true(n_refused <= 1); /* unless the runner took one in between */
    /* What has begun goes on; what waits for a turn, and what comes, is for another server. */
    struct slm_job *endless = job_of((const int32_t[]){1, 2, 3}, 3, 1 << 30);
    endless->shift = endless->ignore_eog = true;
    ask(s, endless, &answers[0]);
    loop_until(&s->loop, &answers[0].started);
    ask(s, job_for(r), &answers[1]);
    slm_host_drain(s->host);
    ask(s, job_for(r), &answers[2]);
    wait_for(s, answers + 1, 2);
    const size_t n_parts = answers[0].n_parts;
    while (answers[0].n_parts < n_parts + 10 && !answers[0].ended) loop_one(&s->loop, 60000);
    assert_false(answers[0].ended);
    slm_host_cancel(answers[0].ticket);
    for (size_t i = 1; i < 3; i++) {
        assert_true(answers[i].failed && answers[i].retry_after_s > 0);
        assert_int_equal(answers[i].error.status, SLM_ERR_CANCELLED);
    }
    assert_null(get(s, NULL));
    assert_int_equal(s->error.status, SLM_ERR_CANCELLED);
    s->model = model;
    close_plain(s);
}

/* ---- models ----------------------------------------------------------------------------------------------------- */

static void count_loaded(void *user, const struct slm_host_entry *e)
{
    size_t *n = user;
    n[0]++;
    n[1] += e->is_loaded;
    n[2] += (size_t)e->memory_bytes;
}

static void models_take_turns_in_a_small_budget(void **state)
{
    (void)state;
    char paths[2][512];
    for (int i = 0; i < 2; i++) {
        struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
        spec.seed = (uint64_t)i;
        snprintf(paths[i], sizeof paths[i], "%s", tiny_path(i ? "b.gguf" : "a.gguf"));
        tiny_model_write(paths[i], &spec);
    }
    const char *models[] = {paths[0], paths[1], "/nonexistent/c.gguf"};
    struct slm_host_options o = plain();
    o.models = models;
    o.n_models = 3;
    o.engine.n_kv = 256;
    struct server *s = open_server(&o);
    struct slm_host_model *a = get(s, "a"), *b = get(s, "b:latest");
    size_t n[3] = {0}, m[3] = {0};
    assert_true(a && b && a != b);
    slm_host_each(s->host, count_loaded, n);
    assert_int_equal(n[1], 2);
    assert_null(get(s, "c"));
    assert_int_equal(s->error.status, SLM_ERR_IO);
    assert_null(get(s, "../etc/passwd"));
    assert_int_equal(s->error.status, SLM_ERR_ARGUMENT);
    slm_host_release(a);
    slm_host_release(b);
    close_server(s);
    o.memory_budget = n[2] * 3 / 4; /* one of them */
    s = open_server(&o);
    for (int i = 0; i < 6; i++) {
        struct slm_host_model *one = get(s, i % 2 ? "a" : "b");
        assert_non_null(one);
        struct answer x;
        ask(s, job_of((const int32_t[]){1, 5, 9}, 3, 3), &x);
        slm_host_release(one);
        wait_for(s, &x, 1);
        assert_false(x.failed);
        memset(m, 0, sizeof m);
        slm_host_each(s->host, count_loaded, m);
        assert_true(m[1] == 1 && m[2] <= o.memory_budget);
    }
    close_server(s);
    o.memory_budget = 1000;
    s = open_server(&o);
    assert_null(get(s, "a"));
    assert_int_equal(s->error.status, SLM_ERR_MEMORY);
    close_server(s);
}

static void idle_models_leave(void **state)
{
    (void)state;
    struct slm_host_options o = plain();
    o.keep_alive_s = 0;
    struct server *s = open_server(&o);
    struct slm_host_counts counts;
    slm_host_release(get(s, NULL));
    do {
        loop_one(&s->loop, 2000);
        slm_host_counts(s->host, &counts);
    } while (counts.n_models_loaded > 0);
    slm_host_release(get(s, NULL)); /* and come back */
    close_server(s);
}

static void embeddings_are_those_of_the_embedder(void **state)
{
    (void)state;
    static const char *const texts[] = {"a small house", "the red ball", "Once upon a time"};
    struct server *s = open_plain();
    struct slm_embed_input inputs[3];
    struct slm_job *job = slm_job_new(NULL);
    struct slm_embedder *embedder;
    static struct answer a;
    static float want[3 * 512];
    job->embed = slm_alloc(3, sizeof *job->embed, "test", NULL);
    job->n_embed = 3;
    for (size_t i = 0; i < 3; i++) {
        char *text = slm_alloc(strlen(texts[i]) + 1, 1, "test", NULL);
        memcpy(text, texts[i], strlen(texts[i]) + 1);
        job->embed[i] = (struct slm_embed_input){.text = text, .text_bytes = strlen(text)};
        inputs[i] = (struct slm_embed_input){.text = texts[i], .text_bytes = strlen(texts[i])};
    }
    ask(s, job, &a);
    wait_for(s, &a, 1);
    assert_false(a.failed);
    assert_int_equal(slm_embedder_open(slm_host_model(s->model), NULL, &embedder, NULL), SLM_OK);
    assert_int_equal(slm_embedder_n_dims(embedder), a.n_dims);
    assert_int_equal(slm_embed(embedder, inputs, 3, want, NULL), SLM_OK);
    assert_memory_equal(a.vectors, want, 3 * a.n_dims * sizeof *want);
    slm_embedder_close(embedder);
    close_plain(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_streams_say_what_each_says_alone),
        cmocka_unit_test(too_few_pages_change_no_text),
        cmocka_unit_test(drafts_change_no_text),
        cmocka_unit_test(a_draft_counts_in_the_budget),
        cmocka_unit_test(drafts_that_do_not_suit_are_refused),
        cmocka_unit_test(choices_share_the_prompt),
        cmocka_unit_test(prompt_logprobs_are_those_of_the_model),
        cmocka_unit_test(a_second_request_finds_its_beginning),
        cmocka_unit_test(a_grammar_holds_from_the_start_or_behind_a_trigger),
        cmocka_unit_test(guesses_come_true_and_change_no_text),
        cmocka_unit_test(bad_jobs_fail_alone),
        cmocka_unit_test(a_pool_smaller_than_a_context_is_the_context),
        cmocka_unit_test(a_full_context_ends_or_shifts),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(clients_leave_at_any_time),
        cmocka_unit_test(closing_ends_all_jobs),
        cmocka_unit_test(memory_runs_out_cleanly),
        cmocka_unit_test(a_full_queue_and_a_drain_refuse),
        cmocka_unit_test(models_take_turns_in_a_small_budget),
        cmocka_unit_test(idle_models_leave),
        cmocka_unit_test(embeddings_are_those_of_the_embedder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
