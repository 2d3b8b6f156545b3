/* SPDX-License-Identifier: MIT
 * API keys: which there are and what each is called. Comparing takes as long for a wrong key as for a right one. */
#ifndef SLM_SERVE_KEYS_H
#define SLM_SERVE_KEYS_H
#include "base/str.h"

enum { SLM_KEY_MAX = 256, SLM_KEY_MIN = 8 }; /* bytes */

struct slm_keys {
    struct slm_key { char name[64], key[SLM_KEY_MAX]; size_t len; } *items;
    size_t n, cap;
};
/* One key, "KEY" or "NAME:KEY"; without a name it is called after its place. */
slm_status slm_keys_add(struct slm_keys *keys, struct slm_str text, struct slm_error *error);
/* One key a line; empty lines and those that begin with '#' are none. On error *keys is what it was. */
slm_status slm_keys_add_lines(struct slm_keys *keys, const char *path, struct slm_str text, struct slm_error *error);
/* Name of the key, or NULL. */
const char *slm_keys_find(const struct slm_keys *keys, struct slm_str key);
void slm_keys_release(struct slm_keys *keys);
#endif
