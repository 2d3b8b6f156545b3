/* SPDX-License-Identifier: MIT
 * Errors, status names, checked arithmetic, the log sink, and that a failed assertion stops the
 * program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"

static void test_fail(void **state)
{
    (void)state;
    struct slm_error error = {0};
    assert_int_equal(slm_fail(NULL, SLM_ERR_IO, "x", "y"), SLM_ERR_IO);
    assert_int_equal(slm_fail(&error, SLM_ERR_FORMAT, "f.gguf", "%d is not %s", 7, "even"), SLM_ERR_FORMAT);
    assert_int_equal(error.status, SLM_ERR_FORMAT);
    assert_string_equal(error.where, "f.gguf");
    assert_string_equal(error.message, "7 is not even");
    /* Wrapping in place. */
    (void)slm_fail(&error, error.status, "outer", "%s: %s", error.where, error.message);
    assert_string_equal(error.message, "f.gguf: 7 is not even");
    (void)slm_fail(&error, SLM_ERR_IO, NULL, "evil %s", "\x1b]0;\x07\xff\n");
    assert_string_equal(error.where, "");
    assert_string_equal(error.message, "evil \\x1B]0;\\x07\\xFF\\x0A");
    assert_int_equal(slm_fail_memory(&error, "kv", 123), SLM_ERR_MEMORY);
    assert_non_null(strstr(error.message, "123"));
}

static void test_long_text_is_cut_whole(void **state)
{
    (void)state;
    char text[2000];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xE2\x82\xAC", 4);
        struct slm_error error = {0};
        (void)slm_fail(&error, SLM_ERR_IO, text, "%s", text);
        assert_null(strchr(error.message, '\\'));
        assert_true(strlen(error.message) > sizeof error.message - 5);
        assert_int_equal(slm_utf8_valid_prefix(error.message, strlen(error.message)), strlen(error.message));
        assert_int_equal(slm_utf8_valid_prefix(error.where, strlen(error.where)), strlen(error.where));
    }
}

static void test_long_place_keeps_its_end(void **state)
{
    (void)state;
    char path[300];
    memset(path, '/', sizeof path);
    (void)snprintf(path + 200, sizeof path - 200, "model.gguf: key 'a.b'");
    struct slm_error error = {0};
    (void)slm_fail(&error, SLM_ERR_FORMAT, path, "x");
    assert_int_equal(strlen(error.where), sizeof error.where - 1);
    assert_memory_equal(error.where, ".../", 4);
    assert_string_equal(error.where + strlen(error.where) - 21, "model.gguf: key 'a.b'");
}

static void test_names(void **state)
{
    (void)state;
    for (int a = 0; a < SLM_STATUS_COUNT; a++) {
        assert_non_null(slm_status_name((slm_status)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(slm_status_name((slm_status)a), slm_status_name((slm_status)b));
    }
    assert_string_equal(slm_status_name((slm_status)999), "unknown");
    int major, minor, patch, n = 0;
    assert_int_equal(sscanf(slm_version(), "%d.%d.%d%n", &major, &minor, &patch, &n), 3);
    assert_int_equal(n, strlen(slm_version()));
}

static void test_assert_aborts(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], 2);
        (void)signal(SIGABRT, SIG_DFL);
        SLM_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    (void)close(ends[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    char text[512] = {0};
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    (void)close(ends[0]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    text[strcspn(text, "\n")] = '\0'; /* one line, whatever the system adds after it */
    assert_memory_equal(text, "slm: internal error: ", 21);
    assert_non_null(strstr(text, "1 + 1 == 3"));
}

/* Against 128-bit arithmetic. */
static void test_checked(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 2, 3, 63, 64, 0xFFFFFFFF, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1,
                                      UINT64_C(1) << 63, UINT64_MAX / 3, UINT64_MAX - 63, UINT64_MAX - 1, UINT64_MAX};
    enum { N = sizeof values / sizeof *values };
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < N; k++) {
            uint64_t out = 0;
            __extension__ unsigned __int128 sum = values[i], product = values[i];
            sum += values[k];
            product *= values[k];
            assert_int_equal(slm_add_u64(values[i], values[k], &out), sum <= UINT64_MAX);
            if (sum <= UINT64_MAX) assert_true(out == (uint64_t)sum);
            assert_int_equal(slm_mul_u64(values[i], values[k], &out), product <= UINT64_MAX);
            if (product <= UINT64_MAX) assert_true(out == (uint64_t)product);
        }
        for (unsigned shift = 0; shift < 22; shift++) {
            size_t align = (size_t)1 << shift, n = (size_t)values[i], out;
            __extension__ unsigned __int128 up = ((unsigned __int128)n + align - 1) / align * align;
            assert_int_equal(slm_align_up_size(n, align, &out), up <= SIZE_MAX);
            if (up <= SIZE_MAX) assert_true(out == (size_t)up);
        }
    }
}

struct lines { unsigned n; enum slm_log_level level; char text[256]; };
static void keep(void *user, enum slm_log_level level, const char *line)
{
    struct lines *lines = user;
    lines->n++;
    lines->level = level;
    (void)snprintf(lines->text, sizeof lines->text, "%s", line);
}

static void test_log(void **state)
{
    (void)state;
    struct lines lines = {0};
    slm_log(SLM_LOG_ERROR, "nobody listens");
    slm_log_sink(keep, &lines, SLM_LOG_WARN);
    slm_log(SLM_LOG_INFO, "too fine");
    assert_int_equal(lines.n, 0);
    slm_log(SLM_LOG_WARN, "%s is %d", "a\nb", 3);
    assert_int_equal(lines.n, 1);
    assert_int_equal(lines.level, SLM_LOG_WARN);
    assert_string_equal(lines.text, "a\\x0Ab is 3");
    slm_log_sink(NULL, NULL, SLM_LOG_DEBUG);
    slm_log(SLM_LOG_ERROR, "silent again");
    assert_int_equal(lines.n, 1);
}

/* Against what the kernel prints. */
static void test_cpu(void **state)
{
    (void)state;
    static const struct { uint64_t feature; const char *flag; } rows[] = {
        {SLM_CPU(SSE42), " sse4_2"},       {SLM_CPU(AVX), " avx"},       {SLM_CPU(F16C), " f16c"},
        {SLM_CPU(FMA), " fma"},            {SLM_CPU(AVX2), " avx2"},     {SLM_CPU(AVX512), " avx512vl"},
        {SLM_CPU(AVX512VNNI), " avx512_vnni"}, {SLM_CPU(AVX512BF16), " avx512_bf16"}, {SLM_CPU(AVXVNNI), " avx_vnni"},
        {SLM_CPU(AVX512VBMI), " avx512vbmi"},  {SLM_CPU(AVX512FP16), " avx512_fp16"}, {SLM_CPU(AMXINT8), " amx_int8"},
        {SLM_CPU(NEON), " asimd"},         {SLM_CPU(FP16), " fphp"},     {SLM_CPU(DOTPROD), " asimddp"},
        {SLM_CPU(I8MM), " i8mm"},          {SLM_CPU(BF16), " bf16"},     {SLM_CPU(SVE), " sve"},
    };
    assert_string_equal(slm_cpu_feature_name(SLM_CPU_AVX2_BIT), "avx2");
    assert_null(slm_cpu_feature_name(20));
    assert_null(slm_cpu_feature_name(1000));
    assert_true(strlen(slm_cpu_model()) > 0);
    uint64_t features = slm_cpu_features();
    assert_true(features == slm_cpu_features());
    FILE *file = fopen("/proc/cpuinfo", "r");
    static char text[16384], flags[8192];
    size_t n = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL) (void)fclose(file);
    text[n] = '\0';
    const char *line = strstr(text, "\nflags");
    if (line == NULL) line = strstr(text, "\nFeatures");
    print_message("%s: %llx\n", slm_cpu_model(), (unsigned long long)features);
    bool told_x86 = line != NULL && strstr(line, " fpu ") != NULL, is_x86 = (features & 0xFFFFFFFF) != 0;
    if (line == NULL || told_x86 != is_x86) {
        print_message("/proc/cpuinfo does not describe this CPU (emulated?)\n");
        skip();
    }
    (void)snprintf(flags, sizeof flags, "%.*s ", (int)strcspn(line + 1, "\n"), line + 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char flag[32];
        (void)snprintf(flag, sizeof flag, "%s ", rows[i].flag);
        if ((strstr(flags, flag) != NULL) != ((features & rows[i].feature) != 0))
            fail_msg("feature '%s'", rows[i].flag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail),    cmocka_unit_test(test_long_text_is_cut_whole),
        cmocka_unit_test(test_long_place_keeps_its_end), cmocka_unit_test(test_names),
        cmocka_unit_test(test_assert_aborts), cmocka_unit_test(test_checked), cmocka_unit_test(test_log),
        cmocka_unit_test(test_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
