/* SPDX-License-Identifier: MIT
 * The real operating-system table: memory, hostile paths (which must be refused, never block),
 * whole-or-error I/O, maps, threads, and the limits of control groups read from made-up trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/os.h"
#include "base/os_host.h"
#include "fake_os.h"

/* The sanitizers stop at absurd sizes unless told that NULL is an answer this program can take. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
const char *__tsan_default_options(void) { return "allocator_may_return_null=1"; }
#endif

static char folder[256];

static const char *in(const char *name) /* a path below the test's folder */
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static int make_folder(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/slm-os-XXXXXX", base ? base : "/tmp");
    (void)alarm(120); /* something that blocks must fail the test, not hang it */
    return mkdtemp(folder) == NULL;
}

static int drop_folder(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void test_memory(void **state)
{
    (void)state;
    const struct slm_os *os = slm_os();
    for (size_t align = 16; align <= 4096; align *= 2) {
        void *memory = os->alloc(align / 2 + 1, align);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % align, 0);
        os->release(memory, align / 2 + 1);
    }
    os->release(NULL, 0);
    assert_null(os->alloc(SIZE_MAX / 2, 64));
    static const size_t sizes[] = {1, 4096, 4097, 2 << 20, (2 << 20) + 1, (7 << 20) + 12345};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *pages = os->alloc_pages(sizes[i]);
        assert_non_null(pages);
        assert_int_equal((uintptr_t)pages % (sizes[i] >= 2 << 20 ? 2u << 20 : 4096u), 0);
        for (size_t k = 0; k < sizes[i]; k += 509) assert_int_equal(pages[k], 0);
        memset(pages, 1, sizes[i]);
        os->release_pages(pages, sizes[i]);
    }
    assert_null(os->alloc_pages(SIZE_MAX));
    assert_null(os->alloc_pages(SIZE_MAX - (3 << 20)));
    os->release_pages(NULL, 0);
}

static void test_slm_alloc(void **state)
{
    (void)state;
    fake_os_start(NULL); /* fills fresh memory with 0xA5, so zeroes are slm_alloc's doing */
    struct slm_error error = {0};
    unsigned char *a = slm_alloc(100, 3, "a", &error);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % 64, 0);
    for (int i = 0; i < 300; i++) assert_int_equal(a[i], 0);
    memset(a, 7, 300);
    a = slm_realloc(a, 1000, 1, "a", &error);
    for (int i = 0; i < 1000; i++) assert_int_equal(a[i], i < 300 ? 7 : 0);
    a = slm_realloc(a, 10, 1, "a", &error);
    for (int i = 0; i < 10; i++) assert_int_equal(a[i], 7);
    assert_null(slm_realloc(a, SIZE_MAX, 2, "a", &error)); /* fails, and keeps the old block */
    assert_int_equal(a[9], 7);
    slm_release(a);
    slm_release(NULL);
    assert_null(slm_alloc(SIZE_MAX / 2, 3, "overflow", &error));
    assert_int_equal(error.status, SLM_ERR_MEMORY);
    assert_null(slm_alloc(SIZE_MAX - 10, 1, "header", &error));
    void *empty = slm_alloc(0, 8, "empty", &error);
    assert_non_null(empty);
    slm_release(slm_realloc(NULL, 5, 1, "b", &error));
    slm_release(empty);
    fake_os_assert_clean();
    fake_os_stop();
}

/* ---- files ----------------------------------------------------------------------------------- */

static void refused(const char *path, const char *because)
{
    struct slm_error error = {0};
    struct slm_file *file = NULL;
    assert_int_equal(slm_os()->open_read(path, &file, NULL, &error), SLM_ERR_IO);
    if (strstr(error.message, because) == NULL) fail_msg("%s: %s", path, error.message);
    assert_int_equal(strncmp(error.where, path, 20), 0);
    assert_null(file);
}

static void test_refuses_what_is_no_file(void **state)
{
    (void)state;
    refused(in("missing"), "No such file");
    refused(folder, "directory");
    assert_int_equal(mkfifo(in("fifo"), 0600), 0);
    refused(in("fifo"), "pipe");
    refused("/dev/zero", "device");
    refused("/dev/tty", "device");
    assert_int_equal(symlink("loop", in("loop")), 0);
    refused(in("loop"), "symbolic links");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", in("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
    refused(in("socket"), "socket");
    (void)close(fd);
    refused("", "No such file");

    struct slm_error error = {0};
    struct slm_file *file;
    assert_int_equal(slm_os()->create(in("fifo"), &file, &error), SLM_ERR_IO);
    assert_int_equal(slm_os()->create("/dev/null", &file, &error), SLM_ERR_IO);
    assert_int_equal(slm_os()->create(folder, &file, &error), SLM_ERR_IO);
    assert_int_equal(slm_os()->create(in("no/such/folder"), &file, &error), SLM_ERR_IO);
    assert_non_null(strstr(error.message, "No such file"));
}

static void test_write_read_rename(void **state)
{
    (void)state;
    const struct slm_os *os = slm_os();
    struct slm_error error = {0};
    struct slm_file *file;
    struct slm_file_info info;
    put_file(in("t.tmp"), "something longer that must go", 29);
    int64_t now = os->unix_ns();
    assert_int_equal(os->create(in("t.tmp"), &file, &error), SLM_OK);
    assert_int_equal(os->write(file, "hello ", 6, &error), SLM_OK);
    assert_int_equal(os->write(file, "", 0, &error), SLM_OK);
    assert_int_equal(os->write(file, "world", 5, &error), SLM_OK);
    assert_int_equal(os->sync(file, &error), SLM_OK);
    assert_int_equal(os->close(file, &error), SLM_OK);
    put_file(in("t"), "old", 3);
    assert_int_equal(os->rename(in("t.tmp"), in("t"), &error), SLM_OK);
    refused(in("t.tmp"), "No such file");

    assert_int_equal(os->open_read(in("t"), &file, &info, &error), SLM_OK);
    struct stat st;
    assert_int_equal(stat(in("t"), &st), 0);
    assert_true(info.bytes == 11 && info.is_regular && info.inode == st.st_ino && info.device == st.st_dev);
    assert_true(llabs(info.mtime_ns - now) < INT64_C(10000000000));
    char text[16] = {0};
    assert_int_equal(os->read_at(file, text, 5, 6, &error), SLM_OK);
    assert_string_equal(text, "world");
    assert_int_equal(os->read_at(file, text, 0, 11, &error), SLM_OK);
    assert_int_equal(os->read_at(file, text, 6, 6, &error), SLM_ERR_IO); /* all or error */
    assert_non_null(strstr(error.message, "ends at byte 11, 1 more"));
    assert_int_equal(os->read_at(file, text, 1, UINT64_MAX, &error), SLM_ERR_IO);
    assert_int_equal(os->read_at(file, text, 1, INT64_MAX, &error), SLM_ERR_IO);
    assert_int_equal(os->write(file, "x", 1, &error), SLM_ERR_IO); /* opened for reading */
    assert_int_equal(os->close(file, &error), SLM_OK);
    assert_int_equal(os->close(NULL, &error), SLM_OK);

    assert_int_equal(os->rename(in("missing"), in("t"), &error), SLM_ERR_IO);
    assert_int_equal(os->remove(in("t"), &error), SLM_OK);
    assert_int_equal(os->remove(in("t"), &error), SLM_ERR_IO);
    /* A bare name lies in the current folder. */
    char before[1024];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    put_file("bare.tmp", "x", 1);
    slm_status status = os->rename("bare.tmp", "bare", &error);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(status, SLM_OK);
    assert_int_equal(access(in("bare"), F_OK), 0);
}

/* One at a time, whoever it is; other places and beyond the end. */
static void test_locked(void **state)
{
    (void)state;
    const struct slm_os *os = slm_os();
    struct slm_error error = {0};
    struct slm_file *file, *other;
    uint64_t bytes;
    char text[8];
    put_file(in("locked"), "abc", 3);
    assert_int_equal(os->open_locked(in("locked"), &file, &bytes, &error), SLM_OK);
    assert_int_equal(bytes, 3);
    assert_int_equal(os->open_locked(in("locked"), &other, &bytes, &error), SLM_ERR_IO);
    assert_non_null(strstr(error.message, "another process"));
    assert_int_equal(os->write_at(file, "x", 1, 5, &error), SLM_OK);
    assert_int_equal(os->write_at(file, "B", 1, 1, &error), SLM_OK);
    assert_int_equal(os->read_at(file, text, 6, 0, &error), SLM_OK);
    assert_memory_equal(text, "aBc\0\0x", 6);
    assert_int_equal(os->truncate(file, 2, &error), SLM_OK);
    assert_int_equal(os->read_at(file, text, 3, 0, &error), SLM_ERR_IO);
    assert_int_equal(os->write_at(file, "x", 1, UINT64_MAX, &error), SLM_ERR_IO);
    assert_int_equal(os->truncate(file, UINT64_MAX, &error), SLM_ERR_IO);
    assert_int_equal(os->rename(in("locked"), in("named"), &error), SLM_OK);
    /* The name is free now, the file is not. */
    assert_int_equal(os->open_locked(in("locked"), &other, &bytes, &error), SLM_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(os->close(other, &error), SLM_OK);
    assert_int_equal(os->open_locked(in("named"), &other, &bytes, &error), SLM_ERR_IO);
    assert_int_equal(os->close(file, &error), SLM_OK);
    assert_int_equal(os->open_locked(in("named"), &other, &bytes, &error), SLM_OK);
    assert_int_equal(bytes, 2);
    assert_int_equal(os->close(other, &error), SLM_OK);
    assert_int_equal(symlink("named", in("link")), 0);
    assert_int_equal(os->open_locked(in("link"), &other, &bytes, &error), SLM_ERR_IO);
    assert_non_null(strstr(error.message, "symbolic link"));
    assert_int_equal(os->open_locked(folder, &other, &bytes, &error), SLM_ERR_IO);
}

static void test_full_disk(void **state)
{
    (void)state;
    /* A limit on file size behaves like a full disk: a partial write, then an error. */
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 100000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct slm_error error = {0};
    struct slm_file *file;
    static char data[150000];
    slm_status created = slm_os()->create(in("full"), &file, &error);
    slm_status status = created == SLM_OK ? slm_os()->write(file, data, sizeof data, &error) : SLM_OK;
    if (created == SLM_OK) (void)slm_os()->close(file, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(created, SLM_OK);
    assert_int_equal(status, SLM_ERR_IO);
    assert_non_null(strstr(error.message, "cannot write: "));
}

static void test_maps(void **state)
{
    (void)state;
    const struct slm_os *os = slm_os();
    struct slm_error error = {0};
    struct slm_file *file;
    struct slm_map map;
    put_file(in("empty"), "", 0);
    assert_int_equal(os->open_read(in("empty"), &file, NULL, &error), SLM_OK);
    assert_int_equal(os->map(file, &map, &error), SLM_OK);
    assert_null(map.data);
    assert_int_equal(map.bytes, 0);
    os->map_drop(&map, 0, 100);
    os->unmap(&map);
    assert_int_equal(os->close(file, &error), SLM_OK);

    enum { BYTES = 5 * 4096 + 123 };
    static unsigned char data[BYTES];
    for (int i = 0; i < BYTES; i++) data[i] = (unsigned char)(i * 7 + i / 256);
    put_file(in("map"), data, BYTES);
    assert_int_equal(os->open_read(in("map"), &file, NULL, &error), SLM_OK);
    assert_int_equal(os->map(file, &map, &error), SLM_OK);
    assert_int_equal(os->close(file, &error), SLM_OK); /* the map outlives it */
    assert_int_equal(map.bytes, BYTES);
    assert_memory_equal(map.data, data, BYTES);
    /* Dropping never changes what is read. Odd ranges, and ranges outside. */
    static const size_t ranges[][2] = {{0, 1},     {1, 4096},        {100, 10000},  {0, BYTES},
                                       {BYTES, 1}, {9000, SIZE_MAX}, {SIZE_MAX, 5}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        os->map_drop(&map, ranges[i][0], ranges[i][1]);
        assert_memory_equal(map.data, data, BYTES);
    }
    os->unmap(&map);
    assert_null(map.data);
    os->unmap(&map);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct talk { _Atomic uint32_t word, woken, blocked; };

static void sleeper(void *arg)
{
    struct talk *talk = arg;
    sigset_t set;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (sigismember(&set, SIGTERM) && sigismember(&set, SIGUSR1) && !sigismember(&set, SIGSEGV))
        atomic_fetch_add(&talk->blocked, 1);
    while (atomic_load(&talk->word) == 0) slm_os()->park((volatile uint32_t *)(uintptr_t)&talk->word, 0);
    atomic_fetch_add(&talk->woken, 1);
}

static void test_threads(void **state)
{
    (void)state;
    struct talk talk = {0};
    struct slm_thread *threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(slm_os()->thread_start(sleeper, &talk, &threads[i], NULL), SLM_OK);
    (void)usleep(20000);
    assert_int_equal(atomic_load(&talk.woken), 0);
    atomic_store(&talk.word, 1);
    slm_os()->unpark((volatile uint32_t *)(uintptr_t)&talk.word); /* wakes all */
    for (int i = 0; i < 4; i++) slm_os()->thread_join(threads[i]);
    assert_int_equal(atomic_load(&talk.woken), 4);
    assert_int_equal(atomic_load(&talk.blocked), 4);
    slm_os()->park((volatile uint32_t *)(uintptr_t)&talk.word, 0); /* another value: returns at once */
    uint64_t a = slm_os()->now_ns(), b = slm_os()->now_ns();
    assert_true(b >= a && a > 0);
}

static void test_cpus_follow_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    unsigned all = slm_os()->n_cpus();
    assert_in_range(all, 1, CPU_COUNT(&before));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    unsigned n = slm_os()->n_cpus();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(n, 1);
    uint64_t memory = slm_os()->memory_available();
    assert_true(memory > (1 << 20) && memory < (uint64_t)1 << 46);
}

/* ---- control groups -------------------------------------------------------------------------- */

struct entry { const char *path, *text; };

/* Builds the tree below a fresh root. */
static const char *make_root(const struct entry *entries)
{
    static int turn;
    static char root[300];
    char command[1024];
    (void)snprintf(root, sizeof root, "%s/root%d", folder, turn++);
    for (const struct entry *e = entries; e->path != NULL; e++) {
        char path[800];
        (void)snprintf(path, sizeof path, "%s/%s", root, e->path);
        (void)snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\"", path);
        assert_int_equal(system(command), 0);
        put_file(path, e->text, strlen(e->text));
    }
    return root;
}

static struct slm_host_limits limits_of(const struct entry *entries)
{
    return slm_host_read_limits(make_root(entries));
}

static void test_cgroup_v2(void **state)
{
    (void)state;
    struct slm_host_limits l = limits_of((const struct entry[]){
        {"proc/self/cgroup", "0::/a.slice/b.service\n"},
        {"sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n"},
        {"sys/fs/cgroup/a.slice/cpu.max", "250000 100000\n"}, /* the parent's limit counts, the smallest of all */
        {"sys/fs/cgroup/cpu.max", "700000 100000\n"},
        {"sys/fs/cgroup/a.slice/b.service/memory.max", "1000000\n"},
        {"sys/fs/cgroup/a.slice/b.service/memory.current", "700000\n"},
        {"sys/fs/cgroup/a.slice/b.service/memory.stat", "anon 5\ninactive_file 200000\nactive_file 9\n"},
        {"sys/fs/cgroup/a.slice/memory.max", "max\n"},
        {"sys/fs/cgroup/a.slice/memory.current", "900000\n"},
        {0}});
    assert_true(l.cpus == 2.5);
    assert_int_equal(l.memory, 500000);
    /* In a container: the group's path is the host's, the files are at the mount itself. */
    l = limits_of((const struct entry[]){{"proc/self/cgroup", "0::/docker/0123abc\n"},
                                         {"sys/fs/cgroup/cpu.max", "50000 100000\n"},
                                         {"sys/fs/cgroup/memory.max", "4096\n"},
                                         {"sys/fs/cgroup/memory.current", "8192\n"},
                                         {0}});
    assert_true(l.cpus == 0.5);
    assert_int_equal(l.memory, 0); /* over the limit already */
}

static void test_cgroup_v1(void **state)
{
    (void)state;
    struct slm_host_limits l = limits_of((const struct entry[]){
        {"proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job/x\n3:cpuset:/\n0::/\n"},
        {"sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "300000\n"},
        {"sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n"},
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
        {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
        {"sys/fs/cgroup/memory/job/x/memory.limit_in_bytes", "9223372036854771712\n"}, /* v1's "none" */
        {"sys/fs/cgroup/memory/job/x/memory.usage_in_bytes", "1000\n"},
        {"sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000000\n"},
        {"sys/fs/cgroup/memory/job/memory.usage_in_bytes", "3000000\n"},
        {"sys/fs/cgroup/memory/job/memory.stat", "cache 1\ntotal_inactive_file 1000000\n"},
        {0}});
    assert_true(l.cpus == 3.0);
    assert_int_equal(l.memory, 3000000);
}

static void test_cgroup_nonsense(void **state)
{
    (void)state;
    struct slm_host_limits l = limits_of((const struct entry[]){{"proc/self/other", ""}, {0}});
    assert_true(l.cpus == 0 && l.memory == UINT64_MAX);
    l = limits_of((const struct entry[]){{"proc/self/cgroup", "garbage\n0:\n:::\n0::/x//\n"},
                                         {"sys/fs/cgroup/cpu.max", "100000 0\n"},
                                         {"sys/fs/cgroup/x/cpu.max", "\n"},
                                         {"sys/fs/cgroup/memory.max", "what\n"},
                                         {0}});
    assert_true(l.cpus == 0 && l.memory == UINT64_MAX);
}

/* ---- energy ---------------------------------------------------------------------------------- */

#define RAPL "sys/class/powercap/intel-rapl:"
static void test_energy_counts_packages_only(void **state)
{
    (void)state;
    struct slm_energy e[SLM_MAX_PACKAGES];
    const char *root = make_root((const struct entry[]){
        {RAPL "0/name", "package-0\n"}, {RAPL "0/energy_uj", "262143000000\n"},
        {RAPL "0/max_energy_range_uj", "262143328850\n"},
        {RAPL "0:0/name", "core\n"}, {RAPL "0:0/energy_uj", "5\n"}, {RAPL "0:0/max_energy_range_uj", "9\n"},
        {RAPL "1/name", "psys\n"}, {RAPL "1/energy_uj", "77\n"}, {RAPL "1/max_energy_range_uj", "262143328850\n"},
        {RAPL "2/name", "package-1\n"}, {RAPL "2/energy_uj", "17\n"}, {RAPL "2/max_energy_range_uj", "65532610987\n"},
        {0}});
    assert_int_equal(slm_host_read_energy(root, e), 2);
    assert_int_equal(e[0].microjoules, 262143000000);
    assert_int_equal(e[0].range, 262143328850);
    assert_int_equal(e[1].microjoules, 17);
    assert_int_equal(e[1].range, 65532610987);
}

/* Since 2020 the name can be read by all, the counter by root; and most virtual machines have none of it. */
static void test_energy_that_is_not_there(void **state)
{
    (void)state;
    struct slm_energy e[SLM_MAX_PACKAGES];
    assert_int_equal(slm_host_read_energy(make_root((const struct entry[]){{"sys/x", "1\n"}, {0}}), e), 0);
    assert_int_equal(slm_host_read_energy(make_root((const struct entry[]){{RAPL "0/name", "package-0\n"},
                                                                           {RAPL "0/max_energy_range_uj", "9\n"},
                                                                           {0}}), e), 0);
    assert_in_range(slm_os()->energy(e), 0, SLM_MAX_PACKAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),    cmocka_unit_test(test_slm_alloc),
        cmocka_unit_test(test_refuses_what_is_no_file), cmocka_unit_test(test_write_read_rename),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_maps),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_cpus_follow_affinity),
        cmocka_unit_test(test_cgroup_v2), cmocka_unit_test(test_cgroup_v1),
        cmocka_unit_test(test_cgroup_nonsense),
        cmocka_unit_test(test_energy_counts_packages_only), cmocka_unit_test(test_energy_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
