/* SPDX-License-Identifier: MIT
 *
 * `slm bench`: how fast a model runs here. Three measurements, each repeated: reading a prompt of P tokens into
 * an empty context (pp), generating N tokens one at a time from an empty context (tg), and opening the model
 * (load). The tokens are random: only their number matters for the time. Medians are the answer, every single
 * value is in the JSON, because a shared machine makes means lie.
 *
 * With --batch B, B sequences advance together, step by step; rates then count the tokens of all of them. */
#include "base/os.h"
#include "base/rng.h"
#include "cli/cli.h"
#include "cli/commands.h"

enum { MAX_REPEATS = 100, MAX_BATCH = 64 };

/* Filled by the rows below; 0 means not given and is replaced by a default in bench_main. */
struct bench_options {
    uint64_t seen;
    int32_t n_prompt, n_generate, n_batch, n_repeat;
    bool json;
    struct slm_model_choice model;
};

#define AT(field) offsetof(struct bench_options, field)
static const struct slm_option bench_rows[] = {
    {.name = "n-prompt", .letter = 'p', .kind = SLM_OPTION_INT, .offset = AT(n_prompt), .arg = "P", .min = 0,
     .max = 1 << 20,
     .help = "tokens of the prompt; 0 = skip (default: 512)"},
    {.name = "n-gen", .letter = 'n', .kind = SLM_OPTION_INT, .offset = AT(n_generate), .arg = "N", .min = 0,
     .max = 1 << 20,
     .help = "tokens to generate; 0 = skip (default: 64)"},
    {.name = "batch", .letter = 'b', .kind = SLM_OPTION_INT, .offset = AT(n_batch), .arg = "B", .min = 1,
     .max = MAX_BATCH,
     .help = "sequences side by side (default: 1)"},
    {.name = "repeat", .letter = 'r', .kind = SLM_OPTION_INT, .offset = AT(n_repeat), .arg = "R", .min = 1,
     .max = MAX_REPEATS,
     .help = "times each is measured (default: 5)"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "one JSON object"},
};
#undef AT
static const struct slm_option_group bench_groups[] = {
    {"Options", bench_rows, sizeof bench_rows / sizeof bench_rows[0], 0},
    SLM_MODEL_GROUP(struct bench_options, model),
};
enum { SEEN_PROMPT = 1, SEEN_GENERATE = 2 }; /* bits of bench_options.seen: rows 0 and 1 */

/* One measured set-up: the model, an engine, and as many sessions as sequences. */
struct bench {
    struct slm_model *model;
    struct slm_engine *engine;
    struct slm_session *sessions[MAX_BATCH];
    int32_t n_sessions;
    int32_t *ids;                                                 /* max(n_prompt, n_generate, 1) random tokens */
    double load_s[MAX_REPEATS], pp[MAX_REPEATS], tg[MAX_REPEATS]; /* seconds, then tokens per second */
    uint64_t rss_bytes;
};

/* Opening counts from nothing to a session that could take a token. */
static slm_status open_all(struct bench *bench, const struct bench_options *options, double *seconds,
                           struct slm_error *error)
{
    struct slm_model_choice choice = options->model;
    int32_t most = options->n_prompt > options->n_generate ? options->n_prompt : options->n_generate;
    if (choice.n_ctx == 0) choice.n_ctx = most > 0 ? most : 1;
    double start = slm_cli_seconds();
    SLM_TRY(slm_cli_open_model(&choice, false, &bench->model, error));
    /* Whole pages for each. */
    size_t n_kv = ((size_t)choice.n_ctx + 31) / 32 * 32 * (size_t)options->n_batch;
    SLM_TRY(slm_cli_open_engine(bench->model, &choice, n_kv, &bench->engine, error));
    for (bench->n_sessions = 0; bench->n_sessions < options->n_batch; bench->n_sessions++)
        SLM_TRY(slm_engine_session(bench->engine, &bench->sessions[bench->n_sessions], error));
    *seconds = slm_cli_seconds() - start;
    return SLM_OK;
}

/* Sessions before the engine, and that before the model it borrows from. Leaves bench ready for the next open_all. */
static void close_all(struct bench *bench)
{
    for (int32_t s = 0; s < bench->n_sessions; s++) slm_session_close(bench->sessions[s]);
    slm_engine_close(bench->engine);
    slm_model_close(bench->model);
    bench->engine = NULL;
    bench->model = NULL;
    bench->n_sessions = 0;
}

/* Fixed seed: every run of every version feeds the same tokens. */
static slm_status make_ids(struct bench *bench, const struct bench_options *options, struct slm_error *error)
{
    size_t n = (size_t)(options->n_prompt > options->n_generate ? options->n_prompt : options->n_generate) + 1;
    uint64_t n_vocab = (uint64_t)slm_model_info(bench->model).n_vocab;
    struct slm_rng rng = {.seed = 1};
    bench->ids = slm_alloc(n, sizeof *bench->ids, "bench", error);
    if (!bench->ids) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) bench->ids[i] = (int32_t)(slm_rng_next(&rng) % n_vocab);
    return SLM_OK;
}

/* Empty contexts again; what was computed is dropped, memory stays reserved. */
static slm_status forget(struct bench *bench, struct slm_error *error)
{
    for (int32_t s = 0; s < bench->n_sessions; s++) SLM_TRY(slm_session_truncate(bench->sessions[s], 0, error));
    return SLM_OK;
}

/* Feeds n tokens to every sequence in pieces of `chunk`, all in one step; returns tokens per second over all. */
static slm_status feed(struct bench *bench, size_t n, size_t chunk, double *rate, struct slm_error *error)
{
    SLM_TRY(forget(bench, error));
    double start = slm_cli_seconds();
    for (size_t done = 0; done < n; done += chunk) {
        struct slm_step_part parts[MAX_BATCH];
        for (int32_t s = 0; s < bench->n_sessions; s++)
            parts[s] = (struct slm_step_part){.session = bench->sessions[s], .ids = bench->ids + done, .n = chunk};
        SLM_TRY(slm_engine_step(bench->engine, parts, (size_t)bench->n_sessions, error));
    }
    *rate = (double)n * (double)bench->n_sessions / (slm_cli_seconds() - start);
    return SLM_OK;
}

/* Loading first, so that the last opened model is the one measured. One token warms up: it touches the weights
 * of every layer once, as any real use would have. Prompt and generation alternate, so that a slow phase of the
 * machine hits both. */
static slm_status measure(struct bench *bench, const struct bench_options *options, struct slm_error *error)
{
    double warm_up;
    for (int32_t r = 0; r < options->n_repeat; r++) {
        SLM_TRY(open_all(bench, options, &bench->load_s[r], error));
        if (r + 1 < options->n_repeat) close_all(bench);
    }
    SLM_TRY(make_ids(bench, options, error));
    size_t n_prompt = (size_t)options->n_prompt, n_generate = (size_t)options->n_generate;
    SLM_TRY(feed(bench, 1, 1, &warm_up, error));
    for (int32_t r = 0; r < options->n_repeat; r++) {
        if (n_prompt > 0) SLM_TRY(feed(bench, n_prompt, n_prompt, &bench->pp[r], error));
        if (n_generate > 0) SLM_TRY(feed(bench, n_generate, 1, &bench->tg[r], error));
    }
    bench->rss_bytes = slm_cli_rss(false);
    return SLM_OK;
}

/* "name": median, "name_all": [...]; null when it was not measured. */
static void add_values(struct slm_buf *out, const char *name, double *values, int32_t n, bool measured)
{
    struct slm_buf key = {0}, all = {0};
    slm_buf_printf(&key, "%s_all", name);
    slm_buf_puts(&all, "[");
    for (int32_t i = 0; i < n && measured; i++) { /* before the median sorts them */
        if (i) slm_buf_puts(&all, ",");
        slm_json_double(&all, values[i]);
    }
    slm_buf_puts(&all, "]");
    slm_json_key(out, name);
    if (measured)
        slm_json_double(out, slm_cli_median(values, (size_t)n));
    else
        slm_buf_puts(out, "null");
    if (key.data && all.data) {
        slm_json_key(out, key.data);
        slm_buf_puts(out, all.data);
    } else {
        out->failed = SLM_ERR_MEMORY;
    }
    slm_buf_release(&key);
    slm_buf_release(&all);
}

/* The fields that scripts read; new ones may be added, none is renamed. */
static void add_json(struct slm_buf *out, struct bench *bench, const struct bench_options *options)
{
    struct slm_model_info info = slm_model_info(bench->model);
    slm_buf_puts(out, "{");
    slm_json_text(out, "model", options->model.path ? options->model.path : "built-in");
    slm_json_text(out, "architecture", info.architecture);
    slm_json_i64(out, "n_params", (int64_t)info.n_params);
    slm_json_i64(out, "file_bytes", (int64_t)info.file_bytes);
    slm_json_i64(out, "n_prompt", options->n_prompt);
    slm_json_i64(out, "n_gen", options->n_generate);
    slm_json_i64(out, "batch", options->n_batch);
    slm_json_i64(out, "threads", options->model.n_threads ? options->model.n_threads : (int32_t)slm_os()->n_cpus());
    slm_json_i64(out, "repeat", options->n_repeat);
    /* The medians, and every value they are of: whoever compares two programs wants to pair them up. */
    add_values(out, "pp_tok_s", bench->pp, options->n_repeat, options->n_prompt > 0);
    add_values(out, "tg_tok_s", bench->tg, options->n_repeat, options->n_generate > 0);
    add_values(out, "load_s", bench->load_s, options->n_repeat, true);
    slm_json_i64(out, "rss_bytes", (int64_t)bench->rss_bytes);
    slm_json_i64(out, "peak_rss_bytes", (int64_t)slm_cli_rss(true));
    slm_buf_puts(out, "}\n");
}

/* "what   median tok/s (least to most)". */
static void add_row(struct slm_buf *out, const char *what, double *values, int32_t n)
{
    double median = slm_cli_median(values, (size_t)n); /* sorts: the ends are the extremes */
    slm_buf_printf(out, "%-16s %10.2f tok/s   (%.2f to %.2f)\n", what, median, values[0], values[n - 1]);
}

/* The same for people, with the extremes beside each median. */
static void add_text(struct slm_buf *out, struct bench *bench, const struct bench_options *options)
{
    struct slm_model_info info = slm_model_info(bench->model);
    char size[16], count[16], what[32];
    slm_buf_printf(out, "model            %s, %s, %s parameters, %s\n",
                   options->model.path ? options->model.path : "built-in", info.architecture,
                   slm_cli_count(count, (double)info.n_params), slm_cli_size(size, (double)info.file_bytes));
    slm_buf_printf(out, "threads          %d\n",
                   options->model.n_threads ? options->model.n_threads : (int32_t)slm_os()->n_cpus());
    snprintf(what, sizeof what, "prompt %d", options->n_prompt);
    if (options->n_prompt > 0) add_row(out, what, bench->pp, options->n_repeat);
    snprintf(what, sizeof what, "generate %d", options->n_generate);
    if (options->n_generate > 0) add_row(out, what, bench->tg, options->n_repeat);
    slm_buf_printf(out, "load             %10.3f s\n", slm_cli_median(bench->load_s, (size_t)options->n_repeat));
    slm_buf_printf(out, "memory           %10s\n", slm_cli_size(size, (double)bench->rss_bytes));
}

static int bench_main(void *opaque, int n_args, char **args)
{
    struct bench_options *options = opaque;
    struct bench bench = {0};
    struct slm_buf out = {0};
    struct slm_error error;
    if (n_args > 0) options->model.path = args[0];
    if (!(options->seen & SEEN_PROMPT)) options->n_prompt = 512;
    if (!(options->seen & SEEN_GENERATE)) options->n_generate = 64;
    if (!options->n_batch) options->n_batch = 1;
    if (!options->n_repeat) options->n_repeat = 5;
    slm_status status = measure(&bench, options, &error);
    if (status == SLM_OK && options->json)
        add_json(&out, &bench, options);
    else if (status == SLM_OK)
        add_text(&out, &bench, options);
    close_all(&bench);
    slm_release(bench.ids);
    if (status == SLM_OK) return slm_cli_emit(&out);
    slm_buf_release(&out);
    return slm_cli_fail(&error);
}

const struct slm_command slm_command_bench = {
    .name = "bench",
    .args = "[MODEL]",
    .summary = "Measures tokens per second, loading time and memory",
    .groups = bench_groups,
    .n_groups = sizeof bench_groups / sizeof bench_groups[0],
    .options_bytes = sizeof(struct bench_options),
    .max_args = 1,
    .run = bench_main,
};
