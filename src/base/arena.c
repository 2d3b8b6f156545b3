/* SPDX-License-Identifier: MIT
 *
 * Bump allocation in blocks that grow by doubling: what is parsed together (a file's tables, a
 * plan, a step's scratch) dies together. Under AddressSanitizer the unused part of every block is
 * poisoned and objects are kept apart by a redzone, so an overrun into a neighbour is caught
 * although both live in one allocation.
 *
 * Deliberately not here: freeing single objects, threads (one arena has one owner). */
#include "base/arena.h"

#include <string.h>

#include "base/checked.h"
#include "base/os.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
enum { REDZONE = 32 };
#define POISON(memory, bytes) __asan_poison_memory_region(memory, bytes)
#define UNPOISON(memory, bytes) __asan_unpoison_memory_region(memory, bytes)
#else
enum { REDZONE = 0 };
#define POISON(memory, bytes) ((void)(memory), (void)(bytes))
#define UNPOISON(memory, bytes) ((void)(memory), (void)(bytes))
#endif

enum { BLOCK_ALIGN = 64, BLOCK_MIN = 4096, BLOCK_MAX = 1 << 20 };

struct slm_arena_block {
    struct slm_arena_block *next; /* older block */
    size_t bytes;                 /* of the whole allocation, this header included */
    size_t used;                  /* offset of the first free byte */
};

/* Offset at which an object fits into the block, or 0 when it does not (0 is the header, never an answer). */
static size_t place(const struct slm_arena_block *block, size_t bytes, size_t align)
{
    size_t start, end;
    if (!slm_align_up_size(block->used, align, &start)) return 0;
    if (!slm_add_size(start, bytes, &end) || !slm_add_size(end, REDZONE, &end)) return 0;
    return end <= block->bytes ? start : 0;
}

/* A block for at least one object of these bytes: twice the last one, so n objects need O(log n) blocks, up to
 * 1 MiB, so that a long-lived arena wastes little. */
static struct slm_arena_block *block_new(size_t last_bytes, size_t bytes, size_t align)
{
    size_t need;
    if (!slm_add_size(bytes, sizeof(struct slm_arena_block) + align + REDZONE, &need)) return NULL;
    size_t size = last_bytes < BLOCK_MIN ? BLOCK_MIN : last_bytes < BLOCK_MAX ? last_bytes * 2 : BLOCK_MAX;
    if (size < need) size = need;
    struct slm_arena_block *block = slm_os()->alloc(size, BLOCK_ALIGN);
    if (block == NULL) return NULL;
    block->next = NULL;
    block->bytes = size;
    block->used = sizeof *block;
    POISON((char *)block + sizeof *block, size - sizeof *block);
    return block;
}

/* Only the newest block is looked at: older ones have little left, and looking there would cost a search each time. */
void *slm_arena_alloc(struct slm_arena *arena, size_t n, size_t size, const char *where, struct slm_error *error)
{
    size_t bytes;
    if (!slm_mul_size(n, size, &bytes)) {
        (void)slm_fail_memory(error, where, SIZE_MAX);
        return NULL;
    }
    size_t align = bytes >= 4096 ? 64 : 16;
    size_t start = arena->head == NULL ? 0 : place(arena->head, bytes, align);
    if (start == 0) {
        struct slm_arena_block *block = block_new(arena->head ? arena->head->bytes : 0, bytes, align);
        if (block == NULL) {
            (void)slm_fail_memory(error, where, bytes);
            return NULL;
        }
        block->next = arena->head;
        arena->head = block;
        start = place(block, bytes, align);
        SLM_ASSERT(start != 0);
    }
    char *object = (char *)arena->head + start;
    arena->head->used = start + bytes + REDZONE;
    arena->used_bytes += bytes;
    UNPOISON(object, bytes);
    memset(object, 0, bytes);
    return object;
}

char *slm_arena_copy(struct slm_arena *arena, const char *text, size_t bytes, struct slm_error *error)
{
    size_t with_nul;
    if (!slm_add_size(bytes, 1, &with_nul)) {
        (void)slm_fail_memory(error, "text", bytes);
        return NULL;
    }
    char *copy = slm_arena_alloc(arena, with_nul, 1, "text", error);
    if (copy != NULL && bytes > 0) memcpy(copy, text, bytes);
    return copy;
}

void slm_arena_release(struct slm_arena *arena)
{
    struct slm_arena_block *block = arena->head;
    while (block != NULL) {
        struct slm_arena_block *next = block->next;
        UNPOISON(block, block->bytes);
        slm_os()->release(block, block->bytes);
        block = next;
    }
    *arena = (struct slm_arena){0};
}
