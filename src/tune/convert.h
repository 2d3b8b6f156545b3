/* SPDX-License-Identifier: MIT
 * What the files of a conversion share: a source lists the tensors of the new file and writes its keys; convert.c does
 * what is the same for all of them (types, splitting, room on the disk, files). Private to src/tune. */
#ifndef SLM_TUNE_CONVERT_H
#define SLM_TUNE_CONVERT_H
#include "base/arena.h"
#include "engine/embed_rules.h"
#include "tune/stream.h"

struct slm_conversion {
    const char *in;
    const struct slm_convert_options *options;
    struct slm_arena arena;
    struct slm_gguf *gguf;     /* what is read */
    struct slm_model *model;   /* folders only: it owns gguf then */
    struct slm_embed_rules rules; /* folders only: how it embeds; pooling 0 when it says nothing */
    struct slm_stream_tensor *tensors; /* [n_tensors], in arena; `to` is first what the source would write unasked */
    size_t n_tensors;
    int64_t n_head, n_head_kv, n_expert; /* of the model, as far as choosing types asks; 0 = not known, or none */
    uint32_t file_type;        /* general.file_type to write; SLM_FILE_TYPE_NONE = the source knows better */
    bool quantized;            /* a tensor is of a block format */
    const struct slm_encoders *encoders; /* NULL: values are rounded */
    /* What the caller decides: types (`to` of tensors and file_type), what errors weigh, keys of its own. The last two
     * may be NULL. */
    slm_status (*choose)(struct slm_conversion *c, struct slm_error *error);
    slm_status (*weigh)(struct slm_conversion *c, struct slm_error *error);
    slm_status (*write_keys)(struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error);
};
#define SLM_FILE_TYPE_NONE UINT32_MAX

/* ---- a source: two functions ---- */
struct slm_convert_source {
    /* Opens conversion->in and lists the tensors. */
    slm_status (*list)(struct slm_conversion *c, struct slm_error *error);
    /* Writes all keys but those about splitting. `to` of each tensor is final. */
    slm_status (*write_keys)(struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error);
};
extern const struct slm_convert_source slm_convert_folder, slm_convert_gguf;

/* From listing tensors to renamed files; releases what the conversion opened and allocated. */
slm_status slm_convert_run(struct slm_conversion *c, const char *out_path, struct slm_convert_result *result,
                           struct slm_error *error);
/* One rule over all tensors; an error when none has the name or none of them may change. */
slm_status slm_convert_apply_rule(struct slm_conversion *c, const struct slm_convert_rule *rule,
                                  struct slm_error *error);
/* Types that were chosen become types whose blocks fit the rows; says so by notes. */
void slm_convert_fit_types(struct slm_conversion *c);
/* The types that slm_quantize would give the tensors of this list, and nothing else: nothing is opened or noted. */
slm_status slm_quantize_choose(struct slm_conversion *listed, const char *type, struct slm_error *error);
/* general.file_type of a file whose matrices are mostly of this type; SLM_FILE_TYPE_NONE when it has no number. */
uint32_t slm_file_type(enum slm_dtype dtype);
/* The general.* keys of a model from a folder. */
slm_status slm_convert_write_general(struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error);
/* "750M", "1.7B": two digits at least. */
void slm_size_label(char out[16], uint64_t n_params);
/* What a model says of its licence, or "": the key of a GGUF file, the card of a folder. */
void slm_licence_of(const struct slm_model *model, char *out, size_t cap);
/* The value of a key in the YAML block a model card (README.md) begins with; empty when it is not plain text of one
 * line. A view into card. */
struct slm_str slm_card_value(struct slm_str card, const char *key);
#endif
