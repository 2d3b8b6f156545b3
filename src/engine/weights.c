/* SPDX-License-Identifier: MIT
 * A model's weights in the form sessions compute with: made when they are read for the second time, then shared.
 * The first answer does not wait for that, and who only wants one, or reads the model's headers, never pays. Servers,
 * which have time before the first question, ask for it early. Several threads may come at once: one packs, the others
 * wait. */
#include "engine/weights.h"

#include <stdatomic.h>

#include "base/os.h"

enum { NONE, BUSY, OPEN, READY };

struct slm_prepared {
    _Atomic uint32_t state; /* the futex word of those who wait while BUSY */
    atomic_bool stops;      /* nobody wants them packed any more */
    atomic_bool used;       /* in a pass */
    struct slm_cpu_weights *weights;
};

/* The seam knows plain words: an atomic one has the same form. */
static volatile uint32_t *futex_word(struct slm_prepared *p) { return (volatile uint32_t *)(uintptr_t)&p->state; }

slm_status slm_prepared_open(struct slm_prepared **out, struct slm_error *error)
{
    *out = slm_alloc(1, sizeof **out, "model", error);
    return *out ? SLM_OK : SLM_ERR_MEMORY;
}

void slm_prepared_close(struct slm_prepared *prepared)
{
    if (!prepared) return;
    slm_cpu_weights_close(prepared->weights);
    slm_release(prepared);
}

static void leave_to_file(void *user, const unsigned char *data, size_t bytes)
{
    const struct slm_model *model = user;
    slm_gguf_drop_bytes(model->gguf, data, bytes);
}

static bool stops(void *user)
{
    const struct slm_model *model = user;
    return atomic_load_explicit(&model->prepared->stops, memory_order_relaxed);
}

/* The state, BUSY from now on if it was `from`: then the caller must set another. Waits while others work. */
static uint32_t enter(struct slm_prepared *p, uint32_t from)
{
    for (;;) {
        uint32_t state = from;
        if (atomic_compare_exchange_strong(&p->state, &state, BUSY) || state != BUSY) return state;
        slm_os()->park(futex_word(p), BUSY);
    }
}

static void leave(struct slm_prepared *p, uint32_t state)
{
    atomic_store(&p->state, state);
    slm_os()->unpark(futex_word(p));
}

/* Whoever packs, or waits for that, gets SLM_ERR_CANCELLED within milliseconds; so does who comes later. */
void slm_prepared_stop(const struct slm_model *model) { atomic_store(&model->prepared->stops, true); }

slm_status slm_prepared_get(const struct slm_model *model, const struct slm_cpu_weights **out, struct slm_error *error)
{
    struct slm_prepared *p = model->prepared;
    slm_status status = SLM_OK;
    if (enter(p, NONE) == NONE) {
        const struct slm_cpu_source source = {leave_to_file, stops, (void *)(uintptr_t)model};
        status = slm_cpu_weights_open(model->plan, &source, &p->weights, error);
        leave(p, status != SLM_OK ? NONE : slm_cpu_weights_packed(p->weights) ? READY : OPEN);
    }
    *out = p->weights;
    return status;
}

slm_status slm_prepared_pack(const struct slm_model *model, struct slm_backend *threads, struct slm_error *error)
{
    struct slm_prepared *p = model->prepared;
    if (enter(p, OPEN) != OPEN) return SLM_OK;
    const slm_status status = slm_cpu_weights_pack(p->weights, threads, error);
    leave(p, status == SLM_OK ? READY : OPEN);
    return status;
}

/* A pass that could not have them packed reads the file: slower, the same bits. */
void slm_prepared_use(const struct slm_model *model, struct slm_backend *threads)
{
    struct slm_prepared *p = model->prepared;
    if (slm_prepared_ready(model) || !atomic_exchange(&p->used, true)) return;
    (void)slm_prepared_pack(model, threads, NULL);
}

bool slm_prepared_ready(const struct slm_model *model) { return atomic_load(&model->prepared->state) == READY; }
