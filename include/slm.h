/* SPDX-License-Identifier: MIT
 *
 * slm: run small language models on this machine. The one public header.
 *
 * Model of use: open a model (immutable, shareable between threads), open one or more sessions on it (each a
 * single mutable timeline of tokens with its own KV cache; one thread at a time per session), feed tokens,
 * sample tokens. The library never prints, exits or aborts on input: every fallible call returns slm_status and
 * fills a struct slm_error with one sentence a user can act on. Zeroed option structs mean "default".
 *
 * Ownership words used below: *borrows* (the callee keeps no reference after return), *takes*, *returns owned*
 * (the caller releases it with the named function).
 */
#ifndef SLM_H
#define SLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ------------------------------------------------------------------------------------------------ */

typedef enum slm_status {
    SLM_OK = 0,
    SLM_ERR_ARGUMENT,    /* the caller passed something that is not allowed */
    SLM_ERR_IO,          /* the operating system refused: file, disk, socket */
    SLM_ERR_FORMAT,      /* a file or message is malformed */
    SLM_ERR_UNSUPPORTED, /* well formed, but not something this build can do */
    SLM_ERR_LIMIT,       /* well formed, but beyond a stated limit */
    SLM_ERR_MEMORY,      /* out of memory */
    SLM_ERR_CONTEXT,     /* the token timeline does not fit the context */
    SLM_ERR_CANCELLED,   /* a callback asked to stop */
    SLM_ERR_NUMERIC,     /* the model produced non-finite numbers */
    SLM_ERR_TIMEOUT,     /* it took longer than it was given */
    SLM_ERR_DEAD_END,    /* no token of the vocabulary goes on under a grammar */
    SLM_STATUS_COUNT
} slm_status;

/* Filled by the failing call; untouched on success. Pass NULL when only the status matters. */
struct slm_error {
    slm_status status;
    char where[128];   /* file, field or function, e.g. "model.gguf: key 'llama.block_count'" */
    char message[384]; /* one sentence: what is wrong, the value, what is allowed */
};

/* Short stable name of a status, e.g. "format". Never NULL. */
const char *slm_status_name(slm_status status);
/* "MAJOR.MINOR.PATCH" of the library. */
const char *slm_version(void);

/* ---- model ------------------------------------------------------------------------------------------------- */

struct slm_model; /* immutable after open; safe to share between threads */

/* Progress of a slow call: `done` of `total` bytes. Return false to cancel. */
typedef bool (*slm_progress_fn)(void *user, uint64_t done, uint64_t total);

/* A LoRA adapter: a folder as PEFT writes it (adapter_config.json, adapter_model.safetensors) or a GGUF file of type
 * adapter. Model and adapter may come from different kinds of file. */
struct slm_adapter {
    const char *path;
    float scale; /* multiplies what the adapter adds: 1 = as it was trained, 0 = nothing */
};

struct slm_model_options {
    slm_progress_fn progress; /* NULL: pages are read when first used; else all are read now, and reported */
    void *progress_user;
    bool vocab_only;          /* tokenizer and metadata only: files without tensors open too */
    uint64_t cpu_mask;        /* CPU features to use, as bits of `slm doctor`; 0 = all that are present but AMX */
    const struct slm_adapter *adapters; /* [n_adapters] at most 32, all applied, their additions summed; borrowed */
    size_t n_adapters;
};

struct slm_model_info {
    const char *architecture; /* "qwen3", "llama" */
    const char *name;         /* general.name, or "" */
    const char *size_class;   /* "micro", "small", "medium" (see docs/TOUR.md); "tiny" below 100M, "large" above 30B */
    uint64_t n_params;        /* elements of all tensors; a tied head counts once */
    uint64_t file_bytes;
    int32_t n_vocab, n_ctx_train, n_layer, n_embd, n_head, n_head_kv, head_dim;
    int32_t bos_id, eos_id;   /* -1 when the model has none */
};

/* Opens a GGUF file (also the first part of a split one) or a Hugging Face folder. path NULL or "" opens the
 * built-in model. Borrows path and options; returns owned *out (slm_model_close). */
slm_status slm_model_open(const char *path, const struct slm_model_options *options, struct slm_model **out,
                          struct slm_error *error);
void slm_model_close(struct slm_model *model); /* NULL is fine; sessions must be closed first */
/* Strings live as long as the model. */
struct slm_model_info slm_model_info(const struct slm_model *model);
/* The model's chat template (Jinja), or NULL. Lives as long as the model. */
const char *slm_model_chat_template(const struct slm_model *model);

/* ---- tokens ------------------------------------------------------------------------------------------------ */

enum slm_tokenize_flags {
    SLM_TOKENIZE_ADD_SPECIAL = 1,   /* add BOS/EOS as the model file asks */
    SLM_TOKENIZE_PARSE_SPECIAL = 2, /* text of special tokens becomes those tokens (never for user text) */
};

/* Encodes text[0..text_bytes) (any bytes; invalid UTF-8 is encoded byte by byte). Writes at most cap ids and
 * always sets *n_ids to the full count, so a call with cap 0 measures. Borrows everything. */
slm_status slm_tokenize(const struct slm_model *model, const char *text, size_t text_bytes, unsigned flags,
                        int32_t *ids, size_t cap, size_t *n_ids, struct slm_error *error);
/* Decodes ids to bytes; same measuring rule in bytes, no terminating NUL. Special tokens print only if
 * show_special. */
slm_status slm_detokenize(const struct slm_model *model, const int32_t *ids, size_t n_ids, bool show_special,
                          char *text, size_t cap, size_t *n_bytes, struct slm_error *error);
/* True for tokens that end a generation (EOS, EOT, end-of-turn ...). */
bool slm_token_is_eog(const struct slm_model *model, int32_t id);

struct slm_chat_message {
    const char *role;    /* "system", "user", "assistant" */
    const char *content; /* UTF-8 */
};
struct slm_chat_options {        /* all borrowed; zeroed is the default */
    bool no_generation_prompt;   /* leave out the beginning of the model's answer */
    const char *tools_json;      /* JSON array of tools that the model may call, or NULL */
    const char *variables_json;  /* JSON object of further variables of the template, or NULL:
                                    {"enable_thinking": false} */
};
/* Renders messages with the model's chat template (or its family's default). options may be NULL. Tools for a template
 * that has no place for them are SLM_ERR_UNSUPPORTED. Returns owned *out, NUL-terminated (slm_free). */
slm_status slm_chat_render(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                           const struct slm_chat_options *options, char **out, size_t *out_bytes,
                           struct slm_error *error);
/* Renders and encodes: the template's own marks become special tokens, while text of special tokens inside a message
 * stays text, so that no user can forge a turn. BOS is there when the template writes it. Returns owned *ids
 * (slm_free). */
slm_status slm_chat_encode(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                           const struct slm_chat_options *options, int32_t **ids, size_t *n_ids,
                           struct slm_error *error);
/* The same for messages that have more than role and content (tool_calls, tool_call_id, reasoning_content ...): a JSON
 * array of objects, which the template sees as they are. Every string in it is a user's text, as above. */
slm_status slm_chat_render_json(const struct slm_model *model, const char *messages_json,
                                const struct slm_chat_options *options, char **out, size_t *out_bytes,
                                struct slm_error *error);
slm_status slm_chat_encode_json(const struct slm_model *model, const char *messages_json,
                                const struct slm_chat_options *options, int32_t **ids, size_t *n_ids,
                                struct slm_error *error);
void slm_free(void *memory);

/* Text to fill in: what stands before it (and `prompt`, behind that: the beginning of what is wanted) and what follows.
 * Texts of users: special tokens in them stay text. */
struct slm_infill_file { const char *name, *text; };
struct slm_infill {
    const char *prefix, *suffix, *prompt; /* NULL = "" */
    const struct slm_infill_file *files;  /* [n_files] of the same project, for models that have tokens for files */
    size_t n_files;
};
/* The prompt that makes a model with tokens for it (tokenizer.ggml.fim_*_token_id, else by their usual names) write
 * what is between: files, prefix, suffix, and the token of the middle. SLM_ERR_UNSUPPORTED names what a model lacks.
 * Returns owned *ids (slm_free). */
slm_status slm_infill_encode(const struct slm_model *model, const struct slm_infill *ask, int32_t **ids, size_t *n_ids,
                             struct slm_error *error);

/* ---- session ----------------------------------------------------------------------------------------------- */

struct slm_session; /* one timeline of tokens; used by one thread at a time */

/* What keys and values are kept in. INT8: half of f16's memory, one scale for 32 elements of a key and for a value; for
 * heads of a multiple of 32 elements, 512 at most. */
enum slm_kv_type { SLM_KV_DEFAULT = 0, SLM_KV_F16, SLM_KV_F32, SLM_KV_INT8 };

/* How products with quantized weights are computed. INT8: activations are rounded to 8 bits with a scale for every 32,
 * and weights are packed for it: for the first step of a model piece by piece, so that it comes soon, in memory by the
 * second, which takes the longer (fast from then on). F32: activations as they are, weights unpacked from the file
 * whenever they are needed (slow; no memory of their own). Products with
 * float weights are computed in f32 either way. */
enum slm_activations { SLM_ACTIVATIONS_DEFAULT, SLM_ACTIVATIONS_INT8, SLM_ACTIVATIONS_F32 };

struct slm_session_options {
    int32_t n_ctx;     /* tokens the KV cache holds; 0 = min(what the model was trained for, 4096) */
    int32_t n_threads; /* 0 = all CPUs this process may use */
    int32_t n_batch;   /* most tokens computed at once (prefill chunk); 0 = 256 */
    enum slm_kv_type kv_type; /* default f16 */
    enum slm_activations activations; /* default int8 */
};

slm_status slm_session_open(const struct slm_model *model, const struct slm_session_options *options,
                            struct slm_session **out, struct slm_error *error);
void slm_session_close(struct slm_session *session);

/* Appends n tokens to the timeline and computes them. After it, slm_session_logits() are those of the last one.
 * On error the timeline is as before the call. */
slm_status slm_session_eval(struct slm_session *session, const int32_t *ids, size_t n, struct slm_error *error);
/* Like eval, and writes the logits of each of the n tokens: all_logits [n, n_vocab] f32. */
slm_status slm_session_eval_all(struct slm_session *session, const int32_t *ids, size_t n, float *all_logits,
                                struct slm_error *error);
/* [n_vocab] f32 of the last evaluated token; NULL before the first eval. Valid until the next call. */
const float *slm_session_logits(const struct slm_session *session);
/* Number of tokens on the timeline, and the tokens themselves (valid until the next call). */
size_t slm_session_n_past(const struct slm_session *session);
const int32_t *slm_session_tokens(const struct slm_session *session);
size_t slm_session_n_ctx(const struct slm_session *session);
/* Forgets all but the first n tokens. n greater than n_past is an error. */
slm_status slm_session_truncate(struct slm_session *session, size_t n, struct slm_error *error);

/* `to` becomes the first n tokens of `from`, a session of the same engine, without computing them: both hold the same
 * pages of the KV cache until one of them writes there. Logits come along when n is all of `from`. */
slm_status slm_session_copy(struct slm_session *to, const struct slm_session *from, size_t n, struct slm_error *error);

/* Writes the whole timeline (tokens, KV, sampler position) to a file: temp file, fsync, rename. Restoring needs the
 * same model and kv_type, and n_ctx large enough; a damaged or foreign file leaves the session as it was. */
slm_status slm_session_save(const struct slm_session *session, const char *path, struct slm_error *error);
slm_status slm_session_restore(struct slm_session *session, const char *path, struct slm_error *error);

/* ---- speculation: guesses at what comes next, computed along ----------------------------------------------------- */

/* A step reads all weights whether it computes one token or a few, so generation may compute guesses at the next tokens
 * with each one. Guesses that come true are tokens nearly for free; others are forgotten. The tokens are exactly those
 * of computing them one by one, drawn with the same random numbers. NGRAM guesses that what followed the last tokens
 * earlier on the timeline follows again; DRAFT asks a smaller model of the same vocabulary. Either guesses only as far
 * as it pays: by how often such guesses came true, and what rows of a step cost here. */
enum slm_speculate { SLM_SPECULATE_DEFAULT = 0, SLM_SPECULATE_OFF, SLM_SPECULATE_NGRAM, SLM_SPECULATE_DRAFT };

struct slm_speculation {
    enum slm_speculate mode;       /* default n-gram */
    const struct slm_model *draft; /* DRAFT: the smaller model; must outlive the session */
    int32_t n_guess;               /* most guesses of a step; 0 = 15, which is the most allowed */
    bool always;                   /* guess also where it does not pay; for measurements */
};

/* How slm_generate speculates on this session from now on. Borrows options; for DRAFT opens a session on the draft
 * model. SLM_ERR_ARGUMENT when its vocabulary is another one; then nothing changes. */
slm_status slm_session_speculate(struct slm_session *session, const struct slm_speculation *options,
                                 struct slm_error *error);

struct slm_speculation_counts {
    size_t n_steps;              /* steps that computed something */
    size_t n_guessed, n_accepted; /* guesses computed, and how many of them came true */
};

/* ---- engine: sessions of one model, computed together ------------------------------------------------------- */

/* Threads, memory to compute in and a pool of KV pages, shared by any number of sessions: one pass over the weights
 * computes tokens of all of them. What a session computes does not depend, not in a bit, on who shares its steps. An
 * engine and its sessions are used by one thread at a time. slm_session_open() makes an engine of its own for a
 * session. */
struct slm_engine;

struct slm_engine_options {
    /* n_ctx: most tokens of a session. n_batch: most tokens of a pass. The rest holds for all sessions alike. */
    struct slm_session_options session;
    size_t n_kv; /* tokens the pool holds for all sessions together; 0 = n_ctx */
};

/* Borrows options; the model must outlive *out. Returns owned *out (slm_engine_close). */
slm_status slm_engine_open(const struct slm_model *model, const struct slm_engine_options *options,
                           struct slm_engine **out, struct slm_error *error);
void slm_engine_close(struct slm_engine *engine); /* NULL is fine; its sessions must be closed first */
/* An empty session: it takes pages from the pool as it grows and returns them when it shrinks or closes. Every call for
 * sessions works with it; one that finds the pool empty fails with SLM_ERR_MEMORY and changes nothing. Returns owned
 * *out (slm_session_close). */
slm_status slm_engine_session(struct slm_engine *engine, struct slm_session **out, struct slm_error *error);

struct slm_engine_info {
    size_t n_ctx, n_batch, n_sessions;
    size_t page_tokens, n_pages, n_pages_free; /* of the KV pool */
};
struct slm_engine_info slm_engine_info(const struct slm_engine *engine);

/* What one session does in a step. */
struct slm_step_part {
    struct slm_session *session;
    const int32_t *ids;    /* [n + n_guess] tokens to append, then guesses at the tokens after them; borrowed */
    size_t n;
    size_t n_guess;        /* at most 15; fewer are computed where context or pool have no room for more */
    bool no_logits;        /* more of a prompt follows: leave the head out. The session has no logits then */
    float *all_logits;     /* NULL, or [n, n_vocab]: written with the logits of each of the n tokens; no guesses then */
    struct slm_error *error; /* filled when the part failed; may be NULL */
    slm_status status;     /* written: whether the part was computed; if not, its session is as before */
};

/* Computes all parts, at most one of a session, in passes of at most n_batch rows: rows of many sessions, prompts and
 * single tokens alike, share a pass. A part that is refused (its ids, room in its context, pages in the pool) does not
 * stop the others. SLM_OK when none was refused, else status and error of the first that was. Allocates nothing.
 *
 * Guesses are computed with the rest but are not on the timeline. When the tokens that are evaluated next are what was
 * guessed, they cost nothing: their logits are there. Else the guesses are forgotten. Logits are those of computing
 * tokens one by one either way. */
slm_status slm_engine_step(struct slm_engine *engine, struct slm_step_part *parts, size_t n_parts,
                           struct slm_error *error);

/* ---- embeddings -------------------------------------------------------------------------------------------- */

/* How the hidden states of a text's tokens (after the last norm) become one vector: their mean, that of the last token,
 * or that of the first. RANK: the scores of a model that ranks texts (a classification head behind the last token, or
 * the first where the model sees the whole text), one for each of its labels, as probabilities when there are several.
 * DEFAULT: what the model's files say (GGUF pooling_type, sentence-transformers' modules, a head score.weight), else
 * the last token of models that see only what came before, the mean of those that see the whole text. */
enum slm_pooling { SLM_POOLING_DEFAULT = 0, SLM_POOLING_MEAN, SLM_POOLING_LAST, SLM_POOLING_CLS, SLM_POOLING_RANK };
/* What the files say; DEFAULT when they say nothing, or nothing that this build knows. */
enum slm_pooling slm_model_pooling(const struct slm_model *model);

struct slm_embedder; /* memory and threads to embed with; used by one thread at a time */

struct slm_embedder_options {
    /* n_ctx: tokens of the longest text; n_batch: tokens computed at once, of as many texts as fit (models that see the
     * whole text compute n_ctx at once). kv_type: default f32 here. The result depends on kv_type and
     * activations only. */
    struct slm_session_options session;
    enum slm_pooling pooling;
    int32_t n_dims;          /* keep the first n_dims numbers (Matryoshka), before normalising; 0 = all */
    bool no_normalize;       /* do not bring vectors to length 1 */
    const char *prompt_name; /* put this prompt of config_sentence_transformers.json in front of each text; NULL: its
                                default_prompt_name, if any */
};

/* Borrows options; the model must outlive *out. Returns owned *out (slm_embedder_close). Layers behind the pooling
 * (sentence-transformers' Dense, dense_2 and dense_3 of GGUF) are opened and applied; what else a folder asks for is
 * SLM_ERR_UNSUPPORTED, naming the file. */
slm_status slm_embedder_open(const struct slm_model *model, const struct slm_embedder_options *options,
                             struct slm_embedder **out, struct slm_error *error);
void slm_embedder_close(struct slm_embedder *embedder);
size_t slm_embedder_n_dims(const struct slm_embedder *embedder);           /* numbers of one vector */
enum slm_pooling slm_embedder_pooling(const struct slm_embedder *embedder); /* never DEFAULT */

/* A text (any bytes), encoded as the model's tokenizer encodes texts, special tokens around it included; or the ids
 * themselves, taken as they are, when ids is not NULL. */
struct slm_embed_input {
    const char *text;
    size_t text_bytes;
    const int32_t *ids;
    size_t n_ids;
};
/* Writes out [n, n_dims] f32. A vector is the same, bit for bit, alone or among others, for any number of threads and
 * any n_batch. A text without tokens (an empty one, where the model adds none) is SLM_ERR_ARGUMENT. One longer than the
 * folder's max_seq_length (or what its tokenizer, or the model, can) is cut there, as sentence-transformers does; one
 * that n_ctx cannot hold is SLM_ERR_CONTEXT. Messages name the text by its place. On error the contents of out are
 * undefined. Borrows inputs. */
slm_status slm_embed(struct slm_embedder *embedder, const struct slm_embed_input *inputs, size_t n, float *out,
                     struct slm_error *error);
/* Fills ids of out [n]: the query with each document, as a model that ranks wants to see the two (a template named
 * "rerank" in its GGUF file, else one text behind the other, each with the tokens that the model puts around texts).
 * Texts of special tokens in either stay text. documents: only text is read. Ids are owned (slm_free), also those that
 * were made before an error; the rest of out is NULL. */
slm_status slm_rerank_inputs(const struct slm_model *model, struct slm_embed_input query,
                             const struct slm_embed_input *documents, size_t n, struct slm_embed_input *out,
                             struct slm_error *error);

/* ---- sampling ---------------------------------------------------------------------------------------------- */

struct slm_logit_bias { int32_t id; float bias; };

/* The chain runs in this order: logit bias, penalties, top_k, typical_p, top_p, min_p, temperature, draw.
 * slm_sampler_defaults() fills it from the model file where the file states values, else with the defaults here. */
struct slm_sampler_params {
    float temperature;       /* 0.8; <= 0 is greedy (argmax, lowest id wins a tie) */
    int32_t top_k;           /* 40; 0 = off */
    float top_p;             /* 0.95; 1 = off */
    float min_p;             /* 0.05; 0 = off */
    float typical_p;         /* 1 = off */
    float repeat_penalty;    /* 1 = off */
    float frequency_penalty; /* 0 = off */
    float presence_penalty;  /* 0 = off */
    int32_t penalty_last_n;  /* 64: window of the penalties in tokens; 0 = off, -1 = whole timeline */
    uint64_t seed;           /* the draw at position p depends on (seed, p) only */
    const struct slm_logit_bias *logit_bias; /* borrowed */
    size_t n_logit_bias;
};
struct slm_sampler_params slm_sampler_defaults(const struct slm_model *model);
/* Draws the next token from the session's logits. Does not append it. */
slm_status slm_sample(struct slm_session *session, const struct slm_sampler_params *params, int32_t *id,
                      struct slm_error *error);
/* The same among the tokens of a mask, [ceil(n_vocab / 64)]: bit id % 64 of word id / 64 is 1 for those that may come
 * next (slm_grammar_mask fills one). NULL: all may. A mask that leaves no token is SLM_ERR_ARGUMENT. */
slm_status slm_sample_masked(struct slm_session *session, const struct slm_sampler_params *params,
                             const uint64_t *mask, int32_t *id, struct slm_error *error);

/* ---- grammars: text that has to have a form ----------------------------------------------------------------- */

enum slm_grammar_kind {
    SLM_GRAMMAR_JSON_SCHEMA, /* text: a JSON Schema (docs/structured-output.md: which keywords) */
    SLM_GRAMMAR_JSON_OBJECT, /* any JSON object; no text */
    SLM_GRAMMAR_REGEX,       /* text: a regular expression that the whole answer matches */
    SLM_GRAMMAR_CHOICE,      /* text: a JSON array of texts, of which the answer is one */
    SLM_GRAMMAR_GBNF         /* text: a grammar as llama.cpp writes them; the answer is its rule "root" */
};

/* Immutable for its users; safe to share between threads. What it learns while it runs (masks) is kept inside under a
 * lock, up to a limit, so that texts of the same form cost next to nothing. */
struct slm_grammar;
struct slm_grammar_state; /* one text under a grammar, so far; used by one thread at a time */

/* Borrows text; the model must outlive *out. What cannot be enforced exactly is SLM_ERR_UNSUPPORTED and names its place
 * (of a schema as a JSON pointer); nothing is ever widened. What no text could satisfy is SLM_ERR_ARGUMENT. Returns
 * owned *out (slm_grammar_close). */
slm_status slm_grammar_open(const struct slm_model *model, enum slm_grammar_kind kind, const char *text,
                            size_t text_bytes, struct slm_grammar **out, struct slm_error *error);
void slm_grammar_close(struct slm_grammar *grammar); /* NULL is fine; its states must be closed first */
/* At the beginning of a text, wherever in an answer that is: a grammar for calls of tools starts where the first mark
 * was seen. Returns owned *out (slm_grammar_state_close). */
slm_status slm_grammar_state_open(const struct slm_grammar *grammar, struct slm_grammar_state **out,
                                  struct slm_error *error);
void slm_grammar_state_close(struct slm_grammar_state *state); /* NULL is fine */
/* `to` becomes what `from` is; both are of one grammar. Allocates nothing. */
void slm_grammar_state_copy(struct slm_grammar_state *to, const struct slm_grammar_state *from);
/* The tokens that may come next, bits [ceil(n_vocab / 64)] as slm_sample_masked takes them. Tokens that end a
 * generation are among them exactly when the text is complete. Control tokens never are unless the grammar names them.
 * SLM_ERR_DEAD_END when the vocabulary has no token that goes on. */
slm_status slm_grammar_mask(struct slm_grammar_state *state, uint64_t *bits, struct slm_error *error);
/* The text goes on with this token, or these bytes. What is not allowed is SLM_ERR_ARGUMENT and changes nothing. */
slm_status slm_grammar_accept(struct slm_grammar_state *state, int32_t id, struct slm_error *error);
slm_status slm_grammar_accept_text(struct slm_grammar_state *state, const char *text, size_t n_bytes,
                                   struct slm_error *error);
bool slm_grammar_is_complete(const struct slm_grammar_state *state); /* the text may end here */
bool slm_grammar_is_final(const struct slm_grammar_state *state);    /* and nothing may follow */

/* ---- generation: tokenise-free convenience over eval + sample + streaming detokenise ------------------------ */

enum slm_stop_reason { SLM_STOP_NONE = 0, SLM_STOP_EOG, SLM_STOP_STRING, SLM_STOP_LENGTH, SLM_STOP_CONTEXT,
                       SLM_STOP_CALLBACK };

/* A piece of text that is whole UTF-8 (a split character is held back until complete; bytes that never become
 * UTF-8 are passed as U+FFFD). Called for every token, with 0 bytes when it brings none yet. Return false to stop. */
typedef bool (*slm_text_fn)(void *user, const char *text, size_t n_bytes);

struct slm_generate_params {
    struct slm_sampler_params sampler;
    int32_t n_predict;              /* most tokens to generate; 0 = until the context is full */
    const char *const *stop;        /* stop strings: not printed, never partly; borrowed */
    size_t n_stop;
    bool ignore_eog;
    struct slm_grammar_state *grammar; /* NULL, or what the answer has to be: goes on with each token; borrowed. The
                                          answer ends (EOG) where nothing may follow, and only where it is complete */
    const int32_t *show;            /* control tokens whose text is part of the answer all the same; borrowed */
    size_t n_show;
    slm_text_fn on_text;            /* may be NULL */
    void *user;
};
struct slm_generate_result {
    size_t n_prompt, n_generated;   /* tokens */
    double prompt_s, generate_s;    /* wall seconds */
    enum slm_stop_reason stop_reason;
    struct slm_speculation_counts speculation; /* of the generated tokens; without speculation a step each */
};
/* Evaluates prompt ids (may be 0 if logits exist already), then generates. Every generated token is on the timeline
 * afterwards, except an end-of-generation token. */
slm_status slm_generate(struct slm_session *session, const int32_t *prompt, size_t n_prompt,
                        const struct slm_generate_params *params, struct slm_generate_result *result,
                        struct slm_error *error);

/* ---- parts of an answer: thinking, content, calls of tools ------------------------------------------------------ */

enum slm_part_kind { SLM_PART_CONTENT, SLM_PART_THINKING, SLM_PART_TOOL_CALL };
/* Nothing is NUL-terminated but name and, of a call, text; all of it lives until the callback returns. */
struct slm_part {
    enum slm_part_kind kind;
    const char *text; /* further text of that kind, without marks; of a call: its arguments, a JSON object */
    size_t text_bytes;
    const char *name; /* of a call: the function's name; else NULL */
    const char *raw;  /* the generated text that this is, marks included; of a list of calls the first has it */
    size_t raw_bytes;
};
/* Return false to stop. */
typedef bool (*slm_part_fn)(void *user, const struct slm_part *part);

struct slm_parts; /* splits one answer; used by one thread at a time */

/* The style of thinking and calls follows from the model's chat template and special tokens, and from the prompt's
 * last tokens whether the answer begins inside of thinking (prompt may be NULL with 0). tools: some were offered, so
 * JSON or Python calls without a mark of their own may be calls. Returns owned *out (slm_parts_close). */
slm_status slm_parts_open(const struct slm_model *model, const int32_t *prompt, size_t n_prompt, bool tools,
                          struct slm_parts **out, struct slm_error *error);
void slm_parts_close(struct slm_parts *parts);
/* Control tokens that are marks of this style: pass them to slm_generate as `show`. Valid until close. */
const int32_t *slm_parts_marks(const struct slm_parts *parts, size_t *n);
/* Further text. Calls on_part for what is certain: never with a part of a mark, never with half a call. The raw texts
 * of all parts, one after the other, are the text that was fed. What looks like a call but is none (its JSON is
 * damaged, its Python does something else) is content. SLM_ERR_CANCELLED when on_part returned false. */
slm_status slm_parts_feed(struct slm_parts *parts, const char *text, size_t n_bytes, slm_part_fn on_part, void *user,
                          struct slm_error *error);
/* The answer is over: passes on what was held back. */
slm_status slm_parts_finish(struct slm_parts *parts, slm_part_fn on_part, void *user, struct slm_error *error);

/* ---- converting -------------------------------------------------------------------------------------------- */

/* A type for tensors by name: '*' in the pattern stands for any text, '?' for one byte. */
struct slm_convert_rule {
    const char *pattern; /* "blk.*.ffn_down.weight" */
    const char *type;    /* "f16" */
};

struct slm_convert_options {
    const char *type;          /* of the matrices: "f32", "f16", "bf16", "q8_0" ...; NULL = as they are stored */
    const struct slm_convert_rule *rules; /* [n_rules] exceptions; the last one that names a tensor counts */
    size_t n_rules;
    uint64_t split_max_bytes;  /* most tensor bytes a file; 0 = no limit. A tensor larger than it has its own file */
    uint32_t split_max_tensors; /* most tensors a file; 0 = no limit */
    bool pack;                 /* quantized matrices as this library computes with them: the model opens without any
                                * work, in no other program, and is not converted again */
    int32_t n_threads;         /* 0 = all CPUs this process may use; the bytes written do not depend on it */
    slm_progress_fn progress;  /* may be NULL; bytes of tensor data */
    void (*note)(void *user, const char *sentence); /* may be NULL; what the user should know though it is no error */
    void *user;                /* of both functions */
};

struct slm_convert_result {
    uint64_t bytes;            /* of all files written */
    size_t n_files, n_tensors;
};

/* Writes the model `in` (Hugging Face folder, GGUF file, first part of a split GGUF model) as the GGUF file `out`; with
 * a split limit, when it is exceeded, as out-00001-of-0000N.gguf and so on. Norms, biases and other vectors keep f32.
 * Matrices whose rows do not fit the blocks of a type become F16, which is noted. Memory stays bounded whatever the
 * size. Files appear when they are complete: after a failure, or when the process is killed, nothing has the final name
 * (or still what had it before). Cancelled, killed or out of disk, it leaves out.partial, and the same call goes on
 * from there; a second one at the same out is SLM_ERR_IO. Same input and options, same bytes. result may be NULL. */
slm_status slm_convert(const char *in, const char *out, const struct slm_convert_options *options,
                       struct slm_convert_result *result, struct slm_error *error);

/* ---- quantizing -------------------------------------------------------------------------------------------- */

struct slm_quantize_options {
    const char *type;          /* "q4_k_m", "q8_0", "iq4_xs" ...: what most matrices get, and which get other types */
    bool pure;                 /* all matrices get that type, the head and the embedding included */
    const char *head, *embedding; /* other types for these; NULL = as the mixture has it */
    const struct slm_convert_rule *rules; /* [n_rules] types for tensors whose name has the pattern in it; the last one
                                             that names a tensor counts */
    size_t n_rules;
    const char *imatrix;       /* importance matrix (GGUF), or NULL: what an error in each column of a matrix counts */
    bool pack;                 /* as in slm_convert_options, and all that follows */
    uint64_t split_max_bytes;
    int32_t n_threads;
    slm_progress_fn progress;
    void (*note)(void *user, const char *sentence);
    void *user;
};

/* Like slm_convert, to types whose scales are searched for so that the squared error of the weights, weighed by the
 * importance matrix where there is one, is small. Rows that do not fit the blocks of a type get the one llama.cpp falls
 * back to, which is noted. I2_S is for models that are ternary already. */
slm_status slm_quantize(const char *in, const char *out, const struct slm_quantize_options *options,
                        struct slm_convert_result *result, struct slm_error *error);

/* ---- calibrating ------------------------------------------------------------------------------------------- */

struct slm_calibrate_options {
    const char *text;        /* any bytes; borrowed */
    size_t text_bytes;
    const char *dataset;     /* what the file is to say the text was, or NULL */
    int32_t n_window;        /* tokens; 0 = 512, or fewer where the model was trained for fewer */
    size_t max_windows;      /* 0 = all there are */
    struct slm_session_options session; /* n_ctx is n_window */
    slm_progress_fn progress; /* may be NULL; windows, not bytes */
    void *user;
};
struct slm_calibrate_result { size_t n_windows, n_tokens, n_entries; };

/* Writes an importance matrix as llama.cpp's GGUF files have it: of each matrix of the layers, how strongly the model
 * uses each column on this text. For slm_quantize_options. The file appears when it is complete; it does not depend on
 * the number of threads. result may be NULL. */
slm_status slm_calibrate(const struct slm_model *model, const char *out, const struct slm_calibrate_options *options,
                         struct slm_calibrate_result *result, struct slm_error *error);

/* ---- evaluating -------------------------------------------------------------------------------------------- */

struct slm_eval_options {
    const char *text;        /* any bytes; borrowed */
    size_t text_bytes;
    int32_t n_window;        /* tokens; 0 = 512, or fewer where the model was trained for fewer */
    size_t max_windows;      /* 0 = all there are */
    struct slm_session_options session; /* n_ctx is n_window */
    const char *checkpoint;  /* a file with what is done, which is gone on from when it exists; NULL = none */
    slm_progress_fn progress; /* may be NULL; windows, not bytes */
    void *user;
};

/* Of the predicted tokens, which are those of the second half of each window. Natural logarithms. *_error: the standard
 * error of the mean. What is about the base is zero without one. */
struct slm_eval_result {
    size_t n_windows, n_tokens;
    bool has_base;
    double nll, nll_error, ppl, ppl_error; /* ppl = e^nll */
    double base_ppl;
    double kl_mean, kl_error, kl_p50, kl_p90, kl_p99, kl_max; /* of the base's distribution from the model's */
    double top1;             /* how often both have the same likeliest token */
    double top5;             /* share of the base's five likeliest that are among the model's five */
    double dp_mean, dp_rms;  /* change of the true token's probability */
};

/* Perplexity of a text, windowed as llama.cpp does, and with a base (may be NULL) how far the model is from it, in one
 * pass. Models that tokenize the text differently are SLM_ERR_ARGUMENT, as is a checkpoint of another evaluation. */
slm_status slm_evaluate(const struct slm_model *model, const struct slm_model *base,
                        const struct slm_eval_options *options, struct slm_eval_result *result,
                        struct slm_error *error);

/* ---- multiple choice --------------------------------------------------------------------------------------- */

/* What became of one item; log probabilities are natural. Borrowed until the callback returns. */
struct slm_task_answer {
    size_t line;              /* of the file, from 1 */
    unsigned n_choices, answer; /* the right one, from 0 */
    unsigned choice, choice_norm; /* the likeliest one; the likeliest one for its length in characters */
    const float *logprobs;    /* [n_choices] */
};

struct slm_task_options {
    const char *text;         /* a JSON object a line (docs/quantization.md); borrowed */
    size_t text_bytes;
    const char *where;        /* the file's name, for messages */
    bool letters;             /* list the choices in the prompt and score their letters */
    size_t max_items;         /* 0 = all there are */
    struct slm_session_options session; /* n_ctx: most tokens; longer prompts lose their beginning */
    const char *checkpoint;   /* as in slm_eval_options */
    slm_progress_fn progress; /* may be NULL; items, not bytes */
    void (*on_answer)(void *user, const struct slm_task_answer *answer); /* may be NULL; in order, at the end */
    void *user;               /* of both functions */
};

/* Shares of items that were answered right, as lm-evaluation-harness' acc and acc_norm; *_error: the standard error. */
struct slm_task_result {
    size_t n_items;
    double acc, acc_error, acc_norm, acc_norm_error;
    double chance; /* what guessing gives */
};

/* Answers multiple-choice questions by the likelihood of the choices. A line that is no item is SLM_ERR_FORMAT; the
 * message names line and field. */
slm_status slm_evaluate_tasks(const struct slm_model *model, const struct slm_task_options *options,
                              struct slm_task_result *result, struct slm_error *error);

/* ---- optimizing -------------------------------------------------------------------------------------------- */

struct slm_optimize_options {
    const char *recipe;       /* JSON (docs/optimize.md); NULL: the defaults */
    size_t recipe_bytes;
    const char *recipe_name;  /* for messages; NULL = "recipe" */
    const char *model, *out;  /* these five overrule the recipe's where they are not NULL */
    const char *text, *goal;
    const char *work;         /* an existing folder for what was computed; needed. With it a killed run goes on */
    int32_t n_threads;        /* 0 = the recipe's, or all CPUs this process may use */
    slm_progress_fn progress; /* may be NULL; of one part of the work after the other */
    void (*note)(void *user, const char *sentence); /* may be NULL; what is being done */
    void *user;               /* of both functions */
};

/* A model that was tried. NaN: not measured. Bytes, tokens a second. */
struct slm_optimize_candidate {
    const char *name;         /* a type ("Q4_K_M"), or "mixed-N" from the search */
    double size, bpw, kl, kl_error, ppl, top1, decode, prefill, memory;
    bool pareto;              /* no other is better in something and worse in nothing (size, kl, decode) */
    bool meets;               /* the goal */
};
struct slm_optimize_result {
    struct slm_optimize_candidate *candidates; /* [n] in the order they were tried */
    size_t n, chosen;
    bool met;                 /* chosen meets the goal, or none was asked for; else no file was written */
    const char *goal, *reason; /* the goal as it was used; why this one, a sentence */
    struct slm_convert_rule *types; /* [n_types] of the chosen one, tensor by tensor; none where its name says it */
    size_t n_types;
    double base_size, base_ppl;
    void *owned;
};

/* Finds types for a model's tensors that meet a goal ("size<=400M, kl<=0.02") and writes it: converts, calibrates,
 * tries the usual mixtures, searches for better ones by the sensitivity of each tensor, measures all, and chooses.
 * What was computed is kept in `work`, named by the content of all it depends on; a run that was killed goes on
 * there and ends in the same file. Release *out with slm_optimize_release. */
slm_status slm_optimize(const struct slm_optimize_options *options, struct slm_optimize_result *out,
                        struct slm_error *error);
void slm_optimize_release(struct slm_optimize_result *result); /* zeroed is fine */

#ifdef __cplusplus
}
#endif
#endif
