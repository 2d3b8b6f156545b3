/* SPDX-License-Identifier: MIT
 * Fuzzes what a Hugging Face folder brings: the first byte picks the parser (safetensors header, configuration, or both
 * together), the rest is its file. What is accepted must be readable to its last byte, and tensors that were tied to
 * their scales to their last row. */
#include "base/os.h"
#include "format/gguf_part.h"
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

/* Configuration and tensors as the two parts of a folder. */
static slm_status join(struct slm_gguf *gguf, struct slm_str tensors)
{
    const struct slm_gguf_limits limits = slm_gguf_limits_or_default(NULL);
    struct slm_gguf_part *parts = slm_realloc(gguf->parts, 2, sizeof *parts, "fuzz", NULL);
    if (!parts) return SLM_ERR_MEMORY;
    gguf->parts = parts;
    gguf->n_parts = 2;
    gguf->from_hf = true;
    slm_name_index_release(&gguf->tensor_index);
    slm_release(gguf->tensors);
    gguf->tensors = NULL;
    gguf->n_tensors = 0;
    parts[0].tensors = NULL;
    parts[0].n_tensors = 0;
    SLM_TRY(slm_safetensors_parse(tensors, "fuzz", &parts[1].tensors, &parts[1].n_tensors, NULL));
    SLM_TRY(slm_hf_unwrap(gguf, NULL));
    SLM_TRY(slm_gguf_join_tensors(gguf, &limits, NULL));
    return slm_hf_link(gguf, NULL);
}

/* Two bytes of length, the configuration, the safetensors file. */
static void folder(struct slm_str both)
{
    enum { MOST = 4096 };
    struct slm_buf bytes = {0};
    struct slm_gguf *gguf = NULL;
    float row[MOST];
    if (both.len < 2) return;
    const size_t n = (size_t)(unsigned char)both.ptr[0] | (size_t)(unsigned char)both.ptr[1] << 8;
    if (n > both.len - 2) return;
    const struct slm_hf_config file = {{both.ptr + 2, n}, "fuzz", ""};
    if (slm_hf_config_to_gguf(&file, 1, &bytes, NULL) == SLM_OK &&
        slm_gguf_open_memory(bytes.data, bytes.len, "fuzz", NULL, &gguf, NULL) == SLM_OK) {
        if (join(gguf, (struct slm_str){both.ptr + 2 + n, both.len - 2 - n}) == SLM_OK)
            for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
                const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
                if (t->dims[0] > MOST) continue;
                slm_tensor_read_rows(t, 0, 1, row);
                slm_tensor_read_rows(t, t->n_elements / t->dims[0] - 1, 1, row);
            }
        slm_gguf_close(gguf);
    }
    slm_buf_release(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    const struct slm_str rest = {(const char *)data + 1, size - 1};
    if (data[0] & 2) folder(rest);
    else if (data[0] & 1) safetensors(rest);
    else config(rest);
    return 0;
}
