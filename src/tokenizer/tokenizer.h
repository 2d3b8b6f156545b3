/* SPDX-License-Identifier: MIT
 * Text <-> token ids. Two models: SentencePiece-style BPE by scores with byte fallback ("llama"), and byte-level BPE by
 * merge ranks with a pre-tokenizer pattern ("gpt2"). Immutable after open; safe to share between threads.
 * Encoding n bytes is O(n log n) at worst, without recursion, for any input bytes. */
#ifndef SLM_TOKENIZER_TOKENIZER_H
#define SLM_TOKENIZER_TOKENIZER_H
#include "base/str.h"

struct slm_gguf;
struct slm_tokenizer;

enum slm_token_type { /* numbers as in GGUF files */
    SLM_TOKEN_UNDEFINED, SLM_TOKEN_NORMAL, SLM_TOKEN_UNKNOWN, SLM_TOKEN_CONTROL, SLM_TOKEN_USER_DEFINED,
    SLM_TOKEN_UNUSED, SLM_TOKEN_BYTE
};

/* What a tokenizer is made of, whatever file it came from (GGUF now; tokenizer.json, tokenizer.model next).
 * Everything is borrowed until slm_tokenizer_new returns. */
struct slm_tokenizer_source {
    const char *where;             /* file name for messages */
    const char *model;             /* "llama" (SentencePiece BPE) | "gpt2" (byte-level BPE) */
    const char *pre;               /* pre-tokenizer id as GGUF files name them: "gpt-2", "llama-bpe", "qwen2", ... */
    const struct slm_str *tokens;  /* [n_vocab] */
    const float *scores;           /* [n_vocab] or NULL */
    const uint8_t *types;          /* [n_vocab] enum slm_token_type, or NULL (all NORMAL) */
    size_t n_vocab;
    const struct slm_str *merges;  /* "left right", in rank order; gpt2 only */
    size_t n_merges;
    int32_t bos, eos, unk, pad, eot; /* -1 = none */
    bool add_bos, add_eos, add_space_prefix;
    bool specials_swallow_space; /* white space after a special token belongs to it (Phi-3); <s>, <unk> and
                                    <|endoftext|> excepted */
};
/* Duplicate texts and texts that are not UTF-8 are allowed: every id decodes, and encoding uses the first id of a text.
 * Tokens of more than 4096 bytes, and 2^21 tokens or merges, are SLM_ERR_LIMIT. Text becomes control tokens only with
 * SLM_TOKENIZE_PARSE_SPECIAL; well-known names that end a generation ("<|im_end|>") count as control tokens. */
slm_status slm_tokenizer_new(const struct slm_tokenizer_source *source, struct slm_tokenizer **out,
                             struct slm_error *error);
/* Reads the tokenizer.ggml.* keys. SLM_ERR_UNSUPPORTED for a model or pre-tokenizer this build does not know (names
 * the known ones). A file without tokenizer.ggml.model gives *out = NULL and SLM_OK. */
slm_status slm_tokenizer_from_gguf(const struct slm_gguf *gguf, struct slm_tokenizer **out, struct slm_error *error);
void slm_tokenizer_free(struct slm_tokenizer *tokenizer);

/* flags: enum slm_tokenize_flags of slm.h. Same measuring rule as slm_tokenize; never more than 2 * bytes + 3 ids. */
slm_status slm_tokenizer_encode(const struct slm_tokenizer *tokenizer, const char *text, size_t bytes, unsigned flags,
                                int32_t *ids, size_t cap, size_t *n_ids, struct slm_error *error);
/* Bytes of one token as they appear in text (for "llama" models U+2581 is a space; byte tokens are their byte;
 * control and unknown tokens are empty unless show_special). Borrowed from the tokenizer; id must be in [0, n_vocab).
 * No allocation. */
struct slm_str slm_tokenizer_piece(const struct slm_tokenizer *tokenizer, int32_t id, bool show_special);
/* Whole-sequence decode: the inverse of encode. Strips the space that add_space_prefix put at the start and after each
 * special token. An id out of range is SLM_ERR_ARGUMENT. */
slm_status slm_tokenizer_decode(const struct slm_tokenizer *tokenizer, const int32_t *ids, size_t n, bool show_special,
                                char *text, size_t cap, size_t *n_bytes, struct slm_error *error);

size_t slm_tokenizer_n_vocab(const struct slm_tokenizer *tokenizer);
int32_t slm_tokenizer_bos(const struct slm_tokenizer *tokenizer); /* -1 = none; likewise below */
int32_t slm_tokenizer_eos(const struct slm_tokenizer *tokenizer);
int32_t slm_tokenizer_find(const struct slm_tokenizer *tokenizer, struct slm_str token); /* exact vocabulary text */
bool slm_tokenizer_is_eog(const struct slm_tokenizer *tokenizer, int32_t id);
enum slm_token_type slm_tokenizer_type(const struct slm_tokenizer *tokenizer, int32_t id);
const char *slm_tokenizer_model(const struct slm_tokenizer *tokenizer); /* "llama" | "gpt2" */
const char *slm_tokenizer_pre(const struct slm_tokenizer *tokenizer);

/* Streaming, UTF-8 safe: holds back an incomplete character (at most 3 bytes) until it completes; bytes that can never
 * become UTF-8 come out as U+FFFD (one for each maximal part of a character, as browsers do). Fixed size, no
 * allocation; a zeroed struct is the start. */
struct slm_detok { char held[4]; unsigned n_held; };
/* Feeds one token's piece; writes whole characters to out and returns how many bytes. out needs
 * 3 * (piece length + n_held) + 3 bytes at most. */
size_t slm_detok_feed(struct slm_detok *state, struct slm_str piece, char *out);
size_t slm_detok_flush(struct slm_detok *state, char *out); /* at the end: what is held, as U+FFFD; <= 9 bytes */
#endif
