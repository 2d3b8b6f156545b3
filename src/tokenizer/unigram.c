/* SPDX-License-Identifier: MIT
 * The "t5" model: Unigram. Every token has a log-probability; a word becomes the tokens whose sum is largest (Viterbi).
 *
 * Reference: SentencePiece's unigram_model (its optimised encoder) and Hugging Face tokenizers' Unigram. They agree but
 * for rounding, and sums that are equal up to rounding are common: a text has the same pieces in another order. So
 * sums run from where theirs do, the start of a sentence or of a word, and are floats or doubles as theirs are.
 *
 * Pieces that begin at a place are found in one walk down a trie. A word of n bytes costs n steps times the longest
 * piece, no recursion, and one path node a byte. Control tokens and bytes spelled "<0xNN>" are no pieces: text that
 * spells one stays text. */
#include <math.h>
#include <stdlib.h>
#include "base/os.h"
#include "base/utf8.h"
#include "tokenizer/internal.h"

#define WHERE "tokenize"
#define NO_START UINT32_MAX
#define UNKNOWN_PENALTY 10 /* what a character without a piece costs beyond the rarest piece; the originals' number */

/* ---- the trie ---------------------------------------------------------------------------------------------------- */

struct range { uint32_t begin, end; }; /* the entries that start with a node's text */

/* One node for each distinct prefix of the sorted entries. */
static size_t count_nodes(const struct slm_vocab_entry *entries, size_t n)
{
    size_t nodes = 1;
    for (size_t i = 0; i < n; i++) {
        size_t shared = 0;
        const struct slm_str text = entries[i].text;
        if (i)
            while (shared < text.len && shared < entries[i - 1].text.len &&
                   text.ptr[shared] == entries[i - 1].text.ptr[shared])
                shared++;
        nodes += text.len - shared;
    }
    return nodes;
}

/* Breadth first: a node's children are appended when it is visited, so they lie together. ranges: as long as nodes. */
static void fill_trie(struct slm_trie *trie, const struct slm_vocab_entry *entries, size_t n, size_t n_nodes,
                      struct range *ranges)
{
    size_t made = 1, level_end = 1, depth = 0;
    ranges[0] = (struct range){0, (uint32_t)n};
    for (size_t node = 0; node < n_nodes; node++) {
        if (node == level_end) depth++, level_end = made;
        struct range r = ranges[node];
        trie->first[node] = (uint32_t)made;
        trie->id[node] = -1;
        for (; r.begin < r.end && entries[r.begin].text.len == depth; r.begin++) /* equal texts: the first id counts */
            if (trie->id[node] < 0 && depth) trie->id[node] = entries[r.begin].id;
        while (r.begin < r.end) {
            const char c = entries[r.begin].text.ptr[depth];
            ranges[made].begin = r.begin;
            while (r.begin < r.end && entries[r.begin].text.ptr[depth] == c) r.begin++;
            ranges[made].end = r.begin;
            trie->label[made++] = (uint8_t)c;
        }
    }
    SLM_ASSERT(made == n_nodes);
    trie->first[n_nodes] = (uint32_t)made;
}

/* The child by that byte, or 0, which is nobody's child. */
static uint32_t child_of(const struct slm_trie *trie, uint32_t node, uint8_t label)
{
    uint32_t lo = trie->first[node], hi = trie->first[node + 1];
    const uint32_t end = hi;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (trie->label[mid] < label) lo = mid + 1;
        else hi = mid;
    }
    return lo < end && trie->label[lo] == label ? lo : 0;
}

static bool is_piece(const struct slm_vocab *vocab, size_t i)
{
    return vocab->tokens[i].type == SLM_TOKEN_NORMAL && slm_vocab_piece(vocab, (int32_t)i).len > 0;
}

static slm_status build_trie(struct slm_tokenizer *t, const char *where, struct slm_error *error)
{
    const struct slm_vocab *vocab = &t->vocab;
    size_t n = 0;
    struct slm_vocab_entry *entries = slm_alloc(vocab->n, sizeof *entries, where, error);
    if (!entries) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < vocab->n; i++)
        if (is_piece(vocab, i))
            entries[n++] = (struct slm_vocab_entry){slm_vocab_piece(vocab, (int32_t)i), (int32_t)i};
    if (n) qsort(entries, n, sizeof *entries, slm_vocab_by_text);
    const size_t n_nodes = count_nodes(entries, n); /* at most the bytes of all pieces, which fit 32 bits, and one */
    struct range *ranges = slm_alloc(n_nodes, sizeof *ranges, where, error);
    t->trie.first = ranges ? slm_arena_alloc(&t->arena, n_nodes + 1, sizeof *t->trie.first, where, error) : NULL;
    t->trie.id = t->trie.first ? slm_arena_alloc(&t->arena, n_nodes, sizeof *t->trie.id, where, error) : NULL;
    t->trie.label = t->trie.id ? slm_arena_alloc(&t->arena, n_nodes, 1, where, error) : NULL;
    if (t->trie.label) fill_trie(&t->trie, entries, n, n_nodes, ranges);
    slm_release(ranges);
    slm_release(entries);
    return t->trie.label ? SLM_OK : SLM_ERR_MEMORY;
}

static slm_status unigram_open(struct slm_tokenizer *t, const struct slm_tokenizer_source *source,
                               struct slm_error *error)
{
    if (!source->scores && !source->log_probs)
        return slm_fail(error, SLM_ERR_FORMAT, source->where, "the token scores are missing; a Unigram tokenizer needs "
                        "one for each of its %zu tokens", source->n_vocab);
    t->single = !source->log_probs;
    t->each_space = source->each_space;
    t->split_white = source->split_white;
    t->words_at_spaces = t->each_space || slm_spm_words_end_at_spaces(&t->vocab);
    t->log_probs = slm_arena_alloc(&t->arena, t->vocab.n, sizeof *t->log_probs, source->where, error);
    if (!t->log_probs) return SLM_ERR_MEMORY;
    double least = 0;
    bool any = false;
    for (size_t i = 0; i < t->vocab.n; i++) {
        const double score = t->single ? (double)source->scores[i] : source->log_probs[i];
        if (!isfinite(score))
            return slm_fail(error, SLM_ERR_FORMAT, source->where, "the score of token %zu is %g; finite numbers are "
                            "allowed", i, score);
        t->log_probs[i] = score;
        if (is_piece(&t->vocab, i) && (!any || score < least)) least = score, any = true;
    }
    t->unk_score = t->single ? (double)(float)(least - UNKNOWN_PENALTY) : least - UNKNOWN_PENALTY;
    return build_trie(t, source->where, error);
}

/* ---- the best path ----------------------------------------------------------------------------------------------- */

/* A way to `end` by one more piece. The first of equals stays. */
static void offer(struct slm_path *paths, size_t start, size_t end, double score, int32_t id, bool single)
{
    double sum = paths[start].score + score;
    if (single) sum = (double)(float)sum; /* of two floats: rounded once or twice, the same */
    if (paths[end].start == NO_START || sum > paths[end].score)
        paths[end] = (struct slm_path){sum, (uint32_t)start, id};
}

static void find_paths(const struct slm_tokenizer *t, struct slm_str word, struct slm_path *paths)
{
    size_t bytes;
    for (size_t at = 0; at < word.len; at += bytes) {
        uint32_t cp, node = 0;
        const int n = slm_utf8_decode(word.ptr + at, word.len - at, &cp);
        bytes = n > 0 ? (size_t)n : 1;
        bool alone = false; /* is the character itself a piece? */
        for (size_t i = at; i < word.len && (node = child_of(&t->trie, node, (uint8_t)word.ptr[i])) != 0; i++) {
            const int32_t id = t->trie.id[node];
            if (id < 0) continue;
            offer(paths, at, i + 1, t->log_probs[id], id, t->single);
            alone |= i + 1 == at + bytes;
        }
        if (!alone) offer(paths, at, at + bytes, t->unk_score, -1, t->single);
    }
}

static slm_status unigram_word(struct slm_encoder *e, struct slm_str word)
{
    const struct slm_tokenizer *t = e->tokenizer;
    if (word.len >= e->cap_paths) {
        const size_t cap = word.len + 1 > 2 * e->cap_paths ? word.len + 1 : 2 * e->cap_paths;
        struct slm_path *grown = slm_realloc(e->paths, cap, sizeof *grown, WHERE, e->error);
        if (!grown) return SLM_ERR_MEMORY;
        e->paths = grown;
        e->cap_paths = cap;
    }
    struct slm_path *paths = e->paths;
    paths[0].score = e->carry;
    for (size_t i = 1; i <= word.len; i++) paths[i].start = NO_START;
    find_paths(t, word, paths);
    e->carry = paths[word.len].score;
    /* Backwards over the best path, turning its links round: start becomes where the next piece ends. */
    for (size_t at = word.len, next = word.len; at > 0;) {
        const size_t start = paths[at].start;
        paths[at].start = (uint32_t)next;
        next = at;
        at = start;
        if (at == 0) paths[0].start = (uint32_t)next;
    }
    for (size_t at = 0; at < word.len; at = paths[at].start) {
        const size_t end = paths[at].start;
        if (paths[end].id >= 0) {
            slm_encoder_push(e, paths[end].id);
            e->after_unknown = false;
        } else {
            SLM_TRY(slm_encoder_unknown(e, (struct slm_str){word.ptr + at, end - at}));
        }
    }
    return SLM_OK;
}

const struct slm_token_model slm_token_model_unigram = {
    .name = "t5", .spelled_bytes = true, .decode = slm_spm_decode, .open = unigram_open, .encode = slm_spm_encode,
    .word = unigram_word,
};
