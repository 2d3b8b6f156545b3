/* SPDX-License-Identifier: MIT
 * The operating-system seam: every allocation, file, map, clock and thread of the library goes
 * through this table, so that tests can count, fail or fake each one. os_posix.c is the real one;
 * tests/support/fake_os.c the other. Deliberately not here: sockets and processes (they come with
 * the server). */
#ifndef SLM_BASE_OS_H
#define SLM_BASE_OS_H
#include "base/error.h"

struct slm_file; /* an open file */

struct slm_map { /* a read-only view of a whole file */
    const unsigned char *data; /* NULL when empty */
    size_t bytes;
};

struct slm_file_info {
    uint64_t bytes, device, inode;
    int64_t mtime_ns;
    bool is_regular;
};

struct slm_path_info { /* what is at a path, and room for more */
    bool exists, is_regular, is_folder;
    uint64_t device, inode;
    uint64_t free_bytes; /* that this process may still write in the path's folder */
};

/* What one CPU package has used since some time: it counts up and begins again at `range`. */
struct slm_energy { uint64_t microjoules, range; };
enum { SLM_MAX_PACKAGES = 16 };

struct slm_thread; /* a running thread */

struct slm_os {
    /* Memory. align is a power of two >= 16; the memory is not zeroed. NULL when out of memory. */
    void *(*alloc)(size_t bytes, size_t align);
    void (*release)(void *memory, size_t bytes); /* bytes as given to alloc; NULL is fine */
    /* Page-backed, zeroed, 2 MiB aligned when large; huge pages where the system offers them. */
    void *(*alloc_pages)(size_t bytes);
    void (*release_pages)(void *memory, size_t bytes);

    /* Files. Errors name the path and the system's reason. open_read refuses anything but a regular
     * file and never blocks (FIFO, device). */
    slm_status (*open_read)(const char *path, struct slm_file **out, struct slm_file_info *info,
                            struct slm_error *error);
    slm_status (*create)(const char *path, struct slm_file **out, struct slm_error *error); /* truncates */
    /* For reading and writing, made when it is not there, as it is when it is; bytes as it is. Nobody else has it open
     * in this way until it is closed: SLM_ERR_IO says so. Not through a symbolic link. */
    slm_status (*open_locked)(const char *path, struct slm_file **out, uint64_t *bytes, struct slm_error *error);
    slm_status (*read_at)(struct slm_file *file, void *buffer, size_t bytes, uint64_t offset,
                          struct slm_error *error);                                         /* all or error */
    slm_status (*write)(struct slm_file *file, const void *data, size_t bytes, struct slm_error *error);
    /* Beyond the end the file grows, with zeros between. */
    slm_status (*write_at)(struct slm_file *file, const void *data, size_t bytes, uint64_t offset,
                           struct slm_error *error);
    slm_status (*truncate)(struct slm_file *file, uint64_t bytes, struct slm_error *error);
    slm_status (*sync)(struct slm_file *file, struct slm_error *error);
    slm_status (*close)(struct slm_file *file, struct slm_error *error); /* frees the handle even on error */
    slm_status (*rename)(const char *from, const char *to, struct slm_error *error); /* and syncs the folder */
    slm_status (*remove)(const char *path, struct slm_error *error);
    /* Nothing is opened. A missing file is no error, a missing folder is. */
    slm_status (*look_at)(const char *path, struct slm_path_info *out, struct slm_error *error);
    slm_status (*map)(struct slm_file *file, struct slm_map *out, struct slm_error *error); /* outlives close */
    void (*unmap)(struct slm_map *map);
    /* These pages may leave memory; reading brings them back from the file. */
    void (*map_drop)(const struct slm_map *map, size_t offset, size_t bytes);

    /* Time. */
    uint64_t (*now_ns)(void);  /* monotonic */
    int64_t (*unix_ns)(void);  /* wall clock */

    /* Threads. */
    slm_status (*thread_start)(void (*entry)(void *), void *arg, struct slm_thread **out, struct slm_error *error);
    void (*thread_join)(struct slm_thread *thread);
    void (*park)(volatile uint32_t *word, uint32_t while_equal); /* futex wait; may wake early */
    void (*unpark)(volatile uint32_t *word);                     /* wakes all */

    /* The machine. */
    unsigned (*n_cpus)(void);          /* CPUs this process may use, >= 1 (affinity and cgroup quota counted) */
    uint64_t (*memory_available)(void); /* bytes that can be used now (cgroup limits counted); 0 = unknown */
    /* One entry a CPU package, in the same order each time; returns how many. 0: there are no counters, or not for this
     * user. */
    size_t (*energy)(struct slm_energy out[SLM_MAX_PACKAGES]);
};

/* The table in use; never NULL. */
const struct slm_os *slm_os(void);
/* Replaces it (tests only; not while the library is in use). NULL restores the real one. Returns the previous one. */
const struct slm_os *slm_os_replace(const struct slm_os *os);
/* The real one. */
const struct slm_os *slm_os_posix(void);

/* Shorthands. slm_alloc fails with a sentence; sizes are n * size checked; memory is zeroed,
 * 64-byte aligned. The size is remembered in front of the block, so slm_release needs none. */
void *slm_alloc(size_t n, size_t size, const char *where, struct slm_error *error);
void *slm_realloc(void *memory, size_t n, size_t size, const char *where, struct slm_error *error); /* new part zero */
void slm_release(void *memory);
#endif
