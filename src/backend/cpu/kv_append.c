/* SPDX-License-Identifier: MIT
 * KV_APPEND on the CPU: the keys and values of a token into its slot of the page, in the layout of backend.h. Keys are
 * scattered, because a vector of the kernels holds one element of many keys; the lines they go to are those that
 * attention reads next. In int8 a key has a scale for every 32 elements (Q8_0), a value one for the head, which
 * attention multiplies into the weight of the position: so products stay integers from one end of a page to the other.
 * Deliberately not here: reading (attention.c). */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "kernel/pack.h"
#include "quant/block.h"

#define PAGE SLM_KV_PAGE_TOKENS
#define PANEL ((size_t)SLM_PANEL_ROWS)

unsigned char *slm_cpu_kv_block(const struct slm_backend *cpu, size_t token, size_t page, uint32_t layer, bool value,
                                uint32_t head)
{
    const struct slm_kv_view *kv = cpu->batch->kv[token];
    SLM_ASSERT(page < kv->n_pages);
    return kv->pages[page] + slm_kv_offset(cpu->layout, layer, value, head);
}

static void put_key_f32(const struct slm_backend *cpu, unsigned char *block, const float *src, size_t dim, size_t slot)
{
    (void)cpu;
    float *dst = (float *)(void *)block + slot;
    for (size_t d = 0; d < dim; d++) dst[d * PAGE] = src[d];
}

static void put_value_f32(const struct slm_backend *cpu, unsigned char *block, const float *src, size_t dim,
                          size_t slot)
{
    (void)cpu;
    memcpy((float *)(void *)block + slot * dim, src, dim * sizeof(float));
}

static void put_key_f16(const struct slm_backend *cpu, unsigned char *block, const float *src, size_t dim, size_t slot)
{
    enum { N = 64 };
    uint16_t half[N], *dst = (uint16_t *)(void *)block + slot;
    for (size_t first = 0; first < dim; first += N) {
        const size_t n = dim - first < N ? dim - first : N;
        cpu->kernels.f32_to_f16(half, src + first, n);
        for (size_t d = 0; d < n; d++) dst[(first + d) * PAGE] = half[d];
    }
}

static void put_value_f16(const struct slm_backend *cpu, unsigned char *block, const float *src, size_t dim,
                          size_t slot)
{
    cpu->kernels.f32_to_f16((uint16_t *)(void *)block + slot * dim, src, dim);
}

/* Row slot % 16 of panel slot / 16, group by group of 256 elements: halves of scales, then units of four codes. */
static void put_key_i8(const struct slm_backend *cpu, unsigned char *block, const float *src, size_t dim, size_t slot)
{
    float coded[SLM_GROUP / SLM_BLOCK * 15]; /* an A8 row takes 60 bytes for 32 elements */
    const size_t row = slot % PANEL, unit_bytes = PANEL * 4;
    unsigned char *panel = block + slot / PANEL * slm_pack_panel_bytes(SLM_DTYPE_Q8_0, dim);
    for (size_t first = 0; first < dim; first += SLM_GROUP) {
        const size_t n = dim - first < SLM_GROUP ? dim - first : SLM_GROUP, n_blocks = n / SLM_BLOCK;
        cpu->kernels.encode_a8(coded, src + first, 0, n, n);
        const struct slm_a8 a = slm_a8_row(coded, n);
        for (size_t b = 0; b < n_blocks; b++)
            cpu->kernels.f32_to_f16((uint16_t *)(void *)(panel + b * PANEL * 2) + row, &a.d[b], 1);
        panel += slm_pack_scale_bytes(SLM_SCALES_F16, n_blocks);
        for (size_t j = 0; j < n / 4; j++, panel += unit_bytes) {
            uint32_t codes;
            memcpy(&codes, a.q + 4 * j, sizeof codes);
            codes ^= 0x80808080u; /* panels hold unsigned codes with zero at 128 */
            memcpy(panel + 4 * row, &codes, sizeof codes);
        }
    }
}

/* A value that no code can stand for (an infinity or NaN) makes the scale NaN, and so everything that sees it. */
static void put_value_i8(const struct slm_backend *cpu, unsigned char *block, const float *src, size_t dim, size_t slot)
{
    float codes[SLM_KV_INT8_DIM];
    float scale = 1.0f / cpu->kernels.quantize(codes, src, dim);
    int8_t *dst = (int8_t *)block + slot / 4 * dim * 4 + slot % 4;
    for (size_t d = 0; d < dim; d++) {
        const bool coded = codes[d] >= -127.0f && codes[d] <= 127.0f;
        dst[4 * d] = coded ? (int8_t)codes[d] : 0;
        if (!coded) scale = NAN;
    }
    memcpy(block + PAGE * dim + slot * sizeof scale, &scale, sizeof scale);
}

/* One row a cache type. */
typedef void (*put_fn)(const struct slm_backend *cpu, unsigned char *block, const float *src, size_t dim, size_t slot);
static const struct { put_fn key, value; } put[SLM_DTYPE_COUNT] = {
    [SLM_DTYPE_F32] = {put_key_f32, put_value_f32},
    [SLM_DTYPE_F16] = {put_key_f16, put_value_f16},
    [SLM_DTYPE_Q8_0] = {put_key_i8, put_value_i8},
};

void slm_cpu_kv_append(const struct slm_backend *cpu, const struct slm_op *op, size_t row)
{
    const uint32_t position = cpu->batch->positions[row], layer = (uint32_t)op->layer;
    const size_t dim = op->head_dim, width = dim * op->n_head_kv, slot = position % PAGE, page = position / PAGE;
    const float *keys = slm_cpu_rows(cpu, op->in[0]) + row * width;
    const float *values = slm_cpu_rows(cpu, op->in[1]) + row * width;
    for (uint32_t h = 0; h < op->n_head_kv; h++) {
        put[cpu->layout->dtype].key(cpu, slm_cpu_kv_block(cpu, row, page, layer, false, h), keys + h * dim, dim, slot);
        put[cpu->layout->dtype].value(cpu, slm_cpu_kv_block(cpu, row, page, layer, true, h), values + h * dim, dim,
                                      slot);
    }
}
