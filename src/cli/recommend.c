/* SPDX-License-Identifier: MIT
 *
 * `slm recommend`: which type of weights to run a model in here, and why; without a model, which of the shapes that are
 * known. The machine is measured as `slm doctor` does, memory and speed are predicted, what types lose is a table's or,
 * with a text, measured. The choice is the library's (tune/recommend.h); here are options, measuring, words.
 * Deliberately not here: names of models to download. */
#include <stdlib.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/os.h"
#include "cli/commands.h"
#include "cli/work.h"
#include "tune/recommend.h"

/* Filled by the rows below; zero means not given. */
struct recommend_options {
    uint64_t seen;
    const char *ram, *text;
    int32_t n_ctx, n_threads, max_windows;
    float min_speed;
    int kv_type;
    bool json;
};

static const char *const kv_names[] = {"", "f16", "f32", "int8", NULL}; /* enum slm_kv_type */

#define AT(field) offsetof(struct recommend_options, field)
/* The wish, how it is computed, how it is told. */
static const struct slm_option recommend_rows[] = {
    {.name = "ram", .kind = SLM_OPTION_TEXT, .offset = AT(ram), .arg = "SIZE",
     .help = "memory for the model and one session, as in 2G (default: what is available)"},
    {.name = "ctx", .letter = 'c', .kind = SLM_OPTION_INT, .offset = AT(n_ctx), .arg = "N", .min = 1, .max = 1 << 27,
     .help = "tokens of the context (default: 4096, or what the model was trained for)"},
    {.name = "min-speed", .kind = SLM_OPTION_FLOAT, .offset = AT(min_speed), .arg = "R", .min = 0, .max = 1e9,
     .help = "generated tokens a second, even in a full context (default: any)"},
    {.name = "kv", .kind = SLM_OPTION_CHOICE, .offset = AT(kv_type), .arg = "TYPE", .choices = kv_names,
     .help = "type of the KV cache: f16 (default), f32 or int8"},
    {.name = "text", .letter = 'f', .kind = SLM_OPTION_TEXT, .offset = AT(text), .arg = "FILE",
     .help = "measure on this text what each type that fits loses, instead of looking it up"},
    {.name = "max-windows", .kind = SLM_OPTION_INT, .offset = AT(max_windows), .arg = "N", .min = 1, .max = 1e9,
     .help = "stop after N windows of the text"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024, .help = "threads (default: all CPUs this process may use)"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json), .help = "print one JSON object"},
};
#undef AT
static const struct slm_option_group recommend_groups[] = {
    {"Options", recommend_rows, sizeof recommend_rows / sizeof recommend_rows[0], 0},
};

enum { MAX_SHAPES = 64, REASON_BYTES = 512 };

/* A shape and the best that can be made of it. */
struct shape_row {
    char name[48];
    const char *size_class;
    uint64_t n_params;
    bool any;   /* something fits */
    bool chosen; /* of its class */
    struct slm_choice choice;
};

/* The question and the answer. */
struct advice {
    const struct recommend_options *options;
    const char *path; /* NULL: shapes */
    struct slm_wish wish;
    struct slm_machine machine;
    struct slm_choice choices[SLM_MAX_CHOICES]; /* of the model */
    size_t n;
    const struct slm_choice *best;
    struct shape_row shapes[MAX_SHAPES];
    size_t n_shapes;
    const struct shape_row *best_shape;
    char reason[REASON_BYTES];
    struct slm_cli_work work;
};

/* For people and for "choice". */
static const char *name_of(const struct slm_choice *c) { return c->type ? c->type : "as it is"; }

/* ---- measuring what types lose ------------------------------------------------------------------- */

/* Quantizes into a file that has no other use, and evaluates it beside the original. */
static slm_status measure_choice(struct advice *a, const struct slm_model *base, const struct slm_buf *text,
                                 const char *file, struct slm_choice *choice, struct slm_error *error)
{
    struct slm_model *model = NULL;
    struct slm_eval_result result = {0};
    char label[48];
    const struct slm_quantize_options quantize = {.type = choice->type, .n_threads = a->options->n_threads,
                                                  .progress = slm_cli_work_progress, .user = &a->work};
    const struct slm_eval_options what = {
        .text = text->data ? text->data : "", .text_bytes = text->len, .progress = slm_cli_work_progress,
        .user = &a->work, .max_windows = (size_t)a->options->max_windows,
        .session = {.n_threads = a->options->n_threads, .kv_type = (enum slm_kv_type)a->options->kv_type}};
    /* Quantizing and evaluating each have a bar of their own. */
    snprintf(label, sizeof label, "%s: quantizing", choice->type);
    a->work.bar = (struct slm_cli_progress){.label = label, .start = slm_cli_seconds()};
    SLM_TRY(slm_quantize(a->path, file, &quantize, NULL, error));
    snprintf(label, sizeof label, "%s: evaluating", choice->type);
    a->work.bar = (struct slm_cli_progress){.label = label, .start = slm_cli_seconds()};
    slm_status status = slm_model_open(file, NULL, &model, error);
    if (status == SLM_OK) status = slm_evaluate(model, base, &what, &result, error);
    slm_cli_clear_progress(&a->work.bar);
    slm_model_close(model);
    choice->kl = result.kl_mean;
    choice->measured = status == SLM_OK;
    return status;
}

/* Only what could be recommended; in a folder that goes again whatever happens, save a kill. */
static slm_status measure_choices(struct advice *a, const struct slm_model *model, struct slm_error *error)
{
    char folder[] = "/tmp/slm-recommend-XXXXXX", file[sizeof folder + 16], partial[sizeof file + 16];
    /* Read once for all of them. */
    struct slm_buf text = {0};
    SLM_TRY(slm_cli_read(a->options->text, (size_t)1 << 30, &text, error));
    slm_status status = mkdtemp(folder) ? SLM_OK : slm_fail(error, SLM_ERR_IO, folder, "cannot be made");
    snprintf(file, sizeof file, "%s/model.gguf", folder);
    for (size_t i = 0; i < a->n && status == SLM_OK; i++) {
        struct slm_choice *c = &a->choices[i];
        if (c->type && c->fits && c->fast) status = measure_choice(a, model, &text, file, c, error);
    }
    snprintf(partial, sizeof partial, "%s.partial", file); /* left when the user stops it; nobody will go on with it */
    unlink(partial);
    unlink(file);
    rmdir(folder);
    slm_buf_release(&text);
    return status;
}

/* ---- a model ------------------------------------------------------------------------------------- */

/* What stands in the way of the one that comes nearest. */
static void explain_nothing(struct advice *a)
{
    const struct slm_choice *small = a->choices, *fast = NULL;
    char need[16], have[16];
    for (const struct slm_choice *c = a->choices; c < a->choices + a->n; c++) {
        if (slm_memory_total(&c->memory) < slm_memory_total(&small->memory)) small = c;
        if (c->fits && (!fast || c->speed.decode_full > fast->speed.decode_full)) fast = c;
    }
    slm_cli_size(need, (double)slm_memory_total(&small->memory));
    slm_cli_size(have, (double)a->wish.ram_bytes);
    /* Memory is the first to be short of. */
    if (!fast)
        snprintf(a->reason, sizeof a->reason, "nothing fits into %s with %d tokens: %s, the smallest, needs %s; a "
                 "shorter context (--ctx), --kv int8 or a smaller model need less", have, a->wish.session.n_ctx,
                 name_of(small), need);
    else
        snprintf(a->reason, sizeof a->reason, "nothing that fits into %s would generate %.4g tokens a second in a full "
                 "context of %d: %s comes nearest with about %.1f; a shorter context or a smaller model are faster",
                 have, a->wish.min_speed, a->wish.session.n_ctx, name_of(fast), fast->speed.decode_full);
}

/* How many others there were, what it costs, what it brings. */
static void explain_choice(struct advice *a)
{
    const struct slm_choice *b = a->best;
    char need[16], have[16];
    size_t able = 0;
    /* Those it was chosen from. */
    for (size_t i = 0; i < a->n; i++) able += a->choices[i].fits && a->choices[i].fast;
    slm_cli_size(need, (double)slm_memory_total(&b->memory));
    slm_cli_size(have, (double)a->wish.ram_bytes);
    if (!b->type)
        snprintf(a->reason, sizeof a->reason, "as it is: it needs %s of %s with %d tokens and generates about %.1f "
                 "tokens a second (%.1f in a full context), so nothing need be lost", need, have, a->wish.session.n_ctx,
                 b->speed.decode, b->speed.decode_full);
    else
        snprintf(a->reason, sizeof a->reason, "%s: of %zu types %zu fit into %s with %d tokens and are fast enough, "
                 "and this one loses least (KL divergence %s%.2g); it needs %s and generates about %.1f tokens a "
                 "second (%.1f in a full context)", b->type, a->n, able, have, a->wish.session.n_ctx,
                 b->measured ? "" : "about ", b->kl, need, b->speed.decode, b->speed.decode_full);
}

/* The context gives way to what the model was trained for unless it was asked for. */
static slm_status advise_model(struct advice *a, struct slm_error *error)
{
    struct slm_model *model = NULL;
    struct slm_sizes *sizes = NULL;
    SLM_TRY(slm_model_open(a->path, NULL, &model, error));
    const int32_t trained = slm_model_info(model).n_ctx_train;
    if (!a->options->n_ctx && trained < a->wish.session.n_ctx) a->wish.session.n_ctx = trained;
    slm_status status = SLM_OK;
    /* Beyond it the model would answer nonsense. */
    if (a->wish.session.n_ctx > trained)
        status = slm_fail(error, SLM_ERR_ARGUMENT, a->path, "was trained for %d tokens, a context of %d was asked for",
                          trained, a->wish.session.n_ctx);
    if (status == SLM_OK) status = slm_sizes_open(model, &sizes, error);
    if (status == SLM_OK)
        status = slm_recommend_list(sizes, true, &a->wish, &a->machine, a->choices, &a->n, error);
    if (status == SLM_OK && a->options->text) status = measure_choices(a, model, error);
    slm_sizes_close(sizes);
    slm_model_close(model);
    if (status != SLM_OK) return status;
    a->best = slm_recommend_best(a->choices, a->n);
    (a->best ? explain_choice : explain_nothing)(a);
    return SLM_OK;
}

/* ---- shapes -------------------------------------------------------------------------------------- */

/* Good before bad, then more parameters: four bits of a larger model beat eight of a smaller one. */
static bool is_better(const struct shape_row *row, const struct shape_row *best)
{
    if (!best) return true;
    const bool good = slm_recommend_is_good(&row->choice), best_good = slm_recommend_is_good(&best->choice);
    return good != best_good ? good : row->n_params > best->n_params;
}

/* The best of each class, and of these the best. */
static void choose_shapes(struct advice *a)
{
    for (struct shape_row *row = a->shapes; row < a->shapes + a->n_shapes; row++) {
        if (!row->any) continue;
        bool first = true;
        for (const struct shape_row *other = a->shapes; other < a->shapes + a->n_shapes; other++)
            first = first && (other == row || !other->any || strcmp(other->size_class, row->size_class) != 0 ||
                              !is_better(other, row));
        row->chosen = first;
        if (first && is_better(row, a->best_shape)) a->best_shape = row;
    }
    char have[16], need[16];
    slm_cli_size(have, (double)a->wish.ram_bytes);
    const struct shape_row *b = a->best_shape;
    if (!b) {
        snprintf(a->reason, sizeof a->reason, "no known model fits into %s with %d tokens and is fast enough; a "
                 "shorter context (--ctx) or --kv int8 need less", have, a->wish.session.n_ctx);
        return;
    }
    slm_cli_size(need, (double)slm_memory_total(&b->choice.memory));
    snprintf(a->reason, sizeof a->reason, "%s in %s: the most parameters that fit into %s with %d tokens%s; it needs "
             "%s and generates about %.1f tokens a second (%.1f in a full context)", b->name, b->choice.type, have,
             a->wish.session.n_ctx, slm_recommend_is_good(&b->choice) ? " and lose no more than four bits do" : "",
             need, b->choice.speed.decode, b->choice.speed.decode_full);
}

/* Small ones first, whatever order families are in. */
static void insert_shape(struct advice *a, const struct shape_row *row)
{
    size_t at = a->n_shapes++;
    for (; at > 0 && a->shapes[at - 1].n_params > row->n_params; at--) a->shapes[at] = a->shapes[at - 1];
    a->shapes[at] = *row;
}

/* Those that were not trained for the context have no row. */
static slm_status advise_shapes(struct advice *a, struct slm_error *error)
{
    for (size_t i = 0; a->n_shapes < MAX_SHAPES; i++) {
        struct slm_sizes *sizes;
        SLM_TRY(slm_sizes_open_shape(i, &sizes, error));
        if (!sizes) break;
        const struct slm_model *model = slm_sizes_model(sizes);
        struct shape_row row = {.size_class = slm_model_size_class(model->n_params), .n_params = model->n_params};
        slm_status status = SLM_OK;
        if (a->wish.session.n_ctx <= (int32_t)model->hparams.n_ctx_train) {
            snprintf(row.name, sizeof row.name, "%s", model->name);
            status = slm_recommend_list(sizes, false, &a->wish, &a->machine, a->choices, &a->n, error);
            /* The list is made anew for each shape: only the best of it is kept. */
            const struct slm_choice *best = status == SLM_OK ? slm_recommend_best(a->choices, a->n) : NULL;
            row.any = best != NULL;
            if (best) row.choice = *best;
            insert_shape(a, &row);
        }
        slm_sizes_close(sizes);
        SLM_TRY(status);
    }
    a->n = 0;
    choose_shapes(a);
    return SLM_OK;
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

/* Predictions, but for kl_mean where kl_measured says so. */
static void add_choice_json(struct slm_buf *out, const struct slm_choice *c)
{
    slm_json_text(out, "type", c->type);
    slm_json_memory(out, &c->memory);
    slm_json_real(out, "prefill_tok_s", c->speed.prefill);
    slm_json_real(out, "decode_tok_s", c->speed.decode);
    slm_json_real(out, "decode_full_tok_s", c->speed.decode_full);
    slm_json_real(out, "kl_mean", c->kl);
    slm_json_bool(out, "kl_measured", c->measured);
    slm_json_bool(out, "fits", c->fits);
    slm_json_bool(out, "fast", c->fast);
}

/* New fields may be added, none is renamed. "choice" is null when nothing can be recommended. */
static void add_json(struct slm_buf *out, const struct advice *a)
{
    slm_buf_puts(out, "{");
    slm_json_text(out, "model", a->path);
    slm_json_text(out, "cpu", slm_cpu_model());
    slm_json_real(out, "read_bytes_s", a->machine.read_bytes_s);
    slm_json_real(out, "int8_mac_s", a->machine.mac_s);
    slm_json_real(out, "f32_flop_s", a->machine.flop_s);
    slm_json_i64(out, "ram_bytes", (int64_t)a->wish.ram_bytes);
    slm_json_i64(out, "n_ctx", a->wish.session.n_ctx);
    slm_json_real(out, "min_speed", a->wish.min_speed);
    /* One of the two lists, by what was asked. */
    slm_json_key(out, a->path ? "choices" : "shapes");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < a->n; i++) {
        slm_buf_puts(out, i ? ",{" : "{");
        add_choice_json(out, &a->choices[i]);
        slm_json_bool(out, "chosen", &a->choices[i] == a->best);
        slm_buf_puts(out, "}");
    }
    for (size_t i = 0; i < a->n_shapes; i++) {
        const struct shape_row *row = &a->shapes[i];
        slm_buf_puts(out, i ? ",{" : "{");
        slm_json_text(out, "shape", row->name);
        slm_json_text(out, "size_class", row->size_class);
        slm_json_i64(out, "n_params", (int64_t)row->n_params);
        if (row->any) add_choice_json(out, &row->choice);
        else slm_json_text(out, "type", NULL);
        slm_json_bool(out, "chosen", row->chosen);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]");
    /* Of a model the type, of shapes the shape. */
    const bool any = a->best || a->best_shape;
    slm_json_text(out, "choice", !any ? NULL : a->best ? name_of(a->best) : a->best_shape->name);
    slm_json_text(out, "choice_type", !any ? NULL : a->best ? a->best->type : a->best_shape->choice.type);
    slm_json_text(out, "reason", a->reason);
    slm_buf_puts(out, "}\n");
}

/* ---- text ---------------------------------------------------------------------------------------- */

/* Numbers of one line; what does not fit or is too slow says so. */
static void add_choice_text(struct slm_buf *out, const struct slm_choice *c)
{
    char size[16];
    slm_buf_printf(out, "  %-8s  %8s  %9.1f  %8.1f  %9.1f  %s%.2g%s\n", name_of(c),
                   slm_cli_size(size, (double)slm_memory_total(&c->memory)), c->speed.prefill, c->speed.decode,
                   c->speed.decode_full, c->measured ? "" : "~", c->kl,
                   !c->fits ? "  too large" : !c->fast ? "  too slow" : "");
}

/* What was measured and asked for, a line a choice, the answer in a sentence. */
static void add_text(struct slm_buf *out, const struct advice *a)
{
    char ram[16];
    slm_buf_printf(out, "%s: reads %.1f GB/s, %.0f GMAC/s of int8; %s, %d tokens", slm_cpu_model(),
                   a->machine.read_bytes_s * 1e-9, a->machine.mac_s * 1e-9,
                   slm_cli_size(ram, (double)a->wish.ram_bytes), a->wish.session.n_ctx);
    if (a->wish.min_speed > 0) slm_buf_printf(out, ", %.4g tokens/s at least", a->wish.min_speed);
    slm_buf_printf(out, "\n\n  %s%-8s  %8s  %9s  %8s  %9s  %s\n", a->path ? " " : "class   model            ", "type",
                   "memory", "prefill/s", "decode/s", "when full", "KL");
    for (size_t i = 0; i < a->n; i++) {
        slm_buf_puts(out, &a->choices[i] == a->best ? "*" : " ");
        add_choice_text(out, &a->choices[i]);
    }
    for (size_t i = 0; i < a->n_shapes; i++) {
        const struct shape_row *row = &a->shapes[i];
        slm_buf_printf(out, "%s %-6s  %-14s", row->chosen ? "*" : " ", row->size_class, row->name);
        if (row->any) add_choice_text(out, &row->choice);
        else slm_buf_puts(out, "  too large or too slow in every type\n");
    }
    slm_buf_printf(out, "\n%s\n", a->reason);
    /* What to do about it. */
    if (a->best && a->best->type) slm_buf_printf(out, "slm quantize MODEL OUT.gguf %s makes it\n", a->best->type);
}

/* ---- the command --------------------------------------------------------------------------------- */

/* Machine first: everything else is predicted from it. */
static slm_status advise(struct advice *a, struct slm_error *error)
{
    const unsigned n_threads = a->options->n_threads > 0 ? (unsigned)a->options->n_threads : slm_os()->n_cpus();
    SLM_TRY(slm_machine_measure(n_threads, slm_cpu_features(), &a->machine, error));
    if (a->machine.read_bytes_s <= 0)
        return slm_fail(error, SLM_ERR_MEMORY, "recommend", "too little memory is available to measure how fast it is");
    return a->path ? advise_model(a, error) : advise_shapes(a, error);
}

/* Nothing to recommend is a failure, whose reason stands on stderr too. */
static int recommend_main(void *opaque, int n_args, char **args)
{
    const struct recommend_options *o = opaque;
    struct slm_buf out = {0};
    struct slm_error error;
    uint64_t ram = slm_os()->memory_available();
    if (o->ram && !slm_cli_parse_size(o->ram, &ram))
        return slm_cli_usage("recommend", "--ram is '%s'; a size is needed, as in 2G or 500M", o->ram);
    if (!o->ram && ram == 0)
        return slm_cli_usage("recommend", "how much memory there is cannot be found out here; --ram says it");
    if (o->text && n_args == 0) return slm_cli_usage("recommend", "--text needs a model to measure");
    struct advice *a = slm_alloc(1, sizeof *a, "recommend", &error);
    if (!a) return slm_cli_fail(&error);
    *a = (struct advice){.options = o, .path = n_args > 0 ? args[0] : NULL,
                         .wish = {.ram_bytes = ram, .min_speed = (double)o->min_speed,
                                  .session = {.n_ctx = o->n_ctx ? o->n_ctx : 4096, .n_threads = o->n_threads,
                                              .kv_type = (enum slm_kv_type)o->kv_type}}};
    /* An interrupt stops between windows and tensors, and takes the folder away. */
    slm_cli_work_begin(&a->work, "recommend", "measuring", false);
    const slm_status status = advise(a, &error);
    int exit_code = slm_cli_work_end(&a->work, status, &error);
    if (status == SLM_OK) {
        const bool any = a->best || a->best_shape;
        (o->json ? add_json : add_text)(&out, a);
        exit_code = slm_cli_emit(&out);
        /* The answer was given on stdout; a script sees that there is none. */
        if (!any) exit_code = (slm_fail(&error, SLM_ERR_LIMIT, "recommend", "%s", a->reason), slm_cli_fail(&error));
    }
    slm_release(a);
    return exit_code;
}

const struct slm_command slm_command_recommend = {
    .name = "recommend",
    .args = "[MODEL]",
    .summary = "Says which type of weights fits this machine, and what it costs",
    .details = "Measures how fast memory is read and int8 multiplied here, and predicts memory\n"
               "and speed of the model in each type; without a model, of the shapes that are\n"
               "known. KL divergences with a ~ are those of our own small model, which order\n"
               "types; --text measures them on this one.\n"
               "\n"
               "  slm recommend model.gguf --ram 2G --ctx 4096 --min-speed 10\n"
               "  slm recommend --ram 4G\n",
    .groups = recommend_groups,
    .n_groups = sizeof recommend_groups / sizeof recommend_groups[0],
    .options_bytes = sizeof(struct recommend_options),
    .max_args = 1,
    .run = recommend_main,
};
