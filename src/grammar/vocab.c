/* SPDX-License-Identifier: MIT
 * Building the tries of a vocabulary: nodes by hashing (parent, byte), then one walk that writes them in preorder. Left
 * out are tokens without text, tokens that end a generation, those longer than SLM_NFA_MAX_PIECE, and the lone byte
 * 0xFF, which marks special tokens. */
#include "grammar/vocab.h"
#include "base/os.h"
#include "grammar/nfa.h"

#define NONE UINT32_MAX

struct building {
    uint32_t *child, *sibling; /* [n] of a node: its latest child, the one before it */
    uint8_t *byte;
    int32_t *token;
    uint32_t *slots;           /* [cap] hash of (parent, byte) -> node */
    uint32_t *parent;
    size_t n, most, cap;
};

/* Any part may be missing after a failure. */
static void building_release(struct building *b)
{
    void *const parts[] = {b->child, b->sibling, b->byte, b->token, b->slots, b->parent};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) slm_release(parts[i]);
}

/* most: nodes there can be, one a byte and the root. */
static slm_status building_open(struct building *b, size_t most, struct slm_error *error)
{
    *b = (struct building){.most = most, .cap = 64, .n = 1};
    while (b->cap < 2 * most) b->cap *= 2;
    b->child = slm_alloc(most, sizeof *b->child, "vocabulary", error);
    b->sibling = slm_alloc(most, sizeof *b->sibling, "vocabulary", error);
    b->byte = slm_alloc(most, 1, "vocabulary", error);
    b->token = slm_alloc(most, sizeof *b->token, "vocabulary", error);
    b->parent = slm_alloc(most, sizeof *b->parent, "vocabulary", error);
    b->slots = slm_alloc(b->cap, sizeof *b->slots, "vocabulary", error);
    if (!b->child || !b->sibling || !b->byte || !b->token || !b->parent || !b->slots) return SLM_ERR_MEMORY;
    b->token[0] = -1;
    b->child[0] = b->sibling[0] = NONE;
    return SLM_OK;
}

/* The node below `parent` with this byte; a new one where there is none. Node 0 is the root, so 0 marks a free slot. */
static uint32_t child_of(struct building *b, uint32_t parent, uint8_t byte)
{
    const uint64_t key = (uint64_t)parent << 8 | byte;
    size_t at = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (b->cap - 1);
    for (; b->slots[at]; at = (at + 1) & (b->cap - 1))
        if (b->parent[b->slots[at]] == parent && b->byte[b->slots[at]] == byte) return b->slots[at];
    SLM_ASSERT(b->n < b->most);
    /* Children are listed latest first; the order does not matter, that it is fixed does. */
    const uint32_t node = (uint32_t)b->n++;
    b->slots[at] = node;
    b->parent[node] = parent;
    b->byte[node] = byte;
    b->token[node] = -1;
    b->child[node] = NONE;
    b->sibling[node] = b->child[parent];
    b->child[parent] = node;
    return node;
}

/* In preorder; what lies below a node ends where the walk comes back to it. */
static void lay_out(struct slm_vocab *v, const struct building *b)
{
    uint32_t path[SLM_NFA_MAX_PIECE + 3], laid[SLM_NFA_MAX_PIECE + 3];
    size_t depth = 0;
    path[0] = b->child[0];
    while (path[depth] != NONE || depth > 0) {
        const uint32_t at = path[depth];
        if (at == NONE) { /* the level is over: its parent's subtree ends here */
            depth--;
            v->nodes[laid[depth]].skip = (uint32_t)v->n_nodes;
            path[depth] = b->sibling[path[depth]];
            continue;
        }
        /* Where it ends is known when the walk comes back. */
        laid[depth] = (uint32_t)v->n_nodes;
        v->nodes[v->n_nodes++] = (struct slm_vocab_node){.token = b->token[at], .byte = b->byte[at],
                                                         .depth = (uint16_t)(depth + 1)};
        path[++depth] = b->child[at];
    }
}

/* The spelling of a token, or nothing when no grammar can use it. */
static slm_status spell(const struct slm_vocab_source *source, int32_t id, struct slm_buf *out,
                        struct slm_error *error)
{
    bool special = false;
    const struct slm_str text = source->text(source->user, id, &special);
    if (text.len == 0 || text.len > SLM_NFA_MAX_PIECE || source->ends(source->user, id)) return SLM_OK;
    if (memchr(text.ptr, SLM_NFA_SPECIAL[0], text.len)) return SLM_OK;
    /* So that no text can be taken for a special token, nor the other way round. */
    if (special) slm_buf_puts(out, SLM_NFA_SPECIAL);
    slm_buf_add_str(out, text);
    if (special) slm_buf_puts(out, SLM_NFA_SPECIAL);
    return slm_buf_status(out, "vocabulary", error);
}

/* All spellings, one behind the other: what a token eats when it is accepted, and what the tries are made of. */
static slm_status spell_all(struct slm_vocab *v, const struct slm_vocab_source *source, struct slm_error *error)
{
    struct slm_buf bytes = {0};
    slm_status status = SLM_OK;
    for (size_t id = 0; id < v->n_vocab && status == SLM_OK; id++) {
        v->begin[id] = (uint32_t)bytes.len;
        v->same[id] = -1;
        if (source->ends(source->user, (int32_t)id)) v->ends[id / 64] |= UINT64_C(1) << (id % 64);
        status = spell(source, (int32_t)id, &bytes, error);
    }
    v->begin[v->n_vocab] = (uint32_t)bytes.len;
    v->bytes = slm_alloc(bytes.len + 1, 1, "vocabulary", error);
    if (!v->bytes && status == SLM_OK) status = SLM_ERR_MEMORY;
    if (status == SLM_OK && bytes.len) memcpy(v->bytes, bytes.data, bytes.len);
    slm_buf_release(&bytes);
    return status;
}

/* A trie of the short tokens, or of the long ones, behind what is there. */
static slm_status add_trie(struct slm_vocab *v, struct slm_vocab_trie *trie, bool is_long, struct slm_error *error)
{
    struct building b = {0};
    size_t bytes = 0;
    *trie = (struct slm_vocab_trie){.begin = (uint32_t)v->n_nodes};
    for (size_t id = 0; id < v->n_vocab; id++) {
        const size_t len = slm_vocab_text(v, (int32_t)id).len;
        if ((len > SLM_NFA_SHORT_PIECE) != is_long) continue;
        bytes += len;
        if (len > trie->longest) trie->longest = (uint32_t)len;
    }
    slm_status status = building_open(&b, bytes + 2, error);
    /* Backwards: of equal texts the first heads the list. */
    for (size_t id = v->n_vocab; id-- > 0 && status == SLM_OK;) {
        const struct slm_str text = slm_vocab_text(v, (int32_t)id);
        uint32_t at = 0;
        if (text.len == 0 || (text.len > SLM_NFA_SHORT_PIECE) != is_long) continue;
        for (size_t i = 0; i < text.len; i++) at = child_of(&b, at, (uint8_t)text.ptr[i]);
        v->same[id] = b.token[at];
        b.token[at] = (int32_t)id;
    }
    /* Behind the nodes of the trie before. */
    void *nodes = status == SLM_OK ? slm_realloc(v->nodes, v->n_nodes + b.n, sizeof *v->nodes, "vocabulary", error)
                                   : NULL;
    if (nodes) {
        v->nodes = nodes;
        lay_out(v, &b);
    }
    trie->end = (uint32_t)v->n_nodes;
    building_release(&b);
    return nodes ? SLM_OK : SLM_ERR_MEMORY;
}

/* The order of the nodes depends on the tokens alone, so masks do not depend on the run. */
slm_status slm_vocab_open(const struct slm_vocab_source *source, struct slm_vocab **out, struct slm_error *error)
{
    slm_status status = SLM_ERR_MEMORY;
    struct slm_vocab *v = slm_alloc(1, sizeof *v, "vocabulary", error);
    if (!v) return SLM_ERR_MEMORY;
    v->n_vocab = source->n_vocab;
    v->n_words = (source->n_vocab + 63) / 64;
    v->same = slm_alloc(v->n_vocab + 1, sizeof *v->same, "vocabulary", error);
    v->begin = slm_alloc(v->n_vocab + 1, sizeof *v->begin, "vocabulary", error);
    v->ends = slm_alloc(v->n_words + 1, sizeof *v->ends, "vocabulary", error);
    if (!v->same || !v->begin || !v->ends) goto out;
    if ((status = spell_all(v, source, error)) != SLM_OK) goto out;
    for (unsigned i = 0; i < SLM_VOCAB_TRIES && status == SLM_OK; i++) status = add_trie(v, &v->tries[i], i > 0, error);
out:
    if (status == SLM_OK) *out = v;
    else slm_vocab_close(v);
    return status;
}

/* Any part may be missing. */
void slm_vocab_close(struct slm_vocab *v)
{
    if (!v) return;
    void *const parts[] = {v->nodes, v->same, v->bytes, v->begin, v->ends};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) slm_release(parts[i]);
    slm_release(v);
}
