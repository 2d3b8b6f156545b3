/* SPDX-License-Identifier: MIT
 * What the files of llama-server's API share. Deliberately not here: what other APIs need of it (api_call.h). */
#ifndef SLM_SERVE_API_NATIVE_H
#define SLM_SERVE_API_NATIVE_H
#include "serve/api_call.h"

extern const struct slm_call_kind slm_native_rerank;
void slm_native_post_rerank(void *app, const struct slm_http_request *request, struct slm_reply *reply);
#endif
