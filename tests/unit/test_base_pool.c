/* SPDX-License-Identifier: MIT
 * The thread pool: every rank runs once, barriers separate what comes before from what comes after,
 * for 1 to 8 threads on however few CPUs (so parking is exercised too). Meant to run under TSan as
 * well: the data is plain memory, ordered by the pool alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>
#include "base/os.h"
#include "base/pool.h"
#include "fake_os.h"

enum { MAX = 8 };

struct job { struct slm_pool *pool; unsigned value[MAX], sum[MAX], n_rounds; bool wrong; };

/* Each round: write own cell, meet, read everybody's cell, meet. A barrier that lets one thread through is seen. */
static void rounds(void *arg, unsigned rank, unsigned n)
{
    struct job *job = arg;
    for (unsigned round = 0; round < job->n_rounds; round++) {
        job->value[rank] = round * 100 + rank;
        slm_pool_barrier(job->pool, rank);
        unsigned sum = 0;
        for (unsigned i = 0; i < n; i++) sum += job->value[i];
        job->sum[rank] = sum;
        slm_pool_barrier(job->pool, rank);
    }
}

static void test_barriers_separate(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= MAX; n++) {
        struct job job = {.n_rounds = 300};
        assert_int_equal(slm_pool_open(n, &job.pool, NULL), SLM_OK);
        assert_int_equal(slm_pool_size(job.pool), n);
        for (int run = 0; run < 5; run++) {
            slm_pool_run(job.pool, rounds, &job);
            for (unsigned rank = 0; rank < n; rank++)
                assert_int_equal(job.sum[rank], n * (job.n_rounds - 1) * 100 + n * (n - 1) / 2);
        }
        slm_pool_close(job.pool);
    }
}

static void count(void *arg, unsigned rank, unsigned n)
{
    (void)n;
    ((unsigned *)arg)[rank]++;
}

static void test_many_tiny_runs(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= MAX; n++) {
        struct slm_pool *pool;
        unsigned counts[MAX] = {0}, n_runs = n <= 2 ? 20000 : 2000;
        assert_int_equal(slm_pool_open(n, &pool, NULL), SLM_OK);
        for (unsigned i = 0; i < n_runs; i++) slm_pool_run(pool, count, counts);
        slm_pool_close(pool);
        for (unsigned rank = 0; rank < MAX; rank++) assert_int_equal(counts[rank], rank < n ? n_runs : 0);
    }
}

/* The last to arrive is somebody else each time, and far behind, so that the others have gone to sleep. */
static void stagger(void *arg, unsigned rank, unsigned n)
{
    struct job *job = arg;
    for (unsigned turn = 0; turn < n; turn++) {
        if (rank == turn) {
            uint64_t until = slm_os()->now_ns() + 1000000;
            while (slm_os()->now_ns() < until) {}
            job->value[0] = turn + 1;
        }
        slm_pool_barrier(job->pool, rank);
        job->sum[rank] += job->value[0];
        slm_pool_barrier(job->pool, rank);
    }
}

static void test_sleepers_wake(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= MAX; n++) {
        struct job job = {0};
        assert_int_equal(slm_pool_open(n, &job.pool, NULL), SLM_OK);
        slm_pool_run(job.pool, stagger, &job);
        for (unsigned rank = 0; rank < n; rank++) assert_int_equal(job.sum[rank], n * (n + 1) / 2);
        slm_pool_close(job.pool);
    }
}

static void test_idle_is_parked(void **state)
{
    (void)state;
    fake_os_start(NULL);
    struct slm_pool *pool;
    unsigned counts[MAX] = {0};
    assert_int_equal(slm_pool_open(2, &pool, NULL), SLM_OK);
    for (int i = 0; i < 5; i++) {
        slm_pool_run(pool, count, counts);
        /* The worker goes to sleep, once it had its turn on the machine, and then nothing happens any more. */
        const uint64_t before = fake_os_count(FAKE_BIT(FAKE_PARK));
        const uint64_t give_up = slm_os()->now_ns() + UINT64_C(100000000000);
        while (fake_os_count(FAKE_BIT(FAKE_PARK)) <= (uint64_t)i && slm_os()->now_ns() < give_up) usleep(1000);
        usleep(20000);
        const uint64_t parked = fake_os_count(FAKE_BIT(FAKE_PARK));
        assert_true(parked > (uint64_t)i && parked <= before + 1);
    }
    uint64_t allocations = fake_os_count(FAKE_MEMORY);
    for (int i = 0; i < 100; i++) slm_pool_run(pool, count, counts);
    assert_int_equal(fake_os_count(FAKE_MEMORY), allocations);
    slm_pool_close(pool);
    fake_os_assert_clean();
    fake_os_stop();
}

static void test_more_threads_than_cpus_never_spin(void **state)
{
    (void)state;
    fake_os_start(&(struct fake_os_plan){.n_cpus = 1});
    struct slm_pool *pool;
    unsigned counts[MAX] = {0};
    assert_int_equal(slm_pool_open(2, &pool, NULL), SLM_OK);
    for (int i = 0; i < 200; i++) slm_pool_run(pool, count, counts);
    assert_int_equal(fake_os_count(FAKE_BIT(FAKE_NOW_NS)), 0); /* the pausing phase looks at the clock */
    slm_pool_close(pool);
    fake_os_assert_clean();
    fake_os_stop();
    assert_int_equal(counts[1], 200);
}

static slm_status open_five(void *user, struct slm_error *error)
{
    struct slm_pool *pool;
    SLM_TRY(slm_pool_open(5, &pool, error));
    slm_pool_run(pool, count, user);
    slm_pool_close(pool);
    return SLM_OK;
}

static void test_open_fails_cleanly(void **state)
{
    (void)state;
    unsigned counts[MAX] = {0};
    struct fake_os_runs runs = fake_os_every_failure(NULL, FAKE_CAN_FAIL, false, open_five, counts);
    assert_int_equal(runs.n_failed, 1 + 2 * 4); /* the pool; a start and its memory for each of four threads */
    assert_int_equal(runs.n_recovered, 0);
    assert_int_equal(counts[4], 1);
    struct slm_error error = {0};
    struct slm_pool *pool;
    assert_int_equal(slm_pool_open(0, &pool, &error), SLM_ERR_ARGUMENT);
    assert_int_equal(slm_pool_open(4097, &pool, &error), SLM_ERR_ARGUMENT);
    slm_pool_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barriers_separate),  cmocka_unit_test(test_many_tiny_runs),
        cmocka_unit_test(test_sleepers_wake),      cmocka_unit_test(test_idle_is_parked),
        cmocka_unit_test(test_more_threads_than_cpus_never_spin), cmocka_unit_test(test_open_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
