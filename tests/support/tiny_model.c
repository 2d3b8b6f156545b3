/* SPDX-License-Identifier: MIT
 * Writes the models of tiny_model.h with the library's own GGUF writer and encoders: weights come from the
 * counter-based RNG, so a seed is a model. Files go to a fresh temporary folder that is removed when the process
 * ends. */
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rng.h"

struct tiny_spec tiny_spec_default(const char *architecture, enum slm_dtype dtype)
{
    return (struct tiny_spec){.architecture = architecture, .n_layer = 2, .n_embd = 64, .n_ff = 96, .n_head = 4,
                              .n_head_kv = 2, .head_dim = 32, .n_ctx = 1024, .dtype = dtype, .seed = 1};
}

static void ok(slm_status status, const struct slm_error *error)
{
    if (status != SLM_OK) fail_msg("tiny model: %s: %s", error->where, error->message);
}

struct writer {
    struct slm_gguf_writer *gguf;
    const struct tiny_spec *spec;
    struct slm_rng rng;
};

static const struct tiny_override *find_override(const struct tiny_spec *spec, const char *key)
{
    for (size_t i = 0; i < spec->n_overrides; i++)
        if (strcmp(spec->overrides[i].key, key) == 0) return &spec->overrides[i];
    return NULL;
}

static void write_override(struct writer *w, const char *key, const struct tiny_override *o)
{
    struct slm_error error;
    if (o->leave_out) return;
    if (o->type == SLM_GGUF_STRING)
        ok(slm_gguf_write_str(w->gguf, key, slm_str(o->text), &error), &error);
    else if (o->type == SLM_GGUF_F32)
        ok(slm_gguf_write_f32(w->gguf, key, (float)o->number, &error), &error);
    else
        ok(slm_gguf_write_i64(w->gguf, key, o->type, (int64_t)o->number, &error), &error);
}

/* Numbers of the architecture: written as told, unless overridden. */
static void write_number(struct writer *w, const char *short_key, enum slm_gguf_type type, double value)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", w->spec->architecture, short_key);
    const struct tiny_override *o = find_override(w->spec, short_key);
    const struct tiny_override plain = {.type = type, .number = value};
    write_override(w, key, o ? o : &plain);
}

static void write_hparams(struct writer *w)
{
    const struct tiny_spec *s = w->spec;
    write_number(w, "block_count", SLM_GGUF_U32, s->n_layer);
    write_number(w, "context_length", SLM_GGUF_U32, s->n_ctx);
    write_number(w, "embedding_length", SLM_GGUF_U32, s->n_embd);
    write_number(w, "feed_forward_length", SLM_GGUF_U32, s->n_ff);
    write_number(w, "attention.head_count", SLM_GGUF_U32, s->n_head);
    write_number(w, "attention.head_count_kv", SLM_GGUF_U32, s->n_head_kv);
    write_number(w, "attention.key_length", SLM_GGUF_U32, s->head_dim);
    write_number(w, "attention.layer_norm_rms_epsilon", SLM_GGUF_F32, 1e-6);
    write_number(w, "rope.dimension_count", SLM_GGUF_U32, s->head_dim);
    write_number(w, "rope.freq_base", SLM_GGUF_F32, 10000);
}

/* SentencePiece style: <unk>, <s>, </s>, the 256 bytes, then pieces; scores fall with the id. */
static void write_tokenizer(struct writer *w)
{
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    struct slm_error error;
    struct slm_str tokens[TINY_VOCAB];
    char text[TINY_VOCAB][16];
    float scores[TINY_VOCAB];
    int32_t types[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) {
        if (i < 3)
            snprintf(text[i], sizeof text[i], "%s", special[i]);
        else if (i < 259)
            snprintf(text[i], sizeof text[i], "<0x%02X>", i - 3);
        else if (i == 259)
            snprintf(text[i], sizeof text[i], "\xE2\x96\x81");
        else if (i < 286)
            snprintf(text[i], sizeof text[i], "%c", 'a' + i - 260);
        else
            snprintf(text[i], sizeof text[i], "%c%c", 'a' + (i - 286) % 26, "aeiou"[(i - 286) % 5]);
        tokens[i] = slm_str(text[i]);
        scores[i] = -(float)i;
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    ok(slm_gguf_write_str(w->gguf, "tokenizer.ggml.model", slm_str("llama"), &error), &error);
    ok(slm_gguf_write_strings(w->gguf, "tokenizer.ggml.tokens", tokens, TINY_VOCAB, &error), &error);
    ok(slm_gguf_write_array(w->gguf, "tokenizer.ggml.scores", SLM_GGUF_F32, scores, TINY_VOCAB, &error), &error);
    ok(slm_gguf_write_array(w->gguf, "tokenizer.ggml.token_type", SLM_GGUF_I32, types, TINY_VOCAB, &error), &error);
    ok(slm_gguf_write_i64(w->gguf, "tokenizer.ggml.bos_token_id", SLM_GGUF_U32, 1, &error), &error);
    ok(slm_gguf_write_i64(w->gguf, "tokenizer.ggml.eos_token_id", SLM_GGUF_U32, 2, &error), &error);
    if (w->spec->chat_template)
        ok(slm_gguf_write_str(w->gguf, "tokenizer.chat_template", slm_str(w->spec->chat_template), &error), &error);
}

typedef void (*tensor_fn)(struct writer *w, const char *name, uint64_t n_in, uint64_t n_out);

static void each_tensor(struct writer *w, tensor_fn fn)
{
    const struct tiny_spec *s = w->spec;
    const uint64_t q = (uint64_t)s->n_head * s->head_dim, kv = (uint64_t)s->n_head_kv * s->head_dim;
    const struct { const char *name; uint64_t n_in, n_out; } layer[] = {
        {"attn_norm", s->n_embd, 0}, {"attn_q", s->n_embd, q}, {"attn_k", s->n_embd, kv}, {"attn_v", s->n_embd, kv},
        {"attn_q_norm", s->head_dim, 0}, {"attn_k_norm", s->head_dim, 0}, {"attn_output", q, s->n_embd},
        {"ffn_norm", s->n_embd, 0}, {"ffn_gate", s->n_embd, s->n_ff}, {"ffn_up", s->n_embd, s->n_ff},
        {"ffn_down", s->n_ff, s->n_embd}};
    fn(w, "token_embd.weight", s->n_embd, TINY_VOCAB);
    fn(w, "output_norm.weight", s->n_embd, 0);
    if (s->untied) fn(w, "output.weight", s->n_embd, TINY_VOCAB);
    for (uint32_t l = 0; l < s->n_layer; l++)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            char name[64];
            if (strstr(layer[i].name, "_norm") && strlen(layer[i].name) == strlen("attn_q_norm") &&
                strcmp(s->architecture, "qwen3") != 0)
                continue;
            snprintf(name, sizeof name, "blk.%u.%s.weight", l, layer[i].name);
            fn(w, name, layer[i].n_in, layer[i].n_out);
        }
}

static void shape_of(const struct writer *w, const char *name, uint64_t n_in, uint64_t n_out, uint64_t dims[2])
{
    dims[0] = n_in;
    dims[1] = n_out ? n_out : 1;
    if (w->spec->wrong_tensor && strcmp(name, w->spec->wrong_tensor) == 0) dims[n_out ? 1 : 0] += n_out ? 1 : 32;
}

static bool skipped(const struct writer *w, const char *name)
{
    return w->spec->skip_tensor && strcmp(name, w->spec->skip_tensor) == 0;
}

static void declare(struct writer *w, const char *name, uint64_t n_in, uint64_t n_out)
{
    struct slm_error error;
    uint64_t dims[2];
    if (skipped(w, name)) return;
    shape_of(w, name, n_in, n_out, dims);
    ok(slm_gguf_declare_tensor(w->gguf, slm_str(name), n_out ? w->spec->dtype : SLM_DTYPE_F32, dims, n_out ? 2 : 1,
                               &error), &error);
}

/* Uniform values with the variance of a trained matrix; norms around one. */
static void write_values(struct writer *w, const char *name, uint64_t n_in, uint64_t n_out)
{
    struct slm_error error;
    uint64_t dims[2], bytes;
    if (skipped(w, name)) return;
    shape_of(w, name, n_in, n_out, dims);
    const enum slm_dtype dtype = n_out ? w->spec->dtype : SLM_DTYPE_F32;
    const size_t n = (size_t)(dims[0] * dims[1]);
    assert_true(slm_dtype_bytes(dtype, n, &bytes));
    float *values = malloc(n * sizeof *values);
    unsigned char *packed = malloc(bytes);
    const double spread = n_out ? 2.0 / __builtin_sqrt((double)n_in) : 0.2;
    for (size_t i = 0; i < n; i++) {
        const double u = (double)(slm_rng_next(&w->rng) >> 11) * 0x1p-53 * 2 - 1;
        values[i] = (float)((n_out ? 0.0 : 1.0) + spread * u);
    }
    slm_dtypes[dtype].encode(values, packed, n);
    ok(slm_gguf_write_data(w->gguf, packed, bytes, &error), &error);
    free(values);
    free(packed);
}

void tiny_model_write(const char *path, const struct tiny_spec *spec)
{
    struct slm_error error;
    struct writer w = {.spec = spec, .rng = {.seed = spec->seed}};
    ok(slm_gguf_writer_open(path, 0, &w.gguf, &error), &error);
    const struct tiny_override *arch = find_override(spec, "general.architecture");
    const struct tiny_override plain = {.type = SLM_GGUF_STRING, .text = spec->architecture};
    write_override(&w, "general.architecture", arch ? arch : &plain);
    write_hparams(&w);
    write_tokenizer(&w);
    const size_t prefix = strlen(spec->architecture);
    for (size_t i = 0; i < spec->n_overrides; i++) /* keys written out in full are extra keys */
        if (strncmp(spec->overrides[i].key, spec->architecture, prefix) == 0 && spec->overrides[i].key[prefix] == '.')
            write_override(&w, spec->overrides[i].key, &spec->overrides[i]);
    each_tensor(&w, declare);
    each_tensor(&w, write_values);
    ok(slm_gguf_writer_finish(w.gguf, &error), &error);
}

void tiny_imatrix_write(const char *path, const char *tensor, uint32_t n_in, float count)
{
    struct slm_error error;
    struct slm_gguf_writer *w;
    char name[128];
    const uint64_t rows[2] = {n_in, 1}, one[2] = {1, 1};
    ok(slm_gguf_writer_open(path, 0, &w, &error), &error);
    ok(slm_gguf_write_str(w, "general.type", slm_str("imatrix"), &error), &error);
    snprintf(name, sizeof name, "%s.in_sum2", tensor);
    ok(slm_gguf_declare_tensor(w, slm_str(name), SLM_DTYPE_F32, rows, 2, &error), &error);
    snprintf(name, sizeof name, "%s.counts", tensor);
    ok(slm_gguf_declare_tensor(w, slm_str(name), SLM_DTYPE_F32, one, 2, &error), &error);
    for (uint32_t i = 0; i < n_in; i++) {
        const float sum = (float)(i + 1);
        ok(slm_gguf_write_data(w, &sum, sizeof sum, &error), &error);
    }
    ok(slm_gguf_write_data(w, &count, sizeof count, &error), &error);
    ok(slm_gguf_writer_finish(w, &error), &error);
}

static char folder[64];

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) perror("rm");
}

const char *tiny_path(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/slm-test-XXXXXX");
        if (!mkdtemp(folder)) fail_msg("cannot make a temporary folder");
        atexit(remove_folder);
    }
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}
