/* SPDX-License-Identifier: MIT
 * Looks for the shared reference data where shared.h says, and reads whole files for tests (plain stdio: tests may).
 * It deliberately never creates anything. */
#include "shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *shared_path(const char *relative)
{
    static char paths[2][1024];
    static unsigned turn;
    char *path = paths[turn++ % 2];
    const char *root = getenv("SLM_SHARED");
    if (root)
        snprintf(path, sizeof paths[0], "%s/%s", root, relative);
    else
        snprintf(path, sizeof paths[0], "%s/../shared/%s", SLM_SOURCE_DIR, relative);
    if (access(path, R_OK) == 0) return path;
    fprintf(stderr, "skip: shared data file '%s' is absent\n", relative);
    return NULL;
}

char *shared_read(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    rewind(file);
    char *text = size < 0 ? NULL : malloc((size_t)size + 1);
    if (text && fread(text, 1, (size_t)size, file) == (size_t)size) {
        text[size] = 0;
        if (bytes) *bytes = (size_t)size;
    } else {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}
