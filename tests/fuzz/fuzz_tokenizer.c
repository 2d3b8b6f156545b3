/* SPDX-License-Identifier: MIT
 * A vocabulary and a text, both from the input. Whatever they are, opening and encoding either work or say why not; and
 * when the vocabulary covers all bytes, decoding what was encoded gives the text back, byte for byte.
 *
 * Input: 2 bytes of choices, then records of a length byte, a type byte and a token's text (two tokens in a row may
 * also be a merge), up to a length byte of 0; the rest is the text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond) ((cond) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #cond), abort()))

enum { MAX_TOKENS = 512, MAX_RULE = 600 };
enum { SPM = 1, ALL_BYTES = 2, PREFIX = 4, PARSE = 8, NO_TYPES = 16, SWALLOW = 32, BOS = 64, UNK = 128 };
enum { UNIGRAM = 128 }; /* in the second byte, which else picks the pattern */

static const char *const pres[] = {"gpt-2",  "llama-bpe", "dbrx",   "qwen2",  "qwen35",
                                   "gpt-4o", "tekken",    "smollm", "default"};

struct vocab {
    struct slm_tokenizer_source source;
    struct slm_str tokens[MAX_TOKENS], merges[MAX_TOKENS];
    float scores[MAX_TOKENS];
    uint8_t types[MAX_TOKENS];
    char bytes[256][8], rules[MAX_TOKENS][MAX_RULE];
};

static void add(struct vocab *v, struct slm_str text, uint8_t type)
{
    const size_t n = v->source.n_vocab;
    if (n == MAX_TOKENS) return;
    v->tokens[n] = text;
    v->types[n] = type;
    v->scores[n] = (float)(text.len % 5) - (float)(n % 7); /* ties, and not in order of length */
    v->source.n_vocab++;
}

static void add_bytes(struct vocab *v, bool spm)
{
    uint32_t next = 256;
    for (unsigned b = 0; b < 256; b++) {
        const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        const uint32_t cp = printable ? b : next++;
        if (spm) snprintf(v->bytes[b], sizeof v->bytes[b], "<0x%02X>", b);
        else v->bytes[b][slm_utf8_encode(cp, v->bytes[b])] = '\0';
        add(v, slm_str(v->bytes[b]), spm ? SLM_TOKEN_BYTE : SLM_TOKEN_NORMAL);
    }
}

/* "left right", as far as it fits. */
static void add_rule(struct vocab *v, struct slm_str left, struct slm_str right)
{
    const size_t n = v->source.n_merges;
    if (n == MAX_TOKENS || left.len + right.len + 1 > MAX_RULE) return;
    if (left.len) memcpy(v->rules[n], left.ptr, left.len);
    v->rules[n][left.len] = ' ';
    if (right.len) memcpy(v->rules[n] + left.len + 1, right.ptr, right.len);
    v->merges[n] = (struct slm_str){v->rules[n], left.len + 1 + right.len};
    v->source.n_merges++;
}

/* Reads the records; returns where the text starts. A record of type 7 or more is a token that is cut in two by its
 * type's high bits to make a rule whose result exists. */
static size_t read_vocab(struct vocab *v, const uint8_t *data, size_t size)
{
    size_t at = 2;
    while (at + 2 <= size && data[at] != 0) {
        size_t len = data[at];
        if (len > size - at - 2) len = size - at - 2;
        const unsigned type = data[at + 1];
        const struct slm_str text = {(const char *)data + at + 2, len};
        add(v, text, type % 8 == 7 ? SLM_TOKEN_NORMAL : (uint8_t)(type % 8));
        const size_t cut = type / 8;
        if (type % 8 == 7 && cut > 0 && cut < len)
            add_rule(v, (struct slm_str){text.ptr, cut}, (struct slm_str){text.ptr + cut, len - cut});
        at += 2 + len;
    }
    return at < size ? at + 1 : size;
}

/* In SentencePiece's alphabet a space and U+2581 are the same. */
static size_t plain_spaces(char *text, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; to++) {
        const bool mark = n - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0;
        text[to] = mark ? ' ' : text[i];
        i += mark ? 3 : 1;
    }
    return to;
}

static void check_round_trip(const struct slm_tokenizer *t, const int32_t *ids, size_t n, struct slm_str text)
{
    struct slm_error error = {0};
    size_t bytes = 0, measured = 0;
    CHECK(slm_tokenizer_decode(t, ids, n, true, NULL, 0, &measured, &error) == SLM_OK);
    char *back = malloc(measured + 1), *want = malloc(text.len + 1);
    CHECK(back && want);
    if (text.len) memcpy(want, text.ptr, text.len);
    CHECK(slm_tokenizer_decode(t, ids, n, true, back, measured, &bytes, &error) == SLM_OK && bytes == measured);
    size_t n_want = text.len;
    if (strcmp(slm_tokenizer_model(t), "gpt2") != 0) {
        n_want = plain_spaces(want, n_want);
        bytes = plain_spaces(back, bytes);
    }
    CHECK(bytes == n_want && memcmp(back, want, bytes) == 0);
    free(back);
    free(want);
}

/* Streaming the same ids never gives half a character. */
static void check_stream(const struct slm_tokenizer *t, const int32_t *ids, size_t n)
{
    struct slm_detok detok = {0};
    char out[3 * (255 + 3) + 3];
    for (size_t i = 0; i < n; i++) {
        const struct slm_str piece = slm_tokenizer_piece(t, ids[i], i % 2);
        const size_t written = slm_detok_feed(&detok, piece, out);
        CHECK(written <= sizeof out && slm_utf8_valid_prefix(out, written) == written);
    }
    CHECK(slm_detok_flush(&detok, out) <= 9);
}

static void use(const struct slm_tokenizer *t, struct slm_str text, unsigned choices)
{
    const unsigned flags = (choices & PARSE ? SLM_TOKENIZE_PARSE_SPECIAL : 0) |
                           (choices & BOS ? SLM_TOKENIZE_ADD_SPECIAL : 0);
    struct slm_error error = {0};
    const size_t cap = 2 * text.len + 3; /* as the header promises */
    int32_t *ids = malloc(cap * sizeof *ids);
    CHECK(ids);
    size_t n = 0, measured = 0;
    const slm_status status = slm_tokenizer_encode(t, text.ptr, text.len, flags, ids, cap, &n, &error);
    CHECK(slm_tokenizer_encode(t, text.ptr, text.len, flags, NULL, 0, &measured, &error) == status);
    if (status == SLM_OK) {
        CHECK(n == measured && n <= cap);
        for (size_t i = 0; i < n; i++) CHECK(ids[i] >= 0 && (size_t)ids[i] < slm_tokenizer_n_vocab(t));
        const size_t skip = choices & BOS && n && slm_tokenizer_bos(t) >= 0;
        if (choices & ALL_BYTES && !(choices & SWALLOW)) check_round_trip(t, ids + skip, n - skip, text);
        check_stream(t, ids, n);
    } else {
        CHECK(error.message[0] != '\0' && !(choices & ALL_BYTES));
    }
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const unsigned choices = data[0];
    struct vocab *v = calloc(1, sizeof *v);
    CHECK(v);
    const bool spm = choices & SPM;
    add(v, slm_str("<s>"), SLM_TOKEN_CONTROL);
    add(v, slm_str("<unk>"), SLM_TOKEN_UNKNOWN);
    if (choices & ALL_BYTES) add_bytes(v, spm);
    const size_t text_at = read_vocab(v, data, size);
    v->source = (struct slm_tokenizer_source){
        .where = "fuzz", .model = !spm ? "gpt2" : data[1] & UNIGRAM ? "t5" : "llama", .pre = pres[data[1] % (sizeof pres / sizeof *pres)],
        .tokens = v->tokens, .scores = v->scores, .types = choices & NO_TYPES ? NULL : v->types,
        .n_vocab = v->source.n_vocab, .merges = v->merges, .n_merges = v->source.n_merges,
        .bos = choices & BOS ? 0 : -1, .eos = -1, .unk = choices & UNK && !(choices & ALL_BYTES) ? 1 : -1,
        .pad = -1, .eot = -1,
        .add_bos = choices & BOS, .add_space_prefix = choices & PREFIX, .specials_swallow_space = choices & SWALLOW,
    };
    struct slm_tokenizer *t = NULL;
    struct slm_error error = {0};
    if (slm_tokenizer_new(&v->source, &t, &error) == SLM_OK) {
        for (size_t i = 0; i < v->source.n_vocab; i++) {
            const int32_t id = slm_tokenizer_find(t, v->tokens[i]);
            CHECK(v->tokens[i].len == 0 ? id == -1 : id >= 0 && slm_str_equal(v->tokens[id], v->tokens[i]));
        }
        use(t, (struct slm_str){(const char *)data + text_at, size - text_at}, choices);
    } else {
        CHECK(error.message[0] != '\0');
    }
    slm_tokenizer_free(t);
    free(v);
    return 0;
}
