/* SPDX-License-Identifier: MIT
 * What an engine promises: whoever shares a step, each sequence gets the bits it gets alone, at every CPU level and for
 * any number of threads; one part's failure is its own; pages of the pool come back; sequences may share a beginning;
 * guesses change nothing but the work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "effort.h"
#include "fake_os.h"
#include "slm.h"
#include "tiny_model.h"

enum { MOST = 40, N_NEW = 6, MOST_PROMPT = 40, ROW = TINY_VOCAB };

#define AVX2_MASK (SLM_CPU(SSE42) | SLM_CPU(AVX) | SLM_CPU(F16C) | SLM_CPU(FMA) | SLM_CPU(AVX2))
/* Bit 63 is no feature: the scalar level. The library takes 0 for all. */
static const uint64_t levels[] = {
    UINT64_C(1) << 63, AVX2_MASK, AVX2_MASK | SLM_CPU(AVXVNNI), AVX2_MASK | SLM_CPU(AVX512),
    AVX2_MASK | SLM_CPU(AVX512) | SLM_CPU(AVX512VNNI), SLM_CPU(NEON), SLM_CPU(NEON) | SLM_CPU(DOTPROD), UINT64_MAX,
};
enum { N_LEVELS = sizeof levels / sizeof *levels };

static bool level_is_here(size_t i)
{
    const uint64_t wanted = levels[i] & ~(UINT64_C(1) << 63);
    return levels[i] == UINT64_MAX || (wanted & slm_cpu_features()) == wanted;
}

static struct slm_model *open_tiny(const char *architecture, enum slm_dtype dtype, uint64_t cpu_mask)
{
    const struct tiny_spec spec = tiny_spec_default(architecture, dtype);
    const char *path = tiny_path("engine.gguf");
    tiny_model_write(path, &spec);
    struct slm_model *model;
    struct slm_error error;
    const struct slm_model_options options = {.cpu_mask = cpu_mask};
    if (slm_model_open(path, &options, &model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return model;
}

static struct slm_engine *open_engine(const struct slm_model *model, int threads, int batch, size_t n_kv)
{
    struct slm_engine *engine;
    struct slm_error error;
    const struct slm_engine_options options = {.session = {.n_ctx = 160, .n_threads = threads, .n_batch = batch},
                                               .n_kv = n_kv};
    if (slm_engine_open(model, &options, &engine, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return engine;
}

static struct slm_session *open_session(struct slm_engine *engine)
{
    struct slm_session *session;
    struct slm_error error;
    if (slm_engine_session(engine, &session, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return session;
}

static struct slm_session *open_alone(const struct slm_model *model)
{
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 160, .n_threads = 1, .n_batch = 64};
    assert_int_equal(slm_session_open(model, &options, &session, NULL), SLM_OK);
    return session;
}

/* ---- together as alone ------------------------------------------------------------------------------------------ */

struct sequence {
    int32_t ids[MOST_PROMPT + N_NEW];
    size_t n_prompt;
    float logits[N_NEW][ROW]; /* after the prompt, and after each new token but the last */
};

static struct slm_sampler_params params_of(const struct slm_model *model, uint64_t seed)
{
    struct slm_sampler_params params = slm_sampler_defaults(model);
    params.seed = seed;
    params.repeat_penalty = 1.1f;
    params.temperature = seed % 3 ? 1.2f : 0.0f;
    return params;
}

/* Each sequence in a session of its own: what the others are measured by. */
static struct sequence *run_alone(const struct slm_model *model)
{
    struct sequence *all = calloc(MOST, sizeof *all);
    assert_non_null(all);
    for (size_t s = 0; s < MOST; s++) {
        struct slm_rng rng = {.seed = 100 + s};
        struct slm_session *session = open_alone(model);
        const struct slm_sampler_params params = params_of(model, s);
        all[s].n_prompt = 1 + slm_rng_next(&rng) % MOST_PROMPT;
        for (size_t i = 0; i < all[s].n_prompt; i++) all[s].ids[i] = (int32_t)(slm_rng_next(&rng) % TINY_VOCAB);
        assert_int_equal(slm_session_eval(session, all[s].ids, all[s].n_prompt, NULL), SLM_OK);
        for (size_t i = 0; i < N_NEW; i++) {
            int32_t *id = &all[s].ids[all[s].n_prompt + i];
            memcpy(all[s].logits[i], slm_session_logits(session), sizeof all[s].logits[i]);
            assert_int_equal(slm_sample(session, &params, id, NULL), SLM_OK);
            assert_int_equal(slm_session_eval(session, id, 1, NULL), SLM_OK);
        }
        slm_session_close(session);
    }
    return all;
}

/* The next part of a sequence: a random piece of its prompt, or one token that was drawn; with random guesses, some of
 * them right. False when it is through. */
static bool next_part(struct slm_session *session, const struct slm_model *model, const struct sequence *want,
                      uint64_t seed, struct slm_rng *rng, int32_t ids[MOST_PROMPT + 16], struct slm_step_part *part)
{
    const size_t at = slm_session_n_past(session);
    *part = (struct slm_step_part){.session = session, .ids = ids, .n = 1};
    if (at < want->n_prompt) {
        part->n = 1 + slm_rng_next(rng) % (want->n_prompt - at);
        part->no_logits = at + part->n < want->n_prompt;
        memcpy(ids, want->ids + at, part->n * sizeof *ids);
    } else {
        const struct slm_sampler_params params = params_of(model, seed);
        assert_memory_equal(slm_session_logits(session), want->logits[at - want->n_prompt], sizeof want->logits[0]);
        assert_int_equal(slm_sample(session, &params, ids, NULL), SLM_OK);
        assert_int_equal(ids[0], want->ids[at]);
        if (at + 1 == want->n_prompt + N_NEW) return false;
    }
    const size_t end = at + part->n, n = part->no_logits ? 0 : slm_rng_next(rng) % 6;
    for (part->n_guess = 0; part->n_guess < n; part->n_guess++) {
        const size_t p = end + part->n_guess;
        const bool right = p < want->n_prompt + N_NEW && slm_rng_next(rng) % 4;
        ids[part->n + part->n_guess] = right ? want->ids[p] : (int32_t)(slm_rng_next(rng) % TINY_VOCAB);
    }
    return true;
}

/* The first n sequences in one engine; they start at different steps and advance by different pieces. */
static void run_together(const struct slm_model *model, const struct sequence *want, size_t n, int threads, int batch)
{
    struct slm_engine *engine = open_engine(model, threads, batch, n * 160);
    struct slm_session *sessions[MOST];
    bool done[MOST] = {false};
    struct slm_rng rng = {.seed = n};
    static int32_t ids[MOST][MOST_PROMPT + 16];
    for (size_t s = 0; s < n; s++) sessions[s] = open_session(engine);
    for (size_t n_done = 0; n_done < n;) {
        struct slm_step_part parts[MOST];
        struct slm_error error;
        size_t n_parts = 0;
        for (size_t s = 0; s < n; s++) {
            if (done[s] || slm_rng_next(&rng) % 4 == 0) continue;
            if (next_part(sessions[s], model, &want[s], s, &rng, ids[s], &parts[n_parts])) n_parts++;
            else done[s] = true, n_done++;
        }
        if (slm_engine_step(engine, parts, n_parts, &error) != SLM_OK) fail_msg("%s", error.message);
    }
    for (size_t s = 0; s < n; s++) slm_session_close(sessions[s]);
    assert_int_equal(slm_engine_info(engine).n_pages_free, slm_engine_info(engine).n_pages);
    slm_engine_close(engine);
}

static void together_as_alone_at_every_level(void **state)
{
    (void)state;
    static const int batches[] = {1, 7, 32, 200};
    struct slm_model *model = open_tiny("qwen3", SLM_DTYPE_Q8_0, 0);
    struct sequence *want = run_alone(model);
    slm_model_close(model);
    /* `make check` tries a third of the numbers at each level, others at the next; sanitizers and emulators fewer. */
    const char *test_level = getenv("SLM_TEST_LEVEL");
    const size_t stride = test_slowdown() > 1 ? 9 : test_level && strcmp(test_level, "check") != 0 ? 1 : 3;
    for (size_t i = 0; i < N_LEVELS; i++) {
        if (!level_is_here(i)) continue;
        model = open_tiny("qwen3", SLM_DTYPE_Q8_0, levels[i]);
        for (size_t n = 1 + i % stride; n <= MOST; n += stride)
            run_together(model, want, n, (int)(1 + n % 4), batches[n / 4 % 4]);
        slm_model_close(model);
    }
    free(want);
}

static void together_as_alone_for_every_type(void **state)
{
    (void)state;
    static const enum slm_dtype types[] = {SLM_DTYPE_F32, SLM_DTYPE_F16, SLM_DTYPE_BF16, SLM_DTYPE_Q4_0,
                                           SLM_DTYPE_Q4_1, SLM_DTYPE_Q5_0, SLM_DTYPE_Q5_1};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!slm_dtypes[types[i]].encode) continue;
        struct slm_model *model = open_tiny(i % 2 ? "qwen3" : "llama", types[i], 0);
        struct sequence *want = run_alone(model);
        for (size_t n = 1; n <= MOST; n += 13) run_together(model, want, n, (int)(1 + n % 4), 64);
        free(want);
        slm_model_close(model);
    }
}

/* ---- errors of one part ------------------------------------------------------------------------------------------ */

static void a_bad_part_stops_no_other(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 0);
    struct slm_engine *engine = open_engine(model, 1, 64, 192), *other = open_engine(model, 1, 64, 0);
    struct slm_session *good = open_session(engine), *bad = open_session(engine), *large = open_session(engine),
                       *foreign = open_session(other), *alone = open_alone(model);
    struct slm_error errors[6], error;
    static const int32_t ids[161] = {5, 6, 7}, wrong[] = {1, TINY_VOCAB};
    struct slm_step_part parts[] = {
        {.session = bad, .ids = wrong, .n = 2, .error = &errors[0]},
        {.session = bad, .ids = ids, .n = 161, .error = &errors[1]},
        {.session = good, .ids = ids, .n = 3, .error = &errors[2]},
        {.session = good, .ids = ids, .n = 3, .error = &errors[3]},
        {.session = foreign, .ids = ids, .n = 3, .error = &errors[4]},
        {.session = bad, .ids = ids, .n = 3, .n_guess = 16, .error = &errors[5]},
    };
    static const slm_status want[] = {SLM_ERR_ARGUMENT, SLM_ERR_CONTEXT, SLM_OK, SLM_ERR_ARGUMENT, SLM_ERR_ARGUMENT,
                                      SLM_ERR_ARGUMENT};
    assert_int_equal(slm_engine_step(engine, parts, 6, &error), SLM_ERR_ARGUMENT);
    for (size_t i = 0; i < 6; i++) assert_int_equal(parts[i].status, want[i]);
    assert_non_null(strstr(error.message, "token 1 is 320"));
    assert_non_null(strstr(errors[1].message, "161 tokens do not fit"));
    assert_non_null(strstr(errors[3].message, "another part"));
    assert_non_null(strstr(errors[4].message, "another engine"));
    assert_non_null(strstr(errors[5].message, "n_guess is 16"));
    assert_int_equal(slm_session_n_past(bad), 0);
    assert_int_equal(slm_session_eval(alone, ids, 3, NULL), SLM_OK);
    assert_memory_equal(slm_session_logits(good), slm_session_logits(alone), ROW * sizeof(float));
    /* Six pages: one is taken, four fit, and then no two. */
    struct slm_step_part full[] = {{.session = large, .ids = ids, .n = 128}, {.session = bad, .ids = ids, .n = 33},
                                   {.session = good, .ids = ids, .n = 1}};
    assert_int_equal(slm_engine_step(engine, full, 3, &error), SLM_ERR_MEMORY);
    assert_int_equal(full[1].status, SLM_ERR_MEMORY);
    assert_non_null(strstr(error.message, "1 of the KV pool's 6 pages"));
    assert_int_equal(slm_session_n_past(bad), 0);
    assert_int_equal(slm_session_eval(alone, ids, 1, NULL), SLM_OK);
    assert_memory_equal(slm_session_logits(good), slm_session_logits(alone), ROW * sizeof(float));
    slm_session_close(large); /* its pages come back */
    assert_int_equal(slm_session_eval(bad, ids, 33, NULL), SLM_OK);
    slm_session_close(good);
    slm_session_close(bad);
    slm_session_close(foreign);
    slm_session_close(alone);
    slm_engine_close(engine);
    slm_engine_close(other);
    slm_model_close(model);
}

/* ---- a common beginning ------------------------------------------------------------------------------------------ */

/* Logits after ids in a session of its own. */
static void check_alone(const struct slm_model *model, struct slm_session *session)
{
    struct slm_session *alone = open_alone(model);
    assert_int_equal(slm_session_eval(alone, slm_session_tokens(session), slm_session_n_past(session), NULL), SLM_OK);
    assert_memory_equal(slm_session_logits(alone), slm_session_logits(session), ROW * sizeof(float));
    slm_session_close(alone);
}

static void copies_share_pages_until_they_write(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("qwen3", SLM_DTYPE_Q8_0, 0);
    struct slm_rng rng = {.seed = 3};
    int32_t ids[160];
    for (size_t i = 0; i < 160; i++) ids[i] = (int32_t)(slm_rng_next(&rng) % TINY_VOCAB);
    for (size_t n = 0; n <= 100; n += n % 32 == 31 || n % 32 == 0 ? 1 : 10) {
        struct slm_engine *engine = open_engine(model, 2, 64, 12 * 32);
        struct slm_session *first = open_session(engine), *second = open_session(engine);
        assert_int_equal(slm_session_eval(first, ids, 100, NULL), SLM_OK);
        assert_int_equal(slm_session_eval(second, ids + 50, 90, NULL), SLM_OK); /* to be replaced */
        assert_int_equal(slm_session_copy(second, first, n, NULL), SLM_OK);
        assert_int_equal(slm_engine_info(engine).n_pages_free, 12 - 4); /* all of the copy's are the first's */
        if (n == 100)
            assert_memory_equal(slm_session_logits(first), slm_session_logits(second), ROW * sizeof(float));
        /* Both write behind the common beginning, the copy first, then each again. */
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(slm_session_eval(second, ids + 120 + i, 1, NULL), SLM_OK);
            assert_int_equal(slm_session_eval(first, ids + 110 + i, 1, NULL), SLM_OK);
        }
        check_alone(model, first);
        check_alone(model, second);
        slm_session_close(first); /* what it shared stays */
        assert_int_equal(slm_session_eval(second, ids, 20, NULL), SLM_OK);
        check_alone(model, second);
        slm_session_close(second);
        assert_int_equal(slm_engine_info(engine).n_pages_free, 12);
        slm_engine_close(engine);
    }
    slm_model_close(model);
}

static void copies_are_refused_between_engines(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 0);
    struct slm_session *one = open_alone(model), *two = open_alone(model);
    struct slm_error error;
    assert_int_equal(slm_session_copy(one, two, 0, &error), SLM_ERR_ARGUMENT);
    assert_int_equal(slm_session_copy(one, one, 0, &error), SLM_ERR_ARGUMENT);
    slm_session_close(one);
    slm_session_close(two);
    slm_model_close(model);
}

/* ---- guesses ----------------------------------------------------------------------------------------------------- */

/* Whatever is done to a session with guesses behind its timeline, it goes on as one that never had any. */
static void guesses_leave_no_trace(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_Q8_0, 0);
    struct slm_engine *engine = open_engine(model, 2, 64, 4 * 160);
    struct slm_session *session = open_session(engine), *plain = open_alone(model), *copy = open_session(engine);
    const char *path = tiny_path("guesses");
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct slm_rng rng = {.seed = seed};
        int32_t ids[32];
        for (size_t i = 0; i < 32; i++) ids[i] = (int32_t)(slm_rng_next(&rng) % 4); /* often right by chance */
        const size_t room = 160 - slm_session_n_past(session), past = slm_session_n_past(session);
        const size_t n = 1 + slm_rng_next(&rng) % 12;
        if (room < n || seed % 37 == 36) {
            const size_t keep = slm_rng_next(&rng) % (past + 1);
            assert_int_equal(slm_session_truncate(session, keep, NULL), SLM_OK);
            assert_int_equal(slm_session_truncate(plain, keep, NULL), SLM_OK);
            assert_null(keep < past ? slm_session_logits(session) : NULL);
            continue;
        }
        struct slm_step_part part = {.session = session, .ids = ids, .n = n, .n_guess = slm_rng_next(&rng) % 16};
        assert_int_equal(slm_engine_step(engine, &part, 1, NULL), SLM_OK);
        assert_int_equal(slm_session_eval(plain, ids, n, NULL), SLM_OK);
        assert_int_equal(slm_session_n_past(session), slm_session_n_past(plain));
        assert_memory_equal(slm_session_tokens(session), slm_session_tokens(plain), (past + n) * sizeof *ids);
        assert_memory_equal(slm_session_logits(session), slm_session_logits(plain), ROW * sizeof(float));
        if (seed % 5 == 0) {
            assert_int_equal(slm_session_copy(copy, session, past + n, NULL), SLM_OK);
            assert_int_equal(slm_session_eval(copy, ids, 0, NULL), SLM_OK);
        }
        if (seed % 11 == 0) {
            assert_int_equal(slm_session_save(session, path, NULL), SLM_OK);
            assert_int_equal(slm_session_restore(seed % 2 ? session : plain, path, NULL), SLM_OK);
        }
    }
    slm_session_close(copy);
    slm_session_close(session);
    slm_session_close(plain);
    assert_int_equal(slm_engine_info(engine).n_pages_free, slm_engine_info(engine).n_pages);
    slm_engine_close(engine);
    slm_model_close(model);
}

/* Right guesses cost no step: what was computed with them is there. */
static void right_guesses_are_not_computed_again(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 0);
    struct slm_engine *engine = open_engine(model, 1, 64, 0);
    struct slm_session *session = open_session(engine);
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    struct slm_step_part part = {.session = session, .ids = ids, .n = 1, .n_guess = 5};
    assert_int_equal(slm_engine_step(engine, &part, 1, NULL), SLM_OK);
    const float *logits = slm_session_logits(session);
    for (size_t i = 1; i < 6; i++) {
        assert_int_equal(slm_session_eval(session, &ids[i], 1, NULL), SLM_OK);
        assert_ptr_equal(slm_session_logits(session), logits + i * ROW);
    }
    slm_session_close(session);
    slm_engine_close(engine);
    slm_model_close(model);
}

static void no_logits_means_none(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("llama", SLM_DTYPE_F32, 0);
    struct slm_engine *engine = open_engine(model, 1, 64, 0);
    struct slm_session *session = open_session(engine);
    static const int32_t ids[] = {1, 2, 3};
    struct slm_step_part part = {.session = session, .ids = ids, .n = 3, .no_logits = true};
    const struct slm_sampler_params params = slm_sampler_defaults(model);
    int32_t id;
    assert_int_equal(slm_engine_step(engine, &part, 1, NULL), SLM_OK);
    assert_null(slm_session_logits(session));
    assert_int_equal(slm_sample(session, &params, &id, NULL), SLM_ERR_ARGUMENT);
    slm_session_close(session);
    slm_engine_close(engine);
    slm_model_close(model);
}

static void steps_allocate_nothing(void **state)
{
    (void)state;
    fake_os_start(NULL);
    struct slm_model *model = open_tiny("qwen3", SLM_DTYPE_Q8_0, 0);
    struct slm_engine *engine = open_engine(model, 2, 64, 8 * 160);
    struct slm_session *sessions[8];
    static const int32_t ids[] = {3, 1, 4, 1, 5, 9};
    for (size_t s = 0; s < 8; s++) sessions[s] = open_session(engine);
    const uint64_t before = fake_os_count(FAKE_MEMORY);
    for (size_t step = 0; step < 40; step++) {
        struct slm_step_part parts[8];
        for (size_t s = 0; s < 8; s++)
            parts[s] = (struct slm_step_part){.session = sessions[s], .ids = ids, .n = 1 + s % 3, .n_guess = step % 4};
        assert_int_equal(slm_engine_step(engine, parts, 8, NULL), SLM_OK);
    }
    assert_int_equal(fake_os_count(FAKE_MEMORY), before);
    for (size_t s = 0; s < 8; s++) slm_session_close(sessions[s]);
    slm_engine_close(engine);
    slm_model_close(model);
    fake_os_assert_clean();
    fake_os_stop();
}

static slm_status open_two(void *user, struct slm_error *error)
{
    const struct slm_engine_options options = {.session = {.n_ctx = 64, .n_threads = 2, .n_batch = 16}, .n_kv = 128};
    struct slm_engine *engine;
    struct slm_session *one = NULL, *two = NULL;
    slm_status status = slm_engine_open(user, &options, &engine, error);
    if (status != SLM_OK) return status;
    status = slm_engine_session(engine, &one, error);
    if (status == SLM_OK) status = slm_engine_session(engine, &two, error);
    slm_session_close(one);
    slm_session_close(two);
    slm_engine_close(engine);
    return status;
}

static void opening_fails_cleanly_anywhere(void **state)
{
    (void)state;
    struct slm_model *model = open_tiny("qwen3", SLM_DTYPE_F32, 0);
    assert_int_equal(open_two(model, NULL), SLM_OK); /* what sessions share is made by the first */
    assert_true(fake_os_every_failure(NULL, FAKE_MEMORY | FAKE_THREADS, false, open_two, model).n_failed >= 15);
    slm_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together_as_alone_at_every_level),
        cmocka_unit_test(together_as_alone_for_every_type),
        cmocka_unit_test(a_bad_part_stops_no_other),
        cmocka_unit_test(copies_share_pages_until_they_write),
        cmocka_unit_test(copies_are_refused_between_engines),
        cmocka_unit_test(guesses_leave_no_trace),
        cmocka_unit_test(right_guesses_are_not_computed_again),
        cmocka_unit_test(no_logits_means_none),
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(opening_fails_cleanly_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
