/* SPDX-License-Identifier: MIT
 * Quantizing that is stopped at any moment and begun again: by a kill, a power loss, a full disk, Ctrl-C; with the
 * unfinished file cut, garbled or of another input. Whatever happened, the file that the last run writes has the bytes
 * of a run that nothing happened to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "effort.h"
#include "fake_os.h"
#include "format/partial.h"
#include "tiny_model.h"

static char wide[256], ternary[256], imatrix[256], out[256], partial[264];

/* What is asked for, and what it gives undisturbed. */
struct job {
    const char *in;
    struct slm_quantize_options options;
    unsigned char *expected;
    size_t bytes;
    unsigned n_resumed, n_stale, n_kept; /* notes seen */
    int n_left;                         /* progress calls until it is cancelled; 0 = never */
};

static void hear(void *user, const char *sentence)
{
    struct job *job = user;
    job->n_resumed += strstr(sentence, "goes on with") != NULL;
    job->n_stale += strstr(sentence, "begins anew") != NULL;
    job->n_kept += strstr(sentence, "the same command goes on") != NULL;
}

static bool go_on(void *user, uint64_t done, uint64_t total)
{
    struct job *job = user;
    assert_true(done <= total);
    return job->n_left == 0 || --job->n_left > 0;
}

static slm_status run(struct job *job)
{
    struct slm_error error;
    job->options.note = hear;
    job->options.progress = go_on;
    job->options.user = job;
    if (job->options.n_threads == 0) job->options.n_threads = 2;
    const slm_status status = slm_quantize(job->in, out, &job->options, NULL, &error);
    fake_os_assert_clean();
    return status;
}

static void remember(struct job *job)
{
    const struct fake_os_plan plan = {.files_in_memory = true};
    fake_os_start(&plan);
    assert_int_equal(run(job), SLM_OK);
    const void *bytes = fake_os_get(out, &job->bytes);
    assert_true(job->bytes > 1000000);
    job->expected = malloc(job->bytes);
    memcpy(job->expected, bytes, job->bytes);
    assert_int_equal(fake_os_n_files(), 1);
    fake_os_stop();
}

static void finish_and_compare(struct job *job)
{
    size_t bytes;
    fake_os_arm(0, 0, false);
    assert_int_equal(run(job), SLM_OK);
    const void *data = fake_os_get(out, &bytes);
    assert_non_null(data);
    assert_int_equal(bytes, job->bytes);
    assert_memory_equal(data, job->expected, bytes);
    assert_int_equal(fake_os_n_files(), 1);
}

/* From the nth call on nothing reaches the disk any more, as if the process were gone; or the power. */
static const unsigned on_disk = FAKE_BIT(FAKE_WRITE_AT) | FAKE_BIT(FAKE_TRUNCATE) | FAKE_BIT(FAKE_SYNC) |
                                FAKE_BIT(FAKE_RENAME) | FAKE_BIT(FAKE_REMOVE);

static void kill_everywhere(struct job *job, bool power)
{
    const struct fake_os_plan plan = {.files_in_memory = true};
    uint64_t n = 1;
    remember(job);
    for (bool fired = true; fired; n = test_next(n + 8)) {
        size_t bytes;
        fake_os_start(&plan);
        fake_os_arm(on_disk, n, true);
        const slm_status status = run(job);
        fired = fake_os_fired();
        assert_true(fired ? status == SLM_ERR_IO && !fake_os_get(out, &bytes) : status == SLM_OK);
        if (power) fake_os_power_loss();
        finish_and_compare(job);
        fake_os_stop();
    }
    assert_true(n > 16);
    if (!power && !test_is_far_too_slow()) assert_true(job->n_resumed >= 2); /* not before the first span */
    free(job->expected);
}

static void killed_at_any_call(void **state)
{
    (void)state;
    const struct slm_convert_rule rule = {"ffn_down", "q6_k"};
    struct job jobs[] = {
        {.in = wide, .options = {.type = "q4_k_m"}},
        {.in = wide, .options = {.type = "q8_0", .pack = true, .rules = &rule, .n_rules = 1}},
        {.in = wide, .options = {.type = "q4_0", .imatrix = imatrix, .head = "q8_0"}},
        {.in = ternary, .options = {.type = "i2_s"}},
    };
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) kill_everywhere(&jobs[i], false);
}

static void power_is_lost(void **state)
{
    (void)state;
    struct job job = {.in = wide, .options = {.type = "q4_0"}};
    kill_everywhere(&job, true);
}

/* Stopped after n reports of progress: the file stays, the user is told, and may have changed the number of threads. */
static void cancelled(void **state)
{
    (void)state;
    struct job job = {.in = wide, .options = {.type = "q5_k_m"}};
    const struct fake_os_plan plan = {.files_in_memory = true};
    remember(&job);
    for (int n = 2; n <= 17; n += 3) {
        fake_os_start(&plan);
        job.n_left = n;
        job.n_kept = job.n_resumed = 0;
        assert_int_equal(run(&job), SLM_ERR_CANCELLED);
        job.n_left = 0;
        job.options.n_threads = n % 3 + 1;
        finish_and_compare(&job);
        assert_int_equal(job.n_resumed, job.n_kept);
        if (n > 13) assert_int_equal(job.n_kept, 1);
        fake_os_stop();
    }
    free(job.expected);
}

/* The disk fills up, several times; each time there is some more room. */
static void disk_is_full(void **state)
{
    (void)state;
    struct job job = {.in = wide, .options = {.type = "q4_1"}};
    remember(&job);
    const struct fake_os_plan plan = {.files_in_memory = true, .disk_bytes = 300000, .hide_full_disk = true};
    fake_os_start(&plan);
    unsigned n_full = 0;
    slm_status status;
    while ((status = run(&job)) == SLM_ERR_IO && n_full < 100) fake_os_more_room(300000), n_full++;
    assert_int_equal(status, SLM_OK);
    assert_true(n_full >= 3 && job.n_resumed == n_full && job.n_stale == 0);
    size_t bytes;
    assert_memory_equal(fake_os_get(out, &bytes), job.expected, job.bytes);
    fake_os_stop();
    free(job.expected);
}

/* Anything may have happened to the unfinished file. */
static void garbled(void **state)
{
    (void)state;
    struct job job = {.in = wide, .options = {.type = "q4_k_s"}};
    remember(&job);
    const size_t n = test_share(30);
    for (uint64_t i = 0; i < n; i++) {
        const struct fake_os_plan plan = {.files_in_memory = true};
        size_t bytes;
        fake_os_start(&plan);
        fake_os_arm(on_disk, 8 + i % 16, true);
        assert_int_equal(run(&job), SLM_ERR_IO);
        const unsigned char *left = fake_os_get(partial, &bytes);
        unsigned char *changed = malloc(bytes + 100);
        memcpy(changed, left, bytes);
        memset(changed + bytes, 7, 100);
        const size_t at = (size_t)(slm_rng_uniform(1, i, 0) * (float)bytes) % bytes;
        if (i % 3 == 0) changed[at] ^= (unsigned char)(1 + i);
        if (i % 3 == 1) memset(changed + at, 0, bytes - at < 5000 ? bytes - at : 5000);
        fake_os_put(partial, changed, i % 3 < 2 ? bytes : at + 100);
        free(changed);
        finish_and_compare(&job);
        fake_os_stop();
    }
    /* A few of the thirty need not be of both kinds. */
    if (n == 30) assert_true(job.n_resumed > 0 && job.n_stale > 0);
    free(job.expected);
}

/* Left by another command, or from another input under the same name. */
static void of_something_else(void **state)
{
    (void)state;
    struct job job = {.in = wide, .options = {.type = "q4_0"}}, others[] = {
        {.in = wide, .options = {.type = "q4_0", .imatrix = imatrix}},
        {.in = wide, .options = {.type = "q4_0", .pack = true}},
        {.in = wide, .options = {.type = "q4_0", .head = "q4_0"}},
        {.in = wide, .options = {.type = "iq4_nl"}},
        {.in = ternary, .options = {.type = "q4_0"}},
    };
    const struct fake_os_plan plan = {.files_in_memory = true};
    remember(&job);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        fake_os_start(&plan);
        fake_os_arm(on_disk, 14, true);
        assert_int_equal(run(&others[i]), SLM_ERR_IO);
        job.n_stale = job.n_resumed = 0;
        finish_and_compare(&job);
        assert_true(job.n_stale == 1 && job.n_resumed == 0);
        fake_os_stop();
    }
    free(job.expected);
}

static void write_model(uint64_t seed)
{
    struct tiny_spec spec = tiny_spec_default("llama", SLM_DTYPE_F32);
    spec.n_embd = 256, spec.n_ff = 2048, spec.seed = seed;
    tiny_model_write(wide, &spec);
}

static void write_imatrix(uint64_t seed)
{
    tiny_imatrix_write(imatrix, seed % 2 ? "blk.0.ffn_up.weight" : "blk.1.ffn_up.weight", 256, 3);
}

/* The header is the same before and after. */
static void change_between(void (*write)(uint64_t seed))
{
    struct job job = {.in = wide, .options = {.type = "q5_0", .imatrix = imatrix}};
    const struct fake_os_plan plan = {.files_in_memory = true};
    fake_os_start(&plan);
    fake_os_arm(on_disk, 14, true);
    assert_int_equal(run(&job), SLM_ERR_IO);
    size_t bytes;
    const void *left = fake_os_get(partial, &bytes);
    unsigned char *copy = malloc(bytes);
    memcpy(copy, left, bytes);
    fake_os_stop();
    write(78);
    remember(&job);
    fake_os_start(&plan);
    fake_os_put(partial, copy, bytes);
    finish_and_compare(&job);
    assert_true(job.n_stale == 1 && job.n_resumed == 0);
    fake_os_stop();
    free(copy);
    free(job.expected);
}

static void input_changed(void **state)
{
    (void)state;
    change_between(write_model);
    change_between(write_imatrix);
}

/* Two at once: the second does nothing, the first does not notice. */
static void one_at_a_time(void **state)
{
    (void)state;
    struct job job = {.in = wide, .options = {.type = "q4_0"}};
    struct slm_partial *held;
    struct slm_error error;
    assert_int_equal(slm_partial_open(out, &held, &error), SLM_OK);
    assert_int_equal(slm_partial_put(held, "mine", 4, &error), SLM_OK);
    assert_int_equal(slm_quantize(job.in, out, &job.options, NULL, &error), SLM_ERR_IO);
    assert_non_null(strstr(error.message, "another process"));
    assert_string_equal(error.where, partial);
    assert_int_equal(slm_partial_finish(held, &error), SLM_OK);
    (void)slm_partial_close(held, false);
    FILE *file = fopen(out, "rb");
    char text[8] = {0};
    assert_int_equal(fread(text, 1, sizeof text, file), 4);
    assert_string_equal(text, "mine");
    fclose(file);
}

/* Two matrices of three values, each of several spans. */
static void write_ternary(const char *path)
{
    enum { N = 2048, ROWS = 1024 };
    struct slm_gguf_writer *w;
    struct slm_error error;
    const uint64_t dims[] = {N, ROWS};
    float *row = malloc(N * sizeof *row);
    assert_int_equal(slm_gguf_writer_open(path, 0, &w, &error), SLM_OK);
    assert_int_equal(slm_gguf_write_str(w, "general.architecture", slm_str("none"), &error), SLM_OK);
    assert_int_equal(slm_gguf_declare_tensor(w, slm_str("a.weight"), SLM_DTYPE_F32, dims, 2, &error), SLM_OK);
    assert_int_equal(slm_gguf_declare_tensor(w, slm_str("b.weight"), SLM_DTYPE_F32, dims, 2, &error), SLM_OK);
    for (uint64_t i = 0; i < 2 * ROWS; i++) {
        const float magnitude = i < ROWS ? 0.5f : 3;
        for (uint64_t k = 0; k < N; k++) row[k] = (float)((int)((i * 7 + k * 13 + k / 5) % 3) - 1) * magnitude;
        assert_int_equal(slm_gguf_write_data(w, row, N * sizeof *row, &error), SLM_OK);
    }
    assert_int_equal(slm_gguf_writer_finish(w, &error), SLM_OK);
    free(row);
}

int main(void)
{
    snprintf(wide, sizeof wide, "%s", tiny_path("wide.gguf"));
    snprintf(ternary, sizeof ternary, "%s", tiny_path("ternary.gguf"));
    snprintf(imatrix, sizeof imatrix, "%s", tiny_path("imatrix.gguf"));
    snprintf(out, sizeof out, "%s", tiny_path("out.gguf"));
    snprintf(partial, sizeof partial, "%s.partial", out);
    write_model(1);
    write_ternary(ternary);
    write_imatrix(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_any_call),
        cmocka_unit_test(power_is_lost),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(disk_is_full),
        cmocka_unit_test(garbled),
        cmocka_unit_test(of_something_else),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(input_changed), /* last: it does */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
