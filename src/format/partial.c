/* SPDX-License-Identifier: MIT
 * See partial.h.
 *
 * Behind the place where the file will end stands its trailer: a mark, the key, and a sum for every span of the file
 * that is written. Who resumes reads the spans again and keeps those up to the first whose sum is another. So nothing
 * is trusted for its size or its place: not what a power loss left behind (file systems write in any order), not what
 * somebody changed by hand. Sums are not cryptographic: the file is its owner's.
 *
 * The first four bytes, by which readers know a file, are written last of all and stay zero until then: a partial file
 * is no model even to a program that does not look at its name. Then the trailer is cut off, the file is synced and
 * renamed.
 *
 * The lock is the system's and ends with the process. It is held until the new name is there, or the file is gone.
 * Deliberately not here: what is in the file, and whether its key says enough. */
#include "format/partial.h"

#include "base/checked.h"
#include "base/str.h"

enum { SPAN = 1 << 18, HEAD = 4, N_LANES = 8, STRIPE = N_LANES * 8, TRAILER_HEAD = 16 };
static const char SUFFIX[] = ".partial";
static const char MARK[8] = "slm part";

/* Of one span. Eight chains of multiplications that do not wait for each other: memory's speed. */
struct sum {
    uint64_t lanes[N_LANES];
    unsigned char rest[STRIPE];
    size_t n_rest;
};

struct slm_partial {
    char *path, *final_path;
    struct slm_file *file;
    uint64_t file_bytes;      /* when it was opened */
    uint64_t key, bytes;      /* as resumed; bytes 0: never */
    uint64_t at, kept;        /* put so far; of the beginning, what was there */
    struct sum sum;           /* of the span that `at` lies in, once beyond `kept` */
    unsigned char head[HEAD]; /* what the file begins with in the end */
    bool begun;               /* the trailer has its mark, or nothing was there */
};

/* ---- sums ------------------------------------------------------------------------------------------------------ */

static void add_stripe(struct sum *s, const unsigned char *p)
{
    for (int i = 0; i < N_LANES; i++) {
        uint64_t word;
        memcpy(&word, p + 8 * i, sizeof word); /* a file is resumed on the machine it was begun on */
        const uint64_t mixed = s->lanes[i] ^ word;
        s->lanes[i] = (mixed << 31 | mixed >> 33) * UINT64_C(0x9E3779B185EBCA87) + UINT64_C(0x27D4EB2F165667C5);
    }
}

static void add_bytes(struct sum *s, const unsigned char *p, size_t n)
{
    if (s->n_rest) {
        const size_t step = n < STRIPE - s->n_rest ? n : STRIPE - s->n_rest;
        memcpy(s->rest + s->n_rest, p, step);
        s->n_rest += step;
        p += step, n -= step;
        if (s->n_rest < STRIPE) return;
        add_stripe(s, s->rest);
        s->n_rest = 0;
    }
    for (; n >= STRIPE; p += STRIPE, n -= STRIPE) add_stripe(s, p);
    if (n > 0) memcpy(s->rest, p, n);
    s->n_rest = n;
}

static uint64_t sum_of(const struct sum *s, uint64_t span)
{
    return slm_hash_bytes(s->lanes, sizeof s->lanes, slm_hash_bytes(s->rest, s->n_rest, span));
}

/* ---- the trailer ----------------------------------------------------------------------------------------------- */

static uint64_t trailer_at(const struct slm_partial *p) { return (p->bytes + 7) / 8 * 8; }
static uint64_t sum_at(const struct slm_partial *p, uint64_t span) { return trailer_at(p) + TRAILER_HEAD + 8 * span; }

/* How many bytes from the beginning are as their sums say. What cannot be read is not kept. */
static slm_status count_kept(struct slm_partial *p, struct slm_error *error)
{
    unsigned char *data = slm_alloc(1, SPAN, p->path, error);
    if (!data) return SLM_ERR_MEMORY;
    while (p->kept < p->bytes) {
        const uint64_t span = p->kept / SPAN, left = p->bytes - p->kept;
        const size_t n = left < SPAN ? (size_t)left : SPAN;
        struct sum sum = {.n_rest = 0};
        uint64_t told;
        if (sum_at(p, span) + sizeof told > p->file_bytes) break;
        if (slm_os()->read_at(p->file, &told, sizeof told, sum_at(p, span), NULL) != SLM_OK) break;
        if (slm_os()->read_at(p->file, data, n, p->kept, NULL) != SLM_OK) break;
        add_bytes(&sum, data, n);
        if (sum_of(&sum, span) != told) break;
        p->kept += n;
    }
    slm_release(data);
    return SLM_OK;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

slm_status slm_partial_open(const char *path, struct slm_partial **out, struct slm_error *error)
{
    const size_t path_bytes = strlen(path) + 1;
    struct slm_partial *p = slm_alloc(1, sizeof *p, path, error);
    if (!p) return SLM_ERR_MEMORY;
    p->final_path = slm_alloc(path_bytes, 1, path, error);
    p->path = p->final_path ? slm_alloc(path_bytes + sizeof SUFFIX, 1, path, error) : NULL;
    slm_status status = p->path ? SLM_OK : SLM_ERR_MEMORY;
    if (status == SLM_OK) {
        memcpy(p->final_path, path, path_bytes);
        memcpy(p->path, path, path_bytes);
        memcpy(p->path + path_bytes - 1, SUFFIX, sizeof SUFFIX);
        status = slm_os()->open_locked(p->path, &p->file, &p->file_bytes, error);
    }
    if (status == SLM_OK) *out = p;
    else (void)slm_partial_close(p, true);
    return status;
}

uint64_t slm_partial_at(const struct slm_partial *p) { return p->at; }
const char *slm_partial_path(const struct slm_partial *p) { return p->path; }

slm_status slm_partial_resume(struct slm_partial *p, uint64_t key, uint64_t bytes, uint64_t *kept, bool *stale,
                              struct slm_error *error)
{
    unsigned char head[TRAILER_HEAD];
    SLM_ASSERT(p->at == 0 && !p->begun && bytes >= HEAD && bytes <= INT64_MAX);
    p->key = key;
    p->bytes = bytes;
    bool same = p->file_bytes >= trailer_at(p) + TRAILER_HEAD &&
                slm_os()->read_at(p->file, head, sizeof head, trailer_at(p), NULL) == SLM_OK;
    same = same && memcmp(head, MARK, sizeof MARK) == 0 && memcmp(head + sizeof MARK, &key, sizeof key) == 0;
    if (same) SLM_TRY(count_kept(p, error));
    else SLM_TRY(slm_os()->truncate(p->file, 0, error)); /* now, because the disk may need the room */
    *stale = !same && p->file_bytes > 0;
    *kept = p->kept;
    return SLM_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

/* Nothing is changed before the first byte comes. */
static slm_status begin(struct slm_partial *p, struct slm_error *error)
{
    unsigned char head[TRAILER_HEAD];
    if (p->begun) return SLM_OK;
    p->begun = true;
    if (p->bytes == 0) return slm_os()->truncate(p->file, 0, error);
    memcpy(head, MARK, sizeof MARK);
    memcpy(head + sizeof MARK, &p->key, sizeof p->key);
    return slm_os()->write_at(p->file, head, sizeof head, trailer_at(p), error);
}

/* Bytes beyond what was there, of one span. */
static slm_status add(struct slm_partial *p, const unsigned char *data, size_t n, struct slm_error *error)
{
    SLM_TRY(slm_os()->write_at(p->file, data, n, p->at, error));
    p->at += n;
    if (p->bytes == 0) return SLM_OK;
    SLM_ASSERT(p->at <= p->bytes);
    add_bytes(&p->sum, data, n);
    if (p->at % SPAN != 0 && p->at != p->bytes) return SLM_OK;
    const uint64_t span = (p->at - 1) / SPAN, sum = sum_of(&p->sum, span);
    p->sum = (struct sum){.n_rest = 0};
    return slm_os()->write_at(p->file, &sum, sizeof sum, sum_at(p, span), error);
}

static slm_status put(struct slm_partial *p, const unsigned char *data, size_t n, struct slm_error *error)
{
    if (p->at < p->kept) {
        const size_t there = n < p->kept - p->at ? n : (size_t)(p->kept - p->at);
        p->at += there;
        data += there, n -= there;
    }
    while (n > 0) {
        const size_t left = SPAN - (size_t)(p->at % SPAN), step = p->bytes && left < n ? left : n;
        SLM_TRY(add(p, data, step, error));
        data += step, n -= step;
    }
    return SLM_OK;
}

slm_status slm_partial_put(struct slm_partial *p, const void *data, size_t bytes, struct slm_error *error)
{
    static const unsigned char no_head[HEAD];
    const unsigned char *from = data;
    SLM_TRY(begin(p, error));
    if (p->at > 0 || bytes == 0) return put(p, from, bytes, error);
    SLM_ASSERT(bytes >= HEAD);
    memcpy(p->head, from, HEAD);
    SLM_TRY(put(p, no_head, HEAD, error));
    return put(p, from + HEAD, bytes - HEAD, error);
}

void slm_partial_skip(struct slm_partial *p, uint64_t bytes)
{
    SLM_ASSERT(p->at >= HEAD && bytes <= p->kept - p->at);
    p->at += bytes;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

slm_status slm_partial_sync(struct slm_partial *p, struct slm_error *error)
{
    SLM_ASSERT(p->at >= HEAD && (p->bytes == 0 || p->at == p->bytes));
    return slm_os()->sync(p->file, error);
}

/* Synced a second time, which is quick: the first time took the data while they could still be gone on with. From here
 * on they cannot, for want of a trailer. */
slm_status slm_partial_finish(struct slm_partial *p, struct slm_error *error)
{
    const uint64_t bytes = p->at;
    p->kept = p->at = 0;
    SLM_TRY(slm_os()->truncate(p->file, bytes, error));
    SLM_TRY(slm_os()->write_at(p->file, p->head, HEAD, 0, error));
    SLM_TRY(slm_os()->sync(p->file, error));
    SLM_TRY(slm_os()->rename(p->path, p->final_path, error));
    /* What remains is to give the lock back: whatever could be lost is on the disk. */
    (void)slm_os()->close(p->file, NULL);
    p->file = NULL;
    return SLM_OK;
}

bool slm_partial_close(struct slm_partial *p, bool keep)
{
    if (!p) return false;
    /* Before it was resumed it is another run's, which nothing was done to. */
    const bool there = p->bytes ? p->kept > 0 || p->at >= SPAN : !p->begun && p->file_bytes > 0;
    const bool kept = p->file && keep && there;
    /* Removed while it is still locked: nobody else's goes. The cause has been reported, this only tidies up. */
    if (p->file && !kept) (void)slm_os()->remove(p->path, NULL);
    if (p->file) (void)slm_os()->close(p->file, NULL);
    slm_release(p->path);
    slm_release(p->final_path);
    slm_release(p);
    return kept;
}
