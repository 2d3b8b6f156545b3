/* SPDX-License-Identifier: MIT
 *
 * A list of keys that is walked whole for each request: there are few, and a walk that never ends early tells
 * nobody how much of a guess was right. Messages name lines, never keys.
 *
 * Deliberately not here: roles, expiry, usage. */
#include "serve/keys.h"

#include "base/os.h"

slm_status slm_keys_add(struct slm_keys *keys, struct slm_str text, struct slm_error *error)
{
    const char *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
    const struct slm_str name = {text.ptr, colon ? (size_t)(colon - text.ptr) : 0};
    const struct slm_str key = {colon ? colon + 1 : text.ptr, text.len - (colon ? name.len + 1 : 0)};
    if (key.len < SLM_KEY_MIN || key.len > SLM_KEY_MAX)
        return slm_fail(error, SLM_ERR_ARGUMENT, "API key", "a key has %d to %d characters, this one has %zu",
                        SLM_KEY_MIN, SLM_KEY_MAX, key.len);
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return slm_fail(error, SLM_ERR_ARGUMENT, "API key",
                            "a key and its name are visible ASCII characters without spaces");
    if (name.len >= sizeof keys->items->name)
        return slm_fail(error, SLM_ERR_ARGUMENT, "API key", "a key's name has at most %zu characters",
                        sizeof keys->items->name - 1);
    if (keys->n == keys->cap) {
        const size_t cap = keys->cap ? 2 * keys->cap : 8;
        struct slm_key *grown = slm_realloc(keys->items, cap, sizeof *grown, "API key", error);
        if (!grown) return SLM_ERR_MEMORY;
        keys->items = grown;
        keys->cap = cap;
    }
    struct slm_key *item = &keys->items[keys->n];
    memset(item, 0, sizeof *item);
    if (name.len) memcpy(item->name, name.ptr, name.len);
    else snprintf(item->name, sizeof item->name, "key-%zu", keys->n + 1);
    memcpy(item->key, key.ptr, key.len);
    item->len = key.len;
    keys->n++;
    return SLM_OK;
}

slm_status slm_keys_add_lines(struct slm_keys *keys, const char *path, struct slm_str text, struct slm_error *error)
{
    const size_t n_before = keys->n;
    size_t n_lines = 0;
    for (size_t at = 0; at < text.len;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        struct slm_str line = {text.ptr + at, end ? (size_t)(end - text.ptr) - at : text.len - at};
        at += line.len + 1;
        n_lines++;
        while (line.len > 0 && (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == ' ')) line.len--;
        if (line.len == 0 || line.ptr[0] == '#') continue;
        struct slm_error reason;
        if (slm_keys_add(keys, line, &reason) != SLM_OK) {
            keys->n = n_before;
            return slm_fail(error, reason.status, path, "line %zu: %s", n_lines, reason.message);
        }
    }
    if (keys->n == n_before) return slm_fail(error, SLM_ERR_ARGUMENT, path, "there is no key in this file");
    return SLM_OK;
}

const char *slm_keys_find(const struct slm_keys *keys, struct slm_str key)
{
    char padded[SLM_KEY_MAX] = {0};
    const char *name = NULL;
    if (key.len > sizeof padded) return NULL;
    if (key.len) memcpy(padded, key.ptr, key.len);
    for (size_t i = 0; i < keys->n; i++) {
        const struct slm_key *item = &keys->items[i];
        volatile unsigned char differ = item->len != key.len; /* volatile: the loop runs to its end */
        for (size_t k = 0; k < sizeof padded; k++) differ |= (unsigned char)(padded[k] ^ item->key[k]);
        if (differ == 0) name = item->name;
    }
    return name;
}

void slm_keys_release(struct slm_keys *keys)
{
    if (keys->items) memset(keys->items, 0, keys->cap * sizeof *keys->items);
    slm_release(keys->items);
    *keys = (struct slm_keys){.n = 0};
}
