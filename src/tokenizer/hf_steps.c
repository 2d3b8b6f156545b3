/* SPDX-License-Identifier: MIT
 * What a tokenizer.json's "normalizer" and "pre_tokenizer" mean. Both are trees of steps; the trees in use are lists.
 *
 * A pattern of a file is never compiled: it is compared with the ones known here, letter by letter, and stands for a
 * row of pretokenize.c that is linear and checked against Hugging Face tokenizers. So a hostile pattern costs nothing,
 * and an unknown one is refused with its text, not guessed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include "tokenizer/hf.h"

/* Pieces that several patterns share, in the spelling of the files. */
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define START "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define SLASH_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* The steps, one a line: R pattern = cut by it, D = digits alone, B = GPT-2's own pattern (ByteLevel). */
static const struct { const char *steps, *pre; } patterns[] = {
    {"B\n", "gpt-2"},
    {"R" GPT2 "\n", "gpt-2"},
    {"D\nB\n", "smollm"},
    {"D\nR" GPT2 "\n", "smollm"},
    {"R" CONTRACTIONS "|" WORD "|\\p{N}{1,3}" TAIL "\n", "dbrx"}, /* Llama 3, too: it differs in ignore_merges */
    {"R'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|"
     "\\s+(?!\\S)|\\s+\n", "dbrx"}, /* tiktoken's spelling of cl100k */
    {"R" CONTRACTIONS "|" WORD "|\\p{N}" TAIL "\n", "qwen2"},
    {"R" CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+\n", "qwen35"},
    {"R" START UPPER "*" LOWER "+" CONTRACTIONS "?|" START UPPER "+" LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}"
     SLASH_TAIL "\n", "gpt-4o"},
    {"R" START UPPER "*" LOWER "+|" START UPPER "+" LOWER "*|\\p{N}" SLASH_TAIL "\n", "tekken"},
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Keys of all kinds of steps in one table: they do not collide, and a step has the few it needs. */
#define AT(field) offsetof(struct slm_hf_step, field)
static const struct { const char *key; size_t at; } texts[] = {
    {"type", AT(type)}, {"Regex", AT(regex)}, {"String", AT(string)}, {"content", AT(content)},
    {"prepend", AT(prepend)}, {"replacement", AT(replacement)}, {"prepend_scheme", AT(scheme)},
    {"behavior", AT(behavior)}, {"precompiled_charsmap", AT(charsmap)},
};
static const struct { const char *key; size_t at; } switches[] = {
    {"add_prefix_space", AT(add_prefix_space)}, {"use_regex", AT(use_regex)},
    {"individual_digits", AT(individual_digits)}, {"invert", AT(invert)}, {"split", AT(split)},
    {"strip_left", AT(strip_left)}, {"strip_right", AT(strip_right)},
};

/* The value behind a key of a step; objects and lists are walked into by the caller, which is told their event. */
static bool read_field(struct slm_hf_tokenizer *t, struct slm_json *json, struct slm_hf_step *step,
                       enum slm_json_event *event)
{
    char *text = NULL, *flag = NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (slm_json_is(json, texts[i].key)) text = (char *)step + texts[i].at;
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (slm_json_is(json, switches[i].key)) flag = (char *)step + switches[i].at;
    *event = slm_json_next(json);
    if (text && *event == SLM_JSON_STRING) {
        struct slm_str *value = (struct slm_str *)(void *)text;
        if (value->ptr) return slm_json_fail(json, SLM_ERR_FORMAT, "a step of the tokenizer has a key twice") == SLM_OK;
        return slm_hf_text(t, json, value);
    }
    if (flag && (*event == SLM_JSON_TRUE || *event == SLM_JSON_FALSE)) *(bool *)flag = *event == SLM_JSON_TRUE;
    return *event != SLM_JSON_ERROR;
}

/* Where in the tree the reader is: the path of the object, and how many elements each open list has had. */
struct place {
    char path[64];
    struct { size_t outer_len, path_len; unsigned n; } lists[SLM_JSON_MAX_DEPTH];
};

/* The place's path becomes its first `len` bytes and what follows; a path that does not fit is cut off. */
static void move_to(struct place *p, size_t len, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void move_to(struct place *p, size_t len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->path + len, sizeof p->path - len, format, args);
    va_end(args);
}

/* A new step, at the object just entered. */
static bool begin_step(struct slm_json *json, const struct place *p, struct slm_hf_steps *out)
{
    if (out->n == SLM_HF_MAX_STEPS)
        return slm_json_refuse(json, SLM_ERR_LIMIT, "more than %d steps", SLM_HF_MAX_STEPS);
    struct slm_hf_step *step = &out->list[out->n++];
    *step = (struct slm_hf_step){.add_prefix_space = true, .use_regex = true, .split = true, .strip_left = true,
                                 .strip_right = true};
    memcpy(step->path, p->path, sizeof p->path);
    return true;
}

bool slm_hf_read_steps(struct slm_hf_tokenizer *t, struct slm_json *json, const char *key, struct slm_hf_steps *out)
{
    struct place p = {0};
    move_to(&p, 0, "%s", key);
    const uint32_t outside = json->depth;
    enum slm_json_event event = slm_json_next(json);
    bool in_list = true; /* an object of a list, or the first, is a step; an object behind a key belongs to its step */
    for (;; event = slm_json_next(json)) {
        if (event == SLM_JSON_OBJECT && in_list) {
            if (json->depth > outside + 1) { /* an element of the list one level out */
                const size_t len = p.lists[json->depth - 2].path_len;
                move_to(&p, len, "[%u]", p.lists[json->depth - 2].n++);
            }
            if (!begin_step(json, &p, out)) return false;
        } else if (event == SLM_JSON_KEY) {
            /* Kept before the reader moves on; lists have names of at most 13 letters. */
            char name[16];
            slm_escape(name, sizeof name, json->token);
            const size_t len = strlen(p.path);
            if (!read_field(t, json, &out->list[out->n - 1], &event)) return false;
            in_list = event == SLM_JSON_ARRAY;
            if (in_list) {
                move_to(&p, len, ".%s", name);
                p.lists[json->depth - 1].outer_len = len;
                p.lists[json->depth - 1].path_len = strlen(p.path);
                p.lists[json->depth - 1].n = 0;
            }
            if (event == SLM_JSON_OBJECT || event == SLM_JSON_ARRAY) continue;
        } else if (event == SLM_JSON_ARRAY) { /* in a list, which nothing here has */
            return slm_json_refuse(json, SLM_ERR_FORMAT, "%s: a list where a step is expected", p.path);
        } else if (event == SLM_JSON_ERROR) {
            return false;
        } else if (out->n == 0 && event != SLM_JSON_NULL) {
            return slm_json_refuse(json, SLM_ERR_FORMAT, "an object or null is expected");
        }
        if (event == SLM_JSON_ARRAY_END) p.path[p.lists[json->depth].outer_len] = '\0';
        if (event == SLM_JSON_OBJECT_END) in_list = true; /* what follows in an object starts with a key */
        if (json->depth == outside) return true;
    }
}

/* ---- meaning ----------------------------------------------------------------------------------------------------- */

/* "In this form": the type may be known but not with these settings. */
static slm_status unknown_step(const struct slm_hf_tokenizer *t, const struct slm_hf_step *step, const char *known)
{
    char type[48];
    slm_escape(type, sizeof type, step->type);
    return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where, "%s: '%s' in this form is not supported; %s", step->path,
                    type, known);
}

static bool is_space_to_mark(const struct slm_hf_step *s)
{
    return slm_str_is(s->type, "Replace") && slm_str_is(s->string, " ") && slm_str_is(s->content, SLM_HF_MARK);
}

/* What was found on the way; which combinations make sense is decided at the end. */
struct meaning { bool prepend, replace, byte_level, metaspace, split_white; };

slm_status slm_hf_add_normal_step(struct slm_hf_tokenizer *t, struct slm_normal_step step)
{
    SLM_ASSERT(t->source.n_steps < SLM_HF_MAX_STEPS); /* the readers have no more */
    t->steps[t->source.n_steps++] = step;
    t->source.steps = t->steps;
    return SLM_OK;
}

/* {"type": "Precompiled", "precompiled_charsmap": "base64"}. No table, no step. */
static slm_status settle_charsmap(struct slm_hf_tokenizer *t, const struct slm_hf_step *s)
{
    if (s->charsmap.len == 0) return SLM_OK;
    unsigned char *bytes = slm_arena_alloc(&t->arena, s->charsmap.len / 4 * 3 + 1, 1, t->where, t->error);
    if (!bytes) return SLM_ERR_MEMORY;
    size_t n;
    if (!slm_hf_decode_base64(s->charsmap, bytes, &n))
        return slm_fail(t->error, SLM_ERR_FORMAT, t->where, "%s.precompiled_charsmap is not base64", s->path);
    const struct slm_str table = {(const char *)bytes, n};
    return slm_hf_add_normal_step(t, (struct slm_normal_step){.kind = SLM_NORMAL_CHARSMAP_CLUSTERS, .find = table});
}

/* A pattern of a normalizer that means a run of two or more spaces. */
static bool is_run_of_spaces(struct slm_str regex)
{
    return slm_str_is(regex, " {2,}") || slm_str_is(regex, "  +");
}

static slm_status settle_replace(struct slm_hf_tokenizer *t, const struct slm_hf_step *s)
{
    struct slm_normal_step step = {.kind = SLM_NORMAL_REPLACE, .find = s->string, .put = s->content};
    if (is_run_of_spaces(s->regex)) step.kind = SLM_NORMAL_REPLACE_RUN, step.find = slm_str(" ");
    /* Another pattern would need an engine for what files write. */
    if (step.find.len == 0 || (s->string.len && s->regex.len))
        return unknown_step(t, s, "a Replace of a text, or of the pattern ' {2,}', is");
    return slm_hf_add_normal_step(t, step);
}

/* The steps themselves. Spaces in front and spaces as U+2581 are not among them: they are the model's and come last. */
static slm_status settle_normalizer(struct slm_hf_tokenizer *t, const struct slm_hf_steps *steps, struct meaning *m)
{
    static const struct { const char *type; enum slm_normal_kind kind; } plain[] = {
        {"NFC", SLM_NORMAL_NFC}, {"NFD", SLM_NORMAL_NFD}, {"NFKC", SLM_NORMAL_NFKC}, {"NFKD", SLM_NORMAL_NFKD},
        {"Lowercase", SLM_NORMAL_LOWERCASE}, {"StripAccents", SLM_NORMAL_STRIP_ACCENTS},
    };
    static const char known[] = "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace, Prepend and "
                                "Precompiled are, and nothing behind Prepend or Replace by U+2581";
    for (size_t i = 0; i < steps->n; i++) {
        const struct slm_hf_step *s = &steps->list[i];
        size_t row = 0; /* of the steps without settings */
        while (row < sizeof plain / sizeof *plain && !slm_str_is(s->type, plain[row].type)) row++;
        if (slm_str_is(s->type, "Sequence")) continue;
        if (is_space_to_mark(s)) m->replace = true;
        else if (m->prepend || m->replace) return unknown_step(t, s, known);
        else if (row < sizeof plain / sizeof *plain)
            SLM_TRY(slm_hf_add_normal_step(t, (struct slm_normal_step){.kind = plain[row].kind}));
        else if (slm_str_is(s->type, "Prepend") && slm_str_is(s->prepend, SLM_HF_MARK)) m->prepend = true;
        else if (slm_str_is(s->type, "Prepend"))
            SLM_TRY(slm_hf_add_normal_step(t, (struct slm_normal_step){.kind = SLM_NORMAL_PREPEND, .put = s->prepend}));
        else if (slm_str_is(s->type, "Strip"))
            SLM_TRY(slm_hf_add_normal_step(t, (struct slm_normal_step){
                .kind = SLM_NORMAL_STRIP,
                .sides = (s->strip_left ? SLM_STRIP_LEFT : 0u) | (s->strip_right ? SLM_STRIP_RIGHT : 0u)}));
        else if (slm_str_is(s->type, "Replace")) SLM_TRY(settle_replace(t, s));
        else if (slm_str_is(s->type, "Precompiled")) SLM_TRY(settle_charsmap(t, s));
        else return unknown_step(t, s, known);
    }
    return SLM_OK;
}

slm_status slm_hf_check_decoder(const struct slm_hf_tokenizer *t, const struct slm_hf_steps *decoder)
{
    static const char *const known[] = {"Sequence",     "ByteLevel", "Metaspace", "Replace",
                                        "ByteFallback", "Fuse",      "Strip"};
    for (size_t i = 0; i < decoder->n; i++) {
        size_t row = 0; /* what their settings say is not asked: they undo what encoding did */
        while (row < sizeof known / sizeof *known && !slm_str_is(decoder->list[i].type, known[row])) row++;
        if (row == sizeof known / sizeof *known)
            return unknown_step(t, &decoder->list[i],
                                "ByteLevel, Metaspace, Replace, ByteFallback, Fuse and Strip are");
    }
    return SLM_OK;
}

/* Older files say add_prefix_space where newer ones have prepend_scheme. */
static slm_status settle_metaspace(struct slm_hf_tokenizer *t, const struct slm_hf_step *s, struct meaning *m)
{
    static const struct { const char *scheme; bool prefix; unsigned rules; } schemes[] = {
        {"always", true, SLM_SPACE_UNLESS_SPACE},
        {"first", true, SLM_SPACE_UNLESS_SPACE | SLM_SPACE_ONCE},
        {"never", false, 0},
    };
    if (m->prepend || m->metaspace || (s->replacement.ptr && !slm_str_is(s->replacement, SLM_HF_MARK)))
        return unknown_step(t, s, "one with U+2581 and without Prepend is");
    const struct slm_str scheme = s->scheme.ptr ? s->scheme : slm_str(s->add_prefix_space ? "always" : "never");
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (!slm_str_is(scheme, schemes[i].scheme)) continue;
        m->metaspace = true;
        t->source.add_space_prefix = schemes[i].prefix;
        t->source.space_prefix = schemes[i].rules;
        t->source.each_space = s->split;
        return SLM_OK;
    }
    return unknown_step(t, s, "prepend_scheme always, first and never are");
}

/* Appends one step to the line-by-line form of `patterns`. */
static slm_status settle_pre(struct slm_hf_tokenizer *t, const struct slm_hf_step *s, struct meaning *m,
                             struct slm_buf *steps)
{
    static const char known[] = "ByteLevel without add_prefix_space, Digits one by one, Split by a pattern, Metaspace "
                                "and WhitespaceSplit in front of it are";
    if (slm_str_is(s->type, "Sequence")) return SLM_OK;
    if (slm_str_is(s->type, "Metaspace")) return settle_metaspace(t, s, m);
    if (slm_str_is(s->type, "WhitespaceSplit") && !m->metaspace) {
        m->split_white = t->source.split_white = true;
        return SLM_OK;
    }
    if (slm_str_is(s->type, "ByteLevel") && !s->add_prefix_space) {
        m->byte_level = true;
        if (s->use_regex) slm_buf_puts(steps, "B\n");
        return SLM_OK;
    }
    if (slm_str_is(s->type, "Digits") && s->individual_digits) {
        slm_buf_puts(steps, "D\n");
        return SLM_OK;
    }
    if (!slm_str_is(s->type, "Split")) return unknown_step(t, s, known);
    /* Gemma cuts at spaces after all of them have become U+2581: nothing happens. */
    if (slm_str_is(s->string, " ") && m->replace) return SLM_OK;
    /* What matches stands alone; every known pattern matches all of a text, so what does not match is never kept. */
    const bool isolates = slm_str_is(s->behavior, s->invert ? "Removed" : "Isolated");
    if (!isolates || !s->regex.ptr) return unknown_step(t, s, known);
    slm_buf_puts(steps, "R");
    slm_buf_add_str(steps, s->regex);
    slm_buf_puts(steps, "\n");
    return SLM_OK;
}

/* The file's steps as one of the known rows, or an error that shows them. */
static slm_status find_pattern(struct slm_hf_tokenizer *t, struct slm_str steps)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (slm_str_is(steps, patterns[i].steps)) t->source.pre = patterns[i].pre;
    if (t->source.pre) return SLM_OK;
    char shown[128];
    slm_escape(shown, sizeof shown, steps);
    return slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where,
                    "the pre-tokenizer's pattern '%s' (%zu bytes) is not known; those of GPT-2, GPT-4, GPT-4o, Llama 3,"
                    " Qwen, Tekken and SmolLM are", shown, steps.len);
}

slm_status slm_hf_settle_steps(struct slm_hf_tokenizer *t, const struct slm_hf_steps *normalizer,
                               const struct slm_hf_steps *pre)
{
    struct meaning m = {0};
    struct slm_buf steps = {0};
    SLM_TRY(settle_normalizer(t, normalizer, &m));
    slm_status status = SLM_OK;
    for (size_t i = 0; i < pre->n && status == SLM_OK; i++) status = settle_pre(t, &pre->list[i], &m, &steps);
    if (status == SLM_OK) status = slm_buf_status(&steps, t->where, t->error);
    if (status != SLM_OK) goto out;
    /* Bytes spelled in an alphabet, or spaces spelled U+2581: a vocabulary has one or the other. */
    /* What the model's type has decided already. */
    const bool unigram = t->exact_scores;
    if (m.byte_level && !m.prepend && !m.replace && !m.metaspace && !m.split_white && !unigram) {
        t->source.model = "gpt2";
        status = find_pattern(t, (struct slm_str){steps.data, steps.len});
    } else if (!m.byte_level && (m.replace || m.metaspace) && (m.metaspace || !m.split_white) && steps.len == 0) {
        if (!unigram) t->source.model = "llama-merges";
        t->source.add_space_prefix |= m.prepend;
    } else {
        status = slm_fail(t->error, SLM_ERR_UNSUPPORTED, t->where, "this combination of normalizer and pre-tokenizer"
                          " is not supported; ByteLevel, or spaces written as U+2581, are");
    }
out:
    slm_buf_release(&steps);
    return status;
}
