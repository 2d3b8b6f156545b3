/* SPDX-License-Identifier: MIT
 *
 * `slm bench`: how fast a model runs here. Prompt lengths, numbers of tokens, sequences, threads and depths (tokens
 * that are in the context before) are lists; bench_measure.c measures every combination. With a shape instead of a
 * model, a file of that shape is made for the occasion. Deliberately not here: comparing with other programs
 * (bench/run), what the machine could do at best (`slm doctor`), how results look (bench_report.c, bench_html.c). */
#include "cli/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/commands.h"
#include "tune/shape.h"

/* Filled by the rows below; 0 means not given and is replaced by a default in bench_main. */
struct bench_options {
    uint64_t seen;
    struct slm_bench_plan plan;
    bool json;
    const char *html, *shape, *save;
    struct slm_model_choice model;
};

#define AT(field) offsetof(struct bench_options, field)
static const struct slm_option bench_rows[] = {
    {.name = "n-prompt", .letter = 'p', .kind = SLM_OPTION_INTS, .offset = AT(plan.n_prompt), .arg = "P,..", .min = 0,
     .max = 1 << 20,
     .help = "tokens of the prompt; 0 = skip (default: 512)"},
    {.name = "n-gen", .letter = 'n', .kind = SLM_OPTION_INTS, .offset = AT(plan.n_generate), .arg = "N,..", .min = 0,
     .max = 1 << 20,
     .help = "tokens to generate; 0 = skip (default: 64)"},
    {.name = "depth", .letter = 'd', .kind = SLM_OPTION_INTS, .offset = AT(plan.n_depth), .arg = "D,..", .min = 0,
     .max = 1 << 20,
     .help = "tokens in the context before what is measured (default: 0)"},
    {.name = "batch", .letter = 'b', .kind = SLM_OPTION_INTS, .offset = AT(plan.n_batch), .arg = "B,..", .min = 1,
     .max = SLM_BENCH_SEQUENCES,
     .help = "sequences side by side (default: 1)"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INTS, .offset = AT(plan.n_threads), .arg = "T,..", .min = 1,
     .max = 1024,
     .help = "threads (default: all CPUs this process may use)"},
    {.name = "repeat", .letter = 'r', .kind = SLM_OPTION_INT, .offset = AT(plan.n_repeat), .arg = "R", .min = 1,
     .max = SLM_BENCH_REPEATS,
     .help = "times each is measured (default: 5)"},
    {.name = "warm-up", .kind = SLM_OPTION_INT, .offset = AT(plan.n_warm_up), .arg = "W", .min = 0,
     .max = SLM_BENCH_REPEATS,
     .help = "times each is done before, unmeasured (default: 1)"},
    {.name = "shape", .kind = SLM_OPTION_TEXT, .offset = AT(shape), .arg = "NAME[:TYPE]",
     .help = "instead of a model: random weights in the shape of a known one, as in qwen3-0.6b:q4_0 "
             "(an unknown name lists them)"},
    {.name = "save", .kind = SLM_OPTION_TEXT, .offset = AT(save), .arg = "FILE",
     .help = "keep the model that --shape makes (default: a file in /tmp without a name)"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "one JSON object"},
    {.name = "html", .kind = SLM_OPTION_TEXT, .offset = AT(html), .arg = "FILE",
     .help = "also write a report with charts, one page that needs nothing else"},
};
#undef AT
static const struct slm_option_group bench_groups[] = {
    {"Options", bench_rows, sizeof bench_rows / sizeof bench_rows[0], 0},
    SLM_MODEL_GROUP(struct bench_options, model), /* its --threads is hidden by the list */
};
enum { SEEN_WARM_UP = 1 << 6 }; /* bit of bench_options.seen: row 6 */

/* ---- a model that is not there ------------------------------------------------------------------ */

/* Makes the file. One that is not to be kept loses its name as soon as it is open, so nothing is left behind even when
 * this process is killed: it is read through the descriptor, whose path goes into `path`. */
static slm_status make_shape(const struct bench_options *o, char *path, size_t cap, int *fd, struct slm_error *error)
{
    char folder[] = "/tmp/slm-bench-XXXXXX", file[sizeof folder + 16];
    if (o->save) return slm_shape_write(o->shape, o->save, error);
    if (!mkdtemp(folder)) return slm_fail(error, SLM_ERR_IO, folder, "cannot be made: %s", strerror(errno));
    snprintf(file, sizeof file, "%s/shape.gguf", folder);
    slm_status status = slm_shape_write(o->shape, file, error);
    if (status == SLM_OK && (*fd = open(file, O_RDONLY | O_CLOEXEC)) < 0)
        status = slm_fail(error, SLM_ERR_IO, file, "cannot be opened: %s", strerror(errno));
    unlink(file);
    rmdir(folder);
    snprintf(path, cap, "/proc/self/fd/%d", *fd);
    return status;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* A list that was not given has one item. */
static void default_to(struct slm_int_list *list, int32_t value)
{
    if (list->n == 0) *list = (struct slm_int_list){.items = {value}, .n = 1};
}

/* Makes the model if there is none, measures, writes the page: first, since a path that cannot be is no success. */
static slm_status bench_model(const struct bench_options *o, struct slm_bench_report *report, struct slm_error *error)
{
    struct slm_model_choice choice = o->model;
    char path[64];
    int fd = -1;
    slm_status status = SLM_OK;
    report->name = o->shape ? o->shape : o->model.path ? o->model.path : "built-in";
    if (o->shape) {
        status = make_shape(o, path, sizeof path, &fd, error);
        choice.path = o->save ? o->save : path;
    }
    if (status == SLM_OK) status = slm_bench_measure(&o->plan, &choice, report, error);
    if (fd >= 0) close(fd);
    if (status != SLM_OK || !o->html) return status;
    struct slm_buf page = {0};
    status = slm_bench_html(&page, report, error);
    if (status == SLM_OK) return slm_cli_save(o->html, &page, error);
    slm_buf_release(&page);
    return status;
}

/* Defaults are filled in here, because a list that was given as 0 is not one that was not given. */
static int bench_main(void *opaque, int n_args, char **args)
{
    struct bench_options *options = opaque;
    struct slm_bench_plan *plan = &options->plan;
    struct slm_bench_report report = {0};
    struct slm_buf out = {0};
    struct slm_error error;
    if (n_args > 0) options->model.path = args[0];
    if (options->shape && options->model.path)
        return slm_cli_usage("bench", "a model and --shape were given; only one can be measured");
    /* A model that exists is nothing to be saved. */
    if (options->save && !options->shape) return slm_cli_usage("bench", "--save goes with --shape");
    default_to(&plan->n_prompt, 512);
    default_to(&plan->n_generate, 64);
    default_to(&plan->n_batch, 1);
    default_to(&plan->n_depth, 0);
    default_to(&plan->n_threads, (int32_t)slm_os()->n_cpus());
    /* Five, because a shared machine spoils one or two. */
    if (!plan->n_repeat) plan->n_repeat = 5;
    if (!(options->seen & SEEN_WARM_UP)) plan->n_warm_up = 1;
    slm_status status = bench_model(options, &report, &error);
    if (status == SLM_OK) (options->json ? slm_bench_json : slm_bench_text)(&out, &report);
    slm_bench_release(&report);
    if (status == SLM_OK) return slm_cli_emit(&out);
    slm_buf_release(&out);
    return slm_cli_fail(&error);
}

const struct slm_command slm_command_bench = {
    .name = "bench",
    .args = "[MODEL]",
    .summary = "Measures tokens per second, loading time and memory",
    .details = "Lists have commas; every combination is measured:\n"
               "  slm bench model.gguf -p 128,512 -n 64 -d 0,4096\n"
               "  slm bench --shape qwen3-0.6b:q4_0 -p 0 -n 32 -b 1,2,4,8 --html report.html",
    .groups = bench_groups,
    .n_groups = sizeof bench_groups / sizeof bench_groups[0],
    .options_bytes = sizeof(struct bench_options),
    .max_args = 1,
    .run = bench_main,
};
