/* SPDX-License-Identifier: MIT
 * Finds a row by its name: an open-addressing hash table over an array of structs whose first member is the name
 * (struct slm_str). Built once, then read only. The array must outlive the index; the index does not own it.
 * Time to build is linear whatever the names are: names that collide more than chance explains are refused. */
#ifndef SLM_FORMAT_NAME_INDEX_H
#define SLM_FORMAT_NAME_INDEX_H
#include "base/str.h"

struct slm_name_slot { uint32_t hash, row_plus_1; }; /* row_plus_1 0 = free */
struct slm_name_index {
    const void *rows;
    size_t stride;
    struct slm_name_slot *slots;
    size_t mask; /* slots - 1; a power of two less one */
};

enum slm_name_index_result { SLM_NAMES_OK, SLM_NAMES_DUPLICATE, SLM_NAMES_COLLIDE, SLM_NAMES_NO_MEMORY };

/* n is below 2^31. On DUPLICATE and COLLIDE *bad is the offending row (the later of two); on NO_MEMORY *error is
 * filled. The index is empty unless OK. */
enum slm_name_index_result slm_name_index_build(struct slm_name_index *index, const void *rows, size_t n,
                                                size_t stride, size_t *bad, struct slm_error *error);
/* The row of that name or NULL. A zeroed index finds nothing. */
const void *slm_name_index_find(const struct slm_name_index *index, struct slm_str name);
void slm_name_index_release(struct slm_name_index *index);
#endif
