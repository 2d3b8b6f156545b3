/* SPDX-License-Identifier: MIT
 * Fuzzes the GGUF reader: any bytes either open, and then everything handed out can be read and asked for in every way,
 * or are refused with a filled error. Reading past the input, leaks, overflow and assertions are the sanitizers' to
 * find. Deliberately not here: what a tokenizer or a model makes of the file. */
#include <stdlib.h>
#include <string.h>
#include "format/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* keeps the reads */

static void require(bool condition)
{
    if (!condition) abort();
}

static void read_bytes(const void *data, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++) sink += ((const uint8_t *)data)[i];
}

static void read_value(const struct slm_gguf_kv *kv)
{
    read_bytes(kv->key.ptr, kv->key.len);
    read_bytes(kv->data, kv->bytes);
    if (kv->array_type == SLM_GGUF_STRING) {
        size_t cursor = 0;
        uint64_t n = 0;
        struct slm_str text;
        for (; slm_gguf_next_string(kv, &cursor, &text); n++) read_bytes(text.ptr, text.len);
        require(n == kv->n);
    } else {
        for (uint64_t i = 0; i < kv->n; i++)
            sink += (uint64_t)slm_gguf_i64_at(kv, i) + (slm_gguf_f64_at(kv, i) > 0);
    }
}

/* Every getter on every key; each must succeed or fill the error. */
static void ask(const struct slm_gguf *gguf, const struct slm_gguf_kv *kv)
{
    char key[256];
    if (kv->key.len >= sizeof key) return;
    memcpy(key, kv->key.ptr, kv->key.len);
    key[kv->key.len] = 0;
    require(slm_gguf_find(gguf, key) == kv);
    int64_t i = 0;
    double d = 0;
    bool b = false, found = false;
    struct slm_str text;
    const struct slm_gguf_kv *array;
    struct slm_error error = {0};
    slm_status all[5] = {slm_gguf_get_i64(gguf, key, -100, 100, &i, &found, &error),
                         slm_gguf_get_f64(gguf, key, -100, 100, &d, &found, &error),
                         slm_gguf_get_bool(gguf, key, &b, NULL, &error),
                         slm_gguf_get_str(gguf, key, &text, NULL, &error),
                         slm_gguf_get_array(gguf, key, SLM_GGUF_I32, &array, NULL, &error)};
    int n_ok = 0;
    for (int k = 0; k < 5; k++) n_ok += all[k] == SLM_OK;
    require(found && n_ok <= 1 && i >= -100 && i <= 100 && d >= -100 && d <= 100);
    require(error.message[0] != 0);
}

/* The first block of each row of blocks, and of panels some rows, are decoded: its bytes are as hostile as the rest. */
static void read_tensor(const struct slm_gguf *gguf, const struct slm_gguf_tensor *t)
{
    require(slm_gguf_find_tensor(gguf, t->name) == t);
    require(t->n_dims >= 1 && t->n_dims <= SLM_GGUF_MAX_DIMS && t->part == 0);
    read_bytes(t->data, t->bytes);
    float values[256], *row = t->packed ? malloc(t->dims[0] * sizeof *row) : NULL;
    for (uint64_t r = 0; row && r < t->dims[1]; r += t->dims[1] / 3 + 1) {
        slm_tensor_read_rows(t, r, 1, row);
        slm_tensor_drop_rows(gguf, t, r, 1);
    }
    free(row);
    if (t->packed) return;
    slm_dtypes[t->dtype].decode(t->data, values, slm_dtypes[t->dtype].block);
    slm_gguf_drop_bytes(gguf, t->data, (size_t)t->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_gguf *gguf = NULL;
    struct slm_error error = {0};
    slm_status status = slm_gguf_open_memory(data, size, "fuzz.gguf", NULL, &gguf, &error);
    if (status != SLM_OK) {
        require(gguf == NULL && error.status == status && error.where[0] != 0 && error.message[0] != 0);
        require(status == SLM_ERR_FORMAT || status == SLM_ERR_LIMIT || status == SLM_ERR_UNSUPPORTED);
        return 0;
    }
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) {
        read_value(slm_gguf_kv_at(gguf, i));
        ask(gguf, slm_gguf_kv_at(gguf, i));
    }
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) read_tensor(gguf, slm_gguf_tensor_at(gguf, i));
    require(slm_gguf_file_bytes(gguf) == size && slm_gguf_data_offset(gguf, 0) >= 24);
    slm_gguf_close(gguf);
    return 0;
}
