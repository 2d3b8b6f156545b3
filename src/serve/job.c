/* SPDX-License-Identifier: MIT
 * Jobs as empty forms, and getting rid of filled ones. Deliberately not here: filling them (api_*.c), computing them
 * (runner_*.c). */
#include "serve/job.h"

#include "base/os.h"

struct slm_job *slm_job_new(struct slm_error *error)
{
    struct slm_job *job = slm_alloc(1, sizeof *job, "job", error);
    if (!job) return NULL;
    job->n_choices = 1;
    job->n_top = -1;
    job->sampler = (struct slm_sampler_params){.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f,
                                               .typical_p = 1, .repeat_penalty = 1, .penalty_last_n = 64};
    return job;
}

void slm_job_free(struct slm_job *job)
{
    if (!job) return;
    for (size_t i = 0; i < job->n_stop; i++) slm_release(job->stop[i]);
    for (size_t i = 0; i < job->n_embed; i++) {
        slm_release((char *)(uintptr_t)job->embed[i].text);
        slm_release((int32_t *)(uintptr_t)job->embed[i].ids);
    }
    slm_grammar_close(job->grammar);
    slm_release((char *)(uintptr_t)job->grammar_trigger);
    slm_release(job->slot_path);
    slm_release(job->embed);
    slm_release(job->stop);
    slm_release(job->logit_bias);
    slm_release(job->prompt);
    slm_release(job);
}
