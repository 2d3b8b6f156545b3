/* SPDX-License-Identifier: MIT
 * Weights that were trained to be -s, 0 or s, one s a matrix (BitNet b1.58), come in many forms: floats that are
 * ternary already, floats that have yet to be rounded, two bits in several orders, scales in blocks, behind the codes
 * or in tensors of their own. All of them are read once when the model is opened and become one form: TQ2_0 blocks of
 * scale 1 in the model's arena, rows padded to whole blocks with zeros, and s beside them. So backends know one kind of
 * ternary matrix, its products with int8 activations are integers, and what cannot be ternary is found here. The file's
 * pages are let go, so the model takes a quarter byte a weight, whatever the file.
 *
 * Rounding ("online": the file holds the weights training worked on) is that of transformers: s is the mean magnitude,
 * codes are w / s rounded, ties to even, and cut off at 1.
 *
 * Deliberately not here: how the forms are read (format/tensor_rows.c), and the activations (QUANTIZE in plan/op.h). */
#include "model/ternary.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/fmath.h"
#include "base/os.h"

enum { BLOCK = 256, BLOCK_BYTES = 66, CODE_BYTES = 64 };

bool slm_ternary_trained(const struct slm_model *model)
{
    struct slm_str method = {0};
    bool found = false;
    if (!slm_gguf_is_hf(model->gguf)) return true;
    return slm_gguf_get_str(model->gguf, "quantization_config.quant_method", &method, &found, NULL) == SLM_OK &&
           found && slm_str_is(method, "bitnet");
}

/* Do the floats of the file have yet to be rounded? */
static bool is_online(const struct slm_model *model, const struct slm_gguf_tensor *t)
{
    struct slm_str mode = {0};
    bool found = false;
    return !t->scales && t->dtype < SLM_DTYPE_I2_S && slm_gguf_is_hf(model->gguf) &&
           slm_gguf_get_str(model->gguf, "quantization_config.quantization_mode", &mode, &found, NULL) == SLM_OK &&
           found && slm_str_is(mode, "online");
}

/* The greatest and the mean magnitude. */
static void measure(const struct slm_gguf_tensor *t, float *row, float *most, float *mean)
{
    double sum = 0;
    *most = 0;
    for (uint64_t r = 0; r < t->dims[1]; r++) {
        float row_sum = 0;
        slm_tensor_read_rows(t, r, 1, row);
        for (uint64_t i = 0; i < t->dims[0]; i++) {
            const float magnitude = fabsf(row[i]);
            row_sum += magnitude;
            *most = magnitude > *most ? magnitude : *most;
        }
        sum += (double)row_sum;
    }
    *mean = (float)(sum / (double)t->n_elements);
}

/* Codes 0, 1, 2 for -1, 0, 1 in place of the row: rounded after multiplying with inverse, */
static void round_row(float *row, size_t n, float inverse)
{
    for (size_t i = 0; i < n; i++) {
        const float w = row[i] * inverse;
        row[i] = w > 0.5f ? 2.0f : w < -0.5f ? 0.0f : 1.0f; /* halves go to the even number, 0 */
    }
}

/* or taken as they are: false when one is neither 0 nor of this magnitude. */
static bool sort_row(float *row, size_t n, float magnitude)
{
    bool ternary = true;
    for (size_t i = 0; i < n; i++) {
        const float w = row[i];
        ternary &= w == 0 || fabsf(w) == magnitude;
        row[i] = w > 0 ? 2.0f : w < 0 ? 0.0f : 1.0f;
    }
    return ternary;
}

/* TQ2_0: half a block, 128 elements, is 32 bytes; bits 2s of them are its elements 32s .. 32s + 31. */
static void pack_row(const float *codes, size_t n_blocks, unsigned char *out)
{
    for (size_t b = 0; b < n_blocks; b++, codes += BLOCK, out += BLOCK_BYTES) {
        for (int j = 0; j < CODE_BYTES; j++) {
            const float *first = codes + j / 32 * 128 + j % 32;
            out[j] = (unsigned char)((unsigned)first[0] | (unsigned)first[32] << 2 | (unsigned)first[64] << 4 |
                                     (unsigned)first[96] << 6);
        }
        out[CODE_BYTES] = 0x00; /* 1.0 as f16 */
        out[CODE_BYTES + 1] = 0x3c;
    }
}

/* A factor that some writers keep beside the matrix: P.scale for P.weight. */
static slm_status side_scale(const struct slm_model *model, const struct slm_weight *w, float *scale,
                             struct slm_error *error)
{
    char name[256];
    const size_t stem = strlen(w->name) < sizeof "weight" ? 0 : strlen(w->name) - strlen("weight");
    snprintf(name, sizeof name, "%.*sscale", (int)stem, w->name);
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(model->gguf, slm_str(name));
    if (!t) return SLM_OK;
    if (t->n_elements != 1 || t->dtype != SLM_DTYPE_F32)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf), "tensor '%s' must be one F32", name);
    float factor;
    slm_tensor_read_rows(t, 0, 1, &factor);
    *scale *= factor;
    return SLM_OK;
}

static slm_status repack(struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out, float *row,
                         struct slm_error *error)
{
    const bool online = is_online(model, t);
    const size_t n_blocks = ((size_t)t->dims[0] + BLOCK - 1) / BLOCK;
    float most, mean;
    measure(t, row, &most, &mean);
    const float inverse = 1.0f / (mean > 1e-5f ? mean : 1e-5f);
    unsigned char *data = slm_arena_alloc(&model->arena, t->dims[1], n_blocks * BLOCK_BYTES, out->name, error);
    if (!data) return SLM_ERR_MEMORY;
    bool ternary = true;
    for (size_t i = t->dims[0]; i < n_blocks * BLOCK; i++) row[i] = 1.0f; /* code of 0 */
    for (uint64_t r = 0; r < t->dims[1] && ternary; r++) {
        slm_tensor_read_rows(t, r, 1, row);
        if (online) round_row(row, t->dims[0], inverse);
        else ternary = sort_row(row, t->dims[0], most);
        pack_row(row, n_blocks, data + r * n_blocks * BLOCK_BYTES);
    }
    out->ternary_scale = online ? 1.0f / inverse : most;
    SLM_TRY(side_scale(model, out, &out->ternary_scale, error));
    if (!ternary || !isfinite(mean) || !isfinite(out->ternary_scale))
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                        "tensor '%s' must hold one finite magnitude and zeros: these weights are ternary", out->name);
    if (out->ternary_scale == 0) out->ternary_scale = 1.0f; /* all weights are zero: any scale does */
    slm_gguf_drop_bytes(model->gguf, t->data, (size_t)t->bytes);
    out->data = data;
    out->dtype = SLM_DTYPE_TQ2_0;
    out->row_bytes = n_blocks * BLOCK_BYTES;
    return SLM_OK;
}

slm_status slm_ternary_bind(struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out,
                            struct slm_error *error)
{
    float *row = slm_alloc(((size_t)t->dims[0] + BLOCK - 1) / BLOCK * BLOCK, sizeof *row, out->name, error);
    if (!row) return SLM_ERR_MEMORY;
    const slm_status status = repack(model, t, out, row, error);
    slm_release(row);
    return status;
}
