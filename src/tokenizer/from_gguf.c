/* SPDX-License-Identifier: MIT
 * A tokenizer from the tokenizer.ggml.* keys of a GGUF file.
 *
 * Every key is read with its type and range checked, every array must have one entry for each token: tokenizer arrays
 * with the wrong element type or length were read out of bounds by several programs. What a file does not say gets the
 * value that llama.cpp gives it, because that is what the writers of files test against. Files that slm converted may
 * say more, in keys of our own (to_gguf.c). */
#include "base/os.h"
#include "format/gguf.h"
#include "tokenizer/internal.h"

#include <stdio.h>

#define KEY "tokenizer.ggml."

struct reader {
    const struct slm_gguf *gguf;
    struct slm_arena arena; /* the arrays handed to slm_tokenizer_new */
    struct slm_tokenizer_source source;
    struct slm_normal_step steps[2];
    char where[128];
    struct slm_error *error;
};

/* An array of strings as views into the file. */
static slm_status read_strings(struct reader *r, const char *key, const struct slm_str **out, size_t *n)
{
    const struct slm_gguf_kv *kv = NULL;
    SLM_TRY(slm_gguf_get_array(r->gguf, key, SLM_GGUF_STRING, &kv, NULL, r->error));
    if (kv->n == 0 || kv->n >= SLM_TOKENIZER_MAX_IDS)
        return slm_fail(r->error, kv->n ? SLM_ERR_LIMIT : SLM_ERR_FORMAT, r->where,
                        "key '%s' has %llu entries; 1 to %zu are allowed", key, (unsigned long long)kv->n,
                        SLM_TOKENIZER_MAX_IDS - 1);
    struct slm_str *strings = slm_arena_alloc(&r->arena, (size_t)kv->n, sizeof *strings, r->where, r->error);
    if (!strings) return SLM_ERR_MEMORY;
    size_t cursor = 0;
    *n = 0;
    while (*n < kv->n && slm_gguf_next_string(kv, &cursor, &strings[*n])) ++*n;
    *out = strings;
    return SLM_OK;
}

/* An array of numbers with one entry for each token; NULL in *out when the file has none. */
static slm_status read_per_token(struct reader *r, const char *key, enum slm_gguf_type element,
                                 const struct slm_gguf_kv **out)
{
    bool found = false;
    const struct slm_gguf_kv *kv = NULL;
    SLM_TRY(slm_gguf_get_array(r->gguf, key, element, &kv, &found, r->error));
    if (found && kv->n != r->source.n_vocab)
        return slm_fail(r->error, SLM_ERR_FORMAT, r->where,
                        "key '%s' has %llu entries; %zu are needed, one for each token", key, (unsigned long long)kv->n,
                        r->source.n_vocab);
    *out = found ? kv : NULL;
    return SLM_OK;
}

/* Only SentencePiece models use them; whether they may be missing is the model's business. */
static slm_status read_scores(struct reader *r)
{
    const struct slm_gguf_kv *kv = NULL;
    SLM_TRY(read_per_token(r, KEY "scores", SLM_GGUF_F32, &kv));
    if (!kv) return SLM_OK;
    float *scores = slm_arena_alloc(&r->arena, r->source.n_vocab, sizeof *scores, r->where, r->error);
    if (!scores) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < r->source.n_vocab; i++) scores[i] = (float)slm_gguf_f64_at(kv, i);
    r->source.scores = scores;
    return SLM_OK;
}

/* A number outside the enum is a damaged file, not a new kind of token: the list has not grown since GGUF v1. */
static slm_status read_types(struct reader *r)
{
    const struct slm_gguf_kv *kv = NULL;
    SLM_TRY(read_per_token(r, KEY "token_type", SLM_GGUF_I32, &kv));
    if (!kv) return SLM_OK;
    uint8_t *types = slm_arena_alloc(&r->arena, r->source.n_vocab, 1, r->where, r->error);
    if (!types) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < r->source.n_vocab; i++) {
        const int64_t type = slm_gguf_i64_at(kv, i);
        if (type < SLM_TOKEN_UNDEFINED || type > SLM_TOKEN_BYTE)
            return slm_fail(r->error, SLM_ERR_FORMAT, r->where, "key '" KEY "token_type': entry %zu is %lld; %d to %d "
                            "are allowed", i, (long long)type, SLM_TOKEN_UNDEFINED, SLM_TOKEN_BYTE);
        types[i] = (uint8_t)type;
    }
    r->source.types = types;
    return SLM_OK;
}

/* A token id; *out keeps its value when the key is absent. */
static slm_status read_id(struct reader *r, const char *key, int32_t *out)
{
    int64_t id = 0;
    bool found = false;
    SLM_TRY(slm_gguf_get_i64(r->gguf, key, 0, (int64_t)r->source.n_vocab - 1, &id, &found, r->error));
    if (found) *out = (int32_t)id;
    return SLM_OK;
}

/* Writers say "no padding token" as -1, in a signed or an unsigned key. */
static slm_status read_padding(struct reader *r)
{
    int64_t id = 0;
    bool found = false;
    SLM_TRY(slm_gguf_get_i64(r->gguf, KEY "padding_token_id", INT64_MIN, INT64_MAX, &id, &found, r->error));
    if (found && (id == -1 || id == UINT32_MAX)) return SLM_OK;
    return read_id(r, KEY "padding_token_id", &r->source.pad);
}

/* Files without types call every token normal; there the number alone decides. */
static bool has_type(const struct reader *r, int32_t id, enum slm_token_type type)
{
    return (size_t)id < r->source.n_vocab && (!r->source.types || r->source.types[id] == type);
}

/* Ids and switches, with the defaults of the model where the file is silent. */
static slm_status read_special(struct reader *r)
{
    struct slm_tokenizer_source *s = &r->source;
    const bool spm = strcmp(s->model, "llama") == 0, unigram = strcmp(s->model, "t5") == 0;
    s->bos = s->eos = s->unk = s->pad = s->eot = -1;
    /* An explicit key wins below; -1 is "none". */
    if (spm) { /* the ids that SentencePiece gives them */
        if (has_type(r, 0, SLM_TOKEN_UNKNOWN)) s->unk = 0;
        if (has_type(r, 1, SLM_TOKEN_CONTROL)) s->bos = 1;
        if (has_type(r, 2, SLM_TOKEN_CONTROL)) s->eos = 2;
    }
    if (unigram) { /* the ids that T5 gives them */
        if (has_type(r, 0, SLM_TOKEN_CONTROL)) s->pad = 0;
        if (has_type(r, 1, SLM_TOKEN_CONTROL)) s->eos = 1;
        if (has_type(r, 2, SLM_TOKEN_UNKNOWN)) s->unk = 2;
    }
    SLM_TRY(read_id(r, KEY "bos_token_id", &s->bos));
    SLM_TRY(read_id(r, KEY "eos_token_id", &s->eos));
    SLM_TRY(read_id(r, KEY "eot_token_id", &s->eot));
    SLM_TRY(read_id(r, KEY "unknown_token_id", &s->unk));
    SLM_TRY(read_padding(r));
    const struct slm_pretokenizer *pre = slm_pretokenizer_find(slm_str(s->pre));
    s->add_bos = s->bos >= 0 && (spm || (pre && pre->add_bos));
    s->add_eos = unigram && s->eos >= 0;
    s->add_space_prefix = spm || unigram;
    bool found;
    SLM_TRY(slm_gguf_get_bool(r->gguf, KEY "add_bos_token", &s->add_bos, &found, r->error));
    SLM_TRY(slm_gguf_get_bool(r->gguf, KEY "add_eos_token", &s->add_eos, &found, r->error));
    return slm_gguf_get_bool(r->gguf, KEY "add_space_prefix", &s->add_space_prefix, &found, r->error);
}

/* Keys of our own. A rule that this build does not know would be read wrongly if it were passed over. */
static slm_status read_rules(struct reader *r, bool rules[SLM_RULE_COUNT])
{
    const struct slm_gguf_kv *kv = NULL;
    bool found = false;
    struct slm_str name;
    SLM_TRY(slm_gguf_get_array(r->gguf, SLM_TOKENIZER_RULES_KEY, SLM_GGUF_STRING, &kv, &found, r->error));
    for (size_t cursor = 0; found && slm_gguf_next_string(kv, &cursor, &name);) {
        int i = 0;
        while (i < SLM_RULE_COUNT && !slm_str_is(name, slm_tokenizer_rule_names[i])) i++;
        if (i == SLM_RULE_COUNT)
            return slm_fail(r->error, SLM_ERR_UNSUPPORTED, r->where, "key '" SLM_TOKENIZER_RULES_KEY "' has '%.*s', "
                            "which this build does not know", (int)(name.len < 40 ? name.len : 40), name.ptr);
        rules[i] = true;
    }
    return SLM_OK;
}

/* Onto what the ordinary keys said. A rule of the other model has no effect. */
static void apply_rules(struct reader *r, const bool rules[SLM_RULE_COUNT])
{
    struct slm_tokenizer_source *s = &r->source;
    const bool gpt2 = strcmp(s->model, "gpt2") == 0;
    if (rules[SLM_RULE_MERGES] && !gpt2) s->model = "llama-merges";
    const unsigned spaces = (rules[SLM_RULE_SPACE_ONCE] ? SLM_SPACE_ONCE : 0u) |
                            (rules[SLM_RULE_SPACE_UNLESS_SPACE] ? SLM_SPACE_UNLESS_SPACE : 0u) |
                            (rules[SLM_RULE_SPACE_SENTENCE] ? SLM_SPACE_SENTENCE : 0u);
    if (spaces || rules[SLM_RULE_SPACE_ALWAYS]) s->space_prefix = spaces;
    s->ids_are_ranks = rules[SLM_RULE_RANKS] && gpt2;
    s->each_space = rules[SLM_RULE_EACH_SPACE];
    s->split_white = rules[SLM_RULE_SPLIT_WHITE];
    s->fuse_unk = s->fuse_unk || rules[SLM_RULE_FUSE_UNK];
    /* Other readers take text as it comes, or the table in SentencePiece's way. */
    if (rules[SLM_RULE_NFC] && gpt2) {
        r->steps[0] = (struct slm_normal_step){.kind = SLM_NORMAL_NFC};
        s->steps = r->steps;
        s->n_steps = 1;
    }
    if (rules[SLM_RULE_CLUSTERS] && s->n_steps && r->steps[0].kind == SLM_NORMAL_CHARSMAP)
        r->steps[0].kind = SLM_NORMAL_CHARSMAP_CLUSTERS;
    if (rules[SLM_RULE_WHOLE_WORDS]) s->whole_words = SLM_WHOLE_ALWAYS;
    if (rules[SLM_RULE_NO_WHOLE_WORDS]) s->whole_words = SLM_WHOLE_NEVER;
}

/* White space beside special tokens, and further ends of a generation: per token and per id, so they are lists and not
 * rules. */
static slm_status read_extras(struct reader *r)
{
    struct slm_tokenizer_source *s = &r->source;
    const struct slm_gguf_kv *kv = NULL;
    bool found = false;
    SLM_TRY(read_per_token(r, SLM_TOKENIZER_STRIPS_KEY, SLM_GGUF_U8, &kv));
    if (kv) {
        s->strips = kv->data;
        s->specials_swallow_space = false; /* said token by token */
    }
    SLM_TRY(slm_gguf_get_array(r->gguf, SLM_TOKENIZER_EOG_KEY, SLM_GGUF_I32, &kv, &found, r->error));
    if (!found) return SLM_OK;
    int32_t *eog = slm_arena_alloc(&r->arena, (size_t)kv->n, sizeof *eog, r->where, r->error);
    if (!eog) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < kv->n; i++) {
        const int64_t id = slm_gguf_i64_at(kv, i);
        if (id < 0 || id >= (int64_t)s->n_vocab)
            return slm_fail(r->error, SLM_ERR_FORMAT, r->where, "key '" SLM_TOKENIZER_EOG_KEY "': entry %zu is %lld; "
                            "0 to %zu are allowed", i, (long long)id, s->n_vocab - 1);
        eog[i] = (int32_t)id; /* repetitions do no harm */
    }
    s->eog = eog;
    s->n_eog = (size_t)kv->n;
    return SLM_OK;
}

/* NUL-terminated text of a key, or `otherwise`. */
static slm_status read_name(struct reader *r, const char *key, const char *otherwise, const char **out)
{
    struct slm_str text = slm_str(otherwise);
    bool found;
    SLM_TRY(slm_gguf_get_str(r->gguf, key, &text, &found, r->error));
    *out = slm_arena_copy(&r->arena, text.ptr, text.len, r->error);
    return *out ? SLM_OK : SLM_ERR_MEMORY;
}

/* Only Unigram files say how text is normalized, as SentencePiece's normalizer_spec does. */
static slm_status read_normalizer(struct reader *r)
{
    struct slm_tokenizer_source *s = &r->source;
    const struct slm_gguf_kv *kv = NULL;
    bool found = false, squeeze = false;
    s->steps = r->steps;
    s->fuse_unk = true;
    s->space_prefix = SLM_SPACE_SENTENCE;
    /* Bytes in an array of bytes, signed or not, lie as they are. */
    SLM_TRY(slm_gguf_get_array(r->gguf, KEY "precompiled_charsmap", SLM_GGUF_U8, &kv, &found, r->error));
    if (found && kv->n)
        r->steps[s->n_steps++] = (struct slm_normal_step){.kind = SLM_NORMAL_CHARSMAP,
                                                          .find = {(const char *)kv->data, kv->bytes}};
    SLM_TRY(slm_gguf_get_bool(r->gguf, KEY "remove_extra_whitespaces", &squeeze, &found, r->error));
    if (squeeze) r->steps[s->n_steps++] = (struct slm_normal_step){.kind = SLM_NORMAL_SQUEEZE};
    return SLM_OK;
}

/* Leaves *out NULL when the file has no tokenizer. */
static slm_status read_all(struct reader *r, struct slm_tokenizer **out)
{
    struct slm_tokenizer_source *s = &r->source;
    bool rules[SLM_RULE_COUNT] = {0};
    SLM_TRY(read_name(r, KEY "model", "none", &s->model));
    if (strcmp(s->model, "none") == 0 || strcmp(s->model, "no_vocab") == 0) return SLM_OK;
    SLM_TRY(read_name(r, KEY "pre", "default", &s->pre));
    SLM_TRY(read_strings(r, KEY "tokens", &s->tokens, &s->n_vocab));
    SLM_TRY(read_scores(r));
    SLM_TRY(read_types(r));
    SLM_TRY(read_special(r));
    if (strcmp(s->model, "t5") == 0) SLM_TRY(read_normalizer(r));
    /* Byte-level vocabularies never were trained so. */
    s->specials_swallow_space = s->specials_swallow_space && strcmp(s->model, "llama") == 0;
    SLM_TRY(read_rules(r, rules));
    apply_rules(r, rules);
    const bool ruled = strcmp(s->model, "llama-merges") == 0 || strcmp(s->model, "gpt2") == 0;
    if (ruled && !s->ids_are_ranks) /* those of ranks follow from the ids */
        SLM_TRY(read_strings(r, KEY "merges", &s->merges, &s->n_merges));
    SLM_TRY(read_extras(r));
    return slm_tokenizer_new(s, out, r->error);
}

slm_status slm_tokenizer_from_gguf(const struct slm_gguf *gguf, bool specials_swallow_space,
                                   struct slm_tokenizer **out, struct slm_error *error)
{
    *out = NULL;
    struct reader r = {.gguf = gguf, .error = error, .source.specials_swallow_space = specials_swallow_space};
    snprintf(r.where, sizeof r.where, "%s: " KEY "*", slm_gguf_name(gguf));
    r.source.where = r.where;
    const slm_status status = read_all(&r, out);
    slm_arena_release(&r.arena);
    return status;
}
