/* SPDX-License-Identifier: MIT
 * What comes in to a runner: jobs are checked and enter the table whole or not at all; slots are restored, erased, or
 * become jobs that compute what is to be saved. What a job will need while it runs (rows for logprobs, masks) is
 * allocated here, so that a lack of memory is the answer to a request and not the end of a text.
 *
 * Deliberately not here: what a request means (api_*.c), room in the cache (sched.c). */
#include "serve/runner_part.h"

#include <inttypes.h>

/* ---- what comes in ---------------------------------------------------------------------------------------------- */

/* What no step could compute is refused before it waits for one. */
static slm_status check_prompt(const struct slm_runner *r, const struct slm_job *job, struct slm_error *error)
{
    const int32_t n_vocab = (int32_t)r->model->hparams.n_vocab;
    if (!r->env.engine) {
        if (error) *error = r->cannot_generate;
        return r->cannot_generate.status;
    }
    if (job->n_prompt == 0) return slm_fail(error, SLM_ERR_ARGUMENT, "prompt", "it has no tokens; one is needed");
    if (job->n_choices < 1)
        return slm_fail(error, SLM_ERR_ARGUMENT, "job", "%d choices were asked for, 1 is the least", job->n_choices);
    for (size_t i = 0; i < job->n_prompt; i++)
        if (job->prompt[i] < 0 || job->prompt[i] >= n_vocab)
            return slm_fail(error, SLM_ERR_ARGUMENT, "prompt", "token %zu is %d, allowed are 0 to %d", i,
                            job->prompt[i], n_vocab - 1);
    if (job->n_prompt >= r->env.n_ctx)
        return slm_fail(error, SLM_ERR_CONTEXT, "prompt",
                        "it has %zu tokens, the context holds %zu, and one at least must be left for the answer",
                        job->n_prompt, r->env.n_ctx);
    if (job->slot < 0 || (size_t)job->slot >= r->options.max_running)
        return slm_fail(error, SLM_ERR_ARGUMENT, "id_slot", "slots of this model are from 0 to %zu",
                        r->options.max_running - 1);
    return slm_sampler_check(&job->sampler, (size_t)n_vocab, error);
}

/* The job's sequences enter the table: all of them or none. */
static slm_status admit_job(struct slm_runner *r, struct slm_ticket *t, struct slm_error *error)
{
    struct slm_job *job = t->job;
    uint32_t tenant;
    job->sampler.logit_bias = job->logit_bias;
    job->tenant[sizeof job->tenant - 1] = '\0';
    SLM_TRY(check_prompt(r, job, error));
    const size_t n = (size_t)job->n_choices;
    SLM_TRY(slm_table_tenant(r, job->tenant, &tenant, error));
    SLM_TRY(slm_table_reserve(r, n, error));
    t->choices = slm_alloc(n, sizeof *t->choices, "job", error);
    if (!t->choices) return SLM_ERR_MEMORY;
    if (job->prompt_logprobs && !r->env.rows) {
        r->env.rows = slm_alloc(SLM_CHOICE_ROWS, r->model->hparams.n_vocab * sizeof *r->env.rows, "job", error);
        if (!r->env.rows) return SLM_ERR_MEMORY;
    }
    if (job->grammar && !r->env.masks) {
        const size_t words = (r->model->hparams.n_vocab + 63) / 64;
        r->env.masks = slm_alloc(r->env.engine->n_samplers * words, sizeof *r->env.masks, "job", error);
        if (!r->env.masks) return SLM_ERR_MEMORY;
    }
    /* With a salt of its own it finds and leaves nothing, but its choices share. */
    const uint64_t salt = job->no_cache ? ++r->n_salts : 0;
    /* What is open when one fails is closed with the ticket. */
    for (size_t i = 0; i < n; i++) SLM_TRY(slm_choice_open(&t->choices[i], &r->env, t, (int32_t)i, salt, error));
    t->n_left = n;
    for (size_t i = 0; i < n; i++) slm_table_add(r, &t->choices[i], tenant);
    return SLM_OK;
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

/* A session for a moment. */
static slm_status restore_slot(struct slm_runner *r, struct slm_slot *slot, const char *path, struct slm_error *error)
{
    struct slm_session *session = NULL;
    if (r->n_idle_sessions > 0) session = r->sessions[--r->n_idle_sessions];
    else if (r->n_sessions == r->options.max_running)
        return slm_fail(error, SLM_ERR_LIMIT, "slot", "all %zu places are taken: try again later", r->n_sessions);
    if (!session) SLM_TRY(slm_table_session(r, &session, error));
    const slm_status status = slm_slot_restore(slot, r->env.prefix, session, path, error);
    r->sessions[r->n_idle_sessions++] = session;
    /* What is wrong with the file is the client's concern; where the server keeps it is not. */
    if (status != SLM_OK && status != SLM_ERR_LIMIT && status != SLM_ERR_MEMORY) {
        const struct slm_error why = *error;
        return slm_fail(error, SLM_ERR_ARGUMENT, "filename", "%s", why.message);
    }
    return status;
}

/* True: it is done, or failed. Else its prompt is the slot's and it is a job like others until all is computed. */
static bool use_slot(struct slm_runner *r, struct slm_ticket *t)
{
    struct slm_job *job = t->job;
    struct slm_error error;
    struct slm_slot *slot = r->slots && (size_t)job->slot < r->options.max_running ? &r->slots[job->slot] : NULL;
    slm_status status = SLM_OK;
    if (!slot) {
        status = slm_fail(&error, SLM_ERR_ARGUMENT, "id_slot", "slots of this model are from 0 to %zu",
                          r->options.max_running - 1);
    } else if (job->slot_action == SLM_SLOT_RESTORE) {
        status = restore_slot(r, slot, job->slot_path, &error);
        t->end.usage.n_prompt = slot->n;
    } else if (job->slot_action == SLM_SLOT_ERASE) {
        t->end.usage.n_prompt = slot->n;
        slm_slot_erase(slot, r->env.prefix);
    } else if (slot->n == 0) {
        status = slm_fail(&error, SLM_ERR_ARGUMENT, "id_slot", "slot %" PRId32 " has nothing to save", job->slot);
    } else {
        /* One place of the context is always left for an answer. */
        job->n_prompt = slot->n < r->env.n_ctx ? slot->n : r->env.n_ctx - 1;
        job->prompt = slm_alloc(job->n_prompt, sizeof *job->prompt, "slot", &error);
        if (job->prompt) memcpy(job->prompt, slot->ids, job->n_prompt * sizeof *slot->ids);
        else status = SLM_ERR_MEMORY;
        if (status == SLM_OK) return false;
    }
    if (status != SLM_OK) slm_ticket_fail(t, &error, status == SLM_ERR_LIMIT);
    slm_ticket_end(r, t);
    return true;
}

/* From the list of the serving thread into the tables. */
void slm_runner_take_in(struct slm_runner *r, struct slm_ticket *t)
{
    struct slm_error error;
    t->end = (struct slm_event){.kind = SLM_EVENT_END};
    if (t->job->slot_action != SLM_SLOT_NONE && use_slot(r, t)) return;
    if (t->job->n_embed) {
        slm_ticket_list_add(&r->embeds, t);
    } else if (admit_job(r, t, &error) != SLM_OK) {
        slm_ticket_fail(t, &error, 0);
        slm_ticket_end(r, t);
    }
}
