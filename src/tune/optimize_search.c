/* SPDX-License-Identifier: MIT
 * Mixed precision: which tensor gets which type, by what each costs and what it saves.
 *
 * The loss of a choice is taken to be a sum over tensors: how strongly the model feels errors of a tensor's kind
 * (its group's sensitivity), times the error that a type makes in this tensor. The error is measured on the
 * weights, weighed by the importance matrix. The sensitivity is measured on the model: one group at a time is
 * quantized, the others are not, and the KL divergence says what it did. A group is a kind of tensor (attn_q,
 * ffn_down ...) in one half of the layers.
 *
 * For every tensor only types on the lower convex hull of (bytes, loss) can be worth their bytes. From the best
 * type of all, steps down those hulls are taken in the order of loss per byte saved: a path from large to small, on
 * which a point is chosen by a bound on size or loss (greedy, and so within one step of the optimum of the sum).
 * Sums lie a little; so chosen points are measured as whole models, the sum is scaled to what was found, and the
 * next point lies between those known to meet the goal and those known not to.
 *
 * All of it is arithmetic in a fixed order on numbers that do not depend on threads or time: the same input ends in
 * the same file. Deliberately not here: rounding (kernel/simd_search.h), and which trial is the best (optimize.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tune/imatrix.h"
#include "tune/optimize.h"
#include "tune/records.h"

enum { MAX_TYPES = SLM_RECIPE_MAX_TYPES, MAX_GROUPS = 128 };

/* One type of one tensor: [n_tensors, n_types] of them. */
struct option { float error, dtype; }; /* weighed squared error as a share of the weights' square; an enum slm_dtype */
enum { OPTION_FIELDS = sizeof(struct option) / sizeof(float) };

struct tensor {
    const struct slm_gguf_tensor *t; /* of the base */
    bool free;                       /* types change it */
    size_t group;
    size_t hull[MAX_TYPES], n_hull;  /* types, from most bytes to fewest */
};
struct group { char name[96]; double sensitivity; size_t n; };

/* One step down a hull. */
struct move { size_t tensor, step; double ratio, loss, bytes; }; /* ratio: loss added for each byte saved */

struct search {
    struct slm_optimizer *o;
    struct slm_gguf *gguf;           /* of the base */
    const char *const *types;        /* [n_types] */
    size_t n_types, probe;           /* the type sensitivities are measured with */
    struct tensor *tensors;          /* [n] */
    struct option *options;          /* [n_types, n] */
    size_t n;
    struct group groups[MAX_GROUPS];
    size_t n_groups;
    struct move *moves;              /* [n_moves] in the order they are taken */
    size_t n_moves;
    double *loss, *bytes;            /* [n_moves + 1] behind so many moves */
    double overhead;                 /* bytes of a file that are no tensor data; NaN = not known yet */
};

static struct option *option_of(const struct search *s, size_t tensor, size_t type)
{
    return &s->options[type * s->n + tensor];
}

static double bytes_of(const struct search *s, size_t tensor, size_t type)
{
    uint64_t bytes = 0;
    (void)slm_dtype_bytes((enum slm_dtype)option_of(s, tensor, type)->dtype, s->tensors[tensor].t->n_elements, &bytes);
    return (double)((bytes + 31) / 32 * 32);
}

/* ---- what types do to weights ------------------------------------------------------------------ */

/* Of one tensor that both files have; rows are read one by one. */
static slm_status compare_tensor(const struct slm_gguf_tensor *a, const struct slm_gguf_tensor *b, const float *weights,
                                 float *rows, float *out)
{
    const uint64_t n = a->dims[0];
    double error = 0, square = 0;
    for (uint64_t r = 0; r < a->n_elements / n; r++) {
        slm_tensor_read_rows(a, r, 1, rows);
        slm_tensor_read_rows(b, r, 1, rows + n);
        for (uint64_t i = 0; i < n; i++) {
            const double w = weights ? (double)weights[i] : 1, d = (double)rows[i] - (double)rows[n + i];
            error += w * d * d;
            square += w * (double)rows[i] * (double)rows[i];
        }
    }
    *out = (float)(square > 0 ? error / square : 0);
    return SLM_OK;
}

static slm_status compare_file(struct search *s, const char *path, size_t type, struct slm_imatrix *imatrix,
                               struct slm_error *error)
{
    struct slm_gguf *made;
    uint64_t longest = 1;
    SLM_TRY(slm_gguf_open(path, NULL, &made, error));
    for (size_t i = 0; i < s->n; i++)
        if (s->tensors[i].t->dims[0] > longest) longest = s->tensors[i].t->dims[0];
    float *rows = slm_alloc((size_t)longest, 2 * sizeof *rows, "optimize", error);
    slm_status status = rows ? SLM_OK : SLM_ERR_MEMORY;
    for (size_t i = 0; status == SLM_OK && i < s->n; i++) {
        const struct slm_gguf_tensor *a = s->tensors[i].t, *b = slm_gguf_find_tensor(made, a->name);
        const float *weights = NULL;
        if (!b) status = slm_fail(error, SLM_ERR_FORMAT, path, "lacks a tensor of the model it was made of");
        if (status == SLM_OK && imatrix->gguf && a->n_dims > 1)
            status = slm_imatrix_find(imatrix, a->name, a->dims[0], &weights, error);
        if (status != SLM_OK) break;
        struct option *option = option_of(s, i, type);
        option->dtype = (float)b->dtype;
        if (b->dtype != a->dtype) status = compare_tensor(a, b, weights, rows, &option->error);
        slm_gguf_drop_bytes(made, b->data, (size_t)b->bytes);
        slm_gguf_drop_bytes(s->gguf, a->data, (size_t)a->bytes);
    }
    slm_release(rows);
    slm_gguf_close(made);
    return status;
}

/* One type for all tensors: a file is made, looked at, and removed; what was seen is kept. */
static slm_status compare_type(struct search *s, size_t type, struct slm_imatrix *imatrix, struct slm_error *error)
{
    struct slm_optimizer *o = s->o;
    const struct slm_choice all = {.type = s->types[type], .pure = true};
    uint64_t key = slm_cache_key_text(slm_cache_key(o->base_key, &o->imatrix_key, sizeof o->imatrix_key), all.type);
    struct slm_buf path = {0}, file = {0};
    size_t done = 0;
    slm_status status = slm_cache_path(o->options->work, "errors", key, "gguf", &path, error);
    const struct slm_records records = {.path = path.data, .key = "slm.optimize.errors", .fingerprint = key >> 1,
                                        .rows = (float *)option_of(s, 0, type), .n_fields = OPTION_FIELDS,
                                        .n_most = s->n};
    if (status == SLM_OK) slm_records_drop_damaged(path.data);
    if (status == SLM_OK) status = slm_records_restore(&records, s->n, &done, error);
    if (status == SLM_OK && done == 0) {
        status = slm_cache_path(o->options->work, "pure", key, "gguf", &file, error);
        if (status == SLM_OK) status = slm_optimize_quantize(o, &all, file.data, NULL, error);
        if (status == SLM_OK) status = compare_file(s, file.data, type, imatrix, error);
        if (status == SLM_OK) status = slm_records_save(&records, s->n, error);
        if (status == SLM_OK) (void)slm_os()->remove(file.data, NULL);
    }
    slm_buf_release(&path);
    slm_buf_release(&file);
    return status;
}

static slm_status compare_types(struct search *s, struct slm_error *error)
{
    struct slm_imatrix imatrix = {0};
    slm_status status = s->o->imatrix ? slm_imatrix_open(s->o->imatrix, &imatrix, error) : SLM_OK;
    for (size_t i = 0; status == SLM_OK && i < s->n_types; i++) status = compare_type(s, i, &imatrix, error);
    slm_imatrix_close(&imatrix);
    for (size_t i = 0; status == SLM_OK && i < s->n; i++)
        for (size_t k = 0; k < s->n_types; k++)
            if ((enum slm_dtype)option_of(s, i, k)->dtype != s->tensors[i].t->dtype) s->tensors[i].free = true;
    return status;
}

/* ---- what the model feels ---------------------------------------------------------------------- */

/* "blk.3.attn_q.weight" of 8 layers is of "attn_q.weight, first half"; others are groups of their own. */
static void name_group(char *out, size_t cap, struct slm_str name, uint32_t n_layer)
{
    uint32_t layer = 0;
    size_t at = 4;
    if (!slm_str_starts_with(name, slm_str("blk."))) {
        snprintf(out, cap, "%.*s", (int)(name.len < 64 ? name.len : 64), name.ptr);
        return;
    }
    while (at < name.len && name.ptr[at] >= '0' && name.ptr[at] <= '9' && layer < 100000)
        layer = layer * 10 + (uint32_t)(name.ptr[at++] - '0');
    const int rest = (int)(name.len - at < 64 ? name.len - at : 64);
    snprintf(out, cap, "%.*s, %s", rest, name.ptr + at, layer < (n_layer + 1) / 2 ? "first half" : "second half");
}

static slm_status form_groups(struct search *s, struct slm_error *error)
{
    const uint32_t n_layer = (uint32_t)slm_model_info(s->o->base).n_layer;
    for (size_t i = 0; i < s->n; i++) {
        char name[sizeof s->groups[0].name];
        size_t g = 0;
        if (!s->tensors[i].free) continue;
        name_group(name, sizeof name, s->tensors[i].t->name, n_layer);
        while (g < s->n_groups && strcmp(s->groups[g].name, name) != 0) g++;
        if (g == MAX_GROUPS)
            return slm_fail(error, SLM_ERR_LIMIT, "optimize", "the model has more than %d kinds of tensors",
                            MAX_GROUPS);
        if (g == s->n_groups) memcpy(s->groups[s->n_groups++].name, name, sizeof name);
        s->tensors[i].group = g;
        s->groups[g].n++;
    }
    return SLM_OK;
}

/* Rules go from names that are parts of others ("output.weight") to those that are not. */
static slm_status make_rules(struct search *s, const char *(*type_of)(const struct search *, size_t, size_t),
                             size_t argument, struct slm_choice *out, struct slm_error *error)
{
    struct slm_arena *arena = &s->o->arena;
    struct slm_convert_rule *rules = slm_arena_alloc(arena, s->n ? s->n : 1, sizeof *rules, "optimize", error);
    if (!rules) return SLM_ERR_MEMORY;
    out->rules = rules;
    out->n_rules = 0;
    for (int in_layer = 0; in_layer < 2; in_layer++)
        for (size_t i = 0; i < s->n; i++) {
            const struct slm_str name = s->tensors[i].t->name;
            const char *type = s->tensors[i].free ? type_of(s, i, argument) : NULL;
            if (!type || slm_str_starts_with(name, slm_str("blk.")) != (in_layer == 1)) continue;
            const char *pattern = slm_arena_copy(arena, name.ptr, name.len, error);
            if (!pattern) return SLM_ERR_MEMORY;
            rules[out->n_rules++] = (struct slm_convert_rule){pattern, type};
        }
    return SLM_OK;
}

static const char *probe_type(const struct search *s, size_t tensor, size_t group)
{
    return s->tensors[tensor].group == group ? slm_dtypes[(int)option_of(s, tensor, s->probe)->dtype].name : NULL;
}

/* Half precision for all others: what that loses is nothing beside what four bits lose. */
static slm_status feel(struct search *s, struct slm_error *error)
{
    struct slm_optimizer *o = s->o;
    const int64_t windows = o->recipe.max_windows < 4 ? o->recipe.max_windows : 4;
    for (size_t g = 0; g < s->n_groups; g++) {
        struct slm_choice one = {.type = "F16", .pure = true};
        double numbers[SLM_OPTIMIZE_NUMBERS], errors = 0;
        SLM_TRY(make_rules(s, probe_type, g, &one, error));
        SLM_TRY(slm_optimize_measure(o, &one, windows, false, numbers, error));
        for (size_t i = 0; i < s->n; i++)
            if (s->tensors[i].free && s->tensors[i].group == g) errors += (double)option_of(s, i, s->probe)->error;
        const double kl = numbers[SLM_METRIC_KL] > 1e-9 ? numbers[SLM_METRIC_KL] : 1e-9;
        s->groups[g].sensitivity = errors > 0 ? kl / errors : 0;
        slm_optimize_note(o, "sensitivity of %s (%zu): KL %.5f in %s", s->groups[g].name, s->groups[g].n,
                          numbers[SLM_METRIC_KL], s->types[s->probe]);
    }
    return SLM_OK;
}

/* ---- the path ---------------------------------------------------------------------------------- */

static double loss_of(const struct search *s, size_t tensor, size_t type)
{
    return s->groups[s->tensors[tensor].group].sensitivity * (double)option_of(s, tensor, type)->error;
}

/* Starts at the type with the least loss; each next corner is the one that adds least loss for a byte. */
static void find_hull(struct search *s, size_t i)
{
    struct tensor *t = &s->tensors[i];
    size_t best = 0;
    for (size_t k = 1; k < s->n_types; k++) {
        const double a = loss_of(s, i, k), b = loss_of(s, i, best);
        if (a < b || (!(a > b) && bytes_of(s, i, k) < bytes_of(s, i, best))) best = k;
    }
    for (size_t next = best; next < s->n_types;) {
        const size_t at = next;
        double least = INFINITY;
        t->hull[t->n_hull++] = at;
        next = s->n_types;
        for (size_t k = 0; k < s->n_types; k++) {
            const double saved = bytes_of(s, i, at) - bytes_of(s, i, k), lost = loss_of(s, i, k) - loss_of(s, i, at);
            if (saved > 0 && lost / saved < least) {
                least = lost / saved;
                next = k;
            }
        }
    }
}

static int by_ratio(const void *a, const void *b)
{
    const struct move *x = a, *y = b;
    if (x->ratio < y->ratio || x->ratio > y->ratio) return x->ratio < y->ratio ? -1 : 1;
    if (x->tensor != y->tensor) return x->tensor < y->tensor ? -1 : 1;
    return x->step < y->step ? -1 : x->step > y->step;
}

static slm_status lay_path(struct search *s, struct slm_error *error)
{
    struct slm_arena *arena = &s->o->arena;
    double loss = 0, bytes = 0;
    s->moves = slm_arena_alloc(arena, s->n * s->n_types, sizeof *s->moves, "optimize", error);
    if (!s->moves) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < s->n; i++) {
        struct tensor *t = &s->tensors[i];
        if (!t->free) {
            bytes += (double)((t->t->bytes + 31) / 32 * 32);
            continue;
        }
        find_hull(s, i);
        loss += loss_of(s, i, t->hull[0]);
        bytes += bytes_of(s, i, t->hull[0]);
        for (size_t k = 1; k < t->n_hull; k++) {
            const double more = loss_of(s, i, t->hull[k]) - loss_of(s, i, t->hull[k - 1]);
            const double saved = bytes_of(s, i, t->hull[k - 1]) - bytes_of(s, i, t->hull[k]);
            s->moves[s->n_moves++] = (struct move){i, k, more / saved, more, saved};
        }
    }
    qsort(s->moves, s->n_moves, sizeof *s->moves, by_ratio);
    s->loss = slm_arena_alloc(arena, s->n_moves + 1, sizeof *s->loss, "optimize", error);
    s->bytes = s->loss ? slm_arena_alloc(arena, s->n_moves + 1, sizeof *s->bytes, "optimize", error) : NULL;
    if (!s->bytes) return SLM_ERR_MEMORY;
    for (size_t k = 0; k <= s->n_moves; k++) {
        s->loss[k] = loss;
        s->bytes[k] = bytes;
        if (k == s->n_moves) break;
        loss += s->moves[k].loss;
        bytes -= s->moves[k].bytes;
    }
    return SLM_OK;
}

/* ---- points of it ------------------------------------------------------------------------------ */

/* Behind `point` moves. */
static const char *type_at(const struct search *s, size_t tensor, size_t point)
{
    size_t step = 0;
    for (size_t k = 0; k < point; k++)
        if (s->moves[k].tensor == tensor && s->moves[k].step > step) step = s->moves[k].step;
    return slm_dtypes[(int)option_of(s, tensor, s->tensors[tensor].hull[step])->dtype].name;
}

/* The type most elements have gives the file its name; every tensor has a rule of its own. */
static const char *main_type(const struct search *s, size_t point)
{
    uint64_t elements[SLM_DTYPE_COUNT] = {0};
    size_t most = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->tensors[i].free)
            elements[slm_dtype_from_name(type_at(s, i, point))] += s->tensors[i].t->n_elements;
    for (size_t i = 1; i < SLM_DTYPE_COUNT; i++)
        if (elements[i] > elements[most]) most = i;
    return slm_dtypes[most].name;
}

/* Measures the whole model at a point. */
static slm_status try_point(struct search *s, size_t point, const double **numbers, struct slm_error *error)
{
    struct slm_choice choice = {.type = main_type(s, point), .pure = true};
    char name[64];
    SLM_TRY(make_rules(s, type_at, point, &choice, error));
    snprintf(name, sizeof name, "mixed-%zu", point);
    const struct slm_trial *trial;
    SLM_TRY(slm_optimize_try(s->o, name, &choice, &trial, error));
    *numbers = trial->numbers;
    s->overhead = (*numbers)[SLM_METRIC_SIZE] - s->bytes[point];
    return SLM_OK;
}

/* The last point in [low, high] whose predicted loss is within the bound; low when none is. */
static size_t point_of_loss(const struct search *s, size_t low, size_t high, double bound)
{
    size_t point = low;
    for (size_t k = low; k <= high; k++)
        if (s->loss[k] <= bound) point = k;
    return point;
}

/* As small as a bound on the KL divergence allows: points known to meet it are behind `good`, points that do not
 * begin at `bad`. */
static slm_status search_loss(struct search *s, double bound, struct slm_error *error)
{
    size_t good = 0, bad = s->n_moves + 1;
    double scale = 1;
    for (int64_t round = 0; round < s->o->recipe.rounds && good + 1 < bad; round++) {
        const double *numbers;
        const size_t low = round ? good + 1 : 0;
        const size_t point = point_of_loss(s, low, bad - 1, bound * 0.98 / scale);
        SLM_TRY(try_point(s, point, &numbers, error));
        if (s->loss[point] > 0 && numbers[SLM_METRIC_KL] > 0) scale = numbers[SLM_METRIC_KL] / s->loss[point];
        if (numbers[SLM_METRIC_KL] <= bound) good = point;
        else bad = point;
        if (bad == 0) break;
    }
    return SLM_OK;
}

/* As good as a bound on bytes allows. The first point is measured to know what a file has beside its tensors. */
static slm_status search_size(struct search *s, double bound, struct slm_error *error)
{
    const double *numbers;
    for (int64_t round = 0; round < 2; round++) {
        size_t point = 0;
        const double room = bound - (isnan(s->overhead) ? 0 : s->overhead);
        while (point < s->n_moves && s->bytes[point] > room) point++;
        SLM_TRY(try_point(s, point, &numbers, error));
        if (numbers[SLM_METRIC_SIZE] <= bound) break;
    }
    return SLM_OK;
}

/* The bound in bytes of the file that a goal on size, bits or memory comes to; INFINITY when there is none. */
static double size_bound(const struct search *s)
{
    const struct slm_optimizer *o = s->o;
    const struct slm_bound *size = slm_goal_bound(&o->goal, SLM_METRIC_SIZE);
    const struct slm_bound *bpw = slm_goal_bound(&o->goal, SLM_METRIC_BPW);
    double bound = INFINITY;
    if (size && !size->at_least) bound = size->value;
    if (bpw && !bpw->at_least) {
        const double bytes = bpw->value * (double)slm_model_info(o->base).n_params / 8;
        if (bytes < bound) bound = bytes;
    }
    return bound;
}

static slm_status run(struct search *s, struct slm_error *error)
{
    struct slm_optimizer *o = s->o;
    const struct slm_bound *kl = slm_goal_bound(&o->goal, SLM_METRIC_KL);
    SLM_TRY(compare_types(s, error));
    SLM_TRY(form_groups(s, error));
    if (s->n_groups == 0) return SLM_OK;
    SLM_TRY(feel(s, error));
    SLM_TRY(lay_path(s, error));
    const double bytes = size_bound(s);
    if (isfinite(bytes)) SLM_TRY(search_size(s, bytes, error));
    if (kl && !kl->at_least) return search_loss(s, kl->value, error);
    return isfinite(bytes) ? SLM_OK : search_loss(s, 0.02, error);
}

slm_status slm_optimize_search(struct slm_optimizer *o, struct slm_error *error)
{
    struct search s = {.o = o, .types = o->recipe.search_types.items, .n_types = o->recipe.search_types.n,
                       .overhead = NAN};
    SLM_TRY(slm_gguf_open(o->base_path, NULL, &s.gguf, error));
    s.n = slm_gguf_n_tensors(s.gguf);
    s.tensors = slm_arena_alloc(&o->arena, s.n ? s.n : 1, sizeof *s.tensors, "optimize", error);
    s.options = s.tensors ? slm_arena_alloc(&o->arena, s.n ? s.n : 1, s.n_types * sizeof *s.options, "optimize", error)
                          : NULL;
    slm_status status = s.options ? SLM_OK : SLM_ERR_MEMORY;
    for (size_t i = 0; status == SLM_OK && i < s.n; i++) s.tensors[i].t = slm_gguf_tensor_at(s.gguf, i);
    for (size_t i = 0; i < s.n_types; i++)
        if (slm_dtype_from_name(s.types[i]) == SLM_DTYPE_Q4_0) s.probe = i;
    if (status == SLM_OK) status = run(&s, error);
    slm_gguf_close(s.gguf);
    return status;
}
