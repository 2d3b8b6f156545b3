/* SPDX-License-Identifier: MIT
 *
 * Measuring for `slm bench` and `slm compare`. What is measured, each several times: opening the model (load), opening
 * it and answering a first short prompt (first token), reading a prompt of P tokens (prefill), generating N tokens one
 * after the other (decode). Every combination of a plan's lists is a case. The tokens are random: only their number
 * matters for the time. Medians are the answer, every single value is in the report, because a shared machine makes
 * means lie. Deliberately not here: how results look. */
#include <unistd.h>

#include "backend/backend.h"
#include "base/cpu.h"
#include "base/os.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "engine/session.h"
#include "kernel/kernel.h"
#include "model/model.h"
#include "tune/predict.h"

enum { MAX_BATCH = SLM_BENCH_SEQUENCES, MAX_CASES = 4096 };

/* What is open, and what for. */
struct bench {
    const struct slm_bench_plan *plan;
    struct slm_bench_report *report;
    struct slm_model_choice choice;
    struct slm_model *model;
    struct slm_engine *engine;
    struct slm_session *sessions[MAX_BATCH];
    int32_t n_sessions, n_threads; /* of the engine */
    int32_t *ids;                  /* [n_ids] random tokens: what stands before, then what is measured */
    size_t n_ids;
    struct slm_cli_progress progress;
    uint64_t done, total;          /* steps of the progress */
};

/* ---- opening --------------------------------------------------------------------------------- */

/* 0 for an empty list. */
static int32_t most_of(const struct slm_int_list *list)
{
    int32_t most = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i] > most) most = list->items[i];
    return most;
}

/* Sessions before the engine they are of. */
static void close_engine(struct bench *bench)
{
    while (bench->n_sessions > 0) slm_session_close(bench->sessions[--bench->n_sessions]);
    slm_engine_close(bench->engine);
    bench->engine = NULL;
}

/* And that before the model it borrows from. Leaves bench ready to open again. */
static void close_all(struct bench *bench)
{
    close_engine(bench);
    slm_model_close(bench->model);
    bench->model = NULL;
}

/* An engine of so many threads with as many sessions; the one that is open stays when it is that. */
static slm_status need_sessions(struct bench *bench, int32_t n_threads, int32_t n, struct slm_error *error)
{
    if (bench->engine && bench->n_threads == n_threads && bench->n_sessions == n) return SLM_OK;
    close_engine(bench);
    bench->choice.n_threads = bench->n_threads = n_threads;
    const size_t pages = ((size_t)bench->choice.n_ctx + SLM_KV_PAGE_TOKENS - 1) / SLM_KV_PAGE_TOKENS; /* of each */
    SLM_TRY(slm_cli_open_engine(bench->model, &bench->choice, pages * SLM_KV_PAGE_TOKENS * (size_t)n, &bench->engine,
                                error));
    for (; bench->n_sessions < n; bench->n_sessions++)
        SLM_TRY(slm_engine_session(bench->engine, &bench->sessions[bench->n_sessions], error));
    return SLM_OK;
}

/* Fixed seed: every run of every version feeds the same tokens. */
static slm_status make_ids(struct bench *bench, struct slm_error *error)
{
    const uint64_t n_vocab = (uint64_t)slm_model_info(bench->model).n_vocab;
    struct slm_rng rng = {.seed = 1};
    bench->ids = slm_alloc(bench->n_ids, sizeof *bench->ids, "bench", error);
    if (!bench->ids) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < bench->n_ids; i++) bench->ids[i] = (int32_t)(slm_rng_next(&rng) % n_vocab);
    return SLM_OK;
}

/* From nothing to sessions that could take a token, and on to what follows a first short prompt. */
static slm_status open_all(struct bench *bench, double *load_s, double *first_s, struct slm_error *error)
{
    const struct slm_bench_plan *o = bench->plan;
    double start = slm_cli_seconds();
    SLM_TRY(slm_cli_open_model(&bench->choice, false, &bench->model, error));
    SLM_TRY(need_sessions(bench, o->n_threads.items[0], o->n_batch.items[0], error));
    *load_s = slm_cli_seconds() - start;
    if (!bench->ids) SLM_TRY(make_ids(bench, error));
    start = slm_cli_seconds();
    size_t n = slm_session_n_ctx(bench->sessions[0]);
    if (n > SLM_BENCH_FIRST_PROMPT) n = SLM_BENCH_FIRST_PROMPT;
    SLM_TRY(slm_session_eval(bench->sessions[0], bench->ids, n, error));
    *first_s = *load_s + slm_cli_seconds() - start;
    return SLM_OK;
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* Feeds ids[first, first + n) to every sequence in pieces of `chunk`, all of them in one step. */
static slm_status feed(struct bench *bench, size_t first, size_t n, size_t chunk, struct slm_error *error)
{
    struct slm_step_part parts[MAX_BATCH];
    for (size_t done = 0; done < n; done += chunk) {
        for (int32_t s = 0; s < bench->n_sessions; s++)
            parts[s] = (struct slm_step_part){.session = bench->sessions[s], .ids = bench->ids + first + done,
                                              .n = chunk};
        SLM_TRY(slm_engine_step(bench->engine, parts, (size_t)bench->n_sessions, error));
    }
    return SLM_OK;
}

/* What was computed beyond n tokens is dropped, memory stays reserved. */
static slm_status forget(struct bench *bench, size_t n, struct slm_error *error)
{
    for (int32_t s = 0; s < bench->n_sessions; s++) SLM_TRY(slm_session_truncate(bench->sessions[s], n, error));
    return SLM_OK;
}

/* Joules between two readings of the counters, which may have begun again once; < 0 when there are none. */
static double joules_between(const struct slm_energy *before, size_t n_before, const struct slm_energy *after,
                             size_t n_after)
{
    double sum = n_before > 0 && n_before == n_after ? 0 : -1;
    for (size_t i = 0; i < n_before && sum >= 0; i++) {
        const bool wrapped = after[i].microjoules < before[i].microjoules;
        sum += 1e-6 * (double)(after[i].microjoules + (wrapped ? before[i].range : 0) - before[i].microjoules);
    }
    return sum;
}

/* One run of one case; r < 0 is not counted. */
static slm_status run_case(struct bench *bench, struct slm_bench_case *c, int32_t r, struct slm_error *error)
{
    struct slm_energy before[SLM_MAX_PACKAGES], after[SLM_MAX_PACKAGES];
    const size_t n = (size_t)c->n, depth = (size_t)c->depth;
    SLM_TRY(forget(bench, depth, error));
    const size_t n_before = slm_os()->energy(before);
    const double start = slm_cli_seconds();
    SLM_TRY(feed(bench, depth, n, c->prefill ? n : 1, error));
    const double seconds = slm_cli_seconds() - start;
    const double joules = joules_between(before, n_before, after, slm_os()->energy(after));
    if (isatty(STDERR_FILENO)) slm_cli_draw_progress(&bench->progress, ++bench->done, bench->total);
    if (r < 0) return SLM_OK;
    c->tok_s[r] = (double)n * (double)bench->n_sessions / seconds;
    c->joules = joules < 0 || c->joules < 0 ? -1 : c->joules + joules;
    return SLM_OK;
}

/* Cases [first, end) share sessions and depth. They take turns, so that a slow phase of the machine hits all of them.
 * Warming up lets each touch the memory it will use, as the second use of a program finds it. */
static slm_status run_together(struct bench *bench, size_t first, size_t end, struct slm_error *error)
{
    struct slm_bench_case *cases = bench->report->cases;
    SLM_TRY(need_sessions(bench, cases[first].threads, cases[first].batch, error));
    SLM_TRY(forget(bench, 0, error));
    SLM_TRY(slm_engine_pack(bench->engine, error)); /* the first measured pass is like the others */
    const size_t depth = (size_t)cases[first].depth;
    if (depth > 0) SLM_TRY(feed(bench, 0, depth, depth, error));
    for (int32_t r = -bench->plan->n_warm_up; r < bench->plan->n_repeat; r++)
        for (size_t i = first; i < end; i++) SLM_TRY(run_case(bench, &cases[i], r, error));
    return SLM_OK;
}

/* Neighbours that share sessions and depth are one group. */
static slm_status run_all(struct bench *bench, struct slm_error *error)
{
    struct slm_bench_report *report = bench->report;
    struct slm_bench_case *cases = report->cases;
    for (size_t first = 0, end; first < report->n_cases; first = end) {
        for (end = first; end < report->n_cases && cases[end].depth == cases[first].depth &&
                          cases[end].batch == cases[first].batch && cases[end].threads == cases[first].threads;)
            end++;
        SLM_TRY(run_together(bench, first, end, error));
    }
    return SLM_OK;
}

/* One case for each count of the list that is not 0, otherwise like `like`. */
static void add_cases(struct slm_bench_report *report, const struct slm_int_list *list, struct slm_bench_case like)
{
    for (size_t i = 0; i < list->n; i++) {
        like.n = list->items[i];
        if (like.n > 0 && report->n_cases < MAX_CASES) report->cases[report->n_cases++] = like;
    }
}

/* Every combination, those next to each other that share sessions and depth. */
static slm_status list_cases(const struct slm_bench_plan *o, struct slm_bench_report *report, struct slm_error *error)
{
    const size_t n = o->n_threads.n * o->n_batch.n * o->n_depth.n * (o->n_prompt.n + o->n_generate.n);
    if (n > MAX_CASES)
        return slm_fail(error, SLM_ERR_ARGUMENT, "bench", "these lists have %zu combinations, %d are allowed", n,
                        MAX_CASES);
    report->cases = slm_alloc(n, sizeof *report->cases, "bench", error);
    if (!report->cases) return SLM_ERR_MEMORY;
    for (size_t t = 0; t < o->n_threads.n; t++)
        for (size_t b = 0; b < o->n_batch.n; b++)
            for (size_t d = 0; d < o->n_depth.n; d++) {
                const struct slm_bench_case like = {.depth = o->n_depth.items[d], .batch = o->n_batch.items[b],
                                                    .threads = o->n_threads.items[t]};
                struct slm_bench_case prompt = like;
                prompt.prefill = true;
                add_cases(report, &o->n_prompt, prompt);
                add_cases(report, &o->n_generate, like);
            }
    return SLM_OK;
}

/* Loading first, so that the last opened model is the one measured. */
static slm_status measure(struct bench *bench, struct slm_error *error)
{
    const struct slm_bench_plan *o = bench->plan;
    struct slm_bench_report *report = bench->report;
    SLM_TRY(list_cases(o, report, error));
    const int32_t longest = most_of(&o->n_prompt) > most_of(&o->n_generate) ? most_of(&o->n_prompt)
                                                                             : most_of(&o->n_generate);
    bench->n_ids = (size_t)most_of(&o->n_depth) + (size_t)longest;
    if (bench->n_ids < SLM_BENCH_FIRST_PROMPT) bench->n_ids = SLM_BENCH_FIRST_PROMPT;
    if (bench->choice.n_ctx == 0) bench->choice.n_ctx = (int32_t)bench->n_ids;
    for (int32_t r = 0; r < o->n_repeat; r++) {
        SLM_TRY(open_all(bench, &report->load_s[r], &report->first_s[r], error));
        if (r + 1 < o->n_repeat) close_all(bench);
    }
    bench->progress = (struct slm_cli_progress){.label = o->label ? o->label : "measuring", .start = slm_cli_seconds()};
    bench->total = report->n_cases * (uint64_t)(o->n_repeat + o->n_warm_up);
    slm_status status = run_all(bench, error);
    slm_cli_clear_progress(&bench->progress);
    SLM_TRY(status);
    /* What the answer will be of: told by the model that was measured. */
    struct slm_kernels kernels;
    slm_kernels_init(&kernels, bench->model->cpu_mask);
    report->kernels = kernels.level;
    report->cpu = slm_cpu_model();
    report->info = slm_model_info(bench->model);
    report->n_repeat = o->n_repeat;
    report->rss_bytes = slm_cli_rss(false);
    report->peak_rss_bytes = slm_cli_rss(true);
    if (report->peak_rss_bytes < report->rss_bytes) report->peak_rss_bytes = report->rss_bytes; /* that one lags */
    const struct slm_work work = slm_work_of(bench->model);
    report->weight_bytes = work.token_bytes;
    report->n_macs = work.int8_macs + work.float_macs;
    return SLM_OK;
}

/* The model goes over to the report, whose texts are its own. */
slm_status slm_bench_measure(const struct slm_bench_plan *plan, const struct slm_model_choice *choice,
                             struct slm_bench_report *report, struct slm_error *error)
{
    struct bench bench = {.plan = plan, .report = report, .choice = *choice};
    const slm_status status = measure(&bench, error);
    close_engine(&bench);
    report->model = bench.model;
    slm_release(bench.ids);
    return status;
}

void slm_bench_release(struct slm_bench_report *report)
{
    slm_model_close(report->model);
    slm_release(report->cases);
}
