/* SPDX-License-Identifier: MIT
 * The vocabulary of a model as grammars need it: a trie, made at first use and kept with the model. */
#ifndef SLM_ENGINE_GRAMMAR_H
#define SLM_ENGINE_GRAMMAR_H
#include "base/str.h"

struct slm_vocab;
struct slm_model_vocab; /* its place in a model; empty at first */

slm_status slm_model_vocab_open(struct slm_model_vocab **out, struct slm_error *error);
void slm_model_vocab_close(struct slm_model_vocab *vocab);
/* Thread-safe. SLM_ERR_UNSUPPORTED for models without a tokenizer. */
slm_status slm_model_vocab_get(const struct slm_model *model, const struct slm_vocab **out, struct slm_error *error);
/* slm_grammar_open for values of a JSON Schema in a frame (grammar/grammar.h). */
struct slm_grammar_frame;
slm_status slm_model_grammar_framed(const struct slm_model *model, const struct slm_grammar_frame *frame,
                                    struct slm_str schema, struct slm_grammar **out, struct slm_error *error);
#endif
