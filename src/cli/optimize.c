/* SPDX-License-Identifier: MIT
 *
 * `slm optimize`: a model that meets a goal, by a recipe or by what is usual. The work is the library's
 * (slm_optimize); here are options, the work folder, the table and the JSON. The page is optimize_html.c's. */
#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/optimize.h"
#include "cli/work.h"

/* Filled by the rows below; zero means not given. */
struct optimize_options {
    uint64_t seen;
    const char *goal, *html, *out, *recipe, *text, *work;
    int32_t n_threads;
    bool json, quiet;
};

#define AT(field) offsetof(struct optimize_options, field)
static const struct slm_option optimize_rows[] = {
    {.name = "goal", .letter = 'g', .kind = SLM_OPTION_TEXT, .offset = AT(goal), .arg = "GOAL",
     .help = "bounds on size, bpw, kl, ppl, top1, decode, prefill, memory, as in 'size<=400M, kl<=0.02' "
             "(default: kl<=0.02)"},
    {.name = "output", .letter = 'o', .kind = SLM_OPTION_TEXT, .offset = AT(out), .arg = "FILE",
     .help = "the new model (default: the recipe's, or MODEL-optimized.gguf here)"},
    {.name = "recipe", .letter = 'r', .kind = SLM_OPTION_TEXT, .offset = AT(recipe), .arg = "FILE",
     .help = "a recipe for the model that was given, instead of the recipe's own"},
    {.name = "text", .letter = 'f', .kind = SLM_OPTION_TEXT, .offset = AT(text), .arg = "FILE",
     .help = "text as the model will meet it: half to calibrate, half to measure on (default: the model writes one)"},
    {.name = "work", .letter = 'w', .kind = SLM_OPTION_TEXT, .offset = AT(work), .arg = "FOLDER",
     .help = "keep what is computed here, and go on from it (default: the output's name and .work)"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024, .help = "threads (default: all CPUs this process may use)"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json), .help = "print one JSON object"},
    {.name = "html", .kind = SLM_OPTION_TEXT, .offset = AT(html), .arg = "FILE",
     .help = "also write a report with a chart, one page that needs nothing else"},
    {.name = "quiet", .letter = 'q', .kind = SLM_OPTION_FLAG, .offset = AT(quiet), .help = "no bar, no notes"},
};
#undef AT
static const struct slm_option_group optimize_groups[] = {
    {"Options", optimize_rows, sizeof optimize_rows / sizeof optimize_rows[0], 0},
};

/* ---- what is told ---------------------------------------------------------------------------- */

/* What is a number here is NaN where it was not measured. */
const struct slm_optimize_column slm_optimize_columns[SLM_OPTIMIZE_COLUMNS] = {
#define AT(field) offsetof(struct slm_optimize_candidate, field)
    {"size", "MB", 9, 2, 1e-6, AT(size)},        {"bpw", "bits", 7, 2, 1, AT(bpw)},
    {"kl", "KL", 9, 5, 1, AT(kl)},               {"kl_error", NULL, 0, 0, 1, AT(kl_error)},
    {"ppl", "perplexity", 11, 3, 1, AT(ppl)},    {"top1", "same %", 8, 2, 100, AT(top1)},
    {"decode", "tok/s", 9, 1, 1, AT(decode)},    {"prefill", "prefill", 9, 1, 1, AT(prefill)},
    {"memory", "memory MB", 10, 1, 1e-6, AT(memory)},
#undef AT
};

static const struct slm_optimize_column *const columns_end = slm_optimize_columns + SLM_OPTIMIZE_COLUMNS;

/* The keys are stable: those of the columns. What was not measured is null. */
static void add_json(struct slm_buf *out, const struct slm_optimize_result *r, const char *path)
{
    slm_buf_puts(out, "{");
    slm_json_text(out, "goal", r->goal);
    slm_json_bool(out, "met", r->met);
    slm_json_text(out, "chosen", r->candidates[r->chosen].name);
    slm_json_text(out, "reason", r->reason);
    slm_json_text(out, "output", r->met ? path : NULL);
    slm_json_real(out, "base_size", r->base_size);
    slm_json_real(out, "base_ppl", r->base_ppl);
    slm_json_key(out, "candidates");
    for (size_t i = 0; i < r->n; i++) {
        const struct slm_optimize_candidate *c = &r->candidates[i];
        slm_buf_puts(out, i ? ",{" : "[{");
        slm_json_text(out, "name", c->name);
        for (const struct slm_optimize_column *k = slm_optimize_columns; k < columns_end; k++)
            slm_json_real(out, k->key, slm_optimize_number(c, k));
        slm_json_bool(out, "pareto", c->pareto);
        slm_json_bool(out, "meets", c->meets);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]");
    slm_json_key(out, "types");
    slm_buf_puts(out, "{");
    for (size_t i = 0; i < r->n_types; i++) slm_json_text(out, r->types[i].pattern, r->types[i].type);
    slm_buf_puts(out, "}}\n");
}

/* For people: a line a candidate; what was not measured is a dash. */
static void add_text(struct slm_buf *out, const struct slm_optimize_result *r)
{
    slm_buf_printf(out, "%-12s", "");
    for (const struct slm_optimize_column *k = slm_optimize_columns; k < columns_end; k++)
        if (k->title) slm_buf_printf(out, " %*s", k->width, k->title);
    slm_buf_puts(out, "\n");
    for (size_t i = 0; i < r->n; i++) {
        const struct slm_optimize_candidate *c = &r->candidates[i];
        slm_buf_printf(out, "%-12s", c->name);
        for (const struct slm_optimize_column *k = slm_optimize_columns; k < columns_end; k++) {
            const double value = slm_optimize_number(c, k) * k->factor;
            if (!k->title) continue;
            if (isnan(value)) slm_buf_printf(out, " %*s", k->width, "-");
            else slm_buf_printf(out, " %*.*f", k->width, k->digits, value);
        }
        /* Words rather than signs: they are found again in a log. */
        slm_buf_printf(out, "%s%s%s\n", c->pareto ? "  pareto" : "", c->meets ? "  meets" : "",
                       i == r->chosen ? "  chosen" : "");
    }
    slm_buf_printf(out, "\n%s\n", r->reason);
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* A recipe is told from a model by its name: no model is called .json. */
static bool ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

/* "models/a.gguf" and "models/a/" -> "a-optimized.gguf" */
static void default_output(const char *model, struct slm_buf *out)
{
    size_t end = strlen(model);
    while (end > 1 && model[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && model[start - 1] != '/') start--;
    if (end - start > 5 && memcmp(model + end - 5, ".gguf", 5) == 0) end -= 5;
    slm_buf_printf(out, "%.*s-optimized.gguf", (int)(end - start), model + start);
}

/* The folder is made here: the library works in what it is given. */
static slm_status make_folder(const char *path, struct slm_error *error)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return SLM_OK;
    return slm_fail(error, SLM_ERR_IO, path, "cannot be made: %s", strerror(errno));
}

/* ---- the command ----------------------------------------------------------------------------- */

/* What is read, and paths that are made up. */
struct files { struct slm_buf recipe, out, work; };

/* Reads the recipe, and fills what was not given. A recipe may name its output itself; then the work folder stands
 * beside the recipe. */
static slm_status prepare(const struct optimize_options *options, const char *arg, struct files *files,
                          struct slm_optimize_options *what, struct slm_error *error)
{
    /* Alone it may be either; beside a recipe it is a model. */
    const char *recipe = options->recipe ? options->recipe : ends_in(arg, ".json") ? arg : NULL;
    if (recipe) {
        SLM_TRY(slm_cli_read(recipe, (size_t)1 << 20, &files->recipe, error));
        what->recipe = files->recipe.data ? files->recipe.data : "";
        what->recipe_bytes = files->recipe.len;
        what->recipe_name = recipe;
    }
    if (recipe != arg) what->model = arg;
    if (!recipe && !options->out) default_output(arg, &files->out);
    /* NULL where the recipe is to say it. */
    what->out = options->out ? options->out : files->out.data;
    slm_buf_printf(&files->work, "%s.work", what->out ? what->out : arg);
    what->work = options->work ? options->work : files->work.data;
    /* Beside the output, so that the same command finds it again. */
    SLM_TRY(slm_buf_status(&files->work, "optimize", error));
    return make_folder(what->work, error);
}

/* A goal that is not met is a failure, after the table: what was tried is worth seeing then, too. */
static int optimize_main(void *opaque, int n_args, char **args)
{
    const struct optimize_options *options = opaque;
    struct slm_cli_work work;
    struct slm_error error;
    struct files files = {.recipe = {0}};
    struct slm_optimize_result result = {0};
    struct slm_buf out = {0}, page = {0};
    /* The library asks for the rest: a recipe may have everything. */
    if (n_args != 1) return slm_cli_usage("optimize", "a model or a recipe is needed: slm optimize model.gguf");
    struct slm_optimize_options what = {.text = options->text, .goal = options->goal, .n_threads = options->n_threads,
                                        .progress = slm_cli_work_progress, .note = slm_cli_work_note, .user = &work};
    slm_cli_work_begin(&work, "optimize", "optimizing", options->quiet);
    slm_status status = prepare(options, args[0], &files, &what, &error);
    if (status == SLM_OK) status = slm_optimize(&what, &result, &error);
    int exit_code = slm_cli_work_end(&work, status, &error);
    if (status == SLM_OK) {
        if (options->json) add_json(&out, &result, what.out);
        else add_text(&out, &result);
        exit_code = slm_cli_emit(&out);
        /* Also where the goal is not met: it shows how near everything came. */
        if (options->html) slm_optimize_html(&page, &result, args[0]);
        if (options->html && slm_cli_save(options->html, &page, &error) != SLM_OK) exit_code = slm_cli_fail(&error);
        if (!result.met) {
            (void)slm_fail(&error, SLM_ERR_LIMIT, "optimize", "%s; no file was written", result.reason);
            exit_code = slm_cli_fail(&error);
        }
    }
    slm_optimize_release(&result);
    slm_buf_release(&page);
    slm_buf_release(&files.recipe);
    slm_buf_release(&files.out);
    slm_buf_release(&files.work);
    return exit_code;
}

/* The model's options are the recipe's business. */
const struct slm_command slm_command_optimize = {
    .name = "optimize",
    .args = "MODEL | RECIPE.json",
    .summary = "Makes a model as small as a goal allows, and says what it tried",
    .details = "Calibrates, tries the usual mixtures of types, searches for better ones tensor by\n"
               "tensor, measures each against the original, and writes the smallest that meets\n"
               "the goal (with no bound on quality: the best one). Ends with a table of all that\n"
               "was tried. A killed run goes on where it was. Recipes: docs/optimize.md.\n"
               "\n"
               "  slm optimize qwen3.gguf --text chats.txt\n"
               "  slm optimize qwen3.gguf --goal 'size<=400M' -o small.gguf\n"
               "  slm optimize examples/story.json --json\n"
               "  slm optimize Qwen3-0.6B/ --recipe examples/phone.json\n",
    .groups = optimize_groups,
    .n_groups = sizeof optimize_groups / sizeof optimize_groups[0],
    .options_bytes = sizeof(struct optimize_options),
    .max_args = 1,
    .run = optimize_main,
};
