/* SPDX-License-Identifier: MIT
 * See shape.h. A family's tables say which tensors its models have; a shape, what the symbolic sizes in them are. So a
 * file is written by walking the rows, without knowing a family.
 *
 * Weights are random bytes in the fields of the blocks, of a pool that is written again and again from changing places:
 * what a kernel does depends on the format, never on the values, as long as no product overflows. For that the scales
 * of each type are chosen by measuring what random codes decode to, so that weights have the mean 0 and the deviation
 * of trained ones, and no formula of a format stands here twice.
 *
 * Deliberately not here: encoders that make good weights from good weights (quant/, quantizing); the vocabulary
 * (shape_vocab.c). */
#include "tune/shape.h"

#include <math.h>
#include <stdio.h>

#include "base/os.h"
#include "base/rng.h"
#include "families/families.h"
#include "quant/block.h"
#include "tune/convert.h"

enum { POOL_BLOCKS = 1 << 14, TRIED_BLOCKS = 64, NAME_BYTES = 64 };
static const double deviation = 0.02;

/* ---- types --------------------------------------------------------------------------------------------------- */

/* What llama.cpp's quantizer calls so: `more` for the values of attention and the way down of the feed-forward in the
 * layers that are thought to need it. */
static const struct mix { const char *name; enum slm_dtype base, more; } mixes[] = {
    {"q4_k_m", SLM_DTYPE_Q4_K, SLM_DTYPE_Q6_K},
    {"q5_k_m", SLM_DTYPE_Q5_K, SLM_DTYPE_Q6_K},
};

/* Where a block has its f16 scale and, if it has one, what is added or taken away per element. */
enum { NO_MIN = -1 };
#define ROW(type, block, d, m) {SLM_DTYPE_##type, offsetof(struct slm_block_##block, d), m}
#define MIN(block, m) (int)offsetof(struct slm_block_##block, m)
static const struct { enum slm_dtype dtype; size_t d; int m; } scaled[] = {
    ROW(Q4_0, q4_0, d, NO_MIN), ROW(Q4_1, q4_1, d, MIN(q4_1, m)), ROW(Q5_0, q5_0, d, NO_MIN),
    ROW(Q5_1, q5_1, d, MIN(q5_1, m)), ROW(Q8_0, q8_0, d, NO_MIN), ROW(Q2_K, q2_k, d, MIN(q2_k, dmin)),
    ROW(Q3_K, q3_k, d, NO_MIN), ROW(Q4_K, q4_k, d, MIN(q4_k, dmin)), ROW(Q5_K, q5_k, d, MIN(q5_k, dmin)),
    ROW(Q6_K, q6_k, d, NO_MIN), ROW(IQ4_NL, iq4_nl, d, NO_MIN), ROW(IQ4_XS, iq4_xs, d, NO_MIN),
    ROW(TQ1_0, tq1_0, d, NO_MIN), ROW(TQ2_0, tq2_0, d, NO_MIN),
};
#undef ROW
#undef MIN
enum { N_SCALED = sizeof scaled / sizeof *scaled };

/* Of one element. */
static double bits_of(enum slm_dtype type) { return 8.0 * slm_dtypes[type].block_bytes / slm_dtypes[type].block; }

/* As quantizers do it: a head has at least six bits, and rows that do not fit the blocks of a type get one they fit.
 * What was trained with three values is never stored as anything that has more. */
static enum slm_dtype type_of(const struct mix *mix, const struct slm_tensor_row *row, const struct slm_shape *shape,
                              uint32_t layer, uint64_t n_in)
{
    const bool in_layer = row->flags & SLM_TENSOR_LAYER;
    const bool is_head = !in_layer && (row->field == offsetof(struct slm_globals, output) || !shape->untied);
    const uint32_t n = shape->hparams.n_layer;
    enum slm_dtype type = mix->base;
    if (row->flags & SLM_TENSOR_TERNARY) return type == SLM_DTYPE_TQ1_0 ? type : SLM_DTYPE_TQ2_0;
    if (in_layer && (row->field == offsetof(struct slm_layer, attn_v) ||
                     row->field == offsetof(struct slm_layer, ffn_down)) && !row->stored &&
        (layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2))
        type = mix->more;
    if (is_head && bits_of(type) < bits_of(SLM_DTYPE_Q6_K)) type = SLM_DTYPE_Q6_K;
    if (n_in % slm_dtypes[type].block != 0) type = n_in % SLM_BLOCK == 0 ? SLM_DTYPE_Q8_0 : SLM_DTYPE_F16;
    return type;
}

/* A mix, or a block format of which everything is. */
static slm_status find_mix(struct slm_str name, struct mix *out, struct slm_error *error)
{
    char text[NAME_BYTES] = "q4_0";
    if (name.ptr) snprintf(text, sizeof text, "%.*s", (int)(name.len < NAME_BYTES ? name.len : NAME_BYTES), name.ptr);
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++)
        if (strcmp(text, mixes[i].name) == 0) {
            *out = mixes[i];
            return SLM_OK;
        }
    const enum slm_dtype type = slm_dtype_from_name(text);
    *out = (struct mix){.base = type, .more = type};
    bool can = type == SLM_DTYPE_F32 || type == SLM_DTYPE_F16 || type == SLM_DTYPE_BF16;
    for (size_t i = 0; i < N_SCALED; i++) can = can || scaled[i].dtype == type;
    if (can) return SLM_OK;
    return slm_fail(error, SLM_ERR_ARGUMENT, "shape",
                    "type '%s' is not known; known are f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, "
                    "q5_k, q6_k, q4_k_m, q5_k_m, iq4_nl, iq4_xs, tq1_0, tq2_0", text);
}

/* ---- random weights ------------------------------------------------------------------------------------------ */

/* Blocks of one type, made when first asked for. */
struct pool {
    unsigned char *blocks; /* [POOL_BLOCKS] blocks, owned */
    size_t bytes;
    size_t next;           /* block the next tensor begins with */
};

static void put_f16(unsigned char *block, int at, double value)
{
    const uint16_t h = slm_f32_to_f16((float)value);
    if (at == NO_MIN) return;
    block[at] = (unsigned char)(h & 255);
    block[at + 1] = (unsigned char)(h >> 8);
}

/* Mean and root mean square of what the first blocks decode to with these scales. */
static void try_scales(struct pool *pool, enum slm_dtype type, int d_at, double d, int m_at, double m, double *mean,
                       double *rms)
{
    const struct slm_dtype_info *info = &slm_dtypes[type];
    float values[SLM_SUPERBLOCK];
    double sum = 0, squares = 0;
    for (size_t b = 0; b < TRIED_BLOCKS; b++) {
        unsigned char *block = pool->blocks + b * info->block_bytes;
        put_f16(block, d_at, d);
        put_f16(block, m_at, m);
        info->decode(block, values, info->block);
        for (uint32_t i = 0; i < info->block; i++) {
            sum += (double)values[i];
            squares += (double)values[i] * (double)values[i];
        }
    }
    *mean = sum / (TRIED_BLOCKS * info->block);
    *rms = sqrt(squares / (TRIED_BLOCKS * info->block));
}

/* The mean of the codes with d = 1, and that of m = 1, say which m takes the mean away; what is left says d. */
static void scale_blocks(struct pool *pool, enum slm_dtype type, int d_at, int m_at)
{
    double codes, ones, mean, rms, m = 0;
    try_scales(pool, type, d_at, 1, m_at, 0, &codes, &rms);
    if (m_at != NO_MIN) {
        try_scales(pool, type, d_at, 0, m_at, 1, &ones, &rms);
        m = -codes / ones;
        try_scales(pool, type, d_at, 1, m_at, m, &mean, &rms);
    }
    const double d = deviation / rms;
    for (size_t b = 0; b < POOL_BLOCKS; b++) {
        unsigned char *block = pool->blocks + b * slm_dtypes[type].block_bytes;
        put_f16(block, d_at, d);
        put_f16(block, m_at, m * d);
    }
}

static slm_status make_pool(struct pool *pool, enum slm_dtype type, struct slm_error *error)
{
    const struct slm_dtype_info *info = &slm_dtypes[type];
    struct slm_rng rng = {.seed = 1, .stream = (uint64_t)type};
    pool->bytes = (size_t)POOL_BLOCKS * info->block_bytes;
    pool->blocks = slm_alloc(pool->bytes, 1, "shape", error);
    if (!pool->blocks) return SLM_ERR_MEMORY;
    if (info->block == 1) { /* a float: evenly spread, as its root mean square is then a third of the square */
        for (size_t i = 0; i < POOL_BLOCKS; i++) {
            const double u = (double)(slm_rng_next(&rng) >> 11) * 0x1p-53;
            const float value = (float)(deviation * sqrt(3) * (2 * u - 1));
            info->encode(&value, pool->blocks + i * info->block_bytes, 1);
        }
        return SLM_OK;
    }
    for (size_t i = 0; i + sizeof(uint64_t) <= pool->bytes; i += sizeof(uint64_t)) {
        uint64_t bits = slm_rng_next(&rng);
        /* The one format with a code that means nothing: 3, of every two bits, becomes the middle. */
        if (type == SLM_DTYPE_TQ2_0) bits &= ~(bits << 1 & 0xaaaaaaaaaaaaaaaau);
        memcpy(pool->blocks + i, &bits, sizeof bits);
    }
    for (size_t i = 0; i < N_SCALED; i++)
        if (scaled[i].dtype == type) scale_blocks(pool, type, (int)scaled[i].d, scaled[i].m);
    return SLM_OK;
}

static slm_status write_random(struct slm_gguf_writer *w, struct pool *pool, enum slm_dtype type, uint64_t bytes,
                               struct slm_error *error)
{
    if (!pool->blocks) SLM_TRY(make_pool(pool, type, error));
    size_t at = pool->next * slm_dtypes[type].block_bytes;
    while (bytes > 0) {
        const size_t rest = pool->bytes - at, step = bytes < rest ? (size_t)bytes : rest;
        SLM_TRY(slm_gguf_write_data(w, pool->blocks + at, step, error));
        bytes -= step;
        at = 0;
    }
    pool->next = (pool->next + 997) % POOL_BLOCKS;
    return SLM_OK;
}

/* Norms, biases: one. */
static slm_status write_ones(struct slm_gguf_writer *w, uint64_t n, struct slm_error *error)
{
    float ones[256];
    for (size_t i = 0; i < 256; i++) ones[i] = 1.0f;
    for (uint64_t step; n > 0; n -= step) {
        step = n < 256 ? n : 256;
        SLM_TRY(slm_gguf_write_data(w, ones, (size_t)step * sizeof *ones, error));
    }
    return SLM_OK;
}

/* ---- the file ------------------------------------------------------------------------------------------------ */

struct shape_file {
    const struct slm_shape *shape;
    struct slm_model model; /* family and hyper-parameters only: what exporting and the rows ask for */
    struct mix mix;
    struct slm_gguf_writer *writer;
    struct pool pools[SLM_DTYPE_COUNT];
};

/* Released models of these shapes have neither optional vectors nor, when tied, a head; parts of one matrix are one
 * tensor, which the first of them stands for. */
static bool is_written(const struct slm_shape *shape, const struct slm_tensor_row *row)
{
    if (row->stored && row->first != SLM_DIM_ZERO) return false;
    if (!(row->flags & SLM_TENSOR_OPTIONAL)) return true;
    return !(row->flags & SLM_TENSOR_LAYER) && row->field == offsetof(struct slm_globals, output) && shape->untied;
}

/* Declares the tensor of a row in a layer, or writes its data. */
static slm_status put_tensor(struct shape_file *f, const struct slm_tensor_row *row, uint32_t layer, bool data,
                             struct slm_error *error)
{
    const struct slm_hparams *hp = &f->model.hparams;
    const uint64_t n_in = slm_dim_size(hp, row->n_in);
    const uint64_t dims[2] = {n_in, slm_dim_size(hp, row->stored ? row->stored : row->n_out)};
    const bool vector = row->flags & SLM_TENSOR_VECTOR;
    const enum slm_dtype type = vector ? SLM_DTYPE_F32 : type_of(&f->mix, row, f->shape, layer, n_in);
    char name[SLM_MODEL_KEY_BYTES];
    uint64_t bytes;
    slm_tensor_name(name, sizeof name, row->gguf_name, layer);
    if (!data) return slm_gguf_declare_tensor(f->writer, slm_str(name), type, dims, vector ? 1 : 2, error);
    if (vector) return write_ones(f->writer, n_in, error);
    const bool fits = slm_dtype_bytes(type, dims[0] * dims[1], &bytes); /* as declaring has found */
    SLM_ASSERT(fits);
    return write_random(f->writer, &f->pools[type], type, bytes, error);
}

/* All of them twice in the same order: declared, then written. */
static slm_status put_tensors(struct shape_file *f, bool data, struct slm_error *error)
{
    const struct slm_family *family = f->model.family;
    for (size_t i = 0; i < family->n_tensors; i++) {
        const struct slm_tensor_row *row = &family->tensors[i];
        const uint32_t n = row->flags & SLM_TENSOR_LAYER ? f->model.hparams.n_layer : 1;
        for (uint32_t layer = 0; layer < n && is_written(f->shape, row); layer++)
            SLM_TRY(put_tensor(f, row, layer, data, error));
    }
    return SLM_OK;
}

/* What a shape leaves out is what its family takes for granted. */
static void fill_fallbacks(struct slm_hparams *hp, const struct slm_hparam_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *field = (char *)hp + rows[i].field;
        if (rows[i].type == SLM_HPARAM_U32 && *(uint32_t *)field == 0) *(uint32_t *)field = (uint32_t)rows[i].fallback;
        if (rows[i].type == SLM_HPARAM_F64 && *(double *)field == 0) *(double *)field = rows[i].fallback;
    }
}

/* Family is set. */
static slm_status fill_model(struct slm_model *m, const struct slm_shape *shape, struct slm_error *error)
{
    const struct slm_family *family = m->family;
    struct slm_hparams *hp = &m->hparams;
    m->architecture = family->architecture;
    *hp = shape->hparams;
    fill_fallbacks(hp, family->more_hparams, family->n_more_hparams); /* they replace the shared ones */
    fill_fallbacks(hp, family->hparams, family->n_hparams);
    return family->derive(hp, shape->name, error);
}

static slm_status write_keys(struct shape_file *f, struct slm_error *error)
{
    struct slm_gguf_writer *w = f->writer;
    struct slm_export export = {.writer = w, .gain = 1};
    const uint32_t file_type = slm_file_type(f->mix.base);
    SLM_TRY(slm_gguf_write_str(w, "general.architecture", slm_str(f->model.architecture), error));
    SLM_TRY(slm_gguf_write_str(w, "general.name", slm_str(f->shape->name), error));
    if (file_type != SLM_FILE_TYPE_NONE)
        SLM_TRY(slm_gguf_write_i64(w, "general.file_type", SLM_GGUF_U32, file_type, error));
    SLM_TRY(slm_model_export(&f->model, &export, error));
    return slm_shape_write_vocab(w, f->model.hparams.n_vocab, error);
}

static slm_status write_file(struct shape_file *f, const char *path, struct slm_error *error)
{
    SLM_TRY(fill_model(&f->model, f->shape, error));
    SLM_TRY(slm_gguf_writer_open(path, 0, &f->writer, error));
    slm_status status = write_keys(f, error);
    if (status == SLM_OK) status = put_tensors(f, false, error);
    if (status == SLM_OK) status = put_tensors(f, true, error);
    if (status == SLM_OK) return slm_gguf_writer_finish(f->writer, error);
    slm_gguf_writer_abandon(f->writer);
    return status;
}

/* ---- without a file ------------------------------------------------------------------------------------------ */

/* Rows that are parts of one matrix each have their own rows of it, as in a model that was opened. */
static void outline_row(struct slm_model *m, const struct slm_shape *shape, const struct slm_tensor_row *row)
{
    static const unsigned char nowhere[2]; /* two addresses: a head of the embedding's would be tied to it */
    const bool in_layer = row->flags & SLM_TENSOR_LAYER;
    const bool head = !in_layer && row->field == offsetof(struct slm_globals, output);
    struct slm_tensor_row whole = *row; /* whichever part it is */
    whole.first = SLM_DIM_ZERO;
    for (uint32_t layer = 0; layer < (in_layer ? m->hparams.n_layer : 1) && is_written(shape, &whole); layer++) {
        unsigned char *owner = in_layer ? (unsigned char *)&m->layers[layer] : (unsigned char *)&m->globals;
        struct slm_weight *w = (struct slm_weight *)(void *)(owner + row->field);
        *w = (struct slm_weight){.name = row->gguf_name, .data = nowhere + head, .dtype = SLM_DTYPE_F16,
                                 .n_in = (uint32_t)slm_dim_size(&m->hparams, row->n_in),
                                 .n_out = (uint32_t)slm_dim_size(&m->hparams, row->n_out)};
        if (row->flags & SLM_TENSOR_VECTOR) w->dtype = SLM_DTYPE_F32;
        w->row_bytes = (size_t)w->n_in * slm_dtypes[w->dtype].block_bytes;
        if (row->flags & SLM_TENSOR_TERNARY) w->ternary_scale = 1.0f;
        if (row->first == SLM_DIM_ZERO)
            m->n_params += w->n_in * (row->stored ? slm_dim_size(&m->hparams, row->stored) : w->n_out);
    }
}

static slm_status outline(struct slm_model *m, const struct slm_shape *shape, struct slm_error *error)
{
    m->name = shape->name;
    SLM_TRY(fill_model(m, shape, error));
    m->layers = slm_arena_alloc(&m->arena, m->hparams.n_layer, sizeof *m->layers, shape->name, error);
    if (!m->layers) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < m->family->n_tensors; i++) outline_row(m, shape, &m->family->tensors[i]);
    if (!m->globals.output.data) m->globals.output = m->globals.token_embd; /* tied head */
    SLM_TRY(slm_plan_new(&m->plan, error));
    return slm_plan_finish(m->plan, m->family->build(m->plan, m), error);
}

slm_status slm_shape_outline(size_t i, struct slm_model **out, struct slm_error *error)
{
    const struct slm_family *family;
    const struct slm_shape *shape = slm_family_shape_at(i, &family);
    *out = NULL;
    if (!shape) return SLM_OK;
    struct slm_model *m = slm_alloc(1, sizeof *m, shape->name, error);
    if (!m) return SLM_ERR_MEMORY;
    m->family = family;
    const slm_status status = outline(m, shape, error);
    if (status == SLM_OK) *out = m;
    else slm_model_close(m);
    return status;
}

/* ---- the whole ----------------------------------------------------------------------------------------------- */

static slm_status fail_unknown(struct slm_str name, struct slm_error *error)
{
    const struct slm_family *family;
    const struct slm_shape *shape;
    struct slm_buf names = {0};
    for (size_t i = 0; (shape = slm_family_shape_at(i, &family)); i++)
        slm_buf_printf(&names, "%s%s", i ? ", " : "", shape->name);
    slm_status status = slm_fail(error, SLM_ERR_ARGUMENT, "shape", "'%.*s' is not known; known are %s",
                                 (int)(name.len < NAME_BYTES ? name.len : NAME_BYTES), name.ptr,
                                 names.data ? names.data : "");
    slm_buf_release(&names);
    return status;
}

slm_status slm_shape_write(const char *spec, const char *path, struct slm_error *error)
{
    const char *colon = strchr(spec, ':');
    const struct slm_str name = {spec, colon ? (size_t)(colon - spec) : strlen(spec)};
    struct shape_file *f = slm_alloc(1, sizeof *f, "shape", error);
    if (!f) return SLM_ERR_MEMORY;
    for (size_t i = 0; (f->shape = slm_family_shape_at(i, &f->model.family)); i++)
        if (slm_str_is(name, f->shape->name)) break;
    slm_status status = f->shape ? find_mix(slm_str(colon ? colon + 1 : NULL), &f->mix, error)
                                 : fail_unknown(name, error);
    if (status == SLM_OK) status = write_file(f, path, error);
    for (int i = 0; i < SLM_DTYPE_COUNT; i++) slm_release(f->pools[i].blocks);
    slm_release(f);
    return status;
}
