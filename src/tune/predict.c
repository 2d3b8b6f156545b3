/* SPDX-License-Identifier: MIT
 * See predict.h. Sizes in other types come from the very code that chooses types when a model is quantized, run over a
 * list of tensors without data; memory from what a session would allocate. Only speed is a model of its own: sums of
 * bytes and multiplications over what the machine does at best, times shares that were measured.
 * Deliberately not here: which type is the right one (recommend.c). */
#include "tune/predict.h"

#include "engine/session.h"
#include "families/families.h"
#include "model/ternary.h"
#include "tune/convert.h"
#include "tune/shape.h"

struct slm_sizes {
    struct slm_conversion c;          /* its list of tensors, and the arena they are in */
    const struct slm_model *model;
    struct slm_model *outline;        /* owned; NULL: the model is somebody else's */
    bool ternary;
};

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* One tensor more. Of an embedding that is not the head as well a token reads one row. Matrices of three values meet
 * int8 whatever type the file gives them (model/ternary.h). */
static void add_work(struct slm_work *work, enum slm_dtype type, uint64_t n_elements, uint64_t bytes, bool embedding,
                     bool head, bool matrix, bool ternary)
{
    uint64_t *macs = ternary || slm_dtypes[type].block > 1 ? &work->int8_macs : &work->float_macs;
    work->weight_bytes += bytes;
    if (!embedding || head) work->token_bytes += bytes;
    if (matrix && !embedding && !head) *macs += n_elements;
}

/* Whether this family trains the matrices of its layers with three values, and this model has them. */
static bool is_ternary(const struct slm_model *model)
{
    bool any = false;
    for (size_t i = 0; i < model->family->n_tensors; i++)
        any = any || model->family->tensors[i].flags & SLM_TENSOR_TERNARY;
    return any && slm_ternary_trained(model);
}

struct slm_work slm_work_of(const struct slm_model *model)
{
    const unsigned char *embd = model->globals.token_embd.data, *head = model->globals.output.data;
    const bool ternary = is_ternary(model);
    struct slm_work work = {0};
    for (size_t i = 0; i < slm_gguf_n_tensors(model->gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(model->gguf, i);
        add_work(&work, t->dtype, t->n_elements, t->bytes, t->data == embd, t->data == head, t->n_dims > 1 && !t->side,
                 ternary);
    }
    return work;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

slm_status slm_memory_predict(const struct slm_model *model, const struct slm_work *work,
                              const struct slm_session_options *session, struct slm_memory *out,
                              struct slm_error *error)
{
    out->weight_bytes = work->weight_bytes;
    return slm_session_predict(model, session, &out->kv_bytes, &out->scratch_bytes, error);
}

/* As if it were all in memory at once; pages of the file that were packed are not counted twice. */
uint64_t slm_memory_total(const struct slm_memory *memory)
{
    return memory->weight_bytes + memory->kv_bytes + memory->scratch_bytes;
}

/* ---- other types ------------------------------------------------------------------------------------------------- */

/* As a GGUF file has it: what other files keep in one matrix is there in one, which its first row stands for. */
static slm_status list_tensor(struct slm_sizes *s, const struct slm_tensor_row *row, uint32_t layer,
                              struct slm_error *error)
{
    const struct slm_hparams *hp = &s->model->hparams;
    const bool vector = row->flags & SLM_TENSOR_VECTOR;
    char name[SLM_MODEL_KEY_BYTES];
    if (!row->gguf_name || (row->stored && row->first != SLM_DIM_ZERO)) return SLM_OK;
    /* Absent, or a head that is the embedding. */
    const struct slm_globals *globals = &s->model->globals;
    const unsigned char *owner = row->flags & SLM_TENSOR_LAYER ? (const unsigned char *)&s->model->layers[layer]
                                                               : (const unsigned char *)globals;
    const struct slm_weight *w = (const struct slm_weight *)(const void *)(owner + row->field);
    if (!w->data || (w == &globals->output && w->data == globals->token_embd.data)) return SLM_OK;
    slm_tensor_name(name, sizeof name, row->gguf_name, layer);
    const char *copy = slm_arena_copy(&s->c.arena, name, strlen(name), error);
    if (!copy) return SLM_ERR_MEMORY;
    s->c.tensors[s->c.n_tensors++] = (struct slm_stream_tensor){
        .name = slm_str(copy), .n_dims = vector ? 1 : 2, .fixed = vector, .to = SLM_DTYPE_F32,
        .dims = {slm_dim_size(hp, row->n_in), vector ? 1 : slm_dim_size(hp, row->stored ? row->stored : row->n_out), 1,
                 1}};
    return SLM_OK;
}

/* Room for every row of every layer; some are absent. */
static slm_status list_tensors(struct slm_sizes *s, struct slm_error *error)
{
    const struct slm_family *family = s->model->family;
    const size_t most = family->n_tensors * ((size_t)s->model->hparams.n_layer + 1);
    s->ternary = is_ternary(s->model);
    s->c.tensors = slm_arena_alloc(&s->c.arena, most, sizeof *s->c.tensors, "sizes", error);
    if (!s->c.tensors) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < family->n_tensors; i++) {
        const uint32_t n = family->tensors[i].flags & SLM_TENSOR_LAYER ? s->model->hparams.n_layer : 1;
        for (uint32_t layer = 0; layer < n; layer++) SLM_TRY(list_tensor(s, &family->tensors[i], layer, error));
    }
    return SLM_OK;
}

/* Exactly one of the two: a model of the caller's, or an outline that is owned from here on. */
static slm_status open_sizes(const struct slm_model *model, struct slm_model *outline, struct slm_sizes **out,
                             struct slm_error *error)
{
    struct slm_sizes *s = slm_alloc(1, sizeof *s, "sizes", error);
    if (!s) {
        slm_model_close(outline);
        return SLM_ERR_MEMORY;
    }
    s->model = outline ? outline : model;
    s->outline = outline;
    s->c.n_head = s->model->hparams.n_head;
    s->c.n_head_kv = s->model->hparams.n_head_kv;
    const slm_status status = list_tensors(s, error);
    if (status == SLM_OK) *out = s;
    else slm_sizes_close(s);
    return status;
}

/* Nothing of the caller's model is read but its tables. */
slm_status slm_sizes_open(const struct slm_model *model, struct slm_sizes **out, struct slm_error *error)
{
    return open_sizes(model, NULL, out, error);
}

slm_status slm_sizes_open_shape(size_t i, struct slm_sizes **out, struct slm_error *error)
{
    struct slm_model *outline = NULL;
    *out = NULL;
    SLM_TRY(slm_shape_outline(i, &outline, error));
    return outline ? open_sizes(NULL, outline, out, error) : SLM_OK;
}

void slm_sizes_close(struct slm_sizes *sizes)
{
    if (!sizes) return;
    slm_model_close(sizes->outline);
    slm_arena_release(&sizes->c.arena);
    slm_release(sizes);
}

/* The choice of types writes into the list, so it is made anew for each type. */
slm_status slm_sizes_in(struct slm_sizes *sizes, const char *type, struct slm_work *out, struct slm_error *error)
{
    bool tied = true;
    *out = (struct slm_work){0};
    SLM_TRY(slm_quantize_choose(&sizes->c, type, error));
    for (size_t i = 0; i < sizes->c.n_tensors; i++)
        tied = tied && !slm_str_is(sizes->c.tensors[i].name, "output.weight");
    for (size_t i = 0; i < sizes->c.n_tensors; i++) {
        const struct slm_stream_tensor *t = &sizes->c.tensors[i];
        const bool embedding = slm_str_is(t->name, "token_embd.weight");
        uint64_t bytes;
        if (!slm_stream_bytes(t, &bytes))
            return slm_fail(error, SLM_ERR_LIMIT, "sizes", "tensor '%.*s' is too large as %s", (int)t->name.len,
                            t->name.ptr, slm_dtypes[t->to].name);
        add_work(out, t->to, t->dims[0] * t->dims[1], bytes, embedding,
                 embedding ? tied : slm_str_is(t->name, "output.weight"), t->n_dims > 1, sizes->ternary);
    }
    return SLM_OK;
}

const struct slm_model *slm_sizes_model(const struct slm_sizes *sizes) { return sizes->model; }
bool slm_sizes_ternary(const struct slm_sizes *sizes) { return sizes->ternary; }

/* ---- speed ------------------------------------------------------------------------------------------------------- */

uint64_t slm_attention_macs(const struct slm_model *model, uint64_t n_past)
{
    const struct slm_hparams *hp = &model->hparams;
    uint64_t macs = 0;
    for (uint32_t l = 0; l < hp->n_layer; l++) {
        const bool slides = hp->window > 0 && slm_layer_bit(hp->layer_slides, l);
        const uint64_t seen = slides && hp->window < n_past ? hp->window : n_past;
        macs += 2 * seen * hp->n_head * hp->head_dim; /* with its key, and with its value */
    }
    return macs;
}

/* What of the machine's best the engine reaches, as measured with `slm bench --shape` beside `slm doctor`: reading
 * weights; multiplying in a prompt; attending with a single query, which waits for the cache to be read. */
static const double share_weights = 0.86, share_int8 = 0.47, share_float = 0.86, share_attention = 0.18;

struct slm_speed slm_speed_predict(const struct slm_machine *machine, const struct slm_work *work, uint64_t full_macs)
{
    const double token_s = (double)work->token_bytes / (machine->read_bytes_s * share_weights);
    const double attention_s = 2 * (double)full_macs / (machine->flop_s * share_attention);
    const double prompt_s = (double)work->int8_macs / (machine->mac_s * share_int8) +
                            2 * (double)work->float_macs / (machine->flop_s * share_float);
    return (struct slm_speed){.prefill = 1 / prompt_s, .decode = 1 / token_s,
                              .decode_full = 1 / (token_s + attention_s)};
}
