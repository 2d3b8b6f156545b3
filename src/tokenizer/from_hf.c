/* SPDX-License-Identifier: MIT
 * A tokenizer from the files of a Hugging Face folder: which file is read, what the small files beside it add, and the
 * table of tokens that all readers fill (hf.h).
 *
 * tokenizer.json wins over tokenizer.model, because it is what the model's users run. tokenizer_config.json and
 * special_tokens_map.json name the beginning, end, padding; generation_config.json and config.json give further ids
 * that end a generation. Where these disagree with tokenizer.json about what is put in front of a text, that file wins.
 * Every file is optional; every one that is there must be well formed. */
#include <stdio.h>
#include "format/hf_folder.h"
#include "tokenizer/hf.h"

#define MAX_EOG 16

struct folder {
    struct slm_hf_tokenizer t;
    const char *path;
    struct slm_map maps[8]; /* what token texts point into */
    size_t n_maps;
    struct slm_str bos, eos, pad; /* by name; empty = none */
    enum { UNSAID, NO, YES } add_bos, add_eos; /* the switches of tokenizer_config.json */
    int32_t eog[MAX_EOG];      /* [n_eog] from the configurations */
    size_t n_eog;
    bool filled;            /* from a tokenizer.json, which then knows its added tokens */
};

/* ---- the table of tokens ----------------------------------------------------------------------------------------- */

/* Room for the ids below n. New entries are zero: no token, type UNDEFINED. Each table is kept as soon as it has grown,
 * so that a failure half-way loses nothing. */
static slm_status reserve_tokens(struct slm_hf_tokenizer *t, size_t n)
{
    if (n <= t->cap) return SLM_OK;
    size_t cap = t->cap ? t->cap : 4096;
    while (cap < n) cap *= 2;
    struct slm_str *tokens = slm_realloc(t->tokens, cap, sizeof *tokens, t->where, t->error);
    if (tokens) t->tokens = tokens;
    uint8_t *types = tokens ? slm_realloc(t->types, cap, 1, t->where, t->error) : NULL;
    if (types) t->types = types;
    uint8_t *strips = types ? slm_realloc(t->strips, cap, 1, t->where, t->error) : NULL;
    if (strips) t->strips = strips;
    double *scores = strips ? slm_realloc(t->scores, cap, sizeof *scores, t->where, t->error) : NULL;
    if (!scores) return SLM_ERR_MEMORY;
    t->scores = scores;
    t->cap = cap;
    return SLM_OK;
}

slm_status slm_hf_put(struct slm_hf_tokenizer *t, int64_t id, struct slm_str text, enum slm_token_type type)
{
    /* Ids come from the file; an honest one has them dense, so the largest bounds the memory. */
    const int64_t limit = (int64_t)(t->n_vocab ? t->n_vocab : SLM_TOKENIZER_MAX_IDS - 1);
    const int shown = (int)(text.len < 64 ? text.len : 64);
    if (!text.ptr) text.ptr = "";
    if (id < 0 || id >= limit)
        return slm_fail(t->error, id < 0 ? SLM_ERR_FORMAT : SLM_ERR_LIMIT, t->where,
                        "the id of token '%.*s' is %lld; 0 to %lld are allowed", shown, text.ptr, (long long)id,
                        (long long)limit - 1);
    SLM_TRY(reserve_tokens(t, (size_t)id + 1));
    if (t->tokens[id].ptr && !slm_str_equal(t->tokens[id], text))
        return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "the tokens '%.*s' and '%.*s' both have the id %lld",
                        (int)(t->tokens[id].len < 64 ? t->tokens[id].len : 64), t->tokens[id].ptr, shown, text.ptr,
                        (long long)id);
    t->tokens[id] = text;
    t->types[id] = (uint8_t)type;
    if ((size_t)id >= t->n) t->n = (size_t)id + 1;
    return SLM_OK;
}

slm_status slm_hf_put_added(struct slm_hf_tokenizer *t, int64_t id, struct slm_str text, bool special, unsigned strips)
{
    if (t->n_vocab && id >= (int64_t)t->n_vocab) return SLM_OK; /* Gemma 3 has an image token its text model lacks */
    /* Merging makes tokens with spaces, such as Gemma's runs of them; matching them first would not be the same. */
    const bool merged = !special && text.len >= 3 && memcmp(text.ptr, SLM_HF_MARK, 3) == 0;
    const enum slm_token_type type = special ? SLM_TOKEN_CONTROL : merged ? SLM_TOKEN_NORMAL : SLM_TOKEN_USER_DEFINED;
    SLM_TRY(slm_hf_put(t, id, text, type));
    t->strips[id] = (uint8_t)strips;
    return SLM_OK;
}

int32_t slm_hf_find(const struct slm_hf_tokenizer *t, struct slm_str text)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->tokens[i].ptr && slm_str_equal(t->tokens[i], text)) return (int32_t)i;
    return -1;
}

bool slm_hf_text(struct slm_hf_tokenizer *t, struct slm_json *json, struct slm_str *out)
{
    *out = json->token;
    if (!json->escaped) return true;
    struct slm_buf text = {0};
    bool ok = slm_json_read_text(json, &text);
    if (ok) {
        out->ptr = slm_arena_copy(&t->arena, text.data ? text.data : "", text.len, json->error);
        out->len = text.len;
        ok = out->ptr;
    }
    slm_buf_release(&text);
    return ok;
}

/* ---- the small files --------------------------------------------------------------------------------------------- */

/* Maps a file of the folder, to stay until the end, and makes it the one that messages name. */
static slm_status open_file(struct folder *f, const char *name, struct slm_str *file, bool *found)
{
    char *path = slm_hf_path(f->path, name, f->t.error);
    if (!path) return SLM_ERR_MEMORY;
    f->t.where = slm_arena_copy(&f->t.arena, path, strlen(path), f->t.error);
    slm_release(path);
    if (!f->t.where) return SLM_ERR_MEMORY;
    SLM_ASSERT(f->n_maps < sizeof f->maps / sizeof *f->maps);
    struct slm_map *map = &f->maps[f->n_maps];
    SLM_TRY(slm_hf_map(f->path, name, map, found, f->t.error));
    if (!*found) return SLM_OK;
    f->n_maps++;
    if (map->bytes > SLM_HF_MAX_FILE_BYTES)
        return slm_fail(f->t.error, SLM_ERR_LIMIT, f->t.where, "the file has %zu bytes; at most %zu are allowed",
                        map->bytes, SLM_HF_MAX_FILE_BYTES);
    *file = (struct slm_str){(const char *)map->data, map->bytes};
    return SLM_OK;
}

/* ---- reading their keys: each of these stands behind a KEY event and reads its value ---- */

/* A token's name: a string, or an object with "content"; null is none. */
static bool read_token_name(struct folder *f, struct slm_json *json, struct slm_str *out)
{
    enum slm_json_event event = slm_json_next(json);
    if (event == SLM_JSON_STRING) return slm_hf_text(&f->t, json, out);
    if (event != SLM_JSON_OBJECT) return slm_json_skip(json, event);
    while ((event = slm_json_next(json)) == SLM_JSON_KEY) {
        const bool content = slm_json_is(json, "content");
        event = slm_json_next(json);
        if (content && event == SLM_JSON_STRING && !slm_hf_text(&f->t, json, out)) return false;
        if (!slm_json_skip(json, event)) return false;
    }
    return event == SLM_JSON_OBJECT_END;
}

/* {"128000": {"content": ...}, ...}: only where no tokenizer.json says it. */
static bool read_decoder(struct folder *f, struct slm_json *json)
{
    if (slm_json_next(json) != SLM_JSON_OBJECT)
        return slm_json_fail(json, SLM_ERR_FORMAT, "\"added_tokens_decoder\" must be an object") == SLM_OK;
    enum slm_json_event event;
    while ((event = slm_json_next(json)) == SLM_JSON_KEY) {
        int64_t id;
        if (json->token.len == 0 || !slm_json_read_i64(json, &id) || slm_json_next(json) != SLM_JSON_OBJECT)
            return slm_json_fail(json, SLM_ERR_FORMAT, "an added token must be an object behind its id") == SLM_OK;
        if (!slm_hf_read_added(&f->t, json, id)) return false;
    }
    return event == SLM_JSON_OBJECT_END;
}

/* tokenizer_config.json and special_tokens_map.json, whose keys are among the former's. */
static bool read_names(struct folder *f, struct slm_json *json)
{
    const struct { const char *key; struct slm_str *name; } names[] = {
        {"bos_token", &f->bos}, {"eos_token", &f->eos}, {"pad_token", &f->pad}};
    if (slm_json_is(json, "added_tokens_decoder") && !f->filled) return read_decoder(f, json);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slm_json_is(json, names[i].key)) return read_token_name(f, json, names[i].name);
    const bool bos = slm_json_is(json, "add_bos_token"), eos = slm_json_is(json, "add_eos_token");
    const enum slm_json_event event = slm_json_next(json);
    if (event == SLM_JSON_TRUE || event == SLM_JSON_FALSE) {
        if (bos) f->add_bos = event == SLM_JSON_TRUE ? YES : NO;
        if (eos) f->add_eos = event == SLM_JSON_TRUE ? YES : NO;
    }
    return slm_json_skip(json, event);
}

/* added_tokens.json: {"<|im_end|>": 32001, ...}. It does not say which are special; those that look so are. */
static bool read_added(struct folder *f, struct slm_json *json)
{
    struct slm_str text;
    int64_t id;
    if (!slm_hf_text(&f->t, json, &text)) return false;
    if (slm_json_next(json) != SLM_JSON_NUMBER || !slm_json_read_i64(json, &id))
        return slm_json_fail(json, SLM_ERR_FORMAT, "the id of a token must be an integer") == SLM_OK;
    const bool special =
        text.len > 4 && memcmp(text.ptr, "<|", 2) == 0 && memcmp(text.ptr + text.len - 2, "|>", 2) == 0;
    return slm_hf_put_added(&f->t, id, text, special, 0) == SLM_OK;
}

static bool add_eog(struct folder *f, struct slm_json *json)
{
    int64_t id;
    if (!slm_json_read_i64(json, &id) || id < 0 || id >= (int64_t)f->t.n)
        return slm_json_fail(json, SLM_ERR_FORMAT, "\"eos_token_id\" is %.*s; 0 to %zu are allowed",
                             (int)(json->token.len < 32 ? json->token.len : 32), json->token.ptr, f->t.n - 1) == SLM_OK;
    for (size_t i = 0; i < f->n_eog; i++)
        if (f->eog[i] == id) return true;
    if (f->n_eog == MAX_EOG)
        return slm_json_fail(json, SLM_ERR_LIMIT, "more than %d tokens end a generation", MAX_EOG) == SLM_OK;
    f->eog[f->n_eog++] = (int32_t)id;
    return true;
}

/* "eos_token_id": a number or a list of them. */
static bool read_eog(struct folder *f, struct slm_json *json)
{
    const bool wanted = slm_json_is(json, "eos_token_id");
    enum slm_json_event event = slm_json_next(json);
    if (wanted && event == SLM_JSON_NUMBER) return add_eog(f, json);
    if (!wanted || event != SLM_JSON_ARRAY) return slm_json_skip(json, event);
    while ((event = slm_json_next(json)) == SLM_JSON_NUMBER)
        if (!add_eog(f, json)) return false;
    if (event == SLM_JSON_ARRAY_END || event == SLM_JSON_ERROR) return event == SLM_JSON_ARRAY_END;
    return slm_json_fail(json, SLM_ERR_FORMAT, "\"eos_token_id\" must be a list of numbers") == SLM_OK;
}

/* Calls `read` at each key of the file's object; it reads the value. An absent file has no keys. */
static slm_status each_key(struct folder *f, const char *name, bool (*read_value)(struct folder *, struct slm_json *))
{
    struct slm_str file = {0};
    bool found;
    SLM_TRY(open_file(f, name, &file, &found));
    if (!found) return SLM_OK;
    struct slm_json json;
    struct slm_error own = {0}, *outer = f->t.error; /* for its status, which the caller may not ask for */
    enum slm_json_event event;
    slm_json_init(&json, file, f->t.where, &own);
    f->t.error = &own;
    if (slm_json_next(&json) != SLM_JSON_OBJECT && own.status == SLM_OK)
        slm_json_fail(&json, SLM_ERR_FORMAT, "an object is expected");
    while ((event = slm_json_next(&json)) == SLM_JSON_KEY && read_value(f, &json)) continue;
    if (event == SLM_JSON_OBJECT_END) event = slm_json_next(&json);
    f->t.error = outer;
    if (event == SLM_JSON_END && own.status == SLM_OK) return SLM_OK;
    if (outer) *outer = own;
    return own.status != SLM_OK ? own.status : SLM_ERR_FORMAT;
}

/* ---- putting it together ----------------------------------------------------------------------------------------- */

/* The tokens themselves, from the first of the files that is there. */
static slm_status read_vocabulary(struct folder *f)
{
    struct slm_str file = {0};
    SLM_TRY(open_file(f, "tokenizer.json", &file, &f->filled));
    if (f->filled) return slm_hf_read_json(&f->t, file);
    bool found;
    SLM_TRY(open_file(f, "tokenizer.model", &file, &found));
    if (!found) return SLM_OK;
    /* A protobuf begins with field 1, as 0x0A; a list of base64 words does not. */
    const bool protobuf = file.len && file.ptr[0] == '\n';
    const char *where = f->t.where;
    SLM_TRY(protobuf ? slm_hf_read_sentencepiece(&f->t, file) : slm_hf_read_tiktoken(&f->t, file));
    SLM_TRY(each_key(f, "added_tokens.json", read_added));
    f->t.where = where;
    return SLM_OK;
}

/* Ids by name, where the tokenizer file itself did not give them. */
static slm_status name_specials(struct folder *f)
{
    struct slm_hf_tokenizer *t = &f->t;
    struct slm_tokenizer_source *s = &t->source;
    const struct { struct slm_str name; int32_t *id; } rows[] = {
        {f->bos, &s->bos}, {f->eos, &s->eos}, {f->pad, &s->pad}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].name.len) continue;
        const int32_t id = slm_hf_find(t, rows[i].name);
        if (id < 0) continue; /* a name without a token: some configurations keep one from another model */
        *rows[i].id = id;
        if (!f->filled) t->types[id] = SLM_TOKEN_CONTROL;
    }
    if (!t->says_added) {
        s->add_bos = f->add_bos == UNSAID ? s->add_bos : f->add_bos == YES;
        s->add_eos = f->add_eos == UNSAID ? s->add_eos : f->add_eos == YES;
    }
    s->add_bos = s->add_bos && s->bos >= 0;
    s->add_eos = s->add_eos && s->eos >= 0;
    /* What stands behind a text need not be what ends a generation: Qwen3-Embedding has two tokens for the two. */
    if (t->says_added && s->add_bos) s->first = &t->first;
    if (t->says_added && s->add_eos) s->last = &t->last;
    /* Generation must end somewhere, even if no file names an end. */
    if (s->eos < 0 && f->n_eog) s->eos = f->eog[0];
    s->eog = f->eog;
    s->n_eog = f->n_eog;
    return SLM_OK;
}

/* Ids without a token get a name, as converters give them one. */
static slm_status fill_holes(struct slm_hf_tokenizer *t)
{
    SLM_TRY(reserve_tokens(t, t->n_vocab));
    if (t->n < t->n_vocab) t->n = t->n_vocab;
    for (size_t i = 0; i < t->n; i++) {
        if (t->tokens[i].ptr) continue;
        char name[24];
        const int len = snprintf(name, sizeof name, "[PAD%zu]", i);
        t->tokens[i] = (struct slm_str){slm_arena_copy(&t->arena, name, (size_t)len, t->error), (size_t)len};
        if (!t->tokens[i].ptr) return SLM_ERR_MEMORY;
        t->types[i] = SLM_TOKEN_UNUSED;
    }
    return SLM_OK;
}

/* Rules need none; an array of zeros would not be the same. SentencePiece's scores are floats, and add up as such. */
static slm_status hand_over_scores(struct slm_hf_tokenizer *t)
{
    if (t->exact_scores) t->source.log_probs = t->scores;
    /* The models that have scores at all. */
    const bool floats = strcmp(t->source.model, "llama") == 0 || strcmp(t->source.model, "t5") == 0;
    if (t->exact_scores || !floats) return SLM_OK;
    float *scores = slm_arena_alloc(&t->arena, t->n, sizeof *scores, t->where, t->error);
    if (!scores) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < t->n; i++) scores[i] = (float)t->scores[i];
    t->source.scores = scores;
    return SLM_OK;
}

static slm_status read_all(struct folder *f, slm_tokenizer_use_fn use, void *user)
{
    struct slm_hf_tokenizer *t = &f->t;
    struct slm_tokenizer_source *s = &t->source;
    s->bos = s->eos = s->unk = s->pad = s->eot = -1;
    SLM_TRY(read_vocabulary(f));
    const char *where = t->where;
    if (!f->n_maps) return SLM_OK; /* no tokenizer file */
    if (t->n == 0) return slm_fail(t->error, SLM_ERR_FORMAT, where, "the vocabulary is empty");
    const size_t n_read = t->n;
    SLM_TRY(each_key(f, "special_tokens_map.json", read_names));
    SLM_TRY(each_key(f, "tokenizer_config.json", read_names));
    if (s->ids_are_ranks && t->n == n_read) SLM_TRY(slm_hf_put_llama3_specials(t));
    SLM_TRY(fill_holes(t)); /* before ids are checked against the number of tokens */
    SLM_TRY(each_key(f, "generation_config.json", read_eog));
    if (f->n_eog == 0) SLM_TRY(each_key(f, "config.json", read_eog));
    SLM_TRY(name_specials(f));
    s->where = t->where = where;
    s->tokens = t->tokens, s->types = t->types, s->strips = t->strips, s->n_vocab = t->n;
    SLM_TRY(hand_over_scores(t));
    s->merges = t->merges, s->merge_cuts = t->cuts, s->n_merges = t->n_merges;
    return use(user, s, t->error);
}

slm_status slm_tokenizer_read_hf(const char *folder, size_t n_vocab, slm_tokenizer_use_fn use, void *user,
                                 struct slm_error *error)
{
    if (n_vocab >= SLM_TOKENIZER_MAX_IDS)
        return slm_fail(error, SLM_ERR_LIMIT, folder, "the vocabulary has %zu tokens; at most %zu are allowed", n_vocab,
                        SLM_TOKENIZER_MAX_IDS - 1);
    struct folder f = {.path = folder, .t = {.error = error, .n_vocab = n_vocab}};
    const slm_status status = read_all(&f, use, user);
    for (size_t i = 0; i < f.n_maps; i++) slm_os()->unmap(&f.maps[i]);
    slm_release(f.t.tokens);
    slm_release(f.t.types);
    slm_release(f.t.strips);
    slm_release(f.t.scores);
    slm_release(f.t.merges);
    slm_release(f.t.cuts);
    slm_arena_release(&f.t.arena);
    return status;
}

/* The usual use of a source. */
static slm_status make(void *user, const struct slm_tokenizer_source *source, struct slm_error *error)
{
    struct slm_tokenizer **out = user;
    return slm_tokenizer_new(source, out, error);
}

slm_status slm_tokenizer_from_hf(const char *folder, size_t n_vocab, struct slm_tokenizer **out,
                                 struct slm_error *error)
{
    *out = NULL;
    return slm_tokenizer_read_hf(folder, n_vocab, make, out, error);
}
