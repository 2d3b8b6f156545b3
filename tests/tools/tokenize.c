/* SPDX-License-Identifier: MIT
 * A tokenizer behind a pipe, for tests that compare it with others, and its stopwatch.
 *
 * FILE may be the folder of a Hugging Face tokenizer, too.
 *
 *   slm_test_tokenize FILE [--parse-special] [--add-special] [--back]   batches on stdin, answers on stdout, both
 *   little-endian:
 *       in:  u32 number of texts, then for each u32 bytes and the text;   out: for each u32 count and i32 ids
 *       with --back the answer is u32 bytes and the text that the ids give back, streamed token by token
 *   slm_test_tokenize FILE.gguf --bench TEXT        MB/s of encoding that file, and the time to open the vocabulary.
 *       Both in CPU time, so that a busy machine does not count against it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/os.h"
#include "families/families.h"
#include "format/gguf.h"
#include "tokenizer/tokenizer.h"

static int complain(const struct slm_error *error)
{
    fprintf(stderr, "%s: %s\n", error->where, error->message);
    return 1;
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The text of the ids as a stream shows it. All ways to cut the stream are the same one, checked with a second. */
static slm_status answer_text(const struct slm_tokenizer *t, const int32_t *ids, size_t n, struct slm_error *error)
{
    struct slm_buf stream = {0}, whole = {0};
    struct slm_detok by_token = {0}, at_once = {0};
    size_t bytes = 0, before = 0;
    SLM_TRY(slm_tokenizer_decode(t, ids, n, false, NULL, 0, &bytes, error));
    char *text = slm_alloc(bytes + 1, 1, "tokenize", error), *out = slm_alloc(3 * bytes + 16, 1, "tokenize", error);
    slm_status status = SLM_ERR_MEMORY;
    if (text && out) status = slm_tokenizer_decode(t, ids, n, false, text, bytes, &bytes, error);
    for (size_t i = 0, end; i < n && status == SLM_OK; i++, before = end) {
        const struct slm_str piece = slm_tokenizer_piece(t, ids[i], false);
        end = before + piece.len;
        if (piece.len && (end > bytes || memcmp(text + before, piece.ptr, piece.len) != 0)) end--; /* its space */
        const struct slm_str shown = {text + before, end - before};
        slm_buf_add(&stream, out, slm_detok_feed(&by_token, shown, out));
    }
    if (status == SLM_OK) {
        slm_buf_add(&stream, out, slm_detok_flush(&by_token, out));
        slm_buf_add(&whole, out, slm_detok_feed(&at_once, (struct slm_str){text, bytes}, out));
        slm_buf_add(&whole, out, slm_detok_flush(&at_once, out));
        SLM_ASSERT(before == bytes && stream.len == whole.len && memcmp(stream.data, whole.data, whole.len) == 0);
        const uint32_t count = (uint32_t)stream.len;
        fwrite(&count, sizeof count, 1, stdout);
        fwrite(stream.data, 1, stream.len, stdout);
    }
    slm_release(text);
    slm_release(out);
    slm_buf_release(&stream);
    slm_buf_release(&whole);
    return status;
}

static int serve(const struct slm_tokenizer *t, unsigned flags, bool back)
{
    struct slm_error error = {0};
    char *text = NULL;
    int32_t *ids = NULL;
    uint32_t n_texts, bytes;
    int rc = 0;
    while (rc == 0 && fread(&n_texts, sizeof n_texts, 1, stdin) == 1) {
        for (uint32_t i = 0; i < n_texts && rc == 0; i++) {
            if (fread(&bytes, sizeof bytes, 1, stdin) != 1) return 1;
            text = slm_realloc(text, (size_t)bytes + 1, 1, "tokenize", &error);
            size_t n = 0;
            if (!text || fread(text, 1, bytes, stdin) != bytes) return 1;
            for (size_t cap = 0; n >= cap && rc == 0;) { /* measured first: normalizers can make a text longer */
                cap = n + 1;
                ids = slm_realloc(ids, cap, sizeof *ids, "tokenize", &error);
                if (!ids || slm_tokenizer_encode(t, text, bytes, flags, ids, cap, &n, &error) != SLM_OK)
                    rc = complain(&error);
            }
            if (rc) break;
            if (back) {
                if (answer_text(t, ids, n, &error) != SLM_OK) rc = complain(&error);
                continue;
            }
            const uint32_t count = (uint32_t)n;
            fwrite(&count, sizeof count, 1, stdout);
            fwrite(ids, sizeof *ids, n, stdout);
        }
        fflush(stdout);
    }
    slm_release(text);
    slm_release(ids);
    return rc;
}

static int bench(const struct slm_tokenizer *t, const char *path, double open_s)
{
    struct slm_error error = {0};
    struct slm_file *file = NULL;
    struct slm_file_info info = {0};
    if (slm_os()->open_read(path, &file, &info, &error) != SLM_OK) return complain(&error);
    const size_t bytes = (size_t)info.bytes;
    char *text = slm_alloc(bytes + 1, 1, "bench", &error);
    int32_t *ids = slm_alloc(3 * bytes + 3, sizeof *ids, "bench", &error);
    slm_status status = text && ids ? slm_os()->read_at(file, text, bytes, 0, &error) : SLM_ERR_MEMORY;
    (void)slm_os()->close(file, NULL);
    size_t n = 0;
    double best = 1e9;
    for (int i = 0; i < 7 && status == SLM_OK; i++) {
        const double begin = cpu_seconds();
        status = slm_tokenizer_encode(t, text, bytes, 0, ids, 3 * bytes + 3, &n, &error);
        const double seconds = cpu_seconds() - begin;
        if (seconds < best) best = seconds;
    }
    if (status == SLM_OK)
        printf("opened in %.1f ms, %zu bytes -> %zu tokens at %.1f MB/s\n", open_s * 1e3, bytes, n,
               (double)bytes / best / 1e6);
    slm_release(text);
    slm_release(ids);
    return status == SLM_OK ? 0 : complain(&error);
}

static slm_status open_any(const char *path, struct slm_gguf **gguf, struct slm_tokenizer **t, struct slm_error *error)
{
    const size_t len = strlen(path);
    if (len < 5 || strcmp(path + len - 5, ".gguf") != 0) return slm_tokenizer_from_hf(path, 0, t, error);
    if (!*gguf) SLM_TRY(slm_gguf_open(path, NULL, gguf, error));
    return slm_tokenizer_from_gguf(*gguf, slm_family_specials_swallow_space(*gguf), t, error);
}

static unsigned flags_of(int argc, char **argv)
{
    unsigned flags = 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--parse-special") == 0) flags |= SLM_TOKENIZE_PARSE_SPECIAL;
        if (strcmp(argv[i], "--add-special") == 0) flags |= SLM_TOKENIZE_ADD_SPECIAL;
    }
    return flags;
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    struct slm_error error = {0};
    struct slm_gguf *gguf = NULL;
    struct slm_tokenizer *t = NULL;
    double open_s = 1e9;
    for (int i = 0; i < 5; i++) {
        slm_tokenizer_free(t);
        const double begin = cpu_seconds();
        if (open_any(argv[1], &gguf, &t, &error) != SLM_OK) return complain(&error);
        const double seconds = cpu_seconds() - begin;
        if (seconds < open_s) open_s = seconds;
        if (argc < 4) break;
    }
    if (!t) return 1;
    int rc;
    if (argc == 4 && strcmp(argv[2], "--bench") == 0) rc = bench(t, argv[3], open_s);
    else rc = serve(t, flags_of(argc, argv), argc > 2 && strcmp(argv[argc - 1], "--back") == 0);
    slm_tokenizer_free(t);
    slm_gguf_close(gguf);
    return rc;
}
