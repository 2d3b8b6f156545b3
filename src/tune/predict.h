/* SPDX-License-Identifier: MIT
 * What a model will need and do before it runs, or is even made: memory of a session, the same model's size in other
 * types, tokens a second on a machine that was measured. `slm inspect`, `slm compare` and `slm recommend` all ask
 * here, so they say the same. */
#ifndef SLM_TUNE_PREDICT_H
#define SLM_TUNE_PREDICT_H
#include "model/model.h"
#include "tune/machine.h"

/* A model's weights, as a file of some types has them. */
struct slm_work {
    uint64_t weight_bytes; /* of all tensors */
    uint64_t token_bytes;  /* of those that a generated token reads */
    uint64_t int8_macs;    /* multiplications of a prompt's token, the head left out: with quantized weights, and */
    uint64_t float_macs;   /* with floats */
};
/* Of a model as it is stored. */
struct slm_work slm_work_of(const struct slm_model *model);

/* Bytes of a model with one session and nothing else. */
struct slm_memory {
    uint64_t weight_bytes, kv_bytes, scratch_bytes;
};
/* Weights from `work`; cache and scratch as a session with these options takes them, whose errors are passed on. */
slm_status slm_memory_predict(const struct slm_model *model, const struct slm_work *work,
                              const struct slm_session_options *session, struct slm_memory *out,
                              struct slm_error *error);
uint64_t slm_memory_total(const struct slm_memory *memory);

/* A model whose types may be chosen anew: its tensors without their data. */
struct slm_sizes;
/* Borrows the model, which must outlive *out. Returns owned *out. */
slm_status slm_sizes_open(const struct slm_model *model, struct slm_sizes **out, struct slm_error *error);
/* The same of a released model's shape: the i-th that is known. *out is NULL behind the last. */
slm_status slm_sizes_open_shape(size_t i, struct slm_sizes **out, struct slm_error *error);
void slm_sizes_close(struct slm_sizes *sizes); /* NULL is fine */
/* What slm_quantize would write for this type; fallbacks and a larger type for the head included. */
slm_status slm_sizes_in(struct slm_sizes *sizes, const char *type, struct slm_work *out, struct slm_error *error);
/* Of a shape: a model without data, which can be asked and predicted and never computed with. */
const struct slm_model *slm_sizes_model(const struct slm_sizes *sizes);
bool slm_sizes_ternary(const struct slm_sizes *sizes); /* trained with three values: loses nothing as TQ2_0 */

/* Multiplications of one token's attention behind so many others. */
uint64_t slm_attention_macs(const struct slm_model *model, uint64_t n_past);

/* Tokens a second. A generated token reads all weights and attends to all tokens before it, a prompt's token multiplies
 * with the weights; each at a share of what the machine does at best that was measured once (docs/quantization.md). */
struct slm_speed {
    double prefill;     /* of the first few hundred tokens */
    double decode;      /* behind a short prompt */
    double decode_full; /* when the context is full */
};
/* full_macs: slm_attention_macs of a full context. */
struct slm_speed slm_speed_predict(const struct slm_machine *machine, const struct slm_work *work, uint64_t full_macs);
#endif
