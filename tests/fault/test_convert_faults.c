/* SPDX-License-Identifier: MIT
 * Conversions on a system that fails: every allocation, every call for a file or a thread, once and for good; a disk
 * that is full, known before and found out in the middle; the power going off. Whatever happens there is an error with
 * a sentence, nothing leaks, no temporary file stays, and under the final names is the whole model or what was there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_os.h"
#include "tiny_folder.h"
#include "tiny_model.h"

struct scenario {
    char in[256], out[256], first[256]; /* first: of the split model */
    uint32_t split;
    const char *imatrix;
    const char *quantize; /* type; NULL: converted to Q8_0 */
};

static slm_status convert(void *user, struct slm_error *error)
{
    const struct scenario *s = user;
    const struct slm_convert_options options = {.type = "q8_0", .n_threads = 3, .split_max_tensors = s->split};
    const struct slm_quantize_options shrink = {.type = s->quantize, .n_threads = 3, .imatrix = s->imatrix,
                                                .pack = true};
    const slm_status status = s->quantize ? slm_quantize(s->in, s->out, &shrink, NULL, error)
                                          : slm_convert(s->in, s->out, &options, NULL, error);
    size_t bytes;
    const bool visible = fake_os_get(s->split ? s->first : s->out, &bytes) != NULL;
    if (status == SLM_OK) assert_true(visible);
    /* A rename that fails after the fact (the folder could not be synced) leaves the whole model. What could not be
     * removed because removing failed too is allowed to stay; it has no final name. */
    return status;
}

static void make(struct scenario *s, bool from_folder, uint32_t split)
{
    snprintf(s->in, sizeof s->in, "%s", tiny_path(from_folder ? "in" : "in.gguf"));
    snprintf(s->out, sizeof s->out, "%s", tiny_path("out.gguf"));
    snprintf(s->first, sizeof s->first, "%.*s-00001-of-00003.gguf", (int)strlen(s->out) - 5, s->out);
    s->split = split;
    s->quantize = s->imatrix = NULL;
    const struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32); /* 20 tensors */
    if (from_folder) tiny_folder_write(s->in, SLM_DTYPE_F32);
    else tiny_model_write(s->in, &spec);
}

static void fail_each(bool from_folder, uint32_t split, unsigned kinds, bool persistent)
{
    struct scenario s;
    make(&s, from_folder, split);
    const struct fake_os_plan plan = {.files_in_memory = true};
    const struct fake_os_runs runs = fake_os_every_failure(&plan, kinds, persistent, convert, &s);
    assert_true(runs.n_failed >= 8);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    fail_each(false, 8, FAKE_MEMORY, false);
    fail_each(true, 0, FAKE_MEMORY, false);
}

static void every_allocation_fails_from_there_on(void **state)
{
    (void)state;
    fail_each(false, 0, FAKE_MEMORY, true);
    fail_each(true, 0, FAKE_MEMORY, true);
}

static void every_system_call_fails(void **state)
{
    (void)state;
    for (int persistent = 0; persistent < 2; persistent++) {
        fail_each(false, 8, FAKE_FILES | FAKE_THREADS, persistent);
        fail_each(true, 0, FAKE_FILES | FAKE_THREADS, persistent);
    }
}

/* Folders with more to them: layers behind a pooling, weights that are rounded on the way. */
static void other_folders_fail_as_cleanly(void **state)
{
    (void)state;
    static const char *const folders[] = {"embeddings/gemma", "families/bitnet", "mlx"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct scenario s = {.split = 0};
        snprintf(s.in, sizeof s.in, "%s/tests/golden/%s", SLM_SOURCE_DIR, folders[i]);
        snprintf(s.out, sizeof s.out, "%s", tiny_path("out.gguf"));
        const struct fake_os_plan plan = {.files_in_memory = true};
        const unsigned kinds = FAKE_MEMORY | FAKE_FILES | FAKE_THREADS;
        assert_true(fake_os_every_failure(&plan, kinds, false, convert, &s).n_failed >= 8);
    }
}

/* Wide enough for K-quants, and weighed. */
static void quantizing_fails_as_well(void **state)
{
    (void)state;
    struct scenario s;
    make(&s, false, 0);
    struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    spec.n_embd = 256, spec.n_ff = 512;
    tiny_model_write(s.in, &spec);
    char path[256];
    snprintf(path, sizeof path, "%s", tiny_path("imatrix.gguf"));
    tiny_imatrix_write(path, "blk.0.ffn_up.weight", 256, 3);
    s.quantize = "q4_k_m";
    s.imatrix = path;
    const struct fake_os_plan plan = {.files_in_memory = true};
    for (int persistent = 0; persistent < 2; persistent++) {
        assert_true(fake_os_every_failure(&plan, FAKE_MEMORY, persistent, convert, &s).n_failed >= 8);
        assert_true(fake_os_every_failure(&plan, FAKE_FILES | FAKE_THREADS, persistent, convert, &s).n_failed >= 8);
    }
}

/* One failing call, and the state of the disk after it. */
static void nothing_is_left(void **state)
{
    (void)state;
    struct scenario s;
    make(&s, false, 8);
    const unsigned kinds = FAKE_BIT(FAKE_WRITE) | FAKE_BIT(FAKE_SYNC) | FAKE_BIT(FAKE_CLOSE) | FAKE_BIT(FAKE_RENAME);
    for (uint64_t n = 1;; n++) {
        const struct fake_os_plan plan = {.files_in_memory = true, .kinds = kinds, .fail_at = n, .reason = ENOSPC};
        struct slm_error error = {0};
        fake_os_start(&plan);
        const slm_status status = convert(&s, &error);
        const bool fired = fake_os_fired();
        if (status != SLM_OK && fake_os_n_files() != 0) fail_msg("call %llu: a file is left", (unsigned long long)n);
        if (status == SLM_OK) assert_int_equal(fake_os_n_files(), 3);
        fake_os_stop();
        if (!fired) break;
    }
}

/* Too little room is seen before a byte is written; room that vanishes later ends in an error too. */
static void full_disks(void **state)
{
    (void)state;
    struct scenario s;
    make(&s, true, 0);
    for (int hidden = 0; hidden < 2; hidden++)
        for (uint64_t bytes = 1; bytes < 60000; bytes += 7001) {
            const struct fake_os_plan plan = {.files_in_memory = true, .disk_bytes = bytes, .hide_full_disk = hidden};
            struct slm_error error = {0};
            fake_os_start(&plan);
            assert_int_equal(convert(&s, &error), SLM_ERR_IO);
            if (!hidden) assert_int_equal(fake_os_count(FAKE_BIT(FAKE_WRITE)), 0);
            if (!hidden) assert_non_null(strstr(error.message, "bytes on the disk"));
            assert_int_equal(fake_os_n_files(), 0);
            fake_os_assert_clean();
            fake_os_stop();
        }
}

/* All that has its final name was synced before. */
static void power_loss(void **state)
{
    (void)state;
    struct scenario s;
    make(&s, false, 8);
    const struct fake_os_plan plan = {.files_in_memory = true};
    struct slm_error error = {0};
    size_t before, after;
    fake_os_start(&plan);
    assert_int_equal(convert(&s, &error), SLM_OK);
    assert_non_null(fake_os_get(s.first, &before));
    fake_os_power_loss();
    assert_int_equal(fake_os_n_files(), 3);
    assert_non_null(fake_os_get(s.first, &after));
    assert_int_equal(before, after);
    fake_os_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(every_allocation_fails_from_there_on),
        cmocka_unit_test(every_system_call_fails),
        cmocka_unit_test(other_folders_fail_as_cleanly),
        cmocka_unit_test(quantizing_fails_as_well),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(full_disks),
        cmocka_unit_test(power_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
