/* SPDX-License-Identifier: MIT
 *
 * What Linux adds to POSIX: futexes, transparent huge pages, CPU affinity, and the limits of
 * control groups.
 *
 * Containers lie: /proc/meminfo and the number of CPUs show the whole host. Taking them at their
 * word gets a process killed (memory) or throttled ten times slower than it could be (eight
 * spinning threads on a quota of two CPUs). So both limits are read from the control group and
 * every one above it, for version 2 and version 1. */
#if defined(__linux__)
#include "base/os_host.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void slm_host_park(volatile uint32_t *word, uint32_t while_equal)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_equal, NULL, NULL, 0);
}

void slm_host_unpark(volatile uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void slm_host_want_huge_pages(void *memory, size_t bytes) { (void)madvise(memory, bytes, MADV_HUGEPAGE); }

/* Reads a small file of the kernel into text, NUL-terminated. False when it is not there. */
static bool read_small(const char *path, char *text, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, text + len, cap - 1 - len);
        if (n <= 0) break;
        len += (size_t)n;
    }
    (void)close(fd);
    text[len] = '\0';
    return len > 0;
}

/* The number after "key" at the start of a line; false when absent or not a number. */
static bool number_after(const char *text, const char *key, uint64_t *out)
{
    size_t length = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, length) != 0) continue;
        char *end;
        unsigned long long value = strtoull(line + length, &end, 10);
        if (end == line + length) return false;
        *out = value;
        return true;
    }
    return false;
}

enum { PATH_BYTES = 2048, SMALL_BYTES = 8192 };

/* One version or controller of control groups: where it is mounted and what its files are called. */
struct hierarchy {
    const char *line;       /* how its line in /proc/self/cgroup reads after the number: "::" or ":<controllers>:" */
    const char *mount;
    const char *cpu_quota;  /* version 2: "quota period" in one file; version 1: two files; NULL: not its business */
    const char *cpu_period;
    const char *memory_max, *memory_used, *cache_key; /* cache_key: reclaimable file pages within memory.stat */
};

static const struct hierarchy hierarchies[] = {
    {"::", "/sys/fs/cgroup", "cpu.max", NULL, "memory.max", "memory.current", "inactive_file "},
    {"::", "/sys/fs/cgroup/unified", "cpu.max", NULL, "memory.max", "memory.current", "inactive_file "},
    {"cpu", "/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us", NULL, NULL, NULL},
    {"memory", "/sys/fs/cgroup/memory", NULL, NULL, "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file "},
};

/* Does the comma-separated list [list, end) name the controller? */
static bool lists(const char *list, const char *end, const char *controller)
{
    size_t length = strlen(controller);
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma ? comma : end;
        if ((size_t)(stop - list) == length && memcmp(list, controller, length) == 0) return true;
        list = stop + 1;
    }
    return false;
}

/* The group's path of this hierarchy out of /proc/self/cgroup ("id:controllers:path" a line), "" when not listed. */
static void group_path(const char *text, const struct hierarchy *h, char path[PATH_BYTES])
{
    path[0] = '\0';
    for (const char *line = text; *line != '\0';) {
        const char *end = strchr(line, '\n');
        if (end == NULL) end = line + strlen(line);
        const char *first = memchr(line, ':', (size_t)(end - line));
        const char *second = first ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
        if (second != NULL) {
            bool mine = strcmp(h->line, "::") == 0 ? second == first + 1 : lists(first + 1, second, h->line);
            size_t length = (size_t)(end - second - 1);
            if (mine && length < PATH_BYTES) {
                memcpy(path, second + 1, length);
                path[length] = '\0';
                return;
            }
        }
        line = *end == '\n' ? end + 1 : end;
    }
}

static bool read_in_group(const char *folder, const char *name, char text[SMALL_BYTES])
{
    char path[PATH_BYTES * 2];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path && read_small(path, text, SMALL_BYTES);
}

static void limit_cpus(const char *folder, const struct hierarchy *h, struct slm_host_limits *limits)
{
    char text[SMALL_BYTES], *end;
    if (!read_in_group(folder, h->cpu_quota, text)) return;
    double quota = strtod(text, &end); /* "max" or -1: no quota */
    if (end == text || quota <= 0) return;
    if (h->cpu_period != NULL) {
        if (!read_in_group(folder, h->cpu_period, text)) return;
        end = text;
    }
    double period = strtod(end, NULL);
    if (period <= 0) return;
    double cpus = quota / period;
    if (limits->cpus == 0 || cpus < limits->cpus) limits->cpus = cpus;
}

static void limit_memory(const char *folder, const struct hierarchy *h, struct slm_host_limits *limits)
{
    char text[SMALL_BYTES];
    uint64_t max, used, cache = 0;
    if (!read_in_group(folder, h->memory_max, text) || !number_after(text, "", &max)) return; /* "max": no limit */
    if (!read_in_group(folder, h->memory_used, text) || !number_after(text, "", &used)) return;
    /* File pages the kernel would drop before it refuses memory are counted as used, but are free to us. */
    if (read_in_group(folder, "memory.stat", text)) (void)number_after(text, h->cache_key, &cache);
    used = used > cache ? used - cache : 0;
    uint64_t available = max > used ? max - used : 0;
    if (available < limits->memory) limits->memory = available;
}

struct slm_host_limits slm_host_read_limits(const char *root)
{
    struct slm_host_limits limits = {0, UINT64_MAX};
    char groups[SMALL_BYTES], group[PATH_BYTES], folder[PATH_BYTES * 2 - 64];
    if (!read_in_group(root, "proc/self/cgroup", groups)) return limits;
    for (size_t i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++) {
        const struct hierarchy *h = &hierarchies[i];
        group_path(groups, h, group);
        /* From the group up to the top. Inside a container the outer names are not visible: those
         * files are missing, and the mount's own folder, the last step, is the container's group.
         * */
        for (;;) {
            size_t length = strlen(group);
            while (length > 0 && group[length - 1] == '/') group[--length] = '\0';
            int n = snprintf(folder, sizeof folder, "%s%s%s", root, h->mount, group);
            if (n > 0 && (size_t)n < sizeof folder) {
                if (h->cpu_quota != NULL) limit_cpus(folder, h, &limits);
                if (h->memory_max != NULL) limit_memory(folder, h, &limits);
            }
            if (length == 0) break;
            char *slash = strrchr(group, '/');
            *(slash != NULL ? slash : group) = '\0';
        }
    }
    return limits;
}

unsigned slm_host_n_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    /* The mask may need more room than cpu_set_t has; the kernel says EINVAL until it is large enough. */
    for (size_t bits = 1024; bits <= (1u << 18); bits *= 4) {
        cpu_set_t *set = CPU_ALLOC(bits);
        if (set == NULL) break;
        int ok = sched_getaffinity(0, CPU_ALLOC_SIZE(bits), set);
        if (ok == 0) n = CPU_COUNT_S(CPU_ALLOC_SIZE(bits), set);
        CPU_FREE(set);
        if (ok == 0) break;
    }
    /* A quota of 2.5 CPUs is two threads: a third would be stopped half of the time, and the others wait for it. */
    double quota = slm_host_read_limits("").cpus;
    if (quota > 0 && quota < (double)n) n = (long)quota;
    return n < 1 ? 1 : (unsigned)n;
}

uint64_t slm_host_memory_available(void)
{
    char text[SMALL_BYTES];
    uint64_t kib = 0, machine = 0;
    if (read_small("/proc/meminfo", text, sizeof text) && number_after(text, "MemAvailable:", &kib))
        machine = kib * 1024;
    uint64_t group = slm_host_read_limits("").memory;
    if (group == 0) group = 1; /* 0 would say that nobody knows */
    if (machine == 0) return group == UINT64_MAX ? 0 : group;
    return group < machine ? group : machine;
}

/* The kernel's power capping interface has a folder for each zone: intel-rapl:0 is the first package (AMD's too, which
 * count in the same way), intel-rapl:0:0 a part of it, which would be counted twice. A platform zone, which counts the
 * packages too, is told by its name. Since 2020 only root may read the counters. */
size_t slm_host_read_energy(const char *root, struct slm_energy out[SLM_MAX_PACKAGES])
{
    size_t n = 0;
    for (int zone = 0; zone < 4 * SLM_MAX_PACKAGES && n < SLM_MAX_PACKAGES; zone++) {
        char folder[PATH_BYTES], text[SMALL_BYTES];
        struct slm_energy e;
        int length = snprintf(folder, sizeof folder, "%s/sys/class/powercap/intel-rapl:%d", root, zone);
        if (length < 0 || (size_t)length >= sizeof folder || !read_in_group(folder, "name", text)) break;
        if (strncmp(text, "package", 7) != 0) continue;
        if (!read_in_group(folder, "energy_uj", text) || !number_after(text, "", &e.microjoules)) continue;
        if (!read_in_group(folder, "max_energy_range_uj", text) || !number_after(text, "", &e.range)) continue;
        out[n++] = e;
    }
    return n;
}

size_t slm_host_energy(struct slm_energy out[SLM_MAX_PACKAGES]) { return slm_host_read_energy("", out); }
#else
typedef int slm_os_linux_is_not_used; /* ISO C wants something in every file */
#endif
