/* SPDX-License-Identifier: MIT
 * Puts GGUF files together byte by byte, right ones and wrong ones: nothing is checked here, counts need not be true.
 * For well-formed files there is slm_gguf_writer. A zeroed slm_buf is an empty file. */
#ifndef SLM_TESTS_GGUF_BUILDER_H
#define SLM_TESTS_GGUF_BUILDER_H
#include "base/str.h"
#include "format/gguf.h"

void gb_u8(struct slm_buf *file, unsigned value);
void gb_u32(struct slm_buf *file, uint32_t value);
void gb_u64(struct slm_buf *file, uint64_t value);
void gb_string(struct slm_buf *file, const char *text);
/* Magic, version 3, the two counts. */
void gb_header(struct slm_buf *file, uint64_t n_tensors, uint64_t n_kv);
/* A key and the number of its value's type; the value is to follow. */
void gb_key(struct slm_buf *file, const char *key, uint32_t type);
void gb_key_u32(struct slm_buf *file, const char *key, uint32_t value);
void gb_key_u16(struct slm_buf *file, const char *key, unsigned value);
void gb_key_string(struct slm_buf *file, const char *key, const char *value);
void gb_key_array(struct slm_buf *file, const char *key, uint32_t element_type, uint64_t n);
/* One tensor entry of n_dims dimensions. */
void gb_tensor(struct slm_buf *file, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t dtype,
               uint64_t offset);
/* Zeros up to a multiple of alignment; and n zeros. */
void gb_align(struct slm_buf *file, size_t alignment);
void gb_zeros(struct slm_buf *file, size_t n);
#endif
