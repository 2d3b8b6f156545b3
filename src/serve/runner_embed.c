/* SPDX-License-Identifier: MIT
 * Embeddings in a runner: a job's texts are computed some at a time, between steps, so that answers that are being
 * written do not wait for a long list. */
#include "serve/runner_part.h"

/* The embedder with so many dimensions, opened when it is first asked for. */
static slm_status get_embedder(struct slm_runner *r, int32_t n_dims, struct slm_error *error)
{
    if (r->embedder && r->embed_dims == n_dims) return SLM_OK;
    slm_embedder_close(r->embedder);
    r->embedder = NULL;
    const struct slm_embedder_options options = {
        .session = {.n_ctx = r->options.engine.session.n_ctx, .n_threads = r->options.engine.session.n_threads,
                    .activations = r->options.engine.session.activations},
        .n_dims = n_dims,
    };
    r->embed_dims = n_dims;
    return slm_embedder_open(r->model, &options, &r->embedder, error);
}

/* Texts of one go: some, so that small ones share their steps, but not so many that others wait long. */
static size_t how_many(const struct slm_job *job, size_t from)
{
    enum { BYTES = 1024, MOST = 16 };
    size_t n = 0, bytes = 0;
    while (from + n < job->n_embed && n < MOST && (n == 0 || bytes < BYTES)) {
        const struct slm_embed_input *input = &job->embed[from + n++];
        bytes += input->ids ? 4 * input->n_ids : input->text_bytes;
    }
    return n;
}

/* The next texts of a job. */
static slm_status embed_some(struct slm_runner *r, struct slm_ticket *t, struct slm_error *error)
{
    const struct slm_job *job = t->job;
    SLM_TRY(get_embedder(r, job->embed_dims, error));
    t->n_dims = slm_embedder_n_dims(r->embedder);
    if (!t->vectors) {
        t->vectors = slm_alloc(job->n_embed, t->n_dims * sizeof *t->vectors, "embed", error);
        if (!t->vectors) return SLM_ERR_MEMORY;
    }
    const size_t n = how_many(job, t->n_embedded);
    slm_turns_take(r->options.turns);
    const slm_status status = slm_embed(r->embedder, job->embed + t->n_embedded, n,
                                        t->vectors + t->n_embedded * t->n_dims, error);
    slm_turns_end(r->options.turns);
    t->n_embedded += n;
    return status;
}

/* One go of the first of them, which then goes to the end of the line. */
void slm_runner_embed(struct slm_runner *r)
{
    struct slm_error error;
    struct slm_ticket *t = slm_ticket_list_take(&r->embeds);
    if (!t) return;
    /* The client may have left since the last go. */
    const bool is_gone = atomic_load_explicit(&t->cancelled, memory_order_relaxed);
    if (!is_gone && (slm_ticket_begin(r, t, &error) != SLM_OK || embed_some(r, t, &error) != SLM_OK)) {
        slm_ticket_fail(t, &error, 0);
        slm_ticket_end(r, t);
    } else if (is_gone || t->n_embedded == t->job->n_embed) {
        struct slm_event event = {.kind = SLM_EVENT_EMBEDDINGS, .vectors = t->vectors, .n_dims = t->n_dims};
        for (size_t i = 0; i < t->job->n_embed; i++) event.usage.n_prompt += t->job->embed[i].n_ids;
        t->end.usage = event.usage;
        if (!is_gone && !slm_outbox_add(&r->outbox, t, &event)) {
            (void)slm_fail(&error, SLM_ERR_MEMORY, "embed", "there is no memory for %zu vectors", t->job->n_embed);
            slm_ticket_fail(t, &error, 0);
        }
        slm_ticket_end(r, t);
    } else {
        slm_ticket_list_add(&r->embeds, t);
    }
}
