/* SPDX-License-Identifier: MIT
 * Filling in the middle: code models are trained to see what comes before and what comes after, each behind a token of
 * its own, and to write what is between behind a third one. Which tokens these are, GGUF files may say in keys; older
 * files and folders have them under names that a handful of model makers have chosen.
 *
 * Files of the same project go in front, behind tokens for a repository and for a file where the vocabulary has them
 * (as StarCoder 2 and Qwen2.5-Coder were trained), else behind a line that no program would have.
 *
 * The texts are users', so special tokens in them stay text: each is encoded by itself and without parsing specials.
 * Deliberately not here: cutting what is too long; that would be decided behind the asker's back. */
#include "base/os.h"
#include "model/model.h"
#include "slm.h"

enum mark { PREFIX, SUFFIX, MIDDLE, REPOSITORY, FILE_NAME, N_MARKS };
enum { N_KEYS = 2, N_NAMES = 7 };

/* Names in the order in which llama.cpp looks for them; keys: today's, and before 2024-10. */
static const struct { const char *what, *keys[N_KEYS], *names[N_NAMES]; } marks[N_MARKS] = {
    [PREFIX] = {"prefix", {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
                {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",
                 "<\xEF\xBD\x9C" "fim\xE2\x96\x81" "begin\xEF\xBD\x9C>",
                 "<PRE>", "\xE2\x96\x81<PRE>", "<|code_prefix|>"}},
    [SUFFIX] = {"suffix", {"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
                {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
                 "<\xEF\xBD\x9C" "fim\xE2\x96\x81" "hole\xEF\xBD\x9C>",
                 "<SUF>", "\xE2\x96\x81<SUF>", "<|code_suffix|>"}},
    [MIDDLE] = {"middle", {"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
                {"<|fim_middle|>", "<fim-middle>", "<fim_middle>",
                 "<\xEF\xBD\x9C" "fim\xE2\x96\x81" "end\xEF\xBD\x9C>",
                 "<MID>", "\xE2\x96\x81<MID>", "<|code_middle|>"}},
    [REPOSITORY] = {"repository", {"tokenizer.ggml.fim_rep_token_id"},
                    {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<repo_name>"}},
    [FILE_NAME] = {"file", {"tokenizer.ggml.fim_sep_token_id"}, {"<|file_sep|>", "<file_sep>"}},
};

/* -1 when there is none: which marks are needed is not decided here. */
static slm_status find_mark(const struct slm_model *model, enum mark mark, int32_t *out, struct slm_error *error)
{
    const int64_t n_vocab = (int64_t)slm_tokenizer_n_vocab(model->tokenizer);
    bool found = false;
    int64_t id = -1;
    for (size_t i = 0; i < N_KEYS && marks[mark].keys[i] && !found && !model->folder; i++)
        SLM_TRY(slm_gguf_get_i64(model->gguf, marks[mark].keys[i], 0, n_vocab - 1, &id, &found, error));
    for (size_t i = 0; i < N_NAMES && marks[mark].names[i] && id < 0; i++)
        id = slm_tokenizer_find(model->tokenizer, slm_str(marks[mark].names[i]));
    *out = (int32_t)id;
    return SLM_OK;
}

/* A prompt as it grows. */
struct prompt {
    const struct slm_tokenizer *tokenizer;
    int32_t *ids; /* [n] */
    size_t n;
};

/* Room for n more. */
static slm_status grow(struct prompt *p, size_t n, struct slm_error *error)
{
    int32_t *all = slm_realloc(p->ids, p->n + n + 1, sizeof *all, "infill", error);
    if (!all) return SLM_ERR_MEMORY;
    p->ids = all;
    return SLM_OK;
}

/* id -1: nothing. */
static slm_status add_id(struct prompt *p, int32_t id, struct slm_error *error)
{
    if (id < 0) return SLM_OK;
    SLM_TRY(grow(p, 1, error));
    p->ids[p->n++] = id;
    return SLM_OK;
}

static slm_status add_text(struct prompt *p, const char *text, struct slm_error *error)
{
    const struct slm_str t = slm_str(text ? text : "");
    size_t n = 0;
    SLM_TRY(slm_tokenizer_encode(p->tokenizer, t.ptr, t.len, 0, NULL, 0, &n, error));
    SLM_TRY(grow(p, n, error));
    SLM_TRY(slm_tokenizer_encode(p->tokenizer, t.ptr, t.len, 0, p->ids + p->n, n, &n, error));
    p->n += n;
    return SLM_OK;
}

/* Names stand on lines of their own. */
static slm_status add_line(struct prompt *p, const char *text, struct slm_error *error)
{
    struct slm_buf line = {0};
    slm_buf_printf(&line, "%s\n", text);
    slm_status status = slm_buf_status(&line, "infill", error);
    if (status == SLM_OK) status = add_text(p, line.data, error);
    slm_buf_release(&line);
    return status;
}

/* The project and the file that is being filled in have names that nobody has told: placeholders, as llama-server's. */
static slm_status add_files(struct prompt *p, const struct slm_infill *ask, const int32_t *ids, struct slm_error *error)
{
    if (ask->n_files == 0) return SLM_OK;
    if (ids[REPOSITORY] >= 0) {
        SLM_TRY(add_id(p, ids[REPOSITORY], error));
        SLM_TRY(add_line(p, "myproject", error));
    }
    for (size_t i = 0; i < ask->n_files; i++) {
        SLM_TRY(add_id(p, ids[FILE_NAME], error));
        if (ids[FILE_NAME] >= 0) SLM_TRY(add_line(p, ask->files[i].name ? ask->files[i].name : "tmp", error));
        else SLM_TRY(add_text(p, "\n\n--- snippet ---\n\n", error));
        SLM_TRY(add_text(p, ask->files[i].text, error));
    }
    if (ids[FILE_NAME] < 0) return SLM_OK;
    SLM_TRY(add_id(p, ids[FILE_NAME], error));
    return add_line(p, "filename", error);
}

/* What is wanted begins behind the prefix: the model goes on with it once it has seen the suffix. */
static slm_status fill(struct prompt *p, const struct slm_infill *ask, const int32_t *ids, struct slm_error *error)
{
    int32_t first = -1;
    size_t n_around = 0;
    const bool has_last = slm_tokenizer_added_last(p->tokenizer) >= 0;
    SLM_TRY(slm_tokenizer_encode(p->tokenizer, "", 0, SLM_TOKENIZE_ADD_SPECIAL, &first, 1, &n_around, error));
    if (n_around > has_last) SLM_TRY(add_id(p, first, error)); /* BOS, where the model wants one */
    SLM_TRY(add_files(p, ask, ids, error));
    SLM_TRY(add_id(p, ids[PREFIX], error));
    SLM_TRY(add_text(p, ask->prefix, error));
    SLM_TRY(add_text(p, ask->prompt, error));
    SLM_TRY(add_id(p, ids[SUFFIX], error));
    SLM_TRY(add_text(p, ask->suffix, error));
    return add_id(p, ids[MIDDLE], error);
}

slm_status slm_infill_encode(const struct slm_model *model, const struct slm_infill *ask, int32_t **ids, size_t *n_ids,
                             struct slm_error *error)
{
    int32_t found[N_MARKS];
    struct prompt p = {.tokenizer = model->tokenizer};
    if (!model->tokenizer)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf), "the file has no tokenizer");
    for (int i = 0; i < N_MARKS; i++) {
        SLM_TRY(find_mark(model, (enum mark)i, &found[i], error));
        if (i <= MIDDLE && found[i] < 0)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                            "the model cannot fill in text: it has no token for the %s, neither by key '%s' nor by a "
                            "name like '%s'", marks[i].what, marks[i].keys[0], marks[i].names[0]);
    }
    const slm_status status = fill(&p, ask, found, error);
    if (status != SLM_OK) {
        slm_release(p.ids);
        return status;
    }
    *ids = p.ids;
    *n_ids = p.n;
    return SLM_OK;
}
