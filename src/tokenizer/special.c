/* SPDX-License-Identifier: MIT
 * Special tokens: where they stand in a text, and which of them end a generation.
 *
 * Matching is leftmost-longest, as in Hugging Face tokenizers. The texts are sorted, so at each position the candidates
 * are a range that every further byte narrows by binary search: no trie to build, and the cost a position is bounded
 * by the longest token (SLM_TOKENIZER_MAX_TOKEN_BYTES), whatever the text.
 *
 * User-defined tokens always match. Control and unknown tokens match only when the caller says that the text may name
 * them: text of users must not be able to forge a turn. */
#include <stdlib.h>
#include "base/os.h"
#include "tokenizer/internal.h"

static bool is_special(const struct slm_vocab *vocab, size_t i)
{
    return (SLM_TYPE_BIT(vocab->tokens[i].type) & SLM_TYPES_SPECIAL) && slm_vocab_text(vocab, (int32_t)i).len > 0;
}

/* Fills specials->ids from the sorted entries, one for each text. */
static void index_entries(struct slm_specials *specials, const struct slm_vocab *vocab,
                          const struct slm_vocab_entry *entries, size_t n, const struct slm_tokenizer_source *source)
{
    static const char *const keep_space[] = {"<s>", "<unk>", "<|endoftext|>"};
    for (size_t i = 0; i < n; i++) {
        if (i && slm_str_equal(entries[i].text, entries[i - 1].text)) continue;
        bool swallows = source->specials_swallow_space;
        for (size_t k = 0; k < sizeof keep_space / sizeof *keep_space; k++)
            if (slm_str_is(entries[i].text, keep_space[k])) swallows = false;
        const unsigned char first = (unsigned char)entries[i].text.ptr[0];
        specials->ids[specials->n] = entries[i].id;
        const unsigned own = source->strips ? source->strips[entries[i].id] : 0;
        specials->strips[specials->n] = (uint8_t)(own | (swallows ? SLM_STRIP_RIGHT : 0));
        specials->n++;
        specials->begin[first + 1] = (uint32_t)specials->n;
        specials->starts[true][first] = true;
        if (vocab->tokens[entries[i].id].type == SLM_TOKEN_USER_DEFINED) specials->starts[false][first] = true;
    }
    for (int b = 1; b <= 256; b++)
        if (specials->begin[b] == 0) specials->begin[b] = specials->begin[b - 1];
}

slm_status slm_specials_build(struct slm_specials *specials, const struct slm_vocab *vocab,
                              const struct slm_tokenizer_source *source, struct slm_arena *arena,
                              struct slm_error *error)
{
    size_t n = 0;
    for (size_t i = 0; i < vocab->n; i++) n += is_special(vocab, i);
    struct slm_vocab_entry *entries = slm_alloc(n + 1, sizeof *entries, source->where, error);
    specials->ids = slm_arena_alloc(arena, n + 1, sizeof *specials->ids, source->where, error);
    specials->strips = slm_arena_alloc(arena, n + 1, 1, source->where, error);
    const bool ok = entries && specials->ids && specials->strips;
    if (ok) {
        n = 0;
        for (size_t i = 0; i < vocab->n; i++)
            if (is_special(vocab, i))
                entries[n++] = (struct slm_vocab_entry){slm_vocab_text(vocab, (int32_t)i), (int32_t)i};
        qsort(entries, n, sizeof *entries, slm_vocab_by_text);
        index_entries(specials, vocab, entries, n, source);
    }
    slm_release(entries);
    return ok ? SLM_OK : SLM_ERR_MEMORY;
}

/* First entry of [lo, hi) whose byte at `depth` is at least c. All of them are longer than depth. */
static uint32_t lower_bound(const struct slm_specials *specials, const struct slm_vocab *vocab, uint32_t lo,
                            uint32_t hi, size_t depth, unsigned c)
{
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)slm_vocab_text(vocab, specials->ids[mid]).ptr[depth] < c) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* Index in specials->ids of the longest allowed token at text[0], or -1. */
static int64_t longest_at(const struct slm_specials *specials, const struct slm_vocab *vocab, struct slm_str text,
                          bool parse_special)
{
    int64_t best = -1;
    const unsigned char first = (unsigned char)text.ptr[0];
    uint32_t lo = specials->begin[first], hi = specials->begin[first + 1];
    for (size_t depth = 1; lo < hi; depth++) {
        const int32_t id = specials->ids[lo];
        if (slm_vocab_text(vocab, id).len == depth) { /* the shortest of the range sorts first */
            if (parse_special || vocab->tokens[id].type == SLM_TOKEN_USER_DEFINED) best = lo;
            lo++;
        }
        if (depth == text.len) break;
        const unsigned c = (unsigned char)text.ptr[depth];
        lo = lower_bound(specials, vocab, lo, hi, depth, c);
        hi = lower_bound(specials, vocab, lo, hi, depth, c + 1);
    }
    return best;
}

size_t slm_specials_next(const struct slm_specials *specials, const struct slm_vocab *vocab, struct slm_str text,
                         size_t from, bool parse_special, int32_t *id, size_t *end)
{
    const bool *starts = specials->starts[parse_special];
    for (size_t at = from; at < text.len; at++) {
        if (!starts[(unsigned char)text.ptr[at]]) continue;
        const int64_t found =
            longest_at(specials, vocab, (struct slm_str){text.ptr + at, text.len - at}, parse_special);
        if (found < 0) continue;
        *id = specials->ids[found];
        *end = at + slm_vocab_text(vocab, *id).len;
        if (specials->strips[found] & SLM_STRIP_RIGHT) *end = slm_white_after(text, *end);
        return specials->strips[found] & SLM_STRIP_LEFT ? slm_white_before(text, from, at) : at;
    }
    return text.len;
}

/* Names that end a generation whatever the file says about them. `plain` = also seen as an ordinary token of web text
 * (Qwen's vocabulary has a NORMAL "</s>"): such a one counts only when the file marks it as special. */
static const struct { const char *name; bool plain; } eog_names[] = {
    {"<|eot_id|>", false},      /* Llama 3 */
    {"<|eom_id|>", false},
    {"<|end_of_text|>", false}, /* Llama 3, Granite */
    {"<|im_end|>", false},      /* ChatML: Qwen, SmolLM, ... */
    {"<|endoftext|>", false},   /* GPT-2, Qwen, Phi */
    {"<|end|>", false},         /* Phi-3 */
    {"<|return|>", false},      /* gpt-oss */
    {"<|call|>", false},
    {"<|calls|>", false},       /* Solar */
    {"<|flush|>", false},
    {"<end_of_turn>", false},   /* Gemma */
    {"<turn|>", false},
    {"<|tool_response>", false},
    {"<end_of_utterance>", false},
    {"<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>", false}, /* DeepSeek */
    {"<|fim_pad|>", false},     /* code models: the end of an infill */
    {"<|repo_name|>", false},
    {"<|file_sep|>", false},
    {"</s>", true},
    {"<eos>", true},
    {"<EOT>", true},
    {"_<EOT>", true},
    {"[EOT]", true},
    {"[EOS]", true},
    {"[e~[", true},
};

static void set_eog(uint8_t *eog, int32_t id)
{
    if (id >= 0) eog[id / 8] |= (uint8_t)(1u << id % 8);
}

void slm_specials_mark_eog(struct slm_vocab *vocab, const struct slm_token_model *model, uint8_t *eog,
                           const struct slm_tokenizer_source *source)
{
    for (size_t i = 0; i < sizeof eog_names / sizeof *eog_names; i++) {
        const int32_t id = slm_vocab_find_text(vocab, model, slm_str(eog_names[i].name));
        if (id < 0 || (eog_names[i].plain && source->types && source->types[id] == SLM_TOKEN_NORMAL)) continue;
        vocab->tokens[id].type = SLM_TOKEN_CONTROL;
        set_eog(eog, id);
    }
    set_eog(eog, source->eos);
    set_eog(eog, source->eot);
    for (size_t i = 0; i < source->n_eog; i++) set_eog(eog, source->eog[i]);
    /* gpt-oss and Solar use <|end|> between the parts of one answer. */
    static const char *const enders[2][2] = {{"<|return|>", "<|call|>"}, {"<|flush|>", "<|calls|>"}};
    for (int i = 0; i < 2; i++) {
        const int32_t end = slm_vocab_find_text(vocab, model, slm_str("<|end|>"));
        if (end >= 0 && end != source->eos && end != source->eot &&
            slm_vocab_find_text(vocab, model, slm_str(enders[i][0])) >= 0 &&
            slm_vocab_find_text(vocab, model, slm_str(enders[i][1])) >= 0)
            eog[end / 8] &= (uint8_t)~(1u << end % 8);
    }
}
