/* SPDX-License-Identifier: MIT
 *
 * The real operating-system table, for POSIX systems. What Linux does better (futex, cgroups, huge
 * pages) is behind os_host.h.
 *
 * Files come from users and registries, so opening is defensive: a path is looked at before it is
 * opened and again after (the world may have changed between), anything but a regular file is
 * refused, and O_NONBLOCK makes sure that a FIFO that slips in between cannot hang the program.
 * Every error names the path and the system's reason.
 *
 * Deliberately not here: buffering, path manipulation, sockets. */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/os_host.h"

/* ---- memory ---------------------------------------------------------------------------------- */

/* posix_memalign, not aligned_alloc: the latter wants sizes that are multiples of the alignment. */
static void *posix_alloc(size_t bytes, size_t align)
{
    void *memory = NULL;
    return posix_memalign(&memory, align, bytes ? bytes : 1) == 0 ? memory : NULL;
}

static void posix_release(void *memory, size_t bytes)
{
    (void)bytes;
    free(memory);
}

static const size_t huge_bytes = (size_t)2 << 20;

/* Rounds to what mmap and munmap really handle; false when that overflows. */
static bool whole_pages(size_t bytes, size_t *out)
{
    return slm_align_up_size(bytes ? bytes : 1, (size_t)sysconf(_SC_PAGESIZE), out);
}

/* Fresh pages are zero by the system's word, so nothing is touched here: the thread that first writes a page decides
 * which memory node it comes from. */
static void *posix_alloc_pages(size_t bytes)
{
    size_t size, mapped;
    if (!whole_pages(bytes, &size)) return NULL;
    bool large = size >= huge_bytes;
    if (!slm_add_size(size, large ? huge_bytes : 0, &mapped)) return NULL;
    char *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return NULL;
    if (!large) return base;
    /* Cut the ends off, so that what stays begins on a 2 MiB boundary. */
    size_t head = (huge_bytes - (uintptr_t)base % huge_bytes) % huge_bytes;
    size_t tail = mapped - head - size;
    if (head > 0) (void)munmap(base, head);
    if (tail > 0) (void)munmap(base + head + size, tail);
    slm_host_want_huge_pages(base + head, size);
    return base + head;
}

static void posix_release_pages(void *memory, size_t bytes)
{
    size_t size;
    if (memory != NULL && whole_pages(bytes, &size)) (void)munmap(memory, size);
}

/* ---- files ----------------------------------------------------------------------------------- */

struct slm_file {
    int fd;
    uint64_t bytes; /* when opened */
    char path[];    /* for errors */
};

/* One sentence from errno. The code is passed in, because making the sentence may change errno. */
static slm_status fail_errno(struct slm_error *error, const char *path, const char *verb, int code)
{
    char reason[128];
    /* strerror_r comes in two flavours; %m does not exist everywhere; strerror is not promised to be thread-safe. */
    if (code == 0) code = EIO;
#if defined(__GLIBC__)
    const char *text = strerror_r(code, reason, sizeof reason);
#else
    const char *text = strerror_r(code, reason, sizeof reason) == 0 ? reason : "unknown reason";
#endif
    return slm_fail(error, code == ENOMEM ? SLM_ERR_MEMORY : SLM_ERR_IO, path, "cannot %s: %s", verb, text);
}

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISLNK(mode)) return "a symbolic link";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
    if (S_ISSOCK(mode)) return "a socket";
    return "something else";
}

static slm_status check_regular(const char *path, const struct stat *info, struct slm_error *error)
{
    if (S_ISREG(info->st_mode)) return SLM_OK;
    return slm_fail(error, SLM_ERR_IO, path, "is %s, only a regular file can be used", kind_of(info->st_mode));
}

/* Opens, checks and wraps. The verb is for the error. */
static slm_status open_file(const char *path, int flags, const char *verb, struct slm_file **out, struct stat *info,
                            struct slm_error *error)
{
    size_t length = strlen(path);
    struct slm_file *file = slm_alloc(1, sizeof *file + length + 1, path, error);
    if (file == NULL) return SLM_ERR_MEMORY;
    memcpy(file->path, path, length + 1);
    do {
        file->fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
    } while (file->fd < 0 && errno == EINTR);
    slm_status status = SLM_OK;
    if (file->fd < 0 || fstat(file->fd, info) != 0) status = fail_errno(error, path, verb, errno);
    if (status == SLM_OK) status = check_regular(path, info, error);
    if (status != SLM_OK) {
        if (file->fd >= 0) (void)close(file->fd);
        slm_release(file);
        return status;
    }
    file->bytes = (uint64_t)info->st_size;
    *out = file;
    return SLM_OK;
}

static int64_t timespec_ns(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }

static slm_status posix_open_read(const char *path, struct slm_file **out, struct slm_file_info *info,
                                  struct slm_error *error)
{
    struct stat st;
    /* Looked at first, because merely opening some devices does something (rewinds a tape, arms a watchdog). */
    if (stat(path, &st) != 0) return fail_errno(error, path, "open", errno);
    SLM_TRY(check_regular(path, &st, error));
    SLM_TRY(open_file(path, O_RDONLY, "open", out, &st, error));
    if (info != NULL) {
#if defined(__APPLE__)
        int64_t mtime_ns = timespec_ns(st.st_mtimespec);
#else
        int64_t mtime_ns = timespec_ns(st.st_mtim);
#endif
        *info = (struct slm_file_info){(uint64_t)st.st_size, (uint64_t)st.st_dev, (uint64_t)st.st_ino, mtime_ns, true};
    }
    return SLM_OK;
}

/* An existing FIFO or device would be opened for writing and do something: looked at first, too. */
static slm_status posix_create(const char *path, struct slm_file **out, struct slm_error *error)
{
    struct stat st;
    if (stat(path, &st) == 0) SLM_TRY(check_regular(path, &st, error));
    return open_file(path, O_WRONLY | O_CREAT | O_TRUNC, "create", out, &st, error);
}

/* One system call moves at most this much: Linux stops at 2 GiB - 4 KiB, macOS refuses more than INT_MAX. */
static size_t io_chunk(size_t bytes) { return bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30; }

/* pread has no shared position, so several threads may read one file. A short read is continued; the end of the file
 * before the last byte is an error, since the caller knows how long the file was. */
static slm_status posix_read_at(struct slm_file *file, void *buffer, size_t bytes, uint64_t offset,
                                struct slm_error *error)
{
    char *to = buffer;
    uint64_t end;
    if (!slm_add_u64(offset, bytes, &end) || end > INT64_MAX)
        return slm_fail(error, SLM_ERR_IO, file->path, "cannot read at offset %llu", (unsigned long long)offset);
    while (bytes > 0) {
        ssize_t n = pread(file->fd, to, io_chunk(bytes), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(error, file->path, "read", errno);
        if (n == 0)
            return slm_fail(error, SLM_ERR_IO, file->path, "ends at byte %llu, %zu more bytes are needed",
                            (unsigned long long)offset, bytes);
        to += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return SLM_OK;
}

/* A full disk shows as a short write first and as ENOSPC on the next; both end here as one error. */
static slm_status posix_write(struct slm_file *file, const void *data, size_t bytes, struct slm_error *error)
{
    const char *from = data;
    while (bytes > 0) {
        ssize_t n = write(file->fd, from, io_chunk(bytes));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_errno(error, file->path, "write", n < 0 ? errno : EIO);
        from += n;
        bytes -= (size_t)n;
    }
    return SLM_OK;
}

/* As posix_write, at a place of its own. */
static slm_status posix_write_at(struct slm_file *file, const void *data, size_t bytes, uint64_t offset,
                                 struct slm_error *error)
{
    const char *from = data;
    uint64_t end;
    if (!slm_add_u64(offset, bytes, &end) || end > INT64_MAX) return fail_errno(error, file->path, "write", EFBIG);
    while (bytes > 0) {
        ssize_t n = pwrite(file->fd, from, io_chunk(bytes), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_errno(error, file->path, "write", n < 0 ? errno : EIO);
        from += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return SLM_OK;
}

static slm_status posix_truncate(struct slm_file *file, uint64_t bytes, struct slm_error *error)
{
    if (bytes > INT64_MAX) return fail_errno(error, file->path, "cut", EFBIG);
    return ftruncate(file->fd, (off_t)bytes) == 0 ? SLM_OK : fail_errno(error, file->path, "cut", errno);
}

static int sync_fd(int fd)
{
#if defined(F_FULLFSYNC) /* macOS: fsync alone stops at the drive's cache */
    if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
#endif
    return fsync(fd);
}

static slm_status posix_sync(struct slm_file *file, struct slm_error *error)
{
    return sync_fd(file->fd) == 0 ? SLM_OK : fail_errno(error, file->path, "write to disk", errno);
}

static slm_status posix_close(struct slm_file *file, struct slm_error *error)
{
    if (file == NULL) return SLM_OK;
    slm_status status = SLM_OK;
    /* Not repeated on EINTR: on Linux the descriptor is gone either way, and may already be somebody else's. */
    if (close(file->fd) != 0 && errno != EINTR) status = fail_errno(error, file->path, "close", errno);
    slm_release(file);
    return status;
}

/* A lock of flock belongs to this opening of the file, so it holds between threads too, and ends with the process. Who
 * waited for a moment may have locked a file that was renamed or removed meanwhile: then it is another one's turn to be
 * opened. File systems without locks go without. */
static slm_status posix_open_locked(const char *path, struct slm_file **out, uint64_t *bytes, struct slm_error *error)
{
    for (;;) {
        struct stat st, now;
        struct slm_file *file;
        if (lstat(path, &st) == 0) SLM_TRY(check_regular(path, &st, error));
        SLM_TRY(open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, "open", &file, &st, error));
        if (flock(file->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            (void)posix_close(file, NULL);
            return slm_fail(error, SLM_ERR_IO, path, "is being written by another process; it must end first");
        }
        const bool same = stat(path, &now) == 0 && now.st_dev == st.st_dev && now.st_ino == st.st_ino;
        if (same && fstat(file->fd, &now) == 0) { /* its size as nobody changes it any more */
            *bytes = (uint64_t)now.st_size;
            *out = file;
            return SLM_OK;
        }
        (void)posix_close(file, NULL);
    }
}

/* The folder a path lies in. */
static slm_status folder_of(const char *path, char folder[PATH_MAX], struct slm_error *error)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= PATH_MAX) return fail_errno(error, path, "find the folder", ENAMETOOLONG);
    memcpy(folder, length ? path : ".", length ? length : 1);
    folder[length ? length : 1] = '\0';
    return SLM_OK;
}

/* A rename survives a power loss only when the folder itself is written. */
static slm_status sync_folder_of(const char *path, struct slm_error *error)
{
    char folder[PATH_MAX];
    SLM_TRY(folder_of(path, folder, error));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(error, folder, "open", errno);
    /* EINVAL: a file system that cannot sync folders; there is nothing more to do then. */
    int code = sync_fd(fd) == 0 || errno == EINVAL ? 0 : errno;
    (void)close(fd);
    return code == 0 ? SLM_OK : fail_errno(error, folder, "write to disk", code);
}

static slm_status posix_rename(const char *from, const char *to, struct slm_error *error)
{
    if (rename(from, to) != 0) return fail_errno(error, to, "rename", errno);
    return sync_folder_of(to, error);
}

static slm_status posix_remove(const char *path, struct slm_error *error)
{
    return unlink(path) == 0 ? SLM_OK : fail_errno(error, path, "remove", errno);
}

/* What counts as free is what is left for ordinary users: root may have some more, and quotas may leave less. */
static slm_status posix_look_at(const char *path, struct slm_path_info *out, struct slm_error *error)
{
    char folder[PATH_MAX];
    struct stat st;
    struct statvfs fs;
    *out = (struct slm_path_info){0};
    SLM_TRY(folder_of(path, folder, error));
    if (statvfs(folder, &fs) != 0) return fail_errno(error, folder, "look at", errno);
    if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &out->free_bytes))
        out->free_bytes = UINT64_MAX;
    if (stat(path, &st) != 0) return errno == ENOENT ? SLM_OK : fail_errno(error, path, "look at", errno);
    /* Devices, pipes and sockets are neither of the two. */
    out->exists = true;
    out->is_regular = S_ISREG(st.st_mode);
    out->is_folder = S_ISDIR(st.st_mode);
    out->device = (uint64_t)st.st_dev;
    out->inode = (uint64_t)st.st_ino;
    return SLM_OK;
}

/* Private and read-only: nothing the library does can change the file, and mmap refuses length 0, which is a valid
 * (empty) file here. If another program cuts the file later, touching the lost pages raises SIGBUS: no check at open
 * can prevent that. */
static slm_status posix_map(struct slm_file *file, struct slm_map *out, struct slm_error *error)
{
    *out = (struct slm_map){0};
    if (file->bytes == 0) return SLM_OK;
    if (file->bytes > SIZE_MAX) return fail_errno(error, file->path, "map", EFBIG);
    void *data = mmap(NULL, (size_t)file->bytes, PROT_READ, MAP_PRIVATE, file->fd, 0);
    if (data == MAP_FAILED) return fail_errno(error, file->path, "map", errno);
    *out = (struct slm_map){data, (size_t)file->bytes};
    return SLM_OK;
}

static void posix_unmap(struct slm_map *map)
{
    if (map->data != NULL) (void)munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (struct slm_map){0};
}

static void posix_map_drop(const struct slm_map *map, size_t offset, size_t bytes)
{
    /* Only whole pages inside the range: the neighbours are still in use. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), start, end;
    if (map->data == NULL || offset >= map->bytes || !slm_align_up_size(offset, page, &start)) return;
    if (bytes > map->bytes - offset) bytes = map->bytes - offset;
    end = offset + bytes == map->bytes ? map->bytes : (offset + bytes) & ~(page - 1);
    if (start < end) (void)madvise((void *)(uintptr_t)(map->data + start), end - start, MADV_DONTNEED);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Never jumps, not even when the wall clock is set: for measuring and deadlines. */
static uint64_t posix_now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)timespec_ns(t);
}

/* For file times and protocols only. */
static int64_t posix_unix_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return timespec_ns(t);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct slm_thread {
    pthread_t id;
    void (*entry)(void *);
    void *arg;
};

static void *thread_main(void *opaque)
{
    struct slm_thread *thread = opaque;
    thread->entry(thread->arg);
    return NULL;
}

static slm_status posix_thread_start(void (*entry)(void *), void *arg, struct slm_thread **out, struct slm_error *error)
{
    struct slm_thread *thread = slm_alloc(1, sizeof *thread, "thread", error);
    if (thread == NULL) return SLM_ERR_MEMORY;
    thread->entry = entry;
    thread->arg = arg;
    /* The host program's signal handlers must run on its threads, not on ours. Faults stay deliverable. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&thread->id, NULL, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        slm_release(thread);
        return fail_errno(error, "thread", "start", code);
    }
    *out = thread;
    return SLM_OK;
}

static void posix_thread_join(struct slm_thread *thread)
{
    int code = pthread_join(thread->id, NULL);
    SLM_ASSERT(code == 0);
    slm_release(thread);
}

static const struct slm_os posix_table = {
    .alloc = posix_alloc,
    .release = posix_release,
    .alloc_pages = posix_alloc_pages,
    .release_pages = posix_release_pages,
    .open_read = posix_open_read,
    .create = posix_create,
    .open_locked = posix_open_locked,
    .read_at = posix_read_at,
    .write = posix_write,
    .write_at = posix_write_at,
    .truncate = posix_truncate,
    .sync = posix_sync,
    .close = posix_close,
    .rename = posix_rename,
    .remove = posix_remove,
    .look_at = posix_look_at,
    .map = posix_map,
    .unmap = posix_unmap,
    .map_drop = posix_map_drop,
    .now_ns = posix_now_ns,
    .unix_ns = posix_unix_ns,
    .thread_start = posix_thread_start,
    .thread_join = posix_thread_join,
    .park = slm_host_park,
    .unpark = slm_host_unpark,
    .n_cpus = slm_host_n_cpus,
    /* What only the kernel knows of the machine. */
    .memory_available = slm_host_memory_available,
    .energy = slm_host_energy,
};

const struct slm_os *slm_os_posix(void) { return &posix_table; }
