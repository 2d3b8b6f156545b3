/* SPDX-License-Identifier: MIT
 * One short check of every module of base together: does the house stand at all. The other test_base_* go deep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include "base/arena.h"
#include "base/cpu.h"
#include "base/fmath.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/str.h"

struct sum { struct slm_pool *pool; unsigned at[8], total; };
static void add_up(void *arg, unsigned rank, unsigned n)
{
    struct sum *sum = arg;
    sum->at[rank] = rank + 1;
    slm_pool_barrier(sum->pool, rank);
    if (rank == n - 1)
        for (unsigned i = 0; i < n; i++) sum->total += sum->at[i];
}

static void test_all(void **state)
{
    (void)state;
    struct slm_error error = {0};
    struct slm_arena arena = {0};
    assert_string_equal(slm_arena_copy(&arena, "abc", 3, &error), "abc");
    slm_arena_release(&arena);
    struct slm_buf buf = {0};
    assert_true(slm_buf_printf(&buf, "%d-%s", 7, "x") && slm_buf_add_json_string(&buf, slm_str("a\"\xFF\n")));
    assert_string_equal(buf.data, "7-x\"a\\\"\xEF\xBF\xBD\\n\"");
    slm_buf_release(&buf);
    for (unsigned n = 1; n <= 4; n++) {
        struct sum sum = {0};
        assert_int_equal(slm_pool_open(n, &sum.pool, &error), SLM_OK);
        for (int i = 0; i < 100; i++) {
            sum.total = 0;
            slm_pool_run(sum.pool, add_up, &sum);
            assert_int_equal(sum.total, n * (n + 1) / 2);
        }
        slm_pool_close(sum.pool);
    }
    assert_true(fabs((double)slm_expf(1.0f) - exp(1.0)) < 3e-7);
    float s, c;
    slm_sincosf(2.0f, &s, &c);
    assert_true(fabs((double)s - sin(2.0)) < 6e-8 && fabs((double)c - cos(2.0)) < 6e-8);
    assert_true(fabs(slm_pow(10000.0, -0.25) - 0.1) < 1e-16);
    assert_int_equal(slm_f32_to_f16(slm_f16_to_f32(0x3555)), 0x3555);
    assert_int_equal(slm_fail(&error, SLM_ERR_FORMAT, "a\x1b", "%s", "b\x80"), SLM_ERR_FORMAT);
    assert_string_equal(error.where, "a\\x1B");
    assert_string_equal(error.message, "b\\x80");
    assert_true(slm_os()->n_cpus() >= 1);
    assert_true(slm_os()->open_read("/", &(struct slm_file *){0}, NULL, &error) == SLM_ERR_IO);
    print_message("cpu: %s, features %llx, %u usable, %llu MiB available\n", slm_cpu_model(),
                  (unsigned long long)slm_cpu_features(), slm_os()->n_cpus(),
                  (unsigned long long)(slm_os()->memory_available() >> 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
