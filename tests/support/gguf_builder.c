/* SPDX-License-Identifier: MIT
 * See gguf_builder.h. Written against the format's description, not against src/format, so that a mistake there does
 * not hide behind the same mistake here. */
#include "gguf_builder.h"

static void little_endian(struct slm_buf *file, uint64_t value, int bytes)
{
    unsigned char p[8];
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(value >> (8 * i));
    slm_buf_add(file, p, (size_t)bytes);
}

void gb_u8(struct slm_buf *file, unsigned value) { little_endian(file, value, 1); }
void gb_u32(struct slm_buf *file, uint32_t value) { little_endian(file, value, 4); }
void gb_u64(struct slm_buf *file, uint64_t value) { little_endian(file, value, 8); }

void gb_string(struct slm_buf *file, const char *text)
{
    gb_u64(file, strlen(text));
    slm_buf_puts(file, text);
}

void gb_header(struct slm_buf *file, uint64_t n_tensors, uint64_t n_kv)
{
    slm_buf_puts(file, "GGUF");
    gb_u32(file, 3);
    gb_u64(file, n_tensors);
    gb_u64(file, n_kv);
}

void gb_key(struct slm_buf *file, const char *key, uint32_t type)
{
    gb_string(file, key);
    gb_u32(file, type);
}

void gb_key_u32(struct slm_buf *file, const char *key, uint32_t value)
{
    gb_key(file, key, 4);
    gb_u32(file, value);
}

void gb_key_u16(struct slm_buf *file, const char *key, unsigned value)
{
    gb_key(file, key, 2);
    little_endian(file, value, 2);
}

void gb_key_string(struct slm_buf *file, const char *key, const char *value)
{
    gb_key(file, key, 8);
    gb_string(file, value);
}

void gb_key_array(struct slm_buf *file, const char *key, uint32_t element_type, uint64_t n)
{
    gb_key(file, key, 9);
    gb_u32(file, element_type);
    gb_u64(file, n);
}

void gb_tensor(struct slm_buf *file, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t dtype,
               uint64_t offset)
{
    gb_string(file, name);
    gb_u32(file, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) gb_u64(file, dims[i]);
    gb_u32(file, dtype);
    gb_u64(file, offset);
}

void gb_align(struct slm_buf *file, size_t alignment)
{
    gb_zeros(file, (alignment - file->len % alignment) % alignment);
}

void gb_zeros(struct slm_buf *file, size_t n)
{
    static const char zeros[4096];
    for (; n > sizeof zeros; n -= sizeof zeros) slm_buf_add(file, zeros, sizeof zeros);
    slm_buf_add(file, zeros, n);
}
