/* SPDX-License-Identifier: MIT
 * Weights that were trained to be -s, 0 or s, one s a matrix (BitNet b1.58), come in many forms: floats that are
 * ternary already, floats that have yet to be rounded, two bits in several orders, scales in blocks, behind the codes
 * or in tensors of their own. All of them are read once when the model is opened, which finds s, and what cannot be
 * ternary. Two-bit and base-3 codes, which most files hold, then stay where they are: backends pack them from there.
 * The others become one form: TQ2_0 blocks in the model's arena, rows padded to whole blocks with zeros. Their file's
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
#include "quant/block.h"

enum { BLOCK = 256, BLOCK_BYTES = 66, CODE_BYTES = 64 };

static size_t blocks_of(uint64_t n_in) { return ((size_t)n_in + BLOCK - 1) / BLOCK; }

bool slm_ternary_trained(const struct slm_model *model)
{
    struct slm_str method = {0};
    bool found = false;
    /* Without a file it is a shape, whose matrices are written ternary. */
    if (!model->gguf || !slm_gguf_is_hf(model->gguf)) return true;
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

/* A row, and now and then the pages of the rows before it go: matrices may be larger than the memory there is. */
static void read_row(const struct slm_model *model, const struct slm_gguf_tensor *t, uint64_t r, float *row)
{
    enum { ROWS = 512 };
    slm_tensor_read_rows(t, r, 1, row);
    /* One row more than the last time: its page was in use then. */
    if ((r + 1) % ROWS == 0 || r + 1 == t->dims[1])
        slm_tensor_drop_rows(model->gguf, t, r < ROWS ? 0 : r - ROWS, r < ROWS ? r + 1 : ROWS + 1);
}

/* The greatest and the mean magnitude. */
static void measure(const struct slm_model *model, const struct slm_gguf_tensor *t, float *row, float *most,
                    float *mean)
{
    double sum = 0;
    *most = 0;
    for (uint64_t r = 0; r < t->dims[1]; r++) {
        float row_sum = 0;
        read_row(model, t, r, row);
        for (uint64_t i = 0; i < t->dims[0]; i++) {
            const float magnitude = fabsf(row[i]);
            row_sum += magnitude;
            *most = magnitude > *most ? magnitude : *most;
        }
        sum += (double)row_sum;
    }
    *mean = (float)(sum / (double)t->n_elements);
}

/* Are all elements zero or of this magnitude? */
static bool is_ternary(const float *row, size_t n, float magnitude)
{
    bool ternary = true;
    for (size_t i = 0; i < n; i++) ternary &= row[i] == 0 || fabsf(row[i]) == magnitude;
    return ternary;
}

void slm_ternary_sort(const struct slm_ternary_rule *rule, float *x, size_t n)
{
    const float inverse = rule->inverse;
    if (inverse == 0)
        for (size_t i = 0; i < n; i++) x[i] = x[i] > 0 ? 1.0f : x[i] < 0 ? -1.0f : 0.0f;
    for (size_t i = 0; i < n && inverse != 0; i++) {
        const float w = x[i] * inverse;
        x[i] = w > 0.5f ? 1.0f : w < -0.5f ? -1.0f : 0.0f; /* halves go to the even number, 0 */
    }
}

/* TQ2_0: half a block, 128 elements, is 32 bytes; bits 2s of them are its elements 32s .. 32s + 31. */
static void pack_row(const float *codes, size_t n_blocks, unsigned char *out)
{
    for (size_t b = 0; b < n_blocks; b++, codes += BLOCK, out += BLOCK_BYTES) {
        for (int j = 0; j < CODE_BYTES; j++) {
            const float *first = codes + j / 32 * 128 + j % 32;
            unsigned byte = 0;
            for (unsigned k = 0; k < 4; k++) byte |= (unsigned)(first[32 * k] + 1.0f) << (2 * k);
            out[j] = (unsigned char)byte;
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

static slm_status not_ternary(const struct slm_model *model, const struct slm_weight *w, struct slm_error *error)
{
    return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                    "tensor '%s' must hold one finite magnitude and zeros: these weights are ternary", w->name);
}

/* Finds the rule, checks that it holds for every row, and packs the rows into data where that is not NULL. */
static slm_status walk(const struct slm_model *model, const struct slm_gguf_tensor *t, const struct slm_weight *w,
                       unsigned char *data, struct slm_ternary_rule *rule, struct slm_error *error)
{
    const size_t n_blocks = blocks_of(t->dims[0]), n_in = (size_t)t->dims[0];
    float *row = slm_alloc(n_blocks * BLOCK, sizeof *row, w->name, error), most, mean;
    if (!row) return SLM_ERR_MEMORY;
    const bool online = is_online(model, t);
    bool ternary = true;
    measure(model, t, row, &most, &mean);
    rule->inverse = online ? 1.0f / (mean > 1e-5f ? mean : 1e-5f) : 0.0f;
    rule->scale = online ? 1.0f / rule->inverse : most;
    for (uint64_t r = 0; r < t->dims[1] && ternary; r++) {
        read_row(model, t, r, row);
        ternary = online || is_ternary(row, n_in, most);
        if (!data) continue;
        slm_ternary_sort(rule, row, n_in);
        for (size_t i = n_in; i < n_blocks * BLOCK; i++) row[i] = 0;
        pack_row(row, n_blocks, data + r * n_blocks * BLOCK_BYTES);
    }
    slm_release(row);
    SLM_TRY(side_scale(model, w, &rule->scale, error));
    if (!ternary || !isfinite(mean) || !isfinite(rule->scale))
        return not_ternary(model, w, error);
    if (rule->scale == 0) rule->scale = 1.0f; /* all weights are zero: any scale does */
    return SLM_OK;
}

slm_status slm_ternary_find_rule(const struct slm_model *model, const struct slm_gguf_tensor *t,
                                 const struct slm_weight *w, struct slm_ternary_rule *rule, struct slm_error *error)
{
    return walk(model, t, w, NULL, rule, error);
}

/* Whether two-bit codes are all 0, 1 or 2. */
static bool has_no_threes(const unsigned char *codes, size_t n)
{
    unsigned char threes = 0;
    for (size_t i = 0; i < n; i++) threes |= (unsigned char)(codes[i] & codes[i] >> 1);
    return (threes & 0x55) == 0;
}

/* Superblocks of one positive scale, and codes that TQ1_0 cannot have any others than. */
static bool find_block_scale(const struct slm_gguf_tensor *t, float *scale)
{
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    const size_t at = info->block_bytes - 2; /* the f16 d is last in both */
    bool same = true;
    for (const unsigned char *b = t->data, *end = b + t->n_elements / BLOCK * info->block_bytes; b < end;
         b += info->block_bytes)
        same &= memcmp(b + at, t->data + at, 2) == 0 && (t->dtype == SLM_DTYPE_TQ1_0 || has_no_threes(b, CODE_BYTES));
    *scale = slm_block_f16(t->data + at);
    return same;
}

/* Matrices that stand in the file as -s, 0 and s need no other form: most files are like that. */
static bool find_stored_scale(const struct slm_gguf_tensor *t, float *scale)
{
    if (t->scales || t->packed) return false;
    if (t->dtype == SLM_DTYPE_I2_S) {
        *scale = slm_tensor_scale(t);
        if (!has_no_threes(t->data, (size_t)t->n_elements / 4)) return false;
    } else if (t->dtype != SLM_DTYPE_TQ1_0 && t->dtype != SLM_DTYPE_TQ2_0) {
        return false;
    } else if (!find_block_scale(t, scale)) {
        return false;
    }
    return *scale > 0 && isfinite(*scale);
}

static slm_status as_in_file(const struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out,
                             struct slm_error *error)
{
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    out->data = t->data;
    out->dtype = t->dtype;
    out->row_bytes = (size_t)(t->dims[0] / info->block * info->block_bytes);
    SLM_TRY(side_scale(model, out, &out->ternary_scale, error));
    return out->ternary_scale != 0 && isfinite(out->ternary_scale) ? SLM_OK : not_ternary(model, out, error);
}

slm_status slm_ternary_bind(struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out,
                            struct slm_error *error)
{
    struct slm_ternary_rule rule = {.scale = 1.0f};
    const size_t n_blocks = blocks_of(t->dims[0]);
    if (model->as_stored) {
        out->data = t->data;
        out->dtype = t->dtype;
    } else if (find_stored_scale(t, &out->ternary_scale)) {
        return as_in_file(model, t, out, error);
    } else {
        unsigned char *data = slm_arena_alloc(&model->arena, t->dims[1], n_blocks * BLOCK_BYTES, out->name, error);
        if (!data) return SLM_ERR_MEMORY;
        SLM_TRY(walk(model, t, out, data, &rule, error));
        out->data = data;
        out->dtype = SLM_DTYPE_TQ2_0;
        out->row_bytes = n_blocks * BLOCK_BYTES;
    }
    out->ternary_scale = rule.scale;
    return SLM_OK;
}
