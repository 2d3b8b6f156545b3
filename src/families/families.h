/* SPDX-License-Identifier: MIT
 * The families this build knows: one row each. Adding one = one file beside this, one row here, one golden test. */
#ifndef SLM_FAMILIES_FAMILIES_H
#define SLM_FAMILIES_FAMILIES_H
#include "model/family.h"

#define SLM_FAMILIES(X) X(llama) X(qwen2) X(qwen3) X(smollm3) X(phi3) X(gemma2) X(gemma3) X(gemma_embedding) \
    X(bitnet)

#define X(name) extern const struct slm_family slm_family_##name;
SLM_FAMILIES(X)
#undef X

/* NULL when no family has this architecture. */
const struct slm_family *slm_family_find(struct slm_str architecture);
/* The same by the class name that config.json gives. */
const struct slm_family *slm_family_find_hf(struct slm_str class_name);
/* The shapes of all families, one after the other; NULL behind the last. */
const struct slm_shape *slm_family_shape_at(size_t i, const struct slm_family **family);
/* How a model of this family chats that brings no template; NULL: it does not. */
struct slm_tokenizer;
const char *slm_family_chat_template(const struct slm_family *family, const struct slm_tokenizer *tokenizer);
/* What its family knows and a GGUF file does not say of its tokens: see struct slm_family. False when the architecture
 * is unknown. */
bool slm_family_specials_swallow_space(const struct slm_gguf *gguf);
/* "llama, qwen3": the architectures, for messages. */
enum { SLM_FAMILY_NAMES_BYTES = 256 };
const char *slm_family_names(char out[SLM_FAMILY_NAMES_BYTES]);
#endif
