/* SPDX-License-Identifier: MIT
 * Whole models against references made by other programs: llama.cpp, llama2.c and a GPU program (their files lie in the
 * shared data folder and say how they were made). Everything from the file to the logits is in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "shared.h"
#include "slm.h"

#define STORIES "data/models/stories260K/"

static struct slm_session *open_session(const char *path, enum slm_kv_type kv, struct slm_model **model)
{
    struct slm_error error = {0};
    if (slm_model_open(path, NULL, model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    struct slm_session *session;
    const struct slm_session_options options = {.kv_type = kv, .activations = SLM_ACTIVATIONS_F32};
    if (slm_session_open(*model, &options, &session, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return session;
}

static int32_t argmax(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* Each line: step, token fed, the five greatest logits in order, sum and sum of squares of all. */
static void check_step(const char *line, const float *logits, int32_t n_vocab)
{
    int ids[5];
    float values[5];
    double sum, squares;
    const char *top = strstr(line, "top ");
    assert_non_null(top);
    assert_int_equal(sscanf(top, "top %d:%f %d:%f %d:%f %d:%f %d:%f sum %lf sq %lf", &ids[0], &values[0], &ids[1],
                            &values[1], &ids[2], &values[2], &ids[3], &values[3], &ids[4], &values[4], &sum,
                            &squares),
                     12);
    float last = INFINITY;
    for (int i = 0; i < 5; i++) {
        assert_float_equal(logits[ids[i]], values[i], 0.02f);
        assert_true(logits[ids[i]] <= last); /* the same order */
        last = logits[ids[i]];
    }
    double my_sum = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        my_sum += (double)logits[i];
        bool in_top = false;
        for (int j = 0; j < 5; j++) in_top |= ids[j] == i;
        if (!in_top) assert_true(logits[i] <= last);
    }
    assert_true(fabs(my_sum - sum) <= 0.02 * n_vocab);
}

static void stories_logits_match_llama_cpp(void **state)
{
    (void)state;
    SLM_NEED_SHARED(path, STORIES "stories260K.gguf");
    char *reference = shared_read(shared_path(STORIES "logits.llama-cpp.txt"), NULL);
    assert_non_null(reference);
    struct slm_model *model;
    struct slm_session *session = open_session(path, SLM_KV_F32, &model);
    const int32_t n_vocab = slm_model_info(model).n_vocab;
    int steps = 0, greedy = 0;
    int32_t picked[64];
    char *save;
    for (char *line = strtok_r(reference, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int step;
        int32_t token;
        if (sscanf(line, "step %d token %d", &step, &token) == 2) {
            assert_int_equal(slm_session_eval(session, &token, 1, NULL), SLM_OK);
            check_step(line, slm_session_logits(session), n_vocab);
            picked[steps++] = argmax(slm_session_logits(session), n_vocab);
        } else {
            char *at = line + strlen("greedy");
            /* The last prompt token's choice is the first greedy id. */
            for (int i = steps - 32; i < steps; i++, greedy++)
                assert_int_equal(picked[i], strtol(at, &at, 10));
        }
    }
    assert_int_equal(steps, 36);
    assert_int_equal(greedy, 32);
    free(reference);
    slm_session_close(session);
    slm_model_close(model);
}

struct text { char data[4096]; size_t len; };

static bool collect(void *user, const char *text, size_t n)
{
    struct text *out = user;
    assert_true(out->len + n < sizeof out->data);
    memcpy(out->data + out->len, text, n);
    out->len += n;
    out->data[out->len] = 0;
    return true;
}

static void generate(struct slm_model *model, struct slm_session *session, const char *prompt, int32_t n,
                     struct text *out)
{
    int32_t ids[64];
    size_t n_ids;
    assert_int_equal(slm_tokenize(model, prompt, strlen(prompt), SLM_TOKENIZE_ADD_SPECIAL, ids, 64, &n_ids, NULL),
                     SLM_OK);
    struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = n, .ignore_eog = true,
                                         .on_text = collect, .user = out};
    params.sampler.temperature = 0;
    struct slm_generate_result result;
    struct slm_error error;
    if (slm_generate(session, ids, n_ids, &params, &result, &error) != SLM_OK) fail_msg("%s", error.message);
    assert_int_equal(result.n_generated, n);
}

static void stories_text_matches_llama2c(void **state)
{
    (void)state;
    SLM_NEED_SHARED(path, STORIES "stories260K.gguf");
    size_t bytes;
    char *reference = shared_read(shared_path(STORIES "greedy-200.llama2c.txt"), &bytes);
    assert_non_null(reference);
    struct slm_model *model;
    struct slm_session *session = open_session(path, SLM_KV_F16, &model);
    struct text text = {0};
    generate(model, session, "", 200, &text);
    /* 200 steps there include the one that feeds BOS. */
    assert_memory_equal(text.data, reference, bytes);
    free(reference);
    slm_session_close(session);
    slm_model_close(model);
}

static void stories_prompt_matches_llama_completion(void **state)
{
    (void)state;
    SLM_NEED_SHARED(path, STORIES "stories260K.gguf");
    char *reference = shared_read(shared_path(STORIES "greedy-40.llama-completion.txt"), NULL);
    assert_non_null(reference);
    reference[strcspn(reference, "\n")] = 0;
    const char *prompt = "Once upon a time";
    const char *expected = strstr(reference, prompt);
    assert_non_null(expected);
    struct slm_model *model;
    struct slm_session *session = open_session(path, SLM_KV_F16, &model);
    struct text text = {0};
    generate(model, session, prompt, 40, &text);
    assert_memory_equal(text.data, expected + strlen(prompt), strlen(expected) - strlen(prompt));
    free(reference);
    slm_session_close(session);
    slm_model_close(model);
}

static void tiny_qwen3_logits_match(void **state)
{
    (void)state;
    SLM_NEED_SHARED(path, "data/models/tiny-qwen3-random/tiny-qwen3-q8_0.gguf");
    char *reference = shared_read(shared_path("data/models/tiny-qwen3-random/tiny_ref_logits.txt"), NULL);
    assert_non_null(reference);
    struct slm_model *model;
    struct slm_session *session = open_session(path, SLM_KV_F32, &model);
    const int32_t ids[] = {1, 2, 3, 4, 5};
    assert_int_equal(slm_session_eval(session, ids, 5, NULL), SLM_OK);
    const float *logits = slm_session_logits(session);
    char *at = reference;
    for (int32_t i = 0; i < 512; i++) {
        assert_float_equal(logits[i], strtof(at, &at), 1e-4f);
        at += *at == ',';
    }
    assert_int_equal(slm_model_info(model).n_vocab, 512);
    free(reference);
    slm_session_close(session);
    slm_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories_logits_match_llama_cpp),
        cmocka_unit_test(stories_text_matches_llama2c),
        cmocka_unit_test(stories_prompt_matches_llama_completion),
        cmocka_unit_test(tiny_qwen3_logits_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
