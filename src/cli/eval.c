/* SPDX-License-Identifier: MIT
 *
 * `slm eval`: how well a model predicts a text, how far it is from the model it was made from, or how many
 * multiple-choice questions it answers. The numbers are the library's (slm_evaluate, slm_evaluate_tasks); here are
 * options and words. */
#include "cli/commands.h"
#include "cli/work.h"

/* Filled by the rows below; zero means not given. */
struct eval_options {
    uint64_t seen;
    const char *text, *base, *task, *checkpoint;
    int32_t window, max_windows, max_items;
    bool letters, json, quiet;
    struct slm_model_choice model;
};

#define AT(field) offsetof(struct eval_options, field)
static const struct slm_option eval_rows[] = {
    {.name = "text", .letter = 'f', .kind = SLM_OPTION_TEXT, .offset = AT(text), .arg = "FILE",
     .help = "the text to predict; - is stdin"},
    {.name = "base", .kind = SLM_OPTION_TEXT, .offset = AT(base), .arg = "MODEL",
     .help = "compare with this model: KL divergence, agreement of the likeliest tokens"},
    {.name = "window", .letter = 'w', .kind = SLM_OPTION_INT, .offset = AT(window), .arg = "N", .min = 4,
     .max = 1048576,
     .help = "tokens of a window; its second half is predicted (default: 512 or what the model was made for)"},
    {.name = "max-windows", .kind = SLM_OPTION_INT, .offset = AT(max_windows), .arg = "N", .min = 1, .max = 1e9,
     .help = "stop after N windows"},
    {.name = "task", .kind = SLM_OPTION_TEXT, .offset = AT(task), .arg = "FILE",
     .help = "instead of a text: multiple-choice questions, a JSON object a line; - is stdin"},
    {.name = "letters", .kind = SLM_OPTION_FLAG, .offset = AT(letters),
     .help = "list the choices in the question and score their letters, as MMLU is asked"},
    {.name = "max-items", .kind = SLM_OPTION_INT, .offset = AT(max_items), .arg = "N", .min = 1, .max = 1e9,
     .help = "stop after N questions"},
    {.name = "checkpoint", .kind = SLM_OPTION_TEXT, .offset = AT(checkpoint), .arg = "FILE",
     .help = "keep what is done here, and go on from it when it exists"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json), .help = "print one JSON object"},
    {.name = "quiet", .letter = 'q', .kind = SLM_OPTION_FLAG, .offset = AT(quiet), .help = "no bar"},
};
#undef AT
/* What a number means depends on the precision, so the options of models belong to it. */
static const struct slm_option_group eval_groups[] = {
    {"Options", eval_rows, sizeof eval_rows / sizeof eval_rows[0], 0},
    SLM_MODEL_GROUP(struct eval_options, model),
};

/* A number, its name in JSON and what people call it; all of them of struct slm_eval_result. */
struct line { const char *key, *label; size_t offset, error; bool base; };
#define AT(field) offsetof(struct slm_eval_result, field)
/* In the order both forms of output have. */
static const struct line lines[] = {
    {"ppl", "perplexity", AT(ppl), AT(ppl_error), false},
    {"nll", "nats a token", AT(nll), AT(nll_error), false},
    {"base_ppl", "perplexity of the base", AT(base_ppl), 0, true},
    {"kl_mean", "KL divergence, mean", AT(kl_mean), AT(kl_error), true},
    {"kl_p50", "KL divergence, median", AT(kl_p50), 0, true},
    {"kl_p90", "KL divergence, 90 %", AT(kl_p90), 0, true},
    {"kl_p99", "KL divergence, 99 %", AT(kl_p99), 0, true},
    {"kl_max", "KL divergence, greatest", AT(kl_max), 0, true},
    {"top1", "same likeliest token", AT(top1), 0, true},
    {"top5", "share of five likeliest", AT(top5), 0, true},
    {"dp_mean", "change of probability, mean", AT(dp_mean), 0, true},
    {"dp_rms", "change of probability, RMS", AT(dp_rms), 0, true},
};
#undef AT

/* By the offset that a row has. */
static double number_at(const struct slm_eval_result *result, size_t offset)
{
    double value;
    memcpy(&value, (const char *)result + offset, sizeof value);
    return value;
}

/* The keys are stable: those of the rows, and NAME_error beside what has a standard error. What is about a base is
 * left out where there is none. */
static void add_json(struct slm_buf *out, const struct slm_eval_result *result)
{
    slm_buf_puts(out, "{");
    slm_json_i64(out, "windows", (int64_t)result->n_windows);
    slm_json_i64(out, "tokens", (int64_t)result->n_tokens);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char key[32];
        if (lines[i].base && !result->has_base) continue;
        slm_json_real(out, lines[i].key, number_at(result, lines[i].offset));
        snprintf(key, sizeof key, "%s_error", lines[i].key);
        if (lines[i].error) slm_json_real(out, key, number_at(result, lines[i].error));
    }
    slm_buf_puts(out, "}\n");
}

/* For people: a line a number. */
static void add_text(struct slm_buf *out, const struct slm_eval_result *result)
{
    slm_buf_printf(out, "%-28s %zu in %zu windows\n", "predicted tokens", result->n_tokens, result->n_windows);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (lines[i].base && !result->has_base) continue;
        slm_buf_printf(out, "%-28s %.5f", lines[i].label, number_at(result, lines[i].offset));
        if (lines[i].error) slm_buf_printf(out, " +- %.5f", number_at(result, lines[i].error));
        slm_buf_puts(out, "\n");
    }
}

/* ---- multiple choice ------------------------------------------------------------------------- */

/* What on_answer appends to. The bar's callbacks get the same pointer, so the work comes first. */
struct answers { struct slm_cli_work work; struct slm_buf items; };

/* One object a question, with all that was computed of it. */
static void add_answer(void *user, const struct slm_task_answer *a)
{
    struct slm_buf *out = &((struct answers *)user)->items;
    slm_buf_puts(out, out->len ? ",{" : "{");
    slm_json_i64(out, "line", (int64_t)a->line);
    slm_json_i64(out, "answer", a->answer);
    slm_json_i64(out, "choice", a->choice);
    slm_json_i64(out, "choice_norm", a->choice_norm);
    slm_json_key(out, "logprobs");
    slm_buf_puts(out, "[");
    for (unsigned i = 0; i < a->n_choices; i++) {
        if (i) slm_buf_puts(out, ",");
        slm_json_float(out, a->logprobs[i]);
    }
    slm_buf_puts(out, "]}");
}

/* The keys are stable; one object an item, in the order of the file. */
static void add_task_json(struct slm_buf *out, const struct slm_task_result *r, const struct slm_buf *items)
{
    slm_buf_puts(out, "{");
    slm_json_i64(out, "items", (int64_t)r->n_items);
    slm_json_real(out, "acc", r->acc);
    slm_json_real(out, "acc_error", r->acc_error);
    slm_json_real(out, "acc_norm", r->acc_norm);
    slm_json_real(out, "acc_norm_error", r->acc_norm_error);
    slm_json_real(out, "chance", r->chance);
    slm_json_key(out, "answers");
    slm_buf_printf(out, "[%s]}\n", items->data ? items->data : "");
}

/* For people: shares with their standard errors. */
static void add_task_text(struct slm_buf *out, const struct slm_task_result *r)
{
    slm_buf_printf(out, "%-28s %zu\n", "questions", r->n_items);
    slm_buf_printf(out, "%-28s %.4f +- %.4f\n", "accuracy (acc)", r->acc, r->acc_error);
    slm_buf_printf(out, "%-28s %.4f +- %.4f\n", "by length (acc_norm)", r->acc_norm, r->acc_norm_error);
    slm_buf_printf(out, "%-28s %.4f\n", "guessing gives", r->chance);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* The context is the library's to choose: texts have their windows. */
static struct slm_session_options session_of(const struct eval_options *options)
{
    return (struct slm_session_options){.n_threads = options->model.n_threads, .n_batch = options->model.n_batch,
                                        .kv_type = (enum slm_kv_type)options->model.kv_type,
                                        .activations = (enum slm_activations)options->model.activations};
}

/* Like eval_main, without a base. The file is read whole: its longest item decides the context. */
static int task_main(const struct eval_options *options)
{
    struct slm_model *model = NULL;
    struct slm_buf text = {0}, out = {0};
    struct slm_error error;
    struct slm_task_result result = {0};
    struct answers answers = {.items = {0}};
    slm_cli_work_begin(&answers.work, "eval", "asking", options->quiet);
    slm_status status = slm_cli_read(options->task, (size_t)1 << 30, &text, &error);
    if (status == SLM_OK) status = slm_cli_open_model(&options->model, false, &model, &error);
    if (status == SLM_OK) {
        struct slm_task_options what = {
            .text = text.data ? text.data : "", .text_bytes = text.len, .where = options->task,
            .letters = options->letters, .max_items = (size_t)options->max_items, .session = session_of(options),
            .checkpoint = options->checkpoint, .progress = slm_cli_work_progress,
            .on_answer = options->json ? add_answer : NULL, .user = &answers,
        };
        /* Longer prompts lose their beginning. */
        what.session.n_ctx = options->model.n_ctx;
        answers.work.bar.start = slm_cli_seconds();
        status = slm_evaluate_tasks(model, &what, &result, &error);
    }
    const int exit_code = slm_cli_work_end(&answers.work, status, &error);
    slm_model_close(model);
    slm_buf_release(&text);
    if (status == SLM_OK && options->json) add_task_json(&out, &result, &answers.items);
    else if (status == SLM_OK) add_task_text(&out, &result);
    slm_buf_release(&answers.items);
    return status == SLM_OK ? slm_cli_emit(&out) : exit_code;
}

/* What goes with a text, and what with questions: an option that would be ignored is refused, since whoever gave it
 * expects something of it. NULL when all is well. */
static const char *contradiction(const struct eval_options *o)
{
    if (!o->text && !o->task) return "--text or --task is needed: slm eval model.gguf --text FILE";
    if (o->text && o->task) return "--text and --task were given; they are two evaluations";
    if (o->task && (o->base || o->window || o->max_windows)) return "--base, --window and --max-windows go with --text";
    if (o->text && (o->letters || o->max_items)) return "--letters and --max-items go with --task";
    return NULL;
}

/* Models are opened here, because options say how; the text is read whole, since it is cut by tokens. The base is
 * computed in the precision that was asked for of the first. */
static int eval_main(void *opaque, int n_args, char **args)
{
    struct eval_options *options = opaque;
    struct slm_model *model = NULL, *base = NULL;
    struct slm_buf text = {0}, out = {0};
    struct slm_error error;
    struct slm_eval_result result;
    struct slm_cli_work work;
    if (n_args > 0) options->model.path = args[0];
    if (contradiction(options)) return slm_cli_usage("eval", "%s", contradiction(options));
    if (options->task) return task_main(options); /* another kind of result, nothing in common but the model */
    struct slm_model_choice other = options->model; /* the same precision; adapters belong to the first */
    other.path = options->base;
    other.lora.n = 0;
    slm_cli_work_begin(&work, "eval", "evaluating", options->quiet);
    slm_status status = slm_cli_read(options->text, (size_t)1 << 30, &text, &error);
    if (status == SLM_OK) status = slm_cli_open_model(&options->model, false, &model, &error);
    if (status == SLM_OK && options->base) status = slm_cli_open_model(&other, false, &base, &error);
    if (status == SLM_OK) {
        const struct slm_eval_options what = {
            .text = text.data ? text.data : "", .text_bytes = text.len, .n_window = options->window,
            .max_windows = (size_t)options->max_windows, .checkpoint = options->checkpoint,
            .session = session_of(options),
            .progress = slm_cli_work_progress, .user = &work,
        };
        /* Opening had a bar of its own. */
        work.bar.start = slm_cli_seconds();
        status = slm_evaluate(model, base, &what, &result, &error);
    }
    /* The bar goes before anything is printed. */
    const int exit_code = slm_cli_work_end(&work, status, &error);
    slm_model_close(model);
    slm_model_close(base);
    slm_buf_release(&text);
    if (status != SLM_OK) return exit_code;
    if (options->json) add_json(&out, &result);
    else add_text(&out, &result);
    return slm_cli_emit(&out);
}

/* Sampling has no part in this: no sampling options. */
const struct slm_command slm_command_eval = {
    .name = "eval",
    .args = "[MODEL] --text FILE | --task FILE.jsonl",
    .summary = "Measures how well a model predicts a text, and what quantizing cost",
    .details = "Perplexity with its standard error, over windows of which the second half is\n"
               "predicted. With --base also how far the model is from that one: KL divergence,\n"
               "how often both think the same token likeliest, and how much the probability of\n"
               "the true token changed. Ctrl-C keeps what is done with --checkpoint.\n"
               "\n"
               "With --task: multiple-choice questions (ARC, HellaSwag, MMLU), answered by\n"
               "the likelihood of the choices, as such and by their length.\n"
               "\n"
               "  slm eval small.gguf --text wiki.txt\n"
               "  slm eval small-q4.gguf --base small.gguf --text wiki.txt --json\n"
               "  slm eval small.gguf --task arc-easy.jsonl\n",
    .groups = eval_groups,
    .n_groups = sizeof eval_groups / sizeof eval_groups[0],
    .options_bytes = sizeof(struct eval_options),
    .max_args = 1,
    .run = eval_main,
};
