/* SPDX-License-Identifier: MIT
 * The "gpt2" model: byte-level BPE. A pattern cuts the text into words; a word's bytes merge pair by pair in the order
 * of a list of rules. Every byte has a token, so any bytes can be encoded.
 *
 * Reference: GPT-2's encoder.py and Hugging Face tokenizers' ByteLevel. In files the tokens are spelled in an alphabet
 * of 256 printable characters (byte 0x20 is U+0120 and so on); here that spelling is undone once, at open.
 *
 * Bytes that are not UTF-8 never reach the pattern: the valid stretches between them are cut, and each such byte is
 * its own token. */
#include "base/os.h"
#include "base/utf8.h"
#include "tokenizer/internal.h"

/* The character that spells byte b: printable Latin-1 characters spell themselves, the 68 other bytes are spelled by
 * U+0100, U+0101 ... in order. This is the inverse: -1 = not a character of the alphabet. */
static int byte_of_character(uint32_t cp)
{
    if ((cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xac) || (cp >= 0xae && cp <= 0xff)) return (int)cp;
    if (cp < 0x100 || cp > 0x143) return -1;
    const int k = (int)cp - 0x100; /* 0x00..0x20, then 0x7f..0xa0, then 0xad */
    return k <= 0x20 ? k : k <= 0x42 ? k - 0x21 + 0x7f : 0xad;
}

int slm_bpe_spell_byte(unsigned char byte, char out[4])
{
    uint32_t cp = byte;
    if (byte <= 0x20) cp = 0x100u + byte;
    else if (byte >= 0x7f && byte <= 0xa0) cp = 0x121u + (byte - 0x7fu);
    else if (byte == 0xad) cp = 0x143;
    return slm_utf8_encode(cp, out);
}

/* A text with a character outside the alphabet (added tokens have them) stands for itself. */
static size_t bpe_decode(struct slm_str text, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        uint32_t cp = 0;
        const int len = slm_utf8_decode(text.ptr + i, text.len - i, &cp);
        const int byte = len > 0 ? byte_of_character(cp) : -1;
        if (byte < 0) {
            memcpy(out, text.ptr, text.len);
            return text.len;
        }
        out[n++] = (char)byte;
        i += (size_t)len;
    }
    return n;
}

static slm_status bpe_open(struct slm_tokenizer *t, const struct slm_tokenizer_source *source, struct slm_error *error)
{
    const struct slm_str name = slm_str(source->pre ? source->pre : "default");
    t->pre = slm_pretokenizer_find(name);
    if (!t->pre) {
        char known[256];
        slm_pretokenizer_list(known, sizeof known);
        return slm_fail(error, SLM_ERR_UNSUPPORTED, source->where,
                        "the pre-tokenizer '%.40s' is not known; known are %s and their aliases", name.ptr, known);
    }
    for (int byte = 0; byte < 256; byte++) {
        const char c = (char)byte;
        const int32_t id = slm_vocab_find(&t->vocab, (struct slm_str){&c, 1}, SLM_TYPES_TEXT);
        if (id >= 0) t->vocab.byte_id[byte] = id;
    }
    t->whole_words = source->whole_words == SLM_WHOLE_AS_PRE ? t->pre->ignore_merges
                                                             : source->whole_words == SLM_WHOLE_ALWAYS;
    SLM_TRY(slm_pretokenizer_compile(t->pre, source->where, &t->pattern, error));
    if (source->ids_are_ranks) return SLM_OK;
    return slm_pairs_build(&t->pairs, source, t->model, &t->vocab, &t->arena, error);
}

/* The matcher's own memory, made on the first text of a call. Its limits guard against patterns that blow up; ours
 * cannot, and long runs must not fail, so they are lifted. */
static slm_status prepare_match(struct slm_encoder *e)
{
    if (e->match) return SLM_OK;
    pcre2_general_context *memory = slm_pretokenizer_memory();
    if (memory) {
        e->match = pcre2_match_data_create(1, memory);
        e->limits = pcre2_match_context_create(memory);
        pcre2_general_context_free(memory);
    }
    if (!e->match || !e->limits) return slm_fail_memory(e->error, "tokenize", sizeof(void *));
    pcre2_set_match_limit(e->limits, UINT32_MAX);
    pcre2_set_depth_limit(e->limits, UINT32_MAX);
    pcre2_set_heap_limit(e->limits, UINT32_MAX);
    return SLM_OK;
}

/* text is valid UTF-8. */
static slm_status encode_valid(struct slm_encoder *e, struct slm_str text)
{
    const pcre2_code *code = e->tokenizer->pattern;
    for (size_t at = 0; at < text.len;) {
        int rc = pcre2_match(code, (PCRE2_SPTR)text.ptr, text.len, at, PCRE2_NO_UTF_CHECK, e->match, e->limits);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(code, (PCRE2_SPTR)text.ptr, text.len, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, e->match,
                             e->limits);
        if (rc < 0) return slm_fail_memory(e->error, "tokenize", text.len); /* the only way left to fail */
        const size_t end = pcre2_get_ovector_pointer(e->match)[1];
        SLM_ASSERT(end > at); /* the patterns are anchored and match at least one character everywhere */
        SLM_TRY(slm_encoder_word(e, (struct slm_str){text.ptr + at, end - at}));
        at = end;
    }
    return SLM_OK;
}

static slm_status bpe_encode(struct slm_encoder *e, struct slm_str text, bool first)
{
    (void)first;
    SLM_TRY(prepare_match(e));
    while (text.len) {
        const size_t valid = slm_utf8_valid_prefix(text.ptr, text.len);
        SLM_TRY(encode_valid(e, (struct slm_str){text.ptr, valid}));
        if (valid < text.len) SLM_TRY(slm_encoder_byte(e, (unsigned char)text.ptr[valid]));
        const size_t used = valid + (valid < text.len);
        text = (struct slm_str){text.ptr + used, text.len - used};
    }
    return SLM_OK;
}

static int32_t bpe_whole(const struct slm_tokenizer *t, struct slm_str word)
{
    if (!t->whole_words || word.len > t->vocab.longest) return -1;
    return slm_vocab_find(&t->vocab, word, SLM_TYPES_TEXT);
}

static size_t bpe_split(const struct slm_tokenizer *t, struct slm_str word, struct slm_symbol *symbols)
{
    for (size_t i = 0; i < word.len; i++) {
        symbols[i].start = (uint32_t)i;
        symbols[i].id = t->vocab.byte_id[(unsigned char)word.ptr[i]];
    }
    return word.len;
}

static bool bpe_pair(const struct slm_tokenizer *t, struct slm_str pair, int32_t left, int32_t right,
                     uint32_t *priority, int32_t *id)
{
    if (t->pairs.slots) return slm_pairs_find(&t->pairs, left, right, priority, id);
    /* No rules: tiktoken merges what is a token, by rank. */
    if (pair.len > t->vocab.longest) return false;
    *id = slm_vocab_find(&t->vocab, pair, SLM_TYPES_TEXT);
    *priority = (uint32_t)*id;
    return *id >= 0;
}

const struct slm_token_model slm_token_model_bpe = {
    .name = "gpt2", .decode = bpe_decode, .open = bpe_open, .encode = bpe_encode,
    .word = slm_encoder_word, .whole = bpe_whole, .split = bpe_split, .pair = bpe_pair,
};
