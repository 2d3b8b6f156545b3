/* SPDX-License-Identifier: MIT
 *
 * The name index of the file readers: see the header for what it is.
 *
 * Files are hostile: names can be chosen to collide in any known hash function, which turns a table into a list and
 * opening a million tensors into hours. Rather than hide the function behind a random seed (and lose repeatable
 * timing), the builder counts: at most half of the slots are used, so runs of more than MAX_PROBES taken slots do not
 * happen by chance, and a file that makes one is refused.
 * Deliberately not here: removal, growth, any other key than bytes. */
#include "format/name_index.h"

#include "base/os.h"

/* The chance of one such run in the largest table, half full of random hashes, is about 1e-15. */
enum { MAX_PROBES = 256 };

static struct slm_str name_of(const struct slm_name_index *index, size_t row)
{
    return *(const struct slm_str *)((const char *)index->rows + row * index->stride);
}

/* The slot that holds name or the free one where it belongs; NULL when the run of taken slots is too long. */
static struct slm_name_slot *probe(const struct slm_name_index *index, struct slm_str name, uint32_t *hash_out)
{
    uint64_t hash = slm_hash_bytes(name.ptr, name.len, 0);
    uint32_t tag = *hash_out = (uint32_t)(hash >> 32);
    for (size_t i = 0; i < MAX_PROBES; i++) {
        struct slm_name_slot *slot = &index->slots[(hash + i) & index->mask];
        if (slot->row_plus_1 == 0) return slot;
        if (slot->hash == tag && slm_str_equal(name_of(index, slot->row_plus_1 - 1), name)) return slot;
    }
    return NULL;
}

enum slm_name_index_result slm_name_index_build(struct slm_name_index *index, const void *rows, size_t n,
                                                size_t stride, size_t *bad, struct slm_error *error)
{
    SLM_ASSERT(n < (size_t)1 << 31);
    size_t n_slots = 8;
    while (n_slots < 2 * n) n_slots *= 2;
    struct slm_name_index built = {rows, stride, slm_alloc(n_slots, sizeof *built.slots, "name index", error),
                                   n_slots - 1};
    if (built.slots == NULL) return SLM_NAMES_NO_MEMORY;

    enum slm_name_index_result result = SLM_NAMES_OK;
    for (size_t row = 0; row < n && result == SLM_NAMES_OK; row++) {
        uint32_t tag;
        struct slm_name_slot *slot = probe(&built, name_of(&built, row), &tag);
        *bad = row;
        if (slot == NULL)
            result = SLM_NAMES_COLLIDE;
        else if (slot->row_plus_1 != 0)
            result = SLM_NAMES_DUPLICATE;
        else
            *slot = (struct slm_name_slot){tag, (uint32_t)row + 1};
    }
    if (result == SLM_NAMES_OK)
        *index = built;
    else
        slm_name_index_release(&built);
    return result;
}

const void *slm_name_index_find(const struct slm_name_index *index, struct slm_str name)
{
    if (index->slots == NULL) return NULL;
    uint32_t tag;
    const struct slm_name_slot *slot = probe(index, name, &tag);
    if (slot == NULL || slot->row_plus_1 == 0) return NULL;
    return (const char *)index->rows + (slot->row_plus_1 - 1) * index->stride;
}

void slm_name_index_release(struct slm_name_index *index)
{
    slm_release(index->slots);
    *index = (struct slm_name_index){0};
}
