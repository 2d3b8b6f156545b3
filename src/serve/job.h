/* SPDX-License-Identifier: MIT
 * What a request asks of a model, and what comes back: the contract between the APIs (api_*.c), which read JSON into a
 * job and write events as JSON, and the host (host.h), which computes jobs. Every API is a translation to and from this
 * page, so a feature exists for all of them or for none.
 *
 * Deliberately not here: names of any API's fields, HTTP, threads. */
#ifndef SLM_SERVE_JOB_H
#define SLM_SERVE_JOB_H
#include "base/str.h"
#include "slm.h"

struct slm_grammar;

/* How the text of an answer is split. */
enum slm_job_split {
    SLM_SPLIT_NONE,  /* all of it is content (completions) */
    SLM_SPLIT_PARTS, /* thinking, content and calls of tools are told apart (chats): slm_parts of slm.h */
};

/* What a job does with its slot beside computing; slots.h. */
enum slm_slot_action { SLM_SLOT_NONE, SLM_SLOT_SAVE, SLM_SLOT_RESTORE, SLM_SLOT_ERASE };

/* Everything in it belongs to the job and is released with it. */
struct slm_job {
    int32_t *prompt;             /* [n_prompt] tokens */
    size_t n_prompt;
    struct slm_sampler_params sampler; /* choice i draws with seed + i; its logit_bias is the one below */
    struct slm_logit_bias *logit_bias; /* [sampler.n_logit_bias] */
    int32_t n_predict;           /* most tokens of a choice; 0 = until the context is full */
    bool only_prompt;            /* no token at all: the prompt is computed, for its logprobs or the prefix cache */
    int32_t n_choices;           /* >= 1; they share the prompt's computation */
    char **stop;                 /* [n_stop] */
    size_t n_stop;
    bool ignore_eog;
    bool echo_stop;              /* the stop string that was found ends the text */
    int32_t n_top;               /* logprobs: -1 none, else that many of the likeliest beside the chosen, at most 20 */
    bool prompt_logprobs;        /* events of kind PROMPT come first */
    enum slm_job_split split;
    bool tools;                  /* tools were offered */
    struct slm_grammar *grammar; /* what the text must be, or NULL; released by the job */
    bool trigger_in_content;     /* not while the model thinks */
    const char *grammar_trigger; /* the grammar holds behind the first place with this text; NULL: from the start */
    bool no_cache;               /* neither use nor leave prefixes in the cache */
    bool shift;                  /* when the context is full forget the oldest tokens after n_keep and go on */
    int32_t n_keep;
    int32_t priority;            /* higher first; 0 is normal */
    int32_t slot;                /* where its tokens are found by later jobs; 0 unless somebody counts slots */
    enum slm_slot_action slot_action; /* else than NONE: no prompt, nothing is generated; END has n_prompt tokens */
    char *slot_path;             /* the file it saves to or restores from */
    char tenant[64];             /* whose it is, for fairness: the name of the API key, or the client's address */
    char request_id[40];
    uint64_t timeout_ms;         /* from submit to end; 0 = none */

    /* Embedding instead of generation: n_embed > 0; prompt and all above but tenant and priority are unused then. */
    struct slm_embed_input *embed; /* [n_embed] */
    size_t n_embed;
    int32_t embed_dims;          /* 0 = all */
};
/* One choice, no logprobs, the sampler as in slm.h. Whatever is put into it must be slm_alloc's memory. */
struct slm_job *slm_job_new(struct slm_error *error);
void slm_job_free(struct slm_job *job);

enum slm_finish {
    SLM_FINISH_NONE = 0,
    SLM_FINISH_EOG,       /* the model ended its answer */
    SLM_FINISH_STOP,      /* a stop string */
    SLM_FINISH_LENGTH,    /* n_predict tokens, or the context is full */
    SLM_FINISH_CANCELLED, /* by slm_host_cancel */
    SLM_FINISH_TIMEOUT,
};

struct slm_token_top { int32_t id; float logprob; };
struct slm_job_token {
    int32_t id;
    float logprob;                   /* natural, of the model's distribution before the sampler; NaN when not asked */
    const struct slm_token_top *top; /* [n_top] likeliest first */
    size_t n_top;
    struct slm_str piece;            /* bytes of this token, which may be a part of a character */
};

struct slm_usage {
    size_t n_prompt, n_cached, n_generated; /* n_cached: prompt tokens whose computation was found in the cache */
    size_t n_thinking;                      /* of the generated ones */
    double queue_s, prompt_s, generate_s;   /* waiting; first token; all after it */
    struct slm_speculation_counts speculation;
};

enum slm_event_kind {
    SLM_EVENT_STARTED,   /* the prompt begins to be computed */
    SLM_EVENT_PROMPT,    /* tokens: those of the prompt (prompt_logprobs) */
    SLM_EVENT_PART,      /* further text of choice `choice`: part; tokens: those that it came with, when n_top >= 0 */
    SLM_EVENT_FINISHED,  /* choice `choice` is over: finish, stop_string, usage of this choice */
    SLM_EVENT_EMBEDDINGS,/* vectors [n_embed, n_dims], usage */
    SLM_EVENT_END,       /* the last event of a job that did not fail: usage of all choices */
    SLM_EVENT_FAILED,    /* the last event of a job that did: error, retry_after_s */
};
struct slm_event { /* lives until the callback returns */
    enum slm_event_kind kind;
    int32_t choice;
    struct slm_part part;
    const struct slm_job_token *tokens;
    size_t n_tokens;
    enum slm_finish finish;
    const char *stop_string;
    const float *vectors;
    size_t n_dims;
    struct slm_usage usage;
    struct slm_error error;
    int retry_after_s;  /* > 0: refused for now because of load; try again after that time (429/503) */
};
typedef void (*slm_event_fn)(void *user, const struct slm_event *event);
#endif
