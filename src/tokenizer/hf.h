/* SPDX-License-Identifier: MIT
 * What the readers of a Hugging Face folder's tokenizer files share; nobody outside src/tokenizer includes it.
 *
 * Each reader fills one slm_hf_tokenizer: a table of tokens by id, which grows as ids come, and the source that
 * slm_tokenizer_new wants. from_hf.c chooses the reader and finishes. Files: hf_json.c reads tokenizer.json, hf_steps.c
 * says what its normalizer and pre-tokenizer mean, hf_models.c reads the two kinds of tokenizer.model. */
#ifndef SLM_TOKENIZER_HF_H
#define SLM_TOKENIZER_HF_H
#include "base/os.h"
#include "format/json.h"
#include "tokenizer/internal.h"

#define SLM_HF_MAX_FILE_BYTES ((size_t)256 << 20) /* the largest tokenizer.json in use has 33 MB */
#define SLM_HF_MARK "\xe2\x96\x81"                /* U+2581, SentencePiece's space */
#define SLM_HF_MAX_STEPS 16

struct slm_hf_tokenizer {
    const char *where; /* the file being read */
    struct slm_arena arena;
    struct slm_error *error;
    size_t n_vocab;    /* the model's, 0 = not known */
    /* By id; ptr NULL = no token has it. Owned, [cap]. */
    struct slm_str *tokens;
    uint8_t *types, *strips;
    double *scores;
    bool exact_scores; /* they count as doubles: Unigram of a tokenizer.json */
    size_t n, cap;
    struct slm_str *merges; /* owned, [cap_merges] */
    uint16_t *cuts;
    size_t n_merges, cap_merges;
    struct slm_tokenizer_source source; /* all but the tables above */
    struct slm_normal_step steps[SLM_HF_MAX_STEPS];
    bool says_added;                    /* the file itself says what is put in front and behind: */
    int32_t first, last;                /* these, where source.add_bos and add_eos are set */
};

/* Puts a token in its place. Text is borrowed. An id that is negative, too large, or another token's is an error. */
slm_status slm_hf_put(struct slm_hf_tokenizer *t, int64_t id, struct slm_str text, enum slm_token_type type);
/* First id with this text; -1 when none. Linear: for the few named tokens. */
int32_t slm_hf_find(const struct slm_hf_tokenizer *t, struct slm_str text);
/* Puts an added token: special ones are control tokens. One beyond the model's vocabulary is left out. */
slm_status slm_hf_put_added(struct slm_hf_tokenizer *t, int64_t id, struct slm_str text, bool special, unsigned strips);
/* The current KEY or STRING: a view into the file, or where it was escaped a copy in the arena. */
bool slm_hf_text(struct slm_hf_tokenizer *t, struct slm_json *json, struct slm_str *out);
/* The object of one added token, after its OBJECT event: {"id", "content", "special", "lstrip", ...}. *id keeps its
 * value when the object has none. */
bool slm_hf_read_added(struct slm_hf_tokenizer *t, struct slm_json *json, int64_t id);

/* ---- hf_steps.c: normalizer and pre-tokenizer, as a flat list of their steps ---- */
struct slm_hf_step {
    struct slm_str type, regex, string, content, prepend, replacement, scheme, behavior, charsmap;
    bool add_prefix_space, use_regex, individual_digits, invert, split, strip_left, strip_right;
    char path[64]; /* of its object in the file, for messages */
};
struct slm_hf_steps { struct slm_hf_step list[SLM_HF_MAX_STEPS]; size_t n; };
/* The value behind the current KEY, which is `key`. Sequences, however deep, become one list. */
bool slm_hf_read_steps(struct slm_hf_tokenizer *t, struct slm_json *json, const char *key, struct slm_hf_steps *out);
/* Chooses normalizers, pre-tokenizer and space rules of t->source, and its model if that is not "t5" already. */
slm_status slm_hf_settle_steps(struct slm_hf_tokenizer *t, const struct slm_hf_steps *normalizer,
                               const struct slm_hf_steps *pre);
/* What decoders undo follows from the model; one of an unknown type says that the model is another. */
slm_status slm_hf_check_decoder(const struct slm_hf_tokenizer *t, const struct slm_hf_steps *decoder);
/* One more step for t->source. */
slm_status slm_hf_add_normal_step(struct slm_hf_tokenizer *t, struct slm_normal_step step);
/* Bytes of base64, at most in.len / 4 * 3, into out; false when it is not base64. */
bool slm_hf_decode_base64(struct slm_str in, unsigned char *out, size_t *n);

/* ---- the readers ---- */
slm_status slm_hf_read_json(struct slm_hf_tokenizer *t, struct slm_str file);
slm_status slm_hf_read_sentencepiece(struct slm_hf_tokenizer *t, struct slm_str file);
slm_status slm_hf_read_tiktoken(struct slm_hf_tokenizer *t, struct slm_str file);
slm_status slm_hf_put_llama3_specials(struct slm_hf_tokenizer *t);
#endif
