/* SPDX-License-Identifier: MIT
 * Fuzzes a whole Hugging Face folder up to its first tokens: config.json, a NUL, the index of shards (empty: there is
 * none), a NUL, one safetensors file that goes by every other name. Files are served from memory by a replaced OS seam.
 * What opens must evaluate two tokens; what does not must say why. Tokenizer files have a fuzzer of their own. */
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/str.h"
#include "slm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct slm_file { struct slm_str content; };
static struct slm_file config, shards, weights;

static bool ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

static slm_status serve(const char *path, struct slm_file **out, struct slm_file_info *info, struct slm_error *error)
{
    struct slm_file *file = NULL;
    if (ends_in(path, "/config.json")) file = &config;
    else if (ends_in(path, "/model.safetensors.index.json")) file = shards.content.len ? &shards : NULL;
    else if (ends_in(path, ".safetensors")) file = &weights;
    if (!file) return slm_fail(error, SLM_ERR_IO, path, "not there");
    *out = file;
    *info = (struct slm_file_info){.bytes = file->content.len, .is_regular = true};
    return SLM_OK;
}

static slm_status map_file(struct slm_file *file, struct slm_map *out, struct slm_error *error)
{
    (void)error;
    *out = (struct slm_map){(const unsigned char *)file->content.ptr, file->content.len};
    return SLM_OK;
}

static void unmap(struct slm_map *map) { *map = (struct slm_map){0}; }

static slm_status close_file(struct slm_file *file, struct slm_error *error)
{
    (void)file, (void)error;
    return SLM_OK;
}

/* The next part, up to a NUL or the end. */
static struct slm_str take(struct slm_str *rest)
{
    const char *nul = rest->len ? memchr(rest->ptr, 0, rest->len) : NULL;
    const struct slm_str part = {rest->ptr, nul ? (size_t)(nul - rest->ptr) : rest->len};
    const size_t used = part.len + (nul != NULL);
    *rest = (struct slm_str){rest->ptr + used, rest->len - used};
    return part;
}

static void evaluate(const struct slm_model *model)
{
    const struct slm_session_options options = {.n_ctx = 8, .n_threads = 1};
    const int32_t ids[2] = {0, slm_model_info(model).n_vocab - 1};
    struct slm_session *session = NULL;
    struct slm_error error = {0};
    if (slm_session_open(model, &options, &session, &error) != SLM_OK) return; /* more memory than there is */
    const slm_status status = slm_session_eval(session, ids, 2, &error);
    if (status == SLM_OK && !slm_session_logits(session)) abort();
    slm_session_close(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_os os = *slm_os_posix();
    os.open_read = serve, os.map = map_file, os.unmap = unmap, os.close = close_file;
    struct slm_str rest = {(const char *)data, size};
    config.content = take(&rest);
    shards.content = take(&rest);
    /* A page boundary, as a mapped file has: kernels may count on it. */
    void *copy = aligned_alloc(4096, (rest.len / 4096 + 1) * 4096);
    if (!copy) return 0;
    if (rest.len) memcpy(copy, rest.ptr, rest.len);
    weights.content = (struct slm_str){copy, rest.len};
    const struct slm_os *before = slm_os_replace(&os);
    struct slm_model *model = NULL;
    struct slm_error error = {0};
    if (slm_model_open("fuzz", NULL, &model, &error) == SLM_OK) evaluate(model);
    else if (!error.message[0]) abort();
    slm_model_close(model);
    (void)slm_os_replace(before);
    free(copy);
    return 0;
}
