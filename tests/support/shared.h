/* SPDX-License-Identifier: MIT
 * Finding the shared reference data: models, texts and outputs that are not part of the repository. A test that needs
 * some of it calls SLM_NEED_SHARED and is skipped, saying so, where the data is absent. */
#ifndef SLM_TEST_SHARED_H
#define SLM_TEST_SHARED_H
#include <stddef.h>

/* Path of a file under the shared data folder (environment SLM_SHARED, else ../shared beside the source tree), or
 * NULL with a line on stderr when it is not there. Valid until the second next call. */
const char *shared_path(const char *relative);
/* Whole file, NUL-terminated, or NULL. Released with free(). */
char *shared_read(const char *path, size_t *bytes);

/* Declares `const char *name` or skips the test. */
#define SLM_NEED_SHARED(name, relative) \
    const char *name = shared_path(relative); \
    if (!name) { skip(); return; }
#endif
