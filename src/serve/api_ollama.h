/* SPDX-License-Identifier: MIT
 * What the two files of Ollama's API have of each other: answers (api_ollama.c) and what is known about models and
 * the
 * server (api_ollama_models.c). */
#ifndef SLM_SERVE_API_OLLAMA_H
#define SLM_SERVE_API_OLLAMA_H
#include "serve/api_chat.h"

void slm_ollama_error(struct slm_reply *reply, int status, const struct slm_error *error);
/* Seconds of a keep_alive. */
slm_status slm_ollama_duration(const json_t *value, double *seconds, struct slm_error *error);
extern const struct slm_call_kind slm_ollama_generate, slm_ollama_chat, slm_ollama_embed, slm_ollama_embedding,
    slm_ollama_show;
extern const struct slm_field_set slm_ollama_option_sets[];
void slm_ollama_post_generate(void *app, const struct slm_http_request *request, struct slm_reply *reply);
void slm_ollama_post_chat(void *app, const struct slm_http_request *request, struct slm_reply *reply);
void slm_ollama_post_embed(void *app, const struct slm_http_request *request, struct slm_reply *reply);
void slm_ollama_post_embedding(void *app, const struct slm_http_request *request, struct slm_reply *reply);
#endif
