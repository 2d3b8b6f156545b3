/* SPDX-License-Identifier: MIT
 * Weights that were trained to be -s, 0 or s, one s a matrix (BitNet b1.58), come in many forms: floats that are
 * ternary already, floats that have yet to be rounded, two bits in several orders, scales in blocks, behind the codes
 * or in tensors of their own. All of them are read once when the model is opened, by all CPUs, which finds s, and what
 * cannot be ternary. Two-bit and base-3 codes, which most files hold, then stay where they are: backends pack them from
 * there. The others become one form: TQ2_0 blocks in the model's arena, rows padded to whole blocks with zeros. Their
 * file's pages are let go, so the model takes a quarter byte a weight, whatever the file.
 *
 * Rounding ("online": the file holds the weights training worked on) is that of transformers: s is the mean magnitude,
 * codes are w / s rounded, ties to even, and cut off at 1.
 *
 * Deliberately not here: how the forms are read (format/tensor_rows.c), and the activations (QUANTIZE in plan/op.h). */
#include "model/ternary.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/fmath.h"
#include "base/os.h"
#include "base/pool.h"
#include "quant/block.h"

enum { BLOCK = 256, BLOCK_BYTES = 66, CODE_BYTES = 64 };

static size_t blocks_of(uint64_t n_in) { return ((size_t)n_in + BLOCK - 1) / BLOCK; }

bool slm_ternary_trained(const struct slm_model *model)
{
    struct slm_str method = {0};
    bool found = false;
    /* Without a file it is a shape, whose matrices are written ternary. */
    if (!model->gguf || !slm_gguf_is_hf(model->gguf)) return true;
    return slm_gguf_get_str(model->gguf, "quantization_config.quant_method", &method, &found, NULL) == SLM_OK &&
           found && slm_str_is(method, "bitnet");
}

/* Do the floats of the file have yet to be rounded? */
static bool is_online(const struct slm_model *model, const struct slm_gguf_tensor *t)
{
    struct slm_str mode = {0};
    bool found = false;
    return !t->scales && t->dtype < SLM_DTYPE_I2_S && slm_gguf_is_hf(model->gguf) &&
           slm_gguf_get_str(model->gguf, "quantization_config.quantization_mode", &mode, &found, NULL) == SLM_OK &&
           found && slm_str_is(mode, "online");
}

/* ---- reading rows of any form, all threads ------------------------------------------------------------------ */

/* What is known of a row: bits of its greatest magnitude, whether it holds no other but zeros, sum of magnitudes. */
struct row_facts {
    uint32_t most;
    bool ternary;
    double sum;
};

/* What threads share while they read a matrix. */
struct walk {
    const struct slm_model *model;
    const struct slm_gguf_tensor *tensor;
    const struct slm_ternary_rule *rule; /* NULL: only sums are wanted */
    unsigned char *data;                 /* NULL: no codes are wanted */
    struct row_facts *facts;             /* [n_rows] */
    float *rows;                         /* [n_threads, n_blocks * BLOCK] */
    atomic_size_t next;                  /* row nobody has claimed */
};

/* Magnitudes of floats compare like their bits; those of NaN are greater than infinity. */
static uint32_t magnitude_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffff;
}

static void look_at(const float *row, size_t n, struct row_facts *facts)
{
    uint32_t most = 0, other = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = magnitude_bits(row[i]);
        most = bits > most ? bits : most;
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = magnitude_bits(row[i]);
        other |= bits == 0 ? 0 : bits ^ most;
    }
    facts->most = most;
    facts->ternary = other == 0;
}

/* In sixteen sums, so that compilers may do them side by side; the order is the same on every CPU. */
static double sum_of_magnitudes(const float *row, size_t n)
{
    enum { LANES = 16 };
    float lanes[LANES] = {0};
    double sum = 0;
    for (; n >= LANES; row += LANES, n -= LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] += fabsf(row[j]);
    for (size_t j = 0; j < n; j++) lanes[j] += fabsf(row[j]);
    for (size_t j = 0; j < LANES; j++) sum += (double)lanes[j];
    return sum;
}

void slm_ternary_sort(const struct slm_ternary_rule *rule, float *x, size_t n)
{
    const float inverse = rule->inverse;
    if (inverse == 0)
        for (size_t i = 0; i < n; i++) x[i] = x[i] > 0 ? 1.0f : x[i] < 0 ? -1.0f : 0.0f;
    for (size_t i = 0; i < n && inverse != 0; i++) {
        const float w = x[i] * inverse;
        x[i] = w > 0.5f ? 1.0f : w < -0.5f ? -1.0f : 0.0f; /* halves go to the even number, 0 */
    }
}

/* TQ2_0: half a block, 128 elements, is 32 bytes; bits 2s of them are its elements 32s .. 32s + 31. */
static void pack_row(const float *codes, size_t n_blocks, unsigned char *out)
{
    for (size_t b = 0; b < n_blocks; b++, out += BLOCK_BYTES) {
        for (int half = 0; half < 2; half++, codes += 128)
            for (int j = 0; j < 32; j++)
                out[half * 32 + j] = (unsigned char)((int)(codes[j] + 1.0f) | (int)(codes[32 + j] + 1.0f) << 2 |
                                                     (int)(codes[64 + j] + 1.0f) << 4 |
                                                     (int)(codes[96 + j] + 1.0f) << 6);
        out[CODE_BYTES] = 0x00; /* 1.0 as f16 */
        out[CODE_BYTES + 1] = 0x3c;
    }
}

static void read_row(const struct walk *w, size_t r, float *row)
{
    const size_t n_in = (size_t)w->tensor->dims[0], n_blocks = blocks_of(n_in);
    slm_tensor_read_rows(w->tensor, r, 1, row);
    if (!w->rule) {
        w->facts[r].sum = sum_of_magnitudes(row, n_in);
        return;
    }
    look_at(row, n_in, &w->facts[r]);
    if (!w->data) return;
    slm_ternary_sort(w->rule, row, n_in);
    for (size_t i = n_in; i < n_blocks * BLOCK; i++) row[i] = 0;
    pack_row(row, n_blocks, w->data + r * n_blocks * BLOCK_BYTES);
}

/* Every thread: runs of rows, whose pages go when they were read: matrices may be larger than the memory there is. */
static void read_rows(void *arg, unsigned rank, unsigned n)
{
    enum { RUN = 64 };
    struct walk *w = arg;
    const size_t n_rows = (size_t)w->tensor->dims[1];
    (void)n;
    for (;;) {
        const size_t first = atomic_fetch_add_explicit(&w->next, RUN, memory_order_relaxed);
        if (first >= n_rows) return;
        const size_t end = n_rows - first < RUN ? n_rows : first + RUN;
        for (size_t r = first; r < end; r++) read_row(w, r, w->rows + rank * blocks_of(w->tensor->dims[0]) * BLOCK);
        slm_tensor_drop_rows(w->model->gguf, w->tensor, first, end - first);
    }
}

/* Reads all rows; in the end the pages at the borders of runs go too. */
static void read_all(struct walk *w, struct slm_pool *pool)
{
    atomic_store(&w->next, 0);
    slm_pool_run(pool, read_rows, w);
    slm_tensor_drop_rows(w->model->gguf, w->tensor, 0, w->tensor->dims[1]);
}

/* A factor that some writers keep beside the matrix: P.scale for P.weight. */
static slm_status side_scale(const struct slm_model *model, const struct slm_weight *w, float *scale,
                             struct slm_error *error)
{
    char name[256];
    const size_t stem = strlen(w->name) < sizeof "weight" ? 0 : strlen(w->name) - strlen("weight");
    snprintf(name, sizeof name, "%.*sscale", (int)stem, w->name);
    const struct slm_gguf_tensor *t = slm_gguf_find_tensor(model->gguf, slm_str(name));
    if (!t) return SLM_OK;
    if (t->n_elements != 1 || t->dtype != SLM_DTYPE_F32)
        return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf), "tensor '%s' must be one F32", name);
    float factor;
    slm_tensor_read_rows(t, 0, 1, &factor);
    *scale *= factor;
    return SLM_OK;
}

static slm_status not_ternary(const struct slm_model *model, const struct slm_weight *w, struct slm_error *error)
{
    return slm_fail(error, SLM_ERR_FORMAT, slm_gguf_name(model->gguf),
                    "tensor '%s' must hold one finite magnitude and zeros: these weights are ternary", w->name);
}

/* One magnitude, found row by row. */
static bool one_magnitude(const struct row_facts *facts, size_t n_rows, float *magnitude)
{
    uint32_t most = 0;
    bool ternary = true;
    for (size_t r = 0; r < n_rows; r++) most = facts[r].most > most ? facts[r].most : most;
    for (size_t r = 0; r < n_rows; r++) ternary &= facts[r].ternary && (facts[r].most == 0 || facts[r].most == most);
    memcpy(magnitude, &most, sizeof most);
    return ternary;
}

/* Finds the rule, checks that it holds for every row, and packs the rows into data where that is not NULL. True where
 * it holds. */
static bool find(struct walk *w, struct slm_pool *pool, bool online, struct slm_ternary_rule *rule)
{
    const size_t n_rows = (size_t)w->tensor->dims[1];
    double sum = 0;
    if (online) {
        read_all(w, pool);
        for (size_t r = 0; r < n_rows; r++) sum += w->facts[r].sum;
        const float mean = (float)(sum / (double)w->tensor->n_elements);
        if (!isfinite(mean)) return false;
        rule->inverse = 1.0f / (mean > 1e-5f ? mean : 1e-5f);
        rule->scale = 1.0f / rule->inverse;
    }
    w->rule = rule;
    if (!online || w->data) read_all(w, pool);
    return online || one_magnitude(w->facts, n_rows, &rule->scale);
}

static slm_status walk(const struct slm_model *model, const struct slm_gguf_tensor *t, const struct slm_weight *w,
                       unsigned char *data, struct slm_ternary_rule *rule, struct slm_error *error)
{
    enum { LEAST = 1 << 20 }; /* elements that are worth another thread */
    const unsigned n_threads = t->n_elements < LEAST ? 1 : slm_os()->n_cpus();
    struct walk shared = {.model = model, .tensor = t, .data = data};
    struct slm_pool *pool = NULL;
    shared.facts = slm_alloc((size_t)t->dims[1], sizeof *shared.facts, w->name, error);
    shared.rows = slm_alloc(n_threads * blocks_of(t->dims[0]) * BLOCK, sizeof *shared.rows, w->name, error);
    slm_status status = shared.facts && shared.rows ? slm_pool_open(n_threads, &pool, error) : SLM_ERR_MEMORY;
    *rule = (struct slm_ternary_rule){0};
    const bool ternary = status == SLM_OK && find(&shared, pool, is_online(model, t), rule);
    slm_pool_close(pool);
    slm_release(shared.rows);
    slm_release(shared.facts);
    SLM_TRY(status);
    SLM_TRY(side_scale(model, w, &rule->scale, error));
    if (!ternary || !isfinite(rule->scale)) return not_ternary(model, w, error);
    if (rule->scale == 0) rule->scale = 1.0f; /* all weights are zero: any scale does */
    return SLM_OK;
}

slm_status slm_ternary_find_rule(const struct slm_model *model, const struct slm_gguf_tensor *t,
                                 const struct slm_weight *w, struct slm_ternary_rule *rule, struct slm_error *error)
{
    return walk(model, t, w, NULL, rule, error);
}

/* Whether two-bit codes are all 0, 1 or 2. */
static bool has_no_threes(const unsigned char *codes, size_t n)
{
    unsigned char threes = 0;
    for (size_t i = 0; i < n; i++) threes |= (unsigned char)(codes[i] & codes[i] >> 1);
    return (threes & 0x55) == 0;
}

/* Superblocks of one positive scale, and codes that TQ1_0 cannot have any others than. */
static bool find_block_scale(const struct slm_gguf_tensor *t, float *scale)
{
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    const size_t at = info->block_bytes - 2; /* the f16 d is last in both */
    bool same = true;
    for (const unsigned char *b = t->data, *end = b + t->n_elements / BLOCK * info->block_bytes; b < end;
         b += info->block_bytes)
        same &= memcmp(b + at, t->data + at, 2) == 0 && (t->dtype == SLM_DTYPE_TQ1_0 || has_no_threes(b, CODE_BYTES));
    *scale = slm_block_f16(t->data + at);
    return same;
}

/* Matrices that stand in the file as -s, 0 and s need no other form: most files are like that. */
static bool find_stored_scale(const struct slm_gguf_tensor *t, float *scale)
{
    if (t->scales || t->packed) return false;
    if (t->dtype == SLM_DTYPE_I2_S) {
        *scale = slm_tensor_scale(t);
        if (!has_no_threes(t->data, (size_t)t->n_elements / 4)) return false;
    } else if (t->dtype != SLM_DTYPE_TQ1_0 && t->dtype != SLM_DTYPE_TQ2_0) {
        return false;
    } else if (!find_block_scale(t, scale)) {
        return false;
    }
    return *scale > 0 && isfinite(*scale);
}

static slm_status as_in_file(const struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out,
                             struct slm_error *error)
{
    const struct slm_dtype_info *info = &slm_dtypes[t->dtype];
    out->data = t->data;
    out->dtype = t->dtype;
    out->row_bytes = (size_t)(t->dims[0] / info->block * info->block_bytes);
    SLM_TRY(side_scale(model, out, &out->ternary_scale, error));
    return out->ternary_scale != 0 && isfinite(out->ternary_scale) ? SLM_OK : not_ternary(model, out, error);
}

slm_status slm_ternary_bind(struct slm_model *model, const struct slm_gguf_tensor *t, struct slm_weight *out,
                            struct slm_error *error)
{
    struct slm_ternary_rule rule = {.scale = 1.0f};
    const size_t n_blocks = blocks_of(t->dims[0]);
    if (model->as_stored) {
        out->data = t->data;
        out->dtype = t->dtype;
    } else if (find_stored_scale(t, &out->ternary_scale)) {
        return as_in_file(model, t, out, error);
    } else {
        unsigned char *data = slm_arena_alloc(&model->arena, t->dims[1], n_blocks * BLOCK_BYTES, out->name, error);
        if (!data) return SLM_ERR_MEMORY;
        SLM_TRY(walk(model, t, out, data, &rule, error));
        out->data = data;
        out->dtype = SLM_DTYPE_TQ2_0;
        out->row_bytes = n_blocks * BLOCK_BYTES;
    }
    out->ternary_scale = rule.scale;
    return SLM_OK;
}
