/* SPDX-License-Identifier: MIT
 *
 * A faulty operating system for tests: a table that wraps the real one, counts every call, fails
 * the ones it is told to, keeps written files in memory, and knows at the end what was not given
 * back.
 *
 *     fake_os_start(&(struct fake_os_plan){.kinds = FAKE_MEMORY, .fail_at = 7});
 *     status = slm_model_open(...);            // the 7th allocation fails
 *     ...
 *     fake_os_assert_clean();                  // no leak, no wrong release, no open file, map or thread
 *     fake_os_stop();
 *
 * or, for "fails cleanly wherever it fails", one call that does this for 1, 2, 3 ... until nothing
 * fails any more:
 *
 *     fake_os_every_failure(NULL, FAKE_MEMORY, false, open_and_generate, &data);
 *
 * "Nothing is allocated between here and there": compare fake_os_count(FAKE_MEMORY) before and
 * after.
 *
 * One fake at a time; start and stop it while the library is idle. Counting and failing are
 * thread-safe. Memory that third-party libraries take from malloc is not seen. The fake's own
 * memory comes from malloc, so it never counts. */
#ifndef SLM_TEST_FAKE_OS_H
#define SLM_TEST_FAKE_OS_H
#include "base/os.h"

enum fake_call { /* in the order of struct slm_os */
    FAKE_ALLOC, FAKE_RELEASE, FAKE_ALLOC_PAGES, FAKE_RELEASE_PAGES,
    FAKE_OPEN_READ, FAKE_CREATE, FAKE_OPEN_LOCKED, FAKE_READ_AT, FAKE_WRITE, FAKE_WRITE_AT, FAKE_TRUNCATE, FAKE_SYNC,
    FAKE_CLOSE, FAKE_RENAME, FAKE_REMOVE,
    FAKE_LOOK_AT, FAKE_MAP,
    FAKE_UNMAP, FAKE_MAP_DROP, FAKE_NOW_NS, FAKE_UNIX_NS, FAKE_THREAD_START, FAKE_THREAD_JOIN, FAKE_PARK, FAKE_UNPARK,
    FAKE_N_CPUS, FAKE_MEMORY_AVAILABLE, FAKE_ENERGY,
    FAKE_CALL_COUNT
};

/* Sets of calls, for `kinds`. Only those in FAKE_CAN_FAIL have a way to fail; others are counted, never failed. */
#define FAKE_BIT(call) (1u << (call))
enum {
    FAKE_MEMORY = FAKE_BIT(FAKE_ALLOC) | FAKE_BIT(FAKE_ALLOC_PAGES),
    FAKE_FILES = FAKE_BIT(FAKE_OPEN_READ) | FAKE_BIT(FAKE_CREATE) | FAKE_BIT(FAKE_OPEN_LOCKED) |
                 FAKE_BIT(FAKE_READ_AT) | FAKE_BIT(FAKE_WRITE) | FAKE_BIT(FAKE_WRITE_AT) | FAKE_BIT(FAKE_TRUNCATE) |
                 FAKE_BIT(FAKE_SYNC) | FAKE_BIT(FAKE_CLOSE) | FAKE_BIT(FAKE_RENAME) | FAKE_BIT(FAKE_REMOVE) |
                 FAKE_BIT(FAKE_LOOK_AT) | FAKE_BIT(FAKE_MAP),
    FAKE_THREADS = FAKE_BIT(FAKE_THREAD_START),
    FAKE_CAN_FAIL = FAKE_MEMORY | FAKE_FILES | FAKE_THREADS,
};

struct fake_os_plan {
    unsigned kinds;    /* which calls fail_at counts, and fails */
    uint64_t fail_at;  /* 1 = the first of them; 0 = none */
    bool persistent;   /* that one and every later one; otherwise that one only */
    int reason;        /* errno in the error's text, e.g. ENOSPC; 0 = EIO. A failed write writes its first half. */

    bool files_in_memory;  /* create() and open_locked() make files in memory, which the others then see first; other
                            * paths still reach the disk for reading */
    uint64_t disk_bytes;   /* the disk takes this many more bytes, then ENOSPC after a partial write; 0 = no end */
    bool hide_full_disk;   /* look_at() does not tell of disk_bytes: others fill the disk meanwhile */
    uint64_t file_ends_at; /* read files are cut short here behind the reader's back: open_read still tells the old
                            * length, read_at beyond it fails after filling the part that exists,
                            * map gives the shorter view; 0 = no */
    bool heap_maps;        /* map() gives an exact-size heap copy, so that ASan sees a byte read past the end; nothing
                            * is dropped from it */

    unsigned n_cpus;           /* what n_cpus() answers; 0 = the truth */
    uint64_t memory_available; /* what memory_available() answers; 0 = the truth */
};

void fake_os_start(const struct fake_os_plan *plan); /* NULL: a plan of zeros: only counts */
void fake_os_stop(void);                             /* back to the real one; frees the files in memory */

/* Changes which call fails from now on, counting from 1 again. Other parts of the plan stay. */
void fake_os_arm(unsigned kinds, uint64_t fail_at, bool persistent);
bool fake_os_fired(void); /* has a call been failed since start or arm? */

/* Calls since start, of all the given kinds together. */
uint64_t fake_os_count(unsigned kinds);

struct fake_os_use {
    size_t live_bytes, peak_bytes; /* alloc and alloc_pages together */
    size_t live_blocks, open_files, live_maps, live_threads;
};
struct fake_os_use fake_os_use(void);
/* What was not given back, or was given back wrongly (unknown pointer, other size; such a release
 * goes no further), as a sentence; NULL when all is well. Valid until the next call. */
const char *fake_os_problem(void);
void fake_os_assert_clean(void); /* fails the cmocka test when there is a problem */

/* Files in memory. get returns NULL when there is none; valid until the file changes. */
void fake_os_put(const char *path, const void *data, size_t bytes);
const void *fake_os_get(const char *path, size_t *bytes);
size_t fake_os_n_files(void);
/* The disk takes so many bytes more than it still does. */
void fake_os_more_room(uint64_t bytes);
/* The power goes off: every file in memory becomes what it was at its last sync; those never synced are gone. */
void fake_os_power_loss(void);

/* Runs body with the 1st, 2nd, 3rd ... call of the kinds failing (effort.h: where that is far too slow, beyond
 * the 32nd only some of them), until a run meets no failure;
 * that one must return SLM_OK. After a failure body must return an error and have filled it
 * (status, where, message), or recover and return SLM_OK; either way everything must have been
 * given back. Fails the cmocka test otherwise. plan may be NULL; its kinds, fail_at and persistent
 * are ignored. */
struct fake_os_runs { uint64_t n_failed, n_recovered; };
struct fake_os_runs fake_os_every_failure(const struct fake_os_plan *plan, unsigned kinds, bool persistent,
                                          slm_status (*body)(void *user, struct slm_error *error), void *user);
#endif
