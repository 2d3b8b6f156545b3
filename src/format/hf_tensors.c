/* SPDX-License-Identifier: MIT
 * What a folder says about its tensors beyond one safetensors entry each: which of them are the language model, and
 * which belong together because a weight is kept as codes and scales.
 *
 *  - A model that also sees or hears wraps its language model: the names have one prefix more, and the towers stand
 *    beside it. Here the prefix goes, and so does what has none. Rows of a table, so that another wrapper is a line.
 *  - MLX's affine quantization: P.weight holds codes in 32-bit words, P.scales and P.biases a number for each group of
 *    a row; config.json states bits and group size, for all and, under the name P, for single ones.
 *  - BitNet's packed ternary weights: P.weight holds four rows in the bytes of one, P.weight_scale one number.
 *
 * Afterwards every tensor has the dims of its weights, and the scales are marked as side. Nothing is decoded or copied.
 * Every relation of sizes that reading relies on is checked here. Deliberately not here: reading (tensor_rows.c). */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "format/gguf_part.h"
#include "format/hf_folder.h"

/* ---- a model inside a model ------------------------------------------------------------------------------------ */

static const struct { const char *from, *to; } wrappers[] = {
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
    {"language_model.", "model."}, /* saved without a head */
    {"model.language_model.", "model."},
    {"model.text_model.", "model."},
};
enum { N_WRAPPERS = sizeof wrappers / sizeof *wrappers };

/* The row whose prefix the name has, or N_WRAPPERS. */
static size_t wrapper_of(struct slm_str name)
{
    size_t w = 0;
    for (; w < N_WRAPPERS; w++) {
        const size_t n = strlen(wrappers[w].from);
        if (name.len > n && memcmp(name.ptr, wrappers[w].from, n) == 0) break;
    }
    return w;
}

bool slm_hf_wrapped_name(size_t way, const char *name, char *out, size_t cap)
{
    if (way >= N_WRAPPERS) return false;
    const size_t n = strlen(wrappers[way].to);
    const bool fits = strncmp(name, wrappers[way].to, n) == 0;
    snprintf(out, cap, "%s%s", fits ? wrappers[way].from : "", fits ? name + n : "");
    return true;
}

bool slm_hf_is_wrapped(struct slm_str name) { return wrapper_of(name) < N_WRAPPERS; }

/* The part's tensors of the language model, in the same order, under their plain names; these lie in part->owned. */
static slm_status unwrap_part(struct slm_gguf_part *part, struct slm_error *error)
{
    struct slm_buf names = {0};
    size_t n = 0, at = 0;
    for (size_t i = 0; i < part->n_tensors; i++) {
        struct slm_gguf_tensor t = part->tensors[i];
        const size_t w = wrapper_of(t.name);
        const bool head = slm_str_starts_with(t.name, slm_str("lm_head.")) ||
                          slm_str_starts_with(t.name, slm_str("score.")); /* what ranks has this one */
        if (w == N_WRAPPERS && !head) continue;
        const size_t skip = w < N_WRAPPERS ? strlen(wrappers[w].from) : 0, before = names.len;
        if (w < N_WRAPPERS) slm_buf_puts(&names, wrappers[w].to);
        slm_buf_add(&names, t.name.ptr + skip, t.name.len - skip);
        t.name.len = names.len - before;
        part->tensors[n++] = t;
    }
    part->n_tensors = n;
    const slm_status status = slm_buf_status(&names, part->path, error);
    for (size_t i = 0; status == SLM_OK && i < n; i++) { /* only now: the buffer moved while it grew */
        part->tensors[i].name.ptr = names.data + at;
        at += part->tensors[i].name.len;
    }
    part->owned = names.data;
    return status;
}

slm_status slm_hf_unwrap(struct slm_gguf *gguf, struct slm_error *error)
{
    bool wrapped = false;
    for (size_t p = 1; p < gguf->n_parts; p++)
        for (size_t i = 0; i < gguf->parts[p].n_tensors && !wrapped; i++)
            wrapped = wrapper_of(gguf->parts[p].tensors[i].name) < N_WRAPPERS;
    for (size_t p = 1; p < gguf->n_parts && wrapped; p++) SLM_TRY(unwrap_part(&gguf->parts[p], error));
    return SLM_OK;
}

/* ---- weights and their scales ---------------------------------------------------------------------------------- */

/* "P.weight" and "scales" -> the tensor P.scales, or NULL. */
static struct slm_gguf_tensor *sibling(const struct slm_gguf *gguf, struct slm_str weight, const char *what)
{
    char name[SLM_HF_MAX_KEY + 32];
    const size_t stem = weight.len - strlen("weight"); /* with the dot */
    if (stem > SLM_HF_MAX_KEY) return NULL;
    (void)snprintf(name, sizeof name, "%.*s%s", (int)stem, weight.ptr, what);
    const struct slm_gguf_tensor *found = slm_gguf_find_tensor(gguf, slm_str(name));
    return found != NULL ? &gguf->tensors[found - gguf->tensors] : NULL; /* the same, ours to change */
}

static slm_status refuse(const struct slm_gguf *gguf, const struct slm_gguf_tensor *t, struct slm_error *error,
                         const char *why)
{
    char where[SLM_GGUF_WHERE_BYTES];
    slm_gguf_where(where, slm_gguf_name(gguf), "tensor", t->name);
    return slm_fail(error, SLM_ERR_FORMAT, where, "%s", why);
}

static bool is_float(const struct slm_gguf_tensor *t)
{
    return t->dtype == SLM_DTYPE_F32 || t->dtype == SLM_DTYPE_F16 || t->dtype == SLM_DTYPE_BF16;
}

static bool is_matrix(const struct slm_gguf_tensor *t) { return t->dims[2] == 1 && t->dims[3] == 1; }

/* "quantization.KEY", or for this weight alone "quantization.P.KEY". */
static slm_status setting(const struct slm_gguf *gguf, struct slm_str weight, const char *key, int64_t *out,
                          struct slm_error *error)
{
    char name[SLM_HF_MAX_KEY + 64];
    bool found = false;
    const size_t stem = weight.len - strlen("weight");
    if (stem < SLM_HF_MAX_KEY) {
        (void)snprintf(name, sizeof name, "quantization.%.*s%s", (int)stem, weight.ptr, key);
        SLM_TRY(slm_gguf_get_i64(gguf, name, 1, 1024, out, &found, error));
    }
    if (found) return SLM_OK;
    (void)snprintf(name, sizeof name, "quantization.%s", key);
    return slm_gguf_get_i64(gguf, name, 1, 1024, out, NULL, error);
}

/* Which code type has so many bits; NONE when MLX has no such width. */
static enum slm_dtype codes_of(int64_t bits)
{
    static const enum slm_dtype types[9] = {[2] = SLM_DTYPE_U2, [3] = SLM_DTYPE_U3, [4] = SLM_DTYPE_U4,
                                            [5] = SLM_DTYPE_U5, [6] = SLM_DTYPE_U6, [8] = SLM_DTYPE_U8};
    return bits >= 0 && bits <= 8 && types[bits] ? types[bits] : SLM_DTYPE_NONE;
}

/* Codes, scales and biases become one matrix. */
static slm_status link_groups(const struct slm_gguf *gguf, struct slm_gguf_tensor *t, struct slm_gguf_tensor *scales,
                              struct slm_gguf_tensor *biases, struct slm_error *error)
{
    struct slm_str mode = slm_str("affine");
    int64_t bits, group;
    bool found;
    SLM_TRY(slm_gguf_get_str(gguf, "quantization.mode", &mode, &found, error));
    if (!slm_str_is(mode, "affine") || biases == NULL)
        return refuse(gguf, t, error, "scales without biases, or a quantization.mode other than affine, are not read");
    SLM_TRY(setting(gguf, t->name, "bits", &bits, error));
    SLM_TRY(setting(gguf, t->name, "group_size", &group, error));
    if (codes_of(bits) == SLM_DTYPE_NONE || (group != 32 && group != 64 && group != 128))
        return refuse(gguf, t, error, "affine groups have 2, 3, 4, 5, 6 or 8 bits and 32, 64 or 128 elements");
    uint64_t n_bits;
    if (!is_matrix(t) || !slm_mul_u64(t->dims[0], 8, &n_bits) || n_bits % (uint64_t)bits != 0 ||
        n_bits / (uint64_t)bits % (uint64_t)group != 0)
        return refuse(gguf, t, error, "its rows are no whole number of groups");
    const uint64_t n_in = n_bits / (uint64_t)bits, n_groups = n_in / (uint64_t)group;
    const struct slm_gguf_tensor *const sides[] = {scales, biases};
    for (int i = 0; i < 2; i++)
        if (sides[i]->dims[0] != n_groups || sides[i]->dims[1] != t->dims[1] || !is_matrix(sides[i]) ||
            !is_float(sides[i]) || sides[i]->dtype != scales->dtype)
            return refuse(gguf, t, error, "its scales and biases must be floats of one type, one a group");
    t->dtype = codes_of(bits);
    t->dims[0] = n_in;
    t->n_elements = n_in * t->dims[1]; /* fits: no more than 4 times the bytes */
    t->group = (uint32_t)group;
    t->scales = scales;
    t->biases = biases;
    scales->side = biases->side = true;
    return SLM_OK;
}

/* One scale for the whole tensor; stored as bytes, four rows share each of them. */
static slm_status link_scale(const struct slm_gguf *gguf, struct slm_gguf_tensor *t, struct slm_gguf_tensor *scale,
                             struct slm_error *error)
{
    struct slm_str class_name = slm_str("bitlinear"); /* the one transformers takes when nothing is said */
    bool found;
    SLM_TRY(slm_gguf_get_str(gguf, "quantization_config.linear_class", &class_name, &found, error));
    if (scale->n_elements != 1 || !is_float(scale) || !is_matrix(t))
        return refuse(gguf, t, error, "its weight_scale must be one float");
    if (t->dtype == SLM_DTYPE_U8) {
        uint64_t n_out, n_elements;
        if (!slm_mul_u64(t->dims[1], 4, &n_out) || !slm_mul_u64(n_out, t->dims[0], &n_elements))
            return refuse(gguf, t, error, "its size overflows");
        t->dtype = SLM_DTYPE_U2;
        t->dims[1] = n_out;
        t->n_elements = n_elements;
        t->planes = true;
    }
    t->scales = scale;
    t->scale_divides = !slm_str_is(class_name, "autobitlinear");
    scale->side = true;
    return SLM_OK;
}

/* A weight without scales stays what it is. */
slm_status slm_hf_link(struct slm_gguf *gguf, struct slm_error *error)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct slm_gguf_tensor *t = &gguf->tensors[i];
        const size_t n = t->name.len;
        if (n < 8 || memcmp(t->name.ptr + n - 7, ".weight", 7) != 0) continue;
        struct slm_gguf_tensor *scales = sibling(gguf, t->name, "scales");
        struct slm_gguf_tensor *scale = sibling(gguf, t->name, "weight_scale");
        if (scales != NULL && t->dtype == SLM_DTYPE_U8)
            SLM_TRY(link_groups(gguf, t, scales, sibling(gguf, t->name, "biases"), error));
        else if (scale != NULL)
            SLM_TRY(link_scale(gguf, t, scale, error));
    }
    return SLM_OK;
}
