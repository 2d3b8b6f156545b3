/* SPDX-License-Identifier: MIT
 * Opening a model with two adapters while every allocation and every system call fails in turn: each failure must come
 * back as an error with a sentence, and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_os.h"
#include "slm.h"

#define GOLDEN SLM_SOURCE_DIR "/tests/golden/adapters/llama"

static slm_status open_with_adapters(void *user, struct slm_error *error)
{
    static const struct slm_adapter adapters[] = {{GOLDEN "/one.gguf", 1.0f}, {GOLDEN "/two", 0.5f}};
    const struct slm_model_options options = {.adapters = adapters, .n_adapters = 2};
    struct slm_model *model;
    const slm_status status = slm_model_open(user, &options, &model, error);
    if (status == SLM_OK) slm_model_close(model);
    return status;
}

static void run(unsigned kinds, bool persistent)
{
    char gguf[] = GOLDEN "/base.gguf", folder[] = GOLDEN;
    assert_true(fake_os_every_failure(NULL, kinds, persistent, open_with_adapters, gguf).n_failed >= 8);
    assert_true(fake_os_every_failure(NULL, kinds, persistent, open_with_adapters, folder).n_failed >= 8);
}

static void every_allocation_fails_once(void **state) { (void)state; run(FAKE_MEMORY, false); }
static void every_allocation_fails_from_there_on(void **state) { (void)state; run(FAKE_MEMORY, true); }
static void every_system_call_fails_once(void **state) { (void)state; run(FAKE_FILES, false); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(every_allocation_fails_from_there_on),
        cmocka_unit_test(every_system_call_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
