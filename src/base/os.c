/* SPDX-License-Identifier: MIT
 *
 * The seam itself: which operating-system table is in use, and the three allocation helpers
 * everybody calls.
 *
 * slm_alloc puts a 64-byte header in front of each block: the size, so that slm_release needs none
 * and a table that counts bytes stays exact, and a mark that turns a wild or double release into an
 * assertion instead of a corrupted heap. 64 bytes keep the block itself aligned for the widest
 * vector loads. Deliberately not here: any system call (os_posix.c). */
#include "base/os.h"

#include <string.h>

#include "base/checked.h"

static const struct slm_os *replaced; /* NULL: the real one */

const struct slm_os *slm_os(void) { return replaced != NULL ? replaced : slm_os_posix(); }

const struct slm_os *slm_os_replace(const struct slm_os *os)
{
    const struct slm_os *previous = slm_os();
    replaced = os;
    return previous;
}

enum { HEADER_BYTES = 64 };
#define MARK_LIVE UINT64_C(0x736C6D20616C6C6F) /* "slm allo" */
#define MARK_DEAD UINT64_C(0x736C6D2066726565) /* "slm free" */

struct header {
    size_t bytes; /* what the caller asked for */
    uint64_t mark;
};
_Static_assert(sizeof(struct header) <= HEADER_BYTES, "the header must not move the block off its alignment");

static struct header *header_of(void *memory)
{
    struct header *header = (struct header *)((char *)memory - HEADER_BYTES);
    SLM_ASSERT(header->mark == MARK_LIVE);
    return header;
}

/* Not zeroed. */
static void *alloc_block(size_t bytes, const char *where, struct slm_error *error)
{
    size_t total;
    struct header *header = slm_add_size(bytes, HEADER_BYTES, &total) ? slm_os()->alloc(total, HEADER_BYTES) : NULL;
    if (header == NULL) {
        (void)slm_fail_memory(error, where, bytes);
        return NULL;
    }
    header->bytes = bytes;
    header->mark = MARK_LIVE;
    return (char *)header + HEADER_BYTES;
}

void *slm_alloc(size_t n, size_t size, const char *where, struct slm_error *error)
{
    size_t bytes;
    if (!slm_mul_size(n, size, &bytes)) {
        (void)slm_fail_memory(error, where, SIZE_MAX);
        return NULL;
    }
    void *memory = alloc_block(bytes, where, error);
    if (memory != NULL) memset(memory, 0, bytes);
    return memory;
}

void *slm_realloc(void *memory, size_t n, size_t size, const char *where, struct slm_error *error)
{
    if (memory == NULL) return slm_alloc(n, size, where, error);
    size_t bytes, old = header_of(memory)->bytes;
    if (!slm_mul_size(n, size, &bytes)) {
        (void)slm_fail_memory(error, where, SIZE_MAX);
        return NULL;
    }
    /* Always a move: the seam has no realloc, and callers that grow do so by doubling. */
    char *moved = alloc_block(bytes, where, error);
    if (moved == NULL) return NULL;
    size_t kept = old < bytes ? old : bytes;
    memcpy(moved, memory, kept);
    memset(moved + kept, 0, bytes - kept);
    slm_release(memory);
    return moved;
}

void slm_release(void *memory)
{
    if (memory == NULL) return;
    struct header *header = header_of(memory);
    header->mark = MARK_DEAD;
    slm_os()->release(header, header->bytes + HEADER_BYTES);
}
