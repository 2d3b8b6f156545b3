/* SPDX-License-Identifier: MIT
 * Fuzzer of metrics: any text. Samples lie in it, have the names that the format allows, and no question about them
 * leads outside of it. */
#include <math.h>

#include "serve/scrape.h"

static bool lies_in(struct slm_str part, const struct slm_buf *text)
{
    return part.len == 0 || (part.ptr >= text->data && part.ptr + part.len <= text->data + text->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slm_buf text = {0};
    struct slm_scrape scrape;
    struct slm_error error;
    if (bytes == 0 || bytes > 8192) return 0;
    slm_buf_add(&text, data, bytes);
    if (slm_scrape_read(&text, &scrape, &error) != SLM_OK) return 0;
    for (size_t i = 0; i < scrape.n; i++) {
        const struct slm_sample *s = &scrape.samples[i];
        char name[64];
        SLM_ASSERT(s->name.len > 0 && lies_in(s->name, &scrape.text) && lies_in(s->labels, &scrape.text));
        if (s->name.len >= sizeof name) continue;
        memcpy(name, s->name.ptr, s->name.len);
        name[s->name.len] = '\0';
        const double sum = slm_scrape_sum(&scrape, name);
        SLM_ASSERT(scrape.n > 1 || sum == s->value || isnan(s->value));
        slm_scrape_where(&scrape, name, "le", "1");
        if (s->name.len > 7) name[s->name.len - 7] = '\0'; /* without "_bucket" */
        slm_scrape_quantile(NULL, &scrape, name, .5);
        slm_scrape_quantile(&scrape, &scrape, name, .99);
    }
    slm_scrape_release(&scrape);
    return 0;
}
