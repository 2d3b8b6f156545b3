/* SPDX-License-Identifier: MIT
 * Hugging Face model folders, read into the same validated tables as GGUF files: config.json becomes metadata, the
 * safetensors files become tensors. So whatever binds, inspects or converts a model needs no second way to look.
 *
 * Metadata: numbers, strings, booleans and lists of them, under their JSON path with dots ("rope_scaling.factor").
 * generation_config.json is there too, under generation_config.
 * Two spellings of one thing become one: rope_parameters.X is rope_scaling.X (rope_theta inside it is rope_theta),
 * rope_scaling.type is rope_scaling.rope_type; text_config.X is what is found when X is asked for. An integer may be
 * asked for as a float: JSON writers drop ".0".
 *
 * Tensors: dims reversed to GGUF's order (dims[0] is contiguous), types F32, F16 and BF16; names as stored, except that
 * the language model inside a bigger one (images, sound) loses its prefix and is all there is. Quantized weights (MLX's
 * affine groups, packed ternary ones of BitNet) have the dims and the dtype of their codes and point at their scales.
 *
 * Never loaded: pickle files (.bin, .pt). Deliberately not here: tokenizer files, any meaning of keys and names. */
#ifndef SLM_FORMAT_HF_FOLDER_H
#define SLM_FORMAT_HF_FOLDER_H
#include "format/gguf.h"

/* Is this a folder with such a file in it ("config.json")? A folder that cannot be looked into counts, so that opening
 * it says why. */
bool slm_hf_is_folder(const char *path, const char *config);
/* Is it one for slm_hf_open? That may be to hear why not: a model in its makers' own format (params.json) counts. */
bool slm_hf_is_model(const char *path);
/* Opens config.json and model.safetensors, or the shards that model.safetensors.index.json names. Returns owned *out
 * (slm_gguf_close). */
slm_status slm_hf_open(const char *folder, struct slm_gguf **out, struct slm_error *error);
/* A smaller folder of the same kind (an adapter, a layer behind a model): one JSON object of settings and one
 * safetensors file (NULL: none), under these names. Returns owned *out. */
slm_status slm_hf_open_module(const char *folder, const char *config, const char *weights, struct slm_gguf **out,
                              struct slm_error *error);
/* What a tensor of a language model ("model.X") is called inside a model that does more: its name in that way, empty
 * where the way has none for it. False when there are no further ways. */
bool slm_hf_wrapped_name(size_t way, const char *name, char *out, size_t cap);
/* Is that such a name? */
bool slm_hf_is_wrapped(struct slm_str name);
/* May this name, out of a file, be opened: does it lie in the folder itself, unhidden? */
bool slm_hf_is_plain_name(struct slm_str name);
/* "folder/name" as a new string (slm_release), or NULL with the error filled. */
char *slm_hf_path(const char *folder, const char *name, struct slm_error *error);
/* Maps a whole file of the folder. Absent: *found = false and SLM_OK, when found is not NULL. */
slm_status slm_hf_map(const char *folder, const char *name, struct slm_map *out, bool *found, struct slm_error *error);

/* Parses one safetensors file: header only, data not touched. rows is released with slm_release; names point into the
 * file or, where they were escaped, into *names. Exposed for the fuzzer. */
slm_status slm_safetensors_parse(struct slm_str file, const char *where, struct slm_gguf_tensor **rows, size_t *n_rows,
                                 struct slm_error *error);
/* Appends configurations as the bytes of one GGUF file without tensors. Exposed for the fuzzer. */
struct slm_hf_config {
    struct slm_str json;
    const char *where, *prefix; /* keys become prefix.KEY, or KEY when it is empty */
};
slm_status slm_hf_config_to_gguf(const struct slm_hf_config *files, size_t n, struct slm_buf *out,
                                 struct slm_error *error);
#endif
