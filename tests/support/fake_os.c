/* SPDX-License-Identifier: MIT
 *
 * See fake_os.h. One global state, because the seam itself is global. What is alive is kept in one
 * table from address to {kind, bytes}: memory, pages, file handles, maps and threads alike, so one
 * loop finds every leak. */
#include "fake_os.h"
#include "effort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- state ----------------------------------------------------------------------------------- */

enum thing { T_MEMORY, T_PAGES, T_FILE, T_MAP, T_THREAD, T_COUNT };
static const char *const thing_names[T_COUNT] = {"memory block", "page block", "open file", "map", "thread"};

struct live { void *address; size_t bytes; enum thing thing; uint64_t number; struct live *next; };
enum { N_BUCKETS = 4096 };

struct memory_file {
    struct memory_file *next;
    char *path; /* NULL: removed or replaced, alive only through open handles */
    unsigned char *data, *synced;
    size_t bytes, synced_bytes, taken; /* taken: of the disk, by write_at */
    bool ever_synced;
    unsigned n_handles;
    bool locked;
    uint64_t inode;
};

struct fake_file { /* what struct slm_file * points to */
    struct slm_file *real;       /* or */
    struct memory_file *memory;
    bool has_lock;
    uint64_t bytes; /* as open_read tells them */
    char path[];
};

static struct {
    bool on;
    struct fake_os_plan plan;
    const struct slm_os *real, *before;
    _Atomic uint64_t counts[FAKE_CALL_COUNT], matching;
    atomic_bool fired;
    /* under the lock: */
    pthread_mutex_t lock;
    struct live *buckets[N_BUCKETS];
    size_t n_live[T_COUNT], live_bytes, peak_bytes;
    uint64_t serial, disk_left;
    struct memory_file *files;
    char problem[256]; /* the first wrong release */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) { (void)pthread_mutex_lock(&fake.lock); }
static void unlock(void) { (void)pthread_mutex_unlock(&fake.lock); }

static void *own_alloc(size_t bytes) /* the fake's own needs */
{
    void *memory = calloc(1, bytes ? bytes : 1);
    if (memory == NULL) abort();
    return memory;
}

/* Counts the call; true when it must fail. */
static bool fails(enum fake_call call)
{
    atomic_fetch_add(&fake.counts[call], 1);
    if (fake.plan.fail_at == 0 || !(fake.plan.kinds & FAKE_CAN_FAIL & FAKE_BIT(call))) return false;
    uint64_t number = atomic_fetch_add(&fake.matching, 1) + 1;
    bool hit = fake.plan.persistent ? number >= fake.plan.fail_at : number == fake.plan.fail_at;
    if (hit) atomic_store(&fake.fired, true);
    return hit;
}

static slm_status fail_as(struct slm_error *error, const char *where, const char *verb, int reason)
{
    return slm_fail(error, SLM_ERR_IO, where, "cannot %s: %s (injected)", verb, strerror(reason));
}

static slm_status injected(struct slm_error *error, const char *where, const char *verb)
{
    return fail_as(error, where, verb, fake.plan.reason ? fake.plan.reason : EIO);
}

/* ---- what is alive --------------------------------------------------------------------------- */

static struct live **bucket_of(const void *address) { return &fake.buckets[((uintptr_t)address >> 4) % N_BUCKETS]; }

static void born(void *address, size_t bytes, enum thing thing)
{
    struct live *live = own_alloc(sizeof *live);
    lock();
    struct live **bucket = bucket_of(address);
    *live = (struct live){address, bytes, thing, ++fake.serial, *bucket};
    *bucket = live;
    fake.n_live[thing]++;
    if (thing == T_MEMORY || thing == T_PAGES) fake.live_bytes += bytes;
    if (fake.live_bytes > fake.peak_bytes) fake.peak_bytes = fake.live_bytes;
    unlock();
}

/* False when it was not alive, or with another size: then it must not reach the real table. */
static bool died(void *address, size_t bytes, enum thing thing)
{
    lock();
    struct live **link = bucket_of(address);
    while (*link != NULL && ((*link)->address != address || (*link)->thing != thing)) link = &(*link)->next;
    struct live *live = *link;
    bool known = live != NULL, right = known && live->bytes == bytes;
    if (!right && fake.problem[0] == '\0')
        (void)snprintf(fake.problem, sizeof fake.problem, "%s %p of %zu bytes given back as %zu bytes",
                       thing_names[thing], address, known ? live->bytes : 0, bytes);
    if (known) {
        *link = live->next;
        fake.n_live[thing]--;
        if (thing == T_MEMORY || thing == T_PAGES) fake.live_bytes -= live->bytes;
        free(live);
    }
    unlock();
    return right;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void *fake_alloc(size_t bytes, size_t align)
{
    if (fails(FAKE_ALLOC)) return NULL;
    void *memory = fake.real->alloc(bytes, align);
    if (memory != NULL) {
        memset(memory, 0xA5, bytes); /* the contract says: not zeroed */
        born(memory, bytes, T_MEMORY);
    }
    return memory;
}

static void fake_release(void *memory, size_t bytes)
{
    atomic_fetch_add(&fake.counts[FAKE_RELEASE], 1);
    if (memory != NULL && died(memory, bytes, T_MEMORY)) fake.real->release(memory, bytes);
}

static void *fake_alloc_pages(size_t bytes)
{
    if (fails(FAKE_ALLOC_PAGES)) return NULL;
    void *memory = fake.real->alloc_pages(bytes);
    if (memory != NULL) born(memory, bytes, T_PAGES);
    return memory;
}

static void fake_release_pages(void *memory, size_t bytes)
{
    atomic_fetch_add(&fake.counts[FAKE_RELEASE_PAGES], 1);
    if (memory != NULL && died(memory, bytes, T_PAGES)) fake.real->release_pages(memory, bytes);
}

/* ---- files in memory (all under the lock) ---------------------------------------------------- */

static struct memory_file *find_file(const char *path)
{
    struct memory_file *file = fake.files;
    while (file != NULL && (file->path == NULL || strcmp(file->path, path) != 0)) file = file->next;
    return file;
}

static void free_file(struct memory_file *file)
{
    for (struct memory_file **link = &fake.files; *link != NULL; link = &(*link)->next) {
        if (*link != file) continue;
        *link = file->next;
        break;
    }
    free(file->path);
    free(file->data);
    free(file->synced);
    free(file);
}

static void unlink_file(struct memory_file *file)
{
    free(file->path);
    file->path = NULL;
    if (file->n_handles == 0) free_file(file);
}

static struct memory_file *make_file(const char *path)
{
    struct memory_file *file = find_file(path);
    if (file != NULL) { /* create truncates */
        file->bytes = 0;
        return file;
    }
    file = own_alloc(sizeof *file);
    file->path = own_alloc(strlen(path) + 1);
    memcpy(file->path, path, strlen(path) + 1);
    file->inode = ++fake.serial;
    file->next = fake.files;
    fake.files = file;
    return file;
}

/* As long as that, with zeros where it grows. */
static void resize(struct memory_file *file, size_t bytes)
{
    if (bytes > file->bytes) {
        unsigned char *grown = realloc(file->data, bytes);
        if (grown == NULL) abort();
        memset(grown + file->bytes, 0, bytes - file->bytes);
        file->data = grown;
    }
    file->bytes = bytes;
}

static void place(struct memory_file *file, const void *data, size_t bytes, size_t offset)
{
    if (bytes == 0) return;
    if (offset + bytes > file->bytes) resize(file, offset + bytes);
    memcpy(file->data + offset, data, bytes);
}

static void append(struct memory_file *file, const void *data, size_t bytes) { place(file, data, bytes, file->bytes); }

static void sync_file(struct memory_file *file)
{
    free(file->synced);
    file->synced = own_alloc(file->bytes);
    if (file->bytes > 0) memcpy(file->synced, file->data, file->bytes);
    file->synced_bytes = file->bytes;
    file->ever_synced = true;
}

/* ---- files ----------------------------------------------------------------------------------- */

static struct fake_file *own(struct slm_file *file) { return (struct fake_file *)(void *)file; }

static struct slm_file *new_handle(const char *path, struct slm_file *real, struct memory_file *memory, uint64_t bytes)
{
    struct fake_file *file = own_alloc(sizeof *file + strlen(path) + 1);
    *file = (struct fake_file){.real = real, .memory = memory, .bytes = bytes};
    memcpy(file->path, path, strlen(path) + 1);
    born(file, 0, T_FILE);
    return (struct slm_file *)(void *)file;
}

static slm_status fake_open_read(const char *path, struct slm_file **out, struct slm_file_info *info,
                                 struct slm_error *error)
{
    if (fails(FAKE_OPEN_READ)) return injected(error, path, "open");
    lock();
    struct memory_file *memory = find_file(path);
    if (memory != NULL) memory->n_handles++;
    unlock();
    struct slm_file_info told = {0};
    struct slm_file *real = NULL;
    if (memory != NULL)
        told = (struct slm_file_info){memory->bytes, 1, memory->inode, 0, true};
    else
        SLM_TRY(fake.real->open_read(path, &real, &told, error));
    if (info != NULL) *info = told;
    *out = new_handle(path, real, memory, told.bytes);
    return SLM_OK;
}

static slm_status fake_create(const char *path, struct slm_file **out, struct slm_error *error)
{
    if (fails(FAKE_CREATE)) return injected(error, path, "create");
    struct slm_file *real = NULL;
    struct memory_file *memory = NULL;
    if (fake.plan.files_in_memory) {
        lock();
        memory = make_file(path);
        memory->n_handles++;
        unlock();
    } else {
        SLM_TRY(fake.real->create(path, &real, error));
    }
    *out = new_handle(path, real, memory, 0);
    return SLM_OK;
}

static slm_status fake_open_locked(const char *path, struct slm_file **out, uint64_t *bytes, struct slm_error *error)
{
    if (fails(FAKE_OPEN_LOCKED)) return injected(error, path, "open");
    struct slm_file *real = NULL;
    struct memory_file *memory = NULL;
    bool locked = false;
    if (fake.plan.files_in_memory) {
        lock();
        memory = find_file(path);
        if (memory == NULL) memory = make_file(path);
        locked = memory->locked;
        if (!locked) memory->n_handles++;
        memory->locked = true;
        *bytes = memory->bytes;
        unlock();
    } else {
        SLM_TRY(fake.real->open_locked(path, &real, bytes, error));
    }
    if (locked) return slm_fail(error, SLM_ERR_IO, path, "is being written by another process");
    *out = new_handle(path, real, memory, *bytes);
    own(*out)->has_lock = true;
    return SLM_OK;
}

/* The readable part of a request, when the file has been cut. */
static size_t readable(const struct fake_file *file, uint64_t offset, size_t bytes)
{
    uint64_t end = file->memory != NULL ? file->memory->bytes : UINT64_MAX;
    if (fake.plan.file_ends_at != 0 && fake.plan.file_ends_at < end) end = fake.plan.file_ends_at;
    if (offset >= end) return 0;
    return bytes < end - offset ? bytes : (size_t)(end - offset);
}

static slm_status fake_read_at(struct slm_file *handle, void *buffer, size_t bytes, uint64_t offset,
                               struct slm_error *error)
{
    struct fake_file *file = own(handle);
    if (fails(FAKE_READ_AT)) return injected(error, file->path, "read");
    size_t n = readable(file, offset, bytes);
    if (file->memory == NULL)
        SLM_TRY(fake.real->read_at(file->real, buffer, n, offset, error));
    else if (n > 0)
        memcpy(buffer, file->memory->data + offset, n);
    if (n == bytes) return SLM_OK;
    return slm_fail(error, SLM_ERR_IO, file->path, "ends at byte %" PRIu64 ", %zu more bytes are needed", offset + n,
                    bytes - n);
}

static slm_status put_bytes(struct fake_file *file, const void *data, size_t bytes, struct slm_error *error)
{
    if (file->memory == NULL) return fake.real->write(file->real, data, bytes, error);
    lock();
    append(file->memory, data, bytes);
    unlock();
    return SLM_OK;
}

static slm_status fake_write(struct slm_file *handle, const void *data, size_t bytes, struct slm_error *error)
{
    struct fake_file *file = own(handle);
    if (fails(FAKE_WRITE)) {
        SLM_TRY(put_bytes(file, data, bytes / 2, error));
        return injected(error, file->path, "write");
    }
    size_t fits = bytes;
    if (fake.plan.disk_bytes != 0) {
        lock();
        if (fake.disk_left < fits) fits = (size_t)fake.disk_left;
        fake.disk_left -= fits;
        unlock();
    }
    SLM_TRY(put_bytes(file, data, fits, error));
    if (fits == bytes) return SLM_OK;
    atomic_store(&fake.fired, true);
    return fail_as(error, file->path, "write", ENOSPC);
}

/* What is written takes room, over what was there too: nobody asks. */
static slm_status fake_write_at(struct slm_file *handle, const void *data, size_t bytes, uint64_t offset,
                                struct slm_error *error)
{
    struct fake_file *file = own(handle);
    if (file->memory == NULL) {
        if (fails(FAKE_WRITE_AT)) return injected(error, file->path, "write");
        return fake.real->write_at(file->real, data, bytes, offset, error);
    }
    const bool fail = fails(FAKE_WRITE_AT);
    size_t fits = fail ? bytes / 2 : bytes;
    lock();
    if (fake.plan.disk_bytes != 0) {
        if (fake.disk_left < fits) fits = (size_t)fake.disk_left;
        fake.disk_left -= fits;
    }
    file->memory->taken += fits;
    place(file->memory, data, fits, (size_t)offset);
    unlock();
    if (fail) return injected(error, file->path, "write");
    if (fits == bytes) return SLM_OK;
    atomic_store(&fake.fired, true);
    return fail_as(error, file->path, "write", ENOSPC);
}

static slm_status fake_truncate(struct slm_file *handle, uint64_t bytes, struct slm_error *error)
{
    struct fake_file *file = own(handle);
    if (fails(FAKE_TRUNCATE)) return injected(error, file->path, "cut");
    if (file->memory == NULL) return fake.real->truncate(file->real, bytes, error);
    lock();
    resize(file->memory, (size_t)bytes);
    if (bytes == 0) fake.disk_left += file->memory->taken, file->memory->taken = 0;
    unlock();
    return SLM_OK;
}

static slm_status fake_sync(struct slm_file *handle, struct slm_error *error)
{
    struct fake_file *file = own(handle);
    if (fails(FAKE_SYNC)) return injected(error, file->path, "write to disk");
    if (file->memory == NULL) return fake.real->sync(file->real, error);
    lock();
    sync_file(file->memory);
    unlock();
    return SLM_OK;
}

static slm_status fake_close(struct slm_file *handle, struct slm_error *error)
{
    if (handle == NULL) return fake.real->close(NULL, error);
    struct fake_file *file = own(handle);
    bool fail = fails(FAKE_CLOSE);
    slm_status status = SLM_OK;
    if (!died(file, 0, T_FILE)) return SLM_OK; /* closed twice: recorded */
    if (file->memory != NULL) {
        lock();
        file->memory->n_handles--;
        if (file->has_lock) file->memory->locked = false;
        if (file->memory->n_handles == 0 && file->memory->path == NULL) free_file(file->memory);
        unlock();
    } else {
        status = fake.real->close(file->real, error);
    }
    if (fail) status = injected(error, file->path, "close");
    free(file);
    return status;
}

static slm_status fake_rename(const char *from, const char *to, struct slm_error *error)
{
    if (fails(FAKE_RENAME)) return injected(error, to, "rename");
    lock();
    struct memory_file *file = find_file(from), *target = find_file(to);
    if (file != NULL && target != file) {
        if (target != NULL) unlink_file(target);
        free(file->path);
        file->path = own_alloc(strlen(to) + 1);
        memcpy(file->path, to, strlen(to) + 1);
    }
    unlock();
    return file != NULL ? SLM_OK : fake.real->rename(from, to, error);
}

static slm_status fake_remove(const char *path, struct slm_error *error)
{
    if (fails(FAKE_REMOVE)) return injected(error, path, "remove");
    lock();
    struct memory_file *file = find_file(path);
    if (file != NULL) unlink_file(file);
    unlock();
    return file != NULL ? SLM_OK : fake.real->remove(path, error);
}

static slm_status fake_look_at(const char *path, struct slm_path_info *out, struct slm_error *error)
{
    if (fails(FAKE_LOOK_AT)) return injected(error, path, "look at");
    SLM_TRY(fake.real->look_at(path, out, error));
    lock();
    const struct memory_file *memory = find_file(path);
    if (memory != NULL)
        *out = (struct slm_path_info){.exists = true, .is_regular = true, .device = 1, .inode = memory->inode,
                                      .free_bytes = out->free_bytes};
    if (fake.plan.disk_bytes != 0) out->free_bytes = fake.plan.hide_full_disk ? UINT64_MAX : fake.disk_left;
    unlock();
    return SLM_OK;
}

static bool copies_maps(const struct fake_file *file) { return file->memory != NULL || fake.plan.heap_maps; }

static slm_status fake_map(struct slm_file *handle, struct slm_map *out, struct slm_error *error)
{
    struct fake_file *file = own(handle);
    if (fails(FAKE_MAP)) return injected(error, file->path, "map");
    uint64_t end = fake.plan.file_ends_at;
    size_t bytes = (size_t)(end != 0 && end < file->bytes ? end : file->bytes);
    *out = (struct slm_map){0};
    if (bytes == 0) return SLM_OK;
    if (!copies_maps(file)) {
        SLM_TRY(fake.real->map(file->real, out, error));
        born((void *)(uintptr_t)out->data, out->bytes, T_MAP);
        /* Only the view is cut; unmapping needs the address alone, the length is remembered here. */
        out->bytes = bytes;
        return SLM_OK;
    }
    unsigned char *copy = own_alloc(bytes);
    slm_status status = SLM_OK;
    if (file->memory != NULL)
        memcpy(copy, file->memory->data, bytes);
    else
        status = fake.real->read_at(file->real, copy, bytes, 0, error);
    if (status != SLM_OK) {
        free(copy);
        return status;
    }
    *out = (struct slm_map){copy, bytes};
    born(copy, 0, T_MAP); /* 0 bytes mark a heap copy */
    return SLM_OK;
}

/* Bytes the map was born with: SIZE_MAX when unknown. */
static size_t map_born_bytes(const struct slm_map *map)
{
    size_t bytes = SIZE_MAX;
    lock();
    for (struct live *live = *bucket_of(map->data); live != NULL; live = live->next)
        if (live->address == map->data && live->thing == T_MAP) bytes = live->bytes;
    unlock();
    return bytes;
}

static void fake_unmap(struct slm_map *map)
{
    atomic_fetch_add(&fake.counts[FAKE_UNMAP], 1);
    if (map->data != NULL) {
        size_t bytes = map_born_bytes(map);
        void *address = (void *)(uintptr_t)map->data;
        if (died(address, bytes, T_MAP)) {
            if (bytes == 0)
                free(address);
            else
                fake.real->unmap(&(struct slm_map){map->data, bytes});
        }
    }
    *map = (struct slm_map){0};
}

static void fake_map_drop(const struct slm_map *map, size_t offset, size_t bytes)
{
    atomic_fetch_add(&fake.counts[FAKE_MAP_DROP], 1);
    if (map->data != NULL && map_born_bytes(map) != 0) fake.real->map_drop(map, offset, bytes);
}

/* ---- time, threads, machine ------------------------------------------------------------------ */

static uint64_t fake_now_ns(void)
{
    atomic_fetch_add(&fake.counts[FAKE_NOW_NS], 1);
    return fake.real->now_ns();
}

static int64_t fake_unix_ns(void)
{
    atomic_fetch_add(&fake.counts[FAKE_UNIX_NS], 1);
    return fake.real->unix_ns();
}

static slm_status fake_thread_start(void (*entry)(void *), void *arg, struct slm_thread **out, struct slm_error *error)
{
    if (fails(FAKE_THREAD_START)) return fail_as(error, "thread", "start", EAGAIN);
    SLM_TRY(fake.real->thread_start(entry, arg, out, error));
    born(*out, 0, T_THREAD);
    return SLM_OK;
}

static void fake_thread_join(struct slm_thread *thread)
{
    atomic_fetch_add(&fake.counts[FAKE_THREAD_JOIN], 1);
    if (died(thread, 0, T_THREAD)) fake.real->thread_join(thread);
}

static void fake_park(volatile uint32_t *word, uint32_t while_equal)
{
    atomic_fetch_add(&fake.counts[FAKE_PARK], 1);
    fake.real->park(word, while_equal);
}

static void fake_unpark(volatile uint32_t *word)
{
    atomic_fetch_add(&fake.counts[FAKE_UNPARK], 1);
    fake.real->unpark(word);
}

static unsigned fake_n_cpus(void)
{
    atomic_fetch_add(&fake.counts[FAKE_N_CPUS], 1);
    return fake.plan.n_cpus ? fake.plan.n_cpus : fake.real->n_cpus();
}

static uint64_t fake_memory_available(void)
{
    atomic_fetch_add(&fake.counts[FAKE_MEMORY_AVAILABLE], 1);
    return fake.plan.memory_available ? fake.plan.memory_available : fake.real->memory_available();
}

static size_t fake_energy(struct slm_energy out[SLM_MAX_PACKAGES])
{
    atomic_fetch_add(&fake.counts[FAKE_ENERGY], 1);
    return fake.real->energy(out);
}

static const struct slm_os fake_table = {
    .alloc = fake_alloc, .release = fake_release, .alloc_pages = fake_alloc_pages, .release_pages = fake_release_pages,
    .open_read = fake_open_read, .create = fake_create, .open_locked = fake_open_locked,
    .read_at = fake_read_at, .write = fake_write, .write_at = fake_write_at, .truncate = fake_truncate,
    .sync = fake_sync,
    .close = fake_close, .rename = fake_rename, .remove = fake_remove,
    .look_at = fake_look_at, .map = fake_map, .unmap = fake_unmap,
    .map_drop = fake_map_drop, .now_ns = fake_now_ns, .unix_ns = fake_unix_ns, .thread_start = fake_thread_start,
    .thread_join = fake_thread_join, .park = fake_park, .unpark = fake_unpark, .n_cpus = fake_n_cpus,
    .memory_available = fake_memory_available, .energy = fake_energy,
};

/* ---- the tests' side ------------------------------------------------------------------------- */

void fake_os_start(const struct fake_os_plan *plan)
{
    SLM_ASSERT(!fake.on);
    fake.on = true;
    fake.plan = plan != NULL ? *plan : (struct fake_os_plan){0};
    for (int i = 0; i < FAKE_CALL_COUNT; i++) atomic_store(&fake.counts[i], 0);
    atomic_store(&fake.matching, 0);
    atomic_store(&fake.fired, false);
    fake.peak_bytes = 0;
    fake.serial = 0;
    fake.disk_left = fake.plan.disk_bytes;
    fake.problem[0] = '\0';
    fake.real = slm_os_posix();
    fake.before = slm_os_replace(&fake_table);
}

void fake_os_stop(void)
{
    SLM_ASSERT(fake.on);
    (void)slm_os_replace(fake.before);
    while (fake.files != NULL) free_file(fake.files);
    for (size_t i = 0; i < N_BUCKETS; i++) { /* what leaked stays leaked, so that LSan may speak too; forget it here */
        while (fake.buckets[i] != NULL) {
            struct live *live = fake.buckets[i];
            fake.buckets[i] = live->next;
            free(live);
        }
    }
    memset(fake.n_live, 0, sizeof fake.n_live);
    fake.live_bytes = 0;
    fake.on = false;
}

void fake_os_arm(unsigned kinds, uint64_t fail_at, bool persistent)
{
    fake.plan.kinds = kinds;
    fake.plan.fail_at = fail_at;
    fake.plan.persistent = persistent;
    atomic_store(&fake.matching, 0);
    atomic_store(&fake.fired, false);
}

bool fake_os_fired(void) { return atomic_load(&fake.fired); }

uint64_t fake_os_count(unsigned kinds)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < FAKE_CALL_COUNT; i++)
        if (kinds & FAKE_BIT(i)) sum += atomic_load(&fake.counts[i]);
    return sum;
}

struct fake_os_use fake_os_use(void)
{
    lock();
    struct fake_os_use use = {fake.live_bytes, fake.peak_bytes, fake.n_live[T_MEMORY] + fake.n_live[T_PAGES],
                              fake.n_live[T_FILE], fake.n_live[T_MAP], fake.n_live[T_THREAD]};
    unlock();
    return use;
}

const char *fake_os_problem(void)
{
    static char text[256];
    lock();
    (void)snprintf(text, sizeof text, "%s", fake.problem);
    for (size_t i = 0; i < N_BUCKETS && text[0] == '\0'; i++) {
        const struct live *live = fake.buckets[i];
        if (live != NULL)
            (void)snprintf(text, sizeof text, "%s of %zu bytes not given back (number %" PRIu64 " since the start)",
                           thing_names[live->thing], live->bytes, live->number);
    }
    unlock();
    return text[0] != '\0' ? text : NULL;
}

void fake_os_assert_clean(void)
{
    const char *problem = fake_os_problem();
    if (problem != NULL) fail_msg("%s", problem);
}

void fake_os_put(const char *path, const void *data, size_t bytes)
{
    lock();
    struct memory_file *file = make_file(path);
    append(file, data, bytes);
    sync_file(file);
    unlock();
}

const void *fake_os_get(const char *path, size_t *bytes)
{
    lock();
    struct memory_file *file = find_file(path);
    unlock();
    if (file == NULL) return NULL;
    *bytes = file->bytes;
    return file->data != NULL ? (const void *)file->data : "";
}

void fake_os_more_room(uint64_t bytes)
{
    lock();
    fake.disk_left += bytes;
    unlock();
}

size_t fake_os_n_files(void)
{
    size_t n = 0;
    lock();
    for (struct memory_file *file = fake.files; file != NULL; file = file->next) n += file->path != NULL;
    unlock();
    return n;
}

void fake_os_power_loss(void)
{
    lock();
    for (struct memory_file *file = fake.files, *next; file != NULL; file = next) {
        next = file->next;
        if (file->path == NULL) continue;
        if (!file->ever_synced) {
            unlink_file(file);
            continue;
        }
        file->bytes = 0;
        append(file, file->synced, file->synced_bytes);
    }
    unlock();
}

struct fake_os_runs fake_os_every_failure(const struct fake_os_plan *plan, unsigned kinds, bool persistent,
                                          slm_status (*body)(void *user, struct slm_error *error), void *user)
{
    struct fake_os_runs runs = {0};
    for (uint64_t n = 1;; n = test_next(n)) {
        struct fake_os_plan with = plan != NULL ? *plan : (struct fake_os_plan){0};
        with.kinds = kinds;
        with.fail_at = n;
        with.persistent = persistent;
        struct slm_error error = {0};
        fake_os_start(&with);
        slm_status status = body(user, &error);
        bool fired = fake_os_fired();
        if (!fired && status != SLM_OK)
            fail_msg("without a failed call: %s: %s: %s", slm_status_name(status), error.where, error.message);
        if (status != SLM_OK && (error.status != status || error.where[0] == '\0' || error.message[0] == '\0'))
            fail_msg("failing call %" PRIu64 ": %s, but the error says %s '%s' '%s'", n, slm_status_name(status),
                     slm_status_name(error.status), error.where, error.message);
        const char *problem = fake_os_problem();
        if (problem != NULL)
            fail_msg("failing call %" PRIu64 " of kinds %x ('%s'): %s", n, kinds, error.message, problem);
        fake_os_stop();
        if (!fired) return runs;
        if (status == SLM_OK)
            runs.n_recovered++;
        else
            runs.n_failed++;
    }
}
