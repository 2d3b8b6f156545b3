/* SPDX-License-Identifier: MIT
 * API keys: which there are, what each is called, and how often it may be used. Comparing takes as long for a wrong key
 * as for a right one. */
#ifndef SLM_SERVE_KEYS_H
#define SLM_SERVE_KEYS_H
#include "base/str.h"

enum { SLM_KEY_MAX = 256, SLM_KEY_MIN = 8 }; /* bytes */

/* At most so many requests in so many seconds; n 0: any number. */
struct slm_rate { uint32_t n, seconds; };

struct slm_keys {
    struct slm_key {
        char name[64], key[SLM_KEY_MAX];
        size_t len;
        struct slm_rate rate;
        uint64_t due_ns; /* when all that it has used up would have come back */
    } *items;
    size_t n, cap;
    struct slm_rate rate; /* of keys that come without one */
};
/* "10/s", "600/m", "1000/h". */
bool slm_rate_parse(struct slm_str text, struct slm_rate *out);
/* One key, "[NAME:]KEY [RATE]"; without a name it is called after its place. */
slm_status slm_keys_add(struct slm_keys *keys, struct slm_str text, struct slm_error *error);
/* One key a line; empty lines and those that begin with '#' are none. On error *keys is what it was. */
slm_status slm_keys_add_lines(struct slm_keys *keys, const char *path, struct slm_str text, struct slm_error *error);
/* NULL: there is no such key. */
struct slm_key *slm_keys_find(const struct slm_keys *keys, struct slm_str key);
/* What each key has used up, from the keys that were there before. */
void slm_keys_inherit(struct slm_keys *keys, const struct slm_keys *before);
/* Counts a request; false: it is one too many, and in so many seconds it would not be. */
bool slm_key_use(struct slm_key *key, uint64_t now_ns, unsigned *retry_after_s);
void slm_keys_release(struct slm_keys *keys);
#endif
