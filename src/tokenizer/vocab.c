/* SPDX-License-Identifier: MIT
 * The vocabulary: texts, pieces and types of all tokens, and one hash table over the pieces.
 *
 * It exists apart from the two models because both need exactly this, and opening 150,000 tokens must take
 * milliseconds: three flat arrays and one table, no allocation per token.
 *
 * A vocabulary may hold duplicate texts and texts that are not UTF-8. Both load: every id decodes to its bytes, and
 * encoding uses the first id of a text. It does not know merges, patterns or special-token rules. */
#include "base/checked.h"
#include "base/os.h"
#include "tokenizer/internal.h"

static_assert(SLM_TOKENIZER_MAX_TOKEN_BYTES <= UINT16_MAX, "lengths of tokens have 16 bits");

int slm_vocab_byte_value(struct slm_str text)
{
    if (text.len != 6 || memcmp(text.ptr, "<0x", 3) != 0 || text.ptr[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        const char c = text.ptr[i];
        if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
        else if (c >= 'A' && c <= 'F') value = value * 16 + (c - 'A' + 10);
        else if (c >= 'a' && c <= 'f') value = value * 16 + (c - 'a' + 10);
        else return -1;
    }
    return value;
}

/* Folded to 32 bits: a slot keeps them all, so that a foreign token is almost never looked at. */
static uint32_t hash_piece(const struct slm_vocab *vocab, struct slm_str piece)
{
    const uint64_t h = slm_hash_bytes(piece.ptr, piece.len, vocab->seed);
    return (uint32_t)(h ^ h >> 32);
}

/* Same piece and same kind of token: the later one is never the result of a lookup. */
static unsigned lookup_class(unsigned type)
{
    return SLM_TYPE_BIT(type) & SLM_TYPES_TEXT ? SLM_TYPES_TEXT : SLM_TYPE_BIT(type);
}

/* Every token but empty ones and duplicates. */
static void insert(struct slm_vocab *vocab, int32_t id)
{
    const struct slm_str piece = slm_vocab_piece(vocab, id);
    if (piece.len == 0) return; /* empty tokens decode to nothing and are never found */
    const uint32_t hash = hash_piece(vocab, piece);
    size_t at = hash & vocab->mask;
    for (; vocab->slots[at].id >= 0; at = (at + 1) & vocab->mask) {
        const struct slm_vocab_slot slot = vocab->slots[at];
        if (slot.hash == hash && lookup_class(vocab->tokens[slot.id].type) == lookup_class(vocab->tokens[id].type) &&
            slm_str_equal(slm_vocab_piece(vocab, slot.id), piece))
            return; /* a duplicate: also keeps a file of equal tokens from making one long probe chain */
    }
    vocab->slots[at] = (struct slm_vocab_slot){hash, id};
}

static int32_t find_hashed(const struct slm_vocab *vocab, struct slm_str piece, uint32_t hash, unsigned types)
{
    if (piece.len == 0) return -1;
    for (size_t at = hash & vocab->mask;; at = (at + 1) & vocab->mask) {
        const struct slm_vocab_slot slot = vocab->slots[at];
        if (slot.id < 0) return -1;
        if (slot.hash == hash && SLM_TYPE_BIT(vocab->tokens[slot.id].type) & types &&
            slm_str_equal(slm_vocab_piece(vocab, slot.id), piece))
            return slot.id;
    }
}

int32_t slm_vocab_find(const struct slm_vocab *vocab, struct slm_str piece, unsigned types)
{
    return find_hashed(vocab, piece, hash_piece(vocab, piece), types);
}

/* A lookup is three dependent misses: slot, token, bytes. Each step is asked for in all lookups before the next. */
void slm_vocab_find_many(const struct slm_vocab *vocab, const struct slm_str *pieces, size_t n, unsigned types,
                         int32_t *ids)
{
    SLM_ASSERT(n <= SLM_VOCAB_MANY);
    uint32_t hashes[SLM_VOCAB_MANY];
    for (size_t i = 0; i < n; i++) {
        hashes[i] = hash_piece(vocab, pieces[i]);
        __builtin_prefetch(&vocab->slots[hashes[i] & vocab->mask]);
    }
    for (size_t i = 0; i < n; i++) {
        const struct slm_vocab_slot slot = vocab->slots[hashes[i] & vocab->mask];
        if (slot.id >= 0) __builtin_prefetch(&vocab->tokens[slot.id]);
    }
    for (size_t i = 0; i < n; i++) {
        const struct slm_vocab_slot slot = vocab->slots[hashes[i] & vocab->mask];
        if (slot.id >= 0) __builtin_prefetch(vocab->piece + vocab->tokens[slot.id].piece_at);
    }
    for (size_t i = 0; i < n; i++) ids[i] = find_hashed(vocab, pieces[i], hashes[i], types);
}

/* Of two ids the first that exists. */
static int32_t earlier(int32_t a, int32_t b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

int slm_vocab_by_text(const void *left, const void *right)
{
    const struct slm_vocab_entry *a = left, *b = right;
    const size_t n = a->text.len < b->text.len ? a->text.len : b->text.len;
    const int order = memcmp(a->text.ptr, b->text.ptr, n);
    if (order) return order;
    if (a->text.len != b->text.len) return a->text.len < b->text.len ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

int32_t slm_vocab_find_text(const struct slm_vocab *vocab, const struct slm_token_model *model, struct slm_str text)
{
    if (text.len == 0 || text.len > SLM_TOKENIZER_MAX_TOKEN_BYTES) return -1;
    char piece[SLM_TOKENIZER_MAX_TOKEN_BYTES];
    const size_t n = model->decode(text, piece);
    int32_t id = slm_vocab_find(vocab, text, SLM_TYPES_SPECIAL);
    id = earlier(id, slm_vocab_find(vocab, (struct slm_str){piece, n}, SLM_TYPES_TEXT));
    const int byte = slm_vocab_byte_value(text);
    if (byte >= 0) {
        piece[0] = (char)byte;
        id = earlier(id, slm_vocab_find(vocab, (struct slm_str){piece, 1}, SLM_TYPE_BIT(SLM_TOKEN_BYTE)));
    }
    if (id < 0 || slm_str_equal(slm_vocab_text(vocab, id), text)) return id;
    /* Another spelling of the same piece came first: rare enough for a walk. */
    for (size_t i = 0; i < vocab->n; i++)
        if (slm_str_equal(slm_vocab_text(vocab, (int32_t)i), text)) return (int32_t)i;
    return -1;
}

/* Measures the texts, and sizes everything by that: nothing grows later. */
static slm_status allocate(struct slm_vocab *vocab, const struct slm_tokenizer_source *source, struct slm_arena *arena,
                           struct slm_error *error)
{
    size_t bytes = 0;
    for (size_t i = 0; i < source->n_vocab; i++) {
        const size_t len = source->tokens[i].len;
        if (len > SLM_TOKENIZER_MAX_TOKEN_BYTES)
            return slm_fail(error, SLM_ERR_LIMIT, source->where, "token %zu has %zu bytes; at most %d are allowed", i,
                            len, SLM_TOKENIZER_MAX_TOKEN_BYTES);
        bytes += len; /* 2^21 tokens of 2^12 bytes: cannot overflow */
    }
    if (bytes > UINT32_MAX)
        return slm_fail(error, SLM_ERR_LIMIT, source->where,
                        "the tokens have %zu bytes together; at most %u are allowed", bytes, UINT32_MAX);
    size_t n_slots = 16; /* a power of two, so that & finds the slot */
    while (n_slots < vocab->n * 5 / 3) n_slots *= 2; /* at most 60 % full: short probe chains */
    vocab->mask = n_slots - 1;
    vocab->text = slm_arena_alloc(arena, bytes + 1, 1, source->where, error);
    vocab->piece = slm_arena_alloc(arena, bytes + 1, 1, source->where, error);
    vocab->tokens = slm_arena_alloc(arena, vocab->n, sizeof *vocab->tokens, source->where, error);
    vocab->slots = slm_arena_alloc(arena, n_slots, sizeof *vocab->slots, source->where, error);
    if (!vocab->text || !vocab->piece || !vocab->tokens || !vocab->slots) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < n_slots; i++) vocab->slots[i].id = -1;
    return SLM_OK;
}

/* The bytes this token stands for when it is shown. Control and unknown tokens keep their text as piece: whether it
 * is shown is the caller's choice. */
static slm_status write_piece(struct slm_vocab *vocab, const struct slm_tokenizer_source *source,
                              const struct slm_token_model *model, size_t i, struct slm_error *error)
{
    const struct slm_str text = slm_vocab_text(vocab, (int32_t)i);
    const unsigned type = vocab->tokens[i].type;
    char *out = vocab->piece + vocab->tokens[i].piece_at;
    size_t n = text.len;
    if (type == SLM_TOKEN_BYTE) {
        const int byte = slm_vocab_byte_value(text);
        if (byte < 0)
            return slm_fail(error, SLM_ERR_FORMAT, source->where,
                            "token %zu has type byte but its text is '%.*s'; <0x00> to <0xFF> are allowed", i,
                            (int)(text.len < 40 ? text.len : 40), text.len ? text.ptr : "");
        *out = (char)byte;
        n = 1;
        if (vocab->byte_id[byte] < 0) vocab->byte_id[byte] = (int32_t)i;
    } else if (SLM_TYPE_BIT(type) & SLM_TYPES_TEXT) {
        n = model->decode(text, out);
        if (n > vocab->longest) vocab->longest = n;
    } else if (n) {
        memcpy(out, text.ptr, n);
    }
    vocab->tokens[i].piece_bytes = (uint16_t)n;
    return SLM_OK;
}

slm_status slm_vocab_build(struct slm_vocab *vocab, const struct slm_tokenizer_source *source,
                           const struct slm_token_model *model, struct slm_arena *arena, struct slm_error *error)
{
    vocab->n = source->n_vocab;
    /* Nothing observable depends on the seed; the clock is entropy enough against files built to collide. */
    vocab->seed = slm_os()->now_ns() ^ (uint64_t)(uintptr_t)vocab;
    memset(vocab->byte_id, 0xff, sizeof vocab->byte_id);
    SLM_TRY(allocate(vocab, source, arena, error));
    uint32_t text_bytes = 0, piece_bytes = 0;
    for (size_t i = 0; i < vocab->n; i++) {
        const struct slm_str text = source->tokens[i];
        if (text.len) memcpy(vocab->text + text_bytes, text.ptr, text.len);
        unsigned type = source->types ? source->types[i] : SLM_TOKEN_NORMAL;
        if (type > SLM_TOKEN_BYTE)
            return slm_fail(error, SLM_ERR_FORMAT, source->where, "token %zu has type %u; 0 to %d are allowed", i, type,
                            SLM_TOKEN_BYTE);
        if (!source->types && model->spelled_bytes && slm_vocab_byte_value(text) >= 0) type = SLM_TOKEN_BYTE;
        vocab->tokens[i] = (struct slm_vocab_token){
            .text_at = text_bytes, .piece_at = piece_bytes, .text_bytes = (uint16_t)text.len, .type = (uint8_t)type};
        SLM_TRY(write_piece(vocab, source, model, i, error));
        text_bytes += (uint32_t)text.len;
        piece_bytes += vocab->tokens[i].piece_bytes;
    }
    /* After the pieces, so that the table is filled in one pass while it is hot. */
    for (size_t i = 0; i < vocab->n; i++) insert(vocab, (int32_t)i);
    return SLM_OK;
}
