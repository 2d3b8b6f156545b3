/* SPDX-License-Identifier: MIT
 * The two files called tokenizer.model, for folders without a tokenizer.json.
 *
 * SentencePiece writes a protobuf (sentencepiece_model.proto). Of its wire format four kinds of field exist and all are
 * skipped or read with their bounds checked; messages are two levels deep and read by two plain loops. BPE and Unigram
 * models are taken, with their table of normalizations.
 *
 * Llama 3 writes tiktoken's list: one token a line, in base64, and its rank. Its ids are its ranks, which is all that
 * merging needs; the special tokens follow behind, named by tokenizer_config.json or else as Llama 3 names them. */
#include <stdio.h>
#include "base/utf8.h"
#include "tokenizer/hf.h"

/* ---- protobuf ---------------------------------------------------------------------------------------------------- */

struct field { uint32_t number; uint64_t value; struct slm_str bytes; }; /* value of numbers, bytes of the rest */

/* Seven bits a byte, lowest first; at most ten bytes. Moves *in behind it. */
static bool read_varint(struct slm_str *in, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && in->len; shift += 7) {
        const unsigned char c = (unsigned char)*in->ptr++;
        in->len--;
        *out |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) return true;
    }
    return false;
}

static uint64_t little_endian(const char *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) v |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return v;
}

/* The next field of a message; moves *in behind it. Number and wire type share a key; lengths are checked against what
 * is left. False when the message is damaged, or uses groups, which this format never had. */
static bool read_field(struct slm_str *in, struct field *out)
{
    uint64_t key, n = 0;
    if (!read_varint(in, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX) return false;
    *out = (struct field){.number = (uint32_t)(key >> 3)};
    switch (key & 7) {
    case 0: return read_varint(in, &out->value);
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2: if (!read_varint(in, &n)) return false; break;
    default: return false;
    }
    if (n > in->len) return false;
    out->bytes = (struct slm_str){in->ptr, (size_t)n};
    if ((key & 7) != 2) out->value = little_endian(in->ptr, (unsigned)n);
    in->ptr += n;
    in->len -= (size_t)n;
    return true;
}

/* ---- SentencePiece ----------------------------------------------------------------------------------------------- */

/* at: the first byte that could not be read. */
static slm_status damaged(const struct slm_hf_tokenizer *t, struct slm_str file, const char *at)
{
    return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "the SentencePiece model is damaged before byte %zu",
                    (size_t)(at - file.ptr));
}

/* User-defined pieces stand for their text, with spaces. */
static slm_status unescape_spaces(struct slm_hf_tokenizer *t, struct slm_str *text)
{
    char *plain = slm_arena_alloc(&t->arena, text->len + 1, 1, t->where, t->error);
    if (!plain) return SLM_ERR_MEMORY;
    *text = (struct slm_str){plain, slm_token_model_spm.decode(*text, plain)};
    return SLM_OK;
}

/* One piece: text, score, type. Ids count pieces. */
static slm_status read_piece(struct slm_hf_tokenizer *t, struct slm_str file, struct slm_str message)
{
    struct slm_str text = {0};
    float score = 0;
    uint64_t type = SLM_TOKEN_NORMAL;
    struct field f;
    while (message.len) {
        if (!read_field(&message, &f)) return damaged(t, file, message.ptr);
        if (f.number == 1) text = f.bytes;
        if (f.number == 3) type = f.value;
        const uint32_t bits = (uint32_t)f.value;
        if (f.number == 2) memcpy(&score, &bits, sizeof score);
    }
    const size_t id = t->n;
    if (type < SLM_TOKEN_NORMAL || type > SLM_TOKEN_BYTE) /* the numbers are GGUF's: that took them from here */
        return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "piece %zu has type %llu; 1 to 6 are allowed", id,
                        (unsigned long long)type);
    if (type == SLM_TOKEN_USER_DEFINED) SLM_TRY(unescape_spaces(t, &text));
    if (type == SLM_TOKEN_UNKNOWN && t->source.unk < 0) t->source.unk = (int32_t)id;
    SLM_TRY(slm_hf_put(t, (int64_t)id, text, (enum slm_token_type)type));
    t->scores[id] = score;
    return SLM_OK;
}

/* Field numbers of ModelProto and TrainerSpec, and the values of model_type that this reader takes. */
enum { TRAINER = 2, NORMALIZER = 3, MODEL_TYPE = 3, UNIGRAM = 1, BPE = 2, SUFFIX = 24, BOS = 41, EOS = 42 };

/* Ids are int32 in the file: -1 has ten bytes. */
static int32_t id_of(const struct slm_hf_tokenizer *t, uint64_t value)
{
    return value < t->n ? (int32_t)value : -1;
}

/* Read after the pieces, because it speaks of their ids. */
static slm_status read_trainer(struct slm_hf_tokenizer *t, struct slm_str file, struct slm_str message)
{
    static const char *const names[] = {"?", "Unigram", "BPE", "word", "char"};
    uint64_t type = UNIGRAM; /* the format's default */
    bool suffix = false;
    int32_t bos = id_of(t, 1), eos = id_of(t, 2);
    struct field f;
    while (message.len) {
        if (!read_field(&message, &f)) return damaged(t, file, message.ptr);
        if (f.number == MODEL_TYPE) type = f.value;
        if (f.number == SUFFIX) suffix = f.value;
        if (f.number == BOS) bos = id_of(t, f.value);
        if (f.number == EOS) eos = id_of(t, f.value);
    }
    if (type != BPE && type != UNIGRAM)
        return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where,
                        "the SentencePiece model is of type %s; BPE and Unigram are supported",
                        names[type < sizeof names / sizeof *names ? type : 0]);
    if (suffix)
        return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where,
                        "the SentencePiece model puts spaces behind words (treat_whitespace_as_suffix); only ones in "
                        "front are supported");
    t->source.model = type == BPE ? "llama" : "t5";
    t->source.bos = bos, t->source.eos = eos;
    return SLM_OK;
}

/* Llama's normalizer does nothing but the space in front; those of T5 and XLM-R go by a table, then squeeze spaces. */
static slm_status read_normalizer(struct slm_hf_tokenizer *t, struct slm_str file, struct slm_str message)
{
    bool prefix = true, squeeze = true, escape = true; /* the format's defaults */
    struct slm_str table = {0};
    struct field f;
    while (message.len) {
        if (!read_field(&message, &f)) return damaged(t, file, message.ptr);
        if (f.number == 2) table = f.bytes;
        if (f.number == 3) prefix = f.value;
        if (f.number == 4) squeeze = f.value;
        if (f.number == 5) escape = f.value;
    }
    if (!escape)
        return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where, "the SentencePiece model keeps plain spaces; only "
                        "ones that write them as U+2581 are supported");
    if (table.len)
        SLM_TRY(slm_hf_add_normal_step(t, (struct slm_normal_step){.kind = SLM_NORMAL_CHARSMAP, .find = table}));
    if (squeeze) SLM_TRY(slm_hf_add_normal_step(t, (struct slm_normal_step){.kind = SLM_NORMAL_SQUEEZE}));
    t->source.add_space_prefix = prefix;
    return SLM_OK;
}

/* ModelProto: pieces, then the two specifications, in any order; the last of equal ones counts, as protobuf says. */
slm_status slm_hf_read_sentencepiece(struct slm_hf_tokenizer *t, struct slm_str file)
{
    struct slm_str rest = file, trainer = {0}, normalizer = {0};
    struct field f;
    while (rest.len) {
        if (!read_field(&rest, &f)) return damaged(t, file, rest.ptr);
        if (f.number == 1) SLM_TRY(read_piece(t, file, f.bytes));
        if (f.number == TRAINER) trainer = f.bytes;
        if (f.number == NORMALIZER) normalizer = f.bytes;
    }
    SLM_TRY(read_trainer(t, file, trainer));
    SLM_TRY(read_normalizer(t, file, normalizer));
    t->source.space_prefix = SLM_SPACE_SENTENCE;
    t->source.add_bos = t->source.bos >= 0;
    t->source.fuse_unk = true;
    return SLM_OK;
}

/* ---- tiktoken ---------------------------------------------------------------------------------------------------- */

enum { MAX_RANKED_BYTES = 512 }; /* of one token; the longest in use has 128 */

/* -1: not a digit of base64. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool slm_hf_decode_base64(struct slm_str in, unsigned char *out, size_t *n)
{
    uint32_t bits = 0;
    size_t digits = in.len;
    *n = 0;
    while (digits && in.len - digits < 2 && in.ptr[digits - 1] == '=') digits--;
    if (in.len % 4) return false;
    for (size_t i = 0; i < digits; i++) {
        const int value = base64_value(in.ptr[i]);
        if (value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4) out[(*n)++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    return true;
}

/* In the byte-level alphabet, as other files of such vocabularies spell tokens. */
static slm_status spell(struct slm_hf_tokenizer *t, const unsigned char *bytes, size_t n, struct slm_str *out)
{
    char spelled[2 * MAX_RANKED_BYTES + 8]; /* two bytes each; the writer may touch four */
    size_t used = 0;
    for (size_t i = 0; i < n; i++) used += (size_t)slm_bpe_spell_byte(bytes[i], spelled + used);
    *out = (struct slm_str){slm_arena_copy(&t->arena, spelled, used, t->error), used};
    return out->ptr ? SLM_OK : SLM_ERR_MEMORY;
}

/* "SGVsbG8= 9906". Nine digits are enough for every id and cannot overflow. */
static slm_status read_line(struct slm_hf_tokenizer *t, struct slm_str line, size_t number)
{
    unsigned char bytes[MAX_RANKED_BYTES + 3];
    size_t n = 0;
    const char *space = line.len ? memchr(line.ptr, ' ', line.len) : NULL;
    bool ok = space && (size_t)(space - line.ptr) <= MAX_RANKED_BYTES / 3 * 4 &&
              slm_hf_decode_base64((struct slm_str){line.ptr, (size_t)(space - line.ptr)}, bytes, &n) && n > 0;
    int64_t rank = 0;
    size_t i = ok ? (size_t)(space - line.ptr) + 1 : 0;
    ok = ok && i < line.len && line.len - i <= 9;
    for (; ok && i < line.len; i++) {
        ok = line.ptr[i] >= '0' && line.ptr[i] <= '9';
        rank = rank * 10 + (line.ptr[i] - '0');
    }
    if (!ok)
        return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "line %zu is '%.*s'; a token of 1 to %d bytes in base64, a "
                        "space and its rank are expected", number, (int)(line.len < 64 ? line.len : 64), line.ptr,
                        MAX_RANKED_BYTES);
    struct slm_str text;
    SLM_TRY(spell(t, bytes, n, &text));
    return slm_hf_put(t, rank, text, SLM_TOKEN_NORMAL);
}

/* The 256 special tokens of Llama 3 (named as since 3.1), behind the ranks. */
slm_status slm_hf_put_llama3_specials(struct slm_hf_tokenizer *t)
{
    static const struct { unsigned at; const char *name; } named[] = {
        {0, "<|begin_of_text|>"}, {1, "<|end_of_text|>"}, {4, "<|finetune_right_pad_id|>"}, {6, "<|start_header_id|>"},
        {7, "<|end_header_id|>"}, {8, "<|eom_id|>"}, {9, "<|eot_id|>"}, {10, "<|python_tag|>"},
    };
    const size_t first = t->n;
    unsigned reserved = 0;
    for (unsigned i = 0; i < 256; i++) {
        char name[48];
        const char *text = NULL;
        for (size_t k = 0; k < sizeof named / sizeof *named; k++)
            if (named[k].at == i) text = named[k].name;
        snprintf(name, sizeof name, "<|reserved_special_token_%u|>", reserved);
        if (!text) text = name, reserved++;
        const struct slm_str copy = {slm_arena_copy(&t->arena, text, strlen(text), t->error), strlen(text)};
        if (!copy.ptr) return SLM_ERR_MEMORY;
        SLM_TRY(slm_hf_put_added(t, (int64_t)(first + i), copy, true, 0));
    }
    if (t->n > first + 1) t->source.bos = (int32_t)first, t->source.eos = (int32_t)first + 1;
    return SLM_OK;
}

slm_status slm_hf_read_tiktoken(struct slm_hf_tokenizer *t, struct slm_str file)
{
    for (size_t at = 0, number = 1; at < file.len; number++) {
        const char *end = memchr(file.ptr + at, '\n', file.len - at);
        const size_t len = end ? (size_t)(end - file.ptr) - at : file.len - at;
        if (len) SLM_TRY(read_line(t, (struct slm_str){file.ptr + at, len}, number));
        at += len + 1;
    }
    t->source.model = "gpt2";
    t->source.pre = "llama-bpe";
    t->source.ids_are_ranks = true;
    t->source.add_bos = true;
    return SLM_OK;
}
