/* SPDX-License-Identifier: MIT
 * What the files of OpenAI's API have in common: the shape of errors, fields of the sampler, lists of logprobs.
 * Deliberately not here: endpoints (api_openai.c chats and completions, api_models.c models and embeddings,
 * api_responses.c). */
#ifndef SLM_SERVE_API_OPENAI_H
#define SLM_SERVE_API_OPENAI_H
#include "serve/api_chat.h"

void slm_openai_error(struct slm_reply *reply, int status, const struct slm_error *error);
void slm_openai_broken(struct slm_call *call, const struct slm_error *error);
void slm_openai_write_error(struct slm_buf *out, int status, const struct slm_error *error);
/* Fields that many requests share. */
extern const struct slm_field slm_openai_sampler_rows[];
extern const size_t slm_openai_n_sampler_rows;
/* [{"token", "logprob", "bytes", "top_logprobs"}] appended to what is in out, an array that is open. */
void slm_openai_write_logprobs(struct slm_call *call, struct slm_buf *out, const struct slm_event *event);
void slm_openai_write_usage(struct slm_buf *out, const char *name, const struct slm_usage *usage);
const char *slm_openai_finish(const struct slm_choice_state *choice);
/* Fills in tool_choice and reasoning_effort, and makes of the chat what `use` says. Takes messages and tools. */
slm_status slm_openai_use_chat(struct slm_call *call, struct slm_chat_ask *chat, enum slm_chat_use use,
                               struct slm_error *error);
/* The same for messages and tools as chat completions have them. */
slm_status slm_openai_chat(struct slm_call *call, enum slm_chat_use use, struct slm_error *error);
extern const struct slm_http_table slm_api_openai, slm_api_responses, slm_api_ollama, slm_api_anthropic,
    slm_api_native, slm_api_slots;
extern const struct slm_call_kind slm_openai_chats, slm_openai_completions, slm_openai_responses, slm_openai_embeddings,
    slm_anthropic_messages, slm_anthropic_count, slm_native_kinds[], slm_slot_kinds[];
/* Every endpoint with fields (api_tables.c), ended by NULL: for documents and fuzzing. */
extern const struct slm_call_kind *const slm_api_kinds[];
void slm_openai_get_models(void *app, const struct slm_http_request *request, struct slm_reply *reply);
void slm_openai_get_model(void *app, const struct slm_http_request *request, struct slm_reply *reply);
void slm_openai_post_embeddings(void *app, const struct slm_http_request *request, struct slm_reply *reply);
#endif
