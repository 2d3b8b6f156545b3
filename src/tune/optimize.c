/* SPDX-License-Identifier: MIT
 * slm_optimize: a recipe, run. The passes are the other entry points of this library, one after the other:
 * slm_convert where the model is a folder, slm_calibrate, slm_quantize and slm_evaluate for every candidate, and
 * slm_quantize once more for the one that is chosen.
 *
 * Every result has a name made of a hash of what it depends on (cache.h): the bytes of the model, the text, the
 * options. So there is no journal, and nothing to be repaired after a kill: a run begins at the beginning, finds
 * what is there, and computes what is not. As every decision follows from such results in a fixed order, it ends in
 * the same bytes.
 *
 * Deliberately not here: measuring (optimize_measure.c), the search for mixtures (optimize_search.c), tables and
 * pages for people (cli). */
#include "tune/optimize.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "format/hf_folder.h"

/* Below it the text of most models is hard to tell from the original's. */
static const char DEFAULT_GOAL[] = "kl<=0.02";
static const char *const default_types[] = {"Q8_0", "Q6_K", "Q5_K_M", "Q5_1", "Q4_K_M", "Q4_0", "IQ4_XS", "Q3_K_M",
                                            "Q2_K"},
                  *const default_search[] = {"Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K"};

/* Notes are for people; nothing depends on them. */
void slm_optimize_note(const struct slm_optimizer *o, const char *format, ...)
{
    char sentence[256];
    va_list args;
    if (!o->options->note) return;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    o->options->note(o->options->user, sentence);
}

/* ---- what is asked for ----------------------------------------------------------------------- */

/* The types are literals or the recipe's; either way they outlive the run. */
static void default_list(struct slm_type_list *list, const char *const *types, size_t n)
{
    if (list->n > 0) return;
    memcpy(list->items, types, n * sizeof *types);
    list->n = n;
}

/* The recipe, what overrules it, and what is usual where neither says anything. */
static slm_status read_recipe(struct slm_optimizer *o, struct slm_error *error)
{
    const struct slm_optimize_options *a = o->options;
    struct slm_recipe *r = &o->recipe;
    SLM_TRY(slm_recipe_parse(a->recipe ? a->recipe : "", a->recipe ? a->recipe_bytes : 0,
                             a->recipe_name ? a->recipe_name : "recipe", r, error));
    /* Whoever types something means it more than a file does. */
    if (a->model) r->input = a->model;
    if (a->out) r->output = a->out;
    if (a->text) r->text = a->text;
    if (a->goal) r->goal = a->goal;
    if (!r->input) return slm_fail(error, SLM_ERR_ARGUMENT, "optimize", "no model was given, as input or otherwise");
    if (!r->output && r->passes[SLM_PASS_PACKAGE])
        return slm_fail(error, SLM_ERR_ARGUMENT, "optimize", "no output was given");
    if (!r->passes[SLM_PASS_EVALUATE] || (!r->passes[SLM_PASS_QUANTIZE] && !r->passes[SLM_PASS_SEARCH]))
        return slm_fail(error, SLM_ERR_ARGUMENT, "optimize",
                        "nothing can be chosen without the pass evaluate and one of quantize and search");
    o->asked = r->goal != NULL;
    if (!r->goal) r->goal = DEFAULT_GOAL;
    SLM_TRY(slm_goal_parse(r->goal, &o->goal, error));
    if (slm_goal_has_speed(&o->goal) && !r->passes[SLM_PASS_BENCH])
        return slm_fail(error, SLM_ERR_ARGUMENT, "optimize", "a goal on speed needs the pass bench");
    /* The usual sizes from twice to half of 4 bits; a text of 16 windows orders them reliably. */
    default_list(&r->types, default_types, sizeof default_types / sizeof *default_types);
    default_list(&r->search_types, default_search, sizeof default_search / sizeof *default_search);
    if (!r->rounds) r->rounds = 5;
    if (!r->max_windows) r->max_windows = 16;
    if (!r->calibrate_windows) r->calibrate_windows = 32;
    return SLM_OK;
}

/* ---- the base -------------------------------------------------------------------------------- */

/* Files of a folder that are no tensors, and what a model is besides. Absent ones count as absent. */
static const char *const small_files[] = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
                                          "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                                          "vocab.json", "merges.txt", "chat_template.jinja", "README.md"};

/* Whether a file is there counts too: an empty one is not an absent one. */
static slm_status hash_folder(const char *folder, uint64_t *key, struct slm_error *error)
{
    for (size_t i = 0; i < sizeof small_files / sizeof *small_files; i++) {
        struct slm_map map = {0};
        bool found = false;
        SLM_TRY(slm_hf_map(folder, small_files[i], &map, &found, error));
        *key = slm_cache_key(*key ^ found, map.data ? map.data : (const unsigned char *)"", map.bytes);
        if (found) slm_os()->unmap(&map);
    }
    return SLM_OK;
}

/* Everything that is read of a model: keys, names, types, shapes, data. */
static slm_status hash_model(const struct slm_optimizer *o, const struct slm_model *model, const char *path,
                             uint64_t *out, struct slm_error *error)
{
    const struct slm_gguf *gguf = model->gguf;
    const size_t n = slm_gguf_n_tensors(gguf);
    uint64_t key = 0;
    if (slm_hf_is_model(path)) SLM_TRY(hash_folder(path, &key, error));
    for (size_t i = 0; i < slm_gguf_n_kv(gguf); i++) {
        const struct slm_gguf_kv *kv = slm_gguf_kv_at(gguf, i);
        key = slm_cache_key(slm_cache_key(key, kv->key.ptr, kv->key.len) ^ (uint64_t)kv->type, kv->data, kv->bytes);
    }
    for (size_t i = 0; i < n; i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, i);
        key = slm_cache_key(slm_cache_key(key, t->name.ptr, t->name.len) ^ (uint64_t)t->dtype, t->dims, sizeof t->dims);
        key = slm_cache_key(key, t->data, (size_t)t->bytes);
        /* Read once now and once more by every candidate: memory is better spent on those. */
        slm_gguf_drop_bytes(gguf, t->data, (size_t)t->bytes);
        if (o->options->progress && !o->options->progress(o->options->user, i + 1, n))
            return slm_fail(error, SLM_ERR_CANCELLED, "optimize", "was cancelled");
    }
    *out = key;
    return SLM_OK;
}

/* A folder, or a type that was asked for, becomes a GGUF file of the work folder, which all candidates are made
 * from. */
static slm_status convert(struct slm_optimizer *o, struct slm_error *error)
{
    const struct slm_recipe *r = &o->recipe;
    struct slm_buf path = {0};
    bool found = false;
    /* A GGUF file is read where it is: it may be large, and a copy would say nothing new. */
    const bool needed = slm_hf_is_model(r->input) || r->convert_type;
    o->base_path = r->input;
    if (!needed) return SLM_OK;
    if (!r->passes[SLM_PASS_CONVERT])
        return slm_fail(error, SLM_ERR_ARGUMENT, r->input, "is a folder, which needs the pass convert");
    o->base_key = slm_cache_key_text(o->base_key, r->convert_type);
    slm_status status = slm_cache_path(o->options->work, "base", o->base_key, "gguf", &path, error);
    if (status == SLM_OK) status = slm_cache_has(path.data, &found, error);
    if (status == SLM_OK && !found) {
        const struct slm_convert_options options = {.type = r->convert_type, .n_threads = o->options->n_threads,
                                                    .progress = o->options->progress, .user = o->options->user};
        slm_optimize_note(o, "converting %s", r->input);
        status = slm_convert(r->input, path.data, &options, NULL, error);
        if (status == SLM_OK) status = slm_cache_seal(path.data, error);
    }
    if (status == SLM_OK && !(o->base_path = slm_arena_copy(&o->arena, path.data, path.len, error)))
        status = SLM_ERR_MEMORY;
    slm_buf_release(&path);
    return status;
}

/* What the windows are by default depends on the model, and is a part of keys: so it is settled here, before any. */
static slm_status open_base(struct slm_optimizer *o, struct slm_error *error)
{
    struct slm_model *input;
    SLM_TRY(slm_model_open(o->recipe.input, NULL, &input, error));
    slm_status status = hash_model(o, input, o->recipe.input, &o->base_key, error);
    slm_model_close(input);
    if (status == SLM_OK) status = convert(o, error);
    if (status == SLM_OK) status = slm_model_open(o->base_path, NULL, &o->base, error);
    SLM_TRY(status);
    const int32_t trained = slm_model_info(o->base).n_ctx_train;
    if (!o->recipe.window) o->recipe.window = trained < 256 ? trained : 256;
    if (!o->recipe.calibrate_window) o->recipe.calibrate_window = o->recipe.window;
    if (!o->recipe.ctx) o->recipe.ctx = trained < 4096 ? trained : 4096;
    return SLM_OK;
}

/* Names its file after what it was made of, so what the final model says about it is the same wherever it is made. */
static slm_status calibrate(struct slm_optimizer *o, struct slm_error *error)
{
    struct slm_recipe *r = &o->recipe;
    struct slm_buf path = {0};
    bool found = false;
    const int64_t numbers[] = {r->calibrate_window, r->calibrate_windows};
    if (!r->passes[SLM_PASS_CALIBRATE]) return SLM_OK;
    uint64_t key = slm_cache_key(o->base_key, &o->text_key, sizeof o->text_key);
    o->imatrix_key = slm_cache_key(key, numbers, sizeof numbers);
    slm_status status = slm_cache_path(o->options->work, "imatrix", o->imatrix_key, "gguf", &path, error);
    if (status == SLM_OK) status = slm_cache_has(path.data, &found, error);
    if (status == SLM_OK && !found) {
        const struct slm_calibrate_options options = {
            .text = o->calibration, .text_bytes = o->calibration_bytes, .n_window = (int32_t)r->calibrate_window,
            .max_windows = (size_t)r->calibrate_windows, .progress = o->options->progress, .user = o->options->user,
            .session = {.n_threads = o->options->n_threads, .activations = SLM_ACTIVATIONS_F32}};
        slm_optimize_note(o, "calibrating on the first half of the text");
        status = slm_calibrate(o->base, path.data, &options, NULL, error);
        if (status == SLM_OK) status = slm_cache_seal(path.data, error);
    }
    if (status == SLM_OK && !(o->imatrix = slm_arena_copy(&o->arena, path.data, path.len, error)))
        status = SLM_ERR_MEMORY;
    slm_buf_release(&path);
    return status;
}

/* ---- trials ---------------------------------------------------------------------------------- */

slm_status slm_optimize_try(struct slm_optimizer *o, const char *name, const struct slm_choice *choice,
                            const struct slm_trial **out, struct slm_error *error)
{
    for (size_t i = 0; i < o->n_trials; i++)
        if (strcmp(o->trials[i].name, name) == 0) {
            if (out) *out = &o->trials[i];
            return SLM_OK;
        }
    if (o->n_trials == SLM_OPTIMIZE_MAX_TRIALS)
        return slm_fail(error, SLM_ERR_LIMIT, "optimize", "more than %d models would be tried",
                        SLM_OPTIMIZE_MAX_TRIALS);
    struct slm_trial *t = &o->trials[o->n_trials];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->choice = *choice;
    SLM_TRY(slm_optimize_measure(o, choice, o->recipe.max_windows, true, t->numbers, error));
    o->n_trials++;
    slm_optimize_note(o, "%s: %.1f MB, %.2f bits a weight, KL %.5f", t->name, t->numbers[SLM_METRIC_SIZE] / 1e6,
                      t->numbers[SLM_METRIC_BPW], t->numbers[SLM_METRIC_KL]);
    if (out) *out = t;
    return SLM_OK;
}

/* In nothing worse than the other, in something better. */
static bool dominates(const struct slm_trial *a, const struct slm_trial *b)
{
    static const struct { int number; double sign; } axes[] = {
        {SLM_METRIC_SIZE, 1}, {SLM_METRIC_KL, 1}, {SLM_METRIC_DECODE, -1}};
    bool better = false;
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        const double x = axes[i].sign * a->numbers[axes[i].number], y = axes[i].sign * b->numbers[axes[i].number];
        if (x > y) return false;
        better = better || x < y;
    }
    return better;
}

/* Of all that were tried, the mixtures people know included: what the search found stands beside them. */
static void find_pareto(struct slm_optimizer *o)
{
    for (size_t i = 0; i < o->n_trials; i++) {
        o->trials[i].pareto = true;
        for (size_t k = 0; k < o->n_trials; k++)
            if (dominates(&o->trials[k], &o->trials[i])) o->trials[i].pareto = false;
    }
}

/* What is made small among those that meet the goal: the loss where only other things are bounded, else the size. */
static int minimized(const struct slm_optimizer *o)
{
    return slm_goal_has_quality(&o->goal) ? SLM_METRIC_SIZE : SLM_METRIC_KL;
}

/* The first of the best. */
static size_t choose(const struct slm_optimizer *o, bool *met)
{
    size_t best = 0;
    double least = INFINITY;
    *met = false;
    for (size_t i = 0; i < o->n_trials; i++) *met = *met || slm_goal_met(&o->goal, o->trials[i].numbers);
    for (size_t i = 0; i < o->n_trials; i++) {
        const double *numbers = o->trials[i].numbers;
        if (*met && !slm_goal_met(&o->goal, numbers)) continue;
        const double value = *met ? numbers[minimized(o)] : slm_goal_miss(&o->goal, numbers);
        if (value < least) {
            least = value;
            best = i;
        }
    }
    return best;
}

/* ---- the result ------------------------------------------------------------------------------ */

/* What a result points to, since it outlives the run. */
struct owned { struct slm_arena arena; };

/* Patterns are the run's; types are names of the library. */
static slm_status fill_types(const struct slm_trial *t, struct slm_arena *arena, struct slm_optimize_result *out,
                             struct slm_error *error)
{
    const struct slm_choice *c = &t->choice;
    out->types = slm_arena_alloc(arena, c->n_rules ? c->n_rules : 1, sizeof *out->types, "optimize", error);
    if (!out->types) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < c->n_rules; i++) {
        const char *pattern = slm_arena_copy(arena, c->rules[i].pattern, strlen(c->rules[i].pattern), error);
        if (!pattern) return SLM_ERR_MEMORY;
        out->types[out->n_types++] = (struct slm_convert_rule){pattern, c->rules[i].type};
    }
    return SLM_OK;
}

/* Why this one, in the words of the goal. */
static slm_status explain(const struct slm_optimizer *o, struct slm_arena *arena, struct slm_optimize_result *out,
                          struct slm_error *error)
{
    char text[256];
    const struct slm_trial *t = &o->trials[out->chosen];
    const char *what = minimized(o) == SLM_METRIC_SIZE ? "the smallest" : "the one that loses least";
    if (out->candidates[out->chosen].meets)
        snprintf(text, sizeof text, "%s is %s of those that meet %s%s", t->name, what, o->recipe.goal,
                 o->asked ? "" : " (the goal where none is given)");
    else
        snprintf(text, sizeof text, "nothing that was tried meets %s; %s comes nearest", o->recipe.goal, t->name);
    out->reason = slm_arena_copy(arena, text, strlen(text), error);
    out->goal = slm_arena_copy(arena, o->recipe.goal, strlen(o->recipe.goal), error);
    return out->reason && out->goal ? SLM_OK : SLM_ERR_MEMORY;
}

/* Everything a caller may want to show, copied out of the run. */
static slm_status fill(const struct slm_optimizer *o, struct owned *owned, struct slm_optimize_result *out,
                       struct slm_error *error)
{
    struct slm_arena *arena = &owned->arena;
    out->n = o->n_trials;
    out->candidates = slm_arena_alloc(arena, out->n, sizeof *out->candidates, "optimize", error);
    if (!out->candidates) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < out->n; i++) {
        const struct slm_trial *t = &o->trials[i];
        const double *v = t->numbers;
        out->candidates[i] = (struct slm_optimize_candidate){
            .name = slm_arena_copy(arena, t->name, strlen(t->name), error), .size = v[SLM_METRIC_SIZE],
            .bpw = v[SLM_METRIC_BPW], .kl = v[SLM_METRIC_KL], .kl_error = v[SLM_OPTIMIZE_KL_ERROR],
            .ppl = v[SLM_METRIC_PPL], .top1 = v[SLM_METRIC_TOP1], .decode = v[SLM_METRIC_DECODE],
            .prefill = v[SLM_METRIC_PREFILL], .memory = v[SLM_METRIC_MEMORY], .pareto = t->pareto,
            .meets = slm_goal_met(&o->goal, v)};
        if (!out->candidates[i].name) return SLM_ERR_MEMORY;
    }
    out->base_size = (double)slm_model_info(o->base).file_bytes;
    out->base_ppl = o->trials[0].numbers[SLM_OPTIMIZE_BASE_PPL];
    SLM_TRY(fill_types(&o->trials[out->chosen], arena, out, error));
    return explain(o, arena, out, error);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The passes in the only order they can have; each finds in the work folder what it need not do. */
static slm_status run(struct slm_optimizer *o, struct owned *owned, struct slm_optimize_result *out,
                      struct slm_error *error)
{
    const struct slm_recipe *r = &o->recipe;
    SLM_TRY(read_recipe(o, error));
    SLM_TRY(open_base(o, error));
    SLM_TRY(slm_optimize_read_text(o, error));
    SLM_TRY(calibrate(o, error));
    for (size_t i = 0; r->passes[SLM_PASS_QUANTIZE] && i < r->types.n; i++) {
        const struct slm_choice choice = {.type = r->types.items[i]};
        SLM_TRY(slm_optimize_try(o, r->types.items[i], &choice, NULL, error));
    }
    if (r->passes[SLM_PASS_SEARCH]) SLM_TRY(slm_optimize_search(o, error));
    if (o->n_trials == 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, r->input, "has no tensors whose type could be chosen");
    /* From here on nothing is measured. */
    find_pareto(o);
    out->chosen = choose(o, &out->met);
    out->met = out->met || !o->asked;
    SLM_TRY(fill(o, owned, out, error));
    /* Made once more instead of kept: quantizing is quick, and candidates would fill the disk. */
    if (!out->met || !r->passes[SLM_PASS_PACKAGE]) return SLM_OK;
    slm_optimize_note(o, "writing %s", r->output);
    return slm_optimize_quantize(o, &o->trials[out->chosen].choice, r->output, NULL, error);
}

/* The state is too large for some stacks. */
slm_status slm_optimize(const struct slm_optimize_options *options, struct slm_optimize_result *out,
                        struct slm_error *error)
{
    *out = (struct slm_optimize_result){0};
    if (!options->work) return slm_fail(error, SLM_ERR_ARGUMENT, "optimize", "a folder to work in is needed");
    struct slm_optimizer *o = slm_alloc(1, sizeof *o, "optimize", error);
    struct owned *owned = o ? slm_alloc(1, sizeof *owned, "optimize", error) : NULL;
    slm_status status = owned ? SLM_OK : SLM_ERR_MEMORY;
    out->owned = owned;
    if (status == SLM_OK) {
        o->options = options;
        status = run(o, owned, out, error);
        slm_model_close(o->base);
        if (o->map.data) slm_os()->unmap(&o->map);
        slm_recipe_release(&o->recipe);
        slm_arena_release(&o->arena);
    }
    slm_release(o);
    if (status != SLM_OK) slm_optimize_release(out);
    return status;
}

void slm_optimize_release(struct slm_optimize_result *result)
{
    struct owned *owned = result->owned;
    if (owned) slm_arena_release(&owned->arena);
    slm_release(owned);
    *result = (struct slm_optimize_result){0};
}
