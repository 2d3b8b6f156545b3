/* SPDX-License-Identifier: MIT
 * The "llama" models: SentencePiece BPE; and what they share with "t5" (unigram.c): spaces. Tokens have scores; of all
 * neighbours whose concatenation is a token, the one with the best score merges first, leftmost among equals.
 * Characters without a token become byte tokens.
 *
 * "llama-merges" is the same with merge rules in place of scores: what tokenizer.json files of such models hold. Only
 * what a rule names merges there, so its tokens need not follow the order of any scores.
 *
 * Reference: SentencePiece's bpe_model and the reading of it in llama.cpp. SentencePiece writes a space as U+2581;
 * pieces here hold a plain space, and a U+2581 in the text becomes one, which comes to the same.
 *
 * Text is cut before each space that follows another character, when the vocabulary allows it (no token has a space
 * after another character): no merge can reach over such a place, so the words encode independently, and a whole
 * book takes little memory. */
#include "base/os.h"
#include "base/utf8.h"
#include "tokenizer/internal.h"

#define MARK "\xe2\x96\x81" /* U+2581 */

size_t slm_spm_decode(struct slm_str text, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        if (text.len - i >= 3 && memcmp(text.ptr + i, MARK, 3) == 0) {
            out[n++] = ' ';
            i += 3;
        } else {
            out[n++] = text.ptr[i++];
        }
    }
    return n;
}

/* Maps a score to an unsigned number that falls as the score rises. */
static uint32_t priority_of(float score)
{
    const float plain = score + 0.0f; /* -0 and 0 are equal */
    uint32_t bits;
    memcpy(&bits, &plain, sizeof bits);
    const uint32_t rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return ~rising;
}

static bool space_after_other(struct slm_str piece)
{
    for (size_t i = 1; i < piece.len; i++)
        if (piece.ptr[i] == ' ' && piece.ptr[i - 1] != ' ') return true;
    return false;
}

bool slm_spm_words_end_at_spaces(const struct slm_vocab *vocab)
{
    for (size_t i = 0; i < vocab->n; i++) {
        const bool is_text = SLM_TYPE_BIT(vocab->tokens[i].type) & SLM_TYPES_TEXT;
        if (is_text && space_after_other(slm_vocab_piece(vocab, (int32_t)i))) return false;
    }
    return true;
}

static slm_status spm_open(struct slm_tokenizer *t, const struct slm_tokenizer_source *source, struct slm_error *error)
{
    if (!source->scores)
        return slm_fail(error, SLM_ERR_FORMAT, source->where, "the token scores are missing; a 'llama' tokenizer needs "
                        "one for each of its %zu tokens", source->n_vocab);
    t->words_at_spaces = slm_spm_words_end_at_spaces(&t->vocab);
    t->priority = slm_arena_alloc(&t->arena, t->vocab.n, sizeof *t->priority, source->where, error);
    if (!t->priority) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < t->vocab.n; i++) {
        if (source->scores[i] != source->scores[i])
            return slm_fail(error, SLM_ERR_FORMAT, source->where,
                            "the score of token %zu is NaN; numbers are allowed", i);
        t->priority[i] = priority_of(source->scores[i]);
    }
    return SLM_OK;
}

static slm_status merges_open(struct slm_tokenizer *t, const struct slm_tokenizer_source *source,
                              struct slm_error *error)
{
    t->each_space = source->each_space;
    t->split_white = source->split_white;
    t->words_at_spaces = t->each_space || slm_spm_words_end_at_spaces(&t->vocab);
    t->whole_words = source->whole_words == SLM_WHOLE_ALWAYS;
    return slm_pairs_build(&t->pairs, source, t->model, &t->vocab, &t->arena, error);
}

/* The text as the vocabulary spells it: a space in front if the model wants one, U+2581 as space. */
static slm_status normalise(struct slm_encoder *e, struct slm_str text, bool prefix, struct slm_str *out)
{
    if (e->cap_text < text.len + 1) {
        char *grown = slm_realloc(e->text, text.len + 1, 1, "tokenize", e->error);
        if (!grown) return SLM_ERR_MEMORY;
        e->text = grown;
        e->cap_text = text.len + 1;
    }
    if (prefix) e->text[0] = ' ';
    *out = (struct slm_str){e->text, prefix + slm_spm_decode(text, e->text + prefix)};
    return SLM_OK;
}

/* One stretch of text, cut at its spaces where that is allowed. */
static slm_status encode_stretch(struct slm_encoder *e, struct slm_str text, bool first)
{
    struct slm_str all;
    const struct slm_tokenizer *t = e->tokenizer;
    const bool spaced = (text.len && text.ptr[0] == ' ') || (text.len >= 3 && memcmp(text.ptr, MARK, 3) == 0);
    const bool prefix = first && t->add_space_prefix && !(spaced && t->space_prefix & SLM_SPACE_UNLESS_SPACE);
    SLM_TRY(normalise(e, text, prefix, &all));
    e->carry = 0;
    e->after_unknown = false;
    if (!t->words_at_spaces) return t->model->word(e, all);
    size_t begin = 0;
    for (size_t i = 1; i <= all.len; i++) {
        if (i < all.len && !(all.ptr[i] == ' ' && (t->each_space || all.ptr[i - 1] != ' '))) continue;
        SLM_TRY(t->model->word(e, (struct slm_str){all.ptr + begin, i - begin}));
        if (t->each_space) e->carry = 0, e->after_unknown = false;
        begin = i;
    }
    return SLM_OK;
}

slm_status slm_spm_encode(struct slm_encoder *e, struct slm_str text, bool first)
{
    if (!e->tokenizer->split_white) return encode_stretch(e, text, first);
    /* Each word is a stretch of its own, with a space in front if the scheme says so of all. */
    const bool once = e->tokenizer->space_prefix & SLM_SPACE_ONCE;
    for (size_t at = slm_white_after(text, 0); at < text.len;) {
        size_t end = at;
        for (uint32_t cp; end < text.len; ) {
            const int n = slm_utf8_decode(text.ptr + end, text.len - end, &cp);
            if (n > 0 && slm_is_white(cp)) break;
            end += n > 0 ? (size_t)n : 1;
        }
        SLM_TRY(encode_stretch(e, (struct slm_str){text.ptr + at, end - at}, once ? first && at == 0 : true));
        at = slm_white_after(text, end);
    }
    return SLM_OK;
}

static int32_t spm_whole(const struct slm_tokenizer *t, struct slm_str word)
{
    (void)t, (void)word;
    return -1; /* a token's text need not merge into that token */
}

static int32_t merges_whole(const struct slm_tokenizer *t, struct slm_str word)
{
    if (!t->whole_words || word.len > t->vocab.longest) return -1;
    return slm_vocab_find(&t->vocab, word, SLM_TYPES_TEXT);
}

/* One symbol a character; a byte that is not UTF-8 is a symbol of its own. */
static size_t spm_split(const struct slm_tokenizer *t, struct slm_str word, struct slm_symbol *symbols)
{
    size_t n = 0;
    for (size_t i = 0; i < word.len;) {
        uint32_t cp;
        const int len = slm_utf8_decode(word.ptr + i, word.len - i, &cp);
        const size_t bytes = len > 0 ? (size_t)len : 1;
        symbols[n++] = (struct slm_symbol){
            .start = (uint32_t)i,
            .id = len > 0 ? slm_vocab_find(&t->vocab, (struct slm_str){word.ptr + i, bytes}, SLM_TYPES_TEXT) : -1,
        };
        i += bytes;
    }
    return n;
}

static bool spm_pair(const struct slm_tokenizer *t, struct slm_str pair, int32_t left, int32_t right,
                     uint32_t *priority, int32_t *id)
{
    (void)left, (void)right; /* any two neighbours may merge, with tokens of their own or not */
    if (pair.len > t->vocab.longest) return false;
    *id = slm_vocab_find(&t->vocab, pair, SLM_TYPES_TEXT);
    if (*id < 0) return false;
    *priority = t->priority[*id];
    return true;
}

const struct slm_token_model slm_token_model_spm = {
    .name = "llama", .spelled_bytes = true, .decode = slm_spm_decode, .open = spm_open, .encode = slm_spm_encode,
    .word = slm_encoder_word, .whole = spm_whole, .split = spm_split, .pair = spm_pair,
};

static bool merges_pair(const struct slm_tokenizer *t, struct slm_str pair, int32_t left, int32_t right,
                        uint32_t *priority, int32_t *id)
{
    (void)pair;
    return slm_pairs_find(&t->pairs, left, right, priority, id);
}

const struct slm_token_model slm_token_model_merges = {
    .name = "llama-merges", .spelled_bytes = true, .decode = slm_spm_decode, .open = merges_open,
    .encode = slm_spm_encode, .word = slm_encoder_word, .whole = merges_whole, .split = spm_split, .pair = merges_pair,
};
