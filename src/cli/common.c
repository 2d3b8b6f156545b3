/* SPDX-License-Identifier: MIT
 *
 * What several commands do the same way: the options of models and of sampling, opening a model with a progress
 * bar, reading a file or stdin, measuring. Commands stay short because this is here; nothing here knows a
 * command. */
#include "cli/cli.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "base/rng.h"
#include "model/model.h"

/* ---- options of models ----------------------------------------------------------------------- */

static const char *const kv_names[] = {"", "f16", "f32", "int8", NULL}; /* enum slm_kv_type */

static const char *const activation_names[] = {"", "int8", "f32", NULL}; /* enum slm_activations */

#define AT(field) offsetof(struct slm_model_choice, field)
const struct slm_option slm_model_rows[SLM_MODEL_ROWS] = {
    {.name = "model", .letter = 'm', .kind = SLM_OPTION_TEXT, .offset = AT(path), .arg = "MODEL",
     .help = "GGUF file (default: the built-in model)"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024,
     .help = "threads (default: all CPUs this process may use)"},
    {.name = "ctx", .letter = 'c', .kind = SLM_OPTION_INT, .offset = AT(n_ctx), .arg = "N", .min = 1,
     .max = 16777216,
     .help = "tokens the context holds (default: what the model was trained for, at most 4096)"},
    {.name = "batch-size", .kind = SLM_OPTION_INT, .offset = AT(n_batch), .arg = "N", .min = 1, .max = 65536,
     .help = "most prompt tokens computed at once (default: 256)"},
    {.name = "kv", .kind = SLM_OPTION_CHOICE, .offset = AT(kv_type), .arg = "TYPE", .choices = kv_names,
     .help = "precision of the KV cache: f16 (default), f32, or int8 (half the memory, faster on long texts)"},
    {.name = "activations", .kind = SLM_OPTION_CHOICE, .offset = AT(activations), .arg = "TYPE",
     .choices = activation_names,
     .help = "what meets quantized weights: int8 (default, fast) or f32 (exact, slow)"},
    {.name = "lora", .kind = SLM_OPTION_LIST, .offset = AT(lora), .arg = "PATH[=S]",
     .help = "LoRA adapter to apply, a PEFT folder or a GGUF file, and how strongly (default: 1; may be repeated)"},
    {.name = "cpu-mask", .kind = SLM_OPTION_U64, .offset = AT(cpu_mask), .arg = "MASK",
     .help = "CPU features to use, as the bits that 'slm doctor' lists; 0 = none, the scalar kernels "
             "(default: all but AMX)"},
};
#undef AT

/* A prompt that happens to name a file is taken for the file; --model and --file leave no doubt. */
bool slm_cli_is_model(const char *arg)
{
    struct stat info;
    size_t n = strlen(arg);
    if (n > 5 && strcmp(arg + n - 5, ".gguf") == 0) return true;
    return n > 0 && stat(arg, &info) == 0;
}

/* Written over itself with a carriage return; what stands there is taken away by the next. */
bool slm_cli_draw_progress(struct slm_cli_progress *progress, uint64_t done, uint64_t total)
{
    double now = slm_cli_seconds();
    if (progress->since == 0) progress->since = now, progress->from = done;
    if (now - progress->start < 0.3 || now - progress->drawn < 0.05 || total == 0) return true;
    progress->drawn = now;
    char bar[31];
    int full = (int)(30.0 * (double)done / (double)total);
    for (int i = 0; i < 30; i++) bar[i] = i < full ? '=' : ' ';
    bar[30] = '\0';
    fprintf(stderr, "\r%s [%s] %3.0f%%", progress->label, bar, 100.0 * (double)done / (double)total);
    /* Later than the bar: the first chunks say little about the rest. */
    const double left = done > progress->from
                            ? (now - progress->since) * (double)(total - done) / (double)(done - progress->from) : 0;
    if (now - progress->start > 2) fprintf(stderr, ", %.0f:%02.0f left\033[K", floor(left / 60), floor(fmod(left, 60)));
    fflush(stderr);
    return true;
}

/* The line is empty again for whatever is printed next. */
void slm_cli_clear_progress(const struct slm_cli_progress *progress)
{
    if (progress->drawn > 0) fputs("\r\033[K", stderr);
}

/* In the form the library calls. */
static bool draw_loading(void *user, uint64_t done, uint64_t total) { return slm_cli_draw_progress(user, done, total); }

/* "PATH=SCALE" or "PATH". What stands behind the last "=" counts as a scale when it is a number, so that paths may hold
 * one. Writes the path's copy into *paths. */
static slm_status parse_adapter(const char *text, struct slm_buf *path, struct slm_adapter *out,
                                struct slm_error *error)
{
    const char *mark = strrchr(text, '=');
    char *end = NULL;
    *out = (struct slm_adapter){.scale = 1.0f};
    const float scale = mark ? strtof(mark + 1, &end) : 1.0f;
    const bool scaled = mark && end != mark + 1 && !*end;
    if (scaled) out->scale = scale;
    slm_buf_add(path, text, scaled ? (size_t)(mark - text) : strlen(text));
    slm_buf_add(path, "", 1);
    SLM_TRY(slm_buf_status(path, "--lora", error));
    out->path = path->data;
    return SLM_OK;
}

slm_status slm_cli_open_model(const struct slm_model_choice *choice, bool vocab_only, struct slm_model **out,
                              struct slm_error *error)
{
    /* The library reads mask 0 as "all"; a bit that no CPU has means "none of those that exist". */
    const uint64_t no_feature = UINT64_C(1) << 63;
    bool mask_given = choice->seen >> (SLM_MODEL_ROWS - 1) & 1;
    struct slm_cli_progress progress = {.label = "loading", .start = slm_cli_seconds()};
    struct slm_model_options options = {
        .vocab_only = vocab_only,
        .cpu_mask = mask_given && choice->cpu_mask == 0 ? no_feature : choice->cpu_mask,
        .progress = isatty(STDERR_FILENO) ? draw_loading : NULL,
        .progress_user = &progress,
    };
    /* As many as the option may be given; the library says when that is too many. */
    struct slm_adapter adapters[sizeof choice->lora.items / sizeof *choice->lora.items];
    struct slm_buf paths[sizeof adapters / sizeof *adapters] = {{0}};
    slm_status status = SLM_OK;
    for (size_t i = 0; i < choice->lora.n && status == SLM_OK; i++)
        status = parse_adapter(choice->lora.items[i], &paths[i], &adapters[i], error);
    options.adapters = adapters;
    options.n_adapters = choice->lora.n;
    if (status == SLM_OK) status = slm_model_open(choice->path, &options, out, error);
    for (size_t i = 0; i < choice->lora.n; i++) slm_buf_release(&paths[i]);
    slm_cli_clear_progress(&progress);
    return status;
}

/* Zero in choice means default there and here alike. */
static struct slm_session_options session_options(const struct slm_model_choice *choice)
{
    return (struct slm_session_options){
        .n_ctx = choice->n_ctx,
        .n_threads = choice->n_threads,
        .n_batch = choice->n_batch,
        .kv_type = (enum slm_kv_type)choice->kv_type,
        .activations = (enum slm_activations)choice->activations,
    };
}

slm_status slm_cli_open_session(const struct slm_model *model, const struct slm_model_choice *choice,
                                struct slm_session **out, struct slm_error *error)
{
    const struct slm_session_options options = session_options(choice);
    return slm_session_open(model, &options, out, error);
}

/* The same options hold for every session of it. */
slm_status slm_cli_open_engine(const struct slm_model *model, const struct slm_model_choice *choice, size_t n_kv,
                               struct slm_engine **out, struct slm_error *error)
{
    const struct slm_engine_options options = {.session = session_options(choice), .n_kv = n_kv};
    return slm_engine_open(model, &options, out, error);
}

/* ---- options of sampling --------------------------------------------------------------------- */

#define AT(field) offsetof(struct slm_sampling, field)
#define PARAM(field) offsetof(struct slm_sampling, params.field)
const struct slm_option slm_sampling_rows[SLM_SAMPLING_ROWS] = {
    {.name = "n-predict", .letter = 'n', .kind = SLM_OPTION_INT, .offset = AT(n_predict), .arg = "N",
     .min = 0, .max = 16777216, .key = "num_predict",
     .help = "most tokens to generate; 0 = until the model ends or the context is full (default: 0)"},
    {.name = "temp", .letter = 'T', .kind = SLM_OPTION_FLOAT, .offset = PARAM(temperature), .arg = "T",
     .min = -FLT_MAX, .max = FLT_MAX, .key = "temperature",
     .help = "temperature; 0 = always the likeliest token (default: 0.8)"},
    {.name = "seed", .letter = 's', .kind = SLM_OPTION_U64, .offset = PARAM(seed), .arg = "S", .key = "seed",
     .help = "same model, prompt, settings and seed give the same text (default: a new one each time)"},
    {.name = "top-k", .kind = SLM_OPTION_INT, .offset = PARAM(top_k), .arg = "K", .min = 0, .max = INT32_MAX,
     .key = "top_k",
     .help = "draw from the K likeliest tokens; 0 = off (default: 40)"},
    {.name = "top-p", .kind = SLM_OPTION_FLOAT, .offset = PARAM(top_p), .arg = "P", .min = 0, .max = 1,
     .key = "top_p",
     .help = "draw from the likeliest tokens that together reach P (default: 0.95)"},
    {.name = "min-p", .kind = SLM_OPTION_FLOAT, .offset = PARAM(min_p), .arg = "P", .min = 0, .max = 1,
     .key = "min_p",
     .help = "drop tokens less than P times as likely as the likeliest (default: 0.05)"},
    {.name = "typical", .kind = SLM_OPTION_FLOAT, .offset = PARAM(typical_p), .arg = "P", .min = 0, .max = 1,
     .key = "typical_p",
     .help = "locally typical sampling; 1 = off (default: 1)"},
    {.name = "repeat-penalty", .kind = SLM_OPTION_FLOAT, .offset = PARAM(repeat_penalty), .arg = "R",
     .min = 0, .max = 1000, .key = "repeat_penalty",
     .help = "divides the logits of recent tokens; 1 = off (default: 1)"},
    {.name = "frequency-penalty", .kind = SLM_OPTION_FLOAT, .offset = PARAM(frequency_penalty), .arg = "F",
     .min = -1000, .max = 1000, .key = "frequency_penalty",
     .help = "subtracted once per recent occurrence (default: 0)"},
    {.name = "presence-penalty", .kind = SLM_OPTION_FLOAT, .offset = PARAM(presence_penalty), .arg = "F",
     .min = -1000, .max = 1000, .key = "presence_penalty",
     .help = "subtracted from tokens that occurred recently (default: 0)"},
    {.name = "repeat-last-n", .kind = SLM_OPTION_INT, .offset = PARAM(penalty_last_n), .arg = "N", .min = -1,
     .max = INT32_MAX, .key = "repeat_last_n",
     .help = "tokens the penalties look back; -1 = all (default: 64)"},
    {.name = "logit-bias", .kind = SLM_OPTION_BIAS, .offset = AT(bias), .arg = "ID=B",
     .help = "adds B to the logit of token ID; -inf bans it (may be repeated)"},
    {.name = "stop", .kind = SLM_OPTION_LIST, .offset = AT(stop), .arg = "TEXT", .key = "stop",
     .help = "stop before this text (may be repeated)"},
    {.name = "ignore-eos", .kind = SLM_OPTION_FLAG, .offset = AT(ignore_eos),
     .help = "go on after an end-of-generation token"},
};
#undef AT
#undef PARAM
/* For slm_options_overlay: the same rows over a bare struct slm_sampling. */
static const struct slm_option_group sampling_group = {"Sampling", slm_sampling_rows, SLM_SAMPLING_ROWS, 0};
/* Which bit of `seen` is --seed: the row's place above. */
enum { SEED_ROW = 2 };

/* Three sources, weakest first: the library's defaults, what the model file recommends, what was asked for. */
void slm_cli_sampling_defaults(const struct slm_model *model, struct slm_sampling *sampling)
{
    struct slm_sampling merged = *sampling; /* keeps the lists */
    merged.params = slm_sampler_defaults(model);
    slm_options_overlay(&sampling_group, sampling, &merged);
    if (!(sampling->seen >> SEED_ROW & 1)) {
        /* From the clock, mixed; 32 bits, so that --verbose shows something a person can type. */
        uint32_t block[4];
        slm_rng_block((uint64_t)slm_os()->unix_ns(), (uint64_t)getpid(), 0, block);
        merged.params.seed = block[0];
    }
    merged.params.logit_bias = sampling->bias.items;
    merged.params.n_logit_bias = sampling->bias.n;
    *sampling = merged;
}

/* ---- text and tokens ------------------------------------------------------------------------- */

slm_status slm_cli_tokenize(const struct slm_model *model, struct slm_str text, unsigned flags, int32_t **ids,
                            size_t *n_ids, struct slm_error *error)
{
    /* A token is at least a byte of text, give or take the special ones; if that guess is short, ask again. */
    size_t cap = text.len + 16;
    for (;;) {
        *ids = slm_alloc(cap, sizeof **ids, "prompt", error);
        if (!*ids) return SLM_ERR_MEMORY;
        slm_status status = slm_tokenize(model, text.ptr, text.len, flags, *ids, cap, n_ids, error);
        if (status == SLM_OK && *n_ids <= cap) return SLM_OK;
        slm_release(*ids);
        *ids = NULL;
        if (status != SLM_OK) return status;
        cap = *n_ids;
    }
}

/* Not slm_detokenize: that decodes whole texts, so it drops the space in front of a first word. */
struct slm_str slm_cli_piece(const struct slm_model *model, int32_t id)
{
    return model->tokenizer ? slm_tokenizer_piece(model->tokenizer, id, true) : (struct slm_str){0};
}

/* strtol skips spaces by itself; commas and the end of a number are checked here, so that "1 2x" and "1,,2"
 * have one meaning each (an error, and 1 2). */
slm_status slm_cli_parse_ids(const char *text, int32_t n_vocab, int32_t **ids, size_t *n_ids, struct slm_error *error)
{
    size_t cap = strlen(text) / 2 + 1; /* "1 2 3": two characters a number */
    *n_ids = 0;
    *ids = slm_alloc(cap, sizeof **ids, "ids", error);
    if (!*ids) return SLM_ERR_MEMORY;
    for (;;) {
        char *end;
        text += strspn(text, " ,\t\r\n");
        if (*text == '\0') return SLM_OK;
        errno = 0;
        long id = strtol(text, &end, 10);
        if (end == text || (*end && !strchr(" ,\t\r\n", *end)) || errno || id < 0 || id >= n_vocab) {
            slm_status status = slm_fail(error, SLM_ERR_ARGUMENT, "ids", "'%.*s' is not a token id from 0 to %d",
                                         (int)strcspn(text, " ,\t\r\n") % 64, text, n_vocab - 1);
            slm_release(*ids);
            *ids = NULL;
            return status;
        }
        (*ids)[(*n_ids)++] = (int32_t)id;
        text = end;
    }
}

/* Through stdio, not the OS seam: stdin, pipes and /dev/stdin have no size and no offset. */
slm_status slm_cli_read(const char *path, size_t limit, struct slm_buf *out, struct slm_error *error)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    /* "-" is stdin everywhere, as in most tools. */
    const char *where = is_stdin ? "stdin" : path;
    slm_status status = SLM_OK;
    if (!file) return slm_fail(error, SLM_ERR_IO, where, "cannot be opened: %s", strerror(errno));
    out->limit = limit;
    char chunk[16384];
    size_t n;
    while (status == SLM_OK && (n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        slm_buf_add(out, chunk, n);
        status = slm_buf_status(out, where, error);
    }
    if (status == SLM_OK && ferror(file))
        status = slm_fail(error, SLM_ERR_IO, where, "cannot be read: %s", strerror(errno));
    if (!is_stdin) fclose(file);
    out->limit = 0;
    return status;
}

/* The words of --json and --verbose; scripts compare them. */
const char *slm_cli_stop_name(enum slm_stop_reason reason)
{
    static const char *const names[] = {
        [SLM_STOP_NONE] = "none",     [SLM_STOP_EOG] = "eog",         [SLM_STOP_STRING] = "string",
        [SLM_STOP_LENGTH] = "length", [SLM_STOP_CONTEXT] = "context", [SLM_STOP_CALLBACK] = "callback",
    };
    return names[reason];
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* One clock for everything that is measured. */
double slm_cli_seconds(void) { return (double)slm_os()->now_ns() * 1e-9; }

/* Peak from the kernel's accounting, current from /proc, where there is one. */
uint64_t slm_cli_rss(bool peak)
{
    if (peak) {
        struct rusage usage;
        if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
        return (uint64_t)usage.ru_maxrss * 1024;
    }
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    bool read = fscanf(file, "%llu %llu", &total, &resident) == 2;
    fclose(file);
    return read ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* For qsort; rates and times are never NaN. */
static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of an even number: the mean of the middle two. */
double slm_cli_median(double *values, size_t n)
{
    SLM_ASSERT(n > 0);
    qsort(values, n, sizeof *values, compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Durations as Go prints them, which is what scripts that read Ollama's output expect. */
static const char *duration(char out[32], double seconds)
{
    if (seconds >= 60)
        snprintf(out, 32, "%dm%.6gs", (int)(seconds / 60), seconds - 60 * (int)(seconds / 60));
    else if (seconds >= 1)
        snprintf(out, 32, "%.9gs", seconds);
    else if (seconds >= 1e-3)
        snprintf(out, 32, "%.9gms", seconds * 1e3);
    else
        snprintf(out, 32, "%.6gµs", seconds * 1e6);
    return out;
}

/* Of nothing in no time: 0. */
static double rate(double n, double seconds) { return seconds > 0 ? n / seconds : 0; }

/* Labels and columns are those of `ollama run --verbose`, which scripts already parse. */
void slm_cli_print_timing(const struct slm_generate_result *result, double load_s)
{
    char text[32];
    fprintf(stderr, "total duration:       %s\n", duration(text, load_s + result->prompt_s + result->generate_s));
    fprintf(stderr, "load duration:        %s\n", duration(text, load_s));
    fprintf(stderr, "prompt eval count:    %zu token(s)\n", result->n_prompt);
    fprintf(stderr, "prompt eval duration: %s\n", duration(text, result->prompt_s));
    fprintf(stderr, "prompt eval rate:     %.2f tokens/s\n", rate((double)result->n_prompt, result->prompt_s));
    fprintf(stderr, "eval count:           %zu token(s)\n", result->n_generated);
    fprintf(stderr, "eval duration:        %s\n", duration(text, result->generate_s));
    fprintf(stderr, "eval rate:            %.2f tokens/s\n", rate((double)result->n_generated, result->generate_s));
    /* One line more than ollama has, behind all of its own. */
    const struct slm_speculation_counts *s = &result->speculation;
    if (s->n_guessed == 0) return;
    fprintf(stderr, "speculation:          %zu of %zu guess(es) came true, %.2f tokens/step\n", s->n_accepted,
            s->n_guessed, rate((double)result->n_generated, (double)s->n_steps));
}
