/* SPDX-License-Identifier: MIT
 * The table of block formats and the look-ups in it. One row a type; everything that differs between types is in its
 * row, so nothing outside this folder ever switches on a type to know a size.
 * Deliberately not here: the formulas (decode_*.c, encode*.c) and anything about speed (src/kernel). */
#include "base/checked.h"
#include "quant/block.h"

/* Types this build can only read: the search for good K-quant scales is a module of its own. */
#define slm_quant_encode_Q2_K NULL
#define slm_quant_encode_Q3_K NULL
#define slm_quant_encode_Q4_K NULL
#define slm_quant_encode_Q5_K NULL
#define slm_quant_encode_Q6_K NULL
#define slm_quant_encode_IQ4_NL NULL
#define slm_quant_encode_IQ4_XS NULL
#define slm_quant_encode_I2_S NULL
#define slm_quant_encode_U2 NULL
#define slm_quant_encode_U3 NULL
#define slm_quant_encode_U4 NULL
#define slm_quant_encode_U5 NULL
#define slm_quant_encode_U6 NULL
#define slm_quant_encode_U8 NULL

const struct slm_dtype_info slm_dtypes[SLM_DTYPE_COUNT] = {
#define X(name, id, block, bytes) {#name, id, block, bytes, slm_quant_decode_##name, slm_quant_encode_##name},
    SLM_DTYPES(X)
    SLM_CODE_DTYPES(X)
#undef X
};

enum slm_dtype slm_dtype_from_gguf(uint32_t id)
{
    for (int i = 0; i < SLM_DTYPE_COUNT; i++)
        if (slm_dtypes[i].gguf_id == id && id != SLM_NO_GGUF_ID) return (enum slm_dtype)i;
    return SLM_DTYPE_NONE;
}

/* ASCII only, whatever the locale says. */
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

enum slm_dtype slm_dtype_from_name(const char *name)
{
    for (int i = 0; i < SLM_DTYPE_COUNT; i++) {
        const char *a = slm_dtypes[i].name, *b = name;
        while (*a && lower(*a) == lower(*b)) a++, b++;
        if (*a == 0 && *b == 0) return (enum slm_dtype)i;
    }
    return SLM_DTYPE_NONE;
}

bool slm_dtype_bytes(enum slm_dtype type, uint64_t n, uint64_t *bytes)
{
    SLM_ASSERT(type >= 0 && type < SLM_DTYPE_COUNT);
    const struct slm_dtype_info *info = &slm_dtypes[type];
    if (n % info->block != 0 || !slm_mul_u64(n / info->block, info->block_bytes, bytes)) return false;
    return type != SLM_DTYPE_I2_S || slm_add_u64(*bytes, SLM_I2_S_TAIL_BYTES, bytes);
}
