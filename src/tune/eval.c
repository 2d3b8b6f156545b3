/* SPDX-License-Identifier: MIT
 * slm_evaluate: perplexity of a text, and how far a model is from another one on it.
 *
 * The text is cut into windows of as many tokens as asked for, each computed by itself; the first half of a window is
 * context only, every token of the second half is predicted from all before it: llama.cpp's way, so that numbers can be
 * compared. Both models see a window at the same time, so nothing but a few numbers a token is ever kept.
 *
 * Those numbers (a record) are what a checkpoint holds (records.c). All results are
 * computed from the records at the end, so a resumed evaluation says exactly what an uninterrupted one says.
 * Deliberately not here: reading texts, printing. */
#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/fmath.h"
#include "base/os.h"
#include "base/pool.h"
#include "tune/records.h"
#include "tune/softmax.h"
#include "tune/windows.h"

enum { ROWS = 32, TOP = 5 }; /* tokens whose logits are in memory at once */

/* What is kept of a predicted token: natural logarithms and probabilities. */
struct record { float nll, base_nll, kl, dp, top1, top5; };
enum { FIELDS = sizeof(struct record) / sizeof(float) };

struct side { struct slm_session *session; float *logits; }; /* [ROWS, n_vocab] */

struct eval {
    const struct slm_eval_options *options;
    struct slm_windows text;
    size_t per_window, n_vocab; /* predicted tokens of a window */
    struct side model, base;   /* base.session NULL: none */
    struct slm_pool *pool;
    struct record *records;    /* [n_windows * per_window] */
    const int32_t *next;       /* [n_rows] the tokens that are predicted */
    struct record *out;        /* [n_rows] */
    size_t n_rows;
    uint64_t fingerprint;      /* of all that decides the records */
};

/* ---- one token --------------------------------------------------------------------------------------------------- */

/* The TOP likeliest tokens, likeliest first; the lower id wins a tie. */
static void find_top(const float *x, size_t n, size_t *top)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = kept;
        while (at > 0 && x[i] > x[top[at - 1]]) at--;
        if (at == TOP) continue;
        if (kept < TOP) kept++;
        for (size_t k = kept - 1; k > at; k--) top[k] = top[k - 1];
        top[at] = i;
    }
}

static struct record compare(const float *x, const float *base, size_t n, int32_t next)
{
    const struct slm_softmax s = slm_softmax_of(x, n);
    struct record r = {.nll = (float)-slm_softmax_log(&s, x[next])};
    if (!base) return r;
    const struct slm_softmax b = slm_softmax_of(base, n);
    double kl = 0;
    for (size_t i = 0; i < n; i++) {
        const double p = (double)slm_expf(base[i] - b.max) / b.sum;
        if (p > 0) kl += p * (slm_softmax_log(&b, base[i]) - slm_softmax_log(&s, x[i]));
    }
    size_t mine[TOP] = {0}, theirs[TOP] = {0}, same = 0;
    find_top(x, n, mine);
    find_top(base, n, theirs);
    for (int i = 0; i < TOP; i++)
        for (int k = 0; k < TOP; k++) same += mine[i] == theirs[k];
    r.base_nll = (float)-slm_softmax_log(&b, base[next]);
    r.kl = (float)(kl > 0 ? kl : 0); /* below it is rounding */
    r.dp = (float)((double)slm_expf(x[next] - s.max) / s.sum - (double)slm_expf(base[next] - b.max) / b.sum);
    r.top1 = mine[0] == theirs[0];
    r.top5 = (float)same / (float)TOP;
    return r;
}

/* Rows are dealt out in turn. */
static void compare_rows(void *arg, unsigned rank, unsigned n_threads)
{
    struct eval *e = arg;
    for (size_t i = rank; i < e->n_rows; i += n_threads)
        e->out[i] = compare(e->model.logits + i * e->n_vocab,
                            e->base.session ? e->base.logits + i * e->n_vocab : NULL, e->n_vocab, e->next[i]);
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* n tokens; their logits only where records are wanted. */
static slm_status feed(struct eval *e, const int32_t *ids, size_t n, bool logits, struct slm_error *error)
{
    const struct side *sides[] = {&e->model, &e->base};
    for (int i = 0; i < 2; i++) {
        if (!sides[i]->session) continue;
        if (logits) SLM_TRY(slm_session_eval_all(sides[i]->session, ids, n, sides[i]->logits, error));
        else SLM_TRY(slm_session_eval(sides[i]->session, ids, n, error));
    }
    return SLM_OK;
}

/* Records of window w; its first token is BOS where texts begin with it. */
static slm_status run_window(struct eval *e, size_t w, struct slm_error *error)
{
    int32_t *ids = e->text.ids + w * e->text.window;
    const int32_t own = ids[0];
    const size_t first = e->text.window / 2;
    SLM_TRY(slm_session_truncate(e->model.session, 0, error));
    if (e->base.session) SLM_TRY(slm_session_truncate(e->base.session, 0, error));
    if (e->text.bos >= 0) ids[0] = e->text.bos;
    slm_status status = feed(e, ids, first, false, error);
    for (size_t at = first; status == SLM_OK && at + 1 < e->text.window; at += e->n_rows) {
        const size_t left = e->text.window - 1 - at;
        e->n_rows = left < ROWS ? left : ROWS;
        status = feed(e, ids + at, e->n_rows, true, error);
        e->next = ids + at + 1;
        e->out = e->records + w * e->per_window + (at - first);
        if (status == SLM_OK) slm_pool_run(e->pool, compare_rows, e);
    }
    ids[0] = own;
    return status;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

/* Tokens, window, precision, and of the models what tells two of them apart: size, shape and a few logits. */
static slm_status take_fingerprint(struct eval *e, struct slm_error *error)
{
    const size_t n = e->text.window < ROWS ? e->text.window : ROWS;
    const uint64_t numbers[] = {e->text.window, e->text.n_windows, e->n_vocab, (uint64_t)e->options->session.kv_type,
                                (uint64_t)e->options->session.activations};
    e->fingerprint = SLM_FINGERPRINT;
    slm_fingerprint_mix(&e->fingerprint, numbers, sizeof numbers);
    slm_fingerprint_mix(&e->fingerprint, e->text.ids, e->text.n_ids * sizeof *e->text.ids);
    SLM_TRY(feed(e, e->text.ids, n, true, error));
    slm_fingerprint_mix(&e->fingerprint, e->model.logits, n * e->n_vocab * sizeof(float));
    if (e->base.session) slm_fingerprint_mix(&e->fingerprint, e->base.logits, n * e->n_vocab * sizeof(float));
    e->fingerprint >>= 1; /* keys are signed */
    return SLM_OK;
}

static struct slm_records checkpoint_of(const struct eval *e)
{
    return (struct slm_records){.path = e->options->checkpoint, .key = "slm.eval.fingerprint",
                                .fingerprint = e->fingerprint, .rows = (float *)e->records, .n_fields = FIELDS,
                                .n_most = e->text.n_windows * e->per_window};
}

/* Replaces the checkpoint by the records of n_done windows. */
static slm_status save(const struct eval *e, size_t n_done, struct slm_error *error)
{
    const struct slm_records records = checkpoint_of(e);
    return slm_records_save(&records, n_done * e->per_window, error);
}

/* Windows that a checkpoint has; 0 when there is no such file. */
static slm_status restore(struct eval *e, size_t *n_done, struct slm_error *error)
{
    size_t n = 0;
    *n_done = 0;
    SLM_TRY(take_fingerprint(e, error));
    const struct slm_records records = checkpoint_of(e);
    SLM_TRY(slm_records_restore(&records, e->per_window, &n, error));
    *n_done = n / e->per_window;
    return SLM_OK;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* For qsort; records hold no NaN when it is called. */
static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Mean of one field and the standard error of that mean. */
static double mean_of(const struct eval *e, size_t n, size_t field, double *standard_error)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        const double v = (double)((const float *)&e->records[i])[field];
        sum += v;
        squares += v * v;
    }
    const double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    *standard_error = n > 1 && variance > 0 ? sqrt(variance / (double)(n - 1)) : 0;
    return mean;
}
#define FIELD(name) (offsetof(struct record, name) / sizeof(float))

/* From the records alone, in their order, in double: nothing depends on when or by whom they were made. */
static slm_status summarize(const struct eval *e, struct slm_eval_result *r, struct slm_error *error)
{
    const size_t n = e->text.n_windows * e->per_window;
    double unused, squares = 0;
    *r = (struct slm_eval_result){.n_windows = e->text.n_windows, .n_tokens = n, .has_base = e->base.session != NULL};
    r->nll = mean_of(e, n, FIELD(nll), &r->nll_error);
    r->ppl = exp(r->nll);
    r->ppl_error = r->nll_error * r->ppl;
    if (!isfinite(r->nll))
        return slm_fail(error, SLM_ERR_NUMERIC, "eval", "the model gave logits that are no numbers");
    if (!r->has_base) return SLM_OK;
    r->base_ppl = exp(mean_of(e, n, FIELD(base_nll), &unused));
    r->kl_mean = mean_of(e, n, FIELD(kl), &r->kl_error);
    r->top1 = mean_of(e, n, FIELD(top1), &unused);
    r->top5 = mean_of(e, n, FIELD(top5), &unused);
    r->dp_mean = mean_of(e, n, FIELD(dp), &unused);
    float *kl = slm_alloc(n, sizeof *kl, "eval", error);
    if (!kl) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        kl[i] = e->records[i].kl;
        squares += (double)e->records[i].dp * (double)e->records[i].dp;
    }
    r->dp_rms = sqrt(squares / (double)n);
    qsort(kl, n, sizeof *kl, by_value);
    r->kl_p50 = (double)kl[n / 2];
    r->kl_p90 = (double)kl[n * 9 / 10];
    r->kl_p99 = (double)kl[n * 99 / 100];
    r->kl_max = (double)kl[n - 1];
    slm_release(kl);
    return SLM_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static slm_status open_side(struct eval *e, const struct slm_model *model, struct side *side, struct slm_error *error)
{
    struct slm_session_options options = e->options->session;
    options.n_ctx = (int32_t)e->text.window;
    SLM_TRY(slm_session_open(model, &options, &side->session, error));
    side->logits = slm_alloc(ROWS * e->n_vocab, sizeof(float), "eval", error);
    return side->logits ? SLM_OK : SLM_ERR_MEMORY;
}

/* Tokens, and windows of them. */
static slm_status read_text(struct eval *e, const struct slm_model *model, struct slm_error *error)
{
    const struct slm_eval_options *o = e->options;
    SLM_TRY(slm_windows_open(model, o->text, o->text_bytes, (size_t)o->n_window, o->max_windows, &e->text, error));
    e->per_window = e->text.window - 1 - e->text.window / 2;
    e->n_vocab = (size_t)slm_model_info(model).n_vocab;
    return SLM_OK;
}

/* The same text must mean the same tokens to both. */
static slm_status check_base(const struct eval *e, const struct slm_model *base, struct slm_error *error)
{
    const struct slm_eval_options *o = e->options;
    size_t n = 0;
    int32_t *ids = slm_alloc(e->text.n_ids, sizeof *ids, "eval", error);
    if (!ids) return SLM_ERR_MEMORY;
    slm_status status = slm_tokenize(base, o->text, o->text_bytes, SLM_TOKENIZE_ADD_SPECIAL, ids, e->text.n_ids, &n,
                                     error);
    if (status == SLM_OK && (slm_model_info(base).n_vocab != (int32_t)e->n_vocab || n != e->text.n_ids ||
                             memcmp(ids, e->text.ids, n * sizeof *ids) != 0))
        status = slm_fail(error, SLM_ERR_ARGUMENT, "base",
                          "has another tokenizer; models must share one to be compared");
    slm_release(ids);
    return status;
}

/* Everything is asked for before the first window; what was done is kept when somebody stops us. */
static slm_status run(struct eval *e, const struct slm_model *model, const struct slm_model *base,
                      struct slm_eval_result *result, struct slm_error *error)
{
    const struct slm_eval_options *o = e->options;
    size_t done = 0;
    SLM_TRY(read_text(e, model, error));
    if (base) SLM_TRY(check_base(e, base, error));
    e->records = slm_alloc(e->text.n_windows * e->per_window, sizeof *e->records, "eval", error);
    if (!e->records) return SLM_ERR_MEMORY;
    SLM_TRY(open_side(e, model, &e->model, error));
    if (base) SLM_TRY(open_side(e, base, &e->base, error));
    const unsigned n_threads = o->session.n_threads > 0 ? (unsigned)o->session.n_threads : slm_os()->n_cpus();
    SLM_TRY(slm_pool_open(n_threads, &e->pool, error));
    if (o->checkpoint) SLM_TRY(restore(e, &done, error));
    for (; done < e->text.n_windows; done++) {
        if (o->progress && !o->progress(o->user, done, e->text.n_windows)) {
            SLM_TRY(save(e, done, error));
            return slm_fail(error, SLM_ERR_CANCELLED, "eval", "was cancelled");
        }
        SLM_TRY(run_window(e, done, error));
        if (done % 8 == 7 || done + 1 == e->text.n_windows) SLM_TRY(save(e, done + 1, error));
    }
    return summarize(e, result, error);
}

slm_status slm_evaluate(const struct slm_model *model, const struct slm_model *base,
                        const struct slm_eval_options *options, struct slm_eval_result *result,
                        struct slm_error *error)
{
    struct eval e = {.options = options};
    if (!options->text) return slm_fail(error, SLM_ERR_ARGUMENT, "text", "is needed");
    const slm_status status = run(&e, model, base, result, error);
    slm_pool_close(e.pool);
    slm_session_close(e.model.session);
    slm_session_close(e.base.session);
    slm_release(e.model.logits);
    slm_release(e.base.logits);
    slm_release(e.records);
    slm_windows_release(&e.text);
    return status;
}
