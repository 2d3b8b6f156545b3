/* SPDX-License-Identifier: MIT
 * Fuzzes what a Hugging Face folder brings: the first byte picks the parser (safetensors header or configuration), the
 * rest is its file. What is accepted must be readable to its last byte. */
#include "base/os.h"
#include "format/hf_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void safetensors(struct slm_str file)
{
    struct slm_gguf_tensor *rows = NULL;
    size_t n = 0;
    struct slm_error error;
    if (slm_safetensors_parse(file, "fuzz", &rows, &n, &error) != SLM_OK) return;
    volatile unsigned char sink = 0;
    for (size_t i = 0; i < n; i++) sink ^= (unsigned char)(rows[i].data[0] ^ rows[i].data[rows[i].bytes - 1]);
    slm_release(rows);
}

static void config(struct slm_str json)
{
    struct slm_buf bytes = {0};
    struct slm_gguf *gguf = NULL;
    struct slm_error error;
    const struct slm_hf_config file = {json, "fuzz", ""};
    if (slm_hf_config_to_gguf(&file, 1, &bytes, &error) == SLM_OK &&
        slm_gguf_open_memory(bytes.data, bytes.len, "fuzz", NULL, &gguf, &error) == SLM_OK)
        slm_gguf_close(gguf);
    slm_buf_release(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    const struct slm_str rest = {(const char *)data + 1, size - 1};
    if (data[0] & 1) safetensors(rest);
    else config(rest);
    return 0;
}
