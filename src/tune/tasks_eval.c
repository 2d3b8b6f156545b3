/* SPDX-License-Identifier: MIT
 * slm_evaluate_tasks: multiple-choice questions, answered by likelihood. Of every choice the log probability behind its
 * prompt is computed; the likeliest is the answer (acc), or the one that is likeliest for its length in characters
 * (acc_norm): the two numbers lm-evaluation-harness states, from the same tokens. These are those of prompt and choice
 * encoded together, of which as many as the prompt alone has are the prompt's.
 *
 * The prompt is computed once for all its choices. What is kept is the log probability of every choice, so everything
 * else follows from the file again, and a checkpoint (records.c) holds nothing more.
 * Deliberately not here: reading files (tasks.c), generated answers. */
#include <math.h>

#include "base/os.h"
#include "base/pool.h"
#include "tune/records.h"
#include "tune/softmax.h"
#include "tune/tasks.h"

enum { ROWS = 32, SAVE_EVERY = 64 }; /* tokens whose logits are in memory at once; items */

struct tokens { int32_t *ids; size_t n, cap; };

struct run {
    const struct slm_task_options *options;
    const struct slm_model *model;
    struct slm_tasks tasks;
    struct slm_session *session;
    struct slm_pool *pool;
    size_t n_vocab, n_ctx;
    int32_t bos;            /* in front of every prompt; -1 = nothing is */
    struct tokens prompt, whole;
    float *logits;          /* [ROWS, n_vocab] */
    const int32_t *next;    /* [n_rows] the tokens that are scored */
    double logs[ROWS];
    size_t n_rows;
    struct slm_records records;
};

/* ---- tokens ---------------------------------------------------------------------------------- */

/* BOS, where texts of this model begin with it, and the text. */
static slm_status tokenize(struct run *r, struct slm_str text, struct tokens *out, struct slm_error *error)
{
    const size_t first = r->bos >= 0;
    size_t n = 0;
    for (;;) {
        const size_t room = out->cap > first ? out->cap - first : 0;
        SLM_TRY(slm_tokenize(r->model, text.ptr, text.len, 0, room ? out->ids + first : NULL, room, &n, error));
        if (n <= room) break;
        slm_release(out->ids);
        out->cap = 0;
        out->ids = slm_alloc(first + n, sizeof *out->ids, "tasks", error);
        if (!out->ids) return SLM_ERR_MEMORY;
        out->cap = first + n;
    }
    if (first && out->cap) out->ids[0] = r->bos;
    out->n = n + first;
    return SLM_OK;
}

/* Tokens of prompt and choice in r->whole; the prompt's in r->prompt. */
static slm_status tokenize_choice(struct run *r, const struct slm_task_item *item, unsigned choice,
                                  struct slm_error *error)
{
    struct slm_buf text = {0};
    slm_buf_add_str(&text, item->prompt);
    slm_buf_add_str(&text, item->endings[choice]);
    slm_status status = slm_buf_status(&text, "tasks", error);
    if (status == SLM_OK) status = tokenize(r, (struct slm_str){text.data, text.len}, &r->whole, error);
    slm_buf_release(&text);
    SLM_TRY(status);
    if (r->prompt.n > 0 && r->whole.n > r->prompt.n) return SLM_OK;
    return slm_fail(error, SLM_ERR_ARGUMENT, r->options->where, "line %zu: choice %u has no tokens of its own",
                    item->line, choice);
}

/* What the longest prompt and choice take, and no more than the model or the user allows. Some models compute otherwise
 * in longer contexts, so this depends on the file only. */
static slm_status choose_context(struct run *r, struct slm_error *error)
{
    const struct slm_model_info info = slm_model_info(r->model);
    const int32_t asked = r->options->session.n_ctx, trained = info.n_ctx_train;
    const size_t most = (size_t)(asked > 0 ? asked : trained > 0 ? trained : 4096);
    for (size_t i = 0; i < r->tasks.n; i++) {
        const struct slm_task_item *item = &r->tasks.items[i];
        SLM_TRY(tokenize(r, item->prompt, &r->prompt, error));
        for (unsigned c = 0; c < item->n_choices; c++) {
            SLM_TRY(tokenize_choice(r, item, c, error));
            if (r->whole.n - 1 > r->n_ctx) r->n_ctx = r->whole.n - 1;
            if (r->whole.n - r->prompt.n >= most)
                return slm_fail(error, SLM_ERR_CONTEXT, r->options->where,
                                "line %zu: choice %u has %zu tokens, more than the context's %zu", item->line, c,
                                r->whole.n - r->prompt.n, most);
        }
    }
    if (r->n_ctx > most) r->n_ctx = most;
    return SLM_OK;
}

/* ---- one item -------------------------------------------------------------------------------- */

/* Rows are dealt out in turn; they are summed in order afterwards. */
static void score_rows(void *arg, unsigned rank, unsigned n_threads)
{
    struct run *r = arg;
    for (size_t i = rank; i < r->n_rows; i += n_threads) {
        const float *x = r->logits + i * r->n_vocab;
        const struct slm_softmax s = slm_softmax_of(x, r->n_vocab);
        r->logs[i] = slm_softmax_log(&s, x[r->next[i]]);
    }
}

/* The log probability of whole[first..) behind what is before it, of which `kept` tokens (counted from `cut`) are
 * computed already. */
static slm_status score_choice(struct run *r, size_t cut, size_t kept, double *sum, struct slm_error *error)
{
    const int32_t *ids = r->whole.ids;
    SLM_TRY(slm_session_truncate(r->session, kept, error));
    *sum = 0;
    for (size_t at = cut + kept; at + 1 < r->whole.n; at += r->n_rows) {
        const size_t left = r->whole.n - 1 - at;
        r->n_rows = left < ROWS ? left : ROWS;
        r->next = ids + at + 1;
        SLM_TRY(slm_session_eval_all(r->session, ids + at, r->n_rows, r->logits, error));
        slm_pool_run(r->pool, score_rows, r);
        for (size_t i = 0; i < r->n_rows; i++) *sum += r->logs[i];
    }
    return SLM_OK;
}

/* Tokens of the prompt without its last one, which predicts the first of a choice. A prompt too long for the context
 * loses its beginning, by as much as the choice needs: then nothing is shared. */
static slm_status score_item(struct run *r, size_t i, struct slm_error *error)
{
    const struct slm_task_item *item = &r->tasks.items[i];
    float *row = r->records.rows + i * SLM_TASK_MAX_CHOICES;
    size_t last_cut = SIZE_MAX;
    SLM_TRY(tokenize(r, item->prompt, &r->prompt, error));
    for (unsigned c = 0; c < item->n_choices; c++) {
        double sum;
        SLM_TRY(tokenize_choice(r, item, c, error));
        const size_t n = r->prompt.n;
        /* The prompt's own tokens stand, even if the choice would change its last one. */
        memcpy(r->whole.ids, r->prompt.ids, n * sizeof *r->prompt.ids);
        const size_t cut = r->whole.n - 1 > r->n_ctx ? r->whole.n - 1 - r->n_ctx : 0;
        if (cut != last_cut) {
            SLM_TRY(slm_session_truncate(r->session, 0, error));
            if (n - 1 > cut) SLM_TRY(slm_session_eval(r->session, r->whole.ids + cut, n - 1 - cut, error));
        }
        last_cut = cut;
        SLM_TRY(score_choice(r, cut, n - 1 - cut, &sum, error));
        row[c] = (float)sum;
        if (!isfinite(row[c]))
            return slm_fail(error, SLM_ERR_NUMERIC, r->options->where,
                            "line %zu: the model gave choice %u a probability that is no number", item->line, c);
    }
    return SLM_OK;
}

/* ---- results --------------------------------------------------------------------------------- */

/* The first of the greatest. */
static unsigned best_of(const struct slm_task_item *item, const float *row, bool by_length)
{
    unsigned best = 0;
    double most = -INFINITY;
    for (unsigned c = 0; c < item->n_choices; c++) {
        const double value = (double)row[c] / (by_length ? (double)item->lengths[c] : 1);
        if (value > most) {
            most = value;
            best = c;
        }
    }
    return best;
}

/* Of a share of n that came true: the standard deviation of the sample over the root of n. */
static double error_of(double share, size_t n) { return n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0; }

/* Shares, and every answer to whoever listens. */
static void summarize(const struct run *r, struct slm_task_result *out)
{
    size_t right = 0, right_norm = 0;
    double chance = 0;
    const size_t n = r->tasks.n;
    for (size_t i = 0; i < n; i++) {
        const struct slm_task_item *item = &r->tasks.items[i];
        const float *row = r->records.rows + i * SLM_TASK_MAX_CHOICES;
        const struct slm_task_answer a = {.line = item->line, .answer = item->answer, .n_choices = item->n_choices,
                                          .logprobs = row, .choice = best_of(item, row, false),
                                          .choice_norm = best_of(item, row, true)};
        right += a.choice == a.answer;
        right_norm += a.choice_norm == a.answer;
        chance += 1.0 / item->n_choices;
        if (r->options->on_answer) r->options->on_answer(r->options->user, &a);
    }
    *out = (struct slm_task_result){.n_items = n, .acc = (double)right / (double)n,
                                    .acc_norm = (double)right_norm / (double)n, .chance = chance / (double)n};
    out->acc_error = error_of(out->acc, n);
    out->acc_norm_error = error_of(out->acc_norm, n);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The file, how it is asked, precision, and of the model a few logits. */
static slm_status take_fingerprint(struct run *r, struct slm_error *error)
{
    const struct slm_task_options *o = r->options;
    const uint64_t numbers[] = {r->tasks.n, r->n_ctx, r->n_vocab, o->letters, (uint64_t)o->session.kv_type,
                                (uint64_t)o->session.activations};
    uint64_t hash = SLM_FINGERPRINT;
    slm_fingerprint_mix(&hash, numbers, sizeof numbers);
    slm_fingerprint_mix(&hash, o->text, o->text_bytes);
    SLM_TRY(tokenize(r, r->tasks.items[0].prompt, &r->prompt, error));
    size_t n = r->prompt.n < ROWS ? r->prompt.n : ROWS;
    if (n > r->n_ctx) n = r->n_ctx;
    SLM_TRY(slm_session_eval_all(r->session, r->prompt.ids, n, r->logits, error));
    slm_fingerprint_mix(&hash, r->logits, n * r->n_vocab * sizeof(float));
    r->records.fingerprint = hash >> 1;
    return SLM_OK;
}

static slm_status prepare(struct run *r, struct slm_error *error)
{
    const struct slm_task_options *o = r->options;
    const struct slm_model_info info = slm_model_info(r->model);
    int32_t first = -1;
    size_t n = 0;
    SLM_TRY(slm_tasks_parse(o->text, o->text_bytes, o->where, o->letters, o->max_items, &r->tasks, error));
    SLM_TRY(slm_tokenize(r->model, "", 0, SLM_TOKENIZE_ADD_SPECIAL, &first, 1, &n, error));
    r->bos = n > 0 && first == info.bos_id ? first : -1;
    r->n_vocab = (size_t)info.n_vocab;
    SLM_TRY(choose_context(r, error));
    struct slm_session_options session = o->session;
    session.n_ctx = (int32_t)r->n_ctx;
    SLM_TRY(slm_session_open(r->model, &session, &r->session, error));
    SLM_TRY(slm_pool_open(o->session.n_threads > 0 ? (unsigned)o->session.n_threads : slm_os()->n_cpus(), &r->pool,
                          error));
    r->logits = slm_alloc(ROWS * r->n_vocab, sizeof *r->logits, "tasks", error);
    if (!r->logits) return SLM_ERR_MEMORY;
    r->records = (struct slm_records){.path = o->checkpoint, .key = "slm.tasks.fingerprint",
                                      .n_fields = SLM_TASK_MAX_CHOICES, .n_most = r->tasks.n};
    r->records.rows = slm_alloc(r->tasks.n, SLM_TASK_MAX_CHOICES * sizeof(float), "tasks", error);
    return r->records.rows ? SLM_OK : SLM_ERR_MEMORY;
}

/* What was done is kept when somebody stops us. */
static slm_status run(struct run *r, struct slm_task_result *result, struct slm_error *error)
{
    const struct slm_task_options *o = r->options;
    size_t done = 0;
    SLM_TRY(prepare(r, error));
    if (o->checkpoint) {
        SLM_TRY(take_fingerprint(r, error));
        SLM_TRY(slm_records_restore(&r->records, 1, &done, error));
    }
    for (; done < r->tasks.n; done++) {
        if (o->progress && !o->progress(o->user, done, r->tasks.n)) {
            SLM_TRY(slm_records_save(&r->records, done, error));
            return slm_fail(error, SLM_ERR_CANCELLED, "eval", "was cancelled");
        }
        SLM_TRY(score_item(r, done, error));
        if (done % SAVE_EVERY == SAVE_EVERY - 1 || done + 1 == r->tasks.n)
            SLM_TRY(slm_records_save(&r->records, done + 1, error));
    }
    summarize(r, result);
    return SLM_OK;
}

slm_status slm_evaluate_tasks(const struct slm_model *model, const struct slm_task_options *options,
                              struct slm_task_result *result, struct slm_error *error)
{
    struct run r = {.options = options, .model = model, .bos = -1};
    if (!options->text || !options->where)
        return slm_fail(error, SLM_ERR_ARGUMENT, "tasks", "a text and its name are needed");
    const slm_status status = run(&r, result, error);
    slm_pool_close(r.pool);
    slm_session_close(r.session);
    slm_release(r.logits);
    slm_release(r.records.rows);
    slm_release(r.prompt.ids);
    slm_release(r.whole.ids);
    slm_tasks_release(&r.tasks);
    return status;
}
