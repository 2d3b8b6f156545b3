/* SPDX-License-Identifier: MIT
 * All APIs in one list, for the server; and all endpoints with fields, for docs/api.md. Deliberately not here:
 * anything
 * of any of them. */
#include "serve/api_openai.h"
#include "serve/api_ollama.h"

const struct slm_http_table *const slm_api_tables[] = {&slm_api_anthropic, &slm_api_responses, &slm_api_openai,
                                                       &slm_api_ollama, &slm_api_native, NULL};
