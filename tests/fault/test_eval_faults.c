/* SPDX-License-Identifier: MIT
 * Evaluations and calibrations on a system that fails: every allocation, every call for a file or a thread, once and
 * for good. There is an error with a sentence, nothing leaks, and a checkpoint is whole or absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_os.h"
#include "tiny_model.h"

static char model_path[256], base_path[256], checkpoint[256];
static const char text[] = "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz";

/* Threads that wait for one another take most of the time, so they are there only where their calls may fail. */
static int32_t n_threads;

static slm_status evaluate(void *user, struct slm_error *error)
{
    const struct slm_eval_options options = {.text = text, .text_bytes = sizeof text - 1, .n_window = 16,
                                             .checkpoint = checkpoint, .session = {.n_threads = n_threads}};
    struct slm_eval_result result;
    struct slm_model *model = NULL, *base = NULL;
    (void)user;
    slm_status status = slm_model_open(model_path, NULL, &model, error);
    if (status == SLM_OK) status = slm_model_open(base_path, NULL, &base, error);
    if (status == SLM_OK) status = slm_evaluate(model, base, &options, &result, error);
    slm_model_close(model);
    slm_model_close(base);
    return status;
}

static slm_status ask(void *user, struct slm_error *error)
{
    static const char tasks[] = "{\"ctx\": \"abc\", \"endings\": [\"d\", \"efg\"], \"label\": 0}\n"
                                "{\"question\": \"a\", \"choices\": [\"d\", \"b\"], \"answer\": \"B\"}\n";
    const struct slm_task_options options = {.text = tasks, .text_bytes = sizeof tasks - 1, .where = "tasks",
                                             .checkpoint = checkpoint, .session = {.n_threads = n_threads}};
    struct slm_task_result result;
    struct slm_model *model = NULL;
    (void)user;
    slm_status status = slm_model_open(model_path, NULL, &model, error);
    if (status == SLM_OK) status = slm_evaluate_tasks(model, &options, &result, error);
    slm_model_close(model);
    return status;
}

static slm_status calibrate(void *user, struct slm_error *error)
{
    const struct slm_calibrate_options options = {.text = text, .text_bytes = sizeof text - 1, .n_window = 16,
                                                  .session = {.n_threads = n_threads}};
    struct slm_model *model = NULL;
    (void)user;
    slm_status status = slm_model_open(model_path, NULL, &model, error);
    if (status == SLM_OK) status = slm_calibrate(model, checkpoint, &options, NULL, error);
    slm_model_close(model);
    return status;
}

static int set_up(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    snprintf(model_path, sizeof model_path, "%s", tiny_path("model.gguf"));
    snprintf(base_path, sizeof base_path, "%s", tiny_path("base.gguf"));
    snprintf(checkpoint, sizeof checkpoint, "%s", tiny_path("checkpoint"));
    tiny_model_write(model_path, &spec);
    spec.seed = 2;
    tiny_model_write(base_path, &spec);
    return 0;
}

static void every_failure(void **state)
{
    (void)state;
    static slm_status (*const bodies[])(void *user, struct slm_error *error) = {evaluate, ask, calibrate};
    enum { N_BODIES = sizeof bodies / sizeof *bodies };
    const struct fake_os_plan plan = {.files_in_memory = true};
    for (int persistent = 0; persistent < 2; persistent++) {
        for (size_t i = 0; i < N_BODIES; i++) {
            n_threads = 1;
            assert_true(fake_os_every_failure(&plan, FAKE_MEMORY, persistent, bodies[i], NULL).n_failed >= 8);
            assert_true(fake_os_every_failure(&plan, FAKE_FILES, persistent, bodies[i], NULL).n_failed >= 6);
            n_threads = 3;
            assert_true(fake_os_every_failure(&plan, FAKE_THREADS, persistent, bodies[i], NULL).n_failed >= 2);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_failure)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
