/* SPDX-License-Identifier: MIT
 * A compiled table of normalizations and a text, both from the input: u32 bytes of the table, the table, the text.
 * Whatever the table says, both ways of reading it stay inside it, and the text grows no more than the limit allows. */
#include "base/os.h"
#include "tokenizer/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) return 0;
    uint32_t n;
    memcpy(&n, data, sizeof n);
    if (n > size - 4) n = (uint32_t)(size - 4);
    /* A copy that ends where the table ends: reading on is an error that a sanitizer sees. */
    char *table = slm_alloc((size_t)n + 1, 1, "fuzz", NULL);
    if (!table) return 0;
    table = slm_realloc(table, n ? n : 1, 1, "fuzz", NULL);
    if (n) memcpy(table, data + 4, n);
    const struct slm_str text = {(const char *)data + 4 + n, size - 4 - n};
    struct slm_charsmap map;
    struct slm_error error = {0};
    if (slm_charsmap_open((struct slm_str){table, n}, "fuzz", &map, &error) == SLM_OK) {
        struct slm_buf longest = {0}, clusters = {0};
        slm_charsmap_apply(map, text, &longest);
        slm_charsmap_apply_clusters(map, text, &clusters);
        SLM_ASSERT(longest.len <= 256 * text.len && clusters.len <= 256 * text.len);
        slm_buf_release(&longest);
        slm_buf_release(&clusters);
    } else {
        SLM_ASSERT(error.message[0]);
    }
    slm_release(table);
    return 0;
}
