/* SPDX-License-Identifier: MIT
 * The fake operating system itself: a test tool that misses faults would make every test built on
 * it worthless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "fake_os.h"

static void test_counts_and_fails(void **state)
{
    (void)state;
    fake_os_start(&(struct fake_os_plan){.kinds = FAKE_MEMORY, .fail_at = 3});
    void *a = slm_alloc(10, 1, "a", NULL), *b = slm_os()->alloc_pages(100), *c = slm_alloc(10, 1, "c", NULL),
         *d = slm_alloc(20, 1, "d", NULL);
    assert_true(a && b && !c && d);
    assert_true(fake_os_fired());
    assert_int_equal(fake_os_count(FAKE_MEMORY), 4);
    assert_int_equal(fake_os_use().live_blocks, 3);
    assert_int_equal(fake_os_use().live_bytes, 10 + 64 + 100 + 20 + 64);
    fake_os_arm(FAKE_MEMORY, 2, true);
    assert_false(fake_os_fired());
    void *e = slm_alloc(1, 1, "e", NULL);
    assert_true(e && !slm_alloc(1, 1, "f", NULL) && !slm_alloc(1, 1, "g", NULL));
    slm_release(a);
    slm_release(d);
    slm_release(e);
    slm_os()->release_pages(b, 100);
    fake_os_assert_clean();
    assert_int_equal(fake_os_use().live_bytes, 0);
    assert_int_equal(fake_os_use().peak_bytes, 10 + 64 + 100 + 20 + 64 + 1 + 64);
    fake_os_stop();
    assert_ptr_equal(slm_os(), slm_os_posix());
}

static void test_sees_leaks_and_wrong_releases(void **state)
{
    (void)state;
    fake_os_start(NULL);
    assert_null(fake_os_problem());
    void *a = slm_os()->alloc(100, 64);
    assert_non_null(strstr(fake_os_problem(), "memory block of 100 bytes not given back"));
    slm_os()->release(a, 99);
    assert_non_null(strstr(fake_os_problem(), "of 100 bytes given back as 99"));
    fake_os_stop();
    slm_os()->release(a, 100); /* the wrong release did not reach the heap */

    fake_os_start(NULL);
    char local;
    slm_os()->release(&local, 1);
    assert_non_null(strstr(fake_os_problem(), "given back"));
    fake_os_stop();

    fake_os_start(&(struct fake_os_plan){.files_in_memory = true});
    struct slm_file *file;
    assert_int_equal(slm_os()->create("f", &file, NULL), SLM_OK);
    assert_non_null(strstr(fake_os_problem(), "open file"));
    assert_int_equal(slm_os()->close(file, NULL), SLM_OK);
    assert_null(fake_os_problem());
    fake_os_put("g", "x", 1);
    struct slm_map map;
    assert_int_equal(slm_os()->open_read("g", &file, NULL, NULL), SLM_OK);
    assert_int_equal(slm_os()->map(file, &map, NULL), SLM_OK);
    assert_int_equal(slm_os()->close(file, NULL), SLM_OK);
    assert_non_null(strstr(fake_os_problem(), "map"));
    slm_os()->unmap(&map);
    assert_null(fake_os_problem());
    fake_os_stop();
}

static void save(const char *path, const char *text, bool sync)
{
    struct slm_file *file;
    assert_int_equal(slm_os()->create(path, &file, NULL), SLM_OK);
    assert_int_equal(slm_os()->write(file, text, strlen(text), NULL), SLM_OK);
    if (sync) assert_int_equal(slm_os()->sync(file, NULL), SLM_OK);
    assert_int_equal(slm_os()->close(file, NULL), SLM_OK);
}

static void expect_file(const char *path, const char *text)
{
    size_t bytes = 0;
    const char *data = fake_os_get(path, &bytes);
    if (text == NULL) {
        assert_null(data);
        return;
    }
    assert_non_null(data);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(data, text, bytes);
}

static void test_files_in_memory(void **state)
{
    (void)state;
    fake_os_start(&(struct fake_os_plan){.files_in_memory = true});
    save("/no/such/a", "first", true);
    save("/no/such/a.tmp", "second", false);
    assert_int_equal(slm_os()->rename("/no/such/a.tmp", "/no/such/a", NULL), SLM_OK);
    expect_file("/no/such/a", "second");
    expect_file("/no/such/a.tmp", NULL);
    assert_int_equal(fake_os_n_files(), 1);
    struct slm_file *file;
    struct slm_file_info info;
    struct slm_map map;
    char text[16] = {0};
    assert_int_equal(slm_os()->open_read("/no/such/a", &file, &info, NULL), SLM_OK);
    assert_int_equal(info.bytes, 6);
    assert_int_equal(slm_os()->read_at(file, text, 3, 2, NULL), SLM_OK);
    assert_string_equal(text, "con");
    assert_int_equal(slm_os()->read_at(file, text, 3, 4, NULL), SLM_ERR_IO);
    assert_int_equal(slm_os()->remove("/no/such/a", NULL), SLM_OK); /* as on POSIX: open handles keep it alive */
    assert_int_equal(slm_os()->map(file, &map, NULL), SLM_OK);
    assert_int_equal(slm_os()->close(file, NULL), SLM_OK);
    assert_memory_equal(map.data, "second", 6);
    slm_os()->map_drop(&map, 2, 3);
    assert_memory_equal(map.data, "second", 6);
    slm_os()->unmap(&map);
    assert_int_equal(slm_os()->open_read("/no/such/a", &file, &info, NULL), SLM_ERR_IO);
    fake_os_assert_clean();
    fake_os_stop();
}

static void test_power_loss(void **state)
{
    (void)state;
    fake_os_start(&(struct fake_os_plan){.files_in_memory = true});
    fake_os_put("kept", "old", 3);
    save("synced", "whole", true);
    save("lost", "gone", false);
    save("kept", "new, unsynced", false);
    save("renamed.tmp", "body", false);
    assert_int_equal(slm_os()->rename("renamed.tmp", "renamed", NULL), SLM_OK);
    fake_os_power_loss();
    expect_file("kept", "old");
    expect_file("synced", "whole");
    expect_file("lost", NULL);
    expect_file("renamed", NULL); /* renamed without sync: the classic mistake */
    fake_os_assert_clean();
    fake_os_stop();
}

static void test_disk_full_and_torn_writes(void **state)
{
    (void)state;
    struct slm_error error = {0};
    struct slm_file *file;
    fake_os_start(&(struct fake_os_plan){.files_in_memory = true, .disk_bytes = 8});
    assert_int_equal(slm_os()->create("f", &file, NULL), SLM_OK);
    assert_int_equal(slm_os()->write(file, "12345", 5, &error), SLM_OK);
    assert_int_equal(slm_os()->write(file, "67890", 5, &error), SLM_ERR_IO);
    assert_non_null(strstr(error.message, "No space left"));
    expect_file("f", "12345678");
    fake_os_arm(FAKE_BIT(FAKE_WRITE), 1, false);
    assert_int_equal(slm_os()->write(file, "abcd", 4, &error), SLM_ERR_IO);
    expect_file("f", "12345678ab");
    fake_os_arm(FAKE_BIT(FAKE_CLOSE), 1, false);
    assert_int_equal(slm_os()->close(file, &error), SLM_ERR_IO); /* an error, and closed nevertheless */
    fake_os_assert_clean();
    fake_os_stop();
}

static void test_file_cut_short(void **state)
{
    (void)state;
    struct slm_error error = {0};
    struct slm_file *file;
    struct slm_file_info info;
    struct slm_map map;
    char text[16] = {0};
    fake_os_start(&(struct fake_os_plan){.file_ends_at = 4, .heap_maps = true});
    fake_os_put("f", "0123456789", 10);
    assert_int_equal(slm_os()->open_read("f", &file, &info, NULL), SLM_OK);
    assert_int_equal(info.bytes, 10);
    assert_int_equal(slm_os()->read_at(file, text, 10, 0, &error), SLM_ERR_IO);
    assert_string_equal(text, "0123");
    assert_non_null(strstr(error.message, "ends at byte 4"));
    assert_int_equal(slm_os()->map(file, &map, NULL), SLM_OK);
    assert_int_equal(map.bytes, 4);
    slm_os()->unmap(&map);
    assert_int_equal(slm_os()->close(file, NULL), SLM_OK);
    fake_os_assert_clean();
    fake_os_stop();
}

static void test_real_files(void **state)
{
    (void)state;
    const char *path = SLM_SOURCE_DIR "/LICENSE";
    for (int heap = 0; heap < 2; heap++) {
        fake_os_start(&(struct fake_os_plan){.heap_maps = heap != 0, .n_cpus = 77, .memory_available = 12345});
        struct slm_file *file;
        struct slm_file_info info;
        struct slm_map map;
        assert_int_equal(slm_os()->open_read(path, &file, &info, NULL), SLM_OK);
        assert_int_equal(slm_os()->map(file, &map, NULL), SLM_OK);
        assert_int_equal(fake_os_use().open_files, 1);
        assert_int_equal(slm_os()->close(file, NULL), SLM_OK);
        assert_int_equal(map.bytes, info.bytes);
        assert_memory_equal(map.data, "MIT", 3);
        assert_int_equal(fake_os_use().live_maps, 1);
        slm_os()->unmap(&map);
        assert_int_equal(slm_os()->n_cpus(), 77);
        assert_int_equal(slm_os()->memory_available(), 12345);
        fake_os_assert_clean();
        fake_os_stop();
    }
}

/* A body with known steps: open, map, two allocations; the second is optional. */
static slm_status four_steps(void *user, struct slm_error *error)
{
    struct slm_file *file;
    struct slm_map map;
    SLM_TRY(slm_os()->open_read(user, &file, NULL, error));
    slm_status status = slm_os()->map(file, &map, error);
    (void)slm_os()->close(file, NULL);
    if (status != SLM_OK) return status;
    void *need = slm_alloc(1, 1, "need", error), *nice = slm_alloc(1, 1, "nice", NULL);
    if (need == NULL) status = SLM_ERR_MEMORY;
    slm_release(need);
    slm_release(nice);
    slm_os()->unmap(&map);
    return status;
}

static void test_every_failure(void **state)
{
    (void)state;
    char path[] = SLM_SOURCE_DIR "/LICENSE";
    struct fake_os_runs runs = fake_os_every_failure(NULL, FAKE_CAN_FAIL, false, four_steps, path);
    assert_int_equal(runs.n_failed, 4); /* open, the handle's memory inside it, map, need */
    assert_int_equal(runs.n_recovered, 2); /* close, nice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_and_fails),          cmocka_unit_test(test_sees_leaks_and_wrong_releases),
        cmocka_unit_test(test_files_in_memory),
        cmocka_unit_test(test_power_loss),                cmocka_unit_test(test_disk_full_and_torn_writes),
        cmocka_unit_test(test_file_cut_short),            cmocka_unit_test(test_real_files),
        cmocka_unit_test(test_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
