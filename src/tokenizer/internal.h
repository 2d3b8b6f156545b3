/* SPDX-License-Identifier: MIT
 * What the files of this folder share; nobody outside includes it.
 *
 * The way text goes:  encode (tokenizer.c) cuts out special tokens (special.c) -> the rest is normalized
 * (normalize.c) -> the model's row (spm.c | bpe.c) cuts it into words (pretokenize.c for bpe) -> merge.c turns a word
 * into ids with a heap, or unigram.c by the best path -> sink.
 * The models differ in a few small functions only (struct slm_token_model); the expensive part is written once.
 *
 * One key form for everything: a token is looked up by its *piece*, the bytes it stands for in text. So spaces are
 * never escaped to U+2581 and bytes never spelled in the byte-level alphabet while encoding. */
#ifndef SLM_TOKENIZER_INTERNAL_H
#define SLM_TOKENIZER_INTERNAL_H
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include "base/arena.h"
#include "base/str.h"
#include "tokenizer/tokenizer.h"

/* Ids and merge ranks are packed in 21 bits each (see pairs.c). Real files stay below 520,000. */
#define SLM_TOKENIZER_MAX_IDS ((size_t)1 << 21)
/* Longer tokens are refused: lookups and special-token matching cost at most this much a byte of text. The longest
 * token of the known vocabularies has 256 bytes. */
#define SLM_TOKENIZER_MAX_TOKEN_BYTES 4096

/* ---- vocab.c: token texts, pieces, types and the hash over pieces ---- */
struct slm_vocab_slot { uint32_t hash; int32_t id; }; /* id -1 = empty */
struct slm_vocab_token { uint32_t text_at, piece_at; uint16_t text_bytes, piece_bytes; uint8_t type; };

struct slm_vocab {
    size_t n;
    char *text, *piece;             /* all texts and all pieces, end to end */
    struct slm_vocab_token *tokens; /* [n] */
    struct slm_vocab_slot *slots;   /* open addressing, linear probing */
    size_t mask;                    /* number of slots - 1 */
    uint64_t seed;                  /* so that a file cannot be built to collide */
    int32_t byte_id[256];           /* the token of a single byte, or -1 */
    size_t longest;                 /* bytes of the longest piece that merging may make */
};
/* Types as bits, to say which tokens a lookup may return. */
#define SLM_TYPE_BIT(type) (1u << (type))
#define SLM_TYPES_SPECIAL \
    (SLM_TYPE_BIT(SLM_TOKEN_CONTROL) | SLM_TYPE_BIT(SLM_TOKEN_USER_DEFINED) | SLM_TYPE_BIT(SLM_TOKEN_UNKNOWN))
/* What plain text may turn into without a special-token match: never a control token (so text cannot forge one). */
#define SLM_TYPES_TEXT \
    (SLM_TYPE_BIT(SLM_TOKEN_NORMAL) | SLM_TYPE_BIT(SLM_TOKEN_UNUSED) | SLM_TYPE_BIT(SLM_TOKEN_UNDEFINED))

struct slm_token_model;
/* "<0xNN>" with exactly two hex digits -> the byte; -1 for anything else. */
int slm_vocab_byte_value(struct slm_str text);
slm_status slm_vocab_build(struct slm_vocab *vocab, const struct slm_tokenizer_source *source,
                           const struct slm_token_model *model, struct slm_arena *arena, struct slm_error *error);
/* First token with this piece whose type is in the set; -1 when none. */
int32_t slm_vocab_find(const struct slm_vocab *vocab, struct slm_str piece, unsigned types);
/* The same for n pieces at once, n <= SLM_VOCAB_MANY: their waits for memory overlap, which makes opening a large
 * vocabulary several times faster. */
#define SLM_VOCAB_MANY 48
void slm_vocab_find_many(const struct slm_vocab *vocab, const struct slm_str *pieces, size_t n, unsigned types,
                         int32_t *ids);
/* First token with exactly this text, of any type; -1 when none. */
int32_t slm_vocab_find_text(const struct slm_vocab *vocab, const struct slm_token_model *model, struct slm_str text);
static inline struct slm_str slm_vocab_text(const struct slm_vocab *vocab, int32_t id)
{
    return (struct slm_str){vocab->text + vocab->tokens[id].text_at, vocab->tokens[id].text_bytes};
}
static inline struct slm_str slm_vocab_piece(const struct slm_vocab *vocab, int32_t id)
{
    return (struct slm_str){vocab->piece + vocab->tokens[id].piece_at, vocab->tokens[id].piece_bytes};
}

/* Tokens in the order of their texts, bytewise; equal texts by id. For qsort. */
struct slm_vocab_entry { struct slm_str text; int32_t id; };
int slm_vocab_by_text(const void *left, const void *right);

/* ---- pairs.c: (left id, right id) -> rank and merged id ---- */
struct slm_pairs {
    uint64_t *slots;     /* left << 42 | right << 21 | rank; all ones = empty */
    size_t mask;
    unsigned shift;      /* 64 - log2(number of slots) */
    uint64_t multiplier; /* odd, differs from run to run */
    int32_t *merged;     /* [n_merges] by rank */
};
slm_status slm_pairs_build(struct slm_pairs *pairs, const struct slm_tokenizer_source *source,
                           const struct slm_token_model *model, const struct slm_vocab *vocab,
                           struct slm_arena *arena, struct slm_error *error);
bool slm_pairs_find(const struct slm_pairs *pairs, int32_t left, int32_t right, uint32_t *rank, int32_t *merged);

/* ---- special.c: special tokens in text, and which tokens end a generation ---- */
struct slm_specials {
    int32_t *ids;         /* sorted by text; one id per text */
    uint8_t *strips;      /* [n] enum slm_token_strip bits */
    size_t n;
    uint32_t begin[257];  /* those whose text starts with byte b are ids[begin[b] .. begin[b + 1]) */
    bool starts[2][256];  /* [parse_special]: can a match start with this byte */
};
slm_status slm_specials_build(struct slm_specials *specials, const struct slm_vocab *vocab,
                              const struct slm_tokenizer_source *source, struct slm_arena *arena,
                              struct slm_error *error);
/* The leftmost, then longest, special token of text[from, bytes). Returns its position (bytes when there is none), or
 * that of the white space in front that belongs to it; its id; and in *end where text goes on. */
size_t slm_specials_next(const struct slm_specials *specials, const struct slm_vocab *vocab, struct slm_str text,
                         size_t from, bool parse_special, int32_t *id, size_t *end);
/* Gives well-known end-of-generation names the type CONTROL and sets their bits in eog [n_vocab / 8 + 1]. */
void slm_specials_mark_eog(struct slm_vocab *vocab, const struct slm_token_model *model, uint8_t *eog,
                           const struct slm_tokenizer_source *source);

/* ---- pretokenize.c: the patterns that cut text into words ---- */
struct slm_pretokenizer {
    const char *const *names; /* NULL-terminated; the first is the canonical one */
    const char *pattern;
    bool ignore_merges; /* a word that is in the vocabulary is one token, whatever the merges say */
    bool add_bos;       /* when the file does not say */
};
/* NULL when unknown. */
const struct slm_pretokenizer *slm_pretokenizer_find(struct slm_str name);
/* The row with the same pattern that says this about merges; NULL when there is none. */
const struct slm_pretokenizer *slm_pretokenizer_like(const struct slm_pretokenizer *row, bool ignore_merges);
/* The canonical names, comma-separated, for messages. */
void slm_pretokenizer_list(char *out, size_t cap);
slm_status slm_pretokenizer_compile(const struct slm_pretokenizer *row, const char *where, pcre2_code **out,
                                    struct slm_error *error);
pcre2_general_context *slm_pretokenizer_memory(void); /* PCRE2 on our allocator; NULL when out of memory */

/* ---- to_gguf.c: keys of our own for what GGUF has no key for ---- */
#define SLM_TOKENIZER_RULES_KEY "slm.tokenizer.rules"   /* array of the names below */
#define SLM_TOKENIZER_STRIPS_KEY "slm.tokenizer.strips" /* array of UINT8, enum slm_token_strip bits for each token */
#define SLM_TOKENIZER_EOG_KEY "slm.tokenizer.eog"       /* array of INT32, ids that end a generation */
enum slm_tokenizer_rule {
    SLM_RULE_MERGES, /* model llama: merge rules decide, not scores */
    SLM_RULE_RANKS,  /* model gpt2: ids are ranks; the merge rules are for other readers */
    SLM_RULE_NFC,
    SLM_RULE_CLUSTERS, /* model t5: the table of normalizations is read as Hugging Face tokenizers do */
    SLM_RULE_EACH_SPACE,
    SLM_RULE_SPLIT_WHITE,
    SLM_RULE_FUSE_UNK,
    SLM_RULE_SPACE_ALWAYS, /* without a rule about spaces: always, but for t5 by sentence */
    SLM_RULE_SPACE_ONCE,
    SLM_RULE_SPACE_UNLESS_SPACE,
    SLM_RULE_SPACE_SENTENCE,
    SLM_RULE_WHOLE_WORDS,
    SLM_RULE_NO_WHOLE_WORDS,
    SLM_RULE_COUNT
};
extern const char *const slm_tokenizer_rule_names[SLM_RULE_COUNT];

/* ---- charsmap.c: SentencePiece's table of normalizations ---- */
slm_status slm_charsmap_open(struct slm_str blob, const char *where, struct slm_charsmap *out, struct slm_error *error);
void slm_charsmap_apply(struct slm_charsmap map, struct slm_str text, struct slm_buf *out);
void slm_charsmap_apply_clusters(struct slm_charsmap map, struct slm_str text, struct slm_buf *out);

/* ---- unigram.c: the trie of all pieces, and the best path through a word ---- */
/* Nodes in breadth-first order, so the children of node i are [first[i], first[i + 1]), sorted by label. */
struct slm_trie { uint32_t *first; int32_t *id; uint8_t *label; };
struct slm_path { double score; uint32_t start; int32_t id; }; /* the best piece that ends here */

/* ---- merge.c: one word -> ids ---- */
#define SLM_SYMBOL_NONE UINT32_MAX
#define SLM_SYMBOL_DEAD (-2) /* as id: merged into its left neighbour */
struct slm_symbol { uint32_t start, prev, next; int32_t id; }; /* id -1: no token for this text */
struct slm_candidate {
    uint64_t key; /* priority << 32 | index of the left symbol: smallest first, leftmost among equals */
    uint32_t end; /* where the pair ended in the word when it was found: tells stale candidates */
    int32_t id;   /* of the merged token */
};

/* A small direct-mapped memory of words already encoded in this call: text repeats itself. */
#define SLM_WORD_BYTES 15
#define SLM_WORD_IDS 3
struct slm_word { char bytes[SLM_WORD_BYTES]; uint8_t len; int32_t ids[SLM_WORD_IDS]; uint32_t n_ids; };
#define SLM_WORDS 4096

/* Everything one encode call works with. Grows with the text, freed at the end of the call. */
struct slm_encoder {
    const struct slm_tokenizer *tokenizer;
    struct slm_error *error;
    int32_t *ids; /* the caller's */
    size_t cap, n_ids;
    struct slm_symbol *symbols; /* [cap_symbols] */
    struct slm_candidate *heap; /* [cap_heap] */
    size_t cap_symbols, cap_heap, n_heap;
    char *text; /* [cap_text] text with its spaces as the vocabulary has them */
    size_t cap_text;
    struct slm_buf normal[2];  /* normalized text, step by step */
    int32_t *points, *spare;   /* [cap_points], [cap_spare] characters being normalised */
    size_t cap_points, cap_spare;
    struct slm_path *paths;    /* [cap_paths] unigram */
    size_t cap_paths;
    double carry;              /* unigram: the score of the sentence so far */
    bool after_unknown;        /* the last symbol was the unknown token */
    struct slm_word *words; /* [SLM_WORDS] or NULL for short texts */
    pcre2_match_data *match;
    pcre2_match_context *limits;
};
static inline void slm_encoder_push(struct slm_encoder *e, int32_t id)
{
    if (e->n_ids < e->cap) e->ids[e->n_ids] = id;
    e->n_ids++;
}
slm_status slm_encoder_word(struct slm_encoder *e, struct slm_str word);
/* A byte that no other token covers: its byte token, the unknown token, or an error. */
slm_status slm_encoder_byte(struct slm_encoder *e, unsigned char byte);
/* Text without a token: its bytes, or the unknown token (for a run of such texts just one, with fuse_unk). */
slm_status slm_encoder_unknown(struct slm_encoder *e, struct slm_str symbol);

/* ---- normalize.c, normal_form.c: what is done to text before it is cut into words ---- */
/* Is the text the beginning or the end of a sentence, or does it stand behind or before a user-defined token? */
struct slm_span { bool first, last; };
/* *out is text itself, or lies in e->normal until the next call. */
slm_status slm_encoder_normalize(struct slm_encoder *e, struct slm_str text, struct slm_span span, struct slm_str *out);
/* *out is text itself, or buf's, which is empty before. */
slm_status slm_encoder_normal_form(struct slm_encoder *e, enum slm_normal_kind kind, struct slm_str text,
                                   struct slm_buf *buf, struct slm_str *out);
slm_status slm_normalizer_build(struct slm_tokenizer *t, const struct slm_tokenizer_source *source,
                                struct slm_error *error);
bool slm_is_white(uint32_t cp); /* Unicode White_Space */
/* Where the white space before text[at] begins, not before `from`; where the white space at text[at] ends. */
size_t slm_white_before(struct slm_str text, size_t from, size_t at);
size_t slm_white_after(struct slm_str text, size_t at);

/* ---- the models ---- */
struct slm_token_model {
    const char *name;
    bool spelled_bytes; /* "<0xNN>" is a byte even in a file without token types */
    /* Bytes a NORMAL token stands for, written to out (at most text.len); returns how many. */
    size_t (*decode)(struct slm_str text, char *out);
    /* Finishes opening: what this model needs beyond the vocabulary. */
    slm_status (*open)(struct slm_tokenizer *t, const struct slm_tokenizer_source *source, struct slm_error *error);
    /* Encodes text without special tokens; `first` = at the start or after a special token. */
    slm_status (*encode)(struct slm_encoder *e, struct slm_str text, bool first);
    /* One word of it. */
    slm_status (*word)(struct slm_encoder *e, struct slm_str word);
    /* The next three are for slm_encoder_word. The whole word as one token, or -1. */
    int32_t (*whole)(const struct slm_tokenizer *t, struct slm_str word);
    /* Cuts a word into symbols [word.len at most]; sets start and id; returns how many. */
    size_t (*split)(const struct slm_tokenizer *t, struct slm_str word, struct slm_symbol *symbols);
    /* Can these two neighbours merge? pair is their text. Sets priority (less is earlier) and id. */
    bool (*pair)(const struct slm_tokenizer *t, struct slm_str pair, int32_t left, int32_t right, uint32_t *priority,
                 int32_t *id);
};
/* The character that spells a byte in the byte-level alphabet, as UTF-8; returns its length. */
int slm_bpe_spell_byte(unsigned char byte, char out[4]);
extern const struct slm_token_model slm_token_model_spm, slm_token_model_merges, slm_token_model_bpe,
    slm_token_model_unigram;
/* spm.c: what all models share whose spaces are spelled U+2581. */
size_t slm_spm_decode(struct slm_str text, char *out);
slm_status slm_spm_encode(struct slm_encoder *e, struct slm_str text, bool first);
/* Has no token a space after another character? Then words can be encoded one by one. */
bool slm_spm_words_end_at_spaces(const struct slm_vocab *vocab);

struct slm_tokenizer {
    struct slm_arena arena;
    const struct slm_token_model *model;
    struct slm_vocab vocab;
    struct slm_specials specials;
    uint8_t *eog; /* bits, [n_vocab / 8 + 1] */
    int32_t bos, eos, unk;
    int32_t first, last; /* added in front of a text and behind it */
    bool add_bos, add_eos, add_space_prefix, fuse_unk;
    unsigned space_prefix; /* enum slm_space_prefix bits */
    struct slm_normal_step *steps; /* [n_steps] */
    size_t n_steps;
    /* unigram */
    struct slm_trie trie;
    double *log_probs; /* [n_vocab] */
    double unk_score;
    bool single;       /* sums are rounded to float, as SentencePiece has them */
    /* spm, unigram */
    uint32_t *priority; /* [n_vocab] order of the scores: the best score has the least */
    bool words_at_spaces; /* no token has a space after another character: words can be encoded one by one */
    bool each_space;      /* every space starts a word */
    bool split_white;     /* all white space does, and is no part of it */
    /* bpe */
    const struct slm_pretokenizer *pre;
    pcre2_code *pattern;
    /* bpe and merges */
    bool whole_words;
    struct slm_pairs pairs;
};
#endif
