/* SPDX-License-Identifier: MIT
 * One word -> ids, by repeatedly merging the best pair of neighbours.
 *
 * All BPE models are this algorithm with another order (scores or ranks), so it is written once. A heap of candidate
 * pairs gives O(n log n) for a word of any length, without recursion and in memory linear in the word; symbols are a
 * linked list of adjacent spans. Entries are never removed from the heap when they go stale; they are recognised:
 * a candidate is current exactly when its left symbol lives and the pair still ends where it ended. (Boundaries only
 * disappear, so the same span with two symbols has the same boundary inside, hence the same two symbols.)
 *
 * It knows neither text normalisation nor patterns. */
#include "base/os.h"
#include "tokenizer/internal.h"

#define WHERE "tokenize"

/* Room for n symbols; a word has at most one a byte. Kept from word to word. */
static slm_status reserve_symbols(struct slm_encoder *e, size_t n)
{
    if (n <= e->cap_symbols) return SLM_OK;
    size_t cap = e->cap_symbols ? e->cap_symbols : 256;
    while (cap < n) cap *= 2;
    struct slm_symbol *grown = slm_realloc(e->symbols, cap, sizeof *grown, WHERE, e->error);
    if (!grown) return SLM_ERR_MEMORY;
    e->symbols = grown;
    e->cap_symbols = cap;
    return SLM_OK;
}

/* At the end, out of order. The heap never holds more than three entries a symbol: each symbol is proposed once at the
 * start, and each merge takes one candidate and proposes at most two. */
static slm_status heap_append(struct slm_encoder *e, struct slm_candidate c)
{
    if (e->n_heap == e->cap_heap) {
        const size_t cap = e->cap_heap ? e->cap_heap * 2 : 256;
        struct slm_candidate *grown = slm_realloc(e->heap, cap, sizeof *grown, WHERE, e->error);
        if (!grown) return SLM_ERR_MEMORY;
        e->heap = grown;
        e->cap_heap = cap;
    }
    e->heap[e->n_heap++] = c;
    return SLM_OK;
}

/* The two halves of a binary heap; both move holes instead of swapping. */
static void sift_down(struct slm_candidate *heap, size_t n, size_t at)
{
    const struct slm_candidate moving = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && heap[child + 1].key < heap[child].key) child++;
        if (moving.key <= heap[child].key) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void sift_up(struct slm_candidate *heap, size_t at)
{
    const struct slm_candidate moving = heap[at];
    while (at > 0) {
        const size_t parent = (at - 1) / 2;
        if (heap[parent].key <= moving.key) break;
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = moving;
}

static struct slm_candidate heap_pop(struct slm_encoder *e)
{
    const struct slm_candidate top = e->heap[0];
    if (--e->n_heap) {
        e->heap[0] = e->heap[e->n_heap];
        sift_down(e->heap, e->n_heap, 0);
    }
    return top;
}

/* Where symbol i ends in the word: where the next one starts. */
static uint32_t end_of(const struct slm_encoder *e, struct slm_str word, uint32_t i)
{
    const uint32_t next = e->symbols[i].next;
    return next == SLM_SYMBOL_NONE ? (uint32_t)word.len : e->symbols[next].start;
}

/* Appends the pair (left, its next) to the heap array if it can merge; the caller restores the heap order. */
static slm_status propose(struct slm_encoder *e, struct slm_str word, uint32_t left, bool *added)
{
    *added = false;
    if (left == SLM_SYMBOL_NONE) return SLM_OK;
    const struct slm_symbol *a = &e->symbols[left];
    if (a->next == SLM_SYMBOL_NONE) return SLM_OK;
    const uint32_t end = end_of(e, word, a->next);
    const struct slm_str pair = {word.ptr + a->start, end - a->start};
    uint32_t priority;
    int32_t id;
    if (!e->tokenizer->model->pair(e->tokenizer, pair, a->id, e->symbols[a->next].id, &priority, &id)) return SLM_OK;
    *added = true;
    return heap_append(e, (struct slm_candidate){(uint64_t)priority << 32 | left, end, id});
}

/* The same, with the heap in order before and after. */
static slm_status propose_and_sift(struct slm_encoder *e, struct slm_str word, uint32_t left)
{
    bool added;
    SLM_TRY(propose(e, word, left, &added));
    if (added) sift_up(e->heap, e->n_heap - 1);
    return SLM_OK;
}

/* All proposals first, then one linear pass into heap order: cheaper than sifting each. */
static slm_status merge_all(struct slm_encoder *e, struct slm_str word, uint32_t n)
{
    e->n_heap = 0;
    bool added;
    for (uint32_t i = 0; i + 1 < n; i++) SLM_TRY(propose(e, word, i, &added));
    for (size_t i = e->n_heap / 2; i-- > 0;) sift_down(e->heap, e->n_heap, i);
    while (e->n_heap) {
        const struct slm_candidate best = heap_pop(e);
        const uint32_t left = (uint32_t)best.key;
        struct slm_symbol *a = &e->symbols[left];
        if (a->id == SLM_SYMBOL_DEAD || a->next == SLM_SYMBOL_NONE || end_of(e, word, a->next) != best.end) continue;
        struct slm_symbol *b = &e->symbols[a->next]; /* swallowed by a */
        a->id = best.id;
        a->next = b->next;
        b->id = SLM_SYMBOL_DEAD;
        if (a->next != SLM_SYMBOL_NONE) e->symbols[a->next].prev = left;
        /* Two new pairs of neighbours; what the heap still holds of the old ones is stale. */
        SLM_TRY(propose_and_sift(e, word, a->prev));
        SLM_TRY(propose_and_sift(e, word, left));
    }
    return SLM_OK;
}

/* Byte by byte where all bytes have tokens. */
slm_status slm_encoder_unknown(struct slm_encoder *e, struct slm_str symbol)
{
    const struct slm_tokenizer *t = e->tokenizer;
    bool bytes = true;
    for (size_t i = 0; i < symbol.len; i++) bytes = bytes && t->vocab.byte_id[(unsigned char)symbol.ptr[i]] >= 0;
    /* Bytes also where there is no unknown token: then a missing one is an error. */
    if (bytes || t->unk < 0) {
        for (size_t i = 0; i < symbol.len; i++) SLM_TRY(slm_encoder_byte(e, (unsigned char)symbol.ptr[i]));
    } else if (!(e->after_unknown && t->fuse_unk)) {
        slm_encoder_push(e, t->unk);
    }
    e->after_unknown = !bytes;
    return SLM_OK;
}

/* Symbols -> ids. A short result goes into memo, if there is one. */
static slm_status emit(struct slm_encoder *e, struct slm_str word, struct slm_word *memo)
{
    uint32_t n_ids = 0;
    int32_t ids[SLM_WORD_IDS];
    e->after_unknown = false;
    for (uint32_t i = 0; i != SLM_SYMBOL_NONE; i = e->symbols[i].next) {
        const int32_t id = e->symbols[i].id;
        if (id >= 0) {
            slm_encoder_push(e, id);
            if (n_ids < SLM_WORD_IDS) ids[n_ids] = id;
            n_ids++;
            e->after_unknown = false;
        } else {
            const uint32_t start = e->symbols[i].start;
            SLM_TRY(slm_encoder_unknown(e, (struct slm_str){word.ptr + start, end_of(e, word, i) - start}));
            memo = NULL;
        }
    }
    if (memo && n_ids <= SLM_WORD_IDS) {
        memcpy(memo->bytes, word.ptr, word.len);
        memcpy(memo->ids, ids, n_ids * sizeof *ids);
        memo->len = (uint8_t)word.len;
        memo->n_ids = n_ids;
    }
    return SLM_OK;
}

slm_status slm_encoder_word(struct slm_encoder *e, struct slm_str word)
{
    if (word.len == 0) return SLM_OK;
    struct slm_word *memo = NULL;
    /* A word's ids depend on its bytes alone, so a word seen before needs no merging. */
    if (e->words && word.len <= SLM_WORD_BYTES) {
        memo = &e->words[slm_hash_bytes(word.ptr, word.len, e->tokenizer->vocab.seed) % SLM_WORDS];
        if (memo->len == word.len && memcmp(memo->bytes, word.ptr, word.len) == 0) {
            for (uint32_t i = 0; i < memo->n_ids; i++) slm_encoder_push(e, memo->ids[i]);
            return SLM_OK;
        }
    }
    const struct slm_token_model *model = e->tokenizer->model;
    /* The start: one symbol for the whole word where the model has such a shortcut, else its smallest parts. */
    const int32_t whole = model->whole(e->tokenizer, word);
    SLM_TRY(reserve_symbols(e, whole >= 0 ? 1 : word.len));
    uint32_t n = 1;
    if (whole >= 0) e->symbols[0] = (struct slm_symbol){.id = whole};
    else n = (uint32_t)model->split(e->tokenizer, word, e->symbols);
    for (uint32_t i = 0; i < n; i++) {
        e->symbols[i].prev = i ? i - 1 : SLM_SYMBOL_NONE;
        e->symbols[i].next = i + 1 < n ? i + 1 : SLM_SYMBOL_NONE;
    }
    SLM_TRY(merge_all(e, word, n));
    return emit(e, word, memo);
}

slm_status slm_encoder_byte(struct slm_encoder *e, unsigned char byte)
{
    const struct slm_tokenizer *t = e->tokenizer;
    const int32_t id = t->vocab.byte_id[byte] >= 0 ? t->vocab.byte_id[byte] : t->unk;
    if (id < 0)
        return slm_fail(e->error, SLM_ERR_ARGUMENT, WHERE,
                        "the vocabulary has no token for the byte 0x%02X and no unknown token", byte);
    slm_encoder_push(e, id);
    return SLM_OK;
}
