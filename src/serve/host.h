/* SPDX-License-Identifier: MIT
 * Models that are loaded, and the jobs they compute: a thread a model runs its scheduler (sched.h) over one engine. The
 * APIs call this on the event loop's thread and are called back there, through `post`, so none of them needs a lock.
 *
 * Deliberately not here: HTTP and JSON; which request runs when (sched.h: a pure function, simulated in tests). */
#ifndef SLM_SERVE_HOST_H
#define SLM_SERVE_HOST_H
#include "serve/job.h"

struct slm_host;
struct slm_host_model; /* a loaded model; counted */
struct slm_ticket;     /* a job that was submitted */

struct slm_job_times { uint64_t submit_ns, first_ns, last_ns; }; /* the last two are the observer's, zero at first */

struct slm_host_options {
    const char *const *models;      /* [n_models] files, folders or names; the first is the default. none: built in */
    size_t n_models;
    const char *models_folder;      /* further models by file name, or NULL; looked at again when a name is unknown */
    struct slm_engine_options engine; /* of each model; n_ctx, threads, kv_type, n_kv */
    uint64_t memory_budget;         /* bytes of all loaded models together, LRU ones leave first; 0 = 80 % of what is
                                       available at open */
    int64_t keep_alive_s;           /* an idle model leaves after it; < 0 never */
    size_t max_queue;               /* jobs waiting for a model, more are refused with retry_after_s; 0 = 1024 */
    size_t max_running;             /* sequences computed together; 0 = 64 */
    struct slm_speculation speculation; /* of every model; the mode is not DRAFT */
    const char *draft;              /* of the default model: file or folder of the one that guesses for it, or NULL */
    bool keeps_slots;               /* jobs leave their tokens in slots, which can be saved */
    /* Runs fn(user) on the event loop's thread; called from the host's threads. */
    void (*post)(void *post_user, void (*fn)(void *user), void *user);
    void *post_user;
    /* Sees each event of each job before its receiver does, and goes on when that has cancelled; on the loop's
     * thread. model: its place, as slm_host_counts_of has it. NULL: nobody counts. */
    void (*observe)(void *observe_user, size_t model, const struct slm_job *job, struct slm_job_times *times,
                    const struct slm_event *event);
    void *observe_user;
};
slm_status slm_host_open(const struct slm_host_options *options, struct slm_host **out, struct slm_error *error);
/* Ends everything: jobs get their last events (FINISHED with CANCELLED, END) before this returns, those who wait for a
 * model an error; tickets and references to models are gone then. What was posted before must still be run. */
void slm_host_close(struct slm_host *host);
/* Jobs that have begun go on; whoever waits, for a model or for a turn, and whoever comes is refused and told when to
 * try again (SLM_ERR_CANCELLED): another server may have room. */
void slm_host_drain(struct slm_host *host);
/* For a watchdog that looks again and again, at even intervals: the name of a model that has something to do and did
 * nothing for more than `most` looks, or NULL. It is ten times that in its first step, and ten times its longest step
 * if that is more. Waits for no thread. */
const char *slm_host_stands_still(struct slm_host *host, unsigned most);
/* Whoever comes from now on is told that the server is shutting down; no thread is waited for. */
void slm_host_refuse(struct slm_host *host);

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* Calls back with the model, loading it when needed, or with an error (SLM_ERR_ARGUMENT: no such name; SLM_ERR_MEMORY:
 * it is larger than the budget); before this returns when it is loaded or unknown. The callback owns a reference
 * (slm_host_release). name NULL or "": the default model. Names are those of files without folder and ".gguf", and of
 * folders; ":latest" at the end is ignored. A file that was replaced since it was loaded is loaded again when the last
 * job of the old one has ended. */
void slm_host_get(struct slm_host *host, const char *name,
                  void (*ready)(void *user, struct slm_host_model *model, const struct slm_error *error), void *user);
void slm_host_release(struct slm_host_model *model);
const struct slm_model *slm_host_model(const struct slm_host_model *model); /* for templates and tokens */
const char *slm_host_model_name(const struct slm_host_model *model);
size_t slm_host_model_n_ctx(const struct slm_host_model *model);
/* How long it stays after its last job: seconds, < 0 for ever, 0 leaves when idle (Ollama's keep_alive). */
void slm_host_keep(struct slm_host_model *model, int64_t seconds);

struct slm_host_entry {    /* a row of the list of models: strings live until the callback returns */
    const char *name, *path;
    bool is_loaded, is_loading;
    uint64_t file_bytes, memory_bytes;
    int64_t mtime_s, expires_s; /* Unix time; expires 0 = never */
    size_t n_ctx;
    struct slm_model_info info; /* only of loaded ones */
};
void slm_host_each(struct slm_host *host, void (*each)(void *user, const struct slm_host_entry *entry), void *user);
void slm_host_unload(struct slm_host *host, const char *name);

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

/* Takes job. Events arrive through on_event, never before this returns, until END or FAILED, after which the ticket is
 * gone. What is wrong with the job comes as FAILED. NULL only when there is no memory for a ticket: then no event
 * comes, and the job is gone. */
struct slm_ticket *slm_host_submit(struct slm_host_model *model, struct slm_job *job, slm_event_fn on_event,
                                   void *user);
/* The client has gone: no event arrives after this call, and the ticket is gone with it. */
void slm_host_cancel(struct slm_ticket *ticket);

/* ---- what is going on ------------------------------------------------------------------------------------------- */

/* Totals since start, for /metrics; histograms are in metrics.h. */
struct slm_host_counts {
    size_t n_running, n_waiting, n_models_loaded;
    size_t kv_pages, kv_pages_used, kv_pages_cached; /* of all loaded models; used without those that are kept */
    uint64_t prompt_tokens, cached_tokens, generated_tokens, n_preempted, n_steps, n_step_rows;
    uint64_t n_finished[8];      /* by enum slm_finish; [7] failed */
    struct slm_speculation_counts speculation;
    double prompt_s, generate_s;
};
void slm_host_counts(const struct slm_host *host, struct slm_host_counts *out);
/* The counts of one model, which stay when it leaves, and its name (the host's). Models have places from 0 on in the
 * order in which they were first loaded, the default model has the first; false: there are no more. */
bool slm_host_counts_of(const struct slm_host *host, size_t place, struct slm_host_counts *out, const char **name);
void slm_host_counts_add(struct slm_host_counts *sum, const struct slm_host_counts *counts);
#endif
