/* SPDX-License-Identifier: MIT
 * Measuring one choice of types: quantize, compare with the base on the text, time a few tokens, remove the file
 * again. One such file exists at a time, so the work folder needs room for one model and not for all that are
 * tried. What was measured stays, under a key of everything it depends on; an evaluation that was killed goes on
 * from its checkpoint.
 *
 * Speed is measured by the clock and so is the one number that another run would measure otherwise. It is kept like
 * the others: one work folder, one answer. Deliberately not here: what is tried, and what is chosen. */
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "tune/optimize.h"
#include "tune/records.h"

/* Counts as a change of everything when what a number means changes. */
static const char VERSION[] = "slm optimize 1";

static const char *const number_names[SLM_OPTIMIZE_NUMBERS] = {
    [SLM_METRIC_SIZE] = "size",     [SLM_METRIC_BPW] = "bpw",         [SLM_METRIC_KL] = "kl",
    [SLM_METRIC_PPL] = "ppl",       [SLM_METRIC_TOP1] = "top1",       [SLM_METRIC_DECODE] = "decode",
    [SLM_METRIC_PREFILL] = "prefill", [SLM_METRIC_MEMORY] = "memory", [SLM_OPTIMIZE_KL_ERROR] = "kl_error",
    [SLM_OPTIMIZE_BASE_PPL] = "base_ppl",
};

/* Numbers do not depend on it, times do. 0: all CPUs. */
static int32_t n_threads(const struct slm_optimizer *o)
{
    return o->options->n_threads > 0 ? o->options->n_threads : (int32_t)o->recipe.threads;
}

/* ---- the text -------------------------------------------------------------------------------- */

/* Stories of the model's own, each from the beginning: what it says at temperature 1 is what it thinks texts are
 * like, which is the next best thing to a text of its users. */
static slm_status write_text(struct slm_optimizer *o, const char *path, struct slm_error *error)
{
    enum { PIECES = 16, PIECE_TOKENS = 256 };
    const struct slm_model_info info = slm_model_info(o->base);
    const int32_t first = info.bos_id >= 0 ? info.bos_id : info.eos_id >= 0 ? info.eos_id : 0;
    /* No prompt: whoever made the model has decided what a text begins with. */
    const int32_t n_ctx = info.n_ctx_train < PIECE_TOKENS ? info.n_ctx_train : PIECE_TOKENS;
    const struct slm_session_options session_options = {.n_ctx = n_ctx, .n_threads = n_threads(o)};
    struct slm_session *session;
    struct slm_buf text = {0};
    SLM_TRY(slm_session_open(o->base, &session_options, &session, error));
    slm_status status = SLM_OK;
    for (uint64_t piece = 0; status == SLM_OK && piece < PIECES; piece++) {
        const struct slm_generate_params params = {
            .sampler = {.temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .seed = piece + 1},
            .ignore_eog = false, .n_predict = n_ctx - 1};
        struct slm_generate_result result;
        char bytes[PIECE_TOKENS * 64];
        size_t n = 0;
        status = slm_session_truncate(session, 0, error);
        if (status == SLM_OK) status = slm_generate(session, &first, 1, &params, &result, error);
        if (status == SLM_OK)
            status = slm_detokenize(o->base, slm_session_tokens(session) + 1, slm_session_n_past(session) - 1, false,
                                    bytes, sizeof bytes, &n, error);
        slm_buf_add(&text, bytes, n < sizeof bytes ? n : sizeof bytes);
        slm_buf_puts(&text, "\n\n");
        if (status == SLM_OK && o->options->progress && !o->options->progress(o->options->user, piece + 1, PIECES))
            status = slm_fail(error, SLM_ERR_CANCELLED, "optimize", "was cancelled");
    }
    slm_session_close(session);
    if (status == SLM_OK) status = slm_buf_status(&text, path, error);
    if (status == SLM_OK) status = slm_cache_write(path, text.data, text.len, error);
    slm_buf_release(&text);
    return status;
}

/* Where the second half begins: at a line, or at least at a character. */
static size_t middle_of(const char *text, size_t bytes)
{
    size_t at = bytes / 2;
    while (at < bytes && text[at - (at > 0)] != '\n') at++;
    if (at < bytes * 3 / 4) return at;
    for (at = bytes / 2; at < bytes && ((unsigned char)text[at] & 0xc0) == 0x80;) at++;
    return at;
}

slm_status slm_optimize_read_text(struct slm_optimizer *o, struct slm_error *error)
{
    struct slm_buf path = {0};
    bool found = true;
    slm_status status = SLM_OK;
    if (o->recipe.text) {
        slm_buf_puts(&path, o->recipe.text);
        status = slm_buf_status(&path, "text", error);
    } else {
        const uint64_t key = slm_cache_key_text(o->base_key, VERSION);
        status = slm_cache_path(o->options->work, "text", key, "txt", &path, error);
        if (status == SLM_OK) status = slm_cache_has(path.data, &found, error);
        if (status == SLM_OK && !found) {
            slm_optimize_note(o, "no text was given: the model writes one itself, to be measured on");
            status = write_text(o, path.data, error);
        }
    }
    if (status == SLM_OK) status = slm_cache_map(path.data, &o->map, error);
    slm_buf_release(&path);
    SLM_TRY(status);
    const char *text = o->map.data ? (const char *)o->map.data : "";
    /* Measured on what it was calibrated with, a model would look better than it is. */
    o->text_key = slm_cache_key(0, text, o->map.bytes);
    o->calibration = text;
    o->calibration_bytes = o->map.bytes > 1 ? middle_of(text, o->map.bytes) : 0;
    o->text = text + o->calibration_bytes;
    o->text_bytes = o->map.bytes - o->calibration_bytes;
    return SLM_OK;
}

/* ---- one model ------------------------------------------------------------------------------- */

/* For qsort; times are no NaN. */
static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Tokens a second, the median of a few times; random tokens do as well as any. */
static slm_status time_model(const struct slm_optimizer *o, const struct slm_model *model, double *prefill,
                             double *decode, struct slm_error *error)
{
    enum { MAX_REPEAT = 99, MAX_TOKENS = 512 };
    const struct slm_recipe *r = &o->recipe;
    const struct slm_model_info info = slm_model_info(model);
    int64_t n_prompt = r->bench_prompt ? r->bench_prompt : 128, n_tokens = r->bench_tokens ? r->bench_tokens : 16;
    const int64_t repeat = r->bench_repeat ? r->bench_repeat : 3;
    double times[2][MAX_REPEAT];
    int32_t ids[MAX_TOKENS];
    struct slm_session *session;
    /* What the model can take decides before what was asked for. */
    if (n_prompt > MAX_TOKENS) n_prompt = MAX_TOKENS;
    if (n_prompt > info.n_ctx_train / 2) n_prompt = info.n_ctx_train / 2;
    if (n_tokens > info.n_ctx_train - n_prompt) n_tokens = info.n_ctx_train - n_prompt;
    if (n_tokens > MAX_TOKENS) n_tokens = MAX_TOKENS;
    const struct slm_session_options options = {.n_ctx = (int32_t)(n_prompt + n_tokens), .n_threads = n_threads(o)};
    struct slm_rng rng = {.seed = 1};
    for (size_t i = 0; i < MAX_TOKENS; i++) ids[i] = (int32_t)(slm_rng_next(&rng) % (uint64_t)info.n_vocab);
    SLM_TRY(slm_session_open(model, &options, &session, error));
    slm_status status = SLM_OK;
    /* Random tokens, but always the same: what is measured is the machine, not luck. */
    for (int64_t i = -1; status == SLM_OK && i < repeat; i++) { /* the first is not counted */
        status = slm_session_truncate(session, 0, error);
        const uint64_t start = slm_os()->now_ns();
        if (status == SLM_OK) status = slm_session_eval(session, ids, (size_t)n_prompt, error);
        const uint64_t between = slm_os()->now_ns();
        for (int64_t k = 0; status == SLM_OK && k < n_tokens; k++)
            status = slm_session_eval(session, &ids[k], 1, error);
        if (i < 0) continue;
        times[0][i] = (double)(between - start);
        times[1][i] = (double)(slm_os()->now_ns() - between);
    }
    slm_session_close(session);
    SLM_TRY(status);
    for (int k = 0; k < 2; k++) qsort(times[k], (size_t)repeat, sizeof times[k][0], by_value);
    *prefill = 1e9 * (double)n_prompt / (times[0][repeat / 2] > 0 ? times[0][repeat / 2] : 1);
    *decode = 1e9 * (double)n_tokens / (times[1][repeat / 2] > 0 ? times[1][repeat / 2] : 1);
    return SLM_OK;
}

/* Both models see the same windows in one pass. */
static slm_status compare(struct slm_optimizer *o, const struct slm_model *model, int64_t windows,
                          const char *checkpoint, double *numbers, struct slm_error *error)
{
    struct slm_eval_result e;
    const struct slm_eval_options options = {
        .text = o->text, .text_bytes = o->text_bytes, .n_window = (int32_t)o->recipe.window,
        .max_windows = (size_t)windows, .session = {.n_threads = n_threads(o)}, .checkpoint = checkpoint,
        .progress = o->options->progress, .user = o->options->user};
    SLM_TRY(slm_evaluate(model, o->base, &options, &e, error));
    numbers[SLM_METRIC_KL] = e.kl_mean;
    numbers[SLM_METRIC_PPL] = e.ppl;
    numbers[SLM_METRIC_TOP1] = e.top1;
    numbers[SLM_OPTIMIZE_KL_ERROR] = e.kl_error;
    numbers[SLM_OPTIMIZE_BASE_PPL] = e.base_ppl;
    return SLM_OK;
}

/* Always from the base, never from another candidate: rounding what is rounded would count twice. */
slm_status slm_optimize_quantize(struct slm_optimizer *o, const struct slm_choice *c, const char *path,
                                 struct slm_convert_result *result, struct slm_error *error)
{
    const struct slm_quantize_options options = {.type = c->type, .pure = c->pure, .rules = c->rules,
                                                 .n_rules = c->n_rules, .imatrix = o->imatrix,
                                                 .n_threads = n_threads(o), .progress = o->options->progress,
                                                 .user = o->options->user};
    return slm_quantize(o->base_path, path, &options, result, error);
}

/* What is in the file at path. */
static slm_status measure_file(struct slm_optimizer *o, const char *path, int64_t windows, bool all,
                               const char *checkpoint, double *numbers, struct slm_error *error)
{
    struct slm_model *model;
    struct slm_memory memory;
    const int32_t ctx = (int32_t)o->recipe.ctx;
    const struct slm_session_options session = {.n_ctx = ctx, .n_threads = n_threads(o)};
    SLM_TRY(slm_model_open(path, NULL, &model, error));
    const struct slm_model_info info = slm_model_info(model);
    const struct slm_work work = slm_work_of(model);
    /* Bits over the whole file's tensors, norms included: what the disk and the memory see. */
    numbers[SLM_METRIC_SIZE] = (double)info.file_bytes;
    numbers[SLM_METRIC_BPW] = 8 * (double)work.weight_bytes / (double)info.n_params;
    slm_status status = slm_memory_predict(model, &work, &session, &memory, error);
    if (status == SLM_OK) numbers[SLM_METRIC_MEMORY] = (double)slm_memory_total(&memory);
    if (status == SLM_OK) status = compare(o, model, windows, checkpoint, numbers, error);
    if (status == SLM_OK && all && o->recipe.passes[SLM_PASS_BENCH])
        status = time_model(o, model, &numbers[SLM_METRIC_PREFILL], &numbers[SLM_METRIC_DECODE], error);
    slm_model_close(model);
    return status;
}

/* What another value of would give other numbers. Threads count only where time is measured. */
static uint64_t key_of(const struct slm_optimizer *o, const struct slm_choice *c, int64_t windows, bool all)
{
    const struct slm_recipe *r = &o->recipe;
    const bool bench = all && r->passes[SLM_PASS_BENCH];
    const int64_t numbers[] = {c->pure, (int64_t)c->n_rules, windows, r->window, r->ctx, bench,
                               bench ? r->bench_prompt : 0, bench ? r->bench_tokens : 0, bench ? r->bench_repeat : 0,
                               bench ? n_threads(o) : 0};
    /* The name of a trial is no part of it: the same types found another way need not be measured again. */
    uint64_t key = slm_cache_key_text(o->base_key, VERSION);
    key = slm_cache_key(key, &o->text_key, sizeof o->text_key);
    key = slm_cache_key(key, &o->imatrix_key, sizeof o->imatrix_key);
    key = slm_cache_key(key, numbers, sizeof numbers);
    key = slm_cache_key_text(key, c->type);
    for (size_t i = 0; i < c->n_rules; i++)
        key = slm_cache_key_text(slm_cache_key_text(key, c->rules[i].pattern), c->rules[i].type);
    return key;
}

/* The record is written before the file goes: no kill makes a number be measured twice. */
slm_status slm_optimize_measure(struct slm_optimizer *o, const struct slm_choice *choice, int64_t windows, bool all,
                                double numbers[SLM_OPTIMIZE_NUMBERS], struct slm_error *error)
{
    const uint64_t key = key_of(o, choice, windows, all);
    struct slm_buf record = {0}, file = {0}, checkpoint = {0};
    bool found = false;
    slm_status status = slm_cache_path(o->options->work, "measured", key, "json", &record, error);
    if (status == SLM_OK) status = slm_cache_path(o->options->work, "candidate", key, "gguf", &file, error);
    if (status == SLM_OK) status = slm_cache_path(o->options->work, "candidate", key, "part", &checkpoint, error);
    if (status == SLM_OK)
        status = slm_cache_get_numbers(record.data, number_names, numbers, SLM_OPTIMIZE_NUMBERS, &found, error);
    if (status == SLM_OK && !found) {
        /* A candidate that is there was left by a run that was killed while it measured. */
        for (int i = 0; i < SLM_OPTIMIZE_NUMBERS; i++) numbers[i] = NAN;
        status = slm_cache_has(file.data, &found, error);
        if (status == SLM_OK && !found) {
            status = slm_optimize_quantize(o, choice, file.data, NULL, error);
            if (status == SLM_OK) status = slm_cache_seal(file.data, error);
        }
        if (status == SLM_OK) slm_records_drop_damaged(checkpoint.data);
        if (status == SLM_OK) status = measure_file(o, file.data, windows, all, checkpoint.data, numbers, error);
        if (status == SLM_OK)
            status = slm_cache_put_numbers(record.data, number_names, numbers, SLM_OPTIMIZE_NUMBERS, error);
    }
    /* Also what a run left that was killed behind its record. */
    if (status == SLM_OK) {
        slm_cache_remove(file.data);
        (void)slm_os()->remove(checkpoint.data, NULL);
    }
    slm_buf_release(&record);
    slm_buf_release(&file);
    slm_buf_release(&checkpoint);
    return status;
}
