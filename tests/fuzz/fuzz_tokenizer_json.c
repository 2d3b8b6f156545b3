/* SPDX-License-Identifier: MIT
 * Fuzzes the tokenizer files of a Hugging Face folder: the first byte picks the file that the rest is, beside a
 * fixed good one. Files are served from memory by a replaced OS seam. What is accepted must encode and decode without
 * harm. */
#include "base/os.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                                    "generation_config.json", "added_tokens.json"};
static const char good[] =
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\",\"vocab\":"
    "{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]},\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}]}";

struct slm_file { struct slm_str content; };
static struct slm_file files[2]; /* the fuzzed one, the good one */
static const char *file_names[2];

static slm_status serve(const char *path, struct slm_file **out, struct slm_file_info *info, struct slm_error *error)
{
    const char *name = strrchr(path, '/');
    for (int i = 0; i < 2; i++) {
        if (!file_names[i] || strcmp(name + 1, file_names[i]) != 0) continue;
        *out = &files[i];
        *info = (struct slm_file_info){.bytes = files[i].content.len, .is_regular = true};
        return SLM_OK;
    }
    return slm_fail(error, SLM_ERR_IO, path, "not there");
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

static void use(const struct slm_tokenizer *t)
{
    static const char text[] = " ab<s> \xe2\x96\x81 1 a\xcc\x81\n\xff";
    enum { CAP = 1 << 14 }; /* a normalizer may make the text 512 times as long */
    int32_t ids[CAP];
    char back[4096];
    size_t n = 0, bytes = 0;
    struct slm_error error;
    const unsigned all = SLM_TOKENIZE_ADD_SPECIAL | SLM_TOKENIZE_PARSE_SPECIAL;
    if (slm_tokenizer_encode(t, text, sizeof text - 1, all, ids, CAP, &n, &error) != SLM_OK) return;
    SLM_ASSERT(n <= CAP);
    SLM_ASSERT(slm_tokenizer_decode(t, ids, n, true, back, sizeof back, &bytes, &error) == SLM_OK);
    for (size_t i = 0; i < n; i++) (void)slm_tokenizer_is_eog(t, ids[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slm_os os = *slm_os_posix();
    os.open_read = serve, os.map = map_file, os.unmap = unmap, os.close = close_file;
    const unsigned which = data[0] % (sizeof names / sizeof *names);
    file_names[0] = names[which];
    files[0].content = (struct slm_str){(const char *)data + 1, size - 1};
    file_names[1] = which > 1 ? "tokenizer.json" : NULL;
    files[1].content = slm_str(good);
    const struct slm_os *before = slm_os_replace(&os);
    struct slm_tokenizer *t = NULL;
    struct slm_error error = {0};
    const slm_status status = slm_tokenizer_from_hf("fuzz", data[0] & 0x80 ? 64 : 0, &t, &error);
    if (status == SLM_OK && t) use(t);
    SLM_ASSERT(status == SLM_OK || error.message[0]);
    slm_tokenizer_free(t);
    (void)slm_os_replace(before);
    return 0;
}
