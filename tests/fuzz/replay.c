/* SPDX-License-Identifier: MIT
 *
 * Replays a fuzzer's corpus without a fuzzer: replay_NAME FOLDER feeds every file of the folder to
 * LLVMFuzzerTestOneInput, whole and cut short, so that ordinary builds of every compiler keep checking what fuzzing
 * once found. Small files are cut after every byte, larger ones at 256 places. A folder without files is a failure: a
 * parser without a corpus is not tested.
 *
 * Deliberately not here: mutation and coverage (that is libFuzzer's work, `make fuzz`).
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVERY_CUT_BELOW = 2048, CUTS_OF_LARGE = 256 };

/* An exact-sized copy, so that a sanitizer sees the first byte read past the end. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "replay: out of memory for %zu bytes\n", size);
        exit(1);
    }
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* Returns the bytes of the file (owned) or NULL. */
static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    uint8_t *data = NULL;
    long end;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        *size = (size_t)end;
        data = malloc(*size + 1);
        if (data && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    fclose(file);
    return data;
}

static void replay(const uint8_t *data, size_t size)
{
    feed(data, size);
    size_t step = size < EVERY_CUT_BELOW ? 1 : size / CUTS_OF_LARGE;
    for (size_t cut = 0; cut < size; cut += step) feed(data, cut);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: replay FOLDER\n");
        return 1;
    }
    struct dirent **names;
    int n_names = scandir(argv[1], &names, NULL, alphasort); /* sorted: the same order on every machine */
    int n_replayed = 0;
    for (int i = 0; i < n_names; i++) {
        char path[4096];
        size_t size = 0;
        int length = snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
        if (names[i]->d_name[0] != '.' && length > 0 && (size_t)length < sizeof path) {
            printf("%s\n", names[i]->d_name); /* before the call: the last line names the input that crashed */
            fflush(stdout);
            uint8_t *data = read_file(path, &size);
            if (!data) {
                fprintf(stderr, "replay: cannot read %s\n", path);
                return 1;
            }
            replay(data, size);
            free(data);
            n_replayed++;
        }
        free(names[i]);
    }
    if (n_names >= 0) free(names);
    if (n_replayed == 0) fprintf(stderr, "replay: no corpus files in %s\n", argv[1]);
    return n_replayed == 0;
}
