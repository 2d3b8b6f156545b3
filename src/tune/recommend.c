/* SPDX-License-Identifier: MIT
 * See recommend.h. What types lose stands in a table that we measured on one model, the one that is built in
 * (docs/quantization.md says how, and on what text). It orders types; larger models lose less of everything. Who wants
 * to know it of a model measures it there, and puts it in the table's place.
 * Deliberately not here: speed and memory (predict.c), measuring (slm_evaluate). */
#include "tune/recommend.h"

/* Mean KL divergence from the same weights in F32. F16 is not told from them. */
static const struct loss { const char *type; double kl; } losses[] = {
    {"F16", 0}, {"Q8_0", 0.0009}, {"Q6_K", 0.0086}, {"Q5_1", 0.028}, {"Q5_K_M", 0.029}, {"Q5_0", 0.040},
    {"Q4_K_M", 0.10}, {"IQ4_XS", 0.10}, {"Q4_1", 0.10}, {"Q4_0", 0.14}, {"Q3_K_L", 0.20}, {"Q3_K_M", 0.24},
    {"Q2_K", 0.81},
};
/* Weights that were trained with three values stay as they are; what is lost is lost in the head, which is Q6_K. */
static const struct loss ternary_losses[] = {{"TQ2_0", 0.0086}, {"TQ1_0", 0.0086}};
static const double good_kl = 0.14; /* Q4_0's */

static slm_status add_choice(struct slm_sizes *sizes, const struct slm_work *work, struct slm_choice like,
                             const struct slm_wish *wish, const struct slm_machine *machine,
                             struct slm_choice choices[SLM_MAX_CHOICES], size_t *n, struct slm_error *error)
{
    const struct slm_model *model = slm_sizes_model(sizes);
    const uint64_t full = slm_attention_macs(model, (uint64_t)wish->session.n_ctx);
    SLM_ASSERT(*n < SLM_MAX_CHOICES);
    SLM_TRY(slm_memory_predict(model, work, &wish->session, &like.memory, error));
    like.speed = slm_speed_predict(machine, work, full);
    like.fits = slm_memory_total(&like.memory) <= wish->ram_bytes;
    like.fast = like.speed.decode_full >= wish->min_speed;
    choices[(*n)++] = like;
    return SLM_OK;
}

slm_status slm_recommend_list(struct slm_sizes *sizes, bool stored, const struct slm_wish *wish,
                              const struct slm_machine *machine, struct slm_choice choices[SLM_MAX_CHOICES], size_t *n,
                              struct slm_error *error)
{
    const bool ternary = slm_sizes_ternary(sizes);
    const struct loss *rows = ternary ? ternary_losses : losses;
    const size_t n_rows = ternary ? sizeof ternary_losses / sizeof *rows : sizeof losses / sizeof *rows;
    const struct slm_work as_stored = stored ? slm_work_of(slm_sizes_model(sizes)) : (struct slm_work){0};
    *n = 0;
    if (stored)
        SLM_TRY(add_choice(sizes, &as_stored, (struct slm_choice){.measured = true}, wish, machine, choices, n, error));
    for (size_t i = 0; i < n_rows; i++) {
        struct slm_work work;
        SLM_TRY(slm_sizes_in(sizes, rows[i].type, &work, error));
        if (stored && work.weight_bytes >= as_stored.weight_bytes) continue;
        const struct slm_choice choice = {.type = rows[i].type, .kl = rows[i].kl};
        SLM_TRY(add_choice(sizes, &work, choice, wish, machine, choices, n, error));
    }
    return SLM_OK;
}

const struct slm_choice *slm_recommend_best(const struct slm_choice *choices, size_t n)
{
    const struct slm_choice *best = NULL;
    for (const struct slm_choice *c = choices; c < choices + n; c++) {
        if (!c->fits || !c->fast) continue;
        const bool smaller = best && slm_memory_total(&c->memory) < slm_memory_total(&best->memory);
        if (!best || c->kl < best->kl || (c->kl <= best->kl && smaller)) best = c;
    }
    return best;
}

bool slm_recommend_is_good(const struct slm_choice *choice) { return choice->kl <= good_kl; }
