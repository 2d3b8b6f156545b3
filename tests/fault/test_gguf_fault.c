/* SPDX-License-Identifier: MIT
 * What GGUF reading and writing do when the system fails: the Nth allocation or file operation fails, for every N, once
 * and for good. Each run must end in an error of the right kind with nothing leaked (memory, files, maps), the old
 * target in place and no temporary file left behind, unless removing it was what failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "format/gguf.h"
#include "gguf_builder.h"

static struct slm_os faulty;
static long calls, fail_at;   /* the call that fails, from 0; -1 = none */
static bool fail_ever_after;
static long live, open_files, maps;
static const struct slm_file *locked;

static bool fails(void)
{
    long call = calls++;
    return fail_at >= 0 && (call == fail_at || (fail_ever_after && call > fail_at));
}

static slm_status io_error(struct slm_error *error, const char *what)
{
    return slm_fail(error, SLM_ERR_IO, what, "injected fault at call %ld", fail_at);
}

static void *f_alloc(size_t bytes, size_t align)
{
    if (fails()) return NULL;
    live++;
    return slm_os_posix()->alloc(bytes, align);
}
static void f_release(void *memory, size_t bytes)
{
    live -= memory != NULL;
    slm_os_posix()->release(memory, bytes);
}
static slm_status f_open_read(const char *path, struct slm_file **out, struct slm_file_info *info,
                              struct slm_error *error)
{
    if (fails()) return io_error(error, path);
    slm_status status = slm_os_posix()->open_read(path, out, info, error);
    open_files += status == SLM_OK;
    return status;
}
static slm_status f_open_locked(const char *path, struct slm_file **out, uint64_t *bytes, struct slm_error *error)
{
    if (fails()) return io_error(error, path);
    slm_status status = slm_os_posix()->open_locked(path, out, bytes, error);
    open_files += status == SLM_OK;
    locked = status == SLM_OK ? *out : NULL;
    return status;
}
static slm_status f_write_at(struct slm_file *file, const void *data, size_t bytes, uint64_t offset,
                             struct slm_error *error)
{
    /* A full disk takes a part first. */
    const bool failing = fails();
    slm_status status = slm_os_posix()->write_at(file, data, failing ? bytes / 2 : bytes, offset, error);
    return failing ? io_error(error, "write") : status;
}
static slm_status f_truncate(struct slm_file *file, uint64_t bytes, struct slm_error *error)
{
    return fails() ? io_error(error, "cut") : slm_os_posix()->truncate(file, bytes, error);
}
static slm_status f_sync(struct slm_file *file, struct slm_error *error)
{
    return fails() ? io_error(error, "sync") : slm_os_posix()->sync(file, error);
}
static slm_status f_close(struct slm_file *file, struct slm_error *error)
{
    /* What is written is synced and has its name before it is closed: whether that fails is not asked. */
    bool failing = file != locked && fails();
    open_files--;
    slm_status status = slm_os_posix()->close(file, error); /* the handle goes even when close fails */
    return failing ? io_error(error, "close") : status;
}
static slm_status f_rename(const char *from, const char *to, struct slm_error *error)
{
    return fails() ? io_error(error, to) : slm_os_posix()->rename(from, to, error);
}
static slm_status f_map(struct slm_file *file, struct slm_map *out, struct slm_error *error)
{
    if (fails()) return io_error(error, "map");
    slm_status status = slm_os_posix()->map(file, out, error);
    maps += status == SLM_OK;
    return status;
}
static void f_unmap(struct slm_map *map)
{
    maps--;
    slm_os_posix()->unmap(map);
}

/* ---- scenarios --------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/slm-test-fault-XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void save_part(const char *name, unsigned no)
{
    struct slm_buf file = {0};
    gb_header(&file, 1, 3);
    gb_key_u16(&file, "split.no", no);
    gb_key_u16(&file, "split.count", 2);
    gb_key_string(&file, "general.name", "m");
    gb_tensor(&file, no ? "b" : "a", 1, (uint64_t[]){4}, 0, 0);
    gb_align(&file, 32);
    gb_zeros(&file, 16);
    FILE *f = fopen(in_folder(name), "wb");
    assert_int_equal(fwrite(file.data, 1, file.len, f), file.len);
    fclose(f);
    slm_buf_release(&file);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    save_part("m-00001-of-00002.gguf", 0);
    save_part("m-00002-of-00002.gguf", 1);
    faulty = *slm_os_posix();
    faulty.alloc = f_alloc;
    faulty.release = f_release;
    faulty.open_read = f_open_read;
    faulty.open_locked = f_open_locked;
    faulty.write_at = f_write_at;
    faulty.truncate = f_truncate;
    faulty.sync = f_sync;
    faulty.close = f_close;
    faulty.rename = f_rename;
    faulty.map = f_map;
    faulty.unmap = f_unmap;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static slm_status read_split(struct slm_error *error)
{
    struct slm_gguf *gguf;
    SLM_TRY(slm_gguf_open(in_folder("m-00001-of-00002.gguf"), NULL, &gguf, error));
    assert_int_equal(slm_gguf_n_tensors(gguf), 2);
    slm_status status = slm_gguf_unchanged(gguf, error);
    slm_gguf_close(gguf);
    return status;
}

static slm_status write_target(struct slm_error *error)
{
    struct slm_gguf_writer *w;
    char data[128] = {0}, name[32];
    SLM_TRY(slm_gguf_writer_open(in_folder("target.gguf"), 64, &w, error));
    slm_status status = slm_gguf_write_str(w, "general.name", slm_str("new"), error);
    struct slm_str words[3] = {slm_str("one"), slm_str("two"), slm_str("three")};
    if (status == SLM_OK) status = slm_gguf_write_strings(w, "words", words, 3, error);
    for (int i = 0; i < 70 && status == SLM_OK; i++) { /* more than one growth of the tables */
        (void)snprintf(name, sizeof name, "t%d", i);
        status = slm_gguf_declare_tensor(w, slm_str(name), SLM_DTYPE_F32, (uint64_t[]){32}, 1, error);
    }
    for (int i = 0; i < 70 && status == SLM_OK; i++) status = slm_gguf_write_data(w, data, sizeof data, error);
    if (status == SLM_OK) return slm_gguf_writer_finish(w, error);
    slm_gguf_writer_abandon(w);
    return status;
}

static int count_files(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n;
}

/* -1 when there is none. */
static long target_bytes(void)
{
    struct stat info;
    return stat(in_folder("target.gguf"), &info) == 0 ? (long)info.st_size : -1;
}

static void run_all_faults(slm_status (*scenario)(struct slm_error *), bool ever_after)
{
    int n_files = count_files();
    long bytes = target_bytes();
    fail_ever_after = ever_after;
    for (fail_at = 0;; fail_at++) {
        struct slm_error error = {0};
        calls = 0;
        slm_os_replace(&faulty);
        slm_status status = scenario(&error);
        slm_os_replace(NULL);
        if (live || open_files || maps)
            fail_msg("call %ld: %ld allocations, %ld files, %ld maps leaked", fail_at, live, open_files, maps);
        if (calls <= fail_at) {
            assert_int_equal(status, SLM_OK); /* all faults are behind us */
            break;
        }
        if ((status != SLM_ERR_MEMORY && status != SLM_ERR_IO) || error.status != status || error.message[0] == 0)
            fail_msg("call %ld failed, and the answer was %s: '%s'", fail_at, slm_status_name(status), error.message);
        assert_int_equal(count_files(), n_files);
        assert_int_equal(target_bytes(), bytes);
    }
    print_message("%ld calls\n", fail_at);
    assert_true(fail_at > 10);
}

static void test_reading(void **state)
{
    (void)state;
    run_all_faults(read_split, false);
    run_all_faults(read_split, true);
}

static void test_writing(void **state)
{
    (void)state;
    FILE *f = fopen(in_folder("target.gguf"), "wb"); /* an old file, which faults must not harm */
    fputs("old", f);
    fclose(f);
    run_all_faults(write_target, false);
    struct slm_gguf *gguf;
    assert_int_equal(slm_gguf_open(in_folder("target.gguf"), NULL, &gguf, NULL), SLM_OK);
    assert_int_equal(slm_gguf_n_tensors(gguf), 70);
    slm_gguf_close(gguf);
    run_all_faults(write_target, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
