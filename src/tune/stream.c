/* SPDX-License-Identifier: MIT
 * See stream.h. A tensor is cut into chunks, a chunk into units. Threads claim units by a counter; while they encode
 * one chunk, the calling thread first writes the chunk before it, then helps. So a disk and all CPUs are busy, and
 * memory is two chunks and one unit of f32 a thread, whatever the size of the model.
 *
 * Units are counted in elements, not in rows: blocks never cross a row, so any multiple of the largest block is a place
 * to cut, and a matrix of one enormous row is cut like any other. Which thread encodes a unit changes nothing in it.
 * Of packed tensors a unit is a panel: its rows become blocks as ever, and then lie as kernels read them.
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
#include "quant/panel.h"

enum { UNIT = 1 << 16, CHUNK_UNITS = 64 }; /* elements; a unit is a multiple of every block */

struct stream {
    struct slm_gguf_writer *writer;
    const struct slm_stream_tensor *tensor;
    uint64_t n_elements, row;          /* of the tensor; of one of its rows */
    bool copy;                         /* bytes, because nothing about it changes */
    uint64_t unit, unit_bytes;         /* elements claimed at a time, UNIT or a panel, and what becomes of them */
    uint64_t chunk_begin, n_units;     /* first element, units of the chunk being encoded */
    uint64_t chunk_bytes;              /* less when all tensors are small */
    uint64_t most;                     /* units of a chunk of this tensor */
    unsigned char *chunks[2];          /* [chunk_bytes] */
    unsigned current;                  /* the one being encoded; the other is being written */
    const unsigned char *pending;      /* what is to be written, NULL = nothing */
    uint64_t pending_bytes;
    float *floats;                     /* [n_threads, 2, UNIT] values, importance */
    unsigned char *rows;               /* [n_threads, rows_bytes] blocks that will be a panel */
    size_t rows_bytes;
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
    if (t->dims[0] % slm_dtypes[t->to].block != 0) return false;
    return t->packed ? slm_pack_bytes(t->to, n / t->dims[0], t->dims[0], bytes) : slm_dtype_bytes(t->to, n, bytes);
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
    const bool by_row = t->pair_rows || (p.part->tensor && !s->copy);
    const uint64_t rest = (by_row ? s->row : (p.part->n_rows - p.row) * s->row) - p.column;
    if (p.n > rest) p.n = rest;
    return p;
}

/* In the file, for parts that are one type. */
static const unsigned char *bytes_at(const struct stream *s, const struct place *p)
{
    return p->part->data + bytes_of(s->tensor->from, p->row * s->row + p->column);
}

/* The elements of one place as the model has them. */
static void read_place(const struct stream *s, const struct place *p, float *dst)
{
    const struct slm_stream_part *part = p->part;
    const bool plain = !part->tensor || (!part->tensor->scales && part->tensor->dtype == s->tensor->from &&
                                         s->tensor->from != SLM_DTYPE_I2_S);
    if (plain) s->kernels.unpack[s->tensor->from](bytes_at(s, p), dst, (size_t)p->n);
    else slm_tensor_read(part->tensor, part->first + p->row, p->column, p->n, dst);
    if (part->rule.scale == 0) return;
    slm_ternary_sort(&part->rule, dst, (size_t)p->n);
    for (uint64_t i = 0; i < p->n; i++) dst[i] *= part->rule.scale;
}

/* Is each element of the block zero or the greatest magnitude, with a sign? The index of the first that is not, or n.
 */
static uint64_t first_not_ternary(const float *x, uint64_t n)
{
    float most = 0;
    for (uint64_t i = 0; i < n; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    for (uint64_t i = 0; i < n; i++)
        if (x[i] != 0 && fabsf(x[i]) != most) return i;
    return n;
}

/* F16 overflows far below the others, and a block has one scale: a single infinity or NaN would spoil its neighbours.
 * Ternary types would silently round everything else away. The first element that cannot be, or n. */
static uint64_t first_unfit(const struct stream *s, const float *x, uint64_t n)
{
    const enum slm_dtype to = s->tensor->to;
    const bool searched = s->encoders && s->encoders->encode[to];
    const uint64_t block = slm_dtypes[to].block;
    if (to == SLM_DTYPE_F32 || to == SLM_DTYPE_BF16) return n;
    const bool half = to == SLM_DTYPE_F16 || slm_stream_is_ternary(to) || searched;
    const float most = half ? 65519.99f : 3.4e38f; /* 65520 rounds to infinity */
    unsigned unfit = 0; /* all are looked at before one is looked for, which vectors can do */
    for (uint64_t i = 0; i < n; i++) unfit |= !(fabsf(x[i]) <= most); /* NaN too */
    for (uint64_t i = 0; unfit && i < n; i++)
        if (!(fabsf(x[i]) <= most)) return i;
    for (uint64_t i = 0; i < n && slm_stream_is_ternary(to) && !searched; i += block) {
        const uint64_t bad = first_not_ternary(x + i, block);
        if (bad < block) return i + bad;
    }
    return n;
}

static void mark_bad(struct stream *s, uint64_t element)
{
    uint64_t bad = atomic_load(&s->bad_element);
    while (element < bad && !atomic_compare_exchange_weak(&s->bad_element, &bad, element)) continue;
}

/* Keeps the first of all. */
static void check_values(struct stream *s, const float *x, uint64_t begin, uint64_t n)
{
    const uint64_t i = first_unfit(s, x, n);
    if (i < n) mark_bad(s, begin + i);
}

/* Scales and codes that lose least, by the importance of the columns where it is known. */
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

/* Elements [begin, begin + n) of the tensor, UNIT or fewer, as blocks. */
static void encode_blocks(struct stream *s, uint64_t begin, uint64_t n, float *floats, unsigned char *out)
{
    const struct slm_stream_tensor *t = s->tensor;
    struct place p;
    for (uint64_t i = 0; i < n; i += p.n) {
        p = locate(s, begin + i, n - i);
        if (s->copy) memcpy(out + bytes_of(t->to, i), bytes_at(s, &p), (size_t)bytes_of(t->from, p.n));
        else read_place(s, &p, floats + i);
    }
    if (s->copy) return;
    for (uint64_t i = 0; t->gain != 1.0f && i < n; i++) floats[i] *= t->gain;
    check_values(s, floats, begin, n);
    if (t->to == SLM_DTYPE_I2_S) encode_ternary(s, floats, begin, n, out);
    else if (s->encoders && s->encoders->encode[t->to]) encode_searching(s, floats, begin, n, out);
    else slm_dtypes[t->to].encode(floats, out, (size_t)n);
}

/* One unit: elements [begin, begin + n) of the tensor. */
static void encode_unit(struct stream *s, uint64_t begin, uint64_t n, unsigned rank)
{
    const struct slm_stream_tensor *t = s->tensor;
    unsigned char *out = s->chunks[s->current] + (begin - s->chunk_begin) / s->unit * s->unit_bytes;
    unsigned char *rows = s->rows + rank * s->rows_bytes;
    float *floats = s->floats + (size_t)rank * 2 * UNIT;
    if (!t->packed) {
        encode_blocks(s, begin, n, floats, out);
        return;
    }
    for (uint64_t at = 0; at < n; at += UNIT)
        encode_blocks(s, begin + at, n - at < UNIT ? n - at : UNIT, floats, rows + bytes_of(t->to, at));
    slm_pack_panel(t->to, rows, (size_t)bytes_of(t->to, s->row), (size_t)(n / s->row), (size_t)s->row, out);
}

/* Elements of the chunk, and what becomes of them. */
static uint64_t chunk_elements(const struct stream *s)
{
    const uint64_t left = s->n_elements - s->chunk_begin;
    return left < s->n_units * s->unit ? left : s->n_units * s->unit;
}

static uint64_t chunk_bytes(const struct stream *s)
{
    if (s->n_units == 0) return 0;
    return s->tensor->packed ? s->n_units * s->unit_bytes : bytes_of(s->tensor->to, chunk_elements(s));
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
        const uint64_t begin = s->chunk_begin + unit * s->unit, left = s->n_elements - begin;
        encode_unit(s, begin, left < s->unit ? left : s->unit, rank);
    }
}

/* What is wrong with a finite element. */
static const char *complaint(const struct stream *s)
{
    if (s->tensor->to == SLM_DTYPE_I2_S) return "not of the one magnitude that a ternary matrix has, for";
    const bool strict = slm_stream_is_ternary(s->tensor->to) && !s->encoders;
    return strict ? "no third value of a block, which is all for" : "too large for";
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
                        "tensor '%.*s': element %llu is infinite, not a number, or %s %s", (int)s->tensor->name.len,
                        s->tensor->name.ptr, (unsigned long long)bad, complaint(s), slm_dtypes[s->tensor->to].name);
    s->pending = s->n_units ? s->chunks[s->current] : NULL;
    s->pending_bytes = chunk_bytes(s);
    s->current = !s->current;
    return SLM_OK;
}

/* Output elements [begin, end) are encoded: what they were read from may leave memory, but for the head that the next
 * chunk goes on with. From one chunk further back, because only whole pages go. */
static void drop(const struct stream *s, const struct slm_gguf *source, uint64_t begin, uint64_t end)
{
    const struct slm_stream_tensor *t = s->tensor;
    const uint64_t step = t->pair_rows ? t->pair_rows * s->row : 1, chunk = s->most * s->unit;
    begin = begin > chunk ? begin - chunk : 0;
    begin -= begin % step;
    end -= end % step;
    uint64_t part_end = 0;
    for (unsigned i = 0; source && i < t->n_parts; i++) {
        const struct slm_stream_part *part = &t->parts[i];
        const uint64_t at = part_end;
        part_end += part->n_rows * s->row;
        const uint64_t from = begin > at ? begin - at : 0, to = (end < part_end ? end : part_end) - at;
        if (end <= at || from >= to) continue;
        if (part->tensor && part->tensor->scales)
            slm_tensor_drop_rows(source, part->tensor, part->first + from / s->row, to / s->row - from / s->row);
        else
            slm_gguf_drop_bytes(source, part->data + bytes_of(t->from, from),
                                (size_t)(bytes_of(t->from, to) - bytes_of(t->from, from)));
    }
}

/* Blocks, or codes with the one scale behind them: the bytes of the file will do. */
static bool can_copy(const struct slm_stream_tensor *t)
{
    const struct slm_stream_part *part = &t->parts[0];
    return t->from == t->to && t->gain == 1.0f && part->rule.scale == 0 && !(part->tensor && part->tensor->scales);
}

/* What I2_S has behind its codes. The chunk before it must be written first. */
static slm_status write_tail(struct stream *s, struct slm_pool *pool)
{
    const struct slm_stream_tensor *t = s->tensor;
    if (t->to != SLM_DTYPE_I2_S) return SLM_OK;
    s->n_units = 0;
    SLM_TRY(turn(s, pool));
    const uint32_t scale[SLM_I2_S_TAIL_BYTES / sizeof(uint32_t)] = {atomic_load(&s->ternary_bits)};
    const void *tail = s->copy ? (const void *)(t->parts[0].data + bytes_of(t->from, s->n_elements)) : scale;
    return slm_gguf_write_data(s->writer, tail, SLM_I2_S_TAIL_BYTES, s->error);
}

/* An unfinished file begins with chunks that need not be made again; behind the first one that is made, none are there.
 * The scale of I2_S is known when all of its matrix was seen, so that is made again unless it is there as a whole. */
static slm_status skip(struct stream *s, uint64_t bytes, bool *skipped)
{
    *skipped = false;
    return s->pending ? SLM_OK : slm_gguf_skip_data(s->writer, bytes, skipped, s->error);
}

/* How the tensor is cut. What is read for a chunk counts as much as what is written: F32 that becomes 4 bits is eight
 * times as large. */
static void cut(struct stream *s)
{
    const struct slm_stream_tensor *t = s->tensor;
    uint64_t n_rows = 0;
    s->n_elements = 1;
    atomic_store(&s->ternary_bits, 0);
    for (uint32_t i = 0; i < t->n_dims; i++) s->n_elements *= t->dims[i];
    for (unsigned i = 0; i < t->n_parts; i++) n_rows += t->parts[i].n_rows;
    s->row = s->n_elements / n_rows;
    s->copy = can_copy(t);
    s->unit = t->packed ? SLM_PANEL_ROWS * s->row : UNIT;
    s->unit_bytes = t->packed ? slm_pack_panel_bytes(t->to, (size_t)s->row) : bytes_of(t->to, UNIT);
    s->most = (uint64_t)CHUNK_UNITS * UNIT / s->unit;
    if (s->most > s->chunk_bytes / s->unit_bytes) s->most = s->chunk_bytes / s->unit_bytes;
    if (s->most == 0) s->most = 1;
}

static slm_status stream_tensor(struct stream *s, struct slm_pool *pool, const struct slm_gguf *source,
                                struct slm_stream_options *options)
{
    const bool one_scale = s->tensor->to == SLM_DTYPE_I2_S;
    bool skipped = false;
    cut(s);
    if (one_scale) {
        uint64_t bytes = 0;
        (void)slm_stream_bytes(s->tensor, &bytes); /* asked before, when it was declared */
        SLM_TRY(skip(s, bytes, &skipped));
        if (skipped) options->done += bytes;
        if (skipped) return SLM_OK;
    }
    for (s->chunk_begin = 0; s->chunk_begin < s->n_elements; s->chunk_begin += s->most * s->unit) {
        const uint64_t units = (s->n_elements - s->chunk_begin + s->unit - 1) / s->unit;
        s->n_units = units < s->most ? units : s->most;
        if (!one_scale) SLM_TRY(skip(s, chunk_bytes(s), &skipped));
        if (skipped) options->done += chunk_bytes(s);
        if (skipped) continue;
        SLM_TRY(turn(s, pool));
        drop(s, source, s->chunk_begin, s->chunk_begin + chunk_elements(s));
        options->done += s->pending_bytes;
        if (options->progress && !options->progress(options->user, options->done, options->total))
            return slm_fail(s->error, SLM_ERR_CANCELLED, "convert", "was cancelled");
    }
    return write_tail(s, pool);
}

/* A chunk has room for any type, F32 being the largest, and for one panel at least. */
static void size_buffers(struct stream *s, const struct slm_stream_tensor *tensors, size_t n)
{
    uint64_t most = 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t elements = 1;
        for (uint32_t d = 0; d < tensors[i].n_dims; d++) elements *= tensors[i].dims[d];
        if (elements > most) most = elements;
    }
    most = (most + UNIT - 1) / UNIT;
    s->chunk_bytes = (most < CHUNK_UNITS ? most : CHUNK_UNITS) * UNIT * sizeof(float);
    for (size_t i = 0; i < n; i++) {
        if (!tensors[i].packed) continue;
        const uint64_t panel = slm_pack_panel_bytes(tensors[i].to, (size_t)tensors[i].dims[0]);
        const uint64_t rows = SLM_PANEL_ROWS * bytes_of(tensors[i].to, tensors[i].dims[0]);
        if (panel > s->chunk_bytes) s->chunk_bytes = panel;
        if (rows > s->rows_bytes) s->rows_bytes = (size_t)rows;
    }
}

slm_status slm_stream_write(struct slm_gguf_writer *writer, const struct slm_stream_tensor *tensors, size_t n,
                            const struct slm_gguf *source, struct slm_stream_options *options,
                            struct slm_error *error)
{
    struct stream s = {.writer = writer, .bad_element = UINT64_MAX, .encoders = options->encoders, .error = error};
    size_buffers(&s, tensors, n);
    slm_kernels_init(&s.kernels, slm_cpu_features() & ~SLM_CPU_ON_REQUEST);
    struct slm_pool *pool = NULL;
    slm_status status = slm_pool_open(options->n_threads, &pool, error);
    if (status == SLM_OK) {
        s.chunks[0] = slm_alloc(1, (size_t)s.chunk_bytes, "convert", error);
        s.chunks[1] = s.chunks[0] ? slm_alloc(1, (size_t)s.chunk_bytes, "convert", error) : NULL;
        s.floats = s.chunks[1] ? slm_alloc(options->n_threads, 2 * UNIT * sizeof *s.floats, "convert", error) : NULL;
        if (s.floats && s.rows_bytes) s.rows = slm_alloc(options->n_threads, s.rows_bytes, "convert", error);
        if (!s.floats || (s.rows_bytes && !s.rows)) status = SLM_ERR_MEMORY;
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
    slm_release(s.rows);
    return status;
}
