/* SPDX-License-Identifier: MIT
 * A model's weights in the form sessions compute with: made when the first session that wants it opens, then shared.
 * Opening a model stays instant that way, and commands that only read it never pay. Sessions may be opened by several
 * threads at once: one packs, the others wait. */
#include "engine/weights.h"

#include <stdatomic.h>

#include "base/os.h"

enum { NONE, BUSY, READY };

struct slm_prepared {
    _Atomic uint32_t state; /* the futex word of those who wait while BUSY */
    atomic_bool stops;      /* nobody wants them any more */
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

/* Whoever packs, or waits for that, gets SLM_ERR_CANCELLED within milliseconds; so does who comes later. */
void slm_prepared_stop(const struct slm_model *model) { atomic_store(&model->prepared->stops, true); }

slm_status slm_prepared_get(const struct slm_model *model, unsigned n_threads, const struct slm_cpu_weights **out,
                            struct slm_error *error)
{
    struct slm_prepared *p = model->prepared;
    for (;;) {
        uint32_t state = NONE;
        if (atomic_compare_exchange_strong(&p->state, &state, BUSY)) break;
        if (state == READY) {
            *out = p->weights;
            return SLM_OK;
        }
        slm_os()->park(futex_word(p), BUSY);
    }
    const struct slm_cpu_source source = {leave_to_file, stops, (void *)(uintptr_t)model};
    const slm_status status = slm_cpu_weights_open(model->plan, &source, n_threads, &p->weights, error);
    atomic_store(&p->state, status == SLM_OK ? READY : NONE);
    slm_os()->unpark(futex_word(p));
    *out = p->weights;
    return status;
}

bool slm_prepared_ready(const struct slm_model *model) { return atomic_load(&model->prepared->state) == READY; }
