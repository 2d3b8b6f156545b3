/* SPDX-License-Identifier: MIT
 *
 * A list of keys that is walked whole for each request: there are few, and a walk that never ends early tells
 * nobody how much of a guess was right. Messages name lines, never keys.
 *
 * How often a key may be used is a bucket that holds the requests of one period and fills evenly: all of them may come
 * at once, and over a long time there are never more than the rate and one period's. It is kept as one point in time,
 * when it would be full (the generic cell rate algorithm of ITU-T I.371).
 *
 * Deliberately not here: roles, expiry, tokens that were used. */
#include "serve/keys.h"

#include "base/os.h"

/* Seven digits at most: then a request's share is a hundred nanoseconds at least, and nothing overflows. */
bool slm_rate_parse(struct slm_str text, struct slm_rate *out)
{
    static const struct { char name; uint32_t seconds; } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
    uint32_t n = 0;
    size_t i = 0;
    for (; i < text.len && i < 7 && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
        n = n * 10 + (uint32_t)(text.ptr[i] - '0');
    if (n == 0 || text.len != i + 2 || text.ptr[i] != '/') return false;
    for (size_t k = 0; k < sizeof units / sizeof *units; k++)
        if (text.ptr[i + 1] == units[k].name) {
            *out = (struct slm_rate){n, units[k].seconds};
            return true;
        }
    return false;
}

/* Takes the rate off the end of the text, if there is one. */
static slm_status take_rate(struct slm_str *text, struct slm_rate *rate, struct slm_error *error)
{
    const char *space = text->len ? memchr(text->ptr, ' ', text->len) : NULL;
    if (!space) return SLM_OK;
    struct slm_str last = {space, text->len - (size_t)(space - text->ptr)};
    while (last.len && *last.ptr == ' ') last.ptr++, last.len--;
    text->len = (size_t)(space - text->ptr);
    if (slm_rate_parse(last, rate)) return SLM_OK;
    return slm_fail(error, SLM_ERR_ARGUMENT, "API key",
                    "what follows a key is how often it may be used, such as 10/s, 600/m or 1000/h (up to 9999999)");
}

slm_status slm_keys_add(struct slm_keys *keys, struct slm_str text, struct slm_error *error)
{
    struct slm_rate rate = keys->rate;
    SLM_TRY(take_rate(&text, &rate, error));
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
    item->rate = rate;
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

struct slm_key *slm_keys_find(const struct slm_keys *keys, struct slm_str key)
{
    char padded[SLM_KEY_MAX] = {0};
    struct slm_key *found = NULL;
    if (key.len > sizeof padded) return NULL;
    if (key.len) memcpy(padded, key.ptr, key.len);
    for (size_t i = 0; i < keys->n; i++) {
        struct slm_key *item = &keys->items[i];
        volatile unsigned char differ = item->len != key.len; /* volatile: the loop runs to its end */
        for (size_t k = 0; k < sizeof padded; k++) differ |= (unsigned char)(padded[k] ^ item->key[k]);
        if (differ == 0) found = item;
    }
    return found;
}

/* Else a client that is refused had only to wait for the next reload. */
void slm_keys_inherit(struct slm_keys *keys, const struct slm_keys *before)
{
    for (size_t i = 0; i < keys->n; i++) {
        struct slm_key *item = &keys->items[i];
        const struct slm_key *old = slm_keys_find(before, (struct slm_str){item->key, item->len});
        if (old) item->due_ns = old->due_ns;
    }
}

/* What each request takes from the bucket comes back after its share of the period. */
bool slm_key_use(struct slm_key *key, uint64_t now_ns, unsigned *retry_after_s)
{
    const uint64_t second = UINT64_C(1000000000), period = key->rate.seconds * second;
    if (key->rate.n == 0) return true;
    const uint64_t share = period / key->rate.n, due = key->due_ns > now_ns ? key->due_ns : now_ns;
    const uint64_t full = now_ns + period; /* nothing may be due later than that */
    if (due + share <= full) {
        key->due_ns = due + share;
        return true;
    }
    const uint64_t wait = due + share - full;
    /* A rate that was made smaller may have more due than it holds. */
    *retry_after_s = (unsigned)((wait + second - 1) / second);
    return false;
}

void slm_keys_release(struct slm_keys *keys)
{
    if (keys->items) memset(keys->items, 0, keys->cap * sizeof *keys->items);
    slm_release(keys->items);
    *keys = (struct slm_keys){.n = 0};
}
