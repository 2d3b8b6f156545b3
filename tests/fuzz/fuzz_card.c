/* SPDX-License-Identifier: MIT
 * Fuzzer of model cards: any bytes as a README.md. What comes out lies in the input and is plain text of one line. */
#include <stdlib.h>
#include "base/error.h"
#include "tune/convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const keys[] = {"license", "license_name", "license_link"};
    const struct slm_str card = {(const char *)data, bytes};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct slm_str value = slm_card_value(card, keys[i]);
        SLM_ASSERT(value.len <= 200);
        SLM_ASSERT(value.len == 0 || (value.ptr > card.ptr && value.ptr + value.len <= card.ptr + card.len));
        for (size_t k = 0; k < value.len; k++) SLM_ASSERT(value.ptr[k] >= 0x20 && value.ptr[k] <= 0x7e);
    }
    return 0;
}
