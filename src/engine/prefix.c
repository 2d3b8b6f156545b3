/* SPDX-License-Identifier: MIT
 * The tree of prefix.h as a hash table. A page's hash covers all tokens up to its end, so looking a beginning up is one
 * probe a page and needs no walk over children; a node knows its parent and how many children it has, since only leaves
 * may go. Nodes hang in a list by last use. A parent is used whenever its child is, and moved in front of it, so the
 * end of the list is always a leaf.
 *
 * Whoever holds a page of a line holds all before it: sessions shrink from their end and take pages over in order. So a
 * page that only the tree holds has no child that a session holds. */
#include "engine/prefix.h"

#include "base/os.h"
#include "engine/session.h"

#define NONE UINT32_MAX
enum { PAGE = SLM_KV_PAGE_TOKENS };

/* A page of the pool in the tree. */
struct node {
    uint64_t hash, salt;
    uint32_t page;          /* number in the pool; NONE: the node is not in use */
    uint32_t parent;        /* NONE: a first page */
    uint32_t n_children;
    uint32_t newer, older;  /* by last use; unused nodes hang on `older` */
    uint32_t next;          /* of the same slot of the table */
    int32_t ids[PAGE];
};

struct slm_prefix {
    struct slm_engine *engine;
    struct node *nodes;     /* [n_pages of the pool] */
    uint32_t *slots;        /* [n_slots] */
    size_t n_slots;         /* a power of two */
    uint32_t newest, oldest, unused;
};

/* ---- opening ---------------------------------------------------------------------------------------------------- */

slm_status slm_prefix_open(struct slm_engine *engine, struct slm_prefix **out, struct slm_error *error)
{
    const size_t n = engine->pool.n_pages;
    struct slm_prefix *p = slm_alloc(1, sizeof *p, "prefix cache", error);
    if (!p) return SLM_ERR_MEMORY;
    *p = (struct slm_prefix){.engine = engine, .n_slots = 1, .newest = NONE, .oldest = NONE, .unused = NONE};
    while (p->n_slots < n) p->n_slots *= 2;
    p->nodes = slm_alloc(n, sizeof *p->nodes, "prefix cache", error);
    p->slots = slm_alloc(p->n_slots, sizeof *p->slots, "prefix cache", error);
    if (!p->nodes || !p->slots) {
        slm_prefix_close(p);
        return SLM_ERR_MEMORY;
    }
    for (size_t i = 0; i < p->n_slots; i++) p->slots[i] = NONE;
    for (size_t i = n; i-- > 0;) {
        p->nodes[i].page = NONE;
        p->nodes[i].older = p->unused;
        p->unused = (uint32_t)i;
    }
    *out = p;
    return SLM_OK;
}

/* ---- the table and the list ------------------------------------------------------------------------------------- */

uint64_t slm_prefix_hash(uint64_t before, const int32_t *page)
{
    return slm_hash_bytes(page, PAGE * sizeof *page, before);
}

/* Out of the list by last use. */
static void unlink_use(struct slm_prefix *p, uint32_t i)
{
    struct node *n = &p->nodes[i];
    if (n->newer == NONE) p->newest = n->older;
    else p->nodes[n->newer].older = n->older;
    if (n->older == NONE) p->oldest = n->newer;
    else p->nodes[n->older].newer = n->newer;
}

/* In front of all others. */
static void link_newest(struct slm_prefix *p, uint32_t i)
{
    p->nodes[i].newer = NONE;
    p->nodes[i].older = p->newest;
    if (p->newest == NONE) p->oldest = i;
    else p->nodes[p->newest].newer = i;
    p->newest = i;
}

/* The page and all before it were used: from the last to the first, so that parents are newer. */
static void touch(struct slm_prefix *p, uint32_t i)
{
    for (; i != NONE; i = p->nodes[i].parent) {
        unlink_use(p, i);
        link_newest(p, i);
    }
}

/* Page `at` of the line under `parent`, or NONE. */
static uint32_t lookup(const struct slm_prefix *p, const struct slm_prefix_line *line, size_t at, uint32_t parent)
{
    const uint64_t hash = line->hashes[at];
    uint32_t i = p->slots[hash & (p->n_slots - 1)];
    for (; i != NONE; i = p->nodes[i].next) {
        const struct node *n = &p->nodes[i];
        if (n->hash == hash && n->parent == parent && n->salt == line->salt &&
            memcmp(n->ids, line->ids + at * PAGE, sizeof n->ids) == 0)
            break;
    }
    return i;
}

/* The last node of the line's first n pages, which are all there; NONE for n = 0. */
static uint32_t last_of(const struct slm_prefix *p, const struct slm_prefix_line *line, size_t n)
{
    uint32_t at = NONE;
    for (size_t i = 0; i < n; i++) {
        at = lookup(p, line, i, at);
        SLM_ASSERT(at != NONE);
    }
    return at;
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

/* Pages are numbers here, pointers to sessions. */
static unsigned char *address(const struct slm_kv_pool *pool, uint32_t page)
{
    return pool->memory + page * pool->layout.page_bytes;
}

static uint32_t number(const struct slm_kv_pool *pool, const unsigned char *address)
{
    return (uint32_t)((size_t)(address - pool->memory) / pool->layout.page_bytes);
}

/* One holder less; without any it is free. */
static void let_go(struct slm_kv_pool *pool, uint32_t page)
{
    SLM_ASSERT(pool->holders[page] > 0);
    if (--pool->holders[page] == 0) pool->free_pages[pool->n_free++] = page;
}

/* A leaf leaves the tree. */
static void drop(struct slm_prefix *p, uint32_t i)
{
    struct node *n = &p->nodes[i];
    uint32_t *link = &p->slots[n->hash & (p->n_slots - 1)];
    SLM_ASSERT(n->n_children == 0);
    while (*link != i) link = &p->nodes[*link].next;
    *link = n->next;
    unlink_use(p, i);
    if (n->parent != NONE) p->nodes[n->parent].n_children--;
    let_go(&p->engine->pool, n->page);
    n->page = NONE;
    n->older = p->unused;
    p->unused = i;
}

void slm_prefix_close(struct slm_prefix *p)
{
    if (!p) return;
    while (p->nodes && p->slots && p->oldest != NONE) drop(p, p->oldest);
    slm_release(p->slots);
    slm_release(p->nodes);
    slm_release(p);
}

/* ---- the interface ---------------------------------------------------------------------------------------------- */

size_t slm_prefix_find(const struct slm_prefix *p, const struct slm_prefix_line *line, size_t *n_held)
{
    uint32_t at = NONE;
    size_t n = 0;
    if (n_held) *n_held = 0;
    for (; n < line->n_pages; n++) {
        at = lookup(p, line, n, at);
        if (at == NONE) break;
        if (n_held) *n_held += p->engine->pool.holders[p->nodes[at].page] > 1;
    }
    return n;
}

size_t slm_prefix_extend(struct slm_prefix *p, struct slm_session *session, const struct slm_prefix_line *line,
                         size_t from)
{
    struct slm_kv_pool *pool = &p->engine->pool;
    SLM_ASSERT(session->n_past == from * PAGE && session->seq.view.n_pages == from);
    uint32_t last = from < line->n_pages ? last_of(p, line, from) : NONE;
    size_t n = from;
    for (; n < line->n_pages; n++) {
        const uint32_t at = lookup(p, line, n, last);
        if (at == NONE) break;
        session->seq.pages[n] = address(pool, p->nodes[at].page);
        pool->holders[p->nodes[at].page]++;
        last = at;
    }
    if (n == from) return n;
    touch(p, last);
    memcpy(session->tokens + from * PAGE, line->ids + from * PAGE, (n - from) * PAGE * sizeof *line->ids);
    session->seq.view.n_pages = n;
    session->seq.view.n_tokens = session->n_past = n * PAGE;
    session->n_ahead = session->row = 0;
    session->has_logits = false;
    return n;
}

void slm_prefix_leave(struct slm_prefix *p, struct slm_session *session, const struct slm_prefix_line *line,
                      size_t from)
{
    struct slm_kv_pool *pool = &p->engine->pool;
    SLM_ASSERT(session->seq.view.n_pages >= line->n_pages);
    uint32_t last = last_of(p, line, from);
    for (size_t i = from; i < line->n_pages; i++) {
        const uint32_t own = number(pool, session->seq.pages[i]);
        uint32_t at = lookup(p, line, i, last);
        if (at == NONE) {
            at = p->unused; /* a node a page: there is one */
            struct node *n = &p->nodes[at];
            p->unused = n->older;
            uint32_t *slot = &p->slots[line->hashes[i] & (p->n_slots - 1)];
            *n = (struct node){.hash = line->hashes[i], .salt = line->salt, .page = own, .parent = last, .next = *slot};
            memcpy(n->ids, line->ids + i * PAGE, sizeof n->ids);
            *slot = at;
            link_newest(p, at);
            if (last != NONE) p->nodes[last].n_children++;
            pool->holders[own]++;
        } else if (p->nodes[at].page != own) { /* both computed it at the same time: one copy is enough */
            pool->holders[p->nodes[at].page]++;
            session->seq.pages[i] = address(pool, p->nodes[at].page);
            let_go(pool, own);
        }
        last = at;
    }
    touch(p, last);
}

void slm_prefix_forget(struct slm_prefix *p, const struct slm_prefix_line *line)
{
    uint32_t at = last_of(p, line, slm_prefix_find(p, line, NULL));
    while (at != NONE && p->nodes[at].n_children == 0 && p->engine->pool.holders[p->nodes[at].page] == 1) {
        const uint32_t parent = p->nodes[at].parent;
        drop(p, at);
        at = parent;
    }
}

bool slm_prefix_make_room(struct slm_prefix *p, size_t n)
{
    const struct slm_kv_pool *pool = &p->engine->pool;
    for (uint32_t i = p->oldest; i != NONE && pool->n_free < n;) {
        const uint32_t newer = p->nodes[i].newer;
        if (p->nodes[i].n_children == 0 && pool->holders[p->nodes[i].page] == 1) drop(p, i);
        i = newer;
    }
    return pool->n_free >= n;
}

size_t slm_prefix_n_idle(const struct slm_prefix *p)
{
    const struct slm_kv_pool *pool = &p->engine->pool;
    size_t n = 0;
    for (uint32_t i = p->oldest; i != NONE; i = p->nodes[i].newer) n += pool->holders[p->nodes[i].page] == 1;
    return n;
}
