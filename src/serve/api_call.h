/* SPDX-License-Identifier: MIT
 * One request of any API on its way: body read, model found, prompt made (off the loop), jobs submitted, events
 * written. An endpoint is a row of struct slm_call_kind: which fields it has, how it makes jobs, how it writes.
 *
 * Deliberately not here: JSON shapes of any API (api_*.c). */
#ifndef SLM_SERVE_API_CALL_H
#define SLM_SERVE_API_CALL_H
#include "serve/api.h"
#include "serve/api_read.h"

/* What a request may ask for, whatever its API calls it. Filled by rows; what no row of an endpoint names
 * is absent. */
struct slm_ask {
    const char *model, *stop_token, *suffix, *system, *effort, *grammar, *regex, *encoding, *query;
    double temperature, top_p, min_p, typical_p, repeat_penalty, frequency_penalty, presence_penalty;
    int64_t top_k, penalty_last_n, seed, n_predict, n_predict_new, n_choices, n_top, n_keep, n_ctx, priority, dims,
        limit_ms, slot;
    int stream, include_usage, logprobs, echo, ignore_eog, shift, truncate, raw, parallel, no_cache, cache;
    int add_special, parse_special, with_pieces, add_prompt, tokens, verbose;
    const json_t *prompt, *messages, *tools, *tool_choice, *format, *stop, *logit_bias, *variables, *options, *think;
    const json_t *keep_alive, *input, *stream_options, *schema, *documents, *structured, *choice_list;
    int any_json; /* the answer must be a JSON object of any kind */
};

struct slm_call;

struct slm_tool_call { char *name, *arguments, id[32]; };

/* What one choice has become so far. Texts are kept only when the answer is written at its end. */
struct slm_choice_state {
    struct slm_buf content, thinking, logprobs;
    struct slm_tool_call *calls; /* [n_calls] */
    size_t n_calls;
    size_t n_text;               /* bytes of content so far: offsets of tokens */
    int open;                    /* block or item that is open, by its API's own counting */
    size_t n_blocks;             /* blocks or items begun */
    char item_id[48];            /* of the one that is open */
    enum slm_finish finish;
    char *stop_string;           /* that ended it, or NULL */
    struct slm_usage usage;
    struct slm_buf held;         /* content that is to become calls of tools */
    struct slm_buf text_offsets, tokens, token_logprobs, top; /* of logprobs that are lists side by side */
};

struct slm_call_kind {
    const char *method, *path;           /* as documents name it */
    const struct slm_field_set *sets;    /* ended by an empty set */
    const struct slm_http_table *table;  /* whose error shape it has */
    bool streams;                        /* absent "stream" means true */
    bool keeps;                          /* texts are kept in streams too */
    bool any_model;                      /* needs no model */
    bool no_body;                        /* may come without one */
    int busy_status;                     /* of refusals because of load; 0 = 429 */
    /* On the loop, before a model is asked for. */
    slm_status (*check)(struct slm_call *call, struct slm_error *error);
    /* On a thread of the pool: makes the jobs, or what the answer needs when there are none. */
    slm_status (*prepare)(struct slm_call *call, struct slm_error *error);
    /* On the loop. begin: before the first bytes of a stream. */
    void (*begin)(struct slm_call *call);
    void (*part)(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event);
    void (*finished)(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event);
    void (*embedded)(struct slm_call *call, const struct slm_event *event);
    void (*end)(struct slm_call *call); /* writes what is left; the reply is ended for it unless it was sent */
    void (*broken)(struct slm_call *call, const struct slm_error *error); /* an error in the middle of a stream */
};

struct slm_run { struct slm_call *call; struct slm_ticket *ticket; size_t index; };

struct slm_call {
    struct slm_api *api;
    struct slm_call *next, *previous; /* of api->calls */
    const struct slm_call_kind *kind;
    struct slm_reply *reply;        /* NULL once the client has gone, or the reply is complete */
    json_t *body;
    struct slm_ask ask;
    struct slm_host_model *model;   /* NULL before it is known */
    char **echoes;                  /* [n_jobs] texts of prompts that the answers begin with, or NULLs */
    char *tools_json, *variables_json, *forced; /* or NULL; forced: the tool that must be called, "" any */
    const json_t *tools;            /* while it is prepared: those that were offered */
    const char *thinks;             /* while it is prepared: the template, when thinking was asked for */
    bool streaming, begun, waiting, sent;
    struct slm_job **jobs;          /* [n_jobs] until they are submitted */
    struct slm_run *runs;           /* [n_jobs] */
    size_t n_jobs, n_open, n_per_job;
    struct slm_choice_state *choices; /* [n_jobs * n_per_job] */
    struct slm_buf out;             /* what is being written */
    struct slm_buf extra;           /* what prepare made for the answer */
    struct slm_usage usage;         /* of all jobs */
    struct slm_error error;
    int64_t created_ns, load_ns;
    uint64_t start_ns;
    size_t n_events, n_prompt;      /* events written; prompt tokens of all jobs */
    size_t n_inputs;                /* that are embedded */
    char id[64];                    /* "chatcmpl-..." */
    char tenant[64], request_id[40]; /* of its jobs */
    char wild[24];                  /* what stood for ":name" of the path, as far as it fits */
    int retry_after_s;
    int32_t *ids;                   /* [n_ids] tokens that are the answer, or of it */
    size_t n_ids;
};

/* What handlers do with a request. The kind is a constant. */
void slm_call_start(struct slm_api *api, const struct slm_http_request *request, struct slm_reply *reply,
                    const struct slm_call_kind *kind);

/* ---- for prepare ---- */

/* Prompts of one request: each is a job of its own, and what one request may ask for has to end somewhere. */
enum { SLM_MAX_PROMPTS = 64 };

/* One job for this prompt (taken) as the request asks, appended to the call's jobs. */
slm_status slm_call_add_job(struct slm_call *call, int32_t *prompt, size_t n_prompt, enum slm_job_split split,
                            struct slm_error *error);
/* One job that saves or restores (path) or erases a slot. */
slm_status slm_call_add_slot_job(struct slm_call *call, int32_t slot, enum slm_slot_action action, const char *path,
                                 struct slm_error *error);
/* Tokens of a text as the model's tokenizer makes them of texts: slm_alloc's memory. */
slm_status slm_call_tokenize(struct slm_call *call, struct slm_str text, unsigned flags, int32_t **ids, size_t *n,
                             struct slm_error *error);
/* The tokens of a JSON array. */
slm_status slm_call_read_ids(struct slm_call *call, const json_t *array, const char *path, int32_t **ids, size_t *n,
                             struct slm_error *error);
/* One job that writes what is between a text and the request's suffix. */
slm_status slm_call_infill(struct slm_call *call, const char *prefix, struct slm_error *error);
/* One job that embeds an input: a string, an array of strings, of tokens, or of arrays of tokens. */
slm_status slm_call_embed(struct slm_call *call, const json_t *input, const char *path, struct slm_error *error);
/* The same of inputs that are made already (taken, also when it fails; what they point to is slm_alloc's memory). */
slm_status slm_call_add_embed(struct slm_call *call, struct slm_embed_input *inputs, size_t n, struct slm_error *error);
enum { SLM_MAX_INPUTS = 2048 }; /* of one request */
slm_status slm_call_check_context(struct slm_call *call, size_t n_prompt, struct slm_error *error);
const struct slm_model *slm_call_model(const struct slm_call *call);
/* A copy in slm_alloc's memory, or NULL with the error filled. */
char *slm_call_copy(struct slm_str text, struct slm_error *error);

/* ---- for writing ---- */

/* Sends what is in call->out: an event of a stream (named or not), a line, or the whole answer. out is empty then. */
void slm_call_event(struct slm_call *call, const char *name);
void slm_call_line(struct slm_call *call);
void slm_call_send(struct slm_call *call, int status);
/* The end of an object of vectors or scores, as OpenAI has it: the model, the tokens of the inputs. Sends it. */
void slm_call_end_embedded(struct slm_call *call);
/* Text of one token, in out. */
void slm_call_token_text(const struct slm_call *call, int32_t id, struct slm_buf *out);
/* An id like "call_3f..." */
void slm_call_new_id(char *out, size_t cap, const char *prefix);
/* {"error": ...} replies of tables, and what status an error has. */
int slm_call_status(const struct slm_error *error);
/* Replies at once: status, JSON text. */
void slm_reply_json(struct slm_reply *reply, int status, const struct slm_buf *json);
/* The names of the request's sampler fields as the model's defaults have them: filled from the model and the ask. */
struct slm_sampler_params slm_call_sampler(const struct slm_call *call);
#endif
