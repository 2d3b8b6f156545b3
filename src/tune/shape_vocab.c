/* SPDX-License-Identifier: MIT
 *
 * The vocabulary of a file that has only a shape: as many tokens and merges as the real one, so that opening costs what
 * it costs there and any text can be sent to a server. Byte-level BPE whatever the family; what tokens mean nobody
 * learned.
 *
 * Tokens are a tree: first the bytes, then each token followed by each byte, tokens in the order of their ids. So no
 * two are alike, each is one merge of two that come before it, and nothing has to be searched. Bytes stand in about the
 * order of their frequency in English, because the third level is begun but never ended.
 *
 * Deliberately not here: a chat template; who sends messages to such a model gets an error that says so. */
#include <string.h>

#include "base/os.h"
#include "tune/shape.h"

enum { BYTES = 256, LETTER_BYTES = 2, ENDS = 1 }; /* the last token ends a text */
static const char frequent[] = " etaoinsrhldcumfpgwybvk\n";

/* Bytes are spelled as printable characters in such vocabularies; a byte that is none has one from U+0100 on. */
static size_t spell(unsigned byte, unsigned *n_strange, char out[LETTER_BYTES])
{
    const bool as_it_is = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    const unsigned letter = as_it_is ? byte : 0x100 + (*n_strange)++;
    out[0] = (char)letter;
    if (letter < 0x80) return 1;
    out[0] = (char)(0xc0 | letter >> 6);
    out[1] = (char)(0x80 | (letter & 0x3f));
    return 2;
}

struct vocab {
    char letters[BYTES][LETTER_BYTES];
    struct slm_str bytes[BYTES]; /* in the order of ids */
    struct slm_str *tokens, *merges;
    size_t n_tokens, n_merges;
    char *text; /* of what is longer than a byte */
    size_t used;
};

static void order_bytes(struct vocab *v)
{
    struct slm_str spelled[BYTES];
    unsigned n_strange = 0;
    size_t n = 0;
    for (unsigned b = 0; b < BYTES; b++) {
        const size_t len = spell(b, &n_strange, v->letters[b]);
        spelled[b] = (struct slm_str){v->letters[b], len};
    }
    for (size_t i = 0; frequent[i]; i++) v->bytes[n++] = spelled[(unsigned char)frequent[i]];
    for (unsigned b = 0; b < BYTES; b++)
        if (b == 0 || !strchr(frequent, (int)b)) v->bytes[n++] = spelled[b];
    SLM_ASSERT(n == BYTES);
}

/* a, between and b one behind the other. */
static struct slm_str joined(struct vocab *v, struct slm_str a, const char *between, struct slm_str b)
{
    const struct slm_str parts[] = {a, slm_str(between), b};
    const size_t at = v->used;
    for (size_t i = 0; i < 3; i++) {
        memcpy(v->text + v->used, parts[i].ptr, parts[i].len);
        v->used += parts[i].len;
    }
    return (struct slm_str){v->text + at, v->used - at};
}

/* A token of n bytes is spelled in at most 2 n, and there is one of each for its merge, with a space between. */
static slm_status make(struct vocab *v, size_t n_vocab, struct slm_error *error)
{
    enum { LONGEST = 4 }; /* bytes of a token: 256 + 256^2 + 256^3 are more than any vocabulary has */
    v->n_tokens = n_vocab;
    v->tokens = slm_alloc(n_vocab, sizeof *v->tokens, "vocabulary", error);
    v->merges = slm_alloc(n_vocab, sizeof *v->merges, "vocabulary", error);
    v->text = slm_alloc(n_vocab, 2 * LONGEST * LETTER_BYTES + 1, "vocabulary", error);
    if (!v->tokens || !v->merges || !v->text) return SLM_ERR_MEMORY;
    order_bytes(v);
    for (size_t id = 0; id < n_vocab - ENDS; id++) {
        if (id < BYTES) {
            v->tokens[id] = v->bytes[id];
            continue;
        }
        const struct slm_str left = v->tokens[(id - BYTES) / BYTES], right = v->bytes[(id - BYTES) % BYTES];
        v->tokens[id] = joined(v, left, "", right);
        v->merges[v->n_merges++] = joined(v, left, " ", right);
    }
    v->tokens[n_vocab - ENDS] = slm_str("<|endoftext|>");
    return SLM_OK;
}

static slm_status put(const struct vocab *v, struct slm_gguf_writer *w, struct slm_error *error)
{
    enum { NORMAL = 1, CONTROL = 3 };
    const int64_t end = (int64_t)v->n_tokens - ENDS;
    int32_t *types = slm_alloc(v->n_tokens, sizeof *types, "vocabulary", error);
    if (!types) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < v->n_tokens; i++) types[i] = (int64_t)i == end ? CONTROL : NORMAL;
    slm_status status = slm_gguf_write_str(w, "tokenizer.ggml.model", slm_str("gpt2"), error);
    if (status == SLM_OK) status = slm_gguf_write_str(w, "tokenizer.ggml.pre", slm_str("gpt-2"), error);
    if (status == SLM_OK) status = slm_gguf_write_strings(w, "tokenizer.ggml.tokens", v->tokens, v->n_tokens, error);
    if (status == SLM_OK)
        status = slm_gguf_write_array(w, "tokenizer.ggml.token_type", SLM_GGUF_I32, types, v->n_tokens, error);
    if (status == SLM_OK) status = slm_gguf_write_strings(w, "tokenizer.ggml.merges", v->merges, v->n_merges, error);
    if (status == SLM_OK) status = slm_gguf_write_i64(w, "tokenizer.ggml.eos_token_id", SLM_GGUF_U32, end, error);
    if (status == SLM_OK) status = slm_gguf_write_i64(w, "tokenizer.ggml.bos_token_id", SLM_GGUF_U32, end, error);
    if (status == SLM_OK) status = slm_gguf_write_bool(w, "tokenizer.ggml.add_bos_token", false, error);
    slm_release(types);
    return status;
}

slm_status slm_shape_write_vocab(struct slm_gguf_writer *w, size_t n_vocab, struct slm_error *error)
{
    SLM_ASSERT(n_vocab > BYTES);
    struct vocab v = {.n_tokens = 0};
    slm_status status = make(&v, n_vocab, error);
    if (status == SLM_OK) status = put(&v, w, error);
    slm_release(v.text);
    slm_release(v.tokens);
    slm_release(v.merges);
    return status;
}
