/* SPDX-License-Identifier: MIT
 * What the rows of a tensor are, as numbers: codes decoded, and every scale applied, wherever the file keeps it: in the
 * blocks (quant/), behind the codes (I2_S), or in tensors of their own (folders). Whoever copies weights into another
 * form reads them through here and needs to know none of these. One product and one sum a weight, fused.
 *
 * Not for the token loop: a backend unpacks panels its own way from the same description. Deliberately not here: which
 * tensors belong together (hf_tensors.c). */
#include <math.h>
#include <string.h>

#include "base/os.h"
#include "format/gguf.h"

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
static void read_plane(const struct slm_gguf_tensor *t, uint64_t row, float *dst)
{
    const uint64_t n_in = t->dims[0], n_stored = t->dims[1] / 4;
    const unsigned char *bytes = t->data + row % n_stored * n_in;
    const unsigned shift = 2 * (unsigned)(row / n_stored);
    for (uint64_t i = 0; i < n_in; i++) dst[i] = (float)((bytes[i] >> shift & 3) - 1);
}

void slm_tensor_read_rows(const struct slm_gguf_tensor *tensor, uint64_t first, uint64_t n, float *dst)
{
    const struct slm_dtype_info *info = &slm_dtypes[tensor->dtype];
    const uint64_t n_in = tensor->dims[0];
    const float scale = slm_tensor_scale(tensor);
    SLM_ASSERT(tensor->data != NULL);
    for (uint64_t row = first; row < first + n; row++, dst += n_in) {
        if (tensor->planes)
            read_plane(tensor, row, dst);
        else
            info->decode(tensor->data + row * (n_in / info->block * info->block_bytes), dst, n_in);
        for (uint64_t i = 0; i < n_in && scale != 1.0f; i++) dst[i] *= scale;
        if (tensor->group == 0) continue;
        const uint64_t n_groups = n_in / tensor->group;
        for (uint64_t g = 0; g < n_groups; g++) {
            const float s = float_at(tensor->scales, row * n_groups + g);
            const float b = float_at(tensor->biases, row * n_groups + g);
            for (float *x = dst + g * tensor->group; x < dst + (g + 1) * tensor->group; x++) *x = fmaf(*x, s, b);
        }
    }
}
