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

/* Ordinary tokens are spelled in the byte-level alphabet; a few vocabularies list added tokens, which are spelled as
 * they are, among the merge results. */
static int32_t find_spelled(const struct slm_vocab *vocab, const char *spelled, size_t spelled_bytes,
                            struct slm_str piece)
{
    const int32_t id = slm_vocab_find(vocab, piece, SLM_TYPES_TEXT);
    if (id >= 0) return id;
    return slm_vocab_find(vocab, (struct slm_str){spelled, spelled_bytes}, SLM_TYPE_BIT(SLM_TOKEN_USER_DEFINED));
}

static slm_status add_rule(struct slm_pairs *pairs, const struct slm_tokenizer_source *source,
                           const struct slm_vocab *vocab, size_t rank, struct slm_error *error)
{
    const struct slm_str rule = source->merges[rank];
    const int shown = (int)(rule.len < 80 ? rule.len : 80);
    const char *space = rule.len > 1 ? memchr(rule.ptr + 1, ' ', rule.len - 1) : NULL;
    const size_t left_bytes = space ? (size_t)(space - rule.ptr) : 0;
    if (!space || left_bytes + 1 == rule.len || rule.len > 2 * SLM_TOKENIZER_MAX_TOKEN_BYTES)
        return slm_fail(error, SLM_ERR_FORMAT, source->where,
                        "merge %zu is '%.*s'; two tokens with one space between them are allowed", rank, shown,
                        rule.len ? rule.ptr : "");
    /* Both halves decoded end to end: their concatenation is the merged token's piece. */
    char spelled[2 * SLM_TOKENIZER_MAX_TOKEN_BYTES], bytes[2 * SLM_TOKENIZER_MAX_TOKEN_BYTES];
    const struct slm_str left = {rule.ptr, left_bytes}, right = {space + 1, rule.len - left_bytes - 1};
    memcpy(spelled, left.ptr, left.len);
    memcpy(spelled + left.len, right.ptr, right.len);
    const size_t n_left = slm_token_model_bpe.decode(left, bytes);
    const size_t n_right = slm_token_model_bpe.decode(right, bytes + n_left);
    const int32_t ids[3] = {
        find_spelled(vocab, left.ptr, left.len, (struct slm_str){bytes, n_left}),
        find_spelled(vocab, right.ptr, right.len, (struct slm_str){bytes + n_left, n_right}),
        find_spelled(vocab, spelled, left.len + right.len, (struct slm_str){bytes, n_left + n_right}),
    };
    static const char *const part[3] = {"left half", "right half", "result"};
    for (int i = 0; i < 3; i++)
        if (ids[i] < 0)
            return slm_fail(error, SLM_ERR_FORMAT, source->where,
                            "merge %zu is '%.*s', but its %s is not in the vocabulary; all three must be", rank, shown,
                            rule.ptr, part[i]);
    pairs->merged[rank] = ids[2];
    insert(pairs, (uint64_t)ids[0] << FIELD_BITS | (uint64_t)ids[1], rank);
    return SLM_OK;
}

slm_status slm_pairs_build(struct slm_pairs *pairs, const struct slm_tokenizer_source *source,
                           const struct slm_vocab *vocab, struct slm_arena *arena, struct slm_error *error)
{
    size_t n_slots = 16;
    unsigned bits = 4;
    while (n_slots < source->n_merges * 5 / 3) n_slots *= 2, bits++;
    pairs->mask = n_slots - 1;
    pairs->shift = 64 - bits;
    pairs->multiplier = vocab->seed * 2 + 1;
    pairs->multiplier ^= UINT64_C(0x9E3779B97F4A7C14); /* even: the result stays odd, and its high bits are busy */
    pairs->slots = slm_arena_alloc(arena, n_slots, sizeof *pairs->slots, source->where, error);
    pairs->merged = slm_arena_alloc(arena, source->n_merges + 1, sizeof *pairs->merged, source->where, error);
    if (!pairs->slots || !pairs->merged) return SLM_ERR_MEMORY;
    memset(pairs->slots, 0xff, n_slots * sizeof *pairs->slots);
    for (size_t rank = 0; rank < source->n_merges; rank++)
        SLM_TRY(add_rule(pairs, source, vocab, rank, error));
    return SLM_OK;
}
