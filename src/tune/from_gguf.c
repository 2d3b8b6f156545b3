/* SPDX-License-Identifier: MIT
 * A GGUF file, or the files of a split one, as the source of a conversion: every key and tensor is taken over, of any
 * architecture. Only what the conversion itself decides is left out: how the model is split, and where its types
 * change, the keys that tell of them.
 *
 * Which tensors have types that can be chosen is known by their names, as llama.cpp's quantizer knows it: matrices
 * called `.weight`, but for small ones that models do not survive the rounding of. */
#include "tune/convert.h"

/* In the name of a matrix that stays as it is. */
static const char *const keep[] = {
    "_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d", "shortconv.conv", "time_mix_", "attn_rel_b", "position_embd",
    "token_types", "altup", "laurel", "per_layer_model_proj",
};

static bool contains(struct slm_str text, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= text.len; i++)
        if (memcmp(text.ptr + i, part, n) == 0) return true;
    return false;
}

static bool is_fixed(const struct slm_gguf_tensor *t)
{
    const struct slm_str end = slm_str(".weight");
    if (t->n_dims < 2 || t->name.len < end.len) return true;
    if (memcmp(t->name.ptr + t->name.len - end.len, end.ptr, end.len) != 0) return true;
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
        if (contains(t->name, keep[i])) return true;
    return false;
}

static slm_status list(struct slm_conversion *c, struct slm_error *error)
{
    SLM_TRY(slm_gguf_open(c->in, NULL, &c->gguf, error));
    c->n_tensors = slm_gguf_n_tensors(c->gguf);
    c->tensors = slm_arena_alloc(&c->arena, c->n_tensors ? c->n_tensors : 1, sizeof *c->tensors, c->in, error);
    if (!c->tensors) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(c->gguf, i);
        struct slm_stream_tensor *out = &c->tensors[i];
        if (t->packed)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, c->in,
                            "tensor '%.*s' is packed; convert the file that this one was made from",
                            (int)(t->name.len < 80 ? t->name.len : 80), t->name.ptr);
        const struct slm_stream_part all = {.data = t->data, .n_rows = t->n_elements / t->dims[0], .tensor = t};
        *out = (struct slm_stream_tensor){.name = t->name, .n_dims = t->n_dims, .from = t->dtype, .to = t->dtype,
                                          .fixed = is_fixed(t), .n_parts = 1, .gain = 1.0f, .parts = {all}};
        out->ternary = !out->fixed && slm_str_starts_with(t->name, slm_str("blk."));
        memcpy(out->dims, t->dims, sizeof out->dims);
    }
    return SLM_OK;
}

static const char FILE_TYPE[] = "general.file_type", VERSION[] = "general.quantization_version";

/* In the order of the file; what the types decide keeps its place, so that splitting and merging give the same bytes.
 */
static slm_status write_keys(struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error)
{
    for (size_t i = 0; i < slm_gguf_n_kv(c->gguf); i++) {
        const struct slm_gguf_kv *kv = slm_gguf_kv_at(c->gguf, i);
        const bool dropped =
            slm_str_starts_with(kv->key, slm_str("split.")) || slm_str_is(kv->key, "general.alignment") ||
            (c->encoders && slm_str_starts_with(kv->key, slm_str("quantize.imatrix."))); /* tell of other scales */
        if (slm_str_is(kv->key, FILE_TYPE) && c->file_type != SLM_FILE_TYPE_NONE)
            SLM_TRY(slm_gguf_write_i64(w, FILE_TYPE, SLM_GGUF_U32, c->file_type, error));
        else if (!dropped)
            SLM_TRY(slm_gguf_write_kv(w, kv, error));
    }
    if (c->file_type != SLM_FILE_TYPE_NONE && !slm_gguf_find(c->gguf, FILE_TYPE))
        SLM_TRY(slm_gguf_write_i64(w, FILE_TYPE, SLM_GGUF_U32, c->file_type, error));
    return c->quantized && !slm_gguf_find(c->gguf, VERSION)
               ? slm_gguf_write_i64(w, VERSION, SLM_GGUF_U32, 2, error) : SLM_OK;
}

const struct slm_convert_source slm_convert_gguf = {.list = list, .write_keys = write_keys};
