/* SPDX-License-Identifier: MIT
 * The few instructions of AMX that tile_amx.h is written in. They are here, and functions, so that a test can put
 * plain C in their place (AMX_OPERATIONS): few machines have tiles, and none of ours.
 *
 * A tile is up to 16 lines of up to 64 bytes. Tiles 0 and 1 are sums, 2 and 3 activations, 4 and 5 weights. */
#ifndef SLM_KERNEL_X86_AMX_H
#define SLM_KERNEL_X86_AMX_H
#include <immintrin.h>
#include "kernel/simd.h"

/* Shapes of all tiles, as ldtilecfg reads them; then tiles are zero. */
struct amx_shapes {
    uint8_t palette, start, reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
};
_Static_assert(sizeof(struct amx_shapes) == 64, "as the instruction reads it");

ALWAYS_INLINE void amx_shape(const struct amx_shapes *shapes) { _tile_loadconfig(shapes); }
ALWAYS_INLINE void amx_release(void) { _tile_release(); }

/* Sums `i` (0 or 1) = activations i times weights i: line t, lane r = the sum over all k of x[t][k] * w[k / 4][4 r +
 * k % 4], both signed. Lines of x lie x_stride bytes apart, those of w w_stride. The sums go to `sums`, 64 bytes a
 * line. Numbers of tiles are part of an instruction, so two of these functions become one another's echo. */
ALWAYS_INLINE void amx_multiply(int i, const void *x, size_t x_stride, const void *w, size_t w_stride)
{
    if (i == 0) {
        _tile_zero(0);
        _tile_loadd(2, x, (long)x_stride);
        _tile_loadd(4, w, (long)w_stride);
        _tile_dpbssd(0, 2, 4);
    } else {
        _tile_zero(1);
        _tile_loadd(3, x, (long)x_stride);
        _tile_loadd(5, w, (long)w_stride);
        _tile_dpbssd(1, 3, 5);
    }
}
ALWAYS_INLINE void amx_store(int i, int32_t *sums)
{
    if (i == 0) _tile_stored(0, sums, 64);
    else _tile_stored(1, sums, 64);
}
#endif
