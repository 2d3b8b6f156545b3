/* SPDX-License-Identifier: MIT
 * See stream.h. A tensor is cut into chunks, a chunk into units. Threads claim units by a counter; while they encode
 * one chunk, the calling thread first writes the chunk before it, then helps. So a disk and all CPUs are busy, and
 * memory is two chunks and one unit of f32 a thread, whatever the size of the model.
 *
 * Units are counted in elements, not in rows: blocks never cross a row, so any multiple of the largest block is a place
 * to cut, and a matrix of one enormous row is cut like any other. Which thread encodes a unit changes nothing in it.
 *
 * Source pages are dropped behind the chunk that was read: a mapped file counts as memory of this process otherwise.
 * Deliberately not here: which tensors there are, which types they get, files. */
#include "tune/stream.h"

#include <math.h>
#include <stdatomic.h>

#include "base/checked.h"
#include "base/cpu.h"
#include "base/os.h"
#include "base/pool.h"
#include "kernel/kernel.h"
#include "quant/block.h"

enum { UNIT = 1 << 16, CHUNK_UNITS = 64 }; /* elements; a unit is a multiple of every block */

struct stream {
    struct slm_gguf_writer *writer;
    const struct slm_stream_tensor *tensor;
    uint64_t n_elements, row;          /* of the tensor; of one of its rows */
    uint64_t chunk_begin, n_units;     /* first element, units of the chunk being encoded */
    uint64_t chunk_units;              /* most units a chunk: fewer than CHUNK_UNITS when all tensors are small */
    unsigned char *chunks[2];          /* [chunk_units * UNIT] elements of the largest type */
    unsigned current;                  /* the one being encoded; the other is being written */
    const unsigned char *pending;      /* what is to be written, NULL = nothing */
    uint64_t pending_bytes;
    float *floats;                     /* [n_threads, 2, UNIT] values, importance */
    const struct slm_encoders *encoders; /* NULL: plain rounding */
    struct slm_kernels kernels;        /* for unpacking */
    _Atomic uint32_t ternary_bits;     /* I2_S: the magnitude of all that is not zero, as bits; 0 = not met yet */
    _Atomic uint64_t next_unit;
    _Atomic uint64_t bad_element;      /* the first that the type cannot hold; UINT64_MAX = none */
    slm_status write_status;
    struct slm_error *error;
};

bool slm_stream_bytes(const struct slm_stream_tensor *t, uint64_t *bytes)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (!slm_mul_u64(n, t->dims[i], &n)) return false;
    return t->dims[0] % slm_dtypes[t->to].block == 0 && slm_dtype_bytes(t->to, n, bytes);
}

/* n elements of a type; n is a multiple of its block. */
static uint64_t bytes_of(enum slm_dtype type, uint64_t n)
{
    return n / slm_dtypes[type].block * slm_dtypes[type].block_bytes;
}

/* The row of the source that is row `row` of the output. */
static uint64_t source_row(const struct slm_stream_tensor *t, uint64_t row)
{
    if (t->pair_rows == 0) return row;
    const uint64_t half = t->pair_rows / 2, in_head = row % t->pair_rows;
    return row - in_head + in_head / 2 + (in_head % 2) * half;
}

/* Where elements [at, ..) of the output lie in the source, and how many of `wanted` follow there without a gap. */
struct place { const struct slm_stream_part *part; uint64_t row, column, n; };

static struct place locate(const struct stream *s, uint64_t at, uint64_t wanted)
{
    const struct slm_stream_tensor *t = s->tensor;
    struct place p = {t->parts, source_row(t, at / s->row), at % s->row, wanted};
    while (p.row >= p.part->n_rows) p.row -= p.part++->n_rows;
    const bool by_row = t->pair_rows || p.part->weight;
    const uint64_t rest = (by_row ? s->row : (p.part->n_rows - p.row) * s->row) - p.column;
    if (p.n > rest) p.n = rest;
    return p;
}

/* In the file, for parts that are one type. */
static const unsigned char *bytes_at(const struct stream *s, const struct place *p)
{
    return p->part->data + bytes_of(s->tensor->from, p->row * s->row + p->column);
}

/* Scale or bias of a group of a row. */
static float group_value(const struct slm_weight *w, const unsigned char *values, uint64_t row, uint64_t column)
{
    const uint64_t at = row * (w->n_in / w->group) + column / w->group;
    float value;
    slm_dtypes[w->scale_dtype].decode(values + at * slm_dtypes[w->scale_dtype].block_bytes, &value, 1);
    return value;
}

/* Elements [column, column + n) of a row of codes, scaled. Whole blocks are decoded, of which the ends may be cut
 * off. */
static void read_codes(const struct slm_weight *w, uint64_t row, uint64_t column, uint64_t n, float *dst)
{
    const struct slm_dtype_info *info = &slm_dtypes[w->dtype];
    const uint64_t size = info->block == 1 ? 32 : info->block; /* no group is cut by 32 */
    float block[256];
    for (uint64_t end = column + n; column < end;) {
        const uint64_t first = column - column % size;
        info->decode(w->data + row * w->row_bytes + first / info->block * info->block_bytes, block, size);
        const float scale = w->scales ? group_value(w, w->scales, row, column) : w->ternary_scale;
        const float bias = w->scales ? group_value(w, w->biases, row, column) : 0;
        for (; column < end && column < first + size; column++) *dst++ = fmaf(block[column - first], scale, bias);
    }
}

/* The first of those that were met is the one that is named. */
static void mark_bad(struct stream *s, uint64_t element)
{
    uint64_t bad = atomic_load(&s->bad_element);
    while (element < bad && !atomic_compare_exchange_weak(&s->bad_element, &bad, element)) continue;
}

/* F16 overflows far below the others, and a block has one scale: a single infinity or NaN would spoil its neighbours.
 */
static void check_range(struct stream *s, const float *x, uint64_t begin, uint64_t n)
{
    const enum slm_dtype to = s->tensor->to;
    if (to == SLM_DTYPE_F32 || to == SLM_DTYPE_BF16) return;
    const bool half = to == SLM_DTYPE_F16 || (s->encoders && s->encoders->encode[to]); /* 65520 rounds to infinity */
    const float most = half ? 65519.99f : 3.4e38f;
    for (uint64_t i = 0; i < n; i++) {
        if (fabsf(x[i]) <= most) continue; /* false for NaN */
        mark_bad(s, begin + i);
        return;
    }
}

/* A type with scales keeps them in half precision, so what the search gets must be within its range. */
static void encode_searching(struct stream *s, float *floats, uint64_t begin, uint64_t n, void *out)
{
    const float *importance = s->tensor->importance;
    float *w = importance ? floats + UNIT : NULL;
    for (uint64_t i = 0, column = begin % s->tensor->dims[0]; w && i < n; i++) {
        w[i] = importance[column];
        if (++column == s->tensor->dims[0]) column = 0;
    }
    s->encoders->encode[s->tensor->to](floats, w, out, (size_t)n);
}

/* Four codes of 2 bits a byte, the first 32 elements in the highest bits. The scale is that of the whole tensor, and
 * stands behind its codes: all that is not zero must have the magnitude of the first such element that was met. */
static void encode_ternary(struct stream *s, const float *x, uint64_t begin, uint64_t n, unsigned char *out)
{
    memset(out, 0, (size_t)bytes_of(SLM_DTYPE_I2_S, n));
    for (uint64_t i = 0; i < n; i++) {
        uint32_t known = 0, bits = slm_f32_bits(fabsf(x[i]));
        if (bits && !atomic_compare_exchange_strong(&s->ternary_bits, &known, bits) && known != bits)
            mark_bad(s, begin + i);
        const unsigned code = x[i] > 0 ? 2 : x[i] < 0 ? 0 : 1;
        out[i / 128 * 32 + i % 32] |= (unsigned char)(code << (6 - 2 * (i % 128 / 32)));
    }
}

/* One unit: elements [begin, begin + n) of the tensor. */
static void encode_unit(struct stream *s, uint64_t begin, uint64_t n, float *floats)
{
    const struct slm_stream_tensor *t = s->tensor;
    unsigned char *out = s->chunks[s->current] + bytes_of(t->to, begin - s->chunk_begin);
    const bool copy = t->from == t->to && t->gain == 1.0f && !t->parts[0].weight;
    struct place p;
    for (uint64_t i = 0; i < n; i += p.n) {
        p = locate(s, begin + i, n - i);
        if (p.part->weight) read_codes(p.part->weight, p.row, p.column, p.n, floats + i);
        else if (copy) memcpy(out + bytes_of(t->to, i), bytes_at(s, &p), (size_t)bytes_of(t->from, p.n));
        else s->kernels.unpack[t->from](bytes_at(s, &p), floats + i, (size_t)p.n);
    }
    if (copy) return;
    for (uint64_t i = 0; t->gain != 1.0f && i < n; i++) floats[i] *= t->gain;
    check_range(s, floats, begin, n);
    if (t->to == SLM_DTYPE_I2_S) encode_ternary(s, floats, begin, n, out);
    else if (s->encoders && s->encoders->encode[t->to]) encode_searching(s, floats, begin, n, out);
    else slm_dtypes[t->to].encode(floats, out, (size_t)n);
}

/* What every thread does with a chunk; the calling one writes first. */
static void work(void *arg, unsigned rank, unsigned n_threads)
{
    struct stream *s = arg;
    (void)n_threads;
    if (rank == 0 && s->pending)
        s->write_status = slm_gguf_write_data(s->writer, s->pending, (size_t)s->pending_bytes, s->error);
    for (;;) {
        const uint64_t unit = atomic_fetch_add(&s->next_unit, 1);
        if (unit >= s->n_units) return;
        const uint64_t begin = s->chunk_begin + unit * UNIT, left = s->n_elements - begin;
        encode_unit(s, begin, left < UNIT ? left : UNIT, s->floats + (size_t)rank * 2 * UNIT);
    }
}

/* Encodes the chunk (n_units may be 0) while the one before it is written; then it is the one to be written. */
static slm_status turn(struct stream *s, struct slm_pool *pool)
{
    atomic_store(&s->next_unit, 0);
    slm_pool_run(pool, work, s);
    SLM_TRY(s->write_status);
    const uint64_t bad = atomic_load(&s->bad_element);
    if (bad != UINT64_MAX)
        return slm_fail(s->error, SLM_ERR_NUMERIC, "convert",
                        s->tensor->to == SLM_DTYPE_I2_S
                            ? "tensor '%.*s': element %llu has another magnitude than those before it, which %s cannot "
                              "hold: it is for ternary models"
                            : "tensor '%.*s': element %llu is infinite, not a number, or too large for %s",
                        (int)s->tensor->name.len, s->tensor->name.ptr, (unsigned long long)bad,
                        slm_dtypes[s->tensor->to].name);
    uint64_t left = s->n_elements - s->chunk_begin;
    if (left > s->n_units * UNIT) left = s->n_units * UNIT;
    s->pending = s->n_units ? s->chunks[s->current] : NULL;
    s->pending_bytes = s->n_units ? bytes_of(s->tensor->to, left) : 0;
    if (s->n_units && s->tensor->to == SLM_DTYPE_I2_S && s->chunk_begin + left == s->n_elements) {
        const uint32_t tail[SLM_I2_S_TAIL_BYTES / 4] = {atomic_load(&s->ternary_bits)};
        memcpy(s->chunks[s->current] + s->pending_bytes, tail, sizeof tail);
        s->pending_bytes += sizeof tail;
    }
    s->current = !s->current;
    return SLM_OK;
}

/* Source bytes of output elements [begin, end) will not be read again, but for those of a head that the next chunk goes
 * on with. */
static void drop(const struct stream *s, const struct slm_gguf *source, uint64_t begin, uint64_t end)
{
    const struct slm_stream_tensor *t = s->tensor;
    if (!source || t->parts[0].weight) return; /* codes are few: they go when the tensor is done */
    if (t->pair_rows) {
        const uint64_t head = t->pair_rows * s->row;
        begin -= begin % head;
        end -= end % head;
        slm_gguf_drop_bytes(source, t->parts[0].data + bytes_of(t->from, begin),
                            (size_t)bytes_of(t->from, end - begin));
        return;
    }
    for (struct place p; begin < end; begin += p.n) {
        p = locate(s, begin, end - begin);
        slm_gguf_drop_bytes(source, bytes_at(s, &p), (size_t)bytes_of(t->from, p.n));
    }
}

static slm_status stream_tensor(struct stream *s, struct slm_pool *pool, const struct slm_gguf *source,
                                struct slm_stream_options *options)
{
    const struct slm_stream_tensor *t = s->tensor;
    uint64_t n_rows = 0;
    s->n_elements = 1;
    atomic_store(&s->ternary_bits, 0);
    for (uint32_t i = 0; i < t->n_dims; i++) s->n_elements *= t->dims[i];
    for (unsigned i = 0; i < t->n_parts; i++) n_rows += t->parts[i].n_rows;
    s->row = s->n_elements / n_rows;
    for (s->chunk_begin = 0; s->chunk_begin < s->n_elements; s->chunk_begin += s->chunk_units * UNIT) {
        const uint64_t left = s->n_elements - s->chunk_begin, units = (left + UNIT - 1) / UNIT;
        s->n_units = units < s->chunk_units ? units : s->chunk_units;
        SLM_TRY(turn(s, pool));
        drop(s, source, s->chunk_begin, s->chunk_begin + (left < s->n_units * UNIT ? left : s->n_units * UNIT));
        options->done += s->pending_bytes;
        if (options->progress && !options->progress(options->user, options->done, options->total))
            return slm_fail(s->error, SLM_ERR_CANCELLED, "convert", "was cancelled");
    }
    for (unsigned i = 0; source && i < t->n_parts; i++) {
        const struct slm_weight *w = t->parts[i].weight;
        const uint64_t rows = t->parts[i].n_rows;
        slm_gguf_drop_bytes(source, t->parts[i].data,
                            (size_t)(w ? rows * w->row_bytes : bytes_of(t->from, rows * s->row)));
    }
    return SLM_OK;
}

/* Units of the largest chunk there will be. */
static uint64_t most_units(const struct slm_stream_tensor *tensors, size_t n)
{
    uint64_t most = 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t elements = 1;
        for (uint32_t d = 0; d < tensors[i].n_dims; d++) elements *= tensors[i].dims[d];
        if (elements > most) most = elements;
    }
    most = (most + UNIT - 1) / UNIT;
    return most < CHUNK_UNITS ? most : CHUNK_UNITS;
}

slm_status slm_stream_write(struct slm_gguf_writer *writer, const struct slm_stream_tensor *tensors, size_t n,
                            const struct slm_gguf *source, struct slm_stream_options *options,
                            struct slm_error *error)
{
    struct stream s = {.writer = writer, .chunk_units = most_units(tensors, n), .bad_element = UINT64_MAX,
                       .encoders = options->encoders, .error = error};
    slm_kernels_init(&s.kernels, slm_cpu_features());
    const size_t chunk_bytes = (size_t)s.chunk_units * UNIT * sizeof(float); /* F32 is the largest type */
    struct slm_pool *pool = NULL;
    slm_status status = slm_pool_open(options->n_threads, &pool, error);
    if (status == SLM_OK) {
        s.chunks[0] = slm_alloc(1, chunk_bytes, "convert", error);
        s.chunks[1] = s.chunks[0] ? slm_alloc(1, chunk_bytes, "convert", error) : NULL;
        s.floats = s.chunks[1] ? slm_alloc(options->n_threads, 2 * UNIT * sizeof *s.floats, "convert", error) : NULL;
        if (!s.floats) status = SLM_ERR_MEMORY;
    }
    for (size_t i = 0; status == SLM_OK && i < n; i++) {
        s.tensor = &tensors[i];
        status = stream_tensor(&s, pool, source, options);
    }
    s.n_units = 0;
    if (status == SLM_OK && n > 0) status = turn(&s, pool); /* the last chunk is still to be written */
    slm_pool_close(pool);
    slm_release(s.chunks[0]);
    slm_release(s.chunks[1]);
    slm_release(s.floats);
    return status;
}
