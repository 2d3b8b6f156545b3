/* SPDX-License-Identifier: MIT
 * A small random Hugging Face folder, made on the spot: LlamaForCausalLM with biases, Llama 3's rotary scaling, a head
 * of its own and a byte-level tokenizer. For tests of what reads folders. */
#ifndef SLM_TEST_TINY_FOLDER_H
#define SLM_TEST_TINY_FOLDER_H
#include "quant/quant.h"

enum { TINY_FOLDER_EMBD = 64, TINY_FOLDER_FF = 80, TINY_FOLDER_HEADS = 4, TINY_FOLDER_VOCAB = 259 };

/* Writes it at path, which tiny_path() made. Weights are of this type (F32, F16, BF16). */
void tiny_folder_write(const char *path, enum slm_dtype dtype);
#endif
