/* SPDX-License-Identifier: MIT
 * What the commands share: exit codes, the way errors and data leave the program, options that several commands
 * take, opening a model with a progress bar. */
#ifndef SLM_CLI_CLI_H
#define SLM_CLI_CLI_H
#include <stdio.h>
#include "base/str.h"
#include "cli/options.h"

enum slm_exit { SLM_EXIT_OK = 0, SLM_EXIT_FAILURE = 1, SLM_EXIT_USAGE = 2 };

/* ---- out: data on stdout, sentences on stderr ------------------------------------------------ */

/* Prints "slm: where: message" on stderr; returns SLM_EXIT_FAILURE. */
int slm_cli_fail(const struct slm_error *error);
/* The same for what was typed wrong; returns SLM_EXIT_USAGE. */
int slm_cli_usage(const char *where, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes to stdout. False when nobody reads it any more or the disk is full: stop producing. */
bool slm_cli_write(const void *data, size_t bytes);
/* Writes a finished buffer and releases it; returns the exit code. */
int slm_cli_emit(struct slm_buf *out);
/* Writes one to a file and releases it. */
slm_status slm_cli_save(const char *path, struct slm_buf *out, struct slm_error *error);
/* Flushes stdout; returns the exit code: a closed pipe is a reader who has enough, anything else is reported. */
int slm_cli_finish(void);
/* Whether escape sequences may go to this stream (a terminal, and NO_COLOR is not set). */
bool slm_cli_colour(FILE *stream);

/* Appends a number that reads back as the same float; null when it is not finite. */
void slm_json_float(struct slm_buf *out, float value);
void slm_json_double(struct slm_buf *out, double value);
/* Appends `"key":` with a comma before it unless first in its object. */
void slm_json_key(struct slm_buf *out, const char *key);
void slm_json_text(struct slm_buf *out, const char *key, const char *value); /* NULL = null */
void slm_json_i64(struct slm_buf *out, const char *key, int64_t value);
void slm_json_real(struct slm_buf *out, const char *key, double value);
void slm_json_bool(struct slm_buf *out, const char *key, bool value);
struct slm_memory;
void slm_json_memory(struct slm_buf *out, const struct slm_memory *memory); /* four fields of the object */

/* "1.5 GB", "312 KB": decimal units, three digits. */
const char *slm_cli_size(char out[16], double bytes);
/* "24.4M", "1.24B": for counts of parameters. */
const char *slm_cli_count(char out[16], double n);

/* ---- in -------------------------------------------------------------------------------------- */

/* Appends a whole file, or stdin for "-", to *out. Refuses more than limit bytes. */
slm_status slm_cli_read(const char *path, size_t limit, struct slm_buf *out, struct slm_error *error);

/* ---- models ---------------------------------------------------------------------------------- */

struct slm_model_choice {
    uint64_t seen;
    const char *path; /* -m; NULL = built in */
    int32_t n_threads, n_ctx, n_batch;
    int kv_type;     /* enum slm_kv_type */
    int activations; /* enum slm_activations */
    struct slm_text_list lora;
    uint64_t cpu_mask;
};
extern const struct slm_option slm_model_rows[];
enum { SLM_MODEL_ROWS = 8 };
#define SLM_MODEL_GROUP(type, member) {"Model", slm_model_rows, SLM_MODEL_ROWS, offsetof(type, member)}

struct slm_sampling {
    uint64_t seen;
    struct slm_sampler_params params;
    int32_t n_predict;
    bool ignore_eos;
    struct slm_text_list stop;
    struct slm_bias_list bias;
};
extern const struct slm_option slm_sampling_rows[];
enum { SLM_SAMPLING_ROWS = 14 };
#define SLM_SAMPLING_GROUP(type, member) {"Sampling", slm_sampling_rows, SLM_SAMPLING_ROWS, offsetof(type, member)}

/* ---- answers: thinking, content, calls of tools (answer.c) ---------------------------------------- */

struct slm_thinking {
    uint64_t seen;
    bool on, off, hide;
};
enum { SLM_THINKING_ROWS = 3 };
extern const struct slm_option slm_thinking_rows[SLM_THINKING_ROWS];
#define SLM_THINKING_GROUP(type, member) {"Thinking", slm_thinking_rows, SLM_THINKING_ROWS, offsetof(type, member)}
/* The template's variable as a JSON object; NULL when neither on nor off was chosen. */
const char *slm_cli_think_variables(const struct slm_thinking *thinking);

/* ---- speculation (speculate.c) ------------------------------------------------------------------ */

struct slm_speculating {
    uint64_t seen;
    int mode; /* enum slm_speculate */
    const char *draft;
    int32_t n_guess;
    struct slm_model *model; /* of the draft, once it is open; closed after the session */
};
enum { SLM_SPECULATING_ROWS = 3 };
extern const struct slm_option slm_speculating_rows[SLM_SPECULATING_ROWS];
#define SLM_SPECULATING_GROUP(type, member) \
    {"Speculation", slm_speculating_rows, SLM_SPECULATING_ROWS, offsetof(type, member)}
/* What contradicts itself; returns the exit code. */
int slm_cli_check_speculating(const char *command, const struct slm_speculating *s);
/* Opens the draft model, if any, and tells the session. */
slm_status slm_cli_speculate(struct slm_speculating *s, const struct slm_model_choice *choice,
                             struct slm_session *session, struct slm_error *error);

/* What form an answer must have; zero and NULL: any. */
struct slm_form {
    uint64_t seen;
    const char *schema, *gbnf, *regex;
    bool object;
    struct slm_text_list choice;
};
enum { SLM_FORM_ROWS = 5 };
extern const struct slm_option slm_form_rows[SLM_FORM_ROWS];
#define SLM_FORM_GROUP(type, member) {"Form of the answer", slm_form_rows, SLM_FORM_ROWS, offsetof(type, member)}
/* What contradicts itself; returns the exit code. */
int slm_cli_check_form(const char *command, const struct slm_form *form);
/* *grammar and *state stay as they are when no form was asked for; the caller closes both. */
slm_status slm_cli_open_form(const struct slm_form *form, const struct slm_model *model, struct slm_grammar **grammar,
                             struct slm_grammar_state **state, struct slm_error *error);

/* One answer on its way to stdout. */
struct slm_answer {
    struct slm_parts *parts; /* NULL: the text goes out as it is */
    bool hide, dim, any;
    enum slm_part_kind last;
};
/* prompt: the tokens before the answer. */
slm_status slm_answer_open(struct slm_answer *answer, const struct slm_model *model, const int32_t *prompt, size_t n,
                           bool hide, struct slm_error *error);
bool slm_answer_text(struct slm_answer *answer, const char *text, size_t n_bytes); /* false: stdout is gone */
void slm_answer_close(struct slm_answer *answer); /* prints what is left; harmless twice */

/* True when an argument looks like a model rather than a prompt: something on disk, or a name ending in .gguf. */
bool slm_cli_is_model(const char *arg);
/* Opens a model, with a progress bar on a terminal when it takes long. vocab_only: no weights. */
slm_status slm_cli_open_model(const struct slm_model_choice *choice, bool vocab_only, struct slm_model **out,
                              struct slm_error *error);
slm_status slm_cli_open_session(const struct slm_model *model, const struct slm_model_choice *choice,
                                struct slm_session **out, struct slm_error *error);
/* For several sessions side by side; n_kv tokens for all of them. */
slm_status slm_cli_open_engine(const struct slm_model *model, const struct slm_model_choice *choice, size_t n_kv,
                               struct slm_engine **out, struct slm_error *error);
/* The model's defaults, overlaid with what was given; without a seed, a fresh one. */
void slm_cli_sampling_defaults(const struct slm_model *model, struct slm_sampling *sampling);
/* Tokens of text; returns owned *ids (slm_release). */
slm_status slm_cli_tokenize(const struct slm_model *model, struct slm_str text, unsigned flags, int32_t **ids,
                            size_t *n_ids, struct slm_error *error);
/* Tokens of a conversation as the model's template writes it, up to where the answer begins; returns owned *ids. */
/* The text of one token with its spaces, special ones too; empty when the model has no tokenizer. Borrowed. */
struct slm_str slm_cli_piece(const struct slm_model *model, int32_t id);
/* Numbers between spaces or commas, each a token id below n_vocab; returns owned *ids (slm_release). */
slm_status slm_cli_parse_ids(const char *text, int32_t n_vocab, int32_t **ids, size_t *n_ids,
                             struct slm_error *error);
const char *slm_cli_stop_name(enum slm_stop_reason reason);

/* A bar on stderr: nothing for the first third of a second, then at most 20 times a second. */
struct slm_cli_progress {
    const char *label;
    double start, drawn; /* seconds; drawn 0 = nothing on screen yet */
    double since;        /* the first call; 0 = none yet */
    uint64_t from;       /* what was done by then, maybe by an earlier run */
};
bool slm_cli_draw_progress(struct slm_cli_progress *progress, uint64_t done, uint64_t total); /* true */
void slm_cli_clear_progress(const struct slm_cli_progress *progress);

double slm_cli_seconds(void);                    /* monotonic clock */
uint64_t slm_cli_rss(bool peak);                 /* resident memory of this process in bytes; 0 = unknown */
double slm_cli_median(double *values, size_t n); /* sorts them; n >= 1 */

/* ---- the interactive chat, also started by `run` without a prompt ---------------------------- */

struct slm_chat_setup {
    const struct slm_model_choice *model;
    struct slm_sampling *sampling;
    const char *system; /* NULL = none */
    const struct slm_thinking *thinking;
    const struct slm_speculating *speculating;
    bool verbose;
};
int slm_cli_chat(const struct slm_chat_setup *setup);
/* Prints timing the way --verbose promises. */
void slm_cli_print_timing(const struct slm_generate_result *result, double load_s);
#endif
