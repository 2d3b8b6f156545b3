/* SPDX-License-Identifier: MIT
 * The operations of src/kernel/x86/amx.h in plain C, for the test of the kernels that use them: what the manual says
 * the instructions do, and every condition under which they would fault as an assertion. */
#ifndef AMX_EMULATED_H
#define AMX_EMULATED_H
#include "base/error.h"
#include "kernel/simd.h"

struct amx_shapes {
    uint8_t palette, start, reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
};

static _Thread_local struct {
    struct amx_shapes shapes;
    uint8_t tile[8][16][64];
} amx;

/* Palette 1: eight tiles of up to 16 lines of 64 bytes. A tile has both sizes or neither, the others have none. */
ALWAYS_INLINE void amx_shape(const struct amx_shapes *shapes)
{
    static const uint8_t zeros[14];
    SLM_ASSERT(shapes->palette == 1 && shapes->start == 0 && memcmp(shapes->reserved, zeros, 14) == 0);
    for (int i = 0; i < 16; i++) {
        SLM_ASSERT(shapes->lines[i] <= 16 && shapes->line_bytes[i] <= 64);
        SLM_ASSERT((shapes->lines[i] == 0) == (shapes->line_bytes[i] == 0));
        SLM_ASSERT(i < 8 || shapes->lines[i] == 0);
    }
    memset(&amx, 0, sizeof amx);
    amx.shapes = *shapes;
}

ALWAYS_INLINE void amx_release(void) { memset(&amx, 0, sizeof amx); }

static inline void amx_load(int i, const uint8_t *p, size_t stride)
{
    SLM_ASSERT(amx.shapes.palette == 1 && amx.shapes.lines[i] > 0);
    memset(amx.tile[i], 0, sizeof amx.tile[i]);
    for (size_t line = 0; line < amx.shapes.lines[i]; line++)
        memcpy(amx.tile[i][line], p + line * stride, amx.shapes.line_bytes[i]);
}

/* tdpbssd of sums c, lines a (tokens) and b (weights). */
static inline void amx_products(int c, int a, int b)
{
    const struct amx_shapes *s = &amx.shapes;
    SLM_ASSERT(s->lines[c] == s->lines[a] && s->line_bytes[c] == s->line_bytes[b]);
    SLM_ASSERT(s->line_bytes[a] % 4 == 0 && s->line_bytes[b] % 4 == 0 && s->line_bytes[a] / 4 == s->lines[b]);
    for (size_t m = 0; m < s->lines[a]; m++)
        for (size_t n = 0; n < s->line_bytes[b] / 4u; n++) {
            int32_t sum;
            memcpy(&sum, &amx.tile[c][m][4 * n], 4);
            for (size_t k = 0; k < s->lines[b]; k++)
                for (size_t i = 0; i < 4; i++)
                    sum += (int8_t)amx.tile[a][m][4 * k + i] * (int8_t)amx.tile[b][k][4 * n + i];
            memcpy(&amx.tile[c][m][4 * n], &sum, 4);
        }
}

ALWAYS_INLINE void amx_multiply(int i, const void *x, size_t x_stride, const void *w, size_t w_stride)
{
    memset(amx.tile[i], 0, sizeof amx.tile[i]);
    amx_load(2 + i, x, x_stride);
    amx_load(4 + i, w, w_stride);
    amx_products(i, 2 + i, 4 + i);
}

ALWAYS_INLINE void amx_store(int i, int32_t *sums)
{
    SLM_ASSERT(amx.shapes.palette == 1 && amx.shapes.lines[i] > 0);
    for (size_t line = 0; line < amx.shapes.lines[i]; line++)
        memcpy(sums + 16 * line, amx.tile[i][line], amx.shapes.line_bytes[i]);
}
#endif
