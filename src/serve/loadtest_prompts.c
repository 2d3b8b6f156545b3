/* SPDX-License-Identifier: MIT
 *
 * What a load test says: the lines of a file, or words at random. Prompts are kept as the JSON that goes into requests.
 * Deliberately not here: a tokenizer; the server's is not known, and its usage says how many tokens they were. */
#include <jansson.h>
#include <stdio.h>

#include "base/os.h"
#include "base/rng.h"
#include "serve/loadtest.h"

enum { MOST_PROMPTS = 1000000 }; /* more is a mistaken file */

/* Takes the text's memory, also when it fails. */
static slm_status add(struct slm_load_prompts *out, struct slm_buf *json, struct slm_error *error)
{
    slm_status status = slm_buf_status(json, "prompts", error);
    if (status == SLM_OK && (out->n & (out->n - 1)) == 0) { /* it is full at each power of two */
        struct slm_str *grown = slm_realloc(out->items, out->n ? 2 * out->n : 1, sizeof *grown, "prompts", error);
        if (grown) out->items = grown;
        else status = SLM_ERR_MEMORY;
    }
    if (status != SLM_OK) {
        slm_buf_release(json);
        return status;
    }
    out->items[out->n++] = (struct slm_str){json->data, json->len};
    return SLM_OK;
}

/* Written again by jansson it is one line, whatever it was. */
static void add_value(struct slm_buf *out, const json_t *value)
{
    char *written = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    slm_buf_puts(out, written ? written : "");
    if (!written) out->failed = SLM_ERR_MEMORY;
    json_free_t release;
    json_malloc_t unused;
    json_get_alloc_funcs(&unused, &release);
    release(written);
}

/* {"prompt": "..."}, {"prompt": [1, 2, ...]} or {"messages": [...]}; other members are somebody else's. */
static slm_status add_json_line(const char *where, struct slm_str line, struct slm_load_prompts *out,
                                struct slm_error *error)
{
    struct slm_buf text = {0};
    json_error_t reason;
    json_t *root = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &reason);
    if (!root) return slm_fail(error, SLM_ERR_FORMAT, where, "prompt %zu: %s", out->n + 1, reason.text);
    const json_t *prompt = json_object_get(root, "prompt"), *messages = json_object_get(root, "messages");
    bool is_ids = json_array_size(prompt) > 0; /* whether the server has such tokens it says itself */
    for (size_t i = 0; i < json_array_size(prompt); i++)
        is_ids = is_ids && json_is_integer(json_array_get(prompt, i));
    const bool is_prompt = json_is_string(prompt) || is_ids, good = is_prompt || json_array_size(messages) > 0;
    if (good) add_value(&text, is_prompt ? prompt : messages);
    if (is_ids) out->any_ids = true;
    if (good && !is_prompt) out->any_messages = true;
    json_decref(root);
    if (!good)
        return slm_fail(error, SLM_ERR_FORMAT, where, "prompt %zu has neither \"prompt\", a text or token ids, nor "
                        "\"messages\", an array", out->n + 1);
    return add(out, &text, error);
}

/* The first byte tells which of the two kinds of files it is; empty lines are none of either. */
slm_status slm_load_read_prompts(const char *where, struct slm_str text, struct slm_load_prompts *out,
                                 struct slm_error *error)
{
    *out = (struct slm_load_prompts){.n = 0};
    slm_status status = SLM_OK;
    /* A prompt in plain words that begins with a brace is a file of one kind mistaken for the other. */
    const bool is_json = text.len > 0 && text.ptr[0] == '{';
    for (size_t at = 0; at < text.len && status == SLM_OK;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        struct slm_str line = {text.ptr + at, (end ? (size_t)(end - text.ptr) : text.len) - at};
        at += line.len + 1;
        if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
        struct slm_buf json = {0};
        if (line.len == 0) continue;
        if (out->n == MOST_PROMPTS)
            status = slm_fail(error, SLM_ERR_LIMIT, where, "at most %d prompts are read", MOST_PROMPTS);
        else if (is_json) status = add_json_line(where, line, out, error);
        else if (slm_buf_add_json_string(&json, line)) status = add(out, &json, error);
        else status = slm_buf_status(&json, where, error);
    }
    if (status == SLM_OK && out->n == 0) status = slm_fail(error, SLM_ERR_FORMAT, where, "there is no prompt in it");
    if (status != SLM_OK) slm_load_release_prompts(out);
    return status;
}

/* Short and common, a token each in most vocabularies. */
static const char *const words[] = {
    "the",   "a",     "of",   "and",  "to",  "in",    "is",   "was",   "for",   "on",   "that", "with", "as",   "by",
    "at",    "from",  "it",   "this", "house", "water", "light", "time", "day",  "night", "tree", "river", "world",
    "child", "hand",  "word", "road", "book",
};

/* Numbers come first, so that no two begin alike and no cache of prefixes helps. Prompt i depends on (seed, i) only. */
slm_status slm_load_make_prompts(size_t n, size_t n_words, uint64_t seed, struct slm_load_prompts *out,
                                 struct slm_error *error)
{
    slm_status status = SLM_OK;
    *out = (struct slm_load_prompts){.n = 0};
    for (size_t i = 0; i < n && status == SLM_OK; i++) {
        struct slm_buf json = {0};
        struct slm_rng rng = {.seed = seed, .stream = i + 1};
        slm_buf_printf(&json, "\"%llu", (unsigned long long)(slm_rng_next(&rng) % 1000000 * 1000 + i % 1000));
        for (size_t k = 1; k < n_words; k++)
            slm_buf_printf(&json, " %s", words[slm_rng_next(&rng) % (sizeof words / sizeof *words)]);
        slm_buf_puts(&json, "\"");
        status = add(out, &json, error);
    }
    if (status != SLM_OK) slm_load_release_prompts(out);
    return status;
}

/* Each text is the memory of a buffer. */
void slm_load_release_prompts(struct slm_load_prompts *prompts)
{
    for (size_t i = 0; i < prompts->n; i++) {
        struct slm_buf item = {.data = (char *)(uintptr_t)prompts->items[i].ptr};
        slm_buf_release(&item);
    }
    slm_release(prompts->items);
    *prompts = (struct slm_load_prompts){.n = 0};
}
