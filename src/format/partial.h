/* SPDX-License-Identifier: MIT
 * A large file while it is being written: it is called PATH.partial until all of it is on the disk, nobody else can
 * write it meanwhile, and a process that was killed, or ran out of disk, can go on where it stopped. */
#ifndef SLM_FORMAT_PARTIAL_H
#define SLM_FORMAT_PARTIAL_H
#include "base/os.h"

struct slm_partial;

/* Takes PATH.partial for itself; what is in it stays until the first byte is put or slm_partial_resume has judged it.
 * SLM_ERR_IO when another writer has it. */
slm_status slm_partial_open(const char *path, struct slm_partial **out, struct slm_error *error);
/* Before anything is put: a file of `bytes` bytes, made from what `key` stands for. *kept is how many of its first
 * bytes are there already, whole and unchanged; *stale says that something else was there, which is gone. Without this
 * call nothing can be gone on with later. */
slm_status slm_partial_resume(struct slm_partial *partial, uint64_t key, uint64_t bytes, uint64_t *kept, bool *stale,
                              struct slm_error *error);
/* The next bytes, 4 or more the first time. Those that are there already are not written again. */
slm_status slm_partial_put(struct slm_partial *partial, const void *data, size_t bytes, struct slm_error *error);
/* The same of bytes that are there already, without them. */
void slm_partial_skip(struct slm_partial *partial, uint64_t bytes);
/* All is put: it is on the disk when this returns, still without its name. */
slm_status slm_partial_sync(struct slm_partial *partial, struct slm_error *error);
/* Gives it its name. Then it is to be closed, whatever the outcome. */
slm_status slm_partial_finish(struct slm_partial *partial, struct slm_error *error);
/* Frees. What has no name yet goes, or stays to be gone on with where `keep` and there is enough of it to be worth it:
 * true then. NULL is fine. */
bool slm_partial_close(struct slm_partial *partial, bool keep);
uint64_t slm_partial_at(const struct slm_partial *partial); /* bytes put or skipped so far */
const char *slm_partial_path(const struct slm_partial *partial);
#endif
