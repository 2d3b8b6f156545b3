/* SPDX-License-Identifier: MIT
 *
 * `slm compare`: several models side by side. What their files say and what they will need is gathered first, of all of
 * them, so that a bad one is named before anything slow begins; then each is measured and, with a text, evaluated
 * against the base. Measuring is `slm bench`'s, predictions are `slm inspect`'s, evaluating is `slm eval`'s.
 * Deliberately not here: how it looks (compare_report.c, compare_html.c). */
#include "cli/compare.h"

#include <math.h>

#include "base/cpu.h"
#include "base/os.h"
#include "cli/commands.h"
#include "cli/work.h"
#include "tune/compare.h"
#include "tune/convert.h"

/* Filled by the rows below; zero means not given. */
struct compare_options {
    uint64_t seen;
    struct slm_int_list contexts;
    const char *base, *text, *html;
    int32_t window, max_windows, n_prompt, n_generate, n_repeat, n_threads;
    int kv_type;
    bool no_bench, json;
};

static const char *const kv_names[] = {"", "f16", "f32", "int8", NULL}; /* enum slm_kv_type */

#define AT(field) offsetof(struct compare_options, field)
/* Two questions, memory and speed, need no text; the third does. */
static const struct slm_option compare_rows[] = {
    {.name = "base", .kind = SLM_OPTION_TEXT, .offset = AT(base), .arg = "MODEL",
     .help = "the one the others are compared with (default: the first); it need not be among them"},
    {.name = "text", .letter = 'f', .kind = SLM_OPTION_TEXT, .offset = AT(text), .arg = "FILE",
     .help = "also measure how well they predict this text; - is stdin"},
    {.name = "ctx", .letter = 'c', .kind = SLM_OPTION_INTS, .offset = AT(contexts), .arg = "N,..", .min = 1,
     .max = 1 << 27, .help = "contexts to predict memory for (default: 1024,4096,16384, as far as the models can)"},
    {.name = "kv", .kind = SLM_OPTION_CHOICE, .offset = AT(kv_type), .arg = "TYPE", .choices = kv_names,
     .help = "type of the KV cache: f16 (default), f32 or int8"},
    {.name = "n-prompt", .letter = 'p', .kind = SLM_OPTION_INT, .offset = AT(n_prompt), .arg = "P", .min = 1,
     .max = 1 << 20, .help = "tokens of the prompt that is timed (default: 256)"},
    {.name = "n-gen", .letter = 'n', .kind = SLM_OPTION_INT, .offset = AT(n_generate), .arg = "N", .min = 1,
     .max = 1 << 20, .help = "tokens whose generating is timed (default: 32)"},
    {.name = "repeat", .letter = 'r', .kind = SLM_OPTION_INT, .offset = AT(n_repeat), .arg = "R", .min = 1,
     .max = SLM_BENCH_REPEATS, .help = "times each is measured (default: 3)"},
    {.name = "no-bench", .kind = SLM_OPTION_FLAG, .offset = AT(no_bench), .help = "do not measure speed"},
    {.name = "window", .letter = 'w', .kind = SLM_OPTION_INT, .offset = AT(window), .arg = "N", .min = 4,
     .max = 1048576, .help = "tokens of a window of the text, as in `slm eval`"},
    {.name = "max-windows", .kind = SLM_OPTION_INT, .offset = AT(max_windows), .arg = "N", .min = 1, .max = 1e9,
     .help = "stop after N windows of the text"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024, .help = "threads (default: all CPUs this process may use)"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json), .help = "print one JSON object"},
    {.name = "html", .kind = SLM_OPTION_TEXT, .offset = AT(html), .arg = "FILE",
     .help = "also write a report with charts, one page that needs nothing else"},
};
#undef AT
static const struct slm_option_group compare_groups[] = {
    {"Options", compare_rows, sizeof compare_rows / sizeof compare_rows[0], 0},
};

/* What is open while the models take their turns: the base all the time, the others one by one. */
struct comparing {
    const struct compare_options *options;
    struct slm_comparison *c;
    struct slm_model *base;
    struct slm_buf text;
    struct slm_cli_work work;
};

/* An error that does not say which model it is about is of little use among sixteen. */
static slm_status blame(const struct slm_compared *m, slm_status status, struct slm_error *error)
{
    if (status == SLM_OK || !error || strstr(error->where, m->path)) return status;
    const struct slm_error what = *error;
    return slm_fail(error, status, m->path, "%s: %s", what.where, what.message);
}

/* ---- what files say ------------------------------------------------------------------------------ */

/* Types in the order of their bytes. */
static void name_types(struct slm_compared *m, const struct slm_gguf *gguf)
{
    uint64_t bytes[SLM_DTYPE_COUNT] = {0};
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        bytes[t->dtype] += t->bytes;
    }
    /* As many as have room. */
    for (size_t used = 0;;) {
        int most = 0;
        for (int t = 1; t < SLM_DTYPE_COUNT; t++)
            if (bytes[t] > bytes[most]) most = t;
        if (bytes[most] == 0 || used + 10 > sizeof m->types) return;
        used += (size_t)snprintf(m->types + used, sizeof m->types - used, "%s%s", used ? " " : "",
                                 slm_dtypes[most].name);
        bytes[most] = 0;
    }
}

/* The last part of a path, without what all models end in. */
static void name_model(struct slm_compared *m)
{
    size_t n = strlen(m->path), from = 0;
    /* Folders may have a slash at their end. */
    while (n > 1 && m->path[n - 1] == '/') n--;
    for (size_t i = 0; i < n; i++)
        if (m->path[i] == '/' && i + 1 < n) from = i + 1;
    if (n > from + 5 && memcmp(m->path + n - 5, ".gguf", 5) == 0) n -= 5;
    snprintf(m->name, sizeof m->name, "%.*s", (int)(n - from < sizeof m->name ? n - from : sizeof m->name - 1),
             m->path + from);
}

/* Opening reads headers only, so all models are opened before anything slow begins. */
static slm_status describe(struct slm_compared *m, struct slm_error *error)
{
    struct slm_model *model;
    SLM_TRY(slm_model_open(m->path, NULL, &model, error));
    const struct slm_model_info info = slm_model_info(model);
    name_model(m);
    name_types(m, model->gguf);
    slm_licence_of(model, m->licence, sizeof m->licence);
    snprintf(m->architecture, sizeof m->architecture, "%s", info.architecture);
    m->size_class = info.size_class;
    m->n_params = info.n_params;
    m->file_bytes = info.file_bytes;
    m->work = slm_work_of(model);
    m->bits = info.n_params ? 8 * (double)m->work.weight_bytes / (double)info.n_params : 0;
    slm_model_close(model);
    return SLM_OK;
}

/* Contexts beyond what the model was trained for are left at zero: it would answer nonsense there. */
static slm_status predict_memory(struct comparing *w, struct slm_compared *m, struct slm_error *error)
{
    const struct compare_options *o = w->options;
    struct slm_model *model;
    slm_status status = SLM_OK;
    SLM_TRY(slm_model_open(m->path, NULL, &model, error));
    for (size_t i = 0; i < w->c->contexts.n && status == SLM_OK; i++) {
        const struct slm_session_options session = {.n_ctx = w->c->contexts.items[i], .n_threads = o->n_threads,
                                                    .kv_type = (enum slm_kv_type)o->kv_type};
        if (session.n_ctx <= slm_model_info(model).n_ctx_train)
            status = slm_memory_predict(model, &m->work, &session, &m->memory[i], error);
    }
    slm_model_close(model);
    return status;
}

/* Powers of four from 1024 on, as far as one of the models was trained for; then that. */
static slm_status choose_contexts(struct comparing *w, struct slm_error *error)
{
    struct slm_int_list *list = &w->c->contexts;
    int32_t most = 0;
    *list = w->options->contexts;
    for (size_t i = 0; i < w->c->n && list->n == 0; i++) {
        struct slm_model *model;
        SLM_TRY(slm_model_open(w->c->models[i].path, NULL, &model, error));
        const int32_t trained = slm_model_info(model).n_ctx_train;
        if (trained > most) most = trained;
        slm_model_close(model);
    }
    if (list->n > 0) return SLM_OK;
    for (int32_t n_ctx = 1024; n_ctx < most && list->n < 3; n_ctx *= 4) list->items[list->n++] = n_ctx;
    if (list->n < 3) list->items[list->n++] = most;
    return SLM_OK;
}

/* The base in each of these, at the longest context it can; a type that the file is no smaller in says nothing. */
static slm_status predict_types(struct comparing *w, struct slm_error *error)
{
    static const char *const types[SLM_COMPARE_TYPES] = {"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_1", "Q4_K_M", "Q4_0",
                                                         "IQ4_XS", "Q3_K_M", "Q2_K"};
    struct slm_comparison *c = w->c;
    const struct slm_compared *base = &c->models[c->base];
    struct slm_sizes *sizes = NULL;
    size_t at = SLM_MAX_INTS;
    for (size_t i = 0; i < c->contexts.n; i++)
        if (base->memory[i].weight_bytes > 0) at = i;
    /* Every context that was asked for is longer than the base can. */
    if (at == SLM_MAX_INTS) return SLM_OK;
    c->footprint_ctx = c->contexts.items[at];
    slm_status status = slm_sizes_open(w->base, &sizes, error);
    for (size_t i = 0; i < SLM_COMPARE_TYPES && status == SLM_OK; i++) {
        struct slm_footprint *f = &c->footprint[c->n_footprint++];
        struct slm_work work;
        f->type = types[i];
        status = slm_sizes_in(sizes, types[i], &work, error);
        /* Cache and scratch do not depend on the types of weights. */
        f->memory = base->memory[at];
        f->memory.weight_bytes = work.weight_bytes;
        for (size_t k = 0; k < c->n; k++)
            f->present = f->present || (c->models[k].work.weight_bytes == work.weight_bytes &&
                                        c->models[k].n_params == base->n_params);
    }
    slm_sizes_close(sizes);
    return status;
}

/* ---- measuring ----------------------------------------------------------------------------------- */

/* One prompt and one run of single tokens, as `slm bench` measures them. */
static slm_status measure_speed(struct comparing *w, struct slm_compared *m, struct slm_bench_report *report,
                                struct slm_error *error)
{
    const struct compare_options *o = w->options;
    char label[SLM_COMPARE_TEXT + 16];
    snprintf(label, sizeof label, "%s: measuring", m->name);
    /* Opening is timed too, as often; nobody asks for it here. */
    const struct slm_bench_plan plan = {
        .n_prompt = {{w->c->n_prompt}, 1}, .n_generate = {{w->c->n_generate}, 1}, .n_batch = {{1}, 1},
        .n_depth = {{0}, 1}, .n_threads = {{w->c->n_threads}, 1}, .n_repeat = o->n_repeat ? o->n_repeat : 3,
        .n_warm_up = 1, .label = label};
    const struct slm_model_choice choice = {.path = m->path, .kv_type = o->kv_type};
    SLM_TRY(slm_bench_measure(&plan, &choice, report, error));
    m->prefill = slm_bench_spread(slm_bench_first(report, true)->tok_s, report->n_repeat);
    m->decode = slm_bench_spread(slm_bench_first(report, false)->tok_s, report->n_repeat);
    m->measured = true;
    w->c->cpu = report->cpu;
    w->c->kernels = report->kernels;
    return SLM_OK;
}

/* Against the base where both cut the text alike; the base itself alone, since it is no distance from itself. */
static slm_status evaluate(struct comparing *w, struct slm_compared *m, const struct slm_model *model,
                           struct slm_error *error)
{
    const struct compare_options *o = w->options;
    char label[SLM_COMPARE_TEXT + 16];
    size_t bytes;
    const bool is_base = m == &w->c->models[w->c->base];
    const struct slm_eval_options what = {
        .text = w->text.data ? w->text.data : "", .text_bytes = w->text.len, .n_window = o->window,
        .max_windows = (size_t)o->max_windows, .progress = slm_cli_work_progress, .user = &w->work,
        .session = {.n_threads = o->n_threads, .kv_type = (enum slm_kv_type)o->kv_type}};
    snprintf(label, sizeof label, "%s: evaluating", m->name);
    /* A bar for each model: how long the others take is not known. */
    w->work.bar = (struct slm_cli_progress){.label = label, .start = slm_cli_seconds()};
    SLM_TRY(slm_compare_same_tokens(model, w->base, what.text, what.text_bytes, &m->same_tokens, error));
    SLM_TRY(slm_compare_bytes(model, &what, &bytes, error));
    slm_status status = slm_evaluate(model, m->same_tokens && !is_base ? w->base : NULL, &what, &m->eval, error);
    slm_cli_clear_progress(&w->work.bar);
    if (status != SLM_OK) return status;
    m->evaluated = true;
    /* Nats a token times tokens are nats; a byte of text has its share of them. */
    if (bytes > 0) m->bits_per_byte = m->eval.nll * (double)m->eval.n_tokens / (double)bytes / log(2.0);
    return SLM_OK;
}

/* One after the other: two models at once would take each other's memory and cores. */
static slm_status measure_model(struct comparing *w, struct slm_compared *m, struct slm_error *error)
{
    struct slm_bench_report report = {0};
    slm_status status = SLM_OK;
    if (!w->options->no_bench) status = measure_speed(w, m, &report, error);
    if (status == SLM_OK && w->options->text) {
        /* The model that was measured is open and packed. */
        if (!report.model) status = slm_model_open(m->path, NULL, &report.model, error);
        if (status == SLM_OK) status = evaluate(w, m, report.model, error);
    }
    slm_bench_release(&report);
    return status;
}

/* What is not known of some is not asked of any. */
static void find_front(struct slm_comparison *c)
{
    struct slm_cost costs[SLM_COMPARE_MODELS] = {0};
    /* Bytes, seconds, loss. What was not measured counts the same for all. */
    for (size_t i = 0; i < c->n; i++) {
        const struct slm_compared *m = &c->models[i];
        costs[i].of[0] = (double)m->work.weight_bytes;
        costs[i].of[1] = m->measured ? 1 / m->decode.median : 0;
        costs[i].of[2] = m->evaluated ? m->bits_per_byte : 0;
        /* Where all cut the text alike, their distance from the base tells models apart: perplexity may fall by
         * luck. */
        bool all_same = c->text != NULL;
        for (size_t k = 0; k < c->n; k++) all_same = all_same && c->models[k].same_tokens;
        if (all_same) costs[i].of[2] = i == c->base ? 0 : m->eval.kl_mean;
    }
    for (size_t i = 0; i < c->n; i++) c->models[i].front = slm_compare_is_front(costs, c->n, i);
}

/* Fast and certain to fail first, slow last. */
static slm_status run(struct comparing *w, struct slm_error *error)
{
    struct slm_comparison *c = w->c;
    for (size_t i = 0; i < c->n; i++) SLM_TRY(blame(&c->models[i], describe(&c->models[i], error), error));
    SLM_TRY(choose_contexts(w, error));
    for (size_t i = 0; i < c->n; i++)
        SLM_TRY(blame(&c->models[i], predict_memory(w, &c->models[i], error), error));
    /* It stays open: the others are held against it. */
    const struct slm_compared *base = &c->models[c->base];
    SLM_TRY(blame(base, slm_model_open(base->path, NULL, &w->base, error), error));
    SLM_TRY(predict_types(w, error));
    for (size_t i = 0; i < c->n; i++)
        SLM_TRY(blame(&c->models[i], measure_model(w, &c->models[i], error), error));
    find_front(c);
    return SLM_OK;
}

/* ---- the command --------------------------------------------------------------------------------- */

/* The base is one of the models: the one that is named, else one more, in front. */
static slm_status list_models(const struct compare_options *o, int n_args, char **args, struct slm_comparison *c,
                              struct slm_error *error)
{
    for (int i = 0; i < n_args; i++) {
        c->models[c->n++].path = args[i];
        if (o->base && strcmp(o->base, args[i]) == 0) c->base = (size_t)i;
    }
    if (!o->base || strcmp(c->models[c->base].path, o->base) == 0) return SLM_OK;
    if (c->n == SLM_COMPARE_MODELS)
        return slm_fail(error, SLM_ERR_ARGUMENT, "compare", "at most %d models, the base included",
                        SLM_COMPARE_MODELS);
    /* It is measured like the others. */
    memmove(c->models + 1, c->models, c->n++ * sizeof *c->models);
    c->models[0] = (struct slm_compared){.path = o->base};
    return SLM_OK;
}

/* The page is written before anything is printed: a path that cannot be is no success. */
static int compare_main(void *opaque, int n_args, char **args)
{
    struct compare_options *o = opaque;
    struct slm_buf out = {0}, page = {0};
    struct slm_error error;
    if (n_args == 0) return slm_cli_usage("compare", "models are needed: slm compare a.gguf b.gguf --text FILE");
    struct slm_comparison *c = slm_alloc(1, sizeof *c, "compare", &error);
    if (!c) return slm_cli_fail(&error);
    *c = (struct slm_comparison){.text = o->text, .n_prompt = o->n_prompt ? o->n_prompt : 256,
                                 .n_generate = o->n_generate ? o->n_generate : 32,
                                 .n_threads = o->n_threads ? o->n_threads : (int32_t)slm_os()->n_cpus()};
    struct comparing w = {.options = o, .c = c};
    /* From here on an interrupt stops between windows of the text. */
    slm_cli_work_begin(&w.work, "compare", "comparing", false);
    slm_status status = list_models(o, n_args, args, c, &error);
    if (status == SLM_OK && o->text) status = slm_cli_read(o->text, (size_t)1 << 30, &w.text, &error);
    if (status == SLM_OK) status = run(&w, &error);
    if (status == SLM_OK && o->html) slm_compare_html(&page, c);
    if (status == SLM_OK && o->html) status = slm_cli_save(o->html, &page, &error);
    /* The bar goes before anything is printed. */
    const int exit_code = slm_cli_work_end(&w.work, status, &error);
    if (status == SLM_OK) (o->json ? slm_compare_json : slm_compare_text)(&out, c);
    slm_model_close(w.base);
    slm_buf_release(&w.text);
    slm_release(c);
    return status == SLM_OK ? slm_cli_emit(&out) : exit_code;
}

const struct slm_command slm_command_compare = {
    .name = "compare",
    .args = "MODEL...",
    .summary = "Shows models side by side: size, memory, speed, quality",
    .details = "Memory is predicted at several contexts, speed is measured here, quality needs\n"
               "a text: bits a byte compare any models, KL divergence from the base those that\n"
               "cut the text into the same tokens. A star marks models that no other beats in\n"
               "size, speed and quality at once.\n"
               "\n"
               "  slm compare f16.gguf q8_0.gguf q4_0.gguf --text wiki.txt --html report.html\n",
    .groups = compare_groups,
    .n_groups = sizeof compare_groups / sizeof compare_groups[0],
    .options_bytes = sizeof(struct compare_options),
    .max_args = SLM_COMPARE_MODELS,
    .run = compare_main,
};
