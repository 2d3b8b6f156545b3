/* SPDX-License-Identifier: MIT
 * What a session promises: the same bits whatever the threads, chunks, CPU level or interruption; a timeline that
 * survives files and truncation; no allocation while tokens flow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "engine/session.h"
#include "fake_os.h"
#include "slm.h"
#include "tiny_model.h"

enum { N_PROMPT = 150 };

static struct slm_model *open_tiny(const struct tiny_spec *spec, uint64_t cpu_mask)
{
    const char *path = tiny_path("tiny.gguf");
    tiny_model_write(path, spec);
    struct slm_model *model;
    struct slm_error error;
    const struct slm_model_options options = {.cpu_mask = cpu_mask};
    if (slm_model_open(path, &options, &model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return model;
}

static struct slm_session *open_with(const struct slm_model *model, int threads, int batch, enum slm_kv_type kv)
{
    struct slm_session *session;
    struct slm_error error;
    const struct slm_session_options options = {.n_ctx = 512, .n_threads = threads, .n_batch = batch, .kv_type = kv};
    if (slm_session_open(model, &options, &session, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return session;
}

static struct slm_session *open_session(const struct slm_model *model, int threads, int batch)
{
    return open_with(model, threads, batch, SLM_KV_DEFAULT);
}

static void fill_prompt(int32_t *ids, size_t n, uint64_t seed)
{
    struct slm_rng rng = {.seed = seed};
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(slm_rng_next(&rng) % TINY_VOCAB);
}

/* Logits of every prompt token, in one vector. */
static float *all_logits(const struct slm_model *model, int threads, int batch, enum slm_kv_type kv)
{
    int32_t ids[N_PROMPT];
    fill_prompt(ids, N_PROMPT, 7);
    float *logits = malloc(sizeof *logits * N_PROMPT * TINY_VOCAB);
    struct slm_session *session = open_with(model, threads, batch, kv);
    assert_int_equal(slm_session_eval_all(session, ids, N_PROMPT, logits, NULL), SLM_OK);
    slm_session_close(session);
    return logits;
}

/* Weight types and cache types. */
static const struct setup {
    const char *architecture;
    enum slm_dtype weights;
    enum slm_kv_type kv;
} setups[] = {
    {"llama", SLM_DTYPE_F32, SLM_KV_F32},  {"qwen3", SLM_DTYPE_F16, SLM_KV_F16}, {"llama", SLM_DTYPE_Q8_0, SLM_KV_F16},
    {"qwen3", SLM_DTYPE_Q4_0, SLM_KV_F16}, {"qwen3", SLM_DTYPE_Q8_0, SLM_KV_INT8},
};
enum { N_SETUPS = sizeof setups / sizeof *setups };

static struct slm_model *open_setup(const struct setup *setup, uint64_t cpu_mask)
{
    const struct tiny_spec spec = tiny_spec_default(setup->architecture, setup->weights);
    return open_tiny(&spec, cpu_mask);
}

static void same_bits_for_any_threads_and_chunks(void **state)
{
    (void)state;
    static const int batches[] = {1, 7, 64, 512};
    for (size_t i = 0; i < N_SETUPS; i++) {
        struct slm_model *model = open_setup(&setups[i], 0);
        float *first = all_logits(model, 1, 1, setups[i].kv);
        for (int threads = 1; threads <= 4; threads++)
            for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
                float *other = all_logits(model, threads, batches[b], setups[i].kv);
                assert_memory_equal(first, other, sizeof *first * N_PROMPT * TINY_VOCAB);
                free(other);
            }
        free(first);
        slm_model_close(model);
    }
}

static void same_bits_for_any_cpu_level(void **state)
{
    (void)state;
    const uint64_t avx2 = SLM_CPU(SSE42) | SLM_CPU(AVX) | SLM_CPU(F16C) | SLM_CPU(FMA) | SLM_CPU(AVX2);
    const uint64_t masks[] = {SLM_CPU(SSE42), avx2, avx2 | SLM_CPU(AVXVNNI), avx2 | SLM_CPU(AVX512), UINT64_MAX};
    for (size_t s = 2; s < N_SETUPS; s++) {
        float *first = NULL;
        for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
            struct slm_model *model = open_setup(&setups[s], masks[i]);
            float *logits = all_logits(model, 1, 64, setups[s].kv);
            if (first) assert_memory_equal(first, logits, sizeof *first * N_PROMPT * TINY_VOCAB);
            if (first) free(logits);
            else first = logits;
            slm_model_close(model);
        }
        free(first);
    }
}

/* The cache in int8 is another computation, near the one in f16, and files say which they hold. */
static void an_int8_cache_is_near_and_of_its_own(void **state)
{
    (void)state;
    const struct setup *setup = &setups[N_SETUPS - 1];
    struct slm_model *model = open_setup(setup, 0);
    float *f16 = all_logits(model, 2, 64, SLM_KV_F16), *int8 = all_logits(model, 2, 64, SLM_KV_INT8);
    double error = 0, power = 0;
    for (size_t i = 0; i < (size_t)N_PROMPT * TINY_VOCAB; i++) {
        error += ((double)int8[i] - (double)f16[i]) * ((double)int8[i] - (double)f16[i]);
        power += (double)f16[i] * (double)f16[i];
    }
    assert_true(error > 0 && error < 0.05 * 0.05 * power); /* random weights have scores of dozens: sharp attention */
    free(f16);
    free(int8);
    struct slm_session *small = open_with(model, 1, 64, SLM_KV_INT8), *other = open_with(model, 1, 64, SLM_KV_F16);
    const char *path = tiny_path("session8");
    int32_t ids[40];
    float before[TINY_VOCAB];
    struct slm_error problem;
    fill_prompt(ids, 40, 3);
    assert_int_equal(slm_session_eval(small, ids, 39, NULL), SLM_OK);
    assert_int_equal(slm_session_save(small, path, NULL), SLM_OK);
    assert_int_equal(slm_session_eval(small, ids + 39, 1, NULL), SLM_OK);
    memcpy(before, slm_session_logits(small), sizeof before);
    assert_int_equal(slm_session_restore(other, path, &problem), SLM_ERR_FORMAT);
    assert_int_equal(slm_session_restore(small, path, &problem), SLM_OK);
    assert_int_equal(slm_session_eval(small, ids + 39, 1, NULL), SLM_OK);
    assert_memory_equal(before, slm_session_logits(small), sizeof before);
    slm_session_close(small);
    slm_session_close(other);
    slm_model_close(model);

    struct tiny_spec narrow = tiny_spec_default("llama", SLM_DTYPE_F16);
    narrow.head_dim = 16;
    const struct slm_session_options options = {.kv_type = SLM_KV_INT8};
    model = open_tiny(&narrow, 0);
    assert_int_equal(slm_session_open(model, &options, &small, &problem), SLM_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "16"));
    slm_model_close(model);
}

/* n tokens drawn with a seed, fed back one by one. */
static void draw(struct slm_session *session, const struct slm_model *model, size_t n, int32_t *out)
{
    struct slm_sampler_params params = slm_sampler_defaults(model);
    params.seed = 42;
    params.repeat_penalty = 1.1f;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(slm_sample(session, &params, &out[i], NULL), SLM_OK);
        assert_int_equal(slm_session_eval(session, &out[i], 1, NULL), SLM_OK);
    }
}

static void saved_sessions_go_on_the_same(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_Q8_0);
    struct slm_model *model = open_tiny(&spec, 0);
    struct slm_session *session = open_session(model, 1, 64), *other = open_session(model, 2, 7);
    const char *path = tiny_path("session");
    int32_t ids[N_PROMPT], straight[40], resumed[40];
    struct slm_error error;
    fill_prompt(ids, N_PROMPT, 9);
    assert_int_equal(slm_session_eval(session, ids, N_PROMPT, NULL), SLM_OK);
    if (slm_session_save(session, path, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    draw(session, model, 40, straight);
    assert_int_equal(slm_session_eval(other, ids, 3, NULL), SLM_OK); /* something to be replaced */
    if (slm_session_restore(other, path, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    assert_int_equal(slm_session_n_past(other), N_PROMPT);
    draw(other, model, 40, resumed);
    assert_memory_equal(straight, resumed, sizeof straight);
    slm_session_close(session);
    slm_session_close(other);
    slm_model_close(model);
}

static void put(const char *path, const char *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static void damaged_session_files_change_nothing(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F16);
    struct slm_model *model = open_tiny(&spec, 0);
    struct slm_session *session = open_session(model, 1, 64);
    const char *path = tiny_path("session"), *bad = tiny_path("bad");
    int32_t ids[40];
    fill_prompt(ids, 40, 3);
    assert_int_equal(slm_session_eval(session, ids, 40, NULL), SLM_OK);
    assert_int_equal(slm_session_save(session, path, NULL), SLM_OK);
    FILE *file = fopen(path, "rb");
    static char data[1 << 20];
    const size_t bytes = fread(data, 1, sizeof data, file);
    fclose(file);
    float before[TINY_VOCAB];
    memcpy(before, slm_session_logits(session), sizeof before);
    struct slm_error error;
    for (size_t i = 0; i < bytes; i += i < 400 ? 1 : 997) {
        put(bad, data, i); /* cut short */
        assert_int_not_equal(slm_session_restore(session, bad, &error), SLM_OK);
        assert_true(error.message[0] != 0);
        data[i] ^= 0x40; /* one bit wrong */
        put(bad, data, bytes);
        data[i] ^= 0x40;
        assert_int_not_equal(slm_session_restore(session, bad, &error), SLM_OK);
    }
    assert_int_equal(slm_session_n_past(session), 40);
    assert_memory_equal(before, slm_session_logits(session), sizeof before);
    spec.seed = 2; /* another model of the same shape */
    slm_session_close(session);
    slm_model_close(model);
    model = open_tiny(&spec, 0);
    session = open_session(model, 1, 64);
    assert_int_equal(slm_session_restore(session, path, &error), SLM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "another model"));
    slm_session_close(session);
    slm_model_close(model);
}

static void truncating_goes_back_exactly(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_F16);
    struct slm_model *model = open_tiny(&spec, 0);
    struct slm_session *session = open_session(model, 2, 64);
    int32_t ids[N_PROMPT];
    float before[TINY_VOCAB];
    fill_prompt(ids, N_PROMPT, 5);
    assert_int_equal(slm_session_eval(session, ids, N_PROMPT, NULL), SLM_OK);
    memcpy(before, slm_session_logits(session), sizeof before);
    for (size_t keep = 0; keep < N_PROMPT; keep += 13) {
        assert_int_equal(slm_session_truncate(session, keep, NULL), SLM_OK);
        assert_null(slm_session_logits(session));
        const int32_t noise[3] = {5, 6, 7};
        assert_int_equal(slm_session_eval(session, noise, 3, NULL), SLM_OK);
        assert_int_equal(slm_session_truncate(session, keep, NULL), SLM_OK);
        assert_int_equal(slm_session_eval(session, ids + keep, N_PROMPT - keep, NULL), SLM_OK);
        assert_memory_equal(before, slm_session_logits(session), sizeof before);
    }
    struct slm_error error;
    assert_int_equal(slm_session_truncate(session, N_PROMPT + 1, &error), SLM_ERR_ARGUMENT);
    slm_session_close(session);
    slm_model_close(model);
}

static void bad_tokens_and_full_contexts_are_refused(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    struct slm_model *model = open_tiny(&spec, 0);
    struct slm_session *session = open_session(model, 1, 64);
    struct slm_error error;
    static const int32_t bad[] = {-1, TINY_VOCAB, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(slm_session_eval(session, &bad[i], 1, &error), SLM_ERR_ARGUMENT);
        assert_non_null(strstr(error.message, "allowed are 0 to 319"));
    }
    int32_t ids[513] = {0};
    assert_int_equal(slm_session_eval(session, ids, 513, &error), SLM_ERR_CONTEXT);
    assert_int_equal(slm_session_n_past(session), 0);
    assert_int_equal(slm_session_eval(session, ids, 512, &error), SLM_OK);
    assert_int_equal(slm_session_eval(session, ids, 1, &error), SLM_ERR_CONTEXT);
    assert_non_null(strstr(error.message, "512 of the context's 512"));
    slm_session_close(session);
    slm_model_close(model);
}

struct text { char data[8192]; size_t len; };

static bool collect(void *user, const char *text, size_t n)
{
    struct text *out = user;
    assert_true(out->len + n <= sizeof out->data);
    memcpy(out->data + out->len, text, n);
    out->len += n;
    return true;
}

static struct slm_generate_result generate(struct slm_session *session, const struct slm_model *model, int32_t n,
                                           const char *const *stop, size_t n_stop, struct text *out)
{
    assert_int_equal(slm_session_truncate(session, 0, NULL), SLM_OK);
    const int32_t prompt[] = {1, 300, 310};
    struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = n, .ignore_eog = true,
                                         .on_text = collect, .user = out, .stop = stop, .n_stop = n_stop};
    params.sampler.seed = 11;
    params.sampler.temperature = 1.5f;
    struct slm_generate_result result;
    struct slm_error error;
    out->len = 0;
    if (slm_generate(session, prompt, 3, &params, &result, &error) != SLM_OK) fail_msg("%s", error.message);
    return result;
}

/* Any substring of the free-running text, used as a stop string, must cut the text right before its first appearance.
 */
static void stop_strings_cut_exactly(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    struct slm_model *model = open_tiny(&spec, 0);
    struct slm_session *session = open_session(model, 1, 64);
    static struct text free_text, cut;
    assert_int_equal(generate(session, model, 120, NULL, 0, &free_text).stop_reason, SLM_STOP_LENGTH);
    for (size_t at = 0; at + 6 < free_text.len; at += 5)
        for (size_t len = 1; len <= 6; len += 1) {
            char stop_text[8] = {0};
            memcpy(stop_text, free_text.data + at, len);
            if (strlen(stop_text) != len) continue; /* a NUL byte cannot be in a stop string */
            const char *stops[] = {"never\x01to be seen", stop_text};
            const struct slm_generate_result r = generate(session, model, 120, stops, 2, &cut);
            const char *first = memmem(free_text.data, free_text.len, stop_text, len);
            assert_int_equal(r.stop_reason, SLM_STOP_STRING);
            assert_int_equal(cut.len, first - free_text.data);
            assert_memory_equal(cut.data, free_text.data, cut.len);
        }
    slm_session_close(session);
    slm_model_close(model);
}

static bool count_text(void *user, const char *text, size_t n)
{
    (void)text;
    *(size_t *)user += n;
    return true;
}

/* Allocations while 200 tokens are generated must be as many as for 20: those of the call, none of the loop. */
static void no_allocation_in_the_token_loop(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_Q8_0);
    fake_os_start(NULL);
    struct slm_model *model = open_tiny(&spec, 0);
    struct slm_session *session = open_session(model, 2, 64);
    uint64_t taken[2];
    for (int run = 0; run < 2; run++) {
        assert_int_equal(slm_session_truncate(session, 0, NULL), SLM_OK);
        const int32_t prompt[] = {1, 300};
        size_t n_text = 0;
        struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = run ? 200 : 20,
                                             .ignore_eog = true, .on_text = count_text, .user = &n_text};
        params.sampler.repeat_penalty = 1.2f;
        params.sampler.typical_p = 0.9f;
        const uint64_t before = fake_os_count(FAKE_MEMORY);
        assert_int_equal(slm_generate(session, prompt, 2, &params, NULL, NULL), SLM_OK);
        taken[run] = fake_os_count(FAKE_MEMORY) - before;
        assert_true(n_text > 0);
    }
    assert_int_equal(taken[0], taken[1]);
    slm_session_close(session);
    slm_model_close(model);
    fake_os_assert_clean();
    fake_os_stop();
}

/* The prediction: refused when one byte short, opened when it fits, and nearly all of it is really taken. */
static void memory_is_predicted_and_checked(void **state)
{
    (void)state;
    const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F16);
    struct slm_model *model = open_tiny(&spec, 0);
    const struct slm_session_options options = {.n_ctx = 512, .n_threads = 2, .n_batch = 64};
    uint64_t kv, scratch;
    slm_session_close(open_session(model, 2, 64)); /* what sessions share is made by the first */
    assert_int_equal(slm_session_predict(model, &options, &kv, &scratch, NULL), SLM_OK);
    assert_int_equal(kv, 512u * 2 * 2 * 2 * 32 * 2); /* tokens, layers, K and V, heads, dimension, bytes */
    struct slm_session *session;
    struct slm_error error;
    fake_os_start(&(struct fake_os_plan){.memory_available = kv + scratch - 1});
    assert_int_equal(slm_session_open(model, &options, &session, &error), SLM_ERR_MEMORY);
    assert_non_null(strstr(error.message, "smaller context"));
    fake_os_stop();
    fake_os_start(&(struct fake_os_plan){.memory_available = kv + scratch});
    assert_int_equal(slm_session_open(model, &options, &session, &error), SLM_OK);
    const size_t taken = fake_os_use().live_bytes;
    assert_true(taken >= kv + scratch && taken <= kv + scratch + 64 * 1024);
    slm_session_close(session);
    fake_os_assert_clean();
    fake_os_stop();
    slm_model_close(model);
}

struct progress { uint64_t calls, last, total, stop_at; };

static bool watch(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = user;
    assert_true(done >= p->last && done <= total);
    p->calls++;
    p->last = done;
    p->total = total;
    return p->calls != p->stop_at;
}

static void loading_reports_and_can_be_cancelled(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    spec.n_ff = 32 * 1024; /* 48 MiB of weights: more than one report */
    const char *path = tiny_path("big.gguf");
    tiny_model_write(path, &spec);
    struct progress seen = {0};
    const struct slm_model_options options = {.progress = watch, .progress_user = &seen};
    struct slm_model *model;
    struct slm_error error;
    assert_int_equal(slm_model_open(path, &options, &model, &error), SLM_OK);
    slm_model_close(model);
    assert_true(seen.calls >= 8 && seen.last == seen.total && seen.total > 40u << 20);
    seen = (struct progress){.stop_at = 3};
    assert_int_equal(slm_model_open(path, &options, &model, &error), SLM_ERR_CANCELLED);
    assert_int_equal(seen.calls, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_for_any_threads_and_chunks),
        cmocka_unit_test(same_bits_for_any_cpu_level), cmocka_unit_test(an_int8_cache_is_near_and_of_its_own),
        cmocka_unit_test(saved_sessions_go_on_the_same),
        cmocka_unit_test(damaged_session_files_change_nothing),
        cmocka_unit_test(truncating_goes_back_exactly),
        cmocka_unit_test(bad_tokens_and_full_contexts_are_refused),
        cmocka_unit_test(stop_strings_cut_exactly),
        cmocka_unit_test(no_allocation_in_the_token_loop),
        cmocka_unit_test(memory_is_predicted_and_checked),
        cmocka_unit_test(loading_reports_and_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
