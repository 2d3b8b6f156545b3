/* SPDX-License-Identifier: MIT
 * Text <-> token ids. Three models: SentencePiece-style BPE by scores with byte fallback ("llama"), byte-level BPE by
 * merge ranks with a pre-tokenizer pattern ("gpt2"), and Unigram, the likeliest cut by log-probabilities ("t5").
 * Immutable after open; safe to share between threads. Encoding n bytes is O(n log n) at worst (Unigram: linear, times
 * the longest token), without recursion, for any input bytes. */
#ifndef SLM_TOKENIZER_TOKENIZER_H
#define SLM_TOKENIZER_TOKENIZER_H
#include "base/str.h"

struct slm_gguf;
struct slm_tokenizer;

enum slm_token_type { /* numbers as in GGUF files */
    SLM_TOKEN_UNDEFINED, SLM_TOKEN_NORMAL, SLM_TOKEN_UNKNOWN, SLM_TOKEN_CONTROL, SLM_TOKEN_USER_DEFINED,
    SLM_TOKEN_UNUSED, SLM_TOKEN_BYTE
};

/* White space beside a special token that belongs to it. */
enum slm_token_strip { SLM_STRIP_LEFT = 1, SLM_STRIP_RIGHT = 2 };
/* The space in front of text, where add_space_prefix asks for one. */
enum slm_space_prefix {
    SLM_SPACE_ONCE = 1,         /* at the start of the text only, not after every special token */
    SLM_SPACE_UNLESS_SPACE = 2, /* not where the text starts with one */
    SLM_SPACE_SENTENCE = 4,     /* after a user-defined token the sentence goes on: none there */
};
/* What is done to text before it is cut into words, in order. */
enum slm_normal_kind {
    SLM_NORMAL_NFC, SLM_NORMAL_NFD, SLM_NORMAL_NFKC, SLM_NORMAL_NFKD,
    SLM_NORMAL_LOWERCASE,
    SLM_NORMAL_STRIP_ACCENTS,
    SLM_NORMAL_STRIP,             /* white space at the `sides` */
    SLM_NORMAL_REPLACE,           /* each `find` by `put` */
    SLM_NORMAL_REPLACE_RUN,       /* each run of two or more `find` by one `put` */
    SLM_NORMAL_PREPEND,           /* `put` in front of what is not empty */
    SLM_NORMAL_CHARSMAP,          /* by the table `find`, as SentencePiece reads it */
    SLM_NORMAL_CHARSMAP_CLUSTERS, /* the same, as Hugging Face tokenizers read it (charsmap.c) */
    SLM_NORMAL_SQUEEZE,           /* SentencePiece's remove_extra_whitespaces */
};
/* A compiled table of normalizations, opened; views into its bytes. */
struct slm_charsmap { const char *units, *texts; size_t n_units, texts_bytes; };
struct slm_normal_step {
    enum slm_normal_kind kind;
    struct slm_str find, put; /* find is not empty where it is used */
    unsigned sides;           /* enum slm_token_strip bits */
    struct slm_charsmap map;  /* filled by slm_tokenizer_new */
};
/* Is a word that is itself a token taken whole, whatever the merges say? */
enum slm_whole_words { SLM_WHOLE_AS_PRE /* as the pre-tokenizer's models do */, SLM_WHOLE_NEVER, SLM_WHOLE_ALWAYS };

/* What a tokenizer is made of, whatever file it came from (GGUF, tokenizer.json, SentencePiece, tiktoken).
 * Everything is borrowed until slm_tokenizer_new returns. */
struct slm_tokenizer_source {
    const char *where;             /* file name for messages */
    const char *model;             /* "llama" (SentencePiece BPE by scores) | "llama-merges" (the same by merge rules) |
                                      "gpt2" (byte-level BPE) | "t5" (Unigram) */
    const char *pre;               /* pre-tokenizer id as GGUF files name them: "gpt-2", "llama-bpe", "qwen2", ... */
    const struct slm_str *tokens;  /* [n_vocab] */
    const float *scores;           /* [n_vocab] or NULL */
    const double *log_probs;       /* [n_vocab] t5: instead of scores, and added up without rounding to float */
    const uint8_t *types;          /* [n_vocab] enum slm_token_type, or NULL (all NORMAL) */
    size_t n_vocab;
    const struct slm_str *merges;  /* "left right", in rank order; gpt2 and llama-merges only */
    const uint16_t *merge_cuts;    /* [n_merges] bytes of the left half, or NULL: it ends at the first space */
    size_t n_merges;
    bool ids_are_ranks;            /* gpt2 without merges: any two neighbours merge, the least id first (tiktoken) */
    enum slm_whole_words whole_words;
    const struct slm_normal_step *steps; /* [n_steps] */
    size_t n_steps;
    bool each_space;               /* llama-merges, t5: no token holds a space but in front */
    bool split_white;              /* llama-merges, t5: white space only separates words, each with a space in front */
    bool fuse_unk;                 /* characters without a token that stand together are one unknown token */
    int32_t bos, eos, unk, pad, eot; /* -1 = none */
    const int32_t *first, *last;   /* what add_bos and add_eos add where it is not bos or eos; NULL = those */
    bool add_bos, add_eos, add_space_prefix;
    unsigned space_prefix;         /* enum slm_space_prefix bits */
    const int32_t *eog;            /* [n_eog] further ids that end a generation */
    size_t n_eog;
    const uint8_t *strips;         /* [n_vocab] enum slm_token_strip bits, or NULL */
    bool specials_swallow_space; /* white space after a special token belongs to it (Phi-3); <s>, <unk> and
                                    <|endoftext|> excepted */
};
/* Duplicate texts and texts that are not UTF-8 are allowed: every id decodes, and encoding uses the first id of a text.
 * Tokens of more than 4096 bytes, and 2^21 tokens or merges, are SLM_ERR_LIMIT. Text becomes control tokens only with
 * SLM_TOKENIZE_PARSE_SPECIAL; well-known names that end a generation ("<|im_end|>") count as control tokens. */
slm_status slm_tokenizer_new(const struct slm_tokenizer_source *source, struct slm_tokenizer **out,
                             struct slm_error *error);
/* Reads the tokenizer.ggml.* keys. specials_swallow_space is what files do not say and the model's family knows; it
 * counts for "llama" vocabularies without rules of their own. SLM_ERR_UNSUPPORTED for a model or pre-tokenizer this
 * build does not know (names the known ones). A file without tokenizer.ggml.model gives *out = NULL and SLM_OK. */
slm_status slm_tokenizer_from_gguf(const struct slm_gguf *gguf, bool specials_swallow_space,
                                   struct slm_tokenizer **out, struct slm_error *error);
/* Reads the tokenizer of a Hugging Face folder: tokenizer.json, else tokenizer.model (SentencePiece or tiktoken), with
 * tokenizer_config.json and the ids in generation_config.json and config.json. n_vocab is the model's: ids below it
 * without a token become unused ones "[PAD{id}]", added tokens beyond it are left out; 0 = as many as there are.
 * SLM_ERR_UNSUPPORTED names what this build does not know. No tokenizer file gives *out = NULL and SLM_OK. */
slm_status slm_tokenizer_from_hf(const char *folder, size_t n_vocab, struct slm_tokenizer **out,
                                 struct slm_error *error);
/* The same, up to what the tokenizer is made of: calls `use` with it, or not at all when there is no tokenizer file. */
typedef slm_status (*slm_tokenizer_use_fn)(void *user, const struct slm_tokenizer_source *source,
                                           struct slm_error *error);
slm_status slm_tokenizer_read_hf(const char *folder, size_t n_vocab, slm_tokenizer_use_fn use, void *user,
                                 struct slm_error *error);
/* Writes the tokenizer.ggml.* keys, and where these cannot say all that the source says, a few slm.tokenizer.* ones:
 * slm_tokenizer_from_gguf gives the same ids then. SLM_ERR_UNSUPPORTED for what no GGUF file can hold. */
struct slm_gguf_writer;
slm_status slm_tokenizer_write_gguf(const struct slm_tokenizer_source *source, struct slm_gguf_writer *w,
                                    struct slm_error *error);
void slm_tokenizer_free(struct slm_tokenizer *tokenizer);

/* A further flag of encode, for prompts made by templates: the noncharacter U+FDD0 (SLM_TOKENIZER_GUARD) in the text is
 * dropped after special tokens have been looked for. Put inside user text that spells a special token, it keeps that
 * text from becoming one, and leaves no other trace. */
#define SLM_TOKENIZE_GUARDED 4u
#define SLM_TOKENIZER_GUARD "\xEF\xB7\x90"
/* flags: enum slm_tokenize_flags of slm.h, and the one above. Same measuring rule as slm_tokenize; never more than 3
 * * bytes + 3 ids, unless a normalizer makes the text longer. */
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
int32_t slm_tokenizer_added_last(const struct slm_tokenizer *tokenizer); /* what SLM_TOKENIZE_ADD_SPECIAL puts last */
int32_t slm_tokenizer_find(const struct slm_tokenizer *tokenizer, struct slm_str token); /* exact vocabulary text */
bool slm_tokenizer_is_eog(const struct slm_tokenizer *tokenizer, int32_t id);
enum slm_token_type slm_tokenizer_type(const struct slm_tokenizer *tokenizer, int32_t id);
const char *slm_tokenizer_model(const struct slm_tokenizer *tokenizer); /* as in slm_tokenizer_source */
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
