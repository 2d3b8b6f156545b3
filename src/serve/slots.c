/* SPDX-License-Identifier: MIT
 * Slots between jobs, the tree of beginnings and session files. Deliberately not here: names of files and who may use
 * them (api_slots.c). */
#include "serve/slots.h"

#include "base/os.h"
#include "engine/prefix.h"
#include "engine/session.h"

void slm_slot_keep(struct slm_slot *slot, const int32_t *ids, size_t n)
{
    int32_t *copy = slm_realloc(slot->ids, n ? n : 1, sizeof *copy, "slot", NULL);
    if (copy) slot->ids = copy;
    if (copy && n) memcpy(copy, ids, n * sizeof *ids);
    slot->n = copy ? n : 0;
}

/* Full pages of the slot with the names that jobs without a salt give them. NULL: no memory. */
static uint64_t *hash_pages(const struct slm_slot *slot, struct slm_prefix_line *line, struct slm_error *error)
{
    const size_t n = slot->n / SLM_KV_PAGE_TOKENS;
    uint64_t *hashes = slm_alloc(n + 1, sizeof *hashes, "slot", error);
    if (!hashes) return NULL;
    for (size_t i = 0; i < n; i++)
        hashes[i] = slm_prefix_hash(i ? hashes[i - 1] : 0, slot->ids + i * SLM_KV_PAGE_TOKENS);
    *line = (struct slm_prefix_line){.ids = slot->ids, .hashes = hashes, .n_pages = n};
    return hashes;
}

void slm_slot_erase(struct slm_slot *slot, struct slm_prefix *prefix)
{
    struct slm_prefix_line line;
    uint64_t *hashes = hash_pages(slot, &line, NULL);
    if (hashes) slm_prefix_forget(prefix, &line);
    slm_release(hashes);
    slm_release(slot->ids);
    *slot = (struct slm_slot){.n = 0};
}

/* Pages that a file of this size can hold. */
static slm_status count_pages(const char *path, const struct slm_session *session, size_t *n, struct slm_error *error)
{
    const struct slm_os *os = slm_os();
    struct slm_file *file;
    struct slm_file_info info;
    SLM_TRY(os->open_read(path, &file, &info, error));
    os->close(file, NULL);
    *n = (size_t)(info.bytes / session->engine->pool.layout.page_bytes);
    return SLM_OK;
}

slm_status slm_slot_restore(struct slm_slot *slot, struct slm_prefix *prefix, struct slm_session *session,
                            const char *path, struct slm_error *error)
{
    struct slm_prefix_line line;
    size_t n_pages;
    SLM_TRY(count_pages(path, session, &n_pages, error));
    /* A file that is larger than the whole pool is refused for what it holds, when it is read. */
    if (n_pages <= session->engine->pool.n_pages && !slm_prefix_make_room(prefix, n_pages))
        return slm_fail(error, SLM_ERR_LIMIT, "slot", "others use the %zu pages that it needs: try again later",
                        n_pages);
    SLM_TRY(slm_session_restore(session, path, error));
    slm_slot_keep(slot, session->tokens, session->n_past);
    uint64_t *hashes = hash_pages(slot, &line, error);
    if (hashes) slm_prefix_leave(prefix, session, &line, 0);
    slm_session_truncate(session, 0, NULL); /* to nothing: never fails */
    slm_release(hashes);
    return hashes ? SLM_OK : SLM_ERR_MEMORY;
}
