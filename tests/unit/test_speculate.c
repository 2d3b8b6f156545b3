/* SPDX-License-Identifier: MIT
 * Speculation changes how much is computed at once and nothing else: tokens, text, logits, reasons for stopping are
 * those of plain decoding, bit for bit, for every way of guessing, greedy and sampled, in every family. Plain decoding
 * is the oracle; that guesses are made, and that some are right and some are wrong, is checked too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "effort.h"
#include "engine/session.h"
#include "fake_os.h"
#include "slm.h"
#include "tiny_model.h"

enum { CTX = 256, MOST_TEXT = 1 << 14 };

/* ---- one generation and all that can be seen of it -------------------------------------------------------------- */

struct outcome {
    int32_t ids[CTX];
    size_t n_ids, n_text, n_calls;
    char text[MOST_TEXT];
    struct slm_generate_result result;
    float logits[4096];
};

static bool collect(void *user, const char *text, size_t n)
{
    struct outcome *out = user;
    assert_true(out->n_text + n < sizeof out->text);
    memcpy(out->text + out->n_text, text, n);
    out->n_text += n;
    out->n_calls++;
    return true;
}

static int n_threads = 1;

static struct slm_session *open_session(const struct slm_model *model, const struct slm_speculation *speculation)
{
    struct slm_session *session;
    struct slm_error error;
    const struct slm_session_options options = {.n_ctx = CTX, .n_threads = n_threads, .n_batch = 64};
    if (slm_session_open(model, &options, &session, &error) != SLM_OK ||
        slm_session_speculate(session, speculation, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    return session;
}

/* Generates behind what is on the session's timeline and notes how it looks afterwards. */
static void generate(struct slm_session *session, const int32_t *prompt, size_t n, struct slm_generate_params params,
                     struct outcome *out)
{
    struct slm_error error;
    memset(out, 0, sizeof *out);
    params.on_text = collect;
    params.user = out;
    if (slm_generate(session, prompt, n, &params, &out->result, &error) != SLM_OK) fail_msg("%s", error.message);
    out->n_ids = slm_session_n_past(session);
    memcpy(out->ids, slm_session_tokens(session), out->n_ids * sizeof *out->ids);
    const size_t n_vocab = (size_t)slm_model_info(session->model).n_vocab;
    assert_true(n_vocab <= 4096);
    memcpy(out->logits, slm_session_logits(session), n_vocab * sizeof *out->logits);
}

static void same(const struct outcome *want, const struct outcome *got)
{
    assert_int_equal(want->n_ids, got->n_ids);
    assert_memory_equal(want->ids, got->ids, want->n_ids * sizeof *want->ids);
    assert_int_equal(want->n_calls, got->n_calls);
    assert_int_equal(want->n_text, got->n_text);
    assert_memory_equal(want->text, got->text, want->n_text);
    assert_int_equal(want->result.stop_reason, got->result.stop_reason);
    assert_int_equal(want->result.n_generated, got->result.n_generated);
    assert_memory_equal(want->logits, got->logits, sizeof want->logits);
}

/* ---- plain against every way of guessing ------------------------------------------------------------------------- */

enum { MOST_WAYS = 6 };

/* The ways, each with a session that lives through all prompts, as a chat's does. */
struct ways {
    struct slm_session *plain, *guessing[MOST_WAYS];
    size_t n;
    struct slm_speculation_counts counts[MOST_WAYS];
    struct outcome *want, *got;
};

/* other: a model of the same vocabulary that guesses badly, or NULL. */
static struct ways open_ways(const struct slm_model *model, const struct slm_model *other)
{
    const struct slm_speculation rows[MOST_WAYS] = {
        {.mode = SLM_SPECULATE_DEFAULT},
        {.mode = SLM_SPECULATE_NGRAM, .always = true},
        {.mode = SLM_SPECULATE_NGRAM, .always = true, .n_guess = 1},
        {.mode = SLM_SPECULATE_DRAFT, .always = true, .draft = model},
        {.mode = SLM_SPECULATE_DRAFT, .n_guess = 5, .draft = other},
        {.mode = SLM_SPECULATE_DRAFT, .always = true, .n_guess = 3, .draft = other},
    };
    struct ways w = {.plain = open_session(model, &(struct slm_speculation){.mode = SLM_SPECULATE_OFF}),
                     .n = other ? MOST_WAYS : 4,
                     .want = malloc(sizeof *w.want),
                     .got = malloc(sizeof *w.got)};
    assert_non_null(w.want);
    assert_non_null(w.got);
    for (size_t i = 0; i < w.n; i++) w.guessing[i] = open_session(model, &rows[i]);
    return w;
}

static void close_ways(struct ways *w)
{
    slm_session_close(w->plain);
    for (size_t i = 0; i < w->n; i++) slm_session_close(w->guessing[i]);
    free(w->want);
    free(w->got);
}

/* keep: tokens of the last timeline that stay. */
static void compare_ways(struct ways *w, size_t keep, const int32_t *prompt, size_t n,
                         const struct slm_generate_params *params)
{
    assert_int_equal(slm_session_truncate(w->plain, keep, NULL), SLM_OK);
    generate(w->plain, prompt, n, *params, w->want);
    assert_int_equal(w->want->result.speculation.n_guessed, 0);
    for (size_t i = 0; i < w->n; i++) {
        assert_int_equal(slm_session_truncate(w->guessing[i], keep, NULL), SLM_OK);
        generate(w->guessing[i], prompt, n, *params, w->got);
        same(w->want, w->got);
        const struct slm_speculation_counts *c = &w->got->result.speculation;
        assert_true(c->n_accepted <= c->n_guessed);
        assert_int_equal(c->n_steps + c->n_accepted, w->got->result.n_generated);
        w->counts[i].n_guessed += c->n_guessed;
        w->counts[i].n_accepted += c->n_accepted;
        w->counts[i].n_steps += c->n_steps;
    }
}

/* Settings from a seed: greedy, sampled, narrow and wide, with penalties, biases, limits. */
static struct slm_generate_params params_of(const struct slm_model *model, uint64_t seed, struct slm_logit_bias bias[2])
{
    struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .ignore_eog = seed % 5 != 0};
    static const float temperatures[] = {0.0f, 0.3f, 0.8f, 1.5f};
    params.sampler.seed = seed;
    params.sampler.temperature = temperatures[seed % 4];
    if (seed % 3 == 1) params.sampler.repeat_penalty = 1.2f;
    if (seed % 6 == 2) params.sampler.frequency_penalty = 0.5f;
    bias[0] = (struct slm_logit_bias){.id = 5, .bias = -__builtin_inff()};
    bias[1] = (struct slm_logit_bias){.id = 7, .bias = 3.0f};
    params.sampler.logit_bias = bias;
    params.sampler.n_logit_bias = seed % 4 == 3 ? 2 : 0;
    params.n_predict = seed % 7 == 6 ? 0 : (int32_t)(1 + seed * 7 % 60); /* 0: to the end of the context */
    return params;
}

/* Prompts that repeat themselves, so that there is something to find; every third goes on with the last timeline. */
static void compare_many(struct ways *w, const struct slm_model *model, uint64_t n_seeds)
{
    const uint64_t n_vocab = (uint64_t)slm_model_info(model).n_vocab;
    for (uint64_t seed = 0; seed < n_seeds; seed++) {
        struct slm_rng rng = {.seed = seed};
        struct slm_logit_bias bias[2];
        int32_t prompt[40];
        const size_t n = 1 + slm_rng_next(&rng) % 40, period = 1 + slm_rng_next(&rng) % 12;
        for (size_t i = 0; i < n; i++)
            prompt[i] = i < period ? (int32_t)(slm_rng_next(&rng) % n_vocab) : prompt[i - period];
        const size_t past = slm_session_n_past(w->plain), keep = seed % 3 == 2 && past < 150 ? past : 0;
        const struct slm_generate_params params = params_of(model, seed, bias);
        compare_ways(w, keep, prompt, n, &params);
    }
}

/* Guesses were made, right ones and wrong ones; a draft that is the model itself is always right. */
static void check_counts(const struct ways *w)
{
    for (size_t i = 1; i < w->n; i++) {
        if (i == 4) continue; /* gated: whether it guesses is its own affair */
        assert_true(w->counts[i].n_accepted > 0);
        if (i != 3) assert_true(w->counts[i].n_accepted < w->counts[i].n_guessed);
    }
    assert_true(w->counts[3].n_steps * 4 < w->counts[3].n_steps + w->counts[3].n_accepted);
}

static struct slm_model *open_path(const char *path)
{
    struct slm_model *model;
    struct slm_error error;
    if (slm_model_open(path, NULL, &model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return model;
}

static struct slm_model *open_tiny(const char *architecture, enum slm_dtype dtype, uint64_t seed)
{
    struct tiny_spec spec = tiny_spec_default(architecture, dtype);
    const char *path = tiny_path("speculate.gguf");
    spec.seed = seed;
    tiny_model_write(path, &spec);
    return open_path(path);
}

static void random_models_generate_the_same(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("qwen3", SLM_DTYPE_Q8_0, 1), *other = open_tiny("llama", SLM_DTYPE_F16, 2);
    struct ways w = open_ways(model, other);
    compare_many(&w, model, test_share(80));
    check_counts(&w);
    close_ways(&w);
    slm_model_close(other);
    slm_model_close(model);
}

/* One small model of each family, as the golden tests have them. */
static void families_generate_the_same(void **state)
{
    static const char *const families[] = {"llama", "mistral", "qwen2", "qwen3", "smollm3", "phi3", "gemma2", "gemma3",
                                           "bitnet"};
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i += test_is_far_too_slow() ? 4 : 1) {
        char path[512];
        snprintf(path, sizeof path, SLM_SOURCE_DIR "/tests/golden/families/%s", families[i]);
        struct slm_model *model = open_path(path);
        struct ways w = open_ways(model, NULL);
        compare_many(&w, model, 12);
        check_counts(&w);
        close_ways(&w);
        slm_model_close(model);
    }
}

static void stories_are_the_same(void **state)
{
    (void)state;
    struct slm_model *model = open_path(NULL);
    struct ways w = open_ways(model, NULL);
    static const char *const requests[] = {"Tell me a story about a brave mouse", "a dog, a dog, and a cat",
                                           "Write a story about a boy who lost his red ball"};
    for (uint64_t seed = 0; seed < 4; seed += test_is_far_too_slow() ? 2 : 1) { /* greedy, and drawn */
        int32_t *ids;
        size_t n;
        const struct slm_chat_message message = {"user", requests[seed % 3]};
        assert_int_equal(slm_chat_encode(model, &message, 1, NULL, &ids, &n, NULL), SLM_OK);
        struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = 80};
        params.sampler.seed = seed;
        params.sampler.temperature = seed < 2 ? 0.0f : 0.8f;
        compare_ways(&w, 0, ids, n, &params);
        slm_free(ids);
    }
    check_counts(&w);
    close_ways(&w);
    slm_model_close(model);
}

/* ---- where a run of accepted tokens ends ------------------------------------------------------------------------- */

/* Any piece of the free text as a stop string: it cuts inside of accepted runs, too, and what was computed behind it is
 * not on the timeline. */
static void stop_strings_cut_accepted_runs(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 1);
    struct ways w = open_ways(model, NULL);
    static const int32_t prompt[] = {1, 300, 310, 1, 300, 310, 1, 300};
    struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = 60, .ignore_eog = true};
    params.sampler.seed = 11;
    compare_ways(&w, 0, prompt, 8, &params);
    static struct outcome free_run;
    free_run = *w.want;
    for (size_t at = 0; at + 3 < free_run.n_text; at += 3) {
        char stop[4] = {0};
        memcpy(stop, free_run.text + at, 1 + at % 3);
        if (strlen(stop) != 1 + at % 3) continue; /* a NUL cannot be in a stop string */
        const char *stops[] = {stop};
        params.stop = stops;
        params.n_stop = 1;
        compare_ways(&w, 0, prompt, 8, &params);
        assert_int_equal(w.want->result.stop_reason, SLM_STOP_STRING);
    }
    close_ways(&w);
    slm_model_close(model);
}

static bool stop_at(void *user, const char *text, size_t n)
{
    (void)text, (void)n;
    return --*(int *)user > 0;
}

/* A callback that stops after any number of tokens leaves what plain decoding would; and the session goes on from there
 * as plain decoding does, also from a file. */
static void stopped_sessions_go_on_the_same(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("qwen3", SLM_DTYPE_Q8_0, 1);
    n_threads = 2; /* elsewhere one: what threads do is tested where steps are */
    struct slm_session *plain = open_session(model, &(struct slm_speculation){.mode = SLM_SPECULATE_OFF});
    const struct slm_speculation options = {.mode = SLM_SPECULATE_DRAFT, .draft = model, .always = true};
    struct slm_session *guessing = open_session(model, &options), *restored = open_session(model, &options);
    n_threads = 1;
    static const int32_t prompt[] = {1, 300, 310, 1, 300};
    static struct outcome want, got;
    const char *path = tiny_path("stopped");
    for (int n = 1; n <= 40; n += 5) {
        struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = 40,
                                             .ignore_eog = true, .on_text = stop_at};
        struct slm_generate_result result;
        int left = n;
        params.user = &left;
        params.sampler.seed = (uint64_t)n;
        assert_int_equal(slm_session_truncate(guessing, 0, NULL), SLM_OK);
        assert_int_equal(slm_generate(guessing, prompt, 5, &params, &result, NULL), SLM_OK);
        assert_int_equal(result.n_generated, n);
        assert_int_equal(slm_session_save(guessing, path, NULL), SLM_OK);
        assert_int_equal(slm_session_restore(restored, path, NULL), SLM_OK);
        left = n;
        assert_int_equal(slm_session_truncate(plain, 0, NULL), SLM_OK);
        assert_int_equal(slm_generate(plain, prompt, 5, &params, NULL, NULL), SLM_OK);
        generate(plain, NULL, 0, params, &want);
        generate(guessing, NULL, 0, params, &got);
        same(&want, &got);
        generate(restored, NULL, 0, params, &got);
        same(&want, &got);
    }
    slm_session_close(restored);
    slm_session_close(guessing);
    slm_session_close(plain);
    slm_model_close(model);
}

/* A draft whose context ends earlier stops guessing, and that is all. */
static void a_full_context_ends_it(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 1);
    struct ways w = open_ways(model, NULL);
    static const int32_t prompt[] = {1, 300, 310, 1, 300};
    struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .ignore_eog = true};
    compare_ways(&w, 0, prompt, 5, &params);
    assert_int_equal(w.want->result.stop_reason, SLM_STOP_CONTEXT);
    assert_int_equal(w.want->n_ids, CTX);
    close_ways(&w);
    slm_model_close(model);
}

/* ---- the gate ---------------------------------------------------------------------------------------------------- */

/* Where a row more costs two steps nothing is guessed; where it costs nothing, everything that may come true is. And
 * what never comes true stops being guessed. */
static size_t guess(struct slm_session *session, int32_t id, size_t room, const struct slm_sampler_params *params,
                    int32_t *guesses)
{
    struct slm_guesser g = {.session = session, .params = params, .id = id, .room = room, .guesses = guesses};
    const size_t n = slm_speculate_guess(&session->speculator, &g, 1);
    assert_int_equal(g.n, n);
    return n;
}

static void guesses_are_made_where_they_pay(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 1);
    struct slm_session *session = open_session(model, NULL);
    int32_t prompt[64];
    for (size_t i = 0; i < 64; i++) prompt[i] = (int32_t)(20 + i % 8);
    struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = 1, .ignore_eog = true};
    static struct outcome out;
    session->speculator.row_cost = 2;
    generate(session, prompt, 64, params, &out);
    int32_t guesses[SLM_MAX_GUESS];
    const int32_t id = 20 + 64 % 8; /* as the text would go on */
    assert_int_equal(slm_session_truncate(session, 0, NULL), SLM_OK);
    assert_int_equal(slm_session_eval(session, prompt, 64, NULL), SLM_OK);
    slm_speculate_forget(&session->speculator);
    session->speculator.row_cost = 2;
    assert_int_equal(guess(session, id, 15, &params.sampler, guesses), 0);
    session->speculator.row_cost = 0;
    assert_int_equal(guess(session, id, 15, &params.sampler, guesses), 15);
    for (int32_t i = 0; i < 15; i++) assert_int_equal(guesses[i], 20 + (64 + 1 + i) % 8); /* past the present, too */
    assert_int_equal(guess(session, id, 4, &params.sampler, guesses), 4);
    session->speculator.row_cost = 0.2;
    for (int i = 0; i < 300; i++) { /* the text never goes on so */
        guess(session, id, 15, &params.sampler, guesses);
        slm_speculate_drawn(session, 300);
    }
    assert_int_equal(guess(session, id, 15, &params.sampler, guesses), 0);
    slm_session_close(session);
    slm_model_close(model);
}

/* Each of a step waits for the rows of all: what pays for one alone must be better founded among eight. */
static void guesses_must_pay_for_all_who_wait(void **state)
{
    (void)state;
    static const int32_t prompt[] = {1, 20, 21, 22, 30, 1, 20, 21}; /* 22 makes a match of four tokens */
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 1);
    const struct slm_sampler_params params = slm_sampler_defaults(model);
    struct slm_speculator meter = {.row_cost = 0.4};
    struct slm_guesser guessers[SLM_MOST_GUESSERS];
    int32_t guesses[SLM_MOST_GUESSERS][SLM_MAX_GUESS];
    for (size_t i = 0; i < SLM_MOST_GUESSERS; i++) {
        struct slm_session *session = open_session(model, NULL);
        assert_int_equal(slm_session_eval(session, prompt, 8, NULL), SLM_OK);
        guessers[i] = (struct slm_guesser){.session = session, .params = &params, .id = 22, .guesses = guesses[i]};
    }
    for (size_t n = 1; n <= SLM_MOST_GUESSERS; n += 7) {
        for (size_t i = 0; i < n; i++) guessers[i].room = 15;
        const size_t sum = slm_speculate_guess(&meter, guessers, n);
        if (n == 1) assert_true(sum > 0 && guesses[0][0] == 30);
        else assert_int_equal(sum, 0);
    }
    for (size_t i = 0; i < SLM_MOST_GUESSERS; i++) slm_session_close(guessers[i].session);
    slm_model_close(model);
}

/* A draft that costs more than the step it saves is asked ever more seldom, but never given up. */
static void dear_drafts_are_asked_seldom(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 1);
    const struct slm_speculation options = {.mode = SLM_SPECULATE_DRAFT, .draft = model};
    struct slm_session *session = open_session(model, &options);
    const struct slm_sampler_params params = slm_sampler_defaults(model);
    size_t n_asked[2] = {0, 0};
    int32_t guesses[SLM_MAX_GUESS];
    assert_int_equal(slm_session_eval(session, (const int32_t[]){1, 20}, 2, NULL), SLM_OK);
    for (int i = 0; i < 8000; i++) {
        session->speculator.step_s = 1e-12; /* whatever the clock says, it is too long */
        const size_t n = guess(session, 21, 15, &params, guesses);
        n_asked[i >= 4000] += n > 0;
        slm_speculate_drawn(session, n ? guesses[0] : 22);
    }
    assert_true(n_asked[0] > n_asked[1] && n_asked[1] >= 3 && n_asked[1] <= 5); /* 4000 of 1024 each */
    session->speculator.step_s = 1e9; /* now it costs nothing */
    session->speculator.draft_cost = 0;
    session->speculator.row_cost = 0;
    assert_int_equal(guess(session, 21, 15, &params, guesses), 15);
    slm_session_close(session);
    slm_model_close(model);
}

/* The cost of a row is what steps of one and of several rows say. */
static void costs_are_measured(void **state)
{
    (void)state;
    struct slm_speculator sp = {.row_cost = 0.15};
    for (int i = 0; i < 200; i++) {
        slm_speculate_took(&sp, 1, 0.010);
        slm_speculate_took(&sp, 5, 0.010 * (1 + 4 * 0.4));
    }
    assert_true(sp.step_s > 0.0099 && sp.step_s < 0.0101);
    assert_true(sp.row_cost > 0.38 && sp.row_cost < 0.42);
    slm_speculate_took(&sp, 1, 10.0); /* the machine was busy */
    assert_true(sp.step_s < 0.012);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static void wrong_options_change_nothing(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 1), *story = open_path(NULL);
    struct slm_session *session = open_session(model, NULL);
    const struct slm_spec_kind *kind = session->speculator.kind;
    struct slm_error error;
    const struct slm_speculation wrong[] = {
        {.mode = (enum slm_speculate)9},
        {.n_guess = 16},
        {.n_guess = -1},
        {.mode = SLM_SPECULATE_DRAFT},
        {.mode = SLM_SPECULATE_NGRAM, .draft = model},
        {.mode = SLM_SPECULATE_DRAFT, .draft = story},
    };
    static const char *const words[] = {"mode is 9", "n_guess is 16", "n_guess is -1", "draft model belongs",
                                        "draft model belongs", "the model's vocabulary"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(slm_session_speculate(session, &wrong[i], &error), SLM_ERR_ARGUMENT);
        if (!strstr(error.message, words[i])) fail_msg("%s", error.message);
        assert_ptr_equal(session->speculator.kind, kind);
    }
    slm_session_close(session);
    slm_model_close(story);
    slm_model_close(model);
}

static slm_status open_with_draft(void *user, struct slm_error *error)
{
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 64, .n_threads = 2, .n_batch = 16};
    slm_status status = slm_session_open(user, &options, &session, error);
    if (status != SLM_OK) return status;
    const struct slm_speculation draft = {.mode = SLM_SPECULATE_DRAFT, .draft = user};
    status = slm_session_speculate(session, &draft, error);
    slm_session_close(session);
    return status;
}

/* Nothing is allocated while tokens flow, drafts included; and opening may fail anywhere. */
static void drafts_keep_to_their_memory(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("qwen3", SLM_DTYPE_F32, 1);
    assert_int_equal(open_with_draft(model, NULL), SLM_OK); /* what sessions share is made by the first */
    assert_true(fake_os_every_failure(NULL, FAKE_MEMORY | FAKE_THREADS, false, open_with_draft, model).n_failed > 20);
    fake_os_start(NULL);
    const struct slm_speculation options = {.mode = SLM_SPECULATE_DRAFT, .draft = model, .always = true};
    struct slm_session *session = open_session(model, &options);
    uint64_t taken[2];
    for (int run = 0; run < 2; run++) {
        static struct outcome out;
        const struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .ignore_eog = true,
                                                   .n_predict = run ? 200 : 20};
        const uint64_t before = fake_os_count(FAKE_MEMORY);
        assert_int_equal(slm_session_truncate(session, 0, NULL), SLM_OK);
        generate(session, (const int32_t[]){1, 300}, 2, params, &out);
        taken[run] = fake_os_count(FAKE_MEMORY) - before;
    }
    assert_int_equal(taken[0], taken[1]);
    slm_session_close(session);
    fake_os_assert_clean();
    fake_os_stop();
    slm_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_models_generate_the_same),
        cmocka_unit_test(families_generate_the_same),
        cmocka_unit_test(stories_are_the_same),
        cmocka_unit_test(stop_strings_cut_accepted_runs),
        cmocka_unit_test(stopped_sessions_go_on_the_same),
        cmocka_unit_test(a_full_context_ends_it),
        cmocka_unit_test(guesses_are_made_where_they_pay),
        cmocka_unit_test(guesses_must_pay_for_all_who_wait),
        cmocka_unit_test(dear_drafts_are_asked_seldom),
        cmocka_unit_test(costs_are_measured),
        cmocka_unit_test(wrong_options_change_nothing),
        cmocka_unit_test(drafts_keep_to_their_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
