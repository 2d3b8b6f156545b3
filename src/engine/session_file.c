/* SPDX-License-Identifier: MIT
 * Session files: the timeline, its last logits and its KV pages, so that a conversation goes on where it stopped
 * without computing the prompt again. Little-endian; see docs/kv.md. A file is checked whole (size, model, sum)
 * before the session is touched. It belongs to one model and one cache type: numbers of another would be noise.
 * Deliberately not here: sharing prefixes between sessions, and files of other programs. */
#include "base/checked.h"
#include "base/os.h"
#include "engine/session.h"

#define MAGIC "SLMSESS2"

struct header { /* on disk */
    char magic[8];
    uint64_t model;      /* fingerprint */
    uint32_t kv_gguf_id; /* type of the cache */
    uint32_t has_logits;
    uint64_t n_tokens;
    uint64_t page_bytes;
    uint64_t body_hash;  /* of everything after the header */
};
_Static_assert(sizeof(struct header) == 48, "session header layout");

/* The same weights give the same number: sizes, names and a sample of every tensor's bytes. */
static uint64_t fingerprint(const struct slm_model *model)
{
    uint64_t hash = slm_hash_bytes(&model->hparams, sizeof model->hparams, model->n_params);
    for (size_t i = 0; i < slm_gguf_n_tensors(model->gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(model->gguf, i);
        hash = slm_hash_bytes(t->name.ptr, t->name.len, hash);
        hash = slm_hash_bytes(t->dims, sizeof t->dims, hash);
        if (t->data) hash = slm_hash_bytes(t->data, t->bytes < 64 ? t->bytes : 64, hash);
    }
    return hash;
}

struct parts { /* sizes of the body, in order */
    size_t tokens, logits, pages, total;
};

/* Sizes of what follows the header. False when the token count makes no possible file. */
static bool parts_of(const struct slm_session *s, uint64_t n_tokens, bool has_logits, struct parts *p)
{
    p->tokens = (size_t)n_tokens * sizeof(int32_t);
    p->logits = has_logits ? s->model->hparams.n_vocab * sizeof(float) : 0;
    return slm_mul_size(slm_kv_pages_for((size_t)n_tokens), s->engine->pool.layout.page_bytes, &p->pages) &&
           slm_add_size(p->tokens, p->logits, &p->total) && slm_add_size(p->total, p->pages, &p->total);
}

/* The same chain of hashes as check_file computes over the file. */
static uint64_t hash_body(const struct slm_session *s, const struct parts *p)
{
    uint64_t hash = slm_hash_bytes(s->tokens, p->tokens, 0);
    hash = slm_hash_bytes(slm_session_row(s, 0), p->logits, hash);
    for (size_t i = 0; i < slm_kv_pages_for(s->n_past); i++)
        hash = slm_hash_bytes(s->seq.pages[i], s->engine->pool.layout.page_bytes, hash);
    return hash;
}

/* Header, tokens, logits, whole pages: what lies in a page behind the last token is written too, and never read. */
static slm_status write_all(const struct slm_session *s, struct slm_file *file, struct slm_error *error)
{
    struct parts p = {0};
    const struct slm_kv_layout *layout = &s->engine->pool.layout;
    const bool fits = parts_of(s, s->n_past, s->has_logits, &p);
    SLM_ASSERT(fits);
    const struct header head = {.magic = MAGIC, .model = fingerprint(s->model),
                                .kv_gguf_id = slm_dtypes[layout->dtype].gguf_id, .has_logits = s->has_logits,
                                .n_tokens = s->n_past, .page_bytes = layout->page_bytes,
                                .body_hash = hash_body(s, &p)};
    const struct slm_os *os = slm_os();
    SLM_TRY(os->write(file, &head, sizeof head, error));
    SLM_TRY(os->write(file, s->tokens, p.tokens, error));
    SLM_TRY(os->write(file, slm_session_row(s, 0), p.logits, error));
    for (size_t i = 0; i < slm_kv_pages_for(s->n_past); i++)
        SLM_TRY(os->write(file, s->seq.pages[i], layout->page_bytes, error));
    return os->sync(file, error);
}

/* Written beside the target and renamed, so that a crash leaves the old file or the new one. */
slm_status slm_session_save(const struct slm_session *session, const char *path, struct slm_error *error)
{
    const struct slm_os *os = slm_os();
    struct slm_buf temp = {0};
    if (!slm_buf_printf(&temp, "%s.partial", path)) return slm_buf_status(&temp, "session", error);
    struct slm_file *file = NULL;
    slm_status status = os->create(temp.data, &file, error);
    if (status != SLM_OK) goto out;
    status = write_all(session, file, error);
    const slm_status closed = os->close(file, status == SLM_OK ? error : NULL);
    if (status == SLM_OK) status = closed;
    if (status == SLM_OK) status = os->rename(temp.data, path, error);
/* Nothing half-written is left behind, as far as the system lets us. */
    if (status != SLM_OK) os->remove(temp.data, NULL);
out:
    slm_buf_release(&temp);
    return status;
}

/* Everything is compared and summed before the session is touched; sizes come last because they need the model. */
static slm_status check_file(const struct slm_session *s, const struct slm_map *map, const char *path,
                             struct header *head, struct parts *p, struct slm_error *error)
{
    if (map->bytes < sizeof *head || memcmp(map->data, MAGIC, sizeof head->magic) != 0)
        return slm_fail(error, SLM_ERR_FORMAT, path, "this is no session file: it does not start with " MAGIC);
    memcpy(head, map->data, sizeof *head);
    if (head->model != fingerprint(s->model))
        return slm_fail(error, SLM_ERR_FORMAT, path, "the session belongs to another model");
    const struct slm_kv_layout *layout = &s->engine->pool.layout;
    if (head->kv_gguf_id != slm_dtypes[layout->dtype].gguf_id || head->page_bytes != layout->page_bytes)
        return slm_fail(error, SLM_ERR_FORMAT, path, "the session was saved with another KV cache type, this one is %s",
                        slm_dtypes[layout->dtype].name);
    if (head->n_tokens > s->n_ctx)
        return slm_fail(error, SLM_ERR_CONTEXT, path, "the session holds %llu tokens, the context %zu",
                        (unsigned long long)head->n_tokens, s->n_ctx);
    if (head->has_logits > 1 || !parts_of(s, head->n_tokens, head->has_logits, p) ||
        map->bytes - sizeof *head != p->total)
        return slm_fail(error, SLM_ERR_FORMAT, path, "the file has %zu bytes, which does not fit its header",
                        map->bytes);
    const unsigned char *body = map->data + sizeof *head;
    uint64_t hash = slm_hash_bytes(body, p->tokens, 0);
    hash = slm_hash_bytes(body + p->tokens, p->logits, hash);
    for (size_t at = p->tokens + p->logits; at < p->total; at += layout->page_bytes)
        hash = slm_hash_bytes(body + at, layout->page_bytes, hash);
    if (hash != head->body_hash) return slm_fail(error, SLM_ERR_FORMAT, path, "the file is damaged: its sum is wrong");
    for (size_t i = 0; i < head->n_tokens; i++) {
        int32_t id;
        memcpy(&id, body + i * sizeof id, sizeof id);
        if (id < 0 || (uint32_t)id >= s->model->hparams.n_vocab)
            return slm_fail(error, SLM_ERR_FORMAT, path, "token %zu is %d, allowed are 0 to %u", i, id,
                            s->model->hparams.n_vocab - 1);
    }
    return SLM_OK;
}

/* The file was checked. Fails, and changes nothing, only where the pool is shared and others have the pages. */
static slm_status load(struct slm_session *s, const struct header *head, const struct parts *p,
                       const unsigned char *body, struct slm_error *error)
{
    struct slm_kv_pool *pool = &s->engine->pool;
    const size_t n_tokens = (size_t)head->n_tokens, want = slm_kv_pages_for(n_tokens);
    slm_session_drop_guesses(s);
    if (!slm_kv_seq_renew(pool, &s->seq, n_tokens))
        return slm_fail(error, SLM_ERR_MEMORY, "session",
                        "%zu tokens need %zu pages of the KV pool, which has %zu free", n_tokens, want, pool->n_free);
    s->n_past = n_tokens;
    s->row = 0;
    s->has_logits = head->has_logits;
    memcpy(s->tokens, body, p->tokens);
    memcpy(s->rows, body + p->tokens, p->logits);
    body += p->tokens + p->logits;
    /* What the old timeline shared with others stays theirs: these pages are new. */
    for (size_t i = 0; i < want; i++)
        memcpy(s->seq.pages[i], body + i * pool->layout.page_bytes, pool->layout.page_bytes);
    return SLM_OK;
}

slm_status slm_session_restore(struct slm_session *session, const char *path, struct slm_error *error)
{
    const struct slm_os *os = slm_os();
    struct slm_file *file;
    struct slm_file_info info;
    struct slm_map map = {0};
    SLM_TRY(os->open_read(path, &file, &info, error));
    slm_status status = os->map(file, &map, error);
/* The map outlives the file. */
    os->close(file, NULL);
    if (status != SLM_OK) return status;
    struct header head = {0};
    struct parts p = {0};
    status = check_file(session, &map, path, &head, &p, error);
    if (status == SLM_OK) status = load(session, &head, &p, map.data + sizeof head, error);
    os->unmap(&map);
    return status;
}
