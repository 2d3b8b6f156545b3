/* SPDX-License-Identifier: MIT
 * A load test of any server with OpenAI's API: many streamed requests, when they are sent, what came when. Figures are
 * defined as vLLM's `bench serve` defines them, so that they can be set beside its own:
 *   TTFT  from sending a request to its first text
 *   ITL   between two pieces of text of one answer
 *   E2EL  from sending a request to the end of its answer
 *   TPOT  (E2EL - TTFT) / (tokens of the answer - 1)
 * of answers that came whole; percentiles interpolate between neighbours. Deliberately not here: what is printed. */
#ifndef SLM_SERVE_LOADTEST_H
#define SLM_SERVE_LOADTEST_H
#include "serve/client.h"

enum slm_load_figure { SLM_LOAD_TTFT, SLM_LOAD_TPOT, SLM_LOAD_ITL, SLM_LOAD_E2EL, SLM_LOAD_FIGURES };
enum slm_load_fate {
    SLM_LOAD_DONE,    /* came whole */
    SLM_LOAD_429, SLM_LOAD_503, /* refused; 529 counts as 503 */
    SLM_LOAD_HTTP,    /* another status that is no success */
    SLM_LOAD_BROKEN,  /* no connection, cut off, too slow, no event stream, an error inside of the stream */
    SLM_LOAD_FATES,
};

struct slm_load_prompts {
    struct slm_str *items; /* [n] JSON values: a string, or an array of messages or token ids; owned */
    size_t n;
    bool any_messages, any_ids; /* the first are for chats alone, the second for completions */
};
/* Of a file: JSON lines with "prompt" (a text or token ids) or "messages", or plain lines. */
slm_status slm_load_read_prompts(const char *where, struct slm_str text, struct slm_load_prompts *out,
                                 struct slm_error *error);
/* n prompts of so many words each; no two begin alike, so that no server has computed one before. */
slm_status slm_load_make_prompts(size_t n, size_t words, uint64_t seed, struct slm_load_prompts *out,
                                 struct slm_error *error);
void slm_load_release_prompts(struct slm_load_prompts *prompts);

struct slm_load_options {
    struct slm_url url;
    bool completions;              /* /v1/completions in place of /v1/chat/completions */
    const char *model, *key;       /* NULL: none is named; no key */
    const struct slm_load_prompts *prompts;
    size_t n_requests;
    size_t concurrency;            /* most at a time; 0 = no limit */
    double rate;                   /* requests a second, at random times (Poisson); 0 = as soon as there is room */
    uint64_t seed;
    int32_t n_output;              /* tokens asked for */
    bool ignore_eos;               /* asks for exactly that many */
    unsigned timeout_ms;
    double slo[SLM_LOAD_FIGURES];  /* seconds that an answer must keep to count as good; 0 = any */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* NULL: none */
    void *user;
};

struct slm_load_series { size_t n; double mean, p50, p90, p95, p99; }; /* seconds */
struct slm_load_result {
    size_t n_fates[SLM_LOAD_FATES], n_retry_after; /* the latter: refusals that say when to come again */
    size_t n_good, most_at_once;
    uint64_t n_prompt, n_generated; /* tokens, as the server counts them, else pieces of text */
    double seconds;                 /* from the first request to the end of the last answer */
    struct slm_load_series series[SLM_LOAD_FIGURES];
    struct slm_error first_error;   /* of what was not done; status SLM_OK: none */
};
slm_status slm_load_run(const struct slm_load_options *options, struct slm_load_result *out, struct slm_error *error);
#endif
