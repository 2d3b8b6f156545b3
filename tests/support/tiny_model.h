/* SPDX-License-Identifier: MIT
 * Small random models as GGUF files, made on the spot: for tests of everything that must hold for any weights. */
#ifndef SLM_TEST_TINY_MODEL_H
#define SLM_TEST_TINY_MODEL_H
#include "format/gguf.h"

/* One metadata key written differently from what the rest of the spec says, or left out; or an extra one. */
struct tiny_override {
    const char *key;         /* "block_count" replaces that number; "llama.something" is an extra key */
    enum slm_gguf_type type; /* U32, F32, STRING */
    double number;
    const char *text;
    bool leave_out;
};

struct tiny_spec {
    const char *architecture; /* "llama", "qwen3" */
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_ctx;
    enum slm_dtype dtype;     /* of the matrices */
    bool untied;              /* with an output.weight of its own */
    uint64_t seed;
    const struct tiny_override *overrides; /* [n_overrides] */
    size_t n_overrides;
    const char *chat_template; /* NULL: none */
    const char *skip_tensor;  /* this one is not written */
    const char *wrong_tensor; /* this one gets a dimension more than it should */
};
/* A 2-layer grouped-query model, 64 wide; the vocabulary is 3 special tokens, 256 bytes and 61 short pieces. */
struct tiny_spec tiny_spec_default(const char *architecture, enum slm_dtype dtype);
#define TINY_VOCAB 320

/* Writes the file; fails the test when that is impossible. */
void tiny_model_write(const char *path, const struct tiny_spec *spec);
/* An importance matrix with one entry, n_in long, whose sums are 1, 2, 3 ... */
void tiny_imatrix_write(const char *path, const char *tensor, uint32_t n_in, float count);
/* A path in a fresh temporary folder, the same for the whole process; removed at exit. */
const char *tiny_path(const char *name);
#endif
