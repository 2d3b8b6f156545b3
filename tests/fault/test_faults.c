/* SPDX-License-Identifier: MIT
 * Everything that can fail is made to fail, one call at a time: every allocation and every operating-system call over
 * open + generate + save + restore. Each failure must come back as an error with a sentence, and leave nothing
 * behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_os.h"
#include "slm.h"
#include "tiny_model.h"

struct scenario { const char *model, *session; };

static slm_status use_session(const struct scenario *s, const struct slm_model *model, struct slm_session *session,
                              struct slm_error *error)
{
    int32_t ids[64];
    size_t n;
    slm_status status = slm_tokenize(model, "hello there", 11, SLM_TOKENIZE_ADD_SPECIAL, ids, 64, &n, error);
    if (status != SLM_OK) return status;
    struct slm_generate_params params = {.sampler = slm_sampler_defaults(model), .n_predict = 3};
    status = slm_generate(session, ids, n, &params, NULL, error);
    if (status != SLM_OK) return status;
    const size_t n_past = slm_session_n_past(session);
    status = slm_session_save(session, s->session, error);
    if (status == SLM_OK) status = slm_session_restore(session, s->session, error);
    assert_int_equal(slm_session_n_past(session), n_past); /* whatever failed, the timeline stands */
    return status;
}

static slm_status open_and_generate(void *user, struct slm_error *error)
{
    const struct scenario *s = user;
    struct slm_model *model;
    slm_status status = slm_model_open(s->model, NULL, &model, error);
    if (status != SLM_OK) return status;
    struct slm_session *session;
    const struct slm_session_options options = {.n_ctx = 64, .n_threads = 3, .n_batch = 16};
    status = slm_session_open(model, &options, &session, error);
    if (status == SLM_OK) {
        status = use_session(s, model, session, error);
        slm_session_close(session);
    }
    slm_model_close(model);
    return status;
}

static void run(unsigned kinds, bool persistent, uint64_t at_least)
{
    const struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_Q8_0);
    struct scenario s = {.model = tiny_path("fault.gguf"), .session = "memory/session"};
    tiny_model_write(s.model, &spec);
    const struct fake_os_plan plan = {.files_in_memory = true};
    const struct fake_os_runs runs = fake_os_every_failure(&plan, kinds, persistent, open_and_generate, &s);
    assert_true(runs.n_failed >= at_least);
}

static void every_allocation_fails_once(void **state) { (void)state; run(FAKE_MEMORY, false, 20); }
static void every_allocation_fails_from_there_on(void **state) { (void)state; run(FAKE_MEMORY, true, 20); }
static void every_system_call_fails_once(void **state) { (void)state; run(FAKE_FILES | FAKE_THREADS, false, 8); }
static void every_system_call_fails_from_there_on(void **state)
{
    (void)state;
    run(FAKE_FILES | FAKE_THREADS, true, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(every_allocation_fails_from_there_on),
        cmocka_unit_test(every_system_call_fails_once),
        cmocka_unit_test(every_system_call_fails_from_there_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
