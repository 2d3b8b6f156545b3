/* SPDX-License-Identifier: MIT
 * The arena: alignment, zeroes, separate objects, growth, failure, and (under ASan) redzones that
 * really are poisoned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "base/arena.h"
#include "fake_os.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* Fills objects of many sizes, each with its own byte, then looks at all of them again: overlap would show. */
static void test_objects_are_separate(void **state)
{
    (void)state;
    enum { N = 600 };
    fake_os_start(NULL); /* fills fresh memory with 0xA5, so zeroes must be the arena's doing */
    struct slm_arena arena = {0};
    unsigned char *objects[N];
    size_t sizes[N], sum = 0;
    for (size_t i = 0; i < N; i++) {
        sizes[i] = i % 7 == 0 ? i * 37 : i % 23;
        objects[i] = slm_arena_alloc(&arena, sizes[i], 1, "object", NULL);
        assert_non_null(objects[i]);
        assert_int_equal((uintptr_t)objects[i] % (sizes[i] >= 4096 ? 64 : 16), 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(objects[i][k], 0);
        memset(objects[i], (int)(i % 251) + 1, sizes[i]);
        sum += sizes[i];
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(objects[i][k], i % 251 + 1);
    assert_int_equal(arena.used_bytes, sum);
    assert_true(fake_os_count(FAKE_MEMORY) < 20); /* blocks grow */
    slm_arena_release(&arena);
    assert_int_equal(arena.used_bytes, 0);
    fake_os_assert_clean();
    assert_string_equal(slm_arena_copy(&arena, "again", 5, NULL), "again"); /* empty and usable */
    assert_string_equal(slm_arena_copy(&arena, NULL, 0, NULL), "");
    slm_arena_release(&arena);
    slm_arena_release(&arena);
    fake_os_assert_clean();
    fake_os_stop();
}

static void test_large_and_absurd(void **state)
{
    (void)state;
    struct slm_arena arena = {0};
    struct slm_error error = {0};
    char *large = slm_arena_alloc(&arena, 5 << 20, 1, "large", &error);
    assert_non_null(large);
    large[(5 << 20) - 1] = 1;
    assert_null(slm_arena_alloc(&arena, SIZE_MAX / 8, 9, "absurd", &error)); /* the product overflows */
    assert_int_equal(error.status, SLM_ERR_MEMORY);
    assert_string_equal(error.where, "absurd");
    assert_null(slm_arena_alloc(&arena, SIZE_MAX - 8, 1, "absurd", &error)); /* the header does not fit any more */
    assert_null(slm_arena_copy(&arena, "x", SIZE_MAX, &error));
    slm_arena_release(&arena);
}

static slm_status fill(void *user, struct slm_error *error)
{
    struct slm_arena arena = {0};
    slm_status status = SLM_OK;
    for (size_t i = 0; i < 40 && status == SLM_OK; i++)
        if (slm_arena_alloc(&arena, 1000 * i, 3, user, error) == NULL) status = SLM_ERR_MEMORY;
    slm_arena_release(&arena);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct fake_os_runs runs = fake_os_every_failure(NULL, FAKE_MEMORY, true, fill, "piece");
    assert_true(runs.n_failed >= 2);
    assert_int_equal(runs.n_recovered, 0);
}

static void test_redzones(void **state)
{
    (void)state;
#ifdef WITH_ASAN
    struct slm_arena arena = {0};
    char *a = slm_arena_alloc(&arena, 24, 1, "a", NULL), *b = slm_arena_alloc(&arena, 24, 1, "b", NULL);
    assert_false(__asan_address_is_poisoned(a + 23));
    assert_true(__asan_address_is_poisoned(a + 24));
    assert_true(__asan_address_is_poisoned(b - 1));
    assert_true(__asan_address_is_poisoned(b + 24));
    assert_true(__asan_address_is_poisoned(b + 1000)); /* not handed out yet */
    slm_arena_release(&arena);
#else
    print_message("redzones exist under AddressSanitizer only\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_are_separate),
        cmocka_unit_test(test_large_and_absurd),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_redzones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
