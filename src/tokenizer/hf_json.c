/* SPDX-License-Identifier: MIT
 * tokenizer.json, the file of Hugging Face tokenizers: one pass with the pull reader over up to 33 MB.
 *
 * Keys may come in any order, so what depends on something else waits to the end (settle). Token texts stay views into
 * the file. What a decoder undoes follows from the model. What the file may ask for and this build cannot do
 * (WordPiece, suffixes for the ends of words, other normalizers) is refused by its path in the file.
 *
 * One rule of the original is left out on purpose: added tokens with "normalized": true are matched as written, not in
 * their normalized form (with a space in front, for Llama-like files); otherwise such a token after another character
 * would not be one. */
#include <stdio.h>
#include <stdlib.h>
#include "tokenizer/hf.h"

/* One entry of "added_tokens". The key "normalized" is not kept: see above. */
struct added { int64_t id; struct slm_str content; unsigned strips; bool special, single_word; };

/* The keys of "model" but its two big tables, which go straight into the tokenizer. */
struct model {
    struct slm_str type, unk, prefix, suffix;
    bool byte_fallback, fuse_unk, ignore_merges, found;
    int64_t unk_id; /* Unigram; -1 = none */
    size_t n_list;  /* entries of Unigram's vocabulary */
};

struct file {
    struct slm_hf_tokenizer *t;
    struct slm_json json;
    struct model model;
    struct slm_hf_steps normalizer, pre, decoder;
    struct slm_str front, behind; /* the tokens that the post-processor puts there */
    size_t n_front, n_behind;
    size_t added_at;              /* where the added tokens start; they are read after the model */
};

/* ---- added tokens ------------------------------------------------------------------------------------------------ */

bool slm_hf_read_added(struct slm_hf_tokenizer *t, struct slm_json *json, int64_t id)
{
    struct added a = {.id = id};
    enum slm_json_event event;
    while ((event = slm_json_next(json)) == SLM_JSON_KEY) {
        const bool is_id = slm_json_is(json, "id"), is_content = slm_json_is(json, "content"),
                   special = slm_json_is(json, "special"), single = slm_json_is(json, "single_word"),
                   left = slm_json_is(json, "lstrip"), right = slm_json_is(json, "rstrip");
        event = slm_json_next(json);
        if (is_id && (event != SLM_JSON_NUMBER || !slm_json_read_i64(json, &a.id))) a.id = -1;
        if (is_content && event == SLM_JSON_STRING && !slm_hf_text(t, json, &a.content)) return false;
        if (event == SLM_JSON_TRUE) {
            a.special |= special, a.single_word |= single;
            a.strips |= (left ? SLM_STRIP_LEFT : 0u) | (right ? SLM_STRIP_RIGHT : 0u);
        }
        if (!slm_json_skip(json, event)) return false;
    }
    if (event == SLM_JSON_ERROR) return false;
    if (!a.content.ptr)
        return slm_json_fail(json, SLM_ERR_FORMAT, "an added token has no text in \"content\"") == SLM_OK;
    if (a.single_word)
        return slm_json_fail(json, SLM_ERR_UNSUPPORTED, "added tokens of single words are not supported") == SLM_OK;
    const slm_status status = slm_hf_put_added(t, a.id, a.content, a.special, a.strips);
    if (status != SLM_OK) json->want = SLM_JSON_FAILED;
    return status == SLM_OK;
}

/* The list itself. What every reader below has in common: it stands behind the KEY event of its value, reads exactly
 * that value, and false means that the error is filled. */
static bool read_all_added(struct file *f)
{
    if (slm_json_next(&f->json) != SLM_JSON_ARRAY)
        return slm_json_fail(&f->json, SLM_ERR_FORMAT, "\"added_tokens\" must be a list") == SLM_OK;
    enum slm_json_event event;
    while ((event = slm_json_next(&f->json)) == SLM_JSON_OBJECT)
        if (!slm_hf_read_added(f->t, &f->json, -1)) return false;
    if (event == SLM_JSON_ARRAY_END || event == SLM_JSON_ERROR) return event == SLM_JSON_ARRAY_END;
    return slm_json_fail(&f->json, SLM_ERR_FORMAT, "an added token must be an object") == SLM_OK;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* 10 to the power n, rounded once. */
static double power_of_ten(int n)
{
    static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (n < (int)(sizeof exact / sizeof *exact)) return exact[n];
    char text[16];
    snprintf(text, sizeof text, "1e%d", n);
    return strtod(text, NULL);
}

/* The current NUMBER as the original reads it: all digits that fit an integer, times a power of ten, rounded twice. For
 * many numbers that is the neighbour of the right one; and where two ways to cut a word are equally likely, which is
 * common, such a neighbour decides. */
static double read_score(const struct slm_json *json)
{
    enum { MOST = 308 }; /* the largest power of ten */
    uint64_t digits = 0;
    int exponent = 0, written = 0;
    bool full = false, fraction = false, negative_exponent = false;
    size_t i = json->token.ptr[0] == '-';
    for (; i < json->token.len && (json->token.ptr[i] | 0x20) != 'e'; i++) {
        const unsigned digit = (unsigned)json->token.ptr[i] - '0';
        if (json->token.ptr[i] == '.') {
            fraction = true;
            continue;
        }
        full = full || digits > (UINT64_MAX - digit) / 10;
        if (!full) digits = digits * 10 + digit;
        exponent += (full && !fraction) - (!full && fraction);
    }
    for (; i < json->token.len; i++) {
        negative_exponent |= json->token.ptr[i] == '-';
        if (json->token.ptr[i] >= '0' && json->token.ptr[i] <= '9' && written < 100000)
            written = written * 10 + (json->token.ptr[i] - '0');
    }
    exponent += negative_exponent ? -written : written;
    double value = (double)digits;
    for (; exponent < -MOST && value != 0; exponent += MOST) value /= power_of_ten(MOST);
    if (value != 0) value = exponent < 0 ? value / power_of_ten(-exponent) : value * power_of_ten(exponent);
    return json->token.ptr[0] == '-' ? -value : value;
}

/* Unigram: [["token", log-probability], ...] in the order of their ids. */
static bool read_list(struct file *f)
{
    static const char expected[] = "an entry of \"model.vocab\" must be a list of a token and its log-probability";
    enum slm_json_event event;
    while ((event = slm_json_next(&f->json)) == SLM_JSON_ARRAY) {
        struct slm_str text;
        if (slm_json_next(&f->json) != SLM_JSON_STRING) return slm_json_refuse(&f->json, SLM_ERR_FORMAT, expected);
        if (!slm_hf_text(f->t, &f->json, &text)) return false;
        if (slm_json_next(&f->json) != SLM_JSON_NUMBER) return slm_json_refuse(&f->json, SLM_ERR_FORMAT, expected);
        const double score = read_score(&f->json);
        if (slm_json_next(&f->json) != SLM_JSON_ARRAY_END) return slm_json_refuse(&f->json, SLM_ERR_FORMAT, expected);
        const size_t id = f->model.n_list++;
        if (slm_hf_put(f->t, (int64_t)id, text, SLM_TOKEN_NORMAL) != SLM_OK) return false;
        f->t->scores[id] = score;
    }
    return event == SLM_JSON_ARRAY_END || slm_json_refuse(&f->json, SLM_ERR_FORMAT, expected);
}

/* {"token": id, ...}: most of the file. No hash table is built here; equal texts with two ids load, and encoding uses
 * the first (vocab.c). Two texts with one id are an error, found where they are put. */
static bool read_vocab(struct file *f)
{
    const enum slm_json_event kind = slm_json_next(&f->json);
    if (kind == SLM_JSON_ARRAY) return read_list(f);
    if (kind != SLM_JSON_OBJECT)
        return slm_json_fail(&f->json, SLM_ERR_FORMAT, "\"vocab\" must be an object") == SLM_OK;
    enum slm_json_event event;
    while ((event = slm_json_next(&f->json)) == SLM_JSON_KEY) {
        struct slm_str text;
        int64_t id;
        if (!slm_hf_text(f->t, &f->json, &text)) return false;
        if (slm_json_next(&f->json) != SLM_JSON_NUMBER || !slm_json_read_i64(&f->json, &id))
            return slm_json_fail(&f->json, SLM_ERR_FORMAT, "the id of a token must be an integer") == SLM_OK;
        if (slm_hf_put(f->t, id, text, SLM_TOKEN_NORMAL) != SLM_OK) return false;
    }
    return event == SLM_JSON_OBJECT_END;
}

/* Room for one more rule, in both tables. */
static bool reserve_merge(struct slm_hf_tokenizer *t)
{
    if (t->n_merges < t->cap_merges) return true;
    const size_t cap = t->cap_merges ? t->cap_merges * 2 : 4096;
    struct slm_str *merges = slm_realloc(t->merges, cap, sizeof *merges, t->where, t->error);
    if (merges) t->merges = merges;
    uint16_t *cuts = merges ? slm_realloc(t->cuts, cap, sizeof *cuts, t->where, t->error) : NULL;
    if (cuts) t->cuts = cuts;
    t->cap_merges = cuts ? cap : t->cap_merges;
    return cuts;
}

/* ["a", "b"], after its ARRAY event: joined with a space, and the place of that space. */
static bool read_pair(struct file *f, struct slm_str *rule, size_t *cut)
{
    struct slm_str half[2] = {{0}};
    for (int i = 0; i < 2; i++)
        if (slm_json_next(&f->json) != SLM_JSON_STRING || !slm_hf_text(f->t, &f->json, &half[i])) return false;
    if (slm_json_next(&f->json) != SLM_JSON_ARRAY_END) return false;
    char *joined = slm_arena_alloc(&f->t->arena, half[0].len + half[1].len + 1, 1, f->t->where, f->t->error);
    if (!joined) return false;
    if (half[0].len) memcpy(joined, half[0].ptr, half[0].len);
    joined[half[0].len] = ' ';
    if (half[1].len) memcpy(joined + half[0].len + 1, half[1].ptr, half[1].len);
    *rule = (struct slm_str){joined, half[0].len + half[1].len + 1};
    *cut = half[0].len;
    return true;
}

/* Strings "a b", or since 2024 pairs ["a", "b"], whose halves may hold spaces. Rules about tokens
 * that are not there are passed over where the rules become numbers (pairs.c). */
static bool read_merges(struct file *f)
{
    struct slm_hf_tokenizer *t = f->t;
    enum slm_json_event event = slm_json_next(&f->json);
    if (event != SLM_JSON_ARRAY)
        return slm_json_fail(&f->json, SLM_ERR_FORMAT, "\"merges\" must be a list") == SLM_OK;
    while ((event = slm_json_next(&f->json)) == SLM_JSON_STRING || event == SLM_JSON_ARRAY) {
        struct slm_str rule = {0};
        size_t cut = 0;
        if (t->n_merges == SLM_TOKENIZER_MAX_IDS - 1)
            return slm_json_fail(&f->json, SLM_ERR_LIMIT, "more than %zu merges", SLM_TOKENIZER_MAX_IDS - 1) == SLM_OK;
        if (event == SLM_JSON_STRING) {
            if (!slm_hf_text(t, &f->json, &rule)) return false;
            const char *space = rule.len > 1 ? memchr(rule.ptr + 1, ' ', rule.len - 1) : NULL;
            cut = space ? (size_t)(space - rule.ptr) : 0;
        } else if (!read_pair(f, &rule, &cut)) {
            return slm_json_fail(&f->json, SLM_ERR_FORMAT, "a merge must be two strings") == SLM_OK;
        }
        if (!reserve_merge(t)) return false;
        t->merges[t->n_merges] = rule;
        t->cuts[t->n_merges++] = (uint16_t)(cut <= SLM_TOKENIZER_MAX_TOKEN_BYTES ? cut : 0); /* 0 is refused, by rank */
    }
    if (event == SLM_JSON_ARRAY_END || event == SLM_JSON_ERROR) return event == SLM_JSON_ARRAY_END;
    return slm_json_fail(&f->json, SLM_ERR_FORMAT, "a merge must be a string or a list of two") == SLM_OK;
}

/* "model": {"type": "BPE", "vocab": ..., "merges": ..., switches}. */
static bool read_model(struct file *f)
{
    struct model *m = &f->model;
    if (slm_json_next(&f->json) != SLM_JSON_OBJECT || m->found)
        return slm_json_fail(&f->json, SLM_ERR_FORMAT, "\"model\" must be one object") == SLM_OK;
    m->found = true;
    const struct { const char *key; struct slm_str *text; bool *flag; } rows[] = {
        {"type", &m->type, NULL}, {"unk_token", &m->unk, NULL}, {"continuing_subword_prefix", &m->prefix, NULL},
        {"end_of_word_suffix", &m->suffix, NULL}, {"byte_fallback", NULL, &m->byte_fallback},
        {"fuse_unk", NULL, &m->fuse_unk}, {"ignore_merges", NULL, &m->ignore_merges},
    };
    enum slm_json_event event;
    while ((event = slm_json_next(&f->json)) == SLM_JSON_KEY) {
        if (slm_json_is(&f->json, "vocab")) {
            if (!read_vocab(f)) return false;
            continue;
        }
        if (slm_json_is(&f->json, "merges")) {
            if (!read_merges(f)) return false;
            continue;
        }
        const bool unk_id = slm_json_is(&f->json, "unk_id");
        size_t row = 0;
        while (row < sizeof rows / sizeof *rows && !slm_json_is(&f->json, rows[row].key)) row++;
        event = slm_json_next(&f->json);
        if (unk_id && event == SLM_JSON_NUMBER && !slm_json_read_i64(&f->json, &m->unk_id)) m->unk_id = INT64_MAX;
        if (row < sizeof rows / sizeof *rows) {
            struct slm_str *text = rows[row].text;
            if (text && event == SLM_JSON_STRING && !slm_hf_text(f->t, &f->json, text)) return false;
            if (rows[row].flag) *rows[row].flag = event == SLM_JSON_TRUE;
        }
        if (!slm_json_skip(&f->json, event)) return false;
    }
    return event == SLM_JSON_OBJECT_END;
}

/* ---- the post-processor: what is put in front of a text and behind it -------------------------------------------- */

/* "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {...}}, ...]. What comes before the sequence is in front. */
static bool read_template(struct file *f)
{
    bool in_sequence = false, after = false;
    enum slm_json_event event = slm_json_next(&f->json);
    if (event != SLM_JSON_ARRAY)
        return slm_json_fail(&f->json, SLM_ERR_FORMAT, "the template of the post-processor must be a list") == SLM_OK;
    for (const uint32_t outside = f->json.depth - 1; f->json.depth > outside;) {
        event = slm_json_next(&f->json);
        if (event == SLM_JSON_ERROR) return false;
        if (event != SLM_JSON_KEY) continue;
        if (slm_json_is(&f->json, "Sequence")) in_sequence = after = true;
        if (slm_json_is(&f->json, "SpecialToken")) in_sequence = false;
        if (!slm_json_is(&f->json, "id") || in_sequence) continue;
        if (slm_json_next(&f->json) != SLM_JSON_STRING || !slm_hf_text(f->t, &f->json, after ? &f->behind : &f->front))
            return slm_json_fail(&f->json, SLM_ERR_FORMAT, "a template's special token needs a text as id") == SLM_OK;
        if (after) f->n_behind++;
        else f->n_front++;
    }
    f->t->says_added = true;
    return true;
}

/* "cls": ["<s>", 0] of the BERT-like processors. */
static bool read_named(struct file *f, struct slm_str *out, size_t *n)
{
    if (slm_json_next(&f->json) != SLM_JSON_ARRAY || slm_json_next(&f->json) != SLM_JSON_STRING)
        return slm_json_fail(&f->json, SLM_ERR_FORMAT, "a post-processor's token must be a list [text, id]") == SLM_OK;
    ++*n;
    f->t->says_added = true;
    return slm_hf_text(f->t, &f->json, out) && slm_json_skip(&f->json, SLM_JSON_ARRAY);
}

/* Processors may be nested in sequences; the keys that matter are found wherever they are. */
static bool read_post(struct file *f)
{
    const uint32_t outside = f->json.depth;
    do {
        enum slm_json_event event = slm_json_next(&f->json);
        if (event == SLM_JSON_ERROR) return false;
        if (event != SLM_JSON_KEY) continue;
        if (slm_json_is(&f->json, "single")) {
            if (!read_template(f)) return false;
        } else if (slm_json_is(&f->json, "cls") || slm_json_is(&f->json, "sep")) {
            const bool front = slm_json_is(&f->json, "cls");
            if (!read_named(f, front ? &f->front : &f->behind, front ? &f->n_front : &f->n_behind)) return false;
        } else if (slm_json_is(&f->json, "pair") || slm_json_is(&f->json, "special_tokens")) {
            if (!slm_json_skip(&f->json, slm_json_next(&f->json))) return false;
        }
    } while (f->json.depth > outside);
    return true;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static bool is_unigram(const struct model *m) { return slm_str_is(m->type, "Unigram"); }

/* Files from before 2020 have no type; they are BPE. */
static slm_status check_model(const struct slm_hf_tokenizer *t, const struct model *m)
{
    if (!m->found) return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "key 'model' is missing");
    if (m->type.ptr && !slm_str_is(m->type, "BPE") && !is_unigram(m)) {
        char type[48];
        slm_escape(type, sizeof type, m->type);
        return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where,
                        "model.type is '%s'; BPE and Unigram are supported", type);
    }
    if (is_unigram(m) != (m->n_list > 0) || (is_unigram(m) && (m->unk_id < -1 || m->unk_id >= (int64_t)m->n_list)))
        return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "model.type is '%s', model.unk_id %lld and model.vocab a "
                        "list of %zu; Unigram needs a list, with the unknown token in it, BPE an object",
                        is_unigram(m) ? "Unigram" : "BPE", (long long)m->unk_id, m->n_list);
    if (m->prefix.len || m->suffix.len)
        return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where,
                        "marks for the inside or the end of words are not supported");
    return SLM_OK;
}

static slm_status find_named(const struct slm_hf_tokenizer *t, struct slm_str name, const char *role, int32_t *id)
{
    *id = slm_hf_find(t, name);
    if (*id >= 0) return SLM_OK;
    char shown[64];
    slm_escape(shown, sizeof shown, name);
    return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "the %s token '%s' is not in the vocabulary", role, shown);
}

/* One token in front and one behind are what the models in use need (and what the rest of the program can add). */
static slm_status settle_post(struct file *f)
{
    struct slm_hf_tokenizer *t = f->t;
    if (f->n_front > 1 || f->n_behind > 1)
        return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where,
                        "the post-processor puts %zu tokens in front and %zu behind; one each is supported", f->n_front,
                        f->n_behind);
    if (f->n_front) SLM_TRY(find_named(t, f->front, "first", &t->first));
    if (f->n_behind) SLM_TRY(find_named(t, f->behind, "last", &t->last));
    t->source.add_bos = f->n_front > 0;
    t->source.add_eos = f->n_behind > 0;
    if (f->n_front) t->source.bos = t->first; /* unless a configuration names another */
    if (f->n_behind) t->source.eos = t->last;
    return SLM_OK;
}

/* All keys are read: what they mean together. */
static slm_status settle(struct file *f)
{
    struct slm_hf_tokenizer *t = f->t;
    const struct model *m = &f->model;
    SLM_TRY(check_model(t, m));
    /* Before the steps, which choose between the BPE models. */
    if (is_unigram(m)) t->source.model = "t5", t->exact_scores = true;
    SLM_TRY(slm_hf_check_decoder(t, &f->decoder));
    SLM_TRY(slm_hf_settle_steps(t, &f->normalizer, &f->pre));
    const bool spelled = strcmp(t->source.model, "gpt2") != 0;
    for (size_t i = 0; i < t->n && spelled && m->byte_fallback; i++)
        if (t->types[i] == SLM_TOKEN_NORMAL && slm_vocab_byte_value(t->tokens[i]) >= 0) t->types[i] = SLM_TOKEN_BYTE;
    if (is_unigram(m)) t->source.unk = (int32_t)m->unk_id;
    else if (m->unk.len) SLM_TRY(find_named(t, m->unk, "unknown", &t->source.unk));
    if (t->source.unk >= 0 && spelled) t->types[t->source.unk] = SLM_TOKEN_UNKNOWN;
    t->source.fuse_unk = m->fuse_unk || is_unigram(m);
    t->source.whole_words = m->ignore_merges ? SLM_WHOLE_ALWAYS : SLM_WHOLE_NEVER;
    return settle_post(f);
}

/* The top level. Unknown keys and the settings for batches are passed over. */
static bool read_keys(struct file *f)
{
    enum slm_json_event event;
    while ((event = slm_json_next(&f->json)) == SLM_JSON_KEY) {
        bool ok;
        if (slm_json_is(&f->json, "model")) {
            ok = read_model(f);
        } else if (slm_json_is(&f->json, "normalizer")) {
            ok = slm_hf_read_steps(f->t, &f->json, "normalizer", &f->normalizer);
        } else if (slm_json_is(&f->json, "pre_tokenizer")) {
            ok = slm_hf_read_steps(f->t, &f->json, "pre_tokenizer", &f->pre);
        } else if (slm_json_is(&f->json, "decoder")) {
            ok = slm_hf_read_steps(f->t, &f->json, "decoder", &f->decoder);
        } else if (slm_json_is(&f->json, "post_processor")) {
            ok = read_post(f);
        } else {
            if (slm_json_is(&f->json, "added_tokens")) f->added_at = f->json.at;
            ok = slm_json_skip(&f->json, slm_json_next(&f->json));
        }
        if (!ok) return false;
    }
    return event == SLM_JSON_OBJECT_END && slm_json_next(&f->json) == SLM_JSON_END;
}

/* Added tokens are read last, by a second reader from where their list starts: so they win over the vocabulary in type,
 * and are cut off where the model's ids end, whatever the order of the keys. */
slm_status slm_hf_read_json(struct slm_hf_tokenizer *t, struct slm_str text)
{
    /* The steps are too many for the stack of a small thread. */
    struct file *f = slm_arena_alloc(&t->arena, 1, sizeof *f, t->where, t->error);
    if (!f) return SLM_ERR_MEMORY;
    struct slm_error own = {0}; /* so that its status can be told when the caller wants no message */
    struct slm_error *outer = t->error;
    f->t = t;
    f->model.unk_id = -1;
    t->error = &own;
    slm_json_init(&f->json, text, t->where, &own);
    bool ok = slm_json_next(&f->json) == SLM_JSON_OBJECT;
    if (!ok && own.status == SLM_OK) slm_json_fail(&f->json, SLM_ERR_FORMAT, "an object is expected");
    ok = ok && read_keys(f);
    if (ok && f->added_at) { /* a second reader, from where the list starts */
        const size_t at = f->added_at;
        slm_json_init(&f->json, text, t->where, &own);
        f->json.at = at;
        ok = read_all_added(f);
    }
    slm_status status = SLM_OK;
    if (ok) status = settle(f);
    else status = own.status != SLM_OK ? own.status : SLM_ERR_FORMAT;
    t->error = outer;
    if (status != SLM_OK && outer) *outer = own;
    return status;
}
