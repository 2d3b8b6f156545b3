/* SPDX-License-Identifier: MIT
 * What the rows of a tensor are, as numbers: codes decoded, and every scale applied, wherever the file keeps it: in the
 * blocks (quant/), in panels, behind the codes (I2_S), or in tensors of their own (folders). Whoever copies weights
 * into another form reads them through here and needs to know none of these. One product and one sum a weight, fused.
 *
 * Not for the token loop: a backend unpacks panels its own way from the same description. Deliberately not here: which
 * tensors belong together (hf_tensors.c). */
#include <math.h>
#include <string.h>

#include "base/os.h"
#include "format/gguf.h"
#include "quant/panel.h"

/* Element i of a tensor of floats. */
static float float_at(const struct slm_gguf_tensor *t, uint64_t i)
{
    float value;
    slm_dtypes[t->dtype].decode(t->data + i * slm_dtypes[t->dtype].block_bytes, &value, 1);
    return value;
}

float slm_tensor_scale(const struct slm_gguf_tensor *tensor)
{
    float scale = 1.0f;
    if (tensor->dtype == SLM_DTYPE_I2_S) /* behind the codes, four of them a byte */
        memcpy(&scale, tensor->data + tensor->n_elements / 4, sizeof scale);
    if (tensor->scales != NULL && tensor->group == 0) {
        scale = float_at(tensor->scales, 0);
        if (tensor->scale_divides) scale = 1.0f / scale;
    }
    return scale;
}

/* Two bits of every byte of a stored row; which two, says the row. */
static void read_plane(const struct slm_gguf_tensor *t, uint64_t row, uint64_t column, uint64_t n, float *dst)
{
    const uint64_t n_stored = t->dims[1] / 4;
    const unsigned char *bytes = t->data + row % n_stored * t->dims[0] + column;
    const unsigned shift = 2 * (unsigned)(row / n_stored);
    for (uint64_t i = 0; i < n; i++) dst[i] = (float)((bytes[i] >> shift & 3) - 1);
}

void slm_tensor_read(const struct slm_gguf_tensor *tensor, uint64_t row, uint64_t column, uint64_t n, float *dst)
{
    const struct slm_dtype_info *info = &slm_dtypes[tensor->dtype];
    if (tensor->packed) {
        const size_t k = (size_t)tensor->dims[0], panel_bytes = slm_pack_panel_bytes(tensor->dtype, k);
        SLM_ASSERT(column == 0 && n == k);
        slm_pack_read_row(tensor->dtype, tensor->data + row / SLM_PANEL_ROWS * panel_bytes, row % SLM_PANEL_ROWS, k,
                          dst);
        return;
    }
    const float scale = slm_tensor_scale(tensor);
    const bool whole = column % info->block == 0 && n % info->block == 0;
    SLM_ASSERT(tensor->data != NULL && (whole || tensor->planes));
    if (tensor->planes) read_plane(tensor, row, column, n, dst);
    else info->decode(tensor->data + (row * tensor->dims[0] + column) / info->block * info->block_bytes, dst, n);
    for (uint64_t i = 0; i < n && scale != 1.0f; i++) dst[i] *= scale;
    if (tensor->group == 0) return;
    for (const uint64_t n_groups = tensor->dims[0] / tensor->group, end = column + n; column < end;) {
        const uint64_t g = column / tensor->group, next = (g + 1) * tensor->group;
        const float s = float_at(tensor->scales, row * n_groups + g);
        const float b = float_at(tensor->biases, row * n_groups + g);
        for (; column < end && column < next; column++, dst++) *dst = fmaf(*dst, s, b);
    }
}

void slm_tensor_read_rows(const struct slm_gguf_tensor *tensor, uint64_t first, uint64_t n, float *dst)
{
    const uint64_t n_in = tensor->dims[0];
    for (uint64_t row = first; row < first + n; row++, dst += n_in) slm_tensor_read(tensor, row, 0, n_in, dst);
}

void slm_tensor_drop_rows(const struct slm_gguf *gguf, const struct slm_gguf_tensor *tensor, uint64_t first, uint64_t n)
{
    const struct slm_dtype_info *info = &slm_dtypes[tensor->dtype];
    const uint64_t n_in = tensor->dims[0], n_stored = tensor->planes ? tensor->dims[1] / 4 : UINT64_MAX;
    const uint64_t row_bytes = tensor->planes ? n_in : n_in / info->block * info->block_bytes;
    const struct slm_gguf_tensor *const sides[] = {tensor->scales, tensor->biases};
    if (tensor->packed) {
        const size_t panel_bytes = slm_pack_panel_bytes(tensor->dtype, (size_t)n_in);
        const uint64_t panel = first / SLM_PANEL_ROWS, end = (first + n) / SLM_PANEL_ROWS;
        slm_gguf_drop_bytes(gguf, tensor->data + panel * panel_bytes, (size_t)(end - panel) * panel_bytes);
        return;
    }
    for (int i = 0; i < 2 && tensor->group > 0; i++) {
        const uint64_t side_bytes = n_in / tensor->group * slm_dtypes[sides[i]->dtype].block_bytes;
        slm_gguf_drop_bytes(gguf, sides[i]->data + first * side_bytes, (size_t)(n * side_bytes));
    }
    for (uint64_t n_here; n > 0; first += n_here, n -= n_here) {
        const uint64_t row = first % n_stored, left = n_stored - row;
        n_here = n < left ? n : left;
        slm_gguf_drop_bytes(gguf, tensor->data + row * row_bytes, (size_t)(n_here * row_bytes));
    }
}
