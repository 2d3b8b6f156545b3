/* SPDX-License-Identifier: MIT
 * Merge rules as numbers: (left id, right id) -> rank, and the id they merge into.
 *
 * It exists because a merge loop that compares strings is several times slower. Ids and ranks have 21 bits each, so
 * a rule is one 64-bit word and a lookup usually touches one cache line; 300,000 rules take 4 MB.
 * The first of two equal rules counts. */
#include "base/os.h"
#include "tokenizer/internal.h"

#define FIELD_BITS 21
#define FIELD_MASK (((uint64_t)1 << FIELD_BITS) - 1)
#define EMPTY UINT64_MAX
static_assert(SLM_TOKENIZER_MAX_IDS == (size_t)1 << FIELD_BITS, "ids must fit the fields");

/* Multiply-shift hashing with a multiplier that a file's author cannot know. */
static size_t home(const struct slm_pairs *pairs, uint64_t key)
{
    return (size_t)((key * pairs->multiplier) >> pairs->shift);
}

bool slm_pairs_find(const struct slm_pairs *pairs, int32_t left, int32_t right, uint32_t *rank, int32_t *merged)
{
    if (left < 0 || right < 0) return false;
    const uint64_t key = (uint64_t)left << FIELD_BITS | (uint64_t)right;
    for (size_t at = home(pairs, key);; at = (at + 1) & pairs->mask) {
        const uint64_t slot = pairs->slots[at];
        if (slot >> FIELD_BITS == key) {
            *rank = (uint32_t)(slot & FIELD_MASK);
            *merged = pairs->merged[*rank];
            return true;
        }
        if (slot == EMPTY) return false;
    }
}

static void insert(struct slm_pairs *pairs, uint64_t key, uint64_t rank)
{
    size_t at = home(pairs, key);
    for (; pairs->slots[at] != EMPTY; at = (at + 1) & pairs->mask)
        if (pairs->slots[at] >> FIELD_BITS == key) return;
    pairs->slots[at] = key << FIELD_BITS | rank;
}

/* Rules are read in blocks of this many: three lookups each, all waiting for memory together. */
#define BLOCK (SLM_VOCAB_MANY / 3)
#define BLOCK_BYTES (4 * SLM_TOKENIZER_MAX_TOKEN_BYTES)

struct block {
    char bytes[BLOCK_BYTES];          /* left and right piece of each rule, end to end: that is the merged piece */
    struct slm_str halves[2 * BLOCK]; /* left, right, as spelled */
    struct slm_str pieces[3 * BLOCK]; /* left, right, merged */
    int32_t ids[3 * BLOCK];
    size_t used, n;                   /* of bytes; rules */
};

static slm_status bad_rule(const struct slm_tokenizer_source *source, size_t rank, const char *what,
                           struct slm_error *error)
{
    const struct slm_str rule = source->merges[rank];
    return slm_fail(error, SLM_ERR_FORMAT, source->where, "merge %zu is '%.*s'%s", rank,
                    (int)(rule.len < 80 ? rule.len : 80), rule.len ? rule.ptr : "", what);
}

/* A rule's text without its space; false when it has none, or a half is empty. */
static bool cut_rule(const struct slm_tokenizer_source *source, size_t rank, struct slm_str *left,
                     struct slm_str *right)
{
    const struct slm_str rule = source->merges[rank];
    /* From 1: a first character that is a space would be a token's. */
    const char *space = rule.len > 1 ? memchr(rule.ptr + 1, ' ', rule.len - 1) : NULL;
    if (source->merge_cuts) space = source->merge_cuts[rank] ? rule.ptr + source->merge_cuts[rank] : NULL;
    if (!space || rule.len > 2 * SLM_TOKENIZER_MAX_TOKEN_BYTES) return false;
    *left = (struct slm_str){rule.ptr, (size_t)(space - rule.ptr)};
    *right = (struct slm_str){space + 1, rule.len - left->len - 1};
    return right->len > 0;
}

/* Ordinary tokens are spelled in the byte-level alphabet. A few vocabularies list added tokens, which are spelled as
 * they are, among the merges: those are found here. */
static int32_t find_added(const struct slm_vocab *vocab, struct slm_str left, struct slm_str right)
{
    char spelled[2 * SLM_TOKENIZER_MAX_TOKEN_BYTES];
    memcpy(spelled, left.ptr, left.len);
    if (right.len) memcpy(spelled + left.len, right.ptr, right.len);
    const struct slm_str text = {spelled, left.len + right.len};
    return slm_vocab_find(vocab, text, SLM_TYPE_BIT(SLM_TOKEN_USER_DEFINED));
}

/* A rule about tokens the vocabulary does not have can never apply and is passed over, as llama.cpp does: trimmed
 * vocabularies keep the merges of the whole one. */
static void add_rule(struct slm_pairs *pairs, const struct slm_vocab *vocab, const struct slm_str halves[2],
                     int32_t ids[3], size_t rank)
{
    const struct slm_str none = {0};
    if (ids[0] < 0) ids[0] = find_added(vocab, halves[0], none);
    if (ids[1] < 0) ids[1] = find_added(vocab, halves[1], none);
    if (ids[2] < 0) ids[2] = find_added(vocab, halves[0], halves[1]);
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0) return;
    pairs->merged[rank] = ids[2];
    insert(pairs, (uint64_t)ids[0] << FIELD_BITS | (uint64_t)ids[1], rank);
}

/* Reads rules from `rank` on until the block is full. */
static slm_status read_block(struct block *block, const struct slm_tokenizer_source *source,
                             const struct slm_token_model *model, size_t rank, struct slm_error *error)
{
    block->used = block->n = 0;
    for (; block->n < BLOCK && rank < source->n_merges; rank++, block->n++) {
        struct slm_str *half = block->halves + 2 * block->n;
        if (!cut_rule(source, rank, &half[0], &half[1]))
            return bad_rule(source, rank, "; two tokens with one space between them are allowed", error);
        if (block->used + half[0].len + half[1].len > BLOCK_BYTES) break;
        char *at = block->bytes + block->used;
        const size_t n_left = model->decode(half[0], at),
                     n_right = model->decode(half[1], at + n_left);
        block->pieces[3 * block->n] = (struct slm_str){at, n_left};
        block->pieces[3 * block->n + 1] = (struct slm_str){at + n_left, n_right};
        block->pieces[3 * block->n + 2] = (struct slm_str){at, n_left + n_right};
        block->used += n_left + n_right;
    }
    return SLM_OK;
}

slm_status slm_pairs_build(struct slm_pairs *pairs, const struct slm_tokenizer_source *source,
                           const struct slm_token_model *model, const struct slm_vocab *vocab,
                           struct slm_arena *arena, struct slm_error *error)
{
    size_t n_slots = 16;
    unsigned bits = 4;
    while (n_slots < source->n_merges * 5 / 3) n_slots *= 2, bits++; /* at most 60 % full */
    pairs->mask = n_slots - 1;
    pairs->shift = 64 - bits;
    pairs->multiplier = vocab->seed * 2 + 1;
    pairs->multiplier ^= UINT64_C(0x9E3779B97F4A7C14); /* even: the result stays odd, and its high bits are busy */
    pairs->slots = slm_arena_alloc(arena, n_slots, sizeof *pairs->slots, source->where, error);
    pairs->merged = slm_arena_alloc(arena, source->n_merges + 1, sizeof *pairs->merged, source->where, error);
    if (!pairs->slots || !pairs->merged) return SLM_ERR_MEMORY;
    memset(pairs->slots, 0xff, n_slots * sizeof *pairs->slots);
    struct block block;
    for (size_t rank = 0; rank < source->n_merges; rank += block.n) {
        SLM_TRY(read_block(&block, source, model, rank, error));
        slm_vocab_find_many(vocab, block.pieces, 3 * block.n, SLM_TYPES_TEXT, block.ids);
        for (size_t i = 0; i < block.n; i++)
            add_rule(pairs, vocab, block.halves + 2 * i, block.ids + 3 * i, rank + i);
    }
    return SLM_OK;
}
