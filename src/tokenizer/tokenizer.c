/* SPDX-License-Identifier: MIT
 * The tokenizer as others see it: opening, encoding around special tokens, decoding, and questions about tokens.
 *
 * What a model of tokenization does is in spm.c, unigram.c and bpe.c; where the data comes from is in from_gguf.c and
 * from_hf.c. */
#include "base/os.h"
#include "tokenizer/internal.h"

/* By the names that GGUF files use. */
static const struct slm_token_model *const models[] = {&slm_token_model_spm, &slm_token_model_merges,
                                                      &slm_token_model_bpe, &slm_token_model_unigram};

/* What does not depend on the model. Single tokens are checked where they are read. */
static slm_status check_source(const struct slm_tokenizer_source *source, struct slm_error *error)
{
    /* Every id must fit the fields of a merge rule, also in a vocabulary without rules: one limit, not two. */
    if (source->n_vocab == 0)
        return slm_fail(error, SLM_ERR_FORMAT, source->where, "the vocabulary is empty");
    if (source->n_vocab > SLM_TOKENIZER_MAX_IDS - 1 || source->n_merges > SLM_TOKENIZER_MAX_IDS - 1)
        return slm_fail(error, SLM_ERR_LIMIT, source->where,
                        "%zu tokens and %zu merges; at most %zu of each are allowed", source->n_vocab,
                        source->n_merges, SLM_TOKENIZER_MAX_IDS - 1);
    /* -1 is none. */
    const struct { const char *name; int32_t id; } special[] = {
        {"bos", source->bos}, {"eos", source->eos}, {"unk", source->unk}, {"pad", source->pad}, {"eot", source->eot}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (special[i].id < -1 || (special[i].id >= 0 && (size_t)special[i].id >= source->n_vocab))
            return slm_fail(error, SLM_ERR_FORMAT, source->where, "the %s token is %d; 0 to %zu are allowed",
                            special[i].name, special[i].id, source->n_vocab - 1);
    if ((source->add_bos && source->bos < 0) || (source->add_eos && source->eos < 0))
        return slm_fail(error, SLM_ERR_FORMAT, source->where, "a %s token is to be added, but there is none",
                        source->add_bos && source->bos < 0 ? "bos" : "eos");
    return SLM_OK;
}

/* The order matters: the names that end a generation may change a token's type, which decides how it matches. */
static slm_status open_parts(struct slm_tokenizer *t, const struct slm_tokenizer_source *source,
                             struct slm_error *error)
{
    SLM_TRY(slm_vocab_build(&t->vocab, source, t->model, &t->arena, error));
    t->eog = slm_arena_alloc(&t->arena, source->n_vocab / 8 + 1, 1, source->where, error);
    if (!t->eog) return SLM_ERR_MEMORY;
    slm_specials_mark_eog(&t->vocab, t->model, t->eog, source);
    SLM_TRY(slm_specials_build(&t->specials, &t->vocab, source, &t->arena, error));
    SLM_TRY(slm_normalizer_build(t, source, error));
    return t->model->open(t, source, error);
}

slm_status slm_tokenizer_new(const struct slm_tokenizer_source *source, struct slm_tokenizer **out,
                             struct slm_error *error)
{
    const struct slm_token_model *model = NULL;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (strcmp(models[i]->name, source->model) == 0) model = models[i];
    if (!model)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, source->where,
                        "the tokenizer model '%.40s' is not known; known are llama, llama-merges, gpt2 and t5",
                        source->model);
    SLM_TRY(check_source(source, error));
    struct slm_tokenizer *t = slm_alloc(1, sizeof *t, source->where, error);
    if (!t) return SLM_ERR_MEMORY;
    t->model = model;
    t->bos = source->bos, t->eos = source->eos, t->unk = source->unk;
    t->first = source->first ? *source->first : t->bos, t->last = source->last ? *source->last : t->eos;
    t->add_bos = source->add_bos, t->add_eos = source->add_eos;
    t->add_space_prefix = source->add_space_prefix && model != &slm_token_model_bpe;
    t->space_prefix = source->space_prefix, t->fuse_unk = source->fuse_unk;
    const slm_status status = open_parts(t, source, error);
    if (status != SLM_OK) {
        slm_tokenizer_free(t); /* knows how to free half an object */
        return status;
    }
    *out = t;
    return SLM_OK;
}

void slm_tokenizer_free(struct slm_tokenizer *t)
{
    if (!t) return;
    pcre2_code_free(t->pattern); /* the one part that lies outside the arena */
    slm_arena_release(&t->arena);
    slm_release(t);
}

/* Of what was not empty nothing may be left; in the middle of a sentence the model still sees where it begins. */
static slm_status encode_plain(struct slm_encoder *e, struct slm_str text, struct slm_span span)
{
    SLM_TRY(slm_encoder_normalize(e, text, span, &text));
    if (text.len == 0 && span.last) return SLM_OK;
    return e->tokenizer->model->encode(e, text, span.first);
}

/* Ordinary text goes to the model, without the guards that kept it ordinary. */
static slm_status encode_text(struct slm_encoder *e, struct slm_str text, unsigned flags, struct slm_span span)
{
    enum { GUARD = sizeof SLM_TOKENIZER_GUARD - 1 };
    const char *guard = flags & SLM_TOKENIZE_GUARDED ? memmem(text.ptr, text.len, SLM_TOKENIZER_GUARD, GUARD) : NULL;
    if (!guard) return encode_plain(e, text, span);
    struct slm_buf plain = {0};
    for (struct slm_str rest = text;; guard = memmem(rest.ptr, rest.len, SLM_TOKENIZER_GUARD, GUARD)) {
        const size_t n = guard ? (size_t)(guard - rest.ptr) : rest.len;
        slm_buf_add(&plain, rest.ptr, n);
        if (!guard) break;
        rest = (struct slm_str){guard + GUARD, rest.len - n - GUARD};
    }
    slm_status status = slm_buf_status(&plain, "tokenize", e->error);
    if (status == SLM_OK) status = encode_plain(e, (struct slm_str){plain.data, plain.len}, span);
    slm_buf_release(&plain);
    return status;
}

/* Does encoding put a space behind it? In SentencePiece user-defined tokens are text as any other. */
static bool ends_sentence(const struct slm_tokenizer *t, int32_t id)
{
    const enum slm_token_type type = slm_tokenizer_type(t, id);
    return SLM_TYPE_BIT(type) & SLM_TYPES_SPECIAL &&
           !(type == SLM_TOKEN_USER_DEFINED && t->space_prefix & SLM_SPACE_SENTENCE);
}

/* Text between special tokens goes to the model; special tokens go straight out. */
static slm_status encode_all(struct slm_encoder *e, struct slm_str text, unsigned flags)
{
    const struct slm_tokenizer *t = e->tokenizer;
    if (flags & SLM_TOKENIZE_ADD_SPECIAL && t->add_bos) slm_encoder_push(e, t->first);
    struct slm_span span = {.first = true}; /* after a special token, too: SentencePiece models put a space there */
    for (size_t at = 0; at < text.len;) {
        int32_t id = -1;
        size_t end = text.len;
        const size_t stop = slm_specials_next(&t->specials, &t->vocab, text, at, flags & SLM_TOKENIZE_PARSE_SPECIAL,
                                              &id, &end);
        /* A sentence may go on across user-defined tokens, and begin with one. */
        const bool joins = id >= 0 && t->vocab.tokens[id].type == SLM_TOKEN_USER_DEFINED && !ends_sentence(t, id);
        span.last = !joins;
        if (span.first || !(t->space_prefix & SLM_SPACE_SENTENCE)) slm_encoder_begin(e);
        /* What lies before the special token, or all that is left. */
        if (stop > at || (joins && span.first))
            SLM_TRY(encode_text(e, (struct slm_str){text.ptr + at, stop - at}, flags, span));
        span.first = id >= 0 && !joins && !(t->space_prefix & SLM_SPACE_ONCE);
        if (id >= 0) slm_encoder_push(e, id);
        if (joins) slm_unigram_pass_symbol(e, slm_vocab_text(&t->vocab, id).len);
        at = id >= 0 ? end : text.len;
    }
    if (flags & SLM_TOKENIZE_ADD_SPECIAL && t->add_eos) slm_encoder_push(e, t->last);
    return SLM_OK;
}

slm_status slm_tokenizer_encode(const struct slm_tokenizer *t, const char *text, size_t bytes, unsigned flags,
                                int32_t *ids, size_t cap, size_t *n_ids, struct slm_error *error)
{
    /* Positions in a word are 32 bits wide (with room for a space in front). */
    if (bytes >= UINT32_MAX - 1)
        return slm_fail(error, SLM_ERR_LIMIT, "tokenize", "the text has %zu bytes; less than %u are allowed", bytes,
                        UINT32_MAX - 1);
    struct slm_encoder e = {.tokenizer = t, .error = error, .ids = ids, .cap = cap};
    slm_status status = SLM_OK;
    /* Remembering words pays once some of them come again; clearing the memory does not pay for a line of text. */
    if (bytes >= 2048) {
        e.words = slm_alloc(SLM_WORDS, sizeof *e.words, "tokenize", error);
        if (!e.words) status = SLM_ERR_MEMORY;
    }
    if (status == SLM_OK) status = encode_all(&e, (struct slm_str){text, bytes}, flags);
    if (status == SLM_OK) *n_ids = e.n_ids;
    /* On failure *n_ids stays as it was; what ids holds then is nobody's business. */
    slm_release(e.symbols);
    slm_release(e.heap);
    slm_release(e.text);
    slm_release(e.points);
    slm_release(e.spare);
    slm_release(e.paths);
    slm_buf_release(&e.normal[0]);
    slm_buf_release(&e.normal[1]);
    slm_release(e.words);
    pcre2_match_data_free(e.match);
    pcre2_match_context_free(e.limits);
    return status;
}

/* Shown only on request: what steers the model is not part of what it says. */
static bool is_hidden(const struct slm_tokenizer *t, int32_t id)
{
    return t->vocab.tokens[id].type == SLM_TOKEN_CONTROL || t->vocab.tokens[id].type == SLM_TOKEN_UNKNOWN;
}

struct slm_str slm_tokenizer_piece(const struct slm_tokenizer *t, int32_t id, bool show_special)
{
    SLM_ASSERT(id >= 0 && (size_t)id < t->vocab.n);
    if (!show_special && is_hidden(t, id)) return (struct slm_str){NULL, 0};
    return slm_vocab_piece(&t->vocab, id);
}

slm_status slm_tokenizer_decode(const struct slm_tokenizer *t, const int32_t *ids, size_t n, bool show_special,
                                char *text, size_t cap, size_t *n_bytes, struct slm_error *error)
{
    size_t bytes = 0;
    bool strip = t->add_space_prefix; /* encoding puts a space at the start and after each special token */
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->vocab.n)
            return slm_fail(error, SLM_ERR_ARGUMENT, "detokenize", "token %zu is %d; 0 to %zu are allowed", i, ids[i],
                            t->vocab.n - 1);
        struct slm_str piece = slm_tokenizer_piece(t, ids[i], show_special);
        /* An unknown token that is not shown stands for text that was in the middle of some. */
        const bool unknown = slm_tokenizer_type(t, ids[i]) == SLM_TOKEN_UNKNOWN;
        const bool special = ends_sentence(t, ids[i]) && (show_special || !unknown);
        if (strip && !special && piece.len && piece.ptr[0] == ' ') piece.ptr++, piece.len--;
        /* Tokens before the text, such as BOS, do not use up the one space. */
        strip = t->add_space_prefix && special && (strip || !(t->space_prefix & SLM_SPACE_ONCE));
        /* Past cap only the length counts: that is how a caller measures. */
        const size_t room = bytes < cap ? cap - bytes : 0, n_copy = piece.len < room ? piece.len : room;
        if (n_copy) memcpy(text + bytes, piece.ptr, n_copy);
        bytes += piece.len;
    }
    *n_bytes = bytes;
    return SLM_OK;
}

/* ---- questions; no answer allocates ---- */

size_t slm_tokenizer_n_vocab(const struct slm_tokenizer *t) { return t->vocab.n; }
int32_t slm_tokenizer_bos(const struct slm_tokenizer *t) { return t->bos; }
int32_t slm_tokenizer_eos(const struct slm_tokenizer *t) { return t->eos; }
int32_t slm_tokenizer_added_last(const struct slm_tokenizer *t) { return t->add_eos ? t->last : -1; }
const char *slm_tokenizer_model(const struct slm_tokenizer *t) { return t->model->name; }
const char *slm_tokenizer_pre(const struct slm_tokenizer *t) { return t->pre ? t->pre->names[0] : "default"; }

/* By the text in the file, not by piece: "\xc4\xa0the" in a byte-level vocabulary. */
int32_t slm_tokenizer_find(const struct slm_tokenizer *t, struct slm_str token)
{
    return slm_vocab_find_text(&t->vocab, t->model, token);
}

bool slm_tokenizer_is_eog(const struct slm_tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->vocab.n && t->eog[id / 8] >> id % 8 & 1;
}

enum slm_token_type slm_tokenizer_type(const struct slm_tokenizer *t, int32_t id)
{
    SLM_ASSERT(id >= 0 && (size_t)id < t->vocab.n);
    return (enum slm_token_type)t->vocab.tokens[id].type;
}
