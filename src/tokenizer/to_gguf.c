/* SPDX-License-Identifier: MIT
 * A tokenizer as the tokenizer.ggml.* keys of a GGUF file: the way back of from_gguf.c.
 *
 * Three things need more than copying. Merge rules over U+2581 (tokenizer.json of SentencePiece models) are stated as
 * scores, because that is what other readers of such files know: a token's score falls with the rank of the first rule
 * that makes it. Ranks without rules (tiktoken) become rules: every way to put a token together from two others. And
 * the pre-tokenizer's name also says whether whole words come before merges, so the row that says both is looked for.
 *
 * What GGUF has no key for goes into keys of our own under slm.tokenizer, so that text gets the ids that the folder
 * gave it; they are written only where they change something, and other programs pass over them.
 * Deliberately not here: the chat template (a matter of the model), reading. */
#include <stdio.h>
#include "base/os.h"
#include "format/gguf.h"
#include "format/name_index.h"
#include "tokenizer/internal.h"

#define KEY "tokenizer.ggml."

const char *const slm_tokenizer_rule_names[SLM_RULE_COUNT] = {
    [SLM_RULE_MERGES] = "merges",
    [SLM_RULE_RANKS] = "ranks",
    [SLM_RULE_NFC] = "nfc",
    [SLM_RULE_CLUSTERS] = "charsmap-clusters",
    [SLM_RULE_EACH_SPACE] = "each-space",
    [SLM_RULE_SPLIT_WHITE] = "split-white",
    [SLM_RULE_FUSE_UNK] = "fuse-unknown",
    [SLM_RULE_SPACE_ALWAYS] = "space-always",
    [SLM_RULE_SPACE_ONCE] = "space-once",
    [SLM_RULE_SPACE_UNLESS_SPACE] = "space-unless-space",
    [SLM_RULE_SPACE_SENTENCE] = "space-sentence",
    [SLM_RULE_WHOLE_WORDS] = "whole-words",
    [SLM_RULE_NO_WHOLE_WORDS] = "no-whole-words",
};

enum model { LLAMA, GPT2, T5 }; /* as GGUF names them: merge rules over U+2581 are "llama", too */
static const char *const model_names[] = {[LLAMA] = "llama", [GPT2] = "gpt2", [T5] = "t5"};

/* One call of slm_tokenizer_write_gguf. */
struct export {
    enum model model;
    const struct slm_tokenizer_source *s;
    struct slm_gguf_writer *w;
    struct slm_arena arena;  /* what is computed for a key, until it is written */
    struct slm_error *error;
};

/* ---- merge rules ------------------------------------------------------------------------------------------------- */

/* GGUF ends the left half at the first space, so a rule must say the same. */
static slm_status check_cuts(const struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    for (size_t i = 0; s->merge_cuts && i < s->n_merges; i++) {
        const struct slm_str rule = s->merges[i];
        const char *space = rule.len > 1 ? memchr(rule.ptr + 1, ' ', rule.len - 1) : NULL;
        if (space && (size_t)(space - rule.ptr) == s->merge_cuts[i]) continue;
        return slm_fail(x->error, SLM_ERR_UNSUPPORTED, s->where,
                        "merge %zu is of tokens with spaces in them, which GGUF cannot state", i);
    }
    return SLM_OK;
}

/* Other readers stop at a file whose tokens have equal texts, so such a one is not written. */
static slm_status index_tokens(const struct export *x, struct slm_name_index *index)
{
    size_t bad = 0;
    const struct slm_tokenizer_source *s = x->s;
    const enum slm_name_index_result result =
        slm_name_index_build(index, s->tokens, s->n_vocab, sizeof *s->tokens, &bad, x->error);
    if (result == SLM_NAMES_OK) return SLM_OK;
    if (result == SLM_NAMES_NO_MEMORY) return SLM_ERR_MEMORY;
    return slm_fail(x->error, SLM_ERR_UNSUPPORTED, s->where,
                    "token %zu, '%.*s', has the text of an earlier one; GGUF files need different ones", bad,
                    (int)(s->tokens[bad].len < 64 ? s->tokens[bad].len : 64), s->tokens[bad].ptr);
}

/* Tokens of the byte-level alphabet are cut between its characters only. */
static bool begins_character(char c) { return ((unsigned char)c & 0xC0) != 0x80; }

/* One way to put a token together: ids of the halves, and where the cut is. */
struct split { size_t left, right, cut; };

/* Halves of token `id`, those of the least ids first. Returns how many; out has room for all of them. */
static size_t find_splits(const struct slm_tokenizer_source *s, const struct slm_name_index *index, size_t id,
                          struct split *out)
{
    const struct slm_str text = s->tokens[id];
    size_t n = 0;
    for (size_t cut = 1; cut < text.len; cut++) {
        if (!begins_character(text.ptr[cut])) continue;
        const struct slm_str *left = slm_name_index_find(index, (struct slm_str){text.ptr, cut});
        const struct slm_str *right =
            left ? slm_name_index_find(index, (struct slm_str){text.ptr + cut, text.len - cut}) : NULL;
        if (!right) continue;
        const struct split found = {(size_t)(left - s->tokens), (size_t)(right - s->tokens), cut};
        size_t at = n++;
        for (; at > 0 && (out[at - 1].left > found.left); at--) out[at] = out[at - 1];
        out[at] = found;
    }
    return n;
}

/* Appends the rules of every token in order of rank to a table that grows by doubling. */
static slm_status list_ranked(struct export *x, const struct slm_name_index *index, struct slm_str **rules, size_t *n,
                              struct split *splits)
{
    const struct slm_tokenizer_source *s = x->s;
    size_t cap = 0;
    for (size_t id = 0; id < s->n_vocab; id++) {
        if (s->types && s->types[id] != SLM_TOKEN_NORMAL) continue;
        const size_t n_splits = find_splits(s, index, id, splits);
        for (size_t i = 0; i < n_splits; i++) {
            const struct slm_str text = s->tokens[id];
            char *rule = slm_arena_alloc(&x->arena, text.len + 1, 1, s->where, x->error);
            if (!rule) return SLM_ERR_MEMORY;
            memcpy(rule, text.ptr, splits[i].cut);
            rule[splits[i].cut] = ' ';
            memcpy(rule + splits[i].cut + 1, text.ptr + splits[i].cut, text.len - splits[i].cut);
            if (*n == cap) {
                cap = cap ? cap * 2 : 4096;
                struct slm_str *grown = slm_realloc(*rules, cap, sizeof *grown, s->where, x->error);
                if (!grown) return SLM_ERR_MEMORY;
                *rules = grown;
            }
            (*rules)[(*n)++] = (struct slm_str){rule, text.len + 1};
        }
    }
    return SLM_OK;
}

/* Written at once: the table lives only here. */
static slm_status write_ranked(struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    struct slm_name_index index = {0};
    struct slm_str *rules = NULL;
    size_t n = 0, longest = 1;
    for (size_t i = 0; i < s->n_vocab; i++)
        if (s->tokens[i].len > longest) longest = s->tokens[i].len;
    struct split *splits = slm_alloc(longest, sizeof *splits, s->where, x->error);
    slm_status status = splits ? index_tokens(x, &index) : SLM_ERR_MEMORY;
    if (status == SLM_OK) status = list_ranked(x, &index, &rules, &n, splits);
    if (status == SLM_OK) status = slm_gguf_write_strings(x->w, KEY "merges", rules, n, x->error);
    slm_name_index_release(&index);
    slm_release(splits);
    slm_release(rules);
    return status;
}

/* The token that a rule makes: its text without the space. -1 when there is none. */
static int64_t made_by(const struct export *x, const struct slm_name_index *index, size_t rank, struct slm_buf *text)
{
    const struct slm_str rule = x->s->merges[rank];
    const size_t cut = (size_t)((const char *)memchr(rule.ptr + 1, ' ', rule.len - 1) - rule.ptr);
    slm_buf_clear(text);
    slm_buf_add(text, rule.ptr, cut);
    slm_buf_add(text, rule.ptr + cut + 1, rule.len - cut - 1);
    const struct slm_str *token = slm_name_index_find(index, (struct slm_str){text->data, text->len});
    return token ? token - x->s->tokens : -1;
}

/* Minus the rank of the first rule, so that earlier ones have better scores. Tokens that no rule makes are never
 * merged into; they get the worst. */
static slm_status write_scores_of_rules(struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    struct slm_name_index index = {0};
    struct slm_buf text = {0};
    float *scores = slm_arena_alloc(&x->arena, s->n_vocab, sizeof *scores, s->where, x->error);
    if (!scores) return SLM_ERR_MEMORY;
    slm_status status = index_tokens(x, &index);
    for (size_t i = 0; i < s->n_vocab; i++) scores[i] = -(float)s->n_merges - 1.0f;
    for (size_t rank = s->n_merges; status == SLM_OK && rank-- > 0;) { /* backwards: the first rule is the last word */
        const int64_t id = made_by(x, &index, rank, &text);
        if (id >= 0) scores[id] = -(float)rank;
        status = slm_buf_status(&text, s->where, x->error);
    }
    if (status == SLM_OK)
        status = slm_gguf_write_array(x->w, KEY "scores", SLM_GGUF_F32, scores, s->n_vocab, x->error);
    slm_buf_release(&text);
    slm_name_index_release(&index);
    return status;
}

/* ---- what GGUF has no key for ------------------------------------------------------------------------------------ */

/* The pre-tokenizer row that says both pattern and whole words; that of the pattern when none does. */
static const struct slm_pretokenizer *choose_pre(const struct slm_tokenizer_source *s, bool *says_whole)
{
    const struct slm_pretokenizer *row = slm_pretokenizer_find(slm_str(s->pre));
    *says_whole = true;
    if (!row || s->whole_words == SLM_WHOLE_AS_PRE) return row;
    const struct slm_pretokenizer *like = slm_pretokenizer_like(row, s->whole_words == SLM_WHOLE_ALWAYS);
    *says_whole = like != NULL;
    return like ? like : row;
}

/* Characters without a token matter only where bytes are missing. */
static bool lacks_bytes(const struct slm_tokenizer_source *s)
{
    size_t n = 0;
    for (size_t i = 0; s->types && i < s->n_vocab; i++) n += s->types[i] == SLM_TOKEN_BYTE;
    return n < 256;
}

/* Each rule only where the ordinary keys would leave the reader with another tokenizer. */
static slm_status write_rules(struct export *x, bool says_whole)
{
    const struct slm_tokenizer_source *s = x->s;
    const bool always = s->whole_words == SLM_WHOLE_ALWAYS, gpt2 = x->model == GPT2, t5 = x->model == T5;
    const bool usual = s->space_prefix == (t5 ? (unsigned)SLM_SPACE_SENTENCE : 0u);
    const bool on[SLM_RULE_COUNT] = {
        [SLM_RULE_MERGES] = x->model == LLAMA && s->n_merges > 0,
        [SLM_RULE_RANKS] = s->ids_are_ranks,
        [SLM_RULE_NFC] = gpt2 && s->n_steps > 0,
        [SLM_RULE_CLUSTERS] = t5 && s->n_steps > 0 && s->steps[0].kind == SLM_NORMAL_CHARSMAP_CLUSTERS,
        [SLM_RULE_EACH_SPACE] = s->each_space,
        [SLM_RULE_SPLIT_WHITE] = s->split_white,
        [SLM_RULE_FUSE_UNK] = x->model == LLAMA && s->fuse_unk && lacks_bytes(s),
        [SLM_RULE_SPACE_ALWAYS] = !usual && s->space_prefix == 0,
        [SLM_RULE_SPACE_ONCE] = !usual && s->space_prefix & SLM_SPACE_ONCE,
        [SLM_RULE_SPACE_UNLESS_SPACE] = !usual && s->space_prefix & SLM_SPACE_UNLESS_SPACE,
        [SLM_RULE_SPACE_SENTENCE] = !usual && s->space_prefix & SLM_SPACE_SENTENCE,
        [SLM_RULE_WHOLE_WORDS] = always && (!gpt2 || !says_whole),
        [SLM_RULE_NO_WHOLE_WORDS] = gpt2 && !says_whole && !always,
    };
    struct slm_str names[SLM_RULE_COUNT];
    size_t n = 0;
    for (int i = 0; i < SLM_RULE_COUNT; i++)
        if (on[i]) names[n++] = slm_str(slm_tokenizer_rule_names[i]);
    return n ? slm_gguf_write_strings(x->w, SLM_TOKENIZER_RULES_KEY, names, n, x->error) : SLM_OK;
}

/* White space that belongs to special tokens; most vocabularies have none. */
static slm_status write_strips(struct export *x)
{
    bool any = false;
    for (size_t i = 0; x->s->strips && i < x->s->n_vocab; i++) any |= x->s->strips[i] != 0;
    return any ? slm_gguf_write_array(x->w, SLM_TOKENIZER_STRIPS_KEY, SLM_GGUF_U8, x->s->strips, x->s->n_vocab,
                                      x->error)
               : SLM_OK;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* INT32 in files, a byte here. */
static slm_status write_types(struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    int32_t *types = slm_arena_alloc(&x->arena, s->n_vocab, sizeof *types, s->where, x->error);
    if (!types) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < s->n_vocab; i++) types[i] = s->types ? s->types[i] : SLM_TOKEN_NORMAL;
    return slm_gguf_write_array(x->w, KEY "token_type", SLM_GGUF_I32, types, s->n_vocab, x->error);
}

/* GGUF has one id for the end and one for the end of a turn; what is left is ours to remember. */
static slm_status write_ids(struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    int32_t eot = s->eot;
    size_t n_left = 0;
    for (size_t i = 0; i < s->n_eog; i++) {
        if (s->eog[i] == s->eos) continue;
        if (eot < 0) eot = s->eog[i];
        n_left += s->eog[i] != eot;
    }
    const struct { const char *key; int32_t id; } ids[] = {
        {KEY "bos_token_id", s->bos}, {KEY "eos_token_id", s->eos}, {KEY "unknown_token_id", s->unk},
        {KEY "padding_token_id", s->pad}, {KEY "eot_token_id", eot},
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0) SLM_TRY(slm_gguf_write_i64(x->w, ids[i].key, SLM_GGUF_U32, ids[i].id, x->error));
    return n_left ? slm_gguf_write_array(x->w, SLM_TOKENIZER_EOG_KEY, SLM_GGUF_I32, s->eog, s->n_eog, x->error)
                  : SLM_OK;
}

/* GGUF has keys for SentencePiece's two steps, in their order; NFC is a rule of ours. What else a tokenizer does to
 * text no key says. */
static slm_status write_steps(struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    size_t i = 0;
    if (x->model == GPT2 && s->n_steps == 1 && s->steps[0].kind == SLM_NORMAL_NFC) return SLM_OK;
    if (x->model == T5 && i < s->n_steps &&
        (s->steps[i].kind == SLM_NORMAL_CHARSMAP || s->steps[i].kind == SLM_NORMAL_CHARSMAP_CLUSTERS)) {
        const struct slm_str table = s->steps[i++].find;
        /* Bytes of a compiled table, as the file of the model has them. */
        SLM_TRY(slm_gguf_write_array(x->w, KEY "precompiled_charsmap", SLM_GGUF_U8, table.ptr, table.len,
                                     x->error));
    }
    if (x->model == T5 && i < s->n_steps && s->steps[i].kind == SLM_NORMAL_SQUEEZE) {
        i++;
        SLM_TRY(slm_gguf_write_bool(x->w, KEY "remove_extra_whitespaces", true, x->error));
    }
    if (i == s->n_steps) return SLM_OK;
    return slm_fail(x->error, SLM_ERR_UNSUPPORTED, s->where,
                    "the tokenizer changes text before it is cut, in a way that GGUF files cannot state");
}

/* The better of the two, rounded: sums of log probabilities that differ by less are ties. */
static slm_status write_scores(struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    if (x->model == LLAMA && !s->scores) return write_scores_of_rules(x);
    float *scores = slm_arena_alloc(&x->arena, s->n_vocab, sizeof *scores, s->where, x->error);
    if (!scores) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < s->n_vocab; i++) scores[i] = s->log_probs ? (float)s->log_probs[i] : s->scores[i];
    return slm_gguf_write_array(x->w, KEY "scores", SLM_GGUF_F32, scores, s->n_vocab, x->error);
}

/* In the order in which llama.cpp's converter has them. */
static slm_status write_all(struct export *x)
{
    const struct slm_tokenizer_source *s = x->s;
    struct slm_error *error = x->error;
    const bool gpt2 = x->model == GPT2;
    bool says_whole = true;
    const struct slm_pretokenizer *pre = gpt2 ? choose_pre(s, &says_whole) : NULL;
    SLM_TRY(check_cuts(x));
    SLM_TRY(slm_gguf_write_str(x->w, KEY "model", slm_str(model_names[x->model]), error));
    SLM_TRY(slm_gguf_write_str(x->w, KEY "pre", slm_str(pre ? pre->names[0] : "default"), error));
    SLM_TRY(slm_gguf_write_strings(x->w, KEY "tokens", s->tokens, s->n_vocab, error));
    SLM_TRY(write_types(x));
    if (!gpt2) SLM_TRY(write_scores(x));
    if (s->ids_are_ranks) SLM_TRY(write_ranked(x));
    else if (gpt2 || s->n_merges) SLM_TRY(slm_gguf_write_strings(x->w, KEY "merges", s->merges, s->n_merges, error));
    SLM_TRY(write_ids(x));
    SLM_TRY(slm_gguf_write_bool(x->w, KEY "add_bos_token", s->add_bos, error));
    SLM_TRY(slm_gguf_write_bool(x->w, KEY "add_eos_token", s->add_eos, error));
    if (!gpt2) SLM_TRY(slm_gguf_write_bool(x->w, KEY "add_space_prefix", s->add_space_prefix, error));
    SLM_TRY(write_steps(x));
    SLM_TRY(write_rules(x, says_whole));
    return write_strips(x);
}

slm_status slm_tokenizer_write_gguf(const struct slm_tokenizer_source *source, struct slm_gguf_writer *w,
                                    struct slm_error *error)
{
    struct export x = {.s = source, .w = w, .error = error, .model = LLAMA};
    if (strcmp(source->model, "gpt2") == 0) x.model = GPT2;
    if (strcmp(source->model, "t5") == 0) x.model = T5;
    const slm_status status = write_all(&x);
    slm_arena_release(&x.arena);
    return status;
}
